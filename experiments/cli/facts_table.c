// facts_table.c - see facts_table.h.
#include "experiments/cli/facts_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results/metrics.h"

typedef struct {
    const hy_facts *f;
    hy_fact_rows rows;
    int n_columns, n_rows;
    hy_fact_column *columns;
    int *first;  // [n_rows] the first fact of the row
} view;

static bool same(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static bool same_row(const view *v, const hy_fact *a, const hy_fact *b) {
    if (v->rows == HY_ROWS_CELLS) return !strcmp(a->cell, b->cell);
    return a->layer == b->layer && (v->rows == HY_ROWS_LAYERS || same(a->kind, b->kind));
}

static bool of_column(const hy_fact_column *c, const hy_fact *f) {
    return !strcmp(c->metric, f->name) && (!c->kind || same(c->kind, f->kind));
}

static bool shown(const view *v, const hy_fact *f) {
    if (v->rows == HY_ROWS_MAPS && f->layer < 0) return false;
    for (int c = 0; c < v->n_columns; c++)
        if (of_column(&v->columns[c], f)) return true;
    return false;
}

static void find_columns(view *v, const hy_fact_column *columns) {
    for (; columns && columns[v->n_columns].metric; v->n_columns++) {
    }
    v->columns = hy_xcalloc((size_t)(v->n_columns + v->f->n_facts) + 1, sizeof *v->columns);
    if (columns) memcpy(v->columns, columns, (size_t)v->n_columns * sizeof *columns);
    for (int i = 0; !columns && i < v->f->n_facts; i++) {
        bool known = false;
        for (int c = 0; c < v->n_columns; c++) known = known || of_column(&v->columns[c], &v->f->fact[i]);
        if (!known) v->columns[v->n_columns++] = (hy_fact_column){v->f->fact[i].name, NULL, NULL};
    }
}

static void find_rows(view *v) {
    v->first = hy_xcalloc((size_t)v->f->n_facts + 1, sizeof *v->first);
    for (int i = 0; i < v->f->n_facts; i++) {
        const hy_fact *f = &v->f->fact[i];
        bool known = !shown(v, f);
        for (int r = 0; r < v->n_rows && !known; r++) known = same_row(v, &v->f->fact[v->first[r]], f);
        if (!known) v->first[v->n_rows++] = i;
    }
}

static const hy_fact *fact_at(const view *v, int row, const hy_fact_column *c) {
    for (int i = 0; i < v->f->n_facts; i++)
        if (of_column(c, &v->f->fact[i]) && same_row(v, &v->f->fact[v->first[row]], &v->f->fact[i]))
            return &v->f->fact[i];
    return NULL;
}

static bool has_errors(const view *v, const hy_fact_column *c) {
    for (int i = 0; i < v->f->n_facts; i++)
        if (of_column(c, &v->f->fact[i]) && isfinite(v->f->fact[i].se)) return true;
    return false;
}

// ---------------------------------------------------------------------------------------------------- the table
static void add_heads(const view *v, hy_table *t) {
    bool layers = false, heads = false;
    for (int i = 0; i < v->f->n_facts; i++) {
        layers = layers || v->f->fact[i].layer >= 0 || v->f->fact[i].kind;
        heads = heads || v->f->fact[i].head >= 0;
    }
    if (v->rows == HY_ROWS_CELLS) {
        hy_table_column(t, "cell", NULL, NULL, HY_LEFT);
        if (!layers) return;
    }
    hy_table_column(t, "layer", NULL, NULL, v->rows == HY_ROWS_LAYERS ? HY_LEFT : HY_RIGHT);
    if (v->rows == HY_ROWS_CELLS) hy_table_hidden(t);  // people read them in the cell's name
    if (v->rows == HY_ROWS_LAYERS) return;
    hy_table_column(t, v->rows == HY_ROWS_MAPS ? "map" : "kind", NULL, NULL, HY_LEFT);
    if (v->rows == HY_ROWS_MAPS) return;
    hy_table_hidden(t);
    if (!heads) return;
    hy_table_column(t, "head", NULL, NULL, HY_RIGHT);
    hy_table_hidden(t);
}

static void add_columns(const view *v, hy_table *t) {
    for (int c = 0; c < v->n_columns; c++) {
        const hy_fact_column *col = &v->columns[c];
        const hy_metric_def *d = hy_metric_find(col->metric);
        const char *name = col->name ? col->name : col->metric,
                   *unit = strcmp(d->unit_shown, "1") ? d->unit_shown : NULL;
        char *header = hy_asprintf("%s%s%s", d->label, col->kind ? ", " : "", col->kind ? col->kind : "");
        hy_table_column(t, name, header, unit, HY_RIGHT);
        free(header);
        if (!has_errors(v, col)) continue;
        char *error = hy_asprintf("%s_se", name);
        hy_table_column(t, error, NULL, unit, HY_RIGHT);
        hy_table_hidden(t);
        free(error);
    }
}

static void row_head(const view *v, hy_table *t, const hy_fact *f, const char *all) {
    bool layers = false, heads = false;
    for (int i = 0; i < v->f->n_facts; i++) {
        layers = layers || v->f->fact[i].layer >= 0 || v->f->fact[i].kind;
        heads = heads || v->f->fact[i].head >= 0;
    }
    if (v->rows == HY_ROWS_CELLS) hy_table_text(t, "%s", *f->cell ? f->cell : all);
    if (v->rows == HY_ROWS_LAYERS) {
        if (f->layer >= 0)
            hy_table_text(t, "%d", f->layer);
        else
            hy_table_text(t, "%s", all);
        return;
    }
    if (v->rows == HY_ROWS_CELLS && !layers) return;
    if (f->layer >= 0)
        hy_table_int(t, f->layer);
    else
        hy_table_empty(t);
    hy_table_text(t, "%s", f->kind ? f->kind : "");
    if (v->rows == HY_ROWS_MAPS || !heads) return;
    if (f->head >= 0)
        hy_table_int(t, f->head);
    else
        hy_table_empty(t);
}

static void value_cell(const view *v, hy_table *t, const hy_fact *f, const hy_fact_column *c) {
    const bool errors = has_errors(v, c);
    const hy_metric_def *d = hy_metric_find(c->metric);
    if (!f) {
        hy_table_empty(t);
        if (errors) hy_table_empty(t);
        return;
    }
    if (errors && isfinite(f->se))
        hy_table_num_pm(t, f->value * d->scale, f->se * d->scale, d->decimals);
    else
        hy_table_num(t, f->value * d->scale, d->decimals);
    if (errors) hy_table_num(t, f->se * d->scale, d->decimals);
}

hy_table *hy_facts_table(const char *title, const hy_facts *f, hy_fact_rows rows, const hy_fact_column *columns,
                         const char *all) {
    view v = {.f = f, .rows = rows};
    find_columns(&v, columns);
    find_rows(&v);
    hy_table *t = hy_table_new(title);
    add_heads(&v, t);
    add_columns(&v, t);
    for (int last = 0; last < 2; last++)  // what is of no layer or cell comes last
        for (int r = 0; r < v.n_rows; r++) {
            const hy_fact *of = &f->fact[v.first[r]];
            if ((of->layer < 0 && !*of->cell) != last) continue;
            if (last && v.n_rows > 1) hy_table_rule(t);
            hy_table_row(t);
            row_head(&v, t, of, all);
            for (int c = 0; c < v.n_columns; c++) value_cell(&v, t, fact_at(&v, r, &v.columns[c]), &v.columns[c]);
        }
    for (int c = 0; c < v.n_columns; c++)
        if (has_errors(&v, &v.columns[c])) {
            hy_table_note(t, "± standard error of the mean over the examples (CSV and JSON: columns that end in _se)");
            break;
        }
    free(v.columns);
    free(v.first);
    return t;
}
