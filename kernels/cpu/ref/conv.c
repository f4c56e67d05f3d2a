// conv.c - the plain causal depthwise convolution, forward and backward, one channel after another: the oracle of the
// fast kernels. Compiled for `real` = float and double. Not fast, not parallel. The mathematics is in kernels.h.
#include <math.h>
#include "kernels/cpu/cpu.h"

static real sigmoid(real z) { return (real)(1 / (1 + exp(-(double)z))); }
static int length(const hy_conv_args *a, int b) { return a->len ? a->len[b] : a->T; }

// Input of channel d at token t of sequence b; tokens -(K-1) .. -1 come from the state (zeros without one).
static real input(const hy_conv_args *a, int b, int t, int d) {
    if (t >= 0) return ((const real *)a->x)[((size_t)b * a->T + t) * a->ldx + d];
    if (!a->state) return 0;
    return ((const real *)a->state)[((size_t)b * (a->K - 1) + t + a->K - 1) * a->D + d];
}

// bias + sum_j w_j x_{t-K+1+j}
static real preact(const hy_conv_args *a, int b, int t, int d) {
    real sum = a->bias ? ((const real *)a->bias)[d] : 0;
    for (int j = 0; j < a->K; j++) sum += ((const real *)a->w)[(size_t)d * a->K + j] * input(a, b, t - a->K + 1 + j, d);
    return sum;
}

hy_status HY_REF(hy_ref_conv)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_args *a = args;
    (void)ws, (void)req;
    for (int b = 0; b < a->B; b++)
        for (int d = 0; d < a->D; d++) {
            const int len = length(a, b);
            for (int t = 0; t < a->T; t++) {
                real p = t < len ? preact(a, b, t, d) : 0;
                if (a->silu) p *= sigmoid(p);
                ((real *)a->y)[((size_t)b * a->T + t) * a->ldy + d] = p;
            }
            // From the oldest on: each entry is written after all that read its old value.
            for (int i = 0; a->state && i < a->K - 1; i++)
                ((real *)a->state)[((size_t)b * (a->K - 1) + i) * a->D + d] = input(a, b, len - a->K + 1 + i, d);
        }
    return HY_OK;
}

// Gradient of the pre-activation of token t.
static real preact_grad(const hy_conv_bwd_args *a, int b, int t, int d) {
    const real g = ((const real *)a->dy)[((size_t)b * a->f.T + t) * a->lddy + d];
    if (!a->f.silu) return g;
    const real p = preact(&a->f, b, t, d), s = sigmoid(p);
    return g * s * (1 + p * (1 - s));
}

hy_status HY_REF(hy_ref_conv_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_bwd_args *a = args;
    const hy_conv_args *f = &a->f;
    const int K = f->K;
    (void)ws, (void)req;
    for (int b = 0; b < f->B; b++)
        for (int d = 0; d < f->D; d++) {
            const int len = length(f, b);
            for (int t = 0; t < f->T; t++) {
                const size_t i = ((size_t)b * f->T + t) * a->lddx + d;
                if (a->dx && !(a->acc & 1)) ((real *)a->dx)[i] = 0;
                // x_t enters the outputs t .. t+K-1, with w_{K-1} first
                for (int j = 0; a->dx && t < len && j < K && t + j < len; j++)
                    ((real *)a->dx)[i] += ((const real *)f->w)[(size_t)d * K + K - 1 - j] * preact_grad(a, b, t + j, d);
            }
            for (int t = 0; t < len; t++) {
                const real g = preact_grad(a, b, t, d);
                if (a->dbias) ((real *)a->dbias)[d] += g;
                for (int j = 0; a->dw && j < K; j++)
                    ((real *)a->dw)[(size_t)d * K + j] += g * input(f, b, t - K + 1 + j, d);
            }
        }
    return HY_OK;
}
