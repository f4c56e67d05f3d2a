// query.h - what readers ask of the results database. Every SELECT of the project that is not part of storing stands in
// query*.c, over the documented views wherever they have it: what tables look like is nobody else's business.
//
// A question with rows is a pair: hy_ask_X opens it, hy_next_X steps to the next row until *row is false;
// hy_query_close in any case. Texts and blobs of a row are borrowed and valid until the next step; a missing text is
// "", a missing number NaN.
#ifndef HY_RESULTS_QUERY_H
#define HY_RESULTS_QUERY_H
#include "core/base/blocks.h"
#include "results/store.h"

// How a stored experiment is named. sets: the --set options, one a line; "" for none.
typedef struct {
    const char *name, *scale, *sets;
} hy_experiment_id;

// ---------------------------------------------------------------------------------------------------- experiments
// Every stored experiment, in the order in which they were planned.
hy_status hy_ask_experiments(hy_store *s, hy_query **q);
hy_status hy_next_experiment(hy_query *q, bool *row, hy_experiment_id *e);

// What an experiment says of itself; the texts are the caller's. tune_by: the metric that chooses a grid point, "": not
// told; tune_cell: its cell; base: the variant whose throughput the others are multiples of, "": none.
typedef struct {
    char *question, *tune_by, *tune_cell, *base;
} hy_experiment_texts;
// HY_EINPUT: it was never run in this database.
hy_status hy_ask_experiment_texts(hy_store *s, const hy_experiment_id *e, hy_experiment_texts *out);
void hy_experiment_texts_free(hy_experiment_texts *t);

// One variant on one task at one grid point, over its seeds; by task, variant, grid point.
typedef struct {
    const char *variant, *task, *grid;
    int variant_ord, task_ord, grid_ord;
    int planned, done, failed;           // seeds; done, failed: their models, whatever was measured of them
    int measures_failed, measures_left;  // measurements of the done ones
    const char *axis;                    // of a grid of one axis its path ("train.lr"), else ""
    double number;                       // and its value at the point; NaN where it is no number
} hy_planned_point;
hy_status hy_ask_points(hy_store *s, const hy_experiment_id *e, hy_query **q);
hy_status hy_next_point(hy_query *q, bool *row, hy_planned_point *p);

// Every figure that finished runs of the experiment have at their end, by seed. Only the newest definition of each
// metric: values of different meaning are not averaged. Where a measure was taken with several sets of options, each
// figure tells which: set counts those of the experiment in the order of the plan, from 0: the same one in every row,
// also where a measurement is missing.
typedef struct {
    int variant_ord, task_ord, grid_ord;
    int64_t seed;
    const char *metric, *cell, *unit;
    int layer, head;   // -1: of no layer, of no single head
    const char *kind;  // of heads or memory: "attention", "ssm", "kv", "shared", "meta", "conv"; ""
    double x, y, value;
    const char *options;  // canonical, a line each
    int set;
} hy_result_row;
hy_status hy_ask_results(hy_store *s, const hy_experiment_id *e, hy_query **q);
hy_status hy_next_result(hy_query *q, bool *row, hy_result_row *r);

// Measurements that failed, of finished models; in the order of the plan.
typedef struct {
    const char *variant, *task, *grid, *measure, *error;
    int64_t seed, run_id;
} hy_failed_measure;
hy_status hy_ask_failed_measures(hy_store *s, const hy_experiment_id *e, hy_query **q);
hy_status hy_next_failed_measure(hy_query *q, bool *row, hy_failed_measure *f);

// A paper's figures beside the variants, by name.
typedef struct {
    const char *variant, *name;
    double value;
} hy_paper_figure;
hy_status hy_ask_paper(hy_store *s, const hy_experiment_id *e, hy_query **q);
hy_status hy_next_paper(hy_query *q, bool *row, hy_paper_figure *p);

// How finished models came about: what they were computed in and on, each combination once; by variant, task, grid
// point, device name.
typedef struct {
    int variant_ord, task_ord, grid_ord;
    const char *precision, *device, *device_name;  // "bf16", "cuda", "NVIDIA H100"
    const char *origin;                            // of the weights: "trained", "random", "file"
    bool from_file;                                // a trained one went on from the weights of a file
} hy_computed_row;
hy_status hy_ask_computed(hy_store *s, const hy_experiment_id *e, hy_query **q);
hy_status hy_next_computed(hy_query *q, bool *row, hy_computed_row *c);

// Of all timings of the experiment the largest share of the time that threads waited for other programs; 0: none is
// known.
hy_status hy_ask_waited(hy_store *s, const hy_experiment_id *e, double *share);

// ---------------------------------------------------------------------------------------------------- figures
// Whether what the measures of an experiment found is what was stored, arrays and curves aside, which are checked where
// they are read. HY_EINPUT: some of it was damaged or changed since.
hy_status hy_check_results(hy_store *s, const hy_experiment_id *e);

// Training loss of finished runs of a task: mean, smallest and largest over the seeds of stretches of `stretch`
// neighbouring steps each, so that a curve has at most 100 points. By variant, grid point, step.
typedef struct {
    int variant_ord, grid_ord, stretch;
    double step, mean, min, max;
} hy_loss_point;
hy_status hy_ask_losses(hy_store *s, const hy_experiment_id *e, int task_ord, hy_query **q);
hy_status hy_next_loss(hy_query *q, bool *row, hy_loss_point *p);

// Timings of a metric over contexts: mean of the runs' medians, slowest and fastest repetition. Of several sets of
// options that have a context the first of the plan counts. Of several batches the
// largest counts; where a batch was made smaller until it fitted, that is another one for each run and context.
typedef struct {
    int variant_ord, task_ord, grid_ord;
    double context, median, min, max;
} hy_timing_point;
hy_status hy_ask_timings(hy_store *s, const hy_experiment_id *e, const char *metric, hy_query **q);
hy_status hy_next_timing(hy_query *q, bool *row, hy_timing_point *p);

// What all these timings were taken with. batch_max 0: there is none. device_name: the caller's, "" if there is none.
typedef struct {
    int64_t batch_min, batch_max, repetitions;  // repetitions: the fewest
    char *device_name;
} hy_timing_conditions;
hy_status hy_ask_timing_conditions(hy_store *s, const hy_experiment_id *e, hy_timing_conditions *out);

// The options that the receptive fields of a task were measured with, "ssm=... meta=..."; "": none is stored. The
// caller frees it.
hy_status hy_ask_erf_options(hy_store *s, const hy_experiment_id *e, int task_ord, char **options);

// Maps of measure maps or contributions, of the finished runs of one variant, task and grid point: [shape.rows,
// shape.columns] float, rows are queries. By seed, then as they were stored.
typedef struct {
    int64_t run_id, seed;
    int layer;
    const char *kind;            // of heads: "attention", "ssm"; "layer": of both together
    int positions, meta_tokens;  // the first meta_tokens positions are meta tokens
    hy_block_shape shape;        // whole maps: blocks of one value, rows = columns = positions
    const void *data;            // floats, perhaps not aligned
    const char *cell, *options;  // the evaluation cell of the examples; how maps were made of heads
} hy_map_row;
hy_status hy_ask_maps(hy_store *s, const hy_experiment_id *e, const char *measure, int variant_ord, int task_ord,
                      int grid_ord, hy_query **q);
// HY_EINPUT: what is stored has not the size that its shape says.
hy_status hy_next_map(hy_query *q, bool *row, hy_map_row *m);

// ---------------------------------------------------------------------------------------------------- reports
// Calls take(to, title, text) for each line or text of a part of a report. Lines without a text are left out.
typedef void (*hy_take_text)(void *to, const char *title, const char *text);
// Experiment, variants, tasks, seeds, training steps: a line each.
hy_status hy_ask_recipe(hy_store *s, const hy_experiment_id *e, hy_take_text take, void *to);
// The experiment file, then what it was resolved to: each task, recipe and model as YAML.
hy_status hy_ask_resolved(hy_store *s, const hy_experiment_id *e, hy_take_text take, void *to);
// Runs, commits, builds, devices, threads, kernels, times: a line each.
hy_status hy_ask_provenance(hy_store *s, const hy_experiment_id *e, hy_take_text take, void *to);

// The definitions of the metrics that the runs of the experiment have, by name and version.
typedef struct {
    const char *name, *version, *unit, *direction, *meaning;
} hy_definition_row;
hy_status hy_ask_definitions(hy_store *s, const hy_experiment_id *e, hy_query **q);
hy_status hy_next_definition(hy_query *q, bool *row, hy_definition_row *d);

// ---------------------------------------------------------------------------------------------------- listings
// Tables for people, whose columns have the names that are shown: step them with hy_query_step.
// Runs by number: state, what was run, accuracy and loss, and what of it failed or is under way. "" of a filter: any.
// status: of the model or, but for "done", of one of its measurements. superseded: also those that a later run
// replaced.
typedef struct {
    const char *experiment, *status, *variant;
    bool superseded;
} hy_run_filter;
// HY_EINPUT, with the names that there are, unless `experiment` and `variant` ("": any) are stored somewhere.
hy_status hy_check_run_filter(hy_store *s, const hy_run_filter *f);
hy_status hy_ask_runs(hy_store *s, const hy_run_filter *f, hy_query **q);
// All definitions, with how many figures are stored of each.
hy_status hy_ask_metrics(hy_store *s, hy_query **q);
// Benchmark scores (measure scores) of the finished runs of a variant ("": any): run, variant, task, metric, how it was
// asked ("0 shots, version 1"; ", limited" where not all documents were), value, standard error or NULL, documents.
hy_status hy_ask_scores(hy_store *s, const char *variant, hy_query **q);
// Everything about one run as one row; its measurements; its figures; its artifacts without their data. id: as the user
// wrote it.
hy_status hy_ask_run(hy_store *s, const char *id, hy_query **q);
hy_status hy_ask_run_measurements(hy_store *s, const char *id, hy_query **q);
hy_status hy_ask_run_metrics(hy_store *s, const char *id, hy_query **q);
hy_status hy_ask_run_artifacts(hy_store *s, const char *id, hy_query **q);
// All of a view or table. HY_EINPUT: not a name.
// A statement that somebody has typed: of a table that is not there the message names those that are (HY_EINPUT).
hy_status hy_ask_sql(hy_store *s, const char *sql, hy_query **q);
hy_status hy_ask_view(hy_store *s, const char *name, hy_query **q);

// The commit that a run was made with, cut to 63 characters; "": there is no such run. *dirty: with changes.
hy_status hy_ask_commit(hy_store *s, int64_t run_id, char commit[64], bool *dirty);
#endif
