// export_impl.h - what the two halves of the export share (export.c, export_write.c). Internal to them.
#ifndef HY_EXPORT_IMPL_H
#define HY_EXPORT_IMPL_H
#include "core/family/export.h"

typedef struct {
    const hy_program *p;
    hy_export_values values;
    hy_import_map map;  // of the folder that is written
    const char *out;
    hy_export_report *report;
    hy_st_dtype dtype;       // of a new folder's tensors,
    const hy_import *types;  // unless each has the type that it has here
} hy_export_job;
// Elements first .. first+n-1 of a tensor.
hy_status hy_export_read(const hy_export_job *j, const hy_import_tensor *t, size_t first, size_t n, float *dst);
const char *hy_export_dtype_name(hy_st_dtype t);  // as configurations have it

hy_status hy_export_make_folder(const char *out);
// Copies what belongs to a model beside its weights, config.json last if `config`.
hy_status hy_export_copy_files(const char *from, const char *out, bool config);
hy_status hy_export_write_new(hy_export_job *j, size_t shard_bytes);
hy_status hy_export_write_like(hy_export_job *j, const hy_import *like);
#endif
