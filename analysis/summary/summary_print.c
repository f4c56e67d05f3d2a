// summary_print.c - the tables of summary.h for people and programs.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"

// Which rows and columns: the points that stand for their variants with everything; all points of the grid with their
// scores; or (one document for programs) all points with everything, and which of them stand for their variants.
typedef enum { BEST, POINTS, EVERY } extent;

// The names of the paper's figures, each once, "a|b|": in the order of the store.
static char *paper_names(const hy_summary *s) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int i = 0; i < s->n_paper; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++) seen |= !strcmp(s->paper[k].name, s->paper[i].name);
        if (!seen) hy_buf_printf(&b, "%s|", s->paper[i].name);
    }
    return b.s;
}

static void add_columns(const hy_summary *s, hy_table *t, extent e, const hy_summary_columns *columns,
                        const char *papers) {
    hy_table_column(t, "variant", NULL, NULL, HY_LEFT);
    if (s->n_tasks > 1) hy_table_column(t, "task", NULL, NULL, HY_LEFT);
    if (s->n_grid > 1) hy_table_column(t, "grid", e == BEST ? "best at" : "at", NULL, HY_LEFT);
    if (e == EVERY) hy_table_column(t, "best", NULL, NULL, HY_RIGHT);
    if (hy_summary_mixes_precisions(s)) hy_table_column(t, "precision", NULL, NULL, HY_LEFT);
    hy_table_column(t, "seeds", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "planned", NULL, NULL, HY_RIGHT);
    hy_table_hidden(t);
    hy_table_column(t, "failed", NULL, NULL, HY_RIGHT);
    hy_table_hidden(t);
    hy_table_column(t, "measures_failed", NULL, NULL, HY_RIGHT);
    hy_table_hidden(t);
    hy_table_column(t, "origin", NULL, NULL, HY_LEFT);
    hy_table_hidden(t);
    for (int i = 0; i < columns->n; i++) {
        const hy_summary_column *c = &columns->v[i];
        hy_table_column(t, c->name, c->header, c->look.unit, HY_RIGHT);
        if (!c->metric->spread) continue;
        char *sd = hy_asprintf("%s_sd", c->name);
        hy_table_column(t, sd, NULL, c->look.unit, HY_RIGHT);
        hy_table_hidden(t);
        free(sd);
    }
    if (e == POINTS) return;
    for (const char *p = papers; *p; p += strcspn(p, "|") + 1) {
        int n = (int)strcspn(p, "|");
        char *name = hy_asprintf("paper_%.*s", n, p), *header = hy_asprintf("paper: %.*s", n, p);
        hy_table_column(t, name, header, NULL, HY_RIGHT);
        free(name);
        free(header);
    }
    hy_summary_speed_columns(s, t);
}

static void add_figure(hy_table *t, const hy_summary_row *r, const hy_summary_column *c) {
    const hy_summary_value *v = hy_summary_shown(r, c->name);
    const double mean = v ? v->stat.mean * c->look.scale : NAN, sd = v ? v->stat.sd * c->look.scale : NAN;
    if (c->metric->spread && !isnan(sd))
        hy_table_num_pm(t, mean, sd, c->look.decimals);
    else
        hy_table_num(t, mean, c->look.decimals);
    if (c->metric->spread) hy_table_num(t, sd, c->look.decimals);
}

static void add_row(const hy_summary *s, hy_table *t, const hy_summary_row *r, extent e,
                    const hy_summary_columns *columns, const char *papers) {
    hy_table_row(t);
    hy_table_text(t, "%s", r->variant);
    if (s->n_tasks > 1) hy_table_text(t, "%s", r->task);
    if (s->n_grid > 1) hy_table_text(t, "%s", r->grid);
    if (e == EVERY) hy_table_int(t, r->best);
    if (hy_summary_mixes_precisions(s)) hy_table_text(t, "%s", r->precision);
    hy_table_int(t, r->done);
    hy_table_int(t, r->planned);
    hy_table_int(t, r->failed);
    hy_table_int(t, r->measures_failed);
    hy_table_text(t, "%s", r->origin);
    for (int i = 0; i < columns->n; i++) add_figure(t, r, &columns->v[i]);
    if (e == POINTS) return;
    for (const char *p = papers; *p; p += strcspn(p, "|") + 1) {
        char *name = hy_asprintf("%.*s", (int)strcspn(p, "|"), p);
        hy_table_num(t, hy_summary_paper_value(s, r->variant, name), -5);
        free(name);
    }
    hy_summary_speed_row(s, t, r);
}

// Ranks against the paper's figures, and pairs that are told apart, task by task.
static void add_comparisons(const hy_summary *s, hy_table *t, const char *papers) {
    const char *const metrics[] = {"accuracy", strcmp(s->tune_by, "accuracy") ? s->tune_by : ""};
    for (const char *p = papers; *p; p += strcspn(p, "|") + 1) {
        char *name = hy_asprintf("%.*s", (int)strcspn(p, "|"), p);
        for (int i = 0; i < s->n_rows; i++) {
            if (i > 0 && s->rows[i].task_ord == s->rows[i - 1].task_ord) continue;
            char *text = hy_summary_rank_text(s, s->rows[i].task, i == 0, name);
            if (text) hy_table_note(t, "%s", text);
            free(text);
        }
        free(name);
    }
    for (int i = 0; i < s->n_rows; i++)
        for (int k = 0; k < 2; k++) {
            if (!*metrics[k] || (i > 0 && s->rows[i].task_ord == s->rows[i - 1].task_ord)) continue;
            char *text = hy_summary_pairs_text(s, s->rows[i].task, metrics[k]);
            if (text) hy_table_note(t, "%s", text);
            free(text);
        }
}

static void add_timing_notes(const hy_summary *s, hy_table *t) {
    const hy_summary_value *timing = hy_summary_any_timing(s);
    if (timing && hy_summary_mixed_batch(s))
        hy_table_note(t, "throughput: context %.0f tokens (hylab show sql v_timing has all timings)", timing->x);
    else if (timing)
        hy_table_note(t, "throughput: context %.0f tokens, batch %.0f (hylab show sql v_timing has all of them)",
                      timing->x, timing->y);
    hy_summary_speed_note(s, t);
    if (s->waited > HY_SUMMARY_WAITED)
        hy_table_note(
            t,
            "throughput is disturbed: threads waited up to %.0f %% of the time while other programs had the processors;"
            " time again in quiet (hylab run --remeasure throughput)",
            100 * s->waited);
}

static void add_notes(const hy_summary *s, hy_table *t, const char *papers) {
    bool stopped = false;
    for (int i = 0; i < s->n_rows; i++) stopped = stopped || hy_summary_get(&s->rows[i], "reached", "");
    char *choice = hy_summary_choice_text(s);
    hy_table_note(t, "mean ± standard deviation over the seeds that are done%s%s", choice ? "; " : "",
                  choice ? choice : "");
    free(choice);
    char *computed = hy_summary_computed_text(s);
    const char *mixed = hy_summary_mixes_precisions(s) ? "; rows of different precision are different runs" : "";
    if (computed) hy_table_note(t, "%s%s", computed, mixed);
    free(computed);
    if (stopped)
        hy_table_note(t,
                      "stopped early: share of the runs whose accuracy on tuning examples reached train.stop_accuracy;"
                      " stopped after: of these runs only");
    char *origin = hy_summary_origin_text(s), *gap;
    if (origin) hy_table_note(t, "%s", origin);
    free(origin);
    for (int k = 0; (gap = hy_summary_gap_text(s, k)); k++) {
        hy_table_note(t, "%s", gap);
        free(gap);
    }
    add_timing_notes(s, t);
    add_comparisons(s, t, papers);
}

static hy_table *make_table(const hy_summary *s, extent e, bool readable, const char *papers) {
    char *title = hy_asprintf("%s%s%s%s%s", s->experiment, *s->scale ? ", scale " : "", s->scale,
                              e == BEST ? "" : ", all grid points", *s->sets ? " (with --set)" : "");
    hy_table *t = hy_table_new(title);
    hy_summary_columns columns = hy_summary_columns_of(s, e == POINTS, readable);
    free(title);
    add_columns(s, t, e, &columns, papers);
    for (int i = 0, last = -1; i < s->n_rows; i++) {
        if (e == BEST && !s->rows[i].best) continue;
        if (last >= 0 && last != s->rows[i].task_ord) hy_table_rule(t);
        last = s->rows[i].task_ord;
        add_row(s, t, &s->rows[i], e, &columns, papers);
    }
    if (e != POINTS) add_notes(s, t, papers);
    hy_summary_columns_free(&columns);
    return t;
}

static hy_status print_json(const hy_summary *s, const char *papers, FILE *f) {
    hy_json *doc = hy_json_new_object();
    hy_json_set_string(doc, "experiment", s->experiment);
    hy_json_set_string(doc, "scale", s->scale);
    for (extent e = BEST; e <= (s->n_grid > 1 ? POINTS : BEST); e++) {
        hy_table *t = make_table(s, e, false, papers);
        hy_json_set(doc, e == BEST ? "summary" : "grid", hy_table_json(t));
        hy_table_free(t);
    }
    const hy_status st = hy_json_print(doc, f);
    hy_json_free(doc);
    return st;
}

static hy_status print_table(const hy_summary *s, extent e, hy_table_format format, const char *papers, FILE *f) {
    hy_table *t = make_table(s, e, format == HY_TABLE_TEXT, papers);
    const hy_status st = hy_table_print(t, format, f);
    hy_table_free(t);
    return st;
}

hy_status hy_summary_print(const hy_summary *s, hy_table_format format, FILE *f) {
    char *papers = paper_names(s);
    const bool grid = s->n_grid > 1;
    hy_status st;
    if (format == HY_TABLE_JSON)
        st = print_json(s, papers, f);
    else
        st = print_table(s, grid && format == HY_TABLE_CSV ? EVERY : BEST, format, papers, f);
    if (!st && grid && format == HY_TABLE_TEXT) {
        fputc('\n', f);
        st = print_table(s, POINTS, format, papers, f);
    }
    free(papers);
    return st;
}
