// rope.cu - rotary embedding and its gradient, the opposite rotation. The host computes how many turns each pair makes
// a position, in double; a thread takes the angle of its position and pairs modulo one turn, also in double, so that
// positions of any size lose nothing, and uses its cosines for several heads. x and y may be the same buffer.
#include "kernels/cuda/rows.cuh"
#include "kernels/rope_rule.h"

enum {
    PAIRS = 128,  // of a launch: heads of up to 256 values need one
    THREADS = 256,
    EACH = 2,  // heads of a thread whose loads are under way together
};
struct turns {
    double of[PAIRS];  // a position
};

// cos and sign * sin of 2 pi turns.
static __device__ __forceinline__ void rotation(double turns, float sign, float *c, float *s) {
    const float half = 2.0f * (float)(turns - rint(turns));  // half turns, -1 .. 1
    sincospif(half, s, c);
    *s *= sign;
}

// Threads go over pieces of pairs, then over `split` parts of the heads, then over rows. Pairs first .. first + pairs
// - 1 of those whose values begin at `at` of each head, `half` apart.
template <class T, int N>
static __global__ void __launch_bounds__(THREADS)
    rope(long rows, int T_, int heads, int d, int at, int half, int first, int pairs, int split, turns f,
         const int32_t *pos, const T *x, int ldx, T *y, int ldy, float sign, bool add) {
    const int units = pairs / N;
    const long i = (long)blockIdx.x * THREADS + threadIdx.x, rest = i / units, r = rest / split;
    const int u = (int)(i % units), part = (int)(rest % split), p = at + first + u * N;
    if (r >= rows) return;
    const int position = pos[r / T_] + (int)(r % T_);
    float c[N], s[N];
#pragma unroll
    for (int j = 0; j < N; j++) rotation(position * f.of[u * N + j], sign, &c[j], &s[j]);
    for (int h0 = part; h0 < heads; h0 += EACH * split) {
        hy_piece<T, N> a[EACH], b[EACH], was[EACH][2];
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const int h = h0 + k * split;
            if (h >= heads) continue;
            const T *const from = x + (size_t)r * ldx + (size_t)h * d + p;
            const T *const to = y + (size_t)r * ldy + (size_t)h * d + p;
            a[k].load(from), b[k].load(from + half);
            if (add) was[k][0].load(to), was[k][1].load(to + half);
        }
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const int h = h0 + k * split;
            if (h >= heads) continue;
            T *const to = y + (size_t)r * ldy + (size_t)h * d + p;
            float y1[N], y2[N];
#pragma unroll
            for (int j = 0; j < N; j++) {
                y1[j] = a[k][j] * c[j] - b[k][j] * s[j];
                y2[j] = b[k][j] * c[j] + a[k][j] * s[j];
            }
            hy_put_grad(to, y1, was[k][0], add);
            hy_put_grad(to + half, y2, was[k][1], add);
        }
    }
}

// Parts of the heads so that short calls fill the device too: one where rows alone do.
static int split_of(long rows, int units, int heads) {
    const long want = (long)hy_cuda()->sms * 1024 / (rows * units) + 1;
    return (int)(want < heads ? want : heads);
}
// The pairs of `half` values from `at` on. Those that do not turn go through as pairs of no turns: times 1, plus 0.
template <class T, int N>
static hy_status launch(const hy_rope_args *a, int at, int half, const void *x, int ldx, void *y, int ldy, float sign,
                        bool add) {
    const long rows = (long)a->B * a->T;
    for (int first = 0; first < half; first += PAIRS) {
        const int left = half - first, pairs = left < PAIRS ? left : PAIRS, split = split_of(rows, pairs / N, a->heads);
        turns f;
        for (int i = 0; i < PAIRS; i++)
            f.of[i] = i < pairs && at == 0 ? hy_rope_frequency(a, first + i) / 6.283185307179586477 : 0;
        const unsigned blocks = (unsigned)((rows * split * (pairs / N) + THREADS - 1) / THREADS);
        HY_LAUNCH((rope<T, N>), blocks, THREADS, 0, rows, a->T, a->heads, a->d, at, half, first, pairs, split, f,
                  a->pos, (const T *)x, ldx, (T *)y, ldy, sign, add);
    }
    return HY_OK;
}
template <class T>
static hy_status choose(const hy_rope_args *a, const void *x, int ldx, void *y, int ldy, float sign, bool add) {
    constexpr int n = hy_vec<T>::n;
    const int turned = hy_rope_turned(a), halves[] = {turned / 2, (a->d - turned) / 2};
    const bool wide = hy_wide<T>(x, ldx) && hy_wide<T>(y, ldy) && a->d % n == 0 && turned % n == 0;
    for (int i = 0; i < 2; i++) {
        const int at = i * turned, half = halves[i];
        if (half == 0 || (at > 0 && x == y && !add)) continue;
        if (wide && half % n == 0)
            HY_TRY((launch<T, n>(a, at, half, x, ldx, y, ldy, sign, add)));
        else
            HY_TRY((launch<T, 1>(a, at, half, x, ldx, y, ldy, sign, add)));
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- plans
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_rope_args *a = (const hy_rope_args *)args;
    (void)ws, (void)req;
    return choose<T>(a, a->x, a->ldx, a->y, a->ldy, 1.0f, false);
}
template <class T> static hy_status run_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_rope_bwd_args *g = (const hy_rope_bwd_args *)args;
    (void)ws, (void)req;
    return g->dx ? choose<T>(&g->f, g->dy, g->lddy, g->dx, g->lddx, -1.0f, g->acc & 1) : HY_OK;
}

static hy_status check(const char *op, const hy_rope_args *a, const hy_plan_req *req) {
    const hy_rope_scale *s = &a->scale;
    HY_NEED_TYPE(op, req);
    HY_NEED(op, a->B >= 1 && a->T >= 1 && a->T <= INT32_MAX / a->B && a->heads >= 1);
    HY_NEED(op, a->d >= 2 && a->d % 2 == 0 && a->base > 0);
    HY_NEED(op, a->turned >= 0 && a->turned <= a->d && a->turned % 2 == 0);
    HY_NEED(op, s->factor >= 0 && s->length >= 0 && (s->length == 0 || s->low < s->high));
    return HY_OK;
}

hy_status hy_cuda_plan_rope(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_rope_args *a = (const hy_rope_args *)args;
    HY_TRY(check("rope", a, req));
    HY_NEED("rope", a->ldx / a->heads >= a->d && a->ldy / a->heads >= a->d);
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    return HY_OK;
}

hy_status hy_cuda_plan_rope_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_rope_bwd_args *g = (const hy_rope_bwd_args *)args;
    HY_TRY(check("rope_bwd", &g->f, req));
    HY_NEED("rope_bwd", g->lddy / g->f.heads >= g->f.d && (!g->dx || g->lddx / g->f.heads >= g->f.d));
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run_bwd);
    return HY_OK;
}
