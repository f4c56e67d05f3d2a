// kv_append.c - float32 kv_append: whole rows are copied, and tokens that the same call overwrites are left out.
#include <string.h>

#include "kernels/cpu/attention.h"

enum { SERIAL = 16384 };  // values below which threads cost more than they bring

static void append_heads(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_kv_append_args *a = ctx;
    const int ring = a->cache.cap - a->meta;
    for (long n = from; n < to; n++) {
        int b = (int)(n / a->kv_heads), h = (int)(n % a->kv_heads);
        for (int t = 0; t < a->len[b]; t++) {
            int p = a->pos[b] + t;
            if (p >= a->meta && a->len[b] - t > ring) continue;
            size_t row = (size_t)b * a->T + t,
                   slot = (size_t)n * a->cache.cap + (size_t)hy_attn_slot(p, a->meta, a->cache.cap);
            memcpy((float *)a->cache.k + slot * a->d_qk, (const float *)a->k + row * a->ldk + (size_t)h * a->d_qk,
                   (size_t)a->d_qk * sizeof(float));
            memcpy((float *)a->cache.v + slot * a->d_v, (const float *)a->v + row * a->ldv + (size_t)h * a->d_v,
                   (size_t)a->d_v * sizeof(float));
        }
    }
}

hy_status HY_FAST(hy_fast_kv_append)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_kv_append_args *a = args;
    (void)ws;
    HY_TRY(hy_cpu_kv_append_check_data(a));
    const long pairs = (long)a->B * a->kv_heads;
    hy_parallel(pairs * a->T * (a->d_qk + a->d_v) > SERIAL ? req->threads : 1, pairs, 0, append_heads, a);
    return HY_OK;
}
