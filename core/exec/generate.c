// generate.c - see generate.h: prefill in chunks, then one token a step, and the sampler.
#include "core/exec/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Where a backend promises that a product's rows do not depend on how many there are, but for few and many (hy_backend.few_rows),
// prompts are always on the many-row side and single tokens always on the few-row side, so that a batch gives the bits that
// each prompt gives alone.
enum { CHUNK = 512 };

static int by_logit(const void *a, const void *b) {
    const hy_ranked_token *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

int32_t hy_sample_token(const float *logits, int V, const hy_sample_spec *s, hy_rng *rng, hy_ranked_token *r) {
    if (s->temperature <= 0) {
        int best = 0;
        for (int i = 1; i < V; i++)
            if (logits[i] > logits[best]) best = i;
        return best;
    }
    for (int i = 0; i < V; i++) r[i] = (hy_ranked_token){logits[i], i};
    qsort(r, (size_t)V, sizeof *r, by_logit);
    int n = s->top_k > 0 && s->top_k < V ? s->top_k : V;
    double total = 0, kept = 0;
    for (int i = 0; i < n; i++) total += exp(((double)r[i].logit - r[0].logit) / s->temperature);
    if (s->top_p < 1) {
        int keep = 0;
        while (keep < n && kept < s->top_p * total) kept += exp(((double)r[keep++].logit - r[0].logit) / s->temperature);
        n = keep > 0 ? keep : 1;
        total = kept;
    }
    double u = hy_rng_uniform(rng) * total;
    for (int i = 0; i < n; i++) {
        u -= exp(((double)r[i].logit - r[0].logit) / s->temperature);
        if (u < 0) return r[i].token;
    }
    return r[n - 1].token;
}

typedef struct {
    const hy_program *p;
    hy_params *w;
    hy_state *st;
    hy_exec *prefill, *decode;
    int B, chunk;
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

// The likeliest token of logits that are not finite would be an arbitrary one.
static hy_status check_finite(const float *logits, int V, int sequence, int step) {
    for (int i = 0; i < V; i++)
        if (!isfinite(logits[i]))
            return hy_error(HY_EDIVERGED, "prompt %d, new token %d: the logit of token %d is %g: the weights hold NaN or infinity, or are too large",
                            sequence + 1, step + 1, i, (double)logits[i]);
    return HY_OK;
}

static hy_status decode_all(generation *g, const hy_sample_spec *s, hy_on_token on_token, void *user, int32_t *out, int *out_len) {
    bool *done = hy_xcalloc((size_t)g->B, sizeof *done);
    int32_t *next = hy_xcalloc((size_t)g->B, sizeof *next);
    hy_status st = HY_OK;
    for (int i = 0, left = g->B; !st && i < s->max_new && left; i++) {
        if (i > 0) st = step(g, next, done);
        for (int b = 0; !st && b < g->B; b++) {
            if (done[b]) continue;
            const float *l = g->logits + (size_t)b * (size_t)g->p->spec.vocab;
            if ((st = check_finite(l, g->p->spec.vocab, b, i))) break;
            next[b] = hy_sample_token(l, g->p->spec.vocab, s, &g->rng[b], g->scratch);
            out[(size_t)b * (size_t)s->max_new + (size_t)out_len[b]++] = next[b];
            if (on_token) st = on_token(user, b, next[b]);
            for (int k = 0; k < s->n_eos; k++) done[b] |= next[b] == s->eos[k];
            left -= done[b];
        }
        if (!st && hy_interrupted) st = hy_error(HY_EINTR, "interrupted after %d tokens", i + 1);
    }
    free(done);
    free(next);
    return st;
}

static hy_status check_prompts(const hy_program *p, int B, const int32_t *const *prompts, const int *len, int *longest) {
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

static hy_status generate_group(const hy_program *p, hy_params *w, int B, const int32_t *const *prompts, const int *len,
                                const uint64_t *seeds, const hy_sample_spec *s, hy_on_token on_token, void *user, int32_t *out, int *out_len) {
    int longest;
    HY_TRY(check_prompts(p, B, prompts, len, &longest));
    const int many = w->be->few_rows, wanted = s->prefill_chunk ? s->prefill_chunk : CHUNK, most = wanted > many ? wanted : many;
    if (longest < many) longest = many;  // the rest is padding
    const int total = p->spec.meta_tokens + longest;
    generation g = {.p = p, .w = w, .B = B, .chunk = total < most ? total : most};
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
                      const uint64_t *seeds, const hy_sample_spec *s, hy_on_token on_token, void *user, int32_t *out, int *out_len) {
    if (B < 1 || s->max_new < 1) return hy_error(HY_EINPUT, "nothing to generate: %d prompts, %d new tokens", B, s->max_new);
    const int most = w->be->few_rows ? w->be->few_rows - 1 : B;
    for (int b = 0; b < B; b += most) {
        const int n = B - b < most ? B - b : most;
        group_listener l = {on_token, user, b};
        HY_TRY(generate_group(p, w, n, prompts + b, len + b, seeds + b, s, on_token ? pass_on : NULL, &l,
                              out + (size_t)b * (size_t)s->max_new, out_len + b));
    }
    return HY_OK;
}
