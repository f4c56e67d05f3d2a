// vec.h - float vectors for the fast kernels: one vector is HY_LANES floats of the build's instruction set (gcc vector
// extensions, so + - * / work on them). Loads and stores, exp2, exp, softplus, sigmoid, transposes and lane sums.
// Only for files compiled with HY_ISA_SUFFIX. It holds no kernel.
#ifndef HY_CPU_VEC_H
#define HY_CPU_VEC_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
    #define HY_LANES 16
#elif defined(__AVX2__)
    #define HY_LANES 8
#else
    #define HY_LANES 4
#endif
#define HY_INLINE static inline __attribute__((always_inline, unused))
#define HY_SIDE 4  // vectors that the functions named in the plural take at most, side by side
#define HY_UNROLL _Pragma("GCC unroll 16")
#define EACH HY_UNROLL for (int i = 0; i < n; i++)

// Largest errors in units of the last place over all floats (tests/unit/test_vec.c). exp: 0 below -87.3, infinity above
// 88.3; exp2: from -126 to 127; sigmoid: 0 below -88.3; softplus: 0 below -87.3. NaN stays NaN but in exp2,
// where one with a payload may not.
#define HY_ULP_EXP 1.0
#define HY_ULP_EXP2 2.8
#define HY_ULP_SIGMOID 2.6
#define HY_ULP_SOFTPLUS 2.8
#define HY_ULP_LOG1P 2.1

typedef float vf __attribute__((vector_size(4 * HY_LANES), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * HY_LANES), may_alias));
typedef uint32_t vu
    __attribute__((vector_size(4 * HY_LANES), may_alias));  // wraps: the bits of NaN and infinity are no overflow
typedef float vf_unaligned __attribute__((vector_size(4 * HY_LANES), may_alias, aligned(4)));

HY_INLINE vf v_set(float x) { return x - (vf){0}; }  // x - 0 is exact for every x, -0 too
HY_INLINE vf v_load(const float *p) { return *(const vf_unaligned *)p; }
HY_INLINE void v_store(float *p, vf x) { *(vf_unaligned *)p = x; }
// The first n lanes, n <= HY_LANES; the others are 0 or left alone.
HY_INLINE vf v_load_n(const float *p, int n) {
    if (n == HY_LANES) return v_load(p);
    vf x = {0};
    memcpy(&x, p, (size_t)n * sizeof(float));
    return x;
}
HY_INLINE void v_store_n(float *p, vf x, int n) {
    if (n == HY_LANES)
        v_store(p, x);
    else
        memcpy(p, &x, (size_t)n * sizeof(float));
}

// Stores past the caches, of memory that is not read again before much else has been: half the traffic of a store that
// reads the line first. The address is a multiple of the vector; v_stream_end before another thread may read it.
HY_INLINE void v_stream(float *p, vf x) {
#if HY_LANES == 16
    _mm512_stream_ps(p, (__m512)x);
#elif HY_LANES == 8
    _mm256_stream_ps(p, (__m256)x);
#else
    _mm_stream_ps(p, (__m128)x);
#endif
}
HY_INLINE void v_stream_end(void) { _mm_sfence(); }
// Whether an output of so many floats in rows `ld` apart is worth it: larger than what caches keep for the next op.
#define HY_STREAM_FLOATS ((size_t)4 << 20)
HY_INLINE int v_streams(const void *p, int ld, size_t floats) {
    return floats >= HY_STREAM_FLOATS && (uintptr_t)p % sizeof(vf) == 0 && ld % HY_LANES == 0;
}

// max and min return x when it is NaN, so that a NaN is not hidden by a clamp.
#if HY_LANES == 16
HY_INLINE vf v_max(vf x, float lo) { return (vf)_mm512_max_ps((__m512)v_set(lo), (__m512)x); }
HY_INLINE vf v_min(vf x, float hi) { return (vf)_mm512_min_ps((__m512)v_set(hi), (__m512)x); }
HY_INLINE vf v_round(vf x) {
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// p 2^n for a whole n; smaller than the smallest float gives 0.
HY_INLINE vf v_scale(vf p, vf n) { return (vf)_mm512_scalef_ps((__m512)p, (__m512)n); }
#else
    #if HY_LANES == 8
HY_INLINE vf v_max(vf x, float lo) { return (vf)_mm256_max_ps((__m256)v_set(lo), (__m256)x); }
HY_INLINE vf v_min(vf x, float hi) { return (vf)_mm256_min_ps((__m256)v_set(hi), (__m256)x); }
    #else
HY_INLINE vf v_max(vf x, float lo) { return (vf)_mm_max_ps((__m128)v_set(lo), (__m128)x); }
HY_INLINE vf v_min(vf x, float hi) { return (vf)_mm_min_ps((__m128)v_set(hi), (__m128)x); }
    #endif
    #define HY_ROUND_MAGIC 12582912.0f  // 1.5 * 2^23: adding it leaves a float no bits below 1; good for |x| < 2^22
HY_INLINE vf v_round(vf x) { return (x + HY_ROUND_MAGIC) - HY_ROUND_MAGIC; }
// p 2^n by adding to the exponent: for p in [0.5, 2) and whole n in [-126, 127], and p in [1, 2) for n = -127.
HY_INLINE vf v_scale(vf p, vf n) { return (vf)((vu)p + ((vu)(n + HY_ROUND_MAGIC) << 23)); }
#endif

// a b + c, rounded once where the instruction set can. For sums whose bits are promised to be the same in several
// places of the code: a compiler fuses a written a * b + c or not as each place allows, this one it must.
#if HY_LANES == 16
HY_INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#elif HY_LANES == 8
HY_INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#else
HY_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
#endif

HY_INLINE vf v_select(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

// 2^x for x <= 127, relative error below 2.5e-7, exactly 1 at 0 and 0 below -127. Near 0 the error shrinks with x:
// |2^x_computed - 2^x| < 3e-7 |x| and half a unit, so that slow decays are right in 1 - 2^x too.
// (2^f - 1) / f on [-0.5, 0.5]: minimax of degree 4.
HY_INLINE void v_exp2s(const int n, vf *x) {  // of n vectors side by side, which hide each other's latency
    vf t[HY_SIDE], f[HY_SIDE], q[HY_SIDE];
#if HY_LANES == 16
    EACH t[i] = v_round(x[i]);
    EACH f[i] = x[i] - t[i];
#else
    EACH x[i] = v_max(x[i], -127);
    EACH t[i] = x[i] + HY_ROUND_MAGIC;  // the whole part is in the last bits
    EACH f[i] = x[i] - (t[i] - HY_ROUND_MAGIC);
#endif
    EACH q[i] = 1.326697412878275e-3f * f[i] + 9.665878489613533e-3f;
    EACH q[i] = q[i] * f[i] + 5.550665408372879e-2f;
    EACH q[i] = q[i] * f[i] + 0.24022358655929565f;
    EACH q[i] = q[i] * f[i] + 0.6931470632553101f;
    EACH q[i] = q[i] * f[i] + 1.0f;
#if HY_LANES == 16
    EACH x[i] = v_scale(q[i], t[i]);
#else
    EACH x[i] = (vf)((vu)q[i] + ((vu)t[i] << 23));
#endif
}
HY_INLINE vf v_exp2(vf x) {
    v_exp2s(1, &x);
    return x;
}

// e^x of n vectors side by side, which share constants and hide each other's latency. Saturates: e^-87.3 below, e^88.3
// above; NaN stays NaN. x = m ln 2 + r with |r| <= ln 2 / 2, m ln 2 in two parts; e^r by the polynomial of Cephes; 2^m
// into the exponent.
HY_INLINE void v_exps(const int n, vf *x) {
    vf r[HY_SIDE], m[HY_SIDE], p[HY_SIDE];
    EACH x[i] = v_min(v_max(x[i], -87.3f), 88.3f);
#if HY_LANES == 16
    EACH m[i] = v_round(x[i] * 1.44269504f);
    EACH r[i] = x[i] - m[i] * 0.693359375f;
    EACH r[i] -= m[i] * -2.12194440e-4f;
#else
    EACH m[i] = x[i] * 1.44269504f + HY_ROUND_MAGIC;  // the whole part is in the last bits
    EACH r[i] = x[i] - (m[i] - HY_ROUND_MAGIC) * 0.693359375f;
    EACH r[i] -= (m[i] - HY_ROUND_MAGIC) * -2.12194440e-4f;
#endif
    EACH p[i] = r[i] * 1.9875691500e-4f + 1.3981999507e-3f;
    EACH p[i] = p[i] * r[i] + 8.3334519073e-3f;
    EACH p[i] = p[i] * r[i] + 4.1665795894e-2f;
    EACH p[i] = p[i] * r[i] + 1.6666665459e-1f;
    EACH p[i] = p[i] * r[i] + 5.0000001201e-1f;
    EACH p[i] = p[i] * (r[i] * r[i]) + r[i];
    EACH p[i] += 1.0f;
#if HY_LANES == 16
    EACH x[i] = v_scale(p[i], m[i]);
#else
    EACH x[i] = p[i] * (vf)(((vu)m[i] << 23) + 0x3f800000u);  // a product, so that NaN stays
#endif
}
// e^x, relative error below 1.5e-7 for -87.3 <= x <= 88.3; 0 below, infinity above; NaN stays NaN.
HY_INLINE vf v_exp(vf x) {
    vf y = x;
    v_exps(1, &y);
    y = (vf)((vi)y & ~(x < -87.3f));
    return v_select(x > 88.3f, v_set(__builtin_inff()), y);
}

// log(1 + e) for e in [0, 1]: e times the minimax of degree 8 of log(1 + e) / e. Of n vectors side by side.
HY_INLINE void v_log1p01s(const int n, const vf *e, vf *q) {
    EACH q[i] = 5.232692696154118e-3f * e[i] - 2.9505232349038124e-2f;
    EACH q[i] = q[i] * e[i] + 7.822594046592712e-2f;
    EACH q[i] = q[i] * e[i] - 0.13663244247436523f;
    EACH q[i] = q[i] * e[i] + 0.19106006622314453f;
    EACH q[i] = q[i] * e[i] - 0.2484298199415207f;
    EACH q[i] = q[i] * e[i] + 0.3331909775733948f;
    EACH q[i] = q[i] * e[i] - 0.4999949336051941f;
    EACH q[i] = q[i] * e[i] + 0.9999999403953552f;
    EACH q[i] = q[i] * e[i];
}

HY_INLINE vf v_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }
// log(1 + e^z) and its derivative 1 / (1 + e^-z) from one exp, of n vectors side by side; both right to a few units for
// every z.
HY_INLINE void v_softpluses(const int n, const vf *z, vf *out, vf *sigmoid) {
    vf e[HY_SIDE], s[HY_SIDE], q[HY_SIDE];
    EACH e[i] = -v_abs(z[i]);
    v_exps(n, e);
    EACH e[i] = (vf)((vi)e[i] & ~(v_abs(z[i]) > 87.3f));
    EACH s[i] = 1.0f / (1.0f + e[i]);
    v_log1p01s(n, e, q);
    EACH sigmoid[i] = v_select(z[i] < 0, e[i] * s[i], s[i]);
    EACH out[i] = v_max(z[i], 0) + q[i];
}
HY_INLINE vf v_softplus(vf z, vf *sigmoid) {
    vf out;
    v_softpluses(1, &z, &out, sigmoid);
    return out;
}
// 1 / (1 + e^-z) of n vectors side by side; 0 below -88.3.
HY_INLINE void v_sigmoids(const int n, const vf *z, vf *out) {
    vf e[HY_SIDE];
    EACH e[i] = -z[i];
    v_exps(n, e);
    EACH out[i] = (vf)((vi)(1.0f / (1.0f + e[i])) & ~(z[i] < -88.3f));
}
HY_INLINE vf v_sigmoid(vf z) {
    v_sigmoids(1, &z, &z);
    return z;
}

// out[j] = lane from[j] of a, or from HY_LANES on of b. Clang's own shuffle wants constants; it makes one of the loop.
HY_INLINE vf v_pick(vf a, vf b, vi from) {
#ifdef __clang__
    vf out;
    for (int j = 0; j < HY_LANES; j++) out[j] = from[j] < HY_LANES ? a[from[j]] : b[from[j] - HY_LANES];
    return out;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

// One butterfly of a transpose: rows i and i + s of a square exchange the lanes whose bit s differs.
// first[j] = j & s ? b[j - s] : a[j], second[j] = j & s ? b[j] : a[j + s]
HY_INLINE void v_exchange(vf *a, vf *b, int s) {
    vi first, second;
    for (int j = 0; j < HY_LANES; j++) {
        first[j] = j & s ? HY_LANES + j - s : j;
        second[j] = j & s ? HY_LANES + j : j + s;
    }
    const vf x = v_pick(*a, *b, first), y = v_pick(*a, *b, second);
    *a = x, *b = y;
}
// v[i][j] <-> v[j][i], v [HY_LANES]
HY_INLINE void v_transpose(vf *v) {
#pragma GCC unroll 16
    for (int s = HY_LANES / 2; s; s /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < HY_LANES; i++)
            if (!(i & s)) v_exchange(&v[i], &v[i + s], s);
}
// Lane i of the result is the sum of the lanes of v[i], v [HY_LANES]; v is spoiled. Adds in a tree of lanes.
HY_INLINE vf v_sums(vf *v) {
#pragma GCC unroll 16
    for (int s = HY_LANES / 2; s; s /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < s; i++) {
            v_exchange(&v[i], &v[i + s], s);
            v[i] += v[i + s];
        }
    return v[0];
}
#endif
