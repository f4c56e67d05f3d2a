// query_figures.c - what figures show beside the values of results: loss curves, timings over contexts, attention maps.
// See query.h.
#include <string.h>

#include "results/query_impl.h"
#include "results/record_impl.h"

// ---------------------------------------------------------------------------------------------------- damage
// The measurements that q lists are what was stored. Closes q.
static hy_status check_each(hy_store *s, hy_query *q) {
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row)
        if ((st = hy_facts_check(s, hy_query_int(q, 0)))) break;
    hy_query_close(q);
    return st;
}

hy_status hy_check_results(hy_store *s, const hy_experiment_id *e) {
    hy_query *q;
    HY_TRY(hy_query_of(
        s, e,
        "SELECT DISTINCT p.measurement_id FROM v_plan_measure p WHERE " HY_OF_EXPERIMENT("p") " AND p.status = 'done'",
        &q));
    return check_each(s, q);
}

// ---------------------------------------------------------------------------------------------------- loss
// Curves are averaged by the statement that reads them, so what they are averaged of is checked before.
static hy_status check_curves(hy_store *s, const hy_experiment_id *e, int task_ord) {
    hy_query *q;
    HY_TRY(hy_query_of(s, e,
                       "SELECT DISTINCT f.measurement_id FROM v_plan p JOIN v_finished f ON f.run_id = p.run_id"
                       " WHERE " HY_OF_EXPERIMENT("p") " AND p.task_ord = ?4 AND f.measure = 'training'",
                       &q));
    hy_query_bind_int(q, 4, task_ord);
    return check_each(s, q);
}

hy_status hy_ask_losses(hy_store *s, const hy_experiment_id *e, int task_ord, hy_query **q) {
    *q = NULL;
    HY_TRY(check_curves(s, e, task_ord));
    HY_TRY(hy_query_of(
        s, e,
        "WITH c AS (SELECT p.variant_ord AS v, p.grid_ord AS g, p.seed AS seed, c.step AS step, c.loss AS loss"
        "  FROM v_plan p JOIN v_curve c ON c.run_id = p.run_id WHERE " HY_OF_EXPERIMENT(
            "p") "  AND p.task_ord = ?4),"
                 " w AS (SELECT max(1, (max(step) + 99) / 100) AS w FROM c),"
                 " b AS (SELECT v, g, seed, (step - 1) / w AS bin, avg(loss) AS loss, avg(step) AS step FROM c, w "
                 "GROUP BY 1, 2, 3, 4)"
                 " SELECT v, g, (SELECT w FROM w), avg(step), avg(loss), min(loss), max(loss) FROM b GROUP BY v, g, bin"
                 " ORDER BY v, g, bin",
        q));
    hy_query_bind_int(*q, 4, task_ord);
    return HY_OK;
}

hy_status hy_next_loss(hy_query *q, bool *row, hy_loss_point *p) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *p = (hy_loss_point){INT(0), INT(1), INT(2), NUM(3), NUM(4), NUM(5), NUM(6)};
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- timings
#define LARGEST \
    "WITH largest AS (SELECT measurement_id, metric, context, max(batch) AS batch FROM v_timing GROUP BY 1, 2, 3) "
#define TIMINGS                                                                                                \
    " FROM v_plan_measure p JOIN v_timing t USING(measurement_id) JOIN largest USING(measurement_id, metric, " \
    "context, batch)"                                                                                          \
    " WHERE " HY_OF_EXPERIMENT("p")

hy_status hy_ask_timings(hy_store *s, const hy_experiment_id *e, const char *metric, hy_query **q) {
    HY_TRY(hy_query_of(
        s, e,
        LARGEST "SELECT variant_ord, task_ord, grid_ord, context, avg(median), min(min), max(max) FROM"
                " (SELECT p.variant_ord, p.task_ord, p.grid_ord, t.*, row_number() OVER (PARTITION BY p.ord, t.context"
                " ORDER BY p.nth) AS choice" TIMINGS " AND t.metric = ?4)"
                " WHERE choice = 1 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        q));
    hy_query_bind_text(*q, 4, metric);
    return HY_OK;
}

hy_status hy_next_timing(hy_query *q, bool *row, hy_timing_point *p) {
    HY_TRY(hy_query_step(q, row));
    if (*row) *p = (hy_timing_point){INT(0), INT(1), INT(2), NUM(3), NUM(4), NUM(5), NUM(6)};
    return HY_OK;
}

hy_status hy_ask_timing_conditions(hy_store *s, const hy_experiment_id *e, hy_timing_conditions *out) {
    hy_query *q;
    bool row;
    HY_TRY(hy_query_of(
        s, e, LARGEST "SELECT min(t.batch), max(t.batch), min(t.repetitions), max(t.device_name)" TIMINGS, &q));
    HY_TRY(hy_query_one(&q, &row));
    *out = (hy_timing_conditions){LONG(0), LONG(1), LONG(2), hy_xstrdup(TEXT(3))};
    hy_query_close(q);
    return HY_OK;
}

hy_status hy_ask_erf_options(hy_store *s, const hy_experiment_id *e, int task_ord, char **options) {
    hy_query *q;
    bool row;
    *options = NULL;
    HY_TRY(hy_query_of(s, e,
                       "SELECT json_extract(meta, '$.options') FROM v_result r WHERE " HY_OF_EXPERIMENT(
                           "r") " AND r.task_ord = ?4 AND r.metric = 'erf' AND r.cell = '' ORDER BY r.nth LIMIT 1",
                       &q));
    hy_query_bind_int(q, 4, task_ord);
    HY_TRY(hy_query_one(&q, &row));
    *options = hy_xstrdup(row ? TEXT(0) : "");
    hy_query_close(q);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- maps
hy_status hy_ask_maps(hy_store *s, const hy_experiment_id *e, const char *measure, int variant_ord, int task_ord,
                      int grid_ord, hy_query **q) {
    HY_TRY(hy_query_of(s, e,
                       "SELECT p.run_id, p.seed, a.name, a.shape, a.data, json_extract(a.meta, '$.meta_tokens'), "
                       "json_extract(a.meta, '$.cell'),"
                       " json_extract(a.meta, '$.options'), a.layer, a.kind, json_extract(a.shape, '$[0]'), "
                       "json_extract(a.shape, '$[1]'), a.hash,"
                       " json_extract(a.meta, '$.rows[0]'), json_extract(a.meta, '$.rows[1]'),"
                       " json_extract(a.meta, '$.columns[0]'), json_extract(a.meta, '$.columns[1]'),"
                       " json_extract(a.meta, '$.block[0]'), json_extract(a.meta, '$.block[1]'),"
                       " json_extract(a.meta, '$.reduce'), json_extract(a.meta, '$.positions')"
                       " FROM v_plan_measure p JOIN v_artifact a USING(measurement_id)"
                       " WHERE " HY_OF_EXPERIMENT(
                           "p") " AND p.variant_ord = ?4 AND p.task_ord = ?5 AND p.grid_ord = ?6"
                                " AND a.measure = ?7 AND a.dtype = 'f32' AND a.layer IS NOT NULL AND a.head IS NULL"
                                " ORDER BY p.seed, p.nth, a.artifact_id",
                       q));
    hy_query_bind_int(*q, 4, variant_ord);
    hy_query_bind_int(*q, 5, task_ord);
    hy_query_bind_int(*q, 6, grid_ord);
    hy_query_bind_text(*q, 7, measure);
    return HY_OK;
}

// What of a map of `positions` its rows x cols stored values are; false: they cannot be that.
static bool read_shape(const hy_query *q, int64_t rows, int64_t cols, hy_map_row *m) {
    const int64_t most = 65536;
    if (rows < 1 || cols < 1 || rows > most || cols > most) return false;
    if (hy_query_null(q, 13)) {
        m->shape = (hy_block_shape){0, (int)rows, 0, (int)cols, 1, 1, (int)rows, (int)cols, HY_BLOCK_MAX};
        m->positions = (int)rows;
        return rows == cols;
    }
    const int64_t i0 = LONG(13), i1 = LONG(14), j0 = LONG(15), j1 = LONG(16), down = LONG(17), across = LONG(18),
                  positions = LONG(20);
    if (positions < 1 || positions > (1 << 24) || i0 < 0 || i1 <= i0 || i1 > positions || j0 < 0 || j1 <= j0 ||
        j1 > positions || down < 1 || across < 1)
        return false;
    m->positions = (int)positions;
    m->shape = (hy_block_shape){.i0 = (int)i0,
                                .i1 = (int)i1,
                                .j0 = (int)j0,
                                .j1 = (int)j1,
                                .rows = (int)rows,
                                .columns = (int)cols,
                                .how = !strcmp(TEXT(19), "mean") ? HY_BLOCK_MEAN : HY_BLOCK_MAX};
    m->shape.down = (int)(down < positions ? down : positions);
    m->shape.across = (int)(across < positions ? across : positions);
    const int64_t d = m->shape.down, a = m->shape.across;  // in bounds, whatever the file says
    return rows == (i1 - i0 + d - 1) / d && cols == (j1 - j0 + a - 1) / a;
}

static hy_status read_map(const hy_query *q, hy_map_row *m) {
    size_t bytes;
    *m = (hy_map_row){.run_id = LONG(0),
                      .seed = LONG(1),
                      .data = hy_query_blob(q, 4, &bytes),
                      .meta_tokens = INT(5),
                      .cell = TEXT(6),
                      .options = TEXT(7),
                      .layer = PLACE(8),
                      .kind = TEXT(9)};
    const int64_t rows = LONG(10), cols = LONG(11);
    if (!read_shape(q, rows, cols, m) || bytes != (size_t)(rows * cols) * sizeof(float))
        return hy_error(HY_EINPUT, "run %lld, artifact %s: shape %s does not fit its %zu bytes", (long long)m->run_id,
                        TEXT(2), TEXT(3), bytes);
    if (m->meta_tokens < 0 || m->meta_tokens > m->positions || m->layer < 0)
        return hy_error(HY_EINPUT,
                        "run %lld, artifact %s: %d meta tokens, layer %d: not those of a map of %d positions",
                        (long long)m->run_id, TEXT(2), m->meta_tokens, m->layer, m->positions);
    return hy_artifact_check(hy_query_store(q), m->run_id, TEXT(2), m->data, bytes, TEXT(12));
}

hy_status hy_next_map(hy_query *q, bool *row, hy_map_row *m) {
    HY_TRY(hy_query_step(q, row));
    return *row ? read_map(q, m) : HY_OK;
}
