// gated_norm.cu - a gate with or without RMSNorm over groups of C, forward and backward. A block belongs to one group,
// owns a vector of it at a time and keeps it in registers, so that x, gate and dy are read once.
#include "kernels/cuda/rows.cuh"

// y = (h rstd w) s, where h = x silu(gate), s = 1 (GATE_FIRST) or h = x, s = silu(gate); without a norm rstd = w = 1.
struct shape {
    int rows, groups, C;
    hy_gated_kind kind;
    float eps;
};
static __device__ __forceinline__ float rstd_of(const shape &f, float square_sum) {
    return 1.0f / sqrtf(square_sum / (float)f.C + f.eps);
}

template <class T, int N, int V>
static __global__ void __launch_bounds__(HY_ROW_THREADS)
    gated_norm(shape f, const T *x, int ldx, const T *gate, int ldgate, const float *w, T *y, int ldy) {
    HY_SHARED(float, scratch);
    hy_team team = {scratch, 0};
    const int pieces = f.C / N, strips = (int)(gridDim.x / (unsigned)f.groups);
    const size_t off = (size_t)(blockIdx.x % (unsigned)f.groups) * f.C;
    hy_row<float, N, V> weight;
    if (w) weight.load(w + off, pieces);
    for (int r = (int)(blockIdx.x / (unsigned)f.groups); r < f.rows; r += strips) {
        hy_row<T, N, V> xs, gs;
        xs.load(x + (size_t)r * ldx + off, pieces);
        gs.load(gate + (size_t)r * ldgate + off, pieces);
        float rstd = 1;
        if (f.kind != HY_GATED_ONLY) {
            float s[1] = {0};
            HY_EACH_PIECE(k, i, pieces) {
                const hy_piece<T, N> a = xs.at(k, i), g = gs.at(k, i);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    const float h = f.kind == HY_GATED_GATE_FIRST ? a[j] * hy_silu(g[j]) : a[j];
                    s[0] += h * h;
                }
            }
            team.sum(s);
            rstd = rstd_of(f, s[0]);
        }
        T *const out = y + (size_t)r * ldy + off;
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = xs.at(k, i), g = gs.at(k, i);
            hy_piece<float, N> b;
            hy_piece<T, N> z;
            if (w) b = weight.at(k, i);
#pragma unroll
            for (int j = 0; j < N; j++) z.set(j, a[j] * hy_silu(g[j]) * rstd * (w ? b[j] : 1.0f));
            z.store(out + (size_t)i * N);
        }
    }
}

// What the passes of backward have of one channel: h, s and the gate's silu and its derivative.
struct channel {
    float h, s, silu, dsilu;
};
static __device__ __forceinline__ channel look(hy_gated_kind kind, float x, float g) {
    channel c;
    const float sig = hy_sigmoid(g);
    c.silu = g * sig;
    c.dsilu = sig * (1.0f + g * (1.0f - sig));
    c.h = kind == HY_GATED_GATE_FIRST ? x * c.silu : x;
    c.s = kind == HY_GATED_GATE_FIRST ? 1.0f : c.silu;
    return c;
}

// With n = h rstd and u = dy w s: dh = rstd (u - n mean(u n)), and without a norm dh = u. part [strips, groups * C].
template <class T, int N, int V>
static __global__ void __launch_bounds__(HY_ROW_THREADS)
    gated_norm_bwd(shape f, const T *x, int ldx, const T *gate, int ldgate, const float *w, const T *dy, int lddy,
                   T *dx, int lddx, T *dgate, int lddgate, unsigned acc, float *part) {
    HY_SHARED(float, scratch);
    hy_team team = {scratch, 0};
    const int pieces = f.C / N, strips = (int)(gridDim.x / (unsigned)f.groups),
              strip = (int)(blockIdx.x / (unsigned)f.groups);
    const size_t off = (size_t)(blockIdx.x % (unsigned)f.groups) * f.C;
    const bool add_x = dx && acc & 1, add_g = dgate && acc & 2;
    hy_columns<N, V> dw;
    if (part) dw.open(part + (size_t)strip * f.groups * f.C + off, pieces);
    for (int r = strip; r < f.rows; r += strips) {
        hy_row<T, N, V> xs, gs, ds, was_x, was_g;
        T *const to_x = dx ? dx + (size_t)r * lddx + off : NULL, *const to_g =
                                                                     dgate ? dgate + (size_t)r * lddgate + off : NULL;
        xs.load(x + (size_t)r * ldx + off, pieces);
        gs.load(gate + (size_t)r * ldgate + off, pieces);
        ds.load(dy + (size_t)r * lddy + off, pieces);
        if (add_x) was_x.load(to_x, pieces);
        if (add_g) was_g.load(to_g, pieces);
        float rstd = 1, mean = 0;  // of u n
        if (f.kind != HY_GATED_ONLY) {
            float s[2] = {0, 0};  // of h^2, of u h
            HY_EACH_PIECE(k, i, pieces) {
                const hy_piece<T, N> a = xs.at(k, i), g = gs.at(k, i), d = ds.at(k, i);
                hy_piece<float, N> b;
                b.load(w + off + (size_t)i * N);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    const channel c = look(f.kind, a[j], g[j]);
                    s[0] += c.h * c.h;
                    s[1] += d[j] * b[j] * c.s * c.h;
                }
            }
            team.sum(s);
            rstd = rstd_of(f, s[0]);
            mean = s[1] * rstd / (float)f.C;
        }
        HY_EACH_PIECE(k, i, pieces) {
            const hy_piece<T, N> a = xs.at(k, i), g = gs.at(k, i), d = ds.at(k, i);
            hy_piece<float, N> b;
            if (w) b.load(w + off + (size_t)i * N);
            float gx[N], gg[N];
#pragma unroll
            for (int j = 0; j < N; j++) {
                const channel c = look(f.kind, a[j], g[j]);
                const float n = c.h * rstd, dyw = w ? d[j] * b[j] : d[j], dh = rstd * (dyw * c.s - n * mean);
                gx[j] = f.kind == HY_GATED_GATE_FIRST ? dh * c.silu : dh;
                gg[j] = (f.kind == HY_GATED_GATE_FIRST ? dh * a[j] : dyw * n) * c.dsilu;
                if (part) dw.add(k, i, j, d[j] * c.s * n);
            }
            if (dx) hy_put_grad(to_x + (size_t)i * N, gx, add_x ? was_x.at(k, i) : hy_piece<T, N>{}, add_x);
            if (dgate) hy_put_grad(to_g + (size_t)i * N, gg, add_g ? was_g.at(k, i) : hy_piece<T, N>{}, add_g);
        }
    }
    if (part) dw.close(pieces);
}

// ---------------------------------------------------------------------------------------------------- plans
static shape shape_of(const hy_gated_norm_args *a) {
    const shape f = {a->rows, a->groups, a->C, a->kind, (float)a->eps};
    return f;
}
static int threads_of(const hy_gated_norm_args *a, int n) {
    return hy_row_threads((long)a->rows * a->groups, hy_ceil_div(a->C, n));
}
// Blocks of a group.
static int strips_of(const hy_gated_norm_args *a, int blocks) {
    const int strips = blocks / a->groups;
    return strips < 1 ? 1 : strips < a->rows ? strips : a->rows;
}
static int sum_strips(const hy_gated_norm_args *a, hy_dtype dtype) {
    return strips_of(a, hy_sum_blocks((long)a->rows * a->groups, threads_of(a, 16 / (int)hy_dtype_size(dtype))));
}
template <class T> static bool wide(const hy_gated_norm_args *a) {
    return a->C % hy_vec<T>::n == 0 && hy_wide<T>(a->x, a->ldx) && hy_wide<T>(a->gate, a->ldgate) &&
           hy_wide<float>(a->w, 0);
}

template <class T, int N, int V> static hy_status launch(const hy_gated_norm_args *a) {
    const int threads = threads_of(a, N), strips = strips_of(a, hy_row_blocks((long)a->rows * a->groups, threads));
    HY_LAUNCH((gated_norm<T, N, V>), (unsigned)strips * (unsigned)a->groups, threads, HY_TEAM_BYTES, shape_of(a),
              (const T *)a->x, a->ldx, (const T *)a->gate, a->ldgate, (const float *)a->w, (T *)a->y, a->ldy);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_gated_norm_args *a = (const hy_gated_norm_args *)args;
    constexpr int n = hy_vec<T>::n;
    (void)ws, (void)req;
    if (a->rows == 0) return HY_OK;
    if (!wide<T>(a) || !hy_wide<T>(a->y, a->ldy)) return launch<T, 1, 0>(a);
    return hy_row_fits(a->C / n) ? launch<T, n, HY_ROW_HELD>(a) : launch<T, n, 0>(a);
}

template <class T, int N, int V> static hy_status launch_bwd(const hy_gated_norm_bwd_args *b, float *part, int strips) {
    const hy_gated_norm_args *a = &b->f;
    HY_LAUNCH((gated_norm_bwd<T, N, V>), (unsigned)strips * (unsigned)a->groups, threads_of(a, N), HY_TEAM_BYTES,
              shape_of(a), (const T *)a->x, a->ldx, (const T *)a->gate, a->ldgate, (const float *)a->w,
              (const T *)b->dy, b->lddy, (T *)b->dx, b->lddx, (T *)b->dgate, b->lddgate, b->acc, b->dw ? part : NULL);
    return b->dw ? hy_cuda_add_columns(part, strips, (float *)b->dw, (size_t)a->groups * a->C, NULL, 0) : HY_OK;
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_gated_norm_bwd_args *b = (const hy_gated_norm_bwd_args *)args;
    const hy_gated_norm_args *a = &b->f;
    constexpr int n = hy_vec<T>::n;
    float *const part = (float *)ws;
    if (a->rows == 0) return HY_OK;
    const int strips = sum_strips(a, req->dtype);
    if (!wide<T>(a) || !hy_wide<T>(b->dy, b->lddy) || (b->dx && !hy_wide<T>(b->dx, b->lddx)) ||
        (b->dgate && !hy_wide<T>(b->dgate, b->lddgate)))
        return launch_bwd<T, 1, 0>(b, part, strips);
    return hy_row_fits(a->C / n) ? launch_bwd<T, n, HY_ROW_HELD>(b, part, strips)
                                 : launch_bwd<T, n, 0>(b, part, strips);
}

static hy_status check(const char *op, const hy_gated_norm_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->rows >= 0 && a->groups >= 1 && a->C >= 1 && a->groups <= INT32_MAX / a->C);
    HY_NEED(op, a->kind == HY_GATED_ONLY || a->kind == HY_GATED_GATE_FIRST || a->kind == HY_GATED_NORM_FIRST);
    HY_NEED(op, (a->w == NULL) == (a->kind == HY_GATED_ONLY));
    HY_NEED(op, a->eps >= 0 && a->ldx >= a->groups * a->C && a->ldgate >= a->groups * a->C);
    return HY_OK;
}

hy_status hy_cuda_plan_gated_norm(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_gated_norm_args *a = (const hy_gated_norm_args *)args;
    HY_TRY(check("gated_norm", a, req));
    HY_NEED("gated_norm", a->ldy >= a->groups * a->C);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}

hy_status hy_cuda_plan_gated_norm_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_gated_norm_bwd_args *b = (const hy_gated_norm_bwd_args *)args;
    const int wide = b->f.groups * b->f.C;
    HY_TRY(check("gated_norm_bwd", &b->f, req));
    HY_NEED("gated_norm_bwd", b->lddy >= wide && (!b->dx || b->lddx >= wide) && (!b->dgate || b->lddgate >= wide));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    if (b->dw && b->f.rows) out->workspace = (size_t)sum_strips(&b->f, req->dtype) * (size_t)wide * sizeof(float);
    return HY_OK;
}
