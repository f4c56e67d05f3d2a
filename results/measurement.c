// measurement.c - measurements of models: claiming and settling. See record.h.
#include <string.h>

#include "results/identity.h"
#include "results/record_impl.h"

// Both conditions are those of a partial index.
#define FIND                                                    \
    "SELECT id, status, process, heartbeat, 1 FROM measurement" \
    " WHERE model_id = ?1 AND measure = ?2 AND version = ?3 AND key = ?4 AND "

hy_status hy_measurement_peek(hy_store *s, int64_t model_id, const char *measure, int version, const char *key,
                              unsigned flags, hy_claim *claim, int64_t *id) {
    hy_query *q;
    hy_found f;
    HY_TRY(hy_store_query(s, &q,
                          FIND "status IN ('running','interrupted') UNION ALL " FIND
                               "status IN ('done','failed') AND superseded_by IS NULL",
                          "lsis", model_id, measure, version, key));
    HY_TRY(hy_rows_find(q, &f));
    *claim = hy_rows_judge(&f, flags, id);
    return HY_OK;
}

static hy_status insert(hy_store *s, const hy_measurement_record *r, const char *key, int64_t *id) {
    char process[160], host[65], when[32];
    hy_process_self(process);
    hy_host_name(host);
    hy_time_text(when);
    HY_TRY(hy_store_run(s,
                        "INSERT INTO measurement(model_id, measure, version, options, task, key, git_commit,"
                        " git_dirty, build, host, device_name, threads, started, process, status, heartbeat)"
                        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 'running', unixepoch())",
                        "lsissssisssiss", r->model_id, r->measure, r->version, hy_text(r->options), hy_text(r->task),
                        key, hy_text(r->by.commit), (int)r->by.dirty, hy_text(r->by.build), host,
                        hy_text(r->by.device_name), r->by.threads, when, process));
    *id = hy_store_last_id(s);
    return HY_OK;
}

hy_status hy_measurement_claim(hy_store *s, const hy_measurement_record *r, unsigned flags, hy_claim *claim,
                               int64_t *id) {
    char key[33];
    hy_measurement_identity(hy_text(r->options), hy_text(r->task), key);
    HY_TRY(hy_store_begin(s));
    hy_status st = hy_measurement_peek(s, r->model_id, r->measure, r->version, key, flags, claim, id);
    if (!st && *claim == HY_CLAIM_NEW) st = insert(s, r, key, id);
    if (!st && *claim == HY_CLAIM_RESUMED) st = hy_row_take_over(s, &hy_measurement_rows, *id, &r->by);
    return hy_store_end(s, st);
}

hy_status hy_measurement_heartbeat(hy_store *s, int64_t id) { return hy_row_heartbeat(s, &hy_measurement_rows, id); }

hy_status hy_measurement_settle(hy_store *s, int64_t id, const hy_facts *facts, const char *error) {
    hy_replaced older;
    HY_TRY(hy_store_begin(s));
    hy_status st = hy_row_settle(s, &hy_measurement_rows, id, NULL, facts ? facts->kernel_path : "", error, &older);
    if (!st && facts) st = hy_store_facts(s, id, facts);
    return hy_store_end(s, st);
}

hy_status hy_measurement_interrupt(hy_store *s, int64_t id, const char *why) {
    return hy_row_interrupt(s, &hy_measurement_rows, id, NULL, why);
}

hy_status hy_measurement_settle_dead(hy_store *s, int64_t id, long pid, bool failed, const char *why, bool *changed) {
    return hy_row_settle_dead(s, &hy_measurement_rows, id, pid, failed, why, changed);
}
