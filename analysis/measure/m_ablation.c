// m_ablation.c - measure "ablation": what a model loses when parts of it are taken out (Hymba, Fig. 3 and 13): as
// paired differences over the same examples. Each part of a kind in turn; or a set of parts named by patterns, beside
// sets of as many parts drawn at random, because most removals hurt a little.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/parts.h"

static const char *const kind_names[HY_UNIT_KINDS] = {"attention", "ssm", "attention", "ssm",
                                                      "layer",     "mlp", "conv",      "meta"};

typedef struct {
    int parts, how, examples, groups, reference, controls, seed;
    hy_ints cells;
    char remove[512];
} ablation_options;
static const hy_field ablation_fields[] = {
    {"parts", HY_F_ENUM, offsetof(ablation_options, parts), 0, "branches", 0, 0, HY_PARTS_CHOICES,
     "taken out one at a time: all attention or SSM heads of a layer; single attention heads; groups of SSM channels, "
     "or single Mamba-2 heads; layers; MLPs; convolutions; embeddings of meta tokens"},
    HY_FIELD_HOW(ablation_options),
    {"examples", HY_F_INT, offsetof(ablation_options, examples), 0, "64", 2, 1e6, NULL,
     "evaluation examples of each cell at most"},
    HY_FIELD_CELLS(ablation_options),
    HY_FIELD_GROUPS(ablation_options),
    {"reference", HY_F_INT, offsetof(ablation_options, reference), 0, "64", 1, 1e6, NULL,
     "examples of each cell that a mean is taken over", true},
    {"remove", HY_F_STRING, offsetof(ablation_options, remove), sizeof(((ablation_options *)0)->remove), "", 0, 0, NULL,
     "instead take out, all together, the parts that fit a pattern: \"layer*.head0, layer3.head*\"", true},
    {"controls", HY_F_INT, offsetof(ablation_options, controls), 0, "20", 0, 10000, NULL,
     "with remove: so many random sets of as many parts of each kind beside", true},
    {"seed", HY_F_INT, offsetof(ablation_options, seed), 0, "0", 0, 1e9, NULL, "of the random sets", true},
    HY_FIELD_END,
};

static hy_status ablation_check(const hy_measure_subject *s, const void *options) {
    const ablation_options *o = options;
    return hy_parts_check(s, &o->cells, o->parts, o->groups, o->how);
}

// Models that lack what `remove` names are passed over like those without such parts.
static bool ablation_applies(const hy_model_spec *spec, const void *options) {
    const ablation_options *o = options;
    hy_program *p;
    hy_units u;
    if (hy_parts_of(spec, o->parts, o->groups, &p, &u)) return true;  // its check says what is wrong
    bool *chosen = hy_xcalloc((size_t)u.n + 1, sizeof *chosen);
    const bool any = u.n > 0 && (!o->remove[0] || !hy_units_match(&u, o->remove, chosen));
    free(chosen);
    hy_units_free(&u);
    hy_program_free(p);
    return any;
}

// ---------------------------------------------------------------------------------------------------- facts
// Layer, kind of heads and number of what was taken out; NULL: of several parts.
static void fact(const hy_measure_context *c, hy_facts *f, const char *metric, const char *cell, const hy_unit *u,
                 hy_estimate e, int n) {
    hy_fact *m = hy_facts_add(f, metric, cell, e.mean);
    m->se = e.se;
    m->n = n;
    m->step = c->step;
    if (!u) return;
    if (u->layer >= 0) m->x = u->layer;
    hy_fact_at(m, u->layer, kind_names[u->kind], u->index);
}

// What set number `set` loses against set 0, and what is left to it.
static void set_facts(const hy_measure_context *c, hy_facts *f, const char *cell, const hy_unit *u,
                      const hy_ablation_scores *s, int set) {
    const double *loss = s->loss + (size_t)set * (size_t)s->n, *right = s->accuracy + (size_t)set * (size_t)s->n;
    if (set) {
        fact(c, f, "loss_rise", cell, u, hy_paired(loss, s->loss, s->n, 1), s->n);
        fact(c, f, "accuracy_drop", cell, u, hy_paired(right, s->accuracy, s->n, -1), s->n);
    }
    fact(c, f, "loss_without", cell, u, hy_paired(loss, NULL, s->n, 1), s->n);
    fact(c, f, "accuracy_without", cell, u, hy_paired(right, NULL, s->n, 1), s->n);
}

// ---------------------------------------------------------------------------------------------------- parts in turn
static hy_status in_turn(const hy_measure_context *c, const hy_ablation *a, const hy_units *u, hy_facts *facts) {
    bool *chosen = hy_xcalloc((size_t)u->n * (size_t)u->n + 1, sizeof *chosen);
    hy_ablation_scores s;
    for (int i = 0; i < u->n; i++) chosen[(size_t)i * (size_t)u->n + (size_t)i] = true;
    const hy_status st = hy_ablate(a, u, u->n, chosen, &s);
    free(chosen);
    HY_TRY(st);
    set_facts(c, facts, "intact", NULL, &s, 0);
    for (int i = 0; i < u->n; i++) set_facts(c, facts, u->v[i].name, &u->v[i], &s, i + 1);
    hy_ablation_scores_free(&s);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- a set of parts
// As many units of each kind as `like` has, drawn at random without putting back.
static void draw(const hy_units *u, const bool *like, hy_rng *rng, bool *out) {
    int *of_kind = hy_xcalloc((size_t)u->n, sizeof *of_kind);
    for (int kind = 0; kind < HY_UNIT_KINDS; kind++) {
        int n = 0, want = 0;
        for (int i = 0; i < u->n; i++) {
            if ((int)u->v[i].kind != kind) continue;
            of_kind[n++] = i;
            want += like[i];
        }
        for (int k = 0; k < want; k++) {
            const int j = k + (int)hy_rng_below(rng, (uint64_t)(n - k)), x = of_kind[j];
            of_kind[j] = of_kind[k];
            of_kind[k] = x;
            out[x] = true;
        }
    }
    free(of_kind);
}

// Mean over the random sets of what they lose, with the standard error over sets, and the share of them that lose at
// least as much as the set that was named.
static void control_facts(const hy_measure_context *c, hy_facts *f, const hy_ablation_scores *s) {
    const int n = s->sets - 2;
    double *rise = hy_xcalloc(2 * (size_t)n + 1, sizeof *rise), *drop = rise + n;
    const double named = hy_paired(s->loss + s->n, s->loss, s->n, 1).mean;
    int as_much = 0;
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)(i + 2) * (size_t)s->n;
        rise[i] = hy_paired(s->loss + at, s->loss, s->n, 1).mean;
        drop[i] = hy_paired(s->accuracy + at, s->accuracy, s->n, -1).mean;
        as_much += rise[i] >= named;
    }
    fact(c, f, "loss_rise", "random", NULL, hy_paired(rise, NULL, n, 1), n);
    fact(c, f, "accuracy_drop", "random", NULL, hy_paired(drop, NULL, n, 1), n);
    fact(c, f, "random_as_much", "", NULL, (hy_estimate){(double)as_much / n, NAN}, n);
    free(rise);
}

static hy_status a_set(const hy_measure_context *c, const hy_ablation *a, const hy_units *u, const ablation_options *o,
                       hy_facts *facts) {
    const int sets = 1 + o->controls;
    bool *chosen = hy_xcalloc((size_t)sets * (size_t)u->n + 1, sizeof *chosen);
    hy_rng rng = hy_rng_make((uint64_t)o->seed, 0);
    hy_ablation_scores s = {0};
    hy_status st = hy_units_match(u, o->remove, chosen);
    for (int i = 1; i < sets && !st; i++) draw(u, chosen, &rng, chosen + (size_t)i * (size_t)u->n);
    if (!st) st = hy_ablate(a, u, sets, chosen, &s);
    free(chosen);
    HY_TRY(st);
    set_facts(c, facts, "intact", NULL, &s, 0);
    set_facts(c, facts, "removed", NULL, &s, 1);
    if (o->controls) control_facts(c, facts, &s);
    hy_ablation_scores_free(&s);
    return HY_OK;
}

static hy_status ablation_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const ablation_options *o = options;
    const hy_ablation a = hy_parts_ablation(c, &o->cells, o->examples, o->how, o->reference);
    hy_units u;
    HY_TRY(hy_parts_units(c->prog, o->parts, o->groups, &u));
    const hy_status s = o->remove[0] ? a_set(c, &a, &u, o, facts) : in_turn(c, &a, &u, facts);
    hy_units_free(&u);
    return s;
}

const hy_measure hy_measure_ablation = {
    .name = "ablation",
    .version = 1,
    .doc = "what is lost without heads, branches, layers, MLPs, convolutions or meta tokens: each in turn, or a set "
           "beside random ones",
    .fields = ablation_fields,
    .options_size = sizeof(ablation_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .check = ablation_check,
    .applies = ablation_applies,
    .run = ablation_run,
};
