// reach.c - see reach.h.
#include "analysis/probe/reach.h"

#include <math.h>
#include <stdlib.h>

#include "analysis/probe/ssm_alpha.h"
#include "core/base/parallel.h"

const double hy_reach_quantile[HY_REACH_QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

void hy_reach_row(const double *a, int i, int first, double mass, double *span, double *distance) {
    double total = 0, far = 0, seen = 0;
    *span = *distance = 0;
    for (int j = first; j <= i; j++) {
        total += fabs(a[j]);
        far += fabs(a[j]) * (i - j);
    }
    if (total == 0) return;
    *distance = far / total;  // NaN stays NaN
    int j = i;
    for (; j > first; j--) {
        seen += fabs(a[j]);
        if (seen >= mass * total * (1 - 1e-12)) break;
    }
    *span = i - j;
}

// ---------------------------------------------------------------------------------------------------- rows
static hy_status attention(const hy_map_values *v, const hy_reach_options *o, int first, int rows,
                           hy_reach_layer *out) {
    const hy_map_options m = {.norm = HY_MAP_ROWSUM};
    double *row = hy_alloc((size_t)v->S * sizeof *row);
    hy_status s = row ? HY_OK : HY_ENOMEM;
    for (int h = 0; h < v->heads && !s; h++) {
        out->span[h] = out->distance[h] = 0;
        for (int i = v->S - rows; i < v->S && !s; i++) {
            double span, distance;
            s = hy_map_rows(v, HY_MAP_ATTENTION, h, &m, i, 1, row);
            if (s) break;
            hy_reach_row(row, i, first, o->mass, &span, &distance);
            out->span[h] += span / rows;
            out->distance[h] += distance / rows;
        }
    }
    free(row);
    return s;
}

typedef struct {
    const hy_map_values *v;
    const hy_reach_options *o;
    const hy_ssm_alpha *a;
    int first, rows;
    double *row;                                        // [HY_SSM_BLOCK, S]
    double span[HY_SSM_BLOCK], distance[HY_SSM_BLOCK];  // of the channels of the block
} ssm_ctx;
static void ssm_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    ssm_ctx *c = (ssm_ctx *)ctx;
    for (long k = from; k < to; k++) {
        double *row = c->row + (size_t)k * (size_t)c->v->S;
        c->span[k] = c->distance[k] = 0;
        for (int i = c->v->S - c->rows; i < c->v->S; i++) {
            double span, distance;
            hy_ssm_alpha_row(c->a, c->a->first + (int)k, i, row);
            hy_reach_row(row, i, c->first, c->o->mass, &span, &distance);
            c->span[k] += span / c->rows;
            c->distance[k] += distance / c->rows;
        }
    }
}

static hy_status ssm(const hy_map_values *v, const hy_reach_options *o, int first, int rows, hy_reach_layer *out) {
    const int units = out->channels;
    hy_ssm_alpha a;
    HY_TRY(hy_ssm_alpha_open(&a, v, v->S));
    ssm_ctx c = {.v = v, .o = o, .a = &a, .first = first, .rows = rows};
    c.row = hy_alloc((size_t)HY_SSM_BLOCK * (size_t)v->S * sizeof *c.row);
    hy_status s = c.row ? HY_OK : HY_ENOMEM;
    for (int d = 0; d < units && !s; d += HY_SSM_BLOCK) {
        const int n = units - d < HY_SSM_BLOCK ? units - d : HY_SSM_BLOCK;
        hy_ssm_alpha_units(&a, d, n);
        hy_parallel(0, n, 1, ssm_rows, &c);
        for (int k = 0; k < n; k++) {
            out->ssm_span += c.span[k] / units;
            out->ssm_distance += c.distance[k] / units;
        }
        if (hy_interrupted) s = hy_error(HY_EINTR, "interrupted");
    }
    free(c.row);
    hy_ssm_alpha_close(&a);
    return s;
}

// ---------------------------------------------------------------------------------------------------- decay
static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Of `unit` and a rate A: what is kept of one token to the next, as -log.
static double loss_of(const hy_map_values *v, const hy_reach_options *o, int first, int unit, double rate) {
    const double n = v->S - first;
    double sum = 0;
    for (int t = first; t < v->S; t++) {
        const double x = hy_ssm_delta(v, t, unit) * rate;
        sum += o->mean ? exp(-x) : x;
    }
    return o->mean ? -log(sum / n) : sum / n;
}

static hy_status decay(const hy_map_values *v, const hy_reach_options *o, int first, hy_reach_layer *out) {
    const int units = out->channels, states = v->ssm_heads ? 1 : v->N;  // a Mamba-2 head has one rate
    const size_t n = (size_t)units * (size_t)states;
    double *life = hy_alloc(n * sizeof *life);
    if (!life) return HY_ENOMEM;
    for (int u = 0; u < units; u++)
        for (int k = 0; k < states; k++) {
            const size_t i = (size_t)u * (size_t)states + (size_t)k;
            const double lost = loss_of(v, o, first, u, exp((double)v->A_log[i]));
            life[i] = log(2) / lost;
            if (life[i] > HY_REACH_LONGEST || lost <= 0) life[i] = HY_REACH_LONGEST;
            out->long_memory += life[i] >= out->positions ? 1.0 / (double)n : 0;
        }
    double all = 0;
    for (size_t i = 0; i < n; i++) all += life[i];  // NaN has no place in an order
    qsort(life, n, sizeof *life, by_size);
    for (int q = 0; q < HY_REACH_QUANTILES; q++) {
        const double at = hy_reach_quantile[q] * (double)(n - 1);
        const size_t i = (size_t)at, j = i + 1 < n ? i + 1 : i;
        out->half_life[q] = isnan(all) ? NAN : life[i] + (at - (double)i) * (life[j] - life[i]);
    }
    free(life);
    return HY_OK;
}

hy_status hy_reach_measure(const hy_map_values *v, const hy_reach_options *o, hy_reach_layer *out) {
    const int first = o->text ? v->meta : 0, text = v->S - v->meta, rows = o->rows < text ? o->rows : text;
    *out = (hy_reach_layer){.layer = v->layer,
                            .positions = v->S - first,
                            .heads = v->heads,
                            .channels = v->D > 0 ? hy_map_ssm_count(v) : 0,
                            .span = out->span,
                            .distance = out->distance};
    if (v->heads > 0) HY_TRY(attention(v, o, first, rows, out));
    if (v->D > 0) HY_TRY(ssm(v, o, first, rows, out));
    return v->D > 0 ? decay(v, o, first, out) : HY_OK;
}
