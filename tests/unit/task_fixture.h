// task_fixture.h - opening tasks and reading examples with guards around them; shared by the task tests.
#ifndef HY_TASK_FIXTURE_H
#define HY_TASK_FIXTURE_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/task/task.h"
#include "core/task/task_impl.h"

static const char text_file[] = "tests/data/shakespeare-100k.txt";

static inline hy_task *open_task(const char *kind, const char *options, uint64_t seed) {
    hy_task *t = NULL;
    hy_status s = hy_task_open(kind, options, seed, &t);
    if (s) print_message("%s\n", hy_error_text());
    assert_int_equal(s, HY_OK);
    return t;
}

typedef struct {
    int T;
    int32_t *ids, *labels;  // sentinels behind both
} example;

enum { SENTINEL = 0x5a5a5a5a, GUARD = 8 };

static inline example example_get(const hy_task *t, hy_split s, int cell, int64_t index) {
    example e = {.T = hy_task_cell(t, s, cell)->T};
    e.ids = hy_xcalloc((size_t)(e.T + GUARD), sizeof *e.ids);
    e.labels = hy_xcalloc((size_t)(e.T + GUARD), sizeof *e.labels);
    for (int i = 0; i < e.T + GUARD; i++) e.ids[i] = e.labels[i] = SENTINEL;
    assert_int_equal(hy_task_example(t, s, cell, index, e.ids, e.labels), HY_OK);
    for (int i = 0; i < e.T + GUARD; i++) {
        if (i < e.T) {
            assert_true(e.ids[i] >= 0 && e.ids[i] < hy_task_vocab(t));
            assert_true(e.labels[i] == HY_IGNORE || (e.labels[i] >= 0 && e.labels[i] < hy_task_vocab(t)));
        } else {
            assert_int_equal(e.ids[i], SENTINEL);
            assert_int_equal(e.labels[i], SENTINEL);
        }
    }
    return e;
}

static inline void example_free(example *e) {
    free(e->ids);
    free(e->labels);
}

static inline int labelled(const example *e) {
    int n = 0;
    for (int i = 0; i < e->T; i++) n += e->labels[i] >= 0;
    return n;
}
#endif
