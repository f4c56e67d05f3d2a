// cmd_generate.c - hylab generate: continues prompts with caches. Prompts are bytes (models of text tasks) or token ids.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/generate.h"
#include "experiments/commands.h"
#include "experiments/modelfile.h"
#include "experiments/taskarg.h"

typedef struct {
    const char *device, *isa, *weights, *temperature, *top_p;
    int max_new, top_k, seed, threads, samples, eos;
    bool ids;
    hy_arg_list sets;
} options;

typedef struct {
    bool ids, stream;  // stream: one sequence, print as it comes
} printer;

static void put_token(bool ids, int32_t token, FILE *f) {
    if (ids) fprintf(f, "%d ", (int)token);
    else if (token < 256) fputc(token, f);
    else fputs("\357\277\275", f);  // no byte: the replacement character
}

static hy_status on_token(void *user, int sequence, int32_t token) {
    const printer *p = user;
    (void)sequence;
    if (p->stream) {
        put_token(p->ids, token, stdout);
        fflush(stdout);
    }
    return ferror(stdout) ? hy_error(HY_EFAIL, "cannot write to standard output") : HY_OK;
}

static hy_status parse_prompt(const char *text, bool ids, int32_t **out, int *n) {
    const size_t len = strlen(text);
    *out = hy_xcalloc(len + 1, sizeof **out);
    *n = 0;
    if (!ids) {
        for (size_t i = 0; i < len; i++) (*out)[(*n)++] = (unsigned char)text[i];
        return HY_OK;
    }
    for (const char *s = text; *s;) {
        char *end;
        errno = 0;
        const long v = strtol(s, &end, 10);
        if (end == s || errno || v < 0 || v > INT_MAX) return hy_error(HY_EINPUT, "prompt \"%s\": token ids are wanted, like \"5 17 3\"", text);
        (*out)[(*n)++] = (int32_t)v;
        for (s = end; *s == ' ' || *s == ','; s++) {}
    }
    return HY_OK;
}

static hy_status read_number(const char *name, const char *text, double lo, double hi, double *out) {
    char *end;
    *out = strtod(text, &end);
    if (*end || end == text || !(*out >= lo && *out <= hi))
        return hy_error(HY_EINPUT, "%s %s: a number from %g to %g is wanted", name, text, lo, hi);
    return HY_OK;
}

static hy_status generate(const options *o, const hy_model *m, int n_prompts, const char *const *texts, const hy_sample_spec *spec) {
    const int B = n_prompts * o->samples;
    int32_t **prompts = hy_xcalloc((size_t)B, sizeof *prompts), *out = hy_xcalloc((size_t)B * (size_t)spec->max_new, sizeof *out);
    int *len = hy_xcalloc((size_t)B * 2, sizeof *len), *out_len = len + B;
    uint64_t *seeds = hy_xcalloc((size_t)B, sizeof *seeds);
    hy_status s = HY_OK;
    for (int b = 0; !s && b < B; b++) {
        s = parse_prompt(texts[b / o->samples], o->ids, &prompts[b], &len[b]);
        seeds[b] = (uint64_t)o->seed + (uint64_t)(b % o->samples);
    }
    const printer pr = {.ids = o->ids, .stream = B == 1};
    if (!s && pr.stream && !o->ids) fputs(texts[0], stdout);
    if (!s) s = hy_generate(m->p, m->w, B, (const int32_t *const *)prompts, len, seeds, spec, on_token, (void *)&pr, out, out_len);
    for (int b = 0; !s && b < B && !pr.stream; b++) {
        printf("--- prompt %d, sample %d\n", b / o->samples + 1, b % o->samples + 1);
        if (!o->ids) fputs(texts[b / o->samples], stdout);
        for (int i = 0; i < out_len[b]; i++) put_token(o->ids, out[(size_t)b * (size_t)spec->max_new + (size_t)i], stdout);
        putchar('\n');
    }
    if (!s && pr.stream) putchar('\n');
    for (int b = 0; b < B; b++) free(prompts[b]);
    free(prompts);
    free(out);
    free(len);
    free(seeds);
    return s;
}

static hy_status open_and_generate(const options *o, const hy_arg_list *rest) {
    hy_sample_spec spec = {.max_new = o->max_new, .top_k = o->top_k, .eos = o->eos};
    hy_backend be;
    hy_model m;
    HY_TRY(read_number("--temperature", o->temperature, 0, 1e6, &spec.temperature));
    HY_TRY(read_number("--top-p", o->top_p, 0, 1, &spec.top_p));
    hy_weights how;
    HY_TRY(hy_weights_parse(o->weights, &how));
    HY_TRY(hy_backend_from_args(o->device, o->isa, o->threads, &be));
    HY_TRY(hy_model_open(rest->v[0], o->sets.v, &be, how, 1, &m));
    hy_status s = HY_OK;
    if (!o->ids && m.p->spec.vocab < 256)
        s = hy_error(HY_EINPUT, "%s has a vocabulary of %d, not bytes: give prompts as token ids with --ids", rest->v[0], m.p->spec.vocab);
    if (!s && !o->ids && m.p->spec.vocab > 256)
        fprintf(stderr, "note: %s has a vocabulary of %d; prompt and output are taken for bytes, other tokens are shown as \357\277\275 (--ids shows numbers)\n",
                rest->v[0], m.p->spec.vocab);
    if (!s && !m.trained) fprintf(stderr, "note: %s is a variant with random weights\n", rest->v[0]);
    if (!s) s = generate(o, &m, rest->n - 1, rest->v + 1, &spec);
    hy_model_close(&m);
    return s;
}

int hy_cmd_generate(int argc, char **argv) {
    options o = {.temperature = "0.8", .top_p = "1", .max_new = 128, .seed = 1, .samples = 1, .eos = -1};
    const hy_arg args[] = {
        {"--max-new", "N", HY_ARG_INT, &o.max_new, 1, "tokens to add (default 128)"},
        {"--temperature", "X", HY_ARG_TEXT, &o.temperature, 0, "0: greedy (default 0.8)"},
        {"--top-k", "N", HY_ARG_INT, &o.top_k, 0, "keep the N likeliest tokens (default: all)"},
        {"--top-p", "X", HY_ARG_TEXT, &o.top_p, 0, "keep the likeliest tokens with total probability X (default 1)"},
        {"--samples", "N", HY_ARG_INT, &o.samples, 1, "continuations of each prompt, with seeds seed, seed+1, ... (default 1)"},
        {"--seed", "N", HY_ARG_INT, &o.seed, 0, "seed of the sampling (default 1)"},
        {"--eos", "ID", HY_ARG_INT, &o.eos, 0, "stop after this token"},
        {"--ids", NULL, HY_ARG_FLAG, &o.ids, 0, "prompts and output are token ids, not bytes"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "a change to the spec that keeps the shapes"},
        {"--weights", HY_WEIGHTS_NAMES, HY_ARG_TEXT, &o.weights, 0, HY_WEIGHTS_HELP},
        {"--threads", "N", HY_ARG_INT, &o.threads, 0, "threads (default: all cores)"},
        {"--device", "cpu|auto", HY_ARG_TEXT, &o.device, 0, "where to run"},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0, "kernels: ref, base, avx2, avx512"},
        {0},
    };
    const hy_args a = {.usage = "hylab generate CHECKPOINT.safetensors|FOLDER PROMPT... [options]",
                       .text = "Continues each prompt; several prompts run as one batch and give what each gives alone.\n\nexamples:\n"
                               "  hylab generate runs/text.safetensors \"ROMEO:\" --max-new 300 --temperature 0.7\n"
                               "  hylab generate runs/mqar.safetensors \"5 900 7 833 5\" --ids --max-new 1 --temperature 0\n",
                       .args = args, .min_rest = 2, .max_rest = -1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = open_and_generate(&o, &rest);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("generate", s);
}
