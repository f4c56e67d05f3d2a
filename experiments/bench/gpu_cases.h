// gpu_cases.h - the kernels that bench_gpu times: operands, arguments, counted work. See gpu_cases.c.
#ifndef HY_GPU_CASES_H
#define HY_GPU_CASES_H
#include "kernels/ceilings.h"

// What an operand holds: ACT activations (the precision's type), PAR parameters and their gradients (float32), MAT
// matrices (bfloat16 in bfloat16), F32 states and losses, F64 scalars, CTL the control block of a step, INT indices,
// POS a constant, BYTE zeros.
typedef enum {
    HY_GC_ACT,
    HY_GC_PAR,
    HY_GC_MAT,
    HY_GC_F32,
    HY_GC_F64,
    HY_GC_CTL,
    HY_GC_INT,
    HY_GC_POS,
    HY_GC_BYTE
} hy_gpu_class;
typedef struct {
    const char *name;
    hy_gpu_class what;
    size_t n;             // elements
    int touched;          // 1 read, 2 written, 3 both, by the kernel that is timed: its bytes count; 0: by none
    double scale, shift;  // random normal values times scale (0: 1), plus shift
    bool fixed;           // no random part
    int limit;            // INT: values below it; POS: the value
    bool result;          // compared with the CPU's
} hy_gpu_operand;

enum { HY_GPU_OPERANDS = 24, HY_GPU_ARGS = 768 };
typedef struct hy_gpu_case hy_gpu_case;
struct hy_gpu_case {
    const char *name;
    char shape[64];
    hy_kernel_id forward, timed;            // the same, or the forward that fills what the backward reads
    int B, T, a, b, c, d, e, window, meta;  // sizes, as the case reads them
    int n;
    hy_gpu_operand op[HY_GPU_OPERANDS];
    double flops, exps;  // counted: multiply-add = 2; 2^x
    // Writes the arguments of forward and, where it differs, of what is timed. p [n]: the operands, in their order.
    void (*bind)(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype matrix, void *forward, void *timed);
};
// Case i at its full size, or small enough for the CPU's plain kernels; false: there is no case i.
bool hy_gpu_case_make(int i, bool small, hy_gpu_case *out);
#endif
