// test_lm_loss.c - cross-entropy of a linear head: gradients, parity of all paths, threads, labels, ties, huge logits.
#include "tests/unit/kernel_test.h"

// float32 logits of up to 33 terms and a softmax over up to 2500 of them, against double.
#define LIMIT 5e-6

typedef struct {
    int32_t *labels, *pred;  // of kt_alloc
    int32_t *want;           // predictions of the oracle
    double *scale;
    bool f32;  // weights in float32 whatever the activations are
} ctx_t;
static hy_lm_loss_args loss_args(kt_case *c) {
    const ctx_t *x = c->ctx;
    return (hy_lm_loss_args){.rows = c->in[0].rows,
                             .C = c->in[0].cols,
                             .V = c->in[1].rows,
                             .x = c->in[0].p,
                             .w = c->in[1].p,
                             .w_dtype = x->f32 ? HY_F32 : c->w_dtype,
                             .ldx = c->in[0].ld,
                             .labels = kt_dev(c->dt, x->labels),
                             .nll = c->out[0].p,
                             .pred = kt_dev(c->dt, x->pred)};
}
// The gradient is that of scale * sum(nll): the weights of the sum are set to it.
static void forward(kt_case *c, const hy_plan_req *req) {
    const ctx_t *x = c->ctx;
    kt_fill(&c->dout[0], *x->scale);
    hy_lm_loss_args a = loss_args(c);
    kt_run(HY_K_lm_loss, &a, req);
    for (int r = 0; r < a.rows; r++) {
        if (c->dt == HY_F64)
            x->want[r] = x->pred[r];
        else if (req->math != HY_MATH_TF32)
            assert_int_equal(x->pred[r], x->want[r]);  // TF32 may turn close ones round
        assert_true(x->labels[r] >= 0 ? x->pred[r] >= 0 && x->pred[r] < a.V : x->pred[r] == -1);
    }
}
static void backward(kt_case *c, const hy_plan_req *req) {
    const ctx_t *x = c->ctx;
    kt_mat nll = kt_new(kt_wide(c->dt), 1, c->in[0].rows, c->in[0].rows);
    int32_t *pred = kt_alloc((size_t)c->in[0].rows * sizeof *pred);
    hy_lm_loss_bwd_args b = {.f = loss_args(c),
                             .scale = kt_dev(c->dt, x->scale),
                             .dx = c->grad[0].p,
                             .dw = c->grad[1].p,
                             .lddx = c->grad[0].ld,
                             .acc = c->acc};
    b.f.nll = nll.p;
    b.f.pred = kt_dev(c->dt, pred);
    kt_run(HY_K_lm_loss_bwd, &b, req);
    kt_check(&nll, "nll");
    for (int r = 0; r < c->in[0].rows; r++) {  // backward alone gives the same loss and prediction
        assert_true(kt_at(&nll, 0, r) == kt_at(&c->out[0], 0, r));
        assert_int_equal(pred[r], x->pred[r]);
    }
    kt_free(&nll);
    kt_release(pred);
}

static void one_of(int rows, int C, int V, int labelled_of_10, int pad, bool f32, bool fd, uint64_t seed) {
    const size_t n = (size_t)rows * sizeof(int32_t);
    ctx_t x = {kt_alloc(n), kt_alloc(n), hy_xcalloc((size_t)rows, sizeof(int32_t)), kt_alloc(sizeof(double)), f32};
    *x.scale = 0.37;
    hy_rng r = hy_rng_make(seed, 1);
    for (int i = 0; i < rows; i++)
        x.labels[i] = (int)hy_rng_below(&r, 10) < labelled_of_10 ? (int32_t)hy_rng_below(&r, (uint64_t)V) : -100;
    if (labelled_of_10 < 0) x.labels[rows / 2] = V - 1;
    kt_case c = {.n_in = 2,
                 .n_out = 1,
                 .ctx = &x,
                 .seed = seed,
                 .forward = forward,
                 .backward = backward,
                 .in_of = {{"x", rows, C, C + (pad ? pad : 3), C + (pad ? pad : 1), 2, 0, 1, 0, 0},
                           {"w", V, C, 0, 0, 1, 0, 1, 0, f32 ? KT_WIDE : KT_MATRIX}},
                 .out_of = {{"nll", 1, rows, 0, 0, 0, 0, 0, 0, KT_WIDE}}};
    if (fd)
        kt_all(&c, LIMIT);
    else
        for (int path = KT_FIRST_FAST; path < kt_n_paths(); path++) kt_parity(&c, path, path & 1 ? ~0u : 0, LIMIT);
    kt_release(x.labels), kt_release(x.pred), kt_release(x.scale);
    free(x.want);
}
static void one(int rows, int C, int V, int labelled_of_10, bool fd, uint64_t seed) {
    one_of(rows, C, V, labelled_of_10, 0, false, fd, seed);
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
    one_of(35, 16, 300, 8, 8, false, false, 9);  // aligned rows
    one_of(18, 24, 90, 8, 8, true, false, 10);   // on the GPU: weights in float32 under bfloat16 activations, in pieces
}

static void ties_and_extremes(void **state) {
    (void)state;
    enum { V = 3000, R = 4 };
    for (int path = 0; path < kt_n_paths(); path++) {
        const hy_plan_req req = kt_req(path, 2, false);
        const hy_dtype dt = req.dtype;
        kt_mat x = kt_new(dt, R, 1, 1), w = kt_new(dt, V, 1, 1), nll = kt_new(HY_F32, 1, R, R),
               dx = kt_new(dt, R, 1, 1), dw = kt_new(HY_F32, V, 1, 1);
        const float values[R] = {1, 9984, 0, NAN};
        const int32_t wanted[R] = {7, 2900, 5, 1};
        int32_t *labels = kt_alloc_copy(wanted, sizeof wanted), *pred = kt_alloc(R * sizeof *pred);
        double *scale = kt_alloc(sizeof *scale);
        *scale = 1;
        for (int r = 0; r < R; r++) kt_put(&x, r, 0, values[r]);
        for (int v = 0; v < V; v++)
            kt_put(&w, v, 0, v == 1700 || v == 2900 || v == 2999 ? 3 : -1);  // the largest, three times
        kt_fill(&dw, 0);
        hy_lm_loss_bwd_args b = {.f = {.rows = R,
                                       .C = 1,
                                       .V = V,
                                       .x = x.p,
                                       .w = w.p,
                                       .w_dtype = dt,
                                       .ldx = 1,
                                       .labels = kt_dev(dt, labels),
                                       .nll = nll.p,
                                       .pred = kt_dev(dt, pred)},
                                 .scale = kt_dev(dt, scale),
                                 .dx = dx.p,
                                 .dw = dw.p,
                                 .lddx = 1};
        kt_run(HY_K_lm_loss_bwd, &b, &req);
        assert_int_equal(pred[0], 1700);
        assert_int_equal(pred[1], 1700);
        assert_int_equal(pred[2], 0);                            // all equal: the first
        assert_true(fabs(kt_at(&nll, 0, 1) - log(3.0)) < 1e-6);  // logits of 3e4 and -1e4: no overflow
        assert_true(fabs(kt_at(&nll, 0, 2) - log((double)V)) < 1e-5);
        assert_true(isnan(kt_at(&nll, 0, 3)) && isnan(kt_at(&dx, 3, 0)) && isfinite(kt_at(&dx, 0, 0)) &&
                    isfinite(kt_at(&dx, 1, 0)));
        labels[0] = V;  // a label outside the vocabulary: the CPU says so, a GPU makes the loss not a number
        const hy_status s = kt_try(kt_plan(HY_K_lm_loss_bwd, &b, &req), &b, &req);
        if (KT_CUDA)
            assert_true(s == HY_OK && isnan(kt_at(&nll, 0, 0)) && pred[0] == 1700);
        else
            assert_int_equal(s, HY_EINPUT);
        kt_free(&x), kt_free(&w), kt_free(&nll), kt_free(&dx), kt_free(&dw);
        kt_release(labels), kt_release(pred), kt_release(scale);
    }
}

// Only what is asked for is computed and written.
static void without_gradients(void **state) {
    (void)state;
    for (int path = 0; path < kt_n_paths(); path++) {
        const hy_plan_req req = kt_req(path, 1, false);
        const hy_dtype dt = req.dtype;
        kt_mat x = kt_new(dt, 2, 1, 1), w = kt_new(dt, 3, 1, 1), nll = kt_new(HY_F32, 1, 2, 2),
               only = kt_new(HY_F32, 1, 2, 2), dw = kt_new(HY_F32, 3, 1, 1);
        kt_random(&x, 1, 1, 0), kt_random(&w, 2, 1, 0), kt_fill(&dw, 0);
        const int32_t wanted[2] = {0, 2};
        int32_t *labels = kt_alloc_copy(wanted, sizeof wanted), *pred = kt_alloc(2 * sizeof *pred);
        double *scale = kt_alloc(sizeof *scale);
        *scale = 1;
        hy_lm_loss_bwd_args b = {.f = {.rows = 2,
                                       .C = 1,
                                       .V = 3,
                                       .x = x.p,
                                       .w = w.p,
                                       .w_dtype = dt,
                                       .ldx = 1,
                                       .labels = kt_dev(dt, labels),
                                       .nll = nll.p,
                                       .pred = kt_dev(dt, pred)},
                                 .scale = kt_dev(dt, scale),
                                 .lddx = 1};
        kt_run(HY_K_lm_loss_bwd, &b, &req);
        b.f.nll = only.p;
        b.dw = dw.p;
        kt_run(HY_K_lm_loss_bwd, &b, &req);
        assert_true(kt_at(&nll, 0, 0) == kt_at(&only, 0, 0) && kt_at(&nll, 0, 1) == kt_at(&only, 0, 1) &&
                    kt_at(&dw, 0, 0) != 0);
        kt_free(&x), kt_free(&w), kt_free(&nll), kt_free(&only), kt_free(&dw);
        kt_release(labels), kt_release(pred), kt_release(scale);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_shapes),
        cmocka_unit_test(blocks_of_rows),
        cmocka_unit_test(ties_and_extremes),
        cmocka_unit_test(without_gradients),
    };
    return kt_group(tests);
}
