// test_store.c - the results database as a file: creation, refusal of what is newer, foreign or damaged, statements,
// and many processes at once. Migration of old files: test_migrate.c; models and measurements: test_record.c.
#include "store_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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
    for (const hy_metric_def *d = hy_metric_defs; d->name; d++) {  // what a stored value is in, not what it is shown in
        hy_query *q;
        bool row = false;
        OK(hy_store_query(s, &q,
                          "SELECT 1 FROM metric_def WHERE name = ?1 AND version = ?2 AND unit = ?3 AND direction = ?4"
                          " AND meaning = ?5",
                          "sisss", d->name, d->version, d->unit, d->direction, d->meaning));
        OK(hy_query_step(q, &row));
        if (!row) fail_msg("the definition of %s in the file is another one", d->name);
        hy_query_close(q);
    }
    OK(hy_store_check(s));
    hy_store_close(s);
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    assert_int_equal(number(s, "SELECT count(*) FROM metric_def"), defs);
    hy_store_close(s);
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    assert_int_not_equal(hy_store_exec(s, "DELETE FROM metric_def"), HY_OK);  // read-only
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
                if (rc)
                    fprintf(stderr, "%s\n", hy_error_text());
                else
                    hy_store_close(st);
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
    const char text[] =
        "this is a text file and surely no database, however long one looks at it: really, it is not one at all";
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
    claim_model(s, "k", 0, &id);
    settle_model(s, id, 2.5, NULL, NULL, NULL);
    hy_store_close(s);
    OK(hy_file_read(g_db, 1 << 24, &data, &n));
    assert_true(n > 3 * 4096);
    for (size_t cut = 0; cut < 2; cut++) {  // half a file; rubbish behind the first page
        char *copy = hy_xcalloc(1, n);
        memcpy(copy, data, n);
        size_t len = cut == 0 ? n / 2 : n;
        if (cut == 1) memset(copy + 4096, 0xA5, n - 4096);
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

// A list of migrations of this test: two versions, and the step to the second may be a function or fail.
static hy_status add_row(hy_store *s) { return hy_store_exec(s, "INSERT INTO t VALUES(2)"); }
static hy_status refuse(hy_store *s) {
    HY_TRY(hy_store_exec(s, "INSERT INTO t VALUES(3); CREATE TABLE extra(a)"));
    return hy_error(HY_EFAIL, "no, thanks");
}
static hy_status open_versions(hy_store_mode mode, int n, const char *sql, hy_status (*run)(hy_store *),
                               hy_store **out) {
    const hy_migration list[] = {{"CREATE TABLE t(a INTEGER); INSERT INTO t VALUES(1)", NULL},
                                 {n > 1 ? sql : NULL, n > 1 ? run : NULL},
                                 {NULL, NULL}};
    const hy_store_schema schema = {.application_id = 7, .migrations = list};
    return hy_store_open_as(g_db, mode, &schema, out);
}

static void test_migrations(void **state) {
    (void)state;
    hy_store *s;
    OK(open_versions(HY_STORE_WRITE, 1, NULL, NULL, &s));
    hy_store_close(s);
    assert_int_equal(open_versions(HY_STORE_READ, 2, NULL, add_row, &s), HY_EINPUT);  // reading does not migrate
    SAYS("--migrate");
    assert_int_equal(open_versions(HY_STORE_WRITE, 2, NULL, refuse, &s), HY_EFAIL);
    SAYS("migrating from version 1 to 2 (nothing was changed): no, thanks");
    assert_int_equal(
        open_versions(HY_STORE_WRITE, 2, "INSERT INTO t VALUES(4); INSERT INTO nowhere VALUES(1)", NULL, &s), HY_EFAIL);
    OK(open_versions(HY_STORE_READ, 1, NULL, NULL, &s));
    NUMBER(s, "SELECT sum(a) FROM t", 1);
    NUMBER(s, "SELECT count(*) FROM sqlite_schema", 1);
    hy_store_close(s);
    OK(open_versions(HY_STORE_WRITE, 2, NULL, add_row, &s));
    assert_int_equal(hy_store_version(s), 2);
    NUMBER(s, "PRAGMA user_version", 2);
    NUMBER(s, "SELECT sum(a) FROM t", 3);
    hy_store_close(s);
    strcat(g_db, ".bak-v1");  // the copy is whole and of the old version
    OK(open_versions(HY_STORE_READ, 1, NULL, NULL, &s));
    NUMBER(s, "SELECT sum(a) FROM t", 1);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- statements
static void test_statements(void **state) {
    (void)state;
    hy_store *s;
    hy_query *q;
    bool row;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    static const char *const good[] = {"SELECT 1", "SELECT 1;", "SELECT 1; -- and no more\n",
                                       " SELECT 1 ; /* nothing */ ;"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) NUMBER(s, good[i], 1);
    static const char *const bad[] = {"SELECT 1; SELECT 2", "SELECT 1; DELETE FROM model", "SELECT 1;;nonsense"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hy_query_open(s, bad[i], &q), HY_EINPUT);
        assert_null(q);
        SAYS("one SQL statement at a time");
    }
    assert_int_equal(hy_query_open(s, " -- nothing", &q), HY_EINPUT);
    OK(hy_store_exec(s, "CREATE TEMP TABLE t(a, b, c, d, e)"));
    OK(hy_store_run(s, "INSERT INTO t VALUES(?1, ?2, ?3, ?4, ?5)", "ildsb", -1, (int64_t)1 << 40, 0.5, "text", "\0\1",
                    (size_t)2));
    NUMBER(s, "SELECT a = -1 AND b = 1099511627776 AND c = 0.5 AND d = 'text' AND e = x'0001' FROM t", 1);
    OK(hy_store_query(s, &q, "SELECT count(*) FROM t WHERE d = ?1 AND a < ?2", "si", "text", 0));
    OK(hy_query_step(q, &row));
    assert_int_equal(hy_query_int(q, 0), 1);
    hy_query_close(q);
    hy_store_close(s);
}

// A query that would read for minutes ends when the user interrupts, on a connection that is made so; others come to
// their end.
static void test_interrupt(void **state) {
    (void)state;
#define COUNT "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT %s) SELECT count(*) FROM c"
    hy_store *s;
    hy_query *q;
    bool row;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    char *forever = hy_asprintf(COUNT, "1000000000000"), *long_one = hy_asprintf(COUNT, "300000");
    hy_interrupted = 1;
    NUMBER(s, long_one, 300000);
    hy_store_interruptible(s, true);
    OK(hy_query_open(s, forever, &q));
    assert_int_equal(hy_query_step(q, &row), HY_EINTR);
    hy_query_close(q);
    hy_interrupted = 0;
    NUMBER(s, long_one, 300000);
    free(forever);
    free(long_one);
    hy_store_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_create_and_reopen), T(test_opened_at_once),
        T(test_migrations),        T(test_refuses_newer_foreign_and_damaged),
        T(test_damaged_pages),     T(test_statements),
        T(test_interrupt),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
