// measure_arg.h - a model and measures of it on the command line: what eval, bench, cache and probe have in common.
#ifndef HY_MEASURE_ARG_H
#define HY_MEASURE_ARG_H
#include "analysis/measure/measure.h"
#include "core/family/model_file.h"
#include "experiments/cli/args.h"
#include "experiments/cli/device_arg.h"
#include "experiments/cli/prompt_arg.h"

typedef struct {
    const char *task, *device, *isa, *weights, *precision, *db;  // task NULL: none
    int seed, threads, batch;  // seed: of the data; batch: sequences at a time in evaluations
    hy_arg_list sets, task_sets, options;
    hy_prompt_args prompt;  // instead of a task; nothing in it: not asked for
} hy_measure_args;
void hy_measure_args_free(hy_measure_args *a);
// Rows of a command's table of arguments; a is a hy_measure_args.
#define HY_ARGS_TASK(a)                                                                                                 \
    {"--task", "KIND", HY_ARG_TEXT, &(a).task, 0, "where examples come from (default mqar; `hylab task` lists them)"},  \
        {"--task-set", "NAME=VALUE", HY_ARG_LIST, &(a).task_sets, 0, "an option of the task; may be given many times"}, \
    {                                                                                                                   \
        "--seed", "N", HY_ARG_INT, &(a).seed, 0, "seed of the data (default 1)"                                         \
    }
#define HY_ARGS_MODEL(a)                                                                                    \
    {"--set",     "PATH=VALUE",                                                                             \
     HY_ARG_LIST, &(a).sets,                                                                                \
     0,           "a change to the spec, e.g. attention.window=64; of a checkpoint what keeps the shapes"}, \
        {"--weights", HY_WEIGHTS_NAMES, HY_ARG_TEXT, &(a).weights, 0, HY_WEIGHTS_HELP},                     \
        {"--precision", HY_PRECISION_NAMES, HY_ARG_TEXT, &(a).precision, 0, HY_PRECISION_HELP},             \
        {"--threads", "N", HY_ARG_INT, &(a).threads, 0, "threads (default: all cores)"},                    \
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &(a).device, 0, HY_DEVICE_HELP}, {                       \
        "--isa", "NAME", HY_ARG_TEXT, &(a).isa, 0,                                                          \
            "kernels: ref, base, avx2, avx512 (default: the best this machine has)"                         \
    }
#define HY_ARGS_OPTION(a)                                               \
    {                                                                   \
        "--option", "NAME=VALUE", HY_ARG_LIST, &(a).options, 0,         \
            "an option of the measure (above); may be given many times" \
    }
#define HY_ARGS_DB(a) \
    { "--db", "FILE", HY_ARG_PATH, &(a).db, 0, "store what is measured in this database as well" }

enum { HY_GIVEN_MAX = 16 };
// A measure that was asked for, with its options.
typedef struct {
    const hy_measure *measure;
    hy_measure_options options;
    int n_given;  // options that the command line has set, and by which of its own options
    struct {
        const char *option, *by;
    } given[HY_GIVEN_MAX];
    const char *lacks, *lacks_by;  // the first option that was given so and that the measure does not have; NULL: none
} hy_asked;
// With its defaults. HY_EINPUT: there is no such measure.
hy_status hy_ask(const char *name, hy_asked *out);
// Sets an option, if the measure has one of that name. yaml NULL: it stays as it is.
hy_status hy_ask_set(hy_asked *m, const char *option, const char *yaml);
hy_status hy_ask_int(hy_asked *m, const char *option, int v);
// The same for what an option of the command (by: its name) says, unless v is 0: --option may not say it too.
hy_status hy_ask_given(hy_asked *m, const char *option, int v, const char *by);
hy_status hy_ask_given_set(hy_asked *m, const char *option, const char *yaml, const char *by);
// NAME=VALUE, which the measure must have and no option of the command has set.
hy_status hy_ask_options(hy_asked *m, const hy_arg_list *assignments);
// Its options in one line, "examples=8 cell=0". Caller frees.
char *hy_asked_line(const hy_asked *m);
// The text of a command's --help with the options of its measures (NULL-terminated names) after it. Caller frees.
char *hy_ask_help(const char *text, const char *const *names);

// A model that is measured.
typedef struct {
    const hy_measure_args *args;
    const char *file;
    hy_backend be;
    hy_precision precision;
    hy_task *task;  // NULL: none
    hy_model model;
    double seconds;  // that opening the model took
} hy_subject;
// Opens backend, task and model. Everything that the measures can refuse is refused before weights are read. Close it,
// also after an error. weights: as hy_weights_parse gave it, or what the command makes of it.
// hy_subject_open is both: what is to be refused, then the weights.
hy_status hy_subject_prepare(const hy_measure_args *a, const char *file, const hy_asked *asked, int n, hy_subject *out);
hy_status hy_subject_load(hy_subject *s, hy_weights weights);
hy_status hy_subject_open(const hy_measure_args *a, const char *file, hy_weights weights, const hy_asked *asked, int n,
                          hy_subject *out);
void hy_subject_close(hy_subject *s);
// Takes a measure; with --db its facts are stored too. facts: all that the measure found is added.
hy_status hy_subject_take(const hy_subject *s, const hy_asked *m, hy_facts *facts);
#endif
