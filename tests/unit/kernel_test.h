// kernel_test.h - what every kernel test needs: operands with sentinels around and between their rows, random fill,
// relative errors, a runner with a guarded workspace, and one harness (kt_case) that holds an op and its backward
// against the double-precision oracle and against finite differences. For cmocka programs; include after no other
// header. In the CUDA mode (kernel_memory.h) the same tests hold the GPU's kernels, in every precision, against the
// same oracle.
#ifndef HY_KERNEL_TEST_H
#define HY_KERNEL_TEST_H
#include <math.h>

#include "tests/unit/kernel_memory.h"

// ---------------------------------------------------------------------------------------------------- operands
#define KT_GUARD 64          // elements before and after an operand
#define KT_SENTINEL -12352.  // exact in float, double and bfloat16; no kernel writes it

// rows x cols values in rows of ld elements; what is not a value holds the sentinel. A test reads and writes at h;
// kernels get p, which is the same but in the CUDA mode (kernel_memory.h), where only float64 operands are the CPU's.
typedef struct {
    hy_dtype dt;  // HY_F32, HY_F64 or HY_BF16
    int rows, cols, ld;
    size_t n;  // elements with guards
    void *base, *h, *p;
} kt_mat;

static inline double kt_elem(const void *p, hy_dtype dt, size_t i) {
    return dt == HY_F64    ? ((const double *)p)[i]
           : dt == HY_BF16 ? (double)hy_f32_from_bf16(((const uint16_t *)p)[i])
                           : (double)((const float *)p)[i];
}
static inline void kt_elem_set(void *p, hy_dtype dt, size_t i, double v) {
    if (dt == HY_F64)
        ((double *)p)[i] = v;
    else if (dt == HY_BF16)
        ((uint16_t *)p)[i] = hy_bf16_from_f32((float)v);
    else
        ((float *)p)[i] = (float)v;
}
static inline double kt_at(const kt_mat *m, int r, int c) { return kt_elem(m->h, m->dt, (size_t)r * m->ld + c); }
static inline void kt_put(kt_mat *m, int r, int c, double v) { kt_elem_set(m->h, m->dt, (size_t)r * m->ld + c, v); }

static inline kt_mat kt_new(hy_dtype dt, int rows, int cols, int ld) {
    kt_mat m = {.dt = dt, .rows = rows, .cols = cols, .ld = ld, .n = (size_t)rows * ld + 2 * KT_GUARD};
    m.base = dt == HY_F64 ? hy_alloc(m.n * sizeof(double)) : kt_alloc(m.n * hy_dtype_size(dt));
    assert_non_null(m.base);
    m.h = (char *)m.base + KT_GUARD * hy_dtype_size(dt);
    m.p = kt_dev(dt, m.h);
    for (size_t i = 0; i < m.n; i++) kt_elem_set(m.base, dt, i, KT_SENTINEL);
    return m;
}
// An operand that may be absent: p is NULL without rows. Rows are `pad` elements longer than their values.
static inline kt_mat kt_new_padded(hy_dtype dt, int rows, int cols, int pad) {
    return rows ? kt_new(dt, rows, cols, cols + pad) : (kt_mat){.dt = dt, .cols = cols, .ld = cols + pad};
}
static inline void kt_free(kt_mat *m) {
    kt_release(m->base);
    *m = (kt_mat){0};
}
// Fails the test if anything but the values was written.
static inline void kt_check(const kt_mat *m, const char *what) {
    for (size_t i = 0; i < m->n; i++) {
        size_t at = i - KT_GUARD, count = (size_t)m->rows * m->ld;
        bool value = i >= KT_GUARD && at < count && at % (size_t)m->ld < (size_t)m->cols;
        if (!value && kt_elem(m->base, m->dt, i) != KT_SENTINEL)
            fail_msg("%s: written outside its [%d,%d] values, at element %zd of row stride %d", what, m->rows, m->cols,
                     (ssize_t)i - KT_GUARD, m->ld);
    }
}
// Values N(0,1) * scale + shift, rounded to float so that both types hold the same numbers.
static inline void kt_random(kt_mat *m, uint64_t seed, double scale, double shift) {
    hy_rng r = hy_rng_make(seed, 7);
    for (int i = 0; i < m->rows; i++)
        for (int j = 0; j < m->cols; j++) kt_put(m, i, j, (float)(hy_rng_normal(&r) * scale + shift));
}
static inline void kt_fill(kt_mat *m, double v) {
    for (int i = 0; i < m->rows; i++)
        for (int j = 0; j < m->cols; j++) kt_put(m, i, j, v);
}
static inline void kt_copy(kt_mat *dst, const kt_mat *src) {
    for (int i = 0; i < src->rows; i++)
        for (int j = 0; j < src->cols; j++) kt_put(dst, i, j, kt_at(src, i, j));
}
// The values a kernel in this type would be given.
static inline void kt_round(kt_mat *m, hy_dtype like) {
    for (int i = 0; i < m->rows && like == HY_BF16; i++)
        for (int j = 0; j < m->cols; j++) kt_put(m, i, j, hy_f32_from_bf16(hy_bf16_from_f32((float)kt_at(m, i, j))));
}
// ||a - b|| / ||b|| over the values; infinity when one is not a number.
static inline double kt_error(const kt_mat *a, const kt_mat *b) {
    double d = 0, n = 0;
    for (int i = 0; i < b->rows; i++)
        for (int j = 0; j < b->cols; j++) {
            double x = kt_at(a, i, j), y = kt_at(b, i, j);
            d += (x - y) * (x - y);
            n += y * y;
        }
    if (!(d >= 0) || !isfinite(d) || !isfinite(n)) return INFINITY;
    return d == 0 ? 0 : sqrt(d) / (sqrt(n) + 1e-30);
}
static inline void kt_near(const kt_mat *a, const kt_mat *b, double limit, const char *what) {
    double e = kt_error(a, b);
    if (!(e <= limit)) fail_msg("%s: relative error %.3g is above %.3g", what, e, limit);
}
static inline bool kt_same_bits(const kt_mat *a, const kt_mat *b) {
    return a->n == b->n && a->dt == b->dt && !memcmp(a->base, b->base, a->n * hy_dtype_size(a->dt));
}
// Fails unless rows [ra, ra + n) of a have the bits of rows [rb, rb + n) of b.
static inline void kt_same_rows(const kt_mat *a, int ra, const kt_mat *b, int rb, int n, const char *what) {
    size_t es = hy_dtype_size(a->dt);
    for (int r = 0; r < n; r++)
        if (memcmp((char *)a->h + (size_t)(ra + r) * a->ld * es, (char *)b->h + (size_t)(rb + r) * b->ld * es,
                   (size_t)a->cols * es))
            fail_msg("%s: other bits in row %d", what, r);
}

// What forward leaves for backward, of so many bytes: NaN until it is written, sentinels around it.
static inline kt_mat kt_new_saved(hy_dtype dt, size_t bytes) {
    const hy_dtype like = dt == HY_F64 ? HY_F64 : HY_F32;
    kt_mat m = kt_new_padded(like, 1, (int)((bytes + hy_dtype_size(like) - 1) / hy_dtype_size(like)), 0);
    kt_fill(&m, NAN);
    return m;
}
// The type of what is float32 even where activations are bfloat16: parameters, their gradients, losses, states.
static inline hy_dtype kt_wide(hy_dtype dt) { return dt == HY_BF16 ? HY_F32 : dt; }

// -------------------------------------------------------------------------------------------------- one op, all checks
// A case is an op with concrete shapes. The test fills names, sizes and the two run functions; the harness owns the
// rest.
//   in[i]   inputs and parameters; grad[i] its gradient (absent when in_grad is 0)
//   out[i]  outputs; dout[i] the random gradient that comes in. loss = sum over i of <out[i], dout[i]>
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"  // operands are written in short: what is left out is 0
#define KT_MAX 8
typedef struct kt_case kt_case;
// What an operand is, and so its type where activations are bfloat16.
typedef enum {
    KT_BY_GRAD = 0,  // a parameter if its gradient is always added to, else an activation
    KT_ACTIVATION,
    KT_WIDE,    // float32, gradient too: parameters, states, losses
    KT_MATRIX,  // a weight matrix with a w_dtype: bfloat16 with kt_case.w_dtype HY_BF16; its gradient is float32
} kt_class;
typedef struct {
    const char *name;
    int rows, cols, ld, ldgrad;  // ld 0: cols; ldgrad 0: cols
    int grad;                    // 0: no gradient wanted, 1: always added to (parameter), 2: by the bit `accbit`
    int accbit;
    double scale, shift;  // random fill; scale 0: 1
    kt_class is;
    double allow;  // CUDA, but for f32: times the tolerance of its gradient; 0: 1. The test says why
} kt_operand;
struct kt_case {
    int n_in, n_out;
    kt_operand in_of[KT_MAX], out_of[KT_MAX];
    void (*forward)(kt_case *c, const hy_plan_req *req);   // builds the arguments from the mats and runs them
    void (*backward)(kt_case *c, const hy_plan_req *req);  // NULL: the op has none
    const void *ctx;                                       // the test's own
    uint64_t seed;
    double allow[KT_PRECISIONS];  // CUDA: times the tolerance of the table; 0: 1. The test says why
    unsigned acc;
    hy_dtype dt;       // of the operands of this run
    hy_dtype like;     // of the numbers in them: HY_BF16 for an oracle in float64 that gets what a bfloat16 kernel gets
    hy_dtype w_dtype;  // to give to kernels with one
    kt_mat in[KT_MAX], grad[KT_MAX], out[KT_MAX], dout[KT_MAX];
};
static inline kt_class kt_class_of(const kt_operand *o) {
    return o->is ? o->is : o->grad == 1 ? KT_WIDE : KT_ACTIVATION;
}
static inline hy_dtype kt_values(const kt_operand *o, hy_dtype like, bool gradient) {
    const kt_class k = kt_class_of(o);
    return k == KT_ACTIVATION || (k == KT_MATRIX && !gradient) ? like : kt_wide(like);
}
// One operand of the case, full of random values that its type holds.
static inline kt_mat kt_case_new(const kt_case *c, const kt_operand *o, bool gradient, uint64_t stream) {
    const hy_dtype like = kt_values(o, c->like, gradient);
    const int ld = gradient ? o->ldgrad : o->ld;
    kt_mat m = kt_new(c->dt == HY_F64 ? HY_F64 : like, o->rows, o->cols, ld ? ld : o->cols);
    kt_random(&m, hy_mix64(c->seed, stream), !gradient && o->scale != 0 ? o->scale : 1, gradient ? 0 : o->shift);
    kt_round(&m, like);
    return m;
}
static inline void kt_case_open_like(kt_case *c, hy_dtype dt, hy_dtype like, unsigned acc) {
    c->dt = dt, c->like = like, c->acc = acc;
    c->w_dtype = dt == HY_BF16 ? HY_BF16 : HY_F32;
    for (int i = 0; i < c->n_in; i++) {
        c->in[i] = kt_case_new(c, &c->in_of[i], false, (uint64_t)i);
        if (c->in_of[i].grad) c->grad[i] = kt_case_new(c, &c->in_of[i], true, 100 + (uint64_t)i);
    }
    for (int i = 0; i < c->n_out; i++) {
        const kt_operand *o = &c->out_of[i];
        c->out[i] = kt_new(dt == HY_F64 ? dt : kt_values(o, like, false), o->rows, o->cols, o->ld ? o->ld : o->cols);
        kt_fill(&c->out[i], NAN);  // an output that is not written shows
        c->dout[i] = kt_case_new(c, o, true, 200 + (uint64_t)i);
    }
}
static inline void kt_case_open(kt_case *c, hy_dtype dt, unsigned acc) { kt_case_open_like(c, dt, dt, acc); }
static inline void kt_case_close(kt_case *c) {
    for (int i = 0; i < KT_MAX; i++) {
        kt_free(&c->in[i]);
        kt_free(&c->grad[i]);
        kt_free(&c->out[i]);
        kt_free(&c->dout[i]);
    }
}
static inline void kt_case_check(const kt_case *c) {
    for (int i = 0; i < c->n_in; i++) {
        kt_check(&c->in[i], c->in_of[i].name);
        if (c->in_of[i].grad) kt_check(&c->grad[i], c->in_of[i].name);
    }
    for (int i = 0; i < c->n_out; i++) {
        kt_check(&c->out[i], c->out_of[i].name);
        kt_check(&c->dout[i], c->out_of[i].name);
    }
}
static inline bool kt_adds(const kt_case *c, int i) {
    return c->in_of[i].grad == 1 || (c->in_of[i].grad == 2 && (c->acc >> c->in_of[i].accbit & 1));
}
static inline double kt_case_loss(kt_case *c, const hy_plan_req *req) {
    double s = 0;
    c->forward(c, req);
    for (int i = 0; i < c->n_out; i++)
        for (int r = 0; r < c->out[i].rows; r++)
            for (int j = 0; j < c->out[i].cols; j++) s += kt_at(&c->out[i], r, j) * kt_at(&c->dout[i], r, j);
    return s;
}

#define KT_FD_STEP 1e-5  // central differences in double: truncation about h^2, rounding about 1e-16 / h
#define KT_FD_LIMIT 1e-6
#define KT_FD_SAMPLES 200  // elements of an operand that are perturbed
// Gradients of the double-precision oracle against finite differences of its forward; `acc` as given.
static inline void kt_gradcheck(kt_case *c, unsigned acc) {
    hy_plan_req req = kt_oracle(true);
    kt_case_open(c, HY_F64, acc);
    kt_mat before[KT_MAX] = {0};
    for (int i = 0; i < c->n_in; i++)
        if (c->in_of[i].grad) {
            before[i] = kt_new(HY_F64, c->grad[i].rows, c->grad[i].cols, c->grad[i].ld);
            kt_copy(&before[i], &c->grad[i]);
        }
    c->forward(c, &req);
    c->backward(c, &req);
    kt_case_check(c);
    for (int i = 0; i < c->n_in; i++) {
        if (!c->in_of[i].grad) continue;
        size_t total = (size_t)c->in[i].rows * c->in[i].cols, step = total / KT_FD_SAMPLES + 1;
        double d = 0, n = 0;
        for (size_t e = 0; e < total; e += step) {
            int r = (int)(e / c->in[i].cols), j = (int)(e % c->in[i].cols);
            double x = kt_at(&c->in[i], r, j);
            kt_put(&c->in[i], r, j, x + KT_FD_STEP);
            double up = kt_case_loss(c, &req);
            kt_put(&c->in[i], r, j, x - KT_FD_STEP);
            double down = kt_case_loss(c, &req);
            kt_put(&c->in[i], r, j, x);
            double fd = (up - down) / (2 * KT_FD_STEP);
            double g = kt_at(&c->grad[i], r, j) - (kt_adds(c, i) ? kt_at(&before[i], r, j) : 0);
            d += (fd - g) * (fd - g);
            n += fd * fd;
        }
        double e = sqrt(d) / (sqrt(n) + 1e-3);
        if (!(e <= KT_FD_LIMIT))
            fail_msg("gradient of %s: relative error %.3g against finite differences", c->in_of[i].name, e);
        kt_free(&before[i]);
    }
    kt_case_close(c);
}

// With KT_SMALL in the environment (under compute-sanitizer, a hundred times slower) cases with a larger first operand
// are left out.
#define KT_SMALL_OPERAND 4000
// Tolerances of the CUDA mode. For random factors an error of u relative to each product leaves about u relative to the
// sum, whatever its length, so they do not grow with the shapes. An op with a reason for more multiplies
// (kt_case.allow).
static const struct {
    double out, grad, param;  // of outputs, gradients of activations, gradients of parameters (always float32)
} kt_limits[KT_PRECISIONS] = {
    [KT_F32] = {0, 0, 0},  // that of the op on the CPU
    // Two factors of 11 significant bits a product: 2^-11 each at most, about 2^-11.5 together; products of products
    // backward.
    [KT_TF32] = {0x1p-10, 0x1p-9, 0x1p-9},
    // Results are rounded to 8 significant bits (2^-9 at most), and so are factors made inside; gradients are added to
    // twice, and rounded twice. Gradients of parameters are not rounded, their factors may be.
    [KT_BF16] = {0x1p-8, 0x1p-7, 0x1p-8},
};
static inline double kt_limit(const kt_case *c, int path, const kt_operand *gradient_of, double limit) {
    if (path == KT_CPU_BF16)
        path = KT_BF16;
    else if (!KT_CUDA)
        return limit;
    if (path == KT_TF32 && !kt_used_tf32) path = KT_F32;  // the kernel has no such products
    const double t = !gradient_of                                ? kt_limits[path].out
                     : kt_class_of(gradient_of) == KT_ACTIVATION ? kt_limits[path].grad
                                                                 : kt_limits[path].param;
    const double own = path != KT_F32 && gradient_of && gradient_of->allow != 0 ? gradient_of->allow : 1;
    return (path == KT_F32 ? limit : t) * (c->allow[path] != 0 ? c->allow[path] : 1) * own;
}

// One path (kernel_memory.h: an instruction set, in the CUDA mode a precision) against the double oracle on the same
// numbers, two micro-steps of backward, and the same bits for 1, 2 and 3 threads; on a GPU in two runs.
static inline void kt_parity(const kt_case *proto, int path, unsigned acc, double limit) {
    if (path >= kt_n_paths() && (KT_CUDA || path != KT_CPU_BF16)) return;
    if (getenv("KT_SMALL") && (long)proto->in_of[0].rows * proto->in_of[0].cols > KT_SMALL_OPERAND) return;
    const int runs = KT_CUDA ? 2 : 3;
    const hy_dtype like = kt_req(path, 1, true).dtype;
    kt_case want = *proto, got[3] = {*proto, *proto, *proto};
    hy_plan_req ref = kt_oracle(true);
    kt_case_open_like(&want, HY_F64, like, acc);
    want.forward(&want, &ref);
    for (int step = 0; step < 2 && want.backward; step++) want.backward(&want, &ref);
    kt_used_tf32 = false;
    for (int t = 0; t < runs; t++) {
        kt_case *g = &got[t];
        hy_plan_req req = kt_req(path, t + 1, true);
        kt_case_open(g, req.dtype, acc);
        g->forward(g, &req);
        for (int step = 0; step < 2 && g->backward; step++) g->backward(g, &req);
        kt_case_check(g);
        for (int i = 0; i < g->n_out; i++) {
            char what[80];
            snprintf(what, sizeof what, "%s: %s", kt_path_name(path), g->out_of[i].name);
            kt_near(&g->out[i], &want.out[i], kt_limit(g, path, NULL, limit), what);
            if (t && !kt_same_bits(&g->out[i], &got[0].out[i]))
                fail_msg("%s: %d threads (on a GPU: another run) give other bits", what, t + 1);
        }
        for (int i = 0; i < g->n_in && g->backward; i++) {
            if (!g->in_of[i].grad) continue;
            char what[80];
            snprintf(what, sizeof what, "%s: gradient of %s", kt_path_name(path), g->in_of[i].name);
            kt_near(&g->grad[i], &want.grad[i], kt_limit(g, path, &g->in_of[i], limit), what);
            if (t && !kt_same_bits(&g->grad[i], &got[0].grad[i]))
                fail_msg("%s: %d threads (on a GPU: another run) give other bits", what, t + 1);
        }
    }
    for (int t = 0; t < runs; t++) kt_case_close(&got[t]);
    kt_case_close(&want);
}
// The acc bits that the case has.
static inline unsigned kt_acc_bits(const kt_case *c) {
    unsigned bits = 0;
    for (int i = 0; i < c->n_in; i++)
        if (c->in_of[i].grad == 2) bits |= 1u << c->in_of[i].accbit;
    return bits;
}
// Every path against the oracle, with no acc bit, with all, and where there are several with each alone.
static inline void kt_paths(const kt_case *c, double limit) {
    const unsigned bits = kt_acc_bits(c);
    for (int k = 0; k <= kt_n_paths(); k++) {  // the last: bfloat16 on the CPU
        const int path = k < kt_n_paths() ? k : KT_CPU_BF16;
        kt_parity(c, path, 0, limit);
        kt_parity(c, path, ~0u, limit);
        for (unsigned bit = 1; bits & (bits - 1) && bit && bit <= bits; bit <<= 1)
            if (bits & bit) kt_parity(c, path, bit, limit);
    }
}
// Everything: finite differences (of the oracle, so not again in the CUDA mode), then every path.
static inline void kt_all(kt_case *c, double limit) {
    if (c->backward && !KT_CUDA) {
        const unsigned bits = kt_acc_bits(c);
        kt_gradcheck(c, 0);
        kt_gradcheck(c, ~0u);
        for (unsigned bit = 1; bit && bits & (bits - 1) && bit <= bits; bit <<= 1)
            if (bits & bit) kt_gradcheck(c, bit);
    }
    kt_paths(c, limit);
}
#endif
