// attention_bwd.cuh - the kernel of attention's backward that walks tiles, for keys (dK, dV) and for queries (dQ): see
// attention_bwd.cu. It is the same for both: a block has own rows X, Y (K, V or Q, dO) in shared memory and walks a
// stream U, W of the others (Q, dO or K, V), which arrives in the background; a warp has some of the own rows and all
// rows of the stream. Products: attention_warp.cuh.
#ifndef HY_ATTN_BWD_CUH
#define HY_ATTN_BWD_CUH
#include "kernels/cuda/attention_warp.cuh"

enum { OUT_QK = 1, OUT_V = 2 };  // sums that a kernel makes: dK or dQ; dV

// ---------------------------------------------------------------------------------------------------- launch geometry
// Of a tiles kernel. Items of the grid, in the order in which they start: long ones first, and within PAIRS pairs
// (sequence, head) tile by tile, so that what runs at one time finds its operands in the L2 cache.
struct bwd_geometry {
    int own, stage, stages;    // rows of a block, rows of the stream that arrive together, buffers for them
    int tiles;                 // of own rows that cover T
    int long_tiles, parts;     // KEYS: the first long_tiles tiles are cut in so many parts
    int ld_stats;              // T, rounded up to whole 16 bytes
    const float *lse, *delta;  // [B * heads, ld_stats]
    float *part;               // [pairs, long_tiles, parts, own, d_qk + d_v]
    bool wide_q, wide_k, wide_v, wide_do, wide_dqk, wide_dv;  // rows of 16-byte pieces
    float log2_scale;                                         // scale * log2(e)
};
enum { PAIRS = 32 };
struct bwd_item {
    int pair, tile, part;
};
static __device__ __forceinline__ bwd_item item_of(const bwd_geometry &m, long x, int pairs, bool keys) {
    const int ranks = m.tiles + m.long_tiles * (m.parts - 1);
    const int first = (int)(x / ((long)ranks * PAIRS)) * PAIRS, n = min(PAIRS, pairs - first);
    const long in = x - (long)first * ranks;
    const int rank = (int)(in / n), cut = m.long_tiles * m.parts;
    bwd_item it;
    it.pair = first + (int)(in % n);
    it.part = rank < cut ? rank % m.parts : 0;
    it.tile = rank < cut ? rank / m.parts : rank - m.long_tiles * (m.parts - 1);
    if (!keys) it.tile = m.tiles - 1 - it.tile;
    return it;
}

// ---------------------------------------------------------------------------------------------- tiles in shared memory
// Brings n rows of d <= D values to a tile of `rows` rows, zeros elsewhere; row(r) is where row r lies. With `wide`, in
// the background. A thread moves the same pieces in every call of the same size, and rounds its own.
template <class T, int D, class Row>
static __device__ __forceinline__ void fill(T *tile, int rows, int n, int d, bool wide, const Row &row) {
    constexpr int V = 16 / (int)sizeof(T), LD = hy_attn_ld<T>(D);
    for (int at = threadIdx.x; at < rows * (D / V); at += blockDim.x) {
        const int r = at / (D / V), c = at % (D / V) * V;
        T *to = tile + r * LD + c;
        if (wide && r < n && c < d) {
            hy_copy16(to, row(r) + c, 16);
            continue;
        }
        hy_vec<T> x;
#pragma unroll
        for (int i = 0; i < V; i++) x.v[i] = r < n && c + i < d ? row(r)[c + i] : hy_from_float<T>(0.0f);
        x.store(to);
    }
}
template <int D> static __device__ __forceinline__ void round_tile(float *tile, int rows) {
    for (int at = threadIdx.x; at < rows * (D / 4); at += blockDim.x) {
        float *p = tile + at / (D / 4) * hy_attn_ld<float>(D) + at % (D / 4) * 4;
        hy_vec<float> x;
        x.load(p);
#pragma unroll
        for (int i = 0; i < 4; i++) x.v[i] = __uint_as_float(hy_tf32(x.v[i]));
        x.store(p);
    }
}

// N values to a row of a result of which `left` columns remain; add: to what is there.
template <int N, class T> struct alignas(N * sizeof(T)) bwd_run { T v[N]; };
template <int N, class T>
static __device__ __forceinline__ void put(T *p, const float (&x)[N], int left, bool add, bool wide) {
    if (wide && left >= N) {
        bwd_run<N, T> r;
        if (add) r = *(const bwd_run<N, T> *)p;
#pragma unroll
        for (int i = 0; i < N; i++) r.v[i] = hy_from_float<T>(add ? hy_to_float(r.v[i]) + x[i] : x[i]);
        *(bwd_run<N, T> *)p = r;
        return;
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        if (i < left) hy_store(p + i, add ? hy_load(p + i) + x[i] : x[i]);
}

// ---------------------------------------------------------------------------------------------------- tiles
// What a block walks: query tiles of each head of the group, or key tiles. Own rows own0 .. own1-1 are valid.
template <bool KEYS> struct bwd_walk {
    int b, head, len, own0, own1;  // head: KV head with KEYS, query head without
    int from, to;                  // KEYS: queries from .. to-1 see the tile; steps of `per_head` stages for each head
    hy_attn_keys list;             // !KEYS: the keys
    int per_head, begin, end;      // steps begin .. end-1 are this block's
};
template <bool KEYS>
static __device__ __forceinline__ bwd_walk<KEYS> walk_of(const hy_attention_args &a, const bwd_geometry &m,
                                                         const bwd_item &it) {
    const int heads = KEYS ? a.kv_heads : a.heads;
    bwd_walk<KEYS> w;
    w.b = it.pair / heads, w.head = it.pair % heads;
    w.len = a.len[w.b];
    w.own0 = it.tile * m.own, w.own1 = min(w.own0 + m.own, w.len);
    w.per_head = w.begin = w.end = 0, w.from = w.to = 0, w.list = hy_attn_keys{0, 0, 0};
    if (w.own0 >= w.len) return w;
    if constexpr (KEYS) {
        w.from = w.own0, w.to = hy_attn_last_query(w.own0, w.own1 - 1, a.window, a.meta, w.len) + 1;
        w.per_head = (w.to - w.from + m.stage - 1) / m.stage;
        const int steps = w.per_head * (a.heads / a.kv_heads), parts = it.tile < m.long_tiles ? m.parts : 1;
        w.begin = (int)((long)steps * it.part / parts), w.end = (int)((long)steps * (it.part + 1) / parts);
    } else {
        w.list = hy_attn_keys_of(w.own0, w.own1 - 1, a.window, a.meta);
        w.per_head = w.end = (w.list.n + m.stage - 1) / m.stage;
    }
    return w;
}
// Where a step's rows start (a query, or an entry of the list) and how many they are.
template <bool KEYS>
static __device__ __forceinline__ int step_at(const bwd_walk<KEYS> &w, const bwd_geometry &m, int step) {
    return w.from + step % w.per_head * m.stage;
}
template <bool KEYS>
static __device__ __forceinline__ int step_rows(const bwd_walk<KEYS> &w, const bwd_geometry &m, int at) {
    return min(m.stage, (KEYS ? w.to : w.list.n) - at);
}

// Shared memory of a tiles kernel, in bytes from its start.
struct bwd_shared {
    int y, u, w, stats, scratch, buffer, bytes;  // x at 0; u, w, stats: of buffer 0; buffer: distance to the next
};
template <class P, int DQ, int DV, int SUB, bool KEYS>
static __host__ __device__ __forceinline__ bwd_shared shared_of(int own, int stage, int stages, int warps) {
    typedef typename P::type T;
    constexpr int lx = hy_attn_ld<T>(DQ) * (int)sizeof(T), ly = hy_attn_ld<T>(DV) * (int)sizeof(T),
                  word = sizeof(float);
    bwd_shared s;
    s.y = own * lx;
    s.scratch = s.y + own * ly;
    s.u = s.scratch + warps * P::scratch(SUB) * word;
    s.w = s.u + stage * lx;
    s.stats = s.w + stage * ly;  // log-sum-exp, then dO.o: of a buffer's queries with KEYS, of the own ones without
    s.buffer = stage * (lx + ly) + (KEYS ? 2 * stage * word : 0);
    if (!KEYS) s.stats = s.u + stages * s.buffer;
    s.bytes = KEYS ? s.u + stages * s.buffer : s.stats + 2 * own * word;
    return s;
}

// Starts the copies of a step's rows.
template <class P, int DQ, int DV, bool KEYS>
static __device__ __forceinline__ void issue(const hy_attention_bwd_args &g, const bwd_geometry &m,
                                             const bwd_walk<KEYS> &w, int step, typename P::type *u,
                                             typename P::type *v, float *stats) {
    typedef typename P::type T;
    const hy_attention_args &a = g.f;
    const int at = step_at(w, m, step), n = step_rows(w, m, at);
    const size_t row0 = (size_t)w.b * a.T;
    if constexpr (KEYS) {
        const int head = w.head * (a.heads / a.kv_heads) + step / w.per_head;
        const T *q = (const T *)a.q + (row0 + at) * a.ldq + (size_t)head * a.d_qk;
        const T *go = (const T *)g.dout + (row0 + at) * g.lddo + (size_t)head * a.d_v;
        fill<T, DQ>(u, m.stage, n, a.d_qk, m.wide_q, [&](int r) { return q + (size_t)r * a.ldq; });
        fill<T, DV>(v, m.stage, n, a.d_v, m.wide_do, [&](int r) { return go + (size_t)r * g.lddo; });
        const size_t s0 = ((size_t)w.b * a.heads + head) * m.ld_stats + at;
        for (int i = threadIdx.x; i < m.stage / 2; i += blockDim.x) {  // pieces of 4: log-sum-exps, then dO.o
            const int c = i % (m.stage / 4) * 4;
            const float *src = (i < m.stage / 4 ? m.lse : m.delta) + s0;
            const bool there = at + c < m.ld_stats;
            hy_copy16(stats + 4 * i, there ? src + c : src, there ? 16 : 0);
        }
    } else {
        const int kvh = w.head / (a.heads / a.kv_heads);
        const T *k = (const T *)a.k + row0 * a.ldk + (size_t)kvh * a.d_qk,
                *x = (const T *)a.v + row0 * a.ldv + (size_t)kvh * a.d_v;
        fill<T, DQ>(u, m.stage, n, a.d_qk, m.wide_k,
                    [&](int r) { return k + (size_t)hy_attn_key_at(w.list, at + r) * a.ldk; });
        fill<T, DV>(v, m.stage, n, a.d_v, m.wide_v,
                    [&](int r) { return x + (size_t)hy_attn_key_at(w.list, at + r) * a.ldv; });
    }
    hy_copy_commit();
}
// The own rows, and with queries their statistics.
template <class P, int DQ, int DV, bool KEYS>
static __device__ __forceinline__ void issue_own(const hy_attention_bwd_args &g, const bwd_geometry &m,
                                                 const bwd_walk<KEYS> &w, typename P::type *x, typename P::type *y,
                                                 float *stats) {
    typedef typename P::type T;
    const hy_attention_args &a = g.f;
    const size_t row0 = (size_t)w.b * a.T + w.own0;
    const int n = w.own1 - w.own0;
    const T *xs = (const T *)(KEYS ? a.k : a.q) + row0 * (KEYS ? a.ldk : a.ldq) + (size_t)w.head * a.d_qk;
    const T *ys = (const T *)(KEYS ? a.v : g.dout) + row0 * (KEYS ? a.ldv : g.lddo) + (size_t)w.head * a.d_v;
    fill<T, DQ>(x, m.own, n, a.d_qk, KEYS ? m.wide_k : m.wide_q,
                [&](int r) { return xs + (size_t)r * (KEYS ? a.ldk : a.ldq); });
    fill<T, DV>(y, m.own, n, a.d_v, KEYS ? m.wide_v : m.wide_do,
                [&](int r) { return ys + (size_t)r * (KEYS ? a.ldv : g.lddo); });
    if constexpr (!KEYS) {
        const size_t s0 = ((size_t)w.b * a.heads + w.head) * m.ld_stats + w.own0;
        for (int r = threadIdx.x; r < m.own; r += blockDim.x) {
            stats[r] = r < n ? m.lse[s0 + r] : 0.0f;
            stats[m.own + r] = r < n ? m.delta[s0 + r] : 0.0f;
        }
    }
}

// What ROWS own rows from r0 see of SUB rows of the stream from c0 (both as positions or entries): nothing, some, all.
enum bwd_sight { SEES_NONE, SEES_SOME, SEES_ALL };
template <bool KEYS>
static __device__ __forceinline__ bwd_sight sight_of(const hy_attention_args &a, const bwd_walk<KEYS> &w, int r0,
                                                     int rows, int c0, int cols) {
    const int r1 = min(r0 + rows, w.own1) - 1, end = KEYS ? w.to : w.list.n, c1 = min(c0 + cols, end) - 1;
    if (r1 < r0 || c1 < c0) return SEES_NONE;
    bool any, all;
    if constexpr (KEYS) {
        any = r0 <= c1 && hy_attn_last_query(r0, r1, a.window, a.meta, w.len) >= c0;
        all = r1 <= c0 && (r1 < a.meta || max(r0, a.meta) >= hy_attn_first(c1, a.window, a.meta));
    } else {
        any = hy_attn_sees_any(w.list, c0, c1 + 1, r0, r1, a.window, a.meta);
        all = any && hy_attn_sees_all(w.list, c0, c1 + 1, r0, r1, a.window, a.meta);
    }
    return !any ? SEES_NONE : all && c1 == c0 + cols - 1 ? SEES_ALL : SEES_SOME;
}

// Scores s become weights, dp becomes dS. stats: of the stream's rows with KEYS, of the own rows without.
template <class P, int MI, int SUB, int OUT, bool KEYS>
static __device__ __forceinline__ void weights(float (&s)[MI * SUB / 2], float (&dp)[MI * SUB / 2],
                                               const hy_attention_args &a, const bwd_geometry &m,
                                               const bwd_walk<KEYS> &w, const float *stats, int r0, int c0,
                                               bool masked) {
    const float *delta = stats + (KEYS ? m.stage : m.own);
#pragma unroll
    for (int e = 0; e < MI * SUB / 2; e++) {
        const int r = P::template row<SUB>(e), c = P::template col<SUB>(e), i = KEYS ? c : r;
        float p = hy_exp2(fmaf(s[e], m.log2_scale, -stats[i])), d = OUT & OUT_QK ? p * (dp[e] - delta[i]) : 0.0f;
        if (masked) {
            const int q = KEYS ? c0 + c : r0 + r, k = KEYS ? r0 + r : hy_attn_key_at(w.list, c0 + c);
            const bool seen = c0 + c < (KEYS ? w.to : w.list.n) && hy_attn_visible(q, k, a.window, a.meta);
            p = seen ? p : 0.0f, d = seen ? d : 0.0f;
        }
        s[e] = p, dp[e] = d;
    }
}

// One sum of a warp to the result, or to its part in the workspace. dst: row 0 of the block, column 0.
template <class P, int MI, int D, class T>
static __device__ __forceinline__ void put_sum(const float (&sum)[MI * D / 2], T *dst, size_t ld, int row0, int rows,
                                               int valid, int d, float by, bool add, bool wide) {
#pragma unroll
    for (int e = 0; e < MI * D / 2; e += P::run) {
        const int r = row0 + P::template sum_row<D>(e), c = P::template sum_col<D>(e);
        if (r >= rows || c >= d || (add && r >= valid)) continue;
        float x[P::run];
#pragma unroll
        for (int i = 0; i < P::run; i++) x[i] = r < valid ? sum[e + i] * by : 0.0f;
        put(dst + r * ld + c, x, d - c, add, wide);
    }
}

// MI: pieces of 16 own rows a warp; SUB: rows of the stream whose scores are held at once.
template <class P, int DQ, int DV, int MI, int SUB, int OUT, bool KEYS, int WARPS>
static __global__ void __launch_bounds__(WARPS * 32, WARPS == 8 && !KEYS && DQ <= 64 ? 2 : 1)
    bwd_tiles(const hy_attention_bwd_args g, const bwd_geometry m) {
    typedef typename P::type T;
    constexpr int LDX = hy_attn_ld<T>(DQ), LDY = hy_attn_ld<T>(DV), ROWS = 16 * MI;
    const hy_attention_args &a = g.f;
    const int warps = blockDim.x / 32, warp = threadIdx.x / 32, pairs = a.B * (KEYS ? a.kv_heads : a.heads);
    const bwd_item it = item_of(m, blockIdx.x, pairs, KEYS);
    const bwd_walk<KEYS> w = walk_of<KEYS>(a, m, it);
    const bwd_shared at = shared_of<P, DQ, DV, SUB, KEYS>(m.own, m.stage, m.stages, warps);
    HY_SHARED(unsigned char, mem);
    T *x = (T *)mem, *y = (T *)(mem + at.y);
    float *scratch = (float *)(mem + at.scratch) + warp * P::scratch(SUB);

    float sum_qk[OUT & OUT_QK ? MI * DQ / 2 : 1] = {}, sum_v[OUT & OUT_V ? MI * DV / 2 : 1] = {};
    if (w.begin < w.end) {
        issue_own<P, DQ, DV, KEYS>(g, m, w, x, y, (float *)(mem + at.stats));
        issue<P, DQ, DV, KEYS>(g, m, w, w.begin, (T *)(mem + at.u), (T *)(mem + at.w), (float *)(mem + at.stats));
    }
    for (int step = w.begin; step < w.end; step++) {
        const int here = m.stages == 2 && (step - w.begin) % 2 ? at.buffer : 0,
                  next = m.stages == 2 ? at.buffer - here : 0;
        T *u = (T *)(mem + at.u + here), *v = (T *)(mem + at.w + here);
        const float *stats = (const float *)(mem + at.stats + (KEYS ? here : 0));
        if (m.stages == 2 && step + 1 < w.end) {
            issue<P, DQ, DV, KEYS>(g, m, w, step + 1, (T *)(mem + at.u + next), (T *)(mem + at.w + next),
                                   (float *)(mem + at.stats + next));
            hy_copy_wait<1>();
        } else {
            hy_copy_wait<0>();
        }
        if constexpr (P::rounds) {
            if (step == w.begin) round_tile<DQ>(x, m.own), round_tile<DV>(y, m.own);
            round_tile<DQ>(u, m.stage), round_tile<DV>(v, m.stage);
        }
        __syncthreads();
        const int first = step_at(w, m, step), r0 = w.own0 + warp * ROWS;
        for (int c = 0; c < m.stage; c += SUB) {
            const bwd_sight sight = sight_of<KEYS>(a, w, r0, ROWS, first + c, SUB);
            if (sight == SEES_NONE) continue;
            float s[MI * SUB / 2] = {}, dp[MI * SUB / 2] = {};
            P::template scores<MI, SUB, DQ>(s, x + warp * ROWS * LDX, u + c * LDX);
            if constexpr ((OUT & OUT_QK) != 0) P::template scores<MI, SUB, DV>(dp, y + warp * ROWS * LDY, v + c * LDY);
            weights<P, MI, SUB, OUT, KEYS>(s, dp, a, m, w, stats + (KEYS ? c : warp * ROWS), r0, first + c,
                                           sight == SEES_SOME);
            if constexpr ((OUT & OUT_V) != 0) P::template add<MI, SUB, DV>(sum_v, s, v + c * LDY, scratch);
            if constexpr ((OUT & OUT_QK) != 0) P::template add<MI, SUB, DQ>(sum_qk, dp, u + c * LDX, scratch);
        }
        __syncthreads();
        if (m.stages == 1 && step + 1 < w.end)
            issue<P, DQ, DV, KEYS>(g, m, w, step + 1, u, v, (float *)(mem + at.stats));
    }

    const int row0 = warp * ROWS, rows = min(m.own, a.T - w.own0), valid = w.own1 - w.own0;
    const size_t first = (size_t)w.b * a.T + w.own0;
    if (KEYS && it.tile < m.long_tiles) {
        const size_t ld = (size_t)a.d_qk + a.d_v;
        float *part = m.part + (((size_t)it.pair * m.long_tiles + it.tile) * m.parts + it.part) * m.own * ld;
        if constexpr ((OUT & OUT_QK) != 0)
            put_sum<P, MI, DQ>(sum_qk, part, ld, row0, rows, rows, a.d_qk, (float)a.scale, false, false);
        if constexpr ((OUT & OUT_V) != 0)
            put_sum<P, MI, DV>(sum_v, part + a.d_qk, ld, row0, rows, rows, a.d_v, 1.0f, false, false);
        return;
    }
    if constexpr ((OUT & OUT_QK) != 0) {
        T *dst = (T *)(KEYS ? g.dk : g.dq);
        const size_t ld = KEYS ? g.lddk : g.lddq;
        if (dst)
            put_sum<P, MI, DQ>(sum_qk, dst + first * ld + (size_t)w.head * a.d_qk, ld, row0, rows, valid, a.d_qk,
                               (float)a.scale, g.acc & (KEYS ? 2 : 1), m.wide_dqk);
    }
    if constexpr ((OUT & OUT_V) != 0) {
        T *dst = (T *)g.dv;
        if (dst)
            put_sum<P, MI, DV>(sum_v, dst + first * g.lddv + (size_t)w.head * a.d_v, g.lddv, row0, rows, valid, a.d_v,
                               1.0f, g.acc & 4, m.wide_dv);
    }
}
#endif
