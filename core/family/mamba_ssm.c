// mamba_ssm.c - Mamba and Mamba-2 in the layout of the original releases (state-spaces/mamba-*, the package mamba_ssm):
// a config.json without model_type, whose ssm_cfg says which. Models with attention layers or MLPs among them
// (attn_layer_idx, d_intermediate) are not read. Their norms of Mamba-2 go over d_inner / ngroups channels, as ours.
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"

#define LAYER "backbone.layers.%d."
static const hy_import_row rows[] = {
    {"backbone.embedding.weight", "embed", HY_PART_ALL, HY_ROW_PLAIN},
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
    {LAYER "mixer.dt_bias", "layers.%d.dt_bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.A_log", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.D", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.norm.weight", "layers.%d.gate_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.weight", "layers.%d.out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mixer.out_proj.bias", "layers.%d.out_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};

static const hy_config_key keys[] = {
    {"model_type", "\"mamba_ssm\"", NULL},  // not there in releases
    {"d_model", NULL, HY_CONFIG_NEEDED},
    {"n_layer", NULL, HY_CONFIG_NEEDED},
    {"vocab_size", NULL, HY_CONFIG_NEEDED},
    {"ssm_cfg", NULL, "{}"},
    {"pad_vocab_size_multiple", NULL, "8"},
    {"tie_embeddings", NULL, "true"},
    {"rms_norm", "true", NULL},
    {"d_intermediate", "0", NULL},
    {"attn_layer_idx", "[]|null", NULL},
    {"attn_cfg", "", NULL},
    {"residual_in_fp32", "", NULL},
    {"fused_add_norm", "", NULL},
    {NULL, NULL, NULL},
};
// Of ssm_cfg. The dt_* keys but for the limit, and those of A and the convolution's start, say how weights are drawn.
#define SHARED_KEYS(states)                                                                                 \
    {"layer", NULL, NULL}, {"d_state", NULL, states}, {"d_conv", NULL, "4"}, {"expand", NULL, "2"},         \
        {"conv_bias", NULL, "true"}, {"bias", NULL, "false"}, {"dt_min", "", NULL}, {"dt_max", "", NULL}, { \
        "dt_init_floor", "", NULL                                                                           \
    }
static const hy_config_key mamba_keys[] = {
    SHARED_KEYS("16"),      {"dt_rank", NULL, "\"auto\""}, {"dt_init", "", NULL},
    {"dt_scale", "", NULL}, {"use_fast_path", "", NULL},   {NULL, NULL, NULL},
};
static const hy_config_key mamba2_keys[] = {
    SHARED_KEYS("128"),
    {"headdim", NULL, "64"},
    {"ngroups", NULL, "1"},
    {"rmsnorm", NULL, "true"},
    {"norm_before_gate", NULL, "false"},
    {"dt_limit", NULL, NULL},
    {"d_ssm", "null", NULL},
    {"D_has_hdim", "false", NULL},
    {"A_init_range", "", NULL},
    {"conv_init", "", NULL},
    {"chunk_size", "", NULL},
    {"use_mem_eff_path", "", NULL},
    {NULL, NULL, NULL},
};

// ---------------------------------------------------------------------------------------------------- reading
static hy_status read_mamba2(const hy_json *c, const char *where, hy_layer_spec *l) {
    HY_TRY(hy_config_int(c, where, "headdim", 1, HY_CONFIG_MAX_WIDTH, &l->head_dim));
    HY_TRY(hy_config_int(c, where, "ngroups", 1, HY_CONFIG_MAX_WIDTH, &l->groups));
    HY_TRY(hy_config_bool(c, where, "rmsnorm", &l->gated_norm));
    HY_TRY(hy_config_bool(c, where, "norm_before_gate", &l->norm_before_gate));
    if (!l->gated_norm) l->norm_before_gate = 0;
    return hy_config_dt_limit(c, where, "dt_limit", &l->dt_min, &l->dt_max);
}

// c: ssm_cfg, complete.
static hy_status read_layer(const hy_json *c, const char *where, int d_model, hy_layer_spec *l) {
    int expand;
    HY_TRY(hy_config_int(c, where, "d_state", 1, 4096, &l->d_state));
    HY_TRY(hy_config_int(c, where, "d_conv", 1, 256, &l->d_conv));
    HY_TRY(hy_config_int(c, where, "expand", 1, HY_CONFIG_MAX_WIDTH / d_model, &expand));
    HY_TRY(hy_config_bool(c, where, "conv_bias", &l->conv_bias));
    HY_TRY(hy_config_bool(c, where, "bias", &l->proj_bias));
    l->d_inner = expand * d_model;
    return l->ssm_kind == HY_SSM_MAMBA2 ? read_mamba2(c, where, l)
                                        : hy_config_dt_rank(c, where, "dt_rank", d_model, &l->dt_rank);
}

// The embedding has rows up to a multiple of pad_vocab_size_multiple; those past vocab_size are there, untrained.
static hy_status read_vocab(const hy_json *c, const char *where, int *out) {
    int vocab, pad;
    HY_TRY(hy_config_int(c, where, "vocab_size", 1, (1 << 24) - 4096, &vocab));
    HY_TRY(hy_config_int(c, where, "pad_vocab_size_multiple", 1, 4096, &pad));
    *out = (vocab + pad - 1) / pad * pad;
    return HY_OK;
}

static hy_status spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l = {.mixer = HY_MIXER_SSM, .kv_source = -1};
    const hy_json *cfg;
    const char *kind = "Mamba1";
    char path[512];
    hy_json *whole;
    snprintf(path, sizeof path, "%s: \"ssm_cfg\"", where);
    HY_TRY(hy_config_int(c, where, "d_model", 1, HY_CONFIG_MAX_WIDTH, &m->d_model));
    HY_TRY(hy_config_int(c, where, "n_layer", 1, HY_MAX_LAYERS, &m->n_layers));
    HY_TRY(read_vocab(c, where, &m->vocab));
    HY_TRY(hy_config_bool(c, where, "tie_embeddings", &m->tied));
    HY_TRY(hy_json_get_object(c, where, "ssm_cfg", &cfg));
    if (hy_config_has(cfg, "layer")) HY_TRY(hy_json_get_string(cfg, path, "layer", &kind));
    if (strcmp(kind, "Mamba1") && strcmp(kind, "Mamba2"))
        return hy_error(HY_EINPUT, "%s: \"layer\": \"%.40s\" is not supported (Mamba1, Mamba2)", path, kind);
    l.ssm_kind = kind[5] == '2' ? HY_SSM_MAMBA2 : HY_SSM_MAMBA;
    snprintf(m->name, sizeof m->name, "%s", l.ssm_kind == HY_SSM_MAMBA2 ? "mamba2" : "mamba");
    m->norm = HY_NORM_RMS;
    m->norm_eps = 1e-5;
    m->init_std = 0.02;
    m->max_len = 2048;  // not a limit: there is none
    hy_config_no_rope(m);
    HY_TRY(hy_config_complete(cfg, path, l.ssm_kind == HY_SSM_MAMBA2 ? mamba2_keys : mamba_keys, &whole));
    const hy_status s = read_layer(whole, path, m->d_model, &l);
    hy_json_free(whole);
    for (int i = 0; i < m->n_layers; i++) m->layers[i] = l;
    return s;
}

// ---------------------------------------------------------------------------------------------------- writing
static hy_status config(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec *l = &m->layers[0];
    const bool two = l->ssm_kind == HY_SSM_MAMBA2;
    if (l->d_inner % m->d_model)
        return hy_error(HY_EINPUT, "in this family d_inner (%d) is a whole number of times d_model (%d)", l->d_inner,
                        m->d_model);
    hy_json *c = hy_json_new_object();
    hy_json_set_string(c, "layer", two ? "Mamba2" : "Mamba1");
    hy_json_set_int(c, "d_state", l->d_state);
    hy_json_set_int(c, "d_conv", l->d_conv);
    hy_json_set_int(c, "expand", l->d_inner / m->d_model);
    hy_json_set_bool(c, "conv_bias", l->conv_bias);
    hy_json_set_bool(c, "bias", l->proj_bias);
    if (two) {
        hy_json_set_int(c, "headdim", l->head_dim);
        hy_json_set_int(c, "ngroups", l->groups);
        hy_json_set_bool(c, "rmsnorm", l->gated_norm);
        hy_json_set_bool(c, "norm_before_gate", l->norm_before_gate);
        hy_config_write_dt_limit(l->dt_min, l->dt_max, "dt_limit", c);
    } else {
        hy_json_set_int(c, "dt_rank", l->dt_rank);
    }
    hy_json_set(out, "ssm_cfg", c);
    hy_json_set_int(out, "d_model", m->d_model);
    hy_json_set_int(out, "n_layer", m->n_layers);
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_int(out, "pad_vocab_size_multiple", 1);
    hy_json_set_bool(out, "tie_embeddings", m->tied);
    hy_json_set_bool(out, "rms_norm", true);
    return HY_OK;
}

const hy_import_family hy_import_mamba_ssm = {
    .model_type = "mamba_ssm",
    .rows = rows,
    .keys = keys,
    .tied_copy = "lm_head.weight",
    .tied_to = "backbone.embedding.weight",
    .spec = spec,
    .config = config,
};
