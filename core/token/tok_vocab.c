// tok_vocab.c - pieces by id and ids by piece.
#include <stdlib.h>

#include "core/token/tok_impl.h"

void hy_vocab_init(hy_vocab *v, size_t pieces, int size) {
    *v = (hy_vocab){0};
    uint32_t slots = 64;
    while (slots < 2 * pieces + 2) slots *= 2;
    v->mask = slots - 1;
    v->slots = hy_xcalloc(slots, sizeof *v->slots);
    hy_vocab_grow(v, size);
}

void hy_vocab_grow(hy_vocab *v, int size) {
    if (size <= v->size) return;
    v->at = hy_xrealloc(v->at, (size_t)size * sizeof *v->at);
    v->len = hy_xrealloc(v->len, (size_t)size * sizeof *v->len);
    for (int i = v->size; i < size; i++) v->at[i] = 0, v->len[i] = UINT32_MAX;
    v->size = size;
}

void hy_vocab_free(hy_vocab *v) {
    free(v->pool.s);
    free(v->at);
    free(v->len);
    free(v->slots);
    *v = (hy_vocab){0};
}

// The slot of a piece, or the free one where it would be.
static uint32_t slot_of(const hy_vocab *v, const char *s, size_t n) {
    uint32_t i = (uint32_t)hy_hash64(s, n) & v->mask;
    for (; v->slots[i]; i = (i + 1) & v->mask) {
        const int32_t id = v->slots[i] - 1;
        if (v->len[id] == n && !memcmp(v->pool.s + v->at[id], s, n)) break;
    }
    return i;
}

bool hy_vocab_add(hy_vocab *v, const char *s, size_t n, int32_t id) {
    if (id < 0 || id >= v->size || v->len[id] != UINT32_MAX || n >= UINT32_MAX - v->pool.n) return false;
    const uint32_t i = slot_of(v, s, n);
    if (v->slots[i]) return false;
    HY_ASSERT((uint32_t)v->n < v->mask);
    v->at[id] = (uint32_t)v->pool.n;
    v->len[id] = (uint32_t)n;
    hy_buf_write(&v->pool, s, n);
    hy_buf_write(&v->pool, "", 1);  // pieces end in NUL, for messages
    v->slots[i] = id + 1;
    v->n++;
    return true;
}

int32_t hy_vocab_find(const hy_vocab *v, const char *s, size_t n) {
    return v->slots ? v->slots[slot_of(v, s, n)] - 1 : -1;
}

const char *hy_vocab_piece(const hy_vocab *v, int32_t id, size_t *n) {
    if (id < 0 || id >= v->size || v->len[id] == UINT32_MAX) return NULL;
    if (n) *n = v->len[id];
    return v->pool.s + v->at[id];
}

// ------------------------------------------------------------------------------------------------- bytes as characters
// Printable Latin-1 bytes stand for themselves; the 68 others, in order, are U+0100 and up.
uint32_t hy_byte_char(uint8_t b) {
    if (b <= 0x20) return 0x100u + b;
    if (b < 0x7f) return b;
    if (b <= 0xa0) return 0x121u + (b - 0x7fu);
    if (b == 0xad) return 0x143u;
    return b;
}

int hy_char_byte(uint32_t c) {
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7f);
    if (c == 0x143) return 0xad;
    return (c > 0x20 && c < 0x7f) || (c > 0xa0 && c < 0x100 && c != 0xad) ? (int)c : -1;
}
