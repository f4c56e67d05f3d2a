// plots_grid.c - what every point of a grid of one axis reached: the whole curve over learning rates, not only its best point.
// See plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

// The number of a label "lr=1e-3"; false for several axes and for what is no number.
static bool number_of(const char *label, double *x) {
    const char *eq = strchr(label, '=');
    char *end = NULL;
    if (!eq || strchr(eq + 1, '=')) return false;
    *x = strtod(eq + 1, &end);
    return end != eq + 1 && *end == 0;
}

static bool axis_of(const hy_plots *p, char *name, size_t size, bool *log) {
    double lo = INFINITY, hi = -INFINITY, x;
    for (int i = 0; i < p->s->n_rows; i++) {
        if (!number_of(p->s->rows[i].grid, &x)) return false;
        lo = fmin(lo, x), hi = fmax(hi, x);
    }
    *log = lo > 0 && hi >= 4 * lo;
    if (p->s->n_rows == 0 || p->s->n_grid < 2) return false;
    const char *label = p->s->rows[0].grid;
    snprintf(name, size, "%.*s", (int)strcspn(label, "="), label);
    return true;
}

typedef struct {
    hy_fig_series *series;
    double *x, *y, *lo, *hi;  // [variants, grid]
    int runs, seeds_min, seeds_max;
} curves;

// Fills the series of the variants that have a value; returns how many. max: where bars are cut, they are at 0 too.
static int fill(const hy_plots *p, int task, const char *metric, double scale, double max, const char **names, curves *c) {
    const int G = p->s->n_grid;
    const size_t all = (size_t)p->s->n_variants * (size_t)G;
    int n = 0;
    *c = (curves){.series = hy_xcalloc((size_t)p->s->n_variants, sizeof *c->series), .x = hy_xcalloc(4 * all, sizeof(double))};
    c->y = c->x + all, c->lo = c->x + 2 * all, c->hi = c->x + 3 * all;
    for (int v = 0; v < p->s->n_variants; v++) {
        const size_t at = (size_t)v * (size_t)G;
        int k = 0;
        for (int i = 0; i < p->s->n_rows; i++) {
            const hy_summary_row *r = &p->s->rows[i];
            const hy_summary_value *a = r->task_ord == task && r->variant_ord == v ? hy_summary_get(r, metric, "") : NULL;
            if (!a || a->n == 0) continue;
            const size_t j = at + (size_t)k++;
            const double sd = isnan(a->stat.sd) ? 0 : scale * a->stat.sd;
            number_of(r->grid, &c->x[j]);
            c->y[j] = scale * a->stat.mean;
            c->lo[j] = fmax(0, c->y[j] - sd), c->hi[j] = fmin(max, c->y[j] + sd);
            c->seeds_min = c->runs == 0 || a->n < c->seeds_min ? a->n : c->seeds_min;
            c->seeds_max = a->n > c->seeds_max ? a->n : c->seeds_max;
            c->runs += a->n;
        }
        if (k) c->series[n++] = (hy_fig_series){names[v], v, k, c->x + at, c->y + at, c->lo + at, c->hi + at};
    }
    return n;
}

static void drop(curves *c) { free(c->series), free(c->x); }

hy_status hy_plot_grid(hy_plots *p, int task) {
    char axis[64];
    bool log;
    if (!axis_of(p, axis, sizeof axis, &log)) return HY_OK;
    const char **names = hy_plots_variants(p);
    curves accuracy, steps, loss;
    const int n = fill(p, task, "accuracy", 100, 100, names, &accuracy);
    const int n_steps = fill(p, task, "steps_to_reach", 1, INFINITY, names, &steps), n_loss = fill(p, task, "loss", 1, INFINITY, names, &loss);
    hy_status s = HY_OK;
    if (n) {
        hy_fig_head head;
        const char *what = !strcmp(axis, "lr") ? "learning rate" : axis;
        char *label = hy_asprintf("%s%s", what, log ? " (logarithmic)" : ""), *text = hy_asprintf("results over the %s", what);
        char *note = hy_asprintf("Every point of the grid: mean over seeds, bars: standard deviation%s",
                                 n_steps ? "; steps: of the runs that reached train.stop_accuracy" : "");
        char *title = hy_plots_head(p, task, "accuracy", text, note, &head), *scale = hy_asprintf("%s%s", p->s->scale, *p->s->scale ? " scale" : "");
        head.runs = accuracy.runs, head.seeds_min = accuracy.seeds_min, head.seeds_max = accuracy.seeds_max;
        head.scale = *scale ? scale : NULL;  // all points: nothing was chosen
        const hy_fig_axis x = {label, log, NAN, NAN, HY_TICS_AUTO};
        hy_fig_panel panel[2] = {{"accuracy", x, {"accuracy (%)", false, 0, NAN, HY_TICS_AUTO}, accuracy.series, n},
                                 {"loss", x, {"loss, nats per label", false, NAN, NAN, HY_TICS_AUTO}, loss.series, n_loss}};
        if (n_steps) panel[1] = (hy_fig_panel){"steps until train.stop_accuracy", x, {"training steps", false, 0, NAN, HY_TICS_AUTO}, steps.series, n_steps};
        const hy_fig_out out = hy_plots_out(p, task, "grid", NULL);
        s = hy_fig_lines(&out, &head, panel, panel[1].n_series ? 2 : 1);
        s = hy_plots_done(p, s, "%s. %s.", title, note);
        free(title), free(label), free(text), free(note), free(scale);
    }
    drop(&accuracy), drop(&steps), drop(&loss);
    free(names);
    return s;
}
