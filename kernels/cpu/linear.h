// linear.h - between linear.c and linear_half.c (plans and the order of work), lm_loss.c and lm_loss_half.c (whose
// blocks of rows are linear layers) and linear.c (the vectorised parts).
#ifndef HY_LINEAR_H
#define HY_LINEAR_H
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

// For few rows, below HY_GEMM_ROWS (but any number will do): y [M,N] = x [M,K] w [N,K]^T (+ bias) (+ residual), bits of
// a row independent of M and of whether the same w is in float32 or in bfloat16.
typedef struct {
    int M, N, K, ldx, ldy, ldres;
    const float *x, *bias, *residual;
    const void *w;
    bool bf16;  // w
    float *y;
} hy_gemv_args;
#define HY_GEMV_ALONE (32 * 1024)  // weights below which waking other threads costs more than it saves

// A tile of a product with bfloat16 factors, as it becomes rows of bfloat16 (hy_fast_linear_round): plus bias, plus
// rows of `other`, then rounded once. `other` may be y.
typedef struct {
    const float *bias;      // or NULL
    const uint16_t *other;  // or NULL
    uint16_t *y;
    int ldother, ldy;
} hy_half_rows;

// The products of linear and linear_bwd: y = x w^T (+ bias) (+ residual), dx = or += dy w, dw += dy^T x.
hy_gemm_args hy_linear_gemm_y(const hy_linear_args *a, hy_isa isa);
hy_gemm_args hy_linear_gemm_dx(const hy_linear_bwd_args *a);
hy_gemm_args hy_linear_gemm_dw(const hy_linear_bwd_args *a);
// The same with bfloat16 factors: into float32 at g.c as it stands, or rounded into rows of bfloat16.
hy_gemm_args hy_linear_half(hy_gemm_args g);
hy_gemm_args hy_linear_half_to(hy_gemm_args g, const hy_half_rows *to, hy_isa isa);

#define HY_LINEAR_DECLARE(isa)                                                                       \
    void hy_fast_gemv_##isa(const hy_gemv_args *g, int threads);                                     \
    void hy_fast_linear_finish_##isa(const void *ctx, int m0, int n0, int m, int n);                 \
    void hy_fast_widen_##isa(const uint16_t *src, int lds, float *dst, int ldd, int rows, int cols); \
    void hy_fast_linear_round_##isa(const void *ctx, int m0, int n0, int m, int n, float *t);        \
    void hy_fast_linear_half_sums_##isa(const hy_linear_bwd_args *a, float *partial, int threads);   \
    void hy_fast_linear_sums_##isa(const hy_linear_bwd_args *a, float *partial, int threads);
HY_LINEAR_DECLARE(base)
HY_LINEAR_DECLARE(avx2)
HY_LINEAR_DECLARE(avx512)
#endif
