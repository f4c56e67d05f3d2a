// adamw.c - plans of adamw and sumsq.
#include "kernels/cpu/fast.h"

hy_status hy_cpu_plan_adamw(const void *args, const hy_plan_req *req, hy_launch *out) {
    (void)args;  // any n; the hyperparameters change from step to step and are the caller's to check
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("adamw", req, out, hy_ref_adamw_f32, hy_ref_adamw_f64);
    HY_FAST_CHOOSE(hy_fast_adamw, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_sumsq(const void *args, const hy_plan_req *req, hy_launch *out) {
    (void)args;
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("sumsq", req, out, hy_ref_sumsq_f32, hy_ref_sumsq_f64);
    HY_FAST_CHOOSE(hy_fast_sumsq, req, out);
    return HY_OK;
}
