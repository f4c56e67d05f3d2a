// tok_gguf.c - the tokenizer inside a GGUF file: its pieces, merges and kind of pattern, written as the tokenizer.json
// that they come from. Byte-level BPE ("gpt2") only.
#include <stdlib.h>

#include "core/format/gguf.h"
#include "core/token/tok_impl.h"

#define KEY "tokenizer.ggml."
enum { CONTROL = 3, USER_DEFINED = 4 };  // types of tokens

// How texts are cut before merging, by the name that ggml has for it. pattern NULL: byte-level BPE's own.
static const struct {
    const char *name, *pattern;
    bool digits, nfc, whole_words, bos;  // single digits; normalised; ignore_merges; BOS unless the file says otherwise
} cuts[] = {
    {"gpt-2", NULL, false, false, false, false},
    {"default", NULL, false, false, false, false},
    {"smollm", NULL, true, false, false, false},
    {"llama-bpe",
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
     "\\s+(?!\\S)|\\s+",
     false, false, true, true},
    {"qwen2",
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
     "\\s+(?!\\S)|\\s+",
     false, true, false, false},
};

static hy_json *typed(const char *type) {
    hy_json *o = hy_json_new_object();
    hy_json_set_string(o, "type", type);
    return o;
}

static hy_json *byte_level(bool pattern) {
    hy_json *o = typed("ByteLevel");
    hy_json_set_bool(o, "add_prefix_space", false);
    hy_json_set_bool(o, "trim_offsets", true);
    hy_json_set_bool(o, "use_regex", pattern);
    return o;
}

static hy_json *pre_tokenizer(size_t cut) {
    hy_json *o = typed("Sequence"), *list = hy_json_new_array();
    if (cuts[cut].digits) {
        hy_json *digits = typed("Digits");
        hy_json_set_bool(digits, "individual_digits", true);
        hy_json_add(list, digits);
    }
    if (cuts[cut].pattern) {
        hy_json *split = typed("Split"), *pattern = hy_json_new_object();
        hy_json_set_string(pattern, "Regex", cuts[cut].pattern);
        hy_json_set(split, "pattern", pattern);
        hy_json_set_string(split, "behavior", "Isolated");
        hy_json_set_bool(split, "invert", false);
        hy_json_add(list, split);
    }
    hy_json_add(list, byte_level(!cuts[cut].pattern));
    hy_json_set(o, "pretokenizers", list);
    return o;
}

// A text of the file as one of C; NULL: it is empty, holds NUL or is not UTF-8.
static char *plain(const char *s, size_t n) {
    if (!n || n > 1 << 20 || memchr(s, 0, n) || hy_utf8_bad(s, n) < n) return NULL;
    return hy_asprintf("%.*s", (int)n, s);
}

static hy_status vocabulary(const hy_gguf *g, hy_json *vocab, hy_json *added) {
    hy_gguf_strings tokens;
    int32_t *type = NULL;
    size_t n_types = 0, n;
    HY_TRY(hy_gguf_string_list(g, KEY "tokens", &tokens));
    if (hy_gguf_has(g, KEY "token_type")) HY_TRY(hy_gguf_int_list(g, KEY "token_type", &type, &n_types));
    hy_status s = HY_OK;
    if (tokens.left > HY_TOKENIZER_MAX_VOCAB || (type && n_types != tokens.left))
        s = hy_error(HY_EINPUT, "%s: %zu tokens, but %zu types of tokens", hy_gguf_path(g), tokens.left, n_types);
    for (int id = 0; !s; id++) {
        const char *at = hy_gguf_string(&tokens, &n);
        if (!at) break;
        char *text = plain(at, n);
        if (!text || hy_json_get(vocab, text)) {
            s = hy_error(HY_EINPUT, "%s: token %d is %s", hy_gguf_path(g), id,
                         text ? "there twice" : "empty or not UTF-8");
        } else {
            hy_json_set_int(vocab, text, id);
            if (type && (type[id] == CONTROL || type[id] == USER_DEFINED)) {
                hy_json *a = hy_json_new_object();
                hy_json_set_int(a, "id", id);
                hy_json_set_string(a, "content", text);
                hy_json_set_bool(a, "special", type[id] == CONTROL);
                hy_json_set_bool(a, "normalized", false);
                hy_json_add(added, a);
            }
        }
        free(text);
    }
    free(type);
    return s;
}

static hy_status merges_of(const hy_gguf *g, hy_json *list) {
    hy_gguf_strings merges;
    size_t n;
    HY_TRY(hy_gguf_string_list(g, KEY "merges", &merges));
    for (int i = 0;; i++) {
        const char *at = hy_gguf_string(&merges, &n);
        if (!at) return HY_OK;
        char *text = plain(at, n);
        if (!text) return hy_error(HY_EINPUT, "%s: merge %d is empty or not UTF-8", hy_gguf_path(g), i);
        hy_json_add(list, hy_json_new_string(text));
        free(text);
    }
}

static hy_status describe(const hy_gguf *g, size_t cut, hy_json *root) {
    hy_json *model = typed("BPE"), *vocab = hy_json_new_object(), *merges = hy_json_new_array(),
            *added = hy_json_new_array();
    hy_json_set(root, "added_tokens", added);
    if (cuts[cut].nfc) hy_json_set(root, "normalizer", typed("NFC"));
    hy_json_set(root, "pre_tokenizer", pre_tokenizer(cut));
    hy_json_set(root, "decoder", byte_level(true));
    hy_json_set(model, "vocab", vocab);
    hy_json_set(model, "merges", merges);
    hy_json_set_bool(model, "ignore_merges", cuts[cut].whole_words);
    hy_json_set(root, "model", model);
    HY_TRY(vocabulary(g, vocab, added));
    return merges_of(g, merges);
}

static hy_status find_cut(const hy_gguf *g, size_t *cut) {
    char model[64], pre[64];
    HY_TRY(hy_gguf_text(g, KEY "model", NULL, model, sizeof model));
    HY_TRY(hy_gguf_text(g, KEY "pre", "default", pre, sizeof pre));
    if (strcmp(model, "gpt2"))
        return hy_error(HY_EINPUT, "%s: tokenizer \"%s\" is not read from GGUF (gpt2, byte-level BPE, is)",
                        hy_gguf_path(g), model);
    for (*cut = 0; *cut < sizeof cuts / sizeof *cuts; ++*cut)
        if (!strcmp(cuts[*cut].name, pre)) return HY_OK;
    return hy_error(HY_EINPUT,
                    "%s: key \"" KEY "pre\": \"%s\" is not read (gpt-2, default, smollm, llama-bpe, qwen2 are)",
                    hy_gguf_path(g), pre);
}

hy_status hy_tok_gguf_text(const hy_gguf *g, hy_buf *out) {
    size_t cut;
    HY_TRY(find_cut(g, &cut));
    hy_json *root = hy_json_new_object();
    const hy_status s = describe(g, cut, root);
    if (!s) hy_json_text(root, 0, out);
    hy_json_free(root);
    return s;
}

hy_status hy_tok_gguf_roles(const hy_gguf *g, hy_tokenizer *t) {
    static const char *const keys[] = {KEY "bos_token_id", KEY "eos_token_id", KEY "unknown_token_id",
                                       KEY "padding_token_id"};  // in the order of hy_token_role
    const int64_t none = -1;
    int64_t id;
    size_t cut;
    HY_TRY(find_cut(g, &cut));
    for (int i = 0; i < 4; i++) {
        HY_TRY(hy_gguf_int(g, keys[i], 0, t->size - 1, &none, &id));
        t->role[i] = (int32_t)id;
    }
    HY_TRY(hy_gguf_bool(g, KEY "add_bos_token", cuts[cut].bos, &t->add_bos));
    HY_TRY(hy_gguf_bool(g, KEY "add_eos_token", false, &t->add_eos));
    if ((t->add_bos && t->role[HY_TOKEN_BOS] < 0) || (t->add_eos && t->role[HY_TOKEN_EOS] < 0))
        return hy_error(HY_EINPUT, "%s: BOS or EOS is to be added, but the file names none", hy_gguf_path(g));
    return HY_OK;
}
