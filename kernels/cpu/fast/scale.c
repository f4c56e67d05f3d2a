// scale.c - columns times factors in float32, forward and backward: one range of columns after the other.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

HY_VINLINE void scale_row(const hy_scale_parts *p, const float *x, float *y, bool add) {
    for (int k = 0, c = 0; k < p->n; c = p->end[k++]) {
        const hy_vf by = hy_vset((float)p->by[k]);
        HY_VFOR(i, n, p->end[k] - c) {
            hy_vf v = by * hy_vget(x + c + i, n);
            hy_vput(y + c + i, add ? hy_vget(y + c + i, n) + v : v, n);
        }
    }
}

hy_status HY_FAST(hy_fast_scale)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_scale_args *a = args;
    int threads = hy_cpu_threads(req, (size_t)a->rows * a->C);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < a->rows; r++)
        scale_row(&a->parts, (const float *)a->x + (size_t)r * a->ldx, (float *)a->y + (size_t)r * a->ldy, false);
    return HY_OK;
}

hy_status HY_FAST(hy_fast_scale_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_scale_bwd_args *b = args;
    int threads = hy_cpu_threads(req, (size_t)b->f.rows * b->f.C);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < b->f.rows; r++)
        scale_row(&b->f.parts, (const float *)b->dy + (size_t)r * b->lddy, (float *)b->dx + (size_t)r * b->lddx,
                  b->acc & 1);
    return HY_OK;
}
