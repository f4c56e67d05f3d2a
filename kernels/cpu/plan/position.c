// position.c - plans of learned positions.
#include "kernels/cpu/fast.h"

static hy_status check(const char *op, const hy_position_args *a) {
    HY_NEED(op, a->B >= 1 && a->T >= 1 && a->T <= INT32_MAX / a->B && a->C >= 1);
    HY_NEED(op, a->n >= 1 && a->meta >= 0 && a->ldx >= a->C && a->ldy >= a->C);
    return HY_OK;
}

hy_status hy_cpu_plan_position(const void *args, const hy_plan_req *req, hy_launch *out) {
    HY_TRY(check("position", args));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("position", req, out, hy_ref_position_f32, hy_ref_position_f64);
    HY_FAST_CHOOSE(hy_fast_position, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_position_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_position_bwd_args *g = args;
    HY_TRY(check("position_bwd", &g->f));
    HY_NEED("position_bwd", g->lddy >= g->f.C && (!g->dx || g->lddx >= g->f.C));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("position_bwd", req, out, hy_ref_position_bwd_f32, hy_ref_position_bwd_f64);
    HY_FAST_CHOOSE(hy_fast_position_bwd, req, out);
    return HY_OK;
}
