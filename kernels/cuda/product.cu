// product.cu - see product.h: conversion of weights by pieces, and the elementwise passes. The few rows of decoding:
// few_rows.cu.
#include "kernels/cuda/product.h"

#include "kernels/cuda/wide.cuh"

// ---------------------------------------------------------------------------------------------------- kernels
template <class I, class O, bool WIDE>
static __global__ void convert(int rows, int C, const I *__restrict__ x, long ldx, O *__restrict__ y, long ldy) {
    const long r = (long)blockIdx.x * blockDim.y + threadIdx.y;
    if (r >= rows) return;
    for (int c = (int)threadIdx.x * 8; c < C; c += (int)blockDim.x * 8) {
        float v[8];
        hy_load8_of<WIDE>(x + r * ldx, c, C, v);
        hy_store8_of<WIDE>(y + r * ldy, c, C, v);
    }
}

template <class T, bool WIDE>
static __global__ void rows_add(int rows, int C, const T *x, long ldx, const float *__restrict__ bias, T *y, long ldy,
                                bool add) {
    const long r = (long)blockIdx.x * blockDim.y + threadIdx.y;
    if (r >= rows) return;
    for (int c = (int)threadIdx.x * 8; c < C; c += (int)blockDim.x * 8) {
        float s[8] = {}, v[8];
        if (add) hy_load8_of<WIDE>(y + r * ldy, c, C, s);
        if (bias) {
            hy_load8_of<WIDE>(bias, c, C, v);
#pragma unroll
            for (int i = 0; i < 8; i++) s[i] += v[i];
        }
        if (x) {
            hy_load8_of<WIDE>(x + r * ldx, c, C, v);
#pragma unroll
            for (int i = 0; i < 8; i++) s[i] += v[i];
        }
        hy_store8_of<WIDE>(y + r * ldy, c, C, s);
    }
}

// ---------------------------------------------------------------------------------------------------- launches
template <class T>
static hy_status rows_add_as(int rows, int C, const void *x, int ldx, const float *bias, void *y, int ldy, bool add) {
    const bool wide =
        C % 8 == 0 && (!x || hy_wide<T>(x, ldx)) && hy_wide<T>(y, ldy) && (!bias || hy_wide<float>(bias, 0));
    const dim3 block = hy_wide_block(C);
    const int grid = hy_ceil_div(rows, (long)block.y);
    if (wide)
        HY_LAUNCH((rows_add<T, true>), grid, block, 0, rows, C, (const T *)x, (long)ldx, bias, (T *)y, (long)ldy, add);
    else
        HY_LAUNCH((rows_add<T, false>), grid, block, 0, rows, C, (const T *)x, (long)ldx, bias, (T *)y, (long)ldy, add);
    return HY_OK;
}

hy_status hy_rows_add(hy_dtype dtype, int rows, int C, const void *x, int ldx, const float *bias, void *y, int ldy,
                      bool add) {
    if (rows == 0) return HY_OK;
    return (dtype == HY_BF16 ? rows_add_as<hy_bf16> : rows_add_as<float>)(rows, C, x, ldx, bias, y, ldy, add);
}

template <class I, class O> static hy_status convert_as(int rows, int C, const void *x, int ldx, void *y, int ldy) {
    const bool wide = C % 8 == 0 && hy_wide<I>(x, ldx) && hy_wide<O>(y, ldy);
    const dim3 block = hy_wide_block(C);
    const int grid = hy_ceil_div(rows, (long)block.y);
    if (wide)
        HY_LAUNCH((convert<I, O, true>), grid, block, 0, rows, C, (const I *)x, (long)ldx, (O *)y, (long)ldy);
    else
        HY_LAUNCH((convert<I, O, false>), grid, block, 0, rows, C, (const I *)x, (long)ldx, (O *)y, (long)ldy);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- products
// Rows (of `length` elements) of converted weights that are held at once.
static int piece(const hy_weight_product *p, int rows, int length) {
    const size_t most = HY_CUDA_PIECE / ((size_t)length * hy_dtype_size(p->dtype)) / 8 * 8;
    return most < 8 ? (rows < 8 ? rows : 8) : most < (size_t)rows ? (int)most : rows;
}
static bool converts(const hy_weight_product *p) { return hy_weight_dtype(p->w_dtype) != p->dtype; }

size_t hy_weight_product_workspace(const hy_weight_product *p) {
    if (!converts(p)) return 0;
    const size_t forward = (size_t)piece(p, p->N, p->K) * (size_t)p->K,
                 backward = (size_t)piece(p, p->K, p->N) * (size_t)p->N;
    return (forward > backward ? forward : backward) * hy_dtype_size(p->dtype);
}

static hy_status convert_weights(const hy_weight_product *p, int rows, int C, const void *w, void *ws) {
    return (p->dtype == HY_BF16 ? convert_as<float, hy_bf16> : convert_as<hy_bf16, float>)(rows, C, w, p->K, ws, C);
}
static const void *at(const void *p, hy_dtype t, size_t i) { return (const char *)p + i * hy_dtype_size(t); }

hy_status hy_weight_product_forward(const hy_weight_product *p, const void *x, int ldx, void *y, int ldy, hy_dtype out,
                                    bool add, void *ws) {
    hy_blas_args g = {};
    g.M = p->M, g.N = p->N, g.K = p->K, g.trans_b = true, g.add = add, g.in = p->dtype, g.out = out;
    g.a = x, g.lda = ldx, g.b = p->w, g.ldb = p->K, g.c = y, g.ldc = ldy;
    if (!converts(p)) return hy_blas_run(p->op, &g, p->math);
    const int most = piece(p, p->N, p->K);
    for (int n = 0; n < p->N; n += most) {  // some rows of w, the same columns of y
        g.N = p->N - n < most ? p->N - n : most;
        HY_TRY(convert_weights(p, g.N, p->K, at(p->w, hy_weight_dtype(p->w_dtype), (size_t)n * (size_t)p->K), ws));
        g.b = ws, g.c = (void *)at(y, out, (size_t)n);
        HY_TRY(hy_blas_run(p->op, &g, p->math));
    }
    return HY_OK;
}

hy_status hy_weight_product_backward(const hy_weight_product *p, const void *dy, int lddy, void *dx, int lddx, bool add,
                                     void *ws) {
    hy_blas_args g = {};
    g.M = p->M, g.N = p->K, g.K = p->N, g.add = add, g.in = p->dtype, g.out = p->dtype;
    g.a = dy, g.lda = lddy, g.b = p->w, g.ldb = p->K, g.c = dx, g.ldc = lddx;
    if (!converts(p)) return hy_blas_run(p->op, &g, p->math);
    const int most = piece(p, p->K, p->N);
    for (int k = 0; k < p->K; k += most) {  // some columns of w, the same columns of dx: each is rounded once
        g.N = p->K - k < most ? p->K - k : most;
        HY_TRY(convert_weights(p, p->N, g.N, at(p->w, hy_weight_dtype(p->w_dtype), (size_t)k), ws));
        g.b = ws, g.ldb = g.N, g.c = (void *)at(dx, p->dtype, (size_t)k);
        HY_TRY(hy_blas_run(p->op, &g, p->math));
    }
    return HY_OK;
}
