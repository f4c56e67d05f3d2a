// device.cu - the GPU that this process has taken, as kernels see it, and what they say when a call fails. See cuda.h.
#include <cstdarg>
#include <cstdio>

#include "kernels/cuda/backend.h"

static struct {
    bool open;
    hy_cuda_device d;
    char name[128];
} taken;

void hy_cuda_take(const char *name, const hy_cuda_device *d) {
    snprintf(taken.name, sizeof taken.name, "%s", name);
    if (!d) return;
    taken.d = *d;
    taken.open = true;
}

const hy_cuda_device *hy_cuda(void) {
    HY_ASSERT(taken.open);
    return &taken.d;
}

hy_status hy_cuda_check(cudaError_t e, const char *what, ...) {
    if (e == cudaSuccess) return HY_OK;
    char doing[256];
    va_list ap;
    va_start(ap, what);
    vsnprintf(doing, sizeof doing, what, ap);
    va_end(ap);
    cudaGetLastError();  // an error that leaves the device usable is told once
    return hy_error(e == cudaErrorMemoryAllocation ? HY_ENOMEM : HY_EFAIL, "%s: %s: %s (%s)",
                    taken.name[0] ? taken.name : "CUDA", doing, cudaGetErrorString(e), cudaGetErrorName(e));
}
