// test_probe.c - attention maps and throughput through real programs: what a probe sees of the model, put back to work
// as maps, gives what the model computed, for every kind of layer.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/probe/capture.h"
#include "analysis/probe/erf.h"
#include "analysis/measure/throughput.h"
#include "core/spec/spec_read.h"

// The model works in float: sums of some ten terms, norms and exps before them, so some ten roundings of 6e-8.
static const double TOL_MODEL = 5e-6;
// Both sides in double from the same values.
static const double TOL_DOUBLE = 1e-12;

#define COMMON "vocab: 13\nd_model: 12\ninit: {std: 0.3}\n"
#define MLP "mlp: {kind: silu, d_ff: 10}\n"
#define SSM "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
#define SSM2 "ssm: {kind: mamba2, expand: 2, d_state: 3, d_conv: 3, head_dim: 6, "
static const char *const models[] = {
    "name: llama\nlayers: 2\nmixer: attention\nattention: {heads: 3, kv_heads: 1, d_qk: 4}\n" COMMON MLP,
    "name: mamba\nlayers: 2\nmixer: ssm\nmlp: {kind: none}\n" COMMON SSM,
    "name: hymba\nlayers: 5\nmixer: parallel\nmeta_tokens: 3\nattention: {heads: 2, kv_heads: 1, window: 3, "
    "global_layers: [0, 4]}\n"
    "kv_share: [[1, 2, 3]]\n" COMMON MLP SSM,
    "name: concat\nlayers: 2\nmixer: parallel\nfusion: concat\nmeta_tokens: 1\nattention: {heads: 2, kv_heads: 2, "
    "d_qk: 6, d_v: 3, window: 2, global_layers: none, qk_norm: true}\n" COMMON MLP SSM,
    "name: reverse\nlayers: 2\nmixer: ssm_attention\nattention: {heads: 2, kv_heads: 2}\nrope: {kind: none}\nkv_share: "
    "[[0, 1]]\n" COMMON MLP SSM,
    "name: mixed\nlayers: 4\nattention: {heads: 2, kv_heads: 1, window: 4, global_layers: none}\n"
    "pattern: [{mixer: ssm}, {mixer: none}, {mixer: attention, mlp: {kind: none}}, {mixer: none, mlp: {kind: "
    "none}}]\n" COMMON MLP
    "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2, inner_norms: false, conv_bias: false}\n",
    "name: mamba2\nlayers: 2\nmixer: ssm\nmlp: {kind: none}\n" COMMON SSM2 "groups: 2}\n",
    "name: hymba2\nlayers: 3\nmixer: parallel\nmeta_tokens: 2\nattention: {heads: 2, kv_heads: 1, window: 3}\n" COMMON
        MLP SSM2 "gated_norm: false, dt_min: 0.004, dt_max: 0.05}\n",
    "name: sum2\nlayers: 2\nmixer: parallel\nfusion: sum\nattention: {heads: 2, d_v: 3}\n" COMMON MLP SSM2
    "norm_before_gate: true}\n",
};
enum { N_MODELS = sizeof models / sizeof *models, TEXT = 21 };

typedef struct {
    hy_model_spec *spec;
    hy_program *p;
    hy_backend be;
    hy_params *w;
    int32_t ids[TEXT];
} rig;

static void rig_open(rig *r, const char *text, hy_dtype dt, uint64_t seed) {
    hy_yaml *y = NULL;
    r->spec = hy_xcalloc(1, sizeof *r->spec);
    if (hy_yaml_parse("model", text, strlen(text), &y) || hy_spec_from_yaml(y, r->spec) ||
        hy_model_build(r->spec, &r->p))
        fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    if (hy_backend_cpu(dt == HY_F64 ? "ref" : "auto", 2, &r->be) || hy_params_create(r->p, &r->be, dt, &r->w) ||
        hy_params_init(r->w, seed))
        fail_msg("%s", hy_error_text());
    hy_rng rng = hy_rng_make(seed, 5);
    for (int i = 0; i < TEXT; i++) r->ids[i] = (int32_t)hy_rng_below(&rng, 13);
}

static void rig_close(rig *r) {
    hy_params_free(r->w);
    hy_program_free(r->p);
    free(r->spec);
}

// ---------------------------------------------------------------------------------------------------- maps
typedef struct {
    int calls, layers[16];
    double sum;  // of all last rows: to compare runs
    bool measure_erf;
    hy_erf_layer erf[16];
} seen;

// The gated map of a layer of Mamba-2 heads: |alpha| of each head times the mean size of the gates of its channels,
// rows to sum 1.
static void check_gated_heads(const hy_map_values *v) {
    const hy_map_options gated = {.gate = true}, plain = {.norm = HY_MAP_SIGNED};
    const int S = v->S, per = v->D / v->ssm_heads;
    double *got = hy_xcalloc((size_t)S * S * 3, sizeof *got), *want = got + S * S, *one = want + S * S;
    assert_int_equal(hy_map_rows(v, HY_MAP_SSM, -1, &gated, 0, S, got), HY_OK);
    for (int h = 0; h < v->ssm_heads; h++) {
        assert_int_equal(hy_map_rows(v, HY_MAP_SSM, h, &plain, 0, S, one), HY_OK);
        for (int i = 0; i < S; i++) {
            double size = 0;
            for (int p = 0; p < per; p++) {
                const double g = v->gate[i * v->D + h * per + p];
                size += fabs(g / (1 + exp(-g)));
            }
            for (int j = 0; j <= i; j++) want[i * S + j] += size * fabs(one[i * S + j]);
        }
    }
    for (int i = 0; i < S; i++) {
        double sum = 0;
        for (int j = 0; j <= i; j++) sum += want[i * S + j];
        for (int j = 0; j <= i; j++) assert_true(fabs(got[i * S + j] - want[i * S + j] / sum) < 1e-12);
    }
    assert_int_equal(hy_map_rows(v, HY_MAP_SSM, v->ssm_heads, &plain, 0, S, one), HY_EINPUT);  // heads, not channels
    free(got);
}

static hy_status check_layer(void *user, const hy_map_values *v) {
    seen *s = user;
    s->layers[s->calls++] = v->layer;
    hy_map_check c;
    HY_TRY(hy_map_selftest(v, &c));
    if (c.attn > TOL_MODEL * c.attn_scale)
        fail_msg("layer %d: softmax v is %g off, of %g", v->layer, c.attn, c.attn_scale);
    if (c.ssm > TOL_DOUBLE * c.ssm_scale)
        fail_msg("layer %d: alpha x + D x is %g off, of %g", v->layer, c.ssm, c.ssm_scale);
    if (c.model > TOL_MODEL * c.model_scale)
        fail_msg("layer %d: gated alpha x + D x is %g off, of %g", v->layer, c.model, c.model_scale);
    assert_true((c.attn >= 0) == (v->heads > 0) && (c.model >= 0) == (v->D > 0));
    assert_true((v->heads == 0 || c.attn_scale > 1e-3) && (v->D == 0 || c.model_scale > 1e-3));
    if (v->ssm_heads) check_gated_heads(v);
    hy_map_options o = {0};
    double *m = hy_xcalloc((size_t)v->S * v->S, sizeof *m);
    for (int src = 0; src < 3; src++) {
        if (!hy_map_has(v, (hy_map_src)src)) continue;
        HY_TRY(hy_map_rows(v, (hy_map_src)src, -1, &o, 0, v->S, m));
        for (int i = 0; i < v->S; i++) {
            double sum = 0;
            for (int j = 0; j < v->S; j++) sum += m[i * v->S + j];
            assert_true(fabs(sum - 1) < 1e-9);
        }
        for (int j = 0; j < v->S; j++) s->sum += j * m[(v->S - 1) * v->S + j];
    }
    free(m);
    if (s->measure_erf) HY_TRY(hy_erf_measure(v, &(hy_erf_options){0}, &s->erf[v->layer]));
    return HY_OK;
}

static void test_maps_give_back_the_model(void **state) {
    (void)state;
    for (int k = 0; k < N_MODELS; k++)
        for (int dt = 0; dt < 2; dt++) {
            rig r;
            rig_open(&r, models[k], dt ? HY_F64 : HY_F32, 40 + k);
            hy_capture *c = NULL;
            bool want[16];
            memset(want, 1, sizeof want);
            seen s = {.measure_erf = true};
            if (hy_capture_open(r.p, r.w, TEXT, &c) || hy_capture_run(c, r.ids, want, check_layer, &s))
                fail_msg("%s: %s", r.spec->name, hy_error_text());
            int expect = 0;
            for (int i = 0; i < r.spec->n_layers; i++) expect += r.spec->layers[i].mixer != HY_MIXER_NONE;
            assert_int_equal(s.calls, expect);
            double erf = hy_erf_combine(s.erf, r.spec->n_layers, &(hy_erf_options){0});
            assert_true(erf > 0 && erf < TEXT + r.spec->meta_tokens);
            seen again = {0};  // the same capture object serves any number of runs
            if (hy_capture_run(c, r.ids, want, check_layer, &again)) fail_msg("%s", hy_error_text());
            assert_true(again.calls == s.calls && again.sum == s.sum);
            hy_capture_close(c);
            rig_close(&r);
        }
}

// One layer alone, also one whose keys another layer makes.
static void test_one_layer(void **state) {
    (void)state;
    rig r;
    rig_open(&r, models[2], HY_F32, 9);
    hy_capture *c = NULL;
    bool all[16], one[16] = {false};
    memset(all, 1, sizeof all);
    assert_int_equal(hy_capture_open(r.p, r.w, TEXT, &c), HY_OK);
    for (int i = 0; i < r.spec->n_layers; i++) {
        one[i] = true;
        seen s = {0};
        if (hy_capture_run(c, r.ids, one, check_layer, &s)) fail_msg("%s", hy_error_text());
        assert_true(s.calls == 1 && s.layers[0] == i);
        one[i] = false;
    }
    hy_capture_close(c);
    assert_int_equal(hy_capture_open(r.p, r.w, 0, &c), HY_EINPUT);
    rig_close(&r);
}

// ---------------------------------------------------------------------------------------------------- padded batches
// Queries and keys of layer `layer` of the second of three sequences of other lengths, as a probe sees them in one
// padded batch.
typedef struct {
    const hy_program *p;
    int layer, S, longest;
    float *q, *k, *x, *dt, *B, *C;
} padded;
static bool wants_all(void *user, const char *name) {
    (void)user, (void)name;
    return true;
}
static hy_status got_padded(void *user, const char *name, const float *data, int rows, int width) {
    padded *b = user;
    const struct {
        const char *name;
        float **to;
    } all[] = {{"attn.q", &b->q},  {"attn.k", &b->k}, {"ssm.x", &b->x},
               {"ssm.dt", &b->dt}, {"ssm.B", &b->B},  {"ssm.C", &b->C}};
    assert_true(rows == 3 * b->longest || !strncmp(name, "out_rows", 8));
    for (int i = 0; i < 6; i++) {
        char full[64];
        snprintf(full, sizeof full, "layers.%d.%s", b->layer, all[i].name);
        if (strcmp(full, name)) continue;
        *all[i].to = hy_xcalloc((size_t)b->S * (size_t)width, sizeof(float));
        memcpy(*all[i].to, data + (size_t)b->longest * (size_t)width, (size_t)b->S * (size_t)width * sizeof(float));
    }
    return HY_OK;
}

// The maps of a sequence alone are those of its values beside others in a padded batch, bit by bit.
static hy_status compare_padded(void *user, const hy_map_values *v) {
    padded *b = user;
    hy_map_values other = *v;
    if (v->layer != b->layer) return HY_OK;
    assert_int_equal(v->S, b->S);
    other.q = b->q, other.k = b->k, other.x = b->x, other.dt = b->dt, other.Bm = b->B, other.Cm = b->C;
    const size_t n = (size_t)v->S * (size_t)v->S;
    double *alone = hy_xcalloc(2 * n, sizeof *alone), *beside = alone + n;
    for (int src = 0; src < 3; src++) {
        HY_TRY(hy_map_rows(v, (hy_map_src)src, -1, &(hy_map_options){0}, 0, v->S, alone));
        HY_TRY(hy_map_rows(&other, (hy_map_src)src, -1, &(hy_map_options){0}, 0, v->S, beside));
        assert_memory_equal(alone, beside, n * sizeof *alone);
        for (int i = 0; i < v->S; i++)  // and none looks at what comes after it
            for (int j = i + 1; j < v->S; j++) assert_true(beside[i * v->S + j] == 0);
    }
    free(alone);
    return HY_OK;
}

static void test_padded_batches(void **state) {
    (void)state;
    rig r;
    rig_open(&r, models[2], HY_F32, 9);
    const int meta = r.p->spec.meta_tokens, T = 13, longest = TEXT + meta;
    int32_t ids[3 * (TEXT + 8)] = {0}, text[3 * TEXT];
    for (int i = 0; i < 3 * TEXT; i++) text[i] = r.ids[(i * 5 + i / TEXT) % TEXT];
    hy_ids_with_meta(3, TEXT, meta, text, 0, ids);
    const int32_t len[3] = {longest, T + meta, 4 + meta};
    const hy_batch batch = {.B = 3, .T = longest, .ids = ids, .len = len};
    padded b = {.p = r.p, .layer = 0, .S = T + meta, .longest = longest};
    hy_exec *e;
    assert_int_equal(hy_exec_create(r.p, &r.be, HY_F32, HY_EXEC_INFER, 3, longest, 0, &e), HY_OK);
    const hy_probe probe = {wants_all, got_padded, &b};
    if (hy_exec_forward(e, r.w, &batch, NULL, 0, &probe)) fail_msg("%s", hy_error_text());
    hy_exec_free(e);
    assert_true(b.q && b.k && b.x && b.dt && b.B && b.C);
    hy_capture *c;
    bool want[16] = {true};
    assert_int_equal(hy_capture_open(r.p, r.w, T, &c), HY_OK);
    if (hy_capture_run(c, text + TEXT, want, compare_padded, &b)) fail_msg("%s", hy_error_text());
    hy_capture_close(c);
    free(b.q), free(b.k), free(b.x), free(b.dt), free(b.B), free(b.C);
    rig_close(&r);
}

// What a run will take is counted before: of more positions more, never less than the executor has.
static void test_needs(void **state) {
    (void)state;
    rig r;
    hy_capture_need few, many, logits;
    rig_open(&r, models[2], HY_F32, 9);
    assert_int_equal(hy_capture_needs(r.p, &r.be, HY_F32, 100, false, &few), HY_OK);
    assert_int_equal(hy_capture_needs(r.p, &r.be, HY_F32, 5000, false, &many), HY_OK);
    assert_int_equal(hy_capture_needs(r.p, &r.be, HY_F32, 5000, true, &logits), HY_OK);
    const double S = 5000 + r.p->spec.meta_tokens, values = 4 * S;
    // q, k, v, output of 2 heads; x, dt, gate, output of 24 channels; B and C of 3 states: all of a layer at once
    assert_true(many.captured > values * (2 * 12 + 2 * 6 + 4 * 24 + 2 * 3) && many.captured > 10 * few.captured);
    assert_true(many.executor > few.executor && logits.executor >= many.executor);
    assert_true(many.weights == few.weights && many.weights > 0);
    assert_int_equal(hy_capture_fits(r.p, &r.be, 5000, &many), HY_OK);
    many.captured = 1e18;
    assert_int_equal(hy_capture_fits(r.p, &r.be, 5000, &many), HY_EINPUT);
    rig_close(&r);
}

static hy_status refuse(void *user, const hy_map_values *v) {
    (void)user;
    return hy_error(HY_EFAIL, "layer %d was refused", v->layer);
}

static void test_a_refusal_ends_the_run(void **state) {
    (void)state;
    rig r;
    rig_open(&r, models[2], HY_F32, 9);
    hy_capture *c = NULL;
    bool want[16] = {false, true};
    assert_int_equal(hy_capture_open(r.p, r.w, TEXT, &c), HY_OK);
    assert_int_equal(hy_capture_run(c, r.ids, want, refuse, NULL), HY_EFAIL);
    assert_string_equal(hy_error_text(), "layer 1 was refused");
    hy_capture_close(c);
    rig_close(&r);
}

// ---------------------------------------------------------------------------------------------------- throughput
static void test_throughput(void **state) {
    (void)state;
    for (int k = 0; k < N_MODELS; k++) {
        rig r;
        rig_open(&r, models[k], HY_F32, 3);
        float *before = hy_xcalloc(r.p->param_elems, sizeof *before);
        memcpy(before, r.w->data, r.p->param_elems * sizeof *before);
        const hy_tp_spec specs[] = {{HY_TP_TRAIN, 2, 7, 0, 0, 0, 0},
                                    {HY_TP_PREFILL, 3, 11, 6, 2, 0, 4},
                                    {HY_TP_PREFILL, 1, 5, 0, 0, 0, 0},
                                    {HY_TP_DECODE, 2, 9, 5, 1, 3, 5}};
        for (int i = 0; i < 4; i++) {
            hy_tp_result t;
            if (hy_throughput_measure(r.p, r.w, &specs[i], &t)) fail_msg("%s: %s", r.spec->name, hy_error_text());
            assert_int_equal(t.n, specs[i].reps ? specs[i].reps : 5);
            for (int q = 0; q < t.n; q++) assert_true(t.rate[q] > 0 && isfinite(t.rate[q]));
            assert_true(t.path &&
                        (strstr(t.path, "lm_loss") != NULL) == (specs[i].kind == HY_TP_TRAIN));  // what ran, no more
            hy_throughput_free(&t);
        }
        assert_memory_equal(before, r.w->data, r.p->param_elems * sizeof *before);
        free(before);
        hy_tp_result t;
        assert_int_equal(hy_throughput_measure(r.p, r.w, &(hy_tp_spec){HY_TP_DECODE, 0, 9, 0, 0, 0, 0}, &t), HY_EINPUT);
        rig_close(&r);
    }
}

// A rate is tokens a second, of text: what was timed then took most of the time that all of it took, and not more.
static void test_units(void **state) {
    (void)state;
    rig r;
    rig_open(&r,
             "name: m\nvocab: 40\nd_model: 12\nlayers: 1\nmeta_tokens: 30\nattention: {heads: 2}\nmlp: {d_ff: 10}\n",
             HY_F32, 3);
    const hy_tp_spec specs[] = {
        {HY_TP_TRAIN, 2, 1, 200, 1, 0, 0}, {HY_TP_PREFILL, 2, 1, 200, 1, 0, 0}, {HY_TP_DECODE, 2, 1, 100, 1, 9, 0}};
    for (int i = 0; i < 3; i++) {
        hy_tp_result t;
        const double start = hy_now();
        if (hy_throughput_measure(r.p, r.w, &specs[i], &t)) fail_msg("%s", hy_error_text());
        const double all = hy_now() - start, tokens = i == 2 ? 2 * 9 : 2;
        double timed = 0;
        for (int q = 0; q < t.n; q++) timed += tokens / t.rate[q];
        if (!(timed < 1.001 * all && timed > 0.3 * all)) fail_msg("kind %d: %g s of %g s were timed", i, timed, all);
        hy_throughput_free(&t);
    }
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_give_back_the_model),
        cmocka_unit_test(test_one_layer),
        cmocka_unit_test(test_padded_batches),
        cmocka_unit_test(test_needs),
        cmocka_unit_test(test_a_refusal_ends_the_run),
        cmocka_unit_test(test_throughput),
        cmocka_unit_test(test_units),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
