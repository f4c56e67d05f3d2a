// m_gradient_erf.c - measure "gradient_erf": the effective receptive field by gradients, how strongly the output at the
// last position depends on each input. How: analysis/probe/gradient.h. Every figure is the mean over examples of that
// of an example; artifacts "gradient", "gradient.layer3.from", "gradient.layer3.to" hold curves, f32 [distances, 3]:
// the mean share at distance 0, 1, ..., its standard error (NaN: of one example), the examples that have it.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/examples.h"
#include "analysis/probe/erf.h"
#include "analysis/probe/gradient.h"
#include "analysis/probe/reach.h"

typedef enum { EACH_NONE = 0, EACH_FROM, EACH_TO, EACH_BOTH } each_layer;
typedef struct {
    int examples, cell, max_len, of, norm, meta, each;
    double mass;
} gradient_options;
#define AT(member) offsetof(gradient_options, member)
static const hy_field gradient_fields[] = {
    HY_FIELD_EXAMPLES(gradient_options, "8"),
    HY_FIELD_CELL(gradient_options),
    {"max_len", HY_F_INT, AT(max_len), 0, "whole", 1, 1e7, "whole", "longer examples are cut to so many tokens"},
    {"of", HY_F_ENUM, AT(of), 0, "projection", 0, 0, HY_GRADIENT_OF_CHOICES,
     "what is differentiated: a random projection of the last position's final hidden state, the logit of its "
     "likeliest "
     "token, or that of the wanted token at the last position that has one"},
    {"norm", HY_F_ENUM, AT(norm), 0, "l2", 0, 0, HY_GRADIENT_NORM_CHOICES, "of the gradient over the channels"},
    {"meta", HY_F_ENUM, AT(meta), 0, "included", 0, 0, HY_ERF_META_CHOICES,
     "meta tokens are positions, or shares are of text alone"},
    {"mass", HY_F_DOUBLE, AT(mass), 0, "0.9", 0.001, 0.999, NULL, "share of the gradient that the span holds"},
    {"each", HY_F_ENUM, AT(each), 0, "none", 0, 0, "none|from|to|both",
     "also of each layer: from what enters it to the output (one pass more in all), or from the embeddings to what "
     "leaves it (one for each layer)"},
    HY_FIELD_END,
};

// The last position with a label among the first T; -1: none.
static int last_label(const int32_t *labels, int T) {
    int at = T - 1;
    while (at >= 0 && labels[at] < 0) at--;
    return at;
}

static hy_status gradient_check(const hy_measure_subject *s, const void *options) {
    const gradient_options *o = options;
    HY_TRY(hy_examples_check(s, o->cell));
    if (o->of != HY_GRADIENT_LABEL) return HY_OK;
    const hy_cell *cell = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell);
    int T, n;
    hy_examples_size(cell, o->max_len, o->examples, &T, &n);
    int32_t *ids = hy_xcalloc(2 * (size_t)cell->T, sizeof *ids);
    hy_status st = HY_OK;
    for (int i = 0; i < n && !st; i++) {
        st = hy_task_example(s->task, HY_SPLIT_EVAL, o->cell, i, ids, ids + cell->T);
        if (!st && last_label(ids + cell->T, T) < 0)
            st = hy_error(HY_EINPUT, "of: label, but example %d of %s, %s has no wanted token in its first %d", i,
                          hy_task_kind(s->task), cell->name, T);
    }
    free(ids);
    return st;
}

// ---------------------------------------------------------------------------------------------------- sums
// Of one curve: the whole model's, or one of a layer.
typedef struct {
    hy_moments span, distance, meta;
    hy_moments *share;  // [S] by distance
} curve;
enum { FROM = 0, TO, WAYS };
static const char *const way_names[WAYS] = {"from", "to"};
typedef struct {
    const gradient_options *o;
    int S, meta, layers, first;  // first: of the positions that count
    curve whole, *layer[WAYS];   // [n_layers]
    hy_moments range[64];        // of the whole model's curve (hy_gradient_range)
    double *size;                // [(1 + n_layers), S]
} work;

static void open_curve(const work *w, curve *c) { c->share = hy_xcalloc((size_t)w->S, sizeof *c->share); }

static void add_ranges(work *w, const double *size, int at, double all) {
    int first, last;
    for (int k = 0; hy_gradient_range(k, &first, &last), first <= at - w->first; k++) {
        const int n = (last < at - w->first ? last : at - w->first) - first + 1;
        double sum = 0;
        for (int d = first; d < first + n; d++) sum += size[at - d];
        hy_moments_add(&w->range[k], all > 0 ? sum / all / n : sum);
    }
}

// size[S] of one example, whose output is at position `at`.
static void add(work *w, curve *c, const double *size, int at) {
    double span, distance, all = 0, meta = 0;
    hy_reach_row(size, at, w->first, w->o->mass, &span, &distance);
    hy_moments_add(&c->span, span);
    hy_moments_add(&c->distance, distance);
    for (int s = w->first; s <= at; s++) all += size[s];
    for (int s = w->first; s < w->meta; s++) meta += size[s];
    hy_moments_add(&c->meta, all > 0 ? meta / all : all);
    for (int s = w->first; s <= at; s++) hy_moments_add(&c->share[at - s], all > 0 ? size[s] / all : all);
    if (c == &w->whole) add_ranges(w, size, at, all);
}

static hy_status one_example(const hy_measure_context *c, work *w, hy_gradient *g, hy_examples *e, int i) {
    const gradient_options *o = w->o;
    HY_TRY(hy_examples_take(c, e, i));
    const int at = o->of == HY_GRADIENT_LABEL ? last_label(e->labels, e->T) : e->T - 1, S = w->S;
    if (at < 0) return hy_error(HY_EINPUT, "example %d has no wanted token", i);
    hy_gradient_options go = {
        .of = (hy_gradient_of)o->of, .norm = (hy_gradient_norm)o->norm, .token = e->labels[at], .draw = (uint64_t)i};
    double *from = w->size + S;
    HY_TRY(hy_gradient_run(g, e->ids, at, &go, w->size, w->layer[FROM] ? from : NULL));
    add(w, &w->whole, w->size, w->meta + at);
    for (int l = 0; w->layer[FROM] && l < w->layers; l++)
        add(w, &w->layer[FROM][l], from + (size_t)l * (size_t)S, w->meta + at);
    for (int l = 0; w->layer[TO] && l < w->layers; l++) {
        HY_TRY(hy_gradient_to(g, e->ids, at, l, &go, w->size));
        add(w, &w->layer[TO][l], w->size, w->meta + at);
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static char *meta_text(const work *w, const hy_examples *e) {
    hy_buf options = {0};
    hy_choice_text(&options, "of", HY_GRADIENT_OF_CHOICES, w->o->of);
    hy_choice_text(&options, "norm", HY_GRADIENT_NORM_CHOICES, w->o->norm);
    hy_choice_text(&options, "meta", HY_ERF_META_CHOICES, w->o->meta);
    char *text = hy_examples_meta(e, w->meta, options.s);
    free(options.s);
    return text;
}

static void curve_facts(const hy_measure_context *c, hy_facts *f, const work *w, const curve *a, int layer, int way,
                        const char *meta) {
    const struct {
        const char *metric;
        const hy_moments *of;
    } all[] = {{"gradient_distance", &a->distance}, {"gradient_span", &a->span}, {"gradient_meta", &a->meta}};
    for (int k = 0; k < (w->meta > w->first ? 3 : 2); k++) {
        if (layer < 0)
            hy_moments_fact(c, f, all[k].metric, "", all[k].of);
        else
            hy_moments_layer_fact(c, f, all[k].metric, layer, way_names[way], -1, all[k].of);
    }
    char name[48] = "gradient";
    if (layer >= 0) snprintf(name, sizeof name, "gradient.layer%d.%s", layer, way_names[way]);
    float *v = hy_xcalloc(3 * (size_t)w->S, sizeof *v);
    int n = 0;
    for (; n < w->S && a->share[n].n; n++) {
        const hy_moments *m = &a->share[n];
        v[3 * n] = (float)(m->sum / m->n), v[3 * n + 1] = (float)hy_moments_error(m), v[3 * n + 2] = (float)m->n;
    }
    hy_artifact *x = hy_facts_artifact(f, name, "f32", 2, (int[]){n, 3}, v, meta);
    hy_artifact_at(x, layer, layer < 0 ? NULL : way_names[way], -1);
    free(v);
}

static void add_facts(const hy_measure_context *c, hy_facts *f, const work *w, const hy_examples *e) {
    char *meta = meta_text(w, e);
    curve_facts(c, f, w, &w->whole, -1, 0, meta);
    int longest = 0;
    while (longest + 1 < w->S && w->whole.share[longest + 1].n) longest++;
    for (int k = 0; w->range[k].n; k++) {
        char cell[48];
        int first, last;
        hy_gradient_range(k, &first, &last);
        snprintf(cell, sizeof cell, "distance%d", first);
        hy_fact *a = hy_moments_fact(c, f, "gradient_share", cell, &w->range[k]);
        a->x = first, a->y = fmin(last, longest);
    }
    for (int way = 0; way < WAYS; way++)
        for (int l = 0; w->layer[way] && l < w->layers; l++) curve_facts(c, f, w, &w->layer[way][l], l, way, meta);
    free(meta);
}

// ---------------------------------------------------------------------------------------------------- the measure
static void open_work(work *w) {
    const bool want[WAYS] = {w->o->each & EACH_FROM, w->o->each & EACH_TO};
    open_curve(w, &w->whole);
    for (int way = 0; way < WAYS; way++) {
        if (want[way]) w->layer[way] = hy_xcalloc((size_t)w->layers, sizeof(curve));
        for (int l = 0; want[way] && l < w->layers; l++) open_curve(w, &w->layer[way][l]);
    }
    w->size = hy_xcalloc((size_t)(1 + w->layers) * (size_t)w->S, sizeof *w->size);
}

static void close_work(work *w) {
    free(w->whole.share);
    for (int way = 0; way < WAYS; way++) {
        for (int l = 0; w->layer[way] && l < w->layers; l++) free(w->layer[way][l].share);
        free(w->layer[way]);
    }
    free(w->size);
}

static hy_status gradient_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const gradient_options *o = options;
    const hy_model_spec *spec = &c->prog->spec;
    hy_examples e;
    hy_gradient *g = NULL;
    hy_examples_choose(c, o->cell, o->max_len, o->examples, &e);
    work w = {.o = o, .S = spec->meta_tokens + e.T, .meta = spec->meta_tokens, .layers = spec->n_layers};
    w.first = o->meta == HY_ERF_META_RENORM ? w.meta : 0;
    open_work(&w);
    hy_status s = hy_gradient_open(c->prog, c->params, e.T, &g);
    for (int i = 0; !s && i < e.n; i++) s = one_example(c, &w, g, &e, i);
    if (!s) add_facts(c, facts, &w, &e);
    hy_gradient_close(g);
    close_work(&w);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_gradient_erf = {
    .name = "gradient_erf",
    .version = 1,
    .doc = "effective receptive field by gradients: how strongly the last output depends on each input (Luo et al.)",
    .fields = gradient_fields,
    .options_size = sizeof(gradient_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS | HY_NEEDS_GRADIENT,
    .check = gradient_check,
    .run = gradient_run,
};
