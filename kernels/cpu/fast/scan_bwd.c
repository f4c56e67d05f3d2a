// scan_bwd.c - the selective scan, backward, float32, built once per instruction set. The mathematics is in
// kernels.h, the oracle in scan.c, the forward in scan.c.
//
// A job is one sequence and one group of channels. It goes over the chunks from the last to the first; the operands of
// a chunk are read in whole rows of the group and become tiles of the thread, as in the forward. HY_SCAN_STATES_BWD
// states at a time, every channel block recomputes its states from the saved one, keeps them and their decays in the L1
// cache (so each exp is computed once), and walks back over them. dB and dC are sums over channels: a job adds up its
// channels lane by lane, then the lanes, and writes one sum per group; groups are added in order afterwards. dA_log and
// dskip are sums over sequences: one part per sequence, added in order.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"
#include "kernels/cpu/fast/scan_tile.h"

hy_status HY_FAST(hy_fast_scan_bwd)(const void *args, void *ws, const hy_plan_req *req);

#define GROUP HY_SCAN_GROUP_BWD
#define STATES HY_SCAN_STATES_BWD
#define LN_2 0.69314718055994531f

// One channel block over the tokens of a chunk: what all its states need, and what they add up.
typedef struct {
    vf delta[HY_SCAN_CHUNK], u[HY_SCAN_CHUNK];  // softplus(dt), delta * x
    vf dy[HY_SCAN_CHUNK];                       // gradient of sum_n C h + skip x
    vf y[HY_SCAN_CHUNK];                        // sum_n C h
    vf dhB[HY_SCAN_CHUNK];                      // sum_n dh B
    vf ddecay[HY_SCAN_CHUNK];                   // sum_n (gradient of delta A) A log2(e)
    vf ddelta_dt[HY_SCAN_CHUNK];                // derivative of softplus
    vf dgate[HY_SCAN_CHUNK];                    // dy times the derivative of silu(gate)
    vf pad;  // blocks a power of two apart would throw each other out of the L1 cache
} block;

// Memory of a job: of the channel blocks of its group, and of one chunk.
typedef struct {
    vf *A2, *dh, *dA;    // [channel block, N]
    vf *dB, *dC;         // [chunk, STATES]: sums over the channel blocks, lane by lane
    vf *states, *decay;  // [chunk, STATES]
    block *blocks;       // [channel block]
} scratch;

// S states of a channel block over the n tokens of a chunk, forward from h0: keeps the states before each token and the
// decays, adds to dC and y (`first`: y starts here). B and C point at the first of these states in the first token.
HY_INLINE void recompute(const int S, bool first, block *b, int n, const vf *h0, const vf *A2, const float *B, int ldB,
                         const float *C, int ldC, vf *restrict states, vf *restrict decay, vf *restrict dC) {
    vf h[STATES];
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) h[s] = h0[s];
    for (int i = 0; i < n; i++, B += ldB, C += ldC, dC += S, states += S, decay += S) {
        const vf delta = b->delta[i], u = b->u[i], dy = b->dy[i];
        vf y = {0};
        HY_UNROLL for (int at = 0; at < S; at += HY_SIDE) {
            const int m = S - at < HY_SIDE ? S - at : HY_SIDE;
            vf a[HY_SIDE];
            HY_UNROLL for (int s = 0; s < m; s++) a[s] = delta * A2[at + s];
            v_exp2s(m, a);
            HY_UNROLL for (int s = 0; s < m; s++) {
                states[at + s] = h[at + s];
                decay[at + s] = a[s];
                h[at + s] = a[s] * h[at + s] + u * B[at + s];
                dC[at + s] += dy * h[at + s];
                y += C[at + s] * h[at + s];
            }
        }
        if (!first) y += b->y[i];
        b->y[i] = y;
    }
}
// The same S states back from the last token to the first. dh [S] and dA [S] in and out.
HY_INLINE void reverse(const int S, bool first, block *b, int n, const vf *A2, vf *dh_io, vf *dA_io, const float *B,
                       int ldB, const float *C, int ldC, const vf *restrict states, const vf *restrict decay,
                       vf *restrict dB) {
    vf dh[STATES], dA[STATES];
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) dh[s] = dh_io[s], dA[s] = dA_io[s];
    B += (size_t)(n - 1) * ldB, C += (size_t)(n - 1) * ldC;
    states += (n - 1) * S, decay += (n - 1) * S, dB += (n - 1) * S;
    for (int i = n - 1; i >= 0; i--, B -= ldB, C -= ldC, dB -= S, states -= S, decay -= S) {
        const vf delta = b->delta[i], u = b->u[i], dy = b->dy[i];
        vf dhB = {0}, ddecay = {0};
#pragma GCC unroll 16
        for (int s = 0; s < S; s++) {
            dh[s] += dy * C[s];
            dB[s] += dh[s] * u;
            dhB += dh[s] * B[s];
            dh[s] *= decay[s];
            const vf p = dh[s] * states[s];  // gradient of delta A
            ddecay += p * A2[s];
            dA[s] += p * delta;
        }
        if (!first) dhB += b->dhB[i], ddecay += b->ddecay[i];
        b->dhB[i] = dhB;
        b->ddecay[i] = ddecay;
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) dh_io[s] = dh[s], dA_io[s] = dA[s];
}

HY_INLINE void put(void *p, size_t i, vf v, int m, bool add) {
    if (!p) return;
    float *at = (float *)p + i;
    if (add) v += v_load_n(at, m);
    v_store_n(at, v, m);
}

// Before the states, for n blocks side by side from channel d on, m channels in each, of row `row`, token t of the
// chunk: delta, delta x, and the gradient that reaches the sum over states.
HY_INLINE void prepare(const int n, const hy_scan_bwd_args *a, block *b, int t, size_t row, int d, int m) {
    const hy_scan_args *f = &a->f;
    const float *dt = (const float *)f->dt + row * f->lddt + d, *x = (const float *)f->x + row * f->ldx + d;
    const float *dy = (const float *)a->dy + row * a->lddy + d;
    vf z[HY_SIDE], delta[HY_SIDE], s[HY_SIDE];
    EACH z[i] = v_load_n(dt + i * HY_LANES, m);
    v_softpluses(n, z, delta, s);
    EACH {
        b[i].delta[t] = delta[i];
        b[i].ddelta_dt[t] = s[i];
        b[i].u[t] = delta[i] * v_load_n(x + i * HY_LANES, m);
        b[i].dy[t] = v_load_n(dy + i * HY_LANES, m);
    }
    if (!f->gate) return;
    const float *gate = (const float *)f->gate + row * f->ldgate + d;
    EACH z[i] = v_load_n(gate + i * HY_LANES, m);
    v_sigmoids(n, z, s);
    EACH {
        const vf g = b[i].dy[t];
        b[i].dgate[t] = g * (s[i] * (1.0f + z[i] * (1.0f - s[i])));
        b[i].dy[t] = g * (z[i] * s[i]);
    }
}

// After the states: gradients of x, dt and gate; dskip gets its part added.
HY_INLINE void finish(const hy_scan_bwd_args *a, const block *b, int i, size_t row, int d, int m, float *dskip) {
    const hy_scan_args *f = &a->f;
    const vf skip = f->skip ? v_load_n((const float *)f->skip + d, m) : (vf){0};
    const vf x = v_load_n((const float *)f->x + row * f->ldx + d, m);
    v_store(dskip, v_load(dskip) + b->dy[i] * x);
    put(a->dx, row * a->lddx + d, b->dy[i] * skip + b->dhB[i] * b->delta[i], m, a->acc & 1);
    put(a->ddt, row * a->ldddt + d, (b->dhB[i] * x + b->ddecay[i] * LN_2) * b->ddelta_dt[i], m, a->acc & 2);
    if (f->gate) put(a->dgate, row * a->lddgate + d, b->dgate[i] * (b->y[i] + skip * x), m, a->acc & 16);
}

// The lanes of tile [n, S] are added up: rows of S floats, ld apart.
static void sum_lanes(const vf *tile, int n, int S, float *out, int ld) {
    const int count = n * S;
    float sum[HY_SCAN_CHUNK * STATES + HY_LANES];
    for (int i = 0; i < count; i += HY_LANES) {
        vf t[HY_LANES];
        for (int l = 0; l < HY_LANES; l++) t[l] = i + l < count ? tile[i + l] : (vf){0};
        v_store(sum + i, v_sums(t));
    }
    for (int i = 0; i < n; i++) memcpy(out + (size_t)i * ld, sum + i * S, (size_t)S * sizeof(float));
}

// Asks for the operands of n rows at channel d, read and written.
static void prefetch(const hy_scan_bwd_args *a, size_t row, int n, int d) {
    const hy_scan_args *f = &a->f;
    prefetch_rows(f->x, f->ldx, row, n, d);
    prefetch_rows(f->dt, f->lddt, row, n, d);
    prefetch_rows(a->dy, a->lddy, row, n, d);
    if (f->gate) prefetch_rows(f->gate, f->ldgate, row, n, d);
    if (a->dx) prefetch_rows(a->dx, a->lddx, row, n, d);
    if (a->ddt) prefetch_rows(a->ddt, a->ldddt, row, n, d);
    if (f->gate && a->dgate) prefetch_rows(a->dgate, a->lddgate, row, n, d);
}

// S states from s on of all channel blocks over the tokens of a chunk. h0: the saved tiles of the group; dB, dC: rows
// of N floats for the sums over its channels. before: there is a chunk before this one, whose operands are asked for.
HY_INLINE void walk(const int S, const hy_scan_bwd_args *a, const scratch *w, size_t row, int n, int s, int d0,
                    int blocks, bool before, const vf *h0, float *dB, float *dC) {
    const hy_scan_args *f = &a->f;
    const int N = f->N;
    const float *B = (const float *)f->Bm + row * f->ldB + s, *C = (const float *)f->Cm + row * f->ldC + s;
    memset(w->dB, 0, (size_t)n * S * sizeof(vf));
    memset(w->dC, 0, (size_t)n * S * sizeof(vf));
    for (int k = 0; k < blocks; k++) {
        const size_t at = (size_t)k * N + s;
        if (before) {
            if (!s) prefetch(a, row - HY_SCAN_CHUNK, HY_SCAN_CHUNK, d0 + k * HY_LANES);
            for (int j = 0; j < S; j++)
                __builtin_prefetch((const float *)(h0 + at + j) - hy_scan_padded(f->D) * N, 0, 2);
        }
        recompute(S, !s, &w->blocks[k], n, h0 + at, w->A2 + at, B, f->ldB, C, f->ldC, w->states, w->decay, w->dC);
        reverse(S, !s, &w->blocks[k], n, w->A2 + at, w->dh + at, w->dA + at, B, f->ldB, C, f->ldC, w->states, w->decay,
                w->dB);
    }
    sum_lanes(w->dB, n, S, dB + s, N);
    sum_lanes(w->dC, n, S, dC + s, N);
}

static void clear_padding(const hy_scan_bwd_args *a, size_t row, size_t end, int d0, int d1) {
    const size_t bytes = (size_t)(d1 - d0) * sizeof(float);
    for (; row < end; row++) {
        if (a->dx && !(a->acc & 1)) memset((float *)a->dx + row * a->lddx + d0, 0, bytes);
        if (a->ddt && !(a->acc & 2)) memset((float *)a->ddt + row * a->ldddt + d0, 0, bytes);
        if (a->dgate && a->f.gate && !(a->acc & 16)) memset((float *)a->dgate + row * a->lddgate + d0, 0, bytes);
    }
}

// One chunk, rows row .. row + n - 1, channels d0 .. d1 - 1; before: it is not the first of its sequence. h0: the saved
// tiles.
static void chunk(const hy_scan_bwd_args *a, const scratch *w, size_t row, int n, bool before, int d0, int d1,
                  const vf *h0, float *dskip, float *dB, float *dC) {
    const int full = (d1 - d0) / HY_LANES, rest = (d1 - d0) % HY_LANES, blocks = full + !!rest, N = a->f.N;
    for (int i = 0; i < n; i++) {
        int k = 0;
        for (; k + HY_SIDE <= full; k += HY_SIDE)
            prepare(HY_SIDE, a, &w->blocks[k], i, row + i, d0 + k * HY_LANES, HY_LANES);
        for (; k < full; k++) prepare(1, a, &w->blocks[k], i, row + i, d0 + k * HY_LANES, HY_LANES);
        if (rest) prepare(1, a, &w->blocks[full], i, row + i, d0 + full * HY_LANES, rest);
    }
    int s = 0;
    for (; s + 8 <= N; s += 8) walk(8, a, w, row, n, s, d0, blocks, before, h0, dB, dC);
    if (s + 4 <= N) walk(4, a, w, row, n, s, d0, blocks, before, h0, dB, dC), s += 4;
    for (; s < N; s++) walk(1, a, w, row, n, s, d0, blocks, before, h0, dB, dC);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < full; k++)
            finish(a, &w->blocks[k], i, row + i, d0 + k * HY_LANES, HY_LANES, dskip + d0 + k * HY_LANES);
        if (rest) finish(a, &w->blocks[full], i, row + i, d0 + full * HY_LANES, rest, dskip + d0 + full * HY_LANES);
    }
}

// Sequence b, channels d0 .. d1 - 1, group g of them.
static void job(const hy_scan_bwd_args *a, int b, int g, int d0, int d1, const hy_scan_ws *at, float *ws,
                const scratch *w) {
    const hy_scan_args *f = &a->f;
    const int N = f->N, len = f->len ? f->len[b] : f->T, chunks = hy_scan_chunks(f->T, HY_SCAN_CHUNK);
    const size_t row0 = (size_t)b * f->T, padded = hy_scan_padded(f->D), groups = hy_scan_chunks(f->D, GROUP);
    const size_t tiles = (size_t)hy_scan_chunks(d1 - d0, HY_LANES) * N * sizeof(vf);
    float *dskip = ws + at->dskip + b * padded;
    for (int d = d0, k = 0; d < d1; d += HY_LANES, k++)
        load_decay((const float *)f->A_log + (size_t)d * N, lanes_of(d, d1), N, w->A2 + (size_t)k * N);
    memset(w->dh, 0, tiles);
    memset(w->dA, 0, tiles);
    memset(dskip + d0, 0, (d1 == f->D ? padded - d0 : (size_t)(d1 - d0)) * sizeof(float));
    for (int c = hy_scan_chunks(len, HY_SCAN_CHUNK) - 1; c >= 0; c--) {
        const int t = c * HY_SCAN_CHUNK, n = len - t < HY_SCAN_CHUNK ? len - t : HY_SCAN_CHUNK;
        const size_t out = (((size_t)b * groups + g) * f->T + t) * N;
        const vf *h0 = (const vf *)saved_tile(f, chunks, b, c, d0);
        chunk(a, w, row0 + t, n, c > 0, d0, d1, h0, dskip, ws + at->dB + out, ws + at->dC + out);
    }
    clear_padding(a, row0 + len, row0 + f->T, d0, d1);
    for (int d = d0, k = 0; d < d1; d += HY_LANES, k++) {
        vf *dA = w->dA + (size_t)k * N, *A2 = w->A2 + (size_t)k * N;
        for (int n = 0; n < N; n++) dA[n] *= A2[n] * LN_2;
        store_tile(dA, lanes_of(d, d1), N, ws + at->dA + (b * padded + d) * N);
    }
}

// Row t of sequence b of dB or dC: the sums of the groups, in order. part [groups, T, N]
static void add_groups(float *out, const float *part, int groups, size_t stride, int N, bool valid, bool add) {
    for (int n = 0; n < N; n++) {
        float sum = 0;
        for (int g = 0; valid && g < groups; g++) sum += part[g * stride + n];
        out[n] = add ? out[n] + sum : sum;
    }
}
// out [n] += the parts of the sequences, in order. part [B, stride]
static void add_sequences(float *out, const float *part, int B, size_t stride, size_t n) {
    for (int b = 0; b < B; b++)
        for (size_t i = 0; i < n; i++) out[i] += part[b * stride + i];
}

typedef struct {
    const hy_scan_bwd_args *a;
    const hy_scan_ws *at;
    float *ws;
} jobs_ctx;
static void add_rows(const void *ctx, long from, long to, int thread) {
    const jobs_ctx *c = ctx;
    const hy_scan_bwd_args *a = c->a;
    const hy_scan_args *f = &a->f;
    const int N = f->N, groups = hy_scan_chunks(f->D, GROUP);
    const size_t stride = (size_t)f->T * N;
    (void)thread;
    for (size_t r = (size_t)from; r < (size_t)to; r++) {
        const size_t b = r / f->T, t = r % f->T, first = b * groups * stride + t * N;
        const bool valid = !f->len || (int)t < f->len[b];
        const float *dB = c->ws + c->at->dB + first, *dC = c->ws + c->at->dC + first;
        if (a->dBm) add_groups((float *)a->dBm + r * a->lddB, dB, groups, stride, N, valid, a->acc & 4);
        if (a->dCm) add_groups((float *)a->dCm + r * a->lddC, dC, groups, stride, N, valid, a->acc & 8);
    }
}
static void add_channels(const void *ctx, long from, long to, int thread) {
    const jobs_ctx *c = ctx;
    const hy_scan_bwd_args *a = c->a;
    const hy_scan_args *f = &a->f;
    const size_t N = f->N, padded = hy_scan_padded(f->D);
    (void)thread;
    for (size_t d = (size_t)from; d < (size_t)to; d++) {
        if (a->dA_log) add_sequences((float *)a->dA_log + d * N, c->ws + c->at->dA + d * N, f->B, padded * N, N);
        if (a->dskip) add_sequences((float *)a->dskip + d, c->ws + c->at->dskip + d, f->B, padded, 1);
    }
}

static scratch carve(float *p, int N) {
    const size_t tile = (size_t)GROUP * N, states = (size_t)HY_SCAN_CHUNK * STATES * HY_LANES;
    scratch w = {.A2 = (vf *)p, .dh = (vf *)(p + tile), .dA = (vf *)(p + 2 * tile)};
    p += 3 * tile;
    w.dB = (vf *)p, w.dC = (vf *)(p + states), w.states = (vf *)(p + 2 * states), w.decay = (vf *)(p + 3 * states);
    w.blocks = (block *)(p + 4 * states);
    return w;
}

static void jobs(const void *ctx, long from, long to, int thread) {
    const jobs_ctx *c = ctx;
    const hy_scan_args *f = &c->a->f;
    const int groups = hy_scan_chunks(f->D, GROUP);
    const scratch w = carve(c->ws + c->at->thread + (size_t)thread * c->at->per_thread, f->N);
    for (int j = (int)from; j < (int)to; j++) {
        const int g = j % groups, d0 = g * GROUP, d1 = d0 + GROUP < f->D ? d0 + GROUP : f->D;
        job(c->a, j / groups, g, d0, d1, c->at, c->ws, &w);
    }
}

hy_status HY_FAST(hy_fast_scan_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_bwd_args *a = args;
    const hy_scan_args *f = &a->f;
    const int threads = hy_scan_threads(f, req->threads);
    const hy_scan_ws at = hy_scan_ws_layout(f, req->threads);
    const jobs_ctx ctx = {a, &at, ws};
    hy_parallel(threads, (long)f->B * hy_scan_chunks(f->D, GROUP), 1, jobs, &ctx);
    hy_parallel(threads, (long)f->B * f->T, 0, add_rows, &ctx);
    hy_parallel(threads, f->D, 0, add_channels, &ctx);
    return HY_OK;
}
