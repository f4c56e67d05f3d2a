// merge_weights.c - see merge_weights.h.
#include "experiments/runner/merge_weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/runner/weights.h"

static char *staged_name(const char *to) { return hy_asprintf("%s.tmp.%ld", to, (long)getpid()); }

// Another name for the same file; across file systems a copy. Weights are never written in place, so that a file with
// two names is as good as two files. It gets its own name with the rows that tell of it: what is there stays until
// then.
static hy_status stage(hy_merge_weights *w, const char *from, const char *to) {
    char *tmp = staged_name(to);
    unlink(tmp);
    const hy_status st = link(from, tmp) ? hy_copy_file(from, tmp) : HY_OK;
    free(tmp);
    HY_TRY(st);
    for (int i = 0; i < w->n; i++)
        if (!strcmp(w->staged[i], to)) return HY_OK;
    w->staged = hy_xrealloc(w->staged, (size_t)(w->n + 1) * sizeof *w->staged);
    w->staged[w->n++] = hy_xstrdup(to);
    return HY_OK;
}

hy_status hy_merge_weights_end(hy_merge_weights *w, hy_status merged) {
    hy_status st = merged;
    for (int i = 0; i < w->n; i++) {
        char *tmp = staged_name(w->staged[i]);
        if (!merged && rename(tmp, w->staged[i]) && !st)
            st = hy_error(HY_EFAIL, "%s: cannot be put in its place: %s; merge again to bring it", w->staged[i],
                          strerror(errno));
        unlink(tmp);  // what was not renamed
        free(tmp);
        free(w->staged[i]);
    }
    free(w->staged);
    w->staged = NULL, w->n = 0;
    return st;
}

hy_status hy_merge_bring_weights(void *user, const char *name, const char *hash, bool *there, bool *copied) {
    hy_merge_weights *w = user;
    *there = *copied = false;
    if (strchr(name, '/')) {
        w->damaged++;
        return HY_OK;
    }
    char *from = hy_weights_path(w->shard, name), *to = hy_weights_path(w->dest, name);
    hy_status st = HY_OK;
    if (!hy_file_exists(from)) {
        *there = hy_weights_intact(w->dest, name, hash);
    } else if (!hy_weights_intact(w->shard, name, hash)) {
        w->damaged++;
        *there = hy_weights_intact(w->dest, name, hash);
    } else if (hy_same_file(from, to) || hy_weights_intact(w->dest, name, hash)) {
        *there = true;
    } else {
        st = w->dry ? HY_OK : hy_make_folders_above(to);
        if (!st && !w->dry) st = stage(w, from, to);
        *there = *copied = !st;
    }
    free(from), free(to);
    return st;
}
