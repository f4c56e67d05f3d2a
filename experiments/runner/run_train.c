// run_train.c - claiming and training the model of a run: what is seen on the way is logged beside the checkpoint, so
// that a killed process loses nothing; at the end the weights are stored, then the model is settled. See run_impl.h.
#include <stdlib.h>
#include <string.h>

#include "experiments/runner/run_impl.h"
#include "experiments/runner/runlog.h"
#include "experiments/runner/training_facts.h"
#include "experiments/runner/weights.h"

#define REPORT_S 0.1  // seconds between progress lines

typedef struct {
    hy_worker *w;
    hy_trainer *trainer;
    hy_training_facts seen;
    hy_runlog log;
    double last_report;
} training;

// ---------------------------------------------------------------------------------------------------- on the way
static hy_status on_step(void *user, const hy_train_point *p) {
    training *t = user;
    const hy_facts *f = &t->seen.facts;
    if (hy_training_step(&t->seen, p)) HY_TRY(hy_runlog_point(&t->log, &f->curve[f->n_curve - 1], t->seen.seconds));
    if (hy_now() - t->last_report > REPORT_S || p->step == hy_train_end(t->seen.recipe)) {
        hy_worker_say(t->w, "step %ld %d %.6g %.6g", p->step, hy_train_end(t->seen.recipe), p->loss, p->tokens_per_s);
        t->last_report = hy_now();
    }
    // another run may be measuring throughput; where steps are still under way, this one has to wait for them first
    if (p->step == hy_trainer_step_count(t->trainer)) hy_timing_lock_pass(&t->w->timing);
    t->seen.last_time = hy_now();
    return HY_OK;
}

static hy_status on_eval(void *user, long step, const hy_eval *e) {
    training *t = user;
    const int first = t->seen.facts.n_facts;
    return hy_training_eval(&t->seen, step, e) ? hy_runlog_facts(&t->log, &t->seen.facts, first) : HY_OK;
}

static hy_status on_save(void *user, long step) {
    training *t = user;
    t->seen.last_time = hy_now();
    return hy_runlog_seconds(&t->log, step, t->seen.seconds);
}

// ---------------------------------------------------------------------------------------------------- the training
static hy_status create(training *t) {
    const hy_worker *w = t->w;
    const hy_run_item *it = &w->job->item;
    HY_TRY(hy_trainer_create(w->prog, &w->be, hy_precision_dtype(it->train->precision), it->train, w->task,
                             (uint64_t)it->seed, &t->trainer));
    return it->file ? hy_model_load(it->file, hy_trainer_params(t->trainer)) : HY_OK;
}

// The checkpoint of an earlier attempt, if it fits; else from the start.
static hy_status resume(training *t) {
    hy_worker *w = t->w;
    if (hy_file_exists(w->checkpoint) && hy_trainer_load(t->trainer, w->checkpoint)) {
        fprintf(stderr, "%s: not usable, this run starts again: %s\n", w->checkpoint, hy_error_text());
        hy_trainer_free(t->trainer);
        t->trainer = NULL;
        HY_TRY(create(t));
    }
    const long step = hy_trainer_step_count(t->trainer);
    if (step) hy_worker_say(w, "resumed %ld", step);
    return hy_runlog_open(&t->log, w->logfile, step, &t->seen.facts, &t->seen.seconds);
}

// Where the weights will go, before they are there.
static hy_status try_weights(const hy_worker *w) {
    char *name = hy_weights_name(w->job->item.model_key, w->job->item.seed, w->job->device);
    const hy_status s = hy_weights_try(w->job->db, name);
    free(name);
    return s;
}

static hy_status train(training *t) {
    HY_TRY(create(t));
    HY_TRY(resume(t));
    const hy_train_watch watch = {.user = t, .on_step = on_step, .on_eval = on_eval, .on_save = on_save};
    t->seen.last_time = hy_now();
    const hy_status s = hy_trainer_run(t->trainer, &watch, t->w->checkpoint, NULL);
    t->seen.facts.steps = hy_trainer_step_count(t->trainer);
    if (!s) hy_training_end(&t->seen, t->trainer);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the end
// Training that failed because nothing can be written is not a failed model: it goes on when there is space again.
static bool disk_trouble(training *t, hy_status s) {
    return s == HY_EFAIL && t->trainer && hy_trainer_save(t->trainer, t->w->checkpoint) != HY_OK;
}

// Leaves the model to be taken up again.
static void interrupt(training *t, hy_run_end end, const char *why) {
    hy_worker *w = t->w;
    const hy_status row = hy_model_interrupt(w->store, w->model_id, t->seen.facts.steps, why);
    if (row)
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
    else
        hy_worker_end(w, end, "%s", why);
}

static void interrupted(training *t, const char *why) {
    // the trainer saves itself, but not where its last evaluation was cut short
    const bool all = t->trainer && hy_trainer_step_count(t->trainer) == hy_train_end(t->w->job->item.train);
    const hy_status saved = all ? hy_trainer_save(t->trainer, t->w->checkpoint) : HY_OK;
    interrupt(t, saved ? HY_END_LOST : HY_END_INTERRUPTED, saved ? hy_error_text() : why);
}

static bool settle_failed(training *t, const char *why) {
    hy_worker *w = t->w;
    t->seen.facts.steps = t->seen.facts.n_curve ? t->seen.facts.curve[t->seen.facts.n_curve - 1].step : 0;
    if (hy_model_settle(w->store, w->model_id, &t->seen.facts, NULL, NULL, why)) {
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
        return false;
    }
    hy_worker_end(w, HY_END_FAILED, "%s", why);
    hy_job_clean(w->stem, true);
    return false;
}

// Weights first: a model is done when what it stands for is safe.
static bool settle_done(training *t) {
    hy_worker *w = t->w;
    const hy_run_item *it = &w->job->item;
    char *name = NULL, hash[33];
    hy_status s = HY_OK;
    if (t->trainer) {
        name = hy_weights_name(it->model_key, it->seed, w->job->device);
        s = hy_weights_save(w->job->db, name, hy_trainer_params(t->trainer), hash);
    }
    if (s) {
        char *why = hy_xstrdup(hy_error_text());
        interrupt(t, HY_END_LOST, why);
        free(why);
    } else if ((s = hy_model_settle(w->store, w->model_id, t->trainer ? &t->seen.facts : NULL, name, name ? hash : NULL,
                                    NULL))) {
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
    } else {
        w->fresh = true;
        w->steps = t->seen.facts.steps;
        hy_job_clean(w->stem, true);
    }
    free(name);
    return !s;
}

// Makes the model that is claimed and settles it. True: done.
static bool make(hy_worker *w, hy_claim claim) {
    training t = {.w = w, .seen = {.recipe = w->job->item.train, .task = w->task}};
    hy_job_clean(w->stem, claim == HY_CLAIM_NEW);  // what a settled attempt or a killed process left behind
    const bool trained = w->job->item.origin == HY_ORIGIN_TRAINED;
    const hy_status room = trained ? try_weights(w) : HY_OK, s = room ? room : trained ? train(&t) : HY_OK;
    char *why = hy_worker_why(s, s ? hy_error_text() : "");
    snprintf(t.seen.facts.kernel_path, sizeof t.seen.facts.kernel_path, "%s", hy_worker_kernels(w));
    bool done = false;
    if (!s)
        done = settle_done(&t);
    else if (s == HY_EINTR)
        interrupted(&t, why);
    else if (s == HY_ENOMEM)
        interrupt(&t, HY_END_MEMORY, why);
    else if (room || disk_trouble(&t, s))
        interrupt(&t, HY_END_LOST, why);
    else
        settle_failed(&t, why);
    hy_worker_say(w, "release");
    free(why);
    hy_runlog_close(&t.log);
    hy_facts_free(&t.seen.facts);
    hy_trainer_free(t.trainer);
    return done;
}

// ---------------------------------------------------------------------------------------------------- claiming it
static hy_model_record record_of(const hy_worker *w) {
    const hy_job *j = w->job;
    const hy_run_item *it = &j->item;
    hy_model_record r = {.seed = it->seed,
                         .device = j->device,
                         .origin = hy_origin_name(it->origin),
                         .variant = it->variant,
                         .experiment = j->experiment,
                         .grid = it->grid,
                         .spec_hash = it->spec_hash,
                         .spec = it->spec_text,
                         .task = it->task,
                         .task_kind = it->task_kind,
                         .task_options = it->task_text,
                         .train = it->train_text,
                         .precision = hy_precision_name(it->train->precision),
                         .source = it->file,
                         .by = hy_worker_provenance(w)};
    memcpy(r.model_key, it->model_key, sizeof r.model_key);
    return r;
}

bool hy_worker_model(hy_worker *w, unsigned flags) {
    static const char *const words[] = {"new", "resumed", "done", "failed", "busy"};
    const hy_model_record r = record_of(w);
    hy_claim claim;
    if (hy_model_claim(w->store, &r, flags, &claim, &w->model_id)) {
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
        return false;
    }
    hy_worker_say(w, "claim model %lld %s", (long long)w->model_id, words[claim]);
    if (claim == HY_CLAIM_BUSY) hy_worker_end(w, HY_END_BUSY, "another process trains the model");
    if (claim == HY_CLAIM_FAILED) hy_worker_end(w, HY_END_FAILED, "its training failed in another process");
    return claim == HY_CLAIM_DONE || ((claim == HY_CLAIM_NEW || claim == HY_CLAIM_RESUMED) && make(w, claim));
}
