// cmd_eval.c - hylab eval: loss and accuracy of a model on a task, cell by cell.
#include <stdlib.h>

#include "experiments/cli/commands.h"
#include "core/family/model_file.h"
#include "experiments/cli/device_arg.h"
#include "experiments/cli/eval_table.h"
#include "experiments/cli/task_arg.h"

typedef struct {
    const char *task, *device, *isa, *weights, *precision;
    int seed, threads, batch, examples;
    hy_arg_list sets, task_sets;
    hy_table_format format;
} options;

static hy_status evaluate(const options *o, const char *file) {
    hy_backend be;
    hy_task *task;
    hy_model m;
    hy_weights how;
    hy_precision precision;
    HY_TRY(hy_weights_parse(o->weights, &how));
    HY_TRY(hy_precision_parse(o->precision, &precision));
    HY_TRY(hy_backend_from_args(o->device, o->isa, o->threads, &be));
    HY_TRY(hy_precision_set(precision, &be));
    HY_TRY(hy_task_from_args(o->task, &o->task_sets, (uint64_t)o->seed, &task));
    hy_status s = hy_model_open(file, o->sets.v, &be, how, precision, 1, &m);
    if (!s) {
        hy_eval e;
        if (hy_task_vocab(task) > m.p->spec.vocab)
            s = hy_error(HY_EINPUT, "task %s uses %d tokens, but %s has a vocabulary of %d", o->task, hy_task_vocab(task), file, m.p->spec.vocab);
        if (!s) s = hy_evaluate(m.p, m.w, task, o->batch, o->examples, &e);
        if (!s) {
            char *title = hy_asprintf("%s on %s%s", m.p->spec.name, o->task, m.trained ? "" : " (random weights: a variant, not a checkpoint)");
            s = hy_eval_print(title, task, &e, o->format, stdout);
            free(title);
            hy_eval_free(&e);
        }
        hy_model_close(&m);
    }
    hy_task_close(task);
    return s;
}

int hy_cmd_eval(int argc, char **argv) {
    options o = {.task = "mqar", .seed = 1, .batch = 32};
    const hy_arg args[] = {
        {"--task", "KIND", HY_ARG_TEXT, &o.task, 0, "task (default mqar; `hylab task` lists them)"},
        {"--task-set", "NAME=VALUE", HY_ARG_LIST, &o.task_sets, 0, "an option of the task"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "a change to the spec that keeps the shapes, e.g. attention.window=64"},
        {"--seed", "N", HY_ARG_INT, &o.seed, 0, "seed of the data (default 1)"},
        {"--batch", "N", HY_ARG_INT, &o.batch, 1, "sequences at a time (default 32)"},
        {"--examples", "N", HY_ARG_INT, &o.examples, 0, "examples a cell at most (default: the task's own count)"},
        {"--weights", HY_WEIGHTS_NAMES, HY_ARG_TEXT, &o.weights, 0, HY_WEIGHTS_HELP},
        {"--precision", HY_PRECISION_NAMES, HY_ARG_TEXT, &o.precision, 0, HY_PRECISION_HELP},
        {"--threads", "N", HY_ARG_INT, &o.threads, 0, "threads (default: all cores)"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0, HY_DEVICE_HELP},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0, "kernels: ref, base, avx2, avx512"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {.usage = "hylab eval CHECKPOINT.safetensors|FOLDER [options]",
                       .text = "Evaluates a trained model on a task.\n\nexample:\n  hylab eval runs/hymba.safetensors --task needle\n",
                       .args = args, .min_rest = 1, .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = evaluate(&o, rest.v[0]);
    free(rest.v);
    free(o.sets.v);
    free(o.task_sets.v);
    return hy_command_end("eval", s);
}
