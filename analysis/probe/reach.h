// reach.h - how far back the last rows of a sequence look, and how long the channels of an SSM remember. A head here is
// an attention head, an SSM channel or a head of Mamba-2, each with its own map (attnmap.h) whose rows of sizes add to
// 1.
//
// With row i, a_j its value at position j, distance i - j:
//     span            the smallest distance d with  sum over j >= i - d of a_j  >=  mass
//     mean distance   sum_j a_j (i - j); of SSM channels and the last row alone the Mamba mean distance (DeciMamba,
//                     arXiv 2406.14528, eq. 8), which divided by the length is its relative form
// Decay: state n of channel d keeps exp(delta_t A_dn) of what it holds when token t comes. Over a sequence that is one
// factor a token, the geometric mean exp(A_dn mean_t delta_t), or the mean of the factors; its half-life in tokens is
// log 2 / -log(factor).
#ifndef HY_REACH_H
#define HY_REACH_H
#include "analysis/probe/attnmap.h"

typedef struct {
    int rows;     // so many last rows, as far as there is text; means over them
    double mass;  // of the span
    bool text;    // without meta tokens: rows are divided by what they have on text, steps are those of text
    bool mean;    // decay: the mean of the factors, else the geometric mean
} hy_reach_options;
#define HY_REACH_DECAY_CHOICES "product|mean"

enum { HY_REACH_QUANTILES = 5 };
extern const double hy_reach_quantile[HY_REACH_QUANTILES];  // 0.05, 0.25, 0.5, 0.75, 0.95
#define HY_REACH_LONGEST 1e9                                // a longer half-life, or none, counts as this

typedef struct {
    int layer, positions;                  // that count: S, or those of text
    int heads, channels;                   // 0: the layer has none
    double *span, *distance;               // [heads] of each attention head; the caller's memory
    double ssm_span, ssm_distance;         // means over the channels
    double half_life[HY_REACH_QUANTILES];  // of all channels and states of the SSM, linear between neighbours
    double long_memory;                    // share of them with a half-life of at least `positions`
} hy_reach_layer;
// span, distance of out: set by the caller.
hy_status hy_reach_measure(const hy_map_values *v, const hy_reach_options *o, hy_reach_layer *out);

// Span and mean distance of one row of sizes a[first .. i]; both 0 where there is no mass.
void hy_reach_row(const double *a, int i, int first, double mass, double *span, double *distance);
#endif
