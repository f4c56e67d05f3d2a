// summary_rank.c - rank correlations with the paper's figures in words, for the table of a run and for the report; see summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/summary.h"

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
    const bool accuracy = !strcmp(metric, "accuracy"), cache = !strncmp(metric, "cache", 5);
    if (isnan(rho) || n < 3 || (!accuracy && !first_task)) return NULL;
    hy_buf b = {0};
    hy_buf_printf(&b, "rank correlation (Spearman) of %s%s with the paper's %s: %.2f over n = %d variants",
                  cache ? "the cache in the paper's accounting" : accuracy ? "accuracy on " : "decoding throughput", accuracy ? task : "", paper, rho, n);
    if (!cache)  // a cache is arithmetic; what is measured is held against chance
        hy_buf_printf(&b, "; a random order is at least as far from 0 with probability %.2g%s", p,
                      p > 0.05 ? ", so this is no evidence of agreement or disagreement" : "");
    return b.s;
}
