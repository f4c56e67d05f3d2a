// test_second_training.c - what is stored of a training, computed a second way: each logged point of the loss curve and
// each evaluation on the way from the weights of that step, the gradient's norm by finite differences, and every time
// by a clock of this test's own, also over interruptions and after a process that was killed.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "analysis/measure/throughput.h"
#include "experiments/runner/training_facts.h"
#include "tests/unit/second_opinion_score.h"

// ---------------------------------------------------------------------------------------------------- the clock
// While it is on, each look at the clock is TICK later than the one before (times 1 + `uneven` of its number mod 3),
// and the look number `interrupt` or `die` interrupts the program or ends it.
#define TICK (1.0 / 64)
static struct {
    bool on, uneven;
    int looks, interrupt, die;
    double now, seen[4096];
} g_clock;

int clock_gettime(clockid_t id, struct timespec *t) {
    if (!g_clock.on || id != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, id, t);
    g_clock.now += TICK * (g_clock.uneven ? 1 + g_clock.looks % 3 : 1);
    g_clock.seen[g_clock.looks % 4096] = g_clock.now;
    g_clock.looks++;
    if (g_clock.looks == g_clock.interrupt) hy_interrupted = 1;
    if (g_clock.looks == g_clock.die) _exit(7);
    t->tv_sec = (time_t)g_clock.now;
    t->tv_nsec = (long)((g_clock.now - (double)t->tv_sec) * 1e9);
    return 0;
}

static void clock_on(bool uneven, int interrupt, int die) {
    memset(&g_clock, 0, sizeof g_clock);
    g_clock.now = 1000, g_clock.uneven = uneven, g_clock.interrupt = interrupt, g_clock.die = die, g_clock.on = true;
}

// ---------------------------------------------------------------------------------------------------- what is run
static const char g_micro[] =
    "layers: 1\nmixer: parallel\nmeta_tokens: 2\nd_model: 4\ninit: {std: 0.5}\nattention: {heads: 2, window: 3}\n"
    "ssm: {expand: 2, d_state: 2, d_conv: 2, dt_rank: 1}\nmlp: {kind: silu, d_ff: 3}\n";
#define EXPERIMENT(name)                                                                                           \
    "name: " name "\nvariant: {vocab: 14}\nvariants:\n  - {name: micro, file: micro.yaml}\n"                       \
    "tasks:\n  - {name: recall, kind: mqar, options: {vocab: 14, train: [[8, 2], [12, 1]], weights: [1, 1],"       \
    " test: [[8, 1], [12, 3]], test_examples: 4}}\nmeasures: {accuracy: false, cache: false, size: true}\nseeds: " \
    "[2]\n"
static const char g_curve[] =
    EXPERIMENT("curve") "train: {steps: 7, batch: 3, accumulate: 2, lr: 2e-2, schedule: linear,"
                        " min_lr: 0.1, warmup: 0, clip: 0.2, log_every: 3, eval_every: 2, save_seconds: 0}\n";
#define LONG_TRAIN "train: {steps: 40, batch: 2, lr: 1e-2, eval_every: 16, save_seconds: 0, "
static const char g_long[] = EXPERIMENT("long") LONG_TRAIN "log_every: 1000}\n";
static const char g_kill[] = EXPERIMENT("kill") LONG_TRAIN "log_every: 23, checkpoint_every: 9}\n";
enum { LONG = 40 };

static int open_all(void **state) {
    if (open_folder(state)) return -1;
    write_file("micro.yaml", g_micro), write_file("curve.yaml", g_curve), write_file("long.yaml", g_long);
    write_file("kill.yaml", g_kill);
    clock_on(false, 0, 0);
    OK(run_experiment("curve.yaml", "curve.db", ""));
    g_clock.on = false;
    return 0;
}

// ---------------------------------------------------------------------------------------------------- the curve
typedef struct {
    hy_backend be;
    hy_program *p;
    hy_trainer *t;
} again;

// The training of a run once more, up to a step.
static void train_again(const subject *s, long steps, again *a) {
    OK(hy_backend_cpu("auto", 1, &a->be));
    OK(hy_model_build(s->spec, &a->p));
    OK(hy_trainer_create(a->p, &a->be, HY_F32, &s->recipe, s->task, (uint64_t)s->seed, &a->t));
    hy_train_point point;
    for (long i = 0; i < steps; i++) OK(hy_trainer_step(a->t, &point));
}

static void end_again(again *a) {
    hy_trainer_free(a->t);
    hy_program_free(a->p);
}

// Mean loss of the labelled positions of all micro-batches of a step (from 1), and the tokens in them.
static double loss_of_step(const subject *s, const plain_weights *w, long step, int *tokens) {
    const int B = s->recipe.batch, most = hy_task_max_len(s->task);
    int32_t *ids = hy_xcalloc(2 * (size_t)B * (size_t)most, sizeof *ids), *labels = ids + B * most;
    double nll = 0;
    int labelled = 0, best, T;
    *tokens = 0;
    for (int k = 0; k < s->recipe.accumulate; k++) {
        OK(hy_task_batch(s->task, (step - 1) * s->recipe.accumulate + k, B, ids, labels, &T));
        *tokens += B * T;
        for (int b = 0; b < B; b++) {
            plain_run r;
            plain_forward(w, ids + b * T, T, &r);
            for (int i = 0; i < T; i++)
                if (labels[b * T + i] >= 0)
                    nll += plain_nll(&r, s->spec->meta_tokens + i, labels[b * T + i], &best), labelled++;
            plain_run_free(&r);
        }
    }
    free(ids);
    return nll / labelled;
}

// Norm of the loss's gradient before any clipping, weight by weight.
static double norm_of_step(const subject *s, plain_weights *w, long step) {
    const double h = 1e-5;
    double squares = 0;
    int tokens;
    for (int i = 0; i < w->n; i++)
        for (size_t k = 0; k < w->t[i].n; k++) {
            double *v = &w->t[i].v[k], kept = *v;
            *v = kept + h;
            const double up = loss_of_step(s, w, step, &tokens);
            *v = kept - h;
            const double slope = (up - loss_of_step(s, w, step, &tokens)) / (2 * h);
            *v = kept;
            squares += slope * slope;
        }
    return sqrt(squares);
}

static void near(const char *what, long step, double got, double wanted, double tolerance) {
    if (!close_to(got, wanted, tolerance, 0)) fail_msg("%s of step %ld: %.9g, wanted %.9g", what, step, got, wanted);
}

static void points_of_the_curve(void **state) {
    (void)state;
    static const long logged[] = {1, 3, 6, 7};  // the first, multiples of log_every, the last
    subject *s = hy_xcalloc(1, sizeof *s);
    hy_store *db = open_db("curve.db");
    hy_query *q;
    bool row;
    int n = 0, clipped = 0;
    open_subject(db, 1, s);
    OK(hy_store_query(db, &q, "SELECT step, loss, lr, grad_norm, tokens_per_s FROM v_curve ORDER BY step", ""));
    for (; hy_query_step(q, &row) == HY_OK && row; n++) {
        assert_true(n < 4);
        const long step = (long)hy_query_int(q, 0);
        again a;
        plain_weights w = {0};
        int tokens;
        assert_int_equal(step, logged[n]);
        train_again(s, step - 1, &a);
        plain_from_params(&w, hy_trainer_params(a.t));
        near("loss", step, hy_query_double(q, 1), loss_of_step(s, &w, step, &tokens), 1e-5);
        near("lr", step, hy_query_double(q, 2), 2e-2 * (1 - 0.9 * (double)step / 7), 1e-12);
        near("gradient norm", step, hy_query_double(q, 3), norm_of_step(s, &w, step), 1e-4);
        near("rate", step, hy_query_double(q, 4), tokens / TICK, 1e-6);  // two looks at the clock
        clipped += hy_query_double(q, 3) > 0.2;
        plain_weights_free(&w);
        end_again(&a);
    }
    assert_int_equal(n, 4);
    assert_true(clipped > 0);
    hy_query_close(q);
    hy_store_close(db);
    close_subject(s);
    free(s);
}

static void evaluations_on_the_way(void **state) {
    (void)state;
    subject *s = hy_xcalloc(1, sizeof *s);
    hy_store *db = open_db("curve.db");
    open_subject(db, 1, s);
    int figures = 0;
    for (long step = 1; step <= 7; step++) {
        again a;
        hy_query *q;
        bool row;
        train_again(s, step, &a);
        drop_weights(s);
        plain_from_params(&s->w, hy_trainer_params(a.t));
        open_examples(s);
        OK(hy_store_query(db, &q, FIGURES "WHERE final = 0 AND step = ?", "l", (int64_t)step));
        for (int here = 0; hy_query_step(q, &row) == HY_OK && row; here++, figures++) {
            figure f;
            read_figure(q, &f);
            if (!here) assert_true(step % 2 == 0 || step == 7);
            const want w = score(s, &f);
            near(f.metric, step, f.value, w.value, 1e-4);
            assert_true(close_to(f.se, w.se, 2e-3, 1e-9) && f.n == w.n && close_to(f.x, w.x, 0, 0));
        }
        hy_query_close(q);
        end_again(&a);
    }
    assert_int_equal(figures, 4 * 3 * 5);  // steps, all and two cells, figures of a score
    hy_store_close(db);
    close_subject(s);
    free(s);
}

// ---------------------------------------------------------------------------------------------------- times
typedef struct {
    double seconds, steps, evaluations, last;
    int looks;  // at the clock, for the whole run
} stored_training;

static stored_training stored_long(const char *db_name) {
    hy_store *db = open_db(db_name);
    const stored_training t = {
        .seconds = sql_number(db, "SELECT value FROM v_metric WHERE metric = 'train_seconds'"),
        .steps = sql_number(db, "SELECT steps FROM v_run"),
        .evaluations =
            sql_number(db, "SELECT count(*) FROM v_metric WHERE metric = 'loss' AND cell = '' AND final = 0"),
        .last = sql_number(db, "SELECT loss FROM v_curve WHERE step = 40"),
        .looks = g_clock.looks};
    assert_int_equal(sql_number(db, "SELECT sum(step NOT IN (1, 23, 40)) FROM v_curve"), 0);
    assert_int_equal(sql_number(db, "SELECT count(*) FROM v_metric WHERE metric = 'train_rate'"), 1);
    hy_store_close(db);
    return t;
}

static void same_training(const stored_training *a, const stored_training *b) {
    assert_true(a->steps == LONG && b->steps == LONG && a->last == b->last);
    assert_true(a->evaluations == 3 && b->evaluations == 3);
    // where one process ended and the next began, a look at the clock more or less
    if (fabs(a->seconds - b->seconds) > 6 * TICK)
        fail_msg("%.4f s, but %.4f s without a break", b->seconds, a->seconds);
}

static void seconds_of_steps(void **state) {
    (void)state;
    clock_on(false, 0, 0);
    OK(run_experiment("long.yaml", "whole.db", ""));
    g_clock.on = false;
    const stored_training t = stored_long("whole.db");
    const double step = t.seconds / LONG / TICK;
    assert_true(step >= 3 && step <= 6);  // a step looks at the clock when it begins, when it ends, when it is told of
}

// Two steps of two seconds, and an evaluation of a hundred after each.
static void evaluations_are_no_training(void **state) {
    (void)state;
    subject *s = hy_xcalloc(1, sizeof *s);
    hy_store *db = open_db("curve.db");
    open_subject(db, 1, s);
    hy_store_close(db);
    const hy_eval e = {.total = {.accuracy = 0.5, .loss = 1, .examples = 2, .labels = 2}, .n_cells = 1};
    clock_on(false, 0, 0);
    hy_training_facts t = {.recipe = &s->recipe, .task = s->task, .last_time = hy_now()};
    for (long step = 1; step <= 2; step++) {
        const hy_train_point p = {.step = step, .loss = 1};
        g_clock.now += 2;
        hy_training_step(&t, &p);
        g_clock.now += 100;
        assert_true(hy_training_eval(&t, step, &e) && !hy_training_eval(&t, step, &e));
    }
    g_clock.on = false;
    assert_true(t.seconds >= 4 && t.seconds < 4 + 8 * TICK);
    hy_facts_free(&t.facts);
    close_subject(s);
    free(s);
}

static void seconds_over_interruptions(void **state) {
    (void)state;
    clock_on(false, 0, 0);
    OK(run_experiment("long.yaml", "a.db", ""));
    const stored_training whole = stored_long("a.db");
    for (int part = 2; part < 8; part += 2) {  // interrupted there, and again later
        char name[32];
        snprintf(name, sizeof name, "part%d.db", part);
        for (int from = 0; from < 2; from++) {
            clock_on(false, from ? 25 : whole.looks * part / 8, 0);
            assert_int_equal(run_experiment("long.yaml", name, ""), HY_EINTR);
            hy_interrupted = 0;
        }
        clock_on(false, 0, 0);
        OK(run_experiment("long.yaml", name, ""));
        const stored_training t = stored_long(name);
        same_training(&whole, &t);
    }
    g_clock.on = false;
}

// The log that a run keeps beside its checkpoint.
static bool logged(const char *db, const char *line) {
    char *command = hy_asprintf("grep -q '^%s ' '%s/%s.work/'*.log", line, g_dir, db);
    const bool is = system(command) == 0;
    free(command);
    return is;
}

// What a killed process did after its last checkpoint is done again, and counts once.
static void seconds_after_a_kill(void **state) {
    (void)state;
    clock_on(false, 0, 0);
    OK(run_experiment("kill.yaml", "b.db", ""));
    const stored_training whole = stored_long("b.db");
    g_clock.on = false;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        clock_on(false, 0, whole.looks * 13 / 20);
        run_experiment("kill.yaml", "killed.db", "");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_true(logged("killed.db", "s 18") && logged("killed.db", "p 23") && !logged("killed.db", "s 27"));
    clock_on(false, 0, 0);
    OK(run_experiment("kill.yaml", "killed.db", ""));
    g_clock.on = false;
    const stored_training t = stored_long("killed.db");
    same_training(&whole, &t);
    assert_true(t.looks < whole.looks);  // it went on from a checkpoint
}

// ---------------------------------------------------------------------------------------------------- throughput
// Repetitions by the clock: warm-up is not among them, meta tokens are not counted, a repetition of decoding is so many
// tokens of each sequence.
static void tokens_and_repetitions(void **state) {
    (void)state;
    enum { WARM = 2, REPS = 5, B = 3, T = 6, DECODED = 4 };
    subject *s = hy_xcalloc(1, sizeof *s);
    hy_store *db = open_db("curve.db");
    open_subject(db, 1, s);
    again a;
    train_again(s, 0, &a);
    for (int kind = HY_TP_TRAIN; kind <= HY_TP_DECODE; kind++) {
        const hy_tp_spec spec = {
            .kind = (hy_tp_kind)kind, .batch = B, .context = T, .reps = REPS, .warmup = WARM, .tokens = DECODED};
        hy_tp_result r;
        clock_on(true, 0, 0);
        OK(hy_throughput_measure(a.p, hy_trainer_params(a.t), &spec, &r));
        g_clock.on = false;
        assert_int_equal(r.n, REPS);
        assert_int_equal(g_clock.looks, WARM + 2 * REPS);
        for (int i = 0; i < REPS; i++) {
            const double took = g_clock.seen[WARM + 2 * i + 1] - g_clock.seen[WARM + 2 * i];
            near("a rate", i, r.rate[i], B * (kind == HY_TP_DECODE ? DECODED : T) / took, 1e-6);
        }
        hy_throughput_free(&r);
    }
    end_again(&a);
    hy_store_close(db);
    close_subject(s);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_of_the_curve),        cmocka_unit_test(evaluations_on_the_way),
        cmocka_unit_test(seconds_of_steps),           cmocka_unit_test(evaluations_are_no_training),
        cmocka_unit_test(seconds_over_interruptions), cmocka_unit_test(seconds_after_a_kill),
        cmocka_unit_test(tokens_and_repetitions),
    };
    return cmocka_run_group_tests_name("second training", tests, open_all, remove_folder);
}
