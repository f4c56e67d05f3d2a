// test_bf16.c - kernels whose weight matrix is bfloat16 (linear, embed, lm_loss) against the same kernels on the same
// weights in float32: every path, odd shapes, threads, and what is refused. That whole models agree is
// test_bf16_model.c's matter.
#include "tests/unit/kernel_test.h"

// Widening is exact and the sums have one order, so results are equal in every bit, with one condition: from 16 rows on
// the library adds, and it reads widened blocks at other strides than a float32 matrix. On AVX-512 machines its order
// does not depend on them; elsewhere it may, and 1200 float32 terms leave a relative error of about sqrt(1200) * 6e-8.
#define LIBRARY_LIMIT 3e-6

// A matrix of random bfloat16 values, and the same as floats. The bfloat16 ones lie at an odd element, as in a mapped
// file, and end where the block ends, so that sanitizers see a read beyond.
typedef struct {
    int rows, cols;
    uint16_t *block, *half;
    float *wide;
} weights;
static weights make(int rows, int cols, uint64_t seed) {
    const size_t n = (size_t)rows * cols;
    weights w = {
        .rows = rows, .cols = cols, .block = malloc((n + 1) * sizeof *w.block), .wide = malloc(n * sizeof *w.wide)};
    w.half = w.block + 1;
    hy_rng r = hy_rng_make(seed, 3);
    for (size_t i = 0; i < n; i++) {
        w.half[i] = hy_bf16_from_f32((float)hy_rng_normal(&r));
        w.wide[i] = hy_f32_from_bf16(w.half[i]);
    }
    return w;
}
static void drop(weights *w) {
    free(w->block);
    free(w->wide);
}

static void same(const kt_mat *a, const kt_mat *b, bool library, const char *what) {
    if (library && hy_isa_best() < HY_ISA_AVX512)
        kt_near(a, b, LIBRARY_LIMIT, what);
    else if (!kt_same_bits(a, b))
        fail_msg("%s: other bits than with float32 weights", what);
    kt_check(a, what);
}

// ---------------------------------------------------------------------------------------------------- linear
static void linear_one(int M, int N, int K, bool extras, int isa, int threads) {
    weights w = make(N, K, 7);
    kt_mat x = kt_new(HY_F32, M, K, K + 3), bias = kt_new(HY_F32, 1, N, N), res = kt_new(HY_F32, M, N, N + 1);
    kt_mat y = kt_new(HY_F32, M, N, N + 2), want = kt_new(HY_F32, M, N, N + 2);
    kt_random(&x, 1, 1, 0), kt_random(&bias, 2, 1, 0), kt_random(&res, 3, 1, 0);
    hy_linear_args a = {.M = M,
                        .N = N,
                        .K = K,
                        .x = x.p,
                        .w = w.wide,
                        .bias = extras ? bias.p : NULL,
                        .residual = extras ? res.p : NULL,
                        .y = want.p,
                        .ldx = x.ld,
                        .ldres = res.ld,
                        .ldy = want.ld};
    hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 1};
    kt_run(HY_K_linear, &a, &req);
    a.w = w.half, a.w_dtype = HY_BF16, a.y = y.p;
    req.threads = threads;
    const hy_launch l = kt_plan(HY_K_linear, &a, &req);
    assert_non_null(strstr(l.path, "bf16 weights"));
    kt_launch(l, &a, &req);
    same(&y, &want, isa != HY_ISA_REF && M >= 16, l.path);
    kt_free(&x), kt_free(&bias), kt_free(&res), kt_free(&y), kt_free(&want);
    drop(&w);
}

static void linear(void **state) {
    (void)state;
    const int shapes[][3] = {
        {1, 1, 1},      {1, 31, 15},   {2, 33, 17},    {3, 5, 67},   {4, 70, 16}, {7, 37, 131},
        {8, 64, 48},    {11, 19, 33},  {15, 45, 400},  {16, 16, 2},  {17, 5, 64}, {40, 515, 385},
        {257, 131, 67}, {300, 530, 3}, {33, 20, 1201}, {1, 700, 100}};  // the last one is large enough for threads
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++)
            for (int threads = 1; threads <= 3; threads++)
                linear_one(shapes[i][0], shapes[i][1], shapes[i][2], i & 1, isa, threads);
}

// ---------------------------------------------------------------------------------------------------- embed
static void embed(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++)
        for (int C = 1; C <= 40; C += 3) {
            const int32_t ids[] = {4, 0, -2, 4, -1, 2, 1};
            weights w = make(5, C, (uint64_t)C);
            kt_mat meta = kt_new(HY_F32, 2, C, C), y = kt_new(HY_F32, 7, C, C + 1), want = kt_new(HY_F32, 7, C, C + 1);
            kt_random(&meta, 9, 1, 0);
            hy_embed_args a = {.rows = 7,
                               .C = C,
                               .V = 5,
                               .m = 2,
                               .ids = ids,
                               .table = w.wide,
                               .meta = meta.p,
                               .y = want.p,
                               .ldy = C + 1};
            hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 2};
            kt_run(HY_K_embed, &a, &req);
            a.table = w.half, a.w_dtype = HY_BF16, a.y = y.p;
            kt_run(HY_K_embed, &a, &req);
            same(&y, &want, false, "embed");
            kt_free(&meta), kt_free(&y), kt_free(&want);
            drop(&w);
        }
}

// ---------------------------------------------------------------------------------------------------- loss
static void loss_one(int rows, int C, int V, int isa, int threads) {
    weights w = make(V, C, 5);
    kt_mat x = kt_new(HY_F32, rows, C, C + 1), nll = kt_new(HY_F32, 1, rows, rows),
           want = kt_new(HY_F32, 1, rows, rows);
    int32_t *labels = hy_xcalloc((size_t)rows * 3, sizeof *labels), *pred = labels + rows, *want_pred = pred + rows;
    hy_rng r = hy_rng_make(2, 2);
    for (int i = 0; i < rows; i++) labels[i] = hy_rng_below(&r, 5) ? (int32_t)hy_rng_below(&r, (uint64_t)V) : -1;
    kt_random(&x, 1, 1, 0);
    hy_lm_loss_args a = {.rows = rows,
                         .C = C,
                         .V = V,
                         .x = x.p,
                         .w = w.wide,
                         .ldx = x.ld,
                         .labels = labels,
                         .nll = want.p,
                         .pred = want_pred};
    hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 1};
    kt_run(HY_K_lm_loss, &a, &req);
    a.w = w.half, a.w_dtype = HY_BF16, a.nll = nll.p, a.pred = pred;
    req.threads = threads;
    kt_run(HY_K_lm_loss, &a, &req);
    same(&nll, &want, isa != HY_ISA_REF, "lm_loss");
    if (isa == HY_ISA_REF || hy_isa_best() >= HY_ISA_AVX512)
        assert_memory_equal(pred, want_pred, (size_t)rows * sizeof *pred);
    kt_free(&x), kt_free(&nll), kt_free(&want);
    free(labels);
    drop(&w);
}
static void loss(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++)
        for (int threads = 1; threads <= 3; threads++) {
            loss_one(1, 1, 1, isa, threads);
            loss_one(5, 7, 3, isa, threads);
            loss_one(37, 19, 67, isa, threads);
            loss_one(600, 5, 700, isa, threads);
            loss_one(20, 401, 530, isa, threads);
        }
}

// ---------------------------------------------------------------------------------------------------- refusals
static void refusals(void **state) {
    (void)state;
    hy_launch l;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 1};
        hy_linear_args a = {.M = 4,
                            .N = 3,
                            .K = 5,
                            .x = HY_PRESENT,
                            .w = HY_PRESENT,
                            .y = HY_PRESENT,
                            .ldx = 5,
                            .ldy = 3,
                            .w_dtype = HY_BF16};
        assert_int_equal(hy_cpu_plan_linear(&a, &req, &l), HY_OK);
        a.w_dtype = HY_F64;
        assert_int_equal(hy_cpu_plan_linear(&a, &req, &l), HY_EINPUT);
        a.w_dtype = HY_BF16;
        hy_linear_bwd_args b = {.f = a, .dy = HY_PRESENT, .dx = HY_PRESENT, .lddy = 3, .lddx = 5};
        assert_int_equal(hy_cpu_plan_linear_bwd(&b, &req, &l), HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), "inference"));
        hy_embed_bwd_args e = {.f = {.rows = 1, .C = 2, .V = 3, .ldy = 2, .w_dtype = HY_BF16}, .lddy = 2};
        assert_int_equal(hy_cpu_plan_embed_bwd(&e, &req, &l), HY_EINPUT);
        hy_lm_loss_bwd_args m = {.f = {.rows = 1, .C = 2, .V = 3, .ldx = 2, .w_dtype = HY_BF16}};
        assert_int_equal(hy_cpu_plan_lm_loss_bwd(&m, &req, &l), HY_EINPUT);
    }
}

// Every bit pattern widens to its value, NaN to NaN.
static void all_values(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        uint16_t *table = malloc(65536 * sizeof *table);
        float *y = malloc(65536 * sizeof *y);
        for (int i = 0; i < 65536; i++) table[i] = (uint16_t)i;
        const int32_t ids[] = {0};
        hy_embed_args a = {
            .rows = 1, .C = 65536, .V = 1, .ids = ids, .table = table, .w_dtype = HY_BF16, .y = y, .ldy = 65536};
        hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 1};
        kt_run(HY_K_embed, &a, &req);
        for (uint32_t i = 0; i < 65536; i++) {
            uint32_t u;
            memcpy(&u, &y[i], 4);
            assert_true(u == i << 16 || (isnan(y[i]) && (i & 0x7fff) > 0x7f80));
        }
        free(table);
        free(y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),   cmocka_unit_test(embed),      cmocka_unit_test(loss),
        cmocka_unit_test(refusals), cmocka_unit_test(all_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
