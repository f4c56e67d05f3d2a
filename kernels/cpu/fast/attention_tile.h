// attention_tile.h - the building blocks of the float32 attention kernels, for the vector width of this build: a
// micro-kernel for products of small tiles, exp2, packing of keys and values, and which keys of a tile a row sees.
#ifndef HY_CPU_ATTN_TILE_H
#define HY_CPU_ATTN_TILE_H
#include "kernels/cpu/attention.h"
#include "kernels/cpu/fast/vec.h"
#include "kernels/dropout_rule.h"

#if defined HY_ISA_avx512
enum { MR = 6, NV = 4 };  // 24 sums, 4 operands and a broadcast in 32 registers
#else
enum { MR = 6, NV = 2 };  // 12 + 2 + 1 of 16 registers
#endif
enum { VL = HY_LANES };
enum { STRIPE = HY_ATTN_STRIPE, KEYS = HY_ATTN_KEYS, SUB = HY_ATTN_SUB };
typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))
// Kernels shared by paths whose bits must agree are compiled once.
#define SHARED static __attribute__((noinline, unused))
#define HIDDEN_SCORE (-1e30f)  // score of a key that is not seen; finite, so that differences of two are not NaN
#define LOG2E 1.4426950408889634
#define LN2 0.6931471805599453

INLINE vi vseti(int x) { return x - (vi){0}; }
INLINE vf vbits(vi x) { return (vf)x; }
// The larger one; b where either is NaN.
INLINE vf vmax(vf a, vf b) {
#if defined HY_ISA_avx512
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined HY_ISA_avx2
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#endif
}
// Halves folded until four lanes are left.
INLINE v4 v4max(v4 a, v4 b) { return (v4)_mm_max_ps((__m128)a, (__m128)b); }
#if defined HY_ISA_avx512
INLINE v4 fold4_add(vf x) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256((__m512)x), _mm512_extractf32x8_ps((__m512)x, 1));
    return (v4)_mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
INLINE v4 fold4_max(vf x) {
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256((__m512)x), _mm512_extractf32x8_ps((__m512)x, 1));
    return (v4)_mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
#elif defined HY_ISA_avx2
INLINE v4 fold4_add(vf x) {
    return (v4)_mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
}
INLINE v4 fold4_max(vf x) {
    return (v4)_mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
}
#else
INLINE v4 fold4_add(vf x) { return x; }
INLINE v4 fold4_max(vf x) { return x; }
#endif
INLINE float hsum(vf x) {
    v4 s = fold4_add(x);
    return (s[0] + s[1]) + (s[2] + s[3]);
}
INLINE float hmax(vf x) {
    v4 s = fold4_max(x);
    s = v4max(s, (v4)_mm_movehl_ps((__m128)s, (__m128)s));
    return s[0] > s[1] ? s[0] : s[1];
}

// 2^x for x <= 127, relative error about 1e-7; x below -126 gives 2^-126; NaN stays NaN.
INLINE vf vexp2(vf x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, left in the low bits
    x = vmax(v_set(-126.0f), x);
    vf t = x + magic, f = x - (t - magic);
    vf p = 1.5594677590e-04f * f + 1.3406643906e-03f;
    p = p * f + 9.6176929747e-03f;
    p = p * f + 5.5503105510e-02f;
    p = p * f + 2.4022652783e-01f;
    p = p * f + 6.9314721497e-01f;
    p = p * f + 1.0f;
    return (vf)((vu)p + ((vu)t << 23));
}

// ---- products. C[rows][nv vectors] = init + sum_k A(i,k) B[k], A(i,k) = A[i * si + k * sk]; rows of B are fetched
// `ahead` of
//      their use where that is not 0.
typedef enum { FRESH, ADD, RESCALE } init_kind;  // start at 0, at C, at C * scale[row]
INLINE void mm_step(const int nv, const int rows, const int ahead, int K, const float *A, size_t si, size_t sk,
                    const float *B, size_t ldb, float *C, size_t ldc, init_kind init, const float *scale) {
    vf acc[MR][NV];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int n = 0; n < nv; n++) {
            acc[i][n] = init == FRESH ? v_set(0) : v_load(C + i * ldc + n * VL);
            if (init == RESCALE) acc[i][n] *= scale[i];
        }
    for (int k = 0; k < K; k++) {
        vf b[NV];
#pragma GCC unroll 4
        for (int n = 0; n < nv; n++) b[n] = v_load(B + n * VL);
        if (ahead)
#pragma GCC unroll 4
            for (int n = 0; n < nv; n++) __builtin_prefetch(B + (size_t)ahead * ldb + n * VL, 0, 3);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            vf x = v_set(A[i * si]);
#pragma GCC unroll 4
            for (int n = 0; n < nv; n++) acc[i][n] = v_fma(x, b[n], acc[i][n]);
        }
        A += sk;
        B += ldb;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int n = 0; n < nv; n++) v_store(C + i * ldc + n * VL, acc[i][n]);
}
INLINE void mm_stripes(int stripes, const int rows, const int ahead, int K, const float *A, size_t si, size_t sk,
                       const float *B, size_t ldb, float *C, size_t ldc, init_kind init, const float *scale) {
#if defined HY_ISA_avx512
    for (; stripes >= 4; stripes -= 4, B += 64, C += 64)
        mm_step(4, rows, ahead, K, A, si, sk, B, ldb, C, ldc, init, scale);
    if (stripes == 3) mm_step(3, rows, ahead, K, A, si, sk, B, ldb, C, ldc, init, scale);
    if (stripes == 2) mm_step(2, rows, ahead, K, A, si, sk, B, ldb, C, ldc, init, scale);
    if (stripes == 1) mm_step(1, rows, ahead, K, A, si, sk, B, ldb, C, ldc, init, scale);
#else
    for (int n = stripes * (STRIPE / VL / NV); n > 0; n--, B += NV * VL, C += NV * VL)
        mm_step(NV, rows, ahead, K, A, si, sk, B, ldb, C, ldc, init, scale);
#endif
}
// A by rows (lda), C overwritten, added to, or scaled and added to.
SHARED void mm_fresh(int stripes, int K, const float *A, size_t lda, const float *B, size_t ldb, float *C, size_t ldc) {
    mm_stripes(stripes, MR, 0, K, A, lda, 1, B, ldb, C, ldc, FRESH, NULL);
}
SHARED void mm_add(int stripes, int K, const float *A, size_t lda, const float *B, size_t ldb, float *C, size_t ldc) {
    mm_stripes(stripes, MR, 0, K, A, lda, 1, B, ldb, C, ldc, ADD, NULL);
}
SHARED void mm_rescale(int stripes, int K, const float *A, size_t lda, const float *B, size_t ldb, float *C, size_t ldc,
                       const float *scale) {
    mm_stripes(stripes, MR, 0, K, A, lda, 1, B, ldb, C, ldc, RESCALE, scale);
}
// A transposed: A(i,k) = A[k * lda + i].
SHARED void mm_add_t(int stripes, int K, const float *A, size_t lda, const float *B, size_t ldb, float *C, size_t ldc) {
    mm_stripes(stripes, MR, 0, K, A, 1, lda, B, ldb, C, ldc, ADD, NULL);
}

// ---- packing. KEYS rows of d values each to [d][KEYS]: row j becomes column j.
SHARED void pack_transposed(const float *const row[KEYS], int d, float *dst) {
    for (int j = 0; j < KEYS; j += 4) {
        const float *r0 = row[j], *r1 = row[j + 1], *r2 = row[j + 2], *r3 = row[j + 3];
        int k = 0;
        for (; k + 4 <= d; k += 4) {
            __m128 a = _mm_loadu_ps(r0 + k), b = _mm_loadu_ps(r1 + k), c = _mm_loadu_ps(r2 + k),
                   e = _mm_loadu_ps(r3 + k);
            _MM_TRANSPOSE4_PS(a, b, c, e);
            float *p = dst + (size_t)k * KEYS + j;
            _mm_storeu_ps(p, a);
            _mm_storeu_ps(p + KEYS, b);
            _mm_storeu_ps(p + 2 * KEYS, c);
            _mm_storeu_ps(p + 3 * KEYS, e);
        }
        for (; k < d; k++) {
            float *p = dst + (size_t)k * KEYS + j;
            p[0] = r0[k], p[1] = r1[k], p[2] = r2[k], p[3] = r3[k];
        }
    }
}
// One row of d values times `scale`, zeros up to `padded`.
INLINE void pack_row(const float *src, int d, size_t padded, float scale, float *dst) {
    for (int c = 0; c < d; c++) dst[c] = src[c] * scale;
    for (size_t c = (size_t)d; c < padded; c++) dst[c] = 0;
}

// Asks for a row of d values that is wanted soon: rows of one head lie apart, the hardware does not foresee them.
INLINE void ask_row(const float *row, int d) {
    for (int c = 0; c < d; c += 16) __builtin_prefetch(row + c, 0, 2);
}

// ---- one sequence and KV head, and the list of keys that a block of rows may see: meta tokens, then a run of
// positions
typedef struct {
    const hy_attention_args *a;
    int b, kvh, group, pos, len;
} head_view;
typedef struct {
    int meta_n, first, n;  // entry j is position j < meta_n ? j : first + j - meta_n
} key_list;
INLINE head_view view_of(const hy_attention_args *a, int b, int kvh) {
    return (head_view){a, b, kvh, a->heads / a->kv_heads, a->pos[b], a->len[b]};
}
static inline key_list keys_of(const head_view *h, int q_first, int q_last) {
    key_list l = {.meta_n = q_last + 1 < h->a->meta ? q_last + 1 : h->a->meta};
    l.first = hy_attn_first(q_first, h->a->window, h->a->meta);
    l.n = l.meta_n + (q_last >= l.first ? q_last - l.first + 1 : 0);
    return l;
}
// Threads worth waking: below about 2^18 multiply-adds one is faster.
static inline int threads_for(const hy_attention_args *a, int threads) {
    double work = 0;
    for (int b = 0; b < a->B; b++) {
        double keys = (double)a->pos[b] + a->len[b];
        if (a->window > 0 && keys > (double)a->window + a->meta + 1) keys = (double)a->window + a->meta + 1;
        work += keys * a->len[b];
    }
    return work * a->heads * (a->d_qk + a->d_v) < (1 << 18) ? 1 : threads;
}
INLINE int list_position(const key_list *l, int j) { return j < l->meta_n ? j : l->first + (j - l->meta_n); }
// Multiplies one row of a tile (entries j0 + from .. j0 + to - 1 of the key list) by what dropout makes of its weights.
SHARED void drop_row(const head_view *h, const key_list *l, int t, int head, int j0, int from, int to, float *w) {
    const hy_attention_args *a = h->a;
    const uint64_t key = hy_dropout_mix(*a->drop.key, (uint64_t)a->drop.place),
                   row = hy_dropout_weight(h->b, a->heads, head, a->T, t, 0);
    const uint32_t limit = hy_dropout_limit(a->drop.p);
    const float by = (float)(1 / (1 - a->drop.p));
    if (to > l->n - j0) to = l->n - j0;  // past the end weights are 0
    for (int j = from; j < to; j++)
        w[j] *= hy_dropout_keeps(key, row + (uint64_t)list_position(l, j0 + j), limit) ? by : 0.0f;
}

// Entries that the query at position q sees: j < a_hi, and b_lo <= j < b_hi.
typedef struct {
    int a_hi, b_lo, b_hi;
} row_span;
static inline row_span span_of(const head_view *h, const key_list *l, int q) {
    int meta = h->a->meta;
    if (q < meta) return (row_span){q + 1, q + 1, q + 1};
    return (row_span){meta, l->meta_n + hy_attn_first(q, h->a->window, meta) - l->first, l->meta_n + q + 1 - l->first};
}
// Stripes lo .. hi-1 of the tile at j0 hold everything that rows from `f` (first) to `l` (last) see; `full`: all of it
// is seen by all of them. first .. last-1: the same in keys of the tile; the weights of others are 0, which a product
// over keys can leave out with the same bits.
typedef struct {
    int lo, hi, first, last;
    bool full;
} tile_span;
static inline tile_span tile_of(row_span f, row_span l, int j0) {
    tile_span t;
    int end = l.b_hi > l.a_hi ? l.b_hi : l.a_hi, start = l.a_hi > j0 ? j0 : f.b_lo > j0 ? f.b_lo : j0;
    if (f.b_lo >= j0 + KEYS) end = l.a_hi;  // meta tokens alone: the window of these rows begins behind this tile
    if (end > j0 + KEYS) end = j0 + KEYS;
    t.first = start - j0, t.last = end - j0;
    if (end <= start) t.first = t.last = 0;
    t.lo = t.first / STRIPE;
    t.hi = (t.last + STRIPE - 1) / STRIPE;
    int x0 = j0 + t.lo * STRIPE, x1 = j0 + t.hi * STRIPE;
    t.full = x1 <= f.a_hi || (x1 <= f.b_hi && (x0 >= l.b_lo || f.a_hi >= l.b_lo));
    return t;
}
// All ones in the lanes of entries j, j+1, ... that the row sees.
INLINE vi span_mask(row_span s, int j) {
    vi lane;
    for (int i = 0; i < VL; i++) lane[i] = i;
    vi x = lane + vseti(j);
    return (x < vseti(s.a_hi)) | ((x >= vseti(s.b_lo)) & (x < vseti(s.b_hi)));
}
#endif
