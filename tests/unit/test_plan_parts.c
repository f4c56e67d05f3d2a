// test_plan_parts.c - the plan of a sweep in parts: each shard stores its own rows, and a merge unites those of one
// plan in any order and grouping; of different plans the one planned last counts.
#include "store_fixture.h"

#include "results/merge.h"

enum { RUNS = 6 };
static const int shard_of[RUNS] = {1, 2, 3, 1, 2, 3};

static char *in_dir(const char *name) { return hy_asprintf("%s/%s", g_dir, name); }

// Runs 0 .. 5, of grid points 0 .. 2; key: of the model of the first one. shard 0: all.
static void store_plan(const char *db, const char *first_key, int shard, const char *when) {
    static const hy_planned_key wants = {"accuracy", 1, "k"};
    hy_planned_row plan[RUNS];
    const hy_grid_row grid[] = {{0, "train.lr", "1e-3"}, {1, "train.lr", "2e-3"}, {2, "train.lr", "3e-3"}};
    char keys[RUNS][8];
    for (int i = 0; i < RUNS; i++) {
        snprintf(keys[i], sizeof keys[i], "m%d", i);
        plan[i] = (hy_planned_row){.variant = "v",
                                   .task = "t",
                                   .grid = "g",
                                   .grid_ord = i % 3,
                                   .seed = i,
                                   .model_key = i ? keys[i] : first_key,
                                   .device = "cpu",
                                   .n_measures = 1,
                                   .measures = &wants};
    }
    const hy_experiment_record e = {.name = "e",
                                    .scale = "small",
                                    .sets = "",
                                    .question = "?",
                                    .yaml = "name: e",
                                    .n_plan = RUNS,
                                    .plan = plan,
                                    .n_grid = 3,
                                    .grid = grid,
                                    .marked = true,
                                    .shard_of = shard ? shard_of : NULL,
                                    .shard = shard};
    hy_store *s;
    int64_t id;
    OK(hy_store_open(db, HY_STORE_WRITE, &s));
    OK(hy_experiment_store(s, &e, &id));
    hy_store_close(s);
    char *sql = hy_asprintf("UPDATE experiment SET planned = '%s'", when);
    raw_sql(db, sql);
    free(sql);
}

// All of a plan as one text, but when it was planned.
static char *plan_of(const char *db) {
    hy_store *s;
    hy_query *q;
    bool row = false;
    hy_buf b = {0};
    OK(hy_store_open(db, HY_STORE_READ, &s));
    OK(hy_query_open(s,
                     "SELECT yaml FROM experiment UNION ALL SELECT * FROM (SELECT p.ord || p.model_key || p.seed ||"
                     " w.measure || w.key FROM planned p JOIN planned_measure w USING(experiment_id, ord) ORDER BY 1)"
                     " UNION ALL SELECT * FROM (SELECT grid_ord || path || value FROM planned_grid ORDER BY 1)",
                     &q));
    while (!hy_query_step(q, &row) && row) hy_buf_printf(&b, "%s\n", hy_query_text(q, 0));
    hy_query_close(q);
    hy_store_close(s);
    return b.s;
}

static int merge(const char *dest, const char *shard) {
    hy_store *to, *from;
    hy_merge *m;
    hy_merge_counts c;
    bool copied;
    char *copy = hy_asprintf("%s.copy", dest);
    OK(hy_store_open(dest, HY_STORE_WRITE, &to));
    OK(hy_merge_begin(to, &m));
    OK(hy_merge_open(shard, copy, &from, &copied));
    OK(hy_merge_shard(m, from, NULL, NULL, &c));
    hy_store_close(from);
    hy_merge_end(m);
    hy_store_close(to);
    free(copy);
    return c.plans;
}

static void is_plan(const char *db, const char *other) {
    char *a = plan_of(db), *b = plan_of(other);
    assert_string_equal(a, b);
    free(a), free(b);
}

static void make_parts(char *part[4]) {
    part[0] = in_dir("whole.db");
    store_plan(part[0], "m0", 0, "2026-01-02");
    for (int k = 1; k < 4; k++) {
        char name[16], when[16];
        snprintf(name, sizeof name, "p%d.db", k), snprintf(when, sizeof when, "2026-01-0%d", k);
        part[k] = in_dir(name);
        store_plan(part[k], "m0", k, when);
    }
}

static void free_parts(char *part[4]) {
    for (int k = 0; k < 4; k++) free(part[k]);
}

static void test_any_order(void **state) {
    (void)state;
    static const int orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    char *part[4], *text;
    make_parts(part);
    text = plan_of(part[2]);
    assert_null(strstr(text, "0m0"));  // only what is its own, and the line that tells the whole
    assert_non_null(strstr(text, "1m1") ? strstr(text, "4m4") : NULL);
    assert_null(strstr(text, "train.lr0.001"));
    assert_non_null(strstr(text, "name: e\n# plan of 6 runs: "));
    free(text);
    for (int o = 0; o < 6; o++) {
        char name[16];
        snprintf(name, sizeof name, "d%d.db", o);
        char *d = in_dir(name);
        for (int i = 0; i < 3; i++) assert_int_equal(merge(d, part[orders[o][i]]), 1);
        is_plan(d, part[0]);
        assert_int_equal(merge(d, part[orders[o][0]]) + merge(d, part[0]), 0);
        free(d);
    }
    char *ab = in_dir("ab.db"), *c_ab = in_dir("c_ab.db");
    merge(ab, part[1]), merge(ab, part[2]), merge(c_ab, part[3]), merge(c_ab, ab);
    is_plan(c_ab, part[0]);
    // parts of a later time take nothing away from the whole
    assert_int_equal(merge(part[0], part[3]), 0);
    is_plan(c_ab, part[0]);
    free(ab), free(c_ab);
    free_parts(part);
}

static void test_one_database(void **state) {
    (void)state;
    char *part[4], *d = in_dir("all.db");
    make_parts(part);
    for (int k = 3; k; k--) store_plan(d, "m0", k, "2026-01-01"), store_plan(d, "m0", k, "2026-01-01");
    is_plan(d, part[0]);
    free(d);
    free_parts(part);
}

static void test_another_plan(void **state) {
    (void)state;
    char *part[4], *later = in_dir("later.db"), *d = in_dir("d.db"), *e = in_dir("e.db");
    make_parts(part);
    store_plan(later, "changed", 1, "2026-01-09");  // a variant was edited: the text of the experiment is the same
    merge(d, part[1]), merge(d, part[2]);
    assert_int_equal(merge(d, later), 1);
    is_plan(d, later);
    assert_int_equal(merge(d, part[3]), 0);
    is_plan(d, later);
    for (int k = 1; k < 4; k++) merge(e, part[k]);
    store_plan(e, "changed", 1, "2026-01-09");
    is_plan(e, later);
    free(later), free(d), free(e);
    free_parts(part);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_plan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
