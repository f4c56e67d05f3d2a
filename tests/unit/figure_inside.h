// figure_inside.h - the numbers of the figures of keys and values, reach, retrieval and gradients against the raw rows
// of the store; for test_figure_numbers.c, which has the store.
#ifndef HY_FIGURE_INSIDE_H
#define HY_FIGURE_INSIDE_H
#include "tests/unit/figure_fixture.h"
#include "tests/unit/figure_reader.h"

static hy_store *store;

// Of each point of the grid: a figure of the whole, the mean over layers or the largest head, for each seed, and then
// over the seeds.
static inline spread gathered(int v, int t, int g, const char *metric, int how, bool share, double scale) {
    double sum[SEEDS] = {0}, x[SEEDS];
    int seed[SEEDS], n = -1, of = 0;
    for (int l = 0; l < (how ? layers_of(v) : 1); l++)
        for (int h = 0; h < (how == 2 ? heads_at(l) : 1); h++) {
            char cell[48] = "";
            if (how == 1)
                snprintf(cell, sizeof cell, "layer%d.%s", l, strstr(metric, "half_life") ? "ssm" : "attention");
            if (how == 2) snprintf(cell, sizeof cell, "layer%d.head%d", l, h);
            const int k = raw(store, v, t, g, metric, cell, x, seed);
            if (n < 0) n = k;
            assert_int_equal(k, n);
            for (int i = 0; i < n; i++) sum[i] = how == 2 ? fmax(sum[i], x[i]) : sum[i] + x[i];
            of++;
        }
    for (int i = 0; i < n; i++) sum[i] /= how == 1 ? of : 1;
    spread s = spread_of(sum, n, share, 0);
    s.mean *= scale, s.lo *= scale, s.hi *= scale;
    return s;
}

static inline void drift(const r_figure *f, int t, int unused) {
    (void)unused;
    static const struct {
        const char *title, *metric, *y;
        int kind, how;  // of heads (-1: of none), whole 0, mean of layers 1, largest head 2
        bool share;
    } panels[] = {
        {"accuracy", "accuracy", "accuracy (%)", -1, 0, true},
        {"effective receptive field", "erf", "ERF (tokens)", -1, 0, false},
        {"entropy of attention maps, mean of layers", "map_entropy", "entropy of a row (nats)", 0, 1, false},
        {"span of attention heads, mean of layers", "span", "span (tokens)", 0, 1, false},
        {"median half-life of SSM states, mean of layers", "half_life_q50", "half-life, median (tokens)", 1, 1, false},
        {"best head on the token to copy", "retrieval_score", "on the token to copy (%)", 0, 2, true},
        {"attention's share of fused output, mean of layers", "output_share", "share of the output (%)", 0, 1, true}};
    assert_non_null(f);
    assert_int_equal(f->n_panels, 7);
    for (int q = 0; q < 7; q++) {
        r_equal(f->panel[q].title, panels[q].title);
        r_equal(f->panel[q].y, panels[q].y);
        r_equal(f->panel[q].x, "learning rate (logarithmic)");
        assert_true(f->panel[q].x_log && !f->panel[q].y_log);
        for (int v = 0; v < VARIANTS; v++) {
            const r_block *b = line_of(f, q, variants[v], v);
            const bool both = !strcmp(panels[q].metric, "output_share");
            assert_int_equal(b != NULL, panels[q].kind < 0 || (both ? v == 2 : has_heads(v, panels[q].kind)));
            if (!b) continue;
            assert_int_equal(b->n, POINTS);
            bars_of(f, q, v, false);
            for (int g = 0; g < POINTS; g++) {
                const spread a =
                    gathered(v, t, g, panels[q].metric, panels[q].how, panels[q].share, panels[q].share ? 100 : 1);
                near_row(b, g, rates[g], a.mean, a.lo, a.hi, panels[q].title);
            }
        }
    }
    r_says(f->head, "Every point of the grid: mean over seeds");
    r_says(f->head, t ? "16 runs, 1 to 3 seeds each" : "18 runs, 2 to 3 seeds each");
}

// Panels of squares: above and below the diagonal; of layers that use the same keys a frame.
static inline void similarity(const r_figure *f, int t, int v) {
    static const char *const metrics[] = {"key_cosine", "value_cosine", "key_cka", "value_cka"}, *const titles[] = {
                                                                                                     "cosine of keys",
                                                                                                     "cosine of values",
                                                                                                     "CKA of keys",
                                                                                                     "CKA of values"};
    if (!has_heads(v, 0)) {
        assert_null(f);
        return;
    }
    const int n = layers_of(v);
    assert_non_null(f);
    assert_int_equal(f->n_panels, 4);
    double low = 0;
    for (int i = 0; i < 4; i++) {
        const r_block *b = &f->block[2 * i], *frames = &f->block[2 * i + 1];
        int seen = 0;
        for (int k = 0; k < b->n; k++) {
            const int x = (int)b->v[k][0], y = (int)b->v[k][1];
            char cell[48];
            snprintf(cell, sizeof cell, "layer%d.layer%d", x < y ? x : y, x < y ? y : x);
            const spread a = spread_at(store, v, t, best_at(store, v, t), metrics[i], cell, 1);
            r_near(b->v[k][2], a.mean, cell);
            low = fmin(low, a.mean);
            seen += x < y ? 1 : 1000;
        }
        assert_int_equal(seen, n * (n - 1) / 2 * 1001);
        assert_int_equal(frames->n, v == 2 ? 2 : 1);
        if (v == 2) r_near(frames->v[0][0] + 2 * frames->v[0][1], 2, "a frame");
        if (v == 2) r_near(frames->v[1][0] + 2 * frames->v[1][1], 1, "its mirror");
        if (v != 2) assert_true(isnan(frames->v[0][0]));
        r_equal(f->panel[i].title, titles[i]);
        r_equal(f->panel[i].x, i < 2 ? "" : "layer");
        r_equal(f->panel[i].y, i % 2 ? "" : "layer");
        r_says(f->panel[i].xtics, "('0' 0, '1' 1, '2' 2");
        const r_element *e = r_find(f, i, "labels", -1);
        assert_int_equal(e != NULL, n <= 10);
        for (int k = 0; k < f->n_elements; k++)
            if (f->element[k].panel == i && !strcmp(f->element[k].columns, "1:2:(0.5):(0.5):3"))
                assert_int_equal(f->element[k].block, 2 * i);
    }
    char range[48];
    snprintf(range, sizeof range, "set cbrange [%g:1]", low < -0.25 ? -0.5 : low < 0 ? -0.25 : 0.0);
    r_says(f->script, range);
    r_says(f->head, variants[v]);
    r_says(f->head, v == 2 && t == 1 ? "2 runs, 2 seeds each" : "3 runs, 3 seeds each");
    r_says(f->head, "which=first");
    assert_true((strstr(f->head, "framed") != NULL) == (v == 2));
}

static inline void reach(const r_figure *f, int t, int v) {
    static const struct {
        int panel, colour, kind;
        const char *metric, *name;
    } lines[] = {{0, 0, 0, "span", "attention heads"},
                 {0, 1, 1, "span", "SSM heads"},
                 {1, 0, 0, "mean_distance", "attention heads"},
                 {1, 1, 1, "mean_distance", "SSM heads"},
                 {2, 2, 1, "half_life_q95", "95 % quantile"},
                 {2, 3, 1, "half_life_q75", "75 %"},
                 {2, 4, 1, "half_life_q50", "median"},
                 {2, 5, 1, "half_life_q25", "25 %"},
                 {2, 6, 1, "half_life_q05", "5 %"}};
    static const char *const titles[] = {"span", "mean distance", "half-life of SSM states"};
    assert_non_null(f);
    assert_int_equal(f->n_panels, v == 0 ? 2 : 3);
    for (int i = 0; i < 9; i++) {
        if (lines[i].panel >= f->n_panels) continue;
        const r_block *b = line_of(f, lines[i].panel, lines[i].name, lines[i].colour);
        assert_int_equal(b != NULL, has_heads(v, lines[i].kind));
        if (!b) continue;
        assert_int_equal(b->n, layers_of(v));
        bars_of(f, lines[i].panel, lines[i].colour, false);
        for (int l = 0; l < layers_of(v); l++) {
            char cell[32];
            snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[lines[i].kind]);
            const spread a = spread_at(store, v, t, best_at(store, v, t), lines[i].metric, cell, 1);
            near_row(b, l, l, a.mean, a.lo, a.hi, cell);
        }
    }
    for (int q = 0; q < f->n_panels; q++) {
        r_equal(f->panel[q].title, titles[q]);
        r_equal(f->panel[q].x, "layer");
        r_equal(f->panel[q].y, "tokens");
        assert_true(f->panel[q].y_log == (q == 2) && !f->panel[q].x_log);
    }
    r_says(f->head, variants[v]);
    r_says(f->head, v == 2 && t == 1 ? "2 runs, 2 seeds each" : "3 runs, 3 seeds each");
    r_says(f->head, "which=first");
}

// A row for each layer; columns 0, 1, 2 of heads, then the SSM.
static inline void retrieval(const r_figure *f, int t, int v) {
    assert_non_null(f);
    assert_int_equal(f->n_blocks, 1);
    const int heads = has_heads(v, 0) ? 3 : 0;
    int next = 0;
    for (int l = 0; l < layers_of(v); l++)
        for (int c = 0; c <= heads; c++) {
            char cell[32];
            snprintf(cell, sizeof cell, c < heads ? "layer%d.head%d" : "layer%d.ssm", l, c);
            if (c < heads ? c >= heads_at(l) : !has_heads(v, 1)) continue;
            const spread a = spread_at(store, v, t, best_at(store, v, t), "retrieval_score", cell, 100);
            near_row(&f->block[0], next++, c, l, a.mean, NAN, cell);
        }
    assert_int_equal(f->block[0].n, next);
    r_says(f->panel[0].xtics, v == 0 ? "('0' 0, '1' 1, '2' 2)" : v == 1 ? "('SSM' 0)" : "'2' 2, 'SSM' 3)");
    r_says(f->panel[0].ytics, "('0' 0, '1' 1, '2' 2");
    r_equal(f->panel[0].x, "head");
    r_equal(f->panel[0].y, "layer");
    r_says(f->script, "set cblabel 'on the token to copy (%)'");
    r_says(f->script, "set cbrange [0:100]");
    double lo = 1, hi = 0;
    for (int l = 0; l < layers_of(v); l++)
        for (int k = 0; k < 2; k++) {
            char cell[32], text[64];
            if (!has_heads(v, k)) continue;
            snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
            const double u = spread_at(store, v, t, best_at(store, v, t), "retrieval_uniform", cell, 1).mean;
            lo = fmin(lo, u), hi = fmax(hi, u);
            snprintf(text, sizeof text, "%.1f to %.1f %%", 100 * lo, 100 * hi);
            if (l == layers_of(v) - 1 && (k || !has_heads(v, 1))) r_says(f->head, text);
        }
    r_says(f->head, variants[v]);
    r_says(f->head, v == 2 && t == 1 ? "2 runs, 2 seeds each" : "3 runs, 3 seeds each");
    r_says(f->head, "which=first");
}

// One line a variant, at the middle of its distances by their logarithm, counted from 1.
static inline void gradient_erf(const r_figure *f, int t, int unused) {
    (void)unused;
    assert_non_null(f);
    assert_int_equal(f->n_panels, 1);
    for (int v = 0; v < VARIANTS; v++) {
        const r_block *b = line_of(f, 0, variants[v], v);
        assert_non_null(b);
        assert_int_equal(b->n, distances_at(v));
        bars_of(f, 0, v, false);
        for (int k = 0; k < b->n; k++) {
            char cell[32];
            snprintf(cell, sizeof cell, "distance%d", k);
            const spread a = spread_at(store, v, t, best_at(store, v, t), "gradient_share", cell, 100);
            const double first = distance_at(k, false), last = distance_at(k, true);
            near_row(b, k, exp((log(1 + first) + log(1 + last)) / 2), a.mean, a.lo, a.hi, cell);
        }
    }
    assert_true(f->panel[0].x_log && f->panel[0].y_log);
    r_equal(f->panel[0].x, "tokens back, with the last itself as 1");
    r_equal(f->panel[0].y, "share of the gradient a token (%)");
    r_says(f->head, "95 % interval of the mean");
    r_says(f->head, t ? "8 runs, 2 to 3 seeds each" : "9 runs, 3 seeds each");
    r_says(f->head, "which: first");
}

// Of the first seed, in the last layer: columns are meta tokens, rows the kinds of prompts in the order of their names.
static inline void meta_tokens(const r_figure *f, int t, int v) {
    if (!has_heads(v, 0)) {
        assert_null(f);
        return;
    }
    assert_non_null(f);
    int next = 0;
    double most = 0;
    for (int k = 0; k < PROMPTS; k++)
        for (int j = 0; j < META; j++) {
            char cell[64];
            double x[SEEDS];
            int seed[SEEDS];
            snprintf(cell, sizeof cell, "%s.layer%d.meta%d", prompts[k], layers_of(v) - 1, j);
            assert_true(raw(store, v, t, best_at(store, v, t), "meta_attention", cell, x, seed) > 0);
            assert_int_equal(seed[0], seeds[0]);
            near_row(&f->block[0], next++, j, k, 100 * x[0], NAN, cell);
            most = fmax(most, 100 * x[0]);
        }
    assert_int_equal(f->block[0].n, next);
    r_says(f->panel[0].xtics, "('0' 0, '1' 1)");
    r_says(f->panel[0].ytics, "('T24.K2' 0, 'article' 1, 'code' 2)");
    r_equal(f->panel[0].x, "meta token");
    r_equal(f->panel[0].y, "prompt");
    r_says(f->script, "set cblabel 'attention received (%)'");
    char range[48];
    snprintf(range, sizeof range, "set cbrange [0:%.6g]", most);
    r_says(f->script, range);
    r_says(f->head, variants[v]);
    snprintf(range, sizeof range, "Layer %d, mean of its heads", layers_of(v) - 1);
    r_says(f->head, range);
    r_says(f->head, "1 run: seed 11. which=first");
}
#endif
