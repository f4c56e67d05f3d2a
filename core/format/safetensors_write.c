// safetensors_write.c - the writer half of safetensors.h: header first, then one tensor after the other into a
// temporary file.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/json.h"
#include "core/format/safetensors.h"

#define HEADER_ALIGN 64  // the data begins at a cache line of the mapped file

typedef struct {
    char *name;
    hy_st_dtype dtype;
    int ndim;
    int64_t shape[HY_ST_MAX_DIMS];
    size_t bytes, offset, came;
    const void *data;  // borrowed or own; NULL with fill, and where the data comes in pieces
    void *own;
    hy_st_fill fill;
    void *user;
    int order;  // of announcement, the second sort key
} entry;

struct hy_st_writer {
    entry *v;
    int n;
    char **meta;  // key, value, key, value ...
    int n_meta;
    hy_outfile out;  // between begin and end
    size_t base;     // of the data in that file
    int *place;      // [n] in v, by order of announcement
};

hy_st_writer *hy_st_writer_new(void) { return hy_xcalloc(1, sizeof(hy_st_writer)); }

void hy_st_writer_free(hy_st_writer *w) {
    if (!w) return;
    hy_outfile_abort(&w->out);
    for (int i = 0; i < w->n; i++) {
        free(w->v[i].name);
        free(w->v[i].own);
    }
    for (int i = 0; i < w->n_meta; i++) free(w->meta[i]);
    free(w->place);
    free(w->v);
    free(w->meta);
    free(w);
}

void hy_st_writer_meta(hy_st_writer *w, const char *key, const char *value) {
    w->meta = hy_xrealloc(w->meta, sizeof *w->meta * (size_t)(w->n_meta + 2));
    w->meta[w->n_meta++] = hy_xstrdup(key);
    w->meta[w->n_meta++] = hy_xstrdup(value);
}

static entry *entry_new(hy_st_writer *w, const char *name, hy_st_dtype dtype, int ndim, const int64_t *shape) {
    w->v = hy_xrealloc(w->v, sizeof *w->v * (size_t)(w->n + 1));
    entry *e = &w->v[w->n];
    *e = (entry){.name = hy_xstrdup(name), .dtype = dtype, .ndim = ndim, .order = w->n++};
    for (int i = 0; i < ndim && i < HY_ST_MAX_DIMS; i++) e->shape[i] = shape[i];
    return e;
}

void hy_st_writer_add(hy_st_writer *w, const char *name, hy_st_dtype dtype, int ndim, const int64_t *shape,
                      const void *data) {
    entry_new(w, name, dtype, ndim, shape)->data = data;
}

void hy_st_writer_add_fill(hy_st_writer *w, const char *name, hy_st_dtype dtype, int ndim, const int64_t *shape,
                           hy_st_fill fill, void *user) {
    entry *e = entry_new(w, name, dtype, ndim, shape);
    e->fill = fill;
    e->user = user;
}

static void add_copy(hy_st_writer *w, const char *name, hy_st_dtype dtype, size_t n, const void *v) {
    entry *e = entry_new(w, name, dtype, 1, (int64_t[]){(int64_t)n});
    e->own = hy_xcalloc(n, hy_st_dtype_size(dtype));
    if (n) memcpy(e->own, v, n * hy_st_dtype_size(dtype));
    e->data = e->own;
}
void hy_st_writer_add_f32(hy_st_writer *w, const char *name, size_t n, const float *v) {
    add_copy(w, name, HY_ST_F32, n, v);
}
void hy_st_writer_add_f64(hy_st_writer *w, const char *name, size_t n, const double *v) {
    add_copy(w, name, HY_ST_F64, n, v);
}
void hy_st_writer_add_i64(hy_st_writer *w, const char *name, size_t n, const int64_t *v) {
    add_copy(w, name, HY_ST_I64, n, v);
}

// ---------------------------------------------------------------------------------------------------- commit
static int by_name(const void *a, const void *b) { return strcmp(((const entry *)a)->name, ((const entry *)b)->name); }

// Larger elements first: every offset is then a multiple of its tensor's element size without any padding.
static int by_size(const void *a, const void *b) {
    const entry *x = a, *y = b;
    size_t sx = hy_st_dtype_size(x->dtype), sy = hy_st_dtype_size(y->dtype);
    return sx != sy ? (sx < sy ? 1 : -1) : x->order - y->order;
}

static hy_status check_entries(hy_st_writer *w, const char *path, size_t *largest) {
    size_t at = 0;
    *largest = 1;
    if (w->n) qsort(w->v, (size_t)w->n, sizeof *w->v, by_name);
    for (int i = 0; i < w->n; i++) {
        const entry *e = &w->v[i];
        if (!*e->name || !strcmp(e->name, "__metadata__"))
            return hy_error(HY_EINPUT, "%s: \"%s\" cannot be the name of a tensor", path, e->name);
        if (i && !strcmp(e->name, w->v[i - 1].name))
            return hy_error(HY_EINPUT, "%s: two tensors are named \"%s\"", path, e->name);
    }
    if (w->n) qsort(w->v, (size_t)w->n, sizeof *w->v, by_size);
    for (int i = 0; i < w->n; i++) {
        entry *e = &w->v[i];
        bool bad = e->ndim < 0 || e->ndim > HY_ST_MAX_DIMS;
        e->bytes = hy_st_dtype_size(e->dtype);
        for (int d = 0; d < e->ndim && !bad; d++)
            bad = e->shape[d] < 0 || __builtin_mul_overflow(e->bytes, (size_t)e->shape[d], &e->bytes);
        e->offset = at;
        if (bad || __builtin_add_overflow(at, e->bytes, &at) || at > (size_t)INT64_MAX)
            return hy_error(HY_EINPUT, "%s: tensor \"%s\": bad shape", path, e->name);
        if (e->fill && e->bytes > *largest) *largest = e->bytes;
    }
    return HY_OK;
}

static void header_text(const hy_st_writer *w, hy_buf *b) {
    hy_json *o = hy_json_new_object();
    if (w->n_meta) {
        hy_json *meta = hy_json_new_object();
        for (int i = 0; i < w->n_meta; i += 2) hy_json_set_string(meta, w->meta[i], w->meta[i + 1]);
        hy_json_set(o, "__metadata__", meta);
    }
    for (int i = 0; i < w->n; i++) {
        const entry *e = &w->v[i];
        hy_json *t = hy_json_new_object(), *shape = hy_json_new_array(), *offsets = hy_json_new_array();
        for (int d = 0; d < e->ndim; d++) hy_json_add(shape, hy_json_new_int(e->shape[d]));
        hy_json_add(offsets, hy_json_new_int((int64_t)e->offset));
        hy_json_add(offsets, hy_json_new_int((int64_t)(e->offset + e->bytes)));
        hy_json_set_string(t, "dtype", hy_st_dtype_name(e->dtype));
        hy_json_set(t, "shape", shape);
        hy_json_set(t, "data_offsets", offsets);
        hy_json_set(o, e->name, t);
    }
    hy_json_text(o, 0, b);
    hy_json_free(o);
    while ((b->n + 8) % HEADER_ALIGN) hy_buf_write(b, " ", 1);
}

// Where the bytes of a file go.
typedef hy_status (*sink)(void *to, const void *data, size_t n);

static hy_status into_file(void *to, const void *data, size_t n) { return hy_outfile_write(to, data, n); }

static hy_status into_hash(void *to, const void *data, size_t n) {
    hy_hasher_add(to, data, n);
    return HY_OK;
}

// *bytes: its length in the file.
static hy_status write_header(const hy_st_writer *w, const char *path, sink put, void *to, size_t *bytes) {
    hy_buf header = {0};
    header_text(w, &header);
    uint64_t length = header.n;
    hy_status s = HY_OK;
    if (header.n > HY_ST_MAX_HEADER)
        s = hy_error(HY_EINPUT, "%s: the header would be longer than %zu bytes", path, HY_ST_MAX_HEADER);
    if (!s) s = put(to, &length, 8);
    if (!s) s = put(to, header.s, header.n);
    *bytes = 8 + header.n;
    free(header.s);
    return s;
}

static hy_status write_all(hy_st_writer *w, const char *path, sink put, void *to, void *scratch) {
    size_t bytes;
    hy_status s = write_header(w, path, put, to, &bytes);
    for (int i = 0; i < w->n && !s; i++) {
        const entry *e = &w->v[i];
        if (e->fill) s = e->fill(e->user, e->name, scratch, e->bytes);
        if (!s) s = put(to, e->fill ? scratch : e->data, e->bytes);
    }
    return s;
}

hy_status hy_st_writer_commit(hy_st_writer *w, const char *path) {
    size_t largest;
    HY_TRY(check_entries(w, path, &largest));
    void *scratch = hy_alloc(largest);
    if (!scratch) return HY_ENOMEM;
    hy_outfile o;
    hy_status s = hy_outfile_open(&o, path);
    if (!s) {
        s = write_all(w, path, into_file, &o, scratch);
        if (s)
            hy_outfile_abort(&o);
        else
            s = hy_outfile_commit(&o);
    }
    free(scratch);
    return s;
}

hy_status hy_st_writer_hash(hy_st_writer *w, const char *where, char out[33]) {
    size_t largest;
    HY_TRY(check_entries(w, where, &largest));
    void *scratch = hy_alloc(largest);
    if (!scratch) return HY_ENOMEM;
    hy_hasher *h = hy_hasher_new();
    const hy_status s = write_all(w, where, into_hash, h, scratch);
    hy_hasher_end(h, out);
    free(scratch);
    return s;
}

// ---------------------------------------------------------------------------------------------------- in pieces
hy_status hy_st_writer_begin(hy_st_writer *w, const char *path) {
    size_t largest;
    HY_TRY(check_entries(w, path, &largest));
    HY_TRY(hy_outfile_open(&w->out, path));
    hy_status s =
        w->out.tmp ? HY_OK : hy_error(HY_EINPUT, "%s: is written in pieces, at any place of it: name a file", path);
    if (!s) s = write_header(w, path, into_file, &w->out, &w->base);
    if (s) hy_outfile_abort(&w->out);
    free(w->place);
    w->place = hy_xcalloc((size_t)w->n + 1, sizeof *w->place);
    for (int i = 0; i < w->n; i++) w->place[w->v[i].order] = i;
    return s;
}

hy_status hy_st_writer_put(hy_st_writer *w, int index, size_t at, const void *data, size_t n) {
    HY_ASSERT(index >= 0 && index < w->n && w->out.f);
    entry *e = &w->v[w->place[index]];
    HY_ASSERT(at <= e->bytes && n <= e->bytes - at);
    e->came += n;
    if (fseeko(w->out.f, (off_t)(w->base + e->offset + at), SEEK_SET))
        return hy_error(HY_EFAIL, "%s: cannot be written at any place: %s", w->out.path, strerror(errno));
    return hy_outfile_write(&w->out, data, n);
}

hy_status hy_st_writer_end(hy_st_writer *w) {
    for (int i = 0; i < w->n; i++) {
        if (w->v[i].came == w->v[i].bytes) continue;
        const hy_status s = hy_error(HY_EFAIL, "%s: of \"%s\" %zu of %zu bytes were made", w->out.path, w->v[i].name,
                                     w->v[i].came, w->v[i].bytes);
        hy_outfile_abort(&w->out);
        return s;
    }
    return hy_outfile_commit(&w->out);
}
