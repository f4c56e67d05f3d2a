// parts.c - see parts.h.
#include "analysis/measure/parts.h"

#include <math.h>

// By the option `parts`.
static const unsigned kinds_of[] = {1u << HY_UNIT_ATTENTION | 1u << HY_UNIT_SSM,
                                    1u << HY_UNIT_HEAD,
                                    1u << HY_UNIT_GROUP,
                                    1u << HY_UNIT_LAYER,
                                    1u << HY_UNIT_MLP,
                                    1u << HY_UNIT_CONV,
                                    1u << HY_UNIT_META};

unsigned hy_parts_kinds(int parts) { return kinds_of[parts]; }

hy_status hy_parts_units(const hy_program *p, int parts, int groups, hy_units *u) {
    return hy_units_of(p, hy_parts_kinds(parts), groups, u);
}

hy_status hy_parts_of(const hy_model_spec *spec, int parts, int groups, hy_program **p, hy_units *u) {
    HY_TRY(hy_model_build(spec, p));
    const hy_status s = hy_parts_units(*p, parts, groups, u);
    if (s) hy_program_free(*p);
    return s;
}

hy_status hy_parts_check(const hy_measure_subject *s, const hy_ints *cells, int parts, int groups, int how) {
    hy_program *p;
    hy_units u;
    HY_TRY(hy_list_distinct(cells, "cells"));
    for (int i = 0; i < cells->n; i++) HY_TRY(hy_examples_check(s, cells->v[i]));
    HY_TRY(hy_parts_of(s->spec, parts, groups, &p, &u));
    const hy_status st = hy_ablate_check(&u, (hy_ablate_how)how);
    hy_units_free(&u);
    hy_program_free(p);
    return st;
}

bool hy_parts_any(const hy_model_spec *spec, int parts, int groups) {
    hy_program *p;
    hy_units u;
    if (hy_parts_of(spec, parts, groups, &p, &u)) return true;
    const bool any = u.n > 0;
    hy_units_free(&u);
    hy_program_free(p);
    return any;
}

hy_ablation hy_parts_ablation(const hy_measure_context *c, const hy_ints *cells, int examples, int how, int reference) {
    return (hy_ablation){.prog = c->prog,
                         .params = c->params,
                         .task = c->task,
                         .cells = cells,
                         .examples = examples,
                         .batch = c->eval_batch,
                         .how = (hy_ablate_how)how,
                         .reference = reference};
}

hy_estimate hy_paired(const double *x, const double *y, int n, double sign) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += sign * (x[i] - (y ? y[i] : 0));
    const double mean = sum / n;
    for (int i = 0; i < n; i++) squares += pow(sign * (x[i] - (y ? y[i] : 0)) - mean, 2);
    return (hy_estimate){mean, n > 1 ? sqrt(squares / (n - 1) / n) : NAN};
}
