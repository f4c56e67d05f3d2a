// rope.c - the slow obvious rotary embedding and its gradient, angles in double. x and y may be the same buffer.
#include <math.h>

#include "kernels/cpu/rope.h"

// Rotates one head of d values by sign * angle; adds to y where asked.
static void rotate(const hy_rope_args *a, const real *x, real *y, int pos, double sign, bool add) {
    const int n = hy_rope_turned(a);
    for (int i = 0; i < n / 2; i++) {
        double angle = pos * hy_rope_frequency(a, i), c = cos(angle), s = sign * sin(angle);
        double x1 = (double)x[i], x2 = (double)x[i + n / 2];
        y[i] = (real)((add ? (double)y[i] : 0.0) + (x1 * c - x2 * s));
        y[i + n / 2] = (real)((add ? (double)y[i + n / 2] : 0.0) + (x2 * c + x1 * s));
    }
    for (int i = n; i < a->d; i++) y[i] = add ? y[i] + x[i] : x[i];
}

hy_status HY_REF(hy_ref_rope)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_rope_args *a = args;
    (void)ws, (void)req;
    HY_TRY(hy_cpu_rope_check_data(a));
    for (int b = 0; b < a->B; b++)
        for (int t = 0; t < a->T; t++)
            for (int h = 0; h < a->heads; h++) {
                size_t r = (size_t)b * a->T + t;
                rotate(a, (const real *)a->x + r * a->ldx + h * a->d, (real *)a->y + r * a->ldy + h * a->d,
                       a->pos[b] + t, 1.0, false);
            }
    return HY_OK;
}

// A rotation's gradient is the opposite rotation.
hy_status HY_REF(hy_ref_rope_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_rope_bwd_args *g = args;
    const hy_rope_args *a = &g->f;
    (void)ws, (void)req;
    if (!g->dx) return HY_OK;
    HY_TRY(hy_cpu_rope_check_data(a));
    for (int b = 0; b < a->B; b++)
        for (int t = 0; t < a->T; t++)
            for (int h = 0; h < a->heads; h++) {
                size_t r = (size_t)b * a->T + t;
                rotate(a, (const real *)g->dy + r * g->lddy + h * a->d, (real *)g->dx + r * g->lddx + h * a->d,
                       a->pos[b] + t, -1.0, g->acc & 1);
            }
    return HY_OK;
}
