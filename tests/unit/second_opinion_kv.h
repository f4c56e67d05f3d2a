// second_opinion_kv.h - how alike keys and values of two layers are, from the values of plain_model.h: by matrices of
// positions against positions, where the measure has channels against channels.
#ifndef HY_SECOND_OPINION_KV_H
#define HY_SECOND_OPINION_KV_H
#include "tests/unit/second_opinion.h"

static inline bool is_kv(const char *metric) {
    return !strcmp(metric, "key_cosine") || !strcmp(metric, "value_cosine") || !strcmp(metric, "key_cka") ||
           !strcmp(metric, "value_cka");
}

// [n, n] of dot products of the positions of x [n, d]; with their means taken off, or 0 on the diagonal.
static inline double *gram_of(const double *x, int n, int d, bool debiased) {
    double *k = hy_xcalloc((size_t)n * (size_t)n, sizeof *k), *c = hy_xcalloc((size_t)n * (size_t)n, sizeof *c);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (int e = 0; e < d; e++) k[i * n + j] += i == j && debiased ? 0 : x[i * d + e] * x[j * d + e];
    for (int i = 0; i < n && !debiased; i++)
        for (int j = 0; j < n; j++) {
            double row = 0, column = 0, all = 0;
            for (int a = 0; a < n; a++) row += k[i * n + a] / n, column += k[a * n + j] / n;
            for (int a = 0; a < n * n; a++) all += k[a] / (n * n);
            c[i * n + j] = k[i * n + j] - row - column + all;
        }
    if (debiased) memcpy(c, k, (size_t)n * (size_t)n * sizeof *c);
    free(k);
    return c;
}

static inline double hsic_of(const double *k, const double *l, int n, bool debiased) {
    double trace = 0, ones = 0, k_sum = 0, l_sum = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            trace += k[i * n + j] * l[j * n + i];
            k_sum += k[i * n + j], l_sum += l[i * n + j];
            for (int a = 0; a < n; a++) ones += k[i * n + a] * l[a * n + j];
        }
    if (!debiased) return trace;
    return (trace + k_sum * l_sum / ((n - 1) * (n - 2)) - 2 * ones / (n - 2)) / (n * (n - 3));
}

static inline double cka_of(const double *x, int p, const double *y, int q, int n, bool debiased) {
    double *k = gram_of(x, n, p, debiased), *l = gram_of(y, n, q, debiased);
    const double v = hsic_of(k, l, n, debiased) / sqrt(hsic_of(k, k, n, debiased) * hsic_of(l, l, n, debiased));
    free(k), free(l);
    return v;
}

static inline double cosine_of(const double *x, const double *y, int n, int heads, int d) {
    double mean = 0;
    for (int h = 0; h < heads; h++)
        for (int t = 0; t < n; t++) {
            double xy = 0, xx = 0, yy = 0;
            for (int c = 0; c < d; c++) {
                const double a = x[t * heads * d + h * d + c], b = y[t * heads * d + h * d + c];
                xy += a * b, xx += a * a, yy += b * b;
            }
            mean += xy / sqrt(xx) / sqrt(yy) / (heads * n);
        }
    return mean;
}

// "layer1.layer3"
static inline double alike(const figure *f, const plain_run *r, int end) {
    int layer[2];
    assert_int_equal(sscanf(f->cell, "layer%d.layer%d", &layer[0], &layer[1]), 2);
    const bool keys = !strncmp(f->metric, "key", 3), all = option_is(f->options, "positions", "all");
    const int first = all ? 0 : r->m->meta_tokens, n = end - first;
    const double *x[2];
    int heads[2], d[2];
    for (int i = 0; i < 2; i++) {
        const hy_layer_spec *l = &r->m->layers[r->m->layers[layer[i]].kv_source];
        const plain_layer *o = &r->layer[r->m->layers[layer[i]].kv_source];
        heads[i] = l->kv_heads, d[i] = keys ? l->d_qk : l->d_v;
        x[i] = (!keys ? o->v : option_is(f->options, "keys", "rotated") ? o->k : o->k_raw) + first * heads[i] * d[i];
    }
    if (strstr(f->metric, "cosine")) return cosine_of(x[0], x[1], n, heads[0], d[0]);
    return cka_of(x[0], heads[0] * d[0], x[1], heads[1] * d[1], n, option_is(f->options, "cka", "debiased"));
}
#endif
