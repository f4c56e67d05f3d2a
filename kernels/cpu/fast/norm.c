// norm.c - RMS and layer norm in float32, forward and backward. Backward recomputes the statistics: the row is in
// the cache anyway. Workspace of backward: one row of C sums for each row block, those of dw before those of dbias.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

typedef struct {
    float mean, rstd;
} stats;

HY_VINLINE float mean_of(const float *x, int C) {
    hy_vf s = {0};
    HY_VFOR(i, n, C) s += hy_vget(x + i, n);
    return hy_vsum(s) / (float)C;
}

HY_VINLINE stats statistics(const float *x, int C, bool layer, double eps) {
    float mean = layer ? mean_of(x, C) : 0;
    hy_vf s = {0};
    HY_VFOR(i, n, C) {
        hy_vf v = hy_vget(x + i, n);
        if (layer) {
            v -= mean;
            if (n < HY_LANES) {  // the lanes past the end must stay 0
                float t[HY_LANES];
                hy_vstore(t, v);
                v = hy_vload_part(t, n);
            }
        }
        s += v * v;
    }
    return (stats){mean, (float)(1 / sqrt((double)hy_vsum(s) / C + eps))};
}

// plain, a constant: a norm without weights, all of them 1.
HY_VINLINE hy_vf weight(const float *w, int i, int n, const bool plain) {
    const hy_vf none = {0};
    return plain ? none + 1 : hy_vget(w + i, n);
}

HY_VINLINE void rows_of(const hy_norm_args *a, int from, int to, const bool plain) {
    const float *w = a->w, *bias = a->bias;
    const int C = a->C;
    const bool layer = a->kind == HY_NORM_LAYER;
    for (int r = from; r < to; r++)
        for (int g = 0; g < a->groups; g++) {
            const float *x = (const float *)a->x + (size_t)r * a->ldx + (size_t)g * C;
            float *y = (float *)a->y + (size_t)r * a->ldy + (size_t)g * C;
            stats s = statistics(x, C, layer, a->eps);
            if (bias) {
                HY_VFOR(i, n, C)
                hy_vput(y + i, (hy_vget(x + i, n) - s.mean) * s.rstd * weight(w, i, n, plain) + hy_vget(bias + i, n),
                        n);
            } else {
                HY_VFOR(i, n, C) hy_vput(y + i, (hy_vget(x + i, n) - s.mean) * s.rstd * weight(w, i, n, plain), n);
            }
        }
}
static void norm_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_norm_args *a = ctx;
    if (a->w)
        rows_of(a, (int)from, (int)to, false);
    else
        rows_of(a, (int)from, (int)to, true);
}
hy_status HY_FAST(hy_fast_norm)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_norm_args *a = args;
    const int threads = hy_cpu_threads(req, (size_t)a->rows * a->groups * a->C);
    hy_parallel(threads, a->rows, 0, norm_rows, a);
    return HY_OK;
}

// With g = w dy and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)), where RMS has no mean(g) term.
HY_VINLINE void backward_vector(const hy_norm_bwd_args *a, const float *x, const float *dy, float *dx, float *dw,
                                float *dbias, bool layer, bool stream, const bool plain) {
    int C = a->f.C;
    const float *w = a->f.w;
    stats s = statistics(x, C, layer, a->f.eps);
    hy_vf sg = {0}, sgh = {0};
    HY_VFOR(i, n, C) {
        hy_vf g = weight(w, i, n, plain) * hy_vget(dy + i, n);
        sgh += g * ((hy_vget(x + i, n) - s.mean) * s.rstd);
        sg += g;
    }
    float mg = layer ? hy_vsum(sg) / (float)C : 0, mgh = hy_vsum(sgh) / (float)C;
    HY_VFOR(i, n, C) {
        hy_vf d = hy_vget(dy + i, n), h = (hy_vget(x + i, n) - s.mean) * s.rstd;
        if (dx) {
            hy_vf v = s.rstd * (weight(w, i, n, plain) * d - mg - h * mgh);
            if (stream)  // C is then whole vectors
                v_stream(dx + i, v);
            else
                hy_vput(dx + i, a->acc & 1 ? hy_vget(dx + i, n) + v : v, n);
        }
        if (dw) hy_vput(dw + i, hy_vget(dw + i, n) + d * h, n);
        if (dbias) hy_vput(dbias + i, hy_vget(dbias + i, n) + d, n);
    }
}

typedef struct {
    const hy_norm_bwd_args *a;
    float *dw, *dbias;  // of each block; NULL: not wanted
    int step;
} norm_blocks_ctx;
static void norm_blocks(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const norm_blocks_ctx *x_ = ctx;
    const hy_norm_bwd_args *a = x_->a;
    const int rows = a->f.rows, groups = a->f.groups, C = a->f.C, step = x_->step;
    const bool layer = a->f.kind == HY_NORM_LAYER;
    const bool stream =
        a->dx && !(a->acc & 1) && C % HY_LANES == 0 && v_streams(a->dx, a->lddx, (size_t)rows * groups * C);
    for (int b = (int)from; b < (int)to; b++) {
        float *sum = x_->dw ? x_->dw + (size_t)b * C : NULL, *plain = x_->dbias ? x_->dbias + (size_t)b * C : NULL;
        if (sum) memset(sum, 0, (size_t)C * sizeof *sum);
        if (plain) memset(plain, 0, (size_t)C * sizeof *plain);
        for (int r = b * step; r < rows && r < (b + 1) * step; r++)
            for (int g = 0; g < groups; g++) {
                size_t off = (size_t)g * C;
                const float *x = (const float *)a->f.x + (size_t)r * a->f.ldx + off;
                const float *dy = (const float *)a->dy + (size_t)r * a->lddy + off;
                float *dx = a->dx ? (float *)a->dx + (size_t)r * a->lddx + off : NULL;
                if (a->f.w)
                    backward_vector(a, x, dy, dx, sum, plain, layer, stream, false);
                else
                    backward_vector(a, x, dy, dx, sum, plain, layer, stream, true);
            }
        if (stream) v_stream_end();
    }
}
hy_status HY_FAST(hy_fast_norm_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_norm_bwd_args *a = args;
    int rows = a->f.rows, groups = a->f.groups, C = a->f.C;
    int blocks = hy_cpu_row_blocks(rows), step = (rows + blocks - 1) / blocks;
    int threads = hy_cpu_threads(req, (size_t)rows * groups * C);
    float *dw = a->dw, *dbias = a->dbias, *of_dw = ws, *of_dbias = of_dw + (dw ? (size_t)blocks * C : 0);
    const norm_blocks_ctx ctx = {a, dw ? of_dw : NULL, dbias ? of_dbias : NULL, step};
    hy_parallel(threads, blocks, 1, norm_blocks, &ctx);
    for (int b = 0; b < blocks && dw; b++)
        for (int c = 0; c < C; c++) dw[c] += of_dw[(size_t)b * C + c];
    for (int b = 0; b < blocks && dbias; b++)
        for (int c = 0; c < C; c++) dbias[c] += of_dbias[(size_t)b * C + c];
    return HY_OK;
}
