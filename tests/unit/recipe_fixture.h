// recipe_fixture.h - small models from a few lines of YAML, in double on the reference kernels; shared by the tests of
// training, evaluation and sampling that restate what the program does.
#ifndef HY_RECIPE_FIXTURE_H
#define HY_RECIPE_FIXTURE_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/spec/spec_read.h"
#include "core/train/train.h"
#include "tests/unit/error_check.h"

static inline void need(hy_status s) {
    if (s) fail_msg("%s", hy_error_text());
}

static inline hy_program *program_of(const char *yaml) {
    hy_yaml *y = NULL;
    hy_program *p;
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    need(hy_yaml_parse("model", yaml, strlen(yaml), &y));
    need(hy_spec_from_yaml(y, m));
    hy_yaml_free(y);
    need(hy_model_build(m, &p));
    free(m);
    return p;
}

static inline hy_backend reference(void) {
    hy_backend be;
    need(hy_backend_cpu("ref", 1, &be));
    return be;
}

static inline hy_task *task_of(const char *kind, const char *options, uint64_t seed) {
    hy_task *t;
    need(hy_task_open(kind, options, seed, &t));
    return t;
}

// The default recipe with changes, "name=value" words.
static inline hy_train_spec recipe_of(const char *changes) {
    hy_train_spec r;
    hy_fields_default(hy_train_fields, &r);
    char *copy = hy_xstrdup(changes), *save = NULL;
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(word, '=');
        *eq = 0;
        need(hy_fields_set(hy_train_fields, &r, word, eq + 1));
    }
    free(copy);
    return r;
}

// What a parameter is called within its layer: "in_proj" of "layers.3.second.in_proj".
static inline const char *role_of(const char *name) {
    if (!strncmp(name, "layers.", 7)) name = strchr(name + 7, '.') + 1;
    return strncmp(name, "second.", 7) ? name : name + 7;
}
#endif
