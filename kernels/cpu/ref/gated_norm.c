// gated_norm.c - a gate with or without RMSNorm (what Mamba-2 has before its output projection), forward and backward:
// obvious loops. Statistics are double in both builds.
#include <math.h>

#include "kernels/cpu/cpu.h"

// y = (h rstd w) s, where h = x silu(gate), s = 1 or h = x, s = silu(gate); without a norm rstd = w = 1.
typedef struct {
    double h, s;
    double silu, dsilu;  // silu(gate) and its derivative
} channel;

static channel look(const hy_gated_norm_args *a, const real *x, const real *gate, int c) {
    const double g = gate[c], sig = 1 / (1 + exp(-g));
    channel k = {.silu = g * sig, .dsilu = sig * (1 + g * (1 - sig))};
    k.h = a->kind == HY_GATED_GATE_FIRST ? x[c] * k.silu : x[c];
    k.s = a->kind == HY_GATED_GATE_FIRST ? 1 : k.silu;
    return k;
}

static double rstd_of(const hy_gated_norm_args *a, const real *x, const real *gate) {
    double sum = 0;
    if (a->kind == HY_GATED_ONLY) return 1;
    for (int c = 0; c < a->C; c++) sum += pow(look(a, x, gate, c).h, 2);
    return 1 / sqrt(sum / a->C + a->eps);
}

hy_status HY_REF(hy_ref_gated_norm)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_gated_norm_args *a = args;
    for (int r = 0; r < a->rows; r++)
        for (int g = 0; g < a->groups; g++) {
            const size_t off = (size_t)g * a->C;
            const real *x = (const real *)a->x + (size_t)r * a->ldx + off,
                       *gate = (const real *)a->gate + (size_t)r * a->ldgate + off;
            const real *w = a->w ? (const real *)a->w + off : NULL;
            real *y = (real *)a->y + (size_t)r * a->ldy + off;
            const double rstd = rstd_of(a, x, gate);
            for (int c = 0; c < a->C; c++) {
                const channel k = look(a, x, gate, c);
                y[c] = (real)(k.h * rstd * (w ? w[c] : 1) * k.s);
            }
        }
    return HY_OK;
}

// With n = h rstd and u = dy w s: dh = rstd (u - n mean(u n)), and without a norm dh = u.
static void backward_vector(const hy_gated_norm_bwd_args *b, const real *x, const real *gate, const real *w,
                            const real *dy, real *dx, real *dgate, real *dw) {
    const hy_gated_norm_args *a = &b->f;
    const double rstd = rstd_of(a, x, gate);
    double mean = 0;
    for (int c = 0; c < a->C && a->kind != HY_GATED_ONLY; c++) {
        const channel k = look(a, x, gate, c);
        mean += dy[c] * (double)w[c] * k.s * k.h * rstd / a->C;
    }
    for (int c = 0; c < a->C; c++) {
        const channel k = look(a, x, gate, c);
        const double n = k.h * rstd, wc = w ? w[c] : 1, dh = rstd * (dy[c] * wc * k.s - n * mean);
        const bool first = a->kind == HY_GATED_GATE_FIRST;
        const double gx = first ? dh * k.silu : dh, gg = (first ? dh * x[c] : dy[c] * wc * n) * k.dsilu;
        if (dx) dx[c] = (real)((b->acc & 1 ? dx[c] : 0) + gx);
        if (dgate) dgate[c] = (real)((b->acc & 2 ? dgate[c] : 0) + gg);
        if (dw) dw[c] += (real)(dy[c] * k.s * n);
    }
}

hy_status HY_REF(hy_ref_gated_norm_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_gated_norm_bwd_args *b = args;
    const hy_gated_norm_args *a = &b->f;
    for (int r = 0; r < a->rows; r++)
        for (int g = 0; g < a->groups; g++) {
            const size_t off = (size_t)g * a->C, row = (size_t)r;
            backward_vector(b, (const real *)a->x + row * a->ldx + off, (const real *)a->gate + row * a->ldgate + off,
                            a->w ? (const real *)a->w + off : NULL, (const real *)b->dy + row * b->lddy + off,
                            b->dx ? (real *)b->dx + row * b->lddx + off : NULL,
                            b->dgate ? (real *)b->dgate + row * b->lddgate + off : NULL,
                            b->dw ? (real *)b->dw + off : NULL);
        }
    return HY_OK;
}
