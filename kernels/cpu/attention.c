// attention.c - what can be said of positions and lengths only when they are there. See attention.h.
#include "kernels/cpu/attention.h"

hy_status hy_cpu_attention_check_data(const hy_attention_args *a) {
    for (int b = 0; b < a->B; b++) {
        int pos = a->pos[b], len = a->len[b];
        if (pos < 0 || len < 0 || len > a->T || pos > INT32_MAX - a->T)
            return hy_error(HY_EINPUT, "attention: sequence %d has position %d and length %d of at most %d", b, pos,
                            len, a->T);
        if (pos > 0 && !a->cache.k)
            return hy_error(HY_EINPUT, "attention: sequence %d starts at position %d but there is no cache", b, pos);
        int before = pos > a->meta ? pos - a->meta : 0;  // text positions before this call that a query may need
        if (a->window > 0 && before > a->window) before = a->window;
        if (len > 0 && before > 0 && before > a->cache.cap - a->meta)
            return hy_error(HY_EINPUT,
                            "attention: sequence %d at position %d needs %d cached text tokens, the cache holds %d", b,
                            pos, before, a->cache.cap - a->meta);
    }
    return HY_OK;
}

hy_status hy_cpu_kv_append_check_data(const hy_kv_append_args *a) {
    for (int b = 0; b < a->B; b++)
        if (a->pos[b] < 0 || a->len[b] < 0 || a->len[b] > a->T || a->pos[b] > INT32_MAX - a->T)
            return hy_error(HY_EINPUT, "kv_append: sequence %d has position %d and length %d of at most %d", b,
                            a->pos[b], a->len[b], a->T);
    return HY_OK;
}
