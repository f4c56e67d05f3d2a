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
    long step;                        // steps started = position of the loader
    int pending;                      // of these, the newest whose reports are still on the device
    int ask_every;                    // steps that may be pending
    double pending_start;             // when the first of them started, and their tokens
    int64_t pending_tokens;
    bool stopped;   // stop_accuracy was reached on the way
    bool reached;   // or after the last step, which stops nothing
    bool eval_due;  // the evaluation of this step was interrupted
    double saved;   // when the last checkpoint was written, or the run began: hy_now
};
#endif
