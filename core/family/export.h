// export.h - the way back of import.h: weights and configuration as a checkpoint folder of a family, for other programs
// to load. Tensor by tensor: never the whole model in memory.
#ifndef HY_EXPORT_H
#define HY_EXPORT_H
#include "core/family/import.h"

// Where values come from: elements first .. first+n-1 of a parameter of a program, as float32.
typedef struct {
    hy_status (*read)(const void *user, const hy_param *q, int param, size_t first, size_t n, float *dst);
    const void *user;
} hy_export_values;
hy_export_values hy_export_checkpoint_values(const hy_st *checkpoint);  // an open hylab checkpoint
hy_export_values hy_export_initial_values(const uint64_t *seed);        // those of hy_params_init
typedef struct {
    const hy_import *folder;
    const hy_import_map *map;
} hy_export_folder;
hy_export_values hy_export_folder_values(
    const hy_export_folder *source);  // a folder that was checked (hy_import_check)

typedef struct {
    int files, tensors, changed;  // changed: tensors that differ from those of `like`
    size_t bytes;                 // of weights
} hy_export_report;

// OUT is made if it is not there. HY_EINPUT if it already holds a model. Both check everything before they write;
// config.json comes last, so a folder that has one is whole.

// A folder like another one: its files, headers, element types, shards and other files (config.json,
// generation_config.json, the tokenizer) as they are; a tensor whose values are the same comes out byte by byte.
// HY_EINPUT if the program's model is not one that computes what like's configuration says.
hy_status hy_export_like(const hy_import *like, const char *like_dir, const hy_program *p, hy_export_values values,
                         const char *out, hy_export_report *report);
// A new folder: config.json from the spec, weights of one type (HY_ST_F32, _BF16, _F16) in files of at most shard_bytes
// (a larger tensor has one to itself). HY_EINPUT, with the first line of the spec that gets lost, if the family cannot
// say what the model is.
hy_status hy_export_new(const hy_import_family *f, const hy_program *p, hy_export_values values, hy_st_dtype dtype,
                        size_t shard_bytes, const char *out, hy_export_report *report);
// The same for a folder's own model: its config.json with another "dtype", its other files. dtype NULL: every tensor
// and config.json keep their type. HY_EINPUT in the middle of it if a value is beyond what the type holds.
hy_status hy_export_rewrite(const hy_import *from, const char *from_dir, const hy_program *p, hy_export_values values,
                            const hy_st_dtype *dtype, size_t shard_bytes, const char *out, hy_export_report *report);
#endif
