// task_copy.c - selective copying (Mamba paper, arXiv 2312.00752, 4.1.1; generator of the S4 lineage, variable
// positions).
//
// Length T with M tokens to memorise: the first T - M positions hold M data tokens (1 .. vocab-2) at random places in a
// row of blanks (token 0), then come M markers (token vocab-1). The label at marker i is data token i. All else is
// ignored.
#include "core/task/task_impl.h"

typedef struct {
    int vocab, memorize;
    hy_ints train, test, train_examples, test_examples;
    hy_doubles weights;
} copy_options;

static const hy_field copy_fields[] = {
    {"vocab", HY_F_INT, offsetof(copy_options, vocab), 0, "16", 3, HY_TASK_MAX_VOCAB, NULL,
     "tokens: 0 blank, 1 .. vocab-2 data, vocab-1 marker"},
    {"memorize", HY_F_INT, offsetof(copy_options, memorize), 0, "16", 1, HY_TASK_MAX_LEN, NULL,
     "data tokens of an example"},
    {"train", HY_F_INTS, offsetof(copy_options, train), 0, "256", 2, HY_TASK_MAX_LEN, NULL,
     "training lengths: blanks, data and markers together; at least 2 * memorize"},
    {"test", HY_F_INTS, offsetof(copy_options, test), 0, "256", 2, HY_TASK_MAX_LEN, NULL, "evaluation lengths"},
    HY_TASK_FIELD_SETS(copy_options, "0", "1000"),
    HY_FIELD_END,
};

static hy_status lengths_check(const copy_options *o, const char *name, const hy_ints *list) {
    for (int i = 0; i < list->n; i++)
        if (list->v[i] < 2 * (int64_t)o->memorize)
            return hy_error(HY_EINPUT,
                            "%s: length %d is too short to memorize %d tokens and give them back; at least %lld", name,
                            list->v[i], o->memorize, 2 * (long long)o->memorize);
    return HY_OK;
}

static hy_status copy_setup(hy_task *t) {
    const copy_options *o = t->options;
    HY_TRY(lengths_check(o, "train", &o->train));
    HY_TRY(lengths_check(o, "test", &o->test));
    HY_TRY(hy_task_lengths(t, HY_SPLIT_TRAIN, &o->train, &o->train_examples, 0, o->memorize, "T"));
    HY_TRY(hy_task_lengths(t, HY_SPLIT_EVAL, &o->test, &o->test_examples, 0, o->memorize, "T"));
    t->vocab = o->vocab;
    t->entropy = 0;
    return hy_task_weights(t, &o->weights);
}

static hy_status copy_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                              int32_t *labels) {
    (void)index;
    const copy_options *o = t->options;
    int T = t->cells[s][cell].T, M = o->memorize, body = T - M;
    // Selection sampling (Knuth 3.4.2 S): position i is taken with probability wanted / left, all sets equally likely.
    for (int i = 0, wanted = M; i < body; i++) {
        bool take = hy_rng_below(r, (uint64_t)(body - i)) < (uint64_t)wanted;
        ids[i] = take ? 1 + (int32_t)hy_rng_below(r, (uint64_t)(o->vocab - 2)) : 0;
        labels[i] = HY_IGNORE;
        if (take) labels[body + M - wanted] = ids[i], wanted--;
    }
    for (int i = body; i < T; i++) ids[i] = o->vocab - 1;
    return HY_OK;
}

const hy_task_kind_def hy_task_copy = {
    .name = "selective_copy",
    .about = "selective copying: give back the data tokens that stood among blanks, in order",
    .fields = copy_fields,
    .options_size = sizeof(copy_options),
    .setup = copy_setup,
    .example = copy_example,
};
