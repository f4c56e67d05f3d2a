// scan.c - the selective scan, forward, float32, built once per instruction set. The mathematics is in kernels.h, the
// oracle in scan.c, the backward in scan_bwd.c.
//
// The lanes of a vector are neighbouring channels; up to HY_SCAN_STATES states of them stay in registers while they
// walk over a chunk of tokens. A job is one sequence and one group of channels; it goes over the chunks in order. Rows
// of neighbouring tokens are far apart in memory: a chunk of x and dt is read in whole rows of the group, becomes delta
// and delta x in tiles of the thread, and y goes back in whole rows, so that the walks meet only the L1 and L2 caches.
// Channels do not depend on each other and a token is always computed in the same way, so the bits depend on neither
// threads, chunks, batch nor padding.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"
#include "kernels/cpu/fast/scan_tile.h"

hy_status HY_FAST(hy_fast_scan)(const void *args, void *ws, const hy_plan_req *req);

#if HY_LANES == 16
    #define HY_SCAN_STATES 16
#else
    #define HY_SCAN_STATES 8
#endif
#define GROUP HY_SCAN_GROUP_FWD
#define TOGETHER HY_SIDE  // states whose decays are computed side by side

// What a thread needs for its group of channels: tiles of the channel blocks, and a chunk of operands, block by block.
typedef struct {
    vf *A2, *h;         // [channel block, N]
    vf *delta, *u, *y;  // [channel block, chunk]: softplus(dt), delta x, sum_s C h + skip x
} scratch;

// Walks S states of one channel block over n tokens: h [S] in and out, sum_s C h is added to y [n].
HY_INLINE void walk(const int S, int n, const vf *delta_n, const vf *u_n, vf *y, vf *h_io, const vf *A2, const float *B,
                    int ldB, const float *C, int ldC) {
    vf h[HY_SCAN_STATES];
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) h[s] = h_io[s];
    for (int i = 0; i < n; i++, B += ldB, C += ldC) {
        const vf delta = delta_n[i], u = u_n[i];
        vf even = y[i], odd = {0};
        HY_UNROLL for (int at = 0; at < S; at += TOGETHER) {
            const int m = S - at < TOGETHER ? S - at : TOGETHER;
            vf decay[HY_SIDE];
            HY_UNROLL for (int s = 0; s < m; s++) decay[s] = delta * A2[at + s];
            v_exp2s(m, decay);
            HY_UNROLL for (int s = 0; s < m; s++) h[at + s] = decay[s] * h[at + s] + u * B[at + s];
            HY_UNROLL for (int s = 0; s < m; s++) {
                if ((at + s) & 1)
                    odd = v_fma(v_set(C[at + s]), h[at + s], odd);
                else
                    even = v_fma(v_set(C[at + s]), h[at + s], even);
            }
        }
        y[i] = even + odd;
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) h_io[s] = h[s];
}

// delta, delta x and skip x of the rows of a chunk: whole rows of the group, as they lie in memory.
// n vectors side by side from channel d, channel block k on; m channels in each.
HY_INLINE void prepare(const int n, const hy_scan_args *a, const scratch *w, int t, size_t row, int d, int k, int m) {
    const float *x = (const float *)a->x + row * a->ldx + d, *dt = (const float *)a->dt + row * a->lddt + d;
    vf z[HY_SIDE], delta[HY_SIDE], sigmoid[HY_SIDE];
    EACH z[i] = v_load_n(dt + i * HY_LANES, m);
    v_softpluses(n, z, delta, sigmoid);
    EACH {
        const vf skip = a->skip ? v_load_n((const float *)a->skip + d + i * HY_LANES, m) : (vf){0};
        const vf xi = v_load_n(x + i * HY_LANES, m);
        const int at = (k + i) * HY_SCAN_CHUNK + t;
        w->delta[at] = delta[i];
        w->u[at] = delta[i] * xi;
        w->y[at] = skip * xi;
    }
}
HY_INLINE void finish(const int n, const hy_scan_args *a, const scratch *w, int t, size_t row, int d, int k, int m) {
    vf out[HY_SIDE], g[HY_SIDE], s[HY_SIDE];
    EACH out[i] = w->y[(k + i) * HY_SCAN_CHUNK + t];
    if (a->gate) {
        EACH g[i] = v_load_n((const float *)a->gate + row * a->ldgate + d + i * HY_LANES, m);
        v_sigmoids(n, g, s);
        EACH out[i] *= g[i] * s[i];
    }
    EACH v_store_n((float *)a->y + row * a->ldy + d + i * HY_LANES, out[i], m);
}

// All states of channel block k over the n tokens of a chunk that starts at `row`.
static void block(const hy_scan_args *a, const scratch *w, size_t row, int n, int k) {
    const float *B = (const float *)a->Bm + row * a->ldB, *C = (const float *)a->Cm + row * a->ldC;
    const vf *A2 = w->A2 + (size_t)k * a->N, *delta = w->delta + k * HY_SCAN_CHUNK, *u = w->u + k * HY_SCAN_CHUNK;
    vf *h = w->h + (size_t)k * a->N, *y = w->y + k * HY_SCAN_CHUNK;
    int s = 0;
#define WALK(S) walk(S, n, delta, u, y, h + s, A2 + s, B + s, a->ldB, C + s, a->ldC)
#if HY_SCAN_STATES == 16
    for (; s + 16 <= a->N; s += 16) WALK(16);
#endif
    for (; s + 8 <= a->N; s += 8) WALK(8);
    if (s + 4 <= a->N) WALK(4), s += 4;
    for (; s < a->N; s++) WALK(1);
#undef WALK
}

static void chunk(const hy_scan_args *a, const scratch *w, size_t row, int n, int next, int d0, int d1) {
    const int full = (d1 - d0) / HY_LANES, rest = (d1 - d0) % HY_LANES, blocks = full + !!rest;
    for (int i = 0; i < n; i++) {
        int k = 0;
        for (; k + HY_SIDE <= full; k += HY_SIDE) prepare(HY_SIDE, a, w, i, row + i, d0 + k * HY_LANES, k, HY_LANES);
        for (; k < full; k++) prepare(1, a, w, i, row + i, d0 + k * HY_LANES, k, HY_LANES);
        if (rest) prepare(1, a, w, i, row + i, d0 + full * HY_LANES, full, rest);
    }
    for (int k = 0; k < blocks; k++) {
        const int d = d0 + k * HY_LANES;  // of the next chunk, as many lines as this block takes
        prefetch_rows(a->x, a->ldx, row + n, next, d);
        prefetch_rows(a->dt, a->lddt, row + n, next, d);
        if (a->gate) prefetch_rows(a->gate, a->ldgate, row + n, next, d);
        prefetch_rows(a->y, a->ldy, row + n, next, d);
        block(a, w, row, n, k);
    }
    for (int i = 0; i < n; i++) {
        int k = 0;
        for (; k + HY_SIDE <= full; k += HY_SIDE) finish(HY_SIDE, a, w, i, row + i, d0 + k * HY_LANES, k, HY_LANES);
        for (; k < full; k++) finish(1, a, w, i, row + i, d0 + k * HY_LANES, k, HY_LANES);
        if (rest) finish(1, a, w, i, row + i, d0 + full * HY_LANES, full, rest);
    }
}

// Sequence b, channels d0 .. d1 - 1.
static void job(const hy_scan_args *a, int b, int d0, int d1, const scratch *w) {
    const int N = a->N, len = a->len ? a->len[b] : a->T, chunks = hy_scan_chunks(a->T, HY_SCAN_CHUNK);
    const size_t row0 = (size_t)b * a->T, tiles = (size_t)hy_scan_chunks(d1 - d0, HY_LANES) * N * sizeof(vf);
    float *state = a->state ? (float *)a->state + (size_t)b * a->D * N : NULL;
    for (int d = d0, k = 0; d < d1; d += HY_LANES, k++) {
        load_decay((const float *)a->A_log + (size_t)d * N, lanes_of(d, d1), N, w->A2 + (size_t)k * N);
        if (state) load_tile(state + (size_t)d * N, lanes_of(d, d1), N, w->h + (size_t)k * N);
    }
    if (!state) memset(w->h, 0, tiles);
    for (int c = 0, t = 0; t < len; c++, t += HY_SCAN_CHUNK) {
        const int n = len - t < HY_SCAN_CHUNK ? len - t : HY_SCAN_CHUNK, left = len - t - n;
        if (a->saved) memcpy(saved_tile(a, chunks, b, c, d0), w->h, tiles);
        chunk(a, w, row0 + t, n, left < HY_SCAN_CHUNK ? left : HY_SCAN_CHUNK, d0, d1);
    }
    for (int t = len; t < a->T; t++)
        memset((float *)a->y + (row0 + t) * a->ldy + d0, 0, (size_t)(d1 - d0) * sizeof(float));
    for (int d = d0, k = 0; state && d < d1; d += HY_LANES, k++)
        store_tile(w->h + (size_t)k * N, lanes_of(d, d1), N, state + (size_t)d * N);
}

typedef struct {
    const hy_scan_args *a;
    float *ws;
} jobs_ctx;
static void jobs(const void *ctx, long from, long to, int thread) {
    const jobs_ctx *c = ctx;
    const hy_scan_args *a = c->a;
    const int groups = hy_scan_chunks(a->D, GROUP);
    const size_t tile = (size_t)GROUP * a->N, operand = (size_t)GROUP * HY_SCAN_CHUNK;
    float *p = c->ws + (size_t)thread * hy_scan_ws_forward(a->N);
    const scratch w = {.A2 = (vf *)p,
                       .h = (vf *)(p + tile),
                       .delta = (vf *)(p + 2 * tile),
                       .u = (vf *)(p + 2 * tile + operand),
                       .y = (vf *)(p + 2 * tile + 2 * operand)};
    for (int j = (int)from; j < (int)to; j++) {
        const int b = j / groups, d0 = j % groups * GROUP, d1 = d0 + GROUP < a->D ? d0 + GROUP : a->D;
        job(a, b, d0, d1, &w);
    }
}

hy_status HY_FAST(hy_fast_scan)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_args *a = args;
    const jobs_ctx ctx = {a, ws};
    hy_parallel(hy_scan_threads(a, req->threads), (long)a->B * hy_scan_chunks(a->D, GROUP), 1, jobs, &ctx);
    return HY_OK;
}
