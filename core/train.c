// train.c - the training loop: batches, accumulation, clipping, AdamW, evaluation, checkpoints, divergence. What a
// checkpoint holds is in trainckpt.c.
#include "core/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/train_impl.h"


static hy_sumsq_args sumsq_args(const hy_trainer *t) {
    return (hy_sumsq_args){.n = t->p->param_elems, .x = t->w->grad, .out = t->ctl + HY_CTL_SUMSQ};
}

static hy_status plan_norm(hy_trainer *t) {
    const hy_plan_req req = hy_backend_request(t->be, t->dt, false);
    const hy_sumsq_args a = sumsq_args(t);
    HY_TRY(t->be->plan[HY_K_sumsq](&a, &req, &t->norm));
    if (t->norm.workspace && !(t->norm_ws = t->be->alloc(t->norm.workspace))) return HY_ENOMEM;
    return HY_OK;
}

uint64_t hy_trainer_init_seed(uint64_t seed) { return hy_mix64(seed, 1); }

hy_status hy_trainer_create(const hy_program *p, const hy_backend *be, hy_dtype dt, const hy_train_spec *spec,
                            const hy_task *task, uint64_t seed, hy_trainer **out) {
    *out = NULL;
    if (hy_task_vocab(task) > p->spec.vocab)
        return hy_error(HY_EINPUT, "task %s uses %d tokens, but %s has a vocabulary of %d: set vocab", hy_task_kind(task),
                        hy_task_vocab(task), p->spec.name, p->spec.vocab);
    hy_trainer *t = hy_xcalloc(1, sizeof *t);
    *t = (hy_trainer){.p = p, .be = be, .dt = dt, .spec = *spec, .task = task, .seed = seed};
    t->T = hy_task_max_len(task);
    const int full = p->spec.meta_tokens + t->T;
    const size_t bytes = p->param_elems * hy_dtype_size(dt), blocks = p->param_elems / HY_DECAY_BLOCK;
    hy_status s = hy_params_create(p, be, dt, &t->w);
    if (!s) s = hy_params_init(t->w, hy_trainer_init_seed(seed));
    if (!s) s = hy_params_want_grad(t->w);
    if (!s) s = hy_exec_create(p, be, dt, HY_EXEC_TRAIN, spec->batch, full, 0, &t->e);
    if (!s && (!(t->m = be->alloc(bytes)) || !(t->v = be->alloc(bytes)) || !(t->decay = be->alloc(blocks)) ||
               !(t->ctl = be->alloc(HY_CTL_N * sizeof(double))) || !(t->report = be->alloc(2 * sizeof(double)))))
        s = hy_error_context(HY_ENOMEM, "optimiser state of %s", p->spec.name);
    if (!s) s = plan_norm(t);
    if (!s) {
        uint8_t *flags = hy_xcalloc(blocks, 1);
        for (int i = 0; i < p->n_params; i++)
            memset(flags + p->params[i].offset / HY_DECAY_BLOCK, p->params[i].decay,
                   (p->params[i].n + HY_DECAY_BLOCK - 1) / HY_DECAY_BLOCK);
        s = be->from_host(t->decay, flags, blocks);
        free(flags);
    }
    if (s) {
        hy_trainer_free(t);
        return s;
    }
    const size_t small = (size_t)spec->batch * (size_t)t->T * (size_t)spec->accumulate, rows = (size_t)spec->batch * (size_t)full;
    t->lengths = hy_xcalloc((size_t)spec->accumulate, sizeof *t->lengths);
    t->ids = hy_xcalloc(2 * small + 2 * rows, sizeof(int32_t));
    t->labels = t->ids + small;
    t->full_ids = t->labels + small;
    t->full_labels = t->full_ids + rows;
    *out = t;
    return HY_OK;
}

void hy_trainer_free(hy_trainer *t) {
    if (!t) return;
    hy_exec_free(t->e);
    hy_params_free(t->w);
    void *dev[] = {t->m, t->v, t->decay, t->ctl, t->report, t->norm_ws};
    for (int i = 0; i < 6; i++)
        if (dev[i]) t->be->free(dev[i]);
    free(t->ids);
    free(t->lengths);
    free(t);
}

hy_params *hy_trainer_params(hy_trainer *t) { return t->w; }
long hy_trainer_step_count(const hy_trainer *t) { return t->step; }

// ---------------------------------------------------------------------------------------------------- divergence
typedef struct {
    char first[96];
} nan_search;

static bool want_all(void *user, const char *name) {
    (void)name;
    return ((nan_search *)user)->first[0] == 0;
}

static hy_status look_for_nan(void *user, const char *name, const float *data, int rows, int width) {
    nan_search *s = user;
    for (size_t i = 0; !s->first[0] && i < (size_t)rows * (size_t)width; i++)
        if (!isfinite(data[i])) snprintf(s->first, sizeof s->first, "%s (row %zu)", name, i / (size_t)width);
    return HY_OK;
}

// The first value of the forward pass, or the first gradient, that is not finite.
static void blame(hy_trainer *t, const hy_batch *b, double scale, char *out, size_t n) {
    nan_search f = {{0}};
    const hy_probe probe = {.wants = want_all, .got = look_for_nan, .user = &f};
    if (!hy_exec_forward(t->e, t->w, b, NULL, HY_HEAD_LOSS, &probe) && !f.first[0]) hy_exec_backward(t->e, t->w, scale, &probe);
    if (f.first[0]) {
        snprintf(out, n, "%s", f.first);
        return;
    }
    snprintf(out, n, "the loss itself");
    for (int i = 0; i < t->p->n_params; i++) {
        const size_t k = t->p->params[i].n;
        float *g = hy_xcalloc(k, sizeof *g);
        bool bad = hy_params_get(t->w, i, true, g) != HY_OK;
        for (size_t j = 0; !bad && j < k; j++) bad = !isfinite(g[j]);
        free(g);
        if (!bad) continue;
        snprintf(out, n, "the gradient of %s", t->p->params[i].name);
        return;
    }
}

// ---------------------------------------------------------------------------------------------------- one step
// A kernel that needs no scratch memory.
static hy_status run_plain(hy_trainer *t, hy_kernel_id k, const void *args) {
    const hy_plan_req req = hy_backend_request(t->be, t->dt, false);
    hy_launch l = {0};
    HY_TRY(t->be->plan[k](args, &req, &l));
    HY_ASSERT(l.workspace == 0);
    return l.run(args, NULL, &req);
}

static hy_status micro_batch(hy_trainer *t, const int32_t *ids, const int32_t *labels, int T, double scale) {
    const int m = t->p->spec.meta_tokens, B = t->spec.batch;
    hy_ids_with_meta(B, T, m, ids, 0, t->full_ids);
    hy_ids_with_meta(B, T, m, labels, HY_IGNORE, t->full_labels);
    t->last = (hy_batch){.B = B, .T = m + T, .ids = t->full_ids, .labels = t->full_labels};
    HY_TRY(hy_exec_forward(t->e, t->w, &t->last, NULL, HY_HEAD_LOSS, NULL));
    HY_TRY(hy_exec_backward(t->e, t->w, scale, NULL));
    const hy_nll_sum_args a = {.rows = t->last.B * t->last.T, .nll = hy_exec_device_nll(t->e), .sum = t->ctl + HY_CTL_NLL};
    return run_plain(t, HY_K_nll_sum, &a);
}

// What the host gives the kernels of step t->step.
static hy_status start_step(hy_trainer *t, double scale) {
    const hy_train_spec *s = &t->spec;
    const double ctl[HY_CTL_HOST] = {
        [HY_CTL_LR] = hy_train_lr(s, t->step), [HY_CTL_C1] = 1 - pow(s->beta1, (double)t->step),
        [HY_CTL_C2] = 1 - pow(s->beta2, (double)t->step), [HY_CTL_CLIP] = s->clip, [HY_CTL_SCALE] = scale,
        [HY_CTL_STEP] = (double)t->step, [HY_CTL_NLL] = 0};
    HY_TRY(t->be->from_host(t->ctl, ctl, sizeof ctl));
    return t->be->zero(t->w->grad, t->p->param_elems * hy_dtype_size(t->dt));
}

// Gradient norm, clipping and the update, all on the device.
static hy_status finish_step(hy_trainer *t) {
    const hy_plan_req req = hy_backend_request(t->be, t->dt, false);
    const hy_sumsq_args n = sumsq_args(t);
    const hy_clip_args c = {.ctl = t->ctl, .report = t->report, .cap = 1};
    const hy_adamw_args a = {.n = t->p->param_elems, .p = t->w->data, .m = t->m, .v = t->v, .g = t->w->grad, .decay = t->decay,
                             .beta1 = t->spec.beta1, .beta2 = t->spec.beta2, .eps = t->spec.eps, .wd = t->spec.weight_decay, .ctl = t->ctl};
    HY_TRY(t->norm.run(&n, t->norm_ws, &req));
    HY_TRY(run_plain(t, HY_K_clip, &c));
    return run_plain(t, HY_K_adamw, &a);
}

hy_status hy_trainer_step(hy_trainer *t, hy_train_point *out) {
    const hy_train_spec *s = &t->spec;
    const double start = hy_now();
    const size_t stride = (size_t)s->batch * (size_t)t->T;
    int64_t labelled = 0, tokens = 0;
    hy_status st = HY_OK;
    for (int k = 0; !st && k < s->accumulate; k++) {
        st = hy_task_batch(t->task, (int64_t)t->step * s->accumulate + k, s->batch, t->ids + (size_t)k * stride,
                           t->labels + (size_t)k * stride, &t->lengths[k]);
        if (st) break;
        tokens += (int64_t)s->batch * t->lengths[k];
        for (size_t i = 0; i < (size_t)s->batch * (size_t)t->lengths[k]; i++) labelled += t->labels[(size_t)k * stride + i] >= 0;
    }
    const double scale = labelled ? 1.0 / (double)labelled : 0;
    double report[2];
    t->step++;
    if (!st) st = start_step(t, scale);
    for (int k = 0; !st && k < s->accumulate; k++)
        st = micro_batch(t, t->ids + (size_t)k * stride, t->labels + (size_t)k * stride, t->lengths[k], scale);
    if (!st) st = finish_step(t);
    if (!st) st = t->be->to_host(report, t->report, sizeof report);
    if (st) {
        t->step--;
        return st;
    }
    const double loss = report[0], norm = report[1], lr = hy_train_lr(s, t->step);
    if (!isfinite(loss) || !isfinite(norm)) {
        char where[128];
        blame(t, &t->last, scale, where, sizeof where);
        return hy_error(HY_EDIVERGED, "step %ld: loss %g, gradient norm %g; first not finite: %s. Lower train.lr (%g here), "
                        "lengthen train.warmup or set train.clip", t->step, loss, norm, where, lr);
    }
    *out = (hy_train_point){.step = t->step, .loss = loss, .lr = lr, .grad_norm = norm,
                            .tokens_per_s = (double)tokens / fmax(1e-9, hy_now() - start)};
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- the loop
static hy_status evaluate_now(hy_trainer *t, const hy_train_watch *watch, hy_eval *last, bool *stop) {
    hy_eval_free(last);
    HY_TRY(hy_evaluate(t->p, t->w, t->task, t->spec.eval_batch, t->spec.eval_examples, last));
    *stop = t->spec.stop_accuracy > 0 && last->total.accuracy >= t->spec.stop_accuracy;
    return watch && watch->on_eval ? watch->on_eval(watch->user, t->step, last) : HY_OK;
}

// Saves after `st`, HY_OK or an interruption, which stays what the caller hears of.
static hy_status keep(hy_trainer *t, const char *checkpoint, hy_status st) {
    char *why = st ? hy_xstrdup(hy_error_text()) : NULL;
    const hy_status saved = hy_trainer_save(t, checkpoint);
    if (!saved && st) st = hy_error(st, "%s", why);
    free(why);
    return saved ? saved : st;
}

hy_status hy_trainer_run(hy_trainer *t, const hy_train_watch *watch, const char *checkpoint, hy_eval *last) {
    hy_eval mine = {0}, *ev = last ? last : &mine;
    if (last) *last = (hy_eval){0};
    const hy_train_spec *s = &t->spec;
    bool stop = t->stopped;
    hy_status st = HY_OK;
    while (!st && !stop && (t->step < s->steps || t->eval_due)) {
        hy_train_point p;
        if (!t->eval_due) {
            st = hy_trainer_step(t, &p);
            t->eval_due = !st && s->eval_every && t->step % s->eval_every == 0 && t->step < s->steps;
            if (!st && watch && watch->on_step) st = watch->on_step(watch->user, &p);
        }
        if (!st && t->eval_due) st = evaluate_now(t, watch, ev, &stop);
        if (!st) t->eval_due = false;
        t->stopped = stop;
        const bool due = s->checkpoint_every && t->step % s->checkpoint_every == 0;
        if (checkpoint && (st ? st == HY_EINTR : due || hy_interrupted)) st = keep(t, checkpoint, st);
        if (!st && hy_interrupted && !stop && t->step < s->steps)
            st = hy_error(HY_EINTR, "interrupted after step %ld of %d", t->step, s->steps);
    }
    if (!st) {
        st = evaluate_now(t, watch, ev, &stop);
        if (checkpoint && (!st || st == HY_EINTR)) st = keep(t, checkpoint, st);
    }
    if (st || !last) hy_eval_free(ev);
    return st;
}
