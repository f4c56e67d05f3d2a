// test_pairs.c - which variants are told apart: pairs by seed, Holm's correction, what is not claimed, and the sentence
// that says so; rank correlations and how likely chance does as well. Figures were made with SciPy 1.17 (ttest_rel with
// its confidence_interval; permutations with itertools).
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/summary/summary.h"

static void near(double got, double wanted) {
    if (!(fabs(got - wanted) <= 1e-10 * fmax(1, fabs(wanted)))) fail_msg("%.12g is not %.12g", got, wanted);
}

// ---------------------------------------------------------------------------------------------------- a summary by hand
enum { ROWS = 8, SEEDS = 6 };
typedef struct {
    hy_summary s;
    hy_summary_row row[ROWS];
    hy_summary_value value[ROWS];
    double v[ROWS][SEEDS];
    int64_t seed[ROWS][SEEDS];
} made;

static void start(made *m) { *m = (made){.s = {.tune_by = "", .tune_cell = "", .rows = m->row}}; }

// One more variant of a task with figures by seed; n values.
static void row(made *m, const char *variant, int task, const char *metric, int n, const int64_t *seed,
                const double *v) {
    static const char *const tasks[] = {"near", "far"};
    const int i = m->s.n_rows++;
    m->value[i] = (hy_summary_value){.metric = (char *)metric,
                                     .cell = "",
                                     .n = n,
                                     .v = m->v[i],
                                     .seed = m->seed[i],
                                     .range = hy_metric_find(metric) ? hy_metric_find(metric)->range : HY_SHARE};
    memcpy(m->v[i], v, (size_t)n * sizeof *v);
    memcpy(m->seed[i], seed, (size_t)n * sizeof *seed);
    m->value[i].stat = hy_stat_of(v, n, m->value[i].range);
    m->row[i] = (hy_summary_row){.variant = (char *)variant,
                                 .task = (char *)tasks[task],
                                 .task_ord = task,
                                 .best = true,
                                 .n_values = 1,
                                 .values = &m->value[i]};
}

static void says(const made *m, const char *task, const char *metric, const char *wanted) {
    char *text = hy_summary_pairs_text(&m->s, task, metric);
    if (wanted ? !text || strcmp(text, wanted) : text != NULL)
        fail_msg("%s\n  wanted: %s", text ? text : "nothing", wanted ? wanted : "nothing");
    free(text);
}

// a and b share four seeds (stored in another order), c three with each and one of its own.
static void three(made *m) {
    start(m);
    row(m, "a", 0, "accuracy", 4, (int64_t[]){1, 2, 3, 4}, (double[]){0.50, 0.70, 0.60, 0.90});
    row(m, "b", 0, "accuracy", 4, (int64_t[]){4, 1, 3, 2}, (double[]){0.84, 0.45, 0.53, 0.66});
    row(m, "c", 0, "accuracy", 4, (int64_t[]){9, 2, 3, 4}, (double[]){0.99, 0.10, 0.20, 0.15});
}

static void test_paired(void **state) {
    (void)state;
    static const double want[3][8] = {
        // n, mean, sd, lo, hi, t, p, p after Holm
        {4, 0.055, 0.0129099444874, 0.0344573974324, 0.0755426025676, 8.52056336166, 0.00339577706386,
         3 * 0.00339577706386},
        {3, 0.583333333333, 0.175594229214, 0.147133086577, 1, 5.75396455569, 0.0289010851687, 2 * 0.0289010851687},
        {3, 0.526666666667, 0.182300118852, 0.0738080665707, 0.979525266763, 5.00391020623, 0.0376938696506,
         2 * 0.0289010851687}};  // no smaller than the one before it
    made m;
    three(&m);
    hy_summary_pairs p = hy_summary_pairs_of(&m.s, "accuracy");
    assert_int_equal(p.n, 3);
    assert_int_equal(p.tested, 3);
    for (int i = 0; i < 3; i++) {
        const hy_summary_pair *x = &p.v[i];
        const double got[] = {x->n, x->difference.mean, x->difference.sd, x->difference.lo, x->difference.hi, x->t,
                              x->p, x->p_holm};
        for (int k = 0; k < 8; k++) near(got[k], want[i][k]);
        assert_int_equal(x->difference.n, x->n);
        assert_int_equal(x->apart, i == 0);
        assert_string_equal(x->a->variant, i < 2 ? "a" : "b");
        assert_string_equal(x->b->variant, i < 1 ? "b" : "c");
    }
    free(p.v);
    // spreads of 17 points on either side hide nothing that every seed shows
    says(&m, "near", "accuracy",
         "on near, 1 of 3 pairs of variants told apart in accuracy (paired t intervals over n = 3 to 4 shared seeds, 2 "
         "to 3 "
         "degrees of freedom; Holm's correction over the 3 pairs of the table, level 5 %): a above b by 5.50 [3.45, "
         "7.55] percentage points");
    says(&m, "far", "accuracy", NULL);
    says(&m, "near", "loss", NULL);
}

// Pairs of another task count for the correction, and only for it.
static void test_family(void **state) {
    (void)state;
    made m;
    three(&m);
    row(&m, "a", 1, "accuracy", 3, (int64_t[]){1, 2, 3}, (double[]){0.1, 0.2, 0.3});
    row(&m, "b", 1, "accuracy", 3, (int64_t[]){1, 2, 3}, (double[]){0.3, 0.1, 0.25});
    hy_summary_pairs p = hy_summary_pairs_of(&m.s, "accuracy");
    assert_int_equal(p.n, 4);
    near(p.v[0].p_holm, 4 * 0.00339577706386);
    near(p.v[1].p_holm, 3 * 0.0289010851687);
    assert_true(!p.v[3].apart && p.v[3].p_holm == p.v[3].p);  // the largest of all
    free(p.v);
    m.row[2].best = false;  // a point of the grid that does not stand for its variant
    p = hy_summary_pairs_of(&m.s, "accuracy");
    assert_int_equal(p.n, 2);
    near(p.v[0].p_holm, 2 * 0.00339577706386);
    free(p.v);
    m.row[2].best = true;
    says(&m, "far", "accuracy",
         "on far, 0 of 1 pair of variants told apart in accuracy (paired t intervals over n = 3 shared seeds, 2 "
         "degrees of "
         "freedom; Holm's correction over the 4 pairs of the table, level 5 %)");
}

// Probabilities grow to 1 at most.
static void test_at_most_one(void **state) {
    (void)state;
    made m;
    start(&m);
    for (int i = 0; i < 4; i++)
        row(&m, (char *[]){"a", "b", "c", "d"}[i], 0, "loss", 3, (int64_t[]){1, 2, 3},
            (double[][3]){{1, 2, 3}, {2, 3, 1.5}, {3, 1.2, 2.1}, {1.9, 2.2, 2}}[i]);
    hy_summary_pairs p = hy_summary_pairs_of(&m.s, "loss");
    assert_int_equal(p.tested, 6);
    for (int i = 0; i < 6; i++) assert_true(p.v[i].p_holm <= 1 && p.v[i].p_holm >= p.v[i].p);
    free(p.v);
}

static void test_nothing_claimed(void **state) {
    (void)state;
    made m;
    start(&m);
    row(&m, "a", 0, "accuracy", 3, (int64_t[]){1, 2, 3}, (double[]){0.1, 0.2, 0.3});
    row(&m, "b", 0, "accuracy", 3, (int64_t[]){3, 4, 5}, (double[]){0.9, 0.91, 0.92});  // one seed in common
    row(&m, "c", 0, "accuracy", 3, (int64_t[]){1, 2, 3}, (double[]){0.3, 0.4, 0.5});    // 0.2 above a, each seed
    hy_summary_pairs p = hy_summary_pairs_of(&m.s, "accuracy");
    assert_int_equal(p.n, 3);
    assert_int_equal(p.tested, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(isnan(p.v[i].p) && isnan(p.v[i].p_holm) && isnan(p.v[i].t) && !p.v[i].apart);
        assert_true(isnan(p.v[i].difference.lo) && isnan(p.v[i].difference.hi));
    }
    near(p.v[1].difference.mean, -0.2);
    assert_true(p.v[1].n == 3 && p.v[1].difference.sd == 0);  // 0.3 - 0.1 is not 0.5 - 0.3 in binary
    free(p.v);
    says(&m, "near", "accuracy",
         "on near, 0 of 3 pairs of variants told apart in accuracy; 2 pairs have fewer than 3 seeds in common: nothing "
         "is "
         "claimed; 1 pair has differences without any spread, which says nothing of the spread that other seeds would "
         "show: "
         "nothing is claimed");
    start(&m);  // two seeds each, however far apart
    row(&m, "a", 0, "accuracy", 2, (int64_t[]){1, 2}, (double[]){0.1, 0.1001});
    row(&m, "b", 0, "accuracy", 2, (int64_t[]){1, 2}, (double[]){0.9, 0.9});
    says(&m, "near", "accuracy",
         "on near, 0 of 1 pair of variants told apart in accuracy; 1 pair has fewer than 3 seeds in common: nothing is "
         "claimed");
}

// The better one is named first, whichever way is better, and held-out figures count where there are any.
static void test_words(void **state) {
    (void)state;
    static const int64_t seeds[] = {1, 2, 3};
    made m;
    start(&m);
    row(&m, "a", 0, "loss", 3, seeds, (double[]){2.0, 2.1, 2.2});
    row(&m, "b", 0, "loss", 3, seeds, (double[]){1.001, 1.1, 1.199});
    says(
        &m, "near", "loss",
        "on near, 1 of 1 pair of variants told apart in loss (paired t intervals over n = 3 shared seeds, 2 degrees of "
        "freedom; Holm's correction over the 1 pair of the table, level 5 %): b below a by 1.0000 [0.9975, 1.0025] "
        "nats");
    start(&m);
    row(&m, "a", 0, "accuracy", 3, seeds, (double[]){0.1, 0.2, 0.3});
    row(&m, "b", 0, "accuracy", 3, seeds, (double[]){0.201, 0.3, 0.399});
    says(&m, "near", "accuracy",
         "on near, 1 of 1 pair of variants told apart in accuracy (paired t intervals over n = 3 shared seeds, 2 "
         "degrees of "
         "freedom; Holm's correction over the 1 pair of the table, level 5 %): b above a by 10.00 [9.75, 10.25] "
         "percentage points");
    m.value[0].metric = m.value[1].metric = "accuracy_held_out";
    m.value[0].v[0] = 0.9;
    char *text = hy_summary_pairs_text(&m.s, "near", "accuracy");
    assert_non_null(strstr(text, "0 of 1 pair of variants told apart in held-out accuracy (paired"));
    free(text);
    row(&m, "c", 0, "accuracy", 3, seeds,
        (double[]){0.9, 0.91, 0.93});  // nothing of it is held out: it is not compared
    hy_summary_pairs p = hy_summary_pairs_of(&m.s, "accuracy");
    assert_int_equal(p.n, 1);
    free(p.v);
}

// ---------------------------------------------------------------------------------------------------- ranks
static void chance(const double *a, const double *b, int n, double wanted) {
    near(hy_spearman_chance(a, b, n), wanted);
}

static void test_chance(void **state) {
    (void)state;
    static const double up[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    chance(up, up, 3, 2 / 6.0);
    chance(up, (double[]){4, 3, 2, 1}, 4, 2 / 24.0);
    chance(up, (double[]){2, 1, 4, 3, 6, 5, 8, 7}, 8, 184 / 40320.0);
    chance(up, (double[]){1, 1, 2, 2, 3}, 5, 8 / 120.0);  // ties stay ties in every order
    chance(up, (double[]){3, 1, 1, 5, 5, 4}, 6, 168 / 720.0);
    chance((double[]){1, 1, 2, 3}, (double[]){4, 4, 2, 2}, 4, 8 / 24.0);
    chance(up, up, 9, 2 / 362880.0);
    chance(up, (double[]){3, 1, 2, 6, 4, 5, 9, 8, 7, 12, 10, 11}, 12, 4.191044653034231e-05);
    chance(up, (double[]){12, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1}, 12, 0.6330906812462617);
    assert_true(hy_spearman_chance(up, up, 12) == 0);  // as far as the approximation goes
    assert_true(isnan(hy_spearman_chance(up, up, 2)) && isnan(hy_spearman_chance(up, (double[]){1, 1, 1, 1}, 4)));
    // a mean of the same three values in another order is the same mean
    const double one = (0.1 + 0.2 + 0.3) / 3, two = (0.3 + 0.2 + 0.1) / 3;
    assert_true(one != two && hy_spearman((double[]){one, two, 3}, (double[]){5, 5, 6}, 3) == 1);
}

// Of the variants that the paper has; what is held out counts; the largest context of a throughput.
static void test_of_variants(void **state) {
    (void)state;
    static const int64_t seeds[] = {1, 2, 3};
    hy_summary_paper paper[] = {
        {"a", "recall", 3}, {"b", "recall", 1}, {"c", "recall", 2}, {"d", "recall", 9}, {"a", "ppl", 1}};
    made m;
    start(&m);
    m.s.paper = paper, m.s.n_paper = 5;
    row(&m, "a", 0, "accuracy", 3, seeds, (double[]){0.9, 0.8, 0.7});
    row(&m, "b", 0, "accuracy", 3, seeds, (double[]){0.6, 0.7, 0.6});
    row(&m, "c", 0, "accuracy", 3, seeds, (double[]){0.5, 0.6, 0.7});
    row(&m, "e", 0, "accuracy", 3, seeds, (double[]){0, 0, 0});    // not in the paper
    row(&m, "d", 1, "accuracy", 3, seeds, (double[]){1, 1, 0.9});  // of another task
    const hy_summary_rank r = hy_summary_rank_of(&m.s, "near", "accuracy", "recall");
    assert_int_equal(r.n, 3);
    near(r.rho, 0.5);  // ranks 3 2 1 against 3 1 2
    near(r.chance, 4 / 6.0 + 2 / 6.0);
    char *text = hy_summary_rank_text(&m.s, "near", true, "recall");
    assert_string_equal(text,
                        "rank correlation (Spearman) of accuracy on near with the paper's recall: 0.50 over n = 3 "
                        "variants; a random order is at least as far from 0 with probability 1, so this is no "
                        "evidence of agreement or disagreement");
    free(text);
    assert_null(hy_summary_rank_text(&m.s, "near", true, "ppl"));  // one variant
    m.row[0].best = false;
    assert_int_equal(hy_summary_rank_of(&m.s, "near", "accuracy", "recall").n, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paired),          cmocka_unit_test(test_family), cmocka_unit_test(test_at_most_one),
        cmocka_unit_test(test_nothing_claimed), cmocka_unit_test(test_words),  cmocka_unit_test(test_chance),
        cmocka_unit_test(test_of_variants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
