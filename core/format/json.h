// json.h - JSON in and out: strict reading of untrusted text with errors that name file and key, and building of
// documents for `--format json`. Not a schema checker. core/format/json.c is the only file that knows the JSON library.
#ifndef HY_JSON_H
#define HY_JSON_H
#include "core/base/base.h"

typedef struct hy_json hy_json;  // a value; owned by its document or, when built here, by its parent

// ---------------------------------------------------------------------------------------------------- reading
#define HY_JSON_MAX_DEPTH 32
// Parses n bytes of UTF-8, with a byte order mark or without. Refused with HY_EINPUT and "where: line L, column C:
// reason": invalid UTF-8, duplicate keys, text after the document, nesting deeper than max_depth (0:
// HY_JSON_MAX_DEPTH), numbers outside int64 or double, strings that hold NUL. Free with hy_json_free.
hy_status hy_json_parse(const char *text, size_t n, const char *where, int max_depth, hy_json **out);
// The same from a file of at most max_bytes. Bare Infinity, -Infinity and NaN, which Python writes and JSON does not
// know, are read as {"__float__": "Infinity"} and so on; integers outside int64, which Python writes in full, as reals.
hy_status hy_json_read(const char *path, size_t max_bytes, hy_json **out);
void hy_json_free(hy_json *j);
hy_json *hy_json_copy(const hy_json *j);  // a document of its own

typedef enum {
    HY_JSON_NULL = 0,
    HY_JSON_BOOL,
    HY_JSON_INT,
    HY_JSON_REAL,
    HY_JSON_STRING,
    HY_JSON_ARRAY,
    HY_JSON_OBJECT,
} hy_json_type;
hy_json_type hy_json_type_of(const hy_json *j);
const char *hy_json_type_name(hy_json_type t);  // "an integer", "a list": for messages

// Members. `where` is what messages begin with (a file, or file and path of the object). get: NULL if absent.
const hy_json *hy_json_get(const hy_json *object, const char *key);
bool hy_json_given(const hy_json *j);                       // there (not NULL) and not null
size_t hy_json_size(const hy_json *j);                      // elements of a list or members of an object, else 0
const hy_json *hy_json_at(const hy_json *array, size_t i);  // of a list
// Iteration over an object in file order: for (void *it = hy_json_first(o); it; it = hy_json_next(o, it))
void *hy_json_first(const hy_json *object);
void *hy_json_next(const hy_json *object, void *it);
const char *hy_json_key(void *it);
const hy_json *hy_json_member(void *it);

// Typed getters of a required member: HY_EINPUT "where: key: ..." if absent, of another type, or out of [lo, hi].
hy_status hy_json_get_int(const hy_json *object, const char *where, const char *key, int64_t lo, int64_t hi,
                          int64_t *out);
hy_status hy_json_get_double(const hy_json *object, const char *where, const char *key, double lo, double hi,
                             double *out);
hy_status hy_json_get_bool(const hy_json *object, const char *where, const char *key, bool *out);
hy_status hy_json_get_string(const hy_json *object, const char *where, const char *key, const char **out);
hy_status hy_json_get_array(const hy_json *object, const char *where, const char *key, const hy_json **out);
hy_status hy_json_get_object(const hy_json *object, const char *where, const char *key, const hy_json **out);
// A value itself; `where` names it in full. false / HY_EINPUT if it is of another type.
hy_status hy_json_int(const hy_json *j, const char *where, int64_t lo, int64_t hi, int64_t *out);
hy_status hy_json_double(const hy_json *j, const char *where, double lo, double hi, double *out);
hy_status hy_json_string(const hy_json *j, const char *where, const char **out);

// n bytes that are one JSON string, which may hold NUL; its text is appended to out.
hy_status hy_json_parse_string(const char *text, size_t n, const char *where, hy_buf *out);

// ---------------------------------------------------------------------------------------------------- building
// Containers own what is put into them. Strings that are not UTF-8 get U+FFFD in place of the bad bytes. Numbers are
// printed with as many digits as reading them back needs; NaN and infinity become null.
hy_json *hy_json_new_object(void);
hy_json *hy_json_new_array(void);
hy_json *hy_json_new_string(const char *s);  // NULL: null
hy_json *hy_json_new_double(double v);
hy_json *hy_json_new_int(int64_t v);
hy_json *hy_json_new_bool(bool v);
hy_json *hy_json_new_null(void);
void hy_json_set(hy_json *object, const char *key, hy_json *value);
void hy_json_add(hy_json *array, hy_json *value);
// Short forms of hy_json_set.
void hy_json_set_string(hy_json *object, const char *key, const char *s);
void hy_json_set_double(hy_json *object, const char *key, double v);
void hy_json_set_int(hy_json *object, const char *key, int64_t v);
void hy_json_set_bool(hy_json *object, const char *key, bool v);
void hy_json_set_text(hy_json *object, const char *key, const char *text);  // a number, string or word of JSON

// Text of a value. indent 0: one line; else members on lines of their own, lists of plain values on one line.
void hy_json_text(const hy_json *j, int indent, hy_buf *out);
// Writes text and a newline to f; HY_EFAIL if the stream reports an error.
hy_status hy_json_print(const hy_json *j, FILE *f);
// n bytes of UTF-8 as a JSON string, quotes included.
void hy_json_string_text(const char *s, size_t n, hy_buf *out);
// A double as JSON writes it: the shortest of 15 to 17 digits that reads back the same; "null" if not finite.
void hy_json_double_text(double v, char out[32]);
const char *hy_json_library(void);  // name and version
#endif
