// test_identity.c - what makes two models, or two measurements, the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "results/identity.h"

#define SPEC "name: Llama\nd_model: 16\nlayers: 2\n"
#define TASK "kind: mqar\nvocab: 32\ntrain: [[16, 2]]\ntest: [[16, 2]]\ntest_examples: [16]\n"
#define TEXT_TASK "kind: text\npath: a.txt\ntokenizer: t.json\ntrain: 64\ncontent: 0123\ntokenizer_content: 4567\n"
#define TRAIN                                                                                               \
    "steps: 6\nlr: 0.003\neval_every: 3\nlog_every: 2\ncheckpoint_every: 0\nstop_accuracy: 0\neval_batch: " \
    "32\neval_examples: 0\n"
#define STOP                                                                                                  \
    "steps: 6\nlr: 0.003\neval_every: 3\nlog_every: 2\ncheckpoint_every: 0\nstop_accuracy: 0.9\neval_batch: " \
    "32\neval_examples: 0\n"
#define RANDOM "steps: 0\nlr: 0.003\neval_every: 3\nlog_every: 2\nstop_accuracy: 0\neval_batch: 32\n"

typedef struct {
    const char *spec, *kind, *task, *train, *source;
} texts;

static char *replaced(const char *text, const char *from, const char *to) {
    const char *at = strstr(text, from);
    assert_non_null(at);
    return hy_asprintf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void check(const texts *base, int which, const char *from, const char *to, bool same) {
    texts other = *base;
    const char **part[] = {&other.spec, &other.task, &other.train};
    char *text = replaced(*part[which], from, to), a[33], b[33];
    *part[which] = text;
    hy_model_identity(base->spec, base->kind, base->task, base->train, base->source, a);
    hy_model_identity(other.spec, other.kind, other.task, other.train, other.source, b);
    if (!strcmp(a, b) != same) fail_msg("\"%s\" to \"%s\": %s model", from, to, same ? "another" : "the same");
    free(text);
}

static void test_models(void **state) {
    (void)state;
    enum { SPEC_OF, TASK_OF, TRAIN_OF };
    const texts plain = {SPEC, "mqar", TASK, TRAIN, ""}, stop = {SPEC, "mqar", TASK, STOP, ""},
                random = {SPEC, "mqar", TASK, RANDOM, ""}, text = {SPEC, "text", TEXT_TASK, TRAIN, ""};
    const struct {
        const texts *base;
        int which;
        const char *from, *to;
        bool same;
    } cases[] = {
        {&plain, SPEC_OF, "name: Llama", "name: other", true},  // how a model is called does not matter
        {&plain, SPEC_OF, "d_model: 16", "d_model: 32", false},
        {&plain, TASK_OF, "test: [[16, 2]]", "test: [[24, 3]]", true},  // what is evaluated changes no weights
        {&plain, TASK_OF, "test_examples: [16]", "test_examples: [99]", true},
        {&plain, TASK_OF, "train: [[16, 2]]", "train: [[24, 3]]", false},
        {&plain, TASK_OF, "vocab: 32", "vocab: 64", false},
        {&plain, TRAIN_OF, "log_every: 2", "log_every: 1", true},
        {&plain, TRAIN_OF, "checkpoint_every: 0", "checkpoint_every: 5\nsave_seconds: 9", true},
        {&plain, TRAIN_OF, "eval_batch: 32", "eval_batch: 7", true},
        {&plain, TRAIN_OF, "eval_every: 3", "eval_every: 0", true},
        {&plain, TRAIN_OF, "eval_examples: 0", "eval_examples: 8", true},
        {&plain, TRAIN_OF, "lr: 0.003", "lr: 0.001", false},
        {&plain, TRAIN_OF, "steps: 6", "steps: 7", false},
        {&plain, TRAIN_OF, "lr: 0.003", "lr: 0.003\nprecision: bf16", false},
        {&plain, TRAIN_OF, "stop_accuracy: 0", "stop_accuracy: 0.9", false},
        {&stop, TRAIN_OF, "eval_every: 3", "eval_every: 1", false},  // an evaluation ends the training
        {&stop, TRAIN_OF, "eval_examples: 0", "eval_examples: 8", false},
        {&stop, TRAIN_OF, "eval_batch: 32", "eval_batch: 7", true},
        {&stop, TASK_OF, "test: [[16, 2]]", "test: [[24, 3]]", false},
        {&random, TRAIN_OF, "lr: 0.003", "lr: 0.001", true},
        {&random, TRAIN_OF, "stop_accuracy: 0", "stop_accuracy: 0.9", true},
        {&random, TRAIN_OF, "lr: 0.003", "lr: 0.003\nprecision: bf16", false},
        {&random, TRAIN_OF, "steps: 0", "steps: 6", false},
        {&text, TASK_OF, "path: a.txt", "path: /elsewhere/a.txt", true},  // the content counts
        {&text, TASK_OF, "tokenizer: t.json", "tokenizer: u.json", true},
        {&text, TASK_OF, "train: 64", "tuning: 0.1\ntrain: 64", false},  // less is left to train on
        {&text, TASK_OF, "content: 0123", "content: 0124", false},
        {&text, TASK_OF, "tokenizer_content: 4567", "tokenizer_content: 4568", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check(cases[i].base, cases[i].which, cases[i].from, cases[i].to, cases[i].same);
    char a[33], b[33];
    hy_model_identity(SPEC, "mqar", TASK, "none\n", "hash of a file", a);
    hy_model_identity(SPEC, "mqar", TASK, "none\n", "hash of another", b);
    assert_string_not_equal(a, b);
    hy_model_identity(SPEC, "mqar", TASK, TRAIN, "hash of a file", b);
    assert_string_not_equal(a, b);
    // without a content only the path tells texts apart
    hy_model_identity(SPEC, "text", "kind: text\npath: a\n", TRAIN, "", a);
    hy_model_identity(SPEC, "text", "kind: text\npath: b\n", TRAIN, "", b);
    assert_string_not_equal(a, b);
}

static void test_measurements(void **state) {
    (void)state;
    char a[33], b[33];
    static const struct {
        const char *options, *task;
        bool same;
    } cases[] = {{"tokens: 100\n", TASK, true},
                 {"tokens: 200\n", TASK, false},
                 {"tokens: 100\n", "", false},
                 {"tokens: 100\n", "kind: mqar\ntest: [[16, 3]]\n", false}};
    hy_measurement_identity("tokens: 100\n", TASK, a);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hy_measurement_identity(cases[i].options, cases[i].task, b);
        if (!strcmp(a, b) != cases[i].same) fail_msg("case %zu", i);
    }
    hy_measurement_identity("", TEXT_TASK, a);
    char *moved = replaced(TEXT_TASK, "path: a.txt", "path: /elsewhere");
    hy_measurement_identity("", moved, b);
    assert_string_equal(a, b);
    free(moved);
}

// Keys that databases hold: a change of any of these makes stored results obsolete, and must raise HY_MODEL_IDENTITY
// instead.
static void test_keys_stay(void **state) {
    (void)state;
    char key[33];
    hy_model_identity(SPEC, "mqar", TASK, TRAIN, "", key);
    assert_string_equal(key, "5b72dfd1f7a4e4e68b9735321ded578e");
    hy_model_identity(SPEC, "mqar", TASK, STOP, "", key);
    assert_string_equal(key, "a09be61116e35dda313be07c64b145c2");
    hy_model_identity(SPEC, "mqar", TASK, RANDOM, "", key);
    assert_string_equal(key, "ad0e94a8e299e8604ecf11d01289b6db");
    // what old databases hold: the same but for trainings that their evaluation examples stopped
    hy_model_identity_v3(SPEC, "mqar", TASK, TRAIN, "", key);
    assert_string_equal(key, "5b72dfd1f7a4e4e68b9735321ded578e");
    hy_model_identity_v3(SPEC, "mqar", TASK, STOP, "", key);
    assert_string_equal(key, "8b6ba0d863a117f9d792e9f5f36ffc8d");
    hy_model_identity_v3(SPEC, "mqar", TASK, RANDOM, "", key);
    assert_string_equal(key, "ad0e94a8e299e8604ecf11d01289b6db");
    hy_measurement_identity("tokens: 100\n", TASK, key);
    assert_string_equal(key, "7579eb695b31790aae992618c27a9c31");
}

static void collect(void *user, const char *path, const char *value) { hy_buf_printf(user, "%s=%s;", path, value); }

static void test_leaves(void **state) {
    (void)state;
    static const struct {
        const char *text, *leaves;
    } cases[] = {
        {"a: 1\nb: two words\n", "a=1;b=two words;"},
        {"a:\n  b: 1\n  c:\n    d: [1, 2]\ne: \"x: y\"\n", "a.b=1;a.c.d=[1, 2];e=\"x: y\";"},
        {"t:\n  - a: 1\n    b:\n      c: 2\n  - a: 3\nz: 4\n", "t.0.a=1;t.0.b.c=2;t.1.a=3;z=4;"},
        {"", ""},
        {"none\n", ""},
        {"a: 1", "a=1;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hy_buf b = {0};
        hy_buf_printf(&b, "%s", "");
        hy_canonical_leaves(cases[i].text, collect, &b);
        assert_string_equal(b.s, cases[i].leaves);
        free(b.s);
    }
    char v[8];
    assert_true(hy_canonical_value("a: 1\nab: 234567890\n", "ab", v, sizeof v));
    assert_string_equal(v, "2345678");
    assert_false(hy_canonical_value("a: 1\n", "b", v, sizeof v));
    assert_false(hy_canonical_value("a:\n  b: 1\n", "b", v, sizeof v));  // not in a nested map
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models), cmocka_unit_test(test_measurements),
                                       cmocka_unit_test(test_keys_stay), cmocka_unit_test(test_leaves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
