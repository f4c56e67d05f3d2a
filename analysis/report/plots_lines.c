// plots_lines.c - figures with lines and stacks: loss curves, throughput against context, entropy and cache by layer.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

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
    for (; i > 0 && s->x[i - 1] > x; i--) s->x[i] = s->x[i - 1], s->y[i] = s->y[i - 1], s->lo[i] = s->lo[i - 1], s->hi[i] = s->hi[i - 1];
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
        if (s[v].n) out[k++] = (hy_fig_series){names[v], v, s[v].n, s[v].x, s[v].y, range ? s[v].lo : NULL, range ? s[v].hi : NULL};
    return k;
}

// Does the largest value exceed ten times the smallest? Then a logarithmic axis has numbers enough to be read.
static bool wide(const hy_fig_series *s, int n) {
    double lo = INFINITY, hi = 0;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < s[k].n; i++) lo = fmin(lo, s[k].y[i]), hi = fmax(hi, s[k].y[i]);
    return lo > 0 && hi > 10 * lo;
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
        char *note = hy_asprintf("Lines: mean over seeds%s; bands: smallest to largest seed", stretch > 1 ? " and neighbouring steps" : "");
        hy_fig_head head;
        char *title = hy_plots_head(p, task, "loss", "training loss", note, &head);
        const hy_fig_panel panel = {NULL, {"training step", false, 0, NAN, HY_TICS_AUTO}, {"loss, nats per label", wide(series, k), NAN, NAN, HY_TICS_AUTO}, series, k};
        const hy_fig_out out = hy_plots_out(p, task, "loss", NULL);
        st = hy_fig_lines(&out, &head, &panel, 1);
        st = hy_plots_done(p, st, "%s. Lines are means over seeds%s, bands go from the smallest to the largest seed.", title,
                           stretch > 1 ? " (and over neighbouring steps)" : "");
        free(title), free(note);
    }
    free(names), free(series);
    drop(s, n);
    return st;
}

// ---------------------------------------------------------------------------------------------------- throughput
static const char *const timings[] = {"throughput_train", "throughput_prefill", "throughput_decode"}, *const timing_titles[] = {"training", "prefill", "decoding"};

// The row that a variant's timings come from: its best grid point on the first task that has any. Grid points may be models of
// different size, so their timings are not averaged.
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
        if (r && r->task_ord == x.task_ord && r->grid_ord == x.grid_ord) add(&out[x.variant_ord], x.context, x.median, x.min, x.max);
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
        hy_buf_printf(&b, "%d timed run%s, batch ", runs, runs == 1 ? "" : "s");
        if (c.batch_min < c.batch_max) hy_buf_printf(&b, "%lld to ", (long long)c.batch_min);
        hy_buf_printf(&b, "%lld, %s, %s%s. Points: median of at least %lld repetitions; bars: slowest to fastest", (long long)c.batch_max,
                      hy_summary_values_text(p->s), c.device_name, p->s->n_grid > 1 ? "; of the grid, the chosen point" : "",
                      (long long)c.repetitions);
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
        if (k) panel[panels++] = (hy_fig_panel){timing_titles[i], {x, true, NAN, NAN, HY_TICS_POWERS_OF_2}, {"tokens/s", true, NAN, NAN, HY_TICS_AUTO}, series + i * n, k};
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
static const char *const kinds[] = {"kv", "meta", "conv", "ssm"}, *const kind_names[] = {"KV", "KV of meta tokens", "convolution", "SSM state"};
enum { KINDS = 4, PANEL_TITLE = 96 };

// Fills bytes [layers, KINDS]; returns the number of layers (0: not measured).
static int layer_bytes(const hy_summary_row *r, double **bytes, double *tokens) {
    int n = 0;
    for (int i = 0; i < r->n_values; i++) {
        int layer, used = 0;
        if (strcmp(r->values[i].metric, "cache_true") || sscanf(r->values[i].cell, "layer%d.%n", &layer, &used) != 1 || !used) continue;
        if (layer + 1 > n) n = layer + 1;
        *tokens = r->values[i].x;
    }
    *bytes = hy_xcalloc((size_t)n * KINDS + 1, sizeof **bytes);
    for (int i = 0; i < r->n_values; i++) {
        int layer, used = 0;
        if (strcmp(r->values[i].metric, "cache_true") || sscanf(r->values[i].cell, "layer%d.%n", &layer, &used) != 1 || !used) continue;
        for (int k = 0; k < KINDS; k++)
            if (!strcmp(r->values[i].cell + used, kinds[k])) (*bytes)[layer * KINDS + k] = r->values[i].stat.mean;
    }
    return n;
}

hy_status hy_plot_cache(hy_plots *p, int task) {
    const int n = p->s->n_variants;
    hy_fig_stack *panel = hy_xcalloc((size_t)n, sizeof *panel);
    double **bytes = hy_xcalloc((size_t)n, sizeof *bytes), top = 0, tokens = 0;
    char(*titles)[PANEL_TITLE] = hy_xcalloc((size_t)n, sizeof *titles);
    int panels = 0;
    for (int v = 0; v < n; v++) {
        const hy_summary_row *r = NULL;  // of any task: the cache is the variant's
        for (task = 0; task < p->s->n_tasks && !r; task++) r = hy_plots_row(p, task, v);
        const hy_summary_value *sum = r ? hy_summary_get(r, "cache_true", "") : NULL;
        const int layers = sum ? layer_bytes(r, &bytes[panels], &tokens) : 0;
        if (!layers) continue;
        for (int i = 0; i < layers * KINDS; i++) top = fmax(top, bytes[panels][i]);
        snprintf(titles[panels], PANEL_TITLE, "%s: %.3g %s", r->variant, sum->stat.mean / (sum->stat.mean < 1e6 ? 1e3 : 1e6), sum->stat.mean < 1e6 ? "kB" : "MB");
        panel[panels] = (hy_fig_stack){titles[panels], layers, bytes[panels]};
        panels++;
    }
    bool own_scale = false;  // where one variant's layers hold far more than another's, one scale would show nothing of the other
    for (int q = 0; q < panels; q++) {
        double most = 0;
        for (int i = 0; i < panel[q].n * KINDS; i++) most = fmax(most, bytes[q][i]);
        own_scale = own_scale || most < top / 10;
    }
    const bool small = top < 1e6 || (own_scale && top < 1e8);
    for (int q = 0; q < panels; q++)
        for (int i = 0; i < panel[q].n * KINDS; i++) bytes[q][i] /= small ? 1e3 : 1e6;
    hy_status st = HY_OK;
    if (panels) {
        char *title = hy_asprintf("%s: cache by layer and kind", p->s->experiment);
        char *note = hy_asprintf("%.0f tokens, one sequence, %s, true accounting; shared keys and values stand at the layer that makes them%s",
                                 tokens, hy_summary_values_text(p->s), own_scale ? ". Each panel has its own scale" : "");
        const hy_fig_head head = {.title = title, .note = note, .scale = *p->scale ? p->scale : NULL};
        const hy_fig_out out = hy_plots_out(p, -1, "cache", NULL);
        st = hy_fig_stacks(&out, &head, "layer", small ? "cache, kB" : "cache, MB", kind_names, KINDS, own_scale, panel, panels);
        st = hy_plots_done(p, st, "%s: %s.", title, note);
        free(title), free(note);
    }
    for (int v = 0; v < n; v++) free(bytes[v]);
    free(bytes), free(panel), free(titles);
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
    int panels = 0;
    for (int i = 0; i < 2; i++) {
        for (int v = 0; v < n; v++) {
            const hy_summary_row *r = hy_plots_row(p, task, v);
            for (int k = 0; r && k < r->n_values; k++) {
                const hy_summary_value *x = &r->values[k];
                const char *dot = strchr(x->cell, '.');
                if (strcmp(x->metric, "map_entropy") || !dot || strcmp(dot + 1, sources[i])) continue;
                add(&s[i * n + v], x->x, x->stat.mean, x->stat.mean - x->stat.sd, x->stat.mean + x->stat.sd);
            }
        }
        const int k = series_of(s + i * n, names, n, true, series + i * n);
        if (k) panel[panels++] = (hy_fig_panel){titles[i], {"layer", false, NAN, NAN, HY_TICS_WHOLE}, {"entropy of a row, nats", false, 0, NAN, HY_TICS_AUTO}, series + i * n, k};
    }
    hy_status st = HY_OK;
    if (panels) {
        hy_fig_head head;
        char *title = hy_plots_head(p, task, "map_entropy", "entropy of the attention maps", "Rows of text positions, row-normalised; mean over seeds, bars: standard deviation", &head);
        const hy_fig_out out = hy_plots_out(p, task, "entropy", NULL);
        st = hy_fig_lines(&out, &head, panel, panels);
        st = hy_plots_done(p, st, "%s by layer, of attention heads and of SSM heads as hidden attention; means over seeds with standard deviation.", title);
        free(title);
    }
    free(names), free(series);
    drop(s, n * 2);
    return st;
}
