// likelihood.c - see likelihood.h. Items are sorted so that those with the same tokens before `first` lie side by side
// (a group) and groups of like length too. A batch of groups takes two passes, each in chunks: over the prefixes, all
// tokens before the last one that is given; then, with a copy of the prefix's state for each, over the tails: that last
// token and the tokens that are asked for, without the last, of which nothing follows.
#include "core/exec/likelihood.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16, ROWS = 1024 };

static int prefix_of(const hy_likelihood_item *it) { return it->first - 1; }
static int tail_of(const hy_likelihood_item *it) { return it->n - it->first; }

typedef struct {
    const hy_program *p;
    hy_params *w;
    hy_likelihood_item **item;  // [n] sorted
    int n, batch, rows;
    int tokens;                  // what the states hold
    hy_state *prefixes, *tails;  // [batch] sequences each
    hy_exec *e;
    int32_t *ids, *labels, *len;  // [rows], [rows], [batch]
} scoring;

// ---------------------------------------------------------------------------------------------------- order
// Longest prefix first; equal ones side by side, then the longest tail.
static int by_prefix(const void *a, const void *b) {
    const hy_likelihood_item *x = *(hy_likelihood_item *const *)a, *y = *(hy_likelihood_item *const *)b;
    if (x->first != y->first) return x->first > y->first ? -1 : 1;
    const int c = memcmp(x->ids, y->ids, (size_t)x->first * sizeof *x->ids);
    if (c) return c;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return x < y ? -1 : x > y;
}
static bool same_prefix(const hy_likelihood_item *x, const hy_likelihood_item *y) {
    return x->first == y->first && !memcmp(x->ids, y->ids, (size_t)x->first * sizeof *x->ids);
}
// The end of the group that begins at item i.
static int group_end(const scoring *s, int i) {
    int j = i + 1;
    while (j < s->n && same_prefix(s->item[i], s->item[j])) j++;
    return j;
}

// ---------------------------------------------------------------------------------------------------- passes
static hy_status check_items(const hy_program *p, int n, const hy_likelihood_item *items) {
    for (int i = 0; i < n; i++) {
        const hy_likelihood_item *it = &items[i];
        if (it->first < 1 || it->first >= it->n)
            return hy_error(HY_EINPUT,
                            "item %d: %d tokens of which those from %d on are asked for: at least one must be "
                            "given and one asked for",
                            i + 1, it->n, it->first);
        for (int t = 0; t < it->n; t++)
            if (it->ids[t] < 0 || it->ids[t] >= p->spec.vocab)
                return hy_error(HY_EINPUT, "item %d, token %d: %d is outside the vocabulary 0 .. %d", i + 1, t,
                                (int)it->ids[t], p->spec.vocab - 1);
    }
    return HY_OK;
}

// Adds what a pass has found out about the tokens of row b, T to a row.
static hy_status collect(scoring *s, hy_likelihood_item *it, int b, int T) {
    const float *nll = hy_exec_nll(s->e);
    const int32_t *pred = hy_exec_pred(s->e);
    if (!nll || !pred) return HY_EFAIL;
    for (int r = b * T; r < b * T + s->len[b]; r++) {
        if (!isfinite(nll[r]))
            return hy_error(HY_EDIVERGED,
                            "the likelihood of token %d is no number: the weights are damaged, or their "
                            "training diverged",
                            (int)s->labels[r]);
        it->sum -= (double)nll[r];
        it->greedy = it->greedy && pred[r] == s->labels[r];
    }
    return HY_OK;
}

static int chunk_of(const scoring *s, int B, int longest) {
    const int T = s->rows / B < 1 ? 1 : s->rows / B;
    return T < longest ? T : longest;
}

// The prefixes of B groups, that of item first[b] as sequence b: meta tokens, then all but the last token given.
static hy_status feed_prefixes(scoring *s, int B, hy_likelihood_item *const *first) {
    const int m = s->p->spec.meta_tokens;
    int longest = 0;
    for (int b = 0; b < B; b++)
        if (m + prefix_of(first[b]) > longest) longest = m + prefix_of(first[b]);
    if (!longest) return HY_OK;
    const int T = chunk_of(s, B, longest);
    for (int from = 0; from < longest; from += T) {
        for (int b = 0; b < B; b++) {
            const int left = m + prefix_of(first[b]) - from;
            s->len[b] = left < 0 ? 0 : left < T ? left : T;
            for (int t = 0; t < T; t++) {
                const int at = from + t;
                s->ids[b * T + t] = t >= s->len[b] ? 0 : at < m ? -(at + 1) : first[b]->ids[at - m];
            }
        }
        const hy_batch batch = {.B = B, .T = T, .ids = s->ids, .len = s->len};
        HY_TRY(hy_exec_forward(s->e, s->w, &batch, s->prefixes, 0, NULL));
        if (hy_interrupted) return hy_error(HY_EINTR, "interrupted");
    }
    return HY_OK;
}

// The tails of B items, whose states are there.
static hy_status feed_tails(scoring *s, hy_state *st, int B, hy_likelihood_item *const *item) {
    int longest = 0;
    for (int b = 0; b < B; b++)
        if (tail_of(item[b]) > longest) longest = tail_of(item[b]);
    const int T = chunk_of(s, B, longest);
    for (int from = 0; from < longest; from += T) {
        for (int b = 0; b < B; b++) {
            const int32_t *ids = item[b]->ids + item[b]->first - 1 + from;
            const int left = tail_of(item[b]) - from;
            s->len[b] = left < 0 ? 0 : left < T ? left : T;
            for (int t = 0; t < T; t++) {
                s->ids[b * T + t] = t < s->len[b] ? ids[t] : 0;
                s->labels[b * T + t] = t < s->len[b] ? ids[t + 1] : -1;
            }
        }
        const hy_batch batch = {.B = B, .T = T, .ids = s->ids, .labels = s->labels, .len = s->len};
        HY_TRY(hy_exec_forward(s->e, s->w, &batch, st, HY_HEAD_LOSS, NULL));
        for (int b = 0; b < B; b++) HY_TRY(collect(s, item[b], b, T));
        if (hy_interrupted) return hy_error(HY_EINTR, "interrupted");
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- batches
// States that hold `tokens`: the longest items come first, and much smaller states are cheaper to copy.
static hy_status need_states(scoring *s, int tokens) {
    if (s->prefixes && tokens <= s->tokens && tokens > s->tokens / 2) {
        HY_TRY(hy_state_reset(s->prefixes));
        return HY_OK;
    }
    hy_state_free(s->prefixes);
    hy_state_free(s->tails);
    s->prefixes = s->tails = NULL;
    s->tokens = tokens;
    return hy_state_create(s->p, s->w->be, s->w->compute, s->batch, tokens, &s->prefixes);
}

// Groups from item i on, as many as fit a batch; *end: the item after them.
static hy_status score_batch(scoring *s, int i, int *end) {
    hy_likelihood_item **first = hy_xcalloc((size_t)s->batch, sizeof *first);
    int groups = 0, tokens = 0, j = i;
    bool single = true;
    do {  // the first group may be larger than a batch
        const int to = group_end(s, j);
        if (groups && to - i > s->batch) break;
        first[groups++] = s->item[j];
        single = single && to - j == 1;
        for (; j < to; j++)
            if (s->item[j]->n - 1 > tokens) tokens = s->item[j]->n - 1;
    } while (j < s->n && groups < s->batch);
    hy_status st = need_states(s, tokens);
    if (!st) st = feed_prefixes(s, groups, first);
    if (!st && single) st = feed_tails(s, s->prefixes, groups, s->item + i);
    if (!st && !single && !s->tails)
        st = hy_state_create(s->p, s->w->be, s->w->compute, s->batch, s->tokens, &s->tails);
    for (int k = i, g = 0; !st && !single && k < j; k += s->batch) {
        const int B = j - k < s->batch ? j - k : s->batch;
        for (int b = 0; !st && b < B; b++) {
            if (k + b > i && !same_prefix(s->item[k + b], first[g])) g++;
            st = hy_state_copy(s->tails, b, s->prefixes, g);
        }
        if (!st) st = feed_tails(s, s->tails, B, s->item + k);
    }
    *end = j;
    free(first);
    return st;
}

hy_status hy_likelihood(const hy_program *p, hy_params *w, const hy_likelihood_opts *o, int n,
                        hy_likelihood_item *items) {
    if (n < 1) return HY_OK;
    HY_TRY(check_items(p, n, items));
    scoring s = {
        .p = p, .w = w, .n = n, .batch = o && o->batch ? o->batch : BATCH, .rows = o && o->rows ? o->rows : ROWS};
    if (s.batch > n) s.batch = n;
    if (s.rows < s.batch) s.rows = s.batch;
    HY_TRY(hy_exec_create(p, w->be, w->compute, HY_EXEC_INFER, s.batch, s.rows / s.batch, 0, &s.e));
    s.rows = s.rows / s.batch * s.batch;
    s.item = hy_xcalloc((size_t)n, sizeof *s.item);
    s.ids = hy_xcalloc(2 * (size_t)s.rows + (size_t)s.batch, sizeof *s.ids);
    s.labels = s.ids + s.rows;
    s.len = s.labels + s.rows;
    for (int i = 0; i < n; i++) {
        s.item[i] = &items[i];
        items[i].sum = 0;
        items[i].greedy = true;
    }
    qsort(s.item, (size_t)n, sizeof *s.item, by_prefix);
    hy_status st = HY_OK;
    for (int i = 0, end = 0; !st && i < n; i = end) st = score_batch(&s, i, &end);
    hy_exec_free(s.e);
    hy_state_free(s.prefixes);
    hy_state_free(s.tails);
    free(s.item);
    free(s.ids);
    return st;
}
