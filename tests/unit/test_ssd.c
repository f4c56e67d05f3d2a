// test_ssd.c - SSD (Mamba-2): gradients against finite differences in double, an independent restatement of the
// published minimal form (segment sums, chunks), every fast build against the double reference over odd shapes,
// accumulation, ragged batches, states in pieces, limits of delta, extremes, threads, refusals. In the CUDA mode the
// GPU's kernels against the same reference, over shapes that reach every edge of their tiles, chunks, segments and
// waves.
#include "tests/unit/kernel_test.h"

// Float against double on the same inputs: a few roundings (6e-8) per token, summed over the memory of a state.
#define FWD_TOL 3e-6
#define BWD_TOL 8e-6
// The same sequence cut otherwise into chunks: other orders of sums.
#define PIECES_TOL 3e-6
// The restatement in double against the recurrence in double: rounding only.
#define SAME_TOL 1e-12
// Where delta A is of the order of 100, the rounding of the exponent (100 * 6e-8, relative) is the error of the result.
#define EXTREME_TOL 2e-5
// CUDA, where factors are rounded: the gradient of a head's step or decay is one sum over all tokens of terms of both
// signs, a fraction of the terms, and the tolerance is of these.
#define CANCELS 8

enum { X, DT, BIAS, A_LOG, BM, CM, SKIP, INPUTS };

typedef struct {
    int B, T, H, P, G, N;
    double dt_min, dt_max;
    bool no_bias, no_skip;
    const int32_t *len;
    int32_t *lengths;  // what kernels get of len
    kt_mat saved;      // of the newest forward
} shape;

static hy_ssd_args args_of(const kt_case *c) {
    shape *s = (shape *)c->ctx;
    const kt_mat *in = c->in;
    if (s->len && !s->lengths) s->lengths = kt_alloc_copy(s->len, (size_t)s->B * sizeof *s->len);
    return (hy_ssd_args){.B = s->B,
                         .T = s->T,
                         .H = s->H,
                         .P = s->P,
                         .G = s->G,
                         .N = s->N,
                         .dt_min = s->dt_min,
                         .dt_max = s->dt_max,
                         .x = in[X].p,
                         .dt = in[DT].p,
                         .dt_bias = s->no_bias ? NULL : in[BIAS].p,
                         .A_log = in[A_LOG].p,
                         .Bm = in[BM].p,
                         .Cm = in[CM].p,
                         .skip = s->no_skip ? NULL : in[SKIP].p,
                         .y = c->out[0].p,
                         .ldx = in[X].ld,
                         .lddt = in[DT].ld,
                         .ldB = in[BM].ld,
                         .ldC = in[CM].ld,
                         .ldy = c->out[0].ld,
                         .len = kt_dev(c->dt, s->lengths)};
}
static void forward(kt_case *c, const hy_plan_req *req) {
    shape *s = (shape *)c->ctx;
    hy_ssd_args a = args_of(c);
    kt_free(&s->saved);
    s->saved = kt_new_saved(c->dt, kt_plan(HY_K_ssd, &a, req).saved);
    a.saved = s->saved.p;
    kt_run(HY_K_ssd, &a, req);
}
static hy_ssd_bwd_args bwd_args_of(kt_case *c) {
    const shape *s = c->ctx;
    const kt_mat *g = c->grad;
    hy_ssd_bwd_args a = {.f = args_of(c),
                         .dy = c->dout[0].p,
                         .dx = g[X].p,
                         .ddt = g[DT].p,
                         .ddt_bias = s->no_bias ? NULL : g[BIAS].p,
                         .dA_log = g[A_LOG].p,
                         .dBm = g[BM].p,
                         .dCm = g[CM].p,
                         .dskip = s->no_skip ? NULL : g[SKIP].p,
                         .lddy = c->dout[0].ld,
                         .lddx = g[X].ld,
                         .ldddt = g[DT].ld,
                         .lddB = g[BM].ld,
                         .lddC = g[CM].ld,
                         .acc = c->acc};
    a.f.saved = s->saved.p;
    return a;
}
static void backward(kt_case *c, const hy_plan_req *req) {
    hy_ssd_bwd_args a = bwd_args_of(c);
    kt_run(HY_K_ssd_bwd, &a, req);
}

// Rows are `pad` elements and more longer than their values. Steps of softplus(N(-2, 1)), decays of exp(-1.6 delta).
static kt_case case_of(shape *s, int pad) {
    const int rows = s->B * s->T, D = s->H * s->P, GN = s->G * s->N;
    kt_case c = {
        .n_in = INPUTS,
        .n_out = 1,
        .forward = forward,
        .backward = backward,
        .ctx = s,
        .seed = (uint64_t)(s->T * 1009 + s->H * 101 + s->P * 11 + s->N),
        .in_of =
            {{.name = "x", .rows = rows, .cols = D, .ld = D + pad, .ldgrad = D + 2 * pad, .grad = 2, .accbit = 0},
             {.name = "dt",
              .rows = rows,
              .cols = s->H,
              .ld = s->H + 2 * pad,
              .ldgrad = s->H + pad,
              .grad = 2,
              .accbit = 1,
              .shift = -2},
             {.name = "dt_bias", .rows = 1, .cols = s->H, .grad = 1, .scale = 0.5, .is = KT_WIDE, .allow = CANCELS},
             {.name = "A_log", .rows = 1, .cols = s->H, .grad = 1, .shift = 0.5, .is = KT_WIDE, .allow = CANCELS},
             {.name = "B", .rows = rows, .cols = GN, .ld = GN + 3 * pad, .ldgrad = GN + pad, .grad = 2, .accbit = 2},
             {.name = "C", .rows = rows, .cols = GN, .ld = GN + pad, .ldgrad = GN + 4 * pad, .grad = 2, .accbit = 3},
             {.name = "skip", .rows = 1, .cols = s->H, .grad = 1, .is = KT_WIDE}},
        .out_of = {{.name = "y", .rows = rows, .cols = D, .ld = D + 2 * pad, .ldgrad = D + pad}},
    };
    if (s->no_bias) c.in_of[BIAS].grad = 0;
    if (s->no_skip) c.in_of[SKIP].grad = 0;
    return c;
}
static void done(shape *s) {
    kt_free(&s->saved);
    kt_release(s->lengths);
    s->lengths = NULL;
}

// ---------------------------------------------------------------------------------------------------- gradients
static void test_gradients(void **unused) {
    (void)unused;
    static const int32_t len[2] = {5, 3}, none[2] = {0, 5};
    shape shapes[] = {{2, 5, 4, 3, 2, 2, .len = len},
                      {2, 5, 2, 1, 1, 3, .len = none},
                      {1, 6, 3, 2, 3, 2, .no_bias = true},
                      {1, 6, 2, 2, 1, 2, .no_skip = true},
                      {1, 1, 1, 1, 1, 1, .dt_min = 0},
                      {1, 67, 2, 2, 1, 3, .dt_min = 0},
                      {2, 9, 3, 2, 1, 2, .dt_min = 0.1, .dt_max = 0.2}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        kt_case c = case_of(&shapes[i], (int)i % 3);
        kt_gradcheck(&c, 0);
        kt_gradcheck(&c, ~0u);
        done(&shapes[i]);
    }
}

// -------------------------------------------------------------------------------------------------- the published form
// Sums of a over j < k <= i for all i >= j, added up along each column: no differences of long sums.
static void segment_sums(const double *a, int n, double *L) {
    for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int i = j; i < n; i++) {
            if (i > j) sum += a[i];
            L[i * n + j] = sum;
        }
    }
}

// Listing 1 of Dao and Gu (2024): x already times delta, a = delta A [T,H], in blocks of Q tokens; T a multiple of Q.
// y [T,H,P] without the skip; S [H,N,P] in: the state before, out: after.
static void minimal(const shape *s, int Q, const double *x, const double *a, const double *B, const double *C,
                    double *y, double *S) {
    const int H = s->H, P = s->P, N = s->N, G = s->G, blocks = s->T / Q;
    double *L = hy_xcalloc((size_t)Q * Q, sizeof *L), *la = hy_xcalloc((size_t)Q, sizeof *la);
    double *Z = hy_xcalloc((size_t)(blocks + 1) * (blocks + 1), sizeof *Z),
           *total = hy_xcalloc((size_t)blocks + 1, sizeof *total);
    double *states = hy_xcalloc((size_t)(blocks + 1) * N * P, sizeof *states);  // before all, then of each block alone
    for (int h = 0; h < H; h++) {
        const int g = h / (H / G);
        memcpy(states, S + (size_t)h * N * P, (size_t)N * P * sizeof *states);
        for (int c = 0; c < blocks; c++) {  // 1, 2: inside the blocks, and what each adds to the state
            double *own = states + (size_t)(c + 1) * N * P;
            total[c + 1] = 0;
            for (int i = 0; i < Q; i++) total[c + 1] += la[i] = a[(c * Q + i) * H + h];
            segment_sums(la, Q, L);
            for (int i = 0; i < Q; i++)
                for (int p = 0; p < P; p++) {
                    double sum = 0;
                    for (int j = 0; j <= i; j++)
                        for (int n = 0; n < N; n++)
                            sum += C[((c * Q + i) * G + g) * N + n] * B[((c * Q + j) * G + g) * N + n] *
                                   exp(L[i * Q + j]) * x[((c * Q + j) * H + h) * P + p];
                    y[((c * Q + i) * H + h) * P + p] = sum;
                }
            for (int n = 0; n < N; n++)
                for (int p = 0; p < P; p++) {
                    own[n * P + p] = 0;
                    for (int j = 0; j < Q; j++)
                        own[n * P + p] += B[((c * Q + j) * G + g) * N + n] * exp(L[(Q - 1) * Q + j]) *
                                          x[((c * Q + j) * H + h) * P + p];
                }
        }
        segment_sums(total, blocks + 1, Z);
        for (int z = 0; z <= blocks; z++)  // 3, 4: states at the block borders, and what they give the block after
            for (int n = 0; n < N; n++)
                for (int p = 0; p < P; p++) {
                    double state = 0, run = 0;
                    for (int c = 0; c <= z; c++)
                        state += exp(Z[z * (blocks + 1) + c]) * states[(size_t)c * N * P + n * P + p];
                    if (z == blocks) S[(size_t)h * N * P + n * P + p] = state;
                    for (int i = 0; z < blocks && i < Q; i++) {
                        run += a[(z * Q + i) * H + h];
                        y[((z * Q + i) * H + h) * P + p] += C[((z * Q + i) * G + g) * N + n] * state * exp(run);
                    }
                }
    }
    free(L), free(la), free(Z), free(total), free(states);
}

static void check_minimal(shape s, int Q) {
    const hy_plan_req req = {.dtype = HY_F64, .isa = HY_ISA_REF, .threads = 1};
    const int D = s.H * s.P, NP = s.N * s.P;
    kt_case c = case_of(&s, 0);
    kt_case_open(&c, HY_F64, 0);
    kt_mat state = kt_new(HY_F64, s.H, NP, NP), want_state = kt_new(HY_F64, s.H, NP, NP),
           want = kt_new(HY_F64, s.T, D, D);
    kt_random(&state, 9, 1, 0);
    kt_copy(&want_state, &state);
    double *x = hy_xcalloc((size_t)s.T * D, sizeof *x), *a = hy_xcalloc((size_t)s.T * s.H, sizeof *a);
    for (int t = 0; t < s.T; t++)
        for (int h = 0; h < s.H; h++) {
            const double delta = log1p(exp(kt_at(&c.in[DT], t, h) + kt_at(&c.in[BIAS], 0, h)));
            a[t * s.H + h] = -exp(kt_at(&c.in[A_LOG], 0, h)) * delta;
            for (int p = 0; p < s.P; p++) x[t * D + h * s.P + p] = delta * kt_at(&c.in[X], t, h * s.P + p);
        }
    minimal(&s, Q, x, a, c.in[BM].p, c.in[CM].p, want.p, want_state.p);
    for (int t = 0; t < s.T; t++)
        for (int d = 0; d < D; d++)
            kt_put(&want, t, d, kt_at(&want, t, d) + kt_at(&c.in[SKIP], 0, d / s.P) * kt_at(&c.in[X], t, d));
    hy_ssd_args args = args_of(&c);
    args.state = state.p;
    kt_run(HY_K_ssd, &args, &req);
    kt_near(&c.out[0], &want, SAME_TOL, "recurrence against the published form");
    kt_near(&state, &want_state, SAME_TOL, "its last state");
    kt_free(&state), kt_free(&want_state), kt_free(&want);
    free(x), free(a);
    kt_case_close(&c);
    done(&s);
}
static void test_published_form(void **unused) {
    (void)unused;
    check_minimal((shape){1, 24, 4, 3, 2, 5, .dt_min = 0}, 8);
    check_minimal((shape){1, 24, 2, 5, 1, 3, .dt_min = 0}, 24);
    check_minimal((shape){1, 24, 3, 2, 3, 2, .dt_min = 0}, 1);
    check_minimal((shape){1, 96, 2, 4, 1, 6, .dt_min = 0}, 32);
}

// ---------------------------------------------------------------------------------------------- fast against reference
static void check_shape(shape s, int pad) {
    kt_case c = case_of(&s, pad);
    for (int path = 0; path < kt_n_paths(); path++) {
        // with and without adding in turn over the shapes; the closer limit of the outputs on some
        kt_case f = c;
        f.backward = NULL;
        if ((s.T + s.P) % 3 == 0) kt_parity(&f, path, 0, FWD_TOL);
        kt_parity(&c, path, (s.T + path) & 1 ? ~0u : 0, BWD_TOL);
    }
    done(&s);
}
// Several heads: the gradient of one head's parameter is one sum over all tokens, which may cancel to nothing.
static void test_shapes_gpu(void) {
    static const int32_t ragged[3] = {70, 0, 33}, cut[2] = {511, 70};
    check_shape((shape){1, 1, 1, 1, 1, 1, .dt_min = 0}, 0);
    check_shape((shape){2, 2, 3, 1, 1, 2, .no_bias = true}, 1);
    check_shape((shape){1, 63, 2, 16, 1, 16, .dt_min = 0}, 0);  // whole rows of 16 bytes
    check_shape((shape){2, 64, 4, 17, 2, 5, .no_skip = true}, 3);
    check_shape((shape){1, 129, 2, 8, 2, 33, .dt_min = 0.05, .dt_max = 0.3}, 2);
    check_shape((shape){1, 66, 2, 65, 1, 67, .dt_min = 0}, 1);  // a second tile of P and of N, by one and three
    check_shape((shape){1, 65, 3, 72, 1, 64, .dt_min = 0}, 0);
    check_shape((shape){3, 70, 6, 8, 2, 40, .len = ragged}, 1);  // backward in more than one wave
    check_shape((shape){2, 520, 1, 3, 1, 4, .len = cut}, 0);     // segments
    check_shape((shape){1, 66, 2, 3, 1, 730, .dt_min = 0}, 1);   // states that shared memory cannot hold
}
static void test_shapes(void **unused) {
    (void)unused;
    if (KT_CUDA) {
        test_shapes_gpu();
        return;
    }
    static const int Ts[] = {1, 2, 3, 5, 31, 63, 64, 65, 129}, Ps[] = {1, 3, 8, 16, 17, 33},
                     Ns[] = {1, 2, 5, 16, 17, 33}, heads[][2] = {{3, 1}, {2, 1}, {3, 3}, {4, 2}, {5, 1}};
    static const int32_t len[2] = {1, 0};
    int i = 0;
    for (int t = 0; t < 9; t++)
        for (int p = 0; p < 6; p++, i++) {
            shape s = {.B = 1 + i % 2,
                       .T = Ts[t],
                       .H = heads[i % 5][0],
                       .P = Ps[p],
                       .G = heads[i % 5][1],
                       .N = Ns[(i + t) % 6],
                       .no_bias = i % 7 == 3,
                       .no_skip = i % 5 == 1,
                       .len = i % 6 == 5 ? len : NULL};
            if (i % 4 == 2) s.dt_min = 0.05, s.dt_max = 0.3;
            check_shape(s, i % 4);
        }
    static const int32_t ragged[3] = {70, 33, 0};
    check_shape((shape){1, 1, 1, 1, 1, 1, .dt_min = 0}, 0);
    check_shape((shape){1, 5, 1, 7, 1, 3, .dt_min = 0}, 2);
    check_shape((shape){3, 70, 6, 32, 2, 64, .len = ragged}, 1);
    check_shape((shape){1, 150, 3, 64, 1, 128, .dt_min = 0}, 0);
    check_shape((shape){5, 257, 2, 3, 1, 4, .dt_min = 0}, 0);  // backward takes the sequences in more than one turn
    check_shape((shape){1, 66, 2, 20, 1, 200, .dt_min = 0}, 1);
}

// Each gradient follows its own bit: with and without heads that share a group.
static void test_acc_bits(void **unused) {
    (void)unused;
    shape shapes[] = {{1, 5, 2, 3, 2, 2, .dt_min = 0}, {1, 4, 3, 2, 1, 3, .dt_min = 0}};
    for (int i = 0; i < 2; i++) {
        kt_case c = case_of(&shapes[i], 1);
        for (int path = 0; path < kt_n_paths(); path++)
            for (int bit = 0; bit < 4; bit++) kt_parity(&c, path, 1u << bit, BWD_TOL);
        done(&shapes[i]);
    }
}

// Any gradient may be unwanted; the others keep their bits.
static void test_unwanted_gradients(void **unused) {
    (void)unused;
    for (int path = 0; path < kt_n_paths(); path++) {
        const hy_plan_req req = kt_req(path, 1, true);
        shape s = {2, 69, 4, 9, 2, 7, .dt_min = 0};
        kt_case all = case_of(&s, 1);
        kt_case_open(&all, req.dtype, 0);
        forward(&all, &req), backward(&all, &req);
        for (int without = 0; without < INPUTS; without++) {
            kt_case c = case_of(&s, 1);
            c.in_of[without].grad = 0;
            kt_case_open(&c, req.dtype, 0);
            forward(&c, &req), backward(&c, &req);
            for (int i = 0; i < INPUTS; i++)
                if (i != without) kt_same_rows(&c.grad[i], 0, &all.grad[i], 0, c.grad[i].rows, "unwanted gradient");
            kt_case_close(&c);
        }
        kt_case_close(&all);
        done(&s);
    }
}

// ---------------------------------------------------------------------------------------------------- states, batches
// Rows [t0, t0 + n) of sequence b of the inputs of `from` become sequence `seq` of `to`, from its row 0 on.
static void copy_rows(kt_case *to, int seq, const kt_case *from, int b, int t0, int n) {
    static const int rowwise[] = {X, DT, BM, CM};
    const int T = ((const shape *)to->ctx)->T, from_T = ((const shape *)from->ctx)->T;
    for (int k = 0; k < 4; k++)
        for (int t = 0; t < n; t++)
            for (int j = 0; j < to->in[rowwise[k]].cols; j++)
                kt_put(&to->in[rowwise[k]], seq * T + t, j, kt_at(&from->in[rowwise[k]], b * from_T + t0 + t, j));
    kt_copy(&to->in[BIAS], &from->in[BIAS]);
    kt_copy(&to->in[A_LOG], &from->in[A_LOG]);
    kt_copy(&to->in[SKIP], &from->in[SKIP]);
}
static void run(kt_case *c, int path, int threads, kt_mat *state) {
    const hy_plan_req req = kt_req(path, threads, false);
    hy_ssd_args a = args_of(c);
    a.state = state->p;
    kt_run(HY_K_ssd, &a, &req);
    kt_case_check(c);
    kt_check(state, "state");
}
static void near_rows(const kt_mat *a, int ra, const kt_mat *b, int rb, int n, double limit, const char *what) {
    double d = 0, norm = 0;
    for (int r = 0; r < n; r++)
        for (int j = 0; j < a->cols; j++) {
            d += pow(kt_at(a, ra + r, j) - kt_at(b, rb + r, j), 2);
            norm += pow(kt_at(b, rb + r, j), 2);
        }
    if (!(sqrt(d) <= limit * sqrt(norm))) fail_msg("%s: off by %.3g", what, sqrt(d / norm));
}

// Two runs that each may be off by what is allowed for one.
static double twice(int path, double cpu) { return !KT_CUDA || path == KT_F32 ? cpu : 2 * kt_limits[path].out; }

// A sequence in pieces, the state carried along, in a batch with another: the whole.
static void check_pieces(int path, shape s, int piece) {
    const hy_dtype dt = kt_req(path, 1, false).dtype, wide = kt_wide(dt);
    kt_case whole = case_of(&s, 1);
    kt_case_open(&whole, dt, 0);
    kt_mat want = kt_new(wide, s.H, s.N * s.P, s.N * s.P), state = kt_new(wide, 2 * s.H, s.N * s.P, s.N * s.P);
    kt_random(&want, 3, 1, 0);
    for (int r = 0; r < 2 * s.H; r++)
        for (int j = 0; j < s.N * s.P; j++) kt_put(&state, r, j, kt_at(&want, r % s.H, j));
    run(&whole, path, 2, &want);
    for (int t = 0; t < s.T; t += piece) {
        shape q = s;
        q.B = 2;
        q.T = s.T - t < piece ? s.T - t : piece;
        kt_case c = case_of(&q, 0);
        kt_case_open(&c, dt, 0);
        copy_rows(&c, 1, &whole, 0, t, q.T);
        run(&c, path, 1, &state);
        near_rows(&c.out[0], q.T, &whole.out[0], t, q.T, twice(path, PIECES_TOL), "y in pieces");
        kt_case_close(&c);
    }
    near_rows(&state, s.H, &want, 0, s.H, twice(path, PIECES_TOL), "state in pieces");
    kt_free(&want), kt_free(&state);
    kt_case_close(&whole);
}
static void test_pieces(void **unused) {
    (void)unused;
    static const int pieces[] = {1, 2, 7, 16, 33, 64};
    for (int path = 0; path < kt_n_paths(); path++) {
        for (int i = 0; i < 6; i++) {
            if (KT_CUDA && i % 3 != path) continue;  // a piece of 1 is another kernel
            check_pieces(path, (shape){1, 70, 4, 18, 2, 9, .dt_min = 0}, pieces[i]);
            check_pieces(path, (shape){1, 35, 2, 5, 1, 16, .dt_max = 0.3}, pieces[i]);
        }
        if (!KT_CUDA) continue;
        check_pieces(path, (shape){1, 3, 2, 40, 1, 17, .dt_min = 0},
                     1);  // wide rows of the state, more than a block's channels
        check_pieces(path, (shape){1, 520, 1, 3, 1, 5, .dt_min = 0}, 321);  // segments, more than one chunk in each
        check_pieces(path, (shape){1, 70, 1, 66, 1, 67, .dt_min = 0}, 65);  // a second tile of P and of N
    }
}

// One sequence of a batch and its state, alone: the same bits; on a GPU the sums of the state may be cut otherwise.
static void check_alone(const kt_case *batch, int path, int b, int len, const kt_mat *state) {
    const shape *s = batch->ctx;
    shape q = {1, len, s->H, s->P, s->G, s->N, .dt_min = 0};
    const int wide = s->N * s->P;
    kt_case one = case_of(&q, 0);
    kt_case_open(&one, batch->dt, 0);
    kt_mat alone = kt_new(state->dt, s->H, wide, wide);
    kt_fill(&alone, 0.25);
    copy_rows(&one, 0, batch, b, 0, len);
    run(&one, path, 1, &alone);
    if (KT_CUDA) {
        near_rows(&one.out[0], 0, &batch->out[0], b * s->T, len, twice(path, PIECES_TOL), "y in a padded batch");
        near_rows(&alone, 0, state, b * s->H, s->H, twice(path, PIECES_TOL), "state in a padded batch");
    } else {
        kt_same_rows(&one.out[0], 0, &batch->out[0], b * s->T, len, "y in a padded batch");
        kt_same_rows(&alone, 0, state, b * s->H, s->H, "state in a padded batch");
    }
    kt_free(&alone);
    kt_case_close(&one);
}
// Rows of padding get zeros as gradients, or keep what is there, each gradient by its own bit; all others get numbers.
static void check_padding_gradients(kt_case *batch, int path) {
    const hy_plan_req req = kt_req(path, 2, true);
    const shape *s = batch->ctx;
    static const unsigned bits[] = {0, 1, 2, 4, 8, ~0u};
    for (int k = 0; k < 6; k++) {
        batch->acc = bits[k];
        for (int i = 0; i < INPUTS; i++) kt_fill(&batch->grad[i], kt_adds(batch, i) ? 3 : NAN);
        forward(batch, &req), backward(batch, &req);
        kt_case_check(batch);
        for (int i = 0; i < INPUTS; i++)
            for (int r = 0; r < batch->grad[i].rows; r++)
                for (int j = 0; j < batch->grad[i].cols; j++) {
                    const double v = kt_at(&batch->grad[i], r, j);
                    if (!isfinite(v))
                        fail_msg("%s: gradient of %s is not a number in row %d", kt_path_name(path),
                                 batch->in_of[i].name, r);
                    if (batch->in_of[i].grad == 2 && r % s->T >= s->len[r / s->T])
                        assert_true(v == (kt_adds(batch, i) ? 3 : 0));
                }
    }
}
// Sequences of different lengths in one batch, NaN in the padding: each as alone; zeros in the padding.
static void check_ragged(int path, shape s) {
    kt_case batch = case_of(&s, 1);
    kt_case_open(&batch, kt_req(path, 1, false).dtype, 0);
    const int wide = s.N * s.P;
    static const int rowwise[] = {X, DT, BM, CM};
    kt_mat state = kt_new(kt_wide(batch.dt), s.B * s.H, wide, wide);
    kt_fill(&state, 0.25);
    for (int b = 0; b < s.B; b++)
        for (int t = s.len[b]; t < s.T; t++) {
            for (int k = 0; k < 4; k++)
                for (int j = 0; j < batch.in[rowwise[k]].cols; j++) kt_put(&batch.in[rowwise[k]], b * s.T + t, j, NAN);
            for (int j = 0; j < batch.dout[0].cols; j++) kt_put(&batch.dout[0], b * s.T + t, j, NAN);
        }
    run(&batch, path, 2, &state);
    for (int b = 0; b < s.B; b++) {
        for (int t = s.len[b]; t < s.T; t++)
            for (int j = 0; j < s.H * s.P; j++) assert_true(kt_at(&batch.out[0], b * s.T + t, j) == 0);
        if (s.len[b]) check_alone(&batch, path, b, s.len[b], &state);
        for (int r = 0; r < s.H && !s.len[b]; r++) assert_true(kt_at(&state, b * s.H + r, wide - 1) == 0.25);
    }
    kt_free(&state);
    check_padding_gradients(&batch, path);
    kt_case_close(&batch);
    done(&s);
}
static void test_ragged(void **unused) {
    (void)unused;
    static const int32_t lens[5] = {70, 1, 20, 0, 65}, one[2] = {0, 1}, cut[2] = {70, 300};
    for (int path = 0; path < kt_n_paths(); path++) {
        check_ragged(path, (shape){5, 70, 4, 10, 2, 6, .len = lens});
        check_ragged(path, (shape){2, 1, 2, 33, 1, 5, .len = one});
        if (KT_CUDA)
            check_ragged(path,
                         (shape){2, 520, 1, 3, 1, 5, .len = cut});  // a sequence that ends before its last segment
    }
}

// ---------------------------------------------------------------------------------------------------- extremes, plans
// No NaN or infinity where the result is finite, and agreement with double: steps and decays from nothing to all, and
// single huge steps between small ones, which sums of steps in float would lose.
typedef struct {
    double dt, spike, A_log, x;
} extreme;

static void extreme_run(kt_case *c, const extreme *e, hy_dtype like, const hy_plan_req *req) {
    kt_case_open_like(c, req->dtype, like, 0);
    for (int t = 0; t < 80; t++)
        for (int h = 0; h < 2; h++)
            kt_put(&c->in[DT], t, h, (float)(e->dt + 2 + kt_at(&c->in[DT], t, h) + (t % 9 == 4 ? e->spike : 0)));
    for (int h = 0; h < 2; h++) kt_put(&c->in[A_LOG], 0, h, (float)(e->A_log + 0.1 * h));
    for (int t = 0; t < 80; t++)
        for (int d = 0; d < 38; d++) kt_put(&c->in[X], t, d, (float)(e->x * kt_at(&c->in[X], t, d)));
    kt_round(&c->in[DT], like), kt_round(&c->in[X], like);
    for (int p = 0; p < INPUTS; p++)
        if (c->in_of[p].grad == 1) kt_fill(&c->grad[p], 0);
    forward(c, req), backward(c, req);
}
// A gradient that is nothing but the underflow of float must be nothing here too.
static void near_or_nothing(const kt_mat *got, const kt_mat *want, double tol, const char *what) {
    double top = 0;
    for (int r = 0; r < want->rows; r++)
        for (int j = 0; j < want->cols; j++) top = fmax(top, fabs(kt_at(want, r, j)));
    if (top >= 1e-20) {
        kt_near(got, want, tol, what);
        return;
    }
    for (int r = 0; r < got->rows; r++)
        for (int j = 0; j < got->cols; j++)
            if (!(fabs(kt_at(got, r, j)) < 1e-18)) fail_msg("%s: not as small as it is", what);
}
static void test_extremes(void **unused) {
    (void)unused;
    static const extreme cases[] = {{-40, 0, 0.5, 1},  {40, 0, 0.5, 1},   {0, 0, 12, 1},  {40, 0, 5, 1},
                                    {-2, 0, 0.5, 1e4}, {100, 0, 3, 1},    {-3, 0, 80, 1}, {-10, 0, -40, 1},
                                    {-6, 1000, 1, 1},  {-6, 3000, 2.7, 1}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int path = 0; path < kt_n_paths(); path++) {
            const hy_plan_req req = kt_req(path, 1, true), ref = kt_oracle(true);
            shape s = {1, 80, 2, 19, 1, 16, .dt_min = 0};
            kt_case got = case_of(&s, 0), want = case_of(&s, 0);
            extreme_run(&got, &cases[k], req.dtype, &req), extreme_run(&want, &cases[k], req.dtype, &ref);
            char what[96];
            snprintf(what, sizeof what, "%s, case %zu: y", kt_path_name(path), k);
            kt_near(&got.out[0], &want.out[0], kt_limit(&got, path, NULL, EXTREME_TOL), what);
            for (int p = 0; p < INPUTS; p++) {
                snprintf(what, sizeof what, "%s, case %zu: gradient of %s", kt_path_name(path), k, got.in_of[p].name);
                near_or_nothing(&got.grad[p], &want.grad[p], kt_limit(&got, path, &got.in_of[p], EXTREME_TOL), what);
            }
            kt_case_close(&got), kt_case_close(&want);
            done(&s);
        }
}

static void test_plan_refuses(void **unused) {
    (void)unused;
    const hy_plan_fn plan = KT_CUDA ? kt_device()->plan[HY_K_ssd] : hy_cpu_plan_ssd;
    const hy_plan_fn plan_bwd = KT_CUDA ? kt_device()->plan[HY_K_ssd_bwd] : hy_cpu_plan_ssd_bwd;
    const hy_plan_req req = kt_req(0, 1, false);
    const hy_ssd_args good = {.B = 1,
                              .T = 2,
                              .H = 4,
                              .P = 3,
                              .G = 2,
                              .N = 5,
                              .x = HY_PRESENT,
                              .dt = HY_PRESENT,
                              .A_log = HY_PRESENT,
                              .Bm = HY_PRESENT,
                              .Cm = HY_PRESENT,
                              .y = HY_PRESENT,
                              .ldx = 12,
                              .lddt = 4,
                              .ldB = 10,
                              .ldC = 10,
                              .ldy = 12};
    hy_launch l;
    hy_ssd_args a = good;
    assert_int_equal(plan(&a, &req, &l), HY_OK);
#define REFUSED(change) a = good, change, assert_int_equal(plan(&a, &req, &l), HY_EINPUT)
    REFUSED(a.N = 0);
    REFUSED(a.G = 3);
    REFUSED(a.ldx = 11);
    REFUSED(a.lddt = 3);
    REFUSED(a.ldC = 9);
    REFUSED(a.dt_min = -1);
    REFUSED((a.dt_min = 2, a.dt_max = 1));
#undef REFUSED
    hy_plan_req other = req;
    other.dtype = KT_CUDA ? HY_F64 : HY_BF16;
    a = good;
    assert_int_equal(plan(&a, &other, &l), HY_EINPUT);
    const hy_ssd_bwd_args fine = {
        .f = good, .dy = HY_PRESENT, .dx = HY_PRESENT, .dBm = HY_PRESENT, .lddy = 12, .lddx = 12, .lddB = 10};
    hy_ssd_bwd_args g = fine;
    assert_int_equal(plan_bwd(&g, &req, &l), HY_OK);
    g.f.state = HY_PRESENT;
    assert_int_equal(plan_bwd(&g, &req, &l), HY_EINPUT);
    g = fine, g.lddB = 9;
    assert_int_equal(plan_bwd(&g, &req, &l), HY_EINPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(test_gradients),     kt_cpu_test(test_published_form),          cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_pieces),   cmocka_unit_test(test_unwanted_gradients), cmocka_unit_test(test_ragged),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_acc_bits),           cmocka_unit_test(test_plan_refuses),
    };
    return kt_group(tests);
}
