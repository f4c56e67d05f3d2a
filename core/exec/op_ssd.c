// op_ssd.c - arguments of the ssd kernels.
#include "core/exec/op_impl.h"

void hy_bind_ssd(const hy_binding *b, hy_ssd_args *a) {
    const hy_ssd_op *op = &b->op->ssd;
    const hy_bound x = hy_bind_input(b, 0), dt = hy_bind_input(b, 1), B = hy_bind_input(b, 2), C = hy_bind_input(b, 3);
    const hy_bound y = hy_bind_output(b);
    *a = (hy_ssd_args){.B = b->e->B,
                       .T = b->e->T,
                       .H = op->heads,
                       .P = x.width / op->heads,
                       .G = op->groups,
                       .N = B.width / op->groups,
                       .dt_min = op->dt_min,
                       .dt_max = op->dt_max,
                       .x = x.p,
                       .dt = dt.p,
                       .dt_bias = hy_bind_parameter(b, 2),
                       .A_log = hy_bind_parameter(b, 0),
                       .Bm = B.p,
                       .Cm = C.p,
                       .skip = hy_bind_parameter(b, 1),
                       .y = y.p,
                       .ldx = x.ld,
                       .lddt = dt.ld,
                       .ldB = B.ld,
                       .ldC = C.ld,
                       .ldy = y.ld,
                       .state = hy_bind_state(b),
                       .len = b->e->len,
                       .saved = hy_bind_saved(b)};
}

void hy_bind_ssd_bwd(const hy_binding *b, hy_ssd_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0), ddt = hy_bind_input_grad(b, 1);
    const hy_bound dB = hy_bind_input_grad(b, 2), dC = hy_bind_input_grad(b, 3);
    *a = (hy_ssd_bwd_args){.f = a->f,
                           .dy = dy.p,
                           .dx = dx.p,
                           .ddt = ddt.p,
                           .ddt_bias = hy_bind_parameter_grad(b, 2),
                           .dA_log = hy_bind_parameter_grad(b, 0),
                           .dBm = dB.p,
                           .dCm = dC.p,
                           .dskip = hy_bind_parameter_grad(b, 1),
                           .lddy = dy.ld,
                           .lddx = dx.ld,
                           .ldddt = ddt.ld,
                           .lddB = dB.ld,
                           .lddC = dC.ld,
                           .acc = b->acc};
}
