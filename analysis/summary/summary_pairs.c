// summary_pairs.c - which variants differ by more than chance: paired t intervals over the seeds that two of them
// share, Holm's correction over the pairs of a table. See summary.h.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/student.h"
#include "analysis/summary/summary.h"

// The differences a - b of the seeds that both have; d: room for a->n. size: the largest value among them.
static int differences(const hy_summary_value *a, const hy_summary_value *b, double *d, double *size) {
    int n = 0;
    *size = 0;
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++) {
            if (a->seed[i] != b->seed[k]) continue;
            *size = fmax(*size, fmax(fabs(a->v[i]), fabs(b->v[k])));
            d[n++] = a->v[i] - b->v[k];
        }
    return n;
}

static hy_summary_pair compare(const hy_summary_row *a, const hy_summary_row *b, const hy_summary_value *v,
                               const hy_summary_value *w) {
    hy_summary_pair p = {.a = a, .b = b, .t = NAN, .p = NAN, .p_holm = NAN};
    double *d = hy_xcalloc((size_t)v->n + 1, sizeof *d), size;
    p.n = differences(v, w, d, &size);
    p.difference = hy_stat_of(d, p.n, HY_REAL);
    free(d);
    hy_stat *s = &p.difference;
    if (p.n < HY_STAT_LEAST) return p;
    if (s->sd <= 8 * DBL_EPSILON * size) {  // differences that are equal but for their rounding
        s->sd = 0, s->lo = s->hi = NAN;
        return p;
    }
    p.t = s->mean / (s->sd / sqrt(p.n));
    p.p = hy_student_two_sided(p.t, p.n - 1);
    const double most = v->range == HY_SHARE ? 1 : v->range == HY_COSINE ? 2 : INFINITY;
    s->lo = fmax(s->lo, -most), s->hi = fmin(s->hi, most);
    return p;
}

static int by_p(const void *a, const void *b) {
    const hy_summary_pair *x = *(hy_summary_pair *const *)a, *y = *(hy_summary_pair *const *)b;
    return (x->p > y->p) - (x->p < y->p);
}

// Holm (1979): of m probabilities the k-th smallest times (m - k), k from 0; none below the one before it.
static void correct(hy_summary_pairs *out) {
    hy_summary_pair **order = hy_xcalloc((size_t)out->n + 1, sizeof *order);
    for (int i = 0; i < out->n; i++)
        if (!isnan(out->v[i].p)) order[out->tested++] = &out->v[i];
    qsort(order, (size_t)out->tested, sizeof *order, by_p);
    double last = 0;
    for (int k = 0; k < out->tested; k++) {
        last = fmax(last, fmin(1, (out->tested - k) * order[k]->p));
        order[k]->p_holm = last;
        order[k]->apart = last < 1 - HY_STAT_LEVEL;
    }
    free(order);
}

const char *hy_summary_compared(const hy_summary *s, int k) {
    return k == 0 ? "accuracy" : k == 1 && *s->tune_by && strcmp(s->tune_by, "accuracy") ? s->tune_by : NULL;
}

hy_summary_pairs hy_summary_pairs_of(const hy_summary *s, const char *metric) {
    hy_summary_pairs out = {0};
    for (int i = 0; i < s->n_rows; i++)
        for (int j = i + 1; j < s->n_rows; j++) {
            const hy_summary_row *a = &s->rows[i], *b = &s->rows[j];
            if (!a->best || !b->best || a->task_ord != b->task_ord) continue;
            const hy_summary_value *v = hy_summary_fair(s, a, metric), *w = hy_summary_fair(s, b, metric);
            if (!v || !w) continue;
            out.v = hy_xrealloc(out.v, (size_t)(out.n + 1) * sizeof *out.v);
            out.v[out.n++] = compare(a, b, v, w);
        }
    correct(&out);
    return out;
}

// ---------------------------------------------------------------------------------------------------- in words
typedef struct {
    int pairs, tested, apart, few, equal, n_min, n_max;
} counts;

static counts count(const hy_summary_pairs *p, const char *task) {
    counts c = {.n_min = 1 << 30};
    for (int i = 0; i < p->n; i++) {
        const hy_summary_pair *one = &p->v[i];
        if (strcmp(one->a->task, task)) continue;
        c.pairs++;
        c.few += one->n < HY_STAT_LEAST;
        c.equal += one->n >= HY_STAT_LEAST && isnan(one->p);
        if (isnan(one->p)) continue;
        c.tested++, c.apart += one->apart;
        if (one->n < c.n_min) c.n_min = one->n;
        if (one->n > c.n_max) c.n_max = one->n;
    }
    return c;
}

static void say_range(hy_buf *b, int from, int to) {
    if (from == to)
        hy_buf_printf(b, "%d", from);
    else
        hy_buf_printf(b, "%d to %d", from, to);
}

// "Llama above Mamba by 3.10 [1.20, 5.00] percentage points": the better one first.
static void say_apart(hy_buf *b, const hy_summary_pairs *p, const char *task, const hy_metric_def *d) {
    enum { NAMED = 5 };
    const bool lower = !strcmp(d->direction, "lower");
    // a difference of two shares is no share of either
    const char *unit = !strcmp(d->unit_shown, "%") ? "percentage points" : d->unit_shown;
    int named = 0, more = 0;
    for (int i = 0; i < p->n; i++) {
        const hy_summary_pair *one = &p->v[i];
        if (!one->apart || strcmp(one->a->task, task)) continue;
        if (named == NAMED) {
            more++;
            continue;
        }
        const bool turn = lower != (one->difference.mean < 0);
        const hy_summary_row *first = turn ? one->b : one->a, *second = turn ? one->a : one->b;
        const hy_stat *x = &one->difference;
        const double lo = fmin(fabs(x->lo), fabs(x->hi)), hi = fmax(fabs(x->lo), fabs(x->hi));
        hy_buf_printf(b, "%s%s %s %s by %.*f [%.*f, %.*f]%s%s", named++ ? "; " : ": ", first->variant,
                      lower ? "below" : "above", second->variant, d->decimals, d->scale * fabs(x->mean), d->decimals,
                      d->scale * lo, d->decimals, d->scale * hi, strcmp(unit, "1") ? " " : "",
                      strcmp(unit, "1") ? unit : "");
    }
    if (more) hy_buf_printf(b, "; and %d more", more);
}

static void say_not_compared(hy_buf *b, const counts *c) {
    if (c->few)
        hy_buf_printf(b, "; %d %s fewer than %d seeds in common: nothing is claimed", c->few,
                      c->few == 1 ? "pair has" : "pairs have", HY_STAT_LEAST);
    if (c->equal)
        hy_buf_printf(b,
                      "; %d %s differences without any spread, which says nothing of the spread that other seeds would "
                      "show: nothing is claimed",
                      c->equal, c->equal == 1 ? "pair has" : "pairs have");
}

char *hy_summary_pairs_text(const hy_summary *s, const char *task, const char *metric) {
    hy_summary_pairs p = hy_summary_pairs_of(s, metric);
    const counts c = count(&p, task);
    const hy_metric_def *d = hy_metric_find(metric);
    hy_buf b = {0};
    if (c.pairs && d) {
        hy_buf_printf(&b, "on %s, %d of %d %s of variants told apart in %s%s", task, c.apart, c.pairs,
                      c.pairs == 1 ? "pair" : "pairs", hy_summary_holds_out(s, metric) ? "held-out " : "", metric);
        if (c.tested) {
            hy_buf_printf(&b, " (paired t intervals over n = ");
            say_range(&b, c.n_min, c.n_max);
            hy_buf_printf(&b, " shared seeds, ");
            say_range(&b, c.n_min - 1, c.n_max - 1);
            hy_buf_printf(&b, " degrees of freedom; Holm's correction over the %d %s of the table, level %g %%)",
                          p.tested, p.tested == 1 ? "pair" : "pairs", 100 * (1 - HY_STAT_LEVEL));
        }
        say_apart(&b, &p, task, d);
        say_not_compared(&b, &c);
    }
    free(p.v);
    return b.s;
}
