// test_maps.c - attention maps, their statistics and the effective receptive field, on random arrays against slow
// obvious forms: impulses through a plain scan, dense softmax, values known in closed form. No model runs here.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/probe/attnmap.h"
#include "analysis/probe/erf.h"
#include "core/base/parallel.h"
#include "kernels/attn_rule.h"

// Both sides work in double from the same float inputs; sums of at most a few hundred terms of size about 1.
static const double TOL = 1e-11;
// Float copies of double maps.
static const double TOL_FLOAT = 1e-6;

static float *random_array(hy_rng *r, size_t n, double scale) {
    float *a = hy_xcalloc(n, sizeof *a);
    for (size_t i = 0; i < n; i++) a[i] = (float)(scale * hy_rng_normal(r));
    return a;
}

typedef struct {
    int S, meta, heads, kv_heads, d_qk, d_v, window, D, N;
} shape;
static const shape shapes[] = {
    {1, 0, 1, 1, 1, 1, 0, 1, 1},  {2, 1, 1, 1, 3, 2, 1, 2, 1},     {7, 0, 2, 1, 4, 5, 3, 3, 5},
    {13, 4, 3, 3, 5, 7, 2, 5, 3}, {65, 7, 4, 2, 8, 16, 17, 3, 16}, {131, 0, 2, 2, 6, 6, 0, 2, 4},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static hy_map_values make(const shape *s, uint64_t seed) {
    hy_rng r = hy_rng_make(seed, 1);
    size_t S = (size_t)s->S;
    hy_map_values v = {.layer = 3,
                       .S = s->S,
                       .meta = s->meta,
                       .heads = s->heads,
                       .kv_heads = s->kv_heads,
                       .d_qk = s->d_qk,
                       .d_v = s->d_v,
                       .window = s->window,
                       .scale = 1 / sqrt(s->d_qk),
                       .D = s->D,
                       .N = s->N};
    v.q = random_array(&r, S * s->heads * s->d_qk, 1);
    v.k = random_array(&r, S * s->kv_heads * s->d_qk, 1);
    v.v = random_array(&r, S * s->kv_heads * s->d_v, 1);
    v.x = random_array(&r, S * s->D, 1);
    v.dt = random_array(&r, S * s->D, 2);
    v.Bm = random_array(&r, S * s->N, 1);
    v.Cm = random_array(&r, S * s->N, 1);
    v.gate = random_array(&r, S * s->D, 1);
    v.A_log = random_array(&r, (size_t)s->D * s->N, 1);
    v.skip = random_array(&r, s->D, 1);
    return v;
}

static void drop(hy_map_values *v) {
    const float *all[] = {v->q,  v->k,    v->v,     v->x,    v->dt,       v->Bm,
                          v->Cm, v->gate, v->A_log, v->skip, v->attn_out, v->ssm_out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free((void *)all[i]);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double softplus(double x) { return x > 30 ? x : log1p(exp(x)); }

// Column j of alpha of channel d: the answer of a plain scan (no D, no gate) to a unit impulse at j.
static void impulse(const hy_map_values *v, int d, int j, double *y) {
    double h[64] = {0};
    for (int t = 0; t < v->S; t++) {
        double delta = softplus(v->dt[t * v->D + d]);
        y[t] = 0;
        for (int n = 0; n < v->N; n++) {
            h[n] = exp(-delta * exp(v->A_log[d * v->N + n])) * h[n] + delta * v->Bm[t * v->N + n] * (t == j);
            y[t] += v->Cm[t * v->N + n] * h[n];
        }
    }
}

static double *alpha_by_impulses(const hy_map_values *v, int d) {
    double *a = hy_xcalloc((size_t)v->S * v->S, sizeof *a), *y = hy_xcalloc(v->S, sizeof *y);
    for (int j = 0; j < v->S; j++) {
        impulse(v, d, j, y);
        for (int i = 0; i < v->S; i++) a[(size_t)i * v->S + j] = y[i];
    }
    free(y);
    return a;
}

static double *softmax_dense(const hy_map_values *v, int head) {
    size_t S = (size_t)v->S;
    double *a = hy_xcalloc(S * S, sizeof *a);
    for (int i = 0; i < v->S; i++) {
        double sum = 0;
        for (int j = 0; j < v->S; j++) {
            bool sees = j <= i && (v->window == 0 || i - j <= v->window || j < v->meta);
            double s = 0;
            for (int c = 0; c < v->d_qk; c++)
                s += (double)v->q[(i * v->heads + head) * v->d_qk + c] *
                     v->k[(j * v->kv_heads + head * v->kv_heads / v->heads) * v->d_qk + c];
            sum += a[i * S + j] = sees ? exp(s * v->scale) : 0;
        }
        for (int j = 0; j < v->S; j++) a[i * S + j] /= sum;
    }
    return a;
}

static void assert_near(const double *a, const double *b, size_t n, double tol) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= tol * (1 + fabs(b[i])))) fail_msg("element %zu: %.17g against %.17g", i, a[i], b[i]);
}

static void normalise(double *a, int S) {
    for (int i = 0; i < S; i++) {
        double sum = 0;
        for (int j = 0; j <= i; j++) sum += fabs(a[i * S + j]);
        for (int j = 0; j < S; j++) a[i * S + j] = sum > 0 ? fabs(a[i * S + j]) / sum : 0;
    }
}

// ---------------------------------------------------------------------------------------------------- maps
static void test_alpha_is_the_impulse_response(void **state) {
    (void)state;
    hy_map_options o = {.norm = HY_MAP_SIGNED};
    for (int c = 0; c < N_SHAPES; c++) {
        hy_map_values v = make(&shapes[c], 11 + c);
        size_t n = (size_t)v.S * v.S;
        double *got = hy_xcalloc(n, sizeof *got);
        for (int d = 0; d < v.D; d++) {
            double *want = alpha_by_impulses(&v, d);
            assert_int_equal(hy_map_rows(&v, HY_MAP_SSM, d, &o, 0, v.S, got), HY_OK);
            assert_near(got, want, n, TOL);
            free(want);
        }
        free(got);
        drop(&v);
    }
}

// The formula as written, with prefix sums, where products underflow: large steps, a long sequence.
static void test_alpha_far_back(void **state) {
    (void)state;
    shape s = {257, 0, 1, 1, 1, 1, 0, 1, 3};
    hy_map_values v = make(&s, 5);
    float *dt = (float *)v.dt;
    for (int t = 0; t < v.S; t++) dt[t] = t % 2 ? 8.0f : -6.0f;
    hy_map_options o = {.norm = HY_MAP_SIGNED};
    double row[257], prefix[257], sum = 0;
    for (int t = 0; t < v.S; t++) prefix[t] = sum += softplus(dt[t]);
    for (int i = 0; i < v.S; i += 32) {
        assert_int_equal(hy_map_rows(&v, HY_MAP_SSM, 0, &o, i, 1, row), HY_OK);
        for (int j = 0; j <= i; j++) {
            double want = 0;
            for (int n = 0; n < v.N; n++)
                want += v.Cm[i * v.N + n] * exp(-exp(v.A_log[n]) * (prefix[i] - prefix[j])) * softplus(dt[j]) *
                        v.Bm[j * v.N + n];
            if (!(fabs(row[j] - want) <= TOL * fabs(want) + 1e-240))
                fail_msg("row %d column %d: %g, not %g", i, j, row[j], want);
        }
    }
    drop(&v);
}

static void test_attention_is_masked_softmax(void **state) {
    (void)state;
    hy_map_options o = {0};
    for (int c = 0; c < N_SHAPES; c++) {
        hy_map_values v = make(&shapes[c], 23 + c);
        size_t n = (size_t)v.S * v.S;
        double *got = hy_xcalloc(n, sizeof *got), *mean = hy_xcalloc(n, sizeof *mean);
        for (int h = 0; h < v.heads; h++) {
            double *want = softmax_dense(&v, h);
            assert_int_equal(hy_map_rows(&v, HY_MAP_ATTENTION, h, &o, 0, v.S, got), HY_OK);
            assert_near(got, want, n, TOL);
            for (size_t i = 0; i < n; i++) mean[i] += want[i] / v.heads;
            free(want);
        }
        assert_int_equal(hy_map_rows(&v, HY_MAP_ATTENTION, -1, &o, 0, v.S, got), HY_OK);
        assert_near(got, mean, n, TOL);
        free(got), free(mean);
        drop(&v);
    }
}

// Each way of making one map of many channels, written out.
static void test_channels_to_one_map(void **state) {
    (void)state;
    for (int c = 0; c < N_SHAPES; c++)
        for (int gate = 0; gate < 2; gate++) {
            hy_map_values v = make(&shapes[c], 31 + c);
            size_t n = (size_t)v.S * v.S;
            double *want[4], *got = hy_xcalloc(n, sizeof *got);
            for (int k = 0; k < 4; k++) want[k] = hy_xcalloc(n, sizeof(double));
            for (int d = 0; d < v.D; d++) {
                double *a = alpha_by_impulses(&v, d);
                for (size_t e = 0; e < n; e++) {
                    double g = v.gate[e / v.S * v.D + d], w = gate ? g * sigmoid(g) : 1;
                    want[HY_SSM_MEAN_ABS][e] += fabs(w * a[e]) / v.D;
                    want[HY_SSM_ABS_MEAN][e] += w * a[e] / v.D;
                    want[3][e] += w * a[e] / v.D;
                }
                normalise(a, v.S);
                for (size_t e = 0; e < n; e++) want[HY_SSM_MEAN_ROWS][e] += a[e] / v.D;
                free(a);
            }
            for (int k = 0; k < 4; k++) {
                hy_map_options o = {.reduce = k < 3 ? (hy_ssm_reduce)k : HY_SSM_MEAN_ABS,
                                    .gate = gate,
                                    .norm = k < 3 ? HY_MAP_ROWSUM : HY_MAP_SIGNED};
                if (k < 3) normalise(want[k], v.S);
                assert_int_equal(hy_map_rows(&v, HY_MAP_SSM, -1, &o, 0, v.S, got), HY_OK);
                assert_near(got, want[k], n, 1e-9);  // rows that nearly cancel are divided by their small sums
                free(want[k]);
            }
            free(got);
            drop(&v);
        }
}

static void test_whole_maps(void **state) {
    (void)state;
    for (int c = 0; c < N_SHAPES; c++) {
        hy_map_values v = make(&shapes[c], 47 + c);
        int S = v.S;
        size_t n = (size_t)S * S;
        float *m = hy_xcalloc(n + 1, sizeof *m);
        double *r = hy_xcalloc(n, sizeof *r), *half = hy_xcalloc(n, sizeof *half);
        m[n] = 42;
        for (int src = 0; src < 3; src++) {
            hy_map_options o = {0};
            assert_int_equal(hy_map_full(&v, (hy_map_src)src, -1, &o, -7, m), HY_OK);
            assert_int_equal(hy_map_rows(&v, (hy_map_src)src, -1, &o, 0, S, r), HY_OK);
            for (int i = 0; i < S; i++) {
                double sum = 0;
                for (int j = 0; j < S; j++) {
                    bool sees = j <= i && (src != HY_MAP_ATTENTION || hy_attn_visible(i, j, v.window, v.meta));
                    assert_true(sees == hy_map_visible(&v, (hy_map_src)src, i, j));
                    if (!sees)
                        assert_true(m[i * S + j] == -7);
                    else
                        assert_true(fabs(m[i * S + j] - r[i * S + j]) <= TOL_FLOAT);
                    sum += sees ? m[i * S + j] : 0;
                }
                assert_true(fabs(sum - 1) <= TOL_FLOAT * 10);
            }
            for (size_t e = 0; e < n && src < 2; e++) half[e] += 0.5 * r[e];
        }
        assert_near(r, half, n, TOL);  // the layer is the mean of the two
        assert_true(m[n] == 42);
        hy_map_options mm = {.norm = HY_MAP_MINMAX};
        assert_int_equal(hy_map_full(&v, HY_MAP_SSM, -1, &mm, 0, m), HY_OK);
        float lo = 1, hi = 0;
        for (int i = 0; i < S; i++)
            for (int j = 0; j <= i; j++) lo = fminf(lo, m[i * S + j]), hi = fmaxf(hi, m[i * S + j]);
        assert_true(lo == 0 && (hi == 1 || S == 1));
        assert_int_equal(hy_map_full(&v, HY_MAP_LAYER, -1, &mm, 0, m), HY_EINPUT);
        free(m), free(r), free(half);
        drop(&v);
    }
}

static void test_selftest_sees_errors(void **state) {
    (void)state;
    hy_map_values v = make(&shapes[4], 3);
    float *ao = hy_xcalloc((size_t)v.S * v.heads * v.d_v, sizeof *ao), *so = hy_xcalloc((size_t)v.S * v.D, sizeof *so);
    for (int h = 0; h < v.heads; h++) {
        double *a = softmax_dense(&v, h);
        for (int i = 0; i < v.S; i++)
            for (int e = 0; e < v.d_v; e++) {
                double y = 0;
                for (int j = 0; j <= i; j++)
                    y += a[i * v.S + j] * v.v[(j * v.kv_heads + h * v.kv_heads / v.heads) * v.d_v + e];
                ao[(i * v.heads + h) * v.d_v + e] = (float)y;
            }
        free(a);
    }
    for (int d = 0; d < v.D; d++) {
        double *a = alpha_by_impulses(&v, d);
        for (int i = 0; i < v.S; i++) {
            double y = v.skip[d] * v.x[i * v.D + d], g = v.gate[i * v.D + d];
            for (int j = 0; j <= i; j++) y += a[i * v.S + j] * v.x[j * v.D + d];
            so[i * v.D + d] = (float)(y * g * sigmoid(g));
        }
        free(a);
    }
    v.attn_out = ao;
    v.ssm_out = so;
    hy_map_check c;
    assert_int_equal(hy_map_selftest(&v, &c), HY_OK);
    assert_true(c.attn >= 0 && c.attn <= 1e-6 * c.attn_scale);
    assert_true(c.ssm >= 0 && c.ssm <= 1e-12 * c.ssm_scale);
    assert_true(c.model >= 0 && c.model <= 1e-6 * c.model_scale);
    so[5] += 0.5f;
    ao[7] -= 0.25f;
    assert_int_equal(hy_map_selftest(&v, &c), HY_OK);
    assert_true(fabs(c.model - 0.5) < 1e-3 && fabs(c.attn - 0.25) < 1e-3);
    drop(&v);
}

static void test_same_bits_for_any_threads(void **state) {
    (void)state;
    hy_map_values v = make(&shapes[4], 8);
    size_t n = (size_t)v.S * v.S;
    float *a = hy_xcalloc(n, sizeof *a), *b = hy_xcalloc(n, sizeof *b);
    hy_map_options o = {.gate = true};
    hy_parallel_set_threads(1);
    assert_int_equal(hy_map_full(&v, HY_MAP_LAYER, -1, &o, 0, a), HY_OK);
    hy_parallel_set_threads(3);
    assert_int_equal(hy_map_full(&v, HY_MAP_LAYER, -1, &o, 0, b), HY_OK);
    hy_parallel_set_threads(0);
    assert_memory_equal(a, b, n * sizeof *a);
    free(a), free(b);
    drop(&v);
}

static void test_refusals(void **state) {
    (void)state;
    hy_map_values v = make(&shapes[3], 8);
    hy_map_options o = {0};
    double row[64];
    assert_int_equal(hy_map_rows(&v, HY_MAP_ATTENTION, v.heads, &o, 0, 1, row), HY_EINPUT);
    assert_int_equal(hy_map_rows(&v, HY_MAP_SSM, v.D, &o, 0, 1, row), HY_EINPUT);
    int D = v.D;
    v.D = 0;
    assert_int_equal(hy_map_rows(&v, HY_MAP_SSM, -1, &o, 0, 1, row), HY_EINPUT);
    assert_true(strstr(hy_error_text(), "layer 3") != NULL);
    v.D = D;
    drop(&v);
}

// ---------------------------------------------------------------------------------------------------- statistics
// q_i points at one key: position (i - back), with all other scores far below. d_qk = S.
static hy_map_values pointing(int S, int meta, int back) {
    hy_map_values v = {.S = S, .meta = meta, .heads = 1, .kv_heads = 1, .d_qk = S, .d_v = 1, .scale = 1};
    float *q = hy_xcalloc((size_t)S * S, sizeof *q), *k = hy_xcalloc((size_t)S * S, sizeof *k);
    for (int i = 0; i < S; i++) {
        k[i * S + i] = 1;
        q[i * S + (i >= back ? i - back : 0)] = 1000;
    }
    v.q = q;
    v.k = k;
    return v;
}

static hy_map_values uniform(int S, int meta, int window) {
    hy_map_values v = pointing(S, meta, 0);
    memset((float *)v.q, 0, (size_t)S * S * sizeof(float));
    v.window = window;
    return v;
}

static void test_categories_and_entropy(void **state) {
    (void)state;
    hy_map_options o = {0};
    hy_map_stats s;
    hy_map_values v = pointing(10, 3, 1);  // real rows 3..9 look at 2 (meta), 3 (first text), 4 ... 8
    assert_int_equal(hy_map_stats_of(&v, HY_MAP_ATTENTION, -1, &o, &s), HY_OK);
    assert_int_equal(s.rows, 7);
    assert_true(fabs(s.meta - 1 / 7.0) < TOL && fabs(s.bos - 1 / 7.0) < TOL && s.self < TOL &&
                fabs(s.cross - 5 / 7.0) < TOL);
    assert_true(s.entropy < TOL && s.entropy_rel < TOL && fabs(s.distance - 1) < TOL);
    drop(&v);
    v = pointing(10, 3, 0);
    assert_int_equal(hy_map_stats_of(&v, HY_MAP_ATTENTION, -1, &o, &s), HY_OK);
    assert_true(fabs(s.self - 1) < TOL);
    drop(&v);
    v = uniform(9, 0, 0);
    assert_int_equal(hy_map_stats_of(&v, HY_MAP_ATTENTION, -1, &o, &s), HY_OK);
    double h = 0, d = 0;
    for (int i = 0; i < 9; i++) h += log(i + 1) / 9, d += i / 2.0 / 9;
    assert_true(fabs(s.entropy - h) < TOL && fabs(s.entropy_rel - 1) < TOL && fabs(s.distance - d) < TOL);
    drop(&v);
    v = uniform(12, 2, 3);  // with a window the visible keys set the row length
    assert_int_equal(hy_map_stats_of(&v, HY_MAP_ATTENTION, -1, &o, &s), HY_OK);
    assert_true(fabs(s.entropy_rel - 1) < TOL && fabs(s.meta + s.bos + s.self + s.cross - 1) < TOL);
    drop(&v);
    for (int c = 1; c < N_SHAPES; c++) {  // the four shares always add to 1, also for SSM and layer
        v = make(&shapes[c], 71 + c);
        hy_map_stats at_once[3];
        assert_int_equal(hy_map_stats_layer(&v, &o, at_once), HY_OK);
        for (int src = 0; src < 3; src++) {
            assert_int_equal(hy_map_stats_of(&v, (hy_map_src)src, -1, &o, &s), HY_OK);
            assert_true(fabs(s.meta + s.bos + s.self + s.cross - 1) < TOL && s.entropy_rel <= 1 + TOL &&
                        s.entropy >= 0);
            const double *a = &s.meta, *b = &at_once[src].meta;
            assert_true(s.heads == at_once[src].heads && s.rows == at_once[src].rows);
            for (int k = 0; k < 7; k++) assert_true(fabs(a[k] - b[k]) < TOL * (1 + fabs(a[k])));
        }
        drop(&v);
    }
}

static void test_delta_entropy(void **state) {
    (void)state;
    hy_map_values v = make(&shapes[4], 2);
    float *dt = (float *)v.dt;
    for (int i = 0; i < v.S * v.D; i++) dt[i] = 0.3f;
    assert_true(fabs(hy_map_delta_entropy(&v) - log(v.S)) < TOL);
    for (int i = 0; i < v.S; i++)
        for (int d = 0; d < v.D; d++) dt[i * v.D + d] = i == 4 ? 5.0f : -700.0f;
    assert_true(hy_map_delta_entropy(&v) < TOL);
    drop(&v);
}

// Steps of very unlike sizes, written out.
static void test_delta_entropy_of_steps(void **state) {
    (void)state;
    hy_map_values v = make(&shapes[3], 6);
    double want = 0;
    for (int d = 0; d < v.D; d++) {
        double sum = 0, part = 0;  // -sum p log p = log(sum) - sum delta log(delta) / sum
        for (int i = 0; i < v.S; i++) {
            const double delta = softplus(v.dt[i * v.D + d]);
            sum += delta;
            part += delta * log(delta);
        }
        want += (log(sum) - part / sum) / v.D;
    }
    assert_true(fabs(hy_map_delta_entropy(&v) - want) < TOL && want < log(v.S) - 0.1);
    drop(&v);
}

// Mamba-2 heads are channels that share decay, step, B and C: the same measures as of those channels one by one.
static void test_mamba2_heads_are_channels(void **state) {
    (void)state;
    enum { S = 29, H = 3, P = 4, N = 5, D = H * P };
    const shape wide = {S, 2, 0, 1, 1, 1, 0, D, N};
    hy_map_values one = make(&wide, 12), two = make(&wide, 12);
    float *dt = (float *)two.dt, *A = (float *)two.A_log, bias[H];
    for (int h = 0; h < H; h++) bias[h] = 0.25f * (float)(h - 1);
    two.ssm_heads = H, two.groups = 1, two.dt_bias = bias;
    for (int t = 0; t < S; t++)
        for (int h = 0; h < H; h++) {
            dt[t * H + h] = rintf(16 * dt[t * H + h]) / 16;  // so that the bias adds without rounding
            for (int p = 0; p < P; p++) ((float *)one.dt)[t * D + h * P + p] = dt[t * H + h] + bias[h];
        }
    for (int d = 0; d < D; d++)
        for (int n = 0; n < N; n++) ((float *)one.A_log)[d * N + n] = A[d / P];
    for (int d = 0; d < D; d++) ((float *)one.skip)[d] = two.skip[d / P];
    hy_erf_layer a, b;
    for (int reduce = 0; reduce < 3; reduce++) {
        const hy_erf_options o = {.reduce = (hy_ssm_reduce)reduce};
        assert_int_equal(hy_erf_measure(&one, &o, &a), HY_OK);
        assert_int_equal(hy_erf_measure(&two, &o, &b), HY_OK);
        assert_true(a.channels == D && b.channels == H);
        assert_true(fabs(a.ssm_group - b.ssm_group) < TOL * S && fabs(a.ssm_channels - b.ssm_channels) < TOL * S);
    }
    assert_true(fabs(hy_map_delta_entropy(&one) - hy_map_delta_entropy(&two)) < TOL);
    double rows[2][S];
    const hy_map_options o = {.norm = HY_MAP_SIGNED};
    for (int d = 0; d < D; d++) {
        assert_int_equal(hy_map_rows(&one, HY_MAP_SSM, d, &o, S - 1, 1, rows[0]), HY_OK);
        assert_int_equal(hy_map_rows(&two, HY_MAP_SSM, d / P, &o, S - 1, 1, rows[1]), HY_OK);
        assert_near(rows[0], rows[1], S, TOL);
    }
    two.dt_bias = NULL;
    drop(&one);
    drop(&two);
}

// ---------------------------------------------------------------------------------------------------- ERF
static void test_erf_closed_forms(void **state) {
    (void)state;
    hy_erf_options o = {0};
    hy_erf_layer l[5];
    for (int S = 2; S <= 33; S += 31) {
        for (int n = 0; n < 5; n++) {
            hy_map_values v = pointing(S, 0, 1);
            v.layer = n;
            assert_int_equal(hy_erf_measure(&v, &o, &l[n]), HY_OK);
            drop(&v);
        }
        for (int N = 1; N <= 5; N++) assert_true(fabs(hy_erf_combine(l, N, &o) - 1) < TOL);
        for (int n = 0; n < 5; n++) {
            hy_map_values v = uniform(S, 0, 0);
            assert_int_equal(hy_erf_measure(&v, &o, &l[n]), HY_OK);
            drop(&v);
        }
        for (int N = 1; N <= 5; N++) assert_true(fabs(hy_erf_combine(l, N, &o) - (S - 1) / 2.0) < TOL);
    }
}

// Eq. 5 with its sums written out, against two stages of means.
static void test_erf_equation5(void **state) {
    (void)state;
    enum { N = 3, S = 17 };
    shape sh = {S, 2, 4, 2, 3, 3, 5, 3, 2};
    hy_erf_options o = {.heads = HY_ERF_POOLED, .ssm = HY_ERF_SSM_CHANNELS};
    hy_map_options m = {0};
    hy_erf_layer l[N];
    double want = 0, row[S];
    for (int n = 1; n <= N; n++) {
        hy_map_values v = make(&sh, 90 + n);
        assert_int_equal(hy_erf_measure(&v, &o, &l[n - 1]), HY_OK);
        int H = v.heads + v.D;
        for (int h = 1; h <= H; h++) {
            bool ssm = h > v.heads;
            assert_int_equal(
                hy_map_rows(&v, ssm ? HY_MAP_SSM : HY_MAP_ATTENTION, ssm ? h - 1 - v.heads : h - 1, &m, S - 1, 1, row),
                HY_OK);
            for (int s = 1; s <= S; s++) want += 2 * row[s - 1] * (S - s) * (N - n + 1) / ((double)H * N * (N + 1));
        }
        drop(&v);
    }
    assert_true(fabs(hy_erf_combine(l, N, &o) - want) < TOL * want);
}

static void test_erf_options(void **state) {
    (void)state;
    hy_erf_layer l[2] = {{.heads = 3, .channels = 8, .attention = 10, .ssm_group = 4, .ssm_channels = 2},
                         {.channels = 8, .ssm_group = 1, .ssm_channels = 6}};
    hy_erf_options o = {.uniform = 1};
    double d;
    assert_true(hy_erf_layer_distance(&l[0], &o, &d) && d == 7);
    o.heads = HY_ERF_POOLED;
    assert_true(hy_erf_layer_distance(&l[0], &o, &d) && fabs(d - 34.0 / 4) < TOL);
    o.ssm = HY_ERF_SSM_CHANNELS;
    assert_true(hy_erf_layer_distance(&l[0], &o, &d) && fabs(d - 46.0 / 11) < TOL);
    o = (hy_erf_options){.heads = HY_ERF_ATTENTION};
    assert_true(hy_erf_combine(l, 2, &o) == 10);  // only the layer that has attention counts
    assert_false(hy_erf_layer_distance(&l[1], &o, &d));
    o.missing = HY_ERF_ZERO;
    assert_true(fabs(hy_erf_combine(l, 2, &o) - 10 * 2.0 / 3) < TOL);
    assert_true(isnan(hy_erf_combine(l + 1, 1, &(hy_erf_options){.heads = HY_ERF_ATTENTION})));
    // meta tokens: mass on them is dropped and the rest renormalised
    hy_map_values v = uniform(10, 4, 0);
    hy_erf_layer got;
    assert_int_equal(hy_erf_measure(&v, &(hy_erf_options){.meta = HY_ERF_META_RENORM}, &got), HY_OK);
    assert_true(fabs(got.attention - 2.5) < TOL);
    assert_int_equal(hy_erf_measure(&v, &(hy_erf_options){0}, &got), HY_OK);
    assert_true(fabs(got.attention - 4.5) < TOL);
    v.meta = 10;
    assert_int_equal(hy_erf_measure(&v, &(hy_erf_options){.meta = HY_ERF_META_RENORM}, &got), HY_EINPUT);
    drop(&v);
    hy_buf b = {0};
    hy_erf_options_text(&(hy_erf_options){.heads = HY_ERF_POOLED, .meta = HY_ERF_META_RENORM}, &b);
    assert_string_equal(b.s, "ssm=group heads=pooled meta=renormalised missing=skip weights=paper_eq5 "
                             "ssm_reduce=mean_abs gate=no rows=last");
    free(b.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alpha_is_the_impulse_response),
        cmocka_unit_test(test_alpha_far_back),
        cmocka_unit_test(test_attention_is_masked_softmax),
        cmocka_unit_test(test_channels_to_one_map),
        cmocka_unit_test(test_whole_maps),
        cmocka_unit_test(test_selftest_sees_errors),
        cmocka_unit_test(test_same_bits_for_any_threads),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_categories_and_entropy),
        cmocka_unit_test(test_delta_entropy),
        cmocka_unit_test(test_delta_entropy_of_steps),
        cmocka_unit_test(test_mamba2_heads_are_channels),
        cmocka_unit_test(test_erf_closed_forms),
        cmocka_unit_test(test_erf_equation5),
        cmocka_unit_test(test_erf_options),
    };
    return cmocka_run_group_tests_name("maps", tests, NULL, NULL);
}
