// json.c - see json.h. Wraps jansson; a hy_json is a json_t.
#include "core/format/json.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"

const char *hy_json_library(void) { return "jansson " JANSSON_VERSION; }

static const json_t *in(const hy_json *j) { return (const json_t *)j; }
static hy_json *wrap(json_t *j) {
    if (!j) hy_no_memory();  // jansson returns NULL only when out of memory, strings being checked before
    return (hy_json *)j;
}

// ---------------------------------------------------------------------------------------------------- reading
// Deepest nesting of brackets outside strings; strings end at an unescaped quote. Stops early past `limit`.
static int text_depth(const char *s, size_t n, int limit) {
    int depth = 0, deepest = 0;
    bool string = false;
    for (size_t i = 0; i < n && deepest <= limit; i++) {
        char c = s[i];
        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"')
            string = true;
        else if (c == '{' || c == '[')
            deepest = ++depth > deepest ? depth : deepest;
        else if (c == '}' || c == ']')
            depth--;
    }
    return deepest;
}

hy_status hy_json_parse(const char *text, size_t n, const char *where, int max_depth, hy_json **out) {
    int limit = max_depth > 0 ? max_depth : HY_JSON_MAX_DEPTH;
    *out = NULL;
    HY_TRY(hy_utf8_begin(where, &text, &n));
    // jansson's own limit is fixed at its build: the depth is looked at before it recurses
    if (text_depth(text, n, limit) > limit)
        return hy_error(HY_EINPUT, "%s: JSON nested deeper than %d levels", where, limit);
    json_error_t e;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        return hy_error(json_error_code(&e) == json_error_out_of_memory ? HY_ENOMEM : HY_EINPUT,
                        "%s: line %d, column %d: not valid JSON: %.300s", where, e.line < 1 ? 1 : e.line,
                        e.column < 0 ? 0 : e.column, e.text);
    *out = wrap(j);
    return HY_OK;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Length of the number that begins here, and whether it is an integer outside int64.
static size_t number_length(const char *s, size_t n, bool *huge) {
    size_t k = 0, digits = 0;
    for (; k < n && s[k] && strchr("+-.0123456789eE", s[k]); k++) digits += is_digit(s[k]);
    const size_t sign = k && *s == '-';
    const char *const most = sign ? "9223372036854775808" : "9223372036854775807";
    *huge = digits == k - sign && (digits > 19 || (digits == 19 && memcmp(s + sign, most, 19) > 0));
    return k;
}

// Python writes infinities and NaN as bare words, which JSON does not know: outside strings each becomes {"__float__":
// "Infinity"}. Its integers have no end (1e30 in full is the "model_max_length" of many a tokenizer): those outside
// int64 become reals.
static void rewrite_numbers(const char *s, size_t n, hy_buf *out) {
    static const char *const words[] = {"-Infinity", "Infinity", "NaN"};
    bool string = false;
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const char c = s[i];
        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (is_digit(c) || (c == '-' && i + 1 < n && is_digit(s[i + 1]))) {
            bool huge;
            const size_t m = number_length(s + i, n - i, &huge);
            if (huge) {
                hy_buf_write(out, s + from, i + m - from);
                hy_buf_printf(out, "e0");
                from = i + m;
            }
            i += m - 1;
        } else {
            for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
                const size_t m = strlen(words[k]);
                if (m > n - i || memcmp(s + i, words[k], m)) continue;
                hy_buf_write(out, s + from, i - from);
                hy_buf_printf(out, "{\"__float__\": \"%s\"}", words[k]);
                from = i + m;
                i = from - 1;
                break;
            }
        }
    }
    hy_buf_write(out, s + from, n - from);
}

hy_status hy_json_read(const char *path, size_t max_bytes, hy_json **out) {
    char *text;
    size_t n;
    *out = NULL;
    HY_TRY(hy_file_read(path, max_bytes, &text, &n));
    hy_buf plain = {0};
    rewrite_numbers(text, n, &plain);
    hy_status s = hy_json_parse(plain.n ? plain.s : "", plain.n, path, 0, out);
    free(plain.s);
    free(text);
    return s;
}

hy_status hy_json_parse_string(const char *text, size_t n, const char *where, hy_buf *out) {
    json_error_t e;
    json_t *j = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    const bool string = j && json_is_string(j);
    if (string) hy_buf_write(out, json_string_value(j), json_string_length(j));
    json_decref(j);
    return string ? HY_OK
                  : hy_error(HY_EINPUT, "%s: a JSON string is wanted: %.300s", where,
                             j ? "this is another value" : e.text);
}

void hy_json_free(hy_json *j) { json_decref((json_t *)j); }
hy_json *hy_json_copy(const hy_json *j) { return wrap(json_deep_copy(in(j))); }

hy_json_type hy_json_type_of(const hy_json *j) {
    switch (json_typeof(in(j))) {
        case JSON_OBJECT: return HY_JSON_OBJECT;
        case JSON_ARRAY: return HY_JSON_ARRAY;
        case JSON_STRING: return HY_JSON_STRING;
        case JSON_INTEGER: return HY_JSON_INT;
        case JSON_REAL: return HY_JSON_REAL;
        case JSON_TRUE:
        case JSON_FALSE: return HY_JSON_BOOL;
        default: return HY_JSON_NULL;
    }
}

const char *hy_json_type_name(hy_json_type t) {
    static const char *const names[] = {"null",     "true or false", "an integer", "a number",
                                        "a string", "a list",        "an object"};
    return names[t];
}

const hy_json *hy_json_get(const hy_json *object, const char *key) {
    return (const hy_json *)json_object_get(in(object), key);
}

bool hy_json_given(const hy_json *j) { return j && !json_is_null(in(j)); }

size_t hy_json_size(const hy_json *j) {
    return json_is_array(in(j)) ? json_array_size(in(j)) : json_object_size(in(j));
}

const hy_json *hy_json_at(const hy_json *array, size_t i) { return (const hy_json *)json_array_get(in(array), i); }

// jansson's iteration takes a mutable object but changes nothing
static json_t *mutable_object(const hy_json *o) { return (json_t *)(uintptr_t)o; }
void *hy_json_first(const hy_json *object) { return json_object_iter(mutable_object(object)); }
void *hy_json_next(const hy_json *object, void *it) { return json_object_iter_next(mutable_object(object), it); }
const char *hy_json_key(void *it) { return json_object_iter_key(it); }
const hy_json *hy_json_member(void *it) { return (const hy_json *)json_object_iter_value(it); }

static hy_status wrong_type(const char *where, const hy_json *j, const char *wanted) {
    return hy_error(HY_EINPUT, "%s: is %s, but %s is wanted here", where, hy_json_type_name(hy_json_type_of(j)),
                    wanted);
}

hy_status hy_json_int(const hy_json *j, const char *where, int64_t lo, int64_t hi, int64_t *out) {
    if (json_is_real(in(j)) && fabs(json_real_value(in(j))) > 0x1p62)
        return hy_error(HY_EINPUT, "%s: %g is outside %lld .. %lld", where, json_real_value(in(j)), (long long)lo,
                        (long long)hi);
    if (!json_is_integer(in(j))) return wrong_type(where, j, "an integer");
    int64_t v = json_integer_value(in(j));
    if (v < lo || v > hi)
        return hy_error(HY_EINPUT, "%s: %lld is outside %lld .. %lld", where, (long long)v, (long long)lo,
                        (long long)hi);
    *out = v;
    return HY_OK;
}

hy_status hy_json_double(const hy_json *j, const char *where, double lo, double hi, double *out) {
    if (!json_is_number(in(j))) return wrong_type(where, j, "a number");
    double v = json_number_value(in(j));
    if (!(v >= lo && v <= hi)) return hy_error(HY_EINPUT, "%s: %g is outside %g .. %g", where, v, lo, hi);
    *out = v;
    return HY_OK;
}

hy_status hy_json_string(const hy_json *j, const char *where, const char **out) {
    if (!json_is_string(in(j))) return wrong_type(where, j, "a string");
    *out = json_string_value(in(j));
    return HY_OK;
}

// "where: key" in out, and the member.
static hy_status required(const hy_json *object, const char *where, const char *key, char *path, size_t cap,
                          const hy_json **out) {
    snprintf(path, cap, "%s: \"%s\"", where, key);
    if (!json_is_object(in(object))) return wrong_type(where, object, "an object");
    *out = hy_json_get(object, key);
    return *out ? HY_OK : hy_error(HY_EINPUT, "%s is missing", path);
}

hy_status hy_json_get_int(const hy_json *object, const char *where, const char *key, int64_t lo, int64_t hi,
                          int64_t *out) {
    char path[512];
    const hy_json *j;
    HY_TRY(required(object, where, key, path, sizeof path, &j));
    return hy_json_int(j, path, lo, hi, out);
}

hy_status hy_json_get_double(const hy_json *object, const char *where, const char *key, double lo, double hi,
                             double *out) {
    char path[512];
    const hy_json *j;
    HY_TRY(required(object, where, key, path, sizeof path, &j));
    return hy_json_double(j, path, lo, hi, out);
}

hy_status hy_json_get_bool(const hy_json *object, const char *where, const char *key, bool *out) {
    char path[512];
    const hy_json *j;
    HY_TRY(required(object, where, key, path, sizeof path, &j));
    if (!json_is_boolean(in(j))) return wrong_type(path, j, "true or false");
    *out = json_is_true(in(j));
    return HY_OK;
}

hy_status hy_json_get_string(const hy_json *object, const char *where, const char *key, const char **out) {
    char path[512];
    const hy_json *j;
    HY_TRY(required(object, where, key, path, sizeof path, &j));
    return hy_json_string(j, path, out);
}

hy_status hy_json_get_array(const hy_json *object, const char *where, const char *key, const hy_json **out) {
    char path[512];
    const hy_json *j;
    HY_TRY(required(object, where, key, path, sizeof path, &j));
    if (!json_is_array(in(j))) return wrong_type(path, j, "a list");
    *out = j;
    return HY_OK;
}

hy_status hy_json_get_object(const hy_json *object, const char *where, const char *key, const hy_json **out) {
    char path[512];
    const hy_json *j;
    HY_TRY(required(object, where, key, path, sizeof path, &j));
    if (!json_is_object(in(j))) return wrong_type(path, j, "an object");
    *out = j;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- building
static char *utf8_clean(const char *s) {
    hy_buf b = {0};
    hy_buf_write(&b, "", 0);
    hy_utf8_lossy(s, strlen(s), &b);
    return b.s;
}

hy_json *hy_json_new_object(void) { return wrap(json_object()); }
hy_json *hy_json_new_array(void) { return wrap(json_array()); }
hy_json *hy_json_new_double(double v) { return wrap(isfinite(v) ? json_real(v) : json_null()); }
hy_json *hy_json_new_int(int64_t v) { return wrap(json_integer(v)); }
hy_json *hy_json_new_bool(bool v) { return wrap(json_boolean(v)); }
hy_json *hy_json_new_null(void) { return wrap(json_null()); }
hy_json *hy_json_new_string(const char *s) {
    if (!s) return hy_json_new_null();
    char *clean = utf8_clean(s);
    hy_json *j = wrap(json_string(clean));
    free(clean);
    return j;
}

void hy_json_set(hy_json *object, const char *key, hy_json *value) {
    char *clean = utf8_clean(key);
    if (json_object_set_new((json_t *)object, clean, (json_t *)value)) hy_no_memory();
    free(clean);
}
void hy_json_add(hy_json *array, hy_json *value) {
    if (json_array_append_new((json_t *)array, (json_t *)value)) hy_no_memory();
}
void hy_json_set_string(hy_json *object, const char *key, const char *s) {
    hy_json_set(object, key, hy_json_new_string(s));
}
void hy_json_set_double(hy_json *object, const char *key, double v) { hy_json_set(object, key, hy_json_new_double(v)); }
void hy_json_set_int(hy_json *object, const char *key, int64_t v) { hy_json_set(object, key, hy_json_new_int(v)); }
void hy_json_set_bool(hy_json *object, const char *key, bool v) { hy_json_set(object, key, hy_json_new_bool(v)); }
void hy_json_set_text(hy_json *object, const char *key, const char *text) {
    hy_json_set(object, key, wrap(json_loads(text, JSON_DECODE_ANY, NULL)));
}

// ---------------------------------------------------------------------------------------------------- text
// jansson prints reals with one fixed number of digits (0.1 as 0.10000000000000001), hence a printer of its own here.
void hy_json_double_text(double v, char out[32]) {
    if (!isfinite(v)) {
        strcpy(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, v);
        if (strtod(out, NULL) == v) break;
    }
    if (!strpbrk(out, ".e")) strcat(out, ".0");
}

void hy_json_string_text(const char *s, size_t n, hy_buf *out) {
    hy_buf_write(out, "\"", 1);
    for (const char *end = s + n; s < end; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            hy_buf_printf(out, "\\%c", c);
        else if (c == '\n')
            hy_buf_write(out, "\\n", 2);
        else if (c == '\t')
            hy_buf_write(out, "\\t", 2);
        else if (c < 0x20 || c == 0x7f)
            hy_buf_printf(out, "\\u%04x", c);
        else
            hy_buf_write(out, s, 1);
    }
    hy_buf_write(out, "\"", 1);
}

static void string_text(const char *s, hy_buf *out) { hy_json_string_text(s, strlen(s), out); }

static bool plain(const json_t *j) { return !json_is_object(j) && !json_is_array(j); }

static void newline(int indent, int level, hy_buf *out) {
    if (indent > 0) hy_buf_printf(out, "\n%*s", indent * level, "");
}

static void value_text(const json_t *j, int indent, int level, hy_buf *out);

static void array_text(const json_t *j, int indent, int level, hy_buf *out) {
    bool flat = true;
    size_t n = json_array_size(j);
    for (size_t i = 0; i < n && flat; i++) flat = plain(json_array_get(j, i));
    hy_buf_write(out, "[", 1);
    for (size_t i = 0; i < n; i++) {
        if (i) hy_buf_write(out, flat ? ", " : ",", flat ? 2 : 1);
        if (!flat) newline(indent, level + 1, out);
        value_text(json_array_get(j, i), indent, level + 1, out);
    }
    if (!flat) newline(indent, level, out);
    hy_buf_write(out, "]", 1);
}

static void object_text(const json_t *j, int indent, int level, hy_buf *out) {
    const hy_json *o = (const hy_json *)j;
    hy_buf_write(out, "{", 1);
    for (void *it = hy_json_first(o); it;) {
        newline(indent, level + 1, out);
        string_text(hy_json_key(it), out);
        hy_buf_write(out, ": ", 2);
        value_text(in(hy_json_member(it)), indent, level + 1, out);
        it = hy_json_next(o, it);
        if (it) hy_buf_write(out, indent > 0 ? "," : ", ", indent > 0 ? 1 : 2);
    }
    if (hy_json_size(o)) newline(indent, level, out);
    hy_buf_write(out, "}", 1);
}

static void value_text(const json_t *j, int indent, int level, hy_buf *out) {
    char number[32];
    switch (json_typeof(j)) {
        case JSON_OBJECT: object_text(j, indent, level, out); break;
        case JSON_ARRAY: array_text(j, indent, level, out); break;
        case JSON_STRING: string_text(json_string_value(j), out); break;
        case JSON_INTEGER: hy_buf_printf(out, "%lld", (long long)json_integer_value(j)); break;
        case JSON_REAL:
            hy_json_double_text(json_real_value(j), number);
            hy_buf_printf(out, "%s", number);
            break;
        case JSON_TRUE: hy_buf_write(out, "true", 4); break;
        case JSON_FALSE: hy_buf_write(out, "false", 5); break;
        default: hy_buf_write(out, "null", 4);
    }
}

void hy_json_text(const hy_json *j, int indent, hy_buf *out) { value_text(in(j), indent, 0, out); }

hy_status hy_json_print(const hy_json *j, FILE *f) {
    hy_buf b = {0};
    hy_json_text(j, 2, &b);
    hy_buf_write(&b, "\n", 1);
    fwrite(b.s, 1, b.n, f);
    free(b.s);
    return hy_stream_end(f, "the JSON output");
}
