// arrays.c - see arrays.h.
#include "core/format/arrays.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/format/json.h"
#include "core/format/safetensors.h"

typedef enum { SAFETENSORS = 0, FOLDER, NPY, CSV } kind;
typedef struct {
    char *name, *meaning;
    size_t rows, columns, n, came;  // n: values in all
    bool whole, vector;
    hy_outfile npy;
} one;
struct hy_arrays {
    kind kind;
    char *path;
    int n;
    one *v;
    hy_json *about;  // of values.json
    hy_st_writer *st;
    hy_outfile csv;
};

static bool ends(const char *path, const char *with) {
    const size_t n = strlen(path), m = strlen(with);
    return n > m && !strcasecmp(path + n - m, with);
}
static kind kind_of(const char *path) {
    return ends(path, ".safetensors") ? SAFETENSORS : ends(path, ".npy") ? NPY : ends(path, ".csv") ? CSV : FOLDER;
}

hy_status hy_arrays_try(const char *path, const hy_array *a, int n) {
    const kind k = kind_of(path);
    double values = 0;
    for (int i = 0; i < n; i++) values += (double)a[i].rows * (double)(a[i].columns ? a[i].columns : 1);
    if (k == CSV && values > HY_ARRAYS_CSV_MOST)
        return hy_error(
            HY_EINPUT,
            "%s: %.0f values are too many for a line each in CSV (at most %d): name a .safetensors file, or "
            "a folder for .npy files",
            path, values, HY_ARRAYS_CSV_MOST);
    if (k == NPY && n > 1)
        return hy_error(HY_EINPUT, "%s: an .npy file holds one array, these are %d: name a folder", path, n);
    return k == FOLDER ? hy_outfolder_try(path) : hy_outfile_try(path);
}

// ---------------------------------------------------------------------------------------------------- opening
static void open_safetensors(hy_arrays *w, const char *const *about) {
    w->st = hy_st_writer_new();
    for (int i = 0; about && about[i]; i += 2) hy_st_writer_meta(w->st, about[i], about[i + 1]);
    for (int i = 0; i < w->n; i++) {
        const one *a = &w->v[i];
        hy_st_writer_add(w->st, a->name, a->whole ? HY_ST_I32 : HY_ST_F32, a->vector ? 1 : 2,
                         (int64_t[]){(int64_t)a->rows, (int64_t)a->columns}, NULL);
    }
}

// What stands beside the .npy files of a folder.
static hy_json *describe(const hy_arrays *w, const char *const *about) {
    hy_json *j = hy_json_new_object(), *texts = hy_json_new_object(), *list = hy_json_new_object();
    for (int i = 0; about && about[i]; i += 2) hy_json_set_string(texts, about[i], about[i + 1]);
    for (int i = 0; i < w->n; i++) {
        hy_json *a = hy_json_new_object(), *shape = hy_json_new_array();
        hy_json_add(shape, hy_json_new_int((int64_t)w->v[i].rows));
        if (!w->v[i].vector) hy_json_add(shape, hy_json_new_int((int64_t)w->v[i].columns));
        hy_json_set(a, "shape", shape);
        hy_json_set_string(a, "meaning", w->v[i].meaning);
        hy_json_set(list, w->v[i].name, a);
    }
    hy_json_set(j, "about", texts);
    hy_json_set(j, "values", list);
    return j;
}

hy_status hy_arrays_open(const char *path, const hy_array *a, int n, const char *const *about, hy_arrays **out) {
    *out = NULL;
    HY_TRY(hy_arrays_try(path, a, n));
    hy_arrays *w = hy_xcalloc(1, sizeof *w);
    *w = (hy_arrays){.kind = kind_of(path), .path = hy_xstrdup(path), .n = n, .v = hy_xcalloc((size_t)n, sizeof(one))};
    for (int i = 0; i < n; i++) {
        const size_t rows = (size_t)a[i].rows, columns = a[i].columns ? (size_t)a[i].columns : 1;
        w->v[i] = (one){.name = hy_xstrdup(a[i].name),
                        .meaning = hy_xstrdup(a[i].meaning ? a[i].meaning : ""),
                        .rows = rows,
                        .columns = columns,
                        .n = rows * columns,
                        .whole = a[i].whole,
                        .vector = !a[i].columns};
    }
    hy_status s = HY_OK;
    static const char header[] = "name,row,column,value\n";
    if (w->kind == SAFETENSORS) {
        open_safetensors(w, about);
        s = hy_st_writer_begin(w->st, path);
    } else if (w->kind == CSV) {
        s = hy_outfile_open(&w->csv, path);
        if (!s) s = hy_outfile_write(&w->csv, header, sizeof header - 1);
    } else if (w->kind == FOLDER) {
        w->about = describe(w, about);
    }
    if (s)
        hy_arrays_free(w);
    else
        *out = w;
    return s;
}

// ---------------------------------------------------------------------------------------------------- pieces
// Version 1.0 of NumPy's format: magic, two bytes of version, length of the header, a Python dictionary padded with
// spaces to a multiple of 64 and ended by a newline; then the values, little-endian, rows one after another.
static hy_status npy_begin(hy_arrays *w, one *a) {
    char *path = w->kind == NPY ? hy_xstrdup(w->path) : hy_asprintf("%s/%s.npy", w->path, a->name);
    hy_buf b = {0};
    hy_status s = hy_outfile_open(&a->npy, path);
    hy_buf_printf(&b, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu,", a->whole ? "<i4" : "<f4", a->rows);
    if (!a->vector) hy_buf_printf(&b, " %zu", a->columns);
    hy_buf_printf(&b, "), }");
    while ((10 + b.n + 1) % 64) hy_buf_printf(&b, " ");
    hy_buf_printf(&b, "\n");
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)b.n, (unsigned char)(b.n >> 8)};
    if (!s) s = hy_outfile_write(&a->npy, start, sizeof start);
    if (!s) s = hy_outfile_write(&a->npy, b.s, b.n);
    free(b.s), free(path);
    return s;
}

static hy_status npy_put(hy_arrays *w, one *a, const void *data, size_t n) {
    if (!a->came) HY_TRY(npy_begin(w, a));
    HY_TRY(hy_outfile_write(&a->npy, data, 4 * n));
    return a->came + n == a->n ? hy_outfile_commit(&a->npy) : HY_OK;
}

static hy_status csv_put(hy_arrays *w, const one *a, size_t first, const void *data, size_t n) {
    hy_buf b = {0};
    for (size_t k = 0; k < n; k++) {
        const size_t at = first + k;
        hy_buf_printf(&b, "%s,%zu,%zu,", a->name, at / a->columns, at % a->columns);
        if (a->whole)
            hy_buf_printf(&b, "%d\n", (int)((const int32_t *)data)[k]);
        else
            hy_buf_printf(&b, "%.9g\n", (double)((const float *)data)[k]);
    }
    const hy_status s = hy_outfile_write(&w->csv, b.s, b.n);
    free(b.s);
    return s;
}

hy_status hy_arrays_put(hy_arrays *w, int i, size_t first, const void *data, size_t n) {
    one *a = &w->v[i];
    HY_ASSERT(i >= 0 && i < w->n && first == a->came && n <= a->n - first);
    if (!n) return HY_OK;
    hy_status s = HY_OK;
    switch (w->kind) {
        case SAFETENSORS: s = hy_st_writer_put(w->st, i, 4 * first, data, 4 * n); break;
        case CSV: s = csv_put(w, a, first, data, n); break;
        case FOLDER:
        case NPY: s = npy_put(w, a, data, n); break;
    }
    a->came += n;
    return s;
}

// ---------------------------------------------------------------------------------------------------- end
hy_status hy_arrays_commit(hy_arrays *w) {
    for (int i = 0; i < w->n; i++)
        if (w->v[i].came != w->v[i].n)
            return hy_error(HY_EFAIL, "%s: of \"%s\" %zu of %zu values were made", w->path, w->v[i].name, w->v[i].came,
                            w->v[i].n);
    if (w->kind == SAFETENSORS) return hy_st_writer_end(w->st);
    if (w->kind == CSV) return hy_outfile_commit(&w->csv);
    if (w->kind == NPY) return HY_OK;
    hy_buf b = {0};
    hy_json_text(w->about, 2, &b);
    hy_buf_printf(&b, "\n");
    char *path = hy_asprintf("%s/values.json", w->path);
    const hy_status s = hy_file_write(path, b.s, b.n);
    free(path), free(b.s);
    return s;
}

void hy_arrays_free(hy_arrays *w) {
    if (!w) return;
    for (int i = 0; i < w->n; i++) {
        hy_outfile_abort(&w->v[i].npy);
        free(w->v[i].name), free(w->v[i].meaning);
    }
    hy_outfile_abort(&w->csv);
    hy_st_writer_free(w->st);
    hy_json_free(w->about);
    free(w->v), free(w->path);
    free(w);
}
