// dropout.c - plans of dropout.
#include "kernels/cpu/fast.h"

static hy_status check(const char *op, const hy_dropout_args *a) {
    HY_NEED(op, a->rows >= 0 && a->C >= 1 && a->p >= 0 && a->p < 1);
    HY_NEED(op, a->ldx >= a->C && a->ldy >= a->C);
    return HY_OK;
}

hy_status hy_cpu_plan_dropout(const void *args, const hy_plan_req *req, hy_launch *out) {
    HY_TRY(check("dropout", args));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("dropout", req, out, hy_ref_dropout_f32, hy_ref_dropout_f64);
    HY_FAST_CHOOSE(hy_fast_dropout, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_dropout_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_dropout_bwd_args *g = args;
    HY_TRY(check("dropout_bwd", &g->f));
    HY_NEED("dropout_bwd", g->lddy >= g->f.C && g->lddx >= g->f.C);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("dropout_bwd", req, out, hy_ref_dropout_bwd_f32, hy_ref_dropout_bwd_f64);
    HY_FAST_CHOOSE(hy_fast_dropout_bwd, req, out);
    return HY_OK;
}
