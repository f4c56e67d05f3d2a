// plots.c - see plots.h: names, headers, and the figures with one point or bar for each variant.
#include "analysis/report/plots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------- points
// A metric of every variant on a task, in the unit that it is shown in; NAN where missing. Free mean (which lo and hi
// follow) and label.
typedef struct {
    double *mean, *lo, *hi;  // [n_variants]
    char *label;             // of an axis; NULL: no variant has the metric
} column;

static column column_of(const hy_plots *p, int task, const char *metric) {
    const int n = p->s->n_variants;
    const hy_metric_def *d = hy_metric_find(metric);
    const hy_summary_value *any = NULL;
    column c = {.mean = hy_xcalloc(3 * (size_t)n, sizeof(double))};
    double largest = -INFINITY;
    c.lo = c.mean + n, c.hi = c.mean + 2 * n;
    for (int v = 0; v < n; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        const hy_summary_value *x = r ? hy_summary_shown(r, metric) : NULL;
        c.mean[v] = x ? x->stat.mean : NAN;
        c.lo[v] = x ? x->stat.lo : NAN;
        c.hi[v] = x ? x->stat.hi : NAN;
        if (!x) continue;
        any = x;
        largest = fmax(largest, x->stat.mean);
    }
    if (!any) return c;
    const hy_metric_look look = hy_metric_look_of(d, largest);
    char at[40];
    hy_plots_context(any, at);
    c.label = hy_metric_axis(d, &look, at);
    for (int v = 0; v < 3 * n; v++) c.mean[v] *= look.scale;
    return c;
}

static void column_free(column *c) { free(c->mean), free(c->label); }

typedef struct {
    const char *name, *title, *x, *y, *size;
    bool log_y;
} point_figure;

// What the receptive field of a task was measured with, "; ssm=... meta=..."; "" if nothing is stored of it. The caller
// frees it.
static char *erf_options(const hy_plots *p, int task) {
    const hy_experiment_id e = hy_plots_id(p);
    char *options, *text = NULL;
    if (hy_ask_erf_options(p->store, &e, task, &options)) return hy_xstrdup("");
    if (*options) text = hy_asprintf("; %s", options);
    free(options);
    return text ? text : hy_xstrdup("");
}

// What a point's other figures are of, where they are of other seeds than the first: "; decoding: n = 1 seed".
static void say_seeds(const hy_plots *p, int task, const char *metric, const hy_fig_head *first, hy_buf *b) {
    hy_fig_head head = {0};
    char seeds[40];
    if (!metric) return;
    hy_plots_count(p, task, metric, &head);
    if (!head.runs || (head.seeds_min == first->seeds_min && head.seeds_max == first->seeds_max)) return;
    hy_plots_seeds(&head, seeds);
    hy_buf_printf(b, "; %s: %s", hy_metric_find(metric)->label, seeds);
}

static bool is_timing(const char *metric) { return metric && !strncmp(metric, "throughput", 10); }

static hy_status draw_points(hy_plots *p, int task, const point_figure *f, const column *x, const column *y,
                             const column *size) {
    const int n = p->s->n_variants;
    const char **names = hy_plots_variants(p), *area = size->label;
    hy_fig_point *q = hy_xcalloc((size_t)n, sizeof *q);
    for (int v = 0; v < n; v++)
        q[v] = (hy_fig_point){names[v], x->mean[v], y->mean[v], y->lo[v], y->hi[v], area ? size->mean[v] : NAN};
    hy_fig_head head;
    char *options = strcmp(f->y, "erf") ? hy_xstrdup("") : erf_options(p, task);
    char seeds[40], *title = hy_plots_head(p, task, f->y, f->title, &head);
    char disturbed[120] = "";
    if (is_timing(f->x) || is_timing(f->size)) hy_plots_disturbed(p, disturbed);
    hy_buf others = {0};
    hy_buf_write(&others, "", 0);
    say_seeds(p, task, f->x, &head, &others);
    if (area) say_seeds(p, task, f->size, &head, &others);
    char *note = hy_asprintf("Mean over seeds%s, %s%s%s%s", others.s, hy_plots_bars(&head),
                             area ? "; area of a point: see legend" : "", options, disturbed);
    head.note = note;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, f->name, NULL);
    const hy_fig_axis hx = hy_plots_axis(x->label, true), hy = hy_plots_axis(y->label, f->log_y);
    hy_status s = hy_fig_points(&out, &head, &hx, &hy, area, q, n);
    s = hy_plots_done(p, s, "%s: %s against %s%s%s. Each point is a variant: the mean over its seeds (%s%s); %s%s.",
                      title, y->label, x->label, area ? "; the area of a point is " : "", area ? area : "", seeds,
                      others.s, hy_plots_bars(&head), disturbed);
    free(title), free(note), free(options), free(q), free(names), free(others.s);
    return s;
}

// Nothing is drawn unless some variant has both figures.
static hy_status plot_points(hy_plots *p, int task, const point_figure *f) {
    column x = column_of(p, task, f->x), y = column_of(p, task, f->y), size = {0};
    if (f->size) size = column_of(p, task, f->size);
    int both = 0;
    for (int v = 0; v < p->s->n_variants; v++) both += !isnan(x.mean[v]) && !isnan(y.mean[v]);
    const hy_status s = both ? draw_points(p, task, f, &x, &y, &size) : HY_OK;
    column_free(&x), column_free(&y), column_free(&size);
    return s;
}

hy_status hy_plot_accuracy_cache(hy_plots *p, int task) {
    return plot_points(p, task,
                       &(point_figure){"accuracy-cache", "accuracy against cache", "cache_true", "accuracy",
                                       "throughput_decode", false});
}
hy_status hy_plot_accuracy_throughput(hy_plots *p, int task) {
    return plot_points(p, task,
                       &(point_figure){"accuracy-throughput", "accuracy against throughput", "throughput_decode",
                                       "accuracy", "cache_true", false});
}
hy_status hy_plot_erf_cache(hy_plots *p, int task) {
    return plot_points(p, task,
                       &(point_figure){"erf-cache", "receptive field against cache", "cache_true", "erf", NULL, true});
}

// ---------------------------------------------------------------------------------------------------- recall
// The evaluation cells of a task, if there are 2 to HY_PLOTS_MAX_BARS of them; else one series for the whole task.
static int cells_of(const hy_plots *p, int task, const char **cells) {
    int n = 0;
    for (int v = 0; v < p->s->n_variants; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        for (int i = 0; r && i < r->n_values; i++) {
            if (strcmp(r->values[i].metric, "accuracy") || r->values[i].set || !*r->values[i].cell) continue;
            int k = 0;
            while (k < n && strcmp(cells[k], r->values[i].cell)) k++;
            if (k < n) continue;
            if (n == HY_PLOTS_MAX_BARS) n = -1;
            if (n < 0) break;
            cells[n++] = r->values[i].cell;
        }
        if (n < 0) break;
    }
    if (n < 2) cells[0] = "", n = 1;
    return n;
}

// Means, spreads and single runs of n variants and k cells; *values holds the single runs. Returns how many bars have a
// value.
static int fill_bars(const hy_plots *p, int task, const char *const *cells, int k, double scale, hy_fig_bar *bars,
                     double **values) {
    const int n = p->s->n_variants;
    int total = 0, have = 0;
    *values = NULL;
    for (int pass = 0; pass < 2; pass++) {
        double *at = *values;
        for (int i = 0; i < n * k; i++) {
            const hy_summary_row *r = hy_plots_row(p, task, i / k);
            const hy_summary_value *x = r ? hy_summary_get(r, "accuracy", cells[i % k]) : NULL;
            if (pass == 0) {
                const hy_stat none = {.mean = NAN, .lo = NAN, .hi = NAN}, *a = x ? &x->stat : &none;
                const hy_summary_value *chance = x ? hy_summary_get(r, "accuracy_chance", cells[i % k]) : NULL;
                bars[i] = (hy_fig_bar){scale * a->mean, scale * a->lo, scale * a->hi, NULL, x ? x->n : 0, 0};
                if (chance) bars[i].chance = scale * chance->stat.mean;
                total += bars[i].n;
                have += x != NULL;
                continue;
            }
            bars[i].values = at;
            for (int j = 0; x && j < x->n; j++) *at++ = scale * x->v[j];
        }
        if (pass == 0) *values = hy_xcalloc((size_t)total + 1, sizeof **values);
    }
    return have;
}

hy_status hy_plot_recall(hy_plots *p, int task) {
    const char *cells[HY_PLOTS_MAX_BARS];
    const int n = p->s->n_variants, k = cells_of(p, task, cells);
    const hy_metric_def *d = hy_metric_find("accuracy");
    const hy_metric_look look = hy_metric_look_of(d, 1);
    hy_fig_bar *bars = hy_xcalloc((size_t)n * (size_t)k, sizeof *bars);
    double *values;
    hy_status s = HY_OK;
    if (fill_bars(p, task, cells, k, look.scale, bars, &values)) {
        const char **names = hy_plots_variants(p);
        hy_fig_head head;
        char seeds[40], *title = hy_plots_head(p, task, "accuracy", "accuracy by variant", &head);
        bool guess = false;
        for (int i = 0; i < n * k; i++) guess = guess || bars[i].chance > 0;
        char *note = hy_asprintf("Mean over seeds, %s; circles: single runs%s", hy_plots_bars(&head),
                                 guess ? "; black lines: a guess among the answers offered" : "");
        head.note = note;
        hy_plots_seeds(&head, seeds);
        char *label = hy_metric_axis(d, &look, "");
        const hy_fig_out out = hy_plots_out(p, task, "recall", NULL);
        double top = 0;
        for (int i = 0; i < n * k; i++) top = fmax(top, isnan(bars[i].mean) ? 0 : bars[i].mean);
        const hy_fig_axis y = {label, false, 0, top > 0.4 * look.scale ? 1.05 * look.scale : NAN, HY_TICS_AUTO};
        s = hy_fig_bars(&out, &head, &y, names, n, cells, k, bars);
        s = hy_plots_done(p, s, "%s%s: means over seeds (%s) and, as circles, the single runs; %s.%s", title,
                          k > 1 ? ", by evaluation cell" : "", seeds, hy_plots_bars(&head),
                          guess ? " The black lines are what a guess among the answers that an example offers gets."
                                : "");
        free(title), free(note), free(label), free(names);
    }
    free(values), free(bars);
    return s;
}

// ---------------------------------------------------------------------------------------------------- dispatch
const hy_plot_kind hy_plot_kinds[] = {
#define X(draw, name, shows, needs, once, question, heading, reading) \
    {name, shows, needs, draw, once, HY_QUESTION_##question, heading, reading},
#include "analysis/report/plots.def"
    {.name = NULL},
};

const char *const hy_questions[] = {
#define Q(question, words) words,
#include "analysis/report/plots.def"
};

static hy_status draw_kind(hy_plots *p, const hy_plot_kind *k) {
    if (k->once) return k->draw(p, -1);
    for (int t = 0; t < p->s->n_tasks; t++) HY_TRY(k->draw(p, t));
    return HY_OK;
}

hy_status hy_plots_draw(hy_plots *p, const char *kind) {
    HY_TRY(hy_gnuplot_check());
    int n = snprintf(p->scale, sizeof p->scale, "%s%s", p->s->scale, *p->s->scale ? " scale" : "");
    const char *by = hy_summary_chosen_by(p->s), *which = by ? "best" : hy_summary_is_course(p->s) ? "last" : "first";
    if (p->s->n_grid > 1 && n < (int)sizeof p->scale)
        snprintf(p->scale + n, sizeof p->scale - (size_t)n, "%sof each variant the %s of %d grid points%s%s",
                 n ? "; " : "", which, p->s->n_grid, by ? " by mean " : "", by ? by : "");
    n = (int)strlen(p->scale);
    char *computed = hy_summary_computed_text(p->s);
    if (computed) snprintf(p->scale + n, sizeof p->scale - (size_t)n, "%s%s", n ? "; " : "", computed);
    free(computed);
    hy_buf names = {0};
    char *damaged = NULL;
    for (const hy_plot_kind *k = hy_plot_kinds; k->name; k++) {
        hy_buf_printf(&names, "%s%s", names.n ? ", " : "", k->name);
        if (kind && strcmp(kind, k->name)) continue;
        const int before = p->n;
        p->kind = (int)(k - hy_plot_kinds);
        hy_status s = draw_kind(p, k);
        if (!s && kind && p->n == before)
            s = hy_error(HY_EINPUT, "nothing to show in figure %s: it needs %s", k->name, k->needs);
        if (s == HY_EINPUT && !kind) {  // what is stored for it is damaged; the others can be drawn
            if (!damaged) damaged = hy_asprintf("figure %s is left out: %s", k->name, hy_error_text());
        } else if (s || kind) {
            free(names.s), free(damaged);
            return s;
        }
    }
    hy_status s = damaged ? hy_error(HY_EINPUT, "%s", damaged) : HY_OK;
    free(damaged);
    if (kind)
        s = hy_error(HY_EINPUT, "no figure \"%s\": there are %s", kind, names.s);
    else if (!s && !p->n)
        s = hy_error(HY_EINPUT, "%s has no finished run yet: nothing to draw", p->s->experiment);
    free(names.s);
    return s;
}
