// device.h - where a model runs: the CPU, or one of the GPUs.
#ifndef HY_DEVICE_H
#define HY_DEVICE_H
#include "kernels/backend.h"

typedef struct {
    const char *kind;  // "cpu" or "cuda"
    int number;        // of the GPU; -1: the first that can be used
} hy_device;
// isa: kernels of the CPU; threads: of the CPU, whatever the device.
hy_status hy_device_open(const hy_device *d, const char *isa, int threads, hy_backend *out);
#endif
