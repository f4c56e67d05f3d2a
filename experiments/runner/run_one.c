// run_one.c - one run in its own process: claim, train (or resume), evaluate, measure, store. See job.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/version.h"
#include "experiments/runner/job.h"
#include "core/base/timing_lock.h"
#include "experiments/runner/runlog.h"
#include "core/model/device.h"

#define SAVE_S 60.0    // seconds between checkpoints that are made besides train.checkpoint_every
#define REPORT_S 0.1   // seconds between progress lines

typedef struct {
    const hy_job *job;
    int fd;
    hy_store *store;
    int64_t id;
    hy_claim claim;
    hy_backend be;
    hy_timing_lock timing;
    hy_program *prog;
    hy_task *task;
    hy_trainer *trainer;  // NULL: nothing is trained
    hy_params *random;    // then: the weights
    hy_facts facts;
    hy_runlog log;
    char *stem, *checkpoint, *logfile;
    double seconds, last_time, last_report, last_save;
} worker;

// ---------------------------------------------------------------------------------------------------- reports
static void say(const worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const worker *w, const char *fmt, ...) {
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) return;
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
    text[n] = '\n';  // in place of the NUL: n + 1 bytes in one write; a parent that is gone does not matter
    ssize_t written = write(w->fd, text, (size_t)n + 1);
    (void)written;
    free(text);
}

// ---------------------------------------------------------------------------------------------------- figures
static void add_scores(hy_facts *f, const char *cell, const hy_cell *at, const hy_score *s, const hy_task *task, long step, bool final) {
    const double entropy = hy_task_entropy(task), bytes = hy_task_bytes_per_token(task);
    const struct {
        const char *name;
        double value, se;
        int64_t n;
    } all[] = {
        {"accuracy", s->accuracy, s->accuracy_se, s->examples}, {"token_accuracy", s->token_accuracy, NAN, s->labels},
        {"exact", s->exact, s->exact_se, s->examples},          {"loss", s->loss, s->loss_se, s->labels},
        {"bits_per_token", s->loss / log(2), s->loss_se / log(2), s->labels},
        {"bits_per_byte", s->loss / log(2) / bytes, s->loss_se / log(2) / bytes, s->labels},
        {"excess_loss", s->loss - entropy, s->loss_se, s->labels},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        // a deterministic task has entropy 0: its excess is the loss
        if (!(entropy > 0) && !strcmp(all[i].name, "excess_loss")) continue;
        if (isnan(bytes) && !strcmp(all[i].name, "bits_per_byte")) continue;
        hy_fact *m = hy_facts_add(f, all[i].name, cell, all[i].value);
        m->se = all[i].se;
        m->n = all[i].n;
        m->step = step;
        m->final = final;
        if (at) {
            m->x = at->x;
            m->y = at->y;
        }
    }
}

static void add_eval(worker *w, const hy_eval *e, long step, bool final) {
    add_scores(&w->facts, "", NULL, &e->total, w->task, step, final);
    for (int c = 0; e->n_cells > 1 && c < e->n_cells; c++) {
        const hy_cell *cell = hy_task_cell(w->task, HY_SPLIT_EVAL, c);
        add_scores(&w->facts, cell->name, cell, &e->cells[c], w->task, step, final);
    }
}

static void add_training(worker *w, const hy_eval *last) {
    hy_facts_add(&w->facts, "train_seconds", "", w->seconds)->step = w->facts.steps;
    const double wanted = w->job->item.train.stop_accuracy;
    if (wanted > 0) {  // training ends at the first evaluation that reaches it
        const bool reached = last->total.accuracy >= wanted;
        hy_facts_add(&w->facts, "reached", "", reached)->step = w->facts.steps;
        if (reached) hy_facts_add(&w->facts, "steps_to_reach", "", (double)w->facts.steps)->step = w->facts.steps;
    }
    int n = w->facts.n_curve;
    if (n == 0) return;
    double *rate = hy_xcalloc((size_t)n, sizeof *rate);
    for (int i = 0; i < n; i++) rate[i] = w->facts.curve[i].tokens_per_s;
    hy_fact *m = hy_facts_add(&w->facts, "train_rate", "", hy_median(rate, n));
    m->n = n;
    m->step = w->facts.steps;
    free(rate);
}

// ---------------------------------------------------------------------------------------------------- training
static hy_status on_step(void *user, const hy_train_point *p) {
    worker *w = user;
    const hy_train_spec *t = &w->job->item.train;
    const double now = hy_now();
    w->seconds += now - w->last_time;
    if (p->step == 1 || p->step == t->steps || p->step % t->log_every == 0) {
        const hy_curve_point c = {p->step, p->loss, p->lr, p->grad_norm, p->tokens_per_s};
        hy_facts_curve(&w->facts, &c);
        HY_TRY(hy_runlog_point(&w->log, &c, w->seconds));
    }
    if (now - w->last_report > REPORT_S || p->step == t->steps) {
        say(w, "step %ld %d %.6g %.6g", p->step, t->steps, p->loss, p->tokens_per_s);
        w->last_report = now;
    }
    // not at a step with an evaluation to come: a run resumed after that step would leave it out; and not where later steps are
    // done that are not told of yet: the checkpoint would have them
    const bool newest = p->step == hy_trainer_step_count(w->trainer);
    const bool eval_due = t->eval_every && p->step % t->eval_every == 0;
    hy_status s = HY_OK;
    if (now - w->last_save > SAVE_S && newest && !eval_due && p->step < t->steps) {
        s = hy_trainer_save(w->trainer, w->checkpoint);
        w->last_save = hy_now();
    }
    if (newest) hy_timing_lock_pass(&w->timing);  // another run may be measuring throughput
    w->last_time = hy_now();
    return s;
}

static hy_status on_eval(void *user, long step, const hy_eval *e) {
    worker *w = user;
    const int first = w->facts.n_facts;
    // one step may be evaluated twice: after a resume, and when stop_accuracy ends the run
    if (first && !w->facts.fact[first - 1].final && w->facts.fact[first - 1].step == step) return HY_OK;
    add_eval(w, e, step, false);
    say(w, "eval %ld %.6g %.6g", step, e->total.accuracy, e->total.loss);
    w->last_time = hy_now();
    return hy_runlog_facts(&w->log, &w->facts, first);
}

static hy_dtype dtype_of(const worker *w) { return hy_precision_dtype(w->job->item.train.precision); }

// The checkpoint of an earlier attempt, if it fits; else from the start.
static hy_status resume(worker *w) {
    if (hy_file_exists(w->checkpoint) && hy_trainer_load(w->trainer, w->checkpoint)) {
        fprintf(stderr, "%s: not usable, this run starts again: %s\n", w->checkpoint, hy_error_text());
        hy_trainer_free(w->trainer);
        w->trainer = NULL;
        HY_TRY(hy_trainer_create(w->prog, &w->be, dtype_of(w), &w->job->item.train, w->task, (uint64_t)w->job->item.seed, &w->trainer));
    }
    const long step = hy_trainer_step_count(w->trainer);
    if (step) say(w, "resumed %ld", step);
    return hy_runlog_open(&w->log, w->logfile, step, &w->facts, &w->seconds);
}

// The weights that training would start from, and no memory for training.
static hy_status make_random(worker *w) {
    HY_TRY(hy_params_create(w->prog, &w->be, dtype_of(w), &w->random));
    return hy_params_init(w->random, hy_trainer_init_seed((uint64_t)w->job->item.seed));
}

static hy_status train(worker *w) {
    const hy_run_item *it = &w->job->item;
    HY_TRY(hy_trainer_create(w->prog, &w->be, dtype_of(w), &it->train, w->task, (uint64_t)it->seed, &w->trainer));
    HY_TRY(resume(w));
    const hy_train_watch watch = {.user = w, .on_step = on_step, .on_eval = on_eval};
    hy_eval last;
    w->last_time = w->last_save = hy_now();
    hy_status s = hy_trainer_run(w->trainer, &watch, w->checkpoint, &last);
    w->facts.steps = hy_trainer_step_count(w->trainer);
    if (!s) {
        add_eval(w, &last, w->facts.steps, true);
        add_training(w, &last);
        hy_eval_free(&last);
        hy_trainer_end_steps(w->trainer);  // measures need memory too
    }
    return s;
}

// Accuracy of a trained model is known already, and nobody asked for that of random weights.
static hy_status measure(worker *w) {
    hy_params *params = w->random ? w->random : hy_trainer_params(w->trainer);
    const hy_measure_context c = {.prog = w->prog, .params = params, .compute = params->compute, .be = &w->be, .task = w->task,
                                  .eval_batch = w->job->item.train.eval_batch, .step = w->facts.steps, .timing = &w->timing,
                                  .jobs = w->job->jobs};
    hy_measure_plan *plan = hy_xcalloc(1, sizeof *plan);
    hy_yaml *root = NULL;
    hy_status s = hy_yaml_parse("measures", w->job->item.measures_text, strlen(w->job->item.measures_text), &root);
    if (!s) s = hy_measure_plan_read(root, plan);
    for (int i = 0; !s && i < plan->n; i++)
        if (strcmp(plan->v[i].measure->name, "accuracy")) s = hy_measure_run(plan->v[i].measure, &c, &plan->v[i].options, &w->facts);
    hy_yaml_free(root);
    free(plan);
    return s;
}

static hy_status work(worker *w) {
    const hy_run_item *it = &w->job->item;
    HY_TRY(hy_task_open(it->task_kind, it->task_options, (uint64_t)it->seed, &w->task));
    HY_TRY(hy_model_build(it->spec, &w->prog));
    HY_TRY(it->train.steps ? train(w) : make_random(w));
    say(w, "phase measuring");
    return measure(w);
}

// ---------------------------------------------------------------------------------------------------- the run
static hy_status claim(worker *w) {
    const hy_job *j = w->job;
    const hy_run_item *it = &j->item;
    hy_run_record r = {.seed = it->seed, .device = j->device, .variant = it->variant, .experiment = j->experiment, .grid = it->grid,
                       .spec_hash = it->spec_hash, .spec = it->spec_text, .task = it->task, .task_kind = it->task_kind,
                       .task_options = it->task_text, .train = it->train_text, .measures = it->measures_text,
                       .commit = hy_version_commit(), .build = hy_version_build(), .dirty = hy_version_dirty(),
                       .device_name = w->be.device, .threads = w->be.threads};
    memcpy(r.run_key, it->run_key, sizeof r.run_key);
    HY_TRY(hy_run_claim(w->store, &r, j->claim, &w->claim, &w->id));
    static const char *const names[] = {"new", "resumed", "done", "failed", "busy"};
    say(w, "claim %lld %s", (long long)w->id, names[w->claim]);
    return HY_OK;
}

// A run that cannot write its checkpoint is not a failed one: it goes on when there is space again.
static bool disk_trouble(worker *w, hy_status s) {
    return s == HY_EFAIL && w->trainer && hy_trainer_save(w->trainer, w->checkpoint) != HY_OK;
}

// Stores the end of a run. Returns the status of the run itself, or HY_EFAIL when it could not be stored.
static hy_status settle(worker *w, hy_status s) {
    char *why = hy_xstrdup(s ? hy_error_text() : "");
    hy_status stored;
    if (disk_trouble(w, s)) {
        hy_run_interrupt(w->store, w->id, 0, why);
        stored = hy_error(HY_EFAIL, "%s", why);
    } else if (s == HY_EINTR) {
        // the trainer has saved itself, but not when the last evaluation was cut short
        stored = w->trainer && hy_trainer_step_count(w->trainer) == w->job->item.train.steps ? hy_trainer_save(w->trainer, w->checkpoint) : HY_OK;
        hy_status row = hy_run_interrupt(w->store, w->id, w->facts.steps, why);
        if (!stored) stored = row;
    } else {
        snprintf(w->facts.kernel_path, sizeof w->facts.kernel_path, "%s", strcmp(w->be.name, "cpu") ? w->be.name : hy_isa_name(w->be.isa));
        if (s) w->facts.steps = w->facts.n_curve ? w->facts.curve[w->facts.n_curve - 1].step : 0;
        stored = hy_run_settle(w->store, w->id, &w->facts, s ? why : NULL);
    }
    if (stored) {
        say(w, "end lost %s", hy_error_text());
    } else {
        say(w, "end %s %s", s == HY_EINTR ? "interrupted" : s ? "failed" : "done", why);
        if (s != HY_EINTR) hy_job_clean(w->stem, true);
    }
    free(why);
    return stored ? stored : s;
}

static hy_status run(worker *w) {
    const hy_job *j = w->job;
    const hy_device device = {j->device, j->gpu};
    HY_TRY(hy_device_open(&device, j->isa, j->threads, &w->be));
    HY_TRY(hy_precision_set(j->item.train.precision, &w->be));
    HY_TRY(hy_store_open(j->db, HY_STORE_WRITE, &w->store));
    char *dir = hy_asprintf("%s.work", j->db);
    hy_status s = hy_mkdirs(dir);
    if (!s) s = hy_timing_lock_open(dir, &w->timing);
    free(dir);
    w->stem = hy_job_stem(j->db, &j->item, j->device);
    w->checkpoint = hy_asprintf("%s.safetensors", w->stem);
    w->logfile = hy_asprintf("%s.log", w->stem);
    if (!s) s = claim(w);
    if (s || (w->claim != HY_CLAIM_NEW && w->claim != HY_CLAIM_RESUMED)) return s;
    hy_job_clean(w->stem, w->claim == HY_CLAIM_NEW);  // what a settled attempt or a killed process left behind
    return settle(w, work(w));
}

hy_status hy_run_one(const hy_job *job, int report_fd) {
    worker w = {.job = job, .fd = report_fd, .timing = {-1, -1}};
    hy_status s = run(&w);
    if (s && !w.id) say(&w, "end lost %s", hy_error_text());
    hy_timing_lock_close(&w.timing);
    hy_runlog_close(&w.log);
    hy_facts_free(&w.facts);
    hy_trainer_free(w.trainer);
    hy_params_free(w.random);
    if (w.prog) hy_program_free(w.prog);
    if (w.task) hy_task_close(w.task);
    hy_store_close(w.store);
    free(w.stem);
    free(w.checkpoint);
    free(w.logfile);
    return s;
}
