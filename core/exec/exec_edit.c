// exec_edit.c - interventions: values are changed between the op that makes them and those that read them. On the host,
// as probes look there: exact, the same on every device, and slower than a kernel would be.
#include <math.h>
#include <stdlib.h>

#include "core/exec/exec.h"
#include "core/exec/exec_impl.h"

void hy_exec_set_edits(hy_exec *e, const hy_edit *edits, int n) {
    const hy_program *p = e->prog;
    HY_ASSERT(e->mode == HY_EXEC_INFER);
    for (int i = 0; i < n; i++) {
        const hy_edit *d = &edits[i];
        HY_ASSERT(d->value >= 0 && d->value < p->n_values && p->values[d->value].rows == HY_ROWS_TOKENS);
        HY_ASSERT(d->col >= 0 && d->width > 0 && d->col + d->width <= p->values[d->value].width);
    }
    e->edits = edits;
    e->n_edits = n;
}

// A value in host memory as the device has it.
typedef struct {
    void *raw;
    size_t ld, col, bytes;
    void *device;
} on_host;

static hy_status take(const hy_exec *e, hy_val v, on_host *out) {
    const hy_val root = hy_value_root(e->prog, v);
    const size_t rows = (size_t)e->B * (size_t)e->T;
    *out = (on_host){.ld = (size_t)e->prog->values[root].width,
                     .col = hy_value_column(e->prog, v),
                     .device = e->arena + e->layout.val[root]};
    out->bytes = rows * out->ld * hy_dtype_size(e->dt);
    out->raw = hy_alloc(out->bytes);
    return out->raw ? e->be->to_host(out->raw, out->device, out->bytes) : HY_ENOMEM;
}

// in: what the op read, NULL where the edit does not want it.
static void edit_rows(const hy_exec *e, const hy_edit *d, on_host *out, const on_host *in) {
    const size_t W = (size_t)d->width, first = (size_t)d->col;
    for (size_t r = 0; r < (size_t)e->B * (size_t)e->T; r++) {
        const int t = (int)(r % (size_t)e->T);
        if (d->to > 0 && (t < d->from || t >= d->to)) continue;
        for (size_t c = 0; c < W; c++) {
            double v = in ? hy_host_element(e->dt, in->raw, r * in->ld + in->col + first + c) : 0;
            if (in && d->silu) v /= 1 + exp(-v);
            if (d->with) v += (double)d->with[r * (size_t)d->ld + c];
            hy_host_put(e->dt, out->raw, r * out->ld + out->col + first + c, v);
        }
    }
}

static hy_status edit_one(hy_exec *e, const hy_op *op, const hy_edit *d) {
    on_host out, in = {0};
    HY_ASSERT(d->input < 0 || e->prog->values[op->in[d->input]].width == e->prog->values[d->value].width);
    hy_status s = take(e, d->value, &out);
    if (!s && d->input >= 0) s = take(e, op->in[d->input], &in);
    if (!s) {
        edit_rows(e, d, &out, d->input >= 0 ? &in : NULL);
        s = e->be->from_host(out.device, out.raw, out.bytes);
    }
    free(out.raw), free(in.raw);
    return s;
}

hy_status hy_exec_edit_output(hy_exec *e, int i) {
    const hy_op *op = &e->prog->ops[i];
    for (int k = 0; k < e->n_edits; k++)
        if (op->out >= 0 && hy_value_root(e->prog, e->edits[k].value) == op->out) HY_TRY(edit_one(e, op, &e->edits[k]));
    return HY_OK;
}
