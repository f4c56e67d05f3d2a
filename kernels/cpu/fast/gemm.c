// gemm.c - a product of one tile without the library, for small matrices: no call into generated code, no signals to
// put off, and a panel of B is packed once for all rows. On AVX2 it is faster than the library up to HY_GEMM_SMALL
// columns and terms (bench_small); with AVX-512 the library's kernels have not been beaten, so there is none there.
//
// Order of sums: the terms of an element are taken in order in blocks of K_BLOCK, those of a block by fused
// multiply-adds into one sum that starts at 0; block sums are added to C in order. So it depends on K alone.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/fast/vmath.h"

#if defined(HY_ISA_avx2)
enum { K_BLOCK = 256, MR = 6, NR = 2 * HY_LANES };  // 12 sums, 2 vectors of B and one of A: 15 of 16 registers

// panel [k][NR]: columns 0 .. n-1 of B, zeros after them.
static void pack(const hy_gemm_tile *t, const float *b, int n, int k, float *panel) {
    if (n < NR) memset(panel, 0, (size_t)k * NR * sizeof *panel);
    if (t->b_n == 1) {
        for (int i = 0; i < k; i++) memcpy(panel + (size_t)i * NR, b + (size_t)i * t->b_k, (size_t)n * sizeof *b);
        return;
    }
    for (int j = 0; j < n; j++) {
        const float *column = b + (size_t)j * t->b_n;
        for (int i = 0; i < k; i++) panel[(size_t)i * NR + j] = column[(size_t)i * t->b_k];
    }
}

HY_VINLINE void rows(const hy_gemm_tile *t, const float *a, const float *panel, float *c, int n, int k, bool add,
                     const int R) {
    hy_vf s[MR][2] = {0};
    for (int i = 0; i < k; i++, a += t->a_k, panel += NR) {
        const hy_vf b0 = hy_vload(panel), b1 = hy_vload(panel + HY_LANES);
    #pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            const hy_vf v = (hy_vf)_mm256_broadcast_ss(a + (size_t)r * t->a_m);
            s[r][0] += v * b0;
            s[r][1] += v * b1;
        }
    }
    #pragma GCC unroll 6
    for (int r = 0; r < R; r++)
    #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            float *at = c + (size_t)r * t->ldc + h * HY_LANES;
            int left = n - h * HY_LANES;
            if (left <= 0) continue;
            left = left < HY_LANES ? left : HY_LANES;
            hy_vput(at, add ? hy_vget(at, left) + s[r][h] : s[r][h], left);
        }
}

static void few_rows(const hy_gemm_tile *t, const float *a, const float *panel, float *c, int n, int k, bool add,
                     int left) {
    if (left >= 4) {
        rows(t, a, panel, c, n, k, add, 4);
        left -= 4, a += 4 * t->a_m, c += 4 * (size_t)t->ldc;
    }
    if (left >= 2) {
        rows(t, a, panel, c, n, k, add, 2);
        left -= 2, a += 2 * t->a_m, c += 2 * (size_t)t->ldc;
    }
    if (left) rows(t, a, panel, c, n, k, add, 1);
}

void hy_fast_gemm_tile_avx2(const hy_gemm_tile *t) {
    float panel[K_BLOCK * NR] __attribute__((aligned(64)));
    for (int k0 = 0; k0 < t->k; k0 += K_BLOCK) {
        const int k = t->k - k0 < K_BLOCK ? t->k - k0 : K_BLOCK;
        const bool add = t->add || k0 > 0;
        for (int n0 = 0; n0 < t->n; n0 += NR) {
            const int n = t->n - n0 < NR ? t->n - n0 : NR;
            const float *a = t->a + (size_t)k0 * t->a_k;
            float *c = t->c + n0;
            pack(t, t->b + (size_t)k0 * t->b_k + (size_t)n0 * t->b_n, n, k, panel);
            int m = 0;
            for (; m + MR <= t->m; m += MR, a += MR * t->a_m, c += MR * (size_t)t->ldc)
                rows(t, a, panel, c, n, k, add, MR);
            few_rows(t, a, panel, c, n, k, add, t->m - m);
        }
    }
}
#endif
