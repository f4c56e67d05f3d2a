// erf.c - see erf.h.
#include "analysis/probe/erf.h"

#include <math.h>
#include <stdlib.h>

#include "analysis/probe/ssm_alpha.h"

void hy_erf_options_text(const hy_erf_options *o, hy_buf *out) {
    hy_choice_text(out, "ssm", HY_ERF_SSM_CHOICES, (int)o->ssm);
    hy_choice_text(out, "heads", HY_ERF_HEADS_CHOICES, (int)o->heads);
    hy_choice_text(out, "meta", HY_ERF_META_CHOICES, (int)o->meta);
    hy_choice_text(out, "missing", HY_ERF_MISSING_CHOICES, (int)o->missing);
    hy_choice_text(out, "weights", "paper_eq5|uniform", o->uniform);
    hy_choice_text(out, "ssm_reduce", HY_SSM_REDUCE_CHOICES, (int)o->reduce);
    hy_choice_text(out, "gate", "no|yes", o->gate);
    hy_buf_printf(out, " rows=last");
}

// sum_j a_j (i - j) / sum_j a_j of non-negative scores of row i; 0 when there is no mass.
static double expected_distance(const double *a, int i, int first) {
    double mass = 0, d = 0;
    for (int j = first; j <= i; j++) {
        mass += fabs(a[j]);
        d += fabs(a[j]) * (i - j);
    }
    return mass == 0 ? 0 : d / mass;  // NaN stays NaN
}

hy_status hy_erf_measure(const hy_map_values *v, const hy_erf_options *o, hy_erf_layer *out) {
    int last = v->S - 1, first = o->meta == HY_ERF_META_RENORM ? v->meta : 0;
    if (first > last)
        return hy_error(HY_EINPUT, "layer %d: the sequence has meta tokens only, an ERF needs text", v->layer);
    hy_map_options m = {.reduce = o->reduce, .norm = HY_MAP_ROWSUM, .gate = o->gate != 0};
    *out = (hy_erf_layer){.layer = v->layer, .S = v->S, .heads = v->heads, .channels = hy_map_ssm_count(v)};
    double *row = hy_alloc((size_t)v->S * sizeof *row);
    hy_status s = row ? HY_OK : HY_ENOMEM;
    for (int h = 0; h < v->heads && !s; h++) {
        s = hy_map_rows(v, HY_MAP_ATTENTION, h, &m, last, 1, row);
        if (!s) out->attention += expected_distance(row, last, first) / v->heads;
    }
    hy_ssm_alpha a = {0};
    if (v->D > 0 && !s) s = hy_map_rows(v, HY_MAP_SSM, -1, &m, last, 1, row);
    if (v->D > 0 && !s) out->ssm_group = expected_distance(row, last, first);
    if (v->D > 0 && !s) s = hy_ssm_alpha_open(&a, v, v->S);
    const int units = out->channels;
    for (int d = 0; d < units && !s; d++) {
        if (d % HY_SSM_BLOCK == 0) hy_ssm_alpha_units(&a, d, units - d < HY_SSM_BLOCK ? units - d : HY_SSM_BLOCK);
        hy_ssm_alpha_row(&a, d, last, row);
        out->ssm_channels += expected_distance(row, last, first) / units;
    }
    hy_ssm_alpha_close(&a);
    free(row);
    return s;
}

bool hy_erf_layer_distance(const hy_erf_layer *l, const hy_erf_options *o, double *distance) {
    double ssm = o->ssm == HY_ERF_SSM_CHANNELS ? l->ssm_channels : l->ssm_group;
    bool attn = l->heads > 0 && o->heads != HY_ERF_SSM_ONLY, has_ssm = l->channels > 0 && o->heads != HY_ERF_ATTENTION;
    if (attn && has_ssm) {
        double n = o->ssm == HY_ERF_SSM_CHANNELS ? l->channels : 1;
        *distance = o->heads == HY_ERF_HALVES ? 0.5 * (l->attention + ssm)
                                              : (l->heads * l->attention + n * ssm) / (l->heads + n);
    } else {
        *distance = attn ? l->attention : has_ssm ? ssm : 0;
    }
    return attn || has_ssm;
}

double hy_erf_combine(const hy_erf_layer *layers, int n, const hy_erf_options *o) {
    int N = 0, seen = 0, at = 0;
    double d, erf = 0;
    for (int i = 0; i < n; i++) seen += hy_erf_layer_distance(&layers[i], o, &d);
    if (seen == 0) return NAN;
    N = o->missing == HY_ERF_ZERO ? n : seen;
    for (int i = 0; i < n; i++) {
        bool has = hy_erf_layer_distance(&layers[i], o, &d);
        if (!has && o->missing == HY_ERF_SKIP) continue;
        at++;
        erf += d * (o->uniform ? 1.0 / N : 2.0 * (N - at + 1) / ((double)N * (N + 1)));
    }
    return erf;
}
