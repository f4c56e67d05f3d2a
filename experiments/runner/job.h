// job.h - one run, handed from `hylab run` to its child process: everything resolved, so that a YAML file edited while
// a sweep goes on changes nothing. Parent and child are the same executable, so structs travel as they are.
#ifndef HY_JOB_H
#define HY_JOB_H
#include "experiments/runner/experiment.h"

typedef struct {
    hy_run_item item;
    const char *experiment, *db, *device, *isa;
    int gpu;         // device "cuda": its number, -1: the first that can be used
    int threads;     // 0: all
    int jobs;        // how many runs share the machine: recorded with timings
    unsigned claim;  // of measurements: HY_CLAIM_FORCE, HY_CLAIM_RETRY_FAILED
    unsigned claim_model;
    char remeasure[32];  // name of a measure that is taken again, "": none
    void *memory;        // of a job that was read: what the pointers point to
} hy_job;

// Writes a job into a new anonymous file, positioned at its start; the child inherits the descriptor.
hy_status hy_job_write(const hy_job *job, int *fd);
hy_status hy_job_read(int fd, hy_job *out);
void hy_job_free(hy_job *job);

// The files of a model that is being trained are DB.work/STEM.*: checkpoint, log, and what a killed process left of
// either.
char *hy_job_stem(const char *db, const hy_run_item *it, const char *device);  // path of STEM; caller frees
// Removes them: all, or only unfinished ones (".tmp."). Nobody else may be working on the model.
void hy_job_clean(const char *stem, bool all);

// What a child tells its parent, one line each, on the descriptor it is given:
//   claim model ID new|resumed|done|failed|busy       claim measure ID new|resumed     a row of the database is this
//   child's now release                                           it is settled resumed STEP      step N OF LOSS RATE
//   phase TEXT      note TEXT (which stays on the screen) end done|failed|busy|interrupted|lost [TEXT]
// busy: another process works on the model or a measurement; lost: a result could not be stored. The exit status of the
// child is 0 unless something failed or was lost.
hy_status hy_run_one(const hy_job *job, int report_fd);
#endif
