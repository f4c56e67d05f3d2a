// op_norm.c - arguments of the norm kernels.
#include "core/exec/op_impl.h"

void hy_bind_norm(const hy_binding *b, hy_norm_args *a) {
    const hy_norm_op *op = &b->op->norm;
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_norm_args){.rows = b->rows,
                        .groups = op->groups,
                        .C = y.width / op->groups,
                        .kind = op->kind,
                        .eps = op->eps,
                        .x = x.p,
                        .w = hy_bind_parameter(b, 0),
                        .bias = hy_bind_parameter(b, 1),
                        .y = y.p,
                        .ldx = x.ld,
                        .ldy = y.ld,
                        .saved = hy_bind_saved(b)};
}

void hy_bind_norm_bwd(const hy_binding *b, hy_norm_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0);
    *a = (hy_norm_bwd_args){.f = a->f,
                            .dy = dy.p,
                            .dx = dx.p,
                            .dw = hy_bind_parameter_grad(b, 0),
                            .dbias = hy_bind_parameter_grad(b, 1),
                            .lddy = dy.ld,
                            .lddx = dx.ld,
                            .acc = b->acc};
}
