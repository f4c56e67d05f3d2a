// attention_ffma.cu - attention forward with true float32 products: tiles in shared memory and small products in
// registers, running softmax as in attention_fwd.cu. For float32 runs that are compared with the CPU, not for speed:
// the GPU makes such products about ten times slower than TF32.
#include "kernels/cuda/attention_fwd.cuh"

// A thread holds rows ty + 8 i of the tile (i < R), keys tx + 16 j, columns 64 c + 4 tx + e of the values: tx = thread
// % 16, ty = thread / 16, so that the 16 threads of a row are one half of a warp.
template <int D_, int R_, int KN_> struct ffma_shape {
    static constexpr int D = D_, R = R_, KN = KN_, QN = 8 * R, LD = hy_attn_ld<float>(D), LP = KN + 4;
    static constexpr size_t bytes = (size_t)((QN + 2 * KN) * LD + QN * LP) * sizeof(float);
};
enum { THREADS = 128 };

static __device__ __forceinline__ float half_warp_sum(float x) {
    for (int d = 8; d; d >>= 1) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}
static __device__ __forceinline__ float half_warp_max(float x) {
    for (int d = 8; d; d >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

// s = q k^T; d columns, rounded up to 4 (zeros follow).
template <class S>
static __device__ __forceinline__ void scores(float (&s)[S::R][S::KN / 16], const float *q, const float *k, int d) {
    q += (int)threadIdx.x / 16 * S::LD;
    k += (int)threadIdx.x % 16 * S::LD;
#pragma unroll
    for (int i = 0; i < S::R; i++)
#pragma unroll
        for (int j = 0; j < S::KN / 16; j++) s[i][j] = 0.0f;
    for (int c = 0; c < d; c += 4) {
        hy_vec<float> y[S::KN / 16];
#pragma unroll
        for (int j = 0; j < S::KN / 16; j++) y[j].load(k + j * 16 * S::LD + c);
#pragma unroll
        for (int i = 0; i < S::R; i++) {
            hy_vec<float> x;
            x.load(q + i * 8 * S::LD + c);
#pragma unroll
            for (int j = 0; j < S::KN / 16; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) s[i][j] += x.v[e] * y[j].v[e];
        }
    }
}

// The mask, weights into p [QN, LP], and the running largest score and sum of each row.
template <class S>
static __device__ __forceinline__ void weigh(float (&s)[S::R][S::KN / 16], float (&o)[S::R][S::D / 64][4],
                                             float (&top)[S::R], float (&sum)[S::R], float *p, const hy_attn_keys &keys,
                                             int j0, int q0, bool masked, const hy_attention_args &a) {
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    const float scale = (float)a.scale * HY_ATTN_LOG2E;
#pragma unroll
    for (int i = 0; i < S::R; i++) {
        const hy_attn_span span = hy_attn_span_of(keys, q0 + ty + 8 * i, a.window, a.meta);
        float x = top[i], add = 0.0f;
#pragma unroll
        for (int j = 0; j < S::KN / 16; j++) {
            if (masked && !span.has(j0 + tx + 16 * j)) s[i][j] = -INFINITY;
            x = fmaxf(x, s[i][j]);
        }
        x = half_warp_max(x);
        const float base = __fmul_rn(hy_attn_base(x), scale), shrink = hy_attn_shrink(top[i], scale, base);
#pragma unroll
        for (int j = 0; j < S::KN / 16; j++) {
            const float w = hy_exp2(s[i][j] * scale - base);
            p[(ty + 8 * i) * S::LP + tx + 16 * j] = w;
            add += w;
        }
        top[i] = x;
        sum[i] = sum[i] * shrink + add;
#pragma unroll
        for (int c = 0; c < S::D / 64; c++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[i][c][e] *= shrink;
    }
}

// o += p v, columns below d.
template <class S>
static __device__ __forceinline__ void add_values(float (&o)[S::R][S::D / 64][4], const float *p, const float *v,
                                                  int d) {
    p += (int)threadIdx.x / 16 * S::LP;
    v += (int)threadIdx.x % 16 * 4;
    for (int j = 0; j < S::KN; j += 4) {
        hy_vec<float> w[S::R];
#pragma unroll
        for (int i = 0; i < S::R; i++) w[i].load(p + i * 8 * S::LP + j);
#pragma unroll
        for (int u = 0; u < 4; u++)
#pragma unroll
            for (int c = 0; c < S::D / 64; c++) {
                if (c * 64 >= d) break;
                hy_vec<float> x;
                x.load(v + (j + u) * S::LD + c * 64);
#pragma unroll
                for (int i = 0; i < S::R; i++)
#pragma unroll
                    for (int e = 0; e < 4; e++) o[i][c][e] += w[i].v[u] * x.v[e];
            }
    }
}

template <class S>
static __device__ __forceinline__ void finish_rows(const hy_attention_args &a, const hy_attn_block &blk,
                                                   const float (&o)[S::R][S::D / 64][4], const float (&top)[S::R],
                                                   const float (&sum)[S::R]) {
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < S::R; i++) {
        const int r = ty + 8 * i;
        const float l = half_warp_sum(sum[i]), inv = 1.0f / l;
        if (r >= blk.rows) continue;
        if (tx == 0) hy_attn_save(a, blk, blk.t0 + r, top[i], l);
        float *out = (float *)a.o + ((size_t)blk.b * a.T + blk.t0 + r) * a.ldo + (size_t)blk.h * a.d_v;
#pragma unroll
        for (int c = 0; c < S::D / 64; c++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (c * 64 + tx * 4 + e < a.d_v) out[c * 64 + tx * 4 + e] = o[i][c][e] * inv;
    }
}

template <class S> static __global__ void __launch_bounds__(THREADS) attend_ffma(const hy_attention_args a) {
    HY_SHARED(float, sq);
    float *const sk = sq + S::QN * S::LD, *const sv = sk + S::KN * S::LD, *const sp = sv + S::KN * S::LD;
    const hy_attn_block blk = hy_attn_block_of(a, S::QN);
    hy_attn_clear<float>(a, blk, S::QN);
    if (blk.rows <= 0) return;
    const int q0 = blk.pos + blk.t0, q1 = q0 + blk.rows - 1;
    const hy_attn_keys keys = hy_attn_keys_of(q0, q1, a.window, a.meta);
    const hy_attn_rows<float> krows = hy_attn_key_rows<float>(a, blk.b, blk.kvh),
                              vrows = hy_attn_value_rows<float>(a, blk.b, blk.kvh);
    const float *q = (const float *)a.q + ((size_t)blk.b * a.T + blk.t0) * a.ldq + (size_t)blk.h * a.d_qk;
    hy_attn_stage<float, S::D, S::QN, THREADS>(sq, a.d_qk, hy_wide<float>(a.q, a.ldq) && a.d_qk % 4 == 0,
                                               [&](int r) { return r < blk.rows ? q + (size_t)r * a.ldq : nullptr; });
    hy_attn_stage_keys<float, S::D, S::KN, THREADS>(sk, krows, keys, 0);
    hy_copy_commit();
    float o[S::R][S::D / 64][4], top[S::R], sum[S::R];
#pragma unroll
    for (int i = 0; i < S::R; i++) {
        top[i] = -INFINITY, sum[i] = 0.0f;
#pragma unroll
        for (int c = 0; c < S::D / 64; c++) o[i][c][0] = o[i][c][1] = o[i][c][2] = o[i][c][3] = 0.0f;
    }
    for (int j0 = 0; j0 < keys.n; j0 += S::KN) {
        const int j1 = min(j0 + S::KN, keys.n);
        const bool masked = j1 < j0 + S::KN || !hy_attn_sees_all(keys, j0, j1, q0, q1, a.window, a.meta);
        float s[S::R][S::KN / 16];
        hy_copy_wait<0>();
        __syncthreads();  // the keys are there, and nobody needs the values before any more
        hy_attn_stage_keys<float, S::D, S::KN, THREADS>(sv, vrows, keys, j0);
        hy_copy_commit();
        scores<S>(s, sq, sk, a.d_qk);
        hy_copy_wait<0>();
        __syncthreads();  // the values are there, and nobody needs these keys any more
        if (j0 + S::KN < keys.n) hy_attn_stage_keys<float, S::D, S::KN, THREADS>(sk, krows, keys, j0 + S::KN);
        hy_copy_commit();
        weigh<S>(s, o, top, sum, sp, keys, j0, q0, masked, a);
        __syncwarp();  // a row's weights stay within its half of a warp
        add_values<S>(o, sp, sv, a.d_v);
        __syncwarp();
    }
    finish_rows<S>(a, blk, o, top, sum);
}

template <class S> static hy_status run_ffma(const hy_attention_args *a) {
    const size_t blocks = (size_t)a->B * a->heads * hy_ceil_div(a->T, S::QN);
    HY_LAUNCH((attend_ffma<S>), (unsigned)blocks, THREADS, S::bytes, *a);
    return HY_OK;
}
hy_status hy_attn_ffma(const hy_attention_args *a) {
    const int d = a->d_qk > a->d_v ? a->d_qk : a->d_v;
    if (d <= 64) return run_ffma<ffma_shape<64, 8, 32>>(a);
    if (d <= 128) return run_ffma<ffma_shape<128, 8, 32>>(a);
    return run_ffma<ffma_shape<256, 4, 16>>(a);
}
