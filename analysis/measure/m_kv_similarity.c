// m_kv_similarity.c - measure "kv_similarity": how alike the keys and values of every two layers with attention are,
// head by head and whatever the order of heads. What cosine and CKA are: analysis/probe/kv_similarity.h. Each is taken
// over the positions of an example; a figure is the mean over the examples. Layers that share keys and values are told
// by their kind, "shared": there it is 1, of the same numbers.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/examples.h"
#include "analysis/probe/kv_similarity.h"

typedef struct {
    int examples, cell, max_len, positions, keys, cka;
} kv_options;
static const hy_field kv_fields[] = {
    HY_FIELD_EXAMPLES(kv_options, "8"),
    HY_FIELD_CELL(kv_options),
    {"max_len", HY_F_INT, offsetof(kv_options, max_len), 0, "256", 1, 65536, NULL,
     "longer examples are cut to so many tokens"},
    {"positions", HY_F_ENUM, offsetof(kv_options, positions), 0, "text", 0, 0, "text|all",
     "text tokens, or meta tokens too"},
    {"keys", HY_F_ENUM, offsetof(kv_options, keys), 0, "before_rope", 0, 0, "before_rope|rotated",
     "keys as projected (and normed), or turned by their position, as they are stored"},
    {"cka", HY_F_ENUM, offsetof(kv_options, cka), 0, "plain", 0, 0, "plain|debiased",
     "linear CKA; debiased: 0 on average for unrelated layers also with fewer positions than channels"},
    HY_FIELD_END,
};

static bool kv_applies(const hy_model_spec *spec, const void *options) {
    (void)options;
    int n = 0;
    for (int i = 0; i < spec->n_layers; i++) n += hy_layer_has_attention(&spec->layers[i]);
    return n > 1;
}

static hy_status kv_check(const hy_measure_subject *s, const void *options) {
    const kv_options *o = options;
    HY_TRY(hy_examples_check(s, o->cell));
    const int whole = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell)->T, meta = s->spec->meta_tokens;
    const int rows = (whole < o->max_len ? whole : o->max_len) + (o->positions ? meta : 0), least = o->cka ? 4 : 2;
    if (rows < least) return hy_error(HY_EINPUT, "CKA needs at least %d positions of an example, not %d", least, rows);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- an example
enum { KEY_COSINE = 0, VALUE_COSINE, KEY_CKA, VALUE_CKA, FIGURES };
static const char *const metrics[FIGURES] = {"key_cosine", "value_cosine", "key_cka", "value_cka"};
typedef struct {
    hy_moments of[FIGURES];
} pair_sums;
typedef struct {
    float *x[2];  // keys and values of the newest example, [rows, width]; NULL: the layer makes none
    int width[2];
    hy_cka_side side[2];
    double self[2];  // HSIC with itself
} layer_kv;
typedef struct {
    const kv_options *o;
    const hy_model_spec *spec;
    layer_kv *layer;   // [n_layers]
    pair_sums *pairs;  // [n_layers, n_layers], of layers that make keys, the first before the second
    int rows;
} work;

static hy_status keep(work *w, const hy_map_values *v, int k, const float *from, int width) {
    layer_kv *l = &w->layer[v->layer];
    const size_t skip = (size_t)(v->S - w->rows) * (size_t)width, n = (size_t)w->rows * (size_t)width;
    l->width[k] = width;
    l->x[k] = hy_alloc(n * sizeof *l->x[k]);
    if (!l->x[k]) return HY_ENOMEM;
    memcpy(l->x[k], from + skip, n * sizeof *l->x[k]);
    HY_TRY(hy_cka_open(l->x[k], w->rows, width, &l->side[k]));
    return hy_hsic(&l->side[k], &l->side[k], w->o->cka != 0, &l->self[k]);
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    work *w = user;
    HY_TRY(keep(w, v, 0, w->o->keys ? v->k : v->k_raw, v->kv_heads * v->d_qk));
    return keep(w, v, 1, v->v, v->kv_heads * v->d_v);
}

static void drop(work *w) {
    for (int i = 0; i < w->spec->n_layers; i++)
        for (int k = 0; k < 2; k++) {
            free(w->layer[i].x[k]);
            hy_cka_close(&w->layer[i].side[k]);
            w->layer[i].x[k] = NULL;
        }
}

static hy_status add_pair(work *w, int a, int b) {
    const hy_layer_spec *la = &w->spec->layers[a], *lb = &w->spec->layers[b];
    const layer_kv *x = &w->layer[a], *y = &w->layer[b];
    pair_sums *p = &w->pairs[a * w->spec->n_layers + b];
    const int d[2] = {la->d_qk, la->d_v};
    const bool heads[2] = {la->kv_heads == lb->kv_heads && la->d_qk == lb->d_qk,
                           la->kv_heads == lb->kv_heads && la->d_v == lb->d_v};
    for (int k = 0; k < 2; k++) {
        double both;
        if (heads[k])
            hy_moments_add(&p->of[KEY_COSINE + k], hy_kv_cosine(x->x[k], y->x[k], w->rows, la->kv_heads, d[k]));
        HY_TRY(hy_hsic(&x->side[k], &y->side[k], w->o->cka != 0, &both));
        if (x->self[k] <= 0 || y->self[k] <= 0) continue;  // keys that do not vary have no CKA; NaN goes on
        hy_moments_add(&p->of[KEY_CKA + k], both / sqrt(x->self[k] * y->self[k]));
    }
    return hy_interrupted ? hy_error(HY_EINTR, "interrupted") : HY_OK;
}

static bool makes_keys(const hy_model_spec *spec, int i) {
    return hy_layer_has_attention(&spec->layers[i]) && spec->layers[i].kv_source == i;
}

static hy_status add_pairs(work *w) {
    for (int a = 0; a < w->spec->n_layers; a++)
        for (int b = a + 1; b < w->spec->n_layers; b++)
            if (makes_keys(w->spec, a) && makes_keys(w->spec, b)) HY_TRY(add_pair(w, a, b));
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
static void pair_facts(const work *w, const hy_measure_context *c, int a, int b, int examples, hy_facts *f) {
    const int L = w->spec->n_layers, s = w->spec->layers[a].kv_source, t = w->spec->layers[b].kv_source;
    const pair_sums *p = &w->pairs[s < t ? s * L + t : t * L + s];
    char cell[48];
    snprintf(cell, sizeof cell, "layer%d.layer%d", a, b);
    for (int k = 0; k < FIGURES; k++) {
        const bool shared = s == t;
        const hy_moments ones = {examples, examples, examples}, *of = shared ? &ones : &p->of[k];
        if (of->n < examples) continue;  // not of every example: heads of other widths, or keys that do not vary
        hy_fact *m = hy_moments_fact(c, f, metrics[k], cell, of);
        m->x = a, m->y = b;
        hy_fact_at(m, a, shared ? "shared" : "kv", -1);
    }
}

static void add_facts(const work *w, const hy_measure_context *c, const hy_examples *e, hy_facts *f) {
    for (int a = 0; a < w->spec->n_layers; a++)
        for (int b = a + 1; b < w->spec->n_layers; b++)
            if (hy_layer_has_attention(&w->spec->layers[a]) && hy_layer_has_attention(&w->spec->layers[b]))
                pair_facts(w, c, a, b, e->n, f);
}

static hy_status kv_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const kv_options *o = options;
    const hy_model_spec *spec = &c->prog->spec;
    const size_t L = (size_t)spec->n_layers;
    work w = {
        .o = o, .spec = spec, .layer = hy_xcalloc(L, sizeof *w.layer), .pairs = hy_xcalloc(L * L, sizeof *w.pairs)};
    hy_examples e;
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &e);
    w.rows = e.T + (o->positions ? spec->meta_tokens : 0);
    if (!s && !o->keys) hy_capture_raw_keys(e.capture);
    for (int i = 0; !s && i < spec->n_layers; i++) e.want[i] = makes_keys(spec, i);
    for (int i = 0; !s && i < e.n; i++) {
        s = hy_examples_run(c, &e, i, on_layer, &w);
        if (!s) s = add_pairs(&w);
        drop(&w);
    }
    if (!s) add_facts(&w, c, &e, facts);
    free(w.layer);
    free(w.pairs);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_kv_similarity = {
    .name = "kv_similarity",
    .version = 1,
    .doc = "how alike keys and values of every two layers are: cosine head by head, and linear CKA",
    .fields = kv_fields,
    .options_size = sizeof(kv_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = kv_check,
    .applies = kv_applies,
    .run = kv_run,
};
