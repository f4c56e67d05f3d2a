// nemotron_h.c - the Nemotron-H layout: layers of one block each, which is Mamba-2, attention without positions, or an
// MLP of squared relu. What transformers 5 computes counts: a step is at least time_step_min (the releases' own code
// reads time_step_limit instead, [0, Infinity] in all of them).
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"

#define LAYER "backbone.layers.%d."
static const hy_import_row rows[] = {
    {"backbone.embeddings.weight", "embed", HY_PART_ALL, HY_ROW_PLAIN},
    {"backbone.norm_f.weight", "final_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"lm_head.weight", "head", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "norm.weight", "layers.%d.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "norm.weight", "layers.%d.mlp.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.q_proj.weight", "layers.%d.in_proj", HY_PART_Q, HY_ROW_PLAIN},
    {LAYER "mixer.k_proj.weight", "layers.%d.in_proj", HY_PART_K, HY_ROW_PLAIN},
    {LAYER "mixer.v_proj.weight", "layers.%d.in_proj", HY_PART_V, HY_ROW_PLAIN},
    {LAYER "mixer.o_proj.weight", "layers.%d.out_proj", HY_PART_OF_ATTENTION, HY_ROW_PLAIN},
    {LAYER "mixer.in_proj.weight", "layers.%d.in_proj", HY_PART_SSM, HY_ROW_PLAIN},
    {LAYER "mixer.in_proj.bias", "layers.%d.in_proj.bias", HY_PART_SSM, HY_ROW_PLAIN},
    {LAYER "mixer.conv1d.weight", "layers.%d.conv.weight", HY_PART_ALL, HY_ROW_CONV},
    {LAYER "mixer.conv1d.bias", "layers.%d.conv.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.dt_bias", "layers.%d.dt_bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.A_log", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.D", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.norm.weight", "layers.%d.gate_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.weight", "layers.%d.out_proj", HY_PART_OF_SSM, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.bias", "layers.%d.out_proj.bias", HY_PART_OF_SSM, HY_ROW_PLAIN},
    {LAYER "mixer.up_proj.weight", "layers.%d.mlp.up", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.up_proj.bias", "layers.%d.mlp.up.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.down_proj.weight", "layers.%d.mlp.down", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.down_proj.bias", "layers.%d.mlp.down.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};

// Keys of experts and of layers that predict further tokens mean nothing where no layer has experts.
static const hy_config_key keys[] = {
    {"model_type", NULL, NULL},
    {"vocab_size", NULL, "131072"},
    {"tie_word_embeddings", NULL, "false"},
    {"hidden_size", NULL, "4096"},
    {"num_hidden_layers", NULL, NULL},
    {"layers_block_type", NULL, NULL},
    {"layer_types", NULL, NULL},
    {"hybrid_override_pattern", NULL, NULL},
    {"num_attention_heads", NULL, "32"},
    {"num_key_value_heads", NULL, "8"},
    {"head_dim", NULL, "128"},
    {"attention_head_dim", NULL, NULL},
    {"max_position_embeddings", NULL, "4096"},
    {"intermediate_size", NULL, "21504"},
    {"mlp_bias", NULL, "false"},
    {"ssm_state_size", NULL, "128"},
    {"mamba_num_heads", NULL, "128"},
    {"mamba_head_dim", NULL, "64"},
    {"n_groups", NULL, "8"},
    {"conv_kernel", NULL, "4"},
    {"use_conv_bias", NULL, "true"},
    {"use_bias", NULL, "false"},
    {"time_step_min", NULL, "0.001"},
    {"layer_norm_epsilon", NULL, "1e-5"},
    {"initializer_range", NULL, "0.02"},
    {"mlp_hidden_act", "\"relu2\"", NULL},
    {"mamba_hidden_act", "\"silu\"|\"swish\"", NULL},
    {"attention_bias", "false", NULL},
    {"sliding_window", "null", NULL},
    {"hidden_dropout", "", NULL},
    {"rms_norm_eps", "", NULL},
    {"num_query_groups", "", NULL},
    {"expand", "", NULL},
    {"chunk_size", "", NULL},
    {"mamba_proj_bias", "", NULL},
    {"mamba_ssm_cache_dtype", "", NULL},
    {"use_mamba_kernels", "", NULL},
    {"time_step_limit", "", NULL},
    {"time_step_max", "", NULL},
    {"time_step_floor", "", NULL},
    {"residual_in_fp32", "", NULL},
    {"rescale_prenorm_residual", "", NULL},
    {"num_logits_to_keep", "", NULL},
    {"n_routed_experts", "", NULL},
    {"n_shared_experts", "", NULL},
    {"moe_intermediate_size", "", NULL},
    {"moe_shared_expert_intermediate_size", "", NULL},
    {"moe_latent_size", "", NULL},
    {"moe_shared_expert_overlap", "", NULL},
    {"num_experts_per_tok", "", NULL},
    {"routed_scaling_factor", "", NULL},
    {"n_group", "", NULL},
    {"topk_group", "", NULL},
    {"norm_topk_prob", "", NULL},
    {"output_router_logits", "", NULL},
    {"num_nextn_predict_layers", "", NULL},
    {"mtp_layers_block_type", "", NULL},
    {"mtp_hybrid_override_pattern", "", NULL},
    {NULL, NULL, NULL},
};

// ---------------------------------------------------------------------------------------------------- reading
// A letter for each layer.
static hy_status read_pattern(const char *where, const char *pattern, int n_layers, hy_config_layer *out) {
    if (strlen(pattern) != (size_t)n_layers)
        return hy_error(HY_EINPUT, "%s: \"hybrid_override_pattern\" has %zu letters, but \"num_hidden_layers\" is %d",
                        where, strlen(pattern), n_layers);
    for (int i = 0; i < n_layers; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s: \"hybrid_override_pattern\", letter %d", where, i);
        switch (pattern[i]) {
            case 'M': out[i] = HY_CONFIG_SSM; break;
            case '*': out[i] = HY_CONFIG_ATTENTION; break;
            case '-': out[i] = HY_CONFIG_MLP; break;
            case 'E': return hy_config_experts(path);
            default:
                return hy_error(HY_EINPUT, "%s: '%c' is not a kind of layer that is read (M, *, -)", path, pattern[i]);
        }
    }
    return HY_OK;
}

static hy_status read_mamba2(const hy_json *c, const char *where, hy_layer_spec *l) {
    int heads;
    *l = (hy_layer_spec){.mixer = HY_MIXER_SSM, .ssm_kind = HY_SSM_MAMBA2, .gated_norm = 1, .kv_source = -1};
    HY_TRY(hy_config_int(c, where, "mamba_num_heads", 1, HY_CONFIG_MAX_WIDTH, &heads));
    HY_TRY(hy_config_int(c, where, "mamba_head_dim", 1, HY_CONFIG_MAX_WIDTH / heads, &l->head_dim));
    HY_TRY(hy_config_int(c, where, "n_groups", 1, HY_CONFIG_MAX_WIDTH, &l->groups));
    HY_TRY(hy_config_int(c, where, "ssm_state_size", 1, 4096, &l->d_state));
    HY_TRY(hy_config_int(c, where, "conv_kernel", 1, 256, &l->d_conv));
    HY_TRY(hy_config_bool(c, where, "use_conv_bias", &l->conv_bias));
    HY_TRY(hy_config_bool(c, where, "use_bias", &l->proj_bias));
    l->d_inner = heads * l->head_dim;
    return hy_json_get_double(c, where, "time_step_min", 0, 1e6, &l->dt_min);
}

static hy_status read_attention(const hy_json *c, const char *where, int d_model, hy_layer_spec *l) {
    int other;
    *l = (hy_layer_spec){.mixer = HY_MIXER_ATTENTION};
    HY_TRY(hy_config_attention(c, where, d_model, l));
    other = l->d_qk;
    HY_TRY(hy_config_int_or(c, where, "attention_head_dim", HY_CONFIG_MAX_WIDTH, &other));
    return other == l->d_qk
               ? HY_OK
               : hy_error(HY_EINPUT, "%s: \"attention_head_dim\" is %d, but \"head_dim\" is %d", where, other, l->d_qk);
}

// c has num_hidden_layers.
static hy_status read_model(const hy_json *c, const char *where, const char *list, hy_model_spec *m) {
    hy_config_layer kinds[HY_MAX_LAYERS];
    hy_layer_spec ssm, attention, mlp = {.mlp = HY_MLP_RELU2, .kv_source = -1};
    snprintf(m->name, sizeof m->name, "nemotron-h");
    HY_TRY(hy_config_model(c, where, "layer_norm_epsilon", m));
    HY_TRY(hy_config_int(c, where, "max_position_embeddings", 1, HY_CONFIG_MAX_TOKENS, &m->max_len));
    hy_config_no_rope(m);
    HY_TRY(read_mamba2(c, where, &ssm));
    HY_TRY(read_attention(c, where, m->d_model, &attention));
    HY_TRY(hy_config_int(c, where, "intermediate_size", 1, 1 << 22, &mlp.d_ff));
    HY_TRY(hy_config_bool(c, where, "mlp_bias", &mlp.mlp_bias));
    if (list) {
        HY_TRY(hy_config_kinds(c, where, list, m->n_layers, kinds));
    } else {
        const char *pattern;
        HY_TRY(hy_json_get_string(c, where, "hybrid_override_pattern", &pattern));
        HY_TRY(read_pattern(where, pattern, m->n_layers, kinds));
    }
    for (int i = 0; i < m->n_layers; i++) {
        m->layers[i] = kinds[i] == HY_CONFIG_SSM ? ssm : kinds[i] == HY_CONFIG_ATTENTION ? attention : mlp;
        if (kinds[i] == HY_CONFIG_ATTENTION) m->layers[i].kv_source = i;
    }
    return HY_OK;
}

// The list or the pattern of layers says how many there are; num_hidden_layers may be missing, not differ.
static hy_status spec(const hy_json *c, const char *where, hy_model_spec *m) {
    static const char *const lists[] = {"layers_block_type", "layer_types"};
    const char *list = NULL, *pattern = "";
    for (int i = 1; i >= 0; i--)
        if (hy_config_has(c, lists[i])) list = lists[i];
    if (!list && !hy_config_has(c, "hybrid_override_pattern"))
        return hy_error(HY_EINPUT,
                        "%s: neither \"layers_block_type\" nor \"hybrid_override_pattern\" says what the layers are",
                        where);
    if (!list) HY_TRY(hy_json_get_string(c, where, "hybrid_override_pattern", &pattern));
    hy_json *whole = hy_json_copy(c);
    if (!hy_config_has(c, "num_hidden_layers"))
        hy_json_set_int(whole, "num_hidden_layers",
                        (int64_t)(list ? hy_json_size(hy_json_get(c, list)) : strlen(pattern)));
    const hy_status s = read_model(whole, where, list, m);
    hy_json_free(whole);
    return s;
}

// ---------------------------------------------------------------------------------------------------- writing
static hy_status config(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec a = hy_config_attention_layer(m), s = hy_config_ssm_layer(m), f = hy_config_mlp_layer(m);
    hy_config_write_class("NemotronHForCausalLM", out);
    hy_json_set_string(out, "model_type", "nemotron_h");
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_bool(out, "tie_word_embeddings", m->tied);
    hy_json_set_int(out, "hidden_size", m->d_model);
    hy_json_set(out, "layers_block_type", hy_config_kinds_of(m));
    hy_config_write_attention(&a, out);
    hy_json_set_int(out, "max_position_embeddings", m->max_len);
    hy_json_set_int(out, "intermediate_size", f.d_ff);
    hy_json_set_bool(out, "mlp_bias", f.mlp_bias);
    hy_json_set_string(out, "mlp_hidden_act", "relu2");
    hy_json_set_int(out, "ssm_state_size", s.d_state);
    hy_json_set_int(out, "mamba_num_heads", hy_layer_ssm_heads(&s));
    hy_json_set_int(out, "mamba_head_dim", s.head_dim);
    hy_json_set_int(out, "n_groups", s.groups);
    hy_json_set_int(out, "conv_kernel", s.d_conv);
    hy_json_set_bool(out, "use_conv_bias", s.conv_bias);
    hy_json_set_bool(out, "use_bias", s.proj_bias);
    hy_json_set_double(out, "time_step_min", s.dt_min);
    hy_json_set_double(out, "layer_norm_epsilon", m->norm_eps);
    hy_json_set_double(out, "initializer_range", m->init_std);
    return HY_OK;
}

const hy_import_family hy_import_nemotron_h = {
    .model_type = "nemotron_h",
    .rows = rows,
    .keys = keys,
    .tied_copy = "lm_head.weight",
    .tied_to = "backbone.embeddings.weight",
    .spec = spec,
    .config = config,
};
