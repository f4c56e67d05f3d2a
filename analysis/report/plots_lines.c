// plots_lines.c - figures with lines and stacks: loss curves, throughput against context, entropy and cache by layer.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/base/plural.h"

// A growing series with its range.
typedef struct {
    int n, cap;
    double *x, *y, *lo, *hi;
} points;

// Keeps the points in order of x.
static void add(points *s, double x, double y, double lo, double hi) {
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 32;
        double **all[] = {&s->x, &s->y, &s->lo, &s->hi};
        for (int i = 0; i < 4; i++) *all[i] = hy_xrealloc(*all[i], (size_t)s->cap * sizeof(double));
    }
    int i = s->n++;
    for (; i > 0 && s->x[i - 1] > x; i--) {
        s->x[i] = s->x[i - 1], s->y[i] = s->y[i - 1];
        s->lo[i] = s->lo[i - 1], s->hi[i] = s->hi[i - 1];
    }
    s->x[i] = x, s->y[i] = y, s->lo[i] = lo, s->hi[i] = hi;
}

static void drop(points *s, int n) {
    for (int i = 0; i < n; i++) free(s[i].x), free(s[i].y), free(s[i].lo), free(s[i].hi);
    free(s);
}

// Series of the variants that have points, in their order; the colour is the variant's number.
static int series_of(const points *s, const char *const *names, int n, bool range, hy_fig_series *out) {
    int k = 0;
    for (int v = 0; v < n; v++)
        if (s[v].n)
            out[k++] =
                (hy_fig_series){names[v], v, s[v].n, s[v].x, s[v].y, range ? s[v].lo : NULL, range ? s[v].hi : NULL};
    return k;
}

// Does the largest value exceed ten times the smallest? Then a logarithmic axis has numbers enough to be read.
static bool wide(const hy_fig_series *s, int n) {
    double lo = INFINITY, hi = 0;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < s[k].n; i++) lo = fmin(lo, s[k].y[i]), hi = fmax(hi, s[k].y[i]);
    return lo > 0 && hi > 10 * lo;
}

// The label of an axis that shows a metric in the unit of metrics.def. The caller frees it.
static char *label_of(const char *metric) {
    const hy_metric_def *d = hy_metric_find(metric);
    const hy_metric_look look = hy_metric_look_of(d, INFINITY);
    return hy_metric_axis(d, &look, "");
}

// ---------------------------------------------------------------------------------------------------- loss
static hy_status load_loss(hy_plots *p, int task, points *out, int *stretch) {
    const hy_experiment_id e = hy_plots_id(p);
    hy_query *q;
    HY_TRY(hy_ask_losses(p->store, &e, task, &q));
    bool row = false;
    hy_status st;
    hy_loss_point x;
    while (!(st = hy_next_loss(q, &row, &x)) && row) {
        const hy_summary_row *r = x.variant_ord < p->s->n_variants ? hy_plots_row(p, task, x.variant_ord) : NULL;
        *stretch = x.stretch;
        if (r && r->grid_ord == x.grid_ord) add(&out[x.variant_ord], x.step, x.mean, x.min, x.max);
    }
    hy_query_close(q);
    return st;
}

hy_status hy_plot_loss(hy_plots *p, int task) {
    const int n = p->s->n_variants;
    points *s = hy_xcalloc((size_t)n, sizeof *s);
    hy_fig_series *series = hy_xcalloc((size_t)n, sizeof *series);
    const char **names = hy_plots_variants(p);
    int stretch = 1;
    hy_status st = load_loss(p, task, s, &stretch);
    const int k = st ? 0 : series_of(s, names, n, true, series);
    if (k) {
        char *note = hy_asprintf("Lines: mean over seeds%s; bands or bars: smallest to largest seed",
                                 stretch > 1 ? " and neighbouring steps" : "");
        char *label = label_of("loss");
        hy_fig_head head;
        char seeds[40], *title = hy_plots_head(p, task, "loss", "training loss", &head);
        head.note = note;
        hy_plots_seeds(&head, seeds);
        const hy_fig_axis x = {"training step", false, 0, NAN, HY_TICS_AUTO};
        const hy_fig_panel panel = {NULL, x, hy_plots_axis(label, wide(series, k)), series, k};
        const hy_fig_out out = hy_plots_out(p, task, "loss", NULL);
        st = hy_fig_lines(&out, &head, &panel, 1);
        st = hy_plots_done(
            p, st, "%s. Lines are means over seeds (%s)%s, bands or bars go from the smallest to the largest seed.",
            title, seeds, stretch > 1 ? " and over neighbouring steps" : "");
        free(title), free(note), free(label);
    }
    free(names), free(series);
    drop(s, n);
    return st;
}

// ---------------------------------------------------------------------------------------------------- throughput
static const char *const timings[] = {"throughput_train", "throughput_prefill", "throughput_decode"};

// The row that a variant's timings come from: its best grid point on the first task that has any. Grid points may be
// models of different size, so their timings are not averaged.
static const hy_summary_row *timed_row(const hy_plots *p, int variant, const char *metric) {
    for (int task = 0; task < p->s->n_tasks; task++) {
        const hy_summary_row *r = hy_plots_row(p, task, variant);
        if (r && hy_summary_get(r, metric, NULL)) return r;
    }
    return NULL;
}

static hy_status load_timing(hy_plots *p, const char *metric, points *out) {
    const hy_experiment_id e = hy_plots_id(p);
    hy_query *q;
    HY_TRY(hy_ask_timings(p->store, &e, metric, &q));
    bool row = false;
    hy_status st;
    hy_timing_point x;
    while (!(st = hy_next_timing(q, &row, &x)) && row) {
        const hy_summary_row *r = x.variant_ord < p->s->n_variants ? timed_row(p, x.variant_ord, metric) : NULL;
        if (r && r->task_ord == x.task_ord && r->grid_ord == x.grid_ord)
            add(&out[x.variant_ord], x.context, x.median, x.min, x.max);
    }
    hy_query_close(q);
    return st;
}

// Runs behind the points: of each variant the seeds of its timed row.
static int timed_runs(const hy_plots *p) {
    int runs = 0;
    for (int v = 0; v < p->s->n_variants; v++) {
        int most = 0;
        for (int i = 0; i < 3; i++) {
            const hy_summary_row *r = timed_row(p, v, timings[i]);
            const int n = r ? hy_summary_get(r, timings[i], NULL)->n : 0;
            most = n > most ? n : most;
        }
        runs += most;
    }
    return runs;
}

// Batches, repetitions and device of what was timed; NULL: nothing.
static hy_status timing_facts(hy_plots *p, char **note) {
    const hy_experiment_id e = hy_plots_id(p);
    hy_timing_conditions c;
    HY_TRY(hy_ask_timing_conditions(p->store, &e, &c));
    if (c.batch_max > 0) {
        const int runs = timed_runs(p);
        hy_buf b = {0};
        char disturbed[120];
        hy_plots_disturbed(p, disturbed);
        hy_buf_printf(&b, "%d timed run%s, batch ", runs, hy_s(runs));
        if (c.batch_min < c.batch_max) hy_buf_printf(&b, "%lld to ", (long long)c.batch_min);
        hy_buf_printf(&b, "%lld, %s, %s%s. Points: median of at least %lld repetition%s; bars: slowest to fastest%s",
                      (long long)c.batch_max, hy_summary_values_text(p->s), c.device_name,
                      p->s->n_grid > 1 ? "; of the grid, the chosen point" : "", (long long)c.repetitions,
                      hy_s(c.repetitions), disturbed);
        *note = b.s;
    }
    free(c.device_name);
    return HY_OK;
}

hy_status hy_plot_throughput(hy_plots *p, int task) {
    (void)task;
    int n = p->s->n_variants, panels = 0;
    char *note = NULL;
    HY_TRY(timing_facts(p, &note));
    if (!note) return HY_OK;
    points *s = hy_xcalloc((size_t)n * 3, sizeof *s);
    hy_fig_series *series = hy_xcalloc((size_t)n * 3, sizeof *series);
    hy_fig_panel panel[3];
    const char **names = hy_plots_variants(p);
    hy_status st = HY_OK;
    for (int i = 0; i < 3 && !st; i++) {
        st = load_timing(p, timings[i], s + i * n);
        const int k = st ? 0 : series_of(s + i * n, names, n, true, series + i * n);
        const char *x = i == 2 ? "depth, tokens" : "context, tokens";
        const hy_metric_def *d = hy_metric_find(timings[i]);
        const hy_fig_axis hx = {x, true, NAN, NAN, HY_TICS_POWERS_OF_2};
        if (k) panel[panels++] = (hy_fig_panel){d->label, hx, hy_plots_axis(d->unit_shown, true), series + i * n, k};
    }
    if (!st && panels) {
        char *title = hy_asprintf("%s: throughput", p->s->experiment);
        const hy_fig_head head = {.title = title, .note = note, .scale = *p->scale ? p->scale : NULL};
        const hy_fig_out out = hy_plots_out(p, -1, "throughput", NULL);
        st = hy_fig_lines(&out, &head, panel, panels);
        st = hy_plots_done(p, st, "%s against context. %s.", title, note);
        free(title);
    }
    free(names), free(series), free(note);
    drop(s, n * 3);
    return st;
}

// ---------------------------------------------------------------------------------------------------- cache
static const char *const kinds[] = {"kv", "meta", "conv", "ssm"}, *const kind_names[] = {"KV", "KV of meta tokens",
                                                                                         "convolution", "SSM state"};
enum { KINDS = 4, PANEL_TITLE = 96 };

static int kind_of(const hy_summary_value *v) {
    for (int k = 0; k < KINDS; k++)
        if (!strcmp(v->kind, kinds[k])) return k;
    return -1;
}

// Fills bytes [layers, KINDS]; returns the number of layers (0: not measured).
static int layer_bytes(const hy_summary_row *r, double **bytes, double *tokens) {
    int n = 0;
    *bytes = NULL;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < r->n_values; i++) {
            const hy_summary_value *v = &r->values[i];
            const int kind = v->layer < 0 || v->set || strcmp(v->metric, "cache_true") ? -1 : kind_of(v);
            if (kind < 0 || !isfinite(v->stat.mean)) continue;
            if (pass == 1) (*bytes)[v->layer * KINDS + kind] = v->stat.mean;
            if (v->layer + 1 > n) n = v->layer + 1;
            *tokens = v->x;
        }
        if (pass == 0) *bytes = hy_xcalloc((size_t)n * KINDS + 1, sizeof **bytes);
    }
    return n;
}

// The panels of a figure of caches.
typedef struct {
    int n;
    hy_fig_stack *panel;
    double **bytes;  // of each panel [layers, KINDS], in the unit of the axis in the end
    char **titles;
    double top, tokens;
    bool own_scale;  // where one variant's layers hold far more than another's, one scale would show nothing of the
                     // other
} cache_panels;

static double most_of(const cache_panels *c, int q) {
    double most = 0;
    for (int i = 0; i < c->panel[q].n * KINDS; i++) most = fmax(most, c->bytes[q][i]);
    return most;
}

static cache_panels load_caches(const hy_plots *p) {
    const size_t n = (size_t)p->s->n_variants;
    const hy_metric_def *d = hy_metric_find("cache_true");
    cache_panels c = {.panel = hy_xcalloc(n, sizeof *c.panel),
                      .bytes = hy_xcalloc(n, sizeof *c.bytes),
                      .titles = hy_xcalloc(n, sizeof *c.titles)};
    for (int v = 0; v < p->s->n_variants; v++) {
        const hy_summary_row *r = NULL;  // of any task: the cache is the variant's
        for (int task = 0; task < p->s->n_tasks && !r; task++) r = hy_plots_row(p, task, v);
        const hy_summary_value *sum = r ? hy_summary_get(r, "cache_true", "") : NULL;
        const int layers = sum ? layer_bytes(r, &c.bytes[c.n], &c.tokens) : 0;
        if (!layers) {
            free(c.bytes[c.n]);
            c.bytes[c.n] = NULL;
            continue;
        }
        const hy_metric_look look = hy_metric_look_of(d, sum->stat.mean);
        char *name = hy_fig_short(r->variant, 22);
        c.titles[c.n] = hy_asprintf("%s: %.*f %s", name, look.decimals, look.scale * sum->stat.mean, look.unit);
        free(name);
        c.panel[c.n] = (hy_fig_stack){c.titles[c.n], layers, c.bytes[c.n], NULL};
        c.top = fmax(c.top, most_of(&c, c.n));
        c.n++;
    }
    for (int q = 0; q < c.n; q++) c.own_scale = c.own_scale || most_of(&c, q) < c.top / 10;
    return c;
}

static void cache_panels_free(cache_panels *c) {
    for (int q = 0; q < c->n; q++) free(c->bytes[q]), free(c->titles[q]);
    free(c->bytes), free(c->panel), free(c->titles);
}

hy_status hy_plot_cache(hy_plots *p, int task) {
    (void)task;
    cache_panels c = load_caches(p);
    hy_status st = HY_OK;
    if (c.n) {
        const hy_metric_def *d = hy_metric_find("cache_true");
        const hy_metric_look look = hy_metric_look_of(d, c.own_scale ? c.top / 100 : c.top);  // small panels decide
        for (int q = 0; q < c.n; q++)
            for (int i = 0; i < c.panel[q].n * KINDS; i++) c.bytes[q][i] *= look.scale;
        char *title = hy_asprintf("%s: cache by layer and kind", p->s->experiment),
             *label = hy_metric_axis(d, &look, "");
        char *note =
            hy_asprintf("%.0f tokens, one sequence, %s, true accounting; shared keys and values stand at the layer "
                        "that makes them%s",
                        c.tokens, hy_summary_values_text(p->s), c.own_scale ? ". Each panel has its own scale" : "");
        const hy_fig_head head = {.title = title, .note = note, .scale = *p->scale ? p->scale : NULL};
        const hy_fig_out out = hy_plots_out(p, -1, "cache", NULL);
        st = hy_fig_stacks(&out, &head, "layer", label, kind_names, KINDS, c.own_scale, c.panel, c.n);
        st = hy_plots_done(p, st, "%s: %s.", title, note);
        free(title), free(note), free(label);
    }
    cache_panels_free(&c);
    return st;
}

// ---------------------------------------------------------------------------------------------------- entropy
hy_status hy_plot_entropy(hy_plots *p, int task) {
    static const char *const sources[] = {"attention", "ssm"}, *const titles[] = {"attention heads", "SSM heads"};
    const int n = p->s->n_variants;
    points *s = hy_xcalloc((size_t)n * 2, sizeof *s);
    hy_fig_series *series = hy_xcalloc((size_t)n * 2, sizeof *series);
    hy_fig_panel panel[2];
    const char **names = hy_plots_variants(p);
    char *label = label_of("map_entropy");
    int panels = 0;
    for (int i = 0; i < 2; i++) {
        for (int v = 0; v < n; v++) {
            const hy_summary_row *r = hy_plots_row(p, task, v);
            for (int k = 0; r && k < r->n_values; k++) {
                const hy_summary_value *x = &r->values[k];
                if (strcmp(x->metric, "map_entropy") || x->set || x->layer < 0 || strcmp(x->kind, sources[i])) continue;
                add(&s[i * n + v], x->layer, x->stat.mean, x->stat.lo, x->stat.hi);
            }
        }
        const int k = series_of(s + i * n, names, n, true, series + i * n);
        const hy_fig_axis x = {"layer", false, NAN, NAN, HY_TICS_WHOLE}, y = {label, false, 0, NAN, HY_TICS_AUTO};
        if (k) panel[panels++] = (hy_fig_panel){titles[i], x, y, series + i * n, k};
    }
    hy_status st = HY_OK;
    if (panels) {
        hy_fig_head head;
        char seeds[40], *title = hy_plots_head(p, task, "map_entropy", "entropy of the attention maps", &head);
        char *note = hy_asprintf("Rows of text positions, row-normalised; mean over seeds, %s", hy_plots_bars(&head));
        head.note = note;
        hy_plots_seeds(&head, seeds);
        const hy_fig_out out = hy_plots_out(p, task, "entropy", NULL);
        st = hy_fig_lines(&out, &head, panel, panels);
        st = hy_plots_done(p, st,
                           "%s by layer, of attention heads and of SSM heads as hidden attention; means over seeds "
                           "(%s); %s.",
                           title, seeds, hy_plots_bars(&head));
        free(note);
        free(title);
    }
    free(names), free(series), free(label);
    drop(s, n * 2);
    return st;
}
