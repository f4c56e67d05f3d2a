// cmd_probe.c - hylab probe: attention and SSM maps, their entropy and shares, and the effective receptive field of one model.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/figure/figures.h"
#include "analysis/measure/inspect.h"
#include "experiments/cli/commands.h"
#include "core/family/model_file.h"
#include "experiments/cli/device_arg.h"
#include "experiments/cli/task_arg.h"

enum { MAX_MAPS = 12, MAX_MAP_LAYERS = 16 };
typedef struct {
    const char *task, *device, *isa, *weights, *precision, *layers, *maps, *out, *formats, *norm, *reduce;
    int seed, threads, cell, prompts, tokens;
    bool gate, erf, entropy;
    hy_arg_list sets, task_sets, erf_sets, heads, channels;
    hy_table_format format;
} options;

// ---------------------------------------------------------------------------------------------------- options
// Index of a word in "a|b|c".
static hy_status choice(const char *what, const char *text, const char *choices, int *out) {
    const size_t n = strlen(text);
    int i = 0;
    for (const char *c = choices; *c; i++) {
        const size_t len = strcspn(c, "|");
        if (len == n && !strncmp(c, text, n)) {
            *out = i;
            return HY_OK;
        }
        c += len + (c[len] == '|');
    }
    return hy_error(HY_EINPUT, "%s \"%s\": one of %s is wanted", what, text, choices);
}

static hy_status map_options(const options *o, hy_map_options *m) {
    int norm, reduce;
    HY_TRY(choice("--norm", o->norm, HY_MAP_NORM_CHOICES, &norm));
    HY_TRY(choice("--reduce", o->reduce, HY_SSM_REDUCE_CHOICES, &reduce));
    *m = (hy_map_options){.reduce = (hy_ssm_reduce)reduce, .norm = (hy_map_norm)norm, .gate = o->gate};
    return HY_OK;
}

static hy_status erf_options(const options *o, const hy_map_options *m, hy_erf_options *e) {
    int ssm = 0, heads = 0, meta = 0, missing = 0, weights = 0;
    const struct {
        const char *name, *choices;
        int *dst;
    } known[] = {{"ssm", HY_ERF_SSM_CHOICES, &ssm}, {"heads", HY_ERF_HEADS_CHOICES, &heads}, {"meta", HY_ERF_META_CHOICES, &meta},
                 {"missing", HY_ERF_MISSING_CHOICES, &missing}, {"weights", "paper_eq5|uniform", &weights}};
    for (int i = 0; i < o->erf_sets.n; i++) {
        const char *text = o->erf_sets.v[i], *eq = strchr(text, '=');
        int k = 0;
        while (k < 5 && !(eq && strlen(known[k].name) == (size_t)(eq - text) && !strncmp(text, known[k].name, (size_t)(eq - text)))) k++;
        if (k == 5)
            return hy_error(HY_EINPUT, "--erf-set %s: wanted is ssm=, heads=, meta=, missing= or weights= and a value", text);
        HY_TRY(choice(text, eq + 1, known[k].choices, known[k].dst));
    }
    *e = (hy_erf_options){(hy_erf_ssm)ssm, (hy_erf_heads)heads, (hy_erf_meta)meta, (hy_erf_missing)missing, weights, m->reduce, m->gate};
    return HY_OK;
}

static hy_status number(const char *what, const char *text, size_t n, int limit, int *out) {
    char *end, *copy = hy_asprintf("%.*s", (int)n, text);
    const long v = strtol(copy, &end, 10);
    const bool bad = n == 0 || *end || v < 0 || v >= limit;
    hy_status s = bad ? hy_error(HY_EINPUT, "%s \"%s\": a number from 0 to %d is wanted", what, copy, limit - 1) : HY_OK;
    free(copy);
    *out = (int)v;
    return s;
}

static bool has_heads(const hy_layer_spec *l) { return hy_layer_has_attention(l) || hy_layer_has_ssm(l); }

// "0,3", "all", or (NULL) nothing given: all for tables; first, middle and last with heads for the maps.
static hy_status read_layers(const hy_program *p, const char *text, bool *stat, bool *map) {
    const int L = p->spec.n_layers;
    int n = 0, at[HY_MAX_LAYERS];
    for (int i = 0; i < L; i++)
        if (has_heads(&p->spec.layers[i])) at[n++] = i;
    if (n == 0) return hy_error(HY_EINPUT, "%s has no attention and no SSM heads: there is nothing to map", p->spec.name);
    if (!text || !strcmp(text, "all")) {
        for (int i = 0; i < n; i++) stat[at[i]] = true;
        if (!text) map[at[0]] = map[at[n / 2]] = map[at[n - 1]] = true;
        else memcpy(map, stat, (size_t)L * sizeof *map);
        return HY_OK;
    }
    for (const char *c = text;;) {
        const size_t len = strcspn(c, ",");
        int i;
        HY_TRY(number("--layers", c, len, L, &i));
        if (!has_heads(&p->spec.layers[i])) return hy_error(HY_EINPUT, "--layers: layer %d has no attention and no SSM heads", i);
        stat[i] = map[i] = true;
        if (!c[len]) return HY_OK;
        c += len + 1;
    }
}

static hy_status read_maps(const options *o, hy_inspect_map *maps, int *n) {
    *n = 0;
    for (const char *c = o->maps;;) {
        const size_t len = strcspn(c, ",");
        char *word = hy_asprintf("%.*s", (int)len, c);
        int src;
        hy_status s = choice("--maps", word, "attention|ssm|layer", &src);
        free(word);
        if (s) return s;
        if (*n < MAX_MAPS) maps[(*n)++] = (hy_inspect_map){(hy_map_src)src, -1};
        if (!c[len]) break;
        c += len + 1;
    }
    for (int k = 0; k < 2; k++) {
        const hy_arg_list *l = k ? &o->channels : &o->heads;
        for (int i = 0; i < l->n; i++) {
            if (*n == MAX_MAPS) return hy_error(HY_EINPUT, "more than %d maps of a layer do not fit a figure", MAX_MAPS);
            maps[*n].src = k ? HY_MAP_SSM : HY_MAP_ATTENTION;
            HY_TRY(number(k ? "--channel" : "--head", l->v[i], strlen(l->v[i]), 1 << 20, &maps[(*n)++].index));
        }
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- prompts
static hy_status read_prompts(const options *o, const hy_program *p, const hy_task *task, int32_t **out, int *T, char *what, size_t n) {
    const int cells = hy_task_cells(task, HY_SPLIT_EVAL);
    if (o->cell >= cells) return hy_error(HY_EINPUT, "--cell %d: task %s has evaluation cells 0 to %d", o->cell, o->task, cells - 1);
    if (hy_task_vocab(task) > p->spec.vocab)
        return hy_error(HY_EINPUT, "task %s uses %d tokens, but %s has a vocabulary of %d", o->task, hy_task_vocab(task), p->spec.name, p->spec.vocab);
    const hy_cell *cell = hy_task_cell(task, HY_SPLIT_EVAL, o->cell);
    if (cell->count > 0 && o->prompts > cell->count)
        return hy_error(HY_EINPUT, "--prompts %d: cell %s has %lld examples", o->prompts, cell->name, (long long)cell->count);
    *T = o->tokens > 0 && o->tokens < cell->T ? o->tokens : cell->T;
    int32_t *ids = hy_xcalloc((size_t)cell->T * 2, sizeof *ids);
    *out = hy_xcalloc((size_t)o->prompts * (size_t)*T, sizeof **out);
    hy_status s = HY_OK;
    for (int k = 0; k < o->prompts && !s; k++) {
        s = hy_task_example(task, HY_SPLIT_EVAL, o->cell, k, ids, ids + cell->T);
        if (!s) memcpy(*out + (size_t)k * (size_t)*T, ids, (size_t)*T * sizeof *ids);
    }
    free(ids);
    snprintf(what, n, "%s %s, %d prompt%s of %d tokens", o->task, cell->name, o->prompts, o->prompts == 1 ? "" : "s", *T);
    return s;
}

// ---------------------------------------------------------------------------------------------------- tables
static hy_table *stats_table(const hy_inspection *r, const char *title, const hy_map_options *m) {
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "layer", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "map", NULL, NULL, HY_LEFT);
    hy_table_column(t, "entropy", NULL, "nats", HY_RIGHT);
    hy_table_column(t, "entropy_relative", "/ log n", NULL, HY_RIGHT);
    hy_table_column(t, "meta", NULL, "%", HY_RIGHT);
    hy_table_column(t, "bos", "BOS", "%", HY_RIGHT);
    hy_table_column(t, "self", NULL, "%", HY_RIGHT);
    hy_table_column(t, "cross", NULL, "%", HY_RIGHT);
    hy_table_column(t, "distance", NULL, "tokens", HY_RIGHT);
    hy_table_column(t, "step_entropy", "step entropy", "nats", HY_RIGHT);
    hy_table_column(t, "output_rms", "output rms", NULL, HY_RIGHT);
    for (int i = 0; i < r->n_layers; i++)
        for (int src = 0; src < 3; src++) {
            const hy_map_stats *s = &r->stats[i * 3 + src];
            if (!s->heads) continue;
            hy_table_row(t);
            hy_table_int(t, i);
            hy_table_text(t, "%s", hy_map_src_name((hy_map_src)src));
            hy_table_num(t, s->entropy, 4);
            hy_table_num(t, s->entropy_rel, 4);
            hy_table_num(t, 100 * s->meta, 2);
            hy_table_num(t, 100 * s->bos, 2);
            hy_table_num(t, 100 * s->self, 2);
            hy_table_num(t, 100 * s->cross, 2);
            hy_table_num(t, s->distance, 2);
            hy_table_num(t, src == HY_MAP_SSM ? r->delta_entropy[i] : NAN, 4);
            if (src < 2) hy_table_num(t, r->rms[i * 2 + src], -4);
            else hy_table_empty(t);
        }
    hy_buf b = {0};
    hy_map_options_text(m, &b);
    hy_table_note(t, "maps: %s; statistics over row-normalised maps and text positions as queries", b.s);
    hy_table_note(t, "meta, BOS, self, cross: where the mass goes (meta tokens, first text token, own position, the rest); n: visible keys");
    hy_table_note(t, "step entropy: of an SSM's step sizes over the sequence, mean over channels (Samba, appendix E)");
    free(b.s);
    if (r->check.attn >= 0) hy_table_note(t, "check: softmax(q k) v against the model's output: %.1e of the largest", r->check.attn);
    if (r->check.ssm >= 0)
        hy_table_note(t, "check: alpha x + D x against the recurrence: %.1e of the largest; against the model's own values: %.1e",
                      r->check.ssm, r->check.model);
    return t;
}

static hy_table *erf_table(const hy_inspection *r, const char *title, const hy_erf_options *o) {
    hy_table *t = hy_table_new(title);
    const int length = o->meta == HY_ERF_META_INCLUDED ? r->S : r->S - r->meta;  // positions that count
    hy_table_column(t, "layer", NULL, NULL, HY_LEFT);
    hy_table_column(t, "attention", NULL, "tokens", HY_RIGHT);
    hy_table_column(t, "ssm_group", "SSM as one", "tokens", HY_RIGHT);
    hy_table_column(t, "ssm_channels", "SSM channels", "tokens", HY_RIGHT);
    hy_table_column(t, "used", NULL, "tokens", HY_RIGHT);
    hy_table_column(t, "relative", "/ length", NULL, HY_RIGHT);
    for (int i = 0; i < r->n_layers; i++) {
        const hy_erf_layer *e = &r->erf[i];
        double d = NAN;
        if (!e->heads && !e->channels) continue;
        hy_table_row(t);
        hy_table_text(t, "%d", i);
        hy_table_num(t, e->heads ? e->attention : NAN, 2);
        hy_table_num(t, e->channels ? e->ssm_group : NAN, 2);
        hy_table_num(t, e->channels ? e->ssm_channels : NAN, 2);
        if (!hy_erf_layer_distance(e, o, &d)) d = NAN;
        hy_table_num(t, d, 2);
        hy_table_num(t, d / length, 4);
    }
    hy_table_rule(t);
    hy_table_row(t);
    hy_table_text(t, "ERF");
    for (int i = 0; i < 3; i++) hy_table_empty(t);
    hy_table_num(t, r->erf_total, 2);
    hy_table_num(t, r->erf_total / length, 4);
    hy_buf b = {0};
    hy_erf_options_text(o, &b);
    hy_table_note(t, "expected distance of what the last token looks at; ERF: Hymba eq. 5 with %s", b.s);
    hy_table_note(t, "SSM channels: each channel apart, then their mean (Mamba mean distance)");
    free(b.s);
    return t;
}

// ---------------------------------------------------------------------------------------------------- figures
static hy_status draw_maps(const options *o, const hy_inspection *r, const hy_inspect_map *maps, const hy_map_options *m, const char *model,
                           const char *what) {
    hy_fig_map *grid = hy_xcalloc((size_t)r->n_layers * (size_t)r->n_maps, sizeof *grid);
    char(*title)[64] = hy_xcalloc((size_t)r->n_layers * (size_t)r->n_maps, sizeof *title);
    int rows = 0;
    for (int i = 0; i < r->n_layers; i++) {
        bool any = false;
        for (int k = 0; k < r->n_maps; k++) any = any || r->map[i * r->n_maps + k];
        for (int k = 0; k < r->n_maps && any; k++) {
            const int at = rows * r->n_maps + k;
            const char *name = maps[k].src == HY_MAP_SSM ? "SSM" : maps[k].src == HY_MAP_LAYER ? "whole layer" : "attention";
            if (maps[k].index < 0) snprintf(title[at], sizeof *title, "layer %d: %s", i, name);
            else snprintf(title[at], sizeof *title, "layer %d: %s %d", i, maps[k].src == HY_MAP_SSM ? "channel" : "head", maps[k].index);
            grid[at] = (hy_fig_map){title[at], r->S, r->meta, r->map[i * r->n_maps + k]};
        }
        rows += any;
    }
    hy_buf note = {0};
    hy_buf_printf(&note, "%s. ", what);
    hy_map_options_text(m, &note);
    hy_buf_printf(&note, ". Dashed: end of the meta tokens; grey: not visible");
    char *heading = hy_asprintf("Attention maps of %s", model);
    const hy_fig_head head = {.title = heading, .note = note.s};
    unsigned formats;
    hy_status s = hy_fig_formats_parse(o->formats, &formats);
    const bool log = m->norm != HY_MAP_SIGNED;
    const char *label = m->norm == HY_MAP_ROWSUM ? "share of the row" : m->norm == HY_MAP_MINMAX ? "share of the largest" : "value";
    const hy_fig_out out = {o->out, "maps", formats};
    if (!s) s = hy_fig_maps(&out, &head, label, log, 1e-4, rows, r->n_maps, grid);
    free(note.s), free(heading), free(grid), free(title);
    return s;
}

// Entropy and the share of meta tokens by layer, a line for each kind of map.
static hy_status draw_stats(const options *o, const hy_inspection *r, const char *model, const char *what) {
    double *x = hy_xcalloc((size_t)r->n_layers * 6, sizeof *x), *y = x + r->n_layers * 3;
    hy_fig_series series[3];
    int n = 0;
    for (int src = 0; src < 3; src++) {
        hy_fig_series q = {.name = hy_map_src_name((hy_map_src)src), .colour = src, .x = x + src * r->n_layers, .y = y + src * r->n_layers};
        for (int i = 0; i < r->n_layers; i++) {
            if (!r->stats[i * 3 + src].heads) continue;
            x[src * r->n_layers + q.n] = i;
            y[src * r->n_layers + q.n++] = r->stats[i * 3 + src].entropy;
        }
        if (q.n) series[n++] = q;
    }
    char *heading = hy_asprintf("Entropy of the attention maps of %s", model);
    const hy_fig_panel panel = {NULL, {"layer", false, NAN, NAN, HY_TICS_WHOLE}, {"entropy of a row, nats", false, 0, NAN, HY_TICS_AUTO}, series, n};
    const hy_fig_head head = {.title = heading, .note = what};
    unsigned formats;
    hy_status s = hy_fig_formats_parse(o->formats, &formats);
    const hy_fig_out out = {o->out, "entropy", formats};
    if (!s) s = hy_fig_lines(&out, &head, &panel, 1);
    free(heading);
    free(x);
    return s;
}

// ---------------------------------------------------------------------------------------------------- command
static hy_status print_results(const options *o, const hy_inspection *r, const hy_inspect_want *want, const char *model, const char *what) {
    hy_status s = HY_OK;
    for (int k = 0; k < 2 && !s; k++) {
        if (!(k ? o->erf : o->entropy)) continue;
        char *title = hy_asprintf("%s of %s on %s", k ? "Effective receptive field" : "Attention maps", model, what);
        hy_table *t = k ? erf_table(r, title, &want->erf) : stats_table(r, title, &want->map);
        if (k && o->entropy) printf("\n");
        s = hy_table_print(t, o->format, stdout);
        hy_table_free(t);
        free(title);
    }
    return s;
}

static hy_status with_task(const options *o, const hy_model *m, const hy_task *task) {
    hy_inspect_map maps[MAX_MAPS];
    bool stat[HY_MAX_LAYERS] = {false}, map[HY_MAX_LAYERS] = {false};
    hy_inspect_want want = {.maps = maps, .erf_wanted = o->erf};
    HY_TRY(map_options(o, &want.map));
    HY_TRY(erf_options(o, &want.map, &want.erf));
    HY_TRY(read_layers(m->p, o->layers, stat, map));
    want.stat_layers = o->entropy ? stat : NULL;
    if (o->out) {
        HY_TRY(read_maps(o, maps, &want.n_maps));
        HY_TRY(hy_gnuplot_check());  // before the work
        want.map_layers = map;
        int n = 0;
        for (int i = 0; i < m->p->spec.n_layers; i++) n += map[i];
        if (n > MAX_MAP_LAYERS) return hy_error(HY_EINPUT, "%d layers do not fit a figure: choose at most %d with --layers", n, MAX_MAP_LAYERS);
    }
    int32_t *prompts = NULL;
    int T = 0;
    char what[160];
    hy_inspection r = {0};
    hy_status s = read_prompts(o, m->p, task, &prompts, &T, what, sizeof what);
    if (!s) s = hy_inspect(m->p, m->w, prompts, o->prompts, T, &want, &r);
    char *model = hy_asprintf("%s%s", m->p->spec.name, m->trained ? "" : " (random weights)");
    if (!s) s = print_results(o, &r, &want, model, what);
    if (!s && o->out) s = draw_maps(o, &r, maps, &want.map, model, what);
    if (!s && o->out && o->entropy) s = draw_stats(o, &r, model, what);
    if (!s && o->out) fprintf(stderr, "figures are in %s\n", o->out);
    free(model);
    free(prompts);
    hy_inspect_free(&r);
    return s;
}

static hy_status probe(const options *o, const char *file) {
    hy_backend be;
    hy_task *task;
    hy_model m;
    if (o->erf && o->entropy && o->format != HY_TABLE_TEXT)
        return hy_error(HY_EINPUT, "--entropy and --erf are two tables: with --format csv or json ask for one at a time");
    hy_weights how;
    hy_precision precision;
    HY_TRY(hy_weights_parse(o->weights, &how));
    HY_TRY(hy_precision_parse(o->precision, &precision));
    HY_TRY(hy_backend_from_args(o->device, o->isa, o->threads, &be));
    HY_TRY(hy_precision_set(precision, &be));
    HY_TRY(hy_task_from_args(o->task, &o->task_sets, (uint64_t)o->seed, &task));
    hy_status s = hy_model_open(file, o->sets.v, &be, how, precision, 1, &m);
    if (!s) {
        s = with_task(o, &m, task);
        hy_model_close(&m);
    }
    hy_task_close(task);
    return s;
}

int hy_cmd_probe(int argc, char **argv) {
    options o = {.task = "mqar", .maps = "attention,ssm,layer", .formats = "svg,png", .norm = "rowsum", .reduce = "mean_abs", .seed = 1, .prompts = 1};
    const hy_arg args[] = {
        {"--entropy", NULL, HY_ARG_FLAG, &o.entropy, 0, "table of entropy and shares by layer (what is printed when nothing is asked for)"},
        {"--erf", NULL, HY_ARG_FLAG, &o.erf, 0, "table of the effective receptive field, all layers"},
        {"--out", "DIR", HY_ARG_TEXT, &o.out, 0, "draw the maps there (and the entropy, with --entropy)"},
        {"--layers", "LIST", HY_ARG_TEXT, &o.layers, 0, "e.g. 0,3 or all (default: all in tables; first, middle and last drawn)"},
        {"--maps", "LIST", HY_ARG_TEXT, &o.maps, 0, "what is drawn: attention,ssm,layer (default all three)"},
        {"--head", "N", HY_ARG_LIST, &o.heads, 0, "draw this attention head too; may be given many times"},
        {"--channel", "N", HY_ARG_LIST, &o.channels, 0, "draw this SSM channel too; may be given many times"},
        {"--norm", HY_MAP_NORM_CHOICES, HY_ARG_TEXT, &o.norm, 0, "rows to sum 1 (default), min-max of the matrix, or signed values"},
        {"--reduce", HY_SSM_REDUCE_CHOICES, HY_ARG_TEXT, &o.reduce, 0, "channels of an SSM to one map: mean of |alpha| (default), |mean|, mean of rows"},
        {"--gate", NULL, HY_ARG_FLAG, &o.gate, 0, "SSM maps with the gate"},
        {"--erf-set", "NAME=VALUE", HY_ARG_LIST, &o.erf_sets, 0,
         "ssm=group|channels heads=halves|pooled|attention|ssm meta=included|renormalised missing=skip|zero weights=paper_eq5|uniform"},
        {"--task", "KIND", HY_ARG_TEXT, &o.task, 0, "where prompts come from (default mqar; `hylab task` lists them)"},
        {"--task-set", "NAME=VALUE", HY_ARG_LIST, &o.task_sets, 0, "an option of the task"},
        {"--cell", "N", HY_ARG_INT, &o.cell, 0, "evaluation cell of the task (default 0)"},
        {"--prompts", "N", HY_ARG_INT, &o.prompts, 1, "mean over so many examples (default 1)"},
        {"--tokens", "N", HY_ARG_INT, &o.tokens, 0, "only the first N tokens of an example"},
        {"--seed", "N", HY_ARG_INT, &o.seed, 0, "seed of the data (default 1)"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "a change to the spec, e.g. attention.window=64"},
        {"--weights", HY_WEIGHTS_NAMES, HY_ARG_TEXT, &o.weights, 0, HY_WEIGHTS_HELP},
        {"--precision", HY_PRECISION_NAMES, HY_ARG_TEXT, &o.precision, 0, HY_PRECISION_HELP},
        {"--threads", "N", HY_ARG_INT, &o.threads, 0, "threads (default: all cores)"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0, HY_DEVICE_HELP},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0, "kernels: ref, base, avx2, avx512"},
        {"--formats", "LIST", HY_ARG_TEXT, &o.formats, 0, "of figures: svg,png,pdf (default svg,png)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print tables"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab probe CHECKPOINT|VARIANT.yaml [options]",
        .text = "Where a model looks: softmax maps of its attention heads, its SSM heads as hidden attention (Ali et al. 2024), the\n"
                "layer as their mean; entropy, shares (meta, BOS, self, cross) and effective receptive field (Hymba, appendix B).\n"
                "Values come from probes on the model itself; each map is checked by reproducing the layer's own output.\n\n"
                "examples:\n"
                "  hylab probe runs/hymba.safetensors --task mqar --layers 0,3 --out maps\n"
                "  hylab probe runs/hymba.safetensors --maps attention --head 0 --head 5 --channel 17 --out heads\n"
                "  hylab probe runs/hymba.safetensors --erf --prompts 8 --erf-set meta=renormalised\n"
                "  hylab probe variants/hymba.yaml --entropy --format csv\n",
        .args = args, .min_rest = 1, .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!o.erf && !o.out) o.entropy = true;
    if (!s && !help) s = probe(&o, rest.v[0]);
    free(rest.v);
    free(o.sets.v), free(o.task_sets.v), free(o.erf_sets.v), free(o.heads.v), free(o.channels.v);
    return hy_command_end("probe", s);
}
