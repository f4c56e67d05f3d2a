// probe_figures.c - see probe_figures.h.
#include "experiments/cli/probe_figures.h"

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

// What the artifact says of itself: how many meta tokens come first, and the options that made it (caller frees).
static hy_status about(const hy_artifact *a, int *meta_tokens, char **options) {
    hy_json *j = NULL;
    int64_t n = 0;
    const char *text = "";
    hy_status s = hy_json_parse(a->meta, strlen(a->meta), a->name, 4, &j);
    if (!s) s = hy_json_get_int(j, a->name, "meta_tokens", 0, a->shape[0], &n);
    if (!s) s = hy_json_get_string(j, a->name, "options", &text);
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
            if (a && !options) s = about(a, &meta, &options);
            title_of(i, &maps[k], title[at]);
            grid[at] = (hy_fig_map){title[at], a ? a->shape[0] : 0, meta, a ? a->data : NULL};
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
