// dropout.cu - dropout and its gradient: one kernel serves both.
#include "kernels/cuda/rows.cuh"
#include "kernels/dropout_rule.h"

enum { THREADS = 256 };

template <class T>
static __global__ void drop(long rows, int C, uint64_t place, uint32_t limit, float by, const uint64_t *key, const T *x,
                            int ldx, T *y, int ldy, bool add) {
    const long i = (long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= rows * C) return;
    const size_t r = (size_t)(i / C), c = (size_t)(i % C);
    const bool keeps = !key || hy_dropout_keeps(hy_dropout_mix(*key, place), (uint64_t)i, limit);
    const float v = (!key ? 1.0f : keeps ? by : 0.0f) * hy_to_float(x[r * ldx + c]);
    y[r * ldy + c] = hy_from_float<T>(add ? hy_to_float(y[r * ldy + c]) + v : v);
}

template <class T>
static hy_status launch(const hy_dropout_args *a, const void *x, int ldx, void *y, int ldy, bool add) {
    const long n = (long)a->rows * a->C;
    if (n == 0) return HY_OK;
    HY_LAUNCH((drop<T>), (unsigned)((n + THREADS - 1) / THREADS), THREADS, 0, (long)a->rows, a->C, (uint64_t)a->place,
              hy_dropout_limit(a->p), (float)(1 / (1 - a->p)), a->key, (const T *)x, ldx, (T *)y, ldy, add);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_dropout_args *a = (const hy_dropout_args *)args;
    (void)ws, (void)req;
    return launch<T>(a, a->x, a->ldx, a->y, a->ldy, false);
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_dropout_bwd_args *g = (const hy_dropout_bwd_args *)args;
    (void)ws, (void)req;
    return launch<T>(&g->f, g->dy, g->lddy, g->dx, g->lddx, (g->acc & 1) != 0);
}

static hy_status check(const char *op, const hy_dropout_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->rows >= 0 && a->C >= 1 && a->p >= 0 && a->p < 1);
    HY_NEED(op, a->ldx >= a->C && a->ldy >= a->C);
    return HY_OK;
}

hy_status hy_cuda_plan_dropout(const void *args, const hy_plan_req *req, hy_launch *out) {
    HY_TRY(check("dropout", (const hy_dropout_args *)args, req));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}

hy_status hy_cuda_plan_dropout_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_dropout_bwd_args *g = (const hy_dropout_bwd_args *)args;
    HY_TRY(check("dropout_bwd", &g->f, req));
    HY_NEED("dropout_bwd", g->lddy >= g->f.C && g->lddx >= g->f.C);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    return HY_OK;
}
