// lm_loss.h - between lm_loss.c and lm_loss_half.c (blocks of rows, products) and lm_loss.c (the softmax).
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

// Labelled rows that are worked on together.
int hy_lm_loss_block(int rows, int V);
// Lists the labelled rows in idx [rows]; the others get nll 0 and pred -1, and where there is b rows of dx 0, of `elem`
// bytes a value, unless it is added to. HY_EINPUT: a label outside the vocabulary.
hy_status hy_lm_loss_rows(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, size_t elem, int32_t *idx,
                          int *count);
// A block of m rows as a linear layer from x (row i at x + i * ldx) to logits [m, V], and its backward, where there is
// b: dy is logits too, in which the softmax leaves the gradient; dx and lddx are for the caller to set.
hy_linear_bwd_args hy_lm_loss_linear(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, int m, const void *x,
                                     int ldx, float *logits);
// The softmax of the block's logits, in place.
void hy_lm_loss_softmax(const hy_lm_loss_args *a, const hy_lm_loss_bwd_args *b, const int32_t *idx, int m,
                        float *logits, const hy_plan_req *req);
#endif
