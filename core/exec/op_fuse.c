// op_fuse.c - arguments of the fuse kernels.
#include "core/exec/op_impl.h"

void hy_bind_fuse(const hy_binding *b, hy_fuse_args *args) {
    const hy_fuse_op *op = &b->op->fuse;
    const hy_bound a = hy_bind_input(b, 0), s = hy_bind_input(b, 1), gate = hy_bind_input(b, 2), z = hy_bind_output(b);
    *args = (hy_fuse_args){.rows = b->rows,
                           .Ca = a.width,
                           .Cs = s.width,
                           .G = op->gates,
                           .kind = op->kind,
                           .eps = op->eps,
                           .by_a = op->by_a,
                           .by_s = op->by_s,
                           .a = a.p,
                           .s = s.p,
                           .gate = gate.p,
                           .wa = hy_bind_parameter(b, 0),
                           .ws = hy_bind_parameter(b, 1),
                           .z = z.p,
                           .lda = a.ld,
                           .lds = s.ld,
                           .ldgate = gate.ld,
                           .ldz = z.ld,
                           .saved = hy_bind_saved(b)};
}

void hy_bind_fuse_bwd(const hy_binding *b, hy_fuse_bwd_args *args) {
    const hy_bound dz = hy_bind_output_grad(b), da = hy_bind_input_grad(b, 0), ds = hy_bind_input_grad(b, 1);
    const hy_bound dgate = hy_bind_input_grad(b, 2);
    *args = (hy_fuse_bwd_args){.f = args->f,
                               .dz = dz.p,
                               .da = da.p,
                               .ds = ds.p,
                               .dgate = dgate.p,
                               .dwa = hy_bind_parameter_grad(b, 0),
                               .dws = hy_bind_parameter_grad(b, 1),
                               .lddz = dz.ld,
                               .ldda = da.ld,
                               .ldds = ds.ld,
                               .lddgate = dgate.ld,
                               .acc = b->acc};
}
