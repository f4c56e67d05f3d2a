// spec_sections.h - the fields of a model by section of its YAML: what the reader (spec_read.c), the rules and the
// canonical text (spec.c) share. A new field is a row of spec_sections.c and a member of hy_layer_spec or
// hy_model_spec.
#ifndef HY_SPEC_SECTIONS_H
#define HY_SPEC_SECTIONS_H
#include "core/format/field.h"
#include "core/spec/spec.h"

enum { HY_SPEC_MAX_WIDTH = 1 << 20, HY_SPEC_KEYS = 32 };  // HY_SPEC_KEYS: most keys of one map

// Fields with one prefix and one condition; neighbours of one prefix make up one map of the YAML.
typedef struct {
    const char *prefix;  // "ssm": keys are ssm.d_state, ...; "": they stand beside the maps
    const hy_field *fields;
    bool of_layer;  // members of hy_layer_spec; else of hy_model_spec
    // Of a layer: layers for which it is false lack these fields, whose bytes are absent_byte. Of a model: where it is
    // false for all layers, the fields must have their defaults. NULL: always true.
    bool (*present)(const hy_layer_spec *l);
    bool (*written)(const hy_layer_spec *l);  // of a layer: whether the canonical text has them. NULL: always
    const char *lacking;                      // where they are not present: why, for error messages
    int absent_byte;                          // 0; 0xFF makes -1
    bool derived;                             // set by the reader from other keys, not a key itself
} hy_spec_section;
extern const hy_spec_section hy_spec_sections[];  // in the order of the canonical text; ends with fields NULL
extern const hy_field hy_spec_kv_source[];        // the derived one, which entries of a layer_table may state

size_t hy_spec_field_size(const hy_field *f);  // bytes of the member
// All keys of one map, as one table with HY_FIELD_END. Their number.
int hy_spec_keys(const char *prefix, bool of_layer, hy_field out[HY_SPEC_KEYS + 1]);
void hy_spec_defaults(bool of_layer, void *obj);  // all fields of a hy_model_spec or hy_layer_spec
void hy_spec_clear_absent(hy_layer_spec *l);      // the fields that the layer lacks
void hy_spec_sections_text(bool of_layer, const void *obj, int indent, hy_buf *out);
#endif
