// op_kv_append.c - arguments of the kv_append kernels.
#include "core/exec/op_impl.h"

void hy_bind_kv_append(const hy_binding *b, hy_kv_append_args *a) {
    const hy_exec *e = b->e;
    const hy_kv_append_op *op = &b->op->kv_append;
    const hy_bound k = hy_bind_input(b, 0), v = hy_bind_input(b, 1);
    *a = (hy_kv_append_args){.B = e->B,
                             .T = e->T,
                             .kv_heads = op->kv_heads,
                             .d_qk = op->d_qk,
                             .d_v = op->d_v,
                             .meta = e->prog->spec.meta_tokens,
                             .k = k.p,
                             .v = v.p,
                             .ldk = k.ld,
                             .ldv = v.ld,
                             .pos = e->pos,
                             .len = e->len,
                             .cache = hy_bind_kv(b)};
}
