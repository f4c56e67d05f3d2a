// test_student.c - Student's t against published tables, closed forms and figures of another program, and the intervals
// over seeds that are made with it.
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "analysis/summary/student.h"
#include "analysis/summary/summary.h"

static void near(double got, double wanted, double relative, const char *what) {
    if (!(fabs(got - wanted) <= relative * fabs(wanted))) fail_msg("%s: %.17g is not %.17g", what, got, wanted);
}

// Quantiles as textbooks print them (three decimals; Abramowitz & Stegun, table 26.10 has the same).
static void test_table(void **state) {
    (void)state;
    static const double p[] = {0.9, 0.95, 0.975, 0.99, 0.995, 0.9995};
    static const struct {
        double df, t[6];
    } table[] = {
        {1, {3.078, 6.314, 12.706, 31.821, 63.657, 636.619}}, {2, {1.886, 2.920, 4.303, 6.965, 9.925, 31.599}},
        {3, {1.638, 2.353, 3.182, 4.541, 5.841, 12.924}},     {4, {1.533, 2.132, 2.776, 3.747, 4.604, 8.610}},
        {5, {1.476, 2.015, 2.571, 3.365, 4.032, 6.869}},      {8, {1.397, 1.860, 2.306, 2.896, 3.355, 5.041}},
        {10, {1.372, 1.812, 2.228, 2.764, 3.169, 4.587}},     {20, {1.325, 1.725, 2.086, 2.528, 2.845, 3.850}},
        {30, {1.310, 1.697, 2.042, 2.457, 2.750, 3.646}},     {60, {1.296, 1.671, 2.000, 2.390, 2.660, 3.460}},
        {120, {1.289, 1.658, 1.980, 2.358, 2.617, 3.373}},    {1e6, {1.282, 1.645, 1.960, 2.326, 2.576, 3.291}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int k = 0; k < 6; k++) {
            const double t = hy_student_quantile(p[k], table[i].df), half_digit = 0.00051;
            if (!(fabs(t - table[i].t[k]) <= half_digit))
                fail_msg("t(%g, %g) = %.6f, printed %.3f", p[k], table[i].df, t, table[i].t[k]);
            if (!(fabs(hy_student_quantile(1 - p[k], table[i].df) + t) < 1e-7 * t)) fail_msg("not symmetric");
            // the difference of two log gammas has their rounding
            const double rounding = 1e-14 + 4 * DBL_EPSILON * fabs(lgamma(table[i].df / 2));
            near(hy_student_cdf(t, table[i].df), p[k], rounding, "cdf of a quantile");
        }
}

// One to four degrees of freedom in closed form.
static double closed(double t, int df) {
    const double a = atan(t / sqrt(3)), s = t / sqrt(3);
    const double u = t / sqrt(4 + t * t);
    return df == 1   ? 0.5 + atan(t) / acos(-1)
           : df == 2 ? 0.5 + t / (2 * sqrt(2 + t * t))
           : df == 3 ? 0.5 + (a + s / (1 + s * s)) / acos(-1)
                     : 0.5 + 0.75 * (u - u * u * u / 3);
}

static void test_closed_forms(void **state) {
    (void)state;
    for (int df = 1; df <= 4; df++)
        for (double t = -40; t <= 40; t += 0.37) {
            if (fabs(hy_student_cdf(t, df) - closed(t, df)) > 2e-15) fail_msg("P(T <= %g) at %d", t, df);
            near(hy_student_two_sided(t, df), 2 * closed(-fabs(t), df), fabs(t) < 5 ? 1e-13 : 1e-10, "two-sided");
        }
    near(hy_student_quantile(0.975, 2), 0.95 / sqrt(0.5 - 0.95 * 0.95 / 2), 1e-14, "two degrees of freedom");
    near(hy_student_quantile(0.975, 1), tan(acos(-1) * 0.475), 1e-13, "one degree of freedom");
    for (double x = 0; x <= 1; x += 0.01) {
        assert_true(fabs(hy_incomplete_beta(3.5, 1, x) - pow(x, 3.5)) < 1e-15);
        assert_true(fabs(hy_incomplete_beta(1, 0.7, x) - (1 - pow(1 - x, 0.7))) < 1e-15);
        assert_true(fabs(hy_incomplete_beta(4, 9, x) + hy_incomplete_beta(9, 4, 1 - x) - 1) < 1e-14);
    }
}

// Made with SciPy 1.17 (stats.t.sf, special.betainc).
static void test_other_program(void **state) {
    (void)state;
    static const double tails[][3] = {
        {0.001, 3, 0.9992648949694609}, {0.5, 2, 0.6666666666666667},    {17.3, 2, 0.003324587811502918},
        {42, 2, 0.0005664118268073127}, {4.2, 7.5, 0.00346008181295232}, {12, 29, 9.060708333137183e-13},
        {40, 9, 1.898299844933982e-11}, {1e4, 4, 5.999999600000023e-16},
    };
    static const double betas[][4] = {
        {2, 3, 0.3, 0.3482999999999999},      {0.5, 0.5, 0.1, 0.2048327646991334},
        {10, 0.5, 0.98, 0.5301525761323904},  {100, 0.5, 0.995, 0.3173089879700103},
        {7.5, 120, 0.05, 0.3699530353598356}, {500, 500, 0.51, 0.7364243916434143},
    };
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        near(hy_student_two_sided(tails[i][0], tails[i][1]), tails[i][2], 1e-12, "two-sided");
    for (size_t i = 0; i < sizeof betas / sizeof *betas; i++)
        near(hy_incomplete_beta(betas[i][0], betas[i][1], betas[i][2]), betas[i][3], 1e-12, "incomplete beta");
}

static void test_edges(void **state) {
    (void)state;
    assert_true(hy_student_cdf(0, 5) == 0.5 && hy_student_quantile(0.5, 5) == 0);
    assert_true(hy_student_cdf(INFINITY, 3) == 1 && hy_student_cdf(-INFINITY, 3) == 0);
    assert_true(isinf(hy_student_quantile(1, 3)) && hy_student_quantile(0, 3) < 0);
    assert_true(isnan(hy_student_cdf(NAN, 3)) && isnan(hy_student_cdf(1, 0)) && isnan(hy_student_quantile(1.1, 3)));
    assert_true(isnan(hy_student_quantile(0.9, 0)) && isnan(hy_incomplete_beta(1, 1, -0.1)));
    assert_true(hy_incomplete_beta(2, 3, 0) == 0 && hy_incomplete_beta(2, 3, 1) == 1);
}

// ---------------------------------------------------------------------------------------------------- intervals
static void interval(const double *v, int n, hy_range range, double lo, double hi) {
    const hy_stat s = hy_stat_of(v, n, range);
    if (!(fabs(s.lo - lo) < 1e-10 && fabs(s.hi - hi) < 1e-10)) fail_msg("[%.12g, %.12g]", s.lo, s.hi);
    if (!(s.lo <= s.mean && s.mean <= s.hi)) fail_msg("%g is not within its interval", s.mean);
}

// By a line of NumPy each: mean -+ t s / sqrt(n); cut off at 0; and sin^2(asin(sqrt(m)) -+ t s / sqrt(n) / (2 sqrt(m (1
// - m)))).
static void test_intervals(void **state) {
    (void)state;
    interval((double[]){2, 4, 4, 4, 5, 5, 7, 9}, 8, HY_REAL, 3.21251208176, 6.78748791824);
    interval((double[]){1, 2, 6}, 3, HY_REAL, -3.57241060773, 9.57241060773);
    interval((double[]){1, 2, 6}, 3, HY_POSITIVE, 0, 9.57241060773);
    interval((double[]){0.98, 0.99, 1}, 3, HY_SHARE, 0.950223534607, 1);
    interval((double[]){0.4, 0.5, 0.6}, 3, HY_SHARE, 0.261680481411, 0.738319518589);
    interval((double[]){0, 0, 1}, 3, HY_SHARE, 0, 1);
    interval((double[]){0, 0.01, 0.02, 0.03}, 4, HY_SHARE, 0.00146477916216, 0.0423546864672);
    interval((double[]){0.61, 0.64, 0.72, 0.66, 0.68}, 5, HY_SHARE, 0.609647269315, 0.712434733354);
    interval((double[]){-0.2, 0, 0.2}, 3, HY_COSINE, -0.476639037178, 0.476639037178);  // of (1 + cosine) / 2
    interval((double[]){0.96, 0.98, 1}, 3, HY_COSINE, 0.900447069214, 1);
    // in bounds and around the mean, whatever the values
    for (uint64_t i = 0; i < 2000; i++) {
        double v[7];
        const int n = 3 + (int)(i % 5);
        for (int k = 0; k < n; k++) v[k] = pow((double)(hy_mix64(i, (uint64_t)k) >> 11) * 0x1p-53, 1 + (double)(i % 9));
        const hy_stat s = hy_stat_of(v, n, HY_SHARE);
        if (!(0 <= s.lo && s.lo < s.mean && s.mean < s.hi && s.hi <= 1)) fail_msg("%g: [%g, %g]", s.mean, s.lo, s.hi);
    }
}

static void test_nothing_claimed(void **state) {
    (void)state;
    static const hy_range all[] = {HY_REAL, HY_POSITIVE, HY_SHARE, HY_COSINE};
    for (int i = 0; i < 4; i++) {
        hy_stat s = hy_stat_of((double[]){0.5, 0.6}, 2, all[i]);  // fewer than three values
        assert_true(isnan(s.lo) && isnan(s.hi) && fabs(s.sd - sqrt(0.005)) < 1e-15 && s.n == 2);
        s = hy_stat_of((double[]){0.1, 0.1, 0.1}, 3, all[i]);  // no spread, which rounding must not hide
        assert_true(s.mean == 0.1 && s.sd == 0 && isnan(s.lo) && isnan(s.hi));
        s = hy_stat_of((double[]){1, 1, 1, 1}, 4, all[i]);
        assert_true(s.mean == 1 && s.sd == 0 && isnan(s.lo) && isnan(s.hi));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_closed_forms), cmocka_unit_test(test_other_program),
        cmocka_unit_test(test_edges), cmocka_unit_test(test_intervals),    cmocka_unit_test(test_nothing_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
