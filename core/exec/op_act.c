// op_act.c - arguments of the act kernels.
#include "core/exec/op_impl.h"

void hy_bind_act(const hy_binding *b, hy_act_args *a) {
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_act_args){
        .rows = b->rows, .F = y.width, .kind = b->op->act.kind, .x = x.p, .y = y.p, .ldx = x.ld, .ldy = y.ld};
}

void hy_bind_act_bwd(const hy_binding *b, hy_act_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0);
    *a = (hy_act_bwd_args){.f = a->f, .dy = dy.p, .dx = dx.p, .lddy = dy.ld, .lddx = dx.ld, .acc = b->acc};
}
