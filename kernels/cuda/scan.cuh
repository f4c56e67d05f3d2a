// scan.cuh - what the forward and the backward of the selective scan on the GPU share: who holds which state, the
// exponential, softplus, sums over the lanes of a warp, and where saved values lie. Nothing here is a kernel.
//
// The states are taken in blocks of 16, one launch a block; lacking states are zeros and stay so. A lane of a warp
// holds C neighbouring channels times 4 states in registers and walks through time; four lanes ("quad") make the 16
// states of their channels, eight quads make the 8 C channels of a warp. Which bits of a lane are what follows from
// shared memory: a 16-byte load costs half where the lanes n and n ^ 1, or n and n ^ 2, read the same. B and C depend
// on the part of the quad, operands on the quad: so bit 0 is of the quad, bits 1 and 2 are the part, bits 3 and 4 of
// the quad again.
#ifndef HY_SCAN_CUH
#define HY_SCAN_CUH
#include "kernels/cuda/device.cuh"

#define HY_SCAN_BLOCK 16  // states of a launch
#define HY_SCAN_SAVE 16   // tokens between saved states: 4 bytes for each channel and token
#define HY_SCAN_WARPS 4   // of a block
#define HY_SCAN_THREADS 128
#define HY_SCAN_LOG2E 1.44269504088896341f
#define HY_SCAN_LN2 0.69314718055994531f
// How many of a lane's 4 states take their exponential from the FMA units instead of the special function unit.
// Counted: that unit needs 8 cycles a warp, its issue slot 1, the polynomial 14 slots, and both kernels are already as
// close to the limit of issue as to that of the unit (see their heads): none.
#ifndef HY_SCAN_FMA_EXP
    #define HY_SCAN_FMA_EXP 0
#endif

// ---------------------------------------------------------------------------------------------------- who holds what
struct hy_scan_lane {
    int part, quad;  // 0..3: states 4 part .. 4 part + 3; 0..7: channels C quad .. of the warp
};
static __device__ __forceinline__ hy_scan_lane hy_scan_me() {
    const int lane = threadIdx.x % 32;
    return {lane >> 1 & 3, (lane & 1) | (lane >> 2 & 6)};
}
// Every lane of the quad comes with 4 values; that of part p leaves with the sum of value p over the quad. The order of
// the sum is the same for all values: (p, p ^ 2) and (p ^ 1, p ^ 3), then both.
static __device__ __forceinline__ float hy_scan_quad_sum(const float v[4], int part) {
    const bool hi = part & 2, odd = part & 1;
    float a = hi ? v[2] : v[0], b = hi ? v[3] : v[1];
    a += __shfl_xor_sync(0xffffffffu, hi ? v[0] : v[2], 4);
    b += __shfl_xor_sync(0xffffffffu, hi ? v[1] : v[3], 4);
    return (odd ? b : a) + __shfl_xor_sync(0xffffffffu, odd ? a : b, 2);
}
// Every quad comes with 8 values; quad q leaves with the sum of value q over the quads, part by part.
static __device__ __forceinline__ float hy_scan_quads_sum(const float v[8], int quad) {
    const bool b2 = quad & 4, b1 = quad & 2, b0 = quad & 1;
    float w[4], x[2];
#pragma unroll
    for (int i = 0; i < 4; i++) w[i] = (b2 ? v[i + 4] : v[i]) + __shfl_xor_sync(0xffffffffu, b2 ? v[i] : v[i + 4], 16);
#pragma unroll
    for (int i = 0; i < 2; i++) x[i] = (b1 ? w[i + 2] : w[i]) + __shfl_xor_sync(0xffffffffu, b1 ? w[i] : w[i + 2], 8);
    return (b0 ? x[1] : x[0]) + __shfl_xor_sync(0xffffffffu, b0 ? x[0] : x[1], 1);
}

// ---------------------------------------------------------------------------------------------------- mathematics
// 2^x for x <= 0 with additions and multiplications alone: x = k + f, |f| <= 1/2, 2^f by a polynomial (its own error
// 2e-8), k goes to the exponent. Below -126 the result is 0; NaN stays NaN.
static __device__ __forceinline__ float hy_scan_exp2_fma(float x) {
    const float shifted = x + 12582912.0f, f = x - (shifted - 12582912.0f);
    float p = 1.546144485e-04f;
    p = fmaf(p, f, 1.340042800e-03f);
    p = fmaf(p, f, 9.618056938e-03f);
    p = fmaf(p, f, 5.550327152e-02f);
    p = fmaf(p, f, 2.402265072e-01f);
    p = fmaf(p, f, 6.931471825e-01f);
    p = fmaf(p, f, 1.0f);
    const float y = __uint_as_float(__float_as_uint(p) + (__float_as_uint(shifted) << 23));
    return x >= -126.0f ? y : x < -126.0f ? 0.0f : x;
}
// The decay of a lane's state s: 2^(delta A2), A2 = A log2(e).
static __device__ __forceinline__ float hy_scan_decay(int s, float x) {
    return s < HY_SCAN_FMA_EXP ? hy_scan_exp2_fma(x) : hy_exp2(x);
}
// A log2(e) of A_log. Above 80 every decay is 0 already; the limit keeps delta A finite.
static __device__ __forceinline__ float hy_scan_rate(float A_log) { return -expf(fminf(A_log, 80.0f)) * HY_SCAN_LOG2E; }

// 1 / x, within an ulp or two; 0 above 2^126.
static __device__ __forceinline__ float hy_scan_inverse(float x) {
#ifdef HY_CUDA_EMU
    return 1.0f / x;
#else
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}
static __device__ __forceinline__ float hy_scan_exp_abs(float z) { return hy_exp2(-fabsf(z) * HY_SCAN_LOG2E); }
// softplus(z) = max(z, 0) + log(1 + e), e = exp(-|z|); log(1 + e) = 2 artanh(s), s = e / (2 + e) <= 1/3, as an odd
// polynomial of s (its own error 1e-8, relative, for tiny e too). NaN stays NaN by e.
static __device__ __forceinline__ float hy_scan_softplus(float z, float e) {
    const float s = e * hy_scan_inverse(2.0f + e), t = s * s;
    float p = 2.815777957e-01f;
    p = fmaf(p, t, 2.796515822e-01f);
    p = fmaf(p, t, 4.002459645e-01f);
    p = fmaf(p, t, 6.666632295e-01f);
    p = fmaf(p, t, 2.0f);
    return fmaf(p, s, fmaxf(z, 0.0f));
}
static __device__ __forceinline__ float hy_scan_sigmoid(float z, float e) {
    return (z > 0.0f ? 1.0f : e) * hy_scan_inverse(1.0f + e);
}
static __device__ __forceinline__ float hy_scan_silu(float g) {
    return g * hy_scan_inverse(1.0f + hy_exp2(-g * HY_SCAN_LOG2E));
}

// ---------------------------------------------------------------------------------------------------- loads
// An element some bytes after a row that is the same for all lanes: one addition an address where an index would take
// four. A plan sees to it that 16 rows are less than 2^32 bytes.
#define HY_SCAN_LD_MAX (1 << 24)
template <class T> static __device__ __forceinline__ T &hy_scan_at(T *row, unsigned bytes) {
    return *(T *)((char *)row + bytes);
}
template <class T> static __device__ __forceinline__ const T &hy_scan_at(const T *row, unsigned bytes) {
    return *(const T *)((const char *)row + bytes);
}
// 4 of the n values at p from index i on, zeros behind the end.
static __device__ __forceinline__ float4 hy_scan_get4(const float *p, int i, int n) {
    if (n % 4 == 0 && (uintptr_t)p % 16 == 0) return i < n ? *(const float4 *)(p + i) : make_float4(0, 0, 0, 0);
    return make_float4(i < n ? p[i] : 0, i + 1 < n ? p[i + 1] : 0, i + 2 < n ? p[i + 2] : 0, i + 3 < n ? p[i + 3] : 0);
}
static __device__ __forceinline__ void hy_scan_put4(float *p, int i, int n, float4 v) {
    if (n % 4 == 0 && (uintptr_t)p % 16 == 0) {
        if (i < n) *(float4 *)(p + i) = v;
        return;
    }
    if (i < n) p[i] = v.x;
    if (i + 1 < n) p[i + 1] = v.y;
    if (i + 2 < n) p[i + 2] = v.z;
    if (i + 3 < n) p[i + 3] = v.w;
}
// The rates of states i .. i+3 of a channel; states that do not exist stay 0 for any rate.
static __device__ __forceinline__ void hy_scan_rates(const hy_scan_args &a, int d, int i, float A2[4]) {
    const float4 v = hy_scan_get4((const float *)a.A_log + (size_t)d * a.N, i, a.N);
    A2[0] = hy_scan_rate(v.x), A2[1] = hy_scan_rate(v.y), A2[2] = hy_scan_rate(v.z), A2[3] = hy_scan_rate(v.w);
}
// C values, C in {1, 2, 4}, from shared memory.
template <int C> static __device__ __forceinline__ void hy_scan_row(const float *p, float v[C]) {
    if constexpr (C == 4) {
        const float4 w = *(const float4 *)p;
        v[0] = w.x, v[1] = w.y, v[2] = w.z, v[3] = w.w;
    } else if constexpr (C == 2) {
        const float2 w = *(const float2 *)p;
        v[0] = w.x, v[1] = w.y;
    } else {
        v[0] = *p;
    }
}
static __device__ __forceinline__ int hy_scan_len(const hy_scan_args &a, int b) {
    const int n = a.len ? a.len[b] : a.T;
    return n < a.T ? n : a.T;
}

// ---------------------------------------------------------------------------------------------------- what is saved
// States before tokens 0, 16, 32 ...: [B, chunks, blocks, D, 16] float32; then, with a gate, y before the gate: [B*T,
// D] of type T.
static __host__ __device__ __forceinline__ int hy_scan_chunks(int T) { return (T + HY_SCAN_SAVE - 1) / HY_SCAN_SAVE; }
static __host__ __device__ __forceinline__ int hy_scan_blocks(int N) { return (N + HY_SCAN_BLOCK - 1) / HY_SCAN_BLOCK; }
static __host__ __device__ __forceinline__ size_t hy_scan_saved_states(const hy_scan_args &a) {
    return (size_t)a.B * hy_scan_chunks(a.T) * hy_scan_blocks(a.N) * a.D * HY_SCAN_BLOCK;
}
static __device__ __forceinline__ float *hy_scan_saved(const hy_scan_args &a, int b, int chunk, int block, int d) {
    return (float *)a.saved +
           ((((size_t)b * hy_scan_chunks(a.T) + chunk) * hy_scan_blocks(a.N) + block) * a.D + d) * HY_SCAN_BLOCK;
}
template <class T> static __device__ __forceinline__ T *hy_scan_saved_y(const hy_scan_args &a) {
    return (T *)((float *)a.saved + hy_scan_saved_states(a));
}

hy_status hy_scan_check(const char *op, const hy_scan_args *a, const hy_plan_req *req);
#endif
