// schema_v5.c - version 5: checksums, so that what was damaged or changed after it was stored is not taken for a
// result; and what ran out of memory is to be tried again.
//
// artifact.hash           of `data`: XXH3, 128 bits, hexadecimal (hy_hash_hex)
// measurement.facts_hash  of the figures, samples, arrays and curve of a measurement (checksum.c); NULL: it has none
#include <stdlib.h>

#include "results/record_impl.h"
#include "results/schema_impl.h"

#define V_ARTIFACT                                                                                                  \
    "CREATE VIEW v_artifact AS SELECT f.run_id, f.variant, f.task, f.grid, f.seed, f.device, f.measurement_id, "    \
    "f.measure,\n"                                                                                                  \
    "  f.options, v.id AS artifact_id, v.name, v.layer, v.kind, v.head, v.dtype, v.shape, v.meta, v.data, v.hash\n" \
    "  FROM artifact v JOIN v_finished f USING(measurement_id);\n"

// What failed for want of memory is open again, unless another attempt is. A model has to lose the empty facts of its
// training for that; one that had facts stays failed (--retry-failed takes it up).
#define NO_MEMORY "status = 'failed' AND superseded_by IS NULL AND error LIKE '%out of memory%'"
static const char change[] =
    "ALTER TABLE artifact ADD COLUMN hash TEXT NOT NULL DEFAULT '';\n"
    "ALTER TABLE measurement ADD COLUMN facts_hash TEXT;\n"
    "DROP VIEW v_artifact;\n" V_ARTIFACT
    "DELETE FROM measurement WHERE measure = 'training' AND model_id IN (SELECT id FROM model WHERE " NO_MEMORY ")\n"
    "  AND NOT EXISTS (SELECT 1 FROM metric m WHERE m.measurement_id = measurement.id)\n"
    "  AND NOT EXISTS (SELECT 1 FROM curve c WHERE c.measurement_id = measurement.id);\n"
    "UPDATE OR IGNORE model SET status = 'interrupted' WHERE " NO_MEMORY "\n"
    "  AND NOT EXISTS (SELECT 1 FROM measurement x WHERE x.model_id = model.id);\n"
    "UPDATE OR IGNORE measurement SET status = 'interrupted' WHERE " NO_MEMORY " AND measure <> 'training';\n";

const char hy_schema_v5[] =
    "CREATE TABLE metric_def(\n"
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, unit TEXT NOT NULL,\n"
    "  direction TEXT NOT NULL CHECK(direction IN ('higher','lower','none')), meaning TEXT NOT NULL,\n"
    "  UNIQUE(name, version)) STRICT;\n"
    "CREATE TABLE experiment(\n"
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL, scale TEXT NOT NULL, sets TEXT NOT NULL, question TEXT NOT NULL,\n"
    "  yaml TEXT NOT NULL, planned TEXT NOT NULL, tune_by TEXT NOT NULL DEFAULT '',\n"
    "  tune_cell TEXT NOT NULL DEFAULT '', base TEXT NOT NULL DEFAULT '', UNIQUE(name, scale, sets)) STRICT;\n"
    "CREATE TABLE paper(\n"
    "  experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE, variant TEXT NOT NULL,\n"
    "  name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY(experiment_id, variant, name)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE measurement(\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  model_id INTEGER NOT NULL REFERENCES model(id) ON DELETE CASCADE,\n"
    "  measure TEXT NOT NULL, version INTEGER NOT NULL, options TEXT NOT NULL, task TEXT NOT NULL,\n"
    "  key TEXT NOT NULL,\n"
    "  status TEXT NOT NULL CHECK(status IN ('running','interrupted','done','failed')),\n"
    "  superseded_by INTEGER REFERENCES measurement(id),\n"
    "  git_commit TEXT NOT NULL, git_dirty INTEGER NOT NULL CHECK(git_dirty IN (0,1)), build TEXT NOT NULL,\n"
    "  host TEXT NOT NULL, device_name TEXT NOT NULL, threads INTEGER NOT NULL,\n"
    "  kernel_path TEXT NOT NULL DEFAULT '', started TEXT NOT NULL, ended TEXT,\n"
    "  resumes INTEGER NOT NULL DEFAULT 0, error TEXT, process TEXT NOT NULL, heartbeat INTEGER NOT NULL,\n"
    "  facts_hash TEXT) STRICT;\n"
    "CREATE TABLE artifact(\n"
    "  id INTEGER PRIMARY KEY, measurement_id INTEGER NOT NULL REFERENCES measurement(id) ON DELETE CASCADE,\n"
    "  name TEXT NOT NULL, layer INTEGER, kind TEXT, head INTEGER,\n"
    "  dtype TEXT NOT NULL CHECK(dtype IN ('f32','f64','i32')), shape TEXT NOT NULL, meta TEXT NOT NULL,\n"
    "  data BLOB NOT NULL, hash TEXT NOT NULL DEFAULT '', UNIQUE(measurement_id, name)) STRICT;\n" V_ARTIFACT;

// ---------------------------------------------------------------------------------------------------- what is there
static hy_status hash_artifacts(hy_store *s) {
    hy_query *q, *set = NULL;
    HY_TRY(hy_query_open(s, "SELECT id, data FROM artifact", &q));
    hy_status st = hy_query_open(s, "UPDATE artifact SET hash = ?2 WHERE id = ?1", &set);
    bool row = false;
    while (!st && !(st = hy_query_step(q, &row)) && row) {
        size_t n;
        char hash[33];
        const void *data = hy_query_blob(q, 1, &n);
        hy_hash_hex(data ? data : "", n, hash);
        hy_query_bind(set, "ls", hy_query_int(q, 0), hash);
        st = hy_query_run(set);
    }
    hy_query_close(set);
    hy_query_close(q);
    return st;
}

static hy_status hash_facts(hy_store *s) {
    hy_query *q;
    HY_TRY(
        hy_query_open(s,
                      "SELECT id FROM measurement x WHERE EXISTS (SELECT 1 FROM metric m WHERE m.measurement_id = x.id)"
                      " OR EXISTS (SELECT 1 FROM artifact a WHERE a.measurement_id = x.id)"
                      " OR EXISTS (SELECT 1 FROM curve c WHERE c.measurement_id = x.id)",
                      &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row)
        if ((st = hy_facts_seal(s, hy_query_int(q, 0)))) break;
    hy_query_close(q);
    return st;
}

hy_status hy_schema_migrate_v5(hy_store *s) {
    HY_TRY(hy_store_exec(s, change));
    HY_TRY(hash_artifacts(s));
    return hash_facts(s);
}
