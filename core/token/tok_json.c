// tok_json.c - a tokenizer.json as a tokenizer: added tokens, post-processor; and encoding with it. Its model:
// tok_model.c. The ids are those of the `tokenizers` package: added tokens that are no pieces of the model are numbered
// from the number of its pieces on, in file order.
#include <stdlib.h>

#include "core/token/tok_impl.h"

#define ADDED_MAX (1 << 16)
#define ADDED_BYTES 1024  // longest added token: finding them costs at most so many steps a byte
#define ADDED_TOTAL (4 << 20)

// ---------------------------------------------------------------------------------------------------- added tokens
static hy_status read_added(const hy_json *j, const char *path, hy_added *a, int64_t *id) {
    const char *content;
    HY_TRY(hy_json_get_string(j, path, "content", &content));
    HY_TRY(hy_json_get_int(j, path, "id", 0, HY_TOKENIZER_MAX_VOCAB - 1, id));
    if (!*content || strlen(content) > ADDED_BYTES)
        return hy_error(HY_EINPUT, "%s: \"content\": has %zu bytes; 1 to %d are wanted", path, strlen(content),
                        ADDED_BYTES);
    const struct {
        const char *key;
        bool *dst, missing;
    } flags[] = {{"single_word", &a->single_word, false},
                 {"lstrip", &a->lstrip, false},
                 {"rstrip", &a->rstrip, false},
                 {"special", &a->special, false},
                 {"normalized", &a->normalized, false}};
    for (int i = 0; i < 5; i++) {
        *flags[i].dst = flags[i].missing;
        if (i == 4) *flags[i].dst = !a->special;
        if (hy_json_given(hy_json_get(j, flags[i].key))) HY_TRY(hy_json_get_bool(j, path, flags[i].key, flags[i].dst));
    }
    a->content = hy_xstrdup(content);
    return HY_OK;
}

// The id that the reference gives: the model's, or the next one from the number of its pieces on, whatever the file
// says. Where the ids of the vocabulary have holes, that may be a piece's id too: decoding then writes the
// token.
static hy_status place_added(hy_tokenizer *t, hy_added *a, int64_t id, int32_t *next, const char *path) {
    const size_t n = strlen(a->content);
    a->id = hy_vocab_find(&t->vocab, a->content, n);
    const bool model = a->id >= 0;
    if (!model) a->id = *next;
    if (a->id != id)
        hy_buf_printf(&t->notes,
                      "%s: \"%.100s\" has id %d, by %s, and not %lld as the file says (as in the reference)\n", path,
                      a->content, (int)a->id, model ? "the vocabulary" : "its place in the file", (long long)id);
    if (!model) {
        hy_vocab_grow(&t->extra, a->id + 1);
        if (!hy_vocab_add(&t->extra, a->content, n, a->id))
            return hy_error(HY_EINPUT, "%s: \"%.100s\" is there twice", path, a->content);
        *next = a->id + 1;
    }
    return HY_OK;
}

static hy_status read_added_list(hy_tokenizer *t, const hy_json *root) {
    const hy_json *list = hy_json_get(root, "added_tokens");
    if (!hy_json_given(list)) return HY_OK;
    HY_TRY(hy_json_get_array(root, t->path, "added_tokens", &list));
    const size_t n = hy_json_size(list);
    if (n > ADDED_MAX)
        return hy_error(HY_EINPUT, "%s: added_tokens: has %zu tokens; at most %d are supported", t->path, n, ADDED_MAX);
    t->added = hy_xcalloc(n, sizeof *t->added);
    hy_vocab_init(&t->extra, n, 0);
    int32_t next = t->vocab.n;
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        char path[512];
        int64_t id;
        snprintf(path, sizeof path, "%s: added_tokens[%zu]", t->path, i);
        hy_added *a = &t->added[t->n_added];
        if (hy_json_type_of(hy_json_at(list, i)) != HY_JSON_OBJECT)
            return hy_error(HY_EINPUT, "%s: an object is wanted here", path);
        t->n_added++;
        HY_TRY(read_added(hy_json_at(list, i), path, a, &id));
        HY_TRY(place_added(t, a, id, &next, path));
        total += strlen(a->content);
        if (total > ADDED_TOTAL)
            return hy_error(HY_EINPUT, "%s: the tokens up to here have %zu bytes; at most %d are supported", path,
                            total, ADDED_TOTAL);
    }
    return HY_OK;
}

// Tokens that are looked for in the text as it is, and those that are looked for, normalised, in the normalised text.
static hy_status added_tries(hy_tokenizer *t) {
    char **plain = hy_xcalloc((size_t)t->n_added, sizeof *plain),
         **normal = hy_xcalloc((size_t)t->n_added, sizeof *normal);
    hy_status s = HY_OK;
    for (int i = 0; i < t->n_added && !s; i++) {
        hy_added *a = &t->added[i];
        t->special[a->id] |= a->special;
        if (!a->normalized) {
            plain[i] = a->content;
            continue;
        }
        hy_buf b = {0};
        s = hy_normalize(&t->normalizer, a->content, strlen(a->content), &b);
        normal[i] = b.s;
    }
    if (!s && t->n_added) {
        t->plain = hy_added_trie_new(t->added, plain, t->n_added);
        t->normalized = hy_added_trie_new(t->added, normal, t->n_added);
    }
    for (int i = 0; i < t->n_added; i++) free(normal[i]);
    free(normal);
    free(plain);
    return s;
}

// ---------------------------------------------------------------------------------------------------- post-processors
static hy_status special_ids(const hy_tokenizer *t, const hy_json *o, const char *where, const char *token,
                             hy_token_ids *out) {
    const hy_json *table, *entry, *ids;
    char path[640];
    HY_TRY(hy_json_get_object(o, where, "special_tokens", &table));
    snprintf(path, sizeof path, "%s.special_tokens", where);
    HY_TRY(hy_json_get_object(table, path, token, &entry));
    HY_TRY(hy_json_get_array(entry, path, "ids", &ids));
    for (size_t i = 0; i < hy_json_size(ids); i++) {
        int64_t id;
        HY_TRY(hy_json_int(hy_json_at(ids, i), path, 0, t->size - 1, &id));
        if (!hy_tokenizer_piece(t, (int32_t)id, NULL))
            return hy_error(HY_EINPUT, "%s: \"%.100s\": there is no token %d", path, token, (int)id);
        hy_token_ids_add(out, (int32_t)id);
    }
    return HY_OK;
}

static hy_status read_template(const hy_json *o, const char *where, const hy_tokenizer *t, hy_token_ids *before,
                               hy_token_ids *after) {
    const hy_json *single;
    HY_TRY(hy_json_get_array(o, where, "single", &single));
    int texts = 0;
    for (size_t i = 0; i < hy_json_size(single); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s.single[%zu]", where, i);
        const hy_json *item = hy_json_at(single, i),
                      *token = hy_json_type_of(item) == HY_JSON_OBJECT ? hy_json_get(item, "SpecialToken") : NULL;
        const char *id;
        if (token) {
            HY_TRY(hy_json_get_string(token, path, "id", &id));
            HY_TRY(special_ids(t, o, where, id, texts ? after : before));
        } else {
            HY_TRY(hy_json_get_object(item, path, "Sequence", &token));
            texts++;
        }
    }
    return texts == 1 ? HY_OK
                      : hy_error(HY_EINPUT, "%s.single: has the text %d times; once is supported", where, texts);
}

// ["<s>", 0]: a token and its id.
static hy_status pair_id(const hy_json *o, const char *where, const char *key, const hy_tokenizer *t,
                         hy_token_ids *out) {
    const hy_json *pair;
    char path[512];
    int64_t id;
    HY_TRY(hy_json_get_array(o, where, key, &pair));
    snprintf(path, sizeof path, "%s: \"%s\"", where, key);
    if (hy_json_size(pair) != 2) return hy_error(HY_EINPUT, "%s: must be [token, id]", path);
    HY_TRY(hy_json_int(hy_json_at(pair, 1), path, 0, HY_TOKENIZER_MAX_VOCAB - 1, &id));
    if (!hy_tokenizer_piece(t, (int32_t)id, NULL))
        return hy_error(HY_EINPUT, "%s: there is no token %d", path, (int)id);
    hy_token_ids_add(out, (int32_t)id);
    return HY_OK;
}

static void put_around(hy_token_ids *to, const hy_token_ids *outer, const hy_token_ids *inner) {
    hy_token_ids all = {0};
    for (size_t i = 0; i < outer->n; i++) hy_token_ids_add(&all, outer->v[i]);
    for (size_t i = 0; i < inner->n; i++) hy_token_ids_add(&all, inner->v[i]);
    free(to->v);
    *to = all;
}

static hy_status read_post(hy_tokenizer *t, const hy_json *j, const char *where) {
    const char *type;
    if (!hy_json_given(j)) return HY_OK;
    HY_TRY(hy_json_get_string(j, where, "type", &type));
    if (!strcmp(type, "ByteLevel")) return HY_OK;  // offsets only
    if (!strcmp(type, "Sequence")) {
        const hy_json *list;
        HY_TRY(hy_json_get_array(j, where, "processors", &list));
        for (size_t i = 0; i < hy_json_size(list); i++) {
            char path[512];
            snprintf(path, sizeof path, "%s.processors[%zu]", where, i);
            HY_TRY(read_post(t, hy_json_at(list, i), path));
        }
        return HY_OK;
    }
    const bool pair = !strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing");
    if (!pair && strcmp(type, "TemplateProcessing"))
        return hy_error(HY_EINPUT,
                        "%s: \"type\": \"%.60s\" is not supported; "
                        "Sequence|TemplateProcessing|ByteLevel|RobertaProcessing|BertProcessing are",
                        where, type);
    if (t->template_given && (pair || t->pair_given))
        return hy_error(HY_EINPUT, "%s: \"%s\" together with another processor that adds tokens is not supported",
                        where, type);
    hy_token_ids before = {0}, after = {0};
    t->template_given = true;
    t->pair_given = pair;
    hy_status s;
    if (pair) {
        s = pair_id(j, where, "cls", t, &before);
        if (!s) s = pair_id(j, where, "sep", t, &after);
    } else
        s = read_template(j, where, t, &before, &after);
    if (!s) {  // a later processor stands around an earlier one
        put_around(&t->before, &before, &t->before);
        put_around(&t->after, &t->after, &after);
    }
    free(before.v);
    free(after.v);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the file
hy_status hy_tok_json_read(hy_tokenizer *t, const hy_json *root) {
    char where[400];
    if (hy_json_type_of(root) != HY_JSON_OBJECT)
        return hy_error(HY_EINPUT, "%s: an object is wanted, not %s", t->path,
                        hy_json_type_name(hy_json_type_of(root)));
    HY_TRY(hy_tok_model_read(t, root));
    HY_TRY(read_added_list(t, root));
    t->size = t->vocab.size > t->extra.size ? t->vocab.size : t->extra.size;
    t->special = hy_xcalloc((size_t)t->size, 1);
    snprintf(where, sizeof where, "%s: normalizer", t->path);
    HY_TRY(hy_tok_steps_normalizer(hy_json_get(root, "normalizer"), where, &t->normalizer));
    snprintf(where, sizeof where, "%s: pre_tokenizer", t->path);
    HY_TRY(hy_tok_steps_pre(hy_json_get(root, "pre_tokenizer"), where, &t->pre));
    snprintf(where, sizeof where, "%s: decoder", t->path);
    HY_TRY(hy_tok_steps_decoder(hy_json_get(root, "decoder"), where, &t->decoder));
    t->has_decoder = hy_json_given(hy_json_get(root, "decoder"));
    snprintf(where, sizeof where, "%s: post_processor", t->path);
    HY_TRY(read_post(t, hy_json_get(root, "post_processor"), where));
    static const char *const ignored[] = {"truncation", "padding"};
    for (int i = 0; i < 2; i++)
        if (hy_json_given(hy_json_get(root, ignored[i])))
            hy_buf_printf(&t->notes, "%s: %s is not applied: texts keep their length\n", t->path, ignored[i]);
    return added_tries(t);
}

// ---------------------------------------------------------------------------------------------------- encoding
static hy_status encode_text(hy_tokenizer *t, const char *s, size_t n, bool first, hy_token_ids *out) {
    const hy_spans *words;
    const char *text;
    bool bytes = false;
    HY_TRY(hy_presplit(&t->pre, s, n, first, t->spans, &words, &text, t->model == HY_TOK_BPE ? &bytes : NULL));
    for (size_t i = 0; i < words->n; i++) HY_TRY(hy_tok_word(t, text + words->v[i].at, words->v[i].n, bytes, out));
    return HY_OK;
}

hy_status hy_tok_json_encode(hy_tokenizer *t, const char *text, size_t n, hy_token_ids *out) {
    HY_TRY(hy_added_cut(t->plain, text, n, &t->parts[0]));
    for (size_t i = 0; i < t->parts[0].n; i++) {
        const hy_added_part p = t->parts[0].v[i];
        if (p.id >= 0) {
            hy_token_ids_add(out, p.id);
            continue;
        }
        const char *s = text + p.at;
        size_t len = p.n;
        if (t->normalizer.n) {
            HY_TRY(hy_normalize(&t->normalizer, s, len, &t->norm));
            s = t->norm.s;
            len = t->norm.n;
        }
        HY_TRY(hy_added_cut(t->normalized, s, len, &t->parts[1]));
        for (size_t k = 0; k < t->parts[1].n; k++) {
            const hy_added_part q = t->parts[1].v[k];
            if (q.id >= 0)
                hy_token_ids_add(out, q.id);
            else
                HY_TRY(encode_text(t, s + q.at, q.n, p.at == 0 && q.at == 0, out));
        }
    }
    return HY_OK;
}
