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
    for (int i = 0; i < 5; i++)
        assert_true(fabs(count[i] - 20000 * p[i]) < 5 * sqrt(20000 * p[i]) + 1);  // 5 standard errors
    kept = p[1] + p[3];
    draws(&(hy_sample_spec){.temperature = 1, .top_p = kept + 0.01}, logits, 5000, count);
    assert_true(count[2] > 0 && count[0] == 0 && count[4] == 0);  // the third likeliest crosses the bound and is kept
    draws(&(hy_sample_spec){.temperature = 1, .top_p = 1e-9}, logits, 50, count);
    assert_int_equal(count[1], 50);
}

// The sampler as it is defined: sort, keep, draw.
static int by_rank(const void *a, const void *b) {
    const hy_ranked_token *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static int32_t sorted_sample(const float *logits, int n_logits, const hy_sample_spec *s, hy_rng *rng,
                             hy_ranked_token *r) {
    for (int i = 0; i < n_logits; i++) r[i] = (hy_ranked_token){.logit = logits[i], .token = i};
    qsort(r, (size_t)n_logits, sizeof *r, by_rank);
    int n = s->top_k > 0 && s->top_k < n_logits ? s->top_k : n_logits;
    double total = 0, kept = 0;
    for (int i = 0; i < n; i++) total += exp(((double)r[i].logit - r[0].logit) / s->temperature);
    if (s->top_p < 1) {
        int keep = 0;
        while (keep < n && kept < s->top_p * total)
            kept += exp(((double)r[keep++].logit - r[0].logit) / s->temperature);
        n = keep > 0 ? keep : 1;
        total = kept;
    }
    double u = hy_rng_uniform(rng) * total;
    for (int i = 0; i < n; i++) {
        u -= exp(((double)r[i].logit - r[0].logit) / s->temperature);
        if (u < 0) return r[i].token;
    }
    return r[n - 1].token;
}

static void same_tokens_as_by_sorting(void **state) {
    (void)state;
    enum { MOST = 5000 };
    static float logits[MOST];
    static hy_ranked_token scratch[MOST];
    const int sizes[] = {1, 2, 3, 33, 40, 777, MOST};
    const double temperatures[] = {0.05, 0.8, 1, 4}, ps[] = {1, 0.95, 0.5, 1e-9, 0};
    hy_rng r = hy_rng_make(12, 12);
    for (size_t v = 0; v < sizeof sizes / sizeof *sizes; v++)
        for (int shape = 0; shape < 4; shape++) {  // random; many equal ones; falling; rising
            const int n = sizes[v], ks[] = {0, 1, 2, 40, n / 2, n - 1, n + 3};
            for (int i = 0; i < n; i++)
                logits[i] = shape == 0   ? (float)(3 * hy_rng_normal(&r))
                            : shape == 1 ? (float)hy_rng_below(&r, 4)
                                         : (float)(shape == 2 ? -i : i) / 100;
            for (int c = 0; c < 4 * 5 * 7; c++) {
                const hy_sample_spec s = {
                    .temperature = temperatures[c % 4], .top_p = ps[c / 4 % 5], .top_k = ks[c / 20]};
                hy_rng a = hy_rng_make((uint64_t)c, v), b = a;
                for (int k = 0; k < 5; k++) {
                    const int32_t want = sorted_sample(logits, n, &s, &a, scratch);
                    const int32_t got = hy_sample_token(logits, n, &s, &b, scratch);
                    if (got != want)
                        fail_msg("%d logits of shape %d, temperature %g, top_k %d, top_p %g, draw %d: token %d, not %d",
                                 n, shape, s.temperature, s.top_k, s.top_p, k, (int)got, (int)want);
                }
            }
        }
}

// Ends sequence b after 1 + b % 4 new tokens.
static bool ends_early(void *user, int sequence, const int32_t *out, int n) {
    int *asked = user;
    asked[sequence]++;
    return n == 1 + sequence % 4 && out[n - 1] >= 0;
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
    const hy_sample_spec s = {
        .max_new = NEW, .temperature = temperature, .top_p = 0.95, .eos = eos, .n_eos = 1, .prefill_chunk = 20};
    if (hy_generate(p, w, PROMPTS, prompts, len, seeds, &s, NULL, NULL, many, n_many)) fail_msg("%s", hy_error_text());
    static int32_t ended[PROMPTS * NEW];
    int n_ended[PROMPTS], asked[PROMPTS] = {0};
    hy_sample_spec early = s;
    early.ends = ends_early, early.ends_user = asked;
    if (hy_generate(p, w, PROMPTS, prompts, len, seeds, &early, NULL, NULL, ended, n_ended))
        fail_msg("%s", hy_error_text());
    for (int b = 0; b < PROMPTS; b++) {
        assert_int_equal(n_ended[b], n_many[b] < 1 + b % 4 ? n_many[b] : 1 + b % 4);
        assert_int_equal(asked[b], n_ended[b]);
        assert_memory_equal(ended + b * NEW, many + b * NEW, (size_t)n_ended[b] * sizeof *many);
    }
    for (int b = 0; b < PROMPTS; b++) {
        assert_int_equal(hy_generate(p, w, 1, &prompts[b], &len[b], &seeds[b], &s, NULL, NULL, alone, &n_alone), HY_OK);
        assert_int_equal(n_alone, n_many[b]);
        if (memcmp(alone, many + b * NEW, (size_t)n_alone * sizeof *alone))
            fail_msg("%s: prompt %d of %d tokens differs in the batch", file, b, len[b]);
        for (int i = 0; i + 1 < n_alone; i++) assert_true(alone[i] != 7);  // nothing follows the end token
    }
    hy_params_free(w);
    hy_program_free(p);
    free(spec);
}

static void batches(void **state) {
    (void)state;
    const char *const files[] = {"variants/hymba.yaml", "variants/llama.yaml", "variants/mamba.yaml",
                                 "variants/sequential.yaml", "variants/samba.yaml"};
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
    hy_sample_spec many = s;
    len = 1;
    many.max_new = INT32_MAX;
    assert_int_equal(hy_generate(p, w, 1, &prompt, &len, &seed, &many, NULL, NULL, out, &n), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "2147483647 new tokens after a prompt of "));
    float *embed = hy_params_ptr(w, hy_program_find_param(p, "embed"), false);  // tied: of the logits too
    embed[3 * spec->d_model] = NAN;
    for (int hot = 0; hot < 2; hot++) {
        const hy_sample_spec one = {.max_new = 1, .top_p = 1, .temperature = hot};
        assert_int_equal(hy_generate(p, w, 1, &prompt, &len, &seed, &one, NULL, NULL, out, &n), HY_EDIVERGED);
        assert_non_null(strstr(hy_error_text(), "the logit of token 3 is"));
        assert_int_equal(n, 0);
    }
    hy_params_free(w);
    hy_program_free(p);
    free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sampler), cmocka_unit_test(same_tokens_as_by_sorting),
                                       cmocka_unit_test(batches), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
