// query_report.c - the lines and texts of a report that come straight from the store: recipe, provenance, definitions.
// See query.h.
#include "results/query_impl.h"

// Each row (title, text) of each statement, in order.
static hy_status tell(hy_store *s, const hy_experiment_id *e, const char *const *sql, hy_take_text take, void *to) {
    for (; *sql; sql++) {
        hy_query *q;
        HY_TRY(hy_query_of(s, e, *sql, &q));
        bool row = false;
        hy_status st;
        while (!(st = hy_query_step(q, &row)) && row)
            if (*TEXT(1)) take(to, TEXT(0), TEXT(1));
        hy_query_close(q);
        if (st) return st;
    }
    return HY_OK;
}

#define PLAN "FROM v_plan p WHERE " HY_OF_EXPERIMENT("p")
#define RUNS "FROM v_plan p JOIN v_run r ON r.run_id = p.run_id WHERE " HY_OF_EXPERIMENT("p") " AND r.status = 'done'"
// What made the figures: the models, and the measurements that were taken of them, perhaps later and elsewhere.
#define MADE                                                                                                           \
    "(SELECT r.git_commit, r.git_dirty, r.build, r.device, r.precision, r.device_name, r.threads, r.kernel_path " RUNS \
    " UNION SELECT m.git_commit, m.git_dirty, m.build, m.device, r.precision, m.device_name, m.threads, "              \
    "m.kernel_path" MEASURED ")"
#define MEASURED                                                                                            \
    " FROM v_plan_measure p JOIN v_measurement m USING(measurement_id) JOIN v_run r ON r.run_id = m.run_id" \
    " WHERE " HY_OF_EXPERIMENT("p") " AND m.status = 'done' AND r.status = 'done'"
#define EXPERIMENT "FROM experiment WHERE name = ?1 AND scale = ?2 AND sets = ?3"

hy_status hy_ask_recipe(hy_store *s, const hy_experiment_id *e, hy_take_text take, void *to) {
    static const char *const sql[] = {
        "SELECT 'experiment', name || iif(scale = '', '', ', scale ' || scale) ||"
        " iif(sets = '', '', ', with ' || replace(sets, char(10), ' ')) " EXPERIMENT,
        "SELECT 'variants', group_concat(v, ', ') FROM (SELECT variant AS v " PLAN
        " GROUP BY variant_ord ORDER BY variant_ord)",
        "SELECT 'tasks', group_concat(v, ', ') FROM (SELECT task AS v " PLAN " GROUP BY task_ord ORDER BY task_ord)",
        "SELECT 'seeds', group_concat(v, ', ') FROM (SELECT DISTINCT p.seed AS v " PLAN " ORDER BY 1)",
        "SELECT 'training steps', iif(min(r.steps) = max(r.steps), max(r.steps), min(r.steps) || ' to ' || "
        "max(r.steps)) " RUNS,
        NULL,
    };
    return tell(s, e, sql, take, to);
}

hy_status hy_ask_resolved(hy_store *s, const hy_experiment_id *e, hy_take_text take, void *to) {
    static const char *const sql[] = {
        "SELECT 'The experiment file', yaml " EXPERIMENT,
        "SELECT 'Task ' || p.task || ', resolved', min(r.task_options) " RUNS
        " GROUP BY p.task_ord ORDER BY p.task_ord",
        "SELECT 'Training recipe, resolved' || iif((SELECT count(DISTINCT r.train) " RUNS ") > 1,"
        " ' (of ' || group_concat(DISTINCT p.variant) || ')', ''), r.train " RUNS
        " GROUP BY r.train ORDER BY min(p.ord)",
        "SELECT 'Model ' || p.variant || iif(p.grid = '', '', ' at ' || p.grid) || ', resolved', min(r.spec) " RUNS
        " GROUP BY p.variant_ord, r.spec_hash ORDER BY p.variant_ord, min(p.ord)",
        NULL,
    };
    return tell(s, e, sql, take, to);
}

hy_status hy_ask_provenance(hy_store *s, const hy_experiment_id *e, hy_take_text take, void *to) {
    static const char *const sql[] = {
        "SELECT 'runs', count(*) || ' (numbers ' || min(r.run_id) || ' to ' || max(r.run_id) || ' of the "
        "database)' " RUNS,
        "SELECT 'weights', group_concat(v, '; ') FROM (SELECT count(*) || ' ' || CASE r.origin WHEN 'file' THEN 'from "
        "a file'"
        " WHEN 'random' THEN 'random' ELSE iif(r.source = '', 'trained', 'trained on from a file') END AS v " RUNS
        " GROUP BY r.origin, r.source = '')",
        "SELECT 'measurements', count(*)" MEASURED " HAVING count(*) > 0",
        "SELECT 'commits', group_concat(DISTINCT git_commit || iif(git_dirty, ' with changes', '')) FROM " MADE,
        "SELECT 'builds', group_concat(v, '; ') FROM (SELECT DISTINCT build AS v FROM " MADE ")",
        "SELECT 'devices', group_concat(v, '; ') FROM (SELECT DISTINCT device_name AS v FROM " MADE ")",
        "SELECT 'computed on', group_concat(v, '; ') FROM (SELECT DISTINCT device || ' in ' || precision AS v "
        "FROM " MADE ")",
        "SELECT 'threads', iif(min(threads) = max(threads), max(threads), min(threads) || ' to ' || max(threads)) "
        "FROM " MADE,
        "SELECT 'kernels', group_concat(v, ' | ') FROM (SELECT DISTINCT kernel_path AS v FROM " MADE
        " WHERE kernel_path != '')",
        "SELECT 'trained', min(r.started) || ' to ' || max(r.ended) " RUNS,
        "SELECT 'measured', min(m.started) || ' to ' || max(m.ended)" MEASURED,
        NULL,
    };
    return tell(s, e, sql, take, to);
}

hy_status hy_ask_definitions(hy_store *s, const hy_experiment_id *e, hy_query **q) {
    return hy_query_of(
        s, e,
        "SELECT d.name, d.version, d.unit, d.direction, d.meaning FROM metric_def d WHERE (d.name, d.version) IN"
        " (SELECT m.metric, m.metric_version FROM v_metric m JOIN v_plan p ON p.run_id = m.run_id "
        "WHERE " HY_OF_EXPERIMENT("p") ") ORDER BY 1, 2",
        q);
}

hy_status hy_next_definition(hy_query *q, bool *row, hy_definition_row *d) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *d = (hy_definition_row){TEXT(0), TEXT(1), TEXT(2), TEXT(3), TEXT(4)};
    return HY_OK;
}
