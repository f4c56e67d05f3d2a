// lm_loss.cu - cross-entropy of a linear head, forward and backward. The rows go in chunks: a product for the logits in
// float32, one pass over each row for its loss (and, backward, its gradient in place of the logits), two products for
// dx and dw. Labels are known to the device alone, so rows without one cost their share of the products; their gradient
// is 0.
#include <cfloat>
#include <cmath>

#include "kernels/cuda/product.h"
#include "kernels/cuda/wide.cuh"

// Most bytes of logits held at once.
#ifdef HY_CUDA_EMU
    #define LOGITS ((size_t)16 << 10)
#else
    #define LOGITS ((size_t)256 << 20)
#endif

// ---------------------------------------------------------------------------------------------------- one row
// What a thread, a warp, a block has seen of a row: the largest logit, where it stands first, and the sum of exp(logit
// - top).
typedef struct {
    float top, sum;
    int at;
} seen;
static __device__ __forceinline__ seen join(seen a, seen b) {
    const float top = fmaxf(a.top, b.top);
    seen r;
    r.top = top;
    r.sum = a.sum * expf(a.top - top) + b.sum * expf(b.top - top);
    r.at = a.top > b.top ? a.at : b.top > a.top ? b.at : min(a.at, b.at);
    return r;
}
static __device__ __forceinline__ seen join_lanes(seen s) {
    for (int d = 16; d; d >>= 1) {
        seen o;
        o.top = __shfl_xor_sync(0xffffffffu, s.top, d);
        o.sum = __shfl_xor_sync(0xffffffffu, s.sum, d);
        o.at = __shfl_xor_sync(0xffffffffu, s.at, d);
        s = join(s, o);
    }
    return s;
}
// The whole row, for every thread of the block; shared: 32 of them.
static __device__ __forceinline__ seen look(const float *logits, int V, seen *shared) {
    seen s;
    s.top = -FLT_MAX, s.sum = 0, s.at = V;
    for (int v = (int)threadIdx.x; v < V; v += (int)blockDim.x) {
        const float x = logits[v];
        if (s.at == V || x > s.top) {
            s.sum = s.at == V ? 1.0f : s.sum * expf(s.top - x) + 1;
            s.top = x, s.at = v;
        } else {
            s.sum += expf(x - s.top);
        }
    }
    s = join_lanes(s);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, warps = (int)blockDim.x / 32;
    if (warps == 1) return s;
    if (lane == 0) shared[warp] = s;
    __syncthreads();
    seen none;
    none.top = -FLT_MAX, none.sum = 0, none.at = V;
    s = join_lanes(lane < warps ? shared[lane] : none);
    return s;
}

// One block a row: nll and pred from logits [rows, ld]. With `scale` (a device pointer) the gradient scale * (softmax -
// onehot) takes the place of the logits, as T: bfloat16 fills the first half of the row.
template <class T>
static __global__ void row_losses(int V, float *logits, long ld, const int32_t *__restrict__ labels,
                                  float *__restrict__ nll, int32_t *__restrict__ pred,
                                  const double *__restrict__ scale) {
    HY_SHARED(seen, shared);
    const int r = (int)blockIdx.x, label = labels[r];
    float *row = logits + r * ld;
    T *g = (T *)row;
    if (label < 0) {
        if (threadIdx.x == 0) nll[r] = 0, pred[r] = -1;
        for (int v = (int)threadIdx.x; scale && v < V; v += (int)blockDim.x) hy_store(g + v, 0.0f);
        return;
    }
    const seen s = look(row, V, shared);
    if (threadIdx.x == 0) {
        // a label outside the vocabulary cannot be reported from here: the loss is not a number, which training and
        // evaluation notice
        nll[r] = label < V ? s.top - row[label] + logf(s.sum) : NAN;
        pred[r] = s.at < V ? s.at : 0;
    }
    if (!scale) return;
    const float by = (float)*scale, share = by / s.sum;
    __syncthreads();  // row[label] has been read
    for (int first = 0; first < V; first += (int)blockDim.x) {
        const int v = first + (int)threadIdx.x;
        const float p = v < V ? share * expf(row[v] - s.top) - (v == label ? by : 0.0f) : 0.0f;
        if (sizeof(T) < sizeof(float)) __syncthreads();  // what is written here has been read by all
        if (v < V) hy_store(g + v, p);
    }
}

// ---------------------------------------------------------------------------------------------------- chunks
typedef struct {
    int rows, ld;        // of a chunk: rows, and floats from one row of logits to the next
    size_t logits, all;  // bytes: of the logits, with the converted weights behind them
} layout;
static hy_weight_product weight_product(const char *op, const hy_lm_loss_args *a, int rows, const hy_plan_req *req) {
    hy_weight_product p = {};
    p.op = op, p.M = rows, p.N = a->V, p.K = a->C, p.w = a->w, p.w_dtype = a->w_dtype, p.dtype = req->dtype,
    p.math = req->math;
    return p;
}
static layout lay_out(const hy_lm_loss_args *a, const hy_plan_req *req) {
    layout l;
    l.ld = (int)(((long)a->V + 7) / 8 * 8);
    const size_t row = (size_t)l.ld * sizeof(float), fit = LOGITS / row, most = fit ? fit : 1;
    const int chunks = hy_ceil_div(a->rows, (long)most);
    const size_t even = chunks ? (size_t)hy_ceil_div(hy_ceil_div(a->rows, chunks), 64) * 64 : 0;  // of about one size
    l.rows = (int)(even < most ? even : most);
    l.rows = l.rows < a->rows ? l.rows : a->rows;
    l.logits = (size_t)l.rows * row;
    const hy_weight_product p = weight_product("lm_loss", a, l.rows, req);
    l.all = l.logits + hy_weight_product_workspace(&p);
    return l;
}

static hy_status losses(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, int first, int m, float *logits, int ld,
                        const hy_plan_req *req) {
    const double *scale = b && (b->dx || b->dw) ? b->scale : NULL;
    int threads = 32;
    while (threads < 1024 && threads * 8 < a->V) threads *= 2;
    const size_t shared = 32 * sizeof(seen);
    const int32_t *labels = a->labels + first;
    float *nll = (float *)a->nll + first;
    int32_t *pred = a->pred + first;
    if (req->dtype == HY_BF16)
        HY_LAUNCH((row_losses<hy_bf16>), m, threads, shared, a->V, logits, (long)ld, labels, nll, pred, scale);
    else
        HY_LAUNCH((row_losses<float>), m, threads, shared, a->V, logits, (long)ld, labels, nll, pred, scale);
    return HY_OK;
}

// Products with the gradient of the logits g [m,V] of m rows from `first` on.
static hy_status gradients(const hy_lm_loss_bwd_args *b, int first, int m, const float *g, int ld, void *ws,
                           const hy_plan_req *req) {
    const hy_lm_loss_args *a = &b->f;
    const size_t size = hy_dtype_size(req->dtype);
    const int ldg = (int)((size_t)ld * (sizeof(float) / size));
    if (b->dx) {
        const hy_weight_product p = weight_product("lm_loss_bwd (dx)", a, m, req);
        HY_TRY(hy_weight_product_backward(&p, g, ldg, (char *)b->dx + (size_t)first * (size_t)b->lddx * size, b->lddx,
                                          b->acc & 1, ws));
    }
    if (!b->dw) return HY_OK;
    hy_blas_args d = {};
    d.M = a->V, d.N = a->C, d.K = m, d.trans_a = true, d.add = true, d.in = req->dtype, d.out = HY_F32;
    d.a = g, d.lda = ldg, d.b = (const char *)a->x + (size_t)first * (size_t)a->ldx * size, d.ldb = a->ldx, d.c = b->dw,
    d.ldc = a->C;
    return hy_blas_run("lm_loss_bwd (dw)", &d, req->math);
}

static hy_status run_chunks(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, void *ws, const hy_plan_req *req) {
    const layout l = lay_out(a, req);
    float *logits = (float *)ws;
    void *weights = (char *)ws + l.logits;
    for (int r = 0; r < a->rows; r += l.rows) {
        const int m = a->rows - r < l.rows ? a->rows - r : l.rows;
        const hy_weight_product p = weight_product(b ? "lm_loss_bwd" : "lm_loss", a, m, req);
        const char *x = (const char *)a->x + (size_t)r * (size_t)a->ldx * hy_dtype_size(req->dtype);
        HY_TRY(hy_weight_product_forward(&p, x, a->ldx, logits, l.ld, HY_F32, false, weights));
        HY_TRY(losses(a, b, r, m, logits, l.ld, req));
        if (b) HY_TRY(gradients(b, r, m, logits, l.ld, weights, req));
    }
    return HY_OK;
}
static hy_status run_loss(const void *args, void *ws, const hy_plan_req *req) {
    return run_chunks((const hy_lm_loss_args *)args, NULL, ws, req);
}
static hy_status run_loss_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_lm_loss_bwd_args *b = (const hy_lm_loss_bwd_args *)args;
    return run_chunks(&b->f, b, ws, req);
}

// ---------------------------------------------------------------------------------------------------- plans
#define MOST_V (INT32_MAX / 2 - 8)  // strides of the logits are ints, counted in bfloat16 too

static hy_status plan(const char *op, const hy_lm_loss_args *a, const hy_plan_req *req, hy_launch *out) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->rows >= 0 && a->C >= 1 && a->V >= 1 && a->V <= MOST_V && a->ldx >= a->C);
    *out = hy_launch{};
    out->path = a->w_dtype != HY_BF16 || req->dtype == HY_BF16 ? hy_cuda_mma_path(req)
                : req->math == HY_MATH_TF32                    ? "cuda (tf32) (bf16 weights)"
                                                               : "cuda (bf16 weights)";
    out->workspace = lay_out(a, req).all;
    return HY_OK;
}

hy_status hy_cuda_plan_lm_loss(const void *args, const hy_plan_req *req, hy_launch *out) {
    HY_TRY(plan("lm_loss", (const hy_lm_loss_args *)args, req, out));
    out->run = run_loss;
    return HY_OK;
}

hy_status hy_cuda_plan_lm_loss_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_lm_loss_bwd_args *a = (const hy_lm_loss_bwd_args *)args;
    HY_TRY(plan("lm_loss_bwd", &a->f, req, out));
    HY_NEED("lm_loss_bwd", !a->dx || a->lddx >= a->f.C);
    if (a->f.w_dtype == HY_BF16 && req->dtype == HY_F32)
        return hy_error(HY_EINPUT,
                        "lm_loss_bwd: float32 gradients need weights in float32, bfloat16 ones are for inference");
    out->run = run_loss_bwd;
    return HY_OK;
}
