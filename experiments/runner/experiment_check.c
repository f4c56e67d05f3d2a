// experiment_check.c - what can be refused of an experiment before anything is trained. See experiment.h.
#include <stdlib.h>
#include <string.h>

#include "experiments/runner/experiment_impl.h"
#include "experiments/runner/first_equal.h"

static hy_status in_context(const hy_run_item *it, hy_status s) {
    return s ? hy_error_context(s, "%s: variant %s on task %s", it->at, it->variant, it->task) : HY_OK;
}

// The items that have a model, measures or precision which none before has: to check these is to check all.
static int *distinct_items(const hy_experiment *e) {
    typedef struct {
        const void *spec, *measures;
        int64_t precision;
    } key;
    key *keys = hy_xcalloc((size_t)e->n_items, sizeof *keys);
    int *first = hy_xcalloc((size_t)e->n_items, sizeof *first);
    for (int i = 0; i < e->n_items; i++) {
        const hy_run_item *it = &e->items[i];
        keys[i] = (key){it->spec, it->measures, it->train->precision};
    }
    hy_first_equal(keys, sizeof *keys, e->n_items, first);
    free(keys);
    return first;
}

static hy_status check_item(const hy_run_item *it, const hy_task *task, const char *device) {
    const hy_precision precision = it->train->precision;
    if (device && precision == HY_PRECISION_TF32 && !strcmp(device, "cpu"))
        return hy_error(HY_EINPUT, "train.precision: tf32 needs --device cuda");
    const hy_measure_subject subject = {
        .spec = it->spec, .task = task, .device = device ? device : "cuda", .precision = precision};
    for (int k = 0; k < it->n_measures; k++)
        HY_TRY(hy_measure_check(it->measures[k].measure, &subject, &it->measures[k].options));
    return HY_OK;
}

static hy_status check_items(const hy_experiment *e, const int *first, const char *device) {
    hy_status s = HY_OK;
    hy_task *task = NULL;
    const char *opened = NULL;  // options of the open task
    for (int i = 0; !s && i < e->n_items; i++) {
        const hy_run_item *it = &e->items[i];
        if (first[i] != i) continue;
        if (opened != it->task_options) {
            if (task) hy_task_close(task);
            task = NULL;
            s = hy_task_open(it->task_kind, it->task_options, (uint64_t)it->seed, &task);
            opened = it->task_options;
        }
        if (!s) s = check_item(it, task, device);
        s = in_context(it, s);
    }
    if (task) hy_task_close(task);
    return s;
}

// A measure that finds nothing in any of the models is a mistake.
static hy_status check_use(const hy_experiment *e, const int *first) {
    for (int k = 0; k < e->measures.n; k++) {
        const hy_planned_measure *m = &e->measures.v[k];
        bool wanted = false, applies = false;
        for (int i = 0; i < e->n_items && !applies; i++) {
            if (first[i] != i || !hy_measure_plan_wants(m, e->items[i].seed)) continue;
            wanted = true;
            applies = hy_measure_applies(m->measure, e->items[i].spec, &m->options);
        }
        if (wanted && !applies)
            return hy_error(
                HY_EINPUT,
                "%s: measures.%s would find nothing in any of the models: leave it out or change its options",
                e->root->file, m->measure->name);
    }
    return HY_OK;
}

hy_status hy_experiment_check(const hy_experiment *e, const char *device) {
    int *first = distinct_items(e);
    hy_status s = check_use(e, first);
    if (!s) s = check_items(e, first, device);
    free(first);
    return s;
}
