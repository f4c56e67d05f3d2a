// record.h - runs in the results database: claiming one, storing everything it found in one transaction, finding it again.
//
// Life of a run: claim (row "running", owned by this process) -> settle as done or failed with all its facts, or
// interrupt (the row stays and is taken up again). All of it is safe against other processes on the same database and
// against being killed at any instant: a row "running" whose process is gone is taken over by the next claim.
#ifndef HY_RECORD_H
#define HY_RECORD_H
#include "results/store.h"

// ---------------------------------------------------------------------------------------------------- what was run
// What a run computes in, of the text of its recipe; the default is left out of that.
#define HY_SQL_PRECISION(train) \
    "iif(instr(char(10) || " train ", char(10) || 'precision: bf16'), 'bf16', iif(instr(char(10) || " train ", char(10) || 'precision: tf32'), 'tf32', 'f32'))"

// Texts are borrowed. run_key, seed and device are the identity (schema.c), the rest is provenance.
typedef struct {
    char run_key[33];
    int64_t seed;
    const char *device;  // kind: "cpu", "cuda"
    const char *variant, *experiment, *grid;
    const char *spec_hash, *spec;
    const char *task, *task_kind, *task_options;
    const char *train, *measures;
    const char *commit, *build;
    bool dirty;
    const char *device_name;
    int threads;
} hy_run_record;

// ---------------------------------------------------------------------------------------------------- what it found
// Collected in memory while the run goes on, stored at once at its end.
typedef struct {
    const char *name;  // of results/metrics.def
    char *cell;        // "" if none
    int64_t step;
    bool final;
    double value, se;  // NaN: none
    int64_t n;
    double x, y;       // NaN: none
    char *meta;        // JSON or NULL
    int n_samples;
    double *samples;
    int layer, head;   // -1: of none
    const char *kind;  // a static word: "attention", "ssm", "layer", "kv", "meta", "conv"; NULL: of none
} hy_fact;
typedef struct {
    char *name;
    const char *dtype;  // "f32", "f64", "i32"
    int ndim, shape[4];
    char *meta;         // JSON
    void *data;
    size_t bytes;
    int layer, head;   // as of a fact
    const char *kind;
} hy_artifact;
typedef struct {
    int64_t step;
    double loss, lr, grad_norm, tokens_per_s;
} hy_curve_point;
typedef struct {
    int n_facts, n_artifacts, n_curve, cap_facts, cap_artifacts, cap_curve;
    hy_fact *fact;
    hy_artifact *artifact;
    hy_curve_point *curve;
    int64_t steps;      // training steps behind the result
    char kernel_path[160];
} hy_facts;
// The fact is zero-valued except for what is given (se, x, y NaN, n 1, final); valid until the next hy_facts_add.
// The name must be one of metrics.def (an assertion).
hy_fact *hy_facts_add(hy_facts *f, const char *name, const char *cell, double value);
void hy_fact_samples(hy_fact *f, const double *v, int n);
// What part of the model it is of. layer, head -1, kind NULL: of none.
void hy_fact_at(hy_fact *f, int layer, const char *kind, int head);
// Copies data. dtype "f32", "f64" or "i32"; meta: JSON object text or NULL. Valid until the next one.
hy_artifact *hy_facts_artifact(hy_facts *f, const char *name, const char *dtype, int ndim, const int *shape, const void *data,
                       const char *meta);
void hy_facts_curve(hy_facts *f, const hy_curve_point *p);
void hy_facts_free(hy_facts *f);

// ---------------------------------------------------------------------------------------------------- claiming, settling
enum { HY_CLAIM_FORCE = 1, HY_CLAIM_RETRY_FAILED = 2 };
typedef enum {
    HY_CLAIM_NEW = 0,   // ours, from the start
    HY_CLAIM_RESUMED,   // ours, an earlier attempt was interrupted or its process is gone
    HY_CLAIM_DONE,      // stored as done: nothing to do
    HY_CLAIM_FAILED,    // stored as failed: nothing to do without HY_CLAIM_RETRY_FAILED
    HY_CLAIM_BUSY,      // a living process works on it
} hy_claim;
// id: of the row in every case.
hy_status hy_run_claim(hy_store *s, const hy_run_record *r, unsigned flags, hy_claim *claim, int64_t *id);
// What a claim would find, without taking it.
hy_status hy_run_peek(hy_store *s, const char *run_key, int64_t seed, const char *device, unsigned flags, hy_claim *claim,
                      int64_t *id);
// Tells other machines that this run is alive; at least every HY_HEARTBEAT_S / 4 seconds.
#define HY_HEARTBEAT_S 300
hy_status hy_run_heartbeat(hy_store *s, int64_t id);
// Stores all facts and settles the run as done (error NULL) or failed, in one transaction. HY_EFAIL if the run is no
// longer ours (taken over by another process): nothing is stored.
hy_status hy_run_settle(hy_store *s, int64_t id, const hy_facts *f, const char *error);
// Leaves the run to be taken up again.
hy_status hy_run_interrupt(hy_store *s, int64_t id, int64_t steps, const char *why);
// What the parent does for a child that died: settles as failed (settle) or interrupted; only if the row is still that
// child's (pid) and running. *changed tells.
hy_status hy_run_bury(hy_store *s, int64_t id, long pid, bool settle, const char *why, bool *changed);

// ---------------------------------------------------------------------------------------------------- experiments
typedef struct {
    const char *variant, *task, *grid;
    int variant_ord, task_ord, grid_ord;
    int64_t seed;
    const char *run_key, *device;
} hy_planned_row;
typedef struct {
    const char *variant, *name;
    double value;
} hy_paper_row;
typedef struct {
    const char *name, *scale, *sets, *question, *yaml;
    int n_plan, n_paper;
    const hy_planned_row *plan;
    const hy_paper_row *paper;
    const char *tune_by, *tune_cell;  // metric and cell that choose among grid points; NULL or "": not told
    const char *base;  // the variant whose throughput others are multiples of; NULL or "": none
} hy_experiment_record;
// Replaces what was planned under the same (name, scale, sets), in one transaction.
hy_status hy_experiment_store(hy_store *s, const hy_experiment_record *e, int64_t *id);

// ---------------------------------------------------------------------------------------------------- this process
// Who owns a running row: boot, pid namespace, pid and start time of the process, so that a recycled pid is not taken for
// the owner. The text is compared as a whole.
void hy_process_self(char out[160]);
typedef enum { HY_PROCESS_ALIVE, HY_PROCESS_GONE, HY_PROCESS_ELSEWHERE } hy_process_state;
hy_process_state hy_process_look(const char *process);  // ELSEWHERE: another machine or container: only heartbeats tell
#endif
