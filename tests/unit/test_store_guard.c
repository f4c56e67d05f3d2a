// test_store_guard.c - databases that others made or changed: what would run by itself is refused by name, what a user
// added stays, statements on a database that is read only read, names are names of files. What is changed here is
// changed with SQLite itself, as others would.
#include "store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

// A database with a model and a measurement, closed.
static void make(void) {
    hy_store *s;
    int64_t model_id, id;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    claim_model(s, "k", 0, &model_id);
    settle_model(s, model_id, 2.5, NULL, NULL, NULL);
    claim_measure(s, model_id, "", 0, &id);
    settle_measure(s, id, 0.5, NULL);
    hy_store_close(s);
}

static void remake(void) {
    unlink(g_db);
    make();
}

// ---------------------------------------------------------------------------------------------------- the schema
static void refused(const char *change, const char *says, const char *name) {
    remake();
    raw_sql(g_db, change);
    for (int mode = 0; mode < 2; mode++) {
        hy_store *s;
        const hy_status st = hy_store_open(g_db, (hy_store_mode)mode, &s);
        if (st != HY_EINPUT) fail_msg("opened all the same (%d): %s", (int)st, change);
        SAYS(says);
        SAYS(name);
        SAYS(g_db);
    }
}

static void test_changed_schemas(void **state) {
    (void)state;
    static const struct {
        const char *change, *says, *name;
    } cases[] = {
        {"CREATE TRIGGER t AFTER INSERT ON metric BEGIN UPDATE metric SET value = 1; END", "would run by itself",
         "\"t\""},
        {"CREATE TABLE own(a); CREATE TRIGGER t2 AFTER INSERT ON own BEGIN DELETE FROM model; END",
         "would run by itself", "\"t2\""},
        {"CREATE TRIGGER t3 INSTEAD OF INSERT ON v_run BEGIN DELETE FROM model; END", "would run by itself", "\"t3\""},
        {"DROP VIEW v_final; CREATE VIEW v_final AS SELECT * FROM v_metric", "is not that of", "\"v_final\""},
        {"DROP VIEW v_final; CREATE TABLE v_final(a)", "is not that of", "\"v_final\""},
        {"DROP VIEW v_grid", "is missing", "\"v_grid\""},
        {"DROP INDEX model_open", "is missing", "\"model_open\""},
        {"DROP INDEX measurement_settled; CREATE INDEX measurement_settled ON measurement(model_id, measure, version, "
         "key)"
         " WHERE status IN ('done','failed') AND superseded_by IS NULL",
         "is not that of", "\"measurement_settled\""},
        {"DROP TABLE sample", "is missing", "\"sample\""},
        {"ALTER TABLE metric ADD COLUMN more TEXT", "is not that of", "\"metric\""},
        {"DROP TABLE paper; CREATE TABLE paper(experiment_id INTEGER, variant TEXT, name TEXT, value REAL)",
         "is not that of", "\"paper\""},
        {"CREATE UNIQUE INDEX mine ON metric(value)", "could refuse or compute", "\"mine\""},
        {"CREATE INDEX mine ON metric(abs(value))", "could refuse or compute", "\"mine\""},
        {"CREATE INDEX mine ON metric(value) WHERE value > 0", "could refuse or compute", "\"mine\""},
        {"CREATE VIRTUAL TABLE search USING fts5(a)", "extension", "\"search\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) refused(cases[i].change, cases[i].says, cases[i].name);
}

// What cannot run by itself is the user's business, and stays.
static void test_additions_of_the_user(void **state) {
    (void)state;
    make();
    raw_sql(g_db, "CREATE TABLE notes(run INTEGER, text TEXT UNIQUE); INSERT INTO notes VALUES(1, 'good');"
                  "CREATE VIEW best AS SELECT variant, max(value) AS v FROM v_final GROUP BY 1;"
                  "CREATE INDEX by_value ON metric(value); CREATE INDEX i ON notes(abs(run)); ANALYZE");
    hy_store *s;
    for (int mode = 0; mode < 2; mode++) {
        OK(hy_store_open(g_db, (hy_store_mode)mode, &s));
        NUMBER(s, "SELECT count(*) FROM notes", 1);
        NUMBER(s, "SELECT count(*) FROM best", 1);
        NUMBER(s, "SELECT count(*) FROM sqlite_schema WHERE name = 'by_value'", 1);
        hy_store_close(s);
    }
}

// Blanks and quotes are no change; a blank inside of a text is.
static void test_spelling(void **state) {
    (void)state;
    hy_store *s;
    make();
    raw_sql(
        g_db,
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ' ORDER', '  ORDER') WHERE type = "
        "'view'; UPDATE sqlite_schema SET sql = replace(sql, 'CREATE TABLE model(', 'CREATE TABLE \"model\" (')");
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    hy_store_close(s);
    remake();
    raw_sql(g_db, "PRAGMA writable_schema = ON;"
                  "UPDATE sqlite_schema SET sql = replace(sql, 'done', 'do ne') WHERE name = 'v_finished'");
    assert_int_equal(hy_store_open(g_db, HY_STORE_READ, &s), HY_EINPUT);
    SAYS("v_finished");
}

// An old database is looked at before it is migrated, which runs statements over its tables.
static void test_old_with_a_trigger(void **state) {
    (void)state;
    char *data;
    size_t n;
    for (int version = 3; version <= 4; version++) {
        char *from = hy_asprintf("tests/data/stores/schema%d.sqlite", version);
        OK(hy_file_read(from, 1 << 24, &data, &n));
        OK(hy_file_write(g_db, data, n));
        free(data), free(from);
        raw_sql(g_db, "CREATE TRIGGER t AFTER INSERT ON metric BEGIN DELETE FROM sample; END");
        hy_store *s;
        assert_int_equal(hy_store_open(g_db, HY_STORE_WRITE, &s), HY_EINPUT);
        SAYS("trigger \"t\" on \"metric\"");
        raw_sql(g_db, "DROP TRIGGER t");
        OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
        OK(hy_results_check(s));
        hy_store_close(s);
        unlink(g_db);
    }
}

// A new file is made at once, an old one by all migrations: both have the same.
static void test_both_ways_to_a_schema(void **state) {
    (void)state;
    static const hy_store_schema by_steps = {.application_id = HY_APPLICATION_ID, .migrations = hy_schema_migrations};
    hy_store *s;
    OK(hy_store_open_as(g_db, HY_STORE_WRITE, &by_steps, &s));
    hy_store_close(s);
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));  // compares
    NUMBER(s, "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'", 34);
    hy_store_close(s);
    unlink(g_db);
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    NUMBER(s, "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'", 34);
    hy_store_close(s);
    OK(hy_store_open_as(g_db, HY_STORE_READ, &by_steps, &s));
    hy_store_close(s);
}

static void test_settings(void **state) {
    (void)state;
    hy_store *s;
    make();
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    NUMBER(s, "PRAGMA cell_size_check", 1);
    NUMBER(s, "PRAGMA foreign_keys", 1);
    // not even a connection that writes can damage the file or run a trigger
    assert_int_not_equal(hy_store_exec(s, "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema"), HY_OK);
    OK(hy_store_exec(s, "CREATE TEMP TABLE a(x); CREATE TEMP TABLE b(x);"
                        "CREATE TRIGGER late AFTER INSERT ON model_param BEGIN DELETE FROM model; END"));
    int64_t id;
    claim_model(s, "other", 0, &id);
    NUMBER(s, "SELECT count(*) FROM model", 2);
    // what hangs on a row still goes with it
    OK(hy_store_exec(s, "DELETE FROM model WHERE model_key = 'other'"));
    NUMBER(s, "SELECT count(*) FROM model_param WHERE model_id > 1", 0);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- statements
static void test_only_reads(void **state) {
    (void)state;
    hy_store *s;
    hy_query *q;
    make();
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    char *into = hy_asprintf("VACUUM INTO '%s/copy.db'", g_dir),
         *attach = hy_asprintf("ATTACH '%s/new.db' AS x", g_dir);
    const char *bad[] = {into,
                         attach,
                         "VACUUM",
                         "DELETE FROM model",
                         "UPDATE model SET seed = 1",
                         "INSERT INTO paper VALUES(1, 'a', 'b', 1)",
                         "CREATE TABLE x(a)",
                         "CREATE TEMP TABLE x(a)",
                         "CREATE TEMP VIEW v AS SELECT 1",
                         "DROP TABLE model",
                         "REINDEX",
                         "ANALYZE",
                         "BEGIN",
                         "SAVEPOINT s",
                         "DETACH main",
                         "PRAGMA journal_mode = DELETE",
                         "PRAGMA user_version = 3",
                         "PRAGMA writable_schema = ON",
                         "PRAGMA trusted_schema = ON",
                         "PRAGMA query_only = OFF",
                         "PRAGMA wal_checkpoint",
                         "PRAGMA optimize",
                         "PRAGMA temp_store_directory = '/tmp'",
                         "PRAGMA data_store_directory = '/tmp'",
                         "SELECT load_extension('/tmp/x.so')",
                         "SELECT writefile('/tmp/x', 'a')",
                         "WITH a AS (SELECT 1) DELETE FROM model"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hy_status st = hy_query_open(s, bad[i], &q);
        bool row;
        if (!st) st = hy_query_step(q, &row), hy_query_close(q);
        if (!st) fail_msg("it ran: %s", bad[i]);
        if (strcmp(bad[i], "SELECT writefile('/tmp/x', 'a')")) SAYS("not allowed here");
        if (strncmp(bad[i], "SELECT", 6)) assert_int_not_equal(hy_store_exec(s, bad[i]), HY_OK);
    }
    assert_int_not_equal(hy_query_open(s, "UPDATE sqlite_schema SET sql = ''", &q), HY_OK);
    struct stat st;
    char *copy = hy_asprintf("%s/copy.db", g_dir), *new = hy_asprintf("%s/new.db", g_dir);
    assert_int_not_equal(stat(copy, &st), 0);
    assert_int_not_equal(stat(new, &st), 0);
    hy_store_close(s);
    free(into), free(attach), free(copy), free(new);
}

static void test_what_reads(void **state) {
    (void)state;
    hy_store *s;
    hy_query *q;
    make();
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    static const char *const good[] = {
        "SELECT count(*) + 4 FROM model",
        "PRAGMA user_version",
        "SELECT 5 FROM v_timing LIMIT 1",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 5) SELECT count(*) FROM c",
        "SELECT json_extract('{\"a\":5}', '$.a')",
        "SELECT max(value) FROM json_each('[1, 5]')",
        "SELECT count(*) - 1 FROM pragma_table_info('metric_def') LIMIT 1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) NUMBER(s, good[i], 5);
    static const char *const tell[] = {"PRAGMA table_info(model)", "PRAGMA integrity_check",
                                       "PRAGMA index_list('model')", "PRAGMA journal_mode",
                                       "EXPLAIN QUERY PLAN SELECT * FROM v_result"};
    for (size_t i = 0; i < sizeof tell / sizeof tell[0]; i++) {
        bool row;
        OK(hy_query_open(s, tell[i], &q));
        OK(hy_query_step(q, &row));
        assert_true(row);
        hy_query_close(q);
    }
    // a view of the user's is no way round
    hy_store_close(s);
    raw_sql(g_db, "CREATE VIEW harm AS SELECT load_extension('/tmp/x.so') AS a");
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    assert_int_not_equal(hy_query_open(s, "SELECT * FROM harm", &q), HY_OK);
    hy_store_close(s);
}

// A query without end obeys an interrupt on every connection for reading, without being asked to.
static void test_reading_is_interruptible(void **state) {
    (void)state;
    hy_store *s;
    hy_query *q;
    bool row;
    make();
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    OK(hy_query_open(s,
                     "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000000000000)"
                     " SELECT count(*) FROM c",
                     &q));
    hy_interrupted = 1;
    assert_int_equal(hy_query_step(q, &row), HY_EINTR);
    hy_interrupted = 0;
    hy_query_close(q);
    NUMBER(s, "SELECT count(*) FROM model", 1);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- names
static void test_names(void **state) {
    (void)state;
    hy_store *s;
    static const struct {
        const char *name, *says;
    } bad[] = {{"", "empty name"},       {":memory:", "keep nothing"},   {"/tmp", "is a folder"},
               {"/tmp/", "is a folder"}, {"/dev/null", "no plain file"}, {"/nowhere/at/all/", "is a folder"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int mode = 0; mode < 2; mode++) {
            assert_int_equal(hy_store_open(bad[i].name, (hy_store_mode)mode, &s), HY_EINPUT);
            SAYS(bad[i].says);
            assert_int_equal(hy_store_name_check(bad[i].name), HY_EINPUT);
        }
    char *fifo = hy_asprintf("%s/fifo", g_dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(hy_store_open(fifo, HY_STORE_READ, &s), HY_EINPUT);  // and does not wait for a writer
    SAYS("no plain file");
    free(fifo);
    // names that mean something to SQLite are names of files here
    const int here = open(".", O_RDONLY);
    assert_int_equal(chdir(g_dir), 0);
    static const char *const plain[] = {
        "file:x.db", "file:x.db?mode=memory", "a?b=c#d%41.db", "file::memory:", "x y.db", ":memory", "-x.db"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        struct stat st;
        OK(hy_store_open(plain[i], HY_STORE_WRITE, &s));
        int64_t id;
        claim_model(s, "k", 0, &id);
        hy_store_close(s);
        if (stat(plain[i], &st) || !S_ISREG(st.st_mode)) fail_msg("there is no file %s", plain[i]);
        OK(hy_store_open(plain[i], HY_STORE_READ, &s));
        NUMBER(s, "SELECT count(*) FROM model", 1);
        hy_store_close(s);
    }
    assert_int_equal(fchdir(here), 0);
    close(here);
    // an absolute one, and the copy before a migration
    char *data, *path = hy_asprintf("//%s/a%%41?.db", g_dir + 1), *copy = hy_asprintf("%s.bak-v4", path);
    size_t n;
    OK(hy_file_read("tests/data/stores/schema4.sqlite", 1 << 24, &data, &n));
    OK(hy_file_write(path, data, n));
    OK(hy_store_open(path, HY_STORE_WRITE, &s));
    hy_store_close(s);
    assert_true(hy_file_exists(copy));
    free(data), free(path), free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_changed_schemas),
        T(test_additions_of_the_user),
        T(test_spelling),
        T(test_old_with_a_trigger),
        T(test_both_ways_to_a_schema),
        T(test_settings),
        T(test_only_reads),
        T(test_what_reads),
        T(test_reading_is_interruptible),
        T(test_names),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
