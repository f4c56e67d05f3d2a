// import_config.c - see import_impl.h.
#include "core/family/import_impl.h"

#include <stdlib.h>
#include <string.h>

#include "core/format/field.h"

// ---------------------------------------------------------------------------------------------------- keys
// What any configuration may hold and no model computes with.
static const hy_config_key common[] = {
    {"architectures", "", NULL},
    {"auto_map", "", NULL},
    {"_name_or_path", "", NULL},
    {"name_or_path", "", NULL},
    {"transformers_version", "", NULL},
    {"torch_dtype", "", NULL},
    {"dtype", "", NULL},
    {"use_cache", "", NULL},
    {"bos_token_id", "", NULL},
    {"eos_token_id", "", NULL},
    {"pad_token_id", "", NULL},
    {"unk_token_id", "", NULL},
    {"sep_token_id", "", NULL},
    {"decoder_start_token_id", "", NULL},
    {"attention_dropout", "", NULL},
    {"return_dict", "", NULL},
    {"output_hidden_states", "", NULL},
    {"output_attentions", "", NULL},
    {"torchscript", "", NULL},
    {"problem_type", "", NULL},
    {"id2label", "", NULL},
    {"label2id", "", NULL},
    {"finetuning_task", "", NULL},
    {"tokenizer_class", "", NULL},
    {"prefix", "", NULL},
    {"task_specific_params", "", NULL},
    {"chunk_size_feed_forward", "", NULL},
    {"_attn_implementation_autoset", "", NULL},
    {"is_encoder_decoder", "false", NULL},
    {"is_decoder", "", NULL},
    {"add_cross_attention", "false", NULL},
    {"cross_attention_hidden_size", "null", NULL},
    {"pruned_heads", "{}", NULL},
    {"tie_encoder_decoder", "false", NULL},
    {"is_llama_config", "", NULL},
    {"transformers.js_config", "", NULL},
    {"_attn_implementation", "", NULL},
    {"attn_implementation", "", NULL},
    {"_commit_hash", "", NULL},
    {"unsloth_fixed", "", NULL},
    {"unsloth_version", "", NULL},
    {"do_sample", "", NULL},
    {"temperature", "", NULL},
    {"top_k", "", NULL},
    {"top_p", "", NULL},
    {"max_length", "", NULL},
    {"min_length", "", NULL},
    {"max_new_tokens", "", NULL},
    {"num_beams", "", NULL},
    {"num_return_sequences", "", NULL},
    {"repetition_penalty", "", NULL},
    {"length_penalty", "", NULL},
    {"no_repeat_ngram_size", "", NULL},
    {"early_stopping", "", NULL},
    {"output_scores", "", NULL},
    {"return_dict_in_generate", "", NULL},
    {"num_beam_groups", "", NULL},
    {"diversity_penalty", "", NULL},
    {"typical_p", "", NULL},
    {"encoder_no_repeat_ngram_size", "", NULL},
    {"bad_words_ids", "", NULL},
    {"forced_bos_token_id", "", NULL},
    {"forced_eos_token_id", "", NULL},
    {"remove_invalid_values", "", NULL},
    {"exponential_decay_length_penalty", "", NULL},
    {"suppress_tokens", "", NULL},
    {"begin_suppress_tokens", "", NULL},
    {"use_bfloat16", "", NULL},
    {"tf_legacy_loss", "", NULL},
    {"use_return_dict", "", NULL},
    {NULL, NULL, NULL},
};

static const hy_config_key *find_key(const hy_config_key *table, const char *key) {
    for (; table->key; table++)
        if (!strcmp(table->key, key)) return table;
    return NULL;
}

static hy_status check_only(const hy_json *value, const char *where, const hy_config_key *k) {
    hy_buf b = {0};
    hy_json_text(value, 0, &b);
    hy_status s = HY_OK;
    if (!hy_is_choice(b.s, k->only)) {
        hy_buf list = {0};
        for (const char *p = k->only; *p; p++) hy_buf_printf(&list, *p == '|' ? " or " : "%c", *p);
        s = hy_error(HY_EINPUT, "%s: \"%s\": %.100s is not supported, only %s is", where, k->key, b.s, list.s);
        free(list.s);
    }
    free(b.s);
    return s;
}

// Nothing is asked for: null, false, "", [], {}.
static bool is_nothing(const hy_json *value) {
    hy_buf b = {0};
    hy_json_text(value, 0, &b);
    const bool nothing = hy_is_choice(b.s, "null|false|\"\"|[]|{}");
    free(b.s);
    return nothing;
}

static hy_status check_keys(const hy_json *c, const char *where, const hy_config_key *table) {
    if (hy_json_type_of(c) != HY_JSON_OBJECT) return hy_error(HY_EINPUT, "%s: must be an object", where);
    for (void *it = hy_json_first(c); it; it = hy_json_next(c, it)) {
        const char *key = hy_json_key(it);
        const hy_config_key *k = find_key(table, key);
        if (!k) k = find_key(common, key);
        if (k && k->only && *k->only) HY_TRY(check_only(hy_json_member(it), where, k));
        if (k || is_nothing(hy_json_member(it))) continue;
        if (!strcmp(key, "quantization_config") || !strcmp(key, "compression_config"))
            return hy_error(HY_EINPUT,
                            "%s: \"%s\": the weights are quantized, which is not read: take the folder of the model in "
                            "bfloat16, float16 or float32, or dequantize it with transformers and save it again",
                            where, key);
        return hy_error(HY_EINPUT,
                        "%s: \"%.100s\" is not a key that the reader of this family knows: it might change the model; "
                        "remove it if it does not",
                        where, key);
    }
    return HY_OK;
}

hy_status hy_config_complete(const hy_json *c, const char *where, const hy_config_key *table, hy_json **out) {
    hy_buf missing = {0};
    int n = 0;
    *out = NULL;
    HY_TRY(check_keys(c, where, table));
    hy_json *whole = hy_json_copy(c);
    for (const hy_config_key *k = table; k->key; k++) {
        if (!k->def || hy_json_get(c, k->key)) continue;
        if (strcmp(k->def, HY_CONFIG_NEEDED))
            hy_json_set_text(whole, k->key, k->def);
        else
            hy_buf_printf(&missing, "%s\"%s\"", n++ ? ", " : "", k->key);
    }
    if (n) {
        hy_json_free(whole);
        hy_error(HY_EINPUT, "%s: %s %s missing", where, missing.s, n > 1 ? "are" : "is");
    } else
        *out = whole;
    free(missing.s);
    return n ? HY_EINPUT : HY_OK;
}

// ---------------------------------------------------------------------------------------------------- values
bool hy_config_has(const hy_json *c, const char *key) { return hy_json_given(hy_json_get(c, key)); }

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

hy_status hy_config_bool(const hy_json *c, const char *where, const char *key, int *out) {
    bool v = false;
    if (hy_config_has(c, key)) HY_TRY(hy_json_get_bool(c, where, key, &v));
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
    HY_TRY(hy_json_get_double(c, where, eps_key, 1e-12, 1, &m->norm_eps));
    HY_TRY(hy_json_get_double(c, where, "initializer_range", 0, 10, &m->init_std));
    return hy_config_bool(c, where, "tie_word_embeddings", &m->tied);
}

hy_status hy_config_mamba(const hy_json *c, const char *where, hy_model_spec *m, hy_layer_spec *l) {
    HY_TRY(hy_config_model(c, where, "layer_norm_epsilon", m));
    m->max_len = 2048;  // not a limit: the families have none
    hy_config_no_rope(m);
    HY_TRY(hy_config_int(c, where, "state_size", 1, 4096, &l->d_state));
    HY_TRY(hy_config_int(c, where, "conv_kernel", 1, 256, &l->d_conv));
    HY_TRY(hy_config_bool(c, where, "use_bias", &l->proj_bias));
    return hy_config_bool(c, where, "use_conv_bias", &l->conv_bias);
}

hy_status hy_config_dt_limit(const hy_json *c, const char *where, const char *key, double *least, double *most) {
    const hy_json *list, *last;
    const char *text;
    char path[512];
    *least = *most = 0;
    if (!hy_config_has(c, key)) return HY_OK;
    HY_TRY(hy_json_get_array(c, where, key, &list));
    if (hy_json_size(list) != 2) return hy_error(HY_EINPUT, "%s: \"%s\" must be [least, most]", where, key);
    snprintf(path, sizeof path, "%s: \"%s\"[0]", where, key);
    HY_TRY(hy_json_double(hy_json_at(list, 0), path, 0, 1e6, least));
    snprintf(path, sizeof path, "%s: \"%s\"[1]", where, key);
    last = hy_json_at(list, 1);
    if (hy_json_type_of(last) != HY_JSON_OBJECT) return hy_json_double(last, path, 1e-12, 1e6, most);
    HY_TRY(hy_json_get_string(last, path, "__float__", &text));
    return strcmp(text, "Infinity")
               ? hy_error(HY_EINPUT, "%s: \"%.40s\" is not a limit, only a number or Infinity is", path, text)
               : HY_OK;
}

void hy_config_write_dt_limit(double least, double most, const char *key, hy_json *out) {
    hy_json *list = hy_json_new_array(), *last = most != 0 ? hy_json_new_double(most) : hy_json_new_object();
    if (most == 0) hy_json_set_string(last, "__float__", "Infinity");
    hy_json_add(list, hy_json_new_double(least));
    hy_json_add(list, last);
    if (least == 0 && most == 0)
        hy_json_free(list);
    else
        hy_json_set(out, key, list);
}

void hy_config_write_class(const char *name, hy_json *out) {
    hy_json *classes = hy_json_new_array();
    hy_json_add(classes, hy_json_new_string(name));
    hy_json_set(out, "architectures", classes);
}

// ---------------------------------------------------------------------------------------------------- rotary positions
static const hy_config_key rope_keys[] = {
    {"rope_type", NULL, NULL},
    {"type", NULL, NULL},
    {"rope_theta", NULL, NULL},
    {"factor", NULL, NULL},
    {"low_freq_factor", NULL, NULL},
    {"high_freq_factor", NULL, NULL},
    {"original_max_position_embeddings", NULL, NULL},
    {"partial_rotary_factor", NULL, NULL},
    {NULL, NULL, NULL},
};

// share: of each head, or NULL for a family whose heads turn as a whole.
static hy_status read_share(const hy_json *r, const char *where, double *share) {
    double whole = 1;
    HY_TRY(hy_config_double_or(r, where, "partial_rotary_factor", 0, 1, share ? share : &whole));
    return whole == 1
               ? HY_OK
               : hy_error(HY_EINPUT,
                          "%s: \"partial_rotary_factor\": %g is not supported: this family's code turns whole heads",
                          where, whole);
}

static hy_status read_scaling(const hy_json *r, const char *where, double *share, hy_model_spec *m) {
    const char *type = "default";
    HY_TRY(check_keys(r, where, rope_keys));
    HY_TRY(read_share(r, where, share));
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

hy_status hy_config_rope(const hy_json *c, const char *where, double default_base, double *share, hy_model_spec *m) {
    static const char *const keys[] = {"rope_parameters", "rope_scaling"};
    m->rope = HY_ROPE_DEFAULT;
    m->rope_base = default_base;
    HY_TRY(hy_config_int(c, where, "max_position_embeddings", 1, HY_CONFIG_MAX_TOKENS, &m->max_len));
    m->orig_len = m->max_len;
    HY_TRY(hy_config_double_or(c, where, "rope_theta", 1, 1e12, &m->rope_base));
    HY_TRY(read_share(c, where, share));
    if (hy_config_has(c, keys[0]) && hy_config_has(c, keys[1]))
        return hy_error(HY_EINPUT,
                        "%s: \"rope_parameters\" and \"rope_scaling\" say the same thing in two ways; keep one", where);
    for (int i = 0; i < 2; i++) {
        const hy_json *r;
        char path[512];
        if (!hy_config_has(c, keys[i])) continue;
        HY_TRY(hy_json_get_object(c, where, keys[i], &r));
        snprintf(path, sizeof path, "%s: \"%s\"", where, keys[i]);
        HY_TRY(read_scaling(r, path, share, m));
    }
    if (m->rope_base == 0)  // transformers 4 and 5 have different ones
        return hy_error(HY_EINPUT, "%s: \"rope_theta\" is missing, and this family has no default that counts", where);
    return HY_OK;
}

void hy_config_no_rope(hy_model_spec *m) {
    m->rope = HY_ROPE_NONE;
    m->rope_base = 10000;
    m->rope_factor = m->rope_low = 1;
    m->rope_high = 4;
    m->orig_len = m->max_len;
}

void hy_config_write_rope(const hy_model_spec *m, double share, hy_json *out) {
    static const char *const types[] = {[HY_ROPE_LINEAR] = "linear", [HY_ROPE_LLAMA3] = "llama3"};
    hy_json *r = hy_json_new_object();
    const bool scaled = m->rope == HY_ROPE_LINEAR || m->rope == HY_ROPE_LLAMA3;
    hy_json_set_double(r, "rope_theta", m->rope_base);
    hy_json_set_string(r, "rope_type", scaled ? types[m->rope] : "default");
    if (share != 0) hy_json_set_double(r, "partial_rotary_factor", share);
    if (scaled) hy_json_set_double(r, "factor", m->rope_factor);
    if (m->rope == HY_ROPE_LLAMA3) {
        hy_json_set_double(r, "low_freq_factor", m->rope_low);
        hy_json_set_double(r, "high_freq_factor", m->rope_high);
        hy_json_set_int(r, "original_max_position_embeddings", m->orig_len);
    }
    hy_json_set_int(out, "max_position_embeddings", m->max_len);
    hy_json_set(out, "rope_parameters", r);
}
