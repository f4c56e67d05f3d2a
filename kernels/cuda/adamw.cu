// adamw.cu - the kernels of one optimiser step: AdamW, the sum of squares of the gradient, clipping, the sum of losses,
// and the cast of parameters to bfloat16. All scalars of a step are read on the device. Parameters are float32 whatever
// the activations are.
#include "kernels/cuda/rows.cuh"

enum { THREADS = 256 };

// Grid of a kernel whose threads go over n elements, four at a time, until there are none.
static unsigned blocks_for(size_t n) {
    const size_t want = (n + 4 * THREADS - 1) / (4 * THREADS), fill = (size_t)hy_cuda()->sms * 16;
    return (unsigned)(want < fill ? want : fill);
}

// ---------------------------------------------------------------------------------------------------- adamw
struct adam {
    float b1, b2, n1, n2, eps, wd;  // n1 = 1 - b1, n2 = 1 - b2
    const double *ctl;
};
template <int N>
static __global__ void adamw(size_t n, adam h, float *p, float *m, float *v, const float *g, hy_bf16 *p16,
                             const uint8_t *decay) {
    if (h.ctl[HY_CTL_BAD] != 0) return;
    const float lr = (float)h.ctl[HY_CTL_LR], scale = (float)h.ctl[HY_CTL_GRAD_SCALE];
    const float i1 = 1.0f / (float)h.ctl[HY_CTL_C1], i2 = 1.0f / (float)h.ctl[HY_CTL_C2];
    const size_t step = (size_t)gridDim.x * THREADS * N;
    for (size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) * N; i < n; i += step) {
        hy_piece<float, N> pi, mi, vi, gi;
        hy_piece<hy_bf16, N> half;
        pi.load(p + i), mi.load(m + i), vi.load(v + i), gi.load(g + i);
        const float wd = decay[i / HY_DECAY_BLOCK] ? h.wd : 0.0f;
#pragma unroll
        for (int j = 0; j < N; j++) {
            const float x = gi[j] * scale, mj = h.b1 * mi[j] + h.n1 * x, vj = h.b2 * vi[j] + h.n2 * x * x;
            mi.set(j, mj), vi.set(j, vj);
            pi.set(j, pi[j] - lr * (mj * i1 / (sqrtf(vj * i2) + h.eps) + wd * pi[j]));
            half.set(j, pi[j]);
        }
        pi.store(p + i), mi.store(m + i), vi.store(v + i);
        if (p16) half.store(p16 + i);
    }
}

static hy_status run_adamw(const void *args, void *ws, const hy_plan_req *req) {
    const hy_adamw_args *a = (const hy_adamw_args *)args;
    (void)ws, (void)req;
    if (a->n == 0) return HY_OK;
    float *p = (float *)a->p, *m = (float *)a->m, *v = (float *)a->v;
    const float *g = (const float *)a->g;
    hy_bf16 *p16 = (hy_bf16 *)a->p16;
    adam h = {(float)a->beta1, (float)a->beta2, (float)(1 - a->beta1), (float)(1 - a->beta2), (float)a->eps,
              (float)a->wd,    a->ctl};
    const bool wide = hy_wide<float>(p, 0) && hy_wide<float>(m, 0) && hy_wide<float>(v, 0) && hy_wide<float>(g, 0) &&
                      (uintptr_t)p16 % 8 == 0;
    const size_t most = wide ? a->n / 4 * 4 : 0,
                 rest = a->n - most;  // `most` ends inside a decay block: decay is given by the element
    if (most) HY_LAUNCH((adamw<4>), blocks_for(most), THREADS, 0, most, h, p, m, v, g, p16, a->decay);
    if (rest)
        HY_LAUNCH((adamw<1>), blocks_for(4 * rest), THREADS, 0, rest, h, p + most, m + most, v + most, g + most,
                  p16 ? p16 + most : p16, a->decay + most / HY_DECAY_BLOCK);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- sumsq
#define SUM_PARTS 1024  // partial sums, cut by n alone
enum { SUM_THREADS = 1024 };

static unsigned sum_parts(size_t n) {
    const size_t want = (n + 16 * THREADS - 1) / (16 * THREADS);
    return (unsigned)(want < SUM_PARTS ? want : SUM_PARTS);
}
template <int N> static __global__ void sumsq_parts(size_t n, const float *x, double *part) {
    HY_SHARED(double, scratch);
    const size_t step = (size_t)gridDim.x * THREADS * N;
    double s[4] = {0, 0, 0, 0};  // of four neighbours of a thread's pieces
    size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) * N;
    for (; i + 3 * step + N <= n; i += 4 * step) {
        hy_piece<float, N> a[4];
#pragma unroll
        for (int k = 0; k < 4; k++) a[k].load(x + i + k * step);
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int j = 0; j < N; j++) s[j % 4] += (double)a[k][j] * a[k][j];
    }
    for (; i < n; i += step)
        for (int j = 0; j < N && i + j < n; j++) s[j % 4] += (double)x[i + j] * x[i + j];
    const double sum = hy_block_sum((s[0] + s[1]) + (s[2] + s[3]), scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}
static __global__ void sumsq_total(int parts, const double *part, double *out) {
    HY_SHARED(double, scratch);
    const double sum = hy_block_sum((int)threadIdx.x < parts ? part[threadIdx.x] : 0.0, scratch);
    if (threadIdx.x == 0) *out = sum;
}
static hy_status run_sumsq(const void *args, void *ws, const hy_plan_req *req) {
    const hy_sumsq_args *a = (const hy_sumsq_args *)args;
    const unsigned parts = sum_parts(a->n);
    const float *x = (const float *)a->x;
    double *part = (double *)ws;
    (void)req;
    if (parts && hy_wide<float>(x, 0))
        HY_LAUNCH((sumsq_parts<4>), parts, THREADS, 32 * sizeof(double), a->n, x, part);
    else if (parts)
        HY_LAUNCH((sumsq_parts<1>), parts, THREADS, 32 * sizeof(double), a->n, x, part);
    HY_LAUNCH(sumsq_total, 1, SUM_THREADS, 32 * sizeof(double), (int)parts, part, a->out);
    return HY_OK;
}

// ------------------------------------------------------------------------------------------------- nll_sum, clip, cast
// One block: thread i adds up the elements i, i + 1024, ...
static __global__ void nll_sum(int rows, const float *nll, double *sum) {
    HY_SHARED(double, scratch);
    double s[4] = {0, 0, 0, 0};
    for (long r = threadIdx.x; r < rows; r += 4 * SUM_THREADS)
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (r + k * SUM_THREADS < rows) s[k] += nll[r + k * SUM_THREADS];
    const double total = hy_block_sum((s[0] + s[1]) + (s[2] + s[3]), scratch);
    if (threadIdx.x == 0) *sum += total;
}
static hy_status run_nll_sum(const void *args, void *ws, const hy_plan_req *req) {
    const hy_nll_sum_args *a = (const hy_nll_sum_args *)args;
    (void)ws, (void)req;
    HY_LAUNCH(nll_sum, 1, SUM_THREADS, 32 * sizeof(double), a->rows, (const float *)a->nll, a->sum);
    return HY_OK;
}

static __global__ void clip(double *ctl, double *report, int cap) {
    const double norm = sqrt(ctl[HY_CTL_SUMSQ]), loss = ctl[HY_CTL_NLL] * ctl[HY_CTL_SCALE], limit = ctl[HY_CTL_CLIP];
    double *const line = report + 2 * (((long)ctl[HY_CTL_STEP] - 1) % cap);
    ctl[HY_CTL_GRAD_SCALE] = limit > 0 && norm > limit ? limit / norm : 1.0;
    if (!isfinite(norm) || !isfinite(loss)) ctl[HY_CTL_BAD] = 1;
    line[0] = loss;
    line[1] = norm;
}
static hy_status run_clip(const void *args, void *ws, const hy_plan_req *req) {
    const hy_clip_args *a = (const hy_clip_args *)args;
    (void)ws, (void)req;
    HY_LAUNCH(clip, 1, 1, 0, a->ctl, a->report, a->cap);
    return HY_OK;
}

template <int N> static __global__ void cast(size_t n, const float *x, hy_bf16 *y) {
    const size_t step = (size_t)gridDim.x * THREADS * N;
    for (size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) * N; i < n; i += step) {
        hy_piece<float, N> a;
        hy_piece<hy_bf16, N> b;
        a.load(x + i);
#pragma unroll
        for (int j = 0; j < N; j++) b.set(j, a[j]);
        b.store(y + i);
    }
}
static hy_status run_cast(const void *args, void *ws, const hy_plan_req *req) {
    const hy_cast_args *a = (const hy_cast_args *)args;
    (void)ws, (void)req;
    const size_t most = hy_wide<float>(a->x, 0) && hy_wide<hy_bf16>(a->y, 0) ? a->n / 8 * 8 : 0, rest = a->n - most;
    hy_bf16 *y = (hy_bf16 *)a->y;
    if (most) HY_LAUNCH((cast<8>), blocks_for(most / 2), THREADS, 0, most, a->x, y);
    if (rest) HY_LAUNCH((cast<1>), blocks_for(4 * rest), THREADS, 0, rest, a->x + most, y + most);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- plans
static hy_status plan(const char *op, const hy_plan_req *req, hy_launch *out, size_t workspace,
                      hy_status (*run)(const void *, void *, const hy_plan_req *)) {
    HY_NEED_TYPE(op, req);
    *out = hy_launch{};
    out->path = "cuda";
    out->workspace = workspace;
    out->run = run;
    return HY_OK;
}

hy_status hy_cuda_plan_adamw(const void *args, const hy_plan_req *req, hy_launch *out) {
    (void)args;  // any n; the hyperparameters are the caller's to check
    return plan("adamw", req, out, 0, run_adamw);
}
hy_status hy_cuda_plan_sumsq(const void *args, const hy_plan_req *req, hy_launch *out) {
    return plan("sumsq", req, out, sum_parts(((const hy_sumsq_args *)args)->n) * sizeof(double), run_sumsq);
}
hy_status hy_cuda_plan_nll_sum(const void *args, const hy_plan_req *req, hy_launch *out) {
    HY_NEED("nll_sum", ((const hy_nll_sum_args *)args)->rows >= 0);
    return plan("nll_sum", req, out, 0, run_nll_sum);
}
hy_status hy_cuda_plan_clip(const void *args, const hy_plan_req *req, hy_launch *out) {
    HY_NEED("clip", ((const hy_clip_args *)args)->cap >= 1);
    return plan("clip", req, out, 0, run_clip);
}
hy_status hy_cuda_plan_cast(const void *args, const hy_plan_req *req, hy_launch *out) {
    (void)args;
    return plan("cast", req, out, 0, run_cast);
}
