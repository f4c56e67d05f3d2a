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

static void hidden(hy_table *t, const char *name, const char *unit) {
    hy_table_column(t, name, NULL, unit, HY_RIGHT);
    hy_table_hidden(t);
}

// Of how many points the best was chosen; people see it where they are not all points of the grid.
static void add_points_column(const hy_summary *s, hy_table *t) {
    hy_table_column(t, "points", "of points", NULL, HY_RIGHT);
    if (hy_summary_all_points(s)) hy_table_hidden(t);
}

// A figure and, for programs, what is known of its spread: "accuracy", _sd, _n, _lo, _hi.
static void add_figure_columns(hy_table *t, const hy_summary_column *c) {
    static const struct {
        const char *suffix;
        bool unit, spread;
    } more[] = {{"_sd", true, true}, {"_n", false, false}, {"_lo", true, true}, {"_hi", true, true}};
    hy_table_column(t, c->name, c->header, c->look.unit, HY_RIGHT);
    for (int i = 0; i < 4; i++) {
        if (more[i].spread && !c->metric->spread) continue;
        char *name = hy_asprintf("%s%s", c->name, more[i].suffix);
        hidden(t, name, more[i].unit ? c->look.unit : NULL);
        free(name);
    }
    if (!c->several) return;
    char *name = hy_asprintf("%s_options", c->name);
    hidden(t, name, NULL);
    free(name);
}

static void add_columns(const hy_summary *s, hy_table *t, extent e, const hy_summary_columns *columns,
                        const char *papers) {
    hy_table_column(t, "variant", NULL, NULL, HY_LEFT);
    if (s->n_tasks > 1) hy_table_column(t, "task", NULL, NULL, HY_LEFT);
    if (s->n_grid > 1)
        hy_table_column(t, "grid", e == BEST && !hy_summary_is_course(s) ? "best at" : "at", NULL, HY_LEFT);
    if (s->n_grid > 1 && e != POINTS) add_points_column(s, t);
    if (e == EVERY) hy_table_column(t, "best", NULL, NULL, HY_RIGHT);
    if (hy_summary_mixes_precisions(s)) hy_table_column(t, "precision", NULL, NULL, HY_LEFT);
    hy_table_column(t, "seeds", NULL, NULL, HY_RIGHT);
    static const char *const counts[] = {"planned", "done", "failed", "measures_failed", "origin"};
    for (int i = 0; i < 5; i++) hidden(t, counts[i], NULL);
    for (int i = 0; i < columns->n; i++) add_figure_columns(t, &columns->v[i]);
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

static void add_options(hy_table *t, const char *options) {  // a line each: "tokens: 8; batch: 2"
    hy_buf b = {0};
    for (const char *at = options; *at; at += strcspn(at, "\n"), at += *at == '\n')
        hy_buf_printf(&b, "%s%.*s", b.n ? "; " : "", (int)strcspn(at, "\n"), at);
    hy_table_text(t, "%s", b.s ? b.s : "");
    free(b.s);
}

// seeds: of the row; a figure of fewer tells its own number.
static void add_figure(hy_table *t, const hy_summary_row *r, const hy_summary_column *c, int seeds) {
    const hy_summary_value *v = hy_summary_column_value(r, c);
    const hy_stat none = {.mean = NAN, .sd = NAN, .lo = NAN, .hi = NAN}, *x = v ? &v->stat : &none;
    const double scale = c->look.scale;
    if (c->metric->spread)
        hy_table_num_pm(t, x->mean * scale, x->sd * scale, c->look.decimals);
    else
        hy_table_num(t, x->mean * scale, c->look.decimals);
    if (x->n && x->n != seeds) hy_table_mark(t, " (%d)", x->n);
    if (c->metric->spread) hy_table_num(t, x->sd * scale, c->look.decimals);
    hy_table_int(t, x->n);
    if (c->metric->spread) {
        hy_table_num(t, x->lo * scale, c->look.decimals);
        hy_table_num(t, x->hi * scale, c->look.decimals);
    }
    if (c->several) add_options(t, v ? v->options : "");
}

static void add_row(const hy_summary *s, hy_table *t, const hy_summary_row *r, extent e,
                    const hy_summary_columns *columns, const char *papers) {
    hy_table_row(t);
    hy_table_text(t, "%s", r->variant);
    if (s->n_tasks > 1) hy_table_text(t, "%s", r->task);
    if (s->n_grid > 1) hy_table_text(t, "%s", r->grid);
    if (s->n_grid > 1 && e != POINTS) hy_table_int(t, r->points);
    if (e == EVERY) hy_table_int(t, r->best);
    if (hy_summary_mixes_precisions(s)) hy_table_text(t, "%s", r->precision);
    const int seeds = hy_summary_row_seeds(r, columns);
    hy_table_int(t, seeds);
    hy_table_int(t, r->planned);
    hy_table_int(t, r->done);
    hy_table_int(t, r->failed);
    hy_table_int(t, r->measures_failed);
    hy_table_text(t, "%s", r->origin);
    for (int i = 0; i < columns->n; i++) add_figure(t, r, &columns->v[i], seeds);
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
    for (int i = 0; i < s->n_rows; i++) {
        const char *metric;
        if (i > 0 && s->rows[i].task_ord == s->rows[i - 1].task_ord) continue;
        for (int k = 0; (metric = hy_summary_compared(s, k)); k++) {
            char *text = hy_summary_pairs_text(s, s->rows[i].task, metric);
            if (text) hy_table_note(t, "%s", text);
            free(text);
        }
    }
}

static void add_timing_notes(const hy_summary *s, hy_table *t) {
    char *at = hy_summary_timing_text(s);
    if (at) hy_table_note(t, "throughput: %s (hylab show sql v_timing has all timings)", at);
    free(at);
    hy_summary_speed_note(s, t);
    if (s->waited > HY_SUMMARY_WAITED)
        hy_table_note(
            t,
            "throughput is disturbed: threads waited up to %.0f %% of the time while other programs had the processors;"
            " time again in quiet (hylab run --remeasure throughput)",
            100 * s->waited);
}

// Whether a row of the table has figures of fewer seeds than others.
static bool some_fewer(const hy_summary *s, extent e, const hy_summary_columns *c) {
    for (int i = 0; i < s->n_rows; i++) {
        const int seeds = hy_summary_row_seeds(&s->rows[i], c);
        for (int k = 0; k < c->n && (e != BEST || s->rows[i].best); k++) {
            const hy_summary_value *v = hy_summary_column_value(&s->rows[i], &c->v[k]);
            if (v && v->n && v->n != seeds) return true;
        }
    }
    return false;
}

static void add_notes(const hy_summary *s, hy_table *t, const char *papers, bool fewer) {
    bool stopped = false;
    for (int i = 0; i < s->n_rows; i++) stopped = stopped || hy_summary_get(&s->rows[i], "reached", "");
    char *choice = hy_summary_choice_text(s);
    hy_table_note(t, "mean ± standard deviation (n - 1) over seeds%s%s%s",
                  fewer ? "; in brackets: of so many seeds only" : "", choice ? "; " : "", choice ? choice : "");
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
    if (e != POINTS) add_notes(s, t, papers, some_fewer(s, e, &columns));
    hy_summary_columns_free(&columns);
    return t;
}

// Every pair of variants that is compared in a metric of hy_summary_compared.
static hy_json *pairs_json(const hy_summary *s) {
    static const struct {
        const char *name;
        hy_align_side side;
    } columns[] = {{"task", HY_LEFT},  {"metric", HY_LEFT}, {"unit", HY_LEFT},    {"held_out", HY_RIGHT},
                   {"a", HY_LEFT},     {"b", HY_LEFT},      {"n", HY_RIGHT},      {"df", HY_RIGHT},
                   {"mean", HY_RIGHT}, {"sd", HY_RIGHT},    {"lo", HY_RIGHT},     {"hi", HY_RIGHT},
                   {"t", HY_RIGHT},    {"p", HY_RIGHT},     {"p_holm", HY_RIGHT}, {"told_apart", HY_RIGHT}};
    hy_table *t = hy_table_new("differences a - b of the same seeds; lo, hi: 95 % interval of their mean, paired t; "
                               "p_holm: after Holm's correction over the pairs of a metric");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        hy_table_column(t, columns[i].name, NULL, NULL, columns[i].side);
    const char *metric;
    for (int k = 0; (metric = hy_summary_compared(s, k)); k++) {
        const hy_metric_def *d = hy_metric_find(metric);
        hy_summary_pairs pairs = hy_summary_pairs_of(s, metric);
        for (int i = 0; i < pairs.n; i++) {
            const hy_summary_pair *p = &pairs.v[i];
            const hy_stat *x = &p->difference;
            hy_table_row(t);
            const char *texts[] = {p->a->task, metric, d->unit_shown};
            for (int j = 0; j < 3; j++) hy_table_text(t, "%s", texts[j]);
            hy_table_int(t, hy_summary_holds_out(s, metric));
            hy_table_text(t, "%s", p->a->variant);
            hy_table_text(t, "%s", p->b->variant);
            hy_table_int(t, p->n);
            if (p->n > 0)
                hy_table_int(t, p->n - 1);
            else
                hy_table_empty(t);
            const double v[] = {x->mean * d->scale, x->sd * d->scale, x->lo * d->scale, x->hi * d->scale, p->t, p->p,
                                p->p_holm};
            for (int j = 0; j < 7; j++) hy_table_num(t, v[j], -6);
            hy_table_int(t, p->apart);
        }
        free(pairs.v);
    }
    hy_json *j = hy_table_json(t);
    hy_table_free(t);
    return j;
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
    hy_json_set(doc, "pairs", pairs_json(s));
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
