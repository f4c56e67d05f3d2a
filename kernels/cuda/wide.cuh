// wide.cuh - eight neighbouring elements of a row at once, as float: 16 or 32 bytes, or one by one where rows do not allow it.
#ifndef HY_CUDA_WIDE_CUH
#define HY_CUDA_WIDE_CUH
#include "kernels/cuda/device.cuh"

static __device__ __forceinline__ void hy_load8(const float *p, float v[8]) {
    const float4 a = *(const float4 *)p, b = *(const float4 *)(p + 4);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
static __device__ __forceinline__ void hy_load8(const hy_bf16 *p, float v[8]) {
    const uint4 q = *(const uint4 *)p;
    const uint32_t u[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[2 * i] = __uint_as_float(u[i] << 16);
        v[2 * i + 1] = __uint_as_float(u[i] & 0xffff0000u);
    }
}
static __device__ __forceinline__ void hy_store8(float *p, const float v[8]) {
    *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]);
    *(float4 *)(p + 4) = make_float4(v[4], v[5], v[6], v[7]);
}
static __device__ __forceinline__ void hy_store8(hy_bf16 *p, const float v[8]) {
    hy_vec<hy_bf16> q;
#pragma unroll
    for (int i = 0; i < 8; i++) q.v[i] = hy_from_float<hy_bf16>(v[i]);
    q.store(p);
}
// Elements k .. k+7 of a row of K; those beyond it are 0. WIDE: the row is aligned to 16 bytes, K and k to 8.
template <bool WIDE, class T> static __device__ __forceinline__ void hy_load8_of(const T *row, int k, int K, float v[8]) {
    if (WIDE && k < K) {
        hy_load8(row + k, v);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = !WIDE && k + i < K ? hy_load(row + k + i) : 0.0f;
    }
}
template <bool WIDE, class T> static __device__ __forceinline__ void hy_store8_of(T *row, int k, int K, const float v[8]) {
    if (WIDE) {
        if (k < K) hy_store8(row + k, v);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (k + i < K) hy_store(row + k + i, v[i]);
    }
}

// Threads for rows of C elements, eight a thread: block x along the row, y over rows; 256 in all.
static inline dim3 hy_wide_block(int C) {
    int x = 1;
    while (x < 256 && x * 8 < C) x *= 2;
    return dim3((unsigned)x, (unsigned)(256 / x));
}
#endif
