// test_vec.c - the functions of the SIMD layer against double precision over all floats (every 1013th bit pattern: both
// signs, denormals, infinities, NaN), in the widest vectors of this machine; the narrowest are in test_kernels.c. The
// limits are those that vec.h states.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "kernels/cpu/fast/vec.h"

typedef struct {
    double ulp;  // the largest error, in units of the last place of the exact value (at least 2^-149)
    float at;
} worst;

static void judge(worst *w, float x, float got, double want) {
    if (isnan(want)) {
        if (!isnan(got)) fail_msg("of %a: %a, not NaN", (double)x, (double)got);
        return;
    }
    int e;
    frexp(want, &e);
    const double unit = ldexp(1, (e < -125 ? -125 : e) - 24), error = fabs(got - want) / unit;
    const double ulp = isinf(want) || want == 0 ? (got == want ? 0 : INFINITY) : error;
    if (!(ulp <= w->ulp)) *w = (worst){ulp, x};
}
// Limits where the result is neither 0 nor infinite by definition.
static double exp_of(double x) { return x < -87.3f ? 0 : x > 88.3f ? INFINITY : exp(x); }
static double exp2_of(double x) { return exp2(x); }
static double sigmoid_of(double x) { return x < -88.3f ? 0 : 1 / (1 + exp(-x)); }
static double softplus_of(double x) { return x < -87.3f ? 0 : x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double log1p_of(double x) { return log1p(x); }

static vf exp_v(vf x) { return v_exp(x); }
static vf exp2_v(vf x) { return v_exp2(x); }
static vf sigmoid_v(vf x) { return v_sigmoid(x); }
static vf softplus_v(vf x) {
    vf s;
    return v_softplus(x, &s);
}
static vf derivative_v(vf x) {
    vf s;
    v_softplus(x, &s);
    return s;
}
static double derivative_of(double x) { return x < -87.3f ? 0 : 1 / (1 + exp(-x)); }
static vf log1p_v(vf x) {
    v_log1p01s(1, (const vf[]){x}, &x);
    return x;
}

static void hold(const char *name, vf (*f)(vf), double (*want)(double), float lo, float hi, double limit) {
    worst w = {0, 0};
    long tried = 0;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 1013) {
        const uint32_t b = (uint32_t)bits;
        float x;
        memcpy(&x, &b, sizeof x);
        if (!(x >= lo && x <= hi) && !(isnan(x) && isinf(hi))) continue;
        const vf y = f(v_set(x));
        judge(&w, x, y[0], want(x));
        for (int l = 1; l < HY_LANES; l++)
            if (memcmp((float *)&y + l, &y, sizeof(float)) && !isnan(y[0])) fail_msg("%s: lanes differ", name);
        tried++;
    }
    const float edges[] = {0.f, -0.f, 1, -1, 88.3f, -87.3f, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        if ((edges[i] >= lo && edges[i] <= hi) || (isnan(edges[i]) && isinf(hi)))
            judge(&w, edges[i], f(v_set(edges[i]))[0], want(edges[i]));
    print_message("%-10s %ld values, at most %.3f ulp, at %.9g\n", name, tried, w.ulp, (double)w.at);
    if (!(w.ulp <= limit)) fail_msg("%s: %.3f ulp at %.9g, stated %g", name, w.ulp, (double)w.at, limit);
}

static void accuracy(void **state) {
    (void)state;
    hold("exp", exp_v, exp_of, -INFINITY, INFINITY, HY_ULP_EXP);
    hold("exp2", exp2_v, exp2_of, -126, 127, HY_ULP_EXP2);
    hold("sigmoid", sigmoid_v, sigmoid_of, -INFINITY, INFINITY, HY_ULP_SIGMOID);
    hold("softplus", softplus_v, softplus_of, -INFINITY, INFINITY, HY_ULP_SOFTPLUS);
    hold("softplus'", derivative_v, derivative_of, -INFINITY, INFINITY, HY_ULP_SIGMOID);
    hold("log1p", log1p_v, log1p_of, 0, 1, HY_ULP_LOG1P);
}
// Slow decays: 1 - 2^x keeps its relative error as x goes to 0.
static void decay_near_one(void **state) {
    (void)state;
    for (float x = -0.5f; x < -1e-30f; x *= 0.999f) {
        const double got = v_exp2(v_set(x))[0], want = exp2(x);
        assert_true(fabs(got - want) < 3e-7 * fabs((double)x) + 0x1p-24);
    }
    assert_true(v_exp2(v_set(0))[0] == 1 && v_exp2(v_set(-INFINITY))[0] == 0 && v_exp2(v_set(-1e9f))[0] == 0);
}
// Side by side, or alone: the same bits.
static void side_by_side(void **state) {
    (void)state;
    for (int n = 1; n <= HY_SIDE; n++) {
        vf x[HY_SIDE], e[HY_SIDE], p[HY_SIDE], s[HY_SIDE], t;
        for (int i = 0; i < HY_SIDE; i++)
            for (int l = 0; l < HY_LANES; l++) x[i][l] = (float)(i * HY_LANES + l) * 1.37f - 30;
        memcpy(e, x, sizeof e);
        if (n == 4) v_exp2s(4, e), v_softpluses(4, x, p, s);
        if (n == 2) v_exp2s(2, e), v_softpluses(2, x, p, s);
        for (int i = 0; i < n && n % 2 == 0; i++) {
            const vf a = v_exp2(x[i]), b = v_softplus(x[i], &t);
            assert_memory_equal(&a, &e[i], sizeof a);
            assert_memory_equal(&b, &p[i], sizeof b);
            assert_memory_equal(&t, &s[i], sizeof t);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(accuracy), cmocka_unit_test(decay_near_one),
                                       cmocka_unit_test(side_by_side)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
