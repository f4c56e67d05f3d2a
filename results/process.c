// process.c - which process owns a running row, and whether it still lives. See process.h.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/base.h"
#include "results/process.h"

// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 if it is gone or a zombie.
static unsigned long long start_time(long pid) {
    char path[64], *text = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (!hy_file_exists(path) || hy_file_read(path, 1 << 16, &text, &n)) return 0;
    unsigned long long t = 0;
    char *p = strrchr(text, ')');  // the command name before it may hold anything
    char state = 0;
    if (p && sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
                    &t) != 2)
        t = 0;
    if (state == 'Z' || state == 'X') t = 0;
    free(text);
    return t;
}

// "BOOT:PIDNAMESPACE": pids mean the same to two processes only if these agree.
static void place(char out[100]) {
    char *boot = NULL, ns[48] = "";
    size_t n = 0;
    if (!hy_file_exists("/proc/sys/kernel/random/boot_id") ||
        hy_file_read("/proc/sys/kernel/random/boot_id", 4096, &boot, &n))
        boot = hy_xstrdup("unknown");
    boot[strcspn(boot, "\n")] = 0;
    ssize_t k = readlink("/proc/self/ns/pid", ns, sizeof ns - 1);
    ns[k > 0 ? k : 0] = 0;
    snprintf(out, 100, "%.40s:%.40s", boot, ns);
    free(boot);
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
    return now && now == start ? HY_PROCESS_ALIVE : HY_PROCESS_GONE;
}

long hy_process_pid(const char *process) {
    const char *slash = strchr(process, '/');
    return slash ? atol(slash + 1) : 0;
}
