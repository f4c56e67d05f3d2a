// ref_adamw.c - one AdamW step and the sum of squares: the obvious loops, computed in double.
#include <math.h>

#include "kernels/cpu/cpu.h"

hy_status HY_REF(hy_ref_adamw)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_adamw_args *a = args;
    real *p = a->p, *m = a->m, *v = a->v;
    const real *g = a->g;
    double c1 = 1 - pow(a->beta1, (double)a->step), c2 = 1 - pow(a->beta2, (double)a->step);
    for (size_t i = 0; i < a->n; i++) {
        double gi = g[i] * a->grad_scale;
        double mi = a->beta1 * m[i] + (1 - a->beta1) * gi, vi = a->beta2 * v[i] + (1 - a->beta2) * gi * gi;
        double wd = a->decay[i / HY_DECAY_BLOCK] ? a->wd : 0;
        p[i] = (real)(p[i] - a->lr * (mi / c1 / (sqrt(vi / c2) + a->eps) + wd * p[i]));
        m[i] = (real)mi;
        v[i] = (real)vi;
    }
    return HY_OK;
}

hy_status HY_REF(hy_ref_sumsq)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_sumsq_args *a = args;
    const real *x = a->x;
    double s = 0;
    for (size_t i = 0; i < a->n; i++) s += (double)x[i] * x[i];
    *a->out = s;
    return HY_OK;
}
