// cmd_generate.c - hylab generate: continues prompts with caches. Prompts are texts in the model's tokenizer, or token
// ids.
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/exec/generate.h"
#include "core/token/tokenizer.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "core/family/model_file.h"
#include "experiments/cli/device_arg.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/prompt_arg.h"

enum { SEQUENCES_MAX = 1 << 20, TOKENS_MAX = 1 << 30 };

typedef struct {
    const char *model, *tokenizer, *device, *isa, *weights, *precision, *temperature, *top_p;
    int max_new, top_k, seed, threads, samples, eos;
    bool ids;
    hy_arg_list sets;
} options;

// One sequence that is printed as it comes. The stream is given the prompt first: what a token becomes depends on the
// ones before it.
typedef struct {
    hy_token_stream *stream;  // NULL: ids
    size_t skip;              // bytes of text that are the prompt's, still to come
    hy_buf text;
} printer;

static hy_status stdout_status(void) { return hy_stream_end(stdout, "to standard output"); }

static void print_text(printer *p) {
    size_t n = p->skip < p->text.n ? p->skip : p->text.n;
    while (n < p->text.n && ((unsigned char)p->text.s[n] & 0xc0) == 0x80)
        n++;  // a prompt whose end the first tokens have changed
    p->skip -= n < p->skip ? n : p->skip;
    if (p->text.n > n) fwrite(p->text.s + n, 1, p->text.n - n, stdout);
    p->text.n = 0;
    fflush(stdout);
}

static hy_status on_token(void *user, int sequence, int32_t token) {
    printer *p = user;
    (void)sequence;
    if (!p->stream) {
        printf("%d ", (int)token);
        return stdout_status();
    }
    HY_TRY(hy_token_stream_push(p->stream, token, &p->text));
    print_text(p);
    return stdout_status();
}

// ---------------------------------------------------------------------------------------------------- prompts
static hy_status decode(hy_tokenizer *t, const int32_t *ids, size_t n, hy_buf *out) {
    out->n = 0;
    return hy_tokenizer_decode(t, ids, n, true, out);
}

static hy_status printer_start(printer *p, hy_tokenizer *t, const char *prompt, const hy_token_ids *ids) {
    if (!t) return HY_OK;
    fputs(prompt, stdout);
    p->stream = hy_token_stream_new(t, true);
    HY_TRY(decode(t, ids->v, ids->n, &p->text));
    p->skip = p->text.n;
    p->text.n = 0;
    for (size_t i = 0; i < ids->n; i++) HY_TRY(hy_token_stream_push(p->stream, ids->v[i], &p->text));
    print_text(p);
    return stdout_status();
}

static hy_status printer_end(printer *p, bool good) {
    hy_status s = good && p->stream ? hy_token_stream_end(p->stream, &p->text) : HY_OK;
    if (!s && p->stream) print_text(p);
    hy_token_stream_free(p->stream);
    free(p->text.s);
    return s;
}

// The continuation of a prompt as text: what the prompt and it decode to, without what the prompt alone does.
static hy_status print_continuation(hy_tokenizer *t, const char *prompt, const hy_token_ids *ids, const int32_t *out,
                                    int n) {
    printer p = {0};
    HY_TRY(printer_start(&p, t, prompt, ids));
    hy_status s = HY_OK;
    for (int i = 0; i < n && !s; i++) s = on_token(&p, 0, out[i]);
    const hy_status e = printer_end(&p, !s);
    return s ? s : e;
}

// ---------------------------------------------------------------------------------------------------- generating
static hy_status run(const options *o, const hy_model *m, hy_tokenizer *t, int B, const char *const *texts,
                     const hy_token_ids *prompts, const hy_sample_spec *spec) {
    int32_t *out = hy_xcalloc((size_t)B * (size_t)spec->max_new, sizeof *out);
    const int32_t **ids = hy_xcalloc((size_t)B, sizeof *ids);
    int *len = hy_xcalloc((size_t)B * 2, sizeof *len), *out_len = len + B;
    uint64_t *seeds = hy_xcalloc((size_t)B, sizeof *seeds);
    for (int b = 0; b < B; b++) {
        ids[b] = prompts[b].v;
        len[b] = prompts[b].n > INT_MAX ? INT_MAX : (int)prompts[b].n;
        seeds[b] = (uint64_t)o->seed + (uint64_t)(b % o->samples);
    }
    const bool stream = B == 1;
    printer pr = {0};
    hy_status s = stream ? printer_start(&pr, t, texts[0], &prompts[0]) : HY_OK;
    if (!s) s = hy_generate(m->p, m->w, B, ids, len, seeds, spec, stream ? on_token : NULL, &pr, out, out_len);
    const hy_status e = printer_end(&pr, !s);
    if (!s) s = e;
    for (int b = 0; !s && b < B && !stream; b++) {
        const int32_t *mine = out + (size_t)b * (size_t)spec->max_new;
        printf("--- prompt %d, sample %d\n", b / o->samples + 1, b % o->samples + 1);
        s = print_continuation(t, texts[b / o->samples], &prompts[b], mine, out_len[b]);
        putchar('\n');
    }
    if (!s && stream) putchar('\n');
    free(out);
    free(ids);
    free(len);
    free(seeds);
    return s;
}

static hy_status generate(const options *o, const hy_model *m, hy_tokenizer *t, int n, const char *const *texts,
                          const hy_sample_spec *spec) {
    if (o->samples > SEQUENCES_MAX / n)
        return hy_error(HY_EINPUT, "--samples %d of %d prompts: at most %d sequences in all", o->samples, n,
                        SEQUENCES_MAX);
    const int B = n * o->samples;
    if ((int64_t)B * o->max_new > TOKENS_MAX)
        return hy_error(HY_EINPUT, "--max-new %d of %d sequences: at most %d new tokens in all", o->max_new, B,
                        TOKENS_MAX);
    hy_token_ids *prompts = hy_xcalloc((size_t)B, sizeof *prompts);
    hy_status s = HY_OK;
    for (int b = 0; !s && b < B; b++) {
        const char *text = texts[b / o->samples];
        s = t ? hy_tokenizer_encode(t, text, strlen(text), true, &prompts[b]) : hy_prompt_ids(text, &prompts[b]);
    }
    if (!s) s = run(o, m, t, B, texts, prompts, spec);
    for (int b = 0; b < B; b++) free(prompts[b].v);
    free(prompts);
    return s;
}

// ---------------------------------------------------------------------------------------------------- opening
static hy_status read_number(const char *name, const char *text, double lo, double hi, double *out) {
    char *end;
    *out = strtod(text, &end);
    if (*end || end == text || !(*out >= lo && *out <= hi))
        return hy_error(HY_EINPUT, "%s %s: a number from %g to %g is wanted", name, text, lo, hi);
    return HY_OK;
}

// Where a sequence ends: --eos, the folder's configuration, the tokenizer's EOS.
static hy_status find_eos(const options *o, const char *path, const hy_tokenizer *t, hy_token_ids *out) {
    if (o->eos >= 0)
        hy_token_ids_add(out, o->eos);
    else if (hy_model_file_kind_of(path) == HY_MODEL_FOLDER)
        HY_TRY(hy_tokenizer_folder_eos(path, out));
    if (!out->n && t && hy_tokenizer_special(t, HY_TOKEN_EOS) >= 0)
        hy_token_ids_add(out, hy_tokenizer_special(t, HY_TOKEN_EOS));
    return HY_OK;
}

static hy_status open_and_generate(const options *o, const char *path, int n, const char *const *texts) {
    hy_sample_spec spec = {.max_new = o->max_new, .top_k = o->top_k};
    hy_backend be;
    hy_weights how;
    hy_precision precision;
    hy_model m;
    hy_tokenizer *t = NULL;
    hy_token_ids eos = {0};
    HY_TRY(read_number("--temperature", o->temperature, 0, 1e6, &spec.temperature));
    HY_TRY(read_number("--top-p", o->top_p, 0, 1, &spec.top_p));
    HY_TRY(hy_weights_parse(o->weights, &how));
    HY_TRY(hy_compute_from_args(o->precision, o->device, o->isa, o->threads, &precision, &be));
    HY_TRY(hy_model_open(path, o->sets.v, &be, how, precision, 1, &m));
    if (m.notes) fputs(m.notes, stderr);
    hy_status s = o->ids ? HY_OK : hy_prompt_tokenizer(o->tokenizer, path, &m.p->spec, &t);
    if (!s) s = find_eos(o, path, t, &eos);
    if (!s && !m.trained) fprintf(stderr, "note: %s is a variant with random weights\n", path);
    spec.eos = eos.v;
    spec.n_eos = (int)eos.n;
    if (!s) s = generate(o, &m, t, n, texts, &spec);
    free(eos.v);
    hy_tokenizer_close(t);
    hy_model_close(&m);
    return s;
}

int hy_cmd_generate(int argc, char **argv) {
    options o = {.temperature = "0.8", .top_p = "1", .max_new = 128, .seed = 1, .samples = 1, .eos = -1};
    const hy_arg args[] = {
        {"--model", "MODEL", HY_ARG_PATH, &o.model, 0, "the model; all other arguments are then prompts"},
        {"--tokenizer", "PATH", HY_ARG_PATH, &o.tokenizer, 0,
         "tokenizer.json, SentencePiece model, folder, or bytes (default: the folder's own, else bytes)"},
        {"--max-new", "N", HY_ARG_INT, &o.max_new, 1, "tokens to add (default 128)"},
        {"--temperature", "X", HY_ARG_TEXT, &o.temperature, 0, "0: greedy (default 0.8)"},
        {"--top-k", "N", HY_ARG_INT, &o.top_k, 0, "keep the N likeliest tokens (default: all)"},
        {"--top-p", "X", HY_ARG_TEXT, &o.top_p, 0, "keep the likeliest tokens with total probability X (default 1)"},
        {"--samples", "N", HY_ARG_INT, &o.samples, 1,
         "continuations of each prompt, with seeds seed, seed+1, ... (default 1)"},
        {"--seed", "N", HY_ARG_INT, &o.seed, 0, "seed of the sampling (default 1)"},
        {"--eos", "ID", HY_ARG_INT, &o.eos, 0,
         "stop after this token (default: what the folder's configuration or the tokenizer says)"},
        {"--ids", NULL, HY_ARG_FLAG, &o.ids, 0, "prompts and output are token ids, not text"},
        HY_ARGS_MODEL(o),
        {0},
    };
    const hy_args a = {
        .usage = "hylab generate CHECKPOINT.safetensors|FOLDER PROMPT... [options]",
        .text = "Continues each prompt; several prompts run as one batch and give what each gives alone. One prompt is "
                "printed as it\n"
                "grows, in whole characters.\n\nexamples:\n"
                "  hylab generate runs/text.safetensors \"ROMEO:\" --max-new 300 --temperature 0.7\n"
                "  hylab generate models/hymba \"The capital of France is\" --max-new 40 --temperature 0\n"
                "  hylab generate runs/bpe.safetensors \"ROMEO:\" --tokenizer models/llama/tokenizer.json\n"
                "  hylab generate runs/mqar.safetensors \"5 900 7 833 5\" --ids --max-new 1 --temperature 0\n",
        .args = args,
        .min_rest = 1,
        .max_rest = -1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    const int first = o.model ? 0 : 1;
    if (!s && !help && rest.n <= first) s = hy_error(HY_EINPUT, "a prompt is missing; usage: %s", a.usage);
    if (!s && !help) s = open_and_generate(&o, o.model ? o.model : rest.v[0], rest.n - first, rest.v + first);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("generate", s);
}
