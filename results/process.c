// process.c - which process owns a running row, and whether it still lives. See process.h.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "results/process.h"

#define UNKNOWN (~0ULL)

// A small file of /proc as text. Nothing is allocated: want of memory must not make a living process look dead, nor
// this one look like another. False: errno says why.
static bool read_text(const char *path, char *out, size_t size) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n;
    while ((n = read(fd, out, size - 1)) < 0 && errno == EINTR) {
    }
    const int why = errno;
    close(fd);
    errno = why;
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 if it is gone or a zombie, UNKNOWN
// if that cannot be read now.
static unsigned long long start_time(long pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (!read_text(path, text, sizeof text)) return errno == ENOENT || errno == ESRCH ? 0 : UNKNOWN;
    unsigned long long t = 0;
    char *p = strrchr(text, ')');  // the command name before it may hold anything
    char state = 0;
    if (p && sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
                    &t) != 2)
        t = 0;
    return state == 'Z' || state == 'X' ? 0 : t;
}

// "BOOT:PIDNAMESPACE": pids mean the same to two processes only if these agree.
static void place(char out[100]) {
    char boot[64], ns[48] = "";
    if (!read_text("/proc/sys/kernel/random/boot_id", boot, sizeof boot)) strcpy(boot, "unknown");
    boot[strcspn(boot, "\n")] = 0;
    ssize_t k = readlink("/proc/self/ns/pid", ns, sizeof ns - 1);
    ns[k > 0 ? k : 0] = 0;
    snprintf(out, 100, "%.40s:%.40s", boot, ns);
}

void hy_process_self(char out[160]) {
    char here[100];
    place(here);
    snprintf(out, 160, "%s/%ld/%llu", here, (long)getpid(), start_time(getpid()));
}

hy_process_state hy_process_look(const char *process) {
    char here[100];
    place(here);
    size_t n = strlen(here);
    if (strncmp(process, here, n) || process[n] != '/') return HY_PROCESS_ELSEWHERE;
    long pid = 0;
    unsigned long long start = 0;
    if (sscanf(process + n, "/%ld/%llu", &pid, &start) != 2 || pid <= 0) return HY_PROCESS_GONE;
    unsigned long long now = start_time(pid);
    if (now == UNKNOWN) return HY_PROCESS_ELSEWHERE;
    return now && now == start ? HY_PROCESS_ALIVE : HY_PROCESS_GONE;
}

long hy_process_pid(const char *process) {
    const char *slash = strchr(process, '/');
    return slash ? atol(slash + 1) : 0;
}

bool hy_process_alive(const char *process, int64_t heartbeat) {
    const hy_process_state p = hy_process_look(process);
    return p == HY_PROCESS_ALIVE ||
           (p == HY_PROCESS_ELSEWHERE && llabs((long long)(time(NULL) - heartbeat)) < HY_DEAD_S);
}

void hy_host_name(char out[65]) {
    memset(out, 0, 65);
    gethostname(out, 64);
}
