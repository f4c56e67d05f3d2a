// recipe.h - the training recipe: its fields, and the learning rate of each step.
#ifndef HY_RECIPE_H
#define HY_RECIPE_H
#include "core/format/field.h"
#include "core/model/precision.h"
#include "core/task/task.h"

typedef enum { HY_SCHED_CONSTANT = 0, HY_SCHED_LINEAR, HY_SCHED_COSINE, HY_SCHED_WSD } hy_schedule;
// What the course of the learning rate goes by, and which parameters weight decay shrinks.
typedef enum { HY_PER_STEP = 0, HY_PER_EPOCH } hy_schedule_per;
typedef enum { HY_DECAY_MATRICES = 0, HY_DECAY_ALL } hy_decay_on;
// How the gradients of a step's micro-batches become one: each is added to those before it while kernels make it, or
// each is made by itself and they are added in order, (g_0 + g_1) + g_2 ..., be they of one process or of several. The
// sums are the same but for rounding.
typedef enum { HY_SUM_RUNNING = 0, HY_SUM_PARTS } hy_gradient_sum;
typedef struct {
    int steps, batch, accumulate;
    int stop_step;      // the last step that is made, of the course of `steps`; 0: all are
    int epochs;         // passes over the finite training set of the task; 0: steps decide
    double lr, min_lr;  // min_lr: share of lr at the last step
    hy_schedule schedule;
    hy_schedule_per schedule_per;
    double warmup, decay;                          // shares of steps: warm-up; final decay of wsd
    double weight_decay, beta1, beta2, eps, clip;  // clip 0: none
    hy_decay_on weight_decay_on;
    int eval_every;   // steps; 0: only at the end
    int eval_epochs;  // the same in epochs: hy_train_fit sets eval_every
    int log_every;
    int checkpoint_every;  // steps; 0: only at the end
    double
        save_seconds;  // seconds between checkpoints besides; 0: none. Where a run is saved does not change its result
    double stop_accuracy;  // stop when the accuracy on the tuning examples reaches it; 0: never
    int eval_batch;
    int eval_examples;       // at most so many examples a cell; 0: the task's own count
    hy_precision precision;  // of training, evaluation and measures
    hy_gradient_sum sum;
} hy_train_spec;
extern const hy_field hy_train_fields[];
// Of step s = 1 .. steps, with N = steps, w = warmup N: lr s / w while s < w. Then, with a = (s - w) / (N - w) the
// share of the rest that is over and m = min_lr,
//   constant  lr
//   linear    lr (1 - (1 - m) a)
//   cosine    lr (m + (1 - m) (1 + cos(pi a)) / 2)
//   wsd       lr while s <= d = (1 - decay) N, then lr (1 - (1 - m) (s - d) / (N - d))
// So the last step has lr m, but with constant, or wsd without decay: with min_lr 0 it changes nothing.
// schedule_per epoch: after the warm-up s is the step before its epoch, (e - 1) N / epochs of epoch e = 1 .., so that a
// rate holds for an epoch: cosine without warm-up gives epoch e the rate lr (m + (1 - m) (1 + cos(pi (e - 1) / epochs))
// / 2).
double hy_train_lr(const hy_train_spec *t, long step);
// Makes a recipe one for a task: with epochs, sets steps and (with eval_epochs) eval_every, which must not say
// something else already; then hy_train_check, and what it leaves out. May be repeated. steps 0 stays 0: nothing is
// trained.
hy_status hy_train_fit(hy_train_spec *t, const hy_task *task);
// The last step that is made, unless stop_accuracy is reached before it.
static inline int hy_train_end(const hy_train_spec *t) { return t->stop_step ? t->stop_step : t->steps; }
// Optimiser steps of a pass, of a recipe that hy_train_fit made one for a task; 0: no epochs.
static inline int hy_train_epoch_steps(const hy_train_spec *t) { return t->epochs ? t->steps / t->epochs : 0; }
// Fields that do not go together: HY_EINPUT naming them, with what to do. Sets stop_step to 0 where it is the last step
// anyway: such a recipe is that of the whole course. What depends on the number of steps is left out where epochs have
// yet to set it.
hy_status hy_train_check(hy_train_spec *t);
// The message for a task without tuning examples where the recipe stops by them.
hy_status hy_train_no_tuning(const char *task);
#endif
