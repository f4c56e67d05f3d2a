// ssd.cu - SSD (Mamba-2) on the GPU: forward, and the states that forward and backward start their parts from. The
// backward is in ssd_bwd.cu, the mathematics in kernels.h, the oracle in kernels/cpu/ref/ssd.c.
//
// Chunks of Q tokens (Dao and Gu 2024, section 6), S the state before the chunk [N,P], L_ij the decay from token j to
// token i:
//   y = (C B^T * L) (delta x) + from_start (C S) + skip x        S' = all S + B^T (to_end delta x)
// A block owns a head of a sequence and Q of its channels and goes over the chunks in order: the state stays in shared
// memory (in global memory where N is too large), C and B come in tiles of Q tokens x Q states and serve all three
// products with them. Where that gives too few blocks, sequences are cut into segments: ssd_states makes what each adds
// to the state, ssd_pass the state before each, then the blocks run side by side. Nothing is saved for the backward.
// One token (decoding) has its own kernel.
//
// Counted, not measured, for a token and head, Q = 64, N = 128, P = 64. Operations: C B^T 16384, C S 16384, B^T x
// 16384, the product with x 8192: 57344. (C B^T is made by each head, not once a group: that would save less than a
// third of the operations and cost 4 Q = 256 bytes, as much as x and y together.) Bytes in bfloat16: x and y 256, dt 2,
// B and C 512 / (H / G): with 24 heads to a group 279, B and C read by the other heads from L2. The floor is 279
// / 3.35e12 = 0.083 ns at the bandwidth of an H100, and 57344 / 990e12 = 0.058 ns at its peak; segments of t tokens add
// 16 N P / t bytes and 16384 operations. Decoding reads and writes the state once: 8 N P bytes a head, nothing else
// counts.
#include "kernels/cuda/ssd.cuh"

#define HY_SSD_THREADS 128  // 4 warps, 2 x 2 parts of [32,32] of a tile
typedef ssd_acc<2, 4> ssd_part;

// ---------------------------------------------------------------------------------------------------- states
// One tile [Q,Q] of the state of a head, over the chunks of a segment. Forward: S = all S + B^T (to_end delta x), S
// from `starts` or 0 (one segment). Reverse, from the last chunk: dS = all dS + C^T (from_start dy). own: what the
// segment adds to 0 goes to `starts`, and its decay to `decays`. Not own: the tile goes to `at` before each chunk.
template <int MATH, bool REV, bool OWN>
static __global__ void __launch_bounds__(HY_SSD_THREADS, 4) ssd_states(ssd_states_args r) {
    typedef typename ssd_type_of<MATH>::type T;
    HY_SHARED(unsigned char, smem);
    ssd_steps *s = (ssd_steps *)smem;
    T *x = (T *)(s + 1), *b = x + ssd_tile<T>;
    const hy_ssd_args &a = r.a;
    size_t at = blockIdx.x;
    const int nt = at % r.cut.ntiles, pt = (at /= r.cut.ntiles) % r.cut.ptiles, h = (at /= r.cut.ptiles) % a.H;
    const int seg = (at /= a.H) % r.cut.segments, seq = (int)(at / r.cut.segments);
    const int n0 = nt * HY_SSD_Q, p0 = pt * HY_SSD_Q, wn = min(HY_SSD_Q, a.N - n0), wp = min(HY_SSD_Q, a.P - p0);
    const int warp = threadIdx.x / 32, m = warp / 2 * 32, n = warp % 2 * 32, g = h / (a.H / a.G),
              len = ssd_length(a, seq);
    const int first = seg * r.cut.segment, end = min(first + r.cut.segment, r.cut.chunks);
    const size_t ld = REV ? a.ldC : a.ldB, ldx = REV ? r.lddy : a.ldx;
    const T *rows = (const T *)(REV ? a.Cm : a.Bm) + (size_t)g * a.N + n0;
    const T *xs = (const T *)(REV ? r.dy : a.x) + (size_t)h * a.P + p0;
    float *start = r.starts + (((size_t)seq * r.cut.segments + seg) * a.H + h) * a.N * a.P;
    if (OWN && seg == (REV ? 0 : r.cut.segments - 1)) return;  // nobody comes after it
    const double A = ssd_A(a, h);
    float decay = 1;
    ssd_part S;
    S.clear();
    if (!OWN && r.cut.segments > 1)
        S.each(m, n, [&](float &v0, float &v1, int i, int p) {
            if (i < wn && p < wp) v0 = start[(size_t)(n0 + i) * a.P + p0 + p];
            if (i < wn && p + 1 < wp) v1 = start[(size_t)(n0 + i) * a.P + p0 + p + 1];
        });
    for (int k = first; k < end; k++) {
        const int c = REV ? end - 1 - (k - first) : k, tokens = ssd_tokens(len, c);
        if (tokens == 0) continue;
        if (!OWN) {
            T *to = (T *)r.at + (((size_t)seq * r.cut.chunks + c) * a.H + h) * a.N * r.cut.P8;
            S.each(m, n, [&](float v0, float v1, int i, int p) {
                if (i >= wn || p0 + p >= r.cut.P8) return;  // past P: zeros
                ssd_store2(to + (size_t)(n0 + i) * r.cut.P8 + p0 + p, v0, v1);
            });
            if (k == end - 1) break;
        }
        const size_t row = (size_t)seq * a.T + (size_t)c * HY_SSD_Q;
        __syncthreads();  // the tiles are free
        ssd_load(x, xs + row * ldx, ldx, tokens, wp);
        ssd_load(b, rows + row * ld, ld, tokens, wn);
        if (warp == 0) ssd_make_steps<T>(a, A, row, tokens, h, s);
        ssd_loaded();
        ssd_scale_rows(x, x, REV ? s->from_start : s->to_end, REV ? NULL : s->delta);
        __syncthreads();
        const float all = s->all;
        decay *= all;
        S.each(m, n, [&](float &v0, float &v1, int, int) { v0 *= all, v1 *= all; });
        if (n < wp && m < wn) ssd_mm<MATH, true, false>(S, b, ssd_ld<T>, x, ssd_ld<T>, m, n, HY_SSD_Q);
    }
    if (!OWN) return;
    S.each(m, n, [&](float v0, float v1, int i, int p) {
        if (i < wn && p < wp) start[(size_t)(n0 + i) * a.P + p0 + p] = v0;
        if (i < wn && p + 1 < wp) start[(size_t)(n0 + i) * a.P + p0 + p + 1] = v1;
    });
    if (nt == 0 && pt == 0 && threadIdx.x == 0) r.decays[((size_t)seq * r.cut.segments + seg) * a.H + h] = decay;
}

// What each segment adds becomes the state before it (reverse: the gradient after it), one element of a state a thread.
static __global__ void __launch_bounds__(256) ssd_pass(ssd_states_args r, bool reverse) {
    const hy_ssd_args &a = r.a;
    const size_t size = (size_t)a.N * a.P, i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, e = i % size,
                 bh = i / size;
    const int h = bh % a.H, seq = (int)(bh / a.H), segments = r.cut.segments;
    if (seq >= a.B) return;
    float S = !reverse && a.state ? ((const float *)a.state)[i] : 0;
    for (int k = 0; k < segments; k++) {
        const size_t at = ((size_t)seq * segments + (reverse ? segments - 1 - k : k)) * a.H + h;
        float *own = r.starts + at * size + e;
        const float before = S;
        if (k < segments - 1) S = r.decays[at] * S + *own;
        *own = before;
    }
}

template <int MATH, bool REV> static hy_status run_states(const ssd_states_args *s) {
    typedef typename ssd_type_of<MATH>::type T;
    const ssd_cut *c = &s->cut;
    const unsigned blocks = (unsigned)((size_t)s->a.B * c->segments * s->a.H * c->ptiles * c->ntiles);
    const size_t shared = sizeof(ssd_steps) + 2 * ssd_tile<T> * sizeof(T);
    if (c->segments > 1) {
        HY_LAUNCH((ssd_states<MATH, REV, true>), blocks, HY_SSD_THREADS, shared, *s);
        HY_LAUNCH(ssd_pass, hy_ceil_div((long)s->a.B * s->a.H * s->a.N * s->a.P, 256), 256, 0, *s, REV);
    }
    if (s->at) HY_LAUNCH((ssd_states<MATH, REV, false>), blocks, HY_SSD_THREADS, shared, *s);
    return HY_OK;
}
template <int MATH> hy_status hy_ssd_cuda_states(const ssd_states_args *s, bool reverse) {
    return reverse ? run_states<MATH, true>(s) : run_states<MATH, false>(s);
}
template hy_status hy_ssd_cuda_states<HY_SSD_F32>(const ssd_states_args *, bool);
template hy_status hy_ssd_cuda_states<HY_SSD_TF32>(const ssd_states_args *, bool);
template hy_status hy_ssd_cuda_states<HY_SSD_BF16>(const ssd_states_args *, bool);

// ---------------------------------------------------------------------------------------------------- outputs
typedef struct {
    hy_ssd_args a;
    ssd_cut cut;
    const float *starts;  // as in ssd_states_args, or NULL: one segment
    float *spill;         // [blocks, N16, HY_SSD_LDF]: the states, where shared memory cannot hold them
} ssd_forward_args;

template <class T> static size_t forward_tiles() { return sizeof(ssd_steps) + 4 * ssd_tile<T> * sizeof(T); }

template <int MATH> struct ssd_chunk {
    typedef typename ssd_type_of<MATH>::type T;
    ssd_steps *s;
    T *C, *B, *x, *w;  // tiles; C and B side by side also hold a tile of floats
    float *S;          // [N16, HY_SSD_LDF]
    int m, n;          // of this warp's part

    // One tile of N: adds to C B^T and to C S, and brings its part of the state to the end of the chunk.
    __device__ __forceinline__ void states_tile(const hy_ssd_args &a, size_t row, int tokens, int g, int n0, int N16,
                                                int wp, ssd_part &G, ssd_part &Y) {
        const int K = min(HY_SSD_Q, N16 - n0);
        ssd_load(C, (const T *)a.Cm + row * a.ldC + (size_t)g * a.N + n0, a.ldC, tokens, min(HY_SSD_Q, a.N - n0));
        ssd_load(B, (const T *)a.Bm + row * a.ldB + (size_t)g * a.N + n0, a.ldB, tokens, min(HY_SSD_Q, a.N - n0));
        ssd_loaded();
        ssd_part U;
        U.clear();
        if (n <= m) ssd_mm<MATH, false, true>(G, C, ssd_ld<T>, B, ssd_ld<T>, m, n, K);
        if (n < wp) {
            ssd_mm<MATH, false, false>(Y, C, ssd_ld<T>, S + (size_t)n0 * HY_SSD_LDF, HY_SSD_LDF, m, n, K);
            ssd_mm<MATH, true, false>(U, B, ssd_ld<T>, w, ssd_ld<T>, m, n, HY_SSD_Q);
        }
        __syncthreads();  // the state and the tiles have been read
        U.each(m, n, [&](float v0, float v1, int i, int p) {
            if (i >= K) return;
            float *to = S + (size_t)(n0 + i) * HY_SSD_LDF + p;
            to[0] = s->all * to[0] + v0, to[1] = s->all * to[1] + v1;
        });
    }
    // Y = from_start Y + (G * L) delta x; then the tile of floats holds it.
    __device__ __forceinline__ void inside(ssd_part &G, ssd_part &Y) {
        G.each(m, n, [&](float &v0, float &v1, int i, int j) {
            v0 = j <= i ? v0 * ssd_decay(s, i, j) * s->delta[j] : 0;
            v1 = j + 1 <= i ? v1 * ssd_decay(s, i, j + 1) * s->delta[j + 1] : 0;
        });
        ssd_to_tile(C, G, m, n);
        Y.each(m, n, [&](float &v0, float &v1, int i, int) { v0 *= s->from_start[i], v1 *= s->from_start[i]; });
        __syncthreads();
        ssd_mm<MATH, false, false>(Y, C, ssd_ld<T>, x, ssd_ld<T>, m, n, m + 32);  // nothing is right of the diagonal
        __syncthreads();
        ssd_to_tile((float *)C, Y, m, n);
        __syncthreads();
    }
};

template <int MATH> static __global__ void __launch_bounds__(HY_SSD_THREADS, 3) ssd_forward(ssd_forward_args r) {
    typedef typename ssd_type_of<MATH>::type T;
    HY_SHARED(unsigned char, smem);
    const hy_ssd_args &a = r.a;
    ssd_chunk<MATH> k;
    k.s = (ssd_steps *)smem;
    k.C = (T *)(k.s + 1), k.B = k.C + ssd_tile<T>, k.x = k.B + ssd_tile<T>, k.w = k.x + ssd_tile<T>;
    k.S = r.spill ? r.spill + (size_t)blockIdx.x * r.cut.N16 * HY_SSD_LDF : (float *)(k.w + ssd_tile<T>);
    size_t at = blockIdx.x;
    const int pt = at % r.cut.ptiles, h = (at /= r.cut.ptiles) % a.H, seg = (at /= a.H) % r.cut.segments,
              seq = (int)(at / r.cut.segments);
    const int p0 = pt * HY_SSD_Q, wp = min(HY_SSD_Q, a.P - p0), warp = threadIdx.x / 32, g = h / (a.H / a.G),
              len = ssd_length(a, seq);
    k.m = warp / 2 * 32, k.n = warp % 2 * 32;
    const float skip = a.skip ? ((const float *)a.skip)[h] : 0;
    const double A = ssd_A(a, h);
    float *state = a.state ? (float *)a.state + ((size_t)seq * a.H + h) * a.N * a.P + p0 : NULL;
    const float *start =
        r.starts ? r.starts + (((size_t)seq * r.cut.segments + seg) * a.H + h) * a.N * a.P + p0 : state;
    for (int e = threadIdx.x; e < r.cut.N16 * HY_SSD_Q; e += blockDim.x) {
        const int i = e / HY_SSD_Q, p = e % HY_SSD_Q;
        k.S[(size_t)i * HY_SSD_LDF + p] = start && i < a.N && p < wp ? start[(size_t)i * a.P + p] : 0;
    }
    for (int c = seg * r.cut.segment; c < min((seg + 1) * r.cut.segment, r.cut.chunks); c++) {
        const int tokens = ssd_tokens(len, c), whole = ssd_tokens(a.T, c);
        const size_t row = (size_t)seq * a.T + (size_t)c * HY_SSD_Q;
        T *y = (T *)a.y + row * a.ldy + (size_t)h * a.P + p0;
        __syncthreads();  // the state is there, the tiles are free
        if (tokens < whole) ssd_clear_rows(y, a.ldy, tokens, whole, wp);
        if (tokens == 0) continue;
        ssd_load(k.x, (const T *)a.x + row * a.ldx + (size_t)h * a.P + p0, a.ldx, tokens, wp);
        if (warp == 0) ssd_make_steps<T>(a, A, row, tokens, h, k.s);
        ssd_loaded();
        ssd_scale_rows(k.w, k.x, k.s->to_end, k.s->delta);
        ssd_part G, Y;
        G.clear(), Y.clear();
        for (int n0 = 0; n0 < r.cut.N16; n0 += HY_SSD_Q) k.states_tile(a, row, tokens, g, n0, r.cut.N16, wp, G, Y);
        k.inside(G, Y);
        const float *out = (const float *)k.C;
        ssd_put(y, a.ldy, tokens, wp, false,
                [&](int i, int p) { return out[i * HY_SSD_LDF + p] + skip * hy_to_float(k.x[i * ssd_ld<T> + p]); });
    }
    __syncthreads();
    if (!state || seg != r.cut.segments - 1) return;
    for (int e = threadIdx.x; e < a.N * wp; e += blockDim.x)
        state[(size_t)(e / wp) * a.P + e % wp] = k.S[(size_t)(e / wp) * HY_SSD_LDF + e % wp];
}

// ---------------------------------------------------------------------------------------------------- one token
#define HY_SSD_COLUMNS 32  // channels of a block

// T = 1. V: elements of the state that a thread moves at a time, 4 or 1. A thread keeps its channels and goes down the
// states.
template <class T, int V> static __global__ void __launch_bounds__(HY_SSD_THREADS) ssd_token(hy_ssd_args a) {
    HY_SHARED(float, sums);  // [rows, columns]
    constexpr int lanes = HY_SSD_COLUMNS / V, rows = HY_SSD_THREADS / lanes;
    const int pieces = (a.P + HY_SSD_COLUMNS - 1) / HY_SSD_COLUMNS, p0 = blockIdx.x % pieces * HY_SSD_COLUMNS;
    const int h = blockIdx.x / pieces % a.H, seq = blockIdx.x / pieces / a.H, g = h / (a.H / a.G);
    const int column = threadIdx.x % lanes * V, first = threadIdx.x / lanes, p = p0 + column;
    T *y = (T *)a.y + (size_t)seq * a.ldy + (size_t)h * a.P;
    const bool mine = p < a.P;
    if (ssd_length(a, seq) == 0) {
        for (int i = threadIdx.x; i < min(HY_SSD_COLUMNS, a.P - p0); i += blockDim.x) y[p0 + i] = hy_from_float<T>(0);
        return;
    }
    const T *x = (const T *)a.x + (size_t)seq * a.ldx + (size_t)h * a.P;
    const T *B = (const T *)a.Bm + (size_t)seq * a.ldB + (size_t)g * a.N,
            *C = (const T *)a.Cm + (size_t)seq * a.ldC + (size_t)g * a.N;
    float free;
    const float delta = ssd_delta(
        a, hy_load((const T *)a.dt + (size_t)seq * a.lddt + h) + (a.dt_bias ? ((const float *)a.dt_bias)[h] : 0),
        &free);
    const float A_log = ((const float *)a.A_log)[h], decay = expf(-expf(A_log > 80 ? 80 : A_log) * delta);
    float u[V], sum[V];
    for (int e = 0; e < V; e++) u[e] = mine ? delta * hy_load(x + p + e) : 0, sum[e] = 0;
    float *S = a.state ? (float *)a.state + ((size_t)seq * a.H + h) * a.N * a.P + p : NULL;
#pragma unroll 4
    for (int n = first; n < a.N && mine; n += rows) {
        alignas(16) float v[V] = {};
        if (S && V == 4)
            *(float4 *)v = *(const float4 *)(S + (size_t)n * a.P);
        else if (S)
            v[0] = S[(size_t)n * a.P];
        const float b = hy_load(B + n), c = hy_load(C + n);
#pragma unroll
        for (int e = 0; e < V; e++) v[e] = decay * v[e] + b * u[e], sum[e] += c * v[e];
        if (S && V == 4)
            *(float4 *)(S + (size_t)n * a.P) = *(const float4 *)v;
        else if (S)
            S[(size_t)n * a.P] = v[0];
    }
    for (int e = 0; e < V; e++) sums[first * HY_SSD_COLUMNS + column + e] = sum[e];
    __syncthreads();
    const int i = p0 + threadIdx.x;
    if (threadIdx.x >= HY_SSD_COLUMNS || i >= a.P) return;
    float out = a.skip ? ((const float *)a.skip)[h] * hy_load(x + i) : 0;
    for (int k = 0; k < rows; k++) out += sums[k * HY_SSD_COLUMNS + threadIdx.x];
    hy_store(y + i, out);
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T> static hy_status run_token(const void *args, void *, const hy_plan_req *) {
    const hy_ssd_args *a = (const hy_ssd_args *)args;
    const unsigned blocks = (unsigned)((size_t)a->B * a->H * hy_ceil_div(a->P, HY_SSD_COLUMNS));
    const bool wide = hy_wide<float>(a->state, a->P);
    const size_t shared = HY_SSD_THREADS * 4 * sizeof(float);
    if (wide)
        HY_LAUNCH((ssd_token<T, 4>), blocks, HY_SSD_THREADS, shared, *a);
    else
        HY_LAUNCH((ssd_token<T, 1>), blocks, HY_SSD_THREADS, shared, *a);
    return HY_OK;
}

// Workspace: starts, decays, spilled states, in floats.
typedef struct {
    size_t decays, spill, total, shared;
    bool spills;
} forward_ws;
template <class T> static forward_ws forward_layout(const hy_ssd_args *a, const ssd_cut *c) {
    const size_t state = (size_t)c->N16 * HY_SSD_LDF;
    forward_ws w;
    w.shared = forward_tiles<T>() + state * sizeof(float);
    w.spills = w.shared > hy_cuda()->smem_max;
    if (w.spills) w.shared = forward_tiles<T>();
    w.decays = ssd_starts_floats(a, a->B, c);
    w.spill = w.decays + ssd_decays_floats(a, a->B, c);
    w.total = w.spill + (w.spills ? (size_t)a->B * c->segments * a->H * c->ptiles * state : 0);
    return w;
}
template <int MATH> static hy_status run_chunks(const void *args, void *ws, const hy_plan_req *) {
    typedef typename ssd_type_of<MATH>::type T;
    const hy_ssd_args *a = (const hy_ssd_args *)args;
    const ssd_cut c = ssd_cut_of(a, a->B);
    const forward_ws w = forward_layout<T>(a, &c);
    float *base = (float *)ws;
    ssd_states_args s = {*a, NULL, 0, c, base, base + w.decays, NULL};
    if (c.segments > 1) HY_TRY(hy_ssd_cuda_states<MATH>(&s, false));
    const ssd_forward_args f = {*a, c, c.segments > 1 ? base : NULL, w.spills ? base + w.spill : NULL};
    HY_LAUNCH((ssd_forward<MATH>), (unsigned)((size_t)a->B * c.segments * a->H * c.ptiles), HY_SSD_THREADS, w.shared,
              f);
    return HY_OK;
}

hy_status hy_ssd_cuda_check(const hy_ssd_args *a) {
    HY_NEED("ssd", a->B >= 1 && a->T >= 1 && a->H >= 1 && a->P >= 1 && a->G >= 1 && a->N >= 1);
    HY_NEED("ssd", a->H % a->G == 0);
    HY_NEED("ssd", a->ldx / a->H >= a->P && a->ldy / a->H >= a->P && a->lddt >= a->H);
    HY_NEED("ssd", a->ldB / a->G >= a->N && a->ldC / a->G >= a->N);
    HY_NEED("ssd", a->dt_min >= 0 && (a->dt_max == 0 || a->dt_max >= a->dt_min));
    return HY_OK;
}

extern "C" hy_status hy_cuda_plan_ssd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_ssd_args *a = (const hy_ssd_args *)args;
    *out = hy_launch{};
    HY_NEED_TYPE("ssd", req);
    HY_TRY(hy_ssd_cuda_check(a));
    out->path = hy_cuda_mma_path(req);
    if (a->T == 1) {
        out->run = HY_BY_TYPE(req, run_token);
        return HY_OK;
    }
    const ssd_cut c = ssd_cut_of(a, a->B);
    const bool bf16 = req->dtype == HY_BF16;
    out->workspace = (bf16 ? forward_layout<hy_bf16>(a, &c) : forward_layout<float>(a, &c)).total * sizeof(float);
    out->run = bf16                        ? run_chunks<HY_SSD_BF16>
               : req->math == HY_MATH_TF32 ? run_chunks<HY_SSD_TF32>
                                           : run_chunks<HY_SSD_F32>;
    return HY_OK;
}
