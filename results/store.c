// store.c - see store.h. The only user of SQLite. It knows files, versions and statements, not what the tables mean.
#include "results/store.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUSY_MS 30000  // how long to wait for another writer; its transactions take milliseconds

struct hy_store {
    sqlite3 *db;
    char *path;
    hy_store_mode mode;
    int version;
    uint32_t application_id;
};
struct hy_query {
    sqlite3_stmt *st;
    hy_store *store;
};

// ---------------------------------------------------------------------------------------------------- errors
static hy_status failure(sqlite3 *db, const char *path, int rc) {
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
                            "%s: cannot be written: opened for reading only (show sql takes SELECT), or no permission "
                            "for the file or its folder",
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
                            BUSY_MS / 1000);
        case SQLITE_INTERRUPT: return hy_error(HY_EINTR, "%s: interrupted in a query", path);
        case SQLITE_NOMEM: return hy_error(HY_ENOMEM, "%s: out of memory in the database", path);
        default: return hy_error(HY_EFAIL, "%s: database error: %s", path, text);
    }
}

static hy_status fail(hy_store *s, int rc) { return failure(s->db, s->path, rc); }

// ---------------------------------------------------------------------------------------------------- statements
hy_status hy_store_exec(hy_store *s, const char *sql) {
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? HY_OK : fail(s, rc);
}

hy_status hy_store_begin(hy_store *s) { return hy_store_exec(s, "BEGIN IMMEDIATE"); }

hy_status hy_store_commit(hy_store *s) {
    hy_status st = hy_store_exec(s, "COMMIT");
    if (st) hy_store_rollback(s);
    return st;
}

void hy_store_rollback(hy_store *s) {  // an error may have rolled back already
    if (!sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

int64_t hy_store_last_id(const hy_store *s) { return sqlite3_last_insert_rowid(s->db); }
int hy_store_changes(const hy_store *s) { return sqlite3_changes(s->db); }
int hy_store_version(const hy_store *s) { return s->version; }
const char *hy_store_path(const hy_store *s) { return s->path; }

const char *hy_store_library(void) { return "SQLite " SQLITE_VERSION; }

// What follows a statement may be blank or a comment, no second statement: that would never be run.
static hy_status check_tail(hy_store *s, const char *tail) {
    sqlite3_stmt *second = NULL;
    const int rc = sqlite3_prepare_v2(s->db, tail, -1, &second, NULL);
    sqlite3_finalize(second);
    if (rc == SQLITE_OK && !second) return HY_OK;
    return hy_error(HY_EINPUT, "%s: one SQL statement at a time; a second one begins at: %.60s", s->path,
                    tail + strspn(tail, " \t\r\n;"));
}

hy_status hy_query_open(hy_store *s, const char *sql, hy_query **out) {
    *out = NULL;
    sqlite3_stmt *st = NULL;
    const char *tail = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, &tail);
    if (rc != SQLITE_OK) return fail(s, rc);
    if (!st) return hy_error(HY_EINPUT, "%s: empty SQL statement", s->path);
    if (*tail) {
        const hy_status status = check_tail(s, tail);
        if (status) sqlite3_finalize(st);
        if (status) return status;
    }
    *out = hy_xcalloc(1, sizeof **out);
    **out = (hy_query){.st = st, .store = s};
    return HY_OK;
}

void hy_query_close(hy_query *q) {
    if (!q) return;
    sqlite3_finalize(q->st);
    free(q);
}

void hy_query_reset(hy_query *q) {
    sqlite3_reset(q->st);
    sqlite3_clear_bindings(q->st);
}

// A bind fails only for an index that the statement lacks (a bug) or for want of memory.
static void bound(int rc) { HY_ASSERT(rc == SQLITE_OK); }
void hy_query_bind_text(hy_query *q, int i, const char *v) {
    bound(v ? sqlite3_bind_text(q->st, i, v, -1, SQLITE_TRANSIENT) : sqlite3_bind_null(q->st, i));
}
void hy_query_bind_int(hy_query *q, int i, int64_t v) { bound(sqlite3_bind_int64(q->st, i, v)); }
void hy_query_bind_double(hy_query *q, int i, double v) {
    bound(isnan(v) ? sqlite3_bind_null(q->st, i) : sqlite3_bind_double(q->st, i, v));
}
void hy_query_bind_blob(hy_query *q, int i, const void *v, size_t n) {
    bound(n ? sqlite3_bind_blob64(q->st, i, v, n, SQLITE_TRANSIENT) : sqlite3_bind_zeroblob(q->st, i, 0));
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
    int rc = sqlite3_step(q->st);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? HY_OK : fail(q->store, rc);
}

hy_status hy_query_run(hy_query *q) {
    bool row;
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
const char *hy_query_text(const hy_query *q, int col) {
    const char *t = (const char *)sqlite3_column_text(q->st, col);
    return t ? t : "";
}
int64_t hy_query_int(const hy_query *q, int col) { return sqlite3_column_int64(q->st, col); }
double hy_query_double(const hy_query *q, int col) {
    return hy_query_null(q, col) ? NAN : sqlite3_column_double(q->st, col);
}
const void *hy_query_blob(const hy_query *q, int col, size_t *n) {
    const void *p = sqlite3_column_blob(q->st, col);
    *n = (size_t)sqlite3_column_bytes(q->st, col);
    return p;
}

static hy_status one_int(hy_store *s, const char *sql, int64_t *out) {
    hy_query *q;
    HY_TRY(hy_query_open(s, sql, &q));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st) *out = row ? hy_query_int(q, 0) : 0;
    hy_query_close(q);
    return st;
}

hy_status hy_store_check(hy_store *s) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "PRAGMA integrity_check(1)", &q));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st && row && strcmp(hy_query_text(q, 0), "ok"))
        st = hy_error(HY_EINPUT,
                      "%s: the database is damaged (%s); restore a copy, or rescue what is readable with: "
                      "sqlite3 %s .recover | sqlite3 rescued.db",
                      s->path, hy_query_text(q, 0), s->path);
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- migrations
static int count_migrations(const hy_migration *m) {
    int n = 0;
    while (m[n].sql || m[n].run) n++;
    return n;
}

// The three numbers of one moment: another process may be making the schema right now. A savepoint serves inside a
// transaction as well as outside.
static hy_status read_identity(hy_store *s, int64_t *app, int64_t *version, int64_t *objects) {
    HY_TRY(hy_store_exec(s, "SAVEPOINT look"));
    hy_status st = one_int(s, "SELECT count(*) FROM sqlite_schema", objects);
    if (!st) st = one_int(s, "PRAGMA application_id", app);
    if (!st) st = one_int(s, "PRAGMA user_version", version);
    if (!st) return hy_store_exec(s, "RELEASE look");
    char *why = hy_xstrdup(hy_error_text());
    hy_store_exec(s, "RELEASE look");
    hy_error(st, "%s", why);
    free(why);
    return st;
}

// Reads the version; refuses files that are not ours. *empty: a new file without any table.
static hy_status look(hy_store *s, int newest, bool *empty) {
    int64_t app = 0, version = 0, objects = 0;
    HY_TRY(read_identity(s, &app, &version, &objects));
    *empty = objects == 0 && app == 0 && version == 0;
    s->version = (int)version;
    if (*empty) return HY_OK;
    if (app != (int64_t)s->application_id)
        return hy_error(HY_EINPUT,
                        "%s: is an SQLite database, but not one of hylab's (application_id 0x%08llx, expected "
                        "0x%08x); nothing was changed",
                        s->path, (unsigned long long)(app & 0xffffffff), s->application_id);
    if (version > newest)
        return hy_error(HY_EINPUT,
                        "%s: has schema version %lld, this hylab knows versions up to %d; use the newer hylab that "
                        "wrote it (nothing was changed)",
                        s->path, (long long)version, newest);
    if (version < 1)
        return hy_error(HY_EINPUT, "%s: has schema version %lld, which no hylab wrote", s->path, (long long)version);
    return HY_OK;
}

// Copies the committed state to FILE.bak-vN through a second connection (the first holds the write lock, so the copy is
// exactly what will be migrated). A copy left by an earlier failed migration from the same version is replaced.
static hy_status back_up(hy_store *s) {
    char *to = hy_asprintf("%s.bak-v%d", s->path, s->version), *tmp = hy_asprintf("%s.tmp", to);
    unlink(tmp);
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(s->path, &db, SQLITE_OPEN_READWRITE, NULL);
    sqlite3_stmt *st = NULL;
    if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_bind_text(st, 1, tmp, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    hy_status status = HY_OK;
    if (rc != SQLITE_DONE) {
        status = failure(db, s->path, rc);
        hy_error_context(status, "copying the database to %s before its migration", to);
    } else if (rename(tmp, to)) {
        status = hy_error(HY_EFAIL, "%s: cannot rename to %s: %s", tmp, to, strerror(errno));
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    if (status) unlink(tmp);
    free(to);
    free(tmp);
    return status;
}

static hy_status apply(hy_store *s, const hy_migration *m, int newest) {
    for (int v = s->version; v < newest; v++) {
        hy_status st = m[v].sql ? hy_store_exec(s, m[v].sql) : m[v].run(s);
        if (st) return hy_error_context(st, "migrating from version %d to %d (nothing was changed)", v, v + 1);
    }
    char pragma[96];
    snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d; PRAGMA user_version = %d", (int)s->application_id,
             newest);
    return hy_store_exec(s, pragma);
}

// Brings the file to the newest version. The lock comes first, then the version is read again: of two processes that
// open an old file at once, one migrates and the other finds it done.
static hy_status migrate(hy_store *s, const hy_migration *m, int newest) {
    bool empty = false;
    hy_status st = look(s, newest, &empty);
    if (st || (!empty && s->version == newest)) return st;
    if (!empty) HY_TRY(hy_store_exec(s, "PRAGMA cache_size = -200000"));  // 200 MB: a whole database is moved
    HY_TRY(hy_store_begin(s));
    st = look(s, newest, &empty);
    if (!st && !empty && s->version < newest) st = back_up(s);
    if (!st && s->version < newest) st = apply(s, m, newest);
    if (!st) st = hy_store_commit(s);
    if (st) {
        hy_store_rollback(s);
        return st;
    }
    s->version = newest;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- opening
static hy_status use_wal(hy_store *s) {
    for (int i = 0;; i++) {  // the switch to WAL does not wait for other processes by itself
        hy_status st = hy_store_exec(s, "PRAGMA journal_mode = WAL");
        if (!st || sqlite3_errcode(s->db) != SQLITE_BUSY || i == BUSY_MS / 50) return st;
        usleep(50000);
    }
}

static int stop_query(void *user) {
    (void)user;
    return hy_interrupted != 0;
}

void hy_store_interruptible(hy_store *s) { sqlite3_progress_handler(s->db, 100000, stop_query, NULL); }

static hy_status prepare(hy_store *s, const hy_store_schema *schema) {
    const hy_migration *m = schema->migrations;
    int newest = count_migrations(m);
    s->application_id = schema->application_id;
    if (s->mode == HY_STORE_READ) {
        bool empty = false;
        HY_TRY(look(s, newest, &empty));
        if (empty) return hy_error(HY_EINPUT, "%s: an empty database: no run was stored in it yet", s->path);
        if (s->version < newest)
            return hy_error(HY_EINPUT,
                            "%s: has schema version %d, this hylab reads version %d; `hylab doctor --db %s "
                            "--migrate` brings it up to date and keeps a copy",
                            s->path, s->version, newest, s->path);
        return HY_OK;
    }
    bool empty = false;
    HY_TRY(look(s, newest, &empty));  // refuse before anything (also the journal mode) is changed
    HY_TRY(use_wal(s));
    HY_TRY(hy_store_exec(s, "PRAGMA foreign_keys = ON"));
    HY_TRY(migrate(s, m, newest));
    return schema->opened ? schema->opened(s) : HY_OK;
}

hy_status hy_store_open_as(const char *path, hy_store_mode mode, const hy_store_schema *schema, hy_store **out) {
    *out = NULL;
    if (mode == HY_STORE_READ && !hy_file_exists(path))
        return hy_error(HY_EINPUT, "%s: no such database; `hylab run EXPERIMENT.yaml --db %s` makes one", path, path);
    hy_store *s = hy_xcalloc(1, sizeof *s);
    s->path = hy_xstrdup(path);
    s->mode = mode;
    int flags = mode == HY_STORE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    // a name is a file's: SQLite has its own meaning for "", ":memory:" and "file:..."
    char *name = path[0] == '/' ? hy_xstrdup(path) : hy_asprintf("./%s", path);
    int rc = *path ? sqlite3_open_v2(name, &s->db, flags, NULL) : SQLITE_CANTOPEN;
    free(name);
    hy_status st = rc == SQLITE_OK ? HY_OK : fail(s, rc);
    if (!st) {
        sqlite3_extended_result_codes(s->db, 0);
        sqlite3_busy_timeout(s->db, BUSY_MS);
        st = prepare(s, schema);
    }
    if (st) {
        hy_store_close(s);
        return st;
    }
    *out = s;
    return HY_OK;
}

void hy_store_close(hy_store *s) {
    if (!s) return;
    hy_store_rollback(s);
    sqlite3_close(s->db);
    free(s->path);
    free(s);
}
