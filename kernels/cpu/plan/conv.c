// conv.c - plans of the causal depthwise convolution: which kernel serves a shape, and what memory it needs.
#include "kernels/cpu/conv.h"
#include "kernels/cpu/cpu.h"

HY_FAST_DECLARE(hy_fast_conv)
HY_FAST_DECLARE(hy_fast_conv_bwd)

static bool is_fast(const hy_conv_args *a, const hy_plan_req *req) {
    return req->dtype == HY_F32 && req->isa >= HY_ISA_BASE && a->K <= HY_CONV_MAX_K;
}

static hy_status check(const hy_conv_args *a) {
    if (a->B < 1 || a->T < 1 || a->D < 1 || a->K < 1)
        return hy_error(HY_EINPUT, "conv: sizes must be at least 1, got B %d, T %d, D %d, K %d", a->B, a->T, a->D,
                        a->K);
    if (a->ldx < a->D || a->ldy < a->D)
        return hy_error(HY_EINPUT, "conv: a row of x or y is shorter than D = %d", a->D);
    return HY_OK;
}

hy_status hy_cpu_plan_conv(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_conv_args *a = args;
    *out = (hy_launch){0};
    HY_TRY(check(a));
    if (is_fast(a, req)) {
        HY_FAST_CHOOSE(hy_fast_conv, req, out);
        out->workspace = (a->K + 2) * hy_conv_padded(a->D) * sizeof(float);  // weights, bias, a row of zeros
        return HY_OK;
    }
    return hy_cpu_choose_ref("conv", req, out, hy_ref_conv_f32, hy_ref_conv_f64);
}

hy_status hy_cpu_plan_conv_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_conv_bwd_args *a = args;
    *out = (hy_launch){0};
    HY_TRY(check(&a->f));
    if (a->f.state) return hy_error(HY_EINPUT, "conv backward: a convolution that starts from a state has no backward");
    if (a->lddy < a->f.D || (a->dx && a->lddx < a->f.D))
        return hy_error(HY_EINPUT, "conv backward: a row of dy or dx is shorter than D = %d", a->f.D);
    if (is_fast(&a->f, req)) {
        HY_FAST_CHOOSE(hy_fast_conv_bwd, req, out);
        const size_t K = a->f.K, B = a->f.B;
        out->workspace = (1 + B) * (K + 1) * hy_conv_padded(a->f.D) * sizeof(float);
        return HY_OK;
    }
    return hy_cpu_choose_ref("conv backward", req, out, hy_ref_conv_bwd_f32, hy_ref_conv_bwd_f64);
}
