// model_file.h - "a model" on the command line: a variant YAML (random weights), a hylab checkpoint, a folder with a
// released checkpoint (config.json and model.safetensors, the families of core/family/import.h), or a GGUF file.
#ifndef HY_MODELFILE_H
#define HY_MODELFILE_H
#include "core/exec/exec.h"
#include "core/spec/published.h"
#include "core/family/import.h"
#include "core/model/precision.h"

typedef struct {
    hy_program *p;
    hy_params *w;
    bool trained;  // the weights come from a file
    char *notes;   // on what was left aside of it: lines for people; NULL: nothing
} hy_model;
// FOLDER: a GGUF file too, by its name.
typedef enum { HY_MODEL_YAML = 0, HY_MODEL_CHECKPOINT, HY_MODEL_FOLDER } hy_model_file_kind;
hy_model_file_kind hy_model_file_kind_of(const char *path);
// The spec alone, of any of the three; no weights are read (of a folder, config.json only).
hy_status hy_model_read_spec(const char *path, const char *const *sets, hy_model_spec *out);
// How the large matrices lie in memory. HY_WEIGHTS_F32 is for training too; the others for inference
// (core/model/program.h).
typedef enum {
    HY_WEIGHTS_F32,   // float32, whatever the file has
    HY_WEIGHTS_AUTO,  // bfloat16 where the file has it, else float32 (float16 is widened)
    HY_WEIGHTS_BF16,  // bfloat16; float32 of a file and random values are rounded
} hy_weights;
#define HY_WEIGHTS_NAMES "auto|f32|bf16"
#define HY_WEIGHTS_HELP                                                                                        \
    "matrices in memory: as the file has them (auto; f16 becomes f32; bf16 with --precision bf16), f32, bf16 " \
    "(rounded if need be)"
#define HY_PRECISION_HELP                                                                                           \
    "computing: f32, tf32 (products of rounded factors), bf16 (activations, cache and matrices, sums in f32); the " \
    "last two with --device cuda (f32)"
hy_status hy_weights_parse(const char *text, hy_weights *out);
// Computing in bfloat16 reads matrices so: kept so (auto, bf16), or as copies of float32 ones (f32), which gives the
// same results.
hy_weights hy_weights_in(hy_weights how, hy_precision precision);
void hy_weights_apply(hy_weights how, const hy_import *im, const hy_import_map *map,
                      hy_program *p);  // before parameters are made
// precision: what the parameters are made for (the backend has it too: hy_precision_set). sets: NULL-terminated
// "path=value", or NULL; with a checkpoint or a folder only what keeps the shapes, and a part of layers
// ("attention.window=64") is changed in every layer that has it. seed: of random weights. HY_EINPUT with the file's
// name for what cannot be read.
hy_status hy_model_open(const char *path, const char *const *sets, const hy_backend *be, hy_weights weights,
                        hy_precision precision, uint64_t seed, hy_model *out);
// The weights of a checkpoint or a folder in a model of a spec that hy_model_read_spec gave for it.
hy_status hy_model_open_as(const char *path, const hy_model_spec *spec, const hy_backend *be, hy_weights weights,
                           hy_precision precision, hy_model *out);
void hy_model_close(hy_model *m);
// Reads the weights of a checkpoint or a folder into parameters of a program of its spec. check: what it checks, alone,
// before memory is taken for parameters; notes (NULL: nobody wants them): as in hy_model, appended.
hy_status hy_model_check(const char *path, const hy_program *p, hy_buf *notes);
hy_status hy_model_load(const char *path, hy_params *w);
// Hash of the content of all files that the weights of a checkpoint or a folder come from.
hy_status hy_model_source_hash(const char *path, char out[33]);
// The figures printed elsewhere of a variant; of other kinds of models an empty list.
hy_status hy_model_published(const char *path, hy_published_list *out);
#endif
