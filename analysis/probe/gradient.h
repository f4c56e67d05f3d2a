// gradient.h - how strongly what comes out at one position depends on each position that goes in: the gradient
// |d y / d x_s| (Luo et al. 2016, "Understanding the effective receptive field"), by the executor's own backward pass.
//
// y is a number at position S of a sequence: a random projection r . h_S of the final hidden state (after the final
// norm), whose gradient has the expected square of the whole Jacobian's rows, or the logit of one token. x_s is what
// enters the first layer at position s: embedding or meta token, with its position and multiplier. g_s is the size of
// d y / d x_s over the channels. Unlike an attention map it takes in all there is between: convolution, gates, norms,
// MLPs, residual stream and every path through several layers.
#ifndef HY_GRADIENT_H
#define HY_GRADIENT_H
#include "core/exec/exec.h"

typedef enum {
    HY_GRADIENT_PROJECTION = 0,  // r . h_S, r normal
    HY_GRADIENT_TOP,             // the logit of the likeliest token
    HY_GRADIENT_LABEL,           // the logit of the wanted token
} hy_gradient_of;
#define HY_GRADIENT_OF_CHOICES "projection|top|label"
typedef enum { HY_GRADIENT_L2 = 0, HY_GRADIENT_L1 } hy_gradient_norm;
#define HY_GRADIENT_NORM_CHOICES "l2|l1"

// What is differentiated, and with respect to what.
typedef struct {
    hy_gradient_of of;
    hy_gradient_norm norm;
    int token;      // of HY_GRADIENT_LABEL
    uint64_t draw;  // which r: numbers of hy_rng_make(HY_GRADIENT_SEED, draw), normal, in the order of the channels
} hy_gradient_options;
#define HY_GRADIENT_SEED 2016

typedef struct hy_gradient hy_gradient;
// An executor for one sequence of T text tokens, and buffers. HY_EINPUT: weights that gradients cannot pass.
hy_status hy_gradient_open(const hy_program *p, hy_params *w, int T, hy_gradient **out);
void hy_gradient_close(hy_gradient *g);

// g_s of position `at` of a text (without meta tokens), 0 after it; size[S], S positions with the meta tokens first.
// from: [n_layers, S], the same with respect to what enters each layer; NULL: not wanted. from of layer 0 is size.
hy_status hy_gradient_run(hy_gradient *g, const int32_t *ids, int at, const hy_gradient_options *o, double *size,
                          double *from);
// The same of r . (what leaves layer `layer` at that position), a projection whatever o->of says.
hy_status hy_gradient_to(hy_gradient *g, const int32_t *ids, int at, int layer, const hy_gradient_options *o,
                         double *size);

// ---------------------------------------------------------------------------------------------------- by distance
// Distances 0, 1, 2, 3, then ranges two to an octave, 4-5, 6-7, 8-11, 12-15, 16-23, ...: of range k the first and the
// last.
void hy_gradient_range(int k, int *first, int *last);
#endif
