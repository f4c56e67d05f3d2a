// summary_columns.c - which metrics the tables of an experiment have, from results/metrics.def: nothing else lists
// columns. See summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"
#include "analysis/summary/summary_impl.h"

const hy_summary_value *hy_summary_shown(const hy_summary_row *r, const char *name) {
    const hy_summary_value *whole = hy_summary_get(r, name, "");
    return whole ? whole : hy_summary_get(r, name, NULL);
}

const hy_summary_value *hy_summary_column_value(const hy_summary_row *r, const hy_summary_column *c) {
    return c->several ? hy_summary_get_set(r, c->figure, "", c->set) : hy_summary_shown(r, c->figure);
}

int hy_summary_row_seeds(const hy_summary_row *r, const hy_summary_columns *c) {
    int most = 0;
    for (int i = 0; i < c->n; i++) {
        const hy_summary_value *v = hy_summary_column_value(r, &c->v[i]);
        if (v && v->n > most) most = v->n;
    }
    return most;
}

// The largest mean of any row, -INFINITY where it has no value; false: no row has the figure at all.
static bool largest_of(const hy_summary *s, const hy_summary_column *c, double *largest) {
    bool any = false;
    *largest = -INFINITY;
    for (int i = 0; i < s->n_rows; i++) {
        const hy_summary_value *v = hy_summary_column_value(&s->rows[i], c);
        any = any || v;
        if (v) *largest = fmax(*largest, v->stat.mean);
    }
    return any;
}

// ---------------------------------------------------------------------------------------------------- sets of options
// cell: "" of a whole task, NULL of any cell.
static const char *options_of(const hy_summary *s, const char *figure, const char *cell, int set) {
    for (int i = 0; i < s->n_rows; i++) {
        const hy_summary_value *v = hy_summary_get_set(&s->rows[i], figure, cell, set);
        if (v) return v->options;
    }
    return NULL;
}

static int sets_of(const hy_summary *s, const char *figure, const char *cell) {
    int n = 0;
    while (options_of(s, figure, cell, n)) n++;
    return n;
}

static bool has_line(const char *text, const char *line, size_t n) {
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strcspn(at, "\n") == n && !strncmp(at, line, n)) return true;
    return false;
}

// The options of a set that not all sets have: "ssm: heads, examples: 8".
static char *own_options(const hy_summary *s, const char *figure, const char *cell, int set, int sets) {
    hy_buf b = {0};
    const char *options = options_of(s, figure, cell, set);
    for (const char *at = options; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        const size_t n = strcspn(at, "\n");
        bool all = true;
        for (int k = 0; k < sets; k++) all = all && has_line(options_of(s, figure, cell, k), at, n);
        if (!all) hy_buf_printf(&b, "%s%.*s", b.n ? ", " : "", (int)n, at);
    }
    return b.s ? b.s : hy_xstrdup("defaults");
}

char *hy_summary_first_set_text(const hy_summary *s, const char *metric) {
    const int sets = sets_of(s, metric, NULL);
    return sets > 1 ? own_options(s, metric, NULL, 0, sets) : NULL;
}

// ---------------------------------------------------------------------------------------------------- columns
static void add_set(hy_summary_columns *c, const hy_summary *s, const hy_metric_def *d, bool held_out, int set,
                    int sets) {
    char *figure = held_out ? hy_asprintf("%s_held_out", d->name) : hy_xstrdup(d->name);
    hy_summary_column one = {.metric = d, .figure = figure, .set = set, .several = sets > 1};
    double largest;
    if (!largest_of(s, &one, &largest)) {
        free(figure);
        return;
    }
    char *own = sets > 1 ? own_options(s, d->name, "", set, sets) : NULL;
    one.name = set ? hy_asprintf("%s_%d", figure, set + 1) : hy_xstrdup(figure);
    one.header = hy_asprintf("%s%s%s%s", d->label, held_out ? ", held out" : "", own ? ", " : "", own ? own : "");
    one.look = hy_metric_look_of(d, INFINITY);
    free(own);
    c->v = hy_xrealloc(c->v, (size_t)(c->n + 1) * sizeof *c->v);
    c->v[c->n++] = one;
}

static void add(hy_summary_columns *c, const hy_summary *s, const hy_metric_def *d, bool held_out) {
    const int sets = sets_of(s, d->name, "");
    for (int k = 0; k < (sets ? sets : 1); k++) add_set(c, s, d, held_out, k, sets);
}

// Columns of one unit stay in one unit, whatever it is: caches stand side by side.
static void choose_units(hy_summary_columns *c, const hy_summary *s) {
    for (int i = 0; i < c->n; i++) {
        const hy_metric_def *d = c->v[i].metric;
        double most = -INFINITY, largest;
        for (int k = 0; k < c->n; k++) {
            if (strcmp(c->v[k].metric->unit_shown, d->unit_shown)) continue;
            largest_of(s, &c->v[k], &largest);
            most = fmax(most, largest);
        }
        c->v[i].look = hy_metric_look_of(d, most);
    }
}

hy_summary_columns hy_summary_columns_of(const hy_summary *s, bool points, bool readable) {
    hy_summary_columns c = {0};
    for (const hy_metric_def *d = hy_metric_defs; d->name; d++) {
        if (d->in_table < (points ? HY_IN_BOTH : HY_IN_BEST) && strcmp(d->name, s->tune_by)) continue;
        add(&c, s, d, false);
        if (!points) add(&c, s, d, true);
    }
    if (readable) choose_units(&c, s);
    return c;
}

void hy_summary_columns_free(hy_summary_columns *c) {
    for (int i = 0; i < c->n; i++) free(c->v[i].name), free(c->v[i].header), free(c->v[i].figure);
    free(c->v);
    *c = (hy_summary_columns){0};
}
