// wide.cuh - eight neighbouring elements of a row at once, as float: 16 or 32 bytes, or one by one where rows do not
// allow it.
#ifndef HY_CUDA_WIDE_CUH
#define HY_CUDA_WIDE_CUH
#include "kernels/cuda/rows.cuh"

template <class T> static __device__ __forceinline__ void hy_load8(const T *p, float v[8]) {
    hy_piece<T, 8> q;
    q.load(p);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = q[i];
}
template <class T> static __device__ __forceinline__ void hy_store8(T *p, const float v[8]) {
    hy_piece<T, 8> q;
#pragma unroll
    for (int i = 0; i < 8; i++) q.set(i, v[i]);
    q.store(p);
}
// Elements k .. k+7 of a row of K; those beyond it are 0. WIDE: the row is aligned to 16 bytes, K and k to 8.
template <bool WIDE, class T>
static __device__ __forceinline__ void hy_load8_of(const T *row, int k, int K, float v[8]) {
    if (WIDE && k < K) {
        hy_load8(row + k, v);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = !WIDE && k + i < K ? hy_load(row + k + i) : 0.0f;
    }
}
template <bool WIDE, class T>
static __device__ __forceinline__ void hy_store8_of(T *row, int k, int K, const float v[8]) {
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
