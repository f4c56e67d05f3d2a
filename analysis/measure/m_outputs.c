// m_outputs.c - measure "outputs": how much the attention heads and the SSM heads of each layer give, before and after
// the fusion's norm and weights, and those weights (Hymba, Fig. 12).
//
// With a and s the outputs of the two kinds of heads at a position, a parallel layer forms
//     mean:   z = (by_a beta_a norm(a) + by_s beta_s norm(s)) / 2
//     concat: z = [by_a beta_a norm(a) | by_s beta_s norm(s)]
//     gate:   z = g by_a beta_a norm(a) + (1 - g) by_s beta_s norm(s)
//     sum:    by_a a and by_s s, each through an out projection of its own
// norm: RMSNorm without weights; beta: learned, of each channel; by: fixed multipliers, 1 unless the spec says
// otherwise; g: learned, of each position and head. output_rms is of a and s, fused_rms of the two parts of z. Layers
// with one kind of heads, or with one after the other, have output_rms only.
#include <math.h>
#include <stdlib.h>

#include "analysis/measure/examples.h"

typedef enum { ATTENTION = 0, SSM, KINDS } kind;
static const char *const kind_names[KINDS] = {"attention", "ssm"};

typedef struct {
    int examples, cell, positions, max_len;
    hy_ints layers;
} outputs_options;
static const hy_field outputs_fields[] = {
    HY_FIELD_EXAMPLES(outputs_options, "8"),
    HY_FIELD_CELL(outputs_options),
    {"positions", HY_F_ENUM, offsetof(outputs_options, positions), 0, "text", 0, 0, "text|all",
     "text tokens, or meta tokens too"},
    {"max_len", HY_F_INT, offsetof(outputs_options, max_len), 0, "whole", 1, 1e7, "whole",
     "longer examples are cut to so many tokens", true},
    {"layers", HY_F_INTS, offsetof(outputs_options, layers), 0, "[]", 0, 255, NULL, "layers, from 0; empty: all", true},
    HY_FIELD_END,
};

static hy_status outputs_check(const hy_measure_subject *s, const void *options) {
    const outputs_options *o = options;
    return hy_examples_check(s, o->cell);
}

static bool outputs_apply(const hy_model_spec *spec, const void *options) {
    const outputs_options *o = options;
    return hy_layers_have_heads(spec, &o->layers);
}

typedef struct {
    int channels[KINDS];  // 0: no such heads
    float *beta[KINDS];   // [channels]; NULL: the fusion has none
    double by[KINDS];
    bool parallel;
    hy_fusion fusion;
    hy_moments out[KINDS], fused[KINDS], share[KINDS];
} layer_work;
typedef struct {
    layer_work *layers;  // [n_layers]
    double eps;
    bool all;  // positions
} work;

// ---------------------------------------------------------------------------------------------------- one layer
// Share of channel c of a kind in the fusion at position i.
static double weight_of(const hy_map_values *v, const layer_work *l, kind k, int i, int c) {
    if (l->fusion == HY_FUSION_MEAN) return 0.5;
    if (l->fusion != HY_FUSION_GATE) return 1;
    const int group = c / (l->channels[k] / v->fuse_groups);
    const double g = 1 / (1 + exp(-(double)v->fuse_gate[(size_t)i * v->fuse_groups + group]));
    return k == ATTENTION ? g : 1 - g;
}

// Mean squares over positions and channels of the output of one kind, and of its part of the fused output.
static void mean_squares(const hy_map_values *v, const work *w, const layer_work *l, kind k, double *out,
                         double *fused) {
    const int C = l->channels[k], first = w->all ? 0 : v->meta;
    const float *x = k == ATTENTION ? v->attn_out : v->ssm_out;
    double raw = 0, part = 0;
    for (int i = first; i < v->S; i++) {
        const float *row = x + (size_t)i * C;
        double sq = 0;
        for (int c = 0; c < C; c++) {
            sq += (double)row[c] * row[c];
            raw += (double)row[c] * row[c];
        }
        const double norm = l->beta[k] ? 1 / sqrt(sq / C + w->eps) : 1;
        for (int c = 0; c < C && l->parallel; c++) {
            const double y = weight_of(v, l, k, i, c) * l->by[k] * (l->beta[k] ? l->beta[k][c] : 1) * norm * row[c];
            part += y * y;
        }
    }
    const double n = (double)(v->S - first) * C;
    *out = raw / n;
    *fused = part / n;
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    layer_work *l = &w->layers[v->layer];
    double fused[KINDS] = {0};
    for (int k = 0; k < KINDS; k++) {
        double out;
        if (!l->channels[k]) continue;
        mean_squares(v, w, l, (kind)k, &out, &fused[k]);
        fused[k] = sqrt(fused[k]);
        hy_moments_add(&l->out[k], sqrt(out));
        if (l->parallel) hy_moments_add(&l->fused[k], fused[k]);
    }
    const double both = fused[ATTENTION] + fused[SSM];
    for (int k = 0; k < KINDS && l->parallel && both != 0; k++) hy_moments_add(&l->share[k], fused[k] / both);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- beta
static hy_status read_beta(const hy_measure_context *c, int layer, const char *name, float **out) {
    char *full = hy_asprintf("layers.%d.%s", layer, name);
    const int par = hy_program_find_param(c->prog, full);
    free(full);
    return hy_params_read(c->params, par, out);
}

static hy_status open_layer(const hy_measure_context *c, int i, layer_work *l) {
    const hy_layer_spec *s = &c->prog->spec.layers[i];
    *l = (layer_work){.parallel = s->mixer == HY_MIXER_PARALLEL,
                      .fusion = s->fusion,
                      .by = {c->prog->spec.multipliers.attention_out, c->prog->spec.multipliers.ssm_out},
                      .channels = {s->heads * s->d_v, s->d_inner}};
    if (!l->parallel) return HY_OK;
    HY_TRY(read_beta(c, i, "fuse.attn_norm", &l->beta[ATTENTION]));
    HY_TRY(read_beta(c, i, "fuse.ssm_norm", &l->beta[SSM]));
    HY_ASSERT(!l->beta[ATTENTION] == (l->fusion == HY_FUSION_SUM));
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static hy_fact *fact(const hy_measure_context *c, hy_facts *f, const char *metric, int layer, kind k, double value) {
    char cell[48];
    snprintf(cell, sizeof cell, "layer%d.%s", layer, kind_names[k]);
    hy_fact *m = hy_facts_add(f, metric, cell, value);
    m->step = c->step;
    m->x = layer;
    hy_fact_at(m, layer, kind_names[k], -1);
    return m;
}

static void mean_fact(const hy_measure_context *c, hy_facts *f, const char *metric, int layer, kind k,
                      const hy_moments *m) {
    if (m->n) hy_moments_layer_fact(c, f, metric, layer, kind_names[k], -1, m);
}

static void beta_facts(const hy_measure_context *c, hy_facts *f, int layer, kind k, const layer_work *l) {
    const int n = l->beta[k] ? l->channels[k] : 1;
    double sum = 0, size = 0;
    for (int i = 0; i < n; i++) {
        const double b = l->by[k] * (l->beta[k] ? l->beta[k][i] : 1);
        sum += b;
        size += fabs(b);
    }
    fact(c, f, "beta", layer, k, sum / n)->n = n;
    fact(c, f, "beta_abs", layer, k, size / n)->n = n;
}

static void add_facts(const work *w, const hy_measure_context *c, hy_facts *f) {
    for (int i = 0; i < c->prog->spec.n_layers; i++)
        for (int k = 0; k < KINDS; k++) {
            const layer_work *l = &w->layers[i];
            mean_fact(c, f, "output_rms", i, (kind)k, &l->out[k]);
            mean_fact(c, f, "fused_rms", i, (kind)k, &l->fused[k]);
            mean_fact(c, f, "output_share", i, (kind)k, &l->share[k]);
            if (l->parallel && l->out[k].n) beta_facts(c, f, i, (kind)k, l);
        }
}

static hy_status outputs_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const outputs_options *o = options;
    const int L = c->prog->spec.n_layers;
    work w = {
        .layers = hy_xcalloc((size_t)L, sizeof *w.layers), .eps = c->prog->spec.norm_eps, .all = o->positions != 0};
    hy_examples e;
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &e);
    for (int i = 0; !s && i < L; i++) {
        e.want[i] = hy_ints_want(&o->layers, i);
        s = open_layer(c, i, &w.layers[i]);
    }
    for (int i = 0; !s && i < e.n; i++) s = hy_examples_run(c, &e, i, on_layer, &w);
    if (!s) add_facts(&w, c, facts);
    for (int i = 0; i < L; i++) free(w.layers[i].beta[ATTENTION]), free(w.layers[i].beta[SSM]);
    free(w.layers);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_outputs = {
    .name = "outputs",
    .version = 1,
    .doc = "output magnitude of attention and of SSM heads, and their weights in the fusion, layer by layer",
    .fields = outputs_fields,
    .options_size = sizeof(outputs_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = outputs_check,
    .applies = outputs_apply,
    .run = outputs_run,
};
