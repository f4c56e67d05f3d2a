// plots_grid.c - what every point of a grid of one axis reached: accuracy over learning rates, not only at the best
// one; what measures of the inside find there; over train.stop_step, how heads come to look where they look. See
// plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

// ---------------------------------------------------------------------------------------------------- the axis
// Whether all points of the grid are numbers of one axis, and whether that is better logarithmic.
static bool has_axis(const hy_plots *p, bool *log) {
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < p->s->n_rows; i++) {
        const double x = p->s->rows[i].number;
        if (isnan(x)) return false;
        lo = fmin(lo, x), hi = fmax(hi, x);
    }
    *log = lo > 0 && hi >= 4 * lo;
    return p->s->n_rows > 0 && p->s->n_grid > 1;
}

static const char *axis_name(const hy_plots *p) {
    const char *axis = p->s->axis, *name = !strncmp(axis, "train.", 6) ? axis + 6 : axis;
    return !strcmp(name, "lr") ? "learning rate" : !strcmp(name, "stop_step") ? "training step" : axis;
}

// ---------------------------------------------------------------------------------------------------- a panel
// What a panel shows of a row, and how its values become one for each seed.
typedef enum { WHOLE = 0, MEAN, MOST } gathered;
typedef struct {
    const char *title, *metric, *kind;  // kind of heads, "": of none
    gathered how;
    double min;  // of the axis
} shown;

static bool counts(const hy_summary_value *v, const shown *w) {
    if (strcmp(v->metric, w->metric) || v->set || v->n == 0) return false;
    if (w->how == WHOLE) return !*v->cell && v->layer < 0;
    return v->layer >= 0 && !strcmp(v->kind, w->kind) && (v->head >= 0) == (w->how == MOST);
}

static bool of_seed(const hy_summary_value *v, int64_t seed, double *out) {
    for (int j = 0; j < v->n; j++)
        if (v->seed[j] == seed) return *out = v->v[j], true;
    return false;
}

// Over the seeds that all values of a kind have; n 0: there is none.
static hy_stat stat_of(const hy_summary_row *r, const shown *w, hy_range range) {
    const hy_summary_value *first = NULL;
    for (int i = 0; i < r->n_values && !first; i++) first = counts(&r->values[i], w) ? &r->values[i] : NULL;
    double *at = hy_xcalloc(first ? (size_t)first->n : 1, sizeof *at);
    int n = 0;
    for (int s = 0; first && s < first->n; s++) {
        double sum = 0, most = -INFINITY, x;
        int values = 0, missing = 0;
        for (int i = 0; i < r->n_values; i++) {
            if (!counts(&r->values[i], w)) continue;
            if (!of_seed(&r->values[i], first->seed[s], &x)) {
                missing++;
                continue;
            }
            sum += x, most = fmax(most, x);
            values++;
        }
        if (!missing) at[n++] = w->how == MOST ? most : sum / values;
    }
    const hy_stat stat = hy_stat_of(at, n, range);
    free(at);
    return stat;
}

typedef struct {
    hy_fig_series *series;  // [variants]
    double *at;             // [variants][4][rows]
    char *label;            // of the y axis
    int n, seeds_min, seeds_max, runs;
} curves;

static void drop(curves *c) { free(c->series), free(c->at), free(c->label); }

// The lines of the variants that have values, over all points of the grid.
static curves curves_of(const hy_plots *p, int task, const shown *w, const char **names) {
    const size_t rows = (size_t)p->s->n_rows, variants = (size_t)p->s->n_variants;
    const hy_metric_def *d = hy_metric_find(w->metric);
    const hy_metric_look look = hy_metric_look_of(d, INFINITY);
    curves c = {.series = hy_xcalloc(variants, sizeof *c.series),
                .at = hy_xcalloc(4 * rows * variants, sizeof *c.at),
                .label = hy_metric_axis(d, &look, "")};
    for (int v = 0; v < p->s->n_variants; v++) {
        double *at = c.at + (size_t)v * 4 * rows;
        int n = 0;
        for (int i = 0; i < p->s->n_rows; i++) {
            const hy_summary_row *r = &p->s->rows[i];
            if (r->task_ord != task || r->variant_ord != v) continue;
            const hy_stat stat = stat_of(r, w, d->range);
            if (!stat.n) continue;
            hy_plots_insert(n++, (int)rows, at, r->number, &stat, look.scale);
            c.seeds_min = c.runs == 0 || stat.n < c.seeds_min ? stat.n : c.seeds_min;
            c.seeds_max = stat.n > c.seeds_max ? stat.n : c.seeds_max;
            c.runs += stat.n;
        }
        if (n) c.series[c.n++] = (hy_fig_series){names[v], v, n, at, at + rows, at + 2 * rows, at + 3 * rows};
    }
    return c;
}

// ---------------------------------------------------------------------------------------------------- a figure
typedef struct {
    const char *file, *of;  // its name; what of the models it shows, for the title
    const char *more;       // a clause for the note
    bool log;
    int told;  // of how many panels, from the first, the head tells runs and seeds
} figure;

static hy_status draw(hy_plots *p, int task, const figure *f, const shown *const *w, const curves *c, int n) {
    hy_fig_panel *panel = hy_xcalloc((size_t)n, sizeof *panel);
    hy_fig_head head;
    char seeds[40];
    char *label = hy_asprintf("%s%s", axis_name(p), f->log ? " (logarithmic)" : ""),
         *text = hy_asprintf("%s over the %s", f->of, axis_name(p)),
         *title = hy_plots_head(p, task, "accuracy", text, &head),
         *scale = hy_asprintf("%s%s", p->s->scale, *p->s->scale ? " scale" : "");
    const hy_fig_axis x = hy_plots_axis(label, f->log);
    head.runs = head.seeds_min = head.seeds_max = 0;
    for (int k = 0; k < n; k++) {
        panel[k] =
            (hy_fig_panel){w[k]->title, x, {c[k].label, false, w[k]->min, NAN, HY_TICS_AUTO}, c[k].series, c[k].n};
        if (k >= f->told) continue;
        if (!head.runs || c[k].seeds_min < head.seeds_min) head.seeds_min = c[k].seeds_min;
        if (c[k].seeds_max > head.seeds_max) head.seeds_max = c[k].seeds_max;
        if (c[k].runs > head.runs) head.runs = c[k].runs;
    }
    char *note = hy_asprintf("Every point of the grid: mean over seeds, %s%s", hy_plots_bars(&head), f->more);
    head.note = note;
    head.scale = *scale ? scale : NULL;  // all points: nothing was chosen
    const hy_fig_out out = hy_plots_out(p, task, f->file, NULL);
    hy_status s = hy_fig_lines(&out, &head, panel, n);
    hy_plots_seeds(&head, seeds);
    s = hy_plots_done(p, s, "%s. %s (%s).", title, note, seeds);
    free(panel), free(label), free(text), free(title), free(note), free(scale);
    return s;
}

hy_status hy_plot_grid(hy_plots *p, int task) {
    static const shown accuracy = {"accuracy", "accuracy", "", WHOLE, 0},
                       steps = {"steps until train.stop_accuracy", "steps_to_reach", "", WHOLE, 0},
                       loss = {"loss", "loss", "", WHOLE, NAN};
    figure f = {"grid", "results", "", false, 1};
    if (!has_axis(p, &f.log)) return HY_OK;
    const char **names = hy_plots_variants(p);
    const shown *w[] = {&accuracy, &steps};
    curves c[] = {curves_of(p, task, &accuracy, names), curves_of(p, task, &steps, names)};
    if (c[1].n) f.more = "; steps: of the runs that reached train.stop_accuracy";
    if (!c[1].n) {
        drop(&c[1]);
        w[1] = &loss, c[1] = curves_of(p, task, &loss, names);
    }
    const hy_status s = c[0].n ? draw(p, task, &f, w, c, c[1].n ? 2 : 1) : HY_OK;
    drop(&c[0]), drop(&c[1]);
    free(names);
    return s;
}

hy_status hy_plot_drift(hy_plots *p, int task) {
    static const shown inside[] = {
        {"accuracy", "accuracy", "", WHOLE, 0},
        {"effective receptive field", "erf", "", WHOLE, 0},
        {"entropy of attention maps, mean of layers", "map_entropy", "attention", MEAN, 0},
        {"span of attention heads, mean of layers", "span", "attention", MEAN, 0},
        {"median half-life of SSM states, mean of layers", "half_life_q50", "ssm", MEAN, 0},
        {"best head on the token to copy", "retrieval_score", "attention", MOST, 0},
        {"attention's share of fused output, mean of layers", "output_share", "attention", MEAN, 0},
    };
    enum { ALL = sizeof inside / sizeof *inside };
    figure f = {"drift", "the inside", hy_summary_is_course(p->s) ? "; each point is a training that ends there" : "",
                false, ALL};
    if (!has_axis(p, &f.log)) return HY_OK;
    const char **names = hy_plots_variants(p);
    const shown *w[ALL];
    curves c[ALL];
    int n = 0, measured = 0;  // panels; those beside the accuracy
    for (int k = 0; k < ALL; k++) {
        w[n] = &inside[k], c[n] = curves_of(p, task, w[n], names);
        measured += k > 0 && c[n].n;
        if (c[n].n)
            n++;
        else
            drop(&c[n]);
    }
    const hy_status s = measured ? draw(p, task, &f, w, c, n) : HY_OK;
    for (int k = 0; k < n; k++) drop(&c[k]);
    free(names);
    return s;
}
