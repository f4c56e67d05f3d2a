// cmd_eval.c - hylab eval: loss and accuracy of a model on a task, cell by cell.
#include <stdlib.h>

#include "experiments/cli/commands.h"
#include "experiments/cli/eval_table.h"
#include "experiments/cli/measure_arg.h"

typedef struct {
    hy_measure_args m;
    int examples;
    hy_table_format format;
} options;

static hy_status evaluate(const options *o, const char *file) {
    hy_asked accuracy;
    hy_weights how;
    HY_TRY(hy_weights_parse(o->m.weights, &how));
    HY_TRY(hy_ask("accuracy", &accuracy));
    HY_TRY(hy_ask_given(&accuracy, "examples", o->examples, "--examples"));
    HY_TRY(hy_ask_options(&accuracy, &o->m.options));
    hy_subject subject;
    hy_facts facts = {0};
    hy_status s = hy_subject_open(&o->m, file, how, &accuracy, 1, &subject);
    if (!s) s = hy_subject_take(&subject, &accuracy, &facts);
    if (!s) {
        char *title = hy_asprintf("%s on %s%s", subject.model.p->spec.name, o->m.task,
                                  subject.model.trained ? "" : " (random weights: a variant, not a checkpoint)");
        s = hy_accuracy_print(title, subject.task, &facts, o->format, stdout);
        free(title);
    }
    hy_facts_free(&facts);
    hy_subject_close(&subject);
    return s;
}

int hy_cmd_eval(int argc, char **argv) {
    options o = {.m = {.task = "mqar", .seed = 1, .batch = 32}};
    const hy_arg args[] = {
        HY_ARGS_TASK(o.m),
        {"--batch", "N", HY_ARG_INT, &o.m.batch, 1, "sequences at a time (default 32)"},
        {"--examples", "N", HY_ARG_INT, &o.examples, 0, "examples a cell at most (default: the task's own count)"},
        HY_ARGS_OPTION(o.m),
        HY_ARGS_MODEL(o.m),
        HY_ARGS_DB(o.m),
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    char *text = hy_ask_help(
        "Evaluates a trained model on a task.\n\nexample:\n  hylab eval runs/hymba.safetensors --task needle\n",
        (const char *const[]){"accuracy", NULL});
    const hy_args a = {.usage = "hylab eval CHECKPOINT.safetensors|FOLDER [options]",
                       .text = text,
                       .args = args,
                       .min_rest = 1,
                       .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = evaluate(&o, rest.v[0]);
    free(rest.v);
    free(text);
    hy_measure_args_free(&o.m);
    return hy_command_end("eval", s);
}
