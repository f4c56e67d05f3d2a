// exec_ops.c - the binders of all kinds of ops in one table, from ops.def.
#include "core/exec/op_impl.h"

// Binders without their argument types.
#define OP(KIND, name, inputs, parameters, output, state, passes, ...)                               \
    static void forward_##name(const hy_binding *b, hy_any_args *a) { hy_bind_##name(b, &a->name); } \
    HY_BWD_##passes(static void backward_##name(const hy_binding *b, hy_any_args *a) {               \
        hy_bind_##name(b, &a->name##_bwd.f);                                                         \
        hy_bind_##name##_bwd(b, &a->name##_bwd);                                                     \
    })
#include "core/model/ops.def"

static const struct {
    void (*forward)(const hy_binding *b, hy_any_args *a);
    void (*backward)(const hy_binding *b, hy_any_args *a);  // NULL: there is none
} binders[HY_OP_KINDS] = {
#define OP(KIND, name, inputs, parameters, output, state, passes, ...) \
    [HY_OP_##KIND] = {forward_##name, HY_BWD_##passes(backward_##name)},
#include "core/model/ops.def"
};

static hy_binding binding(const hy_exec *e, int i, const hy_params *w, const hy_state *state) {
    return (hy_binding){.e = e,
                        .i = i,
                        .op = &e->prog->ops[i],
                        .params = w,
                        .state = state,
                        .rows = e->B * e->T,
                        .acc = e->layout.acc[i]};
}

hy_kernel_id hy_bind_forward(const hy_exec *e, int i, const hy_params *w, const hy_state *state, hy_any_args *a) {
    const hy_binding b = binding(e, i, w, state);
    binders[b.op->kind].forward(&b, a);
    return hy_op_of(b.op->kind)->forward;
}

hy_kernel_id hy_bind_backward(const hy_exec *e, int i, const hy_params *w, hy_any_args *a) {
    const hy_binding b = binding(e, i, w, NULL);
    binders[b.op->kind].backward(&b, a);
    return hy_op_of(b.op->kind)->backward;
}
