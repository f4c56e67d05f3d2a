// spec_fields.h - the tables of fields behind a variant YAML: what the reader (spec_read.c), the canonical text and the
// range checks (spec.c) share. Internal to these files.
#ifndef HY_SPECFIELDS_H
#define HY_SPECFIELDS_H
#include "core/format/field.h"
#include "core/spec/spec.h"

extern const hy_field hy_spec_model_fields[];      // into hy_model_spec: the keys at the top
extern const hy_field hy_spec_norm_fields[];       // norm:   into hy_model_spec
extern const hy_field hy_spec_rope_fields[];       // rope:
extern const hy_field hy_spec_init_fields[];       // init:
extern const hy_field hy_spec_multiplier_fields[]; // multipliers: (left out of the text where they are 1)
extern const hy_field hy_spec_layer_fields[];      // mixer, fusion: into hy_layer_spec
extern const hy_field hy_spec_attention_fields[];  // attention:
extern const hy_field hy_spec_ssm_fields[];        // ssm:
extern const hy_field hy_spec_ssm_kind_fields[];   // ssm: its kind, and what only Mamba-2 has; not in the text of Mamba-1
extern const hy_field hy_spec_mlp_fields[];        // mlp:
#endif
