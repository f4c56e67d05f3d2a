// vmath.h - rows of floats and bfloat16 in the vectors of vec.h, and sums and maxima over lanes. Types, arithmetic and
// exp are those of vec.h; not for plain .c files, which have no ISA.
#ifndef HY_VMATH_H
#define HY_VMATH_H
#include <math.h>

#include "kernels/cpu/fast/vec.h"

typedef float hy_vf __attribute__((vector_size(4 * HY_LANES)));  // vf for values: not for memory of another type
typedef int32_t hy_vi __attribute__((vector_size(4 * HY_LANES)));
#define HY_VINLINE HY_INLINE

HY_VINLINE hy_vf hy_vset(float x) { return v_set(x); }
HY_VINLINE hy_vf hy_vload(const float *p) { return v_load(p); }
HY_VINLINE void hy_vstore(float *p, hy_vf v) { v_store(p, v); }
// The first n < HY_LANES values; the other lanes are 0 and are not touched in memory.
HY_VINLINE hy_vf hy_vload_part(const float *p, int n) {
#if defined(HY_ISA_avx512)
    return (hy_vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    hy_vf v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}
HY_VINLINE void hy_vstore_part(float *p, hy_vf v, int n) {
#if defined(HY_ISA_avx512)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    for (int i = 0; i < n; i++) p[i] = v[i];
#endif
}
// bfloat16 values as floats: exact.
HY_VINLINE hy_vf hy_vload_bf16(const uint16_t *p) {
#if defined(HY_ISA_avx512)
    return (hy_vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#elif defined(HY_ISA_avx2)
    // one shuffle within each half puts values 0-3 and 4-7 (the load gives both halves all eight) into upper bytes
    const __m256i upper = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7, -1, -1, 8, 9, -1, -1,
                                           10, 11, -1, -1, 12, 13, -1, -1, 14, 15);
    return (hy_vf)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p)), upper);
#else
    return (hy_vf)_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const __m128i *)p));
#endif
}
HY_VINLINE hy_vf hy_vload_bf16_part(const uint16_t *p, int n) {
    uint16_t v[HY_LANES] = {0};
    memcpy(v, p, (size_t)n * sizeof *p);
    return hy_vload_bf16(v);
}
// A loop over C values in vectors: HY_VFOR(i, n, C) { ... } where n is the number of valid lanes at i.
#define HY_VFOR(i, n, C)                                          \
    for (int i = 0, n = (C) < HY_LANES ? (C) : HY_LANES; i < (C); \
         i += HY_LANES, n = (C)-i < HY_LANES ? (C)-i : HY_LANES)
HY_VINLINE hy_vf hy_vget(const float *p, int n) { return n == HY_LANES ? hy_vload(p) : hy_vload_part(p, n); }
HY_VINLINE void hy_vput(float *p, hy_vf v, int n) {
    if (n == HY_LANES)
        hy_vstore(p, v);
    else
        hy_vstore_part(p, v, n);
}

HY_VINLINE void hy_vwiden(float *dst, const uint16_t *src, int C) {
    HY_VFOR(i, n, C) hy_vput(dst + i, n == HY_LANES ? hy_vload_bf16(src + i) : hy_vload_bf16_part(src + i, n), n);
}

// min and max return the second operand when one is NaN.
HY_VINLINE hy_vf hy_vmax(hy_vf a, hy_vf b) {
#if defined(HY_ISA_avx512)
    return (hy_vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(HY_ISA_avx2)
    return (hy_vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (hy_vf)_mm_max_ps((__m128)a, (__m128)b);
#endif
}
HY_VINLINE hy_vf hy_vmin(hy_vf a, hy_vf b) {
#if defined(HY_ISA_avx512)
    return (hy_vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(HY_ISA_avx2)
    return (hy_vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return (hy_vf)_mm_min_ps((__m128)a, (__m128)b);
#endif
}
HY_VINLINE hy_vf hy_vsqrt(hy_vf a) {
#if defined(HY_ISA_avx512)
    return (hy_vf)_mm512_sqrt_ps((__m512)a);
#elif defined(HY_ISA_avx2)
    return (hy_vf)_mm256_sqrt_ps((__m256)a);
#else
    return (hy_vf)_mm_sqrt_ps((__m128)a);
#endif
}
// m ? a : b by lane, where m is all ones or zero
HY_VINLINE hy_vf hy_vfma(hy_vf a, hy_vf b, hy_vf c) { return v_fma(a, b, c); }
HY_VINLINE hy_vf hy_vselect(hy_vi m, hy_vf a, hy_vf b) { return v_select(m, a, b); }

// Sums and maxima over the lanes in one fixed order.
HY_VINLINE float hy_vsum(hy_vf v) {  // lanes i and i + half, until one is left
#if defined(HY_ISA_avx512)
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
#elif defined(HY_ISA_avx2)
    __m256 a = (__m256)v;
#endif
#if defined(HY_ISA_avx512) || defined(HY_ISA_avx2)
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
#else
    __m128 b = (__m128)v;
#endif
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}
HY_VINLINE float hy_vmax_lanes(hy_vf v) {
    float t = v[0];
    for (int i = 1; i < HY_LANES; i++) t = v[i] > t || t != t ? v[i] : t;
    return t;
}

HY_VINLINE hy_vf hy_vexp(hy_vf x) { return v_exp(x); }
HY_VINLINE hy_vf hy_vsigmoid(hy_vf x) { return v_sigmoid(x); }
#endif
