// score_rules.c - see score_rules.h.
#include "experiments/cli/score_rules.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

static hy_status text_of(hy_tokenizer *t, int32_t id, char **out) {
    hy_buf b = {0};
    if (id >= 0) HY_TRY(hy_tokenizer_decode(t, &id, 1, false, &b));
    hy_buf_write(&b, "", 1);
    *out = b.s;
    return HY_OK;
}

hy_status hy_score_rules_make(hy_tokenizer *t, int max_length, int prefix, const hy_token_ids *eos,
                              hy_score_rules *out) {
    const int32_t bos = hy_tokenizer_special(t, HY_TOKEN_BOS), end = hy_tokenizer_special(t, HY_TOKEN_EOS);
    *out = (hy_score_rules){.t = t, .max_length = max_length, .prefix = prefix >= 0 ? prefix : bos >= 0 ? bos : end};
    if (out->prefix >= hy_tokenizer_vocab(t))
        return hy_error(HY_EINPUT, "--prefix-token %d: the tokenizer has the ids 0 .. %d", prefix,
                        hy_tokenizer_vocab(t) - 1);
    for (size_t i = 0; i < eos->n; i++) hy_token_ids_add(&out->eos, eos->v[i]);
    HY_TRY(text_of(t, out->prefix, &out->prefix_text));
    HY_TRY(text_of(t, bos, &out->bos_text));
    return text_of(t, end, &out->eos_text);
}

void hy_score_rules_free(hy_score_rules *r) {
    free(r->prefix_text), free(r->bos_text), free(r->eos_text), free(r->eos.v);
    *r = (hy_score_rules){0};
}

// ---------------------------------------------------------------------------------------------------- encoding
static bool begins_with(const char *text, const char *with) { return *with && !strncmp(text, with, strlen(with)); }

// With what the tokenizer adds around a text, but a text that begins with BOS itself is given no second one.
static hy_status encode(const hy_score_rules *r, const char *where, const char *field, const char *bos,
                        const char *text, size_t n, hy_token_ids *out) {
    const hy_status s = hy_tokenizer_encode(r->t, text, n, !begins_with(text, bos), out);
    return s ? hy_error_context(s, "%s: %s", where, field) : HY_OK;
}

// White space as Python's str.rstrip knows it.
static bool is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}
// Bytes of a text without the white space at its end.
static size_t stripped(const char *s) {
    size_t n = strlen(s);
    while (n > 0) {
        size_t at = n - 1;
        int len;
        while (at > 0 && ((unsigned char)s[at] & 0xc0) == 0x80) at--;
        if (!is_space(hy_utf8_get(s + at, &len))) break;
        n = at;
    }
    return n;
}

static hy_status need_prefix(const hy_score_rules *r, const char *where, const char *field) {
    if (r->prefix >= 0) return HY_OK;
    return hy_error(HY_EINPUT,
                    "%s: %s: there is nothing before the first token, and the tokenizer names neither BOS nor EOS to "
                    "stand there: --prefix-token ID",
                    where, field);
}

// All of the context is white space, or there is none: the continuation follows the token that stands for nothing.
static hy_status encode_alone(const hy_score_rules *r, const hy_ask_request *q, hy_token_ids *ids, int *first) {
    HY_TRY(need_prefix(r, q->where, "context"));
    hy_token_ids text = {0};
    char *whole = hy_asprintf("%s%s", q->context, q->text);
    const hy_status s = hy_tokenizer_encode(r->t, whole, strlen(whole), false, &text);
    if (!text.n || text.v[0] != r->prefix) hy_token_ids_add(ids, r->prefix);
    for (size_t i = 0; i < text.n; i++) hy_token_ids_add(ids, text.v[i]);
    free(text.v), free(whole);
    *first = 1;
    return s ? hy_error_context(s, "%s: continuation", q->where) : HY_OK;
}

// ids: context and continuation; *first: where the latter begins.
static hy_status encode_pair(const hy_score_rules *r, const hy_ask_request *q, hy_token_ids *ids, int *first) {
    const size_t n = stripped(q->context);
    if (n == 0) return encode_alone(r, q, ids, first);
    hy_token_ids context = {0};
    char *whole = hy_asprintf("%s%s", q->context, q->text);
    hy_status s = encode(r, q->where, "context", r->prefix_text, whole, strlen(whole), ids);
    if (!s) s = encode(r, q->where, "context", r->prefix_text, whole, n, &context);
    *first = (int)context.n;
    free(context.v), free(whole);
    return s;
}

// ---------------------------------------------------------------------------------------------------- items
void hy_score_items_free(hy_score_items *items) {
    for (int i = 0; i < items->n; i++) free(items->ids[i]);
    free(items->v), free(items->request), free(items->ids);
    *items = (hy_score_items){0};
}

// Tokens from .. to - 1 of ids after `before` (-1: nothing); those from `first` on, counted in ids, are asked for.
static void add_item(hy_score_items *out, int request, int32_t before, const int32_t *ids, int from, int to,
                     int first) {
    if (out->n == out->cap) {
        out->cap = out->cap ? 2 * out->cap : 64;
        out->v = hy_xrealloc(out->v, (size_t)out->cap * sizeof *out->v);
        out->request = hy_xrealloc(out->request, (size_t)out->cap * sizeof *out->request);
        out->ids = hy_xrealloc(out->ids, (size_t)out->cap * sizeof *out->ids);
    }
    const int shift = before >= 0, n = to - from + shift;
    int32_t *copy = hy_xcalloc((size_t)n, sizeof *copy);
    if (shift) copy[0] = before;
    memcpy(copy + shift, ids + from, (size_t)(to - from) * sizeof *copy);
    out->ids[out->n] = copy;
    out->request[out->n] = request;
    out->v[out->n++] = (hy_likelihood_item){.ids = copy, .n = n, .first = first - from + shift};
}

static hy_status add_pair(const hy_score_rules *r, const hy_ask_request *q, int index, hy_score_items *out) {
    hy_token_ids ids = {0};
    int first = 0;
    const int L = r->max_length;
    hy_status s = encode_pair(r, q, &ids, &first);
    const int n = (int)ids.n;
    if (!s && first >= n)
        s = hy_error(HY_EINPUT, "%s: continuation: it has no token of its own after the context", q->where);
    if (!s && n - first > L)
        s = hy_error(
            HY_EINPUT,
            "%s: continuation: its %d tokens are more than the %d that the model is given at once (--max-length)",
            q->where, n - first, L);
    if (!s && first < 1) s = hy_error(HY_EINPUT, "%s: context: it has no token", q->where);
    if (!s) add_item(out, index, -1, ids.v, n > L + 1 ? n - L - 1 : 0, n, first);
    free(ids.v);
    return s;
}

static hy_status add_windows(const hy_score_rules *r, const hy_ask_request *q, int index, hy_score_items *out) {
    hy_token_ids ids = {0};
    const int L = r->max_length;
    HY_TRY(need_prefix(r, q->where, "text"));
    HY_TRY(encode(r, q->where, "text", r->prefix_text, q->text, strlen(q->text), &ids));
    const int n = (int)ids.n;
    int done = n < L ? n : L;
    if (n) add_item(out, index, r->prefix, ids.v, 0, done, 0);
    while (done < n) {
        const int end = n - done < L ? n : done + L;
        add_item(out, index, -1, ids.v, end - L - 1, end, done);
        done = end;
    }
    free(ids.v);
    return HY_OK;
}

hy_status hy_score_rules_items(const hy_score_rules *r, const hy_ask_request *q, int index, hy_score_items *out) {
    return q->kind == HY_ASK_ROLLING ? add_windows(r, q, index, out) : add_pair(r, q, index, out);
}

// ---------------------------------------------------------------------------------------------------- generation
hy_status hy_score_rules_prompt(const hy_score_rules *r, const hy_ask_request *q, hy_token_ids *out) {
    const int room = r->max_length - q->gen.max_new;
    if (room < 1)
        return hy_error(HY_EINPUT,
                        "%s: gen_kwargs: %d new tokens leave no room for a context: the model is given %d tokens at "
                        "most (--max-length)",
                        q->where, q->gen.max_new, r->max_length);
    HY_TRY(encode(r, q->where, "context", r->bos_text, q->context, strlen(q->context), out));
    if (!out->n) {
        HY_TRY(need_prefix(r, q->where, "context"));
        hy_token_ids_add(out, r->prefix);
    }
    if (out->n > (size_t)room) {
        memmove(out->v, out->v + (out->n - (size_t)room), (size_t)room * sizeof *out->v);
        out->n = (size_t)room;
    }
    return HY_OK;
}

static void cut_at(hy_buf *b, const char *term, bool *ended) {
    char *at = *term ? strstr(b->s, term) : NULL;
    if (!at) return;
    *at = '\0';
    b->n = (size_t)(at - b->s);
    *ended = true;
}

hy_status hy_score_rules_text(const hy_score_rules *r, const hy_ask_request *q, const int32_t *ids, int n, hy_buf *out,
                              bool *ended) {
    out->n = 0;
    *ended = false;
    hy_buf text = {0};
    const hy_status st = hy_tokenizer_decode(r->t, ids, (size_t)n, true, &text);
    for (size_t i = 0; i < text.n; i++)  // a zero would end the text: it becomes U+FFFD
        hy_buf_write(out, text.s[i] ? text.s + i : "\357\277\275", text.s[i] ? 1 : 3);
    hy_buf_write(out, "", 1);
    out->n--;
    free(text.s);
    HY_TRY(st);
    for (int i = 0; i < q->gen.n_until; i++) cut_at(out, q->gen.until[i], ended);
    cut_at(out, r->eos_text, ended);
    return HY_OK;
}
