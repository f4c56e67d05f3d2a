// weights.h - the folder models/ beside a database: the weights of trained models, without the state of the optimiser.
// What a database says of them is results/record.h.
#ifndef HY_WEIGHTS_H
#define HY_WEIGHTS_H
#include "core/family/model_file.h"

// Name of the file of a model, "KEY-SEED-DEVICE.safetensors", and where a file of that name lies. The caller frees
// both.
char *hy_weights_name(const char *model_key, int64_t seed, const char *device);
char *hy_weights_path(const char *db, const char *name);
char *hy_weights_folder(const char *db);
// Writes the weights under that name, whole or not at all. hash: of the file.
hy_status hy_weights_save(const char *db, const char *name, hy_params *w, char hash[33]);
// Whether that will work, before there are any: makes the folder.
hy_status hy_weights_try(const char *db, const char *name);
bool hy_weights_exist(const char *db, const char *name);
// The weights of that file in float32, read and checked in one pass. *intact false: the file is not there, or its
// content is not what the hash is of (hash NULL: no matter); out is empty then. An error has other reasons.
hy_status hy_weights_load(const char *db, const char *name, const char *hash, const hy_model_spec *spec,
                          const hy_backend *be, hy_precision precision, hy_model *out, bool *intact);
// Whether the file is there and has the content that the hash is of (hash NULL: any).
bool hy_weights_intact(const char *db, const char *name, const char *hash);
#endif
