// experiment_own.c - what lives as long as an experiment, and the names of its runs. See experiment_impl.h.
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/runner/experiment_impl.h"

void *hy_experiment_own(hy_experiment *e, void *p) {
    hy_arena_list *l = hy_xcalloc(1, sizeof *l);
    *l = (hy_arena_list){.next = e->owned, .p = p};
    e->owned = l;
    return p;
}

void hy_assignments_add(hy_experiment *e, hy_assignments *a, const char *text) {
    a->v = hy_xrealloc(a->v, (size_t)(a->n + 2) * sizeof *a->v);
    a->v[a->n++] = hy_experiment_own(e, hy_xstrdup(text));
    a->v[a->n] = NULL;
}

void hy_item_label(const hy_run_item *it, char out[256]) {
    snprintf(out, 256, "%s %s%s%s seed %lld", it->variant, it->task, *it->grid ? " " : "", it->grid,
             (long long)it->seed);
}

bool hy_run_matches(const char *glob, const char *variant, const char *task, const char *grid, int64_t seed) {
    char whole[512];
    snprintf(whole, sizeof whole, "%s/%s/%s/seed%lld", variant, task, grid, (long long)seed);
    bool hit = !fnmatch(glob, variant, 0) || !fnmatch(glob, task, 0) || !fnmatch(glob, whole, 0);
    snprintf(whole, sizeof whole, "%s/%s/seed%lld", variant, task, (long long)seed);
    return hit || (!*grid && !fnmatch(glob, whole, 0));
}
