// merge_weights.c - see merge_weights.h.
#include "experiments/runner/merge_weights.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "experiments/runner/weights.h"

static hy_status copy_file(const char *from, const char *to) {
    enum { BLOCK = 1 << 20 };
    hy_outfile o;
    FILE *f = fopen(from, "rb");
    if (!f) return hy_error(HY_EFAIL, "%s: cannot be read", from);
    hy_status st = hy_outfile_open(&o, to);
    char *block = hy_xcalloc(1, BLOCK);
    const bool open = !st;
    for (size_t n; !st && (n = fread(block, 1, BLOCK, f)) > 0;) st = hy_outfile_write(&o, block, n);
    if (!st && ferror(f)) st = hy_error(HY_EFAIL, "%s: cannot be read", from);
    if (open && !st)
        st = hy_outfile_commit(&o);
    else if (open)
        hy_outfile_abort(&o);
    free(block);
    fclose(f);
    return st;
}

// Another name for the same file, whole or not at all; across file systems a copy. Weights are never written in place,
// so that a file with two names is as good as two files.
static hy_status bring_file(const char *from, const char *to) {
    char *tmp = hy_asprintf("%s.tmp.%ld", to, (long)getpid());
    unlink(tmp);
    const bool linked = !link(from, tmp) && !rename(tmp, to);
    if (!linked) unlink(tmp);
    free(tmp);
    return linked ? HY_OK : copy_file(from, to);
}

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
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
    } else if (same_file(from, to) || hy_weights_intact(w->dest, name, hash)) {
        *there = true;
    } else {
        st = w->dry ? HY_OK : hy_make_folders_above(to);
        if (!st && !w->dry) st = bring_file(from, to);
        *there = *copied = !st;
    }
    free(from), free(to);
    return st;
}
