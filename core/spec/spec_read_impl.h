// spec_read_impl.h - what the two halves of the variant reader share (spec_read.c, spec_expand.c). Internal to them.
#ifndef HY_SPEC_READ_IMPL_H
#define HY_SPEC_READ_IMPL_H
#include "core/format/yaml.h"
#include "core/spec/spec_sections.h"

typedef struct {      // a layer as written: 0 where a width is auto
    hy_layer_spec l;  // first: the tables of hy_layer_spec's fields serve the draft too
    double expand;
} hy_layer_draft;

typedef struct {
    const hy_yaml *root;
    hy_model_spec *spec;
    const hy_yaml *entry[HY_MAX_LAYERS];   // of pattern or layer_table; NULL: the layer is what the top says
    const hy_yaml *sharer[HY_MAX_LAYERS];  // where it is written that this layer shares keys, or NULL
} hy_spec_reader;

// HY_EINPUT at the key of a YAML path of a layer (-1: the model), or, if a default is at fault, at its section.
hy_status hy_spec_error_at(const hy_spec_reader *r, int layer, const char *field, const char *text);
hy_status hy_spec_place_globals(hy_spec_reader *r);  // attention.global_layers: sets window 0
hy_status hy_spec_place_sharing(hy_spec_reader *r);  // kv_share: sets kv_source
#endif
