// plots_reach.c - how far back heads look and how long SSM channels remember, by layer, one figure for each variant.
// See plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/format/field.h"

enum { LINES = 9, PANELS = 3 };
static const struct {
    int panel, colour;
    const char *metric, *kind, *name;
} lines[LINES] = {{0, 0, "span", "attention", "attention heads"},
                  {0, 1, "span", "ssm", "SSM heads"},
                  {1, 0, "mean_distance", "attention", "attention heads"},
                  {1, 1, "mean_distance", "ssm", "SSM heads"},
                  {2, 2, "half_life_q95", "ssm", "95 % quantile"},
                  {2, 3, "half_life_q75", "ssm", "75 %"},
                  {2, 4, "half_life_q50", "ssm", "median"},
                  {2, 5, "half_life_q25", "ssm", "25 %"},
                  {2, 6, "half_life_q05", "ssm", "5 %"}};
static const char *const titles[PANELS] = {"span", "mean distance", "half-life of SSM states"};

hy_status hy_plots_draw_reach(const hy_fig_out *out, const hy_fig_head *head, int room, hy_plots_points *points,
                              const void *user) {
    double *values = hy_xcalloc((size_t)LINES * 4 * (size_t)room, sizeof *values);
    hy_fig_series series[LINES];
    hy_fig_panel panel[PANELS];
    int n = 0, panels = 0, last = -1;
    for (int k = 0; k < LINES; k++) {
        double *at = values + (size_t)k * 4 * (size_t)room;
        const int have = points(user, lines[k].metric, lines[k].kind, room, at);
        const bool life = lines[k].panel == 2;
        if (!have) continue;
        series[n] = (hy_fig_series){lines[k].name, lines[k].colour, have, at, at + room, at + 2 * room, at + 3 * room};
        if (lines[k].panel != last)
            panel[panels++] = (hy_fig_panel){titles[lines[k].panel],
                                             {"layer", false, NAN, NAN, HY_TICS_WHOLE},
                                             {"tokens", life, life ? NAN : 0, NAN, HY_TICS_AUTO},
                                             &series[n],
                                             0};
        last = lines[k].panel;
        panel[panels - 1].n_series++;
        n++;
    }
    const hy_status s = hy_fig_lines(out, head, panel, panels);
    free(values);
    return s;
}

static int points_of(const void *row, const char *metric, const char *kind, int room, double *at) {
    return hy_plots_by_layer(row, metric, kind, room, at);
}

static hy_status draw(hy_plots *p, int task, const hy_summary_row *r, const hy_summary_value *any) {
    hy_fig_head head;
    char seeds[40], *title = hy_plots_head(p, task, "mean_distance", "how far heads look back", &head);
    char *full = hy_asprintf("%s, %s", title, r->variant), *options = hy_fields_line(any->options);
    head.title = full;
    head.runs = head.seeds_min = head.seeds_max = any->n;
    char *note = hy_asprintf(HY_PLOTS_REACH ". Mean over seeds, %s. %s", hy_plots_bars(&head), options);
    head.note = note;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, "reach", r->variant);
    hy_status s = hy_plots_draw_reach(&out, &head, r->n_values + 1, points_of, r);
    s = hy_plots_done(
        p, s,
        "%s: how far back the last position looks, and after how many tokens SSM states hold half; means over "
        "seeds (%s); %s.",
        full, seeds, hy_plots_bars(&head));
    free(title), free(full), free(note), free(options);
    return s;
}

hy_status hy_plot_reach(hy_plots *p, int task) {
    hy_status s = HY_OK;
    for (int v = 0; v < p->s->n_variants && !s; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        const hy_summary_value *any = r ? hy_summary_get(r, "mean_distance", NULL) : NULL;
        if (any) s = draw(p, task, r, any);
    }
    return s;
}
