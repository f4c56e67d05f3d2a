// train_rescue.c - see train_rescue.h.
#include "experiments/cli/train_rescue.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

hy_status hy_rescue(hy_trainer *t, const char *out, const char *why) {
    const char *const folders[] = {getenv("TMPDIR"), "/tmp", "/var/tmp", ".", getenv("HOME")};
    const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out;
    const long step = hy_trainer_step_count(t);
    if (!hy_trainer_save(t, out)) {
        fprintf(stderr, "checkpoint: %s (in the end)\n", out);
        return HY_OK;
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (!folders[i] || !*folders[i]) continue;
        char *path = hy_asprintf("%s/rescued-%ld-%s", folders[i], (long)getpid(), name);
        const hy_status saved = hy_file_exists(path) ? HY_EFAIL : hy_trainer_save(t, path);
        const hy_status s =
            saved ? HY_OK
                  : hy_error(HY_EFAIL, "--out: %s; the checkpoint of step %ld is in %s instead: move it, it is whole",
                             why, step, path);
        free(path);
        if (s) return s;
    }
    return hy_error(HY_EFAIL,
                    "--out: %s; nor was there room in $TMPDIR, /tmp, /var/tmp, the current and the home folder: the "
                    "weights of step %ld are lost",
                    why, step);
}
