// op_scale.c - arguments of the scale kernels.
#include "core/exec/op_impl.h"

void hy_bind_scale(const hy_binding *b, hy_scale_args *a) {
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_scale_args){
        .rows = b->rows, .C = y.width, .parts = b->op->scale.parts, .x = x.p, .y = y.p, .ldx = x.ld, .ldy = y.ld};
}

void hy_bind_scale_bwd(const hy_binding *b, hy_scale_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0);
    *a = (hy_scale_bwd_args){.f = a->f, .dy = dy.p, .dx = dx.p, .lddy = dy.ld, .lddx = dx.ld, .acc = b->acc};
}
