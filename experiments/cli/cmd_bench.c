// cmd_bench.c - hylab bench: how fast a model trains, reads prompts and decodes, and where the time goes, op by op.
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/format/json.h"
#include "core/base/plural.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/measure_arg.h"

enum { DEFAULT_CONTEXT = 512 };

typedef struct {
    hy_measure_args m;
    int batch, context, repetitions, tokens;  // as given; 0: not
    bool train, prefill, decode, ops;
    hy_table_format format;
} options;

// ---------------------------------------------------------------------------------------------------- rates
static char *path_of(const hy_fact *f) {
    hy_json *meta = NULL;
    const char *path = "";
    if (!hy_json_parse(f->meta, strlen(f->meta), "meta", 4, &meta)) hy_json_get_string(meta, "meta", "path", &path);
    char *copy = hy_xstrdup(path);
    hy_json_free(meta);
    return copy;
}

static void rate_row(hy_table *t, hy_fact *f) {
    const char *what = !strcmp(f->name, "throughput_train")     ? "training step"
                       : !strcmp(f->name, "throughput_prefill") ? "prefill"
                                                                : "decode";
    char *path = path_of(f);
    hy_sort(f->samples, f->n_samples);
    hy_table_row(t);
    hy_table_text(t, "%s", what);
    hy_table_int(t, (int64_t)f->y);
    hy_table_int(t, (int64_t)f->x);
    hy_table_num(t, f->value, 1);
    hy_table_num(t, f->samples[0], 1);
    hy_table_num(t, f->samples[f->n_samples - 1], 1);
    hy_table_int(t, f->n_samples);
    hy_table_text(t, "%s", path);
    free(path);
}

static hy_status print_rates(const options *o, const hy_subject *s, bool left_out, hy_facts *facts) {
    hy_table *t = hy_table_new(s->model.p->spec.name);
    hy_table_column(t, "what", NULL, NULL, HY_LEFT);
    hy_table_column(t, "batch", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "context", NULL, "tokens", HY_RIGHT);
    hy_table_column(t, "median", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "min", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "max", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "repetitions", "n", NULL, HY_RIGHT);
    hy_table_column(t, "path", "kernels", NULL, HY_LEFT);
    for (int i = 0; i < facts->n_facts; i++) rate_row(t, &facts->fact[i]);
    hy_table_note(t, "%s, %s; meta tokens are processed but not counted", s->be.device,
                  hy_precision_name(s->precision));
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    hy_table_note(t, "weights: %.1f MB, %s, ready after %.1f s; most memory in use at a time: %.1f MB",
                  (double)s->model.w->bytes / 1e6,
                  hy_program_keeps_bf16(s->model.p) ? "matrices in bfloat16" : "float32", s->seconds,
                  (double)use.ru_maxrss * 1024 / 1e6);
    if (left_out) hy_table_note(t, "no training step: gradients need weights in float32 (--weights f32)");
    const hy_status st = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return st;
}

// The measure as the options ask for it. Training steps are left out of a model whose matrices are bfloat16, unless
// they are asked for.
static hy_status ask(const options *o, hy_asked *m) {
    const bool all = !o->train && !o->prefill && !o->decode;
    const char *said = o->train ? "--train" : o->prefill ? "--prefill" : "--decode";
    HY_TRY(hy_ask("throughput", m));
    HY_TRY(hy_ask_int(m, "contexts", DEFAULT_CONTEXT));
    HY_TRY(hy_ask_given(m, "contexts", o->context, "--context"));
    HY_TRY(hy_ask_given(m, "batch", o->batch, "--batch"));
    HY_TRY(hy_ask_given(m, "repetitions", o->repetitions, "--repetitions"));
    HY_TRY(hy_ask_given(m, "decode_tokens", o->tokens, "--tokens"));
    if (!all) {
        HY_TRY(hy_ask_given_set(m, "train", o->train ? "true" : "false", said));
        HY_TRY(hy_ask_given_set(m, "prefill", o->prefill ? "true" : "false", said));
        HY_TRY(hy_ask_given_set(m, "decode", o->decode ? "true" : "false", said));
    }
    return hy_ask_options(m, &o->m.options);
}

static hy_status rates(const options *o, const hy_subject *s, hy_asked *m) {
    hy_facts facts = {0};
    const bool all = !o->train && !o->prefill && !o->decode, left_out = all && hy_program_keeps_bf16(s->model.p);
    if (left_out) HY_TRY(hy_ask_set(m, "train", "false"));
    hy_status st = hy_subject_take(s, m, &facts);
    if (!st) st = print_rates(o, s, left_out, &facts);
    hy_facts_free(&facts);
    return st;
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
    HY_TRY(
        hy_exec_create(m->p, be, m->w->compute, HY_EXEC_TRAIN, o->batch, m->p->spec.meta_tokens + o->context, 0, &e));
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
    hy_table_note(t, "%s, %d sequence%s of %d + %d meta tokens, %s, mean of %d step%s: %.2f ms a step", m->p->spec.name,
                  o->batch, hy_s(o->batch), o->context, m->p->spec.meta_tokens, be->device, o->repetitions,
                  hy_s(o->repetitions), total);
    const hy_exec_memory mem = hy_exec_memory_use(e);
    hy_table_note(t,
                  "memory: activations %.1f MB, gradients %.1f MB, saved for backward %.1f MB, in one arena of %.1f "
                  "MB; workspace %.1f MB",
                  (double)mem.activations / 1e6, (double)mem.gradients / 1e6, (double)mem.saved / 1e6,
                  (double)mem.arena / 1e6, (double)mem.workspace / 1e6);
    if (!s) s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    hy_exec_free(e);
    return s;
}

static hy_status bench(const options *o, const char *file) {
    hy_subject subject;
    hy_asked m;
    hy_weights how;
    HY_TRY(hy_weights_parse(o->m.weights, &how));
    if ((o->train || o->ops) && how == HY_WEIGHTS_BF16)
        return hy_error(HY_EINPUT, "--weights bf16: training steps (--train, --ops) need weights in float32");
    HY_TRY(ask(o, &m));
    if (o->ops && (o->train || o->prefill || o->decode || o->tokens || o->m.options.n || o->m.db))
        return hy_error(HY_EINPUT, "--ops times a training step op by op and stores nothing: of the other options only "
                                   "--batch, --context and --repetitions go with it");
    // training steps need float32 weights; where nothing was said they are timed too, of a variant
    const bool all = !o->train && !o->prefill && !o->decode;
    if (o->train || o->ops || (all && how == HY_WEIGHTS_AUTO && hy_model_file_kind_of(file) == HY_MODEL_YAML))
        how = HY_WEIGHTS_F32;
    options one = *o;  // for --ops, which is no measure
    if (!one.batch) one.batch = 1;
    if (!one.context) one.context = DEFAULT_CONTEXT;
    if (!one.repetitions) one.repetitions = 5;
    hy_status s = hy_subject_open(&o->m, file, how, &m, 1, &subject);
    if (!s) s = o->ops ? ops(&one, &subject.model, &subject.be) : rates(o, &subject, &m);
    hy_subject_close(&subject);
    return s;
}

int hy_cmd_bench(int argc, char **argv) {
    options o = {.m = {.seed = 1, .batch = 1}};
    const hy_arg args[] = {
        {"--train", NULL, HY_ARG_FLAG, &o.train, 0, "training steps only (default: training, prefill and decoding)"},
        {"--prefill", NULL, HY_ARG_FLAG, &o.prefill, 0, "prefill only"},
        {"--decode", NULL, HY_ARG_FLAG, &o.decode, 0, "decoding only, at depth --context"},
        {"--ops", NULL, HY_ARG_FLAG, &o.ops, 0, "instead: the time of a training step by op, and its memory"},
        {"--batch", "N", HY_ARG_INT, &o.batch, 1, "sequences (default 1)"},
        {"--context", "N", HY_ARG_INT, &o.context, 1, "tokens of each (default 512)"},
        {"--repetitions", "N", HY_ARG_INT, &o.repetitions, 1, "timed repetitions after one to warm up (default 5)"},
        {"--tokens", "N", HY_ARG_INT, &o.tokens, 1, "decoding: tokens in a repetition (default 16)"},
        HY_ARGS_OPTION(o.m),
        HY_ARGS_MODEL(o.m),
        HY_ARGS_DB(o.m),
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    char *text =
        hy_ask_help("Times one model. `make bench` compares models with the machine's own limits.\n\nexamples:\n"
                    "  hylab bench variants/hymba.yaml --batch 8\n"
                    "  hylab bench variants/hymba.yaml --batch 8 --ops\n"
                    "  hylab bench variants/paper/300m-hymba.yaml --decode --context 4096\n",
                    (const char *const[]){"throughput", NULL});
    const hy_args a = {.usage = "hylab bench VARIANT.yaml|CHECKPOINT.safetensors|FOLDER [options]",
                       .text = text,
                       .args = args,
                       .min_rest = 1,
                       .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = bench(&o, rest.v[0]);
    free(rest.v);
    free(text);
    hy_measure_args_free(&o.m);
    return hy_command_end("bench", s);
}
