// task_mqar.c - multi-query associative recall (Arora et al., "Zoology", arXiv 2312.04927), compatible with the
// released generator's parameters, and its "forgetting" variant (updates > 0). Not its compositional or stacked
// variants.
//
// An example of T tokens with K pairs: passes times (key_1 value_1 .. key_K value_K), then `updates` pairs that give
// randomly chosen keys a new value, then the query region of S = (T - context) / 2 slots of two tokens. Query i is
// key_i on the first token of its slot; the label at that same position is the value that came last. The rest is
// filler.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/task_impl.h"

typedef struct {
    int vocab, random_non_queries, passes, updates;
    double power_a;
    hy_ints train, test, train_examples, test_examples;
    hy_doubles weights;
} mqar_options;

static const hy_field mqar_fields[] = {
    {"vocab", HY_F_INT, offsetof(mqar_options, vocab), 0, "8192", 4, HY_TASK_MAX_VOCAB, NULL,
     "tokens: 0 filler, keys 1 .. vocab/2 - 1, values vocab/2 .. vocab - 1; above every length"},
    {"train", HY_F_PAIRS, offsetof(mqar_options, train), 0, "[[64, 4]]", 1, HY_TASK_MAX_LEN, NULL,
     "training cells as [length, pairs]; length even and at least 4 * pairs"},
    {"test", HY_F_PAIRS, offsetof(mqar_options, test), 0, "[[64, 4]]", 1, HY_TASK_MAX_LEN, NULL,
     "evaluation cells as [length, pairs]"},
    HY_TASK_FIELD_SETS(mqar_options, "100000", "1000"),
    {"power_a", HY_F_DOUBLE, offsetof(mqar_options, power_a), 0, "0.01", 1e-6, 100, NULL,
     "slot s of the query region is drawn with weight (s + 1)^(power_a - 1): 0.01 early queries, 1 uniform"},
    {"random_non_queries", HY_F_BOOL, offsetof(mqar_options, random_non_queries), 0, "true", 0, 0, NULL,
     "filler is uniform over the vocabulary; false: token 0"},
    {"passes", HY_F_INT, offsetof(mqar_options, passes), 0, "1", 1, 1024, NULL,
     "how often the list of pairs is shown before the queries"},
    {"updates", HY_F_INT, offsetof(mqar_options, updates), 0, "0", 0, HY_TASK_MAX_LEN, NULL,
     "forgetting: so many keys are shown again with a new value, and the last value counts"},
    HY_FIELD_END,
};

typedef struct {
    double *slot_weight;  // [largest S]
} mqar_data;

static int64_t context_tokens(const mqar_options *o, int K) { return 2 * ((int64_t)K * o->passes + o->updates); }

static hy_status cells_read(hy_task *t, hy_split s, const char *name, const hy_ints *list, const hy_ints *examples) {
    const mqar_options *o = t->options;
    int n = list->n / 2;
    if (n < 1) return hy_error(HY_EINPUT, "%s: at least one [length, pairs] is needed", name);
    HY_TRY(hy_task_list_check(s == HY_SPLIT_TRAIN ? "train_examples" : "test_examples", examples->n, n, name));
    for (int i = 0; i < n; i++) {
        int T = list->v[2 * i], K = list->v[2 * i + 1];
        if (T % 2)
            return hy_error(HY_EINPUT, "%s: length %d is odd; a slot takes two tokens, so use %d", name, T, T + 1);
        if (o->vocab <= T)
            return hy_error(HY_EINPUT, "%s: length %d needs a vocab above %d, but it is %d", name, T, T, o->vocab);
        if (o->updates > K) return hy_error(HY_EINPUT, "%s: %d updates, but only %d pairs", name, o->updates, K);
        int64_t need = context_tokens(o, K) + 2 * (int64_t)K;
        if (need > T)
            return hy_error(HY_EINPUT,
                            "%s: %d pairs (passes %d, updates %d) need at least %lld tokens, but the length is %d",
                            name, K, o->passes, o->updates, (long long)need, T);
        hy_cell c = {.T = T, .x = T, .y = K, .count = hy_task_list_at(examples, i)};
        if (!o->updates) c.chance = 1.0 / K;  // the values of an example's pairs all differ
        HY_TRY(hy_task_cell_add(t, s, c, "T%d.K%d", T, K));
    }
    return HY_OK;
}

static hy_status mqar_setup(hy_task *t) {
    const mqar_options *o = t->options;
    HY_TRY(cells_read(t, HY_SPLIT_TRAIN, "train", &o->train, &o->train_examples));
    HY_TRY(cells_read(t, HY_SPLIT_EVAL, "test", &o->test, &o->test_examples));
    HY_TRY(hy_task_weights(t, &o->weights));
    mqar_data *d = t->data = hy_xcalloc(1, sizeof *d);
    d->slot_weight = hy_xcalloc((size_t)t->max_len / 2, sizeof *d->slot_weight);
    for (int s = 0; s < t->max_len / 2; s++) d->slot_weight[s] = pow(s + 1.0, o->power_a - 1);
    t->vocab = o->vocab;
    t->entropy = 0;
    return HY_OK;
}

static void mqar_release(hy_task *t) {
    mqar_data *d = t->data;
    if (d) free(d->slot_weight);
    free(d);
}

// n different numbers of lo .. lo + range - 1, in random order. seen: [range] zero bytes, zero again afterwards.
// Needs n <= range / 2 or so to be quick; the checks above see to that for keys and values.
static void draw_distinct(hy_rng *r, int n, int lo, int range, unsigned char *seen, int32_t *out) {
    for (int i = 0; i < n;) {
        int x = (int)hy_rng_below(r, (uint64_t)range);
        if (seen[x]) continue;
        seen[x] = 1;
        out[i++] = lo + x;
    }
    for (int i = 0; i < n; i++) seen[out[i] - lo] = 0;
}

typedef struct {
    double at;
    int slot;
} arrival;

static int arrival_order(const void *a, const void *b) {
    const arrival *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->slot - y->slot;
}

// Weighted sampling without replacement, each draw renormalised over what is left: the order in which independent
// exponential clocks of rate w[s] ring is exactly that order of draws (the first of the remaining clocks to ring is s
// with probability w[s] / sum of the remaining w, whatever happened before).
static void draw_slots(hy_rng *r, const double *w, int S, arrival *clocks) {
    for (int s = 0; s < S; s++) clocks[s] = (arrival){-log(1.0 - hy_rng_uniform(r)) / w[s], s};
    qsort(clocks, (size_t)S, sizeof *clocks, arrival_order);
}

// Gives `updates` of the keys a new value, different from the old one; writes the pairs at dst.
static void draw_updates(hy_rng *r, const mqar_options *o, int K, const int32_t *keys, int32_t *values, int32_t *chosen,
                         int32_t *dst) {
    int first = o->vocab / 2, n_values = o->vocab - first;
    for (int j = 0; j < K; j++) chosen[j] = j;
    for (int j = 0; j < o->updates; j++) {  // partial shuffle of the key numbers
        int with = j + (int)hy_rng_below(r, (uint64_t)(K - j));
        int32_t k = chosen[with];
        chosen[with] = chosen[j];
        chosen[j] = k;
        int32_t v = first + (int32_t)hy_rng_below(r, (uint64_t)(n_values - 1));
        values[k] = v >= values[k] ? v + 1 : v;
        dst[2 * j] = keys[k];
        dst[2 * j + 1] = values[k];
    }
}

static hy_status mqar_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                              int32_t *labels) {
    (void)index;
    const mqar_options *o = t->options;
    const mqar_data *d = t->data;
    const hy_cell *c = &t->cells[s][cell];
    int T = c->T, K = (int)c->y, V = o->vocab, half = V / 2;
    int C = (int)context_tokens(o, K), S = (T - C) / 2;
    unsigned char *seen = hy_xcalloc((size_t)(V - half), 1);
    int32_t *work = hy_xcalloc((size_t)K * 3, sizeof *work), *keys = work, *values = work + K;
    arrival *clocks = hy_xcalloc((size_t)S, sizeof *clocks);
    draw_distinct(r, K, 1, half - 1, seen, keys);
    draw_distinct(r, K, half, V - half, seen, values);
    for (int p = 0, at = 0; p < o->passes; p++)
        for (int i = 0; i < K; i++) ids[at++] = keys[i], ids[at++] = values[i];
    draw_updates(r, o, K, keys, values, work + 2 * K, ids + C - 2 * o->updates);
    draw_slots(r, d->slot_weight, S, clocks);
    for (int i = C; i < T; i++) ids[i] = o->random_non_queries ? (int32_t)hy_rng_below(r, (uint64_t)V) : 0;
    for (int i = 0; i < T; i++) labels[i] = HY_IGNORE;
    for (int i = 0; i < K; i++) {
        int at = C + 2 * clocks[i].slot;
        ids[at] = keys[i];
        labels[at] = values[i];
    }
    free(clocks);
    free(work);
    free(seen);
    return HY_OK;
}

const hy_task_kind_def hy_task_mqar = {
    .name = "mqar",
    .about = "multi-query associative recall: key-value pairs, then keys whose value is asked for",
    .fields = mqar_fields,
    .options_size = sizeof(mqar_options),
    .setup = mqar_setup,
    .example = mqar_example,
    .release = mqar_release,
};
