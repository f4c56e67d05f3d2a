// tok_added.c - added tokens inside a text: leftmost, longest, as the reference finds them.
#include <stdlib.h>

#include "core/token/tok_impl.h"

typedef struct {
    uint8_t byte;
    int32_t child, sibling;  // nodes; -1: none
    int32_t token;           // of the list; -1: none ends here
} node;
struct hy_added_trie {
    const hy_added *list;
    node *v;
    int n, cap;
    int32_t root[256];
    hy_regex *word, *space;
};

static int32_t child_of(const hy_added_trie *t, int32_t at, uint8_t byte) {
    int32_t c = at < 0 ? t->root[byte] : t->v[at].child;
    while (at >= 0 && c >= 0 && t->v[c].byte != byte) c = t->v[c].sibling;
    return c;
}

static int32_t child_add(hy_added_trie *t, int32_t at, uint8_t byte) {
    const int32_t c = child_of(t, at, byte);
    if (c >= 0) return c;
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 256;
        t->v = hy_xrealloc(t->v, (size_t)t->cap * sizeof *t->v);
    }
    t->v[t->n] = (node){.byte = byte, .child = -1, .sibling = at < 0 ? -1 : t->v[at].child, .token = -1};
    if (at < 0)
        t->root[byte] = t->n;
    else
        t->v[at].child = t->n;
    return t->n++;
}

hy_added_trie *hy_added_trie_new(const hy_added *list, char *const *patterns, int n) {
    hy_added_trie *t = hy_xcalloc(1, sizeof *t);
    t->list = list;
    memset(t->root, 0xff, sizeof t->root);
    hy_status s = hy_regex_class("rust_word", &t->word);
    if (!s) s = hy_regex_class("space", &t->space);
    HY_ASSERT(s == HY_OK);  // sets of tok_classes.def
    for (int special = 1; special >= 0;
         special--)  // special tokens come first in the reference: of equal patterns they count
        for (int i = 0; i < n; i++) {
            if (!patterns[i] || !patterns[i][0] || list[i].special != special) continue;
            int32_t at = -1;
            for (const char *p = patterns[i]; *p; p++) at = child_add(t, at, (uint8_t)*p);
            if (t->v[at].token < 0) t->v[at].token = i;
        }
    return t;
}

void hy_added_trie_free(hy_added_trie *t) {
    if (!t) return;
    hy_regex_free(t->word);
    hy_regex_free(t->space);
    free(t->v);
    free(t);
}

static bool in_class(hy_regex *r, const char *s, size_t n) {
    hy_regex_at at = {0};
    size_t a, b;
    bool found = false;
    return n && !hy_regex_next(r, s, n, &at, &a, &b, &found) && found;
}

static size_t last_char(const char *s, size_t n) {  // its bytes
    size_t k = 1;
    while (k < n && ((unsigned char)s[n - k] & 0xc0) == 0x80) k++;
    return k;
}

static void part_add(hy_added_parts *p, int32_t id, size_t at, size_t n) {
    HY_GROW(p);
    p->v[p->n++] = (hy_added_part){id, at, n};
}

// A match at start .. end; what it takes of the spaces around it. Only pieces before `done` are taken already.
static void match_add(hy_added_trie *t, const hy_added *a, const char *s, size_t n, size_t start, size_t end,
                      size_t *done, hy_added_parts *out) {
    if (a->single_word) {
        const size_t k = start ? last_char(s, start) : 0;
        if (in_class(t->word, s + start - k, k)) return;
        if (end < n && in_class(t->word, s + end, (size_t)hy_utf8_length(s + end, n - end))) return;
    }
    if (a->lstrip) {
        while (start > 0 && in_class(t->space, s + start - last_char(s, start), last_char(s, start)))
            start -= last_char(s, start);
        if (start < *done) start = *done;
    }
    while (a->rstrip && end < n && in_class(t->space, s + end, (size_t)hy_utf8_length(s + end, n - end)))
        end += (size_t)hy_utf8_length(s + end, n - end);
    if (*done < start) part_add(out, -1, *done, start - *done);
    part_add(out, a->id, start, end > start ? end - start : 0);
    *done = end;
}

hy_status hy_added_cut(hy_added_trie *t, const char *s, size_t n, hy_added_parts *out) {
    size_t done = 0;
    out->n = 0;
    for (size_t i = 0; t && t->n && i < n;) {
        size_t best = 0;
        int32_t token = -1;
        int32_t at = t->root[(uint8_t)s[i]];
        for (size_t k = i + 1; at >= 0; at = child_of(t, at, (uint8_t)s[k++])) {
            if (t->v[at].token >= 0) token = t->v[at].token, best = k;
            if (k == n) break;
        }
        if (token < 0) {
            i++;
            continue;
        }
        match_add(t, &t->list[token], s, n, i, best, &done, out);
        i = best;
    }
    if (done < n) part_add(out, -1, done, n - done);
    return HY_OK;
}
