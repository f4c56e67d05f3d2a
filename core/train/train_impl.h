// train_impl.h - what a trainer holds; shared by train.c (the loop) and train_checkpoint.c (its checkpoint).
#ifndef HY_TRAIN_IMPL_H
#define HY_TRAIN_IMPL_H
#include "core/train/optim.h"
#include "core/train/train.h"

// Steps whose reports the device keeps: at most so many are under way before the host asks.
enum { HY_TRAIN_RING = 16 };

struct hy_trainer {
    const hy_program *p;
    const hy_backend *be;
    hy_dtype dt;
    hy_train_spec spec;
    const hy_task *task;
    uint64_t seed;
    hy_params *w;
    hy_exec *e;
    hy_optim opt;
    int T;                            // longest example, meta not counted
    int32_t *ids, *labels;            // host: [accumulate, batch, T]
    int32_t *full_ids, *full_labels;  // host: [batch, meta + T]
    int *lengths;                     // host: [accumulate] tokens of the examples of each micro-batch
    int64_t epoch_batches;            // of a pass; 0: no epochs
    int *sizes;                       // host: [accumulate] their number; 0: an epoch ends before it
    long step;                        // steps started = position of the loader
    int pending;                      // of these, the newest whose reports are still on the device
    int ask_every;                    // steps that may be pending
    double pending_start;             // when the first of them started, and their tokens
    int64_t pending_tokens;
    bool stopped;      // stop_accuracy was reached on the way
    bool reached;      // or after the last step, which stops nothing
    bool eval_due;     // the evaluation of this step was interrupted
    int loaded_steps;  // of the recipe that the checkpoint was written by from which this run goes on; 0: none
    double saved;      // when the last checkpoint was written, or the run began: hy_now
};
// train_resume.c: refuses a checkpoint (where: its path; theirs, ours: the texts that say whose it is) at `step` if
// anything that decided its weights differs: HY_EINPUT names the fields with both values. Sets t->loaded_steps.
hy_status hy_trainer_check_run(hy_trainer *t, const char *where, const char *theirs, const char *ours, long step);
#endif
