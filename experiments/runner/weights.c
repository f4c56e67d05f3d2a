// weights.c - see weights.h.
#include "experiments/runner/weights.h"

#include <stdlib.h>
#include <string.h>

#include "core/model/checkpoint.h"

char *hy_weights_name(const char *model_key, int64_t seed, const char *device) {
    return hy_asprintf("%s-%lld-%s.safetensors", model_key, (long long)seed, device);
}

char *hy_weights_folder(const char *db) {
    const char *slash = strrchr(db, '/');
    return hy_asprintf("%.*smodels", slash ? (int)(slash - db) + 1 : 0, db);
}

char *hy_weights_path(const char *db, const char *name) {
    char *folder = hy_weights_folder(db), *path = hy_asprintf("%s/%s", folder, name);
    free(folder);
    return path;
}

hy_status hy_weights_save(const char *db, const char *name, hy_params *w, char hash[33]) {
    char *folder = hy_weights_folder(db), *path = hy_weights_path(db, name);
    hy_status s = hy_mkdirs(folder);
    if (!s) s = hy_checkpoint_save(w, path);
    if (!s) s = hy_hash_file(path, hash);
    free(folder);
    free(path);
    return s;
}

hy_status hy_weights_try(const char *db, const char *name) {
    char *path = hy_weights_path(db, name);
    const hy_status s = hy_outfile_try(path);
    free(path);
    return s;
}

bool hy_weights_exist(const char *db, const char *name) {
    char *path = hy_weights_path(db, name);
    const bool there = hy_file_exists(path);
    free(path);
    return there;
}

bool hy_weights_intact(const char *db, const char *name, const char *hash) {
    char *path = hy_weights_path(db, name), found[33] = "";
    const bool intact = hy_file_exists(path) && !hy_hash_file(path, found) && (!hash || !strcmp(hash, found));
    free(path);
    return intact;
}

hy_status hy_weights_load(const char *db, const char *name, const char *hash, const hy_model_spec *spec,
                          const hy_backend *be, hy_precision precision, hy_model *out, bool *intact) {
    char *path = hy_weights_path(db, name), found[33];
    hy_st *st = NULL;
    *out = (hy_model){.trained = true};
    *intact = !hy_checkpoint_open(path, &st);
    free(path);
    if (!*intact) return HY_OK;
    hy_status s = hy_model_build(spec, &out->p);
    if (!s) *intact = !hy_checkpoint_check(st, out->p, NULL);
    if (!s && *intact) s = hy_params_create(out->p, be, hy_precision_dtype(precision), &out->w);
    if (!s && *intact) s = hy_checkpoint_read_hashed(st, out->w, found);
    if (!s && *intact && hash) *intact = !strcmp(hash, found);
    hy_st_close(st);
    if (s || !*intact) hy_model_close(out);
    return s;
}
