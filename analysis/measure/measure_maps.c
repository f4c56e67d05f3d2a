// measure_maps.c - attention maps and receptive fields of a trained model on evaluation examples. How they are computed is
// analysis/probe/attnmap.h and erf.h.
#include <math.h>
#include <stdlib.h>

#include "analysis/probe/capture.h"
#include "analysis/probe/erf.h"
#include "core/format/json.h"
#include "analysis/measure/measures.h"

// ---------------------------------------------------------------------------------------------------- examples
typedef struct {
    hy_capture *capture;
    int T;  // tokens in use
    int n;
    int32_t *ids, *labels;
    bool *want;
} examples;

static hy_status open_examples(const hy_measure_context *c, int cell, int max_len, int wanted, examples *e) {
    *e = (examples){0};
    if (cell >= hy_task_cells(c->task, HY_SPLIT_EVAL))
        return hy_error(HY_EINPUT, "measures: the task has %d evaluation cells, cell %d is none of them", hy_task_cells(c->task, HY_SPLIT_EVAL), cell);
    const hy_cell *at = hy_task_cell(c->task, HY_SPLIT_EVAL, cell);
    e->T = max_len && at->T > max_len ? max_len : at->T;
    e->n = at->count && at->count < wanted ? (int)at->count : wanted;
    HY_TRY(hy_capture_open(c->prog, c->params, e->T, &e->capture));
    e->ids = hy_xcalloc(2 * (size_t)at->T, sizeof *e->ids);
    e->labels = e->ids + at->T;
    e->want = hy_xcalloc((size_t)c->prog->spec.n_layers, sizeof *e->want);
    return HY_OK;
}

static void close_examples(examples *e) {
    hy_capture_close(e->capture);
    free(e->ids);
    free(e->want);
}

static hy_status run_example(const hy_measure_context *c, examples *e, int cell, int i, hy_capture_fn fn, void *user) {
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted while taking attention maps");
    HY_TRY(hy_task_example(c->task, HY_SPLIT_EVAL, cell, i, e->ids, e->labels));
    return hy_capture_run(e->capture, e->ids, e->want, fn, user);
}

// ---------------------------------------------------------------------------------------------------- maps
typedef struct {
    int layer, index;  // index -1: all heads
    hy_map_src src;
    int S, meta;
    float *sum;  // [S, S]
    hy_map_stats stats;
    bool has_stats;
} one_map;
typedef struct {
    const hy_measure_maps *o;
    hy_map_options options;
    one_map *maps;
    int n_maps, next;  // next: the map that this example's next call adds to
} map_work;

static one_map *map_at(map_work *w, const hy_map_values *v, hy_map_src src, int index) {
    if (w->next == w->n_maps) {
        w->maps = hy_xrealloc(w->maps, (size_t)(w->n_maps + 1) * sizeof *w->maps);
        w->maps[w->n_maps++] = (one_map){.layer = v->layer, .index = index, .src = src, .S = v->S, .meta = v->meta,
                                         .sum = hy_xcalloc((size_t)v->S * (size_t)v->S, sizeof(float))};
    }
    one_map *m = &w->maps[w->next++];  // layers and sources come in the same order for every example
    HY_ASSERT(m->layer == v->layer && m->src == src && m->index == index && m->S == v->S);
    return m;
}

static hy_status add_map(map_work *w, const hy_map_values *v, hy_map_src src, int index) {
    one_map *m = map_at(w, v, src, index);
    const size_t n = (size_t)v->S * (size_t)v->S;
    float *a = hy_xcalloc(n, sizeof *a);
    hy_status s = hy_map_full(v, src, index, &w->options, NAN, a);
    for (size_t i = 0; !s && i < n; i++) m->sum[i] += a[i];
    free(a);
    if (s || index >= 0 || src == HY_MAP_LAYER) return s;
    hy_map_stats t;
    HY_TRY(hy_map_stats_of(v, src, -1, &w->options, &t));
    m->has_stats = true;
    m->stats.entropy += t.entropy;
    m->stats.distance += t.distance;
    m->stats.meta += t.meta;
    m->stats.bos += t.bos;
    m->stats.self += t.self;
    m->stats.cross += t.cross;
    return HY_OK;
}

static hy_status map_layer(void *user, const hy_map_values *v) {
    map_work *w = user;
    for (int src = HY_MAP_ATTENTION; src <= HY_MAP_LAYER; src++) {
        if (!hy_map_has(v, (hy_map_src)src)) continue;
        HY_TRY(add_map(w, v, (hy_map_src)src, -1));
        for (int h = 0; src == HY_MAP_ATTENTION && w->o->heads && h < v->heads; h++) HY_TRY(add_map(w, v, HY_MAP_ATTENTION, h));
    }
    return HY_OK;
}

static char *map_meta(const map_work *w, const one_map *m, const examples *e, const char *cell) {
    hy_json *j = hy_json_new_object();
    hy_buf options = {0}, text = {0};
    hy_map_options_text(&w->options, &options);
    hy_json_set_int(j, "layer", m->layer);
    hy_json_set_string(j, "source", hy_map_src_name(m->src));
    hy_json_set_int(j, "head", m->index);
    hy_json_set_int(j, "meta_tokens", m->meta);
    hy_json_set_string(j, "cell", cell);
    hy_json_set_int(j, "examples", e->n);
    hy_json_set_string(j, "options", options.s);
    hy_json_text(j, 0, &text);
    hy_json_free(j);
    free(options.s);
    return text.s;
}

static void store_map(const map_work *w, one_map *m, const examples *e, const char *cell, int64_t step, hy_facts *f) {
    char name[64];
    int n = snprintf(name, sizeof name, "map.layer%d.%s", m->layer, hy_map_src_name(m->src));
    if (m->index >= 0) snprintf(name + n, sizeof name - (size_t)n, ".head%d", m->index);
    for (size_t i = 0; i < (size_t)m->S * (size_t)m->S; i++) m->sum[i] /= (float)e->n;
    char *meta = map_meta(w, m, e, cell);
    hy_facts_artifact(f, name, "f32", 2, (int[]){m->S, m->S}, m->sum, meta);
    const struct {
        const char *metric;
        double value;
    } stats[] = {{"map_entropy", m->stats.entropy}, {"map_distance", m->stats.distance}, {"map_meta", m->stats.meta},
                 {"map_bos", m->stats.bos},         {"map_self", m->stats.self},         {"map_cross", m->stats.cross}};
    for (int i = 0; m->has_stats && i < 6; i++) {
        hy_fact *k = hy_facts_add(f, stats[i].metric, name + 4, stats[i].value / e->n);
        k->step = step;
        k->n = e->n;
        k->x = m->layer;
        k->meta = hy_xstrdup(meta);
    }
    free(meta);
}

hy_status hy_measure_maps_run(const hy_measure_maps *o, const hy_measure_context *c, hy_facts *facts) {
    examples e;
    map_work w = {.o = o, .options = {.reduce = (hy_ssm_reduce)o->reduce, .norm = HY_MAP_ROWSUM, .gate = o->gate != 0}};
    hy_status s = open_examples(c, o->cell, o->max_len, o->examples, &e);
    for (int i = 0; !s && i < c->prog->spec.n_layers; i++) e.want[i] = o->layers.n == 0;
    for (int i = 0; !s && i < o->layers.n; i++)
        if (o->layers.v[i] < c->prog->spec.n_layers) e.want[o->layers.v[i]] = true;  // variants differ in depth
    for (int i = 0; !s && i < e.n; i++) {
        w.next = 0;
        s = run_example(c, &e, o->cell, i, map_layer, &w);
    }
    for (int i = 0; i < w.n_maps; i++) {
        if (!s) store_map(&w, &w.maps[i], &e, hy_task_cell(c->task, HY_SPLIT_EVAL, o->cell)->name, c->step, facts);
        free(w.maps[i].sum);
    }
    free(w.maps);
    close_examples(&e);
    return s;
}

// ---------------------------------------------------------------------------------------------------- receptive field
typedef struct {
    hy_erf_options o;
    hy_erf_layer *layers;  // of one example
    int n;
} erf_work;

static hy_status erf_layer(void *user, const hy_map_values *v) {
    erf_work *w = user;
    return hy_erf_measure(v, &w->o, &w->layers[w->n++]);
}

static void erf_fact(const hy_measure_context *c, hy_facts *f, const char *cell, double sum, double sq, int n, double layer, const char *meta) {
    const double mean = sum / n, var = n > 1 ? (sq - n * mean * mean) / (n - 1) : NAN;
    hy_fact *m = hy_facts_add(f, "erf", cell, mean);
    m->se = n > 1 ? sqrt(fmax(0, var) / n) : NAN;
    m->n = n;
    m->step = c->step;
    m->x = layer;
    m->meta = hy_xstrdup(meta);
}

static char *erf_meta(const hy_erf_options *o, const char *cell) {
    hy_json *j = hy_json_new_object();
    hy_buf options = {0}, text = {0};
    hy_erf_options_text(o, &options);
    hy_json_set_string(j, "options", options.s);
    hy_json_set_string(j, "cell", cell);
    hy_json_text(j, 0, &text);
    hy_json_free(j);
    free(options.s);
    return text.s;
}

hy_status hy_measure_erf_run(const hy_measure_erf *o, const hy_measure_context *c, hy_facts *facts) {
    const int N = c->prog->spec.n_layers;
    erf_work w = {.o = {.ssm = (hy_erf_ssm)o->ssm, .heads = (hy_erf_heads)o->heads, .meta = (hy_erf_meta)o->meta,
                        .missing = (hy_erf_missing)o->missing, .uniform = o->uniform, .reduce = (hy_ssm_reduce)o->reduce, .gate = o->gate}};
    examples e;
    hy_status s = open_examples(c, o->cell, 0, o->examples, &e);
    w.layers = hy_xcalloc((size_t)N, sizeof *w.layers);
    double *sums = hy_xcalloc(2 * (size_t)(N + 1), sizeof *sums), *squares = sums + N + 1;  // [N]: the whole model
    int *layer = hy_xcalloc((size_t)N, sizeof *layer), seen = 0;
    for (int i = 0; !s && i < N; i++) e.want[i] = true;
    for (int i = 0; !s && i < e.n; i++) {
        w.n = 0;
        s = run_example(c, &e, o->cell, i, erf_layer, &w);
        if (s) break;
        const double whole = hy_erf_combine(w.layers, w.n, &w.o);
        sums[N] += whole;
        squares[N] += whole * whole;
        for (int k = 0; k < w.n; k++) {
            double d = NAN;
            if (!hy_erf_layer_distance(&w.layers[k], &w.o, &d)) d = NAN;
            sums[k] += d;
            squares[k] += d * d;
            layer[k] = w.layers[k].layer;
        }
        seen = w.n;
    }
    char *meta = s ? NULL : erf_meta(&w.o, hy_task_cell(c->task, HY_SPLIT_EVAL, o->cell)->name);
    if (!s) erf_fact(c, facts, "", sums[N], squares[N], e.n, -1, meta);
    for (int k = 0; !s && k < seen; k++) {
        char cell[32];
        snprintf(cell, sizeof cell, "layer%d", layer[k]);
        if (!isnan(sums[k])) erf_fact(c, facts, cell, sums[k], squares[k], e.n, layer[k], meta);
    }
    free(meta);
    free(sums);
    free(layer);
    free(w.layers);
    close_examples(&e);
    return s;
}
