// weights.h - the folder models/ beside a database: the weights of trained models, without the state of the optimiser.
// What a database says of them is results/record.h.
#ifndef HY_WEIGHTS_H
#define HY_WEIGHTS_H
#include "core/model/params.h"

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
// Whether the file is there and has the content that the hash is of (hash NULL: any).
bool hy_weights_intact(const char *db, const char *name, const char *hash);
#endif
