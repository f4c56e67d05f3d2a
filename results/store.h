// store.h - the results database: opening, creating, migrating, transactions, queries. What the tables mean: schema.h;
// writing and finding runs: record.h. Only store*.c know SQLite.
#ifndef HY_STORE_H
#define HY_STORE_H
#include "core/base/base.h"

typedef struct hy_store hy_store;
typedef struct hy_query hy_query;

typedef enum {
    HY_STORE_READ = 0,  // the file must exist; nothing is written, an older schema is refused with advice
    HY_STORE_WRITE,     // created if missing, migrated if older (after a copy to FILE.bak-vN)
} hy_store_mode;

// Opens path, which is the name of a plain file whatever it looks like ("file:x" too). HY_EINPUT: no name of a file,
// not there (READ), not a database, damaged (its log FILE-wal included), not one of hylab's, newer than this build, or
// changed by others so that something in it would run by itself. HY_EFAIL: no permission, disk full, held by another
// process for longer than the busy timeout.
//
// Databases are shared, so a file is nothing to trust: its schema is compared with the one that its version has;
// triggers and untrusted functions are off; what is opened for reading takes statements that read only, and
// hy_interrupted ends them (HY_EINTR). Reading needs no write access to the folder: a file without a log is then read
// as one that nobody changes. On a network file system, where the shared memory of a write-ahead log does not work, a
// rollback journal is used: hy_store_note says so. There one process may write at a time, and those that it starts:
// HY_EFAIL names the other one (lease.h).
hy_status hy_store_open(const char *path, hy_store_mode mode, hy_store **out);
void hy_store_close(hy_store *s);
const char *hy_store_path(const hy_store *s);
// The name alone, before work whose results are to go there: HY_EINPUT if a file cannot be called so or is a folder.
hy_status hy_store_name_check(const char *path);
// The name of the network file system that a file lies on or would lie on ("NFS"); NULL: on none.
const char *hy_store_network(const char *path);
// What the user should know of how it was opened; NULL: nothing.
const char *hy_store_note(const hy_store *s);
// Whether hy_interrupted ends a statement that takes long: HY_EINTR. It does on connections for reading and while a
// file is checked or migrated; those that store what was found should come to their end.
void hy_store_interruptible(hy_store *s, bool on);
// One step of a schema: an SQL text (any number of statements), or a function. Either runs inside a transaction.
typedef struct {
    const char *sql;
    hy_status (*run)(hy_store *s);
} hy_migration;
// What a file of one program holds: how it is told from others, how it came to be, and what is done after it was opened
// for writing.
typedef struct {
    uint32_t application_id;         // PRAGMA application_id
    const hy_migration *migrations;  // i brings a file from version i to i + 1; an empty one ends the list
    // The newest version as a whole, NULL-terminated: "CREATE ...;\n" after "CREATE ...;\n", each name once or the
    // first counts. What the migrations make must be the same. NULL: they are asked.
    const char *const *whole;
    hy_status (*opened)(hy_store *s);     // NULL: nothing
    long (*fs_type)(const char *folder);  // magic number of a folder's file system; NULL: statfs
} hy_store_schema;
// The same as hy_store_open for any schema; hy_store_open (schema.c) is this with the schema of results.
hy_status hy_store_open_as(const char *path, hy_store_mode mode, const hy_store_schema *schema, hy_store **out);
// The committed state of a results database of any version as one new file; what was called so is replaced. The
// database is looked at as by hy_store_open and stays as it is.
hy_status hy_store_copy(const char *path, const char *to);
hy_status hy_store_copy_as(const char *path, const char *to, const hy_store_schema *schema);
// Puts what the log of a database holds into the file, which then has none. HY_EFAIL: others have it open.
hy_status hy_store_end_log(hy_store *s);
hy_status hy_store_copy_open(const hy_store *s, const char *to);  // of one that is open, whatever signal has come
// What is read on a connection for reading is of one moment from here on, whatever others write.
hy_status hy_store_snapshot(hy_store *s);
// Reads every page of the file: HY_EINPUT with the first fault if it is damaged.
hy_status hy_store_check(hy_store *s);
int hy_store_version(const hy_store *s);  // schema version of the open file

// A write transaction; takes the write lock at once, so that what is read inside stays true until the end.
hy_status hy_store_begin(hy_store *s);
hy_status hy_store_commit(hy_store *s);  // on failure everything is rolled back
void hy_store_rollback(hy_store *s);     // nothing happens outside a transaction
hy_status hy_store_exec(hy_store *s, const char *sql);
int64_t hy_store_last_id(const hy_store *s);
int hy_store_changes(const hy_store *s);  // rows changed by the last statement

// ---- one statement: open, bind (1-based; text and blobs are copied), step until *row is false, close. A second
// statement behind a semicolon is an error.
hy_status hy_query_open(hy_store *s, const char *sql, hy_query **out);
void hy_query_close(hy_query *q);
hy_store *hy_query_store(const hy_query *q);
void hy_query_reset(hy_query *q);  // to bind and step again
// Binds all parameters of a statement in order, a letter of `types` each: i int (bool), l int64_t, d double, s text, b
// blob (two arguments: pointer, size_t).
void hy_query_bind(hy_query *q, const char *types, ...);
void hy_query_bind_text(hy_query *q, int i, const char *v);  // NULL: SQL NULL
void hy_query_bind_int(hy_query *q, int i, int64_t v);
void hy_query_bind_double(hy_query *q, int i, double v);  // NaN: SQL NULL
void hy_query_bind_blob(hy_query *q, int i, const void *v, size_t n);
void hy_query_bind_column(hy_query *q, int i, const hy_query *from, int col);  // a value as another statement gave it
hy_status hy_query_step(hy_query *q, bool *row);
// Runs a statement that returns no rows and resets it.
hy_status hy_query_run(hy_query *q);
// A whole statement that returns no rows: open, hy_query_bind, run, close.
hy_status hy_store_run(hy_store *s, const char *sql, const char *types, ...);
// Opens and binds a statement that returns rows.
hy_status hy_store_query(hy_store *s, hy_query **out, const char *sql, const char *types, ...);
int hy_query_columns(const hy_query *q);
const char *hy_query_name(const hy_query *q, int col);  // columns from 0
bool hy_query_null(const hy_query *q, int col);
bool hy_query_number(const hy_query *q, int col);  // stored as integer or real
bool hy_query_is_blob(const hy_query *q, int col);
const char *hy_query_text(const hy_query *q, int col);  // "" for NULL; valid until the next step
int64_t hy_query_int(const hy_query *q, int col);
int hy_query_small(const hy_query *q, int col);      // an int; what does not fit is INT_MAX or INT_MIN, no other number
double hy_query_double(const hy_query *q, int col);  // NaN for NULL
const void *hy_query_blob(const hy_query *q, int col, size_t *n);

const char *hy_store_library(void);  // "SQLite 3.40.1"
#endif
