// query_impl.h - what query*.c share. Internal.
#ifndef HY_QUERY_IMPL_H
#define HY_QUERY_IMPL_H
#include "results/query.h"
#include "results/record.h"

// Runs of any status with everything that is known of them: what v_run lacks is read from the table here and nowhere else.
#define HY_RUNS "(SELECT *, id AS run_id, " HY_SQL_PRECISION("train") " AS precision FROM run)"
// Figures and artifacts of runs of any status.
#define HY_FIGURES "(SELECT m.*, d.name AS metric, d.version AS metric_version, d.unit FROM metric m JOIN metric_def d ON d.id = m.def_id)"
#define HY_ARTIFACTS "artifact"

// The layer and kind in a name such as "layer3.kv", "layer3" or "kv": -1 and "" for what it has not.
void hy_query_place(const char *name, int *layer, const char **kind);

// The condition on v_plan or v_result that they are of one experiment, bound by hy_query_of.
#define HY_OF_EXPERIMENT(t) t ".experiment = ?1 AND " t ".scale = ?2 AND " t ".sets = ?3"
// Opens a statement and binds ?1 name, ?2 scale, ?3 sets.
hy_status hy_query_of(hy_store *s, const hy_experiment_id *e, const char *sql, hy_query **q);
// Runs a question of at most one row: *row tells whether there is one. The caller reads it and closes q; on error q is closed.
hy_status hy_query_one(hy_query **q, bool *row);
#endif
