// examples.c - see examples.h.
#include "analysis/measure/examples.h"

#include <math.h>
#include <stdlib.h>

#include "core/format/json.h"

hy_status hy_examples_check(const hy_measure_subject *s, int cell) {
    const int cells = hy_task_cells(s->task, HY_SPLIT_EVAL);
    if (cell < cells) return HY_OK;
    return hy_error(HY_EINPUT, "cell %d: task %s has evaluation cells 0 to %d", cell, hy_task_kind(s->task), cells - 1);
}

hy_status hy_list_distinct(const hy_ints *list, const char *name) {
    for (int i = 1; i < list->n; i++)
        for (int k = 0; k < i; k++)
            if (list->v[i] == list->v[k]) return hy_error(HY_EINPUT, "%s: %d stands there twice", name, list->v[i]);
    return HY_OK;
}

bool hy_layers_have_heads(const hy_model_spec *spec, const hy_ints *layers) {
    for (int i = 0; i < spec->n_layers; i++)
        if (hy_ints_want(layers, i) && spec->layers[i].mixer != HY_MIXER_NONE) return true;
    return false;
}

void hy_examples_size(const hy_cell *cell, int max_len, int wanted, int *T, int *n) {
    *T = max_len && cell->T > max_len ? max_len : cell->T;
    *n = cell->count && cell->count < wanted ? (int)cell->count : wanted;
}

void hy_examples_choose(const hy_measure_context *c, int cell, int max_len, int wanted, hy_examples *e) {
    *e = (hy_examples){.cell = hy_task_cell(c->task, HY_SPLIT_EVAL, cell), .index = cell};
    const hy_cell *at = e->cell;
    hy_examples_size(at, max_len, wanted, &e->T, &e->n);
    e->ids = hy_xcalloc(2 * (size_t)at->T, sizeof *e->ids);
    e->labels = e->ids + at->T;
    e->want = hy_xcalloc((size_t)c->prog->spec.n_layers, sizeof *e->want);
}

hy_status hy_examples_open(const hy_measure_context *c, int cell, int max_len, int wanted, hy_examples *e) {
    hy_examples_choose(c, cell, max_len, wanted, e);
    return hy_capture_open(c->prog, c->params, e->T, &e->capture);
}

char *hy_examples_meta(const hy_examples *e, int meta_tokens, const char *options) {
    hy_json *j = hy_json_new_object();
    hy_buf text = {0};
    hy_json_set_string(j, "options", options);
    hy_json_set_string(j, "cell", e->cell->name);
    hy_json_set_int(j, "examples", e->n);
    hy_json_set_int(j, "meta_tokens", meta_tokens);
    hy_json_text(j, 0, &text);
    hy_json_free(j);
    return text.s;
}

void hy_examples_close(hy_examples *e) {
    hy_capture_close(e->capture);
    free(e->ids);
    free(e->want);
    *e = (hy_examples){0};
}

hy_status hy_examples_take(const hy_measure_context *c, hy_examples *e, int i) {
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted at example %d of %d", i, e->n);
    return hy_task_example(c->task, HY_SPLIT_EVAL, e->index, i, e->ids, e->labels);
}

hy_status hy_examples_probe(const hy_measure_context *c, hy_examples *e, int i, const hy_probe *probe) {
    HY_TRY(hy_examples_take(c, e, i));
    return hy_capture_probe(e->capture, e->ids, probe);
}

hy_status hy_examples_run(const hy_measure_context *c, hy_examples *e, int i, hy_capture_fn fn, void *user) {
    HY_TRY(hy_examples_take(c, e, i));
    return hy_capture_run(e->capture, e->ids, e->want, fn, user);
}

void hy_moments_add(hy_moments *m, double v) {
    m->sum += v;
    m->squares += v * v;
    m->n++;
}

double hy_moments_error(const hy_moments *m) {
    const int n = m->n;
    const double mean = m->sum / n;
    return n > 1 ? sqrt(fmax(0, (m->squares - n * mean * mean) / (n - 1)) / n) : NAN;
}

hy_fact *hy_moments_fact(const hy_measure_context *c, hy_facts *f, const char *metric, const char *cell,
                         const hy_moments *m) {
    HY_ASSERT(m->n > 0);
    const int n = m->n;
    hy_fact *a = hy_facts_add(f, metric, cell, m->sum / n);
    a->step = c->step;
    a->n = n;
    a->se = hy_moments_error(m);
    return a;
}

hy_fact *hy_moments_layer_fact(const hy_measure_context *c, hy_facts *f, const char *metric, int layer,
                               const char *kind, int head, const hy_moments *m) {
    char cell[48];
    if (head < 0)
        snprintf(cell, sizeof cell, "layer%d.%s", layer, kind);
    else
        snprintf(cell, sizeof cell, "layer%d.head%d", layer, head);
    hy_fact *a = hy_moments_fact(c, f, metric, cell, m);
    a->x = layer;
    hy_fact_at(a, layer, kind, head);
    return a;
}
