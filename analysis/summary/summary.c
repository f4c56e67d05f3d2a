// summary.c - see summary.h: loading and computing. Printing is summary_print.c.
#include "analysis/summary/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary_impl.h"
#include "results/query.h"

// ---------------------------------------------------------------------------------------------------- loading
// A file may hold any number: those that become an index or a size are looked at first.
enum { MOST_PLACES = 100000, MOST_LAYERS = 100000 };  // an experiment has fewer runs than the first

static hy_status check_place(hy_store *s, const char *what, int ord, int most) {
    if (ord >= 0 && ord < most) return HY_OK;
    return hy_error(HY_EINPUT,
                    "%s is damaged: it has a %s with the number %d, which is not from 0 to %d (hylab doctor --db looks "
                    "closer; run the experiment again to plan it anew)",
                    hy_store_path(s), what, ord, most - 1);
}

static hy_status check_point(hy_store *s, const hy_planned_point *p) {
    HY_TRY(check_place(s, "variant", p->variant_ord, MOST_PLACES));
    HY_TRY(check_place(s, "task", p->task_ord, MOST_PLACES));
    return check_place(s, "grid point", p->grid_ord, MOST_PLACES);
}

static hy_status load_rows(hy_store *s, const hy_experiment_id *e, hy_summary *m) {
    hy_query *q;
    HY_TRY(hy_ask_points(s, e, &q));
    bool row = false;
    hy_status st;
    hy_planned_point p;
    while (!(st = hy_next_point(q, &row, &p)) && row) {
        if ((st = check_point(s, &p))) break;
        m->rows = hy_xrealloc(m->rows, (size_t)(m->n_rows + 1) * sizeof *m->rows);
        m->rows[m->n_rows++] = (hy_summary_row){
            .variant = hy_xstrdup(p.variant),
            .task = hy_xstrdup(p.task),
            .grid = hy_xstrdup(p.grid),
            .precision = hy_xstrdup(""),
            .origin = hy_xstrdup(""),
            .variant_ord = p.variant_ord,
            .task_ord = p.task_ord,
            .grid_ord = p.grid_ord,
            .planned = p.planned,
            .done = p.done,
            .failed = p.failed,
            .measures_failed = p.measures_failed,
            .measures_left = p.measures_left,
            .number = p.number,
        };
        if (!m->axis) m->axis = hy_xstrdup(p.axis);
        if (p.variant_ord >= m->n_variants) m->n_variants = p.variant_ord + 1;
        if (p.task_ord >= m->n_tasks) m->n_tasks = p.task_ord + 1;
        if (p.grid_ord >= m->n_grid) m->n_grid = p.grid_ord + 1;
    }
    hy_query_close(q);
    if (!m->axis) m->axis = hy_xstrdup("");
    return st;
}

static hy_summary_row *find_row(hy_summary *m, int variant, int task, int grid) {
    for (int i = 0; i < m->n_rows; i++)
        if (m->rows[i].variant_ord == variant && m->rows[i].task_ord == task && m->rows[i].grid_ord == grid)
            return &m->rows[i];
    return NULL;
}

static void add_value(hy_summary_row *r, const hy_result_row *of) {
    hy_summary_value *v = NULL;
    for (int i = 0; i < r->n_values && !v; i++)
        if (!strcmp(r->values[i].metric, of->metric) && !strcmp(r->values[i].cell, of->cell) &&
            r->values[i].set == of->set)
            v = &r->values[i];
    if (!v) {
        const hy_metric_def *d = hy_metric_find(of->metric);  // NULL: of another version of this program
        v = hy_summary_value_add(r);
        *v = (hy_summary_value){.metric = hy_xstrdup(of->metric),
                                .cell = hy_xstrdup(of->cell),
                                .unit = hy_xstrdup(of->unit),
                                .set = of->set,
                                .options = hy_xstrdup(of->options),
                                .layer = of->layer,
                                .head = of->head,
                                .kind = hy_xstrdup(of->kind),
                                .x = of->x,
                                .y = of->y,
                                .range = d ? d->range : HY_REAL};
    }
    hy_summary_value_push(v, of->seed, of->value);
}

static hy_status load_values(hy_store *s, const hy_experiment_id *e, hy_summary *m) {
    hy_query *q;
    HY_TRY(hy_ask_results(s, e, &q));
    bool row = false;
    hy_status st;
    hy_result_row v;
    while (!(st = hy_next_result(q, &row, &v)) && row) {
        hy_summary_row *r = find_row(m, v.variant_ord, v.task_ord, v.grid_ord);
        if ((st = check_place(s, "layer of a figure", v.layer + (v.layer == -1), MOST_LAYERS))) break;
        if (r) add_value(r, &v);
    }
    hy_query_close(q);
    for (int i = 0; i < m->n_rows; i++)
        for (int k = 0; k < m->rows[i].n_values; k++) {
            hy_summary_value *x = &m->rows[i].values[k];
            x->stat = hy_stat_of(x->v, x->n, x->range);
        }
    return st;
}

static hy_status load_paper(hy_store *s, const hy_experiment_id *e, hy_summary *m) {
    hy_query *q;
    HY_TRY(hy_ask_paper(s, e, &q));
    bool row = false;
    hy_status st;
    hy_paper_figure p;
    while (!(st = hy_next_paper(q, &row, &p)) && row) {
        m->paper = hy_xrealloc(m->paper, (size_t)(m->n_paper + 1) * sizeof *m->paper);
        m->paper[m->n_paper++] = (hy_summary_paper){hy_xstrdup(p.variant), hy_xstrdup(p.name), p.value};
    }
    hy_query_close(q);
    return st;
}

static hy_status load_faults(hy_store *s, const hy_experiment_id *e, hy_summary *m) {
    hy_query *q;
    HY_TRY(hy_ask_failed_measures(s, e, &q));
    bool row = false;
    hy_status st;
    hy_failed_measure f;
    while (!(st = hy_next_failed_measure(q, &row, &f)) && row) {
        m->faults = hy_xrealloc(m->faults, (size_t)(m->n_faults + 1) * sizeof *m->faults);
        m->faults[m->n_faults++] =
            hy_asprintf("%s of %s%s%s%s%s, seed %lld (run %lld): %s", f.measure, f.variant,
                        m->n_tasks > 1 ? " on " : "", m->n_tasks > 1 ? f.task : "", *f.grid ? " at " : "", f.grid,
                        (long long)f.seed, (long long)f.run_id, f.error);
    }
    hy_query_close(q);
    return st;
}

// Whether a list "a; b; c" has that name: of "RTX 4080 SUPER" another is a part.
static bool listed(const char *names, const char *name) {
    const size_t n = strlen(name);
    for (const char *at = names; n && at && (at = strstr(at, name)); at += n)
        if ((at == names || !strncmp(at - 2, "; ", 2)) && (!at[n] || at[n] == ';')) return true;
    return false;
}

// What the runs were computed in and on: rows of different precision are told apart, devices are named.
static hy_status load_computed(hy_store *s, const hy_experiment_id *e, hy_summary *m) {
    hy_query *q;
    hy_buf names = {0}, kinds = {0};
    HY_TRY(hy_ask_computed(s, e, &q));
    bool row = false;
    hy_status st;
    hy_computed_row c;
    while (!(st = hy_next_computed(q, &row, &c)) && row) {
        hy_summary_row *r = find_row(m, c.variant_ord, c.task_ord, c.grid_ord);
        if (r && !*r->precision) {
            free(r->precision);
            free(r->origin);
            r->precision = hy_xstrdup(c.precision);
            r->origin = hy_xstrdup(c.origin);
            r->from_file = c.from_file;
        }
        if (!listed(kinds.s, c.device)) hy_buf_printf(&kinds, "%s%s", kinds.n ? "; " : "", c.device);
        if (!listed(names.s, c.device_name)) hy_buf_printf(&names, "%s%s", names.n ? "; " : "", c.device_name);
    }
    hy_query_close(q);
    m->device_names = names.s ? names.s : hy_xstrdup("");
    m->device = kinds.s ? kinds.s : hy_xstrdup("");
    return st;
}

hy_status hy_summary_load(hy_store *s, const char *experiment, const char *scale, const char *sets, hy_summary **out) {
    const hy_experiment_id e = {experiment, scale, sets};
    hy_summary *m = hy_xcalloc(1, sizeof *m);
    *out = NULL;
    m->experiment = hy_xstrdup(experiment);
    m->scale = hy_xstrdup(scale);
    m->sets = hy_xstrdup(sets);
    hy_experiment_texts texts;
    hy_status st = hy_ask_experiment_texts(s, &e, &texts);
    m->question = texts.question, m->tune_by = texts.tune_by, m->tune_cell = texts.tune_cell, m->base = texts.base;
    if (!st) st = load_rows(s, &e, m);
    if (!st) st = load_values(s, &e, m);
    if (!st) st = load_paper(s, &e, m);
    if (!st) st = load_faults(s, &e, m);
    if (!st) st = hy_ask_waited(s, &e, &m->waited);
    if (!st) st = load_computed(s, &e, m);
    if (st) {
        hy_summary_free(m);
        return st;
    }
    hy_summary_choose(m);
    *out = m;
    return HY_OK;
}

void hy_summary_free(hy_summary *m) {
    if (!m) return;
    for (int i = 0; i < m->n_rows; i++) {
        hy_summary_row *r = &m->rows[i];
        for (int k = 0; k < r->n_values; k++) {
            free(r->values[k].metric);
            free(r->values[k].cell);
            free(r->values[k].unit);
            free(r->values[k].kind);
            free(r->values[k].options);
            free(r->values[k].v);
            free(r->values[k].seed);
        }
        free(r->values);
        free(r->variant);
        free(r->task);
        free(r->grid);
        free(r->precision);
        free(r->origin);
    }
    for (int i = 0; i < m->n_faults; i++) free(m->faults[i]);
    free(m->faults);
    for (int i = 0; i < m->n_paper; i++) {
        free(m->paper[i].variant);
        free(m->paper[i].name);
    }
    free(m->rows);
    free(m->paper);
    free(m->experiment);
    free(m->scale);
    free(m->sets);
    free(m->question);
    free(m->base);
    free(m->axis);
    free(m->tune_by);
    free(m->tune_cell);
    free(m->device);
    free(m->device_names);
    free(m);
}
