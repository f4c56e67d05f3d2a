// experiment.h - an experiment YAML as a list of fully resolved runs: models (variant x task x recipe x seed) and what
// is measured of each. Reads and checks everything before anything runs; it trains nothing and stores nothing.
//
// Order of configuration: defaults < base of a variant < variant file < `variant:` of the experiment (and of its scale)
// < `set:` of the variant's entry < grid point < --set. Training: defaults < `train:` < task entry < variant entry <
// grid point < --set. A variant that is a checkpoint or a folder with weights takes its own `set:` only, not that of
// `variant:`.
#ifndef HY_EXPERIMENT_H
#define HY_EXPERIMENT_H
#include "core/spec/spec.h"
#include "core/train/train.h"
#include "analysis/measure/measure_plan.h"
#include "results/record.h"

// One measure of a run, as a stored measurement is asked for.
typedef struct {
    const hy_measure *measure;
    hy_measure_options options;
    const char *options_text;  // canonical
    char key[33];              // hy_measurement_identity
} hy_item_measure;

typedef enum {
    HY_ORIGIN_TRAINED = 0,
    HY_ORIGIN_RANDOM,  // steps: 0: weights as they are drawn
    HY_ORIGIN_FILE,    // train: none: the weights of a checkpoint or folder as they are
} hy_origin;
const char *hy_origin_name(hy_origin o);  // "trained", "random", "file"

// What is pointed to is shared by runs and lives as long as the experiment.
typedef struct {
    const char *variant, *task, *grid;  // labels; grid "" without a grid, else "lr=1e-3 pairs=8"
    int variant_ord, task_ord, grid_ord;
    int64_t seed;
    hy_origin origin;
    const char *at;  // "file:line:column" of the variant, for messages
    const hy_model_spec *spec;
    const char *spec_text, *spec_hash;
    const char *file;    // checkpoint or folder whose weights are trained further or measured; NULL: none
    const char *source;  // hash of its content; "": none
    const char *task_kind, *task_options;  // options: YAML as hy_task_open reads it
    const char *task_text;                 // canonical
    double task_tokens;                    // of a training example, on average
    const hy_train_spec *train;
    const char *train_text;  // "none\n" ... where nothing is trained
    char model_key[33];
    int n_measures;
    const hy_item_measure *measures;
} hy_run_item;

typedef struct {
    const char *variant, *name;
    double value;
} hy_paper_value;

typedef struct hy_experiment {
    char *name, *question, *scale, *sets, *yaml;  // sets: the --set list, one a line; yaml: the file's text
    int n_variants, n_tasks, n_grid, n_seeds, n_items, n_paper, n_axis_values;
    hy_run_item *items;  // in running order: seed, grid point, task, variant (the last changes first)
    hy_paper_value *paper;
    hy_grid_row *axis_values;  // of every axis of the grid at every point
    hy_measure_plan measures;
    char *base;                 // the variant whose throughput the others are shown as multiples of, "": none
    char *tune_by, *tune_cell;  // tune: the metric and cell that choose a grid point for each variant; by "": not told
    hy_yaml *root;              // labels point into it
    struct hy_arena_list *owned;  // everything else that items point to
} hy_experiment;

// scale NULL: "small" if the file has scales, else none. sets: NULL-terminated "key.path=value" or NULL: train.*,
// task.*, variant.* change every run; others (seeds, measures.*, question ...) change the file's own keys. `path` and
// `tokenizer` of a task are relative to the file like the files of variants if they exist there, else to the current
// folder.
hy_status hy_experiment_load(const char *path, const char *scale, const char *const *sets, hy_experiment **out);
void hy_experiment_free(hy_experiment *e);
// What can be refused before anything is trained: the measures of every run, and precisions that the kind of device
// lacks (device NULL: it is not known where the runs will be). HY_EINPUT names the variant and where it stands.
hy_status hy_experiment_check(const hy_experiment *e, const char *device);
// Whether a pattern of the shell fits the variant, the task, or VARIANT/TASK/GRID/seedN (without a grid
// VARIANT/TASK/seedN, too).
bool hy_run_matches(const char *glob, const char *variant, const char *task, const char *grid, int64_t seed);
// "Llama mqar lr=1e-3 seed 2"
void hy_item_label(const hy_run_item *it, char out[256]);
void hy_experiment_help(hy_buf *out);  // every key of the file
#endif
