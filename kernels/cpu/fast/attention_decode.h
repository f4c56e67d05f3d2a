// attention_decode.h - float32 attention of one query token, the t-th of its sequence in this call (decoding: 0; by
// token: each), against its keys: every key and value is read once for all query heads of its KV head. Keys are cut
// into ranges of HY_ATTN_RANGE whose partial results are joined in order. Included by attention.c only.
#ifndef HY_CPU_ATTN_DECODE_H
#define HY_CPU_ATTN_DECODE_H
#include <math.h>

#include "kernels/cpu/fast/attention_tile.h"

// The rows of K and V at position p: in this call or in the cache.
INLINE void key_rows(const head_view *h, int p, const float **k, const float **v) {
    const hy_attention_args *a = h->a;
    if (p >= h->pos) {
        size_t row = (size_t)h->b * a->T + (p - h->pos);
        *k = (const float *)a->k + row * a->ldk + (size_t)h->kvh * a->d_qk;
        *v = (const float *)a->v + row * a->ldv + (size_t)h->kvh * a->d_v;
        return;
    }
    size_t slot = ((size_t)h->b * a->kv_heads + h->kvh) * a->cache.cap + (size_t)hy_attn_slot(p, a->meta, a->cache.cap);
    *k = (const float *)a->cache.k + slot * a->d_qk;
    *v = (const float *)a->cache.v + slot * a->d_v;
}
static inline int decode_ranges(const head_view *h, int t) {
    return (keys_of(h, h->pos + t, h->pos + t).n + HY_ATTN_RANGE - 1) / HY_ATTN_RANGE;
}
// Entries from j (below `end`) whose rows lie one after another in memory: in this call, or in the cache.
static inline int run_length(const head_view *h, const key_list *l, int j, int end) {
    const hy_attention_args *a = h->a;
    int p = list_position(l, j), n = end - j;
    int left = p >= h->pos ? n : h->pos - p;  // up to the end of the meta tokens, of the cached positions, of the ring
    if (j < l->meta_n && l->meta_n - j < left) left = l->meta_n - j;
    if (p >= a->meta && p < h->pos) {
        int to_wrap = a->cache.cap - hy_attn_slot(p, a->meta, a->cache.cap);
        if (to_wrap < left) left = to_wrap;
    }
    return left < n ? left : n;
}
// From one row of them to the next.
static inline size_t key_stride(const head_view *h, const key_list *l, int j, int in_call, int in_cache) {
    return (size_t)(list_position(l, j) >= h->pos ? in_call : in_cache);
}

// Four sums of lanes at once.
INLINE v4 hsum4(vf a, vf b, vf c, vf d) {
    v4 x = fold4_add(a), y = fold4_add(b), z = fold4_add(c), w = fold4_add(d);
    _MM_TRANSPOSE4_PS(x, y, z, w);
    return (x + y) + (z + w);
}
INLINE vf load_tail(const float *p, int n) {
    float x[VL];
    for (int i = 0; i < VL; i++) x[i] = i < n ? p[i] : 0.0f;
    return v_load(x);
}
// s[i][j] = q_i . k_j for `rows` queries (ld ldq, padded with zeros) and n keys of width d, ldk apart.
enum { AHEAD = 16 };  // rows of the cache fetched before they are needed
#if defined HY_ISA_avx512
enum { QR = 6 };  // query rows taken together: 4 QR sums in registers
#else
enum { QR = 3 };
#endif
INLINE void decode_scores(const int rows, const float *q, size_t ldq, const float *k, size_t ldk, int d, int n,
                          float *s) {
    int whole = d / VL * VL;
    for (int j = 0; j < n; j += 4) {
        const float *kj[4];
        for (int u = 0; u < 4; u++) kj[u] = k + (size_t)(j + u < n ? j + u : n - 1) * ldk;
        vf acc[QR][4];
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int u = 0; u < 4; u++) acc[i][u] = v_set(0);
        for (int c = 0; c < whole; c += VL)
#pragma GCC unroll 4
            for (int u = 0; u < 4; u++) {
                vf x = v_load(kj[u] + c);
                __builtin_prefetch(kj[u] + AHEAD * ldk + c, 0, 3);
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++) acc[i][u] = v_fma(x, v_load(q + i * ldq + c), acc[i][u]);
            }
        if (whole < d)
#pragma GCC unroll 4
            for (int u = 0; u < 4; u++) {
                vf x = load_tail(kj[u] + whole, d - whole);
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++)
                    acc[i][u] = v_fma(x, load_tail(q + i * ldq + whole, d - whole), acc[i][u]);
            }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            v4 r = hsum4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
            if (j + 4 <= n)
                *(v4u *)(s + (size_t)i * HY_ATTN_RANGE + j) = r;
            else
                for (int u = 0; u < n - j; u++) s[(size_t)i * HY_ATTN_RANGE + j + u] = r[u];
        }
    }
}
static void scores_of(int rows, const float *q, size_t ldq, const float *k, size_t ldk, int d, int n, float *s) {
    for (; rows > 0; rows -= QR, q += QR * ldq, s += (size_t)QR * HY_ATTN_RANGE) switch (rows < QR ? rows : QR) {
            case 1: decode_scores(1, q, ldq, k, ldk, d, n, s); break;
            case 2: decode_scores(2, q, ldq, k, ldk, d, n, s); break;
            case 3: decode_scores(3, q, ldq, k, ldk, d, n, s); break;
#if defined HY_ISA_avx512
            case 4: decode_scores(4, q, ldq, k, ldk, d, n, s); break;
            case 5: decode_scores(5, q, ldq, k, ldk, d, n, s); break;
            default: decode_scores(6, q, ldq, k, ldk, d, n, s);
#endif
        }
}
// o[i] += sum_j p[i][j] v_j for rows queries and n values of width d, ldv apart.
static void add_some_values(int rows, int n, const float *p, const float *v, size_t ldv, int d, float *o, size_t ldo) {
    int whole = d / STRIPE;
    const size_t ldp = HY_ATTN_RANGE;
    for (int left; rows > 0; rows -= left, p += left * ldp, o += left * ldo) {
        left = rows < MR ? rows : MR;
        switch (left) {
            case 1: mm_stripes(whole, 1, AHEAD, n, p, ldp, 1, v, ldv, o, ldo, ADD, NULL); break;
            case 2: mm_stripes(whole, 2, AHEAD, n, p, ldp, 1, v, ldv, o, ldo, ADD, NULL); break;
            case 3: mm_stripes(whole, 3, AHEAD, n, p, ldp, 1, v, ldv, o, ldo, ADD, NULL); break;
            case 4: mm_stripes(whole, 4, AHEAD, n, p, ldp, 1, v, ldv, o, ldo, ADD, NULL); break;
            case 5: mm_stripes(whole, 5, AHEAD, n, p, ldp, 1, v, ldv, o, ldo, ADD, NULL); break;
            default: mm_stripes(whole, MR, AHEAD, n, p, ldp, 1, v, ldv, o, ldo, ADD, NULL);
        }
        for (int i = 0; i < left;
             i++)  // the last columns; in vectors too, so that every key is added by the same operation
            for (int c = whole * STRIPE; c < d; c += VL) {
                vf sum = v_load(o + i * ldo + c);
                for (int j = 0; j < n; j++) {
                    const float *vj = v + (size_t)j * ldv + c;
                    sum = v_fma(v_set(p[(size_t)i * ldp + j]), c + VL <= d ? v_load(vj) : load_tail(vj, d - c), sum);
                }
                v_store(o + i * ldo + c, sum);
            }
    }
}

// The same in steps of few keys: a wide row takes several passes, and the second finds it in the nearest cache.
static void add_values(int rows, int n, const float *p, const float *v, size_t ldv, int d, float *o, size_t ldo) {
    enum { STEP = 32 };
    for (int j = 0; j < n; j += STEP)
        add_some_values(rows, n - j < STEP ? n - j : STEP, p + j, v + (size_t)j * ldv, ldv, d, o, ldo);
}

// A partial result: for each row its maximum and sum of weights (2 floats), then the weighted values [rows][ldv].
static void decode_range(const head_view *h, int t, float *mem, float *part, int i) {
    const hy_attention_args *a = h->a;
    key_list l = keys_of(h, h->pos + t, h->pos + t);
    size_t ldq = hy_attn_pad((size_t)a->d_qk, STRIPE), ldv = hy_attn_pad((size_t)a->d_v, STRIPE),
           rows = (size_t)h->group, row = (size_t)h->b * a->T + t;
    float *q = mem, *s = q + rows * ldq, *o = part + 2 * rows;
    int j0 = i * HY_ATTN_RANGE, j1 = l.n < j0 + HY_ATTN_RANGE ? l.n : j0 + HY_ATTN_RANGE, n = j1 - j0;
    for (size_t r = 0; r < rows; r++)
        pack_row((const float *)a->q + row * a->ldq + ((size_t)h->kvh * rows + r) * a->d_qk, a->d_qk, ldq,
                 (float)(a->scale * LOG2E), q + r * ldq);
    for (int j = j0, run; j < j1; j += run) {
        const float *k, *v;
        key_rows(h, list_position(&l, j), &k, &v);
        run = run_length(h, &l, j, j1);
        scores_of((int)rows, q, ldq, k, key_stride(h, &l, j, a->ldk, a->d_qk), a->d_qk, run, s + (j - j0));
    }
    for (size_t r = 0; r < rows; r++) {
        float *sr = s + r * HY_ATTN_RANGE;
        for (int j = n; j < HY_ATTN_RANGE && j % STRIPE; j++) sr[j] = HIDDEN_SCORE;
        vf top = v_set(HIDDEN_SCORE), sum = v_set(0);
        for (int j = 0; j < n; j += VL) top = vmax(top, v_load(sr + j));
        part[2 * r] = hmax(top);
        top = v_set(part[2 * r]);
        for (int j = 0; j < n; j += VL) {
            vf x = v_load(sr + j), p = vbits((vi)vexp2(x - top) & ~(vi)(x <= v_set(HIDDEN_SCORE)));
            v_store(sr + j, p);
            sum += p;
        }
        part[2 * r + 1] = hsum(sum);
    }
    memset(o, 0, rows * ldv * sizeof(float));
    for (int j = j0, run; j < j1; j += run) {
        const float *k, *v;
        key_rows(h, list_position(&l, j), &k, &v);
        run = run_length(h, &l, j, j1);
        add_values((int)rows, run, s + (j - j0), v, key_stride(h, &l, j, a->ldv, a->d_v), a->d_v, o, ldv);
    }
}

// Joins the ranges of one query in order and writes its output.
static void decode_join(const head_view *h, int t, const hy_attn_fwd_layout *w, float *part) {
    const hy_attention_args *a = h->a;
    size_t rows = (size_t)h->group, ldv = hy_attn_pad((size_t)a->d_v, STRIPE);
    int n = decode_ranges(h, t);
    for (size_t r = 0; r < rows; r++) {
        float top = HIDDEN_SCORE;
        for (int i = 0; i < n; i++)
            if (part[i * w->part + 2 * r] > top) top = part[i * w->part + 2 * r];
        float sum = 0, *acc = part + 2 * rows + r * ldv;  // the first range's sums become the result
        for (int i = 0; i < n; i++) {
            const float *p = part + i * w->part;
            float f = exp2f(p[2 * r] - top);
            const float *o = p + 2 * rows + r * ldv;
            sum += f * p[2 * r + 1];
            for (int c = 0; c < a->d_v; c++) acc[c] = (i ? acc[c] : 0.0f) + f * o[c];
        }
        size_t head = (size_t)h->kvh * rows + r, row = (size_t)h->b * a->T + t;
        float *out = (float *)a->o + row * a->ldo + head * a->d_v, inv = 1.0f / sum;
        for (int c = 0; c < a->d_v; c++) out[c] = acc[c] * inv;
        if (a->saved) ((float *)a->saved)[row * a->heads + head] = (float)((top + log2((double)sum)) * LN2);
    }
}
#endif
