// scan.c - the plain selective scan (Mamba-1), forward and backward, one channel after another: the oracle of the fast
// kernels. Compiled for `real` = float and double. Not fast, not parallel. The mathematics is in kernels.h.
//
// Memory: states are kept at the starts of chunks of HY_SCAN_REF_CHUNK tokens; backward recomputes one chunk of one
// channel at a time into its workspace.
#include <math.h>
#include <string.h>
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"

static real softplus(real z) { return (real)(z > 0 ? z + log1p(exp(-(double)z)) : log1p(exp((double)z))); }
static real sigmoid(real z) { return (real)(1 / (1 + exp(-(double)z))); }
static int length(const hy_scan_args *a, int b) { return a->len ? a->len[b] : a->T; }

// One token of one channel: h [N] becomes the next state. Returns sum_n C h.
static real step(const hy_scan_args *a, size_t row, int d, real *h) {
    const real x = ((const real *)a->x)[row * a->ldx + d];
    const real delta = softplus(((const real *)a->dt)[row * a->lddt + d]);
    const real *A_log = (const real *)a->A_log + (size_t)d * a->N;
    const real *Bt = (const real *)a->Bm + row * a->ldB, *Ct = (const real *)a->Cm + row * a->ldC;
    real sum = 0;
    for (int n = 0; n < a->N; n++) {
        real A = (real)-exp((double)A_log[n]);
        h[n] = (real)exp((double)(delta * A)) * h[n] + delta * x * Bt[n];
        sum += Ct[n] * h[n];
    }
    return sum;
}

// Start of the state saved for chunk c of channel d of sequence b.
static real *saved_state(const hy_scan_args *a, int b, int c, int d) {
    size_t chunks = hy_scan_chunks(a->T, HY_SCAN_REF_CHUNK);
    return (real *)a->saved + (((size_t)b * chunks + c) * a->D + d) * a->N;
}

hy_status HY_REF(hy_ref_scan)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_args *a = args;
    real *h = ws;  // [N]
    (void)req;
    for (int b = 0; b < a->B; b++)
        for (int d = 0; d < a->D; d++) {
            const size_t bytes = (size_t)a->N * sizeof(real);
            real *state = a->state ? (real *)a->state + ((size_t)b * a->D + d) * a->N : NULL;
            const int len = length(a, b);
            if (state)
                memcpy(h, state, bytes);
            else
                memset(h, 0, bytes);
            for (int t = 0; t < a->T; t++) {
                const size_t row = (size_t)b * a->T + t;
                real *y = (real *)a->y + row * a->ldy + d;
                if (a->saved && t % HY_SCAN_REF_CHUNK == 0)
                    memcpy(saved_state(a, b, t / HY_SCAN_REF_CHUNK, d), h, bytes);
                if (t >= len) {
                    *y = 0;
                    continue;
                }
                real sum = step(a, row, d, h);
                if (a->skip) sum += ((const real *)a->skip)[d] * ((const real *)a->x)[row * a->ldx + d];
                if (a->gate) {
                    const real g = ((const real *)a->gate)[row * a->ldgate + d];
                    sum *= g * sigmoid(g);
                }
                *y = sum;
            }
            if (state) memcpy(state, h, bytes);
        }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- backward
static void put(void *p, size_t i, real v, bool add) {
    if (p) ((real *)p)[i] = add ? ((real *)p)[i] + v : v;
}
static void clear_rows(void *p, size_t rows, int width, int ld, bool keep) {
    if (!p || keep) return;
    for (size_t r = 0; r < rows; r++) memset((real *)p + r * ld, 0, (size_t)width * sizeof(real));
}

// The reverse of one token of one channel. hp [N]: the state before the token, h [N]: after it. gh [N] comes in as the
// gradient of the state after the token (from later tokens) and leaves as that of the state before it.
static void step_bwd(const hy_scan_bwd_args *a, size_t row, int d, const real *hp, const real *h, real *gh) {
    const hy_scan_args *f = &a->f;
    const real x = ((const real *)f->x)[row * f->ldx + d], z = ((const real *)f->dt)[row * f->lddt + d];
    const real delta = softplus(z), *A_log = (const real *)f->A_log + (size_t)d * f->N;
    const real *Bt = (const real *)f->Bm + row * f->ldB, *Ct = (const real *)f->Cm + row * f->ldC;
    const real skip = f->skip ? ((const real *)f->skip)[d] : 0;
    real gy = ((const real *)a->dy)[row * a->lddy + d];
    if (f->gate) {
        const real g = ((const real *)f->gate)[row * f->ldgate + d], s = sigmoid(g);
        real y = skip * x;
        for (int n = 0; n < f->N; n++) y += Ct[n] * h[n];
        put(a->dgate, row * a->lddgate + d, gy * y * s * (1 + g * (1 - s)), a->acc & 16);
        gy *= g * s;
    }
    real gx = gy * skip, gdelta = 0;
    if (a->dskip) ((real *)a->dskip)[d] += gy * x;
    for (int n = 0; n < f->N; n++) {
        const real A = (real)-exp((double)A_log[n]), decay = (real)exp((double)(delta * A));
        gh[n] += gy * Ct[n];
        put(a->dCm, row * a->lddC + n, gy * h[n], true);
        put(a->dBm, row * a->lddB + n, gh[n] * delta * x, true);
        gx += gh[n] * delta * Bt[n];
        const real ga = gh[n] * hp[n] * decay;  // gradient of delta * A
        gdelta += gh[n] * x * Bt[n] + ga * A;
        put(a->dA_log, (size_t)d * f->N + n, ga * delta * A, true);
        gh[n] *= decay;
    }
    put(a->dx, row * a->lddx + d, gx, a->acc & 1);
    put(a->ddt, row * a->ldddt + d, gdelta * sigmoid(z), a->acc & 2);
}

hy_status HY_REF(hy_ref_scan_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_bwd_args *a = args;
    const hy_scan_args *f = &a->f;
    const size_t N = f->N, rows = (size_t)f->B * f->T;
    real *gh = ws, *h = gh + N;  // [N], [chunk + 1, N]
    (void)req;
    clear_rows(a->dBm, rows, f->N, a->lddB, a->acc & 4);
    clear_rows(a->dCm, rows, f->N, a->lddC, a->acc & 8);
    for (int b = 0; b < f->B; b++)
        for (int d = 0; d < f->D; d++) {
            const int len = length(f, b);
            memset(gh, 0, N * sizeof(real));
            for (int t = len; t < f->T; t++) {
                const size_t row = (size_t)b * f->T + t;
                put(a->dx, row * a->lddx + d, 0, a->acc & 1);
                put(a->ddt, row * a->ldddt + d, 0, a->acc & 2);
                if (f->gate) put(a->dgate, row * a->lddgate + d, 0, a->acc & 16);
            }
            for (int c = hy_scan_chunks(len, HY_SCAN_REF_CHUNK) - 1; c >= 0; c--) {
                const int t0 = c * HY_SCAN_REF_CHUNK;
                const int n = len - t0 < HY_SCAN_REF_CHUNK ? len - t0 : HY_SCAN_REF_CHUNK;
                memcpy(h, saved_state(f, b, c, d), N * sizeof(real));
                for (int i = 0; i < n; i++) {
                    memcpy(h + (i + 1) * N, h + i * N, N * sizeof(real));
                    step(f, (size_t)b * f->T + t0 + i, d, h + (i + 1) * N);
                }
                for (int i = n - 1; i >= 0; i--)
                    step_bwd(a, (size_t)b * f->T + t0 + i, d, h + i * N, h + (i + 1) * N, gh);
            }
        }
    return HY_OK;
}
