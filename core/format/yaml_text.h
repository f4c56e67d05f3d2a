// yaml_text.h - YAML trees back to text: one value in flow style, a map as assignments for --set.
#ifndef HY_YAMLTEXT_H
#define HY_YAMLTEXT_H
#include "core/format/yaml.h"

void hy_yaml_flow(const hy_yaml *y, hy_buf *out);  // "[1, 2]", "{a: 1}", "word"
// Calls add(user, "prefix.key=value") for every leaf of a map, in file order. Keys may hold dots themselves.
typedef void (*hy_yaml_leaf)(void *user, const char *assignment, const hy_yaml *at);
void hy_yaml_leaves(const hy_yaml *map, const char *prefix, hy_yaml_leaf add, void *user);
#endif
