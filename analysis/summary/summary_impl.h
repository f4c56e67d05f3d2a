// summary_impl.h - what summary.c (loading) and summary_tune.c (choosing) share. Internal.
#ifndef HY_SUMMARY_IMPL_H
#define HY_SUMMARY_IMPL_H
#include "analysis/summary/summary.h"

hy_summary_value *hy_summary_value_add(hy_summary_row *r);  // one more, not yet set; others may move
// As hy_summary_get, of one set of options only.
const hy_summary_value *hy_summary_get_set(const hy_summary_row *r, const char *metric, const char *cell, int set);
void hy_summary_value_push(hy_summary_value *v, int64_t seed, double value);
// Marks the best row of every variant and task, and adds held-out values to it where the experiment is tuned.
void hy_summary_choose(hy_summary *m);
#endif
