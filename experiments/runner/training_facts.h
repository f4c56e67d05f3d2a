// training_facts.h - what a training is remembered by: its loss curve, evaluations on the way, and how long it took, as
// facts.
#ifndef HY_TRAINING_FACTS_H
#define HY_TRAINING_FACTS_H
#include "core/train/train.h"
#include "results/facts.h"

typedef struct {
    const hy_train_spec *recipe;
    const hy_task *task;
    hy_facts facts;    // hy_facts_free
    double seconds;    // of steps, without evaluations and checkpoints
    double last_time;  // when the newest step, evaluation or checkpoint was over: hy_now; set it before training
    bool continued;    // another process took the first steps and left no word of how long that was
} hy_training_facts;

// A step is over. True: it is a point of the curve.
bool hy_training_step(hy_training_facts *t, const hy_train_point *p);
// An evaluation is over. True: it is a new one; a resumed run may repeat one that is known.
bool hy_training_eval(hy_training_facts *t, long step, const hy_eval *e);
// Training is over: train_seconds, train_rate, and whether stop_accuracy was reached.
void hy_training_end(hy_training_facts *t, const hy_trainer *trainer);
#endif
