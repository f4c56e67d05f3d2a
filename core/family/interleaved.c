// interleaved.c - families whose layers are SSM heads or attention in turn, each with a gated MLP behind it: jamba
// (Mamba-1, attention without positions; one expert), bamba (Mamba-2, rotary positions on a part of each head) and
// granitemoehybrid (Granite-4.0-H without experts: Mamba-2, fixed factors, with or without rotary positions).
#include <math.h>
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"

#define LAYER "model.layers.%d."
// Tensors that all three name alike; the norm before the MLP and the MLP itself are not among them.
#define MODEL_ROWS(final)                                                                                          \
    {"model.embed_tokens.weight", "embed", HY_PART_ALL, HY_ROW_PLAIN},                                             \
        {final, "final_norm", HY_PART_ALL, HY_ROW_PLAIN}, {"lm_head.weight", "head", HY_PART_ALL, HY_ROW_PLAIN}, { \
        LAYER "input_layernorm.weight", "layers.%d.norm", HY_PART_ALL, HY_ROW_PLAIN                                \
    }
#define ATTENTION_ROWS                                                                                 \
    {LAYER "self_attn.q_proj.weight", "layers.%d.in_proj", HY_PART_Q, HY_ROW_PLAIN},                   \
        {LAYER "self_attn.k_proj.weight", "layers.%d.in_proj", HY_PART_K, HY_ROW_PLAIN},               \
        {LAYER "self_attn.v_proj.weight", "layers.%d.in_proj", HY_PART_V, HY_ROW_PLAIN},               \
        {LAYER "self_attn.q_proj.bias", "layers.%d.in_proj.bias", HY_PART_Q, HY_ROW_PLAIN},            \
        {LAYER "self_attn.k_proj.bias", "layers.%d.in_proj.bias", HY_PART_K, HY_ROW_PLAIN},            \
        {LAYER "self_attn.v_proj.bias", "layers.%d.in_proj.bias", HY_PART_V, HY_ROW_PLAIN},            \
        {LAYER "self_attn.o_proj.weight", "layers.%d.out_proj", HY_PART_OF_ATTENTION, HY_ROW_PLAIN}, { \
        LAYER "self_attn.o_proj.bias", "layers.%d.out_proj.bias", HY_PART_OF_ATTENTION, HY_ROW_PLAIN   \
    }
#define SSM_ROWS                                                                               \
    {LAYER "mamba.in_proj.weight", "layers.%d.in_proj", HY_PART_SSM, HY_ROW_PLAIN},            \
        {LAYER "mamba.in_proj.bias", "layers.%d.in_proj.bias", HY_PART_SSM, HY_ROW_PLAIN},     \
        {LAYER "mamba.conv1d.weight", "layers.%d.conv.weight", HY_PART_ALL, HY_ROW_CONV},      \
        {LAYER "mamba.conv1d.bias", "layers.%d.conv.bias", HY_PART_ALL, HY_ROW_PLAIN},         \
        {LAYER "mamba.A_log", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},                   \
        {LAYER "mamba.D", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},                           \
        {LAYER "mamba.out_proj.weight", "layers.%d.out_proj", HY_PART_OF_SSM, HY_ROW_PLAIN}, { \
        LAYER "mamba.out_proj.bias", "layers.%d.out_proj.bias", HY_PART_OF_SSM, HY_ROW_PLAIN   \
    }
#define MAMBA2_ROWS                                                                 \
    {LAYER "mamba.dt_bias", "layers.%d.dt_bias", HY_PART_ALL, HY_ROW_PLAIN}, {      \
        LAYER "mamba.norm.weight", "layers.%d.gate_norm", HY_PART_ALL, HY_ROW_PLAIN \
    }
#define FEED_FORWARD_ROWS                                                                           \
    {LAYER "pre_ff_layernorm.weight", "layers.%d.mlp.norm", HY_PART_ALL, HY_ROW_PLAIN},             \
        {LAYER "feed_forward.gate_proj.weight", "layers.%d.mlp.up", HY_PART_GATE, HY_ROW_PLAIN},    \
        {LAYER "feed_forward.up_proj.weight", "layers.%d.mlp.up", HY_PART_UP, HY_ROW_PLAIN},        \
        {LAYER "feed_forward.gate_proj.bias", "layers.%d.mlp.up.bias", HY_PART_GATE, HY_ROW_PLAIN}, \
        {LAYER "feed_forward.up_proj.bias", "layers.%d.mlp.up.bias", HY_PART_UP, HY_ROW_PLAIN},     \
        {LAYER "feed_forward.down_proj.weight", "layers.%d.mlp.down", HY_PART_ALL, HY_ROW_PLAIN}, { \
        LAYER "feed_forward.down_proj.bias", "layers.%d.mlp.down.bias", HY_PART_ALL, HY_ROW_PLAIN   \
    }
#define END_ROW \
    { NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN }

static const hy_import_row jamba_rows[] = {
    MODEL_ROWS("model.final_layernorm.weight"),
    ATTENTION_ROWS,
    SSM_ROWS,
    {LAYER "mamba.x_proj.weight", "layers.%d.x_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.dt_proj.weight", "layers.%d.dt_proj.weight", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.dt_proj.bias", "layers.%d.dt_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.dt_layernorm.weight", "layers.%d.dt_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.b_layernorm.weight", "layers.%d.B_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.c_layernorm.weight", "layers.%d.C_norm", HY_PART_ALL, HY_ROW_PLAIN},
    FEED_FORWARD_ROWS,
    END_ROW,
};
static const hy_import_row bamba_rows[] = {
    MODEL_ROWS("model.final_layernorm.weight"), ATTENTION_ROWS, SSM_ROWS, MAMBA2_ROWS, FEED_FORWARD_ROWS, END_ROW,
};
static const hy_import_row granite_rows[] = {
    MODEL_ROWS("model.norm.weight"),
    ATTENTION_ROWS,
    SSM_ROWS,
    MAMBA2_ROWS,
    {LAYER "post_attention_layernorm.weight", "layers.%d.mlp.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "shared_mlp.input_linear.weight", "layers.%d.mlp.up", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "shared_mlp.output_linear.weight", "layers.%d.mlp.down", HY_PART_ALL, HY_ROW_PLAIN},
    END_ROW,
};

// ---------------------------------------------------------------------------------------------------- keys
#define SHARED_KEYS(vocab, d_ff, kv, eps)                                                                             \
    {"model_type", NULL, NULL}, {"vocab_size", NULL, vocab}, {"tie_word_embeddings", NULL, "false"},                  \
        {"hidden_size", NULL, "4096"}, {"intermediate_size", NULL, d_ff}, {"num_hidden_layers", NULL, "32"},          \
        {"num_attention_heads", NULL, "32"}, {"num_key_value_heads", NULL, kv}, {"head_dim", NULL, NULL},             \
        {"hidden_act", "\"silu\"|\"swish\"", NULL}, {"initializer_range", NULL, "0.02"}, {"rms_norm_eps", NULL, eps}, \
        {"mamba_d_conv", NULL, "4"}, {"mamba_expand", NULL, "2"}, {"mamba_conv_bias", NULL, "true"},                  \
        {"mamba_proj_bias", NULL, "false"}, {"num_logits_to_keep", "", NULL}, {                                       \
        "output_router_logits", "", NULL                                                                              \
    }
#define MAMBA2_KEYS                                                                                        \
    {"mamba_n_heads", NULL, "128"}, {"mamba_d_head", NULL, "\"auto\""}, {"mamba_n_groups", NULL, "1"},     \
        {"mamba_d_state", NULL, "256"}, {"mamba_chunk_size", "", NULL}, {"time_step_limit", NULL, NULL}, { \
        "attention_bias", NULL, "false"                                                                    \
    }
#define ROPE_KEYS \
    {"rope_theta", NULL, NULL}, {"rope_scaling", NULL, NULL}, { "rope_parameters", NULL, NULL }
// use_mambapy and its like say how it is computed; the other keys of experts mean nothing without any.
static const hy_config_key jamba_keys[] = {
    SHARED_KEYS("65536", "14336", "8", "1e-6"),
    {"num_experts", NULL, "16"},
    {"attn_layer_period", NULL, "8"},
    {"attn_layer_offset", NULL, "4"},
    {"mamba_d_state", NULL, "16"},
    {"mamba_dt_rank", NULL, "\"auto\""},
    {"max_position_embeddings", NULL, "262144"},
    {"mamba_inner_layernorms", "true", NULL},
    {"sliding_window", "null", NULL},
    {"num_experts_per_tok", "", NULL},
    {"expert_layer_period", "", NULL},
    {"expert_layer_offset", "", NULL},
    {"router_aux_loss_coef", "", NULL},
    {"use_mamba_kernels", "", NULL},
    {"use_mambapy", "", NULL},
    {"use_associative_scan", "", NULL},
    {NULL, NULL, NULL},
};
static const hy_config_key bamba_keys[] = {
    SHARED_KEYS("128000", "14336", "8", "1e-5"),
    MAMBA2_KEYS,
    ROPE_KEYS,
    {"attn_layer_indices", NULL, NULL},
    {"max_position_embeddings", NULL, "262144"},
    {"mlp_bias", NULL, "false"},
    {"partial_rotary_factor", NULL, NULL},
    {"attn_rotary_emb", "", NULL},
    {"z_loss_coefficient", "", NULL},
    {NULL, NULL, NULL},
};
static const hy_config_key granite_keys[] = {
    SHARED_KEYS("32000", "11008", NULL, "1e-6"),
    MAMBA2_KEYS,
    ROPE_KEYS,
    {"num_local_experts", NULL, "8"},
    {"shared_intermediate_size", NULL, "1024"},
    {"layer_types", NULL, NULL},
    {"layers_block_type", NULL, NULL},
    {"position_embedding_type", NULL, NULL},
    {"max_position_embeddings", NULL, "2048"},
    {"embedding_multiplier", NULL, "1"},
    {"logits_scaling", NULL, "1"},
    {"residual_multiplier", NULL, "1"},
    {"attention_multiplier", NULL, "1"},
    {"normalization_function", "\"rmsnorm\"", NULL},
    {"num_experts_per_tok", "", NULL},
    {"router_aux_loss_coef", "", NULL},
    {"init_method", "", NULL},
    {NULL, NULL, NULL},
};

// ---------------------------------------------------------------------------------------------------- reading
// What the three have alike: the model, and one layer of each kind (with the MLP that follows).
static hy_status read_shared(const hy_json *c, const char *where, const char *name, const char *d_ff, hy_model_spec *m,
                             hy_layer_spec *attention, hy_layer_spec *ssm) {
    *attention = (hy_layer_spec){.mixer = HY_MIXER_ATTENTION, .mlp = HY_MLP_SILU};
    *ssm = (hy_layer_spec){.mixer = HY_MIXER_SSM, .mlp = HY_MLP_SILU, .kv_source = -1};
    snprintf(m->name, sizeof m->name, "%s", name);
    HY_TRY(hy_config_model(c, where, "rms_norm_eps", m));
    HY_TRY(hy_config_attention(c, where, m->d_model, attention));
    HY_TRY(hy_config_bool(c, where, "mamba_proj_bias", &ssm->proj_bias));
    HY_TRY(hy_config_int(c, where, d_ff, 1, 1 << 22, &ssm->d_ff));
    attention->d_ff = ssm->d_ff;
    return HY_OK;
}

static hy_status read_mamba2(const hy_json *c, const char *where, int d_model, hy_layer_spec *attention,
                             hy_layer_spec *ssm) {
    ssm->gated_norm = 1;
    HY_TRY(hy_config_bool(c, where, "attention_bias", &attention->qkv_bias));
    attention->out_bias = attention->qkv_bias;
    return hy_config_mamba2_heads(c, where, d_model, ssm);
}

static void fill_layers(hy_model_spec *m, const hy_config_layer *kinds, const hy_layer_spec *attention,
                        const hy_layer_spec *ssm) {
    for (int i = 0; i < m->n_layers; i++) {
        m->layers[i] = kinds[i] == HY_CONFIG_SSM ? *ssm : *attention;
        if (kinds[i] != HY_CONFIG_SSM) m->layers[i].kv_source = i;
    }
}

static hy_status read_no_experts(const hy_json *c, const char *where, const char *key, int most) {
    char path[512];
    int n;
    HY_TRY(hy_config_int(c, where, key, 0, HY_CONFIG_MAX_WIDTH, &n));
    if (n <= most) return HY_OK;
    snprintf(path, sizeof path, "%s: \"%s\" is %d", where, key, n);
    return hy_config_experts(path);
}

static hy_status jamba_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec attention, ssm;
    hy_config_layer kinds[HY_MAX_LAYERS];
    int expand, period, offset;
    HY_TRY(read_no_experts(c, where, "num_experts", 1));
    HY_TRY(read_shared(c, where, "jamba", "intermediate_size", m, &attention, &ssm));
    HY_TRY(hy_config_int(c, where, "max_position_embeddings", 1, HY_CONFIG_MAX_TOKENS, &m->max_len));
    hy_config_no_rope(m);
    ssm.inner_norms = HY_INNER_NORMS_WEIGHTED;
    HY_TRY(hy_config_int(c, where, "mamba_d_state", 1, 4096, &ssm.d_state));
    HY_TRY(hy_config_int(c, where, "mamba_d_conv", 1, 256, &ssm.d_conv));
    HY_TRY(hy_config_int(c, where, "mamba_expand", 1, HY_CONFIG_MAX_WIDTH / m->d_model, &expand));
    HY_TRY(hy_config_dt_rank(c, where, "mamba_dt_rank", m->d_model, &ssm.dt_rank));
    HY_TRY(hy_config_bool(c, where, "mamba_conv_bias", &ssm.conv_bias));
    ssm.d_inner = expand * m->d_model;
    HY_TRY(hy_config_int(c, where, "attn_layer_period", 1, HY_CONFIG_MAX_WIDTH, &period));
    HY_TRY(hy_config_int(c, where, "attn_layer_offset", 0, period - 1, &offset));
    for (int i = 0; i < m->n_layers; i++) kinds[i] = i % period == offset ? HY_CONFIG_ATTENTION : HY_CONFIG_SSM;
    fill_layers(m, kinds, &attention, &ssm);
    return HY_OK;
}

static hy_status set_rotary(const char *where, double share, hy_layer_spec *l) {
    const int turned = (int)(l->d_qk * share);
    l->rotary = turned < l->d_qk ? turned : 0;
    if (turned >= 2 && turned % 2 == 0) return HY_OK;
    return hy_error(HY_EINPUT, "%s: \"partial_rotary_factor\": %g of %d values a head are %d: not whole pairs", where,
                    share, l->d_qk, turned);
}

// The class turns a half of each head where nothing says how much.
static hy_status bamba_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec attention, ssm;
    hy_config_layer kinds[HY_MAX_LAYERS];
    double share = 0.5;
    HY_TRY(read_shared(c, where, "bamba", "intermediate_size", m, &attention, &ssm));
    HY_TRY(read_mamba2(c, where, m->d_model, &attention, &ssm));
    HY_TRY(hy_config_bool(c, where, "mlp_bias", &ssm.mlp_bias));
    attention.mlp_bias = ssm.mlp_bias;
    HY_TRY(hy_config_rope(c, where, 10000, &share, m));
    HY_TRY(set_rotary(where, share, &attention));
    for (int i = 0; i < m->n_layers; i++) kinds[i] = HY_CONFIG_SSM;
    if (hy_config_has(c, "attn_layer_indices")) {
        const hy_json *list;
        HY_TRY(hy_json_get_array(c, where, "attn_layer_indices", &list));
        for (size_t k = 0; k < hy_json_size(list); k++) {
            char path[512];
            int64_t i;
            snprintf(path, sizeof path, "%s: \"attn_layer_indices\"[%zu]", where, k);
            HY_TRY(hy_json_int(hy_json_at(list, k), path, 0, m->n_layers - 1, &i));
            kinds[i] = HY_CONFIG_ATTENTION;
        }
    }
    fill_layers(m, kinds, &attention, &ssm);
    return HY_OK;
}

// Granite's factors are ours but for two: what a block gives is multiplied (where ours multiply what enters its out
// projection, so that projections must not have biases), and attention_multiplier stands for 1 / sqrt(d_qk).
static hy_status read_factors(const hy_json *c, const char *where, bool has_attention, bool has_ssm,
                              const hy_layer_spec *attention, const hy_layer_spec *ssm, hy_multipliers *f) {
    double logits, residual, scores;
    HY_TRY(hy_json_get_double(c, where, "embedding_multiplier", 1e-6, 1e6, &f->embedding));
    HY_TRY(hy_json_get_double(c, where, "logits_scaling", 1e-6, 1e6, &logits));
    HY_TRY(hy_json_get_double(c, where, "residual_multiplier", 1e-6, 1e6, &residual));
    HY_TRY(hy_json_get_double(c, where, "attention_multiplier", 1e-6, 1e6, &scores));
    if (residual != 1 && (attention->out_bias || ssm->proj_bias))
        return hy_error(HY_EINPUT,
                        "%s: \"residual_multiplier\" %g with biases of projections (\"attention_bias\", "
                        "\"mamba_proj_bias\") is not supported: it would have to multiply them too",
                        where, residual);
    f->head = 1 / logits;
    f->mlp_down = residual;
    if (has_ssm) f->ssm_out = residual;
    if (has_attention) f->attention_out = residual;
    if (has_attention) f->key = scores * sqrt(attention->d_qk);
    return HY_OK;
}

static hy_status granite_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec attention, ssm;
    hy_config_layer kinds[HY_MAX_LAYERS];
    const char *positions = "nope";
    int n_attention = 0;
    HY_TRY(read_no_experts(c, where, "num_local_experts", 0));
    HY_TRY(read_shared(c, where, "granite-hybrid", "shared_intermediate_size", m, &attention, &ssm));
    HY_TRY(read_mamba2(c, where, m->d_model, &attention, &ssm));
    HY_TRY(hy_config_rope(c, where, 10000, NULL, m));
    if (hy_config_has(c, "position_embedding_type"))
        HY_TRY(hy_json_get_string(c, where, "position_embedding_type", &positions));
    if (strcmp(positions, "rope")) hy_config_no_rope(m);
    for (int i = 0; i < m->n_layers; i++) kinds[i] = HY_CONFIG_SSM;
    const char *const key = hy_config_has(c, "layer_types") ? "layer_types" : "layers_block_type";
    if (hy_config_has(c, key)) HY_TRY(hy_config_kinds(c, where, key, m->n_layers, kinds));
    for (int i = 0; i < m->n_layers; i++) {
        n_attention += kinds[i] == HY_CONFIG_ATTENTION;
        if (kinds[i] == HY_CONFIG_MLP)
            return hy_error(HY_EINPUT, "%s: \"%s\"[%d]: \"mlp\" is no kind of layer of this family", where, key, i);
    }
    if (!n_attention) hy_config_no_rope(m);
    HY_TRY(read_factors(c, where, n_attention > 0, n_attention < m->n_layers, &attention, &ssm, &m->multipliers));
    fill_layers(m, kinds, &attention, &ssm);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- writing
static hy_status write_shared(const hy_model_spec *m, const char *type, const char *class, const char *d_ff,
                              hy_json *out) {
    const hy_layer_spec a = hy_config_attention_layer(m), s = hy_config_ssm_layer(m);
    hy_config_write_class(class, out);
    hy_json_set_string(out, "model_type", type);
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_bool(out, "tie_word_embeddings", m->tied);
    hy_json_set_int(out, "hidden_size", m->d_model);
    hy_json_set_int(out, d_ff, m->layers[0].d_ff);
    hy_json_set_int(out, "num_hidden_layers", m->n_layers);
    hy_json_set_string(out, "hidden_act", "silu");
    hy_json_set_double(out, "initializer_range", m->init_std);
    hy_json_set_double(out, "rms_norm_eps", m->norm_eps);
    hy_json_set_int(out, "mamba_expand", s.d_inner / m->d_model);
    hy_json_set_bool(out, "mamba_proj_bias", s.proj_bias);
    hy_config_write_attention(&a, out);
    return HY_OK;
}

static hy_status jamba_config(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec s = hy_config_ssm_layer(m);
    int first = 0, next;
    HY_TRY(write_shared(m, "jamba", "JambaForCausalLM", "intermediate_size", out));
    while (first < m->n_layers && m->layers[first].mixer != HY_MIXER_ATTENTION) first++;
    for (next = first + 1; next < m->n_layers && m->layers[next].mixer != HY_MIXER_ATTENTION;) next++;
    hy_json_set_int(out, "attn_layer_offset", first);
    hy_json_set_int(out, "attn_layer_period", next - first > first ? next - first : first + 1);
    hy_json_set_int(out, "num_experts", 1);
    hy_json_set_int(out, "num_experts_per_tok", 1);
    hy_json_set_int(out, "mamba_d_state", s.d_state);
    hy_json_set_int(out, "mamba_d_conv", s.d_conv);
    hy_json_set_int(out, "mamba_dt_rank", s.dt_rank);
    hy_json_set_bool(out, "mamba_conv_bias", s.conv_bias);
    hy_json_set_int(out, "max_position_embeddings", m->max_len);
    return HY_OK;
}

static hy_status bamba_config(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec a = hy_config_attention_layer(m), s = hy_config_ssm_layer(m);
    hy_json *at = hy_json_new_array();
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].mixer == HY_MIXER_ATTENTION) hy_json_add(at, hy_json_new_int(i));
    hy_json_set(out, "attn_layer_indices", at);
    HY_TRY(write_shared(m, "bamba", "BambaForCausalLM", "intermediate_size", out));
    hy_config_write_mamba2_heads(&s, out);
    hy_json_set_bool(out, "attention_bias", a.qkv_bias);
    hy_json_set_bool(out, "mlp_bias", m->layers[0].mlp_bias);
    hy_config_write_rope(m, a.rotary ? (double)a.rotary / a.d_qk : 1, out);
    return HY_OK;
}

// The x next to `near` for which f(x) is `want` again: what is read back must be the same to the bit.
static double inverse(double near, double (*f)(double x, double by), double by, double want) {
    const double up = nextafter(near, INFINITY), down = nextafter(near, 0);
    const double tries[] = {near, up, down, nextafter(up, INFINITY), nextafter(down, 0)};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        if (f(tries[i], by) == want) return tries[i];
    return near;
}
static double reciprocal(double x, double by) { return by / x; }
static double product(double x, double by) { return x * by; }

static hy_status granite_config(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec a = hy_config_attention_layer(m), s = hy_config_ssm_layer(m);
    const hy_multipliers *f = &m->multipliers;
    HY_TRY(write_shared(m, "granitemoehybrid", "GraniteMoeHybridForCausalLM", "shared_intermediate_size", out));
    const double root = sqrt(a.d_qk);
    hy_config_write_mamba2_heads(&s, out);
    hy_json_set_bool(out, "attention_bias", a.qkv_bias);
    hy_json_set_int(out, "num_local_experts", 0);
    hy_json_set_int(out, "num_experts_per_tok", 0);
    hy_json_set(out, "layer_types", hy_config_kinds_of(m));
    hy_json_set_double(out, "embedding_multiplier", f->embedding);
    hy_json_set_double(out, "logits_scaling", inverse(1 / f->head, reciprocal, 1, f->head));
    hy_json_set_double(out, "residual_multiplier", f->mlp_down);
    hy_json_set_double(out, "attention_multiplier", inverse(f->key / root, product, root, f->key));
    hy_config_write_rope(m, 0, out);
    hy_json_set_string(out, "position_embedding_type", m->rope == HY_ROPE_NONE ? "nope" : "rope");
    return HY_OK;
}

#define FAMILY(name, table, type)                                                      \
    const hy_import_family hy_import_##type = {.model_type = #type,                    \
                                               .rows = table##_rows,                   \
                                               .keys = table##_keys,                   \
                                               .tied_copy = "lm_head.weight",          \
                                               .tied_to = "model.embed_tokens.weight", \
                                               .spec = table##_spec,                   \
                                               .config = table##_config}
FAMILY(jamba, jamba, jamba);
FAMILY(bamba, bamba, bamba);
FAMILY(granite, granite, granitemoehybrid);
