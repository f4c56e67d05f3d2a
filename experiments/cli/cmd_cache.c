// cmd_cache.c - `hylab cache`: how large the cache of a variant is, by kind and by layer, in the true accounting and in
// the paper's. Formulas only; that they equal what is allocated is a test. The longer views are cache_both.c,
// cache_explain.c.
#include <stdlib.h>
#include <string.h>

#include "core/spec/published.h"
#include "core/family/model_file.h"
#include "experiments/cli/args.h"
#include "experiments/cli/cache_views.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/show_spec.h"
#include "experiments/runner/adopt.h"

typedef struct {
    hy_arg_list sets;
    int tokens;
    const char *accounting, *elem, *state_elem, *ssm_elem, *db;
    bool by_layer, both, explain;
    hy_table_format format;
    hy_cache_accounting how;
    int bytes, conv_bytes, ssm_bytes;
} options;

#define ELEMS "f64|f32|bf16|f16|f8|i8"
static hy_status read_elem(const char *option, const char *word, int *bytes) {
    static const struct {
        const char *word;
        int bytes;
    } elems[] = {{"f64", 8}, {"f32", 4}, {"bf16", 2}, {"f16", 2}, {"f8", 1}, {"i8", 1}};
    for (size_t i = 0; i < sizeof elems / sizeof *elems; i++)
        if (!strcmp(elems[i].word, word)) {
            *bytes = elems[i].bytes;
            return HY_OK;
        }
    return hy_error(HY_EINPUT, "%s %s: there are " ELEMS, option, word);
}

static hy_status read_choices(options *o) {
    if (!strcmp(o->accounting, "true"))
        o->how = HY_CACHE_TRUE;
    else if (!strcmp(o->accounting, "paper"))
        o->how = HY_CACHE_PAPER;
    else if (!strcmp(o->accounting, "paper-groups"))
        o->how = HY_CACHE_PAPER_GROUPS;
    else if (!strcmp(o->accounting, "both"))
        o->both = true;
    else
        return hy_error(HY_EINPUT, "--accounting %s: there are true, paper, paper-groups and both", o->accounting);
    HY_TRY(read_elem("--elem", o->elem, &o->bytes));
    if (!o->state_elem) o->state_elem = o->elem;
    HY_TRY(read_elem("--state-elem", o->state_elem, &o->conv_bytes));
    HY_TRY(read_elem("--ssm-elem", o->ssm_elem ? o->ssm_elem : o->state_elem, &o->ssm_bytes));
    if (o->by_layer && (o->both || o->explain))
        return hy_error(HY_EINPUT, "--by-layer shows one accounting: not with %s",
                        o->explain ? "--explain" : "--accounting both");
    if (o->tokens > 1 << 28) return hy_error(HY_EINPUT, "--tokens %d: at most %d", o->tokens, 1 << 28);
    return HY_OK;
}

// The paper's figures are of its accounting, at its length, of the model as the file has it.
static bool compares(const options *o) {
    return o->how == HY_CACHE_PAPER && !o->by_layer && o->tokens == HY_PUBLISHED_TOKENS && !o->sets.n;
}

static hy_table *new_table(const options *o) {
    hy_table *t = hy_table_new(NULL);
    hy_table_column(t, "variant", NULL, NULL, HY_LEFT);
    if (o->by_layer) {
        hy_table_column(t, "layer", NULL, NULL, HY_RIGHT);
        hy_table_column(t, "mixer", NULL, NULL, HY_LEFT);
        hy_table_column(t, "mask", NULL, NULL, HY_LEFT);
        hy_table_column(t, "kv_source", "keys of", NULL, HY_RIGHT);
    } else {
        hy_table_column(t, "parameters", NULL, NULL, HY_RIGHT);
    }
    hy_table_column(t, "kv_mb", "KV", "MB", HY_RIGHT);
    hy_table_column(t, "meta_mb", "meta KV", "MB", HY_RIGHT);
    hy_table_column(t, "conv_mb", "convolution", "MB", HY_RIGHT);
    hy_table_column(t, "ssm_mb", "SSM state", "MB", HY_RIGHT);
    hy_table_column(t, "total_mb", "total", "MB", HY_RIGHT);
    if (compares(o)) {  // for programs; people get --accounting both
        hy_table_column(t, "published_mb", NULL, NULL, HY_RIGHT);
        hy_table_hidden(t);
        hy_table_column(t, "published_in", NULL, NULL, HY_LEFT);
        hy_table_hidden(t);
    }
    return t;
}

static void add_bytes(hy_table *t, const hy_cache_bytes *c) {
    hy_table_num(t, c->kv / 1e6, 3);
    hy_table_num(t, c->meta / 1e6, 3);
    hy_table_num(t, c->conv / 1e6, 3);
    hy_table_num(t, c->ssm / 1e6, 3);
    hy_table_num(t, c->total / 1e6, 3);
}

static void add_layers(hy_table *t, const hy_model_spec *m, const hy_cache_bytes *layers) {
    for (int i = 0; i < m->n_layers; i++) {
        const hy_layer_spec *l = &m->layers[i];
        char mask[32];
        hy_mask_text(l, mask);
        hy_table_row(t);
        hy_table_text(t, "%s", m->name);
        hy_table_int(t, i);
        hy_table_text(t, "%s", hy_mixer_text(l->mixer));
        hy_table_text(t, "%s", mask);
        if (hy_layer_has_attention(l))
            hy_table_int(t, l->kv_source);
        else
            hy_table_empty(t);
        add_bytes(t, &layers[i]);
    }
}

static hy_status add_published(hy_table *t, const char *path) {
    hy_published_list printed;
    HY_TRY(hy_model_published(path, &printed));
    const hy_published *p = hy_published_cache(&printed);
    hy_table_text(t, "%s", p ? p->cache_mb : "");
    hy_table_text(t, "%s", p ? p->in : "");
    return HY_OK;
}

static void add_note(hy_table *t, const options *o) {
    char sizes[96];
    hy_cache_sizes_text(o->bytes, o->conv_bytes, o->ssm_bytes, sizes);
    static const char *const paper =
        "as the paper counts: 2 bytes a value, window layers exactly their window, no convolution state";
    if (o->how == HY_CACHE_TRUE)
        hy_table_note(t, "one sequence of %d tokens, %s, MB of 10^6 bytes: what a runtime holds", o->tokens, sizes);
    else
        hy_table_note(t, "one sequence of %d tokens, MB of 10^6 bytes, %s, %s", o->tokens, paper,
                      o->how == HY_CACHE_PAPER ? "window layers that share counted as half"
                                               : "sharing groups as they are");
}

static hy_status print_cache(const options *o, const hy_arg_list *files) {
    hy_table *t = new_table(o);
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    hy_cache_bytes layers[HY_MAX_LAYERS], sum;
    double first = 0;
    hy_status st = HY_OK;
    if (!o->by_layer && files->n > 1) hy_table_column(t, "times_smaller", "smaller than first", "times", HY_RIGHT);
    for (int i = 0; !st && i < files->n; i++) {
        st = hy_model_read_spec(files->v[i], o->sets.v, m);
        if (st) break;
        hy_model_cache(m, o->how, o->tokens, o->bytes, o->conv_bytes, o->ssm_bytes, layers, &sum);
        if (i == 0) first = sum.total;
        if (o->by_layer) {
            if (i) hy_table_rule(t);
            add_layers(t, m, layers);
            continue;
        }
        hy_param_count c;
        hy_model_count(m, &c);
        hy_table_row(t);
        hy_table_text(t, "%s", m->name);
        hy_table_int(t, c.total);
        add_bytes(t, &sum);
        if (compares(o)) st = add_published(t, files->v[i]);
        if (files->n > 1) hy_table_num(t, first / sum.total, 2);
    }
    add_note(t, o);
    if (!st) st = hy_table_print(t, o->format, stdout);
    free(m);
    hy_table_free(t);
    return st;
}

// Takes the measure of each file and stores it: what hylab holds of a sequence when it computes in float32, and the
// paper's accounting.
static hy_status store_caches(const options *o, const hy_arg_list *files) {
    hy_backend be;
    hy_asked m;
    HY_TRY(hy_backend_cpu("auto", 0, &be));
    HY_TRY(hy_ask("cache", &m));
    HY_TRY(hy_ask_int(&m, "tokens", o->tokens));
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_status st = HY_OK;
    for (int i = 0; i < files->n && !st; i++) {
        hy_program *p = NULL;
        hy_facts facts = {0};
        st = hy_model_read_spec(files->v[i], o->sets.v, spec);
        if (!st) st = hy_model_build(spec, &p);
        const hy_measure_context c = {.prog = p, .compute = HY_F32, .be = &be, .jobs = 1};
        const bool from_file = hy_model_file_kind_of(files->v[i]) != HY_MODEL_YAML;
        const hy_adopted a = {
            .spec = spec, .path = files->v[i], .from_file = from_file, .init_seed = 1, .seed = 1, .be = &be};
        if (!st) st = hy_measure_run(m.measure, &c, &m.options, &facts);
        if (!st) st = hy_adopt_into(o->db, &a, m.measure, &m.options, &facts);
        hy_facts_free(&facts);
        hy_program_free(p);
    }
    free(spec);
    return st;
}

int hy_cmd_cache(int argc, char **argv) {
    options o = {.tokens = 8000, .accounting = "true", .elem = "f32"};
    const hy_arg args[] = {
        {"--tokens", "N", HY_ARG_INT, &o.tokens, 1, "text tokens held (8000, as in the paper)"},
        {"--accounting", "true|paper|paper-groups|both", HY_ARG_TEXT, &o.accounting, 0,
         "what a runtime holds; as the paper counts; so, with the sharing groups as they are; all beside the printed "
         "figures (true)"},
        {"--explain", NULL, HY_ARG_FLAG, &o.explain, 0,
         "the terms in words, both accountings side by side, and why they differ"},
        {"--elem", ELEMS, HY_ARG_TEXT, &o.elem, 0, "element type in the true accounting; the paper's is 2 bytes (f32)"},
        {"--state-elem", "TYPE", HY_ARG_TEXT, &o.state_elem, 0,
         "another one for convolution and SSM states (as --elem)"},
        {"--ssm-elem", "TYPE", HY_ARG_TEXT, &o.ssm_elem, 0, "another one for SSM states alone (as --state-elem)"},
        {"--by-layer", NULL, HY_ARG_FLAG, &o.by_layer, 0, "a row for each layer"},
        {"--set", "KEY=VALUE", HY_ARG_LIST, &o.sets, 0, "change a key of every variant; may be given many times"},
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0,
         "store what measure cache finds of each MODEL in this database as well (computing in float32)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab cache MODEL... [options]",
        .text = "Prints the size of the cache of one sequence: keys and values, those of meta tokens, convolution\n"
                "tails and SSM states. MODEL is a variant, a checkpoint or a released folder.\n\n"
                "What hylab itself allocates for one sequence is counted by --elem f32 when it computes in float32 or "
                "TF32, by\n"
                "--elem bf16 --ssm-elem f32 with --precision bf16, which keeps SSM states in float32.\n\n"
                "examples:\n"
                "  hylab cache variants/llama.yaml variants/hymba.yaml --tokens 4096\n"
                "  hylab cache variants/hymba.yaml --by-layer\n"
                "  hylab cache variants/paper/llama-3.2-3b.yaml variants/paper/hymba-1.5b.yaml --accounting paper\n"
                "  hylab cache variants/paper/*.yaml --accounting both --elem bf16      # beside the paper's tables\n"
                "  hylab cache --explain variants/paper/hymba-1.5b.yaml --elem bf16",
        .args = args,
        .min_rest = 1,
        .max_rest = -1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) st = read_choices(&o);
    if (!st && !help && o.db) st = hy_adopt_try(o.db, false);
    const hy_cache_request r = {&rest, o.sets.v, o.tokens, o.bytes, o.conv_bytes, o.ssm_bytes, o.format};
    if (!st && !help)
        st = o.explain ? hy_cache_print_explained(&r) : o.both ? hy_cache_print_both(&r) : print_cache(&o, &rest);
    if (!st && !help && o.db) st = store_caches(&o, &rest);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("cache", st);
}
