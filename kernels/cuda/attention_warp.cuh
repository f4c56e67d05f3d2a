// attention_warp.cuh - the two products of attention's backward, as a warp makes them out of tiles in shared memory:
// scores of its own rows against SUB rows of a stream, and sums over those rows. Once on tensor cores (bfloat16 and
// TF32), once as float32 multiply-adds. No masks, no loads from global memory.
//
// A class of products P has
//   P::type, P::rounds           element type of tiles; whether they hold float32 that is to be rounded to TF32 first
//   P::run                       how many elements after another of a sum lie in one thread, side by side in a row
//   P::row<N>(e), P::col<N>(e)   where element e of a thread's part of the scores [16 MI, N] lies
//   P::sum_row<N>(e), sum_col    the same for sums [16 MI, N]
//   P::scores<MI, SUB, D>(s, own, stream)         s [16 MI, SUB] += own [16 MI, D] stream [SUB, D]^T
//   P::add<MI, SUB, D>(sum, s, stream, scratch)   sum [16 MI, D] += s [16 MI, SUB] stream [SUB, D]
//   P::scratch(SUB)              floats of shared memory that `add` needs for each warp
// Tiles have rows of hy_attn_ld<type>(D) elements. All lanes of a warp make the calls together.
#ifndef HY_ATTN_WARP_CUH
#define HY_ATTN_WARP_CUH
#include "kernels/cuda/attention.cuh"

// Tensor cores. Scores leave the first product laid out as the second one takes its first factor, so they stay in
// registers.
template <class T> struct attn_mma {
    typedef T type;
    static constexpr bool rounds = sizeof(T) == 4;
    static constexpr int run = 2;
    static __host__ __device__ constexpr int scratch(int) { return 0; }
    template <int N> static __device__ __forceinline__ int row(int e) {
        return e / (N / 2) * 16 + (int)threadIdx.x % 32 / 4 + e / 2 % 2 * 8;
    }
    template <int N> static __device__ __forceinline__ int col(int e) {
        return e % (N / 2) / 4 * 8 + (int)threadIdx.x % 4 * 2 + e % 2;
    }
    template <int N> static __device__ __forceinline__ int sum_row(int e) { return row<N>(e); }
    template <int N> static __device__ __forceinline__ int sum_col(int e) { return col<N>(e); }

    static __device__ __forceinline__ void product(float d[4], const uint32_t a[4], const uint32_t b[2]) {
        if constexpr (rounds)
            hy_mma_tf32(d, a, b);
        else
            hy_mma_bf16(d, a, b);
    }
    // 16-byte pieces of a row are what ldmatrix moves; as 4 words they are the factors of TF32 too.
    template <int MI, int SUB, int D>
    static __device__ __forceinline__ void scores(float (&s)[MI * SUB / 2], const T *own, const T *stream) {
        constexpr int LD = hy_attn_ld<T>(D), PIECE = 16 / (int)sizeof(T), STEP = 2 * PIECE;
        const int lane = threadIdx.x % 32;
        const T *a_at = own + lane % 16 * LD + lane / 16 * PIECE;
        const T *b_at = stream + (lane / 16 * 8 + lane % 8) * LD + lane / 8 % 2 * PIECE;
#pragma unroll(MI == 2 ? 1 : 4)  // with more, two rows of pieces spill
        for (int k = 0; k < D; k += STEP) {
            uint32_t a[MI][4];
#pragma unroll
            for (int i = 0; i < MI; i++) hy_ldmatrix4(a[i], a_at + i * 16 * LD + k);
#pragma unroll
            for (int n = 0; n < SUB; n += 16) {
                uint32_t b[4];
                hy_ldmatrix4(b, b_at + n * LD + k);
#pragma unroll
                for (int i = 0; i < MI; i++) {
                    product(s + i * SUB / 2 + n / 2, a[i], b);
                    product(s + i * SUB / 2 + n / 2 + 4, a[i], b + 2);
                }
            }
        }
    }
    template <int MI, int SUB, int D>
    static __device__ __forceinline__ void add(float (&sum)[MI * D / 2], const float (&s)[MI * SUB / 2],
                                               const T *stream, float *) {
        constexpr int LD = hy_attn_ld<T>(D);
        const int lane = threadIdx.x % 32;
        if constexpr (rounds) {
            // inside each eight rows of the stream, index t of the product is row 2t and t+4 is row 2t+1, as the scores
            // lie
            const T *b_at = stream + lane % 4 * 2 * LD + lane / 4;
#pragma unroll
            for (int k = 0; k < SUB; k += 8) {
                uint32_t a[MI][4];
#pragma unroll
                for (int i = 0; i < MI; i++) {
                    const float *p = s + i * SUB / 2 + k / 2;
                    a[i][0] = hy_tf32(p[0]), a[i][1] = hy_tf32(p[2]), a[i][2] = hy_tf32(p[1]), a[i][3] = hy_tf32(p[3]);
                }
#pragma unroll
                for (int n = 0; n < D; n += 8) {
                    const uint32_t b[2] = {__float_as_uint(b_at[k * LD + n]), __float_as_uint(b_at[(k + 1) * LD + n])};
#pragma unroll
                    for (int i = 0; i < MI; i++) product(sum + i * D / 2 + n / 2, a[i], b);
                }
            }
        } else {
            const T *b_at = stream + lane % 16 * LD + lane / 16 * 8;
#pragma unroll
            for (int k = 0; k < SUB; k += 16) {
                uint32_t a[MI][4];
#pragma unroll
                for (int i = 0; i < MI; i++) {
                    const float *p = s + i * SUB / 2 + k / 2;
#pragma unroll
                    for (int j = 0; j < 4; j++) a[i][j] = hy_pack_bf16(p[2 * j], p[2 * j + 1]);
                }
#pragma unroll
                for (int n = 0; n < D; n += 16) {
                    uint32_t b[4];
                    hy_ldmatrix4_trans(b, b_at + k * LD + n);
#pragma unroll
                    for (int i = 0; i < MI; i++) {
                        product(sum + i * D / 2 + n / 2, a[i], b);
                        product(sum + i * D / 2 + n / 2 + 4, a[i], b + 2);
                    }
                }
            }
        }
    }
};

// float32. A thread has rows lane / 8 + 4 i, of the scores columns lane % 8 + 8 j, of the sums four columns from 4
// (lane % 8) + 32 j.
struct attn_fma {
    typedef float type;
    static constexpr bool rounds = false;
    static constexpr int run = 4;
    static __host__ __device__ constexpr int scratch(int sub) { return 16 * (sub + 4); }
    template <int N> static __device__ __forceinline__ int row(int e) {
        return (int)threadIdx.x % 32 / 8 + e / (N / 8) * 4;
    }
    template <int N> static __device__ __forceinline__ int col(int e) { return (int)threadIdx.x % 8 + e % (N / 8) * 8; }
    template <int N> static __device__ __forceinline__ int sum_row(int e) { return row<N>(e); }
    template <int N> static __device__ __forceinline__ int sum_col(int e) {
        return (int)threadIdx.x % 8 * 4 + e % (N / 8) / 4 * 32 + e % 4;
    }

    template <int MI, int SUB, int D>
    static __device__ __forceinline__ void scores(float (&s)[MI * SUB / 2], const float *own, const float *stream) {
        static_assert(MI == 1, "16 rows a warp");
        constexpr int LD = hy_attn_ld<float>(D), COLS = SUB / 8;
        const float *a_at = own + (int)threadIdx.x % 32 / 8 * LD, *b_at = stream + (int)threadIdx.x % 8 * LD;
#pragma unroll 1
        for (int k = 0; k < D; k += 4) {
            float4 b[COLS];
#pragma unroll
            for (int j = 0; j < COLS; j++) b[j] = *(const float4 *)(b_at + 8 * j * LD + k);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float4 a = *(const float4 *)(a_at + 4 * i * LD + k);
#pragma unroll
                for (int j = 0; j < COLS; j++) {
                    float &x = s[i * COLS + j];
                    x = fmaf(a.w, b[j].w, fmaf(a.z, b[j].z, fmaf(a.y, b[j].y, fmaf(a.x, b[j].x, x))));
                }
            }
        }
    }
    template <int MI, int SUB, int D>
    static __device__ __forceinline__ void add(float (&sum)[MI * D / 2], const float (&s)[MI * SUB / 2],
                                               const float *stream, float *scratch) {
        constexpr int LD = hy_attn_ld<float>(D), LDS = SUB + 4, COLS = SUB / 8;
        const int r0 = (int)threadIdx.x % 32 / 8, c0 = (int)threadIdx.x % 8;
        __syncwarp();  // others may still read what the last call wrote
#pragma unroll
        for (int e = 0; e < SUB / 2; e++) scratch[(r0 + e / COLS * 4) * LDS + c0 + e % COLS * 8] = s[e];
        __syncwarp();
#pragma unroll 1
        for (int k = 0; k < SUB; k += 4) {
            float4 a[4];
#pragma unroll
            for (int i = 0; i < 4; i++) a[i] = *(const float4 *)(scratch + (r0 + 4 * i) * LDS + k);
#pragma unroll
            for (int kk = 0; kk < 4; kk++)
#pragma unroll
                for (int j = 0; j < D / 32; j++) {
                    const float4 b = *(const float4 *)(stream + (k + kk) * LD + 4 * c0 + 32 * j);
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        float *x = sum + (i * (D / 32) + j) * 4;
                        const float p = kk == 0 ? a[i].x : kk == 1 ? a[i].y : kk == 2 ? a[i].z : a[i].w;
                        x[0] = fmaf(p, b.x, x[0]), x[1] = fmaf(p, b.y, x[1]), x[2] = fmaf(p, b.z, x[2]),
                        x[3] = fmaf(p, b.w, x[3]);
                    }
                }
        }
    }
};
#endif
