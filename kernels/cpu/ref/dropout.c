// dropout.c - dropout and its gradient: the obvious loops.
#include "kernels/cpu/cpu.h"
#include "kernels/dropout_rule.h"

// The factor of element (r, c); 1 without a key.
static real factor(const hy_dropout_args *a, int r, int c) {
    if (!a->key) return 1;
    const uint64_t key = hy_dropout_mix(*a->key, (uint64_t)a->place);
    if (!hy_dropout_keeps(key, (uint64_t)r * (uint64_t)a->C + (uint64_t)c, hy_dropout_limit(a->p))) return 0;
    return (real)(1 / (1 - a->p));
}

hy_status HY_REF(hy_ref_dropout)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_dropout_args *a = args;
    const real *x = a->x;
    real *y = a->y;
    for (int r = 0; r < a->rows; r++)
        for (int c = 0; c < a->C; c++) y[(size_t)r * a->ldy + c] = factor(a, r, c) * x[(size_t)r * a->ldx + c];
    return HY_OK;
}

hy_status HY_REF(hy_ref_dropout_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_dropout_bwd_args *g = args;
    const real *dy = g->dy;
    for (int r = 0; r < g->f.rows; r++)
        for (int c = 0; c < g->f.C; c++) {
            real *dx = (real *)g->dx + (size_t)r * g->lddx + c;
            *dx = (g->acc & 1 ? *dx : 0) + factor(&g->f, r, c) * dy[(size_t)r * g->lddy + c];
        }
    return HY_OK;
}
