// test_generate.c - the sampler, and batches of prompts of different lengths: each gives what it gives alone.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/exec/generate.h"
#include "core/spec/spec_read.h"

enum { V = 61, PROMPTS = 17, NEW = 12 };

static void draws(const hy_sample_spec *s, const float *logits, int n, int *count) {
    hy_ranked_token scratch[5];
    hy_rng r = hy_rng_make(3, 3);
    memset(count, 0, 5 * sizeof *count);
    for (int i = 0; i < n; i++) count[hy_sample_token(logits, 5, s, &r, scratch)]++;
}

static void sampler(void **state) {
    (void)state;
    const float logits[5] = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f};
    int count[5];
    draws(&(hy_sample_spec){.temperature = 0, .top_p = 1}, logits, 50, count);
    assert_int_equal(count[1], 50);  // greedy, the first of equals
    draws(&(hy_sample_spec){.temperature = 1, .top_k = 2, .top_p = 1}, logits, 400, count);
    assert_int_equal(count[1] + count[3], 400);
    assert_true(count[1] > 140 && count[3] > 140);
    double p[5], sum = 0, kept = 0;
    for (int i = 0; i < 5; i++) sum += p[i] = exp(logits[i]);
    for (int i = 0; i < 5; i++) p[i] /= sum;
    draws(&(hy_sample_spec){.temperature = 1, .top_p = 1}, logits, 20000, count);
    for (int i = 0; i < 5; i++) assert_true(fabs(count[i] - 20000 * p[i]) < 5 * sqrt(20000 * p[i]) + 1);  // 5 standard errors
    kept = p[1] + p[3];
    draws(&(hy_sample_spec){.temperature = 1, .top_p = kept + 0.01}, logits, 5000, count);
    assert_true(count[2] > 0 && count[0] == 0 && count[4] == 0);  // the third likeliest crosses the bound and is kept
    draws(&(hy_sample_spec){.temperature = 1, .top_p = 1e-9}, logits, 50, count);
    assert_int_equal(count[1], 50);
}

static void check_variant(const char *file, double temperature) {
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_backend be;
    hy_program *p;
    hy_params *w;
    const char *const sets[] = {"vocab=61", "init.std=0.2", NULL};
    if (hy_spec_load(file, sets, spec)) fail_msg("%s", hy_error_text());
    for (int i = 0; i < spec->n_layers; i++)
        if (spec->layers[i].window) spec->layers[i].window = 6;
    assert_int_equal(hy_model_build(spec, &p), HY_OK);
    assert_int_equal(hy_backend_cpu(NULL, 2, &be), HY_OK);
    assert_int_equal(hy_params_create(p, &be, HY_F32, &w), HY_OK);
    assert_int_equal(hy_params_init(w, 4), HY_OK);

    static int32_t text[PROMPTS][64], many[PROMPTS * NEW], alone[NEW];
    const int32_t *prompts[PROMPTS];
    int len[PROMPTS], n_many[PROMPTS], n_alone;
    uint64_t seeds[PROMPTS];
    hy_rng r = hy_rng_make(8, 8);
    for (int b = 0; b < PROMPTS; b++) {
        len[b] = 1 + (b * 11) % 47;
        seeds[b] = (uint64_t)b;
        prompts[b] = text[b];
        for (int t = 0; t < len[b]; t++) text[b][t] = (int32_t)hy_rng_below(&r, V);
    }
    const int32_t eos[] = {7};
    const hy_sample_spec s = {.max_new = NEW, .temperature = temperature, .top_p = 0.95, .eos = eos, .n_eos = 1, .prefill_chunk = 20};
    if (hy_generate(p, w, PROMPTS, prompts, len, seeds, &s, NULL, NULL, many, n_many)) fail_msg("%s", hy_error_text());
    for (int b = 0; b < PROMPTS; b++) {
        assert_int_equal(hy_generate(p, w, 1, &prompts[b], &len[b], &seeds[b], &s, NULL, NULL, alone, &n_alone), HY_OK);
        assert_int_equal(n_alone, n_many[b]);
        if (memcmp(alone, many + b * NEW, (size_t)n_alone * sizeof *alone)) fail_msg("%s: prompt %d of %d tokens differs in the batch", file, b, len[b]);
        for (int i = 0; i + 1 < n_alone; i++) assert_true(alone[i] != 7);  // nothing follows the end token
    }
    hy_params_free(w);
    hy_program_free(p);
    free(spec);
}

static void batches(void **state) {
    (void)state;
    const char *const files[] = {"variants/hymba.yaml", "variants/llama.yaml", "variants/mamba.yaml", "variants/sequential.yaml", "variants/samba.yaml"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        check_variant(files[i], 0);
        check_variant(files[i], 1.3);
    }
}

static void refusals(void **state) {
    (void)state;
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_backend be;
    hy_program *p;
    hy_params *w;
    assert_int_equal(hy_spec_load("variants/llama.yaml", NULL, spec), HY_OK);
    assert_int_equal(hy_model_build(spec, &p), HY_OK);
    assert_int_equal(hy_backend_cpu(NULL, 1, &be), HY_OK);
    assert_int_equal(hy_params_create(p, &be, HY_F32, &w), HY_OK);
    const int32_t bad[] = {5, 1 << 20}, *prompt = bad;
    int len = 0, n;
    int32_t out[1];
    const uint64_t seed = 1;
    const hy_sample_spec s = {.max_new = 1, .top_p = 1};
    assert_int_equal(hy_generate(p, w, 1, &prompt, &len, &seed, &s, NULL, NULL, out, &n), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "empty"));
    len = 2;
    assert_int_equal(hy_generate(p, w, 1, &prompt, &len, &seed, &s, NULL, NULL, out, &n), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "outside the vocabulary"));
    hy_params_free(w);
    hy_program_free(p);
    free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sampler), cmocka_unit_test(batches), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
