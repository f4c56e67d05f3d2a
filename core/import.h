// import.h - checkpoint folders of other programs: config.json -> ModelSpec, and which rows of which hylab parameter each of
// their tensors is. A family of models is one table (import_<family>.c); the mapping serves weights and gradients alike.
#ifndef HY_IMPORT_H
#define HY_IMPORT_H
#include "core/exec.h"
#include "core/json.h"
#include "core/safetensors.h"

// ---------------------------------------------------------------------------------------------------- a family
// Rows of a hylab parameter. in_proj is [q | k | v | s | g] (parts that the layer has), mlp.up is [gate | up].
typedef enum {
    HY_PART_ALL = 0, HY_PART_Q, HY_PART_K, HY_PART_V, HY_PART_S, HY_PART_G, HY_PART_GATE, HY_PART_UP,
} hy_import_part;
// One tensor of a layer ("%d" in both names: the layer) or of the model (no "%d"). It exists if the hylab model has the parameter
// and the part is not empty.
typedef struct {
    const char *theirs, *ours;  // theirs NULL: end of the table
    hy_import_part part;
    bool middle_one;            // theirs is [R,1,C] where ours is [R,C] (convolution weights)
} hy_import_row;
typedef struct {
    const char *model_type;  // of config.json
    const hy_import_row *rows;
    // A copy of the embedding that files of tied models may hold; it must then equal tied_to. NULL: none.
    const char *tied_copy, *tied_to;
    // Fills a spec from config.json; errors name `where` (its path) and the key.
    hy_status (*spec)(const hy_json *config, const char *where, hy_model_spec *out);
} hy_import_family;
extern const hy_import_family hy_import_hymba;
// The family of a model_type; NULL if there is none.
const hy_import_family *hy_import_find(const char *model_type);

// ---------------------------------------------------------------------------------------------------- the mapping
typedef struct {
    hy_st_want theirs;  // name and shape of the tensor
    int param;          // it is elements first .. first+n-1 of this parameter
    size_t first, n;
} hy_import_range;
typedef struct {
    hy_import_range *v;
    int n;
} hy_import_map;
// HY_EINPUT if some element of a parameter has no tensor in this family's layout, or has two.
hy_status hy_import_map_make(const hy_import_family *f, const hy_program *p, hy_import_map *out);
void hy_import_map_free(hy_import_map *m);
const hy_import_range *hy_import_map_find(const hy_import_map *m, const char *theirs);  // NULL if there is none

// ---------------------------------------------------------------------------------------------------- a folder
typedef struct {
    char *config_path;
    const hy_import_family *family;
    hy_model_spec spec;
    hy_st *weights;  // model.safetensors
} hy_import;
// Reads DIR/config.json into a checked spec and opens DIR/model.safetensors.
hy_status hy_import_open(const char *dir, hy_import **out);
void hy_import_close(hy_import *m);
// Copies all weights. HY_EINPUT, before anything is overwritten, naming both files and every tensor that is missing, unknown
// or not of the shape that the configuration makes it (the whole list in report if that is not NULL).
hy_status hy_import_weights(const hy_import *m, const hy_import_map *map, hy_params *w, hy_buf *report);
#endif
