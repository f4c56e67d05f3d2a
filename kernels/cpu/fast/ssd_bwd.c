// ssd_bwd.c - SSD (Mamba-2), backward, float32, built once per instruction set. The mathematics is in kernels.h, the
// oracle in ssd.c, the forward (and its symbols) in ssd.c.
//
// Nothing is saved by the forward. First, per head and sequence: the states before each chunk, then, from the last
// chunk to the first, the gradients dS of the states after it:  dS before = all dS + C^T (from_start dy). Then every
// chunk on its own, group by group, over the heads of the group in order (M = C B^T * L):
//   dM = dy u^T           dG = sum over heads of dM * L      du = M^T dy + to_end (B dS)      dx = delta du + skip dy
//   dC = sum over heads of from_start (S dy) + dG B          dB = sum over heads of to_end (dS u) + dG^T C
// The gradient of the decay of token k sums what flows across it: from tokens j < k to tokens i >= k of the chunk
// (dM_ij M_ij), from the state before to i >= k, from j < k to the state after, and from state to state. These are sums
// of the terms themselves and no differences of longer sums.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast/ssd_tile.h"

hy_status HY_FAST(hy_fast_ssd_bwd)(const void *args, void *ws, const hy_plan_req *req);

typedef struct {
    float *u, *dy, *du, *w, *t;        // [chunk, P padded]
    float *B, *C, *dB, *dC, *head_dC;  // [chunk, N padded]
    float *BT, *uT;                    // [N, chunk], [P, chunk]
    float *ST, *dST;                   // [P, N padded]
    float *CB, *M, *dM, *dG;           // [chunk, chunk]
} scratch;

static scratch carve(float *p, const hy_ssd_args *a) {
    const size_t Pp = hy_ssd_padded(a->P), Np = hy_ssd_padded(a->N);
    scratch w;
    struct {
        float **at;
        size_t n;
    } part[] = {{&w.u, HY_SSD_ROWS_P(a)},   {&w.dy, HY_SSD_ROWS_P(a)},
                {&w.du, HY_SSD_ROWS_P(a)},  {&w.w, HY_SSD_ROWS_P(a)},
                {&w.t, HY_SSD_ROWS_P(a)},   {&w.B, HY_SSD_ROWS_N(a)},
                {&w.C, HY_SSD_ROWS_N(a)},   {&w.dB, HY_SSD_ROWS_N(a)},
                {&w.dC, HY_SSD_ROWS_N(a)},  {&w.head_dC, HY_SSD_ROWS_N(a)},
                {&w.BT, Np * HY_SSD_CHUNK}, {&w.uT, Pp * HY_SSD_CHUNK},
                {&w.ST, Pp * Np},           {&w.dST, Pp * Np},
                {&w.CB, HY_SSD_SQUARE},     {&w.M, HY_SSD_SQUARE},
                {&w.dM, HY_SSD_SQUARE},     {&w.dG, HY_SSD_SQUARE}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i].at = p;
        p += part[i].n;
    }
    return w;
}
static int length(const hy_ssd_args *a, int b) { return a->len ? a->len[b] : a->T; }
static int tokens_of(const hy_ssd_args *a, int b, int c) {
    const int left = length(a, b) - c * HY_SSD_CHUNK;
    return left < 0 ? 0 : left < HY_SSD_CHUNK ? left : HY_SSD_CHUNK;
}
static const float *row_of(const void *p, size_t row, int ld, size_t col) { return (const float *)p + row * ld + col; }

// ---------------------------------------------------------------------------------------------------- states
// Of one head and sequence: S [chunks] before each chunk, dS [chunks] after it, `stride` floats apart.
static void states(const hy_ssd_bwd_args *b_, int b, int h, float *S, float *dS, size_t stride, const scratch *w) {
    const hy_ssd_args *a = &b_->f;
    const int chunks = hy_ssd_chunks(length(a, b), HY_SSD_CHUNK), P = a->P, N = a->N, g = h / (a->H / a->G);
    const size_t size = hy_ssd_state(a), Pp = hy_ssd_padded(P);
    steps s;
    for (int c = 0; c < chunks; c++) {
        const size_t row = (size_t)b * a->T + (size_t)c * HY_SSD_CHUNK;
        const int n = tokens_of(a, b, c);
        float *next = S + (c + 1) * stride;
        if (c == 0) memset(S, 0, size * sizeof(float));
        if (c == chunks - 1) break;
        make_steps(a, row, n, h, &s);
        for (int i = 0; i < n; i++) s.delta[i] *= s.to_end[i];
        pack_rows(row_of(a->x, row, a->ldx, (size_t)h * P), a->ldx, n, P, s.delta, w->u);
        for (size_t i = 0; i < size; i += HY_LANES) v_store(next + i, s.all * v_load(S + c * stride + i));
        mm(&(hy_mm_args){.M = N,
                         .N = P,
                         .K = n,
                         .a = row_of(a->Bm, row, a->ldB, (size_t)g * N),
                         .am = 1,
                         .ak = a->ldB,
                         .b = w->u,
                         .ldb = Pp,
                         .c = next,
                         .ldc = Pp,
                         .add = true});
    }
    for (int c = chunks - 1; c >= 0; c--) {
        const size_t row = (size_t)b * a->T + (size_t)c * HY_SSD_CHUNK;
        const int n = tokens_of(a, b, c);
        float *before = dS + (c - 1) * (ptrdiff_t)stride;
        if (c == chunks - 1) memset(dS + c * stride, 0, size * sizeof(float));
        if (c == 0) break;
        make_steps(a, row, n, h, &s);
        pack_rows(row_of(b_->dy, row, b_->lddy, (size_t)h * P), b_->lddy, n, P, s.from_start, w->dy);
        for (size_t i = 0; i < size; i += HY_LANES) v_store(before + i, s.all * v_load(dS + c * stride + i));
        mm(&(hy_mm_args){.M = N,
                         .N = P,
                         .K = n,
                         .a = row_of(a->Cm, row, a->ldC, (size_t)g * N),
                         .am = 1,
                         .ak = a->ldC,
                         .b = w->dy,
                         .ldb = Pp,
                         .c = before,
                         .ldc = Pp,
                         .add = true});
    }
}

// ------------------------------------------------------------------------------------------------- one head of a chunk
static float dot(const float *a, const float *b, size_t n) {  // whole vectors; what is past n must be 0
    vf sum = {0};
    for (size_t i = 0; i < n; i += HY_LANES) sum += v_load(a + i) * v_load(b + i);
    return lane_sum(sum);
}

// M from C B^T, dG += dM * L, and across[k] = sum over i >= k > j of dM_ij M_ij, from the last row to the first.
static void inside(const steps *s, int n, const scratch *w, float *across) {
    float column[HY_SSD_CHUNK] = {0};  // sums over the rows i.. of dM_ij M_ij, j < i
    for (int i = n - 1; i >= 0; i--) {
        float *M = w->M + i * HY_SSD_CHUNK, *dG = w->dG + i * HY_SSD_CHUNK;
        const float *dM = w->dM + i * HY_SSD_CHUNK, *CB = w->CB + i * HY_SSD_CHUNK;
        vf sum = {0};
        for (int j = 0; j < n; j += HY_LANES) {
            if (j > i) {
                v_store(M + j, (vf){0});
                continue;
            }
            const vf L = up_to(decays(s, i, j), i, j), m = L * up_to(v_load(CB + j), i, j),
                     d = up_to(v_load(dM + j), i, j);
            v_store(M + j, m);
            v_store(dG + j, v_load(dG + j) + d * L);
            if (j == i) continue;  // only the diagonal is left
            const vf c = v_load(column + j) + up_to(d * m, i - 1, j);
            v_store(column + j, c);
            sum += up_to(c, i - 1, j);
        }
        across[i] = lane_sum(sum);
    }
}

// Adds to across[k] what goes from the state before the chunk to tokens >= k (out), from tokens < k to the state after
// it (in), and past the chunk.
static void around(int n, const float *out, const float *in, float past, float *across) {
    float sum = past;
    for (int k = n - 1; k >= 0; k--) across[k] += sum += out[k];
    sum = 0;
    for (int k = 0; k < n; k++) across[k] += sum, sum += in[k];
}

HY_INLINE void put(float *at, vf v, int m, bool add) {
    if (add) v += v_load_n(at, m);
    v_store_n(at, v, m);
}

// Rows of dx and ddt; sums of the parameters' gradients.
static void finish(const hy_ssd_bwd_args *b, size_t row, int n, int h, const steps *s, const float *across,
                   const scratch *w, float *sums) {
    const hy_ssd_args *a = &b->f;
    const int P = a->P;
    const size_t Pp = hy_ssd_padded(P);
    const float skip = a->skip ? ((const float *)a->skip)[h] : 0;
    double dA = 0, dskip = 0, dbias = 0;
    for (int i = 0; i < n; i++) {
        const float *x = row_of(a->x, row + i, a->ldx, (size_t)h * P), *du = w->du + i * Pp, *dy = w->dy + i * Pp;
        float *dx = b->dx ? (float *)b->dx + (row + i) * b->lddx + (size_t)h * P : NULL;
        vf xdu = {0}, xdy = {0};
        for (int p = 0; p < P; p += HY_LANES) {
            const int m = P - p < HY_LANES ? P - p : HY_LANES;
            const vf xv = v_load_n(x + p, m), duv = v_load(du + p), dyv = v_load(dy + p);
            xdu += xv * duv;
            xdy += xv * dyv;
            if (dx) put(dx + p, s->delta[i] * duv + skip * dyv, m, b->acc & 1);
        }
        const float gz = (float)(across[i] * s->A + lane_sum(xdu)) * s->free[i];
        float *ddt = b->ddt ? (float *)b->ddt + (row + i) * b->ldddt + h : NULL;
        if (ddt) *ddt = b->acc & 2 ? *ddt + gz : gz;
        dA += across[i] * (s->delta[i] * s->A);
        dskip += lane_sum(xdy);
        dbias += gz;
    }
    sums[0] = (float)dA, sums[1] = (float)dskip, sums[2] = (float)dbias;
}

// first, last: no state before the chunk, no gradient of the one after it.
static void head(const hy_ssd_bwd_args *b, size_t row, int n, int h, bool first, bool last, const float *S,
                 const float *dS, const scratch *w, float *sums) {
    const hy_ssd_args *a = &b->f;
    const int P = a->P, N = a->N;
    const size_t Pp = hy_ssd_padded(P), Np = hy_ssd_padded(N), Q = HY_SSD_CHUNK;
    float across[HY_SSD_CHUNK], out[HY_SSD_CHUNK] = {0}, in[HY_SSD_CHUNK] = {0}, past = 0;
    steps s;
    make_steps(a, row, n, h, &s);
    pack_rows(row_of(a->x, row, a->ldx, (size_t)h * P), a->ldx, n, P, s.delta, w->u);
    pack_rows(row_of(b->dy, row, b->lddy, (size_t)h * P), b->lddy, n, P, NULL, w->dy);
    transpose(w->u, Pp, n, P, w->uT, Q);
    mm(&(hy_mm_args){.M = n,
                     .N = n,
                     .K = P,
                     .a = w->dy,
                     .am = Pp,
                     .ak = 1,
                     .b = w->uT,
                     .ldb = Q,
                     .c = w->dM,
                     .ldc = Q,
                     .shape = HY_MM_C_LOWER});
    inside(&s, n, w, across);
    mm(&(hy_mm_args){.M = n,
                     .N = P,
                     .K = n,
                     .a = w->M,
                     .am = 1,
                     .ak = Q,
                     .b = w->dy,
                     .ldb = Pp,
                     .c = w->du,
                     .ldc = Pp,
                     .shape = HY_MM_A_UPPER});
    if (!last) {
        mm(&(hy_mm_args){
            .M = n, .N = P, .K = N, .a = w->B, .am = Np, .ak = 1, .b = dS, .ldb = Pp, .c = w->t, .ldc = Pp});
        memcpy(w->w, w->u, (size_t)n * Pp * sizeof(float));
        scale_rows(w->w, Pp, n, P, s.to_end);
        scale_rows(w->t, Pp, n, P, s.to_end);
        for (int i = 0; i < n; i++) {
            in[i] = dot(w->u + i * Pp, w->t + i * Pp, (size_t)P);
            for (int p = 0; p < P; p += HY_LANES)
                v_store(w->du + i * Pp + p, v_load(w->du + i * Pp + p) + v_load(w->t + i * Pp + p));
        }
        transpose(dS, Pp, N, P, w->dST, Np);
        mm(&(hy_mm_args){.M = n,
                         .N = N,
                         .K = P,
                         .a = w->w,
                         .am = Pp,
                         .ak = 1,
                         .b = w->dST,
                         .ldb = Np,
                         .c = w->dB,
                         .ldc = Np,
                         .add = true});
    }
    if (!first) {
        transpose(S, Pp, N, P, w->ST, Np);
        mm(&(hy_mm_args){
            .M = n, .N = N, .K = P, .a = w->dy, .am = Pp, .ak = 1, .b = w->ST, .ldb = Np, .c = w->head_dC, .ldc = Np});
        scale_rows(w->head_dC, Np, n, N, s.from_start);
        for (int i = 0; i < n; i++) {
            out[i] = dot(w->C + i * Np, w->head_dC + i * Np, (size_t)N);
            for (int k = 0; k < N; k += HY_LANES)
                v_store(w->dC + i * Np + k, v_load(w->dC + i * Np + k) + v_load(w->head_dC + i * Np + k));
        }
    }
    if (!first && !last) past = s.all * dot(S, dS, hy_ssd_state(a));
    around(n, out, in, past, across);
    finish(b, row, n, h, &s, across, w, sums);
}

// ---------------------------------------------------------------------------------------------------- a chunk
static void put_rows(void *to, size_t row, int ld, size_t col, int n, int width, const float *from, size_t stride,
                     bool add) {
    for (int i = 0; to && i < n; i++)
        for (int k = 0; k < width; k += HY_LANES)
            put((float *)to + (row + i) * ld + col + k, v_load(from + i * stride + k),
                width - k < HY_LANES ? width - k : HY_LANES, add);
}
static void clear(void *p, size_t row, size_t end, int ld, size_t col, int width, bool keep) {
    for (; p && !keep && row < end; row++) memset((float *)p + row * ld + col, 0, (size_t)width * sizeof(float));
}

// Chunk c of sequence b, the heads of group g. S, dS [heads] of this chunk; sums [heads, HY_SSD_SUMS].
static void chunk(const hy_ssd_bwd_args *b_, int b, int c, int g, const float *S, const float *dS, const scratch *w,
                  float *sums) {
    const hy_ssd_args *a = &b_->f;
    const int N = a->N, per = a->H / a->G, n = tokens_of(a, b, c), chunks = hy_ssd_chunks(length(a, b), HY_SSD_CHUNK);
    const size_t row = (size_t)b * a->T + (size_t)c * HY_SSD_CHUNK, Np = hy_ssd_padded(N), Q = HY_SSD_CHUNK,
                 size = hy_ssd_state(a);
    const int whole = a->T - c * HY_SSD_CHUNK < HY_SSD_CHUNK ? a->T - c * HY_SSD_CHUNK : HY_SSD_CHUNK;
    if (n > 0) {
        pack_rows(row_of(a->Bm, row, a->ldB, (size_t)g * N), a->ldB, n, N, NULL, w->B);
        pack_rows(row_of(a->Cm, row, a->ldC, (size_t)g * N), a->ldC, n, N, NULL, w->C);
        transpose(w->B, Np, n, N, w->BT, Q);
        mm(&(hy_mm_args){.M = n,
                         .N = n,
                         .K = N,
                         .a = w->C,
                         .am = Np,
                         .ak = 1,
                         .b = w->BT,
                         .ldb = Q,
                         .c = w->CB,
                         .ldc = Q,
                         .shape = HY_MM_C_LOWER});
        memset(w->dG, 0, HY_SSD_SQUARE * sizeof(float));
        memset(w->dB, 0, HY_SSD_ROWS_N(a) * sizeof(float));
        memset(w->dC, 0, HY_SSD_ROWS_N(a) * sizeof(float));
        for (int h = g * per; h < (g + 1) * per; h++)
            head(b_, row, n, h, c == 0, c == chunks - 1, S + h * size, dS + h * size, w, sums + h * HY_SSD_SUMS);
        mm(&(hy_mm_args){.M = n,
                         .N = N,
                         .K = n,
                         .a = w->dG,
                         .am = Q,
                         .ak = 1,
                         .b = w->B,
                         .ldb = Np,
                         .c = w->dC,
                         .ldc = Np,
                         .add = true,
                         .shape = HY_MM_A_LOWER});
        mm(&(hy_mm_args){.M = n,
                         .N = N,
                         .K = n,
                         .a = w->dG,
                         .am = 1,
                         .ak = Q,
                         .b = w->C,
                         .ldb = Np,
                         .c = w->dB,
                         .ldc = Np,
                         .add = true,
                         .shape = HY_MM_A_UPPER});
        put_rows(b_->dBm, row, b_->lddB, (size_t)g * N, n, N, w->dB, Np, b_->acc & 4);
        put_rows(b_->dCm, row, b_->lddC, (size_t)g * N, n, N, w->dC, Np, b_->acc & 8);
    } else {
        memset(sums + g * per * HY_SSD_SUMS, 0, (size_t)per * HY_SSD_SUMS * sizeof(float));
    }
    const size_t from = row + (size_t)n, end = row + (size_t)whole;
    clear(b_->dx, from, end, b_->lddx, (size_t)g * per * a->P, per * a->P, b_->acc & 1);
    clear(b_->ddt, from, end, b_->ldddt, (size_t)g * per, per, b_->acc & 2);
    clear(b_->dBm, from, end, b_->lddB, (size_t)g * N, N, b_->acc & 4);
    clear(b_->dCm, from, end, b_->lddC, (size_t)g * N, N, b_->acc & 8);
}

// Adds the sums of the (sequence, chunk) pairs of a wave, in order.
static void add_sums(const hy_ssd_bwd_args *b, const float *sums, int n) {
    void *const to[HY_SSD_SUMS] = {b->dA_log, b->dskip, b->ddt_bias};
    for (int k = 0; k < HY_SSD_SUMS; k++)
        for (int h = 0; to[k] && h < b->f.H; h++) {
            double sum = 0;
            for (int i = 0; i < n; i++) sum += sums[((size_t)i * b->f.H + h) * HY_SSD_SUMS + k];
            ((float *)to[k])[h] += (float)sum;
        }
}

// A wave: sequences from b0 on. Their states are [sequence, chunk, head].
typedef struct {
    const hy_ssd_bwd_args *b;
    const hy_ssd_bwd_ws *at;
    float *ws;
    int b0;
} wave_ctx;
static void state_jobs(const void *ctx, long from, long to, int thread) {
    const wave_ctx *x = ctx;
    const hy_ssd_args *a = &x->b->f;
    const size_t size = hy_ssd_state(a), stride = a->H * size, chunks = hy_ssd_chunks(a->T, HY_SSD_CHUNK);
    const scratch w = carve(x->ws + x->at->thread + (size_t)thread * x->at->per_thread, a);
    for (int j = (int)from; j < (int)to; j++) {
        const size_t first = (size_t)(j / a->H) * chunks * stride + (size_t)(j % a->H) * size;
        states(x->b, x->b0 + j / a->H, j % a->H, x->ws + x->at->states + first, x->ws + x->at->dstates + first, stride,
               &w);
    }
}
static void chunk_jobs(const void *ctx, long from, long to, int thread) {
    const wave_ctx *x = ctx;
    const hy_ssd_args *a = &x->b->f;
    const size_t stride = a->H * hy_ssd_state(a);
    const int chunks = hy_ssd_chunks(a->T, HY_SSD_CHUNK);
    const scratch w = carve(x->ws + x->at->thread + (size_t)thread * x->at->per_thread, a);
    for (int j = (int)from; j < (int)to; j++) {
        const int g = j % a->G, i = j / a->G;
        chunk(x->b, x->b0 + i / chunks, i % chunks, g, x->ws + x->at->states + i * stride,
              x->ws + x->at->dstates + i * stride, &w, x->ws + x->at->sums + (size_t)i * a->H * HY_SSD_SUMS);
    }
}

hy_status HY_FAST(hy_fast_ssd_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_ssd_bwd_args *b = args;
    const hy_ssd_args *a = &b->f;
    const int chunks = hy_ssd_chunks(a->T, HY_SSD_CHUNK), threads = hy_ssd_threads(a, req->threads);
    const hy_ssd_bwd_ws at = hy_ssd_bwd_ws_layout(a, req->threads);
    for (int b0 = 0; b0 < a->B; b0 += at.wave) {
        const int wave = a->B - b0 < at.wave ? a->B - b0 : at.wave;
        const wave_ctx ctx = {b, &at, ws, b0};
        hy_parallel(threads, (long)wave * a->H, 1, state_jobs, &ctx);
        hy_parallel(threads, (long)wave * chunks * a->G, 1, chunk_jobs, &ctx);
        add_sums(b, (const float *)ws + at.sums, wave * chunks);
    }
    return HY_OK;
}
