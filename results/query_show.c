// query_show.c - listings of what is stored, as tables whose columns are named for people. See query.h.
#include <stdlib.h>
#include <string.h>

#include "results/query_impl.h"

static hy_status open_with(hy_store *s, const char *sql, const char *bind, hy_query **q) {
    HY_TRY(hy_query_open(s, sql, q));
    hy_query_bind_text(*q, 1, bind);
    return HY_OK;
}

// A model that several tasks share shows the figure of the task that stands beside it; of several the newest.
#define LATEST(metric, digits, scale, where)                       \
    "(SELECT round(" scale "m.value, " digits ") FROM " HY_FIGURES \
    " m WHERE m.run_id = r.run_id AND m.status = 'done'"           \
    " AND m.final = 1 AND m.cell = '' AND m.metric = '" metric "'" where " ORDER BY m.id DESC LIMIT 1)"
#define FINAL(metric, digits, scale)                                                                             \
    "coalesce(" LATEST(metric, digits, scale, " AND m.measured_on = r.task_options") ", " LATEST(metric, digits, \
                                                                                                 scale, "") ")"

// Measurements of a run r that are not done: they count for its status, and the note tells of them.
#define OPEN_OR_FAILED                                                                                   \
    " FROM measurement x WHERE x.model_id = r.run_id AND x.measure <> 'training' AND x.status <> 'done'" \
    " AND x.superseded_by IS NULL"

// "a, b, c": the first column of a query, at most LISTED of it. The caller frees it.
static hy_status list_names(hy_store *s, const char *sql, char **names) {
    enum { LISTED = 40 };
    hy_query *q;
    hy_buf b = {0};
    bool row;
    hy_status st;
    int n = 0;
    HY_TRY(hy_query_open(s, sql, &q));
    hy_buf_write(&b, "", 0);
    for (; !(st = hy_query_step(q, &row)) && row; n++)
        if (n < LISTED) hy_buf_printf(&b, "%s%s", n ? ", " : "", hy_query_text(q, 0));
    if (n > LISTED) hy_buf_printf(&b, " and %d more", n - LISTED);
    hy_query_close(q);
    *names = b.s;
    return st;
}

// sql: the names that there are, in a column `name`.
static hy_status check_name(hy_store *s, const char *what, const char *option, const char *name, const char *sql) {
    if (!*name) return HY_OK;
    char *find = hy_asprintf("SELECT 1 FROM (%s) WHERE name = ?1", sql), *names = NULL;
    bool row = false;
    hy_query *q;
    hy_status st = open_with(s, find, name, &q);
    free(find);
    HY_TRY(st);
    st = hy_query_step(q, &row);
    hy_query_close(q);
    if (st || row) return st;
    HY_TRY(list_names(s, sql, &names));
    st = *names ? hy_error(HY_EINPUT, "%s: there is no %s \"%s\" in %s: there %s %s", option, what, name,
                           hy_store_path(s), strchr(names, ',') ? "are" : "is", names)
                : hy_error(HY_EINPUT, "%s: there is no %s \"%s\" in %s, nor any other", option, what, name,
                           hy_store_path(s));
    free(names);
    return st;
}

hy_status hy_check_run_filter(hy_store *s, const hy_run_filter *f) {
    HY_TRY(check_name(s, "experiment", "--experiment", f->experiment,
                      "SELECT name FROM experiment UNION SELECT experiment FROM v_run WHERE experiment <> '' "
                      "ORDER BY 1"));
    return check_name(s, "variant", "--variant", f->variant,
                      "SELECT variant AS name FROM v_run UNION SELECT variant FROM v_plan ORDER BY 1");
}

hy_status hy_ask_runs(hy_store *s, const hy_run_filter *f, hy_query **q) {
    HY_TRY(hy_query_open(
        s,
        "SELECT r.run_id AS run, r.status, r.experiment, r.variant, r.task, r.grid, r.seed, r.device, r.precision, "
        "r.steps, " FINAL("accuracy", "2", "100 * ") " AS accuracy_percent, " FINAL(
            "loss", "4",
            "") " AS loss,"
                " r.git_commit || iif(r.git_dirty, '+', '') AS git_commit, r.started, coalesce(r.error, '') ||"
                " iif(r.superseded_by IS NULL, '', ' (superseded by run ' || r.superseded_by || ')') ||"
                " coalesce((SELECT iif(r.error = '' OR r.error IS NULL, '', '; ') || group_concat(x.measure || ' ' || "
                "x.status || coalesce(': ' || nullif(x.error, ''), ''),"
                " '; ')" OPEN_OR_FAILED "), '') AS note"
                " FROM " HY_RUNS " r WHERE (?1 = '' OR r.experiment = ?1) AND (?2 = '' OR r.status = ?2 OR"
                " (?2 <> 'done' AND EXISTS(SELECT 1" OPEN_OR_FAILED " AND x.status = ?2)))"
                " AND (?3 = '' OR r.variant = ?3) AND (?4 OR r.superseded_by IS NULL) ORDER BY r.run_id",
        q));
    hy_query_bind_text(*q, 1, f->experiment);
    hy_query_bind_text(*q, 2, f->status);
    hy_query_bind_text(*q, 3, f->variant);
    hy_query_bind_int(*q, 4, f->superseded);
    return HY_OK;
}

hy_status hy_ask_metrics(hy_store *s, hy_query **q) {
    return hy_query_open(s,
                         "SELECT name, version, unit, direction, (SELECT count(*) FROM metric m WHERE m.def_id = d.id) "
                         "AS stored, meaning"
                         " FROM metric_def d ORDER BY name, version",
                         q);
}

// The value of a line "name: value" of the options, quotes taken off.
#define OPTION(name)                                                                                               \
    "trim(substr(options, instr(options, '" name ": ') + length('" name ": '), instr(substr(options || char(10), " \
    "instr(options, '" name ": ') + length('" name ": ')), char(10)) - 1), '\"')"
hy_status hy_ask_scores(hy_store *s, const char *variant, hy_query **q) {
    return open_with(
        s,
        "SELECT run_id AS run, variant, substr(cell, 1, instr(cell, ' ') - 1) AS task,"
        " substr(cell, instr(cell, ' ') + 1) AS metric, " OPTION("shots") " || ' shots, version ' || " OPTION(
            "version") " || CASE " OPTION("limited") " WHEN '0' THEN '' ELSE ', limited' END AS how,"
                                                     " value, stderr, n FROM v_final WHERE metric = 'score' AND (?1 = "
                                                     "'' OR variant = ?1)"
                                                     " ORDER BY task, v_final.metric_id, run_id",
        variant, q);
}

hy_status hy_ask_run(hy_store *s, const char *id, hy_query **q) {
    return open_with(s, "SELECT * FROM v_model WHERE model_id = ?1", id, q);
}

hy_status hy_ask_run_measurements(hy_store *s, const char *id, hy_query **q) {
    return open_with(s,
                     "SELECT measurement_id AS measurement, measure, version, replace(rtrim(options, char(10)), "
                     "char(10), ', ') AS options,"
                     " status, git_commit || iif(git_dirty, '+', '') AS git_commit, started, error"
                     " FROM v_measurement WHERE run_id = ?1 ORDER BY 1",
                     id, q);
}

hy_status hy_ask_run_metrics(hy_store *s, const char *id, hy_query **q) {
    return open_with(s,
                     "SELECT m.measure, m.metric, m.cell, iif(m.final, 'end', 'step ' || m.step) AS \"when\", m.value, "
                     "m.stderr, m.n,"
                     " m.unit, m.meta FROM " HY_FIGURES " m WHERE m.run_id = ?1 ORDER BY m.final DESC, m.id",
                     id, q);
}

hy_status hy_ask_run_artifacts(hy_store *s, const char *id, hy_query **q) {
    return open_with(
        s, "SELECT name, dtype, shape, length(data) AS bytes, meta FROM " HY_ARTIFACTS " WHERE run_id = ?1 ORDER BY id",
        id, q);
}

#define VIEWS_AND_TABLES                                                                          \
    "SELECT name FROM sqlite_schema WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite%' " \
    "ORDER BY type = 'table', name"

hy_status hy_ask_sql(hy_store *s, const char *sql, hy_query **q) {
    const hy_status st = hy_query_open(s, sql, q);
    if (!st || !strstr(hy_error_text(), "no such table")) return st;
    char *why = hy_xstrdup(hy_error_text()), *names = NULL;
    const hy_status listed = list_names(s, VIEWS_AND_TABLES, &names);
    if (!listed) hy_error(HY_EINPUT, "%s; there are %s", why, names);
    free(why), free(names);
    return listed ? listed : HY_EINPUT;
}

hy_status hy_ask_view(hy_store *s, const char *name, hy_query **q) {
    if (strchr(name, '"')) return hy_error(HY_EINPUT, "%s: not a name of a view or table", name);
    HY_TRY(check_name(s, "view or table", "show sql", name, VIEWS_AND_TABLES));
    char *sql = hy_asprintf("SELECT * FROM \"%s\"", name);
    const hy_status st = hy_query_open(s, sql, q);
    free(sql);
    return st;
}

hy_status hy_ask_commit(hy_store *s, int64_t run_id, char commit[64], bool *dirty) {
    hy_query *q;
    bool row;
    HY_TRY(hy_query_open(s, "SELECT git_commit, git_dirty FROM v_model WHERE model_id = ?1", &q));
    hy_query_bind_int(q, 1, run_id);
    HY_TRY(hy_query_one(&q, &row));
    snprintf(commit, 64, "%s", row ? hy_query_text(q, 0) : "");
    *dirty = row && hy_query_int(q, 1);
    hy_query_close(q);
    return HY_OK;
}
