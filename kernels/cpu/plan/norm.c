// norm.c - plans of norm and norm_bwd.
#include "kernels/cpu/fast.h"

static hy_status check(const char *op, const hy_norm_args *a) {
    HY_NEED(op, a->rows >= 0 && a->groups >= 1 && a->C >= 1 && a->groups <= INT32_MAX / a->C);
    HY_NEED(op, a->kind == HY_NORM_RMS || a->kind == HY_NORM_LAYER);
    HY_NEED(op, a->eps >= 0 && a->ldx >= a->groups * a->C);
    return HY_OK;
}

hy_status hy_cpu_plan_norm(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_norm_args *a = args;
    HY_TRY(check("norm", a));
    HY_NEED("norm", a->ldy >= a->groups * a->C);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("norm", req, out, hy_ref_norm_f32, hy_ref_norm_f64);
    HY_FAST_CHOOSE(hy_fast_norm, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_norm_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_norm_bwd_args *a = args;
    HY_TRY(check("norm_bwd", &a->f));
    HY_NEED("norm_bwd", a->lddy >= a->f.groups * a->f.C && (!a->dx || a->lddx >= a->f.groups * a->f.C));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("norm_bwd", req, out, hy_ref_norm_bwd_f32, hy_ref_norm_bwd_f64);
    const size_t sums = (size_t)hy_cpu_row_blocks(a->f.rows) * a->f.C * sizeof(float);
    out->workspace = (a->dw ? sums : 0) + (a->dbias ? sums : 0);
    HY_FAST_CHOOSE(hy_fast_norm_bwd, req, out);
    return HY_OK;
}
