// plots_drift.c - what measures of the inside find over the values of a grid of one axis: over train.stop_step how
// heads come to look where they look. See plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

// How the values of a row become one for each seed.
typedef enum { WHOLE = 0, MEAN, MOST } gathered;
enum { PANELS = 7 };
static const struct {
    const char *title, *metric, *kind;  // kind of heads, "": of none
    gathered how;
} inside[PANELS] = {
    {"accuracy", "accuracy", "", WHOLE},
    {"effective receptive field", "erf", "", WHOLE},
    {"entropy of attention maps, mean of layers", "map_entropy", "attention", MEAN},
    {"span of attention heads, mean of layers", "span", "attention", MEAN},
    {"median half-life of SSM states, mean of layers", "half_life_q50", "ssm", MEAN},
    {"best head on the token to copy", "retrieval_score", "attention", MOST},
    {"attention's share of fused output, mean of layers", "output_share", "attention", MEAN},
};

static bool counts(const hy_summary_value *v, int k) {
    if (strcmp(v->metric, inside[k].metric) || v->set || v->n == 0) return false;
    if (inside[k].how == WHOLE) return !*v->cell && v->layer < 0;
    return v->layer >= 0 && !strcmp(v->kind, inside[k].kind) && (v->head >= 0) == (inside[k].how == MOST);
}

// One value for each seed that all values of a kind have, in order. Returns how many; at [n of the first].
static int by_seed(const hy_summary_row *r, int k, double *at) {
    const hy_summary_value *first = NULL;
    for (int i = 0; i < r->n_values && !first; i++) first = counts(&r->values[i], k) ? &r->values[i] : NULL;
    int n = 0;
    for (int s = 0; first && s < first->n; s++) {
        double sum = 0, most = -INFINITY;
        int values = 0, missing = 0;
        for (int i = 0; i < r->n_values; i++) {
            const hy_summary_value *v = &r->values[i];
            int j = 0;
            if (!counts(v, k)) continue;
            while (j < v->n && v->seed[j] != first->seed[s]) j++;
            if (j == v->n) {
                missing++;
                continue;
            }
            sum += v->v[j], most = fmax(most, v->v[j]);
            values++;
        }
        if (!missing) at[n++] = inside[k].how == MOST ? most : sum / values;
    }
    return n;
}

typedef struct {
    hy_fig_series *series;  // [variants]
    double *at;             // [variants][4][rows]
    int n, seeds_min, seeds_max, runs;
} curves;

static int most_seeds(const hy_plots *p) {
    int most = 1;
    for (int i = 0; i < p->s->n_rows; i++)
        for (int j = 0; j < p->s->rows[i].n_values; j++)
            most = p->s->rows[i].values[j].n > most ? p->s->rows[i].values[j].n : most;
    return most;
}

static curves curves_of(const hy_plots *p, int task, int k, const char **names) {
    const size_t rows = (size_t)p->s->n_rows, variants = (size_t)p->s->n_variants;
    const hy_metric_def *d = hy_metric_find(inside[k].metric);
    const double scale = hy_metric_look_of(d, INFINITY).scale;
    curves c = {.series = hy_xcalloc(variants, sizeof *c.series), .at = hy_xcalloc(4 * rows * variants, sizeof *c.at)};
    double *seeds = hy_xcalloc((size_t)most_seeds(p), sizeof *seeds);
    for (int v = 0; v < p->s->n_variants; v++) {
        double *at = c.at + (size_t)v * 4 * rows;
        int n = 0;
        for (int i = 0; i < p->s->n_rows; i++) {
            const hy_summary_row *r = &p->s->rows[i];
            const int have = r->task_ord == task && r->variant_ord == v ? by_seed(r, k, seeds) : 0;
            if (!have) continue;
            const hy_stat stat = hy_stat_of(seeds, have, d->range);
            hy_plots_insert(n++, (int)rows, at, r->number, &stat, scale);
            c.seeds_min = c.runs == 0 || have < c.seeds_min ? have : c.seeds_min;
            c.seeds_max = have > c.seeds_max ? have : c.seeds_max;
            c.runs += have;
        }
        if (n) c.series[c.n++] = (hy_fig_series){names[v], v, n, at, at + rows, at + 2 * rows, at + 3 * rows};
    }
    free(seeds);
    return c;
}

static hy_status draw(hy_plots *p, int task, const hy_fig_axis *x, const curves *c) {
    hy_fig_panel panel[PANELS];
    char *label[PANELS], seeds[40];
    int n = 0;
    hy_fig_head head;
    char *text = hy_asprintf("the inside over the %s", hy_plots_grid_name(p)),
         *title = hy_plots_head(p, task, "accuracy", text, &head);
    head.runs = 0;
    for (int k = 0; k < PANELS; k++) {
        if (!c[k].n) continue;
        const hy_metric_def *d = hy_metric_find(inside[k].metric);
        const hy_metric_look look = hy_metric_look_of(d, INFINITY);
        label[n] = hy_metric_axis(d, &look, "");
        panel[n] = (hy_fig_panel){inside[k].title, *x, {label[n], false, 0, NAN, HY_TICS_AUTO}, c[k].series, c[k].n};
        n++;
        if (head.runs == 0 || c[k].seeds_min < head.seeds_min) head.seeds_min = c[k].seeds_min;
        if (head.runs == 0 || c[k].seeds_max > head.seeds_max) head.seeds_max = c[k].seeds_max;
        if (c[k].runs > head.runs) head.runs = c[k].runs;
    }
    char *note = hy_asprintf("Every point of the grid: mean over seeds, %s%s", hy_plots_bars(&head),
                             hy_summary_is_course(p->s) ? "; each point is a training that ends there" : ""),
         *scale = hy_asprintf("%s%s", p->s->scale, *p->s->scale ? " scale" : "");
    head.note = note;
    head.scale = *scale ? scale : NULL;  // all points: nothing was chosen
    const hy_fig_out out = hy_plots_out(p, task, "drift", NULL);
    hy_status s = hy_fig_lines(&out, &head, panel, n);
    hy_plots_seeds(&head, seeds);
    s = hy_plots_done(p, s, "%s. %s (%s).", title, note, seeds);
    for (int k = 0; k < n; k++) free(label[k]);
    free(text), free(title), free(note), free(scale);
    return s;
}

hy_status hy_plot_drift(hy_plots *p, int task) {
    bool log;
    if (!hy_plots_grid_axis(p, &log)) return HY_OK;
    const char **names = hy_plots_variants(p);
    char *label = hy_asprintf("%s%s", hy_plots_grid_name(p), log ? " (logarithmic)" : "");
    const hy_fig_axis x = hy_plots_axis(label, log);
    curves c[PANELS];
    int measured = 0;  // beside the accuracy
    for (int k = 0; k < PANELS; k++) {
        c[k] = curves_of(p, task, k, names);
        measured += k > 0 && c[k].n;
    }
    const hy_status s = measured ? draw(p, task, &x, c) : HY_OK;
    for (int k = 0; k < PANELS; k++) free(c[k].series), free(c[k].at);
    free(label), free(names);
    return s;
}
