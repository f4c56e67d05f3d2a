// taskarg.h - a task, a device and a score on the command line: options shared by train, eval, generate and bench.
#ifndef HY_TASKARG_H
#define HY_TASKARG_H
#include "core/task.h"
#include "core/train.h"
#include "experiments/args.h"

// kind and "name=value" options to an open task.
hy_status hy_task_from_args(const char *kind, const hy_arg_list *sets, uint64_t seed, hy_task **out);
// --device: cpu, cuda (the first GPU that can be used), cuda:N (the one of that number) or auto, which is a GPU where there is one
// and no --isa is asked for, else the CPU. NULL: environment variable HYLAB_DEVICE, else auto. That auto found a GPU is told on stderr.
#define HY_DEVICE_NAMES "cpu|cuda|cuda:N|auto"
#define HY_DEVICE_HELP "where to run (default: $HYLAB_DEVICE, else auto: a GPU if there is one)"
typedef struct {
    const char *kind;  // "cpu" or "cuda"
    int number;        // of the GPU; -1: the first that can be used
} hy_device;
hy_status hy_device_from_args(const char *device, const char *isa, hy_device *out);
hy_status hy_device_open(const hy_device *d, const char *isa, int threads, hy_backend *out);
// Both: --device, --isa (the CPU's kernels), --threads (of the CPU, whatever the device) to a backend.
hy_status hy_backend_from_args(const char *device, const char *isa, int threads, hy_backend *out);
// A table of an evaluation: a row a cell and one for all; loss, accuracy, standard errors, and for sources of known entropy the
// excess over it, for text the bits per byte. Prints it.
hy_status hy_eval_print(const char *title, const hy_task *task, const hy_eval *e, hy_table_format format, FILE *f);
#endif
