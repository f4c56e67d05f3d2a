// blas.h - products of large row-major matrices: cuBLAS, loaded when the backend opens (a binary starts without it). In
// the emulation a plain kernel behind the same calls. Everything goes to the stream of the backend and can be recorded;
// one stream and a workspace of its own make the bits the same from run to run. They may depend on all three sizes, M
// too.
#ifndef HY_CUDA_BLAS_H
#define HY_CUDA_BLAS_H
#include "kernels/cuda/cuda.h"

// c [M,N] = op(a) op(b), or += with `add`. a [M,K] or, with trans_a, [K,M]; b [K,N] or, with trans_b, [N,K]. Factors
// are both of type `in`, HY_F32 or HY_BF16; c is of type `out`, and HY_BF16 only when `in` is. Sums are float32 and
// rounded once. Any ld* that holds a row; sizes of 0 do nothing.
typedef struct {
    int M, N, K;
    bool trans_a, trans_b, add;
    hy_dtype in, out;
    const void *a, *b;
    void *c;
    int lda, ldb, ldc;
} hy_blas_args;
hy_status hy_blas_run(const char *op, const hy_blas_args *p, hy_math math);

// Loads the library and gives it the stream and its workspace. HY_EINPUT says what to install.
hy_status hy_blas_open(const hy_cuda_device *d);
// "cuBLAS 13.1.0"; false: it is not to be found, and the line says what to install.
bool hy_blas_describe(char *line, size_t n);
#endif
