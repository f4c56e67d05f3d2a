// task_given.c - a task whose examples are sequences that the caller has: to look at a model with them, not to train.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/task_impl.h"

typedef struct {
    int T;
    int32_t *ids, *labels;  // [n, T]
} given_data;

static const hy_field no_fields[] = {HY_FIELD_END};

static hy_status given_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                               int32_t *labels) {
    (void)s, (void)cell, (void)r;
    const given_data *d = t->data;
    const size_t T = (size_t)d->T, at = (size_t)index * T;
    memcpy(ids, d->ids + at, T * sizeof *ids);
    memcpy(labels, d->labels + at, T * sizeof *labels);
    return HY_OK;
}

static void given_release(hy_task *t) {
    given_data *d = t->data;
    if (!d) return;
    free(d->ids), free(d->labels);
    free(d);
}

static void given_text(const hy_task *t, hy_buf *out) {
    const given_data *d = t->data;
    const size_t bytes = (size_t)t->cells[HY_SPLIT_EVAL][0].count * (size_t)d->T * sizeof *d->ids;
    char ids[33], labels[33];
    hy_hash_hex(d->ids, bytes, ids);
    hy_hash_hex(d->labels, bytes, labels);
    hy_buf_printf(out, "ids: %s\nlabels: %s\n", ids, labels);
}

static const hy_task_kind_def given = {
    .name = "given",
    .about = "sequences of the caller's",
    .fields = no_fields,
    .example = given_example,
    .release = given_release,
    .text = given_text,
    .of_data = true,
};

static hy_status copy(int n, int T, const int32_t *ids, const int32_t *labels, int vocab, given_data *d) {
    const size_t all = (size_t)n * (size_t)T;
    d->T = T;
    d->ids = hy_alloc(all * sizeof *d->ids);
    d->labels = hy_alloc(all * sizeof *d->labels);
    if (!d->ids || !d->labels) return HY_ENOMEM;
    for (size_t i = 0; i < all; i++) {
        if (ids[i] < 0 || ids[i] >= vocab)
            return hy_error(HY_EINPUT, "ids[%zu] is %d: tokens are 0 to %d", i, (int)ids[i], vocab - 1);
        d->ids[i] = ids[i];
    }
    for (size_t i = 0; i < all; i++) {
        d->labels[i] = labels ? labels[i] : (i + 1) % (size_t)T ? ids[i + 1] : HY_IGNORE;
        if (d->labels[i] >= vocab)
            return hy_error(HY_EINPUT, "labels[%zu] is %d: tokens are 0 to %d, below 0 is none", i, (int)d->labels[i],
                            vocab - 1);
    }
    return HY_OK;
}

hy_status hy_task_given(const char *name, int n, int T, const int32_t *ids, const int32_t *labels, int vocab,
                        hy_task **out) {
    *out = NULL;
    if (n < 1 || T < 1) return hy_error(HY_EINPUT, "%d sequences of %d tokens: at least one of each is needed", n, T);
    if (T > HY_TASK_MAX_LEN) return hy_error(HY_EINPUT, "%d tokens are more than %.0f", T, HY_TASK_MAX_LEN);
    hy_task *t = hy_xcalloc(1, sizeof *t);
    *t = (hy_task){.def = &given, .vocab = vocab, .entropy = NAN, .bytes_per_token = NAN};
    given_data *d = t->data = hy_xcalloc(1, sizeof *d);
    hy_status s = copy(n, T, ids, labels, vocab, d);
    const hy_cell cell = {.T = T, .x = T, .y = NAN, .count = n, .weight = 1};
    for (int split = HY_SPLIT_TRAIN; split <= HY_SPLIT_EVAL && !s; split++)
        s = name ? hy_task_cell_add(t, (hy_split)split, cell, "%s", name)
                 : hy_task_cell_add(t, (hy_split)split, cell, "T%d", T);
    if (s)
        hy_task_close(t);
    else
        *out = t;
    return s;
}
