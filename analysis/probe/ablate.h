// ablate.h - what a model does without some of its parts: loss and accuracy of the same examples, intact and with sets
// of units (units.h) taken out, so that differences are paired. Runs the model's own program with edits.
#ifndef HY_ABLATE_H
#define HY_ABLATE_H
#include "analysis/probe/units.h"
#include "core/task/task.h"

// What stands in the place of what a unit gives:
//     zero      nothing
//     mean      its mean over all positions of reference examples: tuning examples, training ones where there are none
//     resample  what it gives, position by position, for the example after this one of the same cell (the first for the
//               last), in the intact model
typedef enum { HY_ABLATE_ZERO = 0, HY_ABLATE_MEAN, HY_ABLATE_RESAMPLE } hy_ablate_how;
#define HY_ABLATE_CHOICES "zero|mean|resample"

typedef struct {
    const hy_program *prog;
    hy_params *params;
    const hy_task *task;
    const hy_ints *cells;  // of evaluation; empty: all
    int examples;          // of each cell at most
    int batch;             // sequences at a time: figures are the same but for rounding
    hy_ablate_how how;
    int reference;      // examples of each cell for the mean
    bool on_reference;  // the scores are of the reference examples, not of evaluation
} hy_ablation;

// Examples with a label, in the order of cells and examples; set 0 is the intact model.
typedef struct {
    int n, sets;
    double *loss;      // [sets, n] mean nats per label of the example
    double *accuracy;  // [sets, n] share of its labels that are right
} hy_ablation_scores;
void hy_ablation_scores_free(hy_ablation_scores *s);

// HY_EINPUT: meta tokens, which are the same in every example, are to be resampled.
hy_status hy_ablate_check(const hy_units *u, hy_ablate_how how);
// chosen [sets, u->n]: the units of each set. Fills in scores of sets + 1. HY_EINTR; HY_EDIVERGED: a loss is not
// finite; HY_EINPUT: resampling a cell of one example, or as hy_ablate_check.
hy_status hy_ablate(const hy_ablation *a, const hy_units *u, int sets, const bool *chosen, hy_ablation_scores *out);
#endif
