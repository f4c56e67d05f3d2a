// spec.h - what a model is, as plain data: the expanded form of a variant YAML. Comparable with memcmp (zero padding),
// printable as canonical YAML (that text is hashed and stored). Reading YAML: spec_read.h.
#ifndef HY_SPEC_H
#define HY_SPEC_H
#include "core/base/base.h"
#include "kernels/kernels.h"

#define HY_MAX_LAYERS 256

typedef enum {
    HY_MIXER_NONE = 0,
    HY_MIXER_ATTENTION,
    HY_MIXER_SSM,
    HY_MIXER_PARALLEL,       // attention and SSM heads read one input, outputs fused (paper eq. 1-3)
    HY_MIXER_ATTENTION_SSM,  // attention sub-block, then SSM sub-block, each with norm, out projection, residual
    HY_MIXER_SSM_ATTENTION,
} hy_mixer;
// The kinds of the fuse kernel, and sum, which needs no kernel of its own.
typedef enum {
    HY_FUSION_MEAN = HY_FUSE_MEAN,
    HY_FUSION_CONCAT = HY_FUSE_CONCAT,
    HY_FUSION_GATE = HY_FUSE_GATE,
    HY_FUSION_SUM,
} hy_fusion;
typedef enum { HY_ROPE_NONE = 0, HY_ROPE_DEFAULT, HY_ROPE_NTK, HY_ROPE_LINEAR, HY_ROPE_LLAMA3 } hy_rope_kind;
typedef enum { HY_POSITIONS_NONE = 0, HY_POSITIONS_LEARNED } hy_positions;
typedef enum { HY_SSM_MAMBA = 0, HY_SSM_MAMBA2 } hy_ssm_kind;
typedef enum { HY_INNER_NORMS_NONE = 0, HY_INNER_NORMS_WEIGHTED, HY_INNER_NORMS_PLAIN } hy_inner_norms;
typedef enum { HY_MLP_NONE = 0, HY_MLP_SILU, HY_MLP_RELU2 } hy_mlp_kind;

// One row of the per-layer table. Fields of a part that the layer lacks are 0 (kv_source -1).
typedef struct {
    hy_mixer mixer;
    // attention
    int heads, kv_heads, d_qk, d_v;  // per head
    int window;                      // 0: global
    int kv_source;                   // the layer whose keys and values are used; its own index if it makes them
    int qk_norm;                     // RMSNorm over each query and key head before rope
    int no_rope;                     // rope is left out in this layer
    int rotary;                      // leading values of a query and key head that rope turns; 0: all
    int qkv_bias, out_bias;          // biases of the in and the out projection
    // ssm
    int d_inner, d_state, d_conv;
    int dt_rank;                 // Mamba-1
    hy_inner_norms inner_norms;  // Mamba-1: RMSNorm on dt, B, C, with weights or (plain) without
    int conv_bias;
    int proj_bias;  // biases of the in and the out projection; a parallel layer has all three or none
    hy_ssm_kind ssm_kind;
    // Mamba-2 (0 in Mamba-1 layers): heads of head_dim channels, each with one decay; B and C serve the heads of a
    // group
    int head_dim, groups;
    int gated_norm, norm_before_gate;
    double dt_min, dt_max;  // limits of the step; dt_max 0: none
    double inner_norm_eps;  // Mamba-1: of the inner norms; 0: the model's
    // parallel
    hy_fusion fusion;
    // mlp
    hy_mlp_kind mlp;
    int d_ff;
    int mlp_bias;  // biases of its projections
} hy_layer_spec;

// Fixed factors (muP-style, as Falcon-H1 has them), all 1 by default. They are not folded into weights: gradients and
// checkpoints are those of the weights without them.
typedef struct {
    double embedding, head;                   // of what enters layer 0 (meta tokens too); of the logits
    double attention_in, key, attention_out;  // of q, k and v; of k besides; of what the attention heads give
    double ssm_in;                            // of everything that the SSM heads make of their input
    double ssm_z, ssm_x, ssm_B, ssm_C,
        ssm_dt;                 // besides: of the gate, the scanned channels, B, C and dt as they are projected
    double ssm_out;             // of what the SSM heads give
    double mlp_gate, mlp_down;  // of the gate before silu; of what enters the down projection
} hy_multipliers;

typedef struct {
    char name[64];
    int vocab, d_model, n_layers;
    int meta_tokens;
    int max_len;  // longest text the model is meant for (rope ntk uses it; caches may be larger); learned positions end
                  // there
    int orig_len;              // rope ntk, llama3: length of the first training
    hy_positions positions;    // learned: a vector for each of max_len positions of text is added to the embedding
    double dropout_embedding;  // in training: share of what enters layer 0 that is dropped
    double dropout_attention;  // in training: share of the weights of attention
    hy_rope_kind rope;
    double rope_base;  // before ntk; hy_model_rope_base gives the one in force
    double rope_factor, rope_low,
        rope_high;  // linear: factor; llama3: all three (hy_rope_scale of kernels.h); else the defaults
    hy_norm_kind norm;
    double norm_eps;
    int norm_bias;              // LayerNorm: of the norms before sub-blocks and the final one
    int tied;                   // output matrix is the embedding
    double init_std;            // linear and embedding weights N(0, init_std)
    double init_embedding_std;  // embedding weights, if tied those of the output matrix too; 0: init_std
    int init_residual_scale;    // out projections / sqrt(2 n_layers)
    hy_multipliers multipliers;
    hy_layer_spec layers[HY_MAX_LAYERS];
} hy_model_spec;

// Fusions that add the two outputs channel by channel need heads * d_v = d_inner.
static inline bool hy_fusion_same_width(hy_fusion f) { return f == HY_FUSION_MEAN || f == HY_FUSION_GATE; }
static inline bool hy_layer_has_attention(const hy_layer_spec *l) {
    return l->mixer != HY_MIXER_NONE && l->mixer != HY_MIXER_SSM;
}
static inline bool hy_layer_has_ssm(const hy_layer_spec *l) {
    return l->mixer != HY_MIXER_NONE && l->mixer != HY_MIXER_ATTENTION;
}
static inline bool hy_layer_is_mamba2(const hy_layer_spec *l) {
    return hy_layer_has_ssm(l) && l->ssm_kind == HY_SSM_MAMBA2;
}
// Values of each query and key head that rope turns; 0: the layer has none.
int hy_layer_rotary(const hy_model_spec *m, const hy_layer_spec *l);
// Mamba-2: heads, and the columns that the convolution goes over: x, B, C.
static inline int hy_layer_ssm_heads(const hy_layer_spec *l) { return l->head_dim ? l->d_inner / l->head_dim : 0; }
// Maps that its SSM makes: Mamba-2 one for each head, Mamba-1 one for each channel.
static inline int hy_layer_ssm_units(const hy_layer_spec *l) {
    return hy_layer_is_mamba2(l) ? hy_layer_ssm_heads(l) : hy_layer_has_ssm(l) ? l->d_inner : 0;
}
static inline int hy_layer_conv_width(const hy_layer_spec *l) { return l->d_inner + 2 * l->groups * l->d_state; }
// Rows of the in projection that feed the SSM heads: x and gate; Mamba-2: gate, x, B, C and a step for each head.
static inline int hy_layer_ssm_rows(const hy_layer_spec *l) {
    return l->d_inner + hy_layer_conv_width(l) + hy_layer_ssm_heads(l);
}

// All zero but for the fields of the model whose default is not 0 and that a reader of other formats need not know.
void hy_model_spec_init(hy_model_spec *m);
// base * (2 max_len / orig_len - 1) ^ (rotary / (rotary - 2)) for ntk, else rope_base (paper-released configuration).
double hy_model_rope_base(const hy_model_spec *m, int rotary);

// A rule that a spec breaks.
typedef struct {
    int layer;       // -1: the model as a whole
    char field[48];  // YAML path below the model or the layer: "attention.kv_heads"
    char text[256];
} hy_spec_fault;
// Checks every rule that a spec must obey. HY_EINPUT with layer, path and reason; the same in *fault (if not NULL).
hy_status hy_model_spec_check(const hy_model_spec *m, hy_spec_fault *fault);
// The same for the reader, which knows the positions in the file. True if there is a fault.
bool hy_model_spec_fault(const hy_model_spec *m, hy_spec_fault *fault);
// Canonical YAML of the expanded spec: the per-layer table, every field, fixed order. Caller frees. hash: of that text.
char *hy_model_spec_text(const hy_model_spec *m);
// "key: 0.39, head: 0.04": the multipliers that are not 1; nothing if there are none.
void hy_model_multipliers_text(const hy_model_spec *m, hy_buf *out);
void hy_model_spec_hash(const hy_model_spec *m, char out[33]);

// Parameters by part, from the spec alone (tests hold them equal to the built program). attention, ssm: with their own
// norms (qk norm; dt, B, C) and, outside parallel layers, their out projection; fusion: what joins the heads of a
// parallel layer: the two fusion norms, the gate, the out projections; norm: input norms of sub-blocks and the final
// one.
typedef struct {
    int64_t embedding, head, meta, attention, ssm, fusion, mlp, norm, total;
    // the paper's attention : Mamba ratio (Table 10): W_q, W_k, W_v against the rest of the mixer, of the out
    // projection only the d_inner columns that read the SSM heads, gate projections not counted
    int64_t ratio_attention, ratio_ssm;
} hy_param_count;
void hy_model_count(const hy_model_spec *m, hy_param_count *out);
void hy_layer_count(const hy_model_spec *m, int layer, hy_param_count *out);
// Texts that a model cannot read, for want of positions: HY_EINPUT. tokens: of text, meta tokens not counted.
hy_status hy_model_check_length(const hy_model_spec *m, int tokens);
// Forward FLOPs of one token that sees `context` positions, itself and meta tokens counted (multiply-add = 2): matrix
// products with the logits, attention (a window layer sees at most window + 1 + meta of them), convolution, and the
// scan as 7 a state and 5 a channel (Mamba-2, whose states share a decay: 5 and 3). Norms, activations and rope are not
// counted.
double hy_model_flops_token(const hy_model_spec *m, int context);

// Cache bytes by layer and kind. TRUE: what a runtime holds (hy_state allocates exactly this for batch 1).
// PAPER: as the figures of the paper's Tables 1, 2 and 10 come out: 2 bytes a value whatever elem says, global layers
// T + m positions, window layers min(W, T) and no meta tokens; if window layers share KV at all, all window layers
// together count as exactly half (an idealisation: an odd one has no partner); SSM state, no convolution state.
// PAPER_GROUPS: the same with the groups as they are instead of the half.
typedef enum { HY_CACHE_TRUE = 0, HY_CACHE_PAPER, HY_CACHE_PAPER_GROUPS } hy_cache_accounting;
typedef enum { HY_CACHE_KV = 0, HY_CACHE_META, HY_CACHE_CONV, HY_CACHE_SSM, HY_CACHE_KINDS } hy_cache_kind;
// Every figure below is a sum of such products: share * positions * values * bytes.
typedef struct {
    double share;  // of the layer's part that is counted: 1; 0: absent, not counted, or held by another layer; 0.5: the
                   // half
    int positions;  // KV, META: tokens; CONV: inputs kept, d_conv - 1; SSM: states a channel
    int values;     // KV, META: of one token, kv_heads * (d_qk + d_v); CONV, SSM: channels
    int bytes;      // of one value
} hy_cache_term;
typedef struct {
    double kv, meta, conv, ssm, total;  // bytes (the paper's half may not be whole)
} hy_cache_bytes;
// The terms of one layer. tokens: of text, meta tokens not counted; elem: bytes of one cached KV element, conv_elem and
// ssm_elem: of one in a convolution tail and in an SSM state (ignored by the paper's accountings). What hy_state
// allocates: 4, 4, 4 when computing in float32, 8, 8, 8 in float64, 2, 2, 4 in bfloat16.
void hy_layer_cache_terms(const hy_model_spec *m, int layer, hy_cache_accounting how, int tokens, int elem,
                          int conv_elem, int ssm_elem, hy_cache_term out[HY_CACHE_KINDS]);
// Their sums. layers: [n_layers] or NULL.
void hy_model_cache(const hy_model_spec *m, hy_cache_accounting how, int tokens, int elem, int conv_elem, int ssm_elem,
                    hy_cache_bytes *layers, hy_cache_bytes *sum);
#endif
