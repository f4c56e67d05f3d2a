// task_text_docs.c - the documents of a text: which split each is in, and the windows that examples are. See
// text_impl.h.
//
// Window k of a document of n tokens asks for the labels k T .. k T + T - 1 (label i is token i + 1). The last one
// reaches back so that it is as long as the rest, where the document is long enough, and what the window before has is
// ignored; of a shorter document the rest of the row is padding, ignored too. So every token but the first of each
// document is a label of one window. With pack=stream the documents of a split, end to end, count as one.
#include <math.h>
#include <stdlib.h>

#include "core/task/text_impl.h"

void hy_text_docs_add(hy_text_docs *d, int64_t from, int64_t tokens, int64_t bytes) {
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->from = hy_xrealloc(d->from, (size_t)d->cap * sizeof *d->from);
        d->upto = hy_xrealloc(d->upto, (size_t)(d->cap + 1) * sizeof *d->upto);
        if (!d->n) d->upto[0] = 0;
    }
    d->from[d->n] = from;
    d->upto[d->n + 1] = d->upto[d->n] + tokens;
    d->bytes = d->bytes < 0 || bytes < 0 ? -1 : d->bytes + bytes;
    d->n++;
}

void hy_text_docs_free(hy_text_data *d) {
    for (int s = 0; s < HY_SPLITS; s++) {
        free(d->docs[s].from);
        free(d->docs[s].upto);
        for (int i = 0; i < d->n_before[s]; i++) free(d->before[s][i]);
        free(d->before[s]);
    }
}

static int64_t tokens_of(const hy_text_docs *d) { return d->n ? d->upto[d->n] : 0; }

// ---------------------------------------------------------------------------------------------------- splits
// A document's place in [0, 1): of what it holds, so copies of one are in one split, and others do not move it.
static double place_of(uint64_t hash, int64_t seed) {
    return (double)(int64_t)(hy_mix64(hash, (uint64_t)seed) >> 11) * 0x1p-53;
}

static hy_status check_shares(const hy_text_options *o, const hy_text_data *d, int64_t documents) {
    static const char *const names[HY_SPLITS] = {"training", "validation", "tuning"};
    for (int s = 0; s < HY_SPLITS; s++)
        if (tokens_of(&d->docs[s]) < 2 && (s != HY_SPLIT_TUNE || o->tuning > 0))
            return hy_error(
                HY_EINPUT,
                "%s: none of its %lld documents is in the %s part: each is by a hash of its own (validation "
                "%g, tuning %g); choose other shares or another split_seed",
                o->path, (long long)documents, names[s], o->validation, o->tuning);
    return HY_OK;
}

hy_status hy_text_split_set(const hy_text_options *o, hy_text_data *d) {
    const hy_corpus_facts *f = hy_corpus_about(d->corpus);
    if (f->documents > 1) {
        for (int64_t i = 0; i < f->documents; i++) {
            const hy_corpus_document one = hy_corpus_document_at(d->corpus, i);
            const double at = place_of(one.hash, o->split_seed);
            const hy_split s = at < o->validation               ? HY_SPLIT_EVAL
                               : at < o->validation + o->tuning ? HY_SPLIT_TUNE
                                                                : HY_SPLIT_TRAIN;
            hy_text_docs_add(&d->docs[s], one.from, one.tokens, one.bytes);
        }
        return check_shares(o, d, f->documents);
    }
    const double n = (double)f->tokens;
    const int64_t eval = (int64_t)(n * o->validation), tune = (int64_t)(n * o->tuning), train = f->tokens - eval - tune;
    d->whole = true;
    hy_text_docs_add(&d->docs[HY_SPLIT_TRAIN], 0, train, -1);
    hy_text_docs_add(&d->docs[HY_SPLIT_TUNE], train, tune, -1);
    // of a part of a document only its share of the bytes is known
    hy_text_docs_add(&d->docs[HY_SPLIT_EVAL], train + tune, eval,
                     f->bytes < 0 ? -1 : llround((double)f->bytes * (double)eval / n));
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- windows
static bool is_one(const hy_text_options *o, const hy_text_data *d) { return o->pack == HY_PACK_STREAM || d->whole; }

// Windows of a document of n tokens; or places at which one of T labels may begin.
static int64_t windows_of(int64_t n, int64_t T, bool crops) {
    if (n < 2) return 0;
    return crops ? (n > T ? n - T : 1) : (n - 1 + T - 1) / T;
}

static bool draws_crops(const hy_text_options *o, const hy_text_data *d, hy_split s) {
    return s == HY_SPLIT_TRAIN && (o->draw == HY_DRAW_AUTO ? d->whole : o->draw == HY_DRAW_CROPS);
}

// Windows or places of a split in all.
static int64_t windows_in(const hy_task *t, hy_split s, int cell) {
    const hy_text_data *d = t->data;
    const hy_text_docs *docs = &d->docs[s];
    const bool crops = draws_crops(t->options, d, s);
    if (d->before[s][cell]) return d->before[s][cell][docs->n];
    return windows_of(tokens_of(docs), t->cells[s][cell].T, crops);
}

int64_t hy_text_pass(const hy_task *t, int cell) {
    return draws_crops(t->options, t->data, HY_SPLIT_TRAIN) ? 0 : windows_in(t, HY_SPLIT_TRAIN, cell);
}

static hy_status count_windows(hy_task *t, hy_split s, int T, const char *part) {
    const hy_text_options *o = t->options;
    hy_text_data *d = t->data;
    const hy_text_docs *docs = &d->docs[s];
    const int cell = d->n_before[s]++;
    d->before[s] = hy_xrealloc(d->before[s], (size_t)d->n_before[s] * sizeof *d->before[s]);
    d->before[s][cell] = NULL;
    if (is_one(o, d)) {
        const int64_t n = tokens_of(docs);
        const char *unit = d->all.n && !d->tokenizer ? "bytes" : "tokens";
        if (n < (int64_t)T + 1)
            return hy_error(HY_EINPUT, "%s is too short: its %s part has %lld %s, length %d needs %d", o->path, part,
                            (long long)n, unit, T, T + 1);
        return HY_OK;
    }
    int64_t *before = hy_alloc((size_t)(docs->n + 1) * sizeof *before);
    if (!before) return HY_ENOMEM;
    d->before[s][cell] = before;
    const bool crops = draws_crops(o, d, s);
    before[0] = 0;
    for (int64_t i = 0; i < docs->n; i++)
        before[i + 1] = before[i] + windows_of(docs->upto[i + 1] - docs->upto[i], T, crops);
    return before[docs->n] ? HY_OK
                           : hy_error(HY_EINPUT, "%s: no document of its %s part has two tokens", o->path, part);
}

hy_status hy_text_cells(hy_task *t, hy_split s) {
    static const char *const parts[HY_SPLITS] = {"training", "validation", "tuning"};
    static const char *const names[HY_SPLITS] = {"train", "test", "tuning"};
    const hy_text_options *o = t->options;
    const hy_ints *lengths = s == HY_SPLIT_TRAIN ? &o->train : &o->test;
    if (lengths->n < 1) return hy_error(HY_EINPUT, "%s: at least one length is needed", names[s]);
    for (int i = 0; i < lengths->n; i++) {
        const hy_status st = count_windows(t, s, lengths->v[i], parts[s]);
        if (st) return hy_error_context(st, "%s", names[s]);
    }
    if (s == HY_SPLIT_TRAIN) return hy_task_lengths(t, s, lengths, &o->train_examples, 0, NAN, "T");
    for (int i = 0; i < lengths->n; i++) {
        hy_cell c = {.T = lengths->v[i], .x = lengths->v[i], .y = NAN};
        HY_TRY(hy_task_cell_add(t, s, c, "T%d", c.T));
        t->cells[s][i].count = windows_in(t, s, i);
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- tokens
static hy_status read_text(const hy_text_data *d, int64_t at, int64_t n, int32_t *out) {
    if (d->corpus) return hy_corpus_ids(d->corpus, at, (size_t)n, out);
    const unsigned char *bytes = (const unsigned char *)d->all.s;
    for (int64_t i = 0; i < n; i++) out[i] = d->tokenizer ? d->ids.v[at + i] : bytes[at + i];
    return HY_OK;
}

// The last i with v[i] <= at, of a rising list of n + 1 whose last is above it.
static int64_t find(const int64_t *v, int64_t n, int64_t at) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        const int64_t mid = (low + high + 1) / 2;
        if (v[mid] <= at)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

// Tokens of the documents of a split, end to end.
static hy_status read_stream(const hy_text_data *d, const hy_text_docs *docs, int64_t at, int64_t n, int32_t *out) {
    for (int64_t i = find(docs->upto, docs->n, at); n > 0; i++) {
        const int64_t left = docs->upto[i + 1] - at, part = n < left ? n : left;
        HY_TRY(read_text(d, docs->from[i] + (at - docs->upto[i]), part, out));
        at += part, out += part, n -= part;
    }
    return HY_OK;
}

hy_status hy_text_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                          int32_t *labels) {
    const hy_text_data *d = t->data;
    const hy_text_docs *docs = &d->docs[s];
    const int64_t T = t->cells[s][cell].T, all = windows_in(t, s, cell);
    const bool crops = draws_crops(t->options, d, s);
    int64_t k = index;
    if (crops)
        k = (int64_t)hy_rng_below(r, (uint64_t)all);
    else if (s == HY_SPLIT_TRAIN) {  // the order of a pass over all windows
        const hy_rng pass = hy_task_rng(t->seed, HY_DRAW_TABLE, cell, index / all);
        k = (int64_t)hy_permuted(hy_mix64(pass.seed, pass.stream), (uint64_t)all, (uint64_t)(index % all));
    }
    int64_t from = 0, n = tokens_of(docs);
    if (d->before[s][cell]) {
        const int64_t i = find(d->before[s][cell], docs->n, k);
        k -= d->before[s][cell][i];
        from = docs->upto[i], n = docs->upto[i + 1] - from;
    }
    const int64_t wanted = crops ? k : k * T, last = n - 1 - T, at = last < 0 ? 0 : wanted < last ? wanted : last;
    const int64_t len = n - 1 < T ? n - 1 : T, scored = wanted - at;
    HY_TRY(read_stream(d, docs, from + at, 1, ids));
    HY_TRY(read_stream(d, docs, from + at + 1, len, labels));
    for (int64_t i = 1; i < T; i++) ids[i] = i < len ? labels[i - 1] : 0;
    for (int64_t i = 0; i < T; i++)
        if (i < scored || i >= len) labels[i] = HY_IGNORE;
    return HY_OK;
}
