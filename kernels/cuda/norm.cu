// norm.cu - RMS and layer norm over groups of C, forward and backward. A block owns a vector at a time and keeps it in
// registers between the sums and the result, so that x and dy are read once.
#include "kernels/cuda/rows.cuh"

// Vector q of an operand: group q % groups of row q / groups.
static __device__ __forceinline__ size_t vector_at(long q, int groups, int C, int ld) {
    return (size_t)(q / groups) * ld + (size_t)(q % groups) * C;
}

// mean is 0 for RMS; the variance is taken about it.
template <class T, int N, int V>
static __device__ __forceinline__ void statistics(hy_team &team, const hy_row<T, N, V> &x, int pieces, int C,
                                                  bool layer, float eps, float *mean, float *rstd) {
    float m[1] = {0}, s[1] = {0};
    if (layer) {
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = x.at(k, i);
#pragma unroll
            for (int j = 0; j < N; j++) m[0] += a[j];
        }
        team.sum(m);
        m[0] /= (float)C;
    }
    HY_EACH_PIECE(k, i, pieces) {
        const hy_piece<T, N> a = x.at(k, i);
#pragma unroll
        for (int j = 0; j < N; j++) s[0] += (a[j] - m[0]) * (a[j] - m[0]);
    }
    team.sum(s);
    *mean = m[0];
    *rstd = 1.0f / sqrtf(s[0] / (float)C + eps);
}

// Weights of piece k of a thread, 1 without.
template <int N, int V>
static __device__ __forceinline__ hy_piece<float, N> weight_at(const hy_row<float, N, V> &weight, bool has, int k,
                                                               int i) {
    if (has) return weight.at(k, i);
    hy_piece<float, N> one;
#pragma unroll
    for (int j = 0; j < N; j++) one.set(j, 1.0f);
    return one;
}

template <class T, int N, int V>
static __global__ void __launch_bounds__(HY_ROW_THREADS)
    norm(long vectors, int groups, int C, bool layer, float eps, const T *x, int ldx, const float *w, const float *bias,
         T *y, int ldy) {
    HY_SHARED(float, scratch);
    hy_team team = {scratch, 0};
    const int pieces = C / N;
    hy_row<float, N, V> weight;
    if (w) weight.load(w, pieces);
    for (long q = blockIdx.x; q < vectors; q += gridDim.x) {
        hy_row<T, N, V> row;
        row.load(x + vector_at(q, groups, C, ldx), pieces);
        float mean, rstd;
        statistics(team, row, pieces, C, layer, eps, &mean, &rstd);
        T *const out = y + vector_at(q, groups, C, ldy);
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = row.at(k, i);
            const hy_piece<float, N> b = weight_at(weight, w != NULL, k, i);
            hy_piece<float, N> c = {};
            if (bias) c.load(bias + (size_t)i * N);
            hy_piece<T, N> r;
#pragma unroll
            for (int j = 0; j < N; j++)
                r.set(j, bias ? (a[j] - mean) * rstd * b[j] + c[j] : (a[j] - mean) * rstd * b[j]);
            r.store(out + (size_t)i * N);
        }
    }
}

// With g = w dy and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)), where RMS has no mean(g) term. part
// [blocks, C], or with dbias [blocks, 2 C]: the sums of dw, then those of dbias.
template <class T, int N, int V>
static __global__ void __launch_bounds__(HY_ROW_THREADS)
    norm_bwd(long vectors, int groups, int C, bool layer, float eps, const T *x, int ldx, const float *w, const T *dy,
             int lddy, T *dx, int lddx, bool add, float *part, bool want_bias) {
    HY_SHARED(float, scratch);
    hy_team team = {scratch, 0};
    const int pieces = C / N;
    hy_row<float, N, V> weight;
    hy_columns<N, V> dw, db;
    const size_t wide = want_bias ? 2 * (size_t)C : (size_t)C;
    if (w) weight.load(w, pieces);
    if (part) dw.open(part + (size_t)blockIdx.x * wide, pieces);
    if (want_bias) db.open(part + (size_t)blockIdx.x * wide + C, pieces);
    for (long q = blockIdx.x; q < vectors; q += gridDim.x) {
        T *const out = dx ? dx + vector_at(q, groups, C, lddx) : NULL;
        hy_row<T, N, V> row, grad, was;
        row.load(x + vector_at(q, groups, C, ldx), pieces);
        grad.load(dy + vector_at(q, groups, C, lddy), pieces);
        if (add) was.load(out, pieces);
        float mean, rstd, s[2] = {0, 0};  // of g, of g h
        statistics(team, row, pieces, C, layer, eps, &mean, &rstd);
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = row.at(k, i), d = grad.at(k, i);
            const hy_piece<float, N> b = weight_at(weight, w != NULL, k, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float h = (a[j] - mean) * rstd;
                s[0] += b[j] * d[j];
                s[1] += b[j] * d[j] * h;
                if (part) dw.add(k, i, j, d[j] * h);
                if (want_bias) db.add(k, i, j, d[j]);
            }
        }
        if (!dx) continue;
        team.sum(s);
        const float mg = layer ? s[0] / (float)C : 0.0f, mgh = s[1] / (float)C;
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = row.at(k, i), d = grad.at(k, i);
            const hy_piece<float, N> b = weight_at(weight, w != NULL, k, i);
            float r[N];
#pragma unroll
            for (int j = 0; j < N; j++) r[j] = rstd * (b[j] * d[j] - mg - (a[j] - mean) * rstd * mgh);
            hy_put_grad(out + (size_t)i * N, r, add ? was.at(k, i) : hy_piece<T, N>{}, add);
        }
    }
    if (part) dw.close(pieces);
    if (want_bias) db.close(pieces);
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T> static bool wide(const hy_norm_args *a) {
    return a->C % hy_vec<T>::n == 0 && hy_wide<T>(a->x, a->ldx) && hy_wide<float>(a->w, 0) &&
           hy_wide<float>(a->bias, 0);
}

template <class T, int N, int V> static hy_status launch(const hy_norm_args *a) {
    const long vectors = (long)a->rows * a->groups;
    const int threads = hy_row_threads(vectors, a->C / N);
    HY_LAUNCH((norm<T, N, V>), hy_row_blocks(vectors, threads), threads, HY_TEAM_BYTES, vectors, a->groups, a->C,
              a->kind == HY_NORM_LAYER, (float)a->eps, (const T *)a->x, a->ldx, (const float *)a->w,
              (const float *)a->bias, (T *)a->y, a->ldy);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_norm_args *a = (const hy_norm_args *)args;
    (void)ws, (void)req;
    if (a->rows == 0) return HY_OK;
    constexpr int n = hy_vec<T>::n;
    if (!wide<T>(a) || !hy_wide<T>(a->y, a->ldy)) return launch<T, 1, 0>(a);
    return hy_row_fits(a->C / n) ? launch<T, n, HY_ROW_HELD>(a) : launch<T, n, 0>(a);
}

// Blocks of backward, and so rows of partial sums: by the sizes alone, also where pieces turn out to be single
// elements.
static int parts_of(const hy_norm_args *a, hy_dtype dtype) {
    const long vectors = (long)a->rows * a->groups;
    return hy_sum_blocks(vectors, hy_row_threads(vectors, hy_ceil_div(a->C, 16 / (long)hy_dtype_size(dtype))));
}
template <class T, int N, int V> static hy_status launch_bwd(const hy_norm_bwd_args *b, float *part, int blocks) {
    const hy_norm_args *a = &b->f;
    const long vectors = (long)a->rows * a->groups;
    HY_LAUNCH((norm_bwd<T, N, V>), blocks, hy_row_threads(vectors, a->C / N), HY_TEAM_BYTES, vectors, a->groups, a->C,
              a->kind == HY_NORM_LAYER, (float)a->eps, (const T *)a->x, a->ldx, (const float *)a->w, (const T *)b->dy,
              b->lddy, (T *)b->dx, b->lddx, b->dx && b->acc & 1, b->dw || b->dbias ? part : NULL, b->dbias != NULL);
    if (!b->dw && !b->dbias) return HY_OK;
    return hy_cuda_add_columns(part, blocks, (float *)b->dw, (size_t)a->C, (float *)b->dbias,
                               b->dbias ? (size_t)a->C : 0);
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_norm_bwd_args *b = (const hy_norm_bwd_args *)args;
    if (b->f.rows == 0 || (!b->dx && !b->dw && !b->dbias)) return HY_OK;
    constexpr int n = hy_vec<T>::n;
    const int blocks = parts_of(&b->f, req->dtype);
    float *const part = (float *)ws;
    if (!wide<T>(&b->f) || !hy_wide<T>(b->dy, b->lddy) || (b->dx && !hy_wide<T>(b->dx, b->lddx)))
        return launch_bwd<T, 1, 0>(b, part, blocks);
    return hy_row_fits(b->f.C / n) ? launch_bwd<T, n, HY_ROW_HELD>(b, part, blocks)
                                   : launch_bwd<T, n, 0>(b, part, blocks);
}

static hy_status check(const char *op, const hy_norm_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->rows >= 0 && a->groups >= 1 && a->C >= 1 && a->groups <= INT32_MAX / a->C);
    HY_NEED(op, a->kind == HY_NORM_RMS || a->kind == HY_NORM_LAYER);
    HY_NEED(op, a->eps >= 0 && a->ldx >= a->groups * a->C);
    return HY_OK;
}

hy_status hy_cuda_plan_norm(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_norm_args *a = (const hy_norm_args *)args;
    HY_TRY(check("norm", a, req));
    HY_NEED("norm", a->ldy >= a->groups * a->C);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}

hy_status hy_cuda_plan_norm_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_norm_bwd_args *b = (const hy_norm_bwd_args *)args;
    HY_TRY(check("norm_bwd", &b->f, req));
    HY_NEED("norm_bwd", b->lddy >= b->f.groups * b->f.C && (!b->dx || b->lddx >= b->f.groups * b->f.C));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    if (b->dw || b->dbias)
        out->workspace = (size_t)parts_of(&b->f, req->dtype) * b->f.C * (b->dbias ? 2 : 1) * sizeof(float);
    return HY_OK;
}
