// scan_tile.h - what the fast scan kernels share: tiles of states with channels in the lanes. For files compiled with
// HY_ISA_SUFFIX only.
#ifndef HY_CPU_SCAN_TILE_H
#define HY_CPU_SCAN_TILE_H
#include "kernels/cpu/scan.h"
#include "kernels/cpu/fast/vec.h"
#include "kernels/kernels.h"

#define LOG2_E 1.44269504088896341f

HY_INLINE int lanes_of(int d, int d1) { return d1 - d < HY_LANES ? d1 - d : HY_LANES; }

// Asks for the cache lines at column d of n rows. Rows are far apart, which the hardware does not foresee; rows of a
// power of two would throw each other out of the L1 cache, so the L2 cache gets them.
HY_INLINE void prefetch_rows(const void *p, int ld, size_t row, int n, int d) {
    for (int i = 0; i < n; i++) __builtin_prefetch((const float *)p + (row + i) * ld + d, 0, 2);
}

// m <= HY_LANES rows of N floats -> tile [N] of vectors, one row per lane (missing rows: 0).
static inline void load_tile(const float *p, int m, int N, vf *tile) {
    int n = 0;
    if (m == HY_LANES)
        for (; n + HY_LANES <= N; n += HY_LANES) {
            vf v[HY_LANES];
#pragma GCC unroll 16
            for (int l = 0; l < HY_LANES; l++) v[l] = v_load(p + (size_t)l * N + n);
            v_transpose(v);
#pragma GCC unroll 16
            for (int l = 0; l < HY_LANES; l++) tile[n + l] = v[l];
        }
    for (; n < N; n++) {
        float lane[HY_LANES] = {0};
        for (int l = 0; l < m; l++) lane[l] = p[(size_t)l * N + n];
        tile[n] = v_load(lane);
    }
}
// The reverse: the first m lanes go back to rows.
static inline void store_tile(const vf *tile, int m, int N, float *p) {
    int n = 0;
    if (m == HY_LANES)
        for (; n + HY_LANES <= N; n += HY_LANES) {
            vf v[HY_LANES];
#pragma GCC unroll 16
            for (int l = 0; l < HY_LANES; l++) v[l] = tile[n + l];
            v_transpose(v);
#pragma GCC unroll 16
            for (int l = 0; l < HY_LANES; l++) v_store(p + (size_t)l * N + n, v[l]);
        }
    for (; n < N; n++)
        for (int l = 0; l < m; l++) p[(size_t)l * N + n] = ((const float *)&tile[n])[l];
}
// tile [N] = A log2(e), A = -exp(A_log): exp(delta A) = 2^(delta tile). Above A_log = 80 every decay is 0 already; the
// limit keeps delta A finite.
static inline void load_decay(const float *A_log, int m, int N, vf *tile) {
    load_tile(A_log, m, N, tile);
    for (int n = 0; n < N; n++) tile[n] = -v_exp(v_min(tile[n], 80)) * LOG2_E;
}
// Where the state of the channel block at d before chunk c of sequence b is kept: tiles [N] of vectors.
HY_INLINE float *saved_tile(const hy_scan_args *a, int chunks, int b, int c, int d) {
    return (float *)a->saved + (((size_t)b * chunks + c) * hy_scan_padded(a->D) + d) * a->N;
}
#endif
