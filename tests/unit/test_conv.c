// test_conv.c - the causal depthwise convolution: gradients against finite differences in double, every path against
// the double reference over odd shapes, accumulation, threads, ragged batches, states in pieces, refusals.
#include "tests/unit/kernel_test.h"

// Float against double on the same inputs: sums of at most 9 products and, for dw, over a few hundred tokens.
#define CONV_TOL 2e-6

typedef struct {
    int B, T, K;
    bool silu, bias;
    const int32_t *len;
} conv_ctx;

static hy_conv_args args_of(kt_case *c) {
    const conv_ctx *x = c->ctx;
    return (hy_conv_args){.B = x->B,
                          .T = x->T,
                          .D = c->in[0].cols,
                          .K = x->K,
                          .silu = x->silu,
                          .x = c->in[0].p,
                          .w = c->in[1].p,
                          .bias = x->bias ? c->in[2].p : NULL,
                          .y = c->out[0].p,
                          .ldx = c->in[0].ld,
                          .ldy = c->out[0].ld,
                          .len = kt_dev(c->dt, x->len)};
}
static void forward(kt_case *c, const hy_plan_req *req) {
    hy_conv_args a = args_of(c);
    kt_run(HY_K_conv, &a, req);
}
static void backward(kt_case *c, const hy_plan_req *req) {
    const conv_ctx *x = c->ctx;
    hy_conv_bwd_args a = {.f = args_of(c),
                          .dy = c->dout[0].p,
                          .dx = c->grad[0].p,
                          .dw = c->grad[1].p,
                          .lddy = c->dout[0].ld,
                          .lddx = c->grad[0].ld,
                          .acc = c->acc};
    if (x->bias) a.dbias = c->grad[2].p;
    kt_run(HY_K_conv_bwd, &a, req);
}
static kt_case case_of(const conv_ctx *x, int D, int pad) {
    const int rows = x->B * x->T;
    return (kt_case){
        .n_in = x->bias ? 3 : 2,
        .n_out = 1,
        .forward = forward,
        .backward = backward,
        .ctx = x,
        .seed = (uint64_t)(x->T * 100 + D * 10 + x->K),
        .in_of = {{.name = "x", .rows = rows, .cols = D, .ld = D + pad, .ldgrad = D + 2 * pad, .grad = 2, .accbit = 0},
                  {.name = "w", .rows = D, .cols = x->K, .grad = 1},
                  {.name = "bias", .rows = 1, .cols = D, .grad = 1}},
        .out_of = {{.name = "y", .rows = rows, .cols = D, .ld = D + 3 * pad, .ldgrad = D + pad}},
    };
}

static void test_gradients(void **unused) {
    (void)unused;
    int32_t *len = kt_alloc_copy((const int32_t[]){6, 9}, 2 * sizeof *len);
    for (int k = 1; k <= 9; k++) {
        conv_ctx x = {.B = 2, .T = 9, .K = k, .silu = k & 1, .bias = k & 2, .len = k & 4 ? len : NULL};
        kt_case c = case_of(&x, 3, k % 3);
        kt_gradcheck(&c, 0);
        kt_gradcheck(&c, 1);
    }
    kt_release(len);
}

static void test_shapes(void **unused) {
    (void)unused;
    static const int Ts[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 130, 257}, Ds[] = {1, 3, 15, 16, 17, 48, 67};
    int32_t *len = kt_alloc_copy((const int32_t[]){1, 0}, 2 * sizeof *len);
    int i = 0;
    for (int t = 0; t < 13; t++)
        for (int d = 0; d < 7; d++, i++) {
            if (KT_CUDA && Ts[t] > 70 && Ds[d] != 16) continue;
            conv_ctx x = {.B = 1 + i % 2,
                          .T = Ts[t],
                          .K = 1 + (i + t) % 9,
                          .silu = i % 3,
                          .bias = i % 4 > 1,
                          .len = i % 5 ? NULL : len};
            kt_case c = case_of(&x, Ds[d], i % 4);
            for (int path = 0; path < kt_n_paths(); path++) kt_parity(&c, path, i & 1, CONV_TOL);
            kt_parity(&c, KT_CPU_BF16, i & 1, CONV_TOL);
        }
    // rows on 16 bytes; the widths that have kernels of their own on a GPU
    for (int k = 2; k <= 5; k++)
        for (int t = 0; t < 7; t++) {
            conv_ctx x = {
                .B = 2, .T = Ts[t] + 5 * (k - 2), .K = k, .silu = t % 2, .bias = t % 3 > 0, .len = t == 3 ? len : NULL};
            kt_case c = case_of(&x, 24 + 8 * (k % 2), 8);
            for (int path = 0; path < kt_n_paths(); path++) kt_parity(&c, path, t & 1, CONV_TOL);
        }
    // enough work for threads, and more than one group of channels
    int32_t *ragged = kt_alloc_copy((const int32_t[]){70, 33, 0}, 3 * sizeof *ragged);
    conv_ctx x = {.B = 3, .T = 70, .K = 4, .silu = true, .bias = true, .len = ragged};
    kt_case c = case_of(&x, 145, 1);
    for (int path = 0; path < kt_n_paths(); path++) kt_parity(&c, path, 0, CONV_TOL);
    kt_release(len), kt_release(ragged);
}

// ---------------------------------------------------------------------------------------------------- states, batches
typedef struct {
    hy_dtype dt;
    int B, T, D, K;
    const int32_t *len;  // of kt_alloc, or NULL
    kt_mat x, w, bias, y, state;
} problem;
static problem problem_new(int path, int B, int T, int D, int K, const int32_t *len) {
    const hy_dtype dt = kt_req(path, 1, false).dtype;
    const int pad = D % 8 ? 1 : 8;
    problem p = {.dt = dt,
                 .B = B,
                 .T = T,
                 .D = D,
                 .K = K,
                 .len = len,
                 .x = kt_new(dt, B * T, D, D + pad),
                 .w = kt_new(HY_F32, D, K, K),
                 .bias = kt_new(HY_F32, 1, D, D),
                 .y = kt_new(dt, B * T, D, D + 2 * pad),
                 .state = kt_new_padded(dt, B * (K - 1), D, 0)};
    kt_random(&p.x, 1, 1, 0), kt_random(&p.w, 2, 1, 0), kt_random(&p.bias, 3, 1, 0);
    kt_fill(&p.y, NAN), kt_fill(&p.state, 0.5);
    return p;
}
static void problem_run(problem *p, int path) {
    const hy_plan_req req = kt_req(path, 2, false);
    hy_conv_args a = {.B = p->B,
                      .T = p->T,
                      .D = p->D,
                      .K = p->K,
                      .silu = true,
                      .x = p->x.p,
                      .w = p->w.p,
                      .bias = p->bias.p,
                      .y = p->y.p,
                      .ldx = p->x.ld,
                      .ldy = p->y.ld,
                      .state = p->state.p,
                      .len = kt_dev(p->dt, p->len)};
    kt_run(HY_K_conv, &a, &req);
    kt_check(&p->x, "x"), kt_check(&p->y, "y"), kt_check(&p->state, "state"), kt_check(&p->w, "w");
}
static void problem_free(problem *p) {
    kt_free(&p->x), kt_free(&p->w), kt_free(&p->bias), kt_free(&p->y), kt_free(&p->state);
}
static void copy_rows(problem *to, int row, const problem *from, int from_row, int n) {
    for (int r = 0; r < n; r++)
        for (int c = 0; c < from->D; c++) kt_put(&to->x, row + r, c, kt_at(&from->x, from_row + r, c));
}

// A sequence in pieces, the state carried along, in a batch with another: the bits of the whole.
static void test_pieces(void **unused) {
    (void)unused;
    for (int path = 0; path < kt_n_paths(); path++)
        for (int K = 1; K <= 9; K++)
            for (int piece = 1; piece < 40; piece = piece * 2 + 1) {
                const int T = 50, D = K % 2 ? 19 : 24;
                problem whole = problem_new(path, 1, T, D, K, NULL);
                problem_run(&whole, path);
                kt_mat state = kt_new_padded(whole.dt, 2 * (K - 1), D, 0);
                kt_fill(&state, 0.5);
                for (int t = 0; t < T; t += piece) {
                    const int n = T - t < piece ? T - t : piece;
                    problem p = problem_new(path, 2, n, D, K, NULL);
                    copy_rows(&p, n, &whole, t, n);
                    kt_free(&p.state);
                    p.state = state;
                    problem_run(&p, path);
                    kt_same_rows(&p.y, n, &whole.y, t, n, "y in pieces");
                    p.state = (kt_mat){0};
                    problem_free(&p);
                }
                kt_same_rows(&state, K - 1, &whole.state, 0, K - 1, "state in pieces");
                kt_free(&state);
                problem_free(&whole);
            }
}

// Sequences of different lengths in one batch, with NaN in the padding: the bits of each alone, zeros in the padding.
static void test_ragged(void **unused) {
    (void)unused;
    int32_t *lens = kt_alloc_copy((const int32_t[]){37, 1, 2, 20, 0}, 5 * sizeof *lens);
    for (int path = 0; path < kt_n_paths(); path++)
        for (int K = 1; K <= 9; K++) {
            const int D = K % 2 ? 21 : 16;
            problem batch = problem_new(path, 5, 37, D, K, lens);
            for (int b = 0; b < 5; b++)
                for (int t = lens[b]; t < 37; t++)
                    for (int c = 0; c < D; c++) kt_put(&batch.x, b * 37 + t, c, NAN);
            problem_run(&batch, path);
            for (int b = 0; b < 5; b++) {
                for (int t = lens[b]; t < 37; t++)
                    for (int c = 0; c < D; c++) assert_true(kt_at(&batch.y, b * 37 + t, c) == 0);
                problem one = problem_new(path, 1, lens[b] ? lens[b] : 1, D, K, NULL);
                if (lens[b]) {
                    copy_rows(&one, 0, &batch, b * 37, lens[b]);
                    problem_run(&one, path);
                    kt_same_rows(&one.y, 0, &batch.y, b * 37, lens[b], "y in a padded batch");
                }
                kt_same_rows(&one.state, 0, &batch.state, b * (K - 1), K - 1, "state in a padded batch");
                problem_free(&one);
            }
            problem_free(&batch);
        }
    kt_release(lens);
}

// So many outputs that stores go past the caches: y and dx have the bits of each sequence alone.
static void run_large(int path, int B, const kt_mat *x, const kt_mat *w, const kt_mat *dy, int b, kt_mat *y,
                      kt_mat *dx) {
    const hy_plan_req req = kt_req(path, 2, true);
    const int T = x->rows / 33, D = x->cols;
    const size_t row = (size_t)b * T;
    hy_conv_args a = {.B = B,
                      .T = T,
                      .D = D,
                      .K = w->cols,
                      .silu = true,
                      .x = (float *)x->p + row * x->ld,
                      .w = w->p,
                      .y = y->p,
                      .ldx = x->ld,
                      .ldy = y->ld};
    hy_conv_bwd_args g = {.f = a, .dy = (float *)dy->p + row * dy->ld, .dx = dx->p, .lddy = dy->ld, .lddx = dx->ld};
    kt_run(HY_K_conv, &a, &req);
    kt_run(HY_K_conv_bwd, &g, &req);
    kt_check(y, "y"), kt_check(dx, "dx");
}
static void test_large(void **unused) {
    (void)unused;
    enum { B = 33, T = 1024, D = 128, K = 3 };
    kt_mat x = kt_new(HY_F32, B * T, D, D), dy = kt_new(HY_F32, B * T, D, D), w = kt_new(HY_F32, D, K, K),
           y = kt_new(HY_F32, B * T, D, D + 16), dx = kt_new(HY_F32, B * T, D, D), y1 = kt_new(HY_F32, T, D, D),
           dx1 = kt_new(HY_F32, T, D, D);
    kt_random(&x, 1, 1, 0), kt_random(&dy, 2, 1, 0), kt_random(&w, 3, 1, 0);
    for (int path = 1; path < kt_n_paths(); path++) {
        run_large(path, B, &x, &w, &dy, 0, &y, &dx);
        for (int b = 0; b < B; b += 16) {
            run_large(path, 1, &x, &w, &dy, b, &y1, &dx1);
            kt_same_rows(&y1, 0, &y, b * T, T, "y of a large batch");
            kt_same_rows(&dx1, 0, &dx, b * T, T, "dx of a large batch");
        }
    }
    kt_free(&x), kt_free(&dy), kt_free(&w), kt_free(&y), kt_free(&dx), kt_free(&y1), kt_free(&dx1);
}

// ---------------------------------------------------------------------------------------------------- extremes, plans
static void test_extremes(void **unused) {
    (void)unused;
    for (int path = 0; path < kt_n_paths(); path++)
        for (int k = 0; k < 2; k++) {
            problem p = problem_new(path, 1, 20, 17, 4, NULL);
            for (int r = 0; r < 20; r++)
                for (int c = 0; c < 17; c++) kt_put(&p.x, r, c, kt_at(&p.x, r, c) * (k ? 1e4 : 1e-30));
            problem_run(&p, path);
            for (int r = 0; r < 20; r++)
                for (int c = 0; c < 17; c++) assert_true(isfinite(kt_at(&p.y, r, c)));
            problem_free(&p);
        }
}
static void test_plan_refuses(void **unused) {
    (void)unused;
    const hy_plan_req req = kt_req(0, 1, true);
    const hy_plan_fn forward_plan = KT_CUDA ? kt_device()->plan[HY_K_conv] : hy_cpu_plan_conv;
    const hy_plan_fn backward_plan = KT_CUDA ? kt_device()->plan[HY_K_conv_bwd] : hy_cpu_plan_conv_bwd;
    const hy_conv_args good = {
        .B = 1, .T = 2, .D = 3, .K = 4, .x = HY_PRESENT, .w = HY_PRESENT, .y = HY_PRESENT, .ldx = 3, .ldy = 3};
    hy_launch l;
    hy_conv_args a = good;
    assert_int_equal(forward_plan(&a, &req, &l), HY_OK);
    a.K = 0;
    assert_int_equal(forward_plan(&a, &req, &l), HY_EINPUT);
    a = good, a.ldy = 2;
    assert_int_equal(forward_plan(&a, &req, &l), HY_EINPUT);
    hy_conv_bwd_args g = {.f = good, .dy = HY_PRESENT, .dx = HY_PRESENT, .lddy = 3, .lddx = 2};
    assert_int_equal(backward_plan(&g, &req, &l), HY_EINPUT);
    g.lddx = 3, g.f.state = HY_PRESENT;
    assert_int_equal(backward_plan(&g, &req, &l), HY_EINPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(test_gradients),         cmocka_unit_test(test_shapes), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_ragged),       kt_cpu_test(test_large),       cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_plan_refuses),
    };
    return kt_group(tests);
}
