// test_measure.c - the registry of measures: options as text and back, plans of experiments. What measures find is
// test_measure_facts.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/measure/measure_plan.h"
#include "core/format/yaml.h"
#include "tests/unit/error_check.h"

// ---------------------------------------------------------------------------------------------------- options
static char *text_of(const hy_measure *m, const void *options) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    hy_measure_options_text(m, options, &b);
    return b.s;
}

static void every_measure_is_sound(void **state) {
    (void)state;
    char *names = hy_measure_names();
    for (int i = 0; hy_measures[i]; i++) {
        const hy_measure *m = hy_measures[i];
        hy_measure_options a, b;
        assert_ptr_equal(hy_measure_find(m->name), m);
        assert_non_null(strstr(names, m->name));
        assert_true(m->version >= 1 && m->doc && m->run && m->options_size <= sizeof a);
        if (hy_measure_options_read(m, "", &a)) fail_msg("%s: %s", m->name, hy_error_text());
        assert_int_equal(hy_fields_check(m->fields, &a, NULL), HY_OK);
        char *first = text_of(m, &a);
        assert_int_equal(hy_measure_options_read(m, first, &b), HY_OK);
        assert_memory_equal(&a, &b, sizeof a);
        for (const hy_field *f = m->fields; f->name; f++) assert_string_not_equal(f->doc, "");
        free(first);
    }
    assert_null(hy_measure_find("speed"));
    free(names);
}

// What stored measurements are identified by: a change here makes every stored one another.
static void texts_of_the_defaults(void **state) {
    (void)state;
    static const char *const wanted[][2] = {
        {"accuracy", ""},
        {"size", ""},
        {"cache", "tokens: 8000\n"},
        {"throughput",
         "contexts: [256]\nbatch: [1]\nrepetitions: 5\nwarmup: 1\ndecode_tokens: 16\ntrain: true\nprefill: "
         "true\ndecode: true\n"},
        {"maps", "layers: []\nexamples: 1\ncell: 0\nmax_len: 256\nheads: false\nreduce: mean_abs\ngate: false\n"},
        {"erf",
         "examples: 8\ncell: 0\nssm: group\nheads: halves\nmeta: included\nmissing: skip\nuniform: false\nreduce: "
         "mean_abs\ngate: false\n"},
        {"outputs", "examples: 8\ncell: 0\npositions: text\n"},
        {"stream", "examples: 8\ncell: 0\npositions: text\n"},
        {"ablation", "parts: branches\nhow: zero\nexamples: 64\n"},
        {"removal", "parts: heads\nhow: zero\nexamples: 64\nreference: 64\npoints: 8\norders: 5\n"},
        {"kv_similarity", "examples: 8\ncell: 0\nmax_len: 256\npositions: text\nkeys: before_rope\ncka: plain\n"},
        {"reach",
         "examples: 8\ncell: 0\nmax_len: whole\nrows: 1\nmass: 0.9\nmeta: included\ndecay: product\nheads: false\n"},
        {"retrieval",
         "examples: 8\ncell: 0\nmax_len: whole\nsource: match\nwhich: all\nreduce: mean_abs\ngate: false\n"},
        {"meta", "prompts: cells\nexamples: 8\nmax_len: whole\nlayers: []\nheads: false\n"},
        {"gradient_erf",
         "examples: 8\ncell: 0\nmax_len: whole\nof: projection\nnorm: l2\nmeta: included\nmass: 0.9\neach: none\n"},
        {"contributions", "layers: []\nexamples: 1\ncell: 0\nmax_len: 256\nrows: all\nkeep: maps\n"},
    };
    int n = 0;
    for (; hy_measures[n]; n++) {
    }
    assert_int_equal(n, sizeof wanted / sizeof *wanted);
    for (int i = 0; i < n; i++) {
        hy_measure_options o;
        const hy_measure *m = hy_measure_find(wanted[i][0]);
        assert_int_equal(hy_measure_options_read(m, "", &o), HY_OK);
        char *text = text_of(m, &o);
        assert_string_equal(text, wanted[i][1]);
        free(text);
    }
}

static void options_are_read_and_refused(void **state) {
    (void)state;
    hy_measure_options o;
    const hy_measure *maps = hy_measure_find("maps"), *accuracy = hy_measure_find("accuracy");
    assert_int_equal(hy_measure_options_read(maps, "layers: [0, 2]\nkeep: statistics\nsingle_heads: [1]", &o), HY_OK);
    char *text = text_of(maps, &o);
    assert_string_equal(
        text, "layers: [0, 2]\nexamples: 1\ncell: 0\nmax_len: 256\nheads: false\nreduce: mean_abs\ngate: false\n"
              "single_heads: [1]\nkeep: statistics\n");
    free(text);
    assert_int_equal(hy_measure_options_read(accuracy, "examples: 7", &o), HY_OK);
    assert_int_equal(hy_measure_option_int(accuracy, &o, "examples"), 7);
    assert_int_equal(hy_measure_options_read(accuracy, "examples: all", &o), HY_OK);
    assert_int_equal(hy_measure_option_int(accuracy, &o, "examples"), 0);
    assert_int_equal(hy_measure_options_read(maps, "layer: 3", &o), HY_EINPUT);
    assert_error("measure maps");
    assert_error("did you mean \"layers\"");
    assert_int_equal(hy_measure_options_read(maps, "max_len: 0", &o), HY_EINPUT);
    assert_error("measure maps");
}

// ---------------------------------------------------------------------------------------------------- plans
static hy_status plan_of(const char *yaml, hy_measure_plan *out) {
    hy_yaml *y = NULL;
    hy_status s = hy_yaml_parse("e.yaml", yaml, strlen(yaml), &y);
    if (!s) s = hy_measure_plan_read(y, out);
    hy_yaml_free(y);
    return s;
}

static void plan_is(const hy_measure_plan *p, const char *names) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int i = 0; i < p->n; i++) hy_buf_printf(&b, "%s%s", i ? " " : "", p->v[i].measure->name);
    assert_string_equal(b.s, names);
    free(b.s);
}

static void what_is_on(void **state) {
    (void)state;
    hy_measure_plan p;
    assert_int_equal(hy_measure_plan_read(NULL, &p), HY_OK);
    plan_is(&p, "accuracy size cache");
    assert_false(p.v[0].named || p.v[1].named || p.v[2].named);
    assert_int_equal(plan_of("{erf: true, cache: false, accuracy: true}", &p), HY_OK);
    plan_is(&p, "accuracy size erf");
    assert_true(p.v[0].named && !p.v[1].named && p.v[2].named);
    assert_int_equal(plan_of("{accuracy: false, size: false, cache: [{tokens: 200}, {tokens: 8000}]}", &p), HY_OK);
    plan_is(&p, "cache cache");
    assert_int_equal(hy_measure_option_int(p.v[0].measure, &p.v[0].options, "tokens"), 200);
    assert_int_equal(hy_measure_option_int(p.v[1].measure, &p.v[1].options, "tokens"), 8000);
    assert_int_equal(plan_of("{cache: , maps: false}", &p), HY_OK);
    plan_is(&p, "accuracy size cache");
}

static void seeds_of_a_measure(void **state) {
    (void)state;
    hy_measure_plan p;
    assert_int_equal(
        plan_of("{cache: false, erf: {only_seed: 3, examples: 2}, maps: {seeds: [1, 2]}, throughput: {only_seed: 0}}",
                &p),
        HY_OK);
    plan_is(&p, "accuracy size throughput maps erf");
    static const bool wants[][4] = {{true, true, true, true},
                                    {true, true, true, true},
                                    {true, true, true, true},
                                    {false, true, true, false},
                                    {false, false, false, true}};
    for (int i = 0; i < p.n; i++)
        for (int seed = 0; seed < 4; seed++) assert_int_equal(hy_measure_plan_wants(&p.v[i], seed), wants[i][seed]);
    assert_int_equal(p.v[4].seeds.n, 1);
    assert_int_equal(p.v[4].seeds.v[0], 3);
    // seeds say where, not what: they are no part of the options
    char *text = text_of(p.v[4].measure, &p.v[4].options);
    assert_null(strstr(text, "seed"));
    free(text);
    assert_int_equal(plan_of("{maps: {seeds: [1], only_seed: 1}}", &p), HY_EINPUT);
    assert_error("measure maps: e.yaml:1:");
}

static void plans_that_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *error;
    } all[] = {
        {"{map: true}", "did you mean \"maps\""},
        {"{erf: {exmples: 2}}", "measure erf: e.yaml:1:8: unknown key \"exmples\" (did you mean \"examples\"?)"},
        {"{erf: {ssm: heads}}", "measure erf: e.yaml:1:13"},
        {"{cache: [{tokens: 5}, {tokens: 5}]}", "measure cache: e.yaml:1:23: the same options twice"},
        {"{cache: yes}", "measure cache"},
        {"[cache]", "keys and values"},
        {"{maps: {layers: [256]}}", "measure maps"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        hy_measure_plan p;
        assert_int_equal(plan_of(all[i].yaml, &p), HY_EINPUT);
        assert_error(all[i].error);
    }
    hy_buf b = {0};  // more measures than a plan holds
    hy_buf_printf(&b, "{cache: [");
    for (int i = 0; i < HY_MEASURES_MAX + 1; i++) hy_buf_printf(&b, "{tokens: %d}, ", i + 1);
    hy_buf_printf(&b, "]}");
    hy_measure_plan p;
    assert_int_equal(plan_of(b.s, &p), HY_EINPUT);
    assert_error("more than 63 measures");
    free(b.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_measure_is_sound),       cmocka_unit_test(texts_of_the_defaults),
        cmocka_unit_test(options_are_read_and_refused), cmocka_unit_test(what_is_on),
        cmocka_unit_test(seeds_of_a_measure),           cmocka_unit_test(plans_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
