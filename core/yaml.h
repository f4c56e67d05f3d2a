// yaml.h - YAML files as a tree with positions; strict: duplicate keys, anchors out of control and deep nesting are
// errors. The only user of libyaml.
#ifndef HY_YAML_H
#define HY_YAML_H
#include "core/field.h"

typedef enum { HY_YAML_SCALAR, HY_YAML_LIST, HY_YAML_MAP } hy_yaml_kind;
typedef struct hy_yaml {
    hy_yaml_kind kind;
    const char *file;   // owned by the document
    int line, column;   // from 1
    char *text;         // scalar
    bool quoted;        // scalar in quotes: never null, number or bool
    int n;              // children of a list, pairs of a map
    char **key;         // map
    int *key_line, *key_column;
    struct hy_yaml **child;
    bool used;          // set by readers; hy_yaml_unused finds the first key nobody read
} hy_yaml;

hy_status hy_yaml_load(const char *path, hy_yaml **out);                                        // a file
hy_status hy_yaml_parse(const char *name, const char *text, size_t n, hy_yaml **out);           // a string
void hy_yaml_free(hy_yaml *root);                                                               // a root only
hy_yaml *hy_yaml_get(const hy_yaml *map, const char *key);                                      // NULL if absent
// Applies "path.to.key=value" (value is YAML; lists by index: pattern.0.mixer). New keys are created; a list index must exist.
hy_status hy_yaml_set(hy_yaml *root, const char *assignment);
// b over a: maps merge, everything else is replaced. For base < variant < experiment < grid point.
hy_yaml *hy_yaml_merge(const hy_yaml *a, const hy_yaml *b);
// Error at a node: "file:line:column: text".
hy_status hy_yaml_error(const hy_yaml *at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Reads a map into obj by a table. Unknown keys are errors with a suggestion, unless named in `also` ("a|b": left to the caller).
hy_status hy_yaml_fields(const hy_yaml *map, const hy_field *f, void *obj, const char *also);
#endif
