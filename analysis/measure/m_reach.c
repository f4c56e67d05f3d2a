// m_reach.c - measure "reach": how far back heads look and how long SSM channels remember, layer by layer. How:
// analysis/probe/reach.h. Every figure is the mean over examples of that of an example.
#include <math.h>
#include <stdlib.h>

#include "analysis/measure/examples.h"
#include "analysis/probe/erf.h"
#include "analysis/probe/reach.h"

typedef struct {
    int examples, cell, rows, meta, decay, heads, max_len;
    double mass;
} reach_options;
#define AT(member) offsetof(reach_options, member)
static const hy_field reach_fields[] = {
    HY_FIELD_EXAMPLES(reach_options, "8"),
    HY_FIELD_CELL(reach_options),
    {"max_len", HY_F_INT, AT(max_len), 0, "whole", 1, 1e7, "whole", "longer examples are cut to so many tokens"},
    {"rows", HY_F_INT, AT(rows), 0, "1", 1, 1e7, NULL,
     "last positions that look back, averaged (1: the Mamba mean distance as published)"},
    {"mass", HY_F_DOUBLE, AT(mass), 0, "0.9", 0.001, 0.999, NULL, "share of a row that the span holds"},
    {"meta", HY_F_ENUM, AT(meta), 0, "included", 0, 0, HY_ERF_META_CHOICES,
     "meta tokens are positions, or rows are renormalised without"},
    {"decay", HY_F_ENUM, AT(decay), 0, "product", 0, 0, HY_REACH_DECAY_CHOICES,
     "of a channel over the sequence: the geometric mean of exp(dt A), or its mean"},
    {"heads", HY_F_BOOL, AT(heads), 0, "false", 0, 0, NULL, "also each attention head's own span and distance"},
    HY_FIELD_END,
};

static hy_status reach_check(const hy_measure_subject *s, const void *options) {
    return hy_examples_check(s, ((const reach_options *)options)->cell);
}

static bool reach_applies(const hy_model_spec *spec, const void *options) {
    (void)options;
    return hy_layers_have_heads(spec, &(hy_ints){0});
}

enum { ATTENTION = 0, SSM, KINDS };
static const char *const kind_names[KINDS] = {"attention", "ssm"};
static const char *const life_names[HY_REACH_QUANTILES] = {"half_life_q05", "half_life_q25", "half_life_q50",
                                                           "half_life_q75", "half_life_q95"};
typedef struct {
    hy_reach_layer now;  // of one example
    hy_moments span[KINDS], distance[KINDS], life[HY_REACH_QUANTILES], long_memory;
    hy_moments *head_span, *head_distance;  // [heads]
} layer_work;
typedef struct {
    hy_reach_options o;
    layer_work *layer;  // [n_layers]
} work;

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    layer_work *l = &w->layer[v->layer];
    HY_TRY(hy_reach_measure(v, &w->o, &l->now));
    double span = 0, distance = 0;
    for (int h = 0; h < v->heads; h++) {
        span += l->now.span[h] / v->heads;
        distance += l->now.distance[h] / v->heads;
        hy_moments_add(&l->head_span[h], l->now.span[h]);
        hy_moments_add(&l->head_distance[h], l->now.distance[h]);
    }
    hy_moments_add(&l->span[ATTENTION], span);
    hy_moments_add(&l->distance[ATTENTION], distance);
    hy_moments_add(&l->span[SSM], l->now.ssm_span);
    hy_moments_add(&l->distance[SSM], l->now.ssm_distance);
    hy_moments_add(&l->long_memory, l->now.long_memory);
    for (int q = 0; q < HY_REACH_QUANTILES; q++) hy_moments_add(&l->life[q], l->now.half_life[q]);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static void layer_facts(const hy_measure_context *c, hy_facts *f, const reach_options *o, const layer_work *l, int i) {
    for (int k = 0; k < KINDS; k++) {
        if (k == ATTENTION ? !l->now.heads : !l->now.channels) continue;
        hy_moments_layer_fact(c, f, "span", i, kind_names[k], -1, &l->span[k]);
        hy_moments_layer_fact(c, f, "mean_distance", i, kind_names[k], -1, &l->distance[k]);
    }
    for (int h = 0; o->heads && h < l->now.heads; h++) {
        hy_moments_layer_fact(c, f, "span", i, kind_names[ATTENTION], h, &l->head_span[h]);
        hy_moments_layer_fact(c, f, "mean_distance", i, kind_names[ATTENTION], h, &l->head_distance[h]);
    }
    if (!l->now.channels) return;
    for (int q = 0; q < HY_REACH_QUANTILES; q++)
        hy_moments_layer_fact(c, f, life_names[q], i, kind_names[SSM], -1, &l->life[q]);
    hy_moments_layer_fact(c, f, "long_memory", i, kind_names[SSM], -1, &l->long_memory);
}

static void open_layers(const hy_model_spec *spec, work *w) {
    w->layer = hy_xcalloc((size_t)spec->n_layers, sizeof *w->layer);
    for (int i = 0; i < spec->n_layers; i++) {
        layer_work *l = &w->layer[i];
        const size_t heads = (size_t)spec->layers[i].heads;
        l->now.span = hy_xcalloc(2 * heads + 1, sizeof *l->now.span);
        l->now.distance = l->now.span + heads;
        l->head_span = hy_xcalloc(2 * heads + 1, sizeof *l->head_span);
        l->head_distance = l->head_span + heads;
    }
}

static hy_status reach_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const reach_options *o = options;
    const int L = c->prog->spec.n_layers;
    work w = {.o = {.rows = o->rows, .mass = o->mass, .text = o->meta == HY_ERF_META_RENORM, .mean = o->decay != 0}};
    hy_examples e;
    open_layers(&c->prog->spec, &w);
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &e);
    for (int i = 0; !s && i < L; i++) e.want[i] = true;
    for (int i = 0; !s && i < e.n; i++) s = hy_examples_run(c, &e, i, on_layer, &w);
    for (int i = 0; i < L; i++) {
        if (!s) layer_facts(c, facts, o, &w.layer[i], i);
        free(w.layer[i].now.span);
        free(w.layer[i].head_span);
    }
    free(w.layer);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_reach = {
    .name = "reach",
    .version = 1,
    .doc =
        "how far back heads look (span, mean distance) and how long SSM channels remember (half-lives), layer by layer",
    .fields = reach_fields,
    .options_size = sizeof(reach_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = reach_check,
    .applies = reach_applies,
    .run = reach_run,
};
