// tokenizer.c - see tokenizer.h: opening, pieces and ids, encoding by kind. Reading a tokenizer.json is in tok_json.c
// and tok_steps.c.
#include "core/token/tokenizer.h"

#include <stdlib.h>

#include "core/token/tok_impl.h"

#define FILE_MAX ((size_t)256 << 20)

// ---------------------------------------------------------------------------------------------------- opening
static hy_status open_json(hy_tokenizer *t, const char *data, size_t n) {
    hy_json *root;
    HY_TRY(hy_json_parse(data, n, t->path, 0, &root));
    t->type = HY_TOK_JSON;
    hy_status s = hy_tok_json_read(t, root);
    hy_json_free(root);
    return s;
}

static hy_status open_sp(hy_tokenizer *t, const char *data, size_t n) {
    char error[256];
    t->type = HY_TOK_SP;
    HY_TRY(hy_sp_check(data, n, t->path));
    if (!(t->sp = hy_sp_open(data, n, error, sizeof error)))
        return hy_error(HY_EINPUT, "%s: not a SentencePiece model: %s", t->path, error);
    for (int i = 0; i < hy_sp_size(t->sp); i++) {
        size_t len;
        const char *piece = hy_sp_piece(t->sp, i, &len);
        if (hy_utf8_bad(piece, len) < len) return hy_error(HY_EINPUT, "%s: piece %d is not UTF-8", t->path, i);
    }
    for (int i = 0; i < 4; i++) t->role[i] = hy_sp_role(t->sp, i);
    return HY_OK;
}

static hy_tokenizer *tokenizer_new(const char *path) {
    hy_tokenizer *t = hy_xcalloc(1, sizeof *t);
    t->path = hy_xstrdup(path);
    for (int i = 0; i < 4; i++) t->role[i] = -1;
    hy_buf_write(&t->notes, "", 0);
    return t;
}

hy_status hy_tokenizer_open_memory(const char *data, size_t n, bool json, const char *name, hy_tokenizer **out) {
    hy_tokenizer *t = tokenizer_new(name);
    *out = NULL;
    hy_hash_hex(data, n, t->hash);
    hy_status s = json ? open_json(t, data, n) : open_sp(t, data, n);
    if (s)
        hy_tokenizer_close(t);
    else
        *out = t;
    return s;
}

static hy_status open_gguf(const hy_gguf *g, hy_tokenizer **out) {
    hy_buf text = {0};
    hy_status s = hy_tok_gguf_text(g, &text);
    if (!s) s = hy_tokenizer_open_memory(text.s, text.n, true, hy_gguf_path(g), out);
    free(text.s);
    if (s) return s;
    s = hy_tok_gguf_roles(g, *out);
    if (s) {
        hy_tokenizer_close(*out);
        *out = NULL;
    }
    return s;
}

static hy_status open_file(const char *path, hy_tokenizer **out) {
    const size_t len = strlen(path);
    char *data;
    size_t n;
    if (hy_is_gguf(path)) {
        hy_gguf *g;
        HY_TRY(hy_gguf_open(path, &g));
        const hy_status s = open_gguf(g, out);
        hy_gguf_close(g);
        return s;
    }
    HY_TRY(hy_file_read(path, FILE_MAX, &data, &n));
    const hy_status s = hy_tokenizer_open_memory(data, n, len >= 5 && !strcmp(path + len - 5, ".json"), path, out);
    free(data);
    return s;
}

static hy_status open_folder(const char *path, hy_tokenizer **out) {
    char *json = hy_asprintf("%s/tokenizer.json", path), *model = hy_asprintf("%s/tokenizer.model", path);
    hy_status s;
    if (hy_file_exists(json))
        s = open_file(json, out);
    else if (hy_file_exists(model))
        s = open_file(model, out);
    else
        s = hy_error(HY_EINPUT, "%s: has neither tokenizer.json nor tokenizer.model", path);
    free(json);
    free(model);
    if (s) return s;
    s = hy_tok_config_read(*out, path);
    if (s) {
        hy_tokenizer_close(*out);
        *out = NULL;
    }
    return s;
}

hy_status hy_tokenizer_open(const char *path, hy_tokenizer **out) {
    *out = NULL;
    if (strcmp(path, "bytes")) return hy_is_folder(path) ? open_folder(path, out) : open_file(path, out);
    hy_tokenizer *t = tokenizer_new("bytes");
    t->type = HY_TOK_BYTES;
    hy_vocab_init(&t->vocab, 256, 256);
    for (int i = 0; i < 256; i++) {  // shown as byte-level BPE writes them
        char c[4];
        HY_ASSERT(hy_vocab_add(&t->vocab, c, (size_t)hy_utf8_put(hy_byte_char((uint8_t)i), c), i));
    }
    t->size = 256;
    hy_hash_hex("bytes", 5, t->hash);
    *out = t;
    return HY_OK;
}

void hy_tokenizer_close(hy_tokenizer *t) {
    if (!t) return;
    hy_sp_close(t->sp);
    hy_bpe_free(t->bpe);
    hy_vocab_free(&t->vocab);
    hy_vocab_free(&t->extra);
    hy_tok_steps_free(&t->normalizer);
    hy_tok_steps_free(&t->pre);
    hy_tok_steps_free(&t->decoder);
    hy_added_trie_free(t->plain);
    hy_added_trie_free(t->normalized);
    for (int i = 0; i < t->n_added; i++) free(t->added[i].content);
    for (int i = 0; i < 2; i++) {
        free(t->parts[i].v);
        free(t->spans[i].v);
        free(t->spans[i].text.s);
    }
    free(t->added);
    free(t->special);
    free(t->before.v);
    free(t->after.v);
    free(t->norm.s);
    free(t->unk);
    free(t->prefix);
    free(t->suffix);
    free(t->notes.s);
    free(t->path);
    free(t);
}

void hy_tokenizer_libraries(char out[160]) {
    char regex[64], norm[64];
    hy_regex_library(regex);
    hy_normalize_library(norm);
    snprintf(out, 160, "%s, %s", regex, norm);
}

// ---------------------------------------------------------------------------------------------------- encoding
static void write_ids(void *user, const char *data, size_t n) {
    int32_t id;
    for (size_t i = 0; i + sizeof id <= n; i += sizeof id) {
        memcpy(&id, data + i, sizeof id);
        hy_token_ids_add(user, id);
    }
}

static hy_status sp_encode(hy_tokenizer *t, const char *text, size_t n, hy_token_ids *out) {
    char error[256];
    if (!hy_sp_encode(t->sp, text, n, write_ids, out, error, sizeof error)) return HY_OK;
    return hy_error(HY_EFAIL, "%s: %s", t->path, error);
}

hy_status hy_tokenizer_encode(hy_tokenizer *t, const char *text, size_t n, bool special, hy_token_ids *out) {
    if (n > HY_TOKENIZER_MAX_TEXT)
        return hy_error(HY_EINPUT, "a text of %zu bytes is more than %zu", n, HY_TOKENIZER_MAX_TEXT);
    if (t->type == HY_TOK_BYTES) {
        for (size_t i = 0; i < n; i++) hy_token_ids_add(out, (uint8_t)text[i]);
        return HY_OK;
    }
    const size_t bad = hy_utf8_bad(text, n);
    if (bad < n)
        return hy_error(HY_EINPUT,
                        "the text is not UTF-8: byte 0x%02X at offset %zu (tokenizer \"bytes\" takes any bytes)",
                        (uint8_t)text[bad], bad);
    if (special && t->add_bos) hy_token_ids_add(out, t->role[HY_TOKEN_BOS]);
    for (size_t i = 0; special && i < t->before.n; i++) hy_token_ids_add(out, t->before.v[i]);
    HY_TRY(t->type == HY_TOK_SP ? sp_encode(t, text, n, out) : hy_tok_json_encode(t, text, n, out));
    for (size_t i = 0; special && i < t->after.n; i++) hy_token_ids_add(out, t->after.v[i]);
    if (special && t->add_eos) hy_token_ids_add(out, t->role[HY_TOKEN_EOS]);
    return HY_OK;
}
