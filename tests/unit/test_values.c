// test_values.c - choosing named values by pattern, and what is said of each: over every variant that is shipped.
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/probe/save.h"
#include "core/model/values.h"
#include "core/spec/spec_read.h"

static hy_program *open_variant(const char *path) {
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_program *p = NULL;
    if (hy_spec_load(path, NULL, spec) || hy_model_build(spec, &p)) fail_msg("%s: %s", path, hy_error_text());
    free(spec);
    return p;
}

// Marks in chosen the values that patterns choose; returns how many.
static int chosen_by_all(const hy_program *p, const char *const *patterns, int n_patterns, bool *chosen) {
    hy_names names;
    memset(chosen, 0, (size_t)p->n_values * sizeof *chosen);
    if (hy_names_choose(p, patterns, n_patterns, &names)) fail_msg("%s: %s", patterns[0], hy_error_text());
    int n = 0;
    for (int k = 0; k < names.n; k++)
        if (names.v[k].value != HY_NOVAL) chosen[names.v[k].value] = true;
    hy_names_free(&names);
    for (int v = 0; v < p->n_values; v++) n += chosen[v];
    return n;
}
static int chosen_by(const hy_program *p, const char *pattern, bool *chosen) {
    return chosen_by_all(p, &pattern, 1, chosen);
}

static void test_patterns(void **state) {
    (void)state;
    hy_program *p = open_variant("variants/hymba.yaml");
    bool *chosen = hy_xcalloc((size_t)p->n_values, sizeof *chosen);
    const int L = p->spec.n_layers;
    assert_int_equal(chosen_by(p, "layers.*.attn.q", chosen), L);
    assert_true(chosen[hy_program_find(p, "layers.2.attn.q")] && !chosen[hy_program_find(p, "layers.2.attn.q_raw")]);
    assert_int_equal(chosen_by(p, "layers.[01].attn.q*", chosen), 4);  // q and q_raw of two layers
    assert_int_equal(chosen_by(p, "layers.?.ssm.out", chosen), L < 10 ? L : 10);
    assert_int_equal(chosen_by(p, "final_norm", chosen), 1);
    assert_true(chosen[hy_program_find(p, "final_norm")]);
    static const char *const two[] = {"*", "logits"};  // the second adds, and takes nothing away
    for (int k = 1; k <= 2; k++) {
        assert_true(chosen_by_all(p, two, k, chosen) > 0);
        for (int v = 0; v < p->n_values; v++)  // all but the rows of the head's input, which are another value's
            assert_true(chosen[v] == (v == p->logits || p->values[v].rows != HY_ROWS_OUT));
    }
    static const char *const wrong[][2] = {
        {"layers.*.attn.qq", "nothing of this model is named \"layers.*.attn.qq\" (did you mean \"layers.*.attn.q\"?)"},
        {"layers.1.atn.q", "nothing of this model is named \"layers.1.atn.q\" (did you mean \"layers.1.attn.q\"?)"},
        {"xyz", "nothing of this model is named \"xyz\""},
    };
    for (int i = 0; i < 3; i++) {
        hy_names names;
        assert_int_equal(hy_names_choose(p, &wrong[i][0], 1, &names), HY_EINPUT);
        assert_string_equal(hy_error_text(), wrong[i][1]);
        assert_true(names.n == 0 && !names.v);
    }
    free(chosen);
    hy_program_free(p);
}

static void says(const hy_program *p, const char *name, const char *what) {
    hy_buf b = {0};
    const hy_val v = hy_program_find(p, name);
    assert_int_not_equal(v, HY_NOVAL);
    hy_value_meaning(p, v, &b);
    assert_string_equal(b.s, what);
    free(b.s);
}

static void test_meanings(void **state) {
    (void)state;
    DIR *d = opendir("variants");
    assert_non_null(d);
    int models = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        if (!strstr(e->d_name, ".yaml")) continue;
        char *path = hy_asprintf("variants/%s", e->d_name);
        hy_program *p = open_variant(path);
        for (int v = 0; v < p->n_values; v++) {
            hy_buf b = {0};
            hy_value_meaning(p, v, &b);
            if (!b.s || !strncmp(b.s, "output of", 9)) fail_msg("%s: %s has no meaning", path, p->values[v].name);
            free(b.s);
        }
        hy_program_free(p);
        free(path);
        models++;
    }
    closedir(d);
    assert_true(models >= 20);
    hy_program *p = open_variant("variants/hymba.yaml");
    const hy_layer_spec *l = &p->spec.layers[1];
    char text[128];
    snprintf(text, sizeof text, "queries as attention uses them; %d heads of %d", l->heads, l->d_qk);
    says(p, "layers.1.attn.q", text);
    snprintf(text, sizeof text, "keys as attention uses them; %d KV head%s of %d", p->spec.layers[0].kv_heads,
             p->spec.layers[0].kv_heads == 1 ? "" : "s", p->spec.layers[0].d_qk);
    says(p, "layers.0.attn.k", text);
    says(p, "final_input", "residual stream that leaves the last layer");
    hy_program_free(p);
    p = open_variant("variants/mamba2.yaml");
    l = &p->spec.layers[0];
    snprintf(text, sizeof text, "what the SSM heads give, gated; %d SSM heads of %d", hy_layer_ssm_heads(l),
             l->head_dim);
    says(p, "layers.0.ssm.out", text);
    hy_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_patterns), cmocka_unit_test(test_meanings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
