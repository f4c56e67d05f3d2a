// ssd_bwd.cu - SSD (Mamba-2) on the GPU: backward. The forward, the states and the symbols are in ssd.cu, the
// derivation in kernels/cpu/fast/ssd_bwd.c, the oracle in kernels/cpu/ref/ssd.c.
//
// Nothing is saved by the forward. For some sequences at a time (a wave, HY_SSD_WAVE_BYTES):
//   ssd_states   S before each chunk, and dS = gradient of the state after each chunk, from the last to the first
//   ssd_heads    a block a (chunk, head, Q channels), M = C B^T * L:  du = M^T dy + to_end (B dS)     dx = delta du +
//   skip dy ssd_groups   a block a (chunk, group, Q states), over the heads of the group in order:  dG = sum of (dy
//   u^T) * L
//                dC = sum of from_start (S dy) + dG B      dB = sum of to_end (dS u) + dG^T C
//                Too few blocks: the heads are shared out to several, whose sums ssd_add adds in order.
//   ssd_finish   a warp a (chunk, head): the gradient of the decay of each token, ddt, and sums for the parameters
//   ssd_params   adds those sums in order.
// The gradient of the decay of token k sums what flows across it: from tokens j < k to tokens i >= k of the chunk, from
// the state before to i >= k, from j < k to the state after, and from state to state: sums of the terms themselves and
// no differences of longer sums, as they are made on the CPU.
//
// Counted, not measured, for a token and head, Q = 64, N = 128, P = 64, bfloat16. Operations: states 2 x 16384;
// ssd_heads C B^T 16384, B dS 16384, dy x^T and M^T dy 8192 each; ssd_groups S dy and dS u 16384 each, dy x^T 2 x 8192
// (once a tile of N), and 32768 / (H / G) for the products with B and C: 131072 + 1365. Bytes: x, dy, dx, dt, ddt once
// 388; S and dS written and read (dS twice) 5 x 256, x and dy read again twice (ssd_groups; the second tile of N finds
// them in L2) 512. Floor by what must be moved, with 24 heads to a group: 388 + 1024 / 24 = 431 bytes, 0.13 ns
// at 3.35e12 a second; what this form moves is 2.2 KB, 0.66 ns: the states are what the time goes to, and 132437
// operations at 990e12 a second take 0.13 ns. Workspace of a wave: 4 N P / Q bytes a token and head.
#include "kernels/cuda/ssd.cuh"

#define HY_SSD_SUMS 3  // A_log, skip, dt_bias

// ------------------------------------------------------------------------------------------------ arguments, workspace
typedef struct {
    hy_ssd_bwd_args b;  // with the sequences of this wave as 0 .. B-1
    ssd_cut cut;
    int shares;          // a group's heads are shared out to so many blocks
    const void *S, *dS;  // [B, chunks, H, N, P8]
    // Of each token, [tiles, B, chunks, H, Q]: per tile of P what flows inside the chunk, x.du and x.dy; per tile of N
    // what flows from the state before the chunk (out) and into the state after it (in); past [ntiles, B, chunks, H].
    float *inside, *xdu, *xdy, *out, *in, *past;
    float *sums;     // [B, chunks, H, HY_SSD_SUMS]
    float *dB, *dC;  // [shares, B * T, G * N] where there are several
} ssd_bwd_work;

static __device__ __forceinline__ size_t chunk_head(const ssd_bwd_work &r, int seq, int c, int h) {
    return ((size_t)seq * r.cut.chunks + c) * r.b.f.H + h;
}
static __device__ __forceinline__ float *of_tile(const ssd_bwd_work &r, float *p, int tile, size_t chunk_head) {
    return p + ((size_t)tile * r.b.f.B * r.cut.chunks * r.b.f.H + chunk_head) * HY_SSD_Q;
}
static __device__ __forceinline__ bool is_last(int len, int c) { return (c + 1) * HY_SSD_Q >= len; }

// ---------------------------------------------------------------------------------------------------- dx
#define HY_SSD_THREADS 128  // 4 warps, 2 x 2 parts of [32,32] of a tile
typedef ssd_acc<2, 4> ssd_part;

// to[k] = sum over i >= k > j of Z_ij (Z [Q, HY_SSD_LDF]): a warp takes 16 rows, from the last up, a lane two columns.
// scratch [4, Q].
static __device__ __forceinline__ void sum_across(const float *Z, float *scratch, float *to) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float c0 = 0, c1 = 0;  // sums over the rows below
    for (int i = 16 * warp; i < 16 * warp + 16; i++)
        c0 += Z[i * HY_SSD_LDF + lane], c1 += Z[i * HY_SSD_LDF + lane + 32];
    scratch[warp * HY_SSD_Q + lane] = c0, scratch[warp * HY_SSD_Q + lane + 32] = c1;
    __syncthreads();
    c0 = c1 = 0;
    for (int w = 3; w > warp; w--) c0 += scratch[w * HY_SSD_Q + lane], c1 += scratch[w * HY_SSD_Q + lane + 32];
    for (int k = 16 * warp + 15; k >= 16 * warp; k--) {
        c0 += Z[k * HY_SSD_LDF + lane], c1 += Z[k * HY_SSD_LDF + lane + 32];
        const float sum = hy_warp_sum((lane < k ? c0 : 0) + (lane + 32 < k ? c1 : 0));
        if (lane == 0) to[k] = sum;
    }
}

// du [Q, HY_SSD_LDF]: dx = delta du + skip dy, and x.du, x.dy of each row: half a warp a row.
template <class T>
static __device__ __forceinline__ void finish_rows(const ssd_bwd_work &r, const ssd_steps *s, const float *du,
                                                   const T *x, const T *dy, size_t row, int tokens, int h, int p0,
                                                   int wp, float *xdu, float *xdy) {
    const hy_ssd_args &a = r.b.f;
    const float skip = a.skip ? ((const float *)a.skip)[h] : 0;
    const int half = threadIdx.x / 16, lane = threadIdx.x % 16;
    for (int i = half; i < HY_SSD_Q; i += HY_SSD_THREADS / 16) {
        float u = 0, y = 0;
        for (int p = lane; p < HY_SSD_Q; p += 16) {
            const float v = hy_to_float(x[i * ssd_ld<T> + p]);
            u += v * du[i * HY_SSD_LDF + p], y += v * hy_to_float(dy[i * ssd_ld<T> + p]);
        }
        for (int d = 8; d; d /= 2) u += __shfl_xor_sync(0xffffffffu, u, d), y += __shfl_xor_sync(0xffffffffu, y, d);
        if (lane == 0) xdu[i] = u, xdy[i] = y;
    }
    if (!r.b.dx) return;
    ssd_put((T *)r.b.dx + row * r.b.lddx + (size_t)h * a.P + p0, r.b.lddx, tokens, wp, r.b.acc & 1, [&](int i, int p) {
        return s->delta[i] * du[i * HY_SSD_LDF + p] + skip * hy_to_float(dy[i * ssd_ld<T> + p]);
    });
}

template <int MATH> static __global__ void __launch_bounds__(HY_SSD_THREADS, 3) ssd_heads(ssd_bwd_work r) {
    typedef typename ssd_type_of<MATH>::type T;
    HY_SHARED(unsigned char, smem);
    ssd_steps *s = (ssd_steps *)smem;
    float *scratch = (float *)(s + 1);  // [4, Q]
    // B and dS, or C and B, side by side also hold a tile of floats
    T *C = (T *)(scratch + 4 * HY_SSD_Q), *B = C + ssd_tile<T>, *dS = B + ssd_tile<T>, *x = dS + ssd_tile<T>,
      *dy = x + ssd_tile<T>;
    const hy_ssd_args &a = r.b.f;
    size_t at = blockIdx.x;
    const int pt = at % r.cut.ptiles, h = (at /= r.cut.ptiles) % a.H, c = (at /= a.H) % r.cut.chunks,
              seq = (int)(at / r.cut.chunks);
    const int len = ssd_length(a, seq), tokens = ssd_tokens(len, c), whole = ssd_tokens(a.T, c), g = h / (a.H / a.G);
    const int p0 = pt * HY_SSD_Q, wp = min(HY_SSD_Q, a.P - p0), warp = threadIdx.x / 32, m = warp / 2 * 32,
              n = warp % 2 * 32;
    const size_t row = (size_t)seq * a.T + (size_t)c * HY_SSD_Q, part = chunk_head(r, seq, c, h);
    const bool last = is_last(len, c);
    if (tokens < whole && r.b.dx && !(r.b.acc & 1))
        ssd_clear_rows((T *)r.b.dx + row * r.b.lddx + (size_t)h * a.P + p0, r.b.lddx, tokens, whole, wp);
    if (tokens == 0) return;
    ssd_load(x, (const T *)a.x + row * a.ldx + (size_t)h * a.P + p0, a.ldx, tokens, wp);
    ssd_load(dy, (const T *)r.b.dy + row * r.b.lddy + (size_t)h * a.P + p0, r.b.lddy, tokens, wp);
    if (warp == 0) ssd_make_steps<T>(a, ssd_A(a, h), row, tokens, h, s);
    ssd_part G, D;  // C B^T; B dS, then du
    G.clear(), D.clear();
    for (int n0 = 0; n0 < r.cut.N16; n0 += HY_SSD_Q) {
        const int K = min(HY_SSD_Q, r.cut.N16 - n0), wn = min(HY_SSD_Q, a.N - n0);
        ssd_load(C, (const T *)a.Cm + row * a.ldC + (size_t)g * a.N + n0, a.ldC, tokens, wn);
        ssd_load(B, (const T *)a.Bm + row * a.ldB + (size_t)g * a.N + n0, a.ldB, tokens, wn);
        if (!last)
            ssd_load(dS, (const T *)r.dS + (part * a.N + n0) * r.cut.P8 + p0, r.cut.P8, wn,
                     min(HY_SSD_Q, r.cut.P8 - p0));
        ssd_loaded();
        if (n <= m) ssd_mm<MATH, false, true>(G, C, ssd_ld<T>, B, ssd_ld<T>, m, n, K);
        if (!last && n < wp) ssd_mm<MATH, false, false>(D, B, ssd_ld<T>, dS, ssd_ld<T>, m, n, K);
        __syncthreads();  // the tiles are free
    }
    // M to the tile of C; Z_ij = dy_i . u_j M_ij to that of B and dS
    float *Z = (float *)B;
    ssd_part F;
    F.clear();
    if (n <= m) ssd_mm<MATH, false, true>(F, dy, ssd_ld<T>, x, ssd_ld<T>, m, n, HY_SSD_Q);
    G.each(m, n, [&](float &v0, float &v1, int i, int j) {
        v0 = j <= i ? v0 * ssd_decay(s, i, j) : 0, v1 = j + 1 <= i ? v1 * ssd_decay(s, i, j + 1) : 0;
    });
    ssd_to_tile(C, G, m, n);
    F.with(G, [](float &f, float M) { f = M != 0 ? f * M : 0; });
    F.each(m, n, [&](float &v0, float &v1, int, int j) { v0 *= s->delta[j], v1 *= s->delta[j + 1]; });
    ssd_to_tile(Z, F, m, n);
    D.each(m, n, [&](float &v0, float &v1, int i, int) { v0 *= s->to_end[i], v1 *= s->to_end[i]; });
    __syncthreads();
    sum_across(Z, scratch, of_tile(r, r.inside, pt, part));
    if (n < wp)
        ssd_mm<MATH, true, false>(D, C + m * ssd_ld<T>, ssd_ld<T>, dy + m * ssd_ld<T>, ssd_ld<T>, m, n,
                                  HY_SSD_Q - m);  // i >= j >= m
    __syncthreads();
    ssd_to_tile(Z, D, m, n);
    __syncthreads();
    finish_rows(r, s, Z, x, dy, row, tokens, h, p0, wp, of_tile(r, r.xdu, pt, part), of_tile(r, r.xdy, pt, part));
}

// ---------------------------------------------------------------------------------------------------- dB, dC
#define HY_SSD_GROUP_THREADS 256  // 8 warps, 2 x 4 parts of [32,16] of a tile
typedef ssd_acc<2, 2> ssd_small;

template <int MATH> struct ssd_group {
    typedef typename ssd_type_of<MATH>::type T;
    ssd_steps *s;
    float *scratch;         // [2, 4, Q], sums of rows over the warps side by side; then [32] for the block
    T *C, *B, *x, *dy, *S;  // tiles; x also holds dG, S serves dS too
    int m, n;
    ssd_small dG, dB, dC;

    // Row sums of v * tile over this warp's columns: to or, add, onto to[row].
    static __device__ __forceinline__ void row_dot(const ssd_small &v, const T *tile, int m, int n, float *to,
                                                   bool add) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = m + 16 * i + 8 * half + g;
                float sum = 0;
#pragma unroll
                for (int j = 0; j < 2; j++)
#pragma unroll
                    for (int e = 0; e < 2; e++)
                        sum += v.v[i][j][2 * half + e] * hy_to_float(tile[row * ssd_ld<T> + n + 8 * j + 2 * t + e]);
                sum += __shfl_xor_sync(0xffffffffu, sum, 1);
                sum += __shfl_xor_sync(0xffffffffu, sum, 2);
                if (t == 0) to[row] = add ? to[row] + sum : sum;
            }
    }
    static __device__ __forceinline__ void add_scaled(ssd_small &to, ssd_small &v, int m, int n, const float *by,
                                                      const float *by2) {
        v.each(m, n, [&](float &v0, float &v1, int i, int) {
            const float f = by2 ? by[i] * by2[i] : by[i];
            v0 *= f, v1 *= f;
        });
        to.with(v, [](float &sum, float x) { sum += x; });
    }

    // One head: adds its part to dG, dB, dC, a tile of P at a time.
    __device__ __forceinline__ void head(const ssd_bwd_work &r, int seq, int c, int tokens, int h, int nt, bool last) {
        const hy_ssd_args &a = r.b.f;
        const size_t row = (size_t)seq * a.T + (size_t)c * HY_SSD_Q, part = chunk_head(r, seq, c, h);
        const int n0 = nt * HY_SSD_Q, wn = min(HY_SSD_Q, a.N - n0), warp = threadIdx.x / 32;
        float past = 0;
        for (int p0 = 0; p0 < a.P; p0 += HY_SSD_Q) {
            const int wp = min(HY_SSD_Q, a.P - p0), wide = min(HY_SSD_Q, r.cut.P8 - p0), K = (wp + 15) / 16 * 16;
            const size_t state = (part * a.N + n0) * r.cut.P8 + p0;
            __syncthreads();  // the tiles and steps are free
            if (p0 == 0 && warp == 0) ssd_make_steps<T>(a, ssd_A(a, h), row, tokens, h, s);
            ssd_load(x, (const T *)a.x + row * a.ldx + (size_t)h * a.P + p0, a.ldx, tokens, wp);
            ssd_load(dy, (const T *)r.b.dy + row * r.b.lddy + (size_t)h * a.P + p0, r.b.lddy, tokens, wp);
            if (c) ssd_load(S, (const T *)r.S + state, r.cut.P8, wn, wide);
            ssd_loaded();
            inside(K);
            ssd_small U;
            U.clear();
            if (c && n < wn) ssd_mm<MATH, false, true>(U, dy, ssd_ld<T>, S, ssd_ld<T>, m, n, K);
            add_scaled(dC, U, m, n, s->from_start, NULL);
            row_dot(U, C, m, n, scratch + warp % 4 * HY_SSD_Q, p0 > 0);
            U.clear();
            if (!last) {
                __syncthreads();
                ssd_load(S, (const T *)r.dS + state, r.cut.P8, wn, wide);
                ssd_loaded();
                if (n < wn) ssd_mm<MATH, false, true>(U, x, ssd_ld<T>, S, ssd_ld<T>, m, n, K);
#pragma unroll 1
                for (int e = threadIdx.x; c && e < wn * wp; e += HY_SSD_GROUP_THREADS)
                    past += hy_load((const T *)r.S + state + (size_t)(e / wp) * r.cut.P8 + e % wp) *
                            hy_to_float(S[e / wp * ssd_ld<T> + e % wp]);
            }
            add_scaled(dB, U, m, n, s->to_end, s->delta);
            row_dot(U, B, m, n, scratch + (4 + warp % 4) * HY_SSD_Q, p0 > 0);
        }
        past = hy_block_sum(past, scratch + 8 * HY_SSD_Q);  // and a barrier
        if (threadIdx.x == 0) r.past[(size_t)nt * r.b.f.B * r.cut.chunks * a.H + part] = s->all * past;
        if (threadIdx.x < 2 * HY_SSD_Q) {
            const float *from = scratch + threadIdx.x / HY_SSD_Q * 4 * HY_SSD_Q + threadIdx.x % HY_SSD_Q;
            of_tile(r, threadIdx.x < HY_SSD_Q ? r.out : r.in, nt, part)[threadIdx.x % HY_SSD_Q] =
                (from[0] + from[HY_SSD_Q]) + (from[2 * HY_SSD_Q] + from[3 * HY_SSD_Q]);
        }
    }
    // dG += (dy u^T) * L.
    __device__ __forceinline__ void inside(int K) {
        if (n >= m + 32) return;  // above the diagonal
        ssd_small F;
        F.clear();
        ssd_mm<MATH, false, true>(F, dy, ssd_ld<T>, x, ssd_ld<T>, m, n, K);
        F.each(m, n, [&](float &v0, float &v1, int i, int j) {
            v0 = j <= i ? v0 * ssd_decay(s, i, j) * s->delta[j] : 0;
            v1 = j + 1 <= i ? v1 * ssd_decay(s, i, j + 1) * s->delta[j + 1] : 0;
        });
        dG.with(F, [](float &sum, float x) { sum += x; });
    }
    // dC += dG B, dB += dG^T C.
    __device__ __forceinline__ void close() {
        __syncthreads();
        ssd_to_tile(x, dG, m, n);
        __syncthreads();
        ssd_mm<MATH, false, false>(dC, x, ssd_ld<T>, B, ssd_ld<T>, m, n,
                                   m + 32);  // nothing of dG is above its diagonal
        ssd_mm<MATH, true, false>(dB, x + m * ssd_ld<T>, ssd_ld<T>, C + m * ssd_ld<T>, ssd_ld<T>, m, n, HY_SSD_Q - m);
        __syncthreads();
    }
    // v through the tile of floats at `stage` to rows of dst.
    template <class E>
    __device__ __forceinline__ void put(ssd_small &v, float *stage, E *dst, size_t ld, bool add, int tokens, int wn) {
        ssd_to_tile(stage, v, m, n);
        __syncthreads();
        ssd_put(dst, ld, tokens, wn, add, [&](int i, int j) { return stage[i * HY_SSD_LDF + j]; });
        __syncthreads();
    }
};

template <int MATH> static __global__ void __launch_bounds__(HY_SSD_GROUP_THREADS, 2) ssd_groups(ssd_bwd_work r) {
    typedef typename ssd_type_of<MATH>::type T;
    HY_SHARED(unsigned char, smem);
    const hy_ssd_args &a = r.b.f;
    ssd_group<MATH> k;
    k.s = (ssd_steps *)smem;
    k.scratch = (float *)(k.s + 1);
    k.C = (T *)(k.scratch + 8 * HY_SSD_Q + 32), k.B = k.C + ssd_tile<T>, k.x = k.B + ssd_tile<T>,
    k.dy = k.x + ssd_tile<T>, k.S = k.dy + ssd_tile<T>;
    size_t at = blockIdx.x;
    const int nt = at % r.cut.ntiles, share = (at /= r.cut.ntiles) % r.shares, g = (at /= r.shares) % a.G,
              c = (at /= a.G) % r.cut.chunks;
    const int seq = (int)(at / r.cut.chunks), len = ssd_length(a, seq), tokens = ssd_tokens(len, c),
              whole = ssd_tokens(a.T, c);
    const int per = a.H / a.G, n0 = nt * HY_SSD_Q, wn = min(HY_SSD_Q, a.N - n0), warp = threadIdx.x / 32;
    const size_t row = (size_t)seq * a.T + (size_t)c * HY_SSD_Q, column = (size_t)g * a.N + n0;
    if (tokens < whole && share == 0) {
        if (r.b.dBm && !(r.b.acc & 4))
            ssd_clear_rows((T *)r.b.dBm + row * r.b.lddB + column, r.b.lddB, tokens, whole, wn);
        if (r.b.dCm && !(r.b.acc & 8))
            ssd_clear_rows((T *)r.b.dCm + row * r.b.lddC + column, r.b.lddC, tokens, whole, wn);
    }
    if (tokens == 0) return;
    k.m = warp / 4 * 32, k.n = warp % 4 * 16;
    k.dG.clear(), k.dB.clear(), k.dC.clear();
    ssd_load(k.C, (const T *)a.Cm + row * a.ldC + column, a.ldC, tokens, wn);
    ssd_load(k.B, (const T *)a.Bm + row * a.ldB + column, a.ldB, tokens, wn);
    const int from = (int)((long)per * share / r.shares), to = (int)((long)per * (share + 1) / r.shares);
    for (int h = from; h < to; h++) k.head(r, seq, c, tokens, g * per + h, nt, is_last(len, c));
    k.close();
    const size_t GN = (size_t)a.G * a.N, partial = ((size_t)share * a.B * a.T + row) * GN + column;
    float *stage = (float *)k.x;  // x and dy
    if (r.dC)
        k.put(k.dC, stage, r.dC + partial, GN, false, tokens, wn);
    else if (r.b.dCm)
        k.put(k.dC, stage, (T *)r.b.dCm + row * r.b.lddC + column, r.b.lddC, r.b.acc & 8, tokens, wn);
    if (r.dB)
        k.put(k.dB, stage, r.dB + partial, GN, false, tokens, wn);
    else if (r.b.dBm)
        k.put(k.dB, stage, (T *)r.b.dBm + row * r.b.lddB + column, r.b.lddB, r.b.acc & 4, tokens, wn);
}

// Adds what the shares of a group's heads have, in order: blockIdx.y 0: dB, 1: dC.
template <class T> static __global__ void __launch_bounds__(256) ssd_add(ssd_bwd_work r) {
    const hy_ssd_args &a = r.b.f;
    const size_t GN = (size_t)a.G * a.N, size = (size_t)a.B * a.T * GN,
                 i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const float *from = (blockIdx.y ? r.dC : r.dB) + i;
    if (!(blockIdx.y ? r.dC : r.dB) || i >= size) return;
    const size_t row = i / GN;
    if ((int)(row % a.T) >= ssd_length(a, (int)(row / a.T))) return;  // ssd_groups has seen to it
    float sum = 0;
    for (int k = 0; k < r.shares; k++) sum += from[k * size];
    T *to = blockIdx.y ? (T *)r.b.dCm + row * r.b.lddC + i % GN : (T *)r.b.dBm + row * r.b.lddB + i % GN;
    hy_store(to, r.b.acc & (blockIdx.y ? 8 : 4) ? hy_load(to) + sum : sum);
}

// ---------------------------------------------------------------------------------------------------- ddt, parameters
#define HY_SSD_FINISH_WARPS 4

// Two values a lane: becomes the sums over all values from this one on (from the last), or over all before it (from the
// first).
static __device__ __forceinline__ void sum_from(double v[2], int lane) {
    double sum = v[0] + v[1];
    for (int d = 1; d < 32; d *= 2) {
        const double more = __shfl_down_sync(0xffffffffu, sum, d);
        if (lane + d < 32) sum += more;
    }
    const double after = __shfl_down_sync(0xffffffffu, sum, 1);
    v[1] += lane < 31 ? after : 0, v[0] += v[1];
}
static __device__ __forceinline__ void sum_before(double v[2], int lane) {
    double sum = v[0] + v[1];
    for (int d = 1; d < 32; d *= 2) {
        const double more = __shfl_up_sync(0xffffffffu, sum, d);
        if (lane >= d) sum += more;
    }
    const double before = __shfl_up_sync(0xffffffffu, sum, 1);
    v[1] = v[0] + (lane ? before : 0), v[0] = lane ? before : 0;
}

// A warp a chunk and head, two tokens a lane.
template <class T> static __global__ void __launch_bounds__(32 * HY_SSD_FINISH_WARPS) ssd_finish(ssd_bwd_work r) {
    HY_SHARED(ssd_steps, steps);
    const hy_ssd_args &a = r.b.f;
    const int lane = threadIdx.x % 32;
    const size_t part = (size_t)blockIdx.x * HY_SSD_FINISH_WARPS + threadIdx.x / 32;
    const int h = part % a.H, c = part / a.H % r.cut.chunks;
    if (part >= (size_t)a.B * r.cut.chunks * a.H) return;
    const int seq = (int)(part / a.H / r.cut.chunks), len = ssd_length(a, seq), tokens = ssd_tokens(len, c),
              whole = ssd_tokens(a.T, c);
    const size_t row = (size_t)seq * a.T + (size_t)c * HY_SSD_Q;
    ssd_steps *s = steps + threadIdx.x / 32;
    T *ddt = (T *)r.b.ddt;
    for (int i = tokens + lane; ddt && !(r.b.acc & 2) && i < whole; i += 32)
        ddt[(row + i) * r.b.ldddt + h] = hy_from_float<T>(0);
    double dA = 0, dskip = 0, dbias = 0;
    if (tokens) {
        const double A = ssd_A(a, h);
        double out[2] = {0, 0}, in[2] = {0, 0}, inside[2] = {0, 0}, xdu[2] = {0, 0}, past = 0;
        ssd_make_steps<T>(a, A, row, tokens, h, s);
        __syncwarp();
        for (int k = 0; k < r.cut.ntiles; k++) {
            past += r.past[(size_t)k * a.B * r.cut.chunks * a.H + part];
            for (int e = 0; e < 2; e++)
                out[e] += of_tile(r, r.out, k, part)[2 * lane + e], in[e] += of_tile(r, r.in, k, part)[2 * lane + e];
        }
        for (int k = 0; k < r.cut.ptiles; k++)
            for (int e = 0; e < 2; e++) {
                inside[e] += of_tile(r, r.inside, k, part)[2 * lane + e],
                    xdu[e] += of_tile(r, r.xdu, k, part)[2 * lane + e];
                dskip += of_tile(r, r.xdy, k, part)[2 * lane + e];
            }
        sum_from(out, lane), sum_before(in, lane);
        for (int e = 0; e < 2; e++) {
            const int i = 2 * lane + e;
            if (i >= tokens) continue;
            const double across = inside[e] + out[e] + in[e] + past, gz = (across * A + xdu[e]) * s->free[i];
            dA += across * (s->delta[i] * A), dbias += gz;
            if (!ddt) continue;
            T *to = ddt + (row + i) * r.b.ldddt + h;
            hy_store(to, (float)gz + (r.b.acc & 2 ? hy_load(to) : 0));
        }
    }
    dA = hy_warp_sum(dA), dskip = hy_warp_sum(dskip), dbias = hy_warp_sum(dbias);
    float *sums = r.sums + part * HY_SSD_SUMS;
    if (lane == 0) sums[0] = (float)dA, sums[1] = (float)dskip, sums[2] = (float)dbias;
}

// Adds the sums of the chunks: a block a head and parameter.
static __global__ void __launch_bounds__(128) ssd_params(ssd_bwd_work r) {
    HY_SHARED(double, scratch);
    const int h = blockIdx.x / HY_SSD_SUMS, k = blockIdx.x % HY_SSD_SUMS, H = r.b.f.H;
    float *to = (float *)(k == 0 ? r.b.dA_log : k == 1 ? r.b.dskip : r.b.ddt_bias);
    double sum = 0;
    for (int i = threadIdx.x; i < r.b.f.B * r.cut.chunks; i += blockDim.x)
        sum += r.sums[((size_t)i * H + h) * HY_SSD_SUMS + k];
    sum = hy_block_sum(sum, scratch);
    if (threadIdx.x == 0 && to) to[h] += (float)sum;
}

// ---------------------------------------------------------------------------------------------------- plan
typedef struct {
    int wave, shares;
    ssd_cut cut;
    size_t S, dS, starts, decays, tokens_p, tokens_n, past, sums, dB, dC,
        total;  // bytes from the start of the workspace
} bwd_layout;

static bwd_layout layout_of(const hy_ssd_args *a, size_t elem) {
    bwd_layout l;
    const size_t chunks = hy_ceil_div(a->T, HY_SSD_Q), states = chunks * a->H * a->N * hy_ceil_div(a->P, 8) * 8 * elem;
    const size_t fit = HY_SSD_WAVE_BYTES / (2 * states);
    l.wave = fit < 1 ? 1 : fit < (size_t)a->B ? (int)fit : a->B;
    l.cut = ssd_cut_of(a, l.wave);
    const size_t heads = l.wave * chunks * a->H, blocks = l.wave * chunks * a->G * l.cut.ntiles, per = a->H / a->G;
    const size_t shares = blocks >= HY_SSD_BLOCKS ? 1 : (HY_SSD_BLOCKS + blocks - 1) / blocks;
    l.shares = (int)(shares < per ? shares : per);
    const size_t groups = l.shares > 1 ? l.shares * (size_t)l.wave * a->T * a->G * a->N : 0;
    size_t at = 0;
    const struct {
        size_t *to, bytes;
    } parts[] = {{&l.S, l.wave * states},
                 {&l.dS, l.wave * states},
                 {&l.starts, ssd_starts_floats(a, l.wave, &l.cut) * sizeof(float)},
                 {&l.decays, ssd_decays_floats(a, l.wave, &l.cut) * sizeof(float)},
                 {&l.tokens_p, 3 * heads * HY_SSD_Q * l.cut.ptiles * sizeof(float)},
                 {&l.tokens_n, 2 * heads * HY_SSD_Q * l.cut.ntiles * sizeof(float)},
                 {&l.past, heads * l.cut.ntiles * sizeof(float)},
                 {&l.sums, heads * HY_SSD_SUMS * sizeof(float)},
                 {&l.dB, groups * sizeof(float)},
                 {&l.dC, groups * sizeof(float)}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) *parts[i].to = at, at += hy_align(parts[i].bytes);
    l.total = at;
    return l;
}

static void *rows_from(const void *p, size_t row, int ld, size_t elem) {
    return p ? (char *)p + row * ld * elem : NULL;
}
// The sequences b0 .. b0+n-1 of a call.
static hy_ssd_bwd_args wave_of(const hy_ssd_bwd_args *b, int b0, int n, size_t elem) {
    hy_ssd_bwd_args w = *b;
    const size_t row = (size_t)b0 * b->f.T;
    w.f.B = n, w.f.len = b->f.len ? b->f.len + b0 : NULL;
    w.f.x = rows_from(b->f.x, row, b->f.ldx, elem), w.f.dt = rows_from(b->f.dt, row, b->f.lddt, elem);
    w.f.Bm = rows_from(b->f.Bm, row, b->f.ldB, elem), w.f.Cm = rows_from(b->f.Cm, row, b->f.ldC, elem);
    w.dy = rows_from(b->dy, row, b->lddy, elem), w.dx = rows_from(b->dx, row, b->lddx, elem),
    w.ddt = rows_from(b->ddt, row, b->ldddt, elem);
    w.dBm = rows_from(b->dBm, row, b->lddB, elem), w.dCm = rows_from(b->dCm, row, b->lddC, elem);
    return w;
}

template <int MATH> static hy_status run_wave(const hy_ssd_bwd_args *b, const bwd_layout *l, char *ws) {
    typedef typename ssd_type_of<MATH>::type T;
    const hy_ssd_args *a = &b->f;
    const size_t heads = (size_t)a->B * l->cut.chunks * a->H, each = heads * HY_SSD_Q, tile = ssd_tile<T> * sizeof(T);
    ssd_states_args s = {*a, b->dy, b->lddy, l->cut, (float *)(ws + l->starts), (float *)(ws + l->decays), ws + l->S};
    HY_TRY(hy_ssd_cuda_states<MATH>(&s, false));
    s.at = ws + l->dS;
    HY_TRY(hy_ssd_cuda_states<MATH>(&s, true));
    float *p = (float *)(ws + l->tokens_p), *n = (float *)(ws + l->tokens_n);
    const ssd_bwd_work r = {*b,
                            l->cut,
                            l->shares,
                            ws + l->S,
                            ws + l->dS,
                            p,
                            p + each * l->cut.ptiles,
                            p + 2 * each * l->cut.ptiles,
                            n,
                            n + each * l->cut.ntiles,
                            (float *)(ws + l->past),
                            (float *)(ws + l->sums),
                            l->shares > 1 && b->dBm ? (float *)(ws + l->dB) : NULL,
                            l->shares > 1 && b->dCm ? (float *)(ws + l->dC) : NULL};
    HY_LAUNCH((ssd_heads<MATH>), (unsigned)(heads * l->cut.ptiles), HY_SSD_THREADS,
              sizeof(ssd_steps) + 4 * HY_SSD_Q * sizeof(float) + 5 * tile, r);
    HY_LAUNCH((ssd_groups<MATH>), (unsigned)((size_t)a->B * l->cut.chunks * a->G * l->shares * l->cut.ntiles),
              HY_SSD_GROUP_THREADS, sizeof(ssd_steps) + (8 * HY_SSD_Q + 32) * sizeof(float) + 5 * tile, r);
    if (r.dB || r.dC) HY_LAUNCH((ssd_add<T>), dim3(hy_ceil_div((long)a->B * a->T * a->G * a->N, 256), 2), 256, 0, r);
    HY_LAUNCH((ssd_finish<T>), hy_ceil_div((long)heads, HY_SSD_FINISH_WARPS), 32 * HY_SSD_FINISH_WARPS,
              HY_SSD_FINISH_WARPS * sizeof(ssd_steps), r);
    if (b->dA_log || b->dskip || b->ddt_bias) HY_LAUNCH(ssd_params, a->H * HY_SSD_SUMS, 128, 32 * sizeof(double), r);
    return HY_OK;
}
template <int MATH> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *) {
    typedef typename ssd_type_of<MATH>::type T;
    const hy_ssd_bwd_args *b = (const hy_ssd_bwd_args *)args;
    const bwd_layout l = layout_of(&b->f, sizeof(T));
    for (int b0 = 0; b0 < b->f.B; b0 += l.wave) {
        const hy_ssd_bwd_args w = wave_of(b, b0, b->f.B - b0 < l.wave ? b->f.B - b0 : l.wave, sizeof(T));
        HY_TRY(run_wave<MATH>(&w, &l, (char *)ws));
    }
    return HY_OK;
}

extern "C" hy_status hy_cuda_plan_ssd_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_ssd_bwd_args *b = (const hy_ssd_bwd_args *)args;
    const hy_ssd_args *f = &b->f;
    *out = hy_launch{};
    HY_NEED_TYPE("ssd backward", req);
    HY_TRY(hy_ssd_cuda_check(f));
    HY_NEED("ssd backward", !f->state);
    HY_NEED("ssd backward",
            b->lddy / f->H >= f->P && (!b->dx || b->lddx / f->H >= f->P) && (!b->ddt || b->ldddt >= f->H));
    HY_NEED("ssd backward", (!b->dBm || b->lddB / f->G >= f->N) && (!b->dCm || b->lddC / f->G >= f->N));
    const bool bf16 = req->dtype == HY_BF16;
    out->path = hy_cuda_mma_path(req);
    out->workspace = layout_of(f, bf16 ? sizeof(hy_bf16) : sizeof(float)).total;
    out->run = bf16 ? run_bwd<HY_SSD_BF16> : req->math == HY_MATH_TF32 ? run_bwd<HY_SSD_TF32> : run_bwd<HY_SSD_F32>;
    return HY_OK;
}
