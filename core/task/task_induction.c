// task_induction.c - induction heads: what followed the special token the first time? Generator of the lineage that the
// Mamba paper (arXiv 2312.00752, 4.1.2) names; its further copies of the trigger are the option `triggers`.
//
// Length L: L tokens drawn from 0 .. vocab-2, the special token vocab-1 put at a position of 0 .. L-3, and the special
// token appended, so an example has T = L + 1 tokens. The label of the last position is the token after the first
// trigger.
#include <math.h>
#include <stdlib.h>

#include "core/task/task_impl.h"

enum { LOSS_LAST, LOSS_ALL };
typedef struct {
    int vocab, triggers, loss;
    hy_ints train, test, train_examples, test_examples;
    hy_doubles weights;
} induction_options;

static const hy_field induction_fields[] = {
    {"vocab", HY_F_INT, offsetof(induction_options, vocab), 0, "16", 3, HY_TASK_MAX_VOCAB, NULL,
     "tokens, the last one is the special token"},
    {"train", HY_F_INTS, offsetof(induction_options, train), 0, "256", 3, HY_TASK_MAX_LEN, NULL,
     "training lengths, without the appended special token"},
    {"test", HY_F_INTS, offsetof(induction_options, test), 0, "[64, 128, 256, 512, 1024]", 3, HY_TASK_MAX_LEN, NULL,
     "evaluation lengths, without the appended special token"},
    HY_TASK_FIELD_SETS(induction_options, "0", "1000"),
    {"triggers", HY_F_INT, offsetof(induction_options, triggers), 0, "1", 1, 1024, NULL,
     "at most so many triggers, all followed by the same token"},
    {"loss", HY_F_ENUM, offsetof(induction_options, loss), 0, "last", 0, 0, "last|all",
     "training labels: the answer only, or the next token at every position; evaluation scores the answer only"},
    HY_FIELD_END,
};

static hy_status induction_setup(hy_task *t) {
    const induction_options *o = t->options;
    HY_TRY(hy_task_lengths(t, HY_SPLIT_TRAIN, &o->train, &o->train_examples, 1, NAN, "L"));
    HY_TRY(hy_task_lengths(t, HY_SPLIT_EVAL, &o->test, &o->test_examples, 1, NAN, "L"));
    t->vocab = o->vocab;
    t->entropy = 0;  // of the answer
    return hy_task_weights(t, &o->weights);
}

static int int_order(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static hy_status induction_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                                   int32_t *labels) {
    (void)index;
    const induction_options *o = t->options;
    int L = t->cells[s][cell].T - 1, special = o->vocab - 1;
    int *at = hy_xcalloc((size_t)o->triggers, sizeof *at);
    for (int i = 0; i < L; i++) ids[i] = (int32_t)hy_rng_below(r, (uint64_t)special);
    ids[L] = special;
    for (int i = 0; i < o->triggers; i++) at[i] = (int)hy_rng_below(r, (uint64_t)(L - 2));
    qsort(at, (size_t)o->triggers, sizeof *at, int_order);
    int32_t answer = ids[at[0] + 1];
    for (int i = 0, last = -2; i < o->triggers; i++) {
        if (at[i] - last < 2) continue;  // would overwrite the answer or the trigger before it
        last = at[i];
        ids[last] = special;
        ids[last + 1] = answer;
    }
    free(at);
    bool all = s == HY_SPLIT_TRAIN && o->loss == LOSS_ALL;
    for (int i = 0; i < L; i++) labels[i] = all ? ids[i + 1] : HY_IGNORE;
    labels[L] = answer;
    return HY_OK;
}

const hy_task_kind_def hy_task_induction = {
    .name = "induction",
    .about = "induction heads: which token followed the special token before?",
    .fields = induction_fields,
    .options_size = sizeof(induction_options),
    .setup = induction_setup,
    .example = induction_example,
};
