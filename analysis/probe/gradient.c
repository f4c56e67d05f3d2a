// gradient.c - see gradient.h.
#include "analysis/probe/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hy_gradient {
    const hy_program *p;
    hy_params *w;
    hy_exec *exec;
    int T, S;
    int32_t *ids;        // [S]
    float *seed;         // [S, d_model]
    float *head;         // [vocab, d_model] what hidden states become logits by; NULL: not asked for yet
    hy_val before_head;  // what the head reads
    hy_val *stream;      // [n_layers + 1] what enters each layer, and what leaves the last
    // of one run
    const hy_gradient_options *o;
    int at;         // position with the meta tokens
    float *hidden;  // [d_model] what the head reads at that position
    double *size, *from;
};

hy_status hy_gradient_open(const hy_program *p, hy_params *w, int T, hy_gradient **out) {
    *out = NULL;
    if (T < 1) return hy_error(HY_EINPUT, "a gradient needs at least one token, not %d", T);
    const size_t S = (size_t)(T + p->spec.meta_tokens), C = (size_t)p->spec.d_model;
    hy_gradient *g = hy_xcalloc(1, sizeof *g);
    *g = (hy_gradient){.p = p, .w = w, .T = T, .S = (int)S};
    g->ids = hy_xcalloc(S, sizeof *g->ids);
    g->seed = hy_xcalloc(S * C, sizeof *g->seed);
    g->hidden = hy_xcalloc(C, sizeof *g->hidden);
    g->stream = hy_xcalloc((size_t)p->spec.n_layers + 1, sizeof *g->stream);
    for (int i = 0; i <= p->spec.n_layers; i++) {
        char name[48];
        snprintf(name, sizeof name, i < p->spec.n_layers ? "layers.%d.input" : "final_input", i);
        g->stream[i] = hy_program_find(p, name);
        HY_ASSERT(g->stream[i] != HY_NOVAL);
    }
    for (int i = 0; i < p->n_ops; i++)
        if (p->ops[i].kind == HY_OP_GATHER) g->before_head = p->ops[i].in[0];
    const hy_status s = hy_exec_create(p, w->be, w->compute, HY_EXEC_GRADIENT, 1, g->S, 0, &g->exec);
    if (s)
        hy_gradient_close(g);
    else
        *out = g;
    return s;
}

void hy_gradient_close(hy_gradient *g) {
    if (!g) return;
    hy_exec_free(g->exec);
    free(g->ids), free(g->seed), free(g->head), free(g->hidden), free(g->stream);
    free(g);
}

// ---------------------------------------------------------------------------------------------------- forward
static bool wants_hidden(void *user, const char *name) {
    const hy_gradient *g = user;
    return !strcmp(name, g->p->values[g->before_head].name);
}
static hy_status got_hidden(void *user, const char *name, const float *data, int rows, int width) {
    hy_gradient *g = user;
    (void)name, (void)rows;
    memcpy(g->hidden, data + (size_t)g->at * (size_t)width, (size_t)width * sizeof *data);
    return HY_OK;
}

static hy_status forward(hy_gradient *g, const int32_t *ids, int at) {
    const int meta = g->p->spec.meta_tokens;
    HY_ASSERT(at >= 0 && at < g->T);
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted");
    hy_ids_with_meta(1, g->T, meta, ids, 0, g->ids);
    g->at = meta + at;
    const hy_batch b = {.B = 1, .T = g->S, .ids = g->ids};
    const hy_probe probe = {wants_hidden, got_hidden, g};
    return hy_exec_forward(g->exec, g->w, &b, NULL, 0, &probe);
}

// ---------------------------------------------------------------------------------------------------- the seed
static hy_status need_head(hy_gradient *g) {
    const hy_program *p = g->p;
    int par = -1;
    if (g->head) return HY_OK;
    for (int i = 0; i < p->n_ops; i++)
        if (p->ops[i].out == p->logits) par = p->ops[i].par[0];
    HY_ASSERT(par >= 0);
    return hy_params_read(g->w, par, &g->head);
}

// The likeliest token after the position, the first of several.
static int likeliest(const hy_gradient *g) {
    const size_t C = (size_t)g->p->spec.d_model;
    int best = 0;
    double top = -INFINITY;
    for (int v = 0; v < g->p->spec.vocab; v++) {
        double logit = 0;
        for (size_t c = 0; c < C; c++) logit += (double)g->head[(size_t)v * C + c] * g->hidden[c];
        if (logit > top) top = logit, best = v;
    }
    return best;
}

static hy_status make_seed(hy_gradient *g, const hy_gradient_options *o, hy_gradient_of of) {
    const size_t C = (size_t)g->p->spec.d_model;
    float *row = g->seed + (size_t)g->at * C;
    memset(g->seed, 0, (size_t)g->S * C * sizeof *g->seed);
    if (of == HY_GRADIENT_PROJECTION) {
        hy_rng rng = hy_rng_make(HY_GRADIENT_SEED, o->draw);
        for (size_t c = 0; c < C; c++) row[c] = (float)hy_rng_normal(&rng);
        return HY_OK;
    }
    HY_TRY(need_head(g));
    const int token = of == HY_GRADIENT_LABEL ? o->token : likeliest(g);
    HY_ASSERT(token >= 0 && token < g->p->spec.vocab);
    memcpy(row, g->head + (size_t)token * C, C * sizeof *row);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- backward
// The layer that a gradient's value enters; -1: of no interest.
static int layer_of(const hy_gradient *g, const char *name) {
    if (strncmp(name, "grad.", 5)) return -1;
    for (int i = 0; i < (g->from ? g->p->spec.n_layers : 1); i++)
        if (!strcmp(name + 5, g->p->values[g->stream[i]].name)) return i;
    return -1;
}
static bool wants_gradient(void *user, const char *name) { return layer_of(user, name) >= 0; }

static hy_status got_gradient(void *user, const char *name, const float *data, int rows, int width) {
    const hy_gradient *g = user;
    const int layer = layer_of(g, name);
    for (int s = 0; s < rows; s++) {
        double sum = 0;
        for (int c = 0; c < width; c++) {
            const double x = (double)data[(size_t)s * (size_t)width + (size_t)c];
            sum += g->o->norm == HY_GRADIENT_L2 ? x * x : fabs(x);
        }
        if (g->o->norm == HY_GRADIENT_L2) sum = sqrt(sum);
        if (layer == 0) g->size[s] = sum;
        if (g->from) g->from[(size_t)layer * (size_t)g->S + (size_t)s] = sum;
    }
    return HY_OK;
}

static hy_status backward(hy_gradient *g, hy_val y, const hy_gradient_options *o, double *size, double *from) {
    const hy_probe probe = {wants_gradient, got_gradient, g};
    g->o = o, g->size = size, g->from = from;
    return hy_exec_backward_from(g->exec, g->w, y, g->seed, &probe);
}

hy_status hy_gradient_run(hy_gradient *g, const int32_t *ids, int at, const hy_gradient_options *o, double *size,
                          double *from) {
    HY_TRY(forward(g, ids, at));
    HY_TRY(make_seed(g, o, o->of));
    // a projection is of the final norm's output, a logit of what the head reads, which may be scaled
    return backward(g, o->of == HY_GRADIENT_PROJECTION ? g->p->hidden_final : g->before_head, o, size, from);
}

hy_status hy_gradient_to(hy_gradient *g, const int32_t *ids, int at, int layer, const hy_gradient_options *o,
                         double *size) {
    HY_ASSERT(layer >= 0 && layer < g->p->spec.n_layers);
    HY_TRY(forward(g, ids, at));
    HY_TRY(make_seed(g, o, HY_GRADIENT_PROJECTION));
    return backward(g, g->stream[layer + 1], o, size, NULL);
}

void hy_gradient_range(int k, int *first, int *last) {
    const int octave = k / 2, half = k % 2;
    if (k < 4) {
        *first = *last = k;
        return;
    }
    *first = (2 + half) << (octave - 1);
    *last = *first + (1 << (octave - 1)) - 1;
}
