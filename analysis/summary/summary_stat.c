// summary_stat.c - mean, standard deviation and rank correlation, and lists of values by seed. See summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary_impl.h"

hy_stat hy_stat_of(const double *v, int n) {
    hy_stat s = {.mean = NAN, .sd = NAN, .n = n};
    if (n == 0) return s;
    double sum = 0, sq = 0;
    for (int i = 0; i < n; i++) sum += v[i];
    s.mean = sum / n;
    for (int i = 0; i < n; i++) sq += (v[i] - s.mean) * (v[i] - s.mean);
    if (n > 1) s.sd = sqrt(sq / (n - 1));
    return s;
}

// Rank of each value from 1; equal values share the mean of their ranks.
static void ranks(const double *v, int n, double *r) {
    for (int i = 0; i < n; i++) {
        int less = 0, equal = 0;
        for (int j = 0; j < n; j++) {
            less += v[j] < v[i];
            equal += v[j] == v[i];
        }
        r[i] = less + (equal + 1) / 2.0;
    }
}

double hy_spearman(const double *a, const double *b, int n) {
    if (n < 2) return NAN;
    double *ra = hy_xcalloc(2 * (size_t)n, sizeof *ra), *rb = ra + n;
    ranks(a, n, ra);
    ranks(b, n, rb);
    double m = (n + 1) / 2.0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ab += (ra[i] - m) * (rb[i] - m);
        aa += (ra[i] - m) * (ra[i] - m);
        bb += (rb[i] - m) * (rb[i] - m);
    }
    free(ra);
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}

// ---------------------------------------------------------------------------------------------------- values by seed
hy_summary_value *hy_summary_value_add(hy_summary_row *r) {
    r->values = hy_xrealloc(r->values, (size_t)(r->n_values + 1) * sizeof *r->values);
    return &r->values[r->n_values++];
}

void hy_summary_value_push(hy_summary_value *v, int64_t seed, double value) {
    v->v = hy_xrealloc(v->v, (size_t)(v->n + 1) * sizeof *v->v);
    v->seed = hy_xrealloc(v->seed, (size_t)(v->n + 1) * sizeof *v->seed);
    v->seed[v->n] = seed;
    v->v[v->n++] = value;
}

// ---------------------------------------------------------------------------------------------------- questions
const hy_summary_value *hy_summary_get(const hy_summary_row *r, const char *metric, const char *cell) {
    const hy_summary_value *best = NULL;
    for (int i = 0; i < r->n_values; i++) {
        const hy_summary_value *v = &r->values[i];
        if (strcmp(v->metric, metric) || (cell && strcmp(v->cell, cell))) continue;
        if (!best || v->x > best->x || (v->x == best->x && v->y > best->y)) best = v;
    }
    return best;
}
