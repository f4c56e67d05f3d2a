// conv.cuh - what the convolution (conv.cu) and its gradient (conv_bwd.cu) share: how time is cut into runs, the plain
// sum of one output, the check of the sizes.
#ifndef HY_CONV_CUH
#define HY_CONV_CUH
#include "kernels/cuda/rows.cuh"

enum { CONV_THREADS = 128 };

// Time is cut into n runs of `each` tokens: as long as they can be (the K - 1 tokens beside a run are read twice) while
// there are threads to fill a device. By the sizes alone.
struct conv_runs {
    int n, each;
};
static inline conv_runs conv_cut(const hy_conv_args *a, int N, int shortest) {
    const long threads = 100000, lanes = (long)a->B * hy_ceil_div(a->D, N), runs = (threads + lanes - 1) / lanes;
    long each = ((long)a->T + runs - 1) / runs;
    if (each < shortest) each = shortest;
    if (each < a->K - 1) each = a->K - 1;
    if (each > a->T && a->T >= a->K - 1) each = a->T;
    const conv_runs r = {hy_ceil_div(a->T, each), (int)each};
    return r;
}
static inline unsigned conv_blocks(const hy_conv_args *a, int N, conv_runs r) {
    return (unsigned)(((long)a->B * (a->D / N) * r.n + CONV_THREADS - 1) / CONV_THREADS);
}

// bias + sum_j w_j x_{t-K+1+j} of one channel. x is at token 0 of the sequence; before it come the K - 1 inputs of the
// state (its rows are D apart), zeros without one.
template <class T>
static __device__ __forceinline__ float conv_input(const T *x, int ldx, const T *state, int D, int K, int t) {
    if (t >= 0) return hy_load(x + (size_t)t * ldx);
    return state ? hy_load(state + (size_t)(t + K - 1) * D) : 0.0f;
}
template <class T>
static __device__ __forceinline__ float conv_preact(const T *x, int ldx, const T *state, int D, int K, const float *w,
                                                    const float *bias, int t) {
    float s = bias ? *bias : 0.0f;
    for (int j = 0; j < K; j++) s += w[j] * conv_input(x, ldx, state, D, K, t - K + 1 + j);
    return s;
}

// A thread's window with K known: the inputs of K - 1 tokens before token t, oldest first, and room for one to come. x
// and state are at the first of its N channels.
template <class T, int N, int K>
static __device__ __forceinline__ void conv_window(float (&win)[K][N], const T *x, int ldx, const T *state, int D,
                                                   int t) {
#pragma unroll
    for (int j = 0; j < K - 1; j++) {
        const int at = t - (K - 1) + j;
        hy_piece<T, N> p = {};
        if (at >= 0)
            p.load(x + (size_t)at * ldx);
        else if (state)
            p.load(state + (size_t)(at + K - 1) * D);
#pragma unroll
        for (int i = 0; i < N; i++) win[j][i] = p[i];
    }
}
template <int N, int K> static __device__ __forceinline__ void conv_shift(float (&win)[K][N]) {
#pragma unroll
    for (int j = 0; j + 1 < K; j++)
#pragma unroll
        for (int i = 0; i < N; i++) win[j][i] = win[j + 1][i];
}
// The K weights of each of N channels. N > 1: w is on 16 bytes.
template <int N, int K> static __device__ __forceinline__ void conv_weights(const float *w, float (&out)[N * K]) {
    hy_piece<float, N == 1 ? 1 : 4> p;
    constexpr int n = N == 1 ? 1 : 4;
#pragma unroll
    for (int i = 0; i < N * K; i += n) {
        p.load(w + i);
#pragma unroll
        for (int j = 0; j < n; j++) out[i + j] = p[j];
    }
}

static inline hy_status conv_check(const char *op, const hy_conv_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->B >= 1 && a->T >= 1 && a->D >= 1 && a->K >= 1 && a->T <= INT32_MAX - a->K);
    HY_NEED(op, a->ldx >= a->D && a->ldy >= a->D);
    return HY_OK;
}
#endif
