// sweep_impl.h - what the parts of a sweep share: sweep.c (the loop), sweep_look.c (what is stored), sweep_child.c
// (children).
#ifndef HY_SWEEP_IMPL_H
#define HY_SWEEP_IMPL_H
#include "experiments/runner/job.h"
#include "experiments/runner/sweep.h"

// HY_CLAIM_* for the measurements and for the model of an item.
unsigned hy_sweep_claim(const hy_sweep *s, int item);
unsigned hy_sweep_claim_measure(const hy_sweep *s, int item, const hy_measure *m);  // one of its measures
// Sets the state of an item by what is stored.
hy_status hy_sweep_look_at(hy_sweep *s, int item);
// Starts a child for an item.
hy_status hy_sweep_launch(hy_sweep *s, hy_sweep_slot *c, int item);
// Reads what a child has said; false: it has closed its end.
bool hy_sweep_listen(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v);
// Waits for the end of a child that has closed its end, and settles what it left.
hy_status hy_sweep_reap(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v);
#endif
