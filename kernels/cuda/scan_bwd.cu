// scan_bwd.cu - the selective scan (Mamba-1) on the GPU, backward. The mathematics is in kernels.h, who holds which
// state in scan.cuh, the forward in scan.cu, the oracle in kernels/cpu/ref/scan.c.
//
// A warp owns 32 channels of one sequence, 4 channels x 4 states a lane, and walks through its chunks of 16 tokens from
// the last to the first. In a chunk: the operands are prepared once (softplus, gate; dgate is finished here, with y
// before the gate from the forward); forward from the saved state, every second state goes to shared memory; then
// backward, two tokens at a time: the state between them and the two decays are computed again. Sums over states end in
// the lane that owns the channel, sums over channels are added up over the lanes, then over the warps of the block,
// then by a second kernel over the blocks of channels: always in the same order, without atomics. Parameters: one sum
// for each sequence, added up by a third kernel.
//
// Counted from the machine code (sm_90, bfloat16, N = 16, with gate), for each channel and token, in cycles of a
// multiprocessor; nothing of this is measured:
//   special function unit   32 exponentials 2.0, with softplus and the gate 37 results 2.3 (16 exponentials, 1.0, are
//   the floor) issue                   about 440 instructions 3.5: 78 forward, 290 backward, 65 to read and prepare
//   memory                  22 bytes 1.1 (H200), 1.5 (H100), of them 4 for states and 2 for dB and dC; shared
//   memory 1.7
// So issue is the limit: at most 29 % of the floor, 20 to 25 % expected. Half of the floor leaves 256 instructions, and
// the products and sums of the definition alone are 14 for each of 16 states. 219 registers, 98 KB of shared memory a
// block: 8 warps.
#include "kernels/cuda/scan.cuh"

#define CHUNK HY_SCAN_SAVE
#define PAIRS (CHUNK / 2)
#define WIDTH 32  // channels of a warp
#define CHANNELS (WIDTH * HY_SCAN_WARPS)

// Shared memory, in floats: B and C [CHUNK][32]; for each warp delta, x, dy silu(gate), sigmoid(dt) [4][CHUNK][32],
// then states before pairs of tokens [PAIRS][4][32][4], each of which makes room for dB and dC of its two tokens
// [2][32] when it is used up.
#define OPERAND (CHUNK * WIDTH)
#define SLOT (4 * 32 * 4)
#define WARP_FLOATS (4 * OPERAND + PAIRS * SLOT)
#define SHARED_FLOATS (CHUNK * 32 + HY_SCAN_WARPS * WARP_FLOATS)

// Workspace: dB and dC of a block of states, summed over a block of channels [pieces, B*T, 32]; dA / A [B, D, 16];
// dskip [B, D]; where there are several blocks of states, the sums over them so far that dx and ddt need [B*T, D, 2].
struct scratch {
    float *bc, *dA, *dskip, *acc;
};
struct scratch_sizes {
    size_t bc, dA, dskip, acc;
};
static scratch_sizes sizes_of(const hy_scan_args *a) {
    const size_t rows = (size_t)a->B * a->T, D = a->D;
    scratch_sizes s;
    s.bc = (size_t)hy_ceil_div(a->D, CHANNELS) * rows * 32;
    s.dA = (size_t)a->B * D * HY_SCAN_BLOCK;
    s.dskip = ((size_t)a->B * D + 3) / 4 * 4;
    s.acc = hy_scan_blocks(a->N) > 1 ? rows * D * 2 : 0;
    return s;
}

// What a lane knows of its place: channel d, element `own` of a row of its warp, is the one it prepares and finishes.
struct place {
    int b, d0, own, d, len, block;
    size_t row0;
    hy_scan_lane me;
    float skip;
};

static __device__ __forceinline__ void prefetch(const void *p) {
#ifdef HY_CUDA_EMU
    (void)p;
#else
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#endif
}
// Asks for the chunk that comes next (the one before this) to be brought to the L2 cache: a row of an operand a lane.
template <class T>
static __device__ __forceinline__ void prefetch_chunk(const hy_scan_bwd_args &g, const place &p, int t0) {
    const hy_scan_args &a = g.f;
    const int lane = threadIdx.x % 32;
    const size_t row = p.row0 + t0 + lane % 16;
    if (p.d0 >= a.D) return;
    const bool low = lane < 16;
    prefetch(low ? (const T *)a.x + row * a.ldx + p.d0 : (const T *)a.dt + row * a.lddt + p.d0);
    if (a.gate) prefetch(low ? (const T *)a.gate + row * a.ldgate + p.d0 : hy_scan_saved_y<T>(a) + row * a.D + p.d0);
    if (low)
        prefetch((const T *)g.dy + row * g.lddy + p.d0);
    else if (p.d0 + 2 * (lane - 16) < a.D)
        prefetch(hy_scan_saved(a, p.b, t0 / CHUNK, p.block, p.d0 + 2 * (lane - 16)));
}

template <class T> static __device__ __forceinline__ void put(T *row, unsigned at, float v, bool add) {
    T &to = hy_scan_at(row, at * sizeof(T));
    to = hy_from_float<T>(add ? hy_to_float(to) + v : v);
}

// B and C of the n tokens from t0 on, zeros behind them.
template <class T>
static __device__ __forceinline__ void prepare_bc(const hy_scan_args &a, const place &p, int t0, int n, float *bc) {
    const size_t row = p.row0 + t0;
#pragma unroll
    for (int i = 0; i < CHUNK * 32 / HY_SCAN_THREADS; i++) {
        const int at = threadIdx.x + i * HY_SCAN_THREADS, t = at / 32, s = p.block * HY_SCAN_BLOCK + at % 16;
        float v = 0;
        if (t < n && s < a.N)
            v = at & 16 ? hy_load((const T *)a.Cm + (row + t) * a.ldC + s)
                        : hy_load((const T *)a.Bm + (row + t) * a.ldB + s);
        bc[at] = v;
    }
}
// Operands of 8 of the n tokens from t0 on, the first of them i0; zeros for lacking tokens and channels, so that they
// add nothing to any sum and leave states as they are. All loads come first: they are on their way together. FULL: no
// token is lacking. Adds to the lane's part of dskip.
#define BATCH 8
template <class T, bool FULL>
static __device__ __forceinline__ void prepare_batch(const hy_scan_bwd_args &g, const place &p, int t0, int i0, int n,
                                                     float *mine, float &dskip) {
    const hy_scan_args &a = g.f;
    const size_t row = p.row0 + t0 + i0;
    const int last = n - 1 - i0;
    const unsigned d = min(p.d, a.D - 1);
    const T *xr = (const T *)a.x + row * a.ldx, *dtr = (const T *)a.dt + row * a.lddt,
            *dyr = (const T *)g.dy + row * g.lddy;
    float x[BATCH], z[BATCH], gy[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
        const unsigned t = FULL ? i : min(i, last);
        x[i] = hy_to_float(hy_scan_at(xr, (t * a.ldx + d) * sizeof(T)));
        z[i] = hy_to_float(hy_scan_at(dtr, (t * a.lddt + d) * sizeof(T)));
        gy[i] = hy_to_float(hy_scan_at(dyr, (t * g.lddy + d) * sizeof(T)));
    }
    if (a.gate) {
        const T *gr = (const T *)a.gate + row * a.ldgate, *yr = hy_scan_saved_y<T>(a) + row * a.D;
        const bool wanted = g.dgate && p.block == 0;
        T *to = (T *)g.dgate + row * g.lddgate;
        float v[BATCH], y[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            const unsigned t = FULL ? i : min(i, last);
            v[i] = hy_to_float(hy_scan_at(gr, (t * a.ldgate + d) * sizeof(T)));
            y[i] = hy_to_float(hy_scan_at(yr, (t * a.D + d) * sizeof(T)));
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            const float s = hy_scan_inverse(1.0f + hy_exp2(-v[i] * HY_SCAN_LOG2E));
            y[i] *= gy[i] * (s * fmaf(v[i], 1.0f - s, 1.0f));
            gy[i] *= v[i] * s;
        }
        if (wanted && p.d < a.D)
#pragma unroll
            for (int i = 0; i < BATCH; i++)
                if (FULL || i <= last) put(to, i * g.lddgate + d, y[i], g.acc & 16);
    }
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
        const bool valid = (FULL || i <= last) && p.d < a.D;
        const float e = hy_scan_exp_abs(z[i]);
        float *at = mine + (i0 + i) * WIDTH + p.own;
        gy[i] = valid ? gy[i] : 0, x[i] = valid ? x[i] : 0;
        at[0] = valid ? hy_scan_softplus(z[i], e) : 0;
        at[OPERAND] = x[i];
        at[2 * OPERAND] = gy[i];
        at[3 * OPERAND] = hy_scan_sigmoid(z[i], e);
        dskip = fmaf(gy[i], x[i], dskip);
    }
}

// What a lane needs of one token: its 4 channels, its 4 states.
struct token {
    float delta[4], u[4], B[4];
    __device__ __forceinline__ void load(const float *bc, const float *mine, int t, hy_scan_lane me) {
        hy_scan_row<4>(bc + t * 32 + me.part * 4, B);
        hy_scan_row<4>(mine + t * WIDTH + me.quad * 4, delta);
        hy_scan_row<4>(mine + OPERAND + t * WIDTH + me.quad * 4, u);
#pragma unroll
        for (int c = 0; c < 4; c++) u[c] *= delta[c];
    }
};
static __device__ __forceinline__ float step(const token &k, int c, int s, float decay, float h) {
    return fmaf(decay, h, k.u[c] * k.B[s]);
}

// States before each pair of the chunk to shared memory; h ends as the state after it.
static __device__ __forceinline__ void forward(const float *bc, const float *mine, float *slots, hy_scan_lane me,
                                               int pairs, const float A2[4][4], float h[4][4]) {
    for (int i = 0; i < pairs; i++) {
#pragma unroll
        for (int c = 0; c < 4; c++)
            *(float4 *)(slots + i * SLOT + (c * 32 + threadIdx.x % 32) * 4) =
                make_float4(h[c][0], h[c][1], h[c][2], h[c][3]);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            token k;
            k.load(bc, mine, 2 * i + j, me);
#pragma unroll
            for (int c = 0; c < 4; c++)
#pragma unroll
                for (int s = 0; s < 4; s++) h[c][s] = step(k, c, s, hy_scan_decay(s, k.delta[c] * A2[c][s]), h[c][s]);
        }
    }
}

// What one token leaves in a lane: dB or dC of one state, summed over the channels of the warp; sum_n gh B and sum_n of
// the gradient of delta A log2(e) for the channel it owns.
struct sums {
    float bc, gB, gA;
};
// One token backward: h after it, hp before it, gh: gradient of the state, from later tokens in, to earlier ones out.
static __device__ __forceinline__ sums reverse(const token &k, const float *bc, const float *mine, int t,
                                               hy_scan_lane me, const float decay[4][4], const float h[4][4],
                                               const float hp[4][4], const float A2[4][4], float gh[4][4],
                                               float dA[4][4]) {
    float G[4], gy[4], dBC[8], gB[4], gA[4];
    hy_scan_row<4>(bc + t * 32 + 16 + me.part * 4, G);
    hy_scan_row<4>(mine + 2 * OPERAND + t * WIDTH + me.quad * 4, gy);
#pragma unroll
    for (int c = 0; c < 4; c++)
#pragma unroll
        for (int s = 0; s < 4; s++) {
            const float now = fmaf(gy[c], G[s], gh[c][s]), before = now * decay[c][s], ga = before * hp[c][s];
            dBC[s] = c ? fmaf(k.u[c], now, dBC[s]) : k.u[c] * now;
            dBC[4 + s] = c ? fmaf(gy[c], h[c][s], dBC[4 + s]) : gy[c] * h[c][s];
            gB[c] = s ? fmaf(now, k.B[s], gB[c]) : now * k.B[s];
            gA[c] = s ? fmaf(ga, A2[c][s], gA[c]) : ga * A2[c][s];
            dA[c][s] = fmaf(ga, k.delta[c], dA[c][s]);
            gh[c][s] = before;
        }
    return {hy_scan_quads_sum(dBC, me.quad), hy_scan_quad_sum(gB, me.part), hy_scan_quad_sum(gA, me.part)};
}

// Rows of the first of n tokens, at the lane's channel; n is 0 for a lane without one.
template <class T> struct results {
    T *dx, *ddt;
    float2 *acc;
    int n;
};
// dx and ddt of an own element, t tokens after the first.
template <class T>
static __device__ __forceinline__ void finish(const hy_scan_bwd_args &g, const place &p, const results<T> &r, int t,
                                              sums s, const float *mine) {
    if (t >= r.n) return;
    if (r.acc) {
        float2 &so_far = hy_scan_at(r.acc, t * g.f.D * sizeof(float2));
        if (p.block) s.gB += so_far.x, s.gA += so_far.y;
        so_far = make_float2(s.gB, s.gA);
        if (p.block + 1 < hy_scan_blocks(g.f.N)) return;
    }
    const float *at = mine + t * WIDTH + p.own;
    if (r.dx) put(r.dx, t * g.lddx, fmaf(at[0], s.gB, p.skip * at[2 * OPERAND]), g.acc & 1);
    if (r.ddt) put(r.ddt, t * g.ldddt, fmaf(at[OPERAND], s.gB, HY_SCAN_LN2 * s.gA) * at[3 * OPERAND], g.acc & 2);
}

// The pairs of a chunk, last first.
template <class T>
static __device__ __forceinline__ void backward(const hy_scan_bwd_args &g, const place &p, int t0, int n,
                                                const float *bc, const float *mine, float *slots, const float A2[4][4],
                                                float h2[4][4], float gh[4][4], float dA[4][4], float *acc) {
    const hy_scan_lane me = p.me;
    const size_t row = p.row0 + t0;
    const results<T> r = {g.dx ? (T *)g.dx + row * g.lddx + p.d : NULL, g.ddt ? (T *)g.ddt + row * g.ldddt + p.d : NULL,
                          acc ? (float2 *)acc + row * g.f.D + p.d : NULL, p.d < g.f.D ? n : 0};
    const int column = (me.quad & 4) * 4 + me.part * 4 + (me.quad & 3);  // of [dB 16 | dC 16]
    for (int i = (n + 1) / 2 - 1; i >= 0; i--) {
        float h0[4][4], h1[4][4], decay0[4][4], decay1[4][4];
        token k0, k1;
        k0.load(bc, mine, 2 * i, me);
        k1.load(bc, mine, 2 * i + 1, me);
        float *slot = slots + i * SLOT;
#pragma unroll
        for (int c = 0; c < 4; c++) {
            hy_scan_row<4>(slot + (c * 32 + threadIdx.x % 32) * 4, h0[c]);
#pragma unroll
            for (int s = 0; s < 4; s++) {
                decay0[c][s] = hy_scan_decay(s, k0.delta[c] * A2[c][s]);
                decay1[c][s] = hy_scan_decay(s, k1.delta[c] * A2[c][s]);
                h1[c][s] = step(k0, c, s, decay0[c][s], h0[c][s]);
            }
        }
        const sums s1 = reverse(k1, bc, mine, 2 * i + 1, me, decay1, h2, h1, A2, gh, dA);
        const sums s0 = reverse(k0, bc, mine, 2 * i, me, decay0, h1, h0, A2, gh, dA);
        finish(g, p, r, 2 * i + 1, s1, mine);
        finish(g, p, r, 2 * i, s0, mine);
        __syncwarp();  // all lanes have their states: the slot is free
        slot[32 + column] = s1.bc;
        slot[column] = s0.bc;
#pragma unroll
        for (int c = 0; c < 4; c++)
#pragma unroll
            for (int s = 0; s < 4; s++) h2[c][s] = h0[c][s];
    }
}

// Grid: sequences x pieces of 128 channels.
template <class T>
static __global__ void __launch_bounds__(HY_SCAN_THREADS, 2)
    scan_bwd_kernel(hy_scan_bwd_args g, int pieces, int block, scratch w) {
    const hy_scan_args &a = g.f;
    HY_SHARED(float, shared);
    float *bc = shared, *warps = shared + CHUNK * 32, *mine = warps + threadIdx.x / 32 * WARP_FLOATS,
          *slots = mine + 4 * OPERAND;
    place p;
    p.me = hy_scan_me();
    p.b = blockIdx.x / pieces, p.block = block;
    p.d0 = blockIdx.x % pieces * CHANNELS + threadIdx.x / 32 * WIDTH;
    p.own = p.me.quad * 4 + p.me.part, p.d = p.d0 + p.own;
    p.len = hy_scan_len(a, p.b), p.row0 = (size_t)p.b * a.T;
    p.skip = a.skip && p.d < a.D ? ((const float *)a.skip)[p.d] : 0;
    const int dq = p.d0 + p.me.quad * 4;
    float h[4][4], A2[4][4], gh[4][4], dA[4][4], dskip = 0;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        hy_scan_rates(a, min(dq + c, a.D - 1), block * HY_SCAN_BLOCK + p.me.part * 4, A2[c]);
#pragma unroll
        for (int s = 0; s < 4; s++) gh[c][s] = dA[c][s] = 0;
    }
    for (int chunk = (p.len + CHUNK - 1) / CHUNK - 1; chunk >= 0; chunk--) {
        const int t0 = chunk * CHUNK, n = min(CHUNK, p.len - t0);
#pragma unroll
        for (int c = 0; c < 4; c++)
            hy_scan_row<4>(hy_scan_saved(a, p.b, chunk, block, min(dq + c, a.D - 1)) + p.me.part * 4, h[c]);
        prepare_bc<T>(a, p, t0, n, bc);
        for (int i = 0; i < n; i += BATCH) {
            if (i + BATCH <= n)
                prepare_batch<T, true>(g, p, t0, i, n, mine, dskip);
            else
                prepare_batch<T, false>(g, p, t0, i, n, mine, dskip);
        }
        __syncthreads();  // B and C are there; and the sums over the warps of the chunk before have been read
        if (chunk) prefetch_chunk<T>(g, p, t0 - CHUNK);
        forward(bc, mine, slots, p.me, (n + 1) / 2, A2, h);
        backward<T>(g, p, t0, n, bc, mine, slots, A2, h, gh, dA, w.acc);
        __syncthreads();
        float *out = w.bc + ((size_t)(blockIdx.x % pieces) * a.B * a.T + p.row0 + t0) * 32;
#pragma unroll
        for (int i = 0; i < CHUNK * 32 / HY_SCAN_THREADS; i++) {
            const int at = threadIdx.x + i * HY_SCAN_THREADS;
            if (at / 32 >= n) break;
            const float *from = warps + 4 * OPERAND + at / 64 * SLOT + at % 64;
            out[at] = (from[0] + from[WARP_FLOATS]) + (from[2 * WARP_FLOATS] + from[3 * WARP_FLOATS]);
        }
    }
#pragma unroll
    for (int c = 0; c < 4; c++)
        if (dq + c < a.D)
            *(float4 *)(w.dA + ((size_t)p.b * a.D + dq + c) * HY_SCAN_BLOCK + p.me.part * 4) =
                make_float4(dA[c][0], dA[c][1], dA[c][2], dA[c][3]);
    if (p.d >= a.D || block) return;
    w.dskip[(size_t)p.b * a.D + p.d] = dskip;
    for (int t = p.len; t < a.T; t++) {  // padding
        const size_t row = p.row0 + t;
        if (g.dx && !(g.acc & 1)) hy_store((T *)g.dx + row * g.lddx + p.d, 0);
        if (g.ddt && !(g.acc & 2)) hy_store((T *)g.ddt + row * g.ldddt + p.d, 0);
        if (a.gate && g.dgate && !(g.acc & 16)) hy_store((T *)g.dgate + row * g.lddgate + p.d, 0);
    }
}

// dB and dC: sums over the blocks of channels. A thread for each row and column of [dB 16 | dC 16].
template <class T>
static __global__ void __launch_bounds__(HY_SCAN_THREADS)
    rows_kernel(hy_scan_bwd_args g, int pieces, int block, const float *bc) {
    const hy_scan_args &a = g.f;
    const size_t at = (size_t)blockIdx.x * HY_SCAN_THREADS + threadIdx.x, rows = (size_t)a.B * a.T, row = at / 32;
    const int n = block * HY_SCAN_BLOCK + (int)(at % 16);
    const bool is_c = at & 16;
    T *to = (T *)(is_c ? g.dCm : g.dBm);
    if (row >= rows || n >= a.N || !to) return;
    float sum = 0;
    if ((int)(row % a.T) < hy_scan_len(a, (int)(row / a.T)))
        for (int i = 0; i < pieces; i++) sum += bc[i * rows * 32 + at];
    to += row * (is_c ? g.lddC : g.lddB);
    put(to, n, sum, g.acc & (is_c ? 8 : 4));
}

// Parameters: sums over the sequences. A thread for each channel and state.
static __global__ void __launch_bounds__(HY_SCAN_THREADS)
    parameters_kernel(hy_scan_bwd_args g, int block, const float *dA, const float *dskip) {
    const hy_scan_args &a = g.f;
    const size_t at = (size_t)blockIdx.x * HY_SCAN_THREADS + threadIdx.x, d = at / HY_SCAN_BLOCK;
    const int n = block * HY_SCAN_BLOCK + (int)(at % HY_SCAN_BLOCK);
    if (d >= (size_t)a.D) return;
    if (n < a.N && g.dA_log) {
        float sum = 0;
        for (int b = 0; b < a.B; b++) sum += dA[(size_t)b * a.D * HY_SCAN_BLOCK + at];
        ((float *)g.dA_log)[d * a.N + n] += sum * (hy_scan_rate(((const float *)a.A_log)[d * a.N + n]) * HY_SCAN_LN2);
    }
    if (n == 0 && g.dskip) {
        float sum = 0;
        for (int b = 0; b < a.B; b++) sum += dskip[(size_t)b * a.D + d];
        ((float *)g.dskip)[d] += sum;
    }
}

// ---------------------------------------------------------------------------------------------------- plan
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_bwd_args *g = (const hy_scan_bwd_args *)args;
    const hy_scan_args *a = &g->f;
    const scratch_sizes s = sizes_of(a);
    const int pieces = hy_ceil_div(a->D, CHANNELS);
    scratch w;
    w.bc = (float *)ws, w.dA = w.bc + s.bc, w.dskip = w.dA + s.dA, w.acc = s.acc ? w.dskip + s.dskip : NULL;
    (void)req;
    for (int block = 0; block < hy_scan_blocks(a->N); block++) {
        HY_LAUNCH((scan_bwd_kernel<T>), a->B * pieces, HY_SCAN_THREADS, SHARED_FLOATS * sizeof(float), *g, pieces,
                  block, w);
        if (g->dBm || g->dCm)
            HY_LAUNCH((rows_kernel<T>), hy_ceil_div((long)a->B * a->T * 32, HY_SCAN_THREADS), HY_SCAN_THREADS, 0, *g,
                      pieces, block, w.bc);
        if (g->dA_log || (g->dskip && !block))
            HY_LAUNCH(parameters_kernel, hy_ceil_div((long)a->D * HY_SCAN_BLOCK, HY_SCAN_THREADS), HY_SCAN_THREADS, 0,
                      *g, block, w.dA, w.dskip);
    }
    return HY_OK;
}

hy_status hy_cuda_plan_scan_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scan_bwd_args *g = (const hy_scan_bwd_args *)args;
    const hy_scan_args *a = &g->f;
    const char *op = "scan backward";
    *out = {};
    HY_TRY(hy_scan_check(op, a, req));
    if (a->state) return hy_error(HY_EINPUT, "scan backward: a scan that starts from a state has no backward");
    HY_NEED(op, g->lddy >= a->D && (!g->dx || g->lddx >= a->D) && (!g->ddt || g->ldddt >= a->D) &&
                    (!g->dgate || g->lddgate >= a->D));
    HY_NEED(op, (!g->dBm || g->lddB >= a->N) && (!g->dCm || g->lddC >= a->N));
    HY_NEED(op, max(max(g->lddy, g->dx ? g->lddx : 0), max(g->ddt ? g->ldddt : 0, g->dgate ? g->lddgate : 0)) <=
                    HY_SCAN_LD_MAX);
    HY_NEED(op, SHARED_FLOATS * sizeof(float) <= hy_cuda()->smem_max);
    const scratch_sizes s = sizes_of(a);
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    out->workspace = (s.bc + s.dA + s.dskip + s.acc) * sizeof(float);
    return HY_OK;
}
