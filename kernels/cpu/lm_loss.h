// lm_loss.h - between lm_loss.c (blocks of rows, products) and lm_loss.c (the softmax).
#ifndef HY_LM_LOSS_H
#define HY_LM_LOSS_H
#include "kernels/cpu/cpu.h"

// Logits of `rows` rows [rows, V] become probabilities times scale, minus scale at the label (the gradient), when
// `gradient` is set, and are scratch otherwise. nll and pred are written at index idx[i].
typedef struct {
    int rows, V;
    float *logits;
    const int32_t *idx, *labels;  // label of row i: labels[idx[i]]
    float *nll;
    int32_t *pred;
    double scale;
    bool gradient;
} hy_softmax_args;
void hy_fast_softmax_base(const hy_softmax_args *a, int threads);
void hy_fast_softmax_avx2(const hy_softmax_args *a, int threads);
void hy_fast_softmax_avx512(const hy_softmax_args *a, int threads);
#endif
