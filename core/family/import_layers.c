// import_layers.c - parts of layers that several families' configurations say alike: attention, Mamba-2 heads, lists of
// kinds of layers. See import_impl.h.
#include <string.h>

#include "core/family/import_impl.h"
#include "core/format/field.h"

hy_status hy_config_attention(const hy_json *c, const char *where, int d_model, hy_layer_spec *l) {
    HY_TRY(hy_config_int(c, where, "num_attention_heads", 1, HY_CONFIG_MAX_WIDTH, &l->heads));
    l->kv_heads = l->heads;
    HY_TRY(hy_config_int_or(c, where, "num_key_value_heads", HY_CONFIG_MAX_WIDTH, &l->kv_heads));
    if (hy_config_has(c, "head_dim"))
        HY_TRY(hy_config_int(c, where, "head_dim", 1, HY_CONFIG_MAX_WIDTH, &l->d_qk));
    else if (d_model % l->heads)
        return hy_error(
            HY_EINPUT,
            "%s: \"hidden_size\" %d is not divisible by \"num_attention_heads\" %d, and there is no \"head_dim\"",
            where, d_model, l->heads);
    else
        l->d_qk = d_model / l->heads;
    l->d_v = l->d_qk;
    return HY_OK;
}

void hy_config_write_attention(const hy_layer_spec *l, hy_json *out) {
    hy_json_set_int(out, "num_attention_heads", l->heads);
    hy_json_set_int(out, "num_key_value_heads", l->kv_heads);
    hy_json_set_int(out, "head_dim", l->d_qk);
}

// mamba_d_ssm counts; where a family lacks it, or it is null, mamba_expand * hidden_size. mamba_d_head may be "auto".
static hy_status read_widths(const hy_json *c, const char *where, int d_model, hy_layer_spec *l) {
    int heads;
    HY_TRY(hy_config_int(c, where, "mamba_n_heads", 1, HY_CONFIG_MAX_WIDTH, &heads));
    const bool said = hy_config_has(c, "mamba_d_ssm");
    if (said) {
        HY_TRY(hy_config_int(c, where, "mamba_d_ssm", 1, HY_CONFIG_MAX_WIDTH, &l->d_inner));
    } else {
        int expand;
        HY_TRY(hy_config_int(c, where, "mamba_expand", 1, HY_CONFIG_MAX_WIDTH / d_model, &expand));
        l->d_inner = expand * d_model;
    }
    const hy_json *dim = hy_json_get(c, "mamba_d_head");
    const char *text = "auto";
    if (dim && hy_json_type_of(dim) == HY_JSON_STRING)
        HY_TRY(hy_json_get_string(c, where, "mamba_d_head", &text));
    else if (dim)
        HY_TRY(hy_config_int(c, where, "mamba_d_head", 1, HY_CONFIG_MAX_WIDTH, &l->head_dim));
    if (strcmp(text, "auto")) return hy_error(HY_EINPUT, "%s: \"mamba_d_head\": must be a number or \"auto\"", where);
    if (!l->head_dim) l->head_dim = l->d_inner / heads;
    if ((int64_t)l->head_dim * heads != l->d_inner)
        return hy_error(HY_EINPUT, "%s: %d \"mamba_n_heads\" of \"mamba_d_head\" %d are not the %d channels of %s",
                        where, heads, l->head_dim, l->d_inner,
                        said ? "\"mamba_d_ssm\"" : "\"mamba_expand\" * \"hidden_size\"");
    return HY_OK;
}

hy_status hy_config_mamba2_heads(const hy_json *c, const char *where, int d_model, hy_layer_spec *l) {
    l->ssm_kind = HY_SSM_MAMBA2;
    HY_TRY(read_widths(c, where, d_model, l));
    HY_TRY(hy_config_int(c, where, "mamba_n_groups", 1, HY_CONFIG_MAX_WIDTH, &l->groups));
    HY_TRY(hy_config_int(c, where, "mamba_d_state", 1, 4096, &l->d_state));
    HY_TRY(hy_config_int(c, where, "mamba_d_conv", 1, 256, &l->d_conv));
    HY_TRY(hy_config_bool(c, where, "mamba_conv_bias", &l->conv_bias));
    return hy_config_dt_limit(c, where, "time_step_limit", &l->dt_min, &l->dt_max);
}

void hy_config_write_mamba2_heads(const hy_layer_spec *l, hy_json *out) {
    hy_json_set_int(out, "mamba_n_heads", hy_layer_ssm_heads(l));
    hy_json_set_int(out, "mamba_d_head", l->head_dim);
    hy_json_set_int(out, "mamba_n_groups", l->groups);
    hy_json_set_int(out, "mamba_d_state", l->d_state);
    hy_json_set_int(out, "mamba_d_conv", l->d_conv);
    hy_json_set_bool(out, "mamba_conv_bias", l->conv_bias);
    hy_config_write_dt_limit(l->dt_min, l->dt_max, "time_step_limit", out);
}

hy_status hy_config_kind(const char *text, const char *path, hy_config_layer *out) {
    static const struct {
        const char *words;
        hy_config_layer kind;
    } kinds[] = {{"linear_attention|mamba", HY_CONFIG_SSM},
                 {"full_attention|attention", HY_CONFIG_ATTENTION},
                 {"mlp", HY_CONFIG_MLP}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (hy_is_choice(text, kinds[i].words)) {
            *out = kinds[i].kind;
            return HY_OK;
        }
    if (!strcmp(text, "moe")) return hy_config_experts(path);
    return hy_error(HY_EINPUT, "%s: \"%.40s\" is not a kind of layer that is read (linear_attention, full_attention)",
                    path, text);
}

hy_status hy_config_list(const hy_json *c, const char *where, const char *key, int n_layers, const hy_json **out) {
    HY_TRY(hy_json_get_array(c, where, key, out));
    if (hy_json_size(*out) != (size_t)n_layers)
        return hy_error(HY_EINPUT, "%s: \"%s\" lists %zu layers, but \"num_hidden_layers\" is %d", where, key,
                        hy_json_size(*out), n_layers);
    return HY_OK;
}

hy_status hy_config_word(const hy_json *list, const char *where, const char *key, int i, char path[512],
                         const char **out) {
    snprintf(path, 512, "%s: \"%s\"[%d]", where, key, i);
    return hy_json_string(hy_json_at(list, (size_t)i), path, out);
}

hy_status hy_config_kinds(const hy_json *c, const char *where, const char *key, int n_layers, hy_config_layer *out) {
    const hy_json *list;
    HY_TRY(hy_config_list(c, where, key, n_layers, &list));
    for (int i = 0; i < n_layers; i++) {
        char path[512];
        const char *text;
        HY_TRY(hy_config_word(list, where, key, i, path, &text));
        HY_TRY(hy_config_kind(text, path, &out[i]));
    }
    return HY_OK;
}

hy_json *hy_config_kinds_of(const hy_model_spec *m) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < m->n_layers; i++)
        hy_json_add(list, hy_json_new_string(hy_layer_has_ssm(&m->layers[i])         ? "linear_attention"
                                             : hy_layer_has_attention(&m->layers[i]) ? "full_attention"
                                                                                     : "mlp"));
    return list;
}

hy_status hy_config_experts(const char *path) {
    return hy_error(HY_EINPUT,
                    "%s: mixtures of experts are not supported: hylab has no layer that chooses among MLPs by token; "
                    "models of this family without experts are read",
                    path);
}

hy_layer_spec hy_config_attention_layer(const hy_model_spec *m) {
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].mixer == HY_MIXER_ATTENTION) return m->layers[i];
    return (hy_layer_spec){.heads = 1, .kv_heads = 1, .d_qk = 2};
}

hy_layer_spec hy_config_ssm_layer(const hy_model_spec *m) {
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].mixer == HY_MIXER_SSM) return m->layers[i];
    return (hy_layer_spec){.ssm_kind = HY_SSM_MAMBA2,
                           .d_inner = m->d_model,
                           .head_dim = m->d_model,
                           .groups = 1,
                           .d_state = 1,
                           .d_conv = 1,
                           .dt_rank = 1};
}

hy_layer_spec hy_config_mlp_layer(const hy_model_spec *m) {
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].mixer == HY_MIXER_NONE && m->layers[i].mlp != HY_MLP_NONE) return m->layers[i];
    return (hy_layer_spec){.d_ff = 1};
}
