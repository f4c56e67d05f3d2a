// train_rescue.h - a checkpoint whose place has no room at the end of a training.
#ifndef HY_TRAIN_RESCUE_H
#define HY_TRAIN_RESCUE_H
#include "core/train/train.h"

// Tries `out` once more, then other folders. why: what was said before. HY_OK: it is in `out` after all, else HY_EFAIL,
// which says where it is, if anywhere.
hy_status hy_rescue(hy_trainer *t, const char *out, const char *why);
#endif
