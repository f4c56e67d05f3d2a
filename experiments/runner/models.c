// models.c - see models.h.
#include "experiments/runner/models.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "experiments/runner/experiment.h"
#include "experiments/runner/weights.h"
#include "results/query_models.h"
#include "results/record.h"

// An unfinished file this old is nobody's: writing one takes seconds to minutes.
#define UNFINISHED_S 3600

// ---------------------------------------------------------------------------------------------------- names of files
typedef struct {
    int n;
    char **v;
} names;

static void names_add(names *l, const char *name) {
    l->v = hy_xrealloc(l->v, (size_t)(l->n + 1) * sizeof *l->v);
    l->v[l->n++] = hy_xstrdup(name);
}
static void names_free(names *l) {
    for (int i = 0; i < l->n; i++) free(l->v[i]);
    free(l->v);
}
static bool names_have(const names *l, const char *name) {
    for (int i = 0; i < l->n; i++)
        if (!strcmp(l->v[i], name)) return true;
    return false;
}

// Files of models that a database knows: stored, or being made.
static hy_status add_known(hy_store *s, names *known) {
    hy_query *q;
    hy_model_file f;
    bool row = false;
    HY_TRY(hy_ask_model_files(s, &q));
    hy_status st;
    while (!(st = hy_next_model_file(q, &row, &f)) && row) {
        char *name = *f.weights ? hy_xstrdup(f.weights) : hy_weights_name(f.model_key, f.seed, f.device);
        names_add(known, name);
        free(name);
    }
    hy_query_close(q);
    return st;
}

static bool is_sqlite(const char *path) {
    char head[16] = "";
    FILE *f = fopen(path, "rb");
    const bool is = f && fread(head, 1, sizeof head, f) == sizeof head && !memcmp(head, "SQLite format 3", 16);
    if (f) fclose(f);
    return is;
}

// The other databases beside this one share its folder models/. One that cannot be read has weights that nobody must
// touch: false.
static bool add_neighbours(const char *db, names *known) {
    const char *slash = strrchr(db, '/'), *own = slash ? slash + 1 : db;
    char *folder = slash ? hy_asprintf("%.*s", (int)(slash - db) + 1, db) : hy_xstrdup("./");
    bool all = true;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = hy_asprintf("%s%s", folder, e->d_name);
        hy_store *s = NULL;
        if (strcmp(e->d_name, own) && is_sqlite(path) && !hy_store_open(path, HY_STORE_READ, &s))
            all &= !add_known(s, known);
        hy_store_close(s);
        free(path);
    }
    if (d) closedir(d);
    free(folder);
    return all;
}

// "KEY-SEED-DEVICE.safetensors" as hy_weights_name makes it, perhaps unfinished (".tmp." after it).
static bool is_weights(const char *name, bool *unfinished) {
    const size_t key = strspn(name, "0123456789abcdef");
    const char *end = strstr(name, ".safetensors");
    *unfinished = end && !strncmp(end, ".safetensors.tmp.", 17);
    return key == 32 && name[32] == '-' && end && (*unfinished || !end[12]);
}

// ---------------------------------------------------------------------------------------------------- the list
static void look_at_file(const char *db, hy_stored_weights *w) {
    char *path = hy_weights_path(db, w->file);
    struct stat st;
    w->bytes = w->age = NAN;
    if (!stat(path, &st)) {
        w->bytes = (double)st.st_size;
        w->age = difftime(time(NULL), st.st_mtime);
    } else if (w->state == HY_WEIGHTS_STORED) {
        w->state = HY_WEIGHTS_MISSING;
    }
    free(path);
}

static void list_add(hy_weights_list *l, const hy_weights_row *r, hy_weights_state state) {
    l->v = hy_xrealloc(l->v, (size_t)(l->n + 1) * sizeof *l->v);
    l->v[l->n++] = (hy_stored_weights){.state = state,
                                       .model_id = r->model_id,
                                       .seed = r->seed,
                                       .steps = r->steps,
                                       .variant = hy_xstrdup(r->variant),
                                       .task = hy_xstrdup(r->task),
                                       .grid = hy_xstrdup(r->grid),
                                       .device = hy_xstrdup(r->device),
                                       .file = hy_xstrdup(r->weights),
                                       .hash = hy_xstrdup(r->hash),
                                       .ended = hy_xstrdup(r->ended),
                                       .measurements = r->measurements};
}

static void free_one(hy_stored_weights *w) {
    free(w->variant), free(w->task), free(w->grid), free(w->device), free(w->file), free(w->hash), free(w->ended);
}

static void add_orphans(const char *db, const names *known, hy_weights_list *out) {
    char *folder = hy_weights_folder(db);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        bool unfinished;
        if (!is_weights(e->d_name, &unfinished) || names_have(known, e->d_name)) continue;
        const hy_weights_row r = {
            .variant = "", .task = "", .grid = "", .device = "", .weights = e->d_name, .hash = "", .ended = ""};
        list_add(out, &r, HY_WEIGHTS_ORPHAN);
        look_at_file(db, &out->v[out->n - 1]);
        if (unfinished && !(out->v[out->n - 1].age > UNFINISHED_S)) free_one(&out->v[--out->n]);  // somebody writes it
    }
    if (d) closedir(d);
    free(folder);
}

hy_status hy_weights_list_load(hy_store *s, bool check, hy_weights_list *out) {
    const char *db = hy_store_path(s);
    hy_query *q;
    hy_weights_row r;
    bool row = false;
    names known = {0};
    *out = (hy_weights_list){0};
    hy_status st = hy_ask_weights(s, &q);
    if (st) return st;
    while (!(st = hy_next_weights(q, &row, &r)) && row) {
        list_add(out, &r, HY_WEIGHTS_STORED);
        hy_stored_weights *w = &out->v[out->n - 1];
        look_at_file(db, w);
        if (check && w->state == HY_WEIGHTS_STORED && !hy_weights_intact(db, w->file, *w->hash ? w->hash : NULL))
            w->state = HY_WEIGHTS_CHANGED;
    }
    hy_query_close(q);
    if (!st) st = add_known(s, &known);
    if (!st && add_neighbours(db, &known)) add_orphans(db, &known, out);
    names_free(&known);
    if (st) hy_weights_list_free(out);
    return st;
}

void hy_weights_list_free(hy_weights_list *l) {
    for (int i = 0; i < l->n; i++) free_one(&l->v[i]);
    free(l->v);
    *l = (hy_weights_list){0};
}

static bool matches(const hy_stored_weights *w, const char *glob) {
    return !fnmatch(glob, w->file, 0) || (w->model_id && hy_run_matches(glob, w->variant, w->task, w->grid, w->seed));
}

void hy_weights_list_filter(hy_weights_list *l, const char *glob, double age) {
    int n = 0;
    for (int i = 0; i < l->n; i++) {
        if ((!glob || matches(&l->v[i], glob)) && !(l->v[i].age < age))
            l->v[n++] = l->v[i];
        else
            free_one(&l->v[i]);
    }
    l->n = n;
}

// ---------------------------------------------------------------------------------------------------- freeing
// The database first: a file that it does not know is an orphan, found again; a name without a file is a model that
// trains again.
hy_status hy_weights_list_prune(hy_store *s, const hy_weights_list *l) {
    for (int i = 0; i < l->n; i++) {
        if (l->v[i].model_id) HY_TRY(hy_model_weights_gone(s, l->v[i].model_id));
        char *path = hy_weights_path(hy_store_path(s), l->v[i].file);
        const bool failed = unlink(path) && errno != ENOENT;
        const hy_status st = failed ? hy_error(HY_EFAIL, "%s: cannot be removed: %s", path, strerror(errno)) : HY_OK;
        free(path);
        HY_TRY(st);
    }
    return HY_OK;
}
