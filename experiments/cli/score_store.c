// score_store.c - see score_store.h.
#include "experiments/cli/score_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/family/model_file.h"
#include "core/format/json.h"
#include "experiments/runner/adopt.h"

enum { RESULTS_MOST = 256 << 20, NAME = 192 };

// Part of what a measurement is identified by. `hylab run` cannot take it: the harness does.
typedef struct {
    char task[NAME], version[NAME];
    int shots, limited;
} score_options;
static const hy_field fields[] = {
    {"task", HY_F_STRING, offsetof(score_options, task), NAME, "none", 0, 0, NULL, "task of the harness"},
    {"version", HY_F_STRING, offsetof(score_options, version), NAME, "none", 0, 0, NULL, "of the task"},
    {"shots", HY_F_INT, offsetof(score_options, shots), 0, "0", 0, 1e6, NULL, "examples before the question"},
    {"limited", HY_F_INT, offsetof(score_options, limited), 0, "0", 0, 2e9, NULL,
     "documents, where not all were asked; 0: all"},
    HY_FIELD_END,
};
static const hy_measure measure = {.name = "scores",
                                   .version = 1,
                                   .doc = "tasks of lm-evaluation-harness (hylab score --store)",
                                   .fields = fields,
                                   .options_size = sizeof(score_options),
                                   .needs = HY_NEEDS_WEIGHTS};

// A member of the member `key` of the file, by the task's name; NULL: not there.
static const hy_json *of_task(const hy_json *file, const char *key, const char *task) {
    const hy_json *all = hy_json_get(file, key);
    return all && hy_json_type_of(all) == HY_JSON_OBJECT ? hy_json_get(all, task) : NULL;
}

static bool is_number(const hy_json *j) {
    return j && (hy_json_type_of(j) == HY_JSON_REAL || hy_json_type_of(j) == HY_JSON_INT);
}
static double number_of(const hy_json *j, const char *where) {
    double v = NAN;
    return hy_json_double(j, where, -HUGE_VAL, HUGE_VAL, &v) ? NAN : v;
}

static void read_options(const hy_json *file, const char *task, score_options *o, int64_t *n) {
    const hy_json *version = of_task(file, "versions", task), *shots = of_task(file, "n-shot", task),
                  *samples = of_task(file, "n-samples", task);
    snprintf(o->task, sizeof o->task, "%s", task);
    snprintf(o->version, sizeof o->version, "none");
    if (is_number(version)) snprintf(o->version, sizeof o->version, "%g", number_of(version, "versions"));
    const char *text;
    if (version && hy_json_type_of(version) == HY_JSON_STRING && !hy_json_string(version, "versions", &text))
        snprintf(o->version, sizeof o->version, "%s", text);
    if (is_number(shots)) o->shots = (int)number_of(shots, "n-shot");
    *n = 0;
    if (!samples || hy_json_type_of(samples) != HY_JSON_OBJECT) return;
    const hy_json *asked = hy_json_get(samples, "effective"), *all = hy_json_get(samples, "original");
    if (is_number(asked)) *n = (int64_t)number_of(asked, "effective");
    if (is_number(all) && *n && *n < (int64_t)number_of(all, "original")) o->limited = (int)*n;
}

// "acc,none" with "acc_stderr,none" beside it: task and metric are the cell; a filter that is not "none" follows.
static hy_status add_metrics(const hy_json *found, const char *where, const char *task, int64_t n, hy_facts *facts) {
    for (void *it = hy_json_first(found); it; it = hy_json_next(found, it)) {
        const char *key = hy_json_key(it), *comma = strchr(key, ',');
        if (!comma || strlen(key) >= NAME || !is_number(hy_json_member(it)) || strstr(key, "_stderr,")) continue;
        char metric[NAME], error[3 * NAME];
        snprintf(metric, sizeof metric, "%.*s", (int)(comma - key), key);
        snprintf(error, sizeof error, "%s_stderr%s", metric, comma);
        const bool plain = !strcmp(comma, ",none");
        char *cell = hy_asprintf("%s %s%s", task, metric, plain ? "" : comma);
        const double v = number_of(hy_json_member(it), where);
        if (!isfinite(v)) {
            const hy_status s = hy_error(HY_EINPUT, "%s: %s: it is no number", where, key);
            free(cell);
            return s;
        }
        hy_fact *f = hy_facts_add(facts, "score", cell, v);
        f->n = n ? n : 1;
        if (is_number(hy_json_get(found, error))) f->se = number_of(hy_json_get(found, error), where);
        free(cell);
    }
    return HY_OK;
}

static hy_status store_task(const hy_json *file, const char *results, const char *task, const hy_json *found,
                            const char *db, const hy_adopted *a, int *stored) {
    hy_facts facts = {0};
    hy_measure_options options;
    memset(&options, 0, sizeof options);
    int64_t n;
    char *where = hy_asprintf("%s: results.%s", results, task);
    hy_status s = HY_OK;
    if (hy_json_type_of(found) != HY_JSON_OBJECT)
        s = hy_error(HY_EINPUT, "%s: an object is wanted, not %s", where, hy_json_type_name(hy_json_type_of(found)));
    if (!s && strlen(task) >= NAME) s = hy_error(HY_EINPUT, "%s: the name is too long", where);
    if (!s) {
        score_options *o = (score_options *)&options;
        read_options(file, task, o, &n);
        s = add_metrics(found, where, task, n, &facts);
    }
    if (!s && facts.n_facts) s = hy_adopt_into(db, a, &measure, &options, &facts);
    if (!s) *stored += facts.n_facts;
    hy_facts_free(&facts);
    free(where);
    return s;
}

hy_status hy_scores_store(const char *results, const char *path, const char *const *sets, const char *db) {
    hy_json *file = NULL;
    const hy_json *all;
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    int stored = 0;
    hy_status s = hy_json_read(results, RESULTS_MOST, &file);
    if (!s && hy_json_type_of(file) != HY_JSON_OBJECT)
        s = hy_error(HY_EINPUT, "%s: this is no file of results that lm_eval wrote", results);
    if (!s) s = hy_json_get_object(file, results, "results", &all);
    if (!s) s = hy_model_read_spec(path, sets, spec);
    const hy_adopted a = {.spec = spec,
                          .path = path,
                          .from_file = hy_model_file_kind_of(path) != HY_MODEL_YAML,
                          .init_seed = 1,
                          .seed = 1};
    if (!s) {
        for (void *it = hy_json_first(all); it && !s; it = hy_json_next(all, it))
            s = store_task(file, results, hy_json_key(it), hy_json_member(it), db, &a, &stored);
        if (!s && !stored) s = hy_error(HY_EINPUT, "%s: results: there is no figure in it", results);
    }
    hy_json_free(file);
    free(spec);
    return s;
}
