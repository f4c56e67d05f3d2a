// safetensors.c - the reader half of safetensors.h: the file is mapped, every number of its header checked before use.
#include "core/format/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/format/json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian and read without swapping");

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
#define X(name, size) {#name, size},
    HY_ST_DTYPES(X)
#undef X
};

const char *hy_st_dtype_name(hy_st_dtype t) { return dtypes[t].name; }
size_t hy_st_dtype_size(hy_st_dtype t) { return dtypes[t].size; }

struct hy_st {
    char *path;
    const void *start;  // of the file
    size_t before;      // bytes before the data
    void *map;          // NULL when the memory is the caller's
    size_t map_bytes;
    hy_json *header;  // owns the names
    const hy_json *meta;
    hy_st_tensor *tensors;  // by offset
    int *by_name;
    int n;
};

void hy_st_shape_text(int ndim, const int64_t *shape, char *out, size_t cap) {
    size_t used = 0;
    if (!cap) return;
    out[0] = 0;
    for (int i = 0; i < ndim && used < cap; i++)
        used += (size_t)snprintf(out + used, cap - used, "%s%" PRId64, i ? ", " : "[", shape[i]);
    if (used < cap) snprintf(out + used, cap - used, ndim ? "]" : "[]");
}

// ---------------------------------------------------------------------------------------------------- header
#define MAX_TENSORS (1 << 24)

static bool dtype_parse(const char *s, hy_st_dtype *out) {
    for (int i = 0; i < HY_ST_DTYPE_COUNT; i++)
        if (!strcmp(s, dtypes[i].name)) {
            *out = (hy_st_dtype)i;
            return true;
        }
    return false;
}

// "file: tensor "name"" for messages; long names are cut.
static void tensor_where(const hy_st *st, const char *name, char *out, size_t cap) {
    snprintf(out, cap, "%.200s: tensor \"%.200s\"", st->path, name);
}

static hy_status parse_shape(const hy_json *j, const char *where, hy_st_tensor *t) {
    const hy_json *shape;
    HY_TRY(hy_json_get_array(j, where, "shape", &shape));
    if (hy_json_size(shape) > HY_ST_MAX_DIMS)
        return hy_error(HY_EINPUT, "%s: %zu dimensions, at most %d are read", where, hy_json_size(shape),
                        HY_ST_MAX_DIMS);
    t->ndim = (int)hy_json_size(shape);
    t->n = 1;
    for (int i = 0; i < t->ndim; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s: \"shape\"[%d]", where, i);
        HY_TRY(hy_json_int(hy_json_at(shape, (size_t)i), path, 0, INT64_MAX, &t->shape[i]));
        if (__builtin_mul_overflow(t->n, (size_t)t->shape[i], &t->n))
            return hy_error(HY_EINPUT, "%s: the product of its shape overflows", where);
    }
    return HY_OK;
}

static hy_status parse_tensor(const hy_st *st, const char *name, const hy_json *j, const char *data, size_t data_bytes,
                              hy_st_tensor *t) {
    char where[448], shape[192];
    tensor_where(st, name, where, sizeof where);
    if (!*name) return hy_error(HY_EINPUT, "%s: a tensor has an empty name", st->path);
    const char *dtype;
    const hy_json *offsets;
    HY_TRY(hy_json_get_string(j, where, "dtype", &dtype));
    if (!dtype_parse(dtype, &t->dtype))
        return hy_error(HY_EINPUT,
                        "%s: element type \"%.40s\" is not known (bool, integers to 64 bits, F16, BF16, F32, F64 are)",
                        where, dtype);
    HY_TRY(parse_shape(j, where, t));
    HY_TRY(hy_json_get_array(j, where, "data_offsets", &offsets));
    int64_t begin, end;
    if (hy_json_size(offsets) != 2) return hy_error(HY_EINPUT, "%s: data_offsets must be two numbers", where);
    char path[512];
    snprintf(path, sizeof path, "%s: data_offsets", where);
    HY_TRY(hy_json_int(hy_json_at(offsets, 0), path, 0, INT64_MAX, &begin));
    HY_TRY(hy_json_int(hy_json_at(offsets, 1), path, 0, INT64_MAX, &end));
    if (begin > end || (uint64_t)end > data_bytes)
        return hy_error(HY_EINPUT,
                        "%s: data_offsets [%" PRId64 ", %" PRId64
                        "] are not inside the %zu bytes of data (file cut short?)",
                        where, begin, end, data_bytes);
    if (hy_json_size(j) != 3) return hy_error(HY_EINPUT, "%s: has keys beside dtype, shape and data_offsets", where);
    size_t bytes;
    hy_st_shape_text(t->ndim, t->shape, shape, sizeof shape);
    if (__builtin_mul_overflow(t->n, hy_st_dtype_size(t->dtype), &bytes) || bytes != (size_t)(end - begin))
        return hy_error(HY_EINPUT, "%s: data_offsets give %" PRId64 " bytes, which is not %s of %s", where, end - begin,
                        dtype, shape);
    t->name = name;
    t->offset = (size_t)begin;
    t->data = data + begin;
    return HY_OK;
}

static size_t tensor_end(const hy_st_tensor *t) { return t->offset + t->n * hy_st_dtype_size(t->dtype); }

static int by_offset(const void *a, const void *b) {
    const hy_st_tensor *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    size_t ex = tensor_end(x), ey = tensor_end(y);  // empty tensors before the one that starts there
    return ex != ey ? (ex < ey ? -1 : 1) : strcmp(x->name, y->name);
}

// Tensors in data order must follow each other without overlap and, unless allowed, without holes.
static hy_status check_cover(const hy_st *st, size_t data_bytes, unsigned flags) {
    size_t at = 0;
    const char *before = NULL;
    for (int i = 0; i <= st->n; i++) {
        const hy_st_tensor *t = i < st->n ? &st->tensors[i] : NULL;
        size_t next = t ? t->offset : data_bytes;
        if (next < at)
            return hy_error(HY_EINPUT, "%s: tensors \"%.200s\" and \"%.200s\" overlap", st->path, before, t->name);
        if (next > at && !(flags & HY_ST_ALLOW_HOLES))
            return hy_error(HY_EINPUT, "%s: %zu bytes of data %s \"%.200s\" belong to no tensor", st->path, next - at,
                            t ? "before tensor" : "after tensor",
                            t        ? t->name
                            : before ? before
                                     : "");
        if (t) {
            at = tensor_end(t);
            before = t->name;
        }
    }
    return HY_OK;
}

static hy_status parse_meta(hy_st *st, const hy_json *meta) {
    char where[300];
    snprintf(where, sizeof where, "%.200s: __metadata__", st->path);
    if (hy_json_type_of(meta) != HY_JSON_OBJECT) return hy_error(HY_EINPUT, "%s: must be an object of strings", where);
    for (void *it = hy_json_first(meta); it; it = hy_json_next(meta, it)) {
        const char *value;
        HY_TRY(hy_json_get_string(meta, where, hy_json_key(it), &value));
    }
    st->meta = meta;
    return HY_OK;
}

static int compare_names(const void *a, const void *b, void *user) {
    const hy_st *st = user;
    return strcmp(st->tensors[*(const int *)a].name, st->tensors[*(const int *)b].name);
}

static hy_status parse_header(hy_st *st, const char *bytes, size_t n, unsigned flags) {
    uint64_t length;
    if (n < 8) return hy_error(HY_EINPUT, "%s: %zu bytes are too few for a safetensors file", st->path, n);
    memcpy(&length, bytes, 8);
    if (length > HY_ST_MAX_HEADER)
        return hy_error(HY_EINPUT,
                        "%s: header length %" PRIu64 " is above the limit of %zu: not a safetensors file, or damaged",
                        st->path, length, HY_ST_MAX_HEADER);
    if (length > n - 8)
        return hy_error(HY_EINPUT, "%s: header length %" PRIu64 " is more than the file's %zu bytes (file cut short?)",
                        st->path, length, n);
    if (length < 2 || bytes[8] != '{')
        return hy_error(HY_EINPUT, "%s: the header is not a JSON object: not a safetensors file", st->path);
    HY_TRY(hy_json_parse(bytes + 8, length, st->path, 3, &st->header));
    if (hy_json_size(st->header) > MAX_TENSORS)
        return hy_error(HY_EINPUT, "%s: more than %d tensors", st->path, MAX_TENSORS);
    st->start = bytes;
    st->before = 8 + length;
    const char *data = bytes + 8 + length;
    size_t data_bytes = n - 8 - length;
    st->tensors = hy_xcalloc(hy_json_size(st->header), sizeof *st->tensors);
    for (void *it = hy_json_first(st->header); it; it = hy_json_next(st->header, it)) {
        if (!strcmp(hy_json_key(it), "__metadata__"))
            HY_TRY(parse_meta(st, hy_json_member(it)));
        else {
            HY_TRY(parse_tensor(st, hy_json_key(it), hy_json_member(it), data, data_bytes, &st->tensors[st->n]));
            st->n++;
        }
    }
    qsort(st->tensors, (size_t)st->n, sizeof *st->tensors, by_offset);
    HY_TRY(check_cover(st, data_bytes, flags));
    st->by_name = hy_xcalloc((size_t)st->n, sizeof *st->by_name);
    for (int i = 0; i < st->n; i++) st->by_name[i] = i;
    qsort_r(st->by_name, (size_t)st->n, sizeof *st->by_name, compare_names, st);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- open
hy_status hy_st_open_memory(const void *data, size_t n, const char *where, unsigned flags, hy_st **out) {
    *out = NULL;
    hy_st *st = hy_xcalloc(1, sizeof *st);
    st->path = hy_xstrdup(where);
    hy_status s = parse_header(st, data, n, flags);
    if (s)
        hy_st_close(st);
    else
        *out = st;
    return s;
}

static hy_status map_file(const char *path, void **map, size_t *bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a fifo must not block
    if (fd < 0) return hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno));
    struct stat sb;
    hy_status s = HY_OK;
    *map = NULL;
    if (fstat(fd, &sb))
        s = hy_error(HY_EINPUT, "%s: cannot read: %s", path, strerror(errno));
    else if (!S_ISREG(sb.st_mode))
        s = hy_error(HY_EINPUT, "%s: is not a regular file", path);
    else if (sb.st_size == 0)
        s = hy_error(HY_EINPUT, "%s: is empty", path);
    if (!s) {
        *bytes = (size_t)sb.st_size;
        *map = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (*map == MAP_FAILED) s = hy_error(HY_EFAIL, "%s: cannot map %zu bytes: %s", path, *bytes, strerror(errno));
    }
    close(fd);
    return s;
}

hy_status hy_st_open(const char *path, unsigned flags, hy_st **out) {
    void *map;
    size_t bytes = 0;
    *out = NULL;
    HY_TRY(map_file(path, &map, &bytes));
    hy_status s = hy_st_open_memory(map, bytes, path, flags, out);
    if (s)
        munmap(map, bytes);
    else {
        (*out)->map = map;
        (*out)->map_bytes = bytes;
        for (int i = 0; i < (*out)->n; i++) (*out)->tensors[i].mapped = true;
    }
    return s;
}

void hy_st_close(hy_st *st) {
    if (!st) return;
    if (st->map) munmap(st->map, st->map_bytes);
    hy_json_free(st->header);
    free(st->tensors);
    free(st->by_name);
    free(st->path);
    free(st);
}

const char *hy_st_path(const hy_st *st) { return st->path; }
int hy_st_count(const hy_st *st) { return st->n; }
const hy_st_tensor *hy_st_at(const hy_st *st, int i) { return &st->tensors[i]; }

const hy_st_tensor *hy_st_find(const hy_st *st, const char *name) {
    for (int lo = 0, hi = st->n; lo < hi;) {
        int mid = lo + (hi - lo) / 2, c = strcmp(name, st->tensors[st->by_name[mid]].name);
        if (c == 0) return &st->tensors[st->by_name[mid]];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

bool hy_st_has_shape(const hy_st_tensor *t, int ndim, const int64_t *shape) {
    bool same = t->ndim == ndim;
    for (int i = 0; i < ndim && same; i++) same = t->shape[i] == shape[i];
    return same;
}

hy_status hy_st_expect(const hy_st *st, const char *name, int ndim, const int64_t *shape, const hy_st_tensor **out) {
    const hy_st_tensor *t = hy_st_find(st, name);
    if (!t) return hy_error(HY_EINPUT, "%s: tensor \"%s\" is missing", st->path, name);
    char have[192], want[192];
    hy_st_shape_text(t->ndim, t->shape, have, sizeof have);
    hy_st_shape_text(ndim, shape, want, sizeof want);
    if (!hy_st_has_shape(t, ndim, shape))
        return hy_error(HY_EINPUT, "%s: tensor \"%s\" is %s, but %s is wanted", st->path, name, have, want);
    *out = t;
    return HY_OK;
}

const void *hy_st_header(const hy_st *st, size_t *bytes) {
    *bytes = st->before;
    return st->start;
}

const char *hy_st_meta(const hy_st *st, const char *key) {
    const char *value = NULL;
    if (!st->meta || !hy_json_get(st->meta, key)) return NULL;
    HY_ASSERT(hy_json_string(hy_json_get(st->meta, key), key, &value) == HY_OK);  // checked when it was opened
    return value;
}

void hy_st_release(const hy_st_tensor *t) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)t->data;
    const uintptr_t first = begin - begin % page, bytes = begin - first + t->n * hy_st_dtype_size(t->dtype);
    if (t->mapped && t->n) madvise((void *)first, bytes, MADV_DONTNEED);  // a failure costs memory only
}

// ---------------------------------------------------------------------------------------------------- conversion
// Loops over elements of C type `type` (copied: the data has no alignment), x in turn.
#define EACH(type, expr)                          \
    for (size_t i = 0; i < n; i++) {              \
        type x;                                   \
        memcpy(&x, src + i * sizeof x, sizeof x); \
        dst[i] = expr;                            \
    }                                             \
    break
#define CONVERT(to)                                               \
    switch (t->dtype) {                                           \
        case HY_ST_BOOL: EACH(uint8_t, (to)(x != 0));             \
        case HY_ST_U8: EACH(uint8_t, (to)x);                      \
        case HY_ST_I8: EACH(int8_t, (to)x);                       \
        case HY_ST_U16: EACH(uint16_t, (to)x);                    \
        case HY_ST_I16: EACH(int16_t, (to)x);                     \
        case HY_ST_F16: EACH(uint16_t, (to)hy_f32_from_f16(x));   \
        case HY_ST_BF16: EACH(uint16_t, (to)hy_f32_from_bf16(x)); \
        case HY_ST_U32: EACH(uint32_t, (to)x);                    \
        case HY_ST_I32: EACH(int32_t, (to)x);                     \
        case HY_ST_F32: EACH(float, (to)x);                       \
        case HY_ST_U64: EACH(uint64_t, (to)x);                    \
        case HY_ST_I64: EACH(int64_t, (to)x);                     \
        case HY_ST_F64: EACH(double, (to)x);                      \
        case HY_ST_DTYPE_COUNT: break;                            \
    }

static const char *elements(const hy_st_tensor *t, size_t first, size_t n) {
    HY_ASSERT(first <= t->n && n <= t->n - first);
    return (const char *)t->data + first * hy_st_dtype_size(t->dtype);
}

void hy_st_read_f32(const hy_st_tensor *t, size_t first, size_t n, float *dst) {
    const char *src = elements(t, first, n);
    if (t->dtype == HY_ST_F32 && n)
        memcpy(dst, src, n * sizeof *dst);  // also keeps the bits of NaNs
    else
        CONVERT(float)
}

void hy_st_read_f64(const hy_st_tensor *t, size_t first, size_t n, double *dst) {
    const char *src = elements(t, first, n);
    CONVERT(double)
}

void hy_st_round(hy_st_dtype to, size_t n, double *v) {
    for (size_t i = 0; i < n; i++) {
        if (to == HY_ST_F16) v[i] = (double)hy_f32_from_f16(hy_f16_from_f32((float)v[i]));
        if (to == HY_ST_BF16) v[i] = (double)hy_f32_from_bf16(hy_bf16_from_f32((float)v[i]));
        if (to == HY_ST_F32) v[i] = (double)(float)v[i];
    }
}

hy_status hy_st_read_i64(const hy_st_tensor *t, size_t first, size_t n, int64_t *dst) {
    const char *src = elements(t, first, n);
    if (t->dtype == HY_ST_F16 || t->dtype == HY_ST_BF16 || t->dtype == HY_ST_F32 || t->dtype == HY_ST_F64)
        return hy_error(HY_EINPUT, "tensor \"%s\": has element type %s, but integers are wanted", t->name,
                        hy_st_dtype_name(t->dtype));
    CONVERT(int64_t)
    for (size_t i = 0; i < n && t->dtype == HY_ST_U64; i++)
        if (dst[i] < 0)
            return hy_error(HY_EINPUT, "tensor \"%s\": element %zu is above the largest int64", t->name, first + i);
    return HY_OK;
}
