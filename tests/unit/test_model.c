// test_model.c - whole models against finite differences in double precision: the builder, the executor's bookkeeping
// of first writers, views, aliased residuals and shared values, and every kernel's backward, together.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/task/task.h"
#include "tests/unit/tiny_models.h"

// Four-point differences in double along a unit direction with step 1e-3 are good to about 1e-11 relative to the loss.
static const double TOL_GRAD = 1e-6;

typedef struct {
    hy_exec *e;
    hy_params *w;
    hy_batch b;
} rig;

static double loss(rig *r) {
    if (hy_exec_forward(r->e, r->w, &r->b, NULL, HY_HEAD_LOSS, NULL)) fail_msg("%s", hy_error_text());
    if (hy_exec_backward(r->e, r->w, 1.0, NULL)) fail_msg("%s", hy_error_text());
    return hy_exec_nll_sum(r->e);
}

// Derivative along a random direction of each tensor, against central differences.
static void check_tensor(rig *r, const double *grad, int i) {
    const hy_param *q = &r->w->prog->params[i];
    double *x = hy_params_ptr(r->w, i, false), *dir = hy_xcalloc(q->n, sizeof *dir),
           *keep = hy_xcalloc(q->n, sizeof *keep);
    memcpy(keep, x, q->n * sizeof *x);
    hy_rng rng = hy_rng_make(7, (uint64_t)i);
    double want = 0, norm = 0, length = 0;
    for (size_t j = 0; j < q->n; j++) length += pow(dir[j] = hy_rng_normal(&rng), 2);
    for (size_t j = 0; j < q->n; j++) {
        dir[j] /= sqrt(length);
        want += dir[j] * grad[q->offset + j];
        norm += grad[q->offset + j] * grad[q->offset + j];
    }
    const double h = 1e-3, at[4] = {-2 * h, -h, h, 2 * h};
    double f[4];
    for (int s = 0; s < 4; s++) {
        for (size_t j = 0; j < q->n; j++) x[j] = keep[j] + at[s] * dir[j];
        f[s] = loss(r);
    }
    memcpy(x, keep, q->n * sizeof *x);
    const double got = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h), scale = fmax(fabs(got), sqrt(norm)) + 1e-6;
    if (!(fabs(got - want) <= TOL_GRAD * scale))
        fail_msg("%s %s: backward %.12g, differences %.12g", r->w->prog->spec.name, q->name, want, got);
    free(dir);
    free(keep);
}

static void gradients(void **state) {
    (void)state;
    hy_backend be;
    assert_int_equal(hy_backend_cpu("ref", 1, &be), HY_OK);
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
        hy_program *p;
        build(models[k], spec, &p);
        enum { B = 2, TEXT = 9 };
        const int m = spec->meta_tokens, T = m + TEXT;
        int32_t ids[B * TEXT], labels[B * TEXT], full[B * 64], full_labels[B * 64];
        hy_rng rng = hy_rng_make(3, k);
        for (int i = 0; i < B * TEXT; i++) {
            ids[i] = (int32_t)hy_rng_below(&rng, 13);
            labels[i] = hy_rng_below(&rng, 3) ? (int32_t)hy_rng_below(&rng, 13) : HY_IGNORE;
        }
        hy_ids_with_meta(B, TEXT, m, ids, 0, full);
        hy_ids_with_meta(B, TEXT, m, labels, HY_IGNORE, full_labels);
        rig r = {.b = {.B = B, .T = T, .ids = full, .labels = full_labels}};
        assert_int_equal(hy_params_create(p, &be, HY_F64, &r.w), HY_OK);
        assert_int_equal(hy_params_init(r.w, 11), HY_OK);
        assert_int_equal(hy_params_want_grad(r.w), HY_OK);
        if (hy_exec_create(p, &be, HY_F64, HY_EXEC_TRAIN, B, T, 0, &r.e)) fail_msg("%s", hy_error_text());
        for (int i = 0; i < p->n_params; i++) {  // norms at 1 and biases at 0 would hide errors
            double *x = hy_params_ptr(r.w, i, false);
            for (size_t j = 0; j < p->params[i].n; j++)
                if (p->params[i].init == HY_INIT_ONES || p->params[i].init == HY_INIT_ZEROS)
                    x[j] += 0.2 * hy_rng_normal(&rng);
        }
        loss(&r);
        double *grad = hy_xcalloc(p->param_elems, sizeof *grad);
        memcpy(grad, r.w->grad, p->param_elems * sizeof *grad);
        for (int i = 0; i < p->n_params; i++) check_tensor(&r, grad, i);

        // two micro-steps add up
        memset(r.w->grad, 0, p->param_elems * sizeof *grad);
        loss(&r);
        loss(&r);
        const double *twice = r.w->grad;
        for (size_t j = 0; j < p->param_elems; j++)
            assert_true(fabs(twice[j] - 2 * grad[j]) <= 1e-12 + 1e-10 * fabs(grad[j]));
        free(grad);
        hy_exec_free(r.e);
        hy_params_free(r.w);
        hy_program_free(p);
        free(spec);
    }
}

// ---------------------------------------------------------------------------------------------------- multipliers
static double nll_of(const hy_program *p, hy_params *w, const hy_backend *be, double *logit_norm) {
    enum { T = 11 };
    const int m = p->spec.meta_tokens;
    int32_t text[T], labels[T], ids[T + 4], full[T + 4];
    int rows[T + 4];
    for (int i = 0; i < T; i++) text[i] = (i * 5 + 2) % 13, labels[i] = (i * 3 + 1) % 13;
    hy_ids_with_meta(1, T, m, text, 0, ids);
    hy_ids_with_meta(1, T, m, labels, HY_IGNORE, full);
    for (int i = 0; i < m + T; i++) rows[i] = i;
    const hy_batch b = {.B = 1, .T = m + T, .ids = ids, .labels = full, .out_rows = rows, .n_out = m + T};
    hy_exec *e;
    if (hy_exec_create(p, be, HY_F64, HY_EXEC_INFER, 1, m + T, m + T, &e)) fail_msg("%s", hy_error_text());
    if (hy_exec_forward(e, w, &b, NULL, HY_HEAD_LOSS | HY_HEAD_LOGITS, NULL)) fail_msg("%s", hy_error_text());
    const float *logits = hy_exec_logits(e);
    *logit_norm = 0;
    for (int i = 0; i < (m + T) * 13; i++) *logit_norm += (double)logits[i] * logits[i];
    double nll = hy_exec_nll_sum(e);
    hy_exec_free(e);
    return nll;
}

// Rows first .. first+n-1 of a parameter times a factor.
static void fold(hy_params *w, const char *name, int first, int n, double by) {
    const int i = hy_program_find_param(w->prog, name);
    if (i < 0) fail_msg("no parameter %s", name);
    const hy_param *q = &w->prog->params[i];
    const size_t width = q->n / (size_t)q->shape[0];
    double *x = hy_params_ptr(w, i, false);
    if (n < 0) n = q->shape[0];
    for (size_t e = (size_t)first * width; e < (size_t)(first + n) * width; e++) x[e] *= by;
}

// Each factor means what the same factor in the weights means. in_proj is [q | k | v | s | g], x_proj [dt | B | C];
// Mamba-2: in_proj [q | k | v | z | x | B | C | dt].
static void fold_all(hy_params *w, const hy_multipliers *f, bool mean) {
    const int q = 12, k = mean ? 12 : 6, v = mean ? 24 : 3;
    fold(w, "embed", 0, -1, f->embedding);
    fold(w, "meta", 0, -1, f->embedding);
    fold(w, "layers.0.in_proj", 0, q + k + v, f->attention_in);
    fold(w, "layers.0.in_proj", q, k, f->key);
    const bool two = hy_layer_is_mamba2(&w->prog->spec.layers[0]);
    fold(w, "layers.0.in_proj", q + k + v, two ? 24 + 24 + 6 + 6 + 4 : 48, f->ssm_in);
    fold(w, "layers.0.in_proj", q + k + v, 24, two ? f->ssm_z : f->ssm_x);
    fold(w, "layers.0.in_proj", q + k + v + 24, 24, two ? f->ssm_x : f->ssm_z);
    const char *rest = two ? "layers.0.in_proj" : "layers.0.x_proj";
    const int at = two ? q + k + v + 48 : 2, n = two ? 6 : 3;
    fold(w, rest, two ? at + 12 : 0, two ? 4 : 2, f->ssm_dt);
    fold(w, rest, at, n, f->ssm_B);
    fold(w, rest, at + n, n, f->ssm_C);
    fold(w, mean ? "layers.0.fuse.attn_norm" : "layers.0.attn_out_proj", 0, -1, f->attention_out);
    fold(w, mean ? "layers.0.fuse.ssm_norm" : "layers.0.ssm_out_proj", 0, -1, f->ssm_out);
    fold(w, "layers.0.mlp.up", 0, 10, f->mlp_gate);
    fold(w, "layers.0.mlp.down", 0, -1, f->mlp_down);
    fold(w, "head", 0, -1, f->head);
}

static void factors_mean_what_they_say(void **state) {
    (void)state;
#define ONE                                                                                              \
    COMMON "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2, inner_norms: false}\nlayers: 1\nmixer: " \
           "parallel\nmeta_tokens: 2\ntied: false\n"
    static const char *const texts[3] = {
        ONE "name: sum\nfusion: sum\nattention: {heads: 2, kv_heads: 1, d_qk: 6, d_v: 3}\n",
        ONE "name: mean\nattention: {heads: 2, kv_heads: 2}\n",
        ONE SSM2 "name: sum2\nfusion: sum\nattention: {heads: 2, kv_heads: 1, d_qk: 6, d_v: 3}\n"};
    hy_backend be;
    assert_int_equal(hy_backend_cpu("ref", 1, &be), HY_OK);
    for (int t = 0; t < 3; t++) {
        hy_model_spec *spec = hy_xcalloc(2, sizeof *spec);
        hy_program *p[2];
        hy_params *w[2];
        double nll[3], size[3];
        for (int k = 0; k < 2; k++) {
            char *text = hy_asprintf("%s%s", texts[t], k ? FACTORS : "");
            build(text, &spec[k], &p[k]);
            free(text);
            assert_int_equal(hy_params_create(p[k], &be, HY_F64, &w[k]), HY_OK);
            assert_int_equal(hy_params_init(w[k], 3), HY_OK);
            nll[k] = nll_of(p[k], w[k], &be, &size[k]);
        }
        assert_true(fabs(nll[1] - nll[0]) > 0.1);
        fold_all(w[0], &spec[1].multipliers, t == 1);
        nll[2] = nll_of(p[0], w[0], &be, &size[2]);
        if (!(fabs(nll[2] - nll[1]) < 1e-11 * nll[1] &&
              fabs(size[2] - size[1]) < 1e-6 * size[1]))  // logits come as floats
            fail_msg("%s: loss %.15g with factors, %.15g with them in the weights", spec->name, nll[1], nll[2]);
        for (int k = 0; k < 2; k++) hy_params_free(w[k]), hy_program_free(p[k]);
        free(spec);
    }
}

// What the first values are: ranges reached to both ends, means within four standard errors.
static void spread(const double *v, int n, double lo, double hi, double mean, double deviation, const char *what) {
    double least = v[0], most = v[0], sum = 0;
    for (int i = 0; i < n; i++) least = fmin(least, v[i]), most = fmax(most, v[i]), sum += v[i];
    if (!(fabs(sum / n - mean) < 4 * deviation / sqrt(n))) fail_msg("%s: the mean is %g, not %g", what, sum / n, mean);
    const double end = 0.01 * (hi - lo);
    if (!(least >= lo - 1e-9 && least < lo + end && most <= hi + 1e-9 && most > hi - end))
        fail_msg("%s: %g .. %g, not %g .. %g", what, least, most, lo, hi);
}

static void initial_distributions(void **state) {
    (void)state;
    enum { N = 4096 };
    double v[N];
    hy_param q = {.name = "p", .ndim = 1, .shape = {N, 1, 1}, .n = N, .init = HY_INIT_A_LOG_UNIFORM, .init_std = 0.3};
    hy_param_initial(&q, 5, 0, N, v);  // Mamba-2: A = -U(1, 16)
    for (int i = 0; i < N; i++) v[i] = exp(v[i]);
    spread(v, N, 1, 16, 8.5, 15 / sqrt(12), "A");
    q.init = HY_INIT_DT_BIAS;
    hy_param_initial(&q, 5, 0, N, v);  // log of the step uniform between those of 0.001 and 0.1
    for (int i = 0; i < N; i++) v[i] = log10(log1p(exp(v[i])));
    spread(v, N, -3, -1, -2, 2 / sqrt(12), "log10 of the step");
    q.init = HY_INIT_NORMAL;
    hy_param_initial(&q, 5, 0, N, v);
    double square = 0;
    for (int i = 0; i < N; i++) square += v[i] * v[i] / (0.3 * 0.3 * N);
    assert_true(fabs(square - 1) < 4 * sqrt(2.0 / N));
    // another tensor, another seed: other values, without correlation (standard error 1 / sqrt(N))
    static double other[N];
    for (int k = 0; k < 2; k++) {
        hy_param r = q;
        snprintf(r.name, sizeof r.name, "%s", k ? "p" : "layers.1.p");
        hy_param_initial(&r, 5 + (uint64_t)k, 0, N, other);
        double both = 0;
        for (int i = 0; i < N; i++) both += v[i] * other[i] / (0.3 * 0.3 * N);
        assert_true(fabs(both) < 5 / sqrt(N));
    }
    q = (hy_param){.name = "p", .ndim = 2, .shape = {4, 5, 1}, .n = 20, .init = HY_INIT_A_LOG};
    hy_param_initial(&q, 5, 0, 20, v);  // Mamba-1: A = -(1 .. d_state)
    for (int i = 0; i < 20; i++) assert_true(fabs(exp(v[i]) - (i % 5 + 1)) < 1e-12);
}

// A parameter's first values, made in any pieces, are those that a whole model gets.
static void initial_in_pieces(void **state) {
    (void)state;
    hy_backend be;
    hy_backend_cpu("ref", 1, &be);
    be.threads = 3;
    for (size_t m = 0; m <= sizeof models / sizeof *models; m++) {
        static const char large[] =
            "name: large\nvocab: 6003\nd_model: 12\nlayers: 1\nattention: {heads: 2}\n";  // an embedding of several
                                                                                          // pieces
        hy_model_spec spec;
        hy_program *p;
        hy_params *w;
        build(m < sizeof models / sizeof *models ? models[m] : large, &spec, &p);
        assert_int_equal(hy_params_create(p, &be, HY_F64, &w), HY_OK);
        assert_int_equal(hy_params_init(w, 11), HY_OK);
        for (int i = 0; i < p->n_params; i++) {
            const hy_param *q = &p->params[i];
            const double *all = hy_params_ptr(w, i, false);
            double piece[7];
            for (size_t at = 0, step = 1; at < q->n; at += step, step = 1 + (step + 2) % 7) {
                const size_t n = step < q->n - at ? step : q->n - at;
                hy_param_initial(q, 11, at, n, piece);
                if (memcmp(piece, all + at, n * sizeof *piece))
                    fail_msg("%s: %s differs from element %zu on", spec.name, q->name, at);
            }
        }
        hy_params_free(w);
        hy_program_free(p);
    }
}

// What ops are given besides their operands is what papers and the spec say, and no two parameters or values share a
// name.
static void ops_as_the_spec_says(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
        hy_program *p;
        build(models[k], spec, &p);
        for (int i = 0; i < p->n_params; i++)
            for (int j = 0; j < i; j++)
                if (!strcmp(p->params[i].name, p->params[j].name)) fail_msg("two parameters %s", p->params[i].name);
        for (int i = 0; i < p->n_values; i++)
            for (int j = 0; j < i; j++)
                if (!strcmp(p->values[i].name, p->values[j].name)) fail_msg("two values %s", p->values[i].name);
        for (int i = 0; i < p->n_ops; i++) {
            const hy_op *op = &p->ops[i];
            const hy_layer_spec *l = op->layer >= 0 ? &spec->layers[op->layer] : NULL;
            if (op->kind == HY_OP_ATTENTION) {  // Vaswani et al. 2017, eq. 1
                assert_true(fabs(op->attention.scale * op->attention.scale * l->d_qk - 1) < 1e-14);
                assert_int_equal(op->attention.window, l->window);
                assert_true(op->attention.drop == spec->dropout_attention && op->attention.place == 1 + op->layer);
            }
            if (op->kind == HY_OP_NORM) {  // only inner norms may lack weights, or have an epsilon of their own
                const bool inner = op->par[0] < 0 || strstr(p->params[op->par[0]].name, "dt_norm") ||
                                   strstr(p->params[op->par[0]].name, "B_norm") ||
                                   strstr(p->params[op->par[0]].name, "C_norm");
                assert_true(op->norm.eps == (inner && l->inner_norm_eps != 0 ? l->inner_norm_eps : spec->norm_eps));
                assert_int_equal(op->par[0] < 0, inner && l->inner_norms == HY_INNER_NORMS_PLAIN);
            }
            if (op->kind == HY_OP_ROPE) assert_int_equal(op->rope.turned, l->rotary ? l->rotary : l->d_qk);
            if (op->kind == HY_OP_FUSE) assert_true(op->fuse.eps == spec->norm_eps);
            if (op->kind == HY_OP_SSD) assert_true(op->ssd.dt_min == l->dt_min && op->ssd.dt_max == l->dt_max);
        }
        hy_program_free(p);
        free(spec);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients), cmocka_unit_test(ops_as_the_spec_says),
                                       cmocka_unit_test(factors_mean_what_they_say),
                                       cmocka_unit_test(initial_in_pieces), cmocka_unit_test(initial_distributions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
