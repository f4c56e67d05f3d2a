// m_retrieval.c - measure "retrieval": retrieval heads, by the share of what a head looks at that lies on the token to
// be copied; of each attention head and of each SSM as one map. How: analysis/probe/retrieval.h. A figure is the mean
// over the examples that have something to copy.
#include <math.h>
#include <stdlib.h>

#include "analysis/measure/examples.h"
#include "analysis/probe/retrieval.h"

typedef struct {
    int examples, cell, max_len, source, which, reduce, gate;
} retrieval_options;
#define AT(member) offsetof(retrieval_options, member)
static const hy_field retrieval_fields[] = {
    HY_FIELD_EXAMPLES(retrieval_options, "8"),
    HY_FIELD_CELL(retrieval_options),
    {"max_len", HY_F_INT, AT(max_len), 0, "whole", 1, 1e7, "whole", "longer examples are cut to so many tokens"},
    {"source", HY_F_ENUM, AT(source), 0, "match", 0, 0, HY_RETRIEVE_SOURCE_CHOICES,
     "what is to be copied: the wanted token where it stands right after a copy of the query, or wherever it stands"},
    {"which", HY_F_ENUM, AT(which), 0, "all", 0, 0, HY_RETRIEVE_WHICH_CHOICES,
     "of several such places all together, or the last"},
    HY_FIELD_REDUCE(retrieval_options),
    HY_FIELD_GATE(retrieval_options),
    HY_FIELD_END,
};

// Some example must have something to copy.
static hy_status retrieval_check(const hy_measure_subject *s, const void *options) {
    const retrieval_options *o = options;
    HY_TRY(hy_examples_check(s, o->cell));
    const hy_cell *cell = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell);
    int T, n;
    hy_examples_size(cell, o->max_len, o->examples, &T, &n);
    int32_t *ids = hy_xcalloc(2 * (size_t)cell->T, sizeof *ids);
    hy_status st = HY_OK;
    bool any = false;
    for (int i = 0; i < n && !any && !st; i++) {
        hy_retrieval_queries q;
        st = hy_task_example(s->task, HY_SPLIT_EVAL, o->cell, i, ids, ids + cell->T);
        if (st) break;
        hy_retrieval_find(ids, ids + cell->T, T, (hy_retrieve_source)o->source, (hy_retrieve_which)o->which, &q);
        any = q.n > 0;
        hy_retrieval_free(&q);
    }
    free(ids);
    if (st || any) return st;
    return hy_error(
        HY_EINPUT, "nothing to copy in the first %d examples of %s, %s: no wanted token stands earlier%s", n,
        hy_task_kind(s->task), cell->name,
        o->source == HY_RETRIEVE_MATCH ? " right after a copy of the query (source: token takes all that do)" : "");
}

static bool retrieval_applies(const hy_model_spec *spec, const void *options) {
    (void)options;
    return hy_layers_have_heads(spec, &(hy_ints){0});
}

// ---------------------------------------------------------------------------------------------------- examples
enum { SCORE = 0, TOP, UNIFORM, FIGURES };
static const char *const metrics[FIGURES] = {"retrieval_score", "retrieval_top", "retrieval_uniform"};
typedef struct {
    hy_moments of[FIGURES];
} figures;
typedef struct {
    bool attention, ssm;
    figures *head;  // [heads]
    figures of[2];  // mean over the attention heads; the SSM
} layer_work;
typedef struct {
    hy_map_options o;
    hy_retrieval_queries q;  // of the newest example
    layer_work *layer;
} work;

static void add(figures *a, const hy_retrieval *r) {
    const double v[FIGURES] = {r->score, r->top, r->uniform};
    for (int k = 0; k < FIGURES; k++) hy_moments_add(&a->of[k], v[k]);
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    layer_work *l = &w->layer[v->layer];
    hy_retrieval mean = {0}, now;
    l->attention = v->heads > 0, l->ssm = v->D > 0;
    for (int h = 0; h < v->heads; h++) {
        HY_TRY(hy_retrieval_measure(v, HY_MAP_ATTENTION, h, &w->o, &w->q, &now));
        add(&l->head[h], &now);
        mean.score += now.score / v->heads, mean.top += now.top / v->heads, mean.uniform += now.uniform / v->heads;
    }
    if (l->attention) add(&l->of[0], &mean);
    if (!l->ssm) return HY_OK;
    HY_TRY(hy_retrieval_measure(v, HY_MAP_SSM, -1, &w->o, &w->q, &now));
    add(&l->of[1], &now);
    return HY_OK;
}

// Runs the examples that have something to copy; returns how many these are.
static hy_status run_examples(const hy_measure_context *c, const retrieval_options *o, hy_examples *e, work *w,
                              int *with) {
    *with = 0;
    for (int i = 0; i < e->n; i++) {
        HY_TRY(hy_task_example(c->task, HY_SPLIT_EVAL, e->index, i, e->ids, e->labels));
        hy_retrieval_find(e->ids, e->labels, e->T, (hy_retrieve_source)o->source, (hy_retrieve_which)o->which, &w->q);
        const hy_status s = w->q.n ? hy_examples_run(c, e, i, on_layer, w) : HY_OK;
        *with += w->q.n > 0;
        hy_retrieval_free(&w->q);
        if (s) return s;
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static void facts_of(const hy_measure_context *c, hy_facts *f, int layer, const char *kind, int head, const figures *a,
                     int n) {
    for (int k = 0; k < n; k++) hy_moments_layer_fact(c, f, metrics[k], layer, kind, head, &a->of[k]);
}

static hy_status retrieval_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const retrieval_options *o = options;
    const hy_model_spec *spec = &c->prog->spec;
    work w = {.o = {.reduce = (hy_ssm_reduce)o->reduce, .norm = HY_MAP_ROWSUM, .gate = o->gate != 0},
              .layer = hy_xcalloc((size_t)spec->n_layers, sizeof *w.layer)};
    hy_examples e;
    int n = 0;
    for (int i = 0; i < spec->n_layers; i++)
        w.layer[i].head = hy_xcalloc((size_t)spec->layers[i].heads + 1, sizeof *w.layer[i].head);
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &e);
    for (int i = 0; !s && i < spec->n_layers; i++) e.want[i] = true;
    if (!s) s = run_examples(c, o, &e, &w, &n);
    if (!s && !n) s = hy_error(HY_EINPUT, "no example has something to copy");
    for (int i = 0; i < spec->n_layers; i++) {
        const layer_work *l = &w.layer[i];
        if (!s && l->attention) facts_of(c, facts, i, "attention", -1, &l->of[0], FIGURES);
        for (int h = 0; !s && l->attention && h < spec->layers[i].heads; h++)
            facts_of(c, facts, i, "attention", h, &l->head[h], UNIFORM);  // that is the layer's
        if (!s && l->ssm) facts_of(c, facts, i, "ssm", -1, &l->of[1], FIGURES);
        free(l->head);
    }
    free(w.layer);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_retrieval = {
    .name = "retrieval",
    .version = 1,
    .doc = "retrieval heads: what each head has on the token to be copied, beside a head that looks at all keys alike",
    .fields = retrieval_fields,
    .options_size = sizeof(retrieval_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = retrieval_check,
    .applies = retrieval_applies,
    .run = retrieval_run,
};
