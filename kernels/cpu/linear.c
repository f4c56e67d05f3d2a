// linear.c - plans of linear and linear_bwd.
#include "kernels/cpu/cpu.h"

static hy_status check(const char *op, const hy_linear_args *a) {
    HY_NEED(op, a->M >= 0 && a->N >= 1 && a->K >= 1 && a->ldx >= a->K);
    return HY_OK;
}

hy_status hy_cpu_plan_linear(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_linear_args *a = args;
    HY_TRY(check("linear", a));
    HY_NEED("linear", a->ldy >= a->N && (!a->residual || a->ldres >= a->N));
    *out = (hy_launch){0};
    return hy_cpu_choose_ref("linear", req, out, hy_ref_linear_f32, hy_ref_linear_f64);
}

hy_status hy_cpu_plan_linear_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_linear_bwd_args *a = args;
    HY_TRY(check("linear_bwd", &a->f));
    HY_NEED("linear_bwd", a->lddy >= a->f.N && (!a->dx || a->lddx >= a->f.K) && (!a->dres || a->lddres >= a->f.N));
    *out = (hy_launch){0};
    return hy_cpu_choose_ref("linear_bwd", req, out, hy_ref_linear_bwd_f32, hy_ref_linear_bwd_f64);
}
