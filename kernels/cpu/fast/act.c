// act.c - silu-gated and squared-relu activations in float32, forward and backward.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

HY_VINLINE hy_vf relu(hy_vf x) { return hy_vmax((hy_vf){0}, x); }  // a NaN stays

static void act_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_act_args *a = ctx;
    const int F = a->F;
    const bool glu = a->kind == HY_ACT_SILU_GLU;
    for (int r = (int)from; r < (int)to; r++) {
        const float *x = (const float *)a->x + (size_t)r * a->ldx;
        float *y = (float *)a->y + (size_t)r * a->ldy;
        if (glu) {
            HY_VFOR(i, n, F) {
                hy_vf g = hy_vget(x + i, n);
                hy_vput(y + i, g * hy_vsigmoid(g) * hy_vget(x + F + i, n), n);
            }
        } else {
            HY_VFOR(i, n, F) {
                hy_vf v = relu(hy_vget(x + i, n));
                hy_vput(y + i, v * v, n);
            }
        }
    }
}
hy_status HY_FAST(hy_fast_act)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_act_args *a = args;
    const int threads = hy_cpu_threads(req, (size_t)a->rows * a->F);
    hy_parallel(threads, a->rows, 0, act_rows, a);
    return HY_OK;
}

HY_VINLINE void put(float *p, hy_vf v, int n, bool add) { hy_vput(p, add ? hy_vget(p, n) + v : v, n); }

static void act_bwd_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_act_bwd_args *a = ctx;
    const int F = a->f.F;
    const bool glu = a->f.kind == HY_ACT_SILU_GLU, add = a->acc & 1;
    for (int r = (int)from; r < (int)to; r++) {
        const float *x = (const float *)a->f.x + (size_t)r * a->f.ldx, *dy = (const float *)a->dy + (size_t)r * a->lddy;
        float *dx = (float *)a->dx + (size_t)r * a->lddx;
        if (glu) {
            HY_VFOR(i, n, F) {
                hy_vf g = hy_vget(x + i, n), up = hy_vget(x + F + i, n), d = hy_vget(dy + i, n), s = hy_vsigmoid(g);
                put(dx + i, d * up * (s * (1.0f + g * (1.0f - s))), n, add);
                put(dx + F + i, d * g * s, n, add);
            }
        } else {
            HY_VFOR(i, n, F) put(dx + i, 2.0f * relu(hy_vget(x + i, n)) * hy_vget(dy + i, n), n, add);
        }
    }
}
hy_status HY_FAST(hy_fast_act_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_act_bwd_args *a = args;
    const int threads = hy_cpu_threads(req, (size_t)a->f.rows * a->f.F);
    hy_parallel(threads, a->f.rows, 0, act_bwd_rows, a);
    return HY_OK;
}
