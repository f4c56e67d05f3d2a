// test_attention_bwd.c - gradient of attention over many shapes, each path and precision against the float64 oracle,
// after the forward of the same path. (test_attention.c holds the oracle against finite differences.) Padding tokens
// are full of NaN.
#include "tests/unit/kernel_test.h"

// float32 sums over up to 300 products and keys, exp2 to 1e-7, two micro-steps.
#define TOL 4e-6

typedef struct {
    int B, T, heads, kv, dqk, dv, window, meta, pad;
} shape;
static kt_mat saved;
static int32_t *pos, *len;
static unsigned wanted;     // bits 0, 1, 2: dq, dk, dv
static uint64_t *drop_key;  // NULL: no dropout
static double drop_p;
enum { PLACE = 3 };

static void drop(void) {
    kt_free(&saved);
    kt_release(pos), kt_release(len);
    pos = len = NULL;
}
static hy_attention_args args_of(kt_case *c, const hy_plan_req *req) {
    const shape *s = c->ctx;
    return (hy_attention_args){.B = s->B,
                               .T = s->T,
                               .heads = s->heads,
                               .kv_heads = s->kv,
                               .d_qk = s->dqk,
                               .d_v = s->dv,
                               .window = s->window,
                               .meta = s->meta,
                               .scale = 1 / sqrt(s->dqk),
                               .q = c->in[0].p,
                               .k = c->in[1].p,
                               .v = c->in[2].p,
                               .o = c->out[0].p,
                               .ldq = c->in[0].ld,
                               .ldk = c->in[1].ld,
                               .ldv = c->in[2].ld,
                               .ldo = c->out[0].ld,
                               .pos = kt_dev(req->dtype, pos),
                               .len = kt_dev(req->dtype, len),
                               .drop = {drop_p, PLACE, drop_key ? kt_dev(req->dtype, drop_key) : NULL},
                               .saved = saved.p};
}
static void forward(kt_case *c, const hy_plan_req *req) {
    const shape *s = c->ctx;
    drop();
    pos = kt_alloc((size_t)s->B * sizeof *pos), len = kt_alloc((size_t)s->B * sizeof *len);
    for (int b = 0; b < s->B; b++) len[b] = b == 0 ? s->T : b == 1 ? (s->T + 1) / 2 : 0;
    hy_attention_args a = args_of(c, req);
    const hy_launch l = kt_plan(HY_K_attention, &a, req);
    saved = kt_new_saved(c->dt, l.saved);
    a.saved = saved.p;
    kt_launch(l, &a, req);
}
static void fill_padding(const shape *s, kt_mat *m, double x) {
    for (int r = 0; r < m->rows; r++)
        for (int c = 0; c < m->cols && r % s->T >= len[r / s->T]; c++) kt_put(m, r, c, x);
}
static void backward(kt_case *c, const hy_plan_req *req) {
    const shape *s = c->ctx;
    hy_attention_bwd_args g = {.f = args_of(c, req), .dout = c->dout[0].p, .lddo = c->dout[0].ld, .acc = c->acc};
    if (wanted & 1) g.dq = c->grad[0].p, g.lddq = c->grad[0].ld;
    if (wanted & 2) g.dk = c->grad[1].p, g.lddk = c->grad[1].ld;
    if (wanted & 4) g.dv = c->grad[2].p, g.lddv = c->grad[2].ld;
    kt_mat *padded[] = {&c->in[0], &c->in[1], &c->in[2], &c->dout[0], &c->out[0]};
    for (int i = 0; i < 5 && req->dtype != HY_F64; i++) fill_padding(s, padded[i], NAN);
    kt_run(HY_K_attention_bwd, &g, req);
    for (int i = 0; i < 5 && req->dtype != HY_F64; i++) fill_padding(s, padded[i], 0);
}
static kt_case case_of(const shape *s, uint64_t seed) {
    const int rows = s->B * s->T, q = s->heads * s->dqk, k = s->kv * s->dqk, v = s->kv * s->dv, o = s->heads * s->dv,
              p = s->pad;
    const int n = 2 * p;  // another stride for gradients
    kt_case c = {.n_in = 3,
                 .n_out = 1,
                 .forward = forward,
                 .backward = backward,
                 .ctx = s,
                 .seed = seed,
                 .in_of = {{.name = "q", rows, q, q + p, q + n, wanted & 1 ? 2 : 0, 0},
                           {.name = "k", rows, k, k + p, k + n, wanted & 2 ? 2 : 0, 1},
                           {.name = "v", rows, v, v + p, v + n, wanted & 4 ? 2 : 0, 2}},
                 .out_of = {{.name = "o", rows, o, o + p, o + n, .is = KT_ACTIVATION}}};
    return c;
}

// Tiles are 32, 64 or 128 rows, the stream passes in pieces of 32 or 64; walks of few blocks are cut from T heads /
// kv_heads 512 on.
static void shapes(void **state) {
    (void)state;
    static const shape all[] = {
        {3, 2, 2, 2, 3, 1, 0, 0, 3},      {2, 17, 6, 2, 16, 16, 5, 7, 0},
        {1, 31, 3, 1, 8, 24, 0, 33, 8},   {1, 32, 1, 1, 1, 1, 1, 0, 0},
        {2, 33, 2, 1, 17, 33, 0, 0, 3},   {1, 64, 2, 1, 8, 8, 40, 1, 0},
        {2, 65, 3, 3, 64, 64, 64, 0, 0},  {1, 97, 1, 1, 8, 8, 100, 129, 0},
        {1, 128, 1, 1, 8, 8, 0, 0, 8},    {1, 129, 1, 1, 16, 8, 33, 1, 0},
        {1, 130, 4, 1, 8, 8, 0, 0, 3},    {1, 131, 4, 1, 24, 8, 16, 17, 0},
        {2, 131, 4, 1, 8, 8, 1, 129, 0},  {1, 257, 1, 1, 8, 8, 0, 0, 0},
        {1, 300, 1, 1, 8, 8, 64, 65, 0},  {1, 40, 2, 1, 64, 128, 0, 3, 0},
        {1, 65, 1, 1, 65, 80, 1, 0, 8},   {2, 35, 2, 1, 128, 128, 16, 0, 0},
        {1, 34, 1, 1, 192, 256, 0, 1, 0}, {2, 17, 2, 2, 256, 3, 5, 17, 8},
        {1, 97, 1, 1, 8, 8, 62, 0, 0},  // the window ends one key inside a piece of 32 by 32
    };
    wanted = 7;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const kt_case c = case_of(&all[i], i);
        for (int path = 0; path < kt_n_paths(); path++) kt_parity(&c, path, (i + (size_t)path) % 2 ? ~0u : 0, TOL);
        kt_parity(&c, KT_CPU_BF16, i % 2 ? ~0u : 0, TOL);
    }
    drop();
}

// One token sees itself alone: o = v and gradients of q and k are zero, so that a relative error is one of what was
// there before.
static void one_token(void **state) {
    (void)state;
    static const shape s = {2, 1, 4, 2, 16, 8, 0, 0, 0};
    wanted = 7;
    const kt_case c = case_of(&s, 50);
    for (int path = 0; path < kt_n_paths(); path++) kt_parity(&c, path, ~0u, TOL);
    drop();
}

// Each bit of acc alone; each gradient left out. The last two shapes cut walks of keys, and make dK and dV apart.
static void accumulation_and_null(void **state) {
    (void)state;
    static const shape all[] = {
        {2, 9, 2, 1, 8, 8, 3, 1, 0}, {2, 33, 16, 1, 3, 5, 0, 0, 0}, {1, 9, 2, 1, 136, 16, 3, 1, 0}};
    for (unsigned bits = 0; bits < 8; bits++) {
        const shape *s = &all[bits % 3];
        wanted = 7;
        kt_case c = case_of(s, 60 + bits);
        kt_parity(&c, bits % 2 ? KT_BF16 : KT_F32, bits, TOL);
        wanted = bits;
        c = case_of(s, 70 + bits);
        kt_parity(&c, bits % 2 ? KT_F32 : KT_BF16, 5, TOL);
    }
    drop();
}

// Weights dropped as dropout_rule.h says, stated again: the output of every query, and gradients against finite
// differences; then every path over shapes that cut tiles, rings of meta tokens, groups of heads and padding.
static void outputs_again(kt_case *c) {
    const shape *s = c->ctx;
    const hy_plan_req req = kt_oracle(true);
    kt_case_open(c, HY_F64, 0);
    forward(c, &req);
    for (int b = 0; b < s->B; b++)
        for (int t = 0; t < len[b]; t++)
            for (int h = 0; h < s->heads; h++) {
                const int kv = h * s->kv / s->heads;
                double sum = 0, w[64];
                for (int j = 0; j <= t; j++) {
                    w[j] = 0;
                    for (int e = 0; e < s->dqk; e++)
                        w[j] += kt_at(&c->in[0], b * s->T + t, h * s->dqk + e) *
                                kt_at(&c->in[1], b * s->T + j, kv * s->dqk + e) / sqrt(s->dqk);
                    w[j] = j < s->meta || !s->window || t - j <= s->window ? exp(w[j]) : 0;
                    sum += w[j];
                }
                for (int e = 0; e < s->dv; e++) {
                    double o = 0;
                    for (int j = 0; j <= t; j++) {
                        const uint64_t number = (uint64_t)(((b * s->heads + h) * s->T + t) * s->T + j),
                                       u = hy_mix64(hy_mix64(*drop_key, PLACE), number) >> 32;
                        if ((double)u >= drop_p * 0x1p32)
                            o += w[j] / sum / (1 - drop_p) * kt_at(&c->in[2], b * s->T + j, kv * s->dv + e);
                    }
                    const double got = kt_at(&c->out[0], b * s->T + t, h * s->dv + e);
                    if (!(fabs(got - o) <= 1e-12)) fail_msg("query %d, head %d: %.15g, not %.15g", t, h, got, o);
                }
            }
    kt_case_close(c);
}
static void dropout(void **state) {
    (void)state;
    static const shape small[] = {{2, 9, 2, 1, 4, 3, 0, 0, 3}, {2, 11, 3, 3, 5, 4, 3, 2, 1}};
    static const shape all[] = {{3, 2, 2, 2, 3, 1, 0, 0, 3},      {2, 17, 6, 2, 16, 16, 5, 7, 0},
                                {2, 1, 4, 2, 16, 8, 0, 0, 0},     {2, 65, 3, 3, 64, 64, 64, 0, 0},
                                {1, 131, 4, 1, 24, 8, 16, 17, 0}, {1, 34, 1, 1, 192, 256, 0, 1, 0}};
    drop_key = kt_alloc(sizeof *drop_key);
    *drop_key = UINT64_C(0x9876543210fedcba);
    wanted = 7;
    drop_p = 0.3;
    for (size_t i = 0; i < 2 && !KT_CUDA; i++) {
        kt_case c = case_of(&small[i], 80 + i);
        outputs_again(&c);
        kt_gradcheck(&c, 0);
        kt_gradcheck(&c, ~0u);
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {  // of one token: as one_token
        const kt_case c = case_of(&all[i], 90 + i);
        for (int path = 0; path < kt_n_paths(); path++)
            kt_parity(&c, path, all[i].T == 1 || (i + (size_t)path) % 2 ? ~0u : 0, TOL);
        kt_parity(&c, KT_CPU_BF16, all[i].T == 1 || i % 2 ? ~0u : 0, TOL);
    }
    drop();
    kt_release(drop_key);
    drop_key = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(one_token),
                                       cmocka_unit_test(accumulation_and_null), cmocka_unit_test(dropout)};
    return kt_group(tests);
}
