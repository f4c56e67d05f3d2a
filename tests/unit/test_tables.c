// test_tables.c - from the database to what is printed: a store filled by hand, in which no two figures are equal, and
// every number of the CSV of `hylab run` computed a second time from the raw rows, with SQL of its own, the formulas
// written out here and Student's t in closed form or from a printed table.
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>

#include "tests/unit/store_fixture.h"

#include "analysis/report/report_page.h"
#include "analysis/summary/summary.h"
#include "core/format/json.h"
#include "results/identity.h"

enum { V = 3, T = 2, G = 2, S = 4 };
static const char *const variants[V] = {"Llama", "Mamba", "Hybrid"}, *const tasks[T] = {"near", "far"},
                         *const grid[G] = {"lr=1", "lr=2"};
static const double paper[V] = {721, 4720, 2400};  // of throughput; Llama is the base
static const char *const erf_options[2] = {"examples: 2\nssm: heads\n", "examples: 2\nssm: group\n"};

// What is planned of every run, in this order.
enum { ACCURACY, CACHE, SPEED, ERF, ERF_2, MEASURES };
static const char *const measure[MEASURES] = {"accuracy", "cache", "throughput", "erf", "erf"};
static const char *options(int m) { return m >= ERF ? erf_options[m - ERF] : ""; }

// Nothing of it was found: the model failed, the measurement failed, or neither was tried yet.
static bool model_failed(int v, int t, int g, int s) { return v == 1 && t == 0 && g == 1 && s == 2; }
static bool missing(int v, int t, int g, int s) { return v == 2 && t == 1 && g == 0 && s == 3; }
// Trained, and nothing was asked of it yet.
static bool unmeasured(int v, int t, int g, int s) {
    return s == 0 && ((v == 0 && t == 1 && g == 0) || (v == 1 && t == 0));
}
static bool measure_failed(int v, int t, int g, int s, int m) {
    // of one row all seeds: its second set is still the second
    return (m == ERF && ((v == 0 && t == 0 && s == 1) || (v == 1 && t == 1 && g == 1))) ||
           (m == ACCURACY && v == 2 && t == 1 && g == 1 && s == 0);
}

// Between 0 and 1, another one for each place.
static double draw(int v, int t, int g, int s, int m, int k) {
    return (double)(hy_mix64((uint64_t)(((v * T + t) * G + g) * S + s), (uint64_t)(m * 10 + k)) >> 11) * 0x1p-53;
}

static void add(hy_facts *f, const char *metric, const char *cell, double value, double x, double y) {
    hy_fact *a = hy_facts_add(f, metric, cell, value);
    a->x = x, a->y = y;
    if (!strncmp(metric, "throughput", 10)) hy_fact_samples(a, (double[]){value / 2, value, value * 3}, 3);
}

static void take(hy_store *s, int64_t model, int v, int t, int g, int k, int m) {
    const hy_measurement_record r = {
        .model_id = model, .measure = measure[m], .version = 1, .options = options(m), .task = ""};
    hy_claim c;
    int64_t id;
    hy_facts f = {.steps = 1};
    OK(hy_measurement_claim(s, &r, 0, &c, &id));
#define R(i) draw(v, t, g, k, m, i)
    if (m == ACCURACY) {
        const double level = 0.3 + 0.2 * v, seed = 0.05 * draw(0, 0, 0, k, 99, 0);
        add(&f, "accuracy", "", level + seed + 0.01 * R(0), NAN, NAN);
        add(&f, "accuracy", "T8", R(1), 8, NAN);
        add(&f, "loss", "", 1 + R(2), NAN, NAN);
        add(&f, "exact", "", R(3), NAN, NAN);
    } else if (m == CACHE) {
        add(&f, "cache_true", "", 2e6 + 1e6 * v, 100, -1);
        add(&f, "cache_true", "kv", 3e6, 100, -1);
        add(&f, "cache_paper", "", 5e6 + 1e6 * v, 100, -1);
    } else if (m == SPEED) {
        add(&f, "throughput_prefill", "T8.B1", 900 + R(0), 8, 1);
        add(&f, "throughput_prefill", "T16.B1", 500 + 100 * R(1), 16, 1);
        add(&f, "throughput_decode", "T16.B1", 40 + R(2), 16, 1);
        add(&f, "throughput_decode", "T8.B1", 90 + R(3), 8, 1);
    } else {
        add(&f, "erf", "", 5 + R(0), NAN, NAN);
        add(&f, "erf", "layer1", 2 + R(1), NAN, NAN);
    }
    OK(hy_measurement_settle(s, id, &f, measure_failed(v, t, g, k, m) ? "out of order" : NULL));
    hy_facts_free(&f);
}

static void fill(hy_store *s, const hy_planned_row *p) {
    const int v = p->variant_ord, t = p->task_ord, g = p->grid_ord, k = (int)p->seed - 1;
    if (missing(v, t, g, k)) return;
    hy_model_record r = {.seed = p->seed,
                         .device = p->device,
                         .variant = "called otherwise when it was trained",
                         .experiment = "e",
                         .grid = "",
                         .task = p->task};
    snprintf(r.model_key, sizeof r.model_key, "%s", p->model_key);
    hy_claim c;
    int64_t model;
    OK(hy_model_claim(s, &r, 0, &c, &model));
    OK(hy_model_settle(s, model, NULL, NULL, NULL, model_failed(v, t, g, k) ? "diverged" : NULL));
    for (int m = 0; m < MEASURES && !model_failed(v, t, g, k) && !unmeasured(v, t, g, k); m++)
        take(s, model, v, t, g, k, m);
}

static void make_store(hy_store *s) {
    char key[V * T * G][32], measure_key[MEASURES][33];
    hy_planned_key wanted[MEASURES];
    hy_planned_row plan[V * T * G * S];
    hy_paper_row printed[V];
    for (int m = 0; m < MEASURES; m++) {
        hy_measurement_identity(options(m), "", measure_key[m]);
        wanted[m] = (hy_planned_key){measure[m], 1, measure_key[m]};
    }
    int n = 0;
    for (int k = S - 1; k >= 0; k--)  // seeds are planned in another order than they count
        for (int i = 0; i < V * T * G; i++) {
            const int v = i / (T * G), t = i / G % T, g = i % G;
            snprintf(key[i], sizeof key[0], "key %d", i);
            plan[n++] = (hy_planned_row){.variant = variants[v],
                                         .task = tasks[t],
                                         .grid = grid[g],
                                         .variant_ord = v,
                                         .task_ord = t,
                                         .grid_ord = g,
                                         .seed = k + 1,
                                         .model_key = key[i],
                                         .device = "cpu",
                                         .n_measures = MEASURES,
                                         .measures = wanted};
        }
    for (int v = 0; v < V; v++) printed[v] = (hy_paper_row){variants[v], "throughput", paper[v]};
    const hy_experiment_record e = {"e", "", "", "q", "yaml", n, V, plan, printed, "loss", "", "Llama", 0, NULL};
    int64_t id;
    OK(hy_experiment_store(s, &e, &id));
    for (int i = 0; i < n; i++) fill(s, &plan[i]);
    hy_planned_row other = plan[3];  // another experiment with a seed more of the same model: none of its business
    other.seed = 77;
    const hy_experiment_record f = {"f", "", "", "q", "yaml", 1, 0, &other, NULL, "", "", "", 0, NULL};
    OK(hy_experiment_store(s, &f, &id));
}

// ---------------------------------------------------------------------------------------------------- the second way
static sqlite3 *g_raw;

// Values of the seeds 1 to S; NaN where there is none. measured_with: the options.
static int by_seed(int v, int t, int g, const char *metric, const char *cell, const char *measured_with,
                   double out[S]) {
    static const char sql[] =
        "SELECT m.seed, v.value FROM metric v, measurement x, model m, planned p, planned_measure w, metric_def d"
        " WHERE v.measurement_id = x.id AND x.model_id = m.id AND d.id = v.def_id AND v.final = 1"
        " AND x.status = 'done' AND m.status = 'done' AND p.model_key = m.model_key AND p.seed = m.seed"
        " AND w.experiment_id = p.experiment_id AND w.ord = p.ord AND w.key = x.key AND w.measure = x.measure"
        " AND p.experiment_id = 1 AND p.variant_ord = ?1 AND p.task_ord = ?2 AND p.grid_ord = ?3 AND d.name = ?4"
        " AND v.cell = ?5 AND x.options = ?6";
    sqlite3_stmt *q;
    int n = 0;
    for (int k = 0; k < S; k++) out[k] = NAN;
    assert_int_equal(sqlite3_prepare_v2(g_raw, sql, -1, &q, NULL), SQLITE_OK);
    const int ints[] = {v, t, g};
    const char *const texts[] = {metric, cell, measured_with};
    for (int i = 0; i < 3; i++) sqlite3_bind_int(q, 1 + i, ints[i]), sqlite3_bind_text(q, 4 + i, texts[i], -1, NULL);
    while (sqlite3_step(q) == SQLITE_ROW) {
        const int k = sqlite3_column_int(q, 0) - 1;
        assert_true(k >= 0 && k < S && isnan(out[k]));
        out[k] = sqlite3_column_double(q, 1);
        n++;
    }
    sqlite3_finalize(q);
    return n;
}

static double mean_without(const double *v, int without, int *n) {
    double sum = 0;
    *n = 0;
    for (int k = 0; k < S; k++)
        if (k != without && !isnan(v[k])) sum += v[k], ++*n;
    return *n ? sum / *n : INFINITY;
}

// The point of most seeds, of these that of the lowest mean loss; without -1: over all seeds.
static int chosen(int v, int t, int without) {
    double loss[G][S], mean[G];
    int n[G];
    for (int g = 0; g < G; g++) {
        by_seed(v, t, g, "loss", "", "", loss[g]);
        mean[g] = mean_without(loss[g], without, &n[g]);
    }
    return n[1] > n[0] || (n[1] == n[0] && mean[1] < mean[0]);
}

static int held_out(int v, int t, const char *metric, double out[S]) {
    int n = 0;
    for (int k = 0; k < S; k++) {
        double at[S];
        by_seed(v, t, chosen(v, t, k), metric, "", "", at);
        out[k] = at[k];
        n += !isnan(at[k]);
    }
    return n;
}

// ---------------------------------------------------------------------------------------------------- the document
static char *g_cell[1 + V * T * G][128];
static int g_rows, g_columns;

static void parse(char *csv) {
    g_rows = 0;
    for (char *line = csv, *end; (end = strstr(line, "\r\n")); line = end + 2, g_rows++) {
        *end = 0;
        int c = 0;
        for (char *at = line; at; c++) {
            char *comma = strchr(at, ',');
            if (comma) *comma = 0;
            assert_true(c < 128 && g_rows < 1 + V * T * G);
            g_cell[g_rows][c] = at;
            at = comma ? comma + 1 : NULL;
        }
        if (g_rows == 0) g_columns = c;
        assert_int_equal(c, g_columns);
    }
}

static const char *cell(int row, const char *name) {
    int found = -1;
    for (int c = 0; c < g_columns; c++)
        if (!strcmp(g_cell[0][c], name)) {
            if (found >= 0) fail_msg("two columns %s", name);
            found = c;
        }
    if (found < 0) fail_msg("no column %s", name);
    return g_cell[row][found];
}

static void is(int row, const char *name, double want) {
    const char *got = cell(row, name);
    if (isnan(want) ? *got != 0 : !*got || !(fabs(atof(got) - want) <= 1e-12 * fmax(1, fabs(want))))
        fail_msg("row %d, %s: \"%s\" is not %.15g", row, name, got, want);
}

static void is_of(int row, const char *column, const char *suffix, double want) {
    char *name = hy_asprintf("%s%s", column, suffix);
    is(row, name, want);
    free(name);
}

// 97.5 % points of Student's t of 1, 2 and 3 degrees of freedom (printed: 12.706, 4.303, 3.182).
static double t975(int df) {
    const double t[] = {0, 12.706204736174694, 4.302652729749464, 3.1824463052837078};
    return t[df];
}

// All that is said of a figure; share: within 0 and 1.
static void is_figure(int row, const char *column, const double v[S], double scale, bool share) {
    int n;
    double sq = 0, lo = NAN, hi = NAN;
    const double mean = mean_without(v, -1, &n);
    for (int k = 0; k < S; k++)
        if (!isnan(v[k])) sq += (v[k] - mean) * (v[k] - mean);
    const double sd = n > 1 ? sqrt(sq / (n - 1)) : NAN;
    if (n >= 3) {
        const double se = sd / sqrt(n), h = t975(n - 1) * se;
        const double slope = 2 * sqrt(mean) * sqrt(1 - mean), g = asin(sqrt(mean));
        lo = share ? pow(sin(fmax(0, g - h / slope)), 2) : fmax(0, mean - h);
        hi = share ? g + h / slope > acos(0) ? 1 : pow(sin(g + h / slope), 2) : mean + h;
    }
    is(row, column, n ? scale * mean : NAN);
    is_of(row, column, "_n", n);
    is_of(row, column, "_sd", scale * sd);
    is_of(row, column, "_lo", scale * lo);
    is_of(row, column, "_hi", scale * hi);
}

static double mean_of(int v, int t, int g, const char *metric, const char *at) {
    double x[S];
    int n;
    by_seed(v, t, g, metric, at, "", x);
    return mean_without(x, -1, &n);
}

static void check_counts(int row, int v, int t, int g) {
    int done = 0, failed = 0, measures = 0, measured = 0;
    for (int k = 0; k < S; k++) {
        const bool there = !missing(v, t, g, k) && !model_failed(v, t, g, k);
        measured += there && !unmeasured(v, t, g, k);
        done += there, failed += model_failed(v, t, g, k);
        for (int m = 0; m < MEASURES; m++) measures += there && measure_failed(v, t, g, k, m);
    }
    is(row, "planned", S), is(row, "done", done), is(row, "failed", failed), is(row, "measures_failed", measures);
    is(row, "seeds", measured);  // of the cache, which was taken of all of them
    is(row, "points", G);
}

static void check_row(int row, int v, int t, int g) {
    double x[S];
    assert_string_equal(cell(row, "variant"), variants[v]);
    assert_string_equal(cell(row, "task"), tasks[t]);
    assert_string_equal(cell(row, "grid"), grid[g]);
    check_counts(row, v, t, g);
    const bool best = chosen(v, t, -1) == g;
    is(row, "best", best);
    by_seed(v, t, g, "accuracy", "", "", x), is_figure(row, "accuracy", x, 100, true);
    by_seed(v, t, g, "loss", "", "", x), is_figure(row, "loss", x, 1, false);
    const bool first = by_seed(v, t, g, "erf", "", erf_options[0], x) > 0;
    is_figure(row, "erf", x, 1, false);
    by_seed(v, t, g, "erf", "", erf_options[1], x), is_figure(row, "erf_2", x, 1, false);
    if (strcmp(cell(row, "erf_options"), first ? "examples: 2; ssm: heads" : ""))
        fail_msg("%s", cell(row, "erf_options"));
    if (strcmp(cell(row, "erf_2_options"), "examples: 2; ssm: group")) fail_msg("%s", cell(row, "erf_2_options"));
    for (int k = 0; k < 2; k++) {
        const char *metric = k ? "loss" : "accuracy";
        for (int i = 0; i < S; i++) x[i] = NAN;
        if (best) held_out(v, t, metric, x);
        is_figure(row, k ? "loss_held_out" : "accuracy_held_out", x, k ? 1 : 100, !k);
    }
    is(row, "cache_true", 2 + v), is(row, "cache_paper", 5 + v);                      // megabytes are millions of bytes
    is(row, "throughput_prefill", mean_of(v, t, g, "throughput_prefill", "T16.B1"));  // at the largest context
    is(row, "throughput_decode", mean_of(v, t, g, "throughput_decode", "T16.B1"));
    // multiples of the base's best point on the same task
    const int base = chosen(0, t, -1);
    is(row, "prefill_multiple",
       mean_of(v, t, g, "throughput_prefill", "T16.B1") / mean_of(0, t, base, "throughput_prefill", "T16.B1"));
    is(row, "decode_multiple",
       mean_of(v, t, g, "throughput_decode", "T16.B1") / mean_of(0, t, base, "throughput_decode", "T16.B1"));
    is(row, "paper_throughput", paper[v]);
    is(row, "paper_multiple", paper[v] / paper[0]);
}

static char *printed(const hy_summary *m, hy_table_format format) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    OK(hy_summary_print(m, format, f));
    fclose(f);
    return text;
}

// ---------------------------------------------------------------------------------------------------- pairs
static const char *text_at(const hy_json *o, const char *key) {
    const char *text = NULL;
    OK(hy_json_get_string(o, "pair", key, &text));
    return text;
}

static double number_at(const hy_json *o, const char *key) {
    double v = NAN;  // as for null
    if (hy_json_type_of(hy_json_get(o, key)) != HY_JSON_NULL)
        OK(hy_json_get_double(o, "pair", key, -INFINITY, INFINITY, &v));
    return v;
}

// The pairs of the JSON document, of the held-out figures by the same second way.
static void check_pair(const hy_json *p, const char *metric, double scale) {
    const char *const who[] = {text_at(p, "a"), text_at(p, "b")};
    const char *task = text_at(p, "task");
    const int t = !strcmp(task, tasks[1]);
    double x[2][S], sum = 0, sq = 0;
    int n = 0;
    for (int i = 0; i < 2; i++)
        for (int v = 0; v < V; v++)
            if (!strcmp(variants[v], who[i])) held_out(v, t, metric, x[i]);
    for (int k = 0; k < S; k++)
        if (!isnan(x[0][k]) && !isnan(x[1][k])) sum += x[0][k] - x[1][k], n++;
    for (int k = 0; k < S; k++)
        if (!isnan(x[0][k]) && !isnan(x[1][k])) sq += pow(x[0][k] - x[1][k] - sum / n, 2);
    const double mean = sum / n, sd = sqrt(sq / (n - 1)), h = t975(n - 1) * sd / sqrt(n);
    const struct {
        const char *name;
        double want;
    } cells[] = {{"n", n},
                 {"df", n - 1},
                 {"held_out", 1},
                 {"mean", scale * mean},
                 {"sd", scale * sd},
                 {"lo", n < 3 ? NAN : scale * (mean - h)},
                 {"hi", n < 3 ? NAN : scale * (mean + h)},
                 {"t", n < 3 ? NAN : mean / (sd / sqrt(n))}};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        const double got = number_at(p, cells[i].name);
        if (isnan(cells[i].want) ? !isnan(got) : !(fabs(got - cells[i].want) <= 1e-9 * fmax(1, fabs(cells[i].want))))
            fail_msg("%s of %s and %s on %s: %.12g, not %.12g", cells[i].name, who[0], who[1], task, got,
                     cells[i].want);
    }
}

static void check_pairs(const hy_summary *m) {
    char *text = printed(m, HY_TABLE_JSON);
    hy_json *doc;
    OK(hy_json_parse(text, strlen(text), "json", 0, &doc));
    const hy_json *rows = hy_json_get(hy_json_get(doc, "pairs"), "rows");
    assert_int_equal(hy_json_size(rows), 2 * T * V * (V - 1) / 2);
    for (size_t i = 0; i < hy_json_size(rows); i++) {
        const hy_json *p = hy_json_at(rows, i);
        const bool loss = !strcmp(text_at(p, "metric"), "loss");
        check_pair(p, loss ? "loss" : "accuracy", loss ? 1 : 100);
    }
    assert_int_equal(hy_json_size(hy_json_get(hy_json_get(doc, "summary"), "rows")), V * T);
    assert_int_equal(hy_json_size(hy_json_get(hy_json_get(doc, "grid"), "rows")), V * T * G);
    hy_json_free(doc);
    free(text);
}

static void test_csv(void **state) {
    (void)state;
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    make_store(s);
    hy_summary *m;
    OK(hy_summary_load(s, "e", "", "", &m));
    char *csv = printed(m, HY_TABLE_CSV);
    assert_int_equal(sqlite3_open_v2(g_db, &g_raw, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    parse(csv);
    assert_int_equal(g_rows, 1 + V * T * G);
    int differ = 0;  // held-out and plain figures are not the same everywhere, or this test would not tell them apart
    for (int i = 0; i < V * T * G; i++) {  // by task, variant, point
        const int t = i / (V * G), v = i / G % V, g = i % G;
        check_row(1 + i, v, t, g);
        differ += *cell(1 + i, "loss_held_out") && strcmp(cell(1 + i, "loss_held_out"), cell(1 + i, "loss"));
    }
    assert_true(differ > 0);
    check_pairs(m);
    free(csv);
    hy_summary_free(m);
    sqlite3_close(g_raw);
    hy_store_close(s);
}

// What people see of that store: which figures are of fewer seeds, and what is missing.
static void test_text(void **state) {
    (void)state;
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    make_store(s);
    hy_summary *m;
    OK(hy_summary_load(s, "e", "", "", &m));
    char *text = printed(m, HY_TABLE_TEXT);
    const char *const parts[] = {
        "(3)",
        ("mean ± standard deviation (n - 1) over seeds; in brackets: of so many seeds only; of "
         "the grid's 2 points, the one of the best mean loss"),
        "ERF, ssm: group",
        "ERF, ssm: heads",
        "1 run failed",
        "1 run is still to do",
        "15 measurements are still to do",
        "throughput: context 16 tokens, batch 1 ",
        " pairs of the table, level 5 %"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("\"%s\" is not in:\n%s", parts[i], text);
    free(text);
    hy_summary_free(m);
    hy_store_close(s);
}

// The page counts the seeds of a row as the table does: not the models that nothing is known of yet.
static void test_page(void **state) {
    (void)state;
    hy_store *s;
    hy_summary *m;
    size_t n;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    make_store(s);
    OK(hy_summary_load(s, "e", "", "", &m));
    hy_plots plots = {.store = s, .s = m, .dir = g_dir, .formats = HY_FIG_SVG};
    hy_report *r = hy_report_new("e", "");
    OK(hy_report_page(&plots, r));
    char *path = hy_asprintf("%s/page.html", g_dir), *page;
    OK(hy_report_write(r, path));
    OK(hy_file_read(path, 1 << 24, &page, &n));
    assert_int_equal(sqlite3_open_v2(g_db, &g_raw, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    int fewer = 0;
    for (int v = 0; v < V; v++)
        for (int t = 0; t < T; t++) {
            const int g = chosen(v, t, -1);
            double x[S];
            const int seeds = by_seed(v, t, g, "cache_true", "", "", x);  // which was taken of all that were measured
            char *row = hy_asprintf("<th scope=\"row\">%s</th><td class=\"k\">%s</td><td class=\"k\">%s</td>"
                                    "<td class=\"n\">%d%s</td>",
                                    variants[v], tasks[t], grid[g], seeds, seeds < S ? " of 4" : "");
            if (!strstr(page, row)) fail_msg("%s is not in the page", row);
            for (int k = 0; k < S; k++) fewer += unmeasured(v, t, g, k);
            free(row);
        }
    assert_true(fewer > 0);
    if (!strstr(page, "Throughput: context 16 tokens, batch 1.")) fail_msg("no conditions of timings");
    sqlite3_close(g_raw);
    free(page), free(path);
    hy_report_free(r);
    hy_summary_free(m);
    hy_store_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_csv, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_text, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_page, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
