// scale.c - columns times factors, forward and backward: the obvious loops.
#include "kernels/cpu/cpu.h"

static double factor(const hy_scale_parts *p, int c) {
    int i = 0;
    while (c >= p->end[i]) i++;
    return p->by[i];
}

hy_status HY_REF(hy_ref_scale)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_scale_args *a = args;
    const real *x = a->x;
    real *y = a->y;
    for (int r = 0; r < a->rows; r++)
        for (int c = 0; c < a->C; c++)
            y[(size_t)r * a->ldy + c] = (real)(factor(&a->parts, c) * x[(size_t)r * a->ldx + c]);
    return HY_OK;
}

hy_status HY_REF(hy_ref_scale_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_scale_bwd_args *b = args;
    const real *dy = b->dy;
    real *dx = b->dx;
    for (int r = 0; r < b->f.rows; r++)
        for (int c = 0; c < b->f.C; c++) {
            real *d = dx + (size_t)r * b->lddx + c;
            *d = (real)((b->acc & 1 ? *d : 0) + factor(&b->f.parts, c) * dy[(size_t)r * b->lddy + c]);
        }
    return HY_OK;
}
