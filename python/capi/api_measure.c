// api_measure.c - see hylab_api.h: ablations, and every measure of the program.
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/parts.h"
#include "core/format/field.h"
#include "python/capi/api_impl.h"

// ---------------------------------------------------------------------------------------------------- words
static hy_status read_parts(const char *parts, unsigned *kinds) {
    *kinds = 0;
    for (const char *p = parts ? parts : "branches"; *p;) {
        p += strspn(p, ", ");
        const size_t n = strcspn(p, ", ");
        if (!n) break;
        const int k = hy_choice_of(p, n, HY_PARTS_CHOICES);
        if (k < 0) return hy_error(HY_EINPUT, "parts %.*s: there are " HY_PARTS_CHOICES, (int)n, p);
        *kinds |= hy_parts_kinds(k);
        p += n;
    }
    return *kinds ? HY_OK : hy_error(HY_EINPUT, "no parts: there are " HY_PARTS_CHOICES);
}

static hy_status units_of(const hylab_model *m, const char *parts, int groups, hy_units *u) {
    unsigned kinds;
    *u = (hy_units){0};
    HY_TRY(read_parts(parts, &kinds));
    if (groups < 1) return hy_error(HY_EINPUT, "groups %d: at least 1", groups);
    HY_TRY(hy_units_of(m->model.p, kinds, groups, u));
    if (u->n) return HY_OK;
    hy_units_free(u);
    return hy_error(HY_EINPUT, "%s has no %s", m->model.p->spec.name, parts ? parts : "branches");
}

char *hylab_units(const hylab_model *m, const char *parts, int groups) {
    static const char *const names[HY_UNIT_KINDS] = {"attention", "ssm", "head", "group",
                                                     "layer",     "mlp", "conv", "meta"};
    hy_units u;
    hy_api_begin();
    const hy_status s = units_of(m, parts, groups, &u);
    hy_api_end(s);
    if (s) return NULL;
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < u.n; i++) {
        hy_json *j = hy_json_new_object();
        hy_json_set_string(j, "name", u.v[i].name);
        hy_json_set_string(j, "kind", names[u.v[i].kind]);
        hy_json_set(j, "layer", u.v[i].layer < 0 ? hy_json_new_null() : hy_json_new_int(u.v[i].layer));
        hy_json_set(j, "index", u.v[i].index < 0 ? hy_json_new_null() : hy_json_new_int(u.v[i].index));
        hy_json_add(list, j);
    }
    hy_units_free(&u);
    return hy_api_json_text(list);
}

// ---------------------------------------------------------------------------------------------------- ablations
static hy_status check_task(const hylab_model *m, const hylab_task *t) {
    const hy_model_spec *spec = &m->model.p->spec;
    if (hy_task_vocab(t->task) > spec->vocab)
        return hy_error(HY_EINPUT, "task %s uses %d tokens, but %s has a vocabulary of %d", hy_task_kind(t->task),
                        hy_task_vocab(t->task), spec->name, spec->vocab);
    return hy_model_check_length(spec, hy_task_max_len(t->task));
}

static hy_status ablate(hylab_model *m, const hylab_task *t, const char *parts, int groups, hy_ablation *a,
                        const char *how, int sets, const uint8_t *chosen, hy_ablation_scores *out) {
    const int k = hy_choice_of(how, strlen(how), HY_ABLATE_CHOICES);
    hy_units u;
    if (k < 0) return hy_error(HY_EINPUT, "how %s: there are " HY_ABLATE_CHOICES, how);
    if (a->examples < 1 || a->reference < 1 || a->batch < 1 || sets < 0)
        return hy_error(HY_EINPUT, "examples, reference and batch are at least 1");
    a->how = (hy_ablate_how)k;
    HY_TRY(check_task(m, t));
    HY_TRY(units_of(m, parts, groups, &u));
    const size_t n = (size_t)sets * (size_t)u.n;
    bool *marks = hy_xcalloc(n, sizeof *marks);
    for (size_t i = 0; i < n; i++) marks[i] = chosen[i] != 0;
    const hy_status s = hy_ablate(a, &u, sets, marks, out);
    free(marks);
    hy_units_free(&u);
    return s;
}

hylab_status hylab_ablate(hylab_model *m, const hylab_task *t, const char *parts, int groups, const char *how,
                          int examples, int reference, int batch, int sets, const uint8_t *chosen, int *n,
                          double **loss, double **accuracy) {
    const hy_ints all = {0};
    hy_ablation a = {.prog = m->model.p,
                     .params = m->model.w,
                     .task = t->task,
                     .cells = &all,
                     .examples = examples,
                     .batch = batch,
                     .reference = reference};
    hy_ablation_scores scores = {0};
    hy_api_begin();
    const hy_status s = ablate(m, t, parts, groups, &a, how ? how : "zero", sets, chosen, &scores);
    *n = scores.n;
    *loss = scores.loss;
    *accuracy = scores.accuracy;
    return hy_api_end(s);
}

// ---------------------------------------------------------------------------------------------------- measures
struct hylab_facts {
    hy_facts f;
};

static hy_status measure(hylab_model *m, const hylab_task *t, const char *name, const char *options, int batch,
                         hy_facts *f) {
    hy_measure_options o;
    const hy_program *p = m->model.p;
    const hy_measure_subject of = {&p->spec, t ? t->task : NULL, m->be.name, m->precision};
    const hy_measure_context c = {.prog = p,
                                  .params = m->model.w,
                                  .compute = m->model.w->compute,
                                  .be = &m->be,
                                  .task = t ? t->task : NULL,
                                  .eval_batch = batch,
                                  .jobs = 1};
    HY_TRY(hy_api_read_options(name ? name : "", options, &o));
    const hy_measure *what = hy_measure_find(name);
    if (batch < 1) return hy_error(HY_EINPUT, "batch %d: at least 1", batch);
    HY_TRY(hy_measure_check(what, &of, &o));
    if (t) HY_TRY(check_task(m, t));
    if (!hy_measure_applies(what, &p->spec, &o))
        return hy_error(HY_EINPUT, "measure %s finds nothing in %s: it has no such parts", name, p->spec.name);
    return hy_measure_run(what, &c, &o, f);
}

hylab_status hylab_measure(hylab_model *m, const hylab_task *t, const char *name, const char *options, int batch,
                           hylab_facts **out) {
    hylab_facts *f = hy_xcalloc(1, sizeof *f);
    hy_api_begin();
    *out = NULL;
    const hy_status s = measure(m, t, name, options, batch, &f->f);
    if (s)
        hylab_facts_close(f);
    else
        *out = f;
    return hy_api_end(s);
}

static void set_number(hy_json *j, const char *key, int v) {
    hy_json_set(j, key, v < 0 ? hy_json_new_null() : hy_json_new_int(v));
}

static hy_json *fact(const hy_fact *f) {
    hy_json *j = hy_json_new_object();
    hy_json_set_string(j, "metric", f->name);
    hy_json_set_string(j, "cell", f->cell);
    set_number(j, "layer", f->layer);
    hy_json_set_string(j, "kind", f->kind);
    set_number(j, "head", f->head);
    hy_json_set_double(j, "value", f->value);
    hy_json_set_double(j, "stderr", f->se);
    hy_json_set_int(j, "n", f->n);
    hy_json_set_double(j, "x", f->x);
    hy_json_set_double(j, "y", f->y);
    return j;
}

static hy_json *array(const hy_artifact *a) {
    hy_json *j = hy_json_new_object(), *shape = hy_json_new_array();
    for (int k = 0; k < a->ndim; k++) hy_json_add(shape, hy_json_new_int(a->shape[k]));
    hy_json_set_string(j, "name", a->name);
    set_number(j, "layer", a->layer);
    hy_json_set_string(j, "kind", a->kind);
    set_number(j, "head", a->head);
    hy_json_set_string(j, "type", a->dtype);
    hy_json_set(j, "shape", shape);
    hy_json_set_string(j, "meta", a->meta);
    return j;
}

char *hylab_facts_json(const hylab_facts *f) {
    hy_json *j = hy_json_new_object(), *facts = hy_json_new_array(), *arrays = hy_json_new_array();
    for (int i = 0; i < f->f.n_facts; i++) hy_json_add(facts, fact(&f->f.fact[i]));
    for (int i = 0; i < f->f.n_artifacts; i++) hy_json_add(arrays, array(&f->f.artifact[i]));
    hy_json_set(j, "facts", facts);
    hy_json_set(j, "arrays", arrays);
    return hy_api_json_text(j);
}

const void *hylab_facts_array(const hylab_facts *f, int i, size_t *bytes) {
    if (i < 0 || i >= f->f.n_artifacts) return NULL;
    *bytes = f->f.artifact[i].bytes;
    return f->f.artifact[i].data;
}

void hylab_facts_close(hylab_facts *f) {
    if (!f) return;
    hy_facts_free(&f->f);
    free(f);
}
