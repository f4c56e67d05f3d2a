// blocks.c - see blocks.h.
#include "core/base/blocks.h"

#include <math.h>
#include <stdlib.h>

static int parts(int n, int most) { return (n + most - 1) / most; }

hy_block_shape hy_block_shape_of(int i0, int i1, int j0, int j1, int most, hy_block_how how) {
    HY_ASSERT(i0 < i1 && j0 < j1 && most > 0);
    const int down = parts(i1 - i0, most), across = parts(j1 - j0, most);
    return (hy_block_shape){i0, i1, j0, j1, down, across, parts(i1 - i0, down), parts(j1 - j0, across), how};
}

bool hy_block_whole(const hy_block_shape *s) { return s->down == 1 && s->across == 1; }

char *hy_block_text(const hy_block_shape *s) {
    return hy_asprintf("%s over %d x %d positions", s->how == HY_BLOCK_MEAN ? "mean" : "max", s->down, s->across);
}

hy_status hy_blocks_open(const hy_block_shape *s, hy_blocks *out) {
    const size_t n = (size_t)s->rows * (size_t)s->columns;
    *out = (hy_blocks){.shape = *s, .v = hy_alloc(n * sizeof(double)), .n = hy_alloc(n * sizeof(int))};
    if (out->v && out->n) return HY_OK;
    hy_blocks_free(out);
    return HY_ENOMEM;
}

void hy_blocks_free(hy_blocks *b) {
    free(b->v), free(b->n);
    *b = (hy_blocks){0};
}

void hy_blocks_row(hy_blocks *b, int i, const double *row) {
    const hy_block_shape *s = &b->shape;
    if (i < s->i0 || i >= s->i1) return;
    const size_t at = (size_t)((i - s->i0) / s->down) * (size_t)s->columns;
    for (int j = s->j0; j < s->j1; j++) {
        const size_t k = at + (size_t)((j - s->j0) / s->across);
        if (isnan(row[j])) continue;
        if (s->how == HY_BLOCK_MEAN)
            b->v[k] += row[j];
        else if (!b->n[k] || fabs(row[j]) > fabs(b->v[k]))
            b->v[k] = row[j];
        b->n[k]++;
    }
}

double hy_blocks_at(const hy_blocks *b, int k) {
    if (!b->n[k]) return NAN;
    return b->shape.how == HY_BLOCK_MEAN ? b->v[k] / b->n[k] : b->v[k];
}
