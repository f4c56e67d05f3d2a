// migrate_v4.c - from version 3 to 4: every run becomes a model and its measurements. A model keeps its run's number.
//
// Helper tables, gone at the end:
//   moved(run_id, ...)       what each run becomes
//   wanted(run_key, ord ...) the measurements that runs of a key were to make, in the order in which they were made
//   place(cell, ...)         layer, kind and head that were packed into names
//
// A run that failed while it was measured is a finished model: its training and what it had measured before stand, the
// measure that failed is a failed measurement. Weights were not kept. Runs that differed in their measures only are one
// model now: the newest that is done stays, gets the measurements of the others where these were the same bit by bit,
// and supersedes them.
#include <stdlib.h>
#include <string.h>

#include "results/identity.h"
#include "results/record_impl.h"
#include "results/schema_impl.h"

// ---------------------------------------------------------------------------------------------------- views of others
// Views of the user's own would break in between: they are put aside and made again at the end.
static hy_status put_aside_views(hy_store *s, hy_buf *own) {
    static const char ours[] = "|v_run|v_metric|v_final|v_curve|v_timing|v_plan|v_result|";
    hy_buf drop = {0};
    hy_query *q;
    HY_TRY(hy_query_open(s,
                         "SELECT '|' || name || '|', sql, 'DROP VIEW \"' || replace(name, '\"', '\"\"') || '\";'"
                         " FROM sqlite_schema WHERE type = 'view'",
                         &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        hy_buf_printf(&drop, "%s\n", hy_query_text(q, 2));
        if (!strstr(ours, hy_query_text(q, 0))) hy_buf_printf(own, "%s;\n", hy_query_text(q, 1));
    }
    hy_query_close(q);
    if (!st && drop.n) st = hy_store_exec(s, drop.s);
    free(drop.s);
    return st;
}

// ---------------------------------------------------------------------------------------------------- what runs become
static const char before[] =
    "ALTER TABLE run RENAME TO old_run;\n"
    "ALTER TABLE metric RENAME TO old_metric;\n"
    "ALTER TABLE sample RENAME TO old_sample;\n"
    "ALTER TABLE artifact RENAME TO old_artifact;\n"
    "ALTER TABLE curve RENAME TO old_curve;\n"
    "ALTER TABLE plan RENAME TO old_plan;\n"
    "CREATE TABLE moved(run_id INTEGER PRIMARY KEY, run_key TEXT, model_key TEXT, seed INTEGER, device TEXT,"
    " origin TEXT, precision TEXT, status TEXT, error TEXT, superseded_by INTEGER, failed_ord INTEGER);\n"
    "CREATE INDEX moved_model ON moved(model_key, seed, device);\n"
    "CREATE INDEX moved_run ON moved(run_key);\n"
    "CREATE TABLE wanted(run_key TEXT, ord INTEGER, measure TEXT, options TEXT, task TEXT, key TEXT,"
    " PRIMARY KEY(run_key, ord));\n"
    "CREATE TABLE place(cell TEXT PRIMARY KEY, layer INTEGER, kind TEXT, head INTEGER);\n";

// Old figures m with their definitions d, and the measure that a figure belongs to.
#define FIGURES "old_metric m JOIN metric_def d ON d.id = m.def_id"
#define MEASURE                                                                                                    \
    "CASE WHEN m.final = 0 OR d.name IN ('train_seconds','train_rate','reached','steps_to_reach') THEN 'training'" \
    " WHEN d.name IN ('accuracy','token_accuracy','exact','loss','excess_loss','bits_per_token','bits_per_byte')"  \
    " THEN 'accuracy' WHEN d.name IN ('parameters','flops_token') THEN 'size' WHEN d.name LIKE 'cache%'"           \
    " THEN 'cache' WHEN d.name LIKE 'map%' THEN 'maps' WHEN d.name LIKE 'throughput%' THEN 'throughput'"           \
    " ELSE d.name END"
#define HAS_FIGURE(name) \
    "EXISTS (SELECT 1 FROM " FIGURES " WHERE m.run_id = r.id AND m.final = 1 AND d.name = '" name "')"

static hy_status name_model(const hy_query *q, hy_query *add) {
    const char *train = hy_query_text(q, 7), *status = hy_query_text(q, 8);
    char key[33], steps[32] = "", precision[16] = "f32";
    hy_canonical_value(train, "steps", steps, sizeof steps);
    hy_canonical_value(train, "precision", precision, sizeof precision);
    hy_model_identity_v3(hy_query_text(q, 4), hy_query_text(q, 5), hy_query_text(q, 6), train, "", key);
    const bool later = !strcmp(status, "failed") && hy_query_int(q, 11);  // in a measure; in which: settle_failed
    hy_query_bind(add, "lsslsssssli", hy_query_int(q, 0), hy_query_text(q, 1), key, hy_query_int(q, 2),
                  hy_query_text(q, 3), strcmp(steps, "0") ? "trained" : "random", precision, later ? "done" : status,
                  later || hy_query_null(q, 9) ? NULL : hy_query_text(q, 9), hy_query_int(q, 10), (int)later);
    return hy_query_run(add);
}

static hy_status name_models(hy_store *s) {
    hy_query *q, *add = NULL;
    HY_TRY(hy_query_open(s,
                         "SELECT r.id, r.run_key, r.seed, r.device, r.spec, r.task_kind, r.task_options, r.train,"
                         " r.status, r.error, r.superseded_by, " HAS_FIGURE("train_seconds") " OR " HAS_FIGURE(
                             "parameters") " FROM old_run r",
                         &q));
    hy_status st = hy_query_open(s,
                                 "INSERT INTO moved(run_id, run_key, model_key, seed, device, origin, precision,"
                                 " status, error, superseded_by, failed_ord)"
                                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, nullif(?10, 0), ?11)",
                                 &add);
    bool row = false;
    while (!st && !(st = hy_query_step(q, &row)) && row) st = name_model(q, add);
    hy_query_close(add);
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- measures
// In the order in which they were made. task: whether its text is part of what is measured.
static const struct {
    const char *name;
    bool task;
} measures[] = {{"training", false}, {"accuracy", true}, {"size", true},       {"cache", false},
                {"maps", true},      {"erf", true},      {"throughput", false}};
enum { N_MEASURES = sizeof measures / sizeof measures[0] };

// The options of a measure in the text of all: "name:\n", then its lines, two spaces deeper. false: it was not wanted.
static bool options_of(const char *text, const char *name, hy_buf *out) {
    const size_t n = strlen(name);
    bool inside = false, found = false;
    hy_buf_printf(out, "%s", "");
    for (const char *line = text, *next; *line; line = next) {
        const char *end = strchr(line, '\n');
        next = end ? end + 1 : line + strlen(line);
        if (*line != ' ')
            inside = !strncmp(line, name, n) && line[n] == ':';
        else if (inside && strncmp(line, "  only_seed:", 12))
            hy_buf_write(out, line + 2, (size_t)(next - line) - 2);
        found = found || inside;
    }
    return found;
}

static hy_status want(hy_query *add, const char *run_key, int ord, const char *options, const char *task) {
    char key[33];
    hy_measurement_identity(options, task, key);
    hy_query_bind(add, "sissss", run_key, ord, measures[ord].name, options, task, key);
    return hy_query_run(add);
}

static hy_status want_all(hy_query *add, const char *run_key, const char *train, const char *task, const char *text) {
    char steps[32] = "", examples[32] = "0";
    hy_canonical_value(train, "steps", steps, sizeof steps);
    hy_canonical_value(train, "eval_examples", examples, sizeof examples);
    const bool trained = strcmp(steps, "0");
    for (int m = 0; m < N_MEASURES; m++) {
        hy_buf options = {0};
        bool wanted = options_of(text, measures[m].name, &options);
        if (m == 0) wanted = trained;
        if (m == 1 && (wanted = trained) && strcmp(examples, "0")) hy_buf_printf(&options, "examples: %s\n", examples);
        if (m == 2) wanted = true;  // sizes were always told
        const hy_status st = wanted ? want(add, run_key, m, options.s, measures[m].task ? task : "") : HY_OK;
        free(options.s);
        HY_TRY(st);
    }
    return HY_OK;
}

static hy_status list_measures(hy_store *s) {
    hy_query *q, *add = NULL;
    HY_TRY(hy_query_open(s, "SELECT run_key, train, task_options, measures FROM old_run GROUP BY run_key", &q));
    hy_status st = hy_query_open(s,
                                 "INSERT INTO wanted(run_key, ord, measure, options, task, key)"
                                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                                 &add);
    bool row = false;
    while (!st && !(st = hy_query_step(q, &row)) && row)
        st = want_all(add, hy_query_text(q, 0), hy_query_text(q, 1), hy_query_text(q, 2), hy_query_text(q, 3));
    hy_query_close(add);
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- names
// "layer3.ssm", "map.layer3.attention.head0", "kv": what of that is a layer, a kind, a head.
static void take_apart(const char *name, int *layer, const char **kind, int *head) {
    static const char *const kinds[] = {"attention", "ssm", "layer", "kv", "meta", "conv"};
    *layer = *head = -1;
    *kind = NULL;
    if (!strncmp(name, "map.", 4)) name += 4;
    while (*name) {
        const size_t n = strcspn(name, ".");
        char word[64];
        int number, used = 0;
        snprintf(word, sizeof word, "%.*s", (int)n, name);
        if (sscanf(word, "layer%d%n", &number, &used) == 1 && !word[used])
            *layer = number;
        else if (sscanf(word, "head%d%n", &number, &used) == 1 && !word[used])
            *head = number;
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
            if (!strcmp(word, kinds[i])) *kind = kinds[i];
        name += n + (name[n] == '.');
    }
}

static hy_status place_names(hy_store *s) {
    hy_query *q, *add = NULL;
    HY_TRY(hy_query_open(s,
                         "SELECT m.cell FROM " FIGURES " WHERE " MEASURE " IN ('cache','maps','erf')"
                         " UNION SELECT name FROM old_artifact",
                         &q));
    hy_status st = hy_query_open(s,
                                 "INSERT INTO place(cell, layer, kind, head)"
                                 " VALUES(?1, nullif(?2, -1), ?3, nullif(?4, -1))",
                                 &add);
    bool row = false;
    while (!st && !(st = hy_query_step(q, &row)) && row) {
        int layer, head;
        const char *kind;
        take_apart(hy_query_text(q, 0), &layer, &kind, &head);
        hy_query_bind(add, "sisi", hy_query_text(q, 0), layer, kind, head);
        st = hy_query_run(add);
    }
    hy_query_close(add);
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- moving
// The measure in which a run failed is the first without a figure or, where all have one, the last (throughput, which
// stores timing by timing).
static const char settle_failed[] =
    "UPDATE moved SET failed_ord = coalesce("
    " (SELECT min(w.ord) FROM wanted w WHERE w.run_key = moved.run_key AND w.ord > 1 AND NOT EXISTS"
    "  (SELECT 1 FROM " FIGURES " WHERE m.run_id = moved.run_id AND " MEASURE " = w.measure)),"
    " (SELECT max(w.ord) FROM wanted w WHERE w.run_key = moved.run_key)) WHERE failed_ord;\n";

// Of several settled runs that are one model the newest that is done, with all its measures if there is one, stays; of
// several open ones the newest.
#define SAME_MODEL "k.model_key = moved.model_key AND k.seed = moved.seed AND k.device = moved.device"
static const char settle_equals[] =
    "UPDATE moved SET superseded_by = nullif((SELECT k.run_id FROM moved k WHERE " SAME_MODEL
    "  AND k.status IN ('done','failed') AND k.superseded_by IS NULL"
    "  ORDER BY k.status = 'done' DESC, k.failed_ord = 0 DESC, k.run_id DESC LIMIT 1), run_id)"
    " WHERE status IN ('done','failed') AND superseded_by IS NULL;\n"
    "DELETE FROM moved WHERE status IN ('running','interrupted') AND run_id < (SELECT max(k.run_id) FROM moved k"
    " WHERE " SAME_MODEL " AND k.status IN ('running','interrupted'));\n";

#define PROVENANCE                                                                                              \
    "git_commit, git_dirty, build, host, device_name, threads, kernel_path, started, ended, resumes, process, " \
    "heartbeat"
static const char move_models[] =
    "INSERT INTO model(id, model_key, seed, device, origin, status, superseded_by, error, precision, source, steps,"
    "  variant, experiment, grid, spec_hash, spec, task, task_kind, task_options, train, " PROVENANCE ")"
    " SELECT r.id, w.model_key, r.seed, r.device, w.origin, w.status, w.superseded_by, w.error, w.precision, '',"
    "  r.steps, variant, experiment, grid, spec_hash, spec, task, task_kind, task_options, train, " PROVENANCE
    " FROM old_run r JOIN moved w ON w.run_id = r.id;\n";

// failed_ord 0: nothing failed in a measure. Of a training that failed there is only that.
#define FAILED "m.status = 'failed' OR w.ord = nullif(m.failed_ord, 0)"
static const char move_measurements[] =
    "INSERT INTO measurement(model_id, measure, version, options, task, key, status, error, " PROVENANCE ")"
    " SELECT r.id, w.measure, 1, w.options, w.task, w.key, iif(" FAILED ", 'failed', 'done'),"
    "  iif(" FAILED ", r.error, NULL), " PROVENANCE
    " FROM old_run r JOIN moved m ON m.run_id = r.id JOIN wanted w ON w.run_key = r.run_key"
    " WHERE (m.status = 'done' AND (m.failed_ord = 0 OR w.ord <= m.failed_ord))"
    " OR (m.status = 'failed' AND w.ord = 0) ORDER BY r.id, w.ord;\n";

static const char move_figures[] =
    "INSERT INTO metric(id, measurement_id, def_id, cell, layer, kind, head, step, final, value, stderr, n, x, y, meta)"
    " SELECT m.id, x.id, m.def_id, m.cell, p.layer, p.kind, p.head, m.step, m.final, m.value, m.stderr, m.n, m.x, m.y,"
    "  m.meta FROM " FIGURES " JOIN measurement x ON x.model_id = m.run_id AND x.measure = " MEASURE
    " LEFT JOIN place p ON p.cell = m.cell AND x.measure IN ('cache','maps','erf');\n"
    "INSERT INTO sample SELECT metric_id, rep, value FROM old_sample;\n"
    "INSERT INTO artifact(id, measurement_id, name, layer, kind, head, dtype, shape, meta, data)"
    " SELECT a.id, x.id, a.name, p.layer, p.kind, p.head, a.dtype, a.shape, a.meta, a.data FROM old_artifact a"
    " JOIN measurement x ON x.model_id = a.run_id AND x.measure = 'maps' JOIN place p ON p.cell = a.name;\n"
    "INSERT INTO curve SELECT x.id, c.step, c.loss, c.lr, c.grad_norm, c.tokens_per_s"
    " FROM old_curve c JOIN measurement x ON x.model_id = c.run_id AND x.measure = 'training';\n";

// A planned row that was never run keeps its old key, which is nothing's: it is missing until it is planned again.
static const char move_plans[] =
    "INSERT INTO planned SELECT p.experiment_id, p.ord, p.variant, p.variant_ord, p.task, p.task_ord, p.grid,"
    "  p.grid_ord, p.seed, coalesce((SELECT m.model_key FROM moved m WHERE m.run_key = p.run_key LIMIT 1), p.run_key),"
    "  p.device FROM old_plan p;\n"
    // a grid of one axis, out of its label "lr=1e-3"; of which part of the experiment it was is not known
    "INSERT OR IGNORE INTO planned_grid(experiment_id, grid_ord, path, value)"
    " SELECT experiment_id, grid_ord, substr(grid, 1, at - 1),"
    "  iif(v GLOB '*[0-9]*' AND v NOT GLOB '*[^-+0-9.eE]*', CAST(v AS NUMERIC), v)"
    " FROM (SELECT experiment_id, grid_ord, grid, instr(grid, '=') AS at, substr(grid, instr(grid, '=') + 1) AS v"
    "  FROM old_plan) WHERE at > 0 AND instr(v, '=') = 0;\n"
    "INSERT INTO planned_measure(experiment_id, ord, nth, measure, version, key)"
    " SELECT p.experiment_id, p.ord, w.ord, w.measure, 1, w.key FROM old_plan p JOIN wanted w USING(run_key)"
    " WHERE w.ord > 0;\n";

static const char after[] =
    "DROP TABLE old_sample; DROP TABLE old_metric; DROP TABLE old_artifact; DROP TABLE old_curve;\n"
    "DROP TABLE old_plan; DROP TABLE old_run; DROP TABLE moved; DROP TABLE wanted; DROP TABLE place;\n";

// Nothing may be left behind: a row that found no place here would be lost with its table.
static hy_status check_all_moved(hy_store *s) {
    static const char *const tables[][2] = {{"old_metric", "metric"},
                                            {"old_sample", "sample"},
                                            {"old_curve", "curve"},
                                            {"old_artifact", "artifact"},
                                            {"old_plan", "planned"}};
    hy_status st = HY_OK;
    for (size_t i = 0; !st && i < sizeof tables / sizeof tables[0]; i++) {
        const char *const *t = tables[i];
        char *sql = hy_asprintf("SELECT (SELECT count(*) FROM %s) - (SELECT count(*) FROM %s)", t[0], t[1]);
        hy_query *q;
        bool row = false;
        st = hy_query_open(s, sql, &q);
        if (!st) st = hy_query_step(q, &row);
        if (!st && hy_query_int(q, 0))
            st = hy_error(HY_EFAIL, "%s: %lld rows of %s belong to no measurement", hy_store_path(s),
                          (long long)hy_query_int(q, 0), t[0] + strlen("old_"));
        hy_query_close(q);
        free(sql);
    }
    return st;
}

// ---------------------------------------------------------------------------------------------------- equal models
static hy_status take_measurements(hy_store *s, int64_t from, int64_t to) {
    bool same = false;
    HY_TRY(hy_model_same_bits(s, from, to, &same));
    if (!same) return HY_OK;
    return hy_store_run(s,
                        "UPDATE measurement SET model_id = ?2 WHERE model_id = ?1 AND measure <> 'training'"
                        " AND superseded_by IS NULL AND (measure, version, key) NOT IN"
                        " (SELECT measure, version, key FROM measurement WHERE model_id = ?2)",
                        "ll", from, to);
}

static hy_status join_models(hy_store *s) {
    hy_query *q;
    HY_TRY(hy_query_open(s,
                         "SELECT m.run_id, m.superseded_by FROM moved m JOIN moved k ON k.run_id = m.superseded_by"
                         " WHERE m.run_key <> k.run_key AND m.status = 'done' AND k.status = 'done'"
                         " ORDER BY m.run_id DESC",
                         &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row)
        if ((st = take_measurements(s, hy_query_int(q, 0), hy_query_int(q, 1)))) break;
    hy_query_close(q);
    return st;
}

static hy_status add_params(hy_store *s) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "SELECT id, spec, task_options, train, precision FROM model", &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        st = hy_store_params(s, hy_query_int(q, 0), hy_query_text(q, 1), hy_query_text(q, 2), hy_query_text(q, 3),
                             hy_query_text(q, 4));
        if (st) break;
    }
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- all of it
// A program of the old version that still trains would find its tables gone when it wants to store.
static hy_status check_idle(hy_store *s) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "SELECT id, process, heartbeat, host FROM run WHERE status = 'running'", &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        if (!hy_process_alive(hy_query_text(q, 1), hy_query_int(q, 2))) continue;
        st = hy_error(HY_EFAIL, "%s: run %lld is under way in an older hylab (process %ld on %s): wait or stop it",
                      hy_store_path(s), (long long)hy_query_int(q, 0), hy_process_pid(hy_query_text(q, 1)),
                      hy_query_text(q, 3));
        break;
    }
    hy_query_close(q);
    return st;
}

static hy_status move_all(hy_store *s) {
    static const char *const steps[] = {settle_failed,     settle_equals, move_models,
                                        move_measurements, move_figures,  move_plans};
    HY_TRY(hy_store_exec(s, before));
    HY_TRY(hy_store_exec(s, hy_schema_v4_tables));
    HY_TRY(name_models(s));
    HY_TRY(list_measures(s));
    HY_TRY(place_names(s));
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) HY_TRY(hy_store_exec(s, steps[i]));
    HY_TRY(check_all_moved(s));
    HY_TRY(join_models(s));
    HY_TRY(add_params(s));
    HY_TRY(hy_store_exec(s, after));
    return hy_store_exec(s, hy_schema_v4_views);
}

hy_status hy_schema_migrate_v4(hy_store *s) {
    hy_buf own = {0};
    hy_status st = check_idle(s);
    if (!st) st = put_aside_views(s, &own);
    if (!st) st = move_all(s);
    if (!st && own.n) st = hy_store_exec(s, own.s);
    free(own.s);
    return st;
}
