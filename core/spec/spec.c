// spec.c - see spec.h. The fields of a model, the rules between them, canonical text and hash. Reading YAML is
// spec_read.c; what a spec costs is spec_count.c and spec_cache.c.
#include "core/spec/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec/spec_fields.h"

// Sizes are bounded so that no product of two of them leaves 64 bits and no row of a projection leaves an int.
enum { MAX_WIDTH = 1 << 20, MAX_VOCAB = 1 << 24, MAX_LEN = 1 << 28, MAX_META = 1 << 16 };
#define MAX_PARAMS INT64_C(1000000000000)

// ---------------------------------------------------------------------------------------------------- tables
#define M(member) offsetof(hy_model_spec, member)
#define L(member) offsetof(hy_layer_spec, member)
const hy_field hy_spec_model_fields[] = {
    {"name", HY_F_STRING, M(name), sizeof((hy_model_spec *)0)->name, "model", 0, 0, NULL,
     "label of the variant: letters, digits and . _ + -; the file's name without .yaml if absent"},
    {"vocab", HY_F_INT, M(vocab), 0, "8192", 1, MAX_VOCAB, NULL, "tokens in the vocabulary"},
    {"d_model", HY_F_INT, M(d_model), 0, "256", 1, MAX_WIDTH, NULL, "width of the residual stream"},
    {"layers", HY_F_INT, M(n_layers), 0, "8", 1, HY_MAX_LAYERS, NULL, "number of layers"},
    {"meta_tokens", HY_F_INT, M(meta_tokens), 0, "0", 0, MAX_META, NULL, "learned tokens put before every sequence"},
    {"max_len", HY_F_INT, M(max_len), 0, "2048", 1, MAX_LEN, NULL, "longest text meant, in tokens; rope ntk uses it"},
    {"orig_len", HY_F_INT, M(orig_len), 0, "2048", 1, MAX_LEN, NULL, "rope ntk, llama3: length of the first training, in tokens"},
    {"tied", HY_F_BOOL, M(tied), 0, "true", 0, 0, NULL, "the output matrix is the embedding"},
    HY_FIELD_END,
};
const hy_field hy_spec_norm_fields[] = {
    {"kind", HY_F_ENUM, M(norm), 0, "rms", 0, 0, "rms|layer", "RMSNorm, or LayerNorm (weight only)"},
    {"eps", HY_F_DOUBLE, M(norm_eps), 0, "1e-6", 1e-12, 1, NULL, "added to the mean square"},
    HY_FIELD_END,
};
const hy_field hy_spec_rope_fields[] = {
    {"kind", HY_F_ENUM, M(rope), 0, "default", 0, 0, "none|default|ntk|linear|llama3",
     "rotary positions on queries and keys; linear: positions / factor; llama3: only those of slow angles"},
    {"base", HY_F_DOUBLE, M(rope_base), 0, "10000", 1, 1e12, NULL, "base of the angles, before ntk"},
    {"factor", HY_F_DOUBLE, M(rope_factor), 0, "1", 1, 1e6, NULL, "linear, llama3: by how much texts are longer than the first ones", true},
    {"low_freq_factor", HY_F_DOUBLE, M(rope_low), 0, "1", 1e-3, 1e6, NULL,
     "llama3: angles that turn less often than this in orig_len are divided by factor", true},
    {"high_freq_factor", HY_F_DOUBLE, M(rope_high), 0, "4", 1e-3, 1e6, NULL,
     "llama3: angles that turn more often than this in orig_len stay; between the two there is a ramp", true},
    HY_FIELD_END,
};
const hy_field hy_spec_init_fields[] = {
    {"std", HY_F_DOUBLE, M(init_std), 0, "0.02", 0, 10, NULL, "linear and embedding weights are drawn from N(0, std)"},
    {"residual_scale", HY_F_BOOL, M(init_residual_scale), 0, "false", 0, 0, NULL, "out projections / sqrt(2 layers)"},
    HY_FIELD_END,
};
#define FACTOR(name, doc) {#name, HY_F_DOUBLE, M(multipliers.name), 0, "1", 1e-6, 1e6, NULL, doc, true}
const hy_field hy_spec_multiplier_fields[] = {
    FACTOR(embedding, "of what enters the first layer, meta tokens included"),
    FACTOR(attention_in, "of queries, keys and values as they are projected"),
    FACTOR(key, "of keys, besides"),
    FACTOR(attention_out, "of what the attention heads give to the fusion (after its norm) or to their out projection"),
    FACTOR(ssm_in, "of all that the ssm projects from its input"),
    FACTOR(ssm_z, "of the ssm's gate, besides"),
    FACTOR(ssm_x, "of the ssm's channels before the convolution, besides"),
    FACTOR(ssm_B, "of B as it is projected, besides"),
    FACTOR(ssm_C, "of C as it is projected, besides"),
    FACTOR(ssm_dt, "of the step size as it is projected, before its bias, besides"),
    FACTOR(ssm_out, "of what the ssm gives to the fusion (after its norm) or to its out projection"),
    FACTOR(mlp_gate, "of the MLP's gate before silu"),
    FACTOR(mlp_down, "of what enters the MLP's down projection"),
    FACTOR(head, "of the logits"),
    HY_FIELD_END,
};
#undef FACTOR
const hy_field hy_spec_layer_fields[] = {
    {"mixer", HY_F_ENUM, L(mixer), 0, "attention", 0, 0, "none|attention|ssm|parallel|attention_ssm|ssm_attention",
     "what mixes tokens; parallel: both kinds of heads on one input; a_b: two sub-blocks in that order"},
    {"fusion", HY_F_ENUM, L(fusion), 0, "mean", 0, 0, "mean|concat|gate|sum",
     "parallel: mean or concatenation of the two normed outputs, a learned gate per head and token, or (sum) no norms and an "
     "out projection for each, added"},
    HY_FIELD_END,
};
const hy_field hy_spec_attention_fields[] = {
    {"heads", HY_F_INT, L(heads), 0, "8", 1, MAX_WIDTH, NULL, "query heads"},
    {"kv_heads", HY_F_INT, L(kv_heads), 0, "auto", 1, MAX_WIDTH, "auto", "key and value heads; auto: as many as heads; 1: MQA"},
    {"d_qk", HY_F_INT, L(d_qk), 0, "auto", 1, MAX_WIDTH, "auto", "width of a query and key head; auto: d_model / heads"},
    {"d_v", HY_F_INT, L(d_v), 0, "auto", 1, MAX_WIDTH, "auto",
     "width of a value head; auto: d_inner / heads in parallel layers with fusion mean or gate, else d_qk"},
    {"window", HY_F_INT, L(window), 0, "none", 1, MAX_LEN, "none", "tokens before itself that a query sees; none: all (global)"},
    {"qk_norm", HY_F_BOOL, L(qk_norm), 0, "false", 0, 0, NULL, "RMSNorm on each query and key head before rope"},
    {"qkv_bias", HY_F_BOOL, L(qkv_bias), 0, "false", 0, 0, NULL, "bias of the query, key and value projections", true},
    {"out_bias", HY_F_BOOL, L(out_bias), 0, "false", 0, 0, NULL, "bias of the out projection", true},
    HY_FIELD_END,
};
const hy_field hy_spec_ssm_fields[] = {
    {"d_inner", HY_F_INT, L(d_inner), 0, "auto", 1, MAX_WIDTH, "auto", "channels; auto: expand * d_model"},
    {"d_state", HY_F_INT, L(d_state), 0, "16", 1, 4096, NULL, "states a channel"},
    {"d_conv", HY_F_INT, L(d_conv), 0, "4", 1, 256, NULL, "width of the causal convolution"},
    {"dt_rank", HY_F_INT, L(dt_rank), 0, "auto", 1, MAX_WIDTH, "auto", "rank of the step-size projection; auto: ceil(d_model / 16)"},
    {"inner_norms", HY_F_BOOL, L(inner_norms), 0, "true", 0, 0, NULL, "RMSNorm on dt, B and C"},
    {"conv_bias", HY_F_BOOL, L(conv_bias), 0, "true", 0, 0, NULL, "bias of the convolution"},
    {"proj_bias", HY_F_BOOL, L(proj_bias), 0, "false", 0, 0, NULL,
     "bias of the in and the out projection; parallel layers: with attention's qkv_bias and out_bias, or none", true},
    HY_FIELD_END,
};
const hy_field hy_spec_ssm_kind_fields[] = {
    {"kind", HY_F_ENUM, L(ssm_kind), 0, "mamba", 0, 0, "mamba|mamba2",
     "mamba: a decay for every channel and state; mamba2: one for each head (then dt_rank and inner_norms have no meaning)"},
    {"head_dim", HY_F_INT, L(head_dim), 0, "64", 1, MAX_WIDTH, NULL, "mamba2: channels of a head; divides d_inner"},
    {"groups", HY_F_INT, L(groups), 0, "1", 1, MAX_WIDTH, NULL, "mamba2: how many B and C there are; divides the heads"},
    {"gated_norm", HY_F_BOOL, L(gated_norm), 0, "true", 0, 0, NULL,
     "mamba2: RMSNorm, over d_inner / groups channels each, of the gated output; false: the gate alone"},
    {"norm_before_gate", HY_F_BOOL, L(norm_before_gate), 0, "false", 0, 0, NULL, "mamba2: that norm comes first, then the gate"},
    {"dt_min", HY_F_DOUBLE, L(dt_min), 0, "0", 0, 1e6, NULL, "mamba2: smallest step, after softplus"},
    {"dt_max", HY_F_DOUBLE, L(dt_max), 0, "0", 0, 1e6, NULL, "mamba2: largest step, after softplus; 0: no limit"},
    HY_FIELD_END,
};
const hy_field hy_spec_mlp_fields[] = {
    {"kind", HY_F_ENUM, L(mlp), 0, "silu", 0, 0, "none|silu|relu2", "gated silu, squared relu, or no MLP"},
    {"d_ff", HY_F_INT, L(d_ff), 0, "auto", 1, 1 << 22, "auto",
     "hidden width; auto: silu 8/3 d_model to a multiple of 32, relu2 4 d_model"},
    {"bias", HY_F_BOOL, L(mlp_bias), 0, "false", 0, 0, NULL, "biases of the projections", true},
    HY_FIELD_END,
};
#undef M
#undef L

// ---------------------------------------------------------------------------------------------------- rules
void hy_model_spec_init(hy_model_spec *m) {
    memset(m, 0, sizeof *m);
    const hy_field *const tables[] = {hy_spec_model_fields, hy_spec_norm_fields, hy_spec_rope_fields, hy_spec_init_fields,
                                      hy_spec_multiplier_fields};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const hy_field *f = tables[t]; f->name; f++)
            if (f->quiet) {
                const hy_field one[2] = {*f, HY_FIELD_END};
                hy_fields_default(one, m);
            }
}

double hy_model_rope_base(const hy_model_spec *m, int d_qk) {
    if (m->rope != HY_ROPE_NTK) return m->rope_base;
    double stretch = 2.0 * m->max_len / m->orig_len - 1.0;
    return m->rope_base * pow(stretch, (double)d_qk / (d_qk - 2));
}

static bool fault(hy_spec_fault *f, int layer, const char *field, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static bool fault(hy_spec_fault *f, int layer, const char *field, const char *fmt, ...) {
    f->layer = layer;
    f->field = field;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    return true;
}

// Ranges of one table; paths: the YAML path of each of its fields.
static bool fault_range(hy_spec_fault *f, int layer, const char *const *paths, const hy_field *table, const void *obj) {
    const char *name = NULL;
    if (hy_fields_check(table, obj, &name) == HY_OK) return false;
    int i = 0;
    while (strcmp(table[i].name, name)) i++;
    return fault(f, layer, paths[i], "%s", hy_error_text());
}

static const char *const model_paths[] = {"name", "vocab", "d_model", "layers", "meta_tokens", "max_len", "orig_len", "tied"};
static const char *const norm_paths[] = {"norm.kind", "norm.eps"};
static const char *const rope_paths[] = {"rope.kind", "rope.base", "rope.factor", "rope.low_freq_factor", "rope.high_freq_factor"};
static const char *const init_paths[] = {"init.std", "init.residual_scale"};
static const char *const multiplier_paths[] = {
    "multipliers.embedding", "multipliers.attention_in", "multipliers.key", "multipliers.attention_out", "multipliers.ssm_in",
    "multipliers.ssm_z", "multipliers.ssm_x", "multipliers.ssm_B", "multipliers.ssm_C", "multipliers.ssm_dt",
    "multipliers.ssm_out", "multipliers.mlp_gate", "multipliers.mlp_down", "multipliers.head"};
static const char *const layer_paths[] = {"mixer", "fusion"};
static const char *const attention_paths[] = {"attention.heads", "attention.kv_heads", "attention.d_qk",
                                              "attention.d_v",   "attention.window",   "attention.qk_norm",
                                              "attention.qkv_bias", "attention.out_bias"};
static const char *const ssm_paths[] = {"ssm.d_inner", "ssm.d_state",     "ssm.d_conv",
                                        "ssm.dt_rank", "ssm.inner_norms", "ssm.conv_bias", "ssm.proj_bias"};
static const char *const ssm_kind_paths[] = {"ssm.kind",   "ssm.head_dim",         "ssm.groups",
                                             "ssm.gated_norm", "ssm.norm_before_gate", "ssm.dt_min", "ssm.dt_max"};
static const char *const mlp_paths[] = {"mlp.kind", "mlp.d_ff", "mlp.bias"};

static bool model_fault(const hy_model_spec *m, hy_spec_fault *f) {
    if (fault_range(f, -1, model_paths, hy_spec_model_fields, m) || fault_range(f, -1, norm_paths, hy_spec_norm_fields, m) ||
        fault_range(f, -1, rope_paths, hy_spec_rope_fields, m) || fault_range(f, -1, init_paths, hy_spec_init_fields, m) ||
        fault_range(f, -1, multiplier_paths, hy_spec_multiplier_fields, m))
        return true;
    size_t n = strnlen(m->name, sizeof m->name);
    if (n == 0 || n == sizeof m->name) return fault(f, -1, "name", "the name is empty or too long");
    if (strspn(m->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") != n || strchr(".-+", m->name[0]))
        return fault(f, -1, "name", "name \"%s\" must be of letters, digits and . _ + -, and start with a letter or digit",
                     m->name);
    if (m->rope == HY_ROPE_NTK && 2.0 * m->max_len <= m->orig_len)
        return fault(f, -1, "max_len", "rope ntk stretches: max_len (%d) must be more than half of orig_len (%d)", m->max_len,
                     m->orig_len);
    const bool scaled = m->rope == HY_ROPE_LINEAR || m->rope == HY_ROPE_LLAMA3;
    if (!scaled && m->rope_factor != 1) return fault(f, -1, "rope.factor", "only rope linear and llama3 have a factor");
    if (m->rope != HY_ROPE_LLAMA3 && (m->rope_low != 1 || m->rope_high != 4))
        return fault(f, -1, "rope.low_freq_factor", "only rope llama3 has low_freq_factor and high_freq_factor");
    if (m->rope_low >= m->rope_high)
        return fault(f, -1, "rope.low_freq_factor", "low_freq_factor (%g) must be below high_freq_factor (%g)", m->rope_low, m->rope_high);
    return false;
}

// A factor of something that no layer has would silently do nothing.
static bool multiplier_fault(const hy_model_spec *m, hy_spec_fault *f) {
    const hy_multipliers *x = &m->multipliers;
    bool attention = false, ssm = false, mlp = false, gate = false;
    for (int i = 0; i < m->n_layers; i++) {
        attention |= hy_layer_has_attention(&m->layers[i]);
        ssm |= hy_layer_has_ssm(&m->layers[i]);
        mlp |= m->layers[i].mlp != HY_MLP_NONE;
        gate |= m->layers[i].mlp == HY_MLP_SILU;
    }
    const bool of_attention = x->attention_in != 1 || x->key != 1 || x->attention_out != 1;
    const bool of_ssm = x->ssm_in != 1 || x->ssm_z != 1 || x->ssm_x != 1 || x->ssm_B != 1 || x->ssm_C != 1 || x->ssm_dt != 1 ||
                        x->ssm_out != 1;
    const char *of = of_attention && !attention ? "attention" : of_ssm && !ssm ? "ssm" : x->mlp_down != 1 && !mlp ? "mlp"
                   : x->mlp_gate != 1 && !gate ? "mlp of kind silu" : NULL;
    return of && fault(f, -1, "multipliers", "a factor for %s, but no layer has an %s", of, of);
}

// Fields of a part that the layer lacks must be 0: equal models are equal bytes.
static bool absent_fault(const hy_layer_spec *l, int i, hy_spec_fault *f) {
    bool at = hy_layer_has_attention(l), ss = hy_layer_has_ssm(l);
    if (!at && (l->heads || l->kv_heads || l->d_qk || l->d_v || l->window || l->qk_norm || l->qkv_bias || l->out_bias ||
                l->kv_source != -1))
        return fault(f, i, "attention", "the layer has no attention: its fields must be 0 (kv_source -1)");
    if (!ss && (l->d_inner || l->d_state || l->d_conv || l->dt_rank || l->inner_norms || l->conv_bias || l->proj_bias || l->ssm_kind))
        return fault(f, i, "ssm", "the layer has no ssm: its fields must be 0");
    if (hy_layer_is_mamba2(l) ? l->dt_rank || l->inner_norms
                              : l->head_dim || l->groups || l->gated_norm || l->norm_before_gate || l->dt_min != 0 || l->dt_max != 0)
        return fault(f, i, "ssm", "the ssm is of the other kind: these fields must be 0");
    if (l->mixer != HY_MIXER_PARALLEL && l->fusion) return fault(f, i, "fusion", "only parallel layers have a fusion");
    if (l->mlp == HY_MLP_NONE && (l->d_ff || l->mlp_bias)) return fault(f, i, "mlp.d_ff", "the layer has no mlp: its fields must be 0");
    return false;
}

static bool attention_fault(const hy_model_spec *m, int i, hy_spec_fault *f) {
    const hy_layer_spec *l = &m->layers[i];
    if (fault_range(f, i, attention_paths, hy_spec_attention_fields, l)) return true;
    if (!l->kv_heads || !l->d_qk || !l->d_v) return fault(f, i, "attention", "heads without a width");
    if (l->heads % l->kv_heads)
        return fault(f, i, "attention.kv_heads", "%d query heads cannot be shared out to %d kv_heads: it must divide heads",
                     l->heads, l->kv_heads);
    if ((int64_t)l->heads * l->d_qk > MAX_WIDTH)
        return fault(f, i, "attention.heads", "heads * d_qk is %lld; at most %d", (long long)l->heads * l->d_qk, MAX_WIDTH);
    if ((int64_t)l->heads * l->d_v > MAX_WIDTH)
        return fault(f, i, "attention.d_v", "heads * d_v is %lld; at most %d", (long long)l->heads * l->d_v, MAX_WIDTH);
    if (m->rope != HY_ROPE_NONE && l->d_qk % 2)
        return fault(f, i, "attention.d_qk", "rope turns pairs of values: d_qk (%d) must be even, or rope.kind none", l->d_qk);
    if (m->rope == HY_ROPE_NTK && l->d_qk < 4)
        return fault(f, i, "attention.d_qk", "rope ntk needs d_qk of at least 4, not %d", l->d_qk);
    return false;
}

static bool sharing_fault(const hy_model_spec *m, int i, hy_spec_fault *f) {
    const hy_layer_spec *l = &m->layers[i];
    int s = l->kv_source;
    if (s == i) return false;
    if (s < 0 || s >= m->n_layers) return fault(f, i, "kv_source", "layer %d: there is no layer %d to take keys from", i, s);
    if (s > i)
        return fault(f, i, "kv_source", "layer %d cannot use the keys of layer %d, which comes after it", i, s);
    const hy_layer_spec *p = &m->layers[s];
    if (!hy_layer_has_attention(p)) return fault(f, i, "kv_source", "layer %d has no attention, so no keys to share", s);
    if (p->kv_source != s)
        return fault(f, i, "kv_source", "layer %d makes no keys itself; share those of layer %d", s, p->kv_source);
    if (!p->window != !l->window)
        return fault(f, i, "kv_source", "layers %d and %d cannot share: one is global, the other has a window", s, i);
    if (p->window != l->window)
        return fault(f, i, "kv_source", "layers %d and %d cannot share: their windows are %d and %d", s, i, p->window, l->window);
    if (p->kv_heads != l->kv_heads || p->d_qk != l->d_qk || p->d_v != l->d_v)
        return fault(f, i, "kv_source", "layers %d and %d cannot share: kv_heads x d_qk / d_v are %d x %d / %d and %d x %d / %d",
                     s, i, p->kv_heads, p->d_qk, p->d_v, l->kv_heads, l->d_qk, l->d_v);
    return false;
}

static bool ssm_fault(const hy_layer_spec *l, int i, hy_spec_fault *f) {
    if (fault_range(f, i, ssm_paths, hy_spec_ssm_fields, l)) return true;
    if (!l->d_inner || (l->ssm_kind == HY_SSM_MAMBA && !l->dt_rank)) return fault(f, i, "ssm", "an ssm without a width");
    if (l->ssm_kind == HY_SSM_MAMBA) return false;
    if (fault_range(f, i, ssm_kind_paths, hy_spec_ssm_kind_fields, l)) return true;
    if (l->d_inner % l->head_dim)
        return fault(f, i, "ssm.head_dim", "the ssm's d_inner %d cannot be split into heads of head_dim %d", l->d_inner, l->head_dim);
    if (hy_layer_ssm_heads(l) % l->groups)
        return fault(f, i, "ssm.groups", "%d ssm heads cannot be shared out to %d groups", hy_layer_ssm_heads(l), l->groups);
    if ((int64_t)l->d_inner + INT64_C(2) * l->groups * l->d_state > MAX_WIDTH)
        return fault(f, i, "ssm.d_state", "d_inner + 2 groups d_state is %lld; at most %d",
                     (long long)l->d_inner + 2LL * l->groups * l->d_state, MAX_WIDTH);
    if (l->dt_max != 0 && l->dt_max < l->dt_min)
        return fault(f, i, "ssm.dt_max", "dt_max (%g) is below dt_min (%g); 0 stands for no limit", l->dt_max, l->dt_min);
    if (l->norm_before_gate && !l->gated_norm)
        return fault(f, i, "ssm.norm_before_gate", "norm_before_gate without gated_norm: there is no norm");
    return false;
}

static bool layer_fault(const hy_model_spec *m, int i, hy_spec_fault *f) {
    const hy_layer_spec *l = &m->layers[i];
    if (fault_range(f, i, layer_paths, hy_spec_layer_fields, l) || absent_fault(l, i, f)) return true;
    if (hy_layer_has_attention(l) && attention_fault(m, i, f)) return true;
    if (hy_layer_has_ssm(l) && ssm_fault(l, i, f)) return true;
    if (l->mixer == HY_MIXER_PARALLEL && hy_fusion_same_width(l->fusion) && (int64_t)l->heads * l->d_v != l->d_inner)
        return fault(f, i, "fusion",
                     "fusion by %s needs equal widths, but attention gives heads * d_v = %d and the ssm d_inner = %d; "
                     "make them equal or use fusion: concat or sum",
                     l->fusion == HY_FUSION_MEAN ? "mean" : "gate", l->heads * l->d_v, l->d_inner);
    if (l->mixer == HY_MIXER_PARALLEL && (l->qkv_bias != l->proj_bias || l->out_bias != l->proj_bias))
        return fault(f, i, "ssm.proj_bias", "a parallel layer has one in and one out projection: attention.qkv_bias, attention.out_bias "
                     "and ssm.proj_bias must be alike");
    if (fault_range(f, i, mlp_paths, hy_spec_mlp_fields, l)) return true;
    if (l->mlp != HY_MLP_NONE && !l->d_ff) return fault(f, i, "mlp.d_ff", "an mlp without a width");
    return hy_layer_has_attention(l) && sharing_fault(m, i, f);
}

bool hy_model_spec_fault(const hy_model_spec *m, hy_spec_fault *f) {
    if (model_fault(m, f)) return true;
    for (int i = 0; i < m->n_layers; i++)
        if (layer_fault(m, i, f)) return true;
    if (multiplier_fault(m, f)) return true;
    hy_param_count n;
    hy_model_count(m, &n);
    if (n.total > MAX_PARAMS)
        return fault(f, -1, "layers", "the model has %.3g parameters; at most %.3g", (double)n.total, (double)MAX_PARAMS);
    return false;
}

hy_status hy_model_spec_check(const hy_model_spec *m, const char **field) {
    hy_spec_fault f;
    if (!hy_model_spec_fault(m, &f)) return HY_OK;
    if (field) *field = f.field;
    if (f.layer < 0) return hy_error(HY_EINPUT, "model %.63s: %s: %s", m->name, f.field, f.text);
    return hy_error(HY_EINPUT, "model %.63s: layer %d: %s: %s", m->name, f.layer, f.field, f.text);
}

// ---------------------------------------------------------------------------------------------------- text, hash
static void layer_text(const hy_layer_spec *l, hy_buf *b) {
    // "mixer" is the first field of the table: it opens the list item
    hy_buf item = {0};
    hy_fields_text(hy_spec_layer_fields, l, 4, &item);
    hy_buf_printf(b, "  - %s", item.s + 4);
    free(item.s);
    if (hy_layer_has_attention(l)) {
        hy_buf_printf(b, "    kv_source: %d\n    attention:\n", l->kv_source);
        hy_fields_text(hy_spec_attention_fields, l, 6, b);
    }
    if (hy_layer_has_ssm(l)) {
        hy_buf_printf(b, "    ssm:\n");
        hy_fields_text(hy_spec_ssm_fields, l, 6, b);
        if (hy_layer_is_mamba2(l)) hy_fields_text(hy_spec_ssm_kind_fields, l, 6, b);
    }
    hy_buf_printf(b, "    mlp:\n");
    hy_fields_text(hy_spec_mlp_fields, l, 6, b);
}

void hy_model_multipliers_text(const hy_model_spec *m, hy_buf *out) {
    hy_buf lines = {0};
    hy_fields_text(hy_spec_multiplier_fields, m, 0, &lines);
    for (char *c = lines.s, *end; c && *c; c = end + 1) {
        end = strchr(c, '\n');
        hy_buf_printf(out, "%s%.*s", c == lines.s ? "" : ", ", (int)(end - c), c);
    }
    free(lines.s);
}

char *hy_model_spec_text(const hy_model_spec *m) {
    hy_buf b = {0};
    hy_fields_text(hy_spec_model_fields, m, 0, &b);
    hy_buf_printf(&b, "norm:\n");
    hy_fields_text(hy_spec_norm_fields, m, 2, &b);
    hy_buf_printf(&b, "rope:\n");
    hy_fields_text(hy_spec_rope_fields, m, 2, &b);
    hy_buf_printf(&b, "init:\n");
    hy_fields_text(hy_spec_init_fields, m, 2, &b);
    hy_buf factors = {0};
    hy_fields_text(hy_spec_multiplier_fields, m, 2, &factors);
    if (factors.n) hy_buf_printf(&b, "multipliers:\n%s", factors.s);
    free(factors.s);
    hy_buf_printf(&b, "layer_table:\n");
    for (int i = 0; i < m->n_layers; i++) layer_text(&m->layers[i], &b);
    return b.s;
}

void hy_model_spec_hash(const hy_model_spec *m, char out[33]) {
    char *text = hy_model_spec_text(m);
    hy_hash_hex(text, strlen(text), out);
    free(text);
}
