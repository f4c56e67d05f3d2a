// facts.c - see facts.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results/facts.h"
#include "results/schema.h"

static void *grow(void *p, int n, int *cap, size_t size) {
    if (n < *cap) return p;
    *cap = *cap ? *cap * 2 : 32;
    return hy_xrealloc(p, (size_t)*cap * size);
}

hy_fact *hy_facts_add(hy_facts *f, const char *name, const char *cell, double value) {
    const hy_metric_def *d = hy_metric_find(name);
    HY_ASSERT(d != NULL);
    f->fact = grow(f->fact, f->n_facts, &f->cap_facts, sizeof *f->fact);
    hy_fact *m = &f->fact[f->n_facts++];
    *m = (hy_fact){.name = d->name,
                   .cell = hy_xstrdup(cell),
                   .layer = -1,
                   .head = -1,
                   .final = true,
                   .value = value,
                   .se = NAN,
                   .n = 1,
                   .x = NAN,
                   .y = NAN};
    return m;
}

void hy_fact_at(hy_fact *f, int layer, const char *kind, int head) {
    f->layer = layer;
    f->kind = kind;
    f->head = head;
}

void hy_fact_samples(hy_fact *f, const double *v, int n) {
    free(f->samples);
    f->samples = hy_xcalloc((size_t)n, sizeof *v);
    memcpy(f->samples, v, (size_t)n * sizeof *v);
    f->n_samples = n;
    f->n = n;
}

hy_artifact *hy_facts_artifact(hy_facts *f, const char *name, const char *dtype, int ndim, const int *shape,
                               const void *data, const char *meta) {
    HY_ASSERT(ndim >= 1 && ndim <= 4);
    f->artifact = grow(f->artifact, f->n_artifacts, &f->cap_artifacts, sizeof *f->artifact);
    hy_artifact *a = &f->artifact[f->n_artifacts++];
    *a = (hy_artifact){.name = hy_xstrdup(name),
                       .layer = -1,
                       .head = -1,
                       .dtype = dtype,
                       .ndim = ndim,
                       .meta = meta ? hy_xstrdup(meta) : NULL};
    a->bytes = !strcmp(dtype, "f64") ? 8 : 4;
    for (int i = 0; i < ndim; i++) {
        a->shape[i] = shape[i];
        a->bytes *= (size_t)shape[i];
    }
    a->data = hy_xcalloc(1, a->bytes);
    memcpy(a->data, data, a->bytes);
    return a;
}

void hy_artifact_at(hy_artifact *a, int layer, const char *kind, int head) {
    a->layer = layer;
    a->kind = kind;
    a->head = head;
}

void hy_facts_curve(hy_facts *f, const hy_curve_point *p) {
    f->curve = grow(f->curve, f->n_curve, &f->cap_curve, sizeof *f->curve);
    f->curve[f->n_curve++] = *p;
}

void hy_facts_free(hy_facts *f) {
    for (int i = 0; i < f->n_facts; i++) {
        free(f->fact[i].cell);
        free(f->fact[i].meta);
        free(f->fact[i].samples);
    }
    for (int i = 0; i < f->n_artifacts; i++) {
        free(f->artifact[i].name);
        free(f->artifact[i].meta);
        free(f->artifact[i].data);
    }
    free(f->fact);
    free(f->artifact);
    free(f->curve);
    *f = (hy_facts){0};
}
