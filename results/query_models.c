// query_models.c - see query_models.h.
#include "results/query_models.h"

#include <string.h>

static hy_status one_number(hy_query *q, int64_t *out) {
    bool row = false;
    const hy_status s = hy_query_step(q, &row);
    *out = !s && row ? hy_query_int(q, 0) : 0;
    hy_query_close(q);
    return s;
}

hy_status hy_ask_model_steps(hy_store *s, int64_t model_id, int64_t *steps) {
    hy_query *q;
    HY_TRY(hy_store_query(s, &q, "SELECT steps FROM v_model WHERE model_id = ?1", "l", model_id));
    return one_number(q, steps);
}

hy_status hy_ask_model_of_weights(hy_store *s, const char *hash, int64_t *model_id, int64_t *seed) {
    hy_query *q;
    HY_TRY(hy_store_query(s, &q,
                          "SELECT model_id, seed FROM v_model WHERE weights_hash = ?1 AND status = 'done'"
                          " AND superseded_by IS NULL LIMIT 1",
                          "s", hash));
    bool row = false;
    const hy_status st = hy_query_step(q, &row);
    if (!st && row) *model_id = hy_query_int(q, 0), *seed = hy_query_int(q, 1);
    hy_query_close(q);
    return st;
}

hy_status hy_ask_rates(hy_store *s, const char *device, hy_query **q) {
    return hy_store_query(
        s, q,
        "SELECT m.model_key, m.variant, m.task, m.precision, avg(r.value), avg(p.value) FROM v_model m"
        " JOIN v_final r ON r.run_id = m.model_id AND r.metric = 'train_rate'"
        " LEFT JOIN v_final p ON p.run_id = m.model_id AND p.metric = 'parameters'"
        " WHERE m.status = 'done' AND m.superseded_by IS NULL AND m.device = ?1 GROUP BY m.model_key, m.variant, "
        "m.task, m.precision",
        "s", device);
}

hy_status hy_next_rate(hy_query *q, bool *row, hy_rate_row *r) {
    HY_TRY(hy_query_step(q, row));
    if (*row)
        *r = (hy_rate_row){hy_query_text(q, 0), hy_query_text(q, 1),   hy_query_text(q, 2),
                           hy_query_text(q, 3), hy_query_double(q, 4), hy_query_double(q, 5)};
    return HY_OK;
}

hy_status hy_ask_weights(hy_store *s, hy_query **q) {
    return hy_store_query(
        s, q,
        "SELECT model_id, seed, steps, variant, task, grid, device, experiment, weights, weights_hash, ended,"
        " (SELECT count(*) FROM v_measurement x WHERE x.run_id = model_id AND x.status = 'done' AND x.measure <> "
        "'training') FROM v_model WHERE weights IS NOT NULL ORDER BY ended, model_id",
        "");
}

// Files are read and removed by these names: one out of a database that somebody made leads nowhere else.
static hy_status check_name(const hy_query *q, int col) {
    const char *name = hy_query_text(q, col);
    if (!strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..")) return HY_OK;
    return hy_error(HY_EINPUT, "%s: \"%s\" is no name of a file of weights: the database was changed by others",
                    hy_store_path(hy_query_store(q)), name);
}

hy_status hy_next_weights(hy_query *q, bool *row, hy_weights_row *r) {
    HY_TRY(hy_query_step(q, row));
    if (*row) HY_TRY(check_name(q, 8));
    if (*row)
        *r = (hy_weights_row){.model_id = hy_query_int(q, 0),
                              .seed = hy_query_int(q, 1),
                              .steps = hy_query_int(q, 2),
                              .variant = hy_query_text(q, 3),
                              .task = hy_query_text(q, 4),
                              .grid = hy_query_text(q, 5),
                              .device = hy_query_text(q, 6),
                              .experiment = hy_query_text(q, 7),
                              .weights = hy_query_text(q, 8),
                              .hash = hy_query_text(q, 9),
                              .ended = hy_query_text(q, 10),
                              .measurements = hy_query_small(q, 11)};
    return HY_OK;
}

hy_status hy_ask_model_files(hy_store *s, hy_query **q) {
    return hy_store_query(s, q,
                          "SELECT model_key, device, coalesce(weights, ''), seed FROM v_model WHERE weights IS NOT NULL"
                          " OR status IN ('running', 'interrupted')",
                          "");
}

hy_status hy_next_model_file(hy_query *q, bool *row, hy_model_file *f) {
    HY_TRY(hy_query_step(q, row));
    if (*row) HY_TRY(check_name(q, 2));
    if (*row) *f = (hy_model_file){hy_query_text(q, 0), hy_query_text(q, 1), hy_query_text(q, 2), hy_query_int(q, 3)};
    return HY_OK;
}

hy_status hy_ask_planned_device(hy_store *s, const char *experiment, char *out, size_t n) {
    hy_query *q;
    bool row = false;
    HY_TRY(hy_store_query(s, &q,
                          "SELECT p.device FROM planned p JOIN experiment x ON x.id = p.experiment_id WHERE x.name = ?1"
                          " ORDER BY x.planned DESC, p.ord LIMIT 1",
                          "s", experiment));
    const hy_status st = hy_query_step(q, &row);
    if (!st && row) snprintf(out, n, "%s", hy_query_text(q, 0));
    hy_query_close(q);
    return st;
}

hy_status hy_ask_spent(hy_store *s, hy_query **q) {
    return hy_query_open(
        s,
        "SELECT unixepoch(r.ended) - unixepoch(r.started) + coalesce((SELECT sum(unixepoch(x.ended) -"
        " unixepoch(x.started)) FROM v_measurement x WHERE x.run_id = r.run_id AND x.status = 'done' AND x.measure <>"
        " 'training'), 0) FROM v_run r WHERE r.status = 'done' AND r.resumes = 0",
        q);
}

hy_status hy_next_spent(hy_query *q, bool *row, double *seconds) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *seconds = hy_query_double(q, 0);
    return HY_OK;
}
