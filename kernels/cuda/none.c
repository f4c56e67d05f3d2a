// none.c - stands in for the CUDA backend in a build without nvcc: says so.
#include <stdio.h>

#include "kernels/ceilings.h"

static const char why[] = "this build has no CUDA: it was made without nvcc (make CUDA=/path/to/cuda builds with it)";

hy_status hy_backend_cuda(int device, hy_math math, hy_backend *out) {
    (void)device, (void)math, (void)out;
    return hy_error(HY_EINPUT, "%s", why);
}

hy_status hy_cuda_find(int device) {
    (void)device;
    return hy_error(HY_EINPUT, "%s", why);
}

hy_status hy_cuda_time(hy_status (*work)(void *), void *user, double *seconds) {
    (void)work, (void)user, (void)seconds;
    return hy_error(HY_EINPUT, "%s", why);
}

hy_status hy_cuda_measure_ceilings(size_t copy_bytes, int n, int reps, hy_cuda_ceilings *out) {
    (void)copy_bytes, (void)n, (void)reps, (void)out;
    return hy_error(HY_EINPUT, "%s", why);
}

bool hy_cuda_describe(char *line, size_t n) {
    snprintf(line, n, "%s", why);
    return false;
}
