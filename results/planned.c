// planned.c - what an experiment asked for, stored beside the runs that answer it. See record.h.
#include <stdlib.h>
#include <time.h>

#include "results/record.h"

static hy_status upsert(hy_store *s, const hy_experiment_record *e, int64_t *id) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "INSERT INTO experiment(name, scale, sets, question, yaml, tune_by, tune_cell, base, planned) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,"
                            " strftime('%Y-%m-%dT%H:%M:%SZ')) ON CONFLICT(name, scale, sets) DO UPDATE SET question = ?4, yaml = ?5,"
                            " tune_by = ?6, tune_cell = ?7, base = ?8, planned = excluded.planned RETURNING id", &q));
    hy_query_bind_text(q, 1, e->name);
    hy_query_bind_text(q, 2, e->scale);
    hy_query_bind_text(q, 3, e->sets);
    hy_query_bind_text(q, 4, e->question);
    hy_query_bind_text(q, 5, e->yaml);
    hy_query_bind_text(q, 6, e->tune_by ? e->tune_by : "");
    hy_query_bind_text(q, 7, e->tune_cell ? e->tune_cell : "");
    hy_query_bind_text(q, 8, e->base ? e->base : "");
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    HY_ASSERT(st || row);
    if (!st) *id = hy_query_int(q, 0);
    while (!st && row) st = hy_query_step(q, &row);
    hy_query_close(q);
    return st;
}

static hy_status clear(hy_store *s, const char *sql, int64_t id) {
    hy_query *q;
    HY_TRY(hy_query_open(s, sql, &q));
    hy_query_bind_int(q, 1, id);
    hy_status st = hy_query_run(q);
    hy_query_close(q);
    return st;
}

static hy_status add_plan(hy_store *s, const hy_experiment_record *e, int64_t id) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "INSERT INTO plan(experiment_id, ord, variant, variant_ord, task, task_ord, grid, grid_ord, seed, run_key,"
                            " device) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < e->n_plan; i++) {
        const hy_planned_row *p = &e->plan[i];
        hy_query_bind_int(q, 1, id);
        hy_query_bind_int(q, 2, i);
        hy_query_bind_text(q, 3, p->variant);
        hy_query_bind_int(q, 4, p->variant_ord);
        hy_query_bind_text(q, 5, p->task);
        hy_query_bind_int(q, 6, p->task_ord);
        hy_query_bind_text(q, 7, p->grid);
        hy_query_bind_int(q, 8, p->grid_ord);
        hy_query_bind_int(q, 9, p->seed);
        hy_query_bind_text(q, 10, p->model_key);
        hy_query_bind_text(q, 11, p->device);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    return st;
}

static hy_status add_paper(hy_store *s, const hy_experiment_record *e, int64_t id) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "INSERT INTO paper(experiment_id, variant, name, value) VALUES(?1,?2,?3,?4)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < e->n_paper; i++) {
        hy_query_bind_int(q, 1, id);
        hy_query_bind_text(q, 2, e->paper[i].variant);
        hy_query_bind_text(q, 3, e->paper[i].name);
        hy_query_bind_double(q, 4, e->paper[i].value);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    return st;
}

hy_status hy_experiment_store(hy_store *s, const hy_experiment_record *e, int64_t *id) {
    HY_TRY(hy_store_begin(s));
    hy_status st = upsert(s, e, id);
    if (!st) st = clear(s, "DELETE FROM plan WHERE experiment_id = ?1", *id);
    if (!st) st = clear(s, "DELETE FROM paper WHERE experiment_id = ?1", *id);
    if (!st) st = add_plan(s, e, *id);
    if (!st) st = add_paper(s, e, *id);
    if (!st) return hy_store_commit(s);
    hy_store_rollback(s);
    return st;
}
