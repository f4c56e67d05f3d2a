// query_impl.h - what query*.c share. Internal.
#ifndef HY_QUERY_IMPL_H
#define HY_QUERY_IMPL_H
#include "results/query.h"

// Models of any status, superseded ones too, with everything that is known of them. To a reader a model is a run.
#define HY_RUNS "(SELECT *, model_id AS run_id FROM v_model)"
// Figures and artifacts of any status, which no view shows: they are read from the tables here and nowhere else.
#define HY_FIGURES                                                                                                 \
    "(SELECT m.*, x.model_id AS run_id, x.measure, x.options, x.task AS measured_on, x.status, d.name AS metric, " \
    "d.version AS "                                                                                                \
    "metric_version, d.unit"                                                                                       \
    " FROM metric m JOIN measurement x ON x.id = m.measurement_id JOIN metric_def d ON d.id = m.def_id WHERE "     \
    "x.superseded_by IS NULL)"
#define HY_ARTIFACTS                                                                                         \
    "(SELECT a.*, x.model_id AS run_id FROM artifact a JOIN measurement x ON x.id = a.measurement_id WHERE " \
    "x.superseded_by IS NULL)"

// Columns of the row that a statement q stands at. A place is a layer or a head: -1 for NULL, which is none.
#define INT(i) hy_query_small(q, i)
#define LONG(i) hy_query_int(q, i)
#define NUM(i) hy_query_double(q, i)
#define TEXT(i) hy_query_text(q, i)
#define PLACE(i) (hy_query_null(q, i) ? -1 : INT(i))

// The condition on v_plan or v_result that they are of one experiment, bound by hy_query_of.
#define HY_OF_EXPERIMENT(t) t ".experiment = ?1 AND " t ".scale = ?2 AND " t ".sets = ?3"
// Opens a statement and binds ?1 name, ?2 scale, ?3 sets.
hy_status hy_query_of(hy_store *s, const hy_experiment_id *e, const char *sql, hy_query **q);
// Runs a question of at most one row: *row tells whether there is one. The caller reads it and closes q; on error q is
// closed.
hy_status hy_query_one(hy_query **q, bool *row);
#endif
