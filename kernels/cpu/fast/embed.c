// embed.c - embed, its backward, and gather in float32: copies of rows.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

static void embed_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_embed_args *a = ctx;
    const bool bf16 = a->w_dtype == HY_BF16;
    for (int r = (int)from; r < (int)to; r++) {
        int id = a->ids[r];
        float *y = (float *)a->y + (size_t)r * a->ldy;
        if (id < 0)
            memcpy(y, (const float *)a->meta + (size_t)(-(id + 1)) * a->C, (size_t)a->C * sizeof *y);
        else if (!bf16)
            memcpy(y, (const float *)a->table + (size_t)id * a->C, (size_t)a->C * sizeof *y);
        else
            hy_vwiden(y, (const uint16_t *)a->table + (size_t)id * a->C, a->C);
    }
}
hy_status HY_FAST(hy_fast_embed)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_embed_args *a = args;
    int threads = hy_cpu_threads(req, (size_t)a->rows * a->C);
    hy_parallel(threads, a->rows, 0, embed_rows, a);
    return HY_OK;
}

// Each id belongs to one class, whose rows are added in row order: the sums are the same for any number of threads.
typedef struct {
    const hy_embed_bwd_args *a;
    uint32_t all;
} embed_ctx;
static void embed_classes(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_embed_bwd_args *a = ((const embed_ctx *)ctx)->a;
    const uint32_t all = ((const embed_ctx *)ctx)->all;
    const int C = a->f.C;
    for (uint32_t mine = (uint32_t)from; mine < (uint32_t)to; mine++)
        for (int r = 0; r < a->f.rows; r++) {
            int id = a->f.ids[r];
            float *base = id >= 0 ? a->dtable : a->dmeta;
            if ((uint32_t)id % all != mine || !base) continue;
            float *dst = base + (size_t)(id >= 0 ? id : -(id + 1)) * C;
            const float *dy = (const float *)a->dy + (size_t)r * a->lddy;
            HY_VFOR(i, n, C) hy_vput(dst + i, hy_vget(dst + i, n) + hy_vget(dy + i, n), n);
        }
}
hy_status HY_FAST(hy_fast_embed_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_embed_bwd_args *a = args;
    const int threads = hy_cpu_threads(req, (size_t)a->f.rows * a->f.C);
    const embed_ctx ctx = {a, threads == 1 ? 1 : 4 * (uint32_t)threads};
    hy_parallel(threads, ctx.all, 1, embed_classes, &ctx);
    return HY_OK;
}

static void gather_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_gather_args *a = ctx;
    for (int i = (int)from; i < (int)to; i++)
        memcpy((float *)a->y + (size_t)i * a->ldy, (const float *)a->x + (size_t)a->idx[i] * a->ldx,
               (size_t)a->C * sizeof(float));
}
hy_status HY_FAST(hy_fast_gather)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_gather_args *a = args;
    int threads = hy_cpu_threads(req, (size_t)a->n * a->C);
    hy_parallel(threads, a->n, 0, gather_rows, a);
    return HY_OK;
}
