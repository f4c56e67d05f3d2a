// crash.h - how the process of a run tells that it crashed for want of memory. Internal to the runner.
#ifndef HY_CRASH_H
#define HY_CRASH_H

#define HY_CRASH_MEMORY "crash memory"  // the line that it reports then (job.h)

// From now on a crash of this process that happens while memory is short writes that line to fd. A library that does
// not look whether it got its memory ends by a signal, which alone looks like a fault of the program.
void hy_crash_watch(int fd);
#endif
