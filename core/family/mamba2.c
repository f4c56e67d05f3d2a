// mamba2.c - Mamba-2 as transformers' Mamba2ForCausalLM stores it (and Mamba-Codestral). Its gated norm goes over
// d_inner / n_groups channels, as in the authors' mamba_ssm. The layout of the original releases is mamba_ssm.c.
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"

#define LAYER "backbone.layers.%d."
static const hy_import_row rows[] = {
    {"backbone.embeddings.weight", "embed", HY_PART_ALL, HY_ROW_PLAIN},
    {"backbone.norm_f.weight", "final_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"lm_head.weight", "head", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "norm.weight", "layers.%d.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.in_proj.weight", "layers.%d.in_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.in_proj.bias", "layers.%d.in_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.conv1d.weight", "layers.%d.conv.weight", HY_PART_ALL, HY_ROW_CONV},
    {LAYER "mixer.conv1d.bias", "layers.%d.conv.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.dt_bias", "layers.%d.dt_bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.A_log", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.D", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.norm.weight", "layers.%d.gate_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.weight", "layers.%d.out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.bias", "layers.%d.out_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};

// The time_step_* keys but for the limit say how dt was initialised (the rank is not used at all); chunk_size is how it
// is computed. norm_before_gate and rms_norm are keys of earlier versions, which read neither as anything else.
static const hy_config_key keys[] = {
    {"model_type", NULL, NULL},
    {"vocab_size", NULL, "32768"},
    {"hidden_size", NULL, "4096"},
    {"state_size", NULL, "128"},
    {"num_hidden_layers", NULL, "64"},
    {"num_heads", NULL, "128"},
    {"head_dim", NULL, "64"},
    {"n_groups", NULL, "8"},
    {"layer_norm_epsilon", NULL, "1e-5"},
    {"expand", NULL, "2"},
    {"conv_kernel", NULL, "4"},
    {"use_bias", NULL, "false"},
    {"use_conv_bias", NULL, "true"},
    {"initializer_range", NULL, "0.1"},
    {"tie_word_embeddings", NULL, "false"},
    {"intermediate_size", NULL, NULL},
    {"time_step_limit", NULL, NULL},
    {"hidden_act", "\"silu\"|\"swish\"", NULL},
    {"rms_norm", "true", NULL},
    {"norm_before_gate", "", NULL},
    {"chunk_size", "", NULL},
    {"residual_in_fp32", "", NULL},
    {"rescale_prenorm_residual", "", NULL},
    {"time_step_rank", "", NULL},
    {"time_step_min", "", NULL},
    {"time_step_max", "", NULL},
    {"time_step_floor", "", NULL},
    {"time_step_init_scheme", "", NULL},
    {"time_step_scale", "", NULL},
    {NULL, NULL, NULL},
};

static hy_status sizes(const hy_json *c, const char *where, const hy_model_spec *m, hy_layer_spec *l) {
    int heads, wide, expand;
    HY_TRY(hy_config_int(c, where, "num_heads", 1, HY_CONFIG_MAX_WIDTH, &heads));
    HY_TRY(hy_config_int(c, where, "head_dim", 1, HY_CONFIG_MAX_WIDTH, &l->head_dim));
    HY_TRY(hy_config_int(c, where, "n_groups", 1, HY_CONFIG_MAX_WIDTH, &l->groups));
    if ((int64_t)heads * l->head_dim > HY_CONFIG_MAX_WIDTH)
        return hy_error(HY_EINPUT, "%s: \"num_heads\" * \"head_dim\" is %lld: at most %d", where,
                        (long long)heads * l->head_dim, HY_CONFIG_MAX_WIDTH);
    l->d_inner = wide = heads * l->head_dim;
    HY_TRY(hy_config_int(c, where, "expand", 1, 1024, &expand));
    if ((int64_t)expand * m->d_model != l->d_inner)
        return hy_error(HY_EINPUT, "%s: \"num_heads\" * \"head_dim\" is %d, but \"expand\" * \"hidden_size\" is %lld",
                        where, l->d_inner, (long long)expand * m->d_model);
    HY_TRY(hy_config_int_or(c, where, "intermediate_size", HY_CONFIG_MAX_WIDTH, &wide));
    if (wide != l->d_inner)
        return hy_error(HY_EINPUT, "%s: \"intermediate_size\" is %d, but \"num_heads\" * \"head_dim\" is %d", where,
                        wide, l->d_inner);
    return HY_OK;
}

static hy_status spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l = {.mixer = HY_MIXER_SSM, .kv_source = -1, .ssm_kind = HY_SSM_MAMBA2, .gated_norm = 1};
    snprintf(m->name, sizeof m->name, "mamba2");
    HY_TRY(hy_config_mamba(c, where, m, &l));
    HY_TRY(sizes(c, where, m, &l));
    HY_TRY(hy_config_dt_limit(c, where, "time_step_limit", &l.dt_min, &l.dt_max));
    for (int i = 0; i < m->n_layers; i++) m->layers[i] = l;
    return HY_OK;
}

static hy_status config(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec *l = &m->layers[0];
    if (l->d_inner % m->d_model)
        return hy_error(HY_EINPUT, "in this family d_inner (%d) is a whole number of times d_model (%d)", l->d_inner,
                        m->d_model);
    hy_config_write_class("Mamba2ForCausalLM", out);
    hy_json_set_string(out, "model_type", "mamba2");
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_int(out, "hidden_size", m->d_model);
    hy_json_set_int(out, "num_hidden_layers", m->n_layers);
    hy_json_set_int(out, "num_heads", hy_layer_ssm_heads(l));
    hy_json_set_int(out, "head_dim", l->head_dim);
    hy_json_set_int(out, "n_groups", l->groups);
    hy_json_set_int(out, "state_size", l->d_state);
    hy_json_set_int(out, "expand", l->d_inner / m->d_model);
    hy_json_set_int(out, "conv_kernel", l->d_conv);
    hy_json_set_bool(out, "use_bias", l->proj_bias);
    hy_json_set_bool(out, "use_conv_bias", l->conv_bias);
    hy_config_write_dt_limit(l->dt_min, l->dt_max, "time_step_limit", out);
    hy_json_set_string(out, "hidden_act", "silu");
    hy_json_set_double(out, "layer_norm_epsilon", m->norm_eps);
    hy_json_set_double(out, "initializer_range", m->init_std);
    hy_json_set_bool(out, "tie_word_embeddings", m->tied);
    return HY_OK;
}

const hy_import_family hy_import_mamba2 = {
    .model_type = "mamba2",
    .rows = rows,
    .keys = keys,
    .tied_copy = "lm_head.weight",
    .tied_to = "backbone.embeddings.weight",
    .spec = spec,
    .config = config,
};
