// report_facts.c - the parts of a report that come straight from the store: recipe, provenance, definitions.
#include <stdlib.h>
#include <string.h>

#include "core/base/version.h"
#include "analysis/report/report_page.h"
#include "results/record.h"

// Every row (key, value) of a statement as one fact.
static hy_status facts(const hy_plots *p, hy_report *r, const char *sql) {
    hy_query *q;
    HY_TRY(hy_plots_query(p, sql, &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row)
        if (!hy_query_null(q, 1) && *hy_query_text(q, 1)) hy_report_fact(r, hy_query_text(q, 0), hy_query_text(q, 1));
    hy_query_close(q);
    return st;
}

// Every row (summary, text) as a box that opens on a click.
static hy_status boxes(const hy_plots *p, hy_report *r, const char *sql) {
    hy_query *q;
    HY_TRY(hy_plots_query(p, sql, &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) hy_report_code(r, hy_query_text(q, 0), hy_query_text(q, 1));
    hy_query_close(q);
    return st;
}

#define RUNS "FROM v_plan p JOIN run r ON r.id = p.run_id WHERE p.experiment = ?1 AND p.scale = ?2 AND p.sets = ?3 AND p.status = 'done'"

hy_status hy_report_recipe(const hy_plots *p, hy_report *r) {
    HY_TRY(facts(p, r, "SELECT 'experiment', name || iif(scale = '', '', ', scale ' || scale) || iif(sets = '', '', ', with ' || replace(sets, char(10), ' '))"
                       " FROM experiment WHERE name = ?1 AND scale = ?2 AND sets = ?3"));
    HY_TRY(facts(p, r, "SELECT 'variants', group_concat(v, ', ') FROM (SELECT variant AS v FROM v_plan p WHERE p.experiment = ?1 AND p.scale = ?2"
                       " AND p.sets = ?3 GROUP BY variant_ord ORDER BY variant_ord)"));
    HY_TRY(facts(p, r, "SELECT 'tasks', group_concat(v, ', ') FROM (SELECT task AS v FROM v_plan p WHERE p.experiment = ?1 AND p.scale = ?2"
                       " AND p.sets = ?3 GROUP BY task_ord ORDER BY task_ord)"));
    HY_TRY(facts(p, r, "SELECT 'seeds', group_concat(v, ', ') FROM (SELECT DISTINCT p.seed AS v FROM v_plan p WHERE p.experiment = ?1 AND p.scale = ?2"
                       " AND p.sets = ?3 ORDER BY 1)"));
    HY_TRY(facts(p, r, "SELECT 'training steps', iif(min(r.steps) = max(r.steps), max(r.steps), min(r.steps) || ' to ' || max(r.steps)) " RUNS));
    HY_TRY(boxes(p, r, "SELECT 'The experiment file', yaml FROM experiment WHERE name = ?1 AND scale = ?2 AND sets = ?3"));
    HY_TRY(boxes(p, r, "SELECT 'Task ' || p.task || ', resolved', min(r.task_options) " RUNS " GROUP BY p.task_ord ORDER BY p.task_ord"));
    HY_TRY(boxes(p, r, "SELECT 'Training recipe, resolved' || iif((SELECT count(DISTINCT r.train) " RUNS ") > 1, ' (of ' || group_concat(DISTINCT p.variant) || ')', ''),"
                       " r.train " RUNS " GROUP BY r.train ORDER BY min(p.ord)"));
    return boxes(p, r, "SELECT 'Model ' || p.variant || iif(p.grid = '', '', ' at ' || p.grid) || ', resolved', min(r.spec) " RUNS
                       " GROUP BY p.variant_ord, r.spec_hash ORDER BY p.variant_ord, min(p.ord)");
}

static hy_status definitions(const hy_plots *p, hy_report *r) {
    static const hy_report_column col[] = {{NULL, "figure", NULL, false}, {NULL, "version", NULL, true}, {NULL, "unit", NULL, false},
                                           {NULL, "better", NULL, false}, {NULL, "meaning", NULL, false}};
    hy_query *q;
    HY_TRY(hy_plots_query(p, "SELECT d.name, d.version, d.unit, d.direction, d.meaning FROM metric_def d WHERE d.id IN (SELECT m.def_id FROM metric m"
                             " JOIN v_plan p ON p.run_id = m.run_id WHERE p.experiment = ?1 AND p.scale = ?2 AND p.sets = ?3) ORDER BY 1, 2", &q));
    char **cell = NULL;
    int n = 0;
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        cell = hy_xrealloc(cell, (size_t)(n + 5) * sizeof *cell);
        for (int c = 0; c < 5; c++) cell[n++] = hy_xstrdup(hy_query_text(q, c));
    }
    hy_query_close(q);
    if (!st && n) hy_report_table(r, "What the stored figures mean.", col, 5, (const char *const *)cell, n / 5);
    for (int i = 0; i < n; i++) free(cell[i]);
    free(cell);
    return st;
}

hy_status hy_report_provenance(const hy_plots *p, hy_report *r) {
    HY_TRY(facts(p, r, "SELECT 'runs', count(*) || ' (numbers ' || min(r.id) || ' to ' || max(r.id) || ' of the database)' " RUNS));
    HY_TRY(facts(p, r, "SELECT 'commits', group_concat(DISTINCT r.git_commit || iif(r.git_dirty, ' with changes', '')) " RUNS));
    HY_TRY(facts(p, r, "SELECT 'builds', group_concat(v, '; ') FROM (SELECT DISTINCT r.build AS v " RUNS ")"));
    HY_TRY(facts(p, r, "SELECT 'devices', group_concat(v, '; ') FROM (SELECT DISTINCT r.device_name AS v " RUNS ")"));
    HY_TRY(facts(p, r, "SELECT 'computed on', group_concat(v, '; ') FROM (SELECT DISTINCT r.device || ' in ' || " HY_SQL_PRECISION("r.train") " AS v " RUNS ")"));
    HY_TRY(facts(p, r, "SELECT 'threads of a run', iif(min(r.threads) = max(r.threads), max(r.threads), min(r.threads) || ' to ' || max(r.threads)) " RUNS));
    HY_TRY(facts(p, r, "SELECT 'kernels', group_concat(v, ' | ') FROM (SELECT DISTINCT r.kernel_path AS v " RUNS ")"));
    HY_TRY(facts(p, r, "SELECT 'measured', min(r.started) || ' to ' || max(r.ended) " RUNS));
    hy_report_fact(r, "database", hy_store_path(p->store));
    hy_report_fact(r, "page made by", hy_version_commit());
    return definitions(p, r);
}
