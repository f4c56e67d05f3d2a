// recipe.h - the training recipe: its fields, and the learning rate of each step.
#ifndef HY_RECIPE_H
#define HY_RECIPE_H
#include "core/format/field.h"
#include "core/model/precision.h"

typedef enum { HY_SCHED_CONSTANT = 0, HY_SCHED_LINEAR, HY_SCHED_COSINE, HY_SCHED_WSD } hy_schedule;
typedef struct {
    int steps, batch, accumulate;
    double lr, min_lr;  // min_lr: share of lr at the end
    hy_schedule schedule;
    double warmup, decay;                          // shares of steps: warm-up; final decay of wsd
    double weight_decay, beta1, beta2, eps, clip;  // clip 0: none
    int eval_every;                                // steps; 0: only at the end
    int log_every;
    int checkpoint_every;  // steps; 0: only at the end
    double
        save_seconds;  // seconds between checkpoints besides; 0: none. Where a run is saved does not change its result
    double stop_accuracy;  // stop when evaluation accuracy reaches it; 0: never
    int eval_batch;
    int eval_examples;       // at most so many examples a cell; 0: the task's own count
    hy_precision precision;  // of training, evaluation and measures
} hy_train_spec;
extern const hy_field hy_train_fields[];
double hy_train_lr(const hy_train_spec *t, long step);  // of step 1 ..
#endif
