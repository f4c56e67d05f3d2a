// run_plan.h - what `hylab run` is going to do: a table of the runs, and the plan as the database keeps it.
#ifndef HY_RUN_PLAN_H
#define HY_RUN_PLAN_H
#include "core/format/table.h"
#include "experiments/runner/sweep.h"

// What hy_sweep_look found, run by run: what is trained, what is measured, about how long the training takes. note: one
// more line under the table, NULL: none.
hy_status hy_run_plan_print(const hy_sweep *s, const char *note, hy_table_format format);
// shard_of: the shard of each item, of which the rows of `shard` are stored; NULL: all.
hy_status hy_run_plan_store(hy_store *store, const hy_experiment *e, const char *device, const int *shard_of,
                            int shard);
#endif
