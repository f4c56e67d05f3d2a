// rope.c - plans of the rotary embedding on the CPU: the support check and the choice of kernel.
#include "kernels/cpu/rope.h"

static hy_status check(const char *op, const hy_rope_args *a) {
    if (a->B < 1 || a->T < 1 || a->heads < 1)
        return hy_error(HY_EINPUT, "%s: B %d, T %d and heads %d must be at least 1", op, a->B, a->T, a->heads);
    if (a->d < 2 || a->d % 2 != 0)
        return hy_error(HY_EINPUT, "%s: the head width %d must be even and at least 2", op, a->d);
    if (a->turned < 0 || a->turned > a->d || a->turned % 2)
        return hy_error(HY_EINPUT, "%s: %d of a head's %d values cannot turn: an even number, at most all", op,
                        a->turned, a->d);
    if (!(a->base > 0)) return hy_error(HY_EINPUT, "%s: the base %g must be above 0", op, a->base);
    const hy_rope_scale *s = &a->scale;
    if (s->factor < 0 || s->length < 0 || (s->length > 0 && !(s->low < s->high)))
        return hy_error(HY_EINPUT, "%s: factor %g, length %g, low %g and high %g are no scaling", op, s->factor,
                        s->length, s->low, s->high);
    return HY_OK;
}
static hy_status check_stride(const char *op, const char *name, const hy_rope_args *a, int ld) {
    if (ld / a->heads < a->d)
        return hy_error(HY_EINPUT, "%s: the row stride %d of %s is below heads x width = %d x %d", op, ld, name,
                        a->heads, a->d);
    return HY_OK;
}

hy_status hy_cpu_plan_rope(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_rope_args *a = args;
    *out = (hy_launch){0};
    HY_TRY(check("rope", a));
    HY_TRY(check_stride("rope", "x", a, a->ldx));
    HY_TRY(check_stride("rope", "y", a, a->ldy));
    if (req->dtype == HY_F32 && req->isa != HY_ISA_REF) {
        out->workspace = hy_rope_workspace(a);
        HY_FAST_CHOOSE(hy_fast_rope, req, out);
        return HY_OK;
    }
    return hy_cpu_choose_ref("rope", req, out, hy_ref_rope_f32, hy_ref_rope_f64);
}

hy_status hy_cpu_plan_rope_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_rope_bwd_args *g = args;
    *out = (hy_launch){0};
    HY_TRY(check("rope_bwd", &g->f));
    HY_TRY(check_stride("rope_bwd", "dy", &g->f, g->lddy));
    if (g->dx) HY_TRY(check_stride("rope_bwd", "dx", &g->f, g->lddx));
    if (req->dtype == HY_F32 && req->isa != HY_ISA_REF) {
        out->workspace = hy_rope_workspace(&g->f);
        HY_FAST_CHOOSE(hy_fast_rope_bwd, req, out);
        return HY_OK;
    }
    return hy_cpu_choose_ref("rope_bwd", req, out, hy_ref_rope_bwd_f32, hy_ref_rope_bwd_f64);
}
