// summary_stat.c - mean, standard deviation and interval, and lists of values by seed. See summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/student.h"
#include "analysis/summary/summary_impl.h"

// mean -+ half within [0, 1]. An error of the mean is that of asin(sqrt(mean)) times the derivative, the first order of
// Taylor's series. (Transforming the values instead would give an interval of another quantity, the back-transformed
// mean of the transformed values: for values near 1 it leaves the mean of the values out as seeds get more.)
static void interval_of_share(hy_stat *s, double half) {
    if (s->mean <= 0 || s->mean >= 1) return;  // of values from 0 to 1 only if all are equal
    const double at = asin(sqrt(s->mean)), h = half / (2 * sqrt(s->mean * (1 - s->mean)));
    const double lo = sin(fmax(at - h, 0)), hi = sin(fmin(at + h, asin(1)));
    s->lo = lo * lo, s->hi = hi * hi;
}

hy_stat hy_stat_of(const double *v, int n, hy_range range) {
    hy_stat s = {.mean = NAN, .sd = NAN, .n = n, .lo = NAN, .hi = NAN};
    if (n == 0) return s;
    double sum = 0, sq = 0;
    bool equal = true;
    for (int i = 0; i < n; i++) sum += v[i], equal = equal && v[i] == v[0];
    s.mean = equal ? v[0] : sum / n;  // a third of three times 0.1 is not 0.1
    for (int i = 0; i < n; i++) sq += (v[i] - s.mean) * (v[i] - s.mean);
    if (n > 1) s.sd = sqrt(sq / (n - 1));
    if (n < HY_STAT_LEAST || equal) return s;
    const double half = hy_student_quantile((1 + HY_STAT_LEVEL) / 2, n - 1) * s.sd / sqrt(n);
    if (range == HY_SHARE) {
        interval_of_share(&s, half);
    } else if (range == HY_COSINE) {  // that of the share (1 + cosine) / 2
        hy_stat share = {.mean = (1 + s.mean) / 2, .lo = NAN, .hi = NAN};
        interval_of_share(&share, half / 2);
        s.lo = 2 * share.lo - 1, s.hi = 2 * share.hi - 1;
    } else {
        s.lo = range == HY_POSITIVE ? fmax(s.mean - half, 0) : s.mean - half;
        s.hi = s.mean + half;
    }
    return s;
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
const hy_summary_value *hy_summary_get_set(const hy_summary_row *r, const char *metric, const char *cell, int set) {
    const hy_summary_value *best = NULL;
    for (int i = 0; i < r->n_values; i++) {
        const hy_summary_value *v = &r->values[i];
        if (strcmp(v->metric, metric) || (cell && strcmp(v->cell, cell)) || v->set != set) continue;
        if (!best || v->x > best->x || (v->x == best->x && v->y > best->y)) best = v;
    }
    return best;
}

// Of a given cell the experiment's first set, also where a row lacks it: figures of different options are not compared.
// Of any cell the largest of any set.
const hy_summary_value *hy_summary_get(const hy_summary_row *r, const char *metric, const char *cell) {
    const hy_summary_value *best = NULL;
    for (int i = 0; i < r->n_values; i++) {
        const hy_summary_value *v = &r->values[i];
        if (strcmp(v->metric, metric) || (cell && strcmp(v->cell, cell))) continue;
        const bool larger = best && (v->x > best->x || (v->x == best->x && v->y > best->y));
        const bool same_place = best && !(v->x < best->x || v->x > best->x || v->y < best->y || v->y > best->y);
        if (cell && v->set) continue;
        if (!best || larger || (same_place && v->set < best->set)) best = v;
    }
    return best;
}
