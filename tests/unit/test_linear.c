// test_linear.c - linear and linear_bwd: gradients, parity of all paths, threads, and what a row depends on.
#include <signal.h>
#include <sys/time.h>

#include "tests/unit/kernel_test.h"

// float32 sums of up to 1500 terms against double: the error grows like sqrt(terms) * 6e-8.
#define LIMIT 3e-6

typedef struct {
    bool bias, residual;
    int pad;   // elements between rows; 0: odd numbers of them, so that nothing but the weights is aligned
    bool f32;  // weights in float32 whatever the activations are
} ctx_t;
static hy_linear_args linear_args(kt_case *c) {
    const ctx_t *x = c->ctx;
    int r = x->bias ? 3 : 2;
    return (hy_linear_args){.M = c->in[0].rows,
                            .N = c->in[1].rows,
                            .K = c->in[0].cols,
                            .x = c->in[0].p,
                            .w = c->in[1].p,
                            .bias = x->bias ? c->in[2].p : NULL,
                            .residual = x->residual ? c->in[r].p : NULL,
                            .w_dtype = x->f32 ? HY_F32 : c->w_dtype,
                            .y = c->out[0].p,
                            .ldx = c->in[0].ld,
                            .ldres = x->residual ? c->in[r].ld : 0,
                            .ldy = c->out[0].ld};
}
static void forward(kt_case *c, const hy_plan_req *req) {
    hy_linear_args a = linear_args(c);
    kt_run(HY_K_linear, &a, req);
}
static void backward(kt_case *c, const hy_plan_req *req) {
    const ctx_t *x = c->ctx;
    int r = x->bias ? 3 : 2;
    hy_linear_bwd_args a = {.f = linear_args(c),
                            .dy = c->dout[0].p,
                            .dx = c->grad[0].p,
                            .dw = c->grad[1].p,
                            .dbias = x->bias ? c->grad[2].p : NULL,
                            .dres = x->residual ? c->grad[r].p : NULL,
                            .lddy = c->dout[0].ld,
                            .lddx = c->grad[0].ld,
                            .lddres = x->residual ? c->grad[r].ld : 0,
                            .acc = c->acc};
    kt_run(HY_K_linear_bwd, &a, req);
}
static kt_case make(int M, int N, int K, const ctx_t *x, uint64_t seed) {
    const int p = x->pad;
    kt_case c = {.n_in = 2,
                 .n_out = 1,
                 .ctx = x,
                 .seed = seed,
                 .forward = forward,
                 .backward = backward,
                 .in_of = {{"x", M, K, K + (p ? p : 3), K + (p ? p : 1), 2, 0, 1, 0, 0},
                           {"w", N, K, 0, 0, 1, 0, 1, 0, x->f32 ? KT_WIDE : KT_MATRIX}},
                 .out_of = {{"y", M, N, N + (p ? p : 2), N + (p ? p : 5), 0, 0, 0, 0, 0}}};
    if (x->bias) c.in_of[c.n_in++] = (kt_operand){"bias", 1, N, 0, 0, 1, 0, 1, 0, 0};
    if (x->residual)
        c.in_of[c.n_in++] = (kt_operand){"residual", M, N, N + (p ? p : 1), N + (p ? p : 4), 2, 1, 1, 0, 0};
    return c;
}

static void small_shapes(void **state) {
    (void)state;
    int shapes[][3] = {{1, 1, 1},    {2, 3, 5},   {7, 33, 17}, {8, 32, 16},
                       {15, 37, 31}, {16, 16, 2}, {17, 5, 64}, {70, 19, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int o = 0; o < 4; o++) {  // neither, bias alone, residual alone, both
            ctx_t x = {o & 1, o & 2, 0, false};
            kt_case c = make(shapes[i][0], shapes[i][1], shapes[i][2], &x, 60 + i);
            kt_all(&c, LIMIT);
        }
}

// More than one tile along every side, ends that do not fit, partial sums of the weight gradient.
static void tiled_shapes(void **state) {
    (void)state;
    int shapes[][3] = {{257, 131, 67}, {271, 20, 400}, {300, 530, 3}, {1100, 20, 24},
                       {2048, 3, 2},   {40, 20, 1201}, {9, 700, 29}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        ctx_t x = {true, i & 1, 0, false};
        kt_case c = make(shapes[i][0], shapes[i][1], shapes[i][2], &x, 80 + i);
        for (int path = KT_FIRST_FAST; path < kt_n_paths(); path++) kt_parity(&c, path, path & 1 ? ~0u : 0, LIMIT);
    }
}

// Rows that are aligned, one to a batch as large as those of decoding, and one that is none: kernels that load wide,
// take turns along K (2104), and end in the middle of both. With weights in float32 and with residual or bias alone.
static void aligned_shapes(void **state) {
    (void)state;
    int shapes[][3] = {{1, 5, 8},    {1, 16, 2104}, {2, 9, 264},  {3, 70, 512}, {7, 4, 1032},
                       {11, 9, 520}, {15, 33, 264}, {16, 24, 64}, {33, 40, 72}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int o = 0; o < 3; o++) {
            ctx_t x = {o == 1, o == 2, 8, o == 1};
            kt_case c = make(shapes[i][0], shapes[i][1], shapes[i][2], &x, 100 + i);
            for (int path = KT_FIRST_FAST; path < kt_n_paths(); path++) kt_parity(&c, path, o == 2 ? ~0u : 0, LIMIT);
        }
}

static void product(int path, const kt_mat *x, int first, int rows, const kt_mat *w, const kt_mat *y) {
    const size_t size = hy_dtype_size(x->dt);
    hy_linear_args a = {.M = rows,
                        .N = w->rows,
                        .K = w->cols,
                        .x = (const char *)x->p + (size_t)first * (size_t)x->ld * size,
                        .w = w->p,
                        .w_dtype = w->dt,
                        .y = y->p,
                        .ldx = x->ld,
                        .ldy = y->ld};
    hy_plan_req req = kt_req(path, 2, false);
    kt_run(HY_K_linear, &a, &req);
}

// Decoding: the bits of a row are the same alone and in any batch of fewer than 16 rows, however they lie.
static void few_rows_are_independent(void **state) {
    (void)state;
    for (int wide = 0; wide < 2; wide++)
        for (int path = KT_FIRST_FAST; path < kt_n_paths(); path++) {
            const hy_dtype dt = kt_req(path, 1, false).dtype;
            const int N = wide && KT_CUDA ? 21 : 45, K = wide ? 512 : 77;
            kt_mat x = kt_new(dt, 15, K, K + 8), w = kt_new(dt, N, K, K), odd = kt_new(dt, 15, K, K + 3);
            kt_mat one = kt_new(dt, 1, N, N), all = kt_new(dt, 15, N, N), moved = kt_new(dt, 15, N, N + 1);
            kt_random(&x, 1, 1, 0), kt_random(&w, 2, 1, 0);
            kt_copy(&odd, &x);
            for (int M = 1; M <= 15; M += KT_CUDA ? 2 : 1) {
                product(path, &x, 0, M, &w, &all);
                product(path, &odd, 0, M, &w, &moved);
                for (int m = 0; m < M; m++) {
                    product(path, &x, m, 1, &w, &one);
                    kt_same_rows(&one, 0, &all, m, 1, "a row alone");
                    if (KT_CUDA) kt_same_rows(&moved, m, &all, m, 1, "rows at odd places");
                }
            }
            kt_free(&x), kt_free(&w), kt_free(&odd), kt_free(&one), kt_free(&all), kt_free(&moved);
        }
}

// bfloat16 weights under float32 activations: what the same weights give in float32. Many rows: widened in several
// pieces. (test_bf16.c has more for the CPU.)
static void bf16_weights(void **state) {
    (void)state;
    const int shapes[][3] = {{1, 9, 33}, {5, 21, 264}, {15, 4, 40}, {16, 40, 67}, {33, 131, 40}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int path = 0; path < kt_n_paths(); path++) {
            if (kt_req(path, 1, false).dtype == HY_BF16) continue;
            const int M = shapes[i][0], N = shapes[i][1], K = shapes[i][2];
            kt_mat x = kt_new(HY_F32, M, K, K), narrow = kt_new(HY_BF16, N, K, K), wide = kt_new(HY_F32, N, K, K);
            kt_mat y = kt_new(HY_F32, M, N, N + 1), want = kt_new(HY_F32, M, N, N + 1);
            kt_random(&x, i, 1, 0), kt_random(&narrow, 2, 1, 0);
            kt_copy(&wide, &narrow);
            product(path, &x, 0, M, &wide, &want);
            product(path, &x, 0, M, &narrow, &y);
            kt_near(&y, &want, LIMIT, "bfloat16 weights");  // a library may add in another order when N is another
            kt_check(&y, "y");
            kt_free(&x), kt_free(&narrow), kt_free(&wide), kt_free(&y), kt_free(&want);
        }
}

// Training and prefill: from 16 rows on, a row's bits depend on neither the number of rows nor its place among them, so
// a prompt gives the same in a padded batch. This rests on how the library adds on AVX-512 machines: elsewhere it is
// skipped.
static void many_rows_are_independent(void **state) {
    (void)state;
    if (hy_isa_best() < HY_ISA_AVX512) skip();
    int shapes[][2] = {{5, 2}, {33, 64}, {300, 385}, {128, 1408}, {400, 889}, {381, 798}, {530, 256}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int N = shapes[i][0], K = shapes[i][1], M = 700;
        kt_mat x = kt_new(HY_F32, M, K, K), w = kt_new(HY_F32, N, K, K), all = kt_new(HY_F32, M, N, N),
               some = kt_new(HY_F32, M, N, N);
        kt_random(&x, 1, 1, 0), kt_random(&w, 2, 1, 0);
        product(HY_ISA_AVX512, &x, 0, M, &w, &all);
        int first[] = {0, 3, 200, 441, 684, 100}, rows[] = {257, 16, 271, 259, 16, 82};
        for (int j = 0; j < 6; j++) {
            product(HY_ISA_AVX512, &x, first[j], rows[j], &w, &some);
            for (int m = 0; m < rows[j]; m++)
                for (int n = 0; n < N; n++) assert_true(kt_at(&some, m, n) == kt_at(&all, first[j] + m, n));
        }
        kt_free(&x), kt_free(&w), kt_free(&all), kt_free(&some);
    }
}

static void no_rows(void **state) {
    (void)state;
    for (int path = 0; path < kt_n_paths(); path++) {
        ctx_t x = {true, false, 0, false};
        kt_case c = make(1, 4, 3, &x, 1);
        hy_plan_req req = kt_req(path, 2, false);
        kt_case_open(&c, req.dtype, 0);
        hy_linear_args a = linear_args(&c);
        a.M = 0;
        kt_run(HY_K_linear, &a, &req);
        hy_linear_bwd_args b = {
            .f = a, .dy = c.dout[0].p, .dw = c.grad[1].p, .dbias = c.grad[2].p, .lddy = c.dout[0].ld};
        kt_mat before = kt_new(c.grad[1].dt, 4, 3, 3);
        kt_copy(&before, &c.grad[1]);
        kt_run(HY_K_linear_bwd, &b, &req);
        assert_true(kt_same_bits(&before, &c.grad[1]));
        kt_free(&before);
        kt_case_close(&c);
    }
}

static hy_status plan(hy_kernel_id id, const void *args, const hy_plan_req *req) {
    hy_launch l;
    return (KT_CUDA ? kt_device()->plan[id] : kt_plan_of(id))(args, req, &l);
}
static void refusals(void **state) {
    (void)state;
    hy_plan_req req = {.dtype = HY_F32, .isa = hy_isa_best(), .threads = 1};
    hy_linear_args a = {.M = 4, .N = 3, .K = 5, .x = HY_PRESENT, .w = HY_PRESENT, .y = HY_PRESENT, .ldx = 4, .ldy = 3};
    assert_int_equal(plan(HY_K_linear, &a, &req), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "linear"));
    a.ldx = 5;
    assert_int_equal(plan(HY_K_linear, &a, &req), HY_OK);
    a.w_dtype = HY_BF16;
    hy_linear_bwd_args b = {.f = a, .dy = HY_PRESENT, .dx = HY_PRESENT, .lddy = 3, .lddx = 5};
    assert_int_equal(plan(HY_K_linear_bwd, &b, &req), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "inference"));
    req.dtype = HY_BF16;  // the GPU computes in it, the CPU does not
    assert_int_equal(plan(HY_K_linear, &a, &req), KT_CUDA ? HY_OK : HY_EINPUT);
    assert_int_equal(plan(HY_K_linear_bwd, &b, &req), KT_CUDA ? HY_OK : HY_EINPUT);
    req.dtype = HY_F64, a.w_dtype = HY_F64;
    assert_int_equal(plan(HY_K_linear, &a, &req), KT_CUDA ? HY_EINPUT : HY_OK);
}

// A signal may come at any moment of a product, and its handler needs stack: nothing else may be written over.
static volatile sig_atomic_t signals;
static void count_signal(int sig) {
    (void)sig;
    signals++;
}

static void signals_harm_nothing(void **state) {
    (void)state;
    struct sigaction before, storm = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &storm, &before);
    const struct itimerval every = {{0, 100}, {0, 100}}, never = {0};
    setitimer(ITIMER_REAL, &every, NULL);
    const ctx_t x = {true, true, 0, false};
    for (int i = 0; i < 20 || signals < 200; i++) {
        kt_case c = make(128, 64 + i % 3, 64, &x, 200 + (uint64_t)i);
        kt_parity(&c, (int)hy_isa_best(), ~0u, LIMIT);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_shapes),
        cmocka_unit_test(tiled_shapes),
        cmocka_unit_test(aligned_shapes),
        cmocka_unit_test(few_rows_are_independent),
        kt_cpu_test(many_rows_are_independent),
        cmocka_unit_test(bf16_weights),
        cmocka_unit_test(no_rows),
        cmocka_unit_test(refusals),
        kt_cpu_test(signals_harm_nothing),
    };
    return kt_group(tests);
}
