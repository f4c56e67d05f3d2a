// attn_fixture.h - what the tests of attention share: one problem with its operands as views into wider buffers full of
// sentinels, random contents, and running a plan. Written for float and double at once through hy_dtype.
#ifndef HY_TESTS_ATTN_FIXTURE_H
#define HY_TESTS_ATTN_FIXTURE_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"

// A matrix [rows, cols] of `type` with `gap` sentinel columns after each row and sentinel rows before and after.
typedef struct {
    hy_dtype type;
    size_t rows, cols;
    int ld;
    void *all, *p;  // p: element (0, 0)
} mat;
#define SENTINEL 12345.625  // exact in float32
#define EDGE 3              // sentinel rows before and after

static inline double mat_get(const mat *m, const void *base, size_t i) {
    (void)m;
    return m->type == HY_F64 ? ((const double *)base)[i] : (double)((const float *)base)[i];
}
static inline void mat_put(const mat *m, void *base, size_t i, double x) {
    if (m->type == HY_F64) ((double *)base)[i] = x;
    else ((float *)base)[i] = (float)x;
}
static inline mat mat_make(hy_dtype type, size_t rows, size_t cols, int gap) {
    mat m = {.type = type, .rows = rows, .cols = cols, .ld = (int)cols + gap};
    size_t n = (rows + 2 * EDGE) * (size_t)m.ld;
    m.all = hy_xcalloc(n, hy_dtype_size(type));
    for (size_t i = 0; i < n; i++) mat_put(&m, m.all, i, SENTINEL);
    m.p = (char *)m.all + (size_t)EDGE * m.ld * hy_dtype_size(type);
    return m;
}
static inline double at(const mat *m, size_t r, size_t c) { return mat_get(m, m->p, r * (size_t)m->ld + c); }
static inline void set(mat *m, size_t r, size_t c, double x) { mat_put(m, m->p, r * (size_t)m->ld + c, x); }
static inline void mat_free(mat *m) { free(m->all); }
static inline void mat_random(mat *m, hy_rng *rng) {
    for (size_t r = 0; r < m->rows; r++)
        for (size_t c = 0; c < m->cols; c++) set(m, r, c, hy_rng_normal(rng));
}
static inline void mat_fill(mat *m, double x) {
    for (size_t r = 0; r < m->rows; r++)
        for (size_t c = 0; c < m->cols; c++) set(m, r, c, x);
}
static inline void mat_copy(mat *dst, const mat *src) {  // may change the element type
    for (size_t r = 0; r < src->rows; r++)
        for (size_t c = 0; c < src->cols; c++) set(dst, r, c, at(src, r, c));
}
static inline void mat_check_edges(const mat *m) {
    for (size_t r = 0; r < m->rows + 2 * EDGE; r++)
        for (size_t c = 0; c < (size_t)m->ld; c++)
            if (r < EDGE || r >= m->rows + EDGE || c >= m->cols)
                if (mat_get(m, m->all, r * (size_t)m->ld + c) != SENTINEL) fail_msg("a kernel wrote outside its operand");
}
// ||a - b|| / ||b||, and for tiny b the plain norm
static inline double mat_error(const mat *a, const mat *b) {
    double d = 0, n = 0;
    for (size_t r = 0; r < b->rows; r++)
        for (size_t c = 0; c < b->cols; c++) {
            double x = at(a, r, c), y = at(b, r, c);
            if (!isfinite(x)) return INFINITY;
            d += (x - y) * (x - y), n += y * y;
        }
    return sqrt(d) / (n > 1e-20 ? sqrt(n) : 1.0);
}
static inline bool mat_same_bits(const mat *a, const mat *b) {
    for (size_t r = 0; r < b->rows; r++)
        if (memcmp((char *)a->p + r * (size_t)a->ld * hy_dtype_size(a->type), (char *)b->p + r * (size_t)b->ld * hy_dtype_size(b->type),
                   b->cols * hy_dtype_size(a->type)))
            return false;
    return true;
}

// Runs the plan with a workspace between sentinels, full of NaN so that a read of unwritten scratch shows.
static inline void run_plan(hy_plan_fn plan, const void *args, const hy_plan_req *req) {
    hy_launch l;
    if (plan(args, req, &l) != HY_OK) fail_msg("plan: %s", hy_error_text());
    unsigned char *ws = hy_alloc(l.workspace + 128);
    assert_non_null(ws);
    memset(ws, 0xff, l.workspace + 128);
    if (l.run(args, ws + 64, req) != HY_OK) fail_msg("run: %s", hy_error_text());
    for (int i = 0; i < 64; i++)
        if (ws[i] != 0xff || ws[64 + l.workspace + i] != 0xff) fail_msg("a kernel wrote outside its workspace");
    free(ws);
}
static inline hy_plan_req req_of(hy_dtype type, hy_isa isa, int threads) {
    return (hy_plan_req){.dtype = type, .isa = isa, .threads = threads, .training = true};
}

// One attention problem, forward and backward, without a cache.
typedef struct {
    int B, T, heads, kv, dqk, dv, window, meta;
    hy_dtype type;
    mat q, k, v, o, lse, dout, dq, dk, dv_;
    int32_t *pos, *len;
} prob;
static inline prob prob_make(hy_dtype type, int B, int T, int heads, int kv, int dqk, int dv, int window, int meta, uint64_t seed) {
    prob p = {B, T, heads, kv, dqk, dv, window, meta, .type = type};
    size_t rows = (size_t)B * T;
    p.q = mat_make(type, rows, (size_t)heads * dqk, 5), p.k = mat_make(type, rows, (size_t)kv * dqk, 3);
    p.v = mat_make(type, rows, (size_t)kv * dv, 1), p.o = mat_make(type, rows, (size_t)heads * dv, 2);
    p.lse = mat_make(type, rows, (size_t)heads, 0), p.dout = mat_make(type, rows, (size_t)heads * dv, 4);
    p.dq = mat_make(type, rows, (size_t)heads * dqk, 1), p.dk = mat_make(type, rows, (size_t)kv * dqk, 7);
    p.dv_ = mat_make(type, rows, (size_t)kv * dv, 6);
    hy_rng rng = hy_rng_make(seed, 1);
    mat_random(&p.q, &rng), mat_random(&p.k, &rng), mat_random(&p.v, &rng), mat_random(&p.dout, &rng);
    p.pos = hy_xcalloc((size_t)B, sizeof *p.pos), p.len = hy_xcalloc((size_t)B, sizeof *p.len);
    for (int b = 0; b < B; b++) p.len[b] = T;
    return p;
}
static inline void prob_free(prob *p) {
    mat *all[] = {&p->q, &p->k, &p->v, &p->o, &p->lse, &p->dout, &p->dq, &p->dk, &p->dv_};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mat_free(all[i]);
    free(p->pos), free(p->len);
}
static inline void prob_check_edges(const prob *p) {
    const mat *all[] = {&p->q, &p->k, &p->v, &p->o, &p->lse, &p->dout, &p->dq, &p->dk, &p->dv_};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mat_check_edges(all[i]);
}
static inline hy_attention_args prob_args(const prob *p) {
    return (hy_attention_args){.B = p->B, .T = p->T, .heads = p->heads, .kv_heads = p->kv, .d_qk = p->dqk, .d_v = p->dv,
                               .window = p->window, .meta = p->meta, .scale = 1 / sqrt(p->dqk), .q = p->q.p, .k = p->k.p,
                               .v = p->v.p, .o = p->o.p, .ldq = p->q.ld, .ldk = p->k.ld, .ldv = p->v.ld, .ldo = p->o.ld,
                               .pos = p->pos, .len = p->len, .saved = p->lse.p};
}
static inline hy_attention_bwd_args prob_bwd_args(const prob *p, unsigned acc) {
    return (hy_attention_bwd_args){.f = prob_args(p), .dout = p->dout.p, .dq = p->dq.p, .dk = p->dk.p, .dv = p->dv_.p,
                                   .lddo = p->dout.ld, .lddq = p->dq.ld, .lddk = p->dk.ld, .lddv = p->dv_.ld, .acc = acc};
}
static inline void prob_forward(prob *p, hy_isa isa, int threads) {
    hy_attention_args a = prob_args(p);
    hy_plan_req r = req_of(p->type, isa, threads);
    run_plan(hy_cpu_plan_attention, &a, &r);
}
static inline void prob_backward(prob *p, hy_isa isa, int threads, unsigned acc) {
    hy_attention_bwd_args a = prob_bwd_args(p, acc);
    hy_plan_req r = req_of(p->type, isa, threads);
    run_plan(hy_cpu_plan_attention_bwd, &a, &r);
}
#endif
