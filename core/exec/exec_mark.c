// exec_mark.c - going on from the middle of a pass. The values that cross the place are copied to the host, where edits
// are made too; later ops may lie on their memory.
#include <stdlib.h>

#include "core/exec/exec_impl.h"

void hy_exec_mark_free(hy_exec *e) {
    free(e->mark.value), free(e->mark.at), free(e->mark.data);
    e->mark = (hy_exec_kept){.op = -1};
}

static size_t bytes_of(const hy_exec *e, hy_val root) {
    const hy_value *v = &e->prog->values[root];
    const size_t rows = v->rows == HY_ROWS_OUT ? (size_t)e->n_out : (size_t)e->B * (size_t)e->T;
    return rows * (size_t)v->width * hy_dtype_size(e->dt);
}

// [n_values] whether an op from number `from` on reads a value with this root. Caller frees.
static bool *find_read(const hy_program *p, int from) {
    bool *read = hy_xcalloc((size_t)p->n_values, sizeof *read);
    for (int i = from; i < p->n_ops; i++)
        for (int k = 0; k < HY_OP_INPUTS; k++)
            if (p->ops[i].in[k] >= 0) read[hy_value_root(p, p->ops[i].in[k])] = true;
    return read;
}

static hy_status keep(hy_exec *e, int op) {
    const hy_program *p = e->prog;
    hy_exec_kept *m = &e->mark;
    size_t bytes = 0;
    if (!m->value) {
        m->value = hy_xcalloc((size_t)p->n_ops, sizeof *m->value);
        m->at = hy_xcalloc((size_t)p->n_ops, sizeof *m->at);
    }
    m->n = 0;
    bool *read = find_read(p, op);
    for (int i = 0; i < op; i++) {
        const hy_val root = p->ops[i].out;
        if (root < 0 || !read[root]) continue;
        m->value[m->n] = root;
        m->at[m->n++] = bytes;
        bytes += bytes_of(e, root);
    }
    free(read);
    if (bytes > m->bytes) {
        free(m->data);
        m->data = hy_alloc(bytes);
        m->bytes = m->data ? bytes : 0;
        if (!m->data) return HY_ENOMEM;
    }
    for (int i = 0; i < m->n; i++)
        HY_TRY(e->be->to_host(m->data + m->at[i], e->arena + e->layout.val[m->value[i]], bytes_of(e, m->value[i])));
    m->op = op;
    return HY_OK;
}

static hy_status put_back(hy_exec *e) {
    const hy_exec_kept *m = &e->mark;
    for (int i = 0; i < m->n; i++)
        HY_TRY(e->be->from_host(e->arena + e->layout.val[m->value[i]], m->data + m->at[i], bytes_of(e, m->value[i])));
    return HY_OK;
}

hy_status hy_exec_mark(hy_exec *e, hy_params *w, const hy_batch *b, unsigned heads, int op) {
    HY_ASSERT(e->mode == HY_EXEC_INFER && !e->seconds && op >= 0 && op <= e->prog->n_ops);
    if (b) {
        HY_TRY(hy_exec_load(e, w, b, NULL, heads));
    } else {
        HY_ASSERT(e->mark.op >= 0 && op >= e->mark.op && heads == e->heads);
        HY_TRY(put_back(e));
    }
    HY_TRY(hy_exec_run_ops(e, w, b ? 0 : e->mark.op, op, false));
    return keep(e, op);
}

hy_status hy_exec_forward_marked(hy_exec *e, hy_params *w) {
    HY_ASSERT(e->mark.op >= 0);
    HY_TRY(put_back(e));
    return hy_exec_run_ops(e, w, e->mark.op, e->prog->n_ops, e->n_edits > 0);
}
