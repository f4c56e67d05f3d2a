// ssd.c - SSD (Mamba-2), forward, float32, built once per instruction set. The mathematics is in kernels.h, the oracle
// in ssd.c, the backward in ssd_bwd.c.
//
// Chunks of HY_SSD_CHUNK tokens (Dao and Gu 2024, section 6), u = delta x, L_ij = decay from token j to token i, S the
// state before the chunk [N,P]:
//   y = (C B^T * L) u + from_start (C S)        S' = all S + B^T (to_end u)
// Three products of [chunk, chunk], [chunk, N] and [N, P] matrices. C B^T is made once for the heads of a group; a job
// is then one head of one sequence, which goes over its chunks in order. A few tokens (decoding) take the recurrence
// instead, as do all of them by token, each with the decay that it has alone. An element's sums have one order for any
// batch, padding and number of threads.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast/ssd_tile.h"

hy_status HY_FAST(hy_fast_ssd)(const void *args, void *ws, const hy_plan_req *req);

typedef struct {
    float *S, *BT, *u, *w, *y, *M;  // [N,P], [N,chunk], [chunk,P], [chunk,P], [chunk,P], [chunk,chunk]; P padded
} scratch;

static scratch carve(float *p, const hy_ssd_args *a) {
    scratch w = {.S = p};
    w.BT = w.S + hy_ssd_state(a);
    w.u = w.BT + hy_ssd_padded(a->N) * HY_SSD_CHUNK;
    w.w = w.u + HY_SSD_ROWS_P(a);
    w.y = w.w + HY_SSD_ROWS_P(a);
    w.M = w.y + HY_SSD_ROWS_P(a);
    return w;
}
static int length(const hy_ssd_args *a, int b) { return a->len ? a->len[b] : a->T; }

// C B^T of one chunk and group, on and below the diagonal.
static void scores(const hy_ssd_args *a, size_t row, int n, int g, float *BT, float *CB) {
    const float *B = (const float *)a->Bm + row * a->ldB + (size_t)g * a->N,
                *C = (const float *)a->Cm + row * a->ldC + (size_t)g * a->N;
    transpose(B, a->ldB, n, a->N, BT, HY_SSD_CHUNK);
    mm(&(hy_mm_args){.M = n,
                     .N = n,
                     .K = a->N,
                     .a = C,
                     .am = a->ldC,
                     .ak = 1,
                     .b = BT,
                     .ldb = HY_SSD_CHUNK,
                     .c = CB,
                     .ldc = HY_SSD_CHUNK,
                     .shape = HY_MM_C_LOWER});
}

static void chunk(const hy_ssd_args *a, size_t row, int n, int h, const float *CB, const scratch *w) {
    const int g = h / (a->H / a->G), P = a->P, N = a->N;
    const size_t Pp = hy_ssd_padded(P);
    const float *B = (const float *)a->Bm + row * a->ldB + (size_t)g * N,
                *C = (const float *)a->Cm + row * a->ldC + (size_t)g * N;
    const float *x = (const float *)a->x + row * a->ldx + (size_t)h * P;
    float *y = (float *)a->y + row * a->ldy + (size_t)h * P;
    const float skip = a->skip ? ((const float *)a->skip)[h] : 0;
    steps s;
    make_steps(a, row, n, h, &s);
    pack_rows(x, a->ldx, n, P, s.delta, w->u);
    mm(&(hy_mm_args){
        .M = n, .N = P, .K = N, .a = C, .am = a->ldC, .ak = 1, .b = w->S, .ldb = Pp, .c = w->y, .ldc = Pp});
    scale_rows(w->y, Pp, n, P, s.from_start);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j += HY_LANES)
            v_store(w->M + i * HY_SSD_CHUNK + j,
                    j > i ? (vf){0} : up_to(decays(&s, i, j) * v_load(CB + i * HY_SSD_CHUNK + j), i, j));
    mm(&(hy_mm_args){.M = n,
                     .N = P,
                     .K = n,
                     .a = w->M,
                     .am = HY_SSD_CHUNK,
                     .ak = 1,
                     .b = w->u,
                     .ldb = Pp,
                     .c = w->y,
                     .ldc = Pp,
                     .add = true,
                     .shape = HY_MM_A_LOWER});
    for (int i = 0; i < n; i++)
        for (int p = 0; p < P; p += HY_LANES) {
            const int m = P - p < HY_LANES ? P - p : HY_LANES;
            v_store_n(y + (size_t)i * a->ldy + p,
                      v_load(w->y + i * Pp + p) + skip * v_load_n(x + (size_t)i * a->ldx + p, m), m);
        }
    memcpy(w->w, w->u, (size_t)n * Pp * sizeof(float));
    scale_rows(w->w, Pp, n, P, s.to_end);
    for (size_t i = 0; i < (size_t)N * Pp; i += HY_LANES) v_store(w->S + i, s.all * v_load(w->S + i));
    mm(&(hy_mm_args){.M = N,
                     .N = P,
                     .K = n,
                     .a = B,
                     .am = 1,
                     .ak = a->ldB,
                     .b = w->w,
                     .ldb = Pp,
                     .c = w->S,
                     .ldc = Pp,
                     .add = true});
}

// m channels from p on, one token after another. S [N, ld]: the state, in and out.
HY_INLINE void walk(const hy_ssd_args *a, const steps *s, size_t row, int n, int h, int p, int m, float *S, size_t ld) {
    const int g = h / (a->H / a->G);
    const float skip = a->skip ? ((const float *)a->skip)[h] : 0;
    for (int i = 0; i < n; i++, row++) {
        const float *B = (const float *)a->Bm + row * a->ldB + (size_t)g * a->N,
                    *C = (const float *)a->Cm + row * a->ldC + (size_t)g * a->N;
        const float decay =
            i ? v_exp2(v_set((s->high[i] - s->high[i - 1]) + (s->low[i] - s->low[i - 1])))[0] : s->from_start[0];
        const vf x = v_load_n((const float *)a->x + row * a->ldx + (size_t)h * a->P + p, m), u = s->delta[i] * x;
        vf y = skip * x;
        for (int k = 0; k < a->N; k++) {
            const vf state = decay * v_load_n(S + k * ld + p, m) + B[k] * u;
            v_store_n(S + k * ld + p, state, m);
            y += C[k] * state;
        }
        v_store_n((float *)a->y + row * a->ldy + (size_t)h * a->P + p, y, m);
    }
}
static void few_tokens(const hy_ssd_args *a, size_t row, int n, int h, float *S, size_t ld) {
    steps s;
    make_steps(a, row, n, h, &s);
    int p = 0;
    for (; p + HY_LANES <= a->P; p += HY_LANES) walk(a, &s, row, n, h, p, HY_LANES, S, ld);
    if (p < a->P) walk(a, &s, row, n, h, p, a->P - p, S, ld);
}

// The same bits as in calls of one token.
static void each_token(const hy_ssd_args *a, size_t row, int n, int h, float *S, size_t ld) {
    for (int i = 0; i < n; i++) few_tokens(a, row + i, 1, h, S, ld);
}

// Head h of sequence b. CB: of the chunks of this sequence and its group, `stride` apart.
static void job(const hy_ssd_args *a, int b, int h, const float *CB, size_t stride, const scratch *w, bool by_token) {
    const int len = length(a, b), P = a->P, N = a->N;
    const size_t row = (size_t)b * a->T, Pp = hy_ssd_padded(P);
    float *state = a->state ? (float *)a->state + ((size_t)b * a->H + h) * N * P : NULL;
    for (int t = len; t < a->T; t++)
        memset((float *)a->y + (row + t) * a->ldy + (size_t)h * P, 0, (size_t)P * sizeof(float));
    if (len == 0) return;
    const bool one_by_one = len <= HY_SSD_STEPS || by_token;
    if (one_by_one && state) {
        (by_token ? each_token : few_tokens)(a, row, len, h, state, P);
        return;
    }
    if (state)
        pack_rows(state, P, N, P, NULL, w->S);
    else
        memset(w->S, 0, hy_ssd_state(a) * sizeof(float));
    if (one_by_one) {
        (by_token ? each_token : few_tokens)(a, row, len, h, w->S, Pp);
        return;
    }
    for (int t = 0, c = 0; t < len; t += HY_SSD_CHUNK, c++)
        chunk(a, row + t, len - t < HY_SSD_CHUNK ? len - t : HY_SSD_CHUNK, h, CB + c * stride, w);
    for (int n = 0; state && n < N; n++) memcpy(state + (size_t)n * P, w->S + n * Pp, (size_t)P * sizeof(float));
}

typedef struct {
    const hy_ssd_args *a;
    const hy_ssd_ws *at;
    float *ws;
    bool by_token;
} jobs_ctx;
static void score_jobs(const void *ctx, long from, long to, int thread) {
    const jobs_ctx *x = ctx;
    const hy_ssd_args *a = x->a;
    const int chunks = hy_ssd_chunks(a->T, HY_SSD_CHUNK);
    const scratch w = carve(x->ws + x->at->thread + (size_t)thread * x->at->per_thread, a);
    for (int j = (int)from; j < (int)to; j++) {
        const int g = j % a->G, c = j / a->G % chunks, b = j / a->G / chunks, left = length(a, b) - c * HY_SSD_CHUNK;
        if (left > 0 && length(a, b) > HY_SSD_STEPS)
            scores(a, (size_t)b * a->T + (size_t)c * HY_SSD_CHUNK, left < HY_SSD_CHUNK ? left : HY_SSD_CHUNK, g, w.BT,
                   x->ws + x->at->CB + j * HY_SSD_SQUARE);
    }
}
static void head_jobs(const void *ctx, long from, long to, int thread) {
    const jobs_ctx *x = ctx;
    const hy_ssd_args *a = x->a;
    const int chunks = hy_ssd_chunks(a->T, HY_SSD_CHUNK);
    const scratch w = carve(x->ws + x->at->thread + (size_t)thread * x->at->per_thread, a);
    for (int j = (int)from; j < (int)to; j++) {
        const int b = j / a->H, h = j % a->H, g = h / (a->H / a->G);
        job(a, b, h, x->ws + x->at->CB + ((size_t)b * chunks * a->G + g) * HY_SSD_SQUARE, a->G * HY_SSD_SQUARE, &w,
            x->by_token);
    }
}

hy_status HY_FAST(hy_fast_ssd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_ssd_args *a = args;
    const int threads = hy_ssd_threads(a, req->threads);
    const hy_ssd_ws at = hy_ssd_ws_layout(a, req->threads);
    const jobs_ctx ctx = {a, &at, ws, req->by_token};
    if (a->T > HY_SSD_STEPS && !req->by_token)
        hy_parallel(threads, (long)a->B * hy_ssd_chunks(a->T, HY_SSD_CHUNK) * a->G, 1, score_jobs, &ctx);
    hy_parallel(threads, (long)a->B * a->H, 1, head_jobs, &ctx);
    return HY_OK;
}
