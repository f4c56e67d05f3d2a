// few_rows.cu - y = x w^T (+ bias) (+ residual) for fewer than HY_FEW_ROWS rows of x, as in decoding, where all there
// is to do is to read w once. A warp computes ROWS outputs n for all rows m: a lane reads 8 neighbouring elements of
// each of the ROWS rows of w, the warp 256 of a row, and up to 8 warps take turns along K. Every sum runs in one order:
// along the lane's elements, over the lanes by a tree, over the warps one after another; neither M nor alignment
// changes it.
#include "kernels/cuda/product.h"
#include "kernels/cuda/wide.cuh"

enum { ROWS = 4, WARPS = 8, STRIDE = 256 };  // STRIDE: elements of K a warp reads at once
#ifdef HY_CUDA_EMU
    #define WARPS_WANTED 16
#else
    #define WARPS_WANTED 2048  // in flight on a large GPU
#endif

typedef struct {
    int M, N, K, turns;  // turns: warps that share K: 1, 2, 4 or 8
    const void *x, *w, *residual;
    const float *bias;
    void *y;
    long ldx, ldres, ldy;
} few_args;

// M rows from row blockIdx.y * MT on.
template <class T, class W, int MT, bool WIDE>
static __global__ void __launch_bounds__(WARPS * 32) few_rows(const few_args a) {
    HY_SHARED(float, sums);  // [WARPS, ROWS * MT]
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, turn = warp % a.turns;
    const int first = ((int)blockIdx.x * (WARPS / a.turns) + warp / a.turns) * ROWS, m0 = (int)blockIdx.y * MT;
    const W *w[ROWS];
    const T *x[MT];
#pragma unroll
    for (int i = 0; i < ROWS; i++) w[i] = (const W *)a.w + (size_t)min(first + i, a.N - 1) * (size_t)a.K;
#pragma unroll
    for (int m = 0; m < MT; m++) x[m] = (const T *)a.x + (size_t)min(m0 + m, a.M - 1) * (size_t)a.ldx;
    float sum[ROWS][MT] = {};
    for (int k = turn * STRIDE + lane * 8; k - lane * 8 < a.K; k += a.turns * STRIDE) {
        float wv[ROWS][8];
#pragma unroll
        for (int i = 0; i < ROWS; i++) hy_load8_of<WIDE>(w[i], k, a.K, wv[i]);
#pragma unroll
        for (int m = 0; m < MT; m++) {
            float xv[8];
            hy_load8_of<WIDE>(x[m], k, a.K, xv);
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) sum[i][m] = fmaf(wv[i][j], xv[j], sum[i][m]);
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int m = 0; m < MT; m++) {
            const float s = hy_warp_sum(sum[i][m]);
            if (lane == 0) sums[(warp * ROWS + i) * MT + m] = s;
        }
    __syncthreads();
    for (int e = (int)threadIdx.x; e < WARPS / a.turns * ROWS * MT; e += WARPS * 32) {
        const int group = e / (ROWS * MT), within = e % (ROWS * MT), m = m0 + within % MT;
        const int n = ((int)blockIdx.x * (WARPS / a.turns) + group) * ROWS + within / MT;
        if (n >= a.N || m >= a.M) continue;
        float s = 0;
        for (int t = 0; t < a.turns; t++) s += sums[(group * a.turns + t) * ROWS * MT + within];
        if (a.bias) s += a.bias[n];
        if (a.residual) s += hy_load((const T *)a.residual + (size_t)m * (size_t)a.ldres + n);
        hy_store((T *)a.y + (size_t)m * (size_t)a.ldy + n, s);
    }
}

template <class T, class W, int MT, bool WIDE> static hy_status launch(const few_args *a) {
    const dim3 grid((unsigned)hy_ceil_div(hy_ceil_div(a->N, ROWS), WARPS / a->turns), (unsigned)hy_ceil_div(a->M, MT));
    HY_LAUNCH((few_rows<T, W, MT, WIDE>), grid, WARPS * 32, WARPS * ROWS * MT * sizeof(float), *a);
    return HY_OK;
}
template <class T, class W> static hy_status choose(const few_args *a) {
    if (a->K % 8 || !hy_wide<T>(a->x, a->ldx) || !hy_wide<W>(a->w, a->K)) return launch<T, W, 4, false>(a);
    return a->M == 1   ? launch<T, W, 1, true>(a)
           : a->M == 2 ? launch<T, W, 2, true>(a)
           : a->M <= 4 ? launch<T, W, 4, true>(a)
           : a->M <= 8 ? launch<T, W, 8, true>(a)
                       : launch<T, W, 16, true>(a);
}

hy_status hy_few_rows_run(const hy_linear_args *a, const hy_plan_req *req) {
    if (a->M == 0) return HY_OK;
    few_args f = {};
    f.M = a->M, f.N = a->N, f.K = a->K;
    f.x = a->x, f.w = a->w, f.residual = a->residual, f.bias = (const float *)a->bias, f.y = a->y;
    f.ldx = a->ldx, f.ldres = a->ldres, f.ldy = a->ldy;
    f.turns = 1;
    while (f.turns < WARPS && hy_ceil_div(a->N, ROWS) * (long)f.turns < WARPS_WANTED && f.turns * STRIDE < a->K)
        f.turns *= 2;
    const bool bf16 = req->dtype == HY_BF16, narrow = hy_weight_dtype(a->w_dtype) == HY_BF16;
    return bf16 ? (narrow ? choose<hy_bf16, hy_bf16> : choose<hy_bf16, float>)(&f)
                : (narrow ? choose<float, hy_bf16> : choose<float, float>)(&f);
}
