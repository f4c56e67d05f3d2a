// test_record.c - models and measurements in the results database: the rules of claiming and settling, what a model
// that is made again leaves and takes, processes that die or work at once, experiments and the views over all of it.
#include "store_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "results/identity.h"

static hy_store *open_store(void) {
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    return s;
}

// ---------------------------------------------------------------------------------------------------- models
static void test_claim_and_settle(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t a, b;
    assert_int_equal(claim_model(s, "k", 0, &a), HY_CLAIM_NEW);
    assert_int_equal(claim_model(s, "k", 0, &b), HY_CLAIM_BUSY);  // this very process lives
    assert_int_equal(a, b);
    assert_int_equal(claim_model(s, "k", HY_CLAIM_FORCE, &b), HY_CLAIM_BUSY);
    NUMBER(s, "SELECT count(*) FROM v_curve", 0);
    settle_model(s, a, 2.5, "k.safetensors", "hash", NULL);
    assert_int_equal(claim_model(s, "k", 0, &b), HY_CLAIM_DONE);
    assert_int_equal(claim_model(s, "k", HY_CLAIM_RETRY_FAILED | HY_CLAIM_WEIGHTS, &b), HY_CLAIM_DONE);
    assert_int_equal(a, b);
    NUMBER(s, "SELECT count(*) FROM v_curve", 2);
    NUMBER(s, "SELECT steps FROM v_run", 10);
    NUMBER(s, "SELECT count(*) FROM v_measurement WHERE measure = 'training' AND status = 'done'", 1);
#define PROVENANCE(t)                                                                                                  \
    t ".git_commit, " t ".git_dirty, " t ".build, " t ".host, " t ".device_name, " t ".threads, " t ".kernel_path, " t \
      ".started, " t ".ended, " t ".resumes"
    NUMBER(s,
           "SELECT x.ended IS NOT NULL AND (" PROVENANCE("x") ") IS (" PROVENANCE(
               "m") ")"
                    " FROM measurement x, model m WHERE x.model_id = m.id",
           1);  // of the training: that of the model
#undef PROVENANCE
    assert_int_equal(claim_model(s, "k", HY_CLAIM_FORCE, &b), HY_CLAIM_NEW);
    assert_int_not_equal(a, b);
    assert_int_equal(claim_model(s, "k", 0, &a), HY_CLAIM_DONE);  // while the forced one trains the old one answers
    settle_model(s, b, 2.25, NULL, NULL, NULL);
    NUMBER(s, "SELECT count(*) FROM model WHERE superseded_by IS NULL", 1);
    NUMBER(s, "SELECT count(*) FROM curve", 4);  // the old figures are still there
    NUMBER(s, "SELECT 100 * loss FROM v_curve WHERE step = 10", 225);
    NUMBER(s, "SELECT count(DISTINCT run_id) FROM v_param WHERE path = 'd_model'", 1);  // as v_run: the current one
    assert_int_equal(hy_model_settle(s, b, NULL, NULL, NULL, NULL), HY_EFAIL);          // not twice
    NUMBER(s, "SELECT count(*) FROM model", 2);
    hy_store_close(s);
}

static void test_failed_and_interrupted(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t a, b;
    claim_model(s, "k", 0, &a);
    OK(hy_model_interrupt(s, a, 7, "ctrl-C"));
    NUMBER(s, "SELECT steps FROM model", 7);
    NUMBER(s, "SELECT error = 'ctrl-C' AND status = 'interrupted' FROM v_run", 1);
    hy_model_record other = model("k", 1);
    other.by =
        (hy_provenance){.commit = "def", .build = "c", .dirty = true, .device_name = "another cpu", .threads = 2};
    hy_claim c;
    OK(hy_model_claim(s, &other, 0, &c, &b));
    assert_int_equal(c, HY_CLAIM_RESUMED);
    assert_int_equal(a, b);
    NUMBER(s, "SELECT resumes FROM model", 1);
    NUMBER(s,
           "SELECT git_commit = 'def' AND build = 'c' AND git_dirty AND device_name = 'another cpu' AND threads = 2"
           " AND error IS NULL AND ended IS NULL FROM v_run",
           1);  // who goes on with what made the result
    OK(hy_model_interrupt(s, a, 0, "ctrl-C before the checkpoint was read"));
    NUMBER(s, "SELECT steps FROM model", 7);
    assert_int_equal(claim_model(s, "k", 0, &b), HY_CLAIM_RESUMED);
    settle_model(s, a, 3, NULL, NULL, "diverged at step 3");
    assert_int_equal(claim_model(s, "k", 0, &b), HY_CLAIM_FAILED);
    assert_int_equal(claim_model(s, "k", HY_CLAIM_WEIGHTS, &b), HY_CLAIM_FAILED);
    NUMBER(s, "SELECT count(*) FROM v_metric", 0);  // what it found on the way is no result
    NUMBER(s, "SELECT count(*) FROM v_curve", 0);
    NUMBER(s, "SELECT count(*) FROM curve", 2);
    assert_int_equal(claim_model(s, "k", HY_CLAIM_RETRY_FAILED, &b), HY_CLAIM_NEW);
    assert_int_not_equal(a, b);
    settle_model(s, b, 2, NULL, NULL, NULL);
    assert_int_equal(claim_model(s, "k", HY_CLAIM_RETRY_FAILED, &a), HY_CLAIM_DONE);
    NUMBER(s, "SELECT count(*) FROM v_run", 1);
    NUMBER(s, "SELECT count(*) FROM v_model", 2);
    hy_store_close(s);
}

// What is done is not undone by an attempt that fails.
static void test_failed_again(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t a, b, m, n;
    claim_model(s, "k", 0, &a);
    settle_model(s, a, 2, NULL, NULL, NULL);
    claim_measure(s, a, "", 0, &m);
    settle_measure(s, m, 0.5, NULL);
    assert_int_equal(claim_model(s, "k", HY_CLAIM_WEIGHTS, &b), HY_CLAIM_NEW);
    settle_model(s, b, 3, NULL, NULL, "no memory");
    NUMBER(s, "SELECT run_id FROM v_run", a);
    NUMBER(s, "SELECT superseded_by FROM model WHERE status = 'failed'", a);
    assert_int_equal(claim_measure(s, a, "", HY_CLAIM_FORCE, &n), HY_CLAIM_NEW);
    settle_measure(s, n, 0.1, "no memory");
    NUMBER(s, "SELECT 100 * value FROM v_final WHERE metric = 'accuracy'", 50);
    assert_int_equal(claim_measure(s, a, "", 0, &n), HY_CLAIM_DONE);
    assert_int_equal(m, n);
    hy_store_close(s);
}

static void test_weights(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t a, b;
    char *weights, *hash;
    claim_model(s, "k", 0, &a);
    settle_model(s, a, 2, "k-1-cpu.safetensors", "h1", NULL);
    OK(hy_model_weights(s, a, &weights, &hash));
    assert_string_equal(weights, "k-1-cpu.safetensors");
    assert_string_equal(hash, "h1");
    free(weights), free(hash);
    OK(hy_model_weights_gone(s, a));
    OK(hy_model_weights(s, a, &weights, &hash));
    assert_true(!weights && !hash);
    NUMBER(s, "SELECT weights IS NULL FROM v_run", 1);
    assert_int_equal(claim_model(s, "k", 0, &b), HY_CLAIM_DONE);  // who needs no weights trains nothing
    hy_claim c;
    OK(hy_model_peek(s, "k", 1, "cpu", HY_CLAIM_WEIGHTS, &c, &b));
    assert_int_equal(c, HY_CLAIM_NEW);
    assert_int_equal(claim_model(s, "k", HY_CLAIM_WEIGHTS, &b), HY_CLAIM_NEW);
    settle_model(s, b, 2, "k-1-cpu.safetensors", "h1", NULL);
    NUMBER(s, "SELECT count(*) FROM model WHERE weights IS NOT NULL", 1);  // one file, one owner
    hy_store_close(s);
}

// A model that is made again takes the measurements of the earlier one if it is that one bit by bit, and only then.
static void test_made_again(void **state) {
    (void)state;
    static const struct {
        const char *old_hash, *new_hash;
        double old_loss, new_loss;
        bool same;
    } cases[] = {{"h1", "h1", 2, 2, true}, {"h1", "h2", 2, 2, false},  // the same curve, other weights
                 {NULL, "h2", 2, 2, true}, {NULL, "h2", 2, 2.0000001, false},
                 {"h1", NULL, 2, 2, true}, {"h1", NULL, 2, 3, false}};
    hy_store *s = open_store();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%zu", i);
        int64_t a, b, m, n;
        claim_model(s, key, 0, &a);
        settle_model(s, a, cases[i].old_loss, NULL, cases[i].old_hash, NULL);
        claim_measure(s, a, "", 0, &m);
        settle_measure(s, m, 0.5, NULL);
        assert_int_equal(claim_model(s, key, HY_CLAIM_WEIGHTS, &b), HY_CLAIM_NEW);
        settle_model(s, b, cases[i].new_loss, "w", cases[i].new_hash, NULL);
        if (claim_measure(s, b, "", 0, &n) != (cases[i].same ? HY_CLAIM_DONE : HY_CLAIM_NEW)) fail_msg("case %zu", i);
        if (cases[i].same) assert_int_equal(m, n);
        char *sql =
            hy_asprintf("SELECT count(*) FROM v_metric WHERE run_id = %lld AND metric = 'accuracy'", (long long)b);
        NUMBER(s, sql, cases[i].same);
        free(sql);
    }
    NUMBER(s, "SELECT count(*) FROM v_measurement WHERE measure = 'training'", 6);  // one for each model, its own
    NUMBER(s, "SELECT count(*) FROM measurement WHERE measure = 'training'", 12);
    hy_store_close(s);
}

// Training that stops after fewer steps is another model, even where the steps agree that both have.
static void test_other_steps(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t a, b, m;
    claim_model(s, "k", 0, &a);
    settle_model(s, a, 2, NULL, NULL, NULL);
    claim_measure(s, a, "", 0, &m);
    settle_measure(s, m, 0.5, NULL);
    claim_model(s, "k", HY_CLAIM_FORCE, &b);
    hy_facts f = {.steps = 1};
    hy_facts_curve(&f, &(hy_curve_point){1, 3.5, 1e-3, 1, 100});
    OK(hy_model_settle(s, b, &f, NULL, NULL, NULL));
    hy_facts_free(&f);
    assert_int_equal(claim_measure(s, b, "", 0, &m), HY_CLAIM_NEW);
    hy_store_close(s);
}

// Without hashes and without a loss that both have, only models of no steps are known to be the same.
static void test_no_curve(void **state) {
    (void)state;
    hy_store *s = open_store();
    for (int steps = 0; steps < 2; steps++) {
        const hy_facts f = {.steps = steps};
        int64_t a, b, m;
        claim_model(s, steps ? "trained" : "drawn", 0, &a);
        OK(hy_model_settle(s, a, &f, NULL, NULL, NULL));
        claim_measure(s, a, "", 0, &m);
        settle_measure(s, m, 0.5, NULL);
        claim_model(s, steps ? "trained" : "drawn", HY_CLAIM_FORCE, &b);
        OK(hy_model_settle(s, b, &f, NULL, NULL, NULL));
        assert_int_equal(claim_measure(s, b, "", 0, &m), steps ? HY_CLAIM_NEW : HY_CLAIM_DONE);
    }
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- measurements
static void test_measurements(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t id, a, b, other;
    claim_model(s, "k", 0, &id);
    settle_model(s, id, 2, NULL, NULL, NULL);
    assert_int_equal(claim_measure(s, id, "examples: 4\n", 0, &a), HY_CLAIM_NEW);
    assert_int_equal(claim_measure(s, id, "examples: 4\n", 0, &b), HY_CLAIM_BUSY);
    assert_int_equal(claim_measure(s, id, "examples: 8\n", 0, &other),
                     HY_CLAIM_NEW);  // other options are another measurement
    settle_measure(s, a, 0.5, NULL);
    assert_int_equal(claim_measure(s, id, "examples: 4\n", HY_CLAIM_RETRY_FAILED, &b), HY_CLAIM_DONE);
    assert_int_equal(a, b);
    NUMBER(s, "SELECT min + max + repetitions FROM v_timing", 13);
    NUMBER(s, "SELECT length(data) FROM v_artifact WHERE layer = 1 AND kind = 'ssm' AND head IS NULL", 16);
    NUMBER(s,
           "SELECT count(*) FROM v_metric WHERE layer IS NULL AND kind IS NULL AND measure = 'accuracy' AND options = "
           "'examples: 4\n'",
           2);
    OK(hy_measurement_interrupt(s, other, "ctrl-C"));
    assert_int_equal(claim_measure(s, id, "examples: 8\n", 0, &b), HY_CLAIM_RESUMED);
    settle_measure(s, other, 0.9, "the machine had no memory left");  // costs this measurement, not the model
    NUMBER(s, "SELECT status = 'done' AND error IS NULL FROM v_run", 1);
    NUMBER(s, "SELECT count(*) FROM v_metric WHERE metric = 'accuracy'", 1);
    NUMBER(s, "SELECT count(*) FROM metric", 5);
    assert_int_equal(claim_measure(s, id, "examples: 8\n", 0, &b), HY_CLAIM_FAILED);
    assert_int_equal(claim_measure(s, id, "examples: 8\n", HY_CLAIM_RETRY_FAILED, &b), HY_CLAIM_NEW);
    settle_measure(s, b, 0.75, NULL);
    NUMBER(s, "SELECT 100 * max(value) FROM v_final WHERE metric = 'accuracy'", 75);
    assert_int_equal(claim_measure(s, id, "examples: 8\n", HY_CLAIM_FORCE, &b), HY_CLAIM_NEW);
    settle_measure(s, b, 0.25, NULL);
    NUMBER(s, "SELECT 100 * min(value) FROM v_final WHERE metric = 'accuracy'", 25);
    NUMBER(s, "SELECT count(*) FROM v_final WHERE metric = 'accuracy'", 2);
    hy_measurement_record again = {
        .model_id = id, .measure = "accuracy", .version = 2, .options = "examples: 4\n", .task = "kind: mqar\n"};
    hy_claim c;
    OK(hy_measurement_claim(s, &again, 0, &c, &b));
    assert_int_equal(c, HY_CLAIM_NEW);  // another version
    again.version = 1;
    again.task = "kind: mqar\ntest: 7\n";
    OK(hy_measurement_claim(s, &again, 0, &c, &b));
    assert_int_equal(c, HY_CLAIM_NEW);  // another task
    hy_store_close(s);
}

// What is measured of a model whose training is not at its end, or failed later, is no result.
static void test_unfinished_model(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t id, m;
    claim_model(s, "k", 0, &id);
    claim_measure(s, id, "", 0, &m);
    settle_measure(s, m, 0.5, NULL);
    static const char *const views[] = {"v_metric", "v_final", "v_timing", "v_artifact", "v_curve", "v_result"};
    for (int end = 0; end < 2; end++) {
        for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
            char *sql = hy_asprintf("SELECT count(*) FROM %s", views[i]);
            NUMBER(s, sql, 0);
            free(sql);
        }
        if (!end) settle_model(s, id, 2, NULL, NULL, "diverged");
    }
    NUMBER(s, "SELECT count(*) FROM v_measurement WHERE status = 'done'", 1);
    hy_store_close(s);
}

static void test_wrong_facts_store_nothing(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t id, m;
    claim_model(s, "k", 0, &id);
    hy_facts f = {0};
    hy_facts_add(&f, "accuracy", "", 1);
    hy_facts_add(&f, "accuracy", "", 1);  // the same fact twice breaks a rule of the schema
    assert_int_equal(hy_model_settle(s, id, &f, "w", "h", NULL), HY_EFAIL);
    NUMBER(s, "SELECT count(*) FROM measurement", 0);
    NUMBER(s, "SELECT status = 'running' AND weights IS NULL FROM model", 1);
    settle_model(s, id, 2, NULL, NULL, NULL);
    claim_measure(s, id, "", 0, &m);
    assert_int_equal(hy_measurement_settle(s, m, &f, NULL), HY_EFAIL);
    hy_facts_free(&f);
    NUMBER(s, "SELECT count(*) FROM metric JOIN measurement x ON x.id = measurement_id WHERE x.measure <> 'training'",
           0);
    NUMBER(s, "SELECT status = 'running' FROM measurement WHERE measure = 'accuracy'", 1);
    assert_int_not_equal(
        hy_store_exec(s, "INSERT INTO metric(measurement_id, def_id, cell, step, final, n) VALUES(77, 1, '', 0, 1, 1)"),
        HY_OK);
    hy_store_close(s);
}

// At most one open and one current row for each identity, whoever writes them.
static void test_unique(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t id, m;
    claim_model(s, "k", 0, &id);
    settle_model(s, id, 2, NULL, NULL, NULL);
    claim_model(s, "k", HY_CLAIM_FORCE, &id);
    claim_measure(s, 1, "", 0, &m);
    static const char *const copies[] = {
        "CREATE TEMP TABLE c AS SELECT * FROM model WHERE id = 1; UPDATE c SET id = 100; INSERT INTO model SELECT * "
        "FROM c",
        "CREATE TEMP TABLE c AS SELECT * FROM model WHERE id = 2; UPDATE c SET id = 100; INSERT INTO model SELECT * "
        "FROM c",
        "CREATE TEMP TABLE c AS SELECT * FROM measurement WHERE status = 'done'; UPDATE c SET id = 100; INSERT INTO "
        "measurement SELECT * FROM c",
        "CREATE TEMP TABLE c AS SELECT * FROM measurement WHERE status = 'running'; UPDATE c SET id = 100; INSERT INTO "
        "measurement SELECT * FROM c",
    };
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++) {
        assert_int_equal(hy_store_exec(s, copies[i]), HY_EFAIL);
        SAYS("UNIQUE");
        OK(hy_store_exec(s, "DROP TABLE c"));
    }
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- dead and far
// processes A process that dies while it owns a row: the next claim takes over; its parent may settle it.
static void test_dead_owner(void **state) {
    (void)state;
    hy_store *s;
    int64_t id, m;
    bool changed;
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "settled" : "left";
        pid_t pid = fork();
        if (pid == 0) {
            hy_store *mine = open_store();
            claim_model(mine, key, 0, &id);
            settle_model(mine, id, 2, NULL, NULL, NULL);
            claim_measure(mine, id, "", 0, &m);
            claim_model(mine, key, HY_CLAIM_FORCE, &id);
            kill(getpid(), SIGKILL);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        s = open_store();
        const int64_t done = number(s, "SELECT max(id) FROM model WHERE status = 'done'"), open = done + 1;
        const int64_t measuring = number(s, "SELECT max(id) FROM measurement");
        if (i) {
            OK(hy_model_settle_dead(s, open, (long)pid + 1, true, "wrong process", &changed));
            assert_false(changed);
            OK(hy_model_settle_dead(s, open, (long)pid, false, "killed by SIGTERM", &changed));
            assert_true(changed);
            OK(hy_model_settle_dead(s, open, (long)pid, true, "not twice", &changed));
            assert_false(changed);
            assert_int_equal(claim_model(s, key, HY_CLAIM_FORCE, &id), HY_CLAIM_RESUMED);
            OK(hy_measurement_settle_dead(s, measuring, (long)pid, true, "killed by SIGSEGV", &changed));
            assert_true(changed);
            assert_int_equal(claim_measure(s, done, "", 0, &m), HY_CLAIM_FAILED);
        } else {
            assert_int_equal(claim_model(s, key, HY_CLAIM_FORCE, &id), HY_CLAIM_RESUMED);
            assert_int_equal(id, open);
            assert_int_equal(claim_measure(s, done, "", 0, &m), HY_CLAIM_RESUMED);
            assert_int_equal(m, measuring);
        }
        hy_store_close(s);
    }
}

static void test_owner_elsewhere(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t id, m;
    claim_model(s, "k", 0, &id);
#define AWAY(table) "UPDATE " table " SET process = 'another-machine:pid:[1]/5/6'"
    OK(hy_store_exec(s, AWAY("model")));
    assert_int_equal(claim_model(s, "k", 0, &id), HY_CLAIM_BUSY);  // fresh heartbeat
    OK(hy_store_exec(s, "UPDATE model SET heartbeat = heartbeat + 100000"));
    assert_int_equal(claim_model(s, "k", 0, &id), HY_CLAIM_RESUMED);  // a heartbeat of the future is none
    OK(hy_store_exec(s, AWAY("model") ", heartbeat = heartbeat - 100000"));
    assert_int_equal(claim_model(s, "k", 0, &id), HY_CLAIM_RESUMED);
    // and the other way round: what was taken over from us is not stored by us
    OK(hy_store_exec(s, AWAY("model")));
    assert_int_equal(hy_model_settle(s, id, NULL, NULL, NULL, NULL), HY_EFAIL);
    SAYS("took it over");
    OK(hy_model_interrupt(s, id, 5, "ctrl-C"));
    NUMBER(s, "SELECT status = 'running' AND steps = 0 FROM model", 1);
    OK(hy_store_exec(s, "UPDATE model SET heartbeat = 0"));
    OK(hy_model_heartbeat(s, id));
    NUMBER(s, "SELECT heartbeat > 0 FROM model", 1);
    claim_model(s, "l", 0, &id);
    settle_model(s, id, 2, NULL, NULL, NULL);
    claim_measure(s, id, "", 0, &m);
    OK(hy_store_exec(s, AWAY("measurement") " WHERE status = 'running'"));
    assert_int_equal(claim_measure(s, id, "", 0, &m), HY_CLAIM_BUSY);
    assert_int_equal(hy_measurement_settle(s, m, NULL, NULL), HY_EFAIL);
    SAYS("took it over");
    OK(hy_store_exec(s, "UPDATE measurement SET heartbeat = 0"));
    OK(hy_measurement_heartbeat(s, m));
    assert_int_equal(claim_measure(s, id, "", 0, &m), HY_CLAIM_BUSY);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- two at once
enum { WRITERS = 4, MODELS = 12 };
static void worker(void) {
    hy_store *s;
    if (hy_store_open(g_db, HY_STORE_WRITE, &s)) _exit(1);  // also creates: all start on no file
    for (int k = 0; k < MODELS; k++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", k);
        const hy_model_record r = model(key, 1);
        hy_claim c;
        int64_t id, m;
        if (hy_model_claim(s, &r, 0, &c, &id)) _exit(2);
        if (c == HY_CLAIM_NEW && hy_model_settle(s, id, NULL, NULL, NULL, NULL)) _exit(3);
        const hy_measurement_record x = {
            .model_id = id, .measure = "accuracy", .version = 1, .options = "", .task = ""};
        if (hy_measurement_claim(s, &x, 0, &c, &m)) _exit(4);
        if (c != HY_CLAIM_NEW) continue;
        hy_facts f = {0};
        hy_facts_add(&f, "accuracy", "", k);
        if (hy_measurement_settle(s, m, &f, NULL)) _exit(5);
        hy_facts_free(&f);
    }
    hy_store_close(s);
    _exit(0);
}

static void test_processes_at_once(void **state) {
    (void)state;
    pid_t pid[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        pid[i] = fork();
        if (pid[i] == 0) worker();
    }
    for (int i = 0; i < WRITERS; i++) {
        int status;
        waitpid(pid[i], &status, 0);
        assert_int_equal(status, 0);
    }
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    NUMBER(s, "SELECT count(*) FROM model WHERE status = 'done'", MODELS);
    NUMBER(s, "SELECT count(*) FROM measurement WHERE status = 'done'", MODELS);
    NUMBER(s, "SELECT count(*) FROM v_final", MODELS);
    OK(hy_store_check(s));
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- experiments
static void count_plan(hy_store *s, int done, int failed, int missing, int results) {
    NUMBER(s, "SELECT count(*) FROM v_plan WHERE status = 'done'", done);
    NUMBER(s, "SELECT count(*) FROM v_plan WHERE status = 'failed'", failed);
    NUMBER(s, "SELECT count(*) FROM v_plan WHERE status = 'missing'", missing);
    NUMBER(s, "SELECT count(*) FROM v_result", results);
}

static void test_experiments(void **state) {
    (void)state;
    hy_store *s = open_store();
    int64_t id, a, m;
    char key[33], other[33];
    hy_measurement_identity("examples: 4\n", "kind: mqar\n", key);
    hy_measurement_identity("examples: 8\n", "kind: mqar\n", other);
    claim_model(s, "k", 0, &a);
    settle_model(s, a, 2, NULL, NULL, NULL);
    claim_measure(s, a, "", 0, &m);  // of no experiment
    settle_measure(s, m, 0.125, NULL);
    const hy_planned_key wanted[] = {{"accuracy", 1, key}, {"accuracy", 1, other}, {"accuracy", 1, key}};
    const hy_planned_row plan[] = {{"v", "t", "", 0, 0, 0, 1, "k", "cpu", 3, wanted},
                                   {"w", "t", "", 1, 0, 0, 1, "l", "cpu", 0, NULL}};
    const hy_paper_row paper[] = {{"v", "recall", 39.98}};
    const hy_grid_row grid[] = {{0, "train.lr", "0.01"}, {0, "attention.window", "none"}};
    const hy_experiment_record e = {.name = "roadmap",
                                    .scale = "small",
                                    .sets = "",
                                    .question = "q",
                                    .yaml = "yaml",
                                    .n_plan = 2,
                                    .plan = plan,
                                    .n_paper = 1,
                                    .paper = paper,
                                    .n_grid = 2,
                                    .grid = grid,
                                    .tune_by = "loss",
                                    .tune_cell = "",
                                    .base = "v"};
    for (int i = 0; i < 2; i++) {  // planning again replaces the plan, not the results
        OK(hy_experiment_store(s, &e, &id));
        assert_int_equal(id, 1);
        NUMBER(s, "SELECT count(*) FROM planned_measure", 2);
        count_plan(s, 0, 0, 2, 1);  // of the model its training only
        NUMBER(s, "SELECT run_id FROM v_plan WHERE variant = 'v'", a);
        NUMBER(s, "SELECT count(*) FROM paper", 1);
        NUMBER(s, "SELECT count(*) FROM v_grid", 2);
        NUMBER(s, "SELECT count(*) FROM v_grid WHERE experiment = 'roadmap' AND path = 'train.lr' AND value = 0.01", 1);
        NUMBER(s, "SELECT count(*) FROM experiment WHERE tune_by = 'loss' AND base = 'v'", 1);
    }
    claim_measure(s, a, "examples: 4\n", 0, &m);
    count_plan(s, 0, 0, 2, 1);
    settle_measure(s, m, 0.5, NULL);
    count_plan(s, 0, 0, 2, 3);
    NUMBER(s, "SELECT count(*) FROM v_result WHERE metric = 'accuracy' AND value = 0.5 AND nth = 0", 1);
    claim_measure(s, a, "examples: 8\n", 0, &m);
    settle_measure(s, m, 0.75, "no");
    count_plan(s, 0, 1, 1, 3);
    NUMBER(s, "SELECT count(*) FROM v_plan_measure WHERE status = 'failed' AND error = 'no' AND run_id = 1", 1);
    claim_measure(s, a, "examples: 8\n", HY_CLAIM_RETRY_FAILED, &m);
    count_plan(s, 0, 1, 1, 3);  // until it is settled
    settle_measure(s, m, 0.75, NULL);
    count_plan(s, 1, 0, 1, 5);
    claim_model(s, "l", 0, &a);
    count_plan(s, 1, 0, 1, 5);
    settle_model(s, a, 2, NULL, NULL, "diverged");
    count_plan(s, 1, 1, 0, 5);
    // neither the model of another device nor another version of a measure is what was planned
    hy_model_record r = model("k", 1);
    hy_claim c;
    r.device = "cuda";
    OK(hy_model_claim(s, &r, 0, &c, &a));
    settle_model(s, a, 2, NULL, NULL, NULL);
    count_plan(s, 1, 1, 0, 5);
    const hy_measurement_record newer = {
        .model_id = 1, .measure = "accuracy", .version = 2, .options = "examples: 4\n", .task = "kind: mqar\n"};
    OK(hy_measurement_claim(s, &newer, 0, &c, &m));
    assert_int_equal(c, HY_CLAIM_NEW);
    settle_measure(s, m, 0.25, NULL);
    count_plan(s, 1, 1, 0, 5);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- parameters
static void test_params(void **state) {
    (void)state;
    hy_store *s = open_store();
    hy_model_record r = model("k", 1);
    r.spec = "name: model\nd_model: 16\nlayers: 3\nnorm:\n  eps: 1e-06\nlayer_table:\n"
             "  - mixer: attention\n    attention:\n      window: none\n    kv_source: 0\n"
             "  - mixer: attention\n    attention:\n      window: 64\n    kv_source: 1\n"
             "  - mixer: attention\n    attention:\n      window: 64\n    mlp:\n      kind: silu\n    kv_source: 1\n";
    r.task_options = "kind: mqar\ntrain: [[16, 2]]\npath: \"a: b\"\n";
    r.train = "steps: 6\nlr: 0.003\nschedule: cosine\n";
    r.precision = "f32";
    hy_claim c;
    int64_t id;
    OK(hy_model_claim(s, &r, 0, &c, &id));
    static const struct {
        const char *path, *value;  // as SQL
    } expected[] = {{"d_model", "16"},
                    {"layers", "3"},
                    {"norm.eps", "1e-06"},
                    {"layers.0.attention.window", "'none'"},
                    {"layers.2.attention.window", "64"},
                    {"attention.window", "'none,64'"},
                    {"mixer", "'attention'"},
                    {"mlp.kind", "'silu'"},
                    {"kv_source", "'0,1'"},
                    {"layers.1.kv_source", "1"},
                    {"task.train", "'[[16, 2]]'"},
                    {"task.path", "'\"a: b\"'"},
                    {"train.steps", "6"},
                    {"train.lr", "0.003"},
                    {"train.schedule", "'cosine'"},
                    {"train.precision", "'f32'"}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char *sql = hy_asprintf("SELECT count(*) FROM v_param WHERE run_id = 1 AND path = '%s' AND value IS %s",
                                expected[i].path, expected[i].value);
        NUMBER(s, sql, 1);
        free(sql);
    }
    NUMBER(s, "SELECT count(*) FROM v_param WHERE path LIKE '%name%'", 0);
    NUMBER(s, "SELECT count(*) FROM v_param WHERE path IN ('train.steps','d_model') AND typeof(value) = 'integer'", 2);
    NUMBER(s, "SELECT count(*) FROM v_param WHERE path = 'train.lr' AND typeof(value) = 'real'", 1);
    hy_store_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_claim_and_settle), T(test_failed_and_interrupted),
        T(test_failed_again),     T(test_weights),
        T(test_made_again),       T(test_other_steps),
        T(test_no_curve),         T(test_measurements),
        T(test_unfinished_model), T(test_wrong_facts_store_nothing),
        T(test_unique),           T(test_dead_owner),
        T(test_owner_elsewhere),  T(test_processes_at_once),
        T(test_experiments),      T(test_params),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
