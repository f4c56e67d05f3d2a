// modelfile.c - see modelfile.h.
#include "experiments/modelfile.h"

#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "core/checkpoint.h"
#include "core/import.h"
#include "core/specyaml.h"

static hy_status from_checkpoint(const char *path, const char *const *sets, const hy_backend *be, hy_dtype dt, hy_model *out) {
    hy_st *st;
    hy_yaml *y = NULL;
    HY_TRY(hy_checkpoint_open(path, &st));
    const char *text = hy_checkpoint_spec_text(st);
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_status s = hy_yaml_parse(path, text, strlen(text), &y);
    for (; !s && sets && *sets; sets++) s = hy_yaml_set(y, *sets);
    if (!s) s = hy_spec_from_yaml(y, spec);
    hy_yaml_free(y);
    if (!s) s = hy_model_build(spec, &out->p);
    free(spec);
    if (!s) s = hy_params_create(out->p, be, dt, &out->w);
    if (!s) s = hy_checkpoint_read(st, out->w, HY_CHECKPOINT_ANY_SPEC, NULL);
    hy_st_close(st);
    out->trained = true;
    return s;
}

static hy_status from_folder(const char *path, const char *const *sets, const hy_backend *be, hy_dtype dt, hy_model *out) {
    hy_import *im;
    hy_import_map map = {0};
    if (sets && *sets) return hy_error(HY_EINPUT, "%s: --set is for variants and hylab checkpoints, not for a released checkpoint", path);
    HY_TRY(hy_import_open(path, &im));
    hy_status s = hy_model_build(&im->spec, &out->p);
    if (!s) s = hy_params_create(out->p, be, dt, &out->w);
    if (!s) s = hy_import_map_make(im->family, out->p, &map);
    if (!s) s = hy_import_weights(im, &map, out->w, NULL);
    hy_import_map_free(&map);
    hy_import_close(im);
    out->trained = true;
    return s;
}

static hy_status from_yaml(const char *path, const char *const *sets, const hy_backend *be, hy_dtype dt, uint64_t seed, hy_model *out) {
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_status s = hy_spec_load(path, sets, spec);
    if (!s) s = hy_model_build(spec, &out->p);
    free(spec);
    if (!s) s = hy_params_create(out->p, be, dt, &out->w);
    return s ? s : hy_params_init(out->w, seed);
}

hy_status hy_model_open(const char *path, const char *const *sets, const hy_backend *be, hy_dtype dt, uint64_t seed, hy_model *out) {
    *out = (hy_model){0};
    const size_t n = strlen(path);
    const bool st = n > 12 && !strcmp(path + n - 12, ".safetensors");
    struct stat info;
    const bool folder = !stat(path, &info) && S_ISDIR(info.st_mode);
    hy_status s = folder ? from_folder(path, sets, be, dt, out)
                  : st   ? from_checkpoint(path, sets, be, dt, out)
                         : from_yaml(path, sets, be, dt, seed, out);
    if (s) hy_model_close(out);
    return s;
}

void hy_model_close(hy_model *m) {
    hy_params_free(m->w);
    hy_program_free(m->p);
    *m = (hy_model){0};
}
