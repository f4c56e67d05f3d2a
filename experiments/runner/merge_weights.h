// merge_weights.h - files of weights of a shard beside the destination of a merge: linked where that works, else
// copied.
#ifndef HY_MERGE_WEIGHTS_H
#define HY_MERGE_WEIGHTS_H
#include "results/merge.h"

typedef struct {
    const char *dest, *shard;  // databases, as the user named them
    bool dry;                  // says what would come
    int damaged;               // files that have another content than the shard says: not brought
    int n;
    char **staged;  // [n] where files go that are beside under another name until hy_merge_weights_end
} hy_merge_weights;
// An hy_merge_bring; user: an hy_merge_weights. A file that is missing or damaged in the shard is no error.
hy_status hy_merge_bring_weights(void *user, const char *name, const char *hash, bool *there, bool *copied);
// After hy_merge_shard, with its status: its files take their places, or go. Returns merged, else what went wrong.
hy_status hy_merge_weights_end(hy_merge_weights *w, hy_status merged);
#endif
