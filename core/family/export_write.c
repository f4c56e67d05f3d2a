// export_write.c - the files of an exported folder: new ones through the safetensors writer, or ones like those of
// another folder, whose headers are taken over byte by byte.
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/family/export_impl.h"

const char *hy_export_dtype_name(hy_st_dtype t) {
    return t == HY_ST_BF16 ? "bfloat16" : t == HY_ST_F16 ? "float16" : "float32";
}

hy_status hy_export_read(const hy_export_job *j, const hy_import_tensor *t, size_t first, size_t n, float *dst) {
    if (hy_interrupted)
        return hy_error(HY_EINTR, "interrupted: %s has no config.json yet and can be written again", j->out);
    for (int k = t->first; k < t->first + t->n; k++) {
        const hy_import_piece *x = &j->map.pieces[k];
        const size_t lo = x->at > first ? x->at : first, hi = x->at + x->n < first + n ? x->at + x->n : first + n;
        if (lo < hi)
            HY_TRY(j->values.read(j->values.user, &j->p->params[x->param], x->param, x->first + (lo - x->at), hi - lo,
                                  dst + (lo - first)));
    }
    return HY_OK;
}

#define CHUNK ((size_t)1 << 16)           // elements converted at a time
#define FILE_MAX_BYTES ((size_t)1 << 30)  // of a file that is copied: a tokenizer is far smaller

// ---------------------------------------------------------------------------------------------------- folder
hy_status hy_export_make_folder(const char *out) {
    static const char *const model_files[] = {"config.json", "model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof model_files / sizeof *model_files; i++) {
        char *path = hy_asprintf("%s/%s", out, model_files[i]);
        const bool there = hy_file_exists(path);
        free(path);
        if (there)
            return hy_error(HY_EINPUT, "%s: already holds a model (%s); choose another folder", out, model_files[i]);
    }
    return hy_mkdirs(out);
}

static hy_status copy_file(const char *from, const char *out, const char *name) {
    char *src = hy_asprintf("%s/%s", from, name), *dst = hy_asprintf("%s/%s", out, name), *data = NULL;
    size_t n;
    hy_status s = HY_OK;
    if (hy_file_exists(src)) {
        s = hy_file_read(src, FILE_MAX_BYTES, &data, &n);
        if (!s) s = hy_file_write(dst, data, n);
    }
    free(data);
    free(src);
    free(dst);
    return s;
}

// The code that "auto_map" in a config.json names lies beside it (Hymba's folders are loaded by theirs).
static hy_status copy_code(const char *from, const char *out) {
    DIR *d = opendir(from);
    hy_status s = HY_OK;
    if (!d) return hy_error(HY_EFAIL, "%s: cannot read: %s", from, strerror(errno));
    for (const struct dirent *e; !s && (e = readdir(d));) {
        const size_t n = strlen(e->d_name);
        struct stat st;
        if (n > 3 && !strcmp(e->d_name + n - 3, ".py") && !fstatat(dirfd(d), e->d_name, &st, 0) && S_ISREG(st.st_mode))
            s = copy_file(from, out, e->d_name);
    }
    closedir(d);
    return s;
}

hy_status hy_export_copy_files(const char *from, const char *out, bool config) {
    static const char *const names[] = {
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "vocab.txt",
        "chat_template.jinja",
        "chat_template.json",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) HY_TRY(copy_file(from, out, names[i]));
    HY_TRY(copy_code(from, out));
    return config ? copy_file(from, out, "config.json") : HY_OK;
}

// ---------------------------------------------------------------------------------------------------- values
typedef struct {
    float *ours, *theirs;
    char *bytes;
} buffers;  // CHUNK values each

static hy_status buffers_make(buffers *b) {
    *b = (buffers){hy_alloc(CHUNK * sizeof(float)), hy_alloc(CHUNK * sizeof(float)), hy_alloc(CHUNK * sizeof(double))};
    return b->ours && b->theirs && b->bytes ? HY_OK : HY_ENOMEM;
}

static void buffers_free(buffers *b) {
    free(b->ours);
    free(b->theirs);
    free(b->bytes);
}

// A finite value that becomes infinite is an error: the folder would hold another model.
static hy_status convert(const char *name, const float *v, size_t n, hy_st_dtype to, void *dst) {
    if (to == HY_ST_F32) memcpy(dst, v, n * sizeof *v);
    for (size_t i = 0; to == HY_ST_F64 && i < n; i++) ((double *)dst)[i] = (double)v[i];
    if (to != HY_ST_BF16 && to != HY_ST_F16) return HY_OK;
    const uint16_t infinite = to == HY_ST_F16 ? 0x7c00 : 0x7f80;
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = to == HY_ST_F16 ? hy_f16_from_f32(v[i]) : hy_bf16_from_f32(v[i]);
        if ((h & 0x7fff) == infinite && isfinite(v[i]))
            return hy_error(
                HY_EINPUT,
                "tensor \"%s\" has a value of %g, which %s cannot hold: choose another element type (--dtype)", name,
                (double)v[i], hy_export_dtype_name(to));
        ((uint16_t *)dst)[i] = h;
    }
    return HY_OK;
}

// Elements first .. first+n-1 in the type of `src`: its own bytes if the values are what they were.
static hy_status bytes_like(const hy_export_job *j, const hy_import_tensor *t, const hy_st_tensor *src, size_t first,
                            size_t n, const buffers *b, const char **out, bool *changed) {
    HY_TRY(hy_export_read(j, t, first, n, b->ours));
    hy_st_read_f32(src, first, n, b->theirs);
    *out = (const char *)src->data + first * hy_st_dtype_size(src->dtype);
    if (!memcmp(b->ours, b->theirs, n * sizeof *b->ours)) return HY_OK;
    *changed = true;
    *out = b->bytes;
    return convert(src->name, b->ours, n, src->dtype, b->bytes);
}

// ---------------------------------------------------------------------------------------------------- new files
static hy_status check_types(const hy_import *like) {
    for (int f = 0; f < like->weights->n; f++)
        for (int i = 0; i < hy_st_count(like->weights->files[f]); i++) {
            const hy_st_tensor *t = hy_st_at(like->weights->files[f], i);
            if (t->dtype != HY_ST_F32 && t->dtype != HY_ST_F16 && t->dtype != HY_ST_BF16 && t->dtype != HY_ST_F64)
                return hy_error(
                    HY_EINPUT,
                    "%s: tensor \"%s\" has elements of type %s, which values of a model cannot be written as",
                    hy_st_path(like->weights->files[f]), t->name, hy_st_dtype_name(t->dtype));
        }
    return HY_OK;
}

static hy_st_dtype type_of(const hy_export_job *j, const hy_import_tensor *t) {
    return j->types ? hy_shards_find(j->types->weights, t->theirs.name)->dtype : j->dtype;
}

typedef struct {
    hy_export_job *job;
    buffers b;
} filler;

static hy_status fill(void *user, const char *name, void *dst, size_t bytes) {
    const filler *f = user;
    const hy_export_job *j = f->job;
    const hy_import_tensor *t = hy_import_map_find(&j->map, name);
    HY_ASSERT(t);
    const size_t size = hy_st_dtype_size(type_of(j, t));
    HY_ASSERT(t->elems * size == bytes);
    for (size_t i = 0; i < t->elems; i += CHUNK) {
        const size_t m = t->elems - i < CHUNK ? t->elems - i : CHUNK;
        char *to = (char *)dst + i * size;
        if (j->types) {
            const char *like;
            bool changed;
            HY_TRY(bytes_like(j, t, hy_shards_find(j->types->weights, name), i, m, &f->b, &like, &changed));
            memcpy(to, like, m * size);
        } else {
            HY_TRY(hy_export_read(j, t, i, m, f->b.ours));
            HY_TRY(convert(name, f->b.ours, m, j->dtype, to));
        }
    }
    return HY_OK;
}

static void shard_name(int i, int n, char out[64]) {
    if (n == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05d-of-%05d.safetensors", i + 1, n);
}

static hy_status write_shard(filler *f, const int *shard, int i, int n) {
    hy_export_job *j = f->job;
    char name[64];
    shard_name(i, n, name);
    char *path = hy_asprintf("%s/%s", j->out, name);
    hy_st_writer *w = hy_st_writer_new();
    hy_st_writer_meta(w, "format", "pt");
    for (int k = 0; k < j->map.n; k++)
        if (shard[k] == i)
            hy_st_writer_add_fill(w, j->map.v[k].theirs.name, type_of(j, &j->map.v[k]), j->map.v[k].theirs.ndim,
                                  j->map.v[k].theirs.shape, fill, f);
    hy_status s = hy_st_writer_commit(w, path);
    hy_st_writer_free(w);
    free(path);
    j->report->files++;
    return s;
}

static hy_status write_index(const hy_export_job *j, const int *shard, int n) {
    hy_json *index = hy_json_new_object(), *meta = hy_json_new_object(), *map = hy_json_new_object();
    char name[64];
    hy_json_set_int(meta, "total_size", (int64_t)j->report->bytes);
    for (int k = 0; k < j->map.n; k++) {
        shard_name(shard[k], n, name);
        hy_json_set_string(map, j->map.v[k].theirs.name, name);
    }
    hy_json_set(index, "metadata", meta);
    hy_json_set(index, "weight_map", map);
    hy_buf b = {0};
    hy_json_text(index, 2, &b);
    hy_buf_printf(&b, "\n");
    char *path = hy_asprintf("%s/model.safetensors.index.json", j->out);
    hy_status s = hy_file_write(path, b.s, b.n);
    free(path);
    free(b.s);
    hy_json_free(index);
    return s;
}

hy_status hy_export_write_new(hy_export_job *j, size_t shard_bytes) {
    if (j->types) HY_TRY(check_types(j->types));
    int *shard = hy_xcalloc((size_t)j->map.n, sizeof *shard), n = 1;
    size_t filled = 0;
    for (int k = 0; k < j->map.n; k++) {
        const size_t bytes = j->map.v[k].elems * hy_st_dtype_size(type_of(j, &j->map.v[k]));
        if (filled && (bytes > shard_bytes || filled > shard_bytes - bytes)) n++, filled = 0;
        shard[k] = n - 1;
        filled += bytes;
        j->report->bytes += bytes;
        j->report->tensors++;
    }
    filler f = {.job = j};
    hy_status s = buffers_make(&f.b);
    for (int i = 0; i < n && !s; i++) s = write_shard(&f, shard, i, n);
    if (!s && n > 1) s = write_index(j, shard, n);
    buffers_free(&f.b);
    free(shard);
    return s;
}

// --------------------------------------------------------------------------------------------------- files like others
static hy_status write_tensor(hy_export_job *j, const hy_import_tensor *t, const hy_st_tensor *src, const buffers *b,
                              hy_outfile *o) {
    bool changed = false;
    for (size_t i = 0; i < src->n; i += CHUNK) {
        const size_t m = src->n - i < CHUNK ? src->n - i : CHUNK;
        const char *bytes;
        HY_TRY(bytes_like(j, t, src, i, m, b, &bytes, &changed));
        HY_TRY(hy_outfile_write(o, bytes, m * hy_st_dtype_size(src->dtype)));
    }
    j->report->changed += changed;
    return HY_OK;
}

static hy_status write_file_like(hy_export_job *j, const hy_import *like, const hy_st *st, const buffers *b) {
    const char *slash = strrchr(hy_st_path(st), '/');
    char *path = hy_asprintf("%s/%s", j->out, slash ? slash + 1 : hy_st_path(st));
    hy_outfile o;
    hy_status s = hy_outfile_open(&o, path);
    free(path);
    if (s) return s;
    size_t n;
    const void *header = hy_st_header(st, &n);
    s = hy_outfile_write(&o, header, n);
    for (int i = 0; i < hy_st_count(st) && !s; i++) {
        const hy_st_tensor *src = hy_st_at(st, i);
        const bool copy = like->spec.tied && like->family->tied_copy && !strcmp(src->name, like->family->tied_copy);
        const hy_import_tensor *t = hy_import_map_find(&j->map, copy ? like->family->tied_to : src->name);
        j->report->tensors++;
        j->report->bytes += src->n * hy_st_dtype_size(src->dtype);
        s = t ? write_tensor(j, t, src, b, &o)
              : hy_outfile_write(&o, src->data, src->n * hy_st_dtype_size(src->dtype));  // an ignored one
    }
    j->report->files++;
    if (s)
        hy_outfile_abort(&o);
    else
        s = hy_outfile_commit(&o);
    return s;
}

hy_status hy_export_write_like(hy_export_job *j, const hy_import *like) {
    HY_TRY(check_types(like));
    buffers b;
    hy_status s = buffers_make(&b);
    for (int i = 0; i < like->weights->n && !s; i++) s = write_file_like(j, like, like->weights->files[i], &b);
    buffers_free(&b);
    if (s || !like->weights->indexed) return s;
    char *dir =
        hy_asprintf("%.*s", (int)(strrchr(like->weights->path, '/') - like->weights->path), like->weights->path);
    s = copy_file(dir, j->out, "model.safetensors.index.json");
    free(dir);
    return s;
}
