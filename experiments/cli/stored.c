// stored.c - see stored.h.
#include "experiments/cli/stored.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/figure/gnuplot.h"
#include "experiments/runner/experiment.h"
#include "results/query.h"

typedef struct {
    char *name, *scale, *sets;
} identity;

static void identity_free(identity *id) { free(id->name), free(id->scale), free(id->sets); }

static hy_status from_file(const hy_stored_options *o, const char *file, identity *id) {
    hy_experiment *e;
    HY_TRY(hy_experiment_load(file, o->scale, o->sets.v, &e));
    *id = (identity){hy_xstrdup(e->name), hy_xstrdup(e->scale), hy_xstrdup(e->sets)};
    hy_experiment_free(e);
    return HY_OK;
}

// By name (and scale), or the only one there is. Experiments with --set are found by their file.
static hy_status from_store(const hy_stored_options *o, hy_store *s, identity *id) {
    hy_query *q;
    HY_TRY(hy_ask_experiments(s, &q));
    hy_buf all = {0};
    int hits = 0;
    bool row = false;
    hy_status st;
    hy_experiment_id e;
    while (!(st = hy_next_experiment(q, &row, &e)) && row) {
        hy_buf_printf(&all, "%s%s%s%s%s", all.n ? ", " : "", e.name, *e.scale ? " at scale " : "", e.scale,
                      *e.sets ? " with --set" : "");
        if (*e.sets || (o->name && strcmp(o->name, e.name)) || (o->scale && strcmp(o->scale, e.scale))) continue;
        if (hits++ == 0) *id = (identity){hy_xstrdup(e.name), hy_xstrdup(e.scale), hy_xstrdup(e.sets)};
    }
    hy_query_close(q);
    if (!st && hits != 1)
        st = hy_error(HY_EINPUT, "%s: which experiment? %s: %s (give --experiment and --scale, or the YAML file)",
                      hy_store_path(s), all.n ? "It holds" : "It holds no experiment; hylab run makes one",
                      all.n ? all.s : "none");
    free(all.s);
    return st;
}

hy_status hy_stored_open(const hy_stored_options *o, const char *file, hy_store **store, hy_summary **out) {
    identity id = {0};
    *store = NULL;
    if (!file && o->sets.n) return hy_error(HY_EINPUT, "--set needs the experiment's YAML file");
    hy_status s = file ? from_file(o, file, &id) : HY_OK;
    if (!s) s = hy_store_open(o->db, HY_STORE_READ, store);
    if (!s && !file) s = from_store(o, *store, &id);
    if (!s) s = hy_check_results(*store, &(hy_experiment_id){id.name, id.scale, id.sets});
    if (!s) s = hy_summary_load(*store, id.name, id.scale, id.sets, out);
    if (s && *store) {
        hy_store_close(*store);
        *store = NULL;
    }
    identity_free(&id);
    return s;
}

// Whether the database holds another experiment whose folder some file systems would take for that of s.
static bool has_alike(hy_store *store, const hy_summary *s) {
    hy_query *q;
    if (hy_ask_experiments(store, &q)) return false;
    bool row = false, alike = false;
    hy_experiment_id e;
    while (!alike && !hy_next_experiment(q, &row, &e) && row)
        alike = hy_fig_alike(s->experiment, e.name) || hy_fig_alike(s->scale, e.scale);
    hy_query_close(q);
    return alike;
}

char *hy_stored_folder(const hy_stored_options *o, hy_store *store, const hy_summary *s) {
    const char *slash = strrchr(o->db, '/'), *parts[] = {s->experiment, s->scale};
    char *name = hy_fig_name(parts, *s->scale ? 2 : 1, has_alike(store, s)), *sets = NULL;
    if (*s->sets) sets = hy_asprintf("%s..set-%08x", name, (unsigned)hy_hash64(s->sets, strlen(s->sets)));
    char *dir = hy_asprintf("%.*sfigures/%s", slash ? (int)(slash - o->db) + 1 : 0, o->db, sets ? sets : name);
    free(name), free(sets);
    return dir;
}
