// test_position.c - the kernels of what enters the first layer: learned positions, dropout.
#include "kernels/dropout_rule.h"
#include "tests/unit/kernel_test.h"

// float32 against double: one rounding.
#define LIMIT 2e-7

// ---------------------------------------------------------------------------------------------------- positions
typedef struct {
    int B, T, n, meta;
    const int32_t *pos;
} position_ctx;
static hy_position_args position_args(kt_case *c) {
    const position_ctx *x = c->ctx;
    return (hy_position_args){.B = x->B,
                              .T = x->T,
                              .C = c->in[0].cols,
                              .n = x->n,
                              .meta = x->meta,
                              .pos = kt_dev(c->dt, x->pos),
                              .x = c->in[0].p,
                              .w = c->in[1].p,
                              .y = c->out[0].p,
                              .ldx = c->in[0].ld,
                              .ldy = c->out[0].ld};
}
static void position_forward(kt_case *c, const hy_plan_req *req) {
    hy_position_args a = position_args(c);
    kt_run(HY_K_position, &a, req);
}
static void position_backward(kt_case *c, const hy_plan_req *req) {
    hy_position_bwd_args a = {.f = position_args(c),
                              .dy = c->dout[0].p,
                              .dx = c->grad[0].p,
                              .dw = c->grad[1].p,
                              .lddy = c->dout[0].ld,
                              .lddx = c->grad[0].ld,
                              .acc = c->acc};
    kt_run(HY_K_position_bwd, &a, req);
}
static void positions(void **state) {
    (void)state;
    // B, T, C, positions, meta tokens, first position of the first sequence; each other begins three later
    static const int shapes[][6] = {{1, 1, 1, 1, 0, 0},    {2, 7, 5, 9, 2, 0},    {3, 4, 17, 20, 1, 6},
                                    {3, 9, 16, 8, 0, 0},   {2, 5, 24, 40, 3, 11}, {5, 67, 66, 80, 4, 0},
                                    {4, 40, 300, 40, 0, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *s = shapes[i], B = s[0], rows = B * s[1], C = s[2];
        int32_t *pos = kt_alloc((size_t)B * sizeof *pos);
        for (int b = 0; b < B; b++) pos[b] = s[5] + (s[5] ? 3 * b : 0);
        position_ctx x = {B, s[1], s[3], s[4], pos};
        kt_case c = {.n_in = 2,
                     .n_out = 1,
                     .ctx = &x,
                     .seed = 71 + i,
                     .forward = position_forward,
                     .backward = position_backward,
                     .in_of = {{"x", rows, C, C + 3, C + 2, 2, 0, 1, 0}, {"w", s[3], C, 0, 0, 1, 0, 1, 0}},
                     .out_of = {{"y", rows, C, C + 1, C + 5, 0, 0, 0, 0}}};
        if (rows > 100)
            kt_paths(&c, 1e-6);  // sums over sequences
        else
            kt_all(&c, LIMIT);
        kt_release(pos);
    }
}

// By head: each row gets the vector of its position among the text tokens, meta tokens none, padding past the end the
// last.
static void which_position(void **state) {
    (void)state;
    const int32_t pos[2] = {0, 3};
    hy_position_args a = {.B = 2, .T = 6, .C = 1, .n = 5, .meta = 2, .pos = pos};
    static const int want[12] = {-2, -1, 0, 1, 2, 3, 1, 2, 3, 4, 4, 4};
    for (int r = 0; r < 12; r++) assert_int_equal(hy_position_row(&a, r), want[r]);
}

// ---------------------------------------------------------------------------------------------------- dropout
typedef struct {
    const uint64_t *key;
    int place;
    double p;
} dropout_ctx;
static hy_dropout_args dropout_args(kt_case *c) {
    const dropout_ctx *x = c->ctx;
    return (hy_dropout_args){.rows = c->in[0].rows,
                             .C = c->in[0].cols,
                             .place = x->place,
                             .p = x->p,
                             .key = x->key ? kt_dev(c->dt, x->key) : NULL,
                             .x = c->in[0].p,
                             .y = c->out[0].p,
                             .ldx = c->in[0].ld,
                             .ldy = c->out[0].ld};
}
static void dropout_forward(kt_case *c, const hy_plan_req *req) {
    hy_dropout_args a = dropout_args(c);
    kt_run(HY_K_dropout, &a, req);
    const dropout_ctx *x = c->ctx;
    for (int r = 0; r < a.rows; r++)
        for (int k = 0; k < a.C; k++) {
            const uint64_t u = hy_mix64(hy_mix64(x->key ? *x->key : 0, (uint64_t)x->place), (uint64_t)(r * a.C + k));
            const double in = kt_at(&c->in[0], r, k), out = kt_at(&c->out[0], r, k);
            const bool drops = x->key && (double)(u >> 32) < x->p * 0x1p32;
            assert_true(drops ? out == 0 : x->key ? (out != 0) == (in != 0) : out == in);
        }
}
static void dropout_backward(kt_case *c, const hy_plan_req *req) {
    hy_dropout_bwd_args a = {.f = dropout_args(c),
                             .dy = c->dout[0].p,
                             .dx = c->grad[0].p,
                             .lddy = c->dout[0].ld,
                             .lddx = c->grad[0].ld,
                             .acc = c->acc};
    kt_run(HY_K_dropout_bwd, &a, req);
}
static void dropout(void **state) {
    (void)state;
    static const int shapes[][2] = {{1, 1}, {7, 5}, {9, 16}, {3, 24}, {307, 130}};
    uint64_t *key = kt_alloc(sizeof *key);
    *key = UINT64_C(0x123456789abcdef);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 4; k++) {
            const dropout_ctx x = {k < 3 ? key : NULL, k, (const double[]){0.1, 0, 0.75, 0.5}[k]};
            const int rows = shapes[i][0], C = shapes[i][1];
            kt_case c = {.n_in = 1,
                         .n_out = 1,
                         .ctx = &x,
                         .seed = 81 + i,
                         .forward = dropout_forward,
                         .backward = dropout_backward,
                         .in_of = {{"x", rows, C, C + 3, C + 2, 2, 0, 1, 0}},
                         .out_of = {{"y", rows, C, C + 1, C + 5, 0, 0, 0, 0}}};
            if (rows > 300)
                kt_paths(&c, LIMIT);
            else
                kt_all(&c, LIMIT);
        }
    kt_release(key);
}

// The share that is dropped, and that two places, keys and neighbours have nothing to do with each other: correlations
// of masks within four standard errors.
static void masks(void **state) {
    (void)state;
    enum { N = 40000 };
    const double p = 0.25;
    const uint32_t limit = hy_dropout_limit(p);
    const uint64_t a = hy_dropout_mix(1, 0), other[3] = {hy_dropout_mix(1, 1), hy_dropout_mix(2, 0), a};
    double dropped = 0, both[3] = {0};
    for (uint64_t i = 0; i < N; i++) {
        const bool x = !hy_dropout_keeps(a, i, limit);
        dropped += x;
        for (int k = 0; k < 3; k++) both[k] += x && !hy_dropout_keeps(other[k], i + (k == 2), limit);
        assert_true(hy_dropout_mix(a, i) == hy_mix64(a, i));
    }
    assert_true(fabs(dropped - p * N) < 4 * sqrt(p * (1 - p) * N));
    for (int k = 0; k < 3; k++) assert_true(fabs(both[k] - p * p * N) < 4 * sqrt(p * p * (1 - p * p) * N));
    assert_true(hy_dropout_limit(0) == 0 && hy_dropout_limit(0.5) == 1u << 31);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions),
        kt_cpu_test(which_position),
        cmocka_unit_test(dropout),
        kt_cpu_test(masks),
    };
    return kt_group(tests);
}
