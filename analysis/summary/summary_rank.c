// summary_rank.c - rank correlations with the paper's figures and pairs of variants told apart, in words, for the table
// of a run and for the report. See summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"

static void permute(int *rank, int n, int k, double at_least, long *hits, long *all) {
    if (k == n) {
        double d2 = 0;
        for (int i = 0; i < n; i++) d2 += (double)(rank[i] - i) * (rank[i] - i);
        *hits += fabs(1 - 6 * d2 / ((double)n * (n * n - 1.0))) >= at_least - 1e-12;
        ++*all;
        return;
    }
    for (int i = k; i < n; i++) {
        int t = rank[k];
        rank[k] = rank[i], rank[i] = t;
        permute(rank, n, k + 1, at_least, hits, all);
        t = rank[k];
        rank[k] = rank[i], rank[i] = t;
    }
}

double hy_rank_chance(double rho, int n) {
    enum { EXACT = 8 };
    if (n < 3 || isnan(rho)) return NAN;
    if (n > EXACT) return erfc(fabs(rho) * sqrt((n - 1) / 2.0));
    int rank[EXACT];
    long hits = 0, all = 0;
    for (int i = 0; i < n; i++) rank[i] = i;
    permute(rank, n, 0, fabs(rho), &hits, &all);
    return (double)hits / (double)all;
}

char *hy_summary_rank_text(const hy_summary *s, const char *task, bool first_task, const char *paper) {
    int n;
    const char *metric = hy_summary_counterpart(paper);
    const double rho = hy_summary_rank(s, task, metric, paper, &n), p = hy_rank_chance(rho, n);
    const bool score = !strcmp(metric, "accuracy") || !strcmp(metric, "loss"), cache = !strncmp(metric, "cache", 5);
    if (isnan(rho) || n < 3 || (!score && !first_task)) return NULL;
    hy_buf b = {0};
    hy_buf_printf(&b, "rank correlation (Spearman) of ");
    if (score)
        hy_buf_printf(&b, "%s%s on %s", *s->tune_by ? "held-out " : "", metric, task);
    else
        hy_buf_printf(&b, "%s", cache ? "the cache in the paper's accounting" : "decoding throughput");
    hy_buf_printf(&b, " with the paper's %s: %.2f over n = %d variants", paper, rho, n);
    if (!cache)  // a cache is arithmetic; what is measured is held against chance
        hy_buf_printf(&b, "; a random order is at least as far from 0 with probability %.2g%s", p,
                      p > 0.05 ? ", so this is no evidence of agreement or disagreement" : "");
    return b.s;
}

char *hy_summary_pairs_text(const hy_summary *s, const char *task, const char *metric) {
    int pairs = 0, apart = 0;
    for (int i = 0; i < s->n_rows; i++)
        for (int j = 0; j < i; j++) {
            const hy_summary_row *a = &s->rows[i], *b = &s->rows[j];
            if (!a->best || !b->best || strcmp(a->task, task) || strcmp(b->task, task)) continue;
            const hy_summary_value *v = hy_summary_fair(a, metric), *w = hy_summary_fair(b, metric);
            if (!v || !w || v->n < 2 || w->n < 2) continue;
            pairs++;
            apart += fabs(v->stat.mean - w->stat.mean) >
                     2 * sqrt(v->stat.sd * v->stat.sd / v->n + w->stat.sd * w->stat.sd / w->n);
        }
    if (pairs == 0) return NULL;
    return hy_asprintf("on %s, %d of %d pairs of variants differ in %s%s by more than twice the standard error of "
                       "their difference over seeds; "
                       "the other pairs are not told apart",
                       task, apart, pairs, *s->tune_by ? "held-out " : "", metric);
}
