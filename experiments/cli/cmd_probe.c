// cmd_probe.c - hylab probe: what a model does inside: attention and SSM maps, their statistics, the receptive field,
// outputs of its heads; with --measure any measure. The figures come from analysis/measure, the options of the command
// are theirs.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/figure/figures.h"
#include "analysis/probe/attnmap.h"
#include "core/format/json.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/facts_table.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/probe_figures.h"
#include "experiments/cli/probe_inside.h"
#include "experiments/cli/probe_kv.h"
#include "experiments/cli/probe_save.h"
#include "core/base/plural.h"

enum { MAX_MAPS = 12, MAX_MAP_LAYERS = 16 };
typedef struct {
    hy_measure_args m;
    const char *measure, *layers, *maps, *out, *formats, *norm, *reduce, *by, *at_least, *zoom, *reduce_map;
    int cell, prompts, tokens, group;
    bool gate, erf, entropy, inside[HY_INSIDE], propose, values;
    hy_probe_saved save;
    hy_arg_list erf_sets, heads, channels;
    hy_table_format format;
} options;
// What is taken of the model: n measures, some of them for a purpose.
typedef struct {
    int n;
    hy_asked v[HY_INSIDE + 4];
    int statistics, outputs, erf, maps, inside[HY_INSIDE], other;  // index into v; -1: not wanted
    int n_columns;
    hy_probe_map columns[MAX_MAPS];  // of the figure of maps
} wanted;

// ---------------------------------------------------------------------------------------------------- measures
static bool has_heads(const hy_layer_spec *l) { return hy_layer_has_attention(l) || hy_layer_has_ssm(l); }

// --layers as a list of the measures' option: "all" (and nothing) is [], "0,3" is [0,3]. Layers that are not there are
// refused here: of one model, unlike of many in an experiment, they are a mistake.
static hy_status layers_option(const hy_model_spec *spec, const char *text, char out[1024]) {
    snprintf(out, 1024, "[%s]", text && strcmp(text, "all") ? text : "");
    if (!text || !strcmp(text, "all")) return HY_OK;
    for (const char *c = text;; c++) {
        char *end;
        const long i = strtol(c, &end, 10);
        if (end == c || (*end && *end != ',') || i < 0 || i >= spec->n_layers)
            return hy_error(HY_EINPUT, "--layers \"%s\": numbers from 0 to %d are wanted, or all", text,
                            spec->n_layers - 1);
        if (!has_heads(&spec->layers[i]))
            return hy_error(HY_EINPUT, "--layers: layer %ld has no attention and no SSM heads", i);
        if (!*end) return HY_OK;
        c = end;
    }
}

// The layers that are drawn when nothing is said: the first, the middle and the last of those with heads.
static void drawn_layers(const hy_model_spec *spec, char out[1024]) {
    int n = 0, at[HY_MAX_LAYERS];
    for (int i = 0; i < spec->n_layers; i++)
        if (has_heads(&spec->layers[i])) at[n++] = i;
    if (n) snprintf(out, 1024, "[%d, %d, %d]", at[0], at[n / 2], at[n - 1]);
}

static char *list_option(const hy_arg_list *l) {
    hy_buf b = {0};
    hy_buf_printf(&b, "[");
    for (int i = 0; i < l->n; i++) hy_buf_printf(&b, "%s%s", i ? ", " : "", l->v[i]);
    hy_buf_printf(&b, "]");
    return b.s;
}

// Options that several measures have; what a measure lacks is passed over.
static hy_status common_options(const options *o, const char *layers, hy_asked *m) {
    HY_TRY(hy_ask_given(m, "examples", o->prompts, "--prompts"));
    HY_TRY(hy_ask_given(m, "cell", o->cell, "--cell"));
    HY_TRY(o->layers ? hy_ask_given_set(m, "layers", layers, "--layers") : hy_ask_set(m, "layers", layers));
    HY_TRY(hy_ask_given_set(m, "reduce", o->reduce, "--reduce"));
    HY_TRY(hy_ask_given_set(m, "norm", o->norm, "--norm"));
    HY_TRY(hy_ask_given_set(m, "gate", o->gate ? "true" : NULL, "--gate"));
    return hy_ask_given(m, "max_len", o->tokens, "--tokens");
}

static hy_status add(const options *o, wanted *w, const char *name, const char *layers, int *index) {
    hy_asked *m = &w->v[w->n];
    HY_TRY(hy_ask(name, m));
    if (!o->measure) {  // the tables are of one whole prompt where nothing else is said
        HY_TRY(hy_ask_set(m, "examples", "1"));
        if (!strcmp(name, "maps")) HY_TRY(hy_ask_set(m, "max_len", "65536"));
    }
    HY_TRY(common_options(o, layers, m));
    *index = w->n++;
    return HY_OK;
}

// "weights=paper_eq5|uniform" is what the option `uniform` was called.
static hy_status erf_options(const options *o, hy_asked *m) {
    for (int i = 0; i < o->erf_sets.n; i++) {
        const char *text = o->erf_sets.v[i];
        if (!strcmp(text, "weights=uniform")) text = "uniform=true";
        if (!strcmp(text, "weights=paper_eq5")) text = "uniform=false";
        const hy_status s = hy_ask_options(m, &(hy_arg_list){1, &text});
        if (s) return hy_error_context(s, "--erf-set %s", o->erf_sets.v[i]);
    }
    return HY_OK;
}

// The maps that are drawn: --maps, then single heads and channels.
static hy_status read_columns(const options *o, wanted *w) {
    // the map of a whole hybrid layer is the mean of two maps, which must be row-normalised
    const char *words = o->maps                                ? o->maps
                        : o->norm && strcmp(o->norm, "rowsum") ? "attention,ssm"
                                                               : "attention,ssm,layer";
    for (const char *c = words;;) {
        const size_t len = strcspn(c, ",");
        int src = 0;
        while (src < 3 &&
               (strlen(hy_map_src_name((hy_map_src)src)) != len || strncmp(c, hy_map_src_name((hy_map_src)src), len)))
            src++;
        if (src == 3) return hy_error(HY_EINPUT, "--maps %s: a list of attention|ssm|layer is wanted", words);
        if (w->n_columns < MAX_MAPS) w->columns[w->n_columns++] = (hy_probe_map){(hy_map_src)src, -1};
        if (!c[len]) break;
        c += len + 1;
    }
    const hy_arg_list *singles[] = {&o->heads, &o->channels};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < singles[k]->n; i++) {
            if (w->n_columns == MAX_MAPS)
                return hy_error(HY_EINPUT, "more than %d maps of a layer do not fit a figure", MAX_MAPS);
            w->columns[w->n_columns++] = (hy_probe_map){k ? HY_MAP_SSM : HY_MAP_ATTENTION, atoi(singles[k]->v[i])};
        }
    return HY_OK;
}

// "0:64,128:256" as the measure's option, "[[0, 64], [128, 256]]".
static hy_status zoom_option(const char *text, char out[96]) {
    int v[4], end = 0;
    if (text && (sscanf(text, "%d:%d,%d:%d%n", &v[0], &v[1], &v[2], &v[3], &end) != 4 || text[end]))
        return hy_error(HY_EINPUT, "--zoom %s: rows and columns are wanted, FROM:TO,FROM:TO (queries, keys)", text);
    if (text) snprintf(out, 96, "[[%d, %d], [%d, %d]]", v[0], v[1], v[2], v[3]);
    return HY_OK;
}

static hy_status add_drawn(const options *o, const hy_model_spec *spec, const char *layers, wanted *w) {
    char drawn[1024];
    snprintf(drawn, sizeof drawn, "%s", layers);
    if (!o->layers) drawn_layers(spec, drawn);
    HY_TRY(add(o, w, "maps", drawn, &w->maps));
    hy_asked *m = &w->v[w->maps];
    char *heads = list_option(&o->heads), *channels = list_option(&o->channels);
    char zoom[96];
    hy_status s = hy_ask_set(m, "keep", "maps");
    if (!s) s = zoom_option(o->zoom, zoom);
    if (!s) s = hy_ask_given_set(m, "zoom", o->zoom ? zoom : NULL, "--zoom");
    if (!s) s = hy_ask_given_set(m, "reduce_map", o->reduce_map, "--reduce-map");
    if (!s) s = hy_ask_set(m, "single_heads", heads);
    if (!s) s = hy_ask_set(m, "channels", channels);
    free(heads), free(channels);
    if (!s) s = read_columns(o, w);
    return s;
}

static int asked_inside(const options *o) {
    int n = 0;
    for (int k = 0; k < HY_INSIDE; k++) n += o->inside[k];
    return n;
}

// Maps are drawn unless what is asked for has figures of its own.
static bool draws_maps(const options *o) {
    return !asked_inside(o) || o->entropy || o->erf || o->maps || o->heads.n || o->channels.n;
}

static hy_status want(const options *o, const hy_model_spec *spec, wanted *w) {
    char layers[1024];
    *w = (wanted){.statistics = -1, .outputs = -1, .erf = -1, .maps = -1, .other = -1};
    for (int k = 0; k < HY_INSIDE; k++) w->inside[k] = -1;
    HY_TRY(layers_option(spec, o->layers, layers));
    if (o->measure) {
        HY_TRY(add(o, w, o->measure, layers, &w->other));
        hy_asked *m = &w->v[w->other];
        if (m->lacks)  // of one measure, unlike of several that share the options, that is a mistake
            return hy_error(HY_EINPUT, "%s: measure %s has no option %s", m->lacks_by, m->measure->name, m->lacks);
        return hy_ask_options(m, &o->m.options);
    }
    if (o->entropy) {
        HY_TRY(add(o, w, "maps", layers, &w->statistics));
        HY_TRY(hy_ask_set(&w->v[w->statistics], "keep", "statistics"));
        HY_TRY(add(o, w, "outputs", layers, &w->outputs));
        HY_TRY(hy_ask_set(&w->v[w->outputs], "positions", "all"));
    }
    if (o->erf) {
        HY_TRY(add(o, w, "erf", layers, &w->erf));
        HY_TRY(erf_options(o, &w->v[w->erf]));
    }
    for (int k = 0; k < HY_INSIDE; k++) {
        if (!o->inside[k]) continue;
        HY_TRY(add(o, w, hy_probe_inside[k].measure, layers, &w->inside[k]));
        if (hy_probe_inside[k].set[0])
            HY_TRY(hy_ask_set(&w->v[w->inside[k]], hy_probe_inside[k].set[0], hy_probe_inside[k].set[1]));
        HY_TRY(hy_ask_options(&w->v[w->inside[k]], &o->m.options));
    }
    if (o->out && draws_maps(o)) HY_TRY(add_drawn(o, spec, layers, w));
    return o->out ? hy_gnuplot_check() : HY_OK;  // before the work
}

// ---------------------------------------------------------------------------------------------------- tables
// The options that a fact was made with, as its meta has them. Caller frees.
static char *options_of(const hy_facts *f, const char *metric) {
    hy_json *j = NULL;
    const char *text = "";
    for (int i = 0; i < f->n_facts && !j; i++)
        if (!strcmp(f->fact[i].name, metric) && f->fact[i].meta &&
            !hy_json_parse(f->fact[i].meta, strlen(f->fact[i].meta), "meta", 4, &j))
            hy_json_get_string(j, "meta", "options", &text);
    char *copy = hy_xstrdup(text);
    hy_json_free(j);
    return copy;
}

// The value of a fact without a layer; -1: there is none.
static double value_of(const hy_facts *f, const char *metric, const char *cell) {
    for (int i = 0; i < f->n_facts; i++)
        if (!strcmp(f->fact[i].name, metric) && !strcmp(f->fact[i].cell, cell)) return f->fact[i].value;
    return -1;
}

static hy_table *statistics_table(const hy_facts *f, const char *title) {
    static const hy_fact_column columns[] = {
        {"map_entropy", NULL, "entropy"},   {"map_entropy_rel", NULL, "entropy_relative"},
        {"map_meta", NULL, "meta"},         {"map_bos", NULL, "bos"},
        {"map_self", NULL, "self"},         {"map_cross", NULL, "cross"},
        {"map_distance", NULL, "distance"}, {"step_entropy", NULL, NULL},
        {"output_rms", NULL, NULL},         {0}};
    hy_table *t = hy_facts_table(title, f, HY_ROWS_MAPS, columns, NULL);
    char *made = options_of(f, "map_entropy");
    hy_table_note(t, "maps: %s; statistics over row-normalised maps and text positions as queries", made);
    hy_table_note(t, "where the mass goes: meta tokens, first text token, own position, the rest; entropy, relative: / "
                     "log of the visible keys");
    hy_table_note(t, "step entropy: of an SSM's step sizes over the sequence, mean over channels (Samba, appendix E)");
    hy_table_note(t,
                  "output: root mean square of what the heads give, meta tokens counted; --measure outputs tells more");
    free(made);
    const double attention = value_of(f, "map_check", "attention"), ssm = value_of(f, "map_check", "ssm");
    if (attention >= 0)
        hy_table_note(t, "check: softmax(q k) v against the model's output: %.1e of the largest", attention);
    if (ssm >= 0)
        hy_table_note(
            t, "check: alpha x + D x against the recurrence: %.1e of the largest; against the model's own values: %.1e",
            ssm, value_of(f, "map_check", "model"));
    return t;
}

static hy_table *erf_table(const hy_facts *f, const char *title) {
    static const hy_fact_column columns[] = {
        {"head_distance", "attention", "attention"}, {"head_distance", "ssm", "ssm_group"},
        {"channel_distance", NULL, "ssm_channels"},  {"erf", NULL, "used"},
        {"erf_relative", NULL, "relative"},          {0}};
    hy_table *t = hy_facts_table(title, f, HY_ROWS_LAYERS, columns, "ERF");
    char *made = options_of(f, "erf");
    hy_table_note(t,
                  "expected distance of what the last token looks at; receptive field of a layer: of its heads "
                  "together; ERF: Hymba eq. 5 with %s",
                  made);
    hy_table_note(t,
                  "distance, SSM channels: each channel apart, then their mean (Mamba mean distance); distance, ssm: "
                  "the SSM as one head");
    free(made);
    return t;
}

static hy_table *other_table(const hy_facts *f, const hy_asked *m, const char *title) {
    hy_table *t = hy_facts_table(title, f, HY_ROWS_CELLS, NULL, "all");
    hy_buf b = {0};
    hy_measure_options_text(m->measure, &m->options, &b);
    hy_table_note(t, "%s, version %d: %s", m->measure->name, m->measure->version, m->measure->doc);
    for (char *line = b.n ? strtok(b.s, "\n") : NULL; line; line = strtok(NULL, "\n")) hy_table_note(t, "%s", line);
    if (f->n_artifacts) hy_table_note(t, "%d array%s, which --db stores", f->n_artifacts, hy_s(f->n_artifacts));
    free(b.s);
    return t;
}

static hy_status print_table(const options *o, hy_table *t, bool first) {
    if (!first && o->format == HY_TABLE_TEXT) printf("\n");
    const hy_status s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return s;
}

static hy_status print_tables(const options *o, const wanted *w, const hy_facts *facts, const char *model,
                              const char *what) {
    hy_status s = HY_OK;
    if (w->statistics >= 0) {
        char *title = hy_asprintf("Attention maps of %s on %s", model, what);
        s = print_table(o, statistics_table(facts, title), true);
        free(title);
    }
    if (!s && w->erf >= 0) {
        char *title = hy_asprintf("Effective receptive field of %s on %s", model, what);
        s = print_table(o, erf_table(facts, title), w->statistics < 0);
        free(title);
    }
    bool first = w->statistics < 0 && w->erf < 0;
    for (int k = 0; k < HY_INSIDE && !s && !o->propose; k++) {
        if (w->inside[k] < 0) continue;
        char *title = hy_asprintf("%s %s on %s", hy_probe_inside[k].title, model, what);
        s = print_table(o, hy_probe_inside[k].table(facts, &w->v[w->inside[k]], title), first);
        first = false;
        free(title);
    }
    if (!s && w->other >= 0) {
        char *title = hy_asprintf("%s of %s%s%s", w->v[w->other].measure->name, model, *what ? " on " : "", what);
        s = print_table(o, other_table(facts, &w->v[w->other], title), true);
        free(title);
    }
    return s;
}

// ---------------------------------------------------------------------------------------------------- command
static int tokens_of(const options *o, const hy_subject *s) {
    const int T = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell)->T;
    return o->tokens > 0 && o->tokens < T ? o->tokens : T;
}

static void describe(const options *o, const wanted *w, const hy_subject *s, char out[200]) {
    *out = 0;
    if (!w->n || !(w->v[0].measure->needs & HY_NEEDS_TASK)) return;
    const hy_cell *cell = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell);
    const int T = tokens_of(o, s), asked = o->prompts ? o->prompts : 1,
              n = cell->count > 0 && cell->count < asked ? (int)cell->count : asked;
    if (w->other >= 0)
        snprintf(out, 200, "%s", hy_task_kind(s->task));
    else if (!o->m.task)
        snprintf(out, 200, "a %s of %d tokens", cell->name, T);
    else
        snprintf(out, 200, "%s %s, %d prompt%s of %d tokens", o->m.task, cell->name, n, n == 1 ? "" : "s", T);
}

static hy_status propose(const options *o, const hy_subject *s, const hy_facts *f, const char *model) {
    char *end;
    hy_probe_sharing how = {.most = o->group, .cosine = o->by && !strcmp(o->by, "cosine")};
    if (o->by && !how.cosine && strcmp(o->by, "cka"))
        return hy_error(HY_EINPUT, "--by %s: cka or cosine is wanted", o->by);
    how.least = o->at_least ? strtod(o->at_least, &end) : 0;
    if (o->at_least && (end == o->at_least || *end || !(fabs(how.least) <= 1)))
        return hy_error(HY_EINPUT, "--at-least %s: a number from -1 to 1 is wanted", o->at_least);
    if (!f) return HY_OK;
    hy_buf b = {0};
    const hy_status st = hy_probe_propose(&s->model.p->spec, f, &how, model, &b);
    if (!st) printf("%s", b.s);
    free(b.s);
    return st;
}

static hy_status draw(const options *o, const wanted *w, const hy_subject *s, const hy_facts *maps,
                      const hy_facts *statistics, const char *model, const char *what) {
    hy_probe_figure p = {o->out, model, what, 0, s->model.p->spec.meta_tokens};
    HY_TRY(hy_fig_formats_parse(o->formats, &p.formats));
    if (w->maps >= 0) {
        const hy_asked *m = &w->v[w->maps];
        HY_TRY(hy_probe_draw_maps(&p, maps, s->model.p->spec.n_layers, w->columns, w->n_columns,
                                  (hy_map_norm)hy_measure_option_int(m->measure, &m->options, "norm")));
    }
    for (int k = 0; k < HY_INSIDE; k++)
        if (w->inside[k] >= 0) HY_TRY(hy_probe_inside[k].draw(&p, statistics, &w->v[w->inside[k]]));
    if (w->statistics >= 0) HY_TRY(hy_probe_draw_entropy(&p, statistics));
    fprintf(stderr, "figures are in %s\n", o->out);
    return HY_OK;
}

static hy_status take(const options *o, const wanted *w, const hy_subject *s, const hy_names *saved) {
    hy_facts printed = {0}, drawn = {0};
    char what[200];
    hy_status st = saved->n ? hy_probe_save(&o->save, s, saved) : HY_OK;
    for (int i = 0; i < w->n && !st; i++) st = hy_subject_take(s, &w->v[i], i == w->maps ? &drawn : &printed);
    char *model = hy_asprintf("%s%s", s->model.p->spec.name, s->model.trained ? "" : " (random weights)");
    describe(o, w, s, what);
    if (!st) st = print_tables(o, w, &printed, model, what);
    if (!st && o->propose) st = propose(o, s, &printed, model);
    if (!st && o->out) st = draw(o, w, s, &drawn, &printed, model, what);
    free(model);
    hy_facts_free(&printed);
    hy_facts_free(&drawn);
    return st;
}

static hy_status check_prompt(const options *o) {
    const hy_prompt_args *p = &o->m.prompt;
    const char *by = p->prompt ? "--prompt" : "--text";
    if (!p->prompt && !p->file) {
        if (p->tokenizer || p->ids)
            return hy_error(HY_EINPUT, "%s says how to read --prompt or --text", p->ids ? "--ids" : "--tokenizer");
        return HY_OK;
    }
    if (p->prompt && p->file) return hy_error(HY_EINPUT, "--prompt and --text: one of them");
    if (o->m.task || o->m.task_sets.n || o->cell)
        return hy_error(HY_EINPUT, "%s is instead of a task: not with %s", by,
                        o->m.task          ? "--task"
                        : o->m.task_sets.n ? "--task-set"
                                           : "--cell");
    if (o->m.db)
        return hy_error(HY_EINPUT, "%s: measurements are stored of tasks (--task text is one of files), not with --db",
                        by);
    return HY_OK;
}

// What the options ask for together.
static hy_status check_asked(const options *o) {
    if (o->m.options.n && !o->measure && (asked_inside(o) != 1 || o->erf || o->entropy))
        return hy_error(HY_EINPUT,
                        "--option is of the measure that --measure names, or of one table with its own figure");
    if (o->erf + o->entropy + asked_inside(o) > 1 && o->format != HY_TABLE_TEXT)
        return hy_error(HY_EINPUT, "several tables: with --format csv or json ask for one at a time");
    if (o->measure && (o->erf || o->entropy || asked_inside(o) || o->out))
        return hy_error(HY_EINPUT, "--measure %s stands alone: not with tables of its own, or --out", o->measure);
    if ((o->propose || o->by || o->at_least || o->group != 2) && !(o->inside[HY_INSIDE_KV] && o->propose))
        return hy_error(HY_EINPUT, "%s is for --kv-similarity --propose",
                        o->propose    ? "--propose"
                        : o->by       ? "--by"
                        : o->at_least ? "--at-least"
                                      : "--group");
    if (o->propose && (o->erf || o->entropy || asked_inside(o) > 1))
        return hy_error(HY_EINPUT, "--propose prints YAML: not with other tables");
    if (o->erf_sets.n && !o->erf)
        return hy_error(HY_EINPUT, "--erf-set %s is an option of the table of --erf, which is not asked for%s",
                        o->erf_sets.v[0], o->measure ? ": options of a --measure are --option NAME=VALUE" : "");
    if ((o->zoom || o->reduce_map) && !(o->out && draws_maps(o)))
        return hy_error(HY_EINPUT, "%s is of the maps that --out draws", o->zoom ? "--zoom" : "--reduce-map");
    if ((o->maps || o->heads.n || o->channels.n) && !o->out)
        return hy_error(HY_EINPUT, "%s says what is drawn, but no figure is asked for (--out DIR)",
                        o->maps      ? "--maps"
                        : o->heads.n ? "--head"
                                     : "--channel");
    HY_TRY(check_prompt(o));
    HY_TRY(hy_probe_save_asked(&o->save, o->prompts));
    return o->propose ? propose(o, NULL, NULL, NULL) : HY_OK;
}

// The norm and reduction of saved maps are those of drawn ones.
static hy_status saved_maps(options *o) {
    hy_asked m;
    HY_TRY(hy_ask("maps", &m));
    HY_TRY(hy_ask_given_set(&m, "norm", o->norm, "--norm"));
    HY_TRY(hy_ask_given_set(&m, "reduce", o->reduce, "--reduce"));
    o->save.maps = (hy_map_options){.norm = (hy_map_norm)hy_measure_option_int(m.measure, &m.options, "norm"),
                                    .reduce = (hy_ssm_reduce)hy_measure_option_int(m.measure, &m.options, "reduce"),
                                    .gate = o->gate};
    o->save.cell = o->cell, o->save.tokens = o->tokens;
    return HY_OK;
}

static hy_status probe(options *o, const char *file) {
    HY_TRY(check_asked(o));
    if (!o->m.task && !o->m.prompt.prompt && !o->m.prompt.file) o->m.task = "mqar";
    if (o->out) HY_TRY(hy_outfolder_try(o->out));
    hy_weights how;
    HY_TRY(hy_weights_parse(o->m.weights, &how));
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    wanted *w = hy_xcalloc(1, sizeof *w);
    hy_subject subject = {0};
    hy_status s = hy_model_read_spec(file, o->m.sets.v, spec);
    if (!s) s = want(o, spec, w);
    if (!s && w->maps >= 0 && o->layers) {
        int n = 0;
        for (const char *c = o->layers; *c; c++) n += *c == ',';
        if (!strcmp(o->layers, "all")) n = spec->n_layers - 1;
        if (n >= MAX_MAP_LAYERS)
            s = hy_error(HY_EINPUT, "%d layers do not fit a figure: choose at most %d with --layers", n + 1,
                         MAX_MAP_LAYERS);
    }
    hy_names saved = {0};
    if (!s) s = hy_subject_prepare(&o->m, file, w->v, w->n, &subject);
    if (!s && o->save.to) s = hy_probe_save_check(&o->save, &subject, &saved);
    if (!s && subject.task && !o->measure) s = hy_probe_memory(&subject, tokens_of(o, &subject), &saved, how);
    if (!s) s = hy_subject_load(&subject, how);
    if (!s) s = take(o, w, &subject, &saved);
    hy_names_free(&saved);
    hy_subject_close(&subject);
    free(w);
    free(spec);
    return s;
}

// Rows of the table below: tables with figures of their own.
// clang-format off
#define FLAG(name, k, text) {name, NULL, HY_ARG_FLAG, &o.inside[HY_INSIDE_##k], 0, text}
#define ARGS_INSIDE                                                                                                    \
    FLAG("--kv-similarity", KV, "table of how alike keys and values of every two layers are; with --out a figure"),    \
    FLAG("--reach", REACH,                                                                                             \
         "table of how far heads look back and how long SSM channels remember; with --out a figure"),                  \
    FLAG("--retrieval", RETRIEVAL, "table of what each head has on the token to be copied; with --out a figure"),      \
    FLAG("--gradient-erf", GRADIENT,                                                                                   \
         "table of the receptive field by gradients, of the model and its layers; with --out a figure"),               \
    FLAG("--contributions", CONTRIBUTIONS,                                                                             \
         "table of what positions add to each other through each layer, attention and SSM heads in one unit; with "    \
         "--out figures"),                                                                                             \
    {"--propose", NULL, HY_ARG_FLAG, &o.propose, 0,                                                                    \
     "with --kv-similarity: groups of layers to share keys and values, as YAML of a variant (kv_share)"},              \
    {"--group", "N", HY_ARG_INT, &o.group, 2, "layers of such a group at most (default 2)"},                           \
    {"--by", "cka|cosine", HY_ARG_TEXT, &o.by, 0, "what groups are proposed by (default cka)"},                        \
    {"--at-least", "X", HY_ARG_TEXT, &o.at_least, 0,                                                                   \
     "what a layer must be like the first of its group to give up its keys (default 0)"}
// clang-format on

int hy_cmd_probe(int argc, char **argv) {
    options o = {.m = {.seed = 1, .batch = 32}, .formats = "svg,png", .group = 2};
    const hy_arg args[] = {
        {"--entropy", NULL, HY_ARG_FLAG, &o.entropy, 0,
         "table of entropy and shares by layer (what is printed when nothing is asked for)"},
        {"--erf", NULL, HY_ARG_FLAG, &o.erf, 0, "table of the effective receptive field, all layers"},
        ARGS_INSIDE,
        {"--measure", "NAME", HY_ARG_TEXT, &o.measure, 0,
         "any measure instead, as a table of its facts (`hylab show measures` lists them)"},
        HY_ARGS_OPTION(o.m),
        {"--out", "DIR", HY_ARG_PATH, &o.out, 0, "draw the maps there (and the entropy, with --entropy)"},
        {"--layers", "LIST", HY_ARG_TEXT, &o.layers, 0,
         "e.g. 0,3 or all (default: all in tables; first, middle and last drawn)"},
        {"--maps", "LIST", HY_ARG_TEXT, &o.maps, 0, "what is drawn: attention,ssm,layer (default all three)"},
        {"--head", "N", HY_ARG_LIST, &o.heads, 0, "draw this attention head too; may be given many times"},
        {"--channel", "N", HY_ARG_LIST, &o.channels, 0, "draw this SSM channel too; may be given many times"},
        {"--zoom", "I0:I1,J0:J1", HY_ARG_TEXT, &o.zoom, 0,
         "draw these queries and keys only (positions as on the axes, meta tokens first)"},
        {"--reduce-map", HY_BLOCK_CHOICES, HY_ARG_TEXT, &o.reduce_map, 0,
         "what a pixel of a long map shows of its positions: their largest value (default: thin lines stay) or mean"},
        {"--norm", HY_MAP_NORM_CHOICES, HY_ARG_TEXT, &o.norm, 0,
         "rows to sum 1 (default), min-max of the matrix, or signed values"},
        {"--reduce", HY_SSM_REDUCE_CHOICES, HY_ARG_TEXT, &o.reduce, 0,
         "channels of an SSM to one map: mean of |alpha| (default), |mean|, mean of rows"},
        {"--gate", NULL, HY_ARG_FLAG, &o.gate, 0, "SSM maps with the gate"},
        {"--erf-set", "NAME=VALUE", HY_ARG_LIST, &o.erf_sets, 0, "an option of measure erf (above), with --erf"},
        {"--cell", "N", HY_ARG_INT, &o.cell, 0, "evaluation cell of the task (default 0)"},
        {"--prompts", "N", HY_ARG_INT, &o.prompts, 1,
         "mean over so many examples (default 1; with --measure: the measure's own)"},
        {"--tokens", "N", HY_ARG_INT, &o.tokens, 0, "only the first N tokens of an example"},
        {"--values", NULL, HY_ARG_FLAG, &o.values, 0,
         "list the names, widths and meaning of all values that --save knows"},
        HY_ARGS_SAVE(o.save),
        HY_ARGS_PROMPT(o.m.prompt),
        HY_ARGS_TASK(o.m),
        HY_ARGS_MODEL(o.m),
        HY_ARGS_DB(o.m),
        {"--formats", "LIST", HY_ARG_TEXT, &o.formats, 0, "of figures: svg,png,pdf (default svg,png)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print tables"},
        {0},
    };
    char *text = hy_ask_help(
        "Where a model looks: softmax maps of its attention heads, its SSM heads as hidden attention (Ali et al. "
        "2024), the\n"
        "layer as their mean; entropy, shares (meta, BOS, self, cross) and effective receptive field (Hymba, appendix "
        "B).\n"
        "Values come from probes on the model itself; each map is checked by reproducing the layer's own output.\n\n"
        "examples:\n"
        "  hylab probe runs/hymba.safetensors --task mqar --layers 0,3 --out maps\n"
        "  hylab probe runs/hymba.safetensors --maps attention --head 0 --head 5 --channel 17 --out heads\n"
        "  hylab probe runs/hymba.safetensors --erf --prompts 8 --erf-set meta=renormalised\n"
        "  hylab probe runs/hymba.safetensors --kv-similarity --propose --group 3\n"
        "  hylab probe runs/hymba.safetensors --measure outputs --prompts 8\n"
        "  hylab probe variants/hymba.yaml --entropy --format csv\n"
        "  hylab probe models/hymba --text article.txt --tokens 8192 --out maps\n"
        "  hylab probe models/hymba --text article.txt --out part --zoom 4000:4200,0:4200 --layers 0\n"
        "  hylab probe models/hymba --values\n"
        "  hylab probe models/hymba --prompt \"The capital of France is\" --save 'layers.*.attn.q' --save "
        "'layers.*.map.attention' --save-to q.safetensors\n",
        (const char *const[]){"maps", "erf", "outputs", "kv_similarity", "reach", "retrieval", "gradient_erf",
                              "contributions", NULL});
    const hy_args a = {.usage = "hylab probe CHECKPOINT|VARIANT.yaml [options]",
                       .text = text,
                       .args = args,
                       .min_rest = 1,
                       .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!o.erf && !asked_inside(&o) && !o.out && !o.measure && !o.save.patterns.n) o.entropy = true;
    o.m.prompt.most = o.tokens;
    if (!s && !help) s = saved_maps(&o);
    if (!s && !help) s = o.values ? hy_probe_values(rest.v[0], o.m.sets.v, o.format) : probe(&o, rest.v[0]);
    free(rest.v);
    free(text);
    hy_measure_args_free(&o.m);
    free(o.erf_sets.v), free(o.heads.v), free(o.channels.v), free(o.save.patterns.v);
    return hy_command_end("probe", s);
}
