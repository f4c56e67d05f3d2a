// floor.c - nothing but 2^x, as often as asked: the floor that the speed of the scan is compared with. No op uses it.
#include <stdlib.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"
#include "kernels/cpu/fast/vec.h"

hy_status HY_FAST(hy_fast_exp2_floor)(const void *args, void *ws, const hy_plan_req *req);

enum { BATCH = 8 };  // independent vectors in flight, as the states of a scan
typedef struct {
    size_t rounds;
    double *sum;  // of each item
} floor_ctx;
static void some_rounds(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const floor_ctx *c = ctx;
    for (long t = from; t < to; t++) {
        vf x[BATCH], sum[BATCH] = {{0}};
        for (int i = 0; i < BATCH; i++)
            for (int l = 0; l < HY_LANES; l++) x[i][l] = -0.01f * (float)(i * HY_LANES + l + t);
        for (size_t r = 0; r < c->rounds; r++) {
#pragma GCC unroll 8
            for (int i = 0; i < BATCH; i++) {
                __asm__ volatile("" : "+m"(x[i]));  // not known to be the same as in the last round
                sum[i] += v_exp2(x[i]);
            }
        }
        c->sum[t] = 0;
        for (int i = 0; i < BATCH; i++)
            for (int l = 0; l < HY_LANES; l++) c->sum[t] += (double)sum[i][l];
    }
}

hy_status HY_FAST(hy_fast_exp2_floor)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_exp2_floor_args *a = args;
    (void)ws;
    const floor_ctx c = {a->n / ((size_t)req->threads * BATCH * HY_LANES) + 1,
                         hy_alloc((size_t)req->threads * sizeof *c.sum)};
    if (!c.sum) return HY_ENOMEM;
    hy_parallel(req->threads, req->threads, 1, some_rounds, &c);
    *a->sum = 0;
    for (int t = 0; t < req->threads; t++) *a->sum += c.sum[t];
    free(c.sum);
    return HY_OK;
}
