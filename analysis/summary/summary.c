// summary.c - see summary.h: loading and computing. Printing is summary_print.c.
#include "analysis/summary/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary_impl.h"
#include "results/record.h"

// ---------------------------------------------------------------------------------------------------- loading
static hy_status open_for(hy_store *s, const hy_summary *m, const char *sql, hy_query **q) {
    HY_TRY(hy_query_open(s, sql, q));
    hy_query_bind_text(*q, 1, m->experiment);
    hy_query_bind_text(*q, 2, m->scale);
    hy_query_bind_text(*q, 3, m->sets);
    return HY_OK;
}

static hy_status load_experiment(hy_store *s, hy_summary *m) {
    hy_query *q;
    HY_TRY(open_for(s, m, "SELECT question, tune_by, tune_cell, base FROM experiment WHERE name = ?1 AND scale = ?2 AND sets = ?3", &q));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st && !row)
        st = hy_error(HY_EINPUT, "%s: experiment %s%s%s was never run in this database", hy_store_path(s), m->experiment,
                      *m->scale ? " at scale " : "", m->scale);
    char **to[] = {&m->question, &m->tune_by, &m->tune_cell, &m->base};
    for (size_t i = 0; i < sizeof to / sizeof *to && !st; i++) *to[i] = hy_xstrdup(hy_query_text(q, i));
    hy_query_close(q);
    return st;
}

static hy_status load_rows(hy_store *s, hy_summary *m) {
    hy_query *q;
    HY_TRY(open_for(s, m, "SELECT variant, task, grid, variant_ord, task_ord, grid_ord, count(*), sum(status = 'done'), sum(status = 'failed')"
                          " FROM v_plan WHERE experiment = ?1 AND scale = ?2 AND sets = ?3 GROUP BY task_ord, variant_ord, grid_ord"
                          " ORDER BY task_ord, variant_ord, grid_ord", &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        m->rows = hy_xrealloc(m->rows, (size_t)(m->n_rows + 1) * sizeof *m->rows);
        hy_summary_row *r = &m->rows[m->n_rows++];
        *r = (hy_summary_row){.variant = hy_xstrdup(hy_query_text(q, 0)), .task = hy_xstrdup(hy_query_text(q, 1)),
                              .grid = hy_xstrdup(hy_query_text(q, 2)), .precision = hy_xstrdup("")};
        int *to[] = {&r->variant_ord, &r->task_ord, &r->grid_ord, &r->planned, &r->done, &r->failed};
        for (int i = 0; i < 6; i++) *to[i] = (int)hy_query_int(q, 3 + i);
        if (r->variant_ord >= m->n_variants) m->n_variants = r->variant_ord + 1;
        if (r->task_ord >= m->n_tasks) m->n_tasks = r->task_ord + 1;
        if (r->grid_ord >= m->n_grid) m->n_grid = r->grid_ord + 1;
    }
    hy_query_close(q);
    return st;
}

static hy_summary_row *find_row(hy_summary *m, int variant, int task, int grid) {
    for (int i = 0; i < m->n_rows; i++)
        if (m->rows[i].variant_ord == variant && m->rows[i].task_ord == task && m->rows[i].grid_ord == grid) return &m->rows[i];
    return NULL;
}

static void add_value(hy_summary_row *r, const hy_query *q) {
    const char *metric = hy_query_text(q, 3), *cell = hy_query_text(q, 4);
    hy_summary_value *v = NULL;
    for (int i = 0; i < r->n_values && !v; i++)
        if (!strcmp(r->values[i].metric, metric) && !strcmp(r->values[i].cell, cell)) v = &r->values[i];
    if (!v) {
        v = hy_summary_value_add(r);
        *v = (hy_summary_value){.metric = hy_xstrdup(metric), .cell = hy_xstrdup(cell), .unit = hy_xstrdup(hy_query_text(q, 5)),
                                .x = hy_query_double(q, 6), .y = hy_query_double(q, 7)};
    }
    hy_summary_value_push(v, hy_query_int(q, 9), hy_query_double(q, 8));
}

// Only the newest definition of each figure: values of different meaning are not averaged.
static hy_status load_values(hy_store *s, hy_summary *m) {
    hy_query *q;
    HY_TRY(open_for(s, m, "SELECT r.variant_ord, r.task_ord, r.grid_ord, r.metric, r.cell, r.unit, r.x, r.y, r.value, r.seed FROM v_result r"
                          " WHERE r.experiment = ?1 AND r.scale = ?2 AND r.sets = ?3 AND r.value IS NOT NULL AND r.metric_version ="
                          " (SELECT max(version) FROM metric_def d WHERE d.name = r.metric) ORDER BY r.seed, r.run_id", &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        hy_summary_row *r = find_row(m, (int)hy_query_int(q, 0), (int)hy_query_int(q, 1), (int)hy_query_int(q, 2));
        if (r) add_value(r, q);
    }
    hy_query_close(q);
    for (int i = 0; i < m->n_rows; i++)
        for (int k = 0; k < m->rows[i].n_values; k++) m->rows[i].values[k].stat = hy_stat_of(m->rows[i].values[k].v, m->rows[i].values[k].n);
    return st;
}

static hy_status load_paper(hy_store *s, hy_summary *m) {
    hy_query *q;
    HY_TRY(open_for(s, m, "SELECT p.variant, p.name, p.value FROM paper p JOIN experiment e ON e.id = p.experiment_id"
                          " WHERE e.name = ?1 AND e.scale = ?2 AND e.sets = ?3 ORDER BY p.name", &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        m->paper = hy_xrealloc(m->paper, (size_t)(m->n_paper + 1) * sizeof *m->paper);
        m->paper[m->n_paper++] = (hy_summary_paper){hy_xstrdup(hy_query_text(q, 0)), hy_xstrdup(hy_query_text(q, 1)), hy_query_double(q, 2)};
    }
    hy_query_close(q);
    return st;
}

// Whether a list "a; b; c" has that name: of "RTX 4080 SUPER" another is a part.
static bool listed(const char *names, const char *name) {
    const size_t n = strlen(name);
    for (const char *at = names; n && at && (at = strstr(at, name)); at += n)
        if ((at == names || !strncmp(at - 2, "; ", 2)) && (!at[n] || at[n] == ';')) return true;
    return false;
}

// What the runs were computed in and on: rows of different precision are told apart, devices are named.
static hy_status load_computed(hy_store *s, hy_summary *m) {
    hy_query *q;
    hy_buf names = {0};
    HY_TRY(open_for(s, m, "SELECT DISTINCT p.variant_ord, p.task_ord, p.grid_ord, " HY_SQL_PRECISION("r.train") ", r.device, r.device_name"
                          " FROM v_plan p JOIN run r ON r.id = p.run_id WHERE p.experiment = ?1 AND p.scale = ?2 AND p.sets = ?3"
                          " AND p.status = 'done' ORDER BY p.variant_ord, p.task_ord, p.grid_ord, r.device_name", &q));
    bool row = false;
    hy_status st;
    m->device = hy_xstrdup("");
    while (!(st = hy_query_step(q, &row)) && row) {
        hy_summary_row *r = find_row(m, (int)hy_query_int(q, 0), (int)hy_query_int(q, 1), (int)hy_query_int(q, 2));
        if (r && !*r->precision) {
            free(r->precision);
            r->precision = hy_xstrdup(hy_query_text(q, 3));
        }
        free(m->device);
        m->device = hy_xstrdup(hy_query_text(q, 4));
        if (!listed(names.s, hy_query_text(q, 5))) hy_buf_printf(&names, "%s%s", names.n ? "; " : "", hy_query_text(q, 5));
    }
    hy_query_close(q);
    m->device_names = names.s ? names.s : hy_xstrdup("");
    return st;
}

static hy_status load_waited(hy_store *s, hy_summary *m) {
    hy_query *q;
    HY_TRY(open_for(s, m, "SELECT max(json_extract(r.meta, '$.waited')) FROM v_result r WHERE r.experiment = ?1 AND r.scale = ?2 AND r.sets = ?3"
                          " AND r.metric LIKE 'throughput%'", &q));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st && row && !hy_query_null(q, 0)) m->waited = hy_query_double(q, 0);
    hy_query_close(q);
    return st;
}

hy_status hy_summary_load(hy_store *s, const char *experiment, const char *scale, const char *sets, hy_summary **out) {
    hy_summary *m = hy_xcalloc(1, sizeof *m);
    *out = NULL;
    m->experiment = hy_xstrdup(experiment);
    m->scale = hy_xstrdup(scale);
    m->sets = hy_xstrdup(sets);
    hy_status st = load_experiment(s, m);
    if (!st) st = load_rows(s, m);
    if (!st) st = load_values(s, m);
    if (!st) st = load_paper(s, m);
    if (!st) st = load_waited(s, m);
    if (!st) st = load_computed(s, m);
    if (st) {
        hy_summary_free(m);
        return st;
    }
    hy_summary_choose(m);
    *out = m;
    return HY_OK;
}

void hy_summary_free(hy_summary *m) {
    if (!m) return;
    for (int i = 0; i < m->n_rows; i++) {
        hy_summary_row *r = &m->rows[i];
        for (int k = 0; k < r->n_values; k++) {
            free(r->values[k].metric);
            free(r->values[k].cell);
            free(r->values[k].unit);
            free(r->values[k].v);
            free(r->values[k].seed);
        }
        free(r->values);
        free(r->variant);
        free(r->task);
        free(r->grid);
        free(r->precision);
    }
    for (int i = 0; i < m->n_paper; i++) {
        free(m->paper[i].variant);
        free(m->paper[i].name);
    }
    free(m->rows);
    free(m->paper);
    free(m->experiment);
    free(m->scale);
    free(m->sets);
    free(m->question);
    free(m->base);
    free(m->tune_by);
    free(m->tune_cell);
    free(m->device);
    free(m->device_names);
    free(m);
}

// The precisions of the rows, each once: "f32 and bf16".
static char *precisions(const hy_summary *s) {
    static const char *const all[] = {"f32", "tf32", "bf16"};
    hy_buf b = {0};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < s->n_rows; i++)
            if (!strcmp(s->rows[i].precision, all[k])) {
                hy_buf_printf(&b, "%s%s", b.n ? " and " : "", all[k]);
                break;
            }
    return b.s ? b.s : hy_xstrdup("");
}

bool hy_summary_mixes_precisions(const hy_summary *s) {
    char *text = precisions(s);
    const bool mixed = strchr(text, ' ') != NULL;
    free(text);
    return mixed;
}

const char *hy_summary_values_text(const hy_summary *s) {
    bool half = false, full = false;
    for (int i = 0; i < s->n_rows; i++) {
        half = half || !strcmp(s->rows[i].precision, "bf16");
        full = full || (*s->rows[i].precision && strcmp(s->rows[i].precision, "bf16"));
    }
    return !half ? "float32" : full ? "float32 or bfloat16, each as it was computed" : "bfloat16 (SSM states float32)";
}

char *hy_summary_computed_text(const hy_summary *s) {
    char *how = precisions(s), *text = NULL;
    if (*how && (strcmp(how, "f32") || strcmp(s->device, "cpu"))) text = hy_asprintf("computed in %s on %s (%s)", how, s->device, s->device_names);
    free(how);
    return text;
}

double hy_summary_paper_value(const hy_summary *s, const char *variant, const char *name) {
    for (int i = 0; i < s->n_paper; i++)
        if (!strcmp(s->paper[i].variant, variant) && !strcmp(s->paper[i].name, name)) return s->paper[i].value;
    return NAN;
}

const char *hy_summary_counterpart(const char *paper) {
    return strstr(paper, "cache") ? "cache_paper" : strstr(paper, "throughput") ? "throughput_decode" : strstr(paper, "ppl") ? "loss" : "accuracy";
}

double hy_summary_rank(const hy_summary *s, const char *task, const char *metric, const char *paper, int *n) {
    double *a = hy_xcalloc(2 * (size_t)(s->n_rows + 1), sizeof *a), *b = a + s->n_rows;
    bool whole = strncmp(metric, "throughput", 10) != 0;
    *n = 0;
    for (int i = 0; i < s->n_rows; i++) {
        if (!s->rows[i].best || strcmp(s->rows[i].task, task)) continue;
        const hy_summary_value *v = whole ? hy_summary_fair(&s->rows[i], metric) : hy_summary_get(&s->rows[i], metric, NULL);
        double p = hy_summary_paper_value(s, s->rows[i].variant, paper);
        if (!v || isnan(p)) continue;
        a[*n] = v->stat.mean;
        b[(*n)++] = p;
    }
    double r = hy_spearman(a, b, *n);
    free(a);
    return r;
}
