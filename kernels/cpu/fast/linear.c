// linear.c - the parts of a linear layer that are not a matrix product of the library: products with few rows
// (decoding), adding bias and residual to a finished tile, and the sums of bias gradients.
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/fast/vmath.h"

// ---------------------------------------------------------------------------------------------------- few rows
// y[m][n] = <x[m], w[n]>, one vector of partial sums for each (m, n), added over k in order and over lanes at the end:
// the result of a row is the same alone and beside other rows. Reading w is what takes the time.
#define BLOCK_N 32  // rows of w in one piece of work
#define LINE 64     // bytes of a cache line
#define AHEAD \
    8192  // bytes: w is one stream, and with many sums for each load the processor looks too short a way ahead

HY_VINLINE hy_vf weights(const void *w, size_t i, const bool bf16) {
    return bf16 ? hy_vload_bf16((const uint16_t *)w + i) : hy_vload((const float *)w + i);
}
HY_VINLINE hy_vf weights_part(const void *w, size_t i, int n, const bool bf16) {
    return bf16 ? hy_vload_bf16_part((const uint16_t *)w + i, n) : hy_vload_part((const float *)w + i, n);
}

// The next HY_LANES terms of each sum.
HY_VINLINE void dot_step(const hy_gemv_args *g, hy_vf acc[8][4], const float *x, const char *w, int k, const int MR,
                         const int NR, const bool bf16) {
    hy_vf wv[4] = {0};
#pragma GCC unroll 4
    for (int n = 0; n < NR; n++) wv[n] = weights(w, (size_t)n * g->K + k, bf16);
#pragma GCC unroll 8
    for (int m = 0; m < MR; m++) {
        hy_vf xv = hy_vload(x + (size_t)m * g->ldx + k);
#pragma GCC unroll 4
        for (int n = 0; n < NR; n++) acc[m][n] = hy_vfma(xv, wv[n], acc[m][n]);
    }
}

// STEPS: vectors of each row of w between two looks ahead, a whole number of cache lines if possible.
HY_VINLINE void dot_rows(const hy_gemv_args *g, int m0, int n0, const int MR, const int NR, const int STEPS,
                         const bool bf16) {
    hy_vf acc[8][4] = {0};
    const float *x = g->x + (size_t)m0 * g->ldx;
    const int size = bf16 ? (int)sizeof(uint16_t) : (int)sizeof(float);
    const char *w = (const char *)g->w + (size_t)n0 * g->K * size;
    int k = 0, K = g->K;
    for (; k + STEPS * HY_LANES <= K; k += STEPS * HY_LANES) {
#pragma GCC unroll 4
        for (int n = 0; n < NR; n++)
#pragma GCC unroll 4
            for (int at = 0; at < STEPS * HY_LANES * size; at += LINE)
                __builtin_prefetch(w + ((size_t)n * K + k) * size + AHEAD + at);
#pragma GCC unroll 4
        for (int u = 0; u < STEPS; u++) dot_step(g, acc, x, w, k + u * HY_LANES, MR, NR, bf16);
    }
    for (; k + HY_LANES <= K; k += HY_LANES) dot_step(g, acc, x, w, k, MR, NR, bf16);
    if (k < K) {
#pragma GCC unroll 8
        for (int m = 0; m < MR; m++) {
            hy_vf xv = hy_vload_part(x + (size_t)m * g->ldx + k, K - k);
#pragma GCC unroll 4
            for (int n = 0; n < NR; n++)
                acc[m][n] = hy_vfma(xv, weights_part(w, (size_t)n * K + k, K - k, bf16), acc[m][n]);
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < MR; m++)
#pragma GCC unroll 4
        for (int n = 0; n < NR; n++) {
            float s = hy_vsum(acc[m][n]);
            if (g->bias) s += g->bias[n0 + n];
            if (g->residual) s += g->residual[(size_t)(m0 + m) * g->ldres + n0 + n];
            g->y[(size_t)(m0 + m) * g->ldy + n0 + n] = s;
        }
}

HY_VINLINE void dot_block(const hy_gemv_args *g, int m0, int n0, int n1, const int MR, const int NR, const bool bf16) {
    const int STEPS = NR == 1 ? 4 : HY_LANES == 16 && MR < 8 ? 2 : 1;
    int n = n0;
    for (; n + NR <= n1; n += NR) dot_rows(g, m0, n, MR, NR, STEPS, bf16);
    for (; n < n1; n++) dot_rows(g, m0, n, MR, 1, STEPS, bf16);
}

HY_VINLINE void gemv(const hy_gemv_args *g, int from, int to, const bool bf16) {
    for (int b = from; b < to; b++) {
        int n0 = b * BLOCK_N, n1 = n0 + BLOCK_N < g->N ? n0 + BLOCK_N : g->N;
        // Few rows of w at a time are few streams of memory: on 16 lanes one is a third faster than four, and its
        // single sum is fast enough; with fewer lanes it would wait for its own additions. Many rows of x need many
        // sums at a time.
        const bool wide = HY_LANES == 16;
        for (int m = 0; m < g->M;) {
            int left = g->M - m;
            if (left >= 8 && wide && !bf16)
                dot_block(g, m, n0, n1, 8, 2, bf16), m += 8;
            else if (left >= 4)
                dot_block(g, m, n0, n1, 4, 2, bf16), m += 4;
            else if (left >= 2)
                dot_block(g, m, n0, n1, 2, wide ? 2 : 4, bf16), m += 2;
            else
                dot_block(g, m, n0, n1, 1, wide ? 1 : 4, bf16), m += 1;
        }
    }
}

static void gemv_blocks(const void *ctx, long from, long to, int thread) {
    const hy_gemv_args *g = ctx;
    (void)thread;
    if (g->bf16)
        gemv(g, (int)from, (int)to, true);
    else
        gemv(g, (int)from, (int)to, false);
}
void HY_FAST(hy_fast_gemv)(const hy_gemv_args *g, int threads) {
    if ((size_t)g->N * g->K < HY_GEMV_ALONE) threads = 1;
    hy_parallel(threads, (g->N + BLOCK_N - 1) / BLOCK_N, 0, gemv_blocks, g);
}

// ---------------------------------------------------------------------------------------------------- tiles
void HY_FAST(hy_fast_widen)(const uint16_t *src, int lds, float *dst, int ldd, int rows, int cols) {
    for (int r = 0; r < rows; r++) hy_vwiden(dst + (size_t)r * ldd, src + (size_t)r * lds, cols);
}

void HY_FAST(hy_fast_linear_finish)(const void *ctx, int m0, int n0, int m, int n) {
    const hy_linear_args *a = ctx;
    const float *bias = a->bias, *res = a->residual;
    for (int i = m0; i < m0 + m; i++) {
        float *y = (float *)a->y + (size_t)i * a->ldy + n0;
        const float *r = res ? res + (size_t)i * a->ldres + n0 : NULL;
        HY_VFOR(j, part, n) {
            hy_vf v = hy_vget(y + j, part);
            if (bias) v += hy_vget(bias + n0 + j, part);
            if (r) v += hy_vget(r + j, part);
            hy_vput(y + j, v, part);
        }
    }
}

void HY_FAST(hy_fast_linear_round)(const void *ctx, int m0, int n0, int m, int n, float *t) {
    const hy_half_rows *a = ctx;
    for (int i = 0; i < m; i++) {
        float *row = t + (size_t)i * n;
        const uint16_t *other = a->other ? a->other + (size_t)(m0 + i) * a->ldother + n0 : NULL;
        HY_VFOR(j, part, n) {
            hy_vf v = hy_vget(row + j, part);
            if (a->bias) v += hy_vget(a->bias + n0 + j, part);
            if (other) v += part == HY_LANES ? hy_vload_bf16(other + j) : hy_vload_bf16_part(other + j, part);
            hy_vput(row + j, v, part);
        }
        HY_FAST(hy_fast_row_round)(a->y + (size_t)(m0 + i) * a->ldy + n0, row, n);
    }
}

// ---------------------------------------------------------------------------------------------------- gradients
// Copies (or adds) dy to dres and sums its columns over blocks of rows: partial [blocks, N], then added in block order.
typedef struct {
    const hy_linear_bwd_args *a;
    float *partial;
} sums_ctx;
static void sum_blocks(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_linear_bwd_args *a = ((const sums_ctx *)ctx)->a;
    float *partial = ((const sums_ctx *)ctx)->partial;
    const int M = a->f.M, N = a->f.N, blocks = hy_cpu_row_blocks(M), step = (M + blocks - 1) / blocks;
    float *dbias = a->dbias, *dres = a->dres;
    const float *dy = a->dy;
    for (int b = (int)from; b < (int)to; b++) {
        int m0 = b * step, m1 = m0 + step < M ? m0 + step : M;
        float *sum = partial + (size_t)b * N;
        if (dbias) memset(sum, 0, (size_t)N * sizeof *sum);
        for (int m = m0; m < m1; m++) {
            const float *src = dy + (size_t)m * a->lddy;
            float *dst = dres ? dres + (size_t)m * a->lddres : NULL;
            HY_VFOR(j, n, N) {
                hy_vf v = hy_vget(src + j, n);
                if (dbias) hy_vput(sum + j, hy_vget(sum + j, n) + v, n);
                if (dst) hy_vput(dst + j, a->acc & 2 ? hy_vget(dst + j, n) + v : v, n);
            }
        }
    }
}
// The sums of each block of rows, then their sum in the order of the blocks.
static void add_blocks(const hy_linear_bwd_args *a, float *partial, int threads, hy_piece_fn *of_block) {
    const int N = a->f.N, blocks = hy_cpu_row_blocks(a->f.M);
    float *dbias = a->dbias;
    const sums_ctx ctx = {a, partial};
    hy_parallel(threads, blocks, 1, of_block, &ctx);
    for (int b = 0; b < blocks && dbias; b++)
        for (int j = 0; j < N; j++) dbias[j] += partial[(size_t)b * N + j];
}
void HY_FAST(hy_fast_linear_sums)(const hy_linear_bwd_args *a, float *partial, int threads) {
    add_blocks(a, partial, threads, sum_blocks);
}

// The same where dy and dres are bfloat16: rows of sums are added to, rows of dres rounded once.
static void half_sums(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_linear_bwd_args *a = ((const sums_ctx *)ctx)->a;
    const int M = a->f.M, N = a->f.N, blocks = hy_cpu_row_blocks(M), step = (M + blocks - 1) / blocks;
    const uint16_t *dy = a->dy;
    for (int b = (int)from; b < (int)to; b++) {
        float *sum = a->dbias ? ((const sums_ctx *)ctx)->partial + (size_t)b * N : NULL;
        if (sum) memset(sum, 0, (size_t)N * sizeof *sum);
        for (int m = b * step; m < (b + 1) * step && m < M; m++) {
            const uint16_t *src = dy + (size_t)m * a->lddy;
            uint16_t *dst = a->dres ? (uint16_t *)a->dres + (size_t)m * a->lddres : NULL;
            if (dst && !(a->acc & 2)) memmove(dst, src, (size_t)N * sizeof *dst);
            HY_VFOR(j, n, N) {
                float row[HY_LANES];
                hy_vf v = n == HY_LANES ? hy_vload_bf16(src + j) : hy_vload_bf16_part(src + j, n);
                if (sum) hy_vput(sum + j, hy_vget(sum + j, n) + v, n);
                if (!dst || !(a->acc & 2)) continue;
                v += n == HY_LANES ? hy_vload_bf16(dst + j) : hy_vload_bf16_part(dst + j, n);
                hy_vstore(row, v);
                HY_FAST(hy_fast_row_round)(dst + j, row, n);
            }
        }
    }
}
void HY_FAST(hy_fast_linear_half_sums)(const hy_linear_bwd_args *a, float *partial, int threads) {
    add_blocks(a, partial, threads, half_sums);
}
