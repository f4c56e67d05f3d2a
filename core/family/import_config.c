// import_config.c - see import_impl.h.
#include "core/family/import_impl.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------- keys
// What any configuration may hold and no model computes with.
static const hy_config_key common[] = {
    {"architectures", ""},
    {"auto_map", ""},
    {"_name_or_path", ""},
    {"name_or_path", ""},
    {"transformers_version", ""},
    {"torch_dtype", ""},
    {"dtype", ""},
    {"use_cache", ""},
    {"bos_token_id", ""},
    {"eos_token_id", ""},
    {"pad_token_id", ""},
    {"unk_token_id", ""},
    {"sep_token_id", ""},
    {"decoder_start_token_id", ""},
    {"attention_dropout", ""},
    {"return_dict", ""},
    {"output_hidden_states", ""},
    {"output_attentions", ""},
    {"torchscript", ""},
    {"problem_type", ""},
    {"id2label", ""},
    {"label2id", ""},
    {"finetuning_task", ""},
    {"tokenizer_class", ""},
    {"prefix", ""},
    {"task_specific_params", ""},
    {"chunk_size_feed_forward", ""},
    {"_attn_implementation_autoset", ""},
    {"is_encoder_decoder", "false"},
    {"is_decoder", ""},
    {"add_cross_attention", "false"},
    {"cross_attention_hidden_size", "null"},
    {"pruned_heads", "{}"},
    {"tie_encoder_decoder", "false"},
    {"is_llama_config", ""},
    {"transformers.js_config", ""},
    {"_attn_implementation", ""},
    {"attn_implementation", ""},
    {"_commit_hash", ""},
    {"unsloth_fixed", ""},
    {"unsloth_version", ""},
    {"do_sample", ""},
    {"temperature", ""},
    {"top_k", ""},
    {"top_p", ""},
    {"max_length", ""},
    {"min_length", ""},
    {"max_new_tokens", ""},
    {"num_beams", ""},
    {"num_return_sequences", ""},
    {"repetition_penalty", ""},
    {"length_penalty", ""},
    {"no_repeat_ngram_size", ""},
    {"early_stopping", ""},
    {"output_scores", ""},
    {"return_dict_in_generate", ""},
    {NULL, NULL},
};

static const hy_config_key *find_key(const hy_config_key *table, const char *key) {
    for (; table->key; table++)
        if (!strcmp(table->key, key)) return table;
    return NULL;
}

static bool is_one_of(const char *list, const char *text) {
    const size_t nt = strlen(text);
    for (const char *p = list;; p++) {
        const size_t n = strcspn(p, "|");
        if (n == nt && !strncmp(p, text, n)) return true;
        p += n;
        if (!*p) return false;
    }
}

static hy_status check_only(const hy_json *value, const char *where, const hy_config_key *k) {
    hy_buf b = {0};
    hy_json_text(value, 0, &b);
    hy_status s = HY_OK;
    if (!is_one_of(k->only, b.s)) {
        hy_buf list = {0};
        for (const char *p = k->only; *p; p++) hy_buf_printf(&list, *p == '|' ? " or " : "%c", *p);
        s = hy_error(HY_EINPUT, "%s: \"%s\": %.100s is not supported, only %s is", where, k->key, b.s, list.s);
        free(list.s);
    }
    free(b.s);
    return s;
}

hy_status hy_config_check(const hy_json *c, const char *where, const hy_config_key *table) {
    if (hy_json_type_of(c) != HY_JSON_OBJECT) return hy_error(HY_EINPUT, "%s: must be an object", where);
    for (void *it = hy_json_first(c); it; it = hy_json_next(c, it)) {
        const char *key = hy_json_key(it);
        const hy_config_key *k = find_key(table, key);
        if (!k) k = find_key(common, key);
        if (!k)
            return hy_error(
                HY_EINPUT,
                "%s: \"%.100s\" is not a key that the reader of this family knows: it might change the model; "
                "remove it if it does not",
                where, key);
        if (k->only && *k->only) HY_TRY(check_only(hy_json_member(it), where, k));
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- values
bool hy_config_has(const hy_json *c, const char *key) {
    const hy_json *j = hy_json_get(c, key);
    return j && hy_json_type_of(j) != HY_JSON_NULL;
}

hy_status hy_config_int(const hy_json *c, const char *where, const char *key, int lo, int hi, int *out) {
    int64_t v;
    HY_TRY(hy_json_get_int(c, where, key, lo, hi, &v));
    *out = (int)v;
    return HY_OK;
}

hy_status hy_config_int_or(const hy_json *c, const char *where, const char *key, int hi, int *out) {
    int v;
    if (!hy_config_has(c, key)) return HY_OK;
    HY_TRY(hy_config_int(c, where, key, -1, hi, &v));
    if (v != -1) *out = v;
    return HY_OK;
}

hy_status hy_config_bool_or(const hy_json *c, const char *where, const char *key, int *out) {
    bool v;
    if (!hy_config_has(c, key)) return HY_OK;
    HY_TRY(hy_json_get_bool(c, where, key, &v));
    *out = v;
    return HY_OK;
}

hy_status hy_config_double_or(const hy_json *c, const char *where, const char *key, double lo, double hi, double *out) {
    if (!hy_config_has(c, key)) return HY_OK;
    return hy_json_get_double(c, where, key, lo, hi, out);
}

hy_status hy_config_dt_rank(const hy_json *c, const char *where, const char *key, int d_model, int *out) {
    const hy_json *rank = hy_json_get(c, key);
    *out = (d_model + 15) / 16;
    if (!rank) return HY_OK;
    if (hy_json_type_of(rank) != HY_JSON_STRING) return hy_config_int(c, where, key, 1, HY_CONFIG_MAX_WIDTH, out);
    const char *text;
    HY_TRY(hy_json_string(rank, where, &text));
    return strcmp(text, "auto") ? hy_error(HY_EINPUT, "%s: \"%s\": must be a number or \"auto\"", where, key) : HY_OK;
}

hy_status hy_config_model(const hy_json *c, const char *where, const char *eps_key, hy_model_spec *m) {
    HY_TRY(hy_config_int(c, where, "hidden_size", 1, HY_CONFIG_MAX_WIDTH, &m->d_model));
    HY_TRY(hy_config_int(c, where, "num_hidden_layers", 1, HY_MAX_LAYERS, &m->n_layers));
    HY_TRY(hy_config_int(c, where, "vocab_size", 1, 1 << 24, &m->vocab));
    m->norm = HY_NORM_RMS;
    HY_TRY(hy_config_double_or(c, where, eps_key, 1e-12, 1, &m->norm_eps));
    HY_TRY(hy_config_double_or(c, where, "initializer_range", 0, 10, &m->init_std));
    return hy_config_bool_or(c, where, "tie_word_embeddings", &m->tied);
}

hy_status hy_config_mamba(const hy_json *c, const char *where, hy_model_spec *m, hy_layer_spec *l) {
    m->norm_eps = 1e-5;
    m->init_std = 0.1;
    HY_TRY(hy_config_model(c, where, "layer_norm_epsilon", m));
    m->rope = HY_ROPE_NONE;
    m->rope_base = 10000;
    m->max_len = m->orig_len = 2048;  // not a limit: the families have none
    HY_TRY(hy_config_int(c, where, "state_size", 1, 4096, &l->d_state));
    HY_TRY(hy_config_int(c, where, "conv_kernel", 1, 256, &l->d_conv));
    HY_TRY(hy_config_bool_or(c, where, "use_bias", &l->proj_bias));
    return hy_config_bool_or(c, where, "use_conv_bias", &l->conv_bias);
}

hy_status hy_config_dt_limit(const hy_json *c, const char *where, double *least, double *most) {
    const hy_json *list, *last;
    const char *text;
    char path[512];
    *least = *most = 0;
    if (!hy_config_has(c, "time_step_limit")) return HY_OK;
    HY_TRY(hy_json_get_array(c, where, "time_step_limit", &list));
    if (hy_json_size(list) != 2) return hy_error(HY_EINPUT, "%s: \"time_step_limit\" must be [least, most]", where);
    snprintf(path, sizeof path, "%s: \"time_step_limit\"[0]", where);
    HY_TRY(hy_json_double(hy_json_at(list, 0), path, 0, 1e6, least));
    snprintf(path, sizeof path, "%s: \"time_step_limit\"[1]", where);
    last = hy_json_at(list, 1);
    if (hy_json_type_of(last) != HY_JSON_OBJECT) return hy_json_double(last, path, 1e-12, 1e6, most);
    HY_TRY(hy_json_get_string(last, path, "__float__", &text));
    return strcmp(text, "Infinity")
               ? hy_error(HY_EINPUT, "%s: \"%.40s\" is not a limit, only a number or Infinity is", path, text)
               : HY_OK;
}

void hy_config_write_dt_limit(double least, double most, hy_json *out) {
    hy_json *list = hy_json_new_array(), *last = most != 0 ? hy_json_new_double(most) : hy_json_new_object();
    if (most == 0) hy_json_set_string(last, "__float__", "Infinity");
    hy_json_add(list, hy_json_new_double(least));
    hy_json_add(list, last);
    if (least == 0 && most == 0)
        hy_json_free(list);
    else
        hy_json_set(out, "time_step_limit", list);
}

void hy_config_write_class(const char *name, hy_json *out) {
    hy_json *classes = hy_json_new_array();
    hy_json_add(classes, hy_json_new_string(name));
    hy_json_set(out, "architectures", classes);
}

// ---------------------------------------------------------------------------------------------------- rotary positions
static const hy_config_key rope_keys[] = {
    {"rope_type", NULL},
    {"type", NULL},
    {"rope_theta", NULL},
    {"factor", NULL},
    {"low_freq_factor", NULL},
    {"high_freq_factor", NULL},
    {"original_max_position_embeddings", NULL},
    {"partial_rotary_factor", "1|1.0|null"},
    {NULL, NULL},
};

static hy_status read_scaling(const hy_json *r, const char *where, hy_model_spec *m) {
    const char *type = "default";
    HY_TRY(hy_config_check(r, where, rope_keys));
    HY_TRY(hy_config_double_or(r, where, "rope_theta", 1, 1e12, &m->rope_base));
    if (hy_config_has(r, "rope_type"))
        HY_TRY(hy_json_get_string(r, where, "rope_type", &type));
    else if (hy_config_has(r, "type"))
        HY_TRY(hy_json_get_string(r, where, "type", &type));
    if (!strcmp(type, "default")) return HY_OK;
    if (!strcmp(type, "linear")) {
        m->rope = HY_ROPE_LINEAR;
        return hy_json_get_double(r, where, "factor", 1, 1e6, &m->rope_factor);
    }
    if (strcmp(type, "llama3"))
        return hy_error(HY_EINPUT, "%s: rope of type \"%.40s\" is not supported (default, linear, llama3)", where,
                        type);
    m->rope = HY_ROPE_LLAMA3;
    HY_TRY(hy_json_get_double(r, where, "factor", 1, 1e6, &m->rope_factor));
    HY_TRY(hy_json_get_double(r, where, "low_freq_factor", 1e-3, 1e6, &m->rope_low));
    HY_TRY(hy_json_get_double(r, where, "high_freq_factor", 1e-3, 1e6, &m->rope_high));
    return hy_config_int(r, where, "original_max_position_embeddings", 1, HY_CONFIG_MAX_TOKENS, &m->orig_len);
}

hy_status hy_config_rope(const hy_json *c, const char *where, double default_base, hy_model_spec *m) {
    static const char *const keys[] = {"rope_parameters", "rope_scaling"};
    m->rope = HY_ROPE_DEFAULT;
    m->rope_base = default_base;
    HY_TRY(hy_config_int(c, where, "max_position_embeddings", 1, HY_CONFIG_MAX_TOKENS, &m->max_len));
    m->orig_len = m->max_len;
    HY_TRY(hy_config_double_or(c, where, "rope_theta", 1, 1e12, &m->rope_base));
    if (hy_config_has(c, keys[0]) && hy_config_has(c, keys[1]))
        return hy_error(HY_EINPUT,
                        "%s: \"rope_parameters\" and \"rope_scaling\" say the same thing in two ways; keep one", where);
    for (int i = 0; i < 2; i++) {
        const hy_json *r;
        char path[512];
        if (!hy_config_has(c, keys[i])) continue;
        HY_TRY(hy_json_get_object(c, where, keys[i], &r));
        snprintf(path, sizeof path, "%s: \"%s\"", where, keys[i]);
        HY_TRY(read_scaling(r, path, m));
    }
    return HY_OK;
}

void hy_config_write_rope(const hy_model_spec *m, hy_json *out) {
    static const char *const types[] = {[HY_ROPE_LINEAR] = "linear", [HY_ROPE_LLAMA3] = "llama3"};
    hy_json *r = hy_json_new_object();
    const bool scaled = m->rope == HY_ROPE_LINEAR || m->rope == HY_ROPE_LLAMA3;
    hy_json_set_double(r, "rope_theta", m->rope_base);
    hy_json_set_string(r, "rope_type", scaled ? types[m->rope] : "default");
    if (scaled) hy_json_set_double(r, "factor", m->rope_factor);
    if (m->rope == HY_ROPE_LLAMA3) {
        hy_json_set_double(r, "low_freq_factor", m->rope_low);
        hy_json_set_double(r, "high_freq_factor", m->rope_high);
        hy_json_set_int(r, "original_max_position_embeddings", m->orig_len);
    }
    hy_json_set_int(out, "max_position_embeddings", m->max_len);
    hy_json_set(out, "rope_parameters", r);
}
