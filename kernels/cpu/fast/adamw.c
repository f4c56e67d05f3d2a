// adamw.c - one AdamW step and the sum of squares in float32.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

static void adamw_blocks(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_adamw_args *a = ctx;
    float *p = a->p, *m = a->m, *v = a->v;
    const float *g = a->g;
    const float b1 = (float)a->beta1, b2 = (float)a->beta2, n1 = (float)(1 - a->beta1), n2 = (float)(1 - a->beta2);
    const double *ctl = a->ctl;
    const float i1 = (float)(1 / ctl[HY_CTL_C1]), i2 = (float)(1 / ctl[HY_CTL_C2]);
    const float lr = (float)ctl[HY_CTL_LR], eps = (float)a->eps, scale = (float)ctl[HY_CTL_GRAD_SCALE],
                wd = (float)a->wd;
    for (size_t b = (size_t)from; b < (size_t)to; b++) {
        size_t at = b * HY_DECAY_BLOCK;
        int count = a->n - at < HY_DECAY_BLOCK ? (int)(a->n - at) : HY_DECAY_BLOCK;
        float decay = a->decay[b] ? wd : 0;
        HY_VFOR(j, n, count) {
            size_t i = at + (size_t)j;
            hy_vf gi = hy_vget(g + i, n) * scale, pi = hy_vget(p + i, n);
            hy_vf mi = b1 * hy_vget(m + i, n) + n1 * gi, si = b2 * hy_vget(v + i, n) + n2 * gi * gi;
            hy_vput(m + i, mi, n);
            hy_vput(v + i, si, n);
            hy_vput(p + i, pi - lr * (mi * i1 / (hy_vsqrt(si * i2) + eps) + decay * pi), n);
        }
        for (int j = 0; a->p16 && j < count; j++) a->p16[at + (size_t)j] = hy_bf16_from_f32(p[at + (size_t)j]);
    }
}

hy_status HY_FAST(hy_fast_adamw)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_adamw_args *a = args;
    if (a->ctl[HY_CTL_BAD] != 0) return HY_OK;
    hy_parallel(hy_cpu_threads(req, a->n), (long)((a->n + HY_DECAY_BLOCK - 1) / HY_DECAY_BLOCK), 0, adamw_blocks, a);
    return HY_OK;
}

#define PARTS 64  // partial sums, cut by n alone
#define HALF (HY_LANES / 2)
typedef float vh __attribute__((vector_size(HALF * 4)));
typedef double vd __attribute__((vector_size(HALF * 8)));

// x[0]^2, x[HALF]^2, ... in double, where the products are exact
HY_VINLINE vd squares(const float *x) {
    vh v;
    memcpy(&v, x, sizeof v);
    vd d = __builtin_convertvector(v, vd);
    return d * d;
}

typedef struct {
    const hy_sumsq_args *a;
    double *part;
} sumsq_ctx;
static void sumsq_parts(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_sumsq_args *a = ((const sumsq_ctx *)ctx)->a;
    double *part = ((const sumsq_ctx *)ctx)->part;
    const float *x = a->x;
    size_t step = ((a->n + PARTS - 1) / PARTS + 63) / 64 * 64;
    for (int b = (int)from; b < (int)to; b++) {
        size_t i = (size_t)b * step, end = i + step < a->n ? i + step : a->n;
        vd s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (; i + 4 * HALF <= end; i += 4 * HALF) {
            s0 += squares(x + i), s1 += squares(x + i + HALF);
            s2 += squares(x + i + 2 * HALF), s3 += squares(x + i + 3 * HALF);
        }
        vd all = (s0 + s1) + (s2 + s3);
        double s = 0;
        for (int l = 0; l < HALF; l++) s += all[l];
        for (; i < end; i++) s += (double)x[i] * x[i];
        part[b] = s;
    }
}

hy_status HY_FAST(hy_fast_sumsq)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_sumsq_args *a = args;
    double part[PARTS] = {0};
    const sumsq_ctx ctx = {a, part};
    hy_parallel(hy_cpu_threads(req, a->n), PARTS, 0, sumsq_parts, &ctx);
    double sum = 0;
    for (int b = 0; b < PARTS; b++) sum += part[b];
    *a->out = sum;
    return HY_OK;
}
