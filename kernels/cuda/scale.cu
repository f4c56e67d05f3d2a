// scale.cu - columns times factors, forward and backward: one kernel serves both.
#include "kernels/cuda/rows.cuh"

enum { EACH = 4 };  // rows of a thread whose loads are under way together

struct factors {
    int n, end[HY_SCALE_PARTS];
    float by[HY_SCALE_PARTS];
};
static __device__ __forceinline__ float factor(const factors &p, int c) {
    float f = p.by[0];
#pragma unroll
    for (int i = 1; i < HY_SCALE_PARTS; i++)
        if (i < p.n && c >= p.end[i - 1]) f = p.by[i];
    return f;
}

// y = or += x times the factor of the column.
template <class T, int N>
static __global__ void scale(int rows, int C, factors parts, const T *x, int ldx, T *y, int ldy, bool add) {
    HY_EACH_UNIT(u, C / N) {
        const size_t c = (size_t)u * N;
        hy_piece<T, N> a[EACH], was[EACH];
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= rows) continue;
            a[k].load(x + (size_t)r * ldx + c);
            if (add) was[k].load(y + (size_t)r * ldy + c);
        }
        float f[N];
#pragma unroll
        for (int j = 0; j < N; j++) f[j] = factor(parts, (int)c + j);
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= rows) continue;
            float z[N];
#pragma unroll
            for (int j = 0; j < N; j++) z[j] = a[k][j] * f[j];
            hy_put_grad(y + (size_t)r * ldy + c, z, was[k], add);
        }
    }
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T, int N>
static hy_status launch(const hy_scale_args *a, const void *x, int ldx, void *y, int ldy, bool add) {
    const hy_tiles t = hy_tile_rows(a->rows, a->C / N, EACH);
    factors p = {};
    p.n = a->parts.n;
    for (int i = 0; i < p.n; i++) p.end[i] = a->parts.end[i], p.by[i] = (float)a->parts.by[i];
    HY_LAUNCH((scale<T, N>), t.grid, t.block, 0, a->rows, a->C, p, (const T *)x, ldx, (T *)y, ldy, add);
    return HY_OK;
}
template <class T> static hy_status choose(const hy_scale_args *a, const void *x, int ldx, void *y, int ldy, bool add) {
    constexpr int n = hy_vec<T>::n;
    if (a->rows == 0) return HY_OK;
    if (a->C % n == 0 && hy_wide<T>(x, ldx) && hy_wide<T>(y, ldy)) return launch<T, n>(a, x, ldx, y, ldy, add);
    return launch<T, 1>(a, x, ldx, y, ldy, add);
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scale_args *a = (const hy_scale_args *)args;
    (void)ws, (void)req;
    return choose<T>(a, a->x, a->ldx, a->y, a->ldy, false);
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_scale_bwd_args *b = (const hy_scale_bwd_args *)args;
    (void)ws, (void)req;
    return b->dx ? choose<T>(&b->f, b->dy, b->lddy, b->dx, b->lddx, b->acc & 1) : HY_OK;
}

static hy_status check(const char *op, const hy_scale_args *a, const hy_plan_req *req) {
    const hy_scale_parts *p = &a->parts;
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->rows >= 0 && a->C >= 1 && a->ldx >= a->C);
    HY_NEED(op, p->n >= 1 && p->n <= HY_SCALE_PARTS && p->end[0] >= 1 && p->end[p->n - 1] == a->C);
    for (int i = 1; i < p->n; i++) HY_NEED(op, p->end[i] > p->end[i - 1]);
    return HY_OK;
}

hy_status hy_cuda_plan_scale(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scale_args *a = (const hy_scale_args *)args;
    HY_TRY(check("scale", a, req));
    HY_NEED("scale", a->ldy >= a->C);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}

hy_status hy_cuda_plan_scale_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scale_bwd_args *b = (const hy_scale_bwd_args *)args;
    HY_TRY(check("scale_bwd", &b->f, req));
    HY_NEED("scale_bwd", b->lddy >= b->f.C && b->lddx >= b->f.C);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    return HY_OK;
}
