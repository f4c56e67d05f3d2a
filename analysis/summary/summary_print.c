// summary_print.c - the tables of summary.h for people and programs.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"

// A column that shows a metric: scaled, with its spread, left out where no row has it.
typedef struct {
    const char *metric, *name, *header, *unit;
    double scale;
    int decimals;
    bool spread, timing;
} column;
static const column columns[] = {
    {"accuracy", "accuracy", "accuracy", "%", 100, 2, true, false},
    {"loss", "loss", "loss", "nat", 1, 4, true, false},
    {"excess_loss", "excess_loss", "excess loss", "nat", 1, 4, true, false},
    {"accuracy_held_out", "accuracy_held_out", "accuracy, held out", "%", 100, 2, true, false},
    {"loss_held_out", "loss_held_out", "loss, held out", "nat", 1, 4, true, false},
    {"reached", "reached", "stopped early", "%", 100, 0, false, false},
    {"steps_to_reach", "steps_to_reach", "after", "step", 1, 0, true, false},
    {"parameters", "parameters", "parameters", "M", 1e-6, 3, false, false},
    {"cache_true", "cache", "cache", "MB", 1e-6, 3, false, false},
    {"cache_paper", "cache_paper", "cache, paper's way", "MB", 1e-6, 3, false, false},
    {"throughput_train", "train", "training", "tok/s", 1, 0, false, true},
    {"throughput_prefill", "prefill", "prefill", "tok/s", 1, 0, false, true},
    {"throughput_decode", "decode", "decoding", "tok/s", 1, 0, false, true},
    {"erf", "erf", "ERF", "tokens", 1, 1, true, false},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0], N_GRID_COLUMNS = 3 };  // the table of all points has the first ones

static const hy_summary_value *value_of(const hy_summary_row *r, const column *c) {
    return hy_summary_get(r, c->metric, c->timing ? NULL : "");
}

static bool anywhere(const hy_summary *s, const column *c) {
    for (int i = 0; i < s->n_rows; i++)
        if (value_of(&s->rows[i], c)) return true;
    return false;
}

// The names of the paper's figures, each once, "a|b|": in the order of the store.
static char *paper_names(const hy_summary *s) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int i = 0; i < s->n_paper; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++) seen |= !strcmp(s->paper[k].name, s->paper[i].name);
        if (!seen) hy_buf_printf(&b, "%s|", s->paper[i].name);
    }
    return b.s;
}

static void add_columns(const hy_summary *s, hy_table *t, bool grid, bool full, const char *papers) {
    hy_table_column(t, "variant", NULL, NULL, HY_LEFT);
    if (s->n_tasks > 1) hy_table_column(t, "task", NULL, NULL, HY_LEFT);
    if (grid) hy_table_column(t, "grid", full ? "best at" : "at", NULL, HY_LEFT);
    if (hy_summary_mixes_precisions(s)) hy_table_column(t, "precision", NULL, NULL, HY_LEFT);
    hy_table_column(t, "seeds", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "planned", NULL, NULL, HY_RIGHT);
    hy_table_hidden(t);
    hy_table_column(t, "failed", NULL, NULL, HY_RIGHT);
    hy_table_hidden(t);
    for (int i = 0; i < (full ? N_COLUMNS : N_GRID_COLUMNS); i++) {
        const column *c = &columns[i];
        if (!anywhere(s, c)) continue;
        hy_table_column(t, c->name, c->header, c->unit, HY_RIGHT);
        if (!c->spread) continue;
        char *sd = hy_asprintf("%s_sd", c->name);
        hy_table_column(t, sd, NULL, c->unit, HY_RIGHT);
        hy_table_hidden(t);
        free(sd);
    }
    for (const char *p = papers; full && *p; p += strcspn(p, "|") + 1) {
        int n = (int)strcspn(p, "|");
        char *name = hy_asprintf("paper_%.*s", n, p), *header = hy_asprintf("paper: %.*s", n, p);
        hy_table_column(t, name, header, NULL, HY_RIGHT);
        free(name);
        free(header);
    }
    if (full) hy_summary_speed_columns(s, t);
}

static void add_row(const hy_summary *s, hy_table *t, const hy_summary_row *r, bool grid, bool full, const char *papers) {
    hy_table_row(t);
    hy_table_text(t, "%s", r->variant);
    if (s->n_tasks > 1) hy_table_text(t, "%s", r->task);
    if (grid) hy_table_text(t, "%s", r->grid);
    if (hy_summary_mixes_precisions(s)) hy_table_text(t, "%s", r->precision);
    hy_table_int(t, r->done);
    hy_table_int(t, r->planned);
    hy_table_int(t, r->failed);
    for (int i = 0; i < (full ? N_COLUMNS : N_GRID_COLUMNS); i++) {
        const column *c = &columns[i];
        if (!anywhere(s, c)) continue;
        const hy_summary_value *v = value_of(r, c);
        double mean = v ? v->stat.mean * c->scale : NAN, sd = v ? v->stat.sd * c->scale : NAN;
        if (c->spread && !isnan(sd)) hy_table_num_pm(t, mean, sd, c->decimals);
        else hy_table_num(t, mean, c->decimals);
        if (c->spread) hy_table_num(t, sd, c->decimals);
    }
    for (const char *p = papers; full && *p; p += strcspn(p, "|") + 1) {
        char *name = hy_asprintf("%.*s", (int)strcspn(p, "|"), p);
        hy_table_num(t, hy_summary_paper_value(s, r->variant, name), -5);
        free(name);
    }
    if (full) hy_summary_speed_row(s, t, r);
}

// Ranks against the paper's figures, and pairs that are told apart, task by task.
static void add_comparisons(const hy_summary *s, hy_table *t, const char *papers) {
    const char *const metrics[] = {"accuracy", strcmp(s->tune_by, "accuracy") ? s->tune_by : ""};
    for (const char *p = papers; *p; p += strcspn(p, "|") + 1) {
        char *name = hy_asprintf("%.*s", (int)strcspn(p, "|"), p);
        for (int i = 0; i < s->n_rows; i++) {
            if (i > 0 && s->rows[i].task_ord == s->rows[i - 1].task_ord) continue;
            char *text = hy_summary_rank_text(s, s->rows[i].task, i == 0, name);
            if (text) hy_table_note(t, "%s", text);
            free(text);
        }
        free(name);
    }
    for (int i = 0; i < s->n_rows; i++)
        for (int k = 0; k < 2; k++) {
            if (!*metrics[k] || (i > 0 && s->rows[i].task_ord == s->rows[i - 1].task_ord)) continue;
            char *text = hy_summary_pairs_text(s, s->rows[i].task, metrics[k]);
            if (text) hy_table_note(t, "%s", text);
            free(text);
        }
}

static void add_notes(const hy_summary *s, hy_table *t, const char *papers) {
    int failed = 0, missing = 0;
    for (int i = 0; i < s->n_rows; i++) {
        failed += s->rows[i].failed;
        missing += s->rows[i].planned - s->rows[i].done - s->rows[i].failed;
    }
    char *choice = hy_summary_choice_text(s);
    hy_table_note(t, "mean ± standard deviation over the seeds that are done%s%s", choice ? "; " : "", choice ? choice : "");
    free(choice);
    char *computed = hy_summary_computed_text(s);
    if (computed) hy_table_note(t, "%s%s", computed, hy_summary_mixes_precisions(s) ? "; rows of different precision are different runs" : "");
    free(computed);
    for (int i = 0; i < s->n_rows; i++)
        if (hy_summary_get(&s->rows[i], "reached", "")) {
            hy_table_note(t, "stopped early: share of the runs whose evaluation accuracy reached train.stop_accuracy; after: steps of these runs only");
            break;
        }
    if (failed) hy_table_note(t, "%d runs failed: hylab show runs --status failed", failed);
    if (missing) hy_table_note(t, "%d runs are still to do", missing);
    const hy_summary_value *timing = NULL;
    for (int i = 0; i < s->n_rows && !timing; i++)
        for (int k = 0; k < N_COLUMNS && !timing; k++) timing = columns[k].timing ? value_of(&s->rows[i], &columns[k]) : NULL;
    if (timing && hy_summary_mixed_batch(s))
        hy_table_note(t, "throughput: context %.0f tokens (hylab show sql v_timing has all timings)", timing->x);
    else if (timing)
        hy_table_note(t, "throughput: context %.0f tokens, batch %.0f (hylab show sql v_timing has all of them)", timing->x, timing->y);
    hy_summary_speed_note(s, t);
    if (s->waited > HY_SUMMARY_WAITED)
        hy_table_note(t, "throughput is disturbed: threads waited up to %.0f %% of the time while other programs had the processors; time again (--force) in quiet",
                      100 * s->waited);
    add_comparisons(s, t, papers);
}

static hy_table *make_table(const hy_summary *s, bool full, const char *papers) {
    char *title = hy_asprintf("%s%s%s%s%s", s->experiment, *s->scale ? ", scale " : "", s->scale, full ? "" : ", all grid points",
                              *s->sets ? " (with --set)" : "");
    hy_table *t = hy_table_new(title);
    bool grid = s->n_grid > 1;
    free(title);
    add_columns(s, t, grid, full, papers);
    for (int i = 0, last = -1; i < s->n_rows; i++) {
        if (full && !s->rows[i].best) continue;
        if (last >= 0 && last != s->rows[i].task_ord) hy_table_rule(t);
        last = s->rows[i].task_ord;
        add_row(s, t, &s->rows[i], grid, full, papers);
    }
    if (full) add_notes(s, t, papers);
    return t;
}

hy_status hy_summary_print(const hy_summary *s, hy_table_format format, FILE *f) {
    char *papers = paper_names(s);
    hy_table *best = make_table(s, true, papers), *all = s->n_grid > 1 ? make_table(s, false, papers) : NULL;
    hy_status st;
    if (format == HY_TABLE_JSON) {
        hy_json *doc = hy_json_new_object();
        hy_json_set_string(doc, "experiment", s->experiment);
        hy_json_set_string(doc, "scale", s->scale);
        hy_json_set(doc, "summary", hy_table_json(best));
        if (all) hy_json_set(doc, "grid", hy_table_json(all));
        st = hy_json_print(doc, f);
        hy_json_free(doc);
    } else {
        st = hy_table_print(best, format, f);
        if (!st && all) {
            fputc('\n', f);
            st = hy_table_print(all, format, f);
        }
    }
    hy_table_free(best);
    hy_table_free(all);
    free(papers);
    return st;
}
