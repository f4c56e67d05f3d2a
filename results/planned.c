// planned.c - what an experiment asked for, stored beside the models and measurements that answer it. See record.h.
#include "results/record_impl.h"

static hy_status upsert(hy_store *s, const hy_experiment_record *e, int64_t *id) {
    hy_query *q;
    HY_TRY(hy_store_query(s, &q,
                          "INSERT INTO experiment(name, scale, sets, question, yaml, tune_by, tune_cell, base, planned)"
                          " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, strftime('%Y-%m-%dT%H:%M:%SZ'))"
                          " ON CONFLICT(name, scale, sets) DO UPDATE SET question = ?4, yaml = ?5, tune_by = ?6,"
                          " tune_cell = ?7, base = ?8, planned = excluded.planned RETURNING id",
                          "ssssssss", e->name, e->scale, e->sets, e->question, e->yaml, hy_text(e->tune_by),
                          hy_text(e->tune_cell), hy_text(e->base)));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    HY_ASSERT(st || row);
    if (!st) *id = hy_query_int(q, 0);
    while (!st && row) st = hy_query_step(q, &row);
    hy_query_close(q);
    return st;
}

static hy_status add_row(hy_query *planned, hy_query *measure, int64_t id, int ord, const hy_planned_row *p) {
    hy_query_bind(planned, "lisisisilss", id, ord, p->variant, p->variant_ord, p->task, p->task_ord, p->grid,
                  p->grid_ord, p->seed, p->model_key, p->device);
    HY_TRY(hy_query_run(planned));
    for (int i = 0; i < p->n_measures; i++) {
        hy_query_bind(measure, "liisis", id, ord, i, p->measures[i].measure, p->measures[i].version,
                      p->measures[i].key);
        HY_TRY(hy_query_run(measure));
    }
    return HY_OK;
}

static hy_status add_plan(hy_store *s, const hy_experiment_record *e, int64_t id) {
    hy_query *planned = NULL, *measure = NULL;
    hy_status st = hy_query_open(s,
                                 "INSERT INTO planned(experiment_id, ord, variant, variant_ord, task, task_ord,"
                                 " grid, grid_ord, seed, model_key, device)"
                                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                                 &planned);
    // a measurement that is planned twice is wanted once
    if (!st)
        st = hy_query_open(s,
                           "INSERT OR IGNORE INTO planned_measure(experiment_id, ord, nth, measure, version, key)"
                           " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                           &measure);
    for (int i = 0; !st && i < e->n_plan; i++) st = add_row(planned, measure, id, i, &e->plan[i]);
    hy_query_close(planned);
    hy_query_close(measure);
    return st;
}

static hy_status add_grid(hy_store *s, const hy_experiment_record *e, int64_t id) {
    hy_query *q;
    HY_TRY(
        hy_query_open(s, "INSERT INTO planned_grid(experiment_id, grid_ord, path, value) VALUES(?1, ?2, ?3, ?4)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < e->n_grid; i++) {
        hy_query_bind_int(q, 1, id);
        hy_query_bind_int(q, 2, e->grid[i].grid_ord);
        hy_query_bind_text(q, 3, e->grid[i].path);
        hy_query_bind_value(q, 4, e->grid[i].value);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    return st;
}

static hy_status add_paper(hy_store *s, const hy_experiment_record *e, int64_t id) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "INSERT INTO paper(experiment_id, variant, name, value) VALUES(?1, ?2, ?3, ?4)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < e->n_paper; i++) {
        hy_query_bind(q, "lssd", id, e->paper[i].variant, e->paper[i].name, e->paper[i].value);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    return st;
}

hy_status hy_experiment_store(hy_store *s, const hy_experiment_record *e, int64_t *id) {
    HY_TRY(hy_store_begin(s));
    hy_status st = upsert(s, e, id);
    if (!st)
        st = hy_store_run(s, "DELETE FROM planned WHERE experiment_id = ?1", "l",
                          *id);  // its planned_measure rows go with it
    if (!st) st = hy_store_run(s, "DELETE FROM paper WHERE experiment_id = ?1", "l", *id);
    if (!st) st = hy_store_run(s, "DELETE FROM planned_grid WHERE experiment_id = ?1", "l", *id);
    if (!st) st = add_plan(s, e, *id);
    if (!st) st = add_grid(s, e, *id);
    if (!st) st = add_paper(s, e, *id);
    return hy_store_end(s, st);
}
