// adamw.c - plans of the kernels of one optimiser step.
#include "kernels/cpu/fast.h"

hy_status hy_cpu_plan_adamw(const void *args, const hy_plan_req *req, hy_launch *out) {
    (void)args;  // any n; the hyperparameters are the caller's to check
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

// Sums of a few thousand numbers and a handful of scalars: the obvious loops are all there is to do.
hy_status hy_cpu_plan_nll_sum(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_nll_sum_args *a = args;
    HY_NEED("nll_sum", a->rows >= 0);
    *out = (hy_launch){0};
    return hy_cpu_choose_ref("nll_sum", req, out, hy_ref_nll_sum_f32, hy_ref_nll_sum_f64);
}

hy_status hy_cpu_plan_clip(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_clip_args *a = args;
    HY_NEED("clip", a->cap >= 1);
    *out = (hy_launch){0};
    return hy_cpu_choose_ref("clip", req, out, hy_ref_clip_f32, hy_ref_clip_f64);
}

hy_status hy_cpu_plan_cast(const void *args, const hy_plan_req *req, hy_launch *out) {
    (void)args;
    *out = (hy_launch){0};
    return hy_cpu_choose_ref("cast", req, out, hy_ref_cast_f32, hy_ref_cast_f64);
}
