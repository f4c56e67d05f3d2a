// test_deep.c - gradients of deep float32 models against the same model in double: as trained Llamas have it, the first
// token's residual stream is huge in a few coordinates, and heads look at it.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/exec/exec.h"
#include "core/spec/spec_read.h"
#include "core/task/task.h"

#define OK(x)                                                                                 \
    do {                                                                                      \
        if ((x) != HY_OK) fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #x, hy_error_text()); \
    } while (0)

enum { T = 40, VOCAB = 61 };
typedef struct {
    hy_program *p;
    double **grad;  // by parameter
    double nll;
} run;

// Weights of the float model in any type.
static void fill(const hy_program *p, hy_params *w, hy_dtype dt, double sink, double sharp) {
    hy_rng rng = hy_rng_make(5, 2);
    for (int i = 0; i < p->n_params; i++) {
        const hy_param *q = &p->params[i];
        const bool table = !strcmp(q->name, "embed"), ones = q->init == HY_INIT_ONES;
        const size_t width = q->n / (size_t)q->shape[0];
        const double std = table ? 0.5 : ones ? 0.1 : 1.4 / sqrt((double)width);
        for (size_t k = 0; k < q->n; k++) {
            float x = (float)((ones ? 1 : 0) + std * hy_rng_normal(&rng));
            if (strstr(q->name, "out_proj") || strstr(q->name, "down")) x *= 0.2F;
            if (strstr(q->name, "in_proj") && k / width < 64 + 32) x *= (float)sharp;  // queries and keys
            if (table && k == 3) x = (float)sink;
            if (table && k == 7) x = (float)(-sink / 2);
            if (dt == HY_F64)
                ((double *)hy_params_ptr(w, i, false))[k] = (double)x;
            else
                ((float *)hy_params_ptr(w, i, false))[k] = x;
        }
    }
    hy_params_changed(w);
}

static run gradients(int layers, const char *isa, hy_dtype dt, double sink, double sharp) {
    char text[400];
    run r = {0};
    hy_backend be;
    hy_params *w;
    hy_exec *e;
    hy_yaml *y;
    int32_t ids[T], labels[T];
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    snprintf(text, sizeof text,
             "name: deep\nvocab: %d\nd_model: 64\nlayers: %d\nmixer: attention\nattention: {heads: 4, kv_heads: 2, "
             "d_qk: 16, d_v: 16}\nmlp: {kind: silu, d_ff: 96}\ntied: false\n",
             VOCAB, layers);
    OK(hy_yaml_parse("deep", text, strlen(text), &y));
    OK(hy_spec_from_yaml(y, spec));
    hy_yaml_free(y);
    OK(hy_backend_cpu(isa, 1, &be));
    OK(hy_model_build(spec, &r.p));
    OK(hy_params_create(r.p, &be, dt, &w));
    fill(r.p, w, dt, sink, sharp);
    hy_rng rng = hy_rng_make(9, 1);
    for (int t = 0; t < T; t++) ids[t] = t ? 1 + (int32_t)hy_rng_below(&rng, VOCAB - 1) : 0;
    for (int t = 0; t < T; t++) labels[t] = t + 1 < T ? ids[t + 1] : HY_IGNORE;
    OK(hy_params_want_grad(w));
    memset(w->grad, 0, r.p->param_elems * hy_dtype_size(dt));
    OK(hy_exec_create(r.p, &be, dt, HY_EXEC_TRAIN, 1, T, 0, &e));
    const hy_batch b = {.B = 1, .T = T, .ids = ids, .labels = labels};
    OK(hy_exec_forward(e, w, &b, NULL, HY_HEAD_LOSS, NULL));
    OK(hy_exec_backward(e, w, 1.0 / (T - 1), NULL));
    r.nll = hy_exec_nll_sum(e) / (T - 1);
    r.grad = hy_xcalloc((size_t)r.p->n_params, sizeof *r.grad);
    for (int i = 0; i < r.p->n_params; i++) {
        r.grad[i] = hy_xcalloc(r.p->params[i].n, sizeof(double));
        const void *g = hy_params_ptr(w, i, true);
        for (size_t k = 0; k < r.p->params[i].n; k++)
            r.grad[i][k] = dt == HY_F64 ? ((const double *)g)[k] : (double)((const float *)g)[k];
    }
    hy_exec_free(e);
    hy_params_free(w);
    free(spec);
    return r;
}

static void run_free(run *r) {
    for (int i = 0; i < r->p->n_params; i++) free(r->grad[i]);
    free(r->grad);
    hy_program_free(r->p);
}

// The largest relative error of a parameter's gradient, and the geometric mean of all.
static void errors(const run *want, const run *got, double *worst, double *mean, int *at) {
    double logs = 0;
    *worst = 0;
    for (int i = 0; i < want->p->n_params; i++) {
        double d = 0, s = 0;
        for (size_t k = 0; k < want->p->params[i].n; k++) {
            const double x = got->grad[i][k] - want->grad[i][k];
            d += x * x, s += want->grad[i][k] * want->grad[i][k];
        }
        const double e = sqrt(d / s);
        if (!(e <= *worst)) *worst = e, *at = i;
        logs += log(e);
    }
    *mean = exp(logs / want->p->n_params);
}

// Float kernels may err as rounding of what they store makes them, which the reference kernels in float show (their
// sums are in double), and by their own sums and functions on top: three times as much was seen, and it must not grow
// with depth, nor with the huge token, nor with how sharply heads look at it.
static void deep(void **state) {
    (void)state;
    static const struct {
        int layers;
        double sink, sharp;
    } models[] = {{5, 1000, 1}, {30, 1000, 1}, {30, 1000, 1.5}};
    static const char *const isa[] = {"ref", "base", "auto"};
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        double mean[3], worst[3];
        const double sink = models[k].sink, sharp = models[k].sharp;
        run want = gradients(models[k].layers, "ref", HY_F64, sink, sharp);
        for (int i = 0; i < 3; i++) {
            int at = 0;
            run got = gradients(models[k].layers, isa[i], HY_F32, sink, sharp);
            errors(&want, &got, &worst[i], &mean[i], &at);
            printf("%d layers, sink %g, sharp %g, %s: loss %.3f, mean %.2e, worst %.2e (%s)\n", models[k].layers, sink,
                   sharp, isa[i], want.nll, mean[i], worst[i], want.p->params[at].name);
            if (!(mean[i] <= 6 * mean[0] && worst[i] <= 10 * worst[0]))
                fail_msg("%d layers, %s: mean error %g, worst %g; with sums in double %g and %g", models[k].layers,
                         isa[i], mean[i], worst[i], mean[0], worst[0]);
            run_free(&got);
        }
        run_free(&want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(deep)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
