// schema_impl.h - the steps that hy_schema_migrations lists. Internal.
#ifndef HY_SCHEMA_IMPL_H
#define HY_SCHEMA_IMPL_H
#include "results/store.h"

extern const char hy_schema_v1[], hy_schema_v2[], hy_schema_v3[];  // schema_old.c
extern const char hy_schema_v4_tables[], hy_schema_v4_views[];     // schema_v4.c
hy_status hy_schema_migrate_v4(hy_store *s);                       // migrate_v4.c
extern const char hy_schema_v5[];  // what is another one than in v4, or of versions before: schema_v5.c
hy_status hy_schema_migrate_v5(hy_store *s);
#endif
