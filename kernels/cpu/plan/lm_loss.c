// lm_loss.c - plans of lm_loss and lm_loss_bwd, and how float32 runs: the labelled rows in blocks, for each block one
// product for the logits, the softmax in place, and two products for the gradients. Logits of one block only are held.
#include <string.h>

#include "kernels/cpu/linear.h"
#include "kernels/cpu/lm_loss.h"

#define BLOCK_ROWS 512  // more rows make the product for dw no faster; below 1024 it needs no partial sums
#define BLOCK_LOGITS (4 * 1024 * 1024)  // 16 MB, the size of a large cache

int hy_lm_loss_block(int rows, int V) {
    int n = BLOCK_LOGITS / V;
    n = n > BLOCK_ROWS ? BLOCK_ROWS : n < HY_GEMM_ROWS ? HY_GEMM_ROWS : n;
    return n < rows ? n : rows;
}

hy_linear_bwd_args hy_lm_loss_linear(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, int m, const void *x,
                                     int ldx, float *logits) {
    return (hy_linear_bwd_args){.f = {.M = m,
                                      .N = a->V,
                                      .K = a->C,
                                      .x = x,
                                      .w = a->w,
                                      .w_dtype = a->w_dtype,
                                      .y = logits,
                                      .ldx = ldx,
                                      .ldy = a->V},
                                .dy = logits,
                                .dw = b ? b->dw : NULL,
                                .lddy = a->V,
                                .acc = b ? b->acc & 1 : 0};
}

void hy_lm_loss_softmax(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, const int32_t *idx, int m,
                        float *logits, const hy_plan_req *req) {
    const hy_softmax_args s = {.rows = m,
                               .V = a->V,
                               .logits = logits,
                               .idx = idx,
                               .labels = a->labels,
                               .nll = a->nll,
                               .pred = a->pred,
                               .scale = b ? *b->scale : 0,
                               .gradient = b && (b->dx || b->dw)};
    HY_FAST_PICK(hy_fast_softmax, req->isa)(&s, req->threads);
}

// Workspace: the labelled rows, one block of them gathered, its logits, its gradient, and widened weights.
typedef struct {
    int32_t *idx;
    float *x, *logits, *dx, *wide;
    size_t bytes;
} layout;
static layout lay_out(const hy_lm_loss_args *a, bool gradient, void *ws, const hy_plan_req *req) {
    size_t rows = (size_t)a->rows, m = (size_t)hy_lm_loss_block(a->rows, a->V),
           x = hy_align(m * (size_t)a->C * sizeof(float));
    size_t at_x = hy_align(rows * sizeof(int32_t)), at_logits = at_x + x;
    size_t at_dx = at_logits + hy_align(m * (size_t)a->V * sizeof(float));
    size_t at_wide = at_dx + (gradient ? x : 0);
    const hy_linear_bwd_args block = hy_lm_loss_linear(a, NULL, (int)m, NULL, a->C, NULL);
    const hy_gemm_args g = hy_linear_gemm_y(&block.f, req->isa);
    layout l = {.bytes = at_wide + hy_gemm_workspace(&g, req->threads)};
    if (ws) {
        char *p = ws;
        l.idx = (int32_t *)p;
        l.x = (float *)(p + at_x);
        l.logits = (float *)(p + at_logits);
        l.dx = (float *)(p + at_dx);
        l.wide = (float *)(p + at_wide);
    }
    return l;
}

hy_status hy_lm_loss_rows(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, size_t elem, int32_t *idx,
                          int *count) {
    int n = 0;
    for (int r = 0; r < a->rows; r++) {
        if (a->labels[r] >= a->V)
            return hy_error(HY_EINPUT, "label %d of row %d is outside the vocabulary of %d", a->labels[r], r, a->V);
        if (a->labels[r] >= 0) {
            idx[n++] = r;
            continue;
        }
        ((float *)a->nll)[r] = 0;
        a->pred[r] = -1;
        if (b && b->dx && !(b->acc & 1)) memset((char *)b->dx + (size_t)r * b->lddx * elem, 0, (size_t)a->C * elem);
    }
    *count = n;
    return HY_OK;
}

static void add_rows(const hy_lm_loss_bwd_args *b, const int32_t *idx, int m, const float *src) {
    int C = b->f.C;
    for (int i = 0; i < m; i++) {
        float *dst = (float *)b->dx + (size_t)idx[i] * b->lddx;
        if (!(b->acc & 1))
            memcpy(dst, src + (size_t)i * C, (size_t)C * sizeof *dst);
        else
            for (int c = 0; c < C; c++) dst[c] += src[(size_t)i * C + c];
    }
}

// The product of many rows by the one of few, whose rows have the same bits in any number.
static void run_by_token(const hy_gemm_args *g, bool bf16, const hy_plan_req *req) {
    const hy_gemv_args v = {
        .M = g->M, .N = g->N, .K = g->K, .ldx = g->lda, .ldy = g->ldc, .x = g->a, .w = g->b, .bf16 = bf16, .y = g->c};
    HY_FAST_PICK(hy_fast_gemv, req->isa)(&v, req->threads);
}

// One block: rows idx[0 .. m-1]. Neighbouring rows are used where they lie, others are gathered.
static hy_status run_block(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, const layout *l, const int32_t *idx,
                           int m, const hy_plan_req *req) {
    bool joined = idx[m - 1] - idx[0] == m - 1;
    const float *x = joined ? (const float *)a->x + (size_t)idx[0] * a->ldx : l->x;
    int ldx = joined ? a->ldx : a->C;
    for (int i = 0; i < m && !joined; i++)
        memcpy(l->x + (size_t)i * a->C, (const float *)a->x + (size_t)idx[i] * a->ldx, (size_t)a->C * sizeof(float));
    hy_linear_bwd_args block = hy_lm_loss_linear(a, b, m, x, ldx, l->logits);
    const hy_gemm_args logits = hy_linear_gemm_y(&block.f, req->isa);
    if (req->by_token)
        run_by_token(&logits, a->w_dtype == HY_BF16, req);
    else
        HY_TRY(hy_gemm_run(&logits, l->wide, req->threads));
    hy_lm_loss_softmax(a, b, idx, m, l->logits, req);
    if (b && b->dx) {
        block.dx = joined ? (float *)b->dx + (size_t)idx[0] * b->lddx : l->dx;
        block.lddx = joined ? b->lddx : a->C;
        if (!joined) block.acc = 0;
        const hy_gemm_args g = hy_linear_gemm_dx(&block);
        HY_TRY(hy_gemm_run(&g, NULL, req->threads));
        if (!joined) add_rows(b, idx, m, l->dx);
    }
    if (b && b->dw) {
        const hy_gemm_args g = hy_linear_gemm_dw(&block);
        HY_ASSERT(hy_gemm_workspace(&g, req->threads) == 0);
        HY_TRY(hy_gemm_run(&g, NULL, req->threads));
    }
    return HY_OK;
}

static hy_status run_blocks(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, void *ws, const hy_plan_req *req) {
    if (a->rows == 0) return HY_OK;
    layout l = lay_out(a, b != NULL, ws, req);
    int n, step = hy_lm_loss_block(a->rows, a->V);
    HY_TRY(hy_lm_loss_rows(a, b, sizeof(float), l.idx, &n));
    for (int i = 0; i < n; i += step) HY_TRY(run_block(a, b, &l, l.idx + i, n - i < step ? n - i : step, req));
    return HY_OK;
}
static hy_status run_loss(const void *args, void *ws, const hy_plan_req *req) {
    return run_blocks(args, NULL, ws, req);
}
static hy_status run_loss_bwd(const void *args, void *ws, const hy_plan_req *req) {
    const hy_lm_loss_bwd_args *b = args;
    return run_blocks(&b->f, b, ws, req);
}

// ---------------------------------------------------------------------------------------------------- plans
static hy_status check(const char *op, const hy_lm_loss_args *a, bool backward, const hy_plan_req *req) {
    HY_TRY(hy_cpu_check_weight(op, a->w_dtype, backward, req));
    HY_NEED(op, a->rows >= 0 && a->C >= 1 && a->V >= 1 && a->ldx >= a->C);
    return HY_OK;
}

hy_status hy_cpu_plan_lm_loss(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_lm_loss_args *a = args;
    HY_TRY(check("lm_loss", a, false, req));
    *out = (hy_launch){.workspace = (size_t)a->V * sizeof(double)};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32) {
        HY_TRY(hy_cpu_choose_ref("lm_loss", req, out, hy_ref_lm_loss_f32, hy_ref_lm_loss_f64));
        out->path = hy_cpu_path(HY_ISA_REF, a->w_dtype);
        return HY_OK;
    }
    *out = (hy_launch){
        .path = hy_gemm_path(req->isa, a->w_dtype), .workspace = lay_out(a, false, NULL, req).bytes, .run = run_loss};
    return HY_OK;
}

hy_status hy_cpu_plan_lm_loss_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_lm_loss_bwd_args *a = args;
    HY_TRY(check("lm_loss_bwd", &a->f, true, req));
    HY_NEED("lm_loss_bwd", !a->dx || a->lddx >= a->f.C);
    *out = (hy_launch){.workspace = (size_t)a->f.V * sizeof(double)};
    if (req->isa == HY_ISA_REF || req->dtype != HY_F32)
        return hy_cpu_choose_ref("lm_loss_bwd", req, out, hy_ref_lm_loss_bwd_f32, hy_ref_lm_loss_bwd_f64);
    *out = (hy_launch){.path = hy_gemm_path(req->isa, HY_F32),
                       .workspace = lay_out(&a->f, true, NULL, req).bytes,
                       .run = run_loss_bwd};
    return HY_OK;
}
