// act.c - silu-gated and squared-relu activations, forward and backward: the obvious loops.
#include <math.h>

#include "kernels/cpu/cpu.h"

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

hy_status HY_REF(hy_ref_act)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_act_args *a = args;
    for (int r = 0; r < a->rows; r++) {
        const real *x = (const real *)a->x + (size_t)r * a->ldx;
        real *y = (real *)a->y + (size_t)r * a->ldy;
        for (int i = 0; i < a->F; i++) {
            if (a->kind == HY_ACT_SILU_GLU)
                y[i] = (real)(x[i] * sigmoid(x[i]) * x[a->F + i]);
            else
                y[i] = x[i] > 0 || x[i] != x[i] ? x[i] * x[i] : 0;  // keeps a NaN
        }
    }
    return HY_OK;
}

hy_status HY_REF(hy_ref_act_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)ws, (void)req;
    const hy_act_bwd_args *a = args;
    int F = a->f.F;
    for (int r = 0; r < a->f.rows; r++) {
        const real *x = (const real *)a->f.x + (size_t)r * a->f.ldx, *dy = (const real *)a->dy + (size_t)r * a->lddy;
        real *dx = (real *)a->dx + (size_t)r * a->lddx;
        for (int i = 0; i < F; i++) {
            double g = x[i], d = dy[i];
            if (a->f.kind == HY_ACT_SILU_GLU) {
                double s = sigmoid(g), up = x[F + i];
                double dgate = d * up * s * (1 + g * (1 - s)), dup = d * g * s;
                dx[i] = (real)((a->acc & 1 ? dx[i] : 0) + dgate);
                dx[F + i] = (real)((a->acc & 1 ? dx[F + i] : 0) + dup);
            } else {
                dx[i] = (real)((a->acc & 1 ? dx[i] : 0) + (g > 0 ? 2 * g * d : 0));
            }
        }
    }
    return HY_OK;
}
