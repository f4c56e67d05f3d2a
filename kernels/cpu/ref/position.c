// position.c - learned positions and their gradient: the obvious loops.
#include "kernels/cpu/cpu.h"

hy_status HY_REF(hy_ref_position)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_position_args *a = args;
    const real *w = a->w;
    for (int r = 0; r < a->B * a->T; r++) {
        const int p = hy_position_row(a, r);
        const real *x = (const real *)a->x + (size_t)r * a->ldx;
        real *y = (real *)a->y + (size_t)r * a->ldy;
        for (int c = 0; c < a->C; c++) y[c] = p < 0 ? x[c] : x[c] + w[(size_t)p * a->C + c];
    }
    return HY_OK;
}

hy_status HY_REF(hy_ref_position_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_position_bwd_args *g = args;
    const hy_position_args *a = &g->f;
    for (int r = 0; r < a->B * a->T; r++) {
        const int p = hy_position_row(a, r);
        const real *dy = (const real *)g->dy + (size_t)r * g->lddy;
        real *dx = g->dx ? (real *)g->dx + (size_t)r * g->lddx : NULL;
        real *dw = g->dw && p >= 0 ? (real *)g->dw + (size_t)p * a->C : NULL;
        for (int c = 0; c < a->C; c++) {
            if (dw) dw[c] += dy[c];
            if (dx) dx[c] = (g->acc & 1 ? dx[c] : 0) + dy[c];
        }
    }
    return HY_OK;
}
