// test_attention.c - attention forward and backward without a cache: the rule of attn_rule.h by brute force, the
// float64 oracle against finite differences, the float32 oracle against float64, every fast build (in the CUDA mode:
// every precision) against the oracle.
#include "tests/unit/attn_fixture.h"

// Central differences in double with h = 1e-4: truncation ~ h^2, rounding ~ 1e-16 / h.
#define TOL_GRADIENT 1e-6
// float32 storage of operands rounded once; sums in double.
#define TOL_REF_F32 1e-6
// float32 sums over up to 300 products and keys, exp2 to 1e-7.
#define TOL_FAST 2e-6
#define TOL_FAST_BWD 4e-6
// On the GPU other precisions round factors: queries, keys, values and, made inside, weights and gradients of scores.
// The log-sum-exp is kept in float32, so in bfloat16, where what comes in is exact, it is as good as that.
static const struct {
    double o, lse, grad;
} limits[KT_PRECISIONS] = {
    [KT_F32] = {TOL_FAST, TOL_FAST, TOL_FAST_BWD},
    [KT_TF32] = {0x1p-10, 0x1p-10,
                 0x1p-9},  // two factors of 11 significant bits a product; products of products backward
    [KT_BF16] = {0x1p-8, TOL_FAST,
                 0x1p-7},  // weights and results are rounded to 8 significant bits, gradients of scores too
};
static int precision(int path) { return KT_CUDA ? path : KT_F32; }

static void rule_brute_force(void **state) {
    (void)state;
    for (int meta = 0; meta < 5; meta++)
        for (int window = 0; window < 6; window++)
            for (int q = 0; q < 20; q++)
                for (int k = 0; k < 20; k++) {
                    bool want = k <= q;  // the sentence in attn_rule.h, word by word
                    if (window > 0 && k != q && !(k >= q - window && k < q) && !(k < meta)) want = false;
                    assert_int_equal(hy_attn_visible(q, k, window, meta), want);
                    bool listed = (k < meta && k <= q) || (k >= hy_attn_first(q, window, meta) && k <= q);
                    assert_int_equal(listed, want);
                }
    // a ring of hy_attn_cap slots keeps everything that later queries see
    for (int meta = 0; meta < 4; meta++)
        for (int window = 0; window < 5; window++) {
            int tokens = 13, cap = hy_attn_cap(tokens, window, meta), *slot = hy_xcalloc((size_t)cap, sizeof *slot);
            for (int i = 0; i < cap; i++) slot[i] = -1;
            for (int q = 0; q < meta + tokens; q++) {
                for (int k = 0; k < q; k++)
                    if (hy_attn_visible(q, k, window, meta)) assert_int_equal(slot[hy_attn_slot(k, meta, cap)], k);
                assert_in_range(hy_attn_slot(q, meta, cap), 0, cap - 1);
                slot[hy_attn_slot(q, meta, cap)] = q;
            }
            free(slot);
        }
}

// Loss = sum of o * dout; its gradient in one operand by central differences.
static double loss(prob *p) {
    prob_forward(p, 0, 1);
    double s = 0;
    for (size_t r = 0; r < p->o.rows; r++)
        for (size_t c = 0; c < p->o.cols; c++) s += at(&p->o, r, c) * at(&p->dout, r, c);
    return s;
}
static void check_numeric(prob *p, mat *x, const mat *grad) {
    mat num = mat_make(HY_F64, x->rows, x->cols, 0);
    const double h = 1e-4;
    for (size_t r = 0; r < x->rows; r++)
        for (size_t c = 0; c < x->cols; c++) {
            double was = at(x, r, c);
            set(x, r, c, was + h);
            double up = loss(p);
            set(x, r, c, was - h);
            double down = loss(p);
            set(x, r, c, was);
            set(&num, r, c, (up - down) / (2 * h));
        }
    double e = mat_error(grad, &num);
    if (!(e < TOL_GRADIENT)) fail_msg("T %d window %d meta %d: gradient off by %g", p->T, p->window, p->meta, e);
    mat_free(&num);
}
static void gradient_finite_differences(void **state) {
    (void)state;
    static const int cases[][7] = {// T heads kv dqk dv window meta
                                   {5, 1, 1, 2, 3, 0, 0},
                                   {6, 2, 1, 3, 2, 2, 1},
                                   {7, 4, 2, 2, 4, 1, 0},
                                   {6, 2, 2, 4, 2, 0, 2},
                                   {7, 3, 1, 2, 1, 1, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int *c = cases[i];
        prob p = prob_make(HY_F64, 2, c[0], c[1], c[2], c[3], c[4], c[5], c[6], i);
        p.len[1] = c[0] - 2;
        prob_forward(&p, 0, 1);
        prob_backward(&p, 0, 1, 0);
        check_numeric(&p, &p.q, &p.dq), check_numeric(&p, &p.k, &p.dk), check_numeric(&p, &p.v, &p.dv_);
        prob_check_edges(&p);
        prob_free(&p);
    }
}

// Shapes for the parity tests: {B T heads kv dqk dv window meta}.
static const int shapes[][8] = {
    {2, 1, 1, 1, 2, 3, 0, 0},         {1, 2, 2, 1, 16, 16, 0, 1},      {1, 3, 6, 3, 20, 2, 1, 0},
    {2, 17, 4, 2, 64, 64, 5, 7},      {1, 63, 3, 1, 72, 20, 64, 0},    {1, 64, 5, 1, 64, 128, 5, 130},
    {1, 65, 2, 2, 128, 64, 0, 7},     {1, 127, 6, 2, 16, 72, 64, 1},   {1, 130, 4, 4, 64, 64, 64, 7},
    {2, 130, 2, 1, 20, 3, 1, 130},    {1, 130, 1, 1, 256, 256, 0, 0},  {1, 127, 5, 5, 2, 16, 5, 0},
    {1, 130, 3, 1, 64, 128, 64, 130}, {1, 300, 2, 1, 16, 24, 100, 17}, {1, 65, 25, 1, 8, 8, 0, 3},
    {3, 5, 2, 2, 16, 16, 0, 0}};
#define SHAPES (sizeof shapes / sizeof *shapes)
static prob shape_prob_aligned(hy_dtype type, size_t i, int align) {
    const int *c = shapes[i];
    prob p = prob_make_aligned(type, c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], align, 100 + i);
    if (c[0] > 1) p.len[0] = c[1] / 2;
    if (c[0] > 2) p.len[1] = 1;
    return p;
}
static prob shape_prob(hy_dtype type, size_t i) { return shape_prob_aligned(type, i, 1); }
static void expect_close(const char *what, size_t shape, int path, const mat *got, const mat *want, double tol) {
    double e = mat_error(got, want);
    if (!(e <= tol))
        fail_msg("%s of shape %zu on %s is off by %g (allowed %g)", what, shape, kt_path_name(path), e, tol);
}

static void ref_f32_against_f64(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        prob f = shape_prob(HY_F32, i), d = prob_oracle(&f);
        prob_forward(&f, HY_ISA_REF, 1), prob_forward(&d, 0, 1);
        expect_close("o", i, HY_ISA_REF, &f.o, &d.o, TOL_REF_F32);
        expect_close("lse", i, HY_ISA_REF, &f.lse, &d.lse, TOL_REF_F32);
        if (d.T <= 65) {
            prob_backward(&f, HY_ISA_REF, 1, 0), prob_backward(&d, 0, 1, 0);
            expect_close("dq", i, HY_ISA_REF, &f.dq, &d.dq, TOL_REF_F32);
            expect_close("dk", i, HY_ISA_REF, &f.dk, &d.dk, TOL_REF_F32);
            expect_close("dv", i, HY_ISA_REF, &f.dv_, &d.dv_, TOL_REF_F32);
        }
        prob_check_edges(&f), prob_check_edges(&d);
        prob_free(&f), prob_free(&d);
    }
}

// Every fast path against the oracle on the same numbers, with rows that can be read in wide pieces and rows that
// cannot, and the same bits for 2 threads (on a GPU: in a second run).
static const int aligns[] = {1, 8};
#define ALIGNS (KT_CUDA ? 2 : 1)
static void fast_forward(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++)
        for (int n = 0; n < (kt_n_paths() - KT_FIRST_FAST) * ALIGNS; n++) {
            const int path = KT_FIRST_FAST + n / ALIGNS, align = aligns[n % ALIGNS];
            prob f = shape_prob_aligned(type_of(path), i, align), g = shape_prob_aligned(type_of(path), i, align),
                 want = prob_oracle(&f);
            prob_forward(&want, 0, 1), prob_forward(&f, path, 1), prob_forward(&g, path, 2);
            expect_close("o", i, path, &f.o, &want.o, limits[precision(path)].o);
            expect_close("lse", i, path, &f.lse, &want.lse, limits[precision(path)].lse);
            assert_true(mat_same_bits(&f.o, &g.o) && mat_same_bits(&f.lse, &g.lse));
            prob_check_edges(&f), prob_check_edges(&g);
            prob_free(&f), prob_free(&g), prob_free(&want);
        }
}

// Hundreds of keys under one largest score that does not move, where it is large: what has been summed must not shrink
// with every tile, by as much as the rounding of score times scale. The first key is the largest; the others come
// within a few of it.
static void a_largest_score_that_stays(void **state) {
    (void)state;
    for (int path = KT_FIRST_FAST; path < kt_n_paths(); path++) {
        prob f = prob_make_aligned(type_of(path), 1, 900, 1, 1, 4, 8, 0, 0, 8, 5);
        for (size_t r = 0; r < f.q.rows; r++)
            for (size_t c = 0; c < 4; c++) {
                set(&f.q, r, c, 9 + (double)(r % 7) / 8);
                set(&f.k, r, c, r ? 3 - (double)(r % 5) / 64 : 3.0625);
            }
        prob want = prob_oracle(&f);
        prob_forward(&want, 0, 1), prob_forward(&f, path, 1);
        expect_close("o", 0, path, &f.o, &want.o, limits[precision(path)].o);
        expect_close("lse", 0, path, &f.lse, &want.lse, limits[precision(path)].lse);
        prob_free(&f), prob_free(&want);
    }
}

static void expect_gradients(size_t i, int path, const prob *f, const prob *want) {
    expect_close("dq", i, path, &f->dq, &want->dq, limits[precision(path)].grad);
    expect_close("dk", i, path, &f->dk, &want->dk, limits[precision(path)].grad);
    expect_close("dv", i, path, &f->dv_, &want->dv_, limits[precision(path)].grad);
}
static void fast_backward(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++)
        for (int n = 0; n < (kt_n_paths() - KT_FIRST_FAST) * ALIGNS; n++) {
            const int path = KT_FIRST_FAST + n / ALIGNS, align = aligns[n % ALIGNS];
            prob f = shape_prob_aligned(type_of(path), i, align), want = prob_oracle(&f);
            prob_forward(&want, 0, 1), prob_backward(&want, 0, 1, 0);
            prob_forward(&f, path, 1), prob_backward(&f, path, 1, 0);
            expect_gradients(i, path, &f, &want);
            for (int threads = 2; threads <= (KT_CUDA ? 2 : 7);
                 threads += 5) {  // some shapes split heads among threads, some do not
                prob g = shape_prob_aligned(type_of(path), i, align);
                prob_forward(&g, path, threads), prob_backward(&g, path, threads, 0);
                assert_true(mat_same_bits(&f.dq, &g.dq) && mat_same_bits(&f.dk, &g.dk) &&
                            mat_same_bits(&f.dv_, &g.dv_));
                prob_check_edges(&g);
                prob_free(&g);
            }
            prob_check_edges(&f);
            prob_free(&f), prob_free(&want);
        }
}

// Each bit of acc adds to what is there, alone; without it the result overwrites; NULL gradients are left out.
static void accumulation_and_null(void **state) {
    (void)state;
    for (int path = 0; path < kt_n_paths(); path++)
        for (unsigned acc = 0; acc < 8; acc++) {
            const hy_dtype type = type_of(path);
            prob one = shape_prob(type, 3), two = shape_prob(type, 3);
            prob_forward(&one, path, 2), prob_backward(&one, path, 2, 0);
            prob_forward(&two, path, 2), prob_backward(&two, path, 2, 0);
            prob_backward(&two, path, 2, acc);  // a second micro-step
            mat *x[] = {&one.dq, &one.dk, &one.dv_}, *y[] = {&two.dq, &two.dk, &two.dv_};
            for (int i = 0; i < 3; i++) {
                double factor = acc >> i & 1 ? 2 : 1;
                for (size_t r = 0; r < x[i]->rows; r++)
                    for (size_t c = 0; c < x[i]->cols; c++) set(x[i], r, c, factor * at(x[i], r, c));
                // in bfloat16 the first sum was rounded, the second is not, and then both together
                if (!(mat_error(y[i], x[i]) <= (type == HY_BF16 ? 0x1p-8 : TOL_REF_F32)))
                    fail_msg("acc %u, gradient %d, %s", acc, i, kt_path_name(path));
            }
            prob_check_edges(&two);
            // only those asked for, to the same bits
            prob part = shape_prob(type, 3);
            prob_forward(&part, path, 1);
            hy_attention_bwd_args a = prob_bwd_args(&part, 0);
            hy_plan_req req = req_of(type, path, 1);
            if (!(acc & 1)) a.dq = NULL;
            if (!(acc & 2)) a.dk = NULL;
            if (!(acc & 4)) a.dv = NULL;
            kt_run(HY_K_attention_bwd, &a, &req);
            mat *z[] = {&part.dq, &part.dk, &part.dv_};
            prob_backward(&one, path, 1, 0);
            for (int i = 0; i < 3; i++)
                if (acc >> i & 1)
                    assert_true(mat_same_bits(z[i], x[i]));
                else
                    assert_true(at(z[i], 0, 0) == SENTINEL);
            prob_free(&part), prob_free(&one), prob_free(&two);
        }
}

// A NaN in a key reaches every query that sees the key and no other.
static void nan_spreads_as_it_should(void **state) {
    (void)state;
    for (int path = 0; path < kt_n_paths(); path++) {
        prob p = prob_make(type_of(path), 1, 100, 2, 1, 16, 16, 20, 1, 5);
        set(&p.k, 70, 3, NAN);
        prob_forward(&p, path, 1);
        for (size_t t = 0; t < 100; t++) {
            bool sees = hy_attn_visible((int)t, 70, 20, 1);
            if (isnan(at(&p.o, t, 0)) != sees) fail_msg("query %zu on %s", t, kt_path_name(path));
        }
        prob_free(&p);
    }
}

static void refused(hy_kernel_id id, const void *args) {
    for (int path = 0; path < kt_n_paths(); path++) {
        hy_plan_req req = req_of(type_of(path), path, 1);
        hy_launch l;
        assert_int_equal((kt_runs_on_device(&req) ? kt_device()->plan[id] : kt_plan_of(id))(args, &req, &l), HY_EINPUT);
    }
}
static void bad_input_is_refused(void **state) {
    (void)state;
    prob p = prob_make(HY_F32, 1, 4, 4, 2, 8, 8, 0, 0, 1);
    hy_attention_args good = prob_args(&p), a = good;
    a.kv_heads = 3;
    refused(HY_K_attention, &a);
    a = good, a.ldo = 31;
    refused(HY_K_attention, &a);
    a = good, a.window = -1;
    refused(HY_K_attention, &a);
    a = good, a.cache = (hy_kv_view){HY_PRESENT, HY_PRESENT, 2}, a.meta = 2;
    refused(HY_K_attention, &a);
    hy_attention_bwd_args g = prob_bwd_args(&p, 0);
    g.f.cache = (hy_kv_view){HY_PRESENT, HY_PRESENT, 8};
    refused(HY_K_attention_bwd, &g);
    prob_free(&p);
}
// Positions that only the run can see; on a GPU it does not, the executor has looked.
static void bad_positions_are_refused(void **state) {
    (void)state;
    prob p = prob_make(HY_F32, 1, 4, 4, 2, 8, 8, 0, 0, 1);
    hy_attention_args a = prob_args(&p);
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        hy_plan_req req = req_of(HY_F32, isa, 1);
        hy_launch l = kt_plan(HY_K_attention, &a, &req);
        p.pos[0] = 3;
        assert_int_equal(kt_try(l, &a, &req), HY_EINPUT);
        p.pos[0] = 0, p.len[0] = 5;
        assert_int_equal(kt_try(l, &a, &req), HY_EINPUT);
        p.len[0] = 4;
    }
    prob_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(rule_brute_force),
        kt_cpu_test(gradient_finite_differences),
        kt_cpu_test(ref_f32_against_f64),
        cmocka_unit_test(fast_forward),
        cmocka_unit_test(a_largest_score_that_stays),
        cmocka_unit_test(fast_backward),
        cmocka_unit_test(accumulation_and_null),
        cmocka_unit_test(nan_spreads_as_it_should),
        cmocka_unit_test(bad_input_is_refused),
        kt_cpu_test(bad_positions_are_refused),
    };
    return kt_group(tests);
}
