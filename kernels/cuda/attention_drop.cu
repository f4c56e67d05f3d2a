// attention_drop.cu - attention with dropout of its weights, forward and backward, for training: a warp for each query
// (or key) and head, which goes over the keys (queries) one after the other. Plain and in a fixed order; for heads of
// any width. Attention without dropout has its own kernels (attention_fwd.cu, attention_bwd.cu).
#include "kernels/cuda/attention.cuh"
#include "kernels/dropout_rule.h"

enum { WARP = 32 };

struct dropping {
    uint64_t key;
    uint32_t limit;
    float by;
};
static __device__ __forceinline__ dropping dropping_of(const hy_attention_drop &d) {
    dropping x;
    x.key = hy_dropout_mix(*d.key, (uint64_t)d.place), x.limit = hy_dropout_limit(d.p);
    x.by = (float)(1 / (1 - d.p));
    return x;
}
// What dropout makes of the weight of query t, head h and key j.
static __device__ __forceinline__ float factor(const dropping &d, const hy_attention_args &a, int b, int h, int t,
                                               int j) {
    return hy_dropout_keeps(d.key, hy_dropout_weight(b, a.heads, h, a.T, t, j), d.limit) ? d.by : 0.0f;
}

template <class T> static __device__ __forceinline__ float dot(const T *x, const T *y, int n) {
    float s = 0;
    for (int c = (int)threadIdx.x; c < n; c += WARP) s += hy_to_float(x[c]) * hy_to_float(y[c]);
    return hy_warp_sum(s);
}
// Head h of row t of sequence b.
template <class T>
static __device__ __forceinline__ T *row_of(const void *p, const hy_attention_args &a, int b, int t, int ld, int h,
                                            int d) {
    return (T *)p + ((size_t)b * a.T + t) * ld + (size_t)h * d;
}
static __device__ __forceinline__ float *saved_of(const hy_attention_args &a, int b, int t, int h) {
    return (float *)a.saved + ((size_t)b * a.T + t) * a.heads + h;
}

template <class T> static __global__ void __launch_bounds__(WARP) forward(hy_attention_args a) {
    HY_SHARED(float, acc);  // [d_v], each element of one thread
    const int h = (int)(blockIdx.x % (unsigned)a.heads), t = (int)(blockIdx.x / (unsigned)a.heads % (unsigned)a.T),
              b = (int)(blockIdx.x / (unsigned)a.heads / (unsigned)a.T), kvh = h / (a.heads / a.kv_heads);
    T *const o = row_of<T>(a.o, a, b, t, a.ldo, h, a.d_v);
    if (t >= a.len[b]) {
        for (int c = (int)threadIdx.x; c < a.d_v; c += WARP) o[c] = hy_from_float<T>(0.0f);
        if (a.saved && threadIdx.x == 0) *saved_of(a, b, t, h) = 0;
        return;
    }
    const dropping d = dropping_of(a.drop);
    const T *const q = row_of<T>(a.q, a, b, t, a.ldq, h, a.d_qk);
    float top = -INFINITY, sum = 0;
    for (int c = (int)threadIdx.x; c < a.d_v; c += WARP) acc[c] = 0;
    for (int j = 0; j <= t; j++) {
        if (!hy_attn_visible(t, j, a.window, a.meta)) continue;
        const float s = (float)a.scale * dot(q, row_of<T>(a.k, a, b, j, a.ldk, kvh, a.d_qk), a.d_qk),
                    most = fmaxf(top, s), was = expf(top - most), w = expf(s - most), f = factor(d, a, b, h, t, j);
        const T *const v = row_of<T>(a.v, a, b, j, a.ldv, kvh, a.d_v);
        for (int c = (int)threadIdx.x; c < a.d_v; c += WARP) acc[c] = acc[c] * was + f * w * hy_to_float(v[c]);
        sum = sum * was + w;
        top = most;
    }
    for (int c = (int)threadIdx.x; c < a.d_v; c += WARP) o[c] = hy_from_float<T>(acc[c] / sum);
    if (a.saved && threadIdx.x == 0) *saved_of(a, b, t, h) = top + logf(sum);
}

// Weight p = m s of a query and key (s: of the softmax, m: what dropout makes of it) and gradient of its score,
// ds = s (m dO.v - dO.o).
template <class T>
static __device__ __forceinline__ void pair(const hy_attention_bwd_args &g, const dropping &d, int b, int t, int h,
                                            int j, float *p, float *ds) {
    const hy_attention_args &a = g.f;
    const int kvh = h / (a.heads / a.kv_heads);
    const T *const go = row_of<T>(g.dout, a, b, t, g.lddo, h, a.d_v);
    const float s = (float)a.scale * dot<T>(row_of<T>(a.q, a, b, t, a.ldq, h, a.d_qk),
                                            row_of<T>(a.k, a, b, j, a.ldk, kvh, a.d_qk), a.d_qk),
                w = expf(s - *saved_of(a, b, t, h)), m = factor(d, a, b, h, t, j),
                from = dot<T>(go, row_of<T>(a.v, a, b, j, a.ldv, kvh, a.d_v), a.d_v),
                delta = dot<T>(go, row_of<T>(a.o, a, b, t, a.ldo, h, a.d_v), a.d_v);
    *p = m * w;
    *ds = w * (m * from - delta);
}
template <class T> static __device__ __forceinline__ void put(T *to, const float *sum, int n, float by, bool add) {
    for (int c = (int)threadIdx.x; c < n; c += WARP)
        to[c] = hy_from_float<T>((add ? hy_to_float(to[c]) : 0.0f) + by * sum[c]);
}

template <class T> static __global__ void __launch_bounds__(WARP) backward_queries(hy_attention_bwd_args g) {
    HY_SHARED(float, acc);  // [d_qk]
    const hy_attention_args &a = g.f;
    const int h = (int)(blockIdx.x % (unsigned)a.heads), t = (int)(blockIdx.x / (unsigned)a.heads % (unsigned)a.T),
              b = (int)(blockIdx.x / (unsigned)a.heads / (unsigned)a.T), kvh = h / (a.heads / a.kv_heads);
    const dropping d = dropping_of(a.drop);
    for (int c = (int)threadIdx.x; c < a.d_qk; c += WARP) acc[c] = 0;
    for (int j = 0; t < a.len[b] && j <= t; j++) {
        if (!hy_attn_visible(t, j, a.window, a.meta)) continue;
        float p, ds;
        pair<T>(g, d, b, t, h, j, &p, &ds);
        const T *const k = row_of<T>(a.k, a, b, j, a.ldk, kvh, a.d_qk);
        for (int c = (int)threadIdx.x; c < a.d_qk; c += WARP) acc[c] += ds * hy_to_float(k[c]);
    }
    put(row_of<T>(g.dq, a, b, t, g.lddq, h, a.d_qk), acc, a.d_qk, (float)a.scale, (g.acc & 1) != 0);
}

template <class T> static __global__ void __launch_bounds__(WARP) backward_keys(hy_attention_bwd_args g) {
    HY_SHARED(float, acc);  // [d_qk + d_v]
    const hy_attention_args &a = g.f;
    const int kvh = (int)(blockIdx.x % (unsigned)a.kv_heads), group = a.heads / a.kv_heads,
              j = (int)(blockIdx.x / (unsigned)a.kv_heads % (unsigned)a.T),
              b = (int)(blockIdx.x / (unsigned)a.kv_heads / (unsigned)a.T);
    const dropping d = dropping_of(a.drop);
    float *const dk = acc, *const dv = acc + a.d_qk;
    for (int c = (int)threadIdx.x; c < a.d_qk; c += WARP) dk[c] = 0;
    for (int c = (int)threadIdx.x; c < a.d_v; c += WARP) dv[c] = 0;
    for (int t = j; t < a.len[b]; t++) {
        if (!hy_attn_visible(t, j, a.window, a.meta)) continue;
        for (int h = kvh * group; h < (kvh + 1) * group; h++) {
            float p, ds;
            pair<T>(g, d, b, t, h, j, &p, &ds);
            const T *const q = row_of<T>(a.q, a, b, t, a.ldq, h, a.d_qk), *const go = row_of<T>(g.dout, a, b, t, g.lddo,
                                                                                                h, a.d_v);
            for (int c = (int)threadIdx.x; c < a.d_qk; c += WARP) dk[c] += ds * hy_to_float(q[c]);
            for (int c = (int)threadIdx.x; c < a.d_v; c += WARP) dv[c] += p * hy_to_float(go[c]);
        }
    }
    if (g.dk) put(row_of<T>(g.dk, a, b, j, g.lddk, kvh, a.d_qk), dk, a.d_qk, (float)a.scale, (g.acc & 2) != 0);
    if (g.dv) put(row_of<T>(g.dv, a, b, j, g.lddv, kvh, a.d_v), dv, a.d_v, 1.0f, (g.acc & 4) != 0);
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_args *a = (const hy_attention_args *)args;
    (void)ws, (void)req;
    HY_LAUNCH((forward<T>), (unsigned)(a->B * a->T * a->heads), WARP, (size_t)a->d_v * sizeof(float), *a);
    return HY_OK;
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_bwd_args *g = (const hy_attention_bwd_args *)args;
    const hy_attention_args *a = &g->f;
    (void)ws, (void)req;
    if (g->dq)
        HY_LAUNCH((backward_queries<T>), (unsigned)(a->B * a->T * a->heads), WARP, (size_t)a->d_qk * sizeof(float), *g);
    if (g->dk || g->dv)
        HY_LAUNCH((backward_keys<T>), (unsigned)(a->B * a->T * a->kv_heads), WARP,
                  (size_t)(a->d_qk + a->d_v) * sizeof(float), *g);
    return HY_OK;
}

static hy_status check(const char *op, const hy_attention_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->B >= 1 && a->T >= 1 && a->heads >= 1 && a->kv_heads >= 1 && a->heads % a->kv_heads == 0);
    HY_NEED(op, a->d_qk >= 1 && a->d_qk <= 4096 && a->d_v >= 1 && a->d_v <= 4096);  // shared memory
    HY_NEED(op, a->window >= 0 && a->meta >= 0 && !a->cache.k && a->drop.p >= 0 && a->drop.p < 1);
    HY_NEED(op, a->ldq / a->heads >= a->d_qk && a->ldk / a->kv_heads >= a->d_qk);
    HY_NEED(op, a->ldv / a->kv_heads >= a->d_v && a->ldo / a->heads >= a->d_v);
    HY_NEED(op, (double)a->B * a->T * a->heads <= INT32_MAX);  // blocks
    return HY_OK;
}
hy_status hy_attn_drop_plan(const hy_attention_args *a, const hy_plan_req *req, hy_launch *out) {
    HY_TRY(check("attention with dropout", a, req));
    *out = hy_launch{};
    if (req->training) out->saved = (size_t)a->B * a->T * a->heads * sizeof(float);
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}
hy_status hy_attn_drop_plan_bwd(const hy_attention_bwd_args *g, const hy_plan_req *req, hy_launch *out) {
    const hy_attention_args *a = &g->f;
    HY_TRY(check("attention_bwd with dropout", a, req));
    HY_NEED("attention_bwd with dropout", g->lddo / a->heads >= a->d_v && (!g->dq || g->lddq / a->heads >= a->d_qk));
    HY_NEED("attention_bwd with dropout",
            (!g->dk || g->lddk / a->kv_heads >= a->d_qk) && (!g->dv || g->lddv / a->kv_heads >= a->d_v));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    return HY_OK;
}
