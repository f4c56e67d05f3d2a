// train.c - the training loop: batches, accumulation, evaluation, checkpoints, divergence. A step on the device is
// optim.c; what a checkpoint holds is in train_checkpoint.c. On an asynchronous backend the host runs ahead of the
// device by several steps. A step whose loss or gradient is not finite leaves the parameters alone, so finding out late
// loses nothing.
#include "core/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/train/train_impl.h"

// Adds to an out-of-memory error what training needs whatever the batch size.
static hy_status no_room(const hy_trainer *t) {
    hy_buf b = {0};
    if (t->opt.w) hy_optim_memory_text(&t->opt, &b);
    const hy_status s =
        t->opt.w
            ? hy_error_context(HY_ENOMEM, "training %s holds, in MB, %s; besides", t->p->spec.name, b.s)
            : hy_error_context(HY_ENOMEM, "training %s needs weights, gradients and two moments of %.1f MB each",
                               t->p->spec.name,
                               (double)(t->p->param_elems * hy_dtype_size(t->dt == HY_F64 ? HY_F64 : HY_F32)) / 1e6);
    free(b.s);
    return s;
}

uint64_t hy_trainer_init_seed(uint64_t seed) { return hy_mix64(seed, 1); }
uint64_t hy_trainer_dropout_key(uint64_t seed, int64_t batch) { return hy_mix64(hy_mix64(seed, 2), (uint64_t)batch); }

// The executor. On a device of limited memory it leaves room for that of an evaluation, so that what does not fit fails
// before the first step.
static hy_status open_exec(hy_trainer *t, int full) {
    const hy_train_spec *s = &t->spec;
    void *room = NULL;
    size_t bytes = 0;
    if (t->be->memory_free) {
        HY_TRY(hy_evaluate_memory(t->p, t->be, t->dt, t->task, s->eval_batch, &bytes));
        if (!(room = t->be->alloc(bytes)))
            return hy_error_context(HY_ENOMEM, "an evaluation needs %.1f MB: lower train.eval_batch (%d here)",
                                    (double)bytes / 1e6, s->eval_batch);
    }
    const hy_status st = hy_exec_create(t->p, t->be, t->dt, HY_EXEC_TRAIN, s->batch, full, 0, &t->e);
    if (!room) return st;
    t->be->free(room);
    return st == HY_ENOMEM ? hy_error_context(st, "beside %.1f MB for evaluations (train.eval_batch %d)",
                                              (double)bytes / 1e6, s->eval_batch)
                           : st;
}

static hy_status open_device(hy_trainer *t, int full) {
    const hy_train_spec *s = &t->spec;
    HY_TRY(hy_params_create(t->p, t->be, t->dt, &t->w));
    HY_TRY(hy_params_init(t->w, hy_trainer_init_seed(t->seed)));
    HY_TRY(hy_optim_open(t->w, HY_TRAIN_RING, &t->opt));
    t->opt.beta1 = s->beta1, t->opt.beta2 = s->beta2, t->opt.eps = s->eps, t->opt.weight_decay = s->weight_decay;
    if (s->weight_decay_on == HY_DECAY_ALL) HY_TRY(hy_optim_decay_all(&t->opt));
    HY_TRY(hy_trainer_open_sum(t));
    return open_exec(t, full);
}

hy_status hy_trainer_create(const hy_program *p, const hy_backend *be, hy_dtype dt, const hy_train_spec *spec,
                            const hy_task *task, uint64_t seed, hy_trainer **out) {
    *out = NULL;
    if (hy_task_vocab(task) > p->spec.vocab)
        return hy_error(HY_EINPUT, "task %s uses %d tokens, but %s has a vocabulary of %d: set vocab",
                        hy_task_kind(task), hy_task_vocab(task), p->spec.name, p->spec.vocab);
    hy_train_spec fitted = *spec;
    const hy_status fits = hy_train_fit(&fitted, task);
    if (fits) return hy_error_context(fits, "train");
    if (spec->stop_accuracy > 0 && !hy_task_cells(task, HY_SPLIT_TUNE)) return hy_train_no_tuning(hy_task_kind(task));
    HY_TRY(hy_model_check_length(&p->spec, hy_task_max_len(task)));
    int64_t batches = 0;
    if (hy_train_epoch_steps(&fitted)) HY_TRY(hy_task_epoch(task, fitted.batch, &batches));
    hy_trainer *t = hy_xcalloc(1, sizeof *t);
    *t = (hy_trainer){.p = p, .be = be, .dt = dt, .spec = fitted, .task = task, .seed = seed, .epoch_batches = batches};
    t->T = hy_task_max_len(task);
    // running ahead pays only where kernels run while the host does something else
    t->ask_every = !be->async ? 1 : spec->log_every < HY_TRAIN_RING ? spec->log_every : HY_TRAIN_RING;
    const int full = p->spec.meta_tokens + t->T;
    hy_status s = open_device(t, full);
    if (s == HY_ENOMEM) s = no_room(t);
    if (s) {
        hy_trainer_free(t);
        return s;
    }
    const size_t small = (size_t)spec->batch * (size_t)t->T * (size_t)spec->accumulate,
                 rows = (size_t)spec->batch * (size_t)full;
    t->lengths = hy_xcalloc(2 * (size_t)spec->accumulate, sizeof *t->lengths);
    t->sizes = t->lengths + spec->accumulate;
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
    hy_trainer_close_sum(t);
    hy_trainer_drop_moments(t);
    hy_optim_close(&t->opt);
    hy_params_free(t->w);
    free(t->ids);
    free(t->lengths);
    free(t);
}

hy_params *hy_trainer_params(hy_trainer *t) { return t->w; }
long hy_trainer_step_count(const hy_trainer *t) { return t->step; }
bool hy_trainer_stopped(const hy_trainer *t) { return t->stopped || t->reached; }
int hy_trainer_loaded_steps(const hy_trainer *t) { return t->loaded_steps; }

// ----------------------------------------------------------------------------------------------- the batches of a step
// Micro-batch k of a step into ids and labels. Of those that other ranks make only whether there are any.
static hy_status load_batch(hy_trainer *t, long step, int k, int32_t *ids, int32_t *labels) {
    const hy_train_spec *s = &t->spec;
    const bool mine = hy_trainer_makes(t, k);
    t->sizes[k] = s->batch;
    if (!s->epochs && !mine) return HY_OK;
    if (!s->epochs)
        return hy_task_batch(t->task, (int64_t)(step - 1) * s->accumulate + k, s->batch, ids, labels, &t->lengths[k]);
    const int64_t n = (int64_t)((step - 1) % hy_train_epoch_steps(s)) * s->accumulate + k;
    t->sizes[k] = n < t->epoch_batches ? s->batch : 0;
    t->lengths[k] = 0;
    return n < t->epoch_batches && mine
               ? hy_task_epoch_batch(t->task, n, s->batch, ids, labels, &t->lengths[k], &t->sizes[k])
               : HY_OK;
}

// All micro-batches of a step (1 ..), a pure function of its number: into t->ids, labels, lengths, sizes.
static hy_status load_step(hy_trainer *t, long step, double *scale, int64_t *tokens) {
    const hy_train_spec *s = &t->spec;
    const size_t stride = (size_t)s->batch * (size_t)t->T;
    int64_t labelled = 0;
    hy_status loaded = HY_OK;
    *tokens = 0;
    for (int k = 0; k < s->accumulate && !loaded; k++) {
        loaded = load_batch(t, step, k, t->ids + (size_t)k * stride, t->labels + (size_t)k * stride);
        if (loaded || !hy_trainer_makes(t, k)) continue;
        *tokens += (int64_t)t->sizes[k] * t->lengths[k];
        for (size_t i = 0; i < (size_t)t->sizes[k] * (size_t)t->lengths[k]; i++)
            labelled += t->labels[(size_t)k * stride + i] >= 0;
    }
    HY_TRY(hy_trainer_count(t, loaded, &labelled, tokens));
    *scale = labelled ? 1.0 / (double)labelled : 0;
    return HY_OK;
}

// Micro-batch k of the step that is loaded, meta tokens in front; what dropout drops in it.
static hy_batch micro_batch(hy_trainer *t, long step, int k) {
    const int m = t->p->spec.meta_tokens, B = t->sizes[k], T = t->lengths[k];
    const size_t at = (size_t)k * (size_t)t->spec.batch * (size_t)t->T;
    hy_ids_with_meta(B, T, m, t->ids + at, 0, t->full_ids);
    hy_ids_with_meta(B, T, m, t->labels + at, HY_IGNORE, t->full_labels);
    hy_exec_set_dropout(t->e, hy_trainer_dropout_key(t->seed, (step - 1) * t->spec.accumulate + k));
    return (hy_batch){.B = B, .T = m + T, .ids = t->full_ids, .labels = t->full_labels};
}

// Sends the device what the host decides for a step: learning rate, bias corrections, clipping, loss scale.
static hy_status begin_step(hy_trainer *t, long step, double scale) {
    const hy_train_spec *s = &t->spec;
    const double ctl[HY_CTL_HOST] = {[HY_CTL_LR] = hy_train_lr(s, step),
                                     [HY_CTL_C1] = 1 - pow(s->beta1, (double)step),
                                     [HY_CTL_C2] = 1 - pow(s->beta2, (double)step),
                                     [HY_CTL_CLIP] = s->clip,
                                     [HY_CTL_SCALE] = scale,
                                     [HY_CTL_STEP] = (double)step,
                                     [HY_CTL_NLL] = 0};
    return hy_optim_begin(&t->opt, ctl);
}

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

// Repeats a step to name the first value of its forward passes, or the first gradient, that is not finite. The
// parameters are still those before the step. score: micro-batches in order, then gradients, then what no one has
// found.
static hy_status find_here(hy_trainer *t, long step, double scale, int64_t *score, char *out, size_t n) {
    nan_search f = {{0}};
    const hy_probe probe = {.wants = want_all, .got = look_for_nan, .user = &f};
    HY_TRY(begin_step(t, step, scale));
    for (int k = 0; k < t->spec.accumulate && t->sizes[k] && !f.first[0]; k++) {
        if (!hy_trainer_makes(t, k)) continue;
        const hy_batch b = micro_batch(t, step, k);
        HY_TRY(hy_exec_forward(t->e, t->w, &b, NULL, HY_HEAD_LOSS, &probe));
        if (!f.first[0]) HY_TRY(hy_exec_backward(t->e, t->w, scale, &probe));
        if (f.first[0]) *score = k;
    }
    snprintf(out, n, "%s", f.first[0] ? f.first : "the loss itself");
    for (int i = 0; i < t->p->n_params && !f.first[0]; i++) {
        const size_t k = t->p->params[i].n;
        float *g = hy_xcalloc(k, sizeof *g);
        bool bad = hy_params_get(t->w, i, true, g) != HY_OK;
        for (size_t j = 0; !bad && j < k; j++) bad = !isfinite(g[j]);
        free(g);
        if (!bad) continue;
        snprintf(out, n, "the gradient of %s", t->p->params[i].name);
        *score = t->spec.accumulate;
        break;
    }
    return HY_OK;
}

static hy_status find_non_finite(hy_trainer *t, long step, char *out, size_t n) {
    double scale;
    int64_t tokens, score = INT64_MAX;
    HY_TRY(load_step(t, step, &scale, &tokens));
    if (find_here(t, step, scale, &score, out, n)) snprintf(out, n, "unknown (%.100s)", hy_error_text());
    return hy_trainer_first_of(t, score, out, n);
}

static hy_status diverged(hy_trainer *t, long step, double loss, double norm) {
    char where[128];
    t->step = step;
    if (find_non_finite(t, step, where, sizeof where))
        snprintf(where, sizeof where, "unknown (%.100s)", hy_error_text());
    return hy_error(HY_EDIVERGED,
                    "step %ld: loss %g, gradient norm %g; first not finite: %s. Lower train.lr (%g here), "
                    "lengthen train.warmup or set train.clip",
                    step, loss, norm, where, hy_train_lr(&t->spec, step));
}

// ---------------------------------------------------------------------------------------------------- one step
// Starts a step. Its loss and gradient norm are read by collect.
static hy_status start_step(hy_trainer *t) {
    HY_ASSERT(t->pending < HY_TRAIN_RING);
    const double start = hy_now();
    double scale;
    int64_t tokens;
    HY_TRY(load_step(t, t->step + 1, &scale, &tokens));
    hy_trainer_drop_moments(t);
    HY_TRY(begin_step(t, t->step + 1, scale));
    if (t->sum) HY_TRY(hy_trainer_sum_parts(t, t->step + 1, scale, micro_batch));
    for (int k = 0; !t->sum && k < t->spec.accumulate && t->sizes[k]; k++) {
        const hy_batch b = micro_batch(t, t->step + 1, k);
        HY_TRY(hy_optim_add(&t->opt, t->e, &b, scale));
    }
    HY_TRY(hy_optim_end(&t->opt));
    HY_TRY(hy_trainer_spread_weights(t));
    if (t->pending == 0) t->pending_start = start, t->pending_tokens = 0;
    t->step++;
    t->pending++;
    t->pending_tokens += tokens;
    return HY_OK;
}

// Waits for the pending steps and reports each to on_step, in order. last: the newest, or NULL.
static hy_status collect(hy_trainer *t, const hy_train_watch *watch, hy_train_point *last) {
    double report[2 * HY_TRAIN_RING];
    if (t->pending == 0) return HY_OK;
    HY_TRY(hy_optim_reports(&t->opt, report));
    const double rate = (double)t->pending_tokens / fmax(1e-9, hy_now() - t->pending_start);
    const long end = t->step;
    const int n = t->pending;
    t->pending = 0;
    for (long step = end - n + 1; step <= end; step++) {
        const double *r = &report[2 * ((step - 1) % HY_TRAIN_RING)];
        if (!isfinite(r[0]) || !isfinite(r[1])) return diverged(t, step, r[0], r[1]);
        const hy_train_point p = {
            .step = step, .loss = r[0], .lr = hy_train_lr(&t->spec, step), .grad_norm = r[1], .tokens_per_s = rate};
        if (watch && watch->on_step) HY_TRY(watch->on_step(watch->user, &p));
        if (last) *last = p;
    }
    return HY_OK;
}

hy_status hy_trainer_step(hy_trainer *t, hy_train_point *out) {
    HY_TRY(start_step(t));
    return collect(t, NULL, out);
}

// ---------------------------------------------------------------------------------------------------- the loop
static hy_status evaluate(hy_trainer *t, hy_split split, int examples, hy_eval *ev) {
    const hy_status st = hy_evaluate_ticking(t->p, t->w, t->task, split, t->spec.eval_batch, examples,
                                             t->dist ? hy_trainer_beat : NULL, t, ev);
    return st == HY_EDIVERGED ? hy_error_context(st, "step %ld of %d", t->step, hy_train_end(&t->spec)) : st;
}

// Whether the tuning examples are answered well enough. Those of evaluation have no say: they are what is reported.
static hy_status good_enough(hy_trainer *t, bool *stop) {
    hy_eval tune = {0};
    if (!(t->spec.stop_accuracy > 0) || *stop) return HY_OK;
    HY_TRY(evaluate(t, HY_SPLIT_TUNE, t->spec.eval_examples, &tune));
    *stop = tune.total.accuracy >= t->spec.stop_accuracy;
    hy_eval_free(&tune);
    return HY_OK;
}

static hy_status evaluate_here(hy_trainer *t, const hy_train_watch *watch, hy_eval *ev, bool *stop) {
    HY_TRY(good_enough(t, stop));
    HY_TRY(evaluate(t, HY_SPLIT_EVAL, t->spec.eval_examples, ev));
    return watch && watch->on_eval ? watch->on_eval(watch->user, t->step, ev) : HY_OK;
}

static hy_status evaluate_now(hy_trainer *t, const hy_train_watch *watch, hy_eval *ev, bool *stop) {
    hy_eval_free(ev);
    return hy_trainer_settle(t, hy_trainer_leads(t) ? evaluate_here(t, watch, ev, stop) : HY_OK, stop);
}

// The evaluation at the end. Where nobody asks for one, a few examples still tell whether the last update left usable
// weights.
static hy_status evaluate_end(hy_trainer *t, const hy_train_watch *watch, bool asked, hy_eval *ev) {
    t->reached = t->stopped;
    if (asked || t->spec.eval_every || t->spec.stop_accuracy > 0) return evaluate_now(t, watch, ev, &t->reached);
    return hy_trainer_settle(t, hy_trainer_leads(t) ? evaluate(t, HY_SPLIT_EVAL, 1, ev) : HY_OK, &t->reached);
}

static hy_status save_here(hy_trainer *t, const hy_train_watch *watch, const char *checkpoint) {
    const hy_status saved = hy_trainer_save(t, checkpoint);
    if (!saved && watch && watch->on_save) return watch->on_save(watch->user, t->step);
    return saved && watch && watch->on_unsaved ? watch->on_unsaved(watch->user, t->step) : saved;
}

// Saves, and returns `st` with its message unless saving fails after all went well or was interrupted.
static hy_status save(hy_trainer *t, const hy_train_watch *watch, const char *checkpoint, hy_status st) {
    char *why = st ? hy_xstrdup(hy_error_text()) : NULL;
    hy_status saved = hy_trainer_check_ranks(t);
    if (!saved) saved = hy_trainer_collect_moments(t);
    if (!saved) saved = hy_trainer_settle(t, hy_trainer_leads(t) ? save_here(t, watch, checkpoint) : HY_OK, NULL);
    t->saved = hy_now();
    const bool older = st && (!saved || st != HY_EINTR);
    if (older) hy_error(st, "%s", why);
    free(why);
    return older || !saved ? st : saved;
}

// What was made is whole after an interruption, and where an evaluation found no memory: a resumed run may take a
// smaller eval_batch.
static bool is_worth_keeping(const hy_trainer *t, hy_status st) {
    return st == HY_EINTR || (st == HY_ENOMEM && t->pending == 0 && (t->eval_due || t->step >= hy_train_end(&t->spec)));
}

static bool save_is_due(const hy_trainer *t) {
    const hy_train_spec *s = &t->spec;
    if (s->checkpoint_every && t->step % s->checkpoint_every == 0) return true;
    return t->step < hy_train_end(s) && (t->dist ? t->told_save : hy_trainer_time_to_save(t));
}

// Of several ranks, all see a signal to one of them at the next step.
static bool is_asked_to_end(const hy_trainer *t) { return t->dist ? t->told_end : hy_interrupted; }

// Starts the next step. Waits for all steps so far where something needs them: an evaluation, a checkpoint, an
// interrupt, the end.
static hy_status next_step(hy_trainer *t, const hy_train_watch *watch, bool saving) {
    const hy_train_spec *s = &t->spec;
    const hy_status started = start_step(t);
    t->eval_due = !started && s->eval_every && t->step % s->eval_every == 0 && t->step < hy_train_end(s);
    const bool wait = t->eval_due || (saving && save_is_due(t)) || is_asked_to_end(t) || t->step >= hy_train_end(s) ||
                      t->pending >= t->ask_every;
    if (!started && !wait) return HY_OK;
    char *why = started ? hy_xstrdup(hy_error_text()) : NULL;
    const hy_status collected = collect(t, watch, NULL);
    // divergence of an earlier step explains a failure to start this one
    const bool earlier = collected && (!started || collected == HY_EDIVERGED);
    if (!earlier && started) hy_error(started, "%s", why);
    free(why);
    return earlier ? collected : started;
}

hy_status hy_trainer_run(hy_trainer *t, const hy_train_watch *watch, const char *checkpoint, hy_eval *last) {
    hy_eval mine = {0}, *ev = last ? last : &mine;
    if (last) *last = (hy_eval){0};
    const int end = hy_train_end(&t->spec);
    bool stop = t->stopped, evaluated = false;  // evaluated: ev is of the last step
    hy_status st = HY_OK;
    t->saved = hy_now();
    while (!st && !stop && (t->step < end || t->eval_due)) {
        evaluated = false;
        if (!t->eval_due) st = next_step(t, watch, checkpoint != NULL);
        if (!st && t->eval_due) {
            st = evaluate_now(t, watch, ev, &stop);
            evaluated = !st;
        }
        if (!st) t->eval_due = false;
        t->stopped = stop;
        const bool settled = t->pending == 0,
                   interrupted = settled && is_asked_to_end(t);  // an interrupt since then waits for the next step
        if (checkpoint && (st ? is_worth_keeping(t, st) : interrupted || (settled && save_is_due(t))))
            st = save(t, watch, checkpoint, st);
        if (!st && interrupted && !stop && t->step < end)
            st = hy_error(HY_EINTR, "interrupted after step %ld of %d", t->step, end);
    }
    if (!st) {
        if (!evaluated) st = evaluate_end(t, watch, last != NULL, ev);
        if (checkpoint && (!st || is_worth_keeping(t, st))) st = save(t, watch, checkpoint, st);
    }
    if (st || !last) hy_eval_free(ev);
    return st;
}
