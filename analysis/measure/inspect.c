// inspect.c - see inspect.h.
#include "analysis/measure/inspect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/probe/capture.h"

typedef struct {
    const hy_inspect_want *want;
    hy_inspection *out;
    float *map;  // [S, S]
    int prompt;
} job;

static bool on(const bool *list, int layer) { return list && list[layer]; }

static bool has_index(const hy_map_values *v, const hy_inspect_map *m) {
    return hy_map_has(v, m->src) && m->index < (m->src == HY_MAP_ATTENTION ? v->heads : m->src == HY_MAP_SSM ? hy_map_ssm_count(v) : 0) + (m->index < 0);
}

static hy_status add_maps(job *j, const hy_map_values *v) {
    const size_t n = (size_t)v->S * (size_t)v->S;
    for (int k = 0; k < j->want->n_maps; k++) {
        if (!has_index(v, &j->want->maps[k])) continue;
        float **dst = &j->out->map[v->layer * j->out->n_maps + k];
        HY_TRY(hy_map_full(v, j->want->maps[k].src, j->want->maps[k].index, &j->want->map, NAN, j->map));
        if (!*dst && !(*dst = hy_alloc(n * sizeof **dst))) return HY_ENOMEM;
        for (size_t i = 0; i < n; i++) (*dst)[i] += j->map[i] / (float)j->out->prompts;
    }
    return HY_OK;
}

static void add_stats(hy_map_stats *sum, const hy_map_stats *s, double w) {
    sum->heads = s->heads;
    sum->rows = s->rows;
    sum->meta += w * s->meta, sum->bos += w * s->bos, sum->self += w * s->self, sum->cross += w * s->cross;
    sum->entropy += w * s->entropy, sum->entropy_rel += w * s->entropy_rel, sum->distance += w * s->distance;
}

static void worst(double *rel, double *scale, double error, double size) {
    if (error < 0) return;
    *rel = fmax(*rel, size > 0 ? error / size : error);
    *scale = 1;
}

static double mean_square(const float *x, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)x[i] * x[i];
    return s / (double)n;
}

static hy_status take_stats(job *j, const hy_map_values *v) {
    hy_inspection *r = j->out;
    hy_map_stats s[3];
    HY_TRY(hy_map_stats_layer(v, &j->want->map, s));
    for (int src = 0; src < 3; src++) add_stats(&r->stats[v->layer * 3 + src], &s[src], 1.0 / r->prompts);
    double *ms = r->rms + v->layer * 2;  // mean squares until the end
    if (v->heads > 0) ms[0] += mean_square(v->attn_out, (size_t)v->S * v->heads * v->d_v) / r->prompts;
    if (v->D > 0) ms[1] += mean_square(v->ssm_out, (size_t)v->S * v->D) / r->prompts;
    if (v->D > 0) r->delta_entropy[v->layer] += hy_map_delta_entropy(v) / r->prompts;
    if (j->prompt > 0) return HY_OK;  // once is enough for the check
    hy_map_check c;
    HY_TRY(hy_map_selftest(v, &c));
    worst(&r->check.attn, &r->check.attn_scale, c.attn, c.attn_scale);
    worst(&r->check.ssm, &r->check.ssm_scale, c.ssm, c.ssm_scale);
    worst(&r->check.model, &r->check.model_scale, c.model, c.model_scale);
    return HY_OK;
}

static hy_status on_layer(void *user, const hy_map_values *v) {
    job *j = user;
    if (on(j->want->map_layers, v->layer)) HY_TRY(add_maps(j, v));
    if (on(j->want->stat_layers, v->layer)) HY_TRY(take_stats(j, v));
    if (!j->want->erf_wanted) return HY_OK;
    hy_erf_layer e, *sum = &j->out->erf[v->layer];
    HY_TRY(hy_erf_measure(v, &j->want->erf, &e));
    const double w = 1.0 / j->out->prompts;
    sum->layer = e.layer, sum->S = e.S, sum->heads = e.heads, sum->channels = e.channels;
    sum->attention += w * e.attention, sum->ssm_group += w * e.ssm_group, sum->ssm_channels += w * e.ssm_channels;
    return HY_OK;
}

static hy_status check_want(const hy_program *p, const hy_inspect_want *want) {
    for (int k = 0; k < want->n_maps; k++) {
        const hy_inspect_map *m = &want->maps[k];
        int most = 0;
        for (int i = 0; i < p->spec.n_layers; i++) {
            const hy_layer_spec *l = &p->spec.layers[i];
            const int n = m->src == HY_MAP_ATTENTION ? l->heads : m->src != HY_MAP_SSM ? 0 : hy_layer_is_mamba2(l) ? hy_layer_ssm_heads(l) : l->d_inner;
            if (on(want->map_layers, i) && n > most) most = n;
        }
        if (m->index >= most)
            return hy_error(HY_EINPUT, "there is no %s %d: the wanted layers have %d", m->src == HY_MAP_SSM ? "SSM channel" : "attention head",
                            m->index, most);
    }
    return HY_OK;
}

hy_status hy_inspect(const hy_program *p, hy_params *w, const int32_t *prompts, int n_prompts, int T, const hy_inspect_want *want,
                     hy_inspection *out) {
    const int L = p->spec.n_layers;
    memset(out, 0, sizeof *out);
    HY_ASSERT(n_prompts >= 1);
    HY_TRY(check_want(p, want));
    hy_capture *c;
    HY_TRY(hy_capture_open(p, w, T, &c));
    *out = (hy_inspection){.n_layers = L, .n_maps = want->n_maps, .S = T + p->spec.meta_tokens, .meta = p->spec.meta_tokens,
                           .prompts = n_prompts, .erf_total = NAN, .check = {-1, -1, -1, -1, -1, -1}};
    out->map = hy_xcalloc((size_t)L * (size_t)want->n_maps, sizeof *out->map);
    out->stats = hy_xcalloc((size_t)L * 3, sizeof *out->stats);
    out->rms = hy_xcalloc((size_t)L * 2, sizeof *out->rms);
    out->erf = hy_xcalloc((size_t)L, sizeof *out->erf);
    out->delta_entropy = hy_xcalloc((size_t)L, sizeof *out->delta_entropy);
    for (int i = 0; i < L; i++)
        if (!on(want->stat_layers, i) || !hy_layer_has_ssm(&p->spec.layers[i])) out->delta_entropy[i] = NAN;
    bool *layers = hy_xcalloc((size_t)L, sizeof *layers);
    for (int i = 0; i < L; i++) layers[i] = on(want->map_layers, i) || on(want->stat_layers, i) || want->erf_wanted;
    job j = {.want = want, .out = out, .map = hy_alloc((want->n_maps ? (size_t)out->S * (size_t)out->S : 1) * sizeof(float))};
    hy_status s = j.map ? HY_OK : HY_ENOMEM;
    for (j.prompt = 0; j.prompt < n_prompts && !s; j.prompt++)
        s = hy_capture_run(c, prompts + (size_t)j.prompt * (size_t)T, layers, on_layer, &j);
    for (int i = 0; i < L * 2; i++) out->rms[i] = out->rms[i] > 0 ? sqrt(out->rms[i]) : NAN;
    if (want->erf_wanted && !s) out->erf_total = hy_erf_combine(out->erf, L, &want->erf);
    free(j.map);
    free(layers);
    hy_capture_close(c);
    if (s) hy_inspect_free(out);
    return s;
}

void hy_inspect_free(hy_inspection *r) {
    for (int i = 0; i < r->n_layers * r->n_maps; i++) free(r->map[i]);
    free(r->map), free(r->stats), free(r->rms), free(r->erf), free(r->delta_entropy);
    memset(r, 0, sizeof *r);
}
