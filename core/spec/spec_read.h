// spec_read.h - a variant YAML to a hy_model_spec: defaults < base: file < variant < sets; sugar expanded; every rule
// of hy_model_spec_check reported with file:line:column.
#ifndef HY_SPECYAML_H
#define HY_SPECYAML_H
#include "core/spec/spec.h"
#include "core/format/yaml.h"

// A name is optional: without one of its own a file is named after itself, without .yaml. Read the sugar (pattern,
// global_layers, kv_share) in hy_spec_fields_help or `hylab show fields`.
// path: a variant file. sets: NULL-terminated list of "key.path=value", or NULL.
hy_status hy_spec_load(const char *path, const char *const *sets, hy_model_spec *out);
// The same from a tree already read and merged (its "base:" resolved relative to the node's file); name defaults to
// "model".
hy_status hy_spec_from_yaml(const hy_yaml *node, hy_model_spec *out);
// Help text: every key of a variant with default, range and meaning.
void hy_spec_fields_help(hy_buf *out);
#endif
