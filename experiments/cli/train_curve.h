// train_curve.h - the file of `hylab train --curve`: a row for every step, whole whenever the process may die, and the
// same after a resumed run as after one that was not interrupted. It is no reason to end a training.
#ifndef HY_TRAIN_CURVE_H
#define HY_TRAIN_CURVE_H
#include "core/train/train.h"

typedef struct {
    const char *path;
    FILE *f;        // NULL: no curve
    long end;       // bytes of whole rows
    char *trouble;  // why rows are missing; NULL: none are
} hy_curve;
// step 0: a new curve in place of an old one. Else rows up to this step are kept, what stands behind them is of a run
// that was killed; HY_EINPUT: the file is no curve, and is left as it is. path NULL: no curve is wanted.
hy_status hy_curve_open(hy_curve *c, const char *path, long step);
void hy_curve_add(hy_curve *c, const hy_train_point *p);  // the first row that cannot be written is told on stderr
hy_status hy_curve_close(hy_curve *c);                    // HY_EFAIL: rows are missing
#endif
