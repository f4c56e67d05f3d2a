// measure_run.c - doing the measures of measures.h: sizes, cache and throughput. Maps and receptive fields: measure_maps.c.
#include <dirent.h>
#include <math.h>
#include <stdlib.h>

#include "analysis/measure/throughput.h"
#include "core/format/json.h"
#include "analysis/measure/measures.h"

// A state of more bytes than this is not allocated only to be counted.
#define ALLOCATE_MAX ((size_t)256 << 20)

static void cache_fact(const hy_measure_context *c, hy_facts *f, const char *name, const char *cell, double bytes, int tokens, double layer) {
    hy_fact *m = hy_facts_add(f, name, cell, bytes);
    m->step = c->step;
    m->x = tokens;
    m->y = layer;
}

static void cache_facts(const hy_measure_context *c, hy_facts *f, hy_cache_accounting how, int tokens) {
    const char *name = how == HY_CACHE_TRUE ? "cache_true" : "cache_paper";
    const hy_model_spec *spec = &c->prog->spec;
    hy_cache_bytes *layers = hy_xcalloc((size_t)spec->n_layers, sizeof *layers), sum;
    if (how == HY_CACHE_TRUE) hy_state_cache(spec, c->params->compute, tokens, layers, &sum);
    else hy_model_cache(spec, how, tokens, 2, 2, 2, layers, &sum);
    const struct {
        const char *kind;
        size_t offset;
    } kinds[] = {{"kv", offsetof(hy_cache_bytes, kv)}, {"meta", offsetof(hy_cache_bytes, meta)},
                 {"conv", offsetof(hy_cache_bytes, conv)}, {"ssm", offsetof(hy_cache_bytes, ssm)}};
    cache_fact(c, f, name, "", sum.total, tokens, -1);
    for (int k = 0; k < 4; k++) {
        cache_fact(c, f, name, kinds[k].kind, *(double *)((char *)&sum + kinds[k].offset), tokens, -1);
        for (int l = 0; l < spec->n_layers; l++) {
            const double bytes = *(double *)((char *)&layers[l] + kinds[k].offset);
            if (bytes == 0) continue;
            char cell[48];
            snprintf(cell, sizeof cell, "layer%d.%s", l, kinds[k].kind);
            cache_fact(c, f, name, cell, bytes, tokens, l);
        }
    }
    free(layers);
}

static hy_status measure_cache(const hy_measure_cache *o, const hy_measure_context *c, hy_facts *f) {
    cache_facts(c, f, HY_CACHE_TRUE, o->tokens);
    cache_facts(c, f, HY_CACHE_PAPER, o->tokens);
    hy_cache_bytes sum;
    hy_state_cache(&c->prog->spec, c->params->compute, o->tokens, NULL, &sum);
    if (sum.total > (double)ALLOCATE_MAX) return HY_OK;
    hy_state *s = NULL;
    HY_TRY(hy_state_create(c->prog, c->be, c->params->compute, 1, o->tokens, &s));
    cache_fact(c, f, "cache_allocated", "", (double)hy_state_bytes(s), o->tokens, -1);
    hy_state_free(s);
    return HY_OK;
}

static void measure_size(const hy_measure_context *c, hy_facts *f) {
    hy_param_count n;
    hy_model_count(&c->prog->spec, &n);
    hy_facts_add(f, "parameters", "", (double)n.total)->step = c->step;
    const int context = hy_task_max_len(c->task);
    hy_fact *m = hy_facts_add(f, "flops_token", "", hy_model_flops_token(&c->prog->spec, context));
    m->step = c->step;
    m->x = context;
}

// ---------------------------------------------------------------------------------------------------- throughput
// Seconds that the threads of this process were ready to run while other programs had the processors; 0 where the system does
// not tell (Linux: the second number of schedstat, in nanoseconds).
static double seconds_in_queue(void) {
    DIR *tasks = opendir("/proc/self/task");
    double sum = 0;
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        char *path = hy_asprintf("/proc/self/task/%s/schedstat", e->d_name);
        FILE *file = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
        double ran, waited;
        if (file && fscanf(file, "%lf %lf", &ran, &waited) == 2) sum += waited * 1e-9;
        if (file) fclose(file);
        free(path);
    }
    if (tasks) closedir(tasks);
    return sum;
}

static hy_status one_timing(const hy_measure_context *c, const hy_tp_spec *spec, int asked, hy_facts *f) {
    static const char *const names[] = {[HY_TP_TRAIN] = "throughput_train", [HY_TP_PREFILL] = "throughput_prefill", [HY_TP_DECODE] = "throughput_decode"};
    hy_tp_result r = {0};
    const double queue = seconds_in_queue(), start = hy_now();
    HY_TRY(hy_throughput_measure(c->prog, c->params, spec, &r));
    const double waited = (seconds_in_queue() - queue) / fmax(1e-9, (hy_now() - start) * c->be->threads);
    char cell[48];
    snprintf(cell, sizeof cell, "T%d.B%d", spec->context, spec->batch);
    hy_fact *m = hy_facts_add(f, names[spec->kind], cell, hy_median(r.rate, r.n));
    hy_fact_samples(m, r.rate, r.n);
    m->step = c->step;
    m->x = spec->context;
    m->y = spec->batch;
    hy_json *meta = hy_json_new_object();
    hy_json_set_string(meta, "path", r.path);
    hy_json_set_int(meta, "jobs", c->jobs);
    if (asked != spec->batch) hy_json_set_int(meta, "batch_asked", asked);
    hy_json_set_double(meta, "waited", fmin(1, fmax(0, waited)));  // share of the threads' time
    hy_buf text = {0};
    hy_json_text(meta, 0, &text);
    m->meta = text.s;
    hy_json_free(meta);
    hy_throughput_free(&r);
    return hy_interrupted ? hy_error(HY_EINTR, "interrupted while measuring throughput") : HY_OK;
}

// The batch as asked, or halved until it fits.
static hy_status fitting_timing(const hy_measure_context *c, hy_tp_spec spec, bool fit, hy_facts *f) {
    const int asked = spec.batch;
    hy_status s = one_timing(c, &spec, asked, f);
    while (s == HY_ENOMEM && fit && spec.batch > 1) {
        spec.batch /= 2;
        s = one_timing(c, &spec, asked, f);
    }
    return s;
}

static hy_status measure_throughput(const hy_measure_throughput *o, const hy_measure_context *c, hy_facts *f) {
    const int wanted[] = {[HY_TP_TRAIN] = o->train, [HY_TP_PREFILL] = o->prefill, [HY_TP_DECODE] = o->decode};
    for (int kind = HY_TP_TRAIN; kind <= HY_TP_DECODE; kind++)
        for (int i = 0; wanted[kind] && i < o->contexts.n; i++)
            for (int j = 0; j < o->batch.n; j++) {
                const hy_tp_spec spec = {.kind = (hy_tp_kind)kind, .batch = o->batch.v[j], .context = o->contexts.v[i], .reps = o->repetitions,
                                         .warmup = o->warmup, .tokens = o->decode_tokens};
                HY_TRY(fitting_timing(c, spec, o->fit, f));
            }
    return HY_OK;
}

hy_status hy_measures_run(const hy_measures *m, const hy_measure_context *c, hy_facts *facts) {
    measure_size(c, facts);
    if (m->on & HY_MEASURE_CACHE) HY_TRY(measure_cache(&m->cache, c, facts));
    if (m->on & HY_MEASURE_MAPS) HY_TRY(hy_measure_maps_run(&m->maps, c, facts));
    if (m->on & HY_MEASURE_ERF) HY_TRY(hy_measure_erf_run(&m->erf, c, facts));
    if (!(m->on & HY_MEASURE_THROUGHPUT)) return HY_OK;
    HY_TRY(hy_timing_lock_begin(c->timing));
    hy_status s = measure_throughput(&m->throughput, c, facts);
    hy_timing_lock_end(c->timing);
    return s;
}
