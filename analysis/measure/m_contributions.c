// m_contributions.c - measure "contributions": what each position adds to each other one through a whole layer, in the
// unit of the residual stream, of attention heads, SSM heads and both together. How: analysis/probe/contribution.h.
// Figures are over text positions as rows, means over examples of those of an example; artifacts
// "contribution.layer3.attention", ".ssm" and (where there are both) ".layer" are mean sizes, f32 [S, S] as maps are.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/examples.h"
#include "analysis/probe/contribution.h"
#include "core/format/json.h"

typedef struct {
    hy_ints layers;
    int examples, cell, max_len, rows, keep;
} contribution_options;
#define AT(member) offsetof(contribution_options, member)
static const hy_field contribution_fields[] = {
    {"layers", HY_F_INTS, AT(layers), 0, "[]", 0, 255, NULL, "layers, from 0; empty: all"},
    HY_FIELD_EXAMPLES(contribution_options, "1"),
    HY_FIELD_CELL(contribution_options),
    {"max_len", HY_F_INT, AT(max_len), 0, "256", 1, 65536, NULL, "longer examples are cut to so many tokens"},
    {"rows", HY_F_INT, AT(rows), 0, "all", 1, 65536, "all",
     "positions that are contributed to: so many text positions, evenly spread up to the last; fewer cost less"},
    {"keep", HY_F_ENUM, AT(keep), 0, "maps", 0, 0, "maps|statistics", "maps are stored too, of all rows"},
    HY_FIELD_END,
};

static hy_status contribution_check(const hy_measure_subject *s, const void *options) {
    const contribution_options *o = options;
    HY_TRY(hy_examples_check(s, o->cell));
    if (o->keep || !o->rows) return HY_OK;
    return hy_error(HY_EINPUT, "rows: %d, but maps are of all rows: with keep: statistics", o->rows);
}

static bool contribution_applies(const hy_model_spec *spec, const void *options) {
    return hy_layers_have_heads(spec, &((const contribution_options *)options)->layers);
}

// ---------------------------------------------------------------------------------------------------- one layer
enum { KINDS = 3 };  // hy_map_src
enum { DISTANCE = 0, META, BOS, SELF, CROSS, FIGURES };
static const char *const metrics[FIGURES] = {"contribution_distance", "contribution_meta", "contribution_bos",
                                             "contribution_self", "contribution_cross"};
typedef struct {
    hy_contribution_layer way;
    hy_moments of[KINDS][FIGURES], share[2];
    bool has[KINDS];
    double *map[KINDS];  // [S, S] sums over the examples; NULL: not kept
} layer_work;
typedef struct {
    const contribution_options *o;
    layer_work *layer;  // [n_layers]
    int S, meta, n;     // n rows
    int *rows;
    double *size[KINDS];  // [S]
    // of one layer and example
    hy_map_stats stats[KINDS];
    double sum[2];
} work;

// All rows, or text positions at equal steps up to the last.
static void choose_rows(work *w) {
    const int T = w->S - w->meta, wanted = w->o->rows && w->o->rows < T ? w->o->rows : 0;
    w->rows = hy_xcalloc((size_t)w->S, sizeof *w->rows);
    w->n = wanted ? wanted : w->o->keep ? T : w->S;
    for (int k = 0; k < w->n; k++)
        w->rows[k] = wanted ? w->S - 1 - (int)((int64_t)(wanted - 1 - k) * T / wanted) : w->S - w->n + k;
}

static void add_row(work *w, const hy_map_values *v, int i) {
    layer_work *l = &w->layer[v->layer];
    for (int kind = 0; kind < KINDS; kind++) {
        double all = 0, *a = w->size[kind];
        if (!l->has[kind]) continue;
        for (int j = 0; j <= i; j++) {
            all += a[j];
            if (l->map[kind]) l->map[kind][(size_t)i * (size_t)w->S + (size_t)j] += a[j];
        }
        if (i < w->meta) continue;
        if (kind < 2) w->sum[kind] += all;
        for (int j = 0; j <= i && all != 0; j++) a[j] /= all;
        hy_map_stats_add(v, (hy_map_src)kind, i, a, &w->stats[kind]);
    }
}

static hy_status add_rows(work *w, const hy_map_values *v, int first, int n) {
    hy_contribution_rows r;
    HY_TRY(hy_contribution_rows_open(&w->layer[v->layer].way, v, w->rows + first, n, &r));
    hy_status s = HY_OK;
    for (int k = 0; k < n && !s; k++) {
        s = hy_interrupted ? hy_error(HY_EINTR, "interrupted")
                           : hy_contribution_sizes(&r, k, w->size[0], w->size[1], w->size[2]);
        if (!s) add_row(w, v, w->rows[first + k]);
    }
    hy_contribution_rows_close(&r);
    return s;
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    layer_work *l = &w->layer[v->layer];
    const int tile = hy_contribution_tile(v);
    int text = 0;
    for (int k = 0; k < w->n; k++) text += w->rows[k] >= w->meta;
    for (int kind = 0; kind < KINDS; kind++) {
        l->has[kind] = hy_map_has(v, (hy_map_src)kind);
        w->stats[kind] = (hy_map_stats){.heads = 1, .rows = text};
        const bool two = kind != HY_MAP_LAYER || (l->has[0] && l->has[1]);
        if (!w->o->keep && l->has[kind] && two && !l->map[kind])
            l->map[kind] = hy_xcalloc((size_t)w->S * (size_t)w->S, sizeof(double));
    }
    w->sum[0] = w->sum[1] = 0;
    for (int k = 0; k < w->n; k += tile) HY_TRY(add_rows(w, v, k, w->n - k < tile ? w->n - k : tile));
    for (int kind = 0; kind < KINDS; kind++) {
        hy_map_stats *s = &w->stats[kind];
        hy_map_stats_mean(s);
        const double value[FIGURES] = {s->distance, s->meta, s->bos, s->self, s->cross};
        for (int i = 0; i < FIGURES && l->has[kind]; i++) hy_moments_add(&l->of[kind][i], value[i]);
    }
    const double both = w->sum[0] + w->sum[1];
    for (int kind = 0; kind < 2 && l->has[0] && l->has[1] && both != 0; kind++)
        hy_moments_add(&l->share[kind], w->sum[kind] / both);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static char *meta_text(const work *w, const hy_examples *e) {
    char options[64];
    snprintf(options, sizeof options, "size=l2 of=residual_stream examples=%d", e->n);
    return hy_examples_meta(e, w->meta, options);
}

static void layer_facts(const hy_measure_context *c, hy_facts *f, const work *w, int i, const hy_examples *e,
                        const char *meta) {
    const layer_work *l = &w->layer[i];
    for (int kind = 0; kind < KINDS; kind++) {
        const char *name = hy_map_src_name((hy_map_src)kind);
        for (int k = 0; k < FIGURES && l->has[kind]; k++)
            hy_moments_layer_fact(c, f, metrics[k], i, name, -1, &l->of[kind][k]);
        if (kind < 2 && l->share[kind].n == e->n)
            hy_moments_layer_fact(c, f, "contribution_share", i, name, -1, &l->share[kind]);
        if (!l->map[kind]) continue;
        const size_t S = (size_t)w->S;
        const bool window = kind == HY_MAP_ATTENTION;
        const int reach = window ? c->prog->spec.layers[i].window : 0;
        float *mean = hy_xcalloc(S * S, sizeof *mean);
        for (int r = 0; r < w->S; r++)
            for (int j = 0; j < w->S; j++) {
                const bool sees = hy_attn_visible(r, j, reach, w->meta);
                const size_t at = (size_t)r * S + (size_t)j;
                mean[at] = sees ? (float)(l->map[kind][at] / e->n) : NAN;
            }
        char artifact[64];
        snprintf(artifact, sizeof artifact, "contribution.layer%d.%s", i, name);
        hy_artifact_at(hy_facts_artifact(f, artifact, "f32", 2, (int[]){w->S, w->S}, mean, meta), i, name, -1);
        free(mean);
    }
}

static hy_status contribution_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const contribution_options *o = options;
    const int L = c->prog->spec.n_layers;
    work w = {.o = o, .meta = c->prog->spec.meta_tokens, .layer = hy_xcalloc((size_t)L, sizeof *w.layer)};
    hy_examples e;
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &e);
    w.S = w.meta + e.T;
    choose_rows(&w);
    for (int k = 0; k < KINDS; k++) w.size[k] = hy_xcalloc((size_t)w.S, sizeof(double));
    for (int i = 0; i < L && !s; i++) {
        e.want[i] = hy_ints_want(&o->layers, i);
        if (e.want[i]) s = hy_contribution_open(c->prog, c->params, i, &w.layer[i].way);
    }
    for (int i = 0; !s && i < e.n; i++) s = hy_examples_run(c, &e, i, on_layer, &w);
    char *meta = meta_text(&w, &e);
    for (int i = 0; i < L; i++) {
        if (!s && e.want[i]) layer_facts(c, facts, &w, i, &e, meta);
        hy_contribution_close(&w.layer[i].way);
        for (int k = 0; k < KINDS; k++) free(w.layer[i].map[k]);
    }
    for (int k = 0; k < KINDS; k++) free(w.size[k]);
    free(meta), free(w.rows), free(w.layer);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_contributions = {
    .name = "contributions",
    .version = 1,
    .doc = "what each position adds to each other through a whole layer, attention and SSM heads in one unit",
    .fields = contribution_fields,
    .options_size = sizeof(contribution_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = contribution_check,
    .applies = contribution_applies,
    .run = contribution_run,
};
