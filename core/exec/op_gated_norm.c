// op_gated_norm.c - arguments of the gated_norm kernels.
#include "core/exec/op_impl.h"

void hy_bind_gated_norm(const hy_binding *b, hy_gated_norm_args *a) {
    const hy_gated_norm_op *op = &b->op->gated_norm;
    const hy_bound x = hy_bind_input(b, 0), gate = hy_bind_input(b, 1), y = hy_bind_output(b);
    *a = (hy_gated_norm_args){.rows = b->rows,
                              .groups = op->groups,
                              .C = y.width / op->groups,
                              .kind = op->kind,
                              .eps = op->eps,
                              .x = x.p,
                              .gate = gate.p,
                              .w = hy_bind_parameter(b, 0),
                              .y = y.p,
                              .ldx = x.ld,
                              .ldgate = gate.ld,
                              .ldy = y.ld};
}

void hy_bind_gated_norm_bwd(const hy_binding *b, hy_gated_norm_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0), dgate = hy_bind_input_grad(b, 1);
    *a = (hy_gated_norm_bwd_args){.f = a->f,
                                  .dy = dy.p,
                                  .dx = dx.p,
                                  .dgate = dgate.p,
                                  .dw = hy_bind_parameter_grad(b, 0),
                                  .lddy = dy.ld,
                                  .lddx = dx.ld,
                                  .lddgate = dgate.ld,
                                  .acc = b->acc};
}
