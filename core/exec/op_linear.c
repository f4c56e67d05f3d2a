// op_linear.c - arguments of the linear kernels.
#include "core/exec/op_impl.h"

void hy_bind_linear(const hy_binding *b, hy_linear_args *a) {
    const hy_exec *e = b->e;
    const hy_bound x = hy_bind_input(b, 0), residual = hy_bind_input(b, 1), y = hy_bind_output(b);
    const bool some_rows = e->prog->values[b->op->out].rows == HY_ROWS_OUT;
    *a = (hy_linear_args){.M = some_rows ? e->n_out : b->rows,
                          .N = y.width,
                          .K = x.width,
                          .x = x.p,
                          .w = hy_bind_matrix(b, 0),
                          .bias = hy_bind_parameter(b, 1),
                          .residual = residual.p,
                          .w_dtype = hy_bind_matrix_type(b, 0),
                          .y = y.p,
                          .ldx = x.ld,
                          .ldres = residual.ld,
                          .ldy = y.ld};
}

void hy_bind_linear_bwd(const hy_binding *b, hy_linear_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0), dres = hy_bind_input_grad(b, 1);
    *a = (hy_linear_bwd_args){.f = a->f,
                              .dy = dy.p,
                              .dx = dx.p,
                              .dw = hy_bind_parameter_grad(b, 0),
                              .dbias = hy_bind_parameter_grad(b, 1),
                              .dres = b->e->layout.shares_grad[b->i] ? NULL : dres.p,
                              .lddy = dy.ld,
                              .lddx = dx.ld,
                              .lddres = dres.ld,
                              .acc = b->acc};
}
