// test_kv_similarity.c - cosine and CKA of keys and values in closed forms, and the groups that are proposed from them
// against all ways to group.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/probe/kv_similarity.h"
#include "core/base/parallel.h"
#include "core/format/yaml.h"
#include "core/spec/spec_read.h"

enum { N = 40, P = 6, Q = 9 };
static float x[N * P], y[N * Q];

static void fill(float *v, int n, uint64_t seed) {
    hy_rng r = hy_rng_make(seed, 0);
    for (int i = 0; i < n; i++) v[i] = (float)hy_rng_normal(&r) + 0.7f;
}

static double cka(const float *a, int p, const float *b, int q, int n, bool debiased) {
    hy_cka_side s, t;
    double ab = 0, aa = 0, bb = 0;
    if (hy_cka_open(a, n, p, &s) || hy_cka_open(b, n, q, &t) || hy_hsic(&s, &t, debiased, &ab) ||
        hy_hsic(&s, &s, debiased, &aa) || hy_hsic(&t, &t, debiased, &bb))
        fail_msg("no memory");
    hy_cka_close(&s), hy_cka_close(&t);
    return ab / sqrt(aa * bb);
}

static void near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g, wanted %.17g", got, want);
}

// ---------------------------------------------------------------------------------------------------- closed forms
static void alike(void **state) {
    (void)state;
    float other[N * P];
    fill(x, N * P, 1);
    near(hy_kv_cosine(x, x, N, 3, 2), 1, 1e-14);
    near(cka(x, P, x, P, N, false), 1, 1e-14);
    near(cka(x, P, x, P, N, true), 1, 1e-14);
    // a rotation of the channels, a factor and an offset: the same to CKA, not to a cosine
    for (int r = 0; r < N; r++)
        for (int c = 0; c < P; c += 2) {
            const float u = x[r * P + c], v = x[r * P + c + 1];
            other[r * P + c] = 3 * (0.6f * u - 0.8f * v) + 5;
            other[r * P + c + 1] = 3 * (0.8f * u + 0.6f * v) - 2;
        }
    near(cka(x, P, other, P, N, false), 1, 1e-6);
    near(cka(x, P, other, P, N, true), 1, 1e-6);
    assert_true(fabs(hy_kv_cosine(x, other, N, 3, 2)) < 0.99);
    // heads in another order
    for (int r = 0; r < N; r++)
        for (int c = 0; c < P; c++) other[r * P + c] = x[r * P + (c + 2) % P];
    near(cka(x, P, other, P, N, false), 1, 1e-14);
    assert_true(hy_kv_cosine(x, other, N, 3, 2) < 0.9);
    // the other way round, head by head: -1
    for (int i = 0; i < N * P; i++) other[i] = -0.5f * x[i];
    near(hy_kv_cosine(x, other, N, 3, 2), -1, 1e-14);
    near(cka(x, P, other, P, N, false), 1, 1e-14);
}

static void by_hand(void **state) {
    (void)state;
    // 2 positions, 2 heads of 2: cosines 1, 0; sqrt(1/2), -1
    const float a[] = {1, 0, 0, 2, 1, 1, 3, 0}, b[] = {2, 0, 5, 0, 0, 4, -1, 0};
    near(hy_kv_cosine(a, b, 2, 2, 2), (1 + 0 + sqrt(0.5) - 1) / 4, 1e-15);
    const float zero[8] = {0};
    near(hy_kv_cosine(a, zero, 2, 2, 2), 0, 0);
    // one channel each: the square of the correlation. 1 2 6 | 1 0 5: covariance sums 12/3 ...
    const float u[] = {1, 2, 6}, v[] = {1, 0, 5};
    const double uv = (1 - 3) * (1 - 2) + (2 - 3) * (0 - 2) + (6 - 3) * (5 - 2), uu = 4 + 1 + 9, vv = 1 + 4 + 9;
    near(cka(u, 1, v, 1, 3, false), uv * uv / (uu * vv), 1e-15);
}

// Of unrelated keys: far above 0 with few positions, 0 on average when debiased.
static void unrelated(void **state) {
    (void)state;
    double plain = 0, debiased = 0;
    enum { TIMES = 200, FEW = 12 };
    for (int i = 0; i < TIMES; i++) {
        fill(x, FEW * P, 100 + 2 * (uint64_t)i);
        fill(y, FEW * Q, 101 + 2 * (uint64_t)i);
        plain += cka(x, P, y, Q, FEW, false) / TIMES;
        debiased += cka(x, P, y, Q, FEW, true) / TIMES;
    }
    assert_true(plain > 0.3);
    near(debiased, 0, 0.03);
}

static void threads(void **state) {
    (void)state;
    double one = 0;
    enum { WIDE = 130 };
    float *a = malloc(sizeof(float) * N * WIDE), *b = malloc(sizeof(float) * N * WIDE);
    fill(a, N * WIDE, 5), fill(b, N * WIDE, 6);
    for (int t = 1; t <= 3; t++) {
        hy_parallel_set_threads(t);
        const double v = cka(a, WIDE, b, WIDE, N, false);
        if (t == 1) one = v;
        assert_true(v == one);
    }
    hy_parallel_set_threads(0);
    // more columns than are worked on at once: the same as their sum by hand
    double squares = 0, got;
    hy_cka_side s, t;
    assert_false(hy_cka_open(a, N, WIDE, &s) || hy_cka_open(b, N, WIDE, &t) || hy_hsic(&s, &t, false, &got));
    for (int i = 0; i < WIDE; i++)
        for (int j = 0; j < WIDE; j++) {
            double dot = 0;
            for (int r = 0; r < N; r++) dot += (a[r * WIDE + i] - s.mean[i]) * (b[r * WIDE + j] - t.mean[j]);
            squares += dot * dot;
        }
    near(got, squares, 1e-9 * squares);
    hy_cka_close(&s), hy_cka_close(&t);
    free(a), free(b);
}

// ---------------------------------------------------------------------------------------------------- proposals
enum { L = 9 };
static hy_model_spec *spec_of(const char *text) {
    hy_yaml *yaml = NULL;
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    if (hy_yaml_parse("model", text, strlen(text), &yaml) || hy_spec_from_yaml(yaml, spec))
        fail_msg("%s", hy_error_text());
    hy_yaml_free(yaml);
    return spec;
}
static const char model[] =
    "name: m\nvocab: 40\nd_model: 12\nlayers: 9\nmlp: {kind: silu, d_ff: 10}\n"
    "attention: {heads: 2, kv_heads: 1, window: 5, global_layers: [4]}\n"
    "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
    "pattern: [{mixer: parallel}, {mixer: parallel}, {mixer: parallel}, {mixer: ssm}, "
    "{mixer: parallel}, {mixer: parallel}, {mixer: parallel}, {mixer: parallel}, {mixer: parallel}]\n";

// Bit i of cuts: a group begins at the i-th layer with attention. -INFINITY: not allowed.
static double worth(const hy_model_spec *spec, const double *s, int cuts, int most, double least) {
    static const int at[] = {0, 1, 2, 4, 5, 6, 7, 8};
    double sum = 0;
    for (int i = 0, first = 0; i < 8; i++) {
        if (i == 0 || cuts >> i & 1) first = i;
        if (i - first >= most || spec->layers[at[i]].window != spec->layers[at[first]].window) return -INFINITY;
        if (i > first) sum += s[at[first] * L + at[i]] - least;
    }
    return sum;
}

static void proposals(void **state) {
    (void)state;
    hy_model_spec *spec = spec_of(model);
    hy_rng r = hy_rng_make(7, 0);
    int shared = 0;
    for (int trial = 0; trial < 300; trial++) {
        double s[L * L], best = -INFINITY, got = 0;
        int source[HY_MAX_LAYERS];
        const int most = 2 + trial % 3;
        const double least = trial % 5 == 0 ? 0.8 : 0;
        for (int i = 0; i < L * L; i++) s[i] = hy_rng_uniform(&r);
        for (int cuts = 0; cuts < 1 << 8; cuts++) best = fmax(best, worth(spec, s, cuts, most, least));
        hy_kv_propose(spec, s, most, least, source);
        assert_int_equal(source[3], -1);  // no attention
        assert_int_equal(source[4], 4);   // the only global one
        for (int i = 0; i < L; i++)
            if (source[i] >= 0 && source[i] != i) got += s[source[i] * L + i] - least, shared++;
        near(got, best, 1e-12);
    }
    assert_true(shared > 600);
    free(spec);
}

// What is printed is read back as the variant's key, and gives these sources.
static void as_yaml(void **state) {
    (void)state;
    hy_model_spec *spec = spec_of(model);
    double s[L * L];
    for (int i = 0; i < L * L; i++) s[i] = i / L == 1 || i / L == 5 ? 0.9 : 0.4;
    hy_buf b = {0}, text = {0};
    hy_kv_share_text(spec, s, 3, 0.41, "CKA", "m", &b);
    assert_non_null(strstr(b.s, "\nkv_share: [[1, 2], [5, 6, 7]]\n"));
    assert_non_null(strstr(b.s, "layer 7 to layer 5: 0.900"));
    hy_buf_printf(&text, "%s%s", model, b.s);
    hy_model_spec *again = spec_of(text.s);
    static const int wanted[L] = {0, 1, 1, -1, 4, 5, 5, 5, 8};
    for (int i = 0; i < L; i++) assert_int_equal(again->layers[i].kv_source, wanted[i]);
    free(again);
    free(b.s), b = (hy_buf){0};
    hy_kv_share_text(spec, s, 3, 0.95, "cosines", "m", &b);
    assert_non_null(strstr(b.s, "cosines"));
    assert_non_null(strstr(b.s, "\nkv_share: none\n"));
    free(b.s), free(text.s);
    text = (hy_buf){0};
    hy_buf_printf(&text, "%skv_share: none\n", model);
    free(spec_of(text.s));
    free(text.s);
    free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alike),   cmocka_unit_test(by_hand),   cmocka_unit_test(unrelated),
        cmocka_unit_test(threads), cmocka_unit_test(proposals), cmocka_unit_test(as_yaml),
    };
    return cmocka_run_group_tests_name("kv similarity", tests, NULL, NULL);
}
