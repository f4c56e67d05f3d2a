// attention_bwd.cu - gradient of attention on the GPU. Weights are computed again from the saved log-sum-exp, tile by
// tile, so memory is linear in T, and no two blocks add to one place: the same bits from run to run.
//
//   stats    log-sum-exp in powers of two and dO.o of each query and head, to the workspace
//   tiles    KEYS: a block owns a tile of keys of one KV head and walks the queries that see them, of every head of the
//   group:
//            dV += P^T dO, dK += dS^T Q. Otherwise it owns a tile of queries of one head and walks the keys that they
//            see: dQ += dS K. P = 2^(scale log2(e) q.k - lse), dS = P (dO.v - dO.o): seven products a pair of tiles.
//   reduce   where few tiles of keys are seen by far more queries than the others (meta tokens beside a window), or
//   there are few
//            blocks at all, such walks are cut in parts whose sums lie in the workspace; this adds them in order
//
// mma.sync reaches about 60 % of what wgmma reaches on Hopper.
#include "kernels/cuda/attention_bwd.cuh"

enum { STATS_THREADS = 256, STATS_LANES = 8, REDUCE_THREADS = 256 };
enum {
    SLOTS = 264,  // blocks that a large GPU runs at once: a constant, so that the bits do not depend on the device
    MOST_PARTS = 16,
};

// ---------------------------------------------------------------------------------------------------- statistics
// Eight lanes a query and head; entries from len[b] on are 0.
template <class T>
static __global__ void __launch_bounds__(STATS_THREADS)
    bwd_stats(hy_attention_args a, const T *dout, int lddo, int ld_stats, bool wide, float *lse, float *delta) {
    constexpr int V = 16 / (int)sizeof(T);
    const long item = ((long)blockIdx.x * STATS_THREADS + threadIdx.x) / STATS_LANES;
    const int lane = threadIdx.x % STATS_LANES, h = (int)(item % a.heads), t = (int)(item / a.heads % ld_stats);
    const long b = item / a.heads / ld_stats;
    float sum = 0, l = 0;
    if (b < a.B && t < a.len[b]) {
        const size_t row = (size_t)b * a.T + t;
        const T *o = (const T *)a.o + row * a.ldo + (size_t)h * a.d_v, *g = dout + row * lddo + (size_t)h * a.d_v;
        for (int c = lane * V; c < a.d_v; c += STATS_LANES * V) {
            if (wide) {
                hy_vec<T> x, y;
                x.load(o + c), y.load(g + c);
#pragma unroll
                for (int i = 0; i < V; i++) sum = fmaf(hy_to_float(x.v[i]), hy_to_float(y.v[i]), sum);
            } else {
                for (int i = c; i < c + V && i < a.d_v; i++) sum = fmaf(hy_load(o + i), hy_load(g + i), sum);
            }
        }
        l = ((const float *)a.saved)[row * a.heads + h] * HY_ATTN_LOG2E;
    }
    for (int d = STATS_LANES / 2; d; d >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, d);
    if (b < a.B && lane == 0) {
        const size_t at = ((size_t)b * a.heads + h) * ld_stats + t;
        lse[at] = l, delta[at] = sum;
    }
}

// ---------------------------------------------------------------------------------------------------- parts
// Adds the parts of tiles that were cut, in order, for one of dK and dV: columns part_col .. part_col+d-1 of a part's
// row.
template <class T>
static __global__ void __launch_bounds__(REDUCE_THREADS)
    bwd_reduce(hy_attention_args a, bwd_geometry m, int part_col, int d, T *out, int ld, bool add) {
    const long at = (long)blockIdx.x * REDUCE_THREADS + threadIdx.x, tile_size = (long)m.own * d, tile = at / tile_size;
    const int r = (int)(at % tile_size / d), c = (int)(at % d), pair = (int)(tile / m.long_tiles),
              b = pair / a.kv_heads;
    const int t = (int)(tile % m.long_tiles) * m.own + r;
    if (b >= a.B || t >= a.T || (add && t >= a.len[b])) return;
    const size_t width = (size_t)a.d_qk + a.d_v, step = m.own * width;
    const float *part = m.part + (size_t)tile * m.parts * step + r * width + part_col + c;
    float sum = 0;
    for (int i = 0; i < m.parts; i++) sum += part[i * step];
    T *p = out + ((size_t)b * a.T + t) * ld + (size_t)(pair % a.kv_heads) * d + c;
    hy_store(p, add ? hy_load(p) + sum : sum);
}

// ---------------------------------------------------------------------------------------------------- choices
// Tiles of one class of head widths. Where both sums of the keys do not fit a thread's registers (256), two kernels
// make them.
template <class Products, int DQ_, int DV_> struct bwd_shape {
    typedef Products P;
    static constexpr int DQ = DQ_, DV = DV_, SUB = DQ > 128 && sizeof(typename P::type) == 4 ? 16 : 32;
    static constexpr bool fma = P::run == 4, apart = DQ > 128;
    static constexpr int MI_KEYS = !fma && DV <= 64 ? 2 : 1, MI_QUERIES = !fma && DQ <= 128 ? 2 : 1;
    static constexpr int WARPS_KEYS = MI_KEYS == 2 || apart ? 4 : 8, WARPS_QUERIES = fma && !apart ? 8 : 4;
};
template <class P, class Do> static hy_status by_width(const hy_attention_args *a, const Do &act) {
    if (a->d_qk <= 64 && a->d_v <= 64) return act(bwd_shape<P, 64, 64>());
    if (a->d_qk <= 64 && a->d_v <= 128) return act(bwd_shape<P, 64, 128>());
    if (a->d_qk <= 128 && a->d_v <= 128) return act(bwd_shape<P, 128, 128>());
    return act(bwd_shape<P, 256, 256>());
}
template <class Do> static hy_status by_products(const hy_attention_args *a, const hy_plan_req *req, const Do &act) {
    if (req->dtype == HY_BF16) return by_width<attn_mma<hy_bf16>>(a, act);
    if (req->math == HY_MATH_TF32) return by_width<attn_mma<float>>(a, act);
    return by_width<attn_fma>(a, act);
}

// How large the tiles are: as much of a block's rows and of the stream as fits, two blocks of 4 warps to a
// multiprocessor if so.
template <class S, bool KEYS> static hy_status choose_tiles(const hy_attention_args *a, bwd_geometry *m, int *warps) {
    constexpr int ROWS = 16 * (KEYS ? S::MI_KEYS : S::MI_QUERIES), MOST = KEYS ? S::WARPS_KEYS : S::WARPS_QUERIES;
    static const int stream[][2] = {{64, 2}, {32, 2}, {32, 1}, {S::SUB, 1}};  // rows, buffers
    const size_t all = hy_cuda()->smem_max, reserved = 1024, half = (all + reserved) / 2 - reserved;
    int most = MOST;
    while (most > 1 && most / 2 * ROWS >= a->T) most /= 2;
    for (*warps = most; *warps >= 1; *warps /= 2)
        for (int share = *warps > 4 ? 1 : 2; share >= 1; share--)
            for (const int *s : stream) {
                if (s[0] > 32 && a->T <= 32) continue;
                m->own = *warps * ROWS, m->stage = s[0], m->stages = s[1];
                m->tiles = hy_ceil_div(a->T, m->own), m->long_tiles = 0, m->parts = 1;
                const int bytes =
                    shared_of<typename S::P, S::DQ, S::DV, S::SUB, KEYS>(m->own, m->stage, m->stages, *warps).bytes;
                if ((size_t)bytes <= (share == 2 ? half : all)) return HY_OK;
            }
    return hy_error(HY_EINPUT,
                    "attention_bwd: heads of %d and %d values need more shared memory than the %zu bytes of this GPU",
                    a->d_qk, a->d_v, all);
}
// Which walks of the keys are cut, and in how many parts: so that the longest takes no more than its share of all the
// work, but no part is shorter than about two stages.
static void choose_parts(const hy_attention_args *a, bwd_geometry *m) {
    const double T = a->T, pairs = (double)a->B * a->kv_heads;
    const bool window = a->window > 0 && a->window < a->T;
    const int meta_tiles = hy_ceil_div(a->meta < a->T ? a->meta : a->T, m->own),
              some = window ? meta_tiles : hy_ceil_div(m->tiles, 2);
    const double usual = !window ? T / 2 : a->window + m->own < T ? a->window + m->own : T;
    const double work = pairs * (m->tiles * usual + (window ? meta_tiles * T : 0));
    double parts = ceil(SLOTS * T / work);
    const double most = floor(T * (a->heads / a->kv_heads) / (4.0 * m->stage));
    if (parts > most) parts = most;
    if (parts > MOST_PARTS) parts = MOST_PARTS;
    if (some < 1 || parts < 2) return;
    m->long_tiles = some, m->parts = (int)parts;
}

// Where things lie in the workspace, in bytes.
typedef struct {
    size_t lse, delta, part, bytes;
    int ld_stats;
} bwd_layout;
static bwd_layout layout_of(const hy_attention_args *a, const bwd_geometry *keys) {
    bwd_layout w;
    w.ld_stats = (a->T + 3) / 4 * 4;
    const size_t stats = hy_align((size_t)a->B * a->heads * w.ld_stats * sizeof(float));
    const size_t rows = (size_t)a->B * a->kv_heads * keys->long_tiles * keys->parts * keys->own;
    w.lse = 0, w.delta = stats, w.part = 2 * stats;
    w.bytes = w.part + hy_align(rows * ((size_t)a->d_qk + a->d_v) * sizeof(float));
    return w;
}

// ---------------------------------------------------------------------------------------------------- launches
template <class S, int OUT, bool KEYS>
static hy_status launch_tiles(const hy_attention_bwd_args *g, const bwd_geometry *m, int warps) {
    constexpr int MI = KEYS ? S::MI_KEYS : S::MI_QUERIES, WARPS = KEYS ? S::WARPS_KEYS : S::WARPS_QUERIES;
    const size_t items =
        (size_t)g->f.B * (KEYS ? g->f.kv_heads : g->f.heads) * (m->tiles + m->long_tiles * (m->parts - 1));
    const int bytes = shared_of<typename S::P, S::DQ, S::DV, S::SUB, KEYS>(m->own, m->stage, m->stages, warps).bytes;
    HY_LAUNCH((bwd_tiles<typename S::P, S::DQ, S::DV, MI, S::SUB, OUT, KEYS, WARPS>), (unsigned)items, warps * 32,
              bytes, *g, *m);
    return HY_OK;
}
template <class T> static hy_status launch_reduce(const hy_attention_bwd_args *g, const bwd_geometry *m) {
    const size_t rows = (size_t)g->f.B * g->f.kv_heads * m->long_tiles * m->own;
    const hy_attention_args *a = &g->f;
    if (g->dk)
        HY_LAUNCH((bwd_reduce<T>), hy_ceil_div((long)(rows * a->d_qk), REDUCE_THREADS), REDUCE_THREADS, 0, *a, *m, 0,
                  a->d_qk, (T *)g->dk, g->lddk, (g->acc & 2) != 0);
    if (g->dv)
        HY_LAUNCH((bwd_reduce<T>), hy_ceil_div((long)(rows * a->d_v), REDUCE_THREADS), REDUCE_THREADS, 0, *a, *m,
                  a->d_qk, a->d_v, (T *)g->dv, g->lddv, (g->acc & 4) != 0);
    return HY_OK;
}
template <class S> static hy_status run_shape(const hy_attention_bwd_args *g, unsigned char *ws) {
    typedef typename S::P::type T;
    const hy_attention_args *a = &g->f;
    const bool qk = a->d_qk % hy_vec<T>::n == 0, v = a->d_v % hy_vec<T>::n == 0;
    bwd_geometry m = {};
    int warps;
    HY_TRY((choose_tiles<S, true>(a, &m, &warps)));
    choose_parts(a, &m);
    const bwd_layout w = layout_of(a, &m);
    float *lse = (float *)(ws + w.lse), *delta = (float *)(ws + w.delta);
    m.ld_stats = w.ld_stats, m.lse = lse, m.delta = delta, m.part = (float *)(ws + w.part);
    m.log2_scale = (float)(a->scale * 1.4426950408889634);
    m.wide_q = qk && hy_wide<T>(a->q, a->ldq), m.wide_k = qk && hy_wide<T>(a->k, a->ldk);
    m.wide_v = v && hy_wide<T>(a->v, a->ldv), m.wide_do = v && hy_wide<T>(g->dout, g->lddo);
    const size_t items = (size_t)a->B * w.ld_stats * a->heads;
    HY_LAUNCH((bwd_stats<T>), hy_ceil_div((long)items, STATS_THREADS / STATS_LANES), STATS_THREADS, 0, *a,
              (const T *)g->dout, g->lddo, w.ld_stats, m.wide_do && hy_wide<T>(a->o, a->ldo), lse, delta);
    if (g->dk || g->dv) {
        m.wide_dqk = qk && hy_wide<T>(g->dk, g->lddk), m.wide_dv = v && hy_wide<T>(g->dv, g->lddv);
        if constexpr (S::apart) {
            if (g->dk) HY_TRY((launch_tiles<S, OUT_QK, true>(g, &m, warps)));
            if (g->dv) HY_TRY((launch_tiles<S, OUT_V, true>(g, &m, warps)));
        } else {
            HY_TRY((launch_tiles<S, OUT_QK | OUT_V, true>(g, &m, warps)));
        }
        if (m.parts > 1) HY_TRY(launch_reduce<T>(g, &m));
    }
    if (!g->dq) return HY_OK;
    HY_TRY((choose_tiles<S, false>(a, &m, &warps)));
    m.wide_dqk = qk && hy_wide<T>(g->dq, g->lddq);
    return launch_tiles<S, OUT_QK, false>(g, &m, warps);
}
static hy_status run_attention_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_bwd_args *g = (const hy_attention_bwd_args *)args;
    return by_products(&g->f, req, [&](auto shape) { return run_shape<decltype(shape)>(g, (unsigned char *)ws); });
}

hy_status hy_cuda_plan_attention_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_attention_bwd_args *g = (const hy_attention_bwd_args *)args;
    const hy_attention_args *a = &g->f;
    if (a->drop.key) return hy_attn_drop_plan_bwd(g, req, out);
    *out = hy_launch{};
    HY_NEED_TYPE("attention_bwd", req);
    HY_NEED("attention_bwd", a->B >= 1 && a->T >= 1 && a->heads >= 1 && a->kv_heads >= 1);
    HY_NEED("attention_bwd", a->heads % a->kv_heads == 0);
    HY_NEED("attention_bwd", a->d_qk >= 1 && a->d_qk <= 256 && a->d_v >= 1 && a->d_v <= 256);
    HY_NEED("attention_bwd", a->window >= 0 && a->meta >= 0);
    HY_NEED("attention_bwd", !a->cache.k);
    HY_NEED("attention_bwd", a->ldq / a->heads >= a->d_qk && a->ldk / a->kv_heads >= a->d_qk);
    HY_NEED("attention_bwd",
            a->ldv / a->kv_heads >= a->d_v && a->ldo / a->heads >= a->d_v && g->lddo / a->heads >= a->d_v);
    HY_NEED("attention_bwd", !g->dq || g->lddq / a->heads >= a->d_qk);
    HY_NEED("attention_bwd",
            (!g->dk || g->lddk / a->kv_heads >= a->d_qk) && (!g->dv || g->lddv / a->kv_heads >= a->d_v));
    HY_NEED("attention_bwd", (double)a->B * a->heads * (a->T + 16) <= INT32_MAX);  // blocks
    out->path = hy_cuda_mma_path(req);
    out->run = run_attention_bwd;
    return by_products(a, req, [&](auto shape) {
        typedef decltype(shape) S;
        bwd_geometry keys = {}, queries = {};
        int warps;
        HY_TRY((choose_tiles<S, true>(a, &keys, &warps)));
        HY_TRY((choose_tiles<S, false>(a, &queries, &warps)));
        choose_parts(a, &keys);
        out->workspace = layout_of(a, &keys).bytes;
        return HY_OK;
    });
}
