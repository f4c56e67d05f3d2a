// floor.c - nothing but 2^x, as often as asked: the floor that the speed of the scan is compared with. No op uses it.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"
#include "kernels/cpu/fast/vec.h"

hy_status HY_FAST(hy_fast_exp2_floor)(const void *args, void *ws, const hy_plan_req *req);

hy_status HY_FAST(hy_fast_exp2_floor)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_exp2_floor_args *a = args;
    enum { BATCH = 8 };  // independent vectors in flight, as the states of a scan
    const size_t rounds = a->n / ((size_t)req->threads * BATCH * HY_LANES) + 1;
    double total = 0;
    (void)ws;
#pragma omp parallel for num_threads(req->threads) reduction(+ : total)
    for (int t = 0; t < req->threads; t++) {
        vf x[BATCH], sum[BATCH] = {{0}};
        for (int i = 0; i < BATCH; i++)
            for (int l = 0; l < HY_LANES; l++) x[i][l] = -0.01f * (float)(i * HY_LANES + l + t);
        for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 8
            for (int i = 0; i < BATCH; i++) {
                __asm__ volatile("" : "+m"(x[i]));  // not known to be the same as in the last round
                sum[i] += v_exp2(x[i]);
            }
        }
        for (int i = 0; i < BATCH; i++)
            for (int l = 0; l < HY_LANES; l++) total += (double)sum[i][l];
    }
    *a->sum = total;
    return HY_OK;
}
