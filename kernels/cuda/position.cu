// position.cu - learned positions and their gradient. A position's gradient is the sum over the sequences, in their
// order, by one thread for each column, so that it is the same in every run.
#include "kernels/cuda/rows.cuh"

enum { THREADS = 256 };

template <class T> static __global__ void place(hy_position_args a, const T *x, const float *w, T *y) {
    const long i = (long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= (long)a.B * a.T * a.C) return;
    const int r = (int)(i / a.C), c = (int)(i % a.C), p = hy_position_row(&a, r);
    const float v = hy_to_float(x[(size_t)r * a.ldx + c]);
    y[(size_t)r * a.ldy + c] = hy_from_float<T>(p < 0 ? v : v + w[(size_t)p * a.C + c]);
}

// Sequence b has position p of the call at t = p + meta - pos[b], if that is one of its T; rows of padding, which may
// be past the last position, count as the last.
template <class T> static __global__ void place_bwd(hy_position_args a, const T *dy, int lddy, float *dw) {
    const long i = (long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= (long)a.n * a.C) return;
    const int p = (int)(i / a.C), c = (int)(i % a.C);
    float sum = 0;
    bool any = false;
    for (int b = 0; b < a.B; b++) {
        const int first = p + a.meta - a.pos[b], last = p == a.n - 1 ? a.T - 1 : first;
        for (int t = first < 0 ? 0 : first; t <= last && t < a.T; t++)
            sum += hy_to_float(dy[((size_t)b * a.T + t) * lddy + c]), any = true;
    }
    if (any) dw[i] += sum;
}

template <class T> static __global__ void pass_on(long rows, int C, const T *dy, int lddy, T *dx, int lddx, bool add) {
    const long i = (long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= rows * C) return;
    const size_t r = (size_t)(i / C), c = (size_t)(i % C);
    const float v = hy_to_float(dy[r * lddy + c]);
    dx[r * lddx + c] = hy_from_float<T>(add ? hy_to_float(dx[r * lddx + c]) + v : v);
}

// ---------------------------------------------------------------------------------------------------- plans
static unsigned blocks_for(long n) { return (unsigned)((n + THREADS - 1) / THREADS); }

template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_position_args *a = (const hy_position_args *)args;
    (void)ws, (void)req;
    HY_LAUNCH((place<T>), blocks_for((long)a->B * a->T * a->C), THREADS, 0, *a, (const T *)a->x, (const float *)a->w,
              (T *)a->y);
    return HY_OK;
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_position_bwd_args *g = (const hy_position_bwd_args *)args;
    const hy_position_args *a = &g->f;
    const long rows = (long)a->B * a->T;
    (void)ws, (void)req;
    if (g->dw)
        HY_LAUNCH((place_bwd<T>), blocks_for((long)a->n * a->C), THREADS, 0, *a, (const T *)g->dy, g->lddy,
                  (float *)g->dw);
    if (g->dx)
        HY_LAUNCH((pass_on<T>), blocks_for(rows * a->C), THREADS, 0, rows, a->C, (const T *)g->dy, g->lddy, (T *)g->dx,
                  g->lddx, (g->acc & 1) != 0);
    return HY_OK;
}

static hy_status check(const char *op, const hy_position_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->B >= 1 && a->T >= 1 && a->T <= INT32_MAX / a->B && a->C >= 1);
    HY_NEED(op, a->n >= 1 && a->meta >= 0 && a->ldx >= a->C && a->ldy >= a->C);
    return HY_OK;
}

hy_status hy_cuda_plan_position(const void *args, const hy_plan_req *req, hy_launch *out) {
    HY_TRY(check("position", (const hy_position_args *)args, req));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}

hy_status hy_cuda_plan_position_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_position_bwd_args *g = (const hy_position_bwd_args *)args;
    HY_TRY(check("position_bwd", &g->f, req));
    HY_NEED("position_bwd", g->lddy >= g->f.C && (!g->dx || g->lddx >= g->f.C));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    return HY_OK;
}
