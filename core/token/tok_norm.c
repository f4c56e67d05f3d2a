// tok_norm.c - what a tokenizer does to a text before it splits it: prefixes, replacements, Unicode normal forms, case,
// accents. The only file that knows utf8proc.
#include <stdlib.h>
#include <utf8proc.h>

#include "core/token/tok_impl.h"

// The reference normalises by the tables of Unicode 9. Characters that came later and that utf8proc (Unicode 15)
// decomposes, composes or reorders: they stay as they are, and nothing moves across them. U+11A7 is old, but no final
// consonant of Hangul: utf8proc 2.8 drops it after a syllable.
typedef struct {
    uint32_t first, last;
} range;
static const range newer[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x11a7, 0x11a7},   {0x1715, 0x1715},   {0x1abf, 0x1ace},
    {0x1df6, 0x1dfa},   {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},
    {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac},
    {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b},
    {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
    {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
};

#include "core/token/tok_ranges.def"

void hy_normalize_library(char out[64]) {
    snprintf(out, 64, "utf8proc %.20s (Unicode %.20s)", utf8proc_version(), utf8proc_unicode_version());
}

static bool in_ranges(const range *r, size_t n, uint32_t c) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (c > r[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && c >= r[lo].first;
}
#define IN(table, c) in_ranges(table, sizeof table / sizeof *table, c)

static bool is_newer(uint32_t c) { return IN(newer, c); }

// ---------------------------------------------------------------------------------------------------- normal forms
static int form_options(hy_tok_step_kind k) {
    const int compat = k == HY_STEP_NFKC || k == HY_STEP_NFKD ? UTF8PROC_COMPAT : 0;
    return compat | UTF8PROC_STABLE | (k == HY_STEP_NFC || k == HY_STEP_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
}

static hy_status form_part(const char *s, size_t n, int options, hy_buf *out) {
    utf8proc_int32_t few[64], *v = few;
    utf8proc_ssize_t k = utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, v, 64, options);
    if (k > 63) {  // one more than the characters, for the conversion in place
        const utf8proc_ssize_t cap = k + 1;
        v = hy_alloc((size_t)cap * sizeof *v);
        if (!v) return HY_ENOMEM;
        k = utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, v, cap, options);
    }
    const utf8proc_ssize_t bytes = k < 0 ? k : utf8proc_reencode(v, k, options);
    if (bytes >= 0) hy_buf_write(out, v, (size_t)bytes);
    if (v != few) free(v);
    return bytes < 0 ? hy_error(HY_EFAIL, "Unicode normalization: %s", utf8proc_errmsg(bytes)) : HY_OK;
}

// ASCII is what it is in every form, and nothing before it composes with it: only the stretches that begin with the
// ASCII character before another one are looked at.
static hy_status form(const char *s, size_t n, hy_tok_step_kind kind, hy_buf *out) {
    const int options = form_options(kind);
    size_t i = 0;
    while (i < n) {
        size_t k = i;
        while (k < n && !(s[k] & 0x80)) k++;
        if (k > i && k < n) k--;
        hy_buf_write(out, s + i, k - i);
        i = k;
        if (i == n) break;
        k += !(s[k] & 0x80);
        int len = 0;
        while (k < n && (s[k] & 0x80) && !is_newer(hy_utf8_get(s + k, &len))) k += (size_t)hy_utf8_length(s + k, n - k);
        HY_TRY(form_part(s + i, k - i, options, out));
        i = k;
        if (i < n && (s[i] & 0x80)) {
            hy_utf8_get(s + i, &len);
            hy_buf_write(out, s + i, (size_t)len);
            i += (size_t)len;
        }
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- characters
// The reference knows Unicode 17 here: pairs of letters that utf8proc does not have yet.
static uint32_t lower(uint32_t c) {
    static const struct {
        uint32_t first, last;
        int32_t by;
    } pairs[] = {
        {0x1c89, 0x1c89, 1},      {0xa7cb, 0xa7cb, 0x264 - 0xa7cb},
        {0xa7cc, 0xa7cc, 1},      {0xa7ce, 0xa7ce, 1},
        {0xa7d2, 0xa7d2, 1},      {0xa7d4, 0xa7d4, 1},
        {0xa7da, 0xa7da, 1},      {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
        {0x10d50, 0x10d65, 0x20}, {0x16ea0, 0x16eb8, 0x1b},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (c >= pairs[i].first && c <= pairs[i].last) return (uint32_t)((int32_t)c + pairs[i].by);
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

// What becomes of one character.
static void put_char(hy_tok_step_kind kind, uint32_t c, const char *s, size_t n, hy_buf *out) {
    char low[4];
    switch (kind) {
        case HY_STEP_LOWERCASE:
            hy_buf_write(out, low, (size_t)hy_utf8_put(lower(c), low));
            if (c == 0x130) hy_buf_write(out, "\xcc\x87", 2);  // the one that becomes two
            return;
        case HY_STEP_STRIP_ACCENTS:
            if (!IN(accents, c)) hy_buf_write(out, s, n);
            return;
        case HY_STEP_BERT_MARKS:
            if (!IN(bert_marks, c)) hy_buf_write(out, s, n);
            return;
        case HY_STEP_BERT_CLEAN:
            if (!IN(bert_controls, c)) hy_buf_write(out, IN(bert_spaces, c) ? " " : s, IN(bert_spaces, c) ? 1 : n);
            return;
        default:  // HY_STEP_BERT_IDEOGRAPHS
            if (IN(bert_ideographs, c)) hy_buf_write(out, " ", 1);
            hy_buf_write(out, s, n);
            if (IN(bert_ideographs, c)) hy_buf_write(out, " ", 1);
    }
}

static void each_char(hy_tok_step_kind kind, const char *s, size_t n, hy_buf *out) {
    for (size_t i = 0; i < n;) {
        int len;
        const uint32_t c = hy_utf8_get(s + i, &len);
        put_char(kind, c, s + i, (size_t)len, out);
        i += (size_t)len;
    }
}

// White space of Unicode: what clean_text makes a space, and the controls among them.
static bool is_space(uint32_t c) { return c == ' ' || c == 0xb || c == 0xc || c == 0x85 || IN(bert_spaces, c); }

static void trim(const hy_tok_step *step, const char *s, size_t n, hy_buf *out) {
    size_t from = 0, last;
    int len;
    while (step->left && from < n && is_space(hy_utf8_get(s + from, &len))) from += (size_t)len;
    for (; step->right && n > from; n = last) {
        for (last = n - 1; last > from && ((unsigned char)s[last] & 0xc0) == 0x80;) last--;
        if (!is_space(hy_utf8_get(s + last, &len))) break;
    }
    hy_buf_write(out, s + from, n - from);
}

// ---------------------------------------------------------------------------------------------------- steps
size_t hy_tok_most(size_t n) { return n > HY_TOKENIZER_MAX_TEXT / 64 - 4096 ? HY_TOKENIZER_MAX_TEXT : 64 * n + 4096; }

static hy_status too_long(size_t most) {
    return hy_error(HY_EINPUT, "the tokenizer's replacements make a text longer than %zu bytes, far above what it was",
                    most);
}

hy_status hy_replace(const hy_tok_step *step, const char *s, size_t n, size_t most, hy_buf *out) {
    if (!step->re) {
        for (size_t i = 0; i < n;) {
            if (out->n > most) return too_long(most);
            const char *hit = memmem(s + i, n - i, step->from, step->from_n);
            const size_t end = hit ? (size_t)(hit - s) : n;
            hy_buf_write(out, s + i, end - i);
            if (hit) hy_buf_write(out, step->to, step->to_n);
            i = end + (hit ? step->from_n : 0);
        }
        return out->n > most ? too_long(most) : HY_OK;
    }
    hy_regex_at at = {0};
    size_t done = 0, start, end;
    for (bool found = true;;) {
        HY_TRY(hy_regex_next(step->re, s, n, &at, &start, &end, &found));
        if (!found) break;
        if (out->n > most) return too_long(most);
        hy_buf_write(out, s + done, start - done);
        hy_buf_write(out, step->to, step->to_n);
        done = end;
    }
    hy_buf_write(out, s + done, n - done);
    return out->n > most ? too_long(most) : HY_OK;
}

hy_status hy_normalize(const hy_tok_steps *steps, const char *text, size_t n, hy_buf *out) {
    hy_buf other = {0};
    hy_status st = HY_OK;
    const size_t most = hy_tok_most(n);
    out->n = 0;
    hy_buf_write(out, text, n);
    for (int i = 0; !st && i < steps->n; i++) {
        const hy_tok_step *step = &steps->v[i];
        const hy_buf in = *out;
        other.n = 0;
        hy_buf_write(&other, "", 0);
        if (step->kind == HY_STEP_PREPEND) {
            if (in.n) hy_buf_write(&other, step->to, step->to_n);  // to nothing, nothing is added
            hy_buf_write(&other, in.s, in.n);
        } else if (step->kind == HY_STEP_REPLACE)
            st = hy_replace(step, in.s, in.n, most, &other);
        else if (step->kind == HY_STEP_TRIM)
            trim(step, in.s, in.n, &other);
        else if (step->kind >= HY_STEP_LOWERCASE)
            each_char(step->kind, in.s, in.n, &other);
        else
            st = form(in.s, in.n, step->kind, &other);
        *out = other;
        other = in;
        if (!st && out->n > most) st = too_long(most);
    }
    free(other.s);
    return st;
}

// ---------------------------------------------------------------------------------------------------- comparing
char *hy_text_folded(const char *text) {
    hy_buf whole = {0}, out = {0};
    hy_utf8_lossy(text, strlen(text), &whole);
    hy_buf_write(&out, "", 0);
    const int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD;
    if (form_part(whole.s, whole.n, options, &out)) out.n = 0, hy_buf_write(&out, whole.s, whole.n);
    hy_buf_write(&out, "", 0);
    free(whole.s);
    return out.s;
}
