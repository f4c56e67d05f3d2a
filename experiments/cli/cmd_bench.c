// cmd_bench.c - hylab bench: how fast a model trains, reads prompts and decodes, and where the time goes, op by op.
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "analysis/measure/throughput.h"
#include "core/task/task.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "core/family/model_file.h"
#include "experiments/cli/device_arg.h"

typedef struct {
    const char *device, *isa, *weights, *precision;
    int batch, context, repetitions, threads, tokens;
    bool train, prefill, decode, ops;
    double load_seconds;
    hy_arg_list sets;
    hy_table_format format;
} options;

static hy_status rate_row(hy_table *t, const options *o, const hy_model *m, hy_tp_kind kind, const char *name) {
    const hy_tp_spec spec = {.kind = kind, .batch = o->batch, .context = o->context, .reps = o->repetitions, .tokens = o->tokens};
    hy_tp_result r;
    HY_TRY(hy_throughput_measure(m->p, m->w, &spec, &r));
    hy_sort(r.rate, r.n);
    hy_table_row(t);
    hy_table_text(t, "%s", name);
    hy_table_int(t, o->batch);
    hy_table_int(t, o->context);
    hy_table_num(t, hy_median(r.rate, r.n), 1);
    hy_table_num(t, r.rate[0], 1);
    hy_table_num(t, r.rate[r.n - 1], 1);
    hy_table_int(t, r.n);
    hy_table_text(t, "%s", r.path);
    hy_throughput_free(&r);
    return HY_OK;
}

static hy_status rates(const options *o, const hy_model *m, const hy_backend *be) {
    const bool all = !o->train && !o->prefill && !o->decode;
    hy_table *t = hy_table_new(m->p->spec.name);
    hy_table_column(t, "what", NULL, NULL, HY_LEFT);
    hy_table_column(t, "batch", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "context", NULL, "tokens", HY_RIGHT);
    hy_table_column(t, "median", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "min", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "max", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "repetitions", "n", NULL, HY_RIGHT);
    hy_table_column(t, "path", "kernels", NULL, HY_LEFT);
    hy_status s = HY_OK;
    const bool bf16 = hy_program_keeps_bf16(m->p);
    if (o->train || (all && !bf16)) s = rate_row(t, o, m, HY_TP_TRAIN, "training step");
    if (!s && (o->prefill || all)) s = rate_row(t, o, m, HY_TP_PREFILL, "prefill");
    if (!s && (o->decode || all)) s = rate_row(t, o, m, HY_TP_DECODE, "decode");
    hy_table_note(t, "%s, %s; meta tokens are processed but not counted", be->device, o->precision ? o->precision : "f32");
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    hy_table_note(t, "weights: %.1f MB, %s, ready after %.1f s; most memory in use at a time: %.1f MB", (double)m->w->bytes / 1e6,
                  bf16 ? "matrices in bfloat16" : "float32", o->load_seconds, (double)use.ru_maxrss * 1024 / 1e6);
    if (bf16 && all) hy_table_note(t, "no training step: gradients need weights in float32 (--weights f32)");
    if (!s) s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return s;
}

// ---------------------------------------------------------------------------------------------------- op by op
static hy_status profile_run(const options *o, const hy_model *m, hy_exec *e) {
    const int T = m->p->spec.meta_tokens + o->context, rows = o->batch * T;
    int32_t *ids = hy_xcalloc((size_t)rows * 2, 4), *labels = ids + rows;
    hy_rng r = hy_rng_make(1, 1);
    for (int i = 0; i < rows; i++) {
        const int t = i % T, meta = m->p->spec.meta_tokens;
        ids[i] = t < meta ? -(t + 1) : (int32_t)hy_rng_below(&r, (uint64_t)m->p->spec.vocab);
        labels[i] = t < meta ? HY_IGNORE : (int32_t)hy_rng_below(&r, (uint64_t)m->p->spec.vocab);
    }
    const hy_batch b = {.B = o->batch, .T = T, .ids = ids, .labels = labels};
    hy_status s = HY_OK;
    for (int i = 0; !s && i <= o->repetitions; i++) {
        if (i == 1) hy_exec_profile(e, true);  // the first one warms up
        s = hy_exec_forward(e, m->w, &b, NULL, HY_HEAD_LOSS, NULL);
        if (!s) s = hy_exec_backward(e, m->w, 1.0 / rows, NULL);
    }
    free(ids);
    return s;
}

static hy_status ops(const options *o, const hy_model *m, const hy_backend *be) {
    double fwd[HY_OP_KINDS] = {0}, bwd[HY_OP_KINDS] = {0}, total = 0;
    int count[HY_OP_KINDS] = {0};
    hy_exec *e;
    HY_TRY(hy_params_want_grad(m->w));
    HY_TRY(hy_exec_create(m->p, be, m->w->compute, HY_EXEC_TRAIN, o->batch, m->p->spec.meta_tokens + o->context, 0, &e));
    hy_status s = profile_run(o, m, e);
    const double *sec = s ? NULL : hy_exec_seconds(e), ms = 1e3 / o->repetitions;
    for (int i = 0; sec && i < m->p->n_ops; i++) {
        const hy_op_kind k = m->p->ops[i].kind;
        fwd[k] += sec[i] * ms;
        bwd[k] += sec[m->p->n_ops + i] * ms;
        total += (sec[i] + sec[m->p->n_ops + i]) * ms;
        count[k]++;
    }
    hy_table *t = hy_table_new("time of a training step by op (without the optimiser)");
    hy_table_column(t, "op", NULL, NULL, HY_LEFT);
    hy_table_column(t, "count", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "forward", NULL, "ms", HY_RIGHT);
    hy_table_column(t, "backward", NULL, "ms", HY_RIGHT);
    hy_table_column(t, "share", NULL, "%", HY_RIGHT);
    for (int k = 0; k < HY_OP_KINDS; k++) {
        if (fwd[k] + bwd[k] == 0) continue;
        hy_table_row(t);
        hy_table_text(t, "%s", hy_op_name((hy_op_kind)k));
        hy_table_int(t, count[k]);
        hy_table_num(t, fwd[k], 2);
        hy_table_num(t, bwd[k], 2);
        hy_table_num(t, 100 * (fwd[k] + bwd[k]) / total, 1);
    }
    hy_table_note(t, "%s, %d sequences of %d + %d meta tokens, %s, mean of %d steps: %.2f ms a step", m->p->spec.name,
                  o->batch, o->context, m->p->spec.meta_tokens, be->device, o->repetitions, total);
    const hy_exec_memory mem = hy_exec_memory_use(e);
    hy_table_note(t, "memory: activations %.1f MB, gradients %.1f MB, saved for backward %.1f MB, in one arena of %.1f MB; workspace %.1f MB",
                  (double)mem.activations / 1e6, (double)mem.gradients / 1e6, (double)mem.saved / 1e6, (double)mem.arena / 1e6, (double)mem.workspace / 1e6);
    if (!s) s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    hy_exec_free(e);
    return s;
}

static hy_status bench(options *o, const char *file) {
    hy_backend be;
    hy_model m;
    hy_weights how;
    hy_precision precision;
    HY_TRY(hy_weights_parse(o->weights, &how));
    HY_TRY(hy_precision_parse(o->precision, &precision));
    if ((o->train || o->ops) && how == HY_WEIGHTS_BF16)
        return hy_error(HY_EINPUT, "--weights bf16: training steps (--train, --ops) need weights in float32");
    // training steps need float32 weights; where nothing was said they are timed too, of a variant
    const bool all = !o->train && !o->prefill && !o->decode;
    if (o->train || o->ops || (all && how == HY_WEIGHTS_AUTO && hy_model_file_kind_of(file) == HY_MODEL_YAML)) how = HY_WEIGHTS_F32;
    HY_TRY(hy_backend_from_args(o->device, o->isa, o->threads, &be));
    HY_TRY(hy_precision_set(precision, &be));
    const double start = hy_now();
    HY_TRY(hy_model_open(file, o->sets.v, &be, how, precision, 1, &m));
    o->load_seconds = hy_now() - start;
    hy_status s = o->ops ? ops(o, &m, &be) : rates(o, &m, &be);
    hy_model_close(&m);
    return s;
}

int hy_cmd_bench(int argc, char **argv) {
    options o = {.batch = 1, .context = 512, .repetitions = 5, .tokens = 16};
    const hy_arg args[] = {
        {"--train", NULL, HY_ARG_FLAG, &o.train, 0, "training steps only (default: training, prefill and decoding)"},
        {"--prefill", NULL, HY_ARG_FLAG, &o.prefill, 0, "prefill only"},
        {"--decode", NULL, HY_ARG_FLAG, &o.decode, 0, "decoding only, at depth --context"},
        {"--ops", NULL, HY_ARG_FLAG, &o.ops, 0, "instead: the time of a training step by op, and its memory"},
        {"--batch", "N", HY_ARG_INT, &o.batch, 1, "sequences (default 1)"},
        {"--context", "N", HY_ARG_INT, &o.context, 1, "tokens of each (default 512)"},
        {"--repetitions", "N", HY_ARG_INT, &o.repetitions, 1, "timed repetitions after one to warm up (default 5)"},
        {"--tokens", "N", HY_ARG_INT, &o.tokens, 1, "decoding: tokens in a repetition (default 16)"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "a change to the variant"},
        {"--weights", HY_WEIGHTS_NAMES, HY_ARG_TEXT, &o.weights, 0, HY_WEIGHTS_HELP},
        {"--precision", HY_PRECISION_NAMES, HY_ARG_TEXT, &o.precision, 0, HY_PRECISION_HELP},
        {"--threads", "N", HY_ARG_INT, &o.threads, 0, "threads (default: all cores)"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0, HY_DEVICE_HELP},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0, "kernels: ref, base, avx2, avx512 (default: the best this machine has)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {.usage = "hylab bench VARIANT.yaml|CHECKPOINT.safetensors|FOLDER [options]",
                       .text = "Times one model. `make bench` compares models with the machine's own limits.\n\nexamples:\n"
                               "  hylab bench variants/hymba.yaml --batch 8\n"
                               "  hylab bench variants/hymba.yaml --batch 8 --ops\n"
                               "  hylab bench variants/paper/300m-hymba.yaml --decode --context 4096\n",
                       .args = args, .min_rest = 1, .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = bench(&o, rest.v[0]);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("bench", s);
}
