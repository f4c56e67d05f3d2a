// exec_bind.c - what an op's operands are in memory: addresses, row distances, widths. The argument structs made of
// them: op_*.c.
#include "core/exec/op_impl.h"

// at: offsets of values or of gradients in the arena. A view begins at its first column.
static hy_bound place(const hy_exec *e, hy_val v, const size_t *at) {
    if (v < 0) return (hy_bound){0};
    const hy_value *values = e->prog->values;
    size_t col = 0;
    hy_val root = v;
    for (; values[root].parent >= 0; root = values[root].parent) col += (size_t)values[root].col;
    hy_bound x = {.p = HY_PRESENT, .ld = values[root].width, .width = values[v].width};
    if (!e->arena) return x;
    HY_ASSERT(at[root] != HY_NOWHERE);
    x.p = e->arena + at[root] + col * hy_dtype_size(e->dt);
    return x;
}

hy_bound hy_bind_input(const hy_binding *b, int k) { return place(b->e, b->op->in[k], b->e->layout.val); }
hy_bound hy_bind_output(const hy_binding *b) { return place(b->e, b->op->out, b->e->layout.val); }
hy_bound hy_bind_input_grad(const hy_binding *b, int k) { return place(b->e, b->op->in[k], b->e->layout.grad); }
hy_bound hy_bind_output_grad(const hy_binding *b) { return place(b->e, b->op->out, b->e->layout.grad); }

static void *parameter(const hy_binding *b, int k, bool grad) {
    const int i = b->op->par[k];
    if (grad && b->params && !b->params->grad) return NULL;  // not wanted
    return i < 0 ? NULL : b->params ? hy_params_ptr(b->params, i, grad) : HY_PRESENT;
}
const void *hy_bind_parameter(const hy_binding *b, int k) { return parameter(b, k, false); }
void *hy_bind_parameter_grad(const hy_binding *b, int k) { return parameter(b, k, true); }

const void *hy_bind_matrix(const hy_binding *b, int k) {
    return b->params ? hy_params_matrix(b->params, b->op->par[k], b->e->dt) : HY_PRESENT;
}
hy_dtype hy_bind_matrix_type(const hy_binding *b, int k) {
    return b->e->dt == HY_BF16 ? HY_BF16 : b->e->prog->params[b->op->par[k]].kept;
}

void *hy_bind_saved(const hy_binding *b) {
    const hy_exec *e = b->e;
    if (!hy_exec_keeps(e->mode)) return NULL;
    if (!e->arena) return HY_PRESENT;
    return e->layout.saved[b->i] == HY_NOWHERE ? NULL : e->arena + e->layout.saved[b->i];
}

hy_kv_view hy_bind_kv(const hy_binding *b) {
    const hy_exec *e = b->e;
    if (b->state) return hy_state_kv(b->state, b->op->slot);
    if (!e->state_tokens) return (hy_kv_view){0};
    const int cap = hy_attn_cap(e->state_tokens, e->prog->slots[b->op->slot].window, e->prog->spec.meta_tokens);
    return (hy_kv_view){.k = HY_PRESENT, .v = HY_PRESENT, .cap = cap};
}

void *hy_bind_state(const hy_binding *b) {
    return b->state ? b->state->buf[b->op->slot] : b->e->state_tokens ? HY_PRESENT : NULL;
}
