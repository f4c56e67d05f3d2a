// fuse.c - plans of fuse and fuse_bwd.
#include "kernels/cpu/fast.h"

static int width_out(const hy_fuse_args *a) { return a->kind == HY_FUSE_CONCAT ? a->Ca + a->Cs : a->Ca; }
static hy_status check(const char *op, const hy_fuse_args *a) {
    HY_NEED(op, a->kind == HY_FUSE_MEAN || a->kind == HY_FUSE_CONCAT || a->kind == HY_FUSE_GATE);
    HY_NEED(op, a->rows >= 0 && a->Ca >= 1 && a->Cs >= 1 && a->Ca <= INT32_MAX - a->Cs);
    HY_NEED(op, a->by_a != 0 && a->by_s != 0);
    HY_NEED(op, a->eps >= 0 && a->lda >= a->Ca && a->lds >= a->Cs);
    if (a->kind != HY_FUSE_CONCAT) HY_NEED(op, a->Ca == a->Cs);
    if (a->kind == HY_FUSE_GATE) HY_NEED(op, a->G >= 1 && a->Ca % a->G == 0 && a->ldgate >= a->G);
    return HY_OK;
}

hy_status hy_cpu_plan_fuse(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_fuse_args *a = args;
    HY_TRY(check("fuse", a));
    HY_NEED("fuse", a->ldz >= width_out(a));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("fuse", req, out, hy_ref_fuse_f32, hy_ref_fuse_f64);
    HY_FAST_CHOOSE(hy_fast_fuse, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_fuse_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_fuse_bwd_args *a = args;
    HY_TRY(check("fuse_bwd", &a->f));
    HY_NEED("fuse_bwd",
            a->lddz >= width_out(&a->f) && (!a->da || a->ldda >= a->f.Ca) && (!a->ds || a->ldds >= a->f.Cs));
    if (a->f.kind == HY_FUSE_GATE) HY_NEED("fuse_bwd", !a->dgate || a->lddgate >= a->f.G);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("fuse_bwd", req, out, hy_ref_fuse_bwd_f32, hy_ref_fuse_bwd_f64);
    out->workspace = (size_t)hy_cpu_row_blocks(a->f.rows) * (size_t)(a->f.Ca + a->f.Cs) * sizeof(float);
    HY_FAST_CHOOSE(hy_fast_fuse_bwd, req, out);
    return HY_OK;
}
