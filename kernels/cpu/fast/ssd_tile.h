// ssd_tile.h - what the fast SSD kernels share: small matrix products in registers, transposes, and the steps and
// decays of a chunk. For files compiled with HY_ISA_SUFFIX only.
#ifndef HY_CPU_SSD_TILE_H
#define HY_CPU_SSD_TILE_H
#include <float.h>
#include <math.h>

#include "kernels/cpu/ssd.h"
#include "kernels/cpu/fast/vec.h"

// ---------------------------------------------------------------------------------------------------- products
// Registers of a block of the product: HY_MM_ROWS rows of HY_MM_VECTORS vectors, one row of B and one value of A.
#if HY_LANES == 16
    #define HY_MM_ROWS 6
    #define HY_MM_VECTORS 4
#elif HY_LANES == 8
    #define HY_MM_ROWS 6
    #define HY_MM_VECTORS 2
#else
    #define HY_MM_ROWS 4
    #define HY_MM_VECTORS 2
#endif

// What is known to be zero or not wanted: A below or above its diagonal only, or C on and below its diagonal only.
typedef enum { HY_MM_FULL = 0, HY_MM_A_LOWER, HY_MM_A_UPPER, HY_MM_C_LOWER } hy_mm_shape;
// C [M, N] = or += A [M, K] B [K, N]: A's element (m, k) is a[m * am + k * ak]; rows of B and C are ldb and ldc apart
// and hold whole vectors. A term's place in the sum of an element depends on k alone.
typedef struct {
    int M, N, K;
    const float *a;
    size_t am, ak;
    const float *b;
    size_t ldb;
    float *c;
    size_t ldc;
    bool add;
    hy_mm_shape shape;
} hy_mm_args;

HY_INLINE void mm_block(const int R, const int V, const hy_mm_args *g, int m, int n) {
    const int from = g->shape == HY_MM_A_UPPER ? m : 0, to = g->shape == HY_MM_A_LOWER && m + R < g->K ? m + R : g->K;
    const float *a = g->a + m * g->am + from * g->ak, *b = g->b + from * g->ldb + n;
    float *c = g->c + m * g->ldc + n;
    vf sum[HY_MM_ROWS * HY_MM_VECTORS];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) sum[r * V + v] = g->add ? v_load(c + r * g->ldc + v * HY_LANES) : (vf){0};
    for (int k = from; k < to; k++, a += g->ak, b += g->ldb) {
        vf row[HY_MM_VECTORS];
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) row[v] = v_load(b + v * HY_LANES);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            const vf x = v_set(a[r * g->am]);
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) sum[r * V + v] = v_fma(x, row[v], sum[r * V + v]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) v_store(c + r * g->ldc + v * HY_LANES, sum[r * V + v]);
}

HY_INLINE void mm_columns(const int V, const hy_mm_args *g, int n) {
    int m = 0;
    if (g->shape == HY_MM_C_LOWER) m = n / HY_MM_ROWS * HY_MM_ROWS;  // rows above hold nothing wanted
    for (; m + HY_MM_ROWS <= g->M; m += HY_MM_ROWS) mm_block(HY_MM_ROWS, V, g, m, n);
    if (m + 4 <= g->M) mm_block(4, V, g, m, n), m += 4;
    if (m + 2 <= g->M) mm_block(2, V, g, m, n), m += 2;
    if (m < g->M) mm_block(1, V, g, m, n);
}
static void mm(const hy_mm_args *g) {
    int n = 0;
#if HY_MM_VECTORS == 4
    for (; n + 3 * HY_LANES < g->N; n += 4 * HY_LANES) mm_columns(4, g, n);
#endif
    for (; n + HY_LANES < g->N; n += 2 * HY_LANES) mm_columns(2, g, n);
    if (n < g->N) mm_columns(1, g, n);
}

// dst [cols, ldd] = src [rows, cols]^T, rows <= ldd; columns of dst past `rows` become 0.
static void transpose(const float *src, size_t ld, int rows, int cols, float *dst, size_t ldd) {
    int c = 0;
    for (; c + HY_LANES <= cols; c += HY_LANES)
        for (size_t r = 0; r < ldd; r += HY_LANES) {
            vf v[HY_LANES];
            for (int l = 0; l < HY_LANES; l++) v[l] = (int)r + l < rows ? v_load(src + (r + l) * ld + c) : (vf){0};
            v_transpose(v);
            for (int l = 0; l < HY_LANES; l++) v_store(dst + (c + l) * ldd + r, v[l]);
        }
    for (; c < cols; c++)
        for (size_t r = 0; r < ldd; r++) dst[c * ldd + r] = (int)r < rows ? src[r * ld + c] : 0;
}

// dst [n, width padded] = src [n, width] times by[row] (NULL: 1), 0 in the padding.
static void pack_rows(const float *src, size_t ld, int n, int width, const float *by, float *dst) {
    const size_t padded = hy_ssd_padded(width);
    for (int i = 0; i < n; i++) {
        const float *s = src + i * ld;
        float *d = dst + i * padded;
        const float f = by ? by[i] : 1;
        size_t p = 0;
        for (; p + HY_LANES <= (size_t)width; p += HY_LANES) v_store(d + p, f * v_load(s + p));
        if (p < (size_t)width) v_store(d + p, f * v_load_n(s + p, width - (int)p)), p += HY_LANES;
        for (; p < padded; p += HY_LANES) v_store(d + p, (vf){0});
    }
}
// The first `width` values of n rows, `ld` apart; whole vectors.
HY_INLINE void scale_rows(float *rows, size_t ld, int n, int width, const float *by) {
    for (int i = 0; i < n; i++)
        for (int p = 0; p < width; p += HY_LANES) v_store(rows + i * ld + p, by[i] * v_load(rows + i * ld + p));
}

// ---------------------------------------------------------------------------------------------------- steps and decays
// Of one head in one chunk of n tokens. Logarithms to base 2. Decays between two tokens come from differences of sums
// that are kept in two floats: a huge step would take the small ones around it out of one.
typedef struct {
    double A;                                       // -exp(A_log)
    float delta[HY_SSD_CHUNK], free[HY_SSD_CHUNK];  // free: derivative of delta by dt
    float high[HY_SSD_CHUNK], low[HY_SSD_CHUNK];    // high + low = sum of delta A over tokens 0 .. i
    float from_start[HY_SSD_CHUNK];                 // decay of tokens 0 .. i: what the state before the chunk has lost
    float to_end[HY_SSD_CHUNK];                     // decay of tokens i+1 .. n-1
    float all;
} steps;

#define HY_SSD_NO_DECAY -100000.0  // 2^this is 0; a limit keeps sums finite

static void make_steps(const hy_ssd_args *a, size_t row, int n, int h, steps *s) {
    const float bias = a->dt_bias ? ((const float *)a->dt_bias)[h] : 0;
    const float A_log = ((const float *)a->A_log)[h];
    const float lo = (float)a->dt_min, hi = a->dt_max != 0 ? (float)a->dt_max : FLT_MAX;
    s->A = -exp(A_log > 80 ? 80 : A_log);
    for (int i = 0; i < n; i++) s->delta[i] = ((const float *)a->dt)[(row + i) * a->lddt + h] + bias;
    for (int i = n; i < HY_SSD_CHUNK; i++) s->delta[i] = 0;
    for (int i = 0; i < n; i += HY_LANES) {
        vf sigmoid, d = v_softplus(v_load(s->delta + i), &sigmoid);
        v_store(s->free + i, v_select((d < lo) | (d > hi), (vf){0}, sigmoid));
        v_store(s->delta + i, v_min(v_max(d, lo), hi));
    }
    double sum[HY_SSD_CHUNK], run = 0;
    for (int i = 0; i < n; i++) {
        const double l = s->delta[i] * s->A * 1.4426950408889634;
        sum[i] = run += l < HY_SSD_NO_DECAY ? HY_SSD_NO_DECAY : l;
        s->high[i] = (float)run;
        s->low[i] = (float)(run - s->high[i]);
        s->from_start[i] = (float)run;
    }
    for (int i = 0; i < n; i++) s->to_end[i] = (float)(run - sum[i]);
    for (int i = n; i < HY_SSD_CHUNK; i++)
        s->delta[i] = s->free[i] = s->high[i] = s->low[i] = s->from_start[i] = s->to_end[i] = 0;
    for (int i = 0; i < n; i += HY_LANES) {
        v_store(s->from_start + i, v_exp2(v_load(s->from_start + i)));
        v_store(s->to_end + i, v_exp2(v_load(s->to_end + i)));
    }
    s->all = s->from_start[n - 1];
}

// Decays from tokens j .. j+lanes-1 to token i, j <= i; lanes after i hold nothing of meaning.
HY_INLINE vf decays(const steps *s, int i, int j) {
    return v_exp2(v_min((s->high[i] - v_load(s->high + j)) + (s->low[i] - v_load(s->low + j)), 0));
}
// Of lanes that stand for tokens j, j+1, ..: those up to i, the rest 0.
HY_INLINE vf up_to(vf v, int i, int j) {
    vi lane;
    for (int l = 0; l < HY_LANES; l++) lane[l] = l;
    return v_select(lane <= i - j, v, (vf){0});
}
// The sum of the lanes, as a tree.
HY_INLINE float lane_sum(vf v) {
#pragma GCC unroll 16
    for (int s = HY_LANES / 2; s; s /= 2) {
        vi from;
        for (int l = 0; l < HY_LANES; l++) from[l] = l ^ s;
        v += v_pick(v, v, from);
    }
    return v[0];
}
#endif
