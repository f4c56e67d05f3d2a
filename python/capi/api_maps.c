// api_maps.c - see hylab_api.h: attention maps and effective receptive fields of sequences of the caller's.
#include <math.h>
#include <stdlib.h>

#include "analysis/probe/capture.h"
#include "analysis/probe/erf.h"
#include "python/capi/api_impl.h"

// Runs one sequence; fn sees each layer that is wanted.
static hy_status run(hylab_model *m, int T, const int32_t *ids, const bool *want, hy_capture_fn fn, void *user) {
    hy_capture *c;
    HY_TRY(hy_api_check_ids(m, 1, T, ids));
    HY_TRY(hy_capture_open(m->model.p, m->model.w, T, &c));
    const hy_status s = hy_capture_run(c, ids, want, fn, user);
    hy_capture_close(c);
    return s;
}

// ---------------------------------------------------------------------------------------------------- maps
typedef struct {
    hy_map_options options;
    float hidden;
    int n;
    const hylab_map *maps;
    float *const *out;
} maps_work;

static hy_status on_layer_map(void *user, const hy_map_values *v) {
    const maps_work *w = user;
    for (int i = 0; i < w->n; i++) {
        if (w->maps[i].layer != v->layer) continue;
        const hy_map_src src = (hy_map_src)w->maps[i].kind;
        HY_TRY(hy_map_full(v, src, w->maps[i].head, &w->options, 0, w->out[i]));
        const size_t S = (size_t)v->S;
        for (size_t e = 0; e < S * S; e++)
            if (!isfinite(w->out[i][e]))
                return hy_error(HY_EDIVERGED,
                                "the %s map of layer %d is not finite at query %zu, key %zu: the weights hold NaN or "
                                "infinity, or are too large",
                                hy_map_src_name(src), v->layer, e / S, e % S);
        for (size_t e = 0; isnan(w->hidden) && e < S * S; e++)
            if (!hy_map_visible(v, src, (int)(e / S), (int)(e % S))) w->out[i][e] = w->hidden;
    }
    return HY_OK;
}

static int units_of(const hy_layer_spec *l, int kind) {
    if (kind == HYLAB_ATTENTION) return hy_layer_has_attention(l) ? l->heads : 0;
    return hy_layer_ssm_units(l);
}

static hy_status check_map(const hy_model_spec *spec, const hylab_map *map) {
    if (map->kind < HYLAB_ATTENTION || map->kind > HYLAB_LAYER)
        return hy_error(HY_EINPUT, "kind %d of a map: there are attention, ssm and layer", map->kind);
    const char *kind = hy_map_src_name((hy_map_src)map->kind);
    if (map->layer < 0 || map->layer >= spec->n_layers)
        return hy_error(HY_EINPUT, "there is no layer %d: %s has layers 0 to %d", map->layer, spec->name,
                        spec->n_layers - 1);
    const hy_layer_spec *l = &spec->layers[map->layer];
    const int units =
        map->kind == HYLAB_LAYER ? units_of(l, HYLAB_ATTENTION) + units_of(l, HYLAB_SSM) : units_of(l, map->kind);
    if (!units) return hy_error(HY_EINPUT, "layer %d of %s has no %s map", map->layer, spec->name, kind);
    if (map->head < -1 || (map->kind == HYLAB_LAYER ? map->head >= 0 : map->head >= units))
        return hy_error(HY_EINPUT, "there is no %s map of head %d: layer %d has %d", kind, map->head, map->layer,
                        map->kind == HYLAB_LAYER ? 1 : units);
    return HY_OK;
}

static hy_status maps(hylab_model *m, int T, const int32_t *ids, const char *options, maps_work *w) {
    const hy_measure *maps = hy_measure_find("maps");
    const hy_model_spec *spec = &m->model.p->spec;
    hy_measure_options o;
    HY_TRY(hy_api_read_options("maps", options, &o));
    w->options = (hy_map_options){.reduce = (hy_ssm_reduce)hy_measure_option_int(maps, &o, "reduce"),
                                  .norm = (hy_map_norm)hy_measure_option_int(maps, &o, "norm"),
                                  .gate = hy_measure_option_int(maps, &o, "gate")};
    for (int i = 0; i < w->n; i++) HY_TRY(check_map(spec, &w->maps[i]));
    bool *want = hy_xcalloc((size_t)spec->n_layers, sizeof *want);
    for (int i = 0; i < w->n; i++) want[w->maps[i].layer] = true;
    const hy_status s = run(m, T, ids, want, on_layer_map, w);
    free(want);
    return s;
}

hylab_status hylab_maps(hylab_model *m, int T, const int32_t *ids, const char *options, int hidden_nan, int n,
                        const hylab_map *maps_wanted, float *const *out) {
    maps_work w = {.hidden = hidden_nan ? NAN : 0, .n = n, .maps = maps_wanted, .out = out};
    hy_api_begin();
    return hy_api_end(maps(m, T, ids, options, &w));
}

// ---------------------------------------------------------------------------------------------------- ERF
typedef struct {
    hy_erf_options options;
    hy_erf_layer *layers;
} erf_work;

static hy_status on_layer_erf(void *user, const hy_map_values *v) {
    erf_work *w = user;
    return hy_erf_measure(v, &w->options, &w->layers[v->layer]);
}

static hy_status erf_options(const char *text, hy_erf_options *out) {
    const hy_measure *m = hy_measure_find("erf");
    hy_measure_options o;
    HY_TRY(hy_api_read_options("erf", text, &o));
    *out = (hy_erf_options){.ssm = (hy_erf_ssm)hy_measure_option_int(m, &o, "ssm"),
                            .heads = (hy_erf_heads)hy_measure_option_int(m, &o, "heads"),
                            .meta = (hy_erf_meta)hy_measure_option_int(m, &o, "meta"),
                            .missing = (hy_erf_missing)hy_measure_option_int(m, &o, "missing"),
                            .uniform = hy_measure_option_int(m, &o, "uniform"),
                            .reduce = (hy_ssm_reduce)hy_measure_option_int(m, &o, "reduce"),
                            .gate = hy_measure_option_int(m, &o, "gate")};
    return HY_OK;
}

static hy_status erf_of(hylab_model *m, int T, const int32_t *ids, erf_work *w, double *erf, double *layers) {
    const int L = m->model.p->spec.n_layers;
    bool *want = hy_xcalloc((size_t)L, sizeof *want);
    for (int i = 0; i < L; i++) want[i] = true;
    const hy_status s = run(m, T, ids, want, on_layer_erf, w);
    free(want);
    HY_TRY(s);
    *erf = hy_erf_combine(w->layers, L, &w->options);
    bool any = false, finite = true;
    for (int i = 0; i < L; i++) {
        const hy_erf_layer *l = &w->layers[i];
        double *to = layers + 4 * i;
        to[0] = l->heads ? l->attention : NAN;
        to[1] = l->channels ? l->ssm_group : NAN;
        to[2] = l->channels ? l->ssm_channels : NAN;
        to[3] = NAN;
        const bool has = hy_erf_layer_distance(l, &w->options, &to[3]);
        any = any || has;
        finite = finite && (!has || isfinite(to[3]));
    }
    if (!any)
        return hy_error(HY_EINPUT, "no layer of %s has heads of the kind that is asked for", m->model.p->spec.name);
    if (!finite || !isfinite(*erf))
        return hy_error(HY_EDIVERGED, "the receptive field is not a number: the weights hold NaN or infinity, or are "
                                      "too large");
    return HY_OK;
}

hylab_status hylab_erf(hylab_model *m, int T, const int32_t *ids, const char *options, double *erf, double *layers) {
    erf_work w = {.layers = hy_xcalloc((size_t)m->model.p->spec.n_layers, sizeof *w.layers)};
    hy_api_begin();
    hy_status s = erf_options(options, &w.options);
    if (!s) s = erf_of(m, T, ids, &w, erf, layers);
    free(w.layers);
    return hy_api_end(s);
}
