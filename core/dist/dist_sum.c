// dist_sum.c - sums of vectors over ranks, in the order of the parts. A vector is handled in blocks. Of each block
// every rank has a share: the others send it that of their parts, and it adds these up in order. What is received is as
// large as a block, whatever the number of ranks.
#include <stdlib.h>
#include <string.h>

#include "core/base/parallel.h"
#include "core/dist/dist_impl.h"

#define UNIT ((size_t)1024)  // shares are multiples of so many elements

struct hy_dist_sum {
    hy_dist *d;
    size_t n, size, block, share;  // elements: of a vector, of a block, of a share of one
    bool any;                      // the sum has a part already
    char *acc;                     // the own share of each block: [blocks, share]
    char *got;                     // shares of the others' parts: [ranks, share]
};

static size_t block_elems(size_t n, size_t size) {
    const size_t most = HY_DIST_PIECE / size;
    return n < most ? n : most;
}
static size_t share_elems(size_t block, int ranks) {
    const size_t one = (block + (size_t)ranks - 1) / (size_t)ranks;
    return (one + UNIT - 1) / UNIT * UNIT;
}
static size_t blocks(size_t n, size_t block) { return block ? (n + block - 1) / block : 0; }

size_t hy_dist_sum_bytes(size_t n, size_t size, int ranks) {
    const size_t block = block_elems(n, size), share = share_elems(block, ranks);
    return (blocks(n, block) * share + (ranks > 1 ? (size_t)ranks * share : 0)) * size;
}

size_t hy_dist_sum_largest(size_t n, size_t size, int ranks) {
    const size_t block = block_elems(n, size), share = share_elems(block, ranks), last = block ? n % block : 0;
    return (block ? n / block : 0) * (share < block ? share : block) + (share < last ? share : last);
}

void hy_dist_sum_moves(size_t n, size_t size, int ranks, int parts, int spreads, size_t *bytes, size_t *exchanges) {
    const size_t block = block_elems(n, size), share = share_elems(block, ranks), turns = blocks(n, block);
    const size_t rounds = (size_t)((parts + ranks - 1) / ranks);
    *bytes = *exchanges = 0;
    for (int r = 0; r < ranks && ranks > 1; r++) {
        const size_t mine = (size_t)((parts - r + ranks - 1) / ranks);  // parts that it makes
        size_t sent = 0;
        for (size_t b = 0; b < turns && parts; b++) {
            const size_t m = n - b * block < block ? n - b * block : block, from = (size_t)r * share;
            const size_t own = from >= m ? 0 : m - from < share ? m - from : share;
            sent += (mine * (m - own) + (size_t)spreads * (size_t)(ranks - 1) * own) * size;
        }
        if (sent > *bytes) *bytes = sent;
        *exchanges = parts ? (rounds + (size_t)spreads) * turns : 0;
    }
}

hy_status hy_dist_sum_open(hy_dist *d, size_t n, size_t size, hy_dist_sum **out) {
    HY_ASSERT(size == sizeof(float) || size == sizeof(double));
    const int ranks = hy_dist_size(d);
    hy_dist_sum *s = hy_xcalloc(1, sizeof *s);
    *s = (hy_dist_sum){.d = d, .n = n, .size = size, .block = block_elems(n, size)};
    s->share = share_elems(s->block, ranks);
    s->acc = hy_alloc(blocks(n, s->block) * s->share * size);
    if (ranks > 1) s->got = hy_alloc((size_t)ranks * s->share * size);
    *out = s;
    if (s->acc && (ranks == 1 || s->got)) return HY_OK;
    hy_dist_sum_close(s);
    *out = NULL;
    return hy_error_context(HY_ENOMEM, "sums of gradients");
}

void hy_dist_sum_close(hy_dist_sum *s) {
    if (!s) return;
    free(s->acc);
    free(s->got);
    free(s);
}

// ---------------------------------------------------------------------------------------------------- adding
typedef struct {
    void *to;
    const void *x;
    size_t n, size;
} add_ctx;
static void add_units(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const add_ctx *c = ctx;
    const size_t begin = (size_t)from * UNIT, end = (size_t)to * UNIT < c->n ? (size_t)to * UNIT : c->n;
    if (c->size == sizeof(float))
        for (size_t i = begin; i < end; i++) ((float *)c->to)[i] += ((const float *)c->x)[i];
    else
        for (size_t i = begin; i < end; i++) ((double *)c->to)[i] += ((const double *)c->x)[i];
}

// The first part is the sum; others are added to it.
static void add(hy_dist_sum *s, bool first, void *to, const void *x, size_t n) {
    const add_ctx c = {to, x, n, s->size};
    if (first)
        memcpy(to, x, n * s->size);
    else
        hy_parallel(n > 16 * UNIT ? 0 : 1, (long)((n + UNIT - 1) / UNIT), 0, add_units, &c);
}

// Bytes of rank r's share of a block of m elements, and where in the block it begins.
static hy_dist_piece share_of(const hy_dist_sum *s, int r, size_t m, const void *base) {
    const size_t from = (size_t)r * s->share;
    if (from >= m) return (hy_dist_piece){0};
    const size_t n = m - from < s->share ? m - from : s->share;
    return (hy_dist_piece){(char *)base + from * s->size, n * s->size};
}

static hy_status add_block(hy_dist_sum *s, size_t b, int ranks, const void *part) {
    const size_t at = b * s->block, m = s->n - at < s->block ? s->n - at : s->block;
    const int me = hy_dist_rank(s->d), size = hy_dist_size(s->d);
    const char *own = part ? (const char *)part + at * s->size : NULL;
    const size_t bytes = share_of(s, me, m, s->got).n;
    for (int r = 0; r < size && size > 1; r++) {
        if (r == me) continue;
        if (own) s->d->send[r] = share_of(s, r, m, own);
        if (r < ranks) s->d->recv[r] = (hy_dist_piece){s->got + (size_t)r * s->share * s->size, bytes};
    }
    if (size > 1) HY_TRY(hy_dist_exchange(s->d));
    for (int r = 0; r < ranks && bytes; r++) {
        const void *x = r == me ? share_of(s, me, m, own).data : s->got + (size_t)r * s->share * s->size;
        add(s, !s->any && r == 0, s->acc + b * s->share * s->size, x, bytes / s->size);
    }
    return HY_OK;
}

hy_status hy_dist_sum_add(hy_dist_sum *s, int ranks, const void *part) {
    HY_ASSERT((hy_dist_rank(s->d) < ranks) == (part != NULL));
    for (size_t b = 0; b < blocks(s->n, s->block); b++) HY_TRY(add_block(s, b, ranks, part));
    s->any = s->any || ranks > 0;
    return HY_OK;
}

bool hy_dist_sum_share(const hy_dist_sum *s, size_t b, size_t *from, size_t *n) {
    if (b >= blocks(s->n, s->block)) return false;
    const size_t at = b * s->block, m = s->n - at < s->block ? s->n - at : s->block;
    *from = at + (size_t)hy_dist_rank(s->d) * s->share;
    *n = share_of(s, hy_dist_rank(s->d), m, s->acc).n / s->size;
    return true;
}

hy_status hy_dist_sum_spread(hy_dist_sum *s, void *vector) {
    const int me = hy_dist_rank(s->d), size = hy_dist_size(s->d);
    for (size_t b = 0; b < blocks(s->n, s->block) && size > 1; b++) {
        const size_t at = b * s->block, m = s->n - at < s->block ? s->n - at : s->block;
        char *to = (char *)vector + at * s->size;
        for (int r = 0; r < size; r++) {
            if (r == me) continue;
            s->d->send[r] = share_of(s, me, m, to);
            s->d->recv[r] = share_of(s, r, m, to);
        }
        HY_TRY(hy_dist_exchange(s->d));
    }
    return HY_OK;
}

hy_status hy_dist_sum_collect(hy_dist_sum *s, const void *packed, void *out) {
    const int me = hy_dist_rank(s->d), size = hy_dist_size(s->d);
    const char *from = packed;
    for (size_t b = 0; b < blocks(s->n, s->block); b++) {
        const size_t at = b * s->block, m = s->n - at < s->block ? s->n - at : s->block;
        const hy_dist_piece own = share_of(s, me, m, out ? (char *)out + at * s->size : s->acc);
        if (me == 0) memcpy(own.data, from, own.n);
        if (me != 0) s->d->send[0] = (hy_dist_piece){(char *)from, own.n};
        for (int r = 1; r < size && me == 0; r++) s->d->recv[r] = share_of(s, r, m, (char *)out + at * s->size);
        from += own.n;
        if (size > 1) HY_TRY(hy_dist_exchange(s->d));
    }
    return HY_OK;
}

hy_status hy_dist_sum_end(hy_dist_sum *s, void *out) {
    size_t from, n;
    if (!s->any) memset(out, 0, s->n * s->size);
    for (size_t b = 0; s->any && hy_dist_sum_share(s, b, &from, &n); b++)
        memcpy((char *)out + from * s->size, s->acc + b * s->share * s->size, n * s->size);
    const bool any = s->any;
    s->any = false;
    return any ? hy_dist_sum_spread(s, out) : HY_OK;
}
