// yaml.h - YAML files as a tree with positions; strict: duplicate keys, anchors out of control and deep nesting are
// errors. The only user of libyaml.
#ifndef HY_YAML_H
#define HY_YAML_H
#include "core/format/field.h"

typedef enum { HY_YAML_SCALAR, HY_YAML_LIST, HY_YAML_MAP } hy_yaml_kind;
typedef struct hy_yaml {
    hy_yaml_kind kind;
    const char *file;  // owned by the document
    int line, column;  // from 1
    char *text;        // scalar
    bool quoted;       // scalar in quotes: never null, number or bool
    int n;             // children of a list, pairs of a map
    char **key;        // map
    int *key_line, *key_column;
    struct hy_yaml **child;
} hy_yaml;

// Limits: a file of 4 MiB, 100000 nodes (aliases count as what they stand for), 64 levels, 1000 keys in a map.
// An empty file is a scalar without text (null). A byte order mark before the text is passed over. Tags other than
// !!str, !!map and !!seq are refused.
hy_status hy_yaml_load(const char *path, hy_yaml **out);                               // a file
hy_status hy_yaml_parse(const char *name, const char *text, size_t n, hy_yaml **out);  // a string
void hy_yaml_free(hy_yaml *root);                                                      // a root only; or NULL
hy_yaml *hy_yaml_get(const hy_yaml *map, const char *key);                             // NULL if absent
hy_yaml *hy_yaml_copy(const hy_yaml *node);                                            // a root of its own
bool hy_yaml_is_null(const hy_yaml *node);                                             // no value, ~ or null
bool hy_yaml_is(const hy_yaml *node, const char *word);                                // a scalar of that text
// Applies "path.to.key=value" (value is YAML; lists by index: pattern.0.mixer). New keys are created; a list index must
// exist.
hy_status hy_yaml_set(hy_yaml *root, const char *assignment);
// b over a: maps merge, everything else is replaced. For base < variant < experiment < grid point.
hy_yaml *hy_yaml_merge(const hy_yaml *a, const hy_yaml *b);
// HY_EINPUT at a node, or at key i of a map: "file:line:column: text".
hy_status hy_yaml_error(const hy_yaml *at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
hy_status hy_yaml_error_key(const hy_yaml *map, int i, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// One value of the type and range that a field describes, into obj + field->offset.
hy_status hy_yaml_field(const hy_yaml *value, const hy_field *field, void *obj);
// Reads a map (or nothing: null) into obj by a table; what is absent keeps its value. Unknown keys are errors with a
// suggestion, unless named in `also` ("a|b": left to the caller; may be NULL).
hy_status hy_yaml_fields(const hy_yaml *map, const hy_field *f, void *obj, const char *also);
void hy_yaml_library(char out[64]);  // name and version of the parser
#endif
