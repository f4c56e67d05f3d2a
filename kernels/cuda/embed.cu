// embed.cu - copies of rows by index: embed and gather. The gradient of embed is in embed_bwd.cu.
#include "kernels/cuda/rows.cuh"

enum { EACH = 4 };  // rows of a thread whose loads are under way together

// y[i] = row idx[i] of `from`, and for an index below 0 row -idx[i]-1 of meta (float32).
template <class T, class S, int N>
static __global__ void copy_rows(int n, int C, const int32_t *idx, const S *from, int ld, const float *meta, T *y,
                                 int ldy) {
    HY_EACH_UNIT(u, C / N) {
        const size_t c = (size_t)u * N;
        float a[EACH][N];
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= n) continue;
            const int id = idx[r];
            if (id >= 0) {
                hy_piece<S, N> p;
                p.load(from + (size_t)id * ld + c);
#pragma unroll
                for (int j = 0; j < N; j++) a[k][j] = p[j];
            } else {
                hy_piece<float, N> p;
                p.load(meta + (size_t)(-(id + 1)) * C + c);
#pragma unroll
                for (int j = 0; j < N; j++) a[k][j] = p[j];
            }
        }
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const long r = hy_tile_row(k, EACH);
            if (r >= n) continue;
            hy_piece<T, N> p;
#pragma unroll
            for (int j = 0; j < N; j++) p.set(j, a[k][j]);
            p.store(y + (size_t)r * ldy + c);
        }
    }
}

template <class T, class S, int N>
static hy_status launch(int n, int C, const int32_t *idx, const void *from, int ld, const void *meta, void *y,
                        int ldy) {
    const hy_tiles t = hy_tile_rows(n, C / N, EACH);
    HY_LAUNCH((copy_rows<T, S, N>), t.grid, t.block, 0, n, C, idx, (const S *)from, ld, (const float *)meta, (T *)y,
              ldy);
    return HY_OK;
}
template <class T, class S>
static hy_status choose(int n, int C, const int32_t *idx, const void *from, int ld, const void *meta, void *y,
                        int ldy) {
    constexpr int N = hy_vec<T>::n > hy_vec<S>::n ? hy_vec<T>::n : hy_vec<S>::n;
    if (n == 0) return HY_OK;
    if (C % N == 0 && hy_wide<S>(from, ld) && hy_wide<float>(meta, 0) && hy_wide<T>(y, ldy))
        return launch<T, S, N>(n, C, idx, from, ld, meta, y, ldy);
    return launch<T, S, 1>(n, C, idx, from, ld, meta, y, ldy);
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T> static hy_status run_embed(const void *args, void *ws, const hy_plan_req *req) {
    const hy_embed_args *a = (const hy_embed_args *)args;
    (void)ws, (void)req;
    const auto run = a->w_dtype == HY_BF16 ? choose<T, hy_bf16> : choose<T, float>;
    return run(a->rows, a->C, a->ids, a->table, a->C, a->meta, a->y, a->ldy);
}
template <class T> static hy_status run_gather(const void *args, void *ws, const hy_plan_req *req) {
    const hy_gather_args *a = (const hy_gather_args *)args;
    (void)ws, (void)req;
    return choose<T, T>(a->n, a->C, a->idx, a->x, a->ldx, NULL, a->y, a->ldy);
}

hy_status hy_cuda_plan_embed(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_embed_args *a = (const hy_embed_args *)args;
    HY_NEED_TYPE("embed", req);
    HY_NEED("embed", a->rows >= 0 && a->C >= 1 && a->V >= 1 && a->m >= 0 && a->ldy >= a->C);
    *out = hy_launch{};
    out->path = req->dtype == HY_F32 && a->w_dtype == HY_BF16 ? "cuda (bf16 weights)" : hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_embed);
    return HY_OK;
}

hy_status hy_cuda_plan_gather(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_gather_args *a = (const hy_gather_args *)args;
    HY_NEED_TYPE("gather", req);
    HY_NEED("gather", a->n >= 0 && a->C >= 1 && a->ldx >= a->C && a->ldy >= a->C);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_gather);
    return HY_OK;
}
