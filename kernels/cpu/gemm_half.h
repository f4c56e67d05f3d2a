// gemm_half.h - one tile of a product with bfloat16 factors, by the processor's own instructions for them. Internal to
// gemm.c.
#ifndef HY_GEMM_HALF_H
#define HY_GEMM_HALF_H
#include <stdbool.h>
#include <stdint.h>

enum { HY_GEMM_REFUSED = 1, HY_GEMM_NO_MEMORY = 2 };  // what is wrong; 0: nothing

// Shape and row distances of c [m,n] float32 = or += op(a) op(b), as in hy_gemm_args.
typedef struct {
    int m, n, k, lda, ldb, ldc;
    bool trans_a, trans_b, add;
} hy_half_shape;
// On the calling thread alone, which must have asked OpenMP for one thread. Terms are added in float32 in an order that
// depends on the shape. Numbers below 2^-126 count as 0, as the instructions have it.
int hy_half_product(const hy_half_shape *s, const uint16_t *a, const uint16_t *b, float *c);
#endif
