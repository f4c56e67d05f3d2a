// m_meta.c - measure "meta": what each meta token receives of the attention of text, by layer and on request by head
// (Hymba, Fig. 5): for examples of each evaluation cell, or for prompts of several kinds. A figure is the mean over the
// text positions of an example of their row's share on the token, then over the examples of a kind.
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/examples.h"
#include "analysis/measure/prompts.h"

enum { FROM_CELLS = 0, FROM_TEXTS };
typedef struct {
    int examples, max_len, prompts, heads;
    hy_ints layers;
} meta_options;
#define AT(member) offsetof(meta_options, member)
static const hy_field meta_fields[] = {
    {"prompts", HY_F_ENUM, AT(prompts), 0, "cells", 0, 0, "cells|texts",
     "kinds that are compared: the task's evaluation cells, or an article, maths and code (tasks of text)"},
    HY_FIELD_EXAMPLES(meta_options, "8"),
    {"max_len", HY_F_INT, AT(max_len), 0, "whole", 1, 1e7, "whole", "longer examples are cut to so many tokens"},
    {"layers", HY_F_INTS, AT(layers), 0, "[]", 0, HY_MAX_LAYERS - 1, NULL,
     "layers, from 0; empty: the last with attention, as in the paper"},
    {"heads", HY_F_BOOL, AT(heads), 0, "false", 0, 0, NULL, "also each attention head by itself"},
    HY_FIELD_END,
};

// ---------------------------------------------------------------------------------------------------- what is asked
static bool has_attention(const hy_model_spec *spec, int layer) { return spec->layers[layer].heads > 0; }

static bool wanted(const hy_model_spec *spec, const hy_ints *layers, int layer) {
    if (!has_attention(spec, layer)) return false;
    if (layers->n) return hy_ints_want(layers, layer);
    for (int i = layer + 1; i < spec->n_layers; i++)
        if (has_attention(spec, i)) return false;
    return true;
}

static bool meta_applies(const hy_model_spec *spec, const void *options) {
    const meta_options *o = options;
    for (int i = 0; i < spec->n_layers; i++)
        if (spec->meta_tokens > 0 && wanted(spec, &o->layers, i)) return true;
    return false;
}

// The prompts in the task's tokens, and how many of them are used: as many of each as the shortest has, so that kinds
// compare. The caller frees each ids[k].v.
static hy_status encode(const hy_task *task, const meta_options *o, hy_token_ids ids[HY_PROMPTS], int *T) {
    *T = o->max_len ? o->max_len : INT_MAX;
    for (int k = 0; k < HY_PROMPTS; k++) {
        const hy_status s = hy_task_encode(task, hy_prompts[k].text, strlen(hy_prompts[k].text), &ids[k]);
        if (s) return hy_error_context(s, "prompts: texts");
        if (ids[k].n < (size_t)*T) *T = (int)ids[k].n;
    }
    return *T > 0 ? HY_OK : hy_error(HY_EINPUT, "prompts: texts: a prompt has no token");
}

static hy_status meta_check(const hy_measure_subject *s, const void *options) {
    const meta_options *o = options;
    HY_TRY(hy_list_distinct(&o->layers, "layers"));
    if (o->prompts != FROM_TEXTS) return HY_OK;
    hy_token_ids ids[HY_PROMPTS] = {{0}};
    int T = 0;
    hy_status st = encode(s->task, o, ids, &T);
    if (!st && (st = hy_model_check_length(s->spec, T)))
        st = hy_error_context(st, "prompts: texts (max_len cuts them)");
    for (int k = 0; k < HY_PROMPTS; k++) free(ids[k].v);
    return st;
}

// ---------------------------------------------------------------------------------------------------- shares
typedef struct {
    int meta, heads;
    double *now;      // [1 + heads][meta] of one example: the mean of the heads, then each
    hy_moments *sum;  // the same over examples
} layer_work;
typedef struct {
    layer_work *layer;  // [n_layers]
} work;

// What the rows of one head have on each meta token.
typedef struct {
    int meta, rows;
    double *own;  // [meta]
} head_work;
static hy_status add_row(void *user, int i, const double *row) {
    const head_work *h = user;
    (void)i;
    for (int j = 0; j < h->meta; j++) h->own[j] += row[j] / h->rows;
    return HY_OK;
}

static hy_status add_head(const hy_map_values *v, int h, layer_work *l) {
    const hy_map_options o = {.norm = HY_MAP_ROWSUM};
    head_work w = {l->meta, v->S - v->meta, l->now + (size_t)(1 + h) * (size_t)l->meta};
    HY_TRY(hy_map_walk(v, HY_MAP_ATTENTION, h, &o, v->meta, v->S, add_row, &w));
    for (int j = 0; j < l->meta; j++) l->now[j] += w.own[j] / v->heads;
    return HY_OK;
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    layer_work *l = &((work *)user)->layer[v->layer];
    const size_t n = (size_t)(1 + l->heads) * (size_t)l->meta;
    memset(l->now, 0, n * sizeof *l->now);
    for (int h = 0; h < v->heads; h++) HY_TRY(add_head(v, h, l));
    for (size_t i = 0; i < n; i++) hy_moments_add(&l->sum[i], l->now[i]);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static void facts_of(const hy_measure_context *c, hy_facts *f, const char *kind, int layer, int head,
                     const hy_moments *sum, int meta) {
    char cell[128], of[32] = "";
    if (head >= 0) snprintf(of, sizeof of, ".head%d", head);
    for (int j = 0; j < meta; j++) {
        snprintf(cell, sizeof cell, "%.64s.layer%d%s.meta%d", kind, layer, of, j);
        hy_fact *a = hy_moments_fact(c, f, "meta_attention", cell, &sum[j]);
        a->x = j;
        hy_fact_at(a, layer, "attention", head);
    }
}

static void layer_facts(const hy_measure_context *c, hy_facts *f, const meta_options *o, const char *kind, work *w) {
    for (int i = 0; i < c->prog->spec.n_layers; i++) {
        layer_work *l = &w->layer[i];
        for (int h = -1; l->sum && h < (o->heads ? l->heads : 0); h++)
            facts_of(c, f, kind, i, h, l->sum + (size_t)(1 + h) * (size_t)l->meta, l->meta);
        if (l->sum) memset(l->sum, 0, (size_t)(1 + l->heads) * (size_t)l->meta * sizeof *l->sum);
    }
}

static hy_status run_cell(const hy_measure_context *c, const meta_options *o, int cell, work *w, hy_facts *f) {
    hy_examples e;
    hy_status s = hy_examples_open(c, cell, o->max_len, o->examples, &e);
    for (int i = 0; !s && i < c->prog->spec.n_layers; i++) e.want[i] = w->layer[i].sum != NULL;
    for (int i = 0; !s && i < e.n; i++) s = hy_examples_run(c, &e, i, on_layer, w);
    if (!s) layer_facts(c, f, o, e.cell->name, w);
    hy_examples_close(&e);
    return s;
}

static hy_status run_texts(const hy_measure_context *c, const meta_options *o, work *w, hy_facts *f) {
    const int layers = c->prog->spec.n_layers;
    hy_token_ids ids[HY_PROMPTS] = {{0}};
    hy_capture *capture = NULL;
    bool *want = hy_xcalloc((size_t)layers, sizeof *want);
    int T = 0;
    for (int i = 0; i < layers; i++) want[i] = w->layer[i].sum != NULL;
    hy_status s = encode(c->task, o, ids, &T);
    if (!s) s = hy_capture_open(c->prog, c->params, T, &capture);
    for (int k = 0; k < HY_PROMPTS && !s; k++) {
        s = hy_capture_run(capture, ids[k].v, want, on_layer, w);
        if (!s) layer_facts(c, f, o, hy_prompts[k].kind, w);
    }
    for (int k = 0; k < HY_PROMPTS; k++) free(ids[k].v);
    hy_capture_close(capture);
    free(want);
    return s;
}

static hy_status meta_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const meta_options *o = options;
    const hy_model_spec *spec = &c->prog->spec;
    work w = {hy_xcalloc((size_t)spec->n_layers, sizeof *w.layer)};
    hy_status s = HY_OK;
    for (int i = 0; i < spec->n_layers; i++) {
        if (!wanted(spec, &o->layers, i)) continue;
        layer_work *l = &w.layer[i];
        *l = (layer_work){.meta = spec->meta_tokens, .heads = spec->layers[i].heads};
        const size_t n = (size_t)(1 + l->heads) * (size_t)l->meta;
        l->now = hy_xcalloc(n, sizeof *l->now), l->sum = hy_xcalloc(n, sizeof *l->sum);
    }
    const int cells = o->prompts == FROM_CELLS ? hy_task_cells(c->task, HY_SPLIT_EVAL) : 0;
    for (int k = 0; k < cells && !s; k++) s = run_cell(c, o, k, &w, facts);
    if (!s && o->prompts == FROM_TEXTS) s = run_texts(c, o, &w, facts);
    for (int i = 0; i < spec->n_layers; i++) free(w.layer[i].now), free(w.layer[i].sum);
    free(w.layer);
    return s;
}

const hy_measure hy_measure_meta = {
    .name = "meta",
    .version = 1,
    .doc = "what each meta token receives of the attention of text, for each evaluation cell or kind of prompt",
    .fields = meta_fields,
    .options_size = sizeof(meta_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = meta_check,
    .applies = meta_applies,
    .run = meta_run,
};
