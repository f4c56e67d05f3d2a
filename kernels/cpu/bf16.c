// bf16.c - see bf16.h. The correct path of every processor: the float32 kernel of the same instruction set runs on
// widened copies of its bfloat16 operands, and what it writes is rounded once, to nearest and ties to even. Row-wise
// kernels go through their rows in blocks, so that the copies stay in the cache. Results are those of the float32
// kernel on these numbers, rounded: what holds for its bits (threads, batches, chunks) holds here.
#include "kernels/cpu/bf16.h"

#include <string.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/linear.h"

static void widen(const uint16_t *src, float *dst, int n, hy_isa isa) {
    HY_FAST_PICK(hy_fast_widen, isa)(src, n, dst, n, 1, n);
}

static size_t size_of(hy_kernel_id id) {
    static const size_t sizes[] = {
#define X(name) sizeof(hy_##name##_args),
        HY_KERNELS(X)
#undef X
    };
    return sizes[id];
}
static hy_status plan_float(hy_kernel_id id, const void *args, const hy_plan_req *req, hy_launch *out) {
    static const hy_plan_fn plans[] = {
#define X(name) hy_cpu_plan_##name,
        HY_KERNELS(X)
#undef X
    };
    return plans[id](args, req, out);
}
hy_status hy_cpu_plan_any(hy_kernel_id id, const void *args, const hy_plan_req *req, hy_launch *out) {
    return req->dtype == HY_BF16 ? hy_cpu_plan_bf16(id, args, req, out) : plan_float(id, args, req, out);
}

// ---------------------------------------------------------------------------------------------------- copies
// Rows of a block. A product of fewer than HY_GEMM_ROWS rows takes another path, so a last block that small is joined
// to the one before.
#define BLOCK_BYTES (2 << 20)  // of copies: a part of the last cache
#define BLOCK_ROWS 256         // at least: a product packs its weights once for each block
static int block_rows(const hy_cpu_operands *l) {
    size_t row = 1;
    for (int i = 0; i < l->n; i++) row += (size_t)l->v[i].cols * sizeof(float);
    const size_t rows = BLOCK_BYTES / row;
    return rows < BLOCK_ROWS ? BLOCK_ROWS : rows > 8192 ? 8192 : (int)rows / 32 * 32;
}
static int next_block(int left, int step) { return left - step < HY_GEMM_ROWS ? left : step; }
static int largest_block(int rows, int step) {
    if (rows < step + HY_GEMM_ROWS) return rows;
    const int last = (rows - HY_GEMM_ROWS) % step + HY_GEMM_ROWS;  // of the last block
    return last > step ? last : step;
}

static size_t copy_bytes(size_t rows, int cols) { return hy_align(rows * (size_t)cols * sizeof(float)); }
// Widened keys and values of a cache, both whole: the kernel finds slots in them.
static size_t cache_bytes(const hy_attention_args *a, bool keys) {
    return copy_bytes((size_t)a->B * (size_t)a->kv_heads * (size_t)a->cache.cap, keys ? a->d_qk : a->d_v);
}

// ---------------------------------------------------------------------------------------------------- plan
static hy_plan_req as_float(const hy_plan_req *req) {
    hy_plan_req r = *req;
    r.dtype = HY_F32;
    return r;
}
// Arguments as the float32 kernel gets them, with `rows` rows (a row-wise kernel): copies in closed rows, a float32
// matrix. The list has the addresses of what stood there.
static void exchange(hy_cpu_operands *l, int rows) {
    if (l->rows) *l->rows = rows;
    for (int i = 0; i < l->n; i++) {
        if (l->v[i].ld) *l->v[i].ld = l->v[i].cols;
        *l->v[i].p = HY_PRESENT;
    }
    if (l->w) *l->w_dtype = HY_F32;
}
static const char *path_name(hy_isa isa, const char *inner) {
    static const char *const names[][2] = {{"ref (bf16 as f32)", "ref (bf16 as f32)"},
                                           {"base (bf16 as f32)", "base+onednn (bf16 as f32)"},
                                           {"avx2 (bf16 as f32)", "avx2+onednn (bf16 as f32)"},
                                           {"avx512 (bf16 as f32)", "avx512+onednn (bf16 as f32)"}};
    return names[isa][strstr(inner, "onednn") != NULL];
}

static hy_status run_of(hy_kernel_id id, const void *args, void *ws, const hy_plan_req *req);
#define X(name)                                                                       \
    static hy_status run_##name(const void *args, void *ws, const hy_plan_req *req) { \
        return run_of(HY_K_##name, args, ws, req);                                    \
    }
HY_KERNELS(X)
#undef X
static hy_status (*const runs[])(const void *, void *, const hy_plan_req *) = {
#define X(name) run_##name,
    HY_KERNELS(X)
#undef X
};

// What the copies take, and where the kernel's own scratch begins.
static size_t copies_bytes(const hy_cpu_operands *l, const hy_cpu_args *a, int rows) {
    size_t n = 0;
    for (int i = 0; i < l->n; i++) n += copy_bytes(l->rows ? (size_t)rows : l->v[i].rows, l->v[i].cols);
    if (l->w) n += hy_align(l->w_n * sizeof(float));
    if (l->cache) n += cache_bytes(&a->attention, true) + cache_bytes(&a->attention, false);
    return n;
}

// Kernels that the processor's own bfloat16 products serve.
static bool plan_half(hy_kernel_id id, const void *args, const hy_plan_req *req, hy_launch *out) {
    switch (id) {
        case HY_K_linear: return hy_cpu_half_linear(args, req, out);
        case HY_K_linear_bwd: return hy_cpu_half_linear_bwd(args, req, out);
        case HY_K_lm_loss: return hy_cpu_half_lm_loss(args, req, out);
        case HY_K_lm_loss_bwd: return hy_cpu_half_lm_loss_bwd(args, req, out);
        default: return false;
    }
}

hy_status hy_cpu_plan_bf16(hy_kernel_id id, const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_plan_req inner = as_float(req);
    hy_cpu_args a;
    hy_cpu_operands l;
    memcpy(&a, args, size_of(id));
    hy_launch f = {0};
    if (plan_half(id, args, req, out)) return HY_OK;
    if (id == HY_K_gather || id == HY_K_kv_append || !hy_cpu_list_operands(id, &a, &l)) {
        HY_TRY(plan_float(id, args, &inner, &f));  // moves of whole elements, and kernels of parameters alone
        *out = (hy_launch){.path = path_name(req->isa, f.path), .workspace = f.workspace, .run = runs[id]};
        return HY_OK;
    }
    if (l.w && *l.w_dtype != HY_F32 && *l.w_dtype != HY_BF16) return hy_error(HY_EINPUT, "weights of another type");
    hy_cpu_operands first = l;
    // Before the copies: what the kernel itself says of these shapes and row distances.
    if (l.w) *l.w_dtype = HY_F32;
    HY_TRY(plan_float(id, &a, &inner, &f));
    const int all = l.rows ? *l.rows : 0, step = l.rows ? block_rows(&l) : 0, most = largest_block(all, step);
    size_t scratch = 0, saved = f.saved;
    const char *path = f.path;
    for (int at = 0, n; l.rows ? at < all : at == 0; at += l.rows ? n : 1) {
        n = l.rows ? next_block(all - at, step) : 0;
        exchange(&first, n);
        HY_TRY(plan_float(id, &a, &inner, &f));
        if (f.workspace > scratch) scratch = f.workspace;
        HY_ASSERT(!l.rows || f.saved == 0);
    }
    *out = (hy_launch){.path = path_name(req->isa, path),
                       .workspace = copies_bytes(&l, &a, most) + scratch,
                       .saved = saved,
                       .run = runs[id]};
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- run
typedef struct {
    const uint16_t *half;  // the operand as it came; written through `to`
    uint16_t *to;
    size_t ld;
} place;

typedef struct {
    const place *p;
    float *wide;
    int cols;
    hy_isa isa;
} rows_ctx;
static void widen_some(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const rows_ctx *c = ctx;
    for (size_t r = (size_t)from; r < (size_t)to; r++)
        widen(c->p->half + r * c->p->ld, c->wide + r * (size_t)c->cols, c->cols, c->isa);
}
static void round_some(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const rows_ctx *c = ctx;
    for (size_t r = (size_t)from; r < (size_t)to; r++)
        HY_FAST_PICK(hy_fast_row_round, c->isa)(c->p->to + r * c->p->ld, c->wide + r * (size_t)c->cols, c->cols);
}
static void each_row(hy_piece_fn *fn, const hy_cpu_operand *o, const place *p, size_t rows, float *wide,
                     const hy_plan_req *req) {
    const rows_ctx c = {p, wide, o->cols, req->isa};
    hy_parallel(hy_cpu_threads(req, rows * (size_t)o->cols), (long)rows, 0, fn, &c);
}

typedef struct {
    const uint16_t *src;
    float *dst;
    size_t n;
    const hy_attention_args *a;  // of a cache
    int width;
    hy_isa isa;
} flat_ctx;
#define PIECE ((size_t)1 << 14)
static void widen_pieces(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const flat_ctx *c = ctx;
    for (size_t i = (size_t)from * PIECE; i < c->n && i < (size_t)to * PIECE; i += PIECE)
        widen(c->src + i, c->dst + i, (int)(c->n - i < PIECE ? c->n - i : PIECE), c->isa);
}

// The slots that hold something are the first ones of each head; the others are never looked at.
static void widen_heads(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const flat_ctx *c = ctx;
    const hy_attention_args *a = c->a;
    const size_t width = (size_t)c->width, head = (size_t)a->cache.cap * width;
    for (long h = from; h < to; h++) {
        const int pos = a->pos[h / a->kv_heads], used = pos < a->cache.cap ? pos : a->cache.cap;
        const uint16_t *src = c->src + (size_t)h * head;
        float *dst = c->dst + (size_t)h * head;
        for (int s = 0; s < used; s++) widen(src + (size_t)s * width, dst + (size_t)s * width, c->width, c->isa);
        memset(dst + (size_t)used * width, 0, (head - (size_t)used * width) * sizeof *dst);
    }
}

// Widens matrix and cache into ws; returns the first byte after them.
static hy_status wide_parts(hy_cpu_operands *l, hy_cpu_args *a, char **ws, const hy_plan_req *req) {
    if (l->w) {
        const flat_ctx c = {.src = *l->w, .dst = (float *)*ws, .n = l->w_n, .isa = req->isa};
        hy_parallel(hy_cpu_threads(req, l->w_n), (long)((l->w_n + PIECE - 1) / PIECE), 0, widen_pieces, &c);
        *l->w = *ws;
        *ws += hy_align(l->w_n * sizeof(float));
    }
    if (!l->cache) return HY_OK;
    hy_attention_args *f = &a->attention;
    HY_TRY(hy_cpu_attention_check_data(f));
    for (int keys = 1; keys >= 0; keys--) {
        void **p = keys ? &f->cache.k : &f->cache.v;
        const flat_ctx c = {.src = *p, .dst = (float *)*ws, .a = f, .width = keys ? f->d_qk : f->d_v, .isa = req->isa};
        hy_parallel(req->threads, (long)f->B * f->kv_heads, 0, widen_heads, &c);
        *p = *ws;
        *ws += cache_bytes(f, keys);
    }
    return HY_OK;
}

static hy_status run_block(hy_kernel_id id, const hy_cpu_args *a, const hy_cpu_operands *l, const place *p, int at,
                           int rows, char *ws, const hy_plan_req *inner) {
    float *copy[HY_CPU_OPERANDS];
    for (int i = 0; i < l->n; i++) {
        const hy_cpu_operand *o = &l->v[i];
        const size_t n = l->rows ? (size_t)rows : o->rows;
        place here = p[i];
        here.half += (size_t)at * here.ld;
        *o->p = ws;
        copy[i] = (float *)ws;
        if (o->in) each_row(widen_some, o, &here, n, (float *)ws, inner);
        ws += copy_bytes(n, o->cols);
    }
    hy_launch f = {0};
    HY_TRY(plan_float(id, a, inner, &f));
    HY_TRY(f.run(a, f.workspace ? ws : NULL, inner));
    for (int i = 0; i < l->n; i++) {
        place here = p[i];
        here.to += (size_t)at * here.ld;
        if (l->v[i].out) each_row(round_some, &l->v[i], &here, l->rows ? (size_t)rows : l->v[i].rows, copy[i], inner);
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- moves
static void move_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_gather_args *a = ctx;
    for (long i = from; i < to; i++)
        memcpy((uint16_t *)a->y + (size_t)i * (size_t)a->ldy,
               (const uint16_t *)a->x + (size_t)a->idx[i] * (size_t)a->ldx, (size_t)a->C * sizeof(uint16_t));
}
// What a ring overwrites is overwritten in the order of positions.
static void move_heads(const hy_kv_append_args *a, int b, int t) {
    const size_t row = (size_t)b * (size_t)a->T + (size_t)t;
    const int at = hy_attn_slot(a->pos[b] + t, a->meta, a->cache.cap);
    for (int h = 0; h < a->kv_heads; h++) {
        const size_t slot = ((size_t)b * (size_t)a->kv_heads + (size_t)h) * (size_t)a->cache.cap + (size_t)at,
                     nk = (size_t)a->d_qk, nv = (size_t)a->d_v;
        memcpy((uint16_t *)a->cache.k + slot * nk, (const uint16_t *)a->k + row * (size_t)a->ldk + (size_t)h * nk,
               nk * sizeof(uint16_t));
        memcpy((uint16_t *)a->cache.v + slot * nv, (const uint16_t *)a->v + row * (size_t)a->ldv + (size_t)h * nv,
               nv * sizeof(uint16_t));
    }
}
static void move_tokens(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_kv_append_args *a = ctx;
    for (int b = (int)from; b < (int)to; b++)
        for (int t = 0; t < a->len[b]; t++) move_heads(a, b, t);
}
static hy_status move(hy_kernel_id id, const void *args, const hy_plan_req *req) {
    if (id == HY_K_gather) {
        const hy_gather_args *g = args;
        hy_parallel(hy_cpu_threads(req, (size_t)g->n * (size_t)g->C), g->n, 0, move_rows, g);
        return HY_OK;
    }
    const hy_kv_append_args *a = args;
    HY_TRY(hy_cpu_kv_append_check_data(a));
    const size_t values = (size_t)a->B * (size_t)a->T * (size_t)a->kv_heads * (size_t)(a->d_qk + a->d_v);
    hy_parallel(hy_cpu_threads(req, values), a->B, 0, move_tokens, a);
    return HY_OK;
}

static hy_status run_of(hy_kernel_id id, const void *args, void *ws, const hy_plan_req *req) {
    const hy_plan_req inner = as_float(req);
    if (id == HY_K_gather || id == HY_K_kv_append) return move(id, args, req);
    hy_cpu_args a;
    hy_cpu_operands l;
    memcpy(&a, args, size_of(id));
    hy_launch f = {0};
    if (!hy_cpu_list_operands(id, &a, &l)) {
        HY_TRY(plan_float(id, args, &inner, &f));
        return f.run(args, ws, &inner);
    }
    place p[HY_CPU_OPERANDS];
    for (int i = 0; i < l.n; i++) p[i] = (place){*l.v[i].p, *l.v[i].p, (size_t)(l.v[i].ld ? *l.v[i].ld : l.v[i].cols)};
    const int all = l.rows ? *l.rows : 0, step = l.rows ? block_rows(&l) : 0;
    char *at_ws = ws;
    HY_TRY(wide_parts(&l, &a, &at_ws, req));
    if (!l.rows) {
        exchange(&l, 0);
        return run_block(id, &a, &l, p, 0, 0, at_ws, &inner);
    }
    for (int at = 0, n; at < all; at += n) {
        n = next_block(all - at, step);
        exchange(&l, n);
        HY_TRY(run_block(id, &a, &l, p, at, n, at_ws, &inner));
    }
    return HY_OK;
}
