// kernels.h - the interface between the model code and a device: for each kernel its argument struct, shapes and
// mathematics. Plain data in, a status out; a kernel allocates nothing, keeps no state and reads no configuration.
//
// Conventions
//   B sequences of T tokens in this call; row r = b*T + t. C, D, N are widths. Matrices are row-major; ld* is the
//   distance in elements between two rows of an operand, which may be a range of columns of a wider buffer.
//   Floating operands have the element type hy_plan_req.dtype, with these exceptions:
//   - Where a struct has a w_dtype and that is HY_BF16, its weight matrix (w or table) is bfloat16. It is widened as it
//     is read, so the results are those of the same weights in float32. With dtype HY_F32 or HY_F64 this works forward
//     only. Any other w_dtype means hy_plan_req.dtype.
//   - dtype HY_BF16: activations, their gradients, KV caches and convolution tails are bfloat16, sums are kept in
//     float32. Parameters and all their gradients, nll, SSM states and saved buffers are float32; a matrix with a
//     w_dtype is bfloat16 or float32, as that says, and its gradient float32.
//   Statistics (norms, softmax, losses) are at least float32.
//   Every pointer is to device memory, also those to scalars (scale, ctl, sum): nothing that changes from step to step
//   is part of a launch, so a step can be recorded once and replayed.
//   pos [B]: position of the first token of each sequence in this call, meta tokens counted. len [B]: how many of the T
//   tokens of each are valid. The rest is padding: row-wise kernels compute something finite there; attention, conv,
//   scan and ssd write 0 and leave the state as it is after token len-1.
//   Gradients of parameters are always added to (+=). Gradients of activations are added to where their bit of `acc` is
//   set and overwritten where it is not. A NULL gradient pointer means that the gradient is not wanted.
//   `saved` is memory that forward fills for backward, of the size that the plan reports; NULL when no backward will
//   follow.
#ifndef HY_KERNELS_H
#define HY_KERNELS_H
#include "core/base/base.h"
#include "kernels/attn_rule.h"

typedef enum { HY_F32 = 0, HY_F64, HY_BF16, HY_I32 } hy_dtype;
static inline size_t hy_dtype_size(hy_dtype t) { return t == HY_F64 ? 8 : t == HY_BF16 ? 2 : 4; }

// ---- embed: y[r] = ids[r] >= 0 ? table[ids[r]] : meta[-ids[r]-1]           table [V,C], meta [m,C] (or NULL)
typedef struct {
    int rows, C, V, m;
    const int32_t *ids;  // [rows] -m .. V-1, checked by the caller
    const void *table, *meta;
    hy_dtype w_dtype;  // of table
    void *y;
    int ldy;
} hy_embed_args;
typedef struct {
    hy_embed_args f;
    const void *dy;
    int lddy;
    void *dtable, *dmeta;  // +=
} hy_embed_bwd_args;

// ---- position: y = x + w[p], where row b*T + t has p = pos[b] + t - meta, its position among the text tokens; meta
//      tokens have none and are passed on. Rows of padding past the last position get that one.   w [n,C]
typedef struct {
    int B, T, C, n, meta;
    const int32_t *pos;
    const void *x, *w;
    void *y;
    int ldx, ldy;
} hy_position_args;
typedef struct {
    hy_position_args f;
    const void *dy;
    void *dx, *dw;
    int lddy, lddx;
    unsigned acc;  // bit 0: dx
} hy_position_bwd_args;
// The row of w for row r, negative: none.
HY_ATTN_RULE int hy_position_row(const hy_position_args *a, int r) {
    const int p = a->pos[r / a->T] + r % a->T - a->meta;
    return p < a->n ? p : a->n - 1;
}

// ---- dropout: y = x / (1 - p) where dropout_rule.h keeps the element, else 0. Element (r, c) has the number r C + c
// of
//      its place in the model; key [1] changes from step to step; NULL: y = x
typedef struct {
    int rows, C, place;
    double p;
    const uint64_t *key;
    const void *x;
    void *y;
    int ldx, ldy;
} hy_dropout_args;
typedef struct {
    hy_dropout_args f;
    const void *dy;
    void *dx;
    int lddy, lddx;
    unsigned acc;  // bit 0: dx
} hy_dropout_bwd_args;

// ---- norm: each row holds `groups` vectors of C; RMS: y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps)
//      LAYER: the mean is taken off first. w NULL: 1. bias, or NULL, is added to y. w, bias [C], shared by the groups.
typedef enum { HY_NORM_RMS = 0, HY_NORM_LAYER } hy_norm_kind;
typedef struct {
    int rows, groups, C;
    hy_norm_kind kind;
    double eps;
    const void *x, *w, *bias;
    void *y;
    int ldx, ldy;
    void *saved;
} hy_norm_args;
typedef struct {
    hy_norm_args f;
    const void *dy;
    void *dx, *dw, *dbias;
    int lddy, lddx;
    unsigned acc;  // bit 0: dx
} hy_norm_bwd_args;

// ---- linear: y = x w^T (+ bias) (+ residual)        x [M,K], w [N,K] (row stride K), bias [N], residual [M,N]
typedef struct {
    int M, N, K;
    const void *x, *w, *bias, *residual;
    hy_dtype w_dtype;
    void *y;
    int ldx, ldres, ldy;
} hy_linear_args;
typedef struct {
    hy_linear_args f;
    const void *dy;
    void *dx, *dw, *dbias, *dres;
    int lddy, lddx, lddres;
    unsigned acc;  // bit 0: dx, bit 1: dres
} hy_linear_bwd_args;

// ---- rope: rotate-half over the first r = `turned` of each head's d values (0: over all of them): pairs (i, i + r/2),
// angle = position * f, f = base^(-2i/r); the others pass as they are. Scaled:
//      factor 0: f; length 0: f / factor; else (Llama 3.1), with n = length f / 2 pi, the turns of that pair in
//      `length` positions: f / factor where n < low, f where n > high, and in between their mean with weight (n - low)
//      / (high - low) on f.
typedef struct {
    double factor, low, high, length;
} hy_rope_scale;
typedef struct {
    int B, T, heads, d, turned;
    double base;
    hy_rope_scale scale;
    const int32_t *pos;
    const void *x;
    void *y;
    int ldx, ldy;
} hy_rope_args;
typedef struct {
    hy_rope_args f;
    const void *dy;
    void *dx;
    int lddy, lddx;
    unsigned acc;  // bit 0: dx
} hy_rope_bwd_args;

// ---- attention: o = softmax(scale q k^T + mask) v per head; query head h reads KV head h / (heads / kv_heads);
//      the mask is attn_rule.h. Keys are those of this call and, if cache.k is set, the cached positions before pos[b].
//      cache: k [B, kv_heads, cap, d_qk], v [B, kv_heads, cap, d_v], slot of position p = hy_attn_slot(p, meta, cap).
//      Saved: log-sum-exp of each query and head. Backward: pos = 0, no cache. Nothing of size T x T is held.
//      drop.key not NULL (training: pos 0, no cache): each weight of the softmax is divided by 1 - p or dropped as
//      dropout_rule.h says; that of query t, head h and key j of sequence b has the number ((b heads + h) T + t) T + j.
typedef struct {
    void *k, *v;
    int cap;
} hy_kv_view;
typedef struct {
    double p;
    int place;
    const uint64_t *key;  // [1]; NULL: nothing is dropped
} hy_attention_drop;
typedef struct {
    int B, T, heads, kv_heads, d_qk, d_v, window, meta;
    double scale;
    const void *q, *k, *v;  // [B*T, heads*d_qk], [B*T, kv_heads*d_qk], [B*T, kv_heads*d_v]
    void *o;                // [B*T, heads*d_v]
    int ldq, ldk, ldv, ldo;
    const int32_t *pos, *len;
    hy_kv_view cache;
    hy_attention_drop drop;
    void *saved;
} hy_attention_args;
typedef struct {
    hy_attention_args f;  // f.o holds the forward result
    const void *dout;
    void *dq, *dk, *dv;
    int lddo, lddq, lddk, lddv;
    unsigned acc;  // bit 0: dq, 1: dk, 2: dv
} hy_attention_bwd_args;

// ---- kv_append: writes keys and values of positions pos[b] .. pos[b]+len[b]-1 into the cache (what a ring overwrites
//      is no longer visible to any query). Runs after the last layer that shares these keys.
typedef struct {
    int B, T, kv_heads, d_qk, d_v, meta;
    const void *k, *v;
    int ldk, ldv;
    const int32_t *pos, *len;
    hy_kv_view cache;
} hy_kv_append_args;

// ---- conv: causal depthwise convolution over time, then silu if asked: y_t = act(bias + sum_j w[:,j] x_{t-K+1+j})
//      w [D,K], bias [D] or NULL; state [B,K-1,D] in/out or NULL (zeros before the start): the last K-1 inputs.
typedef struct {
    int B, T, D, K;
    bool silu;
    const void *x, *w, *bias;
    void *y;
    int ldx, ldy;
    void *state;
    const int32_t *len;
} hy_conv_args;
typedef struct {
    hy_conv_args f;  // without state
    const void *dy;
    void *dx, *dw, *dbias;
    int lddy, lddx;
    unsigned acc;  // bit 0: dx
} hy_conv_bwd_args;

// ---- scan (Mamba-1 selective scan), per channel d and state n:
//      delta = softplus(dt)   A = -exp(A_log)   h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t
//      y_t = (sum_n C_t h_t + skip x_t) * silu(gate_t)          (no gate: factor 1; no skip: 0)
//      x, dt, gate, y [B*T, D]; A_log [D,N]; Bm, Cm [B*T, N]; skip [D]; state [B,D,N] in/out or NULL (starts at 0).
//      Saved: states at chunk starts. Nothing of size T x D x N is held, forward or backward.
typedef struct {
    int B, T, D, N;
    const void *x, *dt, *A_log, *Bm, *Cm, *skip, *gate;
    void *y;
    int ldx, lddt, ldB, ldC, ldgate, ldy;
    void *state;
    const int32_t *len;
    void *saved;
} hy_scan_args;
typedef struct {
    hy_scan_args f;  // without state
    const void *dy;
    void *dx, *ddt, *dA_log, *dBm, *dCm, *dskip, *dgate;
    int lddy, lddx, ldddt, lddB, lddC, lddgate;
    unsigned acc;  // bit 0: dx, 1: ddt, 2: dBm, 3: dCm, 4: dgate
} hy_scan_bwd_args;

// ---- ssd (Mamba-2, state space duality), per head h of P channels; its B and C are those of group h / (H / G):
//      delta = clamp(softplus(dt + dt_bias), dt_min, dt_max)   A = -exp(A_log)
//      S_t [N,P] = exp(delta_t A) S_{t-1} + delta_t B_t x_t^T      y_t = C_t S_t + skip x_t
//      x, y [B*T, H*P]; dt [B*T, H]; dt_bias (or NULL: 0), A_log, skip (or NULL: 0) [H]; Bm, Cm [B*T, G*N]; dt_max 0:
//      no limit; state [B,H,N,P] in/out or NULL (starts at 0). No gradient passes a clamped delta. The same as a
//      product with the matrix M_ij = C_i . B_j exp(A sum_{j<k<=i} delta_k) delta_j, which is never held beyond chunks
//      of tokens.
typedef struct {
    int B, T, H, P, G, N;
    double dt_min, dt_max;
    const void *x, *dt, *dt_bias, *A_log, *Bm, *Cm, *skip;
    void *y;
    int ldx, lddt, ldB, ldC, ldy;
    void *state;
    const int32_t *len;
    void *saved;
} hy_ssd_args;
typedef struct {
    hy_ssd_args f;  // without state
    const void *dy;
    void *dx, *ddt, *ddt_bias, *dA_log, *dBm, *dCm, *dskip;
    int lddy, lddx, ldddt, lddB, lddC;
    unsigned acc;  // bit 0: dx, 1: ddt, 2: dBm, 3: dCm
} hy_ssd_bwd_args;

// ---- gated_norm: each row holds `groups` vectors of C; norm = RMSNorm of each vector, weight w [groups * C]
//      GATE_FIRST: y = norm(x silu(gate))    NORM_FIRST: y = norm(x) silu(gate)    ONLY: y = x silu(gate), w NULL
typedef enum { HY_GATED_ONLY = 0, HY_GATED_GATE_FIRST, HY_GATED_NORM_FIRST } hy_gated_kind;
typedef struct {
    int rows, groups, C;
    hy_gated_kind kind;
    double eps;
    const void *x, *gate, *w;
    void *y;
    int ldx, ldgate, ldy;
} hy_gated_norm_args;
typedef struct {
    hy_gated_norm_args f;
    const void *dy;
    void *dx, *dgate, *dw;
    int lddy, lddx, lddgate;
    unsigned acc;  // bit 0: dx, 1: dgate
} hy_gated_norm_bwd_args;

// ---- act: SILU_GLU: x [rows, 2F] = [gate | up], y = silu(gate) * up; RELU2: x [rows, F], y = max(x, 0)^2
typedef enum { HY_ACT_SILU_GLU = 0, HY_ACT_RELU2 } hy_act_kind;
typedef struct {
    int rows, F;
    hy_act_kind kind;
    const void *x;
    void *y;
    int ldx, ldy;
} hy_act_args;
typedef struct {
    hy_act_args f;
    const void *dy;
    void *dx;
    int lddy, lddx;
    unsigned acc;  // bit 0: dx
} hy_act_bwd_args;

// ---- scale: y = x times a factor that is the same for a range of columns
#define HY_SCALE_PARTS 8
typedef struct {
    int n;                      // ranges
    int end[HY_SCALE_PARTS];    // range i: columns end[i-1] (0 for the first) .. end[i]-1
    double by[HY_SCALE_PARTS];  // its factor
} hy_scale_parts;
typedef struct {
    int rows, C;  // parts.end[parts.n-1] = C
    hy_scale_parts parts;
    const void *x;
    void *y;
    int ldx, ldy;
} hy_scale_args;
typedef struct {
    hy_scale_args f;
    const void *dy;
    void *dx;
    int lddy, lddx;
    unsigned acc;  // bit 0: dx
} hy_scale_bwd_args;

// ---- fuse: joins attention output a [rows, Ca] and SSM output s [rows, Cs], na = by_a RMSNorm(a; wa),
//      ns = by_s RMSNorm(s; ws)
//      MEAN (paper eq. 3): z = (na + ns) / 2              Ca = Cs
//      CONCAT: z = [na | ns]                              z [rows, Ca + Cs]
//      GATE: z = g na + (1 - g) ns, g = sigmoid(gate)     Ca = Cs; gate [rows, G], each value serves Ca / G channels
typedef enum { HY_FUSE_MEAN = 0, HY_FUSE_CONCAT, HY_FUSE_GATE } hy_fuse_kind;
typedef struct {
    int rows, Ca, Cs, G;
    hy_fuse_kind kind;
    double eps, by_a, by_s;
    const void *a, *s, *gate, *wa, *ws;
    void *z;
    int lda, lds, ldgate, ldz;
    void *saved;
} hy_fuse_args;
typedef struct {
    hy_fuse_args f;
    const void *dz;
    void *da, *ds, *dgate, *dwa, *dws;
    int lddz, ldda, ldds, lddgate;
    unsigned acc;  // bit 0: da, 1: ds, 2: dgate
} hy_fuse_bwd_args;

// ---- gather: y[i] = x[idx[i]], i < n
typedef struct {
    int n, C;
    const int32_t *idx;
    const void *x;
    void *y;
    int ldx, ldy;
} hy_gather_args;

// ---- lm_loss: logits = x w^T, nll[r] = logsumexp(logits) - logits[label] (nats), pred[r] = argmax (first on ties);
//      rows with a label < 0 are skipped (nll 0, pred -1). Backward also writes nll and pred, so that training runs it
//      alone; the gradient is that of scale * sum(nll). The logits of all rows are never held at once.
typedef struct {
    int rows, C, V;
    const void *x, *w;  // w [V,C]
    hy_dtype w_dtype;
    int ldx;
    const int32_t *labels;
    void *nll;      // [rows]
    int32_t *pred;  // [rows]
} hy_lm_loss_args;
typedef struct {
    hy_lm_loss_args f;
    const double *scale;  // [1]
    void *dx, *dw;
    int lddx;
    unsigned acc;  // bit 0: dx
} hy_lm_loss_bwd_args;

// ---- one optimiser step. Its scalars are in a control block `ctl` [HY_CTL_N] on the device. The host writes those
//      before HY_CTL_SUMSQ when a step starts, kernels write the others.
typedef enum {
    HY_CTL_LR = 0,      // learning rate of this step
    HY_CTL_C1,          // 1 - beta1^step
    HY_CTL_C2,          // 1 - beta2^step
    HY_CTL_CLIP,        // largest gradient norm, 0: no limit
    HY_CTL_SCALE,       // of the loss: 1 / labels
    HY_CTL_STEP,        // 1 for the first
    HY_CTL_NLL,         // sum over the micro-batches; the host writes 0
    HY_CTL_SUMSQ,       // of the gradient
    HY_CTL_GRAD_SCALE,  // factor on the gradient, from clipping
    HY_CTL_BAD,         // not 0: a loss or norm was not finite. It stays set, and no parameter is updated any more
    HY_CTL_N,
    HY_CTL_HOST = HY_CTL_SUMSQ,
} hy_ctl;

// ---- adamw (Loshchilov and Hutter 2019): g' = g * ctl[GRAD_SCALE]; m, v as in Adam; p -= lr (mhat / (sqrt(vhat) +
// eps) + wd p).
//      decay[i / HY_DECAY_BLOCK] is 1 where weight decay applies (tensors are aligned to that block). Nothing is
//      written when ctl[BAD] is set. p, m, v and g have the type of parameters.
#define HY_DECAY_BLOCK 16
typedef struct {
    size_t n;
    void *p, *m, *v;       // [n]
    const void *g;         // [n]
    uint16_t *p16;         // [n] the new parameters in bfloat16, or NULL
    const uint8_t *decay;  // [ceil(n / HY_DECAY_BLOCK)]
    double beta1, beta2, eps, wd;
    const double *ctl;  // [HY_CTL_N]
} hy_adamw_args;

// ---- sumsq: *out = sum of x[i]^2 (parameters' type), in double, in an order that does not depend on the number of
// threads
typedef struct {
    size_t n;
    const void *x;
    double *out;
} hy_sumsq_args;

// ---- nll_sum: *sum += sum of nll[r], in double; on the CPU in row order
typedef struct {
    int rows;
    const void *nll;  // [rows], as lm_loss writes it
    double *sum;
} hy_nll_sum_args;

// ---- clip: the norm is sqrt(ctl[SUMSQ]), the loss ctl[NLL] * ctl[SCALE]; ctl[GRAD_SCALE] = clip / norm where a limit
// is set and
//      the norm is above it, else 1; ctl[BAD] = 1 if loss or norm is not finite. report[(step - 1) % cap] = {loss,
//      norm}.
typedef struct {
    double *ctl;     // [HY_CTL_N]
    double *report;  // [cap, 2]
    int cap;
} hy_clip_args;

// ---- cast: y[i] = x[i] rounded to bfloat16, to nearest, ties to even; NaN stays NaN       x, y [n]
typedef struct {
    size_t n;
    const float *x;
    uint16_t *y;
} hy_cast_args;

// ---- all kernels. X(name): hy_<name>_args above, HY_K_<name> below
#define HY_KERNELS(X)                                                                                                \
    X(embed)                                                                                                         \
    X(embed_bwd)                                                                                                     \
    X(norm)                                                                                                          \
    X(norm_bwd)                                                                                                      \
    X(linear)                                                                                                        \
    X(linear_bwd)                                                                                                    \
    X(rope)                                                                                                          \
    X(rope_bwd) X(attention) X(attention_bwd) X(kv_append) X(conv) X(conv_bwd) X(scan) X(scan_bwd) X(act) X(act_bwd) \
        X(scale) X(scale_bwd) X(fuse) X(fuse_bwd) X(gather) X(lm_loss) X(lm_loss_bwd) X(adamw) X(sumsq) X(ssd)       \
            X(ssd_bwd) X(gated_norm) X(gated_norm_bwd) X(nll_sum) X(clip) X(cast) X(position) X(position_bwd)        \
                X(dropout) X(dropout_bwd)
typedef enum {
#define X(name) HY_K_##name,
    HY_KERNELS(X)
#undef X
        HY_K_COUNT
} hy_kernel_id;

// The CPU paths, best last; hy_plan_req.isa is the best that a plan may choose. REF: plain loops, what the others are
// tested against.
typedef enum { HY_ISA_REF = 0, HY_ISA_BASE, HY_ISA_AVX2, HY_ISA_AVX512 } hy_isa;
// How float32 products are computed on tensor cores: in float32, or with the factors rounded to TF32 (10 bits of
// mantissa).
typedef enum { HY_MATH_F32 = 0, HY_MATH_TF32 } hy_math;
typedef struct {
    hy_dtype dtype;
    hy_isa isa;     // CPU
    int threads;    // CPU
    bool training;  // forward: a backward will follow (report `saved`)
    hy_math math;   // CUDA
    // CPU, forward in float32: every token is computed as it is when it comes alone, so that its bits do not depend on
    // how a sequence is cut into calls nor on what else is in the batch. Slower where tokens share work.
    bool by_token;
} hy_plan_req;

typedef struct hy_launch {
    // Which code runs, stored with throughput figures: "ref", "base", "avx2", "avx512" or "cuda", with "+library" if it
    // calls one and " (bf16 weights)" if it reads such.
    const char *path;
    size_t workspace;  // scratch bytes for run
    size_t saved;      // bytes kept from forward to backward
    hy_status (*run)(const void *args, void *workspace, const hy_plan_req *req);
} hy_launch;

// A plan checks that a kernel supports these arguments and chooses how it is launched. It looks at sizes, row distances
// and which optional operands ("or NULL") are NULL, never at data; a caller that plans before it has memory passes
// HY_PRESENT for operands that will exist.
#define HY_PRESENT ((void *)(uintptr_t)64)
typedef hy_status (*hy_plan_fn)(const void *args, const hy_plan_req *req, hy_launch *out);
#endif
