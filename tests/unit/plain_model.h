// plain_model.h - every kind of layer once more, for tests that compute stored figures a second way: plain loops in
// double over one sequence, written from what a spec means and sharing no arithmetic with the program. Weights come
// from a checkpoint's file, or from the parameters that a trainer holds. Multiply-adds of the last token are counted on
// the way.
#ifndef HY_PLAIN_MODEL_H
#define HY_PLAIN_MODEL_H
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/safetensors.h"
#include "core/model/params.h"

enum { PLAIN_LAYERS = 6, PLAIN_TENSORS = 160 };

// Memory that goes all at once.
typedef struct {
    void *v[2048];
    int n;
} plain_memory;

static inline double *plain_zeros(plain_memory *m, size_t n) {
    HY_ASSERT(m->n < 2048);
    return m->v[m->n++] = hy_xcalloc(n ? n : 1, sizeof(double));
}

static inline void plain_release(plain_memory *m) {
    while (m->n) free(m->v[--m->n]);
}

// ---------------------------------------------------------------------------------------------------- weights
typedef struct {
    char name[64];
    double *v;
    size_t n;
} plain_tensor;
// A part that is left out: of a layer (-1: of each) its "attention", "ssm", "mlp", "conv", "" for all of it; or "head",
// "group" number index of the equal shares of what attention or SSM heads give.
typedef struct {
    int layer, index, shares;
    char kind[12];
} plain_lack;
typedef struct {
    const hy_model_spec *m;
    int n;
    plain_tensor t[PLAIN_TENSORS];
    plain_memory memory;
    plain_lack lack;      // shares 0: nothing is left out
    const double *shift;  // [S, d_model] added to what enters layer shift_at; NULL: nothing
    int shift_at;
} plain_weights;

static inline plain_tensor *plain_new_tensor(plain_weights *w, const char *name, size_t n) {
    HY_ASSERT(w->n < PLAIN_TENSORS);
    w->t[w->n] = (plain_tensor){.v = plain_zeros(&w->memory, n), .n = n};
    snprintf(w->t[w->n].name, sizeof w->t->name, "%s", name);
    return &w->t[w->n++];
}

static inline void plain_from_file(plain_weights *w, const hy_model_spec *m, const hy_st *st) {
    w->m = m;
    for (int i = 0; i < hy_st_count(st); i++) {
        const hy_st_tensor *t = hy_st_at(st, i);
        hy_st_read_f64(t, 0, t->n, plain_new_tensor(w, t->name, t->n)->v);
    }
}

static inline void plain_from_params(plain_weights *w, const hy_params *p) {
    w->m = &p->prog->spec;
    for (int i = 0; i < p->prog->n_params; i++) {
        const hy_param *q = &p->prog->params[i];
        plain_tensor *t = plain_new_tensor(w, q->name, q->n);
        float *v = hy_xcalloc(q->n, sizeof *v);
        HY_ASSERT(hy_params_get(p, i, false, v) == HY_OK);
        for (size_t k = 0; k < q->n; k++) t->v[k] = v[k];
        free(v);
    }
}

static inline void plain_weights_free(plain_weights *w) {
    plain_release(&w->memory);
    w->n = 0;
}

// NULL: there is none of that name.
static inline const double *plain_find(const plain_weights *w, const char *prefix, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (int i = 0; i < w->n; i++)
        if (!strcmp(w->t[i].name, full)) return w->t[i].v;
    return NULL;
}

static inline const double *plain_get(const plain_weights *w, const char *prefix, const char *name) {
    const double *v = plain_find(w, prefix, name);
    if (!v) hy_assert_fail(__FILE__, __LINE__, name);
    return v;
}

// ---------------------------------------------------------------------------------------------------- a run
typedef struct {
    double *q, *k, *v, *a;          // [S, heads or kv_heads of d_qk or d_v]; a: what the heads give
    double *k_raw;                  // k before its rotation
    double *x, *delta, *B, *C, *z;  // [S, D], [S, units], [S, groups*N] twice, [S, D] before silu
    double *s;                      // [S, D] after the gate (and its norm)
    double *part[2];                // parallel layers: what attention and SSM heads add to the fused output
    double *added[4];               // [S, d_model] to the residual stream by attention, SSM, both fused, the MLP
    int units, groups;              // SSM maps: channels, or heads of Mamba-2; groups of B and C
    const double *A_log;            // [D, N] or [units]
} plain_layer;
typedef struct {
    const plain_weights *w;
    const hy_model_spec *m;
    int S;        // positions, meta tokens first
    bool silent;  // what this layer gives is left out
    plain_layer layer[PLAIN_LAYERS];
    double *h;                         // [S, d_model] residual stream
    double *stream[PLAIN_LAYERS + 1];  // the same where it enters each layer, and where it leaves the last
    double *hidden;                    // [S, d_model] after the final norm
    double *logits;                    // [S, vocab]
    double flops;                      // of the last position: matrix products, attention, convolution, scan
    plain_memory memory;
} plain_run;

static inline bool plain_lacks(const plain_run *r, int layer, const char *kind) {
    const plain_lack *k = &r->w->lack;
    return k->shares && (k->layer < 0 || k->layer == layer) && !strcmp(k->kind, kind);
}
// What the heads of a layer give, [S, n], without those that are left out.
static inline void plain_leave_out(const plain_run *r, int layer, const char *whole, const char *share, double *y,
                                   int n) {
    const plain_lack *k = &r->w->lack;
    for (int t = 0; t < r->S; t++)
        for (int c = 0; c < n; c++)
            if (plain_lacks(r, layer, whole) || (plain_lacks(r, layer, share) && c / (n / k->shares) == k->index))
                y[t * n + c] = 0;
}

static inline double plain_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static inline double plain_silu(double x) { return x * plain_sigmoid(x); }
static inline double plain_softplus(double x) { return x > 30 ? x : log(1 + exp(x)); }

// y[S, out] = x[S, in] W' + b
static inline double *plain_linear(plain_run *r, const double *x, int in, const double *W, const double *b, int out) {
    double *y = plain_zeros(&r->memory, (size_t)r->S * (size_t)out);
    for (int t = 0; t < r->S; t++)
        for (int o = 0; o < out; o++) {
            double sum = b ? b[o] : 0;
            for (int i = 0; i < in; i++) sum += W[o * in + i] * x[t * in + i];
            y[t * out + o] = sum;
        }
    r->flops += 2.0 * in * out;
    return y;
}

// RMSNorm (LayerNorm) of n values in place; w NULL: no weight.
static inline void plain_norm(double *x, int n, const double *w, double eps, bool layer) {
    double mean = 0, square = 0;
    for (int i = 0; i < n && layer; i++) mean += x[i] / n;
    for (int i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / n;
    for (int i = 0; i < n; i++) x[i] = (x[i] - mean) / sqrt(square + eps) * (w ? w[i] : 1);
}

// A norm of the residual stream by its name, with its bias if there is one.
static inline double *plain_normed(plain_run *r, const double *x, const char *prefix, const char *name) {
    const int d = r->m->d_model;
    char of_bias[64];
    snprintf(of_bias, sizeof of_bias, "%s.bias", name);
    const double *w = plain_get(r->w, prefix, name), *b = r->m->norm_bias ? plain_get(r->w, prefix, of_bias) : NULL;
    double *y = plain_zeros(&r->memory, (size_t)r->S * (size_t)d);
    memcpy(y, x, (size_t)r->S * (size_t)d * sizeof *y);
    for (int t = 0; t < r->S; t++) {
        plain_norm(y + t * d, d, w, r->m->norm_eps, r->m->norm == HY_NORM_LAYER);
        for (int c = 0; b && c < d; c++) y[t * d + c] += b[c];
    }
    return y;
}

// Columns from .. from+n-1 of x [S, width].
static inline double *plain_columns(plain_run *r, const double *x, int width, int from, int n) {
    double *y = plain_zeros(&r->memory, (size_t)r->S * (size_t)n);
    for (int t = 0; t < r->S; t++)
        for (int c = 0; c < n; c++) y[t * n + c] = x[t * width + from + c];
    return y;
}

// ---------------------------------------------------------------------------------------------------- attention
// A key that a query may see: itself, the `window` before it (0: all before it), and every meta token.
static inline bool plain_sees(int query, int key, int window, int meta) {
    if (key > query) return false;
    return window == 0 || key < meta || key >= query - window;
}

// rope: how many leading values of a head turn.
static inline void plain_rotate(const plain_run *r, double *x, int heads, int d, const double *norm, int rope) {
    for (int t = 0; t < r->S; t++)
        for (int h = 0; h < heads; h++) {
            double *v = x + (t * heads + h) * d;
            if (norm) plain_norm(v, d, norm, r->m->norm_eps, false);
            for (int i = 0; i < rope / 2; i++) {
                const double angle = t / pow(r->m->rope_base, 2.0 * i / rope), a = v[i], b = v[i + rope / 2];
                v[i] = a * cos(angle) - b * sin(angle);
                v[i + rope / 2] = a * sin(angle) + b * cos(angle);
            }
        }
}

// Row i of the map of one head: softmax over the keys that it sees, zero elsewhere.
static inline void plain_attention_row(const plain_run *r, int layer, int head, int i, double *row) {
    const hy_layer_spec *l = &r->m->layers[layer];
    const plain_layer *own = &r->layer[layer], *src = &r->layer[l->kv_source];
    const int kv = head * l->kv_heads / l->heads, d = l->d_qk;
    double sum = 0;
    for (int j = 0; j < r->S; j++) {
        row[j] = 0;
        if (!plain_sees(i, j, l->window, r->m->meta_tokens)) continue;
        double dot = 0;
        for (int c = 0; c < d; c++)
            dot += own->q[(i * l->heads + head) * d + c] * src->k[(j * l->kv_heads + kv) * d + c];
        row[j] = exp(dot / sqrt(d));
        sum += row[j];
    }
    for (int j = 0; j <= i; j++) row[j] /= sum;
}

static inline void plain_attention(plain_run *r, int layer) {
    const hy_layer_spec *l = &r->m->layers[layer];
    plain_layer *o = &r->layer[layer];
    double *row = plain_zeros(&r->memory, (size_t)r->S);
    o->a = plain_zeros(&r->memory, (size_t)r->S * (size_t)(l->heads * l->d_v));
    for (int t = 0; t < r->S; t++)
        for (int h = 0; h < l->heads; h++) {
            const double *v = r->layer[l->kv_source].v + h * l->kv_heads / l->heads * l->d_v;
            plain_attention_row(r, layer, h, t, row);
            for (int j = 0; j <= t; j++)
                for (int c = 0; c < l->d_v; c++)
                    o->a[(t * l->heads + h) * l->d_v + c] += row[j] * v[j * l->kv_heads * l->d_v + c];
        }
    for (int j = 0; j < r->S; j++)
        if (plain_sees(r->S - 1, j, l->window, r->m->meta_tokens)) r->flops += 2.0 * l->heads * (l->d_qk + l->d_v);
}

static inline void plain_heads(plain_run *r, int layer, const char *prefix, const double *proj, int width) {
    const hy_layer_spec *l = &r->m->layers[layer];
    plain_layer *o = &r->layer[layer];
    const int nq = l->heads * l->d_qk, nk = l->kv_heads * l->d_qk;
    const int rope = r->m->rope == HY_ROPE_NONE || l->no_rope ? 0 : l->rotary ? l->rotary : l->d_qk;
    o->q = plain_columns(r, proj, width, 0, nq);
    plain_rotate(r, o->q, l->heads, l->d_qk, plain_find(r->w, prefix, "q_norm"), rope);
    if (l->kv_source == layer) {
        o->k = plain_columns(r, proj, width, nq, nk);
        o->k_raw = plain_columns(r, proj, width, nq, nk);
        plain_rotate(r, o->k_raw, l->kv_heads, l->d_qk, plain_find(r->w, prefix, "k_norm"), 0);
        o->v = plain_columns(r, proj, width, nq + nk, l->kv_heads * l->d_v);
        plain_rotate(r, o->k, l->kv_heads, l->d_qk, plain_find(r->w, prefix, "k_norm"), rope);
    }
    plain_attention(r, layer);
}

// ---------------------------------------------------------------------------------------------------- SSM
// Causal convolution of each column, then silu.
static inline double *plain_conv(plain_run *r, int layer, const double *x, int width, int K, const double *w,
                                 const double *b) {
    double *y = plain_zeros(&r->memory, (size_t)r->S * (size_t)width);
    for (int i = 0; i < r->S * width && plain_lacks(r, layer, "conv"); i++) y[i] = plain_silu(x[i]);
    if (plain_lacks(r, layer, "conv")) return y;
    for (int t = 0; t < r->S; t++)
        for (int c = 0; c < width; c++) {
            double sum = b ? b[c] : 0;
            for (int back = 0; back < K && back <= t; back++)
                sum += w[c * K + K - 1 - back] * x[(t - back) * width + c];
            y[t * width + c] = plain_silu(sum);
        }
    r->flops += 2.0 * width * K;
    return y;
}

static inline double plain_rate(const plain_run *r, int layer, int unit, int n) {
    const hy_layer_spec *l = &r->m->layers[layer];
    return -exp(r->layer[layer].A_log[l->ssm_kind == HY_SSM_MAMBA2 ? unit : unit * l->d_state + n]);
}

// Row i of the hidden attention of one unit, from the formula: C_i exp(A sum of the steps after j) delta_j B_j. sizes:
// the terms of that product over the states without their signs.
static inline void plain_alpha_terms(const plain_run *r, int layer, int unit, int i, bool sizes, double *row) {
    const plain_layer *o = &r->layer[layer];
    const int N = r->m->layers[layer].d_state, per = o->units / o->groups, g = unit / per;
    double after = 0;
    memset(row, 0, (size_t)r->S * sizeof *row);
    for (int j = i; j >= 0; j--) {
        const double step = o->delta[j * o->units + unit];
        for (int n = 0; n < N; n++) {
            const double term = o->C[(i * o->groups + g) * N + n] * exp(plain_rate(r, layer, unit, n) * after) * step *
                                o->B[(j * o->groups + g) * N + n];
            row[j] += sizes ? fabs(term) : term;
        }
        after += step;
    }
}
static inline void plain_alpha_row(const plain_run *r, int layer, int unit, int i, double *row) {
    plain_alpha_terms(r, layer, unit, i, false, row);
}

// The scan as a recurrence, with D x.
static inline double *plain_scan(plain_run *r, int layer, const double *skip) {
    const hy_layer_spec *l = &r->m->layers[layer];
    const plain_layer *o = &r->layer[layer];
    const int D = l->d_inner, N = l->d_state, per = D / o->units;
    double *y = plain_zeros(&r->memory, (size_t)r->S * (size_t)D), *state = plain_zeros(&r->memory, (size_t)D * N);
    for (int t = 0; t < r->S; t++)
        for (int c = 0; c < D; c++) {
            const int u = c / per, g = u / (o->units / o->groups);
            const double x = o->x[t * D + c], step = o->delta[t * o->units + u];
            y[t * D + c] = skip[u] * x;
            for (int n = 0; n < N; n++) {
                double *h = &state[c * N + n];
                *h = exp(step * plain_rate(r, layer, u, n)) * *h + step * o->B[(t * o->groups + g) * N + n] * x;
                y[t * D + c] += o->C[(t * o->groups + g) * N + n] * *h;
            }
        }
    // of a state: decay (with its exponential, where each state has one of its own), input, sum, output; of a channel:
    // D x and gate, and in Mamba-1 its step
    r->flops += l->ssm_kind == HY_SSM_MAMBA2 ? (5.0 * N + 3) * D : (7.0 * N + 5) * D;
    return y;
}

static inline void plain_inner_norm(const plain_run *r, const hy_layer_spec *l, double *x, int n, const double *w) {
    const double eps = l->inner_norm_eps != 0 ? l->inner_norm_eps : r->m->norm_eps;
    for (int t = 0; t < r->S && l->inner_norms != HY_INNER_NORMS_NONE; t++) plain_norm(x + t * n, n, w, eps, false);
}

static inline void plain_mamba(plain_run *r, int layer, const char *prefix, const double *proj, int width, int from) {
    const hy_layer_spec *l = &r->m->layers[layer];
    plain_layer *o = &r->layer[layer];
    const int D = l->d_inner, N = l->d_state, R = l->dt_rank, all = R + 2 * N;
    o->units = D, o->groups = 1, o->A_log = plain_get(r->w, prefix, "A_log");
    o->x = plain_conv(r, layer, plain_columns(r, proj, width, from, D), D, l->d_conv,
                      plain_get(r->w, prefix, "conv.weight"), plain_find(r->w, prefix, "conv.bias"));
    o->z = plain_columns(r, proj, width, from + D, D);
    const double *xp = plain_linear(r, o->x, D, plain_get(r->w, prefix, "x_proj"), NULL, all);
    double *dt = plain_columns(r, xp, all, 0, R);
    o->B = plain_columns(r, xp, all, R, N);
    o->C = plain_columns(r, xp, all, R + N, N);
    plain_inner_norm(r, l, dt, R, plain_find(r->w, prefix, "dt_norm"));
    plain_inner_norm(r, l, o->B, N, plain_find(r->w, prefix, "B_norm"));
    plain_inner_norm(r, l, o->C, N, plain_find(r->w, prefix, "C_norm"));
    o->delta =
        plain_linear(r, dt, R, plain_get(r->w, prefix, "dt_proj.weight"), plain_get(r->w, prefix, "dt_proj.bias"), D);
    for (int i = 0; i < r->S * D; i++) o->delta[i] = plain_softplus(o->delta[i]);
    o->s = plain_scan(r, layer, plain_get(r->w, prefix, "D"));
    for (int i = 0; i < r->S * D; i++) o->s[i] *= plain_silu(o->z[i]);
}

static inline void plain_mamba2(plain_run *r, int layer, const char *prefix, const double *proj, int width, int from) {
    const hy_layer_spec *l = &r->m->layers[layer];
    plain_layer *o = &r->layer[layer];
    const int D = l->d_inner, GN = l->groups * l->d_state, H = D / l->head_dim, wide = D + 2 * GN;
    const double *bias = plain_get(r->w, prefix, "dt_bias"), *norm = plain_find(r->w, prefix, "gate_norm");
    o->units = H, o->groups = l->groups, o->A_log = plain_get(r->w, prefix, "A_log");
    o->z = plain_columns(r, proj, width, from, D);
    const double *c = plain_conv(r, layer, plain_columns(r, proj, width, from + D, wide), wide, l->d_conv,
                                 plain_get(r->w, prefix, "conv.weight"), plain_find(r->w, prefix, "conv.bias"));
    o->x = plain_columns(r, c, wide, 0, D), o->B = plain_columns(r, c, wide, D, GN),
    o->C = plain_columns(r, c, wide, D + GN, GN);
    o->delta = plain_columns(r, proj, width, from + D + wide, H);
    for (int i = 0; i < r->S * H; i++) {
        o->delta[i] = fmax(l->dt_min, plain_softplus(o->delta[i] + bias[i % H]));
        if (l->dt_max != 0) o->delta[i] = fmin(l->dt_max, o->delta[i]);
    }
    o->s = plain_scan(r, layer, plain_get(r->w, prefix, "D"));
    for (int t = 0; t < r->S; t++)
        for (int g = 0, n = D / l->groups; g < l->groups; g++) {
            double *y = o->s + t * D + g * n;
            if (norm && l->norm_before_gate) plain_norm(y, n, norm + g * n, r->m->norm_eps, false);
            for (int i = 0; i < n; i++) y[i] *= plain_silu(o->z[t * D + g * n + i]);
            if (norm && !l->norm_before_gate) plain_norm(y, n, norm + g * n, r->m->norm_eps, false);
        }
}

// ---------------------------------------------------------------------------------------------------- blocks
enum { PLAIN_ATTENTION, PLAIN_SSM, PLAIN_FUSED, PLAIN_MLP };
static inline void plain_add(plain_run *r, int layer, int part, double *y) {
    if (r->silent) return;
    r->layer[layer].added[part] = y;
    for (int i = 0; i < r->S * r->m->d_model; i++) r->h[i] += y[i];
}

// h += W_out y (by a fixed factor)
static inline void plain_out(plain_run *r, int layer, int part, const char *prefix, const char *name, const double *y,
                             int n, double by) {
    double *scaled = plain_columns(r, y, n, 0, n);
    char bias[64];
    snprintf(bias, sizeof bias, "%s.bias", name);
    for (int i = 0; i < r->S * n; i++) scaled[i] *= by;
    plain_add(r, layer, part,
              plain_linear(r, scaled, n, plain_get(r->w, prefix, name), plain_find(r->w, prefix, bias), r->m->d_model));
}

// One kind's output at its norm, times beta, its fixed factor and its share.
static inline double *plain_part(plain_run *r, const hy_layer_spec *l, const double *y, int n, const double *beta,
                                 double by, const double *gate, bool attention) {
    double *p = plain_columns(r, y, n, 0, n);
    for (int t = 0; t < r->S; t++) {
        plain_norm(p + t * n, n, beta, r->m->norm_eps, false);
        for (int c = 0; c < n; c++) {
            const double g = gate ? plain_sigmoid(gate[t * l->heads + c * l->heads / n]) : 0.5;
            p[t * n + c] *= by * (l->fusion == HY_FUSION_CONCAT ? 1 : attention ? g : 1 - g);
        }
    }
    return p;
}

static inline void plain_fuse(plain_run *r, int layer, const char *prefix, const double *u) {
    const hy_layer_spec *l = &r->m->layers[layer];
    plain_layer *o = &r->layer[layer];
    const int na = l->heads * l->d_v, ns = l->d_inner, n = l->fusion == HY_FUSION_CONCAT ? na + ns : ns;
    const double *gate = NULL;
    if (l->fusion == HY_FUSION_GATE)
        gate = plain_linear(r, u, r->m->d_model, plain_get(r->w, prefix, "fuse.gate.weight"),
                            plain_get(r->w, prefix, "fuse.gate.bias"), l->heads);
    o->part[0] = plain_part(r, l, o->a, na, plain_get(r->w, prefix, "fuse.attn_norm"), r->m->multipliers.attention_out,
                            gate, true);
    o->part[1] =
        plain_part(r, l, o->s, ns, plain_get(r->w, prefix, "fuse.ssm_norm"), r->m->multipliers.ssm_out, gate, false);
    double *z = plain_zeros(&r->memory, (size_t)r->S * (size_t)n);
    for (int t = 0; t < r->S; t++) {
        for (int c = 0; c < na; c++) z[t * n + c] += o->part[0][t * na + c];
        for (int c = 0; c < ns; c++) z[t * n + n - ns + c] += o->part[1][t * ns + c];
    }
    plain_out(r, layer, PLAIN_FUSED, prefix, "out_proj", z, n, 1);
}

static inline void plain_block(plain_run *r, int layer, const char *prefix, bool attention, bool ssm) {
    const hy_layer_spec *l = &r->m->layers[layer];
    plain_layer *o = &r->layer[layer];
    const int na = !attention ? 0 : l->heads * l->d_qk + (l->kv_source == layer ? l->kv_heads * (l->d_qk + l->d_v) : 0);
    const int m2 = l->ssm_kind == HY_SSM_MAMBA2 ? 2 * l->groups * l->d_state + l->d_inner / l->head_dim : 0;
    const int width = na + (ssm ? 2 * l->d_inner + m2 : 0);
    const double by_a = r->m->multipliers.attention_out, by_s = r->m->multipliers.ssm_out;
    const double *u = plain_normed(r, r->h, prefix, "norm");
    const double *proj = plain_linear(r, u, r->m->d_model, plain_get(r->w, prefix, "in_proj"),
                                      plain_find(r->w, prefix, "in_proj.bias"), width);
    if (attention) plain_heads(r, layer, prefix, proj, width);
    if (attention) plain_leave_out(r, layer, "attention", "head", o->a, l->heads * l->d_v);
    if (ssm) (m2 ? plain_mamba2 : plain_mamba)(r, layer, prefix, proj, width, na);
    if (ssm) plain_leave_out(r, layer, "ssm", "group", o->s, l->d_inner);
    if (attention && ssm && l->fusion != HY_FUSION_SUM) {
        plain_fuse(r, layer, prefix, u);
        return;
    }
    if (attention)
        plain_out(r, layer, PLAIN_ATTENTION, prefix, ssm ? "attn_out_proj" : "out_proj", o->a, l->heads * l->d_v, by_a);
    if (ssm) plain_out(r, layer, PLAIN_SSM, prefix, attention ? "ssm_out_proj" : "out_proj", o->s, l->d_inner, by_s);
    for (int k = 0; k < 2 && attention && ssm; k++) {
        const int n = k ? l->d_inner : l->heads * l->d_v;
        o->part[k] = plain_columns(r, k ? o->s : o->a, n, 0, n);
        for (int i = 0; i < r->S * n; i++) o->part[k][i] *= k ? by_s : by_a;
    }
}

static inline void plain_mlp(plain_run *r, int layer, const char *prefix) {
    const hy_layer_spec *l = &r->m->layers[layer];
    const bool glu = l->mlp == HY_MLP_SILU;
    const int F = l->d_ff, d = r->m->d_model, up = glu ? 2 * F : F;
    const double *u = plain_normed(r, r->h, prefix, "mlp.norm");
    const double *y =
        plain_linear(r, u, d, plain_get(r->w, prefix, "mlp.up"), plain_find(r->w, prefix, "mlp.up.bias"), up);
    double *a = plain_zeros(&r->memory, (size_t)r->S * (size_t)F);
    for (int t = 0; t < r->S; t++)
        for (int i = 0; i < F; i++) {
            const double v = y[t * up + i];
            a[t * F + i] = glu ? plain_silu(v) * y[t * up + F + i] : v > 0 ? v * v : 0;
        }
    plain_add(r, layer, PLAIN_MLP,
              plain_linear(r, a, F, plain_get(r->w, prefix, "mlp.down"), plain_find(r->w, prefix, "mlp.down.bias"), d));
}

// Runs T text tokens behind the meta tokens. plain_run_free gives the memory back.
static inline void plain_forward(const plain_weights *w, const int32_t *ids, int T, plain_run *r) {
    const hy_model_spec *m = w->m;
    const int d = m->d_model, M = m->meta_tokens;
    *r = (plain_run){.w = w, .m = m, .S = M + T};
    HY_ASSERT(m->n_layers <= PLAIN_LAYERS && (m->rope == HY_ROPE_NONE || m->rope == HY_ROPE_DEFAULT));
    r->h = plain_zeros(&r->memory, (size_t)r->S * (size_t)d);
    const double *table = plain_get(w, "", "embed");
    for (int t = 0; t < r->S; t++)
        memcpy(r->h + t * d, t < M ? plain_get(w, "", "meta") + t * d : table + ids[t - M] * d,
               (size_t)d * sizeof *table);
    for (int i = M * d; m->positions == HY_POSITIONS_LEARNED && i < r->S * d; i++)
        r->h[i] += plain_get(w, "", "positions")[i - M * d];
    for (int i = 0; i < m->n_layers; i++) {
        const hy_mixer x = m->layers[i].mixer;
        for (int k = 0; w->shift && w->shift_at == i && k < r->S * d; k++) r->h[k] += w->shift[k];
        r->stream[i] = plain_columns(r, r->h, d, 0, d);
        r->silent = plain_lacks(r, i, "");  // others may use its keys
        char first[32], second[40];
        snprintf(first, sizeof first, "layers.%d.", i);
        snprintf(second, sizeof second, "%ssecond.", first);
        if (x == HY_MIXER_ATTENTION_SSM || x == HY_MIXER_SSM_ATTENTION) {
            plain_block(r, i, first, x == HY_MIXER_ATTENTION_SSM, x == HY_MIXER_SSM_ATTENTION);
            plain_block(r, i, second, x == HY_MIXER_SSM_ATTENTION, x == HY_MIXER_ATTENTION_SSM);
        } else if (x != HY_MIXER_NONE) {
            plain_block(r, i, first, x != HY_MIXER_SSM, x != HY_MIXER_ATTENTION);
        }
        if (m->layers[i].mlp != HY_MLP_NONE && !plain_lacks(r, i, "mlp")) plain_mlp(r, i, first);
    }
    r->stream[m->n_layers] = r->h;
    r->hidden = plain_normed(r, r->h, "", "final_norm");
    r->logits = plain_linear(r, r->hidden, d, m->tied ? table : plain_get(w, "", "head"), NULL, m->vocab);
}

static inline void plain_run_free(plain_run *r) { plain_release(&r->memory); }

// Loss in nats of a wanted token at a position, and the likeliest token there.
static inline double plain_nll(const plain_run *r, int position, int32_t wanted, int *best) {
    const double *z = r->logits + position * r->m->vocab;
    double sum = 0;
    *best = 0;
    for (int v = 0; v < r->m->vocab; v++) {
        sum += exp(z[v] - z[wanted]);
        if (z[v] > z[*best]) *best = v;
    }
    return log(sum);
}
#endif
