// task_cells.c - what the kinds of tasks share: random streams, cells, lists of lengths. See task_impl.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/task_impl.h"

const char *hy_split_name(hy_split s) {
    static const char *const names[HY_SPLITS] = {"train", "eval", "tune"};
    return names[s];
}

void hy_task_at_home(char path[PATH_MAX]) {
    char *at = hy_path_home(path);
    snprintf(path, PATH_MAX, "%s", at);
    free(at);
}

hy_rng hy_task_rng(uint64_t seed, hy_draw purpose, int cell, int64_t index) {
    HY_ASSERT(cell >= 0 && cell < HY_TASK_MAX_CELLS && index >= 0 && index < HY_TASK_MAX_INDEX);
    uint64_t key = hy_mix64(seed, 0x7461736bu);  // apart from the streams that draw weights from the same seed
    return hy_rng_make(key, (uint64_t)purpose << 61 | (uint64_t)cell << 48 | (uint64_t)index);
}

hy_status hy_task_cell_add(hy_task *t, hy_split s, hy_cell cell, const char *fmt, ...) {
    if (t->n_cells[s] == HY_TASK_MAX_CELLS)
        return hy_error(HY_EINPUT, "task %s: more than %d cells", t->def->name, HY_TASK_MAX_CELLS);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cell.name, sizeof cell.name, fmt, ap);
    va_end(ap);
    for (int i = 0; s == HY_SPLIT_EVAL && i < t->n_cells[s]; i++)
        if (!strcmp(t->cells[s][i].name, cell.name))
            return hy_error(HY_EINPUT, "two evaluation cells would both be called %s: name each setting once%s",
                            cell.name, strstr(cell.name, "depth") ? ", depths at least 0.01 apart" : "");
    t->cells[s] = hy_xrealloc(t->cells[s], (size_t)(t->n_cells[s] + 1) * sizeof cell);
    t->cells[s][t->n_cells[s]++] = cell;
    if (cell.T > t->max_len) t->max_len = cell.T;
    return HY_OK;
}

hy_status hy_task_list_check(const char *name, int list_n, int n, const char *of) {
    if (list_n == 1 || list_n == n) return HY_OK;
    return hy_error(HY_EINPUT, "%s has %d values: give one for all, or one for each of the %d entries of %s", name,
                    list_n, n, of);
}

int hy_task_list_at(const hy_ints *list, int i) { return list->v[list->n == 1 ? 0 : i]; }

hy_status hy_task_lengths(hy_task *t, hy_split s, const hy_ints *lengths, const hy_ints *examples, int extra, double y,
                          const char *prefix) {
    const char *name = s == HY_SPLIT_TRAIN ? "train" : "test";
    if (lengths->n < 1) return hy_error(HY_EINPUT, "%s: at least one length is needed", name);
    HY_TRY(hy_task_list_check(s == HY_SPLIT_TRAIN ? "train_examples" : "test_examples", examples->n, lengths->n, name));
    for (int i = 0; i < lengths->n; i++) {
        hy_cell c = {.T = lengths->v[i] + extra, .x = lengths->v[i], .y = y, .count = hy_task_list_at(examples, i)};
        HY_TRY(hy_task_cell_add(t, s, c, "%s%d", prefix, lengths->v[i]));
    }
    return HY_OK;
}

hy_status hy_task_weights(hy_task *t, const hy_doubles *weights) {
    hy_cell *c = t->cells[HY_SPLIT_TRAIN];
    int n = t->n_cells[HY_SPLIT_TRAIN];
    if (weights->n) HY_TRY(hy_task_list_check("weights", weights->n, n, "the training cells"));
    bool finite = true;
    for (int i = 0; i < n; i++) finite &= c[i].count > 0;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        c[i].weight = weights->n ? weights->v[weights->n == 1 ? 0 : i] : finite ? (double)c[i].count : 1.0;
        if (!(c[i].weight >= 0) || isinf(c[i].weight))
            return hy_error(HY_EINPUT, "weights: a weight is a finite number, not below 0");
        sum += c[i].weight;
    }
    if (!(sum > 0)) return hy_error(HY_EINPUT, "weights: at least one must be above 0");
    for (int i = 0; i < n; i++) c[i].weight /= sum;
    return HY_OK;
}
