// op_attention.c - arguments of the attention kernels.
#include "core/exec/op_impl.h"

// In training, and where the model drops.
static hy_attention_drop drop_of(const hy_binding *b) {
    const hy_attention_op *op = &b->op->attention;
    if (op->drop == 0 || b->e->mode != HY_EXEC_TRAIN) return (hy_attention_drop){0};
    return (hy_attention_drop){op->drop, op->place, b->e->arena ? b->e->dropout : HY_PRESENT};
}

void hy_bind_attention(const hy_binding *b, hy_attention_args *a) {
    const hy_exec *e = b->e;
    const hy_attention_op *op = &b->op->attention;
    const hy_bound q = hy_bind_input(b, 0), k = hy_bind_input(b, 1), v = hy_bind_input(b, 2), o = hy_bind_output(b);
    *a = (hy_attention_args){.B = e->B,
                             .T = e->T,
                             .heads = op->heads,
                             .kv_heads = op->kv_heads,
                             .d_qk = op->d_qk,
                             .d_v = op->d_v,
                             .window = op->window,
                             .meta = e->prog->spec.meta_tokens,
                             .scale = op->scale,
                             .q = q.p,
                             .k = k.p,
                             .v = v.p,
                             .o = o.p,
                             .ldq = q.ld,
                             .ldk = k.ld,
                             .ldv = v.ld,
                             .ldo = o.ld,
                             .pos = e->pos,
                             .len = e->len,
                             .cache = hy_bind_kv(b),
                             .drop = drop_of(b),
                             .saved = hy_bind_saved(b)};
}

void hy_bind_attention_bwd(const hy_binding *b, hy_attention_bwd_args *a) {
    const hy_bound dout = hy_bind_output_grad(b), dq = hy_bind_input_grad(b, 0), dk = hy_bind_input_grad(b, 1);
    const hy_bound dv = hy_bind_input_grad(b, 2);
    *a = (hy_attention_bwd_args){.f = a->f,
                                 .dout = dout.p,
                                 .dq = dq.p,
                                 .dk = dk.p,
                                 .dv = dv.p,
                                 .lddo = dout.ld,
                                 .lddq = dq.ld,
                                 .lddk = dk.ld,
                                 .lddv = dv.ld,
                                 .acc = b->acc};
}
