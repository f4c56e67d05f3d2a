// store.c - see store.h: errors, statements, transactions. It knows nothing of what the tables mean. Opening is
// store_open.c, what is done about files that others made store_guard.c.
#include "results/store.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "results/record_impl.h"
#include "results/store_impl.h"

// ---------------------------------------------------------------------------------------------------- errors
hy_status hy_store_failure(sqlite3 *db, const char *path, int rc) {
    const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
        case SQLITE_NOTADB: return hy_error(HY_EINPUT, "%s: is not an SQLite database", path);
        case SQLITE_CORRUPT:
            return hy_error(HY_EINPUT,
                            "%s: the database is damaged (%s); restore a copy, or rescue what is readable with: "
                            "sqlite3 %s .recover | sqlite3 rescued.db",
                            path, text, path);
        case SQLITE_CANTOPEN: return hy_error(HY_EINPUT, "%s: cannot open the database: %s", path, text);
        case SQLITE_READONLY:
        case SQLITE_PERM:
            return hy_error(HY_EINPUT,
                            "%s: cannot be written: opened for reading only, or no permission for the file or its "
                            "folder",
                            path);
        case SQLITE_FULL:
            return hy_error(HY_EFAIL, "%s: the disk is full: nothing of this step was stored; free space and run again",
                            path);
        case SQLITE_IOERR:
            return hy_error(HY_EFAIL,
                            "%s: reading or writing failed (%s; a full disk or a size limit?): nothing of this step "
                            "was stored",
                            path, text);
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return hy_error(HY_EFAIL, "%s: another process has held the database for more than %d s", path,
                            HY_BUSY_MS / 1000);
        case SQLITE_INTERRUPT: return hy_error(HY_EINTR, "%s: interrupted in a query", path);
        case SQLITE_NOMEM: return hy_error(HY_ENOMEM, "%s: out of memory in the database", path);
        default: return hy_error(HY_EFAIL, "%s: database error: %s", path, text);
    }
}

hy_status hy_store_fail(hy_store *s, int rc) {
    s->rc = rc;
    const char *denied = s->denied;
    s->denied = NULL;
    if (!denied) return hy_store_failure(s->db, s->path, rc);
    return hy_error(
        HY_EINPUT,
        "%s: not allowed here: %s. A statement on a database that is read may use SELECT and the PRAGMAs that "
        "only tell something",
        s->path, denied);
}

// ---------------------------------------------------------------------------------------------------- statements
hy_status hy_store_exec(hy_store *s, const char *sql) {
    s->denied = NULL;
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? HY_OK : hy_store_fail(s, rc);
}

hy_status hy_store_begin(hy_store *s) { return hy_store_exec(s, "BEGIN IMMEDIATE"); }

hy_status hy_store_commit(hy_store *s) {
    hy_status st = hy_store_exec(s, "COMMIT");
    if (st) hy_store_rollback(s);
    return st;
}

void hy_store_rollback(hy_store *s) {  // an error may have rolled back already
    if (s->db && !sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

int64_t hy_store_last_id(const hy_store *s) { return sqlite3_last_insert_rowid(s->db); }
int hy_store_changes(const hy_store *s) { return sqlite3_changes(s->db); }
int hy_store_version(const hy_store *s) { return s->version; }
const char *hy_store_path(const hy_store *s) { return s->path; }
const char *hy_store_note(const hy_store *s) { return s->note; }

const char *hy_store_library(void) { return "SQLite " SQLITE_VERSION; }

// What follows a statement may be blank or a comment, no second statement: that would never be run.
static hy_status check_tail(hy_store *s, const char *tail) {
    sqlite3_stmt *second = NULL;
    s->denied = NULL;
    const int rc = sqlite3_prepare_v2(s->db, tail, -1, &second, NULL);
    sqlite3_finalize(second);
    if (rc == SQLITE_OK && !second) return HY_OK;
    return hy_error(HY_EINPUT, "%s: one SQL statement at a time; a second one begins at: %.60s", s->path,
                    tail + strspn(tail, " \t\r\n;"));
}

enum { IDLE_MAX = 64 };

void hy_store_keep_statements(hy_store *s) {
    if (!s->idle) s->idle = hy_xcalloc(IDLE_MAX, sizeof *s->idle);
}

void hy_store_drop_statements(hy_store *s) {
    for (int i = 0; i < s->n_idle; i++) sqlite3_finalize(s->idle[i]);
    free(s->idle);
    s->idle = NULL, s->n_idle = 0;
}

static sqlite3_stmt *take_idle(hy_store *s, const char *sql) {
    for (int i = s->n_idle - 1; i >= 0; i--) {
        if (strcmp(sqlite3_sql(s->idle[i]), sql)) continue;
        sqlite3_stmt *st = s->idle[i];
        memmove(s->idle + i, s->idle + i + 1, (size_t)(--s->n_idle - i) * sizeof *s->idle);
        return st;
    }
    return NULL;
}

// The newest last; the oldest goes. Statements that change the schema or a setting are not worth it.
static void put_idle(hy_store *s, sqlite3_stmt *st) {
    if (!s->idle || !strchr("SIUD", *sqlite3_sql(st)) || !strncmp(sqlite3_sql(st), "DROP", 4)) {
        sqlite3_finalize(st);
        return;
    }
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    if (s->n_idle == IDLE_MAX) {
        sqlite3_finalize(s->idle[0]);
        memmove(s->idle, s->idle + 1, (size_t)--s->n_idle * sizeof *s->idle);
    }
    s->idle[s->n_idle++] = st;
}

static hy_status compile(hy_store *s, const char *sql, sqlite3_stmt **st) {
    const char *tail = NULL;
    s->denied = NULL;
    if ((*st = take_idle(s, sql))) return HY_OK;
    const int rc = sqlite3_prepare_v2(s->db, sql, -1, st, &tail);
    if (rc != SQLITE_OK) return hy_store_fail(s, rc);
    if (!*st) return hy_error(HY_EINPUT, "%s: empty SQL statement", s->path);
    const hy_status status = *tail ? check_tail(s, tail) : HY_OK;
    if (status) sqlite3_finalize(*st);
    return status;
}

hy_status hy_query_open(hy_store *s, const char *sql, hy_query **out) {
    *out = NULL;
    sqlite3_stmt *st = NULL;
    HY_TRY(compile(s, sql, &st));
    *out = hy_xcalloc(1, sizeof **out);
    **out = (hy_query){.st = st, .store = s};
    return HY_OK;
}

void hy_query_close(hy_query *q) {
    if (!q) return;
    put_idle(q->store, q->st);
    free(q);
}

hy_store *hy_query_store(const hy_query *q) { return q->store; }

void hy_query_reset(hy_query *q) {
    sqlite3_reset(q->st);
    sqlite3_clear_bindings(q->st);
    q->rc = SQLITE_OK;
}

// A bind fails for an index that the statement lacks (a bug), for want of memory or for a value too large: the next
// step says so.
static void bound(hy_query *q, int rc) {
    HY_ASSERT(rc != SQLITE_RANGE && rc != SQLITE_MISUSE);
    if (!q->rc) q->rc = rc;
}
void hy_query_bind_text(hy_query *q, int i, const char *v) {
    bound(q, v ? sqlite3_bind_text(q->st, i, v, -1, SQLITE_TRANSIENT) : sqlite3_bind_null(q->st, i));
}
void hy_query_bind_int(hy_query *q, int i, int64_t v) { bound(q, sqlite3_bind_int64(q->st, i, v)); }
void hy_query_bind_double(hy_query *q, int i, double v) {
    bound(q, isnan(v) ? sqlite3_bind_null(q->st, i) : sqlite3_bind_double(q->st, i, v));
}
void hy_query_bind_blob(hy_query *q, int i, const void *v, size_t n) {
    bound(q, n ? sqlite3_bind_blob64(q->st, i, v, n, SQLITE_TRANSIENT) : sqlite3_bind_zeroblob(q->st, i, 0));
}

void hy_query_bind_column(hy_query *q, int i, const hy_query *from, int col) {
    bound(q, sqlite3_bind_value(q->st, i, sqlite3_column_value(from->st, col)));
}

static void bind_all(hy_query *q, const char *types, va_list ap) {
    HY_ASSERT((int)strlen(types) == sqlite3_bind_parameter_count(q->st));
    for (int i = 1; *types; types++, i++) switch (*types) {
            case 'i': hy_query_bind_int(q, i, va_arg(ap, int)); break;
            case 'l': hy_query_bind_int(q, i, va_arg(ap, int64_t)); break;
            case 'd': hy_query_bind_double(q, i, va_arg(ap, double)); break;
            case 's': hy_query_bind_text(q, i, va_arg(ap, const char *)); break;
            case 'b': {
                const void *v = va_arg(ap, const void *);
                hy_query_bind_blob(q, i, v, va_arg(ap, size_t));
                break;
            }
            default: HY_ASSERT(!"a letter of i l d s b");
        }
}

void hy_query_bind(hy_query *q, const char *types, ...) {
    va_list ap;
    va_start(ap, types);
    bind_all(q, types, ap);
    va_end(ap);
}

hy_status hy_query_step(hy_query *q, bool *row) {
    const int rc = q->rc ? q->rc : sqlite3_step(q->st);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? HY_OK : hy_store_fail(q->store, rc);
}

hy_status hy_query_run(hy_query *q) {
    bool row;
    hy_lease_touch(q->store->lease);
    hy_status st = hy_query_step(q, &row);
    hy_query_reset(q);
    return st;
}

hy_status hy_store_run(hy_store *s, const char *sql, const char *types, ...) {
    hy_query *q;
    HY_TRY(hy_query_open(s, sql, &q));
    va_list ap;
    va_start(ap, types);
    bind_all(q, types, ap);
    va_end(ap);
    const hy_status st = hy_query_run(q);
    hy_query_close(q);
    return st;
}

hy_status hy_store_query(hy_store *s, hy_query **out, const char *sql, const char *types, ...) {
    HY_TRY(hy_query_open(s, sql, out));
    va_list ap;
    va_start(ap, types);
    bind_all(*out, types, ap);
    va_end(ap);
    return HY_OK;
}

int hy_query_columns(const hy_query *q) { return sqlite3_column_count(q->st); }
const char *hy_query_name(const hy_query *q, int col) { return sqlite3_column_name(q->st, col); }
bool hy_query_null(const hy_query *q, int col) { return sqlite3_column_type(q->st, col) == SQLITE_NULL; }
bool hy_query_number(const hy_query *q, int col) {
    int t = sqlite3_column_type(q->st, col);
    return t == SQLITE_INTEGER || t == SQLITE_FLOAT;
}
bool hy_query_is_blob(const hy_query *q, int col) { return sqlite3_column_type(q->st, col) == SQLITE_BLOB; }
// NULL where the value is none: memory ran out while it was converted. An empty text would be a wrong value.
const char *hy_query_text(const hy_query *q, int col) {
    const bool null = hy_query_null(q, col);
    const char *t = (const char *)sqlite3_column_text(q->st, col);
    if (!t && !null) hy_no_memory();
    return t ? t : "";
}
int64_t hy_query_int(const hy_query *q, int col) { return sqlite3_column_int64(q->st, col); }
int hy_query_small(const hy_query *q, int col) {
    const int64_t v = sqlite3_column_int64(q->st, col);
    return v > INT_MAX ? INT_MAX : v < INT_MIN ? INT_MIN : (int)v;
}
double hy_query_double(const hy_query *q, int col) {
    return hy_query_null(q, col) ? NAN : sqlite3_column_double(q->st, col);
}
const void *hy_query_blob(const hy_query *q, int col, size_t *n) {
    const void *p = sqlite3_column_blob(q->st, col);
    *n = (size_t)sqlite3_column_bytes(q->st, col);
    return p;
}

hy_status hy_store_int(hy_store *s, const char *sql, int64_t *out) {
    hy_query *q;
    HY_TRY(hy_query_open(s, sql, &q));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st) *out = row ? hy_query_int(q, 0) : 0;
    hy_query_close(q);
    return st;
}

static int stop_query(void *user) {
    (void)user;
    return hy_interrupted != 0;
}

void hy_store_interruptible(hy_store *s, bool on) {
    sqlite3_progress_handler(s->db, on ? 100000 : 0, on ? stop_query : NULL, NULL);
}

hy_status hy_store_check(hy_store *s) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "PRAGMA integrity_check(1)", &q));
    bool row = false;
    hy_store_interruptible(s, true);
    hy_status st = hy_query_step(q, &row);
    hy_store_interruptible(s, s->mode == HY_STORE_READ);
    if (!st && row && strcmp(hy_query_text(q, 0), "ok"))
        st = hy_error(HY_EINPUT,
                      "%s: the database is damaged (%s); restore a copy, or rescue what is readable with: "
                      "sqlite3 %s .recover | sqlite3 rescued.db",
                      s->path, hy_query_text(q, 0), s->path);
    hy_query_close(q);
    return st;
}
