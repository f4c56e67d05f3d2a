// corpus_make.c - making a set: batches of documents are read in order, encoded in parallel and written in order. Where
// a shard ends depends on the sources alone, so neither threads nor interruptions change a byte. See corpus.h.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/corpus/corpus_impl.h"

// Text that is encoded at a time; of the sources, for each thread.
#define BATCH_THREAD ((size_t)4 << 20)
#define BATCH_MOST ((size_t)128 << 20)
#define SHARD_DOCUMENTS (1 << 20)  // their list is in memory

typedef struct {
    const hy_corpus_job *job;
    const char *dir;  // NULL: nothing is written
    int lock;         // descriptor of the folder
    hy_corpus_manifest m;
    hy_corpus_encoder *encoder;
    hy_corpus_input *input;
    hy_corpus_counts *counts;
    int64_t total;
    // the batch
    hy_buf text;
    hy_corpus_item *items;
    size_t n, cap, most;
    // the shard that is being written
    hy_corpus_shard shard;
    size_t shard_read, shard_items;  // bytes of the sources, and documents, be they empty for the tokenizer
    hy_outfile out;
    bool open;
    hy_hasher *hasher, *content;
    hy_buf entries;
} maker;

static void note(const maker *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(const maker *k, const char *fmt, ...) {
    char text[2048];
    va_list ap;
    if (!k->job->note) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    k->job->note(k->job->user, text);
}

static char *in_dir(const maker *k, const char *name) { return hy_asprintf("%s/%s", k->dir, name); }

// ---------------------------------------------------------------------------------------------------- the job
static hy_status check_job(const hy_corpus_job *job) {
    const bool wants = job->cut == HY_CUT_SEPARATOR || job->cut == HY_CUT_JSONL;
    if (!job->n_files) return hy_error(HY_EINPUT, "no files to read");
    if (wants && (!job->text || !*job->text))
        return hy_error(HY_EINPUT,
                        job->cut == HY_CUT_JSONL ? "--field: the name is empty" : "--split: the separator is empty");
    if (job->max_document < 1 || job->max_document > HY_TOKENIZER_MAX_TEXT)
        return hy_error(HY_EINPUT, "--max-document: from 1 to %zu bytes", HY_TOKENIZER_MAX_TEXT);
    return HY_OK;
}

static hy_status look_at_sources(maker *k) {
    const hy_corpus_job *job = k->job;
    k->m.sources = hy_xcalloc((size_t)job->n_files, sizeof *k->m.sources);
    for (int i = 0; i < job->n_files; i++) {
        struct stat st;
        if (stat(job->files[i], &st)) return hy_error(HY_EINPUT, "%s: %s", job->files[i], strerror(errno));
        if (!S_ISREG(st.st_mode)) {
            const bool folder = S_ISDIR(st.st_mode);
            return hy_error(HY_EINPUT, "%s: is %s: name files, or a pattern like '%s/*.txt'", job->files[i],
                            folder ? "a folder" : "no plain file", folder ? job->files[i] : "FOLDER");
        }
        if (access(job->files[i], R_OK))
            return hy_error(HY_EINPUT, "%s: cannot open: %s", job->files[i], strerror(errno));
        k->m.sources[i] = (hy_corpus_source){.path = hy_xstrdup(job->files[i]), .bytes = st.st_size};
        k->m.n_sources = i + 1;
        k->total += st.st_size;
    }
    return HY_OK;
}

static void settings_text(maker *k) {
    static const char *const cuts[] = {"file", "blank", "separator", "jsonl"};
    const hy_corpus_job *job = k->job;
    hy_json *o = hy_json_new_object();
    hy_buf text = {0};
    hy_json_set_string(o, "documents", cuts[job->cut]);
    if (job->cut == HY_CUT_SEPARATOR) hy_json_set_string(o, "separator", job->text);
    if (job->cut == HY_CUT_JSONL) hy_json_set_string(o, "field", job->text);
    for (int i = 0; i < 2; i++) {
        const int32_t id = hy_corpus_encoder_mark(k->encoder, i);
        if (id >= 0) hy_json_set_int(o, i ? "end" : "begin", id);
    }
    hy_json_set_int(o, "max_document", (int64_t)job->max_document);
    hy_json_set_bool(o, "split_long", job->split_long);
    hy_json_set_int(o, "shard_size", (int64_t)job->shard_bytes);
    hy_json_text(o, 0, &text);
    hy_json_free(o);
    k->m.settings = text.s;
}

static void plan_manifest(maker *k) {
    const hy_tokenizer *t = hy_corpus_encoder_tokenizer(k->encoder);
    k->m.vocab = hy_corpus_encoder_vocab(k->encoder);
    k->m.width = k->m.vocab <= 1 << 16 ? 2 : 4;
    k->m.tokenizer_kind = hy_xstrdup(hy_tokenizer_kind(t));
    snprintf(k->m.tokenizer_hash, sizeof k->m.tokenizer_hash, "%s", hy_tokenizer_hash(t));
    k->m.next = (hy_corpus_place){.line = 1};
    k->counts->vocab = k->m.vocab;
    k->counts->kind = hy_tokenizer_kind(t);
    settings_text(k);
}

// ---------------------------------------------------------------------------------------------------- going on
static hy_status other_job(const maker *k, const char *what, const char *theirs, const char *ours) {
    return hy_error(HY_EINPUT,
                    "%s: holds shards of another job: %s was %s, is %s now; name another folder, or remove this "
                    "one",
                    k->dir, what, theirs, ours);
}

static hy_status same_job(const maker *k, const hy_corpus_manifest *old) {
    const hy_corpus_manifest *m = &k->m;
    if (strcmp(old->tokenizer_hash, m->tokenizer_hash))
        return other_job(k, "the hash of the tokenizer", old->tokenizer_hash, m->tokenizer_hash);
    if (strcmp(old->settings, m->settings)) return other_job(k, "what was asked for", old->settings, m->settings);
    for (int i = 0; i < old->n_sources && i < m->n_sources; i++) {
        if (strcmp(old->sources[i].path, m->sources[i].path))
            return other_job(k, "a source", old->sources[i].path, m->sources[i].path);
        // of what was not read to its end the part that was is looked at, and the rest may be mended
        if (*old->sources[i].hash && old->sources[i].bytes != m->sources[i].bytes)
            return hy_error(HY_EINPUT,
                            "%s: has %lld bytes, and had %lld when %s was begun: name another folder, or remove "
                            "that one",
                            m->sources[i].path, (long long)m->sources[i].bytes, (long long)old->sources[i].bytes,
                            k->dir);
    }
    char theirs[32], ours[32];
    snprintf(theirs, sizeof theirs, "%d", old->n_sources);
    snprintf(ours, sizeof ours, "%d", m->n_sources);
    return old->n_sources == m->n_sources ? HY_OK : other_job(k, "the number of sources", theirs, ours);
}

// Whether both files of a shard are what the manifest says; adds its documents to the content.
static bool shard_is_whole(maker *k, int i, const hy_corpus_shard *s) {
    char *tokens = hy_corpus_shard_path(k->dir, i, "tokens"), *documents = hy_corpus_shard_path(k->dir, i, "documents");
    char hash[33] = "";
    char *data = NULL;
    size_t n = 0;
    bool good = !hy_hash_file(tokens, hash) && !strcmp(hash, s->tokens_hash) &&
                !hy_file_read(documents, SIZE_MAX / 2, &data, &n) &&
                n == (size_t)s->documents * sizeof(hy_corpus_entry);
    if (good) hy_hash_hex(data, n, hash);
    good = good && !strcmp(hash, s->documents_hash);
    uint64_t before = 0;
    for (int64_t d = 0; good && d < s->documents; d++) {
        hy_corpus_entry e;
        memcpy(&e, data + (size_t)d * sizeof e, sizeof e);
        hy_corpus_content_add(k->content, e.end - before, &e);
        before = e.end;
    }
    free(data);
    free(tokens);
    free(documents);
    return good;
}

// Takes over the shards of an earlier run up to the first that is not whole.
static hy_status take_over(maker *k, hy_corpus_manifest *old) {
    hy_corpus_manifest *m = &k->m;
    int good = 0;
    while (good < old->n_shards && !hy_interrupted && shard_is_whole(k, good, &old->shards[good])) good++;
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted");
    if (good < old->n_shards)
        note(k, "%s: shard %05d is missing or damaged: it and what follows is made again", k->dir, good);
    m->shards = hy_xrealloc(m->shards, (size_t)(old->n_shards + 1) * sizeof *m->shards);
    for (int i = 0; i < good; i++) {
        m->shards[i] = old->shards[i];
        m->tokens += m->shards[i].tokens, m->documents += m->shards[i].documents, m->bytes += m->shards[i].bytes;
    }
    m->n_shards = k->counts->kept = good;
    if (old->finished) old->next = (hy_corpus_place){.file = old->n_sources, .line = 1};
    m->next = good < old->n_shards ? old->shards[good].from : old->next;
    for (int i = 0; i < m->n_sources; i++)
        memcpy(m->sources[i].hash, old->sources[i].hash, sizeof old->sources[i].hash);
    return HY_OK;
}

// What an interrupted run left behind under another name.
static void remove_leavings(const maker *k) {
    DIR *d = opendir(k->dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *at = strstr(e->d_name, ".tmp.");
        if (!at ||
            !(strstr(e->d_name, ".tokens.tmp.") || strstr(e->d_name, ".documents.tmp.") ||
              !strncmp(e->d_name, HY_CORPUS_MANIFEST ".", 14) || !strncmp(e->d_name, HY_CORPUS_UNFINISHED ".", 16)))
            continue;
        char *path = in_dir(k, e->d_name);
        unlink(path);
        free(path);
    }
    if (d) closedir(d);
}

static bool is_empty(const char *dir) {
    DIR *d = opendir(dir);
    bool empty = true;
    for (struct dirent *e; d && (e = readdir(d));)
        empty = empty && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."));
    if (d) closedir(d);
    return empty;
}

static hy_status save(maker *k, bool finished) {
    char *path = in_dir(k, finished ? HY_CORPUS_MANIFEST : HY_CORPUS_UNFINISHED);
    k->m.finished = finished;
    const hy_status s = hy_corpus_manifest_write(path, &k->m);
    free(path);
    return s;
}

static hy_status open_dir(maker *k) {
    char *whole = in_dir(k, HY_CORPUS_MANIFEST), *part = in_dir(k, HY_CORPUS_UNFINISHED);
    hy_corpus_manifest old = {0};
    hy_status s = hy_outfolder_try(k->dir);
    if (!s && ((k->lock = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || flock(k->lock, LOCK_EX | LOCK_NB)) &&
        errno == EWOULDBLOCK)
        s = hy_error(HY_EINPUT, "%s: another hylab is writing there", k->dir);
    if (!s) remove_leavings(k);
    const char *there = hy_file_exists(whole) ? whole : hy_file_exists(part) ? part : NULL;
    if (!s && !there && !is_empty(k->dir))
        s = hy_error(HY_EINPUT, "%s: is not empty, and holds no token shards: name another folder", k->dir);
    if (!s && there) s = hy_corpus_manifest_read(there, &old);
    const bool begun = !s && there && old.n_shards;
    if (begun) s = same_job(k, &old);
    if (!s && begun) s = take_over(k, &old);
    // what is not whole any more is unfinished
    if (!s && there == whole && k->m.n_shards < old.n_shards && !(s = save(k, false))) unlink(whole);
    if (!s && !begun) s = save(k, false);
    hy_corpus_manifest_free(&old);
    free(whole);
    free(part);
    return s;
}

// ---------------------------------------------------------------------------------------------------- a shard
static hy_status begin_shard(maker *k) {
    char *path = hy_corpus_shard_path(k->dir, k->m.n_shards, "tokens");
    const hy_status s = hy_outfile_open(&k->out, path);
    free(path);
    HY_TRY(s);
    k->open = true;
    k->hasher = hy_hasher_new();
    k->shard = (hy_corpus_shard){.from = k->m.next};
    k->entries.n = 0;
    return HY_OK;
}

// Ids as they are stored.
static hy_status put_ids(maker *k, const int32_t *ids, size_t n, uint64_t *hash) {
    const size_t width = (size_t)k->m.width;
    char *stored = hy_xcalloc(n, width);
    for (size_t i = 0; i < n; i++) {
        const uint16_t small = (uint16_t)ids[i];
        memcpy(stored + i * width, width == 2 ? (const void *)&small : (const void *)&ids[i], width);
    }
    *hash = hy_hash64(stored, n * width);
    hy_hasher_add(k->hasher, stored, n * width);
    const hy_status s = hy_outfile_write(&k->out, stored, n * width);
    free(stored);
    return s;
}

static hy_status put_document(maker *k, const hy_corpus_item *item) {
    hy_corpus_entry e = {.bytes = (uint64_t)item->bytes};
    if (!k->open) HY_TRY(begin_shard(k));
    HY_TRY(put_ids(k, hy_corpus_encoder_ids(k->encoder, item), item->n, &e.hash));
    k->shard.tokens += (int64_t)item->n;
    k->shard.bytes += item->bytes;
    k->shard.documents++;
    e.end = (uint64_t)k->shard.tokens;
    hy_buf_write(&k->entries, &e, sizeof e);
    hy_corpus_content_add(k->content, item->n, &e);
    return HY_OK;
}

// The shard is whole: its files, then the manifest that names it.
static hy_status end_shard(maker *k) {
    hy_corpus_manifest *m = &k->m;
    hy_corpus_input_place(k->input, &m->next);
    k->shard_read = k->shard_items = 0;
    if (!k->open) return HY_OK;
    hy_hasher_end(k->hasher, k->shard.tokens_hash);
    k->hasher = NULL;
    k->open = false;
    HY_TRY(hy_outfile_commit(&k->out));
    char *path = hy_corpus_shard_path(k->dir, m->n_shards, "documents");
    hy_hash_hex(k->entries.s, k->entries.n, k->shard.documents_hash);
    const hy_status s = hy_file_write(path, k->entries.s, k->entries.n);
    free(path);
    HY_TRY(s);
    m->shards = hy_xrealloc(m->shards, (size_t)(m->n_shards + 1) * sizeof *m->shards);
    m->shards[m->n_shards++] = k->shard;
    m->tokens += k->shard.tokens, m->documents += k->shard.documents, m->bytes += k->shard.bytes;
    return save(k, false);
}

// ---------------------------------------------------------------------------------------------------- the work
// Reads documents until there are enough for all threads, or the shard has its share. *end: of the shard; *found
// false: of the sources.
static hy_status read_batch(maker *k, bool *end, bool *found) {
    k->n = k->text.n = 0;
    *end = false, *found = true;
    while (k->text.n < k->most && !*end) {
        const int64_t before = hy_corpus_input_done(k->input);
        hy_corpus_text text;
        HY_TRY(hy_corpus_input_next(k->input, &k->text, &text, found));
        if (!*found) return HY_OK;
        if (k->n == k->cap) {
            k->cap = k->cap ? 2 * k->cap : 1024;
            k->items = hy_xrealloc(k->items, k->cap * sizeof *k->items);
        }
        k->items[k->n++] = (hy_corpus_item){.text = text};
        k->shard_read += (size_t)(hy_corpus_input_done(k->input) - before);
        k->shard_items++;
        *end = k->shard_read >= k->job->shard_bytes || k->shard_items >= SHARD_DOCUMENTS;
    }
    return HY_OK;
}

static hy_status write_batch(maker *k) {
    HY_TRY(hy_corpus_encode(k->encoder, k->text.s, k->items, k->n));
    for (size_t i = 0; i < k->n; i++) {
        const hy_corpus_item *item = &k->items[i];
        if (!item->n) {  // a text of nothing, or of which the tokenizer leaves nothing
            k->counts->empty++;
            continue;
        }
        k->counts->documents++, k->counts->bytes += item->bytes, k->counts->tokens += (int64_t)item->n;
        if (k->dir) HY_TRY(put_document(k, item));
    }
    return HY_OK;
}

static hy_status all_batches(maker *k) {
    for (bool found = true, end; found;) {
        if (hy_interrupted) return hy_error(HY_EINTR, k->dir ? "interrupted; the same command goes on" : "interrupted");
        HY_TRY(read_batch(k, &end, &found));
        if (k->n) HY_TRY(write_batch(k));
        if (k->dir && (end || !found)) HY_TRY(end_shard(k));
        if (k->job->progress) {
            const hy_corpus_progress p = {hy_corpus_input_done(k->input), k->total, k->counts->documents,
                                          k->counts->tokens};
            k->job->progress(k->job->user, &p);
        }
    }
    return k->counts->documents ? HY_OK
                                : hy_error(HY_EINPUT, "there is no text in %s%s", k->job->files[0],
                                           k->job->n_files > 1 ? " and the other files" : "");
}

static hy_status finish(maker *k) {
    char *part = in_dir(k, HY_CORPUS_UNFINISHED);
    hy_hasher_end(k->content, k->m.content);
    k->content = NULL;
    const hy_status s = save(k, true);
    if (!s) unlink(part);
    free(part);
    k->counts->shards = k->m.n_shards;
    return s;
}

static hy_status make(maker *k) {
    HY_TRY(check_job(k->job));
    HY_TRY(look_at_sources(k));
    HY_TRY(hy_corpus_encoder_open(k->job, &k->encoder));
    const char *notes = hy_tokenizer_notes(hy_corpus_encoder_tokenizer(k->encoder));
    if (*notes) note(k, "%s", notes);
    plan_manifest(k);
    const size_t all = BATCH_THREAD * (size_t)hy_corpus_encoder_threads(k->encoder);
    k->most = all < BATCH_MOST ? all : BATCH_MOST;
    k->content = hy_corpus_content_begin(k->m.width, k->m.vocab);
    if (k->dir) HY_TRY(open_dir(k));
    const bool utf8 = strcmp(k->job->tokenizer, "bytes") != 0;
    k->input = hy_corpus_input_new(k->job, k->m.sources, utf8);
    HY_TRY(hy_corpus_input_skip(k->input, &k->m.next));
    k->counts->documents = k->m.documents, k->counts->tokens = k->m.tokens, k->counts->bytes = k->m.bytes;
    HY_TRY(all_batches(k));
    k->counts->empty += hy_corpus_input_empty(k->input);
    return k->dir ? finish(k) : HY_OK;
}

hy_status hy_corpus_make(const hy_corpus_job *job, const char *dir, hy_corpus_counts *out) {
    maker k = {.job = job, .dir = dir, .counts = out, .lock = -1};
    char unused[33];
    *out = (hy_corpus_counts){0};
    const hy_status s = make(&k);
    if (k.open) hy_outfile_abort(&k.out);
    if (k.hasher) hy_hasher_end(k.hasher, unused);
    if (k.content) hy_hasher_end(k.content, unused);
    hy_corpus_input_free(k.input);
    hy_corpus_encoder_close(k.encoder);
    hy_corpus_manifest_free(&k.m);
    if (k.lock >= 0) close(k.lock);
    free(k.text.s);
    free(k.items);
    free(k.entries.s);
    return s;
}
