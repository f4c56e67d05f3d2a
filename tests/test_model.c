// test_model.c - whole models against finite differences in double precision: the builder, the executor's bookkeeping of
// first writers, views, aliased residuals and shared values, and every kernel's backward, together.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/exec.h"
#include "core/specyaml.h"
#include "core/task.h"

// Four-point differences in double along a unit direction with step 1e-3 are good to about 1e-11 relative to the loss.
static const double TOL_GRAD = 1e-6;

#define COMMON "vocab: 13\nd_model: 12\ninit: {std: 0.3}\nmlp: {kind: silu, d_ff: 10}\n"
#define SSM "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
static const char *const models[] = {
    COMMON "name: llama\nlayers: 2\nmixer: attention\nattention: {heads: 3, kv_heads: 1, d_qk: 4}\n",
    COMMON "name: mamba\nlayers: 2\nmixer: ssm\nmlp: {kind: none}\n" SSM,
    COMMON SSM "name: bare-mamba\nlayers: 1\nmixer: ssm\nssm: {inner_norms: false, conv_bias: false}\ntied: false\n",
    COMMON SSM "name: hymba\nlayers: 5\nmixer: parallel\nmeta_tokens: 3\nattention: {heads: 2, kv_heads: 1, window: 3, global_layers: [0, 4]}\n"
           "kv_share: [[1, 2, 3]]\n",
    COMMON SSM "name: concat\nlayers: 2\nmixer: parallel\nfusion: concat\nmeta_tokens: 1\nattention: {heads: 2, kv_heads: 2, d_qk: 6, d_v: 3, window: 2, global_layers: none, qk_norm: true}\n",
    COMMON SSM "name: gate\nlayers: 2\nmixer: parallel\nfusion: gate\nattention: {heads: 2, kv_heads: 2}\nrope: {kind: ntk}\nmax_len: 64\norig_len: 16\n",
    COMMON SSM "name: sequential\nlayers: 2\nmixer: attention_ssm\nattention: {heads: 2, kv_heads: 1}\nrope: {kind: none}\n",
    COMMON SSM "name: reverse\nlayers: 2\nmixer: ssm_attention\nattention: {heads: 2, kv_heads: 2}\nkv_share: [[0, 1]]\nnorm: {kind: layer, eps: 1e-6}\n",
    COMMON SSM "name: mixed\nlayers: 4\nmlp: {kind: relu2, d_ff: 9}\nattention: {heads: 2, kv_heads: 1, window: 4, global_layers: none}\n"
           "pattern: [{mixer: ssm}, {mixer: none}, {mixer: attention, mlp: {kind: none}}, {mixer: none, mlp: {kind: none}}]\n",
};

static void build(const char *text, hy_model_spec *spec, hy_program **p) {
    hy_yaml *y = NULL;
    hy_buf b = {0};
    hy_buf_printf(&b, "name: x\n");
    if (hy_yaml_parse("model", b.s, b.n, &y)) fail_msg("%s", hy_error_text());
    free(b.s);
    char *copy = hy_xstrdup(text), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        hy_yaml *part = NULL;
        if (hy_yaml_parse("line", line, strlen(line), &part)) fail_msg("%s", hy_error_text());
        hy_yaml *merged = hy_yaml_merge(y, part);
        hy_yaml_free(y);
        hy_yaml_free(part);
        y = merged;
    }
    free(copy);
    if (hy_spec_from_yaml(y, spec)) fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    if (hy_model_build(spec, p)) fail_msg("%s", hy_error_text());
}

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
    double *x = hy_params_ptr(r->w, i, false), *dir = hy_xcalloc(q->n, sizeof *dir), *keep = hy_xcalloc(q->n, sizeof *keep);
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
                if (p->params[i].init == HY_INIT_ONES || p->params[i].init == HY_INIT_ZEROS) x[j] += 0.2 * hy_rng_normal(&rng);
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
        for (size_t j = 0; j < p->param_elems; j++) assert_true(fabs(twice[j] - 2 * grad[j]) <= 1e-12 + 1e-10 * fabs(grad[j]));
        free(grad);
        hy_exec_free(r.e);
        hy_params_free(r.w);
        hy_program_free(p);
        free(spec);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
