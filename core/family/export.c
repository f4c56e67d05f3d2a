// export.c - see export.h: checks, values, configurations. The files with weights are export_write.c.
#include <stdlib.h>
#include <string.h>

#include "core/model/checkpoint.h"
#include "core/family/export_impl.h"

// ---------------------------------------------------------------------------------------------------- values
static hy_status read_checkpoint(const void *user, const hy_param *q, int param, size_t first, size_t n, float *dst) {
    const hy_st_tensor *t = hy_st_find(user, q->name);
    (void)param;
    if (!t || t->n != q->n)
        return hy_error(HY_EINPUT, "%s: tensor \"%s\" is missing or of another size", hy_st_path(user), q->name);
    hy_st_read_f32(t, first, n, dst);
    return HY_OK;
}
hy_export_values hy_export_checkpoint_values(const hy_st *checkpoint) {
    return (hy_export_values){read_checkpoint, checkpoint};
}

static hy_status read_initial(const void *user, const hy_param *q, int param, size_t first, size_t n, float *dst) {
    (void)param;
    hy_param_initial_as(q, *(const uint64_t *)user, first, n, HY_F32, 0, dst);
    return HY_OK;
}
hy_export_values hy_export_initial_values(const uint64_t *seed) { return (hy_export_values){read_initial, seed}; }

static hy_status read_folder(const void *user, const hy_param *q, int param, size_t first, size_t n, float *dst) {
    const hy_export_folder *s = user;
    (void)q;
    for (int i = 0; i < s->map->n; i++) {
        const hy_st_tensor *t = NULL;
        for (int k = s->map->v[i].first; k < s->map->v[i].first + s->map->v[i].n; k++) {
            const hy_import_piece *x = &s->map->pieces[k];
            const size_t lo = x->first > first ? x->first : first,
                         hi = x->first + x->n < first + n ? x->first + x->n : first + n;
            if (x->param != param || lo >= hi) continue;
            if (!t) t = hy_shards_find(s->folder->weights, s->map->v[i].theirs.name);
            hy_st_read_f32(t, x->at + (lo - x->first), hi - lo, dst + (lo - first));
        }
    }
    return HY_OK;
}
hy_export_values hy_export_folder_values(const hy_export_folder *source) {
    return (hy_export_values){read_folder, source};
}

// ---------------------------------------------------------------------------------------------------- the same model?
// Takes off what does not touch the values that a model computes.
static void strip(hy_model_spec *m) {
    bool attention = false;
    for (int i = 0; i < m->n_layers; i++) attention |= hy_layer_has_attention(&m->layers[i]);
    snprintf(m->name, sizeof m->name, "%s", "model");
    m->init_std = 0.02;
    m->init_embedding_std = 0;
    m->init_residual_scale = 0;
    if (!attention) m->rope = HY_ROPE_NONE;
    if (m->rope == HY_ROPE_NONE) m->rope_base = 10000;
    if (m->rope != HY_ROPE_NTK) m->max_len = 1;
    if (m->rope != HY_ROPE_NTK && m->rope != HY_ROPE_LLAMA3) m->orig_len = 1;
}

// Puts into a[0 .. na-1] and b[0 .. nb-1] the first lines in which two texts differ; false if they are equal.
static bool first_difference(const char **a, int *na, const char **b, int *nb) {
    *na = (int)strcspn(*a, "\n"), *nb = (int)strcspn(*b, "\n");
    while (**a && **b && *na == *nb && !memcmp(*a, *b, (size_t)*na)) {
        *a += *na + ((*a)[*na] != 0);
        *b += *nb + ((*b)[*nb] != 0);
        *na = (int)strcspn(*a, "\n"), *nb = (int)strcspn(*b, "\n");
    }
    return **a || **b;
}

// Does `have` compute the same as `want`? Both by their canonical text, so that a message can show the line.
static hy_status check_same(const hy_model_spec *want, const hy_model_spec *have, const char *whose) {
    hy_model_spec *m = hy_xcalloc(2, sizeof *m);
    m[0] = *want, m[1] = *have;
    strip(&m[0]), strip(&m[1]);
    char *text[2] = {hy_model_spec_text(&m[0]), hy_model_spec_text(&m[1])};
    const char *a = text[0], *b = text[1];
    int na, nb;
    hy_status s = HY_OK;
    if (first_difference(&a, &na, &b, &nb)) {
        while (na && *a == ' ') a++, na--;
        while (nb && *b == ' ') b++, nb--;
        s = hy_error(HY_EINPUT, "%s: the model has \"%.*s\" where this has \"%.*s\"", whose, na, a, nb, b);
    }
    free(text[0]);
    free(text[1]);
    free(m);
    return s;
}

// The family's configuration of a model, only if it reads back as that model.
static hy_status make_config(const hy_import_family *f, const hy_model_spec *m, hy_st_dtype dtype, hy_json **out) {
    hy_json *c = hy_json_new_object();
    hy_model_spec *back = hy_xcalloc(1, sizeof *back);
    char *whose = hy_asprintf("a configuration of the family \"%s\" cannot say what this model is", f->model_type);
    hy_status s = f->config
                      ? f->config(m, c)
                      : hy_error(HY_EINPUT, "no configuration of the family \"%s\" can be written", f->model_type);
    hy_json_set_string(c, "dtype", hy_export_dtype_name(dtype));
    if (!s && (s = hy_import_spec(f, c, "what would be its config.json", back))) hy_error_context(s, "%s", whose);
    if (!s && (s = hy_model_spec_check(back, NULL))) hy_error_context(s, "%s", whose);
    if (!s) s = check_same(m, back, whose);
    free(whose);
    free(back);
    if (s)
        hy_json_free(c);
    else
        *out = c;
    return s;
}

// A folder's own configuration, but for the name of its element type (NULL: that too).
static hy_status other_dtype(const hy_import *from, const hy_st_dtype *dtype, hy_json **out) {
    HY_TRY(hy_json_read(from->config_path, HY_IMPORT_CONFIG_MAX, out));
    if (dtype)
        hy_json_set_string(*out, hy_json_get(*out, "torch_dtype") ? "torch_dtype" : "dtype",
                           hy_export_dtype_name(*dtype));
    return HY_OK;
}

static hy_status write_config(const hy_json *config, const char *out) {
    hy_buf b = {0};
    char *path = hy_asprintf("%s/config.json", out);
    hy_json_text(config, 2, &b);
    hy_buf_printf(&b, "\n");
    hy_status s = hy_file_write(path, b.s, b.n);
    free(b.s);
    free(path);
    return s;
}

// ---------------------------------------------------------------------------------------------------- entry points
static hy_status begin(hy_export_job *j, const hy_import_family *f, const hy_program *p, hy_export_values values,
                       const char *out, hy_export_report *report) {
    *report = (hy_export_report){0};
    *j = (hy_export_job){.p = p, .values = values, .out = out, .report = report};
    HY_TRY(hy_import_map_make(f, p, &j->map));
    hy_status s = hy_export_make_folder(out);
    if (s) hy_import_map_free(&j->map);
    return s;
}

hy_status hy_export_like(const hy_import *like, const char *like_dir, const hy_program *p, hy_export_values values,
                         const char *out, hy_export_report *report) {
    hy_export_job j;
    HY_TRY(check_same(&p->spec, &like->spec, like->config_path));
    HY_TRY(begin(&j, like->family, p, values, out, report));
    hy_status s = hy_export_write_like(&j, like);
    if (!s) s = hy_export_copy_files(like_dir, out, true);
    hy_import_map_free(&j.map);
    return s;
}

static hy_status write_new(hy_export_job *j, const hy_json *config, const char *from_dir, size_t shard_bytes) {
    hy_status s = hy_export_write_new(j, shard_bytes);
    if (!s && from_dir) s = hy_export_copy_files(from_dir, j->out, false);
    if (!s) s = write_config(config, j->out);
    hy_import_map_free(&j->map);
    return s;
}

hy_status hy_export_new(const hy_import_family *f, const hy_program *p, hy_export_values values, hy_st_dtype dtype,
                        size_t shard_bytes, const char *out, hy_export_report *report) {
    hy_json *config;
    hy_export_job j;
    HY_TRY(make_config(f, &p->spec, dtype, &config));
    hy_status s = begin(&j, f, p, values, out, report);
    j.dtype = dtype;
    if (!s) s = write_new(&j, config, NULL, shard_bytes);
    hy_json_free(config);
    return s;
}

hy_status hy_export_rewrite(const hy_import *from, const char *from_dir, const hy_program *p, hy_export_values values,
                            const hy_st_dtype *dtype, size_t shard_bytes, const char *out, hy_export_report *report) {
    hy_json *config;
    hy_export_job j;
    HY_TRY(check_same(&p->spec, &from->spec, from->config_path));
    HY_TRY(other_dtype(from, dtype, &config));
    hy_status s = begin(&j, from->family, p, values, out, report);
    if (dtype)
        j.dtype = *dtype;
    else
        j.types = from;
    if (!s) s = write_new(&j, config, from_dir, shard_bytes);
    hy_json_free(config);
    return s;
}
