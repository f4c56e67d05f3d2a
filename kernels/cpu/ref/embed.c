// embed.c - embed, its backward, and gather: the obvious loops (real = float or double).
#include "kernels/cpu/cpu.h"

hy_status HY_REF(hy_ref_embed)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_embed_args *a = args;
    const real *meta = a->meta;
    for (int r = 0; r < a->rows; r++) {
        int id = a->ids[r];
        real *y = (real *)a->y + (size_t)r * a->ldy;
        for (int c = 0; c < a->C; c++)
            y[c] = id >= 0 ? hy_ref_weight(a->table, a->w_dtype, (size_t)id * a->C + c)
                           : meta[(size_t)(-(id + 1)) * a->C + c];
    }
    return HY_OK;
}

hy_status HY_REF(hy_ref_embed_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_embed_bwd_args *a = args;
    real *dtable = a->dtable, *dmeta = a->dmeta;
    const real *dy = a->dy;
    for (int r = 0; r < a->f.rows; r++) {
        int id = a->f.ids[r];
        real *base = id >= 0 ? dtable : dmeta;
        if (!base) continue;
        real *dst = base + (size_t)(id >= 0 ? id : -(id + 1)) * a->f.C;
        for (int c = 0; c < a->f.C; c++) dst[c] += dy[(size_t)r * a->lddy + c];
    }
    return HY_OK;
}

hy_status HY_REF(hy_ref_gather)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_gather_args *a = args;
    const real *x = a->x;
    real *y = a->y;
    for (int i = 0; i < a->n; i++)
        for (int c = 0; c < a->C; c++) y[(size_t)i * a->ldy + c] = x[(size_t)a->idx[i] * a->ldx + c];
    return HY_OK;
}
