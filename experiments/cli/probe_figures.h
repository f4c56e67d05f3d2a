// probe_figures.h - the figures of `hylab probe --out`, drawn from the facts of measure maps.
#ifndef HY_PROBE_FIGURES_H
#define HY_PROBE_FIGURES_H
#include "analysis/probe/attnmap.h"
#include "results/facts.h"

// A column of the figure of maps.
typedef struct {
    hy_map_src src;
    int index;  // a head, a channel, or -1: all of them
} hy_probe_map;
typedef struct {
    const char *folder, *model, *what;  // model and prompts in words
    unsigned formats;                   // hy_fig_formats_parse
    int meta;                           // meta tokens of the model
} hy_probe_figure;

// A row for each layer, a panel for each map, as far as there are such heads. norm: of the maps.
hy_status hy_probe_draw_maps(const hy_probe_figure *p, const hy_facts *f, int n_layers, const hy_probe_map *maps,
                             int n_maps, hy_map_norm norm);
// Entropy by layer, a line for each kind of map.
hy_status hy_probe_draw_entropy(const hy_probe_figure *p, const hy_facts *f);
#endif
