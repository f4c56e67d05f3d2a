// report_page.c - see report_page.h: question, table, what it shows and does not, figures.
#include "analysis/report/report_page.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------- the table
static bool anywhere(const hy_summary *s, const char *metric) {
    for (int i = 0; i < s->n_rows; i++)
        if (s->rows[i].best && hy_summary_shown(&s->rows[i], metric)) return true;
    return false;
}

// The names of the paper's figures, each once. The caller frees the array only.
static const char **paper_names(const hy_summary *s, int *count) {
    const char **names = hy_xcalloc((size_t)s->n_paper + 1, sizeof *names);
    int n = 0;
    for (int i = 0; i < s->n_paper; i++) {
        int k = 0;
        while (k < n && strcmp(names[k], s->paper[i].name)) k++;
        if (k == n) names[n++] = s->paper[i].name;
    }
    *count = n;
    return names;
}

typedef struct {
    hy_report_column *col;
    int n_cols, n_cells, cap;
    char **cell;
} grid;

static void put(grid *g, char *text) {  // takes text; NULL: an empty cell
    if (g->n_cells == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 64;
        g->cell = hy_xrealloc(g->cell, (size_t)g->cap * sizeof *g->cell);
    }
    g->cell[g->n_cells++] = text;
}

// seeds: of the row; a figure of fewer tells its own number, as in the table of `hylab run`.
static char *shown(const hy_summary_row *r, const hy_summary_column *c, int seeds) {
    const hy_summary_value *v = hy_summary_column_value(r, c);
    const hy_metric_look *l = &c->look;
    if (!v || isnan(v->stat.mean)) return NULL;
    char n[24] = "";
    if (v->n != seeds) snprintf(n, sizeof n, " (n = %d)", v->n);
    if (!c->metric->spread || isnan(v->stat.sd)) return hy_asprintf("%.*f%s", l->decimals, v->stat.mean * l->scale, n);
    return hy_asprintf("%.*f ± %.*f%s", l->decimals, v->stat.mean * l->scale, l->decimals, v->stat.sd * l->scale, n);
}

// Under the table: how the figures came about.
static void add_caption(const hy_summary *s, bool paper, hy_buf *caption) {
    hy_buf_printf(caption, "Mean ± standard deviation over seeds; n where a figure is not of all of them.");
    char *choice = hy_summary_choice_text(s), *computed = hy_summary_computed_text(s);
    if (choice) hy_buf_printf(caption, " %c%s.", toupper((unsigned char)*choice), choice + 1);
    if (computed) hy_buf_printf(caption, " %c%s.", toupper((unsigned char)*computed), computed + 1);
    free(choice), free(computed);
    const hy_summary_value *cache = NULL;
    for (int i = 0; i < s->n_rows && !cache; i++) cache = hy_summary_shown(&s->rows[i], "cache_true");
    if (cache) hy_buf_printf(caption, " Cache: one sequence of %.0f tokens, %s.", cache->x, hy_summary_values_text(s));
    char *timing = hy_summary_timing_text(s);
    if (timing) hy_buf_printf(caption, " Throughput: %s.", timing);
    free(timing);
    if (paper)
        hy_buf_printf(
            caption,
            " The paper's figures come from other sizes of model, data and machines: compare orders, not values.");
}

static void add_row(const hy_summary *s, const hy_summary_row *w, const hy_summary_columns *columns,
                    const char *const *paper, int n_paper, grid *g) {
    put(g, hy_xstrdup(w->variant));
    if (s->n_tasks > 1) put(g, hy_xstrdup(w->task));
    if (s->n_grid > 1) put(g, hy_xstrdup(w->grid));
    if (!hy_summary_all_points(s)) put(g, hy_asprintf("%d", w->points));
    if (hy_summary_mixes_precisions(s)) put(g, hy_xstrdup(w->precision));
    const int seeds = hy_summary_row_seeds(w, columns);
    put(g, seeds == w->planned ? hy_asprintf("%d", seeds) : hy_asprintf("%d of %d", seeds, w->planned));
    for (int k = 0; k < columns->n; k++) put(g, shown(w, &columns->v[k], seeds));
    for (int k = 0; k < n_paper; k++) {
        const double v = hy_summary_paper_value(s, w->variant, paper[k]);
        put(g, isnan(v) ? NULL : hy_asprintf("%.6g", v));
    }
}

static void add_table(const hy_summary *s, hy_report *r) {
    grid g = {0};
    int n_paper;
    const char **paper = paper_names(s, &n_paper);
    hy_summary_columns columns = hy_summary_columns_of(s, false, true);
    g.col = hy_xcalloc((size_t)columns.n + (size_t)n_paper + 6, sizeof *g.col);
    g.col[g.n_cols++] = (hy_report_column){NULL, "variant", NULL, false};
    if (s->n_tasks > 1) g.col[g.n_cols++] = (hy_report_column){NULL, "task", NULL, false};
    if (s->n_grid > 1)
        g.col[g.n_cols++] = (hy_report_column){NULL, hy_summary_is_course(s) ? "at" : "best at", NULL, false};
    if (!hy_summary_all_points(s)) g.col[g.n_cols++] = (hy_report_column){NULL, "of points", NULL, true};
    if (hy_summary_mixes_precisions(s)) g.col[g.n_cols++] = (hy_report_column){NULL, "precision", NULL, false};
    g.col[g.n_cols++] = (hy_report_column){NULL, "seeds", NULL, true};
    for (int k = 0; k < columns.n; k++)
        g.col[g.n_cols++] =
            (hy_report_column){n_paper ? "these runs" : NULL, columns.v[k].header, columns.v[k].look.unit, true};
    for (int k = 0; k < n_paper; k++) g.col[g.n_cols++] = (hy_report_column){"the paper", paper[k], NULL, true};
    int rows = 0;
    for (int i = 0; i < s->n_rows; i++) {
        if (!s->rows[i].best) continue;
        rows++;
        add_row(s, &s->rows[i], &columns, paper, n_paper, &g);
    }
    hy_buf caption = {0};
    add_caption(s, n_paper > 0, &caption);
    hy_report_table(r, caption.s, g.col, g.n_cols, (const char *const *)g.cell, rows);
    for (int i = 0; i < g.n_cells; i++) free(g.cell[i]);
    free(g.cell), free(g.col), free(paper);
    free(caption.s);
    hy_summary_columns_free(&columns);
}

// ---------------------------------------------------------------------------------------------------- what it shows
// A clause as an item of the list. Takes text; NULL: nothing.
static void say(hy_buf *b, char *text) {
    if (text) hy_buf_printf(b, "- %c%s.\n", toupper((unsigned char)*text), text + 1);
    free(text);
}

static void say_ranks(const hy_summary *s, const char *task, bool first_task, hy_buf *b) {
    int n_paper;
    const char **paper = paper_names(s, &n_paper);
    for (int k = 0; k < n_paper; k++) say(b, hy_summary_rank_text(s, task, first_task, paper[k]));
    free(paper);
}

static void say_perfect(const hy_plots *p, int task, hy_buf *b) {
    int perfect = 0, seen = 0;
    for (int i = 0; i < p->s->n_variants; i++) {
        const hy_summary_row *r = hy_plots_row(p, task, i);
        const hy_summary_value *v = r ? hy_summary_get(r, "accuracy", "") : NULL;
        seen += v != NULL;
        perfect += v && v->stat.mean > 0.99;
    }
    if (perfect > 1)
        hy_buf_printf(b, "- On %s, %d of %d variants are above 99 %%: the task does not tell these apart.\n",
                      hy_plots_task(p, task), perfect, seen);
}

static void say_runs(const hy_summary *s, hy_buf *b) {
    int planned = 0, done = 0, few = 1 << 30;
    hy_summary_columns columns = hy_summary_columns_of(s, false, true);
    double largest = 0;
    for (int i = 0; i < s->n_rows; i++) {
        const hy_summary_row *r = &s->rows[i];
        planned += r->planned, done += r->done;
        if (r->best) few = hy_summary_row_seeds(r, &columns) < few ? hy_summary_row_seeds(r, &columns) : few;
        const hy_summary_value *v = hy_summary_get(r, "parameters", "");
        if (v && v->stat.mean > largest) largest = v->stat.mean;
    }
    hy_summary_columns_free(&columns);
    hy_buf_printf(b, "- %d of %d planned runs are done; what failed or is missing is not in the means.\n", done,
                  planned);
    char *gap;
    for (int k = 0; (gap = hy_summary_gap_text(s, k)); k++) say(b, gap);
    say(b, hy_summary_origin_text(s));
    if (few < HY_STAT_LEAST)
        hy_buf_printf(b, "- Some variants have fewer than %d seeds: their standard deviation says little.\n",
                      HY_STAT_LEAST);
    if (largest > 0) {
        const hy_metric_look l = hy_metric_look_of(hy_metric_find("parameters"), largest);
        hy_buf_printf(
            b,
            "- The largest model here has %.3g %s parameters. What holds at this size and on these tasks need not hold"
            " at others.\n",
            largest * l.scale, *l.unit == 'k' ? "thousand" : "million");
    }
    if (s->waited > HY_SUMMARY_WAITED)
        hy_buf_printf(b,
                      "- Throughput is disturbed: threads waited up to %.0f %% of the time while other programs had "
                      "the processors."
                      " Its figures say little.\n",
                      100 * s->waited);
    if (anywhere(s, "throughput_decode"))
        hy_buf_printf(b, "- Throughput is that of this machine and these kernels; ratios between variants change with "
                         "size, context and"
                         " device.\n");
}

static void add_findings(const hy_plots *p, hy_report *r) {
    hy_buf b = {0};
    for (int t = 0; t < p->s->n_tasks; t++) {
        say_ranks(p->s, hy_plots_task(p, t), t == 0, &b);
        const char *metric;
        for (int k = 0; (metric = hy_summary_compared(p->s, k)); k++)
            say(&b, hy_summary_pairs_text(p->s, hy_plots_task(p, t), metric));
        say_perfect(p, t, &b);
    }
    say_runs(p->s, &b);
    hy_report_text(r, b.s);
    free(b.s);
}

// ---------------------------------------------------------------------------------------------------- figures
// Which figure of the list comes where: by question, and those of one question as they were drawn.
static int *by_question(const hy_plots *p) {
    int *order = hy_xcalloc((size_t)p->n + 1, sizeof *order), n = 0;
    for (int q = 0; q < HY_QUESTIONS; q++)
        for (int i = 0; i < p->n; i++)
            if (hy_plot_kinds[p->file[i].kind].question == (hy_question)q) order[n++] = i;
    return order;
}

// What of its kind a figure is of: a variant, a task, or one on the other. The caller frees it.
static char *of_kind(const hy_plots *p, const hy_plot_file *f) {
    const char *task = p->s->n_tasks > 1 && f->task >= 0 ? hy_plots_task(p, f->task) : NULL;
    if (f->variant && task) return hy_asprintf("%s on %s", f->variant, task);
    return hy_xstrdup(f->variant ? f->variant : task ? task : "");
}

// The figures of the kind of *at, one or a row of several; moves *at past them.
static hy_status add_kind(const hy_plots *p, const int **at, const int *end, hy_report *r) {
    const hy_plot_kind *k = &hy_plot_kinds[p->file[**at].kind];
    const int *last = *at;
    while (last < end && p->file[*last].kind == p->file[**at].kind) last++;
    hy_report_heading(r, HY_REPORT_KIND, k->heading);
    hy_report_reading(r, k->reading);
    if (last - *at > 1) hy_report_row(r, (int)(last - *at));
    for (; *at < last; ++*at) {
        const hy_plot_file *f = &p->file[**at];
        char *path = hy_asprintf("%s/%s.svg", p->dir, f->name), *of = of_kind(p, f);
        const hy_status s = hy_report_figure(r, path, of, f->caption);
        free(path), free(of);
        if (s) return s;
    }
    return HY_OK;
}

static hy_status add_figures(const hy_plots *p, hy_report *r) {
    int *order = by_question(p);
    hy_status s = HY_OK;
    if (p->n) hy_report_section(r, "Figures");
    int asked = -1;
    for (const int *at = order, *end = order + p->n; !s && at < end;) {
        const int question = (int)hy_plot_kinds[p->file[*at].kind].question;
        if (question != asked) hy_report_heading(r, HY_REPORT_QUESTION, hy_questions[question]);
        asked = question;
        s = add_kind(p, &at, end, r);
    }
    free(order);
    return s;
}

hy_status hy_report_page(const hy_plots *p, hy_report *r) {
    if (*p->s->question) {
        hy_report_section(r, "Question");
        hy_report_text(r, p->s->question);
    }
    hy_report_section(r, "Result");
    char *words = hy_summary_words(p->s);
    if (words) hy_report_text(r, words);
    free(words);
    add_table(p->s, r);
    hy_report_section(r, "What this shows, and what it does not");
    add_findings(p, r);
    HY_TRY(add_figures(p, r));
    hy_report_section(r, "Recipe");
    HY_TRY(hy_report_recipe(p, r));
    hy_report_section(r, "Provenance");
    return hy_report_provenance(p, r);
}
