// measure.c - see measure.h: the registry, and what is done around every measure.
#include "analysis/measure/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/yaml.h"

#define X(name) extern const hy_measure hy_measure_##name;
#include "analysis/measure/measures.def"
#undef X
const hy_measure *const hy_measures[] = {
#define X(name) &hy_measure_##name,
#include "analysis/measure/measures.def"
#undef X
    NULL,
};

const hy_measure *hy_measure_find(const char *name) {
    for (int i = 0; hy_measures[i]; i++)
        if (!strcmp(hy_measures[i]->name, name)) return hy_measures[i];
    return NULL;
}

char *hy_measure_names(void) {
    hy_buf b = {0};
    for (int i = 0; hy_measures[i]; i++) hy_buf_printf(&b, "%s%s", i ? "|" : "", hy_measures[i]->name);
    return b.s;
}

// ---------------------------------------------------------------------------------------------------- options
hy_status hy_measure_options_read(const hy_measure *m, const char *yaml, hy_measure_options *out) {
    HY_ASSERT(m->options_size <= sizeof *out);
    memset(out, 0, sizeof *out);
    hy_fields_default(m->fields, out);
    hy_yaml *root = NULL;
    hy_status s = hy_yaml_parse("options", yaml, strlen(yaml), &root);
    if (!s) s = hy_yaml_fields(root, m->fields, out, NULL);
    hy_yaml_free(root);
    return s ? hy_error_context(s, "measure %s", m->name) : HY_OK;
}

void hy_measure_options_text(const hy_measure *m, const void *options, hy_buf *out) {
    hy_fields_text(m->fields, options, 0, out);
}

int hy_measure_option_int(const hy_measure *m, const void *options, const char *name) {
    const hy_field *f = m->fields;
    while (f->name && strcmp(f->name, name)) f++;
    HY_ASSERT(f->name && (f->type == HY_F_INT || f->type == HY_F_ENUM || f->type == HY_F_BOOL));
    return *(const int *)((const char *)options + f->offset);
}

// ---------------------------------------------------------------------------------------------------- before
static hy_status check(const hy_measure *m, const hy_measure_subject *s, const void *options) {
    HY_TRY(hy_fields_check(m->fields, options, NULL));
    if (m->needs & HY_NEEDS_TASK) {
        if (!s->task) return hy_error(HY_EINPUT, "it needs a task");
        if (hy_task_vocab(s->task) > s->spec->vocab)
            return hy_error(HY_EINPUT, "task %s uses %d tokens, but %s has a vocabulary of %d", hy_task_kind(s->task),
                            hy_task_vocab(s->task), s->spec->name, s->spec->vocab);
    }
    return m->check ? m->check(s, options) : HY_OK;
}

hy_status hy_measure_check(const hy_measure *m, const hy_measure_subject *s, const void *options) {
    const hy_status st = check(m, s, options);
    return st ? hy_error_context(st, "measure %s", m->name) : HY_OK;
}

bool hy_measure_applies(const hy_measure *m, const hy_model_spec *spec, const void *options) {
    return !m->applies || m->applies(spec, options);
}

// ---------------------------------------------------------------------------------------------------- taking one
static hy_status run(const hy_measure *m, const hy_measure_context *c, const void *options, hy_facts *facts) {
    const bool alone = (m->needs & HY_NEEDS_QUIET) && c->timing;
    if (alone) HY_TRY(hy_timing_lock_begin(c->timing));
    const int first = facts->n_facts;
    hy_status s = m->run(c, options, facts);
    if (alone) hy_timing_lock_end(c->timing);
    if (!s && hy_interrupted) s = hy_error(HY_EINTR, "interrupted");
    for (int i = first; i < facts->n_facts && !s; i++) {
        const hy_fact *f = &facts->fact[i];
        if (!isfinite(f->value))
            s = hy_error(HY_EDIVERGED, "%s%s%s is not a number", f->name, *f->cell ? " of " : "", f->cell);
    }
    return s;
}

hy_status hy_measure_run(const hy_measure *m, const hy_measure_context *c, const void *options, hy_facts *facts) {
    HY_ASSERT(c->params || !(m->needs & HY_NEEDS_WEIGHTS));
    HY_ASSERT(c->task || !(m->needs & HY_NEEDS_TASK));
    const hy_status s = run(m, c, options, facts);
    return s ? hy_error_context(s, "measure %s", m->name) : HY_OK;
}

// ---------------------------------------------------------------------------------------------------- for people
void hy_measure_needs_text(const hy_measure *m, char out[96]) {
    static const struct {
        unsigned bit;
        const char *text;
    } all[] = {{HY_NEEDS_TASK, "a task"},
               {HY_NEEDS_WEIGHTS, "weights"},
               {HY_NEEDS_GRADIENT, "gradients"},
               {HY_NEEDS_QUIET, "a quiet machine"}};
    int n = 0;
    out[0] = 0;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (m->needs & all[k].bit) n += snprintf(out + n, 96 - (size_t)n, "%s%s", n ? ", " : "", all[k].text);
}

void hy_measure_help(const char *name, hy_buf *out) {
    for (int i = 0; hy_measures[i]; i++) {
        const hy_measure *m = hy_measures[i];
        if (name && strcmp(m->name, name)) continue;
        char needs[96];
        hy_measure_needs_text(m, needs);
        char *title =
            hy_asprintf("Measure %s, version %d: %s%s%s", m->name, m->version, m->doc, *needs ? "; needs " : "", needs);
        hy_fields_help(m->fields, title, out);
        free(title);
    }
}
