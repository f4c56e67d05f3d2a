// exec_launch.c - launches: planned once for each shape of the batch, bound once to parameters and state; the newest
// few shapes are kept. On a backend that records, a pass that comes a second time is recorded and from then on replayed
// as a whole.
#include <stdlib.h>
#include <string.h>

#include "core/exec/exec_impl.h"

// Its kernel runs forward in the current shape, if its head is asked for.
static bool may_run_forward(const hy_exec *e, const hy_op *op) {
    if (hy_op_of(op->kind)->passes == HY_PASSES_STATE && !e->state_tokens) return false;
    if (op->head == HY_HEAD_LOSS && hy_exec_keeps(e->mode)) return false;  // its backward computes the loss as well
    return op->head != HY_HEAD_LOGITS || e->n_out;
}

// A gradient may reach it: logits are for inference only.
static bool may_run_backward(const hy_exec *e, const hy_op *op) {
    return hy_exec_keeps(e->mode) && hy_op_of(op->kind)->passes == HY_PASSES_BOTH && op->head != HY_HEAD_LOGITS;
}

// ---------------------------------------------------------------------------------------------------- planning
static hy_status plan_one(hy_exec *e, int i, bool backward, hy_launch *l) {
    hy_any_args a;
    const hy_kernel_id id = backward ? hy_bind_backward(e, i, NULL, &a) : hy_bind_forward(e, i, NULL, NULL, &a);
    const hy_plan_req req = hy_backend_request(e->be, e->dt, hy_exec_keeps(e->mode));
    *l = (hy_launch){0};
    hy_status s = e->be->plan[id](&a, &req, l);
    if (s)
        return hy_error_context(s, "layer %d, %s%s on %s", e->prog->ops[i].layer, hy_op_name(e->prog->ops[i].kind),
                                backward ? " backward" : "", e->be->name);
    return HY_OK;
}

hy_status hy_exec_plan_ops(hy_exec *e, size_t *workspace, size_t *saved) {
    char *arena = e->arena;
    e->arena = NULL;  // placeholders: a plan looks at sizes only
    hy_status s = HY_OK;
    *workspace = 0;
    for (int i = 0; !s && i < e->prog->n_ops; i++) {
        const hy_op *op = &e->prog->ops[i];
        hy_launch *fwd = &e->shape->fwd[i].launch, *bwd = &e->shape->bwd[i].launch;
        if (may_run_forward(e, op)) {
            s = plan_one(e, i, false, fwd);
            if (!s && fwd->workspace > *workspace) *workspace = fwd->workspace;
            if (!s) saved[i] = fwd->saved;
        }
        if (!s && may_run_backward(e, op)) {
            s = plan_one(e, i, true, bwd);
            if (!s && bwd->workspace > *workspace) *workspace = bwd->workspace;
        }
    }
    e->arena = arena;
    return s;
}

// ---------------------------------------------------------------------------------------------------- binding
static bool same_bound(const hy_bound_to *a, const hy_bound_to *b) {
    return a->params == b->params && a->state == b->state && a->grad == b->grad && a->low == b->low;
}

void hy_exec_bind_forward(hy_exec *e, const hy_params *w, const hy_state *state) {
    const hy_bound_to to = {.params = w->id, .state = state ? state->id : 0, .low = w->low};
    if (same_bound(&e->shape->fwd_to, &to)) return;
    for (int i = 0; i < e->prog->n_ops; i++)
        if (e->shape->fwd[i].launch.run) hy_bind_forward(e, i, w, state, &e->shape->fwd[i].args);
    e->shape->fwd_to = to;
}

void hy_exec_bind_backward(hy_exec *e, const hy_params *w) {
    const hy_bound_to to = {.params = w->id, .grad = w->grad, .low = w->low};
    if (same_bound(&e->shape->bwd_to, &to)) return;
    for (int i = 0; i < e->prog->n_ops; i++)
        if (e->layout.has_bwd[i]) hy_bind_backward(e, i, w, &e->shape->bwd[i].args);
    e->shape->bwd_to = to;
}

// ---------------------------------------------------------------------------------------------------- shapes
static void use_shape(hy_exec *e, hy_shape *h) {
    h->used = ++e->clock;
    e->B = h->B;
    e->T = h->T;
    e->n_out = h->n_out;
    e->state_tokens = h->state_tokens;
    e->shape = h;
}

// For a smaller shape a kernel may be chosen that needs more scratch than the one for the largest.
static hy_status need_workspace(hy_exec *e, size_t bytes) {
    if (bytes <= e->workspace_bytes) return HY_OK;
    hy_exec_discard_recordings(e);
    e->be->free(e->workspace);
    e->workspace_bytes = 0;
    e->workspace = e->be->alloc(bytes);
    if (!e->workspace) return HY_ENOMEM;
    e->workspace_bytes = bytes;
    return HY_OK;
}

hy_status hy_exec_set_shape(hy_exec *e, int B, int T, int n_out, int state_tokens) {
    hy_shape *oldest = &e->shapes[0], *was = e->shape;
    for (hy_shape *h = e->shapes; h < e->shapes + HY_SHAPES; h++) {
        if (h->used && h->B == B && h->T == T && h->n_out == n_out && h->state_tokens == state_tokens) {
            use_shape(e, h);
            return HY_OK;
        }
        if (h->used < oldest->used) oldest = h;
    }
    const size_t n = (size_t)e->prog->n_ops;
    hy_prepared *all = oldest->fwd ? oldest->fwd : hy_xcalloc(2 * n, sizeof *all);
    for (size_t i = 0; i < 2 * n; i++) all[i].launch = (hy_launch){0};
    *oldest = (hy_shape){.B = B, .T = T, .n_out = n_out, .state_tokens = state_tokens, .fwd = all, .bwd = all + n};
    use_shape(e, oldest);
    if (!e->arena) return HY_OK;  // the executor is being made, and plans this shape itself
    size_t need = 0, *saved = hy_xcalloc(n, sizeof *saved);
    hy_status s = hy_exec_plan_ops(e, &need, saved);
    for (size_t i = 0; !s && i < n; i++) HY_ASSERT(saved[i] <= e->saved_most[i]);
    free(saved);
    if (!s) s = need_workspace(e, need);
    if (s) {
        oldest->used = 0;
        if (was && was != oldest) use_shape(e, was);
    }
    return s;
}

void hy_exec_free_shapes(hy_exec *e) {
    hy_exec_discard_recordings(e);
    for (int i = 0; i < HY_SHAPES; i++) free(e->shapes[i].fwd);
    memset(e->shapes, 0, sizeof e->shapes);
    e->shape = NULL;
}

// ---------------------------------------------------------------------------------------------------- recordings
static void discard(hy_exec *e, hy_recording *r) {
    if (r->recording) e->be->discard_recording(r->recording);
    *r = (hy_recording){0};
}

void hy_exec_discard_recordings(hy_exec *e) {
    for (int i = 0; i < 2 * HY_RECORDINGS; i++) discard(e, &e->records[i / HY_RECORDINGS][i % HY_RECORDINGS]);
}

static bool same_run(const hy_run_key *a, const hy_run_key *b) {
    return same_bound(&a->to, &b->to) && a->B == b->B && a->T == b->T && a->n_out == b->n_out &&
           a->state_tokens == b->state_tokens && a->heads == b->heads;
}

static hy_status record(hy_exec *e, hy_recording *r, hy_status (*body)(void *user), void *user) {
    HY_TRY(e->be->record_begin());
    hy_status s = body(user);
    char *why = s ? hy_xstrdup(hy_error_text()) : NULL;
    const hy_status end = e->be->record_end(s ? NULL : &r->recording);
    if (s) {
        discard(e, r);
        hy_error(s, "%s", why);
    }
    free(why);
    return s ? s : end;
}

hy_status hy_exec_run_recorded(hy_exec *e, bool backward, const hy_run_key *key, hy_status (*body)(void *user),
                               void *user) {
    if (!e->be->record_begin || e->seconds) return body(user);
    hy_recording *r = NULL, *all = e->records[backward], *oldest = all;
    for (int i = 0; i < HY_RECORDINGS; i++) {
        if (all[i].used && same_run(&all[i].key, key)) r = &all[i];
        if (all[i].used < oldest->used) oldest = &all[i];
    }
    if (!r) {  // the first run warms up: libraries load and choose their kernels
        discard(e, oldest);
        oldest->key = *key;
        oldest->used = ++e->clock;
        return body(user);
    }
    r->used = ++e->clock;
    if (!r->recording) HY_TRY(record(e, r, body, user));
    return e->be->replay(r->recording);
}
