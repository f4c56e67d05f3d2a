// plots_gradient.c - how strongly the last output depends on inputs at each distance: a line for each variant. See
// plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/format/field.h"

double hy_plots_gradient_x(double first, double last) { return sqrt((first + 1) * (last + 1)); }

hy_status hy_plots_draw_gradient(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_series *series, int n) {
    const hy_metric_def *d = hy_metric_find("gradient_share");
    const hy_metric_look look = hy_metric_look_of(d, INFINITY);
    char *label = hy_metric_axis(d, &look, "");
    const hy_fig_panel panel = {NULL,
                                {"tokens back, with the last itself as 1", true, NAN, NAN, HY_TICS_AUTO},
                                {label, true, NAN, NAN, HY_TICS_AUTO},
                                series,
                                n};
    const hy_status s = hy_fig_lines(out, head, &panel, 1);
    free(label);
    return s;
}

// The points of a variant, by distance (hy_plots_insert). Returns how many.
static int fill(const hy_summary_row *r, int room, double *at) {
    const double scale = hy_metric_find("gradient_share")->scale;
    int n = 0;
    for (int k = 0; k < r->n_values; k++) {
        const hy_summary_value *v = &r->values[k];
        if (strcmp(v->metric, "gradient_share") || v->set || !isfinite(v->x) || !isfinite(v->y)) continue;
        hy_plots_insert(n++, room, at, hy_plots_gradient_x(v->x, v->y), &v->stat, scale);
    }
    return n;
}

static hy_status draw(hy_plots *p, int task, const hy_fig_series *series, int n, const char *options) {
    hy_fig_head head;
    char seeds[40], *title = hy_plots_head(p, task, "gradient_share", "what the last output depends on", &head);
    char *note = hy_asprintf(HY_PLOTS_GRADIENT ". Mean over seeds, %s. %s", hy_plots_bars(&head), options);
    head.note = note;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, "gradient-erf", NULL);
    hy_status s = hy_plots_draw_gradient(&out, &head, series, n);
    s = hy_plots_done(p, s,
                      "%s: the size of the gradient with respect to each input, as a share of all, by distance; means "
                      "over seeds (%s); %s.",
                      title, seeds, hy_plots_bars(&head));
    free(title), free(note);
    return s;
}

hy_status hy_plot_gradient(hy_plots *p, int task) {
    const int n = p->s->n_variants;
    const char **names = hy_plots_variants(p);
    hy_fig_series *series = hy_xcalloc((size_t)n + 1, sizeof *series);
    double **points = hy_xcalloc((size_t)n + 1, sizeof *points);
    char *options = NULL;
    int lines = 0;
    for (int v = 0; v < n; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        const hy_summary_value *any = r ? hy_summary_get(r, "gradient_share", NULL) : NULL;
        if (!any) continue;
        const size_t room = (size_t)r->n_values;
        double *at = points[v] = hy_xcalloc(4 * room + 1, sizeof *at);
        const int count = fill(r, r->n_values, at);
        if (!options) options = hy_fields_line(any->options);
        series[lines++] = (hy_fig_series){names[v], v, count, at, at + room, at + 2 * room, at + 3 * room};
    }
    const hy_status s = lines ? draw(p, task, series, lines, options) : HY_OK;
    for (int v = 0; v < n; v++) free(points[v]);
    free(points), free(series), free(names), free(options);
    return s;
}
