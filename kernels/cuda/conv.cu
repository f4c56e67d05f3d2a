// conv.cu - the causal depthwise convolution over time. A thread has some neighbouring channels and goes over a run of
// tokens, the last K inputs in registers. Its gradient is in conv_bwd.cu.
#include "kernels/cuda/conv.cuh"

enum { EACH = 4 };  // tokens whose loads are under way together

// Sequence b's state after its n tokens: its last K - 1 inputs, from the oldest on, so that each entry is read before
// it is written. x and state are those of the first of the thread's channels.
template <class T, int N>
static __device__ __forceinline__ void keep_state(const T *x, int ldx, T *state, int D, int K, int n) {
    for (int j = 0; j < K - 1; j++) {
        const int at = n - (K - 1) + j;
        hy_piece<T, N> p;
        p.load(at >= 0 ? x + (size_t)at * ldx : state + (size_t)(j + n) * D);
        p.store(state + (size_t)j * D);
    }
}

// A run of tokens t0 .. t1 - 1, K known. All pointers are at the thread's channels, x and y at token 0 of the sequence.
template <class T, int N, int K>
static __device__ __forceinline__ void run_of_tokens(const T *x, int ldx, const T *state, int D, const float *w,
                                                     const float *bias, T *y, int ldy, int t0, int t1, bool silu) {
    float win[K][N];
    float wk[N * K], b[N];
    conv_weights<N, K>(w, wk);
#pragma unroll
    for (int i = 0; i < N; i++) b[i] = bias ? bias[i] : 0.0f;
    conv_window(win, x, ldx, state, D, t0);
    for (int t = t0; t < t1; t += EACH) {
        hy_piece<T, N> in[EACH];
#pragma unroll
        for (int k = 0; k < EACH; k++)
            if (t + k < t1) in[k].load(x + (size_t)(t + k) * ldx);
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            if (t + k >= t1) continue;
            hy_piece<T, N> out;
#pragma unroll
            for (int i = 0; i < N; i++) {
                float s = b[i];
                win[K - 1][i] = in[k][i];
#pragma unroll
                for (int j = 0; j < K; j++) s += wk[i * K + j] * win[j][i];
                out.set(i, silu ? hy_silu(s) : s);
            }
            conv_shift(win);
            out.store(y + (size_t)(t + k) * ldy);
        }
    }
}

// Any K, one channel: each output reads its K inputs.
template <class T>
static __device__ __forceinline__ void any_width(const T *x, int ldx, const T *state, int D, int K, const float *w,
                                                 const float *bias, T *y, int ldy, int t0, int t1, bool silu) {
    for (int t = t0; t < t1; t++) {
        const float s = conv_preact(x, ldx, state, D, K, w, bias, t);
        hy_store(y + (size_t)t * ldy, silu ? hy_silu(s) : s);
    }
}

// Threads go over the D / N pieces of channels, then over `runs` of `each` tokens, then over the sequences. each >= K -
// 1, so that the first run alone reads the state, which it replaces when it is done. K 0: any, told by `width`.
template <class T, int N, int K>
static __global__ void __launch_bounds__(CONV_THREADS)
    conv(int B, int T_, int D, int width, bool silu, conv_runs runs, const T *x, int ldx, const float *w,
         const float *bias, T *y, int ldy, T *state, const int32_t *len) {
    const long i = (long)blockIdx.x * CONV_THREADS + threadIdx.x, units = D / N, rest = i / units;
    const int c = (int)(i % units) * N, run = (int)(rest % runs.n), b = (int)(rest / runs.n);
    if (b >= B) return;
    const int n = len ? len[b] : T_, t0 = run * runs.each, end = t0 + runs.each < T_ ? t0 + runs.each : T_,
              t1 = end < n ? end : n;
    const T *const from = x + (size_t)b * T_ * ldx + c;
    T *const to = y + (size_t)b * T_ * ldy + c;
    T *const kept = state ? state + (size_t)b * (width - 1) * D + c : NULL;
    if constexpr (K > 0)
        run_of_tokens<T, N, K>(from, ldx, kept, D, w + (size_t)c * K, bias ? bias + c : NULL, to, ldy, t0, t1, silu);
    else
        any_width<T>(from, ldx, kept, D, width, w + (size_t)c * width, bias ? bias + c : NULL, to, ldy, t0, t1, silu);
    for (int t = t0 > t1 ? t0 : t1; t < end; t++) hy_piece<T, N>{}.store(to + (size_t)t * ldy);
    if (kept && run == 0) keep_state<T, N>(from, ldx, kept, D, width, n);
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T, int N, int K> static hy_status launch(const hy_conv_args *a) {
    const conv_runs runs = conv_cut(a, N, 8);
    HY_LAUNCH((conv<T, N, K>), conv_blocks(a, N, runs), CONV_THREADS, 0, a->B, a->T, a->D, a->K, a->silu, runs,
              (const T *)a->x, a->ldx, (const float *)a->w, (const float *)a->bias, (T *)a->y, a->ldy, (T *)a->state,
              a->len);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_args *a = (const hy_conv_args *)args;
    constexpr int n = hy_vec<T>::n;
    (void)ws, (void)req;
    if (a->K < 2 || a->K > 4) return launch<T, 1, 0>(a);
    const bool wide = a->D % n == 0 && hy_wide<T>(a->x, a->ldx) && hy_wide<T>(a->y, a->ldy) &&
                      hy_wide<T>(a->state, a->D) && hy_wide<float>(a->w, 0);
    if (a->K == 2) return wide ? launch<T, n, 2>(a) : launch<T, 1, 2>(a);
    if (a->K == 3) return wide ? launch<T, n, 3>(a) : launch<T, 1, 3>(a);
    return wide ? launch<T, n, 4>(a) : launch<T, 1, 4>(a);
}

hy_status hy_cuda_plan_conv(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_conv_args *a = (const hy_conv_args *)args;
    HY_TRY(conv_check("conv", a, req));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}
