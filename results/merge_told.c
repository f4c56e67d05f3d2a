// merge_told.c - what does not agree among the results of a destination. See merge.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results/merge_impl.h"

// Pairs of attempts that are done: the current one (or the first of the measurements of equal bits) and another one.
#define BY(t)                                                                                                    \
    t ".git_commit || iif(" t ".git_dirty, ' with changes', ''), " t ".build, " t ".host, " t ".device_name, " t \
      ".kernel_path, " t ".ended"
#define OF_M "m.variant, m.task, m.grid, m.device, m.seed"
static const char models_sql[] = "SELECT m.id, o.id, 'model', " OF_M ", " BY("m") ", " BY(
    "o") ", 1 FROM temp.merge_model a JOIN temp.merge_model b"
         " ON b.identity = a.identity AND b.label <> a.label JOIN model m ON m.id = a.id JOIN model o ON o.id = b.id"
         " WHERE m.superseded_by IS NULL AND a.done AND b.done ORDER BY " OF_M ", a.hash, b.ended, b.hash";
static const char facts_sql[] = "SELECT x.id, y.id, x.measure, " OF_M ", " BY("x") ", " BY(
    "y") ", 0 FROM temp.merge_fact a"
         " JOIN temp.merge_fact b ON b.owner = a.owner AND b.what = a.what AND b.id <> a.id"
         " JOIN measurement x ON x.id = a.id JOIN measurement y ON y.id = b.id JOIN model m ON m.id = x.model_id"
         " WHERE x.superseded_by IS NULL AND a.done AND b.done AND x.facts_hash IS NOT y.facts_hash"
         " ORDER BY " OF_M ", x.measure, a.hash, b.ended, b.hash";
enum { FIRST = 0, SECOND, WHAT, VARIANT, CURRENT = 8, OTHER = 14, OF_MODELS = 20 };

// The largest difference of each figure of two measurements, or of all that two models have in common. Timings differ
// from run to run.
#define LARGEST                                                                                                      \
    "SELECT d.name, max(abs(p.value - q.value)) FROM measurement x JOIN measurement y ON y.measure = x.measure AND"  \
    " y.version = x.version AND y.key = x.key JOIN metric p ON p.measurement_id = x.id JOIN metric q ON"             \
    " q.measurement_id = y.id AND q.def_id = p.def_id AND q.cell = p.cell AND q.step = p.step AND q.final = p.final" \
    " JOIN metric_def d ON d.id = p.def_id WHERE p.value IS NOT q.value AND d.unit NOT IN ('s', 'tok/s') AND "
#define IN_ORDER " GROUP BY d.name ORDER BY d.name"

static hy_status differences(hy_merge *m, bool models, int64_t a, int64_t b, hy_buf *out) {
    hy_query *q;
    bool row = false;
    hy_status st;
    HY_TRY(hy_store_query(m->dest, &q,
                          models ? LARGEST
                              "x.model_id = ?1 AND y.model_id = ?2 AND x.status = 'done' AND y.status ="
                              " 'done' AND (x.superseded_by IS NULL) AND (y.superseded_by IS NULL)" IN_ORDER
                                 : LARGEST "x.id = ?1 AND y.id = ?2" IN_ORDER,
                          "ll", a, b));
    hy_buf_printf(out, "%s", "");
    while (!(st = hy_query_step(q, &row)) && row) {
        hy_buf_printf(out, "%s%s ", out->n ? ", " : "", hy_query_text(q, 0));
        const double d = hy_query_double(q, 1);
        hy_buf_printf(out, isnan(d) ? "not a number" : "%.3g", d);
    }
    hy_query_close(q);
    return st;
}

static hy_merge_by by(const hy_query *q, int c) {
    return (hy_merge_by){hy_query_text(q, c),     hy_query_text(q, c + 1), hy_query_text(q, c + 2),
                         hy_query_text(q, c + 3), hy_query_text(q, c + 4), hy_query_text(q, c + 5)};
}

static hy_status tell_pairs(hy_merge *m, const char *sql, hy_merge_tell *tell, void *user) {
    hy_query *q;
    bool row = false;
    hy_status st;
    HY_TRY(hy_query_open(m->dest, sql, &q));
    while (!(st = hy_query_step(q, &row)) && row) {
        const bool models = hy_query_int(q, OF_MODELS);
        hy_buf b = {0};
        st = differences(m, models, hy_query_int(q, FIRST), hy_query_int(q, SECOND), &b);
        const hy_merge_unequal u = {.what = hy_query_text(q, WHAT),
                                    .variant = hy_query_text(q, VARIANT),
                                    .task = hy_query_text(q, VARIANT + 1),
                                    .grid = hy_query_text(q, VARIANT + 2),
                                    .device_kind = hy_query_text(q, VARIANT + 3),
                                    .seed = hy_query_int(q, VARIANT + 4),
                                    .current = by(q, CURRENT),
                                    .other = by(q, OTHER),
                                    .differences = b.s};
        if (!st && (models || b.n)) tell(user, &u);
        free(b.s);
        if (st) break;
    }
    hy_query_close(q);
    return st;
}

hy_status hy_merge_compare(hy_merge *m, hy_merge_tell *tell, void *user) {
    HY_TRY(tell_pairs(m, models_sql, tell, user));
    return tell_pairs(m, facts_sql, tell, user);
}
