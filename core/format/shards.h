// shards.h - the weights of a checkpoint folder: one model.safetensors, or the files that model.safetensors.index.json
// lists. Which tensors a model wants is import.c's matter.
#ifndef HY_SHARDS_H
#define HY_SHARDS_H
#include "core/format/safetensors.h"

typedef struct {
    char *path;     // what messages call them: the one file, or the index
    bool indexed;   // there is an index
    hy_st **files;  // [n], in the order in which the index first names them
    int n;
    const char **unlisted;  // [n_unlisted] tensors that lie in a file, but the index names them nowhere
    int n_unlisted;
} hy_shards;
// Files by which a folder shows what it is instead, the last one NULL.
typedef struct {
    const char *file, *what;
} hy_folder_sign;
// HY_EINPUT "DIR: what" for the first of them that is there; HY_OK, and no text of an error is touched: none is.
hy_status hy_folder_signs(const char *dir, const hy_folder_sign *signs);

// Maps every file and checks the index against them. HY_EINPUT, naming files and tensors, for: no weights at all; an
// index that is not {"weight_map": {tensor: file}}; file names with a folder in them; files that are missing or
// damaged; a tensor that the index puts into a file without it, or that lies in another one too. A model.safetensors
// beside an index is what counts. Nothing of the size of the weights is allocated.
hy_status hy_shards_open(const char *dir, hy_shards **out);
void hy_shards_close(hy_shards *s);
const hy_st_tensor *hy_shards_find(const hy_shards *s, const char *name);  // NULL if there is none
#endif
