// inspect.h - maps, their statistics and the effective receptive field of a whole model, as means over prompts: capture.h,
// attnmap.h and erf.h put together. For commands and the runner.
#ifndef HY_INSPECT_H
#define HY_INSPECT_H
#include "analysis/probe/attnmap.h"
#include "analysis/probe/erf.h"
#include "core/exec/exec.h"

typedef struct {
    hy_map_src src;
    int index;  // a head, a channel, or -1: all of them
} hy_inspect_map;
typedef struct {
    hy_map_options map;
    hy_erf_options erf;
    const bool *map_layers;      // [n_layers] layers whose maps are kept; NULL: none
    int n_maps;
    const hy_inspect_map *maps;  // [n_maps] for each of them
    const bool *stat_layers;     // [n_layers] layers whose statistics are taken (and that are checked); NULL: none
    bool erf_wanted;             // of all layers
} hy_inspect_want;
// All means are over the prompts. Free with hy_inspect_free.
typedef struct {
    int n_layers, n_maps, S, meta, prompts;
    float **map;          // [n_layers, n_maps] each [S, S], NAN where not visible; NULL: not wanted, or no such heads
    hy_map_stats *stats;  // [n_layers, 3] by hy_map_src; heads 0: none
    double *rms;          // [n_layers, 2] root mean square of the outputs of the attention heads, of the SSM heads; NAN: none
    double *delta_entropy;  // [n_layers] of the SSM's steps (hy_map_delta_entropy); NAN: none
    hy_erf_layer *erf;    // [n_layers]
    double erf_total;     // Hymba eq. 5; NAN if not wanted or without such heads
    hy_map_check check;   // first prompt, worst layer, relative: each *_scale is 1; -1: not checked
} hy_inspection;

// prompts [n_prompts, T] text tokens. A layer that lacks a wanted head is left out without an error; a head or channel
// that no wanted layer has is HY_EINPUT.
hy_status hy_inspect(const hy_program *p, hy_params *w, const int32_t *prompts, int n_prompts, int T, const hy_inspect_want *want,
                     hy_inspection *out);
void hy_inspect_free(hy_inspection *r);
#endif
