// recipe.h - the training recipe: its fields, and the learning rate of each step.
#ifndef HY_RECIPE_H
#define HY_RECIPE_H
#include "core/format/field.h"
#include "core/model/precision.h"

typedef enum { HY_SCHED_CONSTANT = 0, HY_SCHED_LINEAR, HY_SCHED_COSINE, HY_SCHED_WSD } hy_schedule;
typedef struct {
    int steps, batch, accumulate;
    double lr, min_lr;  // min_lr: share of lr at the last step
    hy_schedule schedule;
    double warmup, decay;                          // shares of steps: warm-up; final decay of wsd
    double weight_decay, beta1, beta2, eps, clip;  // clip 0: none
    int eval_every;                                // steps; 0: only at the end
    int log_every;
    int checkpoint_every;  // steps; 0: only at the end
    double
        save_seconds;  // seconds between checkpoints besides; 0: none. Where a run is saved does not change its result
    double stop_accuracy;  // stop when the accuracy on the tuning examples reaches it; 0: never
    int eval_batch;
    int eval_examples;       // at most so many examples a cell; 0: the task's own count
    hy_precision precision;  // of training, evaluation and measures
} hy_train_spec;
extern const hy_field hy_train_fields[];
// Of step s = 1 .. steps, with N = steps, w = warmup N: lr s / w while s < w. Then, with a = (s - w) / (N - w) the
// share of the rest that is over and m = min_lr,
//   constant  lr
//   linear    lr (1 - (1 - m) a)
//   cosine    lr (m + (1 - m) (1 + cos(pi a)) / 2)
//   wsd       lr while s <= d = (1 - decay) N, then lr (1 - (1 - m) (s - d) / (N - d))
// So the last step has lr m, but with constant, or wsd without decay: with min_lr 0 it changes nothing.
double hy_train_lr(const hy_train_spec *t, long step);
// Fields that do not go together: HY_EINPUT naming them, with what to do.
hy_status hy_train_check(const hy_train_spec *t);
// The message for a task without tuning examples where the recipe stops by them.
hy_status hy_train_no_tuning(const char *task);
#endif
