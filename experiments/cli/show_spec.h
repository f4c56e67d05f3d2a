// show_spec.h - the parts of `hylab show` that need no database: a variant worked out, the list of variants, the
// fields. Each gets argv from its own word on and returns the exit status.
#ifndef HY_SHOW_SPEC_H
#define HY_SHOW_SPEC_H
#include "core/spec/spec.h"

int hy_show_spec(int argc, char **argv);       // show spec FILE
int hy_show_variants(int argc, char **argv);   // show variants [FOLDER]
int hy_show_published(int argc, char **argv);  // show published FILE...
int hy_show_fields(int argc, char **argv);     // show fields [variant|train|experiment|measures|MEASURE|TASK]
int hy_show_measures(int argc, char **argv);   // show measures

// Short words for tables: "parallel", "attention > ssm"; "-", "global" or "window 64".
const char *hy_mixer_text(hy_mixer m);
void hy_mask_text(const hy_layer_spec *l, char out[32]);
#endif
