// measure_plan.c - see measure_plan.h.
#include "analysis/measure/measure_plan.h"

#include <stdlib.h>
#include <string.h>

// Measures that are on unless they are switched off: they cost next to nothing.
static bool on_by_default(const hy_measure *m) {
    return !strcmp(m->name, "accuracy") || !strcmp(m->name, "size") || !strcmp(m->name, "cache");
}

// `seeds` and `only_seed`, which every measure has. They say where it is taken, not what it is.
typedef struct {
    hy_ints seeds;
    int only_seed;
} where;
static const hy_field where_fields[] = {
    {"seeds", HY_F_INTS, offsetof(where, seeds), 0, "[]", 0, 2147483647, NULL,
     "in the runs of these seeds only; empty: in all"},
    {"only_seed", HY_F_INT, offsetof(where, only_seed), 0, "0", 0, 2147483647, NULL, "as seeds: [N]; 0: in all"},
    HY_FIELD_END,
};

static hy_status read_where(const hy_yaml *node, hy_ints *seeds) {
    where w = {0};
    for (const hy_field *f = where_fields; f->name; f++) {
        const hy_yaml *y = hy_yaml_get(node, f->name);
        if (y) HY_TRY(hy_yaml_field(y, f, &w));
    }
    if (w.seeds.n && w.only_seed) return hy_yaml_error(node, "seeds and only_seed: only one of them");
    *seeds = w.seeds;
    if (w.only_seed) *seeds = (hy_ints){.n = 1, .v = {w.only_seed}};
    return HY_OK;
}

static bool same_options(const hy_planned_measure *a, const hy_planned_measure *b) {
    hy_buf x = {0}, y = {0};
    hy_measure_options_text(a->measure, &a->options, &x);
    hy_measure_options_text(b->measure, &b->options, &y);
    const bool same = x.n == y.n && (x.n == 0 || !memcmp(x.s, y.s, x.n));
    free(x.s), free(y.s);
    return same;
}

// One measure; node NULL: with its defaults.
static hy_status add(hy_measure_plan *p, const hy_measure *m, const hy_yaml *node, bool named) {
    if (p->n == HY_MEASURES_MAX) return hy_yaml_error(node, "more than %d measures", HY_MEASURES_MAX);
    hy_planned_measure *one = &p->v[p->n];
    *one = (hy_planned_measure){.measure = m, .named = named};
    HY_TRY(hy_measure_options_read(m, "", &one->options));
    if (node && !hy_yaml_is(node, "true")) {
        HY_TRY(hy_yaml_fields(node, m->fields, &one->options, "seeds|only_seed"));
        if (!hy_yaml_is_null(node)) HY_TRY(read_where(node, &one->seeds));
    }
    for (int i = 0; i < p->n; i++)
        if (p->v[i].measure == m && same_options(&p->v[i], one)) return hy_yaml_error(node, "the same options twice");
    p->n++;
    return HY_OK;
}

static hy_status read_one(const hy_yaml *node, const hy_measure *m, hy_measure_plan *out) {
    if (!node) return on_by_default(m) ? add(out, m, NULL, false) : HY_OK;
    if (hy_yaml_is(node, "false")) return HY_OK;
    if (node->kind != HY_YAML_LIST) return add(out, m, node, true);
    for (int i = 0; i < node->n; i++) HY_TRY(add(out, m, node->child[i], true));
    return HY_OK;
}

hy_status hy_measure_plan_read(const hy_yaml *node, hy_measure_plan *out) {
    out->n = 0;
    if (node && hy_yaml_is_null(node)) node = NULL;
    if (node) {
        static const hy_field none[] = {HY_FIELD_END};
        char *names = hy_measure_names();
        const hy_status s = hy_yaml_fields(node, none, out, names);
        free(names);
        HY_TRY(s);
    }
    for (int i = 0; hy_measures[i]; i++) {
        const hy_measure *m = hy_measures[i];
        const hy_status s = read_one(node ? hy_yaml_get(node, m->name) : NULL, m, out);
        if (s) return hy_error_context(s, "measure %s", m->name);
    }
    return HY_OK;
}

bool hy_measure_plan_wants(const hy_planned_measure *m, int64_t seed) {
    for (int i = 0; i < m->seeds.n; i++)
        if (m->seeds.v[i] == seed) return true;
    return m->seeds.n == 0;
}
