// test_kernels.c - embed, norm, act, scale, fuse, gather and the kernels of the optimiser: gradients, parity of all
// paths, sentinels, threads.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"
#include "tests/unit/kernel_test.h"

// float32 against double: a few roundings of 6e-8 each, and sums of some hundred terms.
#define LIMIT 2e-6
// A norm of one channel is nearly a sign: its gradient is all cancellation unless eps carries weight.
#define EPS(C) ((C) == 1 ? 0.5 : 1e-6)

// Elements between rows: a multiple of 16 bytes for widths that are one, so that wide loads are met beside all others.
static int pad(int width, int n) { return width % 16 ? n : 8 * n; }

// Finite differences for small operands; large ones (which alone are shared between threads) are compared only.
static void check(kt_case *c, bool large) {
    if (large)
        kt_paths(c, LIMIT);
    else
        kt_all(c, LIMIT);
}

// ---------------------------------------------------------------------------------------------------- exp
static void exp_accuracy(void **state) {
    (void)state;
    double worst = 0, worst_s = 0;
    for (float x = -87.3f; x <= 88.3f; x += 0.00037f) {
        worst = fmax(worst, fabs(hy_vexp(hy_vset(x))[0] / exp(x) - 1));
        worst_s = fmax(worst_s, fabs(hy_vsigmoid(hy_vset(x))[0] * (1 + exp(-(double)x)) - 1));
    }
    assert_true(worst < 1.5e-7);
    assert_true(worst_s < 3e-7);
    assert_true(hy_vexp(hy_vset(0))[0] == 1 && hy_vexp(hy_vset(-0.f))[0] == 1);
    assert_true(hy_vexp(hy_vset(-88))[0] == 0 && hy_vexp(hy_vset(-INFINITY))[0] == 0 &&
                hy_vexp(hy_vset(-1e30f))[0] == 0);
    assert_true(isinf(hy_vexp(hy_vset(89))[0]) && isinf(hy_vexp(hy_vset(INFINITY))[0]) &&
                isnan(hy_vexp(hy_vset(NAN))[0]));
}

// ---------------------------------------------------------------------------------------------------- norm
typedef struct {
    int groups, C;
    hy_norm_kind kind;
    bool bias, plain;  // plain: no weights
} norm_ctx;
static hy_norm_args norm_args(kt_case *c) {
    const norm_ctx *x = c->ctx;
    return (hy_norm_args){.rows = c->in[0].rows,
                          .groups = x->groups,
                          .C = x->C,
                          .kind = x->kind,
                          .eps = EPS(x->C),
                          .x = c->in[0].p,
                          .w = x->plain ? NULL : c->in[1].p,
                          .bias = x->bias ? c->in[2].p : NULL,
                          .y = c->out[0].p,
                          .ldx = c->in[0].ld,
                          .ldy = c->out[0].ld};
}
static void norm_forward(kt_case *c, const hy_plan_req *req) {
    hy_norm_args a = norm_args(c);
    kt_run(HY_K_norm, &a, req);
}
static void norm_backward(kt_case *c, const hy_plan_req *req) {
    hy_norm_bwd_args a = {.f = norm_args(c),
                          .dy = c->dout[0].p,
                          .dx = c->grad[0].p,
                          .dw = c->n_in > 1 ? c->grad[1].p : NULL,
                          .dbias = c->n_in > 2 ? c->grad[2].p : NULL,
                          .lddy = c->dout[0].ld,
                          .lddx = c->grad[0].ld,
                          .acc = c->acc};
    kt_run(HY_K_norm_bwd, &a, req);
}
static void norm_all(void **state) {
    (void)state;
    int shapes[][3] = {
        {1, 1, 1},    {3, 1, 17},  {5, 3, 7},    {67, 2, 16},  {131, 1, 33}, {2, 1, 257}, {65, 4, 64},
        {301, 2, 65}, {19, 1, 24}, {9, 1, 2064}, {2, 1, 4112}, {2, 1, 8208}};  // the last three: what a block of a GPU
                                                                               // holds, and one past it
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 6; k++) {
            const int kind = k % 2;
            norm_ctx x = {shapes[i][1], shapes[i][2], (hy_norm_kind)kind, k / 2 == 1, k / 2 == 2};
            int rows = shapes[i][0], width = x.groups * x.C;
            if (kind == HY_NORM_LAYER && x.C == 1) continue;  // the output is 0
            kt_case c = {.n_in = x.plain  ? 1
                                 : x.bias ? 3
                                          : 2,
                         .n_out = 1,
                         .ctx = &x,
                         .seed = 11 + i,
                         .forward = norm_forward,
                         .backward = norm_backward,
                         .in_of = {{"x", rows, width, width + pad(x.C, 3), width + pad(x.C, 5), 2, 0, 1, 0.5},
                                   {"w", 1, x.C, 0, 0, 1, 0, 0.3, 1},
                                   {"bias", 1, x.C, 0, 0, 1, 0, 0.3, 0}},
                         .out_of = {{"y", rows, width, width + pad(x.C, 1), width + pad(x.C, 2), 0, 0, 0, 0}}};
            check(&c, rows > 300 || x.C > 1000);
        }
}

// Each instruction set runs its own build.
static void builds(void **state) {
    (void)state;
    hy_status (*const own[])(const void *, void *, const hy_plan_req *) = {hy_fast_norm_base, hy_fast_norm_avx2,
                                                                           hy_fast_norm_avx512};
    const hy_norm_args a = {.rows = 1, .groups = 1, .C = 1, .ldx = 1, .ldy = 1};
    for (int isa = HY_ISA_BASE; isa <= HY_ISA_AVX512; isa++) {
        const hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 1};
        hy_launch l;
        assert_int_equal(hy_cpu_plan_norm(&a, &req, &l), HY_OK);
        assert_true(l.run == own[isa - HY_ISA_BASE]);
    }
}

// ---------------------------------------------------------------------------------------------------- act
static hy_act_args act_args(kt_case *c) {
    hy_act_kind kind = *(const hy_act_kind *)c->ctx;
    return (hy_act_args){.rows = c->in[0].rows,
                         .F = c->out[0].cols,
                         .kind = kind,
                         .x = c->in[0].p,
                         .y = c->out[0].p,
                         .ldx = c->in[0].ld,
                         .ldy = c->out[0].ld};
}
static void act_forward(kt_case *c, const hy_plan_req *req) {
    hy_act_args a = act_args(c);
    kt_run(HY_K_act, &a, req);
}
static void act_backward(kt_case *c, const hy_plan_req *req) {
    hy_act_bwd_args a = {.f = act_args(c),
                         .dy = c->dout[0].p,
                         .dx = c->grad[0].p,
                         .lddy = c->dout[0].ld,
                         .lddx = c->grad[0].ld,
                         .acc = c->acc};
    kt_run(HY_K_act_bwd, &a, req);
}
static void act_all(void **state) {
    (void)state;
    int shapes[][2] = {{1, 1}, {3, 17}, {67, 16}, {5, 131}, {307, 130}, {3, 24}, {2, 2064}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 2; k++) {
            hy_act_kind kind = (hy_act_kind)k;
            int rows = shapes[i][0], F = shapes[i][1], width = kind == HY_ACT_SILU_GLU ? 2 * F : F;
            kt_case c = {.n_in = 1,
                         .n_out = 1,
                         .ctx = &kind,
                         .seed = 21 + i,
                         .forward = act_forward,
                         .backward = act_backward,
                         .in_of = {{"x", rows, width, width + pad(F, 3), width + pad(F, 1), 2, 0, 3, 0}},
                         .out_of = {{"y", rows, F, F + pad(F, 2), F + pad(F, 7), 0, 0, 0, 0}}};
            check(&c, rows > 300 || F > 1000);
        }
}
// Large arguments: the sigmoid saturates, nothing overflows.
static void act_extremes(void **state) {
    (void)state;
    const float large[8] = {-1e30f, -100, -0.f, 1e30f, 1, 2, 3, 4}, odd[3] = {-INFINITY, NAN, 2};
    for (int path = 0; path < kt_n_paths(); path++) {
        const hy_plan_req req = kt_req(path, 1, true);
        kt_mat x = kt_new(req.dtype, 1, 8, 8), y = kt_new(req.dtype, 1, 4, 4), dy = kt_new(req.dtype, 1, 4, 4),
               dx = kt_new(req.dtype, 1, 8, 8);
        for (int i = 0; i < 8; i++) kt_put(&x, 0, i, large[i]);
        kt_fill(&dy, 1);
        hy_act_args a = {.rows = 1, .F = 4, .kind = HY_ACT_SILU_GLU, .x = x.p, .y = y.p, .ldx = 8, .ldy = 4};
        kt_run(HY_K_act, &a, &req);
        assert_true(fabs(kt_at(&y, 0, 0)) < 1e-6 && fabs(kt_at(&y, 0, 1)) < 1e-30 && kt_at(&y, 0, 2) == 0);
        assert_true(kt_at(&y, 0, 3) == 4 * kt_at(&x, 0, 3));
        hy_act_bwd_args b = {.f = a, .dy = dy.p, .dx = dx.p, .lddy = 4, .lddx = 8};
        kt_run(HY_K_act_bwd, &b, &req);
        for (int i = 0; i < 8; i++) assert_true(isfinite(kt_at(&dx, 0, i)));
        assert_true(kt_at(&dx, 0, 3) == 4 && kt_at(&dx, 0, 0) == 0);
        for (int i = 0; i < 3; i++) kt_put(&x, 0, i, odd[i]);
        hy_act_args q = {.rows = 1, .F = 3, .kind = HY_ACT_RELU2, .x = x.p, .y = y.p, .ldx = 3, .ldy = 3};
        kt_run(HY_K_act, &q, &req);
        assert_true(kt_at(&y, 0, 0) == 0 && isnan(kt_at(&y, 0, 1)) && kt_at(&y, 0, 2) == 4);
        kt_free(&x), kt_free(&y), kt_free(&dy), kt_free(&dx);
    }
}

// ---------------------------------------------------------------------------------------------------- scale
static hy_scale_args scale_args(kt_case *c) {
    return (hy_scale_args){.rows = c->in[0].rows,
                           .C = c->in[0].cols,
                           .parts = *(const hy_scale_parts *)c->ctx,
                           .x = c->in[0].p,
                           .y = c->out[0].p,
                           .ldx = c->in[0].ld,
                           .ldy = c->out[0].ld};
}
static void scale_forward(kt_case *c, const hy_plan_req *req) {
    hy_scale_args a = scale_args(c);
    kt_run(HY_K_scale, &a, req);
}
static void scale_backward(kt_case *c, const hy_plan_req *req) {
    hy_scale_bwd_args a = {.f = scale_args(c),
                           .dy = c->dout[0].p,
                           .dx = c->grad[0].p,
                           .lddy = c->dout[0].ld,
                           .lddx = c->grad[0].ld,
                           .acc = c->acc};
    kt_run(HY_K_scale_bwd, &a, req);
}
static void scale_all(void **state) {
    (void)state;
    const struct {
        int rows;
        hy_scale_parts parts;
    } shapes[] = {{1, {1, {1}, {0.3}}},
                  {3, {2, {1, 17}, {2.5, -0.7}}},
                  {67, {3, {16, 17, 48}, {1, 0.39, 3}}},
                  {5, {8, {7, 15, 16, 33, 50, 65, 66, 131}, {0.5, 0.1, 1, 2, 3, 0.25, 7, 1.1}}},
                  {603, {2, {33, 66}, {0.9, 1}}},
                  {2, {3, {5, 2048, 2064}, {0.5, 2, -1}}}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int rows = shapes[i].rows, C = shapes[i].parts.end[shapes[i].parts.n - 1];
        kt_case c = {.n_in = 1,
                     .n_out = 1,
                     .ctx = &shapes[i].parts,
                     .seed = 41 + i,
                     .forward = scale_forward,
                     .backward = scale_backward,
                     .in_of = {{"x", rows, C, C + pad(C, 3), C + pad(C, 1), 2, 0, 1, 0.3}},
                     .out_of = {{"y", rows, C, C + pad(C, 2), C + pad(C, 5), 0, 0, 0, 0}}};
        check(&c, rows > 300 || C > 1000);
    }
    hy_launch l;
    hy_plan_req req = {.dtype = HY_F32, .isa = HY_ISA_BASE, .threads = 1};
    const hy_scale_parts bad[] = {
        {0, {4}, {1}}, {1, {3}, {1}}, {2, {4, 4}, {1, 1}}, {2, {0, 4}, {1, 1}}, {9, {4}, {1}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hy_scale_args a = {.rows = 1, .C = 4, .parts = bad[i], .x = HY_PRESENT, .y = HY_PRESENT, .ldx = 4, .ldy = 4};
        assert_int_equal(hy_cpu_plan_scale(&a, &req, &l), HY_EINPUT);
        if (KT_CUDA) assert_int_equal(kt_device()->plan[HY_K_scale](&a, &req, &l), HY_EINPUT);
    }
}

// ---------------------------------------------------------------------------------------------------- fuse
typedef struct {
    hy_fuse_kind kind;
    double by_a, by_s;
} fuse_ctx;
static hy_fuse_args fuse_args(kt_case *c) {
    const fuse_ctx *x = c->ctx;
    return (hy_fuse_args){.rows = c->in[0].rows,
                          .Ca = c->in[0].cols,
                          .Cs = c->in[1].cols,
                          .G = c->n_in > 4 ? c->in[4].cols : 0,
                          .kind = x->kind,
                          .eps = EPS(c->in[0].cols),
                          .by_a = x->by_a,
                          .by_s = x->by_s,
                          .a = c->in[0].p,
                          .s = c->in[1].p,
                          .wa = c->in[2].p,
                          .ws = c->in[3].p,
                          .gate = c->n_in > 4 ? c->in[4].p : NULL,
                          .z = c->out[0].p,
                          .lda = c->in[0].ld,
                          .lds = c->in[1].ld,
                          .ldgate = c->n_in > 4 ? c->in[4].ld : 0,
                          .ldz = c->out[0].ld};
}
static void fuse_forward(kt_case *c, const hy_plan_req *req) {
    hy_fuse_args a = fuse_args(c);
    kt_run(HY_K_fuse, &a, req);
}
static void fuse_backward(kt_case *c, const hy_plan_req *req) {
    hy_fuse_bwd_args a = {.f = fuse_args(c),
                          .dz = c->dout[0].p,
                          .da = c->grad[0].p,
                          .ds = c->grad[1].p,
                          .dgate = c->n_in > 4 ? c->grad[4].p : NULL,
                          .dwa = c->grad[2].p,
                          .dws = c->grad[3].p,
                          .lddz = c->dout[0].ld,
                          .ldda = c->grad[0].ld,
                          .ldds = c->grad[1].ld,
                          .lddgate = c->n_in > 4 ? c->grad[4].ld : 0,
                          .acc = c->acc};
    kt_run(HY_K_fuse_bwd, &a, req);
}
static void fuse_all(void **state) {
    (void)state;
    int shapes[][4] = {{1, 1, 1, 1},      {3, 17, 5, 17},     {67, 16, 16, 4},    {5, 66, 33, 3},
                       {130, 24, 40, 1},  {603, 66, 33, 3},   {19, 64, 32, 4},    {5, 32, 48, 32},
                       {3, 2064, 16, 43}, {1, 8208, 4112, 1}, {1, 8208, 16, 1368}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 6; k++) {
            if (KT_CUDA && (shapes[i][0] > 300 || (k < 3 && shapes[i][0] * shapes[i][1] > 2000)))
                continue;  // half of them tell as much
            fuse_ctx x = {(hy_fuse_kind)(k % 3), k < 3 ? 1 : 0.4, k < 3 ? 1 : 1.7};
            hy_fuse_kind kind = x.kind;
            int rows = shapes[i][0], Ca = shapes[i][1], Cs = kind == HY_FUSE_CONCAT ? shapes[i][2] : Ca,
                G = shapes[i][3];
            int z = kind == HY_FUSE_CONCAT ? Ca + Cs : Ca;
            kt_case c = {.n_in = kind == HY_FUSE_GATE ? 5 : 4,
                         .n_out = 1,
                         .ctx = &x,
                         .seed = 31 + i,
                         .forward = fuse_forward,
                         .backward = fuse_backward,
                         .in_of = {{"a", rows, Ca, Ca + pad(Ca, 3), Ca + pad(Ca, 1), 2, 0, 1, 0.3},
                                   {"s", rows, Cs, Cs + pad(Cs, 2), Cs + pad(Cs, 4), 2, 1, 2, 0},
                                   {"wa", 1, Ca, 0, 0, 1, 0, 0.3, 1},
                                   {"ws", 1, Cs, 0, 0, 1, 0, 0.3, 1},
                                   {"gate", rows, G, G + 1, G + 2, 2, 2, 1, 0}},
                         .out_of = {{"z", rows, z, z + pad(z, 3), z + pad(z, 5), 0, 0, 0, 0}}};
            check(&c, rows > 300 || Ca > 1000);
        }
}

// ---------------------------------------------------------------------------------------------------- embed, gather
typedef struct {
    const int32_t *ids;
    int V, m;
} embed_ctx;
static hy_embed_args embed_args(kt_case *c) {
    const embed_ctx *x = c->ctx;
    return (hy_embed_args){.rows = c->out[0].rows,
                           .C = c->out[0].cols,
                           .V = x->V,
                           .m = x->m,
                           .ids = kt_dev(c->dt, x->ids),
                           .table = c->in[0].p,
                           .w_dtype = c->w_dtype,
                           .meta = x->m ? c->in[1].p : NULL,
                           .y = c->out[0].p,
                           .ldy = c->out[0].ld};
}
static void embed_forward(kt_case *c, const hy_plan_req *req) {
    hy_embed_args a = embed_args(c);
    kt_run(HY_K_embed, &a, req);
}
static void embed_backward(kt_case *c, const hy_plan_req *req) {
    hy_embed_bwd_args a = {.f = embed_args(c),
                           .dy = c->dout[0].p,
                           .lddy = c->dout[0].ld,
                           .dtable = c->grad[0].p,
                           .dmeta = c->n_in > 1 ? c->grad[1].p : NULL};
    kt_run(HY_K_embed_bwd, &a, req);
}
static void embed_all(void **state) {
    (void)state;
    int shapes[][4] = {{1, 1, 1, 0},     {7, 5, 3, 2},      {300, 17, 11, 4}, {129, 64, 100, 1},
                       {611, 66, 37, 3}, {300, 16, 700, 2}, {70, 2064, 3, 1}, {45, 1, 66000, 1}};  // rows, C, V, m
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int rows = shapes[i][0], C = shapes[i][1], V = shapes[i][2], m = shapes[i][3];
        if (KT_CUDA && rows > 500) continue;  // for threads
        int32_t *ids = kt_alloc((size_t)rows * sizeof *ids);
        hy_rng r = hy_rng_make(5, i);
        for (int j = 0; j < rows; j++)
            ids[j] = (int32_t)hy_rng_below(&r, (uint64_t)(V + m)) - m;  // many repeats, meta too
        embed_ctx x = {ids, V, m};
        kt_case c = {.n_in = m ? 2 : 1,
                     .n_out = 1,
                     .ctx = &x,
                     .seed = 41 + i,
                     .forward = embed_forward,
                     .backward = embed_backward,
                     .in_of = {{"table", V, C, 0, 0, 1, 0, 1, 0, KT_MATRIX}, {"meta", m, C, 0, 0, 1, 0, 1, 0}},
                     .out_of = {{"y", rows, C, C + pad(C, 3), C + pad(C, 1), 0, 0, 0, 0}}};
        check(&c, rows > 300 || C > 1000 || V > 1000);
        kt_release(ids);
    }
}
// More rows than the sums over the tiles of a sort take in one step (256 tiles of 256): each id counts its rows.
static void embed_many_rows(void **state) {
    (void)state;
    enum { ROWS = 256 * 256 + 300, V = 5 };
    const hy_plan_req req = kt_req(0, 1, true);
    int32_t *ids = kt_alloc(ROWS * sizeof *ids);
    kt_mat dy = kt_new(HY_F32, ROWS, 1, 1), dtable = kt_new(HY_F32, V, 1, 1);
    double want[V];
    kt_fill(&dy, 1);
    for (int i = 0; i < V; i++) kt_put(&dtable, i, 0, i), want[i] = i;
    for (int r = 0; r < ROWS; r++) want[ids[r] = (r / 100 + r) % 7 % V]++;
    hy_embed_bwd_args a = {
        .f = {.rows = ROWS, .C = 1, .V = V, .ids = kt_dev(HY_F32, ids)}, .dy = dy.p, .lddy = 1, .dtable = dtable.p};
    kt_run(HY_K_embed_bwd, &a, &req);
    for (int i = 0; i < V; i++) assert_true(kt_at(&dtable, i, 0) == want[i]);
    kt_check(&dtable, "dtable");
    kt_free(&dy), kt_free(&dtable), kt_release(ids);
}
static void gather_forward(kt_case *c, const hy_plan_req *req) {
    int32_t *idx = kt_alloc_copy((const int32_t[]){4, 0, 4, 2, 1}, 5 * sizeof *idx);
    hy_gather_args a = {.n = 5,
                        .C = c->in[0].cols,
                        .idx = kt_dev(c->dt, idx),
                        .x = c->in[0].p,
                        .y = c->out[0].p,
                        .ldx = c->in[0].ld,
                        .ldy = c->out[0].ld};
    kt_run(HY_K_gather, &a, req);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < a.C; j++) assert_true(kt_at(&c->out[0], i, j) == kt_at(&c->in[0], idx[i], j));
    kt_release(idx);
}
static void gather_all(void **state) {
    (void)state;
    const int widths[] = {1, 20, 39, 64, 2064};
    for (int i = 0; i < 5; i++) {
        const int C = widths[i];
        kt_case c = {.n_in = 1,
                     .n_out = 1,
                     .seed = 51,
                     .forward = gather_forward,
                     .in_of = {{"x", 5, C, C + pad(C, 2), 0, 0, 0, 1, 0}},
                     .out_of = {{"y", 5, C, C + pad(C, 3), 0, 0, 0, 0, 0}}};
        kt_all(&c, 0);
    }
}

// ---------------------------------------------------------------------------------------------------- adamw, sumsq
typedef struct {
    double *p, *m, *v;
} adam_ref;
// Algorithm 2 of the paper, written out in double beside the kernels.
static void adam_plain(adam_ref s, const double *g, const uint8_t *decay, int n, const hy_adamw_args *h) {
    for (int i = 0; i < n; i++) {
        double gi = g[i] * h->ctl[HY_CTL_GRAD_SCALE];
        s.m[i] = h->beta1 * s.m[i] + (1 - h->beta1) * gi;
        s.v[i] = h->beta2 * s.v[i] + (1 - h->beta2) * gi * gi;
        double mh = s.m[i] / (1 - pow(h->beta1, h->ctl[HY_CTL_STEP])),
               vh = s.v[i] / (1 - pow(h->beta2, h->ctl[HY_CTL_STEP]));
        double old = s.p[i];
        s.p[i] = old - h->ctl[HY_CTL_LR] * mh / (sqrt(vh) + h->eps);
        if (decay[i / HY_DECAY_BLOCK]) s.p[i] -= h->ctl[HY_CTL_LR] * h->wd * old;
    }
}
// Three steps of n parameters, the first `skip` elements of the buffers left out (so that rows of 16 bytes do not begin
// at 0).
static void adamw_one(const hy_plan_req *req, int n, int skip, double limit, kt_mat keep[3]) {
    const hy_dtype dt = kt_wide(req->dtype);
    const int all = n + skip;
    const size_t es = hy_dtype_size(dt), off = (size_t)skip * es;
    kt_mat p = kt_new(dt, 1, all, all), g = kt_new(dt, 1, all, all), m = kt_new(dt, 1, all, all),
           v = kt_new(dt, 1, all, all);
    kt_mat want = kt_new(HY_F64, 1, all, all), wm = kt_new(HY_F64, 1, all, all), wv = kt_new(HY_F64, 1, all, all),
           wg = kt_new(HY_F64, 1, all, all);
    kt_mat half = kt_new(dt == HY_F64 ? HY_F32 : HY_BF16, 1, n, n);
    double *ctl = kt_alloc(HY_CTL_N * sizeof *ctl);
    uint8_t *decay = kt_alloc((size_t)n / HY_DECAY_BLOCK + 1);
    for (int i = 0; i < n; i += HY_DECAY_BLOCK) decay[i / HY_DECAY_BLOCK] = (uint8_t)(i / HY_DECAY_BLOCK % 3 == 1);
    kt_random(&p, 1, 1, 0);
    kt_copy(&want, &p);
    kt_fill(&m, 0), kt_fill(&v, 0), kt_fill(&wm, 0), kt_fill(&wv, 0);
    hy_adamw_args a = {.n = (size_t)n,
                       .p = (char *)p.p + off,
                       .m = (char *)m.p + off,
                       .v = (char *)v.p + off,
                       .g = (char *)g.p + off,
                       .decay = kt_dev(dt, decay),
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .wd = 0.1,
                       .ctl = kt_dev(dt, ctl)};
    for (long step = 1; step <= 3; step++) {
        kt_random(&g, 10 + (uint64_t)step, 0.1, 0);
        if (step == 2) kt_put(&g, 0, skip, 0);
        kt_copy(&wg, &g);
        ctl[HY_CTL_LR] = 0.01, ctl[HY_CTL_C1] = 1 - pow(0.9, (double)step),
        ctl[HY_CTL_C2] = 1 - pow(0.95, (double)step);
        ctl[HY_CTL_STEP] = (double)step, ctl[HY_CTL_GRAD_SCALE] = 0.7;
        a.p16 = step > 1 && dt != HY_F64 ? half.p : NULL;
        kt_run(HY_K_adamw, &a, req);
        hy_adamw_args here = a;
        here.ctl = ctl;
        adam_plain((adam_ref){(double *)want.p + skip, (double *)wm.p + skip, (double *)wv.p + skip},
                   (double *)wg.p + skip, decay, n, &here);
    }
    kt_near(&p, &want, limit, "p");
    kt_near(&m, &wm, limit, "m");
    kt_near(&v, &wv, limit, "v");
    for (int i = 0; i < n && dt != HY_F64; i++)
        assert_true(kt_at(&half, 0, i) == hy_f32_from_bf16(hy_bf16_from_f32((float)kt_at(&p, 0, skip + i))));
    kt_copy(&want, &p);
    ctl[HY_CTL_BAD] = 1;  // from now on nothing is written
    kt_run(HY_K_adamw, &a, req);
    kt_near(&p, &want, 0, "p of a run that has diverged");
    kt_check(&p, "p"), kt_check(&m, "m"), kt_check(&v, "v"), kt_check(&g, "g"), kt_check(&half, "p16");
    keep[0] = p, keep[1] = m, keep[2] = v;
    kt_free(&g), kt_free(&want), kt_free(&wm), kt_free(&wv), kt_free(&wg), kt_free(&half);
    kt_release(decay), kt_release(ctl);
}
static void adamw_all(void **state) {
    (void)state;
    int sizes[] = {1, 16, 17, 1000, 20002, 70001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes - KT_CUDA; i++)
        for (int skip = 0; skip < 2; skip++) {
            kt_mat keep[3];
            const hy_plan_req oracle = kt_oracle(true);
            adamw_one(&oracle, sizes[i], skip, 1e-14, keep);
            for (int k = 0; k < 3; k++) kt_free(&keep[k]);
            for (int path = 0; path < kt_n_paths(); path++) {
                kt_mat one[3], many[3];
                const hy_plan_req req = kt_req(path, 1, true), three = kt_req(path, 3, true);
                adamw_one(&req, sizes[i], skip, LIMIT, one);
                adamw_one(&three, sizes[i], skip, LIMIT, many);
                for (int k = 0; k < 3; k++) {
                    assert_true(kt_same_bits(&one[k], &many[k]));
                    kt_free(&one[k]), kt_free(&many[k]);
                }
            }
        }
}
static void sumsq_all(void **state) {
    (void)state;
    int sizes[] = {1, 15, 16, 17, 4097, 200003};
    double *got = kt_alloc(3 * sizeof *got);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int skip = 0; skip < 2; skip++) {
            const int n = sizes[i];
            kt_mat x = kt_new(HY_F32, 1, n + skip, n + skip);
            kt_random(&x, 3 + i, 2, 0.1);
            double want = 0;
            for (int j = skip; j < n + skip; j++) want += kt_at(&x, 0, j) * kt_at(&x, 0, j);
            for (int path = 0; path < kt_n_paths(); path++) {
                hy_sumsq_args a = {.n = (size_t)n, .x = (float *)x.p + skip};
                for (int t = 0; t < 3; t++) {
                    const hy_plan_req req = kt_req(path, t + 1, true);
                    a.out = kt_dev(HY_F32, got + t);
                    kt_run(HY_K_sumsq, &a, &req);
                }
                assert_true(fabs(got[0] / want - 1) <
                            1e-13);  // products are exact in double: only the order of adding differs
                assert_true(got[0] == got[1] && got[0] == got[2]);
            }
            kt_put(&x, 0, skip + n / 2, NAN);
            hy_sumsq_args a = {.n = (size_t)n, .x = (float *)x.p + skip, .out = kt_dev(HY_F32, got)};
            const hy_plan_req req = kt_req(kt_n_paths() - 1, 2, true);
            kt_run(HY_K_sumsq, &a, &req);
            assert_true(isnan(got[0]));
            a.n = 0;
            kt_run(HY_K_sumsq, &a, &req);
            assert_true(got[0] == 0);
            kt_free(&x);
        }
    kt_release(got);
}

// ------------------------------------------------------------------------------------------------- nll_sum, clip, cast
static void nll_sum_all(void **state) {
    (void)state;
    int sizes[] = {0, 1, 33, 1024, 5000};
    double *sum = kt_alloc(sizeof *sum);
    for (int path = 0; path < kt_n_paths(); path++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const hy_plan_req req = kt_req(path, 2, true);
            kt_mat nll = kt_new_padded(HY_F32, 1, sizes[i] + 1, 0);
            kt_random(&nll, 9 + i, 1, 5);
            double want = *sum = -0.75;  // it is added to
            for (int r = 0; r < sizes[i]; r++) want += kt_at(&nll, 0, r);
            hy_nll_sum_args a = {.rows = sizes[i], .nll = nll.p, .sum = kt_dev(HY_F32, sum)};
            kt_run(HY_K_nll_sum, &a, &req);
            assert_true(fabs(*sum / want - 1) < 1e-13);
            kt_free(&nll);
        }
    kt_release(sum);
}
static void clip_all(void **state) {
    (void)state;
    const struct {
        double sumsq, nll, limit, step;  // what is given
        double scale, bad;               // what is wanted
    } cases[] = {{9, 40, 0, 1, 1, 0},        {9, 40, 5, 2, 1, 0},       {9, 40, 1, 3, 1.0 / 3, 0},
                 {16, 40, 4, 4, 1, 0},       {NAN, 40, 1, 5, 1, 1},     {INFINITY, 40, 0, 6, 1, 1},
                 {9, NAN, 1, 7, 1.0 / 3, 1}, {9, INFINITY, 0, 8, 1, 1}, {0, 0, 1, 3000000001.0, 1, 0}};
    double *ctl = kt_alloc(HY_CTL_N * sizeof *ctl), *report = kt_alloc(6 * sizeof *report);
    for (int path = 0; path < kt_n_paths(); path++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const hy_plan_req req = kt_req(path, 1, true);
            for (int k = 0; k < HY_CTL_N; k++) ctl[k] = 0;
            for (int k = 0; k < 6; k++) report[k] = KT_SENTINEL;
            ctl[HY_CTL_SUMSQ] = cases[i].sumsq, ctl[HY_CTL_NLL] = cases[i].nll, ctl[HY_CTL_CLIP] = cases[i].limit;
            ctl[HY_CTL_STEP] = cases[i].step, ctl[HY_CTL_SCALE] = 0.25;
            hy_clip_args a = {.ctl = kt_dev(HY_F32, ctl), .report = kt_dev(HY_F32, report), .cap = 3};
            kt_run(HY_K_clip, &a, &req);
            const int line = (int)fmod(cases[i].step - 1, 3);
            const double want[2] = {cases[i].nll * 0.25, sqrt(cases[i].sumsq)};
            for (int k = 0; k < 6; k++) {
                const double w = k / 2 == line ? want[k % 2] : KT_SENTINEL;
                assert_true(report[k] == w || (isnan(w) && isnan(report[k])));
            }
            assert_true(isnan(cases[i].sumsq) || isinf(cases[i].sumsq) || ctl[HY_CTL_GRAD_SCALE] == cases[i].scale);
            assert_true(ctl[HY_CTL_BAD] == cases[i].bad);
            ctl[HY_CTL_SUMSQ] = ctl[HY_CTL_NLL] = 1;
            kt_run(HY_K_clip, &a, &req);
            assert_true(ctl[HY_CTL_BAD] == cases[i].bad);  // it stays
        }
    kt_release(ctl), kt_release(report);
}
static void cast_all(void **state) {
    (void)state;
    const float odd[] = {0,           -0.f,        NAN,     INFINITY, -INFINITY,
                         1.00390625f, 1.01171875f, 3.4e38f, 1e-40f};  // ties, overflow, denormal
    int sizes[] = {1, 7, 8, 9, 4099};
    for (int path = 0; path < kt_n_paths(); path++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int skip = 0; skip < 2; skip++) {
                const hy_plan_req req = kt_req(path, 1, true);
                const int n = sizes[i];
                kt_mat x = kt_new(HY_F32, 1, n + skip, n + skip), y = kt_new(HY_BF16, 1, n, n);
                kt_random(&x, i, 1, 0);
                for (int j = 0; j < n && j < 9; j++) kt_put(&x, 0, skip + j, odd[j]);
                hy_cast_args a = {.n = (size_t)n, .x = (float *)x.p + skip, .y = y.p};
                kt_run(HY_K_cast, &a, &req);
                for (int j = 0; j < n; j++) {
                    const double want = hy_f32_from_bf16(hy_bf16_from_f32((float)kt_at(&x, 0, skip + j)));
                    assert_true(kt_at(&y, 0, j) == want || (isnan(want) && isnan(kt_at(&y, 0, j))));
                }
                kt_check(&y, "y");
                kt_free(&x), kt_free(&y);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(builds),
        kt_cpu_test(exp_accuracy),
        cmocka_unit_test(norm_all),
        cmocka_unit_test(act_all),
        cmocka_unit_test(act_extremes),
        cmocka_unit_test(scale_all),
        cmocka_unit_test(fuse_all),
        cmocka_unit_test(embed_all),
        cmocka_unit_test(gather_all),
        cmocka_unit_test(embed_many_rows),
        cmocka_unit_test(adamw_all),
        cmocka_unit_test(sumsq_all),
        cmocka_unit_test(nll_sum_all),
        cmocka_unit_test(clip_all),
        cmocka_unit_test(cast_all),
    };
    return kt_group(tests);
}
