// store_fixture.h - what the tests of the results database share: a folder for each test, checks that show the error,
// one number.
#ifndef HY_STORE_FIXTURE_H
#define HY_STORE_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "results/record.h"
#include "results/schema.h"

static char g_dir[64], g_db[96];  // of the running test; the database does not exist yet

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

#define OK(e)                                             \
    do {                                                  \
        hy_status ok_ = (e);                              \
        if (ok_) fail_msg("%s: %s", #e, hy_error_text()); \
    } while (0)
// The message of the last failure says so.
#define SAYS(part)                                                                                   \
    do {                                                                                             \
        if (!strstr(hy_error_text(), part)) fail_msg("\"%s\" is not in: %s", part, hy_error_text()); \
    } while (0)

static inline int64_t number(hy_store *s, const char *sql) {
    hy_query *q;
    bool row = false;
    OK(hy_query_open(s, sql, &q));
    OK(hy_query_step(q, &row));
    if (!row) fail_msg("no row: %s", sql);
    int64_t v = hy_query_int(q, 0);
    hy_query_close(q);
    return v;
}
#define NUMBER(s, sql, expected)                                                                                  \
    do {                                                                                                          \
        const int64_t got_ = number(s, sql);                                                                      \
        if (got_ != (expected)) fail_msg("%s: %lld, expected %lld", sql, (long long)got_, (long long)(expected)); \
    } while (0)

// Statements as another program would give them.
static inline void raw_sql(const char *path, const char *sql) {
    sqlite3 *db;
    char *why = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK) fail_msg("%s: %s", sql, why);
    sqlite3_close(db);
}

// Quicker than hy_file_write, which waits for the disk.
static inline void put_file(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

// The plan of one run, of model "k" (below) with one measure, and its experiment.
static inline hy_planned_row one_run(const hy_planned_key *measure) {
    return (hy_planned_row){.variant = "v",
                            .task = "t",
                            .grid = "",
                            .seed = 1,
                            .model_key = "k",
                            .device = "cpu",
                            .n_measures = 1,
                            .measures = measure};
}
static inline hy_experiment_record experiment_of(const hy_planned_row *plan) {
    return (hy_experiment_record){
        .name = "e", .scale = "", .sets = "", .question = "?", .yaml = "", .n_plan = 1, .plan = plan};
}

// A model of a small spec; key and seed tell it from others.
static inline hy_model_record model(const char *key, int64_t seed) {
    hy_model_record r = {.seed = seed,
                         .device = "cpu",
                         .variant = "v",
                         .experiment = "e",
                         .spec_hash = "h",
                         .spec = "d_model: 16\n",
                         .task = "t",
                         .task_kind = "mqar",
                         .by = {.commit = "abc", .build = "b", .device_name = "a cpu", .threads = 1}};
    snprintf(r.model_key, sizeof r.model_key, "%s", key);
    return r;
}

static inline hy_claim claim_model(hy_store *s, const char *key, unsigned flags, int64_t *id) {
    const hy_model_record r = model(key, 1);
    hy_claim c;
    OK(hy_model_claim(s, &r, flags, &c, id));
    return c;
}

// Ten steps whose second point of the curve is `loss`; weights and hash as given.
static inline void settle_model(hy_store *s, int64_t id, double loss, const char *weights, const char *hash,
                                const char *error) {
    hy_facts f = {.steps = 10};
    hy_facts_add(&f, "train_seconds", "", 1);
    hy_facts_curve(&f, &(hy_curve_point){1, 3.5, 1e-3, 1, 100});
    hy_facts_curve(&f, &(hy_curve_point){10, loss, 1e-3, 1, 100});
    OK(hy_model_settle(s, id, &f, weights, hash, error));
    hy_facts_free(&f);
}

static inline hy_claim claim_measure(hy_store *s, int64_t model_id, const char *options, unsigned flags, int64_t *id) {
    const hy_measurement_record r = {.model_id = model_id,
                                     .measure = "accuracy",
                                     .version = 1,
                                     .options = options,
                                     .task = "kind: mqar\n",
                                     .by = {.commit = "abc", .build = "b", .device_name = "a cpu", .threads = 1}};
    hy_claim c;
    OK(hy_measurement_claim(s, &r, flags, &c, id));
    return c;
}

// A figure, a timing with three samples, an array.
static inline void settle_measure(hy_store *s, int64_t id, double accuracy, const char *error) {
    hy_facts f = {.steps = 10};
    hy_facts_add(&f, "accuracy", "", accuracy);
    hy_fact *t = hy_facts_add(&f, "throughput_train", "T8.B1", 5);
    hy_fact_samples(t, (double[]){4, 5, 6}, 3);
    t->x = 8;
    t->y = 1;
    hy_artifact_at(hy_facts_artifact(&f, "map.layer1.ssm", "f32", 2, (int[]){2, 2}, (float[]){1, 2, 3, 4}, "{\"a\":1}"),
                   1, "ssm", -1);
    OK(hy_measurement_settle(s, id, &f, error));
    hy_facts_free(&f);
}
#endif
