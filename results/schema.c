// schema.c - the list of migrations, the definitions of the figures, and opening. What the tables and views are:
// schema_v4.c, and what changed since: schema_v5.c.
#include "results/schema.h"

#include "results/schema_impl.h"

const hy_migration hy_schema_migrations[] = {{hy_schema_v1, NULL},         {hy_schema_v2, NULL},
                                             {hy_schema_v3, NULL},         {NULL, hy_schema_migrate_v4},
                                             {NULL, hy_schema_migrate_v5}, {NULL, NULL}};

// The newest version as a whole. Of a table or view that stands in several, the first counts.
static const char *const whole[] = {hy_schema_v5, hy_schema_v4_tables, hy_schema_v4_views, NULL};

int hy_schema_newest(void) { return (int)(sizeof hy_schema_migrations / sizeof hy_schema_migrations[0]) - 1; }

hy_status hy_schema_define(hy_store *s) {
    hy_query *q;
    HY_TRY(hy_query_open(
        s,
        "INSERT INTO metric_def(name, version, unit, direction, meaning) SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS"
        " (SELECT 1 FROM metric_def WHERE name = ?1 AND version = ?2)",
        &q));
    hy_status st = HY_OK;
    for (const hy_metric_def *d = hy_metric_defs; !st && d->name; d++) {
        hy_query_bind(q, "sisss", d->name, d->version, d->unit, d->direction, d->meaning);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    return st;
}

static const hy_store_schema schema = {.application_id = HY_APPLICATION_ID,
                                       .migrations = hy_schema_migrations,
                                       .whole = whole,
                                       .opened = hy_schema_define};

hy_status hy_store_open(const char *path, hy_store_mode mode, hy_store **out) {
    return hy_store_open_as(path, mode, &schema, out);
}

hy_status hy_store_copy(const char *path, const char *to) { return hy_store_copy_as(path, to, &schema); }
