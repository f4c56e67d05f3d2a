// copy_back.c - see copy_back.h.
#include "experiments/runner/copy_back.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/runner/weights.h"
#include "results/lease.h"

struct hy_copy_back {
    char *home, *folder, *db;  // where it belongs, the folder of this machine, the database there
    hy_lease *lease;
    double every, next;
    bool lost;  // the newest state is nowhere else
};

// ---------------------------------------------------------------------------------------------------- files
static const char *const endings[] = {"", "-wal", "-shm", "-journal", "-writer", ".copy", ".copy.tmp"};

static void remove_all(const hy_copy_back *c) {
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char *name = hy_asprintf("%s%s", c->db, endings[i]);
        unlink(name);
        free(name);
    }
    char *work = hy_asprintf("%s.work", c->db), *models = hy_weights_folder(c->db);
    unlink(work), unlink(models);  // links: what they lead to stays
    rmdir(c->folder);
    free(work), free(models);
}

// A folder that belongs at home, under the same name beside the database here.
static hy_status link_folder(const char *home, const char *here) {
    HY_TRY(hy_mkdirs(home));
    char *real = realpath(home, NULL);
    hy_status st = HY_OK;
    if (!real || symlink(real, here)) st = hy_error(HY_EFAIL, "%s: cannot be linked to: %s", home, strerror(errno));
    free(real);
    return st;
}

static hy_status link_folders(const hy_copy_back *c) {
    char *work = hy_asprintf("%s.work", c->home), *work_here = hy_asprintf("%s.work", c->db);
    char *models = hy_weights_folder(c->home), *models_here = hy_weights_folder(c->db);
    hy_status st = link_folder(work, work_here);
    if (!st) st = link_folder(models, models_here);
    free(work), free(work_here), free(models), free(models_here);
    return st;
}

// ---------------------------------------------------------------------------------------------------- there and back
// The database at home has no log afterwards, which would be taken for that of a copy; then it is fetched.
static hy_status fetch(const hy_copy_back *c) {
    if (!hy_file_exists(c->home)) return HY_OK;
    hy_store *s;
    HY_TRY(hy_store_open(c->home, HY_STORE_WRITE, &s));
    hy_status st = hy_store_end_log(s);
    if (!st) st = hy_store_copy_open(s, c->db);
    hy_store_close(s);
    return st;
}

static hy_status copy(hy_copy_back *c, const hy_store *s) {
    char *copy = hy_asprintf("%s.copy", c->db);
    hy_status st = hy_lease_held(c->lease);
    if (!st) st = hy_store_copy_open(s, copy);
    if (!st) st = hy_lease_held(c->lease);
    if (!st) st = hy_copy_file(copy, c->home);
    unlink(copy);
    free(copy);
    return st;
}

hy_status hy_copy_back_begin(const char *db, int every, hy_copy_back **out) {
    const char *name = strrchr(db, '/');
    hy_copy_back *c = hy_xcalloc(1, sizeof *c);
    *out = c;
    c->home = hy_xstrdup(db);
    c->every = every ? every : HY_COPY_BACK_S;
    HY_TRY(hy_make_folders_above(db));
    HY_TRY(hy_lease_take(db, true, &c->lease));
    if (!c->lease) return hy_error(HY_EFAIL, "%s: is this process's already", db);
    HY_TRY(hy_temp_folder("hylab", &c->folder));
    c->db = hy_asprintf("%s/%s", c->folder, name ? name + 1 : db);
    HY_TRY(fetch(c));
    HY_TRY(link_folders(c));
    c->next = hy_now() + c->every;
    return HY_OK;
}

const char *hy_copy_back_db(const hy_copy_back *c) { return c->db; }

hy_status hy_copy_back_tick(hy_copy_back *c, const hy_store *s) {
    enum { PAUSE = 20 };  // times what a copy takes
    hy_lease_touch(c->lease);
    if (hy_now() < c->next) return HY_OK;
    HY_TRY(hy_lease_held(c->lease));
    const double start = hy_now();
    if (copy(c, s)) fprintf(stderr, "note: not copied to %s, which is tried again: %s\n", c->home, hy_error_text());
    const double pause = PAUSE * (hy_now() - start);
    c->next = hy_now() + (pause > c->every ? pause : c->every);
    return HY_OK;
}

hy_status hy_copy_back_end(hy_copy_back *c, const hy_store *s) {
    if (!c || !s) return HY_OK;
    const hy_status st = copy(c, s);
    c->lost = st;
    return st ? hy_error_context(st, "copying back to %s; all is in %s", c->home, c->db) : HY_OK;
}

void hy_copy_back_free(hy_copy_back *c) {
    if (!c) return;
    if (c->folder && c->db && !c->lost) remove_all(c);
    hy_lease_end(c->lease);
    free(c->home), free(c->folder), free(c->db), free(c);
}
