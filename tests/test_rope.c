// test_rope.c - rotary embedding: the float64 oracle against finite differences and against the definition of a rotation,
// every fast build against the oracle, views with strides, in place, accumulation, threads.
#include "tests/attn_fixture.h"

#define TOL_GRADIENT 1e-9  // the map is linear: central differences are exact up to rounding
#define TOL_F32 2e-7       // cosines rounded once to float32, two products each

static hy_rope_scale scaling;  // of all problems: set by the test that wants one

typedef struct {
    int B, T, heads, d;
    double base;
    hy_dtype type;
    mat x, y, dy, dx;
    int32_t *pos;
} prob_rope;
static prob_rope make(hy_dtype type, int B, int T, int heads, int d, double base, int pos, int step) {
    prob_rope p = {B, T, heads, d, base, type, .pos = hy_xcalloc((size_t)B, sizeof(int32_t))};
    mat *m[] = {&p.x, &p.y, &p.dy, &p.dx};
    hy_rng rng = hy_rng_make((uint64_t)(d * 100 + T), 2);
    for (int i = 0; i < 4; i++) *m[i] = mat_make(type, (size_t)B * T, (size_t)heads * d, i + 1), mat_random(m[i], &rng);
    for (int b = 0; b < B; b++) p.pos[b] = pos + b * step;
    return p;
}
static void drop(prob_rope *p) {
    mat *m[] = {&p->x, &p->y, &p->dy, &p->dx};
    for (int i = 0; i < 4; i++) mat_check_edges(m[i]), mat_free(m[i]);
    free(p->pos);
}
static hy_rope_args args_of(prob_rope *p) {
    return (hy_rope_args){p->B, p->T, p->heads, p->d, p->base, scaling, p->pos, p->x.p, p->y.p, p->x.ld, p->y.ld};
}
static void forward(prob_rope *p, hy_isa isa, int threads) {
    hy_rope_args a = args_of(p);
    hy_plan_req r = req_of(p->type, isa, threads);
    kt_run(HY_K_rope, &a, &r);
}
static void backward(prob_rope *p, hy_isa isa, int threads, unsigned acc) {
    hy_rope_bwd_args g = {args_of(p), p->dy.p, p->dx.p, p->dy.ld, p->dx.ld, acc};
    hy_plan_req r = req_of(p->type, isa, threads);
    kt_run(HY_K_rope_bwd, &g, &r);
}

static void definition(void **state) {
    (void)state;
    prob_rope p = make(HY_F64, 2, 3, 2, 6, 100.0, 4, 3);
    forward(&p, HY_ISA_REF, 1);
    for (int r = 0; r < 6; r++)
        for (int h = 0; h < 2; h++)
            for (int i = 0; i < 3; i++) {
                double angle = (p.pos[r / 3] + r % 3) * pow(100.0, -2.0 * i / 6);
                size_t row = (size_t)r, c = (size_t)(h * 6 + i);
                double x1 = at(&p.x, row, c), x2 = at(&p.x, row, c + 3);
                assert_true(fabs(at(&p.y, row, c) - (x1 * cos(angle) - x2 * sin(angle))) < 1e-14);
                assert_true(fabs(at(&p.y, row, c + 3) - (x2 * cos(angle) + x1 * sin(angle))) < 1e-14);
            }
    drop(&p);
}

static void gradient_finite_differences(void **state) {
    (void)state;
    prob_rope p = make(HY_F64, 2, 3, 2, 4, 10.0, 7, 5);
    backward(&p, HY_ISA_REF, 1, 0);
    mat num = mat_make(HY_F64, p.x.rows, p.x.cols, 0);
    for (size_t r = 0; r < p.x.rows; r++)
        for (size_t c = 0; c < p.x.cols; c++) {
            double was = at(&p.x, r, c), sum[2] = {0, 0};
            for (int side = 0; side < 2; side++) {
                set(&p.x, r, c, was + (side ? -0.5 : 0.5));
                forward(&p, HY_ISA_REF, 1);
                for (size_t i = 0; i < p.y.rows; i++)
                    for (size_t j = 0; j < p.y.cols; j++) sum[side] += at(&p.y, i, j) * at(&p.dy, i, j);
            }
            set(&p.x, r, c, was);
            set(&num, r, c, sum[0] - sum[1]);
        }
    assert_true(mat_error(&p.dx, &num) < TOL_GRADIENT);
    mat_free(&num);
    drop(&p);
}

static const int shapes[][6] = {// B T heads d pos step
                                {1, 1, 1, 2, 0, 0},   {1, 1, 3, 64, 4095, 0}, {2, 3, 2, 16, 5, 0},      {2, 17, 2, 20, 30, 7},
                                {3, 65, 4, 64, 0, 0}, {3, 33, 5, 72, 63, 31}, {2, 130, 1, 128, 8000, 1}, {4, 1, 2, 256, 100, 37},
                                {1, 127, 6, 6, 1000000, 0}};

static void fast_against_oracle(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *c = shapes[i];
        prob_rope d = make(HY_F64, c[0], c[1], c[2], c[3], 10000, c[4], c[5]), r = make(HY_F32, c[0], c[1], c[2], c[3], 10000, c[4], c[5]);
        mat_copy(&d.x, &r.x), mat_copy(&d.dy, &r.dy), mat_copy(&d.dx, &r.dx);
        forward(&d, HY_ISA_REF, 1), backward(&d, HY_ISA_REF, 1, 0);
        for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
            prob_rope f = make(HY_F32, c[0], c[1], c[2], c[3], 10000, c[4], c[5]), g = make(HY_F32, c[0], c[1], c[2], c[3], 10000, c[4], c[5]);
            mat start = mat_make(HY_F64, d.dx.rows, d.dx.cols, 0);
            mat_copy(&start, &f.dx);
            forward(&f, (hy_isa)isa, 1), forward(&g, (hy_isa)isa, 2);
            assert_true(mat_same_bits(&f.y, &g.y));
            double e = mat_error(&f.y, &d.y);
            if (!(e <= TOL_F32)) fail_msg("shape %zu on %s is off by %g", i, hy_isa_name((hy_isa)isa), e);
            backward(&f, (hy_isa)isa, 1, 1);  // adds to what is there
            for (size_t x = 0; x < start.rows; x++)
                for (size_t y = 0; y < start.cols; y++) set(&start, x, y, at(&start, x, y) + at(&d.dx, x, y));
            assert_true(mat_error(&f.dx, &start) <= TOL_F32);
            backward(&f, (hy_isa)isa, 1, 0), backward(&g, (hy_isa)isa, 2, 0);
            assert_true(mat_same_bits(&f.dx, &g.dx));
            assert_true(mat_error(&f.dx, &d.dx) <= TOL_F32);
            mat_free(&start);
            drop(&f), drop(&g);
        }
        drop(&d), drop(&r);
    }
}

// The frequencies as the releases of Llama 3.1 define them, by wave lengths; then every fast build with them.
static double scaled_frequency(double f) {
    const double wave = 2 * 3.14159265358979323846 / f;
    if (scaling.length == 0) return f / scaling.factor;
    if (wave < scaling.length / scaling.high) return f;
    if (wave > scaling.length / scaling.low) return f / scaling.factor;
    const double smooth = (scaling.length / wave - scaling.low) / (scaling.high - scaling.low);
    return (1 - smooth) * f / scaling.factor + smooth * f;
}

static void scaled(void **state) {
    const hy_rope_scale all[] = {{.factor = 4}, {.factor = 8, .low = 1, .high = 4, .length = 64}, {.factor = 32, .low = 0.5, .high = 9, .length = 300}};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        scaling = all[k];
        prob_rope p = make(HY_F64, 1, 5, 1, 32, 10000.0, 40, 0);
        int kinds[3] = {0};  // pairs left alone, between, divided
        forward(&p, HY_ISA_REF, 1);
        for (size_t r = 0; r < 5; r++)
            for (size_t i = 0; i < 16; i++) {
                const double f = pow(10000.0, -2.0 * (double)i / 32), want = scaled_frequency(f), angle = (40 + (double)r) * want;
                const double x1 = at(&p.x, r, i), x2 = at(&p.x, r, i + 16);
                assert_true(fabs(at(&p.y, r, i) - (x1 * cos(angle) - x2 * sin(angle))) < 1e-13);
                assert_true(fabs(at(&p.y, r, i + 16) - (x2 * cos(angle) + x1 * sin(angle))) < 1e-13);
                kinds[want == f ? 0 : want > f / scaling.factor ? 1 : 2]++;
            }
        if (k) assert_true(kinds[0] && kinds[1] && kinds[2]);
        drop(&p);
        fast_against_oracle(state);
    }
    scaling = (hy_rope_scale){0};
}

// A token's rotation depends on its position alone: not on the batch, the chunk or whether all start alike. In place too.
static void bits_by_position(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        prob_rope whole = make(HY_F32, 1, 100, 3, 20, 10000, 0, 0), part = make(HY_F32, 2, 13, 3, 20, 10000, 50, -19);
        for (size_t b = 0; b < 2; b++)
            for (size_t t = 0; t < 13; t++)
                for (size_t c = 0; c < 60; c++) set(&part.x, b * 13 + t, c, at(&whole.x, (size_t)part.pos[b] + t, c));
        forward(&whole, (hy_isa)isa, 1), forward(&part, (hy_isa)isa, 2);
        for (size_t b = 0; b < 2; b++)
            for (size_t t = 0; t < 13; t++)
                for (size_t c = 0; c < 60; c++) assert_true(at(&part.y, b * 13 + t, c) == at(&whole.y, (size_t)part.pos[b] + t, c));
        hy_rope_args a = args_of(&whole);
        hy_plan_req r = req_of(HY_F32, (hy_isa)isa, 1);
        a.y = whole.x.p, a.ldy = a.ldx;
        kt_run(HY_K_rope, &a, &r);
        assert_true(mat_same_bits(&whole.x, &whole.y));
        drop(&whole), drop(&part);
    }
}

static void bad_input_is_refused(void **state) {
    (void)state;
    prob_rope p = make(HY_F32, 1, 2, 2, 4, 10000, 0, 0);
    hy_rope_args a = args_of(&p);
    hy_plan_req r = req_of(HY_F32, hy_isa_best(), 1);
    hy_launch l;
    a.d = 3;
    assert_int_equal(hy_cpu_plan_rope(&a, &r, &l), HY_EINPUT);
    a.d = 4, a.ldy = 7;
    assert_int_equal(hy_cpu_plan_rope(&a, &r, &l), HY_EINPUT);
    a.ldy = 8, a.scale = (hy_rope_scale){.factor = 8, .low = 4, .high = 1, .length = 64};
    assert_int_equal(hy_cpu_plan_rope(&a, &r, &l), HY_EINPUT);
    a.scale = (hy_rope_scale){0}, a.base = 0;
    assert_int_equal(hy_cpu_plan_rope(&a, &r, &l), HY_EINPUT);
    r.dtype = HY_BF16, a.base = 10;
    assert_int_equal(hy_cpu_plan_rope(&a, &r, &l), HY_EINPUT);
    drop(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definition),      cmocka_unit_test(gradient_finite_differences),
        cmocka_unit_test(fast_against_oracle), cmocka_unit_test(bits_by_position),
        cmocka_unit_test(bad_input_is_refused), cmocka_unit_test(scaled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
