// second_opinion_score.h - what a stored figure has to be, and accuracy and loss once more: from the logits of
// plain_model.h, example by example.
#ifndef HY_SECOND_OPINION_SCORE_H
#define HY_SECOND_OPINION_SCORE_H
#include "core/task/task_impl.h"
#include "tests/unit/second_opinion.h"

typedef struct {
    double value, se;
    int64_t n;
    double x, y;
    double tolerance;  // relative; of what float32 computed
} want;
static const want g_plain = {.se = NAN, .n = 1, .x = NAN, .y = NAN, .tolerance = 1e-4};

static inline want exactly(double value) {
    want w = g_plain;
    w.value = value;
    w.tolerance = 1e-12;
    return w;
}

// A mean over examples.
static inline want over_examples(const double *v, int n) {
    want w = g_plain;
    w.value = mean_of(v, n), w.se = error_of_mean(v, n), w.n = n;
    return w;
}

static inline int layer_of(const figure *f) {
    int layer = -1;
    sscanf(f->cell, "layer%d", &layer);
    return layer;
}

// ---------------------------------------------------------------------------------------------------- accuracy
typedef struct {
    int examples, labels;
    double accuracy[64], exact[64], nll[64], count[64], right;
} scores;

static inline void add_example(const example *e, int meta, scores *t) {
    int n = 0, right = 0;
    double nll = 0;
    for (int i = 0; i < e->T; i++) {
        int best;
        if (e->labels[i] < 0) continue;
        nll += plain_nll(&e->run, meta + i, e->labels[i], &best);
        right += best == e->labels[i];
        n++;
    }
    if (n == 0) return;
    t->accuracy[t->examples] = (double)right / n, t->exact[t->examples] = right == n;
    t->nll[t->examples] = nll, t->count[t->examples] = n;
    t->examples++, t->labels += n, t->right += right;
}

// Entropy of a Markov source, order 2: from its probabilities and the distribution that they leave unchanged.
static inline double source_entropy(const subject *s) {
    enum { MOST = 8 };
    const int V = hy_task_vocab(s->task);
    double pi[MOST][MOST], h = 0;
    assert_true(V <= MOST);
    for (int a = 0; a < V; a++)
        for (int b = 0; b < V; b++) pi[a][b] = a == 0 && b == 0;
    for (int round = 0; round < 3000; round++) {
        double to[MOST][MOST] = {{0}};
        for (int a = 0; a < V; a++)
            for (int b = 0; b < V; b++)
                for (int c = 0; c < V; c++) to[b][c] += pi[a][b] * hy_task_markov_prob(s->task, (int32_t[]){a, b}, c);
        memcpy(pi, to, sizeof pi);
    }
    for (int a = 0; a < V; a++)
        for (int b = 0; b < V; b++)
            for (int c = 0; c < V; c++) {
                const double p = hy_task_markov_prob(s->task, (int32_t[]){a, b}, c);
                h -= pi[a][b] * p * log(p);
            }
    return h;
}

static inline want score(subject *s, const figure *f) {
    const int most = option_int(f->options, "examples", 1 << 20);
    scores t = {0};
    want w = g_plain;
    bool found = false;
    for (int c = 0; c < s->n_cells; c++) {
        const hy_cell *cell = hy_task_cell(s->task, HY_SPLIT_EVAL, c);
        if (*f->cell && strcmp(f->cell, cell->name)) continue;
        found = true;
        if (*f->cell) w.x = cell->x, w.y = cell->y;
        for (int i = 0; i < s->n_examples[c] && i < most; i++)
            add_example(&s->examples[c][i], s->spec->meta_tokens, &t);
    }
    if (!found) fail_msg("no cell %s", f->cell);
    const double loss = mean_of(t.nll, t.examples) * t.examples / t.labels;
    double squares = 0;  // of the residuals of a ratio of two sums over examples
    for (int i = 0; i < t.examples; i++) squares += pow(t.nll[i] - loss * t.count[i], 2);
    const int n = t.examples;
    const double loss_se = n < 2 ? NAN : sqrt(squares / (n - 1) / n) / ((double)t.labels / n);
    w.n = t.labels;
    w.value = loss, w.se = loss_se;
    if (!strcmp(f->metric, "accuracy")) w.value = mean_of(t.accuracy, n), w.se = error_of_mean(t.accuracy, n), w.n = n;
    if (!strcmp(f->metric, "exact")) w.value = mean_of(t.exact, n), w.se = error_of_mean(t.exact, n), w.n = n;
    if (!strcmp(f->metric, "token_accuracy")) w.value = t.right / t.labels, w.se = NAN;
    if (!strncmp(f->metric, "bits_per", 8)) w.value /= 0.69314718055994531, w.se /= 0.69314718055994531;
    if (!strcmp(f->metric, "excess_loss")) w.value -= source_entropy(s);
    return w;
}

// A guess among the different values that an example asks for, all of which it shows.
static inline want guess(subject *s, const figure *f) {
    const int most = option_int(f->options, "examples", 1 << 20);
    double sum = 0;
    want w = exactly(0);
    w.n = 0;
    for (int c = 0; c < s->n_cells; c++) {
        const hy_cell *cell = hy_task_cell(s->task, HY_SPLIT_EVAL, c);
        if (*f->cell && strcmp(f->cell, cell->name)) continue;
        if (*f->cell) w.x = cell->x, w.y = cell->y;
        for (int i = 0; i < s->n_examples[c] && i < most; i++, w.n++) {
            const example *e = &s->examples[c][i];
            int different = 0;
            for (int a = 0; a < e->T; a++) {
                bool again = e->labels[a] < 0;
                for (int b = 0; b < a; b++) again = again || e->labels[b] == e->labels[a];
                different += !again;
            }
            sum += 1.0 / different;
        }
    }
    w.value = sum / (double)w.n;
    return w;
}
#endif
