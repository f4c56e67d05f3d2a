// timing_lock.h - silence for timings: of all runs that share a database on this machine, one may ask the others to
// pause at their next training step while it measures. Two lock files; a process that dies releases them.
#ifndef HY_TIMING_LOCK_H
#define HY_TIMING_LOCK_H
#include "core/base/base.h"

typedef struct {
    int gate, work;  // file descriptors
} hy_timing_lock;
// folder: where the lock files lie. This process counts as working from now on.
hy_status hy_timing_lock_open(const char *folder, hy_timing_lock *q);
void hy_timing_lock_close(hy_timing_lock *q);
// Between two steps: waits while another process measures. Seconds waited.
double hy_timing_lock_pass(hy_timing_lock *q);
// Waits until every other process is between two steps or done, and keeps them there until the end. HY_EINTR if
// interrupted.
hy_status hy_timing_lock_begin(hy_timing_lock *q);
void hy_timing_lock_end(hy_timing_lock *q);
#endif
