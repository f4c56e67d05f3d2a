// figure_maps.h - attention maps and contributions in figures, against the raw rows of the store; for
// test_figure_numbers.c.
#ifndef HY_FIGURE_MAPS_H
#define HY_FIGURE_MAPS_H
#include "tests/unit/figure_inside.h"

static inline void one_map(const r_figure *f, const char *prefix, int panel, int t, int v, int layer, int kind) {
    static const char *const names[] = {"attention", "SSM", "whole layer"};
    const int g = best_at(store, v, t);
    char title[64];
    snprintf(title, sizeof title, "layer %d: %s", layer, names[kind]);
    r_equal(f->panel[panel].title, title);
    const r_element *e = NULL;
    for (int i = 0; i < f->n_elements; i++)
        if (f->element[i].panel == panel && !strcmp(f->element[i].with, "image")) e = &f->element[i];
    assert_non_null(e);
    char *sql = hy_asprintf("SELECT a.data FROM model m JOIN measurement x ON x.model_id = m.id JOIN artifact a ON"
                            " a.measurement_id = x.id WHERE m.model_key = 'k%d%d%d' AND m.status = 'done' AND a.name ="
                            " '%slayer%d.%s' AND x.options LIKE '%%first%%' ORDER BY m.seed",
                            v, t, g, prefix, layer, head_kinds[kind]);
    hy_query *q;
    bool row;
    size_t bytes = 0;
    OK(hy_query_open(store, sql, &q));
    OK(hy_query_step(q, &row));
    const void *data = row ? hy_query_blob(q, 0, &bytes) : NULL;
    assert_true(data && bytes == SIDE * SIDE * sizeof(float) && e->skip + bytes <= f->bytes);
    assert_memory_equal(f->data + e->skip, data, bytes);  // row by row: the x axis is the key
    hy_query_close(q);
    free(sql);
}

static inline void maps_of(const r_figure *f, const char *prefix, int t, int v) {
    const int n = layers_of(v), layers[] = {0, n / 2, n - 1}, kinds = v == 2 ? 3 : 1;
    assert_non_null(f);
    assert_int_equal(f->n_panels, 3 * kinds);
    for (int r = 0; r < 3; r++)
        for (int k = 0; k < kinds; k++) {
            const int at = r * kinds + k;
            one_map(f, prefix, at, t, v, layers[r], v == 2 ? k : v);
            r_equal(f->panel[at].x, r == 2 ? "key position" : "");
            r_equal(f->panel[at].y, k == 0 ? "query position" : "");
        }
    r_says(f->script, "binary array=(5,5)");
    r_says(f->script, "set yrange [4.5:-0.5]");               // the first query on top
    r_says(f->script, "set arrow from 1.5,-0.5 to 1.5,4.5");  // after the meta tokens
    r_says(f->script, "set logscale cb");
    r_says(f->head, variants[v]);
    r_says(f->head, t ? ", far" : ", near");
    r_says(f->head, "evaluation cell T16");
    assert_null(strstr(f->head, "other"));
}

static inline void maps(const r_figure *f, int t, int v) {
    maps_of(f, "", t, v);
    r_says(f->head, "seed 12; evaluation cell T16. norm=first");
    r_says(f->script, "set cbrange [0.0001:");
}

static inline void contributions(const r_figure *f, int t, int v) {
    maps_of(f, "contribution.", t, v);
    r_says(f->head, "size=first");
    assert_null(strstr(f->script, "set cbrange [0.0001:"));
    r_says(f->script, "size of the contribution");
}

// Of the variant with both kinds of heads; nothing in its middle layer.
static inline void contribution_share(const r_figure *f, int t, int unused) {
    (void)unused;
    assert_non_null(f);
    assert_int_equal(f->n_panels, 1);
    r_equal(f->panel[0].title, variants[2]);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(r_legend(f, k ? "SSM heads" : "attention heads"), k);
        const r_element *e = r_find(f, 0, "boxxyerror", k);
        assert_non_null(e);
        const r_block *b = &f->block[e->block];
        assert_int_equal(b->n, layers_of(2));
        for (int l = 0; l < b->n; l++) {
            double sum = 0;
            for (int i = 0; i <= k; i++) {
                char cell[32];
                snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[i]);
                r_near(b->v[l][2 * i + 1], sum, cell);
                sum += l == 1 ? 0 : spread_at(store, 2, t, best_at(store, 2, t), "contribution_share", cell, 100).mean;
                r_near(b->v[l][2 * i + 2], sum, cell);
            }
        }
    }
    const r_element *bar = r_find(f, 0, "vectors", -1);
    assert_non_null(bar);
    r_equal(bar->columns, "1:6:(0):($7-$6)");
    for (int l = 0; l < layers_of(2); l++) {
        char cell[32];
        snprintf(cell, sizeof cell, "layer%d.attention", l);
        const spread a = spread_at(store, 2, t, best_at(store, 2, t), "contribution_share", cell, 100);
        r_near(f->block[bar->block].v[l][5], l == 1 ? NAN : a.lo, cell);
        r_near(f->block[bar->block].v[l][6], l == 1 ? NAN : a.hi, cell);
    }
    r_equal(f->panel[0].y, "share of contributions (%)");
    r_says(f->head, t ? "2 runs, 2 seeds each" : "3 runs, 3 seeds each");
}
#endif
