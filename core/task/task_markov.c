// task_markov.c - a source of known entropy: a Markov chain of order k with a random sparse transition table. The next
// token after a context of k tokens is, with probability 1 - smoothing, one of `branch` successors of that context
// (weights exp(sharpness * N(0,1)), normalised), else uniform over the vocabulary. Smoothing makes every context
// reachable, so the stationary distribution is unique; examples start from it. The label of a position is the next
// token; the first k - 1 positions, which do not see a whole context, are ignored. So the entropy of a labelled token
// is exactly
//     H = sum over contexts c of pi(c) * (- sum over y of P(y|c) log P(y|c))      nats
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/task_impl.h"

#define MARKOV_MAX_TABLE (1 << 23)  // contexts x branch
#define MARKOV_MAX_ROUNDS 20000     // of the power iteration
#define MARKOV_TOLERANCE 1e-13      // change of pi in a round (sum of absolute values): rounding is below 1e-15

typedef struct {
    int vocab, order, branch;
    double sharpness, smoothing;
    int64_t table_seed;
    hy_ints train, test, train_examples, test_examples;
    hy_doubles weights;
} markov_options;

static const hy_field markov_fields[] = {
    {"vocab", HY_F_INT, offsetof(markov_options, vocab), 0, "64", 2, HY_TASK_MAX_VOCAB, NULL, "tokens"},
    {"order", HY_F_INT, offsetof(markov_options, order), 0, "2", 1, 8, NULL,
     "tokens of context that decide the next one"},
    {"branch", HY_F_INT, offsetof(markov_options, branch), 0, "4", 1, 65536, NULL,
     "likely successors of a context; at most vocab"},
    {"sharpness", HY_F_DOUBLE, offsetof(markov_options, sharpness), 0, "1", 0, 10, NULL,
     "spread of the successors' log weights; 0: all equal"},
    {"smoothing", HY_F_DOUBLE, offsetof(markov_options, smoothing), 0, "0.01", 1e-4, 1, NULL,
     "probability of a token drawn from the whole vocabulary"},
    {"table_seed", HY_F_LONG, offsetof(markov_options, table_seed), 0, "1", 0, 9e15, NULL,
     "seed of the transition table: the language; the run's seed draws the sentences"},
    {"train", HY_F_INTS, offsetof(markov_options, train), 0, "256", 1, HY_TASK_MAX_LEN, NULL, "training lengths"},
    {"test", HY_F_INTS, offsetof(markov_options, test), 0, "256", 1, HY_TASK_MAX_LEN, NULL, "evaluation lengths"},
    HY_TASK_FIELD_SETS(markov_options, "0", "200"),
    HY_FIELD_END,
};

typedef struct {
    int contexts, suffixes;  // V^k, V^(k-1)
    int32_t *next;           // [contexts, branch] successors
    double *p, *up_to;       // [contexts, branch] their probabilities before smoothing, and running sums
    double *start;           // [contexts] running sums of pi
} markov_data;

static void markov_release(hy_task *t) {
    markov_data *d = t->data;
    if (!d) return;
    free(d->next);
    free(d->p);
    free(d->up_to);
    free(d->start);
    free(d);
}

// Each context's row from its own stream.
static void table_draw(const markov_options *o, markov_data *d) {
    int32_t *tokens = hy_xcalloc((size_t)o->vocab, sizeof *tokens);
    for (int i = 0; i < o->vocab; i++) tokens[i] = i;
    for (int c = 0; c < d->contexts; c++) {
        hy_rng r = hy_task_rng((uint64_t)o->table_seed, HY_DRAW_TABLE, 0, c);
        int32_t *next = d->next + (size_t)c * (size_t)o->branch;
        double *p = d->p + (size_t)c * (size_t)o->branch, *up_to = d->up_to + (size_t)c * (size_t)o->branch, sum = 0;
        for (int j = 0; j < o->branch; j++) {  // a partial shuffle, of whatever order the last one left
            int with = j + (int)hy_rng_below(&r, (uint64_t)(o->vocab - j));
            int32_t y = tokens[with];
            tokens[with] = tokens[j];
            tokens[j] = next[j] = y;
            sum += p[j] = exp(o->sharpness * hy_rng_normal(&r));
        }
        double run = 0;
        for (int j = 0; j < o->branch; j++) up_to[j] = run += p[j] /= sum;
    }
    free(tokens);
}

// to = pi P. A context's successor drops its oldest token and appends the next one.
static void chain_step(const markov_options *o, const markov_data *d, const double *pi, double *to) {
    int V = o->vocab, n = d->suffixes;
    for (int s = 0; s < n; s++) {
        double mass = 0;
        for (int a = 0; a < V; a++) mass += pi[(size_t)a * (size_t)n + (size_t)s];
        for (int y = 0; y < V; y++) to[(size_t)s * (size_t)V + (size_t)y] = mass * o->smoothing / V;
    }
    for (int c = 0; c < d->contexts; c++) {
        const int32_t *next = d->next + (size_t)c * (size_t)o->branch;
        const double *p = d->p + (size_t)c * (size_t)o->branch;
        double *row = to + (size_t)(c % n) * (size_t)V, mass = pi[c] * (1 - o->smoothing);
        for (int j = 0; j < o->branch; j++) row[next[j]] += mass * p[j];
    }
}

static hy_status stationary(const markov_options *o, const markov_data *d, double *pi) {
    double *to = hy_xcalloc((size_t)d->contexts, sizeof *to), change = 1;
    for (int c = 0; c < d->contexts; c++) pi[c] = 1.0 / d->contexts;
    for (int round = 0; round < MARKOV_MAX_ROUNDS && change > MARKOV_TOLERANCE && !hy_interrupted; round++) {
        chain_step(o, d, pi, to);
        double sum = 0;
        change = 0;
        for (int c = 0; c < d->contexts; c++) sum += to[c];
        for (int c = 0; c < d->contexts; c++) {
            to[c] /= sum;  // rounding must not pile up over many rounds
            change += fabs(to[c] - pi[c]);
        }
        memcpy(pi, to, (size_t)d->contexts * sizeof *pi);
    }
    free(to);
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted");
    if (change > MARKOV_TOLERANCE)
        return hy_error(
            HY_EINPUT,
            "the chain forgets its start too slowly to find its stationary distribution; raise smoothing or branch");
    return HY_OK;
}

static double row_entropy(const markov_options *o, const markov_data *d, int c) {
    double floor_p = o->smoothing / o->vocab, h = 0;
    const double *p = d->p + (size_t)c * (size_t)o->branch;
    for (int j = 0; j < o->branch; j++) {
        double q = (1 - o->smoothing) * p[j] + floor_p;
        h -= q * log(q);
    }
    return h - (o->vocab - o->branch) * floor_p * log(floor_p);
}

static hy_status sizes_check(const markov_options *o, markov_data *d) {
    if (o->branch > o->vocab)
        return hy_error(HY_EINPUT, "branch: %d successors, but only %d tokens", o->branch, o->vocab);
    int64_t n = 1;
    for (int i = 0; i < o->order; i++) {
        d->suffixes = (int)n;
        n *= o->vocab;
        if (n * o->branch > MARKOV_MAX_TABLE)
            return hy_error(HY_EINPUT, "vocab^order * branch is more than the %d entries that a table may have",
                            MARKOV_MAX_TABLE);
    }
    d->contexts = (int)n;
    const hy_ints *lists[] = {&o->train, &o->test};
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < lists[l]->n; i++)
            if (lists[l]->v[i] < o->order)
                return hy_error(HY_EINPUT, "%s: length %d is below the order %d, so no token could be predicted",
                                l ? "test" : "train", lists[l]->v[i], o->order);
    return HY_OK;
}

static hy_status markov_setup(hy_task *t) {
    const markov_options *o = t->options;
    markov_data *d = t->data = hy_xcalloc(1, sizeof *d);
    HY_TRY(sizes_check(o, d));
    HY_TRY(hy_task_lengths(t, HY_SPLIT_TRAIN, &o->train, &o->train_examples, 0, NAN, "T"));
    HY_TRY(hy_task_lengths(t, HY_SPLIT_EVAL, &o->test, &o->test_examples, 0, NAN, "T"));
    HY_TRY(hy_task_weights(t, &o->weights));
    size_t entries = (size_t)d->contexts * (size_t)o->branch;
    d->next = hy_xcalloc(entries, sizeof *d->next);
    d->p = hy_xcalloc(entries, sizeof *d->p);
    d->up_to = hy_xcalloc(entries, sizeof *d->up_to);
    d->start = hy_xcalloc((size_t)d->contexts, sizeof *d->start);
    table_draw(o, d);
    HY_TRY(stationary(o, d, d->start));
    double h = 0, run = 0;
    for (int c = 0; c < d->contexts; c++) {
        h += d->start[c] * row_entropy(o, d, c);
        d->start[c] = run += d->start[c];
    }
    t->vocab = o->vocab;
    t->entropy = h;
    return HY_OK;
}

// The first i with u below up_to[i]; rounding may leave u past the last.
static int draw_from(const double *up_to, int n, double u) {
    int lo = 0, hi = n - 1;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (u < up_to[mid])
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static hy_status markov_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                                int32_t *labels) {
    (void)index;
    const markov_options *o = t->options;
    const markov_data *d = t->data;
    int T = t->cells[s][cell].T, k = o->order, c = draw_from(d->start, d->contexts, hy_rng_uniform(r));
    for (int i = k - 1, rest = c; i >= 0; i--, rest /= o->vocab) ids[i] = rest % o->vocab;
    for (int i = 0; i < k - 1; i++) labels[i] = HY_IGNORE;
    for (int i = k - 1; i < T; i++) {
        int y =
            hy_rng_uniform(r) < o->smoothing
                ? (int)hy_rng_below(r, (uint64_t)o->vocab)
                : d->next[(size_t)c * (size_t)o->branch +
                          (size_t)draw_from(d->up_to + (size_t)c * (size_t)o->branch, o->branch, hy_rng_uniform(r))];
        labels[i] = y;
        if (i + 1 < T) ids[i + 1] = y;
        c = c % d->suffixes * o->vocab + y;
    }
    return HY_OK;
}

double hy_task_markov_prob(const hy_task *t, const int32_t *context, int32_t next) {
    HY_ASSERT(t->def == &hy_task_markov);
    const markov_options *o = t->options;
    const markov_data *d = t->data;
    size_t c = 0;
    for (int i = 0; i < o->order; i++) c = c * (size_t)o->vocab + (size_t)context[i];
    double q = o->smoothing / o->vocab;
    for (int j = 0; j < o->branch; j++)
        if (d->next[c * (size_t)o->branch + (size_t)j] == next)
            q += (1 - o->smoothing) * d->p[c * (size_t)o->branch + (size_t)j];
    return q;
}

const hy_task_kind_def hy_task_markov = {
    .name = "markov",
    .about = "next token of a Markov chain whose entropy is known exactly",
    .fields = markov_fields,
    .options_size = sizeof(markov_options),
    .setup = markov_setup,
    .example = markov_example,
    .release = markov_release,
};
