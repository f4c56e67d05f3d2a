// tok_config.c - the files beside a tokenizer. tokenizer_config.json and special_tokens_map.json: which tokens are BOS,
// EOS, unknown and padding, and whether the first two are added where the tokenizer file does not say;
// generation_config.json: where generation ends.
#include <stdlib.h>

#include "core/token/tok_impl.h"

#define CONFIG_MAX ((size_t)64 << 20)

// A token by its text: "<s>" or {"content": "<s>"}.
static hy_status role(hy_tokenizer *t, const hy_json *o, const char *path, const char *key, int32_t *id) {
    const hy_json *j = hy_json_get(o, key);
    const char *s = NULL;
    if (!j || hy_json_type_of(j) == HY_JSON_NULL || *id >= 0) return HY_OK;
    if (hy_json_type_of(j) == HY_JSON_OBJECT)
        HY_TRY(hy_json_get_string(j, path, "content", &s));
    else
        HY_TRY(hy_json_get_string(o, path, key, &s));
    *id = hy_tokenizer_id(t, s, strlen(s));
    if (*id < 0) hy_buf_printf(&t->notes, "%s: %s \"%.60s\" is not in the vocabulary\n", path, key, s);
    return HY_OK;
}

static hy_status flag(const hy_json *o, const char *path, const char *key, bool missing, bool *out) {
    const hy_json *j = hy_json_get(o, key);
    *out = missing;
    return j && hy_json_type_of(j) != HY_JSON_NULL ? hy_json_get_bool(o, path, key, out) : HY_OK;
}

// A SentencePiece file has no place for tokens that were added later: they are only told of.
static void note_added(hy_tokenizer *t, const hy_json *o, const char *path) {
    const hy_json *list = hy_json_get(o, "added_tokens_decoder");
    const char *first = NULL, *s;
    int n = 0;
    if (t->type != HY_TOK_SP || !list || hy_json_type_of(list) != HY_JSON_OBJECT) return;
    for (void *it = hy_json_first(list); it; it = hy_json_next(list, it)) {
        const hy_json *token = hy_json_member(it),
                      *content = hy_json_type_of(token) == HY_JSON_OBJECT ? hy_json_get(token, "content") : NULL;
        if (!content || hy_json_string(content, path, &s) || hy_tokenizer_id(t, s, strlen(s)) >= 0) continue;
        if (!n++) first = s;
    }
    if (n)
        hy_buf_printf(&t->notes,
                      "%s: %d added tokens (\"%.60s\"%s) are not in the SentencePiece file: in a text they are plain "
                      "text (a tokenizer.json would have them)\n",
                      path, n, first, n > 1 ? ", ..." : "");
}

// named[4]: the roles that the files name so far; the first file that names one counts.
static hy_status read_one(hy_tokenizer *t, const char *path, bool config, int32_t *named) {
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    hy_json *o;
    HY_TRY(hy_json_read(path, CONFIG_MAX, &o));
    hy_status s = HY_OK;
    if (hy_json_type_of(o) != HY_JSON_OBJECT) s = hy_error(HY_EINPUT, "%s: an object is wanted", path);
    for (int i = 0; i < 4 && !s; i++) s = role(t, o, path, keys[i], &named[i]);
    if (!s && config) {
        note_added(t, o, path);
        // the classes of Llama add BOS unless told otherwise, where only the SentencePiece file is there
        const hy_json *name = hy_json_get(o, "tokenizer_class");
        const char *text = "";
        if (name && hy_json_type_of(name) == HY_JSON_STRING) s = hy_json_string(name, path, &text);
        if (!s) s = flag(o, path, "add_bos_token", t->type == HY_TOK_SP && !strncmp(text, "Llama", 5), &t->add_bos);
        if (!s) s = flag(o, path, "add_eos_token", false, &t->add_eos);
    }
    hy_json_free(o);
    return s;
}

hy_status hy_tok_config_read(hy_tokenizer *t, const char *dir) {
    hy_status s = HY_OK;
    int32_t named[4] = {-1, -1, -1, -1};
    for (int i = 0; i < 2 && !s; i++) {
        char *path = hy_asprintf("%s/%s", dir, i ? "special_tokens_map.json" : "tokenizer_config.json");
        if (hy_file_exists(path)) s = read_one(t, path, i == 0, named);
        free(path);
    }
    if (s) return s;
    hy_text_hide_controls(t->notes.s);
    for (int i = 0; i < 4; i++)  // before what the tokenizer file itself says
        if (named[i] >= 0) t->role[i] = named[i];
    if (t->template_given) t->add_bos = t->add_eos = false;
    if (t->add_bos && t->role[HY_TOKEN_BOS] < 0)
        return hy_error(HY_EINPUT, "%s/tokenizer_config.json: \"add_bos_token\": true, but there is no bos_token", dir);
    if (t->add_eos && t->role[HY_TOKEN_EOS] < 0)
        return hy_error(HY_EINPUT, "%s/tokenizer_config.json: \"add_eos_token\": true, but there is no eos_token", dir);
    return HY_OK;
}

// ----------------------------------------------------------------------------------------------- where generation ends
static hy_status eos_ids(const hy_json *o, const char *path, hy_token_ids *out) {
    const hy_json *j = hy_json_type_of(o) == HY_JSON_OBJECT ? hy_json_get(o, "eos_token_id") : NULL;
    int64_t id;
    if (!j || hy_json_type_of(j) == HY_JSON_NULL) return HY_OK;
    const bool list = hy_json_type_of(j) == HY_JSON_ARRAY;
    char where[512];
    snprintf(where, sizeof where, "%s: \"eos_token_id\"", path);
    for (size_t i = 0; i < (list ? hy_json_size(j) : 1); i++) {
        HY_TRY(hy_json_int(list ? hy_json_at(j, i) : j, where, 0, HY_TOKENIZER_MAX_VOCAB - 1, &id));
        hy_token_ids_add(out, (int32_t)id);
    }
    return HY_OK;
}

hy_status hy_tokenizer_folder_eos(const char *dir, hy_token_ids *out) {
    hy_status s = HY_OK;
    const size_t before = out->n;
    for (int i = 0; i < 2 && !s && out->n == before; i++) {
        char *path = hy_asprintf("%s/%s", dir, i ? "config.json" : "generation_config.json");
        hy_json *o;
        if (hy_file_exists(path) && !(s = hy_json_read(path, CONFIG_MAX, &o))) {
            s = eos_ids(o, path, out);
            hy_json_free(o);
        }
        free(path);
    }
    return s;
}
