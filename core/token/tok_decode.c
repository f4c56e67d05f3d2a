// tok_decode.c - ids back to text, one at a time: each step of a decoder hands on what no later id can change and keeps
// the rest. Decoding a list is pushing its ids and ending, so both ways give the same text.
#include <stdlib.h>

#include "core/token/tok_impl.h"

typedef struct {
    hy_buf kept;    // bytes or text that is held back
    size_t tokens;  // that came in
    int left;       // STRIP of one joined text: characters that may still be cut at its start
    bool held;      // SUFFIX_BACK: kept is a piece (of which it is not known yet whether it is the last)
    bool joined;    // what comes in are parts of one token: a step before has joined them
    bool collect;   // and this step needs the whole of it
} stage;
struct hy_token_stream {
    hy_tokenizer *t;
    bool skip_special;
    stage *stages;                  // [decoder.n]
    size_t written;                 // pieces, without a decoder
    size_t fed;                     // bytes of the pieces so far
    hy_buf bytes;                   // HY_TOK_BYTES: the start of a character
    hy_token_ids context, pending;  // HY_TOK_SP
};

static hy_status feed(hy_token_stream *s, int i, const char *text, size_t n, hy_buf *out);

// ---------------------------------------------------------------------------------------------------- steps
// Appends the bytes that byte-level BPE means by a piece; a piece with a character that stands for no byte means
// itself.
static void bytes_of(const char *text, size_t n, hy_buf *out) {
    const size_t before = out->n;
    for (size_t i = 0; i < n;) {
        int len;
        const int b = hy_char_byte(hy_utf8_get(text + i, &len));
        if (b < 0) {
            out->n = before;
            hy_buf_write(out, text, n);
            return;
        }
        const char c = (char)b;
        hy_buf_write(out, &c, 1);
        i += (size_t)len;
    }
}

// Hands on the whole characters among the bytes kept; all of them at the end.
static hy_status bytes_release(hy_token_stream *s, int i, hy_buf *kept, bool end, hy_buf *out) {
    const size_t tail = end ? 0 : hy_utf8_open_tail(kept->s, kept->n), n = kept->n - tail;
    if (!n) return HY_OK;
    hy_buf text = {0};
    hy_utf8_lossy(kept->s, n, &text);
    const hy_status st = feed(s, i + 1, text.s, text.n, out);
    free(text.s);
    memmove(kept->s, kept->s + n, tail);
    kept->n = tail;
    return st;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// The byte of "<0xAB>"; -1: another piece. ("+B" is a number to the reference too.)
static int byte_piece(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
    const int hi = s[3] == '+' ? 0 : hex_digit(s[3]), lo = hex_digit(s[4]);
    return hi < 0 || lo < 0 ? -1 : 16 * hi + lo;
}

// A run of byte pieces is text if all of it is UTF-8, else one U+FFFD a byte.
static hy_status run_release(hy_token_stream *s, int i, hy_buf *kept, hy_buf *out) {
    const size_t n = kept->n;
    kept->n = 0;
    if (n == 0) return HY_OK;
    if (hy_utf8_bad(kept->s, n) == n) return feed(s, i + 1, kept->s, n, out);
    for (size_t k = 0; k < n; k++) HY_TRY(feed(s, i + 1, "\xef\xbf\xbd", 3, out));
    return HY_OK;
}

static hy_status fallback(hy_token_stream *s, int i, const char *text, size_t n, hy_buf *out) {
    stage *g = &s->stages[i];
    const int b = byte_piece(text, n);
    if (b < 0) {
        HY_TRY(run_release(s, i, &g->kept, out));
        return feed(s, i + 1, text, n, out);
    }
    const char c = (char)b;
    hy_buf_write(&g->kept, &c, 1);
    return HY_OK;
}

static hy_status metaspace_back(hy_token_stream *s, int i, const char *text, size_t n, hy_buf *out) {
    const hy_tok_step *step = &s->t->decoder.v[i];
    const bool drop = step->prepend != HY_PREPEND_NEVER && (s->stages[i].joined || s->stages[i].tokens == 1);
    const hy_tok_step to = {
        .kind = HY_STEP_REPLACE, .from = step->from, .from_n = step->from_n, .to = (char[]){" "}, .to_n = !drop};
    hy_buf b = {0};
    hy_buf_write(&b, "", 0);
    hy_status st = hy_replace(&to, text, n, HY_TOKENIZER_MAX_TEXT, &b);
    if (!st) st = feed(s, i + 1, b.s, b.n, out);
    free(b.s);
    return st;
}

static hy_status strip(hy_token_stream *s, int i, const char *text, size_t n, hy_buf *out) {
    const hy_tok_step *step = &s->t->decoder.v[i];
    stage *g = &s->stages[i];
    const size_t k = step->from_n;
    int all = step->start, *left = g->joined && !g->collect ? &g->left : &all;
    for (; *left > 0 && n >= k && !memcmp(text, step->from, k); (*left)--) text += k, n -= k;
    if (n) *left = 0;
    for (int cut = 0; cut < step->stop && n >= k && !memcmp(text + n - k, step->from, k); cut++) n -= k;
    return feed(s, i + 1, text, n, out);
}

// A piece that does not begin with the prefix begins a word: a space comes before it, but for the first. cleanup takes
// the space before punctuation and short forms away again.
static hy_status wordpiece_back(hy_token_stream *s, int i, const char *text, size_t n, hy_buf *out) {
    static const char *const tidy[][2] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    const hy_tok_step *step = &s->t->decoder.v[i];
    const bool first = s->stages[i].joined || s->stages[i].tokens == 1;
    hy_buf now = {0}, next = {0};
    hy_status st = HY_OK;
    if (!first && n >= step->from_n && !memcmp(text, step->from, step->from_n))
        text += step->from_n, n -= step->from_n;
    else if (!first)
        hy_buf_write(&now, " ", 1);
    hy_buf_write(&now, text, n);
    for (size_t k = 0; step->cleanup && k < sizeof tidy / sizeof *tidy && !st; k++) {
        const hy_tok_step change = {.kind = HY_STEP_REPLACE,
                                    .from = (char *)tidy[k][0],
                                    .from_n = strlen(tidy[k][0]),
                                    .to = (char *)tidy[k][1],
                                    .to_n = strlen(tidy[k][1])};
        const hy_buf old = now;
        next.n = 0;
        hy_buf_write(&next, "", 0);
        st = hy_replace(&change, now.s, now.n, HY_TOKENIZER_MAX_TEXT, &next);
        now = next;
        next = old;
    }
    if (!st) st = feed(s, i + 1, now.s, now.n, out);
    free(now.s);
    free(next.s);
    return st;
}

// Hands on the piece that is held back, if one is, with `space` for each suffix in it.
static hy_status suffix_back(hy_token_stream *s, int i, const char *space, hy_buf *out) {
    const hy_tok_step *step = &s->t->decoder.v[i];
    stage *g = &s->stages[i];
    const hy_tok_step to = {.kind = HY_STEP_REPLACE,
                            .from = step->from,
                            .from_n = step->from_n,
                            .to = (char *)space,
                            .to_n = strlen(space)};
    if (!g->held) return HY_OK;
    hy_buf b = {0};
    hy_buf_write(&b, "", 0);
    hy_status st = hy_replace(&to, g->kept.s, g->kept.n, HY_TOKENIZER_MAX_TEXT, &b);
    g->kept.n = 0;
    g->held = false;
    if (!st) st = feed(s, i + 1, b.s, b.n, out);
    free(b.s);
    return st;
}

static hy_status apply(hy_token_stream *s, int i, const char *text, size_t n, hy_buf *out) {
    const hy_tok_step *step = &s->t->decoder.v[i];
    stage *g = &s->stages[i];
    switch (step->kind) {
        case HY_STEP_BYTES_BACK: bytes_of(text, n, &g->kept); return bytes_release(s, i, &g->kept, false, out);
        case HY_STEP_BYTE_FALLBACK: return fallback(s, i, text, n, out);
        case HY_STEP_METASPACE_BACK: return metaspace_back(s, i, text, n, out);
        case HY_STEP_STRIP: return strip(s, i, text, n, out);
        case HY_STEP_WORDPIECE_BACK: return wordpiece_back(s, i, text, n, out);
        case HY_STEP_SUFFIX_BACK: {
            const hy_status st = suffix_back(s, i, " ", out);
            g->held = true;
            hy_buf_write(&g->kept, text, n);
            return st;
        }
        case HY_STEP_REPLACE: {
            hy_buf b = {0};
            hy_buf_write(&b, "", 0);
            hy_status st = hy_replace(step, text, n, hy_tok_most(s->fed), &b);
            if (!st) st = feed(s, i + 1, b.s, b.n, out);
            free(b.s);
            return st;
        }
        default: return feed(s, i + 1, text, n, out);  // FUSE
    }
}

// A piece, or a part of the joined text, comes to step i; behind the last step it is output.
static hy_status feed(hy_token_stream *s, int i, const char *text, size_t n, hy_buf *out) {
    if (i == s->t->decoder.n) {
        if (!s->t->has_decoder && s->written++) hy_buf_write(out, " ", 1);
        hy_buf_write(out, text, n);
        return HY_OK;
    }
    stage *g = &s->stages[i];
    g->tokens++;
    if (g->collect) {
        hy_buf_write(&g->kept, text, n);
        return HY_OK;
    }
    return apply(s, i, text, n, out);
}

static hy_status stage_end(hy_token_stream *s, int i, hy_buf *out) {
    stage *g = &s->stages[i];
    if (g->collect) {
        const hy_buf all = g->kept;
        g->kept = (hy_buf){0};
        const hy_status st = all.n || g->tokens ? apply(s, i, all.s ? all.s : "", all.n, out) : HY_OK;
        free(all.s);
        if (st) return st;
    }
    const hy_tok_step_kind k = s->t->decoder.v[i].kind;
    if (k == HY_STEP_SUFFIX_BACK) return suffix_back(s, i, "", out);
    if (k == HY_STEP_BYTES_BACK) return bytes_release(s, i, &g->kept, true, out);
    return k == HY_STEP_BYTE_FALLBACK ? run_release(s, i, &g->kept, out) : HY_OK;
}

static void stages_reset(hy_token_stream *s) {
    bool joined = false;
    for (int i = 0; i < s->t->decoder.n; i++) {
        const hy_tok_step *step = &s->t->decoder.v[i];
        stage *g = &s->stages[i];
        g->kept.n = g->tokens = 0;
        g->held = false;
        g->joined = joined;
        g->left = step->start;
        const bool one_char = step->kind == HY_STEP_REPLACE && !step->re &&
                              (size_t)hy_utf8_length(step->from, step->from_n) == step->from_n;
        const bool streams = one_char || step->kind == HY_STEP_METASPACE_BACK || step->kind == HY_STEP_FUSE ||
                             (step->kind == HY_STEP_STRIP && !step->stop);
        g->collect = joined && !streams;
        joined |= step->kind == HY_STEP_FUSE || step->kind == HY_STEP_BYTES_BACK;
    }
    s->fed = s->written = s->bytes.n = s->context.n = s->pending.n = 0;
}

// ---------------------------------------------------------------------------------------------------- SentencePiece
static void write_buf(void *user, const char *data, size_t n) { hy_buf_write(user, data, n); }

static hy_status sp_text(const hy_tokenizer *t, const hy_token_ids *ids, hy_buf *out) {
    char error[256];
    hy_buf raw = {0};
    hy_buf_write(out, "", 0);
    const int bad = hy_sp_decode(t->sp, ids->v, ids->n, write_buf, &raw, error, sizeof error);
    if (!bad)
        hy_utf8_lossy(raw.s, raw.n, out);  // pieces are UTF-8, but a model may write something else for the unknown one
    free(raw.s);
    if (!bad) return HY_OK;
    return hy_error(HY_EINPUT, "%s: %s", t->path, error);
}

// Writes the text of pending, which comes after context. Only the start of a text is special to the library, and a run
// of byte pieces: so the piece written last is context enough.
static hy_status sp_release(hy_token_stream *s, hy_buf *out) {
    hy_buf before = {0}, all = {0}, alone = {0};
    hy_status st = sp_text(s->t, &s->context, &before);
    const size_t n = s->context.n;
    for (size_t i = 0; i < s->pending.n; i++) hy_token_ids_add(&s->context, s->pending.v[i]);
    if (!st) st = sp_text(s->t, &s->context, &all);
    if (!st && all.n > before.n) hy_buf_write(out, all.s + before.n, all.n - before.n);
    if (!st && n < s->context.n) {
        const hy_token_ids last = {.v = &s->context.v[s->context.n - 1], .n = 1};
        st = sp_text(s->t, &last, &alone);
        if (!st && alone.n && hy_sp_type_of(s->t->sp, last.v[0]) == HY_SP_NORMAL) {
            s->context.v[0] = last.v[0];
            s->context.n = 1;
        }
    }
    s->pending.n = 0;
    free(before.s);
    free(all.s);
    free(alone.s);
    return st;
}

static hy_status sp_push(hy_token_stream *s, int32_t id, hy_buf *out) {
    if (id < 0 || id >= hy_sp_size(s->t->sp)) return HY_OK;  // a model may have more ids than its tokenizer
    hy_token_ids_add(&s->pending, id);
    return hy_sp_type_of(s->t->sp, id) == HY_SP_BYTE ? HY_OK : sp_release(s, out);
}

// ---------------------------------------------------------------------------------------------------- the stream
hy_token_stream *hy_token_stream_new(hy_tokenizer *t, bool skip_special) {
    hy_token_stream *s = hy_xcalloc(1, sizeof *s);
    *s = (hy_token_stream){.t = t, .skip_special = skip_special};
    s->stages = hy_xcalloc((size_t)t->decoder.n, sizeof *s->stages);
    stages_reset(s);
    return s;
}

void hy_token_stream_free(hy_token_stream *s) {
    if (!s) return;
    for (int i = 0; i < s->t->decoder.n; i++) free(s->stages[i].kept.s);
    free(s->stages);
    free(s->bytes.s);
    free(s->context.v);
    free(s->pending.v);
    free(s);
}

static void bytes_put(hy_token_stream *s, bool end, hy_buf *out) {
    const size_t tail = end ? 0 : hy_utf8_open_tail(s->bytes.s, s->bytes.n), n = s->bytes.n - tail;
    hy_utf8_lossy(s->bytes.s, n, out);
    if (tail) memmove(s->bytes.s, s->bytes.s + n, tail);
    s->bytes.n = tail;
}

hy_status hy_token_stream_push(hy_token_stream *s, int32_t id, hy_buf *out) {
    if (s->skip_special && hy_tokenizer_is_special(s->t, id)) return HY_OK;
    if (s->t->type == HY_TOK_SP) return sp_push(s, id, out);
    if (s->t->type == HY_TOK_BYTES) {
        const char c = id < 0 || id > 255 ? (char)0xff : (char)id;  // no byte of UTF-8: U+FFFD
        hy_buf_write(&s->bytes, &c, 1);
        bytes_put(s, false, out);
        return HY_OK;
    }
    size_t n;
    const char *piece = hy_tokenizer_piece(s->t, id, &n);
    if (!piece) return HY_OK;
    s->fed += n;
    return feed(s, 0, piece, n, out);
}

hy_status hy_token_stream_end(hy_token_stream *s, hy_buf *out) {
    hy_status st = HY_OK;
    if (s->t->type == HY_TOK_SP)
        st = s->pending.n ? sp_release(s, out) : HY_OK;
    else if (s->t->type == HY_TOK_BYTES)
        bytes_put(s, true, out);
    for (int i = 0; i < s->t->decoder.n && !st; i++) st = stage_end(s, i, out);
    stages_reset(s);
    return st;
}

hy_status hy_tokenizer_decode(hy_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, hy_buf *out) {
    hy_buf_write(out, "", 0);
    if (t->type == HY_TOK_SP) {
        hy_token_ids keep = {0};
        for (size_t i = 0; i < n; i++)
            if (ids[i] >= 0 && ids[i] < hy_sp_size(t->sp) && (!skip_special || !hy_tokenizer_is_special(t, ids[i])))
                hy_token_ids_add(&keep, ids[i]);
        hy_status st = sp_text(t, &keep, out);
        free(keep.v);
        return st;
    }
    hy_token_stream *s = hy_token_stream_new(t, skip_special);
    hy_status st = HY_OK;
    for (size_t i = 0; i < n && !st; i++) st = hy_token_stream_push(s, ids[i], out);
    if (!st) st = hy_token_stream_end(s, out);
    hy_token_stream_free(s);
    return st;
}
