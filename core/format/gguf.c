// gguf.c - see gguf.h. Every number of the file is checked against what is left of it before it is used.
#include "core/format/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/utf8.h"

typedef enum { U8 = 0, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, TYPES } value_type;
static const struct {
    const char *name;
    size_t size;  // 0: not fixed
} types[TYPES] = {{"u8", 1},   {"i8", 1},   {"u16", 2},    {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
                  {"bool", 1}, {"text", 0}, {"a list", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8}};

typedef struct {
    char *name;
    value_type type, of;  // of: elements of an array
    const char *at;       // its bytes; of a string those of its length
    size_t n;             // elements of an array
} pair;
struct hy_gguf {
    char *path;
    void *map;
    size_t map_bytes;
    pair *pairs;
    hy_gguf_tensor *tensors;
    int *by_name;
    int n_pairs, n_tensors;
};

enum { NAME_MOST = 4096, KEYS_MOST = 1 << 16, TENSORS_MOST = 1 << 20, DEFAULT_ALIGNMENT = 32 };

// ---------------------------------------------------------------------------------------------------- reading
typedef struct {
    const hy_gguf *g;
    const char *at, *start, *end;
} cursor;

static hy_status cut_short(const cursor *c, const char *what) {
    return hy_error(HY_EINPUT, "%s: ends within %s (file cut short?)", c->g->path, what);
}
static hy_status take(cursor *c, const char *what, void *dst, size_t n) {
    if ((size_t)(c->end - c->at) < n) return cut_short(c, what);
    memcpy(dst, c->at, n);
    c->at += n;
    return HY_OK;
}
static hy_status pass(cursor *c, const char *what, uint64_t n) {
    if ((uint64_t)(c->end - c->at) < n) return cut_short(c, what);
    c->at += n;
    return HY_OK;
}
// A count of things of at least `least` bytes each.
static hy_status take_count(cursor *c, const char *what, size_t least, uint64_t most, uint64_t *n) {
    HY_TRY(take(c, what, n, sizeof *n));
    if (*n > most || *n > (uint64_t)(c->end - c->at) / least)
        return hy_error(HY_EINPUT, "%s: has %" PRIu64 " %s, more than the file has room for", c->g->path, *n, what);
    return HY_OK;
}
static hy_status take_name(cursor *c, const char *what, char **out) {
    uint64_t n = 0;
    HY_TRY(take(c, what, &n, sizeof n));
    const char *s = c->at;
    if (n > NAME_MOST) return hy_error(HY_EINPUT, "%s: %s of %" PRIu64 " bytes", c->g->path, what, n);
    HY_TRY(pass(c, what, n));
    if (!n || hy_utf8_bad(s, (size_t)n) < n || memchr(s, 0, (size_t)n))
        return hy_error(HY_EINPUT, "%s: %s is empty or not UTF-8", c->g->path, what);
    *out = hy_asprintf("%.*s", (int)n, s);
    return HY_OK;
}

static hy_status pass_value(cursor *c, const char *key, value_type t) {
    uint64_t n = types[t].size;
    if (t == STRING) HY_TRY(take(c, key, &n, sizeof n));
    return pass(c, key, n);
}

static hy_status take_type(cursor *c, const char *key, value_type *out) {
    uint32_t t = 0;
    HY_TRY(take(c, key, &t, sizeof t));
    if (t >= TYPES) return hy_error(HY_EINPUT, "%s: key \"%.200s\": type %" PRIu32 " is not known", c->g->path, key, t);
    *out = (value_type)t;
    return HY_OK;
}

static hy_status read_pair(cursor *c, pair *p) {
    HY_TRY(take_name(c, "the name of a key", &p->name));
    HY_TRY(take_type(c, p->name, &p->type));
    p->at = c->at;
    if (p->type != ARRAY) return pass_value(c, p->name, p->type);
    uint64_t n = 0;
    HY_TRY(take_type(c, p->name, &p->of));
    if (p->of == ARRAY) return hy_error(HY_EINPUT, "%s: key \"%.200s\": a list of lists", c->g->path, p->name);
    const size_t size = types[p->of].size;
    HY_TRY(take_count(c, p->name, size ? size : 8, INT32_MAX, &n));
    p->at = c->at, p->n = (size_t)n;
    for (uint64_t i = 0; !size && i < n; i++) HY_TRY(pass_value(c, p->name, STRING));
    return pass(c, p->name, n * size);
}

static const char *element_name(hy_gguf_element type, size_t *block, size_t *bytes) {
    switch (type) {
#define X(name, number, b, n) \
    case HY_GGUF_##name: *block = b, *bytes = n; return #name;
        HY_GGUF_ELEMENTS(X)
#undef X
    }
    return NULL;
}
size_t hy_gguf_block(hy_gguf_element type) {
    size_t block = 1, bytes;
    element_name(type, &block, &bytes);
    return block;
}

// *offset: from the start of the data.
static hy_status read_tensor(cursor *c, hy_gguf_tensor *t, uint64_t *offset) {
    uint32_t ndim = 0, type = 0;
    size_t block, bytes;
    HY_TRY(take_name(c, "the name of a tensor", &t->name));
    HY_TRY(take(c, t->name, &ndim, sizeof ndim));
    if (ndim < 1 || ndim > HY_GGUF_MAX_DIMS)
        return hy_error(HY_EINPUT, "%s: tensor \"%.200s\": %" PRIu32 " dimensions (1 to %d are read)", c->g->path,
                        t->name, ndim, HY_GGUF_MAX_DIMS);
    t->ndim = (int)ndim, t->n = 1;
    for (int i = t->ndim - 1; i >= 0; i--) {
        HY_TRY(take(c, t->name, &t->shape[i], sizeof t->shape[i]));
        if (t->shape[i] < 1 || __builtin_mul_overflow(t->n, (size_t)t->shape[i], &t->n))
            return hy_error(HY_EINPUT, "%s: tensor \"%.200s\": bad shape", c->g->path, t->name);
    }
    HY_TRY(take(c, t->name, &type, sizeof type));
    HY_TRY(take(c, t->name, offset, sizeof *offset));
    t->type = (hy_gguf_element)type;
    if (!element_name(t->type, &block, &bytes))
        return hy_error(HY_EINPUT,
                        "%s: tensor \"%.200s\": element type %" PRIu32
                        " is not read (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q6_K are)",
                        c->g->path, t->name, type);
    if ((size_t)t->shape[t->ndim - 1] % block)
        return hy_error(HY_EINPUT, "%s: tensor \"%.200s\": rows of %" PRId64 " are no whole blocks of %zu", c->g->path,
                        t->name, t->shape[t->ndim - 1], block);
    if (__builtin_mul_overflow(t->n / block, bytes, &t->bytes))
        return hy_error(HY_EINPUT, "%s: tensor \"%.200s\": bad shape", c->g->path, t->name);
    return HY_OK;
}

static int compare_names(const void *a, const void *b, void *user) {
    const hy_gguf *g = user;
    return strcmp(g->tensors[*(const int *)a].name, g->tensors[*(const int *)b].name);
}

static const pair *find_pair(const hy_gguf *g, const char *key) {
    for (int i = 0; i < g->n_pairs; i++)
        if (!strcmp(g->pairs[i].name, key)) return &g->pairs[i];
    return NULL;
}

static hy_status read_pairs(hy_gguf *g, cursor *c, uint64_t n) {
    g->pairs = hy_xcalloc((size_t)n + 1, sizeof *g->pairs);
    for (uint64_t i = 0; i < n; i++) {
        pair p = {0};
        const hy_status s = read_pair(c, &p);
        if (!s && find_pair(g, p.name)) {
            const hy_status twice = hy_error(HY_EINPUT, "%s: key \"%.200s\" is there twice", g->path, p.name);
            free(p.name);
            return twice;
        }
        if (p.name) g->pairs[g->n_pairs++] = p;
        HY_TRY(s);
    }
    return HY_OK;
}

// Where each tensor lies, once the end of the list of tensors is known.
static hy_status place(hy_gguf *g, const cursor *c, const uint64_t *offset) {
    int64_t align = DEFAULT_ALIGNMENT;
    HY_TRY(hy_gguf_int(g, "general.alignment", 1, 1 << 20, &align, &align));
    const size_t used = (size_t)(c->at - c->start), a = (size_t)align, pad = (a - used % a) % a;
    const size_t left = (size_t)(c->end - c->at) < pad ? 0 : (size_t)(c->end - c->at) - pad;
    for (int i = 0; i < g->n_tensors; i++) {
        hy_gguf_tensor *t = &g->tensors[i];
        if (offset[i] % a)
            return hy_error(HY_EINPUT, "%s: tensor \"%.200s\": its offset %" PRIu64 " is no multiple of %zu", g->path,
                            t->name, offset[i], a);
        if (offset[i] > left || t->bytes > left - offset[i])
            return hy_error(HY_EINPUT,
                            "%s: tensor \"%.200s\": %zu bytes at %" PRIu64
                            " are not inside the %zu bytes of data (file cut short?)",
                            g->path, t->name, t->bytes, offset[i], left);
        t->data = c->at + pad + offset[i];
    }
    return HY_OK;
}

static hy_status read_tensors(hy_gguf *g, cursor *c, uint64_t n) {
    uint64_t *offset = hy_xcalloc((size_t)n + 1, sizeof *offset);
    hy_status s = HY_OK;
    g->tensors = hy_xcalloc((size_t)n + 1, sizeof *g->tensors);
    while (!s && (uint64_t)g->n_tensors < n) {
        s = read_tensor(c, &g->tensors[g->n_tensors], &offset[g->n_tensors]);
        g->n_tensors++;
    }
    if (!s) s = place(g, c, offset);
    free(offset);
    if (s) return s;
    g->by_name = hy_xcalloc((size_t)n + 1, sizeof *g->by_name);
    for (int i = 0; i < g->n_tensors; i++) g->by_name[i] = i;
    qsort_r(g->by_name, (size_t)g->n_tensors, sizeof *g->by_name, compare_names, g);
    for (int i = 1; i < g->n_tensors; i++)
        if (!compare_names(&g->by_name[i - 1], &g->by_name[i], g))
            return hy_error(HY_EINPUT, "%s: tensor \"%.200s\" is there twice", g->path, g->tensors[g->by_name[i]].name);
    return HY_OK;
}

static hy_status read_all(hy_gguf *g, const char *data, size_t n) {
    cursor c = {g, data, data, data + n};
    char magic[4];
    uint32_t version = 0;
    uint64_t tensors = 0, pairs = 0;
    HY_TRY(take(&c, "its first bytes", magic, sizeof magic));
    if (memcmp(magic, "GGUF", 4)) return hy_error(HY_EINPUT, "%s: is not a GGUF file", g->path);
    HY_TRY(take(&c, "its version", &version, sizeof version));
    if (version != 2 && version != 3)
        return hy_error(HY_EINPUT, "%s: version %" PRIu32 " of GGUF is not read (2 and 3, little-endian, are)", g->path,
                        version);
    HY_TRY(take_count(&c, "tensors", 24, TENSORS_MOST, &tensors));
    HY_TRY(take_count(&c, "keys", 13, KEYS_MOST, &pairs));
    HY_TRY(read_pairs(g, &c, pairs));
    return read_tensors(g, &c, tensors);
}

// ---------------------------------------------------------------------------------------------------- open
hy_status hy_gguf_open_memory(const void *data, size_t n, const char *where, hy_gguf **out) {
    hy_gguf *g = hy_xcalloc(1, sizeof *g);
    *out = NULL;
    g->path = hy_xstrdup(where);
    const hy_status s = read_all(g, data, n);
    if (s)
        hy_gguf_close(g);
    else
        *out = g;
    return s;
}

bool hy_is_gguf(const char *path) {
    const size_t n = strlen(path);
    return n > 5 && !strcmp(path + n - 5, ".gguf") && !hy_is_folder(path);
}

hy_status hy_gguf_open(const char *path, hy_gguf **out) {
    struct stat sb;
    *out = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a fifo must not block
    if (fd < 0) return hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno));
    const bool bad = fstat(fd, &sb) || !S_ISREG(sb.st_mode) || sb.st_size == 0;
    void *map = bad ? MAP_FAILED : mmap(NULL, (size_t)sb.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return hy_error(HY_EINPUT, "%s: is empty or not a regular file", path);
    const hy_status s = hy_gguf_open_memory(map, (size_t)sb.st_size, path, out);
    if (s)
        munmap(map, (size_t)sb.st_size);
    else
        (*out)->map = map, (*out)->map_bytes = (size_t)sb.st_size;
    return s;
}

void hy_gguf_close(hy_gguf *g) {
    if (!g) return;
    if (g->map) munmap(g->map, g->map_bytes);
    for (int i = 0; i < g->n_pairs; i++) free(g->pairs[i].name);
    for (int i = 0; i < g->n_tensors; i++) free(g->tensors[i].name);
    free(g->pairs);
    free(g->tensors);
    free(g->by_name);
    free(g->path);
    free(g);
}

const char *hy_gguf_path(const hy_gguf *g) { return g->path; }
int hy_gguf_count(const hy_gguf *g) { return g->n_tensors; }
const hy_gguf_tensor *hy_gguf_at(const hy_gguf *g, int i) { return &g->tensors[i]; }
const hy_gguf_tensor *hy_gguf_find(const hy_gguf *g, const char *name) {
    for (int lo = 0, hi = g->n_tensors; lo < hi;) {
        const int mid = lo + (hi - lo) / 2, c = strcmp(name, g->tensors[g->by_name[mid]].name);
        if (c == 0) return &g->tensors[g->by_name[mid]];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}
int hy_gguf_keys(const hy_gguf *g) { return g->n_pairs; }
const char *hy_gguf_key(const hy_gguf *g, int i) { return g->pairs[i].name; }
bool hy_gguf_has(const hy_gguf *g, const char *key) { return find_pair(g, key) != NULL; }

// ---------------------------------------------------------------------------------------------------- values
// *out NULL: the key is not there, and need not be.
static hy_status wanted(const hy_gguf *g, const char *key, bool needed, const pair **out) {
    *out = find_pair(g, key);
    return *out || !needed ? HY_OK : hy_error(HY_EINPUT, "%s: key \"%.200s\" is missing", g->path, key);
}
static hy_status other_type(const hy_gguf *g, const pair *p, const char *want) {
    return hy_error(HY_EINPUT, "%s: key \"%.200s\": is %s, but %s is wanted", g->path, p->name, types[p->type].name,
                    want);
}
#define GET(c_type, expr)         \
    do {                          \
        c_type x;                 \
        memcpy(&x, at, sizeof x); \
        *out = expr;              \
        return true;              \
    } while (0)
static bool int_at(value_type t, const char *at, int64_t *out) {
    switch (t) {
        case U8: GET(uint8_t, x);
        case I8: GET(uint8_t, x < 128 ? x : x - 256);
        case U16: GET(uint16_t, x);
        case I16: GET(int16_t, x);
        case U32: GET(uint32_t, x);
        case I32: GET(int32_t, x);
        case U64: GET(uint64_t, x > INT64_MAX ? INT64_MAX : (int64_t)x);
        case I64: GET(int64_t, x);
        default: return false;
    }
}

hy_status hy_gguf_int(const hy_gguf *g, const char *key, int64_t lo, int64_t hi, const int64_t *fallback,
                      int64_t *out) {
    const pair *p;
    HY_TRY(wanted(g, key, !fallback, &p));
    int64_t v;
    if (!p) {
        *out = *fallback;
        return HY_OK;
    }
    if (!int_at(p->type, p->at, &v)) return other_type(g, p, "an integer");
    if (v < lo || v > hi)
        return hy_error(HY_EINPUT, "%s: key \"%.200s\": %" PRId64 " is outside %" PRId64 " .. %" PRId64, g->path, key,
                        v, lo, hi);
    *out = v;
    return HY_OK;
}

// The shortest decimal that is this float: files of others hold numbers of a configuration, which are decimals, so.
static double decimal_of(float x) {
    char text[32];
    for (int digits = 1; digits < 10; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) return strtod(text, NULL);
    }
    return (double)x;
}

hy_status hy_gguf_real(const hy_gguf *g, const char *key, double lo, double hi, const double *fallback, double *out) {
    const pair *p;
    HY_TRY(wanted(g, key, !fallback, &p));
    if (!p) {
        *out = *fallback;
        return HY_OK;
    }
    double v = 0;
    float f;
    if (p->type == F64) {
        memcpy(&v, p->at, sizeof v);
    } else if (p->type == F32) {
        memcpy(&f, p->at, sizeof f);
        v = decimal_of(f);
    } else {
        return other_type(g, p, "a real number");
    }
    if (!(v >= lo && v <= hi))
        return hy_error(HY_EINPUT, "%s: key \"%.200s\": %g is outside %g .. %g", g->path, key, v, lo, hi);
    *out = v;
    return HY_OK;
}

hy_status hy_gguf_bool(const hy_gguf *g, const char *key, bool fallback, bool *out) {
    const pair *p = find_pair(g, key);
    *out = fallback;
    if (!p) return HY_OK;
    if (p->type != BOOL) return other_type(g, p, "true or false");
    *out = *p->at != 0;
    return HY_OK;
}

hy_status hy_gguf_text(const hy_gguf *g, const char *key, const char *fallback, char *out, size_t cap) {
    const pair *p;
    HY_TRY(wanted(g, key, !fallback, &p));
    if (!p) {
        snprintf(out, cap, "%s", fallback);
        return HY_OK;
    }
    if (p->type != STRING) return other_type(g, p, "a text");
    hy_gguf_strings one = {p->at, 1};
    size_t n;
    const char *s = hy_gguf_string(&one, &n);
    if (n >= cap) return hy_error(HY_EINPUT, "%s: key \"%.200s\": a text of %zu bytes", g->path, key, n);
    memcpy(out, s, n);
    out[n] = 0;
    return HY_OK;
}

hy_status hy_gguf_string_list(const hy_gguf *g, const char *key, hy_gguf_strings *out) {
    const pair *p;
    HY_TRY(wanted(g, key, true, &p));
    if (p->type != ARRAY || p->of != STRING) return other_type(g, p, "a list of texts");
    *out = (hy_gguf_strings){p->at, p->n};
    return HY_OK;
}

const char *hy_gguf_string(hy_gguf_strings *walk, size_t *n) {
    if (!walk->left) return NULL;
    uint64_t len;  // all of the list was passed once when the file was opened
    memcpy(&len, walk->at, sizeof len);
    const char *s = walk->at + sizeof len;
    walk->at = s + len;
    walk->left--;
    *n = (size_t)len;
    return s;
}

hy_status hy_gguf_int_list(const hy_gguf *g, const char *key, int32_t **out, size_t *n) {
    const pair *p;
    int64_t v;
    HY_TRY(wanted(g, key, true, &p));
    if (p->type != ARRAY || !p->n || !int_at(p->of, p->at, &v)) return other_type(g, p, "a list of integers");
    *out = hy_xcalloc(p->n, sizeof **out);
    *n = p->n;
    for (size_t i = 0; i < p->n; i++) {
        int_at(p->of, p->at + i * types[p->of].size, &v);
        (*out)[i] = v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
    }
    return HY_OK;
}
