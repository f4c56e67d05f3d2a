// cmd_plan.c - `hylab plan`: what a training on several devices takes, before there are any.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/plural.h"
#include "core/family/model_file.h"
#include "core/model/precision.h"
#include "core/train/train_plan.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/device_arg.h"

enum { MOST = 4096 };  // sequences that the largest batch is looked for among

typedef struct {
    hy_arg_list sets;
    const char *memory, *precision, *flops, *bandwidth, *latency, *device, *isa;
    int ranks, batch, accumulate, length;
    bool sharded;
    hy_table_format format;
} options;

static void row(hy_table *t, const char *what, double value, const char *unit, int decimals, const char *of) {
    hy_table_row(t);
    hy_table_text(t, "%s", what);
    hy_table_num(t, value, decimals);
    hy_table_text(t, "%s", unit);
    hy_table_text(t, "%s", of);
}

static void memory_rows(hy_table *t, const hy_train_plan *p, const hy_plan_wish *w) {
    const struct {
        const char *what;
        double bytes;
        const char *of;
    } rows[] = {
        {"weights", p->weights, "float32 masters, on every rank"},
        {"gradients", p->gradients, ""},
        {"moments", p->moments, w->sharded ? "of AdamW, a share on each rank" : "of AdamW, on every rank"},
        {"weights in bfloat16", p->low, "what products read"},
        {"sums of gradients", w->separate ? 0 : p->sums, "in parts: train.sum"},
        {"activations", p->arena, "with their gradients and what the backward pass needs"},
        {"workspace", p->workspace, "scratch of kernels"},
        {"other", p->rest, "batch, results, flags"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].bytes > 0) row(t, rows[i].what, rows[i].bytes / 1e9, "GB", 3, rows[i].of);
    row(t, "device", p->total / 1e9, "GB", 3, "all of these, on each device");
    if (w->separate) row(t, "host", p->sums / 1e9, "GB", 3, "each process: sums of gradients, a gradient on its way");
}

static void step_rows(hy_table *t, const hy_train_plan *p, const hy_plan_wish *w) {
    const double both = p->compute + p->talk;
    row(t, "tokens a step", p->tokens, "tokens", 0, "of all ranks, meta tokens counted");
    row(t, "work a step", p->work / 1e12, "TFLOP", 3, "of a rank: 3 forward passes' worth");
    row(t, "sent a step", p->sent / 1e9, "GB", 3, "out of a rank");
    row(t, "exchanges a step", (double)p->exchanges, "", 0, "that follow each other");
    row(t, "computing", p->compute, "s", 4, w->flops > 0 ? "work / --flops" : "not known: give --flops");
    row(t, "talking", p->talk, "s", 4,
        w->ranks == 1 || w->bandwidth > 0 ? "exchanges * --latency + sent / --bandwidth"
                                          : "not known: give --bandwidth");
    row(t, "step", both, "s", 4, "one after the other");
    row(t, "share of computing", p->compute / both * 100, "%", 1, "what several ranks gain of what they could");
}

// Whether it fits, and what would; *fits: the batch that was asked for does.
static void fit_rows(hy_table *t, const hy_program *p, const hy_backend *be, const hy_plan_wish *w,
                     const hy_train_plan *plan, double memory) {
    const double state = plan->total - plan->arena - plan->workspace - plan->rest;
    const int most = hy_train_plan_batch(p, be, w, MOST, memory);
    row(t, "largest batch", most, "sequences", 0, "of a micro-batch, that fits");
    if (plan->total <= memory)
        hy_table_note(t, "feasible: %.1f of %.1f GB a device", plan->total / 1e9, memory / 1e9);
    else if (most)
        hy_table_note(t,
                      "not feasible with batch %d: %.1f GB of %.1f a device; batch %d fits, with as many times more of "
                      "accumulate",
                      w->batch, plan->total / 1e9, memory / 1e9, most);
    else if (state > memory)
        hy_table_note(
            t,
            "not feasible: weights, gradients and moments alone are %.1f GB of %.1f, and every rank holds them "
            "whole",
            state / 1e9, memory / 1e9);
    else
        hy_table_note(
            t,
            "not feasible: one sequence of this length needs %.1f GB beside the %.1f of weights, gradients and "
            "moments, and a device has %.1f",
            (plan->total - state) / 1e9, state / 1e9, memory / 1e9);
}

static hy_status print_plan(const options *o, const hy_program *p, const hy_backend *be, const hy_plan_wish *w,
                            double memory) {
    hy_train_plan plan;
    HY_TRY(hy_train_plan_make(p, be, w, &plan));
    char *title = hy_asprintf("training %s on %d rank%s, %d micro-batch%s of %d sequence%s of %d tokens a step",
                              p->spec.name, w->ranks, hy_s(w->ranks), w->accumulate, w->accumulate == 1 ? "" : "es",
                              w->batch, hy_s(w->batch), w->length);
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "what", NULL, NULL, HY_LEFT);
    hy_table_column(t, "value", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "unit", NULL, NULL, HY_LEFT);
    hy_table_column(t, "of", "", NULL, HY_LEFT);
    memory_rows(t, &plan, w);
    step_rows(t, &plan, w);
    if (memory > 0) fit_rows(t, p, be, w, &plan, memory);
    hy_table_note(t, "kernels as planned for this %s; another device's keep and need other scratch", be->name);
    const hy_status s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    free(title);
    return s;
}

static hy_status plan(const options *o, const char *path) {
    hy_precision precision;
    hy_backend be;
    hy_program *p = NULL;
    double memory;
    hy_plan_wish w = {.ranks = o->ranks,
                      .batch = o->batch,
                      .length = o->length,
                      .sharded = o->sharded,
                      .separate = o->memory != NULL};
    w.accumulate = o->accumulate ? o->accumulate : o->ranks;
    HY_TRY(hy_arg_size("--device-memory", o->memory, &memory));
    HY_TRY(hy_arg_size("--flops", o->flops, &w.flops));
    HY_TRY(hy_arg_size("--bandwidth", o->bandwidth, &w.bandwidth));
    HY_TRY(hy_arg_size("--latency", o->latency, &w.latency));
    HY_TRY(hy_precision_parse(o->precision, &precision));
    HY_TRY(hy_backend_from_args(o->device, o->isa, 0, &be));
    HY_TRY(hy_precision_set(precision, &be));
    w.dt = hy_precision_dtype(precision);
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    hy_status s = hy_model_read_spec(path, o->sets.v, m);
    if (!s && !w.length) w.length = m->max_len;
    if (!s) s = hy_model_build(m, &p);
    if (!s) s = print_plan(o, p, &be, &w, memory);
    hy_program_free(p);
    free(m);
    return s;
}

int hy_cmd_plan(int argc, char **argv) {
    options o = {.ranks = 1, .batch = 1, .device = "cpu", .latency = "20u"};
    const hy_arg args[] = {
        {"--ranks", "N", HY_ARG_INT, &o.ranks, 1, "processes, each with a device of its own (1)"},
        {"--device-memory", "BYTES", HY_ARG_TEXT, &o.memory, 0,
         "of a GPU, e.g. 80G: does it fit, and what would; sums of gradients are then made in the host's memory"},
        {"--batch", "N", HY_ARG_INT, &o.batch, 1, "sequences of a micro-batch (1)"},
        {"--accumulate", "N", HY_ARG_INT, &o.accumulate, 1,
         "micro-batches of a step, of all ranks together (as many as ranks)"},
        {"--length", "N", HY_ARG_INT, &o.length, 1, "tokens of a sequence (the variant's max_len)"},
        {"--shard-moments", NULL, HY_ARG_FLAG, &o.sharded, 0, "AdamW's moments divided among the ranks, as by train"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "a change to the variant"},
        {"--precision", HY_PRECISION_NAMES, HY_ARG_TEXT, &o.precision, 0, "what is computed in (f32)"},
        {"--flops", "N", HY_ARG_TEXT, &o.flops, 0,
         "floating-point operations a second that a device gets done, e.g. 200T"},
        {"--bandwidth", "BYTES", HY_ARG_TEXT, &o.bandwidth, 0, "bytes a second out of each rank, e.g. 25G"},
        {"--latency", "SECONDS", HY_ARG_TEXT, &o.latency, 0, "of a message (20u)"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0,
         "whose kernels are planned (cpu; cuda where there is a GPU)"},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0, "kernels of the CPU: ref, base, avx2, avx512"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print it"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab plan VARIANT.yaml [options]",
        .text =
            "What training a model on several devices takes, before there are any: memory by kind, bytes that move, "
            "and the "
            "time of a step by a plain model. Nothing is allocated or run.\n\nexamples:\n"
            "  hylab plan variants/paper/hymba-1.5b.yaml --ranks 8 --device-memory 80G --length 2048 --precision bf16 "
            "--flops 200T --bandwidth 25G\n",
        .args = args,
        .min_rest = 1,
        .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = plan(&o, rest.v[0]);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("plan", s);
}
