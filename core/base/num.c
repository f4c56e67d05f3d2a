// num.c - the clock, numbers that identify, order statistics, short floating-point formats. See base.h.
#include "core/base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double hy_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t hy_unique_id(void) {
    static _Atomic uint64_t last;
    return ++last;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void hy_sort(double *v, int n) { qsort(v, (size_t)n, sizeof *v, by_value); }

int hy_by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

double hy_median(const double *v, int n) {
    double *c = hy_xcalloc((size_t)n, sizeof *c);
    memcpy(c, v, (size_t)n * sizeof *c);
    hy_sort(c, n);
    const double m = n % 2 ? c[n / 2] : (c[n / 2 - 1] + c[n / 2]) / 2;
    free(c);
    return m;
}

uint16_t hy_bf16_from_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);  // NaN stays a (quiet) NaN
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

uint16_t hy_f16_from_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return sign | 0x7e00;
    if (u >= 0x477ff000u) return sign | 0x7c00;  // 65520 and more round to infinity
    if (u < 0x38800000u)  // below the smallest normal half: units of 2^-24, rounded by rint (to even)
        return (uint16_t)(sign | (uint16_t)rint(fabs((double)f) * 0x1p24));
    u += 0xfffu + (u >> 13 & 1);
    return (uint16_t)(sign | (u - 0x38000000u) >> 13);
}

float hy_f32_from_f16(uint16_t h) {
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    float v = exponent == 31  ? (mantissa ? NAN : INFINITY)
              : exponent == 0 ? ldexpf((float)mantissa, -24)
                              : ldexpf((float)(mantissa | 1024), exponent - 25);
    return h & 0x8000 ? -v : v;
}
