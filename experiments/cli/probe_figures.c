// probe_figures.c - see probe_figures.h.
#include "experiments/cli/probe_figures.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/figure/figures.h"
#include "core/format/json.h"

static const hy_artifact *find(const hy_facts *f, int layer, const hy_probe_map *m) {
    for (int i = 0; i < f->n_artifacts; i++) {
        const hy_artifact *a = &f->artifact[i];
        if (a->layer == layer && a->head == m->index && !strcmp(a->kind, hy_map_src_name(m->src))) return a;
    }
    return NULL;
}

// Two numbers of a list; as they are where there is no such list.
static void pair(const hy_json *j, const char *where, const char *key, int *a, int *b) {
    const hy_json *list = hy_json_get(j, key);
    int64_t v[2];
    if (!list || hy_json_int(hy_json_at(list, 0), where, 0, INT_MAX, &v[0]) ||
        hy_json_int(hy_json_at(list, 1), where, 0, INT_MAX, &v[1]))
        return;
    *a = (int)v[0], *b = (int)v[1];
}

// What the artifact says of itself: how many meta tokens come first, the options that made it (caller frees), and which
// positions its values are.
static hy_status about(const hy_artifact *a, int *meta_tokens, char **options, hy_block_shape *shape) {
    hy_json *j = NULL;
    int64_t n = 0;
    const char *text = "", *how = "max";
    hy_status s = hy_json_parse(a->meta, strlen(a->meta), a->name, 4, &j);
    *shape = hy_block_shape_of(0, a->shape[0], 0, a->shape[1], INT_MAX / 2, HY_BLOCK_MAX);
    if (!s) s = hy_json_get_int(j, a->name, "meta_tokens", 0, INT_MAX, &n);
    if (!s) s = hy_json_get_string(j, a->name, "options", &text);
    if (!s && hy_json_get(j, "reduce")) s = hy_json_get_string(j, a->name, "reduce", &how);
    if (!s) pair(j, a->name, "rows", &shape->i0, &shape->i1);
    if (!s) pair(j, a->name, "columns", &shape->j0, &shape->j1);
    if (!s) pair(j, a->name, "block", &shape->down, &shape->across);
    shape->how = strcmp(how, "mean") ? HY_BLOCK_MAX : HY_BLOCK_MEAN;
    *meta_tokens = (int)n;
    *options = hy_xstrdup(text);
    hy_json_free(j);
    return s;
}

typedef char panel_title[64];
static void title_of(int layer, const hy_probe_map *m, panel_title out) {
    const char *name = m->src == HY_MAP_SSM ? "SSM" : m->src == HY_MAP_LAYER ? "whole layer" : "attention";
    if (m->index < 0)
        snprintf(out, sizeof(panel_title), "layer %d: %s", layer, name);
    else
        snprintf(out, sizeof(panel_title), "layer %d: %s %d", layer, m->src == HY_MAP_SSM ? "channel" : "head",
                 m->index);
}

static hy_status draw(const hy_probe_figure *p, const char *options, hy_map_norm norm, int rows, int columns,
                      const hy_fig_map *grid) {
    char *note = hy_asprintf("%s. %s. Dashed: end of the meta tokens; grey: not visible", p->what, options);
    char *heading = hy_asprintf("Attention maps of %s", p->model);
    const hy_fig_head head = {.title = heading, .note = note};
    const char *label = norm == HY_MAP_ROWSUM   ? "share of the row"
                        : norm == HY_MAP_MINMAX ? "share of the largest"
                                                : "value";
    const hy_fig_out out = {p->folder, "maps", p->formats};
    const hy_status s = hy_fig_maps(&out, &head, label, norm != HY_MAP_SIGNED, 1e-4, rows, columns, grid);
    free(note), free(heading);
    return s;
}

hy_status hy_probe_draw_maps(const hy_probe_figure *p, const hy_facts *f, int n_layers, const hy_probe_map *maps,
                             int n_maps, hy_map_norm norm) {
    hy_fig_map *grid = hy_xcalloc((size_t)n_layers * (size_t)n_maps, sizeof *grid);
    panel_title *title = hy_xcalloc((size_t)n_layers * (size_t)n_maps, sizeof *title);
    char *options = NULL;
    int rows = 0, meta = 0;
    hy_status s = HY_OK;
    for (int i = 0; i < n_layers && !s; i++) {
        bool any = false;
        for (int k = 0; k < n_maps && !s; k++) {
            const int at = rows * n_maps + k;
            const hy_artifact *a = find(f, i, &maps[k]);
            hy_block_shape shape = {0};
            free(a ? options : NULL);
            if (a) s = about(a, &meta, &options, &shape);
            title_of(i, &maps[k], title[at]);
            grid[at] = (hy_fig_map){title[at], meta, shape, a ? a->data : NULL};
            any = any || a;
        }
        rows += any;
    }
    if (!s) s = draw(p, options ? options : "", norm, rows, n_maps, grid);
    free(options), free(grid), free(title);
    return s;
}

hy_status hy_probe_draw_entropy(const hy_probe_figure *p, const hy_facts *f) {
    double *x = hy_xcalloc((size_t)f->n_facts * 6 + 1, sizeof *x), *y = x + f->n_facts * 3;
    hy_fig_series series[3];
    int n = 0;
    for (int src = 0; src < 3; src++) {
        const char *name = hy_map_src_name((hy_map_src)src);
        hy_fig_series q = {.name = name, .colour = src, .x = x + src * f->n_facts, .y = y + src * f->n_facts};
        for (int i = 0; i < f->n_facts; i++) {
            if (strcmp(f->fact[i].name, "map_entropy") || strcmp(f->fact[i].kind, name)) continue;
            x[src * f->n_facts + q.n] = f->fact[i].layer;
            y[src * f->n_facts + q.n++] = f->fact[i].value;
        }
        if (q.n) series[n++] = q;
    }
    char *heading = hy_asprintf("Entropy of the attention maps of %s", p->model);
    const hy_fig_panel panel = {NULL,
                                {"layer", false, NAN, NAN, HY_TICS_WHOLE},
                                {"entropy of a row, nats", false, 0, NAN, HY_TICS_AUTO},
                                series,
                                n};
    const hy_fig_head head = {.title = heading, .note = p->what};
    const hy_fig_out out = {p->folder, "entropy", p->formats};
    const hy_status s = hy_fig_lines(&out, &head, &panel, 1);
    free(heading);
    free(x);
    return s;
}
