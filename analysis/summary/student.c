// student.c - see student.h. The incomplete beta function by its continued fraction (Abramowitz & Stegun 26.5.8),
// summed by the modified method of Lentz; Student's t from it (26.7.1 with 26.5.27).
#include "analysis/summary/student.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

// Converges fast for x < (a + 1) / (a + b + 2); steps grow with the square root of the larger of a and b.
static double fraction(double a, double b, double x) {
    enum { STEPS = 20000 };
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m <= STEPS; m++) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + even * d, d = 1 / (fabs(d) < tiny ? tiny : d);
        c = 1 + even / c, c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        d = 1 + odd * d, d = 1 / (fabs(d) < tiny ? tiny : d);
        c = 1 + odd / c, c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        if (fabs(d * c - 1) < 4 * DBL_EPSILON) break;
    }
    return f;
}

// log gamma without signgam, which is global: a and b are positive here.
static double log_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

double hy_incomplete_beta(double a, double b, double x) {
    if (!(a > 0 && b > 0 && x >= 0 && x <= 1)) return NAN;
    if (x == 0 || x == 1) return x;
    const double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * fraction(a, b, x) / a : 1 - front * fraction(b, a, 1 - x) / b;
}

double hy_student_two_sided(double t, double df) {
    if (isnan(t) || !(df > 0)) return NAN;
    if (isinf(t)) return 0;
    const double t2 = t * t;
    // near t = 0 the argument is near 1 and its distance from 1 is what counts
    return t2 < df ? 1 - hy_incomplete_beta(0.5, df / 2, t2 / (df + t2))
                   : hy_incomplete_beta(df / 2, 0.5, df / (df + t2));
}

double hy_student_cdf(double t, double df) {
    const double tail = hy_student_two_sided(t, df) / 2;
    return t > 0 ? 1 - tail : tail;
}

double hy_student_quantile(double p, double df) {
    if (!(p >= 0 && p <= 1) || !(df > 0)) return NAN;
    if (p == 0 || p == 1) return p ? INFINITY : -INFINITY;
    if (p == 0.5) return 0;
    if (p > 0.5) return -hy_student_quantile(1 - p, df);
    double lo = -1, hi = 0;  // P(T <= lo) < p < P(T <= hi)
    while (hy_student_cdf(lo, df) > p && lo > -DBL_MAX / 4) hi = lo, lo *= 2;
    for (int i = 0; i < 200; i++) {  // halving: some microseconds, and nothing to go wrong
        const double mid = lo + (hi - lo) / 2;
        if (mid <= lo || mid >= hi) break;
        if (hy_student_cdf(mid, df) < p)
            lo = mid;
        else
            hi = mid;
    }
    return lo + (hi - lo) / 2;
}
