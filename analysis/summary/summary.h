// summary.h - the figures of an experiment over its seeds, from the store: what `hylab run` prints and reports show.
#ifndef HY_SUMMARY_H
#define HY_SUMMARY_H
#include "core/format/table.h"
#include "results/metrics.h"
#include "results/store.h"

// What tables, CSV, JSON, pages and error bars say of a figure over its seeds. lo, hi: the HY_STAT_LEVEL interval of
// the mean by Student's t with n - 1 degrees of freedom. Of a HY_SHARE its half width is carried to the scale of
// asin(sqrt(x)) at the mean and back (of a HY_COSINE, that of (1 + x) / 2), of a HY_POSITIVE it is cut off at 0: no
// interval leaves what a value can be, and each holds its mean. NaN, both: none is claimed - of fewer than
// HY_STAT_LEAST values; of values that are all equal, because how far the next seed would lie cannot be told from a
// spread of zero.
typedef struct {
    double mean, sd;  // sd: of a sample (n - 1), NaN below two values, exactly 0 where all are equal
    int n;
    double lo, hi;
} hy_stat;
#define HY_STAT_LEVEL 0.95
enum { HY_STAT_LEAST = 3 };
hy_stat hy_stat_of(const double *v, int n, hy_range range);
// Spearman's rank correlation, ties at their mean rank. NaN below two values or when one side is constant.
double hy_spearman(const double *a, const double *b, int n);
// Two-sided probability that a random order of b is at least as far from 0: of all orders with the ties as they are up
// to 9 values, by Student's t (n - 2 degrees of freedom) above. NaN below three, or where there is no correlation.
double hy_spearman_chance(const double *a, const double *b, int n);

// One figure of one row, over the seeds that have it.
typedef struct {
    char *metric, *cell, *unit;
    int set;          // of the sets of options that its measure was taken with, from 0: the same in all rows
    char *options;    // of the measure, a line each
    int layer, head;  // -1: of no layer, of no single head
    char *kind;       // of heads or memory: "attention", "kv"; "": of none
    double x, y;      // NaN: none
    hy_range range;   // of what the metric can be
    int n;
    double *v;      // [n] by seed, in running order
    int64_t *seed;  // [n]
    hy_stat stat;
} hy_summary_value;
// One variant on one task at one grid point.
typedef struct {
    char *variant, *task, *grid;
    char *precision;  // of its runs: "bf16"; "" before any is done
    char *origin;     // of their weights: "trained", "random", "file"; "" before any is done
    bool from_file;   // they were trained on from the weights of a file
    double number;    // of a grid of one axis the value of the point; NaN: no number
    int variant_ord, task_ord, grid_ord;
    int planned, done, failed;           // seeds; done, failed: models, whatever was measured of them
    int measures_failed, measures_left;  // measurements of the done ones that failed, or were not yet taken
    int n_values;
    hy_summary_value *values;
    int points;  // of the grid points of this variant and task those that have a figure to be chosen by
    bool best;   // of the grid points of this variant and task: by tune, else highest mean accuracy, then lowest mean
                 // loss
} hy_summary_row;
typedef struct {
    char *variant, *name;
    double value;
} hy_summary_paper;
typedef struct {
    char *experiment, *scale, *sets, *question;
    char *base;                 // the variant whose throughput the others are multiples of; "": none
    char *axis;                 // of a grid of one axis its path: "train.lr"; else ""
    char *tune_by, *tune_cell;  // the metric and cell that choose a grid point; by "": not told
    int n_rows, n_paper, n_grid, n_tasks, n_variants;
    hy_summary_row *rows;  // by task, variant, grid point
    hy_summary_paper *paper;
    int n_faults;
    char **faults;      // measurements that failed: "maps of Llama on mqar, seed 2 (run 7): ERROR"
    char *device,       // the kinds, mostly one: "cuda"; "cpu; cuda"
        *device_names;  // "NVIDIA H100; NVIDIA H200"; both "" before any is done
    double waited;      // of all timings the largest share of the time that threads waited while other programs had the
                        // processors
} hy_summary;
// Above this share timings say more about the other programs than about the model.
#define HY_SUMMARY_WAITED 0.05

// In a tuned experiment the point of the grid with the best mean over its seeds stands for a variant: a choice made on
// the same runs that are shown, which flatters. So best rows also have "accuracy_held_out" and "loss_held_out": for
// each seed the value at the point that is best over the other seeds. A point with failed runs is chosen only if every
// other point has as many.

// sets: "" for a run without --set. HY_EINPUT if no such experiment was planned in this database.
hy_status hy_summary_load(hy_store *s, const char *experiment, const char *scale, const char *sets, hy_summary **out);
void hy_summary_free(hy_summary *s);
// A figure of a whole task or a given cell, of several sets of options with the experiment's first; NULL if the row
// lacks it. cell NULL: of several cells (contexts of a throughput) the one of the largest x, then the largest y, of any
// set.
const hy_summary_value *hy_summary_get(const hy_summary_row *r, const char *metric, const char *cell);
// What a table shows of a metric: the figure of a whole task, or, where there is none (throughput), of the largest
// context.
const hy_summary_value *hy_summary_shown(const hy_summary_row *r, const char *metric);
// Whether any row has a held-out value of the metric. If so, all variants are compared by these: a mixture of held-out
// and plain figures would favour the plain ones.
bool hy_summary_holds_out(const hy_summary *s, const char *metric);
// Of a whole task what a variant is compared by: the held-out value or, where nothing is held out, the plain one. NULL:
// the row has none.
const hy_summary_value *hy_summary_fair(const hy_summary *s, const hy_summary_row *r, const char *metric);
// A grid of train.stop_step and nothing else is a course: its points are one training at several steps, and unless
// "tune:" says otherwise the last that has figures stands for a variant.
bool hy_summary_is_course(const hy_summary *s);
// How a grid point was chosen, as a clause, NULL without a grid; the caller frees it.
char *hy_summary_choice_text(const hy_summary *s);
// The metric that it was chosen by: that of "tune:" or, without one or where nothing of it is stored yet, the accuracy,
// else the loss. NULL: none is there, and the first point stands for a variant; of a course.
const char *hy_summary_chosen_by(const hy_summary *s);
// Whether every variant's was chosen from all points of the grid: not from the few that are done.
bool hy_summary_all_points(const hy_summary *s);
// "computed in bf16 on cuda (NVIDIA H100)", "computed in f32 and bf16 on ...": NULL where it is float32 on the CPU; the
// caller frees it.
char *hy_summary_computed_text(const hy_summary *s);
bool hy_summary_mixes_precisions(const hy_summary *s);
const char *hy_summary_values_text(const hy_summary *s);  // what activations and caches are made of: "float32"
// Which rows were not trained here, as a sentence without a full stop: "not trained here: SmolLM (weights from a
// file)"; NULL: all were. The caller frees it.
char *hy_summary_origin_text(const hy_summary *s);
// What is incomplete, each a clause without a full stop; k from 0 on, NULL at the end. The caller frees each.
char *hy_summary_gap_text(const hy_summary *s, int k);
// The paper's figure of a variant, NaN if none.
double hy_summary_paper_value(const hy_summary *s, const char *variant, const char *name);
// Rank correlation over the best rows of a task of a metric's means (hy_summary_fair) with the paper's figure.
typedef struct {
    double rho, chance;  // hy_spearman, hy_spearman_chance
    int n;               // variants that have both
} hy_summary_rank;
hy_summary_rank hy_summary_rank_of(const hy_summary *s, const char *task, const char *metric, const char *paper);
// That as a clause without a full stop, with the probability that chance does as well; the caller frees it. NULL: fewer
// than three variants, a constant side, or not of this task (a cache and a throughput belong to no task: said of the
// first only).
char *hy_summary_rank_text(const hy_summary *s, const char *task, bool first_task, const char *paper);
// Two variants on one task, by their best rows. difference: a - b over the seeds that both have, in the unit of the
// metric; its lo and hi are the paired t interval, uncorrected (of a HY_SHARE within -1 and 1). p: two-sided, of no
// difference; p_holm: after Holm's correction over the pairs of the table. NaN: nothing is claimed, of fewer than
// HY_STAT_LEAST shared seeds, or where all differences are equal.
typedef struct {
    const hy_summary_row *a, *b;  // of the summary
    int n;                        // shared seeds; n - 1 degrees of freedom
    hy_stat difference;
    double t, p, p_holm;
    bool apart;  // p_holm below 1 - HY_STAT_LEVEL
} hy_summary_pair;
typedef struct {
    int n, tested;  // tested: that have a p, over which Holm corrects
    hy_summary_pair *v;
} hy_summary_pairs;
// The metrics that pairs are compared in: the accuracy, then the metric that chooses grid points. NULL at the end.
const char *hy_summary_compared(const hy_summary *s, int k);
// Every pair of variants that have the metric (hy_summary_fair), of all tasks; the caller frees v.
hy_summary_pairs hy_summary_pairs_of(const hy_summary *s, const char *metric);
// What they say of one task, as a sentence without a full stop; NULL if there is no pair. The caller frees it.
char *hy_summary_pairs_text(const hy_summary *s, const char *task, const char *metric);
// The metric that a paper figure is compared with: names with "cache" cache_paper, "throughput" throughput_decode,
// "ppl" (perplexity) loss, else accuracy.
const char *hy_summary_counterpart(const char *paper);

// A column of a table of results: a metric, or what is held out of it, as it is shown.
typedef struct {
    char *name;    // "accuracy", "accuracy_held_out", "erf_2": the key in CSV and JSON
    char *header;  // "accuracy, held out"
    const hy_metric_def *metric;
    hy_metric_look look;
    char *figure;  // the metric of the values: "accuracy_held_out"
    int set;
    bool several;  // there are other sets of options
} hy_summary_column;
typedef struct {
    int n;
    hy_summary_column *v;
} hy_summary_columns;
// Those that some row has a value for, in the order of metrics.def: the metrics that it wants in tables and the one
// that chooses grid points, each with what is held out of it. Where a measure was taken with several sets of options
// each has a column: "erf", "erf_2", headed "ERF, ssm: heads". points: of the table of all grid points. readable: units
// are chosen for the eye by the size of the values; else those of metrics.def, so that programs find the same ones in
// every experiment.
hy_summary_columns hy_summary_columns_of(const hy_summary *s, bool points, bool readable);
// Where a metric was taken with several sets of options, what sets the first apart: "ssm: heads"; else NULL. The caller
// frees it.
char *hy_summary_first_set_text(const hy_summary *s, const char *metric);
void hy_summary_columns_free(hy_summary_columns *c);
// What a column shows of a row; NULL: it has no such figure.
const hy_summary_value *hy_summary_column_value(const hy_summary_row *r, const hy_summary_column *c);
// The most seeds that any figure of a row's columns is of: of models that are trained and not yet measured there is
// none.
int hy_summary_row_seeds(const hy_summary_row *r, const hy_summary_columns *c);

// Throughput as multiples of that of s->base, beside the same of a paper's figures (those whose name has "throughput").
// What the shown timings were taken at, of prefill and decoding or, where neither was timed, of training: "context 32
// tokens, batch 2". NULL: nothing was timed. The caller frees it.
char *hy_summary_timing_text(const hy_summary *s);
bool hy_summary_mixed_batch(const hy_summary *s);  // they were not all timed with one batch
// Their columns, cells and note in the table of best rows.
void hy_summary_speed_columns(const hy_summary *s, hy_table *t);
void hy_summary_speed_row(const hy_summary *s, hy_table *t, const hy_summary_row *r);
void hy_summary_speed_note(const hy_summary *s, hy_table *t);

// What was found, in plain words, a line for each task: who answers most and least, whether that is above a guess
// (accuracy_chance), which pairs are told apart, whether the order is the paper's. NULL: no task has an accuracy. The
// caller frees it.
char *hy_summary_words(const hy_summary *s);

// The table of best rows with the paper's figures beside, and, where there is a grid, the table of all its points.
// One document for programs: JSON {"summary": ..., "grid": ...}; CSV with a grid has a row for each of its points with
// all columns, and in the column `best` 1 for the points that stand for their variants.
hy_status hy_summary_print(const hy_summary *s, hy_table_format format, FILE *f);
#endif
