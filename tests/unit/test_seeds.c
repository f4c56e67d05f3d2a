// test_seeds.c - what is drawn at random: first values against the distributions that program.h names, tensor by
// tensor; and the streams behind weights, examples of each split, tables and cells, no two of which share a number.
#include "core/task/task_impl.h"
#include "tests/unit/recipe_fixture.h"

// ---------------------------------------------------------------------------------------------------- first values
#define COMMON "vocab: 96\nd_model: 64\n"
#define HEADS "attention: {heads: 4, kv_heads: 2, qkv_bias: true, out_bias: true}\n"
static const char *const models[] = {
    COMMON HEADS "name: parallel\nlayers: 4\nmixer: parallel\nmeta_tokens: 12\ntied: false\ninit: {std: 0.07, "
                 "residual_scale: true}\nssm: {expand: 2, d_state: 6, d_conv: 4, dt_rank: 5, proj_bias: true}\n"
                 "mlp: {d_ff: 48, bias: true}\n",
    COMMON HEADS "name: sequential\nlayers: 3\nmixer: attention_ssm\ninit: {std: 0.3}\n"
                 "ssm: {expand: 2, d_state: 6, d_conv: 3, dt_rank: 5, proj_bias: true}\nmlp: {d_ff: 48}\n",
    COMMON "name: gate2\nlayers: 8\nmixer: parallel\nfusion: gate\nattention: {heads: 4, qk_norm: true}\n"
           "ssm: {kind: mamba2, expand: 2, d_state: 6, d_conv: 5, head_dim: 2}\nmlp: {d_ff: 48}\n",
    COMMON "name: sum\nlayers: 2\nmixer: parallel\nfusion: sum\nattention: {heads: 4}\ninit: {std: 0.1, "
           "residual_scale: true}\nssm: {expand: 1, d_state: 6, d_conv: 2, dt_rank: 5}\nmlp: {d_ff: 48}\n",
    COMMON "name: untied-table\nlayers: 1\nmixer: attention\nattention: {heads: 4}\ntied: false\n"
           "init: {std: 0.1, embedding_std: 0.8}\nmlp: {d_ff: 48}\n",
    COMMON "name: tied-table\nlayers: 1\nmixer: attention\nattention: {heads: 4}\n"
           "init: {std: 0.1, embedding_std: 2, residual_scale: true}\nmlp: {d_ff: 48}\n",
};

static bool is_one_of(const char *role, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(role, *list)) return true;
    return false;
}

static bool ends_in(const char *s, const char *end) {
    return strlen(s) >= strlen(end) && !strcmp(s + strlen(s) - strlen(end), end);
}

static void all_are(const hy_param *q, const double *v, double want) {
    for (size_t i = 0; i < q->n; i++)
        if (v[i] != want) fail_msg("%s[%zu] is %g, not %g", q->name, i, v[i], want);
}

enum { MOMENTS = 4 };
// Sample moments about 0 within five standard errors of those wanted; var: of v, v^2, v^3, v^4.
static void moments_are(const char *name, const double *v, size_t n, const double *want, const double *var) {
    for (int k = 0; k < MOMENTS; k++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += pow(v[i], k + 1);
        const double d = sum / (double)n - want[k], se = sqrt(var[k] / (double)n);
        if (!(fabs(d) <= 5 * se))
            fail_msg("%s: moment %d of %zu values is %g, not %g (standard error %g)", name, k + 1, n, sum / (double)n,
                     want[k], se);
    }
}

// A normal distribution has moments 0, 1, 0, 3, whose samples vary by 1, 2, 15, 96.
static void normal(const hy_param *q, const double *v, double std) {
    static const double want[] = {0, 1, 0, 3}, var[] = {1, 2, 15, 96};
    double *z = hy_xcalloc(q->n, sizeof *z);
    for (size_t i = 0; i < q->n; i++) z[i] = v[i] / std;
    moments_are(q->name, z, q->n, want, var);
    free(z);
}

// u = 2 (x - lo) / (hi - lo) - 1 of a uniform x has moments 0, 1/3, 0, 1/5, whose samples vary by 1/3, 4/45, 1/7,
// 16/225.
static void uniform(const char *name, double *v, size_t n, double lo, double hi) {
    static const double want[] = {0, 1 / 3.0, 0, 1 / 5.0}, var[] = {1 / 3.0, 4 / 45.0, 1 / 7.0, 16 / 225.0};
    double least = 1, most = -1;
    for (size_t i = 0; i < n; i++) {
        v[i] = 2 * (v[i] - lo) / (hi - lo) - 1;
        least = fmin(least, v[i]), most = fmax(most, v[i]);
    }
    const double near = 20 / (double)n;  // of n values none comes nearer to an end once in e^10
    if (!(least >= -1 - 1e-9 && most <= 1 + 1e-9 && least < -1 + near && most > 1 - near))
        fail_msg("%s: the values are not of all of %g .. %g", name, lo, hi);
    moments_are(name, v, n, want, var);
}

typedef struct {
    double A[4096], dt[4096];  // of all layers together: one alone is a small sample
    size_t n_A, n_dt;
} pooled;

static void check_first_values(const hy_model_spec *m, const hy_param *q, const double *v, pooled *all) {
    static const char *const to_stream[] = {"out_proj", "attn_out_proj", "ssm_out_proj", "mlp.down", NULL},
                             *const steps[] = {"dt_proj.bias", "dt_bias", NULL},
                             *const matrices[] = {"head",           "in_proj",          "x_proj", "mlp.up",
                                                  "dt_proj.weight", "fuse.gate.weight", NULL};
    const char *role = role_of(q->name);
    if (is_one_of(role, to_stream)) {
        normal(q, v, m->init_residual_scale ? m->init_std / sqrt(2.0 * m->n_layers) : m->init_std);
    } else if (is_one_of(role, matrices)) {
        normal(q, v, m->init_std);
    } else if (!strcmp(role, "embed")) {
        normal(q, v, m->init_embedding_std > 0 ? m->init_embedding_std : m->init_std);
    } else if (!strcmp(role, "meta")) {
        normal(q, v, 1);
    } else if (!strcmp(role, "conv.weight")) {
        normal(q, v, 1 / sqrt(3.0 * q->shape[1]));
    } else if (is_one_of(role, steps)) {
        for (size_t i = 0; i < q->n; i++) all->dt[all->n_dt++] = log10(log1p(exp(v[i])));
    } else if (!strcmp(role, "A_log") && q->ndim == 2) {
        for (size_t i = 0; i < q->n; i++) assert_true(fabs(exp(v[i]) - (double)(1 + i % (size_t)q->shape[1])) < 1e-12);
    } else if (!strcmp(role, "A_log")) {
        for (size_t i = 0; i < q->n; i++) all->A[all->n_A++] = exp(v[i]);
    } else if (!strcmp(role, "D") || ends_in(role, "norm")) {
        all_are(q, v, 1);
    } else if (ends_in(role, "bias")) {
        all_are(q, v, 0);
    } else {
        fail_msg("%s: a parameter that no list here names", q->name);
    }
}

// No two tensors begin alike: each draws from a stream of its own.
static void differ(const hy_program *p, const hy_params *w) {
    for (int i = 0; i < p->n_params; i++)
        for (int j = 0; j < i; j++) {
            const hy_param *a = &p->params[i], *b = &p->params[j];
            if (a->init != HY_INIT_NORMAL || b->init != HY_INIT_NORMAL) continue;
            const double *x = hy_params_ptr(w, i, false), *y = hy_params_ptr(w, j, false);
            const double ratio = x[0] / y[0], next = x[1] / y[1];
            if (fabs(ratio - next) < 1e-9 * fabs(ratio)) fail_msg("%s and %s have the same values", a->name, b->name);
        }
}

static void first_values(void **state) {
    (void)state;
    static pooled all;
    const hy_backend be = reference();
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        hy_program *p = program_of(models[k]);
        hy_params *w;
        need(hy_params_create(p, &be, HY_F64, &w));
        need(hy_params_init(w, hy_trainer_init_seed(1 + k)));
        for (int i = 0; i < p->n_params; i++)
            check_first_values(&p->spec, &p->params[i], hy_params_ptr(w, i, false), &all);
        differ(p, w);
        hy_params_free(w);
        hy_program_free(p);
    }
    assert_true(all.n_A >= 500 && all.n_dt >= 1000);
    uniform("A", all.A, all.n_A, 1, 16);
    uniform("log10 of the step", all.dt, all.n_dt, -3, -1);
}

// ---------------------------------------------------------------------------------------------------- streams
enum { MOST_DRAWS = 1 << 16 };
typedef struct {
    double v;
    char what[48];
} drawn;
static drawn *draws;
static int n_draws;

static int by_value(const void *a, const void *b) {
    const drawn *x = a, *y = b;
    return (x->v > y->v) - (x->v < y->v);
}

static void note(double v, const char *fmt, ...) {
    assert_true(n_draws < MOST_DRAWS);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(draws[n_draws].what, sizeof draws->what, fmt, ap);
    va_end(ap);
    draws[n_draws++].v = v;
}

// Each stream by its first numbers in [0, 1), which two streams share by chance once in 2^52 pairs. Those of weights
// are had back from a parameter whose values are 1 + 15 u.
static void note_streams(uint64_t seed) {
    static const hy_draw purposes[] = {HY_DRAW_TRAIN, HY_DRAW_EVAL, HY_DRAW_TUNE, HY_DRAW_TABLE, HY_DRAW_CELL};
    static const char *const names[] = {"embed", "head", "layers.0.in_proj", "layers.1.in_proj", "meta"};
    static const int64_t at[] = {0, 1, 2, 3, 500, HY_TASK_MAX_INDEX - 1};
    static const int cells[] = {0, 1, 2, 7, HY_TASK_MAX_CELLS - 1};
    for (int p = 0; p < 5; p++)
        for (int c = 0; c < 5; c++)
            for (int i = 0; i < 6; i++) {
                hy_rng r = hy_task_rng(seed, purposes[p], cells[c], at[i]);
                for (int k = 0; k < 3; k++)
                    note(hy_rng_uniform(&r), "seed %llu, purpose %d, cell %d, example %lld", (unsigned long long)seed,
                         p, cells[c], (long long)at[i]);
            }
    for (int i = 0; i < 5; i++) {
        hy_param q = {.ndim = 1, .shape = {3, 1, 1}, .n = 3, .init = HY_INIT_A_LOG_UNIFORM};
        double v[3];
        snprintf(q.name, sizeof q.name, "%s", names[i]);
        hy_param_initial(&q, hy_trainer_init_seed(seed), 0, 3, v);
        for (int k = 0; k < 3; k++)
            note((exp(v[k]) - 1) / 15, "seed %llu, weights %s", (unsigned long long)seed, q.name);
    }
}

static void streams_apart(void **state) {
    (void)state;
    static const uint64_t seeds[] = {0, 1, 2, 3, 4, 1ull << 32, 0x7461736b, 0x67656e};
    draws = hy_xcalloc(MOST_DRAWS, sizeof *draws);
    n_draws = 0;
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) note_streams(seeds[i]);
    assert_true(n_draws > 3000);
    qsort(draws, (size_t)n_draws, sizeof *draws, by_value);
    for (int i = 1; i < n_draws; i++)
        if (draws[i].v - draws[i - 1].v < 1e-14)
            fail_msg("one number, %.17g: %s; %s", draws[i].v, draws[i - 1].what, draws[i].what);
    free(draws);
}

// ---------------------------------------------------------------------------------------------------- a run's seed
static const char tiny[] = "name: tiny\nvocab: 20\nd_model: 8\nlayers: 1\nattention: {heads: 2}\n";

static double *trained(const hy_program *p, uint64_t weights, uint64_t data, int steps) {
    const hy_backend be = reference();
    hy_train_spec r = recipe_of("batch=2 lr=0.01 schedule=constant");
    hy_task *task = task_of("mqar", "vocab: 20\ntrain: [[8, 1]]\ntest: [[8, 1]]", data);
    hy_trainer *t;
    hy_train_point at;
    need(hy_trainer_create(p, &be, HY_F64, &r, task, weights, &t));
    for (int i = 0; i < steps; i++) need(hy_trainer_step(t, &at));
    double *out = hy_xcalloc(p->param_elems, sizeof *out);
    for (int i = 0; i < p->n_params; i++)
        memcpy(out + p->params[i].offset, hy_params_ptr(hy_trainer_params(t), i, false), p->params[i].n * sizeof *out);
    hy_trainer_free(t);
    hy_task_close(task);
    return out;
}

// The same seeds give the same bits; another seed of the weights gives other first values in every tensor that is
// drawn, another seed of the data the same first values and another training.
static void seeds_decide(void **state) {
    (void)state;
    hy_program *p = program_of(tiny);
    double *a = trained(p, 1, 1, 3), *b = trained(p, 1, 1, 3), *data = trained(p, 1, 2, 3),
           *first = trained(p, 1, 1, 0), *first_data = trained(p, 1, 2, 0), *first_weights = trained(p, 2, 1, 0);
    const size_t bytes = p->param_elems * sizeof *a;
    assert_memory_equal(a, b, bytes);
    assert_memory_equal(first, first_data, bytes);
    assert_memory_not_equal(a, data, bytes);
    for (int i = 0; i < p->n_params; i++) {
        const size_t at = p->params[i].offset;
        if (p->params[i].init == HY_INIT_NORMAL)
            for (size_t j = 0; j < p->params[i].n; j++) assert_true(first[at + j] != first_weights[at + j]);
        assert_memory_not_equal(first + at, a + at, p->params[i].n * sizeof *a);  // every tensor learns
        assert_memory_not_equal(data + at, a + at, p->params[i].n * sizeof *a);
    }
    double *const each[] = {a, b, data, first, first_data, first_weights};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) free(each[i]);
    hy_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(first_values), cmocka_unit_test(streams_apart),
                                       cmocka_unit_test(seeds_decide)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
