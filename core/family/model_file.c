// model_file.c - see model_file.h.
#include "core/family/model_file.h"

#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "core/format/gguf.h"
#include "core/model/checkpoint.h"
#include "core/spec/spec_read.h"

hy_status hy_weights_parse(const char *text, hy_weights *out) {
    if (!text || !strcmp(text, "auto"))
        *out = HY_WEIGHTS_AUTO;
    else if (!strcmp(text, "f32"))
        *out = HY_WEIGHTS_F32;
    else if (!strcmp(text, "bf16"))
        *out = HY_WEIGHTS_BF16;
    else
        return hy_error(HY_EINPUT, "--weights %s: there are auto, f32 and bf16", text);
    return HY_OK;
}

static void keep_all(hy_program *p) {
    for (int i = 0; i < p->n_params; i++) hy_program_keep_bf16(p, i);
}

void hy_weights_apply(hy_weights how, const hy_import *im, const hy_import_map *map, hy_program *p) {
    if (how == HY_WEIGHTS_BF16) keep_all(p);
    if (how == HY_WEIGHTS_AUTO) hy_import_keep_types(im, map, p);
}

hy_weights hy_weights_in(hy_weights how, hy_precision precision) {
    return how == HY_WEIGHTS_AUTO && precision == HY_PRECISION_BF16 ? HY_WEIGHTS_BF16 : how;
}

hy_model_file_kind hy_model_file_kind_of(const char *path) {
    const size_t n = strlen(path);
    if (hy_is_folder(path)) return HY_MODEL_FOLDER;
    if (hy_is_gguf(path)) return HY_MODEL_FOLDER;
    return n > 12 && !strcmp(path + n - 12, ".safetensors") ? HY_MODEL_CHECKPOINT : HY_MODEL_YAML;
}

// Applies "key.path=value" to a canonical spec, which says everything layer by layer: a part of layers
// ("attention.window=64") is changed in every layer that has it.
static hy_status set_part(hy_yaml *root, const char *set) {
    const hy_yaml *layers = hy_yaml_get(root, "layer_table");
    char *part = hy_asprintf("%.*s", (int)strcspn(set, ".="), set);
    bool found = false;
    hy_status s = HY_OK;
    for (int i = 0; !s && layers && !hy_yaml_get(root, part) && i < layers->n; i++) {
        if (!hy_yaml_get(layers->child[i], part)) continue;
        char *at = hy_asprintf("layer_table.%d.%s", i, set);
        found = true;
        s = hy_yaml_set(root, at);
        free(at);
    }
    free(part);
    return found ? s : hy_yaml_set(root, set);
}

// A canonical spec text with changes.
static hy_status changed_spec(const char *path, const char *text, const char *const *sets, hy_model_spec *out) {
    hy_yaml *y = NULL;
    hy_status s = hy_yaml_parse(path, text, strlen(text), &y);
    if (!s && hy_yaml_get(y, "base"))
        s = hy_yaml_error(hy_yaml_get(y, "base"), "the spec of a checkpoint stands alone: it has no base");
    for (; !s && sets && *sets; sets++) s = set_part(y, *sets);
    if (!s) s = hy_spec_from_yaml(y, out);
    hy_yaml_free(y);
    return s;
}

static hy_status checkpoint_spec(const hy_st *st, const char *path, const char *const *sets, hy_model_spec *out) {
    return changed_spec(path, hy_checkpoint_spec_text(st), sets, out);
}

static hy_status folder_spec(const hy_import *im, const char *path, const char *const *sets, hy_model_spec *out) {
    *out = im->spec;
    if (!sets || !*sets) return HY_OK;
    char *text = hy_model_spec_text(&im->spec);
    const hy_status s = changed_spec(path, text, sets, out);
    free(text);
    return s;
}

// What a file is that is no YAML, by how it begins. HY_OK: it may be one.
static hy_status check_is_text(const char *path) {
    static const struct {
        const char *begin;
        size_t n;
        const char *what;
    } kinds[] = {
        {"GGUF", 4, "a GGUF file, but its name does not end in .gguf"},
        {"PK\3\4", 4, "a zip file, as torch.save writes pickles: save the model as safetensors"},
        {"\x80\2", 2, "a pickle: save the model as safetensors"},
        {"\x80\3", 2, "a pickle: save the model as safetensors"},
        {"\x80\4", 2, "a pickle: save the model as safetensors"},
        {"\x80\5", 2, "a pickle: save the model as safetensors"},
        {"\x89HDF", 4, "an HDF5 file: save the model as safetensors"},
        {"\x93NUMPY", 6, "a NumPy file: save the model as safetensors"},
    };
    char head[16] = "";
    struct stat info;
    if (stat(path, &info) || !S_ISREG(info.st_mode)) return HY_OK;
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f) fclose(f);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (n >= kinds[i].n && !memcmp(head, kinds[i].begin, kinds[i].n))
            return hy_error(HY_EINPUT, "%s: is %s. A model is a variant (YAML), a checkpoint of hylab or a folder",
                            path, kinds[i].what);
    if (n > 9 && head[8] == '{' && !head[5] && !head[6] && !head[7])
        return hy_error(HY_EINPUT, "%s: looks like safetensors, but its name does not end in .safetensors", path);
    return HY_OK;
}

hy_status hy_model_read_spec(const char *path, const char *const *sets, hy_model_spec *out) {
    hy_st *st;
    hy_import *im;
    hy_status s;
    switch (hy_model_file_kind_of(path)) {
        case HY_MODEL_FOLDER:
            HY_TRY(hy_import_open_config(path, &im));
            s = folder_spec(im, path, sets, out);
            hy_import_close(im);
            return s;
        case HY_MODEL_CHECKPOINT:
            HY_TRY(hy_checkpoint_open(path, &st));
            s = checkpoint_spec(st, path, sets, out);
            hy_st_close(st);
            return s;
        default: HY_TRY(check_is_text(path)); return hy_spec_load(path, sets, out);
    }
}

typedef struct {
    const hy_backend *be;
    hy_weights weights;
    hy_dtype dtype;
} how_to;

static hy_status from_checkpoint(const char *path, const hy_model_spec *spec, const how_to *h, hy_model *out) {
    hy_st *st;
    HY_TRY(hy_checkpoint_open(path, &st));
    hy_status s = hy_model_build(spec, &out->p);
    if (!s && h->weights == HY_WEIGHTS_BF16) keep_all(out->p);
    if (!s && h->weights == HY_WEIGHTS_AUTO) hy_checkpoint_keep_types(st, out->p);
    if (!s) s = hy_checkpoint_check(st, out->p, NULL);  // before memory is taken for what the file claims
    if (!s) s = hy_params_create(out->p, h->be, h->dtype, &out->w);
    if (!s) s = hy_checkpoint_read(st, out->w, HY_CHECKPOINT_ANY_SPEC, NULL);
    hy_st_close(st);
    return s;
}

static hy_status from_folder(const char *path, const hy_model_spec *spec, const how_to *h, hy_model *out) {
    hy_import *im;
    hy_import_map map = {0};
    HY_TRY(hy_import_open(path, &im));
    hy_status s = hy_model_build(spec, &out->p);
    if (!s) s = hy_import_map_make(im->family, out->p, &map);
    if (!s) s = hy_import_check(im, &map, NULL);
    if (!s) hy_weights_apply(h->weights, im, &map, out->p);
    if (!s) s = hy_params_create(out->p, h->be, h->dtype, &out->w);
    if (!s) s = hy_import_weights(im, &map, out->w, NULL);
    if (!s && im->notes.n) out->notes = hy_xstrdup(im->notes.s);
    hy_import_map_free(&map);
    hy_import_close(im);
    return s;
}

hy_status hy_model_open_as(const char *path, const hy_model_spec *spec, const hy_backend *be, hy_weights weights,
                           hy_precision precision, hy_model *out) {
    *out = (hy_model){.trained = true};
    const how_to h = {be, hy_weights_in(weights, precision), hy_precision_dtype(precision)};
    const bool folder = hy_model_file_kind_of(path) == HY_MODEL_FOLDER;
    const hy_status s = folder ? from_folder(path, spec, &h, out) : from_checkpoint(path, spec, &h, out);
    if (s) hy_model_close(out);
    return s;
}

static hy_status random_weights(const hy_model_spec *spec, const how_to *h, uint64_t seed, hy_model *out) {
    HY_TRY(hy_model_build(spec, &out->p));
    if (h->weights == HY_WEIGHTS_BF16) keep_all(out->p);
    HY_TRY(hy_params_create(out->p, h->be, h->dtype, &out->w));
    return hy_params_init(out->w, seed);
}

hy_status hy_model_published(const char *path, hy_published_list *out) {
    *out = (hy_published_list){0};
    return hy_model_file_kind_of(path) == HY_MODEL_YAML ? hy_published_load(path, out) : HY_OK;
}

// w NULL: only the checks.
static hy_status read_weights(const char *path, const hy_program *p, hy_params *w, hy_buf *notes) {
    hy_import *im;
    hy_st *st;
    hy_import_map map = {0};
    hy_status s;
    if (hy_model_file_kind_of(path) != HY_MODEL_FOLDER) {
        HY_TRY(hy_checkpoint_open(path, &st));
        s = w ? hy_checkpoint_read(st, w, HY_CHECKPOINT_ANY_SPEC, NULL) : hy_checkpoint_check(st, p, NULL);
        hy_st_close(st);
        return s;
    }
    HY_TRY(hy_import_open(path, &im));
    s = hy_import_map_make(im->family, p, &map);
    if (!s) s = w ? hy_import_weights(im, &map, w, NULL) : hy_import_check(im, &map, NULL);
    if (!s && notes) hy_buf_write(notes, im->notes.s, im->notes.n);
    hy_import_map_free(&map);
    hy_import_close(im);
    return s;
}

hy_status hy_model_check(const char *path, const hy_program *p, hy_buf *notes) {
    return read_weights(path, p, NULL, notes);
}
hy_status hy_model_load(const char *path, hy_params *w) { return read_weights(path, w->prog, w, NULL); }

// The bytes of every file that the weights come from, as one hash.
static hy_status folder_hash(const char *path, char out[33]) {
    hy_import *im;
    HY_TRY(hy_import_open(path, &im));
    hy_buf all = {0};
    hy_status s = HY_OK;
    for (int i = 0; !s && i < im->weights->n; i++) {
        char one[33];
        s = hy_hash_file(hy_st_path(im->weights->files[i]), one);
        hy_buf_printf(&all, "%s\n", one);
    }
    hy_import_close(im);
    if (!s) hy_hash_hex(all.s, all.n, out);
    free(all.s);
    return s;
}

hy_status hy_model_source_hash(const char *path, char out[33]) {
    const bool folder = hy_model_file_kind_of(path) == HY_MODEL_FOLDER && !hy_is_gguf(path);
    return folder ? folder_hash(path, out) : hy_hash_file(path, out);
}

hy_status hy_model_open(const char *path, const char *const *sets, const hy_backend *be, hy_weights weights,
                        hy_precision precision, uint64_t seed, hy_model *out) {
    *out = (hy_model){0};
    const how_to h = {be, hy_weights_in(weights, precision), hy_precision_dtype(precision)};
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_status s = hy_model_read_spec(path, sets, spec);
    if (!s && hy_model_file_kind_of(path) != HY_MODEL_YAML) {
        s = hy_model_open_as(path, spec, be, weights, precision, out);
    } else if (!s) {
        s = random_weights(spec, &h, seed, out);
        if (s) hy_model_close(out);
    }
    free(spec);
    return s;
}

void hy_model_close(hy_model *m) {
    hy_params_free(m->w);
    hy_program_free(m->p);
    free(m->notes);
    *m = (hy_model){0};
}
