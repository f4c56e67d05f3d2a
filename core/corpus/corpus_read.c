// corpus_read.c - sets of token shards and .bin files, mapped into memory. See corpus.h.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/corpus/corpus_impl.h"

typedef enum { UNSEEN = 0, GOOD, BAD } verdict;

// A file that is mapped; bytes 0: nothing.
typedef struct {
    char *path;
    const char *data;
    size_t bytes;
} mapped;

typedef struct {
    mapped ids, documents;               // documents: of a .bin file none
    size_t skip;                         // bytes of a header before the ids
    int64_t from, tokens, first, count;  // its tokens and documents in the set
    char hash[33];                       // of ids; "": was checked
    _Atomic int seen;
} shard;

struct hy_corpus {
    hy_corpus_facts facts;
    char *path, content[33], tokenizer[33];
    int width, n;
    shard *shards;
    pthread_mutex_t checking;
};

// ---------------------------------------------------------------------------------------------------- files
static hy_status map_file(const char *path, mapped *out) {
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    *out = (mapped){.path = hy_xstrdup(path)};
    if (fd < 0) return hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno));
    hy_status s = HY_OK;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) s = hy_error(HY_EINPUT, "%s: is no plain file", path);
    if (!s && st.st_size > 0) {
        void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            s = hy_error(HY_EFAIL, "%s: cannot be mapped: %s", path, strerror(errno));
        else
            *out = (mapped){out->path, at, (size_t)st.st_size};
    }
    close(fd);
    return s;
}

static void unmap(mapped *m) {
    if (m->bytes) munmap((void *)m->data, m->bytes);
    free(m->path);
}

void hy_corpus_close(hy_corpus *c) {
    if (!c) return;
    for (int i = 0; i < c->n; i++) {
        unmap(&c->shards[i].ids);
        unmap(&c->shards[i].documents);
    }
    pthread_mutex_destroy(&c->checking);
    free(c->shards);
    free(c->path);
    free(c);
}

static hy_corpus *corpus_new(const char *path, int shards) {
    hy_corpus *c = hy_xcalloc(1, sizeof *c);
    c->path = hy_xstrdup(path);
    c->shards = hy_xcalloc((size_t)shards + 1, sizeof *c->shards);
    pthread_mutex_init(&c->checking, NULL);
    c->facts = (hy_corpus_facts){.path = c->path, .content = c->content, .tokenizer = c->tokenizer};
    return c;
}

// ---------------------------------------------------------------------------------------------------- a set
bool hy_is_corpus(const char *path) {
    static const char *const names[] = {HY_CORPUS_MANIFEST, HY_CORPUS_UNFINISHED};
    if (!hy_is_folder(path)) return false;
    char *tokens = hy_corpus_shard_path(path, 0, "tokens");
    bool is = hy_file_exists(tokens);
    for (int i = 0; i < 2 && !is; i++) {
        char head[256] = "", *name = hy_asprintf("%s/%s", path, names[i]);
        FILE *f = fopen(name, "rb");
        if (f && fread(head, 1, sizeof head - 1, f) > 0) is = strstr(head, "\"" HY_CORPUS_FORMAT "\"") != NULL;
        if (f) fclose(f);
        free(name);
    }
    free(tokens);
    return is;
}

static hy_status damaged(const char *path, const char *why) {
    return hy_error(HY_EINPUT, "%s: damaged: %s; the hylab tokenize that made it makes it again", path, why);
}

static uint64_t end_of(const shard *s, int64_t i) {
    hy_corpus_entry e;
    memcpy(&e, s->documents.data + (size_t)i * sizeof e, sizeof e);
    return e.end;
}

// The list of a shard's documents, and the size of its ids, against the manifest.
static hy_status check_shard(const hy_corpus *c, shard *s, const hy_corpus_shard *m, hy_hasher *content) {
    char hash[33];
    uint64_t before = 0, bytes = 0;
    if (s->documents.bytes != (size_t)m->documents * sizeof(hy_corpus_entry))
        return damaged(s->documents.path, "its size is not that of its documents");
    hy_hash_hex(s->documents.data, s->documents.bytes, hash);
    if (strcmp(hash, m->documents_hash)) return damaged(s->documents.path, "its checksum is another");
    if (s->ids.bytes != (size_t)m->tokens * (size_t)c->width)
        return damaged(s->ids.path, "its size is not that of its tokens");
    for (int64_t i = 0; i < m->documents; i++) {
        hy_corpus_entry e;
        memcpy(&e, s->documents.data + (size_t)i * sizeof e, sizeof e);
        if (e.end <= before || e.end > (uint64_t)m->tokens)
            return damaged(s->documents.path, "a document ends before it begins");
        hy_corpus_content_add(content, e.end - before, &e);
        before = e.end;
        bytes += e.bytes;
    }
    return before == (uint64_t)m->tokens && bytes == (uint64_t)m->bytes
               ? HY_OK
               : damaged(s->documents.path, "its documents are not as long as the manifest says");
}

static hy_status open_shard(hy_corpus *c, int i, const hy_corpus_shard *m, hy_hasher *content) {
    shard *s = &c->shards[c->n++];
    char *ids = hy_corpus_shard_path(c->path, i, "tokens"), *documents = hy_corpus_shard_path(c->path, i, "documents");
    hy_status st = map_file(ids, &s->ids);
    if (!st) st = map_file(documents, &s->documents);
    if (!st) st = check_shard(c, s, m, content);
    free(ids);
    free(documents);
    s->from = c->facts.tokens, s->tokens = m->tokens;
    s->first = c->facts.documents, s->count = m->documents;
    memcpy(s->hash, m->tokens_hash, sizeof s->hash);
    c->facts.tokens += m->tokens, c->facts.documents += m->documents, c->facts.bytes += m->bytes;
    return st;
}

static hy_status open_set(const char *path, const hy_corpus_manifest *m, hy_corpus **out) {
    hy_corpus *c = *out = corpus_new(path, m->n_shards);
    hy_hasher *content = hy_corpus_content_begin(m->width, m->vocab);
    hy_status s = HY_OK;
    c->width = m->width;
    c->facts.vocab = m->vocab;
    memcpy(c->tokenizer, m->tokenizer_hash, sizeof c->tokenizer);
    for (int i = 0; i < m->n_shards && !s; i++) s = open_shard(c, i, &m->shards[i], content);
    hy_hasher_end(content, c->content);
    if (!s && strcmp(c->content, m->content)) s = damaged(path, "its content is not what the manifest says");
    if (!s && !c->facts.tokens) s = hy_error(HY_EINPUT, "%s: holds no tokens", path);
    return s;
}

hy_status hy_corpus_open(const char *path, hy_corpus **out) {
    char *whole = hy_asprintf("%s/" HY_CORPUS_MANIFEST, path), *part = hy_asprintf("%s/" HY_CORPUS_UNFINISHED, path);
    hy_corpus_manifest m = {0};
    *out = NULL;
    hy_status s = HY_OK;
    if (!hy_file_exists(whole))
        s = hy_file_exists(part)
                ? hy_error(HY_EINPUT,
                           "%s: its shards are not finished: run the same hylab tokenize again, which goes on", path)
                : hy_error(HY_EINPUT, "%s: has token shards, but no " HY_CORPUS_MANIFEST, path);
    if (!s) s = hy_corpus_manifest_read(whole, &m);
    if (!s) s = open_set(path, &m, out);
    hy_corpus_manifest_free(&m);
    free(whole);
    free(part);
    if (s) {
        hy_corpus_close(*out);
        *out = NULL;
    }
    return s;
}

// ---------------------------------------------------------------------------------------------------- .bin files
enum { HEADER = 256 * 4 };
static const struct {
    int32_t magic, version;
    int width, vocab;
    const char *of;
} headers[] = {{20240520, 1, 2, 50257, "GPT-2"}, {20240801, 7, 4, 128256, "Llama 3"}};

// What stands before the ids, if anything does.
static hy_status read_header(hy_corpus *c, shard *s, int *vocab) {
    int32_t head[3] = {0};
    const int width = c->width;  // of the files before it; 0: none
    int kind = -1;
    if (s->ids.bytes >= HEADER) memcpy(head, s->ids.data, sizeof head);
    for (int i = 0; i < 2; i++)
        if (head[0] == headers[i].magic) kind = i;
    c->width = kind < 0 ? 2 : headers[kind].width;
    s->skip = kind < 0 ? 0 : HEADER;
    if (kind < 0 && !*vocab)
        return hy_error(HY_EINPUT,
                        "%s: has no header of llm.c, so it is taken for nanoGPT's uint16 ids: say vocab, the size of "
                        "their vocabulary (50257 for GPT-2)",
                        s->ids.path);
    if (kind < 0 && *vocab > 1 << 16)
        return hy_error(HY_EINPUT, "%s: ids of 16 bits are below 65536, vocab is %d", s->ids.path, *vocab);
    const size_t ids = (s->ids.bytes - s->skip) / (size_t)c->width;
    if ((s->ids.bytes - s->skip) % (size_t)c->width)
        return hy_error(HY_EINPUT, "%s: its %zu bytes are no whole number of ids of %d bytes", s->ids.path,
                        s->ids.bytes, c->width);
    if (kind >= 0 && head[1] != headers[kind].version)
        return hy_error(HY_EINPUT, "%s: a file of llm.c for %s of version %d; version %d is read", s->ids.path,
                        headers[kind].of, head[1], headers[kind].version);
    if (kind >= 0 && (head[2] < 0 || (size_t)head[2] != ids))
        return hy_error(HY_EINPUT, "%s: its header tells %d tokens, it holds %zu: is it cut off?", s->ids.path, head[2],
                        ids);
    if (!*vocab) *vocab = headers[kind].vocab;
    if (width && c->width != width)
        return hy_error(HY_EINPUT, "%s: has ids of %d bytes, the files before it of %d", s->ids.path, c->width, width);
    s->tokens = (int64_t)ids;
    return ids ? HY_OK : hy_error(HY_EINPUT, "%s: holds no tokens", s->ids.path);
}

static bool is_bin(const char *name) {
    const size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".bin");
}

// The names of a folder's files in the order of their bytes; or the path itself.
static int list_files(const char *path, char ***out) {
    struct dirent **entries = NULL;
    const int n = hy_is_folder(path) ? scandir(path, &entries, hy_entry_shown, hy_by_entry) : 1;
    *out = hy_xcalloc((size_t)(n > 0 ? n : 0) + 1, sizeof **out);
    for (int i = 0; i < n; i++) (*out)[i] = entries ? hy_asprintf("%s/%s", path, entries[i]->d_name) : hy_xstrdup(path);
    for (int i = 0; entries && i < n; i++) free(entries[i]);
    free(entries);
    return n;
}

static void free_files(char **files, int n) {
    for (int i = 0; i < n; i++) free(files[i]);
    free(files);
}

bool hy_is_bin(const char *path) {
    if (!hy_is_folder(path)) return is_bin(path);
    char **files;
    const int n = list_files(path, &files);
    bool all = n > 0;
    for (int i = 0; i < n; i++) all = all && is_bin(files[i]) && !hy_is_folder(files[i]);
    free_files(files, n);
    return all;
}

static hy_status add_bin(hy_corpus *c, const char *path, int *vocab, hy_hasher *content) {
    shard *s = &c->shards[c->n++];
    HY_TRY(map_file(path, &s->ids));
    HY_TRY(read_header(c, s, vocab));
    s->from = c->facts.tokens;
    c->facts.tokens += s->tokens;
    hy_hasher_add(content, s->ids.data, s->ids.bytes);
    return HY_OK;
}

hy_status hy_corpus_open_bin(const char *path, int vocab, hy_corpus **out) {
    char **files;
    const int n = list_files(path, &files);
    hy_corpus *c = corpus_new(path, n > 0 ? n : 0);
    hy_hasher *content = hy_hasher_new();
    hy_status s = n > 0 ? HY_OK : hy_error(HY_EINPUT, "%s: holds no files", path);
    for (int i = 0; i < n && !s; i++) s = add_bin(c, files[i], &vocab, content);
    hy_hasher_end(content, c->content);
    free_files(files, n);
    c->facts.vocab = vocab;
    c->facts.bytes = -1;
    c->facts.documents = 1;
    *out = s ? NULL : c;
    if (s) hy_corpus_close(c);
    return s;
}

// ---------------------------------------------------------------------------------------------------- asking
const hy_corpus_facts *hy_corpus_about(const hy_corpus *c) { return &c->facts; }

// The last shard that begins no later; by tokens or by documents.
static shard *shard_of(const hy_corpus *c, int64_t at, bool documents) {
    int low = 0, high = c->n - 1;
    while (low < high) {
        const int mid = (low + high + 1) / 2;
        if ((documents ? c->shards[mid].first : c->shards[mid].from) <= at)
            low = mid;
        else
            high = mid - 1;
    }
    return &c->shards[low];
}

hy_corpus_document hy_corpus_document_at(const hy_corpus *c, int64_t i) {
    HY_ASSERT(i >= 0 && i < c->facts.documents);
    const shard *s = shard_of(c, i, true);
    if (!s->documents.bytes) return (hy_corpus_document){.tokens = c->facts.tokens, .bytes = -1};
    const int64_t n = i - s->first;
    const uint64_t from = n ? end_of(s, n - 1) : 0;
    hy_corpus_entry e;
    memcpy(&e, s->documents.data + (size_t)n * sizeof e, sizeof e);
    return (hy_corpus_document){s->from + (int64_t)from, (int64_t)(e.end - from), (int64_t)e.bytes, e.hash};
}

// The ids of a shard against their checksum, once.
static hy_status check_ids(const hy_corpus *c, shard *s) {
    if (!*s->hash || atomic_load_explicit(&s->seen, memory_order_acquire) == GOOD) return HY_OK;
    pthread_mutex_t *lock = (pthread_mutex_t *)&c->checking;
    pthread_mutex_lock(lock);
    if (atomic_load(&s->seen) == UNSEEN) {
        char hash[33];
        hy_hash_hex(s->ids.data, s->ids.bytes, hash);
        atomic_store_explicit(&s->seen, strcmp(hash, s->hash) ? BAD : GOOD, memory_order_release);
    }
    pthread_mutex_unlock(lock);
    return atomic_load(&s->seen) == GOOD ? HY_OK : damaged(s->ids.path, "its checksum is another");
}

hy_status hy_corpus_ids(const hy_corpus *c, int64_t at, size_t n, int32_t *out) {
    HY_ASSERT(at >= 0 && at + (int64_t)n <= c->facts.tokens);
    while (n) {
        shard *s = shard_of(c, at, false);
        HY_TRY(check_ids(c, s));
        const char *data = s->ids.data + s->skip + (size_t)(at - s->from) * (size_t)c->width;
        const size_t left = (size_t)(s->from + s->tokens - at), part = n < left ? n : left;
        for (size_t i = 0; i < part; i++) {
            uint32_t id = 0;
            memcpy(&id, data + i * (size_t)c->width, (size_t)c->width);
            if (id >= (uint32_t)c->facts.vocab)
                return hy_error(HY_EINPUT, "%s: token %lld is id %u, not below the vocabulary of %d", s->ids.path,
                                (long long)(at - s->from) + (long long)i, id, c->facts.vocab);
            out[i] = (int32_t)id;
        }
        at += (int64_t)part, out += part, n -= part;
    }
    return HY_OK;
}
