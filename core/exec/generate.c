// generate.c - see generate.h: prefill in chunks, then one token a step, and the sampler.
#include "core/exec/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Some backends compute a row of a product with the same bits in all products of few rows, and in all of many
// (hy_backend.few_rows). There, prompts always go through products of many rows and single tokens through products of
// few, so that each prompt of a batch gives the bits that it gives alone.
enum { CHUNK = 512, MAX_POSITIONS = 1 << 30 };

// ---------------------------------------------------------------------------------------------------- the sampler
// Tokens are ranked by logit, equal ones by number. What a rule keeps and what a draw hits are found by partition
// around a pivot, as in quickselect, in time linear in the vocabulary: there is no need to sort it.
static bool ranks_before(const hy_ranked_token *a, const hy_ranked_token *b) {
    return a->logit != b->logit ? a->logit > b->logit : a->token < b->token;
}

static void swap(hy_ranked_token *a, hy_ranked_token *b) {
    const hy_ranked_token t = *a;
    *a = *b;
    *b = t;
}

// Reorders r[0 .. n-1], n >= 1, around one of them: those that rank before it, it, those that rank after it. Returns
// its place.
static int partition(hy_ranked_token *r, int n) {
    hy_ranked_token *first = &r[0], *middle = &r[n / 2], *last = &r[n - 1];
    if (ranks_before(middle, first)) swap(middle, first);  // the median of three becomes the last
    if (ranks_before(last, first)) swap(last, first);
    if (ranks_before(middle, last)) swap(middle, last);
    int m = 0;
    for (int i = 0; i + 1 < n; i++)
        if (ranks_before(&r[i], last)) swap(&r[i], &r[m++]);
    swap(&r[m], last);
    return m;
}

// Reorders r [n] so that the k of highest rank come first.
static void select_top(hy_ranked_token *r, int n, int k) {
    for (int lo = 0, hi = n; lo < hi;) {
        const int at = lo + partition(r + lo, hi - lo);
        if (at == k || at + 1 == k) return;
        if (at > k)
            hi = at;
        else
            lo = at + 1;
    }
}

static void insertion_sort(hy_ranked_token *r, int n) {
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && ranks_before(&r[j], &r[j - 1]); j--) swap(&r[j], &r[j - 1]);
}

// How many of r [n] in order of rank it takes until their weights sum to `target` (above it, if `above`); all if they
// never do. Those come first then, the lowest in rank as the last of them; *sum: their weight.
static int select_weight(hy_ranked_token *r, int n, double target, bool above, double *sum) {
    enum { FEW = 32 };
    int lo = 0, hi = n;
    double before = 0;  // weight of r[0 .. lo-1]
    while (hi - lo > FEW) {
        const int at = lo + partition(r + lo, hi - lo);
        double here = 0;
        for (int i = lo; i <= at; i++) here += r[i].weight;
        if (above ? before + here > target : before + here >= target)
            hi = at + 1;
        else
            lo = at + 1, before += here;
    }
    insertion_sort(r + lo, hi - lo);
    for (int i = lo; i < hi; i++) {
        before += r[i].weight;
        if (above ? before > target : before >= target) hi = i + 1;
    }
    *sum = before;
    return hi;
}

int32_t hy_sample_token(const float *logits, int V, const hy_sample_spec *s, hy_rng *rng, hy_ranked_token *r) {
    int best = 0;
    for (int i = 1; i < V; i++)
        if (logits[i] > logits[best]) best = i;
    if (s->temperature <= 0) return best;
    int n = V;
    for (int i = 0; i < V; i++) r[i] = (hy_ranked_token){.logit = logits[i], .token = i};
    if (s->top_k > 0 && s->top_k < V) select_top(r, V, n = s->top_k);
    double total = 0;
    for (int i = 0; i < n; i++) total += r[i].weight = exp(((double)r[i].logit - logits[best]) / s->temperature);
    if (s->top_p < 1) n = select_weight(r, n, s->top_p * total, false, &total);
    return r[select_weight(r, n, hy_rng_uniform(rng) * total, true, &total) - 1].token;
}

// ---------------------------------------------------------------------------------------------------- decoding
typedef struct {
    const hy_program *p;
    hy_params *w;
    hy_state *st;
    hy_exec *prefill, *decode;
    int B, chunk;
    int first;                  // of all sequences
    int32_t *ids, *len, *rows;  // [B, chunk], [B], [B]
    float *logits;              // [B, vocab]: of the last token of each sequence
    hy_ranked_token *scratch;
    hy_rng *rng;
} generation;

// Feeds prompt positions from .. from+n-1 of every sequence (meta tokens in front); keeps the logits of last tokens.
static hy_status feed(generation *g, const int32_t *const *prompts, const int *len, int from, int n) {
    const int m = g->p->spec.meta_tokens;
    int n_out = 0, owner_n = 0;
    int *owner = hy_xcalloc((size_t)g->B, sizeof *owner);
    for (int b = 0; b < g->B; b++) {
        const int total = m + len[b], here = total - from < 0 ? 0 : total - from < n ? total - from : n;
        g->len[b] = here;
        for (int t = 0; t < n; t++) {
            const int pos = from + t;
            g->ids[b * n + t] = t >= here ? 0 : pos < m ? -(pos + 1) : prompts[b][pos - m];
        }
        if (here > 0 && from + here == total) {
            g->rows[n_out++] = b * n + here - 1;
            owner[owner_n++] = b;
        }
    }
    const hy_batch batch = {.B = g->B, .T = n, .ids = g->ids, .len = g->len, .out_rows = g->rows, .n_out = n_out};
    hy_status s = hy_exec_forward(g->prefill, g->w, &batch, g->st, n_out ? HY_HEAD_LOGITS : 0, NULL);
    const size_t V = (size_t)g->p->spec.vocab;
    const float *l = !s && n_out ? hy_exec_logits(g->prefill) : NULL;
    if (!s && n_out && !l) s = HY_EFAIL;
    for (int i = 0; !s && i < n_out; i++) memcpy(g->logits + (size_t)owner[i] * V, l + (size_t)i * V, V * sizeof *l);
    free(owner);
    return s;
}

// One token for every sequence that still runs; logits of those.
static hy_status step(generation *g, const int32_t *next, const bool *done) {
    const size_t V = (size_t)g->p->spec.vocab;
    int n_out = 0;
    for (int b = 0; b < g->B; b++) {
        g->ids[b] = done[b] ? 0 : next[b];
        g->len[b] = !done[b];
        if (!done[b]) g->rows[n_out++] = b;
    }
    const hy_batch batch = {.B = g->B, .T = 1, .ids = g->ids, .len = g->len, .out_rows = g->rows, .n_out = n_out};
    HY_TRY(hy_exec_forward(g->decode, g->w, &batch, g->st, HY_HEAD_LOGITS, NULL));
    const float *l = hy_exec_logits(g->decode);
    if (!l) return HY_EFAIL;
    for (int i = 0; i < n_out; i++) memcpy(g->logits + (size_t)g->rows[i] * V, l + (size_t)i * V, V * sizeof *l);
    return HY_OK;
}

// Of sequence b, after `made` new tokens. Nothing can be drawn from what is not a number.
static hy_status check_logits(const float *logits, int V, int b, int made) {
    for (int i = 0; i < V; i++)
        if (!isfinite(logits[i]))
            return hy_error(HY_EDIVERGED,
                            "the logit of token %d is %g after %d new tokens of sequence %d: the weights "
                            "are damaged, or their training diverged",
                            i, (double)logits[i], made, b + 1);
    return HY_OK;
}

static hy_status decode_all(generation *g, const hy_sample_spec *s, hy_on_token on_token, void *user, int32_t *out,
                            int *out_len) {
    bool *done = hy_xcalloc((size_t)g->B, sizeof *done);
    int32_t *next = hy_xcalloc((size_t)g->B, sizeof *next);
    hy_status st = HY_OK;
    for (int i = 0, left = g->B; !st && i < s->max_new && left; i++) {
        if (i > 0) st = step(g, next, done);
        for (int b = 0; !st && b < g->B; b++) {
            if (done[b]) continue;
            const float *l = g->logits + (size_t)b * (size_t)g->p->spec.vocab;
            st = check_logits(l, g->p->spec.vocab, b, out_len[b]);
            if (st) break;
            next[b] = hy_sample_token(l, g->p->spec.vocab, s, &g->rng[b], g->scratch);
            out[(size_t)b * (size_t)s->max_new + (size_t)out_len[b]++] = next[b];
            if (on_token) st = on_token(user, b, next[b]);
            for (int k = 0; k < s->n_eos; k++) done[b] |= next[b] == s->eos[k];
            if (s->ends && s->ends(s->ends_user, g->first + b, out + (size_t)b * (size_t)s->max_new, out_len[b]))
                done[b] = true;
            left -= done[b];
        }
        if (!st && hy_interrupted) st = hy_error(HY_EINTR, "interrupted after %d tokens", i + 1);
    }
    free(done);
    free(next);
    return st;
}

static hy_status check_prompts(const hy_program *p, int B, const int32_t *const *prompts, const int *len,
                               int *longest) {
    *longest = 0;
    for (int b = 0; b < B; b++) {
        if (len[b] < 1) return hy_error(HY_EINPUT, "prompt %d is empty: at least one token is needed", b + 1);
        if (len[b] > *longest) *longest = len[b];
        for (int t = 0; t < len[b]; t++)
            if (prompts[b][t] < 0 || prompts[b][t] >= p->spec.vocab)
                return hy_error(HY_EINPUT, "prompt %d, token %d: %d is outside the vocabulary 0 .. %d", b + 1, t,
                                (int)prompts[b][t], p->spec.vocab - 1);
    }
    return HY_OK;
}

static hy_status generate_group(const hy_program *p, hy_params *w, int first, int B, const int32_t *const *prompts,
                                const int *len, const uint64_t *seeds, const hy_sample_spec *s, hy_on_token on_token,
                                void *user, int32_t *out, int *out_len) {
    int longest;
    HY_TRY(check_prompts(p, B, prompts, len, &longest));
    const int many = w->be->few_rows, wanted = s->prefill_chunk ? s->prefill_chunk : CHUNK,
              most = wanted > many ? wanted : many;
    if (longest < many) longest = many;  // the rest is padding
    if ((int64_t)p->spec.meta_tokens + longest + s->max_new > MAX_POSITIONS)
        return hy_error(HY_EINPUT,
                        "%d new tokens after a prompt of %d are too many: a sequence has at most %d positions, "
                        "%d meta tokens included",
                        s->max_new, longest, MAX_POSITIONS, p->spec.meta_tokens);
    const int total = p->spec.meta_tokens + longest;
    generation g = {.p = p, .w = w, .B = B, .first = first, .chunk = total < most ? total : most};
    const size_t V = (size_t)p->spec.vocab;
    hy_status st = hy_state_create(p, w->be, w->compute, B, longest + s->max_new, &g.st);
    if (!st) st = hy_exec_create(p, w->be, w->compute, HY_EXEC_INFER, B, g.chunk, B, &g.prefill);
    if (!st) st = hy_exec_create(p, w->be, w->compute, HY_EXEC_INFER, B, 1, B, &g.decode);
    g.ids = hy_xcalloc((size_t)B * (size_t)g.chunk, sizeof *g.ids);
    g.len = hy_xcalloc((size_t)B * 2, sizeof *g.len);
    g.rows = g.len + B;
    g.logits = hy_xcalloc((size_t)B * V, sizeof *g.logits);
    g.scratch = hy_xcalloc(V, sizeof *g.scratch);
    g.rng = hy_xcalloc((size_t)B, sizeof *g.rng);
    for (int b = 0; b < B; b++) {
        g.rng[b] = hy_rng_make(seeds[b], 0x67656e);
        out_len[b] = 0;
    }
    for (int from = 0; !st && from < total; from += g.chunk) st = feed(&g, prompts, len, from, g.chunk);
    if (!st) st = decode_all(&g, s, on_token, user, out, out_len);
    hy_exec_free(g.prefill);
    hy_exec_free(g.decode);
    hy_state_free(g.st);
    free(g.ids);
    free(g.len);
    free(g.logits);
    free(g.scratch);
    free(g.rng);
    return st;
}

typedef struct {
    hy_on_token call;
    void *user;
    int first;
} group_listener;

static hy_status pass_on(void *user, int sequence, int32_t token) {
    const group_listener *l = user;
    return l->call(l->user, l->first + sequence, token);
}

hy_status hy_generate(const hy_program *p, hy_params *w, int B, const int32_t *const *prompts, const int *len,
                      const uint64_t *seeds, const hy_sample_spec *s, hy_on_token on_token, void *user, int32_t *out,
                      int *out_len) {
    if (B < 1 || s->max_new < 1)
        return hy_error(HY_EINPUT, "nothing to generate: %d prompts, %d new tokens", B, s->max_new);
    const int most = w->be->few_rows ? w->be->few_rows - 1 : B;
    for (int b = 0; b < B; b += most) {
        const int n = B - b < most ? B - b : most;
        group_listener l = {on_token, user, b};
        HY_TRY(generate_group(p, w, b, n, prompts + b, len + b, seeds + b, s, on_token ? pass_on : NULL, &l,
                              out + (size_t)b * (size_t)s->max_new, out_len + b));
    }
    return HY_OK;
}
