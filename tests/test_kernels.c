// test_kernels.c - embed, norm, act, scale, fuse, gather, adamw, sumsq: gradients, parity of all paths, sentinels, threads.
#include "kernels/cpu/vmath.h"
#include "tests/kernel_test.h"

// float32 against double: a few roundings of 6e-8 each, and sums of some hundred terms.
#define LIMIT 2e-6
// A norm of one channel is nearly a sign: its gradient is all cancellation unless eps carries weight.
#define EPS(C) ((C) == 1 ? 0.5 : 1e-6)

// Finite differences for small operands; large ones (which alone are shared between threads) are compared only.
static void check(kt_case *c, bool large) {
    if (large) kt_paths(c, LIMIT);
    else kt_all(c, LIMIT);
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
    assert_true(hy_vexp(hy_vset(-88))[0] == 0 && hy_vexp(hy_vset(-INFINITY))[0] == 0 && hy_vexp(hy_vset(-1e30f))[0] == 0);
    assert_true(isinf(hy_vexp(hy_vset(89))[0]) && isinf(hy_vexp(hy_vset(INFINITY))[0]) && isnan(hy_vexp(hy_vset(NAN))[0]));
}

// ---------------------------------------------------------------------------------------------------- norm
typedef struct {
    int groups, C;
    hy_norm_kind kind;
} norm_ctx;
static hy_norm_args norm_args(kt_case *c) {
    const norm_ctx *x = c->ctx;
    return (hy_norm_args){.rows = c->in[0].rows, .groups = x->groups, .C = x->C, .kind = x->kind, .eps = EPS(x->C), .x = c->in[0].p,
                          .w = c->in[1].p, .y = c->out[0].p, .ldx = c->in[0].ld, .ldy = c->out[0].ld};
}
static void norm_forward(kt_case *c, const hy_plan_req *req) {
    hy_norm_args a = norm_args(c);
    kt_run(HY_K_norm, &a, req);
}
static void norm_backward(kt_case *c, const hy_plan_req *req) {
    hy_norm_bwd_args a = {.f = norm_args(c), .dy = c->dout[0].p, .dx = c->grad[0].p, .dw = c->grad[1].p,
                          .lddy = c->dout[0].ld, .lddx = c->grad[0].ld, .acc = c->acc};
    kt_run(HY_K_norm_bwd, &a, req);
}
static void norm_all(void **state) {
    (void)state;
    int shapes[][3] = {{1, 1, 1}, {3, 1, 17}, {5, 3, 7}, {67, 2, 16}, {131, 1, 33}, {2, 1, 257}, {65, 4, 64}, {301, 2, 65}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int kind = 0; kind < 2; kind++) {
            norm_ctx x = {shapes[i][1], shapes[i][2], (hy_norm_kind)kind};
            int rows = shapes[i][0], width = x.groups * x.C;
            if (kind == HY_NORM_LAYER && x.C == 1) continue;  // the output is 0
            kt_case c = {.n_in = 2, .n_out = 1, .ctx = &x, .seed = 11 + i, .forward = norm_forward, .backward = norm_backward,
                         .in_of = {{"x", rows, width, width + 3, width + 5, 2, 0, 1, 0.5}, {"w", 1, x.C, 0, 0, 1, 0, 0.3, 1}},
                         .out_of = {{"y", rows, width, width + 1, width + 2, 0, 0, 0, 0}}};
            check(&c, rows > 300);
        }
}

// ---------------------------------------------------------------------------------------------------- act
static hy_act_args act_args(kt_case *c) {
    hy_act_kind kind = *(const hy_act_kind *)c->ctx;
    return (hy_act_args){.rows = c->in[0].rows, .F = c->out[0].cols, .kind = kind, .x = c->in[0].p, .y = c->out[0].p,
                         .ldx = c->in[0].ld, .ldy = c->out[0].ld};
}
static void act_forward(kt_case *c, const hy_plan_req *req) {
    hy_act_args a = act_args(c);
    kt_run(HY_K_act, &a, req);
}
static void act_backward(kt_case *c, const hy_plan_req *req) {
    hy_act_bwd_args a = {.f = act_args(c), .dy = c->dout[0].p, .dx = c->grad[0].p, .lddy = c->dout[0].ld,
                         .lddx = c->grad[0].ld, .acc = c->acc};
    kt_run(HY_K_act_bwd, &a, req);
}
static void act_all(void **state) {
    (void)state;
    int shapes[][2] = {{1, 1}, {3, 17}, {67, 16}, {5, 131}, {307, 130}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 2; k++) {
            hy_act_kind kind = (hy_act_kind)k;
            int rows = shapes[i][0], F = shapes[i][1], width = kind == HY_ACT_SILU_GLU ? 2 * F : F;
            kt_case c = {.n_in = 1, .n_out = 1, .ctx = &kind, .seed = 21 + i, .forward = act_forward, .backward = act_backward,
                         .in_of = {{"x", rows, width, width + 3, width + 1, 2, 0, 3, 0}},
                         .out_of = {{"y", rows, F, F + 2, F + 7, 0, 0, 0, 0}}};
            check(&c, rows > 300);
        }
}
// Large arguments: the sigmoid saturates, nothing overflows.
static void act_extremes(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = 1};
        float x[8] = {-1e30f, -100, -0.f, 1e30f, 1, 2, 3, 4}, y[4], dy[4] = {1, 1, 1, 1}, dx[8];
        hy_act_args a = {.rows = 1, .F = 4, .kind = HY_ACT_SILU_GLU, .x = x, .y = y, .ldx = 8, .ldy = 4};
        kt_run(HY_K_act, &a, &req);
        assert_true(fabsf(y[0]) < 1e-6f && fabsf(y[1]) < 1e-30f && y[2] == 0 && y[3] == 4e30f);
        hy_act_bwd_args b = {.f = a, .dy = dy, .dx = dx, .lddy = 4, .lddx = 8};
        kt_run(HY_K_act_bwd, &b, &req);
        for (int i = 0; i < 8; i++) assert_true(isfinite(dx[i]));
        assert_true(dx[3] == 4 && dx[0] == 0);
        float bad[3] = {-INFINITY, NAN, 2};
        hy_act_args q = {.rows = 1, .F = 3, .kind = HY_ACT_RELU2, .x = bad, .y = y, .ldx = 3, .ldy = 3};
        kt_run(HY_K_act, &q, &req);
        assert_true(y[0] == 0 && isnan(y[1]) && y[2] == 4);
    }
}

// ---------------------------------------------------------------------------------------------------- scale
static hy_scale_args scale_args(kt_case *c) {
    return (hy_scale_args){.rows = c->in[0].rows, .C = c->in[0].cols, .parts = *(const hy_scale_parts *)c->ctx, .x = c->in[0].p,
                           .y = c->out[0].p, .ldx = c->in[0].ld, .ldy = c->out[0].ld};
}
static void scale_forward(kt_case *c, const hy_plan_req *req) {
    hy_scale_args a = scale_args(c);
    kt_run(HY_K_scale, &a, req);
}
static void scale_backward(kt_case *c, const hy_plan_req *req) {
    hy_scale_bwd_args a = {.f = scale_args(c), .dy = c->dout[0].p, .dx = c->grad[0].p, .lddy = c->dout[0].ld,
                           .lddx = c->grad[0].ld, .acc = c->acc};
    kt_run(HY_K_scale_bwd, &a, req);
}
static void scale_all(void **state) {
    (void)state;
    const struct {
        int rows;
        hy_scale_parts parts;
    } shapes[] = {{1, {1, {1}, {0.3}}}, {3, {2, {1, 17}, {2.5, -0.7}}}, {67, {3, {16, 17, 48}, {1, 0.39, 3}}},
                  {5, {8, {7, 15, 16, 33, 50, 65, 66, 131}, {0.5, 0.1, 1, 2, 3, 0.25, 7, 1.1}}}, {603, {2, {33, 66}, {0.9, 1}}}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int rows = shapes[i].rows, C = shapes[i].parts.end[shapes[i].parts.n - 1];
        kt_case c = {.n_in = 1, .n_out = 1, .ctx = &shapes[i].parts, .seed = 41 + i, .forward = scale_forward, .backward = scale_backward,
                     .in_of = {{"x", rows, C, C + 3, C + 1, 2, 0, 1, 0.3}}, .out_of = {{"y", rows, C, C + 2, C + 5, 0, 0, 0, 0}}};
        check(&c, rows > 300);
    }
    hy_launch l;
    hy_plan_req req = {.dtype = HY_F32, .isa = HY_ISA_BASE, .threads = 1};
    const hy_scale_parts bad[] = {{0, {4}, {1}}, {1, {3}, {1}}, {2, {4, 4}, {1, 1}}, {2, {0, 4}, {1, 1}}, {9, {4}, {1}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hy_scale_args a = {.rows = 1, .C = 4, .parts = bad[i], .x = HY_PRESENT, .y = HY_PRESENT, .ldx = 4, .ldy = 4};
        assert_int_equal(hy_cpu_plan_scale(&a, &req, &l), HY_EINPUT);
    }
}

// ---------------------------------------------------------------------------------------------------- fuse
typedef struct {
    hy_fuse_kind kind;
    double by_a, by_s;
} fuse_ctx;
static hy_fuse_args fuse_args(kt_case *c) {
    const fuse_ctx *x = c->ctx;
    return (hy_fuse_args){.rows = c->in[0].rows, .Ca = c->in[0].cols, .Cs = c->in[1].cols, .G = c->n_in > 4 ? c->in[4].cols : 0,
                          .kind = x->kind, .eps = EPS(c->in[0].cols), .by_a = x->by_a, .by_s = x->by_s, .a = c->in[0].p, .s = c->in[1].p, .wa = c->in[2].p, .ws = c->in[3].p,
                          .gate = c->n_in > 4 ? c->in[4].p : NULL, .z = c->out[0].p, .lda = c->in[0].ld, .lds = c->in[1].ld,
                          .ldgate = c->n_in > 4 ? c->in[4].ld : 0, .ldz = c->out[0].ld};
}
static void fuse_forward(kt_case *c, const hy_plan_req *req) {
    hy_fuse_args a = fuse_args(c);
    kt_run(HY_K_fuse, &a, req);
}
static void fuse_backward(kt_case *c, const hy_plan_req *req) {
    hy_fuse_bwd_args a = {.f = fuse_args(c), .dz = c->dout[0].p, .da = c->grad[0].p, .ds = c->grad[1].p,
                          .dgate = c->n_in > 4 ? c->grad[4].p : NULL, .dwa = c->grad[2].p, .dws = c->grad[3].p,
                          .lddz = c->dout[0].ld, .ldda = c->grad[0].ld, .ldds = c->grad[1].ld,
                          .lddgate = c->n_in > 4 ? c->grad[4].ld : 0, .acc = c->acc};
    kt_run(HY_K_fuse_bwd, &a, req);
}
static void fuse_all(void **state) {
    (void)state;
    int shapes[][4] = {{1, 1, 1, 1}, {3, 17, 5, 17}, {67, 16, 16, 4}, {5, 66, 33, 3}, {130, 24, 40, 1}, {603, 66, 33, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 6; k++) {
            fuse_ctx x = {(hy_fuse_kind)(k % 3), k < 3 ? 1 : 0.4, k < 3 ? 1 : 1.7};
            hy_fuse_kind kind = x.kind;
            int rows = shapes[i][0], Ca = shapes[i][1], Cs = kind == HY_FUSE_CONCAT ? shapes[i][2] : Ca, G = shapes[i][3];
            int z = kind == HY_FUSE_CONCAT ? Ca + Cs : Ca;
            kt_case c = {.n_in = kind == HY_FUSE_GATE ? 5 : 4, .n_out = 1, .ctx = &x, .seed = 31 + i,
                         .forward = fuse_forward, .backward = fuse_backward,
                         .in_of = {{"a", rows, Ca, Ca + 3, Ca + 1, 2, 0, 1, 0.3}, {"s", rows, Cs, Cs + 2, Cs + 4, 2, 1, 2, 0},
                                   {"wa", 1, Ca, 0, 0, 1, 0, 0.3, 1}, {"ws", 1, Cs, 0, 0, 1, 0, 0.3, 1},
                                   {"gate", rows, G, G + 1, G + 2, 2, 2, 1, 0}},
                         .out_of = {{"z", rows, z, z + 3, z + 5, 0, 0, 0, 0}}};
            check(&c, rows > 300);
        }
}

// ---------------------------------------------------------------------------------------------------- embed, gather
typedef struct {
    const int32_t *ids;
    int V, m;
} embed_ctx;
static hy_embed_args embed_args(kt_case *c) {
    const embed_ctx *x = c->ctx;
    return (hy_embed_args){.rows = c->out[0].rows, .C = c->out[0].cols, .V = x->V, .m = x->m, .ids = x->ids, .table = c->in[0].p,
                           .meta = x->m ? c->in[1].p : NULL, .y = c->out[0].p, .ldy = c->out[0].ld};
}
static void embed_forward(kt_case *c, const hy_plan_req *req) {
    hy_embed_args a = embed_args(c);
    kt_run(HY_K_embed, &a, req);
}
static void embed_backward(kt_case *c, const hy_plan_req *req) {
    hy_embed_bwd_args a = {.f = embed_args(c), .dy = c->dout[0].p, .lddy = c->dout[0].ld, .dtable = c->grad[0].p,
                           .dmeta = c->n_in > 1 ? c->grad[1].p : NULL};
    kt_run(HY_K_embed_bwd, &a, req);
}
static void embed_all(void **state) {
    (void)state;
    int shapes[][4] = {{1, 1, 1, 0}, {7, 5, 3, 2}, {300, 17, 11, 4}, {129, 64, 100, 1}, {611, 66, 37, 3}};  // rows, C, V, m
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int rows = shapes[i][0], C = shapes[i][1], V = shapes[i][2], m = shapes[i][3];
        int32_t *ids = hy_xcalloc((size_t)rows, sizeof *ids);
        hy_rng r = hy_rng_make(5, i);
        for (int j = 0; j < rows; j++) ids[j] = (int32_t)hy_rng_below(&r, (uint64_t)(V + m)) - m;  // many repeats, meta too
        embed_ctx x = {ids, V, m};
        kt_case c = {.n_in = m ? 2 : 1, .n_out = 1, .ctx = &x, .seed = 41 + i, .forward = embed_forward, .backward = embed_backward,
                     .in_of = {{"table", V, C, 0, 0, 1, 0, 1, 0}, {"meta", m, C, 0, 0, 1, 0, 1, 0}},
                     .out_of = {{"y", rows, C, C + 3, C + 1, 0, 0, 0, 0}}};
        check(&c, rows > 300);
        free(ids);
    }
}
static void gather_forward(kt_case *c, const hy_plan_req *req) {
    static const int32_t idx[] = {4, 0, 4, 2, 1};
    hy_gather_args a = {.n = 5, .C = c->in[0].cols, .idx = idx, .x = c->in[0].p, .y = c->out[0].p, .ldx = c->in[0].ld,
                        .ldy = c->out[0].ld};
    kt_run(HY_K_gather, &a, req);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < a.C; j++) assert_true(kt_at(&c->out[0], i, j) == kt_at(&c->in[0], idx[i], j));
}
static void gather_all(void **state) {
    (void)state;
    for (int C = 1; C < 40; C += 19) {
        kt_case c = {.n_in = 1, .n_out = 1, .seed = 51, .forward = gather_forward,
                     .in_of = {{"x", 5, C, C + 2, 0, 0, 0, 1, 0}}, .out_of = {{"y", 5, C, C + 3, 0, 0, 0, 0, 0}}};
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
        double mh = s.m[i] / (1 - pow(h->beta1, h->ctl[HY_CTL_STEP])), vh = s.v[i] / (1 - pow(h->beta2, h->ctl[HY_CTL_STEP]));
        double old = s.p[i];
        s.p[i] = old - h->ctl[HY_CTL_LR] * mh / (sqrt(vh) + h->eps);
        if (decay[i / HY_DECAY_BLOCK]) s.p[i] -= h->ctl[HY_CTL_LR] * h->wd * old;
    }
}
static void adamw_one(hy_dtype dt, hy_isa isa, int threads, int n, double limit, kt_mat keep[3]) {
    hy_plan_req req = {.dtype = dt, .isa = isa, .threads = threads};
    kt_mat p = kt_new(dt, 1, n, n), g = kt_new(dt, 1, n, n), m = kt_new(dt, 1, n, n), v = kt_new(dt, 1, n, n);
    kt_mat want = kt_new(HY_F64, 1, n, n), wm = kt_new(HY_F64, 1, n, n), wv = kt_new(HY_F64, 1, n, n), wg = kt_new(HY_F64, 1, n, n);
    uint8_t *decay = hy_xcalloc((size_t)n / HY_DECAY_BLOCK + 1, 1);
    for (int i = 0; i < n; i += HY_DECAY_BLOCK) decay[i / HY_DECAY_BLOCK] = (uint8_t)(i / HY_DECAY_BLOCK % 3 == 1);
    kt_random(&p, 1, 1, 0);
    kt_copy(&want, &p);
    kt_fill(&m, 0), kt_fill(&v, 0), kt_fill(&wm, 0), kt_fill(&wv, 0);
    for (long step = 1; step <= 3; step++) {
        kt_random(&g, 10 + (uint64_t)step, 0.1, 0);
        if (step == 2) kt_put(&g, 0, 0, 0);
        kt_copy(&wg, &g);
        const double ctl[HY_CTL_N] = {[HY_CTL_LR] = 0.01, [HY_CTL_C1] = 1 - pow(0.9, (double)step), [HY_CTL_C2] = 1 - pow(0.95, (double)step),
                                      [HY_CTL_STEP] = (double)step, [HY_CTL_GRAD_SCALE] = 0.7};
        hy_adamw_args a = {.n = (size_t)n, .p = p.p, .m = m.p, .v = v.p, .g = g.p, .decay = decay, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8,
                           .wd = 0.1, .ctl = ctl};
        kt_run(HY_K_adamw, &a, &req);
        adam_plain((adam_ref){want.p, wm.p, wv.p}, wg.p, decay, n, &a);
    }
    kt_near(&p, &want, limit, "p");
    kt_near(&m, &wm, limit, "m");
    kt_near(&v, &wv, limit, "v");
    kt_check(&p, "p"), kt_check(&m, "m"), kt_check(&v, "v"), kt_check(&g, "g");
    keep[0] = p, keep[1] = m, keep[2] = v;
    kt_free(&g), kt_free(&want), kt_free(&wm), kt_free(&wv), kt_free(&wg);
    free(decay);
}
static void adamw_all(void **state) {
    (void)state;
    int sizes[] = {1, 16, 17, 1000, 70001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        kt_mat keep[3];
        adamw_one(HY_F64, HY_ISA_REF, 1, sizes[i], 1e-14, keep);
        for (int k = 0; k < 3; k++) kt_free(&keep[k]);
        for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
            kt_mat one[3], many[3];
            adamw_one(HY_F32, (hy_isa)isa, 1, sizes[i], LIMIT, one);
            adamw_one(HY_F32, (hy_isa)isa, 3, sizes[i], LIMIT, many);
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
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        kt_mat x = kt_new(HY_F32, 1, sizes[i], sizes[i]);
        kt_random(&x, 3 + i, 2, 0.1);
        double want = 0;
        for (int j = 0; j < sizes[i]; j++) want += kt_at(&x, 0, j) * kt_at(&x, 0, j);
        for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
            double got[3];
            for (int t = 0; t < 3; t++) {
                hy_plan_req req = {.dtype = HY_F32, .isa = (hy_isa)isa, .threads = t + 1};
                hy_sumsq_args a = {.n = (size_t)sizes[i], .x = x.p, .out = &got[t]};
                kt_run(HY_K_sumsq, &a, &req);
            }
            assert_true(fabs(got[0] / want - 1) < 1e-13);  // products are exact in double: only the order of adding differs
            assert_true(got[0] == got[1] && got[0] == got[2]);
        }
        kt_put(&x, 0, sizes[i] / 2, NAN);
        double out = 0;
        hy_sumsq_args a = {.n = (size_t)sizes[i], .x = x.p, .out = &out};
        hy_plan_req req = {.dtype = HY_F32, .isa = hy_isa_best(), .threads = 2};
        kt_run(HY_K_sumsq, &a, &req);
        assert_true(isnan(out));
        a.n = 0;
        kt_run(HY_K_sumsq, &a, &req);
        assert_true(out == 0);
        kt_free(&x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(exp_accuracy), cmocka_unit_test(norm_all), cmocka_unit_test(act_all), kt_cpu_test(act_extremes), cmocka_unit_test(scale_all), kt_cpu_test(fuse_all),
        kt_cpu_test(embed_all), kt_cpu_test(gather_all), kt_cpu_test(adamw_all), kt_cpu_test(sumsq_all),
    };
    return kt_group(tests);
}
