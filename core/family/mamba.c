// mamba.c - Mamba as transformers' MambaForCausalLM stores it (state-spaces/mamba-*-hf), and falcon_mamba, which
// differs by norms of dt, B and C that have no weights. Mamba-2 is mamba2.c, the layout of the original releases
// mamba_ssm.c.
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
    {LAYER "mixer.x_proj.weight", "layers.%d.x_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.dt_proj.weight", "layers.%d.dt_proj.weight", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.dt_proj.bias", "layers.%d.dt_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.A_log", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.D", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.weight", "layers.%d.out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.bias", "layers.%d.out_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};

// The time_step_* keys but for the rank say how dt was initialised; d_model, d_inner and n_layer repeat other keys.
#define SHARED_KEYS                                                                                                \
    {"model_type", NULL, NULL}, {"vocab_size", NULL, "50280"}, {"hidden_size", NULL, "768"},                       \
        {"state_size", NULL, "16"}, {"num_hidden_layers", NULL, "32"}, {"layer_norm_epsilon", NULL, "1e-5"},       \
        {"expand", NULL, "2"}, {"conv_kernel", NULL, "4"}, {"use_bias", NULL, "false"},                            \
        {"use_conv_bias", NULL, "true"}, {"initializer_range", NULL, "0.1"}, {"time_step_rank", NULL, "\"auto\""}, \
        {"tie_word_embeddings", NULL, "true"}, {"intermediate_size", NULL, NULL},                                  \
        {"hidden_act", "\"silu\"|\"swish\"", NULL}, {"residual_in_fp32", "", NULL},                                \
        {"rescale_prenorm_residual", "", NULL}, {"use_mambapy", "", NULL}, {"use_associative_scan", "", NULL},     \
        {"time_step_scale", "", NULL}, {"time_step_min", "", NULL}, {"time_step_max", "", NULL},                   \
        {"time_step_init_scheme", "", NULL}, {                                                                     \
        "time_step_floor", "", NULL                                                                                \
    }
static const hy_config_key keys[] = {
    SHARED_KEYS,
    {"d_inner", NULL, NULL},
    {"d_model", NULL, NULL},
    {"n_layer", NULL, NULL},
    {"rms_norm", "true", NULL},
    {"ssm_cfg", "{}", NULL},
    {"fused_add_norm", "", NULL},
    {"pad_vocab_size_multiple", "", NULL},
    {NULL, NULL, NULL},
};
static const hy_config_key falcon_keys[] = {
    SHARED_KEYS,
    {"mixer_rms_eps", NULL, "1e-6"},
    {"use_falcon_mambapy", "", NULL},
    {NULL, NULL, NULL},
};

static hy_status check_repeat(const hy_json *c, const char *where, const char *key, int value, const char *what) {
    int v = value;
    HY_TRY(hy_config_int_or(c, where, key, HY_CONFIG_MAX_WIDTH, &v));
    return v == value ? HY_OK : hy_error(HY_EINPUT, "%s: \"%s\" is %d, but %s is %d", where, key, v, what, value);
}

static hy_status read_expand(const hy_json *c, const char *where, int d_model, int *d_inner) {
    double expand;
    HY_TRY(hy_json_get_double(c, where, "expand", 1e-3, 1024, &expand));
    if (expand * d_model < 1 || expand * d_model > HY_CONFIG_MAX_WIDTH)
        return hy_error(HY_EINPUT, "%s: \"expand\" * \"hidden_size\" is %g: it must be 1 to %d", where,
                        expand * d_model, HY_CONFIG_MAX_WIDTH);
    *d_inner = (int)(expand * d_model);
    return HY_OK;
}

static hy_status spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l = {.mixer = HY_MIXER_SSM, .kv_source = -1};
    snprintf(m->name, sizeof m->name, "mamba");
    HY_TRY(hy_config_mamba(c, where, m, &l));
    HY_TRY(hy_config_dt_rank(c, where, "time_step_rank", m->d_model, &l.dt_rank));
    HY_TRY(read_expand(c, where, m->d_model, &l.d_inner));
    HY_TRY(check_repeat(c, where, "intermediate_size", l.d_inner, "\"expand\" * \"hidden_size\""));
    HY_TRY(check_repeat(c, where, "d_inner", l.d_inner, "\"expand\" * \"hidden_size\""));
    HY_TRY(check_repeat(c, where, "d_model", m->d_model, "\"hidden_size\""));
    HY_TRY(check_repeat(c, where, "n_layer", m->n_layers, "\"num_hidden_layers\""));
    for (int i = 0; i < m->n_layers; i++) m->layers[i] = l;
    return HY_OK;
}

// intermediate_size, where it is given, counts: the released 7B has another "expand".
static hy_status falcon_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l = {.mixer = HY_MIXER_SSM, .kv_source = -1, .inner_norms = HY_INNER_NORMS_PLAIN};
    snprintf(m->name, sizeof m->name, "falcon-mamba");
    HY_TRY(hy_config_mamba(c, where, m, &l));
    HY_TRY(hy_config_dt_rank(c, where, "time_step_rank", m->d_model, &l.dt_rank));
    if (hy_config_has(c, "intermediate_size"))
        HY_TRY(hy_config_int(c, where, "intermediate_size", 1, HY_CONFIG_MAX_WIDTH, &l.d_inner));
    else
        HY_TRY(read_expand(c, where, m->d_model, &l.d_inner));
    HY_TRY(hy_json_get_double(c, where, "mixer_rms_eps", 1e-12, 1, &l.inner_norm_eps));
    if (l.inner_norm_eps == m->norm_eps) l.inner_norm_eps = 0;
    for (int i = 0; i < m->n_layers; i++) m->layers[i] = l;
    return HY_OK;
}

static hy_status write_shared(const hy_model_spec *m, const char *type, const char *class, hy_json *out) {
    const hy_layer_spec *l = &m->layers[0];
    hy_config_write_class(class, out);
    hy_json_set_string(out, "model_type", type);
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_int(out, "hidden_size", m->d_model);
    hy_json_set_int(out, "num_hidden_layers", m->n_layers);
    hy_json_set_int(out, "state_size", l->d_state);
    if (l->d_inner % m->d_model == 0)
        hy_json_set_int(out, "expand", l->d_inner / m->d_model);
    else
        hy_json_set_double(out, "expand", (double)l->d_inner / m->d_model);
    hy_json_set_int(out, "intermediate_size", l->d_inner);
    hy_json_set_int(out, "conv_kernel", l->d_conv);
    hy_json_set_int(out, "time_step_rank", l->dt_rank);
    hy_json_set_bool(out, "use_bias", l->proj_bias);
    hy_json_set_bool(out, "use_conv_bias", l->conv_bias);
    hy_json_set_string(out, "hidden_act", "silu");
    hy_json_set_double(out, "layer_norm_epsilon", m->norm_eps);
    hy_json_set_double(out, "initializer_range", m->init_std);
    hy_json_set_bool(out, "tie_word_embeddings", m->tied);
    return HY_OK;
}
static hy_status config(const hy_model_spec *m, hy_json *out) {
    return write_shared(m, "mamba", "MambaForCausalLM", out);
}
static hy_status falcon_config(const hy_model_spec *m, hy_json *out) {
    const double eps = m->layers[0].inner_norm_eps;
    hy_json_set_double(out, "mixer_rms_eps", eps != 0 ? eps : m->norm_eps);
    return write_shared(m, "falcon_mamba", "FalconMambaForCausalLM", out);
}

const hy_import_family hy_import_mamba = {
    .model_type = "mamba",
    .rows = rows,
    .keys = keys,
    .tied_copy = "lm_head.weight",
    .tied_to = "backbone.embeddings.weight",
    .spec = spec,
    .config = config,
};

const hy_import_family hy_import_falcon_mamba = {
    .model_type = "falcon_mamba",
    .rows = rows,
    .keys = falcon_keys,
    .tied_copy = "lm_head.weight",
    .tied_to = "backbone.embeddings.weight",
    .spec = falcon_spec,
    .config = falcon_config,
};
