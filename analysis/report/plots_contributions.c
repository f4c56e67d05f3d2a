// plots_contributions.c - how much of what a layer adds comes through attention and through SSM heads, a panel of bars
// for each variant that has both. See plots.h; the maps are in plots_maps.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/spec/spec.h"

enum { KINDS = 2 };
static const char *const kinds[KINDS] = {"attention", "ssm"};
static const char *const kind_names[KINDS] = {"attention heads", "SSM heads"};

hy_status hy_plots_draw_shares(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_stack *panels, int n) {
    const hy_metric_def *d = hy_metric_find("contribution_share");
    const hy_metric_look look = hy_metric_look_of(d, INFINITY);
    char *label = hy_metric_axis(d, &look, "");
    const hy_status s = hy_fig_stacks(out, head, "layer", label, kind_names, KINDS, false, panels, n);
    free(label);
    return s;
}

// A file may say anything.
static bool is_share(const hy_summary_value *v) {
    return !strcmp(v->metric, "contribution_share") && !v->set && v->layer >= 0 && v->layer < HY_MAX_LAYERS &&
           fabs(v->stat.mean) <= 1;
}

// Shares [layers, KINDS] of a variant, 0 in layers without, then [layers, 2] the ends of the intervals of the first
// kind; returns how many layers, 0: it has none.
static int shares_of(const hy_summary_row *r, double **out) {
    const double scale = hy_metric_find("contribution_share")->scale;
    int layers = 0;
    for (int k = 0; k < r->n_values; k++) {
        const hy_summary_value *v = &r->values[k];
        if (is_share(v) && v->layer >= layers) layers = v->layer + 1;
    }
    *out = hy_xcalloc((size_t)layers * (KINDS + 2) + 1, sizeof **out);
    double *ends = *out + layers * KINDS;
    for (int i = 0; i < 2 * layers; i++) ends[i] = NAN;
    for (int k = 0; k < r->n_values; k++) {
        const hy_summary_value *v = &r->values[k];
        for (int kind = 0; kind < KINDS && is_share(v); kind++)
            if (!strcmp(v->kind, kinds[kind])) (*out)[v->layer * KINDS + kind] = scale * v->stat.mean;
        if (!is_share(v) || strcmp(v->kind, kinds[0])) continue;
        ends[2 * v->layer] = scale * v->stat.lo;
        ends[2 * v->layer + 1] = scale * v->stat.hi;
    }
    return layers;
}

static hy_status draw(hy_plots *p, int task, const hy_fig_stack *panels, int n) {
    hy_fig_head head;
    char seeds[40], *title = hy_plots_head(p, task, "contribution_share", "what layers add by kind of heads", &head);
    char *note = hy_asprintf(HY_PLOTS_CONTRIBUTIONS ". Mean over seeds, %s", hy_plots_bars(&head));
    head.note = note;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, "contribution-share", NULL);
    hy_status s = hy_plots_draw_shares(&out, &head, panels, n);
    s = hy_plots_done(p, s,
                      "%s: the size of what positions add to the residual stream through attention and through SSM "
                      "heads, as shares of both, by layer; means over seeds (%s); %s.",
                      title, seeds, hy_plots_bars(&head));
    free(title), free(note);
    return s;
}

hy_status hy_plot_contribution_share(hy_plots *p, int task) {
    const int most = p->s->n_variants;
    hy_fig_stack *panel = hy_xcalloc((size_t)most + 1, sizeof *panel);
    double **shares = hy_xcalloc((size_t)most + 1, sizeof *shares);
    char **titles = hy_xcalloc((size_t)most + 1, sizeof *titles);
    int n = 0;
    for (int v = 0; v < most; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        const int layers = r ? shares_of(r, &shares[v]) : 0;
        if (!layers) continue;
        titles[n] = hy_fig_short(r->variant, 30);
        panel[n] = (hy_fig_stack){titles[n], layers, shares[v], shares[v] + layers * KINDS};
        n++;
    }
    const hy_status s = n ? draw(p, task, panel, n) : HY_OK;
    for (int v = 0; v < most; v++) free(shares[v]), free(titles[v]);
    free(panel), free(shares), free(titles);
    return s;
}
