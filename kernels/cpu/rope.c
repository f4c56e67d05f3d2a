// rope.c - what can be said of positions only when they are there. See rope.h.
#include "kernels/cpu/rope.h"

hy_status hy_cpu_rope_check_data(const hy_rope_args *a) {
    for (int b = 0; b < a->B; b++)
        if (a->pos[b] < 0 || a->pos[b] > INT32_MAX - a->T)
            return hy_error(HY_EINPUT, "rope: sequence %d has position %d", b, a->pos[b]);
    return HY_OK;
}
