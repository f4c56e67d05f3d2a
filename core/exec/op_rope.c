// op_rope.c - arguments of the rope kernels.
#include "core/exec/op_impl.h"

void hy_bind_rope(const hy_binding *b, hy_rope_args *a) {
    const hy_rope_op *op = &b->op->rope;
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_rope_args){.B = b->e->B,
                        .T = b->e->T,
                        .heads = op->heads,
                        .d = op->d,
                        .turned = op->turned,
                        .base = op->base,
                        .scale = op->scale,
                        .pos = b->e->pos,
                        .x = x.p,
                        .y = y.p,
                        .ldx = x.ld,
                        .ldy = y.ld};
}

void hy_bind_rope_bwd(const hy_binding *b, hy_rope_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0);
    *a = (hy_rope_bwd_args){.f = a->f, .dy = dy.p, .dx = dx.p, .lddy = dy.ld, .lddx = dx.ld, .acc = b->acc};
}
