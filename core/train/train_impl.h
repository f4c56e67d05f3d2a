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
    // train_ranks.c
    hy_dist *dist;     // borrowed; NULL: alone
    hy_dist_sum *sum;  // of the gradients of micro-batches, recipe sum parts; NULL: running
    void *staged;      // host: a gradient on its way, where the device's memory is not the host's
    void *whole[2];    // rank 0, host: both moments, gathered for a checkpoint; NULL: they are in opt
    bool told_end;     // of several ranks, as of the newest step's begin: a signal asks one of them to end;
    bool told_save;    // by rank 0's clock a checkpoint is due
    double beat;       // rank 0: when the others heard of it last
};
static inline bool hy_trainer_time_to_save(const hy_trainer *t) {  // save_seconds have passed
    return t->spec.save_seconds > 0 && hy_now() - t->saved > t->spec.save_seconds;
}
// train_checkpoint.c: what decides the weights, as a checkpoint tells it. Caller frees.
char *hy_trainer_recipe_text(const hy_trainer *t);

// ---- train_ranks.c: several processes, and gradients in parts
static inline bool hy_trainer_leads(const hy_trainer *t) { return hy_dist_rank(t->dist) == 0; }
static inline bool hy_trainer_makes(const hy_trainer *t, int k) {  // micro-batch k of a step
    return k % hy_dist_size(t->dist) == hy_dist_rank(t->dist);
}
hy_status hy_trainer_open_sum(hy_trainer *t);
void hy_trainer_close_sum(hy_trainer *t);
// At the beginning of a step: how the ranks' loading went, and the sums of their labels and tokens.
hy_status hy_trainer_count(hy_trainer *t, hy_status loaded, int64_t *labelled, int64_t *tokens);
// Gradient and loss of all micro-batches of the step that has begun, summed in order. load: micro-batch k of it.
typedef hy_batch hy_micro_batch_fn(hy_trainer *t, long step, int k);
hy_status hy_trainer_sum_parts(hy_trainer *t, long step, double scale, hy_micro_batch_fn *load);
// Rank 0, while the others wait for it in hy_trainer_settle: tells them now and then that it is at work.
hy_status hy_trainer_beat(void *trainer);
// How rank 0's part of the work went, and whether its evaluation ends the run.
hy_status hy_trainer_settle(hy_trainer *t, hy_status s, bool *stop);
// After a step where moments are sharded: the weights that other ranks have changed.
hy_status hy_trainer_spread_weights(hy_trainer *t);
// All moments for a checkpoint on rank 0, until the next step.
hy_status hy_trainer_collect_moments(hy_trainer *t);
void hy_trainer_drop_moments(hy_trainer *t);
// HY_EFAIL: the weights and moments of the ranks are not the same any more.
hy_status hy_trainer_check_ranks(hy_trainer *t);
// Of what each rank has found, the one of the lowest score; out [n] tells it, with the rank.
hy_status hy_trainer_first_of(hy_trainer *t, int64_t score, char *out, size_t n);
// train_resume.c: refuses a checkpoint (where: its path; theirs, ours: the texts that say whose it is) at `step` if
// anything that decided its weights differs: HY_EINPUT names the fields with both values. Sets t->loaded_steps.
hy_status hy_trainer_check_run(hy_trainer *t, const char *where, const char *theirs, const char *ours, long step);
#endif
