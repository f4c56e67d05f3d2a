// hymba.c - the released Hymba layout: its config.json and the names of its tensors.
#include <stdlib.h>
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"

#define LAYER "model.layers.%d."
static const hy_import_row rows[] = {
    {"model.embed_tokens.weight", "embed", HY_PART_ALL, HY_ROW_PLAIN},
    {"model.memory_tokens", "meta", HY_PART_ALL, HY_ROW_PLAIN},
    {"model.final_layernorm.weight", "final_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"lm_head.weight", "head", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "input_layernorm.weight", "layers.%d.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.in_proj.weight", "layers.%d.in_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.out_proj.weight", "layers.%d.out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.conv1d.weight", "layers.%d.conv.weight", HY_PART_ALL, HY_ROW_CONV},
    {LAYER "mamba.conv1d.bias", "layers.%d.conv.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.x_proj.0.weight", "layers.%d.x_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.dt_proj.0.weight", "layers.%d.dt_proj.weight", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.dt_proj.0.bias", "layers.%d.dt_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.A_log.0", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.D.0", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.dt_layernorm.weight", "layers.%d.dt_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.B_layernorm.weight", "layers.%d.B_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.C_layernorm.weight", "layers.%d.C_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.pre_avg_layernorm1.weight", "layers.%d.fuse.attn_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mamba.pre_avg_layernorm2.weight", "layers.%d.fuse.ssm_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "pre_moe_layernorm.weight", "layers.%d.mlp.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "moe.experts.0.gate_proj.weight", "layers.%d.mlp.up", HY_PART_GATE, HY_ROW_PLAIN},
    {LAYER "moe.experts.0.up_proj.weight", "layers.%d.mlp.up", HY_PART_UP, HY_ROW_PLAIN},
    {LAYER "moe.experts.0.down_proj.weight", "layers.%d.mlp.down", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};

// ---------------------------------------------------------------------------------------------------- values
static const hy_config_key keys[] = {
    {"model_type", NULL, NULL},
    {"hidden_size", NULL, HY_CONFIG_NEEDED},
    {"num_hidden_layers", NULL, HY_CONFIG_NEEDED},
    {"num_attention_heads", NULL, HY_CONFIG_NEEDED},
    {"num_key_value_heads", NULL, HY_CONFIG_NEEDED},
    {"intermediate_size", NULL, HY_CONFIG_NEEDED},
    {"vocab_size", NULL, HY_CONFIG_NEEDED},
    {"mamba_expand", NULL, HY_CONFIG_NEEDED},
    {"mamba_d_state", NULL, HY_CONFIG_NEEDED},
    {"mamba_d_conv", NULL, HY_CONFIG_NEEDED},
    {"mamba_dt_rank", NULL, "\"auto\""},
    {"mamba_conv_bias", NULL, "true"},
    {"mamba_inner_layernorms", NULL, "true"},
    {"num_memory_tokens", NULL, HY_CONFIG_NEEDED},
    {"sliding_window", NULL, HY_CONFIG_NEEDED},
    {"global_attn_idx", NULL, HY_CONFIG_NEEDED},
    {"kv_reuse_group", NULL, NULL},
    {"rms_norm_eps", NULL, HY_CONFIG_NEEDED},
    {"rope", NULL, "true"},
    {"rope_theta", NULL, HY_CONFIG_NEEDED},
    {"rope_type", NULL, NULL},
    {"max_position_embeddings", NULL, HY_CONFIG_NEEDED},
    {"orig_max_position_embeddings", NULL, NULL},
    {"tie_word_embeddings", NULL, HY_CONFIG_NEEDED},
    {"initializer_range", NULL, "0.02"},
    {"v_head_dim", NULL, NULL},
    {"kq_head_dim", NULL, NULL},
    {"conv_dim", NULL, NULL},
    {"layer_type", NULL, NULL},
    {"attn_hidden_size", "-1", NULL},
    {"hidden_act", "\"silu\"", NULL},
    {"mlp_hidden_act", "\"silu\"", NULL},
    {"kq_norm", "\"none\"", NULL},
    {"kv_reuse_every_i_layer", "-1", NULL},
    {"kv_weight_reuse", "false", NULL},
    {"mamba_proj_bias", "false", NULL},
    {"memory_tokens_interspersed_every", "0", NULL},
    {"num_experts", "1", NULL},
    {"num_experts_per_tok", "1", NULL},
    {"num_mamba", "1", NULL},
    {"attn_implementation", "", NULL},
    {"attn_implementation_new", "", NULL},
    {"calc_logits_for_entire_prompt", "", NULL},
    {"output_router_logits", "", NULL},
    {"router_aux_loss_coef", "", NULL},
    {"seq_length", "", NULL},
    {"use_mamba_kernels", "", NULL},
    {NULL, NULL, NULL},
};

// Sizes that all layers share, in *l.
static hy_status read_layer(const hy_json *c, const char *where, const hy_model_spec *m, hy_layer_spec *l) {
    int expand, norms;
    l->mixer = HY_MIXER_PARALLEL;
    l->fusion = HY_FUSION_MEAN;
    l->mlp = HY_MLP_SILU;
    HY_TRY(hy_config_int(c, where, "num_attention_heads", 1, HY_CONFIG_MAX_WIDTH, &l->heads));
    HY_TRY(hy_config_int(c, where, "num_key_value_heads", 1, HY_CONFIG_MAX_WIDTH, &l->kv_heads));
    HY_TRY(hy_config_int(c, where, "intermediate_size", 1, HY_CONFIG_MAX_WIDTH, &l->d_ff));
    HY_TRY(hy_config_int(c, where, "mamba_expand", 1, 64, &expand));
    HY_TRY(hy_config_int(c, where, "mamba_d_state", 1, 4096, &l->d_state));
    HY_TRY(hy_config_int(c, where, "mamba_d_conv", 1, 64, &l->d_conv));
    HY_TRY(hy_config_bool(c, where, "mamba_conv_bias", &l->conv_bias));
    HY_TRY(hy_config_bool(c, where, "mamba_inner_layernorms", &norms));
    l->inner_norms = norms ? HY_INNER_NORMS_WEIGHTED : HY_INNER_NORMS_NONE;
    HY_TRY(hy_config_dt_rank(c, where, "mamba_dt_rank", m->d_model, &l->dt_rank));
    l->d_inner = expand * m->d_model;
    if (m->d_model % l->heads)
        return hy_error(HY_EINPUT, "%s: \"hidden_size\" %d is not divisible by \"num_attention_heads\" %d", where,
                        m->d_model, l->heads);
    l->d_qk = m->d_model / l->heads;
    l->d_v = l->d_inner / l->heads;
    HY_TRY(hy_config_int_or(c, where, "kq_head_dim", HY_CONFIG_MAX_WIDTH, &l->d_qk));
    HY_TRY(hy_config_int_or(c, where, "v_head_dim", HY_CONFIG_MAX_WIDTH, &l->d_v));
    if (l->heads * (int64_t)l->d_v != l->d_inner)
        return hy_error(
            HY_EINPUT,
            "%s: %d attention heads of \"v_head_dim\" %d make %lld channels, but the SSM heads have \"mamba_expand\" "
            "* \"hidden_size\" = %d: their mean cannot be taken",
            where, l->heads, l->d_v, (long long)l->heads * l->d_v, l->d_inner);
    return HY_OK;
}

static hy_status read_rope(const hy_json *c, const char *where, hy_model_spec *m) {
    const hy_json *type = hy_json_get(c, "rope_type");
    const char *text = "default";
    int on;
    HY_TRY(hy_config_bool(c, where, "rope", &on));
    HY_TRY(hy_json_get_double(c, where, "rope_theta", 1.0, 1e12, &m->rope_base));
    HY_TRY(hy_config_int(c, where, "max_position_embeddings", 1, HY_CONFIG_MAX_TOKENS, &m->max_len));
    m->orig_len = m->max_len;
    HY_TRY(hy_config_int_or(c, where, "orig_max_position_embeddings", HY_CONFIG_MAX_TOKENS, &m->orig_len));
    if (type && hy_json_type_of(type) != HY_JSON_NULL) HY_TRY(hy_json_get_string(c, where, "rope_type", &text));
    if (strcmp(text, "default") && strcmp(text, "ntk"))
        return hy_error(HY_EINPUT, "%s: \"rope_type\": \"%.40s\" is not supported (null, default, ntk)", where, text);
    m->rope = !on ? HY_ROPE_NONE : strcmp(text, "ntk") ? HY_ROPE_DEFAULT : HY_ROPE_NTK;
    return HY_OK;
}

static hy_status read_model(const hy_json *c, const char *where, hy_model_spec *m) {
    snprintf(m->name, sizeof m->name, "hymba");
    HY_TRY(hy_config_int(c, where, "hidden_size", 1, HY_CONFIG_MAX_WIDTH, &m->d_model));
    HY_TRY(hy_config_int(c, where, "num_hidden_layers", 1, HY_MAX_LAYERS, &m->n_layers));
    HY_TRY(hy_config_int(c, where, "vocab_size", 1, 1 << 28, &m->vocab));
    HY_TRY(hy_config_int(c, where, "num_memory_tokens", 0, HY_CONFIG_MAX_WIDTH, &m->meta_tokens));
    HY_TRY(hy_json_get_double(c, where, "rms_norm_eps", 0, 1, &m->norm_eps));
    HY_TRY(hy_config_bool(c, where, "tie_word_embeddings", &m->tied));
    m->norm = HY_NORM_RMS;
    HY_TRY(hy_json_get_double(c, where, "initializer_range", 0, 100, &m->init_std));
    return read_rope(c, where, m);
}

// ---------------------------------------------------------------------------------------------------- layers
static hy_status read_windows(const hy_json *c, const char *where, hy_model_spec *m) {
    int window;
    const hy_json *global;
    char path[512];
    HY_TRY(hy_config_int(c, where, "sliding_window", 1, HY_CONFIG_MAX_TOKENS, &window));
    HY_TRY(hy_json_get_array(c, where, "global_attn_idx", &global));
    for (int i = 0; i < m->n_layers; i++) m->layers[i].window = window;
    for (size_t k = 0; k < hy_json_size(global); k++) {
        int64_t i;
        snprintf(path, sizeof path, "%s: \"global_attn_idx\"[%zu]", where, k);
        HY_TRY(hy_json_int(hy_json_at(global, k), path, 0, m->n_layers - 1, &i));
        m->layers[i].window = 0;
    }
    return HY_OK;
}

// [producer, consumer, consumer ...] in rising order, no layer twice.
static hy_status read_groups(const hy_json *c, const char *where, hy_model_spec *m) {
    const hy_json *groups = hy_json_get(c, "kv_reuse_group");
    char path[512];
    for (int i = 0; i < m->n_layers; i++) m->layers[i].kv_source = i;
    if (!groups || hy_json_type_of(groups) == HY_JSON_NULL) return HY_OK;
    HY_TRY(hy_json_get_array(c, where, "kv_reuse_group", &groups));
    bool *grouped = hy_xcalloc((size_t)m->n_layers, sizeof *grouped);
    hy_status s = HY_OK;
    for (size_t g = 0; g < hy_json_size(groups) && !s; g++) {
        const hy_json *group = hy_json_at(groups, g);
        int64_t before = -1, source = -1;
        if (hy_json_type_of(group) != HY_JSON_ARRAY)
            s = hy_error(HY_EINPUT, "%s: \"kv_reuse_group\"[%zu]: must be a list of layers", where, g);
        for (size_t k = 0; !s && k < hy_json_size(group); k++) {
            int64_t i = 0;
            snprintf(path, sizeof path, "%s: \"kv_reuse_group\"[%zu][%zu]", where, g, k);
            s = hy_json_int(hy_json_at(group, k), path, 0, m->n_layers - 1, &i);
            if (!s && grouped[i]) s = hy_error(HY_EINPUT, "%s: layer %lld is named twice", path, (long long)i);
            if (!s && i <= before)
                s = hy_error(HY_EINPUT, "%s: layer %lld comes after layer %lld", path, (long long)i, (long long)before);
            if (s) break;
            grouped[i] = true;
            if (k == 0) source = i;
            m->layers[i].kv_source = (int)source;
            before = i;
        }
    }
    free(grouped);
    return s;
}

// conv_dim and layer_type repeat what other keys say; they must agree.
static hy_status check_repeats(const hy_json *c, const char *where, const hy_model_spec *m) {
    const hy_json *types = hy_json_get(c, "layer_type"), *dims = hy_json_get(c, "conv_dim");
    char path[512];
    if (types) {
        HY_TRY(hy_config_list(c, where, "layer_type", m->n_layers, &types));
        for (int i = 0; i < m->n_layers; i++) {
            const char *t;
            HY_TRY(hy_config_word(types, where, "layer_type", i, path, &t));
            if (strcmp(t, "h"))
                return hy_error(HY_EINPUT, "%s: \"%.40s\" is not supported, only \"h\" (hybrid) is", path, t);
        }
    }
    if (!dims) return HY_OK;
    HY_TRY(hy_json_get_object(c, where, "conv_dim", &dims));
    for (void *it = hy_json_first(dims); it; it = hy_json_next(dims, it)) {
        int64_t v;
        snprintf(path, sizeof path, "%s: \"conv_dim\": \"%.20s\"", where, hy_json_key(it));
        HY_TRY(hy_json_int(hy_json_member(it), path, 1, HY_CONFIG_MAX_WIDTH, &v));
        if (v != m->layers[0].d_inner)
            return hy_error(HY_EINPUT, "%s: is %lld, but \"mamba_expand\" * \"hidden_size\" is %d", path, (long long)v,
                            m->layers[0].d_inner);
    }
    return HY_OK;
}

static hy_status spec(const hy_json *c, const char *where, hy_model_spec *m) {
    HY_TRY(read_model(c, where, m));
    hy_layer_spec l = {0};
    HY_TRY(read_layer(c, where, m, &l));
    for (int i = 0; i < m->n_layers; i++) m->layers[i] = l;
    HY_TRY(read_windows(c, where, m));
    HY_TRY(read_groups(c, where, m));
    return check_repeats(c, where, m);
}

// ---------------------------------------------------------------------------------------------------- writing
// Groups of layers that share keys, the producer first.
static hy_json *groups_of(const hy_model_spec *m) {
    hy_json *groups = hy_json_new_array();
    for (int i = 0; i < m->n_layers; i++) {
        hy_json *group = hy_json_new_array();
        hy_json_add(group, hy_json_new_int(i));
        for (int k = i + 1; k < m->n_layers; k++)
            if (m->layers[k].kv_source == i) hy_json_add(group, hy_json_new_int(k));
        if (hy_json_size(group) > 1)
            hy_json_add(groups, group);
        else
            hy_json_free(group);
    }
    return groups;
}

static void write_attention(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec *l = &m->layers[0];
    int window = m->max_len;
    hy_json *global = hy_json_new_array();
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].window)
            window = m->layers[i].window;
        else
            hy_json_add(global, hy_json_new_int(i));
    hy_json_set_int(out, "num_attention_heads", l->heads);
    hy_json_set_int(out, "num_key_value_heads", l->kv_heads);
    hy_json_set_int(out, "kq_head_dim", l->d_qk);
    hy_json_set_int(out, "v_head_dim", l->d_v);
    hy_json_set_int(out, "sliding_window", window);
    hy_json_set(out, "global_attn_idx", global);
    hy_json_set(out, "kv_reuse_group", groups_of(m));
    hy_json_set_bool(out, "rope", m->rope != HY_ROPE_NONE);
    hy_json_set_double(out, "rope_theta", m->rope_base);
    hy_json_set_string(out, "rope_type", m->rope == HY_ROPE_NTK ? "ntk" : NULL);
    hy_json_set_int(out, "max_position_embeddings", m->max_len);
    hy_json_set_int(out, "orig_max_position_embeddings", m->orig_len);
}

static void write_mamba(const hy_model_spec *m, hy_json *out) {
    const hy_layer_spec *l = &m->layers[0];
    hy_json *types = hy_json_new_array(), *dims = hy_json_new_object();
    for (int i = 0; i < m->n_layers; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        hy_json_add(types, hy_json_new_string("h"));
        hy_json_set_int(dims, number, m->layers[i].d_inner);
    }
    hy_json_set(out, "layer_type", types);
    hy_json_set(out, "conv_dim", dims);
    hy_json_set_int(out, "mamba_expand", l->d_inner / m->d_model);
    hy_json_set_int(out, "mamba_d_state", l->d_state);
    hy_json_set_int(out, "mamba_d_conv", l->d_conv);
    hy_json_set_int(out, "mamba_dt_rank", l->dt_rank);
    hy_json_set_bool(out, "mamba_conv_bias", l->conv_bias);
    hy_json_set_bool(out, "mamba_inner_layernorms", l->inner_norms == HY_INNER_NORMS_WEIGHTED);
    hy_json_set_bool(out, "mamba_proj_bias", false);
}

static hy_status config(const hy_model_spec *m, hy_json *out) {
    if (m->layers[0].mixer != HY_MIXER_PARALLEL) return hy_error(HY_EINPUT, "every layer of a hymba model is parallel");
    hy_config_write_class("HymbaForCausalLM", out);
    hy_json_set_string(out, "model_type", "hymba");
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_int(out, "hidden_size", m->d_model);
    hy_json_set_int(out, "num_hidden_layers", m->n_layers);
    hy_json_set_int(out, "intermediate_size", m->layers[0].d_ff);
    hy_json_set_int(out, "num_memory_tokens", m->meta_tokens);
    write_attention(m, out);
    write_mamba(m, out);
    hy_json_set_string(out, "hidden_act", "silu");
    hy_json_set_string(out, "mlp_hidden_act", "silu");
    hy_json_set_string(out, "kq_norm", "none");
    hy_json_set_int(out, "num_experts", 1);
    hy_json_set_int(out, "num_experts_per_tok", 1);
    hy_json_set_double(out, "rms_norm_eps", m->norm_eps);
    hy_json_set_double(out, "initializer_range", m->init_std);
    hy_json_set_bool(out, "tie_word_embeddings", m->tied);
    return HY_OK;
}

const hy_import_family hy_import_hymba = {
    .model_type = "hymba",
    .rows = rows,
    .keys = keys,
    .tied_copy = "lm_head.weight",
    .tied_to = "model.embed_tokens.weight",
    .spec = spec,
    .config = config,
};
