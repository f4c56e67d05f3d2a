// gated_norm.c - plans of gated_norm and gated_norm_bwd.
#include "kernels/cpu/fast.h"

static hy_status check(const char *op, const hy_gated_norm_args *a) {
    HY_NEED(op, a->rows >= 0 && a->groups >= 1 && a->C >= 1 && a->groups <= INT32_MAX / a->C);
    HY_NEED(op, a->kind == HY_GATED_ONLY || a->kind == HY_GATED_GATE_FIRST || a->kind == HY_GATED_NORM_FIRST);
    HY_NEED(op, (a->w == NULL) == (a->kind == HY_GATED_ONLY));
    HY_NEED(op, a->eps >= 0 && a->ldx >= a->groups * a->C && a->ldgate >= a->groups * a->C);
    return HY_OK;
}

hy_status hy_cpu_plan_gated_norm(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_gated_norm_args *a = args;
    HY_TRY(check("gated_norm", a));
    HY_NEED("gated_norm", a->ldy >= a->groups * a->C);
    *out = (hy_launch){0};
    if (req->isa >= HY_ISA_BASE && req->dtype == HY_F32) {
        HY_FAST_CHOOSE(hy_fast_gated_norm, req, out);
        return HY_OK;
    }
    return hy_cpu_choose_ref("gated_norm", req, out, hy_ref_gated_norm_f32, hy_ref_gated_norm_f64);
}

hy_status hy_cpu_plan_gated_norm_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_gated_norm_bwd_args *a = args;
    const int wide = a->f.groups * a->f.C;
    HY_TRY(check("gated_norm_bwd", &a->f));
    HY_NEED("gated_norm_bwd", a->lddy >= wide && (!a->dx || a->lddx >= wide) && (!a->dgate || a->lddgate >= wide));
    *out = (hy_launch){0};
    if (req->isa >= HY_ISA_BASE && req->dtype == HY_F32) {
        out->workspace = a->dw ? (size_t)hy_cpu_row_blocks(a->f.rows) * (size_t)wide * sizeof(float) : 0;
        HY_FAST_CHOOSE(hy_fast_gated_norm_bwd, req, out);
        return HY_OK;
    }
    return hy_cpu_choose_ref("gated_norm_bwd", req, out, hy_ref_gated_norm_bwd_f32, hy_ref_gated_norm_bwd_f64);
}
