// conv_bwd.cu - the gradient of the convolution of conv.cu. A thread has some neighbouring channels and a run of
// tokens: it goes over them once, makes the pre-activations anew, and keeps the last K inputs and gradients in
// registers. The sums over time of dw and dbias are kept by run and added in the order of the runs.
#include "kernels/cuda/conv.cuh"

enum {
    CHANNELS = 4,  // of a thread
    EACH = 4,      // tokens whose loads are under way together
    SHORTEST = 16  // run
};

// What belongs to the channels of a thread; x, dy and dx at token 0 of the sequence. part: dw [N, K], or NULL;
// part_bias [N].
template <class T> struct operands {
    const T *x, *dy;
    T *dx;
    const float *w, *bias;
    float *part, *part_bias;
    int ldx, lddy, lddx;
    bool silu, add;
};

// Tokens t0 .. t1 - 1 of n. The gradient of token t's input needs the pre-activations of t .. t + K - 1, so the run
// goes on for K - 1 tokens, whose share of dw is the next run's.
template <class T, int N, int K>
static __device__ __forceinline__ void run_of_tokens(const operands<T> &o, int t0, int t1, int n) {
    float w[N * K], bias[N], x[K][N], g[K][N] = {}, dw[N * K] = {}, db[N] = {};
    conv_weights<N, K>(o.w, w);
#pragma unroll
    for (int i = 0; i < N; i++) bias[i] = o.bias ? o.bias[i] : 0.0f;
    conv_window(x, o.x, o.ldx, (const T *)NULL, 0, t0);
    const int end = t1 <= t0 ? t0 : o.dx ? t1 + K - 1 : t1;
    for (int t = t0; t < end; t += EACH) {
        hy_piece<T, N> in[EACH], dy[EACH], was[EACH];
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            if (t + k < end && t + k < n)
                in[k].load(o.x + (size_t)(t + k) * o.ldx), dy[k].load(o.dy + (size_t)(t + k) * o.lddy);
            const int to = t + k - (K - 1);
            if (o.add && t + k < end && to >= t0) was[k].load(o.dx + (size_t)to * o.lddx);
        }
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const int at = t + k, to = at - (K - 1);
            if (at >= end) continue;
#pragma unroll
            for (int i = 0; i < N; i++) {
                g[K - 1][i] = 0;
                if (at >= n) continue;
                float p = bias[i], d = dy[k][i];
                x[K - 1][i] = in[k][i];
#pragma unroll
                for (int j = 0; j < K; j++) p += w[i * K + j] * x[j][i];
                if (o.silu) d *= hy_silu_grad(p);
                g[K - 1][i] = d;
                if (at >= t1) continue;
                db[i] += d;
#pragma unroll
                for (int j = 0; j < K; j++) dw[i * K + j] += d * x[j][i];
            }
            conv_shift(x);
            if (o.dx && to >= t0) {
                float s[N] = {};
#pragma unroll
                for (int i = 0; i < N; i++)
#pragma unroll
                    for (int j = 0; j < K; j++) s[i] += w[i * K + K - 1 - j] * g[j][i];
                hy_put_grad(o.dx + (size_t)to * o.lddx, s, was[k], o.add);
            }
            conv_shift(g);
        }
    }
    if (!o.part) return;
#pragma unroll
    for (int i = 0; i < N * K; i++) o.part[i] = dw[i];
#pragma unroll
    for (int i = 0; i < N; i++) o.part_bias[i] = db[i];
}

// Any K, one channel: every pre-activation is made anew where it is needed.
template <class T> static __device__ float preact_grad(const operands<T> &o, int K, int t) {
    const float g = hy_load(o.dy + (size_t)t * o.lddy);
    return o.silu ? g * hy_silu_grad(conv_preact(o.x, o.ldx, (const T *)NULL, 0, K, o.w, o.bias, t)) : g;
}
template <class T> static __device__ void any_width(const operands<T> &o, int K, int t0, int t1, int n) {
    float db = 0;
    for (int j = 0; o.part && j < K; j++) o.part[j] = 0;
    for (int t = t0; t < t1; t++) {
        if (o.part) {
            const float g = preact_grad(o, K, t);
            db += g;
            for (int j = 0; j < K; j++) o.part[j] += g * conv_input(o.x, o.ldx, (const T *)NULL, 0, K, t - K + 1 + j);
        }
        if (!o.dx) continue;
        T *const to = o.dx + (size_t)t * o.lddx;
        float s = o.add ? hy_load(to) : 0.0f;
        for (int j = 0; j < K && t + j < n; j++) s += o.w[K - 1 - j] * preact_grad(o, K, t + j);
        hy_store(to, s);
    }
    if (o.part) *o.part_bias = db;
}

// Threads go over the D / N pieces of channels, then over the runs, then over the sequences. part [B * runs, D * K +
// D]. K 0: any, told by `width`.
template <class T, int N, int K>
static __global__ void __launch_bounds__(CONV_THREADS)
    conv_bwd(int B, int T_, int D, int width, conv_runs runs, const int32_t *len, operands<T> all) {
    const long i = (long)blockIdx.x * CONV_THREADS + threadIdx.x, units = D / N, rest = i / units;
    const int c = (int)(i % units) * N, run = (int)(rest % runs.n), b = (int)(rest / runs.n);
    if (b >= B) return;
    const int n = len ? len[b] : T_, t0 = run * runs.each, end = t0 + runs.each < T_ ? t0 + runs.each : T_,
              t1 = end < n ? end : n;
    const size_t row = (size_t)b * T_;
    operands<T> o = all;
    o.x += row * o.ldx + c, o.dy += row * o.lddy + c, o.w += (size_t)c * width;
    if (o.dx) o.dx += row * o.lddx + c;
    if (o.bias) o.bias += c;
    if (o.part) {
        float *const mine = all.part + (size_t)rest * D * (width + 1);
        o.part = mine + (size_t)c * width, o.part_bias = mine + (size_t)D * width + c;
    }
    if constexpr (K > 0)
        run_of_tokens<T, N, K>(o, t0, t1, n);
    else
        any_width<T>(o, width, t0, t1, n);
    if (o.dx && !o.add)
        for (int t = t0 > t1 ? t0 : t1; t < end; t++) hy_piece<T, N>{}.store(o.dx + (size_t)t * o.lddx);
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T, int N, int K> static hy_status launch(const hy_conv_bwd_args *b, float *part) {
    const hy_conv_args *a = &b->f;
    const conv_runs runs = conv_cut(a, CHANNELS, SHORTEST);
    operands<T> o = {};
    o.x = (const T *)a->x, o.dy = (const T *)b->dy, o.dx = (T *)b->dx, o.w = (const float *)a->w,
    o.bias = (const float *)a->bias;
    o.part = b->dw || b->dbias ? part : NULL;
    o.ldx = a->ldx, o.lddy = b->lddy, o.lddx = b->lddx, o.silu = a->silu, o.add = b->dx && b->acc & 1;
    HY_LAUNCH((conv_bwd<T, N, K>), conv_blocks(a, N, runs), CONV_THREADS, 0, a->B, a->T, a->D, a->K, runs, a->len, o);
    if (!o.part) return HY_OK;
    return hy_cuda_add_columns(part, a->B * runs.n, (float *)b->dw, (size_t)a->D * a->K, (float *)b->dbias,
                               (size_t)a->D);
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_conv_bwd_args *b = (const hy_conv_bwd_args *)args;
    const hy_conv_args *a = &b->f;
    constexpr int n = CHANNELS;
    float *const part = (float *)ws;
    (void)req;
    if (a->K < 2 || a->K > 4) return launch<T, 1, 0>(b, part);
    const bool wide = a->D % n == 0 && hy_wide<T>(a->x, a->ldx) && hy_wide<T>(b->dy, b->lddy) &&
                      hy_wide<float>(a->w, 0) && (!b->dx || hy_wide<T>(b->dx, b->lddx));
    if (a->K == 2) return wide ? launch<T, n, 2>(b, part) : launch<T, 1, 2>(b, part);
    if (a->K == 3) return wide ? launch<T, n, 3>(b, part) : launch<T, 1, 3>(b, part);
    return wide ? launch<T, n, 4>(b, part) : launch<T, 1, 4>(b, part);
}

hy_status hy_cuda_plan_conv_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_conv_bwd_args *b = (const hy_conv_bwd_args *)args;
    const hy_conv_args *a = &b->f;
    HY_TRY(conv_check("conv_bwd", a, req));
    HY_NEED("conv_bwd", !a->state && b->lddy >= a->D && (!b->dx || b->lddx >= a->D));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    if (b->dw || b->dbias)
        out->workspace = (size_t)a->B * conv_cut(a, CHANNELS, SHORTEST).n * a->D * ((size_t)a->K + 1) * sizeof(float);
    return HY_OK;
}
