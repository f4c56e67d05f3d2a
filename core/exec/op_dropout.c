// op_dropout.c - arguments of the dropout kernels. Only an executor for training has a key.
#include "core/exec/op_impl.h"

void hy_bind_dropout(const hy_binding *b, hy_dropout_args *a) {
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_dropout_args){.rows = b->rows,
                           .C = y.width,
                           .place = b->op->dropout.place,
                           .p = b->op->dropout.p,
                           .key = b->e->mode == HY_EXEC_TRAIN ? b->e->dropout : NULL,
                           .x = x.p,
                           .y = y.p,
                           .ldx = x.ld,
                           .ldy = y.ld};
}

void hy_bind_dropout_bwd(const hy_binding *b, hy_dropout_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0);
    *a = (hy_dropout_bwd_args){.f = a->f, .dy = dy.p, .dx = dx.p, .lddy = dy.ld, .lddx = dx.ld, .acc = b->acc};
}
