// test_summary.c - statistics over seeds, rank correlation, and experiments as lists of resolved runs.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "experiments/runner/experiment.h"
#include "analysis/summary/summary.h"

#define EXACT 1e-12  // sums of a few doubles

static void near(double a, double b) {
    if (!(fabs(a - b) <= EXACT * fmax(1, fabs(b)))) fail_msg("%.17g is not %.17g", a, b);
}

static void test_stat(void **state) {
    (void)state;
    hy_stat s = hy_stat_of((double[]){2, 4, 4, 4, 5, 5, 7, 9}, 8, HY_REAL);
    near(s.mean, 5);
    near(s.sd, sqrt(32.0 / 7));
    s = hy_stat_of((double[]){3}, 1, HY_REAL);
    near(s.mean, 3);
    assert_true(isnan(s.sd));
    assert_true(isnan(hy_stat_of(NULL, 0, HY_REAL).mean));
}

static void test_median(void **state) {
    (void)state;
    double v[] = {9, 1, 5, 3};
    near(hy_median(v, 1), 9);
    near(hy_median(v, 3), 5);
    near(hy_median(v, 4), 4);
    near(v[0], 9);  // left as it was
    hy_sort(v, 4);
    for (int i = 1; i < 4; i++) assert_true(v[i - 1] < v[i]);
}

// By hand: ranks a = 1 2 3 4 5, b = 2 1 4 3 5: 1 - 6 * 4 / (5 * 24) = 0.8; with ties at mean ranks.
static void test_spearman(void **state) {
    (void)state;
    const double a[] = {10, 20, 30, 40, 50}, b[] = {0.2, 0.1, 0.4, 0.3, 0.9}, tied[] = {1, 1, 2, 2, 3};
    near(hy_spearman(a, b, 5), 0.8);
    near(hy_spearman(a, a, 5), 1);
    near(hy_spearman(a, (double[]){5, 4, 3, 2, 1}, 5), -1);
    near(hy_spearman(a, tied, 5), 9 / sqrt(10 * 9.0));         // ranks 1.5 1.5 3.5 3.5 5
    near(hy_spearman(a, (double[]){1, 4, 9, 16, 1e6}, 5), 1);  // any rising function
    assert_true(isnan(hy_spearman(a, (double[]){7, 7, 7}, 3)));
    assert_true(isnan(hy_spearman(a, b, 1)));
}

// ---------------------------------------------------------------------------------------------------- figures
static void test_metrics(void **state) {
    (void)state;
    for (const hy_metric_def *d = hy_metric_defs; d->name; d++) {
        const char *shown = d->unit_shown;
        const bool millions = !strcmp(shown, "MB") || !strcmp(shown, "M") || !strcmp(shown, "MFLOP");
        const bool share = !strcmp(shown, "%") || !strcmp(shown, "points");
        const double scale = share ? 100 : millions ? 1e-6 : 1;
        if (d->scale != scale) fail_msg("%s in %s is not its value times %g", d->name, shown, d->scale);
        // fewer bytes and nats and more tokens a second are better, whatever they are of
        const bool nats = strstr(d->name, "loss") || !strcmp(d->unit, "bit");
        const bool importance = strstr(d->name, "_rise") || strstr(d->name, "_drop");  // of a part: neither is better
        const char *better = importance                      ? "none"
                             : !strcmp(d->unit, "B") || nats ? "lower"
                             : !strcmp(d->unit, "tok/s")     ? "higher"
                                                             : d->direction;
        if (strcmp(d->direction, better)) fail_msg("%s: %s is better", d->name, better);
    }
}

// Of several contexts and batches a table shows the largest.
static void test_shown(void **state) {
    (void)state;
    hy_summary_value v[] = {{.x = 8, .y = 4}, {.x = 16, .y = 1}, {.x = 16, .y = 4}, {.x = 16, .y = 2}};
    for (int i = 0; i < 4; i++) v[i].metric = "throughput_decode", v[i].cell = "";
    const hy_summary_row r = {.n_values = 4, .values = v};
    assert_ptr_equal(hy_summary_get(&r, "throughput_decode", NULL), &v[2]);
    assert_null(hy_summary_get(&r, "throughput_decode", "T8.B4"));
}

// ---------------------------------------------------------------------------------------------------- experiments
static char g_path[64];
static hy_experiment *load(const char *yaml, const char *scale, const char *const *sets) {
    strcpy(g_path, "/tmp/hylab-exp-XXXXXX");
    int fd = mkstemp(g_path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(hy_file_write(g_path, yaml, strlen(yaml)), HY_OK);
    hy_experiment *e = NULL;
    if (hy_experiment_load(g_path, scale, sets, &e)) print_message("%s\n", hy_error_text());
    unlink(g_path);
    return e;
}

static const char base[] = "name: t\n"
                           "variants:\n"
                           "  - {name: a, spec: {name: one, d_model: 16, layers: 1, vocab: 64, mixer: attention, "
                           "attention: {heads: 2}}, train: {batch: 5}}\n"
                           "  - {name: b, spec: {name: two, d_model: 16, layers: 1, vocab: 64, mixer: attention, "
                           "attention: {heads: 2}}, set: {attention.heads: 4}}\n"
                           "variant: {max_len: 77, attention: {heads: 1}}\n"
                           "tasks: [{name: x, kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[16, 2]]}, "
                           "train: {batch: 3, steps: 9}}]\n"
                           "seeds: [3, 4]\n"
                           "train: {steps: 7, batch: 2}\n"
                           "scales: {small: {}, big: {train: {lr: 0.5}, seeds: 1}}\n";

static void test_order_of_configuration(void **state) {
    (void)state;
    hy_experiment *e = load(base, NULL, NULL);
    assert_non_null(e);
    assert_int_equal(e->n_items, 4);
    const hy_run_item *a = &e->items[0], *b = &e->items[1];
    assert_string_equal(a->variant, "a");
    assert_string_equal(b->variant, "b");
    assert_int_equal(a->seed, 3);
    assert_int_equal(e->items[2].seed, 4);          // all variants of the first seed first
    assert_int_equal(a->spec->layers[0].heads, 1);  // spec < variant:
    assert_int_equal(b->spec->layers[0].heads, 4);  // < set:
    assert_int_equal(a->spec->max_len, 77);
    assert_int_equal(a->train->steps, 9);  // train: < the task's
    assert_int_equal(a->train->batch, 5);  // < the variant's
    assert_int_equal(b->train->batch, 3);
    hy_experiment_free(e);
    e = load(base, "big", (const char *[]){"train.batch=8", "variant.attention.heads=2", "task.vocab=32", NULL});
    assert_non_null(e);
    assert_int_equal(e->n_items, 2);
    near(e->items[0].train->lr, 0.5);
    assert_int_equal(e->items[0].train->batch, 8);
    assert_int_equal(e->items[1].spec->layers[0].heads, 2);
    assert_non_null(strstr(e->items[0].task_text, "vocab: 32"));
    hy_experiment_free(e);
}

// Whether the first run with a change is the one of the key.
static void identity_with(const char *set, const char *key, bool same) {
    hy_experiment *e = load(base, NULL, (const char *[]){set, NULL});
    assert_non_null(e);
    if (!strcmp(e->items[0].model_key, key) != same) fail_msg("%s: %s model", set, same ? "another" : "the same");
    hy_experiment_free(e);
}

static void test_identity(void **state) {
    (void)state;
    hy_experiment *e = load(base, NULL, NULL);
    assert_non_null(e);
    char a[33], b[33];
    strcpy(a, e->items[0].model_key);
    strcpy(b, e->items[1].model_key);
    assert_string_not_equal(a, b);
    assert_string_equal(e->items[2].model_key, a);  // the seed is beside the key, not in it
    hy_experiment_free(e);
    // what does not change the weights does not make another model; everything else does
    static const char *const same[] = {"train.log_every=3",  "train.checkpoint_every=5", "train.save_seconds=1",
                                       "train.eval_batch=7", "train.eval_every=2",       "train.eval_examples=2",
                                       "question=why",       "variants.0.name=z",        "variants.0.spec.name=other",
                                       "tasks.0.name=y",     "task.test_examples=3",     "measures.cache.tokens=5",
                                       "measures.maps=true"};
    static const char *const other[] = {"train.lr=0.1", "train.batch=9", "variant.tied=false", "task.power_a=1",
                                        "train.stop_accuracy=0.9"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) identity_with(same[i], a, true);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) identity_with(other[i], a, false);
}

static const hy_item_measure *measure_of(const hy_run_item *it, const char *name) {
    for (int k = 0; k < it->n_measures; k++)
        if (!strcmp(it->measures[k].measure->name, name)) return &it->measures[k];
    return NULL;
}

// Keys of a measure of the first run: without a change, and with one.
static void measurement_with(const char *set, const char *name, bool same) {
    hy_experiment *e = load(base, NULL, NULL), *f = load(base, NULL, (const char *[]){set, NULL});
    assert_non_null(e);
    assert_non_null(f);
    const hy_item_measure *x = measure_of(&e->items[0], name), *y = measure_of(&f->items[0], name);
    assert_non_null(x);
    assert_non_null(y);
    if (!strcmp(x->key, y->key) != same)
        fail_msg("%s: %s of the same key", set, same ? "no measurement" : "a measurement");
    hy_experiment_free(e);
    hy_experiment_free(f);
}

static void test_measures_of_items(void **state) {
    (void)state;
    measurement_with("measures.cache.tokens=5", "cache", false);
    measurement_with("measures.cache.tokens=5", "accuracy", true);
    measurement_with("task.test_examples=3", "accuracy", false);
    measurement_with("task.test_examples=3", "cache", true);       // which needs no task
    measurement_with("train.eval_examples=2", "accuracy", false);  // holds for the evaluation at the end, too
    measurement_with("train.lr=0.1", "accuracy", true);            // the model is another one, not what is asked of it
    hy_experiment *e = load(base, NULL, (const char *[]){"measures.maps={seeds: [4]}", "train.steps=0", NULL});
    assert_non_null(e);
    assert_int_equal(e->items[0].seed, 3);
    assert_null(measure_of(&e->items[0], "maps"));
    assert_non_null(measure_of(&e->items[2], "maps"));
    assert_ptr_equal(e->items[0].measures, e->items[1].measures);  // shared
    hy_experiment_free(e);
    // points that differ in how many examples are evaluated ask other questions, of one model
    e = load(base, NULL, (const char *[]){"grid={train.eval_examples: [2, 3]}", NULL});
    assert_non_null(e);
    const hy_run_item *two = &e->items[0], *three = &e->items[2];
    assert_true(two->train->eval_examples == 2 && three->train->eval_examples == 3);
    assert_string_equal(two->model_key, three->model_key);
    assert_string_not_equal(measure_of(two, "accuracy")->key, measure_of(three, "accuracy")->key);
    hy_experiment_free(e);
}

// Tokens of a training example, by which the time of a plan is estimated: cells count as often as they are drawn.
static void test_task_tokens(void **state) {
    (void)state;
    hy_experiment *e =
        load(base, NULL, (const char *[]){"task.train=[[16, 2], [32, 2]]", "task.train_examples=[300, 100]", NULL});
    assert_non_null(e);
    near(e->items[0].task_tokens, (16 * 3 + 32) / 4.0);
    hy_experiment_free(e);
}

// Grid points that differ in the recipe share their models; those that differ in the model their tasks.
static void test_shared_parts(void **state) {
    (void)state;
    hy_experiment *e = load(
        base, NULL, (const char *[]){"grid={train.lr: [1e-3, 1e-2], task.power_a: [1, 2], train.clip: [0, 1]}", NULL});
    assert_non_null(e);
    assert_int_equal(e->n_grid, 8);
    const hy_run_item *first = &e->items[0];
    for (int i = 0; i < e->n_items; i += 2) {
        const hy_run_item *it = &e->items[i];
        const int g = it->grid_ord;
        assert_ptr_equal(it->spec, first->spec);
        near(it->train->lr, g < 4 ? 1e-3 : 1e-2);
        near(it->train->clip, g % 2);
        assert_non_null(strstr(it->task_text, g / 2 % 2 ? "power_a: 2" : "power_a: 1"));
        char grid[64];
        snprintf(grid, sizeof grid, "lr=%s power_a=%d clip=%d", g < 4 ? "1e-3" : "1e-2", g / 2 % 2 + 1, g % 2);
        assert_string_equal(it->grid, grid);
        for (int j = 0; j < i; j += 2)
            if (e->items[j].seed == it->seed) assert_string_not_equal(e->items[j].model_key, it->model_key);
    }
    hy_experiment_free(e);
}

static void test_grid(void **state) {
    (void)state;
    char *yaml = hy_asprintf("%sgrid: {train.lr: [1e-3, 0.01], variant.attention.heads: [1, 2, 4]}\n", base);
    hy_experiment *e = load(yaml, NULL, NULL);
    assert_non_null(e);
    assert_int_equal(e->n_grid, 6);
    assert_int_equal(e->n_items, 24);
    assert_string_equal(e->items[0].grid, "lr=1e-3 heads=1");
    assert_string_equal(e->items[2].grid, "lr=1e-3 heads=2");
    assert_string_equal(e->items[11].grid, "lr=0.01 heads=4");
    near(e->items[11].train->lr, 0.01);
    assert_int_equal(e->items[11].spec->layers[0].heads, 4);  // a grid point goes over set:
    hy_experiment_free(e);
    assert_null(load(yaml, NULL, (const char *[]){"train.lr=1", NULL}));
    free(yaml);
}

static void test_refused(void **state) {
    (void)state;
    static const char *const sets[] = {"train.stepps=3",
                                       "variant.d_mode=3",
                                       "task.vocabulary=3",
                                       "seeds=[1, 1]",
                                       "seeds=[]",
                                       "seeds=-1",
                                       "measures.erf.ssm=heads",
                                       "measures.map=true",
                                       "measures.maps={seeds: [3, 5]}",
                                       "measures.cache=[{tokens: 5, only_seed: 1}]",
                                       "grid={lr: [1]}",
                                       "grid={train.lr: 1}",
                                       "variants=[]",
                                       "train.steps=-1",
                                       "name=x",
                                       "train.steps",
                                       "variants.0.file=x.yaml",
                                       "variants.0.paper={recall: high}"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        hy_experiment *e = load(base, NULL, (const char *[]){sets[i], NULL});
        if (e) fail_msg("--set %s was taken", sets[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stat),        cmocka_unit_test(test_median),
        cmocka_unit_test(test_spearman),    cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_shown),       cmocka_unit_test(test_order_of_configuration),
        cmocka_unit_test(test_identity),    cmocka_unit_test(test_measures_of_items),
        cmocka_unit_test(test_task_tokens), cmocka_unit_test(test_shared_parts),
        cmocka_unit_test(test_grid),        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
