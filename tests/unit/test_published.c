// test_published.c - the key `published`: what variants/paper says is printed elsewhere is what comes out here, every
// table row that the project promises has its file, and the key is no part of the model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec/published.h"
#include "core/spec/spec_read.h"

static hy_status parse(const char *text, hy_model_spec *m) {
    hy_yaml *y = NULL;
    if (hy_yaml_parse("t.yaml", text, strlen(text), &y)) fail_msg("%s", hy_error_text());
    hy_status s = hy_spec_from_yaml(y, m);
    hy_yaml_free(y);
    return s;
}

// Printed ratios that no known widths give (README of variants/paper).
static bool unexplained(const char *in) {
    return !strcmp(in, "Table 10 row 9") || !strcmp(in, "Table 10 row 11") || !strcmp(in, "Table 10 row 13");
}

static void check_figure(const char *file, const hy_published *p, double here, const char *printed) {
    char text[32];
    hy_published_round(here, printed, text);
    if (printed[0] && strcmp(text, printed)) fail_msg("%s: %s prints %s, here it is %s", file, p->in, printed, text);
}

// Of each place: whether a file names it, whether one gives a cache for it.
static const struct {
    const char *in;
    bool cache;
} wanted[] = {
    {"Table 1 Transformer", true},   {"Table 1 Mamba", true},        {"Table 1 row A", true},
    {"Table 1 row B", true},         {"Table 1 row C", true},        {"Table 1 row D", true},
    {"Table 1 row E", true},         {"Table 1 row F", true},        {"Table 1 row G", true},
    {"Table 2 Hymba", true},         {"Table 2 Llama-3.2-1B", true}, {"Table 2 Llama-3.2-3B", true},
    {"Table 2 SmolLM2", true},       {"Table 2 Qwen2.5", true},      {"Table 9 Mamba", false},
    {"Table 9 Mamba w/ FFN", false}, {"Table 9 Llama3", false},      {"Table 9 Samba", false},
    {"Table 9 Hymba", false},        {"Table 10 row 1", true},       {"Table 10 row 2", true},
    {"Table 10 row 3", true},        {"Table 10 row 4", true},       {"Table 10 row 5", true},
    {"Table 10 row 6", true},        {"Table 10 row 7", true},       {"Table 10 row 8", true},
    {"Table 10 row 9", true},        {"Table 10 row 10", true},      {"Table 10 row 11", true},
    {"Table 10 row 12", true},       {"Table 10 row 13", true},
};
enum { N_WANTED = sizeof wanted / sizeof *wanted };

static void test_paper_folder(void **state) {
    (void)state;
    bool named[N_WANTED] = {false}, cached[N_WANTED] = {false};
    DIR *dir = opendir("variants/paper");
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".yaml")) continue;
        char path[512];
        hy_model_spec m;
        hy_published_list l;
        hy_param_count c;
        hy_cache_bytes paper;
        snprintf(path, sizeof path, "variants/paper/%s", e->d_name);
        if (hy_spec_load(path, NULL, &m) || hy_published_load(path, &l)) fail_msg("%s", hy_error_text());
        hy_model_count(&m, &c);
        hy_model_cache(&m, HY_CACHE_PAPER, HY_PUBLISHED_TOKENS, 4, 4, 4, NULL, &paper);
        for (int i = 0; i < l.n; i++) {
            check_figure(path, &l.v[i], paper.total / 1e6, l.v[i].cache_mb);
            check_figure(path, &l.v[i], (double)c.total, l.v[i].parameters);
            if (!unexplained(l.v[i].in))
                check_figure(path, &l.v[i], (double)c.ratio_ssm / (double)c.ratio_attention, l.v[i].ratio);
            for (int w = 0; w < N_WANTED; w++)
                if (!strcmp(wanted[w].in, l.v[i].in)) named[w] = true, cached[w] |= l.v[i].cache_mb[0] != 0;
        }
    }
    closedir(dir);
    for (int w = 0; w < N_WANTED; w++)
        if (!named[w] || (wanted[w].cache && !cached[w])) fail_msg("no file of variants/paper gives %s", wanted[w].in);
}

static void test_no_part_of_the_model(void **state) {
    (void)state;
    hy_model_spec a, b;
    char ha[33], hb[33];
    assert_int_equal(parse("d_model: 64\n", &a), HY_OK);
    assert_int_equal(parse("d_model: 64\npublished: [{in: here, cache_mb: 1.50, ratio: 2, parameters: 7}]\n", &b),
                     HY_OK);
    hy_model_spec_hash(&a, ha);
    hy_model_spec_hash(&b, hb);
    assert_string_equal(ha, hb);
    assert_memory_equal(&a, &b, sizeof a);
}

static void test_reading(void **state) {
    (void)state;
    hy_published_list l;
    hy_yaml *y = NULL;
    const char *text = "[{in: Table 10 row 4, cache_mb: 394.00}, {in: b}]";
    assert_int_equal(hy_yaml_parse("t", text, strlen(text), &y), HY_OK);
    assert_int_equal(hy_published_read(y, &l), HY_OK);
    hy_yaml_free(y);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[0].cache_mb, "394.00");  // the digits as they are printed
    assert_string_equal(l.v[1].cache_mb, "");
    assert_ptr_equal(hy_published_cache(&l), &l.v[0]);
    assert_int_equal(hy_published_load("variants/paper/300m-hymba-concat.yaml", &l), HY_OK);
    assert_int_equal(l.n, 1);  // nothing from its base
    assert_string_equal(l.v[0].in, "Table 10 row 11");
    assert_int_equal(hy_published_load("variants/hymba.yaml", &l), HY_OK);
    assert_int_equal(l.n, 0);
}

static void test_faults(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"published: 3\n", "t.yaml:1:12: published must be a list of maps"},
        {"published: [3]\n", "t.yaml:1:13: an entry of published is a map"},
        {"published: [{cache_mb: 3}]\n", "t.yaml:1:13: an entry of published needs in"},
        {"published: [{in: a, cache: 3}]\n", "unknown key \"cache\""},
        {"published: [{in: a, cache_mb: about 3}]\n",
         "t.yaml:1:31: cache_mb must be a number as it is printed, not \"about 3\""},
        {"published: [{in: a, cache_mb: 3.}]\n", "must be a number as it is printed"},
        {"published: [{in: a, ratio: 1:3.64}]\n", "must be a number as it is printed"},
        {"published: [{in: a, parameters: 1.5}]\n", "parameters must be a whole number"},
        {"published: [{in: a, parameters: 1234567890123456}]\n", "parameters must be a whole number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hy_model_spec m;
        if (parse(bad[i].text, &m) != HY_EINPUT) fail_msg("accepted: %s", bad[i].text);
        if (!strstr(hy_error_text(), bad[i].error)) fail_msg("%s: %s", bad[i].text, hy_error_text());
    }
}

static void test_order(void **state) {
    (void)state;
    static const char *const sorted[] = {
        "Table 1 Mamba", "Table 1 row A", "Table 2", "Table 10 row 2", "Table 10 row 10", "a", "a1"};
    for (size_t i = 0; i < sizeof sorted / sizeof *sorted; i++)
        for (size_t j = 0; j < sizeof sorted / sizeof *sorted; j++) {
            int c = hy_published_order(sorted[i], sorted[j]);
            if ((c < 0) != (i < j) || (c > 0) != (i > j)) fail_msg("%s against %s: %d", sorted[i], sorted[j], c);
        }
    char text[32];
    hy_published_round(917.504, "918", text);
    assert_string_equal(text, "918");
    hy_published_round(394.002432, "394.00", text);
    assert_string_equal(text, "394.00");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paper_folder), cmocka_unit_test(test_no_part_of_the_model),
        cmocka_unit_test(test_reading),      cmocka_unit_test(test_faults),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
