// test_rope.c - rotary embedding: the float64 oracle against finite differences and against the definition of a
// rotation, every path against the oracle, views with strides, in place, accumulation, threads.
#include "tests/unit/kernel_test.h"

#define TOL_GRADIENT 1e-9  // the map is linear: central differences are exact up to rounding
#define TOL_F32 2e-7       // cosines rounded once to float32, two products each

typedef struct {
    int B, T, heads, d, turned;
    double base;
    hy_rope_scale scale;
    int32_t *pos;
} rope_ctx;
static rope_ctx ctx_new(int B, int T, int heads, int d, double base, int pos, int step) {
    rope_ctx x = {.B = B, .T = T, .heads = heads, .d = d, .base = base, .pos = kt_alloc((size_t)B * sizeof(int32_t))};
    for (int b = 0; b < B; b++) x.pos[b] = pos + b * step;
    return x;
}
static hy_rope_args args_of(const kt_case *c) {
    const rope_ctx *x = c->ctx;
    return (hy_rope_args){.B = x->B,
                          .T = x->T,
                          .heads = x->heads,
                          .d = x->d,
                          .turned = x->turned,
                          .base = x->base,
                          .scale = x->scale,
                          .pos = kt_dev(c->dt, x->pos),
                          .x = c->in[0].p,
                          .y = c->out[0].p,
                          .ldx = c->in[0].ld,
                          .ldy = c->out[0].ld};
}
static void forward(kt_case *c, const hy_plan_req *req) {
    hy_rope_args a = args_of(c);
    kt_run(HY_K_rope, &a, req);
}
static void backward(kt_case *c, const hy_plan_req *req) {
    hy_rope_bwd_args g = {.f = args_of(c),
                          .dy = c->dout[0].p,
                          .dx = c->grad[0].p,
                          .lddy = c->dout[0].ld,
                          .lddx = c->grad[0].ld,
                          .acc = c->acc};
    kt_run(HY_K_rope_bwd, &g, req);
}
// pad: elements between rows, times 1, 2, 3, 4 for the four operands.
static kt_case case_of(const rope_ctx *x, int pad) {
    const int rows = x->B * x->T, D = x->heads * x->d;
    return (kt_case){.n_in = 1,
                     .n_out = 1,
                     .forward = forward,
                     .backward = backward,
                     .ctx = x,
                     .seed = (uint64_t)(x->d * 100 + x->T),
                     .in_of = {{.name = "x", .rows = rows, .cols = D, .ld = D + pad, .ldgrad = D + 4 * pad, .grad = 2}},
                     .out_of = {{.name = "y", .rows = rows, .cols = D, .ld = D + 2 * pad, .ldgrad = D + 3 * pad}}};
}

static int turned_of(const rope_ctx *x) { return x->turned ? x->turned : x->d; }
// Holds the oracle's y against rotations by position times frequency(pair).
static void check_rotations(const kt_case *c, double (*frequency)(const rope_ctx *x, int i), double limit) {
    const rope_ctx *x = c->ctx;
    const int half = turned_of(x) / 2;
    for (int r = 0; r < c->in[0].rows; r++)
        for (int h = 0; h < x->heads; h++) {
            for (int i = 0; i < half; i++) {
                const double angle = (x->pos[r / x->T] + r % x->T) * frequency(x, i);
                const int at = h * x->d + i;
                const double x1 = kt_at(&c->in[0], r, at), x2 = kt_at(&c->in[0], r, at + half);
                assert_true(fabs(kt_at(&c->out[0], r, at) - (x1 * cos(angle) - x2 * sin(angle))) < limit);
                assert_true(fabs(kt_at(&c->out[0], r, at + half) - (x2 * cos(angle) + x1 * sin(angle))) < limit);
            }
            for (int i = h * x->d + 2 * half; i < (h + 1) * x->d; i++)
                assert_true(kt_at(&c->out[0], r, i) == kt_at(&c->in[0], r, i));
        }
}
static double plain_frequency(const rope_ctx *x, int i) { return pow(x->base, -2.0 * i / turned_of(x)); }
static void definition(void **state) {
    (void)state;
    for (int turned = 0; turned <= 6; turned += 2) {
        rope_ctx x = ctx_new(2, 3, 2, 6, 100.0, 4, 3);
        x.turned = turned;
        kt_case c = case_of(&x, 1);
        const hy_plan_req oracle = kt_oracle(true);
        kt_case_open(&c, HY_F64, 0);
        forward(&c, &oracle);
        check_rotations(&c, plain_frequency, 1e-14);
        kt_case_check(&c), kt_case_close(&c), kt_release(x.pos);
    }
}

static void gradient_finite_differences(void **state) {
    (void)state;
    rope_ctx x = ctx_new(2, 3, 2, 6, 10.0, 7, 5);
    x.turned = 4;
    kt_case c = case_of(&x, 1);
    const hy_plan_req oracle = kt_oracle(true);
    kt_case_open(&c, HY_F64, 0);
    backward(&c, &oracle);
    kt_mat num = kt_new(HY_F64, c.in[0].rows, c.in[0].cols, c.in[0].cols);
    for (int r = 0; r < num.rows; r++)
        for (int j = 0; j < num.cols; j++) {
            const double was = kt_at(&c.in[0], r, j);
            kt_put(&c.in[0], r, j, was + 0.5);
            const double up = kt_case_loss(&c, &oracle);
            kt_put(&c.in[0], r, j, was - 0.5);
            kt_put(&num, r, j, up - kt_case_loss(&c, &oracle));
            kt_put(&c.in[0], r, j, was);
        }
    kt_near(&c.grad[0], &num, TOL_GRADIENT, "gradient");
    kt_free(&num), kt_case_check(&c), kt_case_close(&c), kt_release(x.pos);
}

// The last: heads of more pairs than one launch on a GPU has.
static const int shapes[][6] = {  // B T heads d pos step
    {1, 1, 1, 2, 0, 0},         {1, 1, 3, 64, 4095, 0},   {2, 3, 2, 16, 5, 0},       {2, 17, 2, 20, 30, 7},
    {3, 65, 4, 64, 0, 0},       {3, 33, 5, 72, 63, 31},   {2, 130, 1, 128, 8000, 1}, {4, 1, 2, 256, 100, 37},
    {1, 127, 6, 6, 1000000, 0}, {1, 2, 2, 528, 131000, 0}};
static void all_paths(hy_rope_scale scale) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *s = shapes[i];
        rope_ctx x = ctx_new(s[0], s[1], s[2], s[3], 10000, s[4], s[5]);
        x.scale = scale;
        const kt_case c = case_of(&x, s[3] % 16 ? 1 : 8);  // rows on 16 bytes where wide loads are for them
        kt_paths(&c, TOL_F32);
        kt_release(x.pos);
    }
}
static void paths_against_oracle(void **state) {
    (void)state;
    all_paths((hy_rope_scale){0});
}
// Partial rotary: heads whose parts are whole pieces of wide loads and not, and of which few or nearly all turn.
static void some_turn(void **state) {
    (void)state;
    static const int widths[][2] = {{64, 32}, {64, 16}, {64, 2}, {72, 70}, {20, 10}, {528, 264}, {528, 6}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        rope_ctx x = ctx_new(2, 33, 3, widths[i][0], 10000, 50, 7);
        x.turned = widths[i][1];
        const kt_case c = case_of(&x, widths[i][0] % 16 ? 1 : 8);
        kt_paths(&c, TOL_F32);
        kt_release(x.pos);
    }
}

// The frequencies as the releases of Llama 3.1 define them, by wave lengths; then every path with them.
static double scaled_frequency(const rope_ctx *x, int i) {
    const hy_rope_scale *s = &x->scale;
    const double f = plain_frequency(x, i), wave = 2 * 3.14159265358979323846 / f;
    if (s->length == 0) return f / s->factor;
    if (wave < s->length / s->high) return f;
    if (wave > s->length / s->low) return f / s->factor;
    const double smooth = (s->length / wave - s->low) / (s->high - s->low);
    return (1 - smooth) * f / s->factor + smooth * f;
}
static void scaled(void **state) {
    (void)state;
    const hy_rope_scale all[] = {{.factor = 4},
                                 {.factor = 8, .low = 1, .high = 4, .length = 64},
                                 {.factor = 32, .low = 0.5, .high = 9, .length = 300}};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        rope_ctx x = ctx_new(1, 5, 1, 32, 10000.0, 40, 0);
        x.scale = all[k];
        kt_case c = case_of(&x, 1);
        const hy_plan_req oracle = kt_oracle(true);
        kt_case_open(&c, HY_F64, 0);
        forward(&c, &oracle);
        check_rotations(&c, scaled_frequency, 1e-13);
        int kinds[3] = {0};  // pairs left alone, between, divided
        for (int i = 0; i < 16; i++) {
            const double f = plain_frequency(&x, i), want = scaled_frequency(&x, i);
            kinds[want == f ? 0 : want > f / x.scale.factor ? 1 : 2]++;
        }
        if (k) assert_true(kinds[0] && kinds[1] && kinds[2]);
        kt_case_close(&c), kt_release(x.pos);
        all_paths(all[k]);
    }
}

// A token's rotation depends on its position alone: not on the batch, the chunk or whether all start alike. In place
// too.
static void bits_by_position(void **state) {
    (void)state;
    for (int d = 20; d <= 32; d += 4)
        for (int path = 0; path < kt_n_paths(); path++) {
            const hy_plan_req one = kt_req(path, 1, true), two = kt_req(path, 2, true);
            rope_ctx x = ctx_new(1, 100, 3, d, 10000, 0, 0), y = ctx_new(2, 13, 3, d, 10000, 50, -19);
            x.turned = y.turned = d % 8 ? 0 : d / 2;
            kt_case whole = case_of(&x, 8), part = case_of(&y, 8);
            kt_case_open(&whole, one.dtype, 0), kt_case_open(&part, two.dtype, 0);
            for (int b = 0; b < 2; b++)
                for (int t = 0; t < 13; t++)
                    for (int c = 0; c < 3 * d; c++)
                        kt_put(&part.in[0], b * 13 + t, c, kt_at(&whole.in[0], y.pos[b] + t, c));
            forward(&whole, &one), forward(&part, &two);
            for (int b = 0; b < 2; b++) kt_same_rows(&part.out[0], b * 13, &whole.out[0], y.pos[b], 13, "a chunk");
            hy_rope_args a = args_of(&whole);
            a.y = whole.in[0].p, a.ldy = a.ldx;
            kt_run(HY_K_rope, &a, &one);
            kt_same_rows(&whole.in[0], 0, &whole.out[0], 0, 100, "in place");
            kt_case_check(&whole), kt_case_check(&part);
            kt_case_close(&whole), kt_case_close(&part), kt_release(x.pos), kt_release(y.pos);
        }
}

static void bad_input_is_refused(void **state) {
    (void)state;
    const hy_rope_args good = {.B = 1,
                               .T = 2,
                               .heads = 2,
                               .d = 4,
                               .base = 10000,
                               .pos = HY_PRESENT,
                               .x = HY_PRESENT,
                               .y = HY_PRESENT,
                               .ldx = 8,
                               .ldy = 8};
    hy_plan_req r = kt_req(0, 1, true);
    const hy_plan_fn plan = KT_CUDA ? kt_device()->plan[HY_K_rope] : hy_cpu_plan_rope;
    hy_launch l;
    hy_rope_args a = good;
    assert_int_equal(plan(&a, &r, &l), HY_OK);
    a.d = 3;
    assert_int_equal(plan(&a, &r, &l), HY_EINPUT);
    a = good, a.turned = 3;
    assert_int_equal(plan(&a, &r, &l), HY_EINPUT);
    a = good, a.turned = 6;
    assert_int_equal(plan(&a, &r, &l), HY_EINPUT);
    a = good, a.ldy = 7;
    assert_int_equal(plan(&a, &r, &l), HY_EINPUT);
    a = good, a.scale = (hy_rope_scale){.factor = 8, .low = 4, .high = 1, .length = 64};
    assert_int_equal(plan(&a, &r, &l), HY_EINPUT);
    a = good, a.base = 0;
    assert_int_equal(plan(&a, &r, &l), HY_EINPUT);
    a = good, r.dtype = KT_CUDA ? HY_F64 : HY_BF16;
    assert_int_equal(plan(&a, &r, &l), HY_EINPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(definition),     kt_cpu_test(gradient_finite_differences), cmocka_unit_test(paths_against_oracle),
        cmocka_unit_test(some_turn), cmocka_unit_test(bits_by_position),       cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(scaled),
    };
    return kt_group(tests);
}
