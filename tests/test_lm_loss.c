// test_lm_loss.c - cross-entropy of a linear head: gradients, parity of all paths, threads, labels, ties, huge logits.
#include "tests/kernel_test.h"

// float32 logits of up to 33 terms and a softmax over up to 2500 of them, against double.
#define LIMIT 5e-6

typedef struct {
    const int32_t *labels;
    int32_t *pred;
    double scale;
} ctx_t;
static hy_lm_loss_args loss_args(kt_case *c) {
    const ctx_t *x = c->ctx;
    return (hy_lm_loss_args){.rows = c->in[0].rows, .C = c->in[0].cols, .V = c->in[1].rows, .x = c->in[0].p, .w = c->in[1].p,
                             .ldx = c->in[0].ld, .labels = x->labels, .nll = c->out[0].p, .pred = x->pred};
}
// The gradient is that of scale * sum(nll): the weights of the sum are set to it.
static void forward(kt_case *c, const hy_plan_req *req) {
    const ctx_t *x = c->ctx;
    kt_fill(&c->dout[0], x->scale);
    hy_lm_loss_args a = loss_args(c);
    kt_run(HY_K_lm_loss, &a, req);
}
static const double unit = 1;
static void backward(kt_case *c, const hy_plan_req *req) {
    const ctx_t *x = c->ctx;
    kt_mat nll = kt_new(c->dt, 1, c->in[0].rows, c->in[0].rows);
    int32_t *pred = hy_xcalloc((size_t)c->in[0].rows, sizeof *pred);
    hy_lm_loss_bwd_args b = {.f = loss_args(c), .scale = &x->scale, .dx = c->grad[0].p, .dw = c->grad[1].p, .lddx = c->grad[0].ld,
                             .acc = c->acc};
    b.f.nll = nll.p;
    b.f.pred = pred;
    kt_run(HY_K_lm_loss_bwd, &b, req);
    kt_check(&nll, "nll");
    for (int r = 0; r < c->in[0].rows; r++) {  // backward alone gives the same loss and prediction
        assert_true(kt_elem(nll.p, c->dt, (size_t)r) == kt_at(&c->out[0], 0, r));
        assert_int_equal(pred[r], x->pred[r]);
    }
    kt_free(&nll);
    free(pred);
}

static void one(int rows, int C, int V, int labelled_of_10, bool fd, uint64_t seed) {
    int32_t *labels = hy_xcalloc((size_t)rows, sizeof *labels), *pred = hy_xcalloc((size_t)rows, sizeof *pred);
    hy_rng r = hy_rng_make(seed, 1);
    for (int i = 0; i < rows; i++)
        labels[i] = (int)hy_rng_below(&r, 10) < labelled_of_10 ? (int32_t)hy_rng_below(&r, (uint64_t)V) : -100;
    if (labelled_of_10 < 0) labels[rows / 2] = V - 1;
    ctx_t x = {labels, pred, 0.37};
    kt_case c = {.n_in = 2, .n_out = 1, .ctx = &x, .seed = seed, .forward = forward, .backward = backward,
                 .in_of = {{"x", rows, C, C + 3, C + 1, 2, 0, 1, 0}, {"w", V, C, 0, 0, 1, 0, 1, 0}},
                 .out_of = {{"nll", 1, rows, 0, 0, 0, 0, 0, 0}}};
    if (fd) kt_all(&c, LIMIT);
    else
        for (int isa = HY_ISA_BASE; isa <= HY_ISA_AVX512; isa++) kt_parity(&c, (hy_isa)isa, isa & 1 ? ~0u : 0, LIMIT);
    free(labels);
    free(pred);
}
static void small_shapes(void **state) {
    (void)state;
    one(1, 1, 1, 10, true, 1);
    one(5, 7, 3, 10, true, 2);   // every row
    one(5, 7, 3, 0, true, 3);    // none
    one(9, 4, 17, -1, true, 4);  // one
    one(37, 19, 67, 5, true, 5);
}
static void blocks_of_rows(void **state) {
    (void)state;
    one(1100, 5, 20, 10, false, 6);  // three blocks of neighbouring rows
    one(1300, 3, 18, 7, false, 7);   // two blocks of gathered rows
    one(20, 33, 2500, 9, false, 8);
}

static void ties_and_extremes(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 2};
        enum { V = 3000 };
        float x[4] = {1, 1e4f, 0, NAN}, nll[4], dx[4], *w = hy_alloc(V * sizeof *w), *dw = hy_alloc(V * sizeof *dw);
        int32_t labels[4] = {7, 2900, 5, 1}, pred[4];
        for (int v = 0; v < V; v++) w[v] = -1;
        w[1700] = w[2900] = w[2999] = 3;  // the largest, three times: in different chunks of the search
        hy_lm_loss_bwd_args b = {.f = {.rows = 4, .C = 1, .V = V, .x = x, .w = w, .ldx = 1, .labels = labels, .nll = nll, .pred = pred},
                                 .scale = &unit, .dx = dx, .dw = dw, .lddx = 1};
        kt_run(HY_K_lm_loss_bwd, &b, &req);
        assert_int_equal(pred[0], 1700);
        assert_int_equal(pred[1], 1700);
        assert_int_equal(pred[2], 0);  // all equal: the first
        assert_true(fabs(nll[1] - log(3.0)) < 1e-6);  // logits of 3e4 and -1e4: no overflow
        assert_true(fabs(nll[2] - log((double)V)) < 1e-5);
        assert_true(isnan(nll[3]) && isnan(dx[3]) && isfinite(dx[0]) && isfinite(dx[1]));
        labels[0] = V;
        hy_launch l = kt_plan(HY_K_lm_loss_bwd, &b, &req);
        void *ws = hy_alloc(l.workspace);
        assert_int_equal(l.run(&b, ws, &req), HY_EINPUT);  // a label outside the vocabulary
        free(ws), free(w), free(dw);
    }
}

// Only what is asked for is computed and written.
static void without_gradients(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 1};
        float x[2] = {1, 2}, w[3] = {0.5f, -1, 2}, nll[2], only[2], dw[3] = {0};
        int32_t labels[2] = {0, 2}, pred[2];
        hy_lm_loss_bwd_args b = {.f = {.rows = 2, .C = 1, .V = 3, .x = x, .w = w, .ldx = 1, .labels = labels, .nll = nll, .pred = pred},
                                 .scale = &unit, .lddx = 1};
        kt_run(HY_K_lm_loss_bwd, &b, &req);
        b.f.nll = only;
        b.dw = dw;
        kt_run(HY_K_lm_loss_bwd, &b, &req);
        assert_true(nll[0] == only[0] && nll[1] == only[1] && dw[0] != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_shapes), cmocka_unit_test(blocks_of_rows), cmocka_unit_test(ties_and_extremes),
        cmocka_unit_test(without_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
