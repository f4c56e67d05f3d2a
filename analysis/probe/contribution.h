// contribution.h - what position j contributes to position i through a whole layer, as a vector of the residual stream
// (norm-based analysis, Kobayashi et al. 2020 and 2021), so that attention and SSM heads are told in one unit.
//
//     attention:  c(i,j) = W_a (s_a(i) o A_h(i,j) v_h(j), all heads side by side)
//     SSM:        c(i,j) = W_s (s_s(i) o alpha(i,j) x(j), all channels side by side; with D x(i) where j = i)
//
// A: the softmax rows, v: values, alpha, x: as in attnmap.h, W: the columns of the out projection that read these
// heads. s(i): all that stands between, channel by channel, at the scale that it had in this run: the gate, the norm
// behind it (Mamba-2), the fusion's norm divided by its actual root mean square, beta, the fusion's share and fixed
// multipliers. With s held so, the sum over j of both is what the mixer added to the stream at i, exactly, but for the
// out projection's bias. In a layer of one mixer after another each is told of its own input.
//
// Cost of a row i: (i + 1) C d multiply-adds for C channels of a kind and d of the stream; S positions take S^2 C d / 2
// for each layer. Held are the rows that are worked on and their alpha, never S x S x d, and W once more.
#ifndef HY_CONTRIBUTION_H
#define HY_CONTRIBUTION_H
#include "analysis/probe/attnmap.h"
#include "core/exec/exec.h"

enum { HY_CONTRIBUTION_KINDS = 2 };  // HY_MAP_ATTENTION, HY_MAP_SSM
// Of one layer: what its heads go through on their way to the stream.
typedef struct {
    int layer, d;
    struct {
        int channels;   // 0: there are no such heads
        float *W;       // [channels, d] the out projection's columns
        float *factor;  // [channels] beta and fixed multipliers, or NULL: 1
        bool normed;    // by the fusion
        double share;   // of the fusion: 1, or 1/2
        double eps;
    } of[HY_CONTRIBUTION_KINDS];
    bool fuse_gate;  // shares by a learned gate
    // what Mamba-2 has behind its scan
    bool gated_norm;
    hy_gated_kind gated_kind;
    int gated_groups;
    float *gated_w;  // [channels] or NULL
    double gated_eps;
} hy_contribution_layer;
hy_status hy_contribution_open(const hy_program *p, const hy_params *w, int layer, hy_contribution_layer *out);
void hy_contribution_close(hy_contribution_layer *l);

// Some rows of a layer in one run.
typedef struct {
    const hy_contribution_layer *l;
    const hy_map_values *v;
    int n;
    const int *rows;                       // [n]
    double *A;                             // [n, heads, S]
    float *alpha;                          // [n, units, S]
    double *scale[HY_CONTRIBUTION_KINDS];  // [n, channels]
} hy_contribution_rows;
// So many rows fit in the working memory at once (1 at least).
int hy_contribution_tile(const hy_map_values *v);
// l, v and rows must outlive r; rows within 0 .. S - 1.
hy_status hy_contribution_rows_open(const hy_contribution_layer *l, const hy_map_values *v, const int *rows, int n,
                                    hy_contribution_rows *r);
void hy_contribution_rows_close(hy_contribution_rows *r);
// The vector of row k of r and position j <= its row into out [d]; false, and nothing written: no such heads, or the
// position is not seen.
bool hy_contribution_vector(const hy_contribution_rows *r, int k, int j, hy_map_src kind, float *out);
// Sizes (L2) of the vectors of row k: of attention, SSM and their sum, [S] each, 0 behind the row and for what the
// layer lacks.
hy_status hy_contribution_sizes(const hy_contribution_rows *r, int k, double *attention, double *ssm, double *layer);
#endif
