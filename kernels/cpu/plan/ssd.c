// ssd.c - plans of SSD (Mamba-2): which kernel serves a shape, and what memory it needs. No arithmetic here.
#include "kernels/cpu/ssd.h"
#include "kernels/cpu/cpu.h"

HY_FAST_DECLARE(hy_fast_ssd)
HY_FAST_DECLARE(hy_fast_ssd_bwd)

static bool is_fast(const hy_plan_req *req) { return req->dtype == HY_F32 && req->isa >= HY_ISA_BASE; }

static hy_status check(const hy_ssd_args *a) {
    if (a->B < 1 || a->T < 1 || a->H < 1 || a->P < 1 || a->G < 1 || a->N < 1)
        return hy_error(HY_EINPUT, "ssd: sizes must be at least 1, got B %d, T %d, H %d, P %d, G %d, N %d", a->B, a->T,
                        a->H, a->P, a->G, a->N);
    if (a->H % a->G) return hy_error(HY_EINPUT, "ssd: %d heads cannot be shared out to %d groups", a->H, a->G);
    if (a->ldx / a->H < a->P || a->ldy / a->H < a->P || a->lddt < a->H)
        return hy_error(HY_EINPUT, "ssd: a row of x or y is shorter than H P = %d * %d, or one of dt than H", a->H,
                        a->P);
    if (a->ldB / a->G < a->N || a->ldC / a->G < a->N)
        return hy_error(HY_EINPUT, "ssd: a row of B or C is shorter than G N = %d * %d", a->G, a->N);
    if (!(a->dt_min >= 0) || !(a->dt_max == 0 || a->dt_max >= a->dt_min))
        return hy_error(HY_EINPUT, "ssd: the limits of delta are %g and %g", a->dt_min, a->dt_max);
    return HY_OK;
}

static size_t states(const hy_ssd_args *a) { return (size_t)a->H * a->N * a->P; }

hy_status hy_cpu_plan_ssd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_ssd_args *a = args;
    const size_t es = hy_dtype_size(req->dtype);
    *out = (hy_launch){0};
    HY_TRY(check(a));
    if (is_fast(req)) {
        HY_FAST_CHOOSE(hy_fast_ssd, req, out);
        out->workspace = hy_ssd_ws_layout(a, req->threads).total * es;
        return HY_OK;  // backward recomputes the states: nothing is saved
    }
    HY_TRY(hy_cpu_choose_ref("ssd", req, out, hy_ref_ssd_f32, hy_ref_ssd_f64));
    out->workspace = (size_t)a->N * a->P * es;
    if (req->training) out->saved = (size_t)a->B * hy_ssd_chunks(a->T, HY_SSD_REF_CHUNK) * states(a) * es;
    return HY_OK;
}

hy_status hy_cpu_plan_ssd_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_ssd_bwd_args *a = args;
    const hy_ssd_args *f = &a->f;
    *out = (hy_launch){0};
    HY_TRY(check(f));
    if (f->state) return hy_error(HY_EINPUT, "ssd backward: a call that starts from a state has no backward");
    if (a->lddy / f->H < f->P || (a->dx && a->lddx / f->H < f->P) || (a->ddt && a->ldddt < f->H))
        return hy_error(HY_EINPUT,
                        "ssd backward: a row of dy or dx is shorter than H P = %d * %d, or one of ddt than H", f->H,
                        f->P);
    if ((a->dBm && a->lddB / f->G < f->N) || (a->dCm && a->lddC / f->G < f->N))
        return hy_error(HY_EINPUT, "ssd backward: a row of dB or dC is shorter than G N = %d * %d", f->G, f->N);
    if (is_fast(req)) {
        HY_FAST_CHOOSE(hy_fast_ssd_bwd, req, out);
        out->workspace = hy_ssd_bwd_ws_layout(f, req->threads).total * sizeof(float);
        return HY_OK;
    }
    HY_TRY(hy_cpu_choose_ref("ssd backward", req, out, hy_ref_ssd_bwd_f32, hy_ref_ssd_bwd_f64));
    out->workspace = (size_t)f->N * f->P * (HY_SSD_REF_CHUNK + 2) * hy_dtype_size(req->dtype);
    return HY_OK;
}
