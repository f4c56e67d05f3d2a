// measures.c - see measures.h: the options of the measures. Doing them is measure_run.c.
#include "analysis/measure/measures.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/probe/erf.h"

#define ONLY_SEED(type)                                                                                     \
    {"only_seed", HY_F_INT, offsetof(type, only_seed), 0, "0", 0, 2147483647, NULL,                          \
     "measure in the run of this seed only; 0: in every run"}
#define EXAMPLES(type, def)                                                                                 \
    {"examples", HY_F_INT, offsetof(type, examples), 0, def, 1, 10000, NULL, "evaluation examples, averaged"}
#define CELL(type)                                                                                          \
    {"cell", HY_F_INT, offsetof(type, cell), 0, "0", 0, 16383, NULL, "evaluation cell that the examples come from, from 0"}
#define REDUCE(type)                                                                                        \
    {"reduce", HY_F_ENUM, offsetof(type, reduce), 0, "mean_abs", 0, 0, HY_SSM_REDUCE_CHOICES, "how SSM channels become one map"}
#define GATE(type)                                                                                          \
    {"gate", HY_F_BOOL, offsetof(type, gate), 0, "false", 0, 0, NULL, "SSM maps with the gate (Hymba eq. 2)"}

static const hy_field cache_fields[] = {
    {"tokens", HY_F_INT, offsetof(hy_measure_cache, tokens), 0, "8000", 1, 1e9, NULL, "tokens in the cache (paper: 8000)"},
    HY_FIELD_END,
};
#define T(member) offsetof(hy_measure_throughput, member)
static const hy_field throughput_fields[] = {
    {"contexts", HY_F_INTS, T(contexts), 0, "[256]", 1, 1e7, NULL, "tokens: length of training and prefill, depth of decoding"},
    {"batch", HY_F_INTS, T(batch), 0, "[1]", 1, 1e5, NULL, "sequences"},
    {"fit", HY_F_BOOL, T(fit), 0, "false", 0, 0, NULL, "a batch that does not fit in memory is halved until it does", true},
    {"repetitions", HY_F_INT, T(repetitions), 0, "5", 1, 1000, NULL, "timed repetitions, all stored; the median counts"},
    {"warmup", HY_F_INT, T(warmup), 0, "1", 1, 1000, NULL, "repetitions before that are not counted"},
    {"decode_tokens", HY_F_INT, T(decode_tokens), 0, "16", 1, 1e6, NULL, "tokens decoded in one repetition"},
    {"train", HY_F_BOOL, T(train), 0, "true", 0, 0, NULL, "time training steps"},
    {"prefill", HY_F_BOOL, T(prefill), 0, "true", 0, 0, NULL, "time prefill"},
    {"decode", HY_F_BOOL, T(decode), 0, "true", 0, 0, NULL, "time decoding"},
    ONLY_SEED(hy_measure_throughput),
    HY_FIELD_END,
};
static const hy_field maps_fields[] = {
    {"layers", HY_F_INTS, offsetof(hy_measure_maps, layers), 0, "[]", 0, 255, NULL, "layers, from 0; empty: all"},
    EXAMPLES(hy_measure_maps, "1"),
    CELL(hy_measure_maps),
    {"max_len", HY_F_INT, offsetof(hy_measure_maps, max_len), 0, "256", 1, 4096, NULL, "longer examples are cut to so many tokens"},
    {"heads", HY_F_BOOL, offsetof(hy_measure_maps, heads), 0, "false", 0, 0, NULL, "also store each attention head's own map"},
    REDUCE(hy_measure_maps),
    GATE(hy_measure_maps),
    ONLY_SEED(hy_measure_maps),
    HY_FIELD_END,
};
#define E(member) offsetof(hy_measure_erf, member)
static const hy_field erf_fields[] = {
    EXAMPLES(hy_measure_erf, "8"),
    CELL(hy_measure_erf),
    {"ssm", HY_F_ENUM, E(ssm), 0, "group", 0, 0, HY_ERF_SSM_CHOICES, "an SSM is one head, or every channel is"},
    {"heads", HY_F_ENUM, E(heads), 0, "halves", 0, 0, HY_ERF_HEADS_CHOICES, "how the heads of a hybrid layer are averaged"},
    {"meta", HY_F_ENUM, E(meta), 0, "included", 0, 0, HY_ERF_META_CHOICES, "meta tokens are positions, or rows are renormalised without"},
    {"missing", HY_F_ENUM, E(missing), 0, "skip", 0, 0, HY_ERF_MISSING_CHOICES, "layers without such heads"},
    {"uniform", HY_F_BOOL, E(uniform), 0, "false", 0, 0, NULL, "all layers weigh the same, not as in eq. 5"},
    REDUCE(hy_measure_erf),
    GATE(hy_measure_erf),
    ONLY_SEED(hy_measure_erf),
    HY_FIELD_END,
};

static const struct {
    const char *name;
    unsigned bit;
    const hy_field *fields;
    size_t offset;
} kinds[] = {
    {"cache", HY_MEASURE_CACHE, cache_fields, offsetof(hy_measures, cache)},
    {"throughput", HY_MEASURE_THROUGHPUT, throughput_fields, offsetof(hy_measures, throughput)},
    {"maps", HY_MEASURE_MAPS, maps_fields, offsetof(hy_measures, maps)},
    {"erf", HY_MEASURE_ERF, erf_fields, offsetof(hy_measures, erf)},
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

hy_status hy_measures_read(const hy_yaml *node, hy_measures *out) {
    *out = (hy_measures){.on = HY_MEASURE_CACHE};
    for (int k = 0; k < N_KINDS; k++) hy_fields_default(kinds[k].fields, (char *)out + kinds[k].offset);
    if (!node || hy_yaml_is_null(node)) return HY_OK;
    static const hy_field none[] = {HY_FIELD_END};
    HY_TRY(hy_yaml_fields(node, none, out, "cache|throughput|maps|erf"));
    for (int k = 0; k < N_KINDS; k++) {
        const hy_yaml *m = hy_yaml_get(node, kinds[k].name);
        if (!m) continue;
        if (hy_yaml_is(m, "false")) {
            out->on &= ~kinds[k].bit;
            continue;
        }
        out->on |= kinds[k].bit;
        if (!hy_yaml_is(m, "true")) HY_TRY(hy_yaml_fields(m, kinds[k].fields, (char *)out + kinds[k].offset, NULL));
    }
    return HY_OK;
}

hy_measures hy_measures_of_seed(const hy_measures *m, int64_t seed) {
    hy_measures r = *m;
    if (m->throughput.only_seed && m->throughput.only_seed != seed) r.on &= ~(unsigned)HY_MEASURE_THROUGHPUT;
    if (m->maps.only_seed && m->maps.only_seed != seed) r.on &= ~(unsigned)HY_MEASURE_MAPS;
    if (m->erf.only_seed && m->erf.only_seed != seed) r.on &= ~(unsigned)HY_MEASURE_ERF;
    return r;
}

void hy_measures_text(const hy_measures *m, hy_buf *out) {
    hy_measures c = *m;
    c.throughput.only_seed = c.maps.only_seed = c.erf.only_seed = 0;  // decided already: it does not change the run
    for (int k = 0; k < N_KINDS; k++) {
        if (!(c.on & kinds[k].bit)) continue;
        hy_buf_printf(out, "%s:\n", kinds[k].name);
        hy_fields_text(kinds[k].fields, (const char *)&c + kinds[k].offset, 2, out);
    }
}

void hy_measures_help(hy_buf *out) {
    for (int k = 0; k < N_KINDS; k++) {
        char *title = hy_asprintf("measures.%s (true: with these defaults; false: off)", kinds[k].name);
        hy_fields_help(kinds[k].fields, title, out);
        free(title);
    }
}
