// test_yaml.c - the YAML tree and the tables of fields: what is read, what is refused and where the message points.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/yaml.h"

static hy_yaml *must(const char *text) {
    hy_yaml *y = NULL;
    if (hy_yaml_parse("t", text, strlen(text), &y)) fail_msg("%s", hy_error_text());
    return y;
}

static void refused_n(const char *text, size_t n, const char *where_and_what) {
    hy_yaml *y = NULL;
    hy_status s = hy_yaml_parse("t", text, n, &y);
    if (s != HY_EINPUT) fail_msg("accepted: %s", text);
    assert_null(y);
    if (!strstr(hy_error_text(), where_and_what))
        fail_msg("\"%s\" does not hold \"%s\"", hy_error_text(), where_and_what);
}
static void refused(const char *text, const char *what) { refused_n(text, strlen(text), what); }

static void test_positions(void **state) {
    (void)state;
    hy_yaml *y = must("# comment\na: 1\nb:\n  c: [x, 'y', {z: 2}]\n  d: \"null\"\n");
    assert_int_equal(y->kind, HY_YAML_MAP);
    assert_int_equal(y->n, 2);
    hy_yaml *c = hy_yaml_get(hy_yaml_get(y, "b"), "c");
    assert_int_equal(c->kind, HY_YAML_LIST);
    assert_int_equal(c->n, 3);
    assert_int_equal(c->line, 4);
    assert_int_equal(c->column, 6);
    assert_false(c->child[0]->quoted);
    assert_true(c->child[1]->quoted);
    assert_int_equal(c->child[1]->column, 10);
    assert_string_equal(hy_yaml_get(c->child[2], "z")->text, "2");
    assert_int_equal(hy_yaml_get(y, "b")->key_line[1], 5);
    assert_int_equal(hy_yaml_get(y, "b")->key_column[1], 3);
    assert_false(hy_yaml_is_null(hy_yaml_get(hy_yaml_get(y, "b"), "d")));
    assert_null(hy_yaml_get(y, "nothing"));
    hy_yaml_free(y);
    y = must("");
    assert_true(hy_yaml_is_null(y));
    hy_yaml_free(y);
    y = must("é: ü # two letters\n");
    assert_int_equal(y->child[0]->column, 4);  // letters, not bytes
    hy_yaml_free(y);
}

static void test_refused(void **state) {
    (void)state;
    refused("a: 1\nb: 2\na: 3\n", "t:3:1: key \"a\" is given twice, first in line 1");
    refused("a: !frob 3\n", "t:1:4: tag \"!frob\" is not understood");
    refused("a: !!python/object:x {}\n", "t:1:4: tag");
    refused("a: !!int '3'\n", "t:1:4: tag");
    refused("a: 1\n---\nb: 2\n", "t:2:1: a second document");
    refused("a: [1, 2\n", "t:2:1: ");
    refused("a:\n\tb: 1\n", "t:2:1: ");
    refused("a: *x\n", "t:1:4: alias \"x\" has no anchor");
    refused("a: &x [*x]\n", "t:1:8: alias \"x\" has no anchor");  // a value inside itself
    refused("a: &x 1\nb: &x 2\n", "t:2:4: anchor \"x\" is defined twice");
    refused("{[1, 2]: 3}\n", "t:1:2: a key must be a plain word");
    refused("<<: {a: 1}\n", "t:1:1: merge keys");
    refused("\"\": 1\n", "t:1:1: a key is empty");
    refused("a: \"x\\0y\"\n", "t:1:4: a value contains a zero byte");
    refused("\"k\\0\": 1\n", "t:1:1: a key contains a zero byte");
    refused("a: 1\nbc: \xff\xfe\n", "t:2:5: not valid UTF-8");
    refused("\xc3\xa9: \xff\n", "t:1:4: not valid UTF-8");  // letters, not bytes
    refused("a: \xc3\n", "not valid UTF-8");
    refused_n("a: 1\0b: 2\n", 10, "t:1:5: not valid UTF-8 text: control characters");
    hy_buf deep = {0};
    for (int i = 0; i < 70; i++) hy_buf_printf(&deep, "[");
    refused(deep.s, "t:1:65: nested deeper than 64 levels");
    free(deep.s);
    hy_buf bomb = {0};
    hy_buf_printf(&bomb, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        hy_buf_printf(&bomb, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++) hy_buf_printf(&bomb, "%s*a%d", j ? ", " : "", i - 1);
        hy_buf_printf(&bomb, "]\n");
    }
    refused(bomb.s, "more than 100000 values");
    free(bomb.s);
    hy_buf ladder = {0};  // depth grows by aliases
    hy_buf_printf(&ladder, "a0: &a0 [x]\n");
    for (int i = 1; i < 80; i++) hy_buf_printf(&ladder, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    refused(ladder.s, "nested deeper than 64 levels");
    free(ladder.s);
    hy_buf wide = {0};
    for (int i = 0; i < 1001; i++) hy_buf_printf(&wide, "k%d: 1\n", i);
    refused(wide.s, "t:1001:1: more than 1000 keys");
    free(wide.s);
    char *big = hy_xcalloc(5 << 20, 1);
    memset(big, ' ', 5 << 20);
    refused_n(big, 5 << 20, "bytes are more than");
    free(big);
}

static void test_alias_is_a_copy(void **state) {
    (void)state;
    hy_yaml *y = must("a: &r {x: 1, y: [2, 3]}\nb: *r\n");
    assert_int_equal(hy_yaml_set(y, "b.x=7"), HY_OK);
    assert_string_equal(hy_yaml_get(hy_yaml_get(y, "a"), "x")->text, "1");
    assert_string_equal(hy_yaml_get(hy_yaml_get(y, "b"), "x")->text, "7");
    hy_yaml_free(y);
}

static void set_refused(hy_yaml *y, const char *assignment, const char *what) {
    assert_int_equal(hy_yaml_set(y, assignment), HY_EINPUT);
    if (!strstr(hy_error_text(), what)) fail_msg("\"%s\" does not hold \"%s\"", hy_error_text(), what);
}

static void test_set(void **state) {
    (void)state;
    hy_yaml *y = must("a: {b: 1}\np: [{m: x}, {m: y}]\nn:\n");
    assert_int_equal(hy_yaml_set(y, "a.b=[1, 2]"), HY_OK);
    assert_int_equal(hy_yaml_get(hy_yaml_get(y, "a"), "b")->n, 2);
    assert_int_equal(hy_yaml_set(y, "p.1.m=z=z"), HY_OK);
    assert_string_equal(hy_yaml_get(hy_yaml_get(y, "p")->child[1], "m")->text, "z=z");
    assert_int_equal(hy_yaml_set(y, "new.deep.key=3"), HY_OK);
    assert_string_equal(hy_yaml_get(hy_yaml_get(hy_yaml_get(y, "new"), "deep"), "key")->text, "3");
    assert_int_equal(hy_yaml_set(y, "n.k=1"), HY_OK);
    assert_string_equal(hy_yaml_get(hy_yaml_get(y, "n"), "k")->text, "1");
    set_refused(y, "p.2.m=1", "--set p.2.m=1:1:3: the list has items 0 to 1, no \"2\"");
    set_refused(y, "p.x=1", "no \"x\"");
    set_refused(y, "a..b=1", ":1:3: empty name");
    set_refused(y, "new.deep.key.more=1", "is a single value (\"3\"), not a map");
    set_refused(y, "a.b=[1", "--set a.b=[1:1:7: ");
    set_refused(y, "a.b", "write it as key.path=value");
    set_refused(y, "=1", "write it as key.path=value");
    hy_yaml_free(y);
    y = must("");
    assert_int_equal(hy_yaml_set(y, "a=1"), HY_OK);
    assert_string_equal(hy_yaml_get(y, "a")->text, "1");
    hy_yaml_free(y);
}

static void test_merge(void **state) {
    (void)state;
    hy_yaml *a = NULL, *b = NULL;
    const char *ta = "x: {p: 1, q: 2}\nl: [1, 2]\nonly: a\n", *tb = "\nx: {q: 3, r: 4}\nl: [9]\n";
    assert_int_equal(hy_yaml_parse("a", ta, strlen(ta), &a), HY_OK);
    assert_int_equal(hy_yaml_parse("b", tb, strlen(tb), &b), HY_OK);
    hy_yaml *m = hy_yaml_merge(a, b);
    hy_yaml_free(a);
    hy_yaml_free(b);
    hy_yaml *x = hy_yaml_get(m, "x");
    assert_string_equal(hy_yaml_get(x, "p")->text, "1");
    assert_string_equal(hy_yaml_get(x, "q")->text, "3");
    assert_string_equal(hy_yaml_get(x, "r")->text, "4");
    assert_int_equal(hy_yaml_get(m, "l")->n, 1);
    assert_string_equal(hy_yaml_get(m, "only")->text, "a");
    hy_yaml_error(hy_yaml_get(x, "q"), "here");
    assert_string_equal(hy_error_text(), "b:2:8: here");
    hy_yaml_error(hy_yaml_get(x, "p"), "here");
    assert_string_equal(hy_error_text(), "a:1:8: here");
    hy_yaml_error_key(x, 0, "key");
    assert_string_equal(hy_error_text(), "a:1:5: key");
    hy_yaml_free(m);
}

// ---------------------------------------------------------------------------------------------------- fields
typedef struct {
    int i, b, e;
    int64_t l;
    double d;
    char s[8];
    hy_ints is, ps;
    hy_doubles ds;
    int late;
    double later, word;
} thing;
static const hy_field table[] = {
    {"count", HY_F_INT, offsetof(thing, i), 0, "3", 1, 100, NULL, "how many"},
    {"flag", HY_F_BOOL, offsetof(thing, b), 0, "true", 0, 0, NULL, "whether"},
    {"kind", HY_F_ENUM, offsetof(thing, e), 0, "none", 0, 0, "none|some|all", "which"},
    {"seed", HY_F_LONG, offsetof(thing, l), 0, "-1", 0, 0, NULL, "seed"},
    {"rate", HY_F_DOUBLE, offsetof(thing, d), 0, "1e-3", 0, 1, NULL, "rate"},
    {"name", HY_F_STRING, offsetof(thing, s), sizeof((thing *)0)->s, "", 0, 0, NULL, "name"},
    {"list", HY_F_INTS, offsetof(thing, is), 0, "[1, 2]", 0, 50, NULL, "list"},
    {"pairs", HY_F_PAIRS, offsetof(thing, ps), 0, "[[1, 2]]", 0, 0, NULL, "pairs"},
    {"reals", HY_F_DOUBLES, offsetof(thing, ds), 0, "[]", 0, 0, NULL, "reals"},
    {"late", HY_F_BOOL, offsetof(thing, late), 0, "false", 0, 0, NULL, "a field that came later", true},
    {"later", HY_F_DOUBLE, offsetof(thing, later), 0, "1e-5", 0, 1, NULL, "another", true},
    {"word", HY_F_DOUBLE, offsetof(thing, word), 0, "auto", 0.5, 2, "auto", "a number with a word for 0"},
    HY_FIELD_END,
};

static hy_status read_thing(const char *text, const char *also, thing *t) {
    memset(t, 0, sizeof *t);
    hy_fields_default(table, t);
    hy_yaml *y = must(text);
    hy_status s = hy_yaml_fields(y, table, t, also);
    hy_yaml_free(y);
    return s;
}

static void test_fields(void **state) {
    (void)state;
    thing t, u;
    assert_int_equal(read_thing("", NULL, &t), HY_OK);
    assert_int_equal(t.i, 3);
    assert_int_equal(t.b, 1);
    assert_int_equal(t.l, -1);
    assert_true(t.d == 1e-3);
    assert_int_equal(t.ps.n, 2);
    assert_int_equal(
        read_thing("count: 100\nflag: false\nkind: all\nseed: 9007199254740993\nrate: .1\nname: 'a \"b'\nlist: 5\n"
                   "pairs: [[3, 4], [5, 6]]\nreals: [0.1, -2e5]\nother: 1\n",
                   "other|more", &t),
        HY_OK);
    assert_int_equal(t.i, 100);
    assert_int_equal(t.e, 2);
    assert_true(t.l == INT64_C(9007199254740993));
    assert_string_equal(t.s, "a \"b");
    assert_int_equal(t.is.n, 1);
    assert_int_equal(t.ps.v[3], 6);
    assert_true(t.ds.v[1] == -2e5);
    assert_true(t.word == 0);
    hy_buf b = {0};
    hy_fields_text(table, &t, 2, &b);
    assert_non_null(strstr(b.s, "  rate: 0.1\n"));
    assert_non_null(strstr(b.s, "  word: auto\n"));
    assert_null(strstr(b.s, "late"));  // quiet fields show only when they are not at their default
    t.late = 1;
    t.later = 0.5;
    b.n = 0;
    hy_fields_text(table, &t, 2, &b);
    assert_non_null(strstr(b.s, "  late: true\n"));
    assert_non_null(strstr(b.s, "  later: 0.5\n"));
    assert_int_equal(read_thing(b.s, NULL, &u), HY_OK);  // canonical text reads back as the same bytes
    assert_memory_equal(&t, &u, sizeof t);
    b.n = 0;
    hy_fields_help(table, "Things", &b);
    assert_non_null(strstr(b.s, "kind "));
    assert_non_null(strstr(b.s, "(none, some, all)"));
    assert_non_null(strstr(b.s, "(whole number, 1 to 100)"));
    assert_non_null(strstr(b.s, "(number, 0.5 to 2, or auto)"));
    free(b.s);
    assert_int_equal(hy_fields_set(table, &t, "rate", "1"), HY_OK);  // both ends of a range belong to it
    assert_int_equal(hy_fields_set(table, &t, "rate", "0"), HY_OK);
    assert_int_equal(hy_fields_set(table, &t, "list", "[4, 5, 6]"), HY_OK);
    assert_int_equal(t.is.n, 3);
    assert_int_equal(hy_fields_check(table, &t, NULL), HY_OK);  // the word is in range, though its number is not
    assert_int_equal(hy_fields_set(table, &t, "word", "0.5"), HY_OK);
    assert_true(t.word == 0.5);
    assert_int_equal(hy_fields_set(table, &t, "word", "auto"), HY_OK);
    assert_true(t.word == 0);
    assert_int_equal(hy_fields_set(table, &t, "word", "0"), HY_EINPUT);
    assert_string_equal(hy_error_text(), "word:1:1: word is 0; it must be 0.5 to 2, or auto");
    assert_int_equal(hy_fields_set(table, &t, "lst", "1"), HY_EINPUT);
    assert_string_equal(hy_error_text(), "unknown key \"lst\" (did you mean \"list\"?)");
}

static void field_refused(const char *text, const char *message) {
    thing t;
    if (read_thing(text, "left_alone", &t) != HY_EINPUT) fail_msg("accepted: %s", text);
    if (strcmp(hy_error_text(), message)) fail_msg("\"%s\" is not \"%s\"", hy_error_text(), message);
}

// A filled struct is checked against both ends of a range.
static void test_fields_check(void **state) {
    (void)state;
    static const hy_field ranged[] = {{"x", HY_F_DOUBLE, 0, 0, "1", 0.5, 2, NULL, "a number", false}, HY_FIELD_END};
    static const double bad[] = {0.49, 2.01, -1e300, 1e300};
    for (double x = 0.5; x <= 2; x += 1.5) assert_int_equal(hy_fields_check(ranged, &x, NULL), HY_OK);
    for (int i = 0; i < 4; i++) {
        const char *name = NULL;
        assert_int_equal(hy_fields_check(ranged, &bad[i], &name), HY_EINPUT);
        assert_string_equal(name, "x");
    }
}

static void test_fields_refused(void **state) {
    (void)state;
    field_refused("count: 0\n", "t:1:8: count is 0; it must be 1 to 100");
    field_refused("count: 99999999999999999999\n", "t:1:8: count is 99999999999999999999; it must be 1 to 100");
    field_refused("count: 2.5\n", "t:1:8: count must be a whole number, 1 to 100, not \"2.5\"");
    field_refused("count: '2'\n", "t:1:8: count must be a whole number, 1 to 100, not \"2\"");
    field_refused("count:\n", "t:1:7: count must be a whole number, 1 to 100, not \"\"");
    field_refused("count: [1]\n", "t:1:8: count must be a whole number, 1 to 100, not a list");
    field_refused("\n  count: {a: 1}\n", "t:2:10: count must be a whole number, 1 to 100, not a map");
    field_refused("seed: 9223372036854775808\n", "t:1:7: seed is 9223372036854775808: too large a number");
    field_refused("flag: yes\n", "t:1:7: flag must be true or false, not \"yes\"");
    field_refused("rate: nan\n", "t:1:7: rate must be a number, 0 to 1, not \"nan\"");
    field_refused("rate: 1.5\n", "t:1:7: rate is 1.5; it must be 0 to 1");
    field_refused("rate: 0x1p-1\n", "t:1:7: rate must be a number, 0 to 1, not \"0x1p-1\"");
    field_refused("reals: [1, 1e999]\n", "t:1:12: reals is 1e999: too large a number");
    field_refused("kind: sme\n", "t:1:7: kind must be one of none, some, all, not \"sme\" (did you mean \"some\"?)");
    field_refused("name: 12345678\n", "t:1:7: name is longer than 7 bytes");
    field_refused("name: ~\n", "t:1:7: name has no value (write \"\" for an empty text)");
    field_refused("list: [1, 51]\n", "t:1:11: list is 51; it must be 0 to 50");
    field_refused("pairs: [[1, 2, 3]]\n", "t:1:9: pairs must be pairs, each [a, b], not a list");
    field_refused(
        "a:\n - 1\nconut: 3\n",
        "t:1:1: unknown key \"a\"; known: left_alone count flag kind seed rate name list pairs reals late later word");
    field_refused("conut: 3\n", "t:1:1: unknown key \"conut\" (did you mean \"count\"?)");
    field_refused("left_alon: 3\n", "t:1:1: unknown key \"left_alon\" (did you mean \"left_alone\"?)");
    field_refused("[1]\n", "t:1:1: keys and values are wanted here (key: value), not a list");
    hy_buf b = {0};
    hy_buf_printf(&b, "list: [0");
    for (int i = 0; i < HY_LIST_MAX; i++) hy_buf_printf(&b, ", 1");
    hy_buf_printf(&b, "]\n");
    field_refused(b.s, "t:1:7: list has 65 items; at most 64 fit");
    free(b.s);
}

static void test_texts(void **state) {
    (void)state;
    const double values[] = {0.1, 1e-6, 1.0 / 3, 10000, 123456789012345680.0, -0.0, 5e-324, 1.7976931348623157e308};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char s[32];
        hy_double_text(values[i], s);
        assert_true(strtod(s, NULL) == values[i]);
    }
    const char *strings[] = {
        "plain",    "null", "true", "12",  "a: b",     "two words", "q\"uo\\te", "line\nbreak\ttab",
        "\x01\x7f", "",     "#x",   "- x", "\xc3\xa9", "a/b.yaml",  "no",        "~",
        "x#y",      "-a"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        hy_buf b = {0};
        hy_buf_printf(&b, "k: ");
        hy_yaml_quote(strings[i], &b);
        hy_yaml *y = must(b.s);
        assert_string_equal(y->child[0]->text, strings[i]);
        assert_false(hy_yaml_is_null(y->child[0]));
        hy_yaml_free(y);
        free(b.s);
    }
}

static void test_file(void **state) {
    (void)state;
    hy_yaml *y = NULL;
    assert_int_equal(hy_yaml_load("/nonexistent/x.yaml", &y), HY_EINPUT);
    assert_int_equal(hy_yaml_load("tests", &y), HY_EINPUT);
    assert_null(y);
}

// A text that is one word takes a short way: what comes of it is what the parser makes of the same word in a list.
static void one_word_as_the_parser_reads_it(void **state) {
    (void)state;
    const char *const texts[] = {"a",    "Z",     "7",      "0.02",  "1e-6",     "-1",   "+3",   "null",
                                 "~",    "true",  "auto",   "a.b_c", "x+-.y",    "1---", "a...", "no-un",
                                 "0x1F", ".5",    "_",      "\"q\"", "'q'",      "a#b",  "a:b",  "*a",
                                 "&a",   "1_000", "2026-1", "a/b",   "\xc3\xa9", "-"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char listed[32];
        snprintf(listed, sizeof listed, "[%s]", texts[i]);
        hy_yaml *word = NULL, *list = NULL;
        const hy_status alone = hy_yaml_parse("t", texts[i], strlen(texts[i]), &word),
                        within = hy_yaml_parse("t", listed, strlen(listed), &list);
        if (!alone && !within && word->kind == HY_YAML_SCALAR) {
            const hy_yaml *item = list->child[0];
            assert_int_equal(item->kind, HY_YAML_SCALAR);
            assert_string_equal(word->text, item->text);
            assert_int_equal(word->quoted, item->quoted);
            assert_int_equal(word->line, 1);
            assert_int_equal(word->column, 1);
            assert_string_equal(word->file, "t");
        }
        if (strspn(texts[i], "abcdefghijklmnopqrstuvwxyzZ0123456789_+.-") == strlen(texts[i]) && texts[i][0] != '-')
            assert_int_equal(alone, HY_OK);
        hy_yaml_free(word);
        hy_yaml_free(list);
    }
    hy_yaml *zero = NULL;
    assert_int_equal(hy_yaml_parse("t", "a\0b", 3, &zero), HY_EINPUT);  // not the word "a"
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_word_as_the_parser_reads_it),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_alias_is_a_copy),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_fields_check),
        cmocka_unit_test(test_fields_refused),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
