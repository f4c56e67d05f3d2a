// crash.c - see crash.h.
#include "experiments/runner/crash.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPARE ((size_t)256 << 20)  // more than a library asks for at once; where this much is free, a crash is a fault

static int report = -1;  // of this process: a signal handler has no other way to know

// Only what a signal handler may do.
static void on_crash(int sig) {
    static const char line[] = "\n" HY_CRASH_MEMORY "\n";
    void *p = mmap(NULL, SPARE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        const ssize_t n = write(report, line, strlen(line));
        (void)n;
    }
    raise(sig);  // SA_RESETHAND: now it ends the process
}

void hy_crash_watch(int fd) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE};
    struct sigaction sa = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};
    report = fd;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaction(signals[i], &sa, NULL);
}
