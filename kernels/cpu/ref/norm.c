// norm.c - RMS and layer norm over groups of C, forward and backward: the obvious loops, sums in double.
#include <math.h>

#include "kernels/cpu/cpu.h"

// mean is 0 for RMS; the variance is taken about it.
static void statistics(const real *x, int C, hy_norm_kind kind, double eps, double *mean, double *rstd) {
    double m = 0, s = 0;
    for (int c = 0; c < C; c++) m += x[c];
    m = kind == HY_NORM_LAYER ? m / C : 0;
    for (int c = 0; c < C; c++) s += (x[c] - m) * (x[c] - m);
    *mean = m;
    *rstd = 1 / sqrt(s / C + eps);
}

hy_status HY_REF(hy_ref_norm)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_norm_args *a = args;
    const real *w = a->w, *bias = a->bias;
    for (int r = 0; r < a->rows; r++)
        for (int g = 0; g < a->groups; g++) {
            const real *x = (const real *)a->x + (size_t)r * a->ldx + (size_t)g * a->C;
            real *y = (real *)a->y + (size_t)r * a->ldy + (size_t)g * a->C;
            double mean, rstd;
            statistics(x, a->C, a->kind, a->eps, &mean, &rstd);
            for (int c = 0; c < a->C; c++) y[c] = (real)((x[c] - mean) * rstd * (w ? w[c] : 1) + (bias ? bias[c] : 0));
        }
    return HY_OK;
}

// With g = w dy and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)), where RMS has no mean(g) term.
static void backward_vector(const hy_norm_bwd_args *a, const real *x, const real *dy, real *dx, real *dw, real *dbias) {
    int C = a->f.C;
    const real *w = a->f.w;
    double mean, rstd, mg = 0, mgh = 0;
    statistics(x, C, a->f.kind, a->f.eps, &mean, &rstd);
    for (int c = 0; c < C; c++) {
        double g = w ? (double)w[c] * dy[c] : dy[c], h = (x[c] - mean) * rstd;
        mg += g;
        mgh += g * h;
    }
    mg = a->f.kind == HY_NORM_LAYER ? mg / C : 0;
    mgh /= C;
    for (int c = 0; c < C; c++) {
        double g = w ? (double)w[c] * dy[c] : dy[c], h = (x[c] - mean) * rstd, d = rstd * (g - mg - h * mgh);
        if (dx) dx[c] = (real)((a->acc & 1 ? dx[c] : 0) + d);
        if (dw) dw[c] += (real)(dy[c] * h);
        if (dbias) dbias[c] += dy[c];
    }
}

hy_status HY_REF(hy_ref_norm_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_norm_bwd_args *a = args;
    for (int r = 0; r < a->f.rows; r++)
        for (int g = 0; g < a->f.groups; g++) {
            size_t off = (size_t)g * a->f.C;
            backward_vector(a, (const real *)a->f.x + (size_t)r * a->f.ldx + off,
                            (const real *)a->dy + (size_t)r * a->lddy + off,
                            a->dx ? (real *)a->dx + (size_t)r * a->lddx + off : NULL, a->dw, a->dbias);
        }
    return HY_OK;
}
