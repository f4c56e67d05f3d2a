// checkpoint.h - parameters of a program to and from hylab's own safetensors layout: tensors under the program's
// parameter names, and as metadata the format's version, the spec's canonical text and its hash. Files of other
// programs: import.h.
#ifndef HY_CHECKPOINT_H
#define HY_CHECKPOINT_H
#include "core/model/params.h"
#include "core/format/safetensors.h"

#define HY_CHECKPOINT_VERSION "1"     // metadata "hylab.format"
#define HY_CHECKPOINT_EXTRA "train."  // tensors so named belong to the trainer: readers of weights skip them

// Puts metadata and every parameter into a writer; w stays in use until the commit. A trainer adds its own tensors
// after.
void hy_checkpoint_add(hy_st_writer *out, hy_params *w);
// The two steps for weights alone.
hy_status hy_checkpoint_save(hy_params *w, const char *path);
// Before the work: whether a checkpoint can be written there. Of files that are there only a checkpoint is replaced.
hy_status hy_checkpoint_try(const char *path);
// The hash of the file that hy_checkpoint_save makes of the weights in a checkpoint, which may have a trainer's tensors
// besides.
hy_status hy_checkpoint_weights_hash(const char *path, char out[33]);

// Opens a file and checks that it is a hylab checkpoint of a version this build reads, its spec text unharmed.
hy_status hy_checkpoint_open(const char *path, hy_st **out);
// The canonical spec text of an open checkpoint; valid while it is open.
const char *hy_checkpoint_spec_text(const hy_st *st);

typedef enum {
    HY_CHECKPOINT_SAME_SPEC = 0,  // the stored spec must be the program's
    HY_CHECKPOINT_ANY_SPEC,       // only names and shapes must agree (a changed window, rope base, ...)
} hy_checkpoint_rule;
// Before parameters are made: each matrix of the program that is bfloat16 in the file is kept so
// (hy_program_keep_bf16).
void hy_checkpoint_keep_types(const hy_st *st, hy_program *p);
// Reads the parameters from an open checkpoint, converted to w's type. HY_EINPUT, before anything is overwritten, with
// the first line in which the specs differ, or with every missing, unknown and mis-shaped tensor (whole list in report
// if not NULL).
hy_status hy_checkpoint_read(const hy_st *st, hy_params *w, hy_checkpoint_rule rule, hy_buf *report);
// The same with the hash of the file's content, of any spec: each part of the file is hashed and converted while it is
// at hand, so a large file is read once. On an error the hash is that of no file.
hy_status hy_checkpoint_read_hashed(const hy_st *st, hy_params *w, char hash[33]);
// What hy_checkpoint_read checks of the tensors, alone.
hy_status hy_checkpoint_check(const hy_st *st, const hy_program *p, hy_buf *report);
// Open, read, close.
hy_status hy_checkpoint_load(hy_params *w, const char *path, hy_checkpoint_rule rule);

// Elements first .. first+n-1 of a parameter from a tensor's elements from `src_first`, converted to w's type.
hy_status hy_checkpoint_set(hy_params *w, int param, size_t first, const hy_st_tensor *t, size_t src_first, size_t n);
#endif
