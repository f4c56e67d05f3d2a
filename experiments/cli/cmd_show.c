// cmd_show.c - `hylab show`: what is stored (runs, one run, metric definitions, any view), read-only. What needs no
// database is show_spec.c and show_fields.c.
#include <stdlib.h>
#include <string.h>

#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/show_scores.h"
#include "experiments/cli/show_spec.h"
#include "results/metrics.h"
#include "results/query.h"

typedef struct {
    const char *db, *default_db, *experiment, *status, *variant;
    int limit;
    bool all;
    hy_table_format format;
} options;

// Adds every row of a query to a new table; numeric columns to the right, blobs as their size.
static hy_status query_table(hy_query *q, const char *title, int limit, hy_table **out) {
    hy_table *t = hy_table_new(title);
    int n = hy_query_columns(q), rows = 0;
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    for (int c = 0; c < n; c++)
        hy_table_column(t, hy_query_name(q, c), NULL, NULL, row && hy_query_number(q, c) ? HY_RIGHT : HY_LEFT);
    for (; !st && row && rows < limit; rows++, st = hy_query_step(q, &row)) {
        hy_table_row(t);
        for (int c = 0; c < n; c++) {
            size_t bytes = 0;
            if (hy_query_null(q, c))
                hy_table_empty(t);
            else if (hy_query_is_blob(q, c))
                hy_query_blob(q, c, &bytes), hy_table_text(t, "<%zu bytes>", bytes);
            else if (!hy_query_number(q, c))
                hy_table_text(t, "%s", hy_query_text(q, c));
            else if (!strpbrk(hy_query_text(q, c), ".eE"))
                hy_table_int(t, hy_query_int(q, c));
            else
                hy_table_num(t, hy_query_double(q, c), -6);
        }
    }
    if (!st && row) hy_table_note(t, "only the first %d row%s shown (--limit)", limit, limit == 1 ? " is" : "s are");
    *out = t;
    return st;
}

// Prints the rows of q and closes it.
static hy_status print_query(hy_query *q, const options *o, const char *title) {
    hy_table *t = NULL;
    hy_status st = query_table(q, title, o->limit, &t);
    if (!st) st = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    hy_query_close(q);
    return st;
}

static hy_status show_runs(hy_store *s, const options *o) {
    const hy_run_filter f = {o->experiment, o->status, o->variant, o->all};
    hy_query *q;
    HY_TRY(hy_check_run_filter(s, &f));
    HY_TRY(hy_ask_runs(s, &f, &q));
    return print_query(q, o, NULL);
}

static hy_status show_metrics(hy_store *s, const options *o) {
    hy_query *q;
    HY_TRY(hy_ask_metrics(s, &q));
    return print_query(q, o, NULL);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const hy_metric_def *const *)a)->name, (*(const hy_metric_def *const *)b)->name);
}

// What this program stores, without a database: the columns of hy_ask_metrics.
static hy_status show_known_metrics(const options *o) {
    static const char *const columns[] = {"name", "version", "unit", "direction", "stored", "meaning"};
    int n = 0;
    while (hy_metric_defs[n].name) n++;
    const hy_metric_def **sorted = hy_xcalloc((size_t)n, sizeof *sorted);
    for (int i = 0; i < n; i++) sorted[i] = &hy_metric_defs[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    hy_table *t = hy_table_new(NULL);
    for (int c = 0; c < 6; c++) hy_table_column(t, columns[c], NULL, NULL, c == 1 || c == 4 ? HY_RIGHT : HY_LEFT);
    for (int i = 0; i < n; i++) {
        hy_table_row(t);
        hy_table_text(t, "%s", sorted[i]->name);
        hy_table_int(t, sorted[i]->version);
        hy_table_text(t, "%s", sorted[i]->unit);
        hy_table_text(t, "%s", sorted[i]->direction);
        hy_table_int(t, 0);
        hy_table_text(t, "%s", sorted[i]->meaning);
    }
    hy_table_note(t, "there is no database yet: %s", o->db);
    const hy_status s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    free(sorted);
    return s;
}

// ---------------------------------------------------------------------------------------------------- one run
static void print_named(const char *name, const char *value) {
    char *text = hy_xstrdup(value);
    hy_text_hide_controls(text);
    if (!strchr(text, '\n')) {
        printf("%-14s %s\n", name, text);
    } else {
        printf("%s\n", name);
        for (const char *line = text; *line;) {
            const size_t n = strcspn(line, "\n");
            printf("    %.*s\n", (int)n, line);
            line += n + (line[n] == '\n');
        }
    }
    free(text);
}

static hy_status show_run_texts(hy_store *s, const char *id) {
    hy_query *q;
    HY_TRY(hy_ask_run(s, id, &q));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st && !row)
        st = hy_error(HY_EINPUT, "%s: there is no run %s; `hylab show runs` lists them", hy_store_path(s), id);
    for (int c = 0; !st && c < hy_query_columns(q); c++) {
        if (!hy_query_null(q, c)) print_named(hy_query_name(q, c), hy_query_text(q, c));
    }
    hy_query_close(q);
    return st;
}

static hy_status show_run(hy_store *s, const options *o, const char *id) {
    hy_query *q;
    if (o->format == HY_TABLE_TEXT) {
        HY_TRY(show_run_texts(s, id));
        printf("\n");
        HY_TRY(hy_ask_run_measurements(s, id, &q));
        HY_TRY(print_query(q, o, "measurements"));
        printf("\n");
    }
    HY_TRY(hy_ask_run_metrics(s, id, &q));
    HY_TRY(print_query(q, o, o->format == HY_TABLE_TEXT ? "figures" : NULL));
    if (o->format != HY_TABLE_TEXT) return HY_OK;
    printf("\n");
    HY_TRY(hy_ask_run_artifacts(s, id, &q));
    return print_query(q, o, "artifacts");
}

// A view's name or any statement; the connection takes only what reads.
static hy_status show_sql(hy_store *s, const options *o, const char *text) {
    hy_query *q;
    HY_TRY(strpbrk(text, " \t\n;") ? hy_ask_sql(s, text, &q) : hy_ask_view(s, text, &q));
    return print_query(q, o, NULL);
}

static bool is_status(const char *text) {
    static const char *const known[] = {"running", "interrupted", "done", "failed"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(text, known[i])) return true;
    return false;
}

static hy_status dispatch(const options *o, const hy_arg_list *rest) {
    const char *what = rest->v[0], *arg = rest->n > 1 ? rest->v[1] : NULL;
    bool needs = !strcmp(what, "run") || !strcmp(what, "sql");
    if (!needs && strcmp(what, "runs") && strcmp(what, "metrics") && strcmp(what, "scores"))
        return hy_error(HY_EINPUT, "nothing to show called \"%s\"; --help lists what there is", what);
    if (needs && !arg)
        return hy_error(HY_EINPUT, "show %s needs %s", what,
                        !strcmp(what, "run") ? "the number of a run" : "a view or a statement");
    if (!strcmp(what, "metrics") && o->db == o->default_db && !hy_file_exists(o->db)) return show_known_metrics(o);
    if (*o->status && !is_status(o->status))
        return hy_error(HY_EINPUT, "--status %s: there are running, interrupted, done and failed", o->status);
    hy_store *s;
    HY_TRY(hy_store_open(o->db, HY_STORE_READ, &s));
    hy_interrupts_defer();
    hy_status st = !strcmp(what, "runs")      ? show_runs(s, o)
                   : !strcmp(what, "metrics") ? show_metrics(s, o)
                   : !strcmp(what, "scores")  ? hy_show_scores(s, o->variant, o->limit, o->format)
                   : !strcmp(what, "run")     ? show_run(s, o, arg)
                                              : show_sql(s, o, arg);
    hy_interrupts_end();
    hy_store_close(s);
    return st;
}

int hy_cmd_show(int argc, char **argv) {
    static const struct {
        const char *word;
        int (*show)(int, char **);
    } others[] = {{"spec", hy_show_spec},
                  {"variants", hy_show_variants},
                  {"published", hy_show_published},
                  {"fields", hy_show_fields},
                  {"measures", hy_show_measures}};
    for (size_t i = 0; argc > 1 && i < sizeof others / sizeof *others; i++)
        if (!strcmp(argv[1], others[i].word)) return others[i].show(argc - 1, argv + 1);
    options o = {.db = hy_default_db(), .experiment = "", .status = "", .variant = "", .limit = 10000};
    o.default_db = o.db;
    const hy_arg args[] = {
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0, "results database ($HYLAB_DB, else runs/hylab.db)"},
        {"--experiment", "NAME", HY_ARG_TEXT, &o.experiment, 0, "runs: only those first made for this experiment"},
        {"--variant", "NAME", HY_ARG_TEXT, &o.variant, 0, "runs, scores: only this variant"},
        {"--status", "S", HY_ARG_TEXT, &o.status, 0,
         "runs: running, interrupted, done or failed, they or a measurement of them"},
        {"--all", NULL, HY_ARG_FLAG, &o.all, 0, "runs: also those that a later run replaced"},
        {"--limit", "N", HY_ARG_INT, &o.limit, 1, "at most N rows (10000)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab show runs|metrics|scores|run N|sql VIEW-OR-STATEMENT|spec MODEL|variants|published "
                 "FILE...|fields|measures [options]",
        .text = "Shows what is stored, and (without a database) what can be built.\n"
                "  runs             one line for each run\n"
                "  run N            everything about run N: provenance, resolved model, figures, artifacts\n"
                "  metrics          what the stored figures mean\n"
                "  scores           benchmark scores (hylab score --store), models side by side\n"
                "  sql TEXT         a view (v_run v_final v_metric v_curve v_timing v_param v_plan v_result ...) or a "
                "statement that only reads\n"
                "  spec MODEL       a variant, checkpoint or released folder worked out: layers, parameters, cache, "
                "FLOPs; has its own --help\n"
                "  variants [DIR]   the variant files there are\n"
                "  published FILE.. what is printed elsewhere of the models of variant files, beside what they come to "
                "here\n"
                "  fields [WHAT]    every key of a variant, a training recipe, a task or a measure\n"
                "  measures         what can be measured of a model\n\n"
                "examples:\n"
                "  hylab show runs --status failed\n"
                "  hylab show run 12\n"
                "  hylab show sql v_timing --format csv > timing.csv\n"
                "  hylab show sql 'SELECT variant, avg(value) FROM v_final WHERE metric = \"accuracy\" AND cell = \"\" "
                "GROUP BY 1'",
        .args = args,
        .min_rest = 1,
        .max_rest = 2,
    };
    hy_arg_list rest;
    bool help;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) st = dispatch(&o, &rest);
    free(rest.v);
    return hy_command_end("show", st);
}
