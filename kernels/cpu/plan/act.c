// act.c - plans of act and act_bwd.
#include "kernels/cpu/fast.h"

static int width_in(const hy_act_args *a) { return a->kind == HY_ACT_SILU_GLU ? 2 * a->F : a->F; }
static hy_status check(const char *op, const hy_act_args *a) {
    HY_NEED(op, a->kind == HY_ACT_SILU_GLU || a->kind == HY_ACT_RELU2);
    HY_NEED(op, a->rows >= 0 && a->F >= 1 && a->F <= INT32_MAX / 2 && a->ldx >= width_in(a));
    return HY_OK;
}

hy_status hy_cpu_plan_act(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_act_args *a = args;
    HY_TRY(check("act", a));
    HY_NEED("act", a->ldy >= a->F);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("act", req, out, hy_ref_act_f32, hy_ref_act_f64);
    HY_FAST_CHOOSE(hy_fast_act, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_act_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_act_bwd_args *a = args;
    HY_TRY(check("act_bwd", &a->f));
    HY_NEED("act_bwd", a->lddy >= a->f.F && a->lddx >= width_in(&a->f));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("act_bwd", req, out, hy_ref_act_bwd_f32, hy_ref_act_bwd_f64);
    HY_FAST_CHOOSE(hy_fast_act_bwd, req, out);
    return HY_OK;
}
