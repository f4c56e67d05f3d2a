// embed.c - embed, its backward, and gather in float32: copies of rows.
#include <omp.h>

#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

hy_status HY_FAST(hy_fast_embed)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_embed_args *a = args;
    const bool bf16 = a->w_dtype == HY_BF16;
    int threads = hy_cpu_threads(req, (size_t)a->rows * a->C);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < a->rows; r++) {
        int id = a->ids[r];
        float *y = (float *)a->y + (size_t)r * a->ldy;
        if (id < 0)
            memcpy(y, (const float *)a->meta + (size_t)(-(id + 1)) * a->C, (size_t)a->C * sizeof *y);
        else if (!bf16)
            memcpy(y, (const float *)a->table + (size_t)id * a->C, (size_t)a->C * sizeof *y);
        else
            hy_vwiden(y, (const uint16_t *)a->table + (size_t)id * a->C, a->C);
    }
    return HY_OK;
}

// Each id belongs to one thread, which adds its rows in row order: the sums are the same for any number of threads.
hy_status HY_FAST(hy_fast_embed_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_embed_bwd_args *a = args;
    int C = a->f.C, threads = hy_cpu_threads(req, (size_t)a->f.rows * C);
#pragma omp parallel num_threads(threads)
    {
        uint32_t mine = (uint32_t)omp_get_thread_num(), all = (uint32_t)omp_get_num_threads();
        for (int r = 0; r < a->f.rows; r++) {
            int id = a->f.ids[r];
            float *base = id >= 0 ? a->dtable : a->dmeta;
            if ((uint32_t)id % all != mine || !base) continue;
            float *dst = base + (size_t)(id >= 0 ? id : -(id + 1)) * C;
            const float *dy = (const float *)a->dy + (size_t)r * a->lddy;
            HY_VFOR(i, n, C) hy_vput(dst + i, hy_vget(dst + i, n) + hy_vget(dy + i, n), n);
        }
    }
    return HY_OK;
}

hy_status HY_FAST(hy_fast_gather)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_gather_args *a = args;
    int threads = hy_cpu_threads(req, (size_t)a->n * a->C);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < a->n; i++)
        memcpy((float *)a->y + (size_t)i * a->ldy, (const float *)a->x + (size_t)a->idx[i] * a->ldx,
               (size_t)a->C * sizeof(float));
    return HY_OK;
}
