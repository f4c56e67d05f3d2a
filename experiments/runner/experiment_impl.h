// experiment_impl.h - what experiment.c (reading the file) and experiment_expand.c (making the runs) share. Internal.
#ifndef HY_EXPERIMENT_IMPL_H
#define HY_EXPERIMENT_IMPL_H
#include "experiments/runner/experiment.h"

// Everything that lives as long as the experiment.
typedef struct hy_arena_list {
    struct hy_arena_list *next;
    void *p;
} hy_arena_list;
void *hy_experiment_own(hy_experiment *e, void *p);  // freed with the experiment; returns p

typedef struct {
    int n;
    char **v;  // "key.path=value", NULL-terminated
} hy_assignments;
void hy_assignments_add(hy_experiment *e, hy_assignments *a, const char *text);

typedef struct {
    const char *name;
    const hy_yaml *at;  // for messages
    const char *file;   // variant file, checkpoint or folder, or NULL: inline spec
    bool weights;       // the file is a checkpoint or folder
    char source[33];    // then: hash of its content
    bool untrained;     // train: none
    const hy_yaml *inline_spec;
    hy_assignments sets;   // without grid and --set
    const hy_yaml *train;  // or NULL
} hy_variant_entry;
typedef struct {
    const char *name, *kind;
    const hy_yaml *at, *options, *train;  // options, train: or NULL
} hy_task_entry;
typedef enum { HY_TARGET_VARIANT = 0, HY_TARGET_TASK, HY_TARGET_TRAIN } hy_target;
typedef struct {
    hy_target target;
    const char *path;   // without the target: "lr"
    const char *label;  // last part of the path, or all of it where that is not unique
    const hy_yaml *at;
    int n;
    const char **value;  // flow text
} hy_axis;

typedef struct {
    hy_experiment *e;
    hy_yaml *root;
    int n_variants, n_tasks, n_axes, n_grid, n_seeds;
    hy_variant_entry *variants;
    hy_task_entry *tasks;
    hy_axis *axes;
    int64_t *seeds;
    const hy_yaml *train;
    hy_assignments set[3];  // --set by target, without the target's name
} hy_reader;

// Splits "train.lr" into target and path; false if the first part is no target.
bool hy_target_of(const char *path, hy_target *target, const char **rest);
// The cross product, checked and resolved, into r->e->items.
hy_status hy_expand(hy_reader *r);
#endif
