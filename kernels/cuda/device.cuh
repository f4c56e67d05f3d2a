// device.cuh - what kernels share: element types and wide loads, reductions over a warp and a block in a fixed order,
// the few functions of mathematics. Nothing here knows an op. Products on tensor cores and asynchronous copies are in
// mma.cuh.
#ifndef HY_DEVICE_CUH
#define HY_DEVICE_CUH
#include "kernels/cuda/cuda.h"

// ---------------------------------------------------------------------------------------------------- element types
struct hy_bf16 {
    uint16_t bits;
};
static __device__ __forceinline__ float hy_to_float(float x) { return x; }
static __device__ __forceinline__ float hy_to_float(hy_bf16 x) { return __uint_as_float((uint32_t)x.bits << 16); }
template <class T> static __device__ __forceinline__ T hy_from_float(float x);
template <> __device__ __forceinline__ float hy_from_float<float>(float x) { return x; }
template <>
__device__ __forceinline__ hy_bf16 hy_from_float<hy_bf16>(float x) {  // to nearest, ties to even; NaN stays NaN
#ifdef HY_CUDA_EMU
    return hy_bf16{hy_bf16_from_f32(x)};
#else
    return hy_bf16{__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#endif
}
template <class T> static __device__ __forceinline__ float hy_load(const T *p) { return hy_to_float(*p); }
template <class T> static __device__ __forceinline__ void hy_store(T *p, float x) { *p = hy_from_float<T>(x); }
// A weight of a matrix with a w_dtype.
static __device__ __forceinline__ float hy_weight(const void *w, hy_dtype w_dtype, size_t i) {
    return w_dtype == HY_BF16 ? hy_to_float(((const hy_bf16 *)w)[i]) : ((const float *)w)[i];
}

// 16 bytes of T at once: 4 floats or 8 bfloat16. p must be 16-byte aligned: a plan or the caller checks (hy_wide).
template <class T> struct hy_vec {
    static constexpr int n = 16 / (int)sizeof(T);
    alignas(16) T v[n];
    __device__ __forceinline__ void load(const T *p) { *(uint4 *)v = *(const uint4 *)p; }
    __device__ __forceinline__ void store(T *p) const { *(uint4 *)p = *(const uint4 *)v; }
};
// Whether rows of ld elements from p can be read in pieces of 16 bytes.
template <class T> static __host__ __device__ __forceinline__ bool hy_wide(const void *p, long ld) {
    return ((uintptr_t)p % 16 == 0) && (ld * (long)sizeof(T)) % 16 == 0;
}

// ---------------------------------------------------------------------------------------------------- reductions
// All lanes get the result; the order is a fixed tree.
static __device__ __forceinline__ float hy_warp_sum(float x) {
    for (int d = 16; d; d >>= 1) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}
static __device__ __forceinline__ double hy_warp_sum(double x) {
    for (int d = 16; d; d >>= 1) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}
static __device__ __forceinline__ float hy_warp_max(float x) {
    for (int d = 16; d; d >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}
// Over a block of whole warps (1-dimensional, at most 1024 threads): all threads call it and get the result. scratch:
// 32 elements of shared memory, free again when it returns.
template <class R> static __device__ __forceinline__ R hy_block_sum(R x, R *scratch) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    x = hy_warp_sum(x);
    if (warps == 1) return x;
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = hy_warp_sum(lane < warps ? scratch[lane] : R(0));
    __syncthreads();
    return x;
}

// ---------------------------------------------------------------------------------------------------- mathematics
// 2^x by the unit that does nothing else: relative error about 2^-22, results below the smallest normal number become
// 0.
static __device__ __forceinline__ float hy_exp2(float x) {
#ifdef HY_CUDA_EMU
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}
static __device__ __forceinline__ float hy_sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }
static __device__ __forceinline__ float hy_silu(float x) { return x * hy_sigmoid(x); }
static __device__ __forceinline__ float hy_silu_grad(float x) {
    const float s = hy_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}
// log(1 + e^x); above 20 the two are the same float.
static __device__ __forceinline__ float hy_softplus(float x) { return x > 20.0f ? x : log1pf(__expf(x)); }
#endif
