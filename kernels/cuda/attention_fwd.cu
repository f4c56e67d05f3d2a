// attention_fwd.cu - attention forward on the GPU: its plan, and the kernel of bfloat16 and TF32, tiles on tensor cores
// with a running softmax (Dao 2023, FlashAttention-2). A block has 4 warps and a tile of queries of one head; keys and
// values pass through shared memory, the next one of each on its way while the other is used. Tiles that nobody sees
// are skipped, only those at an edge of the mask are masked by elements. On Hopper mma.sync reaches about 60 % of the
// matrix rate (wgmma, which reads both factors from shared memory without ldmatrix and registers, reaches it), and
// copies cost threads' instructions that TMA would spare.
#include "kernels/cuda/attention_fwd.cuh"

template <class T, int DQ_, int DV_, int MT_, int KN_>
struct tile_shape {  // MT: groups of 16 query rows a warp, KN: keys of a tile
    typedef T type;
    static constexpr int DQ = DQ_, DV = DV_, MT = MT_, KN = KN_, QN = 64 * MT, LQ = hy_attn_ld<T>(DQ),
                         LV = hy_attn_ld<T>(DV);
    static constexpr int V = 16 / (int)sizeof(T), KS = 2 * V;  // elements of 16 bytes; depth of one mma
    static constexpr int tile = KN * (LQ + LV), inputs = QN * LQ + 2 * tile,
                         output = QN * LV;  // the output takes the inputs' place
    static constexpr size_t bytes = (size_t)(inputs > output ? inputs : output) * sizeof(T);
};
enum { THREADS = 128 };

template <class T>
static __device__ __forceinline__ void multiply(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    if constexpr (sizeof(T) == 2)
        hy_mma_bf16(d, a, b);
    else
        hy_mma_tf32(d, a, b);
}
template <class T> static __device__ __forceinline__ void load_factors(uint32_t r[4], const T *row) {
    hy_ldmatrix4(r, row);
    if constexpr (sizeof(T) == 4)
        for (int i = 0; i < 4; i++) r[i] = hy_tf32(__uint_as_float(r[i]));
}

// s = q k^T for the 16 MT rows of a warp at q and KN keys. In 32 bytes of a row lie one mma's columns of both types.
template <class S>
static __device__ __forceinline__ void scores(float (&s)[S::MT][S::KN / 8][4], const typename S::type *q,
                                              const typename S::type *k, int d) {
    const int lane = threadIdx.x % 32;
    q += lane % 16 * S::LQ + lane / 16 * S::V;
    k += (lane / 16 * 8 + lane % 8) * S::LQ + lane / 8 % 2 * S::V;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::KN / 8; n++) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0.0f;
#pragma unroll
    for (int c = 0; c < S::DQ; c += S::KS) {
        if (S::DQ > 128 && c >= d) break;
        uint32_t x[S::MT][4];
#pragma unroll
        for (int m = 0; m < S::MT; m++) load_factors(x[m], q + m * 16 * S::LQ + c);
#pragma unroll
        for (int n = 0; n < S::KN / 16; n++) {
            uint32_t y[4];
            load_factors(y, k + n * 16 * S::LQ + c);
#pragma unroll
            for (int m = 0; m < S::MT; m++) {
                multiply<typename S::type>(s[m][2 * n], x[m], y);
                multiply<typename S::type>(s[m][2 * n + 1], x[m], y + 2);
            }
        }
    }
}

// Scores of pairs that the mask hides become -inf. A thread holds rows g and g + 8 of each 16, columns 2t and 2t + 1 of
// each 8.
template <class S>
static __device__ __forceinline__ void hide(float (&s)[S::MT][S::KN / 8][4], const hy_attn_keys &keys, int j0, int q,
                                            int window, int meta) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const hy_attn_span span = hy_attn_span_of(keys, q + m * 16 + g + 8 * i, window, meta);
#pragma unroll
            for (int n = 0; n < S::KN / 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                    if (!span.has(j0 + 2 * t + n * 8 + e)) s[m][n][2 * i + e] = -INFINITY;
        }
}

// Scores become weights 2^(scale (s - largest)); what was summed under a smaller largest score shrinks.
template <class S>
static __device__ __forceinline__ void weigh(float (&s)[S::MT][S::KN / 8][4], float (&o)[S::MT][S::DV / 8][4],
                                             float (&top)[S::MT][2], float (&sum)[S::MT][2], float scale) {
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float x = top[m][i];
#pragma unroll
            for (int n = 0; n < S::KN / 8; n++) x = fmaxf(x, fmaxf(s[m][n][2 * i], s[m][n][2 * i + 1]));
            x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
            x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
            const float base = __fmul_rn(hy_attn_base(x), scale), shrink = hy_attn_shrink(top[m][i], scale, base);
            float add = 0.0f;
#pragma unroll
            for (int n = 0; n < S::KN / 8; n++)
#pragma unroll
                for (int e = 2 * i; e < 2 * i + 2; e++) add += s[m][n][e] = hy_exp2(s[m][n][e] * scale - base);
            top[m][i] = x;
            sum[m][i] = sum[m][i] * shrink + add;
            if (shrink != 1.0f)  // late in a row of keys it mostly is
#pragma unroll
                for (int n = 0; n < S::DV / 8; n++) o[m][n][2 * i] *= shrink, o[m][n][2 * i + 1] *= shrink;
        }
}

// o += weights times values, KN keys. The weights go from the layout of results to that of factors in their registers:
// for bfloat16 by definition, for TF32 with the keys 2t and 2t + 1 of each 8 taken as columns t and t + 4.
template <class S>
static __device__ __forceinline__ void add_values(float (&o)[S::MT][S::DV / 8][4],
                                                  const float (&s)[S::MT][S::KN / 8][4], const typename S::type *v,
                                                  int d) {
    const int lane = threadIdx.x % 32;
    if constexpr (sizeof(typename S::type) == 2) {
        v += lane % 16 * S::LV + lane / 16 * 8;
#pragma unroll
        for (int k = 0; k < S::KN / 16; k++) {
            uint32_t x[S::MT][4];
#pragma unroll
            for (int m = 0; m < S::MT; m++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    x[m][i] = hy_pack_bf16(s[m][2 * k + i / 2][i % 2 * 2], s[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
            for (int n = 0; n < S::DV / 16; n++) {
                if (S::DV > 128 && n * 16 >= d) break;
                uint32_t y[4];
                hy_ldmatrix4_trans(y, v + k * 16 * S::LV + n * 16);
#pragma unroll
                for (int m = 0; m < S::MT; m++)
                    hy_mma_bf16(o[m][2 * n], x[m], y), hy_mma_bf16(o[m][2 * n + 1], x[m], y + 2);
            }
        }
    } else {
        v += lane % 4 * 2 * S::LV + lane / 4;
#pragma unroll
        for (int k = 0; k < S::KN / 8; k++) {
            uint32_t x[S::MT][4];
#pragma unroll
            for (int m = 0; m < S::MT; m++)
#pragma unroll
                for (int i = 0; i < 4; i++) x[m][i] = hy_tf32(s[m][k][i % 2 * 2 + i / 2]);
#pragma unroll
            for (int n = 0; n < S::DV / 8; n++) {
                if (S::DV > 128 && n * 8 >= d) break;
                const uint32_t y[2] = {hy_tf32(v[k * 8 * S::LV + n * 8]), hy_tf32(v[(k * 8 + 1) * S::LV + n * 8])};
#pragma unroll
                for (int m = 0; m < S::MT; m++) hy_mma_tf32(o[m][n], x[m], y);
            }
        }
    }
}

// A warp's rows of the result, divided by their sums of weights, into its rows of `tile` (ld LV).
template <class S>
static __device__ __forceinline__ void finish_rows(const hy_attention_args &a, const hy_attn_block &blk,
                                                   const float (&o)[S::MT][S::DV / 8][4], const float (&top)[S::MT][2],
                                                   const float (&sum)[S::MT][2], int r0, typename S::type *tile) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int r = r0 + m * 16 + 8 * i + g;
            float l = sum[m][i];
            l += __shfl_xor_sync(0xffffffffu, l, 1);
            l += __shfl_xor_sync(0xffffffffu, l, 2);
            const float inv = 1.0f / l;
#pragma unroll
            for (int n = 0; n < S::DV / 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) hy_store(tile + r * S::LV + n * 8 + 2 * t + e, o[m][n][2 * i + e] * inv);
            if (t == 0 && r < blk.rows) hy_attn_save(a, blk, blk.t0 + r, top[m][i], l);
        }
}
template <class S>
static __device__ __forceinline__ void store_tile(const hy_attention_args &a, const hy_attn_block &blk,
                                                  const typename S::type *tile) {
    typedef typename S::type T;
    T *out = (T *)a.o + ((size_t)blk.b * a.T + blk.t0) * a.ldo + (size_t)blk.h * a.d_v;
    if (hy_wide<T>(a.o, a.ldo) && a.d_v % S::V == 0) {
        const int pieces = a.d_v / S::V;
        for (int i = threadIdx.x; i < blk.rows * pieces; i += THREADS) {
            hy_vec<T> x;
            x.load(tile + i / pieces * S::LV + i % pieces * S::V);
            x.store(out + (size_t)(i / pieces) * a.ldo + i % pieces * S::V);
        }
        return;
    }
    for (int i = threadIdx.x; i < blk.rows * a.d_v; i += THREADS)
        out[(size_t)(i / a.d_v) * a.ldo + i % a.d_v] = tile[i / a.d_v * S::LV + i % a.d_v];
}

template <class S> static __global__ void __launch_bounds__(THREADS) attend_tiles(const hy_attention_args a) {
    typedef typename S::type T;
    HY_SHARED(T, sq);
    T *const tiles = sq + S::QN * S::LQ;  // two, each keys and then values
    const hy_attn_block blk = hy_attn_block_of(a, S::QN);
    hy_attn_clear<T>(a, blk, S::QN);
    if (blk.rows <= 0) return;
    const int q0 = blk.pos + blk.t0, q1 = q0 + blk.rows - 1;  // positions of the block's queries
    const int r0 = (int)threadIdx.x / 32 * 16 * S::MT, w0 = q0 + r0,
              w1 = min(w0 + 16 * S::MT - 1, q1);  // and of the warp's
    const hy_attn_keys keys = hy_attn_keys_of(q0, q1, a.window, a.meta);
    const hy_attn_rows<T> krows = hy_attn_key_rows<T>(a, blk.b, blk.kvh),
                          vrows = hy_attn_value_rows<T>(a, blk.b, blk.kvh);
    const T *q = (const T *)a.q + ((size_t)blk.b * a.T + blk.t0) * a.ldq + (size_t)blk.h * a.d_qk;
    hy_attn_stage<T, S::DQ, S::QN, THREADS>(sq, a.d_qk, hy_wide<T>(a.q, a.ldq) && a.d_qk % S::V == 0,
                                            [&](int r) { return r < blk.rows ? q + (size_t)r * a.ldq : nullptr; });
    const auto stage = [&](int buffer, int j0) {
        T *const tile = tiles + buffer * S::tile;
        hy_attn_stage_keys<T, S::DQ, S::KN, THREADS>(tile, krows, keys, j0);
        hy_attn_stage_keys<T, S::DV, S::KN, THREADS>(tile + S::KN * S::LQ, vrows, keys, j0);
        hy_copy_commit();
    };
    stage(0, 0);
    const float scale = (float)a.scale * HY_ATTN_LOG2E;
    float o[S::MT][S::DV / 8][4], top[S::MT][2], sum[S::MT][2];
#pragma unroll
    for (int m = 0; m < S::MT; m++) {
        top[m][0] = top[m][1] = -INFINITY, sum[m][0] = sum[m][1] = 0.0f;
#pragma unroll
        for (int n = 0; n < S::DV / 8; n++) o[m][n][0] = o[m][n][1] = o[m][n][2] = o[m][n][3] = 0.0f;
    }
    for (int j0 = 0, buffer = 0; j0 < keys.n; j0 += S::KN, buffer ^= 1) {
        hy_copy_wait<0>();
        __syncthreads();  // this tile is there, and nobody needs the one before any more: the next takes its place
        if (j0 + S::KN < keys.n) stage(buffer ^ 1, j0 + S::KN);
        const int j1 = min(j0 + S::KN, keys.n);
        if (w0 > w1 || !hy_attn_sees_any(keys, j0, j1, w0, w1, a.window, a.meta)) continue;
        const T *const k = tiles + buffer * S::tile;
        float s[S::MT][S::KN / 8][4];
        scores<S>(s, sq + r0 * S::LQ, k, a.d_qk);
        if (j1 < j0 + S::KN || !hy_attn_sees_all(keys, j0, j1, w0, w1, a.window, a.meta))
            hide<S>(s, keys, j0, w0, a.window, a.meta);
        weigh<S>(s, o, top, sum, scale);
        add_values<S>(o, s, k + S::KN * S::LQ, a.d_v);
    }
    __syncthreads();  // nobody reads queries or values any more: the result takes their place
    finish_rows<S>(a, blk, o, top, sum, r0, sq);
    __syncthreads();
    store_tile<S>(a, blk, sq);
}

template <class S> static hy_status run_tiles(const hy_attention_args *a) {
    const size_t blocks = (size_t)a->B * a->heads * hy_ceil_div(a->T, S::QN);
    HY_LAUNCH((attend_tiles<S>), (unsigned)blocks, THREADS, S::bytes, *a);
    return HY_OK;
}
// Head widths are padded to those below inside shared memory: few shapes, so that compiling them takes little time.
template <class T> using widest = tile_shape<T, 256, 256, 1, 32>;
template <class T> static hy_status run_mma(const hy_attention_args *a) {
    constexpr int MT = sizeof(T) == 2 ? 2 : 1;
    const int q = a->d_qk, v = a->d_v;
    if (q <= 32 && v <= 32) return run_tiles<tile_shape<T, 32, 32, MT, 64>>(a);
    if (q <= 64 && v <= 64) return run_tiles<tile_shape<T, 64, 64, MT, 64>>(a);
    if (q <= 64 && v <= 128) return run_tiles<tile_shape<T, 64, 128, MT, 32>>(a);
    if (q <= 128 && v <= 128) return run_tiles<tile_shape<T, 128, 128, MT, 32>>(a);
    return run_tiles<widest<T>>(a);
}

// The widest heads in TF32 need more shared memory than a block has outside data centres.
static bool by_tf32(const hy_attention_args *a, const hy_plan_req *req) {
    return req->math == HY_MATH_TF32 &&
           ((a->d_qk <= 128 && a->d_v <= 128) || widest<float>::bytes <= hy_cuda()->smem_max);
}

static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_args *a = (const hy_attention_args *)args;
    if (a->T == 1) return hy_attn_decode(a, ws, req);
    if (req->dtype == HY_BF16) return run_mma<hy_bf16>(a);
    return by_tf32(a, req) ? run_mma<float>(a) : hy_attn_ffma(a);
}

hy_status hy_cuda_plan_attention(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_attention_args *a = (const hy_attention_args *)args;
    if (a->drop.key) return hy_attn_drop_plan(a, req, out);
    *out = hy_launch{};
    HY_NEED_TYPE("attention", req);
    HY_NEED("attention", a->B >= 1 && a->T >= 1 && a->heads >= 1 && a->kv_heads >= 1);
    HY_NEED("attention", a->heads % a->kv_heads == 0);
    HY_NEED("attention", a->d_qk >= 1 && a->d_qk <= 256 && a->d_v >= 1 && a->d_v <= 256);
    HY_NEED("attention", a->window >= 0 && a->meta >= 0 && a->scale > 0);
    HY_NEED("attention", !a->cache.k || a->cache.cap > a->meta);
    HY_NEED("attention", a->ldq / a->heads >= a->d_qk && a->ldk / a->kv_heads >= a->d_qk);
    HY_NEED("attention", a->ldv / a->kv_heads >= a->d_v && a->ldo / a->heads >= a->d_v);
    HY_NEED("attention", (size_t)a->B * a->heads * hy_ceil_div(a->T, 32) <= INT32_MAX);  // blocks
    if (req->training) out->saved = (size_t)a->B * a->T * a->heads * sizeof(float);
    if (a->T == 1) out->workspace = hy_attn_decode_bytes(a);
    out->path = a->T > 1 && by_tf32(a, req) ? hy_cuda_mma_path(req) : hy_cuda_path(req);
    out->run = run;
    return HY_OK;
}
