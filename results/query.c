// query.c - see query.h: experiments and the figures of their runs. Figures are query_figures.c, reports
// query_report.c, listings query_show.c.
#include "results/query.h"

#include <math.h>
#include <stdlib.h>

#include "results/query_impl.h"

hy_status hy_query_of(hy_store *s, const hy_experiment_id *e, const char *sql, hy_query **q) {
    HY_TRY(hy_query_open(s, sql, q));
    hy_query_bind_text(*q, 1, e->name);
    hy_query_bind_text(*q, 2, e->scale);
    hy_query_bind_text(*q, 3, e->sets);
    return HY_OK;
}

hy_status hy_query_one(hy_query **q, bool *row) {
    *row = false;
    const hy_status st = hy_query_step(*q, row);
    if (!st) return HY_OK;
    hy_query_close(*q);
    *q = NULL;
    return st;
}

// ---------------------------------------------------------------------------------------------------- experiments
hy_status hy_ask_experiments(hy_store *s, hy_query **q) {
    return hy_query_open(s, "SELECT name, scale, sets FROM experiment ORDER BY planned", q);
}

hy_status hy_next_experiment(hy_query *q, bool *row, hy_experiment_id *e) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *e = (hy_experiment_id){TEXT(0), TEXT(1), TEXT(2)};
    return HY_OK;
}

hy_status hy_ask_experiment_texts(hy_store *s, const hy_experiment_id *e, hy_experiment_texts *out) {
    hy_query *q;
    bool row;
    *out = (hy_experiment_texts){0};
    HY_TRY(hy_query_of(
        s, e, "SELECT question, tune_by, tune_cell, base FROM experiment WHERE name = ?1 AND scale = ?2 AND sets = ?3",
        &q));
    HY_TRY(hy_query_one(&q, &row));
    if (row) {
        char **to[] = {&out->question, &out->tune_by, &out->tune_cell, &out->base};
        for (int i = 0; i < 4; i++) *to[i] = hy_xstrdup(hy_query_text(q, i));
    }
    hy_query_close(q);
    if (row) return HY_OK;
    return hy_error(HY_EINPUT, "%s: experiment %s%s%s was never run in this database", hy_store_path(s), e->name,
                    *e->scale ? " at scale " : "", e->scale);
}

void hy_experiment_texts_free(hy_experiment_texts *t) {
    free(t->question), free(t->tune_by), free(t->tune_cell), free(t->base);
    *t = (hy_experiment_texts){0};
}

// ---------------------------------------------------------------------------------------------------- plan and results
hy_status hy_ask_points(hy_store *s, const hy_experiment_id *e, hy_query **q) {
    return hy_query_of(
        s, e,
        "SELECT p.variant, p.task, p.grid, p.variant_ord, p.task_ord, p.grid_ord, count(*), sum(r.status = 'done'),"
        " sum(r.status = 'failed'), sum(iif(r.status = 'done', w.failed, 0)), sum(iif(r.status = 'done', w.missing, "
        "0)),"
        " g.path, g.value"
        " FROM v_plan p LEFT JOIN v_run r USING(run_id) LEFT JOIN"
        " (SELECT grid_ord, min(path) AS path, min(value) AS value FROM v_grid g WHERE " HY_OF_EXPERIMENT(
            "g") "  GROUP BY grid_ord HAVING count(*) = 1) g USING(grid_ord) LEFT JOIN"
                 " (SELECT ord, sum(status = 'failed') AS failed, sum(status = 'missing') AS missing FROM "
                 "v_plan_measure m"
                 "  WHERE " HY_OF_EXPERIMENT("m") " GROUP BY ord) w USING(ord)"
                                                  " WHERE " HY_OF_EXPERIMENT(
                                                      "p") " GROUP BY p.task_ord, p.variant_ord, p.grid_ord"
                                                           " ORDER BY p.task_ord, p.variant_ord, p.grid_ord",
        q);
}

hy_status hy_next_point(hy_query *q, bool *row, hy_planned_point *p) {
    HY_TRY(hy_query_step(q, row));
    if (!*row) return HY_OK;
    *p = (hy_planned_point){.variant = TEXT(0), .task = TEXT(1), .grid = TEXT(2)};
    int *to[] = {&p->variant_ord, &p->task_ord, &p->grid_ord,        &p->planned,
                 &p->done,        &p->failed,   &p->measures_failed, &p->measures_left};
    for (int i = 0; i < 8; i++) *to[i] = hy_query_small(q, 3 + i);
    p->axis = TEXT(11);
    p->number = hy_query_number(q, 12) ? NUM(12) : NAN;
    return HY_OK;
}

hy_status hy_ask_results(hy_store *s, const hy_experiment_id *e, hy_query **q) {
    return hy_query_of(
        s, e,
        "SELECT variant_ord, task_ord, grid_ord, seed, metric, cell, unit, x, y, value, layer, head, kind, options,"
        " dense_rank() OVER (PARTITION BY metric ORDER BY place, options) - 1"
        " FROM (SELECT r.*, max(r.nth) OVER (PARTITION BY r.metric, r.options)"
        " AS place FROM v_result r WHERE " HY_OF_EXPERIMENT(
            "r") " AND r.value IS NOT NULL AND r.metric_version ="
                 " (SELECT max(version) FROM metric_def d WHERE d.name = r.metric)) ORDER BY seed, run_id",
        q);
}

hy_status hy_next_result(hy_query *q, bool *row, hy_result_row *r) {
    HY_TRY(hy_query_step(q, row));
    if (!*row) return HY_OK;
    *r = (hy_result_row){.variant_ord = INT(0),
                         .task_ord = INT(1),
                         .grid_ord = INT(2),
                         .seed = LONG(3),
                         .metric = TEXT(4),
                         .cell = TEXT(5),
                         .unit = TEXT(6),
                         .x = NUM(7),
                         .y = NUM(8),
                         .value = NUM(9),
                         .layer = PLACE(10),
                         .head = PLACE(11),
                         .kind = TEXT(12),
                         .options = TEXT(13),
                         .set = INT(14)};
    return HY_OK;
}

hy_status hy_ask_failed_measures(hy_store *s, const hy_experiment_id *e, hy_query **q) {
    return hy_query_of(
        s, e,
        "SELECT p.variant, p.task, p.grid, p.measure, p.error, p.seed, p.run_id FROM v_plan_measure p JOIN v_run r "
        "USING(run_id)"
        " WHERE " HY_OF_EXPERIMENT("p") " AND p.status = 'failed' AND r.status = 'done' ORDER BY p.ord, p.nth",
        q);
}

hy_status hy_next_failed_measure(hy_query *q, bool *row, hy_failed_measure *f) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *f = (hy_failed_measure){TEXT(0), TEXT(1), TEXT(2), TEXT(3), TEXT(4), LONG(5), LONG(6)};
    return HY_OK;
}

hy_status hy_ask_paper(hy_store *s, const hy_experiment_id *e, hy_query **q) {
    return hy_query_of(s, e,
                       "SELECT p.variant, p.name, p.value FROM paper p JOIN experiment e ON e.id = p.experiment_id"
                       " WHERE e.name = ?1 AND e.scale = ?2 AND e.sets = ?3 ORDER BY p.name",
                       q);
}

hy_status hy_next_paper(hy_query *q, bool *row, hy_paper_figure *p) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *p = (hy_paper_figure){TEXT(0), TEXT(1), NUM(2)};
    return HY_OK;
}

hy_status hy_ask_computed(hy_store *s, const hy_experiment_id *e, hy_query **q) {
    return hy_query_of(s, e,
                       "SELECT DISTINCT p.variant_ord, p.task_ord, p.grid_ord, r.precision, r.device, r.device_name, "
                       "r.origin, r.source != ''"
                       " FROM v_plan p JOIN v_run r USING(run_id) WHERE " HY_OF_EXPERIMENT(
                           "p") " AND r.status = 'done' ORDER BY p.variant_ord, p.task_ord, p.grid_ord, r.device_name",
                       q);
}

hy_status hy_next_computed(hy_query *q, bool *row, hy_computed_row *c) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *c = (hy_computed_row){INT(0), INT(1), INT(2), TEXT(3), TEXT(4), TEXT(5), TEXT(6), LONG(7) != 0};
    return HY_OK;
}

hy_status hy_ask_waited(hy_store *s, const hy_experiment_id *e, double *share) {
    hy_query *q;
    bool row;
    HY_TRY(hy_query_of(s, e,
                       "SELECT max(json_extract(r.meta, '$.waited')) FROM v_result r WHERE " HY_OF_EXPERIMENT(
                           "r") " AND r.metric LIKE 'throughput%'",
                       &q));
    HY_TRY(hy_query_one(&q, &row));
    *share = row && !hy_query_null(q, 0) ? NUM(0) : 0;
    hy_query_close(q);
    return HY_OK;
}
