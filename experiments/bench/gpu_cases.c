// gpu_cases.c - see gpu_cases.h. Sizes are those of the 300M designs (d_model 1024, 16 query heads of 64 on 4 KV heads
// with values of 128, d_inner 2048, d_state 16) and, for attention, texts of 8192 tokens. Bytes are counted from the
// operands that a kernel must touch, each once; operations as a comment at each case says.
#include "experiments/bench/gpu_cases.h"

#include <math.h>
#include <string.h>

#define OPERAND(what_, n_, touched_, ...) \
    (k->op[k->n++] = (hy_gpu_operand){.what = what_, .n = n_, .touched = touched_, __VA_ARGS__})
#define ACT(n, t, ...) OPERAND(HY_GC_ACT, (size_t)(n), t, __VA_ARGS__)
#define PAR(n, t, ...) OPERAND(HY_GC_PAR, (size_t)(n), t, __VA_ARGS__)
#define MAT(n, t, ...) OPERAND(HY_GC_MAT, (size_t)(n), t, __VA_ARGS__)
#define RESULT .result = true
static size_t mul(int a, int b) { return (size_t)a * (size_t)b; }

// ---------------------------------------------------------------------------------------------------- row by row
static void bind_norm(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m;
    const int R = k->B * k->T, C = k->a;
    const hy_norm_args f = {.rows = R,
                            .groups = 1,
                            .C = C,
                            .eps = 1e-6,
                            .x = p[0],
                            .w = p[1],
                            .y = p[2],
                            .ldx = C,
                            .ldy = C,
                            .saved = saved};
    *(hy_norm_args *)fwd = f;
    if (k->timed == HY_K_norm_bwd)
        *(hy_norm_bwd_args *)timed =
            (hy_norm_bwd_args){.f = f, .dy = p[3], .dx = p[4], .dw = p[5], .lddy = C, .lddx = C};
}
static void make_norm(hy_gpu_case *k, bool backward) {
    const size_t n = mul(k->B * k->T, k->a);
    ACT(n, 1), PAR(k->a, 1, .shift = 1), ACT(n, backward ? 0 : 2, .result = !backward);
    if (backward) ACT(n, 1), ACT(n, 2, RESULT), PAR(k->a, 3, RESULT);
    k->bind = bind_norm;
}

static void bind_act(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m, (void)saved;
    const int R = k->B * k->T, F = k->a;
    const hy_act_args f = {.rows = R, .F = F, .kind = HY_ACT_SILU_GLU, .x = p[0], .y = p[1], .ldx = 2 * F, .ldy = F};
    *(hy_act_args *)fwd = f;
    if (k->timed == HY_K_act_bwd)
        *(hy_act_bwd_args *)timed = (hy_act_bwd_args){.f = f, .dy = p[2], .dx = p[3], .lddy = F, .lddx = 2 * F};
}
static void make_act(hy_gpu_case *k, bool backward) {
    const size_t n = mul(k->B * k->T, k->a);
    ACT(2 * n, 1), ACT(n, backward ? 0 : 2, .result = !backward);
    if (backward) ACT(n, 1), ACT(2 * n, 2, RESULT);
    k->bind = bind_act;
}

static void bind_fuse(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m;
    const int R = k->B * k->T, C = k->a;
    const hy_fuse_args f = {.rows = R,
                            .Ca = C,
                            .Cs = C,
                            .kind = HY_FUSE_MEAN,
                            .eps = 1e-6,
                            .by_a = 1,
                            .by_s = 1,
                            .a = p[0],
                            .s = p[1],
                            .wa = p[2],
                            .ws = p[3],
                            .z = p[4],
                            .lda = C,
                            .lds = C,
                            .ldz = C,
                            .saved = saved};
    *(hy_fuse_args *)fwd = f;
    if (k->timed == HY_K_fuse_bwd)
        *(hy_fuse_bwd_args *)timed = (hy_fuse_bwd_args){
            .f = f, .dz = p[5], .da = p[6], .ds = p[7], .dwa = p[8], .dws = p[9], .lddz = C, .ldda = C, .ldds = C};
}
static void make_fuse(hy_gpu_case *k, bool backward) {
    const size_t n = mul(k->B * k->T, k->a);
    ACT(n, 1), ACT(n, 1), PAR(k->a, 1, .shift = 1), PAR(k->a, 1, .shift = 1),
        ACT(n, backward ? 0 : 2, .result = !backward);
    if (backward) ACT(n, 1), ACT(n, 2, RESULT), ACT(n, 2, RESULT), PAR(k->a, 3, RESULT), PAR(k->a, 3, RESULT);
    k->bind = bind_fuse;
}

static void bind_rope(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m, (void)saved, (void)timed;
    const int W = k->a * k->b;
    *(hy_rope_args *)fwd = (hy_rope_args){.B = k->B,
                                          .T = k->T,
                                          .heads = k->a,
                                          .d = k->b,
                                          .base = 10000,
                                          .pos = p[1],
                                          .x = p[0],
                                          .y = p[2],
                                          .ldx = W,
                                          .ldy = W};
}
static void make_rope(hy_gpu_case *k, bool backward) {
    (void)backward;
    const size_t n = mul(k->B * k->T, k->a * k->b);
    ACT(n, 1), OPERAND(HY_GC_POS, (size_t)k->B, 1, .limit = 0), ACT(n, 2, RESULT);
    k->bind = bind_rope;
}

static void bind_conv(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m, (void)saved;
    const int D = k->a;
    const hy_conv_args f = {.B = k->B,
                            .T = k->T,
                            .D = D,
                            .K = k->b,
                            .silu = true,
                            .x = p[0],
                            .w = p[1],
                            .bias = p[2],
                            .y = p[3],
                            .ldx = D,
                            .ldy = D,
                            .len = p[4]};
    *(hy_conv_args *)fwd = f;
    if (k->timed == HY_K_conv_bwd)
        *(hy_conv_bwd_args *)timed =
            (hy_conv_bwd_args){.f = f, .dy = p[5], .dx = p[6], .dw = p[7], .dbias = p[8], .lddy = D, .lddx = D};
}
static void make_conv(hy_gpu_case *k, bool backward) {
    const size_t n = mul(k->B * k->T, k->a), w = mul(k->a, k->b);
    ACT(n, 1), PAR(w, 1), PAR(k->a, 1), ACT(n, backward ? 0 : 2, .result = !backward),
        OPERAND(HY_GC_POS, (size_t)k->B, 1, .limit = k->T);
    if (backward) ACT(n, 1), ACT(n, 2, RESULT), PAR(w, 3, RESULT), PAR(k->a, 3, RESULT);
    k->bind = bind_conv;
}

static void bind_embed(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)saved;
    const int R = k->B * k->T, C = k->a;
    const hy_embed_args f = {
        .rows = R, .C = C, .V = k->b, .ids = p[0], .table = p[1], .w_dtype = m, .y = p[2], .ldy = C};
    *(hy_embed_args *)fwd = f;
    if (k->timed == HY_K_embed_bwd)
        *(hy_embed_bwd_args *)timed = (hy_embed_bwd_args){.f = f, .dy = p[3], .lddy = C, .dtable = p[4]};
}
static void make_embed(hy_gpu_case *k, bool backward) {
    const size_t R = mul(k->B, k->T), n = R * (size_t)k->a, table = mul(k->b, k->a);
    OPERAND(HY_GC_INT, R, 1, .limit = k->b), MAT(table, 0),
        ACT(n, backward ? 0 : 3, .result = !backward);  // of the table as much as is written
    if (backward) ACT(n, 1), PAR(table, 0, RESULT), PAR(n < table ? n : table, 3);  // only rows that occur are touched
    k->bind = bind_embed;
}

static void bind_adamw(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m, (void)saved, (void)timed;
    *(hy_adamw_args *)fwd = (hy_adamw_args){.n = mul(k->a, k->b),
                                            .p = p[0],
                                            .m = p[1],
                                            .v = p[2],
                                            .g = p[3],
                                            .decay = p[4],
                                            .ctl = p[5],
                                            .beta1 = 0.9,
                                            .beta2 = 0.95,
                                            .eps = 1e-8,
                                            .wd = 0.1};
}
static void make_adamw(hy_gpu_case *k, bool backward) {
    (void)backward;
    const size_t n = mul(k->a, k->b);
    PAR(n, 3, RESULT), PAR(n, 3, RESULT), PAR(n, 3, .fixed = true, .shift = 1, RESULT), PAR(n, 1);
    OPERAND(HY_GC_BYTE, n / HY_DECAY_BLOCK + 1, 1), OPERAND(HY_GC_CTL, HY_CTL_N, 0);
    k->bind = bind_adamw;
}

// ---------------------------------------------------------------------------------------------------- products
// Operations: 2 M N K forward, twice that backward.
static void bind_linear(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)saved;
    const int M = k->B * k->T, K = k->a, N = k->b;
    const hy_linear_args f = {
        .M = M, .N = N, .K = K, .x = p[0], .w = p[1], .w_dtype = m, .y = p[2], .ldx = K, .ldy = N};
    *(hy_linear_args *)fwd = f;
    if (k->timed == HY_K_linear_bwd)
        *(hy_linear_bwd_args *)timed =
            (hy_linear_bwd_args){.f = f, .dy = p[3], .dx = p[4], .dw = p[5], .lddy = N, .lddx = K};
}
static void make_linear(hy_gpu_case *k, bool backward) {
    const int M = k->B * k->T;
    ACT(mul(M, k->a), 1), MAT(mul(k->b, k->a), 1, .scale = 1 / sqrt(k->a)),
        ACT(mul(M, k->b), backward ? 0 : 2, .result = !backward);
    if (backward) ACT(mul(M, k->b), 1), ACT(mul(M, k->a), 2, RESULT), PAR(mul(k->b, k->a), 3, RESULT);
    k->flops = (backward ? 4.0 : 2.0) * M * k->a * k->b;
    k->bind = bind_linear;
}

// Forward and backward of the loss in one: three products of 2 rows C V, an exponential a logit.
static void bind_loss(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)saved;
    const int R = k->B * k->T, C = k->a;
    const hy_lm_loss_args f = {.rows = R,
                               .C = C,
                               .V = k->b,
                               .x = p[0],
                               .w = p[1],
                               .w_dtype = m,
                               .ldx = C,
                               .labels = p[2],
                               .nll = p[3],
                               .pred = p[4]};
    *(hy_lm_loss_args *)fwd = f;
    *(hy_lm_loss_bwd_args *)timed = (hy_lm_loss_bwd_args){.f = f, .scale = p[5], .dx = p[6], .dw = p[7], .lddx = C};
}
static void make_loss(hy_gpu_case *k, bool backward) {
    (void)backward;
    const int R = k->B * k->T;
    ACT(mul(R, k->a), 1), MAT(mul(k->b, k->a), 1, .scale = 1 / sqrt(k->a)),
        OPERAND(HY_GC_INT, (size_t)R, 1, .limit = k->b);
    OPERAND(HY_GC_F32, (size_t)R, 2, RESULT), OPERAND(HY_GC_INT, (size_t)R, 2, .limit = 1),
        OPERAND(HY_GC_F64, 1, 0, .fixed = true, .shift = 1);
    ACT(mul(R, k->a), 2, RESULT), PAR(mul(k->b, k->a), 3, RESULT);
    k->flops = 6.0 * R * k->a * k->b;
    k->exps = (double)R * k->b;
    k->bind = bind_loss;
}

// ---------------------------------------------------------------------------------------------------- attention
static double pairs(const hy_gpu_case *k, int from) {  // visible to the queries at positions from ..
    double n = 0;
    for (int q = from; q < from + k->T; q++) {
        const int first = hy_attn_first(q, k->window, k->meta), meta = q + 1 < k->meta ? q + 1 : k->meta;
        n += meta + (q >= first ? q - first + 1 : 0);
    }
    return n * k->B;
}
// Operations of a visible pair and head: 2 (d_qk + d_v) forward; backward the scores again, dv, dp, dq, dk.
static void bind_attention(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m;
    const int q = k->a * k->c, kw = k->b * k->c, vw = k->b * k->d, o = k->a * k->d;
    hy_attention_args f = {.B = k->B,
                           .T = k->T,
                           .heads = k->a,
                           .kv_heads = k->b,
                           .d_qk = k->c,
                           .d_v = k->d,
                           .window = k->window,
                           .meta = k->meta,
                           .scale = 1 / sqrt(k->c),
                           .q = p[0],
                           .k = p[1],
                           .v = p[2],
                           .o = p[3],
                           .ldq = q,
                           .ldk = kw,
                           .ldv = vw,
                           .ldo = o,
                           .pos = p[4],
                           .len = p[5],
                           .saved = saved};
    if (k->e) f.cache = (hy_kv_view){p[6], p[7], hy_attn_cap(k->e, k->window, k->meta)};
    *(hy_attention_args *)fwd = f;
    if (k->timed == HY_K_attention_bwd)
        *(hy_attention_bwd_args *)timed = (hy_attention_bwd_args){
            .f = f, .dout = p[6], .dq = p[7], .dk = p[8], .dv = p[9], .lddo = o, .lddq = q, .lddk = kw, .lddv = vw};
}
static void make_attention(hy_gpu_case *k, bool backward) {
    const int R = k->B * k->T;
    const size_t q = mul(R, k->a * k->c), kk = mul(R, k->b * k->c), v = mul(R, k->b * k->d), o = mul(R, k->a * k->d);
    ACT(q, 1), ACT(kk, 1), ACT(v, 1), ACT(o, backward ? 1 : 2, .result = !backward);
    OPERAND(HY_GC_POS, (size_t)k->B, 1, .limit = k->e), OPERAND(HY_GC_POS, (size_t)k->B, 1, .limit = k->T);
    if (backward) ACT(o, 1), ACT(q, 2, RESULT), ACT(kk, 2, RESULT), ACT(v, 2, RESULT);
    if (k->e) {
        const int cap = hy_attn_cap(k->e, k->window, k->meta);
        ACT(mul(k->B * k->b, cap * k->c), 1), ACT(mul(k->B * k->b, cap * k->d), 1);
    }
    const double seen = pairs(k, k->e) * k->a;
    k->flops = seen * (backward ? 2.0 * (3 * k->c + 2 * k->d) : 2.0 * (k->c + k->d));
    k->exps = seen;
    k->bind = bind_attention;
}

// ---------------------------------------------------------------------------------------------------- scans
// An exponential for each token, channel and state (backward: once more), and one of softplus and one of the gate.
static void bind_scan(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m;
    const int D = k->a, N = k->b;
    const hy_scan_args f = {.B = k->B,
                            .T = k->T,
                            .D = D,
                            .N = N,
                            .x = p[0],
                            .dt = p[1],
                            .A_log = p[2],
                            .Bm = p[3],
                            .Cm = p[4],
                            .skip = p[5],
                            .gate = p[6],
                            .y = p[7],
                            .ldx = D,
                            .lddt = D,
                            .ldB = N,
                            .ldC = N,
                            .ldgate = D,
                            .ldy = D,
                            .len = p[8],
                            .state = k->e ? p[9] : NULL,
                            .saved = saved};
    *(hy_scan_args *)fwd = f;
    if (k->timed == HY_K_scan_bwd)
        *(hy_scan_bwd_args *)timed = (hy_scan_bwd_args){.f = f,
                                                        .dy = p[9],
                                                        .dx = p[10],
                                                        .ddt = p[11],
                                                        .dA_log = p[12],
                                                        .dBm = p[13],
                                                        .dCm = p[14],
                                                        .dskip = p[15],
                                                        .dgate = p[16],
                                                        .lddy = D,
                                                        .lddx = D,
                                                        .ldddt = D,
                                                        .lddB = N,
                                                        .lddC = N,
                                                        .lddgate = D};
}
static void make_scan(hy_gpu_case *k, bool backward) {
    const int R = k->B * k->T;
    const size_t n = mul(R, k->a), s = mul(R, k->b), A = mul(k->a, k->b);
    ACT(n, 1), ACT(n, 1, .shift = -4), PAR(A, 1, .scale = 0.5, .shift = 1), ACT(s, 1), ACT(s, 1), PAR(k->a, 1),
        ACT(n, 1);
    ACT(n, backward ? 0 : 2, .result = !backward), OPERAND(HY_GC_POS, (size_t)k->B, 1, .limit = k->T);
    if (backward)
        ACT(n, 1), ACT(n, 2, RESULT), ACT(n, 2, RESULT), PAR(A, 3, RESULT), ACT(s, 2, RESULT), ACT(s, 2, RESULT),
            PAR(k->a, 3, RESULT), ACT(n, 2, RESULT);
    else if (k->e)
        OPERAND(HY_GC_F32, mul(k->B, k->a * k->b), 3, RESULT);
    k->exps = (double)n * ((backward ? 2 : 1) * k->b + 2);
    k->bind = bind_scan;
}

// Operations: those of the recurrence, 6 N P a head and token; the chunked form makes more, on tensor cores.
static void bind_ssd(const hy_gpu_case *k, void *const *p, void *saved, hy_dtype m, void *fwd, void *timed) {
    (void)m;
    const int H = k->a, P = k->b, G = k->c, N = k->d;
    const hy_ssd_args f = {.B = k->B,
                           .T = k->T,
                           .H = H,
                           .P = P,
                           .G = G,
                           .N = N,
                           .x = p[0],
                           .dt = p[1],
                           .dt_bias = p[2],
                           .A_log = p[3],
                           .Bm = p[4],
                           .Cm = p[5],
                           .skip = p[6],
                           .y = p[7],
                           .ldx = H * P,
                           .lddt = H,
                           .ldB = G * N,
                           .ldC = G * N,
                           .ldy = H * P,
                           .len = p[8],
                           .state = k->e ? p[9] : NULL,
                           .saved = saved};
    *(hy_ssd_args *)fwd = f;
    if (k->timed == HY_K_ssd_bwd)
        *(hy_ssd_bwd_args *)timed = (hy_ssd_bwd_args){.f = f,
                                                      .dy = p[9],
                                                      .dx = p[10],
                                                      .ddt = p[11],
                                                      .ddt_bias = p[12],
                                                      .dA_log = p[13],
                                                      .dBm = p[14],
                                                      .dCm = p[15],
                                                      .dskip = p[16],
                                                      .lddy = H * P,
                                                      .lddx = H * P,
                                                      .ldddt = H,
                                                      .lddB = G * N,
                                                      .lddC = G * N};
}
static void make_ssd(hy_gpu_case *k, bool backward) {
    const int R = k->B * k->T, H = k->a;
    const size_t n = mul(R, H * k->b), s = mul(R, k->c * k->d), h = mul(R, H);
    ACT(n, 1), ACT(h, 1), PAR(H, 1, .shift = -4), PAR(H, 1, .scale = 0.5, .shift = 1), ACT(s, 1), ACT(s, 1), PAR(H, 1);
    ACT(n, backward ? 0 : 2, .result = !backward), OPERAND(HY_GC_POS, (size_t)k->B, 1, .limit = k->T);
    if (backward)
        ACT(n, 1), ACT(n, 2, RESULT), ACT(h, 2, RESULT), PAR(H, 3, RESULT), PAR(H, 3, RESULT), ACT(s, 2, RESULT),
            ACT(s, 2, RESULT), PAR(H, 3, RESULT);
    else if (k->e)
        OPERAND(HY_GC_F32, mul(k->B * H, k->d * k->b), 3, RESULT);
    k->flops = (backward ? 3.0 : 1.0) * 6.0 * (double)n * k->d;
    k->bind = bind_ssd;
}

// ---------------------------------------------------------------------------------------------------- the table
typedef struct {
    const char *name;
    hy_kernel_id forward, timed;
    void (*make)(hy_gpu_case *, bool backward);
    int B, T, a, b, c, d, e, window, meta;
    const char *sizes;  // what a, b, c, d, e are, for the shape text
} row;
#define FWD(op, make, ...) \
    { #op, HY_K_##op, HY_K_##op, make, __VA_ARGS__ }
#define BWD(op, make, ...) \
    { #op "_bwd", HY_K_##op, HY_K_##op##_bwd, make, __VA_ARGS__ }
#define BOTH(op, make, ...) FWD(op, make, __VA_ARGS__), BWD(op, make, __VA_ARGS__)
static const row rows[] = {
    BOTH(norm, make_norm, 16, 1024, 1024, .sizes = "C"),
    BOTH(fuse, make_fuse, 16, 1024, 2048, .sizes = "C"),
    BOTH(act, make_act, 16, 1024, 2816, .sizes = "F"),
    FWD(rope, make_rope, 16, 1024, 16, 64, .sizes = "h,d"),
    BOTH(conv, make_conv, 16, 1024, 2048, 4, .sizes = "D,K"),
    BOTH(embed, make_embed, 16, 1024, 1024, 32000, .sizes = "C,V"),
    FWD(adamw, make_adamw, 1, 1, 1024, 100000, .sizes = "n,n"),
    BOTH(linear, make_linear, 16, 1024, 1024, 4096, .sizes = "K,N"),
    FWD(linear, make_linear, 1, 1, 1024, 4096, .sizes = "K,N"),
    FWD(linear, make_linear, 8, 1, 1024, 4096, .sizes = "K,N"),
    {"lm_loss_bwd", HY_K_lm_loss, HY_K_lm_loss_bwd, make_loss, 16, 1024, 1024, 32000, .sizes = "C,V"},
    BOTH(attention, make_attention, 2, 8192, 16, 16, 64, 64, .sizes = "h,kv,dk,dv"),
    BOTH(attention, make_attention, 2, 8192, 16, 16, 128, 128, .sizes = "h,kv,dk,dv"),
    BOTH(attention, make_attention, 2, 8192, 16, 16, 64, 64, .window = 1024, .sizes = "h,kv,dk,dv"),
    BOTH(attention, make_attention, 16, 1152, 16, 4, 64, 128, .window = 256, .meta = 128, .sizes = "h,kv,dk,dv"),
    FWD(attention, make_attention, 8, 1, 16, 4, 64, 128, 8192, .sizes = "h,kv,dk,dv,pos"),
    FWD(attention, make_attention, 64, 1, 16, 4, 64, 128, 8192, .window = 256, .meta = 128, .sizes = "h,kv,dk,dv,pos"),
    BOTH(scan, make_scan, 16, 1024, 2048, 16, .sizes = "D,N"),
    BOTH(scan, make_scan, 1, 8192, 2048, 16, .sizes = "D,N"),
    FWD(scan, make_scan, 64, 1, 2048, 16, 0, 0, 1, .sizes = "D,N"),
    BOTH(ssd, make_ssd, 16, 1024, 32, 64, 1, 128, .sizes = "H,P,G,N"),
    FWD(ssd, make_ssd, 64, 1, 32, 64, 1, 128, 1, .sizes = "H,P,G,N"),
};

static void shape_text(const row *r, const hy_gpu_case *k, char out[64]) {
    const int v[] = {k->a, k->b, k->c, k->d, k->e};
    int n = snprintf(out, 64, "%dx%d", k->B, k->T);
    const char *s = r->sizes;
    for (int i = 0; *s && n < 60; i++) {
        const int len = (int)strcspn(s, ",");
        n += snprintf(out + n, 64 - (size_t)n, " %.*s%d", len, s, v[i]);
        s += len + (s[len] == ',');
    }
    if (k->window && n < 60) n += snprintf(out + n, 64 - (size_t)n, " w%d", k->window);
    if (k->meta && n < 60) snprintf(out + n, 64 - (size_t)n, " m%d", k->meta);
}

// For the comparison with the CPU: the same op where tiles and chunks still have edges.
static void shrink(hy_gpu_case *k) {
    if (k->B > 2) k->B = 2;
    if (k->T > 150) k->T = 150;
    if (k->window > 40) k->window = 40;
    if (k->meta > 9) k->meta = 9;
    if (k->forward == HY_K_attention) {
        k->a = 2 * (k->a / k->b), k->b = 2;
        if (k->e) k->e = 200;
    } else if (k->forward == HY_K_ssd) {
        k->a = 2;
    } else {
        if (k->a > 200) k->a = 200;
        if (k->b > 300) k->b = 300;
    }
}

bool hy_gpu_case_make(int i, bool small, hy_gpu_case *k) {
    if (i < 0 || i >= (int)(sizeof rows / sizeof rows[0])) return false;
    const row *r = &rows[i];
    *k = (hy_gpu_case){.name = r->name,
                       .forward = r->forward,
                       .timed = r->timed,
                       .B = r->B,
                       .T = r->T,
                       .a = r->a,
                       .b = r->b,
                       .c = r->c,
                       .d = r->d,
                       .e = r->e,
                       .window = r->window,
                       .meta = r->meta};
    if (small) shrink(k);
    shape_text(r, k, k->shape);
    r->make(k, r->timed != r->forward);
    return true;
}
