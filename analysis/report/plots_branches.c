// plots_branches.c - figures of attention and SSM heads side by side, layer by layer, a panel for each metric, one for
// each variant: what they give, beside their weights in the fusion (as Hymba, Fig. 12), what is lost without them (as
// Fig. 3 and 13), and the residual stream that they add to.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

enum { METRICS = 3, BRANCHES = 2, KINDS = 5 };
static const char *const kinds[KINDS] = {"attention", "ssm", "heads", "mlp", "stream"};
// title, shows: of the figure, for its head and for its caption; alone: the note where the first panel is the only one.
typedef struct {
    const char *file, *title, *note, *alone, *shows;
    const char *metrics[METRICS], *titles[METRICS];
    const char *const *kind_names;
    int n_kinds;
    bool below_zero;  // values may be
} look;
static const char *const branch_names[BRANCHES] = {"attention heads", "SSM heads"};
static const char *const stream_names[KINDS] = {"added by attention heads", "added by SSM heads",
                                                "added by both, fused", "added by the MLP", "residual stream"};
static const look outputs = {
    .file = "outputs",
    .title = "outputs by layer",
    .note = "Root mean square over text positions and channels, before and after the fusion; |beta|: mean size of its "
            "learned weights",
    .alone = "Root mean square over text positions and channels",
    .shows = "root mean square of what attention and SSM heads give, and where a layer fuses them, after the fusion's "
             "norm and weights, and these weights",
    .metrics = {"output_rms", "fused_rms", "beta_abs"},
    .titles = {"output of the heads", "after norm, beta and fusion", "weight in the fusion"},
    .kind_names = branch_names,
    .n_kinds = BRANCHES};
static const look stream = {
    .file = "stream",
    .title = "residual stream by layer",
    .note = "Over text positions; the stream is as it enters a layer; cosine: mean over pairs of different positions "
            "of an example",
    .alone = "Over text positions; the stream is as it enters a layer",
    .shows = "root mean square of a coordinate of the residual stream as it enters a layer and of what each part of "
             "the layer adds, and the mean cosine of the stream at two different positions of an example",
    .metrics = {"stream_rms", "stream_cosine"},
    .titles = {"size of a coordinate", "how alike positions are"},
    .kind_names = stream_names,
    .n_kinds = KINDS};
static const look importance = {
    .file = "importance",
    .title = "what is lost without the heads of a layer",
    .note =
        "All attention heads or all SSM heads of one layer taken out at a time; above 0: the model is worse without",
    .alone =
        "All attention heads or all SSM heads of one layer taken out at a time; above 0: the model is worse without",
    .shows =
        "accuracy and loss without all attention heads, or without all SSM heads, of one layer, as differences from "
        "the whole model on the same examples",
    .metrics = {"accuracy_drop", "loss_rise"},
    .titles = {"drop of the accuracy", "rise of the loss"},
    .kind_names = branch_names,
    .n_kinds = BRANCHES,
    .below_zero = true};

// Room for the series of one figure: x, y, lo, hi of each metric and kind, at most `room` points each.
typedef struct {
    int room, n_panels, n_series;
    double *values;
    hy_fig_series series[METRICS * KINDS];
    hy_fig_panel panel[METRICS];
    char *label[METRICS];
} figure;

// Attention and SSM differ by orders of magnitude before the fusion's norm: then only a logarithmic axis shows both.
static bool wide(const hy_fig_series *s, int n) {
    double low = INFINITY, high = 0;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < s[k].n; i++) low = fmin(low, s[k].y[i]), high = fmax(high, s[k].y[i]);
    return low > 0 && high > 10 * low;
}

static bool below_zero(const hy_fig_series *s, int n) {
    for (int k = 0; k < n; k++)
        for (int i = 0; i < s[k].n; i++)
            if (s[k].y[i] < 0) return true;
    return false;
}

static void add_panel(figure *f, const look *l, const hy_summary_row *r, int metric) {
    hy_fig_series *first = &f->series[f->n_series];
    const hy_metric_def *d = hy_metric_find(l->metrics[metric]);
    int n = 0;
    for (int k = 0; k < l->n_kinds; k++) {
        double *at = f->values + (size_t)(metric * KINDS + k) * 4 * (size_t)f->room;
        const int points = hy_plots_by_layer(r, d->name, kinds[k], f->room, at);
        if (points)
            first[n++] =
                (hy_fig_series){l->kind_names[k], k, points, at, at + f->room, at + 2 * f->room, at + 3 * f->room};
    }
    if (n == 0) return;
    const hy_metric_look units = hy_metric_look_of(d, INFINITY);
    f->label[metric] = l->below_zero ? hy_metric_axis(d, &units, "") : hy_xstrdup(d->label);
    const bool log = !l->below_zero && d->range == HY_POSITIVE && wide(first, n),
               any = l->below_zero || below_zero(first, n);
    f->panel[f->n_panels++] = (hy_fig_panel){l->titles[metric],
                                             {"layer", false, NAN, NAN, HY_TICS_WHOLE},
                                             {f->label[metric], log, log || any ? NAN : 0, NAN, HY_TICS_AUTO},
                                             first,
                                             n};
    f->n_series += n;
}

static hy_status draw(hy_plots *p, const look *l, int task, const hy_summary_row *r, const figure *f) {
    hy_fig_head head;
    char seeds[40], *title = hy_plots_head(p, task, l->metrics[0], l->title, &head);
    char *full = hy_asprintf("%s, %s", title, r->variant);
    const hy_summary_value *any = hy_summary_get(r, l->metrics[0], NULL);
    head.title = full;
    if (any) head.runs = head.seeds_min = head.seeds_max = any->n;
    char *note = hy_asprintf("%s. Mean over seeds, %s", f->n_panels > 1 ? l->note : l->alone, hy_plots_bars(&head));
    head.note = note;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, l->file, r->variant);
    hy_status s = hy_fig_lines(&out, &head, f->panel, f->n_panels);
    s = hy_plots_done(p, s, "%s: %s; means over seeds (%s); %s.", full, l->shows, seeds, hy_plots_bars(&head));
    free(title), free(full), free(note);
    return s;
}

static hy_status plot(hy_plots *p, const look *l, int task) {
    hy_status s = HY_OK;
    for (int v = 0; v < p->s->n_variants && !s; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        if (!r) continue;
        figure f = {.room = r->n_values + 1};
        f.values = hy_xcalloc((size_t)METRICS * KINDS * 4 * (size_t)f.room, sizeof *f.values);
        for (int m = 0; m < METRICS && l->metrics[m]; m++) add_panel(&f, l, r, m);
        if (f.n_panels) s = draw(p, l, task, r, &f);
        for (int m = 0; m < METRICS; m++) free(f.label[m]);
        free(f.values);
    }
    return s;
}

hy_status hy_plot_outputs(hy_plots *p, int task) { return plot(p, &outputs, task); }
hy_status hy_plot_stream(hy_plots *p, int task) { return plot(p, &stream, task); }
hy_status hy_plot_importance(hy_plots *p, int task) { return plot(p, &importance, task); }
