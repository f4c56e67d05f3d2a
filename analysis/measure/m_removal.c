// m_removal.c - measure "removal": how much of a model can be taken out, part after part: least important parts first,
// most important first, and in random orders. Importance is the rise of the loss when a part is taken out alone, on
// reference examples (tuning examples, training ones where there are none), so that the examples which the curves are
// drawn from did not choose the order.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/parts.h"

typedef enum { LEAST = 0, MOST, RANDOM, ORDERS } order;
static const char *const order_names[ORDERS] = {"least", "most", "random"};
#define KEPT 0.95  // of the accuracy, by the parts that suffice

typedef struct {
    int parts, how, examples, groups, reference, points, orders, seed;
    hy_ints cells;
} removal_options;
static const hy_field removal_fields[] = {
    {"parts", HY_F_ENUM, offsetof(removal_options, parts), 0, "heads", 0, 0, HY_PARTS_CHOICES,
     "taken out one after another: single attention heads; groups of SSM channels, or single Mamba-2 heads; layers; "
     "MLPs; convolutions; all attention or SSM heads of a layer (branches)"},
    HY_FIELD_HOW(removal_options),
    {"examples", HY_F_INT, offsetof(removal_options, examples), 0, "64", 2, 1e6, NULL,
     "evaluation examples of each cell at most"},
    {"reference", HY_F_INT, offsetof(removal_options, reference), 0, "64", 1, 1e6, NULL,
     "reference examples of each cell, for the importance of parts and for means"},
    {"points", HY_F_INT, offsetof(removal_options, points), 0, "8", 1, 1000, NULL,
     "points of a curve beside the whole model, evenly over the parts; the last has none of them left"},
    {"orders", HY_F_INT, offsetof(removal_options, orders), 0, "5", 0, 1000, NULL, "random orders"},
    HY_FIELD_CELLS(removal_options),
    HY_FIELD_GROUPS(removal_options),
    {"seed", HY_F_INT, offsetof(removal_options, seed), 0, "0", 0, 1e9, NULL, "of the random orders", true},
    HY_FIELD_END,
};

static hy_status removal_check(const hy_measure_subject *s, const void *options) {
    const removal_options *o = options;
    return hy_parts_check(s, &o->cells, o->parts, o->groups, o->how);
}

static bool removal_applies(const hy_model_spec *spec, const void *options) {
    const removal_options *o = options;
    return hy_parts_any(spec, o->parts, o->groups);
}

// ---------------------------------------------------------------------------------------------------- orders
// The units by the rise of the loss without each, the smallest first; ties in their order.
static hy_status by_importance(const hy_ablation *a, const hy_units *u, int *out) {
    const size_t n = (size_t)u->n;
    hy_ablation on_reference = *a;
    hy_ablation_scores s;
    bool *alone = hy_xcalloc(n * n, sizeof *alone);
    double *rise = hy_xcalloc(n, sizeof *rise);
    on_reference.on_reference = true;
    for (size_t i = 0; i < n; i++) alone[i * n + i] = true;
    const hy_status st = hy_ablate(&on_reference, u, u->n, alone, &s);
    for (size_t i = 0; i < n && !st; i++) {
        rise[i] = hy_paired(s.loss + (i + 1) * (size_t)s.n, s.loss, s.n, 1).mean;
        size_t k = i;
        for (; k > 0 && rise[i] < rise[out[k - 1]]; k--) out[k] = out[k - 1];
        out[k] = (int)i;
    }
    if (!st) hy_ablation_scores_free(&s);
    free(alone), free(rise);
    return st;
}

static void at_random(int n, hy_rng *rng, int *out) {
    for (int i = 0; i < n; i++) {
        const int k = (int)hy_rng_below(rng, (uint64_t)i + 1);
        out[i] = out[k];
        out[k] = i;
    }
}

// How many parts are out at point j of P.
static int removed_at(const hy_units *u, int j, int P) { return (int)(((int64_t)j * u->n + P / 2) / P); }

// The sets of a curve, at its points 1 .. P.
static void add_curve(const hy_units *u, const int *of, bool backwards, int P, bool *chosen) {
    for (int j = 1; j <= P; j++)
        for (int i = 0; i < removed_at(u, j, P); i++)
            chosen[(size_t)(j - 1) * (size_t)u->n + (size_t)of[backwards ? u->n - 1 - i : i]] = true;
}

// ---------------------------------------------------------------------------------------------------- facts
static hy_fact *fact(const hy_measure_context *c, hy_facts *f, const char *metric, order o, int removed, double share,
                     hy_estimate e, int n) {
    char cell[32];
    snprintf(cell, sizeof cell, "%s.%d", order_names[o], removed);
    hy_fact *m = hy_facts_add(f, metric, cell, e.mean);
    m->se = e.se;
    m->n = n;
    m->step = c->step;
    m->x = removed;
    m->y = share;
    hy_fact_at(m, -1, order_names[o], -1);
    return m;
}

// A point: of the curves by importance over examples; of random ones over the orders. Returns its accuracy.
static double point_facts(const hy_measure_context *c, hy_facts *f, const hy_ablation_scores *s, order o, int removed,
                          double share, const int *sets, int n) {
    double *loss = hy_xcalloc(2 * (size_t)n, sizeof *loss), *right = loss + n;
    hy_estimate a[2];
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)sets[i] * (size_t)s->n;
        a[0] = hy_paired(s->loss + at, NULL, s->n, 1), a[1] = hy_paired(s->accuracy + at, NULL, s->n, 1);
        loss[i] = a[0].mean, right[i] = a[1].mean;
    }
    if (o == RANDOM) a[0] = hy_paired(loss, NULL, n, 1), a[1] = hy_paired(right, NULL, n, 1);
    fact(c, f, "loss_left", o, removed, share, a[0], o == RANDOM ? n : s->n);
    fact(c, f, "accuracy_left", o, removed, share, a[1], o == RANDOM ? n : s->n);
    free(loss);
    return a[1].mean;
}

// The curves one after another: LEAST, MOST, then the random ones; set 0 is the whole model, set 1 + curve * P + j - 1
// is point j of a curve.
static void curve_facts(const hy_measure_context *c, hy_facts *f, const hy_units *u, const hy_ablation_scores *s, int P,
                        int orders) {
    int *sets = hy_xcalloc((size_t)orders + 1, sizeof *sets);
    for (int o = 0; o < ORDERS; o++) {
        const int n = o == RANDOM ? orders : 1;
        if (!n) continue;
        for (int i = 0; i < n; i++) sets[i] = 0;
        const double whole = point_facts(c, f, s, (order)o, 0, 0, sets, n);
        double suffices = 1;
        bool enough = whole > 0;
        for (int j = 1; j <= P; j++) {
            for (int i = 0; i < n; i++) sets[i] = 1 + (o + i) * P + j - 1;
            const int removed = removed_at(u, j, P);
            const double share = (double)removed / u->n;
            enough = point_facts(c, f, s, (order)o, removed, share, sets, n) >= KEPT * whole && enough;
            if (enough) suffices = 1 - share;
        }
        if (whole <= 0) continue;
        hy_fact *m = hy_facts_add(f, "parts_sufficient", order_names[o], suffices);
        m->step = c->step;
        hy_fact_at(m, -1, order_names[o], -1);
    }
    free(sets);
}

static hy_status curves(const hy_measure_context *c, const hy_ablation *a, const hy_units *u, const removal_options *o,
                        hy_facts *facts) {
    const int P = o->points < u->n ? o->points : u->n, n = 2 + o->orders;
    const size_t curve = (size_t)P * (size_t)u->n;
    int *of = hy_xcalloc((size_t)u->n, sizeof *of);
    bool *chosen = hy_xcalloc((size_t)n * curve, sizeof *chosen);
    hy_rng rng = hy_rng_make((uint64_t)o->seed, 0);
    hy_ablation_scores s = {0};
    hy_status st = by_importance(a, u, of);
    for (int i = 0; i < n && !st; i++) {
        if (i >= RANDOM) at_random(u->n, &rng, of);
        add_curve(u, of, i == MOST, P, chosen + (size_t)i * curve);
    }
    if (!st) st = hy_ablate(a, u, n * P, chosen, &s);
    if (!st) curve_facts(c, facts, u, &s, P, o->orders);
    free(of), free(chosen);
    hy_ablation_scores_free(&s);
    return st;
}

static hy_status removal_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const removal_options *o = options;
    const hy_ablation a = hy_parts_ablation(c, &o->cells, o->examples, o->how, o->reference);
    hy_units u;
    HY_TRY(hy_parts_units(c->prog, o->parts, o->groups, &u));
    const hy_status s = curves(c, &a, &u, o, facts);
    hy_units_free(&u);
    return s;
}

const hy_measure hy_measure_removal = {
    .name = "removal",
    .version = 1,
    .doc = "what is left as parts are taken out one after another: least important first, most important first, at "
           "random",
    .fields = removal_fields,
    .options_size = sizeof(removal_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = removal_check,
    .applies = removal_applies,
    .run = removal_run,
};
