// act.cu - silu-gated and squared-relu activations, forward and backward, elementwise.
#include "kernels/cuda/rows.cuh"

enum { EACH = 2 };  // rows of a thread whose loads are under way together

// Of gate and up, or of the one input of RELU2 (`up` is not looked at).
static __device__ __forceinline__ float act_of(hy_act_kind kind, float x, float up) {
    if (kind == HY_ACT_SILU_GLU) return hy_silu(x) * up;
    return x > 0 || x != x ? x * x : 0;  // keeps a NaN
}

template <class T, int N>
static __global__ void act(int rows, int F, hy_act_kind kind, const T *x, int ldx, T *y, int ldy) {
    HY_EACH_UNIT(u, F / N) {
        const size_t c = (size_t)u * N;
        hy_piece<T, N> g[EACH], up[EACH];
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= rows) continue;
            g[k].load(x + (size_t)r * ldx + c);
            if (kind == HY_ACT_SILU_GLU)
                up[k].load(x + (size_t)r * ldx + F + c);
            else
                up[k] = g[k];
        }
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= rows) continue;
            hy_piece<T, N> z;
#pragma unroll
            for (int j = 0; j < N; j++) z.set(j, act_of(kind, g[k][j], up[k][j]));
            z.store(y + (size_t)r * ldy + c);
        }
    }
}

template <class T, int N>
static __global__ void act_bwd(int rows, int F, hy_act_kind kind, const T *x, int ldx, const T *dy, int lddy, T *dx,
                               int lddx, bool add) {
    const bool glu = kind == HY_ACT_SILU_GLU;
    HY_EACH_UNIT(u, F / N) {
        const size_t c = (size_t)u * N;
        hy_piece<T, N> g[EACH], up[EACH], d[EACH], was[EACH][2];
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= rows) continue;
            g[k].load(x + (size_t)r * ldx + c);
            d[k].load(dy + (size_t)r * lddy + c);
            if (glu)
                up[k].load(x + (size_t)r * ldx + F + c);
            else
                up[k] = g[k];
            if (add) was[k][0].load(dx + (size_t)r * lddx + c);
            if (add && glu) was[k][1].load(dx + (size_t)r * lddx + F + c);
        }
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= rows) continue;
            float dg[N], du[N];
#pragma unroll
            for (int j = 0; j < N; j++) {
                if (glu) {
                    dg[j] = d[k][j] * up[k][j] * hy_silu_grad(g[k][j]);
                    du[j] = d[k][j] * hy_silu(g[k][j]);
                } else {
                    dg[j] = g[k][j] > 0 ? 2.0f * g[k][j] * d[k][j] : 0.0f;
                }
            }
            hy_put_grad(dx + (size_t)r * lddx + c, dg, was[k][0], add);
            if (glu) hy_put_grad(dx + (size_t)r * lddx + F + c, du, was[k][1], add);
        }
    }
}

// ---------------------------------------------------------------------------------------------------- plans
static int width_in(const hy_act_args *a) { return a->kind == HY_ACT_SILU_GLU ? 2 * a->F : a->F; }

template <class T, int N> static hy_status launch(const hy_act_args *a) {
    const hy_tiles t = hy_tile_rows(a->rows, a->F / N, EACH);
    HY_LAUNCH((act<T, N>), t.grid, t.block, 0, a->rows, a->F, a->kind, (const T *)a->x, a->ldx, (T *)a->y, a->ldy);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_act_args *a = (const hy_act_args *)args;
    constexpr int n = hy_vec<T>::n;
    (void)ws, (void)req;
    if (a->rows == 0) return HY_OK;
    if (a->F % n == 0 && hy_wide<T>(a->x, a->ldx) && hy_wide<T>(a->y, a->ldy)) return launch<T, n>(a);
    return launch<T, 1>(a);
}

template <class T, int N> static hy_status launch_bwd(const hy_act_bwd_args *b) {
    const hy_act_args *a = &b->f;
    const hy_tiles t = hy_tile_rows(a->rows, a->F / N, EACH);
    HY_LAUNCH((act_bwd<T, N>), t.grid, t.block, 0, a->rows, a->F, a->kind, (const T *)a->x, a->ldx, (const T *)b->dy,
              b->lddy, (T *)b->dx, b->lddx, (b->acc & 1) != 0);
    return HY_OK;
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_act_bwd_args *b = (const hy_act_bwd_args *)args;
    constexpr int n = hy_vec<T>::n;
    (void)ws, (void)req;
    if (b->f.rows == 0 || !b->dx) return HY_OK;
    if (b->f.F % n == 0 && hy_wide<T>(b->f.x, b->f.ldx) && hy_wide<T>(b->dy, b->lddy) && hy_wide<T>(b->dx, b->lddx))
        return launch_bwd<T, n>(b);
    return launch_bwd<T, 1>(b);
}

static hy_status check(const char *op, const hy_act_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->kind == HY_ACT_SILU_GLU || a->kind == HY_ACT_RELU2);
    HY_NEED(op, a->rows >= 0 && a->F >= 1 && a->F <= INT32_MAX / 2 && a->ldx >= width_in(a));
    return HY_OK;
}

hy_status hy_cuda_plan_act(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_act_args *a = (const hy_act_args *)args;
    HY_TRY(check("act", a, req));
    HY_NEED("act", a->ldy >= a->F);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}

hy_status hy_cuda_plan_act_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_act_bwd_args *b = (const hy_act_bwd_args *)args;
    HY_TRY(check("act_bwd", &b->f, req));
    HY_NEED("act_bwd", b->lddy >= b->f.F && b->lddx >= width_in(&b->f));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    return HY_OK;
}
