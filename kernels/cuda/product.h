// product.h - products with a weight matrix, as linear and lm_loss need them: blas.h where activations and weights have
// one type, else the weights are converted piece by piece into workspace. With it the elementwise passes around such a
// product.
#ifndef HY_CUDA_PRODUCT_H
#define HY_CUDA_PRODUCT_H
#include "kernels/cuda/blas.h"

// Most bytes of converted weights held at once.
#ifdef HY_CUDA_EMU
    #define HY_CUDA_PIECE ((size_t)4096)
#else
    #define HY_CUDA_PIECE ((size_t)64 << 20)
#endif

// w [N,K] of type w_dtype; float32 activations need it as float32 (bfloat16 is widened: the results are those of the
// same weights in float32), bfloat16 activations as bfloat16 (float32 is rounded to it).
typedef struct {
    const char *op;
    int M, N, K;
    const void *w;
    hy_dtype w_dtype, dtype;  // of the weights and of the activations
    hy_math math;
} hy_weight_product;
static inline hy_dtype hy_weight_dtype(hy_dtype w_dtype) { return w_dtype == HY_BF16 ? HY_BF16 : HY_F32; }
size_t hy_weight_product_workspace(const hy_weight_product *p);
// y [M,N] of type `out` = x [M,K] w^T, or += with `add`.
hy_status hy_weight_product_forward(const hy_weight_product *p, const void *x, int ldx, void *y, int ldy, hy_dtype out,
                                    bool add, void *ws);
// dx [M,K] of type dtype = dy [M,N] w, or +=.
hy_status hy_weight_product_backward(const hy_weight_product *p, const void *dy, int lddy, void *dx, int lddx, bool add,
                                     void *ws);

// y [rows,C] = (y if `add`) + (bias [C], float32) + (x [rows,C]), each or NULL; x and y of type dtype.
hy_status hy_rows_add(hy_dtype dtype, int rows, int C, const void *x, int ldx, const float *bias, void *y, int ldy,
                      bool add);

// linear for few rows (decoding): reads w once at the speed of memory, in float32 arithmetic whatever the types. The
// bits of a row depend on N, K and the types alone, not on how many rows there are nor on how they lie.
enum { HY_FEW_ROWS = 16 };  // fewer than these
hy_status hy_few_rows_run(const hy_linear_args *a, const hy_plan_req *req);
#endif
