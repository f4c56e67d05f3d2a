// plots_grid.c - what every point of a grid of one axis reached: the whole curve over learning rates, not only its best
// point. See plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

bool hy_plots_grid_axis(const hy_plots *p, bool *log) {
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < p->s->n_rows; i++) {
        const double x = p->s->rows[i].number;
        if (isnan(x)) return false;
        lo = fmin(lo, x), hi = fmax(hi, x);
    }
    *log = lo > 0 && hi >= 4 * lo;
    return p->s->n_rows > 0 && p->s->n_grid > 1;
}

typedef struct {
    hy_fig_series *series;
    int n;
    double *x, *y, *lo, *hi;  // [rows], by variant
    char *label;              // of the y axis
    int runs, seeds_min, seeds_max;
} curves;

// The series of the variants that have a value of the metric.
static curves curves_of(const hy_plots *p, int task, const char *metric, const char **names) {
    const size_t all = (size_t)p->s->n_rows;
    const hy_metric_def *d = hy_metric_find(metric);
    const hy_metric_look look = hy_metric_look_of(d, INFINITY);
    curves c = {.series = hy_xcalloc((size_t)p->s->n_variants, sizeof *c.series),
                .x = hy_xcalloc(4 * all, sizeof(double)),
                .label = hy_metric_axis(d, &look, "")};
    c.y = c.x + all, c.lo = c.x + 2 * all, c.hi = c.x + 3 * all;
    size_t at = 0;
    for (int v = 0; v < p->s->n_variants; v++) {
        int k = 0;
        for (int i = 0; i < p->s->n_rows; i++) {
            const hy_summary_row *r = &p->s->rows[i];
            const hy_summary_value *a =
                r->task_ord == task && r->variant_ord == v ? hy_summary_get(r, metric, "") : NULL;
            if (!a || a->n == 0) continue;
            const size_t j = at + (size_t)k++;
            c.x[j] = r->number;
            c.y[j] = look.scale * a->stat.mean;
            c.lo[j] = look.scale * a->stat.lo, c.hi[j] = look.scale * a->stat.hi;
            c.seeds_min = c.runs == 0 || a->n < c.seeds_min ? a->n : c.seeds_min;
            c.seeds_max = a->n > c.seeds_max ? a->n : c.seeds_max;
            c.runs += a->n;
        }
        if (k) c.series[c.n++] = (hy_fig_series){names[v], v, k, c.x + at, c.y + at, c.lo + at, c.hi + at};
        at += (size_t)k;
    }
    return c;
}

static void drop(curves *c) { free(c->series), free(c->x), free(c->label); }

const char *hy_plots_grid_name(const hy_plots *p) {
    const char *axis = p->s->axis, *name = !strncmp(axis, "train.", 6) ? axis + 6 : axis;
    return !strcmp(name, "lr") ? "learning rate" : !strcmp(name, "stop_step") ? "training step" : axis;
}

static hy_fig_panel panel_of(const char *title, const hy_fig_axis *x, const curves *c, double min) {
    return (hy_fig_panel){title, *x, {c->label, false, min, NAN, HY_TICS_AUTO}, c->series, c->n};
}

static hy_status draw(hy_plots *p, int task, bool log, const curves *accuracy, const curves *steps,
                      const curves *loss) {
    hy_fig_head head;
    const char *what = hy_plots_grid_name(p);
    char *label = hy_asprintf("%s%s", what, log ? " (logarithmic)" : ""),
         *text = hy_asprintf("results over the %s", what);
    char *title = hy_plots_head(p, task, "accuracy", text, &head),
         *scale = hy_asprintf("%s%s", p->s->scale, *p->s->scale ? " scale" : "");
    head.runs = accuracy->runs, head.seeds_min = accuracy->seeds_min, head.seeds_max = accuracy->seeds_max;
    char *note = hy_asprintf("Every point of the grid: mean over seeds, %s%s", hy_plots_bars(&head),
                             steps->n ? "; steps: of the runs that reached train.stop_accuracy" : "");
    head.note = note;
    head.scale = *scale ? scale : NULL;  // all points: nothing was chosen
    const hy_fig_axis x = hy_plots_axis(label, log);
    hy_fig_panel panel[2] = {panel_of("accuracy", &x, accuracy, 0), panel_of("loss", &x, loss, NAN)};
    if (steps->n) panel[1] = panel_of("steps until train.stop_accuracy", &x, steps, 0);
    const hy_fig_out out = hy_plots_out(p, task, "grid", NULL);
    hy_status s = hy_fig_lines(&out, &head, panel, panel[1].n_series ? 2 : 1);
    char seeds[40];
    hy_plots_seeds(&head, seeds);
    s = hy_plots_done(p, s, "%s. %s (%s).", title, note, seeds);
    free(title), free(label), free(text), free(note), free(scale);
    return s;
}

hy_status hy_plot_grid(hy_plots *p, int task) {
    bool log;
    if (!hy_plots_grid_axis(p, &log)) return HY_OK;
    const char **names = hy_plots_variants(p);
    curves accuracy = curves_of(p, task, "accuracy", names), steps = curves_of(p, task, "steps_to_reach", names);
    curves loss = curves_of(p, task, "loss", names);
    const hy_status s = accuracy.n ? draw(p, task, log, &accuracy, &steps, &loss) : HY_OK;
    drop(&accuracy), drop(&steps), drop(&loss);
    free(names);
    return s;
}
