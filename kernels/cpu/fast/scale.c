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

static void scale_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_scale_args *a = ctx;
    for (int r = (int)from; r < (int)to; r++)
        scale_row(&a->parts, (const float *)a->x + (size_t)r * a->ldx, (float *)a->y + (size_t)r * a->ldy, false);
}
hy_status HY_FAST(hy_fast_scale)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_scale_args *a = args;
    int threads = hy_cpu_threads(req, (size_t)a->rows * a->C);
    hy_parallel(threads, a->rows, 0, scale_rows, a);
    return HY_OK;
}

static void scale_bwd_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_scale_bwd_args *b = ctx;
    for (int r = (int)from; r < (int)to; r++)
        scale_row(&b->f.parts, (const float *)b->dy + (size_t)r * b->lddy, (float *)b->dx + (size_t)r * b->lddx,
                  b->acc & 1);
}
hy_status HY_FAST(hy_fast_scale_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_scale_bwd_args *b = args;
    int threads = hy_cpu_threads(req, (size_t)b->f.rows * b->f.C);
    hy_parallel(threads, b->f.rows, 0, scale_bwd_rows, b);
    return HY_OK;
}
