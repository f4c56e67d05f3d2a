// task_needle.c - needle in a haystack at token level: a key and its value tokens inside random filler, the key again
// at the end. Evaluation cells are the grid length x depth. No text and no tokenizer (for those: task_text.c).
//
// Vocabulary in three parts: keys 0 .. V/4-1, values V/4 .. V/2-1, filler V/2 .. V-1, so nothing but a needle looks
// like one. Length T with n value tokens: a body of T - n tokens, then the query `key v_1 .. v_{n-1}`; the labels of
// these last n positions are v_1 .. v_n. The needle `key v_1 .. v_n` starts at depth * (body - n - 1), rounded: depth 0
// is the beginning, depth 1 right before the query. Training draws the start uniformly. `distractors` needles have
// other keys.
#include <math.h>
#include <stdlib.h>

#include "core/task/task_impl.h"

typedef struct {
    int vocab, values, distractors;
    hy_ints train, test, train_examples, test_examples;
    hy_doubles depths, weights;
} needle_options;

static const hy_field needle_fields[] = {
    {"vocab", HY_F_INT, offsetof(needle_options, vocab), 0, "256", 8, HY_TASK_MAX_VOCAB, NULL,
     "tokens: a quarter keys, a quarter values, the rest filler"},
    {"values", HY_F_INT, offsetof(needle_options, values), 0, "1", 1, 4096, NULL, "value tokens of a needle"},
    {"distractors", HY_F_INT, offsetof(needle_options, distractors), 0, "0", 0, 65536, NULL,
     "needles with other keys, at random places"},
    {"train", HY_F_INTS, offsetof(needle_options, train), 0, "256", 3, HY_TASK_MAX_LEN, NULL,
     "training lengths; the depth is uniform"},
    {"test", HY_F_INTS, offsetof(needle_options, test), 0, "[128, 256, 512, 1024]", 3, HY_TASK_MAX_LEN, NULL,
     "evaluation lengths"},
    {"depths", HY_F_DOUBLES, offsetof(needle_options, depths), 0, "[0, 0.25, 0.5, 0.75, 1]", 0, 1, NULL,
     "evaluation depths: 0 the beginning, 1 right before the query"},
    HY_TASK_FIELD_SETS(needle_options, "0", "200"),
    HY_FIELD_END,
};

static int needle_tokens(const needle_options *o) { return 1 + o->values; }

static hy_status length_check(const needle_options *o, const char *name, int T) {
    // A needle blocks at most 2w - 1 starts of another, so twice its room for each leaves a place for the last one.
    int64_t w = needle_tokens(o), need = o->values + (o->distractors ? 2 * w * ((int64_t)o->distractors + 1) : w);
    if (T < need)
        return hy_error(HY_EINPUT,
                        "%s: length %d is too short for %d needle(s) of %d tokens and the query; at least %lld", name,
                        T, o->distractors + 1, (int)w, (long long)need);
    return HY_OK;
}

static hy_status needle_setup(hy_task *t) {
    const needle_options *o = t->options;
    if (o->distractors >= o->vocab / 4)
        return hy_error(HY_EINPUT, "distractors: %d need as many other keys, but a vocab of %d has %d keys",
                        o->distractors, o->vocab, o->vocab / 4);
    if (o->train.n < 1 || o->test.n < 1 || o->depths.n < 1)
        return hy_error(HY_EINPUT, "train, test and depths need at least one entry each");
    HY_TRY(hy_task_list_check("train_examples", o->train_examples.n, o->train.n, "train"));
    if (o->test_examples.n != 1) HY_TRY(hy_task_list_check("test_examples", o->test_examples.n, o->test.n, "test"));
    for (int i = 0; i < o->train.n; i++) {
        HY_TRY(length_check(o, "train", o->train.v[i]));
        hy_cell c = {.T = o->train.v[i], .x = o->train.v[i], .y = NAN, .count = hy_task_list_at(&o->train_examples, i)};
        HY_TRY(hy_task_cell_add(t, HY_SPLIT_TRAIN, c, "len%d", c.T));
    }
    for (int i = 0; i < o->test.n; i++) {
        HY_TRY(length_check(o, "test", o->test.v[i]));
        for (int j = 0; j < o->depths.n; j++) {
            hy_cell c = {.T = o->test.v[i],
                         .x = o->test.v[i],
                         .y = o->depths.v[j],
                         .count = hy_task_list_at(&o->test_examples, i)};
            HY_TRY(hy_task_cell_add(t, HY_SPLIT_EVAL, c, "len%d.depth%.2f", c.T, c.y));
        }
    }
    t->vocab = o->vocab;
    t->entropy = 0;
    return hy_task_weights(t, &o->weights);
}

// A uniformly drawn start at which w tokens of the body are still filler.
static int free_start(const int32_t *ids, int body, int w, int filler, hy_rng *r, int *starts) {
    int n = 0;
    for (int i = 0, run = 0; i < body; i++) {
        run = ids[i] >= filler ? run + 1 : 0;
        if (run >= w) starts[n++] = i - w + 1;
    }
    HY_ASSERT(n > 0);
    return starts[hy_rng_below(r, (uint64_t)n)];
}

// The other keys: a partial shuffle of all keys but the needle's.
static void put_distractors(const needle_options *o, int32_t key, int body, hy_rng *r, int32_t *ids) {
    int quarter = o->vocab / 4, w = needle_tokens(o);
    int32_t *keys = hy_xcalloc((size_t)quarter, sizeof *keys);
    int *starts = hy_xcalloc((size_t)body, sizeof *starts);
    int n = 0;
    for (int k = 0; k < quarter; k++)
        if (k != key) keys[n++] = k;
    for (int i = 0; i < o->distractors; i++) {
        int with = i + (int)hy_rng_below(r, (uint64_t)(n - i));
        int32_t k = keys[with];
        keys[with] = keys[i];
        int at = free_start(ids, body, w, o->vocab / 2, r, starts);
        ids[at] = k;
        for (int j = 1; j < w; j++) ids[at + j] = quarter + (int32_t)hy_rng_below(r, (uint64_t)quarter);
    }
    free(starts);
    free(keys);
}

static hy_status needle_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                                int32_t *labels) {
    (void)index;
    const needle_options *o = t->options;
    const hy_cell *c = &t->cells[s][cell];
    int n = o->values, w = needle_tokens(o), body = c->T - n, quarter = o->vocab / 4, filler = o->vocab / 2;
    int at =
        s == HY_SPLIT_TRAIN ? (int)hy_rng_below(r, (uint64_t)body - (uint64_t)w + 1) : (int)lround(c->y * (body - w));
    for (int i = 0; i < body; i++) ids[i] = filler + (int32_t)hy_rng_below(r, (uint64_t)(o->vocab - filler));
    ids[at] = (int32_t)hy_rng_below(r, (uint64_t)quarter);
    for (int j = 1; j < w; j++) ids[at + j] = quarter + (int32_t)hy_rng_below(r, (uint64_t)quarter);
    if (o->distractors) put_distractors(o, ids[at], body, r, ids);
    for (int i = 0; i < body; i++) labels[i] = HY_IGNORE;
    for (int j = 0; j < n; j++) {
        ids[body + j] = ids[at + j];
        labels[body + j] = ids[at + j + 1];
    }
    return HY_OK;
}

const hy_task_kind_def hy_task_needle = {
    .name = "needle",
    .about = "needle in a haystack: the value of one key in random filler, over length and depth",
    .fields = needle_fields,
    .options_size = sizeof(needle_options),
    .setup = needle_setup,
    .example = needle_example,
};
