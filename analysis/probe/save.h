// save.h - named values of a model on one sequence, and the attention maps made of them, into files that others read
// (core/format/arrays.h). One run of the model; what a probe is shown is written at once, maps row by row, so that
// nothing is held but the layers in flight.
//
// A value has the name that the program gives it (core/model/values.h). Maps are named
//     layers.3.map.attention   layers.3.map.ssm   layers.3.map.layer        mean over heads, channels; both kinds
//     layers.3.map.attention.head.5   layers.3.map.ssm.channel.17 (of Mamba-2: layers.3.map.ssm.head.2)
// and "ids" are the tokens of the sequence. A star in a pattern stands for anything, dots too; but maps, S x S values
// each, are meant only by patterns that have "map" in them, single ones only by those with "head" or "channel".
#ifndef HY_SAVE_H
#define HY_SAVE_H
#include "analysis/probe/attnmap.h"
#include "core/model/params.h"
#include "core/model/values.h"

// Something with a name that can be saved.
typedef struct {
    char name[64];
    hy_val value;  // HY_NOVAL: a map of src of a layer, or (layer -1) the ids
    int layer, index;
    hy_map_src src;
} hy_named;
typedef struct {
    int n;
    hy_named *v;
} hy_names;
void hy_names_free(hy_names *list);
// What fits any of the patterns, each once, in the order of the model. HY_EINPUT: one fits nothing (with the nearest).
hy_status hy_names_choose(const hy_program *p, const char *const *patterns, int n, hy_names *out);
// All of it, single heads and channels as one entry with N for their number.
void hy_names_all(const hy_program *p, hy_names *out);
void hy_named_meaning(const hy_program *p, const hy_named *a, hy_buf *out);
int hy_named_columns(const hy_program *p, const hy_named *a, int S);  // 0: one number for each position

// Whether that can be written, before the work: S positions, T of them text.
hy_status hy_save_try(const hy_program *p, int S, const hy_names *names, const char *path);
// Runs ids [T] through the model. o: of maps. about: of the whole, NULL-terminated key, value, key, value ...
hy_status hy_save(const hy_program *p, hy_params *w, int T, const int32_t *ids, const hy_names *names,
                  const hy_map_options *o, const char *path, const char *const *about);
#endif
