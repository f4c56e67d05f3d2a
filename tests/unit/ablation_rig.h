// ablation_rig.h - small models, what they lose without some of their parts, and measures of them: for the tests of
// ablation and removal.
#ifndef HY_ABLATION_RIG_H
#define HY_ABLATION_RIG_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/measure/measure_plan.h"
#include "analysis/probe/ablate.h"
#include "core/format/yaml.h"
#include "core/spec/spec_read.h"
#include "tests/unit/error_check.h"

// ---------------------------------------------------------------------------------------------------- small models
#define COMMON "vocab: 40\nd_model: 12\ninit: {std: 0.3}\n"
#define MLP "mlp: {kind: silu, d_ff: 10}\n"
#define SSM "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
#define HEADS "attention: {heads: 3, kv_heads: 1, d_qk: 4, d_v: 4}\n"
static const char llama[] = "name: llama\nlayers: 3\nmixer: attention\n" HEADS MLP COMMON;
static const char mean[] =
    "name: mean\nlayers: 2\nmixer: parallel\nmeta_tokens: 3\nattention: {heads: 2, kv_heads: 1, d_v: 12, window: 5, "
    "global_layers: [0]}\n" SSM MLP COMMON;
static const char turns[] = "name: turns\nlayers: 2\nmixer: ssm_attention\nmlp: {kind: none}\n" HEADS SSM COMMON;
static const char mamba[] = "name: mamba\nlayers: 2\nmixer: ssm\nmlp: {kind: none}\n" SSM COMMON;
static const char mamba2[] = "name: mamba2\nlayers: 2\nmixer: ssm\nmlp: {kind: none}\nssm: {kind: mamba2, expand: 2, "
                             "d_state: 3, d_conv: 3, head_dim: 6}\n" COMMON;

enum { EXAMPLES = 5, CELLS = 2, N = EXAMPLES * CELLS };
typedef struct {
    hy_model_spec *spec;
    hy_program *p;
    hy_params *w;
} model;
static hy_backend be;
static hy_task *task;

static inline void model_of(model *m) {
    if (hy_model_build(m->spec, &m->p) || hy_params_create(m->p, &be, HY_F64, &m->w) || hy_params_init(m->w, 3))
        fail_msg("%s", hy_error_text());
}
static inline void model_open(model *m, const char *text) {
    hy_yaml *y = NULL;
    m->spec = hy_xcalloc(1, sizeof *m->spec);
    if (hy_yaml_parse("model", text, strlen(text), &y) || hy_spec_from_yaml(y, m->spec))
        fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    model_of(m);
}
static inline void model_close(model *m) {
    hy_params_free(m->w);
    hy_program_free(m->p);
    free(m->spec);
}

static inline double *weights(const model *m, const char *name, size_t *n) {
    const int i = hy_program_find_param(m->p, name);
    if (i < 0) fail_msg("no parameter %s", name);
    *n = m->p->params[i].n;
    return hy_params_ptr(m->w, i, false);
}
static inline void fill(const model *m, const char *name, double v) {
    size_t n;
    double *w = weights(m, name, &n);
    for (size_t i = 0; i < n; i++) w[i] = v;
}

// The weights of another model wherever it has the name.
static inline void take_weights(const model *to, const model *from) {
    for (int i = 0; i < to->p->n_params; i++) {
        size_t n, have;
        double *w = weights(to, to->p->params[i].name, &n);
        const double *v = weights(from, to->p->params[i].name, &have);
        assert_int_equal(n, have);
        memcpy(w, v, n * sizeof *w);
    }
}

// ---------------------------------------------------------------------------------------------------- taking out
enum { ALL_KINDS = (1 << HY_UNIT_KINDS) - 1 };
static const hy_ints all_cells = {0};

static inline hy_ablation ablation_of(const model *m, hy_ablate_how how, int batch) {
    return (hy_ablation){.prog = m->p,
                         .params = m->w,
                         .task = task,
                         .cells = &all_cells,
                         .examples = EXAMPLES,
                         .batch = batch,
                         .how = how,
                         .reference = 4};
}

// Losses of all examples, intact and without the parts that fit the pattern ("": none), [2, N].
static inline void losses(const model *m, const char *pattern, hy_ablate_how how, int batch, double *out) {
    const hy_ablation a = ablation_of(m, how, batch);
    hy_ablation_scores s;
    hy_units u;
    const unsigned kinds = how == HY_ABLATE_RESAMPLE ? ALL_KINDS & ~(1u << HY_UNIT_META) : ALL_KINDS;
    if (hy_units_of(m->p, kinds, 4, &u)) fail_msg("%s", hy_error_text());
    bool *chosen = hy_xcalloc((size_t)u.n, sizeof *chosen);
    if (*pattern && hy_units_match(&u, pattern, chosen)) fail_msg("%s", hy_error_text());
    if (hy_ablate(&a, &u, 1, chosen, &s)) fail_msg("%s", hy_error_text());
    assert_int_equal(s.n, N);
    assert_int_equal(s.sets, 2);
    memcpy(out, s.loss, 2 * N * sizeof *out);
    for (int i = 0; i < 2 * N; i++) assert_true(s.accuracy[i] >= 0 && s.accuracy[i] <= 1);
    hy_ablation_scores_free(&s);
    hy_units_free(&u);
    free(chosen);
}

// ---------------------------------------------------------------------------------------------------- the measure
static inline void take_measure(const char *name, const model *m, const char *options, hy_facts *facts) {
    const hy_measure *x = hy_measure_find(name);
    const hy_measure_context c = {.prog = m->p,
                                  .params = m->w,
                                  .compute = m->w->compute,
                                  .be = &be,
                                  .task = task,
                                  .eval_batch = 3,
                                  .step = 7,
                                  .jobs = 1};
    hy_measure_options o;
    if (hy_measure_options_read(x, options, &o) || hy_measure_run(x, &c, &o, facts)) fail_msg("%s", hy_error_text());
}
static inline void take(const model *m, const char *options, hy_facts *facts) {
    take_measure("ablation", m, options, facts);
}
static inline const hy_fact *find(const hy_facts *f, const char *metric, const char *cell) {
    for (int i = 0; i < f->n_facts; i++)
        if (!strcmp(f->fact[i].name, metric) && !strcmp(f->fact[i].cell, cell)) return &f->fact[i];
    return NULL;
}
static inline const hy_fact *fact(const hy_facts *f, const char *metric, const char *cell) {
    const hy_fact *found = find(f, metric, cell);
    if (!found) fail_msg("no %s of %s", metric, cell);
    return found;
}
static inline void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-9)) fail_msg("%.17g, wanted %.17g", got, want);
}
static inline void check_moments(const hy_fact *f, const double *v, int n) {
    double mean_of = 0, squares = 0;
    for (int i = 0; i < n; i++) mean_of += v[i] / n;
    for (int i = 0; i < n; i++) squares += pow(v[i] - mean_of, 2);
    near(f->value, mean_of);
    near(f->se, sqrt(squares / (n - 1)) / sqrt(n));
    assert_int_equal(f->n, n);
}

static inline bool rig_opens(void) {
    return !hy_backend_cpu("ref", 1, &be) &&
           !hy_task_open("mqar", "vocab: 40\ntrain: [[24, 2]]\ntest: [[24, 2], [32, 3]]\ntest_examples: 5\n", 1, &task);
}
#endif
