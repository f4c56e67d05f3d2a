// show_scores.c - see show_scores.h. What was asked of the harness otherwise (shots, version of the task, a part of the
// documents) makes another line: only equal questions stand beside each other.
#include "experiments/cli/show_scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = 8 };  // columns that a screen takes

typedef struct {
    int64_t run, n;
    char variant[64], task[96], metric[48], how[96];
    double value, error;  // NaN: none is stored
} score;

static hy_status read_scores(hy_store *s, const char *variant, int limit, score **out, int *n, bool *more) {
    hy_query *q;
    bool row;
    hy_status st;
    *out = NULL, *n = 0, *more = false;
    HY_TRY(hy_ask_scores(s, variant, &q));
    for (; !(st = hy_query_step(q, &row)) && row; ++*n) {
        if (*n == limit) {
            *more = true;
            break;
        }
        *out = hy_xrealloc(*out, sizeof **out * (size_t)(*n + 1));
        score *x = &(*out)[*n];
        *x = (score){.run = hy_query_int(q, 0), .value = hy_query_double(q, 5), .error = NAN, .n = hy_query_int(q, 7)};
        if (!hy_query_null(q, 6)) x->error = hy_query_double(q, 6);
        snprintf(x->variant, sizeof x->variant, "%s", hy_query_text(q, 1));
        snprintf(x->task, sizeof x->task, "%s", hy_query_text(q, 2));
        snprintf(x->metric, sizeof x->metric, "%s", hy_query_text(q, 3));
        snprintf(x->how, sizeof x->how, "%s", hy_query_text(q, 4));
    }
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- a line each
static void add_lines(hy_table *t, const score *v, int n) {
    static const char *const names[] = {"run", "variant", "task", "metric", "how", "score", "stderr", "n"};
    for (int c = 0; c < 8; c++) hy_table_column(t, names[c], NULL, NULL, c == 0 || c > 4 ? HY_RIGHT : HY_LEFT);
    for (int i = 0; i < n; i++) {
        hy_table_row(t);
        hy_table_int(t, v[i].run);
        hy_table_text(t, "%s", v[i].variant);
        hy_table_text(t, "%s", v[i].task);
        hy_table_text(t, "%s", v[i].metric);
        hy_table_text(t, "%s", v[i].how);
        hy_table_num(t, v[i].value, 4);
        hy_table_num(t, v[i].error, 4);
        hy_table_int(t, v[i].n);
    }
}

// ---------------------------------------------------------------------------------------------------- side by side
static bool same_question(const score *a, const score *b) {
    return !strcmp(a->task, b->task) && !strcmp(a->metric, b->metric) && !strcmp(a->how, b->how);
}

// The models in the order of their runs; more than MODELS: 0.
static int list_models(const score *v, int n, int64_t run[MODELS], const char *name[MODELS]) {
    int models = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < models && run[k] != v[i].run) k++;
        if (k < models) continue;
        if (models == MODELS) return 0;
        run[models] = v[i].run, name[models++] = v[i].variant;
    }
    return models;
}

static void add_cell(hy_table *t, const score *v, int n, const score *question, int64_t run) {
    for (int i = 0; i < n; i++) {
        if (v[i].run != run || !same_question(&v[i], question)) continue;
        const bool large = fabs(v[i].value) >= 1e4;  // perplexities of models that have learned nothing
        if (large || isnan(v[i].error))
            hy_table_num(t, v[i].value, large ? -4 : 4);
        else
            hy_table_num_pm(t, v[i].value, v[i].error, 4);
        if (large && !isnan(v[i].error)) hy_table_mark(t, " ± %.2g", v[i].error);
        if (v[i].n != question->n) hy_table_mark(t, " (n %lld)", (long long)v[i].n);
        return;
    }
    hy_table_empty(t);
}

static void add_side_by_side(hy_table *t, const score *v, int n, const int64_t *run, const char *const *name,
                             int models) {
    hy_table_column(t, "task", NULL, NULL, HY_LEFT);
    hy_table_column(t, "metric", NULL, NULL, HY_LEFT);
    hy_table_column(t, "how", NULL, NULL, HY_LEFT);
    hy_table_column(t, "n", NULL, NULL, HY_RIGHT);
    for (int k = 0; k < models; k++) {
        char *header = hy_asprintf("%s (run %lld)", name[k], (long long)run[k]);
        hy_table_column(t, header, NULL, NULL, HY_RIGHT);
        free(header);
    }
    for (int i = 0; i < n; i++) {
        bool told = false;
        for (int j = 0; j < i && !told; j++) told = same_question(&v[i], &v[j]);
        if (told) continue;
        hy_table_row(t);
        hy_table_text(t, "%s", v[i].task);
        hy_table_text(t, "%s", v[i].metric);
        hy_table_text(t, "%s", v[i].how);
        hy_table_int(t, v[i].n);
        for (int k = 0; k < models; k++) add_cell(t, v, n, &v[i], run[k]);
    }
    hy_table_note(
        t, "± is the harness's standard error over n documents; a model's own n stands beside its score where it "
           "differs");
}

hy_status hy_show_scores(hy_store *s, const char *variant, int limit, hy_table_format format) {
    score *v;
    int n;
    bool more;
    int64_t run[MODELS];
    const char *name[MODELS];
    hy_status st = read_scores(s, variant, limit, &v, &n, &more);
    if (!st && !n)
        st = hy_error(HY_EINPUT, "%s holds no scores%s%s: hylab score MODEL --store RESULTS.json --db FILE stores them",
                      hy_store_path(s), *variant ? " of " : "", variant);
    if (!st) {
        hy_table *t = hy_table_new(NULL);
        const int models = format == HY_TABLE_TEXT ? list_models(v, n, run, name) : 0;
        if (models)
            add_side_by_side(t, v, n, run, name, models);
        else
            add_lines(t, v, n);
        if (more) hy_table_note(t, "only the first %d scores are shown (--limit)", limit);
        st = hy_table_print(t, format, stdout);
        hy_table_free(t);
    }
    free(v);
    return st;
}
