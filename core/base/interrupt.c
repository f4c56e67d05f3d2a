// interrupt.c - signals that ask a program to end: where that would lose something, it is told and ends by itself. See
// base.h.
#include <signal.h>
#include <sys/types.h>
#include <time.h>

#include "core/base/base.h"

enum { SIGNALS = 4 };
static const int ending[SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};  // USR1: of batch systems, ahead of the end
static struct sigaction before[SIGNALS];
static int deferring;
static volatile pid_t workers[HY_WORKERS_MAX];

volatile int hy_interrupted = 0;
static struct timespec first;  // when that was set

// `timeout -s INT` and some shells signal a process and then its whole group: one wish, twice told. A person is slower.
enum { ONE_WISH_MS = 250 };
static bool is_same_wish(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - first.tv_sec) * 1000 + (now.tv_nsec - first.tv_nsec) / 1000000 < ONE_WISH_MS;
}

static void on_signal(int sig) {
    if (hy_interrupted && is_same_wish()) return;
    if (hy_interrupted) {  // a second one does not wait
        for (int i = 0; i < HY_WORKERS_MAX; i++) {
            const pid_t pid = workers[i];
            if (pid <= 0) continue;
            kill(pid, SIGKILL);
            kill(-pid, SIGKILL);  // what it may have started
        }
        signal(sig, SIG_DFL);
        raise(sig);
    }
    clock_gettime(CLOCK_MONOTONIC, &first);
    hy_interrupted = sig;
}

void hy_interrupts_defer(void) {
    if (deferring++) return;
    const struct sigaction mine = {.sa_handler = on_signal};
    for (int i = 0; i < SIGNALS; i++) {
        sigaction(ending[i], NULL, &before[i]);
        // nohup stays in force; shells ignore SIGINT for what they start in the background, where it may be sent yet
        if ((ending[i] == SIGHUP || ending[i] == SIGUSR1) && before[i].sa_handler == SIG_IGN) continue;
        sigaction(ending[i], &mine, NULL);
    }
}

void hy_interrupts_end(void) {
    if (--deferring) return;
    for (int i = 0; i < SIGNALS; i++) sigaction(ending[i], &before[i], NULL);
}

void hy_interrupts_worker(long pid, bool gone) {
    for (int i = 0; i < HY_WORKERS_MAX; i++) {
        if (workers[i] != (gone ? (pid_t)pid : 0)) continue;
        workers[i] = gone ? 0 : (pid_t)pid;
        return;
    }
}
