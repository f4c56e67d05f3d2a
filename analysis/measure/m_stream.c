// m_stream.c - measure "stream": how large the residual stream is where it enters each layer, how much each part of the
// layer adds to it, and how alike it is at different positions. A token whose embedding is small against what the
// branches add is drowned by them; a stream that is alike everywhere has nothing left to tell positions apart.
//
// stream_rms of kind "stream" is of what enters a layer (and, cell "final", of what leaves the last one); the other
// kinds are of the difference that a part makes: attention, ssm, heads (both at once, fused), mlp.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/examples.h"

typedef enum { STREAM = 0, ATTENTION, SSM, HEADS, MLP, KINDS } kind;
static const char *const kind_names[KINDS] = {"stream", "attention", "ssm", "heads", "mlp"};

typedef struct {
    int examples, cell, positions, max_len;
} stream_options;
static const hy_field stream_fields[] = {
    HY_FIELD_EXAMPLES(stream_options, "8"),
    HY_FIELD_CELL(stream_options),
    {"positions", HY_F_ENUM, offsetof(stream_options, positions), 0, "text", 0, 0, "text|all",
     "text tokens, or meta tokens too"},
    {"max_len", HY_F_INT, offsetof(stream_options, max_len), 0, "whole", 1, 1e7, "whole",
     "longer examples are cut to so many tokens", true},
    HY_FIELD_END,
};

static hy_status stream_check(const hy_measure_subject *s, const void *options) {
    const stream_options *o = options;
    return hy_examples_check(s, o->cell);
}

typedef struct {
    const hy_program *p;
    int first, S, d;          // positions first .. S - 1 count
    int *part_of;             // [n_values] the stream: 1 + KINDS * layer + the kind that made it; 0: another value
    float *now;               // [S, d] the stream so far
    double *sum;              // [d] scratch
    int entered;              // layers whose entry was looked at
    hy_moments *rms, *alike;  // [n_layers + 1, KINDS], [n_layers + 1]
} work;

// ---------------------------------------------------------------------------------------------------- where to look
static void mark(work *w, const char *name, int layer, kind k) {
    const hy_val v = hy_program_find(w->p, name);
    if (v != HY_NOVAL) w->part_of[v] = 1 + KINDS * layer + (int)k;
}

// The values that the stream passes through: after the first mixer of two, after the mixers, after the layer.
static void mark_layer(work *w, int i) {
    const hy_layer_spec *l = &w->p->spec.layers[i];
    const bool attention_first = l->mixer == HY_MIXER_ATTENTION_SSM || l->mixer == HY_MIXER_PARALLEL;
    const kind last = l->mixer == HY_MIXER_PARALLEL ? (l->fusion == HY_FUSION_SUM ? SSM : HEADS)
                      : l->mixer == HY_MIXER_SSM || l->mixer == HY_MIXER_ATTENTION_SSM ? SSM
                                                                                       : ATTENTION;
    char name[64];
    snprintf(name, sizeof name, "layers.%d.mixer.mid", i);
    mark(w, name, i, attention_first ? ATTENTION : SSM);
    snprintf(name, sizeof name, "layers.%d.mixer.out", i);
    mark(w, name, i, last);
    if (l->mixer == HY_MIXER_NONE && l->mlp == HY_MLP_NONE) return;  // it passes the stream on
    snprintf(name, sizeof name, i + 1 < w->p->spec.n_layers ? "layers.%d.input" : "final_input", i + 1);
    mark(w, name, i, l->mlp != HY_MLP_NONE ? MLP : last);
}

// ---------------------------------------------------------------------------------------------------- one example
static double root_mean_square(const work *w, const float *x, const float *minus) {
    double sum = 0;
    for (size_t i = (size_t)w->first * (size_t)w->d; i < (size_t)w->S * (size_t)w->d; i++) {
        const double v = (double)x[i] - (minus ? minus[i] : 0);
        sum += v * v;
    }
    return sqrt(sum / ((double)(w->S - w->first) * w->d));
}

// Mean cosine of the stream at two different positions: |sum of unit vectors|^2 counts every pair twice and each
// position with itself.
static double mean_cosine(const work *w) {
    const int n = w->S - w->first;
    double all = 0, *sum = w->sum;
    memset(sum, 0, (size_t)w->d * sizeof *sum);
    for (int i = w->first; i < w->S; i++) {
        const float *row = w->now + (size_t)i * w->d;
        double sq = 0;
        for (int c = 0; c < w->d; c++) sq += (double)row[c] * row[c];
        const double by = sq > 0 ? 1 / sqrt(sq) : 0;
        for (int c = 0; c < w->d; c++) sum[c] += by * row[c];
    }
    for (int c = 0; c < w->d; c++) all += sum[c] * sum[c];
    return (all - n) / ((double)n * (n - 1));
}

// What enters the layers up to this one is what the stream holds now; an empty layer passes it on.
static void enter(work *w, int layer) {
    for (; w->entered <= layer; w->entered++) {
        hy_moments_add(&w->rms[w->entered * KINDS + STREAM], root_mean_square(w, w->now, NULL));
        if (w->S - w->first > 1) hy_moments_add(&w->alike[w->entered], mean_cosine(w));
    }
}

static bool wants(void *user, const char *name) {
    const work *w = user;
    const hy_val v = hy_program_find(w->p, name);
    return v != HY_NOVAL && w->part_of[v];
}

static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    work *w = user;
    const int at = w->part_of[hy_program_find(w->p, name)] - 1, layer = at / KINDS, k = at % KINDS;
    HY_ASSERT(rows == w->S && width == w->d);
    if (k != STREAM) {
        enter(w, layer);
        hy_moments_add(&w->rms[layer * KINDS + k], root_mean_square(w, data, w->now));
    }
    memcpy(w->now, data, (size_t)rows * (size_t)width * sizeof *w->now);
    return hy_interrupted ? hy_error(HY_EINTR, "interrupted") : HY_OK;
}

// ---------------------------------------------------------------------------------------------------- facts
// layer n_layers: what leaves the model.
static void mean_fact(const hy_measure_context *c, hy_facts *f, const char *metric, int layer, kind k,
                      const hy_moments *m) {
    char cell[48];
    if (m->n == 0) return;
    if (k != STREAM) {
        hy_moments_layer_fact(c, f, metric, layer, kind_names[k], -1, m);
        return;
    }
    const bool final = layer == c->prog->spec.n_layers;
    snprintf(cell, sizeof cell, final ? "final" : "layer%d", layer);
    hy_fact *a = hy_moments_fact(c, f, metric, cell, m);
    if (final) return;
    a->x = layer;
    hy_fact_at(a, layer, kind_names[k], -1);
}

static hy_status measure(const hy_measure_context *c, hy_examples *e, work *w) {
    const int L = c->prog->spec.n_layers;
    const hy_probe probe = {.wants = wants, .got = got, .user = w};
    mark(w, "layers.0.input", 0, STREAM);
    for (int i = 0; i < L; i++) mark_layer(w, i);
    for (int i = 0; i < e->n; i++) {
        w->entered = 0;
        HY_TRY(hy_examples_probe(c, e, i, &probe));
        enter(w, L);
    }
    return HY_OK;
}

static hy_status stream_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const stream_options *o = options;
    const int L = c->prog->spec.n_layers, d = c->prog->spec.d_model, meta = c->prog->spec.meta_tokens;
    hy_examples e;
    hy_status s = hy_examples_open(c, o->cell, o->max_len, o->examples, &e);
    work w = {.p = c->prog, .first = o->positions ? 0 : meta, .S = e.T + meta, .d = d};
    w.part_of = hy_xcalloc((size_t)c->prog->n_values, sizeof *w.part_of);
    w.rms = hy_xcalloc((size_t)(L + 1) * (KINDS + 1), sizeof *w.rms);
    w.alike = w.rms + (L + 1) * KINDS;
    w.now = hy_alloc((size_t)w.S * (size_t)d * sizeof *w.now);
    w.sum = hy_xcalloc((size_t)d, sizeof *w.sum);
    if (!s && !w.now) s = HY_ENOMEM;
    if (!s) s = measure(c, &e, &w);
    for (int i = 0; i <= L && !s; i++) {
        for (int k = 0; k < KINDS; k++) mean_fact(c, facts, "stream_rms", i, (kind)k, &w.rms[i * KINDS + k]);
        mean_fact(c, facts, "stream_cosine", i, STREAM, &w.alike[i]);
    }
    free(w.part_of), free(w.rms), free(w.now), free(w.sum);
    hy_examples_close(&e);
    return s;
}

const hy_measure hy_measure_stream = {
    .name = "stream",
    .version = 1,
    .doc = "size of the residual stream and of what each part adds to it, and how alike positions are, by layer",
    .fields = stream_fields,
    .options_size = sizeof(stream_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = stream_check,
    .run = stream_run,
};
