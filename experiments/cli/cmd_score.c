// cmd_score.c - hylab score: log-likelihoods and greedy continuations that benchmarks ask for, as JSON lines.
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/exec/generate.h"
#include "core/family/model_file.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/device_arg.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/prompt_arg.h"
#include "experiments/cli/score_rules.h"
#include "experiments/cli/score_store.h"

// Requests are answered together so that they can be sorted by length, but no more of them than this: memory is
// bounded, and answers come as the work goes on.
enum { WINDOW = 2048, WINDOW_BYTES = 32 << 20, GENERATE_MOST = 15, LINE_MOST = 256 << 20 };

typedef struct {
    const char *tokenizer, *device, *isa, *weights, *precision, *store, *db;
    int max_length, prefix, batch, rows, window, threads, seed;
    hy_arg_list sets;
} options;

typedef struct {
    const options *o;
    hy_model m;
    hy_score_rules rules;
    hy_ask_list list;
} scoring;

// ---------------------------------------------------------------------------------------------------- likelihoods
static hy_status answer_likelihoods(scoring *s) {
    hy_score_items items = {0};
    hy_status st = HY_OK;
    for (int i = 0; !st && i < s->list.n; i++) {
        s->list.v[i].greedy = true;
        if (s->list.v[i].kind != HY_ASK_GENERATE) st = hy_score_rules_items(&s->rules, &s->list.v[i], i, &items);
    }
    const hy_likelihood_opts how = {.batch = s->o->batch, .rows = s->o->rows};
    if (!st) st = hy_likelihood(s->m.p, s->m.w, &how, items.n, items.v);
    for (int i = 0; !st && i < items.n; i++) {
        hy_ask_request *q = &s->list.v[items.request[i]];
        q->sum += items.v[i].sum;
        q->greedy = q->greedy && items.v[i].greedy;
        q->tokens += items.v[i].n - items.v[i].first;
    }
    hy_score_items_free(&items);
    return st;
}

// ---------------------------------------------------------------------------------------------------- generation
typedef struct {
    hy_ask_request *q;
    hy_token_ids ids;
    int order;  // of the request among all
} prompt;

// Those that may run together side by side, the longest first.
static int compare_settings(const hy_ask_generation *a, const hy_ask_generation *b) {
    if (a->max_new != b->max_new) return a->max_new - b->max_new;
    if (a->top_k != b->top_k) return a->top_k - b->top_k;
    if (a->temperature != b->temperature) return a->temperature < b->temperature ? -1 : 1;
    return a->top_p == b->top_p ? 0 : a->top_p < b->top_p ? -1 : 1;
}
static int by_settings(const void *x, const void *y) {
    const prompt *a = x, *b = y;
    const int c = compare_settings(&a->q->gen, &b->q->gen);
    if (c) return c;
    if (a->ids.n != b->ids.n) return a->ids.n > b->ids.n ? -1 : 1;
    return a->order - b->order;
}

typedef struct {
    const scoring *s;
    const prompt *p;
    hy_buf text;
    hy_status failed;
} ending;
static bool ends(void *user, int sequence, const int32_t *out, int n) {
    ending *e = user;
    bool ended = false;
    if (!e->failed) e->failed = hy_score_rules_text(&e->s->rules, e->p[sequence].q, out, n, &e->text, &ended);
    return ended || e->failed;
}

static hy_status generate(scoring *s, prompt *p, int n) {
    const hy_ask_generation *g = &p->q->gen;
    ending e = {.s = s, .p = p};
    const hy_sample_spec spec = {.max_new = g->max_new,
                                 .temperature = g->temperature,
                                 .top_k = g->top_k,
                                 .top_p = g->top_p,
                                 .eos = s->rules.eos.v,
                                 .n_eos = (int)s->rules.eos.n,
                                 .ends = ends,
                                 .ends_user = &e};
    const int32_t *ids[GENERATE_MOST];
    int len[GENERATE_MOST], made[GENERATE_MOST];
    uint64_t seeds[GENERATE_MOST];
    int32_t *out = hy_xcalloc((size_t)n * (size_t)g->max_new, sizeof *out);
    for (int i = 0; i < n; i++) {
        ids[i] = p[i].ids.v, len[i] = (int)p[i].ids.n;
        seeds[i] = hy_mix64((uint64_t)s->o->seed, hy_hash64(p[i].q->context, strlen(p[i].q->context)));
    }
    hy_status st = hy_generate(s->m.p, s->m.w, n, ids, len, seeds, &spec, NULL, NULL, out, made);
    if (!st) st = e.failed;
    for (int i = 0; !st && i < n; i++) {
        bool ended;
        const int32_t *mine = out + (size_t)i * (size_t)g->max_new;
        st = hy_score_rules_text(&s->rules, p[i].q, mine, made[i], &e.text, &ended);
        if (!st) p[i].q->answer = hy_xstrdup(e.text.s), p[i].q->tokens = made[i];
    }
    free(out), free(e.text.s);
    return st;
}

static hy_status answer_generations(scoring *s) {
    prompt *p = hy_xcalloc((size_t)s->list.n, sizeof *p);
    int n = 0;
    hy_status st = HY_OK;
    for (int i = 0; !st && i < s->list.n; i++) {
        if (s->list.v[i].kind != HY_ASK_GENERATE) continue;
        p[n] = (prompt){.q = &s->list.v[i], .order = i};
        st = hy_score_rules_prompt(&s->rules, p[n].q, &p[n].ids);
        n++;
    }
    if (!st) qsort(p, (size_t)n, sizeof *p, by_settings);
    const int batch = s->o->batch < GENERATE_MOST ? s->o->batch : GENERATE_MOST;
    for (int i = 0, j; !st && i < n; i = j) {
        for (j = i + 1; j < n && j - i < batch && !compare_settings(&p[i].q->gen, &p[j].q->gen);) j++;
        st = generate(s, p + i, j - i);
    }
    for (int i = 0; i < n; i++) free(p[i].ids.v);
    free(p);
    return st;
}

// ---------------------------------------------------------------------------------------------------- lines
// Answers what was read, in its order.
static hy_status answer(scoring *s) {
    if (!s->list.n) return HY_OK;
    HY_TRY(answer_likelihoods(s));
    HY_TRY(answer_generations(s));
    hy_buf out = {0};
    for (int i = 0; i < s->list.n_lines; i++) {
        hy_ask_answer(&s->list, &s->list.line[i], &out);
        hy_buf_write(&out, "\n", 1);
    }
    fwrite(out.s, 1, out.n, stdout);
    free(out.s);
    hy_ask_clear(&s->list);
    return hy_stream_end(stdout, "to standard output");
}

static hy_status score_stream(scoring *s, FILE *f, const char *name) {
    char *line = NULL;
    size_t cap = 0, number = 0;
    hy_status st = HY_OK;
    for (ssize_t n; !st && (n = getline(&line, &cap, f)) >= 0;) {
        number++;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) n--;
        if (n > LINE_MOST)
            st = hy_error(HY_EINPUT, "%s, line %zu: longer than %d MB", name, number, LINE_MOST >> 20);
        else if (!n)
            st = answer(s);  // an empty line asks for all answers so far
        else
            st = hy_ask_read(&s->list, name, number, line, (size_t)n);
        if (!st && (s->list.n >= s->o->window || s->list.bytes > WINDOW_BYTES)) st = answer(s);
    }
    if (!st && ferror(f)) st = hy_error(HY_EFAIL, "%s: cannot read", name);
    free(line);
    return st ? st : answer(s);
}

static hy_status score_all(scoring *s, const hy_arg_list *files) {
    if (files->n < 2) return score_stream(s, stdin, "standard input");
    for (int i = 1; i < files->n; i++) {
        FILE *f = fopen(files->v[i], "r");
        if (!f) return hy_error(HY_EINPUT, "%s: cannot read it", files->v[i]);
        const hy_status st = score_stream(s, f, files->v[i]);
        fclose(f);
        HY_TRY(st);
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- opening
static hy_status make_rules(scoring *s, const char *path, hy_tokenizer *t) {
    const hy_model_spec *spec = &s->m.p->spec;
    const int length = s->o->max_length ? s->o->max_length : spec->max_len;
    hy_token_ids eos = {0};
    if (spec->positions == HY_POSITIONS_LEARNED && length > spec->max_len)
        return hy_error(HY_EINPUT, "--max-length %d: the model has learned positions for %d tokens", length,
                        spec->max_len);
    if (hy_model_file_kind_of(path) == HY_MODEL_FOLDER) HY_TRY(hy_tokenizer_folder_eos(path, &eos));
    if (hy_tokenizer_special(t, HY_TOKEN_EOS) >= 0) hy_token_ids_add(&eos, hy_tokenizer_special(t, HY_TOKEN_EOS));
    const hy_status st = hy_score_rules_make(t, length, s->o->prefix, &eos, &s->rules);
    free(eos.v);
    return st;
}

static hy_status open_and_score(const options *o, const hy_arg_list *rest) {
    scoring s = {.o = o};
    hy_backend be;
    hy_weights how;
    hy_precision precision;
    hy_tokenizer *t = NULL;
    const char *path = rest->v[0];
    HY_TRY(hy_weights_parse(o->weights, &how));
    HY_TRY(hy_compute_from_args(o->precision, o->device, o->isa, o->threads, &precision, &be));
    be.by_token = true;
    HY_TRY(hy_model_open(path, o->sets.v, &be, how, precision, 1, &s.m));
    if (s.m.notes) fputs(s.m.notes, stderr);
    if (!s.m.trained) fprintf(stderr, "note: %s is a variant with random weights\n", path);
    hy_status st = hy_prompt_tokenizer(o->tokenizer, path, &s.m.p->spec, &t);
    if (!st) st = make_rules(&s, path, t);
    if (!st) st = score_all(&s, rest);
    hy_ask_clear(&s.list);
    hy_score_rules_free(&s.rules);
    hy_tokenizer_close(t);
    hy_model_close(&s.m);
    return st;
}

int hy_cmd_score(int argc, char **argv) {
    options o = {.prefix = -1, .batch = 16, .rows = 1024, .window = WINDOW, .seed = 1};
    const hy_arg args[] = {
        {"--tokenizer", "PATH", HY_ARG_PATH, &o.tokenizer, 0,
         "tokenizer.json, SentencePiece model, folder, or bytes (default: the folder's own, else bytes)"},
        {"--max-length", "N", HY_ARG_INT, &o.max_length, 1,
         "tokens that the model is given at most (default: its max_len); more are cut off on the left"},
        {"--prefix-token", "ID", HY_ARG_INT, &o.prefix, 0,
         "what stands before the first token (default: the tokenizer's BOS, else its EOS)"},
        {"--batch", "N", HY_ARG_INT, &o.batch, 1, "sequences at a time (default 16)"},
        {"--rows", "N", HY_ARG_INT, &o.rows, 1, "tokens of all of them in one pass (default 1024)"},
        {"--window", "N", HY_ARG_INT, &o.window, 1, "requests that are sorted and answered together (default 2048)"},
        {"--store", "RESULTS.json", HY_ARG_PATH, &o.store, 0,
         "ask nothing: store what lm_eval --output_path wrote of this model in a database"},
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0, "with --store ($HYLAB_DB, else runs/hylab.db)"},
        {"--seed", "N", HY_ARG_INT, &o.seed, 0, "of generations with do_sample (default 1)"},
        HY_ARGS_MODEL(o),
        {0},
    };
    const hy_args a = {
        .usage = "hylab score CHECKPOINT.safetensors|FOLDER [SAMPLES.jsonl...] [options]",
        .text =
            "Answers what benchmarks ask of a model, by the rules of lm-evaluation-harness: how likely a continuation "
            "is after a\n"
            "context, how likely a text, what follows a context. Requests are lines of JSON on standard input, answers "
            "lines of JSON in\n"
            "their order; an empty line asks for the answers of what came before it.\n"
            "  {\"request\": \"loglikelihood\", \"context\": \"Paris is in\", \"continuation\": \" France\"}\n"
            "  {\"request\": \"loglikelihood_rolling\", \"text\": \"A whole page\"}\n"
            "  {\"request\": \"generate_until\", \"context\": \"Q: 1+1?\\nA:\", \"gen_kwargs\": {\"until\": [\"\\n\"], "
            "\"max_gen_toks\": 8}}\n"
            "-> {\"loglikelihood\": -0.5, \"is_greedy\": true, \"tokens\": 1}, {\"loglikelihood\": ..., \"tokens\": "
            "...}, {\"text\": \" 2\", \"tokens\": 2};\n"
            "\"id\" comes back with the answer. SAMPLES are files as lm_eval --log_samples writes them: a line of them "
            "is a document, and its\n"
            "answer a list. On the CPU in f32 an answer has the same bits whatever is asked beside it.\n\nexamples:\n"
            "  hylab score models/SmolLM2-135M < requests.jsonl > answers.jsonl\n"
            "  hylab score models/hymba samples_piqa_2024.jsonl\n"
            "  PYTHONPATH=python python3 -m hylab_lm_eval --model hylab --model_args path=models/hymba --tasks piqa\n",
        .args = args,
        .min_rest = 1,
        .max_rest = -1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help && o.store && rest.n > 1)
        s = hy_error(HY_EINPUT, "--store takes a model alone; \"%s\" is left over", rest.v[1]);
    if (!s && !help && o.store)
        s = hy_scores_store(o.store, rest.v[0], o.sets.v, o.db ? o.db : hy_default_db());
    else if (!s && !help)
        s = open_and_score(&o, &rest);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("score", s);
}
