// blocks.h - a large matrix made small while its rows come: each value of the small one stands for a block of rows and
// columns of the large one, which is never held. For pictures of more values than pixels.
#ifndef HY_BLOCKS_H
#define HY_BLOCKS_H
#include "core/base/base.h"

typedef enum {
    HY_BLOCK_MAX = 0,  // the value of the largest size, with its sign: a thin line stays
    HY_BLOCK_MEAN,     // the mean of its values
} hy_block_how;
#define HY_BLOCK_CHOICES "max|mean"

// Where the values of a small matrix lie in the large one: rows i0 .. i1-1, columns j0 .. j1-1 of it, in blocks of
// `down` rows and `across` columns from there on (fewer at the ends); rows, columns: of the small one.
typedef struct {
    int i0, i1, j0, j1, down, across, rows, columns;
    hy_block_how how;
} hy_block_shape;
// That part of a matrix in at most `most` blocks a side.
hy_block_shape hy_block_shape_of(int i0, int i1, int j0, int j1, int most, hy_block_how how);
bool hy_block_whole(const hy_block_shape *s);  // blocks of one value each
// "max over 16 x 16 positions", "of 1 position": for notes; caller frees.
char *hy_block_text(const hy_block_shape *s);

typedef struct {
    hy_block_shape shape;
    double *v;  // [rows, columns]
    int *n;     // values of each so far
} hy_blocks;
hy_status hy_blocks_open(const hy_block_shape *s, hy_blocks *out);
void hy_blocks_free(hy_blocks *b);
// Row i of the large matrix, all its columns; NaN: no value.
void hy_blocks_row(hy_blocks *b, int i, const double *row);
double hy_blocks_at(const hy_blocks *b, int k);  // value k of the small matrix; NaN: its block has none
#endif
