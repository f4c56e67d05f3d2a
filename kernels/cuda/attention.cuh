// attention.cuh - what attention forward, decoding and backward share on the GPU: which keys a tile of queries sees (as
// the mask of attn_rule.h has it), where a key lies, and how tiles come into shared memory. No products.
//
// Units: scores are kept as scale * log2(e) * q.k, so that a weight is exp2f of a difference. `saved` is float32
// [B*T, heads], as on the CPU: the natural log-sum-exp of each query and head, 0 where t >= len[b]. A weight in the
// backward: exp2f(score - saved * HY_ATTN_LOG2E). Positions and lengths lie on the device and are trusted: the executor
// has checked them on the host (what hy_cpu_attention_check_data checks at every run).
#ifndef HY_ATTN_CUH
#define HY_ATTN_CUH
#include "kernels/cuda/mma.cuh"

// Plans of attention with dropout (attention_drop.cu): drop.key is set.
hy_status hy_attn_drop_plan(const hy_attention_args *a, const hy_plan_req *req, hy_launch *out);
hy_status hy_attn_drop_plan_bwd(const hy_attention_bwd_args *g, const hy_plan_req *req, hy_launch *out);

#define HY_ATTN_LOG2E 1.4426950408889634f
#define HY_ATTN_LN2 0.6931471805599453f

// -------------------------------------------------------------------------------------------------- the mask, by tiles
// The keys that queries at positions q0 .. q1 see between them, as one list without gaps: meta tokens 0 .. meta_n-1,
// then positions first .. q1. Entry j, 0 <= j < n, is the key at position hy_attn_key_at(j); positions grow with j.
// Tiles are cut from the list, so that meta tokens cost no tile of their own.
struct hy_attn_keys {
    int meta_n, first, n;
};
static __host__ __device__ __forceinline__ hy_attn_keys hy_attn_keys_of(int q0, int q1, int window, int meta) {
    hy_attn_keys k;
    k.meta_n = q1 + 1 < meta ? q1 + 1 : meta;
    k.first = hy_attn_first(q0, window, meta);
    k.n = k.meta_n + (q1 >= k.first ? q1 - k.first + 1 : 0);
    return k;
}
static __host__ __device__ __forceinline__ int hy_attn_key_at(const hy_attn_keys &k, int j) {
    return j < k.meta_n ? j : k.first + (j - k.meta_n);
}
// Whether each of the queries q0 .. q1 sees each of the entries j0 .. j1-1 (j0 < j1 <= n): no mask by elements is
// needed.
static __host__ __device__ __forceinline__ bool hy_attn_sees_all(const hy_attn_keys &k, int j0, int j1, int q0, int q1,
                                                                 int window, int meta) {
    const int text = j0 > k.meta_n ? j0 : k.meta_n;  // first entry behind the meta tokens
    return hy_attn_key_at(k, j1 - 1) <= q0 &&
           (text >= j1 || hy_attn_key_at(k, text) >= hy_attn_first(q1, window, meta));
}
// Whether any of the queries q0 .. q1 sees any of the entries j0 .. j1-1 (j0 < j1 <= n): otherwise the tile is skipped.
static __host__ __device__ __forceinline__ bool hy_attn_sees_any(const hy_attn_keys &k, int j0, int j1, int q0, int q1,
                                                                 int window, int meta) {
    if (j0 < k.meta_n && j0 <= q1) return true;
    const int text = j0 > k.meta_n ? j0 : k.meta_n;
    return text < j1 && hy_attn_key_at(k, text) <= q1 && hy_attn_key_at(k, j1 - 1) >= hy_attn_first(q0, window, meta);
}
// The entries that the query at position q sees: those below meta_end, and lo .. hi-1. (For q past q1, rows of a tile
// without a query, some are past the end of the list.)
struct hy_attn_span {
    int meta_end, lo, hi;
    __host__ __device__ __forceinline__ bool has(int j) const { return (j < meta_end) | ((j >= lo) & (j < hi)); }
};
static __host__ __device__ __forceinline__ hy_attn_span hy_attn_span_of(const hy_attn_keys &k, int q, int window,
                                                                        int meta) {
    hy_attn_span s;
    s.meta_end = q + 1 < k.meta_n ? q + 1 : k.meta_n;
    s.lo = k.meta_n + hy_attn_first(q, window, meta) - k.first;
    s.hi = k.meta_n + q + 1 - k.first;
    return s;
}
// The last of T queries (positions 0 .. T-1) that sees any of the keys k0 .. k1; the first is k0.
static __host__ __device__ __forceinline__ int hy_attn_last_query(int k0, int k1, int window, int meta, int T) {
    return window == 0 || k0 < meta || T - 1 - k1 < window ? T - 1 : k1 + window;
}

// ---------------------------------------------------------------------------------------------- tiles in shared memory
// Elements from row to row of a tile of D columns: 16 bytes more than a multiple of 64, so that pieces of 16 bytes of
// eight rows after another, and 4 bytes of them at 4 columns after another, lie in different banks.
template <class T> static constexpr __host__ __device__ int hy_attn_ld(int D) { return D + 16 / (int)sizeof(T); }

// Brings ROWS rows of d <= D values into a tile (ld: hy_attn_ld), zeros to D columns; row(i): address of row i, or NULL
// for zeros. wide: all rows are 16-byte aligned and d is whole pieces of 16 bytes; these are copied in the background:
// commit and wait are the caller's. Otherwise by ordinary loads and stores. All THREADS threads of the block call it.
template <class T, int D, int ROWS, int THREADS, int UNROLL = 32, class Row>
static __device__ __forceinline__ void hy_attn_stage(T *tile, int d, bool wide, const Row &row) {
    constexpr int V = 16 / (int)sizeof(T), LD = hy_attn_ld<T>(D),
                  STEP = THREADS / (D / V);  // rows apart that a thread copies of
    static_assert(THREADS % (D / V) == 0 && ROWS % STEP == 0,
                  "every thread has the same number of pieces, in one column");
    if (wide) {
        const int r0 = (int)threadIdx.x / (D / V), c = (int)threadIdx.x % (D / V) * V;
        T *to = tile + r0 * LD + c;
#pragma unroll UNROLL
        for (int i = 0; i < ROWS / STEP; i++) {
            const T *p = c < d ? row(r0 + i * STEP) : nullptr;
            if (p)
                hy_copy16(to + i * STEP * LD, p + c, 16);
            else
                *(uint4 *)(to + i * STEP * LD) = uint4{0, 0, 0, 0};
        }
        return;
    }
    for (int at = threadIdx.x; at < ROWS * D; at += THREADS) {
        const int r = at / D, c = at % D;
        const T *p = row(r);
        tile[r * LD + c] = p && c < d ? p[c] : hy_from_float<T>(0.0f);
    }
}
#endif
