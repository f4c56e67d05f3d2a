// test_incomplete.c - an experiment whose measures failed or are missing, and whose weights were not all trained here:
// what is there is shown, what is not is said. On a store filled by hand.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/summary/summary.h"
#include "results/identity.h"
#include "results/query.h"
#include "results/record.h"

enum { VARIANTS = 5, MEASURES = 2 };
static const struct {
    const char *name, *origin, *source, *failure;  // failure: of the model
    const char *outcome[MEASURES];                 // of accuracy and maps: "" done, NULL not taken, else the error
} variants[VARIANTS] = {
    {"whole", "trained", "", NULL, {"", ""}},
    {"no maps", "trained", "tuned.safetensors", NULL, {"", "cell 7: there is none"}},
    {"published", "file", "hub/model", NULL, {"", NULL}},
    {"drawn", "random", "", NULL, {"", ""}},
    {"broken", "trained", "", "step 3: loss is not finite", {NULL, NULL}},
};
static const char *const measures[MEASURES] = {"accuracy", "maps"};
static const hy_provenance by = {.commit = "c", .build = "b", .device_name = "cpu"};

static void take_measure(hy_store *s, int64_t model, const char *measure, const char *outcome) {
    const hy_measurement_record r = {
        .model_id = model, .measure = measure, .version = 1, .options = "", .task = "", .by = by};
    hy_claim c;
    int64_t id;
    hy_facts f = {0};
    if (!outcome) return;
    assert_int_equal(hy_measurement_claim(s, &r, 0, &c, &id), HY_OK);
    if (!strcmp(measure, "accuracy"))
        hy_facts_add(&f, "accuracy", "", 0.5);
    else
        hy_fact_at(hy_facts_add(&f, "map_entropy", "layer2.ssm", 1.5), 2, "ssm", -1);
    assert_int_equal(hy_measurement_settle(s, id, &f, *outcome ? outcome : NULL), HY_OK);
    hy_facts_free(&f);
}

static void make_model(hy_store *s, int v, const char *key) {
    hy_model_record r = {.seed = 1,
                         .device = "cpu",
                         .origin = variants[v].origin,
                         .variant = variants[v].name,
                         .experiment = "e",
                         .task = "t",
                         .train = "none\n",
                         .precision = "f32",
                         .source = variants[v].source,
                         .by = by};
    snprintf(r.model_key, sizeof r.model_key, "%.32s", key);
    hy_claim c;
    int64_t id;
    hy_facts f = {.steps = 3};
    assert_int_equal(hy_model_claim(s, &r, 0, &c, &id), HY_OK);
    assert_int_equal(hy_model_settle(s, id, &f, NULL, NULL, variants[v].failure), HY_OK);
    for (int i = 0; i < MEASURES; i++) take_measure(s, id, measures[i], variants[v].outcome[i]);
    hy_facts_free(&f);
}

static hy_summary *summary_of(void (*look)(hy_store *s)) {
    char path[] = "/tmp/hylab-incomplete-XXXXXX", measure_key[33], keys[VARIANTS][16];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    hy_store *s;
    assert_int_equal(hy_store_open(path, HY_STORE_WRITE, &s), HY_OK);
    hy_measurement_identity("", "", measure_key);
    const hy_planned_key wanted[MEASURES] = {{measures[0], 1, measure_key}, {measures[1], 1, measure_key}};
    hy_planned_row plan[VARIANTS];
    for (int v = 0; v < VARIANTS; v++) {
        snprintf(keys[v], sizeof keys[v], "k%d", v);
        plan[v] = (hy_planned_row){.variant = variants[v].name,
                                   .task = "t",
                                   .grid = "",
                                   .variant_ord = v,
                                   .seed = 1,
                                   .model_key = keys[v],
                                   .device = "cpu",
                                   .n_measures = MEASURES,
                                   .measures = wanted};
    }
    const hy_experiment_record e = {
        .name = "e", .scale = "", .sets = "", .question = "q", .yaml = "yaml", .n_plan = VARIANTS, .plan = plan};
    int64_t id;
    assert_int_equal(hy_experiment_store(s, &e, &id), HY_OK);
    for (int v = 0; v < VARIANTS; v++) make_model(s, v, keys[v]);
    hy_summary *m = NULL;
    if (hy_summary_load(s, "e", "", "", &m)) fail_msg("%s", hy_error_text());
    if (look) look(s);
    hy_store_close(s);
    for (int i = 0; i < 3; i++) {
        char *file = hy_asprintf("%s%s", path, (const char *[]){"", "-wal", "-shm"}[i]);
        unlink(file);
        free(file);
    }
    return m;
}

// done and failed count models; what was measured of a done one stays whatever else failed.
static void test_counts(void **state) {
    (void)state;
    hy_summary *m = summary_of(NULL);
    assert_int_equal(m->n_rows, VARIANTS);
    for (int v = 0; v < VARIANTS; v++) {
        const hy_summary_row *r = &m->rows[v];
        const bool broken = variants[v].failure != NULL;
        assert_int_equal(r->done, !broken);
        assert_int_equal(r->failed, broken);
        assert_int_equal(r->measures_failed, v == 1);
        assert_int_equal(r->measures_left, v == 2);
        assert_string_equal(r->origin, broken ? "" : variants[v].origin);
        const hy_summary_value *a = hy_summary_shown(r, "accuracy"), *map = hy_summary_shown(r, "map_entropy");
        assert_int_equal(a != NULL, !broken);
        assert_int_equal(map != NULL, v == 0 || v == 3);
        if (map && (map->layer != 2 || map->head != -1 || strcmp(map->kind, "ssm"))) fail_msg("not at its place");
        if (a && (a->layer != -1 || *a->kind || a->stat.mean != 0.5)) fail_msg("not of the whole model");
    }
    hy_summary_free(m);
}

static void test_what_is_said(void **state) {
    (void)state;
    hy_summary *m = summary_of(NULL);
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(hy_summary_print(m, HY_TABLE_TEXT, f), HY_OK);
    fclose(f);
    static const char *const said[] = {
        "\n1 run failed: hylab show runs --status failed\n",
        "\n1 measurement is still to do\n",
        "\na measurement failed, its figures are missing: maps of no maps, seed 1 (run 2): cell 7: there is none\n",
        ("\nnot trained here from the start: weights from a file: published; random weights: drawn; trained on from a "
         "file: no maps\n"),
        "no maps        1     50.00\n",
        "broken         0         -\n",
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (!strstr(text, said[i])) fail_msg("not said: %s\nin\n%s", said[i], text);
    free(text);
    hy_summary_free(m);
}

// The notes of the runs that `hylab show runs --status STATUS` lists, "VARIANT: NOTE|"
static void lists(hy_store *s, const char *status, const char *wanted) {
    const hy_run_filter f = {"", status, "", false};
    hy_query *q;
    hy_buf b = {0};
    bool row = false;
    assert_int_equal(hy_ask_runs(s, &f, &q), HY_OK);
    while (!hy_query_step(q, &row) && row)
        hy_buf_printf(&b, "%s %s: %s|", hy_query_text(q, 1), hy_query_text(q, 3),
                      hy_query_text(q, hy_query_columns(q) - 1));
    hy_query_close(q);
    if (strcmp(b.s ? b.s : "", wanted)) fail_msg("%s: %s\n  wanted: %s", status, b.s, wanted);
    free(b.s);
}

// A run that is done is listed as failed, too, where a measurement of it is.
static void look_at_runs(hy_store *s) {
    lists(s, "failed", "done no maps: maps failed: cell 7: there is none|failed broken: step 3: loss is not finite|");
    lists(s, "done", "done whole: |done no maps: maps failed: cell 7: there is none|done published: |done drawn: |");
    lists(s, "running", "");
}

static void test_listing(void **state) {
    (void)state;
    hy_summary_free(summary_of(look_at_runs));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_listing), cmocka_unit_test(test_counts),
                                       cmocka_unit_test(test_what_is_said)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
