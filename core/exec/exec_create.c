// exec_create.c - creating an executor: everything is planned for its largest batch, then allocated. Also how much
// memory that takes, and the largest batch that would fit.
#include <stdlib.h>
#include <string.h>

#include "core/exec/exec_impl.h"

enum { DEVICE_BUFFERS = 11 };
typedef struct {
    void **p;
    size_t bytes;
} device_buffer;

static void device_buffers(hy_exec *e, device_buffer out[DEVICE_BUFFERS]) {
    const size_t rows = (size_t)e->max_rows, B = (size_t)e->max_B;
    const device_buffer all[DEVICE_BUFFERS] = {{(void **)&e->arena, e->layout.arena_bytes},
                                               {&e->workspace, e->workspace_bytes},
                                               {(void **)&e->ids, rows * 4},
                                               {(void **)&e->labels, rows * 4},
                                               {(void **)&e->pos, B * 4},
                                               {(void **)&e->len, B * 4},
                                               {(void **)&e->out_rows, (size_t)e->max_out * 4},
                                               {(void **)&e->pred, rows * 4},
                                               {&e->nll, rows * hy_dtype_size(hy_wide_type(e->dt))},
                                               {(void **)&e->scale, sizeof(double)},
                                               {(void **)&e->dropout, sizeof(uint64_t)}};
    memcpy(out, all, sizeof all);
}

// Everything except the allocation.
static hy_status plan_all(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int B, int T,
                          int max_out, hy_exec **out) {
    *out = NULL;
    if (B < 1 || T < 1 || (int64_t)B * T > (1 << 30))
        return hy_error(HY_EINPUT, "a batch of %d sequences of %d tokens is outside 1 .. 2^30 positions", B, T);
    hy_exec *e = hy_xcalloc(1, sizeof *e);
    e->mark.op = -1;
    *e = (hy_exec){.prog = p,
                   .be = be,
                   .dt = dt,
                   .mode = mode,
                   .max_B = B,
                   .max_T = T,
                   .max_rows = B * T,
                   .max_out = max_out,
                   .heads = HY_HEAD_LOSS | HY_HEAD_LOGITS};
    const int text = T > p->spec.meta_tokens ? T - p->spec.meta_tokens : 1;
    e->saved_most = hy_xcalloc((size_t)p->n_ops, sizeof *e->saved_most);
    // Kernels are planned with the acc bits, which depend on the program alone. What they save is known after that, so
    // the memory is laid out a second time.
    hy_exec_layout_make(p, mode, dt, B * T, max_out, e->saved_most, &e->layout);
    hy_status s = hy_exec_set_shape(e, B, T, max_out, mode == HY_EXEC_INFER ? text : 0);
    if (!s) s = hy_exec_plan_ops(e, &e->workspace_bytes, e->saved_most);
    hy_exec_layout_free(&e->layout);
    hy_exec_layout_make(p, mode, dt, B * T, max_out, e->saved_most, &e->layout);
    hy_exec_memory *m = &e->layout.use;
    m->arena = e->layout.arena_bytes;
    m->workspace = e->workspace_bytes;
    device_buffer dev[DEVICE_BUFFERS];
    device_buffers(e, dev);
    for (int i = 0; i < DEVICE_BUFFERS; i++) m->device += hy_align(dev[i].bytes);
    if (s)
        hy_exec_free(e);
    else
        *out = e;
    return s;
}

// ---------------------------------------------------------------------------------------------------- memory
hy_exec_memory hy_exec_memory_use(const hy_exec *e) { return e->layout.use; }

hy_status hy_exec_memory_plan(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int B, int T,
                              int max_out, hy_exec_memory *out) {
    hy_exec *e;
    HY_TRY(plan_all(p, be, dt, mode, B, T, max_out, &e));
    *out = e->layout.use;
    hy_exec_free(e);
    return HY_OK;
}

int hy_exec_fitting(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int most, int T,
                    bool logits, size_t bytes) {
    int fits = 0, not = most + 1;
    while (not -fits > 1) {
        const int B = fits + (not -fits) / 2;
        hy_exec_memory m;
        if (!hy_exec_memory_plan(p, be, dt, mode, B, T, logits ? B : 0, &m) && m.device <= bytes)
            fits = B;
        else
            not = B;
    }
    return fits;
}

// The error when memory ran out: what was needed and for what, what is free, and which batch would fit. `e` has freed
// its memory.
static hy_status too_large(const hy_exec *e) {
    const hy_exec_memory *m = &e->layout.use;
    const double mb = 1e6;
    hy_buf b = {0};
    hy_buf_printf(&b, "%s with %d sequences of %d tokens needs %.1f MB: ", e->prog->spec.name, e->max_B, e->max_T,
                  (double)m->device / mb);
    if (hy_exec_keeps(e->mode))
        hy_buf_printf(
            &b, "activations %.1f, activation gradients %.1f and saved for backward %.1f in one arena of %.1f, ",
            (double)m->activations / mb, (double)m->gradients / mb, (double)m->saved / mb, (double)m->arena / mb);
    else
        hy_buf_printf(&b, "activations %.1f, ", (double)m->arena / mb);
    hy_buf_printf(&b, "workspace %.1f", (double)m->workspace / mb);
    if (e->be->memory_free) {
        const size_t have = e->be->memory_free();
        const int B = hy_exec_fitting(e->prog, e->be, e->dt, e->mode, e->max_B, e->max_T, e->max_out > 0, have);
        hy_buf_printf(&b, "; %.1f MB are free", (double)have / mb);
        if (B)
            hy_buf_printf(&b, ", enough for a batch of %d", B);
        else
            hy_buf_printf(&b, ", too little for one sequence of that length");
        if (B && e->mode == HY_EXEC_TRAIN)
            hy_buf_printf(&b, ": with batch %d and accumulate times %d a step is about the same", B,
                          (e->max_B + B - 1) / B);
    } else {
        hy_buf_printf(&b, "; try a smaller batch");
        if (e->mode == HY_EXEC_TRAIN) hy_buf_printf(&b, " and as many times more of accumulate");
    }
    hy_status s = hy_error_context(HY_ENOMEM, "%s", b.s);
    free(b.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- creation
static void free_device(hy_exec *e) {
    device_buffer dev[DEVICE_BUFFERS];
    device_buffers(e, dev);
    for (int i = 0; i < DEVICE_BUFFERS; i++) {
        if (*dev[i].p) e->be->free(*dev[i].p);
        *dev[i].p = NULL;
    }
}

static hy_status allocate(hy_exec *e) {
    const size_t rows = (size_t)e->max_rows, out = (size_t)e->max_out;
    device_buffer dev[DEVICE_BUFFERS];
    device_buffers(e, dev);
    for (int i = 0; i < DEVICE_BUFFERS; i++) {
        *dev[i].p = e->be->alloc(dev[i].bytes);
        if (*dev[i].p) continue;
        free_device(e);
        return too_large(e);
    }
    for (int v = 0; v < e->prog->n_values; v++) {
        const size_t n = (e->prog->values[v].rows == HY_ROWS_OUT ? out : rows) * (size_t)e->prog->values[v].width *
                         hy_dtype_size(e->dt);
        if (n > e->h_raw_bytes) e->h_raw_bytes = n;
    }
    e->h_ids = hy_xcalloc(rows * 2, 4);
    e->h_labels = e->h_ids + rows;
    e->h_pos = hy_xcalloc((size_t)e->max_B * 2, 4);
    e->h_len = e->h_pos + e->max_B;
    e->h_pred = hy_xcalloc(rows, 4);
    e->h_nll = hy_xcalloc(rows, 4);
    return HY_OK;
}

hy_status hy_exec_create(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int B, int T,
                         int max_out, hy_exec **out) {
    hy_exec *e;
    *out = NULL;
    HY_TRY(plan_all(p, be, dt, mode, B, T, max_out, &e));
    hy_status s = allocate(e);
    if (s)
        hy_exec_free(e);
    else
        *out = e;
    return s;
}

void hy_exec_free(hy_exec *e) {
    if (!e) return;
    hy_exec_free_shapes(e);
    hy_exec_mark_free(e);
    free_device(e);
    hy_exec_layout_free(&e->layout);
    free(e->saved_most);
    free(e->h_ids);
    free(e->h_pos);
    free(e->h_pred);
    free(e->h_nll);
    free(e->h_logits);
    free(e->h_raw);
    free(e->path.s);
    free(e->seconds);
    free(e);
}
