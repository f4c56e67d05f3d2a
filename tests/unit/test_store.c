// test_store.c - the results database: creation, migration from every older version, refusal of what is newer, foreign or
// damaged, the rules of claiming, and two processes at once.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "results/record.h"
#include "results/schema.h"

static char g_dir[64], g_db[96];

static int setup(void **state) {
    (void)state;
    strcpy(g_dir, "/tmp/hylab-store-XXXXXX");
    if (!mkdtemp(g_dir)) return -1;
    snprintf(g_db, sizeof g_db, "%s/r.db", g_dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char *cmd = hy_asprintf("rm -rf %s", g_dir);
    int rc = system(cmd);
    free(cmd);
    return rc;
}

#define OK(e)                                                     \
    do {                                                          \
        hy_status ok_ = (e);                                      \
        if (ok_) fail_msg("%s: %s", #e, hy_error_text());         \
    } while (0)

static int64_t number(hy_store *s, const char *sql) {
    hy_query *q;
    bool row = false;
    OK(hy_query_open(s, sql, &q));
    OK(hy_query_step(q, &row));
    assert_true(row);
    int64_t v = hy_query_int(q, 0);
    hy_query_close(q);
    return v;
}

static hy_run_record record(const char *key, int64_t seed) {
    hy_run_record r = {.seed = seed, .device = "cpu", .variant = "v", .experiment = "e", .grid = "", .spec_hash = "h", .spec = "s",
                       .task = "t", .task_kind = "mqar", .task_options = "", .train = "", .measures = "", .commit = "abc", .build = "b",
                       .device_name = "a cpu", .threads = 1};
    snprintf(r.run_key, sizeof r.run_key, "%s", key);
    return r;
}

static hy_claim claim(hy_store *s, const char *key, unsigned flags, int64_t *id) {
    hy_run_record r = record(key, 1);
    hy_claim c;
    OK(hy_run_claim(s, &r, flags, &c, id));
    return c;
}

static void settle(hy_store *s, int64_t id, double accuracy, const char *error) {
    hy_facts f = {.steps = 10};
    hy_facts_add(&f, "accuracy", "", accuracy);
    hy_fact *t = hy_facts_add(&f, "throughput_train", "T8.B1", 5);
    hy_fact_samples(t, (double[]){4, 5, 6}, 3);
    t->x = 8;
    t->y = 1;
    hy_facts_curve(&f, &(hy_curve_point){1, 2.5, 1e-3, 1, 100});
    hy_facts_artifact(&f, "map", "f32", 2, (int[]){2, 2}, (float[]){1, 2, 3, 4}, "{\"a\":1}");
    OK(hy_run_settle(s, id, &f, error));
    hy_facts_free(&f);
}

// ---------------------------------------------------------------------------------------------------- files
static void test_create_and_reopen(void **state) {
    (void)state;
    hy_store *s;
    assert_int_equal(hy_store_open(g_db, HY_STORE_READ, &s), HY_EINPUT);  // not there
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    assert_int_equal(number(s, "PRAGMA application_id"), HY_APPLICATION_ID);
    assert_int_equal(number(s, "PRAGMA foreign_keys"), 1);
    int defs = 0;
    while (hy_metric_defs[defs].name) defs++;
    assert_int_equal(number(s, "SELECT count(*) FROM metric_def"), defs);
    OK(hy_store_check(s));
    hy_store_close(s);
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    assert_int_equal(number(s, "SELECT count(*) FROM metric_def"), defs);
    hy_store_close(s);
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    assert_int_not_equal(hy_store_exec(s, "DELETE FROM metric_def"), HY_OK);  // read-only
    hy_store_close(s);
}

// The published migrations and two more, so that there is an older version to come from whatever the newest one is.
static const char *g_more[16];
static hy_status open_more(const char *path, hy_store_mode mode, hy_store **out) {
    const hy_store_schema schema = {.application_id = HY_APPLICATION_ID, .migrations = g_more, .opened = hy_schema_define};
    return hy_store_open_as(path, mode, &schema, out);
}
static int more_migrations(const char *last) {
    int n = 0;
    while (hy_schema_migrations[n]) g_more[n] = hy_schema_migrations[n], n++;
    g_more[n++] = "CREATE TABLE extra(a INTEGER); INSERT INTO extra VALUES(1)";
    g_more[n++] = last;
    g_more[n] = NULL;
    return n;
}

static void test_migrates_every_older_version(void **state) {
    (void)state;
    int n = more_migrations("INSERT INTO extra VALUES(2)");
    for (int from = 1; from < n; from++) {
        char *db = hy_asprintf("%s/from%d.db", g_dir, from), *bak = hy_asprintf("%s.bak-v%d", db, from);
        const char *keep = g_more[from];
        hy_store *s;
        g_more[from] = NULL;  // a build that knows `from` versions makes the file
        OK(open_more(db, HY_STORE_WRITE, &s));
        int64_t id;
        claim(s, "k", 0, &id);
        settle(s, id, 0.5, NULL);
        hy_store_close(s);
        g_more[from] = keep;
        assert_int_equal(open_more(db, HY_STORE_READ, &s), HY_EINPUT);  // reading does not migrate
        OK(open_more(db, HY_STORE_WRITE, &s));
        assert_int_equal(hy_store_version(s), n);
        assert_int_equal(number(s, "PRAGMA user_version"), n);
        assert_int_equal(number(s, "SELECT count(*) FROM extra"), 2);
        assert_int_equal(number(s, "SELECT count(*) FROM run"), 1);
        hy_store_close(s);
        const char *cut = g_more[from];
        g_more[from] = NULL;
        OK(open_more(bak, HY_STORE_READ, &s));  // the copy is whole and of the old version
        assert_int_equal(hy_store_version(s), from);
        assert_int_equal(number(s, "SELECT count(*) FROM metric"), 2);
        hy_store_close(s);
        g_more[from] = cut;
        free(db);
        free(bak);
    }
}

static void test_failed_migration_changes_nothing(void **state) {
    (void)state;
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    int version = hy_store_version(s);
    hy_store_close(s);
    more_migrations("INSERT INTO no_such_table VALUES(1)");
    assert_int_not_equal(open_more(g_db, HY_STORE_WRITE, &s), HY_OK);
    assert_non_null(strstr(hy_error_text(), "migrating from version"));
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    assert_int_equal(number(s, "PRAGMA user_version"), version);
    assert_int_equal(number(s, "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'"), 0);
    hy_store_close(s);
}

static void test_refuses_newer_foreign_and_damaged(void **state) {
    (void)state;
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    OK(hy_store_exec(s, "PRAGMA user_version = 999"));
    hy_store_close(s);
    for (int mode = 0; mode < 2; mode++) {
        assert_int_equal(hy_store_open(g_db, (hy_store_mode)mode, &s), HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), "version 999"));
    }
    unlink(g_db);
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    OK(hy_store_exec(s, "PRAGMA application_id = 7"));
    hy_store_close(s);
    assert_int_equal(hy_store_open(g_db, HY_STORE_WRITE, &s), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "not one of hylab's"));
    const char text[] = "this is a text file and surely no database, however long one looks at it: really, it is not one at all";
    OK(hy_file_write(g_db, text, sizeof text));
    assert_int_equal(hy_store_open(g_db, HY_STORE_WRITE, &s), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "not an SQLite database"));
}

static void test_damaged_pages(void **state) {
    (void)state;
    hy_store *s;
    char *data;
    size_t n;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    int64_t id;
    claim(s, "k", 0, &id);
    settle(s, id, 0.5, NULL);
    hy_store_close(s);
    OK(hy_file_read(g_db, 1 << 24, &data, &n));
    assert_true(n > 3 * 4096);
    for (size_t cut = 0; cut < 2; cut++) {  // half a file; a page of rubbish
        char *copy = hy_xcalloc(1, n);
        memcpy(copy, data, n);
        size_t len = cut == 0 ? n / 2 : n;
        if (cut == 1) memset(copy + 4096, 0xA5, 4096);
        OK(hy_file_write(g_db, copy, len));
        free(copy);
        hy_status st = hy_store_open(g_db, HY_STORE_WRITE, &s);
        if (!st) {
            st = hy_store_check(s);
            hy_store_close(s);
        }
        assert_int_equal(st, HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), "damaged"));
    }
    free(data);
}

// ---------------------------------------------------------------------------------------------------- claiming
static void test_claim_and_settle(void **state) {
    (void)state;
    hy_store *s;
    int64_t a, b;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    assert_int_equal(claim(s, "k", 0, &a), HY_CLAIM_NEW);
    assert_int_equal(claim(s, "k", 0, &b), HY_CLAIM_BUSY);  // this very process lives
    assert_int_equal(a, b);
    assert_int_equal(claim(s, "k", HY_CLAIM_FORCE, &b), HY_CLAIM_BUSY);
    settle(s, a, 0.5, NULL);
    assert_int_equal(claim(s, "k", 0, &b), HY_CLAIM_DONE);
    assert_int_equal(claim(s, "k", HY_CLAIM_RETRY_FAILED, &b), HY_CLAIM_DONE);
    assert_int_equal(a, b);
    assert_int_equal(claim(s, "k", HY_CLAIM_FORCE, &b), HY_CLAIM_NEW);
    assert_int_not_equal(a, b);
    assert_int_equal(claim(s, "k", 0, &a), HY_CLAIM_DONE);  // while the forced one runs the old one answers
    settle(s, b, 0.75, NULL);
    assert_int_equal(number(s, "SELECT count(*) FROM run WHERE superseded_by IS NULL"), 1);
    assert_int_equal(number(s, "SELECT 100 * value FROM v_final WHERE metric = 'accuracy'"), 75);
    assert_int_equal(number(s, "SELECT count(*) FROM metric"), 4);  // the old figures are still there
    assert_int_equal(number(s, "SELECT min + max + repetitions FROM v_timing"), 13);
    assert_int_equal(number(s, "SELECT length(data) FROM artifact LIMIT 1"), 16);
    hy_facts none = {0};
    assert_int_equal(hy_run_settle(s, b, &none, NULL), HY_EFAIL);  // not twice
    assert_int_equal(number(s, "SELECT count(*) FROM run"), 2);
    hy_store_close(s);
}

static void test_failed_and_interrupted(void **state) {
    (void)state;
    hy_store *s;
    int64_t a, b;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    claim(s, "k", 0, &a);
    OK(hy_run_interrupt(s, a, 7, "ctrl-C"));
    assert_int_equal(number(s, "SELECT steps FROM run"), 7);
    assert_int_equal(claim(s, "k", 0, &b), HY_CLAIM_RESUMED);
    assert_int_equal(a, b);
    settle(s, a, 0, "diverged at step 3");
    assert_int_equal(claim(s, "k", 0, &b), HY_CLAIM_FAILED);
    assert_int_equal(claim(s, "k", HY_CLAIM_RETRY_FAILED, &b), HY_CLAIM_NEW);
    assert_int_not_equal(a, b);
    settle(s, b, 1, NULL);
    assert_int_equal(claim(s, "k", HY_CLAIM_RETRY_FAILED, &a), HY_CLAIM_DONE);
    assert_int_equal(number(s, "SELECT count(*) FROM v_run"), 1);
    assert_int_equal(number(s, "SELECT resumes FROM run WHERE id = 1"), 1);
    hy_store_close(s);
}

static void test_wrong_facts_store_nothing(void **state) {
    (void)state;
    hy_store *s;
    int64_t a;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    claim(s, "k", 0, &a);
    hy_facts f = {0};
    hy_facts_add(&f, "accuracy", "", 1);
    hy_facts_add(&f, "accuracy", "", 1);  // the same fact twice breaks a rule of the schema
    assert_int_equal(hy_run_settle(s, a, &f, NULL), HY_EFAIL);
    hy_facts_free(&f);
    assert_int_equal(number(s, "SELECT count(*) FROM metric"), 0);
    assert_int_equal(number(s, "SELECT status = 'running' FROM run"), 1);
    assert_int_not_equal(hy_store_exec(s, "INSERT INTO metric(run_id, def_id, cell, step, final, n) VALUES(77, 1, '', 0, 1, 1)"), HY_OK);
    hy_store_close(s);
}

// A process that dies while it owns a run: the next claim takes over; its parent may bury it.
static void test_dead_owner(void **state) {
    (void)state;
    hy_store *s;
    int64_t id;
    bool changed;
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            hy_store *mine;
            hy_run_record r = record(i ? "buried" : "left", 1);
            hy_claim c;
            if (hy_store_open(g_db, HY_STORE_WRITE, &mine) || hy_run_claim(mine, &r, 0, &c, &id)) _exit(1);
            kill(getpid(), SIGKILL);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
        if (i) {
            OK(hy_run_bury(s, 2, (long)pid + 1, true, "wrong process", &changed));
            assert_false(changed);
            OK(hy_run_bury(s, 2, (long)pid, true, "killed by SIGSEGV", &changed));
            assert_true(changed);
            assert_int_equal(claim(s, "buried", 0, &id), HY_CLAIM_FAILED);
        } else {
            assert_int_equal(claim(s, "left", 0, &id), HY_CLAIM_RESUMED);
            assert_int_equal(id, 1);
        }
        hy_store_close(s);
    }
}

static void test_owner_elsewhere(void **state) {
    (void)state;
    hy_store *s;
    int64_t id;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    claim(s, "k", 0, &id);
    OK(hy_store_exec(s, "UPDATE run SET process = 'another-machine:pid:[1]/5/6'"));
    assert_int_equal(claim(s, "k", 0, &id), HY_CLAIM_BUSY);  // fresh heartbeat
    OK(hy_store_exec(s, "UPDATE run SET heartbeat = heartbeat - 100000"));
    assert_int_equal(claim(s, "k", 0, &id), HY_CLAIM_RESUMED);
    // and the other way round: what was taken over from us is not stored by us
    OK(hy_store_exec(s, "UPDATE run SET process = 'another-machine:pid:[1]/5/6'"));
    hy_facts none = {0};
    assert_int_equal(hy_run_settle(s, id, &none, NULL), HY_EFAIL);
    assert_non_null(strstr(hy_error_text(), "took it over"));
    assert_int_equal(number(s, "SELECT status = 'running' FROM run"), 1);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- two at once
enum { WRITERS = 4, RUNS = 12 };
static void worker(void) {
    hy_store *s;
    if (hy_store_open(g_db, HY_STORE_WRITE, &s)) _exit(1);  // also creates: all start on no file
    for (int k = 0; k < RUNS; k++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", k);
        hy_run_record r = record(key, 1);
        hy_claim c;
        int64_t id;
        if (hy_run_claim(s, &r, 0, &c, &id)) _exit(2);
        if (c != HY_CLAIM_NEW) continue;
        hy_facts f = {0};
        hy_facts_add(&f, "accuracy", "", k);
        if (hy_run_settle(s, id, &f, NULL)) _exit(3);
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
    assert_int_equal(number(s, "SELECT count(*) FROM run WHERE status = 'done'"), RUNS);
    assert_int_equal(number(s, "SELECT count(*) FROM metric"), RUNS);
    OK(hy_store_check(s));
    hy_store_close(s);
}

static void test_experiments(void **state) {
    (void)state;
    hy_store *s;
    int64_t id, a;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    claim(s, "k", 0, &a);
    settle(s, a, 0.5, NULL);
    hy_planned_row plan[] = {{"v", "t", "", 0, 0, 0, 1, "k", "cpu", 0, NULL}, {"w", "t", "", 1, 0, 0, 1, "other", "cpu", 0, NULL}};
    hy_paper_row paper[] = {{"v", "recall", 39.98}};
    hy_experiment_record e = {"roadmap", "small", "", "q", "yaml", 2, 1, plan, paper, "loss", "", "v"};
    for (int i = 0; i < 2; i++) {  // planning again replaces the plan, not the results
        OK(hy_experiment_store(s, &e, &id));
        assert_int_equal(id, 1);
        assert_int_equal(number(s, "SELECT count(*) FROM v_plan"), 2);
        assert_int_equal(number(s, "SELECT count(*) FROM v_plan WHERE status = 'missing'"), 1);
        assert_int_equal(number(s, "SELECT count(*) FROM v_result WHERE metric = 'accuracy' AND variant = 'v'"), 1);
        assert_int_equal(number(s, "SELECT count(*) FROM paper"), 1);
        assert_int_equal(number(s, "SELECT count(*) FROM experiment WHERE tune_by = 'loss'"), 1);
        assert_int_equal(number(s, "SELECT count(*) FROM experiment WHERE base = 'v'"), 1);
    }
    hy_store_close(s);
}

// Many processes make one new database at the same moment: none may take another's half-seen start for a foreign file.
static void test_opened_at_once(void **state) {
    (void)state;
    enum { ROUNDS = 60, AT_ONCE = 6 };
    for (int round = 0; round < ROUNDS; round++) {
        char *path = hy_asprintf("%s/at-once-%d.db", g_dir, round);
        int gate[2];
        assert_int_equal(pipe(gate), 0);
        pid_t pid[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++) {
            if ((pid[k] = fork()) == 0) {
                char c;
                close(gate[1]);
                if (read(gate[0], &c, 1) < 0) _exit(9);  // returns when the parent closes its end
                hy_store *st;
                const hy_status rc = hy_store_open(path, HY_STORE_WRITE, &st);
                if (rc) fprintf(stderr, "%s\n", hy_error_text());
                else hy_store_close(st);
                _exit((int)rc);
            }
        }
        close(gate[0]);
        close(gate[1]);
        int bad = 0;
        for (int k = 0; k < AT_ONCE; k++) {
            int status;
            waitpid(pid[k], &status, 0);
            bad += status != 0;
        }
        free(path);
        assert_int_equal(bad, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_create_and_reopen), T(test_opened_at_once), T(test_migrates_every_older_version), T(test_failed_migration_changes_nothing),
        T(test_refuses_newer_foreign_and_damaged), T(test_damaged_pages), T(test_claim_and_settle), T(test_failed_and_interrupted),
        T(test_wrong_facts_store_nothing), T(test_dead_owner), T(test_owner_elsewhere), T(test_processes_at_once), T(test_experiments),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
