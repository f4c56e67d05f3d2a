// ssd.c - the plain SSD recurrence (Mamba-2), forward and backward, one head and one token after another: the oracle
// of the fast kernels. Compiled for `real` = float and double. Not fast, not parallel. The mathematics is in kernels.h.
//
// Memory: states are kept at the starts of chunks of HY_SSD_REF_CHUNK tokens; backward recomputes one chunk of one head
// at a time into its workspace.
#include <math.h>
#include <string.h>
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/ssd.h"

static real softplus(real z) { return (real)(z > 0 ? z + log1p(exp(-(double)z)) : log1p(exp((double)z))); }
static real sigmoid(real z) { return (real)(1 / (1 + exp(-(double)z))); }
static int length(const hy_ssd_args *a, int b) { return a->len ? a->len[b] : a->T; }

// One head at one token.
typedef struct {
    const real *x, *B, *C;
    real z;  // dt + dt_bias
    real delta, A, decay;
    bool free;  // delta is not at a limit
} token;

static token at(const hy_ssd_args *a, int b, int t, int h) {
    const size_t row = (size_t)b * a->T + t;
    const int g = h / (a->H / a->G);
    token k = {.x = (const real *)a->x + row * a->ldx + (size_t)h * a->P,
               .B = (const real *)a->Bm + row * a->ldB + (size_t)g * a->N,
               .C = (const real *)a->Cm + row * a->ldC + (size_t)g * a->N};
    k.z = ((const real *)a->dt)[row * a->lddt + h] + (a->dt_bias ? ((const real *)a->dt_bias)[h] : 0);
    k.delta = softplus(k.z);
    k.free = !(k.delta < a->dt_min) && !(a->dt_max != 0 && k.delta > a->dt_max);
    if (k.delta < a->dt_min) k.delta = (real)a->dt_min;
    if (a->dt_max != 0 && k.delta > a->dt_max) k.delta = (real)a->dt_max;
    k.A = (real)-exp((double)((const real *)a->A_log)[h]);
    k.decay = (real)exp((double)(k.delta * k.A));
    return k;
}

// S [N,P] becomes the next state.
static void advance(const hy_ssd_args *a, const token *k, real *S) {
    for (int n = 0; n < a->N; n++)
        for (int p = 0; p < a->P; p++) S[n * a->P + p] = k->decay * S[n * a->P + p] + k->delta * k->B[n] * k->x[p];
}

// Start of the state saved for chunk c of head h of sequence b.
static real *saved_state(const hy_ssd_args *a, int b, int c, int h) {
    const size_t chunks = hy_ssd_chunks(a->T, HY_SSD_REF_CHUNK);
    return (real *)a->saved + (((size_t)b * chunks + c) * a->H + h) * a->N * a->P;
}

hy_status HY_REF(hy_ref_ssd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_ssd_args *a = args;
    const size_t NP = (size_t)a->N * a->P;
    real *S = ws;  // [N,P]
    (void)req;
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->H; h++) {
            real *state = a->state ? (real *)a->state + ((size_t)b * a->H + h) * NP : NULL;
            const real skip = a->skip ? ((const real *)a->skip)[h] : 0;
            if (state)
                memcpy(S, state, NP * sizeof(real));
            else
                memset(S, 0, NP * sizeof(real));
            for (int t = 0; t < a->T; t++) {
                real *y = (real *)a->y + ((size_t)b * a->T + t) * a->ldy + (size_t)h * a->P;
                if (a->saved && t % HY_SSD_REF_CHUNK == 0)
                    memcpy(saved_state(a, b, t / HY_SSD_REF_CHUNK, h), S, NP * sizeof(real));
                if (t >= length(a, b)) {
                    memset(y, 0, (size_t)a->P * sizeof(real));
                    continue;
                }
                const token k = at(a, b, t, h);
                advance(a, &k, S);
                for (int p = 0; p < a->P; p++) {
                    real sum = skip * k.x[p];
                    for (int n = 0; n < a->N; n++) sum += k.C[n] * S[(size_t)n * a->P + p];
                    y[p] = sum;
                }
            }
            if (state) memcpy(state, S, NP * sizeof(real));
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

// The reverse of one token of one head. Sp, S [N,P]: the states before and after it. gS [N,P] comes in as the gradient
// of S (from later tokens) and leaves as that of Sp.
static void step_bwd(const hy_ssd_bwd_args *a, int b, int t, int h, const real *Sp, const real *S, real *gS) {
    const hy_ssd_args *f = &a->f;
    const size_t row = (size_t)b * f->T + t, P = f->P, g = h / (f->H / f->G);
    const token k = at(f, b, t, h);
    const real skip = f->skip ? ((const real *)f->skip)[h] : 0, *dy = (const real *)a->dy + row * a->lddy + h * P;
    real gdelta = 0, gdecay = 0;
    for (int n = 0; n < f->N; n++) {
        real dC = 0, dB = 0;
        for (size_t p = 0; p < P; p++) {
            real *G = &gS[n * P + p];
            *G += k.C[n] * dy[p];
            dC += S[n * P + p] * dy[p];
            dB += *G * k.x[p];
            gdecay += *G * Sp[n * P + p];
        }
        put(a->dCm, row * a->lddC + g * f->N + n, dC, true);
        put(a->dBm, row * a->lddB + g * f->N + n, dB * k.delta, true);
        gdelta += dB * k.B[n];
    }
    real xy = 0;
    for (size_t p = 0; p < P; p++) {
        real dx = 0;
        for (int n = 0; n < f->N; n++) dx += gS[n * P + p] * k.B[n];
        put(a->dx, row * a->lddx + h * P + p, k.delta * dx + skip * dy[p], a->acc & 1);
        xy += dy[p] * k.x[p];
    }
    gdelta += gdecay * k.decay * k.A;
    const real gz = k.free ? gdelta * sigmoid(k.z) : 0;
    put(a->dskip, h, xy, true);
    put(a->dA_log, h, gdecay * k.decay * k.delta * k.A, true);
    put(a->ddt_bias, h, gz, true);
    put(a->ddt, row * a->ldddt + h, gz, a->acc & 2);
    for (size_t i = 0; i < f->N * P; i++) gS[i] *= k.decay;
}

hy_status HY_REF(hy_ref_ssd_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_ssd_bwd_args *a = args;
    const hy_ssd_args *f = &a->f;
    const size_t NP = (size_t)f->N * f->P, rows = (size_t)f->B * f->T;
    real *gS = ws, *S = gS + NP;  // [N,P], [chunk + 1, N, P]
    (void)req;
    clear_rows(a->dBm, rows, f->G * f->N, a->lddB, a->acc & 4);
    clear_rows(a->dCm, rows, f->G * f->N, a->lddC, a->acc & 8);
    for (int b = 0; b < f->B; b++)
        for (int h = 0; h < f->H; h++) {
            const int len = length(f, b);
            memset(gS, 0, NP * sizeof(real));
            for (int t = len; t < f->T; t++) {
                const size_t row = (size_t)b * f->T + t;
                for (int p = 0; p < f->P; p++) put(a->dx, row * a->lddx + (size_t)h * f->P + p, 0, a->acc & 1);
                put(a->ddt, row * a->ldddt + h, 0, a->acc & 2);
            }
            for (int c = hy_ssd_chunks(len, HY_SSD_REF_CHUNK) - 1; c >= 0; c--) {
                const int t0 = c * HY_SSD_REF_CHUNK;
                const int n = len - t0 < HY_SSD_REF_CHUNK ? len - t0 : HY_SSD_REF_CHUNK;
                memcpy(S, saved_state(f, b, c, h), NP * sizeof(real));
                for (int i = 0; i < n; i++) {
                    const token k = at(f, b, t0 + i, h);
                    memcpy(S + (i + 1) * NP, S + i * NP, NP * sizeof(real));
                    advance(f, &k, S + (i + 1) * NP);
                }
                for (int i = n - 1; i >= 0; i--) step_bwd(a, b, t0 + i, h, S + i * NP, S + (i + 1) * NP, gS);
            }
        }
    return HY_OK;
}
