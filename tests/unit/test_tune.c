// test_tune.c - how a point of the grid is chosen for a variant, what is held out, and what is said of pairs: on a
// store filled by hand. Reading "tune:" from a file is tested here too.
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
#include "results/identity.h"
#include "results/record.h"

#define EXACT 1e-12  // sums of a few doubles
#define FAILED NAN   // a run that failed

enum { VARIANTS = 2, POINTS = 3, SEEDS = 3 };
typedef double table[VARIANTS][POINTS][SEEDS];

static char g_db[64];
static const char *g_axis;  // path of the grid's axis, with the values 1, 2, 3; NULL: it is not said

static void near(double a, double b) {
    if (!(fabs(a - b) <= EXACT * fmax(1, fabs(b)))) fail_msg("%.17g is not %.17g", a, b);
}

static void fill_run(hy_store *s, const hy_planned_row *p, double accuracy, double loss) {
    hy_model_record r = {.seed = p->seed,
                         .device = p->device,
                         .variant = p->variant,
                         .experiment = "e",
                         .grid = p->grid,
                         .task = p->task};
    snprintf(r.model_key, sizeof r.model_key, "%s", p->model_key);
    hy_claim c;
    int64_t model, id;
    assert_int_equal(hy_model_claim(s, &r, 0, &c, &model), HY_OK);
    assert_int_equal(hy_model_settle(s, model, NULL, NULL, NULL, isnan(accuracy) ? "diverged" : NULL), HY_OK);
    if (isnan(accuracy)) return;
    const hy_measurement_record m = {.model_id = model, .measure = "accuracy", .version = 1};
    assert_int_equal(hy_measurement_claim(s, &m, 0, &c, &id), HY_OK);
    hy_facts f = {.steps = 1};
    hy_facts_add(&f, "accuracy", "", accuracy);
    hy_facts_add(&f, "accuracy", "far", accuracy / 2);
    hy_facts_add(&f, "loss", "", loss);
    assert_int_equal(hy_measurement_settle(s, id, &f, NULL), HY_OK);
    hy_facts_free(&f);
}

// An experiment of two variants, one task, three grid points and three seeds with these accuracies; the loss is 1 -
// accuracy.
static hy_summary *summary_of(const table accuracy, const char *by, const char *cell) {
    static const char *const names[] = {"a", "b"}, *const grid[] = {"lr=1", "lr=2", "lr=3"};
    hy_store *s;
    strcpy(g_db, "/tmp/hylab-tune-XXXXXX");
    int fd = mkstemp(g_db);
    assert_true(fd >= 0);
    close(fd);
    unlink(g_db);
    assert_int_equal(hy_store_open(g_db, HY_STORE_WRITE, &s), HY_OK);
    char accuracy_key[33];
    hy_measurement_identity("", "", accuracy_key);
    const hy_planned_key wanted = {"accuracy", 1, accuracy_key};
    hy_planned_row plan[VARIANTS * POINTS * SEEDS];
    char key[VARIANTS * POINTS][32];
    int n = 0;
    for (int v = 0; v < VARIANTS; v++)
        for (int g = 0; g < POINTS; g++) {
            snprintf(key[v * POINTS + g], sizeof key[0], "k%d%d", v, g);
            for (int k = 0; k < SEEDS; k++)
                plan[n++] = (hy_planned_row){.variant = names[v],
                                             .task = "t",
                                             .grid = grid[g],
                                             .variant_ord = v,
                                             .grid_ord = g,
                                             .seed = k + 1,
                                             .model_key = key[v * POINTS + g],
                                             .device = "cpu",
                                             .n_measures = 1,
                                             .measures = &wanted};
        }
    const hy_grid_row rows[] = {{0, g_axis, "1"}, {1, g_axis, "2"}, {2, g_axis, "3"}};
    hy_experiment_record e = {"e", "", "", "q", "yaml", n, 0, plan, NULL, by, cell, NULL};
    if (g_axis) e.n_grid = POINTS, e.grid = rows;
    int64_t id;
    assert_int_equal(hy_experiment_store(s, &e, &id), HY_OK);
    for (int i = 0; i < n; i++) {
        const double a = accuracy[plan[i].variant_ord][plan[i].grid_ord][plan[i].seed - 1];
        fill_run(s, &plan[i], a, 1 - a);
    }
    hy_summary *m = NULL;
    if (hy_summary_load(s, "e", "", "", &m)) fail_msg("%s", hy_error_text());
    hy_store_close(s);
    unlink(g_db);
    return m;
}

static const hy_summary_row *best_of(const hy_summary *m, int variant) {
    const hy_summary_row *found = NULL;
    for (int i = 0; i < m->n_rows; i++)
        if (m->rows[i].best && m->rows[i].variant_ord == variant) {
            assert_null(found);  // one only
            found = &m->rows[i];
        }
    assert_non_null(found);
    return found;
}

// a: point 2 has the best mean of those without failures; b: the same for all seeds at its first point.
static const table runs = {{{0.2, 0.9, 0.4}, {0.5, 0.5, 0.6}, {1.0, FAILED, FAILED}},
                           {{0.9, 0.91, 0.92}, {0.1, 0.1, 0.1}, {0.2, 0.2, 0.2}}};

static void test_choice(void **state) {
    (void)state;
    hy_summary *m = summary_of(runs, "accuracy", "");
    const hy_summary_row *a = best_of(m, 0), *b = best_of(m, 1);
    assert_string_equal(a->grid, "lr=2");  // lr=3 has a mean of 1, but of one run: the others failed
    assert_string_equal(b->grid, "lr=1");
    near(hy_summary_get(a, "accuracy", "")->stat.mean, 1.6 / 3);
    // seed 1: without it lr=1 is best (0.65 to 0.55) and gave it 0.2; seed 2: lr=2, 0.5; seed 3: lr=1 (0.55 to 0.5),
    // 0.4
    const hy_summary_value *h = hy_summary_get(a, "accuracy_held_out", "");
    assert_int_equal(h->n, 3);
    const double want[] = {0.2, 0.5, 0.4};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(h->seed[i], i + 1);
        near(h->v[i], want[i]);
    }
    near(h->stat.mean, 1.1 / 3);
    near(hy_summary_get(a, "accuracy_held_out", "far")->stat.mean, 1.1 / 6);  // every cell at the same points
    near(hy_summary_get(a, "loss_held_out", "")->stat.mean, 1 - 1.1 / 3);
    near(hy_summary_fair(m, a, "accuracy")->stat.mean, 1.1 / 3);
    near(hy_summary_get(b, "accuracy_held_out", "")->stat.mean, 0.91);
    for (int i = 0; i < m->n_rows; i++)
        assert_true(m->rows[i].best || !hy_summary_get(&m->rows[i], "accuracy_held_out", ""));
    char *text = hy_summary_pairs_text(m, "t", "accuracy");
    assert_non_null(
        strstr(text, "1 of 1 pair of variants told apart in held-out accuracy (paired t intervals over n = 3 shared "));
    free(text);
    hy_summary_free(m);
}

static void test_lower_is_better(void **state) {
    (void)state;
    hy_summary *m = summary_of(runs, "loss", "");
    assert_string_equal(best_of(m, 0)->grid, "lr=2");
    assert_string_equal(best_of(m, 1)->grid, "lr=1");
    near(hy_summary_get(best_of(m, 0), "accuracy_held_out", "")->stat.mean, 1.1 / 3);
    char *text = hy_summary_choice_text(m);
    assert_non_null(strstr(text, "3 points"));
    assert_non_null(strstr(text, "mean loss"));
    free(text);
    hy_summary_free(m);
}

// Without "tune:" the choice is said to be by what there is: the loss of text, nothing of random weights.
static void test_chosen_by_what_there_is(void **state) {
    (void)state;
    hy_summary_value loss = {.metric = "loss", .cell = ""};
    hy_summary_row row = {.values = &loss, .n_values = 1};
    hy_summary s = {.rows = &row, .n_rows = 1, .n_grid = 2, .axis = "", .tune_by = "", .tune_cell = ""};
    char *text = hy_summary_choice_text(&s);
    assert_non_null(strstr(text, "the one of the best mean loss"));
    free(text);
    row.n_values = 0;
    text = hy_summary_choice_text(&s);
    assert_string_equal(text, "of the grid's 2 points, the first: there is neither accuracy nor loss to choose by");
    free(text);
    assert_null(hy_summary_chosen_by(&s));
}

static void test_counterparts(void **state) {
    (void)state;
    assert_string_equal(hy_summary_counterpart("wikitext_ppl"), "loss");
    assert_string_equal(hy_summary_counterpart("recall"), "accuracy");
    assert_string_equal(hy_summary_counterpart("cache_mb"), "cache_paper");
}

// Of every point one seed failed: then the means decide, and the seed that failed at the chosen point is left out of
// what is held out.
static void test_failures(void **state) {
    (void)state;
    static const table failing = {{{0.2, FAILED, 0.4}, {FAILED, 0.7, 0.8}, {0.3, 0.3, FAILED}},
                                  {{1, 1, 1}, {0, 0, 0}, {0, 0, 0}}};
    hy_summary *m = summary_of(failing, "accuracy", "");
    const hy_summary_row *a = best_of(m, 0);
    assert_string_equal(a->grid, "lr=2");
    // seed 1: lr=2 has two of the others, but failed on it; seed 2: lr=1 has two of the others (mean 0.3) and failed on
    // it; seed 3: lr=3 has two of the others, and failed on it
    const hy_summary_value *h = hy_summary_get(a, "accuracy_held_out", "");
    assert_int_equal(h->n, 0);
    assert_null(hy_summary_fair(m, a, "accuracy"));  // b has held-out figures: the plain one of a is no match for them
    near(hy_summary_get(a, "accuracy", "")->stat.mean, 0.75);
    near(hy_summary_fair(m, best_of(m, 1), "accuracy")->stat.mean, 1);
    hy_summary_free(m);
    // a point without any figure was not chosen from
    static const table gone = {{{FAILED, FAILED, FAILED}, {0.5, 0.7, 0.8}, {0.3, 0.3, 0.3}},
                               {{1, 1, 1}, {0, 0, 0}, {0, 0, 0}}};
    for (int i = 0; i < 2; i++) {
        m = summary_of(gone, i ? "" : "accuracy", "");
        assert_int_equal(best_of(m, 0)->points, 2);
        assert_int_equal(best_of(m, 1)->points, 3);
        hy_summary_free(m);
    }
}

static void test_cell_and_default(void **state) {
    (void)state;
    hy_summary *m = summary_of(runs, "accuracy", "far");
    assert_string_equal(best_of(m, 0)->grid, "lr=2");
    hy_summary_free(m);
    m = summary_of(runs, "accuracy", "no such cell");  // falls back to what an experiment without tune does
    assert_string_equal(best_of(m, 0)->grid, "lr=3");
    hy_summary_free(m);
    m = summary_of(runs, "", "");
    assert_string_equal(best_of(m, 0)->grid, "lr=3");  // the best mean, of however many runs
    assert_null(hy_summary_get(best_of(m, 0), "accuracy_held_out", ""));
    char *text = hy_summary_pairs_text(m, "t", "accuracy");
    assert_non_null(
        strstr(text, "told apart in accuracy; 1 pair has fewer than 3 seeds in common: nothing is claimed"));
    free(text);
    hy_summary_free(m);
}

// One training at several steps: its end stands for a variant, not the step at which it happened to be best.
static void test_course(void **state) {
    (void)state;
    static const table fading = {{{0.9, 0.9, 0.9}, {0.5, 0.5, 0.6}, {0.3, 0.2, 0.4}},
                                 {{0.1, 0.2, 0.1}, {0.6, 0.5, 0.6}, {FAILED, FAILED, FAILED}}};
    g_axis = "train.stop_step";
    hy_summary *m = summary_of(fading, "", "");
    assert_true(hy_summary_is_course(m));
    assert_string_equal(best_of(m, 0)->grid, "lr=3");
    assert_string_equal(best_of(m, 1)->grid, "lr=2");  // the last that there is
    assert_null(hy_summary_chosen_by(m));
    char *text = hy_summary_choice_text(m);
    assert_string_equal(text, "of the 3 steps of the grid, the last");
    free(text);
    hy_summary_free(m);
    m = summary_of(fading, "accuracy", "");  // as the file says
    assert_false(hy_summary_is_course(m));
    assert_string_equal(best_of(m, 0)->grid, "lr=1");
    hy_summary_free(m);
    g_axis = "train.lr";
    m = summary_of(fading, "", "");
    assert_false(hy_summary_is_course(m));
    assert_string_equal(best_of(m, 0)->grid, "lr=1");
    hy_summary_free(m);
    g_axis = NULL;
}

// ---------------------------------------------------------------------------------------------------- the file
static hy_experiment *load(const char *more) {
    char path[] = "/tmp/hylab-tune-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    char *yaml = hy_asprintf("name: t\nvariants: [{name: a, spec: {d_model: 16, layers: 1, vocab: 64, mixer: "
                             "attention, attention: {heads: 2}}}]\n"
                             "tasks: [{kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[16, 2]]}}]\n%s",
                             more);
    assert_int_equal(hy_file_write(path, yaml, strlen(yaml)), HY_OK);
    hy_experiment *e = NULL;
    hy_status s = hy_experiment_load(path, NULL, NULL, &e);
    assert_int_equal(!s, e != NULL);
    unlink(path);
    free(yaml);
    return e;
}

static void test_reading(void **state) {
    (void)state;
    hy_experiment *e = load("grid: {train.lr: [1e-3, 1e-2]}\ntune: {by: loss, cell: T16.K2}\n");
    assert_non_null(e);
    assert_string_equal(e->tune_by, "loss");
    assert_string_equal(e->tune_cell, "T16.K2");
    char key[33];
    strcpy(key, e->items[0].model_key);
    hy_experiment_free(e);
    e = load("grid: {train.lr: [1e-3, 1e-2]}\n");
    assert_non_null(e);
    assert_string_equal(e->tune_by, "");
    assert_string_equal(e->items[0].model_key, key);  // how a point is chosen does not make another run
    hy_experiment_free(e);
    e = load("train: {steps: 30}\n");
    strcpy(key, e->items[0].model_key);
    hy_experiment_free(e);
    e = load("train: {steps: 30}\ngrid: {train.stop_step: [10, 30]}\n");
    assert_string_not_equal(e->items[0].model_key, key);
    assert_string_equal(e->items[1].model_key, key);  // stopping at the end is no other training
    assert_int_equal(hy_train_end(e->items[0].train), 10);
    assert_int_equal(hy_train_end(e->items[1].train), 30);
    hy_experiment_free(e);
    assert_null(load("train: {steps: 30}\ngrid: {train.stop_step: [10, 31]}\n"));
    static const char *const bad[] = {"tune: {by: loss}\n",
                                      "grid: {train.lr: [1]}\ntune: {by: los}\n",
                                      "grid: {train.lr: [1]}\ntune: {by: parameters}\n",
                                      "grid: {train.lr: [1]}\ntune: loss\n",
                                      "grid: {train.lr: [1]}\ntune: {cell: x}\n",
                                      "grid: {train.lr: [1]}\ntune: {by: loss, over: x}\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (load(bad[i])) fail_msg("taken: %s", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),       cmocka_unit_test(test_lower_is_better),
        cmocka_unit_test(test_failures),     cmocka_unit_test(test_chosen_by_what_there_is),
        cmocka_unit_test(test_counterparts), cmocka_unit_test(test_cell_and_default),
        cmocka_unit_test(test_course),       cmocka_unit_test(test_reading)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
