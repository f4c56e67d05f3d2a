// op_embed.c - arguments of the embed kernels.
#include "core/exec/op_impl.h"

void hy_bind_embed(const hy_binding *b, hy_embed_args *a) {
    const hy_bound y = hy_bind_output(b);
    *a = (hy_embed_args){.rows = b->rows,
                         .C = y.width,
                         .V = b->e->prog->spec.vocab,
                         .m = b->e->prog->spec.meta_tokens,
                         .ids = b->e->ids,
                         .table = hy_bind_matrix(b, 0),
                         .meta = hy_bind_parameter(b, 1),
                         .w_dtype = hy_bind_matrix_type(b, 0),
                         .y = y.p,
                         .ldy = y.ld};
}

void hy_bind_embed_bwd(const hy_binding *b, hy_embed_bwd_args *a) {
    const hy_bound dy = hy_bind_output_grad(b);
    *a = (hy_embed_bwd_args){.f = a->f,
                             .dy = dy.p,
                             .lddy = dy.ld,
                             .dtable = hy_bind_parameter_grad(b, 0),
                             .dmeta = hy_bind_parameter_grad(b, 1)};
}
