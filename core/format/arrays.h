// arrays.h - named matrices written while they are made, in pieces, for programs of others: one .safetensors, a folder
// of .npy files (NAME.npy, and values.json that tells what they are), one .npy, or a .csv (name,row,column,value).
// Nothing is held but the piece at hand. Files are written under another name and renamed: a .safetensors, a .csv and
// each .npy is there whole or not at all.
#ifndef HY_ARRAYS_H
#define HY_ARRAYS_H
#include "core/base/base.h"

// One to come: float32 (or int32) of shape [rows, columns]; columns 0: [rows].
typedef struct {
    const char *name, *meaning;
    int64_t rows, columns;
    bool whole;  // int32
} hy_array;
typedef struct hy_arrays hy_arrays;

enum { HY_ARRAYS_CSV_MOST = 1000000 };  // values in a .csv
// Whether that will work, before the work: HY_EINPUT for a name of no such kind ("x.safetensors", "x.csv", "x.npy",
// else a folder), for too many values for .csv, for several arrays for one .npy, and for what cannot be written.
hy_status hy_arrays_try(const char *path, const hy_array *a, int n);
// about: NULL-terminated key, value, key, value ... of the whole: metadata of .safetensors, "about" of values.json.
hy_status hy_arrays_open(const char *path, const hy_array *a, int n, const char *const *about, hy_arrays **out);
// n values of array i from element `first` on. Of one array they come in order, of several in any.
hy_status hy_arrays_put(hy_arrays *w, int i, size_t first, const void *data, size_t n);
// HY_EFAIL: values of an array did not come.
hy_status hy_arrays_commit(hy_arrays *w);
void hy_arrays_free(hy_arrays *w);  // before commit: what was not renamed yet is removed
#endif
