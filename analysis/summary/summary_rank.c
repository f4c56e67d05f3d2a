// summary_rank.c - rank correlations with the paper's figures, and how likely chance does as well, for the table of a
// run and for the report. See summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/student.h"
#include "analysis/summary/summary.h"

// Means over the same values in another order differ by their rounding: that is no order.
static int order(double a, double b) { return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b)) ? 0 : a < b ? -1 : 1; }

// Rank of each value from 1; equal values share the mean of their ranks.
static void ranks(const double *v, int n, double *r) {
    for (int i = 0; i < n; i++) {
        int less = 0, equal = 0;
        for (int j = 0; j < n; j++) {
            less += order(v[j], v[i]) < 0;
            equal += order(v[j], v[i]) == 0;
        }
        r[i] = less + (equal + 1) / 2.0;
    }
}

static double product(const double *a, const double *b, int n) {  // about the mean rank
    const double m = (n + 1) / 2.0;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (a[i] - m) * (b[i] - m);
    return sum;
}

double hy_spearman(const double *a, const double *b, int n) {
    if (n < 2) return NAN;
    double *ra = hy_xcalloc(2 * (size_t)n, sizeof *ra), *rb = ra + n;
    ranks(a, n, ra);
    ranks(b, n, rb);
    const double aa = product(ra, ra, n), bb = product(rb, rb, n), ab = product(ra, rb, n);
    free(ra);
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}

// Every order of b's ranks from place k on: how many there are, and how many reach the product of the data. Sums of
// quarters are exact.
static void permute(const double *a, double *b, int n, int k, double reach, long *hits, long *all) {
    if (k == n) {
        *hits += fabs(product(a, b, n)) >= reach;
        ++*all;
        return;
    }
    for (int i = k; i < n; i++) {
        const double t = b[k];
        b[k] = b[i], b[i] = t;
        permute(a, b, n, k + 1, reach, hits, all);
        b[i] = b[k], b[k] = t;
    }
}

double hy_spearman_chance(const double *a, const double *b, int n) {
    enum { EXACT = 9 };  // 9! orders take some milliseconds
    const double rho = hy_spearman(a, b, n);
    if (n < 3 || isnan(rho)) return NAN;
    if (n > EXACT) return hy_student_two_sided(rho * sqrt((n - 2) / fmax(0, 1 - rho * rho)), n - 2);
    double ra[EXACT], rb[EXACT];
    long hits = 0, all = 0;
    ranks(a, n, ra);
    ranks(b, n, rb);
    permute(ra, rb, n, 0, fabs(product(ra, rb, n)), &hits, &all);
    return (double)hits / (double)all;
}

// ---------------------------------------------------------------------------------------------------- of variants
double hy_summary_paper_value(const hy_summary *s, const char *variant, const char *name) {
    for (int i = 0; i < s->n_paper; i++)
        if (!strcmp(s->paper[i].variant, variant) && !strcmp(s->paper[i].name, name)) return s->paper[i].value;
    return NAN;
}

const char *hy_summary_counterpart(const char *paper) {
    return strstr(paper, "cache")        ? "cache_paper"
           : strstr(paper, "throughput") ? "throughput_decode"
           : strstr(paper, "ppl")        ? "loss"
                                         : "accuracy";
}

hy_summary_rank hy_summary_rank_of(const hy_summary *s, const char *task, const char *metric, const char *paper) {
    double *a = hy_xcalloc(2 * (size_t)(s->n_rows + 1), sizeof *a), *b = a + s->n_rows;
    const bool whole = strncmp(metric, "throughput", 10) != 0;
    hy_summary_rank r = {0};
    for (int i = 0; i < s->n_rows; i++) {
        if (!s->rows[i].best || strcmp(s->rows[i].task, task)) continue;
        const hy_summary_value *v =
            whole ? hy_summary_fair(s, &s->rows[i], metric) : hy_summary_get(&s->rows[i], metric, NULL);
        const double p = hy_summary_paper_value(s, s->rows[i].variant, paper);
        if (!v || isnan(p)) continue;
        a[r.n] = v->stat.mean;
        b[r.n++] = p;
    }
    r.rho = hy_spearman(a, b, r.n);
    r.chance = hy_spearman_chance(a, b, r.n);
    free(a);
    return r;
}

char *hy_summary_rank_text(const hy_summary *s, const char *task, bool first_task, const char *paper) {
    const char *metric = hy_summary_counterpart(paper);
    const hy_summary_rank r = hy_summary_rank_of(s, task, metric, paper);
    const bool score = !strcmp(metric, "accuracy") || !strcmp(metric, "loss"), cache = !strncmp(metric, "cache", 5);
    if (isnan(r.rho) || r.n < 3 || (!score && !first_task)) return NULL;
    hy_buf b = {0};
    hy_buf_printf(&b, "rank correlation (Spearman) of ");
    if (score)
        hy_buf_printf(&b, "%s%s on %s", hy_summary_holds_out(s, metric) ? "held-out " : "", metric, task);
    else
        hy_buf_printf(&b, "%s", cache ? "the cache in the paper's accounting" : "decoding throughput");
    hy_buf_printf(&b, " with the paper's %s: %.2f over n = %d variants", paper, r.rho, r.n);
    if (!cache)  // a cache is arithmetic; what is measured is held against chance
        hy_buf_printf(&b, "; a random order is at least as far from 0 with probability %.2g%s", r.chance,
                      r.chance > 0.05 ? ", so this is no evidence of agreement or disagreement" : "");
    return b.s;
}
