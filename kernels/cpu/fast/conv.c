// conv.c - the causal depthwise convolution, forward and backward, float32, built once per instruction set. The
// mathematics is in kernels.h, the oracle in conv.c.
//
// The lanes of a vector are neighbouring channels. A token is done for whole rows of channels before the next, so that
// memory is read and written in long runs; the last K inputs (backward: gradients of pre-activations too) are rows that
// are still in the L1 cache. Large outputs go past the caches. A token is always computed in the same way, so the bits
// depend on neither threads, chunks, batch nor padding. The sums over time of dw and dbias are kept per sequence and
// added in the order of the sequences.
#include "kernels/cpu/conv.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast/vec.h"

hy_status HY_FAST(hy_fast_conv)(const void *args, void *ws, const hy_plan_req *req);
hy_status HY_FAST(hy_fast_conv_bwd)(const void *args, void *ws, const hy_plan_req *req);

#define MAX_K HY_CONV_MAX_K

// w [D, K] -> wt [K, padded]
static void transpose_weights(const hy_conv_args *a, float *wt) {
    const size_t padded = hy_conv_padded(a->D);
    const float *w = a->w;
    for (int d = 0; d < a->D; d++)
        for (int j = 0; j < a->K; j++) wt[j * padded + d] = w[(size_t)d * a->K + j];
}
HY_INLINE int lanes_of(int d, int end) { return end - d < HY_LANES ? end - d : HY_LANES; }

// Row of inputs of token t of sequence b: before the start it is in the state; NULL: zeros.
static const float *input_row(const hy_conv_args *a, int b, int t) {
    if (t >= 0) return (const float *)a->x + ((size_t)b * a->T + t) * a->ldx;
    return a->state ? (const float *)a->state + ((size_t)b * (a->K - 1) + t + a->K - 1) * a->D : NULL;
}
// The inputs of token t and of the K - 1 before it, oldest first, from channel d0 on.
HY_INLINE void window_rows(const int K, const hy_conv_args *a, int b, int t, int d0, const float *zeros,
                           const float *rows[MAX_K]) {
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) {
        const float *row = input_row(a, b, t - K + 1 + j);
        rows[j] = row ? row + d0 : zeros;
    }
}
// w: [K, padded], from the first of the channels on that rows and bias start with.
HY_INLINE vf preact(const int K, const float *w, size_t padded, const float *const *rows, const float *bias, int d,
                    int m) {
    vf sum = bias ? v_load_n(bias + d, m) : (vf){0};
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) sum += v_load_n(w + j * padded + d, m) * v_load_n(rows[j] + d, m);
    return sum;
}

// ---------------------------------------------------------------------------------------------------- forward
HY_INLINE void forward_row(const int K, const hy_conv_args *a, const float *wt, const float *zeros, int b, int t,
                           bool stream) {
    const size_t padded = hy_conv_padded(a->D);
    const int whole = a->D / HY_LANES * HY_LANES, rest = a->D - whole;
    float *out = (float *)a->y + ((size_t)b * a->T + t) * a->ldy;
    const float *rows[MAX_K];
    window_rows(K, a, b, t, 0, zeros, rows);
#define OUTPUT(d, m, put)                              \
    vf p = preact(K, wt, padded, rows, a->bias, d, m); \
    if (a->silu) p *= v_sigmoid(p);                    \
    put
    if (stream)
        for (int d = 0; d < whole; d += HY_LANES) {
            OUTPUT(d, HY_LANES, v_stream(out + d, p));
        }
    else
        for (int d = 0; d < whole; d += HY_LANES) {
            OUTPUT(d, HY_LANES, v_store(out + d, p));
        }
    if (rest) {
        OUTPUT(whole, rest, v_store_n(out + whole, p, rest));
    }
#undef OUTPUT
}
// Tokens t .. t + n - 1 of sequence b, all channels.
static void forward_rows(const hy_conv_args *a, const float *wt, const float *zeros, int b, int t, int n, bool stream) {
    switch (a->K) {
#define CASE(k)                                                                     \
    case k:                                                                         \
        for (int i = 0; i < n; i++) forward_row(k, a, wt, zeros, b, t + i, stream); \
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
        if (t0 < end) forward_rows(a, c->wt, c->zeros, b, t0, end - t0, stream);
        for (int t = end > t0 ? end : t0; t < t1; t++)
            memset((float *)a->y + ((size_t)b * a->T + t) * a->ldy, 0, (size_t)a->D * sizeof(float));
    }
    if (stream) v_stream_end();
}

hy_status HY_FAST(hy_fast_conv)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_args *a = args;
    const size_t padded = hy_conv_padded(a->D);
    float *zeros = (float *)ws + a->K * padded;
    transpose_weights(a, ws);
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
    float g[MAX_K][HY_CONV_GROUP];        // gradients of the pre-activations of the last tokens: token t is row t % K
    float sum[MAX_K + 1][HY_CONV_GROUP];  // dw, dbias
    float zeros[HY_CONV_GROUP];
} carried;

// m channels from d on (counted in the group) of token t: the gradient of its pre-activation, and the sums.
HY_INLINE vf backward_token(const int K, const hy_conv_bwd_args *a, const float *w, const float *const *x,
                            const float *bias, const float *dy, carried *c, int d, int m) {
    vf dp = v_load_n(dy + d, m);
    if (a->f.silu) {
        const vf p = preact(K, w, hy_conv_padded(a->f.D), x, bias, d, m), s = v_sigmoid(p);
        dp *= s * (1.0f + p * (1.0f - s));
    }
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) v_store(c->sum[j] + d, v_load(c->sum[j] + d) + dp * v_load_n(x[j] + d, m));
    v_store(c->sum[K] + d, v_load(c->sum[K] + d) + dp);
    return dp;
}
// The gradient of the input of which g[0] .. g[K - 2] and the new dp use is the first .. the last.
HY_INLINE vf input_gradient(const int K, const float *w, size_t padded, const float *const *g, vf dp, int d, int m) {
    vf dx = {0};
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) dx += v_load_n(w + (K - 1 - j) * padded + d, m) * (j == K - 1 ? dp : v_load(g[j] + d));
    return dx;
}

// Token t, channels d0 .. d0 + width - 1: its gradients, and dx of the token whose last use it is. From len on, nothing
// uses the inputs any more. `stream`: dx is overwritten, past the caches.
HY_INLINE void backward_row(const int K, const hy_conv_bwd_args *a, const float *wt, carried *c, int b, int t, int len,
                            int d0, int width, bool stream) {
    enum { AHEAD = 6 };  // rows of a group lie far apart, which the hardware does not foresee
    const hy_conv_args *f = &a->f;
    const size_t padded = hy_conv_padded(f->D), row = (size_t)b * f->T + t;
    const float *x[MAX_K] = {0}, *g[MAX_K], *w = wt + d0, *bias = f->bias ? (const float *)f->bias + d0 : NULL;
    const float *dy = (const float *)a->dy + row * a->lddy + d0;
    const bool inside = t < len, ask = t + AHEAD < len;
    float *dx = a->dx && t >= K - 1 ? (float *)a->dx + (row - (K - 1)) * a->lddx + d0 : NULL, *now = c->g[t % K];
    if (inside) window_rows(K, f, b, t, d0, c->zeros, x);
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) g[j] = c->g[(t + 1 + j) % K];
    for (int d = 0; d < width; d += HY_LANES) {
        const int m = lanes_of(d, width);
        vf dp = {0};
        if (ask) {
            __builtin_prefetch(x[K - 1] + (size_t)AHEAD * f->ldx + d);
            __builtin_prefetch(dy + (size_t)AHEAD * a->lddy + d);
            if (!stream && dx) __builtin_prefetch(dx + (size_t)AHEAD * a->lddx + d, 1);
        }
        if (inside) dp = backward_token(K, a, w, x, bias, dy, c, d, m);
        v_store(now + d, dp);
        if (!dx) continue;
        vf v = input_gradient(K, w, padded, g, dp, d, m);
        if (stream && m == HY_LANES) {
            v_stream(dx + d, v);
            continue;
        }
        if (a->acc & 1) v += v_load_n(dx + d, m);
        v_store_n(dx + d, v, m);
    }
}

// Sequence b, channels d0 .. d1 - 1. part [K + 1, padded]: the sums of dw and dbias over this sequence.
static void backward_job(const hy_conv_bwd_args *a, const float *wt, int b, int d0, int d1, float *part, bool stream) {
    const hy_conv_args *f = &a->f;
    const int len = f->len ? f->len[b] : f->T, end = len ? len + f->K - 1 : 0;
    const size_t padded = hy_conv_padded(f->D), bytes = (size_t)(d1 - d0) * sizeof(float);
    carried c;
    memset(&c, 0, sizeof c);
    switch (f->K) {
#define CASE(K)                                                                                   \
    case K:                                                                                       \
        for (int t = 0; t < end; t++) backward_row(K, a, wt, &c, b, t, len, d0, d1 - d0, stream); \
        break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
    }
    for (int j = 0; j <= f->K; j++) memcpy(part + j * padded + d0, c.sum[j], bytes);
    for (int t = len; a->dx && !(a->acc & 1) && t < f->T; t++)
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
    float *wt = ws, *parts = wt + K * padded, *dw = a->dw, *dbias = a->dbias;
    transpose_weights(f, wt);
    const backward_ctx ctx = {a, wt, parts};
    hy_parallel(hy_conv_threads(f, req->threads), (long)f->B * backward_groups(f), 1, backward_jobs, &ctx);
    for (int b = 0; b < f->B; b++)
        for (int d = 0; d < f->D; d++) {
            for (int j = 0; dw && j < K; j++) dw[(size_t)d * K + j] += parts[b * part + j * padded + d];
            if (dbias) dbias[d] += parts[b * part + K * padded + d];
        }
    return HY_OK;
}
