// second_opinion_maps.h - maps, receptive fields and output sizes once more, from the values of plain_model.h.
#ifndef HY_SECOND_OPINION_MAPS_H
#define HY_SECOND_OPINION_MAPS_H
#include "tests/unit/second_opinion.h"

typedef enum { REDUCE_MEAN_ABS, REDUCE_ABS_MEAN, REDUCE_MEAN_ROWS } reduce_how;

static inline reduce_how reduce_of(const char *options) {
    return option_is(options, "reduce", "abs_mean")    ? REDUCE_ABS_MEAN
           : option_is(options, "reduce", "mean_rows") ? REDUCE_MEAN_ROWS
                                                       : REDUCE_MEAN_ABS;
}

static inline void to_one(double *row, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += row[j] = fabs(row[j]);
    for (int j = 0; j < n && sum > 0; j++) row[j] /= sum;
}

// Factor of a unit's row: the gate of its channel; of a head of channels their mean.
static inline double gate_of(const plain_run *r, int layer, int unit, int i, bool size) {
    const plain_layer *o = &r->layer[layer];
    const int D = r->m->layers[layer].d_inner, per = D / o->units;
    double sum = 0;
    for (int c = unit * per; c < (unit + 1) * per; c++) {
        const double g = plain_silu(o->z[i * D + c]);
        sum += size ? fabs(g) : g;
    }
    return sum / per;
}

// Row i of the one map that all units of an SSM make, before its values are made to add to 1.
static inline void raw_ssm_row(const plain_run *r, int layer, reduce_how how, bool gate, int i, double *out) {
    const int U = r->layer[layer].units, S = r->S;
    double *row = hy_xcalloc((size_t)S, sizeof *row);
    memset(out, 0, (size_t)S * sizeof *out);
    for (int u = 0; u < U; u++) {
        plain_alpha_row(r, layer, u, i, row);
        if (how == REDUCE_MEAN_ROWS) to_one(row, S);
        const double by = gate && how != REDUCE_MEAN_ROWS ? gate_of(r, layer, u, i, how == REDUCE_MEAN_ABS) : 1;
        for (int j = 0; j <= i; j++) out[j] += by * (how == REDUCE_MEAN_ABS ? fabs(row[j]) : row[j]) / U;
    }
    free(row);
}
static inline void ssm_row(const plain_run *r, int layer, reduce_how how, bool gate, int i, double *out) {
    raw_ssm_row(r, layer, how, gate, i, out);
    to_one(out, r->S);
}

static inline bool has_attention(const plain_run *r, int layer) { return r->layer[layer].a != NULL; }
static inline bool has_ssm(const plain_run *r, int layer) { return r->layer[layer].s != NULL; }

// Row i of a map; index -1: all heads, all units. Rows sum to 1.
static inline void map_row(const plain_run *r, int layer, const char *kind, int index, reduce_how how, bool gate, int i,
                           double *out) {
    const int S = r->S, H = r->m->layers[layer].heads;
    double *row = hy_xcalloc((size_t)S, sizeof *row);
    memset(out, 0, (size_t)S * sizeof *out);
    const bool layers = !strcmp(kind, "layer"), both = layers && has_attention(r, layer) && has_ssm(r, layer);
    if (!strcmp(kind, "attention") || (layers && has_attention(r, layer)))
        for (int h = index < 0 ? 0 : index; h < (index < 0 ? H : index + 1); h++) {
            plain_attention_row(r, layer, h, i, row);
            for (int j = 0; j <= i; j++) out[j] += row[j] / (index < 0 ? H : 1) / (both ? 2 : 1);
        }
    if (!strcmp(kind, "ssm") || (layers && has_ssm(r, layer))) {
        if (index < 0)
            ssm_row(r, layer, how, gate, i, row);
        else
            plain_alpha_row(r, layer, index, i, row), to_one(row, S);
        for (int j = 0; j <= i; j++) out[j] += row[j] / (both ? 2 : 1);
    }
    free(row);
}

// Row i of a map of one kind of heads as it is: softmax, hidden attention with its signs or the mean of their sizes.
static inline void raw_row(const plain_run *r, int layer, const char *kind, int index, bool signs, int i, double *out) {
    if (!strcmp(kind, "attention") || (!strcmp(kind, "layer") && has_attention(r, layer)))
        map_row(r, layer, "attention", index, REDUCE_MEAN_ABS, false, i, out);
    else if (index >= 0)
        plain_alpha_row(r, layer, index, i, out);
    else
        raw_ssm_row(r, layer, signs ? REDUCE_ABS_MEAN : REDUCE_MEAN_ABS, false, i, out);
}

// By how much each value of a row may be off if every term that it is summed of is off by one part: the sums over units
// and states cancel, 400 to 1 in places, and the program has them in float32. unit: one unit; -1: the map of all.
static inline void ssm_errors(const plain_run *r, int layer, int unit, reduce_how how, bool gate, int i, double *out) {
    const int U = r->layer[layer].units, S = r->S;
    double *row = hy_xcalloc(2 * (size_t)S, sizeof *row), *size = row + S, whole = 0;
    memset(out, 0, (size_t)S * sizeof *out);
    for (int u = unit < 0 ? 0 : unit; u < (unit < 0 ? U : unit + 1); u++) {
        double by = unit >= 0 ? 1 : 1.0 / U;
        plain_alpha_terms(r, layer, u, i, true, size);
        if (unit < 0 && how == REDUCE_MEAN_ROWS) {
            plain_alpha_row(r, layer, u, i, row);
            for (int j = 0; j < S; j++) whole += fabs(row[j]);
            by /= whole > 0 ? whole : 1, whole = 0;
        } else if (unit < 0 && gate) {
            by *= gate_of(r, layer, u, i, true);
        }
        for (int j = 0; j <= i; j++) out[j] += by * size[j];
    }
    free(row);
}

// The same of a row as it is stored: raw, or made to add to 1.
static inline void map_errors(const plain_run *r, int layer, const char *kind, int index, reduce_how how, bool gate,
                              bool raw, int i, double *out) {
    const bool layers = !strcmp(kind, "layer"), ssm = !strcmp(kind, "ssm") || (layers && has_ssm(r, layer));
    const bool attention = !strcmp(kind, "attention") || (layers && has_attention(r, layer));
    double *row = hy_xcalloc(2 * (size_t)r->S, sizeof *row), *size = row + r->S, sum = 0, sizes = 0;
    memset(out, 0, (size_t)r->S * sizeof *out);
    if (attention) map_row(r, layer, "attention", index, how, gate, i, row);
    for (int j = 0; attention && j <= i; j++) out[j] = (raw ? 1 : 2) * row[j] / (ssm ? 2 : 1);
    if (ssm && (!attention || !raw)) {
        ssm_errors(r, layer, index, how, gate, i, size);
        index < 0 ? raw_ssm_row(r, layer, how, gate, i, row) : plain_alpha_row(r, layer, index, i, row);
        for (int j = 0; j <= i; j++) sum += fabs(row[j]), sizes += size[j];
        for (int j = 0; j <= i; j++)
            out[j] += (raw ? size[j] : (size[j] + fabs(row[j]) / sum * sizes) / sum) / (attention ? 2 : 1);
    }
    free(row);
}

// Keys that row i of a map may look at.
static inline bool map_sees(const plain_run *r, int layer, const char *kind, int i, int j) {
    const bool attention_only = !strcmp(kind, "attention") || (!strcmp(kind, "layer") && !has_ssm(r, layer));
    return plain_sees(i, j, attention_only ? r->m->layers[layer].window : 0, r->m->meta_tokens);
}

// ---------------------------------------------------------------------------------------------------- statistics
typedef struct {
    double entropy, relative, distance, meta, bos, self, cross;
} map_statistics;

// Over the rows of real tokens, of each head where there are heads, before position `end`.
static inline map_statistics statistics_of(const plain_run *r, int layer, const char *kind, const char *options,
                                           int end) {
    const bool heads = !strcmp(kind, "attention"), gate = option_is(options, "gate", "true");
    const int M = r->m->meta_tokens, maps = heads ? r->m->layers[layer].heads : 1;
    map_statistics t = {0};
    double *row = hy_xcalloc((size_t)r->S, sizeof *row);
    int wide = 0;
    for (int h = 0; h < maps; h++)
        for (int i = M; i < end; i++) {
            int seen = 0;
            double entropy = 0;
            map_row(r, layer, kind, heads ? h : -1, reduce_of(options), gate, i, row);
            for (int j = 0; j <= i; j++) {
                seen += map_sees(r, layer, kind, i, j);
                entropy -= row[j] > 0 ? row[j] * log(row[j]) : 0;
                t.distance += row[j] * (i - j);
                *(j < M ? &t.meta : j == i ? &t.self : j == M ? &t.bos : &t.cross) += row[j];
            }
            t.entropy += entropy;
            if (seen > 1) t.relative += entropy / log(seen), wide++;
        }
    const double n = (double)maps * (end - M);
    t.entropy /= n, t.distance /= n, t.meta /= n, t.bos /= n, t.self /= n, t.cross /= n;
    t.relative = wide ? t.relative / wide : NAN;
    free(row);
    return t;
}

// Entropy of the share that each position before `end` has in a unit's steps; mean over the units.
static inline double step_entropy_of(const plain_run *r, int layer, int end) {
    const plain_layer *o = &r->layer[layer];
    double mean = 0;
    for (int u = 0; u < o->units; u++) {
        double sum = 0;
        for (int i = 0; i < end; i++) sum += o->delta[i * o->units + u];
        for (int i = 0; i < end; i++) {
            const double p = o->delta[i * o->units + u] / sum;
            mean -= p * log(p) / o->units;
        }
    }
    return mean;
}

// ---------------------------------------------------------------------------------------------------- receptive field
// Expected distance that row `last` looks back, from position `first` on.
static inline double distance_of(const double *row, int last, int first) {
    double mass = 0, sum = 0;
    for (int s = first; s <= last; s++) mass += row[s], sum += row[s] * (last - s);
    return sum / mass;
}

typedef struct {
    double attention, group, channels;  // NAN: the layer has none
} layer_distances;

static inline layer_distances distances_of(const plain_run *r, int layer, const char *options, int end) {
    const bool renormalised = option_is(options, "meta", "renormalised"), gate = option_is(options, "gate", "true");
    const int first = renormalised ? r->m->meta_tokens : 0, last = end - 1;
    layer_distances d = {NAN, NAN, NAN};
    double *row = hy_xcalloc((size_t)r->S, sizeof *row);
    if (has_attention(r, layer)) d.attention = 0;
    for (int h = 0; has_attention(r, layer) && h < r->m->layers[layer].heads; h++) {
        map_row(r, layer, "attention", h, REDUCE_MEAN_ABS, false, last, row);
        d.attention += distance_of(row, last, first) / r->m->layers[layer].heads;
    }
    if (has_ssm(r, layer)) {
        ssm_row(r, layer, reduce_of(options), gate, last, row);
        d.group = distance_of(row, last, first);
        d.channels = 0;
        for (int u = 0; u < r->layer[layer].units; u++) {
            map_row(r, layer, "ssm", u, REDUCE_MEAN_ABS, false, last, row);
            d.channels += distance_of(row, last, first) / r->layer[layer].units;
        }
    }
    free(row);
    return d;
}

// Sum over the heads of a layer of their distances, and how many there are (0: none of the wanted kinds).
static inline double layer_field(const plain_run *r, int layer, const char *options, int end, double *heads) {
    const layer_distances d = distances_of(r, layer, options, end);
    const bool channels = option_is(options, "ssm", "channels");
    const double ssm = channels ? d.channels : d.group, n_ssm = channels ? r->layer[layer].units : 1;
    const bool a = !isnan(d.attention) && !option_is(options, "heads", "ssm");
    const bool s = !isnan(d.group) && !option_is(options, "heads", "attention");
    const bool pooled = option_is(options, "heads", "pooled");
    const double wa = a ? pooled ? r->m->layers[layer].heads : 1 : 0, ws = s ? pooled ? n_ssm : 1 : 0;
    *heads = wa + ws;
    return (a ? wa * d.attention : 0) + (s ? ws * ssm : 0);
}

// Equation 5: sum over layers n and heads h of 2 M (S - s) (N - n + 1) / (H N (N + 1)), where layers without such heads
// do not count, or count as 0. NAN: no such heads anywhere.
static inline double field_of(const plain_run *r, const char *options, int end) {
    const bool zero = option_is(options, "missing", "zero"), uniform = option_is(options, "uniform", "true");
    double sum[PLAIN_LAYERS], heads[PLAIN_LAYERS], erf = 0;
    int N = 0, n = 0, some = 0;
    for (int i = 0; i < r->m->n_layers; i++) {
        sum[i] = layer_field(r, i, options, end, &heads[i]);
        some += heads[i] > 0;
        N += zero || heads[i] > 0;
    }
    for (int i = 0; i < r->m->n_layers; i++) {
        if (heads[i] == 0 && !zero) continue;
        n++;
        if (heads[i] > 0) erf += sum[i] / heads[i] * (uniform ? 1.0 / N : 2.0 * (N - n + 1) / (N * (N + 1.0)));
    }
    return some ? erf : NAN;
}

// ---------------------------------------------------------------------------------------------------- outputs
// Root mean square over positions first .. end-1 of n columns.
static inline double rms_of(const double *v, int n, int first, int end) {
    double sum = 0;
    for (int i = first * n; i < end * n; i++) sum += v[i] * v[i];
    return sqrt(sum / (n * (end - first)));
}
#endif
