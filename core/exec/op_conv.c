// op_conv.c - arguments of the conv kernels.
#include "core/exec/op_impl.h"

void hy_bind_conv(const hy_binding *b, hy_conv_args *a) {
    const hy_conv_op *op = &b->op->conv;
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_conv_args){.B = b->e->B,
                        .T = b->e->T,
                        .D = y.width,
                        .K = op->d_conv,
                        .silu = op->silu,
                        .x = x.p,
                        .w = hy_bind_parameter(b, 0),
                        .bias = hy_bind_parameter(b, 1),
                        .y = y.p,
                        .ldx = x.ld,
                        .ldy = y.ld,
                        .state = hy_bind_state(b),
                        .len = b->e->len};
}

void hy_bind_conv_bwd(const hy_binding *b, hy_conv_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0);
    *a = (hy_conv_bwd_args){.f = a->f,
                            .dy = dy.p,
                            .dx = dx.p,
                            .dw = hy_bind_parameter_grad(b, 0),
                            .dbias = hy_bind_parameter_grad(b, 1),
                            .lddy = dy.ld,
                            .lddx = dx.ld,
                            .acc = b->acc};
}
