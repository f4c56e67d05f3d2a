// test_ops.c - the table of ops (core/model/ops.def): each row is complete, and what it says of the backward kernel's
// reads is what the kernel reads. And that bound arguments follow parameters and states.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/exec/op_impl.h"
#include "core/spec/spec_read.h"

static void check_list(const char *op, const char *list, int most) {
    hy_operand x, y;
    assert_in_range(hy_operand_count(list), 0, most);
    for (int k = 0; hy_operand_of(list, k, &x); k++)
        for (int j = 0; j < k; j++) {
            assert_true(hy_operand_of(list, j, &y));
            if (!strcmp(x.name, y.name)) fail_msg("%s: two operands are named %s", op, x.name);
        }
}

static void rows_are_complete(void **state) {
    (void)state;
    hy_backend ref;
    assert_int_equal(hy_backend_cpu("ref", 1, &ref), HY_OK);
    for (int k = 0; k < HY_OP_KINDS; k++) {
        const hy_op_info *info = hy_op_of((hy_op_kind)k);
        assert_true(info->name && info->name[0]);
        for (int j = 0; j < k; j++) assert_string_not_equal(info->name, hy_op_of((hy_op_kind)j)->name);
        check_list(info->name, info->inputs, HY_OP_INPUTS);
        check_list(info->name, info->parameters, HY_OP_PARAMETERS);
        check_list(info->name, info->output, 1);
        assert_true(hy_operand_count(info->inputs) + hy_operand_count(info->parameters) > 0);
        if (!ref.plan[info->forward]) fail_msg("%s has no plain kernel", info->name);
        assert_int_equal(info->backward != HY_K_COUNT, info->passes == HY_PASSES_BOTH);
        if (info->passes == HY_PASSES_BOTH && !ref.plan[info->backward]) fail_msg("%s: no plain backward", info->name);
        if (info->passes != HY_PASSES_BOTH && strpbrk(info->inputs, "*=")) fail_msg("%s: has no backward", info->name);
        if (info->passes == HY_PASSES_STATE && info->state == HY_SLOT_NONE) fail_msg("%s: has no state", info->name);
    }
}

// ---------------------------------------------------------------------------------------------------- reads
// Models that have, together, every kind of op with a backward, and each of its optional inputs.
#define SMALL "vocab: 13\nd_model: 12\nlayers: 1\ninit: {std: 0.3}\nattention: {heads: 2, kv_heads: 1}\n"
#define MAMBA "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
static const char *const models[] = {
    SMALL MAMBA "mixer: parallel\nfusion: gate\nmeta_tokens: 1\nmlp: {kind: silu, d_ff: 10, bias: true}\n"
                "multipliers: {mlp_down: 0.5}\n",
    SMALL MAMBA "mixer: parallel\nfusion: concat\nmlp: {kind: relu2, d_ff: 10}\nnorm: {kind: layer, bias: "
                "true}\npositions: learned\ndropout: {embedding: 0.4}\n",
    SMALL "mixer: ssm_attention\nmlp: {kind: none}\n"
          "ssm: {kind: mamba2, expand: 2, d_state: 3, d_conv: 3, head_dim: 6, groups: 2}\n",
};

typedef struct {
    hy_program *p;
    hy_params *w;
    hy_exec *e;
    unsigned char *arena, *after, *readable;  // [arena_bytes] before the op, after it, and what it may read
    double *grad, *grad_after;
} rig;

static size_t buffer_bytes(const rig *r, hy_val root) {
    return hy_align((size_t)r->e->max_rows * (size_t)r->p->values[root].width * sizeof(double));
}

static void take(size_t *at, size_t *top, size_t bytes) {
    if (*at == HY_NOWHERE) return;
    *at = *top;
    *top += bytes;
}

// Gives every value, gradient and saved buffer memory of its own, so that an operand that is read without being marked
// is not by chance where something marked is. What the kernels are told to share stays shared.
static void spread_out(rig *r) {
    hy_exec_layout *l = &r->e->layout;
    size_t top = 0;
    for (int v = 0; v < r->p->n_values; v++) {
        take(&l->val[v], &top, buffer_bytes(r, v));
        take(&l->grad[v], &top, buffer_bytes(r, v));
    }
    for (int i = 0; i < r->p->n_ops; i++) take(&l->saved[i], &top, hy_align(r->e->saved_most[i]));
    for (int i = r->p->n_ops - 1; i >= 0; i--) {
        const hy_op *op = &r->p->ops[i];
        hy_operand x;
        for (int k = 0; l->shares_grad[i] && hy_operand_of(hy_op_of(op->kind)->inputs, k, &x); k++)
            if (x.passes_grad) l->grad[hy_value_root(r->p, op->in[k])] = l->grad[op->out];
    }
    l->arena_bytes = top;
    r->e->be->free(r->e->arena);
    r->e->arena = r->e->be->alloc(top);
    assert_non_null(r->e->arena);
}

static void rig_open(rig *r, const char *text) {
    static int32_t ids[2 * 9], labels[2 * 9];
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    static hy_backend be;
    hy_yaml *y;
    if (hy_yaml_parse("model", text, strlen(text), &y) || hy_spec_from_yaml(y, spec)) fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    assert_int_equal(hy_model_build(spec, &r->p), HY_OK);
    assert_int_equal(hy_backend_cpu("ref", 1, &be), HY_OK);
    assert_int_equal(hy_params_create(r->p, &be, HY_F64, &r->w), HY_OK);
    assert_int_equal(hy_params_init(r->w, 5), HY_OK);
    assert_int_equal(hy_params_want_grad(r->w), HY_OK);
    assert_int_equal(hy_exec_create(r->p, &be, HY_F64, HY_EXEC_TRAIN, 2, 9, 0, &r->e), HY_OK);
    spread_out(r);
    const int m = spec->meta_tokens;
    for (int i = 0; i < 2 * 9; i++) {
        ids[i] = i % 9 < m ? -(i % 9 + 1) : (i * 5) % 13;
        labels[i] = i % 9 < m ? -1 : (i * 7) % 13;
    }
    const hy_batch b = {.B = 2, .T = 9, .ids = ids, .labels = labels};
    if (hy_exec_forward(r->e, r->w, &b, NULL, HY_HEAD_LOSS, NULL)) fail_msg("%s", hy_error_text());
    *r->e->scale = 0.25;
    const size_t n = r->e->layout.arena_bytes;
    r->arena = hy_xcalloc(n, 3);
    r->after = r->arena + n;
    r->readable = r->after + n;
    r->grad = hy_xcalloc(r->p->param_elems, 2 * sizeof *r->grad);
    r->grad_after = r->grad + r->p->param_elems;
    free(spec);
}

static void rig_close(rig *r) {
    hy_exec_free(r->e);
    hy_params_free(r->w);
    hy_program_free(r->p);
    free(r->arena);
    free(r->grad);
}

// The columns of a value, or of its gradient, in all rows.
static void mark(const rig *r, hy_val v, const size_t *at, unsigned char to) {
    if (v < 0) return;
    const hy_value *values = r->p->values;
    const hy_val root = hy_value_root(r->p, v);
    const size_t ld = (size_t)values[root].width * sizeof(double), width = (size_t)values[v].width * sizeof(double);
    size_t from = at[root];
    for (hy_val u = v; values[u].parent >= 0; u = values[u].parent) from += (size_t)values[u].col * sizeof(double);
    for (int row = 0; row < r->e->max_rows; row++, from += ld) memset(r->readable + from, to, width);
}

static void run_backward(rig *r, int i) {
    hy_any_args a;
    const hy_plan_req req = hy_backend_request(r->e->be, r->e->dt, true);
    hy_bind_backward(r->e, i, r->w, &a);
    if (r->e->shape->bwd[i].launch.run(&a, r->e->workspace, &req)) fail_msg("%s", hy_error_text());
}

// Whether op i backward, from the state in r->arena and r->grad with NaN in all that is not readable, gives the
// gradients in r->after and r->grad_after.
static bool same_from_readable(rig *r, int i) {
    const size_t n = r->e->layout.arena_bytes, bytes = r->p->param_elems * sizeof(double);
    for (size_t k = 0; k < n; k++) ((unsigned char *)r->e->arena)[k] = r->readable[k] ? r->arena[k] : 0xFF;
    memcpy(r->w->grad, r->grad, bytes);
    run_backward(r, i);
    bool same = !memcmp(r->w->grad, r->grad_after, bytes);
    const hy_op *op = &r->p->ops[i];
    for (int k = 0; k < HY_OP_INPUTS; k++) {
        if (op->in[k] < 0) continue;
        const hy_bound dx = hy_bind_input_grad(&(hy_binding){.e = r->e, .i = i, .op = op}, k);
        for (int row = 0; row < r->e->max_rows; row++) {
            const char *now = (char *)dx.p + (size_t)row * (size_t)dx.ld * sizeof(double);
            same = same && !memcmp(now, r->after + (now - r->e->arena), (size_t)dx.width * sizeof(double));
        }
    }
    return same;
}

// Marks what the row of op i lets its backward read, but for operand `without` (an input, HY_OP_INPUTS: the output, -1:
// none).
static void mark_readable(rig *r, int i, int without) {
    const hy_op *op = &r->p->ops[i];
    const hy_op_info *info = hy_op_of(op->kind);
    const hy_exec_layout *l = &r->e->layout;
    hy_operand x;
    memset(r->readable, 0, l->arena_bytes);
    for (int k = 0; hy_operand_of(info->inputs, k, &x); k++)
        if (x.bwd_reads && k != without) mark(r, op->in[k], l->val, 1);
    if (hy_operand_of(info->output, 0, &x) && x.bwd_reads && without != HY_OP_INPUTS) mark(r, op->out, l->val, 1);
    for (int k = 0; k < HY_OP_INPUTS; k++) mark(r, op->in[k], l->grad, 1);  // may be added to
    mark(r, op->out, l->grad, 1);
    if (l->saved[i] != HY_NOWHERE) memset(r->readable + l->saved[i], 1, hy_align(r->e->saved_most[i]));
}

// One op: what is marked * must be enough, and each mark must be needed. needed: [HY_OP_KINDS][HY_OP_INPUTS + 1].
static void check_reads(rig *r, int i, bool needed[][HY_OP_INPUTS + 1]) {
    const hy_op *op = &r->p->ops[i];
    const hy_op_info *info = hy_op_of(op->kind);
    const size_t n = r->e->layout.arena_bytes, bytes = r->p->param_elems * sizeof(double);
    const hy_val zero = r->e->layout.zero[i];
    if (zero != HY_NOVAL) memset(r->e->arena + r->e->layout.grad[zero], 0, buffer_bytes(r, zero));
    memcpy(r->arena, r->e->arena, n);
    memcpy(r->grad, r->w->grad, bytes);
    run_backward(r, i);
    memcpy(r->after, r->e->arena, n);
    memcpy(r->grad_after, r->w->grad, bytes);
    mark_readable(r, i, -1);
    if (!same_from_readable(r, i)) fail_msg("the backward of %s reads more than is marked * in ops.def", info->name);
    hy_operand x;
    for (int k = 0; hy_operand_of(info->inputs, k, &x); k++) {
        if (!x.bwd_reads || op->in[k] < 0) continue;
        mark_readable(r, i, k);
        needed[op->kind][k] = needed[op->kind][k] || !same_from_readable(r, i);
    }
    if (hy_operand_of(info->output, 0, &x) && x.bwd_reads) {
        mark_readable(r, i, HY_OP_INPUTS);
        needed[op->kind][HY_OP_INPUTS] = needed[op->kind][HY_OP_INPUTS] || !same_from_readable(r, i);
    }
    memcpy(r->e->arena, r->after, n);
    memcpy(r->w->grad, r->grad_after, bytes);
}

static void backward_reads_what_is_marked(void **state) {
    (void)state;
    static bool seen[HY_OP_KINDS], needed[HY_OP_KINDS][HY_OP_INPUTS + 1];
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        rig r;
        rig_open(&r, models[m]);
        for (int i = r.p->n_ops - 1; i >= 0; i--) {
            if (!r.e->layout.has_bwd[i]) continue;
            seen[r.p->ops[i].kind] = true;
            check_reads(&r, i, needed);
        }
        rig_close(&r);
    }
    for (int k = 0; k < HY_OP_KINDS; k++) {
        const hy_op_info *info = hy_op_of((hy_op_kind)k);
        hy_operand x;
        if (info->passes == HY_PASSES_BOTH && !seen[k]) fail_msg("no model here has the op %s: add one", info->name);
        for (int j = 0; hy_operand_of(info->inputs, j, &x); j++)
            if (x.bwd_reads && !needed[k][j]) fail_msg("%s: its backward does not read %s", info->name, x.name);
        if (hy_operand_of(info->output, 0, &x) && x.bwd_reads && !needed[k][HY_OP_INPUTS])
            fail_msg("%s: its backward does not read %s", info->name, x.name);
    }
}

// ---------------------------------------------------------------------------------------------------- binding
// Logits of a token after what the state holds.
static void logits_of(hy_exec *e, hy_params *w, hy_state *st, int32_t token, float out[13]) {
    const int32_t row = 0;
    const hy_batch b = {.B = 1, .T = 1, .ids = &token, .out_rows = &row, .n_out = 1};
    if (hy_exec_forward(e, w, &b, st, HY_HEAD_LOGITS, NULL)) fail_msg("%s", hy_error_text());
    memcpy(out, hy_exec_logits(e), 13 * sizeof *out);
}

// One executor that goes to and fro between parameters, states and shapes gives what an executor for each gives:
// arguments that were bound for one are never used for another.
static void bound_to_what_is_given(void **state) {
    (void)state;
    hy_backend be;
    hy_program *p = NULL;
    hy_params *w[2];
    hy_state *shared[4], *own[4];
    hy_exec *all, *one[4][2];  // of a state and parameters
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_yaml *y;
    const char *const text = SMALL MAMBA "mixer: parallel\nfusion: mean\nmlp: {kind: silu, d_ff: 10}\n";
    assert_int_equal(hy_yaml_parse("model", text, strlen(text), &y), HY_OK);
    assert_int_equal(hy_spec_from_yaml(y, spec), HY_OK);
    hy_yaml_free(y);
    assert_int_equal(hy_model_build(spec, &p), HY_OK);
    assert_int_equal(hy_backend_cpu(NULL, 1, &be), HY_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hy_params_create(p, &be, HY_F32, &w[i]), HY_OK);
        assert_int_equal(hy_params_init(w[i], (uint64_t)i), HY_OK);
    }
    assert_int_equal(hy_exec_create(p, &be, HY_F32, HY_EXEC_INFER, 1, 1, 1, &all), HY_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(hy_state_create(p, &be, HY_F32, 1, 40 + i / 2, &shared[i]), HY_OK);
        assert_int_equal(hy_state_create(p, &be, HY_F32, 1, 40 + i / 2, &own[i]), HY_OK);
        for (int k = 0; k < 2; k++)
            assert_int_equal(hy_exec_create(p, &be, HY_F32, HY_EXEC_INFER, 1, 1, 1, &one[i][k]), HY_OK);
    }
    hy_rng r = hy_rng_make(3, 3);
    for (int step = 0; step < 40; step++) {
        const int i = (int)hy_rng_below(&r, 4), k = (int)hy_rng_below(&r, 2);
        float a[13], b[13];
        logits_of(all, w[k], shared[i], step % 13, a);
        logits_of(one[i][k], w[k], own[i], step % 13, b);
        assert_memory_equal(a, b, sizeof a);
    }
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 2; k++) hy_exec_free(one[i][k]);
        hy_state_free(own[i]);
        hy_state_free(shared[i]);
    }
    hy_exec_free(all);
    hy_params_free(w[0]);
    hy_params_free(w[1]);
    hy_program_free(p);
    free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_complete),
                                       cmocka_unit_test(backward_reads_what_is_marked),
                                       cmocka_unit_test(bound_to_what_is_given)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
