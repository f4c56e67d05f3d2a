// test_reach.c - spans, mean distances and half-lives in closed forms.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/probe/reach.h"
#include "core/base/parallel.h"

static void near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g, wanted %.17g", got, want);
}

static void rows(void **state) {
    (void)state;
    double a[101] = {0}, span, distance;
    for (int i = 0; i < 100; i++) a[i] = 0.01;  // 100 keys alike: 90 of them reach back 89
    hy_reach_row(a, 99, 0, 0.9, &span, &distance);
    near(span, 89, 0);
    near(distance, 49.5, 1e-12);
    hy_reach_row(a, 99, 0, 0.5, &span, &distance);
    near(span, 49, 0);
    hy_reach_row(a, 99, 50, 0.9, &span, &distance);  // the last 50 alone
    near(span, 44, 0);
    near(distance, 24.5, 1e-12);
    memset(a, 0, sizeof a);
    a[98] = -3;  // a size; all on the token before
    hy_reach_row(a, 99, 0, 0.9, &span, &distance);
    near(span, 1, 0), near(distance, 1, 0);
    a[98] = 0, a[99] = 1;
    hy_reach_row(a, 99, 0, 0.9, &span, &distance);
    near(span, 0, 0), near(distance, 0, 0);
    a[0] = 1;  // half of it as far back as there is
    hy_reach_row(a, 99, 0, 0.9, &span, &distance);
    near(span, 99, 0), near(distance, 49.5, 0);
    hy_reach_row(a, 99, 0, 0.4, &span, &distance);
    near(span, 0, 0);
    hy_reach_row(a, 50, 1, 0.9, &span, &distance);  // nothing there
    near(span, 0, 0), near(distance, 0, 0);
    a[3] = NAN;
    hy_reach_row(a, 99, 0, 0.9, &span, &distance);
    assert_true(isnan(distance));
}

// ---------------------------------------------------------------------------------------------------- an SSM
enum { S = 80, D = 3, N = 2, META = 4 };
static float dt[S * D], ones[S * D], A_log[D * N];
static const double rates[D * N] = {1, 8, 2, 4, 0.01, 16};

static hy_map_values ssm_of(double step) {
    for (int i = 0; i < S * D; i++) ones[i] = 1, dt[i] = (float)log(expm1(step));
    for (int i = 0; i < D * N; i++) A_log[i] = (float)log(rates[i]);
    return (hy_map_values){
        .S = S, .meta = META, .D = D, .N = N, .x = ones, .dt = dt, .Bm = ones, .Cm = ones, .A_log = A_log};
}

static hy_reach_layer reach_of(const hy_map_values *v, hy_reach_options o) {
    hy_reach_layer r = {0};
    if (o.mass == 0) o.mass = 0.9;
    if (o.rows == 0) o.rows = 1;
    if (hy_reach_measure(v, &o, &r)) fail_msg("%s", hy_error_text());
    return r;
}

static void half_lives(void **state) {
    (void)state;
    const double step = 0.05;
    hy_map_values v = ssm_of(step);
    hy_reach_layer r = reach_of(&v, (hy_reach_options){0});
    // rates in falling order 16 8 4 2 1 0.01: their half-lives are 0 .. 5 of 6, quantile q stands at 5 q
    const double unit = log(2) / step, life[] = {unit / 16, unit / 8, unit / 4, unit / 2, unit, 100 * unit};
    near(r.half_life[0], life[0] + 0.25 * (life[1] - life[0]), 1e-5);
    near(r.half_life[1], life[1] + 0.25 * (life[2] - life[1]), 1e-5);
    near(r.half_life[2], (life[2] + life[3]) / 2, 1e-5);
    near(r.half_life[3], life[3] + 0.75 * (life[4] - life[3]), 1e-4);
    near(r.half_life[4], life[4] + 0.75 * (life[5] - life[4]), 1e-2);
    near(r.long_memory, 1.0 / 6, 1e-12);  // 1386 tokens; the next, 13.9, is less than 80
    assert_int_equal(r.positions, S);
    assert_int_equal(reach_of(&v, (hy_reach_options){.text = true}).positions, S - META);
}

// Half of the steps 0.1, half 0.3: the geometric mean is that of 0.2, the mean of the factors is larger.
static void means_of_decay(void **state) {
    (void)state;
    hy_map_values v = ssm_of(0.1);
    v.D = 1, v.N = 1;
    for (int t = 0; t < S; t++) dt[t] = (float)log(expm1(t % 2 ? 0.1 : 0.3));
    near(reach_of(&v, (hy_reach_options){0}).half_life[2], log(2) / 0.2, 1e-5);
    near(reach_of(&v, (hy_reach_options){.mean = true}).half_life[2], log(2) / -log((exp(-0.1) + exp(-0.3)) / 2), 1e-5);
    for (int t = 0; t < META; t++) dt[t] = 30;  // steps at meta tokens, counted or not
    near(reach_of(&v, (hy_reach_options){.text = true}).half_life[2], log(2) / 0.2, 1e-5);
    near(reach_of(&v, (hy_reach_options){0}).half_life[2], log(2) / ((0.2 * (S - META) + 30 * META) / S), 1e-4);
    for (int t = 0; t < S; t++) dt[t] = -1000;  // nothing is ever lost
    const hy_reach_layer r = reach_of(&v, (hy_reach_options){0});
    near(r.half_life[2], HY_REACH_LONGEST, 0);
    near(r.long_memory, 1, 0);
}

// One state whose factor is q: alpha falls by q each token back. Of q = 1/2 the nearest 4 hold 15/16, the nearest 3
// 7/8; the mean distance is q / (1 - q).
static void spans_of_ssm(void **state) {
    (void)state;
    hy_map_values v = ssm_of(log(2));
    v.D = 1, v.N = 1;
    hy_reach_layer r = reach_of(&v, (hy_reach_options){0});
    near(r.ssm_span, 3, 0);
    near(r.ssm_distance, 1, 1e-6);
    near(reach_of(&v, (hy_reach_options){.mass = 0.8}).ssm_span, 2, 0);
    near(reach_of(&v, (hy_reach_options){.rows = 20}).ssm_distance, 1, 1e-6);
    // of channels: the mean over them, each on its own: q = 1/2, 1/4, and one of q = 3/4 (distance 3)
    v.D = 3;
    for (int d = 0; d < 3; d++) A_log[d] = (float)log(d == 0 ? 1 : d == 1 ? 2 : log(4.0 / 3) / log(2));
    near(reach_of(&v, (hy_reach_options){0}).ssm_distance, (1 + 1.0 / 3 + 3) / 3, 1e-5);
    // spans: 3; of 1/4 the nearest 2 hold 15/16; of 3/4 the nearest 9 hold 1 - 0.075, the nearest 8 1 - 0.1001
    near(reach_of(&v, (hy_reach_options){0}).ssm_span, (3 + 1 + 8) / 3.0, 1e-12);
}

// More channels than are prepared at once, the same for any number of threads.
static void blocks(void **state) {
    (void)state;
    enum { WIDE = 37 };
    static float x[S * WIDE], a[WIDE];
    hy_map_values v = ssm_of(0.2);
    for (int i = 0; i < S * WIDE; i++) x[i] = (float)log(expm1(0.1 + 0.01 * (i % 11)));
    for (int d = 0; d < WIDE; d++) a[d] = (float)log(0.1 + 0.05 * d);
    v.D = WIDE, v.N = 1, v.dt = x, v.A_log = a;
    hy_reach_layer one = {0};
    double sum = 0;
    for (int t = 1; t <= 3; t++) {
        hy_parallel_set_threads(t);
        const hy_reach_layer r = reach_of(&v, (hy_reach_options){.rows = 2});
        if (t == 1) one = r;
        assert_memory_equal(&one, &r, sizeof r);
    }
    hy_parallel_set_threads(0);
    for (int d = 0; d < WIDE; d++) {  // each channel by the formula
        for (int i = S - 2; i < S; i++) {
            double mass = 0, far = 0, after = 0;
            for (int j = i; j >= 0; j--) {
                const double step = log1p(exp(x[j * WIDE + d])), w = exp(-exp(a[d]) * after) * step;
                mass += w, far += w * (i - j);
                after += step;
            }
            sum += far / mass / 2 / WIDE;
        }
    }
    near(one.ssm_distance, sum, 1e-9 * sum);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),         cmocka_unit_test(half_lives), cmocka_unit_test(means_of_decay),
        cmocka_unit_test(spans_of_ssm), cmocka_unit_test(blocks),
    };
    return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
