// conv.c - the causal depthwise convolution, forward and backward, float32, built once per instruction set. The
// mathematics is in kernels.h, the oracle in conv.c.
//
// The lanes of a vector are neighbouring channels. A few tokens side by side are done for whole rows of channels before
// the next (backward: of a group), so that memory is read and written in long runs; the inputs and gradients that the
// next ones share are in the caches still. Large outputs go past the caches. A token is always computed in the same
// way, so the bits depend on neither threads, chunks, batch nor padding. The sums over time of dw and dbias are kept
// per sequence and added in the order of the sequences.
#include "kernels/cpu/conv.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast/vec.h"

hy_status HY_FAST(hy_fast_conv)(const void *args, void *ws, const hy_plan_req *req);
hy_status HY_FAST(hy_fast_conv_bwd)(const void *args, void *ws, const hy_plan_req *req);

#define MAX_K HY_CONV_MAX_K
#define TOKENS 2             // are done side by side: they share loads of weights, inputs and sums
#define PAIR (2 * HY_LANES)  // so many channels of them: at least a cache line, and enough to hide latencies
#define AHEAD 4  // tokens asked for in advance: rows of a group lie far apart, which the hardware does not foresee

// w [D, K], bias [D] -> wt [padded / lanes, K + 1, lanes]: what a vector of channels needs, side by side.
static void pack_weights(const hy_conv_args *a, float *wt) {
    const float *w = a->w, *bias = a->bias;
    const int K = a->K;
    memset(wt, 0, (K + 1) * hy_conv_padded(a->D) * sizeof *wt);
    for (int d = 0; d < a->D; d++) {
        float *to = wt + (size_t)(d / HY_LANES) * (K + 1) * HY_LANES + d % HY_LANES;
        for (int j = 0; j < K; j++) to[j * HY_LANES] = w[(size_t)d * K + j];
        if (bias) to[K * HY_LANES] = bias[d];
    }
}
// Of the vector of channels at d: w [K], bias.
HY_INLINE void load_weights(const int K, const float *wt, int d, vf *w) {
    HY_UNROLL for (int j = 0; j <= K; j++) w[j] = v_load(wt + (size_t)d * (K + 1) + j * HY_LANES);
}

// Row of inputs of token t of sequence b: before the start it is in the state; NULL: zeros.
static const float *input_row(const hy_conv_args *a, int b, int t) {
    if (t >= 0) return (const float *)a->x + ((size_t)b * a->T + t) * a->ldx;
    return a->state ? (const float *)a->state + ((size_t)b * (a->K - 1) + t + a->K - 1) * a->D : NULL;
}
// The inputs of n tokens from t on and of the K - 1 before them, oldest first, from channel d0 on.
static void window_rows(const hy_conv_args *a, int n, int b, int t, int d0, const float *zeros, const float **rows) {
    for (int j = 0; j < n + a->K - 1; j++) {
        const float *row = input_row(a, b, t - a->K + 1 + j);
        rows[j] = row ? row + d0 : zeros;
    }
}
// Pre-activations p [n] of the tokens of the windows x [n + K - 1]; w [K], bias.
HY_INLINE void preact(const int K, const int n, const vf *w, const vf *x, vf *p) {
    HY_UNROLL for (int i = 0; i < n; i++) p[i] = w[K];
    HY_UNROLL for (int j = 0; j < K; j++) HY_UNROLL for (int i = 0; i < n; i++) p[i] = v_fma(w[j], x[i + j], p[i]);
}
HY_INLINE void load_rows(const int n, const float *const *rows, int d, int m, vf *x) {
    HY_UNROLL for (int j = 0; j < n; j++) x[j] = v_load_n(rows[j] + d, m);
}

// ---------------------------------------------------------------------------------------------------- forward
// v vectors of channels from d on (m channels in each) of n tokens.
HY_INLINE void forward_vectors(const int K, const int n, const int v, const hy_conv_args *a, const float *wt,
                               const float *const *rows, float *out, int d, int m, bool stream) {
    vf p[HY_SIDE], s[HY_SIDE];
    HY_UNROLL for (int k = 0; k < v; k++) {
        vf x[MAX_K + TOKENS - 1] = {{0}}, w[MAX_K + 1] = {{0}};
        load_rows(n + K - 1, rows, d + k * HY_LANES, m, x);
        load_weights(K, wt, d + k * HY_LANES, w);
        preact(K, n, w, x, p + k * n);
    }
    if (a->silu) {
        v_sigmoids(n * v, p, s);
        HY_UNROLL for (int i = 0; i < n * v; i++) p[i] *= s[i];
    }
    HY_UNROLL for (int i = 0; i < n; i++) HY_UNROLL for (int k = 0; k < v; k++) {
        float *to = out + (size_t)i * a->ldy + d + k * HY_LANES;
        if (stream && m == HY_LANES)
            v_stream(to, p[k * n + i]);
        else
            v_store_n(to, p[k * n + i], m);
    }
}
// n <= TOKENS tokens from t on, all channels: pairs of vectors of TOKENS tokens, what is left vector by vector.
HY_INLINE void forward_row(const int K, int n, const hy_conv_args *a, const float *wt, const float *zeros, int b, int t,
                           bool stream) {
    float *out = (float *)a->y + ((size_t)b * a->T + t) * a->ldy;
    const float *rows[MAX_K + TOKENS - 1];
    int done = 0;
    window_rows(a, n, b, t, 0, zeros, rows);
    for (; n == TOKENS && done + PAIR <= a->D; done += PAIR)
        forward_vectors(K, TOKENS, 2, a, wt, rows, out, done, HY_LANES, stream);
    for (int i = 0; i < n; i++)
        for (int d = done; d < a->D; d += HY_LANES)
            forward_vectors(K, 1, 1, a, wt, rows + i, out + (size_t)i * a->ldy, d,
                            a->D - d < HY_LANES ? a->D - d : HY_LANES, stream);
}
// Tokens t .. end - 1 of sequence b, all channels.
static void forward_rows(const hy_conv_args *a, const float *wt, const float *zeros, int b, int t, int end,
                         bool stream) {
    switch (a->K) {
#define CASE(k)                                                                                                 \
    case k:                                                                                                     \
        for (; t < end; t += TOKENS) forward_row(k, end - t < TOKENS ? 1 : TOKENS, a, wt, zeros, b, t, stream); \
        break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
    }
}

static int forward_tiles(const hy_conv_args *a) { return a->T / HY_CONV_ROWS + (a->T % HY_CONV_ROWS != 0); }

typedef struct {
    const hy_conv_args *a;
    const float *wt, *zeros;
} forward_ctx;
static void forward_jobs(const void *ctx, long from, long to, int thread) {
    const forward_ctx *c = ctx;
    const hy_conv_args *a = c->a;
    const int tiles = forward_tiles(a);
    const bool stream = v_streams(a->y, a->ldy, (size_t)a->B * a->T * a->D);
    (void)thread;
    for (int j = (int)from; j < (int)to; j++) {
        const int b = j / tiles, t0 = j % tiles * HY_CONV_ROWS,
                  t1 = t0 + HY_CONV_ROWS < a->T ? t0 + HY_CONV_ROWS : a->T;
        const int len = a->len ? a->len[b] : a->T, end = len < t1 ? len : t1;
        if (t0 < end) forward_rows(a, c->wt, c->zeros, b, t0, end, stream);
        for (int t = end > t0 ? end : t0; t < t1; t++)
            memset((float *)a->y + ((size_t)b * a->T + t) * a->ldy, 0, (size_t)a->D * sizeof(float));
    }
    if (stream) v_stream_end();
}

hy_status HY_FAST(hy_fast_conv)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_args *a = args;
    const size_t padded = hy_conv_padded(a->D);
    float *zeros = (float *)ws + (a->K + 1) * padded;
    pack_weights(a, ws);
    memset(zeros, 0, padded * sizeof *zeros);
    const forward_ctx ctx = {a, ws, zeros};
    hy_parallel(hy_conv_threads(a, req->threads), (long)a->B * forward_tiles(a), 1, forward_jobs, &ctx);
    // From the oldest on: a row is overwritten after it has been read.
    for (int b = 0; a->state && b < a->B; b++)
        for (int i = 0; i < a->K - 1; i++) {
            const int len = a->len ? a->len[b] : a->T;
            float *to = (float *)a->state + ((size_t)b * (a->K - 1) + i) * a->D;
            memmove(to, input_row(a, b, len - a->K + 1 + i), (size_t)a->D * sizeof(float));
        }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- backward
// One sequence and group of channels on its way through time.
typedef struct {
    float x[MAX_K - 1][HY_CONV_GROUP];    // inputs of the last K - 1 tokens
    float g[MAX_K - 1][HY_CONV_GROUP];    // gradients of their pre-activations
    float sum[MAX_K + 1][HY_CONV_GROUP];  // dw, dbias
} carried;
// n tokens of a group: their rows, from its first channel on.
typedef struct {
    const float *x, *dy, *wt;
    float *dx[TOKENS];  // of the tokens whose last use these are; NULL: none, or not wanted
} rows_bwd;

// The gradients g [n] of the pre-activations p [n] of n tokens, s their sigmoids; inputs x [n + K - 1]; adds to the
// sums.
HY_INLINE void backward_tokens(const int K, const int n, const hy_conv_bwd_args *a, const vf *x, const vf *p,
                               const vf *s, const float *dy, carried *c, int d, int m, vf *g) {
    HY_UNROLL for (int i = 0; i < n; i++) g[i] = v_load_n(dy + (size_t)i * a->lddy + d, m);
    if (a->f.silu) HY_UNROLL for (int i = 0; i < n; i++) g[i] *= s[i] * (1.0f + p[i] * (1.0f - s[i]));
    HY_UNROLL for (int j = 0; j < K; j++) {
        vf sum = v_load(c->sum[j] + d);
        HY_UNROLL for (int i = 0; i < n; i++) sum += g[i] * x[i + j];
        v_store(c->sum[j] + d, sum);
    }
    vf sum = v_load(c->sum[K] + d);
    HY_UNROLL for (int i = 0; i < n; i++) sum += g[i];
    v_store(c->sum[K] + d, sum);
}
// dx of the n tokens whose last use g [n + K - 1] are.
HY_INLINE void input_gradients(const int K, const int n, const hy_conv_bwd_args *a, float *const *dx, const vf *w,
                               const vf *g, int d, int m, bool stream) {
    HY_UNROLL for (int i = 0; i < n; i++) {
        if (!dx[i]) continue;
        vf v = {0};
        HY_UNROLL for (int j = 0; j < K; j++) v += w[K - 1 - j] * g[i + j];
        if (stream && m == HY_LANES) {
            v_stream(dx[i] + d, v);
            continue;
        }
        if (a->acc & 1) v += v_load_n(dx[i] + d, m);
        v_store_n(dx[i] + d, v, m);
    }
}

// v vectors of channels from d on (m channels in each): gradients of n tokens (inside: they are there; or nothing uses
// the inputs any more), and dx of those whose last use they are.
HY_INLINE void backward_vectors(const int K, const int n, const int v, const hy_conv_bwd_args *a, const rows_bwd *r,
                                carried *c, int d0, int m, bool inside, bool stream) {
    vf x[2][MAX_K + TOKENS - 1] = {{{0}}}, p[HY_SIDE] = {{0}}, s[HY_SIDE] = {{0}};
    if (inside) {
        HY_UNROLL for (int k = 0; k < v; k++) {
            const int d = d0 + k * HY_LANES;
            HY_UNROLL for (int j = 0; j < K - 1; j++) x[k][j] = v_load(c->x[j] + d);
            HY_UNROLL for (int i = 0; i < n; i++) x[k][K - 1 + i] = v_load_n(r->x + (size_t)i * a->f.ldx + d, m);
            HY_UNROLL for (int j = 0; j < K - 1; j++) v_store(c->x[j] + d, x[k][j + n]);
            if (!a->f.silu) continue;
            vf w[MAX_K + 1] = {{0}};
            load_weights(K, r->wt, d, w);
            preact(K, n, w, x[k], p + k * n);
        }
        if (a->f.silu) v_sigmoids(n * v, p, s);
    }
    HY_UNROLL for (int k = 0; k < v; k++) {
        const int d = d0 + k * HY_LANES;
        vf g[MAX_K - 1 + TOKENS] = {{0}}, w[MAX_K + 1] = {{0}};
        HY_UNROLL for (int j = 0; j < K - 1; j++) g[j] = v_load(c->g[j] + d);
        if (inside) backward_tokens(K, n, a, x[k], p + k * n, s + k * n, r->dy, c, d, m, g + K - 1);
        HY_UNROLL for (int j = 0; j < K - 1; j++) v_store(c->g[j] + d, g[j + n]);
        load_weights(K, r->wt, d, w);
        input_gradients(K, n, a, r->dx, w, g, d, m, stream);
    }
}

// n tokens from t on, channels d0 .. d0 + width - 1; inside: t + n <= len. stream: dx is overwritten, past the caches.
HY_INLINE void backward_rows(const int K, int n, const hy_conv_bwd_args *a, const float *wt, carried *c, int b, int t,
                             int len, int d0, int width, bool stream) {
    const hy_conv_args *f = &a->f;
    const size_t row = (size_t)b * f->T + t;
    const bool inside = t < len, ask = t + AHEAD + n <= len;
    rows_bwd r = {.x = (const float *)f->x + row * f->ldx + d0,
                  .dy = (const float *)a->dy + row * a->lddy + d0,
                  .wt = wt + (size_t)d0 * (K + 1)};
    for (int i = 0; i < n; i++)
        if (a->dx && t + i >= K - 1) r.dx[i] = (float *)a->dx + (row + i - (K - 1)) * a->lddx + d0;
    int done = 0;
    for (; n == TOKENS && done + PAIR <= width; done += PAIR) {
        HY_UNROLL for (int i = 0; i < TOKENS && ask; i++) {
            __builtin_prefetch(r.x + (size_t)(AHEAD + i) * f->ldx + done, 0, 2);
            __builtin_prefetch(r.dy + (size_t)(AHEAD + i) * a->lddy + done, 0, 2);
            if (!stream && r.dx[i]) __builtin_prefetch(r.dx[i] + (size_t)AHEAD * a->lddx + done, 0, 2);
        }
        backward_vectors(K, TOKENS, 2, a, &r, c, done, HY_LANES, true, stream);
    }
    for (int i = 0; i < n; i++, r.x += f->ldx, r.dy += a->lddy, r.dx[0] = r.dx[1])
        for (int d = done; d < width; d += HY_LANES)
            backward_vectors(K, 1, 1, a, &r, c, d, width - d < HY_LANES ? width - d : HY_LANES, inside, stream);
}

// Sequence b, channels d0 .. d1 - 1. part [K + 1, padded]: the sums of dw and dbias over this sequence.
static void backward_job(const hy_conv_bwd_args *a, const float *wt, int b, int d0, int d1, float *part, bool stream) {
    const hy_conv_args *f = &a->f;
    const int len = f->len ? f->len[b] : f->T, end = len ? len + f->K - 1 : 0;
    const size_t padded = hy_conv_padded(f->D), bytes = (size_t)(d1 - d0) * sizeof(float);
    int t = 0;
    carried c;
    memset(&c, 0, sizeof c);
    switch (f->K) {
#define CASE(K)                                                             \
    case K:                                                                 \
        for (int n; t < end; t += n) {                                      \
            n = t + TOKENS <= len ? TOKENS : 1;                             \
            backward_rows(K, n, a, wt, &c, b, t, len, d0, d1 - d0, stream); \
        }                                                                   \
        break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
    }
    for (int j = 0; j <= f->K; j++) memcpy(part + j * padded + d0, c.sum[j], bytes);
    for (t = len; a->dx && !(a->acc & 1) && t < f->T; t++)
        memset((float *)a->dx + ((size_t)b * f->T + t) * a->lddx + d0, 0, bytes);
}

static int backward_groups(const hy_conv_args *f) { return f->D / HY_CONV_GROUP + (f->D % HY_CONV_GROUP != 0); }

typedef struct {
    const hy_conv_bwd_args *a;
    const float *wt;
    float *parts;  // [B, K + 1, padded]
} backward_ctx;
static void backward_jobs(const void *ctx, long from, long to, int thread) {
    const backward_ctx *c = ctx;
    const hy_conv_bwd_args *a = c->a;
    const hy_conv_args *f = &a->f;
    const int groups = backward_groups(f);
    const bool stream = a->dx && !(a->acc & 1) && v_streams(a->dx, a->lddx, (size_t)f->B * f->T * f->D);
    (void)thread;
    for (int j = (int)from; j < (int)to; j++) {
        const int b = j / groups, d0 = j % groups * HY_CONV_GROUP,
                  d1 = d0 + HY_CONV_GROUP < f->D ? d0 + HY_CONV_GROUP : f->D;
        backward_job(a, c->wt, b, d0, d1, c->parts + b * (f->K + 1) * hy_conv_padded(f->D), stream);
    }
    if (stream) v_stream_end();
}

hy_status HY_FAST(hy_fast_conv_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_bwd_args *a = args;
    const hy_conv_args *f = &a->f;
    const size_t padded = hy_conv_padded(f->D), part = (f->K + 1) * padded;
    const int K = f->K;
    float *wt = ws, *parts = wt + (K + 1) * padded, *dw = a->dw, *dbias = a->dbias;
    pack_weights(f, wt);
    const backward_ctx ctx = {a, wt, parts};
    hy_parallel(hy_conv_threads(f, req->threads), (long)f->B * backward_groups(f), 1, backward_jobs, &ctx);
    for (int b = 0; b < f->B; b++)
        for (int d = 0; d < f->D; d++) {
            for (int j = 0; dw && j < K; j++) dw[(size_t)d * K + j] += parts[b * part + j * padded + d];
            if (dbias) dbias[d] += parts[b * part + K * padded + d];
        }
    return HY_OK;
}
