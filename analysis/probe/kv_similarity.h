// kv_similarity.h - how alike the keys, or the values, of two layers are, and which neighbours could share theirs.
//
// Cosine, head by head: mean over positions t and KV heads h of  a_th . b_th / (|a_th| |b_th|).  It asks whether one
// layer's keys could stand where the other's do, as they are; the order of heads and of channels counts.
//
// Linear CKA (Kornblith et al., arXiv 1905.00414), of all heads of a layer side by side, with X [n, p] and Y [n, q] of
// n positions, columns less their means:
//     HSIC(X, Y) = |X'Y|_F^2        CKA = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))        in 0 .. 1
// It asks whether the same positions are near each other in both layers: rotations of the channels, the order of heads
// and one factor for all of them change nothing. With fewer positions than channels it is large even for layers that
// have nothing to do with each other. Debiased (Song et al. 2012; Nguyen et al., arXiv 2010.15327), with K = XX' and
// L = YY' whose diagonals are set to 0:
//     HSIC(X, Y) = (tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1) / (n (n-3))        n >= 4
// its mean over unrelated layers is 0; it may be a little below 0 and, of layers that hardly vary, not exist.
#ifndef HY_KV_SIMILARITY_H
#define HY_KV_SIMILARITY_H
#include "core/spec/spec.h"

// a, b [rows, heads * d]. A vector of zeros counts as 0.
double hy_kv_cosine(const float *a, const float *b, int rows, int heads, int d);

// Keys or values as CKA wants them. x is borrowed.
typedef struct {
    int rows, width;
    const float *x;  // [rows, width]
    double *mean;    // [width]
    double *square;  // [rows] |x_r - mean|^2
} hy_cka_side;
hy_status hy_cka_open(const float *x, int rows, int width, hy_cka_side *out);
void hy_cka_close(hy_cka_side *s);
// HSIC of two sides with as many rows (debiased: at least 4). The same bits for any number of threads.
hy_status hy_hsic(const hy_cka_side *a, const hy_cka_side *b, bool debiased, double *out);

// Groups of neighbours that share keys and values: of all ways to cut the layers with attention into groups of at most
// `most` that follow each other, have the same window, KV heads and widths, the one in which the sum over all layers
// that give up their own keys of (similarity to the first of their group, whose keys they use, less `least`) is the
// largest. similarity [n_layers, n_layers], NAN: not known, no group. source [n_layers]: whose keys each layer would
// use, its own index or, without attention, -1.
void hy_kv_propose(const hy_model_spec *spec, const double *similarity, int most, double least, int *source);
// The same as a variant says it, `kv_share: [[1, 2], [3, 4]]`, after the rule and the similarities as comments. what:
// the similarities ("CKA"); model: its name.
void hy_kv_share_text(const hy_model_spec *spec, const double *similarity, int most, double least, const char *what,
                      const char *model, hy_buf *out);
#endif
