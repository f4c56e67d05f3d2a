// test_gguf.c - GGUF files: every element type against a plain restatement of its blocks, a model against the same one
// as a folder, the tokenizer inside, and files that lie.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/family/model_file.h"
#include "core/format/gguf.h"
#include "core/token/tokenizer.h"

#define OK(x)                                                                                 \
    do {                                                                                      \
        if ((x) != HY_OK) fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #x, hy_error_text()); \
    } while (0)

// ---------------------------------------------------------------------------------------------------- writing
typedef struct {
    hy_buf keys, infos, data;
    uint64_t n_keys, n_infos;
} file;
enum { U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 };

static void put(hy_buf *b, const void *p, size_t n) { hy_buf_write(b, p, n); }
static void u32(hy_buf *b, uint32_t x) { put(b, &x, 4); }
static void u64(hy_buf *b, uint64_t x) { put(b, &x, 8); }
static void text(hy_buf *b, const char *s) { u64(b, strlen(s)), put(b, s, strlen(s)); }
static void key(file *f, const char *name, uint32_t type) { text(&f->keys, name), u32(&f->keys, type), f->n_keys++; }
static void key_int(file *f, const char *name, uint32_t v) { key(f, name, U32), u32(&f->keys, v); }
static void key_real(file *f, const char *name, float v) { key(f, name, F32), put(&f->keys, &v, 4); }
static void key_text(file *f, const char *name, const char *v) { key(f, name, STRING), text(&f->keys, v); }
static void key_list(file *f, const char *name, uint32_t of, uint64_t n) {
    key(f, name, ARRAY), u32(&f->keys, of), u64(&f->keys, n);
}
// columns: of a row, which the file has first; rows 0: a vector.
static void tensor(file *f, const char *name, uint64_t rows, uint64_t columns, uint32_t type, const void *data,
                   size_t bytes) {
    while (f->data.n % 32) put(&f->data, "", 1);
    text(&f->infos, name), u32(&f->infos, rows ? 2 : 1), u64(&f->infos, columns);
    if (rows) u64(&f->infos, rows);
    u32(&f->infos, type), u64(&f->infos, f->data.n);
    put(&f->data, data, bytes);
    f->n_infos++;
}
static hy_buf whole(file *f) {
    hy_buf b = {0};
    put(&b, "GGUF\3\0\0", 8), u64(&b, f->n_infos), u64(&b, f->n_keys);
    if (f->keys.n) put(&b, f->keys.s, f->keys.n);
    if (f->infos.n) put(&b, f->infos.s, f->infos.n);
    while (b.n % 32) put(&b, "", 1);
    if (f->data.n) put(&b, f->data.s, f->data.n);
    free(f->keys.s), free(f->infos.s), free(f->data.s);
    return b;
}
static void save(const hy_buf *b, const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->s, 1, b->n, f), b->n);
    assert_int_equal(fclose(f), 0);
}

// ---------------------------------------------------------------------------------------------------- blocks
static float half(const uint8_t *b) { return hy_f32_from_f16((uint16_t)(b[0] | b[1] << 8)); }
static int bits(const uint8_t *b, int at, int n) { return b[at / 8] >> at % 8 & ((1 << n) - 1); }

// Element i of a block, by where its bits lie.
static float element(int type, const uint8_t *b, int i) {
    const int nibble = 8 * (i % 16) + i / 16 * 4;
    switch (type) {
        case HY_GGUF_Q4_0: return half(b) * (float)(bits(b + 2, nibble, 4) - 8);
        case HY_GGUF_Q4_1: return half(b) * (float)bits(b + 4, nibble, 4) + half(b + 2);
        case HY_GGUF_Q8_0: return half(b) * (float)(int8_t)b[2 + i];
        case HY_GGUF_Q6_K: {
            const int in = i % 128, low = bits(b + i / 128 * 64, 8 * (in % 64) + in / 64 * 4, 4),
                      high = bits(b + 128 + i / 128 * 32, 8 * (in % 32) + in / 32 * 2, 2);
            return half(b + 208) * (float)((int8_t)b[192 + i / 16] * (low + 16 * high - 32));
        }
        case HY_GGUF_F16: return half(b);
        case HY_GGUF_BF16: return hy_f32_from_bf16((uint16_t)(b[0] | b[1] << 8));
        default: {
            float x;
            memcpy(&x, b, 4);
            return x;
        }
    }
}

static void blocks(void **state) {
    (void)state;
    static const struct {
        int type, block, bytes;
    } t[] = {
#define X(name, number, block, bytes) {number, block, bytes},
        HY_GGUF_ELEMENTS(X)
#undef X
    };
    enum { ROWS = 3, COLUMNS = 512 };
    hy_rng rng = hy_rng_make(7, 1);
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        const size_t n = ROWS * COLUMNS, bytes = n / (size_t)t[k].block * (size_t)t[k].bytes;
        uint8_t *data = malloc(bytes);
        for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)hy_rng_below(&rng, 256);
        for (size_t i = 1; i < bytes; i += 2) data[i] &= 0xbb;  // no NaN or infinity in any reading of it
        file f = {0};
        tensor(&f, "before", 0, 3, HY_GGUF_F32, "0123456789a", 12);
        tensor(&f, "x", ROWS, COLUMNS, (uint32_t)t[k].type, data, bytes);
        hy_buf b = whole(&f);
        hy_gguf *g;
        OK(hy_gguf_open_memory(b.s, b.n, "made", &g));
        const hy_gguf_tensor *x = hy_gguf_find(g, "x");
        assert_true(x && x->n == n && x->ndim == 2 && x->shape[0] == ROWS && x->shape[1] == COLUMNS);
        float *got = malloc(n * sizeof *got);
        hy_gguf_read(x, 0, n, got);
        for (size_t i = 0; i < n; i++) {
            const float want =
                element(t[k].type, data + i / (size_t)t[k].block * (size_t)t[k].bytes, (int)(i % (size_t)t[k].block));
            if (memcmp(&got[i], &want, 4)) fail_msg("type %d, element %zu: %g, not %g", t[k].type, i, got[i], want);
        }
        hy_gguf_read(x, COLUMNS, COLUMNS, got);  // a part
        const float want = element(t[k].type, data + bytes / ROWS, 0);
        assert_memory_equal(got, &want, 4);
        hy_gguf_close(g);
        free(got), free(data), free(b.s);
    }
}

// ---------------------------------------------------------------------------------------------------- a model
// A golden folder as a GGUF file: queries and keys by row 2i + j of a head = row j half + i of the folder's.
static hy_buf as_gguf(const hy_import *im, const char *extra) {
    static const char *const parts[][2] = {
        {"attn_norm", "input_layernorm"},     {"attn_q", "self_attn.q_proj"},
        {"attn_k", "self_attn.k_proj"},       {"attn_v", "self_attn.v_proj"},
        {"attn_output", "self_attn.o_proj"},  {"ffn_norm", "post_attention_layernorm"},
        {"ffn_gate", "mlp.gate_proj"},        {"ffn_up", "mlp.up_proj"},
        {"ffn_down", "mlp.down_proj"},        {"token_embd", "model.embed_tokens.weight"},
        {"output_norm", "model.norm.weight"}, {"output", "lm_head.weight"}};
    const hy_model_spec *m = &im->spec;
    const hy_layer_spec *l = &m->layers[0];
    file f = {0};
    key_text(&f, "general.architecture", "llama");
    key_int(&f, "llama.block_count", (uint32_t)m->n_layers), key_int(&f, "llama.context_length", (uint32_t)m->max_len);
    key_int(&f, "llama.embedding_length", (uint32_t)m->d_model);
    key_int(&f, "llama.feed_forward_length", (uint32_t)l->d_ff);
    key_int(&f, "llama.attention.head_count", (uint32_t)l->heads);
    key_int(&f, "llama.attention.head_count_kv", (uint32_t)l->kv_heads);
    key_int(&f, "llama.attention.key_length", (uint32_t)l->d_qk);
    key_real(&f, "llama.rope.freq_base", (float)m->rope_base);
    key_real(&f, "llama.attention.layer_norm_rms_epsilon", (float)m->norm_eps);
    if (extra) key_int(&f, extra, 1);
    for (int layer = 0; layer < m->n_layers; layer++)
        for (int p = 0; p < 12; p++) {
            char theirs[128], ours[128];
            if (p >= 9 && layer) continue;
            if (p < 9) {
                snprintf(theirs, sizeof theirs, "model.layers.%d.%s.weight", layer, parts[p][1]);
                snprintf(ours, sizeof ours, "blk.%d.%s.weight", layer, parts[p][0]);
            } else {
                snprintf(theirs, sizeof theirs, "%s", parts[p][1]);
                snprintf(ours, sizeof ours, "%s.weight", parts[p][0]);
            }
            const hy_st_tensor *t = hy_shards_find(im->weights, theirs);
            if ((!t || m->tied) && p == 11) continue;
            assert_non_null(t);
            const size_t rows = t->ndim == 2 ? (size_t)t->shape[0] : 1, width = t->n / rows, d = (size_t)l->d_qk;
            float *x = malloc(t->n * 4), *y = malloc(t->n * 4);
            hy_st_read_f32(t, 0, t->n, x);
            for (size_t r = 0; r < rows; r++) {
                const size_t to = p == 1 || p == 2 ? r / d * d + 2 * (r % d % (d / 2)) + r % d / (d / 2) : r;
                memcpy(y + to * width, x + r * width, width * 4);
            }
            tensor(&f, ours, t->ndim == 2 ? rows : 0, width, HY_GGUF_F32, y, t->n * 4);
            free(x), free(y);
        }
    return whole(&f);
}

static void model(void **state) {
    (void)state;
    static const char *const golden = "tests/golden/llama3-tiny";  // its rope is not carried over
    hy_import *im;
    hy_backend be;
    hy_model a, b;
    char path[64], hash[2][33];
    OK(hy_backend_cpu("base", 1, &be));
    OK(hy_import_open(golden, &im));
    snprintf(path, sizeof path, "/tmp/hylab_test_gguf.%ld.gguf", (long)getpid());
    hy_buf bytes = as_gguf(im, NULL);
    save(&bytes, path);
    OK(hy_model_open(golden, NULL, &be, HY_WEIGHTS_F32, HY_PRECISION_F32, 0, &a));
    OK(hy_model_open(path, NULL, &be, HY_WEIGHTS_F32, HY_PRECISION_F32, 0, &b));
    const hy_model_spec *want = &a.p->spec, *got = &b.p->spec;
    assert_true(got->rope == HY_ROPE_DEFAULT && got->rope_base == want->rope_base && got->norm_eps == want->norm_eps);
    assert_true(got->max_len == want->max_len && got->tied == want->tied && got->n_layers == want->n_layers);
    for (int i = 0; i < want->n_layers; i++)
        assert_memory_equal(&got->layers[i], &want->layers[i], sizeof want->layers[i]);
    assert_int_equal(a.p->param_elems, b.p->param_elems);
    for (int i = 0; i < a.p->n_params; i++)
        assert_memory_equal(hy_params_ptr(a.w, i, false), hy_params_ptr(b.w, i, false), a.p->params[i].n * 4);
    OK(hy_model_source_hash(path, hash[0]));
    OK(hy_hash_file(path, hash[1]));
    assert_string_equal(hash[0], hash[1]);
    hy_model_close(&a), hy_model_close(&b);
    free(bytes.s);
    bytes = as_gguf(im, "llama.attention.sliding_window");  // a key that would change the model
    save(&bytes, path);
    hy_model_spec *spec = malloc(sizeof *spec);
    assert_int_equal(hy_model_read_spec(path, NULL, spec), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "\"llama.attention.sliding_window\" is not known"));
    unlink(path);
    free(spec), free(bytes.s);
    hy_import_close(im);
}

// ---------------------------------------------------------------------------------------------------- the tokenizer
static void tokenizer(void **state) {
    (void)state;
    static const char *const tokens[] = {"<s>",
                                         "a",
                                         "b",
                                         "1",
                                         "ab",
                                         "\xc4\xa0",
                                         "\xc4\xa0"
                                         "ab"};
    static const char *const merges[] = {"a b", "\xc4\xa0 ab"};
    char path[64];
    file f = {0};
    key_text(&f, "tokenizer.ggml.model", "gpt2"), key_text(&f, "tokenizer.ggml.pre", "smollm");
    key_list(&f, "tokenizer.ggml.tokens", STRING, 7);
    for (int i = 0; i < 7; i++) text(&f.keys, tokens[i]);
    key_list(&f, "tokenizer.ggml.token_type", I32, 7);
    for (int i = 0; i < 7; i++) u32(&f.keys, i ? 1 : 3);
    key_list(&f, "tokenizer.ggml.merges", STRING, 2);
    for (int i = 0; i < 2; i++) text(&f.keys, merges[i]);
    key_int(&f, "tokenizer.ggml.bos_token_id", 0);
    key(&f, "tokenizer.ggml.add_bos_token", BOOL), put(&f.keys, "\1", 1);
    hy_buf b = whole(&f);
    snprintf(path, sizeof path, "/tmp/hylab_test_tok.%ld.gguf", (long)getpid());
    save(&b, path);
    hy_tokenizer *t;
    OK(hy_tokenizer_open(path, &t));
    static const int32_t want[] = {0, 4, 6, 3, 3, 0, 1};
    hy_token_ids ids = {0};
    OK(hy_tokenizer_encode(t, "ab ab11<s>a", 11, true, &ids));
    assert_int_equal(ids.n, 7);
    assert_memory_equal(ids.v, want, sizeof want);
    assert_true(hy_tokenizer_special(t, HY_TOKEN_BOS) == 0 && hy_tokenizer_special(t, HY_TOKEN_EOS) == -1);
    assert_true(hy_tokenizer_is_special(t, 0) && !hy_tokenizer_is_special(t, 1));
    hy_tokenizer_close(t);
    unlink(path);
    free(ids.v), free(b.s);
}

// ---------------------------------------------------------------------------------------------------- what lies
static void refused(hy_buf b, const char *words) {
    hy_gguf *g;
    char *copy = malloc(b.n);  // of the exact size, for the sanitizer
    memcpy(copy, b.s, b.n);
    if (hy_gguf_open_memory(copy, b.n, "made", &g) != HY_EINPUT) fail_msg("accepted, not \"%s\"", words);
    if (!strstr(hy_error_text(), words)) fail_msg("no \"%s\" in: %s", words, hy_error_text());
    assert_null(g);
    free(copy);
}

static hy_buf small(void) {
    file f = {0};
    key_list(&f, "l", STRING, 2), text(&f.keys, "one"), text(&f.keys, "two");
    key_int(&f, "k", 9);
    tensor(&f, "x", 2, 32, HY_GGUF_Q8_0, (uint8_t[68]){0}, 68);
    return whole(&f);
}

static void lies(void **state) {
    (void)state;
    hy_buf b = small();
    hy_gguf *g;
    OK(hy_gguf_open_memory(b.s, b.n, "made", &g));
    hy_gguf_close(g);
    for (size_t n = 0; n < b.n; n++) refused((hy_buf){.s = b.s, .n = n}, n < 4 ? "first bytes" : "made: ");
    // each number of the head and of the tensor's entry, one at a time
    const size_t list = 24 + 8 + 1 + 4, keys = list + 4 + 8 + 2 * (8 + 3) + 8 + 1 + 4 + 4, info = keys + 8 + 1;
    const struct {
        size_t at, bytes;
        uint64_t value;
        const char *words;
    } changes[] = {{0, 4, 0x46554748, "is not a GGUF file"},
                   {4, 4, 1, "version 1"},
                   {8, 8, UINT64_MAX, "tensors, more than"},
                   {8, 8, 1000, "tensors, more than"},
                   {16, 8, UINT64_MAX / 8, "keys, more than"},
                   {16, 8, 1000, "keys, more than"},
                   {list + 4, 8, 1000, "more than the file has room for"},
                   {24, 8, 1 << 20, "name of a key of"},
                   {24 + 8 + 1, 4, 99, "type 99 is not known"},
                   {list, 4, ARRAY, "list of lists"},
                   {list + 4, 8, UINT64_MAX / 2, "more than the file has room for"},
                   {list + 12, 8, UINT64_MAX - 3, "ends within l"},
                   {info, 4, 5, "5 dimensions"},
                   {info, 4, 0, "0 dimensions"},
                   {info + 4, 8, 0, "bad shape"},
                   {info + 4, 8, 31, "no whole blocks"},
                   {info + 12, 8, UINT64_MAX / 16, "bad shape"},
                   {info + 12, 8, 64, "are not inside"},
                   {info + 20, 4, 12, "element type 12"},
                   {info + 24, 8, 1, "no multiple of 32"},
                   {info + 24, 8, UINT64_MAX - 31, "are not inside"}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        hy_buf c = small();
        memcpy(c.s + changes[i].at, &changes[i].value, changes[i].bytes);
        refused(c, changes[i].words);
        free(c.s);
    }
    file f = {0};
    key_int(&f, "k", 1), key_int(&f, "k", 2);
    hy_buf twice = whole(&f);
    refused(twice, "\"k\" is there twice");
    f = (file){0};
    tensor(&f, "x", 0, 2, HY_GGUF_F32, "12345678", 8), tensor(&f, "x", 0, 2, HY_GGUF_F32, "12345678", 8);
    hy_buf same = whole(&f);
    refused(same, "\"x\" is there twice");
    free(b.s), free(twice.s), free(same.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks), cmocka_unit_test(model), cmocka_unit_test(tokenizer),
                                       cmocka_unit_test(lies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
