// models.h - the stored weights of a database: what there is, and freeing it. Measurements stay when weights go; a
// measure that needs them trains the model again.
#ifndef HY_MODELS_H
#define HY_MODELS_H
#include "results/store.h"

typedef enum {
    HY_WEIGHTS_STORED = 0,
    HY_WEIGHTS_MISSING,  // the file is gone
    HY_WEIGHTS_CHANGED,  // the file has another content (only found where contents are checked)
    HY_WEIGHTS_ORPHAN,   // a file that no database in the folder knows: left by a process that was killed, or of a
                         // deleted database
} hy_weights_state;
typedef struct {
    hy_weights_state state;
    int64_t model_id, seed, steps;  // model_id 0: an orphan
    char *variant, *task, *grid, *device, *file, *hash, *ended;
    int measurements;
    double bytes, age;  // of the file: seconds since it was written; NaN: missing
} hy_stored_weights;
typedef struct {
    int n;
    hy_stored_weights *v;
} hy_weights_list;

// All of them, orphans last. check: reads every file and compares its hash.
hy_status hy_weights_list_load(hy_store *s, bool check, hy_weights_list *out);
void hy_weights_list_free(hy_weights_list *l);
// Keeps those whose variant, task, file or VARIANT/TASK/GRID/seedN matches (glob NULL: all) and that are at least so
// old (seconds).
void hy_weights_list_filter(hy_weights_list *l, const char *glob, double age);
// Removes the files, and says so in the database. s: opened for writing.
hy_status hy_weights_list_prune(hy_store *s, const hy_weights_list *l);
#endif
