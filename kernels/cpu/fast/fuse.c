// fuse.c - joining attention and SSM outputs in float32, forward and backward. A row is walked in segments that
// share one gate value. Workspace of backward: Ca + Cs sums for each row block.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

// What a norm's output is multiplied by: the branch's factor times 1/2, 1, g or 1 - g.
typedef struct {
    const float *gate;  // of this row, or NULL
    int seg;            // channels of a segment
    bool each, rest;    // a gate value per channel; 1 - g instead of g
    float fixed, by;    // without a gate; the branch's factor
} share;

HY_VINLINE share share_of(const hy_fuse_args *f, int r, bool rest) {
    share s = {.seg = rest ? f->Cs : f->Ca, .rest = rest, .by = (float)(rest ? f->by_s : f->by_a)};
    s.fixed = f->kind == HY_FUSE_MEAN ? 0.5f * s.by : s.by;
    if (f->kind == HY_FUSE_GATE) {
        s.gate = (const float *)f->gate + (size_t)r * f->ldgate;
        s.each = f->G == f->Ca;
        if (!s.each) s.seg = f->Ca / f->G;
    }
    return s;
}
// Of the segment that starts at channel c (each: of the n channels at c).
HY_VINLINE hy_vf share_at(const share *s, int c, int n) {
    if (!s->gate) return hy_vset(s->fixed);
    hy_vf g = hy_vsigmoid(s->each ? hy_vget(s->gate + c, n) : hy_vset(s->gate[c / s->seg]));
    return s->by * (s->rest ? 1.0f - g : g);
}
// Runs over channels i (n valid lanes) with the share `u`; C is a multiple of the segment.
#define FOR_SHARED(s, C, i, n, u)                                                                               \
    for (int c0_ = 0; c0_ < (C); c0_ += (s)->seg)                                                               \
        for (hy_vf u = share_at((s), c0_, (s)->seg < HY_LANES ? (s)->seg : HY_LANES), *once_ = &u; once_;       \
             once_ = NULL)                                                                                      \
            for (int i = c0_, n = (s)->seg < HY_LANES ? (s)->seg : HY_LANES; i < c0_ + (s)->seg; i += HY_LANES, \
                     n = c0_ + (s)->seg - i < HY_LANES ? c0_ + (s)->seg - i : HY_LANES,                         \
                     u = (s)->each && i < c0_ + (s)->seg ? share_at((s), i, n) : u)

HY_VINLINE float rms_rstd(const float *x, int C, double eps) {
    hy_vf s = {0};
    HY_VFOR(i, n, C) {
        hy_vf v = hy_vget(x + i, n);
        s += v * v;
    }
    return (float)(1 / sqrt((double)hy_vsum(s) / C + eps));
}

// z = or += share * x rstd w
HY_VINLINE void add_side(const share *s, const float *x, const float *w, float *z, int C, double eps, bool add) {
    float rstd = rms_rstd(x, C, eps);
    FOR_SHARED(s, C, i, n, u) {
        hy_vf v = u * (hy_vget(x + i, n) * rstd * hy_vget(w + i, n));
        hy_vput(z + i, add ? hy_vget(z + i, n) + v : v, n);
    }
}

static void fuse_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_fuse_args *f = ctx;
    const bool concat = f->kind == HY_FUSE_CONCAT;
    for (int r = (int)from; r < (int)to; r++) {
        float *z = (float *)f->z + (size_t)r * f->ldz;
        share sa = share_of(f, r, false), ss = share_of(f, r, true);
        add_side(&sa, (const float *)f->a + (size_t)r * f->lda, f->wa, z, f->Ca, f->eps, false);
        add_side(&ss, (const float *)f->s + (size_t)r * f->lds, f->ws, concat ? z + f->Ca : z, f->Cs, f->eps, !concat);
    }
}
hy_status HY_FAST(hy_fast_fuse)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_fuse_args *f = args;
    int threads = hy_cpu_threads(req, (size_t)f->rows * f->Ca);
    hy_parallel(threads, f->rows, 0, fuse_rows, f);
    return HY_OK;
}

// One RMSNorm whose output has the gradient share * dz: dx = rstd (u - h mean(u h)) with u = share dz w, h = x rstd.
HY_VINLINE void side_backward(const share *s, const float *x, const float *w, const float *dz, int C, float rstd,
                              float *dx, bool acc, float *dw) {
    hy_vf sum = {0};
    FOR_SHARED(s, C, i, n, u) sum += u * hy_vget(dz + i, n) * hy_vget(w + i, n) * (hy_vget(x + i, n) * rstd);
    float m = hy_vsum(sum) / (float)C;
    FOR_SHARED(s, C, i, n, u) {
        hy_vf dn = u * hy_vget(dz + i, n), h = hy_vget(x + i, n) * rstd;
        if (dx) {
            hy_vf v = rstd * (dn * hy_vget(w + i, n) - h * m);
            hy_vput(dx + i, acc ? hy_vget(dx + i, n) + v : v, n);
        }
        if (dw) hy_vput(dw + i, hy_vget(dw + i, n) + dn * h, n);
    }
}

// dgate[j] = g (1 - g) * sum over the segment of dz (na - ns); ra and rs hold the branches' factors too
HY_VINLINE void gate_backward(const hy_fuse_bwd_args *b, int r, const float *a, const float *s, const float *dz,
                              float ra, float rs) {
    const hy_fuse_args *f = &b->f;
    const float *wa = f->wa, *wsm = f->ws, *gate = (const float *)f->gate + (size_t)r * f->ldgate;
    float *dgate = (float *)b->dgate + (size_t)r * b->lddgate;
    int per = f->Ca / f->G;
    bool acc = b->acc & 4;
    if (per == 1) {
        HY_VFOR(i, n, f->Ca) {
            hy_vf g = hy_vsigmoid(hy_vget(gate + i, n));
            hy_vf d = hy_vget(a + i, n) * ra * hy_vget(wa + i, n) - hy_vget(s + i, n) * rs * hy_vget(wsm + i, n);
            hy_vf v = hy_vget(dz + i, n) * d * g * (1.0f - g);
            hy_vput(dgate + i, acc ? hy_vget(dgate + i, n) + v : v, n);
        }
        return;
    }
    for (int j = 0; j < f->G; j++) {
        hy_vf sum = {0}, g = hy_vsigmoid(hy_vset(gate[j]));
        int c = j * per;
        HY_VFOR(i, n, per)
        sum += hy_vget(dz + c + i, n) * (hy_vget(a + c + i, n) * ra * hy_vget(wa + c + i, n) -
                                         hy_vget(s + c + i, n) * rs * hy_vget(wsm + c + i, n));
        float v = hy_vsum(sum) * g[0] * (1.0f - g[0]);
        dgate[j] = acc ? dgate[j] + v : v;
    }
}

HY_VINLINE void row_backward(const hy_fuse_bwd_args *b, int r, float *dwa, float *dws) {
    const hy_fuse_args *f = &b->f;
    const float *a = (const float *)f->a + (size_t)r * f->lda, *s = (const float *)f->s + (size_t)r * f->lds;
    const float *dz = (const float *)b->dz + (size_t)r * b->lddz;
    float ra = rms_rstd(a, f->Ca, f->eps), rs = rms_rstd(s, f->Cs, f->eps);
    share sa = share_of(f, r, false), ss = share_of(f, r, true);
    side_backward(&sa, a, f->wa, dz, f->Ca, ra, b->da ? (float *)b->da + (size_t)r * b->ldda : NULL, b->acc & 1, dwa);
    side_backward(&ss, s, f->ws, f->kind == HY_FUSE_CONCAT ? dz + f->Ca : dz, f->Cs, rs,
                  b->ds ? (float *)b->ds + (size_t)r * b->ldds : NULL, b->acc & 2, dws);
    if (f->kind == HY_FUSE_GATE && b->dgate) gate_backward(b, r, a, s, dz, ra * sa.by, rs * ss.by);
}

typedef struct {
    const hy_fuse_bwd_args *b;
    float *ws;
    int step;
} fuse_blocks_ctx;
static void fuse_blocks(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const fuse_blocks_ctx *x_ = ctx;
    const hy_fuse_bwd_args *b = x_->b;
    float *ws = x_->ws, *dwa = b->dwa, *dws = b->dws;
    const int rows = b->f.rows, Ca = b->f.Ca, Cs = b->f.Cs, step = x_->step;
    for (int k = (int)from; k < (int)to; k++) {
        float *sum = (float *)ws + (size_t)k * (Ca + Cs);
        memset(sum, 0, (size_t)(Ca + Cs) * sizeof *sum);
        for (int r = k * step; r < rows && r < (k + 1) * step; r++)
            row_backward(b, r, dwa ? sum : NULL, dws ? sum + Ca : NULL);
    }
}
hy_status HY_FAST(hy_fast_fuse_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_fuse_bwd_args *b = args;
    int rows = b->f.rows, Ca = b->f.Ca, Cs = b->f.Cs, blocks = hy_cpu_row_blocks(rows),
        step = (rows + blocks - 1) / blocks;
    int threads = hy_cpu_threads(req, (size_t)rows * Ca);
    float *dwa = b->dwa, *dws = b->dws;
    const fuse_blocks_ctx ctx = {b, ws, step};
    hy_parallel(threads, blocks, 1, fuse_blocks, &ctx);
    for (int k = 0; k < blocks; k++) {
        const float *sum = (const float *)ws + (size_t)k * (Ca + Cs);
        for (int c = 0; c < Ca && dwa; c++) dwa[c] += sum[c];
        for (int c = 0; c < Cs && dws; c++) dws[c] += sum[Ca + c];
    }
    return HY_OK;
}
