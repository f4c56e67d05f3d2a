// llama.c - the Llama layout and the families that differ from it by a few keys: llama (Llama 2 and 3, SmolLM), qwen2
// (biases of q, k, v; windows in the later layers), mistral (a window everywhere), qwen3 (norms of queries and keys)
// and smollm3 (layers without rotary positions).
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"

#define LAYER "model.layers.%d."
static const hy_import_row rows[] = {
    {"model.embed_tokens.weight", "embed", HY_PART_ALL, HY_ROW_PLAIN},
    {"model.norm.weight", "final_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"lm_head.weight", "head", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "input_layernorm.weight", "layers.%d.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "self_attn.q_proj.weight", "layers.%d.in_proj", HY_PART_Q, HY_ROW_PLAIN},
    {LAYER "self_attn.k_proj.weight", "layers.%d.in_proj", HY_PART_K, HY_ROW_PLAIN},
    {LAYER "self_attn.v_proj.weight", "layers.%d.in_proj", HY_PART_V, HY_ROW_PLAIN},
    {LAYER "self_attn.q_proj.bias", "layers.%d.in_proj.bias", HY_PART_Q, HY_ROW_PLAIN},
    {LAYER "self_attn.k_proj.bias", "layers.%d.in_proj.bias", HY_PART_K, HY_ROW_PLAIN},
    {LAYER "self_attn.v_proj.bias", "layers.%d.in_proj.bias", HY_PART_V, HY_ROW_PLAIN},
    {LAYER "self_attn.q_norm.weight", "layers.%d.q_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "self_attn.k_norm.weight", "layers.%d.k_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "self_attn.o_proj.weight", "layers.%d.out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "self_attn.o_proj.bias", "layers.%d.out_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "post_attention_layernorm.weight", "layers.%d.mlp.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mlp.gate_proj.weight", "layers.%d.mlp.up", HY_PART_GATE, HY_ROW_PLAIN},
    {LAYER "mlp.up_proj.weight", "layers.%d.mlp.up", HY_PART_UP, HY_ROW_PLAIN},
    {LAYER "mlp.gate_proj.bias", "layers.%d.mlp.up.bias", HY_PART_GATE, HY_ROW_PLAIN},
    {LAYER "mlp.up_proj.bias", "layers.%d.mlp.up.bias", HY_PART_UP, HY_ROW_PLAIN},
    {LAYER "mlp.down_proj.weight", "layers.%d.mlp.down", HY_PART_ALL, HY_ROW_PLAIN},
    {LAYER "mlp.down_proj.bias", "layers.%d.mlp.down.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};

// ---------------------------------------------------------------------------------------------------- reading
// Keys of all, and what their classes have alike where a file leaves one out.
#define SHARED_KEYS(vocab, d_model, layers, heads, kv, dim, d_ff, max_len, tied)                                     \
    {"model_type", NULL, NULL}, {"hidden_size", NULL, d_model}, {"num_hidden_layers", NULL, layers},                 \
        {"num_attention_heads", NULL, heads}, {"num_key_value_heads", NULL, kv}, {"intermediate_size", NULL, d_ff},  \
        {"vocab_size", NULL, vocab}, {"head_dim", NULL, dim}, {"rms_norm_eps", NULL, "1e-6"},                        \
        {"max_position_embeddings", NULL, max_len}, {"rope_theta", NULL, NULL}, {"rope_scaling", NULL, NULL},        \
        {"rope_parameters", NULL, NULL}, {"partial_rotary_factor", NULL, NULL}, {"tie_word_embeddings", NULL, tied}, \
        {"initializer_range", NULL, "0.02"}, {                                                                       \
        "hidden_act", "\"silu\"|\"swish\"", NULL                                                                     \
    }
static const hy_config_key llama_keys[] = {
    SHARED_KEYS("32000", "4096", "32", "32", NULL, NULL, "11008", "2048", "false"),
    {"attention_bias", NULL, "false"},
    {"mlp_bias", NULL, "false"},
    {"pretraining_tp", "", NULL},
    {"rope_interleaved", "false", NULL},
    {NULL, NULL, NULL},
};
static const hy_config_key qwen2_keys[] = {
    SHARED_KEYS("151936", "4096", "32", "32", "32", NULL, "22016", "32768", "false"),
    {"use_sliding_window", NULL, "false"},
    {"sliding_window", NULL, "4096"},
    {"max_window_layers", NULL, "28"},
    {"layer_types", NULL, NULL},
    {"use_mrope", "false", NULL},
    {NULL, NULL, NULL},
};
static const hy_config_key mistral_keys[] = {
    SHARED_KEYS("32000", "4096", "32", "32", "8", NULL, "14336", "131072", "false"),
    {"sliding_window", NULL, "4096"},
    {NULL, NULL, NULL},
};

static const hy_config_key qwen3_keys[] = {
    SHARED_KEYS("151936", "4096", "32", "32", "32", "128", "22016", "32768", "false"),
    {"attention_bias", NULL, "false"},
    {"use_sliding_window", NULL, "false"},
    {"sliding_window", NULL, "4096"},
    {"max_window_layers", NULL, "28"},
    {"layer_types", NULL, NULL},
    {NULL, NULL, NULL},
};
static const hy_config_key smollm3_keys[] = {
    SHARED_KEYS("128256", "2048", "36", "16", "4", NULL, "11008", "32768", "true"),
    {"attention_bias", NULL, "false"},
    {"mlp_bias", NULL, "false"},
    {"use_sliding_window", NULL, "false"},
    {"sliding_window", NULL, NULL},
    {"layer_types", NULL, NULL},
    {"no_rope_layers", NULL, NULL},
    {"no_rope_layer_interval", NULL, "4"},
    {"pretraining_tp", "", NULL},
    {"max_window_layers", "", NULL},
    {NULL, NULL, NULL},
};

// rope_base: where no rope_theta is given.
static hy_status read_shared(const hy_json *c, const char *where, const char *name, double rope_base, hy_model_spec *m,
                             hy_layer_spec *l) {
    snprintf(m->name, sizeof m->name, "%s", name);
    HY_TRY(hy_config_model(c, where, "rms_norm_eps", m));
    HY_TRY(hy_config_rope(c, where, rope_base, NULL, m));
    *l = (hy_layer_spec){.mixer = HY_MIXER_ATTENTION, .mlp = HY_MLP_SILU};
    HY_TRY(hy_config_int(c, where, "intermediate_size", 1, 1 << 22, &l->d_ff));
    return hy_config_attention(c, where, m->d_model, l);
}

static void fill_layers(hy_model_spec *m, const hy_layer_spec *l) {
    for (int i = 0; i < m->n_layers; i++) {
        m->layers[i] = *l;
        m->layers[i].kv_source = i;
    }
}

// Their window counts the query itself, ours the tokens before it.
static hy_status read_window(const hy_json *c, const char *where, int *window) {
    *window = 0;
    if (!hy_config_has(c, "sliding_window")) return HY_OK;
    HY_TRY(hy_config_int(c, where, "sliding_window", 2, HY_CONFIG_MAX_TOKENS, window));
    --*window;
    return HY_OK;
}

static hy_status llama_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l;
    HY_TRY(read_shared(c, where, "llama", 10000, m, &l));
    HY_TRY(hy_config_bool(c, where, "attention_bias", &l.qkv_bias));
    HY_TRY(hy_config_bool(c, where, "mlp_bias", &l.mlp_bias));
    l.out_bias = l.qkv_bias;
    fill_layers(m, &l);
    return HY_OK;
}

static hy_status mistral_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l;
    HY_TRY(read_shared(c, where, "mistral", 10000, m, &l));
    HY_TRY(read_window(c, where, &l.window));
    fill_layers(m, &l);
    return HY_OK;
}

// layer_types repeats what the window keys say; where it is there it counts.
static hy_status read_layer_types(const hy_json *c, const char *where, int window, hy_model_spec *m) {
    const hy_json *types;
    if (!hy_config_has(c, "layer_types")) return HY_OK;
    HY_TRY(hy_config_list(c, where, "layer_types", m->n_layers, &types));
    for (int i = 0; i < m->n_layers; i++) {
        char path[512];
        const char *t;
        HY_TRY(hy_config_word(types, where, "layer_types", i, path, &t));
        if (strcmp(t, "full_attention") && strcmp(t, "sliding_attention"))
            return hy_error(HY_EINPUT, "%s: \"%.40s\" is not supported (full_attention, sliding_attention)", path, t);
        if (*t == 's' && !window)
            return hy_error(HY_EINPUT, "%s: \"sliding_attention\" needs \"use_sliding_window\" and \"sliding_window\"",
                            path);
        m->layers[i].window = *t == 's' ? window : 0;
    }
    return HY_OK;
}

// The windows of the Qwen families, which later layers have.
static hy_status read_qwen_windows(const hy_json *c, const char *where, hy_model_spec *m) {
    int windows, from, window = 0;
    HY_TRY(hy_config_bool(c, where, "use_sliding_window", &windows));
    HY_TRY(hy_config_int(c, where, "max_window_layers", 0, HY_CONFIG_MAX_WIDTH, &from));
    if (windows) HY_TRY(read_window(c, where, &window));
    for (int i = from; i < m->n_layers; i++) m->layers[i].window = window;
    return read_layer_types(c, where, window, m);
}

static hy_status qwen2_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l;
    HY_TRY(read_shared(c, where, "qwen2", 10000, m, &l));
    l.qkv_bias = 1;
    fill_layers(m, &l);
    return read_qwen_windows(c, where, m);
}

static hy_status qwen3_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l;
    HY_TRY(read_shared(c, where, "qwen3", 10000, m, &l));
    HY_TRY(hy_config_bool(c, where, "attention_bias", &l.qkv_bias));
    l.out_bias = l.qkv_bias;
    l.qk_norm = 1;
    fill_layers(m, &l);
    return read_qwen_windows(c, where, m);
}

// no_rope_layers: 1 for a layer with rotary positions, 0 without; null: every no_rope_layer_interval-th has none.
static hy_status read_no_rope(const hy_json *c, const char *where, hy_model_spec *m) {
    const hy_json *list;
    int every;
    if (!hy_config_has(c, "no_rope_layers")) {
        HY_TRY(hy_config_int(c, where, "no_rope_layer_interval", 1, HY_CONFIG_MAX_WIDTH, &every));
        for (int i = 0; i < m->n_layers; i++) m->layers[i].no_rope = (i + 1) % every == 0;
        return HY_OK;
    }
    HY_TRY(hy_json_get_array(c, where, "no_rope_layers", &list));
    if (hy_json_size(list) < (size_t)m->n_layers)
        return hy_error(HY_EINPUT, "%s: \"no_rope_layers\" lists %zu layers, but \"num_hidden_layers\" is %d", where,
                        hy_json_size(list), m->n_layers);
    for (int i = 0; i < m->n_layers; i++) {
        char path[512];
        int64_t with;
        snprintf(path, sizeof path, "%s: \"no_rope_layers\"[%d]", where, i);
        HY_TRY(hy_json_int(hy_json_at(list, (size_t)i), path, 0, 1, &with));
        m->layers[i].no_rope = !with;
    }
    return HY_OK;
}

static hy_status smollm3_spec(const hy_json *c, const char *where, hy_model_spec *m) {
    hy_layer_spec l;
    int windows, window = 0;
    HY_TRY(read_shared(c, where, "smollm3", 2e6, m, &l));
    HY_TRY(hy_config_bool(c, where, "attention_bias", &l.qkv_bias));
    HY_TRY(hy_config_bool(c, where, "mlp_bias", &l.mlp_bias));
    l.out_bias = l.qkv_bias;
    fill_layers(m, &l);
    HY_TRY(read_no_rope(c, where, m));
    HY_TRY(hy_config_bool(c, where, "use_sliding_window", &windows));
    if (windows) HY_TRY(read_window(c, where, &window));
    for (int i = 0; i < m->n_layers; i++) m->layers[i].window = m->layers[i].no_rope ? window : 0;
    return read_layer_types(c, where, window, m);
}

// ---------------------------------------------------------------------------------------------------- writing
static hy_status write_shared(const hy_model_spec *m, const char *type, const char *class, hy_json *out) {
    const hy_layer_spec *l = &m->layers[0];
    hy_config_write_class(class, out);
    hy_json_set_string(out, "model_type", type);
    hy_json_set_int(out, "vocab_size", m->vocab);
    hy_json_set_int(out, "hidden_size", m->d_model);
    hy_json_set_int(out, "intermediate_size", l->d_ff);
    hy_json_set_int(out, "num_hidden_layers", m->n_layers);
    hy_config_write_attention(l, out);
    hy_json_set_string(out, "hidden_act", "silu");
    hy_json_set_double(out, "rms_norm_eps", m->norm_eps);
    hy_json_set_double(out, "initializer_range", m->init_std);
    hy_json_set_bool(out, "tie_word_embeddings", m->tied);
    hy_config_write_rope(m, 0, out);
    return HY_OK;
}

static hy_status llama_config(const hy_model_spec *m, hy_json *out) {
    hy_json_set_bool(out, "attention_bias", m->layers[0].qkv_bias);
    hy_json_set_bool(out, "mlp_bias", m->layers[0].mlp_bias);
    return write_shared(m, "llama", "LlamaForCausalLM", out);
}

static hy_status mistral_config(const hy_model_spec *m, hy_json *out) {
    hy_json_set(out, "sliding_window",
                m->layers[0].window ? hy_json_new_int(m->layers[0].window + 1) : hy_json_new_null());
    return write_shared(m, "mistral", "MistralForCausalLM", out);
}

// Which layers have the window, and its size in their count; from: the first that has one.
static int write_windows(const hy_model_spec *m, hy_json *out) {
    int window = 0, from = m->n_layers;
    hy_json *types = hy_json_new_array();
    for (int i = m->n_layers - 1; i >= 0; i--)
        if (m->layers[i].window) window = m->layers[i].window, from = i;
    for (int i = 0; i < m->n_layers; i++)
        hy_json_add(types, hy_json_new_string(m->layers[i].window ? "sliding_attention" : "full_attention"));
    hy_json_set_bool(out, "use_sliding_window", window != 0);
    hy_json_set(out, "sliding_window", window ? hy_json_new_int(window + 1) : hy_json_new_null());
    hy_json_set(out, "layer_types", types);
    return from;
}

static hy_status qwen2_config(const hy_model_spec *m, hy_json *out) {
    hy_json_set_int(out, "max_window_layers", write_windows(m, out));
    return write_shared(m, "qwen2", "Qwen2ForCausalLM", out);
}

static hy_status qwen3_config(const hy_model_spec *m, hy_json *out) {
    hy_json_set_int(out, "max_window_layers", write_windows(m, out));
    hy_json_set_bool(out, "attention_bias", m->layers[0].qkv_bias);
    return write_shared(m, "qwen3", "Qwen3ForCausalLM", out);
}

static hy_status smollm3_config(const hy_model_spec *m, hy_json *out) {
    hy_json *with = hy_json_new_array();
    for (int i = 0; i < m->n_layers; i++) hy_json_add(with, hy_json_new_int(!m->layers[i].no_rope));
    hy_json_set(out, "no_rope_layers", with);
    hy_json_set(out, "pad_token_id", hy_json_new_null());  // the class's own lies outside a small vocabulary
    write_windows(m, out);
    hy_json_set_bool(out, "attention_bias", m->layers[0].qkv_bias);
    hy_json_set_bool(out, "mlp_bias", m->layers[0].mlp_bias);
    return write_shared(m, "smollm3", "SmolLM3ForCausalLM", out);
}

#define FAMILY(name)                                                                   \
    const hy_import_family hy_import_##name = {.model_type = #name,                    \
                                               .rows = rows,                           \
                                               .keys = name##_keys,                    \
                                               .tied_copy = "lm_head.weight",          \
                                               .tied_to = "model.embed_tokens.weight", \
                                               .spec = name##_spec,                    \
                                               .config = name##_config}
FAMILY(llama);
FAMILY(qwen2);
FAMILY(mistral);
FAMILY(qwen3);
FAMILY(smollm3);
