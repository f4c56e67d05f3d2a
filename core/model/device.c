// device.c - see device.h.
#include "core/model/device.h"

#include <string.h>

hy_status hy_device_open(const hy_device *d, const char *isa, int threads, hy_backend *out) {
    HY_TRY(hy_backend_cpu(isa, threads, out));  // the host's share of the work has threads too
    if (!strcmp(d->kind, "cpu")) return HY_OK;
    const int host_threads = out->threads;
    HY_TRY(hy_backend_cuda(d->number, HY_MATH_F32, out));
    out->threads = host_threads;
    return HY_OK;
}
