// kv_append.cu - writes the keys and values of a call into the cache. Tokens whose slot a later token of the same call
// takes are left out, so that no slot is written twice.
#include "kernels/cuda/rows.cuh"

enum { EACH = 4 };  // tokens of a thread whose loads are under way together

struct keys {  // of one of the two operands: the cache [B, heads, cap, d], rows of heads * d
    const void *x;
    void *cache;
    int ld, d;
};

// The row of the cache (of B * heads * cap) of token t of sequence b and head 0, or -1 where it is not kept.
static __device__ __forceinline__ long slot_of(int b, int t, int heads, int meta, int cap, const int32_t *pos,
                                               const int32_t *len) {
    const int n = len[b], p = pos[b] + t;
    if (t >= n || (p >= meta && n - t > cap - meta)) return -1;
    return (long)b * heads * cap + hy_attn_slot(p, meta, cap);
}

// A row is a token, its pieces are those of its keys and then those of its values.
template <class T, int N>
static __global__ void append(int B, int T_, int heads, int meta, int cap, const int32_t *pos, const int32_t *len,
                              keys k, keys v) {
    const int of_k = heads * k.d / N, units = of_k + heads * v.d / N;
    HY_EACH_UNIT(u, units) {
        const bool is_k = u < of_k;
        const T *const x = (const T *)(is_k ? k.x : v.x);
        T *const cache = (T *)(is_k ? k.cache : v.cache);
        const int ld = is_k ? k.ld : v.ld, d = is_k ? k.d : v.d, e = (is_k ? u : u - of_k) * N, h = e / d, c = e % d;
        hy_piece<T, N> q[EACH];
        long slot[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const long r = hy_tile_row(i, EACH);
            const int b = (int)(r / T_);
            slot[i] = b < B ? slot_of(b, (int)(r % T_), heads, meta, cap, pos, len) : -1;
            if (slot[i] >= 0) q[i].load(x + (size_t)r * ld + e);
        }
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (slot[i] >= 0) q[i].store(cache + ((size_t)slot[i] + (size_t)h * cap) * d + c);
    }
}

template <class T, int N> static hy_status launch(const hy_kv_append_args *a, keys k, keys v) {
    const hy_tiles t = hy_tile_rows(a->B * a->T, a->kv_heads * (a->d_qk + a->d_v) / N, EACH);
    HY_LAUNCH((append<T, N>), t.grid, t.block, 0, a->B, a->T, a->kv_heads, a->meta, a->cache.cap, a->pos, a->len, k, v);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_kv_append_args *a = (const hy_kv_append_args *)args;
    const keys k = {a->k, a->cache.k, a->ldk, a->d_qk}, v = {a->v, a->cache.v, a->ldv, a->d_v};
    (void)ws, (void)req;
    if (hy_wide<T>(k.x, k.ld) && hy_wide<T>(k.cache, k.d) && hy_wide<T>(v.x, v.ld) && hy_wide<T>(v.cache, v.d))
        return launch<T, hy_vec<T>::n>(a, k, v);
    return launch<T, 1>(a, k, v);
}

hy_status hy_cuda_plan_kv_append(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_kv_append_args *a = (const hy_kv_append_args *)args;
    HY_NEED_TYPE("kv_append", req);
    HY_NEED("kv_append",
            a->B >= 1 && a->T >= 1 && a->T <= INT32_MAX / a->B && a->kv_heads >= 1 && a->d_qk >= 1 && a->d_v >= 1);
    HY_NEED("kv_append", a->meta >= 0 && a->cache.cap > a->meta);
    HY_NEED("kv_append",
            a->ldk / a->kv_heads >= a->d_qk && a->ldv / a->kv_heads >= a->d_v && a->ldk <= INT32_MAX - a->ldv);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}
