// probe_kv.h - what `hylab probe --kv-similarity` makes of the facts of measure kv_similarity: a table, a figure, and
// groups of layers to share keys and values.
#ifndef HY_PROBE_KV_H
#define HY_PROBE_KV_H
#include "core/format/table.h"
#include "core/spec/spec.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/probe_figures.h"

hy_table *hy_probe_kv_table(const hy_facts *f, const hy_asked *m, const char *title);
hy_status hy_probe_draw_kv(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m);

typedef struct {
    bool cosine;   // by the cosine of keys and values, else by their CKA: the mean of both
    int most;      // layers of a group
    double least;  // what a layer that gives up its keys must be like the first of its group
} hy_probe_sharing;
// The rule as comments and `kv_share: [[1, 2], [3, 4]]`, as a variant says it. model: in words.
hy_status hy_probe_propose(const hy_model_spec *spec, const hy_facts *f, const hy_probe_sharing *how, const char *model,
                           hy_buf *out);
#endif
