// test_task_mnist1d.c - MNIST-1D against figures of its published code, which was run for them (2000 signals a class,
// NumPy and SciPy of the day, seed 7; z: values normalised over all of them).
#include "tests/unit/seq_fixture.h"

enum { LEVELS = 256, POINTS = 40, EACH = 2000 };

// The middle of a level, in standard deviations.
static double z_of(int level) { return (level + 0.5) / LEVELS * 8 - 4; }

static hy_task *open_fine(const char *more) {
    char options[128];
    snprintf(options, sizeof options, "levels: %d\ntrain_examples: 0\n%s", LEVELS, more);
    return open_task("mnist1d", options, 5);
}

// Mean, standard deviation and lagged product of each class; standard deviations at places.
static void like_published(void **state) {
    (void)state;
    static const double mean[] = {.461, -.097, .038, .329, -.119, -.004, -.381, .170, -.250, -.147};
    static const double sd[] = {1.196, .875, .835, 1.002, .888, .841, 1.192, .874, .999, .905};
    static const double lagged[] = {1.491, .610, .550, .859, .630, .541, 1.417, .627, .806, .638};
    static const int places[] = {0, 5, 10, 20, 30, 39};
    static const double place_sd[] = {1.096, 1.105, 1.073, 1.001, .845, 1.102};
    double s[10] = {0}, s2[10] = {0}, lag[10] = {0}, at[POINTS] = {0}, at2[POINTS] = {0};
    hy_task *t = open_fine("");
    for (int64_t i = 0; i < (int64_t)10 * EACH; i++) {
        example e = example_get(t, HY_SPLIT_TRAIN, 0, i);
        const int c = e.labels[POINTS] - LEVELS - 1;
        assert_int_equal(c, i % 10);
        for (int p = 0; p < POINTS; p++) {
            const double z = z_of(e.ids[p]);
            s[c] += z, s2[c] += z * z, at[p] += z, at2[p] += z * z;
            if (p) lag[c] += z * z_of(e.ids[p - 1]);
        }
        example_free(&e);
    }
    for (int c = 0; c < 10; c++) {
        const double n = (double)EACH * POINTS, m = s[c] / n;
        print_message("class %d: mean %.3f sd %.3f lagged %.3f\n", c, m, sqrt(s2[c] / n - m * m), lag[c] / (n - EACH));
        assert_true(fabs(m - mean[c]) < 0.05);
        assert_true(fabs(sqrt(s2[c] / n - m * m) - sd[c]) < 0.035);
        assert_true(fabs(lag[c] / (n - EACH) - lagged[c]) < 0.06);
    }
    for (int k = 0; k < 6; k++) {
        const double n = 10.0 * EACH, m = at[places[k]] / n, v = sqrt(at2[places[k]] / n - m * m);
        print_message("place %d: sd %.3f\n", places[k], v);
        assert_true(fabs(v - place_sd[k]) < 0.04);
    }
    hy_task_close(t);
}

// Classes take turns; splits differ; the same example for the same name; a finite set comes round.
static void sets(void **state) {
    (void)state;
    hy_task *t = open_task("mnist1d", "", 5), *fresh = open_task("mnist1d", "train_examples: 0", 5);
    assert_int_equal(hy_task_vocab(t), 75);
    assert_int_equal(hy_task_cell(t, HY_SPLIT_TRAIN, 0)->count, 4000);
    assert_int_equal(hy_task_cell(t, HY_SPLIT_EVAL, 0)->count, 1000);
    assert_int_equal(hy_task_cell(t, HY_SPLIT_TUNE, 0)->count, 1000);
    assert_true(hy_task_cell(t, HY_SPLIT_EVAL, 0)->chance == 0.1);
    example a = example_get(t, HY_SPLIT_TRAIN, 0, 7), b = example_get(t, HY_SPLIT_TRAIN, 0, 4007);
    example c = example_get(fresh, HY_SPLIT_TRAIN, 0, 4007), d = example_get(t, HY_SPLIT_EVAL, 0, 7);
    example e = example_get(t, HY_SPLIT_TUNE, 0, 7), f = example_get(fresh, HY_SPLIT_TRAIN, 0, 7);
    assert_memory_equal(a.ids, b.ids, POINTS * sizeof *a.ids);
    assert_memory_equal(a.ids, f.ids, POINTS * sizeof *a.ids);
    assert_memory_not_equal(a.ids, c.ids, POINTS * sizeof *a.ids);
    assert_memory_not_equal(a.ids, d.ids, POINTS * sizeof *a.ids);
    assert_memory_not_equal(d.ids, e.ids, POINTS * sizeof *a.ids);
    assert_string_equal(hy_task_piece(t, 64), "?");
    assert_string_equal(hy_task_piece(t, d.labels[POINTS]), "class 7");
    example_free(&a), example_free(&b), example_free(&c), example_free(&d), example_free(&e), example_free(&f);
    hy_task_close(t), hy_task_close(fresh);
}

// All signals in one other order, and the next point instead of the class: the same signals.
static void same_signals(void **state) {
    (void)state;
    hy_task *plain = open_fine(""), *moved = open_fine("permute: true"), *next = open_fine("target: next");
    int from[POINTS];
    for (int p = 0; p < POINTS; p++) {
        from[p] = -1;
        for (int q = 0; q < POINTS && from[p] < 0; q++) {
            bool same = true;
            for (int64_t i = 0; i < 12 && same; i++) {
                example a = example_get(plain, HY_SPLIT_EVAL, 0, i), b = example_get(moved, HY_SPLIT_EVAL, 0, i);
                same = b.ids[p] == a.ids[q];
                example_free(&a), example_free(&b);
            }
            if (same) from[p] = q;
        }
        assert_true(from[p] >= 0);
        for (int q = 0; q < p; q++) assert_int_not_equal(from[p], from[q]);
    }
    example a = example_get(plain, HY_SPLIT_EVAL, 0, 3), b = example_get(next, HY_SPLIT_EVAL, 0, 3);
    assert_memory_equal(a.ids, b.labels, POINTS * sizeof *a.ids);
    assert_true(hy_task_vocab(next) == LEVELS + 1 && b.T == POINTS &&
                hy_task_cell(next, HY_SPLIT_EVAL, 0)->chance == 0);
    example_free(&a), example_free(&b);
    hy_task_close(plain), hy_task_close(moved), hy_task_close(next);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_published), cmocka_unit_test(sets),
                                       cmocka_unit_test(same_signals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
