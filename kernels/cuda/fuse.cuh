// fuse.cuh - what fuse.cu and fuse_bwd.cu share: the sizes, what a norm's output is multiplied by, the check.
#ifndef HY_FUSE_CUH
#define HY_FUSE_CUH
#include "kernels/cuda/rows.cuh"

struct fuse_shape {
    int rows, Ca, Cs, per;  // per: channels that share a gate value
    hy_fuse_kind kind;
    float eps, by_a, by_s;  // MEAN: the factors of the branches with the 1/2
};
static inline fuse_shape fuse_shape_of(const hy_fuse_args *a) {
    const double half = a->kind == HY_FUSE_MEAN ? 0.5 : 1;
    const fuse_shape f = {a->rows,
                          a->Ca,
                          a->Cs,
                          a->kind == HY_FUSE_GATE ? a->Ca / a->G : a->Ca,
                          a->kind,
                          (float)a->eps,
                          (float)(half * a->by_a),
                          (float)(half * a->by_s)};
    return f;
}
static __device__ __forceinline__ float fuse_rstd(float square_sum, int C, float eps) {
    return 1.0f / sqrtf(square_sum / (float)C + eps);
}

// What the norms' outputs are multiplied by: the factor of the branch, and with a gate g for a and 1 - g for s.
template <class T> struct fuse_share {
    const T *gate;  // of this row, or NULL
    int per;
    float by_a, by_s;
    __device__ __forceinline__ float value(int c) const {
        return hy_sigmoid(hy_load(gate + (unsigned)c / (unsigned)per));
    }
    // Of the N channels of piece i.
    template <int N> __device__ __forceinline__ void of(int i, float (&a)[N], float (&s)[N]) const {
        float g = 1, rest = 1;
        if (gate) g = value(i * N), rest = 1.0f - g;
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (gate && j && per % N) g = value(i * N + j), rest = 1.0f - g;  // otherwise the piece shares one value
            a[j] = by_a * g, s[j] = by_s * rest;
        }
    }
};

static inline int fuse_widest(const hy_fuse_args *a) { return a->Ca > a->Cs ? a->Ca : a->Cs; }
static inline int fuse_threads(const hy_fuse_args *a, int n) {
    return hy_row_threads(a->rows, hy_ceil_div(fuse_widest(a), n));
}
template <class T> static inline bool fuse_wide(const hy_fuse_args *a) {
    return a->Ca % hy_vec<T>::n == 0 && a->Cs % hy_vec<T>::n == 0 && hy_wide<T>(a->a, a->lda) &&
           hy_wide<T>(a->s, a->lds) && hy_wide<float>(a->wa, 0) && hy_wide<float>(a->ws, 0);
}

static inline hy_status fuse_check(const char *op, const hy_fuse_args *a, const hy_plan_req *req) {
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->kind == HY_FUSE_MEAN || a->kind == HY_FUSE_CONCAT || a->kind == HY_FUSE_GATE);
    HY_NEED(op, a->rows >= 0 && a->Ca >= 1 && a->Cs >= 1 && a->Ca <= INT32_MAX - a->Cs);
    HY_NEED(op, a->by_a != 0 && a->by_s != 0);
    HY_NEED(op, a->eps >= 0 && a->lda >= a->Ca && a->lds >= a->Cs);
    if (a->kind != HY_FUSE_CONCAT) HY_NEED(op, a->Ca == a->Cs);
    if (a->kind == HY_FUSE_GATE) HY_NEED(op, a->G >= 1 && a->Ca % a->G == 0 && a->ldgate >= a->G);
    return HY_OK;
}
#endif
