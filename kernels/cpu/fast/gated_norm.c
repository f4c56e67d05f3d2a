// gated_norm.c - a gate with or without RMSNorm in float32, forward and backward. Backward recomputes the statistics:
// the row is in the cache anyway. Workspace of backward: one row of groups * C sums for each row block.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

typedef struct {
    const float *x, *gate, *w, *dy;
    float *y, *dx, *dgate, *dw;
    int C;
} vectors;

// Sum over the vector of h^2 and, with dy, of dy w s h; s as in gated_norm.c.
HY_VINLINE float square_sum(const vectors *v, hy_gated_kind kind, float *with_dy) {
    hy_vf s = {0}, d = {0};
    HY_VFOR(i, n, v->C) {
        hy_vf h = hy_vget(v->x + i, n), g = hy_vget(v->gate + i, n), silu = g * hy_vsigmoid(g);
        if (kind == HY_GATED_GATE_FIRST) h *= silu;
        s += h * h;
        if (!with_dy) continue;
        hy_vf u = hy_vget(v->dy + i, n) * hy_vget(v->w + i, n) * h;
        d += kind == HY_GATED_GATE_FIRST ? u : u * silu;
    }
    if (with_dy) *with_dy = hy_vsum(d);
    return hy_vsum(s);
}

HY_VINLINE void forward(const vectors *v, hy_gated_kind kind, double eps) {
    const float rstd = kind == HY_GATED_ONLY ? 1 : (float)(1 / sqrt((double)square_sum(v, kind, NULL) / v->C + eps));
    HY_VFOR(i, n, v->C) {
        hy_vf g = hy_vget(v->gate + i, n), y = hy_vget(v->x + i, n) * (g * hy_vsigmoid(g)) * rstd;
        if (kind != HY_GATED_ONLY) y *= hy_vget(v->w + i, n);
        hy_vput(v->y + i, y, n);
    }
}

HY_VINLINE void add_to(float *at, hy_vf v, int n, bool add) { hy_vput(at, add ? hy_vget(at, n) + v : v, n); }

// With n = h rstd and u = dy w s: dh = rstd (u - n mean(u n)).
HY_VINLINE void backward(const vectors *v, hy_gated_kind kind, double eps, unsigned acc) {
    float rstd = 1, mean = 0;
    if (kind != HY_GATED_ONLY) {
        float uh;
        rstd = (float)(1 / sqrt((double)square_sum(v, kind, &uh) / v->C + eps));
        mean = uh * rstd / (float)v->C;
    }
    HY_VFOR(i, n, v->C) {
        hy_vf x = hy_vget(v->x + i, n), g = hy_vget(v->gate + i, n), dy = hy_vget(v->dy + i, n), sig = hy_vsigmoid(g);
        hy_vf silu = g * sig, dsilu = sig * (1.0f + g * (1.0f - sig)), w = hy_vset(1);
        if (kind != HY_GATED_ONLY) w = hy_vget(v->w + i, n);
        const bool first = kind == HY_GATED_GATE_FIRST;
        hy_vf norm = (first ? x * silu : x) * rstd, dn = first ? dy * w : dy * w * silu;
        hy_vf dh = kind == HY_GATED_ONLY ? dn : rstd * (dn - norm * mean);
        if (v->dx) add_to(v->dx + i, first ? dh * silu : dh, n, acc & 1);
        if (v->dgate) add_to(v->dgate + i, (first ? dh * x : dy * w * norm) * dsilu, n, acc & 2);
        if (v->dw) add_to(v->dw + i, first ? dy * norm : dy * silu * norm, n, true);
    }
}

static const float *in(const void *p, int r, int ld, size_t col) { return (const float *)p + (size_t)r * ld + col; }
static float *out(void *p, int r, int ld, size_t col) { return p ? (float *)p + (size_t)r * ld + col : NULL; }

static void gated_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_gated_norm_args *a = ctx;
    for (int r = (int)from; r < (int)to; r++)
        for (int g = 0; g < a->groups; g++) {
            const size_t off = (size_t)g * a->C;
            const vectors v = {.x = in(a->x, r, a->ldx, off),
                               .gate = in(a->gate, r, a->ldgate, off),
                               .w = a->w ? in(a->w, 0, 0, off) : NULL,
                               .y = out(a->y, r, a->ldy, off),
                               .C = a->C};
            if (a->kind == HY_GATED_ONLY)
                forward(&v, HY_GATED_ONLY, a->eps);
            else if (a->kind == HY_GATED_GATE_FIRST)
                forward(&v, HY_GATED_GATE_FIRST, a->eps);
            else
                forward(&v, HY_GATED_NORM_FIRST, a->eps);
        }
}
hy_status HY_FAST(hy_fast_gated_norm)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_gated_norm_args *a = args;
    const int threads = hy_cpu_threads(req, (size_t)a->rows * a->groups * a->C);
    hy_parallel(threads, a->rows, 0, gated_rows, a);
    return HY_OK;
}

typedef struct {
    const hy_gated_norm_bwd_args *b;
    float *ws;
    int step;
} gated_blocks_ctx;
static void gated_blocks(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const gated_blocks_ctx *x_ = ctx;
    const hy_gated_norm_bwd_args *b = x_->b;
    const hy_gated_norm_args *a = &b->f;
    float *ws = x_->ws, *dw = b->dw;
    const int step = x_->step;
    const size_t width = (size_t)a->groups * a->C;
    for (int k = (int)from; k < (int)to; k++) {
        float *sum = dw ? (float *)ws + k * width : NULL;
        if (sum) memset(sum, 0, width * sizeof *sum);
        for (int r = k * step; r < a->rows && r < (k + 1) * step; r++)
            for (int g = 0; g < a->groups; g++) {
                const size_t off = (size_t)g * a->C;
                const vectors v = {.x = in(a->x, r, a->ldx, off),
                                   .gate = in(a->gate, r, a->ldgate, off),
                                   .dy = in(b->dy, r, b->lddy, off),
                                   .w = a->w ? in(a->w, 0, 0, off) : NULL,
                                   .dx = out(b->dx, r, b->lddx, off),
                                   .dgate = out(b->dgate, r, b->lddgate, off),
                                   .dw = sum ? sum + off : NULL,
                                   .C = a->C};
                if (a->kind == HY_GATED_ONLY)
                    backward(&v, HY_GATED_ONLY, a->eps, b->acc);
                else if (a->kind == HY_GATED_GATE_FIRST)
                    backward(&v, HY_GATED_GATE_FIRST, a->eps, b->acc);
                else
                    backward(&v, HY_GATED_NORM_FIRST, a->eps, b->acc);
            }
    }
}
hy_status HY_FAST(hy_fast_gated_norm_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_gated_norm_bwd_args *b = args;
    const hy_gated_norm_args *a = &b->f;
    const int blocks = hy_cpu_row_blocks(a->rows), step = (a->rows + blocks - 1) / blocks;
    const int threads = hy_cpu_threads(req, (size_t)a->rows * a->groups * a->C);
    const size_t width = (size_t)a->groups * a->C;
    float *dw = b->dw;
    const gated_blocks_ctx ctx = {b, ws, step};
    hy_parallel(threads, blocks, 1, gated_blocks, &ctx);
    for (int k = 0; k < blocks && dw; k++)
        for (size_t c = 0; c < width; c++) dw[c] += ((float *)ws)[k * width + c];
    return HY_OK;
}
