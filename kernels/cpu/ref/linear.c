// linear.c - y = x w^T (+ bias) (+ residual) and its backward: the obvious loops, sums in double.
#include "kernels/cpu/cpu.h"

hy_status HY_REF(hy_ref_linear)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_linear_args *a = args;
    const real *bias = a->bias, *res = a->residual;
    for (int m = 0; m < a->M; m++)
        for (int n = 0; n < a->N; n++) {
            const real *x = (const real *)a->x + (size_t)m * a->ldx;
            double s = 0;
            for (int k = 0; k < a->K; k++) s += (double)x[k] * hy_ref_weight(a->w, a->w_dtype, (size_t)n * a->K + k);
            if (bias) s += bias[n];
            if (res) s += res[(size_t)m * a->ldres + n];
            ((real *)a->y)[(size_t)m * a->ldy + n] = (real)s;
        }
    return HY_OK;
}

static void backward_dx(const hy_linear_bwd_args *a) {
    const real *dy = a->dy, *w = a->f.w;
    real *dx = a->dx;
    for (int m = 0; m < a->f.M; m++)
        for (int k = 0; k < a->f.K; k++) {
            double s = a->acc & 1 ? dx[(size_t)m * a->lddx + k] : 0;
            for (int n = 0; n < a->f.N; n++) s += (double)dy[(size_t)m * a->lddy + n] * w[(size_t)n * a->f.K + k];
            dx[(size_t)m * a->lddx + k] = (real)s;
        }
}

static void backward_dw(const hy_linear_bwd_args *a) {
    const real *dy = a->dy, *x = a->f.x;
    real *dw = a->dw;
    for (int n = 0; n < a->f.N; n++)
        for (int k = 0; k < a->f.K; k++) {
            double s = 0;
            for (int m = 0; m < a->f.M; m++) s += (double)dy[(size_t)m * a->lddy + n] * x[(size_t)m * a->f.ldx + k];
            dw[(size_t)n * a->f.K + k] += (real)s;
        }
}

hy_status HY_REF(hy_ref_linear_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_linear_bwd_args *a = args;
    const real *dy = a->dy;
    real *dbias = a->dbias, *dres = a->dres;
    if (a->dx) backward_dx(a);
    if (a->dw) backward_dw(a);
    for (int n = 0; n < a->f.N && dbias; n++) {
        double s = 0;
        for (int m = 0; m < a->f.M; m++) s += dy[(size_t)m * a->lddy + n];
        dbias[n] += (real)s;
    }
    for (int m = 0; m < a->f.M && dres; m++)
        for (int n = 0; n < a->f.N; n++) {
            real *d = dres + (size_t)m * a->lddres + n, g = dy[(size_t)m * a->lddy + n];
            *d = a->acc & 2 ? *d + g : g;
        }
    return HY_OK;
}
