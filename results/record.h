// record.h - models and measurements in the results database: claiming one, storing everything it found in one
// transaction, finding it again. What the tables hold is told in schema.h.
//
// Life of a row: claim (row "running", owned by this process) -> settle as done or failed with all its facts, or
// interrupt (the row stays and is taken up again). All of it is safe against other processes on the same database and
// against being killed at any instant: a row "running" whose process is gone is taken over by the next claim.
//
// A model is trained (or drawn, or read from a file) once; each measurement of it is claimed and settled alone.
#ifndef HY_RECORD_H
#define HY_RECORD_H
#include "results/facts.h"
#include "results/process.h"
#include "results/store.h"

// ---------------------------------------------------------------------------------------------------- claims
enum {
    HY_CLAIM_FORCE = 1,         // again, whatever is stored
    HY_CLAIM_RETRY_FAILED = 2,  // again if it failed
    HY_CLAIM_WEIGHTS = 4,       // models: again if it is done but its weights are not stored
};
typedef enum {
    HY_CLAIM_NEW = 0,  // ours, from the start
    HY_CLAIM_RESUMED,  // ours, an earlier attempt was interrupted or its process is gone
    HY_CLAIM_DONE,     // stored as done: nothing to do
    HY_CLAIM_FAILED,   // stored as failed: nothing to do without HY_CLAIM_RETRY_FAILED
    HY_CLAIM_BUSY,     // a living process works on it
} hy_claim;
// Tells other machines that a row is worked on; at least every HY_HEARTBEAT_S / 4 seconds.
#define HY_HEARTBEAT_S 300

// Who made a result with what: provenance, not identity. A commit that changes documentation must not make a week of
// results obsolete.
typedef struct {
    const char *commit, *build;
    bool dirty;
    const char *device_name;
    int threads;
} hy_provenance;

// ---------------------------------------------------------------------------------------------------- models
// Texts are borrowed; NULL counts as "". Identity: model_key (identity.h), seed and device; the rest is told and
// searched by. The rows of model_param (every resolved value of spec, task and train) are made of the texts here.
typedef struct {
    char model_key[33];
    int64_t seed;
    const char *device;  // kind: "cpu", "cuda"
    const char *origin;  // "trained", "random" (weights as drawn), "file"; NULL: "trained"
    const char *variant, *experiment, *grid;
    const char *spec_hash, *spec;                 // canonical text
    const char *task, *task_kind, *task_options;  // label, kind, canonical text
    const char *train, *precision;                // canonical recipe, or "none\n"; "f32" ... (NULL: "f32")
    const char *source;                           // file or folder that the weights come from, "": none
    hy_provenance by;
} hy_model_record;
// id: of the row in every case; 0 for a peek that finds none.
hy_status hy_model_claim(hy_store *s, const hy_model_record *r, unsigned flags, hy_claim *claim, int64_t *id);
// What a claim would find, without taking it.
hy_status hy_model_peek(hy_store *s, const char *model_key, int64_t seed, const char *device, unsigned flags,
                        hy_claim *claim, int64_t *id);
hy_status hy_model_heartbeat(hy_store *s, int64_t id);
// Settles a model as done (error NULL) or failed, with the facts of its training (NULL: none; stored as its measurement
// "training"), in one transaction. weights: file name in the folder models/ beside the database, NULL: not stored;
// weights_hash of its content, NULL: not known. HY_EFAIL if the row is no longer ours (taken over by another process):
// nothing is stored. A model that was made again (forced, or for want of weights) takes the place of the earlier one;
// if it is that one bit by bit (equal hashes or, where one is not known, an equal loss curve) it takes its measurements
// too. A failed attempt does not take the place of a model that is done.
hy_status hy_model_settle(hy_store *s, int64_t id, const hy_facts *training, const char *weights,
                          const char *weights_hash, const char *error);
// Leaves the model to be taken up again.
hy_status hy_model_interrupt(hy_store *s, int64_t id, int64_t steps, const char *why);
// What the parent does for a child that died: settles as failed or interrupts; only if the row is still that child's
// (pid) and running. *changed tells.
hy_status hy_model_settle_dead(hy_store *s, int64_t id, long pid, bool failed, const char *why, bool *changed);
// File name and hash of the stored weights, NULL where there are none; the caller frees both.
hy_status hy_model_weights(hy_store *s, int64_t id, char **weights, char **hash);
// The file is gone; the hash is kept.
hy_status hy_model_weights_gone(hy_store *s, int64_t id);

// ---------------------------------------------------------------------------------------------------- measurements
#define HY_MEASURE_TRAINING "training"  // the measure that hy_model_settle stores; version 1, no options, no task
typedef struct {
    int64_t model_id;
    const char *measure;
    int version;
    const char *options;  // canonical
    const char *task;     // canonical text of the task, "" where the measure needs none
    hy_provenance by;
} hy_measurement_record;
hy_status hy_measurement_claim(hy_store *s, const hy_measurement_record *r, unsigned flags, hy_claim *claim,
                               int64_t *id);
// key: hy_measurement_identity.
hy_status hy_measurement_peek(hy_store *s, int64_t model_id, const char *measure, int version, const char *key,
                              unsigned flags, hy_claim *claim, int64_t *id);
hy_status hy_measurement_heartbeat(hy_store *s, int64_t id);
// As for models; the model stays as it is whatever becomes of a measurement. facts NULL: none.
hy_status hy_measurement_settle(hy_store *s, int64_t id, const hy_facts *facts, const char *error);
hy_status hy_measurement_interrupt(hy_store *s, int64_t id, const char *why);
hy_status hy_measurement_settle_dead(hy_store *s, int64_t id, long pid, bool failed, const char *why, bool *changed);

// ---------------------------------------------------------------------------------------------------- experiments
// What a row of the plan wants to know of its model; training is not named.
typedef struct {
    const char *measure;
    int version;
    const char *key;
} hy_planned_key;
typedef struct {
    const char *variant, *task, *grid;
    int variant_ord, task_ord, grid_ord;
    int64_t seed;
    const char *model_key, *device;
    int n_measures;
    const hy_planned_key *measures;
} hy_planned_row;
typedef struct {
    const char *variant, *name;
    double value;
} hy_paper_row;
// The value of an axis of the grid at one of its points; path: as in model_param ("train.lr", "attention.window").
typedef struct {
    int grid_ord;
    const char *path, *value;
} hy_grid_row;
typedef struct {
    const char *name, *scale, *sets, *question, *yaml;
    int n_plan, n_paper;
    const hy_planned_row *plan;
    const hy_paper_row *paper;
    const char *tune_by, *tune_cell;  // metric and cell that choose among grid points; NULL or "": not told
    const char *base;                 // the variant whose throughput others are multiples of; NULL or "": none
    int n_grid;
    const hy_grid_row *grid;
    // A line below the text of the file tells how many runs the plan has, and a hash of them all; rows of plans whose
    // texts are equal with that line are rows of one plan, of which a database may have a part.
    bool marked;
    const int *shard_of;  // only the rows i with shard_of[i] == shard are stored, and their grid points; NULL: all
    int shard;
} hy_experiment_record;
// Replaces what was planned under the same (name, scale, sets), or adds to it if it is a part of the same plan, in one
// transaction.
hy_status hy_experiment_store(hy_store *s, const hy_experiment_record *e, int64_t *id);
#endif
