// spec_sections.c - every field of a model: its YAML key, type, default, range, meaning, and which layers have it. All
// else about fields follows from these tables: reading, defaults, ranges, zeroing, canonical text, help.
#include "core/spec/spec_sections.h"

#include <stdlib.h>
#include <string.h>

// Sizes are bounded so that no product of two of them leaves 64 bits and no row of a projection leaves an int.
enum { MAX_WIDTH = HY_SPEC_MAX_WIDTH, MAX_VOCAB = 1 << 24, MAX_LEN = 1 << 28, MAX_META = 1 << 16 };

// ---------------------------------------------------------------------------------------------------- fields
#define M(member) offsetof(hy_model_spec, member)
#define L(member) offsetof(hy_layer_spec, member)
static const hy_field model_fields[] = {
    {"name", HY_F_STRING, M(name), sizeof((hy_model_spec *)0)->name, "model", 0, 0, NULL,
     "label of the variant: letters, digits and . _ + -; the file's name without .yaml if absent"},
    {"vocab", HY_F_INT, M(vocab), 0, "8192", 1, MAX_VOCAB, NULL, "tokens in the vocabulary"},
    {"d_model", HY_F_INT, M(d_model), 0, "256", 1, MAX_WIDTH, NULL, "width of the residual stream"},
    {"layers", HY_F_INT, M(n_layers), 0, "8", 1, HY_MAX_LAYERS, NULL, "number of layers"},
    {"meta_tokens", HY_F_INT, M(meta_tokens), 0, "0", 0, MAX_META, NULL, "learned tokens put before every sequence"},
    {"max_len", HY_F_INT, M(max_len), 0, "2048", 1, MAX_LEN, NULL,
     "longest text meant, in tokens; rope ntk and learned positions use it"},
    {"orig_len", HY_F_INT, M(orig_len), 0, "2048", 1, MAX_LEN, NULL,
     "rope ntk, llama3: length of the first training, in tokens"},
    {"positions", HY_F_ENUM, M(positions), 0, "none", 0, 0, "none|learned",
     "learned: a vector for each of max_len positions (drawn as the embedding) is added to it; longer texts are "
     "refused",
     true},
    {"tied", HY_F_BOOL, M(tied), 0, "true", 0, 0, NULL, "the output matrix is the embedding"},
    HY_FIELD_END,
};
static const hy_field norm_fields[] = {
    {"kind", HY_F_ENUM, M(norm), 0, "rms", 0, 0, "rms|layer", "RMSNorm, or LayerNorm"},
    {"eps", HY_F_DOUBLE, M(norm_eps), 0, "1e-6", 1e-12, 1, NULL, "added to the mean square"},
    {"bias", HY_F_BOOL, M(norm_bias), 0, "false", 0, 0, NULL,
     "layer: a learned bias beside the weight, in the norms before sub-blocks and the final one", true},
    HY_FIELD_END,
};
static const hy_field rope_fields[] = {
    {"kind", HY_F_ENUM, M(rope), 0, "default", 0, 0, "none|default|ntk|linear|llama3",
     "rotary positions on queries and keys; linear: positions / factor; llama3: only those of slow angles"},
    {"base", HY_F_DOUBLE, M(rope_base), 0, "10000", 1, 1e12, NULL, "base of the angles, before ntk"},
    {"factor", HY_F_DOUBLE, M(rope_factor), 0, "1", 1, 1e6, NULL,
     "linear, llama3: by how much texts are longer than the first ones", true},
    {"low_freq_factor", HY_F_DOUBLE, M(rope_low), 0, "1", 1e-3, 1e6, NULL,
     "llama3: angles that turn less often than this in orig_len are divided by factor", true},
    {"high_freq_factor", HY_F_DOUBLE, M(rope_high), 0, "4", 1e-3, 1e6, NULL,
     "llama3: angles that turn more often than this in orig_len stay; between the two there is a ramp", true},
    HY_FIELD_END,
};
static const hy_field dropout_fields[] = {
    {"embedding", HY_F_DOUBLE, M(dropout_embedding), 0, "0", 0, 0.999, NULL,
     "in training, share of what enters the first layer that is set to 0; the rest is divided by 1 - embedding", true},
    HY_FIELD_END,
};
static const hy_field attention_dropout_fields[] = {
    {"attention", HY_F_DOUBLE, M(dropout_attention), 0, "0", 0, 0.999, NULL,
     "in training, share of the weights of attention that is set to 0; the rest is divided by 1 - attention", true},
    HY_FIELD_END,
};
static const hy_field init_fields[] = {
    {"std", HY_F_DOUBLE, M(init_std), 0, "0.02", 0, 10, NULL,
     "linear and embedding weights are drawn from N(0, std) (filters N(0, 1 / sqrt(3 d_conv)), meta tokens N(0, 1))"},
    {"embedding_std", HY_F_DOUBLE, M(init_embedding_std), 0, "auto", 1e-6, 1e3, "auto",
     "embedding weights (those of the output matrix too where tied) are drawn from N(0, embedding_std); auto: std",
     true},
    {"residual_scale", HY_F_BOOL, M(init_residual_scale), 0, "false", 0, 0, NULL, "out projections / sqrt(2 layers)"},
    HY_FIELD_END,
};
#define FACTOR(name, doc) \
    { #name, HY_F_DOUBLE, M(multipliers.name), 0, "1", 1e-6, 1e6, NULL, doc, true }
static const hy_field factors[] = {
    FACTOR(embedding, "of what enters the first layer, meta tokens included"),
    HY_FIELD_END,
};
static const hy_field attention_factors[] = {
    FACTOR(attention_in, "of queries, keys and values as they are projected"),
    FACTOR(key, "of keys, besides"),
    FACTOR(attention_out, "of what the attention heads give to the fusion (after its norm) or to their out projection"),
    HY_FIELD_END,
};
static const hy_field ssm_factors[] = {
    FACTOR(ssm_in, "of all that the ssm projects from its input"),
    FACTOR(ssm_z, "of the ssm's gate, besides"),
    FACTOR(ssm_x, "of the ssm's channels before the convolution, besides"),
    FACTOR(ssm_B, "of B as it is projected, besides"),
    FACTOR(ssm_C, "of C as it is projected, besides"),
    FACTOR(ssm_dt, "of the step size as it is projected, before its bias, besides"),
    FACTOR(ssm_out, "of what the ssm gives to the fusion (after its norm) or to its out projection"),
    HY_FIELD_END,
};
static const hy_field gate_factors[] = {
    FACTOR(mlp_gate, "of the MLP's gate before silu"),
    HY_FIELD_END,
};
static const hy_field mlp_factors[] = {
    FACTOR(mlp_down, "of what enters the MLP's down projection"),
    HY_FIELD_END,
};
static const hy_field head_factors[] = {
    FACTOR(head, "of the logits"),
    HY_FIELD_END,
};
#undef FACTOR
static const hy_field mixer_fields[] = {
    {"mixer", HY_F_ENUM, L(mixer), 0, "attention", 0, 0, "none|attention|ssm|parallel|attention_ssm|ssm_attention",
     "what mixes tokens; parallel: both kinds of heads on one input; a_b: two sub-blocks in that order"},
    HY_FIELD_END,
};
static const hy_field fusion_fields[] = {
    {"fusion", HY_F_ENUM, L(fusion), 0, "mean", 0, 0, "mean|concat|gate|sum",
     "parallel: mean or concatenation of the two normed outputs, a learned gate per head and token, or (sum) no norms "
     "and an "
     "out projection for each, added"},
    HY_FIELD_END,
};
const hy_field hy_spec_kv_source[] = {
    {"kv_source", HY_F_INT, L(kv_source), 0, "0", 0, HY_MAX_LAYERS - 1, NULL,
     "layer_table entries: the layer whose keys and values are used; absent: its own"},
    HY_FIELD_END,
};
static const hy_field attention_fields[] = {
    {"heads", HY_F_INT, L(heads), 0, "8", 1, MAX_WIDTH, NULL, "query heads"},
    {"kv_heads", HY_F_INT, L(kv_heads), 0, "auto", 1, MAX_WIDTH, "auto",
     "key and value heads; auto: as many as heads; 1: MQA"},
    {"d_qk", HY_F_INT, L(d_qk), 0, "auto", 1, MAX_WIDTH, "auto",
     "width of a query and key head; auto: d_model / heads"},
    {"d_v", HY_F_INT, L(d_v), 0, "auto", 1, MAX_WIDTH, "auto",
     "width of a value head; auto: d_inner / heads in parallel layers with fusion mean or gate, else d_qk"},
    {"window", HY_F_INT, L(window), 0, "none", 1, MAX_LEN, "none",
     "tokens before itself that a query sees; none: all (global)"},
    {"qk_norm", HY_F_BOOL, L(qk_norm), 0, "false", 0, 0, NULL, "RMSNorm on each query and key head before rope"},
    {"no_rope", HY_F_BOOL, L(no_rope), 0, "false", 0, 0, NULL, "this layer has no rotary positions (NoPE)", true},
    {"rotary", HY_F_INT, L(rotary), 0, "all", 2, MAX_WIDTH, "all",
     "leading values of each query and key head that rope turns (partial rotary), an even number below d_qk", true},
    {"qkv_bias", HY_F_BOOL, L(qkv_bias), 0, "false", 0, 0, NULL, "bias of the query, key and value projections", true},
    {"out_bias", HY_F_BOOL, L(out_bias), 0, "false", 0, 0, NULL, "bias of the out projection", true},
    HY_FIELD_END,
};
static const hy_field ssm_fields[] = {
    {"d_inner", HY_F_INT, L(d_inner), 0, "auto", 1, MAX_WIDTH, "auto", "channels; auto: expand * d_model"},
    {"d_state", HY_F_INT, L(d_state), 0, "16", 1, 4096, NULL, "states a channel"},
    {"d_conv", HY_F_INT, L(d_conv), 0, "4", 1, 256, NULL, "width of the causal convolution"},
    HY_FIELD_END,
};
static const hy_field mamba_fields[] = {
    {"dt_rank", HY_F_INT, L(dt_rank), 0, "auto", 1, MAX_WIDTH, "auto",
     "rank of the step-size projection; auto: ceil(d_model / 16)"},
    {"inner_norms", HY_F_ENUM, L(inner_norms), 0, "true", 0, 0, "false|true|plain",
     "RMSNorm on dt, B and C; plain: without weights"},
    {"inner_norm_eps", HY_F_DOUBLE, L(inner_norm_eps), 0, "auto", 1e-12, 1, "auto",
     "added to their mean square; auto: norm.eps", true},
    HY_FIELD_END,
};
static const hy_field ssm_bias_fields[] = {
    {"conv_bias", HY_F_BOOL, L(conv_bias), 0, "true", 0, 0, NULL, "bias of the convolution"},
    {"proj_bias", HY_F_BOOL, L(proj_bias), 0, "false", 0, 0, NULL,
     "bias of the in and the out projection; parallel layers: with attention's qkv_bias and out_bias, or none", true},
    HY_FIELD_END,
};
static const hy_field mamba2_fields[] = {
    {"kind", HY_F_ENUM, L(ssm_kind), 0, "mamba", 0, 0, "mamba|mamba2",
     "mamba: a decay for every channel and state; mamba2: one for each head (then dt_rank and inner_norms have no "
     "meaning)"},
    {"head_dim", HY_F_INT, L(head_dim), 0, "64", 1, MAX_WIDTH, NULL, "mamba2: channels of a head; divides d_inner"},
    {"groups", HY_F_INT, L(groups), 0, "1", 1, MAX_WIDTH, NULL,
     "mamba2: how many B and C there are; divides the heads"},
    {"gated_norm", HY_F_BOOL, L(gated_norm), 0, "true", 0, 0, NULL,
     "mamba2: RMSNorm, over d_inner / groups channels each, of the gated output; false: the gate alone"},
    {"norm_before_gate", HY_F_BOOL, L(norm_before_gate), 0, "false", 0, 0, NULL,
     "mamba2: that norm comes first, then the gate"},
    {"dt_min", HY_F_DOUBLE, L(dt_min), 0, "0", 0, 1e6, NULL, "mamba2: smallest step, after softplus"},
    {"dt_max", HY_F_DOUBLE, L(dt_max), 0, "0", 0, 1e6, NULL, "mamba2: largest step, after softplus; 0: no limit"},
    HY_FIELD_END,
};
static const hy_field mlp_kind_fields[] = {
    {"kind", HY_F_ENUM, L(mlp), 0, "silu", 0, 0, "none|silu|relu2", "gated silu, squared relu, or no MLP"},
    HY_FIELD_END,
};
static const hy_field mlp_fields[] = {
    {"d_ff", HY_F_INT, L(d_ff), 0, "auto", 1, 1 << 22, "auto",
     "hidden width; auto: silu 8/3 d_model to a multiple of 32, relu2 4 d_model"},
    {"bias", HY_F_BOOL, L(mlp_bias), 0, "false", 0, 0, NULL, "biases of the projections", true},
    HY_FIELD_END,
};
#undef M
#undef L

// ---------------------------------------------------------------------------------------------------- sections
static bool is_parallel(const hy_layer_spec *l) { return l->mixer == HY_MIXER_PARALLEL; }
static bool has_attention(const hy_layer_spec *l) { return hy_layer_has_attention(l); }
static bool has_ssm(const hy_layer_spec *l) { return hy_layer_has_ssm(l); }
static bool is_mamba(const hy_layer_spec *l) { return hy_layer_has_ssm(l) && !hy_layer_is_mamba2(l); }
static bool is_mamba2(const hy_layer_spec *l) { return hy_layer_is_mamba2(l); }
static bool has_mlp(const hy_layer_spec *l) { return l->mlp != HY_MLP_NONE; }
static bool has_gate(const hy_layer_spec *l) { return l->mlp == HY_MLP_SILU; }

#define NO_ATTENTION "the layer has no attention"
#define NO_SSM "the layer has no ssm"
const hy_spec_section hy_spec_sections[] = {
    {"", model_fields},
    {"norm", norm_fields},
    {"rope", rope_fields},
    {"dropout", dropout_fields},
    {"dropout", attention_dropout_fields, .present = has_attention, .lacking = "no layer has attention"},
    {"init", init_fields},
    {"multipliers", factors},
    {"multipliers", attention_factors, .present = has_attention, .lacking = "no layer has attention"},
    {"multipliers", ssm_factors, .present = has_ssm, .lacking = "no layer has an ssm"},
    {"multipliers", gate_factors, .present = has_gate, .lacking = "no layer has an mlp of kind silu"},
    {"multipliers", mlp_factors, .present = has_mlp, .lacking = "no layer has an mlp"},
    {"multipliers", head_factors},
    {"", mixer_fields, .of_layer = true},
    {"", fusion_fields, .of_layer = true, .present = is_parallel, .lacking = "only parallel layers have a fusion"},
    {"", hy_spec_kv_source, .of_layer = true, .present = has_attention, .written = has_attention,
     .lacking = NO_ATTENTION, .absent_byte = 0xFF, .derived = true},
    {"attention", attention_fields, .of_layer = true, .present = has_attention, .written = has_attention,
     .lacking = NO_ATTENTION},
    {"ssm", ssm_fields, .of_layer = true, .present = has_ssm, .written = has_ssm, .lacking = NO_SSM},
    {"ssm", mamba_fields, .of_layer = true, .present = is_mamba, .written = has_ssm,
     .lacking = "the layer has no Mamba-1 heads"},
    {"ssm", ssm_bias_fields, .of_layer = true, .present = has_ssm, .written = has_ssm, .lacking = NO_SSM},
    {"ssm", mamba2_fields, .of_layer = true, .present = is_mamba2, .written = is_mamba2,
     .lacking = "the layer has no Mamba-2 heads"},
    {"mlp", mlp_kind_fields, .of_layer = true},
    {"mlp", mlp_fields, .of_layer = true, .present = has_mlp, .lacking = "the layer has no mlp"},
    {0},
};

size_t hy_spec_field_size(const hy_field *f) {
    switch (f->type) {
        case HY_F_INT:
        case HY_F_BOOL:
        case HY_F_ENUM: return sizeof(int);
        case HY_F_DOUBLE: return sizeof(double);
        case HY_F_STRING: return f->size;
        case HY_F_LONG:
        case HY_F_INTS:
        case HY_F_DOUBLES:
        case HY_F_PAIRS: break;
    }
    HY_ASSERT(!"a type of field that specs do not have");
    return 0;
}

int hy_spec_keys(const char *prefix, bool of_layer, hy_field out[HY_SPEC_KEYS + 1]) {
    int n = 0;
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
        if (s->derived || s->of_layer != of_layer || strcmp(s->prefix, prefix)) continue;
        for (const hy_field *f = s->fields; f->name; f++) {
            HY_ASSERT(n < HY_SPEC_KEYS);
            out[n++] = *f;
        }
    }
    out[n] = (hy_field)HY_FIELD_END;
    return n;
}

void hy_spec_defaults(bool of_layer, void *obj) {
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++)
        if (s->of_layer == of_layer) hy_fields_default(s->fields, obj);
}

void hy_spec_clear_absent(hy_layer_spec *l) {
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
        if (!s->of_layer || !s->present || s->present(l)) continue;
        for (const hy_field *f = s->fields; f->name; f++)
            memset((char *)l + f->offset, s->absent_byte, hy_spec_field_size(f));
    }
}

void hy_spec_sections_text(bool of_layer, const void *obj, int indent, hy_buf *out) {
    for (const hy_spec_section *s = hy_spec_sections; s->fields;) {
        const char *prefix = s->prefix;
        const int inner = indent + (prefix[0] ? 2 : 0);
        hy_buf lines = {0};
        for (; s->fields && !strcmp(s->prefix, prefix); s++)
            if (s->of_layer == of_layer && (!s->written || s->written(obj)))
                hy_fields_text(s->fields, obj, inner, &lines);
        if (lines.n && prefix[0]) hy_buf_printf(out, "%*s%s:\n", indent, "", prefix);
        if (lines.n) hy_buf_write(out, lines.s, lines.n);
        free(lines.s);
    }
}
