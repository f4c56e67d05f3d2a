// position.c - learned positions in float32 and their gradient.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

static void position_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_position_args *a = ctx;
    const int C = a->C;
    for (int r = (int)from; r < (int)to; r++) {
        const int p = hy_position_row(a, r);
        const float *x = (const float *)a->x + (size_t)r * a->ldx,
                    *w = (const float *)a->w + (size_t)(p < 0 ? 0 : p) * C;
        float *y = (float *)a->y + (size_t)r * a->ldy;
        if (p < 0)
            memcpy(y, x, (size_t)C * sizeof *y);
        else
            HY_VFOR(i, n, C) hy_vput(y + i, hy_vget(x + i, n) + hy_vget(w + i, n), n);
    }
}
hy_status HY_FAST(hy_fast_position)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_position_args *a = args;
    hy_parallel(hy_cpu_threads(req, (size_t)a->B * a->T * a->C), (long)a->B * a->T, 0, position_rows, a);
    return HY_OK;
}

static void position_bwd_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_position_bwd_args *g = ctx;
    for (int r = (int)from; r < (int)to; r++) {
        const float *dy = (const float *)g->dy + (size_t)r * g->lddy;
        float *dx = (float *)g->dx + (size_t)r * g->lddx;
        HY_VFOR(i, n, g->f.C)
        hy_vput(dx + i, g->acc & 1 ? hy_vget(dx + i, n) + hy_vget(dy + i, n) : hy_vget(dy + i, n), n);
    }
}

// Each position belongs to one class, whose rows are added in row order: the same sums for any number of threads.
typedef struct {
    const hy_position_bwd_args *g;
    int classes;
} position_ctx;
static void position_classes(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_position_bwd_args *g = ((const position_ctx *)ctx)->g;
    const int classes = ((const position_ctx *)ctx)->classes, C = g->f.C;
    for (int mine = (int)from; mine < (int)to; mine++)
        for (int r = 0; r < g->f.B * g->f.T; r++) {
            const int p = hy_position_row(&g->f, r);
            if (p < 0 || p % classes != mine) continue;
            float *dw = (float *)g->dw + (size_t)p * C;
            const float *dy = (const float *)g->dy + (size_t)r * g->lddy;
            HY_VFOR(i, n, C) hy_vput(dw + i, hy_vget(dw + i, n) + hy_vget(dy + i, n), n);
        }
}
hy_status HY_FAST(hy_fast_position_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_position_bwd_args *g = args;
    const int threads = hy_cpu_threads(req, (size_t)g->f.B * g->f.T * g->f.C);
    const position_ctx ctx = {g, threads == 1 ? 1 : 4 * threads};
    if (g->dw) hy_parallel(threads, ctx.classes, 1, position_classes, &ctx);
    if (g->dx) hy_parallel(threads, (long)g->f.B * g->f.T, 0, position_bwd_rows, g);
    return HY_OK;
}
