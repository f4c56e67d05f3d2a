// beside.h - another process of a bench, of this build or of another, that answers lines ("--serve"): what is compared
// runs in processes of its own, in turn.
#ifndef HY_BENCH_BESIDE_H
#define HY_BENCH_BESIDE_H
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/base.h"

typedef struct {
    FILE *to, *from;
    pid_t pid;
} hy_beside;

// isa NULL: the program's own choice.
static inline hy_status hy_beside_start(const char *program, const char *threads, const char *isa, hy_beside *o) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) return hy_error(HY_EFAIL, "no pipe");
    if ((o->pid = fork()) == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl(program, program, "--serve", "--threads", threads, isa ? "--isa" : (char *)NULL, isa, (char *)NULL);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    o->to = fdopen(in[1], "w"), o->from = fdopen(out[0], "r");
    return HY_OK;
}

// One that was never started is left alone.
static inline void hy_beside_stop(hy_beside *o) {
    if (!o->to) return;
    fclose(o->to), fclose(o->from);
    waitpid(o->pid, NULL, 0);
}
#endif
