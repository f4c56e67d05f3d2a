// plots.c - see plots.h: names, headers, and the figures with one point or bar for each variant.
#include "analysis/report/plots.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static hy_fig_axis axis(const char *label, bool log) { return (hy_fig_axis){label, log, NAN, NAN, HY_TICS_AUTO}; }

// ---------------------------------------------------------------------------------------------------- points
// A metric of every variant on a task, scaled; NAN where missing. timing: of the largest context.
static int column(const hy_plots *p, int task, const char *metric, double scale, double *mean, double *sd, const hy_summary_value **any) {
    const bool timing = !strncmp(metric, "throughput", 10);
    int n = 0;
    *any = NULL;
    for (int v = 0; v < p->s->n_variants; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        const hy_summary_value *x = r ? hy_summary_get(r, metric, timing ? NULL : "") : NULL;
        mean[v] = x ? x->stat.mean * scale : NAN;
        if (sd) sd[v] = x ? x->stat.sd * scale : NAN;
        if (x) *any = x;
        n += x != NULL;
    }
    return n;
}

typedef struct {
    const char *name, *title, *x, *y, *size;
    bool log_y;
} point_figure;

// Bytes as MB, or kB where all are small.
static const char *byte_unit(double *v, int n) {
    double top = 0;
    for (int i = 0; i < n; i++) top = fmax(top, isnan(v[i]) ? 0 : v[i]);
    const bool small = top < 1e6;
    for (int i = 0; i < n; i++) v[i] /= small ? 1e3 : 1e6;
    return small ? "kB" : "MB";
}

static char *metric_label(const char *metric, const hy_summary_value *any, double *v, int n) {
    if (!strcmp(metric, "cache_true")) return hy_asprintf("cache at %.0f tokens (%s)", any->x, byte_unit(v, n));
    if (!strcmp(metric, "throughput_decode")) return hy_asprintf("decoding at depth %.0f (tokens/s)", any->x);
    if (!strcmp(metric, "erf")) return hy_xstrdup("effective receptive field (tokens)");
    return hy_xstrdup("accuracy (%)");
}

// What the receptive field of a task was measured with, "; ssm=... meta=..."; "" if nothing is stored of it. The caller frees it.
static char *erf_options(const hy_plots *p, int task) {
    const hy_experiment_id e = hy_plots_id(p);
    char *options, *text = NULL;
    if (hy_ask_erf_options(p->store, &e, task, &options)) return hy_xstrdup("");
    if (*options) text = hy_asprintf("; %s", options);
    free(options);
    return text ? text : hy_xstrdup("");
}

static hy_status draw_points(hy_plots *p, int task, const point_figure *f) {
    const int n = p->s->n_variants;
    double *x = hy_xcalloc((size_t)n * 4, sizeof *x), *y = x + n, *sd = x + 2 * n, *size = x + 3 * n;
    const hy_summary_value *ax, *ay, *as = NULL;
    const bool share = !strcmp(f->y, "accuracy");
    int have = column(p, task, f->x, 1, x, NULL, &ax) && column(p, task, f->y, share ? 100 : 1, y, sd, &ay), both = 0;
    for (int v = 0; v < n && have; v++) both += !isnan(x[v]) && !isnan(y[v]);
    if (!both) {
        free(x);
        return HY_OK;
    }
    for (int v = 0; v < n; v++) size[v] = NAN;
    if (f->size) column(p, task, f->size, 1, size, NULL, &as);
    char *lx = metric_label(f->x, ax, x, n), *ly = metric_label(f->y, ay, y, n), *ls = as ? metric_label(f->size, as, size, n) : NULL;
    const char **names = hy_plots_variants(p);
    hy_fig_point *q = hy_xcalloc((size_t)n, sizeof *q);
    for (int v = 0; v < n; v++) q[v] = (hy_fig_point){names[v], x[v], y[v], sd[v], size[v]};
    hy_fig_head head;
    char *options = strcmp(f->y, "erf") ? hy_xstrdup("") : erf_options(p, task);
    char *note = hy_asprintf("Mean over seeds, bars: standard deviation%s%s", ls ? "; area of a point: see legend" : "", options);
    char *title = hy_plots_head(p, task, f->y, f->title, note, &head);
    const hy_fig_out out = hy_plots_out(p, task, f->name, NULL);
    const hy_fig_axis hx = axis(lx, true), hy = axis(ly, f->log_y);
    hy_status s = hy_fig_points(&out, &head, &hx, &hy, ls, q, n);
    s = hy_plots_done(p, s, "%s: %s against %s%s%s%s. Each point is a variant: the mean over its seeds, with the standard deviation.",
                      title, ly, lx, ls ? "; the area of a point is " : "", ls ? ls : "", "");
    free(title), free(note), free(options), free(q), free(names), free(lx), free(ly), free(ls), free(x);
    return s;
}

static hy_status plot_accuracy_cache(hy_plots *p, int task) {
    return draw_points(p, task, &(point_figure){"accuracy-cache", "accuracy against cache", "cache_true", "accuracy", "throughput_decode", false});
}
static hy_status plot_accuracy_throughput(hy_plots *p, int task) {
    return draw_points(p, task, &(point_figure){"accuracy-throughput", "accuracy against throughput", "throughput_decode", "accuracy", "cache_true", false});
}
static hy_status plot_erf_cache(hy_plots *p, int task) {
    return draw_points(p, task, &(point_figure){"erf-cache", "receptive field against cache", "cache_true", "erf", NULL, true});
}

// ---------------------------------------------------------------------------------------------------- recall
// The evaluation cells of a task, if there are 2 to HY_PLOTS_MAX_BARS of them; else one series for the whole task.
static int cells_of(const hy_plots *p, int task, const char **cells) {
    int n = 0;
    for (int v = 0; v < p->s->n_variants; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        for (int i = 0; r && i < r->n_values; i++) {
            if (strcmp(r->values[i].metric, "accuracy") || !*r->values[i].cell) continue;
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

static hy_status plot_recall(hy_plots *p, int task) {
    const char *cells[HY_PLOTS_MAX_BARS];
    const int n = p->s->n_variants, k = cells_of(p, task, cells);
    hy_fig_bar *bars = hy_xcalloc((size_t)n * (size_t)k, sizeof *bars);
    double *values = NULL;
    int total = 0, have = 0;
    for (int v = 0; v < n; v++)
        for (int c = 0; c < k; c++) {
            const hy_summary_row *r = hy_plots_row(p, task, v);
            const hy_summary_value *x = r ? hy_summary_get(r, "accuracy", cells[c]) : NULL;
            bars[v * k + c] = (hy_fig_bar){.mean = x ? 100 * x->stat.mean : NAN, .err = x ? 100 * x->stat.sd : NAN, .n = x ? x->n : 0};
            total += x ? x->n : 0;
            have += x != NULL;
        }
    values = hy_xcalloc((size_t)total + 1, sizeof *values);
    double *at = values;
    for (int v = 0; v < n && have; v++)
        for (int c = 0; c < k; c++) {
            const hy_summary_row *r = hy_plots_row(p, task, v);
            const hy_summary_value *x = r ? hy_summary_get(r, "accuracy", cells[c]) : NULL;
            bars[v * k + c].values = at;
            for (int i = 0; x && i < x->n; i++) *at++ = 100 * x->v[i];
        }
    hy_status s = HY_OK;
    if (have) {
        const char **names = hy_plots_variants(p);
        hy_fig_head head;
        char *title = hy_plots_head(p, task, "accuracy", "accuracy by variant", "Bars: mean over seeds; lines: standard deviation; circles: single runs", &head);
        const hy_fig_out out = hy_plots_out(p, task, "recall", NULL);
        double top = 0;
        for (int i = 0; i < n * k; i++) top = fmax(top, isnan(bars[i].mean) ? 0 : bars[i].mean);
        const hy_fig_axis y = {"accuracy (%)", false, 0, top > 40 ? 105 : NAN, HY_TICS_AUTO};
        s = hy_fig_bars(&out, &head, &y, names, n, cells, k, bars);
        s = hy_plots_done(p, s, "%s%s. Bars are means over seeds, lines the standard deviation, circles the single runs.", title,
                          k > 1 ? ", by evaluation cell" : "");
        free(title), free(names);
    }
    free(values), free(bars);
    return s;
}

// ---------------------------------------------------------------------------------------------------- dispatch
const hy_plot_kind hy_plot_kinds[] = {
    {"accuracy-cache", "accuracy against cache, decoding throughput as point size", "measure cache", plot_accuracy_cache, false},
    {"accuracy-throughput", "accuracy against decoding throughput, cache as point size", "measure throughput", plot_accuracy_throughput, false},
    {"recall", "accuracy of each variant with error bars and single runs", "done runs", plot_recall, false},
    {"loss", "training loss over steps", "done runs", hy_plot_loss, false},
    {"throughput", "training, prefill and decoding against context", "measure throughput", hy_plot_throughput, true},
    {"cache", "cache by layer and kind", "measure cache", hy_plot_cache, true},
    {"maps", "attention maps: attention, SSM, layer (one figure a variant)", "measure maps", hy_plot_maps, false},
    {"grid", "accuracy, and steps or loss, over the values of a grid of one axis, such as learning rates", "a grid", hy_plot_grid, false},
    {"cells", "accuracy over length and depth (tasks with many evaluation cells; one figure a variant)", "done runs", hy_plot_cells, false},
    {"entropy", "entropy of attention maps by layer", "measure maps", hy_plot_entropy, false},
    {"erf-cache", "effective receptive field against cache", "measures erf and cache", plot_erf_cache, false},
    {NULL, NULL, NULL, NULL, false},
};

static hy_status draw_kind(hy_plots *p, const hy_plot_kind *k) {
    if (k->once) return k->draw(p, -1);
    for (int t = 0; t < p->s->n_tasks; t++) HY_TRY(k->draw(p, t));
    return HY_OK;
}

hy_status hy_plots_draw(hy_plots *p, const char *kind) {
    HY_TRY(hy_gnuplot_check());
    int n = snprintf(p->scale, sizeof p->scale, "%s%s", p->s->scale, *p->s->scale ? " scale" : "");
    if (p->s->n_grid > 1 && n < (int)sizeof p->scale)
        snprintf(p->scale + n, sizeof p->scale - (size_t)n, "%sof each variant the best of %d grid points by mean %s", n ? "; " : "", p->s->n_grid,
                 *p->s->tune_by ? p->s->tune_by : "accuracy");
    n = (int)strlen(p->scale);
    char *computed = hy_summary_computed_text(p->s);
    if (computed) snprintf(p->scale + n, sizeof p->scale - (size_t)n, "%s%s", n ? "; " : "", computed);
    free(computed);
    hy_buf names = {0};
    for (const hy_plot_kind *k = hy_plot_kinds; k->name; k++) {
        hy_buf_printf(&names, "%s%s", names.n ? ", " : "", k->name);
        if (kind && strcmp(kind, k->name)) continue;
        const int before = p->n;
        hy_status s = draw_kind(p, k);
        if (!s && kind && p->n == before)
            s = hy_error(HY_EINPUT, "nothing to show in figure %s: it needs %s", k->name, k->needs);
        if (s || kind) {
            free(names.s);
            return s;
        }
    }
    hy_status s = HY_OK;
    if (kind) s = hy_error(HY_EINPUT, "no figure \"%s\": there are %s", kind, names.s);
    else if (!p->n) s = hy_error(HY_EINPUT, "%s has no finished run yet: nothing to draw", p->s->experiment);
    free(names.s);
    return s;
}
