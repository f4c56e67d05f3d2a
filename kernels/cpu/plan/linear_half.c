// linear_half.c - linear and linear_bwd by the processor's own bfloat16 products: factors as they lie in memory, sums
// in float32, results rounded once (gradients of weights and biases are float32).
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/linear.h"

hy_gemm_args hy_linear_half(hy_gemm_args g) {
    g.half = true;
    g.widen = NULL;
    return g;
}
hy_gemm_args hy_linear_half_to(hy_gemm_args g, const hy_half_rows *to, hy_isa isa) {
    g = hy_linear_half(g);
    g.add = false;
    g.c = NULL;
    g.done = NULL;
    g.take = HY_FAST_PICK(hy_fast_linear_round, isa);
    g.ctx = to;
    return g;
}

// ---------------------------------------------------------------------------------------------------- forward
static hy_gemm_args gemm_y(const hy_linear_args *a, const hy_half_rows *to, hy_isa isa) {
    return hy_linear_half_to(hy_linear_gemm_y(a, isa), to, isa);
}

static hy_status run_linear(const void *args, void *ws, const hy_plan_req *req) {
    const hy_linear_args *a = args;
    const hy_half_rows to = {.bias = a->bias, .other = a->residual, .y = a->y, .ldother = a->ldres, .ldy = a->ldy};
    const hy_gemm_args g = gemm_y(a, &to, req->isa);
    return hy_gemm_run(&g, ws, req->threads);
}

bool hy_cpu_half_linear(const hy_linear_args *a, const hy_plan_req *req, hy_launch *out) {
    if (!hy_gemm_has_half(req->isa) || req->by_token || a->w_dtype != HY_BF16 || a->M < HY_GEMM_ROWS) return false;
    if (a->N < 1 || a->K < 1 || a->ldx < a->K || a->ldy < a->N || (a->residual && a->ldres < a->N)) return false;
    const hy_gemm_args g = gemm_y(a, NULL, req->isa);
    *out = (hy_launch){.path = HY_GEMM_HALF_PATH, .workspace = hy_gemm_workspace(&g, req->threads), .run = run_linear};
    return true;
}

// ---------------------------------------------------------------------------------------------------- backward
static hy_gemm_args gemm_dx(const hy_linear_bwd_args *a, const hy_half_rows *to, hy_isa isa) {
    return hy_linear_half_to(hy_linear_gemm_dx(a), to, isa);
}
static hy_gemm_args gemm_dw(const hy_linear_bwd_args *a) { return hy_linear_half(hy_linear_gemm_dw(a)); }

static hy_status run_linear_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_linear_bwd_args *a = args;
    if (a->dx) {
        const hy_half_rows to = {.other = a->acc & 1 ? a->dx : NULL, .y = a->dx, .ldother = a->lddx, .ldy = a->lddx};
        const hy_gemm_args g = gemm_dx(a, &to, req->isa);
        HY_TRY(hy_gemm_run(&g, ws, req->threads));
    }
    if (a->dw) {
        const hy_gemm_args g = gemm_dw(a);
        HY_TRY(hy_gemm_run(&g, ws, req->threads));
    }
    if (a->dbias || a->dres) HY_FAST_PICK(hy_fast_linear_half_sums, req->isa)(a, ws, req->threads);
    return HY_OK;
}

bool hy_cpu_half_linear_bwd(const hy_linear_bwd_args *a, const hy_plan_req *req, hy_launch *out) {
    const hy_linear_args *f = &a->f;
    if (!hy_gemm_has_half(req->isa) || f->w_dtype != HY_BF16 || f->M < HY_GEMM_ROWS) return false;
    if (f->N < 1 || f->K < 1 || f->ldx < f->K || a->lddy < f->N || (a->dx && a->lddx < f->K) ||
        (a->dres && a->lddres < f->N))
        return false;
    const hy_gemm_args x = gemm_dx(a, NULL, req->isa), w = gemm_dw(a);
    size_t most = a->dbias ? (size_t)hy_cpu_row_blocks(f->M) * (size_t)f->N * sizeof(float) : 0;
    if (a->dx && hy_gemm_workspace(&x, req->threads) > most) most = hy_gemm_workspace(&x, req->threads);
    if (a->dw && hy_gemm_workspace(&w, req->threads) > most) most = hy_gemm_workspace(&w, req->threads);
    *out = (hy_launch){.path = HY_GEMM_HALF_PATH, .workspace = most, .run = run_linear_bwd};
    return true;
}
