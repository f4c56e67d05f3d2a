// test_words.c - the closing paragraph of an experiment: its numbers and claims against values made by hand.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/summary/summary.h"

enum { VARIANTS = 4, SEEDS = 4 };
static char *const names[VARIANTS] = {"Low", "High", "Close", "Guess"};
// High and Close differ by less than their seeds do; Low lies far below both; Guess is at the 25 % of a guess.
static double accuracy[VARIANTS][SEEDS] = {
    {0.50, 0.52, 0.51, 0.53}, {0.90, 0.94, 0.92, 0.96}, {0.93, 0.90, 0.95, 0.92}, {0.26, 0.24, 0.25, 0.27}};
static double chance[SEEDS] = {0.25, 0.25, 0.25, 0.25};
static int64_t seeds[SEEDS] = {1, 2, 3, 4};

typedef struct {
    hy_summary s;
    hy_summary_row row[VARIANTS];
    hy_summary_value value[VARIANTS][2];
    hy_summary_paper paper[VARIANTS];
} made;

static hy_summary_value value_of(const char *metric, double *v, int n) {
    return (hy_summary_value){.metric = (char *)metric,
                              .cell = "",
                              .unit = "1",
                              .options = "",
                              .kind = "",
                              .layer = -1,
                              .head = -1,
                              .x = NAN,
                              .y = NAN,
                              .range = HY_SHARE,
                              .n = n,
                              .v = v,
                              .seed = seeds,
                              .stat = hy_stat_of(v, n, HY_SHARE)};
}

static void make(made *m, int n, bool guess) {
    static const double published[VARIANTS] = {20, 50, 45, 10};
    *m = (made){.s = {.experiment = "x",
                      .scale = "",
                      .sets = "",
                      .base = "",
                      .axis = "",
                      .tune_by = "",
                      .tune_cell = "",
                      .n_rows = VARIANTS,
                      .n_paper = VARIANTS,
                      .n_grid = 1,
                      .n_tasks = 1,
                      .n_variants = VARIANTS,
                      .rows = m->row,
                      .paper = m->paper}};
    for (int i = 0; i < VARIANTS; i++) {
        m->value[i][0] = value_of("accuracy", accuracy[i], n);
        m->value[i][1] = value_of("accuracy_chance", chance, n);
        m->row[i] = (hy_summary_row){.variant = names[i],
                                     .task = "recall",
                                     .grid = "",
                                     .precision = "f32",
                                     .origin = "trained",
                                     .variant_ord = i,
                                     .planned = n,
                                     .done = n,
                                     .n_values = guess ? 2 : 1,
                                     .values = m->value[i],
                                     .best = true};
        m->paper[i] = (hy_summary_paper){names[i], "recall", published[i]};
    }
}

static void says(const char *text, const char *part) {
    if (!text || !strstr(text, part)) fail_msg("\"%s\" does not say \"%s\"", text ? text : "", part);
}
static void silent(const char *text, const char *part) {
    if (strstr(text, part)) fail_msg("\"%s\" says \"%s\"", text, part);
}

// The largest and the smallest mean with their intervals, by the formula of summary.h.
static void test_ends(void **state) {
    (void)state;
    made m;
    make(&m, SEEDS, true);
    char *text = hy_summary_words(&m.s), part[160];
    const hy_stat high = hy_stat_of(accuracy[1], SEEDS, HY_SHARE), low = hy_stat_of(accuracy[3], SEEDS, HY_SHARE);
    snprintf(part, sizeof part,
             "On recall, High answers most: 93.00 %% [%.2f, %.2f]; Guess least: 25.50 %% [%.2f, %.2f] ", 100 * high.lo,
             100 * high.hi, 100 * low.lo, 100 * low.hi);
    says(text, part);
    says(text, "(means over 4 seeds; in brackets, 95 % intervals).");
    silent(text, "preliminary");
    free(text);
    m.row[2].planned = 6;
    says(text = hy_summary_words(&m.s), " 2 runs are missing: this is preliminary.");
    free(text);
}

static void test_guess(void **state) {
    (void)state;
    made m;
    make(&m, SEEDS, true);
    char *text = hy_summary_words(&m.s);
    says(text,
         "A guess among the answers that an example offers is right in 25.00 %; not shown to be above that: Guess.");
    free(text);
    for (int i = 0; i < SEEDS; i++) chance[i] = 0.01;
    make(&m, SEEDS, true);
    says(text = hy_summary_words(&m.s), "is right in 1.00 %; all are above that.");
    free(text);
    for (int i = 0; i < SEEDS; i++) chance[i] = 0.25;
    make(&m, SEEDS, false);  // a task that does not tell
    silent(text = hy_summary_words(&m.s), "guess");
    free(text);
}

// Differences High - Low: 0.40 0.42 0.41 0.43, t = 0.415 / (0.0129 / 2) = 64; High - Close: -0.03 0.04 -0.03 0.04, t
// < 1.
static void test_pairs(void **state) {
    (void)state;
    made m;
    make(&m, SEEDS, true);
    char *text = hy_summary_words(&m.s);
    says(text, "5 of 6 pairs of variants are told apart: High from Low and Guess, among others.");
    says(text, "That High comes first is not established against Close.");
    free(text);
    make(&m, 2, true);
    text = hy_summary_words(&m.s);
    says(text, "Which variants differ by more than chance cannot be told from so few seeds.");
    says(text, "(means over 2 seeds).");
    silent(text, "above that");
    silent(text, "[");
    free(text);
}

// Ranks 2 4 3 1 on both sides: 1, which 1 of 24 orders gives, and 1 its reverse.
static void test_paper(void **state) {
    (void)state;
    made m;
    make(&m, SEEDS, true);
    char *text = hy_summary_words(&m.s);
    says(text, "Their order neither supports nor contradicts the paper's recall (rank correlation 1.00 over 4 "
               "variants, p 0.083).");
    free(text);
    for (int i = 0; i < VARIANTS; i++) m.paper[i].name = "cache_mb";  // no accuracy
    silent(text = hy_summary_words(&m.s), "paper");
    free(text);
    m.s.n_rows = 0;
    assert_null(hy_summary_words(&m.s));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ends), cmocka_unit_test(test_guess),
                                       cmocka_unit_test(test_pairs), cmocka_unit_test(test_paper)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
