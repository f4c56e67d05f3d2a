// exec_bind.c - from a program op to the argument struct of its kernel. No decisions: pointers, strides, sizes.
#include "core/exec/exec_impl.h"

// Address of a value (a view: its first column), or a placeholder while planning.
static void *val(const hy_exec *e, hy_val v) {
    if (v < 0) return NULL;
    if (!e->arena) return HY_PRESENT;
    size_t col = 0;
    for (; e->prog->values[v].parent >= 0; v = e->prog->values[v].parent) col += (size_t)e->prog->values[v].col;
    HY_ASSERT(e->layout.val[v] != HY_NOWHERE);
    return e->arena + e->layout.val[v] + col * hy_dtype_size(e->dt);
}

static int ld(const hy_exec *e, hy_val v) { return v < 0 ? 0 : e->prog->values[hy_value_root(e->prog, v)].width; }

static void *grad(const hy_exec *e, hy_val v) {
    if (v < 0) return NULL;
    if (!e->arena) return HY_PRESENT;
    size_t col = 0;
    for (; e->prog->values[v].parent >= 0; v = e->prog->values[v].parent) col += (size_t)e->prog->values[v].col;
    HY_ASSERT(e->layout.grad[v] != HY_NOWHERE);
    return e->arena + e->layout.grad[v] + col * hy_dtype_size(e->dt);
}

static void *par(const hy_params *w, int i, bool want_grad) {
    if (i < 0) return NULL;
    return w ? hy_params_ptr(w, i, want_grad) : HY_PRESENT;
}

// The matrix of a product and its type: computing in bfloat16 reads a copy in bfloat16 where the program keeps none.
static const void *matrix(const hy_exec *e, const hy_params *w, const hy_op *op) {
    return w ? hy_params_matrix(w, op->par[0], e->dt) : HY_PRESENT;
}
static hy_dtype matrix_type(const hy_exec *e, const hy_op *op) { return e->dt == HY_BF16 ? HY_BF16 : e->prog->params[op->par[0]].kept; }

static void *saved(const hy_exec *e, int i) {
    if (e->mode != HY_EXEC_TRAIN) return NULL;
    if (!e->arena) return HY_PRESENT;
    return e->layout.saved[i] == HY_NOWHERE ? NULL : e->arena + e->layout.saved[i];
}

static hy_kv_view kv(const hy_exec *e, int slot, const hy_state *s) {
    if (s) return hy_state_kv(s, slot);
    if (!e->state_tokens) return (hy_kv_view){0};
    const int cap = hy_attn_cap(e->state_tokens, e->prog->slots[slot].window, e->prog->spec.meta_tokens);
    return (hy_kv_view){.k = HY_PRESENT, .v = HY_PRESENT, .cap = cap};
}

static void *slot_buf(const hy_exec *e, int slot, const hy_state *s) {
    return s ? s->buf[slot] : e->state_tokens ? HY_PRESENT : NULL;
}

static int width(const hy_exec *e, hy_val v) { return e->prog->values[v].width; }

static void bind_attention(const hy_exec *e, const hy_op *op, const hy_state *s, void *sv, hy_attention_args *a) {
    *a = (hy_attention_args){.B = e->B, .T = e->T, .heads = op->heads, .kv_heads = op->kv_heads, .d_qk = op->d_qk,
                             .d_v = op->d_v, .window = op->window, .meta = e->prog->spec.meta_tokens, .scale = op->scale,
                             .q = val(e, op->in[0]), .k = val(e, op->in[1]), .v = val(e, op->in[2]), .o = val(e, op->out),
                             .ldq = ld(e, op->in[0]), .ldk = ld(e, op->in[1]), .ldv = ld(e, op->in[2]), .ldo = ld(e, op->out),
                             .pos = e->pos, .len = e->len, .cache = kv(e, op->slot, s), .saved = sv};
}

static void bind_scan(const hy_exec *e, const hy_op *op, const hy_params *w, const hy_state *s, void *sv, hy_scan_args *a) {
    *a = (hy_scan_args){.B = e->B, .T = e->T, .D = width(e, op->in[0]), .N = width(e, op->in[2]), .x = val(e, op->in[0]),
                        .dt = val(e, op->in[1]), .Bm = val(e, op->in[2]), .Cm = val(e, op->in[3]), .gate = val(e, op->in[4]),
                        .A_log = par(w, op->par[0], false), .skip = par(w, op->par[1], false), .y = val(e, op->out),
                        .ldx = ld(e, op->in[0]), .lddt = ld(e, op->in[1]), .ldB = ld(e, op->in[2]), .ldC = ld(e, op->in[3]),
                        .ldgate = ld(e, op->in[4]), .ldy = ld(e, op->out), .state = slot_buf(e, op->slot, s),
                        .len = e->len, .saved = sv};
}

static void bind_ssd(const hy_exec *e, const hy_op *op, const hy_params *w, const hy_state *s, void *sv, hy_ssd_args *a) {
    *a = (hy_ssd_args){.B = e->B, .T = e->T, .H = op->heads, .P = width(e, op->in[0]) / op->heads, .G = op->groups,
                       .N = width(e, op->in[2]) / op->groups, .dt_min = op->dt_min, .dt_max = op->dt_max,
                       .x = val(e, op->in[0]), .dt = val(e, op->in[1]), .Bm = val(e, op->in[2]), .Cm = val(e, op->in[3]),
                       .A_log = par(w, op->par[0], false), .skip = par(w, op->par[1], false),
                       .dt_bias = par(w, op->par[2], false), .y = val(e, op->out), .ldx = ld(e, op->in[0]),
                       .lddt = ld(e, op->in[1]), .ldB = ld(e, op->in[2]), .ldC = ld(e, op->in[3]), .ldy = ld(e, op->out),
                       .state = slot_buf(e, op->slot, s), .len = e->len, .saved = sv};
}

hy_kernel_id hy_bind_fwd(const hy_exec *e, int i, const hy_params *w, const hy_state *s, hy_any_args *a) {
    const hy_op *op = &e->prog->ops[i];
    const int rows = e->B * e->T;
    void *sv = saved(e, i), *x = val(e, op->in[0]), *y = val(e, op->out);
    const void *w0 = par(w, op->par[0], false), *w1 = par(w, op->par[1], false);
    const int ldx = ld(e, op->in[0]), ldy = ld(e, op->out);
    switch (op->kind) {
        case HY_OP_EMBED:
            a->embed = (hy_embed_args){.rows = rows, .C = width(e, op->out), .V = e->prog->spec.vocab,
                                       .m = e->prog->spec.meta_tokens, .ids = e->ids, .table = matrix(e, w, op), .meta = w1, .w_dtype = matrix_type(e, op), .y = y, .ldy = ldy};
            return HY_K_embed;
        case HY_OP_NORM:
            a->norm = (hy_norm_args){.rows = rows, .groups = op->groups, .C = width(e, op->out) / op->groups, .kind = op->norm,
                                     .eps = op->eps, .x = x, .w = w0, .y = y, .ldx = ldx, .ldy = ldy, .saved = sv};
            return HY_K_norm;
        case HY_OP_LINEAR:
            a->linear = (hy_linear_args){.M = e->prog->values[op->out].rows == HY_ROWS_OUT ? e->n_out : rows,
                                         .N = width(e, op->out), .K = width(e, op->in[0]), .x = x, .w = matrix(e, w, op), .bias = w1, .w_dtype = matrix_type(e, op),
                                         .residual = val(e, op->in[1]), .y = y, .ldx = ldx, .ldres = ld(e, op->in[1]), .ldy = ldy};
            return HY_K_linear;
        case HY_OP_ROPE:
            a->rope = (hy_rope_args){.B = e->B, .T = e->T, .heads = op->heads, .d = op->d_qk, .base = op->base, .scale = op->rope, .pos = e->pos,
                                     .x = x, .y = y, .ldx = ldx, .ldy = ldy};
            return HY_K_rope;
        case HY_OP_ATTENTION: bind_attention(e, op, s, sv, &a->attention); return HY_K_attention;
        case HY_OP_KV_APPEND:
            a->kv_append = (hy_kv_append_args){.B = e->B, .T = e->T, .kv_heads = op->kv_heads, .d_qk = op->d_qk, .d_v = op->d_v,
                                               .meta = e->prog->spec.meta_tokens, .k = x, .v = val(e, op->in[1]), .ldk = ldx,
                                               .ldv = ld(e, op->in[1]), .pos = e->pos, .len = e->len, .cache = kv(e, op->slot, s)};
            return HY_K_kv_append;
        case HY_OP_CONV:
            a->conv = (hy_conv_args){.B = e->B, .T = e->T, .D = width(e, op->out), .K = op->kernel, .silu = op->silu, .x = x,
                                     .w = w0, .bias = w1, .y = y, .ldx = ldx, .ldy = ldy, .state = slot_buf(e, op->slot, s), .len = e->len};
            return HY_K_conv;
        case HY_OP_SCAN: bind_scan(e, op, w, s, sv, &a->scan); return HY_K_scan;
        case HY_OP_SSD: bind_ssd(e, op, w, s, sv, &a->ssd); return HY_K_ssd;
        case HY_OP_GATED_NORM:
            a->gated_norm = (hy_gated_norm_args){.rows = rows, .groups = op->groups, .C = width(e, op->out) / op->groups,
                                                 .kind = op->gated, .eps = op->eps, .x = x, .gate = val(e, op->in[1]), .w = w0,
                                                 .y = y, .ldx = ldx, .ldgate = ld(e, op->in[1]), .ldy = ldy};
            return HY_K_gated_norm;
        case HY_OP_ACT:
            a->act = (hy_act_args){.rows = rows, .F = width(e, op->out), .kind = op->act, .x = x, .y = y, .ldx = ldx, .ldy = ldy};
            return HY_K_act;
        case HY_OP_SCALE:
            a->scale = (hy_scale_args){.rows = rows, .C = width(e, op->out), .parts = op->parts, .x = x, .y = y, .ldx = ldx, .ldy = ldy};
            return HY_K_scale;
        case HY_OP_FUSE:
            a->fuse = (hy_fuse_args){.rows = rows, .Ca = width(e, op->in[0]), .Cs = width(e, op->in[1]), .G = op->heads,
                                     .kind = op->fuse, .eps = op->eps, .by_a = op->parts.by[0], .by_s = op->parts.by[1], .a = x, .s = val(e, op->in[1]), .gate = val(e, op->in[2]),
                                     .wa = w0, .ws = w1, .z = y, .lda = ldx, .lds = ld(e, op->in[1]), .ldgate = ld(e, op->in[2]),
                                     .ldz = ldy, .saved = sv};
            return HY_K_fuse;
        case HY_OP_GATHER:
            a->gather = (hy_gather_args){.n = e->n_out, .C = width(e, op->out), .idx = e->out_rows, .x = x, .y = y, .ldx = ldx, .ldy = ldy};
            return HY_K_gather;
        case HY_OP_LM_LOSS:
            a->lm_loss = (hy_lm_loss_args){.rows = rows, .C = width(e, op->in[0]), .V = e->prog->spec.vocab, .x = x, .w = matrix(e, w, op), .w_dtype = matrix_type(e, op),
                                           .ldx = ldx, .labels = e->labels, .nll = e->nll, .pred = e->pred};
            return HY_K_lm_loss;
    }
    HY_ASSERT(!"op kind");
    return HY_K_COUNT;
}

hy_kernel_id hy_bind_bwd(const hy_exec *e, int i, const hy_params *w, hy_any_args *a) {
    const hy_op *op = &e->prog->ops[i];
    hy_any_args f;
    const hy_kernel_id fid = hy_bind_fwd(e, i, w, NULL, &f);
    const unsigned acc = e->layout.acc[i];
    void *dy = op->out >= 0 ? grad(e, op->out) : NULL, *dx = grad(e, op->in[0]);
    void *dw0 = par(w, op->par[0], true), *dw1 = par(w, op->par[1], true);
    const int lddy = ld(e, op->out), lddx = ld(e, op->in[0]);
    switch (op->kind) {
        case HY_OP_EMBED:
            a->embed_bwd = (hy_embed_bwd_args){.f = f.embed, .dy = dy, .lddy = lddy, .dtable = dw0, .dmeta = dw1};
            return HY_K_embed_bwd;
        case HY_OP_NORM:
            a->norm_bwd = (hy_norm_bwd_args){.f = f.norm, .dy = dy, .dx = dx, .dw = dw0, .lddy = lddy, .lddx = lddx, .acc = acc};
            return HY_K_norm_bwd;
        case HY_OP_LINEAR:
            a->linear_bwd = (hy_linear_bwd_args){.f = f.linear, .dy = dy, .dx = dx, .dw = dw0, .dbias = dw1,
                                                 .dres = e->layout.res_alias[i] ? NULL : grad(e, op->in[1]), .lddy = lddy,
                                                 .lddx = lddx, .lddres = ld(e, op->in[1]), .acc = acc};
            return HY_K_linear_bwd;
        case HY_OP_ROPE:
            a->rope_bwd = (hy_rope_bwd_args){.f = f.rope, .dy = dy, .dx = dx, .lddy = lddy, .lddx = lddx, .acc = acc};
            return HY_K_rope_bwd;
        case HY_OP_ATTENTION:
            a->attention_bwd = (hy_attention_bwd_args){.f = f.attention, .dout = dy, .dq = dx, .dk = grad(e, op->in[1]),
                                                       .dv = grad(e, op->in[2]), .lddo = lddy, .lddq = lddx,
                                                       .lddk = ld(e, op->in[1]), .lddv = ld(e, op->in[2]), .acc = acc};
            return HY_K_attention_bwd;
        case HY_OP_CONV:
            a->conv_bwd = (hy_conv_bwd_args){.f = f.conv, .dy = dy, .dx = dx, .dw = dw0, .dbias = dw1, .lddy = lddy, .lddx = lddx, .acc = acc};
            return HY_K_conv_bwd;
        case HY_OP_SCAN:
            a->scan_bwd = (hy_scan_bwd_args){.f = f.scan, .dy = dy, .dx = dx, .ddt = grad(e, op->in[1]), .dA_log = dw0,
                                             .dBm = grad(e, op->in[2]), .dCm = grad(e, op->in[3]), .dskip = dw1,
                                             .dgate = grad(e, op->in[4]), .lddy = lddy, .lddx = lddx, .ldddt = ld(e, op->in[1]),
                                             .lddB = ld(e, op->in[2]), .lddC = ld(e, op->in[3]), .lddgate = ld(e, op->in[4]), .acc = acc};
            return HY_K_scan_bwd;
        case HY_OP_SSD:
            a->ssd_bwd = (hy_ssd_bwd_args){.f = f.ssd, .dy = dy, .dx = dx, .ddt = grad(e, op->in[1]), .dBm = grad(e, op->in[2]),
                                           .dCm = grad(e, op->in[3]), .dA_log = dw0, .dskip = dw1,
                                           .ddt_bias = par(w, op->par[2], true), .lddy = lddy, .lddx = lddx,
                                           .ldddt = ld(e, op->in[1]), .lddB = ld(e, op->in[2]), .lddC = ld(e, op->in[3]), .acc = acc};
            return HY_K_ssd_bwd;
        case HY_OP_GATED_NORM:
            a->gated_norm_bwd = (hy_gated_norm_bwd_args){.f = f.gated_norm, .dy = dy, .dx = dx, .dgate = grad(e, op->in[1]),
                                                         .dw = dw0, .lddy = lddy, .lddx = lddx, .lddgate = ld(e, op->in[1]), .acc = acc};
            return HY_K_gated_norm_bwd;
        case HY_OP_ACT:
            a->act_bwd = (hy_act_bwd_args){.f = f.act, .dy = dy, .dx = dx, .lddy = lddy, .lddx = lddx, .acc = acc};
            return HY_K_act_bwd;
        case HY_OP_SCALE:
            a->scale_bwd = (hy_scale_bwd_args){.f = f.scale, .dy = dy, .dx = dx, .lddy = lddy, .lddx = lddx, .acc = acc};
            return HY_K_scale_bwd;
        case HY_OP_FUSE:
            a->fuse_bwd = (hy_fuse_bwd_args){.f = f.fuse, .dz = dy, .da = dx, .ds = grad(e, op->in[1]), .dgate = grad(e, op->in[2]),
                                             .dwa = dw0, .dws = dw1, .lddz = lddy, .ldda = lddx, .ldds = ld(e, op->in[1]),
                                             .lddgate = ld(e, op->in[2]), .acc = acc};
            return HY_K_fuse_bwd;
        case HY_OP_LM_LOSS:
            a->lm_loss_bwd = (hy_lm_loss_bwd_args){.f = f.lm_loss, .scale = e->scale, .dx = dx, .dw = dw0, .lddx = lddx, .acc = acc};
            return HY_K_lm_loss_bwd;
        default: HY_ASSERT(fid == HY_K_COUNT); return HY_K_COUNT;
    }
}
