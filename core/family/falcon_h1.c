// falcon_h1.c - the Falcon-H1 layout: attention and Mamba-2 heads side by side, an out projection for each, and
// muP-style multipliers, which stay factors of the model (hy_multipliers) and are never folded into weights.
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"

#define LAYER "model.layers.%d."
static const hy_import_row rows[] = {
    {"model.embed_tokens.weight", "embed", HY_PART_ALL, HY_ROW_PLAIN},
    {"model.final_layernorm.weight", "final_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"lm_head.weight", "head", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "input_layernorm.weight", "layers.%d.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "self_attn.q_proj.weight", "layers.%d.in_proj", HY_PART_Q, HY_ROW_PLAIN},
    {LAYER "self_attn.k_proj.weight", "layers.%d.in_proj", HY_PART_K, HY_ROW_PLAIN},
    {LAYER "self_attn.v_proj.weight", "layers.%d.in_proj", HY_PART_V, HY_ROW_PLAIN},
    {LAYER "self_attn.o_proj.weight", "layers.%d.attn_out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.in_proj.weight", "layers.%d.in_proj", HY_PART_SSM, HY_ROW_PLAIN},
    {LAYER "mamba.conv1d.weight", "layers.%d.conv.weight", HY_PART_ALL, HY_ROW_CONV},
    {LAYER "mamba.conv1d.bias", "layers.%d.conv.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.dt_bias", "layers.%d.dt_bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.A_log", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.D", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.norm.weight", "layers.%d.gate_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.out_proj.weight", "layers.%d.ssm_out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "pre_ff_layernorm.weight", "layers.%d.mlp.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "feed_forward.gate_proj.weight", "layers.%d.mlp.up", HY_PART_GATE, HY_ROW_PLAIN},
    {LAYER "feed_forward.up_proj.weight", "layers.%d.mlp.up", HY_PART_UP, HY_ROW_PLAIN},
    {LAYER "feed_forward.down_proj.weight", "layers.%d.mlp.down", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};

// Biases of the projections are not read: no released model has them, and the multipliers act on the two sides of a
// bias differently from place to place. The time_step_* keys but for the limit say how dt was initialised.
static const hy_config_key keys[] = {
    {"model_type", NULL, NULL},
    {"vocab_size", NULL, "128000"},
    {"tie_word_embeddings", NULL, "false"},
    {"hidden_size", NULL, "4096"},
    {"intermediate_size", NULL, "14336"},
    {"num_hidden_layers", NULL, "32"},
    {"num_attention_heads", NULL, "32"},
    {"num_key_value_heads", NULL, "8"},
    {"head_dim", NULL, NULL},
    {"initializer_range", NULL, "0.02"},
    {"rms_norm_eps", NULL, "1e-5"},
    {"max_position_embeddings", NULL, "8192"},
    {"rope_theta", NULL, NULL},
    {"rope_scaling", NULL, NULL},
    {"rope_parameters", NULL, NULL},
    {"mamba_d_ssm", NULL, "1024"},
    {"mamba_expand", NULL, "2"},
    {"mamba_n_heads", NULL, "128"},
    {"mamba_d_head", NULL, "\"auto\""},
    {"mamba_n_groups", NULL, "1"},
    {"mamba_d_state", NULL, "256"},
    {"mamba_d_conv", NULL, "4"},
    {"mamba_conv_bias", NULL, "true"},
    {"mamba_rms_norm", NULL, "false"},
    {"mamba_norm_before_gate", NULL, "true"},
    {"time_step_limit", NULL, NULL},
    {"embedding_multiplier", NULL, NULL},
    {"lm_head_multiplier", NULL, NULL},
    {"attention_in_multiplier", NULL, NULL},
    {"attention_out_multiplier", NULL, NULL},
    {"key_multiplier", NULL, NULL},
    {"ssm_in_multiplier", NULL, NULL},
    {"ssm_out_multiplier", NULL, NULL},
    {"ssm_multipliers", NULL, NULL},
    {"mlp_multipliers", NULL, NULL},
    {"hidden_act", "\"silu\"|\"swish\"", NULL},
    {"partial_rotary_factor", NULL, NULL},
    {"attention_bias", "false", NULL},
    {"mamba_proj_bias", "false", NULL},
    {"projectors_bias", "false", NULL},
    {"mlp_bias", "false", NULL},
    {"mamba_use_mlp", "true", NULL},
    {"attn_layer_indices", "null", NULL},
    {"sliding_window", "null", NULL},
    {"mamba_chunk_size", "", NULL},
    {"num_logits_to_keep", "", NULL},
    {"mlp_expansion_factor", "", NULL},
    {"expansion_factor", "", NULL},
    {"time_step_rank", "", NULL},
    {"time_step_min", "", NULL},
    {"time_step_max", "", NULL},
    {"time_step_floor", "", NULL},
    {"add_bos_token", "", NULL},
    {NULL, NULL, NULL},
};

// ---------------------------------------------------------------------------------------------------- reading
// A list of n factors that may be absent or null: out then stays as it is.
static hy_status read_factors(const hy_json *c, const char *where, const char *key, double *const *out, size_t n) {
    const hy_json *list;
    if (!hy_config_has(c, key)) return HY_OK;
    HY_TRY(hy_json_get_array(c, where, key, &list));
    if (hy_json_size(list) != n)
        return hy_error(HY_EINPUT, "%s: \"%s\" has %zu numbers; it must have %zu", where, key, hy_json_size(list), n);
    for (size_t i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s: \"%s\"[%zu]", where, key, i);
        HY_TRY(hy_json_double(hy_json_at(list, i), path, 1e-6, 1e6, out[i]));
    }
    return HY_OK;
}

static hy_status read_multipliers(const hy_json *c, const char *where, hy_multipliers *f) {
    const struct {
        const char *key;
        double *out;
    } one[] = {{"embedding_multiplier", &f->embedding},
               {"lm_head_multiplier", &f->head},
               {"attention_in_multiplier", &f->attention_in},
               {"attention_out_multiplier", &f->attention_out},
               {"key_multiplier", &f->key},
               {"ssm_in_multiplier", &f->ssm_in},
               {"ssm_out_multiplier", &f->ssm_out}};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        HY_TRY(hy_config_double_or(c, where, one[i].key, 1e-6, 1e6, one[i].out));
    HY_TRY(read_factors(c, where, "ssm_multipliers",
                        (double *[]){&f->ssm_z, &f->ssm_x, &f->ssm_B, &f->ssm_C, &f->ssm_dt}, 5));
    return read_factors(c, where, "mlp_multipliers", (double *[]){&f->mlp_gate, &f->mlp_down}, 2);
}

static hy_status spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l = {.mixer = HY_MIXER_PARALLEL, .fusion = HY_FUSION_SUM, .mlp = HY_MLP_SILU};
    snprintf(m->name, sizeof m->name, "falcon-h1");
    HY_TRY(hy_config_model(c, where, "rms_norm_eps", m));
    HY_TRY(hy_config_rope(c, where, 0, NULL, m));
    HY_TRY(read_multipliers(c, where, &m->multipliers));
    HY_TRY(hy_config_int(c, where, "intermediate_size", 1, 1 << 22, &l.d_ff));
    HY_TRY(hy_config_attention(c, where, m->d_model, &l));
    HY_TRY(hy_config_mamba2_heads(c, where, m->d_model, &l));
    HY_TRY(hy_config_bool(c, where, "mamba_rms_norm", &l.gated_norm));
    HY_TRY(hy_config_bool(c, where, "mamba_norm_before_gate", &l.norm_before_gate));
    if (!l.gated_norm) l.norm_before_gate = 0;
    for (int i = 0; i < m->n_layers; i++) {
        m->layers[i] = l;
        m->layers[i].kv_source = i;
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- writing
static hy_json *list_of(const double *v, int n) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < n; i++) hy_json_add(list, hy_json_new_double(v[i]));
    return list;
}

static void write_multipliers(const hy_multipliers *f, hy_json *out) {
    hy_json_set_double(out, "embedding_multiplier", f->embedding);
    hy_json_set_double(out, "lm_head_multiplier", f->head);
    hy_json_set_double(out, "attention_in_multiplier", f->attention_in);
    hy_json_set_double(out, "attention_out_multiplier", f->attention_out);
    hy_json_set_double(out, "key_multiplier", f->key);
    hy_json_set_double(out, "ssm_in_multiplier", f->ssm_in);
    hy_json_set_double(out, "ssm_out_multiplier", f->ssm_out);
    hy_json_set(out, "ssm_multipliers", list_of((double[]){f->ssm_z, f->ssm_x, f->ssm_B, f->ssm_C, f->ssm_dt}, 5));
    hy_json_set(out, "mlp_multipliers", list_of((double[]){f->mlp_gate, f->mlp_down}, 2));
}

static hy_status config(const hy_model_spec *m, hy_json *out) {
    static const char *const no_bias[] = {"attention_bias", "mamba_proj_bias", "projectors_bias", "mlp_bias"};
    const hy_layer_spec *l = &m->layers[0];
    hy_config_write_class("FalconH1ForCausalLM", out);
    hy_json_set_string(out, "model_type", "falcon_h1");
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_bool(out, "tie_word_embeddings", m->tied);
    hy_json_set_int(out, "hidden_size", m->d_model);
    hy_json_set_int(out, "intermediate_size", l->d_ff);
    hy_json_set_int(out, "num_hidden_layers", m->n_layers);
    hy_config_write_attention(l, out);
    hy_json_set_string(out, "hidden_act", "silu");
    hy_json_set_double(out, "rms_norm_eps", m->norm_eps);
    hy_json_set_double(out, "initializer_range", m->init_std);
    hy_json_set_int(out, "mamba_d_ssm", l->d_inner);
    hy_config_write_mamba2_heads(l, out);
    hy_json_set_bool(out, "mamba_rms_norm", l->gated_norm);
    hy_json_set_bool(out, "mamba_norm_before_gate", l->norm_before_gate);
    for (size_t i = 0; i < sizeof no_bias / sizeof *no_bias; i++) hy_json_set_bool(out, no_bias[i], false);
    write_multipliers(&m->multipliers, out);
    hy_config_write_rope(m, 0, out);
    return HY_OK;
}

const hy_import_family hy_import_falcon_h1 = {
    .model_type = "falcon_h1",
    .rows = rows,
    .keys = keys,
    .tied_copy = "lm_head.weight",
    .tied_to = "model.embed_tokens.weight",
    .spec = spec,
    .config = config,
};
