// merge_rows.c - rows of a shard as rows of the destination, and what tells them. See merge_impl.h.
#include <stdlib.h>
#include <string.h>

#include "results/identity.h"
#include "results/merge_impl.h"

// What is said of an attempt once it is settled: nothing of it changes after that.
#define PROVENANCE \
    "git_commit, git_dirty, build, host, device_name, threads, kernel_path, started, ended, resumes, error, process"
#define MODEL_FACTS                                                                                          \
    "model_key, seed, device, origin, status, variant, experiment, grid, spec_hash, spec, task, task_kind, " \
    "task_options, train, precision, source, steps, weights_hash, " PROVENANCE
#define MEASUREMENT_FACTS "measure, version, options, task, key, status, facts_hash, " PROVENANCE

const hy_merge_table hy_merge_tables[] = {
    {"metric_def", "name, version, unit, direction, meaning"},
    {"experiment", "name, scale, sets, question, yaml, planned, tune_by, tune_cell, base"},
    {"paper", "experiment_id, variant, name, value"},
    {"planned", "experiment_id, ord, variant, variant_ord, task, task_ord, grid, grid_ord, seed, model_key, device"},
    {"planned_grid", "experiment_id, grid_ord, path, value"},
    {"planned_measure", "experiment_id, ord, measure, version, key, nth"},
    {"model", MODEL_FACTS ", heartbeat"},
    {"model_param", "model_id, path, value"},
    {"measurement", "model_id, " MEASUREMENT_FACTS ", heartbeat"},
    {"metric", "measurement_id, def_id, cell, layer, kind, head, step, final, value, stderr, n, x, y, meta"},
    {"sample", "metric_id, rep, value"},
    {"artifact", "measurement_id, name, layer, kind, head, dtype, shape, meta, data, hash"},
    {"curve", "measurement_id, step, loss, lr, grad_norm, tokens_per_s"},
    {NULL, NULL}};

const char hy_merge_model_sql[] = "SELECT id, " MODEL_FACTS " FROM model WHERE status IN ('done','failed') ORDER BY id";
const char hy_merge_fact_sql[] =
    "SELECT id, " MEASUREMENT_FACTS " FROM measurement WHERE model_id = ?1 AND status IN ('done','failed') ORDER BY id";
enum { KEY = 1, SEED, DEVICE, ORIGIN, STATUS, STEPS = 17, WEIGHTS_HASH, ENDED = 27 };
enum { MEASURE = 1, VERSION, FACT_KEY = 5, FACT_STATUS, FACT_ENDED = 16 };

static const char *columns_of(const char *table) {
    for (const hy_merge_table *t = hy_merge_tables; t->table; t++)
        if (!strcmp(t->table, table)) return t->columns;
    HY_ASSERT(!"a table of the list");
}

static void hash_text(hy_buf *b, char hash[33]) {
    hy_hash_hex(b->s ? b->s : "", b->n, hash);
    free(b->s);
}

// ---------------------------------------------------------------------------------------------------- what tells a row
// Where no hash of the weights is known: by the steps and the losses of the training.
static hy_status curve_label(hy_store *s, int64_t model, int64_t steps, char label[48]) {
    hy_query *q;
    HY_TRY(hy_store_query(s, &q,
                          "SELECT c.step, c.loss FROM curve c JOIN measurement x ON x.id = c.measurement_id"
                          " WHERE x.model_id = ?1 AND x.measure = '" HY_MEASURE_TRAINING "' ORDER BY x.started, c.step",
                          "l", model));
    hy_buf b = {0};
    bool row = false;
    hy_status st;
    hy_buf_printf(&b, "%lld\n", (long long)steps);
    while (!(st = hy_query_step(q, &row)) && row) hy_row_write(q, 0, &b);
    hy_query_close(q);
    char hash[33];
    hash_text(&b, hash);
    snprintf(label, 48, "losses %s", hash);
    return st;
}

hy_status hy_merge_describe(hy_store *s, const hy_query *row, hy_merge_model *out) {
    hy_buf identity = {0}, all = {0};
    *out = (hy_merge_model){.done = !strcmp(hy_query_text(row, STATUS), "done")};
    hy_buf_printf(&identity, "%s %lld %s", hy_query_text(row, KEY), (long long)hy_query_int(row, SEED),
                  hy_query_text(row, DEVICE));
    hy_row_write(row, 1, &all);
    hash_text(&identity, out->identity);
    hash_text(&all, out->hash);
    snprintf(out->ended, sizeof out->ended, "%s", hy_query_text(row, ENDED));
    if (!out->done)
        snprintf(out->label, sizeof out->label, "failed %s", out->hash);
    else if (strcmp(hy_query_text(row, ORIGIN), "trained"))
        strcpy(out->label, "as drawn");  // what is drawn or read from a file is told by the key
    else if (!hy_query_null(row, WEIGHTS_HASH))
        snprintf(out->label, sizeof out->label, "%s", hy_query_text(row, WEIGHTS_HASH));
    else
        return curve_label(s, hy_query_int(row, 0), hy_query_int(row, STEPS), out->label);
    return HY_OK;
}

void hy_merge_fact_describe(const hy_query *row, const hy_merge_model *model, hy_merge_fact *out) {
    hy_buf what = {0}, all = {0};
    const bool training = !strcmp(hy_query_text(row, MEASURE), HY_MEASURE_TRAINING);
    *out = (hy_merge_fact){.done = !strcmp(hy_query_text(row, FACT_STATUS), "done")};
    snprintf(out->owner, sizeof out->owner, "%s%s%s", training ? model->hash : model->identity, training ? "" : " ",
             training ? "" : model->label);
    hy_buf_printf(&what, "%s %lld %s", hy_query_text(row, MEASURE), (long long)hy_query_int(row, VERSION),
                  hy_query_text(row, FACT_KEY));
    hash_text(&what, out->what);
    hy_buf_printf(&all, "%s\n", out->owner);
    hy_row_write(row, 1, &all);
    hash_text(&all, out->hash);
    snprintf(out->ended, sizeof out->ended, "%s", hy_query_text(row, FACT_ENDED));
}

hy_status hy_merge_note_model(hy_merge *m, int64_t id, const hy_merge_model *d) {
    return hy_store_run(m->dest, "INSERT OR IGNORE INTO temp.merge_model VALUES(?1, ?2, ?3, ?4, ?5, ?6)", "lssiss", id,
                        d->identity, d->hash, (int)d->done, d->ended, d->label);
}

hy_status hy_merge_note_fact(hy_merge *m, int64_t id, const hy_merge_fact *d) {
    return hy_store_run(m->dest, "INSERT OR IGNORE INTO temp.merge_fact VALUES(?1, ?2, ?3, ?4, ?5, ?6)", "lsssis", id,
                        d->owner, d->what, d->hash, (int)d->done, d->ended);
}

hy_status hy_merge_find(hy_merge *m, const char *sql, const char *key, int64_t *id) {
    hy_query *q;
    bool row = false;
    *id = 0;
    HY_TRY(hy_store_query(m->dest, &q, sql, "s", key));
    const hy_status st = hy_query_step(q, &row);
    if (!st && row) *id = hy_query_int(q, 0);
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- copying
// "?1, ?2, ..." for the columns of a list.
static char *places_of(const char *columns) {
    hy_buf b = {0};
    int n = 1;
    hy_buf_printf(&b, "?1");
    for (; *columns; columns++)
        if (*columns == ',') hy_buf_printf(&b, ", ?%d", ++n);
    return b.s;
}

// Two statements on a table: rows of the shard below a parent, and their insertion.
typedef struct {
    hy_query *from, *to;
} copier;

static void copier_close(copier *c) {
    hy_query_close(c->from);
    hy_query_close(c->to);
}

static const char *const plan_tables[] = {"planned", "planned_measure", "planned_grid", "paper"};  // parents first
enum { N_PLAN_TABLES = sizeof plan_tables / sizeof plan_tables[0] };

static bool is_of_plan(const char *table) {
    for (int t = 0; t < N_PLAN_TABLES; t++)
        if (!strcmp(table, plan_tables[t])) return true;
    return false;
}

// `first`: columns that stand before those of the list in what is read. In the order in which they were stored, which
// checksums go by.
static hy_status copier_open(hy_merge *m, hy_store *shard, const char *table, const char *first, int64_t parent,
                             copier *c) {
    const bool has_id = !strcmp(table, "metric") || !strcmp(table, "artifact");
    const char *columns = columns_of(table);
    const int n = (int)strcspn(columns, ",");
    *c = (copier){NULL, NULL};
    char *places = places_of(columns);
    char *from = hy_asprintf("SELECT %s%s FROM %s WHERE %.*s = ?1 ORDER BY %s", first, columns, table, n, columns,
                             has_id ? "id" : "1, 2, 3");
    char *to = hy_asprintf("INSERT INTO %s(%s) VALUES(%s)%s", table, columns, places,
                           is_of_plan(table) ? " ON CONFLICT DO NOTHING" : "");  // two parts of a plan may share rows
    hy_status st = hy_store_query(shard, &c->from, from, "l", parent);
    if (!st) st = hy_query_open(m->dest, to, &c->to);
    if (st) copier_close(c);
    free(places), free(from), free(to);
    return st;
}

// Rows whose first column is the parent; the others as they are. new: goes up by those that were not there; may be
// NULL.
static hy_status copy_rows(hy_merge *m, hy_store *shard, const char *table, int64_t parent, int64_t to, int *new) {
    copier c;
    bool row = false;
    hy_status st;
    HY_TRY(copier_open(m, shard, table, "", parent, &c));
    while (!(st = hy_query_step(c.from, &row)) && row) {
        hy_query_bind_int(c.to, 1, to);
        for (int i = 1; i < hy_query_columns(c.from); i++) hy_query_bind_column(c.to, i + 1, c.from, i);
        if ((st = hy_query_run(c.to))) break;
        if (new) *new += hy_store_changes(m->dest);
    }
    copier_close(&c);
    return st;
}

static hy_status copy_children(hy_merge *m, hy_store *shard, const char *table, int64_t parent, int64_t to) {
    return copy_rows(m, shard, table, parent, to, NULL);
}

// Definitions have other ids in the destination.
static hy_status definition_of(hy_merge *m, hy_store *shard, int64_t def, int64_t *to) {
    hy_query *q, *d;
    bool row = false;
    HY_TRY(hy_store_query(shard, &q, "SELECT name, version FROM metric_def WHERE id = ?1", "l", def));
    hy_status st = hy_query_step(q, &row);
    *to = 0;
    if (!st && row) {
        st = hy_store_query(m->dest, &d, "SELECT id FROM metric_def WHERE name = ?1 AND version = ?2", "sl",
                            hy_query_text(q, 0), hy_query_int(q, 1));
        if (!st) st = hy_query_step(d, &row);
        if (!st && row) *to = hy_query_int(d, 0);
        hy_query_close(d);
    }
    hy_query_close(q);
    if (!st && !*to) st = hy_error(HY_EINPUT, "%s: a figure without a definition", hy_store_path(shard));
    return st;
}

static hy_status copy_metrics(hy_merge *m, hy_store *shard, int64_t parent, int64_t to) {
    copier c;
    bool row = false;
    hy_status st;
    int64_t last = -1, def = 0;
    HY_TRY(copier_open(m, shard, "metric", "id, ", parent, &c));
    while (!(st = hy_query_step(c.from, &row)) && row) {
        if (hy_query_int(c.from, 2) != last && (st = definition_of(m, shard, last = hy_query_int(c.from, 2), &def)))
            break;
        hy_query_bind_int(c.to, 1, to);
        hy_query_bind_int(c.to, 2, def);
        for (int i = 3; i < hy_query_columns(c.from); i++) hy_query_bind_column(c.to, i, c.from, i);
        if ((st = hy_query_run(c.to))) break;
        if ((st = copy_children(m, shard, "sample", hy_query_int(c.from, 0), hy_store_last_id(m->dest)))) break;
    }
    copier_close(&c);
    return st;
}

// A row that is superseded by itself. parent: what takes the place of its first column, 0: nothing.
static hy_status copy_row(hy_merge *m, hy_store *shard, const char *table, int64_t id, int64_t parent, int64_t *to) {
    const char *columns = columns_of(table);
    hy_query *from = NULL, *insert = NULL;
    bool row = false;
    char *places = places_of(columns);
    char *read = hy_asprintf("SELECT %s FROM %s WHERE id = ?1", columns, table);
    char *write = hy_asprintf("INSERT INTO %s(%s, id, superseded_by) SELECT %s, n, n FROM"
                              " (SELECT coalesce(max(id), 0) + 1 AS n FROM %s)",
                              table, columns, places, table);
    hy_status st = hy_store_query(shard, &from, read, "l", id);
    if (!st) st = hy_query_step(from, &row);
    if (!st) st = hy_query_open(m->dest, write, &insert);
    for (int i = 0; !st && i < hy_query_columns(from); i++) hy_query_bind_column(insert, i + 1, from, i);
    if (!st && parent) hy_query_bind_int(insert, 1, parent);
    if (!st) st = hy_query_run(insert);
    if (!st) *to = hy_store_last_id(m->dest);
    hy_query_close(from);
    hy_query_close(insert);
    free(places), free(read), free(write);
    return st;
}

hy_status hy_merge_add_model(hy_merge *m, hy_store *shard, int64_t id, int64_t *to) {
    HY_TRY(copy_row(m, shard, "model", id, 0, to));
    return copy_children(m, shard, "model_param", id, *to);
}

hy_status hy_merge_add_fact(hy_merge *m, hy_store *shard, int64_t id, int64_t model, int64_t *to) {
    HY_TRY(copy_row(m, shard, "measurement", id, model, to));
    HY_TRY(copy_metrics(m, shard, id, *to));
    HY_TRY(copy_children(m, shard, "curve", id, *to));
    return copy_children(m, shard, "artifact", id, *to);
}

// ---------------------------------------------------------------------------------------------------- definitions
// A figure of one name and version is one figure; only the words that explain it may differ, of which the later in the
// alphabet stay.
hy_status hy_merge_add_definitions(hy_merge *m, hy_store *shard) {
    hy_query *q, *to = NULL;
    bool row = false;
    HY_TRY(hy_query_open(shard, "SELECT name, version, unit, direction, meaning FROM metric_def", &q));
    hy_status st =
        hy_query_open(m->dest,
                      "INSERT INTO metric_def(name, version, unit, direction, meaning) VALUES(?1, ?2, ?3, ?4,"
                      " ?5) ON CONFLICT(name, version) DO UPDATE SET meaning = max(meaning, excluded.meaning)"
                      " WHERE unit = excluded.unit AND direction = excluded.direction",
                      &to);
    while (!st && !(st = hy_query_step(q, &row)) && row) {
        for (int i = 0; i < 5; i++) hy_query_bind_column(to, i + 1, q, i);
        if ((st = hy_query_run(to))) break;
        if (hy_store_changes(m->dest)) continue;
        st = hy_error(HY_EINPUT, "%s: its figure %s (version %lld) has another unit or direction than that of %s",
                      hy_store_path(shard), hy_query_text(q, 0), (long long)hy_query_int(q, 1), hy_store_path(m->dest));
        break;
    }
    hy_query_close(q);
    hy_query_close(to);
    return st;
}

// ---------------------------------------------------------------------------------------------------- plans
// What is said of a plan beside its rows, as a hash. marked: this tells the rows, too.
static hy_status plan_text(hy_store *s, int64_t id, char hash[33], bool *marked) {
    hy_query *q;
    bool row = false;
    hy_buf b = {0};
    HY_TRY(hy_store_query(s, &q, "SELECT yaml, question, tune_by, tune_cell, base FROM experiment WHERE id = ?1", "l",
                          id));
    const hy_status st = hy_query_step(q, &row);
    if (!st) *marked = hy_plan_marked(hy_query_text(q, 0));
    if (!st) hy_row_write(q, 0, &b);
    hy_query_close(q);
    hash_text(&b, hash);
    return st;
}

// "TIME HASH": of two plans the larger one counts.
static hy_status plan_rank(hy_store *s, int64_t id, hy_buf *out) {
    hy_buf b = {0};
    hy_query *q;
    bool row = false;
    hy_status st = hy_store_query(s, &q,
                                  "SELECT planned, question, yaml, tune_by, tune_cell, base FROM experiment"
                                  " WHERE id = ?1",
                                  "l", id);
    if (st) return st;
    st = hy_query_step(q, &row);
    if (!st) hy_buf_printf(out, "%s ", hy_query_text(q, 0));
    if (!st) hy_row_write(q, 1, &b);
    hy_query_close(q);
    char text[33];
    bool marked = false;
    if (!st) st = plan_text(s, id, text, &marked);
    for (int t = 0; !st && !marked && t < N_PLAN_TABLES; t++) {
        char *sql = hy_asprintf("SELECT %s FROM %s WHERE experiment_id = ?1 ORDER BY 2, 3, 4, 5",
                                columns_of(plan_tables[t]), plan_tables[t]);
        if (!strcmp(plan_tables[t], "planned_grid") || !strcmp(plan_tables[t], "paper")) *strrchr(sql, ',') = 0;
        st = hy_store_query(s, &q, sql, "l", id);
        free(sql);
        if (st) break;
        while (!(st = hy_query_step(q, &row)) && row) hy_row_write(q, 1, &b);
        hy_query_close(q);
        hy_buf_printf(&b, "%d\n", t);
    }
    char hash[33];
    hash_text(&b, hash);
    hy_buf_printf(out, "%s", hash);
    return st;
}

static hy_status put_plan(hy_merge *m, hy_store *shard, int64_t id, int64_t to) {
    hy_query *q;
    bool row = false;
    HY_TRY(hy_store_query(shard, &q,
                          "SELECT question, yaml, planned, tune_by, tune_cell, base FROM experiment"
                          " WHERE id = ?1",
                          "l", id));
    hy_status st = hy_query_step(q, &row);
    if (!st)
        st = hy_store_run(m->dest,
                          "UPDATE experiment SET question = ?2, yaml = ?3, planned = ?4, tune_by = ?5, tune_cell = ?6,"
                          " base = ?7 WHERE id = ?1",
                          "lssssss", to, hy_query_text(q, 0), hy_query_text(q, 1), hy_query_text(q, 2),
                          hy_query_text(q, 3), hy_query_text(q, 4), hy_query_text(q, 5));
    hy_query_close(q);
    for (int t = N_PLAN_TABLES - 1; !st && t >= 0; t--) {
        char *sql = hy_asprintf("DELETE FROM %s WHERE experiment_id = ?1", plan_tables[t]);
        st = hy_store_run(m->dest, sql, "l", to);
        free(sql);
    }
    for (int t = 0; !st && t < N_PLAN_TABLES; t++) st = copy_children(m, shard, plan_tables[t], id, to);
    return st;
}

// Parts of one plan: the rows of both.
static hy_status unite_plans(hy_merge *m, hy_store *shard, int64_t id, int64_t to, int *new) {
    hy_query *q;
    bool row = false;
    HY_TRY(hy_store_query(shard, &q, "SELECT planned FROM experiment WHERE id = ?1", "l", id));
    hy_status st = hy_query_step(q, &row);
    if (!st)
        st = hy_store_run(m->dest, "UPDATE experiment SET planned = max(planned, ?2) WHERE id = ?1", "ls", to,
                          hy_query_text(q, 0));
    hy_query_close(q);
    for (int t = 0; !st && t < N_PLAN_TABLES; t++) st = copy_rows(m, shard, plan_tables[t], id, to, new);
    return st;
}

static hy_status are_parts(hy_merge *m, hy_store *shard, int64_t id, int64_t to, bool *are) {
    char mine[33], theirs[33];
    bool a = false, b = false;
    HY_TRY(plan_text(shard, id, mine, &a));
    HY_TRY(plan_text(m->dest, to, theirs, &b));
    *are = a && b && !strcmp(mine, theirs);
    return HY_OK;
}

static hy_status add_plan(hy_merge *m, hy_store *shard, const hy_query *row, hy_merge_counts *out) {
    const int64_t id = hy_query_int(row, 0);
    int64_t to = 0;
    hy_query *q;
    bool there = false;
    const char *name = hy_query_text(row, 1), *scale = hy_query_text(row, 2), *sets = hy_query_text(row, 3);
    HY_TRY(hy_store_query(m->dest, &q, "SELECT id FROM experiment WHERE name = ?1 AND scale = ?2 AND sets = ?3", "sss",
                          name, scale, sets));
    hy_status st = hy_query_step(q, &there);
    if (!st && there) to = hy_query_int(q, 0);
    hy_query_close(q);
    HY_TRY(st);
    if (!there) {
        HY_TRY(hy_store_run(m->dest,
                            "INSERT INTO experiment(name, scale, sets, question, yaml, planned) VALUES(?1, ?2, ?3, '',"
                            " '', '')",
                            "sss", name, scale, sets));
        to = hy_store_last_id(m->dest);
    }
    bool parts = false;
    int rows = 0;
    if (there) HY_TRY(are_parts(m, shard, id, to, &parts));
    if (parts) {
        HY_TRY(unite_plans(m, shard, id, to, &rows));
        out->plans += rows > 0;
        return HY_OK;
    }
    hy_buf mine = {0}, theirs = {0};
    st = plan_rank(shard, id, &mine);
    if (!st && there) st = plan_rank(m->dest, to, &theirs);
    if (!st && (!there || strcmp(mine.s, theirs.s) > 0)) {
        st = put_plan(m, shard, id, to);
        out->plans++;
    }
    free(mine.s), free(theirs.s);
    return st;
}

hy_status hy_merge_add_plans(hy_merge *m, hy_store *shard, hy_merge_counts *out) {
    hy_query *q;
    bool row = false;
    hy_status st;
    HY_TRY(hy_query_open(shard, "SELECT id, name, scale, sets FROM experiment ORDER BY id", &q));
    while (!(st = hy_query_step(q, &row)) && row)
        if ((st = add_plan(m, shard, q, out))) break;
    hy_query_close(q);
    return st;
}
