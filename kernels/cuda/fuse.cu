// fuse.cu - joins attention and SSM outputs (two RMSNorms, then mean, concatenation or a gate), forward. A block owns a
// row at a time and keeps both halves in registers. The gradient is in fuse_bwd.cu.
#include "kernels/cuda/fuse.cuh"

template <class T, int N, int V>
static __device__ __forceinline__ float square_sum(const hy_row<T, N, V> &x, int pieces) {
    float s = 0;
    HY_EACH_PIECE(k, i, pieces) {
        const hy_piece<T, N> a = x.at(k, i);
#pragma unroll
        for (int j = 0; j < N; j++) s += a[j] * a[j];
    }
    return s;
}

template <class T, int N, int V>
static __global__ void __launch_bounds__(HY_ROW_THREADS)
    fuse(fuse_shape f, const T *a, int lda, const T *s, int lds, const T *gate, int ldgate, const float *wa,
         const float *ws, T *z, int ldz) {
    HY_SHARED(float, scratch);
    hy_team team = {scratch, 0};
    const int pa = f.Ca / N, ps = f.Cs / N;
    hy_row<float, N, V> weight_a, weight_s;
    weight_a.load(wa, pa), weight_s.load(ws, ps);
    for (int r = (int)blockIdx.x; r < f.rows; r += (int)gridDim.x) {
        hy_row<T, N, V> as, ss;
        as.load(a + (size_t)r * lda, pa), ss.load(s + (size_t)r * lds, ps);
        float sum[2] = {square_sum(as, pa), square_sum(ss, ps)};
        team.sum(sum);
        const float ra = fuse_rstd(sum[0], f.Ca, f.eps), rs = fuse_rstd(sum[1], f.Cs, f.eps);
        const fuse_share<T> share = {f.kind == HY_FUSE_GATE ? gate + (size_t)r * ldgate : NULL, f.per, f.by_a, f.by_s};
        T *const out = z + (size_t)r * ldz;
        HY_EACH_PIECE(k, i, pa) {
            const hy_piece<T, N> x = as.at(k, i);
            const hy_piece<float, N> w = weight_a.at(k, i);
            hy_piece<T, N> y;
            float u[N], v[N];
            share.of(i, u, v);
#pragma unroll
            for (int j = 0; j < N; j++) u[j] *= x[j] * ra * w[j];
            if (f.kind != HY_FUSE_CONCAT) {
                const hy_piece<T, N> x2 = ss.at(k, i);
                const hy_piece<float, N> w2 = weight_s.at(k, i);
#pragma unroll
                for (int j = 0; j < N; j++) u[j] += v[j] * (x2[j] * rs * w2[j]);
            }
#pragma unroll
            for (int j = 0; j < N; j++) y.set(j, u[j]);
            y.store(out + (size_t)i * N);
        }
        if (f.kind != HY_FUSE_CONCAT) continue;
        HY_EACH_PIECE(k, i, ps) {
            const hy_piece<T, N> x = ss.at(k, i);
            const hy_piece<float, N> w = weight_s.at(k, i);
            hy_piece<T, N> y;
#pragma unroll
            for (int j = 0; j < N; j++) y.set(j, f.by_s * (x[j] * rs * w[j]));
            y.store(out + f.Ca + (size_t)i * N);
        }
    }
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T, int N, int V> static hy_status launch(const hy_fuse_args *a) {
    const int threads = fuse_threads(a, N);
    HY_LAUNCH((fuse<T, N, V>), hy_row_blocks(a->rows, threads), threads, HY_TEAM_BYTES, fuse_shape_of(a),
              (const T *)a->a, a->lda, (const T *)a->s, a->lds, (const T *)a->gate, a->ldgate, (const float *)a->wa,
              (const float *)a->ws, (T *)a->z, a->ldz);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_fuse_args *a = (const hy_fuse_args *)args;
    constexpr int n = hy_vec<T>::n;
    (void)ws, (void)req;
    if (a->rows == 0) return HY_OK;
    if (!fuse_wide<T>(a) || !hy_wide<T>(a->z, a->ldz)) return launch<T, 1, 0>(a);
    return hy_row_fits(fuse_widest(a) / n) ? launch<T, n, HY_ROW_HELD>(a) : launch<T, n, 0>(a);
}

hy_status hy_cuda_plan_fuse(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_fuse_args *a = (const hy_fuse_args *)args;
    HY_TRY(fuse_check("fuse", a, req));
    HY_NEED("fuse", a->ldz >= (a->kind == HY_FUSE_CONCAT ? a->Ca + a->Cs : a->Ca));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}
