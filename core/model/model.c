// model.c - from a ModelSpec to a Program: the only place that knows what a hybrid-head layer is. Each function appends
// the ops of one part; shapes are [rows, width], parameters [out, in].
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/program.h"

typedef struct {
    hy_program *p;
    int cap_values, cap_params, cap_ops, cap_slots;
    int *kv_k, *kv_v;     // [n_layers] values that hold a producer's rotated keys and its values
    int *kv_slot;         // [n_layers] slot of a producer
    int *last_reader;     // [n_layers] last layer that attends to a producer's keys
    char prefix[32];      // of value names: "layers.3."
    char par_prefix[32];  // of parameter names: "layers.3." or "layers.3.second."
    int layer;
} builder;

// ---------------------------------------------------------------------------------------------------- tables
static void *grow(void *base, int n, int *cap, size_t size) {
    if (n < *cap) return base;
    *cap = *cap ? *cap * 2 : 64;
    return hy_xrealloc(base, (size_t)*cap * size);
}

static void join(char *dst, size_t size, const char *prefix, const char *name) {
    int n = snprintf(dst, size, "%s%s", prefix, name);
    HY_ASSERT(n >= 0 && (size_t)n < size);
}

static hy_val add_value(builder *b, const char *name, hy_rows rows, int width, hy_val parent, int col) {
    hy_program *p = b->p;
    p->values = grow(p->values, p->n_values, &b->cap_values, sizeof *p->values);
    hy_value *v = &p->values[p->n_values];
    *v = (hy_value){.rows = rows, .width = width, .parent = parent, .col = col};
    join(v->name, sizeof v->name, b->prefix, name);
    return p->n_values++;
}

static hy_val value(builder *b, const char *name, int width) {
    return add_value(b, name, HY_ROWS_TOKENS, width, HY_NOVAL, 0);
}

static hy_val view(builder *b, const char *name, hy_val parent, int *col, int width) {
    hy_val v = add_value(b, name, b->p->values[parent].rows, width, parent, *col);
    *col += width;
    return v;
}

static int add_param(builder *b, const char *name, int ndim, int s0, int s1, hy_init init, double std, bool decay) {
    hy_program *p = b->p;
    p->params = grow(p->params, p->n_params, &b->cap_params, sizeof *p->params);
    hy_param *q = &p->params[p->n_params];
    *q = (hy_param){.ndim = ndim, .shape = {s0, s1, 1}, .init = init, .init_std = std, .decay = decay};
    q->n = (size_t)s0 * (size_t)(ndim > 1 ? s1 : 1);
    q->offset = p->param_elems;
    p->param_elems += (q->n + HY_DECAY_BLOCK - 1) / HY_DECAY_BLOCK * HY_DECAY_BLOCK;
    join(q->name, sizeof q->name, b->par_prefix, name);
    return p->n_params++;
}

static int weight(builder *b, const char *name, int out, int in, double std) {
    return add_param(b, name, 2, out, in, HY_INIT_NORMAL, std, true);
}
static int vector(builder *b, const char *name, int n, hy_init init) {
    return add_param(b, name, 1, n, 1, init, 0, false);
}
static int bias(builder *b, bool present, const char *name, int n) {
    return present ? vector(b, name, n, HY_INIT_ZEROS) : -1;
}

// What an op is given: values, or parameters.
typedef struct {
    int n, v[HY_OP_INPUTS];
} operands;
#define LIST(...)                                                          \
    (const operands) {                                                     \
        (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), { __VA_ARGS__ } \
    }
static const operands NONE = {0};

static void fault(const builder *b, hy_op_kind kind, const char *what) {
    hy_assert_fail(__FILE__, __LINE__, hy_asprintf("layer %d, op %s: %s", b->layer, hy_op_name(kind), what));
}

// Ends the program unless `given` has an operand for each word of the op's list (-1 only for those that may be absent).
static void check_operands(const builder *b, hy_op_kind kind, const char *what, const char *list, const operands *given,
                           int limit) {
    hy_operand x;
    int k = 0;
    char *wrong = NULL;
    for (; !wrong && hy_operand_of(list, k, &x); k++) {
        if (k >= given->n)
            wrong = hy_asprintf("%s %s is not given", what, x.name);
        else if (given->v[k] >= limit)
            wrong = hy_asprintf("%s %s does not exist", what, x.name);
        else if (given->v[k] < 0 && !x.optional)
            wrong = hy_asprintf("%s %s must not be absent", what, x.name);
    }
    if (!wrong && k < given->n) wrong = hy_asprintf("%d %ss are given, it has %d", given->n, what, k);
    if (wrong) fault(b, kind, wrong);
}

static void check_op(const builder *b, const hy_op *op, const operands *in, const operands *par) {
    const hy_op_info *info = hy_op_of(op->kind);
    check_operands(b, op->kind, "value", info->inputs, in, b->p->n_values);
    check_operands(b, op->kind, "parameter", info->parameters, par, b->p->n_params);
    const operands out = {info->output[0] != 0 || op->out >= 0, {op->out}};
    check_operands(b, op->kind, "output", info->output, &out, b->p->n_values);
    const hy_slot_kind state = op->slot < 0 ? HY_SLOT_NONE : b->p->slots[op->slot].kind;
    if (state != info->state) fault(b, op->kind, "its state is of another kind");
}

// in, par: LIST(...) in the order of ops.def, HY_NOVAL and -1 for what is absent, or NONE. out, slot: -1 if the kind
// has none.
static hy_op *add_op(builder *b, hy_op_kind kind, operands in, operands par, hy_val out, int slot) {
    hy_program *p = b->p;
    p->ops = grow(p->ops, p->n_ops, &b->cap_ops, sizeof *p->ops);
    hy_op *op = &p->ops[p->n_ops++];
    *op = (hy_op){.kind = kind, .layer = b->layer, .out = out, .slot = slot};
    for (int k = 0; k < HY_OP_INPUTS; k++) op->in[k] = k < in.n ? in.v[k] : HY_NOVAL;
    for (int k = 0; k < HY_OP_PARAMETERS; k++) op->par[k] = k < par.n ? par.v[k] : -1;
    check_op(b, op, &in, &par);
    return op;
}

static int add_slot(builder *b, hy_slot s) {
    hy_program *p = b->p;
    p->slots = grow(p->slots, p->n_slots, &b->cap_slots, sizeof *p->slots);
    s.layer = b->layer;
    p->slots[p->n_slots] = s;
    return p->n_slots++;
}

// ---------------------------------------------------------------------------------------------------- small ops
// par_name NULL: without weights.
static hy_val add_norm(builder *b, const char *out_name, const char *par_name, hy_val x, hy_norm_op how,
                       bool with_bias) {
    const int width = b->p->values[x].width;
    char name[32];
    hy_val y = value(b, out_name, width);
    int w = par_name ? vector(b, par_name, width / how.groups, HY_INIT_ONES) : -1;
    join(name, sizeof name, par_name ? par_name : "", ".bias");
    hy_op *op = add_op(b, HY_OP_NORM, LIST(x), LIST(w, bias(b, with_bias, name, width / how.groups)), y, -1);
    op->norm = how;
    return y;
}
static hy_val head_norm(builder *b, const char *out_name, const char *par_name, hy_val x, int heads) {
    return add_norm(b, out_name, par_name, x, (hy_norm_op){heads, HY_NORM_RMS, b->p->spec.norm_eps}, false);
}
// A norm of the residual stream, as the spec says.
static hy_val stream_norm(builder *b, const char *out_name, const char *par_name, hy_val x) {
    const hy_model_spec *m = &b->p->spec;
    return add_norm(b, out_name, par_name, x, (hy_norm_op){1, m->norm, m->norm_eps}, m->norm_bias);
}
// Of dt, B or C.
static hy_val inner_norm(builder *b, const hy_layer_spec *l, const char *out_name, const char *par_name, hy_val x) {
    const double eps = l->inner_norm_eps != 0 ? l->inner_norm_eps : b->p->spec.norm_eps;
    return add_norm(b, out_name, l->inner_norms == HY_INNER_NORMS_WEIGHTED ? par_name : NULL, x,
                    (hy_norm_op){1, HY_NORM_RMS, eps}, false);
}

static hy_val op_linear(builder *b, const char *out_name, hy_val x, int w, int bias_par, hy_val residual) {
    hy_val y = value(b, out_name, b->p->params[w].shape[0]);
    add_op(b, HY_OP_LINEAR, LIST(x, residual), LIST(w, bias_par), y, -1);
    return y;
}

static hy_rope_scale rope_scale(const hy_model_spec *m) {
    if (m->rope == HY_ROPE_LINEAR) return (hy_rope_scale){.factor = m->rope_factor};
    if (m->rope == HY_ROPE_LLAMA3)
        return (hy_rope_scale){
            .factor = m->rope_factor, .low = m->rope_low, .high = m->rope_high, .length = m->orig_len};
    return (hy_rope_scale){0};
}

// The next `width` columns of a value times a factor (0 columns: none of them).
static void scale_part(hy_scale_parts *p, int width, double by) {
    const int from = p->n ? p->end[p->n - 1] : 0;
    if (!width) return;
    if (p->n && p->by[p->n - 1] == by) {
        p->end[p->n - 1] += width;
        return;
    }
    HY_ASSERT(p->n < HY_SCALE_PARTS);
    p->end[p->n] = from + width;
    p->by[p->n++] = by;
}

// x with its columns multiplied (multipliers of the spec); x itself where all factors are 1.
static hy_val op_scale(builder *b, const char *out_name, hy_val x, const hy_scale_parts *parts) {
    if (parts->n == 1 && parts->by[0] == 1) return x;
    HY_ASSERT(parts->end[parts->n - 1] == b->p->values[x].width);
    hy_val y = value(b, out_name, b->p->values[x].width);
    hy_op *op = add_op(b, HY_OP_SCALE, LIST(x), NONE, y, -1);
    op->scale.parts = *parts;
    return y;
}

static hy_val op_scale_all(builder *b, const char *out_name, hy_val x, double by) {
    return op_scale(b, out_name, x, &(hy_scale_parts){.n = 1, .end = {b->p->values[x].width}, .by = {by}});
}

static hy_val op_rope(builder *b, const char *out_name, hy_val x, int heads, int d, int turned) {
    hy_val y = value(b, out_name, heads * d);
    hy_op *op = add_op(b, HY_OP_ROPE, LIST(x), NONE, y, -1);
    op->rope = (hy_rope_op){.heads = heads,
                            .d = d,
                            .turned = turned,
                            .base = hy_model_rope_base(&b->p->spec, turned),
                            .scale = rope_scale(&b->p->spec)};
    return y;
}

static hy_val op_position(builder *b, hy_val x, double std) {
    const hy_model_spec *m = &b->p->spec;
    hy_val y = value(b, "embed_placed", m->d_model);
    hy_op *op = add_op(b, HY_OP_POSITION, LIST(x), LIST(weight(b, "positions", m->max_len, m->d_model, std)), y, -1);
    op->position = (hy_position_op){.n = m->max_len};
    return y;
}

static hy_val op_dropout(builder *b, hy_val x, double p) {
    hy_val y = value(b, "embed_dropped", b->p->values[x].width);
    hy_op *op = add_op(b, HY_OP_DROPOUT, LIST(x), NONE, y, -1);
    op->dropout = (hy_dropout_op){.place = 0, .p = p};
    return y;
}

static double out_std(const builder *b) {
    const hy_model_spec *m = &b->p->spec;
    return m->init_std / (m->init_residual_scale ? sqrt(2.0 * m->n_layers) : 1.0);
}

// ---------------------------------------------------------------------------------------------------- attention heads
// One head vector after another: optional RMSNorm per head, then rotation. The last step carries the final name.
static hy_val rotate(builder *b, const hy_layer_spec *l, const char *name, const char *norm_name, hy_val x, int heads) {
    const int turned = hy_layer_rotary(&b->p->spec, l);
    char mid[24];
    snprintf(mid, sizeof mid, "%s_normed", name);
    if (l->qk_norm) x = head_norm(b, turned ? mid : name, norm_name, x, heads);
    if (turned) x = op_rope(b, name, x, heads, l->d_qk, turned);
    return x;
}

// q, and k and v if the layer makes its own, are the leading columns of `proj`; advances *col.
static hy_val attention_heads(builder *b, const hy_layer_spec *l, hy_val proj, int *col) {
    const hy_model_spec *m = &b->p->spec;
    const int src = l->kv_source, i = b->layer;
    const bool work = hy_layer_rotary(m, l) || l->qk_norm;
    hy_val q = view(b, work ? "attn.q_raw" : "attn.q", proj, col, l->heads * l->d_qk);
    if (src == i) {
        hy_val k = view(b, work ? "attn.k_raw" : "attn.k", proj, col, l->kv_heads * l->d_qk);
        b->kv_v[i] = view(b, "attn.v", proj, col, l->kv_heads * l->d_v);
        b->kv_k[i] = rotate(b, l, "attn.k", "k_norm", k, l->kv_heads);
        b->kv_slot[i] = add_slot(
            b, (hy_slot){
                   .kind = HY_SLOT_KV, .kv_heads = l->kv_heads, .d_qk = l->d_qk, .d_v = l->d_v, .window = l->window});
    }
    q = rotate(b, l, "attn.q", "q_norm", q, l->heads);
    hy_val o = value(b, "attn.out", l->heads * l->d_v);
    const int k = b->kv_k[src], v = b->kv_v[src], slot = b->kv_slot[src];
    hy_op *op = add_op(b, HY_OP_ATTENTION, LIST(q, k, v), NONE, o, slot);
    op->attention = (hy_attention_op){.heads = l->heads,
                                      .kv_heads = l->kv_heads,
                                      .d_qk = l->d_qk,
                                      .d_v = l->d_v,
                                      .window = l->window,
                                      .place = 1 + i,
                                      .drop = m->dropout_attention,
                                      .scale = 1.0 / sqrt((double)l->d_qk)};
    if (b->last_reader[src] != i) return o;  // the cache is written once everyone has read it
    op = add_op(b, HY_OP_KV_APPEND, LIST(k, v), NONE, HY_NOVAL, slot);
    op->kv_append = (hy_kv_append_op){.kv_heads = l->kv_heads, .d_qk = l->d_qk, .d_v = l->d_v};
    return o;
}

static int attention_width(const hy_layer_spec *l, int layer) {
    return l->heads * l->d_qk + (l->kv_source == layer ? l->kv_heads * (l->d_qk + l->d_v) : 0);
}

// ---------------------------------------------------------------------------------------------------- SSM heads
// The causal convolution over all columns of s, then silu.
static hy_val op_conv(builder *b, const char *out_name, const hy_layer_spec *l, hy_val s) {
    const int W = b->p->values[s].width;
    hy_val x = value(b, out_name, W);
    int cw = add_param(b, "conv.weight", 2, W, l->d_conv, HY_INIT_NORMAL, 1.0 / sqrt(3.0 * l->d_conv), true);
    int cb = l->conv_bias ? vector(b, "conv.bias", W, HY_INIT_ZEROS) : -1;
    int slot = add_slot(b, (hy_slot){.kind = HY_SLOT_CONV, .d_inner = W, .d_conv = l->d_conv});
    hy_op *op = add_op(b, HY_OP_CONV, LIST(s), LIST(cw, cb), x, slot);
    op->conv = (hy_conv_op){.d_conv = l->d_conv, .silu = true};
    return x;
}

// Mamba-2 (Dao and Gu 2024): z, then x, B, C, then dt are the next columns of `proj`; one convolution over x, B and C.
static hy_val mamba2_heads(builder *b, const hy_layer_spec *l, hy_val proj, int *col) {
    const int D = l->d_inner, GN = l->groups * l->d_state, H = hy_layer_ssm_heads(l);
    hy_val g = view(b, "ssm.gate", proj, col, D);
    hy_val s = view(b, "ssm.s", proj, col, hy_layer_conv_width(l)), dt = view(b, "ssm.dt", proj, col, H);
    hy_val conv = op_conv(b, "ssm.conv", l, s);
    int c = 0;
    hy_val x = view(b, "ssm.x", conv, &c, D), B = view(b, "ssm.B", conv, &c, GN), C = view(b, "ssm.C", conv, &c, GN);

    int bias = vector(b, "dt_bias", H, HY_INIT_DT_BIAS), A = vector(b, "A_log", H, HY_INIT_A_LOG_UNIFORM);
    int skip = vector(b, "D", H, HY_INIT_ONES);
    int slot = add_slot(b, (hy_slot){.kind = HY_SLOT_SSM, .d_inner = D, .d_state = l->d_state});
    hy_val y = value(b, "ssm.y", D);
    hy_op *op = add_op(b, HY_OP_SSD, LIST(x, dt, B, C), LIST(A, skip, bias), y, slot);
    op->ssd = (hy_ssd_op){.heads = H, .groups = l->groups, .dt_min = l->dt_min, .dt_max = l->dt_max};

    int w = l->gated_norm ? vector(b, "gate_norm", D, HY_INIT_ONES) : -1;
    hy_val out = value(b, "ssm.out", D);
    op = add_op(b, HY_OP_GATED_NORM, LIST(y, g), LIST(w), out, -1);
    op->gated_norm = (hy_gated_norm_op){.groups = l->gated_norm ? l->groups : 1,
                                        .kind = !l->gated_norm        ? HY_GATED_ONLY
                                                : l->norm_before_gate ? HY_GATED_NORM_FIRST
                                                                      : HY_GATED_GATE_FIRST,
                                        .eps = b->p->spec.norm_eps};
    return out;
}

// s and g are the next columns of `proj` (Mamba-1: Gu and Dao 2023, algorithm 2; inner norms as Hymba has them).
static hy_val ssm_heads(builder *b, const hy_layer_spec *l, hy_val proj, int *col) {
    const hy_model_spec *m = &b->p->spec;
    const int D = l->d_inner, N = l->d_state, R = l->dt_rank;
    hy_val s = view(b, "ssm.s", proj, col, D), g = view(b, "ssm.gate", proj, col, D);

    hy_val x = op_conv(b, "ssm.x", l, s);
    hy_val xp = op_linear(b, "ssm.x_proj", x, weight(b, "x_proj", R + 2 * N, D, m->init_std), -1, HY_NOVAL);
    hy_scale_parts f = {0};
    scale_part(&f, R, m->multipliers.ssm_dt);
    scale_part(&f, N, m->multipliers.ssm_B);
    scale_part(&f, N, m->multipliers.ssm_C);
    xp = op_scale(b, "ssm.x_proj_scaled", xp, &f);
    int c = 0;
    const bool n = l->inner_norms != HY_INNER_NORMS_NONE;
    hy_val dt = view(b, n ? "ssm.dt_raw" : "ssm.dt_in", xp, &c, R);
    hy_val B = view(b, n ? "ssm.B_raw" : "ssm.B", xp, &c, N), C = view(b, n ? "ssm.C_raw" : "ssm.C", xp, &c, N);
    if (n) {
        dt = inner_norm(b, l, "ssm.dt_in", "dt_norm", dt);
        B = inner_norm(b, l, "ssm.B", "B_norm", B);
        C = inner_norm(b, l, "ssm.C", "C_norm", C);
    }
    int dw = weight(b, "dt_proj.weight", D, R, m->init_std), db = vector(b, "dt_proj.bias", D, HY_INIT_DT_BIAS);
    hy_val delta = op_linear(b, "ssm.dt", dt, dw, db, HY_NOVAL);

    hy_val y = value(b, "ssm.out", D);
    int A = add_param(b, "A_log", 2, D, N, HY_INIT_A_LOG, 0, false), skip = vector(b, "D", D, HY_INIT_ONES);
    int slot = add_slot(b, (hy_slot){.kind = HY_SLOT_SSM, .d_inner = D, .d_state = N});
    add_op(b, HY_OP_SCAN, LIST(x, delta, B, C, g), LIST(A, skip), y, slot);
    return y;
}

// ---------------------------------------------------------------------------------------------------- blocks
static hy_val fuse(builder *b, const hy_layer_spec *l, hy_val u, hy_val a, hy_val y) {
    const int Ca = l->heads * l->d_v, Cs = l->d_inner;
    hy_val gate = HY_NOVAL;
    if (l->fusion == HY_FUSION_GATE) {
        int gw = weight(b, "fuse.gate.weight", l->heads, b->p->spec.d_model, b->p->spec.init_std);
        gate = op_linear(b, "fuse.gate", u, gw, vector(b, "fuse.gate.bias", l->heads, HY_INIT_ZEROS), HY_NOVAL);
    }
    int wa = vector(b, "fuse.attn_norm", Ca, HY_INIT_ONES), ws = vector(b, "fuse.ssm_norm", Cs, HY_INIT_ONES);
    hy_val z = value(b, "fuse.out", l->fusion == HY_FUSION_CONCAT ? Ca + Cs : Cs);
    hy_op *op = add_op(b, HY_OP_FUSE, LIST(a, y, gate), LIST(wa, ws), z, -1);
    op->fuse = (hy_fuse_op){.kind = (hy_fuse_kind)l->fusion,
                            .gates = l->heads,
                            .eps = b->p->spec.norm_eps,
                            .by_a = b->p->spec.multipliers.attention_out,
                            .by_s = b->p->spec.multipliers.ssm_out};
    return z;
}

// What the multipliers do to the columns of the in projection, [q | k | v | s | g] or [q | k | v | z | x | B | C | dt].
static hy_scale_parts in_factors(const builder *b, const hy_layer_spec *l, bool attention, bool ssm) {
    const hy_multipliers *f = &b->p->spec.multipliers;
    hy_scale_parts p = {0};
    if (attention) {
        const bool own = l->kv_source == b->layer;
        scale_part(&p, l->heads * l->d_qk, f->attention_in);
        scale_part(&p, own ? l->kv_heads * l->d_qk : 0, f->attention_in * f->key);
        scale_part(&p, own ? l->kv_heads * l->d_v : 0, f->attention_in);
    }
    if (ssm && l->ssm_kind == HY_SSM_MAMBA2) {
        scale_part(&p, l->d_inner, f->ssm_in * f->ssm_z);
        scale_part(&p, l->d_inner, f->ssm_in * f->ssm_x);
        scale_part(&p, l->groups * l->d_state, f->ssm_in * f->ssm_B);
        scale_part(&p, l->groups * l->d_state, f->ssm_in * f->ssm_C);
        scale_part(&p, hy_layer_ssm_heads(l), f->ssm_in * f->ssm_dt);
    } else if (ssm) {
        scale_part(&p, l->d_inner, f->ssm_in * f->ssm_x);
        scale_part(&p, l->d_inner, f->ssm_in * f->ssm_z);
    }
    return p;
}

// `prefix` of the parameter's name: "", or which kind of heads it serves.
static hy_val out_proj(builder *b, const char *out_name, const char *prefix, hy_val z, bool with_bias,
                       hy_val residual) {
    char name[32];
    const int d = b->p->spec.d_model;
    join(name, sizeof name, prefix, "out_proj");
    const int w = weight(b, name, d, b->p->values[z].width, out_std(b));
    join(name, sizeof name, prefix, "out_proj.bias");
    return op_linear(b, out_name, z, w, bias(b, with_bias, name, d), residual);
}

// norm, in projection, attention and/or SSM heads, fusion, out projection, residual. Fusion by sum has an out
// projection for each kind of head, one after the other onto the residual.
static hy_val mixer_block(builder *b, const hy_layer_spec *l, hy_val x, bool attention, bool ssm,
                          const char *out_name) {
    const hy_model_spec *m = &b->p->spec;
    const char *in = attention && ssm ? "mixer.in" : attention ? "attn.in" : "ssm.in";
    const char *out = attention && ssm ? "mixer.proj" : attention ? "attn.proj" : "ssm.proj";
    hy_val u = stream_norm(b, in, "norm", x);
    const int width = (attention ? attention_width(l, b->layer) : 0) + (ssm ? hy_layer_ssm_rows(l) : 0);
    const int in_w = weight(b, "in_proj", width, m->d_model, m->init_std);
    const int in_b = bias(b, attention ? l->qkv_bias : l->proj_bias, "in_proj.bias", width);
    hy_val proj = op_linear(b, out, u, in_w, in_b, HY_NOVAL);
    const hy_scale_parts factors = in_factors(b, l, attention, ssm);
    proj = op_scale(b,
                    attention && ssm ? "mixer.proj_scaled"
                    : attention      ? "attn.proj_scaled"
                                     : "ssm.proj_scaled",
                    proj, &factors);
    int col = 0;
    hy_val a = HY_NOVAL, y = HY_NOVAL;
    if (attention) a = attention_heads(b, l, proj, &col);
    if (ssm) y = l->ssm_kind == HY_SSM_MAMBA2 ? mamba2_heads(b, l, proj, &col) : ssm_heads(b, l, proj, &col);
    HY_ASSERT(col == width);
    if (attention && ssm && l->fusion != HY_FUSION_SUM)
        return out_proj(b, out_name, "", fuse(b, l, u, a, y), l->out_bias, x);
    if (attention) a = op_scale_all(b, "attn.out_scaled", a, m->multipliers.attention_out);
    if (ssm) y = op_scale_all(b, "ssm.out_scaled", y, m->multipliers.ssm_out);
    if (!attention || !ssm)
        return out_proj(b, out_name, "", attention ? a : y, attention ? l->out_bias : l->proj_bias, x);
    x = out_proj(b, "mixer.mid", "attn_", a, l->out_bias, x);
    return out_proj(b, out_name, "ssm_", y, l->proj_bias, x);
}

static hy_val mlp_block(builder *b, const hy_layer_spec *l, hy_val x, const char *out_name) {
    const hy_model_spec *m = &b->p->spec;
    const bool glu = l->mlp == HY_MLP_SILU;
    hy_val u = stream_norm(b, "mlp.in", "mlp.norm", x);
    int up = weight(b, "mlp.up", (glu ? 2 : 1) * l->d_ff, m->d_model, m->init_std);
    hy_val h =
        op_linear(b, "mlp.up_out", u, up, bias(b, l->mlp_bias, "mlp.up.bias", (glu ? 2 : 1) * l->d_ff), HY_NOVAL);
    hy_scale_parts f = {0};
    scale_part(&f, glu ? l->d_ff : 0, m->multipliers.mlp_gate);
    scale_part(&f, l->d_ff, 1);
    h = op_scale(b, "mlp.up_scaled", h, &f);
    hy_val a = value(b, "mlp.act", l->d_ff);
    hy_op *op = add_op(b, HY_OP_ACT, LIST(h), NONE, a, -1);
    op->act.kind = glu ? HY_ACT_SILU_GLU : HY_ACT_RELU2;
    a = op_scale_all(b, "mlp.act_scaled", a, m->multipliers.mlp_down);
    const int down = weight(b, "mlp.down", m->d_model, l->d_ff, out_std(b));
    return op_linear(b, out_name, a, down, bias(b, l->mlp_bias, "mlp.down.bias", m->d_model), x);
}

// The value that enters layer i+1 carries the name "layers.<i+1>.input" ("final_input" after the last one).
static void rename_input(builder *b, hy_val x, int next) {
    hy_value *v = &b->p->values[x];
    if (next < b->p->spec.n_layers)
        snprintf(v->name, sizeof v->name, "layers.%d.input", next);
    else
        snprintf(v->name, sizeof v->name, "final_input");
}

static hy_val layer(builder *b, int i, hy_val x) {
    const hy_layer_spec *l = &b->p->spec.layers[i];
    b->layer = i;
    snprintf(b->prefix, sizeof b->prefix, "layers.%d.", i);
    memcpy(b->par_prefix, b->prefix, sizeof b->prefix);
    const bool first_attn = l->mixer == HY_MIXER_ATTENTION_SSM, two = first_attn || l->mixer == HY_MIXER_SSM_ATTENTION;
    if (two) {
        x = mixer_block(b, l, x, first_attn, !first_attn, "mixer.mid");
        snprintf(b->par_prefix, sizeof b->par_prefix, "layers.%d.second.", i);
        x = mixer_block(b, l, x, !first_attn, first_attn, "mixer.out");
        memcpy(b->par_prefix, b->prefix, sizeof b->prefix);
    } else if (l->mixer != HY_MIXER_NONE) {
        x = mixer_block(b, l, x, hy_layer_has_attention(l), hy_layer_has_ssm(l), "mixer.out");
    }
    if (l->mlp != HY_MLP_NONE) x = mlp_block(b, l, x, "out");
    if (l->mixer == HY_MIXER_NONE &&
        l->mlp == HY_MLP_NONE) {  // an empty layer: its output is its input under a new name
        int col = 0;
        x = view(b, "same", x, &col, b->p->spec.d_model);
    }
    rename_input(b, x, i + 1);
    return x;
}

static void heads(builder *b, hy_val x, int table) {
    hy_program *p = b->p;
    b->layer = -1;
    b->prefix[0] = b->par_prefix[0] = 0;
    p->hidden_final = x = stream_norm(b, "final_norm", "final_norm", x);
    x = op_scale_all(b, "head_in", x, p->spec.multipliers.head);  // loss and logits read the same rows
    int w = p->spec.tied ? table : weight(b, "head", p->spec.vocab, p->spec.d_model, p->spec.init_std);
    add_op(b, HY_OP_LM_LOSS, LIST(x), LIST(w), HY_NOVAL, -1)->head = HY_HEAD_LOSS;

    hy_val rows = add_value(b, "out_rows", HY_ROWS_OUT, p->spec.d_model, HY_NOVAL, 0);
    add_op(b, HY_OP_GATHER, LIST(x), NONE, rows, -1)->head = HY_HEAD_LOGITS;
    p->logits = add_value(b, "logits", HY_ROWS_OUT, p->spec.vocab, HY_NOVAL, 0);
    add_op(b, HY_OP_LINEAR, LIST(rows, HY_NOVAL), LIST(w, -1), p->logits, -1)->head = HY_HEAD_LOGITS;
}

hy_status hy_model_build(const hy_model_spec *spec, hy_program **out) {
    *out = NULL;
    HY_TRY(hy_model_spec_check(spec, NULL));
    const int L = spec->n_layers;
    builder b = {.p = hy_xcalloc(1, sizeof(hy_program)), .layer = -1};
    b.p->spec = *spec;
    b.kv_k = hy_xcalloc((size_t)L * 4, sizeof(int));
    b.kv_v = b.kv_k + L;
    b.kv_slot = b.kv_v + L;
    b.last_reader = b.kv_slot + L;
    for (int i = 0; i < L; i++)
        if (hy_layer_has_attention(&spec->layers[i])) b.last_reader[spec->layers[i].kv_source] = i;

    hy_val x = value(&b, "embed", spec->d_model);
    const double embed_std = spec->init_embedding_std != 0 ? spec->init_embedding_std : spec->init_std;
    int table = weight(&b, "embed", spec->vocab, spec->d_model, embed_std);
    const int meta = spec->meta_tokens ? weight(&b, "meta", spec->meta_tokens, spec->d_model, 1.0) : -1;
    add_op(&b, HY_OP_EMBED, NONE, LIST(table, meta), x, -1);
    if (spec->positions == HY_POSITIONS_LEARNED) x = op_position(&b, x, embed_std);
    x = op_scale_all(&b, "embed_scaled", x, spec->multipliers.embedding);
    if (spec->dropout_embedding > 0) x = op_dropout(&b, x, spec->dropout_embedding);
    rename_input(&b, x, 0);
    for (int i = 0; i < L; i++) x = layer(&b, i, x);
    heads(&b, x, table);
    free(b.kv_k);
    *out = b.p;
    return HY_OK;
}
