// tok_model.c - the model of a tokenizer.json: BPE (tok_bpe.c), WordPiece and WordLevel; words to ids.
#include <stdlib.h>

#include "core/token/tok_impl.h"

#define MAX_CHARS 10000  // of a word that WordPiece looks at: it tries each length

// ---------------------------------------------------------------------------------------------------- vocabulary
static hy_status read_vocab(hy_tokenizer *t, const hy_json *model, const char *where) {
    const hy_json *vocab;
    char path[512];
    HY_TRY(hy_json_get_object(model, where, "vocab", &vocab));
    if (!hy_json_size(vocab)) return hy_error(HY_EINPUT, "%s.vocab: is empty", where);
    int64_t highest = 0, id;
    for (void *it = hy_json_first(vocab); it; it = hy_json_next(vocab, it)) {
        snprintf(path, sizeof path, "%s.vocab[\"%.100s\"]", where, hy_json_key(it));
        HY_TRY(hy_json_int(hy_json_member(it), path, 0, HY_TOKENIZER_MAX_VOCAB - 1, &id));
        if (id > highest) highest = id;
        const size_t n = strlen(hy_json_key(it));
        if (n > t->longest) t->longest = n;
    }
    hy_vocab_init(&t->vocab, hy_json_size(vocab), (int)highest + 1);
    for (void *it = hy_json_first(vocab); it; it = hy_json_next(vocab, it)) {
        HY_TRY(hy_json_int(hy_json_member(it), where, 0, highest, &id));
        if (!hy_vocab_add(&t->vocab, hy_json_key(it), strlen(hy_json_key(it)), (int32_t)id))
            return hy_error(HY_EINPUT, "%s.vocab[\"%.100s\"]: id %lld belongs to \"%.100s\" already", where,
                            hy_json_key(it), (long long)id, hy_vocab_piece(&t->vocab, (int32_t)id, NULL));
    }
    return HY_OK;
}

// One merge: "left right" or ["left", "right"].
static hy_status read_merge(const hy_vocab *v, const hy_json *j, const char *path, hy_bpe_merge *out) {
    const char *s, *left, *right;
    size_t left_n;
    if (hy_json_type_of(j) == HY_JSON_ARRAY) {
        if (hy_json_size(j) != 2)
            return hy_error(HY_EINPUT, "%s: two pieces are wanted, not %zu", path, hy_json_size(j));
        HY_TRY(hy_json_string(hy_json_at(j, 0), path, &left));
        HY_TRY(hy_json_string(hy_json_at(j, 1), path, &right));
        left_n = strlen(left);
    } else {
        HY_TRY(hy_json_string(j, path, &s));
        const char *space = strchr(s, ' ');
        if (!space || strchr(space + 1, ' '))
            return hy_error(HY_EINPUT, "%s: \"%.100s\" is not two pieces with a space between them", path, s);
        left = s;
        left_n = (size_t)(space - s);
        right = space + 1;
    }
    out->left = hy_vocab_find(v, left, left_n);
    out->right = hy_vocab_find(v, right, strlen(right));
    if (out->left < 0)
        return hy_error(HY_EINPUT, "%s: \"%.*s\" is not in the vocabulary", path, left_n > 100 ? 100 : (int)left_n,
                        left);
    if (out->right < 0) return hy_error(HY_EINPUT, "%s: \"%.100s\" is not in the vocabulary", path, right);
    return HY_OK;
}

static hy_status read_merges(const hy_tokenizer *t, const hy_json *model, const char *where, const hy_bpe_options *o,
                             hy_bpe **out) {
    const hy_json *list;
    char path[512];
    HY_TRY(hy_json_get_array(model, where, "merges", &list));
    const size_t n = hy_json_size(list);
    hy_bpe_merge *merges = hy_xcalloc(n, sizeof *merges);
    size_t k = 0, bad = 0;
    hy_status s = HY_OK;
    for (size_t i = 0; i < n && !s; i++) {
        const hy_json *j = hy_json_at(list, i);
        const char *text;
        snprintf(path, sizeof path, "%s.merges[%zu]", where, i);
        if (hy_json_type_of(j) == HY_JSON_STRING && !hy_json_string(j, path, &text) && !strncmp(text, "#version", 8))
            continue;
        s = read_merge(&t->vocab, j, path, &merges[k++]);
    }
    if (!s && !(*out = hy_bpe_new(o, merges, k, &bad)))
        s = hy_error(HY_EINPUT, "%s.merges[%zu]: \"%.100s\" and \"%.100s\" together are not in the vocabulary", where,
                     bad + (n - k), hy_vocab_piece(&t->vocab, merges[bad].left, NULL),
                     hy_vocab_piece(&t->vocab, merges[bad].right, NULL));
    free(merges);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the model
static hy_status model_flag(const hy_json *model, const char *where, const char *key, bool *out) {
    *out = false;
    return hy_json_given(hy_json_get(model, key)) ? hy_json_get_bool(model, where, key, out) : HY_OK;
}

// A text that may be absent; the document does not live as long as the copy.
static hy_status model_text(const hy_json *model, const char *where, const char *key, const char *missing, char **out) {
    const char *s = missing;
    if (hy_json_given(hy_json_get(model, key))) HY_TRY(hy_json_get_string(model, where, key, &s));
    *out = s ? hy_xstrdup(s) : NULL;
    return HY_OK;
}

// The same, where "" is nothing.
static hy_status model_affix(const hy_json *model, const char *where, const char *key, const char *missing,
                             char **out) {
    HY_TRY(model_text(model, where, key, missing, out));
    if (*out && !**out) {
        free(*out);
        *out = NULL;
    }
    return HY_OK;
}

static hy_status read_bpe(hy_tokenizer *t, const hy_json *model, const char *where) {
    double dropout = 0;
    if (hy_json_given(hy_json_get(model, "dropout")))
        HY_TRY(hy_json_get_double(model, where, "dropout", 0, 1, &dropout));
    if (dropout > 0)
        return hy_error(HY_EINPUT, "%s: \"dropout\": %g would make ids random; null is supported", where, dropout);
    HY_TRY(model_text(model, where, "unk_token", NULL, &t->unk));
    HY_TRY(model_affix(model, where, "continuing_subword_prefix", NULL, &t->prefix));
    HY_TRY(model_affix(model, where, "end_of_word_suffix", NULL, &t->suffix));
    hy_bpe_options o = {.vocab = &t->vocab, .unk = t->unk, .prefix = t->prefix, .suffix = t->suffix};
    HY_TRY(model_flag(model, where, "fuse_unk", &o.fuse_unk));
    HY_TRY(model_flag(model, where, "byte_fallback", &o.byte_fallback));
    HY_TRY(model_flag(model, where, "ignore_merges", &o.ignore_merges));
    return read_merges(t, model, where, &o, &t->bpe);
}

static hy_status read_wordpiece(hy_tokenizer *t, const hy_json *model, const char *where) {
    int64_t most = 100;
    HY_TRY(model_text(model, where, "unk_token", "[UNK]", &t->unk));
    HY_TRY(model_affix(model, where, "continuing_subword_prefix", "##", &t->prefix));
    if (hy_json_given(hy_json_get(model, "max_input_chars_per_word")))
        HY_TRY(hy_json_get_int(model, where, "max_input_chars_per_word", 0, MAX_CHARS, &most));
    t->max_chars = (int)most;
    return HY_OK;
}

hy_status hy_tok_model_read(hy_tokenizer *t, const hy_json *root) {
    static const char *const types[] = {"BPE", "WordLevel", "WordPiece"};
    char where[400];
    const hy_json *model;
    snprintf(where, sizeof where, "%s: model", t->path);
    HY_TRY(hy_json_get_object(root, t->path, "model", &model));
    const char *type = "BPE";
    int k = 0;
    if (hy_json_get(model, "type")) HY_TRY(hy_json_get_string(model, where, "type", &type));
    while (k < 3 && strcmp(type, types[k])) k++;
    if (k == 3)
        return hy_error(HY_EINPUT,
                        "%s: \"type\": \"%.60s\" is not supported; BPE|WordLevel|WordPiece are (Unigram: use its "
                        "SentencePiece file)",
                        where, type);
    t->model = (hy_tok_model)k;
    HY_TRY(read_vocab(t, model, where));
    if (t->model == HY_TOK_BPE)
        HY_TRY(read_bpe(t, model, where));
    else if (t->model == HY_TOK_WORDPIECE)
        HY_TRY(read_wordpiece(t, model, where));
    else
        HY_TRY(model_text(model, where, "unk_token", "<unk>", &t->unk));
    t->role[HY_TOKEN_UNK] = t->unk ? hy_vocab_find(&t->vocab, t->unk, strlen(t->unk)) : -1;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- words
static hy_status unknown_word(const hy_tokenizer *t, hy_token_ids *out) {
    const int32_t id = t->unk ? hy_vocab_find(&t->vocab, t->unk, strlen(t->unk)) : -1;
    if (id < 0)
        return hy_error(HY_EINPUT, "%s: the text has a word that is no piece, and unk_token \"%.60s\" is none either",
                        t->path, t->unk ? t->unk : "");
    hy_token_ids_add(out, id);
    return HY_OK;
}

static size_t count_chars(const char *s, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) k += ((unsigned char)s[i] & 0xc0) != 0x80;
    return k;
}

// The longest piece that s[at ..] begins with, `prefix` before it unless it begins the word; -1: none. *end: its end.
static int32_t longest_piece(const hy_tokenizer *t, const char *s, size_t n, size_t at, hy_buf *b, size_t *end) {
    const size_t head = at && t->prefix ? strlen(t->prefix) : 0;
    const size_t most = t->longest > head ? t->longest - head : 0;
    b->n = 0;
    if (head) hy_buf_write(b, t->prefix, head);
    hy_buf_write(b, s + at, n - at < most ? n - at : most);
    while (b->n > head) {
        const bool whole = at + (b->n - head) == n || ((unsigned char)s[at + b->n - head] & 0xc0) != 0x80;
        const int32_t id = whole ? hy_vocab_find(&t->vocab, b->s, b->n) : -1;
        *end = at + (b->n - head);
        if (id >= 0) return id;
        b->n--;
    }
    return -1;
}

// Greedy from the left, the longest piece each time; a word with a part that is no piece is unknown as a whole.
static hy_status wordpiece(const hy_tokenizer *t, const char *s, size_t n, hy_token_ids *out) {
    const size_t before = out->n;
    hy_buf b = {0};
    bool known = count_chars(s, n) <= (size_t)t->max_chars;
    for (size_t at = 0, end = 0; known && at < n; at = end) {
        const int32_t id = longest_piece(t, s, n, at, &b, &end);
        if ((known = id >= 0)) hy_token_ids_add(out, id);
    }
    free(b.s);
    if (known) return HY_OK;
    out->n = before;
    return unknown_word(t, out);
}

hy_status hy_tok_word(hy_tokenizer *t, const char *s, size_t n, bool bytes, hy_token_ids *out) {
    if (t->model == HY_TOK_BPE) return hy_bpe_word(t->bpe, s, n, bytes, out);
    if (t->model == HY_TOK_WORDPIECE) return wordpiece(t, s, n, out);
    const int32_t id = hy_vocab_find(&t->vocab, s, n);
    if (id < 0) return unknown_word(t, out);
    hy_token_ids_add(out, id);
    return HY_OK;
}
