// op_gather.c - arguments of the gather kernels.
#include "core/exec/op_impl.h"

void hy_bind_gather(const hy_binding *b, hy_gather_args *a) {
    const hy_bound x = hy_bind_input(b, 0), y = hy_bind_output(b);
    *a = (hy_gather_args){
        .n = b->e->n_out, .C = y.width, .idx = b->e->out_rows, .x = x.p, .y = y.p, .ldx = x.ld, .ldy = y.ld};
}
