// act.c - silu-gated and squared-relu activations in float32, forward and backward.
#include "kernels/cpu/fast.h"
#include "kernels/cpu/fast/vmath.h"

HY_VINLINE hy_vf relu(hy_vf x) { return hy_vmax((hy_vf){0}, x); }  // a NaN stays

hy_status HY_FAST(hy_fast_act)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_act_args *a = args;
    int F = a->F, threads = hy_cpu_threads(req, (size_t)a->rows * F);
    bool glu = a->kind == HY_ACT_SILU_GLU;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < a->rows; r++) {
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
    return HY_OK;
}

HY_VINLINE void put(float *p, hy_vf v, int n, bool add) { hy_vput(p, add ? hy_vget(p, n) + v : v, n); }

hy_status HY_FAST(hy_fast_act_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws;
    const hy_act_bwd_args *a = args;
    int F = a->f.F, threads = hy_cpu_threads(req, (size_t)a->f.rows * F);
    bool glu = a->f.kind == HY_ACT_SILU_GLU, add = a->acc & 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < a->f.rows; r++) {
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
    return HY_OK;
}
