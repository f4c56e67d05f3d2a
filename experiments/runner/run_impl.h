// run_impl.h - what the child process of one run holds: shared by run_one.c (the process), run_train.c (its model),
// run_measure.c (the measures) and run_worker.c (reports).
#ifndef HY_RUN_IMPL_H
#define HY_RUN_IMPL_H
#include "core/base/timing_lock.h"
#include "core/family/model_file.h"
#include "experiments/runner/job.h"
#include "results/record.h"

// How a run ends; of several the worst counts. MEMORY: there was not enough of it on this machine, which says nothing
// of the model: what it was needed for stays open and the next run tries again.
typedef enum {
    HY_END_DONE = 0,
    HY_END_FAILED,
    HY_END_MEMORY,
    HY_END_BUSY,
    HY_END_INTERRUPTED,
    HY_END_LOST,
} hy_run_end;

typedef struct {
    const hy_job *job;
    int fd;  // where the parent reads
    hy_store *store;
    hy_backend be;
    hy_timing_lock timing;
    hy_program *prog;
    hy_task *task;
    char *stem, *checkpoint, *logfile;
    int64_t model_id, steps;  // steps behind its weights
    bool fresh;               // its weights were stored by this process
    hy_model model;           // with weights, while they are loaded (p not NULL)
    hy_weights loaded;        // how
    hy_run_end end;
    char *end_text;
} hy_worker;

// A line to the parent; one that is gone does not matter.
void hy_worker_say(const hy_worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Remembers how the run ends, unless something worse is known.
void hy_worker_end(hy_worker *w, hy_run_end end, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
hy_provenance hy_worker_provenance(const hy_worker *w);
// "no memory on this machine: ..." for HY_ENOMEM, else the text as it is; the caller frees it.
char *hy_worker_why(hy_status s, const char *text);
const char *hy_worker_kernels(const hy_worker *w);  // what computed a result: "avx512", "cuda"
// run_train.c: claims the model and makes it if that falls to this process. True: it is done, w->model_id is its row.
// False: w->end says why not.
bool hy_worker_model(hy_worker *w, unsigned flags);
// run_measure.c: takes every measure of the run that is not stored.
void hy_worker_measure(hy_worker *w);
#endif
