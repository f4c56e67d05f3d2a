// merge.c - see merge.h: opening a shard, and one shard in one transaction.
#include "results/merge.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "results/merge_impl.h"
#include "results/schema.h"

// ---------------------------------------------------------------------------------------------------- the shard
// PRAGMA user_version as the file has it; what a log may say else is found when it is opened.
static int version_of(const char *path) {
    unsigned char h[64] = {0};
    FILE *f = fopen(path, "rb");
    const bool whole = f && fread(h, 1, sizeof h, f) == sizeof h;
    if (f) fclose(f);
    return whole ? h[60] << 24 | h[61] << 16 | h[62] << 8 | h[63] : 0;
}

static hy_status migrate_copy(const char *path, const char *copy, int version) {
    hy_store *s;
    HY_TRY(hy_store_copy(path, copy));
    hy_status st = hy_store_open(copy, HY_STORE_WRITE, &s);
    if (!st) hy_store_close(s);
    char *backup = hy_asprintf("%s.bak-v%d", copy, version);
    unlink(backup);
    free(backup);
    return st ? hy_error_context(st, "%s, of schema version %d, on a copy", path, version) : HY_OK;
}

hy_status hy_merge_open(const char *path, const char *copy, hy_store **shard, bool *copied) {
    HY_TRY(hy_store_name_check(path));
    const int version = version_of(path);
    *shard = NULL;
    *copied = version > 0 && version < hy_schema_newest();
    if (*copied) HY_TRY(migrate_copy(path, copy, version));
    HY_TRY(hy_store_open(*copied ? copy : path, HY_STORE_READ, shard));
    hy_store_keep_statements(*shard);
    hy_status st = hy_store_snapshot(*shard);
    if (!st) st = hy_results_check(*shard);
    if (!st) return HY_OK;
    hy_store_close(*shard);
    *shard = NULL;
    return st;
}

// ---------------------------------------------------------------------------------------------------- the destination
static const char tables[] =
    "PRAGMA temp_store = MEMORY;\n"
    "CREATE TEMP TABLE merge_model(id INTEGER PRIMARY KEY, identity TEXT, hash TEXT UNIQUE, done INTEGER, ended TEXT,"
    " label TEXT);\n"
    "CREATE INDEX temp.merge_model_identity ON merge_model(identity);\n"
    "CREATE TEMP TABLE merge_fact(id INTEGER PRIMARY KEY, owner TEXT, what TEXT, hash TEXT UNIQUE, done INTEGER,"
    " ended TEXT);\n"
    "CREATE INDEX temp.merge_fact_owner ON merge_fact(owner);\n";

static hy_status note_facts(hy_merge *m, int64_t model, const hy_merge_model *d) {
    hy_query *q;
    bool row = false;
    hy_status st;
    HY_TRY(hy_store_query(m->dest, &q, hy_merge_fact_sql, "l", model));
    while (!(st = hy_query_step(q, &row)) && row) {
        hy_merge_fact f;
        hy_merge_fact_describe(q, d, &f);
        if ((st = hy_merge_note_fact(m, hy_query_int(q, 0), &f))) break;
    }
    hy_query_close(q);
    return st;
}

static hy_status note_all(hy_merge *m) {
    hy_query *q;
    bool row = false;
    hy_status st;
    HY_TRY(hy_store_exec(m->dest, tables));
    HY_TRY(hy_query_open(m->dest, hy_merge_model_sql, &q));
    while (!(st = hy_query_step(q, &row)) && row) {
        hy_merge_model d;
        if ((st = hy_merge_describe(m->dest, q, &d))) break;
        if ((st = hy_merge_note_model(m, hy_query_int(q, 0), &d))) break;
        if ((st = note_facts(m, hy_query_int(q, 0), &d))) break;
    }
    hy_query_close(q);
    return st;
}

hy_status hy_merge_begin(hy_store *dest, hy_merge **out) {
    hy_merge *m = hy_xcalloc(1, sizeof *m);
    m->dest = dest;
    hy_store_keep_statements(dest);
    const hy_status st = note_all(m);
    *out = st ? NULL : m;
    if (st) free(m);
    return st;
}

void hy_merge_end(hy_merge *m) {
    if (!m) return;
    hy_store_exec(m->dest, "DROP TABLE temp.merge_model; DROP TABLE temp.merge_fact");
    free(m);
}

// ---------------------------------------------------------------------------------------------------- one shard
static hy_status add_facts(hy_merge *m, hy_store *shard, int64_t from, int64_t to, const hy_merge_model *d, int *new) {
    hy_query *q;
    bool row = false;
    hy_status st;
    HY_TRY(hy_store_query(shard, &q, hy_merge_fact_sql, "l", from));
    while (!(st = hy_query_step(q, &row)) && row) {
        hy_merge_fact f;
        int64_t id;
        hy_merge_fact_describe(q, d, &f);
        if ((st = hy_merge_find(m, "SELECT id FROM temp.merge_fact WHERE hash = ?1", f.hash, &id))) break;
        if (id) continue;
        if ((st = hy_merge_add_fact(m, shard, hy_query_int(q, 0), to, &id))) break;
        if ((st = hy_merge_note_fact(m, id, &f))) break;
        ++*new;
        if (!strcmp(f.owner, d->hash) && (st = hy_merge_rank_facts(m, f.owner))) break;
    }
    hy_query_close(q);
    return st;
}

// Weights with the bits of the current model of an identity.
static hy_status bring_weights(hy_merge *m, const char *name, const char *hash, const hy_merge_model *d,
                               hy_merge_bring *bring, void *user, hy_merge_counts *out) {
    hy_query *q;
    bool row = false, there = false, copied = false;
    int64_t id = 0;
    HY_TRY(hy_store_query(m->dest, &q,
                          "SELECT n.id FROM temp.merge_model n JOIN model m ON m.id = n.id WHERE n.identity = ?1"
                          " AND n.label = ?2 AND m.superseded_by IS NULL",
                          "ss", d->identity, d->label));
    hy_status st = hy_query_step(q, &row);
    if (!st && row) id = hy_query_int(q, 0);
    hy_query_close(q);
    if (st || !id) return st;
    HY_TRY(bring(user, name, hash, &there, &copied));
    out->weights += copied;
    return there ? hy_store_run(m->dest, "UPDATE model SET weights = ?2 WHERE id = ?1", "ls", id, name) : HY_OK;
}

static hy_status add_model(hy_merge *m, hy_store *shard, const hy_query *row, hy_merge_bring *bring, void *user,
                           hy_merge_counts *out) {
    hy_merge_model d;
    int64_t id;
    const int64_t from = hy_query_int(row, 0);
    HY_TRY(hy_merge_describe(shard, row, &d));
    HY_TRY(hy_merge_find(m, "SELECT id FROM temp.merge_model WHERE hash = ?1", d.hash, &id));
    if (id) {
        out->known++;
    } else {
        HY_TRY(hy_merge_add_model(m, shard, from, &id));
        HY_TRY(hy_merge_note_model(m, id, &d));
        out->models++;
    }
    HY_TRY(add_facts(m, shard, from, id, &d, &out->measurements));
    HY_TRY(hy_merge_rank(m, d.identity));
    if (!bring || !d.done) return HY_OK;
    char *name, *hash;
    HY_TRY(hy_model_weights(shard, from, &name, &hash));
    const hy_status st = name && hash ? bring_weights(m, name, hash, &d, bring, user, out) : HY_OK;
    free(name), free(hash);
    return st;
}

static hy_status count_open(hy_store *shard, int *out) {
    hy_query *q;
    bool row = false;
    HY_TRY(hy_query_open(shard,
                         "SELECT (SELECT count(*) FROM model WHERE status IN ('running','interrupted')) +"
                         " (SELECT count(*) FROM measurement WHERE status IN ('running','interrupted'))",
                         &q));
    const hy_status st = hy_query_step(q, &row);
    if (!st && row) *out = hy_query_small(q, 0);
    hy_query_close(q);
    return st;
}

static hy_status add_all(hy_merge *m, hy_store *shard, hy_merge_bring *bring, void *user, hy_merge_counts *out) {
    hy_query *q;
    bool row = false;
    hy_status st;
    HY_TRY(count_open(shard, &out->open));
    HY_TRY(hy_merge_add_definitions(m, shard));
    HY_TRY(hy_merge_add_plans(m, shard, out));
    HY_TRY(hy_query_open(shard, hy_merge_model_sql, &q));
    while (!(st = hy_query_step(q, &row)) && row) {
        if (hy_interrupted) st = hy_error(HY_EINTR, "interrupted; what was merged before stays, the rest is as it was");
        if (!st) st = add_model(m, shard, q, bring, user, out);
        if (st) break;
    }
    hy_query_close(q);
    return st;
}

hy_status hy_merge_shard(hy_merge *m, hy_store *shard, hy_merge_bring *bring, void *user, hy_merge_counts *out) {
    *out = (hy_merge_counts){0};
    HY_TRY(hy_store_begin(m->dest));
    const hy_status st = hy_store_end(m->dest, add_all(m, shard, bring, user, out));
    if (st) *out = (hy_merge_counts){0};
    return st;
}
