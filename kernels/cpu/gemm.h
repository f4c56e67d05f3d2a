// gemm.h - matrix products on a fixed grid of tiles, each one single-threaded call of the library. The grid, and with
// it every bit of the result, depends on the shape alone and not on the number of threads. Factors are float32, B may
// be bfloat16 that is widened, or both are bfloat16 where the processor multiplies that.
#ifndef HY_GEMM_H
#define HY_GEMM_H
#include "kernels/ceilings.h"

// Called on a finished tile while it is in the cache: rows m0 .. m0+m-1, columns n0 .. n0+n-1 of C.
typedef void (*hy_gemm_done)(const void *ctx, int m0, int n0, int m, int n);

// Takes a finished tile [m,n] of float32 at t with rows of n values, where it is not written to C.
typedef void (*hy_gemm_take)(const void *ctx, int m0, int n0, int m, int n, float *t);

// Writes rows x cols bfloat16 values as floats.
typedef void (*hy_gemm_widen)(const uint16_t *src, int lds, float *dst, int ldd, int rows, int cols);

// C [M,N] = or += op(A) op(B), row-major, reduction over K. trans_a: A is stored [K,M]; trans_b: B is stored [N,K].
// With trans_b alone (y = x w^T) and at least HY_GEMM_ROWS rows, a row's bits depend on neither M nor its place, as far
// as the library adds up to 384 terms in order (on AVX-512 it does).
typedef struct {
    int M, N, K;
    bool trans_a, trans_b, add;
    bool half;            // a and b are bfloat16, sums float32 (hy_gemm_has_half)
    const void *a;        // float32
    const void *b;        // float32, or with `widen` bfloat16 (needs trans_b and not trans_a)
    hy_gemm_widen widen;  // or NULL
    float *c;
    int lda, ldb, ldc;
    hy_gemm_done done;  // or NULL
    hy_gemm_take take;  // of half without trans_a: gets the tiles instead of c; or NULL
    const void *ctx;
} hy_gemm_args;
#define HY_GEMM_ROWS 16
bool hy_gemm_has_half(hy_isa isa);  // the processor multiplies bfloat16 (AVX512_BF16, AMX), and isa allows it

// Bytes of scratch that hy_gemm_run needs: the fixed partial sums of a small result with a long reduction, or a widened
// block of B or a tile to be taken for each thread.
size_t hy_gemm_workspace(const hy_gemm_args *g, int threads);
// Path of a launch that uses the library: "avx512+onednn", "avx512+onednn (bf16 weights)" and so on.
const char *hy_gemm_path(hy_isa isa, hy_dtype w_dtype);
#define HY_GEMM_HALF_PATH "avx512+onednn (bf16)"  // of one whose factors are all bfloat16
hy_status hy_gemm_run(const hy_gemm_args *g, float *workspace, int threads);
#endif
