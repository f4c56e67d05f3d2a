// fast_scan.c - the selective scan, forward, float32, built once per instruction set. The mathematics is in kernels.h, the
// oracle in ref_scan.c, the backward in fast_scan_bwd.c.
//
// The lanes of a vector are neighbouring channels; up to HY_SCAN_STATES states of them stay in registers while they walk
// over a chunk of tokens. A job is one sequence and one group of channels; it goes over the chunks in order, and in each
// over its channels, so that few pages are in use at a time. Channels do not depend on each other and a token is always
// computed in the same way, so the bits depend on neither threads, chunks, batch nor padding.
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"
#include "kernels/cpu/scan_tile.h"

hy_status HY_FAST(hy_fast_scan)(const void *args, void *ws, const hy_plan_req *req);

#if HY_LANES == 16
#define HY_SCAN_STATES 16
#else
#define HY_SCAN_STATES 8
#endif
#define GROUP HY_SCAN_GROUP_FWD

// Walks S states of one channel block over n tokens: h [S] in and out, sum_s C h is added to y [n].
HY_INLINE void walk(const int S, const tokens *k, int n, vf *h_io, const vf *A2, const float *B, const float *C, vf *y) {
    vf h[HY_SCAN_STATES];
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) h[s] = h_io[s];
    for (int i = 0; i < n; i++, B += k->ldB, C += k->ldC) {
        const vf delta = k->delta[i], u = k->u[i];
        vf even = y[i], odd = {0};
#pragma GCC unroll 16
        for (int s = 0; s < S; s++) {
            h[s] = v_exp2(delta * A2[s]) * h[s] + u * B[s];
            if (s & 1) odd += C[s] * h[s];
            else even += C[s] * h[s];
        }
        y[i] = even + odd;
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) h_io[s] = h[s];
}

// delta, delta x and skip x of a chunk.
HY_INLINE void prepare(const hy_scan_args *a, tokens *k, vf *y, size_t row, int n, int d, int m) {
    const vf skip = a->skip ? v_load_n((const float *)a->skip + d, m) : (vf){0};
    vf sigmoid;
    for (int i = 0; i < n; i++) {
        const vf x = v_load_n((const float *)a->x + (row + i) * a->ldx + d, m);
        k->delta[i] = v_softplus(v_load_n((const float *)a->dt + (row + i) * a->lddt + d, m), &sigmoid);
        k->u[i] = k->delta[i] * x;
        y[i] = skip * x;
    }
}
HY_INLINE void finish(const hy_scan_args *a, const vf *y, size_t row, int n, int d, int m) {
    for (int i = 0; i < n; i++) {
        vf out = y[i];
        if (a->gate) {
            const vf g = v_load_n((const float *)a->gate + (row + i) * a->ldgate + d, m);
            out *= g * v_sigmoid(g);
        }
        v_store_n((float *)a->y + (row + i) * a->ldy + d, out, m);
    }
}

// One chunk (rows row .. row + n - 1) of one block of m <= HY_LANES channels from d on; h [N] in and out.
static void chunk(const hy_scan_args *a, size_t row, int n, int d, int m, vf *h, const vf *A2) {
    const float *B = (const float *)a->Bm + row * a->ldB, *C = (const float *)a->Cm + row * a->ldC;
    tokens k;
    vf y[HY_SCAN_CHUNK];
    k.ldB = a->ldB, k.ldC = a->ldC;
    if (m == HY_LANES) prepare(a, &k, y, row, n, d, HY_LANES);
    else prepare(a, &k, y, row, n, d, m);
    int s = 0;
#if HY_SCAN_STATES == 16
    for (; s + 16 <= a->N; s += 16) walk(16, &k, n, h + s, A2 + s, B + s, C + s, y);
#endif
    for (; s + 8 <= a->N; s += 8) walk(8, &k, n, h + s, A2 + s, B + s, C + s, y);
    if (s + 4 <= a->N) walk(4, &k, n, h + s, A2 + s, B + s, C + s, y), s += 4;
    for (; s < a->N; s++) walk(1, &k, n, h + s, A2 + s, B + s, C + s, y);
    if (m == HY_LANES) finish(a, y, row, n, d, HY_LANES);
    else finish(a, y, row, n, d, m);
}

static void prefetch(const hy_scan_args *a, size_t row, int n, int d) {
    prefetch_rows(a->x, a->ldx, row, n, d);
    prefetch_rows(a->dt, a->lddt, row, n, d);
    if (a->gate) prefetch_rows(a->gate, a->ldgate, row, n, d);
    prefetch_rows(a->y, a->ldy, row, n, d);
}

// Sequence b, channels d0 .. d1 - 1. A2 and h: [channel block, N] each.
static void job(const hy_scan_args *a, int b, int d0, int d1, vf *A2, vf *h) {
    const int N = a->N, len = a->len ? a->len[b] : a->T, chunks = hy_scan_chunks(a->T, HY_SCAN_CHUNK);
    const size_t row0 = (size_t)b * a->T;
    float *state = a->state ? (float *)a->state + (size_t)b * a->D * N : NULL;
    for (int d = d0, k = 0; d < d1; d += HY_LANES, k++) {
        const int m = lanes_of(d, d1);
        load_decay((const float *)a->A_log + (size_t)d * N, m, N, A2 + (size_t)k * N);
        if (state) load_tile(state + (size_t)d * N, m, N, h + (size_t)k * N);
        else memset(h + (size_t)k * N, 0, (size_t)N * sizeof(vf));
    }
    for (int c = 0, t = 0; t < len; c++, t += HY_SCAN_CHUNK) {
        const int n = len - t < HY_SCAN_CHUNK ? len - t : HY_SCAN_CHUNK;
        for (int d = d0, k = 0; d < d1; d += HY_LANES, k++) {
            vf *hk = h + (size_t)k * N;
            // the operands of the block after this one
            if (d + HY_LANES < d1) prefetch(a, row0 + t, n, d + HY_LANES);
            else prefetch(a, row0 + t + n, len - t - n < HY_SCAN_CHUNK ? len - t - n : HY_SCAN_CHUNK, d0);
            if (a->saved) memcpy(saved_tile(a, chunks, b, c, d), hk, (size_t)N * sizeof(vf));
            chunk(a, row0 + t, n, d, lanes_of(d, d1), hk, A2 + (size_t)k * N);
        }
    }
    for (int t = len; t < a->T; t++) memset((float *)a->y + (row0 + t) * a->ldy + d0, 0, (size_t)(d1 - d0) * sizeof(float));
    for (int d = d0, k = 0; state && d < d1; d += HY_LANES, k++)
        store_tile(h + (size_t)k * N, lanes_of(d, d1), N, state + (size_t)d * N);
}

hy_status HY_FAST(hy_fast_scan)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_args *a = args;
    const int groups = hy_scan_chunks(a->D, GROUP), jobs = a->B * groups;
    const size_t tile = (size_t)GROUP * a->N;
    const int threads = hy_scan_threads(a, req->threads);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int j = 0; j < jobs; j++) {
        const int b = j / groups, d0 = j % groups * GROUP, d1 = d0 + GROUP < a->D ? d0 + GROUP : a->D;
        float *mine = (float *)ws + (size_t)omp_get_thread_num() * 2 * tile;
        job(a, b, d0, d1, (vf *)mine, (vf *)(mine + tile));
    }
    return HY_OK;
}
