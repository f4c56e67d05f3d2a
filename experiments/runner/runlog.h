// runlog.h - the curve and the evaluations of a run that is not stored yet, in a text file beside its checkpoint: what
// a killed process had seen is there again when the run is resumed.
#ifndef HY_RUNLOG_H
#define HY_RUNLOG_H
#include "results/record.h"

typedef struct {
    char *path;
    FILE *f;
} hy_runlog;
// Reads what an earlier attempt wrote up to `step` into facts (nothing if there is no file; later or damaged lines are
// dropped), sets *seconds to the training time so far, and opens the file for appending.
hy_status hy_runlog_open(hy_runlog *l, const char *path, int64_t step, hy_facts *facts, double *seconds);
hy_status hy_runlog_point(hy_runlog *l, const hy_curve_point *p, double seconds);
// The training time up to a step from which a checkpoint goes on, where that is no point of the curve.
hy_status hy_runlog_seconds(hy_runlog *l, int64_t step, double seconds);
// The facts from number `first` on: figures of one evaluation (final is false, no samples, no meta).
hy_status hy_runlog_facts(hy_runlog *l, const hy_facts *facts, int first);
void hy_runlog_close(hy_runlog *l);  // keeps the file
#endif
