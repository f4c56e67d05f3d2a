// op_position.c - arguments of the kernels of learned positions.
#include "core/exec/op_impl.h"

void hy_bind_position(const hy_binding *b, hy_position_args *a) {
    const hy_exec *e = b->e;
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_position_args){.B = e->B,
                            .T = e->T,
                            .C = y.width,
                            .n = b->op->position.n,
                            .meta = e->prog->spec.meta_tokens,
                            .pos = e->pos,
                            .x = x.p,
                            .w = hy_bind_parameter(b, 0),
                            .y = y.p,
                            .ldx = x.ld,
                            .ldy = y.ld};
}

void hy_bind_position_bwd(const hy_binding *b, hy_position_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0);
    *a = (hy_position_bwd_args){.f = a->f,
                                .dy = dy.p,
                                .dx = b->e->layout.shares_grad[b->i] ? NULL : dx.p,
                                .dw = hy_bind_parameter_grad(b, 0),
                                .lddy = dy.ld,
                                .lddx = dx.ld,
                                .acc = b->acc};
}
