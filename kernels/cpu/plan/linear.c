// linear.c - plans of linear and linear_bwd, and how float32 runs: many rows through the library's matrix product
// (gemm.h), few rows (decoding) through our own product, which is bound by reading w once. By token, all rows go
// through the latter.
#include "kernels/cpu/linear.h"

static hy_status check(const char *op, const hy_linear_args *a, bool backward, const hy_plan_req *req) {
    HY_TRY(hy_cpu_check_weight(op, a->w_dtype, backward, req));
    HY_NEED(op, a->M >= 0 && a->N >= 1 && a->K >= 1 && a->ldx >= a->K);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- forward
hy_gemm_args hy_linear_gemm_y(const hy_linear_args *a, hy_isa isa) {
    hy_gemm_args g = {.M = a->M,
                      .N = a->N,
                      .K = a->K,
                      .trans_b = true,
                      .a = a->x,
                      .b = a->w,
                      .c = a->y,
                      .lda = a->ldx,
                      .ldb = a->K,
                      .ldc = a->ldy,
                      .ctx = a};
    if (a->bias || a->residual) g.done = HY_FAST_PICK(hy_fast_linear_finish, isa);
    if (a->w_dtype == HY_BF16) g.widen = HY_FAST_PICK(hy_fast_widen, isa);
    return g;
}

static bool own_product(const hy_linear_args *a, const hy_plan_req *req) {
    return a->M < HY_GEMM_ROWS || req->by_token;
}

static hy_status run_linear(const void *args, void *ws, const hy_plan_req *req) {
    const hy_linear_args *a = args;
    if (own_product(a, req)) {
        hy_gemv_args v = {.M = a->M,
                          .N = a->N,
                          .K = a->K,
                          .ldx = a->ldx,
                          .ldy = a->ldy,
                          .ldres = a->ldres,
                          .x = a->x,
                          .w = a->w,
                          .bf16 = a->w_dtype == HY_BF16,
                          .bias = a->bias,
                          .residual = a->residual,
                          .y = a->y};
        HY_FAST_PICK(hy_fast_gemv, req->isa)(&v, req->threads);
        return HY_OK;
    }
    hy_gemm_args g = hy_linear_gemm_y(a, req->isa);
    return hy_gemm_run(&g, ws, req->threads);
}

hy_status hy_cpu_plan_linear(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_linear_args *a = args;
    HY_TRY(check("linear", a, false, req));
    HY_NEED("linear", a->ldy >= a->N && (!a->residual || a->ldres >= a->N));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32) {
        HY_TRY(hy_cpu_choose_ref("linear", req, out, hy_ref_linear_f32, hy_ref_linear_f64));
        out->path = hy_cpu_path(HY_ISA_REF, a->w_dtype);
        return HY_OK;
    }
    hy_gemm_args g = hy_linear_gemm_y(a, req->isa);
    const bool own = own_product(a, req);
    out->workspace = own ? 0 : hy_gemm_workspace(&g, req->threads);
    out->run = run_linear;
    out->path = own ? hy_cpu_path(req->isa, a->w_dtype) : hy_gemm_path(req->isa, a->w_dtype);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- backward
hy_gemm_args hy_linear_gemm_dx(const hy_linear_bwd_args *a) {
    return (hy_gemm_args){.M = a->f.M,
                          .N = a->f.K,
                          .K = a->f.N,
                          .add = a->acc & 1,
                          .a = a->dy,
                          .b = a->f.w,
                          .c = a->dx,
                          .lda = a->lddy,
                          .ldb = a->f.K,
                          .ldc = a->lddx};
}
hy_gemm_args hy_linear_gemm_dw(const hy_linear_bwd_args *a) {
    return (hy_gemm_args){.M = a->f.N,
                          .N = a->f.K,
                          .K = a->f.M,
                          .trans_a = true,
                          .add = true,
                          .a = a->dy,
                          .b = a->f.x,
                          .c = a->dw,
                          .lda = a->lddy,
                          .ldb = a->f.ldx,
                          .ldc = a->f.K};
}

static hy_status run_linear_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_linear_bwd_args *a = args;
    if (a->f.M == 0) return HY_OK;
    if (a->dx) {
        hy_gemm_args g = hy_linear_gemm_dx(a);
        HY_TRY(hy_gemm_run(&g, NULL, req->threads));
    }
    if (a->dw) {
        hy_gemm_args g = hy_linear_gemm_dw(a);
        HY_TRY(hy_gemm_run(&g, ws, req->threads));
    }
    if (a->dbias || a->dres) HY_FAST_PICK(hy_fast_linear_sums, req->isa)(a, ws, req->threads);
    return HY_OK;
}

hy_status hy_cpu_plan_linear_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_linear_bwd_args *a = args;
    HY_TRY(check("linear_bwd", &a->f, true, req));
    HY_NEED("linear_bwd", a->lddy >= a->f.N && (!a->dx || a->lddx >= a->f.K) && (!a->dres || a->lddres >= a->f.N));
    *out = (hy_launch){0};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("linear_bwd", req, out, hy_ref_linear_bwd_f32, hy_ref_linear_bwd_f64);
    hy_gemm_args g = hy_linear_gemm_dw(a);
    size_t sums = a->dbias ? (size_t)hy_cpu_row_blocks(a->f.M) * a->f.N * sizeof(float) : 0,
           parts = hy_gemm_workspace(&g, req->threads);
    out->workspace = sums > parts ? sums : parts;
    out->run = run_linear_bwd;
    out->path = hy_gemm_path(req->isa, HY_F32);
    return HY_OK;
}
