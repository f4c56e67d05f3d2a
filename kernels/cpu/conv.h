// conv.h - what the convolution kernels and their plan share: limits and the partition of the work, by shape alone.
#ifndef HY_CPU_CONV_H
#define HY_CPU_CONV_H
#include "kernels/kernels.h"

#define HY_CONV_MAX_K 8        // the fast kernels are specialised for K = 1 .. 8; the reference serves the rest
#define HY_CONV_ROWS 32        // tokens of a forward job
#define HY_CONV_GROUP 256      // channels of a backward job
#define HY_CONV_PARALLEL 8192  // fewer outputs than this are not worth a second thread

static inline size_t hy_conv_padded(int D) { return ((size_t)D + 15) / 16 * 16; }  // to the widest vector
static inline int hy_conv_threads(const hy_conv_args *a, int threads) {
    return (double)a->B * a->T * a->D < HY_CONV_PARALLEL ? 1 : threads;
}
#endif
