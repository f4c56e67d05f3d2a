// store_impl.h - what the parts of the store share: store.c (statements), store_open.c (opening, migrating),
// store_guard.c (files that others made). The only header that knows SQLite. Internal.
#ifndef HY_STORE_IMPL_H
#define HY_STORE_IMPL_H
#include <sqlite3.h>

#include "results/lease.h"
#include "results/store.h"

#define HY_BUSY_MS 30000  // how long to wait for another writer; its transactions take milliseconds

struct hy_store {
    sqlite3 *db;
    char *path;  // as the user wrote it
    char *uri;   // the same for SQLite: a plain file whatever it is called
    hy_store_mode mode;
    int version;
    uint32_t application_id;
    int rc;               // SQLite's code of the newest failure
    bool any_version;     // an older one is read as it is
    const char *denied;   // what the authorizer refused last, NULL: nothing
    char *note;           // for the user: hy_store_note
    sqlite3_stmt **idle;  // statements to be used again: hy_store_keep_statements
    int n_idle;
    hy_lease *lease;  // of the only writer, where there may be one only; NULL: not needed, or another's that lets us
};
struct hy_query {
    sqlite3_stmt *st;
    hy_store *store;
    int rc;  // of the first binding that failed
};

// ---- store.c
void hy_store_drop_statements(hy_store *s);
hy_status hy_store_failure(sqlite3 *db, const char *path, int rc);
hy_status hy_store_fail(hy_store *s, int rc);  // the same for s, which remembers rc; names what was denied
// The first value of a statement; NULL or no row: 0.
hy_status hy_store_int(hy_store *s, const char *sql, int64_t *out);

// ---- store_guard.c
// Settings of a connection: what a file brings along does not run.
void hy_store_harden(sqlite3 *db);
hy_status hy_store_trust_views(hy_store *s);  // once they have been compared
// From now on only what reads can be prepared.
void hy_store_only_reads(hy_store *s);
// The tables, indices, views and triggers of a file: the rows of sqlite_schema.
typedef struct {
    char *type, *name, *table, *sql;  // sql: "" for an index that a constraint made
} hy_schema_row;
typedef struct {
    int n;
    hy_schema_row *v;
} hy_schema_rows;
hy_status hy_schema_rows_read(hy_store *s, hy_schema_rows *out);
void hy_schema_rows_free(hy_schema_rows *r);
// What a file of a version has: of the newest as schema->whole says, of others what the migrations make of an empty
// one.
hy_status hy_schema_expected(const hy_store_schema *schema, int version, hy_schema_rows *out);
// Compares rows of s with those of its version. HY_EINPUT: something is missing, changed, or could
// run by itself; names it. What a user has added is left alone as long as it can not: tables, views, plain indices.
hy_status hy_schema_compare(hy_store *s, const hy_schema_rows *rows, const hy_store_schema *schema);
int hy_schema_count(const hy_migration *m);  // migrations: the newest version

// ---- store_wal.c: the log beside a database, FILE-wal
// HY_EINPUT if it is damaged in what was committed, of which SQLite would drop all that follows without a word.
hy_status hy_wal_check(const char *path);
bool hy_wal_has_content(const char *path, const char *ending);  // "-wal", "-journal": the file is there and not empty
#endif
