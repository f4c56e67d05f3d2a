// run_measure.c - the measures of a run: each is claimed, taken and settled alone, so that one that fails costs nothing
// but itself. See run_impl.h.
#include <stdlib.h>
#include <string.h>

#include "experiments/runner/run_impl.h"
#include "experiments/runner/weights.h"
#include "results/query_models.h"

// ---------------------------------------------------------------------------------------------------- weights
static unsigned claim_flags(const hy_worker *w, const hy_item_measure *m) {
    return w->job->claim | (!strcmp(m->measure->name, w->job->remeasure) ? HY_CLAIM_FORCE : 0);
}

// Whether a measure that is to be taken needs weights.
static hy_status weights_wanted(const hy_worker *w, bool *wanted) {
    const hy_run_item *it = &w->job->item;
    *wanted = false;
    for (int k = 0; k < it->n_measures && !*wanted; k++) {
        const hy_item_measure *m = &it->measures[k];
        hy_claim claim;
        int64_t id;
        if (!(m->measure->needs & HY_NEEDS_WEIGHTS)) continue;
        HY_TRY(hy_measurement_peek(w->store, w->model_id, m->measure->name, m->measure->version, m->key,
                                   claim_flags(w, m), &claim, &id));
        *wanted = claim == HY_CLAIM_NEW || claim == HY_CLAIM_RESUMED;
    }
    return HY_OK;
}

// Loads them, if they are what was stored.
static hy_status weights_stored(hy_worker *w, bool *stored) {
    const hy_run_item *it = &w->job->item;
    char *name, *hash;
    *stored = false;
    HY_TRY(hy_model_weights(w->store, w->model_id, &name, &hash));
    hy_status s = HY_OK;
    if (name) s = hy_weights_load(w->job->db, name, hash, it->spec, &w->be, it->train->precision, &w->model, stored);
    if (*stored) w->loaded = HY_WEIGHTS_F32;
    if (!s && name && !*stored) s = hy_model_weights_gone(w->store, w->model_id);
    free(name);
    free(hash);
    return s;
}

// A trained model whose weights were pruned, deleted or changed is trained again, if they are needed.
static bool have_weights(hy_worker *w) {
    if (w->job->item.origin != HY_ORIGIN_TRAINED || w->fresh) return true;
    bool wanted, stored = true;
    hy_status s = weights_wanted(w, &wanted);
    if (!s && wanted) s = weights_stored(w, &stored);
    if (s) hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
    if (!s && !stored) hy_worker_say(w, "note its stored weights are gone or changed: it is trained again");
    return !s && (stored || hy_worker_model(w, HY_CLAIM_WEIGHTS));
}

static hy_status load_file(hy_worker *w, hy_weights how) {
    const hy_run_item *it = &w->job->item;
    char hash[33];
    HY_TRY(hy_model_source_hash(it->file, hash));
    if (strcmp(hash, it->source))
        return hy_error(HY_EINPUT, "%s: its content has changed since the run was planned", it->file);
    return hy_model_open_as(it->file, it->spec, &w->be, how, it->train->precision, &w->model);
}

static hy_status load_stored(hy_worker *w) {
    const hy_run_item *it = &w->job->item;
    char *name = hy_weights_name(it->model_key, it->seed, w->job->device), *path = hy_weights_path(w->job->db, name);
    const hy_status s = hy_model_open_as(path, it->spec, &w->be, HY_WEIGHTS_F32, it->train->precision, &w->model);
    free(name);
    free(path);
    return s;
}

// The weights that training would start from.
static hy_status draw(hy_worker *w) {
    const hy_run_item *it = &w->job->item;
    HY_TRY(hy_model_build(it->spec, &w->model.p));
    HY_TRY(hy_params_create(w->model.p, &w->be, hy_precision_dtype(it->train->precision), &w->model.w));
    return hy_params_init(w->model.w, hy_trainer_init_seed((uint64_t)it->seed));
}

// Weights of a file stay in the type that it holds, but where gradients are asked for.
static hy_status load_weights(hy_worker *w, const hy_measure *m) {
    const hy_origin origin = w->job->item.origin;
    const hy_weights how =
        origin == HY_ORIGIN_FILE && !(m->needs & HY_NEEDS_GRADIENT) ? HY_WEIGHTS_AUTO : HY_WEIGHTS_F32;
    if (w->model.p && w->loaded == how) return HY_OK;
    hy_model_close(&w->model);
    w->loaded = how;
    const hy_status s = origin == HY_ORIGIN_FILE     ? load_file(w, how)
                        : origin == HY_ORIGIN_RANDOM ? draw(w)
                                                     : load_stored(w);
    if (s) hy_model_close(&w->model);
    return s;
}

// ---------------------------------------------------------------------------------------------------- one measure
static hy_status take(hy_worker *w, const hy_item_measure *m, hy_facts *facts) {
    const hy_train_spec *recipe = w->job->item.train;
    const bool weights = m->measure->needs & HY_NEEDS_WEIGHTS;
    if (weights) HY_TRY(load_weights(w, m->measure));
    hy_timing_lock_pass(&w->timing);  // another run may be measuring throughput
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted before measure %s", m->measure->name);
    const hy_measure_context c = {.prog = weights ? w->model.p : w->prog,
                                  .params = weights ? w->model.w : NULL,
                                  .compute = weights ? w->model.w->compute : hy_precision_dtype(recipe->precision),
                                  .be = &w->be,
                                  .task = w->task,
                                  .eval_batch = recipe->eval_batch,
                                  .step = w->steps,
                                  .timing = &w->timing,
                                  .jobs = w->job->jobs};
    return hy_measure_run(m->measure, &c, &m->options, facts);
}

static void settle(hy_worker *w, int64_t id, const hy_facts *facts, hy_status s) {
    char *why = hy_worker_why(s, s ? hy_error_text() : "");
    const hy_run_end end = s == HY_EINTR ? HY_END_INTERRUPTED : s == HY_ENOMEM ? HY_END_MEMORY : HY_END_FAILED;
    const hy_status stored = s && end != HY_END_FAILED
                                 ? hy_measurement_interrupt(w->store, id, why)
                                 : hy_measurement_settle(w->store, id, s ? NULL : facts, s ? why : NULL);
    if (stored)
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
    else if (s)
        hy_worker_end(w, end, "%s", why);
    hy_worker_say(w, "release");
    free(why);
}

static void measure_one(hy_worker *w, const hy_item_measure *m) {
    const hy_measurement_record r = {.model_id = w->model_id,
                                     .measure = m->measure->name,
                                     .version = m->measure->version,
                                     .options = m->options_text,
                                     .by = hy_worker_provenance(w),
                                     .task = m->measure->needs & HY_NEEDS_TASK ? w->job->item.task_text : ""};
    hy_claim claim;
    int64_t id;
    if (hy_measurement_claim(w->store, &r, claim_flags(w, m), &claim, &id)) {
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
        return;
    }
    if (claim == HY_CLAIM_BUSY) hy_worker_end(w, HY_END_BUSY, "another process takes measure %s", r.measure);
    if (claim == HY_CLAIM_FAILED) hy_worker_end(w, HY_END_FAILED, "measure %s failed before", r.measure);
    if (claim != HY_CLAIM_NEW && claim != HY_CLAIM_RESUMED) return;
    hy_worker_say(w, "claim measure %lld %s", (long long)id, claim == HY_CLAIM_NEW ? "new" : "resumed");
    hy_worker_say(w, "phase measuring %s", r.measure);
    hy_facts facts = {.steps = w->steps};
    snprintf(facts.kernel_path, sizeof facts.kernel_path, "%s", hy_worker_kernels(w));
    settle(w, id, &facts, take(w, m, &facts));
    hy_facts_free(&facts);
}

// What an earlier attempt left open comes last: it may end this process again, and the others are to be taken anyway.
static hy_status left_open(const hy_worker *w, const hy_item_measure *m, bool *open) {
    hy_claim claim;
    int64_t id;
    HY_TRY(hy_measurement_peek(w->store, w->model_id, m->measure->name, m->measure->version, m->key, claim_flags(w, m),
                               &claim, &id));
    *open = claim == HY_CLAIM_RESUMED;
    return HY_OK;
}

void hy_worker_measure(hy_worker *w) {
    const hy_run_item *it = &w->job->item;
    if (!have_weights(w)) return;
    if (!w->fresh && hy_ask_model_steps(w->store, w->model_id, &w->steps))
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
    uint64_t last = 0;  // bit k: measure k
    for (int k = 0; k < it->n_measures && w->end < HY_END_INTERRUPTED; k++) {
        bool open = false;
        if (left_open(w, &it->measures[k], &open)) hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
        last |= (uint64_t)open << k;
    }
    for (unsigned pass = 0; pass < 2; pass++)
        for (int k = 0; k < it->n_measures && w->end < HY_END_INTERRUPTED; k++)
            if ((last >> k & 1) == pass) measure_one(w, &it->measures[k]);
}
