// test_measure_facts.c - measures taken of small models of every kind: what is refused before, and each figure computed
// a second way.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/measure/measure_plan.h"
#include "core/format/yaml.h"
#include "core/spec/spec_read.h"
#include "tests/unit/error_check.h"

// ---------------------------------------------------------------------------------------------------- a small model
#define COMMON "vocab: 40\nd_model: 12\ninit: {std: 0.3}\nmlp: {kind: silu, d_ff: 10}\n"
#define SSM "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
#define ATTENTION "attention: {heads: 2, kv_heads: 1, d_v: 12, window: 5, global_layers: [0]}\n"
static const char llama[] =
    "name: llama\nlayers: 2\nmixer: attention\nattention: {heads: 3, kv_heads: 1, d_qk: 4}\n" COMMON;
static const char mlps[] = "name: mlps\nlayers: 1\nmixer: none\n" COMMON;
static const char mean[] =
    "name: mean\nlayers: 2\nmixer: parallel\nmeta_tokens: 3\nmultipliers: {attention_out: 0.5, ssm_out: 3}\n" ATTENTION
        SSM COMMON;
static const char concat[] =
    "name: concat\nlayers: 2\nmixer: parallel\nfusion: concat\nmeta_tokens: 1\nattention: {heads: 2, kv_heads: 2, d_v: "
    "5}\n" SSM COMMON;
static const char gate[] =
    "name: gate\nlayers: 2\nmixer: parallel\nfusion: gate\nmeta_tokens: 2\n" ATTENTION SSM COMMON;
static const char added[] =
    "name: sum\nlayers: 2\nmixer: parallel\nfusion: sum\nmultipliers: {attention_out: 0.25, ssm_out: 1.5}\nattention: "
    "{heads: 2, d_v: 3}\n"
    "ssm: {kind: mamba2, expand: 2, d_state: 3, d_conv: 3, head_dim: 6}\n" COMMON;
static const char turns[] =
    "name: turns\nlayers: 2\nmixer: ssm_attention\nattention: {heads: 2, kv_heads: 2}\n" SSM COMMON;

typedef struct {
    hy_model_spec *spec;
    hy_program *p;
    hy_backend be;
    hy_params *w;
    hy_task *task;
} rig;

static void rig_open(rig *r, const char *text) {
    hy_yaml *y = NULL;
    r->spec = hy_xcalloc(1, sizeof *r->spec);
    if (hy_yaml_parse("model", text, strlen(text), &y) || hy_spec_from_yaml(y, r->spec) ||
        hy_model_build(r->spec, &r->p) || hy_backend_cpu("ref", 1, &r->be) ||
        hy_params_create(r->p, &r->be, HY_F32, &r->w) || hy_params_init(r->w, 3) ||
        hy_task_open("mqar", "vocab: 40\ntrain: [[24, 2]]\ntest: [[24, 2], [32, 3]]\ntest_examples: 5\n", 1, &r->task))
        fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
}

static void rig_close(rig *r) {
    hy_task_close(r->task);
    hy_params_free(r->w);
    hy_program_free(r->p);
    free(r->spec);
}

static void take(const rig *r, const char *name, const char *options, hy_facts *facts) {
    const hy_measure *m = hy_measure_find(name);
    const hy_measure_context c = {.prog = r->p,
                                  .params = r->w,
                                  .compute = r->w->compute,
                                  .be = &r->be,
                                  .task = r->task,
                                  .eval_batch = 4,
                                  .jobs = 1};
    hy_measure_options o;
    if (hy_measure_options_read(m, options, &o) || hy_measure_run(m, &c, &o, facts)) fail_msg("%s", hy_error_text());
}

static const hy_fact *find(const hy_facts *f, const char *metric, int layer, const char *kind) {
    for (int i = 0; i < f->n_facts; i++)
        if (!strcmp(f->fact[i].name, metric) && f->fact[i].layer == layer &&
            (!kind ? !f->fact[i].kind : f->fact[i].kind && !strcmp(kind, f->fact[i].kind)))
            return &f->fact[i];
    return NULL;
}

static const hy_fact *fact(const hy_facts *f, const char *metric, int layer, const char *kind) {
    const hy_fact *a = find(f, metric, layer, kind);
    if (!a) fail_msg("no %s of layer %d, %s", metric, layer, kind ? kind : "-");
    return a;
}

static void near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance * fmax(1e-3, fabs(want)))) fail_msg("%.17g, wanted %.17g", got, want);
}

static void refused(const hy_measure_subject *s, const char *name, const char *options, const char *error) {
    hy_measure_options o;
    const hy_measure *m = hy_measure_find(name);
    assert_int_equal(hy_measure_options_read(m, options, &o), HY_OK);
    assert_int_equal(hy_measure_check(m, s, &o), HY_EINPUT);
    assert_error(error);
    assert_error("measure ");
}

static void accepted(const hy_measure_subject *s, const char *name, const char *options, bool applies) {
    hy_measure_options o;
    const hy_measure *m = hy_measure_find(name);
    assert_int_equal(hy_measure_options_read(m, options, &o), HY_OK);
    if (hy_measure_check(m, s, &o)) fail_msg("%s", hy_error_text());
    assert_int_equal(hy_measure_applies(m, s->spec, &o), applies);
}

static void checks(void **state) {
    (void)state;
    rig r, none;
    rig_open(&r, mean);
    rig_open(&none, mlps);
    const hy_measure_subject s = {r.spec, r.task, "cpu", HY_PRECISION_F32},
                             bare = {r.spec, NULL, "cpu", HY_PRECISION_F32};
    const hy_measure_subject empty = {none.spec, none.task, "cpu", HY_PRECISION_F32};
    static const char *const of_cells[] = {"maps",  "erf",       "outputs",      "kv_similarity",
                                           "reach", "retrieval", "contributions"};
    for (int i = 0; i < 7; i++) {
        accepted(&s, of_cells[i], "cell: 1", true);
        refused(&s, of_cells[i], "cell: 2", "cell 2: task mqar has evaluation cells 0 to 1");
        refused(&bare, of_cells[i], "", "it needs a task");
        accepted(&empty, of_cells[i], "", false);  // a model without heads is passed over
    }
    refused(&s, "kv_similarity", "max_len: 3\ncka: debiased", "CKA needs at least 4 positions of an example, not 3");
    accepted(&s, "kv_similarity", "max_len: 3\ncka: debiased\npositions: all", true);
    refused(&s, "kv_similarity", "max_len: 1", "at least 2 positions");
    refused(&s, "retrieval", "max_len: 4", "nothing to copy in the first 5 examples of mqar, T24.K2");
    refused(&s, "contributions", "rows: 4", "rows: 4, but maps are of all rows");
    accepted(&s, "contributions", "rows: 4\nkeep: statistics\nlayers: [1]", true);
    accepted(&empty, "gradient_erf", "cell: 1", true);  // of any model
    refused(&s, "gradient_erf", "cell: 2", "cell 2: task mqar has evaluation cells 0 to 1");
    refused(&bare, "gradient_erf", "", "it needs a task");
    refused(&s, "gradient_erf", "max_len: 4\nof: label",
            "example 0 of mqar, T24.K2 has no wanted token in its first 4");
    accepted(&s, "meta", "", true);
    accepted(&empty, "meta", "", false);
    refused(&bare, "meta", "", "it needs a task");
    refused(&s, "meta", "prompts: texts", "task mqar has tokens of its own, no text");
    refused(&s, "meta", "layers: [1, 1]", "layers: 1 stands there twice");
    accepted(&s, "meta", "layers: [7]", false);
    accepted(&s, "maps", "layers: [1, 7]", true);  // variants differ in depth
    accepted(&s, "maps", "layers: [7]", false);
    accepted(&s, "maps", "single_heads: [1]\nchannels: [23]", true);
    refused(&s, "maps", "single_heads: [2]", "there is no attention head 2: the wanted layers have 2");
    refused(&s, "maps", "channels: [24]", "there is no SSM channel 24: the wanted layers have 24");
    refused(&bare, "accuracy", "", "it needs a task");
    accepted(&bare, "cache", "", true);
    accepted(&bare, "throughput", "batch: [1, 64]", true);
    refused(&s, "throughput", "{train: false, prefill: false, decode: false}", "nothing is left to time");
    refused(&s, "throughput", "contexts: []", "contexts is empty");
    refused(&s, "throughput", "batch: []", "batch is empty");
    refused(&s, "throughput", "{contexts: [10000000], batch: [4, 1000]}",
            "a batch of 1000 sequences of 10000000 + 3 meta tokens");
    accepted(&s, "throughput", "{contexts: [10000000], batch: [1000], fit: true}", true);
    hy_model_spec *small = hy_xcalloc(1, sizeof *small);
    *small = *r.spec;
    small->vocab = 39;
    const hy_measure_subject narrow = {small, r.task, "cpu", HY_PRECISION_F32};
    refused(&narrow, "accuracy", "", "task mqar uses 40 tokens, but mean has a vocabulary of 39");
    free(small);

    rig mixed;  // heads count in the wanted layers only
    rig_open(&mixed,
             "name: mixed\nlayers: 2\nattention: {heads: 2}\npattern: [{mixer: ssm}, {mixer: attention}]\n" SSM COMMON);
    const hy_measure_subject some = {mixed.spec, mixed.task, "cpu", HY_PRECISION_F32};
    accepted(&some, "maps", "layers: [0]\nsingle_heads: [5]", true);
    refused(&some, "maps", "layers: [1]\nsingle_heads: [5]", "there is no attention head 5");
    rig_close(&mixed);
    hy_measure_options bad;  // options that no reader saw
    assert_int_equal(hy_measure_options_read(hy_measure_find("size"), "", &bad), HY_OK);
    *(int *)&bad = -3;
    assert_int_equal(hy_measure_check(hy_measure_find("size"), &s, &bad), HY_EINPUT);
    assert_error("measure size: context is -3");

    rig_close(&r);
    rig_close(&none);
}

static void weights_that_are_no_numbers(void **state) {
    (void)state;
    rig r;
    rig_open(&r, llama);
    float *w = hy_params_ptr(r.w, hy_program_find_param(r.p, "layers.0.in_proj"), false);
    w[0] = NAN;
    const hy_measure_context c = {
        .prog = r.p, .params = r.w, .compute = r.w->compute, .be = &r.be, .task = r.task, .eval_batch = 4, .jobs = 1};
    static const char *const all[] = {"accuracy", "maps",      "erf",          "outputs",      "kv_similarity",
                                      "reach",    "retrieval", "gradient_erf", "contributions"};
    for (int i = 0; i < 9; i++) {
        hy_measure_options o;
        hy_facts f = {0};
        const hy_measure *m = hy_measure_find(all[i]);
        assert_int_equal(hy_measure_options_read(m, "", &o), HY_OK);
        if (hy_measure_run(m, &c, &o, &f) != HY_EDIVERGED) fail_msg("%s took it", all[i]);
        assert_error(i == 0 ? "the weights hold NaN" : "is not a number");
        hy_facts_free(&f);
    }
    rig_close(&r);
}

// ----------------------------------------------------------------------------------------------- accuracy, size, cache
// Of 30 examples with 2 pairs and 10 with 4: (30 / 2 + 10 / 4) / 40. Where keys get new values nothing is told.
static void chance_of_cells(void **state) {
    (void)state;
    hy_score cells[2] = {{.examples = 30}, {.examples = 10}};
    const hy_eval e = {.total = {.examples = 40}, .cells = cells, .n_cells = 2};
    for (int updates = 0; updates < 2; updates++) {
        hy_task *task;
        hy_facts f = {0};
        assert_int_equal(hy_task_open("mqar",
                                      updates ? "vocab: 40\ntest: [[24, 2], [32, 4]]\ntrain: [[24, 2]]\nupdates: 1\n"
                                              : "vocab: 40\ntest: [[24, 2], [32, 4]]\ntrain: [[24, 2]]\n",
                                      1, &task),
                         HY_OK);
        hy_accuracy_facts(&f, task, &e, 7, true);
        int told = 0;
        for (int i = 0; i < f.n_facts; i++) {
            const hy_fact *a = &f.fact[i];
            if (strcmp(a->name, "accuracy_chance")) continue;
            const int cell = !*a->cell ? -1 : strcmp(a->cell, "T24.K2") != 0;
            near(a->value, cell < 0 ? 0.4375 : cell ? 0.25 : 0.5, 1e-12);
            assert_int_equal(a->n, cell < 0 ? 40 : cells[cell].examples);
            assert_int_equal(a->step, 7);
            told++;
        }
        assert_int_equal(told, updates ? 0 : 3);
        hy_facts_free(&f);
        hy_task_close(task);
    }
}

static void accuracy_of_cells(void **state) {
    (void)state;
    rig r;
    hy_eval e;
    hy_facts f = {0}, few = {0};
    rig_open(&r, llama);
    take(&r, "accuracy", "", &f);
    take(&r, "accuracy", "examples: 2", &few);
    assert_int_equal(hy_evaluate(r.p, r.w, r.task, HY_SPLIT_EVAL, 3, 0, &e), HY_OK);  // the batch does not matter
    int losses = 0;
    for (int i = 0; i < f.n_facts; i++) {
        const hy_fact *a = &f.fact[i];
        const hy_score *s = !*a->cell ? &e.total : !strcmp(a->cell, "T24.K2") ? &e.cells[0] : &e.cells[1];
        assert_true(a->final);
        if (!strcmp(a->name, "accuracy")) assert_true(a->value == s->accuracy && a->n == s->examples);
        if (strcmp(a->name, "loss")) continue;
        near(a->value, s->loss, 1e-12);
        assert_int_equal(a->n, s->labels);
        losses++;
    }
    assert_int_equal(losses, 3);
    assert_int_equal(f.fact[0].n, 10);
    assert_int_equal(few.fact[0].n, 4);
    hy_eval_free(&e);
    hy_facts_free(&f), hy_facts_free(&few);
    rig_close(&r);
}

// Each figure of a score under its own name: as it is, in bits, over the bytes of a token, less the entropy of the
// source.
static void figures_of_a_score(void **state) {
    (void)state;
    static const struct {
        const char *kind, *options;
    } tasks[] = {{"markov", "vocab: 8\n"},
                 {"text", "path: tests/data/shakespeare-100k.txt\ntokenizer: tests/golden/tokenizers/llama3.json\n"}};
    const hy_eval e = {
        .total = {.accuracy = 0.5, .token_accuracy = 0.25, .exact = 0.125, .loss = 3, .labels = 70, .examples = 7},
        .n_cells = 1};
    for (int k = 0; k < 2; k++) {
        hy_task *task;
        hy_facts f = {0};
        if (hy_task_open(tasks[k].kind, tasks[k].options, 1, &task)) fail_msg("%s", hy_error_text());
        hy_accuracy_facts(&f, task, &e, 9, true);
        const double bytes = hy_task_bytes_per_token(task), bits = 3 / log(2);
        near(fact(&f, "accuracy", -1, NULL)->value, 0.5, 1e-12);
        near(fact(&f, "token_accuracy", -1, NULL)->value, 0.25, 1e-12);
        assert_int_equal(fact(&f, "token_accuracy", -1, NULL)->n, 70);
        near(fact(&f, "exact", -1, NULL)->value, 0.125, 1e-12);
        near(fact(&f, "bits_per_token", -1, NULL)->value, bits, 1e-12);
        if (k == 0) {
            assert_true(hy_task_entropy(task) > 0);
            near(fact(&f, "excess_loss", -1, NULL)->value, 3 - hy_task_entropy(task), 1e-12);
            assert_null(find(&f, "bits_per_byte", -1, NULL));
        } else {
            assert_true(bytes > 1.1);
            near(fact(&f, "bits_per_byte", -1, NULL)->value, bits / bytes, 1e-12);
        }
        hy_facts_free(&f);
        hy_task_close(task);
    }
}

static void size_and_cache(void **state) {
    (void)state;
    rig r;
    hy_facts f = {0};
    rig_open(&r, mean);
    take(&r, "size", "", &f);
    size_t n = 0;
    for (int i = 0; i < r.p->n_params; i++) n += r.p->params[i].n;
    assert_true(fact(&f, "parameters", -1, NULL)->value == (double)n);
    assert_true(fact(&f, "flops_token", -1, NULL)->x == 32);  // the longest example
    take(&r, "size", "context: 7", &f);
    assert_true(f.fact[3].x == 7 && f.fact[3].value < f.fact[1].value);
    take(&r, "cache", "tokens: 50", &f);
    double kv = 0, all = 0;
    for (int i = 0; i < f.n_facts; i++) {
        if (strcmp(f.fact[i].name, "cache_true")) continue;
        if (f.fact[i].layer >= 0 && !strcmp(f.fact[i].kind, "kv")) kv += f.fact[i].value;
        if (f.fact[i].layer >= 0) all += f.fact[i].value;
    }
    near(fact(&f, "cache_true", -1, "kv")->value, kv, 1e-12);
    near(fact(&f, "cache_true", -1, NULL)->value, all, 1e-12);
    near(fact(&f, "cache_allocated", -1, NULL)->value, all, 1e-12);
    hy_facts_free(&f);
    rig_close(&r);
}

static void throughput_has_its_repetitions(void **state) {
    (void)state;
    rig r;
    hy_facts f = {0};
    rig_open(&r, llama);
    take(&r, "throughput", "{contexts: [4, 8], batch: [1, 2], repetitions: 3, decode_tokens: 1, train: false}", &f);
    assert_int_equal(f.n_facts, 8);
    assert_string_equal(f.fact[1].name, "throughput_prefill");
    assert_string_equal(f.fact[1].cell, "T4.B2");
    for (int i = 0; i < 8; i++) {
        double v[3];
        assert_int_equal(f.fact[i].n_samples, 3);
        memcpy(v, f.fact[i].samples, sizeof v);
        assert_true(f.fact[i].value == hy_median(v, 3) && f.fact[i].value > 0);
        assert_non_null(strstr(f.fact[i].meta, "\"path\""));
    }
    hy_facts_free(&f);
    rig_close(&r);
}

// ---------------------------------------------------------------------------------------------------- maps
static const hy_artifact *map_of(const hy_facts *f, int layer, const char *kind, int head) {
    for (int i = 0; i < f->n_artifacts; i++) {
        const hy_artifact *a = &f->artifact[i];
        if (a->layer == layer && a->head == head && !strcmp(a->kind, kind)) return a;
    }
    fail_msg("no map of layer %d, %s, %d", layer, kind, head);
    return NULL;
}

typedef struct {
    double entropy, relative, distance, meta, bos, self, cross;
} row_stats;

// Statistics of the maps of `heads` heads (-1: the one map of all) as plain loops over what is stored.
static row_stats stats_of(const hy_facts *f, int layer, const char *kind, int heads, int meta) {
    row_stats t = {0};
    int rows = 0, wide = 0;
    for (int h = heads < 0 ? -1 : 0; h < (heads < 0 ? 0 : heads); h++) {
        const hy_artifact *a = map_of(f, layer, kind, h);
        const int S = a->shape[0];
        for (int i = meta; i < S; i++) {
            const float *row = (const float *)a->data + (size_t)i * S;
            double entropy = 0;
            int seen = 0;
            for (int j = 0; j < S; j++) {
                if (isnan(row[j])) continue;
                seen++;
                if (row[j] > 0) entropy -= row[j] * log(row[j]);
                t.distance += row[j] * (i - j);
                *(j < meta ? &t.meta : j == i ? &t.self : j == meta ? &t.bos : &t.cross) += row[j];
            }
            t.entropy += entropy;
            if (seen > 1) t.relative += entropy / log(seen), wide++;
            rows++;
        }
    }
    t.entropy /= rows, t.distance /= rows, t.meta /= rows, t.bos /= rows, t.self /= rows, t.cross /= rows,
        t.relative /= wide;
    return t;
}

static void maps_and_their_statistics(void **state) {
    (void)state;
    rig r;
    hy_facts f = {0}, one = {0}, two = {0}, other = {0};
    rig_open(&r, mean);
    take(&r, "maps", "heads: true", &f);
    for (int layer = 0; layer < 2; layer++)
        for (int k = 0; k < 3; k++) {
            static const char *const kinds[] = {"attention", "ssm", "layer"};
            const row_stats t = stats_of(&f, layer, kinds[k], k == 0 ? 2 : -1, 3);
            near(fact(&f, "map_entropy", layer, kinds[k])->value, t.entropy, 1e-5);
            near(fact(&f, "map_entropy_rel", layer, kinds[k])->value, t.relative, 1e-5);
            near(fact(&f, "map_distance", layer, kinds[k])->value, t.distance, 1e-5);
            near(fact(&f, "map_meta", layer, kinds[k])->value, t.meta, 1e-5);
            near(fact(&f, "map_bos", layer, kinds[k])->value, t.bos, 1e-5);
            near(fact(&f, "map_self", layer, kinds[k])->value, t.self, 1e-5);
            near(fact(&f, "map_cross", layer, kinds[k])->value, t.cross, 1e-5);
        }
    for (int i = 0; i < f.n_facts; i++)
        if (!strcmp(f.fact[i].name, "map_check")) assert_true(f.fact[i].value >= 0 && f.fact[i].value < 1e-5);
    // of two examples the mean; what is kept and which layers does not change a figure
    take(&r, "maps", "examples: 2\nkeep: statistics\nlayers: [1]", &one);
    assert_int_equal(one.n_artifacts, 0);
    assert_null(find(&one, "map_entropy", 0, "ssm"));
    take(&r, "maps", "examples: 2\nlayers: [0]", &two);
    take(&r, "maps", "examples: 2\nlayers: [1]", &two);
    const row_stats of_mean = stats_of(&two, 1, "ssm", -1, 3);  // distances are linear in the map, entropies are not
    near(of_mean.meta + of_mean.bos + of_mean.self + of_mean.cross, 1, 1e-5);
    near(fact(&one, "map_distance", 1, "ssm")->value, of_mean.distance, 1e-5);
    // the check is of the layer where it is worst
    static const char *const checked[] = {"attention", "ssm", "model"};
    for (int i = 0; i < 3; i++) {
        double worst = -1, all = -1;
        for (int k = 0; k < two.n_facts; k++)
            if (!strcmp(two.fact[k].name, "map_check") && !strcmp(two.fact[k].cell, checked[i]))
                worst = fmax(worst, two.fact[k].value);
        for (int k = 0; k < f.n_facts; k++)
            if (!strcmp(f.fact[k].name, "map_check") && !strcmp(f.fact[k].cell, checked[i])) all = f.fact[k].value;
        assert_true(all == worst && all > 0);
    }
    take(&r, "maps", "keep: maps\nchannels: [4]\nsingle_heads: [1]\nmax_len: 10\nnorm: minmax", &other);
    assert_int_equal(other.n_facts, 0);
    assert_int_equal(other.n_artifacts,
                     2 * 4);  // attention, head 1, SSM, channel 4; no layer map without row-normalised ones
    assert_int_equal(map_of(&other, 1, "ssm", 4)->shape[0], 13);
    assert_string_equal(map_of(&other, 1, "ssm", 4)->name, "map.layer1.ssm.channel4");
    hy_facts_free(&f), hy_facts_free(&one), hy_facts_free(&two), hy_facts_free(&other);
    rig_close(&r);
}

// ---------------------------------------------------------------------------------------------------- receptive field
static double last_row_distance(const hy_artifact *a) {
    const int S = a->shape[0];
    const float *row = (const float *)a->data + (size_t)(S - 1) * S;
    double mass = 0, d = 0;
    for (int j = 0; j < S; j++)
        if (!isnan(row[j])) mass += row[j], d += row[j] * (S - 1 - j);
    return d / mass;
}

static void receptive_field(void **state) {
    (void)state;
    rig r;
    hy_facts erf = {0}, maps = {0};
    rig_open(&r, mean);
    hy_buf b = {0};
    hy_buf_printf(&b, "heads: true\nchannels: [");
    for (int d = 0; d < 24; d++) hy_buf_printf(&b, "%s%d", d ? ", " : "", d);
    hy_buf_printf(&b, "]\n");
    take(&r, "maps", b.s, &maps);
    free(b.s);
    take(&r, "erf", "examples: 1", &erf);
    double whole = 0;
    for (int l = 0; l < 2; l++) {
        double heads = 0, channels = 0;
        for (int h = 0; h < 2; h++) heads += last_row_distance(map_of(&maps, l, "attention", h)) / 2;
        for (int d = 0; d < 24; d++) channels += last_row_distance(map_of(&maps, l, "ssm", d)) / 24;
        const double group = last_row_distance(map_of(&maps, l, "ssm", -1)), layer = (heads + group) / 2;
        near(fact(&erf, "head_distance", l, "attention")->value, heads, 1e-5);
        near(fact(&erf, "head_distance", l, "ssm")->value, group, 1e-5);
        near(fact(&erf, "channel_distance", l, "ssm")->value, channels, 1e-5);
        near(fact(&erf, "erf", l, NULL)->value, layer, 1e-5);
        near(fact(&erf, "erf_relative", l, NULL)->value, layer / 27, 1e-5);  // 24 tokens and 3 meta tokens
        whole += layer * 2 * (2 - l) / (2 * 3);
    }
    near(fact(&erf, "erf", -1, NULL)->value, whole, 1e-5);
    assert_true(isnan(fact(&erf, "erf", -1, NULL)->se));
    hy_facts two = {0};
    take(&r, "erf", "examples: 2", &two);
    for (int l = -1; l < 2; l++) {  // two values about their mean: its standard error is the distance to either
        const hy_fact *m = fact(&two, "erf", l, NULL);
        near(m->se, fabs(m->value - fact(&erf, "erf", l, NULL)->value), 1e-3);
    }
    hy_facts_free(&erf), hy_facts_free(&maps), hy_facts_free(&two);
    // a kind of heads that the model lacks: distances of the others, no field
    rig l;
    rig_open(&l, llama);
    take(&l, "erf", "heads: ssm", &erf);
    assert_null(find(&erf, "erf", -1, NULL));
    fact(&erf, "head_distance", 1, "attention");
    hy_facts_free(&erf);
    rig_close(&l);
    rig_close(&r);
}

// ---------------------------------------------------------------------------------------------------- outputs
// What one run of the model gave under a name: [rows, width].
typedef struct {
    const char *name;
    int rows, width;
    float *data;
} taken;
static bool wants_one(void *user, const char *name) { return !strcmp(((taken *)user)->name, name); }
static hy_status got_one(void *user, const char *name, const float *data, int rows, int width) {
    taken *t = user;
    (void)name;
    t->rows = rows, t->width = width;
    free(t->data);
    t->data = hy_xcalloc((size_t)rows * (size_t)width, sizeof *data);
    memcpy(t->data, data, (size_t)rows * (size_t)width * sizeof *data);
    return HY_OK;
}

// Root mean square of columns first .. first+n-1 (n 0: all) of a value over the positions from `from` on, the first T
// tokens of example i of the first cell.
static double rms_of_cut(const rig *r, const char *value, int i, int T, int from, int first, int n) {
    int32_t ids[24], labels[24], all[32];
    const int m = r->spec->meta_tokens;
    hy_exec *e;
    taken t = {.name = value};
    assert_int_equal(hy_task_example(r->task, HY_SPLIT_EVAL, 0, i, ids, labels), HY_OK);
    hy_ids_with_meta(1, T, m, ids, 0, all);
    assert_int_equal(hy_exec_create(r->p, &r->be, HY_F32, HY_EXEC_INFER, 1, T + m, 0, &e), HY_OK);
    const hy_batch b = {.B = 1, .T = T + m, .ids = all};
    const hy_probe probe = {.wants = wants_one, .got = got_one, .user = &t};
    assert_int_equal(hy_exec_forward(e, r->w, &b, NULL, 0, &probe), HY_OK);
    hy_exec_free(e);
    if (!t.data) fail_msg("no value %s", value);
    if (n == 0) n = t.width;
    double s = 0;
    for (int row = from; row < t.rows; row++)
        for (int c = first; c < first + n; c++) s += (double)t.data[row * t.width + c] * t.data[row * t.width + c];
    free(t.data);
    return sqrt(s / ((double)(t.rows - from) * n));
}

static double rms_of(const rig *r, const char *value, int i, int from, int first, int n) {
    return rms_of_cut(r, value, i, 24, from, first, n);
}

// A vector of weights that are no ones: -0.5, 0.75, 1.5, ... so that means of values and of sizes differ.
static float *set_weights(const rig *r, const char *name, int *n) {
    const int par = hy_program_find_param(r->p, name);
    assert_true(par >= 0);
    float *w = hy_params_ptr(r->w, par, false);
    *n = (int)r->p->params[par].n;
    for (int i = 0; i < *n; i++) w[i] = (i % 3 ? 0.75f : -0.5f) * (float)(1 + i % 4);
    return w;
}

static void check_moments(const hy_fact *f, const double *v, int n) {
    double m = 0, s = 0;
    for (int i = 0; i < n; i++) m += v[i] / n;
    for (int i = 0; i < n; i++) s += (v[i] - m) * (v[i] - m);
    near(f->value, m, 1e-5);
    near(f->se, sqrt(s / (n - 1) / n), 2e-3);
    assert_int_equal(f->n, n);
}

// The fused output with one kind's weights at zero is what the other kind adds to it; of a concatenation it is half the
// columns.
static void fused_by_zeroing(rig *r, const hy_facts *f, int layer, double by_attention, double by_ssm) {
    static const char *const kinds[] = {"attention", "ssm"}, *const names[] = {"attn_norm", "ssm_norm"};
    const double by[] = {by_attention, by_ssm};
    float *w[2], *kept[2];
    double fused[2][3];
    int n[2];
    char name[64], value[48];
    snprintf(value, sizeof value, "layers.%d.fuse.out", layer);
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "layers.%d.fuse.%s", layer, names[k]);
        w[k] = set_weights(r, name, &n[k]);  // the same values as before
        kept[k] = hy_xcalloc((size_t)n[k], sizeof **kept);
        memcpy(kept[k], w[k], (size_t)n[k] * sizeof **kept);
        double sum = 0, size = 0;
        for (int i = 0; i < n[k]; i++) sum += by[k] * w[k][i] / n[k], size += fabs(by[k] * w[k][i]) / n[k];
        near(fact(f, "beta", layer, kinds[k])->value, sum, 1e-6);
        near(fact(f, "beta_abs", layer, kinds[k])->value, size, 1e-6);
    }
    const bool beside = r->spec->layers[layer].fusion == HY_FUSION_CONCAT;
    for (int k = 0; k < 2; k++) {
        memset(w[1 - k], 0, (size_t)n[1 - k] * sizeof **w);
        for (int i = 0; i < 3; i++)
            fused[k][i] = rms_of(r, value, i, r->spec->meta_tokens, beside && k ? n[0] : 0, beside ? n[k] : 0);
        memcpy(w[1 - k], kept[1 - k], (size_t)n[1 - k] * sizeof **w);
        check_moments(fact(f, "fused_rms", layer, kinds[k]), fused[k], 3);
    }
    for (int k = 0; k < 2; k++) {
        double share[3];
        for (int i = 0; i < 3; i++) share[i] = fused[k][i] / (fused[0][i] + fused[1][i]);
        check_moments(fact(f, "output_share", layer, kinds[k]), share, 3);
        free(kept[k]);
    }
}

static void outputs_of_fusions(void **state) {
    (void)state;
    static const struct {
        const char *model;
        double by_attention, by_ssm;
    } all[] = {{mean, 0.5, 3}, {concat, 1, 1}, {gate, 1, 1}};
    for (int m = 0; m < 3; m++) {
        rig r;
        hy_facts f = {0};
        int n;
        rig_open(&r, all[m].model);
        for (int l = 0; l < 2; l++)
            for (int k = 0; k < 2; k++) {
                char name[64];
                snprintf(name, sizeof name, "layers.%d.fuse.%s_norm", l, k ? "ssm" : "attn");
                set_weights(&r, name, &n);
            }
        take(&r, "outputs", "examples: 3", &f);
        for (int l = 0; l < 2; l++) {
            char attention[48], ssm[48];
            double a[3], s[3];
            snprintf(attention, sizeof attention, "layers.%d.attn.out", l);
            snprintf(ssm, sizeof ssm, "layers.%d.ssm.out", l);
            for (int i = 0; i < 3; i++) {
                a[i] = rms_of(&r, attention, i, r.spec->meta_tokens, 0, 0);
                s[i] = rms_of(&r, ssm, i, r.spec->meta_tokens, 0, 0);
            }
            check_moments(fact(&f, "output_rms", l, "attention"), a, 3);
            check_moments(fact(&f, "output_rms", l, "ssm"), s, 3);
        }
        fused_by_zeroing(&r, &f, 1, all[m].by_attention, all[m].by_ssm);  // the last layer: nothing after it changes
        hy_facts_free(&f);
        rig_close(&r);
    }
}

static void outputs_without_norms(void **state) {
    (void)state;
    rig r;
    hy_facts f = {0};
    rig_open(&r, added);
    take(&r, "outputs", "examples: 2", &f);
    for (int l = 0; l < 2; l++) {
        const double a = fact(&f, "output_rms", l, "attention")->value, s = fact(&f, "output_rms", l, "ssm")->value;
        near(fact(&f, "fused_rms", l, "attention")->value, 0.25 * a, 1e-12);
        near(fact(&f, "fused_rms", l, "ssm")->value, 1.5 * s, 1e-12);
        assert_true(fact(&f, "beta", l, "attention")->value == 0.25 && fact(&f, "beta_abs", l, "ssm")->value == 1.5);
    }
    hy_facts_free(&f);
    rig_close(&r);
    // one kind of heads after the other, and one kind alone: outputs, and nothing of a fusion
    static const char *const others[] = {turns, llama};
    for (int i = 0; i < 2; i++) {
        rig_open(&r, others[i]);
        take(&r, "outputs", "layers: [1]", &f);
        assert_null(find(&f, "output_rms", 0, "attention"));
        fact(&f, "output_rms", 1, "attention");
        assert_int_equal(find(&f, "output_rms", 1, "ssm") != NULL, i == 0);
        assert_int_equal(f.n_facts, 2 - i);
        hy_facts_free(&f);
        rig_close(&r);
    }
}

static void positions_that_count(void **state) {
    (void)state;
    rig r;
    hy_facts text = {0}, all = {0}, cut = {0};
    rig_open(&r, mean);
    take(&r, "outputs", "examples: 1", &text);
    take(&r, "outputs", "examples: 1\npositions: all", &all);
    near(fact(&text, "output_rms", 0, "attention")->value, rms_of(&r, "layers.0.attn.out", 0, 3, 0, 0), 1e-6);
    near(fact(&all, "output_rms", 0, "attention")->value, rms_of(&r, "layers.0.attn.out", 0, 0, 0, 0), 1e-6);
    assert_true(fact(&text, "output_rms", 0, "attention")->value != fact(&all, "output_rms", 0, "attention")->value);
    assert_true(isnan(fact(&text, "output_rms", 0, "attention")->se));
    take(&r, "outputs", "examples: 1\nmax_len: 10", &cut);
    near(fact(&cut, "output_rms", 1, "ssm")->value, rms_of_cut(&r, "layers.1.ssm.out", 0, 10, 3, 0, 0), 1e-6);
    hy_facts_free(&text), hy_facts_free(&all), hy_facts_free(&cut);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks),
        cmocka_unit_test(weights_that_are_no_numbers),
        cmocka_unit_test(accuracy_of_cells),
        cmocka_unit_test(chance_of_cells),
        cmocka_unit_test(figures_of_a_score),
        cmocka_unit_test(size_and_cache),
        cmocka_unit_test(throughput_has_its_repetitions),
        cmocka_unit_test(maps_and_their_statistics),
        cmocka_unit_test(receptive_field),
        cmocka_unit_test(outputs_of_fusions),
        cmocka_unit_test(outputs_without_norms),
        cmocka_unit_test(positions_that_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
