// tok_bpe.c - byte pair encoding of one word: its symbols, then the merges, lowest rank first, leftmost first among
// equals (the order of the reference). Long words cost n log n; words that come often are remembered.
//
// A word is first cut where no merge can ever reach across: between symbols a, b such that no merge joins a token that
// may end in a with one that may begin with b. The parts cannot influence one another, so a text that a tokenizer takes
// as one word (Llama-2) falls into short parts, and the result is the same.
#include <stdlib.h>

#include "core/token/tok_impl.h"

#define SMALL 48  // symbols of a part that is merged by looking at all of them each time
#define CACHE_SLOTS (1 << 14)
#define CACHE_BYTES 38  // longest word that is remembered
#define CACHE_IDS 12    // and its most ids
#define DIRECT 0x3000   // code points whose symbols are in a table

typedef struct {
    uint64_t key;  // left id, right id; FREE if unused
    uint32_t rank;
    int32_t id;
} merge_slot;
typedef struct {
    uint64_t hash;
    uint8_t n, ids_n, text[CACHE_BYTES];  // n 0: free
    int32_t ids[CACHE_IDS];
} cache_slot;
typedef struct {
    int32_t *sym;
    uint32_t *rank, *prev, *next;
    uint64_t *heap;
    size_t cap, heap_n, heap_cap;
} workspace;

struct hy_bpe {
    hy_bpe_options o;
    int32_t unk;                                // -1: none
    int32_t byte_symbol[256], byte_piece[256];  // of byte-level characters, of "<0x..>"; -1: none
    int32_t direct[DIRECT];
    merge_slot *merges;
    uint64_t *joins;  // pairs of symbols that some merge may reach across
    uint32_t merge_mask, join_mask;
    cache_slot *cache;
    workspace w;
};

#define FREE UINT64_MAX
static uint64_t pair_key(int32_t a, int32_t b) { return (uint64_t)(uint32_t)a << 32 | (uint32_t)b; }
static uint32_t pair_hash(uint64_t k) {
    k *= 0x9E3779B97F4A7C15u;
    return (uint32_t)(k >> 32 ^ k >> 15);
}

static const merge_slot *merge_find(const hy_bpe *b, int32_t left, int32_t right) {
    const uint64_t key = pair_key(left, right);
    for (uint32_t i = pair_hash(key) & b->merge_mask;; i = (i + 1) & b->merge_mask) {
        if (b->merges[i].key == key) return &b->merges[i];
        if (b->merges[i].key == FREE) return NULL;
    }
}

static bool joins_has(const hy_bpe *b, int32_t left, int32_t right) {
    const uint64_t key = pair_key(left, right);
    for (uint32_t i = pair_hash(key) & b->join_mask;; i = (i + 1) & b->join_mask) {
        if (b->joins[i] == key) return true;
        if (b->joins[i] == FREE) return false;
    }
}

// ---------------------------------------------------------------------------------------------------- making
static void joins_add(hy_bpe *b, int32_t left, int32_t right) {
    const uint64_t key = pair_key(left, right);
    uint32_t i = pair_hash(key) & b->join_mask;
    while (b->joins[i] != FREE && b->joins[i] != key) i = (i + 1) & b->join_mask;
    b->joins[i] = key;
}

// The symbols that a token may begin or end with: its first or last character, and itself where it can be a symbol
// (unknown, byte).
static int edge_symbols(const hy_bpe *b, int32_t id, bool last, int32_t out[2]) {
    size_t n;
    const char *s = hy_vocab_piece(b->o.vocab, id, &n);
    int k = 0;
    out[k++] = id;
    if (n == 0) return k;
    size_t at = 0;
    if (last)
        for (at = n - 1; at > 0 && ((unsigned char)s[at] & 0xc0) == 0x80;) at--;
    const int32_t edge = hy_vocab_find(b->o.vocab, s + at, last ? n - at : (size_t)hy_utf8_length(s, n));
    if (edge >= 0 && edge != id) out[k++] = edge;
    return k;
}

static void symbols_table(hy_bpe *b) {
    char c[8];
    for (int i = 0; i < 256; i++) {
        b->byte_symbol[i] = hy_vocab_find(b->o.vocab, c, (size_t)hy_utf8_put(hy_byte_char((uint8_t)i), c));
        snprintf(c, sizeof c, "<0x%02X>", (unsigned)i);
        b->byte_piece[i] = hy_vocab_find(b->o.vocab, c, 6);
    }
    for (uint32_t i = 0; i < DIRECT; i++) b->direct[i] = hy_vocab_find(b->o.vocab, c, (size_t)hy_utf8_put(i, c));
}

hy_bpe *hy_bpe_new(const hy_bpe_options *o, const hy_bpe_merge *merges, size_t n, size_t *bad) {
    hy_bpe *b = hy_xcalloc(1, sizeof *b);
    b->o = *o;
    b->unk = o->unk ? hy_vocab_find(o->vocab, o->unk, strlen(o->unk)) : -1;
    symbols_table(b);
    uint32_t slots = 64;
    while (slots < 2 * n + 2) slots *= 2;
    b->merge_mask = slots - 1;
    b->merges = hy_xcalloc(slots, sizeof *b->merges);
    for (uint32_t i = 0; i < slots; i++) b->merges[i].key = FREE;
    b->join_mask = 4 * slots - 1;
    b->joins = hy_xcalloc(4 * (size_t)slots, sizeof *b->joins);
    memset(b->joins, 0xff, 4 * (size_t)slots * sizeof *b->joins);
    hy_buf joined = {0};
    const size_t prefix_n = o->prefix ? strlen(o->prefix) : 0;
    size_t i = 0;
    for (; i < n; i++) {
        size_t left_n, right_n;
        const char *left = hy_vocab_piece(o->vocab, merges[i].left, &left_n),
                   *right = hy_vocab_piece(o->vocab, merges[i].right, &right_n);
        joined.n = 0;
        const size_t cut =
            prefix_n < right_n ? prefix_n : right_n;  // what marks the right one as inside of a word goes
        hy_buf_write(&joined, left, left_n);
        hy_buf_write(&joined, right + cut, right_n - cut);
        const int32_t id = hy_vocab_find(o->vocab, joined.s, joined.n);
        if (id < 0) break;
        const uint64_t key = pair_key(merges[i].left, merges[i].right);
        uint32_t k = pair_hash(key) & b->merge_mask;
        while (b->merges[k].key != FREE && b->merges[k].key != key) k = (k + 1) & b->merge_mask;
        b->merges[k] = (merge_slot){key, (uint32_t)i, id};  // of a pair that is listed twice the last counts
        int32_t a[2], c[2];
        const int na = edge_symbols(b, merges[i].left, true, a), nc = edge_symbols(b, merges[i].right, false, c);
        for (int x = 0; x < na; x++)
            for (int y = 0; y < nc; y++) joins_add(b, a[x], c[y]);
    }
    free(joined.s);
    *bad = i;
    if (i < n) {
        hy_bpe_free(b);
        return NULL;
    }
    b->cache = hy_xcalloc(CACHE_SLOTS, sizeof *b->cache);
    return b;
}

void hy_bpe_free(hy_bpe *b) {
    if (!b) return;
    free(b->merges);
    free(b->joins);
    free(b->cache);
    free(b->w.sym);
    free(b->w.rank);
    free(b->w.prev);
    free(b->w.next);
    free(b->w.heap);
    free(b);
}

// ---------------------------------------------------------------------------------------------------- merging
static void workspace_grow(workspace *w, size_t n) {
    if (n <= w->cap) return;
    const size_t cap = 2 * n < 1024 ? 1024 : 2 * n;
    w->sym = hy_xrealloc(w->sym, cap * sizeof *w->sym);
    w->rank = hy_xrealloc(w->rank, cap * sizeof *w->rank);
    w->cap = cap;
}

// A few symbols: the best pair is looked for each time. Returns how many are left.
static size_t merge_small(const hy_bpe *b, int32_t *sym, size_t n) {
    const merge_slot *best[SMALL];  // of the pair that begins at i
    for (size_t i = 0; i + 1 < n; i++) best[i] = merge_find(b, sym[i], sym[i + 1]);
    while (n > 1) {
        size_t at = n;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++)
            if (best[i] && best[i]->rank < rank) rank = best[i]->rank, at = i;
        if (at == n) break;
        sym[at] = best[at]->id;
        memmove(sym + at + 1, sym + at + 2, (n - at - 2) * sizeof *sym);
        if (at + 3 < n) memmove(best + at + 1, best + at + 2, (n - at - 3) * sizeof *best);
        n--;
        if (at > 0) best[at - 1] = merge_find(b, sym[at - 1], sym[at]);
        if (at + 1 < n) best[at] = merge_find(b, sym[at], sym[at + 1]);
    }
    return n;
}

static void sift_down(uint64_t *h, size_t n, size_t i) {
    const uint64_t v = h[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && h[c + 1] < h[c]) c++;
        if (h[c] >= v) break;
        h[i] = h[c];
    }
    h[i] = v;
}

static void heap_push(workspace *w, uint64_t v) {
    if (w->heap_n == w->heap_cap) {
        w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 1024;
        w->heap = hy_xrealloc(w->heap, w->heap_cap * sizeof *w->heap);
    }
    size_t i = w->heap_n++;
    for (; i > 0 && w->heap[(i - 1) / 2] > v; i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = v;
}

// Many symbols: a heap of (rank, place); an entry is stale unless it is the rank of the pair that begins there now.
static size_t merge_large(hy_bpe *b, int32_t *sym, uint32_t *rank, size_t n) {
    workspace *w = &b->w;
    w->prev = hy_xrealloc(w->prev, n * sizeof *w->prev);
    w->next = hy_xrealloc(w->next, n * sizeof *w->next);
    w->heap_n = 0;
    for (size_t i = 0; i < n; i++) {
        const merge_slot *m = i + 1 < n ? merge_find(b, sym[i], sym[i + 1]) : NULL;
        rank[i] = m ? m->rank : UINT32_MAX;
        w->prev[i] = i ? (uint32_t)i - 1 : UINT32_MAX;
        w->next[i] = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
        if (m) heap_push(w, (uint64_t)m->rank << 32 | i);
    }
    while (w->heap_n) {
        const uint64_t top = w->heap[0];
        w->heap[0] = w->heap[--w->heap_n];
        if (w->heap_n) sift_down(w->heap, w->heap_n, 0);
        const uint32_t at = (uint32_t)top;
        if (rank[at] != (uint32_t)(top >> 32)) continue;
        const uint32_t right = w->next[at], after = w->next[right], before = w->prev[at];
        sym[at] = merge_find(b, sym[at], sym[right])->id;
        sym[right] = -1;
        rank[right] = UINT32_MAX;
        w->next[at] = after;
        if (after != UINT32_MAX) w->prev[after] = at;
        const merge_slot *m = after != UINT32_MAX ? merge_find(b, sym[at], sym[after]) : NULL;
        rank[at] = m ? m->rank : UINT32_MAX;
        if (m) heap_push(w, (uint64_t)m->rank << 32 | at);
        if (before == UINT32_MAX) continue;
        m = merge_find(b, sym[before], sym[at]);
        rank[before] = m ? m->rank : UINT32_MAX;
        if (m) heap_push(w, (uint64_t)m->rank << 32 | before);
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (sym[i] >= 0) sym[k++] = sym[i];
    return k;
}

static void merge_part(hy_bpe *b, int32_t *sym, uint32_t *rank, size_t n, hy_token_ids *out) {
    n = n <= SMALL ? merge_small(b, sym, n) : merge_large(b, sym, rank, n);
    for (size_t i = 0; i < n; i++) hy_token_ids_add(out, sym[i]);
}

// ---------------------------------------------------------------------------------------------------- symbols
typedef struct {
    size_t n;
    int pending;  // characters whose unknown symbol is still to be written
    bool plain;   // no unknown and no byte symbols: a part's text alone says what it becomes
} symbols;

static void put_symbol(hy_bpe *b, symbols *s, int32_t id) {
    workspace_grow(&b->w, s->n + 1);
    b->w.sym[s->n++] = id;
}

// A character that is no piece: its bytes, or unknown, or nothing. The unknown symbol is written when the next known
// character comes or the word ends, as in the reference: byte symbols in between stand before it.
static hy_status put_missing(hy_bpe *b, symbols *s, const char *c, int n) {
    s->plain = false;
    bool all = b->o.byte_fallback;
    for (int i = 0; i < n && all; i++) all = b->byte_piece[(uint8_t)c[i]] >= 0;
    if (all) {
        for (int i = 0; i < n; i++) put_symbol(b, s, b->byte_piece[(uint8_t)c[i]]);
        return HY_OK;
    }
    if (!b->o.unk) return HY_OK;
    if (b->unk < 0)
        return hy_error(HY_EINPUT, "the text has a character that is no piece, and unk_token \"%s\" is none either",
                        b->o.unk);
    if (s->pending && !b->o.fuse_unk) put_symbol(b, s, b->unk);
    s->pending = 1;
    return HY_OK;
}

static void put_known(hy_bpe *b, symbols *s, int32_t id) {
    if (s->pending) put_symbol(b, s, b->unk);
    s->pending = 0;
    put_symbol(b, s, id);
}

static int32_t char_symbol(const hy_bpe *b, const char *s, int *len) {
    const uint32_t c = hy_utf8_get(s, len);
    return c < DIRECT ? b->direct[c] : hy_vocab_find(b->o.vocab, s, (size_t)*len);
}

// The same where symbols inside a word have a prefix, and the last one a suffix.
static hy_status affix_symbols(hy_bpe *b, const char *s, size_t n, bool bytes, symbols *out) {
    hy_buf c = {0};
    hy_status st = HY_OK;
    *out = (symbols){0};
    for (size_t i = 0, len; i < n && !st; i += len) {
        char byte[4];
        len = bytes ? 1 : (size_t)hy_utf8_length(s + i, n - i);
        c.n = 0;
        if (i && b->o.prefix) hy_buf_write(&c, b->o.prefix, strlen(b->o.prefix));
        if (bytes)
            hy_buf_write(&c, byte, (size_t)hy_utf8_put(hy_byte_char((uint8_t)s[i]), byte));
        else
            hy_buf_write(&c, s + i, len);
        if (i + len == n && b->o.suffix) hy_buf_write(&c, b->o.suffix, strlen(b->o.suffix));
        const int32_t id = hy_vocab_find(b->o.vocab, c.s, c.n);
        if (id >= 0)
            put_known(b, out, id);
        else
            st = put_missing(b, out, c.s, (int)c.n);
    }
    if (!st && out->pending) put_symbol(b, out, b->unk);
    free(c.s);
    return st;
}

static hy_status word_symbols(hy_bpe *b, const char *s, size_t n, bool bytes, symbols *out) {
    if (b->o.prefix || b->o.suffix) return affix_symbols(b, s, n, bytes, out);
    *out = (symbols){.plain = true};
    workspace_grow(&b->w, n + 1);
    for (size_t i = 0; i < n;) {
        int len = 1;
        const int32_t id = bytes ? b->byte_symbol[(uint8_t)s[i]] : char_symbol(b, s + i, &len);
        char c[4];
        if (id >= 0)
            put_known(b, out, id);
        else if (bytes) {
            const int put = hy_utf8_put(hy_byte_char((uint8_t)s[i]), c);
            HY_TRY(put_missing(b, out, c, put));
        } else
            HY_TRY(put_missing(b, out, s + i, len));
        i += (size_t)len;
    }
    if (out->pending) put_symbol(b, out, b->unk);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- words
static cache_slot *cache_of(hy_bpe *b, const char *s, size_t n, bool bytes, uint64_t *hash) {
    *hash = hy_hash64(s, n) ^ (bytes ? 0x5bd1e995u : 0);
    return &b->cache[*hash & (CACHE_SLOTS - 1)];
}
static bool cache_get(const cache_slot *c, uint64_t hash, const char *s, size_t n, hy_token_ids *out) {
    if (c->hash != hash || c->n != n || memcmp(c->text, s, n)) return false;
    for (int i = 0; i < c->ids_n; i++) hy_token_ids_add(out, c->ids[i]);
    return true;
}
// The ids from `before` on.
static void cache_put(cache_slot *c, uint64_t hash, const char *s, size_t n, const hy_token_ids *out, size_t before) {
    const size_t k = out->n - before;
    if (k > CACHE_IDS) return;
    c->hash = hash;
    c->n = (uint8_t)n;
    c->ids_n = (uint8_t)k;
    memcpy(c->text, s, n);
    for (size_t i = 0; i < k; i++) c->ids[i] = out->v[before + i];
}

// Cuts the symbols of a word into parts that no merge crosses, and merges each. text: the word where its parts may be
// remembered by their bytes (one symbol a character or byte), else NULL.
static void merge_parts(hy_bpe *b, size_t n, const char *text, bool bytes, hy_token_ids *out) {
    size_t byte = 0, byte_start = 0;
    const bool whole =
        b->o.prefix || b->o.suffix;  // with affixes a piece does not show what symbols it begins and ends with
    for (size_t from = 0, i = 0; i < n; i++) {
        if (text) byte += bytes ? 1 : (size_t)hy_utf8_length(text + byte, 4);
        if (i + 1 < n && (whole || joins_has(b, b->w.sym[i], b->w.sym[i + 1]))) continue;
        const size_t bytes_n = byte - byte_start;
        if (from == i) {
            hy_token_ids_add(out, b->w.sym[i]);
        } else if (text && bytes_n <= CACHE_BYTES) {
            uint64_t hash;
            cache_slot *c = cache_of(b, text + byte_start, bytes_n, bytes, &hash);
            if (!cache_get(c, hash, text + byte_start, bytes_n, out)) {
                const size_t before = out->n;
                merge_part(b, b->w.sym + from, b->w.rank + from, i + 1 - from, out);
                cache_put(c, hash, text + byte_start, bytes_n, out, before);
            }
        } else {
            merge_part(b, b->w.sym + from, b->w.rank + from, i + 1 - from, out);
        }
        from = i + 1;
        byte_start = byte;
    }
}

static int32_t whole_word(const hy_bpe *b, const char *s, size_t n, bool bytes) {
    if (!bytes) return hy_vocab_find(b->o.vocab, s, n);
    hy_buf piece = {0};
    char c[4];
    for (size_t i = 0; i < n; i++) hy_buf_write(&piece, c, (size_t)hy_utf8_put(hy_byte_char((uint8_t)s[i]), c));
    const int32_t id = hy_vocab_find(b->o.vocab, piece.s, piece.n);
    free(piece.s);
    return id;
}

hy_status hy_bpe_word(hy_bpe *b, const char *s, size_t n, bool bytes, hy_token_ids *out) {
    if (n == 0) return HY_OK;
    uint64_t hash = 0;
    cache_slot *c = n <= CACHE_BYTES ? cache_of(b, s, n, bytes, &hash) : NULL;
    if (c && cache_get(c, hash, s, n, out)) return HY_OK;
    const size_t before = out->n;
    const int32_t whole = b->o.ignore_merges ? whole_word(b, s, n, bytes) : -1;
    if (whole >= 0) {
        hy_token_ids_add(out, whole);
    } else {
        symbols sym;
        HY_TRY(word_symbols(b, s, n, bytes, &sym));
        // parts of a word under ignore_merges are not words of their own, and short words are remembered whole
        merge_parts(b, sym.n, sym.plain && !b->o.ignore_merges && n > CACHE_BYTES ? s : NULL, bytes, out);
    }
    if (c) cache_put(c, hash, s, n, out, before);
    return HY_OK;
}
