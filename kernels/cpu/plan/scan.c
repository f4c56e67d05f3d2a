// scan.c - plans of the selective scan: which kernel serves a shape, and what memory it needs. No arithmetic here.
#include "kernels/cpu/scan.h"
#include "kernels/cpu/cpu.h"

HY_FAST_DECLARE(hy_fast_scan)
HY_FAST_DECLARE(hy_fast_scan_bwd)

static bool is_fast(const hy_plan_req *req) { return req->dtype == HY_F32 && req->isa >= HY_ISA_BASE; }

static hy_status check(const hy_scan_args *a) {
    if (a->B < 1 || a->T < 1 || a->D < 1 || a->N < 1)
        return hy_error(HY_EINPUT, "scan: sizes must be at least 1, got B %d, T %d, D %d, N %d", a->B, a->T, a->D,
                        a->N);
    if (a->ldx < a->D || a->lddt < a->D || a->ldy < a->D || (a->gate && a->ldgate < a->D))
        return hy_error(HY_EINPUT, "scan: a row of x, dt, gate or y is shorter than D = %d", a->D);
    if (a->ldB < a->N || a->ldC < a->N)
        return hy_error(HY_EINPUT, "scan: a row of B or C is shorter than N = %d", a->N);
    return HY_OK;
}

hy_status hy_cpu_plan_scan(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scan_args *a = args;
    const size_t es = hy_dtype_size(req->dtype), D = a->D, N = a->N;
    *out = (hy_launch){0};
    HY_TRY(check(a));
    if (is_fast(req)) {
        HY_FAST_CHOOSE(hy_fast_scan, req, out);
        out->workspace = (size_t)req->threads * hy_scan_ws_forward(a->N) * es;
        if (req->training)
            out->saved = (size_t)a->B * hy_scan_chunks(a->T, HY_SCAN_CHUNK) * hy_scan_padded(a->D) * N * es;
        return HY_OK;
    }
    HY_TRY(hy_cpu_choose_ref("scan", req, out, hy_ref_scan_f32, hy_ref_scan_f64));
    out->workspace = N * es;
    if (req->training) out->saved = (size_t)a->B * hy_scan_chunks(a->T, HY_SCAN_REF_CHUNK) * D * N * es;
    return HY_OK;
}

hy_status hy_cpu_plan_scan_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_scan_bwd_args *a = args;
    const size_t es = hy_dtype_size(req->dtype), N = a->f.N;
    *out = (hy_launch){0};
    HY_TRY(check(&a->f));
    if (a->f.state) return hy_error(HY_EINPUT, "scan backward: a scan that starts from a state has no backward");
    if (a->lddy < a->f.D || (a->dx && a->lddx < a->f.D) || (a->ddt && a->ldddt < a->f.D) ||
        (a->dgate && a->lddgate < a->f.D))
        return hy_error(HY_EINPUT, "scan backward: a row of dy, dx, ddt or dgate is shorter than D = %d", a->f.D);
    if ((a->dBm && a->lddB < a->f.N) || (a->dCm && a->lddC < a->f.N))
        return hy_error(HY_EINPUT, "scan backward: a row of dB or dC is shorter than N = %d", a->f.N);
    if (is_fast(req)) {
        HY_FAST_CHOOSE(hy_fast_scan_bwd, req, out);
        out->workspace = hy_scan_ws_layout(&a->f, req->threads).total * es;
        return HY_OK;
    }
    HY_TRY(hy_cpu_choose_ref("scan backward", req, out, hy_ref_scan_bwd_f32, hy_ref_scan_bwd_f64));
    out->workspace = N * (HY_SCAN_REF_CHUNK + 2) * es;
    return HY_OK;
}
