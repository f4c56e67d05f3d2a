// test_damaged_figures.c - databases whose numbers cannot be: what becomes an index, a size or an axis of a figure, of
// a table or of the page. Each is refused with words or drawn without what is not there; run under sanitizers.
#include <sqlite3.h>

#include "tests/unit/figure_fixture.h"
#include "tests/unit/figure_reader.h"

static char g_out[64];  // of the figures: in memory where that is possible, for they are written with fsync

static int prepare(void **state) {
    if (setup(state)) return -1;
    strcpy(g_out, "/dev/shm/hylab-figures-XXXXXX");
    if (!mkdtemp(g_out)) strcpy(g_out, g_dir);
    figure_stand_in();
    hy_store_close(figure_store());
    return 0;
}

// A copy of the database with a statement run on it by a program that knows nothing of hylab.
static char *damaged(const char *sql) {
    char *path = hy_asprintf("%s/damaged.db", g_dir), *copy = hy_asprintf("rm -f %s*; cp %s %s", path, g_db, path),
         *said = NULL;
    assert_int_equal(system(copy), 0);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &said)) fail_msg("%s: %s", sql, said);
    sqlite3_close(db);
    free(copy);
    return path;
}

// Everything that plot and report do; the figures stay for a look.
static hy_status draw_all(const char *path) {
    hy_store *s;
    hy_summary *m = NULL;
    HY_TRY(hy_store_open(path, HY_STORE_READ, &s));
    hy_status st = hy_summary_load(s, "fig", "small", "", &m);
    hy_plots p = {.store = s, .s = m, .dir = g_out, .formats = HY_FIG_SVG};
    hy_report *r = hy_report_new("fig", NULL);
    if (!st) st = hy_plots_draw(&p, NULL);
    if (!st || p.n) {  // a page of what could be drawn
        const hy_status page = hy_report_page(&p, r);
        if (!st) st = page;
    }
    hy_report_free(r);
    hy_plots_free(&p);
    hy_summary_free(m);
    hy_store_close(s);
    return st;
}

#define BIG "9223372036854775807"
static const struct {
    const char *sql;
    const char *refused;  // a word of the message; NULL: drawn (or refused by the store, as a damaged file)
} cases[] = {
    {"UPDATE planned SET variant_ord = 2147483647 WHERE variant_ord = 2", "variant"},
    {"UPDATE planned SET variant_ord = -1 WHERE variant_ord = 2", "variant"},
    {"UPDATE planned SET variant_ord = 100000 WHERE variant_ord = 2 AND seed = 11", "variant"},
    {"UPDATE planned SET task_ord = -7", "task"},
    {"UPDATE planned SET task_ord = 1000000000 WHERE task_ord = 1", "task"},
    {"UPDATE planned SET grid_ord = 2147483647 WHERE grid_ord = 1", "grid point"},
    {"UPDATE metric SET layer = -7 WHERE layer = 1", "layer"},
    {"UPDATE metric SET layer = 2147483647 WHERE layer = 1", "layer"},
    {"UPDATE metric SET layer = -2147483648 WHERE layer = 0 AND cell = 'layer0.kv'", "layer"},
    {"UPDATE planned SET variant_ord = 90000 WHERE variant_ord = 2", NULL},
    {"UPDATE planned SET variant_ord = " BIG " WHERE variant_ord = 2", NULL},
    {"UPDATE planned SET grid_ord = 99999 WHERE grid_ord = 1", NULL},
    {"UPDATE planned SET variant_ord = 0", NULL},  // all are one
    {"UPDATE planned SET grid_ord = 0, task_ord = 0", NULL},
    {"UPDATE metric SET layer = 60000 WHERE layer = 1", NULL},
    {"UPDATE metric SET kind = 'zebra' WHERE kind = 'kv'", NULL},
    {"UPDATE metric SET value = 9e999 WHERE id % 3 = 0", NULL},
    {"UPDATE metric SET value = 1e308", NULL},
    {"UPDATE metric SET value = -1e308 WHERE id % 2; UPDATE metric SET value = 1e308 WHERE NOT id % 2", NULL},
    {"UPDATE metric SET value = 5e-324", NULL},
    {"UPDATE metric SET value = NULL", NULL},
    {"UPDATE metric SET value = 0", NULL},
    {"UPDATE metric SET value = -value", NULL},
    {"UPDATE metric SET x = NULL, y = NULL", NULL},
    {"UPDATE metric SET x = 9e999, y = 9e999", NULL},
    {"UPDATE metric SET x = id, y = -id", NULL},
    {"UPDATE metric SET meta = NULL", NULL},
    {"UPDATE sample SET value = 9e999 WHERE rep = 1", NULL},
    {"UPDATE curve SET loss = 9e999 WHERE step % 2", NULL},
    {"UPDATE curve SET step = step * 1000000000000000", NULL},
    {"UPDATE planned_grid SET value = 'much'", NULL},
    {"UPDATE experiment SET tune_by = 'nothing'", NULL},
    {"UPDATE experiment SET base = 'nobody', question = char(0) || 'x'", NULL},
    {"UPDATE planned SET variant = ''", NULL},
    {"UPDATE planned SET variant = CAST(x'ff27efbfbf0a5c' AS TEXT) WHERE variant_ord = 1", NULL},
    {"UPDATE planned SET variant = hex(zeroblob(3000)) WHERE variant_ord = 1", NULL},
    {"UPDATE planned SET seed = -" BIG " WHERE seed = 12; UPDATE model SET seed = -" BIG " WHERE seed = 12", NULL},
    {"DELETE FROM metric", NULL},
    {"DELETE FROM artifact", NULL},
    {"DELETE FROM model", NULL},
    {"DELETE FROM planned", NULL},
    {"UPDATE artifact SET shape = '[1000000,1000000]'", "shape"},
    {"UPDATE artifact SET shape = '[-5,-5]'", "shape"},
    {"UPDATE artifact SET shape = '[1,25]'", "shape"},
    {"UPDATE artifact SET data = x'00'", "shape"},
    {"UPDATE artifact SET data = zeroblob(100)", NULL},
    {"UPDATE artifact SET meta = '{\"meta_tokens\":2147483647,\"cell\":\"c\",\"options\":\"o\"}'", NULL},
    {"UPDATE artifact SET meta = '{\"meta_tokens\":-9}'", NULL},
    {"UPDATE artifact SET layer = -3", NULL},
    {"UPDATE artifact SET kind = 'attention'", NULL},
};

static void test_damaged(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = damaged(cases[i].sql);
        const hy_status s = draw_all(path);
        if (cases[i].refused ? s != HY_EINPUT : s && s != HY_EINPUT)
            fail_msg("%s: status %d, %s", cases[i].sql, s, s ? hy_error_text() : "drawn");
        if (s && !strstr(hy_error_text(), "damaged.db") && !strstr(hy_error_text(), "run ") &&
            !strstr(hy_error_text(), "figure ") && !strstr(hy_error_text(), "fig"))
            fail_msg("%s: does not say where: %s", cases[i].sql, hy_error_text());
        if (cases[i].refused && !strstr(hy_error_text(), cases[i].refused) && !strstr(hy_error_text(), "damaged"))
            fail_msg("%s: %s", cases[i].sql, hy_error_text());
        free(path);
    }
}

// What is drawn of an axis without bounds: no number of a script is infinite, so that gnuplot takes it.
static void test_scripts_are_finite(void **state) {
    (void)state;
    static const char *const sql[] = {"UPDATE metric SET value = 9e999 WHERE id % 3 = 0",
                                      "UPDATE metric SET value = 1e308", "UPDATE metric SET x = 9e999, y = 9e999",
                                      "UPDATE curve SET loss = 9e999"};
    for (int i = 0; i < 4; i++) {
        char *path = damaged(sql[i]), *clear = hy_asprintf("rm -f %s/*.gp %s/*.dat %s/*.svg", g_out, g_out, g_out),
             *look = hy_asprintf("! grep -iE '(range .|screen |graph )[^]]*(inf|nan)' %s/*.gp", g_out);
        assert_int_equal(system(clear), 0);
        draw_all(path);
        if (system(look)) fail_msg("%s", sql[i]);
        free(path), free(clear), free(look);
    }
}

static int end(void **state) {
    char *cmd = hy_asprintf("rm -rf %s", g_out);
    const int rc = system(cmd);
    free(cmd);
    return teardown(state) || rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damaged), cmocka_unit_test(test_scripts_are_finite)};
    return cmocka_run_group_tests_name("damaged_figures", tests, prepare, end);
}
