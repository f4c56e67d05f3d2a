// schema.h - what is in the results database. The tables and views are described in schema_v4.c and
// schema_v5.c beside their SQL.
#ifndef HY_SCHEMA_H
#define HY_SCHEMA_H
#include "results/metrics.h"
#include "results/store.h"

#define HY_APPLICATION_ID 0x48594C42  // "HYLB": PRAGMA application_id of every results database

// Migration i brings a database from version i to i + 1; an empty one ends the list. A published migration never
// changes.
extern const hy_migration hy_schema_migrations[];
int hy_schema_newest(void);  // how many there are: the version that this build reads

// Puts the definitions that the file lacks into metric_def; called when a database is opened for writing.
hy_status hy_schema_define(hy_store *s);

// Whether all that is stored is sound: the pages of the file (hy_store_check), then the checksums of every measurement
// and array. HY_EINPUT names the first that is not, and how many more there are.
hy_status hy_results_check(hy_store *s);
#endif
