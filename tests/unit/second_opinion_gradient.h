// second_opinion_gradient.h - gradients once more, by differences of plain_model.h in double: every number that enters
// a layer is moved up and down, one by one.
#ifndef HY_SECOND_OPINION_GRADIENT_H
#define HY_SECOND_OPINION_GRADIENT_H
#include "tests/unit/second_opinion_reach.h"
#include "tests/unit/second_opinion_score.h"

static inline bool is_gradient(const char *metric) { return !strncmp(metric, "gradient_", 9); }

// The number that is differentiated: r . row, or a logit (r NULL).
typedef struct {
    double r[64];
    int token, at, layer;  // token -1: a projection; layer: of what leaves it, -1: of the final norm's output
} gradient_of;

static inline double differentiated(const plain_run *run, const gradient_of *y) {
    const int d = run->m->d_model;
    const double *row = (y->layer < 0 ? run->hidden : run->stream[y->layer + 1]) + y->at * d;
    double sum = 0;
    if (y->token >= 0) return run->logits[y->at * run->m->vocab + y->token];
    for (int c = 0; c < d; c++) sum += y->r[c] * row[c];
    return sum;
}

static inline gradient_of what_of(const figure *f, const example *e, int number, int end) {
    gradient_of y = {.token = -1, .at = end - 1, .layer = strstr(f->cell, ".to") ? layer_of(f) : -1};
    const int V = e->run.m->vocab, M = e->run.m->meta_tokens;
    hy_rng rng = hy_rng_make(HY_GRADIENT_SEED, (uint64_t)number);
    for (int c = 0; c < e->run.m->d_model; c++) y.r[c] = (double)(float)hy_rng_normal(&rng);
    const bool label = option_is(f->options, "of", "label");
    while (label && e->labels[y.at - M] < 0) y.at--;
    if (y.layer >= 0) return y;
    if (label) y.token = e->labels[y.at - M];
    if (!option_is(f->options, "of", "top")) return y;
    const double *logits = e->run.logits + y.at * V;
    for (int v = y.token = 0; v < V; v++)
        if (logits[v] > logits[y.token]) y.token = v;
    return y;
}

// size[s] of one example, 0 after the position; returns the position. Those that were made are kept: many figures are
// of one of them.
static inline int gradient_sizes(const figure *f, const example *e, int number, int end, double *size) {
    enum { KEPT = 512 };
    static struct {
        char key[1200];
        double size[64];
    } kept[KEPT];
    static int n_kept;
    const char *dot = strchr(f->cell, '.');
    const gradient_of y = what_of(f, e, number, end);
    const int d = e->run.m->d_model, into = dot && !strcmp(dot, ".from") ? layer_of(f) : 0;
    char key[1200];
    snprintf(key, sizeof key, "%s %.17g %d %s %d %d", e->run.m->name, e->run.logits[0], number, f->options, y.layer,
             into);
    assert_true(end <= 64 && d <= 64 && n_kept < KEPT);
    for (int k = 0; k < n_kept; k++)
        if (!strcmp(kept[k].key, key)) {
            memcpy(size, kept[k].size, (size_t)end * sizeof *size);
            return y.at;
        }
    const double h = 1e-4;
    for (int s = 0; s < end; s++) {
        size[s] = 0;
        for (int c = 0; c < d && s <= y.at; c++) {
            double shift[64 * 64] = {0}, value[2];
            plain_weights w = *e->run.w;
            w.shift = shift, w.shift_at = into;
            for (int k = 0; k < 2; k++) {
                plain_run run;
                shift[s * d + c] = k ? h : -h;
                plain_forward(&w, e->ids, y.at + 1 - e->run.m->meta_tokens, &run);
                value[k] = differentiated(&run, &y);
                plain_run_free(&run);
            }
            const double g = (value[1] - value[0]) / (2 * h);
            size[s] += option_is(f->options, "norm", "l1") ? fabs(g) : g * g;
        }
        if (!option_is(f->options, "norm", "l1")) size[s] = sqrt(size[s]);
    }
    memcpy(kept[n_kept].size, size, (size_t)end * sizeof *size);
    snprintf(kept[n_kept++].key, sizeof key, "%s", key);
    return y.at;
}

// The distances that a cell "distanceN" stands for: N alone below 4, else half an octave.
static inline int last_of_range(int first) {
    int octave = 4;
    while (2 * octave <= first) octave *= 2;
    return first < 4 ? first : first + octave / 2 - 1;
}

static inline double gradient_figure(const figure *f, const example *e, int number, int end, int *longest) {
    double size[64], all = 0, part = 0;
    const int M = e->run.m->meta_tokens, first = option_is(f->options, "meta", "renormalised") ? M : 0;
    const int at = gradient_sizes(f, e, number, end, size);
    *longest = at - first;
    if (!strcmp(f->metric, "gradient_distance")) return distance_of(size, at, first);
    if (!strcmp(f->metric, "gradient_span")) return span_of(size, at, first, atof(option(f->options, "mass")));
    for (int s = first; s <= at; s++) all += size[s];
    for (int s = first; s < M; s++) part += size[s];
    if (!strcmp(f->metric, "gradient_meta")) return part / all;
    const int from = atoi(f->cell + strlen("distance"));
    int n = 0;
    part = 0;
    for (int back = from; back <= last_of_range(from) && back <= at - first; back++) part += size[at - back], n++;
    return part / n / all;
}

static inline want gradients(subject *s, const figure *f) {
    const int cell = option_int(f->options, "cell", 0), most = option_int(f->options, "examples", 8);
    double v[MOST_EXAMPLES];
    int n = 0, longest = 0;
    for (; n < s->n_examples[cell] && n < most; n++) {
        const example *e = &s->examples[cell][n];
        const int T = option_int(f->options, "max_len", 1 << 20);
        v[n] = gradient_figure(f, e, n, e->run.m->meta_tokens + (e->T < T ? e->T : T), &longest);
    }
    want w = over_examples(v, n);
    w.tolerance = fmax(w.tolerance, 2e-4);
    if (layer_of(f) >= 0) w.x = layer_of(f);
    if (strcmp(f->metric, "gradient_share")) return w;
    const int from = atoi(f->cell + strlen("distance")), last = last_of_range(from);
    w.x = from, w.y = last < longest ? last : longest;
    return w;
}

// A stored curve [distances, 3]: shares, their standard error, examples.
static inline void check_curve(const subject *s, const char *name, const char *options, const float *v, int rows) {
    figure f = {0};
    const int most = option_int(options, "examples", 8), cell = option_int(options, "cell", 0);
    snprintf(f.options, sizeof f.options, "%s", options);
    const char *layer = strstr(name, "layer");
    if (layer) snprintf(f.cell, sizeof f.cell, "%s", layer);
    double share[MOST_EXAMPLES][64];
    int n = 0, at = 0, first = 0;
    for (; n < most && n < s->n_examples[cell]; n++) {
        const example *e = &s->examples[cell][n];
        const int T = option_int(options, "max_len", 1 << 20), M = e->run.m->meta_tokens;
        double size[64], all = 0;
        first = option_is(options, "meta", "renormalised") ? M : 0;
        at = gradient_sizes(&f, e, n, M + (e->T < T ? e->T : T), size);
        for (int i = first; i <= at; i++) all += size[i];
        for (int i = first; i <= at; i++) share[n][at - i] = size[i] / all;
    }
    assert_int_equal(rows, at - first + 1);
    for (int d = 0; d < rows; d++) {
        double x[MOST_EXAMPLES];
        for (int k = 0; k < n; k++) x[k] = share[k][d];
        const float *row = v + 3 * d;
        if (!close_to((double)row[0], mean_of(x, n), 3e-4, 1e-6) ||
            !close_to((double)row[1], error_of_mean(x, n), 3e-3, 1e-6) || (int)row[2] != n)
            fail_msg("%s of %s, distance %d: %g +- %g of %g, wanted %g +- %g of %d", name, s->variant, d,
                     (double)row[0], (double)row[1], (double)row[2], mean_of(x, n), error_of_mean(x, n), n);
    }
}
#endif
