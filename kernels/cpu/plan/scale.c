// scale.c - plans of scale and scale_bwd.
#include "kernels/cpu/fast.h"

static hy_status check(const char *op, const hy_scale_args *a) {
    const hy_scale_parts *p = &a->parts;
    HY_NEED(op, a->rows >= 0 && a->C >= 1 && a->ldx >= a->C);
    HY_NEED(op, p->n >= 1 && p->n <= HY_SCALE_PARTS && p->end[0] >= 1 && p->end[p->n - 1] == a->C);
    for (int i = 1; i < p->n; i++) HY_NEED(op, p->end[i] > p->end[i - 1]);
    return HY_OK;
}

hy_status hy_cpu_plan_scale(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scale_args *a = args;
    HY_TRY(check("scale", a));
    HY_NEED("scale", a->ldy >= a->C);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("scale", req, out, hy_ref_scale_f32, hy_ref_scale_f64);
    HY_FAST_CHOOSE(hy_fast_scale, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_scale_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scale_bwd_args *a = args;
    HY_TRY(check("scale_bwd", &a->f));
    HY_NEED("scale_bwd", a->lddy >= a->f.C && a->lddx >= a->f.C);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("scale_bwd", req, out, hy_ref_scale_bwd_f32, hy_ref_scale_bwd_f64);
    HY_FAST_CHOOSE(hy_fast_scale_bwd, req, out);
    return HY_OK;
}
