// op_lm_loss.c - arguments of the lm_loss kernels.
#include "core/exec/op_impl.h"

void hy_bind_lm_loss(const hy_binding *b, hy_lm_loss_args *a) {
    const hy_exec *e = b->e;
    const hy_bound x = hy_bind_input(b, 0);
    *a = (hy_lm_loss_args){.rows = b->rows,
                           .C = x.width,
                           .V = e->prog->spec.vocab,
                           .x = x.p,
                           .w = hy_bind_matrix(b, 0),
                           .w_dtype = hy_bind_matrix_type(b, 0),
                           .ldx = x.ld,
                           .labels = e->labels,
                           .nll = e->nll,
                           .pred = e->pred};
}

void hy_bind_lm_loss_bwd(const hy_binding *b, hy_lm_loss_bwd_args *a) {
    const hy_bound dx = hy_bind_input_grad(b, 0);
    *a = (hy_lm_loss_bwd_args){
        .f = a->f, .scale = b->e->scale, .dx = dx.p, .dw = hy_bind_parameter_grad(b, 0), .lddx = dx.ld, .acc = b->acc};
}
