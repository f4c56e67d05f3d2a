// sweep_look.c - what is stored of an experiment, and what is left to do. See sweep.h.
#include <stdlib.h>
#include <string.h>

#include "experiments/runner/first_equal.h"
#include "experiments/runner/sweep_impl.h"
#include "experiments/runner/weights.h"

static bool selected(const hy_sweep *s, const hy_run_item *it) {
    return !s->only || hy_run_matches(s->only, it->variant, it->task, it->grid, it->seed);
}

unsigned hy_sweep_claim(const hy_sweep *s, int item) { return s->items[item].continued ? 0 : s->claim; }

unsigned hy_sweep_claim_measure(const hy_sweep *s, int item, const hy_measure *m) {
    const bool again = s->remeasure && !s->items[item].continued && !strcmp(m->name, s->remeasure);
    return hy_sweep_claim(s, item) | (again ? HY_CLAIM_FORCE : 0);
}

// A model that an earlier item of this sweep has made is not made again.
unsigned hy_sweep_claim_model(const hy_sweep *s, int item) {
    const int first = s->items[item].same_model;
    return first != item && s->items[first].seconds > 0 ? 0 : hy_sweep_claim(s, item);
}

// Which measures of a model that is done are to be taken, and whether any failed or is taken by another process.
static hy_status look_at_measures(hy_sweep *s, int i, bool *failed, bool *busy) {
    const hy_run_item *it = &s->e->items[i];
    hy_sweep_item *found = &s->items[i];
    bool weights = false;
    for (int k = 0; k < it->n_measures; k++) {
        const hy_measure *m = it->measures[k].measure;
        hy_claim c;
        int64_t id;
        HY_TRY(hy_measurement_peek(s->store, found->run_id, m->name, m->version, it->measures[k].key,
                                   hy_sweep_claim_measure(s, i, m), &c, &id));
        *failed |= c == HY_CLAIM_FAILED;
        *busy |= c == HY_CLAIM_BUSY;
        if (c != HY_CLAIM_NEW && c != HY_CLAIM_RESUMED) continue;
        found->todo |= (uint64_t)1 << k;
        weights |= m->needs & HY_NEEDS_WEIGHTS;
    }
    if (!weights || it->origin != HY_ORIGIN_TRAINED) return HY_OK;
    char *name, *hash;
    HY_TRY(hy_model_weights(s->store, found->run_id, &name, &hash));
    found->train = found->again = !name || !hy_weights_exist(s->db, name);
    free(name);
    free(hash);
    return HY_OK;
}

hy_status hy_sweep_look_at(hy_sweep *s, int i) {
    const hy_run_item *it = &s->e->items[i];
    hy_sweep_item *found = &s->items[i];
    hy_claim c;
    bool failed = false, busy = false;
    found->todo = 0;
    found->train = found->again = found->busy = false;
    HY_TRY(hy_model_peek(s->store, it->model_key, it->seed, s->device, hy_sweep_claim_model(s, i), &c, &found->run_id));
    if (c == HY_CLAIM_NEW || c == HY_CLAIM_RESUMED) {
        found->state = HY_ITEM_PENDING;
        found->train = true;
        found->todo = ((uint64_t)1 << it->n_measures) - 1;
        return HY_OK;
    }
    if (c == HY_CLAIM_DONE) HY_TRY(look_at_measures(s, i, &failed, &busy));
    found->busy = busy || c == HY_CLAIM_BUSY;
    if (found->todo)
        found->state = HY_ITEM_PENDING;
    else if (c == HY_CLAIM_BUSY || busy)
        found->state = HY_ITEM_BUSY;
    else
        found->state = c == HY_CLAIM_FAILED || failed ? HY_ITEM_STORED_FAILED : HY_ITEM_STORED;
    return HY_OK;
}

// A process killed right after it stored a model may have left files; no open attempt needs them.
static hy_status clean_after(hy_sweep *s, int i) {
    const hy_run_item *it = &s->e->items[i];
    hy_claim c;
    int64_t id;
    HY_TRY(hy_model_peek(s->store, it->model_key, it->seed, s->device, HY_CLAIM_FORCE, &c, &id));
    if (c != HY_CLAIM_NEW) return HY_OK;
    char *stem = hy_job_stem(s->db, it, s->device);
    hy_job_clean(stem, true);
    free(stem);
    return HY_OK;
}

hy_status hy_sweep_clean(hy_sweep *s) {
    for (int i = 0; i < s->e->n_items; i++)
        if (s->items[i].state == HY_ITEM_STORED || s->items[i].state == HY_ITEM_STORED_FAILED)
            HY_TRY(clean_after(s, i));
    return HY_OK;
}

// What makes two items the same: as models of a seed, and with their measures.
typedef struct {
    char model[40], measures[40];  // the rest are zeros
    int64_t seed;
} item_key;

static void measures_key(const hy_run_item *it, char out[33]) {
    hy_buf b = {0};
    for (int k = 0; k < it->n_measures; k++)
        hy_buf_printf(&b, "%s %s\n", it->measures[k].measure->name, it->measures[k].key);
    hy_hash_hex(b.s ? b.s : "", b.n, out);
    free(b.s);
}

// The items of the same model and seed, and those that differ in nothing from an earlier one.
static void find_twins(hy_sweep *s) {
    const hy_experiment *e = s->e;
    const size_t all = (size_t)e->n_items;
    item_key *keys = hy_xcalloc(all, sizeof *keys);
    int *first = hy_xcalloc(all, sizeof *first), *of = hy_xcalloc(all, sizeof *of), n = 0;
    for (int i = 0; i < e->n_items; i++) {
        if (s->items[i].state == HY_ITEM_LEFT_OUT) continue;
        strcpy(keys[n].model, e->items[i].model_key);
        keys[n].seed = e->items[i].seed;
        of[n++] = i;
    }
    hy_first_equal(keys, sizeof *keys, n, first);
    for (int k = 0; k < n; k++) {
        s->items[of[k]].same_model = of[first[k]];
        measures_key(&e->items[of[k]], keys[k].measures);
    }
    hy_first_equal(keys, sizeof *keys, n, first);
    for (int k = 0; k < n; k++)
        if (first[k] != k) s->items[of[k]].state = HY_ITEM_TWIN;
    free(keys);
    free(first);
    free(of);
}

hy_status hy_sweep_look(hy_sweep *s) {
    const hy_experiment *e = s->e;
    if (!s->items) s->items = hy_xcalloc((size_t)e->n_items, sizeof *s->items);
    for (int k = 0; k < HY_SWEEP_MAX_JOBS; k++) s->slots[k].item = -1;
    int chosen = 0;
    for (int i = 0; i < e->n_items; i++) {
        const bool fits = selected(s, &e->items[i]), in = fits && (!s->shard_of || s->shard_of[i] == s->shard);
        s->items[i] = (hy_sweep_item){.state = in ? HY_ITEM_PENDING : HY_ITEM_LEFT_OUT,
                                      .same_model = i,
                                      .train = true,
                                      .todo = ((uint64_t)1 << e->items[i].n_measures) - 1};
        chosen += fits;  // it may leave nothing to this shard
    }
    if (!chosen && s->only)
        return hy_error(
            HY_EINPUT,
            "--only '%s': no run matches; its variant, task or VARIANT/TASK/GRID/seedN must (--dry-run lists the runs)",
            s->only);
    find_twins(s);
    for (int i = 0; s->store && i < e->n_items; i++)
        if (s->items[i].state == HY_ITEM_PENDING) HY_TRY(hy_sweep_look_at(s, i));
    return HY_OK;
}

void hy_sweep_free(hy_sweep *s) {
    for (int i = 0; s->items && i < s->e->n_items; i++) free(s->items[i].text);
    free(s->items);
    s->items = NULL;
}
