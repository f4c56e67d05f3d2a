// corpus_encode.c - ids of many documents, in parallel: a tokenizer for each thread, as one keeps a cache of words.
// What a document becomes depends on nothing but its text. See corpus_impl.h.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "core/base/parallel.h"
#include "core/base/utf8.h"
#include "core/corpus/corpus_impl.h"

typedef struct {
    hy_tokenizer *tokenizer;
    hy_token_ids ids;
    hy_status status;  // of opening it
    char *error;
} lane;

struct hy_corpus_encoder {
    const hy_corpus_job *job;
    int threads, vocab;
    int32_t begin, end;  // -1: none
    bool bytes;          // any bytes are text
    lane *lanes;
};

static void open_lanes(const void *ctx, long from, long to, int thread) {
    const hy_corpus_encoder *e = ctx;
    (void)thread;
    for (long i = from; i < to; i++) {
        lane *l = &e->lanes[i];
        l->status = hy_tokenizer_open(e->job->tokenizer, &l->tokenizer);
        if (l->status) l->error = hy_xstrdup(hy_error_text());
    }
}

// ---------------------------------------------------------------------------------------------------- marks
static hy_status mark_of(const hy_corpus_encoder *e, const char *as, const char *word, int32_t *out) {
    const hy_tokenizer *t = e->lanes[0].tokenizer;
    const bool eos = word && !strcmp(word, "eos"), bos = word && !strcmp(word, "bos");
    *out = -1;
    if (!word) return HY_OK;
    if (eos || bos) {
        *out = hy_tokenizer_special(t, eos ? HY_TOKEN_EOS : HY_TOKEN_BOS);
        if (*out >= 0) return HY_OK;
        return hy_error(HY_EINPUT, "%s %s: the files of tokenizer %s name no such token: give its id, or its text", as,
                        word, e->job->tokenizer);
    }
    if ((*out = hy_tokenizer_id(t, word, strlen(word))) >= 0 && !e->bytes) return HY_OK;
    char *end;
    errno = 0;
    const long id = strtol(word, &end, 10);
    // bytes have no token to spare: the next one stands for it
    const int ids = hy_tokenizer_vocab(t) + e->bytes;
    if (errno || end == word || *end || id < 0 || id >= ids)
        return hy_error(HY_EINPUT, "%s %s: is neither bos, eos, a piece of the tokenizer nor an id from 0 to %d", as,
                        word, ids - 1);
    *out = (int32_t)id;
    return HY_OK;
}

static hy_status settle(hy_corpus_encoder *e) {
    for (int i = 0; i < e->threads; i++)
        if (e->lanes[i].status) return hy_error(e->lanes[i].status, "%s", e->lanes[i].error);
    e->bytes = !strcmp(hy_tokenizer_path(e->lanes[0].tokenizer), "bytes");
    e->vocab = hy_tokenizer_vocab(e->lanes[0].tokenizer);
    HY_TRY(mark_of(e, "--begin", e->job->begin, &e->begin));
    HY_TRY(mark_of(e, "--end", e->job->end, &e->end));
    if (e->begin >= e->vocab) e->vocab = e->begin + 1;
    if (e->end >= e->vocab) e->vocab = e->end + 1;
    return HY_OK;
}

hy_status hy_corpus_encoder_open(const hy_corpus_job *job, hy_corpus_encoder **out) {
    hy_corpus_encoder *e = hy_xcalloc(1, sizeof *e);
    e->job = job;
    e->threads = job->threads ? job->threads : hy_parallel_threads();
    e->lanes = hy_xcalloc((size_t)e->threads, sizeof *e->lanes);
    hy_parallel(e->threads, e->threads, 1, open_lanes, e);
    const hy_status s = settle(e);
    *out = s ? NULL : e;
    if (s) hy_corpus_encoder_close(e);
    return s;
}

void hy_corpus_encoder_close(hy_corpus_encoder *e) {
    if (!e) return;
    for (int i = 0; i < e->threads; i++) {
        hy_tokenizer_close(e->lanes[i].tokenizer);
        free(e->lanes[i].ids.v);
        free(e->lanes[i].error);
    }
    free(e->lanes);
    free(e);
}

const hy_tokenizer *hy_corpus_encoder_tokenizer(const hy_corpus_encoder *e) { return e->lanes[0].tokenizer; }
int hy_corpus_encoder_threads(const hy_corpus_encoder *e) { return e->threads; }
int hy_corpus_encoder_vocab(const hy_corpus_encoder *e) { return e->vocab; }
int32_t hy_corpus_encoder_mark(const hy_corpus_encoder *e, bool end) { return end ? e->end : e->begin; }

// ---------------------------------------------------------------------------------------------------- documents
static hy_status check_utf8(const hy_corpus_text *t, const char *s) {
    const size_t bad = hy_utf8_bad(s, t->n);
    int64_t line = t->line;
    if (bad == t->n) return HY_OK;
    for (const char *at = s; (at = memchr(at, '\n', (size_t)(s + bad - at))); at++) line++;
    return hy_error(HY_EINPUT, "%s: line %lld: is not UTF-8: byte 0x%02X at offset %lld of the file", t->path,
                    (long long)line, (uint8_t)s[bad], (long long)t->offset + (int64_t)bad);
}

static hy_status encode_text(hy_corpus_encoder *e, lane *l, hy_corpus_item *item, const char *s, size_t n) {
    item->bytes = (int64_t)n;
    if (!n) return HY_OK;
    if (e->begin >= 0) hy_token_ids_add(&l->ids, e->begin);
    const hy_status st = hy_tokenizer_encode(l->tokenizer, s, n, false, &l->ids);
    if (st) return hy_error_context(st, "%s: line %lld", item->text.path, (long long)item->text.line);
    if (e->end >= 0) hy_token_ids_add(&l->ids, e->end);
    return HY_OK;
}

static hy_status encode_json(hy_corpus_encoder *e, lane *l, hy_corpus_item *item, const char *line) {
    char *where = hy_asprintf("%s: line %lld", item->text.path, (long long)item->text.line);
    hy_json *root = NULL;
    const char *s = NULL;
    hy_status st = hy_json_parse(line, item->text.n, where, 0, &root);
    if (!st && hy_json_type_of(root) != HY_JSON_OBJECT)
        st =
            hy_error(HY_EINPUT, "%s: a JSON object is wanted, not %s", where, hy_json_type_name(hy_json_type_of(root)));
    if (!st) st = hy_json_get_string(root, where, e->job->text, &s);
    if (!st) st = encode_text(e, l, item, s, strlen(s));
    hy_json_free(root);
    free(where);
    return st;
}

static hy_status encode_item(hy_corpus_encoder *e, lane *l, hy_corpus_item *item, const char *s) {
    if (e->job->cut == HY_CUT_JSONL) return encode_json(e, l, item, s);
    if (!e->bytes) HY_TRY(check_utf8(&item->text, s));
    return encode_text(e, l, item, s, item->text.n);
}

typedef struct {
    hy_corpus_encoder *e;
    const char *all;
    hy_corpus_item *items;
} work;

static void encode_some(const void *ctx, long from, long to, int thread) {
    const work *w = ctx;
    lane *l = &w->e->lanes[thread];
    for (long i = from; i < to; i++) {
        hy_corpus_item *item = &w->items[i];
        item->lane = thread;
        item->at = l->ids.n;
        item->status = encode_item(w->e, l, item, w->all + item->text.at);
        item->n = l->ids.n - item->at;
        if (item->status) item->error = hy_xstrdup(hy_error_text());
    }
}

hy_status hy_corpus_encode(hy_corpus_encoder *e, const char *all, hy_corpus_item *items, size_t n) {
    const work w = {e, all, items};
    hy_status s = HY_OK;
    for (int i = 0; i < e->threads; i++) e->lanes[i].ids.n = 0;
    hy_parallel(e->threads, (long)n, 1, encode_some, &w);
    for (size_t i = 0; i < n; i++) {
        if (items[i].status && !s) s = hy_error(items[i].status, "%s", items[i].error);
        free(items[i].error);
        items[i].error = NULL;
    }
    return s;
}

const int32_t *hy_corpus_encoder_ids(const hy_corpus_encoder *e, const hy_corpus_item *item) {
    return e->lanes[item->lane].ids.v + item->at;
}
