// precision.h - in what a model computes: a choice of people, from which the element type of executors and the way of
// float32 products follow.
#ifndef HY_PRECISION_H
#define HY_PRECISION_H
#include "kernels/backend.h"

typedef enum {
    HY_PRECISION_F32 = 0,  // everything float32
    HY_PRECISION_TF32,     // float32, products with factors rounded to TF32
    HY_PRECISION_BF16,     // activations, caches and matrices bfloat16; sums, statistics, SSM states, small parameters,
                           // masters and their gradients float32
} hy_precision;
#define HY_PRECISION_NAMES "f32|tf32|bf16"
hy_status hy_precision_parse(const char *text, hy_precision *out);  // NULL: f32
const char *hy_precision_name(hy_precision p);
static inline hy_dtype hy_precision_dtype(hy_precision p) { return p == HY_PRECISION_BF16 ? HY_BF16 : HY_F32; }
// Makes a backend compute so; HY_EINPUT where it cannot.
hy_status hy_precision_set(hy_precision p, hy_backend *be);
// Why it is slower than float32 on this backend, or NULL.
const char *hy_precision_slow(hy_precision p, const hy_backend *be);
#endif
