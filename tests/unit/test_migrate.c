// test_migrate.c - databases of schema versions 1 to 3, made by the programs of their time (tests/data/stores), become
// version 4: the documented views show the same rows, nothing is lost, and results are found again.
#include "store_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include "results/identity.h"

// Of each old database: the run that failed in training, the one that failed in a measure, the done one that this is
// now a part of, an interrupted one, and how many runs there are.
static const struct {
    int version, failed, failed_measure, same_model, interrupted, runs;
} files[] = {{1, 15, 17, 13, 18, 19}, {2, 18, 20, 16, 21, 22}, {3, 21, 23, 19, 24, 25}};
enum { N_FILES = sizeof files / sizeof files[0] };

static char *data_path(int k, const char *ending) {
    return hy_asprintf("tests/data/stores/schema%d.%s", files[k].version, ending);
}

static void copy_old(int k) {
    char *from = data_path(k, "sqlite"), *data;
    size_t n;
    OK(hy_file_read(from, 1 << 24, &data, &n));
    OK(hy_file_write(g_db, data, n));
    free(data);
    free(from);
}

// Changes an old database without migrating it.
static void change_old(const char *sql) {
    static const hy_migration none[] = {{"", NULL}, {"", NULL}, {"", NULL}, {NULL, NULL}};
    const hy_store_schema as_it_is = {.application_id = HY_APPLICATION_ID, .migrations = none};
    hy_store *s;
    OK(hy_store_open_as(g_db, HY_STORE_WRITE, &as_it_is, &s));
    OK(hy_store_exec(s, sql));
    hy_store_close(s);
}

static hy_store *migrated(void) {
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    assert_int_equal(hy_store_version(s), hy_schema_newest());
    OK(hy_store_check(s));
    return s;
}

// The same with the old file as database "old" beside it.
static hy_store *migrated_beside_old(int k) {
    copy_old(k);
    hy_store *s = migrated();
    char *sql = hy_asprintf("ATTACH '%s.bak-v%d' AS old", g_db, files[k].version);
    OK(hy_store_exec(s, sql));
    free(sql);
    return s;
}

// ---------------------------------------------------------------------------------------------------- against the
// dumps
static void undo_escapes(char *s) {
    char *to = s;
    for (; *s; s++) {
        if (*s == '\\' && (s[1] == 't' || s[1] == 'n' || s[1] == '\\'))
            *to++ = *++s == 't' ? '\t' : *s == 'n' ? '\n' : '\\';
        else
            *to++ = *s;
    }
    *to = 0;
}

typedef struct {
    char *cell[40];
    int n;
} line_cells;

static line_cells split(char *line) {
    line_cells c = {0};
    for (char *p = line; p; c.n++) {
        char *tab = strchr(p, '\t');
        if (tab) *tab = 0;
        c.cell[c.n] = p;
        p = tab ? tab + 1 : NULL;
    }
    return c;
}

static bool same_cell(const hy_query *q, int col, char *expected) {
    if (!strcmp(expected, "\\N")) return hy_query_null(q, col);
    if (hy_query_null(q, col)) return false;
    if (hy_query_number(q, col)) return strtod(expected, NULL) == hy_query_double(q, col);
    undo_escapes(expected);
    return !strcmp(hy_query_text(q, col), expected);
}

// The statement that asks for the columns of a heading "# view col col ... run_status" in the order of the dump. A key
// is another one now. What is wanted of failed runs is compared by test_failed_runs; a plan for measures that failed
// has results of its model now.
static char *statement(const line_cells *head) {
    const char *view = head->cell[0] + 2;
    hy_buf b = {0};
    hy_buf_printf(&b, "SELECT ");
    for (int i = 1; i < head->n - 1; i++)
        hy_buf_printf(&b, "%s, ", strcmp(head->cell[i], "run_key") ? head->cell[i] : "'key'");
    hy_buf_printf(
        &b, "coalesce((SELECT status FROM v_run r WHERE r.run_id = v.run_id), '') AS s FROM %s v WHERE s <> 'failed'",
        view);
    if (!strcmp(view, "v_plan")) hy_buf_printf(&b, " AND v.status <> 'failed'");
    if (!strcmp(view, "v_result")) hy_buf_printf(&b, " AND sets NOT LIKE '%%measures.maps.cell=7%%'");
    hy_buf_printf(&b, " ORDER BY ");
    for (int i = 1; i < head->n - 1; i++) hy_buf_printf(&b, "%s%d", i > 1 ? ", " : "", i);
    return b.s;
}

static void next_must_match(hy_query *q, const line_cells *c, const line_cells *head, int line) {
    bool row;
    OK(hy_query_step(q, &row));
    if (!row) fail_msg("line %d of the dump: the migrated view %s has no such row", line, head->cell[0] + 2);
    for (int i = 1; i < c->n; i++)
        if (strcmp(head->cell[i], "run_key") && !same_cell(q, i - 1, c->cell[i]))
            fail_msg("line %d of the dump, %s.%s: %s, not %s", line, head->cell[0] + 2, head->cell[i],
                     hy_query_text(q, i - 1), c->cell[i]);
}

static void no_more(hy_query *q, const char *view) {
    bool row;
    if (!q) return;
    OK(hy_query_step(q, &row));
    if (row) fail_msg("%s has rows that the old database had not", view);
    hy_query_close(q);
}

static int compare_dump(hy_store *s, char *text) {
    line_cells head = {0};
    hy_query *q = NULL;
    int line = 0, compared = 0;
    for (char *p = text, *next; *p; p = next) {
        next = strchr(p, '\n');
        *next++ = 0;
        line++;
        line_cells c = split(p);
        if (!strncmp(p, "# ", 2)) {
            no_more(q, head.n ? head.cell[0] + 2 : "");
            q = NULL;
            head = c;
            if (strncmp(p, "# v_", 4)) break;  // tables: test_nothing_is_lost
            char *sql = statement(&head);
            OK(hy_query_open(s, sql, &q));
            free(sql);
            continue;
        }
        assert_int_equal(c.n, head.n);
        if (!strcmp(c.cell[c.n - 1], "failed")) continue;
        next_must_match(q, &c, &head, line);
        compared++;
    }
    assert_null(q);
    return compared;
}

static void test_views_show_the_same(void **state) {
    (void)state;
    static const int rows[] = {2089, 2677, 2731};
    for (int k = 0; k < N_FILES; k++) {
        copy_old(k);
        hy_store *s = migrated();
        char *path = data_path(k, "expected.tsv"), *text;
        size_t n;
        OK(hy_file_read(path, 1 << 24, &text, &n));
        const int compared = compare_dump(s, text);
        if (compared != rows[k]) fail_msg("%s: only %d rows were compared", path, compared);
        free(text);
        free(path);
        hy_store_close(s);
    }
}

// ---------------------------------------------------------------------------------------------------- against the old
// file The rows of two questions are the same.
static void same_rows(hy_store *s, const char *a, const char *b) {
    char *sql = hy_asprintf(
        "SELECT (SELECT count(*) FROM (SELECT * FROM (%s) EXCEPT SELECT * FROM (%s))) + (SELECT count(*) FROM (SELECT "
        "* FROM (%s)"
        " EXCEPT SELECT * FROM (%s))) + abs((SELECT count(*) FROM (%s)) - (SELECT count(*) FROM (%s)))",
        a, b, b, a, a, b);
    NUMBER(s, sql, 0);
    free(sql);
}

static void test_nothing_is_lost(void **state) {
    (void)state;
    for (int k = 0; k < N_FILES; k++) {
        hy_store *s = migrated_beside_old(k);
        NUMBER(s, "SELECT count(*) FROM model", files[k].runs);
        same_rows(s,
                  "SELECT id, seed, device, variant, experiment, grid, spec, spec_hash, task, task_kind, task_options, "
                  "train, git_commit,"
                  " git_dirty, build, host, device_name, threads, kernel_path, started, ended, resumes, steps, "
                  "process, heartbeat FROM old.run",
                  "SELECT id, seed, device, variant, experiment, grid, spec, spec_hash, task, task_kind, task_options, "
                  "train, git_commit,"
                  " git_dirty, build, host, device_name, threads, kernel_path, started, ended, resumes, steps, "
                  "process, heartbeat FROM model");
        same_rows(s, "SELECT id, def_id, cell, step, final, value, stderr, n, x, y, meta FROM old.metric",
                  "SELECT id, def_id, cell, step, final, value, stderr, n, x, y, meta FROM main.metric");
        same_rows(s, "SELECT * FROM old.sample", "SELECT * FROM main.sample");
        same_rows(s, "SELECT id, name, dtype, shape, meta, data FROM old.artifact",
                  "SELECT id, name, dtype, shape, meta, data FROM main.artifact");
        same_rows(s, "SELECT run_id, step, loss, lr, grad_norm, tokens_per_s FROM old.curve",
                  "SELECT model_id, step, loss, lr, grad_norm, tokens_per_s FROM main.curve JOIN measurement x ON x.id "
                  "= measurement_id");
        same_rows(s, "SELECT id, name, scale, sets, question, yaml, planned FROM old.experiment",
                  "SELECT id, name, scale, sets, question, yaml, planned FROM main.experiment");
        same_rows(s, "SELECT * FROM old.paper", "SELECT * FROM main.paper");
        same_rows(s, "SELECT experiment_id, ord, variant, task, grid, seed, device FROM old.plan",
                  "SELECT experiment_id, ord, variant, task, grid, seed, device FROM planned");
        NUMBER(s, "SELECT count(*) FROM model WHERE weights IS NOT NULL OR weights_hash IS NOT NULL",
               0);  // they were not kept
        NUMBER(s,
               "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'old%' OR name IN "
               "('run','plan','moved','wanted','place')",
               0);
        hy_store_close(s);
    }
}

// A figure belongs to the measurement that found it, with its layer and kind; what was measured has the options it had.
static void test_measurements(void **state) {
    (void)state;
    for (int k = 0; k < N_FILES; k++) {
        hy_store *s = migrated_beside_old(k);
        if (files[k].version > 1)
            NUMBER(s,
                   "SELECT count(DISTINCT value) FROM v_grid WHERE path = 'lr' AND scale = 'small' AND sets = ''"
                   " AND typeof(value) = 'real'",
                   2);
        NUMBER(s,
               "SELECT count(*) FROM metric v JOIN metric_def d ON d.id = v.def_id JOIN measurement x ON x.id = "
               "v.measurement_id WHERE x.measure <> CASE"
               " WHEN v.final = 0 OR d.name LIKE 'train%' THEN 'training' WHEN d.name IN ('parameters','flops_token') "
               "THEN 'size'"
               " WHEN d.name LIKE 'cache_%' THEN 'cache' WHEN d.name LIKE 'map_%' THEN 'maps' WHEN d.name LIKE "
               "'throughput_%' THEN 'throughput'"
               " WHEN d.name = 'erf' THEN 'erf' ELSE 'accuracy' END",
               0);
        NUMBER(s,
               "SELECT count(*) FROM v_measurement WHERE measure = 'cache' AND options NOT IN ('tokens: 100\n', "
               "'tokens: 8000\n')",
               0);
        NUMBER(s,
               "SELECT count(*) > 5 FROM v_measurement WHERE measure = 'erf' AND options LIKE 'examples: 2\ncell: "
               "0\nssm: group\n%gate: false\n'",
               1);
        NUMBER(s,
               "SELECT count(*) FROM measurement WHERE options LIKE '%only_seed%' OR options LIKE ' %' OR options LIKE "
               "'%\n %'",
               0);
        NUMBER(s,
               "SELECT count(*) FROM measurement WHERE (task = '') <> (measure IN ('training','cache','throughput'))",
               0);
        NUMBER(s, "SELECT count(*) FROM measurement WHERE measure IN ('accuracy','size') AND options <> ''", 0);
        NUMBER(s,
               "SELECT count(*) FROM v_artifact WHERE measure = 'maps' AND (layer <> 1 OR kind <> substr(name, 12, "
               "length(kind)))",
               0);
        NUMBER(s, "SELECT count(*) > 0 FROM v_artifact WHERE kind = 'layer' AND head IS NULL", 1);
        NUMBER(s,
               "SELECT count(*) FROM v_artifact WHERE coalesce('head' || head, '') <> iif(instr(name, '.head'), "
               "substr(name, instr(name, '.head') + 1), '')",
               0);
        NUMBER(s,
               "SELECT count(*) FROM v_metric WHERE metric LIKE 'cache%' AND (layer IS NOT iif(y < 0, NULL, CAST(y AS "
               "INTEGER)))",
               0);
        NUMBER(s,
               "SELECT count(*) > 0 FROM v_metric WHERE metric = 'cache_true' AND layer = 1 AND kind = 'conv' AND cell "
               "= 'layer1.conv'",
               1);
        NUMBER(s,
               "SELECT count(*) > 0 FROM v_metric WHERE metric = 'cache_true' AND layer IS NULL AND kind = 'kv' AND "
               "cell = 'kv'",
               1);
        NUMBER(s, "SELECT count(*) FROM v_metric WHERE metric LIKE 'map%' AND (layer <> 1 OR kind IS NULL)", 0);
        NUMBER(s,
               "SELECT count(*) FROM v_metric WHERE measure IN ('accuracy','training','size','throughput') AND (layer "
               "IS NOT NULL OR kind IS NOT NULL)",
               0);
        NUMBER(s,
               "SELECT count(*) FROM v_param WHERE path = 'layers.1.attention.window' AND variant = 'Llama' AND value "
               "= 'none'",
               number(s, "SELECT count(*) FROM v_run WHERE variant = 'Llama'"));
        NUMBER(s,
               "SELECT count(*) FROM v_param p JOIN v_run r USING(run_id) WHERE p.path = 'train.lr' AND instr(r.train, "
               "'lr: ' || p.value) = 0 AND p.value < 1",
               0);
        NUMBER(s,
               "SELECT count(*) FROM v_model WHERE origin <> iif(train LIKE 'steps: 0%', 'random', 'trained') OR "
               "precision <> 'f32'",
               0);
        hy_store_close(s);
    }
}

// A run that failed while it was measured is a finished model with a measurement that failed; here it is the model of
// another run, too.
static void test_failed_runs(void **state) {
    (void)state;
    for (int k = 0; k < N_FILES; k++) {
        hy_store *s = migrated_beside_old(k);
        char *sql = hy_asprintf(
            "SELECT (SELECT error FROM old.run WHERE id = %d) = error AND status = 'failed' FROM v_run WHERE run_id = "
            "%d",
            files[k].failed, files[k].failed);
        NUMBER(s, sql, 1);
        free(sql);
        sql = hy_asprintf(
            "SELECT group_concat(measure || ' ' || status) = 'training failed' FROM v_measurement WHERE run_id = %d",
            files[k].failed);
        NUMBER(s, sql, 1);
        free(sql);
        sql = hy_asprintf("SELECT superseded_by FROM model WHERE id = %d", files[k].failed_measure);
        NUMBER(s, sql, files[k].same_model);
        free(sql);
        sql = hy_asprintf(
            "SELECT count(*) FROM v_measurement WHERE run_id = %d AND measure = 'maps' AND status = 'failed' AND "
            "options LIKE '%%cell: 7%%' AND"
            " error = 'measures: the task has 2 evaluation cells, cell 7 is none of them'",
            files[k].same_model);
        NUMBER(s, sql, 1);
        free(sql);
        NUMBER(s, "SELECT count(*) FROM v_plan WHERE sets LIKE '%cell=7%' AND variant = 'Mamba' AND status = 'failed'",
               1);
        sql = hy_asprintf(
            "SELECT run_id FROM v_plan WHERE sets LIKE '%%cell=7%%' AND variant = 'Mamba' AND status = 'failed'");
        NUMBER(s, sql, files[k].same_model);
        free(sql);
        NUMBER(s, "SELECT count(*) FROM v_result WHERE sets LIKE '%cell=7%' AND metric = 'accuracy' AND cell = ''",
               1);  // what did not fail is a result
        NUMBER(s, "SELECT count(*) FROM v_result WHERE sets LIKE '%cell=7%' AND metric LIKE 'map%'", 0);
        sql = hy_asprintf(
            "SELECT status = 'interrupted' AND (SELECT count(*) FROM measurement WHERE model_id = %d) = 0 FROM v_run "
            "WHERE run_id = %d",
            files[k].interrupted, files[k].interrupted);
        NUMBER(s, sql, 1);
        free(sql);
        hy_store_close(s);
    }
    // one that has a figure of every measure failed in the last, which stores timing by timing
    copy_old(2);
    change_old("UPDATE run SET status = 'failed', error = 'no memory' WHERE id = 19");
    hy_store *s = migrated();
    NUMBER(
        s,
        "SELECT group_concat(measure) = 'throughput' FROM measurement WHERE error = 'no memory' AND status = 'failed'",
        1);
    hy_store_close(s);
}

// Old results answer new questions: the runner would find this model and this measurement by their texts.
static void test_found_again(void **state) {
    (void)state;
    for (int k = 0; k < N_FILES; k++) {
        copy_old(k);
        hy_store *s = migrated();
        hy_query *q;
        bool row;
        int64_t id, found;
        hy_claim c;
        char key[33];
        OK(hy_query_open(s,
                         "SELECT run_id, spec, task_kind, task_options, train FROM v_run WHERE variant = 'Mamba' AND "
                         "task = 'recall' AND seed = 1"
                         " AND status = 'done' AND steps = 6",
                         &q));
        OK(hy_query_step(q, &row));
        assert_true(row);
        id = hy_query_int(q, 0);
        char *spec = hy_asprintf("name: otherwise%s", strchr(hy_query_text(q, 1), '\n'));
        char *train = hy_asprintf("%s", hy_query_text(q, 4)), *batch = strstr(train, "eval_batch: 32"),
             *task = hy_xstrdup(hy_query_text(q, 3));
        memcpy(batch, "eval_batch: 64", 14);
        hy_model_identity(spec, hy_query_text(q, 2), task, train, "", key);
        OK(hy_model_peek(s, key, 1, "cpu", 0, &c, &found));
        assert_int_equal(c, HY_CLAIM_DONE);
        assert_int_equal(found, id);
        OK(hy_model_peek(s, key, 1, "cpu", HY_CLAIM_WEIGHTS, &c, &found));
        assert_int_equal(c, HY_CLAIM_NEW);
        static const struct {
            const char *measure, *options;
            bool task;
        } measured[] = {{"accuracy", "", true}, {"size", "", true}, {"cache", "tokens: 100\n", false}};
        for (int i = 0; i < 3; i++) {
            hy_measurement_identity(measured[i].options, measured[i].task ? task : "", key);
            OK(hy_measurement_peek(s, id, measured[i].measure, 1, key, 0, &c, &found));
            assert_int_equal(c, HY_CLAIM_DONE);
        }
        hy_query_close(q);
        free(spec), free(train), free(task);
        hy_store_close(s);
    }
}

// ---------------------------------------------------------------------------------------------------- runs that are
// one model
static void test_joined_runs(void **state) {
    (void)state;
    // run 23 done as well: the newest stays, and gets what only run 19 had measured
    const int k = 2;
    copy_old(k);
#define ONLY_CACHE                                                                                                  \
    "UPDATE run SET measures = 'cache:' || char(10) || '  tokens: 100' || char(10), status = 'done', error = NULL " \
    "WHERE id IN (22, 23);"
    change_old(ONLY_CACHE);
    hy_store *s = migrated();
    NUMBER(s, "SELECT superseded_by FROM model WHERE id = 19", 23);
    NUMBER(s, "SELECT count(*) FROM v_measurement WHERE run_id = 23 AND status = 'done' AND measure = 'maps'", 1);
    NUMBER(s,
           "SELECT count(DISTINCT metric) FROM v_metric WHERE run_id = 23 AND metric IN "
           "('accuracy','erf','throughput_train','map_entropy')",
           4);
    NUMBER(s, "SELECT count(*) FROM v_metric WHERE run_id = 23 AND metric = 'accuracy' AND cell = '' AND final = 1", 1);
    NUMBER(s, "SELECT count(*) FROM v_plan WHERE run_id = 23 AND status = 'done'", 2);
    hy_store_close(s);
    // not the same bit by bit: nothing is mixed
    copy_old(k);
    change_old(ONLY_CACHE " UPDATE curve SET loss = loss + 1e-9 WHERE run_id = 23 AND step = 4");
    s = migrated();
    NUMBER(s, "SELECT superseded_by FROM model WHERE id = 19", 23);
    NUMBER(s, "SELECT count(*) FROM v_metric WHERE run_id = 23 AND metric = 'throughput_train'", 0);
    NUMBER(s, "SELECT count(*) > 0 FROM measurement WHERE model_id = 19 AND measure = 'erf'", 1);
    NUMBER(s, "SELECT count(*) FROM v_plan WHERE run_id = 23 AND status = 'missing'", 1);
    hy_store_close(s);
    // two that were interrupted: one stays to be taken up
    copy_old(k);
    change_old("UPDATE run SET seed = 1, spec = (SELECT spec FROM run WHERE id = 24) WHERE id = 25");
    s = migrated();
    NUMBER(s, "SELECT count(*) FROM model WHERE id = 24", 0);
    NUMBER(s, "SELECT count(*) FROM v_run WHERE run_id = 25 AND status = 'running'", 1);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- when and when
// not
static void unchanged(int version) {
    static const char *const names[] = {"run", "metric", "v_run", "v_metric", "plan"};
    const hy_migration none[] = {
        {"", NULL}, {version > 1 ? "" : NULL, NULL}, {version > 2 ? "" : NULL, NULL}, {NULL, NULL}};
    const hy_store_schema as_it_is = {.application_id = HY_APPLICATION_ID, .migrations = none};
    hy_store *s;
    OK(hy_store_open_as(g_db, HY_STORE_READ, &as_it_is, &s));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *sql = hy_asprintf("SELECT count(*) > 0 FROM %s", names[i]);
        NUMBER(s, sql, 1);
        free(sql);
    }
    NUMBER(s, "SELECT count(*) FROM sqlite_schema WHERE name IN ('measurement','moved','old_run','v_result2')", 0);
    hy_store_close(s);
}

static void test_reading_an_old_file(void **state) {
    (void)state;
    hy_store *s;
    for (int k = 0; k < N_FILES; k++) {
        copy_old(k);
        assert_int_equal(hy_store_open(g_db, HY_STORE_READ, &s), HY_EINPUT);
        char *version =
            hy_asprintf("has schema version %d, this hylab reads version %d", files[k].version, hy_schema_newest());
        SAYS(version);
        SAYS("hylab doctor --db");
        SAYS("--migrate");
        free(version);
        unchanged(files[k].version);
    }
}

static void test_failed_migration_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *change, *says;
    } cases[] = {
        {"CREATE TABLE model(a)", "table model already exists"},
        {"INSERT INTO metric_def VALUES(1000, 'novel', 1, '1', 'none', '?'); INSERT INTO metric(run_id, def_id, cell, "
         "step, final, value, n) VALUES(1, 1000, '', 0, 1, 1, 1)",
         "1 rows of metric belong to no measurement"},
        {"INSERT INTO artifact VALUES(1000, 16, 'map.layer0.ssm', 'f32', '[1,1]', '{}', x'00000000')",
         "1 rows of artifact belong to no measurement"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hy_store *s;
        copy_old(2);
        change_old(cases[i].change);
        assert_int_equal(hy_store_open(g_db, HY_STORE_WRITE, &s), HY_EFAIL);
        SAYS("migrating from version 3 to 4 (nothing was changed)");
        SAYS(cases[i].says);
        unchanged(3);
    }
}

static void test_runs_under_way(void **state) {
    (void)state;
    char self[160];
    hy_process_self(self);
    char *sql = hy_asprintf("UPDATE run SET process = '%s' WHERE id = 25", self);
    hy_store *s;
    copy_old(2);
    change_old(sql);
    assert_int_equal(hy_store_open(g_db, HY_STORE_WRITE, &s), HY_EFAIL);
    SAYS("run 25 is under way");
    unchanged(3);
    free(sql);
}

static void test_views_of_the_user_stay(void **state) {
    (void)state;
    copy_old(2);
    change_old(
        "CREATE VIEW best AS SELECT variant, max(value) AS v FROM v_final WHERE metric = 'accuracy' AND cell = '' "
        "GROUP BY 1;"
        "CREATE VIEW \"my \"\"view\" AS SELECT * FROM best");
    hy_store *s = migrated();
    NUMBER(s, "SELECT count(*) FROM \"my \"\"view\"", 3);
    hy_store_close(s);
}

static void test_many_migrate_at_once(void **state) {
    (void)state;
    enum { AT_ONCE = 5 };
    copy_old(2);
    pid_t pid[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        if ((pid[i] = fork()) == 0) {
            hy_store *s;
            const hy_status st = hy_store_open(g_db, HY_STORE_WRITE, &s);
            if (st)
                fprintf(stderr, "%s\n", hy_error_text());
            else
                hy_store_close(s);
            _exit((int)st);
        }
    }
    for (int i = 0; i < AT_ONCE; i++) {
        int status;
        waitpid(pid[i], &status, 0);
        assert_int_equal(status, 0);
    }
    hy_store *s = migrated();
    NUMBER(s, "SELECT count(*) FROM model", files[2].runs);
    hy_store_close(s);
    char *bak = hy_asprintf("%s.bak-v3", g_db);
    strcpy(g_db, bak);
    free(bak);
    unchanged(3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_views_show_the_same),  T(test_nothing_is_lost),
        T(test_measurements),         T(test_failed_runs),
        T(test_found_again),          T(test_joined_runs),
        T(test_reading_an_old_file),  T(test_failed_migration_changes_nothing),
        T(test_runs_under_way),       T(test_views_of_the_user_stay),
        T(test_many_migrate_at_once),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
