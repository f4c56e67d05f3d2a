// task_arg.c - see task_arg.h.
#include "experiments/cli/task_arg.h"

#include <stdlib.h>
#include <string.h>

hy_status hy_task_from_args(const char *kind, const hy_arg_list *sets, uint64_t seed, hy_task **out) {
    hy_buf b = {0};
    for (int i = 0; i < sets->n; i++) {
        const char *eq = strchr(sets->v[i], '=');
        if (!eq) {
            free(b.s);
            return hy_error(HY_EINPUT, "--task-set %s: NAME=VALUE is wanted", sets->v[i]);
        }
        hy_buf_printf(&b, "%.*s: %s\n", (int)(eq - sets->v[i]), sets->v[i], eq + 1);
    }
    hy_status s = hy_task_open(kind, b.s, seed, out);
    free(b.s);
    return s;
}
