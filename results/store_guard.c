// store_guard.c - databases get shared, so what a file brings along is not trusted: settings of a connection, which
// statements may be prepared on one that reads, and the schema of the file beside the one that its version has.
#include <stdlib.h>
#include <string.h>

#include "results/store_impl.h"

// ---------------------------------------------------------------------------------------------------- settings
void hy_store_harden(sqlite3 *db) {
    static const struct {
        int what, on;
    } settings[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},       // no statement can damage the file
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},  // views and checks use harmless functions only, no virtual tables
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},  // hylab has none (foreign keys do not need them)
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        sqlite3_db_config(db, settings[i].what, settings[i].on, NULL);
    sqlite3_exec(db, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0", NULL, NULL, NULL);
}

// The views of a file are as its version has them: they may use what they do. Some versions of SQLite take
// json_extract, which one of them needs, for a function that a schema is not trusted with.
hy_status hy_store_trust_views(hy_store *s) {
    int64_t harmless = 0;
    HY_TRY(hy_store_int(s, "SELECT max(flags & 0x200000) FROM pragma_function_list WHERE name = 'json_extract'",
                        &harmless));
    if (!harmless) sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 1, NULL);
    return HY_OK;
}

// --------------------------------------------------------------------------------------------------- what may be asked
static bool in_list(const char *word, const char *const *list) {
    for (; *list; list++)
        if (!sqlite3_stricmp(word, *list)) return true;
    return false;
}

// PRAGMAs that tell something; without a value, or (the second list) with the name of what they tell of.
static bool pragma_tells(const char *name, const char *value) {
    static const char *const plain[] = {"application_id", "user_version",    "schema_version", "page_count",
                                        "page_size",      "freelist_count",  "encoding",       "journal_mode",
                                        "foreign_keys",   "compile_options", "database_list",  "collation_list",
                                        "function_list",  "table_list",      "query_only",     NULL};
    static const char *const of_something[] = {
        "integrity_check", "quick_check", "foreign_key_check", "table_info", "table_xinfo", "index_list",
        "index_info",      "index_xinfo", "foreign_key_list",  "table_list", NULL};
    return value ? in_list(name, of_something) : in_list(name, plain) || in_list(name, of_something);
}

// What a plain library has is load_extension; the others come with shells and extensions.
static bool function_reads(const char *name) {
    static const char *const others[] = {"load_extension", "writefile", "readfile", "edit",           "fts3_tokenizer",
                                         "lsdir",          "fsdir",     "zipfile",  "sqlar_compress", NULL};
    return !in_list(name, others);
}

// What SQLite asks when json_each, pragma_table_info or another such function is read for the first time. It updates
// nothing; an UPDATE of the schema SQLite refuses by itself.
static bool connects_function(int action, const char *table) {
    static const char *const schemas[] = {"sqlite_master", "sqlite_schema", NULL};
    return action == SQLITE_UPDATE && in_list(table, schemas);
}

static int authorize(void *user, int action, const char *a, const char *b, const char *schema, const char *source) {
    (void)schema, (void)source;
    hy_store *s = user;
    if (connects_function(action, a)) return SQLITE_OK;
    switch (action) {
        case SQLITE_SELECT:
        case SQLITE_READ:
        case SQLITE_RECURSIVE: return SQLITE_OK;
        case SQLITE_FUNCTION:
            if (function_reads(b)) return SQLITE_OK;
            s->denied = "a function that loads or writes";
            return SQLITE_DENY;
        case SQLITE_PRAGMA:
            if (pragma_tells(a, b)) return SQLITE_OK;
            s->denied = "a PRAGMA that changes something";
            return SQLITE_DENY;
        case SQLITE_ATTACH: s->denied = "another file (ATTACH, VACUUM INTO)"; return SQLITE_DENY;
        default: s->denied = "a statement that writes or changes the connection"; return SQLITE_DENY;
    }
}

void hy_store_only_reads(hy_store *s) { sqlite3_set_authorizer(s->db, authorize, s); }

hy_status hy_store_snapshot(hy_store *s) {
    int64_t any;
    sqlite3_set_authorizer(s->db, NULL, NULL);
    const hy_status st = hy_store_exec(s, "BEGIN");
    if (s->mode == HY_STORE_READ) hy_store_only_reads(s);
    HY_TRY(st);
    return hy_store_int(s, "SELECT count(*) FROM sqlite_schema", &any);  // the moment is that of the first reading
}

// ---------------------------------------------------------------------------------------------------- the schema
hy_status hy_schema_rows_read(hy_store *s, hy_schema_rows *out) {
    *out = (hy_schema_rows){0};
    hy_query *q;
    HY_TRY(hy_query_open(s, "SELECT type, name, tbl_name, sql FROM sqlite_schema", &q));
    bool row = false;
    hy_status st;
    int cap = 0;
    while (!(st = hy_query_step(q, &row)) && row) {
        if (out->n == cap) out->v = hy_xrealloc(out->v, (size_t)(cap = cap * 2 + 64) * sizeof *out->v);
        char **to[] = {&out->v[out->n].type, &out->v[out->n].name, &out->v[out->n].table, &out->v[out->n].sql};
        for (int i = 0; i < 4; i++) *to[i] = hy_xstrdup(hy_query_text(q, i));
        out->n++;
    }
    hy_query_close(q);
    if (st) hy_schema_rows_free(out);
    return st;
}

void hy_schema_rows_free(hy_schema_rows *r) {
    for (int i = 0; i < r->n; i++) free(r->v[i].type), free(r->v[i].name), free(r->v[i].table), free(r->v[i].sql);
    free(r->v);
    *r = (hy_schema_rows){0};
}

static const hy_schema_row *find(const hy_schema_rows *r, const char *name) {
    for (int i = 0; i < r->n; i++)
        if (!sqlite3_stricmp(r->v[i].name, name)) return &r->v[i];
    return NULL;
}

// The next character of an SQL text that counts: blanks and double quotes do not, which versions of SQLite set anew
// when a table is altered; inside of a text in single quotes everything does.
static char next_char(const char **sql, bool *text) {
    for (; **sql; (*sql)++) {
        const char c = **sql;
        if (c == '\'') *text = !*text;
        if (!*text && (c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '"')) continue;
        (*sql)++;
        return c;
    }
    return 0;
}

static bool same_sql(const char *a, const char *b) {
    bool ta = false, tb = false;
    if (!strcmp(a, b)) return true;
    for (;;) {
        const char ca = next_char(&a, &ta), cb = next_char(&b, &tb);
        if (ca != cb) return false;
        if (!ca) return true;
    }
}

int hy_schema_count(const hy_migration *m) {
    int n = 0;
    while (m[n].sql || m[n].run) n++;
    return n;
}

// The word at *at, or up to a bracket; *at moves behind it.
static char *word(const char **at) {
    *at += strspn(*at, " \n");
    const size_t n = strcspn(*at, " \n(");
    *at += n;
    return hy_asprintf("%.*s", (int)n, *at - n);
}

// "CREATE [UNIQUE] TYPE NAME [ON TABLE]..." as the row that SQLite makes of it.
static hy_schema_row row_of(const char *sql, size_t n) {
    const char *at = sql + strlen("CREATE");
    hy_schema_row r = {.sql = hy_asprintf("%.*s", (int)n, sql)};
    r.type = word(&at);
    if (!strcmp(r.type, "UNIQUE")) free(r.type), r.type = word(&at);
    for (char *c = r.type; *c; c++) *c |= 0x20;  // to lower case
    r.name = word(&at);
    if (!strcmp(r.type, "index")) free(word(&at)), r.table = word(&at);
    if (!r.table) r.table = hy_xstrdup(r.name);
    return r;
}

static void whole_rows(const char *const *whole, hy_schema_rows *out) {
    *out = (hy_schema_rows){0};
    for (; *whole; whole++)
        for (const char *sql = *whole, *end; (end = strstr(sql, ";\n")); sql = end + 2) {
            hy_schema_row r = row_of(sql, (size_t)(end - sql));
            if (find(out, r.name)) {
                free(r.type), free(r.name), free(r.table), free(r.sql);
                continue;
            }
            out->v = hy_xrealloc(out->v, (size_t)(out->n + 1) * sizeof *out->v);
            out->v[out->n++] = r;
        }
}

hy_status hy_schema_expected(const hy_store_schema *schema, int version, hy_schema_rows *out) {
    const hy_migration *m = schema->migrations;
    if (schema->whole && version == hy_schema_count(m)) {
        whole_rows(schema->whole, out);
        return HY_OK;
    }
    hy_store mem = {.path = (char *)"the schema in memory", .mode = HY_STORE_WRITE};
    const int rc = sqlite3_open(":memory:", &mem.db);
    hy_status st = rc == SQLITE_OK ? HY_OK : hy_store_fail(&mem, rc);
    if (!st) st = hy_store_begin(&mem);
    for (int v = 0; !st && v < version; v++) st = m[v].sql ? hy_store_exec(&mem, m[v].sql) : m[v].run(&mem);
    if (!st) st = hy_schema_rows_read(&mem, out);
    sqlite3_close(mem.db);
    return st;
}

// An index of the user's on a table of ours works whenever something is stored: it may neither refuse nor compute
// anything.
static hy_status check_index(hy_store *s, const hy_schema_row *r, bool *plain) {
    hy_query *q;
    *plain = false;
    HY_TRY(hy_store_query(s, &q,
                          "SELECT count(*) FROM pragma_index_list(?1) l WHERE l.name = ?2 AND NOT l.\"unique\" AND NOT"
                          " l.partial AND NOT EXISTS (SELECT 1 FROM pragma_index_xinfo(?2) WHERE cid = -2)",
                          "ss", r->table, r->name));
    bool row = false;
    const hy_status st = hy_query_step(q, &row);
    *plain = !st && row && hy_query_int(q, 0);
    hy_query_close(q);
    return st;
}

static hy_status not_ours(hy_store *s, const hy_schema_row *r, const char *why) {
    return hy_error(
        HY_EINPUT,
        "%s: holds a %s \"%s\" on \"%s\" that is not hylab's and %s (nothing was changed). If you do not need it: "
        "sqlite3 %s 'DROP %s \"%s\"'",
        s->path, r->type, r->name, r->table, why, s->path, r->type, r->name);
}

static hy_status check_added(hy_store *s, const hy_schema_rows *ours, const hy_schema_row *r) {
    if (!strcmp(r->type, "trigger")) return not_ours(s, r, "would run by itself when something is stored");
    if (!strcmp(r->type, "table") && !sqlite3_strnicmp(r->sql, "CREATE VIRTUAL", 14))
        return not_ours(s, r, "is read by an extension of SQLite");
    if (strcmp(r->type, "index") || !find(ours, r->table) || !*r->sql) return HY_OK;
    bool plain;
    HY_TRY(check_index(s, r, &plain));
    return plain ? HY_OK : not_ours(s, r, "could refuse or compute something when results are stored");
}

static hy_status check_ours(hy_store *s, const hy_schema_rows *found, const hy_schema_row *want, int version) {
    const hy_schema_row *have = find(found, want->name);
    if (have && !strcmp(have->type, want->type) && !sqlite3_stricmp(have->table, want->table) &&
        same_sql(have->sql, want->sql))
        return HY_OK;
    return hy_error(
        HY_EINPUT,
        "%s: its %s \"%s\" %s schema version %d (nothing was changed): results could be stored or shown wrong. "
        "Restore a copy that hylab wrote, or copy the tables into a new database",
        s->path, want->type, want->name, have ? "is not that of" : "is missing, which belongs to", version);
}

hy_status hy_schema_compare(hy_store *s, const hy_schema_rows *rows, const hy_store_schema *schema) {
    const int version = s->version;
    hy_schema_rows ours;
    HY_TRY(hy_schema_expected(schema, version, &ours));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < ours.n; i++) st = check_ours(s, rows, &ours.v[i], version);
    for (int i = 0; !st && i < rows->n; i++)
        if (!find(&ours, rows->v[i].name)) st = check_added(s, &ours, &rows->v[i]);
    hy_schema_rows_free(&ours);
    return st;
}
