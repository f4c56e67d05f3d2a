// test_scan.c - the selective scan: gradients against finite differences in double, every path (a fast build; in the
// CUDA mode a precision) against the double reference over odd shapes, accumulation, ragged batches, states, extremes,
// threads.
#include "tests/unit/kernel_test.h"

// Central differences with step H in double leave about H^2 + 1e-16 / H, relative: 1e-8 at most here.
#define FD_STEP 1e-5
#define FD_TOL 1e-6
// Float against double on the same inputs: a few roundings (6e-8) per token, summed over the memory of a state.
#define FWD_TOL 2e-6
#define BWD_TOL 5e-6
// Where all decays are as small as exp(-80), the rounding of the exponent (80 * 6e-8, relative) is the error of the
// result.
#define EXTREME_TOL 2e-5

// Of a path: outputs, gradients of activations, gradients of parameters. In bfloat16 those of kernel_test.h.
enum { OUT, GRAD, PARAM };
static double tolerance(int path, int of) {
    if (kt_req(path, 1, true).dtype != HY_BF16) return of == OUT ? FWD_TOL : BWD_TOL;
    return of == OUT ? kt_limits[KT_BF16].out : of == GRAD ? kt_limits[KT_BF16].grad : kt_limits[KT_BF16].param;
}
static hy_dtype type_of(int path) { return kt_req(path, 1, true).dtype; }

enum { X, DT, A_LOG, BM, CM, SKIP, GATE, INPUTS };
static const char *const input_names[INPUTS] = {"x", "dt", "A_log", "B", "C", "skip", "gate"};
static const unsigned acc_bit[INPUTS] = {1, 2, 0, 4, 8, 0, 16};

// ||a - b|| / ||b||, or ||a|| where b is zero, at most tol.
static void near(const kt_mat *a, const kt_mat *b, double tol, const char *name, const char *what) {
    double diff = 0, norm = 0;
    for (int r = 0; r < b->rows; r++)
        for (int c = 0; c < b->cols; c++) {
            const double x = kt_at(a, r, c), y = kt_at(b, r, c);
            diff += (x - y) * (x - y);
            norm += y * y;
        }
    const double e = sqrt(norm > 0 ? diff / norm : diff);
    if (!(e <= tol)) fail_msg("%s: %s is off by %.3g, allowed %.3g", what, name, e, tol);
}
static void same_rows(const kt_mat *a, int ra, const kt_mat *b, int rb, int n, const char *name, const char *what) {
    char text[128];
    snprintf(text, sizeof text, "%s: %s", what, name);
    kt_same_rows(a, ra, b, rb, n, text);
}
static bool finite_values(const kt_mat *m) {
    for (int r = 0; r < m->rows; r++)
        for (int c = 0; c < m->cols; c++)
            if (!isfinite(kt_at(m, r, c))) return false;
    return true;
}

// One scan with everything it reads and writes.
typedef struct {
    int B, T, D, N;
    int32_t *len;
    kt_mat in[INPUTS], grad[INPUTS];
    kt_mat y, dy, state, saved;
} problem;

static problem problem_new(hy_dtype dtype, int B, int T, int D, int N, bool gate, bool skip, int pad, uint64_t seed) {
    problem p = {.B = B, .T = T, .D = D, .N = N, .len = kt_alloc((size_t)B * sizeof(int32_t))};
    const int rows = B * T, shape[INPUTS][3] = {{rows, D, pad},           {rows, D, 2 * pad}, {D, N, 0},
                                                {rows, N, pad},           {rows, N, 3 * pad}, {skip, D, 0},
                                                {gate ? rows : 0, D, pad}};
    for (int b = 0; b < B; b++) p.len[b] = T;
    for (int i = 0; i < INPUTS; i++) {
        const hy_dtype dt = i == A_LOG || i == SKIP ? kt_wide(dtype) : dtype;
        p.in[i] = kt_new_padded(dt, shape[i][0], shape[i][1], shape[i][2]);
        p.grad[i] = kt_new_padded(dt, shape[i][0], shape[i][1], i == A_LOG || i == SKIP ? 0 : (i + 1) * pad);
        kt_random(&p.in[i], hy_mix64(seed, (uint64_t)i), 1, i == DT ? -2 : i == A_LOG ? 0.5 : 0);
        kt_fill(&p.grad[i], 0);
    }
    p.y = kt_new_padded(dtype, rows, D, pad);
    p.dy = kt_new_padded(dtype, rows, D, 3 * pad);
    kt_fill(&p.y, NAN);
    kt_random(&p.dy, hy_mix64(seed, INPUTS), 1, 0);
    return p;
}
static void problem_free(problem *p) {
    for (int i = 0; i < INPUTS; i++) kt_free(&p->in[i]), kt_free(&p->grad[i]);
    kt_free(&p->y), kt_free(&p->dy), kt_free(&p->state), kt_free(&p->saved);
    kt_release(p->len);
}
static void problem_check_guards(const problem *p) {
    for (int i = 0; i < INPUTS; i++) {
        kt_check(&p->in[i], input_names[i]);
        kt_check(&p->grad[i], input_names[i]);
    }
    kt_check(&p->y, "y"), kt_check(&p->dy, "dy");
    kt_check(&p->state, "state"), kt_check(&p->saved, "saved");
}

// path: of kernel_memory.h; float64 operands go to the oracle whatever it is.
static hy_plan_req request(const problem *p, int path, int threads, bool training) {
    return p->y.dt == HY_F64 ? kt_oracle(training) : kt_req(path, threads, training);
}
static hy_scan_args forward_args(const problem *p) {
    const kt_mat *in = p->in;
    return (hy_scan_args){.B = p->B,
                          .T = p->T,
                          .D = p->D,
                          .N = p->N,
                          .x = in[X].p,
                          .dt = in[DT].p,
                          .A_log = in[A_LOG].p,
                          .Bm = in[BM].p,
                          .Cm = in[CM].p,
                          .skip = in[SKIP].p,
                          .gate = in[GATE].p,
                          .y = p->y.p,
                          .ldx = in[X].ld,
                          .lddt = in[DT].ld,
                          .ldB = in[BM].ld,
                          .ldC = in[CM].ld,
                          .ldgate = in[GATE].ld,
                          .ldy = p->y.ld,
                          .state = p->state.p,
                          .len = kt_dev(p->y.dt, p->len),
                          .saved = p->saved.p};
}
static void forward(problem *p, int path, int threads, bool training) {
    hy_plan_req req = request(p, path, threads, training);
    hy_scan_args a = forward_args(p);
    kt_free(&p->saved);
    if (training) {
        const hy_launch launch = kt_plan(HY_K_scan, &a, &req);
        assert_true(launch.saved > 0);
        p->saved = kt_new_saved(p->y.dt, launch.saved);
    }
    a.saved = p->saved.p;
    kt_run(HY_K_scan, &a, &req);
}
static hy_scan_bwd_args backward_args(const problem *p, unsigned acc) {
    const kt_mat *g = p->grad;
    return (hy_scan_bwd_args){.f = forward_args(p),
                              .dy = p->dy.p,
                              .dx = g[X].p,
                              .ddt = g[DT].p,
                              .dA_log = g[A_LOG].p,
                              .dBm = g[BM].p,
                              .dCm = g[CM].p,
                              .dskip = g[SKIP].p,
                              .dgate = g[GATE].p,
                              .lddy = p->dy.ld,
                              .lddx = g[X].ld,
                              .ldddt = g[DT].ld,
                              .lddB = g[BM].ld,
                              .lddC = g[CM].ld,
                              .lddgate = g[GATE].ld,
                              .acc = acc};
}
static void backward(problem *p, int path, int threads, unsigned acc) {
    hy_plan_req req = request(p, path, threads, true);
    hy_scan_bwd_args a = backward_args(p, acc);
    kt_run(HY_K_scan_bwd, &a, &req);
}

// ---------------------------------------------------------------------------------------------------- gradients
static double loss(problem *p) {
    double sum = 0;
    forward(p, 0, 1, false);
    for (int r = 0; r < p->y.rows; r++)
        for (int c = 0; c < p->D; c++) sum += kt_at(&p->y, r, c) * kt_at(&p->dy, r, c);
    return sum;
}
static void check_gradients(int T, bool gate, bool skip) {
    problem p = problem_new(HY_F64, 2, T, 2, 2, gate, skip, 1, (uint64_t)T);
    p.len[1] = T - 1;
    forward(&p, 0, 1, true);
    backward(&p, 0, 1, 0);
    for (int i = 0; i < INPUTS; i++) {
        kt_mat fd = kt_new_padded(HY_F64, p.in[i].rows, p.in[i].cols, 0);
        for (int r = 0; r < fd.rows; r++)
            for (int c = 0; c < fd.cols; c++) {
                const double v = kt_at(&p.in[i], r, c);
                kt_put(&p.in[i], r, c, v + FD_STEP);
                const double up = loss(&p);
                kt_put(&p.in[i], r, c, v - FD_STEP);
                const double down = loss(&p);
                kt_put(&p.in[i], r, c, v);
                kt_put(&fd, r, c, (up - down) / (2 * FD_STEP));
            }
        near(&p.grad[i], &fd, FD_TOL, input_names[i], "finite differences");
        kt_free(&fd);
    }
    problem_check_guards(&p);
    problem_free(&p);
}
static void test_gradients(void **unused) {
    (void)unused;
    for (int i = 0; i < 4; i++) check_gradients(5, i & 1, i & 2);
    check_gradients(66, true, true);  // over a chunk
}

// ---------------------------------------------------------------------------------------------- fast against reference
// The same numbers in float64.
static problem as_double(const problem *q) {
    problem r = problem_new(HY_F64, q->B, q->T, q->D, q->N, q->in[GATE].rows, q->in[SKIP].rows, 0, 1);
    memcpy(r.len, q->len, (size_t)q->B * sizeof *r.len);
    for (int i = 0; i < INPUTS; i++) kt_copy(&r.in[i], &q->in[i]);
    kt_copy(&r.dy, &q->dy);
    return r;
}
static void check_path(int path, int B, int T, int D, int N, bool gate, bool skip, int pad) {
    char what[128];
    snprintf(what, sizeof what, "%s B %d T %d D %d N %d gate %d skip %d", kt_path_name(path), B, T, D, N, gate, skip);
    problem p = problem_new(type_of(path), B, T, D, N, gate, skip, pad, (uint64_t)(T * 1000003 + D * 1009 + N));
    if (B > 1) p.len[B - 1] = T / 2;
    problem ref = as_double(&p);
    forward(&ref, path, 1, true);
    backward(&ref, path, 1, 0);
    for (int i = 0; i < INPUTS; i++) kt_fill(&p.grad[i], acc_bit[i] ? NAN : 0);
    forward(&p, path, 2, true);
    backward(&p, path, 2, 0);
    near(&p.y, &ref.y, tolerance(path, OUT), "y", what);
    for (int i = 0; i < INPUTS; i++)
        near(&p.grad[i], &ref.grad[i], tolerance(path, acc_bit[i] ? GRAD : PARAM), input_names[i], what);
    problem_check_guards(&p);
    problem_free(&p), problem_free(&ref);
}
static void check_shape(int B, int T, int D, int N, bool gate, bool skip, int pad) {
    for (int path = 0; path < kt_n_paths(); path++)
        if (!KT_CUDA || path != KT_TF32) check_path(path, B, T, D, N, gate, skip, pad);
}
// Of the GPU: tiles of 8 tokens forward, chunks of 16 and pairs backward, blocks of 16 states; 1, 2 or 4 channels a
// lane as there are few or many (32, 64 or 128 a block), which depends on the GPU: the last two have many on any, the
// three before on the emulated one.
static void test_shapes_cuda(void **unused) {
    (void)unused;
    check_shape(1, 1, 1, 1, true, true, 0);
    check_shape(2, 2, 33, 16, true, false, 1);
    check_shape(1, 9, 3, 15, false, true, 2);
    check_shape(2, 17, 31, 16, true, true, 8);
    check_shape(1, 33, 130, 16, true, true, 0);
    check_shape(2, 15, 5, 17, true, true, 3);
    check_shape(1, 16, 2, 40, false, false, 0);
    check_shape(1, 18, 67, 64, true, true, 1);
    check_shape(3, 19, 66, 16, true, true, 4);
    check_shape(3, 8, 127, 4, false, true, 1);
    check_shape(5, 35, 129, 16, true, true, 1);
    check_shape(8, 3, 2112, 16, true, true, 0);
    check_shape(8, 3, 6400, 16, true, true, 0);
    check_path(KT_TF32, 2, 17, 31, 16, true, true, 8);
}
static void test_shapes(void **unused) {
    (void)unused;
    static const int Ts[] = {1, 2, 3, 15, 16, 17, 63, 64, 65, 130, 257}, Ds[] = {1, 3, 15, 16, 17, 48, 67},
                     Ns[] = {1, 3, 4, 8, 15, 16, 17, 64};
    int i = 0;
    // every T with every D, N in turn (8 is no divisor of 77: all pairs of N with T and D occur over the list)
    for (int t = 0; t < 11; t++)
        for (int d = 0; d < 7; d++, i++) {
            const int N = Ns[(i + t) % 8], B = Ts[t] < 100 ? 1 + i % 3 : 1;
            check_shape(B, Ts[t], Ds[d], N, i & 1, i & 2, i % 4 ? i % 4 : 0);
        }
    check_shape(1, 18, 530, 5, true, true, 0);  // more than one group of channel blocks
    check_shape(2, 5, 17, 256, true, true, 1);
    check_shape(1, 3, 2, 300, false, true, 0);
}

// ---------------------------------------------------------------------------------------------------- accumulation
static void test_accumulation(void **unused) {
    (void)unused;
    for (int path = 0; path < kt_n_paths(); path++)
        for (int bit = 0; bit < INPUTS; bit++) {
            problem p = problem_new(type_of(path), 2, 19, 18, 5, true, true, 1, 7),
                    q = problem_new(type_of(path), 2, 19, 18, 5, true, true, 1, 7);
            p.len[1] = 9, q.len[1] = 9;
            forward(&p, path, 1, true), forward(&q, path, 1, true);
            backward(&p, path, 1, 0);
            // first micro-step overwrites, the second adds where its bit is set; parameters always add
            for (int i = 0; i < INPUTS; i++) kt_fill(&q.grad[i], acc_bit[i] ? NAN : 0);
            backward(&q, path, 1, 0);
            backward(&q, path, 1, acc_bit[bit]);
            for (int i = 0; i < INPUTS; i++) {
                const bool doubled = !acc_bit[i] || i == bit;
                for (int r = 0; r < p.grad[i].rows; r++)
                    for (int c = 0; c < p.grad[i].cols; c++)
                        kt_put(&p.grad[i], r, c, (doubled ? 2 : 1) * kt_at(&p.grad[i], r, c));
                near(&q.grad[i], &p.grad[i], tolerance(path, OUT), input_names[i], "two micro-steps");
                for (int r = 0; r < p.grad[i].rows; r++)
                    for (int c = 0; c < p.grad[i].cols; c++)
                        kt_put(&p.grad[i], r, c, kt_at(&p.grad[i], r, c) / (doubled ? 2 : 1));
            }
            problem_free(&p), problem_free(&q);
        }
}

// Any gradient may be unwanted; the others keep their bits.
static void test_unwanted_gradients(void **unused) {
    (void)unused;
    for (int path = 0; path < kt_n_paths(); path++) {
        problem p = problem_new(type_of(path), 2, 19, 18, 5, true, true, 1, 7);
        forward(&p, path, 1, true);
        backward(&p, path, 1, 0);
        for (int without = 0; without < INPUTS; without++) {
            problem q = problem_new(type_of(path), 2, 19, 18, 5, true, true, 1, 7);
            forward(&q, path, 1, true);
            kt_free(&q.grad[without]);
            backward(&q, path, 1, 0);
            for (int i = 0; i < INPUTS; i++)
                if (i != without)
                    same_rows(&q.grad[i], 0, &p.grad[i], 0, p.grad[i].rows, input_names[i], "unwanted gradient");
            problem_free(&q);
        }
        problem_free(&p);
    }
}

// ---------------------------------------------------------------------------------------------------- bits
static void test_threads(void **unused) {
    (void)unused;
    for (int path = 0; path < kt_n_paths(); path++) {
        problem p[2];
        for (int i = 0; i < 2; i++) {
            p[i] = problem_new(type_of(path), 3, 70, 150, 16, true, true, 0, 3);
            p[i].len[1] = 33;
            forward(&p[i], path, 1 + 2 * i, true);
            backward(&p[i], path, 1 + 2 * i, 0);
        }
        same_rows(&p[0].y, 0, &p[1].y, 0, p[0].y.rows, "y", "1 and 3 threads");
        for (int i = 0; i < INPUTS; i++)
            same_rows(&p[0].grad[i], 0, &p[1].grad[i], 0, p[0].grad[i].rows, input_names[i], "1 and 3 threads");
        problem_free(&p[0]), problem_free(&p[1]);
    }
}

// Copies rows [t0, t0 + n) of sequence b of every input of p into sequence c of q, from its row 0 on.
static void copy_rows(problem *q, int c, const problem *p, int b, int t0, int n) {
    static const int rowwise[] = {X, DT, BM, CM, GATE};
    for (int k = 0; k < 5; k++)
        for (int t = 0; t < n; t++)
            for (int j = 0; j < p->in[rowwise[k]].cols; j++)
                kt_put(&q->in[rowwise[k]], c * q->T + t, j, kt_at(&p->in[rowwise[k]], b * p->T + t0 + t, j));
}
static void copy_parameters(problem *q, const problem *p) {
    for (int i = 0; i < INPUTS; i++)
        if (i == A_LOG || i == SKIP)
            for (int r = 0; r < p->in[i].rows; r++)
                for (int c = 0; c < p->in[i].cols; c++) kt_put(&q->in[i], r, c, kt_at(&p->in[i], r, c));
}

// A sequence in pieces, the state carried along, against the whole: same bits, outputs and final state.
static void check_pieces(int path, int T, int D, int N, int piece) {
    problem whole = problem_new(type_of(path), 1, T, D, N, true, true, 1, 11);
    whole.state = kt_new_padded(HY_F32, D, N, 0);
    kt_fill(&whole.state, 0);
    forward(&whole, path, 2, false);
    kt_mat state = kt_new_padded(HY_F32, 2 * D, N, 0);
    kt_fill(&state, 0);
    for (int t = 0; t < T; t += piece) {
        const int n = T - t < piece ? T - t : piece;
        problem p = problem_new(type_of(path), 2, n, D, N, true, true, 0, 5);
        copy_parameters(&p, &whole);
        copy_rows(&p, 1, &whole, 0, t, n);
        p.state = state;
        forward(&p, path, 1, false);
        same_rows(&p.y, n, &whole.y, t, n, "y", "pieces");
        problem_check_guards(&p);
        p.state = (kt_mat){0};
        problem_free(&p);
    }
    same_rows(&state, D, &whole.state, 0, D, "state", "pieces");
    kt_check(&whole.state, "state");
    kt_free(&state);
    problem_free(&whole);
}
static void test_pieces(void **unused) {
    (void)unused;
    for (int path = 0; path < kt_n_paths(); path++) {
        static const int pieces[] = {1, 2, 7, 16, 33};
        for (int i = 0; i < 5; i++) {
            check_pieces(path, 50, 35, 16, pieces[i]);
            check_pieces(path, 35, 7, 5, pieces[i]);
        }
        check_pieces(path, 5, 48, 64, 1);
    }
}

// Sequences of different lengths in one padded batch against each alone: same bits; padding gives zeros, whatever is
// there.
static void test_ragged(void **unused) {
    (void)unused;
    static const int lens[4] = {37, 1, 20, 0};
    for (int path = 0; path < kt_n_paths(); path++) {
        problem batch = problem_new(type_of(path), 4, 37, 21, 16, true, true, 1, 13);
        batch.state = kt_new_padded(HY_F32, 4 * 21, 16, 0);
        kt_fill(&batch.state, 0.25);
        for (int b = 0; b < 4; b++) {
            batch.len[b] = lens[b];
            for (int t = lens[b]; t < 37; t++) {
                static const int rowwise[] = {X, DT, BM, CM, GATE};
                for (int k = 0; k < 5; k++)
                    for (int c = 0; c < batch.in[rowwise[k]].cols; c++)
                        kt_put(&batch.in[rowwise[k]], b * 37 + t, c, NAN);
            }
        }
        forward(&batch, path, 2, false);
        for (int b = 0; b < 4; b++) {
            for (int t = lens[b]; t < 37; t++)
                for (int c = 0; c < 21; c++) assert_true(kt_at(&batch.y, b * 37 + t, c) == 0);
            if (!lens[b]) {
                for (int r = 0; r < 21; r++) assert_true(kt_at(&batch.state, b * 21 + r, 15) == 0.25);
                continue;
            }
            problem one = problem_new(type_of(path), 1, lens[b], 21, 16, true, true, 0, 1);
            copy_parameters(&one, &batch);
            copy_rows(&one, 0, &batch, b, 0, lens[b]);
            one.state = kt_new_padded(HY_F32, 21, 16, 0);
            kt_fill(&one.state, 0.25);
            forward(&one, path, 1, false);
            same_rows(&one.y, 0, &batch.y, b * 37, lens[b], "y", "padded batch");
            same_rows(&one.state, 0, &batch.state, b * 21, 21, "state", "padded batch");
            problem_free(&one);
        }
        problem_check_guards(&batch);
        // gradients: rows of padding get zeros, or keep what is there, each by its own bit
        kt_free(&batch.state);
        forward(&batch, path, 1, true);
        static const unsigned bits[] = {0, 1, 2, 4, 8, 16, 31};
        for (int k = 0; k < 7; k++) {
            const unsigned acc = bits[k];
            for (int i = 0; i < INPUTS; i++) kt_fill(&batch.grad[i], acc & acc_bit[i] || !acc_bit[i] ? 3 : NAN);
            backward(&batch, path, 1, acc);
            for (int i = 0; i < INPUTS; i++) {
                assert_true(finite_values(&batch.grad[i]));
                for (int b = 0; acc_bit[i] && b < 4; b++)
                    for (int t = lens[b]; t < 37; t++)
                        assert_true(kt_at(&batch.grad[i], b * 37 + t, 0) == (acc & acc_bit[i] ? 3 : 0));
            }
        }
        problem_check_guards(&batch);
        problem_free(&batch);
    }
}

// ---------------------------------------------------------------------------------------------------- extremes
// No NaN or infinity where the result is finite, and agreement with double. softplus(-100) = 4e-44 has no precision in
// float: that case only has to stay finite.
static void test_extremes(void **unused) {
    (void)unused;
    static const struct {
        double dt, A_log, x;
    } cases[] = {{-40, 0.5, 1},  {40, 0.5, 1}, {0, 12, 1},  {40, 5, 1},   {0, 0.5, 1e4},
                 {-100, 0.5, 1}, {100, 3, 1},  {-3, 80, 1}, {-10, -40, 1}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int path = 0; path < kt_n_paths(); path++) {
            problem p = problem_new(type_of(path), 1, 40, 19, 16, true, true, 0, 17);
            for (int r = 0; r < 40; r++)
                for (int c = 0; c < 19; c++) {
                    kt_put(&p.in[DT], r, c, cases[k].dt + kt_at(&p.in[DT], r, c));
                    kt_put(&p.in[X], r, c, cases[k].x * kt_at(&p.in[X], r, c));
                    kt_put(&p.in[GATE], r, c, (r % 3 - 1) * 30 + kt_at(&p.in[GATE], r, c));
                }
            for (int r = 0; r < 19; r++)
                for (int c = 0; c < 16; c++) kt_put(&p.in[A_LOG], r, c, cases[k].A_log + 0.1 * c);
            problem ref = as_double(&p);
            forward(&ref, path, 1, true), backward(&ref, path, 1, 0);
            forward(&p, path, 1, true), backward(&p, path, 1, 0);
            char what[64];
            snprintf(what, sizeof what, "%s dt %g A_log %g x %g", kt_path_name(path), cases[k].dt, cases[k].A_log,
                     cases[k].x);
            const double tol = cases[k].dt < -80 ? 1 : type_of(path) == HY_BF16 ? tolerance(path, GRAD) : EXTREME_TOL;
            near(&p.y, &ref.y, tol, "y", what);
            for (int i = 0; i < INPUTS; i++) {
                if (!finite_values(&p.grad[i])) fail_msg("%s: gradient of %s is not finite", what, input_names[i]);
                near(&p.grad[i], &ref.grad[i], tol, input_names[i], what);
            }
            problem_free(&p), problem_free(&ref);
        }
}

// ---------------------------------------------------------------------------------------------------- plans
static void test_plan_refuses(void **unused) {
    (void)unused;
    problem p = problem_new(HY_F32, 1, 4, 4, 4, true, true, 0, 1);
    const hy_plan_req req = request(&p, hy_isa_best(), 1, true);
    hy_launch launch;
    hy_scan_args a = forward_args(&p);
    a.N = 0;
    assert_int_equal(hy_cpu_plan_scan(&a, &req, &launch), HY_EINPUT);
    a = forward_args(&p), a.ldx = 3;
    assert_int_equal(hy_cpu_plan_scan(&a, &req, &launch), HY_EINPUT);
    a = forward_args(&p), a.ldC = 3;
    assert_int_equal(hy_cpu_plan_scan(&a, &req, &launch), HY_EINPUT);
    hy_scan_bwd_args g = backward_args(&p, 0);
    g.f.state = HY_PRESENT;
    assert_int_equal(hy_cpu_plan_scan_bwd(&g, &req, &launch), HY_EINPUT);
    g = backward_args(&p, 0), g.lddB = 3;
    assert_int_equal(hy_cpu_plan_scan_bwd(&g, &req, &launch), HY_EINPUT);
    hy_plan_req bf16 = req;
    bf16.dtype = HY_BF16;
    a = forward_args(&p);
    assert_int_equal(hy_cpu_plan_scan(&a, &bf16, &launch), HY_EINPUT);
    problem_free(&p);
}

static void test_plan_refuses_cuda(void **unused) {
    (void)unused;
    problem p = problem_new(HY_F32, 1, 4, 4, 4, true, true, 0, 1);
    hy_plan_req req = kt_req(KT_F32, 1, true);
    const hy_plan_fn plan = kt_device()->plan[HY_K_scan], plan_bwd = kt_device()->plan[HY_K_scan_bwd];
    hy_launch launch;
    hy_scan_args a = forward_args(&p);
    a.N = 0;
    assert_int_equal(plan(&a, &req, &launch), HY_EINPUT);
    a = forward_args(&p), a.lddt = 3;
    assert_int_equal(plan(&a, &req, &launch), HY_EINPUT);
    hy_scan_bwd_args g = backward_args(&p, 0);
    g.f.state = HY_PRESENT;
    assert_int_equal(plan_bwd(&g, &req, &launch), HY_EINPUT);
    g = backward_args(&p, 0), g.lddC = 3;
    assert_int_equal(plan_bwd(&g, &req, &launch), HY_EINPUT);
    req.dtype = HY_F64;
    a = forward_args(&p), g = backward_args(&p, 0);
    assert_int_equal(plan(&a, &req, &launch), HY_EINPUT);
    assert_int_equal(plan_bwd(&g, &req, &launch), HY_EINPUT);
    problem_free(&p);
}

#define kt_cuda_test(f) \
    { #f, KT_CUDA ? f : NULL, NULL, NULL, NULL }
int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(test_gradients),
        kt_cpu_test(test_shapes),
        kt_cuda_test(test_shapes_cuda),
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_unwanted_gradients),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_ragged),
        cmocka_unit_test(test_extremes),
        kt_cpu_test(test_plan_refuses),
        kt_cuda_test(test_plan_refuses_cuda),
    };
    return kt_group(tests);
}
