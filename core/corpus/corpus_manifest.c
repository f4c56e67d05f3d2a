// corpus_manifest.c - manifest.json and unfinished.json: reading with checks, writing. See corpus.h for what is in
// them.
#include <limits.h>
#include <stdlib.h>

#include "core/corpus/corpus_impl.h"

#define CHECKSUM "\"checksum\""
#define MAX_BYTES ((size_t)1 << 30)
enum { MAX_DEPTH = 8 };

char *hy_corpus_shard_path(const char *dir, int shard, const char *what) {
    return hy_asprintf("%s/%05d.%s", dir, shard, what);
}

hy_hasher *hy_corpus_content_begin(int width, int vocab) {
    hy_hasher *h = hy_hasher_new();
    char line[64];
    const int n = snprintf(line, sizeof line, HY_CORPUS_FORMAT " %d u%d %d\n", HY_CORPUS_VERSION, 8 * width, vocab);
    hy_hasher_add(h, line, (size_t)n);
    return h;
}

void hy_corpus_content_add(hy_hasher *h, uint64_t tokens, const hy_corpus_entry *e) {
    const hy_corpus_entry one = {.end = tokens, .bytes = e->bytes, .hash = e->hash};
    hy_hasher_add(h, &one, sizeof one);
}

void hy_corpus_manifest_free(hy_corpus_manifest *m) {
    for (int i = 0; i < m->n_sources; i++) free(m->sources[i].path);
    free(m->sources);
    free(m->shards);
    free(m->tokenizer_kind);
    free(m->settings);
    *m = (hy_corpus_manifest){0};
}

// ---------------------------------------------------------------------------------------------------- writing
static void set_counts(hy_json *o, int64_t tokens, int64_t documents, int64_t bytes) {
    hy_json_set_int(o, "tokens", tokens);
    hy_json_set_int(o, "documents", documents);
    hy_json_set_int(o, "bytes", bytes);
}

static hy_json *place_json(const hy_corpus_place *p) {
    hy_json *o = hy_json_new_object();
    hy_json_set_int(o, "source", p->file);
    hy_json_set_int(o, "offset", p->offset);
    hy_json_set_int(o, "line", p->line);
    hy_json_set_string(o, "hash", p->hash);
    return o;
}

static hy_json *shards_json(const hy_corpus_manifest *m) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < m->n_shards; i++) {
        const hy_corpus_shard *s = &m->shards[i];
        hy_json *o = hy_json_new_object();
        set_counts(o, s->tokens, s->documents, s->bytes);
        hy_json_set_string(o, "tokens_hash", s->tokens_hash);
        hy_json_set_string(o, "documents_hash", s->documents_hash);
        hy_json_set(o, "from", place_json(&s->from));
        hy_json_add(list, o);
    }
    return list;
}

static hy_json *sources_json(const hy_corpus_manifest *m) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < m->n_sources; i++) {
        hy_json *o = hy_json_new_object();
        hy_json_set_string(o, "path", m->sources[i].path);
        hy_json_set_int(o, "bytes", m->sources[i].bytes);
        hy_json_set_string(o, "hash", m->sources[i].hash);
        hy_json_add(list, o);
    }
    return list;
}

hy_status hy_corpus_manifest_write(const char *path, const hy_corpus_manifest *m) {
    hy_json *o = hy_json_new_object(), *tokenizer = hy_json_new_object();
    hy_buf text = {0};
    char hash[33];
    hy_json_set_string(o, "format", HY_CORPUS_FORMAT);
    hy_json_set_int(o, "version", HY_CORPUS_VERSION);
    hy_json_set_string(o, "dtype", m->width == 2 ? "u16" : "u32");
    hy_json_set_int(o, "vocab", m->vocab);
    set_counts(o, m->tokens, m->documents, m->bytes);
    hy_json_set_string(o, "content", m->content);
    hy_json_set_string(tokenizer, "kind", m->tokenizer_kind);
    hy_json_set_string(tokenizer, "hash", m->tokenizer_hash);
    hy_json_set(o, "tokenizer", tokenizer);
    hy_json_set_text(o, "settings", m->settings);
    hy_json_set(o, "sources", sources_json(m));
    hy_json_set(o, "shards", shards_json(m));
    if (!m->finished) hy_json_set(o, "next", place_json(&m->next));
    hy_json_text(o, 2, &text);
    hy_json_free(o);
    text.n -= 2;  // the brace that closes it, and the new line before
    hy_buf_printf(&text, ",\n  ");
    hy_hash_hex(text.s, text.n, hash);
    hy_buf_printf(&text, CHECKSUM ": \"%s\"\n}\n", hash);
    const hy_status s = hy_file_write(path, text.s, text.n);
    free(text.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- reading
static hy_status get_hash(const hy_json *o, const char *where, const char *key, bool may_lack, char out[33]) {
    const char *s;
    HY_TRY(hy_json_get_string(o, where, key, &s));
    if (strlen(s) != 32 && !(may_lack && !*s))
        return hy_error(HY_EINPUT, "%s: %s: 32 hexadecimal digits are wanted", where, key);
    snprintf(out, 33, "%s", s);
    return HY_OK;
}

static hy_status get_counts(const hy_json *o, const char *where, int64_t *tokens, int64_t *documents, int64_t *bytes) {
    HY_TRY(hy_json_get_int(o, where, "tokens", 0, INT64_MAX / 16, tokens));
    HY_TRY(hy_json_get_int(o, where, "documents", 0, INT64_MAX / 64, documents));
    return hy_json_get_int(o, where, "bytes", 0, INT64_MAX / 16, bytes);
}

static hy_status get_place(const hy_json *o, const char *where, const char *key, int sources, hy_corpus_place *p) {
    const hy_json *place;
    int64_t file;
    HY_TRY(hy_json_get_object(o, where, key, &place));
    HY_TRY(hy_json_get_int(place, where, "source", 0, sources, &file));
    HY_TRY(hy_json_get_int(place, where, "offset", 0, INT64_MAX, &p->offset));
    HY_TRY(hy_json_get_int(place, where, "line", 1, INT64_MAX, &p->line));
    p->file = (int)file;
    return get_hash(place, where, "hash", true, p->hash);
}

static hy_status get_sources(const hy_json *root, const char *where, hy_corpus_manifest *m) {
    const hy_json *list;
    HY_TRY(hy_json_get_array(root, where, "sources", &list));
    const size_t n = hy_json_size(list);
    m->sources = hy_xcalloc(n + 1, sizeof *m->sources);
    for (size_t i = 0; i < n; i++) {
        hy_corpus_source *s = &m->sources[m->n_sources];
        const hy_json *o = hy_json_at(list, i);
        const char *path;
        if (hy_json_type_of(o) != HY_JSON_OBJECT) return hy_error(HY_EINPUT, "%s: sources: objects are wanted", where);
        HY_TRY(hy_json_get_string(o, where, "path", &path));
        HY_TRY(hy_json_get_int(o, where, "bytes", 0, INT64_MAX, &s->bytes));
        HY_TRY(get_hash(o, where, "hash", true, s->hash));
        s->path = hy_xstrdup(path);
        m->n_sources++;
    }
    return HY_OK;
}

static hy_status get_shards(const hy_json *root, const char *where, hy_corpus_manifest *m) {
    const hy_json *list;
    HY_TRY(hy_json_get_array(root, where, "shards", &list));
    const size_t n = hy_json_size(list);
    int64_t tokens = 0, documents = 0, bytes = 0;
    m->shards = hy_xcalloc(n + 1, sizeof *m->shards);
    for (size_t i = 0; i < n; i++) {
        hy_corpus_shard *s = &m->shards[m->n_shards++];
        const hy_json *o = hy_json_at(list, i);
        if (hy_json_type_of(o) != HY_JSON_OBJECT) return hy_error(HY_EINPUT, "%s: shards: objects are wanted", where);
        HY_TRY(get_counts(o, where, &s->tokens, &s->documents, &s->bytes));
        HY_TRY(get_hash(o, where, "tokens_hash", false, s->tokens_hash));
        HY_TRY(get_hash(o, where, "documents_hash", false, s->documents_hash));
        HY_TRY(get_place(o, where, "from", m->n_sources, &s->from));
        tokens += s->tokens, documents += s->documents, bytes += s->bytes;
    }
    if (tokens != m->tokens || documents != m->documents || bytes != m->bytes)
        return hy_error(HY_EINPUT,
                        "%s: its shards have %lld tokens, %lld documents and %lld bytes together, it says %lld, "
                        "%lld and %lld",
                        where, (long long)tokens, (long long)documents, (long long)bytes, (long long)m->tokens,
                        (long long)m->documents, (long long)m->bytes);
    return HY_OK;
}

static hy_status get_tokenizer(const hy_json *root, const char *where, hy_corpus_manifest *m) {
    const hy_json *o;
    const char *kind;
    HY_TRY(hy_json_get_object(root, where, "tokenizer", &o));
    HY_TRY(hy_json_get_string(o, where, "kind", &kind));
    m->tokenizer_kind = hy_xstrdup(kind);
    HY_TRY(get_hash(o, where, "hash", false, m->tokenizer_hash));
    HY_TRY(hy_json_get_object(root, where, "settings", &o));
    hy_buf text = {0};
    hy_json_text(o, 0, &text);
    m->settings = text.s;
    return HY_OK;
}

static hy_status from_json(const hy_json *root, const char *where, hy_corpus_manifest *m) {
    const char *text;
    int64_t n;
    if (hy_json_type_of(root) != HY_JSON_OBJECT) return hy_error(HY_EINPUT, "%s: an object is wanted", where);
    HY_TRY(hy_json_get_string(root, where, "format", &text));
    if (strcmp(text, HY_CORPUS_FORMAT))
        return hy_error(HY_EINPUT, "%s: format \"%.40s\" is none of token shards (\"" HY_CORPUS_FORMAT "\")", where,
                        text);
    HY_TRY(hy_json_get_int(root, where, "version", 1, INT_MAX, &n));
    if (n != HY_CORPUS_VERSION)
        return hy_error(HY_EINPUT, "%s: version %lld of the format; this hylab reads version %d: use a newer one",
                        where, (long long)n, HY_CORPUS_VERSION);
    HY_TRY(hy_json_get_string(root, where, "dtype", &text));
    if (strcmp(text, "u16") && strcmp(text, "u32"))
        return hy_error(HY_EINPUT, "%s: dtype \"%.40s\" is neither u16 nor u32", where, text);
    m->width = strcmp(text, "u16") ? 4 : 2;
    HY_TRY(hy_json_get_int(root, where, "vocab", 1, HY_TOKENIZER_MAX_VOCAB, &n));
    m->vocab = (int)n;
    HY_TRY(get_counts(root, where, &m->tokens, &m->documents, &m->bytes));
    HY_TRY(get_hash(root, where, "content", !m->finished, m->content));
    HY_TRY(get_tokenizer(root, where, m));
    HY_TRY(get_sources(root, where, m));
    HY_TRY(get_shards(root, where, m));
    return m->finished ? HY_OK : get_place(root, where, "next", m->n_sources, &m->next);
}

// The bytes before the last "checksum" have the hash that follows it.
static hy_status check_sum(const char *path, const char *data, size_t n) {
    const char *at = NULL;
    char hash[33];
    for (const char *p = data; (p = memmem(p, n - (size_t)(p - data), CHECKSUM, strlen(CHECKSUM))); p++) at = p;
    if (!at) return hy_error(HY_EINPUT, "%s: damaged: it has no checksum; is it cut off?", path);
    hy_hash_hex(data, (size_t)(at - data), hash);
    if (!strstr(at, hash))
        return hy_error(HY_EINPUT,
                        "%s: damaged or changed by hand: its checksum is not that of its text; make the set again "
                        "(hylab tokenize --out), or fetch a copy",
                        path);
    return HY_OK;
}

hy_status hy_corpus_manifest_read(const char *path, hy_corpus_manifest *out) {
    const char *name = strrchr(path, '/');
    char *data;
    size_t n;
    hy_json *root = NULL;
    *out = (hy_corpus_manifest){.finished = strcmp(name ? name + 1 : path, HY_CORPUS_UNFINISHED) != 0};
    HY_TRY(hy_file_read(path, MAX_BYTES, &data, &n));
    hy_status s = check_sum(path, data, n);
    if (!s) s = hy_json_parse(data, n, path, MAX_DEPTH, &root);
    free(data);
    if (!s) s = from_json(root, path, out);
    hy_json_free(root);
    if (s) hy_corpus_manifest_free(out);
    return s;
}
