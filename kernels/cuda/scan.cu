// scan.cu - the selective scan (Mamba-1) on the GPU, forward: a kernel for sequences and one for single tokens. The
// mathematics is in kernels.h, who holds which state in scan.cuh, the backward in scan_bwd.cu, the oracle in
// kernels/cpu/ref/scan.c.
//
// Sequences: a warp owns 8 C channels of one sequence and walks through its tokens in tiles of 8; states never leave
// registers. Each lane prepares one operand of a tile at a time (softplus, silu once per channel and token) for all
// lanes of its warp through shared memory, and finishes the same elements of y. B and C of a tile are shared by the
// block. The next tile is on its way from memory while one is walked. C = 4, 2 or 1 gives 1, 2 or 4 threads a channel:
// the largest that fills the GPU. No split over time: carrying states from piece to piece needs every exponential
// twice. A token is computed in the same way whatever C, the tile, the batch or the kernel, so pieces, padded batches
// and single tokens give the bits of the whole.
//
// Counted from the machine code (sm_90, bfloat16, N = 16, C = 4, with gate), for each channel and token, in cycles of a
// multiprocessor; nothing of this is measured:
//   special function unit   16 exponentials 1.0 (the floor), with softplus and silu 19 results 1.19
//   issue                   about 180 instructions 1.4, of them 84 for states, 14 to sum and finish y, 82 to read and
//   prepare memory                  8 bytes 0.4 (H200), 0.55 (H100); shared memory 0.4
// So issue is the limit: at most 71 % of the floor, 55 to 65 % expected; less where a GPU is not full of warps (C = 1:
// more loads from shared memory for each state). 111, 72, 53 registers for C = 4, 2, 1: room for 16, 28, 36 warps.
#include "kernels/cuda/scan.cuh"

#define TILE 8

// ---------------------------------------------------------------------------------------------------- sequences
// Shared memory, in floats: B and C of two tiles [2][TILE][32]; for each warp delta, delta x, x, silu(gate) [4][TILE][8
// C].
template <int C> struct layout {
    static constexpr int width = 8 * C, group = 4 / C,
                         groups = TILE / group;  // channels of a warp; tokens at once; of a tile
    static constexpr int channels = width * HY_SCAN_WARPS;
    static constexpr int warp = 4 * TILE * width, total = 2 * TILE * 32 + HY_SCAN_WARPS * warp;
    static constexpr size_t bytes = total * sizeof(float);
};
// What a lane has read of the next tile: B and C [2], operands of its channel.
template <int C> struct ahead { float bc[2], x[layout<C>::groups], dt[layout<C>::groups], gate[layout<C>::groups]; };
// What a lane knows of its place: own is the element of a row of its warp that it prepares and finishes, of channel d,
// at token `token` of each group.
struct place {
    int b, d0, own, token, d, len, block;
    size_t row0;
    hy_scan_lane me;
};

// FULL: no token of the tile is behind the end. Otherwise lacking tokens read the last one. Lacking channels read the
// last one too: what comes of it is not written.
template <class T, int C, bool FULL>
static __device__ __forceinline__ void read_ahead(const hy_scan_args &a, const place &p, int t0, ahead<C> &r) {
    const size_t row = p.row0 + t0;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int at = threadIdx.x + i * HY_SCAN_THREADS, t = at / 32, n = p.block * HY_SCAN_BLOCK + at % 16;
        r.bc[i] = 0;
        if ((FULL || t0 + t < p.len) && n < a.N)
            r.bc[i] = at & 16 ? hy_load((const T *)a.Cm + (row + t) * a.ldC + n)
                              : hy_load((const T *)a.Bm + (row + t) * a.ldB + n);
    }
    const T *x = (const T *)a.x + row * a.ldx, *dt = (const T *)a.dt + row * a.lddt,
            *gate = (const T *)a.gate + row * a.ldgate;
    const unsigned d = min(p.d, a.D - 1);
#pragma unroll
    for (int i = 0; i < layout<C>::groups; i++) {
        const unsigned to = i * layout<C>::group + p.token, t = FULL ? to : min(to, (unsigned)(p.len - 1 - t0));
        r.x[i] = hy_to_float(hy_scan_at(x, (t * a.ldx + d) * sizeof(T)));
        r.dt[i] = hy_to_float(hy_scan_at(dt, (t * a.lddt + d) * sizeof(T)));
        r.gate[i] = a.gate ? hy_to_float(hy_scan_at(gate, (t * a.ldgate + d) * sizeof(T))) : 0;
    }
}
template <class T, int C>
static __device__ __forceinline__ void read_tile(const hy_scan_args &a, const place &p, int t0, ahead<C> &r) {
    if (t0 + TILE <= p.len)
        read_ahead<T, C, true>(a, p, t0, r);
    else if (t0 < p.len)
        read_ahead<T, C, false>(a, p, t0, r);
}
// Tokens behind the end get delta = 0 and B = 0: they leave the state as it is, bit for bit.
template <int C>
static __device__ __forceinline__ void prepare(const place &p, int t0, const ahead<C> &r, float *bc, float *mine) {
    constexpr int W = layout<C>::width;
#pragma unroll
    for (int i = 0; i < 2; i++) bc[threadIdx.x + i * HY_SCAN_THREADS] = r.bc[i];
#pragma unroll
    for (int i = 0; i < layout<C>::groups; i++) {
        const int t = i * layout<C>::group + p.token;
        float *at = mine + t * W + p.own;
        const float delta = hy_scan_softplus(r.dt[i], hy_scan_exp_abs(r.dt[i]));
        const bool valid = t0 + t < p.len;
        at[0] = valid ? delta : 0;
        at[TILE * W] = valid ? delta * r.x[i] : 0;
        at[2 * TILE * W] = r.x[i];
        at[3 * TILE * W] = hy_scan_silu(r.gate[i]);
    }
}

// The tokens of one group: h goes on, part [4] is the lane's share of sum_n C h of (token, channel) = (j / C, j % C).
template <int C>
static __device__ __forceinline__ void walk(const float *bc, const float *mine, hy_scan_lane me, const float A2[C][4],
                                            float h[C][4], float part[4]) {
    constexpr int W = layout<C>::width;
#pragma unroll
    for (int k = 0; k < layout<C>::group; k++) {
        float B[4], G[4], delta[C], u[C];
        hy_scan_row<4>(bc + k * 32 + me.part * 4, B);
        hy_scan_row<4>(bc + k * 32 + 16 + me.part * 4, G);
        hy_scan_row<C>(mine + k * W + me.quad * C, delta);
        hy_scan_row<C>(mine + (TILE + k) * W + me.quad * C, u);
#pragma unroll
        for (int c = 0; c < C; c++) {
            float sum = 0;
#pragma unroll
            for (int s = 0; s < 4; s++) {
                h[c][s] = fmaf(hy_scan_decay(s, delta[c] * A2[c][s]), h[c][s], u[c] * B[s]);
                sum = s ? fmaf(G[s], h[c][s], sum) : G[s] * h[c][s];
            }
            part[k * C + c] = sum;
        }
    }
}

// y of an own element, t tokens after t0; sum: over the states of this block, acc: of the blocks before it.
template <class T, int C, bool MANY>
static __device__ __forceinline__ void finish(const hy_scan_args &a, const place &p, int t0, unsigned t, float sum,
                                              const float *mine, float skip, T *before_gate, float *acc) {
    if (t0 + (int)t >= p.len || p.d >= a.D) return;
    const size_t row = p.row0 + t0;
    const float *at = mine + t * layout<C>::width + p.own;
    if (MANY) {
        float &before = hy_scan_at(acc + row * a.D, (t * a.D + p.d) * sizeof(float));
        if (p.block) sum += before;
        before = sum;
        if (p.block + 1 < hy_scan_blocks(a.N)) return;
    }
    sum = fmaf(skip, at[2 * TILE * layout<C>::width], sum);
    if (before_gate) hy_scan_at(before_gate + row * a.D, (t * a.D + p.d) * sizeof(T)) = hy_from_float<T>(sum);
    if (a.gate) sum *= at[3 * TILE * layout<C>::width];
    hy_scan_at((T *)a.y + row * a.ldy, (t * a.ldy + p.d) * sizeof(T)) = hy_from_float<T>(sum);
}

// Grid: sequences x pieces of 32 C channels. MANY: there are several blocks of states; acc [B*T, D]: sums over them so
// far.
template <class T, int C, bool MANY>
static __global__ void __launch_bounds__(HY_SCAN_THREADS)
    scan_kernel(hy_scan_args a, int pieces, int block, float *acc) {
    typedef layout<C> L;
    HY_SHARED(float, shared);
    float *mine = shared + 2 * TILE * 32 + threadIdx.x / 32 * L::warp;
    place p;
    p.me = hy_scan_me();
    p.b = blockIdx.x / pieces, p.block = block;
    p.d0 = blockIdx.x % pieces * L::channels + threadIdx.x / 32 * L::width;
    p.own = p.me.quad * C + p.me.part % C, p.token = p.me.part / C, p.d = p.d0 + p.own;
    p.len = hy_scan_len(a, p.b), p.row0 = (size_t)p.b * a.T;
    const float skip = a.skip && p.d < a.D ? ((const float *)a.skip)[p.d] : 0;
    T *before_gate = a.gate && a.saved ? hy_scan_saved_y<T>(a) : NULL;
    const int n0 = block * HY_SCAN_BLOCK + p.me.part * 4, dq = p.d0 + p.me.quad * C;
    float h[C][4], A2[C][4];
#pragma unroll
    for (int c = 0; c < C; c++) {
        const int d = min(dq + c, a.D - 1);
        float4 v = make_float4(0, 0, 0, 0);
        hy_scan_rates(a, d, n0, A2[c]);
        if (a.state) v = hy_scan_get4((const float *)a.state + ((size_t)p.b * a.D + d) * a.N, n0, a.N);
        h[c][0] = v.x, h[c][1] = v.y, h[c][2] = v.z, h[c][3] = v.w;
    }
    ahead<C> next;
    read_tile<T, C>(a, p, 0, next);
    for (int t0 = 0; t0 < p.len; t0 += TILE) {
        float *bc = shared + (t0 / TILE & 1) * TILE * 32;
        __syncwarp();  // this warp has done with its operands; B and C have two places, so one barrier a tile is enough
        prepare<C>(p, t0, next, bc, mine);
        if (a.saved && t0 % HY_SCAN_SAVE == 0)
#pragma unroll
            for (int c = 0; c < C; c++)
                if (dq + c < a.D)
                    *(float4 *)(hy_scan_saved(a, p.b, t0 / HY_SCAN_SAVE, block, dq + c) + p.me.part * 4) =
                        make_float4(h[c][0], h[c][1], h[c][2], h[c][3]);
        __syncthreads();
        read_tile<T, C>(a, p, t0 + TILE, next);
#pragma unroll 2
        for (int i = 0; i < L::groups; i++) {
            float part[4];
            walk<C>(bc + i * L::group * 32, mine + i * L::group * L::width, p.me, A2, h, part);
            finish<T, C, MANY>(a, p, t0, i * L::group + p.token, hy_scan_quad_sum(part, p.me.part), mine, skip,
                               before_gate, acc);
        }
    }
    if (p.d < a.D && block + 1 == hy_scan_blocks(a.N))
        for (int t = p.len + p.token; t < a.T; t += L::group) hy_store((T *)a.y + (p.row0 + t) * a.ldy + p.d, 0);
    if (!a.state) return;
#pragma unroll
    for (int c = 0; c < C; c++)
        if (dq + c < a.D)
            hy_scan_put4((float *)a.state + ((size_t)p.b * a.D + dq + c) * a.N, n0, a.N,
                         make_float4(h[c][0], h[c][1], h[c][2], h[c][3]));
}

// ---------------------------------------------------------------------------------------------------- single tokens
// Four threads a channel, 4 states of each block of 16 a thread: a state is read and written once, 16 bytes at a time.
template <class T> static __global__ void __launch_bounds__(HY_SCAN_THREADS) step_kernel(hy_scan_args a) {
    const size_t e = ((size_t)blockIdx.x * HY_SCAN_THREADS + threadIdx.x) / 4;
    const int part = threadIdx.x % 4;
    const bool exists = e < (size_t)a.B * a.D;
    const int b = exists ? (int)(e / a.D) : 0, d = exists ? (int)(e % a.D) : 0;
    const bool valid = exists && hy_scan_len(a, b) > 0;
    const float x = valid ? hy_load((const T *)a.x + (size_t)b * a.ldx + d) : 0,
                z = valid ? hy_load((const T *)a.dt + (size_t)b * a.lddt + d) : 0;
    const float delta = hy_scan_softplus(z, hy_scan_exp_abs(z)), u = delta * x;
    const T *B = (const T *)a.Bm + (size_t)b * a.ldB, *G = (const T *)a.Cm + (size_t)b * a.ldC;
    float *state = a.state ? (float *)a.state + e * a.N : NULL, y = 0;
    for (int n0 = 0; n0 < a.N; n0 += HY_SCAN_BLOCK) {
        const int n = n0 + part * 4;
        float sum = 0;
        if (valid) {
            float h[4] = {0, 0, 0, 0}, A2[4];
            hy_scan_rates(a, d, n, A2);
            if (state) {
                const float4 v = hy_scan_get4(state, n, a.N);
                h[0] = v.x, h[1] = v.y, h[2] = v.z, h[3] = v.w;
            }
#pragma unroll
            for (int s = 0; s < 4; s++) {
                const bool has = n + s < a.N;
                h[s] = fmaf(hy_scan_decay(s, delta * A2[s]), h[s], u * (has ? hy_load(B + n + s) : 0));
                const float c = has ? hy_load(G + n + s) : 0;
                sum = s ? fmaf(c, h[s], sum) : c * h[s];
            }
            if (state) hy_scan_put4(state, n, a.N, make_float4(h[0], h[1], h[2], h[3]));
        }
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        y = n0 ? sum + y : sum;
    }
    if (!exists || part) return;
    if (valid && a.skip) y = fmaf(((const float *)a.skip)[d], x, y);
    if (valid && a.gate) y *= hy_scan_silu(hy_load((const T *)a.gate + (size_t)b * a.ldgate + d));
    hy_store((T *)a.y + (size_t)b * a.ldy + d, valid ? y : 0);
}

// ---------------------------------------------------------------------------------------------------- plan
hy_status hy_scan_check(const char *op, const hy_scan_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->B >= 1 && a->T >= 1 && a->D >= 1 && a->N >= 1);
    HY_NEED(op, a->ldx >= a->D && a->lddt >= a->D && a->ldy >= a->D && (!a->gate || a->ldgate >= a->D));
    HY_NEED(op, a->ldB >= a->N && a->ldC >= a->N);
    HY_NEED(op, max(max(a->ldx, a->lddt), max(a->ldy, a->gate ? a->ldgate : 0)) <= HY_SCAN_LD_MAX);
    HY_NEED(op, (long)a->B * ((a->D + 31) / 32) < 0x7fffffff);
    return HY_OK;
}

template <class T, int C, bool MANY> static hy_status launch(const hy_scan_args *a, float *acc) {
    const int pieces = hy_ceil_div(a->D, layout<C>::channels);
    for (int block = 0; block < hy_scan_blocks(a->N); block++)
        HY_LAUNCH((scan_kernel<T, C, MANY>), a->B * pieces, HY_SCAN_THREADS, layout<C>::bytes, *a, pieces, block, acc);
    return HY_OK;
}
// Warps on a multiprocessor with C channels a lane.
static long warps_of(const hy_scan_args *a, int C) {
    return (long)a->B * hy_ceil_div(a->D, 32 * C) * HY_SCAN_WARPS / hy_cuda()->sms;
}

template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scan_args *a = (const hy_scan_args *)args;
    (void)req;
    if (a->T == 1 && !a->saved) {
        HY_LAUNCH((step_kernel<T>), hy_ceil_div((long)a->B * a->D * 4, HY_SCAN_THREADS), HY_SCAN_THREADS, 0, *a);
        return HY_OK;
    }
    if (hy_scan_blocks(a->N) > 1) return launch<T, 2, true>(a, (float *)ws);
    if (warps_of(a, 4) >= 12) return launch<T, 4, false>(a, NULL);
    if (warps_of(a, 2) >= 8) return launch<T, 2, false>(a, NULL);
    return launch<T, 1, false>(a, NULL);
}

hy_status hy_cuda_plan_scan(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scan_args *a = (const hy_scan_args *)args;
    *out = {};
    HY_TRY(hy_scan_check("scan", a, req));
    const size_t elements = (size_t)a->B * a->T * a->D;
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    if (hy_scan_blocks(a->N) > 1) out->workspace = elements * sizeof(float);
    if (req->training) {
        out->saved = hy_scan_saved_states(*a) * sizeof(float) + (a->gate ? elements * hy_dtype_size(req->dtype) : 0);
        out->saved = (out->saved + 15) / 16 * 16;
    }
    return HY_OK;
}
