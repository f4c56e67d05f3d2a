// ssd.cuh - what forward and backward of SSD (Mamba-2) share on the GPU: how the work is cut, tiles in shared memory,
// their products, and the steps and decays of a chunk. The mathematics is in kernels.h, its chunked form in ssd.cu and
// ssd_bwd.cu.
#ifndef HY_SSD_CUH
#define HY_SSD_CUH
#include <float.h>

#include "kernels/cuda/mma.cuh"

#define HY_SSD_Q 64                // tokens of a chunk, and the side of a tile: states go in tiles of Q x Q as well
#define HY_SSD_NO_DECAY -100000.0  // 2^this is 0; a limit keeps sums finite
#ifdef HY_CUDA_EMU                 // so that small shapes reach every way of cutting
    #define HY_SSD_BLOCKS 24
    #define HY_SSD_SEGMENT 2
    #define HY_SSD_WAVE_BYTES (64 * 1024)
#else
    #define HY_SSD_BLOCKS 512  // as many fill a GPU: with fewer, a sequence is cut into segments
    #define HY_SSD_SEGMENT 4   // chunks of a segment at least
    #define HY_SSD_WAVE_BYTES ((size_t)256 * 1024 * 1024)  // of states that backward holds; at least one sequence
#endif

// ---------------------------------------------------------------------------------------------------- how work is cut
typedef struct {
    int chunks, segments, segment;  // segment: chunks of one
    int ntiles, ptiles;             // of a state [N,P]
    int N16, P8;                    // N and P up to the next multiple of 16 and 8
} ssd_cut;

static inline ssd_cut ssd_cut_of(const hy_ssd_args *a, int B) {
    ssd_cut c;
    c.chunks = hy_ceil_div(a->T, HY_SSD_Q);
    c.ntiles = hy_ceil_div(a->N, HY_SSD_Q), c.ptiles = hy_ceil_div(a->P, HY_SSD_Q);
    c.N16 = hy_ceil_div(a->N, 16) * 16, c.P8 = hy_ceil_div(a->P, 8) * 8;
    const size_t blocks = (size_t)B * a->H * c.ptiles;
    int want = blocks >= HY_SSD_BLOCKS ? 1 : hy_ceil_div(HY_SSD_BLOCKS, (long)blocks);
    if (want > c.chunks / HY_SSD_SEGMENT) want = c.chunks / HY_SSD_SEGMENT;
    c.segment = hy_ceil_div(c.chunks, want > 1 ? want : 1);
    c.segments = hy_ceil_div(c.chunks, c.segment);
    return c;
}
static __device__ __forceinline__ int ssd_length(const hy_ssd_args &a, int b) { return a.len ? a.len[b] : a.T; }
// Valid tokens of a chunk, and its rows.
static __device__ __forceinline__ int ssd_tokens(int len, int c) { return min(HY_SSD_Q, max(0, len - c * HY_SSD_Q)); }

// ---------------------------------------------------------------------------------------------------- tiles
enum { HY_SSD_F32 = 0, HY_SSD_TF32, HY_SSD_BF16 };
template <int MATH> struct ssd_type_of { typedef float type; };
template <> struct ssd_type_of<HY_SSD_BF16> { typedef hy_bf16 type; };
// A tile is [Q, ssd_ld] elements, 16 bytes between rows more than the values: reads down a column meet different banks.
template <class T> constexpr int ssd_ld = HY_SSD_Q + 16 / (int)sizeof(T);
template <class T> constexpr int ssd_tile = HY_SSD_Q *ssd_ld<T>;
#define HY_SSD_LDF ssd_ld<float>

// tile = src [rows, cols], 0 past them; in the background where rows can be read 16 bytes at a time: ssd_loaded() ends
// it.
template <class T>
static __device__ __forceinline__ void ssd_load(T *tile, const T *src, size_t ld, int rows, int cols) {
    constexpr int V = hy_vec<T>::n, per = HY_SSD_Q / V;
    const bool wide = hy_wide<T>(src, (long)ld);
    for (int v = threadIdx.x; v < HY_SSD_Q * per; v += blockDim.x) {
        const int i = v / per, c = v % per * V;
        T *to = tile + i * ssd_ld<T> + c;
        const bool any = i < rows && c < cols;
        if (wide && (!any || c + V <= cols)) {
            hy_copy16(to, any ? src + i * ld + c : src, any ? 16 : 0);
        } else {
#pragma unroll
            for (int e = 0; e < V; e++) to[e] = i < rows && c + e < cols ? src[i * ld + c + e] : hy_from_float<T>(0);
        }
    }
}
static __device__ __forceinline__ void ssd_loaded() {
    hy_copy_commit();
    hy_copy_wait<0>();
    __syncthreads();
}
// Rows of `to` = rows of `from` times by[row] (times by2[row]); to may be from.
template <class T>
static __device__ __forceinline__ void ssd_scale_rows(T *to, const T *from, const float *by, const float *by2) {
    constexpr int V = hy_vec<T>::n, per = HY_SSD_Q / V;
    for (int v = threadIdx.x; v < HY_SSD_Q * per; v += blockDim.x) {
        const int i = v / per, at = i * ssd_ld<T> + v % per * V;
        const float f = by2 ? by[i] * by2[i] : by[i];
        hy_vec<T> r;
        r.load(from + at);
#pragma unroll
        for (int e = 0; e < V; e++) r.v[e] = hy_from_float<T>(f * hy_to_float(r.v[e]));
        r.store(to + at);
    }
}
// dst [rows, cols] = or += value(i, p).
template <class T, class F>
static __device__ __forceinline__ void ssd_put(T *dst, size_t ld, int rows, int cols, bool add, F value) {
    constexpr int V = hy_vec<T>::n, per = HY_SSD_Q / V;
    const bool wide = hy_wide<T>(dst, (long)ld);
    for (int v = threadIdx.x; v < HY_SSD_Q * per; v += blockDim.x) {
        const int i = v / per, c = v % per * V;
        if (i >= rows || c >= cols) continue;
        T *to = dst + i * ld + c;
        hy_vec<T> r;
        if (wide && c + V <= cols) {
            if (add) r.load(to);
#pragma unroll
            for (int e = 0; e < V; e++) r.v[e] = hy_from_float<T>(value(i, c + e) + (add ? hy_to_float(r.v[e]) : 0));
            r.store(to);
        } else {
#pragma unroll
            for (int e = 0; e < V; e++)
                if (c + e < cols) hy_store(to + e, value(i, c + e) + (add ? hy_load(to + e) : 0));
        }
    }
}
template <class T>
static __device__ __forceinline__ void ssd_clear_rows(T *dst, size_t ld, int from, int rows, int cols) {
    for (int e = threadIdx.x; e < (rows - from) * cols; e += blockDim.x)
        dst[(size_t)(from + e / cols) * ld + e % cols] = hy_from_float<T>(0);
}

// ---------------------------------------------------------------------------------------------------- products
// A warp's part of a product: MI x NJ blocks of [16,8] from row m, column n on; acc[i][j] is laid out as in mma.cuh.
template <int MI, int NJ> struct ssd_acc {
    float v[MI][NJ][4];
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NJ; j++) v[i][j][0] = v[i][j][1] = v[i][j][2] = v[i][j][3] = 0;
    }
    // f(own value, other's value) for each element.
    template <class F> __device__ __forceinline__ void with(const ssd_acc &other, F f) {
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NJ; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) f(v[i][j][e], other.v[i][j][e]);
    }
    // f(value, value, row, column) for each pair of elements of a row: the column is that of the first.
    template <class F> __device__ __forceinline__ void each(int m, int n, F f) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NJ; j++) {
                f(v[i][j][0], v[i][j][1], m + 16 * i + g, n + 8 * j + 2 * t);
                f(v[i][j][2], v[i][j][3], m + 16 * i + g + 8, n + 8 * j + 2 * t);
            }
    }
};

// Two neighbours of a row, the first in an even column.
static __device__ __forceinline__ void ssd_store2(float *to, float v0, float v1) {
    *(float2 *)to = make_float2(v0, v1);
}
static __device__ __forceinline__ void ssd_store2(hy_bf16 *to, float v0, float v1) {
    *(uint32_t *)to = hy_pack_bf16(v0, v1);
}
// A warp's part to its place in a tile.
template <class T, int MI, int NJ>
static __device__ __forceinline__ void ssd_to_tile(T *tile, ssd_acc<MI, NJ> &acc, int m, int n) {
    acc.each(m, n, [&](float v0, float v1, int i, int j) { ssd_store2(tile + i * ssd_ld<T> + j, v0, v1); });
}

// What the tensor cores take from a tile stored [row][k] (or, TR, [k][row]): rows r .. r+15 (A).
template <bool TR>
static __device__ __forceinline__ void ssd_frag_a(uint32_t f[4], const hy_bf16 *A, int ld, int r, int k) {
    const int lane = threadIdx.x % 32, q = lane / 8, e = lane % 8;
    if (TR)
        hy_ldmatrix4_trans(f, A + (k + e + 8 * (q / 2)) * ld + r + 8 * (q % 2));
    else
        hy_ldmatrix4(f, A + (r + e + 8 * (q % 2)) * ld + k + 8 * (q / 2));
}
// Columns c .. c+15 of B, stored [k][column] (or, TR, [column][k]): f[0..1] the first eight, f[2..3] the others.
template <bool TR>
static __device__ __forceinline__ void ssd_frag_b(uint32_t f[4], const hy_bf16 *B, int ld, int c, int k) {
    const int lane = threadIdx.x % 32, q = lane / 8, e = lane % 8;
    if (TR)
        hy_ldmatrix4(f, B + (c + e + 8 * (q / 2)) * ld + k + 8 * (q % 2));
    else
        hy_ldmatrix4_trans(f, B + (k + e + 8 * (q % 2)) * ld + c + 8 * (q / 2));
}
template <bool TR>
static __device__ __forceinline__ void ssd_frag_b(uint32_t f[4], const float *B, int ld, int c, int k) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const float *p = B + (k + 2 * t) * ld + c + g;
    static_assert(!TR, "a float tile is read as bfloat16 only where it is stored [k][column]");
    f[0] = hy_pack_bf16(p[0], p[ld]), f[1] = hy_pack_bf16(p[8 * ld], p[9 * ld]);
    f[2] = hy_pack_bf16(p[8], p[ld + 8]), f[3] = hy_pack_bf16(p[8 * ld + 8], p[9 * ld + 8]);
}

// acc += A B over k < K (a multiple of 16), rows from m, columns from n. A is stored [row][k] or, TA, [k][row]; B
// [k][column] or, TB, [column][k]. All lanes of a warp take part.
template <int MATH, bool TA, bool TB, int MI, int NJ, class EA, class EB>
static __device__ __forceinline__ void ssd_mm(ssd_acc<MI, NJ> &acc, const EA *A, int lda, const EB *B, int ldb, int m,
                                              int n, int K) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    if constexpr (MATH == HY_SSD_BF16) {
#pragma unroll 2
        for (int k = 0; k < K; k += 16) {
            uint32_t a[MI][4], b[NJ / 2][4];
#pragma unroll
            for (int i = 0; i < MI; i++) ssd_frag_a<TA>(a[i], A, lda, m + 16 * i, k);
#pragma unroll
            for (int j = 0; j < NJ / 2; j++) ssd_frag_b<TB>(b[j], B, ldb, n + 16 * j, k);
#pragma unroll
            for (int i = 0; i < MI; i++)
#pragma unroll
                for (int j = 0; j < NJ; j++) hy_mma_bf16(acc.v[i][j], a[i], b[j / 2] + j % 2 * 2);
        }
    } else if constexpr (MATH == HY_SSD_TF32) {
        const auto A_at = [&](int row, int k) { return hy_tf32(TA ? A[k * lda + row] : A[row * lda + k]); };
        const auto B_at = [&](int k, int col) { return hy_tf32(TB ? B[col * ldb + k] : B[k * ldb + col]); };
#pragma unroll 2
        for (int k = 0; k < K; k += 8) {
            uint32_t a[MI][4], b[NJ][2];
#pragma unroll
            for (int i = 0; i < MI; i++) {
                const int r = m + 16 * i + g;
                a[i][0] = A_at(r, k + t), a[i][1] = A_at(r + 8, k + t), a[i][2] = A_at(r, k + t + 4),
                a[i][3] = A_at(r + 8, k + t + 4);
            }
#pragma unroll
            for (int j = 0; j < NJ; j++) b[j][0] = B_at(k + t, n + 8 * j + g), b[j][1] = B_at(k + t + 4, n + 8 * j + g);
#pragma unroll
            for (int i = 0; i < MI; i++)
#pragma unroll
                for (int j = 0; j < NJ; j++) hy_mma_tf32(acc.v[i][j], a[i], b[j]);
        }
    } else {
#pragma unroll 4
        for (int k = 0; k < K; k++) {
            float a[2 * MI], b[2 * NJ];
#pragma unroll
            for (int i = 0; i < 2 * MI; i++) a[i] = TA ? A[k * lda + m + 8 * i + g] : A[(m + 8 * i + g) * lda + k];
#pragma unroll
            for (int j = 0; j < 2 * NJ; j++) {
                const int c = n + 8 * (j / 2) + 2 * t + j % 2;
                b[j] = TB ? B[c * ldb + k] : B[k * ldb + c];
            }
#pragma unroll
            for (int i = 0; i < MI; i++)
#pragma unroll
                for (int j = 0; j < NJ; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        acc.v[i][j][e] = fmaf(a[2 * i + e / 2], b[2 * j + e % 2], acc.v[i][j][e]);
        }
    }
}

// ---------------------------------------------------------------------------------------------------- steps and decays
// Of one head in one chunk. Logarithms to base 2. Decays between two tokens come from differences of sums that are kept
// in two floats: a huge step would take the small ones around it out of one. Past the valid tokens delta and free are
// 0.
struct ssd_steps {
    float delta[HY_SSD_Q], free[HY_SSD_Q];  // free: derivative of delta by dt
    float high[HY_SSD_Q], low[HY_SSD_Q];    // high + low = sum of delta A over tokens 0 .. i
    float from_start[HY_SSD_Q];             // decay of tokens 0 .. i: what the state before the chunk has lost
    float to_end[HY_SSD_Q];                 // decay of tokens i+1 ..
    float all, unused[3];
};
static_assert(sizeof(ssd_steps) % 16 == 0, "tiles come after it");

static __device__ __forceinline__ double ssd_A(const hy_ssd_args &a, int h) {
    const float A_log = ((const float *)a.A_log)[h];
    return -exp((double)(A_log > 80 ? 80.0f : A_log));
}
// delta of a raw step; NaN stays NaN.
static __device__ __forceinline__ float ssd_delta(const hy_ssd_args &a, float z, float *free) {
    const float lo = (float)a.dt_min, hi = a.dt_max != 0 ? (float)a.dt_max : FLT_MAX;
    const float d = (z < 0 ? 0 : z) + log1pf(expf(-fabsf(z)));
    *free = d < lo || d > hi ? 0 : 1 / (1 + expf(-z));
    return d < lo ? lo : d > hi ? hi : d;
}
// n valid tokens from `row` on, head h; one warp, two tokens a lane. The caller synchronises.
template <class T>
static __device__ void ssd_make_steps(const hy_ssd_args &a, double A, size_t row, int n, int h, ssd_steps *s) {
    const int lane = threadIdx.x % 32;
    const float bias = a.dt_bias ? ((const float *)a.dt_bias)[h] : 0;
    double l[2];
    for (int e = 0; e < 2; e++) {
        const int i = 2 * lane + e;
        float d = 0, free = 0;
        if (i < n) d = ssd_delta(a, hy_load((const T *)a.dt + (row + i) * a.lddt + h) + bias, &free);
        s->delta[i] = d, s->free[i] = free;
        l[e] = d * A * 1.4426950408889634;
        if (l[e] < HY_SSD_NO_DECAY) l[e] = HY_SSD_NO_DECAY;
    }
    double sum = l[0] + l[1];
    for (int d = 1; d < 32; d *= 2) {
        const double before = __shfl_up_sync(0xffffffffu, sum, d);
        if (lane >= d) sum += before;
    }
    double before = __shfl_up_sync(0xffffffffu, sum, 1);
    if (lane == 0) before = 0;
    const double total = __shfl_sync(0xffffffffu, sum, 31);
    for (int e = 0; e < 2; e++) {
        const int i = 2 * lane + e;
        const double run = e ? sum : before + l[0];
        const float high = (float)run;
        s->high[i] = high, s->low[i] = (float)(run - high);
        s->from_start[i] = exp2f(high);
        s->to_end[i] = exp2f((float)(total - run));
    }
    if (lane == 0) s->all = exp2f((float)total);
}
// Decay from token j to token i; 0 where j > i. The exponent is never above 0.
static __device__ __forceinline__ float ssd_decay(const ssd_steps *s, int i, int j) {
    const float l = (s->high[i] - s->high[j]) + (s->low[i] - s->low[j]);
    return j > i ? 0 : exp2f(l > 0 ? 0 : l);
}

// ---------------------------------------------------------------------------------------------------- states
// Sums of a segment's own states, decays of whole segments: how a sequence's segments run side by side (ssd.cu).
typedef struct {
    hy_ssd_args a;   // with the sequences of this wave as 0 .. B-1
    const void *dy;  // reverse: gradients of y, rows of lddy
    int lddy;
    ssd_cut cut;
    float
        *starts;  // [B, segments, H, N, P]: what each segment adds, then the state before (reverse: gradient after) it
    float *decays;  // [B, segments, H]
    void *at;  // [B, chunks, H, N, P8] of the activations' type: states before (reverse: gradients after) each chunk
} ssd_states_args;

static inline size_t ssd_starts_floats(const hy_ssd_args *a, int B, const ssd_cut *c) {
    return c->segments > 1 ? (size_t)B * c->segments * a->H * a->N * a->P : 0;
}
static inline size_t ssd_decays_floats(const hy_ssd_args *a, int B, const ssd_cut *c) {
    return c->segments > 1 ? (size_t)B * c->segments * a->H : 0;
}
// Support checks of both plans.
hy_status hy_ssd_cuda_check(const hy_ssd_args *a);
// Fills `starts` (where there are several segments), then `at` if it is there.
template <int MATH> hy_status hy_ssd_cuda_states(const ssd_states_args *s, bool reverse);
#endif
