// exec_launch.c - launches: planned once for each shape of the batch, the newest few kept; and, on a backend that records, written
// down with all they point to when a run comes a second time, replayed as one from then on.
#include <stdlib.h>
#include <string.h>

#include "core/exec/exec_impl.h"

bool hy_op_runs(const hy_exec *e, const hy_op *op, unsigned heads) {
    if (op->kind == HY_OP_KV_APPEND) return e->state_tokens > 0;
    if (op->head == HY_HEAD_LOSS && e->mode == HY_EXEC_TRAIN) return false;  // its backward computes the loss as well
    return op->head == 0 || (op->head & heads);
}

// ---------------------------------------------------------------------------------------------------- planning
static hy_status plan_one(hy_exec *e, int i, bool backward, hy_launch *l) {
    hy_any_args a;
    const hy_kernel_id id = backward ? hy_bind_bwd(e, i, NULL, &a) : hy_bind_fwd(e, i, NULL, NULL, &a);
    const hy_plan_req req = hy_backend_request(e->be, e->dt, e->mode == HY_EXEC_TRAIN);
    *l = (hy_launch){0};
    hy_status s = e->be->plan[id](&a, &req, l);
    if (s) return hy_error_context(s, "layer %d, %s%s on %s", e->prog->ops[i].layer, hy_op_name(e->prog->ops[i].kind),
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
        if (op->head == HY_HEAD_LOGITS && e->n_out == 0) continue;
        if (hy_op_runs(e, op, HY_HEAD_LOSS | HY_HEAD_LOGITS)) {
            s = plan_one(e, i, false, &e->fwd[i]);
            if (!s && e->fwd[i].workspace > *workspace) *workspace = e->fwd[i].workspace;
            if (!s) saved[i] = e->fwd[i].saved;
        }
        if (!s && e->mode == HY_EXEC_TRAIN && op->kind != HY_OP_KV_APPEND && op->head != HY_HEAD_LOGITS) {
            s = plan_one(e, i, true, &e->bwd[i]);
            if (!s && e->bwd[i].workspace > *workspace) *workspace = e->bwd[i].workspace;
        }
    }
    e->arena = arena;
    return s;
}

// ---------------------------------------------------------------------------------------------------- shapes
static void use_shape(hy_exec *e, hy_launches *h) {
    h->used = ++e->clock;
    e->B = h->B;
    e->T = h->T;
    e->n_out = h->n_out;
    e->state_tokens = h->state_tokens;
    e->fwd = h->fwd;
    e->bwd = h->bwd;
}

// A smaller shape may choose a kernel with more scratch than the largest: this happens once.
static hy_status need_workspace(hy_exec *e, size_t bytes) {
    if (bytes <= e->workspace_bytes) return HY_OK;
    hy_exec_forget(e);
    e->be->free(e->workspace);
    e->workspace_bytes = 0;
    e->workspace = e->be->alloc(bytes);
    if (!e->workspace) return HY_ENOMEM;
    e->workspace_bytes = bytes;
    return HY_OK;
}

hy_status hy_exec_set_shape(hy_exec *e, int B, int T, int n_out, int state_tokens) {
    hy_launches *oldest = &e->shapes[0], *was = NULL;
    for (hy_launches *h = e->shapes; h < e->shapes + HY_SHAPES; h++) {
        if (h->used && h->B == B && h->T == T && h->n_out == n_out && h->state_tokens == state_tokens) {
            use_shape(e, h);
            return HY_OK;
        }
        if (h->used < oldest->used) oldest = h;
        if (h->used && h->fwd == e->fwd) was = h;
    }
    const size_t n = (size_t)e->prog->n_ops;
    if (!oldest->fwd) oldest->fwd = hy_xcalloc(2 * n, sizeof *oldest->fwd);
    oldest->bwd = oldest->fwd + n;
    memset(oldest->fwd, 0, 2 * n * sizeof *oldest->fwd);
    oldest->B = B, oldest->T = T, oldest->n_out = n_out, oldest->state_tokens = state_tokens;
    use_shape(e, oldest);
    if (!e->arena) return HY_OK;  // being made: what follows is the planning of everything
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
    hy_exec_forget(e);
    for (int i = 0; i < HY_SHAPES; i++) free(e->shapes[i].fwd);
    memset(e->shapes, 0, sizeof e->shapes);
}

// ---------------------------------------------------------------------------------------------------- recordings
static void forget_one(hy_exec *e, hy_recording *r) {
    if (r->recording) e->be->forget(r->recording);
    *r = (hy_recording){0};
}

void hy_exec_forget(hy_exec *e) {
    for (int i = 0; i < 2 * HY_RECORDINGS; i++) forget_one(e, &e->records[i / HY_RECORDINGS][i % HY_RECORDINGS]);
}

static bool same_run(const hy_run_key *a, const hy_run_key *b) {
    return a->params == b->params && a->state == b->state && a->grad == b->grad && a->low == b->low && a->B == b->B && a->T == b->T &&
           a->n_out == b->n_out && a->state_tokens == b->state_tokens && a->heads == b->heads;
}

static hy_status record(hy_exec *e, hy_recording *r, hy_status (*body)(void *user), void *user) {
    HY_TRY(e->be->record_begin());
    hy_status s = body(user);
    char *why = s ? hy_xstrdup(hy_error_text()) : NULL;
    const hy_status end = e->be->record_end(s ? NULL : &r->recording);
    if (s) {
        forget_one(e, r);
        hy_error(s, "%s", why);
    }
    free(why);
    return s ? s : end;
}

hy_status hy_exec_run_recorded(hy_exec *e, bool backward, const hy_run_key *key, hy_status (*body)(void *user), void *user) {
    if (!e->be->record_begin || e->seconds) return body(user);
    hy_recording *r = NULL, *all = e->records[backward], *oldest = all;
    for (int i = 0; i < HY_RECORDINGS; i++) {
        if (all[i].used && same_run(&all[i].key, key)) r = &all[i];
        if (all[i].used < oldest->used) oldest = &all[i];
    }
    if (!r) {  // the first time warms up: libraries choose and load what they need
        forget_one(e, oldest);
        oldest->key = *key;
        oldest->used = ++e->clock;
        return body(user);
    }
    r->used = ++e->clock;
    if (!r->recording) HY_TRY(record(e, r, body, user));
    return e->be->replay(r->recording);
}
