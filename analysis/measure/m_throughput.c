// m_throughput.c - measure "throughput": tokens per second of training steps, prefill and decoding. How: throughput.h.
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/examples.h"
#include "analysis/measure/throughput.h"
#include "core/base/memory.h"
#include "core/format/json.h"

typedef struct {
    hy_ints contexts, batch;
    int fit, repetitions, warmup, decode_tokens, train, prefill, decode;
} throughput_options;
#define AT(member) offsetof(throughput_options, member)
static const hy_field throughput_fields[] = {
    {"contexts", HY_F_INTS, AT(contexts), 0, "[256]", 1, 1e7, NULL,
     "tokens: length of training and prefill, depth of decoding"},
    {"batch", HY_F_INTS, AT(batch), 0, "[1]", 1, 1e5, NULL, "sequences"},
    {"fit", HY_F_BOOL, AT(fit), 0, "false", 0, 0, NULL, "a batch that does not fit in memory is halved until it does",
     true},
    {"repetitions", HY_F_INT, AT(repetitions), 0, "5", 1, 1000, NULL,
     "timed repetitions, all stored; the median counts"},
    {"warmup", HY_F_INT, AT(warmup), 0, "1", 1, 1000, NULL, "repetitions before that are not counted"},
    {"decode_tokens", HY_F_INT, AT(decode_tokens), 0, "16", 1, 1e6, NULL, "tokens decoded in one repetition"},
    {"train", HY_F_BOOL, AT(train), 0, "true", 0, 0, NULL, "time training steps"},
    {"prefill", HY_F_BOOL, AT(prefill), 0, "true", 0, 0, NULL, "time prefill"},
    {"decode", HY_F_BOOL, AT(decode), 0, "true", 0, 0, NULL, "time decoding"},
    HY_FIELD_END,
};

// Bytes that timing a batch takes at the very least: for training the input of each layer, which its backward reads;
// else the cache.
static double least_memory(const hy_model_spec *m, const throughput_options *o, int context, int batch) {
    const double train = ((double)context + m->meta_tokens) * m->d_model * m->n_layers * 4;
    hy_cache_bytes cache;
    hy_model_cache(m, HY_CACHE_TRUE, context, 4, 4, 4, NULL, &cache);
    const double infer = o->prefill || o->decode ? cache.total : 0;
    return batch * fmax(o->train ? train : 0, infer);
}

// What can never fit is known before anything is trained. Of a GPU the memory is not known here.
static hy_status check_memory(const hy_measure_subject *s, const throughput_options *o, int context, int batch) {
    const double have = hy_memory_physical(), need = least_memory(s->spec, o, context, batch);
    if (strcmp(s->device, "cpu") || have <= 0 || need <= have) return HY_OK;
    return hy_error(
        HY_EINPUT,
        "a batch of %d sequences of %d tokens needs at least %.3g GB, this machine has %.3g GB: take fewer%s", batch,
        context, need / 1e9, have / 1e9, batch > 1 ? ", or fit: true" : "");
}

static hy_status throughput_check(const hy_measure_subject *s, const void *options) {
    const throughput_options *o = options;
    if (!o->train && !o->prefill && !o->decode)
        return hy_error(HY_EINPUT, "train, prefill and decode are all false: nothing is left to time");
    if (o->contexts.n == 0) return hy_error(HY_EINPUT, "contexts is empty: at least one length is needed");
    if (o->batch.n == 0) return hy_error(HY_EINPUT, "batch is empty: at least one is needed");
    HY_TRY(hy_list_distinct(&o->contexts, "contexts"));
    HY_TRY(hy_list_distinct(&o->batch, "batch"));
    for (int i = 0; i < o->contexts.n && !o->fit; i++)
        for (int j = 0; j < o->batch.n; j++) {
            const double rows = ((double)o->contexts.v[i] + s->spec->meta_tokens) * o->batch.v[j];
            if (rows > INT_MAX)
                return hy_error(HY_EINPUT,
                                "a batch of %d sequences of %d + %d meta tokens is %.3g positions; at most %d: take "
                                "fewer, or fit: true",
                                o->batch.v[j], o->contexts.v[i], s->spec->meta_tokens, rows, INT_MAX);
        }
    for (int i = 0; i < o->contexts.n; i++)
        for (int j = 0; j < o->batch.n; j++) HY_TRY(check_memory(s, o, o->contexts.v[i], o->fit ? 1 : o->batch.v[j]));
    return HY_OK;
}

// Seconds that the threads of this process were ready to run while other programs had the processors; 0 where the
// system does not tell (Linux: the second number of schedstat, in nanoseconds).
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

static const char *const names[] = {
    [HY_TP_TRAIN] = "throughput_train", [HY_TP_PREFILL] = "throughput_prefill", [HY_TP_DECODE] = "throughput_decode"};

static void cell_of(const hy_tp_spec *spec, char cell[48]) {
    snprintf(cell, 48, "T%d.B%d", spec->context, spec->batch);
}

// Two batches that were asked for may come down to one that fits.
static bool timed_already(const hy_tp_spec *spec, const hy_facts *f, int first) {
    char cell[48];
    cell_of(spec, cell);
    for (int i = first; i < f->n_facts; i++)
        if (!strcmp(f->fact[i].name, names[spec->kind]) && !strcmp(f->fact[i].cell, cell)) return true;
    return false;
}

static hy_status one_timing(const hy_measure_context *c, const hy_tp_spec *spec, int asked, hy_facts *f) {
    hy_tp_result r = {0};
    const double queue = seconds_in_queue(), start = hy_now();
    HY_TRY(hy_throughput_measure(c->prog, c->params, spec, &r));
    const double waited = (seconds_in_queue() - queue) / fmax(1e-9, (hy_now() - start) * c->be->threads);
    char cell[48];
    cell_of(spec, cell);
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
static hy_status fitting_timing(const hy_measure_context *c, hy_tp_spec spec, bool fit, hy_facts *f, int first) {
    const int asked = spec.batch;
    const double positions = (double)spec.context + c->prog->spec.meta_tokens;
    while (fit && spec.batch > 1 && positions * spec.batch > INT_MAX) spec.batch /= 2;
    for (; !timed_already(&spec, f, first); spec.batch /= 2) {
        const hy_status s = one_timing(c, &spec, asked, f);
        if (s != HY_ENOMEM || !fit || spec.batch == 1) return s;
    }
    return HY_OK;
}

static hy_status throughput_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const throughput_options *o = options;
    const int first = facts->n_facts;
    const int wanted[] = {[HY_TP_TRAIN] = o->train, [HY_TP_PREFILL] = o->prefill, [HY_TP_DECODE] = o->decode};
    for (int kind = HY_TP_TRAIN; kind <= HY_TP_DECODE; kind++)
        for (int i = 0; wanted[kind] && i < o->contexts.n; i++)
            for (int j = 0; j < o->batch.n; j++) {
                const hy_tp_spec spec = {.kind = (hy_tp_kind)kind,
                                         .batch = o->batch.v[j],
                                         .context = o->contexts.v[i],
                                         .reps = o->repetitions,
                                         .warmup = o->warmup,
                                         .tokens = o->decode_tokens};
                HY_TRY(fitting_timing(c, spec, o->fit, facts, first));
            }
    return HY_OK;
}

const hy_measure hy_measure_throughput = {
    .name = "throughput",
    .version = 1,
    .doc = "tokens per second of training steps, of prefill and of decoding",
    .fields = throughput_fields,
    .options_size = sizeof(throughput_options),
    .needs = HY_NEEDS_WEIGHTS | HY_NEEDS_GRADIENT | HY_NEEDS_QUIET,
    .check = throughput_check,
    .run = throughput_run,
};
