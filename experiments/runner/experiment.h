// experiment.h - an experiment YAML as a list of fully resolved runs. Reads and checks everything before anything runs; it
// trains nothing and stores nothing.
//
// Order of configuration: defaults < base of a variant < variant file < `variant:` of the experiment (and of its scale) <
// `set:` of the variant's entry < grid point < --set. Training: defaults < `train:` < task entry < variant entry < grid
// point < --set.
#ifndef HY_EXPERIMENT_H
#define HY_EXPERIMENT_H
#include "core/spec/spec.h"
#include "core/train/train.h"
#include "analysis/measure/measure_plan.h"

// Raised when the program changes so that the same configuration gives another result: stored runs of older versions are
// then not taken for answers any more.
#define HY_RUN_IDENTITY 1

typedef struct {
    const char *variant, *task, *grid;  // labels; grid "" without a grid, else "lr=1e-3 pairs=8"
    int variant_ord, task_ord, grid_ord;
    int64_t seed;
    const hy_model_spec *spec;
    const char *spec_text, *spec_hash;
    const char *task_kind, *task_options;  // options: YAML as hy_task_open reads it
    const char *task_text;                 // canonical
    hy_train_spec train;
    const char *train_text;
    const char *measures_text;  // hy_measure_plan_text of the seed
    char run_key[33];
} hy_run_item;

typedef struct {
    const char *variant, *name;
    double value;
} hy_paper_value;

typedef struct hy_experiment {
    char *name, *question, *scale, *sets, *yaml;  // sets: the --set list, one a line; yaml: the file's text
    int n_variants, n_tasks, n_grid, n_seeds, n_items, n_paper;
    hy_run_item *items;  // in running order: seed, grid point, task, variant (the last changes first)
    hy_paper_value *paper;
    hy_measure_plan measures;
    char *base;  // the variant whose throughput the others are shown as multiples of, "": none
    char *tune_by, *tune_cell;  // tune: the metric and cell that choose a grid point for each variant; by "": not told
    hy_yaml *root;                // labels point into it
    struct hy_arena_list *owned;  // everything else that items point to
} hy_experiment;

// scale NULL: "small" if the file has scales, else none. sets: NULL-terminated "key.path=value" or NULL: train.*, task.*,
// variant.* change every run; others (seeds, measures.*, question ...) change the file's own keys.
hy_status hy_experiment_load(const char *path, const char *scale, const char *const *sets, hy_experiment **out);
void hy_experiment_free(hy_experiment *e);
// "Llama mqar lr=1e-3 seed 2"
void hy_item_label(const hy_run_item *it, char out[256]);
void hy_experiment_help(hy_buf *out);  // every key of the file
#endif
