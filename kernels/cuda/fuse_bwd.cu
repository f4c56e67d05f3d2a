// fuse_bwd.cu - the gradient of fuse.cu. A block owns a row at a time and keeps both branches and dz in registers: one
// round of sums gives all four that a row needs. The gradient of a gate value that several channels share is added up
// through a row of sums by piece, in shared memory where that fits.
#include "kernels/cuda/fuse.cuh"

enum { BUFFER = 8192 };  // pieces whose sums have room in shared memory

// One of the two branches: its input, weight and gradients. part: a row of sums for each block, `stride` apart.
template <class T> struct branch {
    const T *x;
    const float *w;
    T *dx;
    float *part;
    int C, ld, ldd, add;
};
template <class T> struct gate_grad {
    const T *gate;
    T *d;         // or NULL
    float *rows;  // [blocks, pieces] for the sums by piece, or NULL: in shared memory
    int G, ld, ldd, add;
};

// A branch of the row at hand.
template <class T, int N, int V> struct side {
    hy_row<T, N, V> x, dz, was;
    int pieces;
    float rstd, mean;  // of u x rstd, with u = share dz w
    __device__ __forceinline__ void load(const branch<T> &b, const T *dz_, int r) {
        pieces = b.C / N;
        x.load(b.x + (size_t)r * b.ld, pieces);
        dz.load(dz_, pieces);
        if (b.add) was.load(b.dx + (size_t)r * b.ldd, pieces);
    }
    // The shares of the channels of piece i.
    __device__ __forceinline__ static void shares(const fuse_share<T> &share, bool of_a, int i, float (&u)[N]) {
        float other[N];
        if (of_a)
            share.of(i, u, other);
        else
            share.of(i, other, u);
    }
    __device__ __forceinline__ void sums(const branch<T> &b, const fuse_share<T> &share, bool of_a, float *square,
                                         float *ux) const {
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = x.at(k, i), d = dz.at(k, i);
            hy_piece<float, N> w;
            float u[N];
            w.load(b.w + (size_t)i * N);
            shares(share, of_a, i, u);
#pragma unroll
            for (int j = 0; j < N; j++) *square += a[j] * a[j], *ux += u[j] * d[j] * w[j] * a[j];
        }
    }
    __device__ __forceinline__ void finish(const branch<T> &b, const fuse_share<T> &share, bool of_a, int r,
                                           hy_columns<N, V> &dw) const {
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = x.at(k, i), d = dz.at(k, i);
            hy_piece<float, N> w;
            float u[N], g[N];
            w.load(b.w + (size_t)i * N);
            shares(share, of_a, i, u);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float h = a[j] * rstd, dn = u[j] * d[j];
                g[j] = rstd * (dn * w[j] - h * mean);
                if (b.part) dw.add(k, i, j, dn * h);
            }
            if (b.dx)
                hy_put_grad(b.dx + (size_t)r * b.ldd + (size_t)i * N, g, b.add ? was.at(k, i) : hy_piece<T, N>{},
                            b.add);
        }
    }
};

// dgate[j] = or += g (1 - g) sum over its channels of dz (by_a na - by_s ns).
template <class T, int N, int V>
static __device__ __forceinline__ void gate_backward(const fuse_shape &f, const gate_grad<T> &q,
                                                     const fuse_share<T> &share, const side<T, N, V> &a,
                                                     const side<T, N, V> &s, const float *wa, const float *ws, int r,
                                                     float *buffer) {
    T *const out = q.d + (size_t)r * q.ldd;
    HY_EACH_PIECE(k, i, a.pieces) {
        const hy_piece<T, N> xa = a.x.at(k, i), xs = s.x.at(k, i), d = a.dz.at(k, i);
        hy_piece<float, N> w1, w2;
        float sum = 0;
        w1.load(wa + (size_t)i * N), w2.load(ws + (size_t)i * N);
#pragma unroll
        for (int j = 0; j < N; j++) {
            const float e = d[j] * (f.by_a * (xa[j] * a.rstd * w1[j]) - f.by_s * (xs[j] * s.rstd * w2[j]));
            if (f.per == 1) {
                const int c = i * N + j;
                const float g = share.value(c);
                hy_store(out + c, (q.add ? hy_load(out + c) : 0.0f) + e * g * (1.0f - g));
            }
            sum += e;
        }
        if (f.per > 1) buffer[i] = sum;
    }
    if (f.per == 1) return;
    __syncthreads();
    const int each = f.per / N;
    for (int j = (int)threadIdx.x; j < q.G; j += (int)blockDim.x) {
        float sum = 0;
        for (int i = 0; i < each; i++) sum += buffer[j * each + i];
        const float g = share.value(j * f.per);
        hy_store(out + j, (q.add ? hy_load(out + j) : 0.0f) + sum * g * (1.0f - g));
    }
    __syncthreads();
}

template <class T, int N, int V>
static __global__ void __launch_bounds__(HY_ROW_THREADS)
    fuse_bwd(fuse_shape f, branch<T> a, branch<T> s, const T *dz, int lddz, gate_grad<T> q) {
    HY_SHARED(float, scratch);
    hy_team team = {scratch, 0};
    const size_t block = blockIdx.x, stride = (size_t)f.Ca + f.Cs;
    float *const buffer = q.rows ? q.rows + block * (size_t)(f.Ca / N) : scratch + HY_TEAM_BYTES / sizeof(float);
    hy_columns<N, V> dwa, dws;
    if (a.part) dwa.open(a.part + block * stride, f.Ca / N);
    if (s.part) dws.open(s.part + block * stride, f.Cs / N);
    for (int r = (int)blockIdx.x; r < f.rows; r += (int)gridDim.x) {
        const fuse_share<T> share = {q.gate ? q.gate + (size_t)r * q.ld : NULL, f.per, f.by_a, f.by_s};
        const T *const z = dz + (size_t)r * lddz;
        side<T, N, V> ha, hs;
        ha.load(a, z, r);
        hs.load(s, f.kind == HY_FUSE_CONCAT ? z + f.Ca : z, r);
        float sum[4] = {0, 0, 0, 0};
        ha.sums(a, share, true, &sum[0], &sum[1]);
        hs.sums(s, share, false, &sum[2], &sum[3]);
        team.sum(sum);
        ha.rstd = fuse_rstd(sum[0], f.Ca, f.eps), ha.mean = sum[1] * ha.rstd / (float)f.Ca;
        hs.rstd = fuse_rstd(sum[2], f.Cs, f.eps), hs.mean = sum[3] * hs.rstd / (float)f.Cs;
        if (q.d) gate_backward(f, q, share, ha, hs, a.w, s.w, r, buffer);
        ha.finish(a, share, true, r, dwa);
        hs.finish(s, share, false, r, dws);
    }
    if (a.part) dwa.close(f.Ca / N);
    if (s.part) dws.close(f.Cs / N);
}

// ---------------------------------------------------------------------------------------------------- plans
static int blocks_of(const hy_fuse_args *a, hy_dtype dtype) {
    return hy_sum_blocks(a->rows, fuse_threads(a, 16 / (int)hy_dtype_size(dtype)));
}
template <class T, int N, int V> static hy_status launch(const hy_fuse_bwd_args *b, float *ws, int blocks) {
    const hy_fuse_args *f = &b->f;
    const size_t width = (size_t)f->Ca + f->Cs;
    const int pieces = f->Ca / N;
    const bool gated = f->kind == HY_FUSE_GATE, sums = b->dwa || b->dws;
    float *const part = ws;
    const branch<T> a = {(const T *)f->a, (const float *)f->wa, (T *)b->da, b->dwa ? part : NULL, f->Ca, f->lda,
                         b->ldda,         b->da && b->acc & 1};
    const branch<T> s = {(const T *)f->s, (const float *)f->ws, (T *)b->ds, b->dws ? part + f->Ca : NULL, f->Cs, f->lds,
                         b->ldds,         b->ds && b->acc & 2};
    gate_grad<T> q = {};
    size_t shared = HY_TEAM_BYTES;
    if (gated)
        q.gate = (const T *)f->gate, q.d = (T *)b->dgate, q.ld = f->ldgate, q.ldd = b->lddgate, q.G = f->G,
        q.add = (b->acc & 4) != 0;
    if (q.d && pieces > BUFFER)
        q.rows = part + (sums ? blocks * width : 0);
    else if (q.d)
        shared += pieces * sizeof(float);
    HY_LAUNCH((fuse_bwd<T, N, V>), blocks, fuse_threads(f, N), shared, fuse_shape_of(f), a, s, (const T *)b->dz,
              b->lddz, q);
    return sums ? hy_cuda_add_columns(part, blocks, (float *)b->dwa, (size_t)f->Ca, (float *)b->dws, (size_t)f->Cs)
                : HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_fuse_bwd_args *b = (const hy_fuse_bwd_args *)args;
    const hy_fuse_args *f = &b->f;
    constexpr int n = hy_vec<T>::n;
    if (f->rows == 0) return HY_OK;
    const int blocks = blocks_of(f, req->dtype), per = f->kind == HY_FUSE_GATE ? f->Ca / f->G : 1;
    float *const part = (float *)ws;
    const bool wide = fuse_wide<T>(f) && hy_wide<T>(b->dz, b->lddz) && (!b->da || hy_wide<T>(b->da, b->ldda)) &&
                      (!b->ds || hy_wide<T>(b->ds, b->ldds)) && (per == 1 || per % n == 0);
    if (!wide) return launch<T, 1, 0>(b, part, blocks);
    return hy_row_fits(fuse_widest(f) / n) ? launch<T, n, HY_ROW_HELD>(b, part, blocks)
                                           : launch<T, n, 0>(b, part, blocks);
}

hy_status hy_cuda_plan_fuse_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_fuse_bwd_args *b = (const hy_fuse_bwd_args *)args;
    const hy_fuse_args *f = &b->f;
    HY_TRY(fuse_check("fuse_bwd", f, req));
    HY_NEED("fuse_bwd", b->lddz >= (f->kind == HY_FUSE_CONCAT ? f->Ca + f->Cs : f->Ca));
    HY_NEED("fuse_bwd", (!b->da || b->ldda >= f->Ca) && (!b->ds || b->ldds >= f->Cs));
    HY_NEED("fuse_bwd", f->kind != HY_FUSE_GATE || !b->dgate || b->lddgate >= f->G);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    if (f->rows == 0) return HY_OK;
    const size_t blocks = (size_t)blocks_of(f, req->dtype);
    if (b->dwa || b->dws) out->workspace += blocks * ((size_t)f->Ca + f->Cs) * sizeof(float);
    if (f->kind == HY_FUSE_GATE && b->dgate && f->Ca > BUFFER) out->workspace += blocks * f->Ca * sizeof(float);
    return HY_OK;
}
