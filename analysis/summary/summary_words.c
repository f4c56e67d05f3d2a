// summary_words.c - what an experiment found, in plain words: the closing paragraph of `hylab run` and the first one of
// a report. Every number in it is one of the summary's. See summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"

typedef struct {
    const hy_summary *s;
    const char *task;
    int n, seeds_min, seeds_max;
    const hy_summary_row **row;      // [n] the best rows of the task that have an accuracy, the highest first
    const hy_summary_value **value;  // [n] theirs
} ranking;

static ranking ranking_of(const hy_summary *s, const char *task) {
    ranking r = {.s = s, .task = task, .seeds_min = 1 << 30};
    r.row = hy_xcalloc((size_t)s->n_rows + 1, sizeof *r.row);
    r.value = hy_xcalloc((size_t)s->n_rows + 1, sizeof *r.value);
    for (int i = 0; i < s->n_rows; i++) {
        const hy_summary_row *row = &s->rows[i];
        const hy_summary_value *v = hy_summary_fair(s, row, "accuracy");
        if (!row->best || strcmp(row->task, task) || !v || !v->n) continue;
        int k = r.n++;
        for (; k > 0 && r.value[k - 1]->stat.mean < v->stat.mean; k--)
            r.row[k] = r.row[k - 1], r.value[k] = r.value[k - 1];
        r.row[k] = row, r.value[k] = v;
        if (v->n < r.seeds_min) r.seeds_min = v->n;
        if (v->n > r.seeds_max) r.seeds_max = v->n;
    }
    return r;
}

// "94.03 % [84.90, 98.61]"
static void say_value(hy_buf *b, const hy_summary_value *v) {
    hy_buf_printf(b, "%.2f %%", 100 * v->stat.mean);
    if (!isnan(v->stat.lo)) hy_buf_printf(b, " [%.2f, %.2f]", 100 * v->stat.lo, 100 * v->stat.hi);
}

// "A, B and C" of the rows that are marked; "" if none is.
static char *names_of(const ranking *r, const bool *marked) {
    hy_buf b = {0};
    int left = 0;
    for (int i = 0; i < r->n; i++) left += marked[i];
    for (int i = 0; i < r->n; i++) {
        if (!marked[i]) continue;
        hy_buf_printf(&b, "%s%s", !b.n ? "" : left == 1 ? " and " : ", ", r->row[i]->variant);
        left--;
    }
    return b.s ? b.s : hy_xstrdup("");
}

static void say_ends(const ranking *r, hy_buf *b) {
    hy_buf_printf(b, "On %s, %s answers most: ", r->task, r->row[0]->variant);
    say_value(b, r->value[0]);
    if (r->n > 1) {
        hy_buf_printf(b, "; %s least: ", r->row[r->n - 1]->variant);
        say_value(b, r->value[r->n - 1]);
    }
    hy_buf_printf(b, " (means over ");
    if (r->seeds_min == r->seeds_max)
        hy_buf_printf(b, "%d seed%s", r->seeds_min, r->seeds_min == 1 ? "" : "s");
    else
        hy_buf_printf(b, "%d to %d seeds", r->seeds_min, r->seeds_max);
    hy_buf_printf(b, "%s).", r->seeds_max >= HY_STAT_LEAST ? "; in brackets, 95 % intervals" : "");
}

// Above a guess: all of the interval is.
static void say_chance(const ranking *r, hy_buf *b) {
    const hy_summary_value *chance = hy_summary_get(r->row[0], "accuracy_chance", "");
    if (!chance) return;
    hy_buf_printf(b, " A guess among the answers that an example offers is right in %.2f %%", 100 * chance->stat.mean);
    bool *below = hy_xcalloc((size_t)r->n, sizeof *below);
    int n = 0;
    for (int i = 0; i < r->n; i++) n += below[i] = !(r->value[i]->stat.lo > chance->stat.mean);
    char *names = names_of(r, below);
    if (r->seeds_max >= HY_STAT_LEAST) {
        if (!n)
            hy_buf_printf(b, "; %s above that", r->n == 1 ? "it is" : "all are");
        else
            hy_buf_printf(b, "; not shown to be above that: %s", names);
    }
    hy_buf_printf(b, ".");
    free(names), free(below);
}

// Of the pairs of the task: how many are told apart, and the best variant from which.
static void say_pairs(const ranking *r, hy_buf *b) {
    hy_summary_pairs p = hy_summary_pairs_of(r->s, "accuracy");
    bool *apart = hy_xcalloc((size_t)r->n + 1, sizeof *apart), *tied = hy_xcalloc((size_t)r->n + 1, sizeof *tied);
    int pairs = 0, tested = 0, told = 0, n_apart = 0, n_tied = 0;
    for (int i = 0; i < p.n; i++) {
        const hy_summary_pair *one = &p.v[i];
        if (strcmp(one->a->task, r->task)) continue;
        pairs++, tested += !isnan(one->p), told += one->apart;
        for (int k = 1; k < r->n; k++) {
            const bool these =
                (one->a == r->row[0] && one->b == r->row[k]) || (one->b == r->row[0] && one->a == r->row[k]);
            if (!these) continue;
            n_apart += apart[k] = one->apart;
            n_tied += tied[k] = !one->apart;
        }
    }
    char *from = names_of(r, apart), *alike = names_of(r, tied);
    if (tested) {
        hy_buf_printf(b, " %d of %d pairs of variants are told apart", told, pairs);
        if (n_apart)
            hy_buf_printf(b, ": %s from %s%s", r->row[0]->variant, from, told > n_apart ? ", among others" : "");
        hy_buf_printf(b, ".");
        if (n_tied) hy_buf_printf(b, " That %s comes first is not established against %s.", r->row[0]->variant, alike);
    } else if (pairs) {
        hy_buf_printf(b, " Which variants differ by more than chance cannot be told from so few seeds.");
    }
    free(from), free(alike), free(apart), free(tied), free(p.v);
}

static void say_paper(const ranking *r, hy_buf *b) {
    for (int i = 0; i < r->s->n_paper; i++) {
        const char *name = r->s->paper[i].name;
        bool again = false;
        for (int k = 0; k < i; k++) again = again || !strcmp(r->s->paper[k].name, name);
        if (again || strcmp(hy_summary_counterpart(name), "accuracy")) continue;
        const hy_summary_rank k = hy_summary_rank_of(r->s, r->task, "accuracy", name);
        if (isnan(k.rho) || k.n < 3) continue;
        hy_buf_printf(b, " Their order %s the paper's %s (rank correlation %.2f over %d variants, p %.2g).",
                      k.chance > 0.05 ? "neither supports nor contradicts"
                      : k.rho > 0     ? "agrees with"
                                      : "is against",
                      name, k.rho, k.n, k.chance);
    }
}

char *hy_summary_words(const hy_summary *s) {
    hy_buf b = {0};
    int missing = 0;
    for (int i = 0; i < s->n_rows; i++) {
        missing += s->rows[i].planned - s->rows[i].done;
        if (i > 0 && s->rows[i].task_ord == s->rows[i - 1].task_ord) continue;
        ranking r = ranking_of(s, s->rows[i].task);
        if (r.n) {
            hy_buf_printf(&b, "%s", b.n ? "\n" : "");
            say_ends(&r, &b);
            say_chance(&r, &b);
            say_pairs(&r, &b);
            say_paper(&r, &b);
        }
        free(r.row), free(r.value);
    }
    if (b.n && missing)
        hy_buf_printf(&b, " %d run%s missing: this is preliminary.", missing, missing == 1 ? " is" : "s are");
    return b.s;
}
