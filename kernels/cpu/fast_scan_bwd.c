// fast_scan_bwd.c - the selective scan, backward, float32, built once per instruction set. The mathematics is in
// kernels.h, the oracle in ref_scan.c, the forward in fast_scan.c.
//
// A job is one sequence and one group of channels. It goes over the chunks from the last to the first; in each, every
// channel block recomputes its states from the saved one, HY_SCAN_STATES_BWD at a time, keeps them and their decays in
// the L1 cache (so each exp is computed once), and walks back over them.
// dB and dC are sums over channels: a job adds up its channels lane by lane, then the lanes, and writes one sum per group;
// groups are added in order afterwards. dA_log and dskip are sums over sequences: one part per sequence, added in order.
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scan.h"
#include "kernels/cpu/scan_tile.h"

hy_status HY_FAST(hy_fast_scan_bwd)(const void *args, void *ws, const hy_plan_req *req);

#define GROUP HY_SCAN_GROUP_BWD
#define STATES HY_SCAN_STATES_BWD
#define LN_2 0.69314718055994531f

// Memory of a job: tiles of the channel blocks of its group, and of one chunk.
typedef struct {
    vf *A2, *dh, *dA;    // [channel block, N]
    vf *dB, *dC;         // [chunk, N]: sums over the channel blocks, lane by lane
    vf *states, *decay;  // [chunk, STATES]
} scratch;

// One channel block over the tokens of a chunk: what all its states need, and what they add up.
typedef struct {
    tokens k;
    vf x[HY_SCAN_CHUNK], ddelta_dt[HY_SCAN_CHUNK];  // x; derivative of softplus
    vf dgate[HY_SCAN_CHUNK];    // dy times the derivative of silu(gate)
    vf dy[HY_SCAN_CHUNK];       // gradient of sum_n C h + skip x
    vf y[HY_SCAN_CHUNK];        // sum_n C h
    vf dhB[HY_SCAN_CHUNK];      // sum_n dh B
    vf ddecay[HY_SCAN_CHUNK];   // sum_n (gradient of delta A) A log2(e)
} block;

// S states of a channel block over the n tokens of a chunk, forward from h0: keeps the states before each token and the
// decays, adds to dC and y (`first`: y starts here). Pointers to C and dC are those of the first of these states in the first token.
HY_INLINE void recompute(const int S, bool first, block *b, int n, const vf *h0, const vf *A2, const float *B, const float *C,
                         vf *restrict states, vf *restrict decay, vf *restrict dC, int N) {
    vf h[STATES];
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) h[s] = h0[s];
    for (int i = 0; i < n; i++, B += b->k.ldB, C += b->k.ldC, dC += N, states += S, decay += S) {
        const vf delta = b->k.delta[i], u = b->k.u[i], dy = b->dy[i];
        vf y = {0};
#pragma GCC unroll 16
        for (int s = 0; s < S; s++) {
            const vf a = v_exp2(delta * A2[s]);
            states[s] = h[s];
            decay[s] = a;
            h[s] = a * h[s] + u * B[s];
            dC[s] += dy * h[s];
            y += C[s] * h[s];
        }
        if (!first) y += b->y[i];
        b->y[i] = y;
    }
}
// The same S states back from the last token to the first. dh [S] and dA [S] in and out.
HY_INLINE void reverse(const int S, bool first, block *b, int n, const vf *A2, vf *dh_io, vf *dA_io, const float *B, const float *C,
                       const vf *restrict states, const vf *restrict decay, vf *restrict dB, int N) {
    vf dh[STATES], dA[STATES];
#pragma GCC unroll 16
    for (int s = 0; s < S; s++) dh[s] = dh_io[s], dA[s] = dA_io[s];
    B += (size_t)(n - 1) * b->k.ldB, C += (size_t)(n - 1) * b->k.ldC, dB += (size_t)(n - 1) * N;
    states += (n - 1) * S, decay += (n - 1) * S;
    for (int i = n - 1; i >= 0; i--, B -= b->k.ldB, C -= b->k.ldC, dB -= N, states -= S, decay -= S) {
        const vf delta = b->k.delta[i], u = b->k.u[i], dy = b->dy[i];
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

// Before the states: delta, delta x, and the gradient that reaches the sum over states.
HY_INLINE void prepare(const hy_scan_bwd_args *a, block *b, size_t row, int n, int d, int m) {
    const hy_scan_args *f = &a->f;
    for (int i = 0; i < n; i++) {
        const size_t r = row + i;
        b->x[i] = v_load_n((const float *)f->x + r * f->ldx + d, m);
        b->dy[i] = v_load_n((const float *)a->dy + r * a->lddy + d, m);
        b->k.delta[i] = v_softplus(v_load_n((const float *)f->dt + r * f->lddt + d, m), &b->ddelta_dt[i]);
        b->k.u[i] = b->k.delta[i] * b->x[i];
    }
    for (int i = 0; f->gate && i < n; i++) {
        const vf g = v_load_n((const float *)f->gate + (row + i) * f->ldgate + d, m), s = v_sigmoid(g), dy = b->dy[i];
        b->dgate[i] = dy * (s * (1.0f + g * (1.0f - s)));
        b->dy[i] = dy * (g * s);
    }
}

// After the states: gradients of x, dt and gate; dskip gets its part added.
HY_INLINE void finish(const hy_scan_bwd_args *a, const block *b, size_t row, int n, int d, int m, float *dskip) {
    const hy_scan_args *f = &a->f;
    const vf skip = f->skip ? v_load_n((const float *)f->skip + d, m) : (vf){0};
    vf sum = v_load(dskip);
    for (int i = 0; i < n; i++, row++) {
        const vf x = b->x[i];
        sum += b->dy[i] * x;
        put(a->dx, row * a->lddx + d, b->dy[i] * skip + b->dhB[i] * b->k.delta[i], m, a->acc & 1);
        put(a->ddt, row * a->ldddt + d, (b->dhB[i] * x + b->ddecay[i] * LN_2) * b->ddelta_dt[i], m, a->acc & 2);
        if (f->gate) put(a->dgate, row * a->lddgate + d, b->dgate[i] * (b->y[i] + skip * x), m, a->acc & 16);
    }
    v_store(dskip, sum);
}

// One chunk of one channel block. h0, A2, dh, dA: tiles [N].
static void chunk(const hy_scan_bwd_args *a, size_t row, int n, int d, int m, const vf *h0, const vf *A2, vf *dh, vf *dA,
                  scratch *w, float *dskip) {
    const hy_scan_args *f = &a->f;
    const float *B = (const float *)f->Bm + row * f->ldB, *C = (const float *)f->Cm + row * f->ldC;
    const int N = f->N;
    block b;
    b.k.ldB = f->ldB, b.k.ldC = f->ldC;
    if (m == HY_LANES) prepare(a, &b, row, n, d, HY_LANES);
    else prepare(a, &b, row, n, d, m);
    int s = 0;
#define WALK(S)                                                                                        \
    recompute(S, !s, &b, n, h0 + s, A2 + s, B + s, C + s, w->states, w->decay, w->dC + s, N),              \
        reverse(S, !s, &b, n, A2 + s, dh + s, dA + s, B + s, C + s, w->states, w->decay, w->dB + s, N)
    for (; s + 8 <= N; s += 8) WALK(8);
    if (s + 4 <= N) WALK(4), s += 4;
    for (; s < N; s++) WALK(1);
#undef WALK
    if (m == HY_LANES) finish(a, &b, row, n, d, HY_LANES, dskip);
    else finish(a, &b, row, n, d, m, dskip);
}

// Adds the lanes of count vectors: out [count].
static void sum_lanes(const vf *v, size_t count, float *out) {
    size_t i = 0;
    vf t[HY_LANES];
    for (; i + HY_LANES <= count; i += HY_LANES) {
#pragma GCC unroll 16
        for (int l = 0; l < HY_LANES; l++) t[l] = v[i + l];
        v_store(out + i, v_sums(t));
    }
    if (i == count) return;
    for (int l = 0; l < HY_LANES; l++) t[l] = i + l < count ? v[i + l] : (vf){0};
    v_store_n(out + i, v_sums(t), (int)(count - i));
}

static void clear_padding(const hy_scan_bwd_args *a, size_t row, size_t end, int d0, int d1) {
    const size_t bytes = (size_t)(d1 - d0) * sizeof(float);
    for (; row < end; row++) {
        if (a->dx && !(a->acc & 1)) memset((float *)a->dx + row * a->lddx + d0, 0, bytes);
        if (a->ddt && !(a->acc & 2)) memset((float *)a->ddt + row * a->ldddt + d0, 0, bytes);
        if (a->dgate && a->f.gate && !(a->acc & 16)) memset((float *)a->dgate + row * a->lddgate + d0, 0, bytes);
    }
}

// The operands of n rows at channel d, read and written; t may be below 0: nothing to do.
static void prefetch(const hy_scan_bwd_args *a, int b, int t, int n, int d) {
    const hy_scan_args *f = &a->f;
    const size_t row = (size_t)b * f->T + (t > 0 ? t : 0);
    if (t < 0) return;
    prefetch_rows(f->x, f->ldx, row, n, d);
    prefetch_rows(f->dt, f->lddt, row, n, d);
    prefetch_rows(a->dy, a->lddy, row, n, d);
    if (f->gate) prefetch_rows(f->gate, f->ldgate, row, n, d);
    if (a->dx) prefetch_rows(a->dx, a->lddx, row, n, d);
    if (a->ddt) prefetch_rows(a->ddt, a->ldddt, row, n, d);
    if (f->gate && a->dgate) prefetch_rows(a->dgate, a->lddgate, row, n, d);
}

// Sequence b, channels d0 .. d1 - 1, group g of them.
static void job(const hy_scan_bwd_args *a, int b, int g, int d0, int d1, const hy_scan_ws *at, float *ws, scratch *w) {
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
        memset(w->dB, 0, (size_t)n * N * sizeof(vf));
        memset(w->dC, 0, (size_t)n * N * sizeof(vf));
        for (int d = d0, k = 0; d < d1; d += HY_LANES, k++) {
            // the block after this one, or the first of the chunk before
            if (d + HY_LANES < d1) prefetch(a, b, t, n, d + HY_LANES);
            else prefetch(a, b, t - HY_SCAN_CHUNK, HY_SCAN_CHUNK, d0);
            chunk(a, row0 + t, n, d, lanes_of(d, d1), (const vf *)saved_tile(f, chunks, b, c, d), w->A2 + (size_t)k * N,
                  w->dh + (size_t)k * N, w->dA + (size_t)k * N, w, dskip + d);
        }
        const size_t out = (((size_t)b * groups + g) * f->T + t) * N;
        sum_lanes(w->dB, (size_t)n * N, ws + at->dB + out);
        sum_lanes(w->dC, (size_t)n * N, ws + at->dC + out);
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

static void add_parts(const hy_scan_bwd_args *a, const hy_scan_ws *at, const float *ws, int threads) {
    const hy_scan_args *f = &a->f;
    const int N = f->N, groups = hy_scan_chunks(f->D, GROUP);
    const size_t padded = hy_scan_padded(f->D), stride = (size_t)f->T * N, rows = (size_t)f->B * f->T;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static) nowait
        for (size_t r = 0; r < rows; r++) {
            const size_t b = r / f->T, t = r % f->T, from = b * groups * stride + t * N;
            const bool valid = !f->len || (int)t < f->len[b];
            if (a->dBm) add_groups((float *)a->dBm + r * a->lddB, ws + at->dB + from, groups, stride, N, valid, a->acc & 4);
            if (a->dCm) add_groups((float *)a->dCm + r * a->lddC, ws + at->dC + from, groups, stride, N, valid, a->acc & 8);
        }
#pragma omp for schedule(static)
        for (int d = 0; d < f->D; d++) {
            if (a->dA_log) add_sequences((float *)a->dA_log + (size_t)d * N, ws + at->dA + (size_t)d * N, f->B, padded * N, N);
            if (a->dskip) add_sequences((float *)a->dskip + d, ws + at->dskip + d, f->B, padded, 1);
        }
    }
}

static scratch carve(float *p, int N) {
    const size_t tile = (size_t)GROUP * N, sums = (size_t)HY_SCAN_CHUNK * N * HY_LANES;
    scratch w = {.A2 = (vf *)p, .dh = (vf *)(p + tile), .dA = (vf *)(p + 2 * tile)};
    p += 3 * tile;
    w.dB = (vf *)p, w.dC = (vf *)(p + sums);
    p += 2 * sums;
    w.states = (vf *)p, w.decay = (vf *)(p + HY_SCAN_CHUNK * STATES * HY_LANES);
    return w;
}

hy_status HY_FAST(hy_fast_scan_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_bwd_args *a = args;
    const hy_scan_args *f = &a->f;
    const int groups = hy_scan_chunks(f->D, GROUP), jobs = f->B * groups, threads = hy_scan_threads(f, req->threads);
    const hy_scan_ws at = hy_scan_ws_layout(f, req->threads);
    float *base = ws;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int j = 0; j < jobs; j++) {
        const int g = j % groups, d0 = g * GROUP, d1 = d0 + GROUP < f->D ? d0 + GROUP : f->D;
        scratch w = carve(base + at.thread + (size_t)omp_get_thread_num() * at.per_thread, f->N);
        job(a, j / groups, g, d0, d1, &at, base, &w);
    }
    add_parts(a, &at, base, threads);
    return HY_OK;
}
