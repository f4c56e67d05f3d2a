// bf16_operands.c - which operands of each kernel are bfloat16 where that is computed in: kernels.h as a table.
#include "kernels/cpu/bf16.h"

typedef hy_cpu_operands list;

static void add(list *l, void *p, int *ld, size_t rows, int cols, bool in, bool out) {
    void **at = p;
    if (!*at) return;
    HY_ASSERT(l->n < HY_CPU_OPERANDS);
    l->v[l->n++] = (hy_cpu_operand){at, ld, rows, cols, in, out};
}
// Read; written; a gradient, which is read too where its bit of acc is set.
#define IN(field, ld, rows, cols) add(l, (void *)&(field), &(ld), (size_t)(rows), cols, true, false)
#define OUT(field, ld, rows, cols) add(l, (void *)&(field), &(ld), (size_t)(rows), cols, false, true)
#define GRAD(field, ld, rows, cols, bit) add(l, (void *)&(field), &(ld), (size_t)(rows), cols, a->acc >> (bit)&1, true)

static void matrix(list *l, const void **w, hy_dtype *w_dtype, size_t n) {
    if (*w_dtype != HY_BF16) return;
    l->w = w, l->w_dtype = w_dtype, l->w_n = n;
}

// ---------------------------------------------------------------------------------------------------- row by row
static void norm(list *l, hy_norm_args *a) {
    l->rows = &a->rows;
    IN(a->x, a->ldx, a->rows, a->groups * a->C);
    OUT(a->y, a->ldy, a->rows, a->groups * a->C);
}
static void norm_bwd(list *l, hy_norm_bwd_args *a) {
    const int rows = a->f.rows, C = a->f.groups * a->f.C;
    l->rows = &a->f.rows;
    IN(a->f.x, a->f.ldx, rows, C);
    IN(a->dy, a->lddy, rows, C);
    GRAD(a->dx, a->lddx, rows, C, 0);
}
static void gated_norm(list *l, hy_gated_norm_args *a) {
    const int C = a->groups * a->C;
    l->rows = &a->rows;
    IN(a->x, a->ldx, a->rows, C);
    IN(a->gate, a->ldgate, a->rows, C);
    OUT(a->y, a->ldy, a->rows, C);
}
static void gated_norm_bwd(list *l, hy_gated_norm_bwd_args *a) {
    const int rows = a->f.rows, C = a->f.groups * a->f.C;
    l->rows = &a->f.rows;
    IN(a->f.x, a->f.ldx, rows, C);
    IN(a->f.gate, a->f.ldgate, rows, C);
    IN(a->dy, a->lddy, rows, C);
    GRAD(a->dx, a->lddx, rows, C, 0);
    GRAD(a->dgate, a->lddgate, rows, C, 1);
}
static void linear(list *l, hy_linear_args *a) {
    l->rows = &a->M;
    IN(a->x, a->ldx, a->M, a->K);
    IN(a->residual, a->ldres, a->M, a->N);
    OUT(a->y, a->ldy, a->M, a->N);
}
static void linear_bwd(list *l, hy_linear_bwd_args *a) {
    l->rows = &a->f.M;
    IN(a->f.x, a->f.ldx, a->f.M, a->f.K);
    IN(a->dy, a->lddy, a->f.M, a->f.N);
    GRAD(a->dx, a->lddx, a->f.M, a->f.K, 0);
    GRAD(a->dres, a->lddres, a->f.M, a->f.N, 1);
    matrix(l, &a->f.w, &a->f.w_dtype, a->dx ? (size_t)a->f.N * (size_t)a->f.K : 0);
}
static int act_width(const hy_act_args *a) { return a->kind == HY_ACT_SILU_GLU ? 2 * a->F : a->F; }
static void act(list *l, hy_act_args *a) {
    l->rows = &a->rows;
    IN(a->x, a->ldx, a->rows, act_width(a));
    OUT(a->y, a->ldy, a->rows, a->F);
}
static void act_bwd(list *l, hy_act_bwd_args *a) {
    l->rows = &a->f.rows;
    IN(a->f.x, a->f.ldx, a->f.rows, act_width(&a->f));
    IN(a->dy, a->lddy, a->f.rows, a->f.F);
    GRAD(a->dx, a->lddx, a->f.rows, act_width(&a->f), 0);
}
static void scale(list *l, hy_scale_args *a) {
    l->rows = &a->rows;
    IN(a->x, a->ldx, a->rows, a->C);
    OUT(a->y, a->ldy, a->rows, a->C);
}
static void scale_bwd(list *l, hy_scale_bwd_args *a) {
    l->rows = &a->f.rows;
    IN(a->dy, a->lddy, a->f.rows, a->f.C);
    GRAD(a->dx, a->lddx, a->f.rows, a->f.C, 0);
}
static void fuse_inputs(list *l, hy_fuse_args *a) {
    l->rows = &a->rows;
    IN(a->a, a->lda, a->rows, a->Ca);
    IN(a->s, a->lds, a->rows, a->Cs);
    if (a->kind == HY_FUSE_GATE) IN(a->gate, a->ldgate, a->rows, a->G);
}
static int fuse_width(const hy_fuse_args *a) { return a->kind == HY_FUSE_CONCAT ? a->Ca + a->Cs : a->Ca; }
static void fuse(list *l, hy_fuse_args *a) {
    fuse_inputs(l, a);
    OUT(a->z, a->ldz, a->rows, fuse_width(a));
}
static void fuse_bwd(list *l, hy_fuse_bwd_args *a) {
    fuse_inputs(l, &a->f);
    IN(a->dz, a->lddz, a->f.rows, fuse_width(&a->f));
    GRAD(a->da, a->ldda, a->f.rows, a->f.Ca, 0);
    GRAD(a->ds, a->ldds, a->f.rows, a->f.Cs, 1);
    if (a->f.kind == HY_FUSE_GATE) GRAD(a->dgate, a->lddgate, a->f.rows, a->f.G, 2);
}

// ---------------------------------------------------------------------------------------------------- sequences
static void rope(list *l, hy_rope_args *a) {
    IN(a->x, a->ldx, a->B * a->T, a->heads * a->d);
    OUT(a->y, a->ldy, a->B * a->T, a->heads * a->d);
}
static void rope_bwd(list *l, hy_rope_bwd_args *a) {
    IN(a->dy, a->lddy, a->f.B * a->f.T, a->f.heads * a->f.d);
    GRAD(a->dx, a->lddx, a->f.B * a->f.T, a->f.heads * a->f.d, 0);
}
static void attention_inputs(list *l, hy_attention_args *a) {
    const int rows = a->B * a->T;
    IN(a->q, a->ldq, rows, a->heads * a->d_qk);
    IN(a->k, a->ldk, rows, a->kv_heads * a->d_qk);
    IN(a->v, a->ldv, rows, a->kv_heads * a->d_v);
}
static void attention(list *l, hy_attention_args *a) {
    attention_inputs(l, a);
    OUT(a->o, a->ldo, a->B * a->T, a->heads * a->d_v);
    if (a->cache.k) l->cache = &a->cache;
}
static void attention_bwd(list *l, hy_attention_bwd_args *a) {
    const int rows = a->f.B * a->f.T;
    attention_inputs(l, &a->f);
    IN(a->f.o, a->f.ldo, rows, a->f.heads * a->f.d_v);
    IN(a->dout, a->lddo, rows, a->f.heads * a->f.d_v);
    GRAD(a->dq, a->lddq, rows, a->f.heads * a->f.d_qk, 0);
    GRAD(a->dk, a->lddk, rows, a->f.kv_heads * a->f.d_qk, 1);
    GRAD(a->dv, a->lddv, rows, a->f.kv_heads * a->f.d_v, 2);
}
static void conv(list *l, hy_conv_args *a) {
    IN(a->x, a->ldx, a->B * a->T, a->D);
    OUT(a->y, a->ldy, a->B * a->T, a->D);
    if (a->K > 1) add(l, (void *)&a->state, NULL, (size_t)a->B * (size_t)(a->K - 1), a->D, true, true);
}
static void conv_bwd(list *l, hy_conv_bwd_args *a) {
    const int rows = a->f.B * a->f.T;
    IN(a->f.x, a->f.ldx, rows, a->f.D);
    IN(a->dy, a->lddy, rows, a->f.D);
    GRAD(a->dx, a->lddx, rows, a->f.D, 0);
}
static void scan_inputs(list *l, hy_scan_args *a) {
    const int rows = a->B * a->T;
    IN(a->x, a->ldx, rows, a->D);
    IN(a->dt, a->lddt, rows, a->D);
    IN(a->Bm, a->ldB, rows, a->N);
    IN(a->Cm, a->ldC, rows, a->N);
    IN(a->gate, a->ldgate, rows, a->D);
}
static void scan(list *l, hy_scan_args *a) {
    scan_inputs(l, a);
    OUT(a->y, a->ldy, a->B * a->T, a->D);
}
static void scan_bwd(list *l, hy_scan_bwd_args *a) {
    const int rows = a->f.B * a->f.T, D = a->f.D, N = a->f.N;
    scan_inputs(l, &a->f);
    IN(a->dy, a->lddy, rows, D);
    GRAD(a->dx, a->lddx, rows, D, 0);
    GRAD(a->ddt, a->ldddt, rows, D, 1);
    GRAD(a->dBm, a->lddB, rows, N, 2);
    GRAD(a->dCm, a->lddC, rows, N, 3);
    GRAD(a->dgate, a->lddgate, rows, D, 4);
}
static void ssd_inputs(list *l, hy_ssd_args *a) {
    const int rows = a->B * a->T;
    IN(a->x, a->ldx, rows, a->H * a->P);
    IN(a->dt, a->lddt, rows, a->H);
    IN(a->Bm, a->ldB, rows, a->G * a->N);
    IN(a->Cm, a->ldC, rows, a->G * a->N);
}
static void ssd(list *l, hy_ssd_args *a) {
    ssd_inputs(l, a);
    OUT(a->y, a->ldy, a->B * a->T, a->H * a->P);
}
static void ssd_bwd(list *l, hy_ssd_bwd_args *a) {
    const int rows = a->f.B * a->f.T, D = a->f.H * a->f.P, N = a->f.G * a->f.N;
    ssd_inputs(l, &a->f);
    IN(a->dy, a->lddy, rows, D);
    GRAD(a->dx, a->lddx, rows, D, 0);
    GRAD(a->ddt, a->ldddt, rows, a->f.H, 1);
    GRAD(a->dBm, a->lddB, rows, N, 2);
    GRAD(a->dCm, a->lddC, rows, N, 3);
}

// ---------------------------------------------------------------------------------------------------- ends
static void embed(list *l, hy_embed_args *a) { OUT(a->y, a->ldy, a->rows, a->C); }
static void embed_bwd(list *l, hy_embed_bwd_args *a) {
    IN(a->dy, a->lddy, a->f.rows, a->f.C);
    matrix(l, &a->f.table, &a->f.w_dtype, 0);  // only its gradient matters
}
static void position(list *l, hy_position_args *a) {
    IN(a->x, a->ldx, a->B * a->T, a->C);
    OUT(a->y, a->ldy, a->B * a->T, a->C);
}
static void position_bwd(list *l, hy_position_bwd_args *a) {
    IN(a->dy, a->lddy, a->f.B * a->f.T, a->f.C);
    GRAD(a->dx, a->lddx, a->f.B * a->f.T, a->f.C, 0);
}
static void dropout(list *l, hy_dropout_args *a) {
    IN(a->x, a->ldx, a->rows, a->C);
    OUT(a->y, a->ldy, a->rows, a->C);
}
static void dropout_bwd(list *l, hy_dropout_bwd_args *a) {
    IN(a->dy, a->lddy, a->f.rows, a->f.C);
    GRAD(a->dx, a->lddx, a->f.rows, a->f.C, 0);
}
static void lm_loss(list *l, hy_lm_loss_args *a) { IN(a->x, a->ldx, a->rows, a->C); }
static void lm_loss_bwd(list *l, hy_lm_loss_bwd_args *a) {
    lm_loss(l, &a->f);
    GRAD(a->dx, a->lddx, a->f.rows, a->f.C, 0);
    matrix(l, &a->f.w, &a->f.w_dtype, (size_t)a->f.V * (size_t)a->f.C);
}

bool hy_cpu_list_operands(hy_kernel_id id, hy_cpu_args *a, hy_cpu_operands *out) {
    *out = (hy_cpu_operands){0};
#define LIST(X)                                                                                                      \
    X(norm)                                                                                                          \
    X(norm_bwd)                                                                                                      \
    X(gated_norm)                                                                                                    \
    X(gated_norm_bwd) X(linear) X(linear_bwd) X(act) X(act_bwd) X(scale) X(scale_bwd) X(fuse) X(fuse_bwd) X(rope)    \
        X(rope_bwd) X(attention) X(attention_bwd) X(conv) X(conv_bwd) X(scan) X(scan_bwd) X(ssd) X(ssd_bwd) X(embed) \
            X(embed_bwd) X(lm_loss) X(lm_loss_bwd) X(position) X(position_bwd) X(dropout) X(dropout_bwd)
    switch (id) {
#define X(name) \
    case HY_K_##name: name(out, &a->name); return true;
        LIST(X)
#undef X
        default: return false;
    }
}
