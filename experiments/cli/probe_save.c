// probe_save.c - see probe_save.h.
#include "experiments/cli/probe_save.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/probe/capture.h"
#include "core/base/plural.h"
#include "core/base/version.h"

// The program of a model that is not read.
static hy_status open_program(const char *file, const char *const *sets, hy_program **out) {
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    *out = NULL;
    hy_status s = hy_model_read_spec(file, sets, spec);
    if (!s) s = hy_model_build(spec, out);
    free(spec);
    return s;
}

hy_status hy_probe_values(const char *file, const char *const *sets, hy_table_format format) {
    hy_program *p;
    HY_TRY(open_program(file, sets, &p));
    char *title = hy_asprintf("Values of %s", p->spec.name);
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "name", NULL, NULL, HY_LEFT);
    hy_table_column(t, "columns", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "meaning", NULL, NULL, HY_LEFT);
    hy_names all;
    hy_names_all(p, &all);
    for (int i = 0; i < all.n; i++) {
        hy_buf b = {0};
        const int columns = hy_named_columns(p, &all.v[i], -1);
        hy_named_meaning(p, &all.v[i], &b);
        hy_table_row(t);
        hy_table_text(t, "%s", all.v[i].name);
        if (columns < 0)
            hy_table_text(t, "positions");
        else
            hy_table_int(t, columns ? columns : 1);
        hy_table_text(t, "%s", b.s);
        free(b.s);
    }
    hy_table_note(t, "a row for each position: %d meta tokens, then the tokens of the text", p->spec.meta_tokens);
    hy_table_note(t, "maps: rows are queries, columns the keys that they look at, 0 where they may not look");
    const hy_status s = hy_table_print(t, format, stdout);
    hy_table_free(t);
    hy_names_free(&all);
    free(title);
    hy_program_free(p);
    return s;
}

// ---------------------------------------------------------------------------------------------------- saving
hy_status hy_probe_save_asked(const hy_probe_saved *s, int prompts) {
    if (s->patterns.n && !s->to)
        return hy_error(HY_EINPUT, "--save %s: where to? --save-to x.safetensors, a folder, or x.csv",
                        s->patterns.v[0]);
    if (!s->patterns.n && (s->to || s->example))
        return hy_error(HY_EINPUT, "%s is for --save PATTERN (--values lists the names)",
                        s->to ? "--save-to" : "--example");
    if (s->patterns.n && prompts)
        return hy_error(HY_EINPUT, "--save writes one example (--example N), not the mean over --prompts %d", prompts);
    return HY_OK;
}

static int tokens_of(const hy_probe_saved *o, const hy_subject *s) {
    const int T = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell)->T;
    return o->tokens > 0 && o->tokens < T ? o->tokens : T;
}

hy_status hy_probe_save_check(const hy_probe_saved *o, const hy_subject *s, hy_names *names) {
    hy_program *p;
    const int cells = hy_task_cells(s->task, HY_SPLIT_EVAL);
    if (o->cell >= cells)
        return hy_error(HY_EINPUT, "--cell %d: task %s has evaluation cells 0 to %d", o->cell, hy_task_kind(s->task),
                        cells - 1);
    const hy_cell *cell = hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell);
    if (o->example >= cell->count)
        return hy_error(HY_EINPUT, "--example %d: cell %s has examples 0 to %lld", o->example, cell->name,
                        (long long)cell->count - 1);
    HY_TRY(open_program(s->file, s->args->sets.v, &p));
    hy_status st = hy_names_choose(p, o->patterns.v, o->patterns.n, names);
    if (st) st = hy_error_context(st, "--save");
    for (int i = 0; i < names->n && !st; i++)
        if (names->v[i].src == HY_MAP_LAYER && names->v[i].value == HY_NOVAL && names->v[i].layer >= 0 &&
            o->maps.norm != HY_MAP_ROWSUM && p->spec.layers[names->v[i].layer].mixer != HY_MIXER_ATTENTION &&
            p->spec.layers[names->v[i].layer].mixer != HY_MIXER_SSM)
            st = hy_error(HY_EINPUT, "--save %s: it is the mean of two row-normalised maps; leave out --norm",
                          names->v[i].name);
    if (!st) st = hy_save_try(p, tokens_of(o, s) + p->spec.meta_tokens, names, o->to);
    if (!st && s->task && hy_task_vocab(s->task) > p->spec.vocab)
        st = hy_error(HY_EINPUT, "task %s uses %d tokens, but %s has a vocabulary of %d", hy_task_kind(s->task),
                      hy_task_vocab(s->task), p->spec.name, p->spec.vocab);
    hy_program_free(p);
    if (st) hy_names_free(names);
    return st;
}

hy_status hy_probe_memory(const hy_subject *s, int T, const hy_names *names, hy_weights how) {
    const double told_from = 0.25e9;
    hy_program *p;
    hy_capture_need n;
    bool logits = false;
    HY_TRY(open_program(s->file, s->args->sets.v, &p));
    for (int i = 0; i < names->n; i++)
        logits = logits || (names->v[i].value != HY_NOVAL && names->v[i].value == p->logits);
    hy_status st = hy_capture_needs(p, &s->be, hy_precision_dtype(s->precision), T, logits, &n);
    if (how != HY_WEIGHTS_F32 && hy_model_file_kind_of(s->file) != HY_MODEL_YAML) n.weights /= 2;  // may be bfloat16
    if (!st && n.weights + n.executor + n.captured >= told_from)
        fprintf(stderr, "%d tokens need about %.3g GB: weights %.3g, activations %.3g, what is looked at %.3g\n", T,
                (n.weights + n.executor + n.captured) / 1e9, n.weights / 1e9, n.executor / 1e9, n.captured / 1e9);
    if (!st) st = hy_capture_fits(p, &s->be, T, &n);
    hy_program_free(p);
    return st;
}

// What the files say of themselves: key, value, key, value ... The caller frees the values.
enum { ABOUT = 9 };
static void about(const hy_probe_saved *o, const hy_subject *s, char *out[2 * ABOUT + 1]) {
    const hy_model_spec *spec = &s->model.p->spec;
    const int T = tokens_of(o, s);
    hy_buf task = {0}, maps = {0};
    hy_task_text(s->task, &task);
    hy_map_options_text(&o->maps, &maps);
    char *all[2 * ABOUT + 1] = {
        "hylab",
        hy_asprintf("%s (%s)", HY_VERSION, hy_version_commit()),
        "model",
        hy_asprintf("%s%s", spec->name, s->model.trained ? "" : " (random weights)"),
        "file",
        hy_xstrdup(s->file),
        "task",
        hy_xstrdup(task.s),
        "example",
        hy_asprintf("%s %d", hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell)->name, o->example),
        "seed",
        hy_asprintf("%d", s->args->seed),
        "positions",
        hy_asprintf("%d: %d meta tokens, then %d tokens of the text", T + spec->meta_tokens, spec->meta_tokens, T),
        "meta_tokens",
        hy_asprintf("%d", spec->meta_tokens),
        "maps",
        hy_asprintf("%s; rows are queries, columns keys, 0: not visible", maps.s)};
    memcpy(out, all, sizeof all);
    free(task.s), free(maps.s);
}

hy_status hy_probe_save(const hy_probe_saved *o, const hy_subject *s, const hy_names *names) {
    const hy_program *p = s->model.p;
    const int T = tokens_of(o, s);
    const size_t n = (size_t)hy_task_cell(s->task, HY_SPLIT_EVAL, o->cell)->T;
    int32_t *ids = hy_xcalloc(2 * n, sizeof *ids);
    char *texts[2 * ABOUT + 1];
    about(o, s, texts);
    hy_status st = hy_task_example(s->task, HY_SPLIT_EVAL, o->cell, o->example, ids, ids + n);
    if (!st) st = hy_save(p, s->model.w, T, ids, names, &o->maps, o->to, (const char *const *)texts);
    double bytes = 0;
    for (int i = 0; i < names->n; i++) {
        const int columns = hy_named_columns(p, &names->v[i], T + p->spec.meta_tokens);
        bytes += 4.0 * (T + p->spec.meta_tokens) * (columns ? columns : 1);
    }
    if (!st)
        fprintf(stderr, "%d value%s of %d positions, %.3g %s, %s in %s\n", names->n, hy_s(names->n),
                T + p->spec.meta_tokens, bytes < 1e6 ? bytes / 1e3 : bytes / 1e6, bytes < 1e6 ? "kB" : "MB",
                names->n == 1 ? "is" : "are", o->to);
    for (int i = 0; i < ABOUT; i++) free(texts[2 * i + 1]);
    free(ids);
    return st;
}
