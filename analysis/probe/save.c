// save.c - see save.h.
#include "analysis/probe/save.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/probe/capture.h"
#include "core/format/arrays.h"

// ---------------------------------------------------------------------------------------------------- names
typedef struct {
    hy_names list;
    int cap;
} growing;

static hy_named *add(growing *g) {
    if (g->list.n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 256;
        g->list.v = hy_xrealloc(g->list.v, (size_t)g->cap * sizeof *g->list.v);
    }
    hy_named *a = &g->list.v[g->list.n++];
    *a = (hy_named){.value = HY_NOVAL, .layer = -1, .index = -1};
    return a;
}

static void add_map(growing *g, int layer, hy_map_src src, const char *single, int index) {
    hy_named *a = add(g);
    a->layer = layer, a->src = src, a->index = index;
    const int n = snprintf(a->name, sizeof a->name, "layers.%d.map.%s", layer, hy_map_src_name(src));
    if (single) snprintf(a->name + n, sizeof a->name - (size_t)n, ".%s.%d", single, index);
}

static const char *unit_of(const hy_layer_spec *l, hy_map_src src) {
    return src == HY_MAP_SSM && !hy_layer_is_mamba2(l) ? "channel" : "head";
}
static int units_of(const hy_layer_spec *l, hy_map_src src) {
    if (src == HY_MAP_ATTENTION) return l->heads;
    return hy_layer_ssm_units(l);
}
static bool has(const hy_layer_spec *l, hy_map_src src) {
    const bool attention = hy_layer_has_attention(l), ssm = hy_layer_has_ssm(l);
    return src == HY_MAP_ATTENTION ? attention : src == HY_MAP_SSM ? ssm : attention || ssm;
}

// Single maps each, or one entry that stands for all, with N as its number.
static void add_maps(growing *g, const hy_program *p, bool heads, bool channels, bool each) {
    for (int i = 0; i < p->spec.n_layers; i++)
        for (int src = HY_MAP_ATTENTION; src <= HY_MAP_LAYER; src++) {
            const hy_layer_spec *l = &p->spec.layers[i];
            if (!has(l, (hy_map_src)src)) continue;
            add_map(g, i, (hy_map_src)src, NULL, -1);
            if (src == HY_MAP_LAYER) continue;
            const char *unit = unit_of(l, (hy_map_src)src);
            const bool wanted = *unit == 'h' ? heads : channels;
            const int n = !wanted ? 0 : each ? units_of(l, (hy_map_src)src) : 1;
            for (int k = 0; k < n; k++) add_map(g, i, (hy_map_src)src, unit, k);
            if (!each && n) {
                char *name = g->list.v[g->list.n - 1].name;
                name[strlen(name) - 1] = 'N';
            }
        }
}

static void add_values(growing *g, const hy_program *p) {
    snprintf(add(g)->name, sizeof g->list.v->name, "ids");
    for (int v = 0; v < p->n_values; v++) {
        if (v != p->logits && p->values[v].rows == HY_ROWS_OUT) continue;  // rows of the head: those of its input
        hy_named *a = add(g);
        a->value = v;
        snprintf(a->name, sizeof a->name, "%s", p->values[v].name);
    }
}

void hy_names_free(hy_names *list) {
    free(list->v);
    *list = (hy_names){0};
}

void hy_names_all(const hy_program *p, hy_names *out) {
    growing g = {0};
    add_values(&g, p);
    add_maps(&g, p, true, true, false);
    *out = g.list;
}

// A map is meant by a pattern that says so, its single ones by one that says that.
static bool fits(const char *pattern, const hy_named *a) {
    const bool map = a->value == HY_NOVAL && a->layer >= 0;
    if (map && !strstr(pattern, "map")) return false;
    if (map && a->index >= 0 && !strstr(pattern, "head") && !strstr(pattern, "channel")) return false;
    return hy_name_fits(pattern, a->name);
}

static hy_status no_match(const char *pattern, const hy_names *list) {
    const char **names = hy_xcalloc((size_t)list->n, sizeof *names);
    for (int i = 0; i < list->n; i++) names[i] = list->v[i].name;
    const hy_status s = hy_names_no_match(pattern, names, list->n);
    free(names);
    return s;
}

hy_status hy_names_choose(const hy_program *p, const char *const *patterns, int n, hy_names *out) {
    growing g = {0};
    bool heads = false, channels = false;
    *out = (hy_names){0};
    for (int i = 0; i < n; i++)
        heads = heads || strstr(patterns[i], "head"), channels = channels || strstr(patterns[i], "channel");
    add_values(&g, p);
    add_maps(&g, p, heads, channels, true);
    bool *chosen = hy_xcalloc((size_t)g.list.n, sizeof *chosen);
    hy_status s = HY_OK;
    for (int i = 0; i < n && !s; i++) {
        bool any = false;
        for (int k = 0; k < g.list.n; k++)
            if (fits(patterns[i], &g.list.v[k])) any = chosen[k] = true;
        if (!any) s = no_match(patterns[i], &g.list);
    }
    for (int k = 0; k < g.list.n && !s; k++)
        if (chosen[k]) g.list.v[out->n++] = g.list.v[k];
    free(chosen);
    out->v = g.list.v;
    if (s) hy_names_free(out);
    return s;
}

void hy_named_meaning(const hy_program *p, const hy_named *a, hy_buf *out) {
    if (a->value != HY_NOVAL) {
        hy_value_meaning(p, a->value, out);
        return;
    }
    if (a->layer < 0) {
        hy_buf_printf(out, "the tokens; meta token j is -(j + 1)");
        return;
    }
    const hy_layer_spec *l = &p->spec.layers[a->layer];
    const char *unit = unit_of(l, a->src);
    if (a->src == HY_MAP_LAYER)
        hy_buf_printf(out, "map of the layer: mean of those of its kinds of heads");
    else if (a->index >= 0)
        hy_buf_printf(out, "%s of one %s, of %d", a->src == HY_MAP_SSM ? "hidden attention" : "softmax", unit,
                      units_of(l, a->src));
    else
        hy_buf_printf(out, "%s, mean over %d %ss", a->src == HY_MAP_SSM ? "hidden attention" : "softmax",
                      units_of(l, a->src), unit);
}

int hy_named_columns(const hy_program *p, const hy_named *a, int S) {
    return a->value != HY_NOVAL ? p->values[a->value].width : a->layer < 0 ? 0 : S;
}

// ---------------------------------------------------------------------------------------------------- writing
typedef struct {
    const hy_program *p;
    const hy_names *names;
    const hy_map_options *o;
    hy_arrays *out;
    int S, at;      // at: the map at hand
    double lo, hi;  // its smallest and largest visible entry, for min-max
    const hy_map_values *v;
    float *row;  // [S]
} work;

static int find(const work *w, const char *name) {
    for (int i = 0; i < w->names->n; i++)
        if (w->names->v[i].value != HY_NOVAL && !strcmp(w->names->v[i].name, name)) return i;
    return -1;
}
static bool wants(void *user, const char *name) { return find(user, name) >= 0; }
static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    const work *w = user;
    HY_TRY(hy_arrays_put(w->out, find(w, name), 0, data, (size_t)rows * (size_t)width));
    return hy_interrupted ? hy_error(HY_EINTR, "interrupted") : HY_OK;
}

static hy_status range_row(void *user, int i, const double *row) {
    work *w = user;
    const hy_named *a = &w->names->v[w->at];
    for (int j = 0; j <= i; j++)
        if (hy_map_visible(w->v, a->src, i, j)) w->lo = fmin(w->lo, row[j]), w->hi = fmax(w->hi, row[j]);
    return HY_OK;
}

static hy_status save_row(void *user, int i, const double *row) {
    const work *w = user;
    const hy_named *a = &w->names->v[w->at];
    const double range = w->hi > w->lo ? w->hi - w->lo : 1;
    for (int j = 0; j < w->S; j++) {
        const bool scaled = w->o->norm == HY_MAP_MINMAX && hy_map_visible(w->v, a->src, i, j);
        w->row[j] = (float)(scaled ? (row[j] - w->lo) / range : row[j]);
    }
    return hy_arrays_put(w->out, w->at, (size_t)i * (size_t)w->S, w->row, (size_t)w->S);
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    w->v = v;
    for (w->at = 0; w->at < w->names->n; w->at++) {
        const hy_named *a = &w->names->v[w->at];
        if (a->value != HY_NOVAL || a->layer != v->layer) continue;
        w->lo = INFINITY, w->hi = -INFINITY;
        if (w->o->norm == HY_MAP_MINMAX) HY_TRY(hy_map_walk(v, a->src, a->index, w->o, 0, v->S, range_row, w));
        HY_TRY(hy_map_walk(v, a->src, a->index, w->o, 0, v->S, save_row, w));
    }
    return HY_OK;
}

static hy_array *arrays_of(const hy_program *p, int S, const hy_names *names, hy_buf *meanings) {
    hy_array *a = hy_xcalloc((size_t)names->n, sizeof *a);
    for (int i = 0; i < names->n; i++) {
        hy_named_meaning(p, &names->v[i], &meanings[i]);
        a[i] = (hy_array){.name = names->v[i].name,
                          .meaning = meanings[i].s,
                          .rows = S,
                          .columns = hy_named_columns(p, &names->v[i], S),
                          .whole = !hy_named_columns(p, &names->v[i], S)};
    }
    return a;
}

static void arrays_free(hy_array *a, hy_buf *meanings, int n) {
    for (int i = 0; i < n; i++) free(meanings[i].s);
    free(meanings), free(a);
}

hy_status hy_save_try(const hy_program *p, int S, const hy_names *names, const char *path) {
    hy_buf *meanings = hy_xcalloc((size_t)names->n, sizeof *meanings);
    hy_array *a = arrays_of(p, S, names, meanings);
    const hy_status s = hy_arrays_try(path, a, names->n);
    arrays_free(a, meanings, names->n);
    return s;
}

static hy_status save_ids(const work *w, int T, const int32_t *ids) {
    int32_t *all = hy_xcalloc((size_t)w->S, sizeof *all);
    hy_ids_with_meta(1, T, w->S - T, ids, 0, all);
    hy_status s = HY_OK;
    for (int i = 0; i < w->names->n && !s; i++)
        if (w->names->v[i].value == HY_NOVAL && w->names->v[i].layer < 0)
            s = hy_arrays_put(w->out, i, 0, all, (size_t)w->S);
    free(all);
    return s;
}

static hy_status run(work *w, hy_params *params, int T, const int32_t *ids) {
    bool *want = hy_xcalloc((size_t)w->p->spec.n_layers, sizeof *want), logits = false;
    for (int i = 0; i < w->names->n; i++) {
        const hy_named *a = &w->names->v[i];
        if (a->value == HY_NOVAL && a->layer >= 0) want[a->layer] = true;
        logits = logits || (a->value != HY_NOVAL && a->value == w->p->logits);
    }
    const hy_probe probe = {.wants = wants, .got = got, .user = w};
    hy_capture *c = NULL;
    hy_status s = (logits ? hy_capture_open_logits : hy_capture_open)(w->p, params, T, &c);
    if (!s) hy_capture_also(c, &probe);
    if (!s) s = hy_capture_run(c, ids, want, on_layer, w);
    hy_capture_close(c);
    free(want);
    return s;
}

hy_status hy_save(const hy_program *p, hy_params *params, int T, const int32_t *ids, const hy_names *names,
                  const hy_map_options *o, const char *path, const char *const *about) {
    work w = {.p = p, .names = names, .o = o, .S = T + p->spec.meta_tokens};
    hy_buf *meanings = hy_xcalloc((size_t)names->n, sizeof *meanings);
    hy_array *a = arrays_of(p, w.S, names, meanings);
    hy_status s = hy_arrays_open(path, a, names->n, about, &w.out);
    w.row = hy_xcalloc((size_t)w.S, sizeof *w.row);
    if (!s) s = save_ids(&w, T, ids);
    if (!s) s = run(&w, params, T, ids);
    if (!s) s = hy_arrays_commit(w.out);
    hy_arrays_free(w.out);
    arrays_free(a, meanings, names->n);
    free(w.row);
    return s;
}
