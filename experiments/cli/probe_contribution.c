// probe_contribution.c - see probe_contribution.h.
#include "experiments/cli/probe_contribution.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "experiments/cli/facts_table.h"

hy_table *hy_probe_contribution_table(const hy_facts *f, const hy_asked *m, const char *title) {
    static const hy_fact_column columns[] = {{"contribution_share", NULL, NULL},
                                             {"contribution_distance", NULL, NULL},
                                             {"contribution_meta", NULL, NULL},
                                             {"contribution_bos", NULL, NULL},
                                             {"contribution_self", NULL, NULL},
                                             {"contribution_cross", NULL, NULL},
                                             {0}};
    hy_table *t = hy_facts_table(title, f, HY_ROWS_CELLS, columns, NULL);
    char *made = hy_asked_line(m);
    hy_table_note(t, "contribution: the vector that a position adds to the residual stream at another one through the "
                     "layer's heads, norms and out projection at their actual scale; figures are of its size");
    hy_table_note(t, "layer: of the sum of what comes through attention and through SSM heads");
    hy_table_note(t, "%s", made);
    free(made);
    return t;
}

// ---------------------------------------------------------------------------------------------------- figures
enum { LAYERS = 3, KINDS = 3 };

static const hy_artifact *map_of(const hy_facts *f, int layer, int kind) {
    for (int i = 0; i < f->n_artifacts; i++) {
        const hy_artifact *a = &f->artifact[i];
        if (!strncmp(a->name, "contribution.", 13) && a->layer == layer &&
            !strcmp(a->kind, hy_map_src_name((hy_map_src)kind)))
            return a;
    }
    return NULL;
}

// The first, the middle and the last of the layers with maps; returns how many.
static int drawn_layers(const hy_facts *f, int out[LAYERS]) {
    int all[256], n = 0, k = 0;
    for (int layer = 0; layer < 256; layer++)
        if (map_of(f, layer, HY_MAP_ATTENTION) || map_of(f, layer, HY_MAP_SSM)) all[n++] = layer;
    for (int i = 0; i < n; i++)
        if (n <= LAYERS || i == 0 || i == n / 2 || i == n - 1) out[k++] = all[i];
    return k;
}

static hy_status draw_maps(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m, int meta) {
    static const char *const names[KINDS] = {"attention heads", "SSM heads", "whole layer"};
    int layers[LAYERS], cols = 0, col[KINDS];
    char titles[LAYERS * KINDS][48];
    hy_fig_map grid[LAYERS * KINDS] = {{0}};
    const int rows = drawn_layers(f, layers);
    for (int k = 0; k < KINDS; k++) {
        bool any = false;
        for (int r = 0; r < rows; r++) any = any || map_of(f, layers[r], k);
        col[k] = any ? cols++ : -1;
    }
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < KINDS; k++) {
            const hy_artifact *a = map_of(f, layers[r], k);
            if (!a) continue;
            const int at = r * cols + col[k];
            snprintf(titles[at], sizeof titles[at], "layer %d: %s", layers[r], names[k]);
            grid[at] = (hy_fig_map){titles[at], meta, hy_fig_map_whole(a->shape[0]), a->data};
        }
    if (!rows) return HY_OK;
    char *made = hy_asked_line(m), *heading = hy_asprintf("Contributions of positions in %s", p->model);
    char *note = hy_asprintf(
        "%s. Size of the vector that a position (column) adds to another (row) in the residual stream; one scale for "
        "all. Dashed: end of the meta tokens; grey: not visible. %s",
        p->what, made);
    const hy_fig_head head = {.title = heading, .note = note};
    const hy_fig_out out = {p->folder, "contributions", p->formats};
    const hy_status s = hy_fig_maps(&out, &head, "size of the contribution", true, INFINITY, rows, cols, grid);
    free(made), free(heading), free(note);
    return s;
}

static hy_status draw_shares(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m) {
    double values[2 * 256] = {0};
    int n = 0;
    for (int i = 0; i < f->n_facts; i++) {
        const hy_fact *a = &f->fact[i];
        if (strcmp(a->name, "contribution_share") || a->layer >= 256) continue;
        values[2 * a->layer + !strcmp(a->kind, "ssm")] = hy_metric_find(a->name)->scale * a->value;
        if (a->layer >= n) n = a->layer + 1;
    }
    if (!n) return HY_OK;  // no layer has both
    char *made = hy_asked_line(m), *heading = hy_asprintf("What layers of %s add, by kind of heads", p->model);
    char *note = hy_asprintf("%s. " HY_PLOTS_CONTRIBUTIONS ". %s", p->what, made);
    const hy_fig_head head = {.title = heading, .note = note};
    const hy_fig_out out = {p->folder, "contribution-share", p->formats};
    const hy_fig_stack panel = {p->model, n, values};
    const hy_status s = hy_plots_draw_shares(&out, &head, &panel, 1);
    free(made), free(heading), free(note);
    return s;
}

hy_status hy_probe_draw_contribution(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m) {
    HY_TRY(draw_maps(p, f, m, p->meta));
    return draw_shares(p, f, m);
}
