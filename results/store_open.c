// store_open.c - see store.h: finding, opening and migrating the file of a database.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "results/store_impl.h"

// ---------------------------------------------------------------------------------------------------- the file
hy_status hy_store_name_check(const char *path) {
    struct stat st;
    if (!*path)
        return hy_error(HY_EINPUT, "the database has an empty name (an unset variable?): give the name of a file");
    if (!strcmp(path, ":memory:"))
        return hy_error(HY_EINPUT, ":memory: would keep nothing: give the name of a file for the database");
    if (path[strlen(path) - 1] == '/' || (!stat(path, &st) && S_ISDIR(st.st_mode)))
        return hy_error(HY_EINPUT, "%s: is a folder; give the name of a file in it for the database", path);
    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return hy_error(HY_EINPUT, "%s: is no plain file, so it cannot hold a database", path);
    return HY_OK;
}

// SQLite takes a file of some bytes that is no database for a new one, and writes over it.
static hy_status check_header(const char *path) {
    char h[512] = "";
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(h, 1, sizeof h, f) : 0;
    if (f) fclose(f);
    if (!n) return HY_OK;
    if (n < 16 || memcmp(h, "SQLite format 3", 16)) return hy_error(HY_EINPUT, "%s: is not an SQLite database", path);
    if (n == sizeof h) return HY_OK;
    return hy_error(HY_EINPUT, "%s: the database is damaged: only %zu bytes of it are there; restore a copy", path, n);
}

// The file called `path`, whatever that looks like to SQLite, with options ("?immutable=1" or "").
static char *file_uri(const char *path, const char *options) {
    hy_buf b = {0};
    hy_buf_printf(&b, "file:%s", *path == '/' ? "//" : "");
    for (const char *c = path; *c; c++)
        if (strchr("%?#", *c))
            hy_buf_printf(&b, "%%%02X", (unsigned)*c);
        else
            hy_buf_write(&b, c, 1);
    hy_buf_printf(&b, "%s", options);
    return b.s;
}

// ---------------------------------------------------------------------------------------------------- file systems
static long fs_type(const char *folder) {
    struct statfs f;
    return statfs(folder, &f) ? 0 : (long)f.f_type;
}

// The name of a file system that several machines may have mounted, or that lies behind another program; NULL: neither.
static const char *network_name(long type) {
    static const struct {
        uint32_t magic;
        const char *name;
    } list[] = {{0x6969, "NFS"},
                {0x517B, "SMB"},
                {0xFF534D42, "CIFS"},
                {0xFE534D42, "SMB"},
                {0x0BD00BD0, "Lustre"},
                {0x47504653, "GPFS"},
                {0x65735546, "FUSE"},
                {0x5346414F, "AFS"},
                {0x6B414653, "AFS"},
                {0x73757245, "Coda"},
                {0x00C36400, "Ceph"},
                {0x01021997, "9P"},
                {0x19830326, "BeeGFS"},
                {0x7461636F, "OCFS2"},
                {0x01161970, "GFS2"},
                {0xAAD7AAEA, "PanFS"},
                {0x786F4256, "VirtualBox"},
                {0x20030528, "OrangeFS"},
                {0x564C, "NCP"},
                {0x013111A8, "IBRIX"}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if ((uint32_t)type == list[i].magic) return list[i].name;
    return NULL;
}

// Of the folder that path lies in: what counts is where the log and its shared memory would be.
static const char *network_of(const char *path, const hy_store_schema *schema) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? hy_asprintf("%.*s", slash == path ? 1 : (int)(slash - path), path) : hy_xstrdup(".");
    const char *name = network_name((schema->fs_type ? schema->fs_type : fs_type)(folder));
    free(folder);
    return name;
}

const char *hy_store_network(const char *path) {
    char *folder = hy_xstrdup(path), *slash;
    struct stat st;
    while ((slash = strrchr(folder, '/')) && slash != folder) {  // the nearest one that is there
        *slash = 0;
        if (!stat(folder, &st)) break;
    }
    const char *name = network_name(fs_type(slash ? slash == folder ? "/" : folder : "."));
    free(folder);
    return name;
}

// Where locks are not to be relied on one process writes; elsewhere nobody may be at work on a copy of the file.
static hy_status only_writer(hy_store *s, const char *network) {
    return network ? hy_lease_take(s->path, false, &s->lease) : hy_lease_check(s->path);
}

// ---------------------------------------------------------------------------------------------------- migrations
// Schema and numbers of one moment: another process may be making the schema right now. A savepoint serves inside a
// transaction as well as outside.
static hy_status read_identity(hy_store *s, int64_t *app, int64_t *version, hy_schema_rows *rows) {
    HY_TRY(hy_store_exec(s, "SAVEPOINT look"));
    hy_status st = hy_schema_rows_read(s, rows);
    if (!st) st = hy_store_int(s, "PRAGMA application_id", app);
    if (!st) st = hy_store_int(s, "PRAGMA user_version", version);
    if (!st) return hy_store_exec(s, "RELEASE look");
    char *why = hy_xstrdup(hy_error_text());
    hy_store_exec(s, "RELEASE look");
    hy_error(st, "%s", why);
    free(why);
    return st;
}

static hy_status judge(hy_store *s, int64_t app, int64_t version, int newest) {
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
    s->version = (int)version;
    return HY_OK;
}

// Reads the version; refuses files that are not ours or were changed. *empty: a new file without any table.
static hy_status look(hy_store *s, const hy_store_schema *schema, bool *empty) {
    int64_t app = 0, version = 0;
    hy_schema_rows rows = {0};
    s->rc = SQLITE_OK;
    hy_status st = read_identity(s, &app, &version, &rows);
    *empty = !st && rows.n == 0 && app == 0 && version == 0;
    if (*empty) s->version = 0;
    if (!st && !*empty) st = judge(s, app, version, hy_schema_count(schema->migrations));
    if (!st && !*empty) st = hy_schema_compare(s, &rows, schema);
    if (!st) st = hy_store_trust_views(s);
    hy_schema_rows_free(&rows);
    return st;
}

// Copies the committed state to a file of its own through a second connection.
static hy_status copy_to(const hy_store *s, const char *to) {
    char *tmp = hy_asprintf("%s.tmp", to), *uri = file_uri(tmp, "");
    const int how = s->mode == HY_STORE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    unlink(tmp);
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(s->uri, &db, how | SQLITE_OPEN_URI, NULL);
    if (rc == SQLITE_OK) hy_store_harden(db);
    sqlite3_stmt *st = NULL;
    if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_bind_text(st, 1, uri, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    hy_status status = HY_OK;
    if (rc != SQLITE_DONE)
        status = hy_store_failure(db, s->path, rc);
    else if (rename(tmp, to))
        status = hy_error(HY_EFAIL, "%s: cannot rename to %s: %s", tmp, to, strerror(errno));
    sqlite3_finalize(st);
    sqlite3_close(db);
    if (status) unlink(tmp);
    free(tmp), free(uri);
    return status;
}

// To FILE.bak-vN: this connection holds the write lock, so the copy is exactly what will be migrated. A copy left by an
// earlier failed migration from the same version is replaced.
static hy_status back_up(hy_store *s) {
    char *to = hy_asprintf("%s.bak-v%d", s->path, s->version);
    const hy_status st = copy_to(s, to);
    if (st) hy_error_context(st, "copying the database to %s before its migration", to);
    free(to);
    return st;
}

// A new file gets the newest version at once.
static hy_status create(hy_store *s, const hy_store_schema *schema, int newest) {
    hy_schema_rows rows;
    HY_TRY(hy_schema_expected(schema, newest, &rows));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < rows.n; i++) st = hy_store_exec(s, rows.v[i].sql);
    hy_schema_rows_free(&rows);
    return st;
}

static hy_status apply(hy_store *s, const hy_store_schema *schema, int newest) {
    const hy_migration *m = schema->migrations;
    const bool whole = s->version == 0 && schema->whole;
    if (whole) HY_TRY(create(s, schema, newest));
    for (int v = s->version; !whole && v < newest; v++) {
        hy_status st = m[v].sql ? hy_store_exec(s, m[v].sql) : m[v].run(s);
        if (st) return hy_error_context(st, "migrating from version %d to %d (nothing was changed)", v, v + 1);
    }
    char pragma[96];
    snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d; PRAGMA user_version = %d", (int)s->application_id,
             newest);
    return hy_store_exec(s, pragma);
}

// Brings a file that was looked at (empty: nothing was in it) to the newest version. The lock comes first, then it is
// looked at again: of two processes that open an old file at once, one migrates and the other finds it done.
static hy_status migrate(hy_store *s, const hy_store_schema *schema, int newest, bool empty) {
    if (!empty && s->version == newest) return HY_OK;
    if (!empty) HY_TRY(hy_store_exec(s, "PRAGMA cache_size = -200000"));  // 200 MB: a whole database is moved
    HY_TRY(hy_store_begin(s));
    hy_status st = look(s, schema, &empty);
    if (!st && !empty && s->version < newest) st = back_up(s);
    if (!st && s->version < newest) st = apply(s, schema, newest);
    if (!st) st = hy_store_commit(s);
    if (st) {
        hy_store_rollback(s);
        return st;
    }
    s->version = newest;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- opening
static hy_status set_journal(hy_store *s, const char *mode, bool *set) {
    hy_query *q;
    *set = false;
    char *sql = hy_asprintf("PRAGMA journal_mode = %s", mode);
    hy_status st = hy_query_open(s, sql, &q);
    free(sql);
    if (st) return st;
    bool row = false;
    st = hy_query_step(q, &row);
    *set = !st && row && !sqlite3_stricmp(hy_query_text(q, 0), mode);
    hy_query_close(q);
    return st;
}

// A log that is shared by all processes of one machine; over a network a rollback journal, which needs locks only.
static hy_status choose_journal(hy_store *s, const char *network) {
    bool set = false;
    for (int i = 0;; i++) {  // the switch does not wait for other processes by itself
        const hy_status st = set_journal(s, network ? "DELETE" : "WAL", &set);
        if (!st) break;
        if ((s->rc & 0xff) != SQLITE_BUSY || i == HY_BUSY_MS / 50) return st;
        usleep(50000);
    }
    if (set && !network) return HY_OK;
    free(s->note);
    s->note = hy_asprintf("%s is on %s%s, where a write-ahead log is not safe: a rollback journal is used, and one "
                          "hylab at a time "
                          "writes to it. Quicker and in parts: on a local disk (`hylab run --copy-back`, --shard)",
                          s->path, network ? "a network file system, " : "a file system without shared memory",
                          network ? network : "");
    return HY_OK;
}

hy_status hy_store_end_log(hy_store *s) {
    bool set = false;
    const hy_status st = set_journal(s, "DELETE", &set);
    if (!st && set && !hy_wal_has_content(s->path, "-wal")) return HY_OK;
    return hy_error(HY_EFAIL, "%s: another process has it open, so that its log cannot be ended: %s", s->path,
                    st ? hy_error_text() : "busy");
}

static hy_status prepare_read(hy_store *s, const hy_store_schema *schema, int newest) {
    bool empty = false;
    HY_TRY(look(s, schema, &empty));
    if (empty) return hy_error(HY_EINPUT, "%s: an empty database: no run was stored in it yet", s->path);
    if (s->version < newest && !s->any_version)
        return hy_error(HY_EINPUT,
                        "%s: has schema version %d, this hylab reads version %d; `hylab doctor --db %s "
                        "--migrate` brings it up to date and keeps a copy",
                        s->path, s->version, newest, s->path);
    hy_store_only_reads(s);
    return HY_OK;
}

static hy_status prepare_write(hy_store *s, const hy_store_schema *schema, int newest) {
    bool empty = false;
    HY_TRY(look(s, schema, &empty));  // refuse before anything (also the journal mode) is changed
    const char *network = network_of(s->path, schema);
    HY_TRY(only_writer(s, network));
    HY_TRY(choose_journal(s, network));
    HY_TRY(hy_store_exec(s, "PRAGMA foreign_keys = ON"));
    hy_store_interruptible(s, true);
    const hy_status st = migrate(s, schema, newest, empty);
    hy_store_interruptible(s, false);
    HY_TRY(st);
    return schema->opened ? schema->opened(s) : HY_OK;
}

static hy_status open_file(hy_store *s, const hy_store_schema *schema, const char *options) {
    const bool read = s->mode == HY_STORE_READ;
    const int newest = hy_schema_count(schema->migrations);
    free(s->uri);
    s->uri = file_uri(s->path, options);
    s->application_id = schema->application_id;
    const int flags = read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    sqlite3_close(s->db);
    s->db = NULL;
    const int rc = sqlite3_open_v2(s->uri, &s->db, flags | SQLITE_OPEN_URI, NULL);
    if (rc != SQLITE_OK) return hy_store_fail(s, rc);
    sqlite3_extended_result_codes(s->db, 0);
    sqlite3_busy_timeout(s->db, HY_BUSY_MS);
    hy_store_harden(s->db);
    hy_store_interruptible(s, read);
    return read ? prepare_read(s, schema, newest) : prepare_write(s, schema, newest);
}

// A file in the mode of a write-ahead log: bytes 18 and 19 of its header.
static bool logs(const char *path) {
    unsigned char h[20] = {0};
    FILE *f = fopen(path, "rb");
    const bool is = f && fread(h, 1, sizeof h, f) == sizeof h && h[18] == 2 && h[19] == 2;
    if (f) fclose(f);
    return is;
}

// Reading a database in the mode of a log makes files beside it, which an archive does not allow and which do not work
// over a network. Where there is no log the file is all that there is, and is read as one that nobody changes.
static hy_status open_read(hy_store *s, const hy_store_schema *schema) {
    const bool unfinished = hy_wal_has_content(s->path, "-wal") || hy_wal_has_content(s->path, "-journal");
    if (!unfinished && logs(s->path) && network_of(s->path, schema)) return open_file(s, schema, "?immutable=1");
    const hy_status st = open_file(s, schema, "");
    const int rc = s->rc & 0xff;
    if (!st || (rc != SQLITE_CANTOPEN && rc != SQLITE_READONLY && rc != SQLITE_PERM) || access(s->path, R_OK))
        return st;
    if (!unfinished) return open_file(s, schema, "?immutable=1");
    return hy_error(
        HY_EINPUT,
        "%s: a log beside it (-wal or -journal) holds what is not yet in the file, and its folder cannot be "
        "written to: copy both to a folder of your own and read them there",
        s->path);
}

static hy_status open_as(const char *path, hy_store_mode mode, bool any, const hy_store_schema *schema,
                         hy_store **out) {
    *out = NULL;
    HY_TRY(hy_store_name_check(path));
    if (mode == HY_STORE_READ && !hy_file_exists(path))
        return hy_error(HY_EINPUT, "%s: no such database; `hylab run EXPERIMENT.yaml --db %s` makes one", path, path);
    HY_TRY(check_header(path));
    HY_TRY(hy_wal_check(path));
    hy_store *s = hy_xcalloc(1, sizeof *s);
    s->path = hy_xstrdup(path);
    s->mode = mode;
    s->any_version = any;
    const hy_status st = mode == HY_STORE_READ ? open_read(s, schema) : open_file(s, schema, "");
    if (st) {
        hy_store_close(s);
        return st;
    }
    *out = s;
    return HY_OK;
}

hy_status hy_store_open_as(const char *path, hy_store_mode mode, const hy_store_schema *schema, hy_store **out) {
    return open_as(path, mode, false, schema, out);
}

hy_status hy_store_copy_open(const hy_store *s, const char *to) { return copy_to(s, to); }

hy_status hy_store_copy_as(const char *path, const char *to, const hy_store_schema *schema) {
    hy_store *s;
    HY_TRY(open_as(path, HY_STORE_READ, true, schema, &s));
    const hy_status st = copy_to(s, to);
    hy_store_close(s);
    return st;
}

void hy_store_close(hy_store *s) {
    if (!s) return;
    hy_store_rollback(s);
    hy_store_drop_statements(s);
    sqlite3_close(s->db);
    hy_lease_end(s->lease);
    free(s->path), free(s->uri), free(s->note);
    free(s);
}
