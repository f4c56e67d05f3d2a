// m_erf.c - measure "erf": the effective receptive field, of the whole model and layer by layer. How:
// analysis/probe/erf.h.
#include <math.h>
#include <stdlib.h>

#include "analysis/measure/examples.h"
#include "analysis/probe/erf.h"
#include "core/format/json.h"

typedef struct {
    int examples, cell, ssm, heads, meta, missing, uniform, reduce, gate, max_len;
} erf_options;
#define AT(member) offsetof(erf_options, member)
static const hy_field erf_fields[] = {
    HY_FIELD_EXAMPLES(erf_options, "8"),
    HY_FIELD_CELL(erf_options),
    {"ssm", HY_F_ENUM, AT(ssm), 0, "group", 0, 0, HY_ERF_SSM_CHOICES, "an SSM is one head, or every channel is"},
    {"heads", HY_F_ENUM, AT(heads), 0, "halves", 0, 0, HY_ERF_HEADS_CHOICES,
     "how the heads of a hybrid layer are averaged"},
    {"meta", HY_F_ENUM, AT(meta), 0, "included", 0, 0, HY_ERF_META_CHOICES,
     "meta tokens are positions, or rows are renormalised without"},
    {"missing", HY_F_ENUM, AT(missing), 0, "skip", 0, 0, HY_ERF_MISSING_CHOICES, "layers without such heads"},
    {"uniform", HY_F_BOOL, AT(uniform), 0, "false", 0, 0, NULL, "all layers weigh the same, not as in eq. 5"},
    HY_FIELD_REDUCE(erf_options),
    HY_FIELD_GATE(erf_options),
    {"max_len", HY_F_INT, AT(max_len), 0, "whole", 1, 1e7, "whole", "longer examples are cut to so many tokens", true},
    HY_FIELD_END,
};

static hy_status erf_check(const hy_measure_subject *s, const void *options) {
    const erf_options *o = options;
    return hy_examples_check(s, o->cell);
}

static bool erf_applies(const hy_model_spec *spec, const void *options) {
    (void)options;
    return hy_layers_have_heads(spec, &(hy_ints){0});
}

typedef struct {
    hy_erf_options o;
    hy_erf_layer *now, *mean;  // [n_layers] of one example; over the examples
    hy_moments *distance;      // [n_layers + 1] of the examples; the last: of the whole model
    int layers, examples;
} work;

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    hy_erf_layer *e = &w->now[v->layer], *mean = &w->mean[v->layer];
    const double share = 1.0 / w->examples;
    HY_TRY(hy_erf_measure(v, &w->o, e));
    mean->layer = e->layer, mean->S = e->S, mean->heads = e->heads, mean->channels = e->channels;
    mean->attention += share * e->attention;
    mean->ssm_group += share * e->ssm_group;
    mean->ssm_channels += share * e->ssm_channels;
    return HY_OK;
}

static void add_distances(work *w) {
    double d;
    hy_moments_add(&w->distance[w->layers], hy_erf_combine(w->now, w->layers, &w->o));
    for (int k = 0; k < w->layers; k++)
        if (hy_erf_layer_distance(&w->now[k], &w->o, &d)) hy_moments_add(&w->distance[k], d);
}

static hy_fact *add(const hy_measure_context *c, hy_facts *f, const char *metric, const char *cell, double value,
                    int layer, const char *kind, int n, const char *meta) {
    hy_fact *m = hy_facts_add(f, metric, cell, value);
    m->n = n;
    m->step = c->step;
    m->x = layer;
    m->meta = hy_xstrdup(meta);
    hy_fact_at(m, layer, kind, -1);
    return m;
}

static void erf_facts(const hy_measure_context *c, hy_facts *f, const char *cell, double erf, double se, int positions,
                      int layer, int n, const char *meta) {
    add(c, f, "erf", cell, erf, layer, NULL, n, meta)->se = se;
    add(c, f, "erf_relative", cell, erf / positions, layer, NULL, n, meta)->se = se / positions;
}

static char *meta_text(const work *w, const hy_examples *e) {
    hy_json *j = hy_json_new_object();
    hy_buf options = {0}, text = {0};
    hy_erf_options_text(&w->o, &options);
    hy_json_set_string(j, "options", options.s);
    hy_json_set_string(j, "cell", e->cell->name);
    hy_json_text(j, 0, &text);
    hy_json_free(j);
    free(options.s);
    return text.s;
}

static void add_facts(const work *w, const hy_measure_context *c, const hy_examples *e, hy_facts *f) {
    const int L = w->layers, n = e->n;
    const int positions = e->T + (w->o.meta == HY_ERF_META_INCLUDED ? c->prog->spec.meta_tokens : 0);  // that count
    char *meta = meta_text(w, e);
    bool any = false;  // layers with heads of the wanted kind
    double d;
    for (int k = 0; k < L; k++) any = any || hy_erf_layer_distance(&w->mean[k], &w->o, &d);
    if (any)
        erf_facts(c, f, "", hy_erf_combine(w->mean, L, &w->o), hy_moments_error(&w->distance[L]), positions, -1, n,
                  meta);
    for (int k = 0; k < L; k++) {
        const hy_erf_layer *l = &w->mean[k];
        char cell[48];
        snprintf(cell, sizeof cell, "layer%d", l->layer);
        if (hy_erf_layer_distance(l, &w->o, &d))
            erf_facts(c, f, cell, d, hy_moments_error(&w->distance[k]), positions, l->layer, n, meta);
        snprintf(cell, sizeof cell, "layer%d.attention", l->layer);
        if (l->heads) add(c, f, "head_distance", cell, l->attention, l->layer, "attention", n, meta);
        snprintf(cell, sizeof cell, "layer%d.ssm", l->layer);
        if (l->channels) add(c, f, "head_distance", cell, l->ssm_group, l->layer, "ssm", n, meta);
        if (l->channels) add(c, f, "channel_distance", cell, l->ssm_channels, l->layer, "ssm", n, meta);
    }
    free(meta);
}

static hy_status erf_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const erf_options *o = options;
    const int L = c->prog->spec.n_layers;
    work w = {.o = {.ssm = (hy_erf_ssm)o->ssm,
                    .heads = (hy_erf_heads)o->heads,
                    .meta = (hy_erf_meta)o->meta,
                    .missing = (hy_erf_missing)o->missing,
                    .uniform = o->uniform,
                    .reduce = (hy_ssm_reduce)o->reduce,
                    .gate = o->gate},
              .layers = L};
    hy_examples e;
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &e);
    w.examples = e.n;
    w.now = hy_xcalloc(2 * (size_t)L, sizeof *w.now);  // zeros stay where a layer has no heads
    w.mean = w.now + L;
    w.distance = hy_xcalloc((size_t)(L + 1), sizeof *w.distance);
    for (int i = 0; !s && i < L; i++) e.want[i] = true;
    for (int i = 0; !s && i < e.n; i++) {
        s = hy_examples_run(c, &e, i, on_layer, &w);
        if (!s) add_distances(&w);
    }
    if (!s) add_facts(&w, c, &e, facts);
    free(w.now);
    free(w.distance);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_erf = {
    .name = "erf",
    .version = 1,
    .doc = "effective receptive field (Hymba, eq. 5), of the whole model and layer by layer",
    .fields = erf_fields,
    .options_size = sizeof(erf_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = erf_check,
    .applies = erf_applies,
    .run = erf_run,
};
