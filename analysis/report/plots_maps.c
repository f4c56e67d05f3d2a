// plots_maps.c - matrices as colours, one figure for each variant: attention maps, or contributions of positions, from
// the artifacts of its first seed that has them, and accuracy over the evaluation cells of tasks with two coordinates
// (needle: length and depth).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"

enum { MAX_ROWS = 3, COLS = 3, TITLE = 48 };

typedef struct {
    int layer, source, meta;  // source 0 .. 2: attention, ssm, layer
    hy_block_shape shape;
    float *a;
} stored_map;
typedef struct {
    int n;
    stored_map *map;
    int64_t run, seed;
    char *cell, *options;
} stored_maps;

static void maps_free(stored_maps *m) {
    for (int i = 0; i < m->n; i++) free(m->map[i].a);
    free(m->map), free(m->cell), free(m->options);
}

// The maps of single heads are left out, and those that were measured again with other options than the first.
static void keep_map(const hy_map_row *row, stored_maps *m) {
    static const char *const sources[COLS] = {"attention", "ssm", "layer"};
    int source = 0;
    while (source < COLS && strcmp(row->kind, sources[source])) source++;
    if (source == COLS) return;
    if (m->n && (strcmp(m->cell, row->cell) || strcmp(m->options, row->options))) return;
    for (int i = 0; i < m->n; i++)
        if (m->map[i].layer == row->layer && m->map[i].source == source) return;
    const size_t bytes = (size_t)row->shape.rows * (size_t)row->shape.columns * sizeof(float);
    m->map = hy_xrealloc(m->map, (size_t)(m->n + 1) * sizeof *m->map);
    stored_map *out = &m->map[m->n++];
    *out = (stored_map){.layer = row->layer,
                        .source = source,
                        .shape = row->shape,
                        .meta = row->meta_tokens,
                        .a = hy_xcalloc(bytes, 1)};
    memcpy(out->a, row->data, bytes);
    if (!m->cell) m->cell = hy_xstrdup(row->cell);
    if (!m->options) m->options = hy_xstrdup(row->options);
}

static hy_status load_maps(hy_plots *p, const hy_summary_row *r, const char *measure, stored_maps *m) {
    const hy_experiment_id e = hy_plots_id(p);
    hy_query *q;
    HY_TRY(hy_ask_maps(p->store, &e, measure, r->variant_ord, r->task_ord, r->grid_ord, &q));
    bool row = false;
    hy_status st;
    hy_map_row map;
    while (!(st = hy_next_map(q, &row, &map)) && row) {
        if (m->n && map.seed != m->seed) break;
        m->run = map.run_id;
        m->seed = map.seed;
        keep_map(&map, m);
    }
    hy_query_close(q);
    return st;
}

// First, middle and last of the stored layers.
static int choose_layers(const stored_maps *m, int *layers) {
    int all[256], n = 0, k = 0;
    for (int i = 0; i < m->n; i++) {
        int at = 0;
        while (at < n && all[at] != m->map[i].layer) at++;
        if (at == n && n < 256) all[n++] = m->map[i].layer;
    }
    for (int i = 0; i < n; i++)
        if (n <= MAX_ROWS || i == 0 || i == n / 2 || i == n - 1) layers[k++] = all[i];
    return k;
}

// What the two measures with maps are called.
typedef struct {
    const char *measure, *file, *title, *value, *says;
    double floor;  // of the colours; infinite: a thousandth of the largest
} map_look;
static const map_look attention_maps = {
    .measure = "maps",
    .file = "maps",
    .title = "attention maps",
    .value = "share of the row",
    .says = "rows are queries, columns the keys that they look at, on a logarithmic scale of colours",
    .floor = 1e-4};
static const map_look contribution_maps = {
    .measure = "contributions",
    .file = "contributions",
    .title = "contributions of positions",
    .value = "size of the contribution",
    .says = "the size of what each position (column) adds to each other one (row) in the residual stream, through the "
            "attention heads, the SSM heads and both, on a logarithmic scale of colours",
    .floor = INFINITY};

static hy_status draw(hy_plots *p, const map_look *l, int task, const hy_summary_row *r, const stored_maps *m) {
    static const char *const names[COLS] = {"attention", "SSM", "whole layer"};
    hy_fig_map grid[MAX_ROWS * COLS] = {{0}};
    char titles[MAX_ROWS * COLS][TITLE];
    int layers[MAX_ROWS];
    const int rows = choose_layers(m, layers);
    bool used[COLS] = {false};
    for (int i = 0; i < m->n; i++) used[m->map[i].source] = true;
    if (!used[0] || !used[1]) used[2] = false;  // the layer is the one kind of heads that it has
    int cols = 0, col[COLS];
    for (int c = 0; c < COLS; c++) col[c] = used[c] ? cols++ : -1;
    for (int i = 0; i < m->n; i++)
        for (int k = 0; k < rows; k++) {
            const stored_map *s = &m->map[i];
            const int at = k * cols + col[s->source];
            if (s->layer != layers[k] || col[s->source] < 0) continue;
            snprintf(titles[at], TITLE, "layer %d: %s", s->layer, names[s->source]);
            grid[at] = (hy_fig_map){titles[at], s->meta, s->shape, s->a};
        }
    hy_buf note = {0};
    hy_buf_printf(
        &note,
        "1 run: number %lld, seed %lld; evaluation cell %s. %s. Dashed: end of the meta tokens; grey: not visible",
        (long long)m->run, (long long)m->seed, m->cell, m->options);
    char *title = hy_asprintf("%s: %s of %s%s%s", p->s->experiment, l->title, r->variant, p->s->n_tasks > 1 ? ", " : "",
                              p->s->n_tasks > 1 ? r->task : "");
    const hy_fig_head head = {.title = title, .scale = *p->scale ? p->scale : NULL, .note = note.s};
    const hy_fig_out out = hy_plots_out(p, task, l->file, r->variant);
    hy_status s = hy_fig_maps(&out, &head, l->value, true, l->floor, rows, cols, grid);
    s = hy_plots_done(p, s, "%s (seed %lld): %s.", title, (long long)m->seed, l->says);
    free(note.s), free(title);
    return s;
}

static hy_status plot(hy_plots *p, const map_look *l, int task) {
    hy_status s = HY_OK;
    for (int v = 0; v < p->s->n_variants && !s; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        stored_maps m = {0};
        if (r) s = load_maps(p, r, l->measure, &m);
        if (r && !s && m.n) s = draw(p, l, task, r, &m);
        maps_free(&m);
    }
    return s;
}

hy_status hy_plot_maps(hy_plots *p, int task) { return plot(p, &attention_maps, task); }
hy_status hy_plot_contributions(hy_plots *p, int task) { return plot(p, &contribution_maps, task); }

// ---------------------------------------------------------------------------------------------------- evaluation cells
enum { MAX_SIDE = 40 };

static int place(double *list, int *n, double v) {
    int i = 0;
    while (i < *n && list[i] != v) i++;
    if (i == *n && *n < MAX_SIDE) list[(*n)++] = v;
    return i;
}

// Accuracy cells with both coordinates as a matrix [ny, nx], scaled; false if they are few or not of that kind.
static bool cell_matrix(const hy_summary_row *r, double scale, double *xs, int *nx, double *ys, int *ny, double *out) {
    int cells = 0;
    *nx = *ny = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < r->n_values; i++) {
            const hy_summary_value *v = &r->values[i];
            if (strcmp(v->metric, "accuracy") || v->set || !*v->cell || isnan(v->x) || isnan(v->y)) continue;
            const int x = place(xs, nx, v->x), y = place(ys, ny, v->y);
            cells += pass == 0;
            if (pass == 1 && x < *nx && y < *ny) out[y * *nx + x] = scale * v->stat.mean;
        }
        if (pass == 1) return true;
        if (cells <= HY_PLOTS_MAX_BARS || *nx < 2 || *ny < 2) return false;
        hy_sort(xs, *nx);
        hy_sort(ys, *ny);
        for (int i = 0; i < *nx * *ny; i++) out[i] = NAN;
    }
    return true;
}

static hy_status draw_cells(hy_plots *p, int task, const hy_summary_row *r) {
    double xs[MAX_SIDE], ys[MAX_SIDE], a[MAX_SIDE * MAX_SIDE];
    char text[2 * MAX_SIDE][32];
    const char *names[2 * MAX_SIDE];
    int nx, ny;
    const hy_metric_def *d = hy_metric_find("accuracy");
    const hy_metric_look look = hy_metric_look_of(d, 1);
    if (!cell_matrix(r, look.scale, xs, &nx, ys, &ny, a)) return HY_OK;
    for (int i = 0; i < nx + ny; i++) {
        snprintf(text[i], sizeof text[i], "%.6g", i < nx ? xs[i] : ys[i - nx]);
        names[i] = text[i];
    }
    char *title = hy_asprintf("%s: accuracy of %s by cell, %s", p->s->experiment, r->variant, r->task),
         *label = hy_metric_axis(d, &look, "");
    const hy_fig_head head = {.title = title,
                              .runs = r->done,
                              .seeds_min = r->done,
                              .seeds_max = r->done,
                              .scale = *p->scale ? p->scale : NULL,
                              .note = "Mean over seeds"};
    const hy_fig_out out = hy_plots_out(p, task, "cells", r->variant);
    const bool needle = ys[ny - 1] <= 1;
    hy_status s = hy_fig_heat(&out, &head, "length (tokens)", needle ? "depth" : "second coordinate of the cell", label,
                              0, look.scale, names, nx, names + nx, ny, a);
    s = hy_plots_done(p, s, "%s. Each field is an evaluation cell, the mean over seeds.", title);
    free(title), free(label);
    return s;
}

hy_status hy_plot_cells(hy_plots *p, int task) {
    hy_status s = HY_OK;
    for (int v = 0; v < p->s->n_variants && !s; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        if (r) s = draw_cells(p, task, r);
    }
    return s;
}
