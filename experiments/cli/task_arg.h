// task_arg.h - a task on the command line: --task and --task-set.
#ifndef HY_TASK_ARG_H
#define HY_TASK_ARG_H
#include "core/task/task.h"
#include "experiments/cli/args.h"

// kind and "name=value" options to an open task.
hy_status hy_task_from_args(const char *kind, const hy_arg_list *sets, uint64_t seed, hy_task **out);
#endif
