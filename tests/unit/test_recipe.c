// test_recipe.c - the training step against plain_recipe.h, the same stated a second time. Besides: which examples end
// a training, and where. Epochs: test_epochs.c.
#include <unistd.h>

#include "tests/unit/plain_recipe.h"

// ---------------------------------------------------------------------------------------------------- learning rate
// Points that one can work out by head.
static void learning_rates(void **state) {
    (void)state;
    static const struct {
        const char *recipe;
        int step;
        double share;
    } points[] = {
        {"schedule=constant steps=10 warmup=0", 1, 1},
        {"schedule=constant steps=10 warmup=0", 10, 1},
        {"schedule=constant steps=10 warmup=0.4 min_lr=0.5", 1, 0.25},
        {"schedule=constant steps=10 warmup=0.4 min_lr=0.5", 3, 0.75},
        {"schedule=constant steps=10 warmup=0.4 min_lr=0.5", 4, 1},  // the warm-up is over when the peak is reached
        {"schedule=constant steps=10 warmup=0.4 min_lr=0.5", 10, 1},
        {"schedule=constant steps=10 warmup=1", 7, 0.7},
        {"schedule=constant steps=10 warmup=1", 10, 1},
        {"schedule=linear steps=10 warmup=0", 1, 0.9},
        {"schedule=linear steps=10 warmup=0", 9, 0.1},
        {"schedule=linear steps=10 warmup=0", 10, 0},
        {"schedule=linear steps=10 warmup=0.2", 1, 0.5},
        {"schedule=linear steps=10 warmup=0.2", 2, 1},
        {"schedule=linear steps=10 warmup=0.2", 6, 0.5},
        {"schedule=linear steps=10 warmup=0.2 min_lr=0.2", 6, 0.6},
        {"schedule=linear steps=10 warmup=0.2 min_lr=0.2", 10, 0.2},
        {"schedule=cosine steps=12 warmup=0", 3, 0.8535533905932737},  // (1 + cos(pi / 4)) / 2
        {"schedule=cosine steps=12 warmup=0", 4, 0.75},
        {"schedule=cosine steps=12 warmup=0", 6, 0.5},
        {"schedule=cosine steps=12 warmup=0", 8, 0.25},
        {"schedule=cosine steps=12 warmup=0", 12, 0},
        {"schedule=cosine steps=12 warmup=0.5 min_lr=0.1", 3, 0.5},
        {"schedule=cosine steps=12 warmup=0.5 min_lr=0.1", 6, 1},
        {"schedule=cosine steps=12 warmup=0.5 min_lr=0.1", 8, 0.775},
        {"schedule=cosine steps=12 warmup=0.5 min_lr=0.1", 12, 0.1},
        {"schedule=cosine steps=1 warmup=0 min_lr=0.3", 1, 0.3},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4", 1, 0.5},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4", 2, 1},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4", 6, 1},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4", 7, 0.75},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4", 9, 0.25},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4", 10, 0},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4 min_lr=0.2", 8, 0.6},
        {"schedule=wsd steps=10 warmup=0.2 decay=0.4 min_lr=0.2", 10, 0.2},
        {"schedule=wsd steps=10 warmup=0 decay=0", 10, 1},
        {"schedule=wsd steps=10 warmup=0 decay=1", 1, 0.9},
        {"schedule=wsd steps=10 warmup=0.5 decay=0.5", 5, 1},
        {"schedule=wsd steps=10 warmup=0.5 decay=0.5", 6, 0.8},
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        hy_train_spec r = recipe_of(points[i].recipe);
        r.lr = 0.004;
        need(hy_train_check(&r));
        const double got = hy_train_lr(&r, points[i].step), want = 0.004 * points[i].share;
        if (!(fabs(got - want) <= 1e-15))
            fail_msg("%s, step %d: %.17g, not %.17g", points[i].recipe, points[i].step, got, want);
    }
}

// Everywhere as stated above; where a recipe is accepted, the peak is never passed, and no step falls further than the
// falling part does in one step.
static void every_learning_rate(void **state) {
    (void)state;
    static const int steps[] = {1, 2, 3, 7, 40, 41, 1000};
    static const double shares[] = {0, 0.01, 0.05, 0.2, 1 / 3.0, 0.5, 0.8, 0.95, 1}, floors[] = {0, 0.1, 1};
    hy_train_spec r = recipe_of("lr=0.004");
    int accepted = 0, refused = 0;
    for (int c = 0; c < 7 * 9 * 9 * 3 * 4; c++) {
        r.steps = steps[c % 7];
        r.warmup = shares[c / 7 % 9];
        r.decay = shares[c / 63 % 9];
        r.min_lr = floors[c / 567 % 3];
        r.schedule = (hy_schedule)(c / 1701);
        if (hy_train_check(&r)) {
            refused++;
            continue;
        }
        accepted++;
        const bool wsd = r.schedule == HY_SCHED_WSD;
        const double N = r.steps, falls = wsd ? fmax(1, r.decay * N) : fmax(1, N - r.warmup * N);
        for (int s = 1; s <= r.steps; s++) {
            const double got = hy_train_lr(&r, s), before = s > 1 ? hy_train_lr(&r, s - 1) : 0;
            if (!(fabs(got - lr_of(&r, s)) <= TOL_SAME * r.lr && got <= r.lr * (1 + 1e-15) &&
                  before - got <= 1.6 * r.lr / falls + 1e-15))
                fail_msg(
                    "schedule %d, steps %d, warmup %g, decay %g, min_lr %g: step %d has %.17g after %.17g, not %.17g",
                    (int)r.schedule, r.steps, r.warmup, r.decay, r.min_lr, s, got, before, lr_of(&r, s));
        }
    }
    assert_true(accepted > 3000 && refused > 500);
}

static void parts_that_overlap(void **state) {
    (void)state;
    static const struct {
        const char *recipe, *says[4];  // none: accepted
    } cases[] = {
        {"schedule=wsd warmup=0.5 decay=0.75", {"warmup 0.5", "decay 0.75", "overlap"}},
        {"schedule=wsd warmup=0.3 decay=0.71", {"warmup 0.3", "decay 0.71"}},
        {"schedule=wsd warmup=1", {"warmup 1", "decay 0.2"}},  // the default decay
        {"schedule=wsd warmup=0.3 decay=0.7", {NULL}},
        {"schedule=wsd warmup=0.9 decay=0.1", {NULL}},
        {"schedule=wsd warmup=1 decay=0", {NULL}},
        {"schedule=cosine warmup=1", {"warmup 1", "steps 400", "schedule cosine"}},
        {"schedule=linear warmup=1", {"warmup 1", "steps 400", "schedule linear"}},
        {"schedule=linear warmup=0.99 steps=40", {"warmup 0.99", "steps 40"}},  // a peak that no step reaches
        {"schedule=linear warmup=0.975 steps=40", {NULL}},                      // step 39 does
        {"schedule=cosine warmup=0.5 decay=0.75", {NULL}},                      // decay is wsd's alone
        {"schedule=constant warmup=1", {NULL}},
        {"schedule=cosine steps=1", {NULL}},
    };
    hy_program *p = program_of("name: one\nvocab: 20\nd_model: 8\nlayers: 1\nattention: {heads: 2}\n");
    hy_task *task = task_of("mqar", "vocab: 20\ntrain: [[8, 1]]\ntest: [[8, 1]]", 1);
    const hy_backend be = reference();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hy_train_spec r = recipe_of(cases[i].recipe);
        hy_trainer *t = NULL;
        const hy_status s = hy_trainer_create(p, &be, HY_F64, &r, task, 1, &t);
        if ((s == HY_EINPUT) != (cases[i].says[0] != NULL)) fail_msg("%s: status %d", cases[i].recipe, (int)s);
        for (int k = 0; cases[i].says[k]; k++) assert_error(cases[i].says[k]);
        hy_trainer_free(t);
    }
    hy_task_close(task);
    hy_program_free(p);
}

// ---------------------------------------------------------------------------------------------------- the step
static const char task_options[] = "vocab: 20\ntrain: [[8, 1], [16, 3]]\nweights: [1, 1]\ntest: [[8, 1]]";

// Of every model with every recipe.
static void steps_as_defined(void **state) {
    (void)state;
    static const struct {
        const char *recipe;
        int clipped;  // steps that are clipped: 0 none, 1 some or all, -1 either
    } cases[] = {
        {"steps=6 batch=2 lr=0.02 clip=0", 0},
        {"steps=12 batch=3 lr=0.02 schedule=wsd warmup=0.25 decay=0.5 accumulate=3 clip=0.3 weight_decay=0.7", 1},
        {"steps=7 batch=1 accumulate=4 lr=0.01 schedule=linear min_lr=0.2 warmup=0 beta1=0.7 beta2=0.999 clip=1e9", 0},
        {"steps=5 batch=4 lr=0.05 schedule=constant warmup=0.6 eps=0.01 weight_decay=0 clip=0.05", 1},
        {"steps=5 batch=2 accumulate=2 lr=0.01 beta1=0 beta2=0 eps=0.1 weight_decay=3 min_lr=1", -1},
        {"steps=4 batch=2 lr=0.02 clip=0 weight_decay=2 weight_decay_on=all", 0},
    };
    hy_task *task = task_of("mqar", task_options, 5);
    int mixed = 0;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++)
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            const hy_train_spec r = recipe_of(cases[c].recipe);
            const int clipped = steps_of(models[k], &r, task, 9 + k, cases[c].recipe, &mixed);
            if (cases[c].clipped >= 0 && (clipped > 0) != (cases[c].clipped > 0))
                fail_msg("%s: %d steps were clipped", cases[c].recipe, clipped);
        }
    assert_true(mixed > 20);  // unequal numbers of labels were met
    hy_task_close(task);
}

// ---------------------------------------------------------------------------------------------------- early stopping
static const char learner[] =
    "name: learner\nvocab: 20\nd_model: 16\nlayers: 1\ninit: {std: 0.2}\nattention: {heads: 2}\nmlp: {d_ff: 16}\n";
static const char learned[] =
    "vocab: 20\ntrain: [[8, 1]]\ntest: [[8, 1], [12, 2]]\ntest_examples: [9, 7]\ntrain_examples: 0";

// Mean accuracy over the examples of a split, the largest logit of each labelled position looked up.
static double accuracy_of(const hy_program *p, hy_params *w, const hy_task *task, hy_split split, int most) {
    double sum = 0;
    int n = 0;
    hy_exec *e;
    need(hy_exec_create(p, w->be, w->compute, HY_EXEC_INFER, 1, LONGEST, LONGEST, &e));
    for (int c = 0; c < hy_task_cells(task, split); c++)
        for (int64_t i = 0; i < hy_task_cell(task, split, c)->count && (!most || i < most); i++, n++) {
            int32_t ids[LONGEST], labels[LONGEST], rows[LONGEST];
            const int T = hy_task_cell(task, split, c)->T, V = p->spec.vocab;
            int right = 0, labelled = 0;
            need(hy_task_example(task, split, c, i, ids, labels));
            for (int t = 0; t < T; t++) rows[t] = t;
            const hy_batch b = {.B = 1, .T = T, .ids = ids, .out_rows = rows, .n_out = T};
            need(hy_exec_forward(e, w, &b, NULL, HY_HEAD_LOGITS, NULL));
            const float *l = hy_exec_logits(e);
            for (int t = 0; t < T; t++) {
                int best = 0;
                for (int k = 1; k < V; k++)
                    if (l[t * V + k] > l[t * V + best]) best = k;
                if (labels[t] >= 0) right += best == labels[t], labelled++;
            }
            sum += (double)right / labelled;
        }
    hy_exec_free(e);
    return sum / n;
}

typedef struct {
    int n;
    long at[32];
    double accuracy[32];
} looks;

static hy_status on_eval(void *user, long step, const hy_eval *e) {
    looks *l = user;
    l->at[l->n] = step;
    l->accuracy[l->n++] = e->total.accuracy;
    return HY_OK;
}

static looks run(const hy_program *p, const hy_task *task, const hy_train_spec *r, long *end, bool *stopped) {
    hy_trainer *t;
    looks l = {0};
    const hy_backend be = reference();
    const hy_train_watch watch = {.user = &l, .on_eval = on_eval};
    need(hy_trainer_create(p, &be, HY_F64, r, task, 3, &t));
    need(hy_trainer_run(t, &watch, NULL, NULL));
    *end = hy_trainer_step_count(t);
    *stopped = hy_trainer_stopped(t);
    hy_trainer_free(t);
    return l;
}

enum { EVERY = 6, LOOKS = 14 };

// Training ends at the first look at which the tuning examples are answered well enough, whatever those of evaluation
// say; what is reported is the latter.
static void stopped_by_tuning_examples(void **state) {
    (void)state;
    static const double wanted[] = {0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8};
    hy_program *p = program_of(learner);
    hy_task *task = task_of("mqar", learned, 4);
    hy_train_spec r = recipe_of("batch=16 lr=0.02 schedule=constant eval_batch=4");
    r.steps = EVERY * LOOKS;
    double tune[LOOKS], eval[LOOKS];
    hy_trainer *t;
    const hy_backend be = reference();
    need(hy_trainer_create(p, &be, HY_F64, &r, task, 3, &t));
    for (int k = 0; k < LOOKS; k++) {
        hy_train_point at;
        for (int i = 0; i < EVERY; i++) need(hy_trainer_step(t, &at));
        tune[k] = accuracy_of(p, hy_trainer_params(t), task, HY_SPLIT_TUNE, 0);
        eval[k] = accuracy_of(p, hy_trainer_params(t), task, HY_SPLIT_EVAL, 0);
    }
    hy_trainer_free(t);
    r.eval_every = EVERY;
    int differ = 0, early = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int first = 0, other = 0;
        long end;
        bool stopped;
        while (first < LOOKS - 1 && tune[first] < wanted[i]) first++;
        while (other < LOOKS - 1 && eval[other] < wanted[i]) other++;
        r.stop_accuracy = wanted[i];
        const looks l = run(p, task, &r, &end, &stopped);
        if (end != (first + 1) * EVERY || stopped != (tune[first] >= wanted[i]))
            fail_msg("stop_accuracy %g: ended after %ld steps%s, not %d", wanted[i], end, stopped ? ", stopped" : "",
                     (first + 1) * EVERY);
        assert_int_equal(l.n, first + 1);
        for (int k = 0; k < l.n; k++) {
            assert_int_equal(l.at[k], (k + 1) * EVERY);
            assert_true(fabs(l.accuracy[k] - eval[k]) < TOL_SAME);
        }
        differ += first != other;
        early += first < LOOKS - 1;
    }
    assert_true(differ >= 2 && early >= 3);  // the two would not have ended it at the same step
    r.stop_accuracy = 0;
    long end;
    bool stopped;
    assert_int_equal(run(p, task, &r, &end, &stopped).n, LOOKS);
    assert_true(end == EVERY * LOOKS && !stopped);
    hy_task_close(task);
    hy_program_free(p);
}

// eval_examples cuts tuning as it cuts evaluation; a training that is only looked at when it is over has stopped or not
// by that look; a text without a part for tuning cannot be stopped.
static void looks_at_the_end(void **state) {
    (void)state;
    hy_program *p = program_of(learner),
               *bytes = program_of("name: b\nvocab: 256\nd_model: 8\nlayers: 1\nattention: {heads: 1}\n");
    hy_task *task = task_of("mqar", learned, 4);
    hy_train_spec r = recipe_of("batch=16 lr=0.02 schedule=constant steps=30 eval_examples=3");
    hy_trainer *t;
    hy_train_point at;
    const hy_backend be = reference();
    long end;
    bool stopped;
    need(hy_trainer_create(p, &be, HY_F64, &r, task, 3, &t));
    for (int i = 0; i < r.steps; i++) need(hy_trainer_step(t, &at));
    const double few = accuracy_of(p, hy_trainer_params(t), task, HY_SPLIT_TUNE, 3);
    assert_true(few > 0.01 && fabs(few - accuracy_of(p, hy_trainer_params(t), task, HY_SPLIT_TUNE, 0)) > 1e-3);
    hy_trainer_free(t);
    r.stop_accuracy = few - 1e-9;
    assert_int_equal(run(p, task, &r, &end, &stopped).n, 1);
    assert_true(stopped && end == 30);
    r.stop_accuracy = few + 1e-9;
    run(p, task, &r, &end, &stopped);
    assert_true(!stopped && end == 30);
    hy_task_close(task);
    task = task_of("text", "path: tests/data/shakespeare-100k.txt\ntrain: 16\ntest: 16", 1);
    assert_int_equal(hy_trainer_create(bytes, &be, HY_F64, &r, task, 3, &t), HY_EINPUT);
    assert_error("stop_accuracy: task text has no tuning examples");
    hy_task_close(task);
    task = task_of("text", "path: tests/data/shakespeare-100k.txt\ntrain: 16\ntest: 16\ntuning: 0.1", 1);
    need(hy_trainer_create(bytes, &be, HY_F64, &r, task, 3, &t));
    hy_trainer_free(t);
    hy_task_close(task);
    hy_program_free(p), hy_program_free(bytes);
}

static bool same_weights(hy_trainer *a, hy_trainer *b, const hy_program *p) {
    bool same = true;
    for (int i = 0; i < p->n_params; i++) {
        const size_t n = p->params[i].n;
        float *x = hy_xcalloc(2 * n, sizeof *x);
        need(hy_params_get(hy_trainer_params(a), i, false, x));
        need(hy_params_get(hy_trainer_params(b), i, false, x + n));
        same = same && !memcmp(x, x + n, n * sizeof *x);
        free(x);
    }
    return same;
}

static hy_status last_step(void *user, const hy_train_point *p) {
    *(long *)user = p->step;
    return HY_OK;
}

// stop_step: the first steps of the whole course, at its rates, and from there on to its end.
static void part_of_a_course(void **state) {
    (void)state;
    hy_program *p = program_of(learner);
    hy_task *task = task_of("mqar", learned, 4);
    hy_train_spec whole = recipe_of("batch=2 steps=12 warmup=0.2"), part = whole, end = whole;
    const hy_backend be = reference();
    char path[] = "/tmp/hylab-recipe-XXXXXX";
    const int fd = mkstemp(path);
    hy_trainer *a, *b;
    hy_train_point point;
    hy_eval ev;
    long last = 0;
    assert_true(fd >= 0 && !close(fd));
    part.stop_step = 5, end.stop_step = 12;
    need(hy_train_check(&part));
    need(hy_train_check(&end));
    assert_int_equal(part.stop_step, 5);
    assert_int_equal(end.stop_step, 0);
    need(hy_trainer_create(p, &be, HY_F64, &whole, task, 3, &a));
    need(hy_trainer_create(p, &be, HY_F64, &part, task, 3, &b));
    const hy_train_watch watch = {.user = &last, .on_step = last_step};
    need(hy_trainer_run(b, &watch, path, &ev));
    assert_true(last == 5 && hy_trainer_step_count(b) == 5 && ev.n_cells > 0);
    hy_eval_free(&ev);
    for (int s = 1; s <= 5; s++) {
        assert_false(same_weights(a, b, p));
        need(hy_trainer_step(a, &point));
    }
    assert_true(same_weights(a, b, p));
    hy_trainer_free(b);
    need(hy_trainer_create(p, &be, HY_F64, &whole, task, 3, &b));
    need(hy_trainer_load(b, path));
    assert_int_equal(hy_trainer_loaded_steps(b), 5);
    need(hy_trainer_run(b, NULL, NULL, NULL));
    need(hy_trainer_run(a, NULL, NULL, NULL));
    assert_true(hy_trainer_step_count(b) == 12 && same_weights(a, b, p));
    hy_trainer_free(b);
    part.stop_step = 3;
    need(hy_trainer_create(p, &be, HY_F64, &part, task, 3, &b));
    assert_int_equal(hy_trainer_load(b, path), HY_EINPUT);
    assert_error("is at step 5 already, train.stop_step is 3 here");
    hy_trainer_free(a), hy_trainer_free(b);
    part.stop_step = 13;
    assert_int_equal(hy_train_check(&part), HY_EINPUT);
    assert_error("stop_step 13 is beyond steps 12");
    unlink(path);
    hy_task_close(task);
    hy_program_free(p);
}

// A training that evaluation examples would have stopped, as older programs wrote it down, is not gone on with.
static void another_rule_is_another_run(void **state) {
    (void)state;
    hy_program *p = program_of(learner);
    hy_task *task = task_of("mqar", learned, 4);
    const hy_train_spec r = recipe_of("batch=2 steps=4 stop_accuracy=0.5");
    const hy_backend be = reference();
    char path[] = "/tmp/hylab-recipe-XXXXXX", *data, *at;
    const int fd = mkstemp(path);
    size_t n;
    hy_trainer *t;
    hy_train_point point;
    assert_true(fd >= 0 && !close(fd));
    need(hy_trainer_create(p, &be, HY_F64, &r, task, 3, &t));
    need(hy_trainer_step(t, &point));
    need(hy_trainer_save(t, path));
    need(hy_trainer_load(t, path));
    need(hy_file_read(path, 1 << 24, &data, &n));
    assert_non_null(at = memmem(data, n, "stopped_by: tuning", 18));
    memcpy(at, "stopped_by: others", 18);
    need(hy_file_write(path, data, n));
    assert_int_equal(hy_trainer_load(t, path), HY_EINPUT);
    unlink(path);
    free(data);
    hy_trainer_free(t);
    hy_task_close(task);
    hy_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learning_rates),     cmocka_unit_test(every_learning_rate),
        cmocka_unit_test(parts_that_overlap), cmocka_unit_test(part_of_a_course),
        cmocka_unit_test(steps_as_defined),   cmocka_unit_test(stopped_by_tuning_examples),
        cmocka_unit_test(looks_at_the_end),   cmocka_unit_test(another_rule_is_another_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
