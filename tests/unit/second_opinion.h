// second_opinion.h - what the tests share that compute stored figures a second way: experiments run in this process,
// what the database has of them, and each run's evaluation examples through plain_model.h.
#ifndef HY_SECOND_OPINION_H
#define HY_SECOND_OPINION_H
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/spec/spec_read.h"
#include "experiments/runner/job.h"
#include "results/store.h"
#include "tests/unit/plain_model.h"

#define OK(x)                                                                                 \
    do {                                                                                      \
        if ((x) != HY_OK) fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #x, hy_error_text()); \
    } while (0)

// ---------------------------------------------------------------------------------------------------- experiments
static char g_dir[256];

static inline int open_folder(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(g_dir, sizeof g_dir, "%s/hylab_second.XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(g_dir) ? 0 : -1;
}

static inline int remove_folder(void **state) {
    (void)state;
    char *command = hy_asprintf("rm -rf '%s'", g_dir);
    const int rc = system(command);
    free(command);
    return rc;
}

static inline char *in_folder(const char *name) { return hy_asprintf("%s/%s", g_dir, name); }

static inline void write_file(const char *name, const char *text) {
    char *path = in_folder(name);
    OK(hy_file_write(path, text, strlen(text)));
    free(path);
}

// Every run of an experiment as `hylab run` hands it to its children. remeasure: "" or the name of a measure.
static inline hy_status run_experiment(const char *yaml, const char *db_name, const char *remeasure) {
    char *path = in_folder(yaml), *db = in_folder(db_name);
    const int quiet = open("/dev/null", O_WRONLY);
    hy_experiment *e;
    hy_status s = hy_experiment_load(path, NULL, NULL, &e);
    if (!s) s = hy_experiment_check(e, "cpu");
    for (int i = 0; !s && i < e->n_items; i++) {
        hy_job job = {.item = e->items[i],
                      .experiment = e->name,
                      .db = db,
                      .device = "cpu",
                      .isa = "auto",
                      .threads = 1,
                      .jobs = 1};
        snprintf(job.remeasure, sizeof job.remeasure, "%s", remeasure);
        s = hy_run_one(&job, quiet);
    }
    if (e) hy_experiment_free(e);
    close(quiet);
    free(path), free(db);
    return s;
}

static inline hy_store *open_db(const char *name) {
    hy_store *s;
    char *path = in_folder(name);
    OK(hy_store_open(path, HY_STORE_READ, &s));
    free(path);
    return s;
}

// A statement with one row and one column of a number.
static inline double sql_number(hy_store *s, const char *sql) {
    hy_query *q;
    bool row;
    OK(hy_store_query(s, &q, sql, ""));
    OK(hy_query_step(q, &row));
    assert_true(row);
    const double v = hy_query_double(q, 0);
    hy_query_close(q);
    return v;
}

// ---------------------------------------------------------------------------------------------------- a run
enum { MOST_CELLS = 6, MOST_EXAMPLES = 12 };
typedef struct {
    int T, cell;
    int32_t *ids, *labels;
    plain_run run;
} example;
typedef struct {
    int64_t run_id, steps, seed;
    char variant[32], task_kind[32];
    hy_model_spec *spec;
    hy_train_spec recipe;
    hy_task *task;
    plain_weights w;
    int n_cells, n_examples[MOST_CELLS];
    example examples[MOST_CELLS][MOST_EXAMPLES];
} subject;

// The options of a task as hy_task_open takes them: its canonical text without what tells about its source.
static inline void open_task(subject *s, const char *kind, const char *text) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (const char *line = text; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] != 0)) {
        const size_t n = strcspn(line, "\n");
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(line, ":"), line);
        for (const hy_field *f = hy_task_fields(kind); f->name; f++)
            if (!strcmp(f->name, name)) hy_buf_printf(&b, "%.*s\n", (int)n, line);
    }
    OK(hy_task_open(kind, b.s, (uint64_t)s->seed, &s->task));
    free(b.s);
}

static inline void open_examples(subject *s) {
    s->n_cells = hy_task_cells(s->task, HY_SPLIT_EVAL);
    assert_true(s->n_cells <= MOST_CELLS);
    for (int c = 0; c < s->n_cells; c++) {
        const hy_cell *cell = hy_task_cell(s->task, HY_SPLIT_EVAL, c);
        assert_true(cell->count <= MOST_EXAMPLES);
        s->n_examples[c] = (int)cell->count;
        for (int i = 0; i < s->n_examples[c]; i++) {
            example *e = &s->examples[c][i];
            *e = (example){.T = cell->T, .cell = c, .ids = hy_xcalloc(2 * (size_t)cell->T, sizeof(int32_t))};
            e->labels = e->ids + cell->T;
            OK(hy_task_example(s->task, HY_SPLIT_EVAL, c, i, e->ids, e->labels));
            plain_forward(&s->w, e->ids, e->T, &e->run);
        }
    }
}

static inline hy_status fields_from(const char *text, const hy_field *fields, void *out) {
    hy_yaml *y = NULL;
    hy_fields_default(fields, out);
    hy_status s = hy_yaml_parse("recipe", text, strlen(text), &y);
    if (!s) s = hy_yaml_fields(y, fields, out, NULL);
    hy_yaml_free(y);
    return s;
}

// The spec, the task and the stored weights of a run.
static inline void open_subject(hy_store *db, int64_t run_id, subject *s) {
    hy_query *q;
    bool row;
    *s = (subject){.run_id = run_id, .spec = hy_xcalloc(1, sizeof(hy_model_spec))};
    OK(hy_store_query(db, &q,
                      "SELECT variant, spec, task_kind, task_options, train, seed, steps, weights FROM v_run"
                      " WHERE run_id = ?",
                      "l", run_id));
    OK(hy_query_step(q, &row));
    assert_true(row);
    snprintf(s->variant, sizeof s->variant, "%s", hy_query_text(q, 0));
    snprintf(s->task_kind, sizeof s->task_kind, "%s", hy_query_text(q, 2));
    s->seed = hy_query_int(q, 5), s->steps = hy_query_int(q, 6);
    hy_yaml *y = NULL;
    OK(hy_yaml_parse("spec", hy_query_text(q, 1), strlen(hy_query_text(q, 1)), &y));
    OK(hy_spec_from_yaml(y, s->spec));
    hy_yaml_free(y);
    OK(fields_from(hy_query_text(q, 4), hy_train_fields, &s->recipe));
    open_task(s, s->task_kind, hy_query_text(q, 3));
    char *path = hy_asprintf("%s/models/%s", g_dir, hy_query_text(q, 7));
    hy_st *st;
    OK(hy_st_open(path, 0, &st));
    plain_from_file(&s->w, s->spec, st);
    free(path);
    hy_query_close(q);
    open_examples(s);
    hy_st_close(st);
}

static inline void drop_weights(subject *s) {
    for (int c = 0; c < s->n_cells; c++)
        for (int i = 0; i < s->n_examples[c]; i++) {
            plain_run_free(&s->examples[c][i].run);
            free(s->examples[c][i].ids);
        }
    plain_weights_free(&s->w);
}

static inline void close_subject(subject *s) {
    drop_weights(s);
    hy_task_close(s->task);
    free(s->spec);
}

// ---------------------------------------------------------------------------------------------------- stored figures
typedef struct {
    int64_t id, n, step;
    char measure[24], metric[32], cell[48], kind[16], options[1024];
    int layer, head;
    bool final;
    double value, se, x, y;
} figure;

static inline void read_figure(const hy_query *q, figure *f) {
    *f = (figure){.id = hy_query_int(q, 0),
                  .layer = hy_query_null(q, 5) ? -1 : (int)hy_query_int(q, 5),
                  .head = hy_query_null(q, 7) ? -1 : (int)hy_query_int(q, 7),
                  .step = hy_query_int(q, 8),
                  .final = hy_query_int(q, 9) != 0,
                  .value = hy_query_double(q, 10),
                  .se = hy_query_double(q, 11),
                  .n = hy_query_int(q, 12),
                  .x = hy_query_double(q, 13),
                  .y = hy_query_double(q, 14)};
    snprintf(f->measure, sizeof f->measure, "%s", hy_query_text(q, 1));
    snprintf(f->options, sizeof f->options, "\n%s", hy_query_text(q, 2));
    snprintf(f->metric, sizeof f->metric, "%s", hy_query_text(q, 3));
    snprintf(f->cell, sizeof f->cell, "%s", hy_query_text(q, 4));
    snprintf(f->kind, sizeof f->kind, "%s", hy_query_text(q, 6));
}
#define FIGURES                                                                                                \
    "SELECT metric_id, measure, options, metric, cell, layer, kind, head, step, final, value, stderr, n, x, y" \
    " FROM v_metric "

// The text of an option that a measurement was taken with; "" where it was left at a default that is not written.
static inline const char *option(const char *options, const char *name) {
    static char text[64];
    char key[48];
    snprintf(key, sizeof key, "\n%s: ", name);
    const char *at = strstr(options, key);
    text[0] = 0;
    if (at) snprintf(text, sizeof text, "%.*s", (int)strcspn(at + strlen(key), "\n"), at + strlen(key));
    return text;
}
static inline int option_int(const char *options, const char *name, int otherwise) {
    const char *t = option(options, name);
    return *t >= '0' && *t <= '9' ? atoi(t) : otherwise;
}
static inline bool option_is(const char *options, const char *name, const char *value) {
    return !strcmp(option(options, name), value);
}

// Mean of n values and its standard error, in two passes.
static inline double mean_of(const double *v, int n) {
    double m = 0;
    for (int i = 0; i < n; i++) m += v[i];
    return m / n;
}
static inline double error_of_mean(const double *v, int n) {
    const double m = mean_of(v, n);
    double s = 0;
    for (int i = 0; i < n; i++) s += (v[i] - m) * (v[i] - m);
    return n < 2 ? NAN : sqrt(s / (n - 1) / n);
}
static inline bool close_to(double got, double want, double relative, double absolute) {
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    return fabs(got - want) <= relative * fabs(want) + absolute;
}
#endif
