// task_given.c - one example of tokens that somebody gave: to look at a model, not to train or to store.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/task_impl.h"

static const hy_field no_fields[] = {HY_FIELD_END};

static hy_status given_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                               int32_t *labels) {
    (void)index, (void)r;
    const int T = t->cells[s][cell].T;
    memcpy(ids, t->data, (size_t)T * sizeof *ids);
    for (int i = 0; i < T; i++) labels[i] = i + 1 < T ? ids[i + 1] : HY_IGNORE;
    return HY_OK;
}

static void given_release(hy_task *t) { free(t->data); }

static void given_text(const hy_task *t, hy_buf *out) {
    const hy_cell *c = &t->cells[HY_SPLIT_EVAL][0];
    char hash[33];
    hy_hash_hex(t->data, (size_t)c->T * sizeof(int32_t), hash);
    hy_buf_printf(out, "tokens: %d\nhash: %s\n", c->T, hash);
}

static const hy_task_kind_def given_kind = {.name = "given",
                                            .about = "continue the given tokens",
                                            .fields = no_fields,
                                            .options_size = 1,
                                            .example = given_example,
                                            .release = given_release,
                                            .text = given_text,
                                            .of_data = true};

hy_status hy_task_given(const char *name, const int32_t *ids, int n, hy_task **out) {
    *out = NULL;
    if (n < 1) return hy_error(HY_EINPUT, "%s: there is no token in it", name);
    hy_task *t = hy_xcalloc(1, sizeof *t);
    *t = (hy_task){
        .def = &given_kind, .options = hy_xcalloc(1, 1), .max_len = n, .entropy = NAN, .bytes_per_token = NAN};
    int32_t *copy = hy_xcalloc((size_t)n, sizeof *copy);
    t->data = copy;
    memcpy(copy, ids, (size_t)n * sizeof *ids);
    for (int i = 0; i < n; i++)
        if (ids[i] >= t->vocab) t->vocab = ids[i] + 1;
    const hy_cell cell = {.T = n, .x = n, .y = NAN, .count = 1, .weight = 1};
    hy_status s = hy_task_cell_add(t, HY_SPLIT_TRAIN, cell, "%s", name);
    if (!s) s = hy_task_cell_add(t, HY_SPLIT_EVAL, cell, "%s", name);
    if (s)
        hy_task_close(t);
    else
        *out = t;
    return s;
}
