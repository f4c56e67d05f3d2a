// m_cache.c - measure "cache": what one sequence holds, by kind and by layer, by formula in both accountings and as
// allocated.
#include <stdlib.h>

#include "analysis/measure/measure.h"

// A state of more bytes than this is not allocated only to be counted.
#define ALLOCATE_MAX ((size_t)256 << 20)

typedef struct {
    int tokens;
} cache_options;
static const hy_field cache_fields[] = {
    {"tokens", HY_F_INT, offsetof(cache_options, tokens), 0, "8000", 1, 1e9, NULL, "tokens in the cache (paper: 8000)"},
    HY_FIELD_END,
};

static void add(const hy_measure_context *c, hy_facts *f, const char *name, const char *cell, double bytes, int tokens,
                int layer, const char *kind) {
    hy_fact *m = hy_facts_add(f, name, cell, bytes);
    m->step = c->step;
    m->x = tokens;
    m->y = layer;
    hy_fact_at(m, layer, kind, -1);
}

static void accounting(const hy_measure_context *c, hy_facts *f, hy_cache_accounting how, int tokens) {
    const char *name = how == HY_CACHE_TRUE ? "cache_true" : "cache_paper";
    const hy_model_spec *spec = &c->prog->spec;
    hy_cache_bytes *layers = hy_xcalloc((size_t)spec->n_layers, sizeof *layers), sum;
    if (how == HY_CACHE_TRUE)
        hy_state_cache(spec, c->compute, tokens, layers, &sum);
    else
        hy_model_cache(spec, how, tokens, 2, 2, 2, layers, &sum);
    const struct {
        const char *kind;
        size_t offset;
    } kinds[] = {{"kv", offsetof(hy_cache_bytes, kv)},
                 {"meta", offsetof(hy_cache_bytes, meta)},
                 {"conv", offsetof(hy_cache_bytes, conv)},
                 {"ssm", offsetof(hy_cache_bytes, ssm)}};
    add(c, f, name, "", sum.total, tokens, -1, NULL);
    for (int k = 0; k < 4; k++) {
        add(c, f, name, kinds[k].kind, *(double *)((char *)&sum + kinds[k].offset), tokens, -1, kinds[k].kind);
        for (int l = 0; l < spec->n_layers; l++) {
            const double bytes = *(double *)((char *)&layers[l] + kinds[k].offset);
            if (bytes == 0) continue;
            char cell[48];
            snprintf(cell, sizeof cell, "layer%d.%s", l, kinds[k].kind);
            add(c, f, name, cell, bytes, tokens, l, kinds[k].kind);
        }
    }
    free(layers);
}

static hy_status cache_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const cache_options *o = options;
    accounting(c, facts, HY_CACHE_TRUE, o->tokens);
    accounting(c, facts, HY_CACHE_PAPER, o->tokens);
    hy_cache_bytes sum;
    hy_state_cache(&c->prog->spec, c->compute, o->tokens, NULL, &sum);
    if (sum.total > (double)ALLOCATE_MAX) return HY_OK;
    hy_state *s = NULL;
    HY_TRY(hy_state_create(c->prog, c->be, c->compute, 1, o->tokens, &s));
    add(c, facts, "cache_allocated", "", (double)hy_state_bytes(s), o->tokens, -1, NULL);
    hy_state_free(s);
    return HY_OK;
}

const hy_measure hy_measure_cache = {
    .name = "cache",
    .version = 2,  // 1: the same figures, defined as of float32 whatever was computed in
    .doc = "bytes that one sequence holds, by kind and by layer: as a runtime holds them, and as the paper counts",
    .fields = cache_fields,
    .options_size = sizeof(cache_options),
    .run = cache_run,
};
