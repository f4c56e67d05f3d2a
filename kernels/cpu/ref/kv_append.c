// kv_append.c - the slow obvious kv_append: every token in turn, the newest wins a slot of the ring.
#include "kernels/cpu/cpu.h"

hy_status HY_REF(hy_ref_kv_append)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_kv_append_args *a = args;
    (void)ws, (void)req;
    HY_TRY(hy_cpu_kv_append_check_data(a));
    for (int b = 0; b < a->B; b++)
        for (int t = 0; t < a->len[b]; t++)
            for (int h = 0; h < a->kv_heads; h++) {
                size_t row = (size_t)b * a->T + t;
                size_t slot = ((size_t)b * a->kv_heads + h) * a->cache.cap +
                              (size_t)hy_attn_slot(a->pos[b] + t, a->meta, a->cache.cap);
                const real *k = (const real *)a->k + row * a->ldk + h * a->d_qk;
                const real *v = (const real *)a->v + row * a->ldv + h * a->d_v;
                for (int c = 0; c < a->d_qk; c++) ((real *)a->cache.k)[slot * a->d_qk + c] = k[c];
                for (int c = 0; c < a->d_v; c++) ((real *)a->cache.v)[slot * a->d_v + c] = v[c];
            }
    return HY_OK;
}
