// train_impl.h - what a trainer holds; shared by train.c (the loop) and trainckpt.c (its checkpoint).
#ifndef HY_TRAIN_IMPL_H
#define HY_TRAIN_IMPL_H
#include "core/train.h"

struct hy_trainer {
    const hy_program *p;
    const hy_backend *be;
    hy_dtype dt;
    hy_train_spec spec;
    const hy_task *task;
    uint64_t seed;
    hy_params *w;
    hy_exec *e;
    void *m, *v;       // device: AdamW moments, laid out as the parameters
    uint8_t *decay;    // device: per HY_DECAY_BLOCK elements
    double *ctl;       // device: the control block of a step, see kernels.h
    double *report;    // device: loss and gradient norm
    hy_launch norm;    // the plan of the gradient norm
    void *norm_ws;     // device: its scratch
    int T;             // longest example, meta not counted
    int32_t *ids, *labels;            // host: [accumulate, batch, T]
    int32_t *full_ids, *full_labels;  // host: [batch, meta + T]
    int *lengths;   // host: [accumulate] tokens of the examples of each micro-batch
    hy_batch last;
    long step;      // steps done = position of the loader
    bool stopped;   // stop_accuracy was reached
    bool eval_due;  // the evaluation of this step was interrupted
};
#endif
