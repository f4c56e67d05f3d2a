// m_maps.c - measure "maps": attention and SSM maps of evaluation examples and their statistics, layer by layer. What a
// map is: analysis/probe/attnmap.h. Maps are artifacts "map.layer3.attention", ".ssm", ".layer", ".attention.head0",
// ".ssm.channel0": f32 [S, S], rows are queries, NaN where a row may not look, S positions with the meta tokens first.
// A map of more than `pixels` positions a side, or a part of it (`zoom`), is stored in blocks, of which each value is
// the largest or the mean (core/base/blocks.h): it is reduced while its rows are computed and never held. Its meta then
// has rows and columns (first, and one after the last), block (rows, columns of a block) and reduce. Over several
// examples that is the mean of what each example's blocks give.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/examples.h"
#include "core/base/blocks.h"
#include "core/format/json.h"

typedef enum { KEEP_ALL = 0, KEEP_MAPS, KEEP_STATISTICS } keep_what;
typedef struct {
    hy_ints layers, single_heads, channels, zoom;
    int examples, cell, max_len, heads, reduce, gate, norm, keep, pixels, reduce_map;
} maps_options;
#define AT(member) offsetof(maps_options, member)
static const hy_field maps_fields[] = {
    {"layers", HY_F_INTS, AT(layers), 0, "[]", 0, 255, NULL, "layers, from 0; empty: all"},
    HY_FIELD_EXAMPLES(maps_options, "1"),
    HY_FIELD_CELL(maps_options),
    {"max_len", HY_F_INT, AT(max_len), 0, "256", 1, 65536, NULL, "longer examples are cut to so many tokens"},
    {"heads", HY_F_BOOL, AT(heads), 0, "false", 0, 0, NULL, "also store each attention head's own map"},
    HY_FIELD_REDUCE(maps_options),
    HY_FIELD_GATE(maps_options),
    {"norm", HY_F_ENUM, AT(norm), 0, "rowsum", 0, 0, HY_MAP_NORM_CHOICES,
     "of stored maps: rows to sum 1, min-max of the matrix, signed values; statistics are of rows that sum to 1", true},
    {"single_heads", HY_F_INTS, AT(single_heads), 0, "[]", 0, 65535, NULL,
     "attention heads whose own maps are stored too", true},
    {"channels", HY_F_INTS, AT(channels), 0, "[]", 0, 1 << 20, NULL,
     "SSM channels (Mamba-2: heads) whose own maps are stored too", true},
    {"keep", HY_F_ENUM, AT(keep), 0, "all", 0, 0, "all|maps|statistics", "what is kept of the maps", true},
    {"pixels", HY_F_INT, AT(pixels), 0, "375", 1, 65536, NULL,
     "stored maps of more positions a side are reduced to at most so many blocks", true},
    {"reduce_map", HY_F_ENUM, AT(reduce_map), 0, "max", 0, 0, HY_BLOCK_CHOICES,
     "what is stored of a block: its largest value, so that thin lines stay, or its mean", true},
    {"zoom", HY_F_PAIRS, AT(zoom), 0, "[]", 0, 1 << 20, NULL,
     "stored maps are of this part: [[first query, one after the last], [first key, one after the last]], positions "
     "with the meta tokens first; empty: all",
     true},
    HY_FIELD_END,
};

// ---------------------------------------------------------------------------------------------------- before
static bool maps_apply(const hy_model_spec *spec, const void *options) {
    const maps_options *o = options;
    return hy_layers_have_heads(spec, &o->layers);
}

// Models without such heads are passed over; a number that is too large for those that have some is a mistake.
static hy_status check_indices(const hy_ints *list, const char *what, int most) {
    for (int i = 0; i < list->n; i++)
        if (most > 0 && list->v[i] >= most)
            return hy_error(HY_EINPUT, "there is no %s %d: the wanted layers have %d", what, list->v[i], most);
    return HY_OK;
}

static hy_status check_zoom(const hy_measure_subject *s, const maps_options *o) {
    const int T = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell)->T,
              S = (T < o->max_len ? T : o->max_len) + s->spec->meta_tokens;
    if (o->zoom.n && o->zoom.n != 4)
        return hy_error(HY_EINPUT, "zoom: two pairs are wanted, of queries and of keys: [[0, 64], [0, 64]]");
    for (int i = 0; i < o->zoom.n; i += 2)
        if (o->zoom.v[i] >= o->zoom.v[i + 1] || o->zoom.v[i + 1] > S)
            return hy_error(HY_EINPUT,
                            "zoom: %s %d to %d are no part of the %d positions 0 to %d (%d meta tokens first)",
                            i ? "keys" : "queries", o->zoom.v[i], o->zoom.v[i + 1], S, S - 1, s->spec->meta_tokens);
    return HY_OK;
}

static hy_status maps_check(const hy_measure_subject *s, const void *options) {
    const maps_options *o = options;
    int heads = 0, units = 0;
    HY_TRY(hy_examples_check(s, o->cell));
    HY_TRY(check_zoom(s, o));
    HY_TRY(hy_list_distinct(&o->single_heads, "single_heads"));
    HY_TRY(hy_list_distinct(&o->channels, "channels"));
    for (int i = 0; i < s->spec->n_layers; i++) {
        const hy_layer_spec *l = &s->spec->layers[i];
        if (!hy_ints_want(&o->layers, i)) continue;
        if (l->heads > heads) heads = l->heads;
        if (hy_layer_ssm_units(l) > units) units = hy_layer_ssm_units(l);
    }
    HY_TRY(check_indices(&o->single_heads, "attention head", heads));
    return check_indices(&o->channels, "SSM channel", units);
}

// ---------------------------------------------------------------------------------------------------- one layer
typedef struct {
    int layer, index;  // index -1: all heads or channels
    hy_map_src src;
    int S, meta;
    hy_block_shape shape;
    double *mean;  // [shape.rows, shape.columns] over the examples
} one_map;
typedef struct {
    bool seen;
    hy_map_stats of[3];  // by hy_map_src, means over the examples
    double step_entropy;
} layer_stats;
typedef struct {
    const maps_options *o;
    hy_map_options options;
    hy_examples e;
    int example;
    one_map *maps;
    int n_maps, next;    // next: the map that this example's next call adds to
    layer_stats *stats;  // [n_layers]
    hy_map_check check;  // of the first example, worst layer, relative; -1: not checked
} work;

static hy_block_shape shape_of(const maps_options *o, int S) {
    const int all[] = {0, S, 0, S}, *z = o->zoom.n ? o->zoom.v : all;
    return hy_block_shape_of(z[0], z[1], z[2], z[3], o->pixels, (hy_block_how)o->reduce_map);
}
static bool is_all(const hy_block_shape *s, int S) { return hy_block_whole(s) && s->rows == S && s->columns == S; }

static one_map *map_at(work *w, const hy_map_values *v, hy_map_src src, int index) {
    if (w->next == w->n_maps) {
        const hy_block_shape shape = shape_of(w->o, v->S);
        w->maps = hy_xrealloc(w->maps, (size_t)(w->n_maps + 1) * sizeof *w->maps);
        w->maps[w->n_maps++] =
            (one_map){.layer = v->layer,
                      .index = index,
                      .src = src,
                      .S = v->S,
                      .meta = v->meta,
                      .shape = shape,
                      .mean = hy_xcalloc((size_t)shape.rows * (size_t)shape.columns, sizeof(double))};
    }
    one_map *m = &w->maps[w->next++];  // layers and sources come in the same order for every example
    HY_ASSERT(m->layer == v->layer && m->src == src && m->index == index && m->S == v->S);
    return m;
}

// A map that is reduced while its rows come.
typedef struct {
    const hy_map_values *v;
    hy_map_src src;
    hy_blocks blocks;
    double *row, lo, hi;  // lo, hi: of all that is visible
} reducing;
static hy_status reduce_row(void *user, int i, const double *row) {
    reducing *r = user;
    for (int j = 0; j < r->v->S; j++) {
        const bool visible = hy_map_visible(r->v, r->src, i, j);
        r->row[j] = visible ? row[j] : NAN;
        if (visible) r->lo = fmin(r->lo, row[j]), r->hi = fmax(r->hi, row[j]);
    }
    hy_blocks_row(&r->blocks, i, r->row);
    return HY_OK;
}

static hy_status reducing_open(reducing *r, const hy_map_values *v, const one_map *m) {
    *r = (reducing){.v = v, .src = m->src, .lo = INFINITY, .hi = -INFINITY};
    HY_TRY(hy_blocks_open(&m->shape, &r->blocks));
    r->row = hy_xcalloc((size_t)v->S, sizeof *r->row);
    return HY_OK;
}

// Adds (value - lo) / range of each block, which commutes with maximum and mean; then frees. s: of the work before.
static void reducing_end(reducing *r, one_map *m, double lo, double range, hy_status s) {
    for (int k = 0; !s && k < m->shape.rows * m->shape.columns; k++)
        m->mean[k] += (hy_blocks_at(&r->blocks, k) - lo) / range;
    hy_blocks_free(&r->blocks);
    free(r->row);
}

static hy_status add_blocks(const work *w, const hy_map_values *v, one_map *m) {
    const bool minmax = w->options.norm == HY_MAP_MINMAX;  // of the whole matrix, whatever part is looked at
    reducing r;
    HY_TRY(reducing_open(&r, v, m));
    const hy_status s = hy_map_walk(v, m->src, m->index, &w->options, minmax ? 0 : m->shape.i0,
                                    minmax ? v->S : m->shape.i1, reduce_row, &r);
    reducing_end(&r, m, minmax ? r.lo : 0, minmax && r.hi > r.lo ? r.hi - r.lo : 1, s);
    return s;
}

static hy_status reduce_layer_row(void *user, int i, const double *const row[3]) {
    reducing *r = user;
    for (int src = 0; src < 3; src++) HY_TRY(reduce_row(&r[src], i, row[src]));
    return HY_OK;
}

// Attention, SSM and layer of a layer with both; at: their places in w->maps.
static hy_status add_together(const work *w, const hy_map_values *v, const int at[3]) {
    reducing r[3] = {{0}};
    hy_status s = HY_OK;
    for (int src = 0; src < 3 && !s; src++) s = reducing_open(&r[src], v, &w->maps[at[src]]);
    const hy_block_shape *shape = &w->maps[at[0]].shape;
    if (!s) s = hy_map_walk_layer(v, &w->options, shape->i0, shape->i1, reduce_layer_row, r);
    for (int src = 0; src < 3; src++) reducing_end(&r[src], &w->maps[at[src]], 0, 1, s);
    return s;
}

static hy_status add_map(work *w, const hy_map_values *v, hy_map_src src, int index) {
    one_map *m = map_at(w, v, src, index);
    if (!is_all(&m->shape, v->S)) return add_blocks(w, v, m);
    const size_t n = (size_t)v->S * (size_t)v->S;
    float *a = hy_alloc(n * sizeof *a);
    if (!a) return HY_ENOMEM;
    const hy_status s = hy_map_full(v, src, index, &w->options, NAN, a);
    for (size_t i = 0; !s && i < n; i++) m->mean[i] += a[i];  // a sum until the end
    free(a);
    return s;
}

static hy_status add_maps(work *w, const hy_map_values *v) {
    const maps_options *o = w->o;
    const hy_block_shape shape = shape_of(o, v->S);
    // maps of the layer as a whole are the mean of two, which must be row-normalised
    const bool both = v->heads > 0 && v->D > 0, rowsum = w->options.norm == HY_MAP_ROWSUM,
               together = both && rowsum && !is_all(&shape, v->S);
    int at[3] = {0};
    for (int src = HY_MAP_ATTENTION; src <= HY_MAP_LAYER; src++) {
        at[src] = w->next;
        if (together)
            (void)map_at(w, v, (hy_map_src)src, -1);
        else if (hy_map_has(v, (hy_map_src)src) && !(src == HY_MAP_LAYER && both && !rowsum))
            HY_TRY(add_map(w, v, (hy_map_src)src, -1));
        if (src != HY_MAP_ATTENTION) continue;
        for (int h = 0; o->heads && h < v->heads; h++) HY_TRY(add_map(w, v, HY_MAP_ATTENTION, h));
        for (int i = 0; !o->heads && i < o->single_heads.n; i++)
            if (o->single_heads.v[i] < v->heads) HY_TRY(add_map(w, v, HY_MAP_ATTENTION, o->single_heads.v[i]));
    }
    for (int i = 0; i < o->channels.n; i++)
        if (o->channels.v[i] < hy_map_ssm_count(v)) HY_TRY(add_map(w, v, HY_MAP_SSM, o->channels.v[i]));
    return together ? add_together(w, v, at) : HY_OK;
}

static void worst(double *relative, double error, double size) {
    if (error >= 0) *relative = fmax(*relative, size > 0 ? error / size : error);
}

static hy_status add_stats(work *w, const hy_map_values *v) {
    hy_map_stats now[3];
    const double share = 1.0 / w->e.n;
    layer_stats *l = &w->stats[v->layer];
    HY_TRY(hy_map_stats_layer(v, &w->options, now));
    l->seen = true;
    for (int i = 0; i < 3; i++) {
        hy_map_stats *to = &l->of[i], *s = &now[i];
        to->heads = s->heads, to->wide = s->wide;
        to->meta += share * s->meta, to->bos += share * s->bos, to->self += share * s->self,
            to->cross += share * s->cross;
        to->entropy += share * s->entropy, to->entropy_rel += share * s->entropy_rel,
            to->distance += share * s->distance;
    }
    if (v->D > 0) l->step_entropy += hy_map_delta_entropy(v) * share;
    if (w->example > 0) return HY_OK;  // once is enough for the check
    hy_map_check c;
    HY_TRY(hy_map_selftest(v, &c));
    worst(&w->check.attn, c.attn, c.attn_scale);
    worst(&w->check.ssm, c.ssm, c.ssm_scale);
    worst(&w->check.model, c.model, c.model_scale);
    return HY_OK;
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    if (w->o->keep != KEEP_STATISTICS) HY_TRY(add_maps(w, v));
    return w->o->keep != KEEP_MAPS ? add_stats(w, v) : HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static void set_ints(hy_json *j, const char *key, int a, int b) {
    hy_json *list = hy_json_new_array();
    hy_json_add(list, hy_json_new_int(a));
    hy_json_add(list, hy_json_new_int(b));
    hy_json_set(j, key, list);
}

// shape NULL: of statistics.
static char *meta_text(const work *w, int layer, hy_map_src src, int index, int meta_tokens,
                       const hy_block_shape *shape) {
    hy_json *j = hy_json_new_object();
    hy_buf options = {0}, text = {0};
    hy_map_options_text(&w->options, &options);
    if (shape && !hy_block_whole(shape) && w->e.n > 1) hy_buf_printf(&options, " blocks=of_each_example_then_mean");
    hy_json_set_int(j, "layer", layer);
    hy_json_set_string(j, "source", hy_map_src_name(src));
    hy_json_set_int(j, "head", index);
    hy_json_set_int(j, "meta_tokens", meta_tokens);
    hy_json_set_string(j, "cell", w->e.cell->name);
    hy_json_set_int(j, "examples", w->e.n);
    hy_json_set_string(j, "options", options.s);
    if (shape && !is_all(shape, w->e.T + meta_tokens)) {
        set_ints(j, "rows", shape->i0, shape->i1);
        set_ints(j, "columns", shape->j0, shape->j1);
        set_ints(j, "block", shape->down, shape->across);
        hy_json_set_string(j, "reduce", shape->how == HY_BLOCK_MEAN ? "mean" : "max");
    }
    hy_json_set_int(j, "positions", w->e.T + meta_tokens);
    hy_json_text(j, 0, &text);
    hy_json_free(j);
    free(options.s);
    return text.s;
}

static void map_artifact(const work *w, one_map *m, hy_facts *f) {
    char name[80];
    const int n = snprintf(name, sizeof name, "map.layer%d.%s", m->layer, hy_map_src_name(m->src));
    if (m->index >= 0)
        snprintf(name + n, sizeof name - (size_t)n, ".%s%d", m->src == HY_MAP_SSM ? "channel" : "head", m->index);
    const size_t size = (size_t)m->shape.rows * (size_t)m->shape.columns;
    float *mean = hy_xcalloc(size, sizeof *mean);
    for (size_t i = 0; i < size; i++) mean[i] = (float)(m->mean[i] / w->e.n);
    char *meta = meta_text(w, m->layer, m->src, m->index, m->meta, &m->shape);
    hy_artifact *a = hy_facts_artifact(f, name, "f32", 2, (int[]){m->shape.rows, m->shape.columns}, mean, meta);
    a->layer = m->layer, a->kind = hy_map_src_name(m->src), a->head = m->index;
    free(mean);
    free(meta);
}

static void stats_facts(const work *w, const hy_measure_context *c, int layer, hy_map_src src, hy_facts *f) {
    const layer_stats *l = &w->stats[layer];
    const hy_map_stats *s = &l->of[src];
    const struct {
        const char *metric;
        double value;
    } all[] = {{"map_entropy", s->entropy},   {"map_entropy_rel", s->entropy_rel},
               {"map_distance", s->distance}, {"map_meta", s->meta},
               {"map_bos", s->bos},           {"map_self", s->self},
               {"map_cross", s->cross},       {"step_entropy", l->step_entropy}};
    char cell[48];
    snprintf(cell, sizeof cell, "layer%d.%s", layer, hy_map_src_name(src));
    char *meta = meta_text(w, layer, src, -1, c->prog->spec.meta_tokens, NULL);
    for (int i = 0; i < (src == HY_MAP_SSM ? 8 : 7); i++) {
        if (s->wide == 0 && !strcmp(all[i].metric, "map_entropy_rel")) continue;  // of one token without meta tokens
        hy_fact *k = hy_facts_add(f, all[i].metric, cell, all[i].value);
        k->step = c->step;
        k->n = w->e.n;
        k->x = layer;
        k->meta = hy_xstrdup(meta);
        hy_fact_at(k, layer, hy_map_src_name(src), -1);
    }
    free(meta);
}

static void check_facts(const work *w, const hy_measure_context *c, hy_facts *f) {
    const struct {
        const char *cell, *kind;
        double value;
    } all[] = {
        {"attention", "attention", w->check.attn}, {"ssm", "ssm", w->check.ssm}, {"model", "ssm", w->check.model}};
    for (int i = 0; i < 3; i++) {
        if (all[i].value < 0) continue;
        hy_fact *k = hy_facts_add(f, "map_check", all[i].cell, all[i].value);
        k->step = c->step;
        hy_fact_at(k, -1, all[i].kind, -1);
    }
}

static void add_facts(work *w, const hy_measure_context *c, hy_facts *f) {
    for (int i = 0; i < w->n_maps; i++) map_artifact(w, &w->maps[i], f);
    for (int i = 0; i < c->prog->spec.n_layers; i++)
        for (int src = 0; w->stats[i].seen && src < 3; src++)
            if (w->stats[i].of[src].heads) stats_facts(w, c, i, (hy_map_src)src, f);
    check_facts(w, c, f);
}

static hy_status maps_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const maps_options *o = options;
    const hy_model_spec *spec = &c->prog->spec;
    work w = {.o = o,
              .options = {.reduce = (hy_ssm_reduce)o->reduce, .norm = (hy_map_norm)o->norm, .gate = o->gate != 0},
              .check = {.attn = -1, .ssm = -1, .model = -1},
              .stats = hy_xcalloc((size_t)spec->n_layers, sizeof *w.stats)};
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &w.e);
    for (int i = 0; !s && i < spec->n_layers; i++) w.e.want[i] = hy_ints_want(&o->layers, i);
    for (w.example = 0; !s && w.example < w.e.n; w.example++) {
        w.next = 0;
        s = hy_examples_run(c, &w.e, w.example, on_layer, &w);
    }
    if (!s) add_facts(&w, c, facts);
    for (int i = 0; i < w.n_maps; i++) free(w.maps[i].mean);
    free(w.maps);
    free(w.stats);
    hy_examples_close(&w.e);
    return s;
}

const hy_measure hy_measure_maps = {
    .name = "maps",
    .version = 1,
    .doc = "attention maps, SSM heads as attention, and their entropy, distance and shares, layer by layer",
    .fields = maps_fields,
    .options_size = sizeof(maps_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = maps_check,
    .applies = maps_apply,
    .run = maps_run,
};
