// linear.cu - plans of linear and linear_bwd, and how they run: many rows through cuBLAS, few (decoding) through
// few_rows.cu. What holds for a row y[m]: with fewer than HY_FEW_ROWS rows its bits are those it has alone; from there
// on cuBLAS chooses by all three sizes, so that two batches of different size may differ by rounding, and two of the
// same size do not.
#include "kernels/cuda/product.h"
#include "kernels/cuda/wide.cuh"

static hy_status check(const char *op, const hy_linear_args *a, bool backward, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->M >= 0 && a->N >= 1 && a->K >= 1 && a->ldx >= a->K);
    if (backward && a->w_dtype == HY_BF16 && req->dtype == HY_F32)
        return hy_error(HY_EINPUT, "%s: float32 gradients need weights in float32, bfloat16 ones are for inference",
                        op);
    return HY_OK;
}

static hy_weight_product weight_product(const char *op, const hy_linear_args *a, const hy_plan_req *req) {
    hy_weight_product p = {};
    p.op = op, p.M = a->M, p.N = a->N, p.K = a->K, p.w = a->w, p.w_dtype = a->w_dtype, p.dtype = req->dtype,
    p.math = req->math;
    return p;
}

// ---------------------------------------------------------------------------------------------------- forward
static hy_status run_few(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    return hy_few_rows_run((const hy_linear_args *)args, req);
}

// What is added goes into y before the product where it is exact there (then the sum is rounded once), else after it.
static hy_status run_many(const void *args, void *ws, const hy_plan_req *req) {
    const hy_linear_args *a = (const hy_linear_args *)args;
    const hy_weight_product p = weight_product("linear", a, req);
    const float *bias = (const float *)a->bias;
    const bool adds = a->residual || bias, before = adds && (req->dtype == HY_F32 || !bias);
    if (before) HY_TRY(hy_rows_add(req->dtype, a->M, a->N, a->residual, a->ldres, bias, a->y, a->ldy, false));
    HY_TRY(hy_weight_product_forward(&p, a->x, a->ldx, a->y, a->ldy, req->dtype, before, ws));
    if (adds && !before) HY_TRY(hy_rows_add(req->dtype, a->M, a->N, a->residual, a->ldres, bias, a->y, a->ldy, true));
    return HY_OK;
}

static const char *path(hy_dtype w_dtype, const hy_plan_req *req) {
    if (w_dtype != HY_BF16 || req->dtype == HY_BF16) return hy_cuda_mma_path(req);
    return req->math == HY_MATH_TF32 ? "cuda (tf32) (bf16 weights)" : "cuda (bf16 weights)";
}

hy_status hy_cuda_plan_linear(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_linear_args *a = (const hy_linear_args *)args;
    HY_TRY(check("linear", a, false, req));
    HY_NEED("linear", a->ldy >= a->N && (!a->residual || a->ldres >= a->N));
    *out = hy_launch{};
    const hy_weight_product p = weight_product("linear", a, req);
    const bool few = a->M < HY_FEW_ROWS;
    out->path = path(a->w_dtype, req);
    out->workspace = few ? 0 : hy_weight_product_workspace(&p);
    out->run = few ? run_few : run_many;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- backward
enum { SUM_COLS = 32, SUM_LANES = 8, SUM_ROWS = 128 };  // a block adds SUM_ROWS rows of SUM_COLS columns

// part [blocks of rows, N] = sums of dy over the block: thread (c, l) adds every SUM_LANES-th row of its column, then
// those are added in order.
template <class T>
static __global__ void column_sums(int M, int N, const T *__restrict__ dy, long lddy, float *__restrict__ part) {
    HY_SHARED(float, sums);  // [SUM_LANES, SUM_COLS]
    const int tiles = (N + SUM_COLS - 1) / SUM_COLS, tile = (int)(blockIdx.x % (unsigned)tiles);
    const long block = blockIdx.x / (unsigned)tiles, first = block * SUM_ROWS;
    const int c = tile * SUM_COLS + (int)threadIdx.x;
    const long end = min(first + SUM_ROWS, (long)M);
    float s = 0;
    for (long r = first + threadIdx.y; c < N && r < end; r += SUM_LANES) s += hy_load(dy + r * lddy + c);
    sums[threadIdx.y * SUM_COLS + threadIdx.x] = s;
    __syncthreads();
    if (threadIdx.y || c >= N) return;
    for (int l = 1; l < SUM_LANES; l++) s += sums[l * SUM_COLS + threadIdx.x];
    part[block * N + c] = s;
}

template <class T> static hy_status run_dbias(const hy_linear_bwd_args *a, float *part) {
    const int blocks = hy_ceil_div(a->f.M, SUM_ROWS), N = a->f.N;
    HY_LAUNCH((column_sums<T>), (unsigned)(blocks * (long)hy_ceil_div(N, SUM_COLS)), dim3(SUM_COLS, SUM_LANES),
              SUM_COLS * SUM_LANES * sizeof(float), a->f.M, N, (const T *)a->dy, (long)a->lddy, part);
    return hy_cuda_add_columns(part, blocks, (float *)a->dbias, (size_t)N, NULL, 0);
}

static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_linear_bwd_args *a = (const hy_linear_bwd_args *)args;
    const hy_linear_args *f = &a->f;
    if (f->M == 0) return HY_OK;
    if (a->dx) {
        const hy_weight_product p = weight_product("linear_bwd (dx)", f, req);
        HY_TRY(hy_weight_product_backward(&p, a->dy, a->lddy, a->dx, a->lddx, a->acc & 1, ws));
    }
    if (a->dw) {
        hy_blas_args g = {};
        g.M = f->N, g.N = f->K, g.K = f->M, g.trans_a = true, g.add = true, g.in = req->dtype, g.out = HY_F32;
        g.a = a->dy, g.lda = a->lddy, g.b = f->x, g.ldb = f->ldx, g.c = a->dw, g.ldc = f->K;
        HY_TRY(hy_blas_run("linear_bwd (dw)", &g, req->math));
    }
    if (a->dbias) HY_TRY(HY_BY_TYPE(req, run_dbias)(a, (float *)ws));
    if (a->dres) HY_TRY(hy_rows_add(req->dtype, f->M, f->N, a->dy, a->lddy, NULL, a->dres, a->lddres, a->acc & 2));
    return HY_OK;
}

hy_status hy_cuda_plan_linear_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_linear_bwd_args *a = (const hy_linear_bwd_args *)args;
    HY_TRY(check("linear_bwd", &a->f, true, req));
    HY_NEED("linear_bwd", a->lddy >= a->f.N && (!a->dx || a->lddx >= a->f.K) && (!a->dres || a->lddres >= a->f.N));
    const hy_weight_product p = weight_product("linear_bwd", &a->f, req);
    const size_t sums = a->dbias ? (size_t)hy_ceil_div(a->f.M, SUM_ROWS) * (size_t)a->f.N * sizeof(float) : 0;
    const size_t weights = a->dx ? hy_weight_product_workspace(&p) : 0;
    *out = hy_launch{};
    out->path = hy_cuda_mma_path(req);
    out->workspace = sums > weights ? sums : weights;
    out->run = run_bwd;
    return HY_OK;
}
