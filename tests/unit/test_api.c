// test_api.c - the plain C functions of python/capi, as a program in C calls them; under sanitizers too, where Python
// cannot. What the numbers are is tests/python's.
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "python/capi/hylab_api.h"

#define GOLDEN "tests/golden/hymba-tiny"
enum { T = 9, META = 4, S = META + T, V = 61, L = 6 };
static const int32_t ids[2 * T] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 60, 0, 59, 1, 2, 3, 4, 5, 6};

static hylab_model *open_model(void) {
    hylab_model *m = NULL;
    if (hylab_model_open(GOLDEN, NULL, 1, 1, NULL, NULL, NULL, &m)) fail_msg("%s", hylab_error());
    return m;
}

static void refuses(hylab_status found, hylab_status wanted, const char *words) {
    assert_int_equal(found, wanted);
    if (!strstr(hylab_error(), words)) fail_msg("no \"%s\" in: %s", words, hylab_error());
}

// A text that must hold some words, freed.
static void holds(char *text, const char *words) {
    assert_non_null(text);
    if (!strstr(text, words)) fail_msg("no \"%s\" in: %.300s", words, text);
    hylab_free(text);
}

static void models_compute(void **state) {
    (void)state;
    hylab_model *m = open_model();
    float *logits = calloc(2 * T * V, sizeof *logits), *value = calloc(2 * S * 32, sizeof *value), nll[2 * T];
    float meta[META * 32];
    int32_t predicted[2 * T];
    assert_int_equal(hylab_logits(m, 2, T, ids, logits), HYLAB_OK);
    assert_int_equal(hylab_loss(m, 2, T, ids, NULL, nll, predicted), HYLAB_OK);
    for (int b = 0; b < 2; b++)
        for (int t = 0; t < T; t++) {
            const float *row = logits + (b * T + t) * V;
            double sum = 0;
            for (int v = 0; v < V; v++) sum += exp((double)row[v]);
            const double want = t == T - 1 ? 0 : log(sum) - (double)row[ids[b * T + t + 1]];
            if (fabs((double)nll[b * T + t] - want) > 1e-4)
                fail_msg("nll %d %d: %g, %g", b, t, (double)nll[b * T + t], want);
            assert_int_equal(predicted[b * T + t] == -1, t == T - 1);
        }
    // the first value is the input of layer 0: meta tokens, then embeddings
    assert_int_equal(hylab_values(m, 2, T, ids, 1, (int[]){0}, (float *[]){value}), HYLAB_OK);
    assert_int_equal(hylab_parameter(m, 1, meta), HYLAB_OK);
    for (int i = 0; i < META * 32; i++) assert_true(value[i] == meta[i] && value[S * 32 + i] == meta[i]);
    holds(hylab_model_facts(m), "\"layers.5.attn.q\"");
    free(logits), free(value);
    hylab_model_close(m);
}

static void maps_and_erf(void **state) {
    (void)state;
    hylab_model *m = open_model();
    float a[S * S], b[S * S];
    double erf, layers[4 * L];
    const hylab_map maps[] = {{5, HYLAB_ATTENTION, 0}, {0, HYLAB_LAYER, -1}};
    assert_int_equal(hylab_maps(m, T, ids, "norm: rowsum\n", 1, 2, maps, (float *[]){a, b}), HYLAB_OK);
    assert_true(isnan(a[S - 1]) && a[0] == 1 && b[0] == 1);
    assert_int_equal(hylab_erf(m, T, ids, NULL, &erf, layers), HYLAB_OK);
    assert_true(erf > 0 && erf < S);
    refuses(hylab_maps(m, T, ids, "norm: x\n", 0, 2, maps, (float *[]){a, b}), HYLAB_BAD_INPUT, "norm must be one of");
    refuses(hylab_maps(m, T, ids, NULL, 0, 1, (hylab_map[]){{L, 0, -1}}, (float *[]){a}), HYLAB_BAD_INPUT,
            "no layer 6");
    refuses(hylab_maps(m, T, ids, NULL, 0, 1, (hylab_map[]){{0, 3, -1}}, (float *[]){a}), HYLAB_BAD_INPUT, "kind 3");
    refuses(hylab_maps(m, T, ids, NULL, 0, 1, (hylab_map[]){{0, 1, 64}}, (float *[]){a}), HYLAB_BAD_INPUT, "has 64");
    refuses(hylab_erf(m, T, ids, "uniform: perhaps\n", &erf, layers), HYLAB_BAD_INPUT, "uniform");
    hylab_model_close(m);
}

static void tasks_and_ablations(void **state) {
    (void)state;
    hylab_model *m = open_model();
    hylab_task *given = NULL, *mqar = NULL;
    int n = 0;
    double *loss, *right;
    uint8_t chosen[2 * 12] = {1};
    chosen[12 + 1] = 1;
    assert_int_equal(hylab_task_given(2, T, ids, NULL, V, &given), HYLAB_OK);
    holds(hylab_task_facts(given), "\"tokens\": 9");
    assert_int_equal(hylab_ablate(m, given, NULL, 8, NULL, 2, 2, 1, 2, chosen, &n, &loss, &right), HYLAB_OK);
    assert_int_equal(n, 2);
    float nll[2 * T];
    assert_int_equal(hylab_loss(m, 2, T, ids, NULL, nll, NULL), HYLAB_OK);
    for (int b = 0; b < 2; b++) {
        double sum = 0;
        for (int t = 0; t < T - 1; t++) sum += (double)nll[b * T + t];
        assert_true(fabs(loss[b] - sum / (T - 1)) < 1e-5);
    }
    assert_true(loss[0] != loss[1]);
    for (int i = 2; i < 6; i++) assert_true(isfinite(loss[i]) && loss[i] != loss[i % 2]);
    hylab_free(loss), hylab_free(right);
    refuses(hylab_ablate(m, given, "heds", 8, NULL, 2, 2, 1, 2, chosen, &n, &loss, &right), HYLAB_BAD_INPUT,
            "parts heds");
    assert_null(loss);
    holds(hylab_units(m, "heads", 8), "layer5.head3");
    assert_null(hylab_units(m, "heads,x", 8));

    assert_int_equal(hylab_task_open("mqar", "vocab: 48\ntrain: [[32, 4]]\ntest: [[32, 4]]\n", 1, &mqar), HYLAB_OK);
    int32_t one[32], labels[32];
    assert_int_equal(hylab_task_example(mqar, 1, 0, 3, one, labels), HYLAB_OK);
    refuses(hylab_task_example(mqar, 3, 0, 3, one, labels), HYLAB_BAD_INPUT, "split 3");
    refuses(hylab_task_example(mqar, 1, 1, 3, one, labels), HYLAB_BAD_INPUT, "no eval cell 1");
    hylab_facts *f;
    size_t bytes;
    assert_int_equal(hylab_measure(m, mqar, "maps", "layers: [1]\n", 4, &f), HYLAB_OK);
    holds(hylab_facts_json(f), "map.layer1.attention");
    assert_non_null(hylab_facts_array(f, 0, &bytes));
    assert_int_equal(bytes, (32 + META) * (32 + META) * sizeof(float));
    assert_null(hylab_facts_array(f, 99, &bytes));
    hylab_facts_close(f);
    refuses(hylab_measure(m, NULL, "maps", NULL, 4, &f), HYLAB_BAD_INPUT, "needs a task");
    hylab_task_close(mqar), hylab_task_close(given);
    hylab_model_close(m);
}

static void tokenizers_work(void **state) {
    (void)state;
    hylab_tokenizer *t;
    size_t n;
    int32_t *found;
    char *text;
    assert_int_equal(hylab_tokenizer_open("tests/golden/tokenizers/llama2.json", &t), HYLAB_OK);
    assert_int_equal(hylab_tokenizer_encode(t, "Hybrid", 6, 1, &n, &found), HYLAB_OK);
    assert_int_equal(hylab_tokenizer_decode(t, found, n, 1, &n, &text), HYLAB_OK);
    assert_int_equal(n, 6);
    assert_string_equal(text, "Hybrid");
    hylab_free(found), hylab_free(text);
    refuses(hylab_tokenizer_encode(t, "\xff", 1, 1, &n, &found), HYLAB_BAD_INPUT, "UTF-8");
    assert_null(found);
    holds(hylab_tokenizer_facts(t), "\"kind\": \"BPE\"");
    hylab_tokenizer_close(t);
    refuses(hylab_tokenizer_open("nowhere", &t), HYLAB_BAD_INPUT, "nowhere");
}

static void bad_input_is_told(void **state) {
    (void)state;
    hylab_model *m = NULL;
    float *logits = calloc(T * V, sizeof *logits), value[S * 64];
    hylab_task *t;
    refuses(hylab_model_open("nowhere.yaml", NULL, 1, 1, NULL, NULL, NULL, &m), HYLAB_BAD_INPUT, "nowhere.yaml");
    assert_null(m);
    const char *const sets[] = {"d_modell=3", NULL};
    refuses(hylab_model_open("variants/hymba.yaml", sets, 1, 1, NULL, NULL, NULL, &m), HYLAB_BAD_INPUT, "d_modell");
    refuses(hylab_model_open(GOLDEN, NULL, 1, -1, NULL, NULL, NULL, &m), HYLAB_BAD_INPUT, "threads -1");
    refuses(hylab_model_open(GOLDEN, NULL, 1, 1, "sse", NULL, NULL, &m), HYLAB_BAD_INPUT, "sse");
    refuses(hylab_model_open(GOLDEN, NULL, 1, 1, NULL, "f16", NULL, &m), HYLAB_BAD_INPUT, "weights f16");
    m = open_model();
    refuses(hylab_logits(m, 1, 0, ids, logits), HYLAB_BAD_INPUT, "at least one");
    refuses(hylab_logits(m, 1, T, (int32_t[T]){0, 61}, logits), HYLAB_BAD_INPUT, "ids[1] is 61");
    refuses(hylab_logits(m, 1 << 30, 1 << 30, ids, logits), HYLAB_BAD_INPUT, "too many");
    refuses(hylab_loss(m, 1, 1, ids, (int32_t[]){61}, logits, NULL), HYLAB_BAD_INPUT, "labels[0] is 61");
    refuses(hylab_values(m, 1, T, ids, 1, (int[]){999}, (float *[]){value}), HYLAB_BAD_INPUT, "no value 999");
    refuses(hylab_values(m, 1, T, ids, 2, (int[]){0, 0}, (float *[]){value, value}), HYLAB_BAD_INPUT,
            "asked for twice");
    refuses(hylab_parameter(m, 999, logits), HYLAB_BAD_INPUT, "no parameter 999");
    refuses(hylab_task_given(1, 2, (int32_t[]){1, 61}, NULL, V, &t), HYLAB_BAD_INPUT, "ids[1] is 61");
    refuses(hylab_task_open("mqarr", NULL, 1, &t), HYLAB_BAD_INPUT, "no task kind");
    assert_null(hylab_measure_help("erff"));
    assert_null(hylab_task_help("mqarr"));
    holds(hylab_measure_help("erf"), "renormalised");
    hylab_model_close(m), hylab_model_close(NULL), hylab_task_close(NULL), hylab_tokenizer_close(NULL);
    hylab_facts_close(NULL);
    free(logits);
}

// ---------------------------------------------------------------------------------------------------- SIGINT
static volatile sig_atomic_t told;
static void on_interrupt(int sig) { told = sig; }

// A task of many examples; half a second into it the alarm comes as SIGINT.
static void on_alarm(int sig) {
    (void)sig;
    raise(SIGINT);
}

static void interrupts_end_a_call(void **state) {
    (void)state;
    hylab_model *m = open_model();
    hylab_task *t = NULL;
    enum { N = 4000 };  // seconds, if it is not interrupted
    int32_t *many = calloc((size_t)N * T, sizeof *many);
    uint8_t chosen[12] = {1};
    int n;
    double *loss, *right;
    float *before = calloc(T * V, sizeof *before), *after = calloc(T * V, sizeof *after);
    struct sigaction mine = {.sa_handler = on_interrupt}, now;
    sigaction(SIGINT, &mine, NULL);
    signal(SIGALRM, on_alarm);
    assert_int_equal(hylab_logits(m, 1, T, ids, before), HYLAB_OK);
    assert_int_equal(hylab_task_given(N, T, many, NULL, V, &t), HYLAB_OK);
    ualarm(100000, 0);
    assert_int_equal(hylab_ablate(m, t, NULL, 8, "zero", N, 1, 1, 1, chosen, &n, &loss, &right), HYLAB_INTERRUPTED);
    assert_int_equal(told, SIGINT);
    sigaction(SIGINT, NULL, &now);
    assert_true(now.sa_handler == on_interrupt);
    assert_int_equal(hylab_logits(m, 1, T, ids, after), HYLAB_OK);
    assert_memory_equal(before, after, T * V * sizeof *before);
    signal(SIGINT, SIG_DFL);
    free(many), free(before), free(after);
    hylab_task_close(t);
    hylab_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_compute),  cmocka_unit_test(maps_and_erf),      cmocka_unit_test(tasks_and_ablations),
        cmocka_unit_test(tokenizers_work), cmocka_unit_test(bad_input_is_told), cmocka_unit_test(interrupts_end_a_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
