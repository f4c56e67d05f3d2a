// test_figure_numbers.c - every number of every figure against the raw rows of the store: which variant it belongs to
// (by name, legend and colour), column, axis, unit, mean, interval, order and gaps. The table of figures is walked: one
// without a check fails. What draws is a stand-in, so this needs no gnuplot.
#include "tests/unit/figure_maps.h"

static hy_summary *summary;
static hy_plots plots;

static int prepare(void **state) {
    if (setup(state)) return -1;
    figure_stand_in();
    store = figure_store();
    OK(hy_summary_load(store, "fig", "small", "", &summary));
    plots = (hy_plots){.store = store, .s = summary, .dir = g_dir, .formats = HY_FIG_SVG};
    return 0;
}

static int end(void **state) {
    hy_plots_free(&plots);
    hy_summary_free(summary);
    hy_store_close(store);
    return teardown(state);
}

// ---------------------------------------------------------------------------------------------------- points
typedef struct {
    const char *x, *x_cell, *y, *size, *size_cell, *x_label, *y_label, *size_label;
    double x_scale, y_scale, size_scale;
    bool y_log;
} points_wanted;

static void one_point(const r_figure *f, int t, int v, const points_wanted *w, double largest) {
    const int g = best_at(store, v, t), colour = r_legend(f, variants[v]);
    const spread x = spread_at(store, v, t, g, w->x, w->x_cell, w->x_scale),
                 y = spread_at(store, v, t, g, w->y, "", w->y_scale);
    const double size = w->size ? spread_at(store, v, t, g, w->size, w->size_cell, w->size_scale).mean : NAN;
    if (x.n == 0 || y.n == 0) {  // a gap, not a zero
        assert_int_equal(colour, -1);
        return;
    }
    assert_int_equal(colour, v);
    const r_element *e = r_find(f, 0, "points", colour), *bar = r_find(f, 0, "vectors", colour);
    assert_non_null(e);
    assert_int_equal(e->shape, v);
    const double wanted = isnan(size) ? 1.5 : fmax(0.7, 3.8 * sqrt(size / largest));  // the area is proportional
    if (fabs(e->size - wanted) > 6e-4) fail_msg("size %g, not %g", e->size, wanted);
    const r_block *b = &f->block[e->block];
    assert_int_equal(b->n, 1);
    r_equal(b->name[0], variants[v]);
    const double row[] = {x.mean, y.mean, y.lo, y.hi, size};
    for (int c = 0; c < 5; c++) r_near(b->v[0][c], row[c], variants[v]);
    r_equal(e->columns, "1:2");
    assert_int_equal(bar != NULL, !isnan(y.lo));  // an interval takes three seeds
    if (bar) r_equal(bar->columns, "1:(LOW($3)):(0):($4-LOW($3))");
    if (bar) assert_int_equal(bar->block, e->block);
}

static void check_points(const r_figure *f, int t, const points_wanted *w) {
    double largest = 0;
    int drawn = 0;
    for (int v = 0; v < VARIANTS; v++) {
        const int g = best_at(store, v, t);
        const bool both = spread_at(store, v, t, g, w->x, w->x_cell, 1).n && spread_at(store, v, t, g, w->y, "", 1).n;
        drawn += both;
        const double size = w->size ? spread_at(store, v, t, g, w->size, w->size_cell, w->size_scale).mean : NAN;
        if (both && size > largest) largest = size;
    }
    assert_non_null(f);
    for (int v = 0; v < VARIANTS; v++) one_point(f, t, v, w, largest);
    assert_int_equal(r_count(f, "points"), drawn);
    assert_int_equal(r_legend_size(f), drawn);
    r_equal(f->panel[0].x, w->x_label);
    r_equal(f->panel[0].y, w->y_label);
    assert_true(f->panel[0].x_log && f->panel[0].y_log == w->y_log);
    r_says(f->head, t ? "far" : "near");
    if (w->size) r_says(f->head, w->size_label);
    r_says(f->head, "95 % interval of the mean");
}

static void accuracy_cache(const r_figure *f, int t, int v) {
    (void)v;
    check_points(f, t,
                 &(points_wanted){"cache_true", "", "accuracy", "throughput_decode", "T256.B4",
                                  "cache at 100 tokens (MB)", "accuracy (%)", "decoding at 256 tokens (tokens/s)", 1e-6,
                                  100, 1, false});
    r_says(f->head, t ? "8 runs, 2 to 3 seeds each" : "9 runs, 3 seeds each");
}

static void accuracy_throughput(const r_figure *f, int t, int v) {
    (void)v;
    check_points(f, t,
                 &(points_wanted){"throughput_decode", "T256.B4", "accuracy", "cache_true", "",
                                  "decoding at 256 tokens (tokens/s)", "accuracy (%)", "cache at 100 tokens (MB)", 1,
                                  100, 1e-6, false});
}

static void erf_cache(const r_figure *f, int t, int v) {
    (void)v;
    check_points(f, t,
                 &(points_wanted){"cache_true", "", "erf", NULL, NULL, "cache at 100 tokens (MB)", "ERF (tokens)", NULL,
                                  1e-6, 1, 1, true});
    r_says(f->head, "(which: first)");
    r_says(f->head, "ssm=halves");
    assert_null(strstr(f->head, "other"));
    r_says(f->head, t ? "7 runs, 2 to 3 seeds each" : "8 runs, 2 to 3 seeds each");
}

// ---------------------------------------------------------------------------------------------------- bars
static void one_bar(const r_figure *f, int t, int v, int k, int n_series, const char *cell) {
    const r_element *e = r_find(f, 0, "boxes", n_series > 1 ? k : -1);
    assert_non_null(e);
    assert_int_equal(e->block, k);
    r_equal(e->columns, n_series > 1 ? "1:2" : "1:2:(LC($5))");
    if (n_series > 1) r_equal(e->title, cell);
    const int g = best_at(store, v, t);
    const spread a = spread_at(store, v, t, g, "accuracy", cell, 100);
    const r_block *b = &f->block[e->block], *single = &f->block[n_series];
    assert_int_equal(b->n, VARIANTS);
    r_equal(b->name[v], variants[v]);
    const double x = v + (k - (n_series - 1) / 2.0) * 0.8 / n_series, row[] = {x, a.mean, a.lo, a.hi, v};
    for (int c = 0; c < 5; c++) r_near(b->v[v][c], row[c], variants[v]);
    double values[SEEDS];
    int found = 0;
    const int n = raw(store, v, t, g, "accuracy", cell, values, NULL);
    for (int i = 0; i < single->n; i++) {  // single runs stand within their bar
        if (!(fabs(single->v[i][0] - x) <= 0.2 / n_series) || single->v[i][2] != k) continue;
        r_near(single->v[i][1], 100 * values[found++], "a single run");
    }
    assert_int_equal(found, n);
}

// The first task tells what a guess gets, 1/2 and 1/4 in its cells; the other does not.
static void chance_lines(const r_figure *f, int t, int n_series) {
    const r_element *e = NULL;
    for (int i = 0; i < f->n_elements; i++)
        if (!strcmp(f->element[i].with, "xerrorbars")) e = &f->element[i];
    assert_true((e != NULL) == (t == 0));
    assert_true((strstr(f->head, "black lines: a guess") != NULL) == (t == 0));
    if (!e) return;
    const r_block *b = &f->block[e->block];
    r_equal(e->columns, "1:2:3");
    assert_int_equal(e->block, n_series + 1);
    assert_int_equal(b->n, VARIANTS * n_series);
    for (int i = 0; i < b->n; i++) {
        r_near(b->v[i][0], i / n_series + (i % n_series - (n_series - 1) / 2.0) * 0.8 / n_series, "x of a guess");
        r_near(b->v[i][1], i % n_series ? 25 : 50, "a guess");
        r_near(b->v[i][2], 0.4 / n_series, "half a line");
    }
}

static void recall(const r_figure *f, int t, int v) {
    (void)v;
    static const char *const cells[] = {"T16.D2", "T24.D4"};
    const int n = t == 0 ? 2 : 1;  // eight cells are too many for bars
    assert_non_null(f);
    for (int i = 0; i < VARIANTS; i++)
        for (int k = 0; k < n; k++) one_bar(f, t, i, k, n, n > 1 ? cells[k] : "");
    chance_lines(f, t, n);
    r_says(f->panel[0].xtics, "('x y' 0, 'x_y' 1, '50%% G' 2)");  // a tic is a format
    r_equal(f->panel[0].y, "accuracy (%)");
    assert_false(f->panel[0].y_log);
    assert_int_equal(r_count(f, "vectors"), n);
    for (int i = 0; i < f->n_elements; i++)
        if (!strcmp(f->element[i].with, "vectors")) r_equal(f->element[i].columns, "1:3:(0):($4-$3)");
    r_says(f->head, "95 % interval of the mean");
    r_says(f->head, t ? "8 runs, 2 to 3 seeds each" : "9 runs, 3 seeds each");
}

// ---------------------------------------------------------------------------------------------------- lines
// The block of a variant's (or kind's) line in a panel; NULL: it has none there.
// Mean over seeds of the means of two neighbouring steps; smallest and largest seed.
static void loss(const r_figure *f, int t, int unused) {
    (void)unused;
    assert_non_null(f);
    for (int v = 0; v < VARIANTS; v++) {
        const int g = best_at(store, v, t);
        const r_block *b = line_of(f, 0, variants[v], v);
        assert_non_null(b);
        assert_int_equal(b->n, STEPS / 2);
        bars_of(f, 0, v, true);
        char *sql = hy_asprintf("SELECT c.step, c.loss FROM model m JOIN measurement x ON x.model_id = m.id JOIN curve "
                                "c ON c.measurement_id"
                                " = x.id WHERE m.model_key = 'k%d%d%d' AND m.status = 'done' ORDER BY m.seed, c.step",
                                v, t, g);
        hy_query *q;
        OK(hy_query_open(store, sql, &q));
        double mean[STEPS / 2] = {0}, lo[STEPS / 2], hi[STEPS / 2], pair[STEPS / 2] = {0};
        int n = 0;
        for (bool row; !hy_query_step(q, &row) && row; n++) {
            const int i = (n % STEPS) / 2;
            assert_int_equal(hy_query_int(q, 0), n % STEPS + 1);
            pair[i] = n % 2 ? (pair[i] + hy_query_double(q, 1)) / 2 : hy_query_double(q, 1);
            if (n % 2 == 0) continue;
            mean[i] += pair[i];
            lo[i] = n < STEPS ? pair[i] : fmin(lo[i], pair[i]);
            hi[i] = n < STEPS ? pair[i] : fmax(hi[i], pair[i]);
        }
        hy_query_close(q);
        free(sql);
        assert_int_equal(n, STEPS * (v == 2 && t == 1 ? 2 : 3));
        for (int i = 0; i < STEPS / 2; i++)
            near_row(b, i, 2 * i + 1.5, mean[i] / (n / STEPS), lo[i], hi[i], variants[v]);
    }
    r_equal(f->panel[0].x, "training step");
    r_equal(f->panel[0].y, "loss (nats)");
    assert_false(f->panel[0].x_log || f->panel[0].y_log);
    r_says(f->head, "bands or bars: smallest to largest seed");
}

// Of the largest batch of a context: mean of the seeds' medians, slowest and fastest repetition.
static void one_timing(const r_block *b, int v, int t, const char *metric, int i) {
    static const char *const cells[] = {"T128.B1", "T256.B4"};
    const int g = best_at(store, v, t);
    const spread a = spread_at(store, v, t, g, metric, cells[i], 1);
    char *sql =
        hy_asprintf("SELECT min(r.value), max(r.value) FROM model m JOIN measurement x ON x.model_id = m.id JOIN"
                    " metric f ON f.measurement_id = x.id JOIN metric_def d ON d.id = f.def_id JOIN sample r ON"
                    " r.metric_id = f.id WHERE m.model_key = 'k%d%d%d' AND x.options LIKE '%%first%%' AND "
                    "x.superseded_by IS NULL AND d.name ="
                    " '%s' AND f.cell = '%s'",
                    v, t, g, metric, cells[i]);
    hy_query *q;
    bool row;
    OK(hy_query_open(store, sql, &q));
    OK(hy_query_step(q, &row));
    near_row(b, i, i ? 256 : 128, a.mean, hy_query_double(q, 0), hy_query_double(q, 1), metric);
    hy_query_close(q);
    free(sql);
}

static void throughput(const r_figure *f, int unused, int unused2) {
    (void)unused, (void)unused2;
    static const char *const metrics[] = {"throughput_train", "throughput_prefill", "throughput_decode"},
                             *const titles[] = {"training", "prefill", "decoding"};
    assert_non_null(f);
    assert_int_equal(f->n_panels, 3);
    for (int i = 0; i < 3; i++) {
        for (int v = 0; v < VARIANTS; v++) {
            const r_block *b = line_of(f, i, variants[v], v);
            assert_non_null(b);
            assert_int_equal(b->n, 2);
            bars_of(f, i, v, false);
            for (int c = 0; c < 2; c++) one_timing(b, v, v == 2, metrics[i], c);  // the first task that it was timed on
        }
        r_equal(f->panel[i].title, titles[i]);
        r_equal(f->panel[i].x, i == 2 ? "depth, tokens" : "context, tokens");
        r_equal(f->panel[i].y, "tokens/s");
        assert_true(f->panel[i].x_log && f->panel[i].y_log);
    }
    r_says(f->head, "6 timed runs, batch 1 to 4");
    r_says(f->head, "at least 5 repetitions; bars: slowest to fastest");
}

static void grid(const r_figure *f, int t, int unused) {
    (void)unused;
    static const char *const metrics[] = {"accuracy", "steps_to_reach"};
    assert_non_null(f);
    assert_int_equal(f->n_panels, 2);
    for (int i = 0; i < 2; i++)
        for (int v = 0; v < VARIANTS; v++) {
            const r_block *b = line_of(f, i, variants[v], v);
            assert_non_null(b);
            assert_int_equal(b->n, POINTS);
            bars_of(f, i, v, false);
            for (int g = 0; g < POINTS; g++) {
                const spread a = spread_at(store, v, t, g, metrics[i], "", i ? 1 : 100);
                near_row(b, g, rates[g], a.mean, a.lo, a.hi, metrics[i]);
            }
        }
    r_equal(f->panel[0].y, "accuracy (%)");
    r_equal(f->panel[1].y, "stopped after (steps)");
    r_equal(f->panel[0].x, "learning rate (logarithmic)");
    assert_true(f->panel[0].x_log && f->panel[1].x_log && !f->panel[0].y_log && !f->panel[1].y_log);
    r_says(f->head, t ? "16 runs, 2 to 3 seeds each" : "18 runs, 3 seeds each");
}

static void entropy(const r_figure *f, int t, int unused) {
    (void)unused;
    static const char *const titles[] = {"attention heads", "SSM heads"};
    assert_non_null(f);
    assert_int_equal(f->n_panels, 2);
    for (int k = 0; k < 2; k++) {
        for (int v = 0; v < VARIANTS; v++) {
            const r_block *b = line_of(f, k, variants[v], v);
            assert_int_equal(b != NULL, has_heads(v, k));
            if (!b) continue;
            assert_int_equal(b->n, layers_of(v));
            for (int l = 0; l < layers_of(v); l++) {
                char cell[32];
                snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
                const spread a = spread_at(store, v, t, best_at(store, v, t), "map_entropy", cell, 1);
                near_row(b, l, l, a.mean, a.lo, a.hi, cell);
            }
        }
        r_equal(f->panel[k].title, titles[k]);
        r_equal(f->panel[k].x, "layer");
        r_equal(f->panel[k].y, "entropy of a row (nats)");
        assert_false(f->panel[k].x_log || f->panel[k].y_log);
    }
    r_says(f->head, t ? "5 runs, 1 to 2 seeds each" : "6 runs, 2 seeds each");
    r_says(f->head, "no error bars");  // of fewer than three seeds
}

// Panels of attention and SSM heads by layer.
static void branches(const r_figure *f, int t, int v, int n, const char *const *metrics, const char *const *labels,
                     bool log_first) {
    static const char *const names[] = {"attention heads", "SSM heads"};
    const int g = best_at(store, v, t);
    assert_non_null(f);
    assert_int_equal(f->n_panels, n);
    for (int i = 0; i < n; i++) {
        const hy_metric_def *d = hy_metric_find(metrics[i]);
        for (int k = 0; k < 2; k++) {
            const r_block *b = line_of(f, i, names[k], k);
            assert_int_equal(b != NULL, has_heads(v, k));
            if (!b) continue;
            assert_int_equal(b->n, layers_of(v));
            bars_of(f, i, k, false);
            for (int l = 0; l < layers_of(v); l++) {
                char cell[32];
                snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
                const spread a = spread_at(store, v, t, g, metrics[i], cell, d->scale);
                near_row(b, l, l, a.mean, a.lo, a.hi, cell);
            }
        }
        r_equal(f->panel[i].y, labels[i]);
        assert_true(f->panel[i].y_log == (log_first && i == 0) && !f->panel[i].x_log);  // both kinds are seen
    }
    r_says(f->head, variants[v]);
    r_says(f->head, v == 2 && t == 1 ? "2 runs, 2 seeds each" : "3 runs, 3 seeds each");
}

static void outputs(const r_figure *f, int t, int v) {
    static const char *const metrics[] = {"output_rms", "fused_rms", "beta_abs"}, *const labels[] = {
                                                                                      "output rms", "output rms, fused",
                                                                                      "|beta|"};
    branches(f, t, v, v == 2 ? 3 : 1, metrics, labels, v == 2);
}

static void importance(const r_figure *f, int t, int v) {
    static const char *const metrics[] = {"accuracy_drop", "loss_rise"}, *const labels[] = {"accuracy, drop (points)",
                                                                                            "loss, rise (nats)"};
    branches(f, t, v, 2, metrics, labels, false);
    r_says(f->head, "above 0: the model is worse without");
}

// What the parts of a layer add, and the stream itself; then the cosine, on both sides of 0.
static void stream(const r_figure *f, int t, int v) {
    static const char *const names[] = {"added by attention heads", "added by SSM heads", "residual stream"};
    static const char *const cells[] = {"layer%d.attention", "layer%d.ssm", "layer%d"};
    static const int colour[] = {0, 1, 4};
    const int g = best_at(store, v, t);
    assert_non_null(f);
    assert_int_equal(f->n_panels, 2);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++) {
            const r_block *b = line_of(f, i, names[k], colour[k]);
            assert_int_equal(b != NULL, k == 2 || (i == 0 && has_heads(v, k)));
            if (!b) continue;
            assert_int_equal(b->n, layers_of(v));  // without what leaves the last layer
            for (int l = 0; l < layers_of(v); l++) {
                char cell[32];
                snprintf(cell, sizeof cell, cells[k], l);
                const spread a = spread_at(store, v, t, g, i ? "stream_cosine" : "stream_rms", cell, 1);
                near_row(b, l, l, a.mean, a.lo, a.hi, cell);
            }
        }
    r_equal(f->panel[0].y, "rms");
    r_equal(f->panel[1].y, "cosine");
    assert_true(f->panel[0].y_log == has_heads(v, 1) && !f->panel[1].y_log);
    r_says(f->head, "mean over pairs of different positions");
}

// A panel for each order, a line for each variant, over the share of the parts.
static void removal(const r_figure *f, int t, int unused) {
    (void)unused;
    static const char *const orders[] = {"least", "random", "most"};
    static const char *const titles[] = {"least important first", "at random", "most important first"};
    assert_non_null(f);
    assert_int_equal(f->n_panels, 3);
    for (int o = 0; o < 3; o++) {
        r_equal(f->panel[o].title, titles[o]);
        r_equal(f->panel[o].x, "parts taken out (%)");
        r_equal(f->panel[o].y, "accuracy left (%)");
        for (int v = 0; v < VARIANTS; v++) {
            const r_block *b = line_of(f, o, variants[v], v);
            assert_non_null(b);
            assert_int_equal(b->n, layers_of(v) + 1);
            for (int k = 0; k <= layers_of(v); k++) {
                char cell[32];
                snprintf(cell, sizeof cell, "%s.%d", orders[o], k);
                const spread a = spread_at(store, v, t, best_at(store, v, t), "accuracy_left", cell, 100);
                near_row(b, k, 100.0 * k / layers_of(v), a.mean, a.lo, a.hi, cell);
            }
        }
    }
    r_says(f->head, "on examples of their own");
}

// ---------------------------------------------------------------------------------------------------- stacks
static void cache(const r_figure *f, int unused, int unused2) {
    (void)unused, (void)unused2;
    static const char *const names[] = {"KV", "KV of meta tokens", "convolution", "SSM state"};
    assert_non_null(f);
    assert_int_equal(f->n_panels, VARIANTS);
    for (int v = 0; v < VARIANTS; v++) {
        const int g = best_at(store, v, 0);
        char *title = hy_asprintf("%s: %.3f MB", variants[v], spread_at(store, v, 0, g, "cache_true", "", 1e-6).mean);
        r_equal(f->panel[v].title, title);
        free(title);
        const r_block *b = NULL;
        for (int k = 0; k < 4; k++) {
            assert_int_equal(r_legend(f, names[k]), k);
            const r_element *e = r_find(f, v, "boxxyerror", k);
            assert_non_null(e);
            b = &f->block[e->block];
            char *columns = hy_asprintf("1:%d:($1-0.42):($1+0.42):%d:%d", 2 * k + 2, 2 * k + 2, 2 * k + 3);
            r_equal(e->columns, columns);
            free(columns);
        }
        assert_int_equal(b->n, layers_of(v));
        for (int l = 0; l < layers_of(v); l++) {
            double sum = 0;
            r_near(b->v[l][0], l, "layer");
            for (int k = 0; k < 4; k++) {
                char cell[32];
                snprintf(cell, sizeof cell, "layer%d.%s", l, cache_kinds[k]);
                const spread a = spread_at(store, v, 0, g, "cache_true", cell, 1e-3);
                assert_int_equal(a.n > 0, has_cache(v, k) && !(l == 1 && k == 0 && v == 2));
                assert_int_equal(a.n > 0 && !isfinite(a.mean), l == 2 && k == 1 && v == 2);
                r_near(b->v[l][2 * k + 1], sum, cell);
                sum += a.n && isfinite(a.mean) ? a.mean : 0;
                r_near(b->v[l][2 * k + 2], sum, cell);
            }
        }
    }
    r_equal(f->panel[0].y, "cache (kB)");
    r_says(f->panel[0].x, "layer");
    r_says(f->head, "100 tokens, one sequence");
}

// ---------------------------------------------------------------------------------------------------- matrices
static void cells(const r_figure *f, int t, int v) {
    if (t == 0) {  // two cells: bars
        assert_null(f);
        return;
    }
    static const double lengths[] = {64, 128}, depths[] = {0, 0.25, 0.5, 1};
    assert_non_null(f);
    assert_int_equal(f->n_blocks, 1);
    int next = 0;
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 2; x++) {
            char cell[32];
            snprintf(cell, sizeof cell, "T%g.D%g", lengths[x], depths[y]);
            const spread a = spread_at(store, v, t, best_at(store, v, t), "accuracy", cell, 100);
            if (a.n == 0) continue;  // a gap
            near_row(&f->block[0], next++, x, y, a.mean, NAN, cell);
        }
    assert_int_equal(f->block[0].n, next);
    assert_int_equal(next, v == 1 ? 7 : 8);
    r_says(f->panel[0].xtics, "('64' 0, '128' 1)");
    r_says(f->panel[0].ytics, "('0' 0, '0.25' 1, '0.5' 2, '1' 3)");
    r_equal(f->panel[0].x, "length (tokens)");
    r_equal(f->panel[0].y, "depth");
    r_says(f->script, "set cblabel 'accuracy (%)'");
    r_says(f->script, "set cbrange [0:100]");
    r_says(f->head, variants[v]);
    r_says(f->head, v == 2 ? "2 runs, 2 seeds each" : "3 runs, 3 seeds each");
}

// ---------------------------------------------------------------------------------------------------- all of them
static const struct {
    const char *kind;
    void (*check)(const r_figure *f, int task, int variant);  // f NULL: there is no such figure
    bool each;                                                // one for each variant
} checks[] = {
    {"accuracy-cache", accuracy_cache, false},
    {"accuracy-throughput", accuracy_throughput, false},
    {"recall", recall, false},
    {"loss", loss, false},
    {"throughput", throughput, false},
    {"cache", cache, false},
    {"maps", maps, true},
    {"grid", grid, false},
    {"drift", drift, false},
    {"cells", cells, true},
    {"entropy", entropy, false},
    {"outputs", outputs, true},
    {"stream", stream, true},
    {"importance", importance, true},
    {"removal", removal, false},
    {"erf-cache", erf_cache, false},
    {"kv-similarity", similarity, true},
    {"reach", reach, true},
    {"retrieval", retrieval, true},
    {"meta", meta_tokens, true},
    {"gradient-erf", gradient_erf, false},
    {"contributions", contributions, true},
    {"contribution-share", contribution_share, false},
};

static void check_figure(int i, bool once, int t, int v) {
    char *name = once             ? hy_xstrdup(checks[i].kind)
                 : checks[i].each ? hy_asprintf("%s-%s-%s", checks[i].kind, tasks[t], stems[v])
                                  : hy_asprintf("%s-%s", checks[i].kind, tasks[t]);
    int at = 0;
    while (at < plots.n && strcmp(plots.file[at].name, name)) at++;
    r_figure *f =
        at < plots.n ? r_read(g_dir, name, checks[i].check == maps || checks[i].check == contributions) : NULL;
    checks[i].check(f, t, v);
    if (f) {
        r_says(f->head, "fig: ");
        const bool chosen = strstr(f->head, "small scale; of each variant the best of 2 grid points by mean loss");
        assert_int_equal(chosen,
                         strcmp(checks[i].kind, "grid") && strcmp(checks[i].kind, "drift"));  // those show all points
        if (checks[i].each) r_says(plots.file[at].caption, variants[v]);
        if (!once) r_says(plots.file[at].caption, tasks[t]);
        plots.file[at].caption[0] = '!';  // seen
    }
    r_free(f);
    free(name);
}

static void test_numbers(void **state) {
    (void)state;
    for (const hy_plot_kind *k = hy_plot_kinds; k->name; k++) {
        size_t i = 0;
        while (i < sizeof checks / sizeof *checks && strcmp(checks[i].kind, k->name)) i++;
        if (i == sizeof checks / sizeof *checks) fail_msg("figure %s has no check of its numbers", k->name);
        OK(hy_plots_draw(&plots, k->name));
        for (int t = 0; t < (k->once ? 1 : TASKS); t++)
            for (int v = 0; v < (checks[i].each ? VARIANTS : 1); v++) check_figure((int)i, k->once, t, v);
        for (int n = 0; n < plots.n; n++)
            if (plots.file[n].caption[0] != '!') fail_msg("%s was not looked at", plots.file[n].name);
        hy_plots_free(&plots);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers)};
    return cmocka_run_group_tests_name("figure_numbers", tests, prepare, end);
}
