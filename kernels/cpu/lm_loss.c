// lm_loss.c - plans of lm_loss and lm_loss_bwd.
#include "kernels/cpu/cpu.h"

static hy_status check(const char *op, const hy_lm_loss_args *a) {
    HY_NEED(op, a->rows >= 0 && a->C >= 1 && a->V >= 1 && a->ldx >= a->C);
    return HY_OK;
}

hy_status hy_cpu_plan_lm_loss(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_lm_loss_args *a = args;
    HY_TRY(check("lm_loss", a));
    *out = (hy_launch){.workspace = (size_t)a->V * sizeof(double)};
    return hy_cpu_choose_ref("lm_loss", req, out, hy_ref_lm_loss_f32, hy_ref_lm_loss_f64);
}

hy_status hy_cpu_plan_lm_loss_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_lm_loss_bwd_args *a = args;
    HY_TRY(check("lm_loss_bwd", &a->f));
    HY_NEED("lm_loss_bwd", !a->dx || a->lddx >= a->f.C);
    *out = (hy_launch){.workspace = (size_t)a->f.V * sizeof(double)};
    return hy_cpu_choose_ref("lm_loss_bwd", req, out, hy_ref_lm_loss_bwd_f32, hy_ref_lm_loss_bwd_f64);
}
