// facts.h - what a training or a measure found: figures, arrays and a loss curve, collected in memory while the work
// goes on and stored at once at its end (record.h), or printed.
#ifndef HY_FACTS_H
#define HY_FACTS_H
#include "core/base/base.h"

// A figure. The name is one of results/metrics.def; cell says which part of it: "" for all of a task, a cell of the
// task, or what the definition says. Where a figure is of one layer, of one kind of head or memory, or of one head,
// that is told as such too.
typedef struct {
    const char *name;
    char *cell;
    int layer, head;   // from 0; -1: of no single one
    const char *kind;  // static: "attention", "ssm", "layer", "kv", "shared", "meta", "conv"; NULL
    int64_t step;
    bool final;        // false: an evaluation on the way
    double value, se;  // NaN: none
    int64_t n;
    double x, y;  // coordinates (length and pairs; context and batch ...); NaN: none
    char *meta;   // JSON or NULL; malloc'ed
    int n_samples;
    double *samples;  // every repetition behind a median
} hy_fact;
// An array, row-major, little-endian.
typedef struct {
    char *name;
    int layer, head;
    const char *kind;
    const char *dtype;  // "f32", "f64", "i32"
    int ndim, shape[4];
    char *meta;  // JSON or NULL
    void *data;
    size_t bytes;
} hy_artifact;
typedef struct {
    int64_t step;
    double loss, lr, grad_norm, tokens_per_s;
} hy_curve_point;
typedef struct {
    int n_facts, n_artifacts, n_curve, cap_facts, cap_artifacts, cap_curve;
    hy_fact *fact;
    hy_artifact *artifact;
    hy_curve_point *curve;
    int64_t steps;          // training steps behind the result
    char kernel_path[160];  // what computed it, for the store
} hy_facts;                 // zero-initialise; hy_facts_free

// The fact is zero-valued except for what is given (se, x, y NaN, n 1, final, no layer, kind, head); valid until the
// next hy_facts_add. The name must be one of metrics.def (an assertion).
hy_fact *hy_facts_add(hy_facts *f, const char *name, const char *cell, double value);
void hy_fact_at(hy_fact *f, int layer, const char *kind, int head);  // kind: static text or NULL
void hy_fact_samples(hy_fact *f, const double *v, int n);            // copies; n becomes that of the fact
// Copies data, product(shape) values. meta: JSON object text or NULL. Valid until the next hy_facts_artifact.
hy_artifact *hy_facts_artifact(hy_facts *f, const char *name, const char *dtype, int ndim, const int *shape,
                               const void *data, const char *meta);
void hy_artifact_at(hy_artifact *a, int layer, const char *kind, int head);
void hy_facts_curve(hy_facts *f, const hy_curve_point *p);
void hy_facts_free(hy_facts *f);
#endif
