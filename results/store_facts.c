// store_facts.c - facts that were collected in memory as rows below a measurement.
#include <stdlib.h>

#include "results/record_impl.h"
#include "results/schema.h"

// layer and head: NULL where they are -1.
#define METRIC                                                                                                        \
    "INSERT INTO metric(measurement_id, def_id, cell, layer, kind, head, step, final, value, stderr, n, x, y, meta) " \
    "SELECT ?1, id, ?4,"                                                                                              \
    " nullif(?5, -1), ?6, nullif(?7, -1), ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15 FROM metric_def WHERE name = ?2 AND "  \
    "version = ?3"

static hy_status store_fact(hy_store *s, hy_query *metric, hy_query *sample, int64_t id, const hy_fact *m) {
    hy_query_bind(metric, "lsisisiliddldds", id, m->name, hy_metric_find(m->name)->version, m->cell, m->layer, m->kind,
                  m->head, m->step, (int)m->final, m->value, m->se, m->n, m->x, m->y, m->meta);
    HY_TRY(hy_query_run(metric));
    const int64_t metric_id = hy_store_last_id(s);
    for (int k = 0; k < m->n_samples; k++) {
        hy_query_bind(sample, "lid", metric_id, k, m->samples[k]);
        HY_TRY(hy_query_run(sample));
    }
    return HY_OK;
}

static hy_status store_metrics(hy_store *s, int64_t id, const hy_facts *f) {
    hy_query *metric = NULL, *sample = NULL;
    hy_status st = hy_query_open(s, METRIC, &metric);
    if (!st) st = hy_query_open(s, "INSERT INTO sample(metric_id, rep, value) VALUES(?1,?2,?3)", &sample);
    for (int i = 0; !st && i < f->n_facts; i++) st = store_fact(s, metric, sample, id, &f->fact[i]);
    hy_query_close(metric);
    hy_query_close(sample);
    return st;
}

static hy_status store_artifacts(hy_store *s, int64_t id, const hy_facts *f) {
    hy_query *q;
    HY_TRY(hy_query_open(
        s,
        "INSERT INTO artifact(measurement_id, name, layer, kind, head, dtype, shape, meta, data, hash) VALUES(?1, ?2,"
        " nullif(?3, -1), ?4, nullif(?5, -1), ?6, ?7, ?8, ?9, ?10)",
        &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < f->n_artifacts; i++) {
        const hy_artifact *a = &f->artifact[i];
        hy_buf shape = {0};
        for (int k = 0; k < a->ndim; k++) hy_buf_printf(&shape, "%s%d", k ? "," : "[", a->shape[k]);
        hy_buf_printf(&shape, "]");
        char hash[33];
        hy_hash_hex(a->data, a->bytes, hash);
        hy_query_bind(q, "lsisisssbs", id, a->name, a->layer, a->kind, a->head, a->dtype, shape.s,
                      a->meta ? a->meta : "{}", a->data, a->bytes, hash);
        st = hy_query_run(q);
        free(shape.s);
    }
    hy_query_close(q);
    return st;
}

static hy_status store_curve(hy_store *s, int64_t id, const hy_facts *f) {
    hy_query *q;
    HY_TRY(hy_query_open(
        s, "INSERT INTO curve(measurement_id, step, loss, lr, grad_norm, tokens_per_s) VALUES(?1,?2,?3,?4,?5,?6)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < f->n_curve; i++) {
        const hy_curve_point *p = &f->curve[i];
        hy_query_bind(q, "lldddd", id, p->step, p->loss, p->lr, p->grad_norm, p->tokens_per_s);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    return st;
}

hy_status hy_store_facts(hy_store *s, int64_t measurement_id, const hy_facts *f) {
    HY_TRY(store_metrics(s, measurement_id, f));
    HY_TRY(store_artifacts(s, measurement_id, f));
    HY_TRY(store_curve(s, measurement_id, f));
    return hy_facts_seal(s, measurement_id);
}
