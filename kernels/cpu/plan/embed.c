// embed.c - plans of embed, embed_bwd and gather.
#include "kernels/cpu/fast.h"

hy_status hy_cpu_plan_embed(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_embed_args *a = args;
    HY_TRY(hy_cpu_check_weight("embed", a->w_dtype, false, req));
    HY_NEED("embed", a->rows >= 0 && a->C >= 1 && a->V >= 1 && a->m >= 0 && a->ldy >= a->C);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32) {
        HY_TRY(hy_cpu_choose_ref("embed", req, out, hy_ref_embed_f32, hy_ref_embed_f64));
        out->path = hy_cpu_path(HY_ISA_REF, a->w_dtype);
        return HY_OK;
    }
    HY_FAST_CHOOSE(hy_fast_embed, req, out);
    out->path = hy_cpu_path(req->isa, a->w_dtype);
    return HY_OK;
}

hy_status hy_cpu_plan_embed_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_embed_bwd_args *a = args;
    HY_TRY(hy_cpu_check_weight("embed_bwd", a->f.w_dtype, true, req));
    HY_NEED("embed_bwd", a->f.rows >= 0 && a->f.C >= 1 && a->f.V >= 1 && a->f.m >= 0 && a->lddy >= a->f.C);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("embed_bwd", req, out, hy_ref_embed_bwd_f32, hy_ref_embed_bwd_f64);
    HY_FAST_CHOOSE(hy_fast_embed_bwd, req, out);
    return HY_OK;
}

hy_status hy_cpu_plan_gather(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_gather_args *a = args;
    HY_NEED("gather", a->n >= 0 && a->C >= 1 && a->ldx >= a->C && a->ldy >= a->C);
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("gather", req, out, hy_ref_gather_f32, hy_ref_gather_f64);
    HY_FAST_CHOOSE(hy_fast_gather, req, out);
    return HY_OK;
}
