// exec_memory.c - where every value, gradient and saved buffer lies, decided once per executor for its largest batch.
//
// Time runs over the forward ops 0 .. n-1, then the backward ops: op i runs backward at 2n-1-i. A buffer occupies an
// interval of that time, and two buffers may share memory if their intervals do not overlap (first fit, in order of
// start).
#include <stdlib.h>
#include <string.h>

#include "core/exec/exec_impl.h"

// ---------------------------------------------------------------------------------------------------- gradients
#define MAX_PARTS 8
typedef struct {
    int n, from[MAX_PARTS], to[MAX_PARTS];  // columns of the root whose gradient has been written, disjoint
    bool zero_first;                        // the parts do not cover it: all of it is zeroed, and every part added
    int first, last;  // when it is first written, and last read, by its producer's backward; first -1: never
    hy_val store;     // the root whose gradient buffer it uses
} grad_root;

typedef struct {
    const hy_program *p;
    hy_exec_layout *out;
    grad_root *g;
    bool restart;  // some zero_first was set after writes had been planned: plan again
} grad_plan;

static int covered(const grad_root *r) {
    int n = 0;
    for (int i = 0; i < r->n; i++) n += r->to[i] - r->from[i];
    return n;
}

// The columns of its root that value v is.
static void columns(const hy_program *p, hy_val v, int *from, int *to) {
    *from = (int)hy_value_column(p, v);
    *to = *from + p->values[v].width;
}

// Notes that the backward of op i writes the gradient of v. True: it must add to what is there.
static bool grad_write(grad_plan *gp, int i, hy_val v) {
    const hy_val root = hy_value_root(gp->p, v);
    grad_root *r = &gp->g[root];
    if (r->first < 0) {
        r->first = 2 * gp->p->n_ops - 1 - i;
        if (r->zero_first) {
            HY_ASSERT(gp->out->zero[i] == HY_NOVAL);
            gp->out->zero[i] = root;
        }
    }
    int from, to;
    columns(gp->p, v, &from, &to);
    for (int k = 0; k < r->n; k++) {
        if (from >= r->from[k] && to <= r->to[k]) return true;
        if (from < r->to[k] && to > r->from[k]) {  // partly written before
            if (!r->zero_first) gp->restart = r->zero_first = true;
            return true;
        }
    }
    HY_ASSERT(r->n < MAX_PARTS);
    r->from[r->n] = from;
    r->to[r->n++] = to;
    return r->zero_first;
}

// The gradient of input k is the output's, unchanged: it may live in the same buffer if nobody wrote it before. The
// kernel then writes nothing there; later writers add.
static bool can_share_grad(const grad_plan *gp, const hy_op *op, int k) {
    const hy_program *p = gp->p;
    const hy_val root = hy_value_root(p, op->in[k]);
    const grad_root *r = &gp->g[root];
    return r->first < 0 && !r->zero_first && p->values[root].width == p->values[op->in[k]].width &&
           p->values[op->out].parent < 0 && !gp->g[op->out].zero_first;
}

static void grad_op(grad_plan *gp, int i) {
    const hy_program *p = gp->p;
    const hy_op *op = &p->ops[i];
    const hy_op_info *info = hy_op_of(op->kind);
    hy_exec_layout *out = gp->out;
    const int now = 2 * p->n_ops - 1 - i;
    if (info->passes != HY_PASSES_BOTH || op->head == HY_HEAD_LOGITS) return;
    if (op->out >= 0) {  // else gradients begin here
        grad_root *r = &gp->g[op->out];
        if (r->first < 0) return;  // nothing depends on it
        if (covered(r) < p->values[op->out].width && !r->zero_first) gp->restart = r->zero_first = true;
        r->last = now;
    }
    out->has_bwd[i] = true;
    hy_operand x;
    for (int k = 0; hy_operand_of(info->inputs, k, &x); k++) {
        if (op->in[k] < 0) continue;
        if (x.passes_grad && can_share_grad(gp, op, k)) {
            const hy_val root = hy_value_root(p, op->in[k]);
            grad_write(gp, i, op->in[k]);
            gp->g[root].store = gp->g[op->out].store;
            out->shares_grad[i] = true;
        } else if (grad_write(gp, i, op->in[k])) {
            out->acc[i] |= 1u << k;
        }
    }
}

static void plan_gradients(grad_plan *gp) {
    const hy_program *p = gp->p;
    do {
        gp->restart = false;
        for (int v = 0; v < p->n_values; v++) {
            const bool keep = gp->g[v].zero_first;
            gp->g[v] = (grad_root){.zero_first = keep, .first = -1, .last = -1, .store = v};
        }
        for (int i = 0; i < p->n_ops; i++) {
            gp->out->acc[i] = 0;
            gp->out->zero[i] = HY_NOVAL;
            gp->out->has_bwd[i] = gp->out->shares_grad[i] = false;
        }
        for (int i = p->n_ops - 1; i >= 0; i--) grad_op(gp, i);
    } while (gp->restart);
}

// ---------------------------------------------------------------------------------------------------- placing
typedef struct {
    size_t bytes, offset;
    int start, end;  // inclusive
    size_t *where;
} buffer;

static int by_start(const void *a, const void *b) {
    const buffer *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}
static int by_offset(const void *a, const void *b) {
    const buffer *const *x = a, *const *y = b;
    return (*x)->offset < (*y)->offset ? -1 : (*x)->offset > (*y)->offset;
}

static size_t place(buffer *b, int n) {
    qsort(b, (size_t)n, sizeof *b, by_start);
    buffer **live = hy_xcalloc((size_t)n, sizeof *live);  // sorted by offset
    int n_live = 0;
    size_t top = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        for (int j = 0; j < n_live; j++)
            if (live[j]->end >= b[i].start) live[k++] = live[j];
        n_live = k;
        size_t at = 0;
        for (int j = 0; j < n_live && at + b[i].bytes > live[j]->offset; j++)
            if (live[j]->offset + live[j]->bytes > at) at = live[j]->offset + live[j]->bytes;
        b[i].offset = at;
        *b[i].where = at;
        live[n_live++] = &b[i];
        qsort(live, (size_t)n_live, sizeof *live, by_offset);
        if (at + b[i].bytes > top) top = at + b[i].bytes;
    }
    free(live);
    return top;
}

static size_t value_bytes(const hy_program *p, hy_val v, hy_dtype dt, int rows, int out_rows) {
    size_t n = (size_t)(p->values[v].rows == HY_ROWS_OUT ? out_rows : rows) * (size_t)p->values[v].width;
    return hy_align(n * hy_dtype_size(dt));
}

// When each forward value is made (start) and last read (end), by later ops or by backward kernels.
static void forward_lives(const hy_program *p, hy_exec_mode mode, const hy_exec_layout *plan, int *start, int *end) {
    const int n = p->n_ops;
    for (int v = 0; v < p->n_values; v++) start[v] = end[v] = -1;
    for (int i = 0; i < n; i++) {
        const hy_op *op = &p->ops[i];
        const hy_op_info *info = hy_op_of(op->kind);
        if (hy_exec_keeps(mode) && op->head == HY_HEAD_LOGITS) continue;
        const bool bwd = hy_exec_keeps(mode) && plan->has_bwd[i];
        const int back = 2 * n - 1 - i;
        hy_operand x;
        for (int k = 0; hy_operand_of(info->inputs, k, &x); k++) {
            if (op->in[k] < 0) continue;
            const hy_val r = hy_value_root(p, op->in[k]);
            const int t = bwd && x.bwd_reads ? back : i;
            if (t > end[r]) end[r] = t;
        }
        if (!hy_operand_of(info->output, 0, &x)) continue;
        start[op->out] = i;
        const int t = bwd && x.bwd_reads ? back : i;
        if (t > end[op->out]) end[op->out] = t;
    }
    // Logits are read after the pass, in inference: nothing may be placed over them, so nothing is made after them.
    HY_ASSERT(p->logits < 0 || start[p->logits] < 0 || start[p->logits] == n - 1);
}

void hy_exec_layout_make(const hy_program *p, hy_exec_mode mode, hy_dtype dt, int rows, int out_rows,
                         const size_t *saved, hy_exec_layout *out) {
    const size_t nv = (size_t)p->n_values, no = (size_t)p->n_ops;
    *out = (hy_exec_layout){.val = hy_xcalloc(nv, sizeof(size_t)),
                            .grad = hy_xcalloc(nv, sizeof(size_t)),
                            .saved = hy_xcalloc(no, sizeof(size_t)),
                            .acc = hy_xcalloc(no, sizeof(unsigned)),
                            .zero = hy_xcalloc(no, sizeof(hy_val)),
                            .has_bwd = hy_xcalloc(no, sizeof(bool)),
                            .shares_grad = hy_xcalloc(no, sizeof(bool))};
    grad_plan gp = {.p = p, .out = out, .g = hy_xcalloc(nv, sizeof(grad_root))};
    if (hy_exec_keeps(mode)) plan_gradients(&gp);

    int *start = hy_xcalloc(nv * 2, sizeof(int)), *end = start + nv, n = 0;
    forward_lives(p, mode, out, start, end);
    buffer *b = hy_xcalloc(2 * nv + no, sizeof *b);
    for (int v = 0; v < p->n_values; v++) {
        out->val[v] = out->grad[v] = HY_NOWHERE;
        if (p->values[v].parent >= 0 || start[v] < 0) continue;
        const size_t bytes = value_bytes(p, v, dt, rows, out_rows);
        b[n++] = (buffer){.bytes = bytes, .start = start[v], .end = end[v], .where = &out->val[v]};
        out->use.activations += bytes;
    }
    for (int v = 0; hy_exec_keeps(mode) && v < p->n_values; v++) {  // one buffer per group of aliased gradients
        if (gp.g[v].first < 0 || gp.g[v].store != v) continue;
        buffer x = {.bytes = value_bytes(p, v, dt, rows, out_rows),
                    .start = gp.g[v].first,
                    .end = gp.g[v].last,
                    .where = &out->grad[v]};
        for (int u = 0; u < p->n_values; u++)
            if (gp.g[u].store == v && gp.g[u].first >= 0 && gp.g[u].last > x.end) x.end = gp.g[u].last;
        b[n++] = x;
        out->use.gradients += x.bytes;
    }
    for (int i = 0; i < p->n_ops; i++) {
        out->saved[i] = HY_NOWHERE;
        if (!saved[i] || !out->has_bwd[i]) continue;
        b[n++] =
            (buffer){.bytes = hy_align(saved[i]), .start = i, .end = 2 * p->n_ops - 1 - i, .where = &out->saved[i]};
        out->use.saved += hy_align(saved[i]);
    }
    out->arena_bytes = place(b, n);
    for (int v = 0; hy_exec_keeps(mode) && v < p->n_values; v++)
        if (gp.g[v].first >= 0) out->grad[v] = out->grad[gp.g[v].store];
    free(b);
    free(start);
    free(gp.g);
}

void hy_exec_layout_free(hy_exec_layout *plan) {
    free(plan->val);
    free(plan->grad);
    free(plan->saved);
    free(plan->acc);
    free(plan->zero);
    free(plan->has_bwd);
    free(plan->shares_grad);
}
