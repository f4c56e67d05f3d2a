// test_interrupt.c - evaluations and checkpoints of the training loop. An interruption that falls into an evaluation
// loses nothing: the checkpoint holds the steps done, and the resumed run makes up for the evaluation and ends with the
// weights of one that was left alone. Checkpoints by time, one evaluation at the end, and weights that give no finite
// loss.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/spec/spec_read.h"
#include "core/train/train.h"

enum { STEPS = 5, EVERY = 2 };
typedef struct {
    long stop_after, steps, evals[32];
    long no_memory_at;  // the step whose evaluation finds none
    int n_evals, n_saves;
    double step_seconds;         // that a step is made to take
    double stepped, saved, gap;  // ends of the last step and save; the shortest time between a save and the next
} seen;

static hy_status on_step(void *user, const hy_train_point *p) {
    seen *s = user;
    s->steps++;
    if (p->step == s->stop_after) hy_interrupted = 2;
    if (s->step_seconds > 0) usleep((useconds_t)(1e6 * s->step_seconds));
    s->stepped = hy_now();
    return HY_OK;
}
static hy_status on_eval(void *user, long step, const hy_eval *e) {
    seen *s = user;
    (void)e;
    if (step == s->no_memory_at) return hy_error(HY_ENOMEM, "no memory");
    s->evals[s->n_evals++] = step;
    return HY_OK;
}

static hy_status on_save(void *user, long step) {
    seen *s = user;
    const double gap = s->stepped - s->saved;
    if (s->n_saves++ && step < STEPS && (s->gap == 0 || gap < s->gap)) s->gap = gap;  // at the end it is always saved
    s->saved = hy_now();
    return HY_OK;
}

typedef struct {
    hy_backend be;
    hy_program *p;
    hy_task *task;
    hy_train_spec spec;
    char path[64];
} setting;

static hy_trainer *trainer(const setting *x) {
    hy_trainer *t;
    if (hy_trainer_create(x->p, &x->be, HY_F32, &x->spec, x->task, 5, &t)) fail_msg("%s", hy_error_text());
    return t;
}
static float *weights(const setting *x, hy_trainer *t) {
    float *w = hy_xcalloc(x->p->param_elems, sizeof *w);
    for (int i = 0; i < x->p->n_params; i++)
        assert_int_equal(hy_params_get(hy_trainer_params(t), i, false, w + x->p->params[i].offset), HY_OK);
    return w;
}
static hy_status run(const setting *x, hy_trainer *t, seen *s) {
    const hy_train_watch watch = {.user = s, .on_step = on_step, .on_eval = on_eval, .on_save = on_save};
    return hy_trainer_run(t, &watch, x->path, NULL);
}

static void open_setting(setting *x) {
    static const char text[] = "name: x\nvocab: 40\nd_model: 16\nlayers: 1\nattention: {heads: 2}\nmlp: {d_ff: 16}\n";
    hy_yaml *y;
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    if (hy_yaml_parse("model", text, sizeof text - 1, &y) || hy_spec_from_yaml(y, m)) fail_msg("%s", hy_error_text());
    if (hy_model_build(m, &x->p)) fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    free(m);
    assert_int_equal(hy_backend_cpu(NULL, 1, &x->be), HY_OK);
    if (hy_task_open("mqar", "vocab: 30\ntrain: [[24, 3]]\ntest: [[24, 3]]\n", 3, &x->task))
        fail_msg("%s", hy_error_text());
    hy_fields_default(hy_train_fields, &x->spec);
    x->spec.steps = STEPS, x->spec.batch = 2, x->spec.eval_every = EVERY, x->spec.eval_examples = 2;
    snprintf(x->path, sizeof x->path, "/tmp/hylab-interrupt-%ld", (long)getpid());
}

static void close_setting(setting *x) {
    unlink(x->path);
    hy_task_close(x->task);
    hy_program_free(x->p);
}

// What was saved trains on from `step` to the weights of a run that was never stopped.
static seen goes_on(const setting *x, long step, const float *want) {
    seen s = {0};
    hy_trainer *t = trainer(x);
    if (hy_trainer_load(t, x->path)) fail_msg("%s", hy_error_text());
    assert_int_equal(hy_trainer_step_count(t), step);
    assert_int_equal(run(x, t, &s), HY_OK);
    assert_int_equal(s.steps, STEPS - step);
    float *got = weights(x, t);
    assert_memory_equal(got, want, x->p->param_elems * sizeof *got);
    free(got);
    hy_trainer_free(t);
    unlink(x->path);
    return s;
}

static void in_a_periodic_evaluation(const setting *x, const float *want) {
    seen s = {.stop_after = EVERY};
    hy_trainer *t = trainer(x);
    assert_int_equal(run(x, t, &s), HY_EINTR);
    assert_int_equal(s.n_evals, 0);
    hy_trainer_free(t);
    hy_interrupted = 0;
    s = goes_on(x, EVERY, want);
    assert_int_equal(s.n_evals, 3);
    assert_int_equal(s.evals[0], EVERY);
    assert_int_equal(s.evals[1], 2 * EVERY);
    assert_int_equal(s.evals[2], STEPS);
}

// All steps are done and none is saved yet.
static void in_the_last_evaluation(const setting *x, const float *want) {
    seen s = {0};
    hy_train_point p;
    hy_trainer *t = trainer(x);
    for (int i = 0; i < STEPS; i++) assert_int_equal(hy_trainer_step(t, &p), HY_OK);
    hy_interrupted = 2;
    assert_int_equal(run(x, t, &s), HY_EINTR);
    hy_interrupted = 0;
    hy_trainer_free(t);
    s = goes_on(x, STEPS, want);
    assert_int_equal(s.n_evals, 1);
}

// The steps are kept of a run that finds no memory to evaluate them, whether on the way or at the end.
static void without_memory_to_evaluate(const setting *x, long step, const float *want) {
    seen s = {.no_memory_at = step};
    hy_trainer *t = trainer(x);
    assert_int_equal(run(x, t, &s), HY_ENOMEM);
    assert_string_equal(hy_error_text(), "no memory");
    assert_int_equal(s.n_saves, 1);
    hy_trainer_free(t);
    s = goes_on(x, step, want);
    assert_int_equal(s.evals[0], step);
}

static void interrupted_evaluations(void **unused) {
    (void)unused;
    setting x;
    seen s = {0};
    open_setting(&x);
    hy_trainer *t = trainer(&x);
    assert_int_equal(run(&x, t, &s), HY_OK);
    float *want = weights(&x, t);
    hy_trainer_free(t);
    unlink(x.path);
    in_a_periodic_evaluation(&x, want);
    in_the_last_evaluation(&x, want);
    without_memory_to_evaluate(&x, EVERY, want);
    without_memory_to_evaluate(&x, STEPS, want);
    free(want);
    close_setting(&x);
}

// A fresh trainer run to its end; returns how it ended.
static hy_status train(const setting *x, seen *s) {
    hy_trainer *t = trainer(x);
    const hy_status st = run(x, t, s);
    hy_trainer_free(t);
    return st;
}

static void checkpoints_by_time(void **unused) {
    (void)unused;
    setting x;
    open_setting(&x);
    x.spec.eval_every = 0;
    seen s = {.step_seconds = 0.02};
    x.spec.save_seconds = 0.01;
    assert_int_equal(train(&x, &s), HY_OK);
    assert_int_equal(s.n_saves, STEPS);  // after each step but the last, and at the end
    s = (seen){.step_seconds = 0.04};
    x.spec.save_seconds = 0.06;
    assert_int_equal(train(&x, &s), HY_OK);
    assert_true(s.gap > 0.05);  // after every other step at most: the time counts from the last save
    s = (seen){.step_seconds = 0.02};
    x.spec.save_seconds = 0;
    assert_int_equal(train(&x, &s), HY_OK);
    assert_int_equal(s.n_saves, 1);
    // how often it is saved does not make it another run
    x.spec.save_seconds = 7;
    hy_trainer *t = trainer(&x);
    if (hy_trainer_load(t, x.path)) fail_msg("%s", hy_error_text());
    hy_trainer_free(t);
    close_setting(&x);
}

static void one_evaluation_at_the_end(void **unused) {
    (void)unused;
    setting x;
    open_setting(&x);
    seen s = {0};
    x.spec.stop_accuracy = 1e-9, x.spec.eval_examples = 0;  // of so many examples some are right by chance, soon
    x.spec.steps = 60, x.spec.lr = 1e-2;
    assert_int_equal(train(&x, &s), HY_OK);
    assert_in_range(s.steps, EVERY, 58);
    assert_int_equal(s.n_evals, s.steps / EVERY);  // the one that ended the training is that of its end
    x.spec.steps = STEPS;
    x.spec.stop_accuracy = 0;
    x.spec.eval_every = 0;
    s = (seen){0};
    assert_int_equal(train(&x, &s), HY_OK);
    assert_int_equal(s.n_evals, 0);  // nobody asks for one
    close_setting(&x);
}

static void ruined_weights(void **unused) {
    (void)unused;
    setting x;
    open_setting(&x);
    x.spec.steps = 1, x.spec.eval_every = 0, x.spec.lr = 1e12, x.spec.clip = 0, x.spec.warmup = 0;
    x.spec.schedule = HY_SCHED_CONSTANT;
    seen s = {0};
    assert_int_equal(train(&x, &s), HY_EDIVERGED);  // the step itself is finite; what it leaves is not
    assert_int_equal(s.steps, 1);
    assert_non_null(strstr(hy_error_text(), "step 1 of 1: the loss of example"));
    assert_int_equal(hy_status_exit(HY_EDIVERGED), 1);
    close_setting(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(interrupted_evaluations), cmocka_unit_test(checkpoints_by_time),
                                       cmocka_unit_test(one_evaluation_at_the_end), cmocka_unit_test(ruined_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
