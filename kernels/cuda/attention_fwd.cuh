// attention_fwd.cuh - inside attention forward on the GPU: where keys and values lie (in this call, in the ring of the
// cache), and what attention_fwd.cu, which plans, calls: attention_ffma.cu (float32) and attention_decode.cu (one
// token). Not for the backward.
#ifndef HY_ATTN_FWD_CUH
#define HY_ATTN_FWD_CUH
#include "kernels/cuda/attention.cuh"

// What is taken off scores whose largest is m: m, or 0 where nothing was seen yet (no difference of two infinities).
static __device__ __forceinline__ float hy_attn_base(float m) { return m == -INFINITY ? 0.0f : m; }
// What was summed while the largest score was `top` shrinks by this when `base`, the rounded product of the new one and
// scale, is taken off: exactly 1 as long as the largest stays. As one fused multiply-add it would keep the rounding
// error of base instead, at every tile of keys anew: over 8192 keys errors of 1e-4, where float32 is to give 1e-6.
static __device__ __forceinline__ float hy_attn_shrink(float top, float scale, float base) {
    return hy_exp2(__fmul_rn(top, scale) - base);
}

// The keys, or the values, of one sequence and KV head: position p >= pos is row p - pos of the call, an earlier one a
// slot of the cache.
template <class T> struct hy_attn_rows {
    const T *call, *cache;
    long ld;
    int d, pos, meta, cap;
    bool wide;  // see hy_attn_stage
    __device__ __forceinline__ const T *at(int p) const {
        return p >= pos ? call + (size_t)(p - pos) * ld : cache + (size_t)hy_attn_slot(p, meta, cap) * d;
    }
};
template <class T>
static __device__ __forceinline__ hy_attn_rows<T> hy_attn_rows_of(const hy_attention_args &a, const void *call, int ld,
                                                                  const void *cache, int d, int b, int kvh) {
    hy_attn_rows<T> r;
    r.call = (const T *)call + (size_t)b * a.T * ld + (size_t)kvh * d;
    r.cache =
        (const T *)cache + ((size_t)b * a.kv_heads + kvh) * a.cache.cap * d;  // not read without a cache: pos is 0
    r.ld = ld, r.d = d, r.pos = a.pos[b], r.meta = a.meta, r.cap = a.cache.cap;
    r.wide = hy_wide<T>(call, ld) &&
             hy_wide<T>(cache, d);  // d whole pieces: each head starts at one, in the call and in the cache
    return r;
}
template <class T>
static __device__ __forceinline__ hy_attn_rows<T> hy_attn_key_rows(const hy_attention_args &a, int b, int kvh) {
    return hy_attn_rows_of<T>(a, a.k, a.ldk, a.cache.k, a.d_qk, b, kvh);
}
template <class T>
static __device__ __forceinline__ hy_attn_rows<T> hy_attn_value_rows(const hy_attention_args &a, int b, int kvh) {
    return hy_attn_rows_of<T>(a, a.v, a.ldv, a.cache.v, a.d_v, b, kvh);
}

// Entries j0 .. j0+ROWS-1 of the list into a tile; zeros past its end, so that a weight of 0 meets no garbage.
template <class T, int D, int ROWS, int THREADS>
static __device__ __forceinline__ void hy_attn_stage_keys(T *tile, const hy_attn_rows<T> &rows,
                                                          const hy_attn_keys &keys, int j0) {
    const int p0 = hy_attn_key_at(keys, j0), left = keys.n - j0;
    if (p0 >= rows.pos && (j0 >= keys.meta_n || j0 + ROWS <= keys.meta_n)) {  // neighbours in the call
        const T *base = rows.at(p0);
        const long ld = rows.ld;
        hy_attn_stage<T, D, ROWS, THREADS>(tile, rows.d, rows.wide,
                                           [=](int r) { return r < left ? base + r * ld : nullptr; });
    } else {
        hy_attn_stage<T, D, ROWS, THREADS, 1>(
            tile, rows.d, rows.wide,  // rare: few registers
            [&](int r) { return r < left ? rows.at(hy_attn_key_at(keys, j0 + r)) : nullptr; });
    }
}

// A block's part of the problem: rows t0 .. t0+rows-1 of sequence b under head h; the grid is B * heads * tiles blocks.
// Within a head late queries come first: they see most keys.
struct hy_attn_block {
    int b, h, kvh, t0, rows, pos;  // rows: those below len[b]; <= 0: padding alone
};
static __device__ __forceinline__ hy_attn_block hy_attn_block_of(const hy_attention_args &a, int tile_rows) {
    hy_attn_block k;
    const int tiles = (a.T + tile_rows - 1) / tile_rows, bh = blockIdx.x / tiles;
    k.b = bh / a.heads, k.h = bh % a.heads, k.kvh = k.h / (a.heads / a.kv_heads);
    k.t0 = (tiles - 1 - (int)(blockIdx.x % tiles)) * tile_rows;
    k.rows = min(a.len[k.b] - k.t0, tile_rows);
    k.pos = a.pos[k.b];
    return k;
}
// Tokens from t0 + rows to the end of the tile are padding: 0.
template <class T>
static __device__ __forceinline__ void hy_attn_clear(const hy_attention_args &a, const hy_attn_block &k,
                                                     int tile_rows) {
    const int first = k.t0 + max(k.rows, 0), end = min(a.T, k.t0 + tile_rows);
    for (int i = threadIdx.x; i < (end - first) * a.d_v; i += blockDim.x) {
        const size_t row = (size_t)k.b * a.T + first + i / a.d_v;
        hy_store((T *)a.o + row * a.ldo + (size_t)k.h * a.d_v + i % a.d_v, 0.0f);
    }
    for (int t = first + threadIdx.x; a.saved && t < end; t += blockDim.x)
        ((float *)a.saved)[((size_t)k.b * a.T + t) * a.heads + k.h] = 0.0f;
}
// log-sum-exp of the query at token t: m is the largest of q.k, l the sum of weights.
static __device__ __forceinline__ void hy_attn_save(const hy_attention_args &a, const hy_attn_block &k, int t, float m,
                                                    float l) {
    if (a.saved) ((float *)a.saved)[((size_t)k.b * a.T + t) * a.heads + k.h] = m * (float)a.scale + logf(l);
}

hy_status hy_attn_ffma(const hy_attention_args *a);                                      // float32 products
size_t hy_attn_decode_bytes(const hy_attention_args *a);                                 // workspace
hy_status hy_attn_decode(const hy_attention_args *a, void *ws, const hy_plan_req *req);  // T = 1
#endif
