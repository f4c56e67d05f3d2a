// process.h - which process owns a running row, and whether it still lives.
#ifndef HY_PROCESS_H
#define HY_PROCESS_H
#include <stdbool.h>
#include <stdint.h>

// Boot, pid namespace, pid and start time of this process, so that a recycled pid is not taken for the owner. Compared
// as a whole.
void hy_process_self(char out[160]);
typedef enum { HY_PROCESS_ALIVE, HY_PROCESS_GONE, HY_PROCESS_ELSEWHERE } hy_process_state;
hy_process_state hy_process_look(
    const char *process);  // ELSEWHERE: another machine or container, or not to be seen: only heartbeats tell
// What a process of another machine or container owns and has given no sign of life for this long is taken over. One
// from the future (a clock that was set back) is no sign of life either.
#define HY_DEAD_S 600
bool hy_process_alive(const char *process, int64_t heartbeat);
void hy_host_name(char out[65]);
long hy_process_pid(const char *process);  // 0: not such a text
#endif
