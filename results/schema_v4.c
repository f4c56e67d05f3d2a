// schema_v4.c - the tables and views of version 4: a model is trained once and measured many times.
#include "results/schema_impl.h"

// model
//     One attempt at one (model_key, seed, device). model_key is the hash of everything that determines the weights
//     (identity.h): the resolved spec without its name, the training side of the task, the recipe without what does not
//     change weights. The commit is provenance, not identity. At most one attempt is open (running or interrupted) and
//     at most one is settled and current (done or failed, superseded_by NULL) for each identity. A model that is made
//     again is a new row; when it settles the older one gets superseded_by and stays as a fact. (A failed attempt at
//     what is done is superseded by that at once.) origin: how it got its weights. weights: file name in the folder
//     models/ beside the database; NULL: they are not stored (pruned, or of before version 4).
// model_param
//     Every resolved value of a model: "d_model", "layers.3.attention.window", "task.vocab", "train.lr"; and
//     "attention.window" without a layer number: the values of all layers that have it, each once ("none,16"). Numbers
//     are numbers.
// measurement
//     One attempt at one (model, measure, version, key), by the same rules. key: hash of the options and of the task
//     that it was taken with. Training itself is the measurement "training": evaluations on the way, loss curve, rates.
// metric
//     Figures of a measurement. final = 1: at the end; 0: during training. cell: "" for all of a task, else the cell,
//     or what the definition says. x, y: coordinates (length, pairs; length, depth; context, batch). layer, kind, head:
//     NULL where a figure is of no single one.
// sample
//     Every repetition behind a metric that is a median of timings.
// artifact
//     Typed, shaped blobs in row-major order, little-endian (maps).
// curve
//     Training, by step.
// experiment, planned, planned_grid, planned_measure, paper
//     What `hylab run` was asked for. A planned row names the model_key that answers it, so two experiments share a
//     model and a plan can be rewritten without touching any result. nth: the order of its measures.
//     (In a table WITHOUT ROWID the columns of the key stand first: integrity_check of SQLite 3.40 takes what lies
//     between them for NULL.)
#define PROVENANCE                                                                                             \
    "  git_commit TEXT NOT NULL, git_dirty INTEGER NOT NULL CHECK(git_dirty IN (0,1)), build TEXT NOT NULL,\n" \
    "  host TEXT NOT NULL, device_name TEXT NOT NULL, threads INTEGER NOT NULL,\n"                             \
    "  kernel_path TEXT NOT NULL DEFAULT '', started TEXT NOT NULL, ended TEXT,\n"                             \
    "  resumes INTEGER NOT NULL DEFAULT 0, error TEXT, process TEXT NOT NULL, heartbeat INTEGER NOT NULL"
#define STATUS "  status TEXT NOT NULL CHECK(status IN ('running','interrupted','done','failed')),\n"
#define OPEN "status IN ('running','interrupted')"
#define SETTLED "status IN ('done','failed') AND superseded_by IS NULL"
#define PLACE "layer INTEGER, kind TEXT, head INTEGER"

const char hy_schema_v4_tables[] =
    "CREATE TABLE model(\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  model_key TEXT NOT NULL, seed INTEGER NOT NULL, device TEXT NOT NULL,\n"
    "  origin TEXT NOT NULL CHECK(origin IN ('trained','random','file')),\n" STATUS
    "  superseded_by INTEGER REFERENCES model(id),\n"
    "  variant TEXT NOT NULL, experiment TEXT NOT NULL, grid TEXT NOT NULL,\n"
    "  spec_hash TEXT NOT NULL, spec TEXT NOT NULL,\n"
    "  task TEXT NOT NULL, task_kind TEXT NOT NULL, task_options TEXT NOT NULL,\n"
    "  train TEXT NOT NULL, precision TEXT NOT NULL, source TEXT NOT NULL,\n"
    "  steps INTEGER NOT NULL DEFAULT 0, weights TEXT, weights_hash TEXT,\n" PROVENANCE ") STRICT;\n"
    "CREATE UNIQUE INDEX model_open ON model(model_key, seed, device) WHERE " OPEN ";\n"
    "CREATE UNIQUE INDEX model_settled ON model(model_key, seed, device) WHERE " SETTLED ";\n"
    "CREATE TABLE model_param(\n"
    "  model_id INTEGER NOT NULL REFERENCES model(id) ON DELETE CASCADE, path TEXT NOT NULL, value ANY NOT NULL,\n"
    "  PRIMARY KEY(model_id, path)) STRICT, WITHOUT ROWID;\n"
    "CREATE INDEX model_param_path ON model_param(path, value);\n"
    "CREATE TABLE measurement(\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  model_id INTEGER NOT NULL REFERENCES model(id) ON DELETE CASCADE,\n"
    "  measure TEXT NOT NULL, version INTEGER NOT NULL, options TEXT NOT NULL, task TEXT NOT NULL,\n"
    "  key TEXT NOT NULL,\n" STATUS "  superseded_by INTEGER REFERENCES measurement(id),\n" PROVENANCE ") STRICT;\n"
    "CREATE UNIQUE INDEX measurement_open ON measurement(model_id, measure, version, key) WHERE " OPEN ";\n"
    "CREATE UNIQUE INDEX measurement_settled ON measurement(model_id, measure, version, key) WHERE " SETTLED ";\n"
    "CREATE INDEX measurement_model ON measurement(model_id);\n"
    "CREATE TABLE metric(\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  measurement_id INTEGER NOT NULL REFERENCES measurement(id) ON DELETE CASCADE,\n"
    "  def_id INTEGER NOT NULL REFERENCES metric_def(id),\n"
    "  cell TEXT NOT NULL, " PLACE ",\n"
    "  step INTEGER NOT NULL, final INTEGER NOT NULL CHECK(final IN (0,1)),\n"
    "  value REAL, stderr REAL, n INTEGER NOT NULL, x REAL, y REAL, meta TEXT,\n"
    "  UNIQUE(measurement_id, def_id, cell, step, final)) STRICT;\n"
    "CREATE TABLE sample(\n"
    "  metric_id INTEGER NOT NULL REFERENCES metric(id) ON DELETE CASCADE, rep INTEGER NOT NULL,\n"
    "  value REAL NOT NULL, PRIMARY KEY(metric_id, rep)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE artifact(\n"
    "  id INTEGER PRIMARY KEY, measurement_id INTEGER NOT NULL REFERENCES measurement(id) ON DELETE CASCADE,\n"
    "  name TEXT NOT NULL, " PLACE ",\n"
    "  dtype TEXT NOT NULL CHECK(dtype IN ('f32','f64','i32')), shape TEXT NOT NULL, meta TEXT NOT NULL,\n"
    "  data BLOB NOT NULL, UNIQUE(measurement_id, name)) STRICT;\n"
    "CREATE TABLE curve(\n"
    "  measurement_id INTEGER NOT NULL REFERENCES measurement(id) ON DELETE CASCADE, step INTEGER NOT NULL,\n"
    "  loss REAL, lr REAL, grad_norm REAL, tokens_per_s REAL,\n"
    "  PRIMARY KEY(measurement_id, step)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE planned(\n"
    "  experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE, ord INTEGER NOT NULL,\n"
    "  variant TEXT NOT NULL, variant_ord INTEGER NOT NULL, task TEXT NOT NULL, task_ord INTEGER NOT NULL,\n"
    "  grid TEXT NOT NULL, grid_ord INTEGER NOT NULL,\n"
    "  seed INTEGER NOT NULL, model_key TEXT NOT NULL, device TEXT NOT NULL,\n"
    "  PRIMARY KEY(experiment_id, ord)) STRICT, WITHOUT ROWID;\n"
    "CREATE INDEX planned_key ON planned(model_key, seed, device);\n"
    "CREATE TABLE planned_grid(\n"
    "  experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE, grid_ord INTEGER NOT NULL,\n"
    "  path TEXT NOT NULL, value ANY NOT NULL, PRIMARY KEY(experiment_id, grid_ord, path)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE planned_measure(\n"
    "  experiment_id INTEGER NOT NULL, ord INTEGER NOT NULL,\n"
    "  measure TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, nth INTEGER NOT NULL,\n"
    "  PRIMARY KEY(experiment_id, ord, measure, version, key),\n"
    "  FOREIGN KEY(experiment_id, ord) REFERENCES planned(experiment_id, ord) ON DELETE CASCADE)\n"
    "  STRICT, WITHOUT ROWID;\n";

// Views: the part that other programs may rely on. run_id is model.id. Those of results show finished measurements of
// finished models only; v_run and v_measurement show what is under way and what failed, too, and v_model also what a
// later attempt took the place of.
//
// v_finished        what makes a result: every view that shows figures is joined to it
// v_plan            status done: the model and all that was planned of it; failed: one of these failed; missing: one is
//                   not there yet
// v_grid            values of the grid's axes at each of its points, by the paths of model_param; numbers are numbers
// v_plan_measure    the same as v_plan, each planned measurement a row
// v_result          figures of what was planned and is finished, and of the training
#define RUN_OF_F "f.run_id, f.variant, f.task, f.grid, f.seed"
#define RUN_OF_M "m.id AS run_id, m.variant, m.task, m.grid, m.seed"
#define PLACE_OF_V "v.layer, v.kind, v.head"
// The settled model of a planned row p, and the settled measurement x that a planned measure w of it wants.
#define MODEL_OF_PLAN                                                       \
    "m.model_key = p.model_key AND m.seed = p.seed AND m.device = p.device" \
    " AND m.status IN ('done','failed') AND m.superseded_by IS NULL"
#define MEASUREMENT_OF_PLAN                                                                   \
    "x.model_id = m.id AND x.measure = w.measure AND x.version = w.version AND x.key = w.key" \
    " AND x.status IN ('done','failed') AND x.superseded_by IS NULL"

const char hy_schema_v4_views[] =
    "CREATE VIEW v_run AS SELECT id AS run_id, model_key AS run_key, seed, device, status, variant, experiment,\n"
    "  grid, spec_hash, task, task_kind, git_commit, git_dirty, build, host, device_name, threads, kernel_path,\n"
    "  started, ended, resumes, steps, error, origin, precision, spec, task_options, train, source, weights\n"
    "  FROM model WHERE superseded_by IS NULL;\n"
    "CREATE VIEW v_model AS SELECT id AS model_id, model_key, seed, device, origin, status, superseded_by, variant,\n"
    "  experiment, grid, spec_hash, spec, task, task_kind, task_options, train, precision, source, steps, weights,\n"
    "  weights_hash, git_commit, git_dirty, build, host, device_name, threads, kernel_path, started, ended, resumes,\n"
    "  error FROM model;\n"
    "CREATE VIEW v_param AS SELECT " RUN_OF_M ", p.path, p.value\n"
    "  FROM model_param p JOIN model m ON m.id = p.model_id WHERE m.superseded_by IS NULL;\n"
    "CREATE VIEW v_measurement AS SELECT x.id AS measurement_id, " RUN_OF_M ", m.device,\n"
    "  x.measure, x.version, x.options, x.task AS task_options, x.key, x.status, x.error, x.git_commit, x.git_dirty,\n"
    "  x.build, x.host, x.device_name, x.threads, x.kernel_path, x.started, x.ended, x.resumes\n"
    "  FROM measurement x JOIN model m ON m.id = x.model_id\n"
    "  WHERE x.superseded_by IS NULL AND m.superseded_by IS NULL;\n"
    "CREATE VIEW v_finished AS SELECT x.id AS measurement_id, " RUN_OF_M ", m.device,\n"
    "  x.measure, x.version, x.options, x.task AS task_options, x.key, x.device_name, x.threads, x.kernel_path\n"
    "  FROM measurement x JOIN model m ON m.id = x.model_id\n"
    "  WHERE x.status = 'done' AND x.superseded_by IS NULL AND m.status = 'done' AND m.superseded_by IS NULL;\n"
    "CREATE VIEW v_metric AS SELECT " RUN_OF_F ", f.device, d.name AS metric,\n"
    "  d.version AS metric_version, d.unit, v.cell, v.step, v.final, v.value, v.stderr, v.n, v.x, v.y, v.meta,\n"
    "  v.id AS metric_id, f.measurement_id, f.measure, f.version AS measure_version, f.options, " PLACE_OF_V
    ", f.task_options\n"
    "  FROM metric v JOIN v_finished f USING(measurement_id) JOIN metric_def d ON d.id = v.def_id;\n"
    "CREATE VIEW v_final AS SELECT * FROM v_metric WHERE final = 1;\n"
    "CREATE VIEW v_artifact AS SELECT " RUN_OF_F ", f.device, f.measurement_id, f.measure,\n"
    "  f.options, v.id AS artifact_id, v.name, " PLACE_OF_V ", v.dtype, v.shape, v.meta, v.data\n"
    "  FROM artifact v JOIN v_finished f USING(measurement_id);\n"
    "CREATE VIEW v_curve AS SELECT " RUN_OF_F ", c.step, c.loss, c.lr, c.grad_norm,\n"
    "  c.tokens_per_s FROM curve c JOIN v_finished f USING(measurement_id);\n"
    "CREATE VIEW v_timing AS SELECT v.run_id, v.variant, v.task, v.grid, v.seed, v.metric, v.unit,\n"
    "  CAST(v.x AS INTEGER) AS context, CAST(v.y AS INTEGER) AS batch, v.value AS median, min(s.value) AS min,\n"
    "  max(s.value) AS max, count(s.rep) AS repetitions, json_extract(v.meta, '$.path') AS path,\n"
    "  json_extract(v.meta, '$.jobs') AS jobs, x.threads, x.device_name, v.measurement_id, v.options\n"
    "  FROM v_final v JOIN sample s USING(metric_id) JOIN measurement x ON x.id = v.measurement_id\n"
    "  GROUP BY v.metric_id;\n"
    "CREATE VIEW v_plan_measure AS SELECT e.name AS experiment, e.scale, e.sets, p.ord, p.variant, p.variant_ord,\n"
    "  p.task, p.task_ord, p.grid, p.grid_ord, p.seed, p.device, m.id AS run_id, w.nth, w.measure, w.version, w.key,\n"
    "  x.id AS measurement_id, coalesce(x.status, 'missing') AS status, x.error\n"
    "  FROM planned_measure w JOIN planned p USING(experiment_id, ord) JOIN experiment e ON e.id = p.experiment_id\n"
    "  LEFT JOIN model m ON " MODEL_OF_PLAN "\n"
    "  LEFT JOIN measurement x ON " MEASUREMENT_OF_PLAN ";\n"
    "CREATE VIEW v_grid AS SELECT e.name AS experiment, e.scale, e.sets, g.grid_ord, g.path, g.value\n"
    "  FROM planned_grid g JOIN experiment e ON e.id = g.experiment_id;\n"
    "CREATE VIEW v_plan AS SELECT e.name AS experiment, e.scale, e.sets, p.ord, p.variant, p.variant_ord, p.task,\n"
    "  p.task_ord, p.grid, p.grid_ord, p.seed, p.model_key AS run_key, p.device, m.id AS run_id,\n"
    "  CASE coalesce(m.status, 'missing') WHEN 'missing' THEN 'missing' WHEN 'failed' THEN 'failed' ELSE\n"
    "    (SELECT CASE max(CASE x.status WHEN 'failed' THEN 2 WHEN 'done' THEN 0 ELSE 1 END)\n"
    "     WHEN 2 THEN 'failed' WHEN 1 THEN 'missing' ELSE 'done' END FROM planned_measure w\n"
    "     LEFT JOIN measurement x ON " MEASUREMENT_OF_PLAN "\n"
    "     WHERE w.experiment_id = p.experiment_id AND w.ord = p.ord) END AS status\n"
    "  FROM planned p JOIN experiment e ON e.id = p.experiment_id\n"
    "  LEFT JOIN model m ON " MODEL_OF_PLAN ";\n"
    "CREATE VIEW v_result AS SELECT e.name AS experiment, e.scale, e.sets, p.variant, p.variant_ord, p.task,\n"
    "  p.task_ord, p.grid, p.grid_ord, p.seed, m.id AS run_id, v.metric, v.metric_version, v.unit, v.cell, v.step,\n"
    "  v.value, v.stderr, v.n, v.x, v.y, v.meta, p.ord, w.nth, v.measurement_id, v.measure, v.options, " PLACE_OF_V "\n"
    "  FROM planned p JOIN experiment e ON e.id = p.experiment_id JOIN model m ON " MODEL_OF_PLAN "\n"
    "  JOIN measurement x ON x.model_id = m.id JOIN v_final v ON v.measurement_id = x.id\n"
    "  LEFT JOIN planned_measure w ON w.experiment_id = p.experiment_id AND w.ord = p.ord\n"
    "  AND w.measure = x.measure AND w.version = x.version AND w.key = x.key\n"
    "  WHERE x.measure = 'training' OR w.nth IS NOT NULL;\n";
