// floor.c - nothing but 2^x, as often as asked: the floor that the speed of the scan is compared with. No op uses it.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"
#include "kernels/cpu/fast/vec.h"

hy_status HY_FAST(hy_fast_exp2_floor)(const void *args, void *ws, const hy_plan_req *req);

enum { BATCH = 8 };  // independent vectors in flight, as the states of a scan

typedef struct {
    double *sums;  // [threads]
    size_t rounds;
} share_ctx;
static void share(const void *ctx, long from, long to, int thread) {
    const share_ctx *a = ctx;
    (void)thread;
    for (int t = (int)from; t < (int)to; t++) {
        double total = 0;
        vf x[BATCH], sum[BATCH] = {{0}};
        for (int i = 0; i < BATCH; i++)
            for (int l = 0; l < HY_LANES; l++) x[i][l] = -0.01f * (float)(i * HY_LANES + l + t);
        for (size_t r = 0; r < a->rounds; r++) {
#pragma GCC unroll 8
            for (int i = 0; i < BATCH; i++) {
                __asm__ volatile("" : "+m"(x[i]));  // not known to be the same as in the last round
                sum[i] += v_exp2(x[i]);
            }
        }
        for (int i = 0; i < BATCH; i++)
            for (int l = 0; l < HY_LANES; l++) total += (double)sum[i][l];
        a->sums[t] = total;
    }
}

hy_status HY_FAST(hy_fast_exp2_floor)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_exp2_floor_args *a = args;
    double sums[HY_EXP2_FLOOR_THREADS];
    const int threads = req->threads < HY_EXP2_FLOOR_THREADS ? req->threads : HY_EXP2_FLOOR_THREADS;
    const share_ctx ctx = {sums, a->n / ((size_t)threads * BATCH * HY_LANES) + 1};
    (void)ws;
    hy_parallel(threads, threads, 1, share, &ctx);
    *a->sum = 0;
    for (int t = 0; t < threads; t++) *a->sum += sums[t];
    return HY_OK;
}
