// attn_fixture.h - what the tests of attention share: one problem with its operands as views into wider buffers full of
// sentinels, random contents, and running a plan. Written for all element types at once through hy_dtype; in the CUDA
// mode of kernel_memory.h whatever is not float64 runs there.
#ifndef HY_TESTS_ATTN_FIXTURE_H
#define HY_TESTS_ATTN_FIXTURE_H
#include <math.h>

#include "tests/unit/kernel_test.h"

// A matrix [rows, cols] of `type` with sentinel columns after each row and sentinel rows before and after.
typedef struct {
    hy_dtype type;
    size_t rows, cols;
    int ld;
    void *all, *h, *p;  // h: element (0, 0); p: the same for kernels
} mat;
#define SENTINEL 12352.  // exact in every type
#define EDGE 3           // sentinel rows before and after

static inline double mat_get(const mat *m, const void *base, size_t i) { return kt_elem(base, m->type, i); }
static inline void mat_put(const mat *m, void *base, size_t i, double x) { kt_elem_set(base, m->type, i, x); }
// ld: `gap` columns more than cols, rounded up to a multiple of `align`.
static inline mat mat_make_aligned(hy_dtype type, size_t rows, size_t cols, int gap, int align) {
    mat m = {.type = type, .rows = rows, .cols = cols, .ld = ((int)cols + gap + align - 1) / align * align};
    size_t n = (rows + 2 * EDGE) * (size_t)m.ld;
    m.all = type == HY_F64 ? hy_xcalloc(n, sizeof(double)) : kt_alloc(n * hy_dtype_size(type));
    for (size_t i = 0; i < n; i++) mat_put(&m, m.all, i, SENTINEL);
    m.h = (char *)m.all + (size_t)EDGE * m.ld * hy_dtype_size(type);
    m.p = kt_dev(type, m.h);
    return m;
}
static inline mat mat_make(hy_dtype type, size_t rows, size_t cols, int gap) {
    return mat_make_aligned(type, rows, cols, gap, 1);
}
static inline double at(const mat *m, size_t r, size_t c) { return mat_get(m, m->h, r * (size_t)m->ld + c); }
static inline void set(mat *m, size_t r, size_t c, double x) { mat_put(m, m->h, r * (size_t)m->ld + c, x); }
static inline void mat_free(mat *m) { kt_release(m->all); }
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
                if (mat_get(m, m->all, r * (size_t)m->ld + c) != SENTINEL)
                    fail_msg("a kernel wrote outside its operand");
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
        if (memcmp((char *)a->h + r * (size_t)a->ld * hy_dtype_size(a->type),
                   (char *)b->h + r * (size_t)b->ld * hy_dtype_size(b->type), b->cols * hy_dtype_size(a->type)))
            return false;
    return true;
}

// What a path (kernel_memory.h: an instruction set, in the CUDA mode a precision) is asked for; float64 is the oracle
// whatever the path.
static inline hy_plan_req req_of(hy_dtype type, int path, int threads) {
    return type == HY_F64 ? kt_oracle(true) : kt_req(path, threads, true);
}
static inline hy_dtype type_of(int path) { return kt_req(path, 1, true).dtype; }

// One attention problem, forward and backward, without a cache.
typedef struct {
    int B, T, heads, kv, dqk, dv, window, meta;
    hy_dtype type;
    mat q, k, v, o, lse, dout, dq, dk, dv_;
    int32_t *pos, *len;
} prob;
// align: of the rows of all operands, in elements.
static inline prob prob_make_aligned(hy_dtype type, int B, int T, int heads, int kv, int dqk, int dv, int window,
                                     int meta, int align, uint64_t seed) {
    prob p = {B, T, heads, kv, dqk, dv, window, meta, .type = type};
    size_t rows = (size_t)B * T;
    p.q = mat_make_aligned(type, rows, (size_t)heads * dqk, 5, align),
    p.k = mat_make_aligned(type, rows, (size_t)kv * dqk, 3, align);
    p.v = mat_make_aligned(type, rows, (size_t)kv * dv, 1, align),
    p.o = mat_make_aligned(type, rows, (size_t)heads * dv, 2, align);
    p.lse = mat_make(kt_wide(type), rows, (size_t)heads, 0),
    p.dout = mat_make_aligned(type, rows, (size_t)heads * dv, 4, align);
    p.dq = mat_make_aligned(type, rows, (size_t)heads * dqk, 1, align),
    p.dk = mat_make_aligned(type, rows, (size_t)kv * dqk, 7, align);
    p.dv_ = mat_make_aligned(type, rows, (size_t)kv * dv, 6, align);
    hy_rng rng = hy_rng_make(seed, 1);
    mat_random(&p.q, &rng), mat_random(&p.k, &rng), mat_random(&p.v, &rng), mat_random(&p.dout, &rng);
    p.pos = kt_alloc((size_t)B * sizeof *p.pos), p.len = kt_alloc((size_t)B * sizeof *p.len);
    for (int b = 0; b < B; b++) p.pos[b] = 0, p.len[b] = T;
    return p;
}
static inline prob prob_make(hy_dtype type, int B, int T, int heads, int kv, int dqk, int dv, int window, int meta,
                             uint64_t seed) {
    return prob_make_aligned(type, B, T, heads, kv, dqk, dv, window, meta, 1, seed);
}
static inline void prob_free(prob *p) {
    mat *all[] = {&p->q, &p->k, &p->v, &p->o, &p->lse, &p->dout, &p->dq, &p->dk, &p->dv_};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mat_free(all[i]);
    kt_release(p->pos), kt_release(p->len);
}
static inline void prob_check_edges(const prob *p) {
    const mat *all[] = {&p->q, &p->k, &p->v, &p->o, &p->lse, &p->dout, &p->dq, &p->dk, &p->dv_};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mat_check_edges(all[i]);
}
static inline hy_attention_args prob_args(const prob *p) {
    return (hy_attention_args){.B = p->B,
                               .T = p->T,
                               .heads = p->heads,
                               .kv_heads = p->kv,
                               .d_qk = p->dqk,
                               .d_v = p->dv,
                               .window = p->window,
                               .meta = p->meta,
                               .scale = 1 / sqrt(p->dqk),
                               .q = p->q.p,
                               .k = p->k.p,
                               .v = p->v.p,
                               .o = p->o.p,
                               .ldq = p->q.ld,
                               .ldk = p->k.ld,
                               .ldv = p->v.ld,
                               .ldo = p->o.ld,
                               .pos = kt_dev(p->type, p->pos),
                               .len = kt_dev(p->type, p->len),
                               .saved = p->lse.p};
}
static inline hy_attention_bwd_args prob_bwd_args(const prob *p, unsigned acc) {
    return (hy_attention_bwd_args){.f = prob_args(p),
                                   .dout = p->dout.p,
                                   .dq = p->dq.p,
                                   .dk = p->dk.p,
                                   .dv = p->dv_.p,
                                   .lddo = p->dout.ld,
                                   .lddq = p->dq.ld,
                                   .lddk = p->dk.ld,
                                   .lddv = p->dv_.ld,
                                   .acc = acc};
}
static inline void prob_forward(const prob *p, int path, int threads) {
    hy_attention_args a = prob_args(p);
    hy_plan_req r = req_of(p->type, path, threads);
    kt_run(HY_K_attention, &a, &r);
}
static inline void prob_backward(const prob *p, int path, int threads, unsigned acc) {
    hy_attention_bwd_args a = prob_bwd_args(p, acc);
    hy_plan_req r = req_of(p->type, path, threads);
    kt_run(HY_K_attention_bwd, &a, &r);
}
// The same problem in float64, with the numbers that p holds.
static inline prob prob_oracle(const prob *p) {
    prob d = prob_make(HY_F64, p->B, p->T, p->heads, p->kv, p->dqk, p->dv, p->window, p->meta, 0);
    mat_copy(&d.q, &p->q), mat_copy(&d.k, &p->k), mat_copy(&d.v, &p->v), mat_copy(&d.dout, &p->dout);
    memcpy(d.pos, p->pos, (size_t)p->B * sizeof *p->pos), memcpy(d.len, p->len, (size_t)p->B * sizeof *p->len);
    return d;
}
#endif
