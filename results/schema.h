// schema.h - what is in the results database. The tables and views are described in schema_v4.c beside their SQL.
#ifndef HY_SCHEMA_H
#define HY_SCHEMA_H
#include "results/store.h"

#define HY_APPLICATION_ID 0x48594C42  // "HYLB": PRAGMA application_id of every results database

// Migration i brings a database from version i to i + 1; an empty one ends the list. A published migration never changes.
extern const hy_migration hy_schema_migrations[];
int hy_schema_newest(void);  // how many there are: the version that this build reads

// What a figure means. A changed meaning is a new version (results/metrics.def), never an overwrite.
typedef struct {
    const char *name;
    int version;
    const char *unit, *direction, *meaning;
} hy_metric_def;
extern const hy_metric_def hy_metric_defs[];  // name NULL at the end
const hy_metric_def *hy_metric_find(const char *name);  // NULL if there is none
// Puts the definitions that the file lacks into metric_def; called when a database is opened for writing.
hy_status hy_schema_define(hy_store *s);
#endif
