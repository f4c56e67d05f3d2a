// plots_removal.c - the figure of parts taken out one after another: accuracy left against the share of the parts, a
// panel for each order, a line for each variant.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

enum { ORDERS = 3 };
static const char *const orders[ORDERS] = {"least", "random", "most"};
static const char *const titles[ORDERS] = {"least important first", "at random", "most important first"};

// The points of one order, by the share that is out (hy_plots_insert). Returns how many.
static int fill(const hy_summary_row *r, const char *order, int room, double *at) {
    const double scale = hy_metric_find("accuracy_left")->scale;
    int n = 0;
    for (int k = 0; k < r->n_values; k++) {
        const hy_summary_value *v = &r->values[k];
        if (strcmp(v->metric, "accuracy_left") || v->set || strcmp(v->kind, order) || !isfinite(v->y)) continue;
        hy_plots_insert(n++, room, at, 100 * v->y, &v->stat, scale);
    }
    return n;
}

static hy_status draw(hy_plots *p, int task, const hy_fig_panel *panel, int n, const char *options) {
    hy_fig_head head;
    char seeds[40], *title = hy_plots_head(p, task, "accuracy_left", "accuracy as parts are taken out", &head);
    if (strstr(title, options)) options = "";  // said there already: of several sets, the first
    char *note =
        hy_asprintf("Importance: rise of the loss without a part alone, on examples of their own%s%s. Mean over "
                    "seeds, %s",
                    *options ? "; " : "", options, hy_plots_bars(&head));
    head.note = note;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, "removal", NULL);
    hy_status s = hy_fig_lines(&out, &head, panel, n);
    s = hy_plots_done(p, s,
                      "%s, one after another, by importance (the rise of the loss without a part alone) and in random "
                      "orders%s%s; means over seeds (%s); %s.",
                      title, *options ? "; " : "", options, seeds, hy_plots_bars(&head));
    free(title), free(note);
    return s;
}

// "parts: heads" of the first value, the manner only if it is not plain removal; caller frees.
static char *options_of(const hy_plots *p, int task) {
    for (int v = 0; v < p->s->n_variants; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        const hy_summary_value *x = r ? hy_summary_get(r, "accuracy_left", NULL) : NULL;
        if (!x) continue;
        const char *how = strstr(x->options, "\nhow: ");
        const int one = (int)strcspn(x->options, "\n"), two = how ? (int)strcspn(++how, "\n") : 0;
        const bool plain = !how || !strncmp(how, "how: zero", 9);
        return hy_asprintf("%.*s%s%.*s", one, x->options, plain ? "" : ", ", plain ? 0 : two, plain ? "" : how);
    }
    return hy_xstrdup("");
}

hy_status hy_plot_removal(hy_plots *p, int task) {
    const int n = p->s->n_variants;
    const char **names = hy_plots_variants(p);
    hy_fig_series *series = hy_xcalloc((size_t)n * ORDERS, sizeof *series);
    double **points = hy_xcalloc((size_t)n * ORDERS, sizeof *points);
    hy_fig_panel panel[ORDERS];
    const hy_metric_def *d = hy_metric_find("accuracy_left");
    const hy_metric_look look = hy_metric_look_of(d, INFINITY);
    char *label = hy_metric_axis(d, &look, "");
    int panels = 0;
    for (int o = 0; o < ORDERS; o++) {
        hy_fig_series *first = series + o * n;
        int lines = 0;
        for (int v = 0; v < n; v++) {
            const hy_summary_row *r = hy_plots_row(p, task, v);
            if (!r) continue;
            const int room = r->n_values;
            double *at = points[o * n + v] = hy_xcalloc(4 * (size_t)room + 1, sizeof *at);
            const int count = fill(r, orders[o], room, at);
            if (count)
                first[lines++] =
                    (hy_fig_series){names[v], v, count, at, at + room, at + 2 * (size_t)room, at + 3 * (size_t)room};
        }
        if (lines)
            panel[panels++] = (hy_fig_panel){titles[o],
                                             {"parts taken out (%)", false, 0, 100, HY_TICS_AUTO},
                                             {label, false, 0, NAN, HY_TICS_AUTO},
                                             first,
                                             lines};
    }
    char *options = options_of(p, task);
    const hy_status s = panels ? draw(p, task, panel, panels, options) : HY_OK;
    for (int i = 0; i < n * ORDERS; i++) free(points[i]);
    free(points), free(series), free(names), free(label), free(options);
    return s;
}
