// run_plan.c - see run_plan.h.
#include "experiments/cli/run_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec/published.h"
#include "experiments/runner/job.h"
#include "experiments/runner/progress.h"
#include "results/query_models.h"
#include "core/base/plural.h"

// ---------------------------------------------------------------------------------------------------- how long
typedef struct {
    char *model_key, *variant, *task, *precision;
    double tokens_per_s, parameters;
} rate;
typedef struct {
    int n;
    rate *v;
} rates;

static void rates_free(rates *r) {
    for (int i = 0; i < r->n; i++)
        free(r->v[i].model_key), free(r->v[i].variant), free(r->v[i].task), free(r->v[i].precision);
    free(r->v);
}

static hy_status rates_read(const hy_sweep *s, rates *out) {
    hy_query *q;
    hy_rate_row r;
    bool row = false;
    hy_status st;
    if (!s->store) return HY_OK;
    HY_TRY(hy_ask_rates(s->store, s->device, &q));
    while (!(st = hy_next_rate(q, &row, &r)) && row) {
        out->v = hy_xrealloc(out->v, (size_t)(out->n + 1) * sizeof *out->v);
        out->v[out->n++] = (rate){hy_xstrdup(r.model_key), hy_xstrdup(r.variant), hy_xstrdup(r.task),
                                  hy_xstrdup(r.precision), r.tokens_per_s,        r.parameters};
    }
    hy_query_close(q);
    return st;
}

// Tokens per second to expect of a training: those of the same model, else of the same variant and task, else those of
// the model of the nearest size, in proportion to the sizes. NaN: nothing is known.
static double rate_of(const rates *r, const hy_run_item *it, double parameters) {
    const char *precision = hy_precision_name(it->train->precision);
    double best = NAN, distance = INFINITY;
    for (int i = 0; i < r->n; i++)
        if (!strcmp(r->v[i].model_key, it->model_key)) return r->v[i].tokens_per_s;
    for (int i = 0; i < r->n; i++) {
        const rate *v = &r->v[i];
        if (strcmp(v->precision, precision)) continue;
        if (!strcmp(v->variant, it->variant) && !strcmp(v->task, it->task)) return v->tokens_per_s;
        const double d = fabs(log(v->parameters / parameters));
        if (!(d < distance)) continue;  // also where the size is not known
        distance = d;
        best = v->tokens_per_s * v->parameters / parameters;
    }
    return best;
}

// Steps that an interrupted run has behind it.
static long steps_done(const hy_sweep *s, const hy_run_item *it) {
    if (!s->store) return 0;
    char *stem = hy_job_stem(s->db, it, s->device), *path = hy_asprintf("%s.safetensors", stem);
    const long step = hy_checkpoint_step(path);
    free(stem), free(path);
    const long end = hy_train_end(it->train);
    return step < end ? step : end;
}

// Tokens that are still to be trained on.
static double tokens_of(const hy_run_item *it, long done) {
    return (double)(hy_train_end(it->train) - done) * it->train->batch * it->train->accumulate * it->task_tokens;
}

// ---------------------------------------------------------------------------------------------------- the table
static const char *state_word(const hy_sweep_item *it, long done) {
    switch (it->state) {
        case HY_ITEM_PENDING:
            return done ? "to resume" : it->again ? "to train again" : it->train ? "to do" : "to measure";
        case HY_ITEM_BUSY: return "running";
        case HY_ITEM_STORED: return "stored";
        case HY_ITEM_STORED_FAILED: return "failed";
        case HY_ITEM_TWIN: return "same as another";
        case HY_ITEM_LEFT_OUT: return "left out";
        default: return "";
    }
}

static const char *plan_precisions(const hy_experiment *e) {
    for (int i = 1; i < e->n_items; i++)
        if (e->items[i].train->precision != e->items[0].train->precision) return "each in its own precision";
    return e->items[0].train->precision == HY_PRECISION_BF16 ? "bfloat16, SSM states float32" : "float32";
}

// Tokens of the first cache that is measured; if none is, the paper's.
static int cache_tokens(const hy_measure_plan *p) {
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->v[i].measure->name, "cache"))
            return hy_measure_option_int(p->v[i].measure, &p->v[i].options, "tokens");
    return HY_PUBLISHED_TOKENS;
}

// What is going to be done, summed up.
typedef struct {
    int models, unknown, resumed, measures[HY_MEASURES_MAX];  // measures: by their number in hy_measures
    double tokens, seconds;
} totals;

static void add_columns(hy_table *t) {
    static const struct {
        const char *name, *header, *unit;
        hy_align_side side;
    } columns[] = {{"variant", NULL, NULL, HY_LEFT},
                   {"task", NULL, NULL, HY_LEFT},
                   {"grid", NULL, NULL, HY_LEFT},
                   {"seed", NULL, NULL, HY_RIGHT},
                   {"state", NULL, NULL, HY_LEFT},
                   {"run", NULL, NULL, HY_RIGHT},
                   {"steps", NULL, NULL, HY_RIGHT},
                   {"batch", NULL, NULL, HY_RIGHT},
                   {"lr", NULL, NULL, HY_RIGHT},
                   {"parameters", NULL, NULL, HY_RIGHT},
                   {"cache", "cache", "MB", HY_RIGHT},
                   {"cache_paper", "paper's way", "MB", HY_RIGHT},
                   {"train_tokens", "to train", "tokens", HY_RIGHT},
                   {"train_time", "about", "s", HY_RIGHT},
                   {"measures", "to measure", NULL, HY_LEFT},
                   {"key", NULL, NULL, HY_LEFT}};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        hy_table_column(t, columns[i].name, columns[i].header, columns[i].unit, columns[i].side);
}

static void add_model(hy_table *t, const hy_run_item *it, int tokens, int64_t parameters) {
    hy_cache_bytes true_bytes, paper_bytes;
    hy_state_cache(it->spec, hy_precision_dtype(it->train->precision), tokens, NULL, &true_bytes);
    hy_model_cache(it->spec, HY_CACHE_PAPER, tokens, 2, 2, 2, NULL, &paper_bytes);
    hy_table_int(t, hy_train_end(it->train));
    hy_table_int(t, (int64_t)it->train->batch * it->train->accumulate);
    hy_table_num(t, it->train->lr, -4);
    hy_table_int(t, parameters);
    hy_table_num(t, true_bytes.total / 1e6, 3);
    hy_table_num(t, paper_bytes.total / 1e6, 3);
}

static void add_training(hy_table *t, const hy_run_item *it, long done, const rates *r, double parameters,
                         totals *sum) {
    const double tokens = tokens_of(it, done), per_s = rate_of(r, it, parameters);
    hy_table_num(t, tokens, 0);
    hy_table_num(t, tokens / per_s, 0);
    sum->models++;
    sum->resumed += done > 0;
    sum->tokens += tokens;
    if (isnan(per_s))
        sum->unknown++;
    else
        sum->seconds += tokens / per_s;
}

static void add_measures(hy_table *t, const hy_run_item *it, uint64_t todo, totals *sum) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int k = 0; k < it->n_measures; k++) {
        if (!(todo >> k & 1)) continue;
        hy_buf_printf(&b, "%s%s", b.n ? ", " : "", it->measures[k].measure->name);
        for (int i = 0; hy_measures[i]; i++) sum->measures[i] += hy_measures[i] == it->measures[k].measure;
    }
    hy_table_text(t, "%s", b.s);
    free(b.s);
}

static void add_row(hy_table *t, const hy_sweep *s, int i, int tokens, const rates *r, totals *sum) {
    const hy_run_item *it = &s->e->items[i];
    const hy_sweep_item *found = &s->items[i];
    const bool pending = found->state == HY_ITEM_PENDING,
               trains = pending && found->train && it->origin == HY_ORIGIN_TRAINED;
    const long done = trains && !(hy_sweep_claim_model(s, i) & HY_CLAIM_FORCE) ? steps_done(s, it) : 0;
    hy_param_count n;
    hy_model_count(it->spec, &n);
    hy_table_row(t);
    hy_table_text(t, "%s", it->variant);
    hy_table_text(t, "%s", it->task);
    hy_table_text(t, "%s", it->grid);
    hy_table_int(t, it->seed);
    hy_table_text(t, "%s", state_word(found, done));
    if (found->run_id)
        hy_table_int(t, found->run_id);
    else
        hy_table_empty(t);
    add_model(t, it, tokens, n.total);
    if (trains && (found->same_model == i || s->items[found->same_model].state != HY_ITEM_PENDING)) {
        add_training(t, it, done, r, (double)n.total, sum);
    } else {
        hy_table_empty(t);
        hy_table_empty(t);
    }
    add_measures(t, it, pending ? found->todo : 0, sum);
    hy_table_text(t, "%.12s", it->model_key);
}

static void add_training_note(hy_table *t, const totals *sum) {
    char time[32], resumed[64] = "", rest[96] = "";
    if (!sum->models) {
        hy_table_note(t, "nothing is to be trained");
        return;
    }
    hy_duration_text(sum->seconds, time, sizeof time);
    if (sum->resumed) snprintf(resumed, sizeof resumed, " (of %d begun already, what is left)", sum->resumed);
    if (sum->unknown) snprintf(rest, sizeof rest, ", and %d whose speed is not known yet", sum->unknown);
    if (sum->unknown == sum->models)
        hy_table_note(t, "to train: %d model%s, %.3g million tokens%s; no stored model tells how long that takes",
                      sum->models, hy_s(sum->models), sum->tokens / 1e6, resumed);
    else
        hy_table_note(t,
                      "to train: %d model%s, %.3g million tokens%s; one after the other about %s by the speed of "
                      "stored models%s",
                      sum->models, hy_s(sum->models), sum->tokens / 1e6, resumed, time, rest);
}

static void add_notes(hy_table *t, const hy_sweep *s, int tokens, const totals *sum) {
    hy_table_note(t,
                  "cache: of %d tokens, MB of 10^6 bytes; first what a runtime holds (%s), then the paper's accounting "
                  "(2 bytes a value)",
                  tokens, plan_precisions(s->e));
    add_training_note(t, sum);
    hy_buf b = {0};
    for (int i = 0; hy_measures[i]; i++)
        if (sum->measures[i]) hy_buf_printf(&b, "%s%s of %d", b.n ? ", " : "", hy_measures[i]->name, sum->measures[i]);
    if (b.n)
        hy_table_note(t, "to measure: %s; the time that takes is not estimated", b.s);
    else
        hy_table_note(t, "nothing is to be measured");
    free(b.s);
}

hy_status hy_run_plan_print(const hy_sweep *s, const char *note, hy_table_format format) {
    rates r = {0};
    totals sum = {0};
    hy_status st = rates_read(s, &r);
    hy_table *t = hy_table_new(NULL);
    add_columns(t);
    const int tokens = cache_tokens(&s->e->measures);
    for (int i = 0; !st && i < s->e->n_items; i++) add_row(t, s, i, tokens, &r, &sum);
    add_notes(t, s, tokens, &sum);
    if (note) hy_table_note(t, "%s", note);
    if (!st) st = hy_table_print(t, format, stdout);
    hy_table_free(t);
    rates_free(&r);
    return st;
}

// ---------------------------------------------------------------------------------------------------- the stored plan
hy_status hy_run_plan_store(hy_store *store, const hy_experiment *e, const char *device, const int *shard_of,
                            int shard) {
    hy_planned_row *plan = hy_xcalloc((size_t)e->n_items, sizeof *plan);
    hy_planned_key *keys = hy_xcalloc((size_t)e->n_items * HY_MEASURES_MAX, sizeof *keys), *next = keys;
    hy_paper_row *paper = hy_xcalloc((size_t)e->n_paper, sizeof *paper);
    for (int i = 0; i < e->n_items; i++) {
        const hy_run_item *it = &e->items[i];
        plan[i] = (hy_planned_row){.variant = it->variant,
                                   .task = it->task,
                                   .grid = it->grid,
                                   .variant_ord = it->variant_ord,
                                   .task_ord = it->task_ord,
                                   .grid_ord = it->grid_ord,
                                   .seed = it->seed,
                                   .model_key = it->model_key,
                                   .device = device,
                                   .n_measures = it->n_measures,
                                   .measures = next};
        for (int k = 0; k < it->n_measures; k++)
            *next++ =
                (hy_planned_key){it->measures[k].measure->name, it->measures[k].measure->version, it->measures[k].key};
    }
    for (int i = 0; i < e->n_paper; i++)
        paper[i] = (hy_paper_row){e->paper[i].variant, e->paper[i].name, e->paper[i].value};
    const hy_experiment_record r = {e->name,          e->scale,       e->sets, e->question, e->yaml,      e->n_items,
                                    e->n_paper,       plan,           paper,   e->tune_by,  e->tune_cell, e->base,
                                    e->n_axis_values, e->axis_values, true,    shard_of,    shard};
    int64_t id;
    const hy_status s = hy_experiment_store(store, &r, &id);
    free(plan);
    free(keys);
    free(paper);
    return s;
}
