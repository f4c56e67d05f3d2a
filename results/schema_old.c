// schema_old.c - the tables and views of versions 1 to 3, as the programs of their time made them: what databases are
// migrated from. A run was training and measuring at once. Published, so nothing here changes.
#include "results/schema_impl.h"

// Version 1.
//
// run        one attempt at one (run_key, seed, device). run_key is the hash of everything that determines the result:
// the
//            resolved model spec (without its name), the task and its options, the training recipe and the measures,
//            plus the identity version of the program. The commit is provenance, not identity: a commit that changes
//            documentation must not make a week of results obsolete. At most one attempt is open (running or
//            interrupted) and at most one is settled and current (done or failed, superseded_by NULL) for each
//            (run_key, seed, device). A forced or retried run is a new row; when it settles the older one gets
//            superseded_by and stays as a fact.
// metric     figures of a run. final = 1: at the end; 0: during training. cell: "" for all of a task, else the cell; or
//            what the definition says. x, y: coordinates (length, pairs; length, depth; context, batch).
// sample     every repetition behind a metric that is a median of timings.
// artifact   typed, shaped blobs in row-major order, little-endian (maps).
// curve      training, by step.
// experiment, plan, paper: what `hylab run` was asked for. A plan row names the run_key that answers it, so two
//            experiments share a run and a plan can be rewritten without touching any result.
const char hy_schema_v1[] =
    "CREATE TABLE run(\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  run_key TEXT NOT NULL, seed INTEGER NOT NULL, device TEXT NOT NULL,\n"
    "  status TEXT NOT NULL CHECK(status IN ('running','interrupted','done','failed')),\n"
    "  superseded_by INTEGER REFERENCES run(id),\n"
    "  variant TEXT NOT NULL, experiment TEXT NOT NULL, grid TEXT NOT NULL,\n"
    "  spec_hash TEXT NOT NULL, spec TEXT NOT NULL,\n"
    "  task TEXT NOT NULL, task_kind TEXT NOT NULL, task_options TEXT NOT NULL,\n"
    "  train TEXT NOT NULL, measures TEXT NOT NULL,\n"
    "  git_commit TEXT NOT NULL, git_dirty INTEGER NOT NULL CHECK(git_dirty IN (0,1)), build TEXT NOT NULL,\n"
    "  host TEXT NOT NULL, device_name TEXT NOT NULL, threads INTEGER NOT NULL, kernel_path TEXT NOT NULL DEFAULT '',\n"
    "  started TEXT NOT NULL, ended TEXT, resumes INTEGER NOT NULL DEFAULT 0,\n"
    "  steps INTEGER NOT NULL DEFAULT 0, error TEXT,\n"
    "  process TEXT NOT NULL, heartbeat INTEGER NOT NULL) STRICT;\n"
    "CREATE UNIQUE INDEX run_open ON run(run_key, seed, device) WHERE status IN ('running','interrupted');\n"
    "CREATE UNIQUE INDEX run_settled ON run(run_key, seed, device)\n"
    "  WHERE status IN ('done','failed') AND superseded_by IS NULL;\n"
    "CREATE TABLE metric_def(\n"
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, unit TEXT NOT NULL,\n"
    "  direction TEXT NOT NULL CHECK(direction IN ('higher','lower','none')), meaning TEXT NOT NULL,\n"
    "  UNIQUE(name, version)) STRICT;\n"
    "CREATE TABLE metric(\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, def_id INTEGER NOT NULL REFERENCES "
    "metric_def(id),\n"
    "  cell TEXT NOT NULL, step INTEGER NOT NULL, final INTEGER NOT NULL CHECK(final IN (0,1)),\n"
    "  value REAL, stderr REAL, n INTEGER NOT NULL, x REAL, y REAL, meta TEXT,\n"
    "  UNIQUE(run_id, def_id, cell, step, final)) STRICT;\n"
    "CREATE TABLE sample(\n"
    "  metric_id INTEGER NOT NULL REFERENCES metric(id) ON DELETE CASCADE, rep INTEGER NOT NULL, value REAL NOT NULL,\n"
    "  PRIMARY KEY(metric_id, rep)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE artifact(\n"
    "  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,\n"
    "  name TEXT NOT NULL, dtype TEXT NOT NULL CHECK(dtype IN ('f32','f64','i32')), shape TEXT NOT NULL, meta TEXT NOT "
    "NULL,\n"
    "  data BLOB NOT NULL, UNIQUE(run_id, name)) STRICT;\n"
    "CREATE TABLE curve(\n"
    "  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, step INTEGER NOT NULL,\n"
    "  loss REAL, lr REAL, grad_norm REAL, tokens_per_s REAL, PRIMARY KEY(run_id, step)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE experiment(\n"
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL, scale TEXT NOT NULL, sets TEXT NOT NULL, question TEXT NOT NULL,\n"
    "  yaml TEXT NOT NULL, planned TEXT NOT NULL, UNIQUE(name, scale, sets)) STRICT;\n"
    "CREATE TABLE plan(\n"
    "  experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE, ord INTEGER NOT NULL,\n"
    "  variant TEXT NOT NULL, variant_ord INTEGER NOT NULL, task TEXT NOT NULL, task_ord INTEGER NOT NULL,\n"
    "  grid TEXT NOT NULL, grid_ord INTEGER NOT NULL, seed INTEGER NOT NULL, run_key TEXT NOT NULL, device TEXT NOT "
    "NULL,\n"
    "  PRIMARY KEY(experiment_id, ord)) STRICT, WITHOUT ROWID;\n"
    "CREATE INDEX plan_key ON plan(run_key, seed, device);\n"
    "CREATE TABLE paper(\n"
    "  experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE, variant TEXT NOT NULL,\n"
    "  name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY(experiment_id, variant, name)) STRICT, WITHOUT ROWID;\n"
    // ---- views: the part that other programs may rely on
    "CREATE VIEW v_run AS SELECT id AS run_id, run_key, seed, device, status, variant, experiment, grid, spec_hash, "
    "task,\n"
    "  task_kind, git_commit, git_dirty, build, host, device_name, threads, kernel_path, started, ended, resumes, "
    "steps, error\n"
    "  FROM run WHERE superseded_by IS NULL;\n"
    "CREATE VIEW v_metric AS SELECT r.run_id, r.variant, r.task, r.grid, r.seed, r.device, d.name AS metric,\n"
    "  d.version AS metric_version, d.unit, m.cell, m.step, m.final, m.value, m.stderr, m.n, m.x, m.y, m.meta, m.id AS "
    "metric_id\n"
    "  FROM metric m JOIN v_run r USING(run_id) JOIN metric_def d ON d.id = m.def_id;\n"
    "CREATE VIEW v_final AS SELECT * FROM v_metric WHERE final = 1;\n"
    "CREATE VIEW v_curve AS SELECT r.run_id, r.variant, r.task, r.grid, r.seed, c.step, c.loss, c.lr, c.grad_norm, "
    "c.tokens_per_s\n"
    "  FROM curve c JOIN v_run r USING(run_id);\n"
    "CREATE VIEW v_timing AS SELECT v.run_id, v.variant, v.task, v.grid, v.seed, v.metric, v.unit, CAST(v.x AS "
    "INTEGER) AS context,\n"
    "  CAST(v.y AS INTEGER) AS batch, v.value AS median, min(s.value) AS min, max(s.value) AS max, count(s.rep) AS "
    "repetitions,\n"
    "  json_extract(v.meta, '$.path') AS path, json_extract(v.meta, '$.jobs') AS jobs, r.threads, r.device_name\n"
    "  FROM v_final v JOIN sample s USING(metric_id) JOIN run r ON r.id = v.run_id GROUP BY v.metric_id;\n"
    "CREATE VIEW v_plan AS SELECT e.name AS experiment, e.scale, e.sets, p.ord, p.variant, p.variant_ord, p.task, "
    "p.task_ord,\n"
    "  p.grid, p.grid_ord, p.seed, p.run_key, p.device, r.id AS run_id, coalesce(r.status, 'missing') AS status\n"
    "  FROM plan p JOIN experiment e ON e.id = p.experiment_id LEFT JOIN run r ON r.run_key = p.run_key AND r.seed = "
    "p.seed\n"
    "  AND r.device = p.device AND r.status IN ('done','failed') AND r.superseded_by IS NULL;\n"
    "CREATE VIEW v_result AS SELECT p.experiment, p.scale, p.sets, p.variant, p.variant_ord, p.task, p.task_ord, "
    "p.grid,\n"
    "  p.grid_ord, p.seed, p.run_id, v.metric, v.metric_version, v.unit, v.cell, v.step, v.value, v.stderr, v.n, v.x, "
    "v.y, v.meta\n"
    "  FROM v_plan p JOIN v_final v USING(run_id) WHERE p.status = 'done';\n";

// Version 2. experiment: which metric ("" : not told, then accuracy) and which cell of it choose among the points of
// the grid.
const char hy_schema_v2[] = "ALTER TABLE experiment ADD COLUMN tune_by TEXT NOT NULL DEFAULT '';\n"
                            "ALTER TABLE experiment ADD COLUMN tune_cell TEXT NOT NULL DEFAULT '';\n";

// Version 3. experiment: the variant whose throughput the others are shown as multiples of, "": none.
const char hy_schema_v3[] = "ALTER TABLE experiment ADD COLUMN base TEXT NOT NULL DEFAULT '';\n";
