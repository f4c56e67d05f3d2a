// quiet.h - silence for timings: of all runs that share a database on this machine, one may ask the others to pause at their
// next training step while it measures. Two lock files; a process that dies releases them.
#ifndef HY_QUIET_H
#define HY_QUIET_H
#include "core/base.h"

typedef struct {
    int gate, work;  // file descriptors
} hy_quiet;
// folder: where the lock files lie. This process counts as working from now on.
hy_status hy_quiet_open(const char *folder, hy_quiet *q);
void hy_quiet_close(hy_quiet *q);
// Between two steps: waits while another process measures. Seconds waited.
double hy_quiet_pass(hy_quiet *q);
// Waits until every other process is between two steps or done, and keeps them there until the end. HY_EINTR if interrupted.
hy_status hy_quiet_begin(hy_quiet *q);
void hy_quiet_end(hy_quiet *q);
#endif
