// conv.c - the causal depthwise convolution, forward and backward, float32, built once per instruction set. The
// mathematics is in kernels.h, the oracle in conv.c.
//
// The lanes of a vector are neighbouring channels; the last K inputs of a channel block move through registers. A token
// is always computed in the same way, so the bits depend on neither threads, chunks, batch nor padding. The sums over
// time of dw and dbias are kept per sequence and added in the order of the sequences.
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
HY_INLINE const float *bias_at(const hy_conv_args *a, int d) { return a->bias ? (const float *)a->bias + d : NULL; }

// Row of inputs of token t of sequence b: before the start it is in the state; NULL: zeros.
static const float *input_row(const hy_conv_args *a, int b, int t) {
    if (t >= 0) return (const float *)a->x + ((size_t)b * a->T + t) * a->ldx;
    return a->state ? (const float *)a->state + ((size_t)b * (a->K - 1) + t + a->K - 1) * a->D : NULL;
}
// The K - 1 inputs before token t, oldest first.
HY_INLINE void load_window(const int K, const hy_conv_args *a, int b, int t, int d, int m, vf *x) {
#pragma GCC unroll 8
    for (int j = 0; j < K - 1; j++) {
        const float *row = input_row(a, b, t - K + 1 + j);
        x[j] = row ? v_load_n(row + d, m) : (vf){0};
    }
}
HY_INLINE vf preact(const int K, const vf *w, const vf *x, vf bias) {
    vf sum = bias;
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) sum += w[j] * x[j];
    return sum;
}
HY_INLINE void shift(const int K, vf *x) {
#pragma GCC unroll 8
    for (int j = 0; j + 1 < K; j++) x[j] = x[j + 1];
}

// ---------------------------------------------------------------------------------------------------- forward
HY_INLINE void forward_block(const int K, const hy_conv_args *a, const float *wt, int b, int t, int n, int d, int m) {
    const size_t padded = hy_conv_padded(a->D);
    const float *in = (const float *)a->x + ((size_t)b * a->T + t) * a->ldx + d;
    float *out = (float *)a->y + ((size_t)b * a->T + t) * a->ldy + d;
    const vf bias = a->bias ? v_load_n(bias_at(a, d), m) : (vf){0};
    vf w[MAX_K], x[MAX_K];
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) w[j] = v_load_n(wt + j * padded + d, m);
    load_window(K, a, b, t, d, m, x);
    for (int i = 0; i < n; i++, in += a->ldx, out += a->ldy) {
        x[K - 1] = v_load_n(in, m);
        vf p = preact(K, w, x, bias);
        if (a->silu) p *= v_sigmoid(p);
        v_store_n(out, p, m);
        shift(K, x);
    }
}
// Tokens t .. t + n - 1 of sequence b, all channels.
static void forward_rows(const hy_conv_args *a, const float *wt, int b, int t, int n) {
    for (int d = 0; d < a->D; d += HY_LANES) {
        const int m = lanes_of(d, a->D);
        switch (a->K) {
#define CASE(k) \
    case k: forward_block(k, a, wt, b, t, n, d, m); break;
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
        }
    }
}

hy_status HY_FAST(hy_fast_conv)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_args *a = args;
    const int tiles = a->T / HY_CONV_ROWS + (a->T % HY_CONV_ROWS != 0), jobs = a->B * tiles;
    transpose_weights(a, ws);
#pragma omp parallel for num_threads(hy_conv_threads(a, req->threads)) schedule(dynamic)
    for (int j = 0; j < jobs; j++) {
        const int b = j / tiles, t0 = j % tiles * HY_CONV_ROWS,
                  t1 = t0 + HY_CONV_ROWS < a->T ? t0 + HY_CONV_ROWS : a->T;
        const int len = a->len ? a->len[b] : a->T, end = len < t1 ? len : t1;
        if (t0 < end) forward_rows(a, ws, b, t0, end - t0);
        for (int t = end > t0 ? end : t0; t < t1; t++)
            memset((float *)a->y + ((size_t)b * a->T + t) * a->ldy, 0, (size_t)a->D * sizeof(float));
    }
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
// One channel block of one sequence on its way through time.
typedef struct {
    vf x[MAX_K];  // inputs of the last tokens, oldest first
    vf g[MAX_K];  // gradients of their pre-activations
    vf dw[MAX_K], dbias;
} carried;

HY_INLINE void put_dx(const hy_conv_bwd_args *a, int b, int t, int d, int m, vf v) {
    float *at = (float *)a->dx + ((size_t)b * a->f.T + t) * a->lddx + d;
    if (a->acc & 1) v += v_load_n(at, m);
    v_store_n(at, v, m);
}

// Tokens t .. t + n - 1, then, where `last`, the gradients of the inputs whose windows end with the sequence.
HY_INLINE void backward_block(const int K, const hy_conv_bwd_args *a, const float *wt, carried *c, int b, int t, int n,
                              bool last, int d, int m) {
    const hy_conv_args *f = &a->f;
    const size_t padded = hy_conv_padded(f->D);
    const vf bias = f->bias ? v_load_n(bias_at(f, d), m) : (vf){0};
    vf w[MAX_K], x[MAX_K], g[MAX_K], dw[MAX_K], db = c->dbias;
#pragma GCC unroll 8
    for (int j = 0; j < K; j++)
        w[j] = v_load_n(wt + j * padded + d, m), x[j] = c->x[j], g[j] = c->g[j], dw[j] = c->dw[j];
    const int end = last ? n + K - 1 : n;
    for (int i = 0; i < end; i++) {
        g[K - 1] = (vf){0};
        if (i < n) {
            const size_t row = (size_t)b * f->T + t + i;
            x[K - 1] = v_load_n((const float *)f->x + row * f->ldx + d, m);
            vf dp = v_load_n((const float *)a->dy + row * a->lddy + d, m);
            if (f->silu) {
                const vf p = preact(K, w, x, bias), s = v_sigmoid(p);
                dp *= s * (1.0f + p * (1.0f - s));
            }
            g[K - 1] = dp;
            db += dp;
#pragma GCC unroll 8
            for (int j = 0; j < K; j++) dw[j] += dp * x[j];
            shift(K, x);
        }
        if (a->dx && t + i - K + 1 >= 0) {
            vf dx = {0};
#pragma GCC unroll 8
            for (int j = 0; j < K; j++) dx += w[K - 1 - j] * g[j];
            put_dx(a, b, t + i - K + 1, d, m, dx);
        }
        shift(K, g);
    }
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) c->x[j] = x[j], c->g[j] = g[j], c->dw[j] = dw[j];
    c->dbias = db;
}

// Sequence b, channels d0 .. d1 - 1. part [K + 1, padded]: the sums of dw and dbias over this sequence.
static void backward_job(const hy_conv_bwd_args *a, const float *wt, int b, int d0, int d1, float *part) {
    const hy_conv_args *f = &a->f;
    const int len = f->len ? f->len[b] : f->T;
    const size_t padded = hy_conv_padded(f->D);
    carried c[HY_CONV_GROUP / HY_LANES];
    memset(c, 0, sizeof c);
    for (int t = 0; t < len; t += HY_CONV_ROWS)
        for (int d = d0, k = 0; d < d1; d += HY_LANES, k++) {
            const bool last = len - t <= HY_CONV_ROWS;
            const int n = last ? len - t : HY_CONV_ROWS, m = lanes_of(d, d1);
            switch (f->K) {
#define CASE(K) \
    case K: backward_block(K, a, wt, &c[k], b, t, n, last, d, m); break;
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
            }
        }
    for (int d = d0, k = 0; d < d1; d += HY_LANES, k++) {
        for (int j = 0; j < f->K; j++) v_store(part + j * padded + d, c[k].dw[j]);
        v_store(part + f->K * padded + d, c[k].dbias);
    }
    for (int t = len; a->dx && !(a->acc & 1) && t < f->T; t++)
        memset((float *)a->dx + ((size_t)b * f->T + t) * a->lddx + d0, 0, (size_t)(d1 - d0) * sizeof(float));
}

hy_status HY_FAST(hy_fast_conv_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_bwd_args *a = args;
    const hy_conv_args *f = &a->f;
    const size_t padded = hy_conv_padded(f->D), part = (f->K + 1) * padded;
    const int groups = f->D / HY_CONV_GROUP + (f->D % HY_CONV_GROUP != 0), jobs = f->B * groups, K = f->K;
    float *wt = ws, *parts = wt + K * padded, *dw = a->dw, *dbias = a->dbias;
    transpose_weights(f, wt);
#pragma omp parallel for num_threads(hy_conv_threads(f, req->threads)) schedule(dynamic)
    for (int j = 0; j < jobs; j++) {
        const int b = j / groups, d0 = j % groups * HY_CONV_GROUP,
                  d1 = d0 + HY_CONV_GROUP < f->D ? d0 + HY_CONV_GROUP : f->D;
        backward_job(a, wt, b, d0, d1, parts + b * part);
    }
    for (int b = 0; b < f->B; b++)
        for (int d = 0; d < f->D; d++) {
            for (int j = 0; dw && j < K; j++) dw[(size_t)d * K + j] += parts[b * part + j * padded + d];
            if (dbias) dbias[d] += parts[b * part + K * padded + d];
        }
    return HY_OK;
}
