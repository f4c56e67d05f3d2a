// device_arg.h - a device on the command line: --device, --isa, --threads.
#ifndef HY_DEVICE_ARG_H
#define HY_DEVICE_ARG_H
#include "core/model/device.h"
#include "core/model/precision.h"

// --device: cpu, cuda (the first GPU that can be used), cuda:N (the one of that number) or auto, which is a GPU where
// there is one and no --isa is asked for, else the CPU. NULL: environment variable HYLAB_DEVICE, else auto. That auto
// found a GPU is told on stderr.
#define HY_DEVICE_NAMES "cpu|cuda|cuda:N|auto"
#define HY_DEVICE_HELP "where to run (default: $HYLAB_DEVICE, else auto: a GPU if there is one)"
hy_status hy_device_from_args(const char *device, const char *isa, hy_device *out);
// The kind that is asked for, "cpu" or "cuda", of which there need be none here: for looking at what others do. NULL:
// auto.
hy_status hy_device_kind(const char *device, const char **kind);
// Both: --device, --isa (the CPU's kernels), --threads (of the CPU, whatever the device) to a backend.
hy_status hy_backend_from_args(const char *device, const char *isa, int threads, hy_backend *out);
// Tells on stderr where computing so is slower than in float32 on this backend.
void hy_tell_slow(hy_precision precision, const hy_backend *be);
// All of a command that computes: --precision (NULL: f32) read, and a backend that computes so; what is slow is told.
hy_status hy_compute_from_args(const char *precision, const char *device, const char *isa, int threads,
                               hy_precision *how, hy_backend *out);
#endif
