// dist.c - what ranks say to each other, made of exchanges. See dist.h.
#include "core/dist/dist.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/plural.h"
#include "core/dist/dist_impl.h"

enum { TEXT = 2048 };  // bytes of a message that goes to the others

hy_status hy_dist_over(const hy_dist_transport *t, void *self, int rank, int size, double patience, hy_dist **out) {
    hy_dist *d = hy_xcalloc(1, sizeof *d);
    *d = (hy_dist){.t = t, .self = self, .rank = rank, .size = size, .patience = patience};
    d->late = hy_xcalloc((size_t)size, sizeof *d->late);
    d->send = hy_xcalloc(2 * (size_t)size, sizeof *d->send);
    d->recv = d->send + size;
    *out = d;
    return HY_OK;
}

void hy_dist_close(hy_dist *d) {
    if (!d) return;
    if (d->t->close) d->t->close(d->self);
    free(d->send);
    free(d->late);
    free(d);
}

int hy_dist_rank(const hy_dist *d) { return d ? d->rank : 0; }
double hy_dist_patience(const hy_dist *d) { return d ? d->patience : 0; }
int hy_dist_size(const hy_dist *d) { return d ? d->size : 1; }

// ---------------------------------------------------------------------------------------------------- an exchange
// "rank 2", "ranks 2, 5"
static void late_text(const hy_dist *d, hy_buf *b) {
    int n = 0;
    for (int r = 0; r < d->size; r++) n += d->late[r];
    hy_buf_printf(b, "rank%s", hy_s(n));
    int told = 0;
    for (int r = 0; r < d->size; r++)
        if (d->late[r]) hy_buf_printf(b, "%s %d", told++ ? "," : "", r);
}

hy_status hy_dist_exchange(hy_dist *d) {
    memset(d->late, 0, (size_t)d->size * sizeof *d->late);
    const hy_status s = d->t->exchange(d->self, d->send, d->recv, d->patience, d->late);
    memset(d->send, 0, 2 * (size_t)d->size * sizeof *d->send);
    if (!s) return HY_OK;
    hy_buf b = {0};
    late_text(d, &b);
    hy_error(s,
             "%s of %d: no answer for %g seconds, it hangs or is gone: all ranks are ended; the newest checkpoint is "
             "whole (--resume goes on from it, --patience waits longer)",
             b.s, d->size, d->patience);
    free(b.s);
    if (!d->t->end_all) return s;
    fprintf(stderr, "\nhylab: %s\n", hy_error_text());
    fflush(stderr);
    d->t->end_all(d->self, hy_status_exit(s));
    return s;
}

// ---------------------------------------------------------------------------------------------------- talking
hy_status hy_dist_gather(hy_dist *d, const void *mine, size_t n, void *all) {
    char *to = all;
    const int me = hy_dist_rank(d);
    HY_ASSERT(n <= HY_DIST_PIECE);
    memmove(to + (size_t)me * n, mine, n);
    if (!d) return HY_OK;
    for (int r = 0; r < d->size; r++) {
        if (r == me) continue;
        d->send[r] = (hy_dist_piece){to + (size_t)me * n, n};
        d->recv[r] = (hy_dist_piece){to + (size_t)r * n, n};
    }
    return hy_dist_exchange(d);
}

hy_status hy_dist_broadcast(hy_dist *d, int from, void *data, size_t n) {
    HY_ASSERT(n <= HY_DIST_PIECE);
    if (!d) return HY_OK;
    for (int r = 0; r < d->size && d->rank == from; r++)
        if (r != from) d->send[r] = (hy_dist_piece){data, n};
    if (d->rank != from) d->recv[from] = (hy_dist_piece){data, n};
    return hy_dist_exchange(d);
}

hy_status hy_dist_barrier(hy_dist *d) {
    char *all = hy_xcalloc((size_t)hy_dist_size(d), 1);
    const hy_status s = hy_dist_gather(d, "", 1, all);
    free(all);
    return s;
}

hy_status hy_dist_agree(hy_dist *d, hy_status mine) {
    if (!d) return mine;
    char text[TEXT] = "";
    const int32_t word = mine;
    int32_t *all = hy_xcalloc((size_t)d->size, sizeof *all);
    if (mine) snprintf(text, sizeof text, "%s", hy_error_text());
    hy_status s = hy_dist_gather(d, &word, sizeof word, all);
    int r = 0;
    while (!s && r < d->size && !all[r]) r++;
    if (!s && r < d->size) {
        s = hy_dist_broadcast(d, r, text, sizeof text);
        if (!s) s = r ? hy_error((hy_status)all[r], "rank %d: %s", r, text) : hy_error((hy_status)all[r], "%s", text);
    }
    free(all);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the same text
typedef char hash[33];

// The rank that differs from most; -1: none does. Of two halves rank 0's is right.
static int odd_one(const hash *all, int size, int *like) {
    int best = 0;
    *like = 0;
    for (int r = 0; r < size; r++) {
        int n = 0;
        for (int q = 0; q < size; q++) n += !memcmp(all[q], all[r], sizeof(hash));
        if (n > best) best = n, *like = r;
    }
    for (int r = 0; r < size; r++)
        if (memcmp(all[r], all[*like], sizeof(hash)) != 0) return r;
    return -1;
}

// The line of `a` that differs first from `b`, cut to what a message can hold.
static void first_difference(const char *a, const char *b, char *out, size_t n) {
    size_t from = 0, i = 0;
    for (; a[i] && a[i] == b[i]; i++)
        if (a[i] == '\n') from = i + 1;
    const int len = (int)strcspn(a + from, "\n");
    snprintf(out, n, "%.*s", len, a + from);
    if (!*out) snprintf(out, n, "(nothing)");
}

// Two ranks show their texts to all.
static hy_status tell_difference(hy_dist *d, const char *what, const char *text, int odd, int like) {
    int64_t size[2] = {(int64_t)strlen(text) + 1, (int64_t)strlen(text) + 1};
    char *shown[2];
    char mine[2][400];
    hy_status s = HY_OK;
    for (int k = 0; k < 2; k++) {
        const int from = k ? like : odd;
        if (!s) s = hy_dist_broadcast(d, from, &size[k], sizeof size[k]);
        shown[k] = hy_xcalloc((size_t)size[k], 1);
        if (!s && d->rank == from) memcpy(shown[k], text, (size_t)size[k]);
        if (!s) s = hy_dist_broadcast(d, from, shown[k], (size_t)size[k]);
    }
    if (!s) {
        first_difference(shown[0], shown[1], mine[0], sizeof mine[0]);
        first_difference(shown[1], shown[0], mine[1], sizeof mine[1]);
        s = hy_error(HY_EINPUT, "ranks differ in %s: rank %d has %s, rank %d has %s", what, odd, mine[0], like,
                     mine[1]);
    }
    free(shown[0]);
    free(shown[1]);
    return s;
}

hy_status hy_dist_same(hy_dist *d, const char *what, const char *text) {
    if (!d) return HY_OK;
    hash mine, *all = hy_xcalloc((size_t)d->size, sizeof *all);
    hy_hash_hex(text, strlen(text), mine);
    hy_status s = hy_dist_gather(d, mine, sizeof mine, all);
    int like;
    const int odd = s ? -1 : odd_one((const hash *)all, d->size, &like);
    free(all);
    return odd < 0 ? s : tell_difference(d, what, text, odd, like);
}
