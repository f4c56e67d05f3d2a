// gemm.h - float32 matrix products on a fixed grid of tiles, each one single-threaded call of the library. The grid, and
// with it every bit of the result, depends on the shape alone and not on the number of threads.
#ifndef HY_GEMM_H
#define HY_GEMM_H
#include "kernels/kernels.h"

// Called on a finished tile while it is in the cache: rows m0 .. m0+m-1, columns n0 .. n0+n-1 of C.
typedef void (*hy_gemm_done)(const void *ctx, int m0, int n0, int m, int n);

// C [M,N] = or += op(A) op(B), row-major, reduction over K. trans_a: A is stored [K,M]; trans_b: B is stored [N,K].
// With trans_b alone (y = x w^T) and at least HY_GEMM_ROWS rows, a row's bits depend on neither M nor its place, as far as
// the library adds up to 384 terms in order (on AVX-512 it does).
typedef struct {
    int M, N, K;
    bool trans_a, trans_b, add;
    const float *a, *b;
    float *c;
    int lda, ldb, ldc;
    hy_gemm_done done;  // or NULL
    const void *ctx;
} hy_gemm_args;
#define HY_GEMM_ROWS 16

// Bytes of scratch that hy_gemm_run needs: the fixed partial sums of a small result with a long reduction.
size_t hy_gemm_workspace(const hy_gemm_args *g);
// Path of a launch that uses the library: "avx512+onednn" and so on.
const char *hy_gemm_path(hy_isa isa);
hy_status hy_gemm_run(const hy_gemm_args *g, float *workspace, int threads);
#endif
