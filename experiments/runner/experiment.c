// experiment.c - see experiment.h: reads and checks the file. The cross product is experiment_expand.c.
#include "experiments/runner/experiment.h"

#include <stdlib.h>
#include <string.h>

#include "core/family/model_file.h"
#include "core/format/yaml_text.h"
#include "experiments/runner/experiment_impl.h"
#include "results/schema.h"

enum { MAX_FILE = 4 << 20 };

bool hy_target_of(const char *path, hy_target *target, const char **rest) {
    static const char *const names[] = {"variant.", "task.", "train."};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(path, names[i], n) || !path[n]) continue;
        *target = (hy_target)i;
        *rest = path + n;
        return true;
    }
    return false;
}

// ---------------------------------------------------------------------------------------------------- small readers
static hy_status check_keys(const hy_yaml *map, const char *what, const char *known) {
    if (map->kind != HY_YAML_MAP) return hy_yaml_error(map, "%s must be keys and values (key: value)", what);
    static const hy_field none[] = {HY_FIELD_END};
    return hy_yaml_fields(map, none, NULL, known);
}

static hy_status need_list(const hy_yaml *root, const char *key, const hy_yaml **out) {
    *out = hy_yaml_get(root, key);
    if (!*out) return hy_yaml_error(root, "the experiment has no \"%s:\"", key);
    if ((*out)->kind != HY_YAML_LIST || (*out)->n == 0)
        return hy_yaml_error(*out, "%s must be a list with at least one entry", key);
    return HY_OK;
}

static hy_status need_text(const hy_yaml *map, const char *what, const char *key, const char **out) {
    const hy_yaml *y = hy_yaml_get(map, key);
    if (!y) return hy_yaml_error(map, "%s needs \"%s:\"", what, key);
    if (y->kind != HY_YAML_SCALAR || !y->text[0]) return hy_yaml_error(y, "%s must be a text", key);
    *out = y->text;
    return HY_OK;
}

static char *own_text(const hy_yaml *y) { return hy_xstrdup(y && y->kind == HY_YAML_SCALAR ? y->text : ""); }

// ---------------------------------------------------------------------------------------------------- variants
typedef struct {
    hy_experiment *e;
    hy_assignments *to;
} leaf_target;
static void add_leaf(void *user, const char *assignment, const hy_yaml *at) {
    (void)at;
    const leaf_target *t = user;
    hy_assignments_add(t->e, t->to, assignment);
}

static hy_status read_paper(hy_experiment *e, const char *variant, const hy_yaml *map) {
    if (!map) return HY_OK;
    if (map->kind != HY_YAML_MAP) return hy_yaml_error(map, "paper must be keys and values: {recall: 39.98}");
    for (int i = 0; i < map->n; i++) {
        char *end = NULL;
        const hy_yaml *v = map->child[i];
        double x = v->kind == HY_YAML_SCALAR ? strtod(v->text, &end) : 0;
        if (!end || end == v->text || *end) return hy_yaml_error(v, "paper.%s must be a number", map->key[i]);
        e->paper = hy_xrealloc(e->paper, (size_t)(e->n_paper + 1) * sizeof *e->paper);
        e->paper[e->n_paper++] = (hy_paper_value){variant, hy_experiment_own(e, hy_xstrdup(map->key[i])), x};
    }
    return HY_OK;
}

// The file of a variant, and whether it holds weights.
static hy_status read_file(hy_reader *r, const hy_yaml *y, hy_variant_entry *v) {
    const hy_yaml *file = hy_yaml_get(y, "file");
    HY_TRY(need_text(y, "a variant", "file", &v->file));
    v->file = hy_experiment_own(r->e, hy_path_beside(file->file, v->file));
    if (!hy_file_exists(v->file)) return hy_yaml_error(file, "variant %s: there is no file %s", v->name, v->file);
    v->weights = hy_model_file_kind_of(v->file) != HY_MODEL_YAML;
    if (!v->weights) return HY_OK;
    const hy_status s = hy_model_source_hash(v->file, v->source);
    return s ? hy_error_context(s, "%s:%d:%d: variant %s", file->file, file->line, file->column, v->name) : HY_OK;
}

static hy_status read_variant(hy_reader *r, const hy_yaml *y, hy_variant_entry *v) {
    const hy_yaml *common = hy_yaml_get(r->root, "variant"), *set;
    HY_TRY(check_keys(y, "a variant", "name|file|spec|set|train|paper"));
    v->at = y;
    HY_TRY(need_text(y, "a variant", "name", &v->name));
    v->inline_spec = hy_yaml_get(y, "spec");
    if (!hy_yaml_get(y, "file") == !v->inline_spec)
        return hy_yaml_error(y, "variant %s needs either file: or spec:", v->name);
    if (!v->inline_spec) HY_TRY(read_file(r, y, v));
    leaf_target t = {r->e, &v->sets};
    if (common && !v->weights) {
        if (common->kind != HY_YAML_MAP) return hy_yaml_error(common, "variant must be keys and values");
        hy_yaml_leaves(common, "", add_leaf, &t);
    }
    if ((set = hy_yaml_get(y, "set"))) {
        if (set->kind != HY_YAML_MAP)
            return hy_yaml_error(set, "set must be keys and values: {d_model: 64, ssm.d_state: 8}");
        hy_yaml_leaves(set, "", add_leaf, &t);
    }
    v->train = hy_yaml_get(y, "train");
    if (v->train && hy_yaml_is(v->train, "none")) {
        if (!v->weights)
            return hy_yaml_error(v->train,
                                 "train: none is for checkpoints and folders; %s has no weights (train: {steps: 0}"
                                 " measures random ones)",
                                 v->name);
        v->untrained = true;
        v->train = NULL;
    }
    return read_paper(r->e, v->name, hy_yaml_get(y, "paper"));
}

static hy_status read_variants(hy_reader *r) {
    const hy_yaml *list;
    HY_TRY(need_list(r->root, "variants", &list));
    r->variants = hy_xcalloc((size_t)list->n, sizeof *r->variants);
    for (int i = 0; i < list->n; i++) {
        r->n_variants++;
        HY_TRY(read_variant(r, list->child[i], &r->variants[i]));
        for (int j = 0; j < i; j++)
            if (!strcmp(r->variants[i].name, r->variants[j].name))
                return hy_yaml_error(list->child[i], "two variants are called \"%s\"", r->variants[i].name);
    }
    return HY_OK;
}

// -------------------------------------------------------------------------------------------------- tasks, grid, seeds
static hy_status read_tasks(hy_reader *r) {
    const hy_yaml *list;
    HY_TRY(need_list(r->root, "tasks", &list));
    r->tasks = hy_xcalloc((size_t)list->n, sizeof *r->tasks);
    for (int i = 0; i < list->n; i++) {
        const hy_yaml *y = list->child[i];
        hy_task_entry *t = &r->tasks[r->n_tasks++];
        HY_TRY(check_keys(y, "a task", "name|kind|options|train"));
        HY_TRY(need_text(y, "a task", "kind", &t->kind));
        t->name = t->kind;
        if (hy_yaml_get(y, "name")) HY_TRY(need_text(y, "a task", "name", &t->name));
        if (!hy_task_fields(t->kind)) {
            char *hint = hy_suggest(t->kind, hy_task_kinds());
            hy_status s = hy_yaml_error(hy_yaml_get(y, "kind"), "no task kind \"%s\"%s; known: %s", t->kind, hint,
                                        hy_task_kinds());
            free(hint);
            return s;
        }
        t->at = y;
        t->options = hy_yaml_get(y, "options");
        t->train = hy_yaml_get(y, "train");
        if (t->options && t->options->kind != HY_YAML_MAP && !hy_yaml_is_null(t->options))
            return hy_yaml_error(t->options, "options must be keys and values");
        for (int j = 0; j < i; j++)
            if (!strcmp(t->name, r->tasks[j].name))
                return hy_yaml_error(y, "two tasks are called \"%s\": give them a name:", t->name);
    }
    return HY_OK;
}

static hy_status read_axis(hy_reader *r, const hy_yaml *grid, int i, hy_axis *a) {
    const hy_yaml *values = grid->child[i];
    a->at = values;
    if (!hy_target_of(grid->key[i], &a->target, &a->path))
        return hy_yaml_error_key(grid, i, "a grid path starts with train., task. or variant., not \"%s\"",
                                 grid->key[i]);
    if (values->kind != HY_YAML_LIST || values->n == 0)
        return hy_yaml_error(values, "grid values must be a list: [1e-3, 3e-3]");
    const char *dot = strrchr(a->path, '.');
    a->label = dot ? dot + 1 : a->path;
    for (int j = 0; j < grid->n; j++) {
        const char *other = strrchr(grid->key[j], '.');
        if (j != i && other && !strcmp(other + 1, a->label)) a->label = grid->key[i];
    }
    a->n = values->n;
    a->value = hy_experiment_own(r->e, hy_xcalloc((size_t)a->n, sizeof *a->value));
    for (int k = 0; k < a->n; k++) {
        hy_buf b = {0};
        hy_yaml_flow(values->child[k], &b);
        a->value[k] = hy_experiment_own(r->e, b.s);
    }
    for (int k = 0; k < r->set[a->target].n; k++)
        if (!strncmp(r->set[a->target].v[k], a->path, strlen(a->path)) &&
            r->set[a->target].v[k][strlen(a->path)] == '=')
            return hy_yaml_error(values,
                                 "--set gives %s one value, but the grid varies it: set grid.%s instead, or drop one",
                                 grid->key[i], grid->key[i]);
    return HY_OK;
}

static hy_status read_grid(hy_reader *r) {
    const hy_yaml *grid = hy_yaml_get(r->root, "grid");
    r->n_grid = 1;
    if (!grid || hy_yaml_is_null(grid)) return HY_OK;
    if (grid->kind != HY_YAML_MAP) return hy_yaml_error(grid, "grid must be paths and lists: {train.lr: [1e-3, 3e-3]}");
    r->axes = hy_xcalloc((size_t)grid->n, sizeof *r->axes);
    for (int i = 0; i < grid->n; i++) {
        r->n_axes++;
        HY_TRY(read_axis(r, grid, i, &r->axes[i]));
        if (r->n_grid > 100000 / r->axes[i].n) return hy_yaml_error(grid, "the grid has more than 100000 points");
        r->n_grid *= r->axes[i].n;
    }
    return HY_OK;
}

static hy_status read_base(hy_reader *r) {
    const hy_yaml *y = hy_yaml_get(r->root, "base");
    const char *name = "";
    if (y && !hy_yaml_is_null(y)) HY_TRY(need_text(r->root, "the experiment", "base", &name));
    bool known = !*name;
    for (int i = 0; i < r->n_variants; i++) known |= !strcmp(r->variants[i].name, name);
    if (!known) return hy_yaml_error(y, "base: there is no variant \"%s\"", name);
    r->e->base = hy_xstrdup(name);
    return HY_OK;
}

// How the point of the grid that stands for a variant is chosen. Whether the cell exists is known when results are
// there.
static hy_status read_tune(hy_reader *r) {
    const hy_yaml *y = hy_yaml_get(r->root, "tune"), *cell;
    const char *by = "";
    r->e->tune_cell = hy_xstrdup("");
    if (y && !hy_yaml_is_null(y)) {
        HY_TRY(check_keys(y, "tune", "by|cell"));
        HY_TRY(need_text(y, "tune", "by", &by));
        const hy_metric_def *d = hy_metric_find(by);
        if (!d || !strcmp(d->direction, "none"))
            return hy_yaml_error(hy_yaml_get(y, "by"),
                                 "tune.by: %s; accuracy and loss are usual (hylab show metrics lists all)",
                                 d ? "no value of this metric is better than another" : "there is no such metric");
        if (r->n_axes == 0)
            return hy_yaml_error(y, "tune chooses among grid points, but there is no grid: {train.lr: [1e-3, 3e-3]}");
        if ((cell = hy_yaml_get(y, "cell"))) {
            free(r->e->tune_cell);
            r->e->tune_cell = own_text(cell);
        }
    }
    r->e->tune_by = hy_xstrdup(by);
    return HY_OK;
}

static hy_status read_seeds(hy_reader *r) {
    const hy_yaml *y = hy_yaml_get(r->root, "seeds");
    struct {
        hy_ints list;
    } s = {.list = {.n = 1, .v = {1}}};
    static const hy_field field[] = {{"seeds", HY_F_INTS, 0, 0, "[1]", 0, 2147483647, NULL, "seeds of the runs"},
                                     HY_FIELD_END};
    if (y) HY_TRY(hy_yaml_field(y, field, &s));
    if (y && s.list.n == 0) return hy_yaml_error(y, "seeds must name at least one seed");
    r->seeds = hy_xcalloc((size_t)s.list.n, sizeof *r->seeds);
    for (int i = 0; i < s.list.n; i++) {
        r->seeds[r->n_seeds++] = s.list.v[i];
        for (int j = 0; j < i; j++)
            if (s.list.v[j] == s.list.v[i]) return hy_yaml_error(y, "seed %d is named twice", s.list.v[i]);
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- the file
// Merges the chosen scale over the file.
static hy_status choose_scale(hy_reader *r, const char *scale) {
    const hy_yaml *all = hy_yaml_get(r->root, "scales");
    if (!all) {
        if (scale) return hy_yaml_error(r->root, "--scale %s: this experiment has no scales", scale);
        r->e->scale = hy_xstrdup("");
        return HY_OK;
    }
    if (all->kind != HY_YAML_MAP) return hy_yaml_error(all, "scales must be keys and values");
    const char *name = scale ? scale : "small";
    const hy_yaml *over = hy_yaml_get(all, name);
    if (!over) {
        hy_buf b = {0};
        for (int i = 0; i < all->n; i++) hy_buf_printf(&b, "%s%s", i ? ", " : "", all->key[i]);
        hy_status s = hy_yaml_error(all, "no scale \"%s\"%s; there are: %s", name, scale ? "" : " (the default)",
                                    b.s ? b.s : "none");
        free(b.s);
        return s;
    }
    r->e->scale = hy_xstrdup(name);
    if (hy_yaml_is_null(over)) return HY_OK;
    HY_TRY(check_keys(over, "a scale", "question|base|variants|variant|tasks|grid|tune|seeds|train|measures"));
    hy_yaml *merged = hy_yaml_merge(r->root, over);
    hy_yaml_free(r->root);
    r->root = merged;
    return HY_OK;
}

static hy_status apply_sets(hy_reader *r, const char *const *sets) {
    hy_buf text = {0};
    hy_status s = HY_OK;
    for (int i = 0; !s && sets && sets[i]; i++) {
        hy_target t;
        const char *rest;
        hy_buf_printf(&text, "%s%s", i ? "\n" : "", sets[i]);
        if (!strchr(sets[i], '='))
            s = hy_error(HY_EINPUT, "--set %s: write it as key.path=value", sets[i]);
        else if (hy_target_of(sets[i], &t, &rest))
            hy_assignments_add(r->e, &r->set[t], rest);
        else if (!strncmp(sets[i], "name=", 5))
            s = hy_error(HY_EINPUT, "--set %s: the name is the identity of an experiment", sets[i]);
        else
            s = hy_yaml_set(r->root, sets[i]);
    }
    r->e->sets = text.s ? text.s : hy_xstrdup("");
    return s;
}

// A measure that asks for a seed which no run has would be taken of nothing, and nobody would know.
static hy_status check_measured_seeds(const hy_reader *r) {
    for (int i = 0; i < r->e->measures.n; i++) {
        const hy_planned_measure *m = &r->e->measures.v[i];
        for (int k = 0; k < m->seeds.n; k++) {
            bool known = false;
            hy_buf all = {0};
            for (int j = 0; j < r->n_seeds; j++) {
                known = known || r->seeds[j] == m->seeds.v[k];
                hy_buf_printf(&all, "%s%lld", j ? ", " : "", (long long)r->seeds[j]);
            }
            const hy_status s =
                known
                    ? HY_OK
                    : hy_yaml_error(hy_yaml_get(r->root, "measures"),
                                    "measure %s is wanted of seed %d, which the experiment does not have (seeds: %s): "
                                    "name it there, or other seeds in the measure",
                                    m->measure->name, m->seeds.v[k], all.s);
            free(all.s);
            HY_TRY(s);
        }
    }
    return HY_OK;
}

static hy_status read_all(hy_reader *r, const char *scale, const char *const *sets) {
    static const char keys[] = "name|question|base|variants|variant|tasks|grid|tune|seeds|train|measures|scales";
    const char *name;
    HY_TRY(check_keys(r->root, "an experiment", keys));
    HY_TRY(choose_scale(r, scale));
    HY_TRY(apply_sets(r, sets));
    HY_TRY(check_keys(r->root, "an experiment", keys));
    HY_TRY(need_text(r->root, "the experiment", "name", &name));
    r->e->name = hy_xstrdup(name);
    r->e->question = own_text(hy_yaml_get(r->root, "question"));
    r->train = hy_yaml_get(r->root, "train");
    HY_TRY(hy_measure_plan_read(hy_yaml_get(r->root, "measures"), &r->e->measures));
    HY_TRY(read_variants(r));
    HY_TRY(read_base(r));
    HY_TRY(read_tasks(r));
    HY_TRY(read_grid(r));
    HY_TRY(read_tune(r));
    HY_TRY(read_seeds(r));
    HY_TRY(check_measured_seeds(r));
    return hy_expand(r);
}

hy_status hy_experiment_load(const char *path, const char *scale, const char *const *sets, hy_experiment **out) {
    *out = NULL;
    hy_reader r = {.e = hy_xcalloc(1, sizeof(hy_experiment))};
    size_t n;
    hy_status s = hy_file_read(path, MAX_FILE, &r.e->yaml, &n);
    if (!s) s = hy_yaml_parse(path, r.e->yaml, n, &r.root);
    if (!s) s = read_all(&r, scale, sets);
    for (int i = 0; i < r.n_variants; i++) free(r.variants[i].sets.v);
    for (int i = 0; i < 3; i++) free(r.set[i].v);
    free(r.variants);
    free(r.tasks);
    free(r.axes);
    free(r.seeds);
    r.e->root = r.root;
    if (s)
        hy_experiment_free(r.e);
    else
        *out = r.e;
    return s;
}

void hy_experiment_free(hy_experiment *e) {
    if (!e) return;
    for (hy_arena_list *l = e->owned, *next; l; l = next) {
        next = l->next;
        free(l->p);
        free(l);
    }
    hy_yaml_free(e->root);
    free(e->items);
    free(e->paper);
    free(e->name);
    free(e->question);
    free(e->scale);
    free(e->sets);
    free(e->yaml);
    free(e->base);
    free(e->tune_by);
    free(e->tune_cell);
    free(e);
}

void hy_experiment_help(hy_buf *out) {
    static const char *const keys[][2] = {
        {"name", "what results are stored and reported under"},
        {"question", "what the experiment is to answer, for the report"},
        {"variants", "list of {name, file or spec, set, train, paper}: a file (relative to this one) or an inline "
                     "spec; set: changes"},
        {"", "to it ({d_model: 64, ssm.d_state: 8}); train: its own recipe; paper: {name: figure} to print beside. The "
             "file may be a"},
        {"", "checkpoint (.safetensors) or a released folder: trained further, or measured as it is with train: none"},
        {"",
         "Names \"family: member\" (Mamba: 8 states, Mamba: 16 states) are joined by a line where figures have points"},
        {"variant", "changes to every variant without weights of its own, before its own set:"},
        {"base", "the variant whose throughput the others are shown as multiples of"},
        {"tasks", "list of {name, kind, options, train}"},
        {"grid",
         "paths that start with train., task. or variant., each with a list of values: {train.lr: [1e-3, 3e-3]}"},
        {"tune", "{by: loss} or {by: accuracy, cell: NAME}: of the grid, the point with the best mean of that metric "
                 "over the seeds stands"},
        {"", "for a variant; held-out figures are printed beside: for each seed, the point that is best over the other "
             "seeds"},
        {"seeds", "list of seeds; each gives weights, data and order of their own"},
        {"train", "training recipe (show fields train)"},
        {"measures",
         "what is measured of each model (show fields measures); accuracy, size and cache unless they are false"},
        {"scales", "named changes to all of the above, chosen with --scale; \"small\" unless told"},
    };
    hy_buf_printf(out, "Experiment\n");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        hy_buf_printf(out, "  %-10s %s\n", keys[i][0], keys[i][1]);
}
