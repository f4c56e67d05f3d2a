// bf16.h - bfloat16 computing on the CPU: a kernel of float32 between operands that are widened before it and rounded
// after it. What is an operand of which kernel is bf16_operands.c; how they are run, bf16.c.
#ifndef HY_CPU_BF16_H
#define HY_CPU_BF16_H
#include "kernels/cpu/cpu.h"

// The arguments of any kernel: a copy in which operands are exchanged.
typedef union {
#define X(name) hy_##name##_args name;
    HY_KERNELS(X)
#undef X
} hy_cpu_args;

// One bfloat16 operand: where its address and row distance stand in the arguments (ld NULL: rows follow each other).
typedef struct {
    void **p;
    int *ld;
    size_t rows;
    int cols;
    bool in, out;  // read, written; a gradient that is added to is both
} hy_cpu_operand;
#define HY_CPU_OPERANDS 12
typedef struct {
    int n;
    hy_cpu_operand v[HY_CPU_OPERANDS];
    int *rows;          // of a kernel that works row by row, whose rows may come in blocks: their number; else NULL
    const void **w;     // a weight matrix in bfloat16 that the float32 kernel does not read: address, or NULL
    hy_dtype *w_dtype;  // its type
    size_t w_n;         // its elements
    hy_kv_view *cache;  // keys and values of earlier positions that are read, or NULL
} hy_cpu_operands;
// Of kernel `id` with these arguments; operands that are absent (NULL) are left out. False: it has none.
bool hy_cpu_list_operands(hy_kernel_id id, hy_cpu_args *a, hy_cpu_operands *out);

// The plan of any kernel with dtype HY_BF16.
hy_status hy_cpu_plan_bf16(hy_kernel_id id, const void *args, const hy_plan_req *req, hy_launch *out);
// The plans of the processor's own bfloat16 products (linear_half.c, lm_loss_half.c). False: these arguments have none,
// float32 kernels between widened and rounded operands do it.
bool hy_cpu_half_linear(const hy_linear_args *a, const hy_plan_req *req, hy_launch *out);
bool hy_cpu_half_linear_bwd(const hy_linear_bwd_args *a, const hy_plan_req *req, hy_launch *out);
bool hy_cpu_half_lm_loss(const hy_lm_loss_args *a, const hy_plan_req *req, hy_launch *out);
bool hy_cpu_half_lm_loss_bwd(const hy_lm_loss_bwd_args *a, const hy_plan_req *req, hy_launch *out);
// The plan of a kernel in any type, as in the backend's table.
hy_status hy_cpu_plan_any(hy_kernel_id id, const void *args, const hy_plan_req *req, hy_launch *out);

#define HY_BF16_DECLARE(isa) void hy_fast_row_round_##isa(uint16_t *dst, const float *src, int n);
HY_BF16_DECLARE(base)
HY_BF16_DECLARE(avx2)
HY_BF16_DECLARE(avx512)
#endif
