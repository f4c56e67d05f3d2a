// summary_columns.c - which metrics the tables of an experiment have, from results/metrics.def: nothing else lists
// columns. See summary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"

const hy_summary_value *hy_summary_shown(const hy_summary_row *r, const char *name) {
    const hy_summary_value *whole = hy_summary_get(r, name, "");
    return whole ? whole : hy_summary_get(r, name, NULL);
}

// The largest mean of any row, -INFINITY where it has no value; false: no row has the figure at all.
static bool largest_of(const hy_summary *s, const char *name, double *largest) {
    bool any = false;
    *largest = -INFINITY;
    for (int i = 0; i < s->n_rows; i++) {
        const hy_summary_value *v = hy_summary_shown(&s->rows[i], name);
        any = any || v;
        if (v) *largest = fmax(*largest, v->stat.mean);
    }
    return any;
}

static void add(hy_summary_columns *c, const hy_summary *s, const hy_metric_def *d, bool held_out) {
    char *name = held_out ? hy_asprintf("%s_held_out", d->name) : hy_xstrdup(d->name);
    double largest;
    if (!largest_of(s, name, &largest)) {
        free(name);
        return;
    }
    c->v = hy_xrealloc(c->v, (size_t)(c->n + 1) * sizeof *c->v);
    c->v[c->n++] =
        (hy_summary_column){.name = name,
                            .metric = d,
                            .look = hy_metric_look_of(d, INFINITY),
                            .header = held_out ? hy_asprintf("%s, held out", d->label) : hy_xstrdup(d->label)};
}

// Columns of one unit stay in one unit, whatever it is: caches stand side by side.
static void choose_units(hy_summary_columns *c, const hy_summary *s) {
    for (int i = 0; i < c->n; i++) {
        const hy_metric_def *d = c->v[i].metric;
        double most = -INFINITY, largest;
        for (int k = 0; k < c->n; k++) {
            if (strcmp(c->v[k].metric->unit_shown, d->unit_shown)) continue;
            largest_of(s, c->v[k].name, &largest);
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
    for (int i = 0; i < c->n; i++) free(c->v[i].name), free(c->v[i].header);
    free(c->v);
    *c = (hy_summary_columns){0};
}
