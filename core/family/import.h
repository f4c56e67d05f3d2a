// import.h - checkpoint folders of other programs: config.json -> ModelSpec, and which rows of which hylab parameter
// each of their tensors is. A family of models is one table (<family>.c) and one line of families.def; the mapping
// serves weights, gradients and export alike.
#ifndef HY_IMPORT_H
#define HY_IMPORT_H
#include "core/exec/exec.h"
#include "core/format/json.h"
#include "core/format/shards.h"

// ---------------------------------------------------------------------------------------------------- a family
// Rows of a hylab parameter. in_proj and its bias are [q | k | v | s | g], or with Mamba-2 [q | k | v | z | x | B | C |
// dt] (parts that the layer has; SSM: all that follow v), mlp.up is [gate | up].
typedef enum {
    HY_PART_ALL = 0,
    HY_PART_Q,
    HY_PART_K,
    HY_PART_V,
    HY_PART_S,
    HY_PART_G,
    HY_PART_SSM,
    HY_PART_GATE,
    HY_PART_UP,
    HY_PART_OF_ATTENTION,  // all, in layers with attention; with SSM heads: models whose layers are of several kinds
    HY_PART_OF_SSM,
} hy_import_part;
typedef enum {
    HY_ROW_PLAIN = 0,
    HY_ROW_CONV,  // theirs is [R,1,C] where ours is [R,C]: weights of a depthwise convolution
} hy_import_kind;
// A tensor of a layer ("%d" in both names: the layer) or of the model (no "%d") is rows of one of our parameters. It
// exists if the hylab model has the parameter and the part is not empty.
//   a parameter made of several tensors: one row of the table for each part of it;
//   a tensor made of several of our parts: rows next to each other with the same `theirs`; their parts follow one
//   another.
typedef struct {
    const char *theirs, *ours;  // theirs NULL: end of the table
    hy_import_part part;
    hy_import_kind kind;
} hy_import_row;
typedef struct hy_import_family {
    const char *model_type;  // of config.json
    const hy_import_row *rows;
    const struct hy_config_key *keys;  // of config.json, with what stands for those that are left out
    // A copy of the embedding that files of tied models may hold; it must then equal tied_to. NULL: none.
    const char *tied_copy, *tied_to;
    // Fills a spec (from hy_model_spec_init on) from config.json, of which hy_config_complete has looked at the keys
    // and filled in those that are left out; errors name `where` (its path) and the key.
    hy_status (*spec)(const hy_json *config, const char *where, hy_model_spec *out);
    // The opposite, for export: sets the keys of config.json (an object). It may write what it sees without checking
    // much: what `spec` does not read back as the same model is refused by the exporter. HY_EINPUT with the reason, or
    // NULL: no export.
    hy_status (*config)(const hy_model_spec *m, hy_json *out);
} hy_import_family;
#define X(name) extern const hy_import_family hy_import_##name;
#include "core/family/families.def"
#undef X
// The family of a model_type; NULL if there is none.
const hy_import_family *hy_import_find(const char *model_type);
const char *hy_import_families(void);  // "hymba, llama, ...": for messages
// A configuration of the family as a spec, not checked as a whole yet (hy_model_spec_check).
hy_status hy_import_spec(const hy_import_family *f, const hy_json *config, const char *where, hy_model_spec *out);

// ---------------------------------------------------------------------------------------------------- the mapping
typedef struct {
    int param;  // elements first .. first+n-1 of this parameter
    size_t first, n;
    size_t at;  // are elements at .. at+n-1 of the tensor
} hy_import_piece;
typedef struct {
    hy_st_want theirs;  // name and shape
    int first, n;       // pieces
    size_t elems;
} hy_import_tensor;
typedef struct {
    hy_import_tensor *v;
    hy_import_piece *pieces;
    int n, n_pieces;
} hy_import_map;
// HY_EINPUT if some element of a parameter has no tensor in this family's layout, or has two.
hy_status hy_import_map_make(const hy_import_family *f, const hy_program *p, hy_import_map *out);
void hy_import_map_free(hy_import_map *m);
const hy_import_tensor *hy_import_map_find(const hy_import_map *m, const char *theirs);  // NULL if there is none
// Values (or gradients) of our parameters as one of their tensors: dst [t->elems].
hy_status hy_import_gather(const hy_import_map *m, const hy_import_tensor *t, const hy_params *w, bool grad,
                           float *dst);

// ---------------------------------------------------------------------------------------------------- a folder
#define HY_IMPORT_CONFIG_MAX ((size_t)4 << 20)  // bytes of config.json: far above any real one
typedef struct {
    char *config_path;
    const hy_import_family *family;
    hy_model_spec spec;
    hy_shards *weights;
    void *unpacked;  // of a GGUF file: what the weights lie in
    hy_buf notes;    // on tensors that are left aside: lines for people, empty if there are none
} hy_import;
// A GGUF file (hy_is_gguf) stands for a folder everywhere: its keys are the configuration, its tensors, quantised ones
// as float32, the weights (import_gguf.c; the architecture llama).
//
// Reads DIR/config.json into a checked spec, without the weights (im->weights stays NULL).
hy_status hy_import_open_config(const char *dir, hy_import **out);
// The same, and opens the weights (shards.h).
hy_status hy_import_open(const char *dir, hy_import **out);
void hy_import_close(hy_import *m);
// Before parameters are made: each matrix of the program whose tensors are all bfloat16 is kept so
// (hy_program_keep_bf16). What is left, float16 and mixtures of types too, gets the type of the parameter set.
void hy_import_keep_types(const hy_import *m, const hy_import_map *map, hy_program *p);
// What hy_import_weights checks, alone: before memory is taken for parameters.
hy_status hy_import_check(const hy_import *m, const hy_import_map *map, hy_buf *report);
// Copies all weights. HY_EINPUT, before anything is overwritten, naming both files and every tensor that is missing,
// unknown or not of the shape that the configuration makes it (the whole list in report if that is not NULL).
hy_status hy_import_weights(const hy_import *m, const hy_import_map *map, hy_params *w, hy_buf *report);
#endif
