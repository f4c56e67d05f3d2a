// op_impl.h - what the files op_<name>.c see: each has two functions (one if its op has no backward) that fill in the
// argument structs of its kernels. No decisions: addresses, row distances, sizes.
#ifndef HY_OP_IMPL_H
#define HY_OP_IMPL_H
#include "core/exec/exec_impl.h"

// One op of an executor in its current shape.
typedef struct {
    const hy_exec *e;
    int i;  // its number in the program
    const hy_op *op;
    const hy_params *params;  // NULL while planning: HY_PRESENT stands for what is there
    const hy_state *state;    // NULL: none
    int rows;                 // B * T
    unsigned acc;             // backward: bit k: the gradient of input k is added to, not overwritten
} hy_binding;

// A value or gradient in memory: element (r, c) is p[r * ld + c], c < width. All zero where the operand is absent.
typedef struct {
    void *p;
    int ld, width;
} hy_bound;

// Input k, parameter k: as ops.def numbers them.
hy_bound hy_bind_input(const hy_binding *b, int k);
hy_bound hy_bind_output(const hy_binding *b);
hy_bound hy_bind_input_grad(const hy_binding *b, int k);
hy_bound hy_bind_output_grad(const hy_binding *b);
const void *hy_bind_parameter(const hy_binding *b, int k);
void *hy_bind_parameter_grad(const hy_binding *b, int k);
// A parameter that may be bfloat16, and the w_dtype of its struct: an executor in bfloat16 reads a bfloat16 copy of
// each matrix.
const void *hy_bind_matrix(const hy_binding *b, int k);
hy_dtype hy_bind_matrix_type(const hy_binding *b, int k);
void *hy_bind_saved(const hy_binding *b);    // what forward saves for backward; NULL: nothing, or none will follow
hy_kv_view hy_bind_kv(const hy_binding *b);  // the op's cache
void *hy_bind_state(const hy_binding *b);    // the op's convolution tail or SSM state; NULL: none

// hy_bind_norm(b, args) sets every member of args; hy_bind_norm_bwd(b, args) every member but args->f, which is set.
#define OP(KIND, name, inputs, parameters, output, state, passes, ...) \
    void hy_bind_##name(const hy_binding *b, hy_##name##_args *args);  \
    HY_BWD_##passes(void hy_bind_##name##_bwd(const hy_binding *b, hy_##name##_bwd_args *args);)
#include "core/model/ops.def"
#endif
