// import_gguf.c - a GGUF file as a model: its keys as the config.json of a family, its tensors under the names of that
// family's folders, in the order of its rows and as plain numbers. One architecture so far, llama.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/family/import.h"
#include "core/family/import_impl.h"
#include "core/format/gguf.h"

// ---------------------------------------------------------------------------------------------------- configuration
// Keys of "llama." that are read below, or say nothing of what the model computes.
static const char *const known[] = {"block_count",
                                    "context_length",
                                    "embedding_length",
                                    "feed_forward_length",
                                    "attention.head_count",
                                    "attention.head_count_kv",
                                    "attention.key_length",
                                    "attention.value_length",
                                    "attention.layer_norm_rms_epsilon",
                                    "rope.dimension_count",
                                    "rope.freq_base",
                                    "rope.scaling.type",
                                    "rope.scaling.factor",
                                    "rope.scaling.original_context_length",
                                    "expert_count",
                                    "expert_used_count",
                                    "vocab_size"};

static hy_status check_keys(const hy_gguf *g) {
    for (int i = 0; i < hy_gguf_keys(g); i++) {
        const char *key = hy_gguf_key(g, i);
        bool found = strncmp(key, "llama.", 6) != 0;
        for (size_t k = 0; !found && k < sizeof known / sizeof *known; k++) found = !strcmp(key + 6, known[k]);
        if (!found)
            return hy_error(HY_EINPUT, "%s: key \"%.100s\" is not known and might change the model", hy_gguf_path(g),
                            key);
    }
    if (hy_gguf_find(g, "rope_freqs.weight"))
        return hy_error(HY_EINPUT,
                        "%s: has frequencies of rotary positions of its own (rope_freqs.weight, as Llama 3.1 and newer "
                        "have), which are not read: take the model's folder with config.json and safetensors",
                        hy_gguf_path(g));
    return HY_OK;
}

static hy_status rope_config(const hy_gguf *g, hy_json *c) {
    const double base = 10000, one = 1;
    double v;
    char type[32];
    HY_TRY(hy_gguf_real(g, "llama.rope.freq_base", 1, 1e12, &base, &v));
    hy_json_set_double(c, "rope_theta", v);
    HY_TRY(hy_gguf_text(g, "llama.rope.scaling.type", "none", type, sizeof type));
    HY_TRY(hy_gguf_real(g, "llama.rope.scaling.factor", 1e-3, 1e6, &one, &v));
    if (!strcmp(type, "none")) return HY_OK;
    if (strcmp(type, "linear"))
        return hy_error(HY_EINPUT, "%s: key \"llama.rope.scaling.type\": \"%s\" is not read (none, linear are)",
                        hy_gguf_path(g), type);
    hy_json *scaling = hy_json_new_object();
    hy_json_set_string(scaling, "rope_type", "linear");
    hy_json_set_double(scaling, "factor", v);
    hy_json_set(c, "rope_scaling", scaling);
    return HY_OK;
}

static hy_status head_config(const hy_gguf *g, int64_t d_model, hy_json *c) {
    int64_t heads, kv, d, d_v, rotary;
    HY_TRY(hy_gguf_int(g, "llama.attention.head_count", 1, HY_CONFIG_MAX_WIDTH, NULL, &heads));
    HY_TRY(hy_gguf_int(g, "llama.attention.head_count_kv", 1, HY_CONFIG_MAX_WIDTH, &heads, &kv));
    const int64_t usual = d_model / heads;
    HY_TRY(hy_gguf_int(g, "llama.attention.key_length", 1, HY_CONFIG_MAX_WIDTH, &usual, &d));
    HY_TRY(hy_gguf_int(g, "llama.attention.value_length", d, d, &d, &d_v));
    HY_TRY(hy_gguf_int(g, "llama.rope.dimension_count", d, d, &d, &rotary));
    if (heads % kv || d < 1)
        return hy_error(HY_EINPUT, "%s: %" PRId64 " heads with %" PRId64 " of keys and values", hy_gguf_path(g), heads,
                        kv);
    hy_json_set_int(c, "num_attention_heads", heads);
    hy_json_set_int(c, "num_key_value_heads", kv);
    hy_json_set_int(c, "head_dim", d);
    return HY_OK;
}

static hy_status llama_config(const hy_gguf *g, hy_json *c) {
    static const struct {
        const char *key, *theirs;
    } plain[] = {{"block_count", "num_hidden_layers"},
                 {"embedding_length", "hidden_size"},
                 {"feed_forward_length", "intermediate_size"},
                 {"context_length", "max_position_embeddings"}};
    const int64_t none = 0;
    int64_t v, d_model = 0;
    double eps;
    char key[64];
    HY_TRY(check_keys(g));
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        snprintf(key, sizeof key, "llama.%s", plain[i].key);
        HY_TRY(hy_gguf_int(g, key, 1, INT32_MAX, NULL, &v));
        hy_json_set_int(c, plain[i].theirs, v);
        if (i == 1) d_model = v;
    }
    HY_TRY(head_config(g, d_model, c));
    HY_TRY(hy_gguf_int(g, "llama.expert_count", 0, 0, &none, &v));
    HY_TRY(hy_gguf_real(g, "llama.attention.layer_norm_rms_epsilon", 0, 1, NULL, &eps));
    hy_json_set_double(c, "rms_norm_eps", eps);
    HY_TRY(rope_config(g, c));
    const hy_gguf_tensor *table = hy_gguf_find(g, "token_embd.weight");
    if (!table || table->ndim != 2)
        return hy_error(HY_EINPUT, "%s: tensor \"token_embd.weight\" is missing or no matrix", hy_gguf_path(g));
    hy_json_set_int(c, "vocab_size", table->shape[0]);
    hy_json_set_bool(c, "tie_word_embeddings", !hy_gguf_find(g, "output.weight"));
    return HY_OK;
}

hy_status hy_import_gguf_config(const hy_gguf *g, hy_json **out) {
    char arch[64];
    *out = NULL;
    HY_TRY(hy_gguf_text(g, "general.architecture", NULL, arch, sizeof arch));
    if (strcmp(arch, "llama"))
        return hy_error(HY_EINPUT, "%s: architecture \"%s\" is not read from GGUF (llama is)", hy_gguf_path(g), arch);
    hy_json *c = hy_json_new_object();
    hy_json_set_string(c, "model_type", "llama");
    const hy_status s = llama_config(g, c);
    if (s)
        hy_json_free(c);
    else
        *out = c;
    return s;
}

// ---------------------------------------------------------------------------------------------------- tensors
static const struct {
    const char *gguf, *theirs;
} names[] = {
    {"attn_norm", "input_layernorm"}, {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},           {"ffn_down", "mlp.down_proj"}};

// heads: of a matrix of queries or keys, else 0. false: no tensor of this architecture.
static bool their_name(const char *name, const hy_layer_spec *l, char out[128], int *heads) {
    int layer, at = 0;
    *heads = 0;
    if (!strcmp(name, "token_embd.weight")) return snprintf(out, 128, "model.embed_tokens.weight") > 0;
    if (!strcmp(name, "output_norm.weight")) return snprintf(out, 128, "model.norm.weight") > 0;
    if (!strcmp(name, "output.weight")) return snprintf(out, 128, "lm_head.weight") > 0;
    if (sscanf(name, "blk.%9d.%n", &layer, &at) != 1 || !at || layer < 0) return false;
    const size_t n = strcspn(name + at, ".");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].gguf) == n && !strncmp(names[i].gguf, name + at, n) && !strcmp(name + at + n, ".weight")) {
            *heads = i == 1 ? l->heads : i == 2 ? l->kv_heads : 0;
            return snprintf(out, 128, "model.layers.%d.%s.weight", layer, names[i].theirs) > 0;
        }
    return false;
}

// The element type that a tensor has here: what is quantised becomes float32.
static hy_st_dtype plain_type(hy_gguf_element type) {
    return type == HY_GGUF_F16 ? HY_ST_F16 : type == HY_GGUF_BF16 ? HY_ST_BF16 : HY_ST_F32;
}

static hy_status header(const hy_gguf *g, const hy_layer_spec *l, hy_buf *out, size_t *bytes) {
    hy_json *o = hy_json_new_object();
    hy_status s = HY_OK;
    *bytes = 0;
    for (int i = 0; !s && i < hy_gguf_count(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_at(g, i);
        const hy_st_dtype dtype = plain_type(t->type);
        char name[128];
        int heads;
        size_t size = 0;
        if (!their_name(t->name, l, name, &heads))
            s = hy_error(HY_EINPUT, "%s: tensor \"%.100s\" is none of a llama model", hy_gguf_path(g), t->name);
        else if (heads && (t->ndim != 2 || t->shape[0] % (2 * heads)))
            s = hy_error(HY_EINPUT, "%s: tensor \"%.100s\" does not fit %d heads", hy_gguf_path(g), t->name, heads);
        else if (hy_json_get(o, name))  // "blk.01." beside "blk.1."
            s = hy_error(HY_EINPUT, "%s: tensor \"%.100s\" is there twice", hy_gguf_path(g), t->name);
        else if (__builtin_mul_overflow(t->n, hy_st_dtype_size(dtype), &size) ||
                 __builtin_add_overflow(*bytes, size, bytes))
            s = hy_error(HY_EINPUT, "%s: is too large", hy_gguf_path(g));
        if (s) break;
        hy_json *entry = hy_json_new_object(), *shape = hy_json_new_array(), *offsets = hy_json_new_array();
        for (int d = 0; d < t->ndim; d++) hy_json_add(shape, hy_json_new_int(t->shape[d]));
        hy_json_add(offsets, hy_json_new_int((int64_t)(*bytes - size)));
        hy_json_add(offsets, hy_json_new_int((int64_t)*bytes));
        hy_json_set_string(entry, "dtype", hy_st_dtype_name(dtype));
        hy_json_set(entry, "shape", shape);
        hy_json_set(entry, "data_offsets", offsets);
        hy_json_set(o, name, entry);
    }
    if (!s) hy_json_text(o, 0, out);
    hy_json_free(o);
    while (!s && (out->n + 8) % 64) hy_buf_write(out, " ", 1);
    return s;
}

// Rows of queries and keys: where rotary positions turn value i of a head with value i + half, ggml has them side by
// side, so that its row 2i + j of a head is row j half + i here.
static void put_rows(const hy_gguf_tensor *t, int heads, char *dst) {
    const size_t rows = t->ndim == 2 ? (size_t)t->shape[0] : 1, width = t->n / rows,
                 of_head = heads ? rows / (size_t)heads : 0, half = of_head / 2;
    const size_t size = hy_st_dtype_size(plain_type(t->type)), row = width * size;
    for (size_t r = 0; r < rows; r++) {
        const size_t in = heads ? r % of_head : 0, to = heads ? r - in + in % 2 * half + in / 2 : r;
        if (size == 2 || t->type == HY_GGUF_F32)
            memcpy(dst + to * row, t->data + r * row, row);
        else
            hy_gguf_read(t, r * width, width, (float *)(void *)(dst + to * row));
    }
}

hy_status hy_import_gguf_weights(const hy_gguf *g, const hy_layer_spec *l, void **memory, hy_shards **out) {
    hy_buf head = {0};
    size_t bytes;
    *out = NULL, *memory = NULL;
    hy_status s = header(g, l, &head, &bytes);
    char *all = s ? NULL : hy_alloc(8 + head.n + bytes);
    if (!s && !all) s = HY_ENOMEM;
    if (!s) {
        const uint64_t n = head.n;
        memcpy(all, &n, sizeof n);
        memcpy(all + 8, head.s, head.n);
        char *at = all + 8 + head.n;
        for (int i = 0; i < hy_gguf_count(g); i++) {
            const hy_gguf_tensor *t = hy_gguf_at(g, i);
            char name[128];
            int heads;
            their_name(t->name, l, name, &heads);
            put_rows(t, heads, at);
            at += t->n * hy_st_dtype_size(plain_type(t->type));
        }
        hy_shards *w = hy_xcalloc(1, sizeof *w);
        w->path = hy_xstrdup(hy_gguf_path(g));
        w->files = hy_xcalloc(1, sizeof *w->files);
        s = hy_st_open_memory(all, 8 + head.n + bytes, hy_gguf_path(g), 0, &w->files[0]);
        w->n = s ? 0 : 1;
        if (s)
            hy_shards_close(w);
        else
            *out = w, *memory = all;
    }
    if (s) free(all);
    free(head.s);
    return s;
}
