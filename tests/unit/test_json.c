// test_json.c - JSON reader and printer, and the table printer on top of it.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format/json.h"
#include "core/format/table.h"

// A text that must be refused, and a word its message must hold.
static void refuse(const char *text, size_t n, const char *word) {
    hy_json *j = NULL;
    assert_int_equal(hy_json_parse(text, n, "f.json", 0, &j), HY_EINPUT);
    assert_null(j);
    if (!strstr(hy_error_text(), word) || strncmp(hy_error_text(), "f.json: ", 8))
        fail_msg("%s: no \"%s\"", hy_error_text(), word);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "JSON"},
        {"{", "JSON"},
        {"{\"a\": 1} x", "end of file expected"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": 1, \"\\u0061\": 2}", "duplicate"},
        {"{\"a\": \"\xff\"}", "decode byte 0xff"},
        {"{\"a\": \"\xed\xa0\x80\"}", "decode byte"},
        {"{\"a\": 9223372036854775808}", "too big"},
        {"{\"a\": 1e999}", "overflow"},
        {"{\"a\": \"\\u0000\"}", "NUL"},
        {"{\"a\": NaN}", "JSON"},
        {"{\"a\": 01}", "JSON"},
        {"[1,]", "JSON"},
        {"{\"a\": \"\\ud800\"}", "invalid Unicode"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].text, strlen(cases[i].text), cases[i].word);
    refuse("{\"a\0\": 1}", 9, "JSON");
}

static void test_depth(void **state) {
    (void)state;
    size_t n = 1 << 20;
    char *s = malloc(n);
    memset(s, '[', n);
    refuse(s, n, "deeper");
    free(s);
    hy_json *j;
    const char *quoted = "[[[\"]]]]]][[[[[[\\\"[[[\"]]]";  // brackets in strings are text
    assert_int_equal(hy_json_parse(quoted, strlen(quoted), "f", 3, &j), HY_OK);
    hy_json_free(j);
    assert_int_equal(hy_json_parse("[[[[1]]]]", 9, "f", 3, &j), HY_EINPUT);
}

static void expect_error(hy_status s, const char *text) {
    assert_int_equal(s, HY_EINPUT);
    assert_string_equal(hy_error_text(), text);
}

static void test_getters(void **state) {
    (void)state;
    const char *text = "{\"i\": 3, \"r\": 2.5, \"s\": \"x\", \"b\": true, \"l\": [1, 2], \"o\": {\"k\": null}}";
    hy_json *j;
    assert_int_equal(hy_json_parse(text, strlen(text), "f", 0, &j), HY_OK);
    int64_t i = 0;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    const hy_json *v = NULL;
    assert_int_equal(hy_json_get_int(j, "f", "i", 0, 3, &i), HY_OK);
    assert_int_equal(i, 3);
    assert_int_equal(hy_json_get_double(j, "f", "i", 0, 9, &d), HY_OK);
    assert_true(d == 3);
    assert_int_equal(hy_json_get_double(j, "f", "r", 0, 9, &d), HY_OK);
    assert_true(d == 2.5);
    assert_int_equal(hy_json_get_bool(j, "f", "b", &b), HY_OK);
    assert_true(b);
    assert_int_equal(hy_json_get_string(j, "f", "s", &s), HY_OK);
    assert_string_equal(s, "x");
    assert_int_equal(hy_json_get_array(j, "f", "l", &v), HY_OK);
    assert_int_equal(hy_json_size(v), 2);
    assert_int_equal(hy_json_int(hy_json_at(v, 1), "f", 0, 9, &i), HY_OK);
    assert_int_equal(i, 2);
    assert_int_equal(hy_json_get_object(j, "f", "o", &v), HY_OK);
    assert_int_equal(hy_json_type_of(hy_json_get(v, "k")), HY_JSON_NULL);
    expect_error(hy_json_get_int(j, "f", "none", 0, 1, &i), "f: \"none\" is missing");
    expect_error(hy_json_get_int(j, "f", "i", 5, 9, &i), "f: \"i\": 3 is outside 5 .. 9");
    expect_error(hy_json_get_int(j, "f", "r", 0, 9, &i), "f: \"r\": is a number, but an integer is wanted here");
    expect_error(hy_json_get_double(j, "f", "s", 0, 9, &d), "f: \"s\": is a string, but a number is wanted here");
    expect_error(hy_json_get_bool(j, "f", "i", &b), "f: \"i\": is an integer, but true or false is wanted here");
    expect_error(hy_json_get_array(j, "f", "o", &v), "f: \"o\": is an object, but a list is wanted here");
    expect_error(hy_json_get_object(j, "f", "l", &v), "f: \"l\": is a list, but an object is wanted here");
    expect_error(hy_json_get_string(hy_json_get(j, "l"), "f: \"l\"", "x", &s),
                 "f: \"l\": is a list, but an object is wanted here");
    char order[8] = "";
    for (void *it = hy_json_first(j); it; it = hy_json_next(j, it)) strcat(order, hy_json_key(it));
    assert_string_equal(order, "irsblo");
    hy_json_free(j);
}

static void test_numbers(void **state) {
    (void)state;
    char s[32];
    static const double values[] = {0.1, 1.0 / 3, 1e-320, 1.7976931348623157e308, -0.0, 3, 123456789.123456789, 5e22};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        hy_json_double_text(values[i], s);
        assert_true(strtod(s, NULL) == values[i]);
        hy_json *j;
        hy_buf b = {0};
        hy_buf_printf(&b, "[%s]", s);
        assert_int_equal(hy_json_parse(b.s, b.n, "f", 0, &j), HY_OK);
        hy_json_free(j);
        free(b.s);
    }
    hy_json_double_text(0.1, s);
    assert_string_equal(s, "0.1");
    hy_json_double_text(3, s);
    assert_string_equal(s, "3.0");
    hy_json_double_text(NAN, s);
    assert_string_equal(s, "null");
}

static void test_build(void **state) {
    (void)state;
    hy_json *o = hy_json_new_object(), *a = hy_json_new_array(), *rows = hy_json_new_array();
    hy_json_set_string(o, "text", "a\"b\\c\n\x01\xff z");
    hy_json_set_double(o, "inf", INFINITY);
    hy_json_set_int(o, "big", INT64_MAX);
    hy_json_set_bool(o, "yes", true);
    hy_json_add(a, hy_json_new_int(1));
    hy_json_add(a, hy_json_new_double(0.5));
    hy_json_set(o, "list", a);
    hy_json_add(rows, hy_json_new_object());
    hy_json_set(o, "rows", rows);
    hy_json_set_string(o, "none", NULL);
    hy_buf b = {0};
    hy_json_text(o, 0, &b);
    assert_string_equal(
        b.s, "{\"text\": \"a\\\"b\\\\c\\n\\u0001\xef\xbf\xbd z\", \"inf\": null, \"big\": 9223372036854775807, "
             "\"yes\": true, \"list\": [1, 0.5], \"rows\": [{}], \"none\": null}");
    b.n = 0;
    hy_json_text(o, 2, &b);
    hy_json *back;
    assert_int_equal(hy_json_parse(b.s, b.n, "f", 0, &back), HY_OK);
    hy_buf c = {0};
    hy_json_text(back, 2, &c);
    assert_string_equal(b.s, c.s);
    hy_json_free(back);
    hy_json_free(o);
    free(b.s);
    free(c.s);
}

static hy_table *sample(void) {
    hy_table *t = hy_table_new("Caches");
    hy_table_column(t, "name", "row", NULL, HY_LEFT);
    hy_table_column(t, "cache_mb", "cache", "MB", HY_RIGHT);
    hy_table_column(t, "runs", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "cache_sd", NULL, "MB", HY_RIGHT);
    hy_table_hidden(t);
    hy_table_row(t);
    hy_table_text(t, "a, \"%s\"", "b");
    hy_table_num_pm(t, 44.1, 0.3, 2);
    hy_table_int(t, 12);
    hy_table_num(t, 0.3, 1);
    hy_table_rule(t);
    hy_table_row(t);
    hy_table_text(t, "Mamba");
    hy_table_num(t, NAN, 1);
    hy_table_note(t, "%d runs", 12);
    return t;
}

static char *printed(const hy_table *t, hy_table_format format) {
    char *s = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&s, &n);
    assert_int_equal(hy_table_print(t, format, f), HY_OK);
    fclose(f);
    return s;
}

static void test_table(void **state) {
    (void)state;
    hy_table *t = sample();
    char *s = printed(t, HY_TABLE_TEXT);
    assert_string_equal(s, "Caches\n"
                           "row            cache  runs\n"
                           "                  MB\n"
                           "--------------------------\n"
                           "a, \"b\"  44.10 \xc2\xb1 0.30    12\n"
                           "--------------------------\n"
                           "Mamba              -\n"
                           "12 runs\n");
    free(s);
    s = printed(t, HY_TABLE_CSV);
    assert_string_equal(s, "name,cache_mb,runs,cache_sd\r\n\"a, \"\"b\"\"\",44.1,12,0.3\r\nMamba,,,\r\n");
    free(s);
    s = printed(t, HY_TABLE_JSON);
    hy_json *j;
    assert_int_equal(hy_json_parse(s, strlen(s), "table", 0, &j), HY_OK);
    const hy_json *rows = hy_json_get(j, "rows"), *first = hy_json_at(rows, 0);
    assert_int_equal(hy_json_size(rows), 2);
    double v = 0;
    assert_int_equal(hy_json_get_double(first, "row", "cache_mb", 44.1, 44.1, &v), HY_OK);
    assert_int_equal(hy_json_type_of(hy_json_get(hy_json_at(rows, 1), "cache_mb")), HY_JSON_NULL);
    assert_int_equal(hy_json_type_of(hy_json_get(hy_json_at(rows, 1), "runs")), HY_JSON_NULL);
    hy_json_free(j);
    free(s);
    hy_table_free(t);
    hy_table_format f;
    assert_int_equal(hy_table_format_parse("csv", &f), HY_OK);
    assert_int_equal(f, HY_TABLE_CSV);
    assert_int_equal(hy_table_format_parse("xml", &f), HY_EINPUT);
}

// A cell stays in its line and its column, whatever it holds; programs get what it holds.
static void test_control_characters(void **state) {
    (void)state;
    hy_table *t = hy_table_new(NULL);
    hy_table_column(t, "text", NULL, NULL, HY_LEFT);
    hy_table_column(t, "n", NULL, NULL, HY_RIGHT);
    hy_table_row(t);
    hy_table_text(t, "a\nb\r\t\x1b[2J\x7f\xc2\x9b\xc3\xa9");
    hy_table_num(t, 1.5, 1);
    hy_table_mark(t, " (%d)", 2);
    char *s = printed(t, HY_TABLE_TEXT);
    assert_string_equal(s, "text                            n\n"
                           "---------------------------------\n"
                           "a\\nb\\r\\t\\x1b[2J\\x7f\\x9b\xc3\xa9  1.5 (2)\n");
    free(s);
    s = printed(t, HY_TABLE_CSV);
    assert_string_equal(s, "text,n\r\n\"a\nb\r\t\x1b[2J\x7f\xc2\x9b\xc3\xa9\",1.5\r\n");
    free(s);
    hy_table_free(t);
}

static void test_table_full(void **state) {
    (void)state;
    FILE *f = fopen("/dev/full", "w");
    if (!f) skip();
    hy_table *t = sample();
    assert_int_equal(hy_table_print(t, HY_TABLE_TEXT, f), HY_EFAIL);
    hy_table_free(t);
    fclose(f);
}

// What Python writes for numbers that JSON lacks; strings and broken words stay what they are.
static void test_python_floats(void **state) {
    (void)state;
    static const struct {
        const char *text, *wanted;  // NULL: refused
    } cases[] = {
        {"{\"a\": [0.0, Infinity], \"b\": -Infinity, \"c\":NaN}",
         "{\"a\": [0.0,{\"__float__\": \"Infinity\"}], \"b\": {\"__float__\": \"-Infinity\"}, \"c\": {\"__float__\": "
         "\"NaN\"}}"},
        {"{\"Infinity\": \"a \\\" NaN -Infinity\"}", "{\"Infinity\": \"a \\\" NaN -Infinity\"}"},
        {"{\"a\": Infin", NULL},
        {"{\"a\": InfinityNaN}", NULL},
        {"NaN", "{\"__float__\": \"NaN\"}"},
        {"{\"model_max_length\": 1000000000000000019884624838656}", "{\"model_max_length\": 1e+30}"},
        {"[9223372036854775807, -9223372036854775808, -1, 0]", "[9223372036854775807, -9223372036854775808, -1, 0]"},
        {"[9223372036854775808,-9223372036854775809]", "[9.223372036854776e+18, -9.223372036854776e+18]"},
        {"[1.00000000000000000000001, \"1000000000000000019884624838656\"]",
         "[1.0, \"1000000000000000019884624838656\"]"},
        {"[00000000000000000000000000001]", NULL},
        {"[1-00000000000000000000000000001]", NULL},
        {"", NULL},
    };
    const char *dir = getenv("TMPDIR");
    char *path = hy_asprintf("%s/hylab-test-json-%d", dir ? dir : "/tmp", (int)getpid());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(hy_file_write(path, cases[i].text, strlen(cases[i].text)), HY_OK);
        hy_json *j = NULL;
        assert_int_equal(hy_json_read(path, 1 << 10, &j), cases[i].wanted ? HY_OK : HY_EINPUT);
        hy_buf b = {0};
        if (j) hy_json_text(j, 0, &b);
        if (cases[i].wanted) assert_string_equal(b.s, cases[i].wanted);
        free(b.s);
        hy_json_free(j);
    }
    unlink(path);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_table_full),
        cmocka_unit_test(test_python_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
