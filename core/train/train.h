// train.h - the training loop: steps, evaluations, checkpoints.
#ifndef HY_TRAIN_H
#define HY_TRAIN_H
#include "core/dist/dist.h"
#include "core/train/evaluate.h"
#include "core/train/recipe.h"

typedef struct {
    long step;
    double loss, lr, grad_norm, tokens_per_s;  // loss: mean over labelled positions of the step, nats
} hy_train_point;
// What a caller may watch; every callback may be NULL; a non-OK return stops the run with that status.
typedef struct {
    void *user;
    hy_status (*on_step)(void *user, const hy_train_point *p);
    hy_status (*on_eval)(void *user, long step, const hy_eval *e);  // of the evaluation examples
    hy_status (*on_save)(void *user, long step);                    // after a checkpoint was written
    // After one could not be (hy_error_text says why). HY_OK: the run goes on without it. NULL: it ends with that
    // error.
    hy_status (*on_unsaved)(void *user, long step);
} hy_train_watch;

typedef struct hy_trainer hy_trainer;
// dt: what is computed in (hy_precision_dtype of the recipe; HY_F64 for tests). Parameters and moments are float32 with
// HY_BF16.
hy_status hy_trainer_create(const hy_program *p, const hy_backend *be, hy_dtype dt, const hy_train_spec *spec,
                            const hy_task *task, uint64_t seed, hy_trainer **out);
// Trains with the other ranks of a group, which is borrowed: all call this, after hy_trainer_create and
// hy_trainer_load, and from then on the same functions. Micro-batch k of a step is made by rank k % size; every rank
// has the weights and moments and makes the same optimiser steps. Rank 0 evaluates, writes checkpoints and calls the
// watch; the others pass NULL, get an empty evaluation, and save where rank 0 does (checkpoint: a path, or NULL on
// all). The results have the same bits for any number of ranks. An interrupt of one rank ends all after the same step.
// NULL: nothing changes. HY_EINPUT: the recipe's sum is not parts, or its micro-batches are fewer than ranks; the ranks
// are not of one build, model, recipe, task, data, seed, or do not begin with the same weights and moments; how:
// further text that must be the same.
hy_status hy_trainer_share(hy_trainer *t, hy_dist *d, const char *how);
// After hy_trainer_share: each rank keeps the moments of a share of the parameters and makes the steps of these
// (ZeRO-1, Rajbhandari et al. 2020); the weights are exchanged after each step. The same bits. Rank 0 has all moments
// in the host's memory while it writes a checkpoint. Alone: nothing changes.
hy_status hy_trainer_shard_moments(hy_trainer *t);
uint64_t hy_trainer_init_seed(uint64_t seed);  // what hy_params_init gets for a run's seed
// hy_exec_set_dropout of micro-batch number `batch` of a run, from 0.
uint64_t hy_trainer_dropout_key(uint64_t seed, int64_t batch);
void hy_trainer_free(hy_trainer *t);
hy_params *hy_trainer_params(hy_trainer *t);
long hy_trainer_step_count(const hy_trainer *t);
bool hy_trainer_stopped(const hy_trainer *t);  // stop_accuracy was reached, be it by the last step
// Everything a resumed run needs (weights, optimiser moments, step = loader position, seeds) as one safetensors file.
hy_status hy_trainer_save(hy_trainer *t, const char *path);
// A checkpoint of another run is refused, naming the fields that differ with both values. Those that cannot change a
// weight (log_every, checkpoint_every, eval_batch, stop_step, and evaluations unless stop_accuracy ends a run by them)
// may differ; so may steps and the schedule, where the learning rate of every step that is done stays what it was: a
// run with a constant rate, or one that has not begun to decay, is trained on for more steps.
hy_status hy_trainer_load(hy_trainer *t, const char *path);
// The step at which a checkpoint stands; 0: it is none, or of weights alone.
long hy_checkpoint_step(const char *path);
int hy_trainer_loaded_steps(
    const hy_trainer *t);  // of the run that wrote what was loaded, its last step; 0: nothing was
// One optimiser step (all its micro-batches).
hy_status hy_trainer_step(hy_trainer *t, hy_train_point *out);
// Runs to the end, or until an evaluation of the tuning examples, every eval_every steps, reaches stop_accuracy.
// on_step is called for every step in order; where kernels run while the host goes on, some steps later, before
// anything that needs it (evaluation, checkpoint, interrupt, the end). checkpoint: path written every checkpoint_every
// steps, every save_seconds and at the end, or NULL. last: the evaluation at the end. NULL: nobody asks for it; there
// still is one, told to on_eval, if the recipe evaluates on the way (eval_every, stop_accuracy), else one example a
// cell is tried. NaN or infinity: HY_EDIVERGED naming step and tensor, with advice. An interrupt saves the checkpoint
// first, and so does an evaluation that finds no memory.
hy_status hy_trainer_run(hy_trainer *t, const hy_train_watch *watch, const char *checkpoint, hy_eval *last);
#endif
