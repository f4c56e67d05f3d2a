// experiment_expand.c - the cross product of an experiment: every run resolved. What several runs have in common (a
// model, a task, a recipe, their measures) is made once: grid points that differ only in the recipe share their models.
// See experiment.h.
#include <stdlib.h>
#include <string.h>

#include "core/family/model_file.h"
#include "core/format/yaml_text.h"
#include "core/spec/spec_read.h"
#include "experiments/runner/experiment_impl.h"
#include "results/identity.h"

enum { MAX_ITEMS = 100000, N_TARGETS = 3 };

typedef struct {
    hy_model_spec *spec;
    char *text, hash[33];  // of the spec with the variant's name
    char *at;              // "file:line:column"
    char *source;          // hash of the file's content; "": none
} resolved_variant;

// The measures of the runs of a task that take the same ones, options and all.
typedef struct measure_set {
    struct measure_set *next;
    bool wanted[HY_MEASURES_MAX];  // of the plan's
    int eval_examples;             // of the recipe
    int n;
    hy_item_measure *v;
} measure_set;
typedef struct {
    char *options, *text;
    int vocab;
    bool tunes;   // it has tuning examples
    int longest;  // tokens of its longest example
    double tokens;
    measure_set *sets;
} resolved_task;
typedef struct {
    hy_train_spec spec;
    char *text;
    hy_origin origin;
} resolved_recipe;
typedef struct {
    char *label;
    int part[N_TARGETS];  // number of the point among those that differ in axes of a target
} grid_point;

typedef struct {
    hy_reader *r;
    int n[N_TARGETS];  // points of the axes of each target alone
    grid_point *points;
    resolved_variant *variants;  // [n[VARIANT], n_variants]
    resolved_task *tasks;        // [n[TASK], n_tasks]
    resolved_recipe *recipes;    // [n[TRAIN], n_tasks, n_variants]
} expansion;

const char *hy_origin_name(hy_origin o) {
    static const char *const names[] = {"trained", "random", "file"};
    return names[o];
}

// ---------------------------------------------------------------------------------------------------- grid points
// The value of an axis at point `part` of its target's axes; the last axis changes first.
static const char *axis_value(const hy_reader *r, int axis, int part) {
    for (int i = r->n_axes - 1; i > axis; i--)
        if (r->axes[i].target == r->axes[axis].target) part /= r->axes[i].n;
    return r->axes[axis].value[part % r->axes[axis].n];
}

static grid_point make_point(hy_reader *r, int g) {
    grid_point p = {0};
    int stride[N_TARGETS] = {1, 1, 1};
    for (int i = r->n_axes - 1, rest = g; i >= 0; i--) {
        const hy_axis *a = &r->axes[i];
        p.part[a->target] += rest % a->n * stride[a->target];
        stride[a->target] *= a->n;
        rest /= a->n;
    }
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int i = 0; i < r->n_axes; i++)
        hy_buf_printf(&b, "%s%s=%s", i ? " " : "", r->axes[i].label, axis_value(r, i, p.part[r->axes[i].target]));
    p.label = hy_experiment_own(r->e, b.s);
    return p;
}

// The values of the axes at every point, by the paths that they have in the model: of a variant without a prefix.
static void list_axis_values(expansion *x) {
    static const char *const prefix[N_TARGETS] = {
        [HY_TARGET_VARIANT] = "", [HY_TARGET_TASK] = "task.", [HY_TARGET_TRAIN] = "train."};
    hy_reader *r = x->r;
    hy_experiment *e = r->e;
    e->axis_values = hy_experiment_own(e, hy_xcalloc((size_t)(r->n_grid * r->n_axes) + 1, sizeof *e->axis_values));
    for (int i = 0; i < r->n_axes; i++) {
        const hy_axis *a = &r->axes[i];
        const char *path = hy_experiment_own(e, hy_asprintf("%s%s", prefix[a->target], a->path));
        for (int g = 0; g < r->n_grid; g++)
            e->axis_values[e->n_axis_values++] = (hy_grid_row){g, path, axis_value(r, i, x->points[g].part[a->target])};
    }
}

// Adds to `to` what the grid (at a point of the target's axes) and --set say about a target.
static void add_grid(hy_reader *r, int part, hy_target target, hy_assignments *to) {
    for (int i = 0; i < r->n_axes; i++) {
        if (r->axes[i].target != target) continue;
        char *text = hy_asprintf("%s=%s", r->axes[i].path, axis_value(r, i, part));
        hy_assignments_add(r->e, to, text);
        free(text);
    }
}
static void add_sets(hy_reader *r, hy_target target, hy_assignments *to) {
    for (int i = 0; i < r->set[target].n; i++) hy_assignments_add(r->e, to, r->set[target].v[i]);
}

// Puts "file:line:column: variant NAME, lr=1e-3: " before an error.
static hy_status in_context(hy_reader *r, hy_status s, const hy_yaml *at, const char *what, const char *name, int part,
                            hy_target target) {
    if (!s) return HY_OK;
    hy_buf b = {0};
    hy_buf_printf(&b, "%s %s", what, name);
    for (int i = 0; i < r->n_axes; i++)
        if (r->axes[i].target == target) hy_buf_printf(&b, ", %s=%s", r->axes[i].label, axis_value(r, i, part));
    s = hy_error_context(s, "%s:%d:%d: %s", at->file, at->line, at->column, b.s);
    free(b.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- models
// Changes to a model that has weights must leave every shape as it is.
static hy_status check_weights(const char *file, const hy_model_spec *spec) {
    hy_program *p = NULL;
    hy_status s = hy_model_build(spec, &p);
    if (!s) s = hy_model_check(file, p, NULL);
    hy_program_free(p);
    return s;
}

static hy_status read_spec(const hy_variant_entry *v, const hy_assignments *a, hy_model_spec *out) {
    const char *const *sets = (const char *const *)a->v;
    if (v->weights) {
        HY_TRY(hy_model_read_spec(v->file, sets, out));
        return check_weights(v->file, out);
    }
    if (v->file) return hy_spec_load(v->file, sets, out);
    hy_yaml *node = hy_yaml_copy(v->inline_spec);
    hy_status s = HY_OK;
    for (int i = 0; !s && i < a->n; i++) s = hy_yaml_set(node, a->v[i]);
    if (!s) s = hy_spec_from_yaml(node, out);
    hy_yaml_free(node);
    return s;
}

static hy_status resolve_variant(hy_reader *r, const hy_variant_entry *v, int part, resolved_variant *out) {
    hy_assignments a = {0};
    for (int i = 0; i < v->sets.n; i++) hy_assignments_add(r->e, &a, v->sets.v[i]);
    add_grid(r, part, HY_TARGET_VARIANT, &a);
    add_sets(r, HY_TARGET_VARIANT, &a);
    out->spec = hy_experiment_own(r->e, hy_xcalloc(1, sizeof *out->spec));
    const hy_status s = read_spec(v, &a, out->spec);
    free(a.v);
    if (s) return in_context(r, s, v->at, "variant", v->name, part, HY_TARGET_VARIANT);
    out->text = hy_experiment_own(r->e, hy_model_spec_text(out->spec));
    out->at = hy_experiment_own(r->e, hy_asprintf("%s:%d:%d", v->at->file, v->at->line, v->at->column));
    out->source = hy_experiment_own(r->e, hy_xstrdup(v->source));
    hy_model_spec_hash(out->spec, out->hash);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- tasks
// `path` and `tokenizer` where they name what lies beside the experiment's file.
static hy_status find_files(hy_yaml *options, const hy_yaml *at) {
    static const char *const names[] = {"path", "tokenizer"};
    for (int i = 0; i < 2; i++) {
        const hy_yaml *y = hy_yaml_get(options, names[i]);
        if (!y || y->kind != HY_YAML_SCALAR || !y->text[0]) continue;
        char *path = hy_path_beside(at->file, y->text);
        hy_buf set = {0};
        hy_buf_printf(&set, "%s=", names[i]);
        hy_yaml_quote(path, &set);
        // a path that is nowhere is told as the one beside the file; a tokenizer may be a word
        const bool there = hy_file_exists(path) || (i == 0 && !hy_file_exists(y->text));
        const hy_status s = there ? hy_yaml_set(options, set.s) : HY_OK;
        free(set.s);
        free(path);
        HY_TRY(s);
    }
    return HY_OK;
}

static hy_status task_options(hy_reader *r, const hy_task_entry *t, int part, char **out) {
    hy_assignments a = {0};
    add_grid(r, part, HY_TARGET_TASK, &a);
    const int n_grid = a.n;
    add_sets(r, HY_TARGET_TASK, &a);
    hy_yaml *node = NULL;
    hy_status s = HY_OK;
    if (t->options && !hy_yaml_is_null(t->options))
        node = hy_yaml_copy(t->options);
    else
        s = hy_yaml_parse("options", "{}", 2, &node);
    for (int i = 0; !s && i < n_grid; i++) s = hy_yaml_set(node, a.v[i]);
    if (!s) s = find_files(node, t->at);
    for (int i = n_grid; !s && i < a.n; i++)
        s = hy_yaml_set(node, a.v[i]);  // whoever types a path means the current folder
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
    *out = hy_experiment_own(r->e, b.s);
    return s;
}

// Tokens of a training example, by the weights of the cells.
static double mean_tokens(const hy_task *t) {
    double sum = 0, weights = 0;
    for (int c = 0; c < hy_task_cells(t, HY_SPLIT_TRAIN); c++) {
        const hy_cell *cell = hy_task_cell(t, HY_SPLIT_TRAIN, c);
        sum += cell->weight * cell->T;
        weights += cell->weight;
    }
    return weights > 0 ? sum / weights : 0;
}

static hy_status resolve_task(hy_reader *r, const hy_task_entry *t, int part, resolved_task *out) {
    hy_task *task = NULL;
    hy_status s = task_options(r, t, part, &out->options);
    if (!s) s = hy_task_open(t->kind, out->options, (uint64_t)r->seeds[0], &task);
    if (s) return in_context(r, s, t->at, "task", t->name, part, HY_TARGET_TASK);
    hy_buf text = {0};
    hy_task_text(task, &text);
    out->text = hy_experiment_own(r->e, text.s ? text.s : hy_xstrdup(""));
    out->vocab = hy_task_vocab(task);
    out->tunes = hy_task_cells(task, HY_SPLIT_TUNE) > 0;
    out->longest = hy_task_max_len(task);
    out->tokens = mean_tokens(task);
    hy_task_close(task);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- recipes
// What the file says of the recipe of a variant on a task, without the grid.
static hy_status base_recipe(hy_reader *r, const hy_variant_entry *v, const hy_task_entry *t, hy_train_spec *out) {
    hy_fields_default(hy_train_fields, out);
    const hy_yaml *layer[] = {r->train, t->train, v->train};
    for (int i = 0; i < 3; i++)
        if (layer[i]) HY_TRY(hy_yaml_fields(layer[i], hy_train_fields, out, NULL));
    return HY_OK;
}

static hy_status change_recipe(hy_reader *r, int part, hy_train_spec *out) {
    hy_assignments a = {0};
    add_grid(r, part, HY_TARGET_TRAIN, &a);
    add_sets(r, HY_TARGET_TRAIN, &a);
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

static hy_status resolve_recipe(hy_reader *r, const hy_variant_entry *v, int part, const hy_train_spec *base,
                                resolved_recipe *out) {
    out->spec = *base;
    hy_status s = change_recipe(r, part, &out->spec);
    if (v->untrained) out->spec.steps = 0;
    if (!s && out->spec.steps && (s = hy_train_check(&out->spec))) s = hy_error_context(s, "train");
    if (s) return in_context(r, s, v->at, "variant", v->name, part, HY_TARGET_TRAIN);
    out->origin = out->spec.steps ? HY_ORIGIN_TRAINED : v->weights ? HY_ORIGIN_FILE : HY_ORIGIN_RANDOM;
    hy_buf text = {0};
    if (out->origin != HY_ORIGIN_FILE)
        hy_fields_text(hy_train_fields, &out->spec, 0, &text);
    else
        hy_buf_printf(&text, "none\n");
    if (out->origin == HY_ORIGIN_FILE && out->spec.precision != HY_PRECISION_F32)
        hy_buf_printf(&text, "precision: %s\n", hy_precision_name(out->spec.precision));
    out->text = hy_experiment_own(r->e, text.s);
    return HY_OK;
}

// The recipe of every variant and task at every point: reading the file's part of it is done once for all points.
static hy_status resolve_recipes(expansion *x) {
    hy_reader *r = x->r;
    const int nv = r->n_variants, nt = r->n_tasks;
    hy_train_spec base;
    for (int i = 0; i < nt * nv; i++) {
        const hy_variant_entry *v = &r->variants[i % nv];
        memset(&base, 0, sizeof base);
        const hy_status s = base_recipe(r, v, &r->tasks[i / nv], &base);
        if (s) return in_context(r, s, v->at, "variant", v->name, 0, HY_TARGET_TRAIN);
        for (int part = 0; part < x->n[HY_TARGET_TRAIN]; part++)
            HY_TRY(resolve_recipe(r, v, part, &base, &x->recipes[part * nt * nv + i]));
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- measures
// The measures of the plan that a run takes. Nobody asked for the accuracy of random weights unless it is named.
static void wanted_measures(const hy_reader *r, const hy_run_item *it, bool wanted[HY_MEASURES_MAX]) {
    memset(wanted, 0, HY_MEASURES_MAX * sizeof *wanted);
    for (int i = 0; i < r->e->measures.n; i++) {
        const hy_planned_measure *m = &r->e->measures.v[i];
        if (it->origin == HY_ORIGIN_RANDOM && !m->named && !strcmp(m->measure->name, "accuracy")) continue;
        wanted[i] = hy_measure_plan_wants(m, it->seed) && hy_measure_applies(m->measure, it->spec, &m->options);
    }
}

static hy_item_measure item_measure(hy_reader *r, const hy_planned_measure *m, const hy_run_item *it) {
    hy_item_measure out = {.measure = m->measure, .options = m->options};
    // the recipe's eval_examples holds for the evaluation at the end too, unless the measure says otherwise
    if (!strcmp(m->measure->name, "accuracy") && it->train->eval_examples &&
        !hy_measure_option_int(m->measure, &m->options, "examples")) {
        char n[16];
        snprintf(n, sizeof n, "%d", it->train->eval_examples);
        HY_ASSERT(hy_fields_set(m->measure->fields, &out.options, "examples", n) == HY_OK);
    }
    hy_buf text = {0};
    hy_buf_printf(&text, "%s", "");
    hy_measure_options_text(m->measure, &out.options, &text);
    out.options_text = hy_experiment_own(r->e, text.s);
    hy_measurement_identity(text.s, m->measure->needs & HY_NEEDS_TASK ? it->task_text : "", out.key);
    return out;
}

static const measure_set *measures_of(hy_reader *r, resolved_task *t, const hy_run_item *it) {
    bool wanted[HY_MEASURES_MAX];
    wanted_measures(r, it, wanted);
    for (const measure_set *s = t->sets; s; s = s->next)
        if (!memcmp(s->wanted, wanted, sizeof wanted) && s->eval_examples == it->train->eval_examples) return s;
    measure_set *s = hy_experiment_own(r->e, hy_xcalloc(1, sizeof *s));
    *s = (measure_set){.next = t->sets, .eval_examples = it->train->eval_examples};
    memcpy(s->wanted, wanted, sizeof wanted);
    s->v = hy_experiment_own(r->e, hy_xcalloc(HY_MEASURES_MAX, sizeof *s->v));
    for (int i = 0; i < r->e->measures.n; i++)
        if (wanted[i]) s->v[s->n++] = item_measure(r, &r->e->measures.v[i], it);
    return t->sets = s;
}

// ---------------------------------------------------------------------------------------------------- runs
static hy_status no_vocab(const char *task, int wanted, int have, bool fixed) {
    if (fixed)
        return hy_error(HY_EINPUT, "task %s needs a vocabulary of %d, the model in the file has %d", task, wanted,
                        have);
    return hy_error(HY_EINPUT, "task %s needs a vocabulary of %d, the model has %d: set vocab: %d", task, wanted, have,
                    wanted);
}

// Epochs: how many steps they are is known of a recipe and a task together.
static hy_status fit_recipe(hy_reader *r, const hy_task_entry *t, const resolved_task *rt, hy_run_item *it) {
    hy_task *task = NULL;
    HY_TRY(hy_task_open(t->kind, rt->options, (uint64_t)r->seeds[0], &task));
    hy_train_spec *spec = hy_experiment_own(r->e, hy_xcalloc(1, sizeof *spec));
    *spec = *it->train;
    const hy_status s = hy_train_fit(spec, task);
    hy_task_close(task);
    if (s) return hy_error_context(s, "train");
    hy_buf text = {0};
    hy_fields_text(hy_train_fields, spec, 0, &text);
    it->train = spec;
    it->train_text = hy_experiment_own(r->e, text.s);
    return HY_OK;
}

// The run of one variant, task and grid point but for its seed.
static hy_status make_item(expansion *x, int g, int jt, int iv, hy_run_item *it) {
    hy_reader *r = x->r;
    const grid_point *p = &x->points[g];
    const hy_variant_entry *v = &r->variants[iv];
    const hy_task_entry *t = &r->tasks[jt];
    const resolved_variant *rv = &x->variants[p->part[HY_TARGET_VARIANT] * r->n_variants + iv];
    const resolved_task *rt = &x->tasks[p->part[HY_TARGET_TASK] * r->n_tasks + jt];
    const resolved_recipe *rr = &x->recipes[(p->part[HY_TARGET_TRAIN] * r->n_tasks + jt) * r->n_variants + iv];
    *it = (hy_run_item){.variant = v->name,
                        .task = t->name,
                        .grid = p->label,
                        .variant_ord = iv,
                        .task_ord = jt,
                        .grid_ord = g,
                        .origin = rr->origin,
                        .at = rv->at,
                        .spec = rv->spec,
                        .spec_text = rv->text,
                        .spec_hash = rv->hash,
                        .file = v->weights ? v->file : NULL,
                        .source = rv->source,
                        .task_kind = t->kind,
                        .task_options = rt->options,
                        .task_text = rt->text,
                        .task_tokens = rt->tokens,
                        .train = &rr->spec,
                        .train_text = rr->text};
    if (rv->spec->vocab < rt->vocab)
        return in_context(r, no_vocab(t->name, rt->vocab, rv->spec->vocab, v->weights), v->at, "variant", v->name,
                          p->part[HY_TARGET_VARIANT], HY_TARGET_VARIANT);
    const hy_status reads = hy_model_check_length(rv->spec, rt->longest);
    if (reads)
        return in_context(r, hy_error_context(reads, "task %s", t->name), v->at, "variant", v->name,
                          p->part[HY_TARGET_VARIANT], HY_TARGET_VARIANT);
    if (rr->origin == HY_ORIGIN_TRAINED && rr->spec.stop_accuracy > 0 && !rt->tunes)
        return in_context(r, hy_train_no_tuning(t->name), v->at, "variant", v->name, p->part[HY_TARGET_TRAIN],
                          HY_TARGET_TRAIN);
    if (rr->origin == HY_ORIGIN_TRAINED && rr->spec.epochs) {
        const hy_status s = fit_recipe(r, t, rt, it);
        if (s) return in_context(r, s, v->at, "variant", v->name, p->part[HY_TARGET_TRAIN], HY_TARGET_TRAIN);
    }
    hy_model_identity(it->spec_text, it->task_kind, it->task_text, it->train_text, it->source, it->model_key);
    return HY_OK;
}

static hy_status make_items(expansion *x) {
    hy_reader *r = x->r;
    hy_experiment *e = r->e;
    const int per_seed = r->n_grid * r->n_tasks * r->n_variants;
    e->items = hy_xcalloc((size_t)per_seed * (size_t)r->n_seeds, sizeof *e->items);
    for (int i = 0; i < per_seed; i++) {
        const int g = i / (r->n_tasks * r->n_variants), t = i / r->n_variants % r->n_tasks, v = i % r->n_variants;
        HY_TRY(make_item(x, g, t, v, &e->items[i]));
        for (int s = r->n_seeds - 1; s >= 0; s--) {
            hy_run_item *it = &e->items[s * per_seed + i];
            *it = e->items[i];
            it->seed = r->seeds[s];
            const measure_set *m = measures_of(r, &x->tasks[x->points[g].part[HY_TARGET_TASK] * r->n_tasks + t], it);
            it->n_measures = m->n;
            it->measures = m->v;
        }
    }
    e->n_items = per_seed * r->n_seeds;
    return HY_OK;
}

static hy_status resolve_parts(expansion *x) {
    hy_reader *r = x->r;
    const int nv = r->n_variants, nt = r->n_tasks;
    x->points = hy_experiment_own(r->e, hy_xcalloc((size_t)r->n_grid, sizeof *x->points));
    x->variants =
        hy_experiment_own(r->e, hy_xcalloc((size_t)x->n[HY_TARGET_VARIANT] * (size_t)nv, sizeof *x->variants));
    x->tasks = hy_experiment_own(r->e, hy_xcalloc((size_t)x->n[HY_TARGET_TASK] * (size_t)nt, sizeof *x->tasks));
    x->recipes = hy_experiment_own(
        r->e, hy_xcalloc((size_t)x->n[HY_TARGET_TRAIN] * (size_t)nt * (size_t)nv, sizeof *x->recipes));
    for (int g = 0; g < r->n_grid; g++) x->points[g] = make_point(r, g);
    list_axis_values(x);
    for (int i = 0; i < x->n[HY_TARGET_VARIANT] * nv; i++)
        HY_TRY(resolve_variant(r, &r->variants[i % nv], i / nv, &x->variants[i]));
    for (int i = 0; i < x->n[HY_TARGET_TASK] * nt; i++)
        HY_TRY(resolve_task(r, &r->tasks[i % nt], i / nt, &x->tasks[i]));
    return resolve_recipes(x);
}

hy_status hy_expand(hy_reader *r) {
    hy_experiment *e = r->e;
    const double total = (double)r->n_variants * r->n_tasks * r->n_grid * r->n_seeds;
    if (total > MAX_ITEMS)
        return hy_error(HY_EINPUT, "the experiment has %.0f runs; at most %d are planned at once", total, MAX_ITEMS);
    e->n_variants = r->n_variants;
    e->n_tasks = r->n_tasks;
    e->n_grid = r->n_grid;
    e->n_seeds = r->n_seeds;
    expansion x = {.r = r, .n = {1, 1, 1}};
    for (int i = 0; i < r->n_axes; i++) x.n[r->axes[i].target] *= r->axes[i].n;
    HY_TRY(resolve_parts(&x));
    return make_items(&x);
}
