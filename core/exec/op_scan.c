// op_scan.c - arguments of the scan kernels.
#include "core/exec/op_impl.h"

void hy_bind_scan(const hy_binding *b, hy_scan_args *a) {
    const hy_bound x = hy_bind_input(b, 0), dt = hy_bind_input(b, 1), B = hy_bind_input(b, 2), C = hy_bind_input(b, 3);
    const hy_bound gate = hy_bind_input(b, 4), y = hy_bind_output(b);
    *a = (hy_scan_args){.B = b->e->B,
                        .T = b->e->T,
                        .D = x.width,
                        .N = B.width,
                        .x = x.p,
                        .dt = dt.p,
                        .A_log = hy_bind_parameter(b, 0),
                        .Bm = B.p,
                        .Cm = C.p,
                        .skip = hy_bind_parameter(b, 1),
                        .gate = gate.p,
                        .y = y.p,
                        .ldx = x.ld,
                        .lddt = dt.ld,
                        .ldB = B.ld,
                        .ldC = C.ld,
                        .ldgate = gate.ld,
                        .ldy = y.ld,
                        .state = hy_bind_state(b),
                        .len = b->e->len,
                        .saved = hy_bind_saved(b)};
}

void hy_bind_scan_bwd(const hy_binding *b, hy_scan_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b), dx = hy_bind_input_grad(b, 0), ddt = hy_bind_input_grad(b, 1);
    const hy_bound dB = hy_bind_input_grad(b, 2), dC = hy_bind_input_grad(b, 3), dgate = hy_bind_input_grad(b, 4);
    *a = (hy_scan_bwd_args){.f = a->f,
                            .dy = dy.p,
                            .dx = dx.p,
                            .ddt = ddt.p,
                            .dA_log = hy_bind_parameter_grad(b, 0),
                            .dBm = dB.p,
                            .dCm = dC.p,
                            .dskip = hy_bind_parameter_grad(b, 1),
                            .dgate = dgate.p,
                            .lddy = dy.ld,
                            .lddx = dx.ld,
                            .ldddt = ddt.ld,
                            .lddB = dB.ld,
                            .lddC = dC.ld,
                            .lddgate = dgate.ld,
                            .acc = b->acc};
}
