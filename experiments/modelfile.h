// modelfile.h - "a model" on the command line: a variant YAML (random weights), a hylab checkpoint, or a folder with a
// released checkpoint (config.json and model.safetensors, the families of core/import.h).
#ifndef HY_MODELFILE_H
#define HY_MODELFILE_H
#include "core/exec.h"

typedef struct {
    hy_program *p;
    hy_params *w;
    bool trained;  // the weights come from a file
} hy_model;
typedef enum { HY_MODEL_YAML = 0, HY_MODEL_CHECKPOINT, HY_MODEL_FOLDER } hy_model_kind;
hy_model_kind hy_model_kind_of(const char *path);
// The spec alone, of any of the three; no weights are read (of a folder, config.json only).
hy_status hy_model_read_spec(const char *path, const char *const *sets, hy_model_spec *out);
// sets: NULL-terminated "path=value" for a YAML (with a checkpoint only what keeps the shapes), or NULL. seed: of random
// weights. HY_EINPUT with the file's name for what cannot be read.
hy_status hy_model_open(const char *path, const char *const *sets, const hy_backend *be, hy_dtype dt, uint64_t seed, hy_model *out);
void hy_model_close(hy_model *m);
#endif
