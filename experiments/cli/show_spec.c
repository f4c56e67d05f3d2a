// show_spec.c - `hylab show spec`: what a variant expands to and what it costs, before anything is trained.
#include "experiments/cli/show_spec.h"

#include <stdlib.h>
#include <string.h>

#include "experiments/cli/args.h"
#include "core/family/model_file.h"

typedef struct {
    hy_arg_list sets;
    bool yaml;
    hy_table_format format;
} options;

// ---------------------------------------------------------------------------------------------------- words
const char *hy_mixer_text(hy_mixer m) {
    static const char *const words[] = {"none", "attention", "ssm", "parallel", "attention > ssm", "ssm > attention"};
    return words[m];
}

void hy_mask_text(const hy_layer_spec *l, char out[32]) {
    if (!hy_layer_has_attention(l))
        snprintf(out, 32, "-");
    else if (l->window)
        snprintf(out, 32, "window %d", l->window);
    else
        snprintf(out, 32, "global");
}

static const char *const fusion_words[] = {"mean", "concat", "gate", "sum"};
static const char *const mlp_words[] = {"none", "silu", "relu2"};

static void cell_int(hy_table *t, bool present, int v) {
    if (present)
        hy_table_int(t, v);
    else
        hy_table_empty(t);
}
static void cell_word(hy_table *t, bool present, const char *word) { hy_table_text(t, "%s", present ? word : ""); }

// ---------------------------------------------------------------------------------------------------- tables
static hy_table *layers_table(const hy_model_spec *m, const char *title) {
    static const char *const columns[] = {"layer",   "mixer",    "fusion",    "mask",    "heads",   "kv_heads",
                                          "d_qk",    "d_v",      "kv_source", "d_inner", "d_state", "d_conv",
                                          "dt_rank", "head_dim", "groups",    "mlp",     "d_ff",    "parameters"};
    static const char *const headers[] = {"layer",   "mixer",    "fusion",  "mask",    "heads",   "KV",
                                          "d_qk",    "d_v",      "keys of", "d_inner", "d_state", "d_conv",
                                          "dt_rank", "head_dim", "groups",  "mlp",     "d_ff",    "parameters"};
    hy_table *t = hy_table_new(title);
    bool mamba2 = false;
    for (int i = 0; i < m->n_layers; i++) mamba2 = mamba2 || hy_layer_is_mamba2(&m->layers[i]);
    for (int c = 0; c < 18; c++) {
        hy_table_column(t, columns[c], headers[c], NULL, c == 1 || c == 2 || c == 3 || c == 15 ? HY_LEFT : HY_RIGHT);
        if ((c == 13 || c == 14) && !mamba2) hy_table_hidden(t);
    }
    for (int i = 0; i < m->n_layers; i++) {
        const hy_layer_spec *l = &m->layers[i];
        bool at = hy_layer_has_attention(l), ss = hy_layer_has_ssm(l);
        char mask[32];
        hy_param_count c;
        hy_mask_text(l, mask);
        hy_layer_count(m, i, &c);
        hy_table_row(t);
        hy_table_int(t, i);
        hy_table_text(t, "%s", hy_mixer_text(l->mixer));
        cell_word(t, l->mixer == HY_MIXER_PARALLEL, fusion_words[l->fusion]);
        cell_word(t, at, mask);
        cell_int(t, at, l->heads);
        cell_int(t, at, l->kv_heads);
        cell_int(t, at, l->d_qk);
        cell_int(t, at, l->d_v);
        cell_int(t, at, l->kv_source);
        cell_int(t, ss, l->d_inner);
        cell_int(t, ss, l->d_state);
        cell_int(t, ss, l->d_conv);
        cell_int(t, ss && l->dt_rank, l->dt_rank);
        cell_int(t, hy_layer_is_mamba2(l), l->head_dim);
        cell_int(t, hy_layer_is_mamba2(l), l->groups);
        hy_table_text(t, "%s", mlp_words[l->mlp]);
        cell_int(t, l->mlp != HY_MLP_NONE, l->d_ff);
        hy_table_int(t, c.total);
    }
    return t;
}

static hy_table *parameters_table(const hy_model_spec *m) {
    hy_param_count c;
    hy_model_count(m, &c);
    const struct {
        const char *part;
        int64_t n;
    } parts[] = {{"embedding", c.embedding},
                 {"output head", c.head},
                 {"meta tokens", c.meta},
                 {"attention", c.attention},
                 {"ssm", c.ssm},
                 {"fusion and out", c.fusion},
                 {"mlp", c.mlp},
                 {"norms", c.norm},
                 {"total", c.total}};
    hy_table *t = hy_table_new("parameters");
    hy_table_column(t, "part", NULL, NULL, HY_LEFT);
    hy_table_column(t, "parameters", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "share", NULL, "%", HY_RIGHT);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!strcmp(parts[i].part, "total")) hy_table_rule(t);
        hy_table_row(t);
        hy_table_text(t, "%s", parts[i].part);
        hy_table_int(t, parts[i].n);
        hy_table_num(t, 100.0 * (double)parts[i].n / (double)c.total, 1);
    }
    if (m->tied) hy_table_note(t, "the output head is the embedding");
    if (c.ratio_attention && c.ratio_ssm)
        hy_table_note(
            t, "attention : SSM = 1 : %.2f (W_q, W_k, W_v against the rest of the mixer, as in the paper's Table 10)",
            (double)c.ratio_ssm / (double)c.ratio_attention);
    else if (c.ratio_attention || c.ratio_ssm)
        hy_table_note(t, "attention : SSM = %s", c.ratio_attention ? "1 : 0" : "0 : 1");
    return t;
}

// Cache and FLOPs at a few lengths: short, the longest meant, the paper's 8000, and beyond.
static hy_table *lengths_table(const hy_model_spec *m) {
    int lengths[] = {256, 1024, 8000, 32768, 131072};
    hy_table *t = hy_table_new("one sequence after so many tokens");
    hy_table_column(t, "tokens", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "cache_f32_mb", "cache f32", "MB", HY_RIGHT);
    hy_table_column(t, "cache_bf16_mb", "cache bf16", "MB", HY_RIGHT);
    hy_table_column(t, "cache_paper_mb", "as the paper counts", "MB", HY_RIGHT);
    hy_table_column(t, "mflop_token", "forward", "MFLOP/token", HY_RIGHT);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        hy_cache_bytes f32, bf16, paper;
        hy_model_cache(m, HY_CACHE_TRUE, lengths[i], 4, 4, 4, NULL, &f32);
        hy_model_cache(m, HY_CACHE_TRUE, lengths[i], 2, 2, 2, NULL, &bf16);
        hy_model_cache(m, HY_CACHE_PAPER, lengths[i], 2, 2, 2, NULL, &paper);
        hy_table_row(t);
        hy_table_int(t, lengths[i]);
        hy_table_num(t, f32.total / 1e6, 3);
        hy_table_num(t, bf16.total / 1e6, 3);
        hy_table_num(t, paper.total / 1e6, 2);
        hy_table_num(t, hy_model_flops_token(m, lengths[i] + m->meta_tokens) / 1e6, 2);
    }
    hy_table_note(t, "MB of 10^6 bytes, bf16: 2 bytes a value (--precision bf16 keeps SSM states in float32); `hylab "
                     "cache` has the parts and layers");
    return t;
}

// ---------------------------------------------------------------------------------------------------- printing
// What the table of layers has no column for, where it is not the default.
enum {
    QK_NORM,
    NO_ROPE,
    ROTARY,
    QKV_BIAS,
    OUT_BIAS,
    PROJ_BIAS,
    NO_CONV_BIAS,
    NO_INNER_NORMS,
    PLAIN_NORMS,
    NO_GATED_NORM,
    NORM_FIRST,
    LIMITED,
    MLP_BIAS,
    DETAILS
};
static const char *const detail_words[DETAILS] = {"qk norm",
                                                  "no rope",
                                                  "rope on some values of a head",
                                                  "query, key and value biases",
                                                  "attention out bias",
                                                  "ssm projection biases",
                                                  "no convolution bias",
                                                  "no norms of dt, B, C",
                                                  "norms of dt, B, C without weights",
                                                  "ssm gate without a norm",
                                                  "ssm norm before the gate",
                                                  "ssm steps",
                                                  "mlp biases"};

// has: the layer is so; may: it could be.
static void layer_details(const hy_layer_spec *l, bool has[DETAILS], bool may[DETAILS]) {
    const bool at = hy_layer_has_attention(l), ss = hy_layer_has_ssm(l), two = hy_layer_is_mamba2(l);
    may[QK_NORM] = may[NO_ROPE] = may[ROTARY] = may[QKV_BIAS] = may[OUT_BIAS] = at;
    may[PROJ_BIAS] = may[NO_CONV_BIAS] = ss;
    may[NO_INNER_NORMS] = may[PLAIN_NORMS] = ss && !two;
    may[NO_GATED_NORM] = may[NORM_FIRST] = may[LIMITED] = two;
    may[MLP_BIAS] = l->mlp != HY_MLP_NONE;
    const bool is[DETAILS] = {l->qk_norm,
                              l->no_rope,
                              l->rotary != 0,
                              l->qkv_bias,
                              l->out_bias,
                              l->proj_bias,
                              !l->conv_bias,
                              l->inner_norms == HY_INNER_NORMS_NONE,
                              l->inner_norms == HY_INNER_NORMS_PLAIN,
                              !l->gated_norm,
                              l->norm_before_gate,
                              l->dt_min != 0 || l->dt_max != 0,
                              l->mlp_bias};
    for (int k = 0; k < DETAILS; k++) has[k] = may[k] && is[k];
}

static void details(const hy_model_spec *m, hy_buf *out) {
    int layers[DETAILS] = {0}, possible[DETAILS] = {0};
    double lo = 0, hi = 0;
    bool one = true;  // one pair of limits
    for (int i = 0; i < m->n_layers; i++) {
        const hy_layer_spec *l = &m->layers[i];
        bool has[DETAILS], may[DETAILS];
        layer_details(l, has, may);
        if (has[LIMITED] && layers[LIMITED]) one = one && l->dt_min == lo && l->dt_max == hi;
        if (has[LIMITED]) lo = l->dt_min, hi = l->dt_max;
        for (int k = 0; k < DETAILS; k++) layers[k] += has[k], possible[k] += may[k];
    }
    for (int k = 0; k < DETAILS; k++) {
        if (!layers[k]) continue;
        hy_buf_printf(out, "%s%s", out->n ? "; " : "", detail_words[k]);
        if (k == LIMITED && !one)
            hy_buf_printf(out, " limited");
        else if (k == LIMITED && hi != 0)
            hy_buf_printf(out, " of %g to %g", lo, hi);
        else if (k == LIMITED)
            hy_buf_printf(out, " of at least %g", lo);
        if (layers[k] < possible[k]) hy_buf_printf(out, " (%d of %d layers)", layers[k], possible[k]);
    }
}

static void print_head(const hy_model_spec *m) {
    static const char *const ropes[] = {"none", "default", "ntk", "linear", "llama3"};
    char hash[33];
    hy_model_spec_hash(m, hash);
    printf("%s  (%s)\n", m->name, hash);
    printf("vocabulary %d, d_model %d, %d layers, %d meta tokens, %s norm, rope %s", m->vocab, m->d_model, m->n_layers,
           m->meta_tokens,
           m->norm == HY_NORM_RMS ? "RMS"
           : m->norm_bias         ? "layer (with bias)"
                                  : "layer",
           ropes[m->rope]);
    if (m->rope != HY_ROPE_NONE) printf(" base %g", m->rope_base);
    if (m->rope == HY_ROPE_NTK) printf(" stretched from %d tokens", m->orig_len);
    if (m->rope_factor != 1) printf(" factor %g", m->rope_factor);
    if (m->rope == HY_ROPE_LLAMA3) printf(" (%g to %g turns in %d tokens)", m->rope_low, m->rope_high, m->orig_len);
    if (m->positions == HY_POSITIONS_LEARNED) printf(", learned positions");
    printf(", %s embedding", m->tied ? "tied" : "untied");
    if (m->dropout_embedding > 0) printf(" (dropout %g)", m->dropout_embedding);
    if (m->dropout_attention > 0) printf(", dropout of attention %g", m->dropout_attention);
    printf(", texts of up to %d tokens\n", m->max_len);
    hy_buf factors = {0}, more = {0};
    hy_model_multipliers_text(m, &factors);
    if (factors.n) printf("multipliers: %s\n", factors.s);
    details(m, &more);
    if (more.n) printf("besides: %s\n", more.s);
    printf("\n");
    free(factors.s);
    free(more.s);
}

static hy_status print_json(const hy_model_spec *m, hy_table *const *tables) {
    static const char *const keys[] = {"layers", "parameters", "lengths"};
    char hash[33], *text = hy_model_spec_text(m);
    hy_model_spec_hash(m, hash);
    hy_json *j = hy_json_new_object();
    hy_json_set_string(j, "name", m->name);
    hy_json_set_string(j, "hash", hash);
    hy_json_set_int(j, "vocab", m->vocab);
    hy_json_set_int(j, "d_model", m->d_model);
    hy_json_set_int(j, "meta_tokens", m->meta_tokens);
    hy_json_set_string(j, "spec", text);
    for (int i = 0; i < 3; i++) hy_json_set(j, keys[i], hy_table_json(tables[i]));
    hy_status st = hy_json_print(j, stdout);
    hy_json_free(j);
    free(text);
    return st;
}

static hy_status print_spec(const hy_model_spec *m, const options *o) {
    if (o->yaml) {
        char *text = hy_model_spec_text(m);
        fputs(text, stdout);
        free(text);
        return hy_stream_end(stdout, "the text");
    }
    hy_table *tables[3] = {layers_table(m, o->format == HY_TABLE_TEXT ? "layers" : NULL), parameters_table(m),
                           lengths_table(m)};
    hy_status st = HY_OK;
    if (o->format == HY_TABLE_JSON)
        st = print_json(m, tables);
    else if (o->format == HY_TABLE_CSV)
        st = hy_table_print(tables[0], HY_TABLE_CSV, stdout);
    else
        print_head(m);
    for (int i = 0; !st && o->format == HY_TABLE_TEXT && i < 3; i++) {
        if (i) printf("\n");
        st = hy_table_print(tables[i], HY_TABLE_TEXT, stdout);
    }
    for (int i = 0; i < 3; i++) hy_table_free(tables[i]);
    return st;
}

int hy_show_spec(int argc, char **argv) {
    options o = {0};
    const hy_arg args[] = {
        {"--set", "KEY=VALUE", HY_ARG_LIST, &o.sets, 0, "change a key of the variant; may be given many times"},
        {"--yaml", NULL, HY_ARG_FLAG, &o.yaml, 0,
         "print the expanded text instead: what is hashed and stored, itself a variant"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print; csv has the table of layers only"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab show spec MODEL [options]",
        .text = "Prints what a model (a variant, a checkpoint, a released folder) expands to: its layers, parameters "
                "by part with the\n"
                "attention : SSM ratio, cache and forward FLOPs at several lengths.\n\n"
                "examples:\n"
                "  hylab show spec variants/hymba.yaml\n"
                "  hylab show spec variants/hymba.yaml --set attention.window=32 --set kv_share='[[1, 2]]'\n"
                "  hylab show spec variants/samba.yaml --yaml > expanded.yaml\n"
                "  hylab show spec tests/golden/llama3-tiny",
        .args = args,
        .min_rest = 1,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) {
        hy_model_spec *m = hy_xcalloc(1, sizeof *m);
        st = hy_model_read_spec(rest.v[0], o.sets.v, m);
        if (!st) st = print_spec(m, &o);
        free(m);
    }
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("show spec", st);
}
