// experiment_expand.c - the cross product of an experiment: every run resolved and checked. See experiment.h.
#include <stdlib.h>
#include <string.h>

#include "core/spec/spec_read.h"
#include "experiments/runner/experiment_impl.h"
#include "core/format/yaml_text.h"

enum { MAX_ITEMS = 100000 };

typedef struct {
    hy_model_spec *spec;
    char *text, hash[33];  // of the spec with the variant's name
    char *identity;        // text of the spec without a name
} resolved_variant;
typedef struct {
    char *options, *text;
    int vocab;
} resolved_task;
typedef struct {
    char *label;
    int *at;  // [n_axes] index of the value
} grid_point;

// ---------------------------------------------------------------------------------------------------- grid points
static grid_point make_point(hy_reader *r, int g) {
    grid_point p = {.at = hy_experiment_own(r->e, hy_xcalloc((size_t)r->n_axes + 1, sizeof(int)))};
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int i = r->n_axes - 1, rest = g; i >= 0; i--) {  // the last axis changes first
        p.at[i] = rest % r->axes[i].n;
        rest /= r->axes[i].n;
    }
    for (int i = 0; i < r->n_axes; i++) hy_buf_printf(&b, "%s%s=%s", i ? " " : "", r->axes[i].label, r->axes[i].value[p.at[i]]);
    p.label = hy_experiment_own(r->e, b.s);
    return p;
}

// Adds to `to` what a grid point and --set say about a target.
static void overrides(hy_reader *r, const grid_point *p, hy_target target, hy_assignments *to) {
    for (int i = 0; i < r->n_axes; i++) {
        if (r->axes[i].target != target) continue;
        char *text = hy_asprintf("%s=%s", r->axes[i].path, r->axes[i].value[p->at[i]]);
        hy_assignments_add(r->e, to, text);
        free(text);
    }
    for (int i = 0; i < r->set[target].n; i++) hy_assignments_add(r->e, to, r->set[target].v[i]);
}

static hy_status in_context(hy_status s, const hy_yaml *at, const char *what, const char *name, const grid_point *p) {
    return s ? hy_error_context(s, "%s:%d:%d: %s %s%s%s", at->file, at->line, at->column, what, name, *p->label ? ", " : "", p->label) : s;
}

// ---------------------------------------------------------------------------------------------------- parts of a run
static hy_status resolve_variant(hy_reader *r, const hy_variant_entry *v, const grid_point *p, resolved_variant *out) {
    hy_assignments a = {0};
    for (int i = 0; i < v->sets.n; i++) hy_assignments_add(r->e, &a, v->sets.v[i]);
    overrides(r, p, HY_TARGET_VARIANT, &a);
    out->spec = hy_experiment_own(r->e, hy_xcalloc(1, sizeof *out->spec));
    hy_status s = HY_OK;
    if (v->file) {
        s = hy_spec_load(v->file, (const char *const *)a.v, out->spec);
    } else {
        hy_yaml *node = hy_yaml_copy(v->inline_spec);
        for (int i = 0; !s && i < a.n; i++) s = hy_yaml_set(node, a.v[i]);
        if (!s) s = hy_spec_from_yaml(node, out->spec);
        hy_yaml_free(node);
    }
    free(a.v);
    if (s) return in_context(s, v->at, "variant", v->name, p);
    out->text = hy_experiment_own(r->e, hy_model_spec_text(out->spec));
    hy_model_spec_hash(out->spec, out->hash);
    hy_model_spec *nameless = hy_xcalloc(1, sizeof *nameless);
    *nameless = *out->spec;
    memset(nameless->name, 0, sizeof nameless->name);
    strcpy(nameless->name, "model");
    out->identity = hy_experiment_own(r->e, hy_model_spec_text(nameless));
    free(nameless);
    return HY_OK;
}

static hy_status resolve_task(hy_reader *r, const hy_task_entry *t, const grid_point *p, resolved_task *out) {
    hy_assignments a = {0};
    overrides(r, p, HY_TARGET_TASK, &a);
    hy_yaml *node = NULL;
    hy_status s = HY_OK;
    if (t->options && !hy_yaml_is_null(t->options)) node = hy_yaml_copy(t->options);
    else s = hy_yaml_parse("options", "{}", 2, &node);
    for (int i = 0; !s && i < a.n; i++) s = hy_yaml_set(node, a.v[i]);
    free(a.v);
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int i = 0; !s && i < node->n; i++) {
        hy_yaml_quote(node->key[i], &b);
        hy_buf_printf(&b, ": ");
        hy_yaml_flow(node->child[i], &b);
        hy_buf_printf(&b, "\n");
    }
    hy_yaml_free(node);
    out->options = hy_experiment_own(r->e, b.s);
    hy_task *task = NULL;
    if (!s) s = hy_task_open(t->kind, out->options, (uint64_t)r->seeds[0], &task);
    if (s) return in_context(s, t->at, "task", t->name, p);
    hy_buf text = {0};
    hy_task_text(task, &text);
    out->text = hy_experiment_own(r->e, text.s ? text.s : hy_xstrdup(""));
    out->vocab = hy_task_vocab(task);
    hy_task_close(task);
    return HY_OK;
}

static hy_status resolve_train(hy_reader *r, const hy_variant_entry *v, const hy_task_entry *t, const grid_point *p, hy_train_spec *out) {
    memset(out, 0, sizeof *out);
    hy_fields_default(hy_train_fields, out);
    const hy_yaml *layer[] = {r->train, t->train, v->train};
    for (int i = 0; i < 3; i++)
        if (layer[i]) HY_TRY(hy_yaml_fields(layer[i], hy_train_fields, out, NULL));
    hy_assignments a = {0};
    overrides(r, p, HY_TARGET_TRAIN, &a);
    hy_status s = HY_OK;
    for (int i = 0; !s && i < a.n; i++) {
        char *name = hy_xstrdup(a.v[i]), *eq = strchr(name, '=');
        *eq = 0;
        s = hy_fields_set(hy_train_fields, out, name, eq + 1);
        free(name);
    }
    free(a.v);
    return s ? hy_error_context(s, "train") : s;
}

// ---------------------------------------------------------------------------------------------------- identity
// Everything that determines the result. How often the log is written or a checkpoint is saved does not.
static void make_key(hy_run_item *it, const char *spec_identity) {
    hy_train_spec t = it->train, plain;
    memset(&plain, 0, sizeof plain);
    hy_fields_default(hy_train_fields, &plain);
    t.log_every = plain.log_every;
    t.checkpoint_every = plain.checkpoint_every;
    hy_buf b = {0};
    hy_buf_printf(&b, "identity: %d\nmodel:\n%s\ntask: %s\n%s\ntrain:\n", HY_RUN_IDENTITY, spec_identity, it->task_kind, it->task_text);
    hy_fields_text(hy_train_fields, &t, 2, &b);
    hy_buf_printf(&b, "measures:\n%s", it->measures_text);
    hy_hash_hex(b.s, b.n, it->run_key);
    free(b.s);
}

static hy_status make_item(hy_reader *r, const resolved_variant *rv, const resolved_task *rt, const grid_point *p, int iv, int jt,
                           int g, int64_t seed) {
    const hy_variant_entry *v = &r->variants[iv];
    const hy_task_entry *t = &r->tasks[jt];
    hy_run_item *it = &r->e->items[r->e->n_items++];
    *it = (hy_run_item){.variant = v->name, .task = t->name, .grid = p->label, .variant_ord = iv, .task_ord = jt, .grid_ord = g,
                        .seed = seed, .spec = rv->spec, .spec_text = rv->text, .spec_hash = rv->hash, .task_kind = t->kind,
                        .task_options = rt->options, .task_text = rt->text};
    if (rv->spec->vocab < rt->vocab)
        return in_context(hy_error(HY_EINPUT, "task %s needs a vocabulary of %d, the model has %d: set vocab: %d", t->name, rt->vocab,
                                   rv->spec->vocab, rt->vocab), v->at, "variant", v->name, p);
    HY_TRY(in_context(resolve_train(r, v, t, p, &it->train), v->at, "variant", v->name, p));
    hy_buf text = {0};
    hy_fields_text(hy_train_fields, &it->train, 0, &text);
    it->train_text = hy_experiment_own(r->e, text.s);
    hy_buf m = {0};
    hy_buf_printf(&m, "%s", "");
    hy_measure_plan_text(&r->e->measures, seed, &m);
    it->measures_text = hy_experiment_own(r->e, m.s);
    make_key(it, rv->identity);
    return HY_OK;
}

static hy_status cross(hy_reader *r, const grid_point *points, const resolved_variant *rv, const resolved_task *rt) {
    for (int s = 0; s < r->n_seeds; s++)
        for (int g = 0; g < r->n_grid; g++)
            for (int t = 0; t < r->n_tasks; t++)
                for (int v = 0; v < r->n_variants; v++)
                    HY_TRY(make_item(r, &rv[(size_t)g * (size_t)r->n_variants + (size_t)v], &rt[(size_t)g * (size_t)r->n_tasks + (size_t)t],
                                     &points[g], v, t, g, r->seeds[s]));
    return HY_OK;
}

hy_status hy_expand(hy_reader *r) {
    hy_experiment *e = r->e;
    double total = (double)r->n_variants * r->n_tasks * r->n_grid * r->n_seeds;
    if (total > MAX_ITEMS) return hy_error(HY_EINPUT, "the experiment has %.0f runs; at most %d are planned at once", total, MAX_ITEMS);
    e->n_variants = r->n_variants;
    e->n_tasks = r->n_tasks;
    e->n_grid = r->n_grid;
    e->n_seeds = r->n_seeds;
    size_t nv = (size_t)r->n_variants, nt = (size_t)r->n_tasks, ng = (size_t)r->n_grid;
    grid_point *points = hy_experiment_own(e, hy_xcalloc(ng, sizeof *points));
    resolved_variant *rv = hy_experiment_own(e, hy_xcalloc(ng * nv, sizeof *rv));
    resolved_task *rt = hy_experiment_own(e, hy_xcalloc(ng * nt, sizeof *rt));
    for (size_t g = 0; g < ng; g++) {
        points[g] = make_point(r, (int)g);
        for (size_t v = 0; v < nv; v++) HY_TRY(resolve_variant(r, &r->variants[v], &points[g], &rv[g * nv + v]));
        for (size_t t = 0; t < nt; t++) HY_TRY(resolve_task(r, &r->tasks[t], &points[g], &rt[g * nt + t]));
    }
    e->items = hy_xcalloc((size_t)total, sizeof *e->items);
    return cross(r, points, rv, rt);
}
