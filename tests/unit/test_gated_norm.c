// test_gated_norm.c - the gate with or without RMSNorm: gradients against finite differences in double, every path
// against the double reference over odd shapes, the formula written out, refusals.
#include "tests/unit/kernel_test.h"

// Float against double on the same inputs: a few roundings for each value, sums over at most 1000 channels or rows.
#define TOL 2e-6

typedef struct {
    hy_gated_kind kind;
    int groups;
} gated_ctx;

static hy_gated_norm_args args_of(const kt_case *c) {
    const gated_ctx *x = c->ctx;
    return (hy_gated_norm_args){.rows = c->in[0].rows,
                                .groups = x->groups,
                                .C = c->in[0].cols / x->groups,
                                .kind = x->kind,
                                .eps = 1e-5,
                                .x = c->in[0].p,
                                .gate = c->in[1].p,
                                .w = x->kind == HY_GATED_ONLY ? NULL : c->in[2].p,
                                .y = c->out[0].p,
                                .ldx = c->in[0].ld,
                                .ldgate = c->in[1].ld,
                                .ldy = c->out[0].ld};
}
static void forward(kt_case *c, const hy_plan_req *req) {
    hy_gated_norm_args a = args_of(c);
    kt_run(HY_K_gated_norm, &a, req);
}
static void backward(kt_case *c, const hy_plan_req *req) {
    hy_gated_norm_bwd_args a = {.f = args_of(c),
                                .dy = c->dout[0].p,
                                .dx = c->grad[0].p,
                                .dgate = c->grad[1].p,
                                .dw = c->grad[2].p,
                                .lddy = c->dout[0].ld,
                                .lddx = c->grad[0].ld,
                                .lddgate = c->grad[1].ld,
                                .acc = c->acc};
    kt_run(HY_K_gated_norm_bwd, &a, req);
}
static kt_case case_of(const gated_ctx *x, int rows, int C, int pad) {
    const int D = x->groups * C;
    kt_case c = {
        .n_in = x->kind == HY_GATED_ONLY ? 2 : 3,
        .n_out = 1,
        .forward = forward,
        .backward = backward,
        .ctx = x,
        .seed = (uint64_t)(rows * 1000 + C),
        .in_of = {{.name = "x", .rows = rows, .cols = D, .ld = D + pad, .ldgrad = D + 2 * pad, .grad = 2, .accbit = 0},
                  {.name = "gate",
                   .rows = rows,
                   .cols = D,
                   .ld = D + 3 * pad,
                   .ldgrad = D + pad,
                   .grad = 2,
                   .accbit = 1,
                   .scale = 2},
                  {.name = "w", .rows = 1, .cols = D, .grad = 1, .shift = 1}},
        .out_of = {{.name = "y", .rows = rows, .cols = D, .ld = D + pad, .ldgrad = D + 2 * pad}},
    };
    return c;
}

static void test_gradients_and_paths(void **unused) {
    (void)unused;
    static const int rows[] = {1, 2, 7, 33}, Cs[] = {1, 3, 8, 16, 17, 31};
    int i = 0;
    for (int r = 0; r < 4; r++)
        for (int k = 0; k < 6; k++, i++) {
            gated_ctx x = {.kind = (hy_gated_kind)(i % 3), .groups = 1 + i % 4};
            kt_case c = case_of(&x, rows[r], Cs[k], i % 4);
            if (rows[r] * Cs[k] < 20)
                kt_all(&c, TOL);
            else
                kt_paths(&c, TOL);
        }
    for (int kind = 0; kind < 3; kind++) {  // rows in more than one block, enough work for threads
        gated_ctx x = {.kind = (hy_gated_kind)kind, .groups = 2};
        kt_case c = case_of(&x, KT_CUDA ? 103 : 500, 35, 1);
        kt_paths(&c, TOL);
    }
    // rows on 16 bytes: several in a block, and what a block of a GPU holds, with one past it
    static const int wide[][2] = {{67, 32}, {3, 2064}, {2, 4112}, {1, 8208}};
    for (int k = 0; k < 4; k++)
        for (int kind = 0; kind < 3; kind++) {
            gated_ctx x = {.kind = (hy_gated_kind)kind, .groups = k ? 1 : 3};
            kt_case c = case_of(&x, wide[k][0], wide[k][1], 8);
            kt_paths(&c, TOL);
        }
}

static void test_formula(void **unused) {
    (void)unused;
    const hy_plan_req req = {.dtype = HY_F64, .isa = HY_ISA_REF, .threads = 1};
    for (int kind = 0; kind < 3; kind++) {
        gated_ctx x = {.kind = (hy_gated_kind)kind, .groups = 3};
        kt_case c = case_of(&x, 4, 5, 1);
        kt_case_open(&c, HY_F64, 0);
        forward(&c, &req);
        for (int r = 0; r < 4; r++)
            for (int g = 0; g < 3; g++) {
                double v[5], s[5], ms = 0;
                for (int j = 0; j < 5; j++) {
                    const double z = kt_at(&c.in[1], r, g * 5 + j);
                    v[j] = kt_at(&c.in[0], r, g * 5 + j), s[j] = z / (1 + exp(-z));
                    ms += pow(kind == HY_GATED_GATE_FIRST ? v[j] * s[j] : v[j], 2) / 5;
                }
                for (int j = 0; j < 5; j++) {
                    const double want = kind == HY_GATED_ONLY
                                            ? v[j] * s[j]
                                            : v[j] * s[j] / sqrt(ms + 1e-5) * kt_at(&c.in[2], 0, g * 5 + j);
                    assert_true(fabs(kt_at(&c.out[0], r, g * 5 + j) - want) <= 1e-14 * (1 + fabs(want)));
                }
            }
        kt_case_close(&c);
    }
}

static void test_plan_refuses(void **unused) {
    (void)unused;
    const hy_plan_req req = kt_req(0, 1, true);
    const hy_plan_fn forward_plan = KT_CUDA ? kt_device()->plan[HY_K_gated_norm] : hy_cpu_plan_gated_norm;
    const hy_plan_fn backward_plan = KT_CUDA ? kt_device()->plan[HY_K_gated_norm_bwd] : hy_cpu_plan_gated_norm_bwd;
    const hy_gated_norm_args good = {.rows = 2,
                                     .groups = 2,
                                     .C = 3,
                                     .kind = HY_GATED_GATE_FIRST,
                                     .x = HY_PRESENT,
                                     .gate = HY_PRESENT,
                                     .w = HY_PRESENT,
                                     .y = HY_PRESENT,
                                     .ldx = 6,
                                     .ldgate = 6,
                                     .ldy = 6};
    hy_launch l;
    hy_gated_norm_args a = good;
    assert_int_equal(forward_plan(&a, &req, &l), HY_OK);
    a.ldgate = 5;
    assert_int_equal(forward_plan(&a, &req, &l), HY_EINPUT);
    a = good, a.w = NULL;
    assert_int_equal(forward_plan(&a, &req, &l), HY_EINPUT);
    a = good, a.kind = (hy_gated_kind)3;  // one past the last (C++ allows an enum no more)
    assert_int_equal(forward_plan(&a, &req, &l), HY_EINPUT);
    hy_gated_norm_bwd_args b = {.f = good, .dy = HY_PRESENT, .dgate = HY_PRESENT, .lddy = 6, .lddgate = 5};
    assert_int_equal(backward_plan(&b, &req, &l), HY_EINPUT);
}

// The norm without a gate.
// So many values that dx goes past the caches: the bits of a few rows alone.
static void norm_large(void **state) {
    (void)state;
    enum { ROWS = 4100, C = 1024, FEW = 64 };
    kt_mat x = kt_new(HY_F32, ROWS, C, C), dy = kt_new(HY_F32, ROWS, C, C), w = kt_new(HY_F32, 1, C, C),
           dx = kt_new(HY_F32, ROWS, C, C), few = kt_new(HY_F32, FEW, C, C);
    kt_random(&x, 1, 1, 0), kt_random(&dy, 2, 1, 0), kt_random(&w, 3, 1, 0);
    for (int path = 1; path < kt_n_paths(); path++) {
        const hy_plan_req req = kt_req(path, 2, true);
        hy_norm_bwd_args a = {.f = {.rows = ROWS, .groups = 1, .C = C, .eps = 1e-6, .x = x.p, .w = w.p, .ldx = C},
                              .dy = dy.p,
                              .dx = dx.p,
                              .lddy = C,
                              .lddx = C};
        kt_run(HY_K_norm_bwd, &a, &req);
        kt_check(&dx, "dx");
        a.f.rows = FEW, a.f.x = (float *)x.p + (ROWS - FEW) * C, a.dy = (float *)dy.p + (ROWS - FEW) * C, a.dx = few.p;
        kt_run(HY_K_norm_bwd, &a, &req);
        kt_same_rows(&few, 0, &dx, ROWS - FEW, FEW, "dx of many rows");
    }
    kt_free(&x), kt_free(&dy), kt_free(&w), kt_free(&dx), kt_free(&few);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients_and_paths), kt_cpu_test(test_formula),
                                       cmocka_unit_test(test_plan_refuses), kt_cpu_test(norm_large)};
    return kt_group(tests);
}
