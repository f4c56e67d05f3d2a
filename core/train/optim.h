// optim.h - one optimiser step on the device: the gradients of its micro-batches, their norm, clipping, AdamW. No step
// waits for the device: losses and norms stay there, in a ring, until hy_optim_reports reads them. The trainer and the
// throughput measure run the same steps.
#ifndef HY_OPTIM_H
#define HY_OPTIM_H
#include "core/exec/exec.h"

// A kernel planned for one size, with its scratch memory.
typedef struct {
    hy_launch l;
    void *ws;  // device
    size_t ws_bytes;
    int rows;  // nll_sum: the size it is planned for
} hy_optim_kernel;

typedef struct {
    size_t from, n;  // elements of the parameters
} hy_optim_stretch;

typedef struct {
    hy_params *w;
    double beta1, beta2, eps, weight_decay;
    void *m, *v;            // device: AdamW moments, laid out as the parameters
    hy_optim_stretch *own;  // [n_own] parameters whose moments are here, one stretch after the other, and which a step
    int n_own;              // changes; 0: all
    uint8_t *decay;         // device: per HY_DECAY_BLOCK elements
    double *ctl;            // device [HY_CTL_N], see kernels.h
    double *report;         // device [cap, 2]: loss and gradient norm of step s in row (s - 1) % cap
    int cap;
    hy_optim_kernel nll_sum, sumsq, clip, adamw;
} hy_optim;

// Gradients (hy_params_want_grad), moments (zero), and the bfloat16 copy of the matrices where w computes in it. The
// caller sets beta1, beta2, eps and weight_decay.
hy_status hy_optim_open(hy_params *w, int cap, hy_optim *out);
// Weight decay on all parameters, instead of those that the program names.
hy_status hy_optim_decay_all(hy_optim *s);
// Keeps the moments of some parameters alone, which steps then change alone: stretches in order that begin at multiples
// of HY_DECAY_BLOCK.
hy_status hy_optim_keep(hy_optim *s, const hy_optim_stretch *own, int n);
size_t hy_optim_kept(const hy_optim *s);  // elements of each moment
void hy_optim_close(hy_optim *s);         // of an open one, or of zeros
// Bytes that an open step holds of each kind, gradients and the bfloat16 copy with them, for people: "gradients 1.0 MB,
// ...".
void hy_optim_memory_text(const hy_optim *s, hy_buf *out);
// A step: begin, add for each micro-batch, end. ctl: what the host writes of the control block. scale: of the loss.
hy_status hy_optim_begin(hy_optim *s, const double ctl[HY_CTL_HOST]);
hy_status hy_optim_add(hy_optim *s, hy_exec *e, const hy_batch *b, double scale);
hy_status hy_optim_end(hy_optim *s);
// Micro-batches by themselves: what the one before has left is taken away before an add that is not the first, and the
// sum of its losses, which is waited for, read. The caller puts sums of gradients and losses in their place at the end.
hy_status hy_optim_clear(hy_optim *s);
hy_status hy_optim_nll(const hy_optim *s, double *out);
hy_status hy_optim_set_nll(hy_optim *s, double nll);
// Waits for all steps so far; out [cap, 2].
hy_status hy_optim_reports(const hy_optim *s, double *out);
// As before the first step, but for the moments: a step that was not finite stops no further ones.
hy_status hy_optim_reset(hy_optim *s);
#endif
