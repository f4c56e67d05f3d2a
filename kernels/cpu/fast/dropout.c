// dropout.c - dropout in float32 and its gradient: one row after the other.
#include "kernels/cpu/fast.h"
#include "kernels/dropout_rule.h"

typedef struct {
    const hy_dropout_args *a;
    const float *x;
    float *y;
    int ldx, ldy;
    bool add;
} dropout_ctx;
static void dropout_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const dropout_ctx *k = ctx;
    const int C = k->a->C;
    const uint64_t key = k->a->key ? hy_dropout_mix(*k->a->key, (uint64_t)k->a->place) : 0;
    const uint32_t limit = k->a->key ? hy_dropout_limit(k->a->p) : 0;
    const float by = k->a->key ? (float)(1 / (1 - k->a->p)) : 1;
    for (long r = from; r < to; r++) {
        const float *x = k->x + (size_t)r * k->ldx;
        float *y = k->y + (size_t)r * k->ldy;
        for (int c = 0; c < C; c++) {
            const float v =
                hy_dropout_keeps(key, (uint64_t)r * (uint64_t)C + (uint64_t)c, limit) ? by * x[c] : 0 * x[c];
            y[c] = k->add ? y[c] + v : v;
        }
    }
}
hy_status HY_FAST(hy_fast_dropout)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_dropout_args *a = args;
    const dropout_ctx ctx = {a, a->x, a->y, a->ldx, a->ldy, false};
    hy_parallel(hy_cpu_threads(req, (size_t)a->rows * a->C), a->rows, 0, dropout_rows, &ctx);
    return HY_OK;
}
hy_status HY_FAST(hy_fast_dropout_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_dropout_bwd_args *g = args;
    const dropout_ctx ctx = {&g->f, g->dy, g->dx, g->lddy, g->lddx, g->acc & 1};
    hy_parallel(hy_cpu_threads(req, (size_t)g->f.rows * g->f.C), g->f.rows, 0, dropout_rows, &ctx);
    return HY_OK;
}
