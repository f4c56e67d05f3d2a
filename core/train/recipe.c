// recipe.c - the training recipe: its fields, and the learning rate of each step.
#include <limits.h>
#include <math.h>

#include "core/train/recipe.h"

#define F(field_, type_, def_, min_, max_, choices_, doc_)                                                   \
    {                                                                                                        \
        .name = #field_, .type = type_, .offset = offsetof(hy_train_spec, field_), .def = def_, .min = min_, \
        .max = max_, .choices = choices_, .doc = doc_                                                        \
    }
// Fields that came later.
#define QUIET(field_, type_, def_, min_, max_, choices_, doc_)                                               \
    {                                                                                                        \
        .name = #field_, .type = type_, .offset = offsetof(hy_train_spec, field_), .def = def_, .min = min_, \
        .max = max_, .choices = choices_, .quiet = true, .doc = doc_                                         \
    }
const hy_field hy_train_fields[] = {
    F(steps, HY_F_INT, "400", 0, 1e9, NULL,
      "optimiser steps; 0 in an experiment: random weights, measured without training or evaluation"),
    F(batch, HY_F_INT, "16", 1, 1e6, NULL, "sequences of one micro-batch"),
    F(accumulate, HY_F_INT, "1", 1, 1e6, NULL, "micro-batches of one step"),
    F(lr, HY_F_DOUBLE, "3e-3", 0, 1e12, NULL, "peak learning rate"),
    F(min_lr, HY_F_DOUBLE, "0.0", 0, 1, NULL,
      "learning rate of the last step as a share of lr; 0: the last step changes nothing"),
    F(schedule, HY_F_ENUM, "cosine", 0, 0, "constant|linear|cosine|wsd",
      "course of the learning rate after the warm-up"),
    F(warmup, HY_F_DOUBLE, "0.05", 0, 1, NULL, "linear warm-up, share of steps"),
    F(decay, HY_F_DOUBLE, "0.2", 0, 1, NULL, "wsd: final linear decay, share of steps"),
    F(weight_decay, HY_F_DOUBLE, "0.1", 0, 1e3, NULL,
      "decoupled; on matrices, tables (meta tokens too) and filters; not on norms, biases, A_log, D"),
    F(beta1, HY_F_DOUBLE, "0.9", 0, 0.9999999, NULL, "AdamW first-moment decay"),
    F(beta2, HY_F_DOUBLE, "0.95", 0, 0.9999999, NULL, "AdamW second-moment decay"),
    F(eps, HY_F_DOUBLE, "1e-8", 1e-30, 1, NULL, "AdamW epsilon"),
    F(clip, HY_F_DOUBLE, "1.0", 0, 1e30, NULL, "largest gradient norm, 0: no clipping"),
    F(eval_every, HY_F_INT, "0", 0, 1e9, NULL, "steps between evaluations, 0: only at the end"),
    F(log_every, HY_F_INT, "10", 1, 1e9, NULL, "steps between points of the loss curve"),
    F(checkpoint_every, HY_F_INT, "0", 0, 1e9, NULL,
      "steps between checkpoints, 0: only at the end or when interrupted"),
    F(stop_accuracy, HY_F_DOUBLE, "0", 0, 1, NULL,
      "stop once the accuracy on tuning examples, tried every eval_every, reaches it; 0: never"),
    F(eval_batch, HY_F_INT, "32", 1, 1e6, NULL, "sequences of an evaluation batch"),
    F(eval_examples, HY_F_INT, "0", 0, 1e9, NULL, "examples a cell at most, 0: the task's own count"),
    {.name = "save_seconds",
     .type = HY_F_DOUBLE,
     .offset = offsetof(hy_train_spec, save_seconds),
     .quiet = true,
     .def = "60",
     .min = 0,
     .max = 1e9,
     .doc = "seconds between checkpoints besides checkpoint_every, 0: none"},
    {.name = "precision",
     .type = HY_F_ENUM,
     .offset = offsetof(hy_train_spec, precision),
     .quiet = true,
     .def = "f32",
     .choices = HY_PRECISION_NAMES,
     .doc = "what is computed in, also when evaluating and measuring; tf32 needs a GPU"},
    QUIET(epochs, HY_F_INT, "0", 0, 1e9, NULL,
          "passes over the task's train_examples, in one order, cell by cell in batches that stay the same (the last "
          "of a cell may be smaller); decides steps. 0: steps decide"),
    QUIET(schedule_per, HY_F_ENUM, "step", 0, 0, "step|epoch",
          "after the warm-up the learning rate changes with every step, or before every epoch"),
    QUIET(eval_epochs, HY_F_INT, "0", 0, 1e9, NULL, "epochs between evaluations; decides eval_every. 0: none"),
    QUIET(weight_decay_on, HY_F_ENUM, "matrices", 0, 0, "matrices|all",
          "what weight_decay shrinks; all: norms, biases, A_log and D too"),
    QUIET(
        stop_step, HY_F_INT, "0", 0, 1e9, NULL,
        "train to this step of the course that steps and schedule describe, no further; 0: to its end. A grid over it "
        "shows what a model is on its way"),
    QUIET(sum, HY_F_ENUM, "running", 0, 0, "running|parts",
          "how gradients of a step's micro-batches are added. running: each on top of the others as it is made; parts: "
          "each by itself, then in order, so that any number of processes (mpirun) gives the same bits; costs memory "
          "for one more gradient (a share of it in each of several processes) and a pass over it a micro-batch; a "
          "GPU's go through the host"),
    HY_FIELD_END,
};

static hy_status check_epochs(const hy_train_spec *t) {
    if (t->epochs) return HY_OK;
    if (t->schedule_per == HY_PER_EPOCH)
        return hy_error(HY_EINPUT, "schedule_per epoch needs epochs: set it, or schedule_per to step");
    if (t->eval_epochs)
        return hy_error(HY_EINPUT, "eval_epochs %d needs epochs: set it, or eval_every instead", t->eval_epochs);
    return HY_OK;
}

// known: steps are what they will be.
static hy_status check(hy_train_spec *t, bool known) {
    HY_TRY(check_epochs(t));
    const double warm = t->warmup * t->steps;
    const bool falls = t->schedule == HY_SCHED_LINEAR || t->schedule == HY_SCHED_COSINE;
    const char *schedule = t->schedule == HY_SCHED_LINEAR ? "linear" : "cosine";
    // 0.7 + 0.3 is not above 1 by rounding alone
    if (t->schedule == HY_SCHED_WSD && t->warmup + t->decay > 1 + 1e-9)
        return hy_error(
            HY_EINPUT,
            "warmup %g and decay %g are shares of steps and overlap: with schedule wsd their sum is at most "
            "1; lower one of them",
            t->warmup, t->decay);
    if (known && falls && warm > 1 && t->steps - warm < 1)
        return hy_error(HY_EINPUT,
                        "warmup %g takes all of steps %d, so schedule %s has no step of its own: lower warmup, or set "
                        "schedule to constant",
                        t->warmup, t->steps, schedule);
    if (known && t->steps && t->stop_step > t->steps)
        return hy_error(HY_EINPUT, "stop_step %d is beyond steps %d: lower it, or leave it out", t->stop_step,
                        t->steps);
    if (known && t->stop_step == t->steps) t->stop_step = 0;
    return HY_OK;
}

hy_status hy_train_check(hy_train_spec *t) { return check(t, !t->epochs); }

// A number that epochs decide, and that the recipe may have said before.
static hy_status decide(const char *name, int *field, int64_t value, int unset, const char *by, const char *how) {
    if (value > INT_MAX) return hy_error(HY_EINPUT, "%s %s come to %lld steps: too many", by, how, (long long)value);
    if (*field != unset && *field != value)
        return hy_error(HY_EINPUT, "%s %s come to %lld steps, but %s is %d: leave one of them out", by, how,
                        (long long)value, name, *field);
    *field = (int)value;
    return HY_OK;
}

static hy_status fit_epochs(hy_train_spec *t, const hy_task *task) {
    int64_t batches;
    char how[96];
    HY_TRY(hy_task_epoch(task, t->batch, &batches));
    const int64_t n = (batches + t->accumulate - 1) / t->accumulate;
    snprintf(how, sizeof how, "of %lld batches", (long long)batches);
    hy_train_spec plain;
    hy_fields_default(hy_train_fields, &plain);
    HY_TRY(decide("steps", &t->steps, t->epochs * n, plain.steps, "epochs", how));
    return t->eval_epochs ? decide("eval_every", &t->eval_every, t->eval_epochs * n, 0, "eval_epochs", how) : HY_OK;
}

hy_status hy_train_fit(hy_train_spec *t, const hy_task *task) {
    if (t->epochs && t->steps) HY_TRY(fit_epochs(t, task));
    return check(t, true);
}

hy_status hy_train_no_tuning(const char *task) {
    return hy_error(HY_EINPUT,
                    "stop_accuracy: task %s has no tuning examples to look at: set its option tuning, the share of the "
                    "text that is kept for them",
                    task);
}

double hy_train_lr(const hy_train_spec *t, long step) {
    const double warm = t->warmup * t->steps, floor = t->min_lr;
    double s = (double)step;
    if (s < warm) return t->lr * s / warm;
    const long pass = hy_train_epoch_steps(t), before = pass ? (step - 1) / pass : 0;  // whole epochs
    if (t->schedule_per == HY_PER_EPOCH && pass) s = fmax(warm, (double)(before * pass));
    double share = 1;
    const double left = t->steps - warm, at = left > 0 ? fmin(1, (s - warm) / left) : 1;
    switch (t->schedule) {
        case HY_SCHED_CONSTANT: break;
        case HY_SCHED_LINEAR: share = 1 - (1 - floor) * at; break;
        case HY_SCHED_COSINE: share = floor + (1 - floor) * 0.5 * (1 + cos(3.14159265358979323846 * at)); break;
        case HY_SCHED_WSD: {
            const double start = t->steps * (1 - t->decay);
            if (s > start && t->decay > 0) share = 1 - (1 - floor) * fmin(1, (s - start) / (t->steps - start));
            break;
        }
    }
    return t->lr * share;
}
