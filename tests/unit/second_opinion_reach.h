// second_opinion_reach.h - spans, distances and half-lives once more, from the values of plain_model.h.
#ifndef HY_SECOND_OPINION_REACH_H
#define HY_SECOND_OPINION_REACH_H
#include "tests/unit/second_opinion_maps.h"

static inline bool is_reach(const char *metric) {
    return !strcmp(metric, "span") || !strcmp(metric, "mean_distance") || !strncmp(metric, "half_life", 9) ||
           !strcmp(metric, "long_memory");
}

// The smallest distance whose keys hold a share of what row i has from `first` on.
static inline double span_of(const double *row, int i, int first, double share) {
    double all = 0;
    for (int j = first; j <= i; j++) all += row[j];
    for (int d = 0;; d++) {
        double near = 0;
        for (int j = first; j <= i; j++) near += i - j <= d ? row[j] : 0;
        if (near >= share * all * (1 - 1e-12) || i - d <= first) return d;
    }
}

static inline double look_back(const figure *f, const plain_run *r, int end) {
    const int layer = layer_of(f), M = r->m->meta_tokens;
    const bool ssm = !strcmp(f->kind, "ssm");
    const int first = option_is(f->options, "meta", "renormalised") ? M : 0;
    const int units = f->head >= 0 ? 1 : ssm ? r->layer[layer].units : r->m->layers[layer].heads;
    const int asked = option_int(f->options, "rows", 1), rows = asked < end - M ? asked : end - M;
    const double share = *option(f->options, "mass") ? atof(option(f->options, "mass")) : 0.9;
    double *row = hy_xcalloc((size_t)r->S, sizeof *row), sum = 0;
    for (int u = 0; u < units; u++)
        for (int i = end - rows; i < end; i++) {
            map_row(r, layer, ssm ? "ssm" : "attention", f->head >= 0 ? f->head : u, REDUCE_MEAN_ABS, false, i, row);
            sum += !strcmp(f->metric, "span") ? span_of(row, i, first, share) : distance_of(row, i, first);
        }
    free(row);
    return sum / units / rows;
}

// Tokens after which half is left, of each rate of the layer, in rising order; returns how many.
static inline int half_lives(const figure *f, const plain_run *r, int end, double *out) {
    const int layer = layer_of(f), first = option_is(f->options, "meta", "renormalised") ? r->m->meta_tokens : 0;
    const hy_layer_spec *l = &r->m->layers[layer];
    const plain_layer *o = &r->layer[layer];
    const int states = l->ssm_kind == HY_SSM_MAMBA2 ? 1 : l->d_state;
    int n = 0;
    for (int u = 0; u < o->units; u++)
        for (int s = 0; s < states; s++) {
            double product = 0, mean = 0, life;  // product: its logarithm
            for (int t = first; t < end; t++) {
                const double keeps = exp(plain_rate(r, layer, u, s) * o->delta[t * o->units + u]);
                product += log(keeps) / (end - first), mean += keeps / (end - first);
            }
            life = -log(2) / (option_is(f->options, "decay", "mean") ? log(mean) : product);
            int i = n++;
            for (; i > 0 && out[i - 1] > life; i--) out[i] = out[i - 1];
            out[i] = life;
        }
    return n;
}

static inline double remembered(const figure *f, const plain_run *r, int end) {
    double life[512], q;
    const int n = half_lives(f, r, end, life);
    assert_true(n <= 512);
    if (!strcmp(f->metric, "long_memory")) {
        const int T = end - (option_is(f->options, "meta", "renormalised") ? r->m->meta_tokens : 0);
        int longer = 0;
        for (int i = 0; i < n; i++) longer += life[i] >= T;
        return (double)longer / n;
    }
    assert_int_equal(sscanf(f->metric, "half_life_q%lf", &q), 1);
    const double at = q / 100 * (n - 1), below = floor(at);
    const int i = (int)below;
    return i + 1 < n ? life[i] * (below + 1 - at) + life[i + 1] * (at - below) : life[i];
}

static inline double reach_of(const figure *f, const plain_run *r, int end) {
    return strcmp(f->metric, "span") && strcmp(f->metric, "mean_distance") ? remembered(f, r, end)
                                                                           : look_back(f, r, end);
}
#endif
