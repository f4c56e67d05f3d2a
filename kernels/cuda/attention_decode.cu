// attention_decode.cu - attention of one token per sequence (T = 1) on the GPU: the cached keys of a sequence are cut
// into ranges, a block of 4 warps reads each key and value of its range once, 16 bytes at a time, for up to 8 query
// heads of the KV head, and a second kernel joins the ranges in order. No tensor cores: it is bound by memory up to
// about 8 heads a KV head; with more, the blocks of further heads find the cache's rows in L2.
#include "kernels/cuda/attention_fwd.cuh"

enum { WARPS = 4, THREADS = 32 * WARPS, HEADS = 8, LEAST = 64 };  // LEAST: keys that make a range of their own worth it

// Ranges: as many as give each multiprocessor four blocks, by sizes alone. How many keys each of them has depends on n,
// the keys that the sequence's token sees.
static int group_blocks(const hy_attention_args *a) { return hy_ceil_div(a->heads / a->kv_heads, HEADS); }
static int range_count(const hy_attention_args *a) {
    const long most = hy_ceil_div((a->cache.k ? (long)a->cache.cap : 0) + 1, LEAST);
    const long want = 4L * hy_cuda()->sms / ((long)a->B * a->kv_heads * group_blocks(a));
    return (int)(want < 1 ? 1 : want < most ? want : most);
}
static __device__ __forceinline__ int range_keys(int n, int ranges) {
    return ((n + ranges - 1) / ranges + LEAST - 1) / LEAST * LEAST;
}
// Workspace: for each sequence, query head and range the largest score (log2 units), the sum of weights, d_v weighted
// values.
size_t hy_attn_decode_bytes(const hy_attention_args *a) {
    const int ranges = range_count(a);
    return ranges == 1 ? 0 : (size_t)a->B * a->heads * ranges * (a->d_v + 2) * sizeof(float);
}

// Eight values of a row from column c on, zeros past column d or without a row, as they are stored.
template <class T> struct eight {
    static constexpr int N = hy_vec<T>::n;
    hy_vec<T> x[8 / N];
    __device__ __forceinline__ void load(const T *row, int c, int d, bool wide) {
#pragma unroll
        for (int i = 0; i < 8 / N; i++) {
            if (wide && row && c + i * N < d)
                x[i].load(row + c + i * N);
            else
                *(uint4 *)x[i].v = uint4{0, 0, 0, 0};
        }
        if (wide || !row) return;
#pragma unroll
        for (int e = 0; e < 8; e++)
            if (c + e < d) x[e / N].v[e % N] = row[c + e];
    }
    __device__ __forceinline__ float operator[](int e) const { return hy_to_float(x[e / N].v[e % N]); }
};

// Where the keys that one token sees lie: meta tokens, a run of the ring, and last the token's own.
template <class T> struct token_rows {
    const T *own, *cache;
    int d, last, meta_n, meta, start,
        ring;  // last: entry of the own key; start: ring slot of the first entry behind the meta tokens
    bool wide;
    __device__ __forceinline__ const T *at(int j) const {
        if (j == last) return own;
        if (j < meta_n) return cache + (size_t)j * d;
        const int s = start + (j - meta_n);  // the ring holds all of them, so it wraps once at most
        return cache + (size_t)(meta + (s < ring ? s : s - ring)) * d;
    }
};
template <class T>
static __device__ __forceinline__ token_rows<T> rows_of(const hy_attn_rows<T> &r, const hy_attn_keys &keys) {
    token_rows<T> t;
    t.own = r.call, t.cache = r.cache, t.d = r.d, t.wide = r.wide;
    t.last = keys.n - 1, t.meta_n = keys.meta_n, t.meta = r.meta, t.ring = r.cap - r.meta;
    t.start = r.pos > keys.first ? (keys.first - r.meta) % t.ring : 0;
    return t;
}

// Running softmax of one head in the L lanes of a key: o[e] belongs to column 8 (lane % L) + e.
struct running {
    float top, sum, o[8];
    __device__ __forceinline__ void shrink_to(float x) {  // x >= top
        const float f = hy_exp2(top - hy_attn_base(x));
        top = x, sum *= f;
#pragma unroll
        for (int e = 0; e < 8; e++) o[e] *= f;
    }
    __device__ __forceinline__ void join_lane(int d) {
        shrink_to(fmaxf(top, __shfl_xor_sync(0xffffffffu, top, d)));  // now both lanes have the same
        sum += __shfl_xor_sync(0xffffffffu, sum, d);
#pragma unroll
        for (int e = 0; e < 8; e++) o[e] += __shfl_xor_sync(0xffffffffu, o[e], d);
    }
};

// Column c of n partial results of a head at part, part + stride, ... (top, sum, columns): largest score, sum and value
// together.
static __device__ __forceinline__ float join_column(const float *part, size_t stride, int n, int c, float *top,
                                                    float *sum) {
    float x = -INFINITY, l = 0.0f, o = 0.0f;
    for (int i = 0; i < n; i++) x = fmaxf(x, part[i * stride]);
    for (int i = 0; i < n; i++) {
        const float f = hy_exp2(part[i * stride] - hy_attn_base(x));
        l += f * part[i * stride + 1];
        o += f * part[i * stride + 2 + c];
    }
    *top = x, *sum = l;
    return o;
}
template <class T>
static __device__ __forceinline__ void put_result(const hy_attention_args &a, int b, int h, int c, float o, float top,
                                                  float sum) {
    hy_store((T *)a.o + (size_t)b * a.ldo + (size_t)h * a.d_v + c, o / sum);
    if (c == 0 && a.saved) ((float *)a.saved)[(size_t)b * a.heads + h] = (top + log2f(sum)) * HY_ATTN_LN2;
}
template <class T> static __device__ __forceinline__ void put_zero(const hy_attention_args &a, int b, int h, int c) {
    hy_store((T *)a.o + (size_t)b * a.ldo + (size_t)h * a.d_v + c, 0.0f);
    if (c == 0 && a.saved) ((float *)a.saved)[(size_t)b * a.heads + h] = 0.0f;
}

// G heads at a time, L lanes a key (8 L columns at least the wider of d_qk and d_v). Grid: B * kv_heads * group blocks
// * ranges.
template <class T, int L, int G>
static __global__ void __launch_bounds__(THREADS) attend_token(const hy_attention_args a, int ranges, float *parts) {
    HY_SHARED(float, part);  // [WARPS, G, 8 L + 2]
    constexpr int AT_ONCE = G <= 2 ? 4 : 2, KEYS = 32 / L, STEP = WARPS * KEYS * AT_ONCE, WIDTH = 8 * L + 2;
    const int group = a.heads / a.kv_heads, group_n = (group + G - 1) / G, warp = threadIdx.x / 32,
              lane = threadIdx.x % 32;
    const int range = blockIdx.x % ranges, pass = blockIdx.x / ranges % group_n, bk = blockIdx.x / ranges / group_n;
    const int b = bk / a.kv_heads, kvh = bk % a.kv_heads, h0 = kvh * group + pass * G, heads = min(G, group - pass * G);
    if (a.len[b] < 1) {
        for (int i = threadIdx.x; ranges == 1 && i < heads * a.d_v; i += THREADS)
            put_zero<T>(a, b, h0 + i / a.d_v, i % a.d_v);
        return;
    }
    const hy_attn_keys keys = hy_attn_keys_of(a.pos[b], a.pos[b], a.window, a.meta);
    const int each = range_keys(keys.n, ranges), begin = range * each, end = min(keys.n, begin + each),
              c = lane % L * 8;
    if (begin >= end) return;  // the second kernel knows
    const token_rows<T> krows = rows_of(hy_attn_key_rows<T>(a, b, kvh), keys),
                        vrows = rows_of(hy_attn_value_rows<T>(a, b, kvh), keys);

    float q[G][8];
    running run[G];
#pragma unroll
    for (int g = 0; g < G; g++) {
        const T *row = (const T *)a.q + (size_t)b * a.ldq + (size_t)(h0 + g) * a.d_qk;
        run[g].top = -INFINITY, run[g].sum = 0.0f;
#pragma unroll
        for (int e = 0; e < 8; e++) {
            q[g][e] = g < heads && c + e < a.d_qk ? hy_load(row + c + e) * ((float)a.scale * HY_ATTN_LOG2E) : 0.0f;
            run[g].o[e] = 0.0f;
        }
    }
    eight<T> k[AT_ONCE], v[AT_ONCE];
    const auto fetch = [&](int j0) {
#pragma unroll
        for (int u = 0; u < AT_ONCE; u++) {
            const int j = j0 + u * KEYS;
            k[u].load(j < end ? krows.at(j) : nullptr, c, a.d_qk, krows.wide);
            v[u].load(j < end ? vrows.at(j) : nullptr, c, a.d_v, vrows.wide);
        }
    };
    for (int j0 = begin + warp * KEYS * AT_ONCE + lane / L; j0 - lane / L < end; j0 += STEP) {
        fetch(j0);
        float s[G][AT_ONCE];
#pragma unroll
        for (int g = 0; g < G; g++)
#pragma unroll
            for (int u = 0; u < AT_ONCE; u++) {
                s[g][u] = 0.0f;
#pragma unroll
                for (int e = 0; e < 8; e++) s[g][u] += q[g][e] * k[u][e];
#pragma unroll
                for (int d = L / 2; d; d >>= 1) s[g][u] += __shfl_xor_sync(0xffffffffu, s[g][u], d);
                if (j0 + u * KEYS >= end) s[g][u] = -INFINITY;
            }
#pragma unroll
        for (int g = 0; g < G; g++) {
            float x = run[g].top;
#pragma unroll
            for (int u = 0; u < AT_ONCE; u++) x = fmaxf(x, s[g][u]);
            run[g].shrink_to(x);
#pragma unroll
            for (int u = 0; u < AT_ONCE; u++) {
                const float w = hy_exp2(s[g][u] - hy_attn_base(x));
                run[g].sum += w;
#pragma unroll
                for (int e = 0; e < 8; e++) run[g].o[e] += w * v[u][e];
            }
        }
    }
#pragma unroll
    for (int g = 0; g < G; g++) {
        for (int d = L; d < 32; d <<= 1) run[g].join_lane(d);
        float *to = part + (warp * G + g) * WIDTH;
        if (lane == 0) to[0] = run[g].top, to[1] = run[g].sum;
#pragma unroll
        for (int e = 0; e < 8; e++)
            if (lane < L) to[2 + c + e] = run[g].o[e];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < heads * a.d_v; i += THREADS) {
        const int g = i / a.d_v, col = i % a.d_v;
        float top, sum;
        const float o = join_column(part + g * WIDTH, G * WIDTH, WARPS, col, &top, &sum);
        if (ranges == 1) {
            put_result<T>(a, b, h0 + g, col, o, top, sum);
            continue;
        }
        float *to = parts + (((size_t)b * a.heads + h0 + g) * ranges + range) * (a.d_v + 2);
        if (col == 0) to[0] = top, to[1] = sum;
        to[2 + col] = o;
    }
}

// A block a sequence and query head: its ranges in order.
template <class T>
static __global__ void __launch_bounds__(THREADS)
    join_ranges(const hy_attention_args a, int ranges, const float *parts) {
    const int b = blockIdx.x / a.heads, h = blockIdx.x % a.heads;
    const int n = hy_attn_keys_of(a.pos[b], a.pos[b], a.window, a.meta).n, each = range_keys(n, ranges),
              used = (n + each - 1) / each;
    const size_t width = a.d_v + 2;
    for (int c = threadIdx.x; c < a.d_v; c += THREADS) {
        if (a.len[b] < 1) {
            put_zero<T>(a, b, h, c);
            continue;
        }
        float top, sum;
        const float o = join_column(parts + (size_t)blockIdx.x * ranges * width, width, used, c, &top, &sum);
        put_result<T>(a, b, h, c, o, top, sum);
    }
}

template <class T, int L, int G> static hy_status run_token(const hy_attention_args *a, float *parts) {
    const int ranges = range_count(a);
    const size_t blocks = (size_t)a->B * a->kv_heads * hy_ceil_div(a->heads / a->kv_heads, G) * ranges;
    HY_LAUNCH((attend_token<T, L, G>), (unsigned)blocks, THREADS, (size_t)WARPS * G * (8 * L + 2) * sizeof(float), *a,
              ranges, parts);
    if (ranges > 1)
        HY_LAUNCH((join_ranges<T>), (unsigned)(a->B * a->heads), THREADS, 0, *a, ranges, (const float *)parts);
    return HY_OK;
}
template <class T, int L> static hy_status by_group(const hy_attention_args *a, float *parts) {
    switch (a->heads / a->kv_heads) {
        case 1: return run_token<T, L, 1>(a, parts);
        case 2: return run_token<T, L, 2>(a, parts);
        case 3:
        case 4: return run_token<T, L, 4>(a, parts);
        case 5: return run_token<T, L, 5>(a, parts);  // Hymba's 25 heads over 5
        default: return run_token<T, L, HEADS>(a, parts);
    }
}
template <class T> static hy_status by_width(const hy_attention_args *a, float *parts) {
    const int d = a->d_qk > a->d_v ? a->d_qk : a->d_v;
    return d <= 64 ? by_group<T, 8>(a, parts) : d <= 128 ? by_group<T, 16>(a, parts) : by_group<T, 32>(a, parts);
}
hy_status hy_attn_decode(const hy_attention_args *a, void *ws, const hy_plan_req *req) {
    return HY_BY_TYPE(req, by_width)(a, (float *)ws);
}
