// planned.c - what an experiment asked for, stored beside the models and measurements that answer it. See record.h.
#include <stdlib.h>
#include <string.h>

#include "core/base/plural.h"
#include "results/record_impl.h"

#define MARK "# plan of "

// ---------------------------------------------------------------------------------------------------- which plan it is
static void hash_plan(const hy_experiment_record *e, char hash[33]) {
    hy_hasher *h = hy_hasher_new();
    for (int i = 0; i < e->n_plan; i++) {
        const hy_planned_row *p = &e->plan[i];
        hy_buf b = {0};
        hy_buf_printf(&b, "%s\n%d\n%s\n%d\n%s\n%d\n%lld\n%s\n%s\n", p->variant, p->variant_ord, p->task, p->task_ord,
                      p->grid, p->grid_ord, (long long)p->seed, p->model_key, p->device);
        for (int k = 0; k < p->n_measures; k++)
            hy_buf_printf(&b, "%s %d %s\n", p->measures[k].measure, p->measures[k].version, p->measures[k].key);
        hy_hasher_add(h, b.s, b.n);
        free(b.s);
    }
    hy_hasher_end(h, hash);
}

static char *marked_text(const hy_experiment_record *e) {
    char hash[33];
    const size_t n = strlen(e->yaml);
    if (!e->marked) return hy_xstrdup(e->yaml);
    hash_plan(e, hash);
    return hy_asprintf("%s%s" MARK "%d run%s: %s\n", e->yaml, n && e->yaml[n - 1] != '\n' ? "\n" : "", e->n_plan,
                       hy_s(e->n_plan), hash);
}

bool hy_plan_marked(const char *yaml) {
    size_t n = strlen(yaml);
    if (!n || yaml[n - 1] != '\n') return false;
    for (n--; n && yaml[n - 1] != '\n';) n--;
    return !strncmp(yaml + n, MARK, strlen(MARK));
}

// Whether what is stored under the same name is the same plan, or a part of it.
static hy_status same_plan(hy_store *s, const hy_experiment_record *e, const char *yaml, bool *same) {
    hy_query *q;
    HY_TRY(hy_store_query(s, &q, "SELECT yaml FROM experiment WHERE name = ?1 AND scale = ?2 AND sets = ?3", "sss",
                          e->name, e->scale, e->sets));
    bool row = false;
    const hy_status st = hy_query_step(q, &row);
    *same = !st && row && e->marked && !strcmp(hy_query_text(q, 0), yaml);
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- rows
static hy_status upsert(hy_store *s, const hy_experiment_record *e, const char *yaml, int64_t *id) {
    hy_query *q;
    HY_TRY(hy_store_query(s, &q,
                          "INSERT INTO experiment(name, scale, sets, question, yaml, tune_by, tune_cell, base, planned)"
                          " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, strftime('%Y-%m-%dT%H:%M:%SZ'))"
                          " ON CONFLICT(name, scale, sets) DO UPDATE SET question = ?4, yaml = ?5, tune_by = ?6,"
                          " tune_cell = ?7, base = ?8, planned = excluded.planned RETURNING id",
                          "ssssssss", e->name, e->scale, e->sets, e->question, yaml, hy_text(e->tune_by),
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
    hy_status st =
        hy_query_open(s,
                      "INSERT OR IGNORE INTO planned(experiment_id, ord, variant, variant_ord, task, task_ord,"
                      " grid, grid_ord, seed, model_key, device)"
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                      &planned);
    // a measurement that is planned twice is wanted once
    if (!st)
        st = hy_query_open(s,
                           "INSERT OR IGNORE INTO planned_measure(experiment_id, ord, nth, measure, version, key)"
                           " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                           &measure);
    for (int i = 0; !st && i < e->n_plan; i++)
        if (!e->shard_of || e->shard_of[i] == e->shard) st = add_row(planned, measure, id, i, &e->plan[i]);
    hy_query_close(planned);
    hy_query_close(measure);
    return st;
}

static hy_status add_grid(hy_store *s, const hy_experiment_record *e, int64_t id) {
    hy_query *q;
    HY_TRY(hy_query_open(
        s, "INSERT OR IGNORE INTO planned_grid(experiment_id, grid_ord, path, value) VALUES(?1, ?2, ?3, ?4)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < e->n_grid; i++) {
        hy_query_bind_int(q, 1, id);
        hy_query_bind_int(q, 2, e->grid[i].grid_ord);
        hy_query_bind_text(q, 3, e->grid[i].path);
        hy_query_bind_value(q, 4, e->grid[i].value);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    if (!st && e->shard_of)
        st = hy_store_run(s,
                          "DELETE FROM planned_grid WHERE experiment_id = ?1 AND grid_ord NOT IN"
                          " (SELECT grid_ord FROM planned WHERE experiment_id = ?1)",
                          "l", id);
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

static hy_status remove_rows(hy_store *s, int64_t id) {
    HY_TRY(
        hy_store_run(s, "DELETE FROM planned WHERE experiment_id = ?1", "l", id));  // their planned_measure rows, too
    HY_TRY(hy_store_run(s, "DELETE FROM planned_grid WHERE experiment_id = ?1", "l", id));
    return HY_OK;
}

hy_status hy_experiment_store(hy_store *s, const hy_experiment_record *e, int64_t *id) {
    char *yaml = marked_text(e);
    bool same = false;
    hy_status st = hy_store_begin(s);
    if (st) {
        free(yaml);
        return st;
    }
    st = same_plan(s, e, yaml, &same);
    if (!st) st = upsert(s, e, yaml, id);
    if (!st && !same) st = remove_rows(s, *id);
    if (!st) st = hy_store_run(s, "DELETE FROM paper WHERE experiment_id = ?1", "l", *id);
    if (!st) st = add_plan(s, e, *id);
    if (!st) st = add_grid(s, e, *id);
    if (!st) st = add_paper(s, e, *id);
    free(yaml);
    return hy_store_end(s, st);
}
