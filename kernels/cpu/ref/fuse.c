// fuse.c - joining attention and SSM outputs (paper eq. 3 and its relatives), forward and backward: obvious loops.
#include <math.h>

#include "kernels/cpu/cpu.h"

static double rms_rstd(const real *x, int C, double eps) {
    double s = 0;
    for (int c = 0; c < C; c++) s += (double)x[c] * x[c];
    return 1 / sqrt(s / C + eps);
}

static double gate_value(const hy_fuse_args *a, int r, int c) {
    if (a->kind == HY_FUSE_MEAN) return 0.5;
    double x = ((const real *)a->gate)[(size_t)r * a->ldgate + c / (a->Ca / a->G)];
    return 1 / (1 + exp(-x));
}

hy_status HY_REF(hy_ref_fuse)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_fuse_args *f = args;
    const real *wa = f->wa, *wsm = f->ws;
    for (int r = 0; r < f->rows; r++) {
        const real *a = (const real *)f->a + (size_t)r * f->lda, *s = (const real *)f->s + (size_t)r * f->lds;
        real *z = (real *)f->z + (size_t)r * f->ldz;
        double ra = rms_rstd(a, f->Ca, f->eps), rs = rms_rstd(s, f->Cs, f->eps);
        if (f->kind == HY_FUSE_CONCAT) {
            for (int c = 0; c < f->Ca; c++) z[c] = (real)(f->by_a * (a[c] * ra * wa[c]));
            for (int c = 0; c < f->Cs; c++) z[f->Ca + c] = (real)(f->by_s * (s[c] * rs * wsm[c]));
            continue;
        }
        for (int c = 0; c < f->Ca; c++) {
            double g = gate_value(f, r, c);
            z[c] = (real)(g * (f->by_a * (a[c] * ra * wa[c])) + (1 - g) * (f->by_s * (s[c] * rs * wsm[c])));
        }
    }
    return HY_OK;
}

// Backward of one RMSNorm whose output has the gradient share(c) dz[c]; share is the branch's factor times 1, g or
// 1 - g.
typedef struct {
    const hy_fuse_args *f;
    int row;
    bool of_a;
} share_of;
static double share(share_of s, int c) {
    double by = s.of_a ? s.f->by_a : s.f->by_s;
    if (s.f->kind == HY_FUSE_CONCAT) return by;
    double g = gate_value(s.f, s.row, c);
    return by * (s.of_a ? g : 1 - g);
}
static void backward_norm(share_of sh, const real *x, const real *w, const real *dz, int C, real *dx, bool acc,
                          real *dw) {
    double rstd = rms_rstd(x, C, sh.f->eps), m = 0;
    for (int c = 0; c < C; c++) m += share(sh, c) * dz[c] * w[c] * x[c] * rstd;
    m /= C;
    for (int c = 0; c < C; c++) {
        double dn = share(sh, c) * dz[c], h = x[c] * rstd;
        if (dx) dx[c] = (real)((acc ? dx[c] : 0) + rstd * (dn * w[c] - h * m));
        if (dw) dw[c] += (real)(dn * h);
    }
}

static void backward_gate(const hy_fuse_bwd_args *b, int r, const real *a, const real *s, const real *dz) {
    const hy_fuse_args *f = &b->f;
    const real *wa = f->wa, *wsm = f->ws;
    double ra = rms_rstd(a, f->Ca, f->eps), rs = rms_rstd(s, f->Cs, f->eps);
    real *dgate = (real *)b->dgate + (size_t)r * b->lddgate;
    int per = f->Ca / f->G;
    for (int j = 0; j < f->G; j++) {
        double sum = 0, g = gate_value(f, r, j * per);
        for (int c = j * per; c < (j + 1) * per; c++)
            sum += dz[c] * (f->by_a * (a[c] * ra * wa[c]) - f->by_s * (s[c] * rs * wsm[c]));
        dgate[j] = (real)((b->acc & 4 ? dgate[j] : 0) + sum * g * (1 - g));
    }
}

hy_status HY_REF(hy_ref_fuse_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_fuse_bwd_args *b = args;
    const hy_fuse_args *f = &b->f;
    for (int r = 0; r < f->rows; r++) {
        const real *a = (const real *)f->a + (size_t)r * f->lda, *s = (const real *)f->s + (size_t)r * f->lds;
        const real *dz = (const real *)b->dz + (size_t)r * b->lddz;
        real *da = b->da ? (real *)b->da + (size_t)r * b->ldda : NULL,
             *ds = b->ds ? (real *)b->ds + (size_t)r * b->ldds : NULL;
        backward_norm((share_of){f, r, true}, a, f->wa, dz, f->Ca, da, b->acc & 1, b->dwa);
        backward_norm((share_of){f, r, false}, s, f->ws, f->kind == HY_FUSE_CONCAT ? dz + f->Ca : dz, f->Cs, ds,
                      b->acc & 2, b->dws);
        if (f->kind == HY_FUSE_GATE && b->dgate) backward_gate(b, r, a, s, dz);
    }
    return HY_OK;
}
