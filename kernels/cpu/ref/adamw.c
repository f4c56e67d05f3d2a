// adamw.c - the kernels of one optimiser step: the obvious loops, computed in double.
#include <math.h>

#include "kernels/cpu/cpu.h"

hy_status HY_REF(hy_ref_adamw)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_adamw_args *a = args;
    real *p = a->p, *m = a->m, *v = a->v;
    const real *g = a->g;
    const double c1 = a->ctl[HY_CTL_C1], c2 = a->ctl[HY_CTL_C2];
    if (a->ctl[HY_CTL_BAD] != 0) return HY_OK;
    for (size_t i = 0; i < a->n; i++) {
        double gi = g[i] * a->ctl[HY_CTL_GRAD_SCALE];
        double mi = a->beta1 * m[i] + (1 - a->beta1) * gi, vi = a->beta2 * v[i] + (1 - a->beta2) * gi * gi;
        double wd = a->decay[i / HY_DECAY_BLOCK] ? a->wd : 0;
        p[i] = (real)(p[i] - a->ctl[HY_CTL_LR] * (mi / c1 / (sqrt(vi / c2) + a->eps) + wd * p[i]));
        m[i] = (real)mi;
        v[i] = (real)vi;
        if (a->p16) a->p16[i] = hy_bf16_from_f32((float)p[i]);
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

hy_status HY_REF(hy_ref_nll_sum)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_nll_sum_args *a = args;
    const real *nll = a->nll;
    double s = 0;
    for (int r = 0; r < a->rows; r++) s += nll[r];
    *a->sum += s;
    return HY_OK;
}

hy_status HY_REF(hy_ref_clip)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_clip_args *a = args;
    const double norm = sqrt(a->ctl[HY_CTL_SUMSQ]), loss = a->ctl[HY_CTL_NLL] * a->ctl[HY_CTL_SCALE],
                 clip = a->ctl[HY_CTL_CLIP];
    double *report = a->report + 2 * (((long)a->ctl[HY_CTL_STEP] - 1) % a->cap);
    a->ctl[HY_CTL_GRAD_SCALE] = clip > 0 && norm > clip ? clip / norm : 1.0;
    if (!isfinite(norm) || !isfinite(loss)) a->ctl[HY_CTL_BAD] = 1;
    report[0] = loss;
    report[1] = norm;
    return HY_OK;
}

hy_status HY_REF(hy_ref_cast)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_cast_args *a = args;
    for (size_t i = 0; i < a->n; i++) a->y[i] = hy_bf16_from_f32(a->x[i]);
    return HY_OK;
}
