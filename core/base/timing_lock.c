// timing_lock.c - see timing_lock.h. Everyone who works holds `work` shared; a measurer takes `gate`, then `work`, both
// exclusively. Whoever finds the gate closed lets go of `work` and waits at the gate.
#include "core/base/timing_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static hy_status lock(int fd, int how) {
    while (flock(fd, how)) {
        if (errno == EINTR && !hy_interrupted) continue;
        return errno == EINTR ? hy_error(HY_EINTR, "interrupted while waiting to measure")
                              : hy_error(HY_EFAIL, "file lock: %s", strerror(errno));
    }
    return HY_OK;
}

static hy_status open_file(const char *folder, const char *name, int *fd) {
    char *path = hy_asprintf("%s/%s", folder, name);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    hy_status s = *fd < 0 ? hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno)) : HY_OK;
    free(path);
    return s;
}

hy_status hy_timing_lock_open(const char *folder, hy_timing_lock *q) {
    *q = (hy_timing_lock){-1, -1};
    hy_status s = open_file(folder, ".timing-gate", &q->gate);
    if (!s) s = open_file(folder, ".timing-work", &q->work);
    if (!s) hy_timing_lock_pass(q);
    if (s) hy_timing_lock_close(q);
    return s;
}

void hy_timing_lock_close(hy_timing_lock *q) {
    if (q->gate >= 0) close(q->gate);
    if (q->work >= 0) close(q->work);
    *q = (hy_timing_lock){-1, -1};
}

double hy_timing_lock_pass(hy_timing_lock *q) {
    const double start = hy_now();
    if (flock(q->gate, LOCK_SH | LOCK_NB)) {
        flock(q->work, LOCK_UN);
        if (lock(q->gate, LOCK_SH)) return hy_now() - start;
    }
    lock(q->work, LOCK_SH);  // at the gate nobody else can hold it exclusively
    flock(q->gate, LOCK_UN);
    return hy_now() - start;
}

hy_status hy_timing_lock_begin(hy_timing_lock *q) {
    flock(q->work, LOCK_UN);
    HY_TRY(lock(q->gate, LOCK_EX));
    hy_status s = lock(q->work, LOCK_EX);
    if (s) hy_timing_lock_end(q);
    return s;
}

void hy_timing_lock_end(hy_timing_lock *q) {
    flock(q->work, LOCK_UN);
    flock(q->gate, LOCK_UN);
    hy_timing_lock_pass(q);
}
