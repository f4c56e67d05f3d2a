// parts.h - parts of a model that measures take out of it, by an option `parts`, and figures of paired differences:
// what ablation and removal have in common.
#ifndef HY_PARTS_H
#define HY_PARTS_H
#include "analysis/measure/examples.h"
#include "analysis/probe/ablate.h"

#define HY_PARTS_CHOICES "branches|heads|groups|layers|mlps|convs|meta"
// Rows of a field table.
#define HY_FIELD_HOW(type)                                                                                          \
    {                                                                                                               \
        "how", HY_F_ENUM, offsetof(type, how), 0, "zero", 0, 0, HY_ABLATE_CHOICES,                                  \
            "what stands in the place of a part: nothing; its mean over positions and reference examples; what it " \
            "gives for the next example"                                                                            \
    }
#define HY_FIELD_CELLS(type) \
    { "cells", HY_F_INTS, offsetof(type, cells), 0, "[]", 0, 16383, NULL, "evaluation cells, from 0; empty: all", true }
#define HY_FIELD_GROUPS(type)                                                          \
    {                                                                                  \
        "groups", HY_F_INT, offsetof(type, groups), 0, "8", 1, 65536, NULL,            \
            "equal groups that the channels of a Mamba-1 mixer are divided into", true \
    }

// The kinds of units (bit k: kind k) that a value of `parts` means, and every unit of these.
unsigned hy_parts_kinds(int parts);
hy_status hy_parts_units(const hy_program *p, int parts, int groups, hy_units *u);
// The program of a spec and its units; free both unless this fails.
hy_status hy_parts_of(const hy_model_spec *spec, int parts, int groups, hy_program **p, hy_units *u);
// Whether a model has such parts. True also where the options are wrong: the check says what is.
bool hy_parts_any(const hy_model_spec *spec, int parts, int groups);
// HY_EINPUT: a cell stands in the list twice, or the task has none such; groups do not divide the channels; these parts
// cannot be taken out in that way.
hy_status hy_parts_check(const hy_measure_subject *s, const hy_ints *cells, int parts, int groups, int how);

// What is taken out of a measure's model; cells is borrowed.
hy_ablation hy_parts_ablation(const hy_measure_context *c, const hy_ints *cells, int examples, int how, int reference);

typedef struct {
    double mean, se;
} hy_estimate;
// Mean of sign * (x - y) over n examples, and its standard error (NaN for n 1). y NULL: zeros.
hy_estimate hy_paired(const double *x, const double *y, int n, double sign);
#endif
