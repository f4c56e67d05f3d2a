// exec.c - running a program: the batch, forward, backward, results, probes. exec_create.c makes an executor,
// exec_launch.c keeps its launches.
#include "core/exec/exec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/exec/exec_impl.h"

static hy_plan_req request(const hy_exec *e) { return hy_backend_request(e->be, e->dt, hy_exec_keeps(e->mode)); }

void hy_exec_profile(hy_exec *e, bool on) {
    free(e->seconds);
    e->seconds = on ? hy_xcalloc(2 * (size_t)e->prog->n_ops, sizeof *e->seconds) : NULL;
}
const double *hy_exec_seconds(const hy_exec *e) { return e->seconds; }

void hy_exec_set_dropout(hy_exec *e, uint64_t key) { e->dropout_key = key; }

// ---------------------------------------------------------------------------------------------------- the batch
void hy_ids_with_meta(int B, int T, int meta, const int32_t *src, int32_t fill, int32_t *dst) {
    for (int b = 0; b < B; b++) {
        int32_t *d = dst + (size_t)b * (size_t)(meta + T);
        for (int j = 0; j < meta; j++) d[j] = fill ? fill : -(j + 1);
        memcpy(d + meta, src + (size_t)b * (size_t)T, (size_t)T * sizeof *d);
    }
}

static hy_status check_ids(const hy_exec *e, const hy_batch *b) {
    const int V = e->prog->spec.vocab, m = e->prog->spec.meta_tokens;
    for (int s = 0; s < b->B; s++) {
        const int n = b->len ? b->len[s] : b->T;
        if (n < 0 || n > b->T) return hy_error(HY_EINPUT, "sequence %d: length %d is outside 0 .. %d", s, n, b->T);
        e->h_len[s] = n;
        for (int t = 0; t < b->T; t++) {
            const int r = s * b->T + t;
            e->h_ids[r] = t < n ? b->ids[r] : 0;  // padding
            e->h_labels[r] = b->labels && t < n ? b->labels[r] : -1;
            if (e->h_ids[r] >= V || e->h_ids[r] < -m)
                return hy_error(HY_EINPUT, "sequence %d, position %d: token %d is outside the vocabulary 0 .. %d%s", s,
                                t, (int)e->h_ids[r], V - 1, e->h_ids[r] < 0 ? " (and no such meta token exists)" : "");
            if (e->h_labels[r] >= V)
                return hy_error(HY_EINPUT, "sequence %d, position %d: label %d is outside the vocabulary 0 .. %d", s, t,
                                (int)e->h_labels[r], V - 1);
        }
    }
    return HY_OK;
}

// Learned positions end somewhere.
static hy_status check_positions(const hy_exec *e, int s) {
    const hy_model_spec *m = &e->prog->spec;
    const int end = e->h_pos[s] + e->h_len[s] - m->meta_tokens;
    if (m->positions != HY_POSITIONS_LEARNED || end <= m->max_len) return HY_OK;
    return hy_error(HY_EINPUT, "sequence %d: %d tokens of text, but %s has learned positions for max_len %d", s, end,
                    m->name, m->max_len);
}

static hy_status load_batch(hy_exec *e, const hy_batch *b, const hy_state *st, unsigned heads) {
    const int rows = b->B * b->T;
    if (b->B < 1 || b->T < 1 || b->B > e->max_B || (int64_t)b->B * b->T > e->max_rows)
        return hy_error(HY_EINPUT, "%d sequences of %d tokens do not fit an executor planned for %d of %d", b->B, b->T,
                        e->max_B, e->max_T);
    if ((heads & HY_HEAD_LOGITS) && hy_exec_keeps(e->mode))
        return hy_error(HY_EINPUT,
                        "logits are made by an executor for inference; one for training makes the loss only");
    if ((heads & HY_HEAD_LOGITS) && b->n_out > e->max_out)
        return hy_error(HY_EINPUT, "%d output positions wanted, %d planned", b->n_out, e->max_out);
    HY_ASSERT(!st || (st->B >= b->B && st->dtype == e->dt));
    HY_TRY(check_ids(e, b));
    const int m = e->prog->spec.meta_tokens;
    for (int s = 0; s < b->B; s++) {
        e->h_pos[s] = st ? st->pos[s] : 0;
        if (st && e->h_pos[s] + e->h_len[s] > m + st->max_tokens)
            return hy_error(HY_EINPUT, "sequence %d: %d more tokens after %d do not fit a cache of %d + %d meta tokens",
                            s, e->h_len[s], e->h_pos[s], st->max_tokens, m);
        HY_TRY(check_positions(e, s));
    }
    for (int i = 0; (heads & HY_HEAD_LOGITS) && i < b->n_out; i++)
        HY_ASSERT(b->out_rows[i] >= 0 && b->out_rows[i] < rows);
    HY_TRY(hy_exec_set_shape(e, b->B, b->T, heads & HY_HEAD_LOGITS ? b->n_out : e->n_out, st ? st->max_tokens : 0));
    const size_t R = (size_t)rows * 4, S = (size_t)b->B * 4;
    HY_TRY(e->be->from_host(e->ids, e->h_ids, R));
    if (hy_exec_keeps(e->mode) || (heads & HY_HEAD_LOSS)) HY_TRY(e->be->from_host(e->labels, e->h_labels, R));
    HY_TRY(e->be->from_host(e->pos, e->h_pos, S));
    HY_TRY(e->be->from_host(e->len, e->h_len, S));
    if (e->mode == HY_EXEC_TRAIN && (e->prog->spec.dropout_embedding > 0 || e->prog->spec.dropout_attention > 0))
        HY_TRY(e->be->from_host(e->dropout, &e->dropout_key, sizeof e->dropout_key));
    if ((heads & HY_HEAD_LOGITS) && b->n_out) HY_TRY(e->be->from_host(e->out_rows, b->out_rows, (size_t)b->n_out * 4));
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- probes
// The host buffer for one value or result, allocated on first use.
static hy_status need_raw(hy_exec *e) {
    if (!e->h_raw) e->h_raw = hy_alloc(e->h_raw_bytes);
    return e->h_raw ? HY_OK : HY_ENOMEM;
}

// Shows a probe those values stored in `root` (itself and its views) that it wants, or their gradients.
static hy_status show(hy_exec *e, hy_val root, bool gradient, const hy_probe *probe) {
    const hy_program *p = e->prog;
    const int rows = p->values[root].rows == HY_ROWS_OUT ? e->n_out : e->B * e->T, W = p->values[root].width;
    bool have = false;
    hy_status s = HY_OK;
    for (int v = root; !s && v < p->n_values; v++) {
        if (hy_value_root(p, v) != root) continue;
        char name[64];
        snprintf(name, sizeof name, "%s%s", gradient ? "grad." : "", p->values[v].name);
        if (!probe->wants(probe->user, name)) continue;
        if (!have) {
            HY_TRY(need_raw(e));
            const char *src = e->arena + (gradient ? e->layout.grad[root] : e->layout.val[root]);
            HY_TRY(e->be->to_host(e->h_raw, src, (size_t)rows * (size_t)W * hy_dtype_size(e->dt)));
            have = true;
        }
        const size_t col = hy_value_column(p, v);
        const size_t w = (size_t)p->values[v].width;
        float *d = hy_alloc((size_t)rows * w * sizeof *d);
        if (!d) return HY_ENOMEM;
        for (size_t r = 0; r < (size_t)rows; r++)
            for (size_t c = 0; c < w; c++)
                d[r * w + c] = (float)hy_host_element(e->dt, e->h_raw, r * (size_t)W + col + c);
        s = probe->got(probe->user, name, d, rows, (int)w);
        free(d);
    }
    return s;
}

// --------------------------------------------------------------------------------------------------- forward, backward
typedef struct {
    hy_exec *e;
    const hy_params *w;
    const hy_state *state;
    const hy_probe *probe;
    int first, last;  // ops, both included; a backward pass goes from the last to op 0
    bool edits;
} a_run;

static hy_run_key run_key(const a_run *r) {
    const hy_exec *e = r->e;
    const hy_params *w = r->w;
    return (hy_run_key){.to = {.params = w->id, .state = r->state ? r->state->id : 0, .grad = w->grad, .low = w->low},
                        .B = e->B,
                        .T = e->T,
                        .n_out = e->n_out,
                        .state_tokens = e->state_tokens,
                        .heads = e->heads};
}

static hy_status launch(hy_exec *e, const hy_prepared *p, const hy_plan_req *req, double *seconds) {
    if (!seconds) return p->launch.run(&p->args, e->workspace, req);
    const double start = hy_now();
    HY_TRY(p->launch.run(&p->args, e->workspace, req));
    HY_TRY(e->be->wait());
    *seconds += hy_now() - start;
    return HY_OK;
}

// Op i is part of a forward pass with the heads that were asked for.
static bool runs_forward(const hy_exec *e, int i) {
    const unsigned head = e->prog->ops[i].head;
    return e->shape->fwd[i].launch.run && (!head || head & e->heads);
}

static hy_status forward_ops(void *user) {
    const a_run *r = user;
    hy_exec *e = r->e;
    const hy_plan_req req = request(e);
    hy_exec_bind_forward(e, r->w, r->state);
    for (int i = r->first; i <= r->last; i++) {
        const hy_op *op = &e->prog->ops[i];
        if (!runs_forward(e, i)) continue;
        const hy_status s = launch(e, &e->shape->fwd[i], &req, e->seconds ? &e->seconds[i] : NULL);
        if (s) return hy_error_context(s, "layer %d, %s", op->layer, hy_op_name(op->kind));
        if (r->edits) HY_TRY(hy_exec_edit_output(e, i));
        if (r->probe && op->out >= 0) HY_TRY(show(e, op->out, false, r->probe));
    }
    return HY_OK;
}

// Checks the type of the parameters and brings their bfloat16 copy up to date.
static hy_status prepare(const hy_exec *e, hy_params *w) {
    HY_ASSERT(w->prog == e->prog && w->dtype == hy_wide_type(e->dt));
    return e->dt == HY_BF16 ? hy_params_want_bf16(w) : HY_OK;
}

hy_status hy_exec_load(hy_exec *e, hy_params *w, const hy_batch *b, const hy_state *st, unsigned heads) {
    e->mark.op = -1;
    HY_TRY(prepare(e, w));
    HY_TRY(load_batch(e, b, st, heads));
    e->heads = heads;
    return HY_OK;
}

hy_status hy_exec_run_ops(hy_exec *e, const hy_params *w, int first, int end, bool edits) {
    a_run r = {.e = e, .w = w, .first = first, .last = end - 1, .edits = edits};
    return forward_ops(&r);
}

hy_status hy_exec_forward(hy_exec *e, hy_params *w, const hy_batch *b, hy_state *state, unsigned heads,
                          const hy_probe *probe) {
    HY_TRY(hy_exec_load(e, w, b, state, heads));
    a_run r = {e, w, state, probe, 0, e->prog->n_ops - 1, e->n_edits > 0};
    const hy_run_key key = run_key(&r);
    HY_TRY(probe || r.edits ? forward_ops(&r) : hy_exec_run_recorded(e, false, &key, forward_ops, &r));
    for (int s = 0; state && s < b->B; s++) state->pos[s] += e->h_len[s];
    return HY_OK;
}

static hy_status zero_rows(hy_exec *e, hy_val root) {
    const size_t n = (size_t)e->B * (size_t)e->T * (size_t)e->prog->values[root].width * hy_dtype_size(e->dt);
    return e->be->zero(e->arena + e->layout.grad[root], n);
}

static hy_status backward_ops(void *user) {
    const a_run *r = user;
    hy_exec *e = r->e;
    const hy_plan_req req = request(e);
    const int n = e->prog->n_ops;
    hy_exec_bind_backward(e, r->w);
    for (int i = r->last; i >= 0; i--) {
        const hy_op *op = &e->prog->ops[i];
        if (!e->layout.has_bwd[i]) continue;
        if (e->layout.zero[i] != HY_NOVAL) HY_TRY(zero_rows(e, e->layout.zero[i]));
        if (r->probe && op->out >= 0) HY_TRY(show(e, op->out, true, r->probe));
        if (!r->w->grad && !*hy_op_of(op->kind)->inputs) continue;  // of parameters alone
        const hy_status s = launch(e, &e->shape->bwd[i], &req, e->seconds ? &e->seconds[n + i] : NULL);
        if (s) return hy_error_context(s, "layer %d, %s backward", op->layer, hy_op_name(op->kind));
    }
    return HY_OK;
}

hy_status hy_exec_backward(hy_exec *e, hy_params *w, double scale, const hy_probe *probe) {
    HY_ASSERT(hy_exec_keeps(e->mode) && w->grad);
    HY_TRY(prepare(e, w));
    HY_TRY(e->be->from_host(e->scale, &scale, sizeof scale));
    a_run r = {e, w, NULL, probe, 0, e->prog->n_ops - 1, false};
    const hy_run_key key = run_key(&r);
    return probe ? backward_ops(&r) : hy_exec_run_recorded(e, true, &key, backward_ops, &r);
}

// Gradients that ops after `last` would have been the first to write are 0: later ones add to them.
static hy_status zero_unwritten(hy_exec *e, int last) {
    const hy_program *p = e->prog;
    for (int i = 0; i < last; i++) {
        bool later = false;
        const hy_val root = p->ops[i].out;
        for (int j = last + 1; root >= 0 && e->layout.has_bwd[i] && j < p->n_ops && !later; j++)
            for (int k = 0; k < HY_OP_INPUTS && e->layout.has_bwd[j]; k++)
                later = later || hy_value_root(p, p->ops[j].in[k]) == root;
        if (later) HY_TRY(zero_rows(e, root));
    }
    return HY_OK;
}

// Puts the seed in the place of the gradient of a value, whose root has no other.
static hy_status put_seed(hy_exec *e, hy_val from, const float *seed) {
    const hy_val root = hy_value_root(e->prog, from);
    const size_t rows = (size_t)e->B * (size_t)e->T, width = (size_t)e->prog->values[from].width;
    const size_t ld = (size_t)e->prog->values[root].width, col = hy_value_column(e->prog, from);
    const size_t bytes = rows * ld * hy_dtype_size(e->dt);
    HY_TRY(need_raw(e));
    memset(e->h_raw, 0, bytes);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++) hy_host_put(e->dt, e->h_raw, r * ld + col + c, (double)seed[r * width + c]);
    return e->be->from_host(e->arena + e->layout.grad[root], e->h_raw, bytes);
}

hy_status hy_exec_backward_from(hy_exec *e, hy_params *w, hy_val from, const float *seed, const hy_probe *probe) {
    const hy_program *p = e->prog;
    HY_ASSERT(hy_exec_keeps(e->mode) && from >= 0 && from < p->n_values);
    const hy_val root = hy_value_root(p, from);
    if (e->layout.grad[root] == HY_NOWHERE)
        return hy_error(HY_EINPUT, "%s: the loss does not depend on it, no gradient begins there",
                        p->values[from].name);
    HY_TRY(prepare(e, w));
    hy_params values = *w;  // without gradients
    values.grad = NULL;
    a_run r = {e, &values, NULL, probe, 0, 0, false};
    while (p->ops[r.last].out != root) r.last++;
    HY_TRY(zero_unwritten(e, r.last));
    HY_TRY(put_seed(e, from, seed));
    return backward_ops(&r);
}

// ---------------------------------------------------------------------------------------------------- results
static hy_status fetch(hy_exec *e, hy_dtype dt, const void *src, size_t n, float *dst) {
    if (dt == HY_F32) return e->be->to_host(dst, src, n * 4);
    HY_TRY(need_raw(e));
    HY_TRY(e->be->to_host(e->h_raw, src, n * hy_dtype_size(dt)));
    for (size_t i = 0; i < n; i++) dst[i] = (float)hy_host_element(dt, e->h_raw, i);
    return HY_OK;
}

const float *hy_exec_logits(hy_exec *e) {
    const size_t V = (size_t)e->prog->spec.vocab;
    if (!e->h_logits) e->h_logits = hy_xcalloc((size_t)e->max_out * V, 4);
    if (fetch(e, e->dt, e->arena + e->layout.val[e->prog->logits], (size_t)e->n_out * V, e->h_logits)) return NULL;
    return e->h_logits;
}

const float *hy_exec_nll(hy_exec *e) {
    return fetch(e, hy_wide_type(e->dt), e->nll, (size_t)e->B * (size_t)e->T, e->h_nll) ? NULL : e->h_nll;
}

const void *hy_exec_device_nll(const hy_exec *e) { return e->nll; }

double hy_exec_nll_sum(hy_exec *e) {
    const size_t n = (size_t)e->B * (size_t)e->T;
    if (e->dt == HY_F64) {
        if (need_raw(e) || e->be->to_host(e->h_raw, e->nll, n * 8)) return NAN;
    } else if (!hy_exec_nll(e)) {
        return NAN;
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += e->dt == HY_F64 ? ((const double *)e->h_raw)[i] : e->h_nll[i];
    return sum;
}

const int32_t *hy_exec_pred(hy_exec *e) {
    return e->be->to_host(e->h_pred, e->pred, (size_t)e->B * (size_t)e->T * 4) ? NULL : e->h_pred;
}

// Path of kernel i of the newest run: of a forward kernel, or (from n_ops on) a backward one. NULL: it does not run.
static const char *path_of(const hy_exec *e, int i) {
    const int n = e->prog->n_ops;
    if (i >= n) return e->shape->bwd[i - n].launch.path;
    return runs_forward(e, i) ? e->shape->fwd[i].launch.path : NULL;
}

const char *hy_exec_path(hy_exec *e) {
    e->path.n = 0;
    const char *seen[16];
    int n = 0;
    for (int i = 0; i < 2 * e->prog->n_ops; i++) {  // group: "avx512: norm rope ...; avx512+onednn: linear"
        const char *path = path_of(e, i);
        bool known = !path;
        for (int j = 0; j < n; j++) known = known || !strcmp(seen[j], path);
        if (!known && n < 16) seen[n++] = path;
    }
    for (int j = 0; j < n; j++) {
        unsigned kinds = 0;  // bits
        _Static_assert(HY_OP_KINDS <= 32, "more kinds of ops than bits");
        hy_buf_printf(&e->path, "%s%s:", j ? "; " : "", seen[j]);
        for (int i = 0; i < 2 * e->prog->n_ops; i++) {
            const hy_op_kind k = e->prog->ops[i % e->prog->n_ops].kind;
            if (!path_of(e, i) || strcmp(path_of(e, i), seen[j]) || kinds >> k & 1) continue;
            kinds |= 1u << k;
            hy_buf_printf(&e->path, " %s", hy_op_name(k));
        }
    }
    return e->path.s ? e->path.s : "";
}
