// lm_loss_half.c - lm_loss and lm_loss_bwd by the processor's own bfloat16 products, in blocks of rows as in float32:
// logits and softmax are float32, the gradient of the logits is rounded once for its two products (as on a GPU).
#include <string.h>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/lm_loss.h"

// Workspace: the labelled rows; of one block of them x gathered, logits, their gradient rounded, dx; what products
// need.
typedef struct {
    int32_t *idx;
    uint16_t *x, *half, *dx;
    float *logits, *scratch;
    size_t bytes;
} layout;

static void *take(char **at, size_t bytes) {
    void *p = *at;
    *at += hy_align(bytes);
    return p;
}
static layout lay_out(const hy_lm_loss_args *a, bool gradient, void *ws, const hy_plan_req *req) {
    const size_t m = (size_t)hy_lm_loss_block(a->rows, a->V), C = (size_t)a->C, V = (size_t)a->V;
    const hy_linear_bwd_args block = hy_lm_loss_linear(a, NULL, (int)m, NULL, a->C, NULL);
    const hy_gemm_args g = hy_linear_half_to(hy_linear_gemm_dx(&block), NULL, req->isa);
    char *at = ws;
    layout l;
    l.idx = take(&at, (size_t)a->rows * sizeof *l.idx);
    l.x = take(&at, m * C * sizeof *l.x);
    l.logits = take(&at, m * V * sizeof *l.logits);
    l.half = take(&at, gradient ? m * V * sizeof *l.half : 0);
    l.dx = take(&at, gradient ? m * C * sizeof *l.dx : 0);
    l.scratch = take(&at, gradient ? hy_gemm_workspace(&g, req->threads) : 0);
    l.bytes = (size_t)(at - (char *)ws);
    return l;
}

typedef struct {
    const float *src;
    uint16_t *dst;
    int n;
    hy_isa isa;
} round_ctx;
static void round_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const round_ctx *c = ctx;
    for (long r = from; r < to; r++)
        HY_FAST_PICK(hy_fast_row_round, c->isa)(c->dst + (size_t)r * c->n, c->src + (size_t)r * c->n, c->n);
}

// Rows of dx to where they belong.
static void put_rows(const hy_lm_loss_bwd_args *b, const int32_t *idx, int m, const uint16_t *src) {
    const int C = b->f.C;
    for (int i = 0; i < m; i++) {
        uint16_t *dst = (uint16_t *)b->dx + (size_t)idx[i] * b->lddx;
        const uint16_t *from = src + (size_t)i * C;
        if (!(b->acc & 1))
            memcpy(dst, from, (size_t)C * sizeof *dst);
        else
            for (int c = 0; c < C; c++) dst[c] = hy_bf16_from_f32(hy_f32_from_bf16(dst[c]) + hy_f32_from_bf16(from[c]));
    }
}

// Products of the gradient of the logits of a block, rows idx[0 .. m-1].
static hy_status gradients(const hy_lm_loss_bwd_args *b, const hy_linear_bwd_args *block, const layout *l,
                           const int32_t *idx, const hy_plan_req *req) {
    const int m = block->f.M;
    const bool joined = idx[m - 1] - idx[0] == m - 1;
    if (b->dx) {
        uint16_t *dx = joined ? (uint16_t *)b->dx + (size_t)idx[0] * b->lddx : l->dx;
        const int ld = joined ? b->lddx : b->f.C;
        const hy_half_rows to = {.other = joined && block->acc ? dx : NULL, .y = dx, .ldother = ld, .ldy = ld};
        const hy_gemm_args g = hy_linear_half_to(hy_linear_gemm_dx(block), &to, req->isa);
        HY_TRY(hy_gemm_run(&g, l->scratch, req->threads));
        if (!joined) put_rows(b, idx, m, l->dx);
    }
    if (!b->dw) return HY_OK;
    const hy_gemm_args g = hy_linear_half(hy_linear_gemm_dw(block));
    HY_ASSERT(hy_gemm_workspace(&g, req->threads) == 0);
    return hy_gemm_run(&g, NULL, req->threads);
}

// One block: rows idx[0 .. m-1]. Neighbouring rows are used where they lie, others are gathered.
static hy_status run_block(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, const layout *l, const int32_t *idx,
                           int m, const hy_plan_req *req) {
    const bool joined = idx[m - 1] - idx[0] == m - 1;
    const uint16_t *x = joined ? (const uint16_t *)a->x + (size_t)idx[0] * a->ldx : l->x;
    for (int i = 0; i < m && !joined; i++)
        memcpy(l->x + (size_t)i * a->C, (const uint16_t *)a->x + (size_t)idx[i] * a->ldx, (size_t)a->C * sizeof *x);
    hy_linear_bwd_args block = hy_lm_loss_linear(a, b, m, x, joined ? a->ldx : a->C, l->logits);
    const hy_gemm_args logits = hy_linear_half(hy_linear_gemm_y(&block.f, req->isa));
    HY_TRY(hy_gemm_run(&logits, NULL, req->threads));
    hy_lm_loss_softmax(a, b, idx, m, l->logits, req);
    if (!b || (!b->dx && !b->dw)) return HY_OK;
    const round_ctx r = {l->logits, l->half, a->V, req->isa};
    hy_parallel(req->threads, m, 0, round_rows, &r);
    block.dy = l->half;
    return gradients(b, &block, l, idx, req);
}

static hy_status run_blocks(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, void *ws, const hy_plan_req *req) {
    const layout l = lay_out(a, b != NULL, ws, req);
    const int step = hy_lm_loss_block(a->rows, a->V);
    int n;
    HY_TRY(hy_lm_loss_rows(a, b, sizeof(uint16_t), l.idx, &n));
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
static bool serves(const hy_lm_loss_args *a, const hy_plan_req *req) {
    return hy_gemm_has_half(req->isa) && !req->by_token && a->w_dtype == HY_BF16 && a->rows >= HY_GEMM_ROWS &&
           a->C >= 1 && a->V >= 1 && a->ldx >= a->C;
}
bool hy_cpu_half_lm_loss(const hy_lm_loss_args *a, const hy_plan_req *req, hy_launch *out) {
    if (!serves(a, req)) return false;
    *out = (hy_launch){.path = HY_GEMM_HALF_PATH, .workspace = lay_out(a, false, NULL, req).bytes, .run = run_loss};
    return true;
}
bool hy_cpu_half_lm_loss_bwd(const hy_lm_loss_bwd_args *b, const hy_plan_req *req, hy_launch *out) {
    if (!serves(&b->f, req) || (b->dx && b->lddx < b->f.C)) return false;
    *out =
        (hy_launch){.path = HY_GEMM_HALF_PATH, .workspace = lay_out(&b->f, true, NULL, req).bytes, .run = run_loss_bwd};
    return true;
}
