// measure_arg.c - see measure_arg.h.
#include "experiments/cli/measure_arg.h"

#include <stdlib.h>
#include <string.h>

#include "experiments/cli/task_arg.h"
#include "experiments/runner/adopt.h"

void hy_measure_args_free(hy_measure_args *a) {
    free(a->sets.v);
    free(a->task_sets.v);
    free(a->options.v);
}

// ---------------------------------------------------------------------------------------------------- asking
hy_status hy_ask(const char *name, hy_asked *out) {
    *out = (hy_asked){.measure = hy_measure_find(name)};
    if (out->measure) return hy_measure_options_read(out->measure, "", &out->options);
    char *names = hy_measure_names(), *hint = hy_suggest(name, names);
    const hy_status s = hy_error(HY_EINPUT, "there is no measure \"%s\"%s; there are %s", name, hint, names);
    free(names), free(hint);
    return s;
}

static const hy_field *field_of(const hy_asked *m, const char *option) {
    const hy_field *f = m->measure->fields;
    while (f->name && strcmp(f->name, option)) f++;
    return f->name ? f : NULL;
}

hy_status hy_ask_set(hy_asked *m, const char *option, const char *yaml) {
    if (!yaml || !field_of(m, option)) return HY_OK;
    const hy_status s = hy_fields_set(m->measure->fields, &m->options, option, yaml);
    return s ? hy_error_context(s, "measure %s", m->measure->name) : HY_OK;
}

char *hy_asked_line(const hy_asked *m) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    hy_measure_options_text(m->measure, &m->options, &b);
    char *line = hy_fields_line(b.s);
    free(b.s);
    return line;
}

hy_status hy_ask_int(hy_asked *m, const char *option, int v) {
    char text[16];
    snprintf(text, sizeof text, "%d", v);
    return hy_ask_set(m, option, text);
}

hy_status hy_ask_given_set(hy_asked *m, const char *option, const char *yaml, const char *by) {
    if (!yaml) return HY_OK;
    if (!field_of(m, option)) {
        if (!m->lacks) m->lacks = option, m->lacks_by = by;
        return HY_OK;
    }
    HY_ASSERT(m->n_given < HY_GIVEN_MAX);
    m->given[m->n_given].option = option;
    m->given[m->n_given++].by = by;
    const hy_status s = hy_ask_set(m, option, yaml);
    return s ? hy_error_context(s, "%s", by) : HY_OK;
}

hy_status hy_ask_given(hy_asked *m, const char *option, int v, const char *by) {
    char text[16];
    snprintf(text, sizeof text, "%d", v);
    return hy_ask_given_set(m, option, v ? text : NULL, by);
}

// Two answers to one question are a mistake of whoever typed them.
static hy_status check_given(const hy_asked *m, const char *name, const char *text) {
    for (int i = 0; i < m->n_given; i++)
        if (!strcmp(m->given[i].option, name))
            return hy_error(HY_EINPUT, "--option %s: %s says that already: leave one of them out", text,
                            m->given[i].by);
    return HY_OK;
}

hy_status hy_ask_options(hy_asked *m, const hy_arg_list *assignments) {
    for (int i = 0; i < assignments->n; i++) {
        const char *text = assignments->v[i], *eq = strchr(text, '=');
        if (!eq) return hy_error(HY_EINPUT, "--option %s: NAME=VALUE is wanted", text);
        char *name = hy_asprintf("%.*s", (int)(eq - text), text);
        const hy_status twice = check_given(m, name, text);
        const hy_status s = twice ? HY_OK : hy_fields_set(m->measure->fields, &m->options, name, eq + 1);
        free(name);
        if (twice) return twice;
        if (s) return hy_error_context(s, "--option of measure %s", m->measure->name);
    }
    return HY_OK;
}

char *hy_ask_help(const char *text, const char *const *names) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", text);
    for (int i = 0; names[i]; i++) {
        hy_buf_printf(&b, "\n");
        hy_measure_help(names[i], &b);
    }
    return b.s;
}

// ---------------------------------------------------------------------------------------------------- the model
static hy_status open_task(hy_subject *s, const hy_model_spec *spec) {
    const hy_measure_args *a = s->args;
    if (a->prompt.prompt || a->prompt.file) return hy_task_of_prompt(&a->prompt, s->file, spec, &s->task);
    return a->task ? hy_task_from_args(a->task, &a->task_sets, (uint64_t)a->seed, &s->task) : HY_OK;
}

static hy_status check(hy_subject *s, const hy_asked *asked, int n) {
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_status st = hy_model_read_spec(s->file, s->args->sets.v, spec);
    if (!st) st = open_task(s, spec);
    const hy_measure_subject of = {spec, s->task, s->be.name, s->precision};
    for (int i = 0; i < n && !st; i++) {
        st = hy_measure_check(asked[i].measure, &of, &asked[i].options);
        if (!st && !hy_measure_applies(asked[i].measure, spec, &asked[i].options))
            st = hy_error(HY_EINPUT,
                          "measure %s finds nothing in %s: no layer that it looks at has attention or SSM heads",
                          asked[i].measure->name, spec->name);
    }
    free(spec);
    return st;
}

hy_status hy_subject_prepare(const hy_measure_args *a, const char *file, const hy_asked *asked, int n,
                             hy_subject *out) {
    *out = (hy_subject){.args = a, .file = file};
    HY_TRY(hy_compute_from_args(a->precision, a->device, a->isa, a->threads, &out->precision, &out->be));
    HY_TRY(check(out, asked, n));
    return a->db ? hy_adopt_try(a->db, false) : HY_OK;
}

hy_status hy_subject_load(hy_subject *s, hy_weights weights) {
    const double start = hy_now();
    const hy_status st = hy_model_open(s->file, s->args->sets.v, &s->be, weights, s->precision, 1, &s->model);
    s->seconds = hy_now() - start;
    if (!st && s->model.notes) fputs(s->model.notes, stderr);
    return st;
}

hy_status hy_subject_open(const hy_measure_args *a, const char *file, hy_weights weights, const hy_asked *asked, int n,
                          hy_subject *out) {
    HY_TRY(hy_subject_prepare(a, file, asked, n, out));
    return hy_subject_load(out, weights);
}

void hy_subject_close(hy_subject *s) {
    hy_model_close(&s->model);
    if (s->task) hy_task_close(s->task);
    *s = (hy_subject){0};
}

hy_status hy_subject_take(const hy_subject *s, const hy_asked *m, hy_facts *facts) {
    const hy_measure_context c = {.prog = s->model.p,
                                  .params = s->model.w,
                                  .compute = s->model.w->compute,
                                  .be = &s->be,
                                  .task = s->task,
                                  .eval_batch = s->args->batch,
                                  .jobs = 1};
    const int first = facts->n_facts, first_artifact = facts->n_artifacts;
    HY_TRY(hy_measure_run(m->measure, &c, &m->options, facts));
    if (!s->args->db) return HY_OK;
    hy_facts found = {.n_facts = facts->n_facts - first,
                      .fact = facts->fact + first,  // borrowed: those of this measure
                      .n_artifacts = facts->n_artifacts - first_artifact,
                      .artifact = facts->artifact + first_artifact};
    const hy_adopted a = {.spec = &s->model.p->spec,
                          .path = s->file,
                          .from_file = s->model.trained,
                          .init_seed = 1,
                          .task = s->task,
                          .seed = s->args->seed,
                          .be = &s->be,
                          .precision = s->precision};
    return hy_adopt_into(s->args->db, &a, m->measure, &m->options, &found);
}
