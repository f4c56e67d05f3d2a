// model.c - models: claiming, settling, their weights. See record.h.
#include <stdlib.h>
#include <string.h>

#include "results/identity.h"
#include "results/record_impl.h"

// Both conditions are those of a partial index.
#define FIND                                                                \
    "SELECT id, status, process, heartbeat, weights IS NOT NULL FROM model" \
    " WHERE model_key = ?1 AND seed = ?2 AND device = ?3 AND "

hy_status hy_model_peek(hy_store *s, const char *model_key, int64_t seed, const char *device, unsigned flags,
                        hy_claim *claim, int64_t *id) {
    hy_query *q;
    hy_found f;
    HY_TRY(hy_store_query(s, &q,
                          FIND "status IN ('running','interrupted') UNION ALL " FIND
                               "status IN ('done','failed') AND superseded_by IS NULL",
                          "sls", model_key, seed, device));
    HY_TRY(hy_rows_find(q, &f));
    *claim = hy_rows_judge(&f, flags, id);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- claiming
#define INSERT                                                                                                        \
    "INSERT INTO model(model_key, seed, device, origin, variant, experiment, grid, spec_hash, spec, task, task_kind," \
    " task_options, train, precision, source, git_commit, git_dirty, build, host, device_name, threads, started,"     \
    " process, status, heartbeat) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17," \
    " ?18, ?19, ?20, ?21, ?22, ?23, 'running', unixepoch())"

static hy_status insert(hy_store *s, const hy_model_record *r, int64_t *id) {
    char process[160], host[65], when[32];
    hy_process_self(process);
    hy_host_name(host);
    hy_time_text(when);
    const char *origin = r->origin ? r->origin : "trained", *precision = r->precision ? r->precision : "f32";
    HY_TRY(hy_store_run(s, INSERT, "slssssssssssssssisssiss", r->model_key, r->seed, r->device, origin,
                        hy_text(r->variant), hy_text(r->experiment), hy_text(r->grid), hy_text(r->spec_hash),
                        hy_text(r->spec), hy_text(r->task), hy_text(r->task_kind), hy_text(r->task_options),
                        hy_text(r->train), precision, hy_text(r->source), hy_text(r->by.commit), (int)r->by.dirty,
                        hy_text(r->by.build), host, hy_text(r->by.device_name), r->by.threads, when, process));
    *id = hy_store_last_id(s);
    return hy_store_params(s, *id, hy_text(r->spec), hy_text(r->task_options), hy_text(r->train), precision);
}

hy_status hy_model_claim(hy_store *s, const hy_model_record *r, unsigned flags, hy_claim *claim, int64_t *id) {
    HY_TRY(hy_store_begin(s));
    hy_status st = hy_model_peek(s, r->model_key, r->seed, r->device, flags, claim, id);
    if (!st && *claim == HY_CLAIM_NEW) st = insert(s, r, id);
    if (!st && *claim == HY_CLAIM_RESUMED) st = hy_row_take_over(s, &hy_model_rows, *id, &r->by);
    return hy_store_end(s, st);
}

hy_status hy_model_heartbeat(hy_store *s, int64_t id) { return hy_row_heartbeat(s, &hy_model_rows, id); }

// ---------------------------------------------------------------------------------------------------- settling
// Training as a measurement of the settled model, with what the row of the model says of it.
static hy_status store_training(hy_store *s, int64_t id, const hy_facts *f) {
    char key[33];
    hy_measurement_identity("", "", key);
#define COPIED                                                                                                       \
    "status, git_commit, git_dirty, build, host, device_name, threads, kernel_path, started, ended, resumes, error," \
    " process, heartbeat"
    HY_TRY(hy_store_run(s,
                        "INSERT INTO measurement(model_id, measure, version, options, task, key, " COPIED ")"
                        " SELECT id, ?2, 1, '', '', ?3, " COPIED " FROM model WHERE id = ?1",
                        "lss", id, HY_MEASURE_TRAINING, key));
#undef COPIED
    return hy_store_facts(s, hy_store_last_id(s), f);
}

hy_status hy_model_same_bits(hy_store *s, int64_t a, int64_t b, bool *same) {
#define CURVE(id)                                                                       \
    "(SELECT c.step, c.loss FROM curve c JOIN measurement x ON x.id = c.measurement_id" \
    " WHERE x.model_id = " id " AND x.measure = '" HY_MEASURE_TRAINING "')"
#define SAME_LOSSES "(SELECT min(c.loss IS d.loss) FROM " CURVE("?1") " c JOIN " CURVE("?2") " d USING(step))"
    hy_query *q;
    HY_TRY(hy_store_query(s, &q,
                          "SELECT iif(m.weights_hash IS NOT NULL AND n.weights_hash IS NOT NULL,"
                          " m.weights_hash = n.weights_hash,"
                          " m.steps = n.steps AND coalesce(" SAME_LOSSES ", m.steps = 0))"
                          " FROM model m, model n WHERE m.id = ?1 AND n.id = ?2",
                          "ll", a, b));
#undef SAME_LOSSES
#undef CURVE
    bool row = false;
    const hy_status st = hy_query_step(q, &row);
    *same = !st && row && hy_query_int(q, 0);
    hy_query_close(q);
    return st;
}

// What `older` leaves to the model in its place: its measurements if both are the same model, and the name of its
// weights' file.
static hy_status inherit(hy_store *s, int64_t id, const hy_replaced *older) {
    bool same = false;
    if (older->done) HY_TRY(hy_model_same_bits(s, id, older->id, &same));
    if (same)
        HY_TRY(hy_store_run(s,
                            "UPDATE measurement SET model_id = ?1 WHERE model_id = ?2"
                            " AND measure <> '" HY_MEASURE_TRAINING "'",
                            "ll", id, older->id));
    return hy_store_run(s, "UPDATE model SET weights = NULL WHERE id = ?1", "l", older->id);
}

static hy_status settle(hy_store *s, int64_t id, const hy_facts *training, const char *weights, const char *hash,
                        const char *error) {
    hy_replaced older;
    HY_TRY(hy_row_settle(s, &hy_model_rows, id, NULL, training ? training->kernel_path : "", error, &older));
    HY_TRY(hy_store_run(s, "UPDATE model SET steps = ?2, weights = ?3, weights_hash = ?4 WHERE id = ?1", "llss", id,
                        training ? training->steps : 0, weights, hash));
    if (training) HY_TRY(store_training(s, id, training));
    return older.id ? inherit(s, id, &older) : HY_OK;
}

hy_status hy_model_settle(hy_store *s, int64_t id, const hy_facts *training, const char *weights,
                          const char *weights_hash, const char *error) {
    HY_TRY(hy_store_begin(s));
    return hy_store_end(s, settle(s, id, training, weights, weights_hash, error));
}

hy_status hy_model_interrupt(hy_store *s, int64_t id, int64_t steps, const char *why) {
    HY_TRY(hy_store_begin(s));
    hy_status st = hy_row_interrupt(s, &hy_model_rows, id, NULL, why);
    if (!st && hy_store_changes(s))
        st = hy_store_run(s, "UPDATE model SET steps = max(steps, ?2) WHERE id = ?1", "ll", id, steps);
    return hy_store_end(s, st);
}

hy_status hy_model_settle_dead(hy_store *s, int64_t id, long pid, bool failed, const char *why, bool *changed) {
    return hy_row_settle_dead(s, &hy_model_rows, id, pid, failed, why, changed);
}

// ---------------------------------------------------------------------------------------------------- weights
static char *copy_or_null(const hy_query *q, int col) {
    return hy_query_null(q, col) ? NULL : hy_xstrdup(hy_query_text(q, col));
}

hy_status hy_model_weights(hy_store *s, int64_t id, char **weights, char **hash) {
    *weights = *hash = NULL;
    hy_query *q;
    HY_TRY(hy_store_query(s, &q, "SELECT weights, weights_hash FROM model WHERE id = ?1", "l", id));
    bool row = false;
    const hy_status st = hy_query_step(q, &row);
    if (!st && row && !hy_query_null(q, 0)) {
        *weights = copy_or_null(q, 0);
        *hash = copy_or_null(q, 1);
    }
    hy_query_close(q);
    return st;
}

hy_status hy_model_weights_gone(hy_store *s, int64_t id) {
    return hy_store_run(s, "UPDATE model SET weights = NULL WHERE id = ?1", "l", id);
}
