// test_ablation.c - models without some of their parts: each way to take one out is compared with a model that is
// built, or whose weights are set, so that it lacks the part.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ablation_rig.h"

static double largest_difference(const double *x, const double *y) {
    double d = 0;
    for (int i = 0; i < N; i++) d = fmax(d, fabs(x[i] - y[i]));
    return d;
}

// A model without the parts is, example by example, the model that lacks them; and no other.
static void same_as(const model *m, const char *pattern, const model *without) {
    double a[2 * N], b[2 * N];
    losses(m, pattern, HY_ABLATE_ZERO, 4, a);
    losses(without, "", HY_ABLATE_ZERO, 4, b);
    if (largest_difference(a + N, b) > 1e-6) fail_msg("%s: %g", pattern, largest_difference(a + N, b));
    if (largest_difference(a, a + N) < 1e-3) fail_msg("%s: taking it out changes nothing", pattern);
}

static void nothing(void **state) {
    (void)state;
    static const char *const all[] = {llama, mean, turns, mamba, mamba2};
    for (int i = 0; i < 5; i++) {
        model m;
        double a[2 * N];
        model_open(&m, all[i]);
        losses(&m, "", HY_ABLATE_ZERO, 4, a);
        assert_memory_equal(a, a + N, N * sizeof *a);
        model_close(&m);
    }
}

static void branches(void **state) {
    (void)state;
    static const char *const kinds[] = {"attention", "ssm"}, *const betas[] = {"attn_norm", "ssm_norm"};
    for (int layer = 0; layer < 2; layer++)
        for (int k = 0; k < 2; k++) {  // beta = 0
            model m, other;
            char name[48], beta[48];
            model_open(&m, mean);
            model_open(&other, mean);
            snprintf(name, sizeof name, "layer%d.%s", layer, kinds[k]);
            snprintf(beta, sizeof beta, "layers.%d.fuse.%s", layer, betas[k]);
            fill(&other, beta, 0);
            same_as(&m, name, &other);
            model_close(&m);
            model_close(&other);
        }
    model m, ssm;  // ssm, then attention, without attention
    model_open(&m, turns);
    model_open(&ssm, mamba);
    take_weights(&ssm, &m);
    same_as(&m, "layer*.attention", &ssm);
    model_close(&m);
    model_close(&ssm);
}

// What reads the columns of a head or group has zeros there.
static void heads_and_groups(void **state) {
    (void)state;
    const struct {
        const char *text, *unit, *reader;
        int first, width, of;
    } all[] = {{llama, "layer1.head2", "layers.1.out_proj", 8, 4, 12},
               {mamba, "layer0.group1", "layers.0.out_proj", 6, 6, 24},
               {mamba2, "layer1.group3", "layers.1.out_proj", 18, 6, 24}};
    for (int i = 0; i < 3; i++) {
        model m, other;
        size_t n;
        model_open(&m, all[i].text);
        model_open(&other, all[i].text);
        double *w = weights(&other, all[i].reader, &n);
        for (size_t r = 0; r < n / (size_t)all[i].of; r++)
            for (int c = 0; c < all[i].width; c++) w[r * (size_t)all[i].of + (size_t)(all[i].first + c)] = 0;
        same_as(&m, all[i].unit, &other);
        model_close(&m);
        model_close(&other);
    }
}

static void blocks(void **state) {
    (void)state;
    model m, other;
    model_open(&m, llama);
    other.spec = hy_xcalloc(1, sizeof *other.spec);
    *other.spec = *m.spec;
    other.spec->layers[1].mlp = HY_MLP_NONE;
    other.spec->layers[1].d_ff = 0;
    model_of(&other);
    take_weights(&other, &m);
    same_as(&m, "layer1.mlp", &other);
    model_close(&other);
    other.spec = hy_xcalloc(1, sizeof *other.spec);
    *other.spec = *m.spec;
    other.spec->layers[1] = (hy_layer_spec){.mixer = HY_MIXER_NONE, .mlp = HY_MLP_NONE, .kv_source = -1};
    model_of(&other);
    take_weights(&other, &m);
    same_as(&m, "layer1", &other);
    model_close(&other);
    model_close(&m);
}

static void convolutions(void **state) {
    (void)state;
    static const char *const all[] = {mean, mamba2};
    for (int i = 0; i < 2; i++) {
        model m, other;
        size_t n;
        model_open(&m, all[i]);
        model_open(&other, all[i]);
        double *w = weights(&other, "layers.1.conv.weight", &n);
        for (size_t k = 0; k < n; k++) w[k] = k % 3 == 2;  // the newest of three
        if (hy_program_find_param(other.p, "layers.1.conv.bias") >= 0) {
            fill(&m, "layers.1.conv.bias", 0.4);
            fill(&other, "layers.1.conv.bias", 0);
        }
        same_as(&m, "layer1.conv", &other);
        model_close(&m);
        model_close(&other);
    }
}

// ---------------------------------------------------------------------------------------------------- mean, resample
typedef struct {
    const char *name, *base;  // base: what it was added to, or NULL
    int width, rows;
    double v[64 * 24], before[64 * 24];
} seen;
static bool wants(void *user, const char *name) {
    const seen *s = user;
    return !strcmp(name, s->name) || (s->base && !strcmp(name, s->base));
}
static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    seen *s = user;
    assert_true(rows * width <= 64 * 24);
    s->rows = rows;
    s->width = width;
    for (int i = 0; i < rows * width; i++) (strcmp(name, s->name) ? s->before : s->v)[i] = (double)data[i];
    return HY_OK;
}

// One example through the model; returns its loss.
static double one(const model *m, hy_split split, int cell, int index, const hy_edit *edit, seen *s) {
    const int T = hy_task_cell(task, split, cell)->T, meta = m->spec->meta_tokens;
    int32_t ids[64], labels[64], full[64], wanted[64];
    hy_exec *e;
    const hy_batch b = {.B = 1, .T = meta + T, .ids = full, .labels = wanted};
    const hy_probe probe = {wants, got, s};
    if (hy_task_example(task, split, cell, index, ids, labels)) fail_msg("%s", hy_error_text());
    hy_ids_with_meta(1, T, meta, ids, 0, full);
    hy_ids_with_meta(1, T, meta, labels, HY_IGNORE, wanted);
    if (hy_exec_create(m->p, &be, HY_F64, HY_EXEC_INFER, 1, meta + T, 0, &e)) fail_msg("%s", hy_error_text());
    hy_exec_set_edits(e, edit, edit ? 1 : 0);
    if (hy_exec_forward(e, m->w, &b, NULL, HY_HEAD_LOSS, s ? &probe : NULL)) fail_msg("%s", hy_error_text());
    double sum = 0;
    int n = 0;
    for (int t = 0; t < meta + T; t++)
        if (wanted[t] >= 0) sum += (double)hy_exec_nll(e)[t], n++;
    hy_exec_free(e);
    return sum / n;
}

// Example by example, with what a probe saw put in the place of columns of a value.
static void replaced(const char *text, const char *unit, const char *value, const char *base, int col, int width,
                     hy_ablate_how how) {
    model m;
    double a[2 * N];
    model_open(&m, text);
    losses(&m, unit, how, 4, a);
    seen s = {.name = value, .base = base};
    float with[64 * 24];
    double sum[24] = {0};
    int rows = 0;
    for (int cell = 0; how == HY_ABLATE_MEAN && cell < CELLS; cell++)
        for (int i = 0; i < 4; i++) {
            one(&m, HY_SPLIT_TUNE, cell, i, NULL, &s);
            for (int r = 0; r < s.rows; r++, rows++)
                for (int c = 0; c < width; c++)
                    sum[c] += s.v[r * s.width + col + c] - (base ? s.before[r * s.width + col + c] : 0);
        }
    for (int c = 0; c < width; c++) with[c] = (float)(sum[c] / rows);
    for (int i = 0; i < N; i++) {
        const int cell = i / EXAMPLES, k = i % EXAMPLES;
        if (how == HY_ABLATE_RESAMPLE) {
            one(&m, HY_SPLIT_EVAL, cell, (k + 1) % EXAMPLES, NULL, &s);
            for (int r = 0; r < s.rows; r++)
                for (int c = 0; c < width; c++)
                    with[r * width + c] =
                        (float)(s.v[r * s.width + col + c] - (base ? s.before[r * s.width + col + c] : 0));
        }
        const hy_edit edit = {.value = hy_program_find(m.p, value),
                              .col = col,
                              .width = width,
                              .input = base ? 1 : -1,
                              .with = with,
                              .ld = how == HY_ABLATE_MEAN ? 0 : width};
        const double want = one(&m, HY_SPLIT_EVAL, cell, k, &edit, NULL),
                     intact = one(&m, HY_SPLIT_EVAL, cell, k, NULL, NULL);
        if (fabs(a[i] - intact) > 1e-6) fail_msg("%s, example %d: intact %.9g, wanted %.9g", unit, i, a[i], intact);
        if (fabs(a[N + i] - want) > 1e-5) fail_msg("%s, example %d: %.9g, wanted %.9g", unit, i, a[N + i], want);
        if (fabs(want - intact) < 1e-7) fail_msg("%s, example %d: it changes nothing", unit, i);
    }
    model_close(&m);
}

static void means_and_others(void **state) {
    (void)state;
    for (hy_ablate_how how = HY_ABLATE_MEAN; how <= HY_ABLATE_RESAMPLE; how++) {
        replaced(llama, "layer1.head2", "layers.1.attn.out", NULL, 8, 4, how);
        replaced(llama, "layer1.mlp", "layers.2.input", "layers.1.mixer.out", 0, 12, how);
        replaced(mean, "layer0.ssm", "layers.0.ssm.out", NULL, 0, 24, how);
        replaced(mean, "layer1.conv", "layers.1.ssm.x", NULL, 0, 24, how);
        replaced(mamba, "layer0", "layers.1.input", "layers.0.input", 0, 12, how);
    }
}

// Without a meta token: its embedding is 0, or the mean of all embeddings of the reference examples.
static void meta_tokens(void **state) {
    (void)state;
    model m, other;
    size_t n;
    double sum[12] = {0}, a[2 * N], b[2 * N];
    int rows = 0;
    model_open(&m, mean);
    model_open(&other, mean);
    double *w = weights(&other, "meta", &n);
    for (int c = 0; c < 12; c++) w[12 + c] = 0;
    same_as(&m, "meta1", &other);
    fill(&other, "meta", 0);
    same_as(&m, "meta*", &other);
    seen s = {.name = "layers.0.input"};
    for (int cell = 0; cell < CELLS; cell++)
        for (int i = 0; i < 4; i++) {
            one(&m, HY_SPLIT_TUNE, cell, i, NULL, &s);
            for (int r = 0; r < s.rows; r++, rows++)
                for (int c = 0; c < 12; c++) sum[c] += s.v[r * 12 + c];
        }
    memcpy(w, weights(&m, "meta", &n), n * sizeof *w);
    for (int c = 0; c < 12; c++) w[24 + c] = sum[c] / rows;
    losses(&m, "meta2", HY_ABLATE_MEAN, 4, a);
    losses(&other, "", HY_ABLATE_ZERO, 4, b);
    assert_true(largest_difference(a + N, b) < 1e-6 && largest_difference(a, a + N) > 1e-3);
    model_close(&m);
    model_close(&other);
}

// A set of parts has the same bits whichever others are taken out beside it, and in whatever order.
static void sets_together(void **state) {
    (void)state;
    static const char *const all[] = {llama, mean, turns, mamba2};
    for (int k = 0; k < 4; k++) {
        model m;
        hy_units u;
        hy_ablation_scores s;
        model_open(&m, all[k]);
        const hy_ablation a = ablation_of(&m, HY_ABLATE_ZERO, 3);
        assert_int_equal(hy_units_of(m.p, ALL_KINDS, 4, &u), HY_OK);
        bool *chosen = hy_xcalloc((size_t)(2 * u.n * u.n), sizeof *chosen);  // the last first, then the first ones
        for (int i = 0; i < u.n; i++) chosen[i * u.n + u.n - 1 - i] = chosen[(u.n + i) * u.n + i] = true;
        assert_int_equal(hy_ablate(&a, &u, 2 * u.n, chosen, &s), HY_OK);
        for (int i = 0; i < u.n; i++) {
            double alone[2 * N];
            losses(&m, u.v[i].name, HY_ABLATE_ZERO, 3, alone);
            assert_memory_equal(s.loss, alone, N * sizeof *alone);
            assert_memory_equal(s.loss + (u.n - i) * N, alone + N, N * sizeof *alone);
            assert_memory_equal(s.loss + (u.n + 1 + i) * N, alone + N, N * sizeof *alone);
        }
        hy_ablation_scores_free(&s);
        hy_units_free(&u);
        free(chosen);
        model_close(&m);
    }
}

// A pass that is gone on from any of its ops is the whole pass, bit by bit; with an edit of a later op too, twice.
static void from_the_middle(void **state) {
    (void)state;
    static const char *const all[] = {llama, mean, turns, mamba, mamba2};
    for (int k = 0; k < 5; k++) {
        model m;
        hy_exec *e;
        int32_t ids[2 * 16];
        float whole[2][2 * 16];
        model_open(&m, all[k]);
        for (int i = 0; i < 32; i++) ids[i] = (7 * i + i * i) % 40;
        const hy_batch b = {.B = 2, .T = 16, .ids = ids, .labels = ids};
        if (hy_exec_create(m.p, &be, HY_F64, HY_EXEC_INFER, 2, 16, 0, &e)) fail_msg("%s", hy_error_text());
        int last = m.p->n_ops - 1;
        while (m.p->ops[last].kind != HY_OP_LINEAR || m.p->ops[last].in[1] < 0) last--;
        const hy_edit edit = {.value = m.p->ops[last].out, .col = 2, .width = 3, .input = -1};
        for (int with = 0; with < 2; with++) {
            hy_exec_set_edits(e, &edit, with);
            assert_int_equal(hy_exec_forward(e, m.w, &b, NULL, HY_HEAD_LOSS, NULL), HY_OK);
            memcpy(whole[with], hy_exec_nll(e), sizeof whole[with]);
        }
        assert_memory_not_equal(whole[0], whole[1], sizeof whole[0]);
        for (int op = 0; op <= last; op++) {
            if (op % 3 == 0) assert_int_equal(hy_exec_mark(e, m.w, &b, HY_HEAD_LOSS, op / 2), HY_OK);
            assert_int_equal(hy_exec_mark(e, m.w, NULL, HY_HEAD_LOSS, op), HY_OK);
            for (int with = 2; with-- > 0;) {
                hy_exec_set_edits(e, &edit, with);
                assert_int_equal(hy_exec_forward_marked(e, m.w), HY_OK);
                assert_memory_equal(hy_exec_nll(e), whole[with], sizeof whole[with]);
            }
        }
        hy_exec_free(e);
        model_close(&m);
    }
}

// No figure depends on how many sequences run at a time.
static void batches(void **state) {
    (void)state;
    model m;
    model_open(&m, mean);
    for (hy_ablate_how how = HY_ABLATE_ZERO; how <= HY_ABLATE_RESAMPLE; how++) {
        double a[2 * N], b[2 * N];
        losses(&m, "layer0.ssm, layer1.mlp", how, 1, a);
        for (int batch = 2; batch < 8; batch += 3) {
            losses(&m, "layer0.ssm, layer1.mlp", how, batch, b);
            assert_true(largest_difference(a, b) < 1e-6 && largest_difference(a + N, b + N) < 1e-6);
        }
    }
    model_close(&m);
}

// ---------------------------------------------------------------------------------------------------- the measure
static void in_turn(void **state) {
    (void)state;
    model m;
    hy_facts f = {0};
    model_open(&m, mean);
    take(&m, "examples: 5\n", &f);
    static const char *const cells[] = {"layer0.attention", "layer0.ssm", "layer1.attention", "layer1.ssm"};
    assert_int_equal(f.n_facts, 2 + 4 * 4);
    for (int k = 0; k < 4; k++) {
        double a[2 * N], d[N];
        losses(&m, cells[k], HY_ABLATE_ZERO, 4, a);
        for (int i = 0; i < N; i++) d[i] = a[N + i] - a[i];
        const hy_fact *rise = fact(&f, "loss_rise", cells[k]), *drop = fact(&f, "accuracy_drop", cells[k]);
        check_moments(rise, d, N);
        check_moments(fact(&f, "loss_without", cells[k]), a + N, N);
        check_moments(fact(&f, "loss_without", "intact"), a, N);
        near(drop->value,
             fact(&f, "accuracy_without", "intact")->value - fact(&f, "accuracy_without", cells[k])->value);
        assert_int_equal(rise->layer, k / 2);
        assert_string_equal(rise->kind, k % 2 ? "ssm" : "attention");
        assert_int_equal(rise->step, 7);
        assert_int_equal(drop->n, N);
    }
    hy_facts_free(&f);
    take(&m, "parts: heads\nexamples: 3\ncells: [1]\n", &f);
    assert_int_equal(fact(&f, "loss_rise", "layer1.head1")->n, 3);
    assert_int_equal(fact(&f, "loss_rise", "layer1.head1")->head, 1);
    hy_facts_free(&f);
    take(&m, "parts: meta\n", &f);
    const hy_fact *rise = fact(&f, "loss_rise", "meta2");
    assert_int_equal(rise->layer, -1);
    assert_int_equal(rise->head, 2);
    assert_string_equal(rise->kind, "meta");
    assert_true(isnan(rise->x));
    hy_facts_free(&f);
    model_close(&m);
}

// A named set beside random ones: with as many parts as there are, every set is the same; with one of two kinds of
// branches in one layer, the draw keeps the kind.
static void random_sets(void **state) {
    (void)state;
    model m;
    hy_facts f = {0};
    model_open(&m, mean);
    take(&m, "examples: 5\nremove: \"layer*.attention\"\ncontrols: 6\n", &f);
    near(fact(&f, "loss_rise", "random")->value, fact(&f, "loss_rise", "removed")->value);
    near(fact(&f, "loss_rise", "random")->se, 0);
    near(fact(&f, "random_as_much", "")->value, 1);
    hy_facts_free(&f);
    take(&m, "examples: 5\nremove: layer1.ssm\ncontrols: 40\n", &f);
    double a[2][2 * N], rise[2] = {0};
    losses(&m, "layer0.ssm", HY_ABLATE_ZERO, 4, a[0]);
    losses(&m, "layer1.ssm", HY_ABLATE_ZERO, 4, a[1]);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < N; i++) rise[k] += (a[k][N + i] - a[k][i]) / N;
    near(fact(&f, "loss_rise", "removed")->value, rise[1]);
    const double share = (fact(&f, "loss_rise", "random")->value - rise[0]) / (rise[1] - rise[0]), of = 40 * share;
    if (fabs(of - round(of)) > 1e-6 || share < 0.25 || share > 0.75) fail_msg("%g of 40 sets are layer 1", of);
    near(fact(&f, "random_as_much", "")->value, rise[1] > rise[0] ? share : 1);
    assert_int_equal(fact(&f, "loss_rise", "random")->n, 40);
    hy_facts_free(&f);
    model_close(&m);
}

static void refusals(void **state) {
    (void)state;
    const struct {
        const char *text, *options, *error;
        bool applies;
    } all[] = {{mamba, "parts: groups\ngroups: 5\n", "24 channels of layer 0 cannot be divided into 5", true},
               {mean, "cells: [2]\n", "cell 2: task mqar has evaluation cells 0 to 1", true},
               {mean, "cells: [1, 1]\n", "1 stands there twice", true},
               {mean, "parts: meta\nhow: resample\n", "meta tokens are the same in every example", true},
               {mamba, "parts: meta\n", NULL, false},
               {mamba, "parts: heads\n", NULL, false},
               {mean, "remove: layer7\n", NULL, false},
               {llama, "remove: layer2.attention\n", NULL, true}};
    const hy_measure *x = hy_measure_find("ablation");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        model m;
        hy_measure_options o;
        model_open(&m, all[i].text);
        const hy_measure_subject s = {m.spec, task, "cpu", HY_PRECISION_F32};
        assert_int_equal(hy_measure_options_read(x, all[i].options, &o), HY_OK);
        assert_int_equal(hy_measure_check(x, &s, &o), all[i].error ? HY_EINPUT : HY_OK);
        if (all[i].error) assert_error(all[i].error);
        assert_int_equal(hy_measure_applies(x, m.spec, &o), all[i].applies);
        model_close(&m);
    }
    model m;
    hy_units u;
    bool chosen[64];
    model_open(&m, llama);
    assert_int_equal(hy_units_of(m.p, ALL_KINDS, 4, &u), HY_OK);
    assert_int_equal(hy_units_match(&u, "layer1, layer9.*", chosen), HY_EINPUT);
    assert_error("layer9.*");
    hy_units_free(&u);
    size_t n;
    double *w = weights(&m, "layers.0.out_proj", &n);
    w[0] = NAN;
    hy_ablation_scores s;
    const hy_ablation a = ablation_of(&m, HY_ABLATE_ZERO, 4);
    assert_int_equal(hy_units_of(m.p, 1u << HY_UNIT_MLP, 4, &u), HY_OK);
    memset(chosen, 0, sizeof chosen);
    assert_int_equal(hy_ablate(&a, &u, 1, chosen, &s), HY_EDIVERGED);
    hy_units_free(&u);
    model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),     cmocka_unit_test(branches),      cmocka_unit_test(heads_and_groups),
        cmocka_unit_test(blocks),      cmocka_unit_test(convolutions),  cmocka_unit_test(means_and_others),
        cmocka_unit_test(meta_tokens), cmocka_unit_test(sets_together), cmocka_unit_test(from_the_middle),
        cmocka_unit_test(batches),     cmocka_unit_test(in_turn),       cmocka_unit_test(random_sets),
        cmocka_unit_test(refusals),
    };
    if (!rig_opens()) return 2;
    const int failed = cmocka_run_group_tests_name("ablation", tests, NULL, NULL);
    hy_task_close(task);
    return failed;
}
