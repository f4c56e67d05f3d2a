// attnmap.h - attention maps of one layer on one sequence, from the values that the model itself computed (capture.h).
// Attention heads: softmax rows under the mask of attn_rule.h. SSM heads as hidden attention (Ali et al., arXiv
// 2403.01590, eq. 10-20). The layer as a whole: their mean, whatever joins the heads: the maps say where a layer looks,
// not how much each kind of head adds (after fusion norms both add alike; without them, fusion sum, output rms times
// multipliers tells). Nothing here runs a model; nothing of size S x S is held unless asked for.
//
// Hidden attention of channel d, for j <= i (0 after):
//     alpha_d[i,j] = sum_n C_i[n] exp(A_d[n] (c_i - c_j)) delta_j B_j[n]      c_i = sum_{k<=i} delta_k, delta =
//     softplus(dt)
// It maps the scan's input x (after convolution and silu) to its output before the gate: y_i = sum_j alpha[i,j] x_j + D
// x_i. D, gate, convolution and projections are outside of it. The channels of a Mamba-2 head share one map: there an
// "SSM channel" of these functions is a head, with its one A, its delta and the B and C of its group.
//
// Letters: S positions of the sequence (meta tokens counted, they come first), m meta tokens, H query heads, D
// channels, N states.
#ifndef HY_ATTNMAP_H
#define HY_ATTNMAP_H
#include "core/base/base.h"

// The values of one layer on one sequence; what the layer lacks has a count of 0.
typedef struct {
    int layer, S, meta;
    int heads, kv_heads, d_qk, d_v, window;  // heads 0: no attention; window 0: global
    double scale;
    const float *q, *k, *v;  // [S, heads*d_qk], [S, kv_heads*d_qk], [S, kv_heads*d_v]; q and k after norm and rope
    const float *attn_out;   // [S, heads*d_v], only for hy_map_selftest
    const float *k_raw;      // [S, kv_heads*d_qk] keys after norm, before rope; NULL unless hy_capture_raw_keys
    int D, N;                // D 0: no SSM
    const float *x, *dt;     // [S, D] after convolution and silu; raw (before softplus, bias included)
    const float *Bm, *Cm;    // [S, N]
    const float *gate;       // [S, D] before silu, or NULL
    const float *A_log;      // [D, N]
    const float *skip;       // [D] or NULL
    const float *ssm_out;    // [S, D] after the gate (and a norm there), only for statistics and hy_map_selftest
    // Mamba-2: ssm_heads (0: Mamba-1) of D / ssm_heads channels; then dt is [S, ssm_heads] without its bias, Bm and Cm
    // are [S, groups*N], A_log, skip and dt_bias [ssm_heads]; delta is clamped to dt_min .. dt_max (0: no limit)
    int ssm_heads, groups;
    double dt_min, dt_max;
    const float *dt_bias;
    const float *ssm_y;  // [S, D] before gate and norm, only for hy_map_selftest
    // fusion by a learned gate: [S, fuse_groups] before the sigmoid, each for heads*d_v / fuse_groups channels; NULL:
    // none
    const float *fuse_gate;
    int fuse_groups;
} hy_map_values;

typedef enum { HY_MAP_ATTENTION = 0, HY_MAP_SSM, HY_MAP_LAYER } hy_map_src;
const char *hy_map_src_name(hy_map_src s);  // "attention", "ssm", "layer"
bool hy_map_has(const hy_map_values *v, hy_map_src s);

// How the channels of an SSM become one map. Published figures differ in this; what was used is recorded with a map.
typedef enum {
    HY_SSM_MEAN_ABS = 0,  // mean over channels of |alpha_d|, then rows to sum 1
    HY_SSM_ABS_MEAN,      // |mean over channels of alpha_d|, then rows to sum 1 (signs may cancel)
    HY_SSM_MEAN_ROWS,     // each channel's |alpha_d| rows to sum 1, then their mean (each channel counts as one head)
} hy_ssm_reduce;
// What is done with a map's values.
typedef enum {
    HY_MAP_ROWSUM = 0,  // absolute values, each row divided by its sum (a row of zeros stays)
    HY_MAP_MINMAX,      // absolute values, (a - min) / (max - min) over the visible entries of the matrix
    HY_MAP_SIGNED,      // as they are: softmax rows, signed alpha averaged over channels (reduce does not matter)
} hy_map_norm;
typedef struct {
    hy_ssm_reduce reduce;
    hy_map_norm norm;
    bool gate;  // SSM: rows of each channel times silu(gate_i) (paper eq. 2: Y = G * alpha W X)
} hy_map_options;
#define HY_SSM_REDUCE_CHOICES "mean_abs|abs_mean|mean_rows"
#define HY_MAP_NORM_CHOICES "rowsum|minmax|signed"
// " key=name" with the i-th of "a|b|c".
void hy_choice_text(hy_buf *out, const char *key, const char *choices, int i);
// "norm=rowsum ssm_reduce=mean_abs gate=no ...": what a stored map says about itself.
void hy_map_options_text(const hy_map_options *o, hy_buf *out);

// Single maps of the SSM: channels, or heads of Mamba-2.
int hy_map_ssm_count(const hy_map_values *v);

// Rows i0 .. i0+n-1 of a map into out [n, S] (every entry written). index: a head or channel, -1: all of them (heads:
// mean). norm must not be MINMAX, which needs the whole matrix. LAYER (index -1): (attention + ssm) / 2, both
// row-normalised (ROWSUM only), parallel or sequential alike; the one that there is in other layers.
hy_status hy_map_rows(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o, int i0, int n,
                      double *out);
// Rows i0 .. i1-1 of a map one after another, so that none of its size is held: fn(user, i, row [S]), where keys that
// the row does not see are 0. MINMAX: absolute values, not scaled yet (smallest and largest are known at the end). A
// status other than HY_OK from fn ends it.
int hy_map_tile_rows(int S);  // rows that it computes at once
typedef hy_status (*hy_map_row_fn)(void *user, int i, const double *row);
hy_status hy_map_walk(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o, int i0, int i1,
                      hy_map_row_fn fn, void *user);
// The same of attention, SSM and layer at once where there are both (ROWSUM), at the cost of the first two.
typedef hy_status (*hy_map_layer_row_fn)(void *user, int i, const double *const row[3]);  // by hy_map_src
hy_status hy_map_walk_layer(const hy_map_values *v, const hy_map_options *o, int i0, int i1, hy_map_layer_row_fn fn,
                            void *user);
// The whole map [S, S]; entries that no row may see get `hidden` (0, or NAN for pictures).
hy_status hy_map_full(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o, float hidden,
                      float *out);
// Is key j visible to row i of this map?
bool hy_map_visible(const hy_map_values *v, hy_map_src src, int i, int j);

// ---------------------------------------------------------------------------------------------------- statistics
// Over the real query tokens (positions m .. S-1) of row-normalised maps.
typedef struct {
    int heads, rows;  // maps averaged; query rows
    int wide;         // rows of these maps that may see at least two keys
    // Hymba Fig. 7: share of the scores on meta columns, on the first text column, on the diagonal, on the rest. They
    // add to 1 (rows of zeros count as nothing). The first text token's score of itself counts as self.
    double meta, bos, self, cross;
    double entropy;      // nats, mean over rows and heads of -sum a log a
    double entropy_rel;  // the same divided by log(visible keys), over the wide rows; 0 without one
    double distance;     // mean over rows of sum_j a (i - j)
} hy_map_stats;
// Sums: one more row i of a map, and in the end (heads and rows being set) means of them.
void hy_map_stats_add(const hy_map_values *v, hy_map_src src, int i, const double *a, hy_map_stats *s);
void hy_map_stats_mean(hy_map_stats *s);
// index -1 for ATTENTION: statistics of each head, averaged. norm of the options is not used.
hy_status hy_map_stats_of(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o,
                          hy_map_stats *out);
// Attention, SSM and layer of one layer at once (heads 0: there is none), at the cost of the first two.
hy_status hy_map_stats_layer(const hy_map_values *v, const hy_map_options *o, hy_map_stats out[3]);
// Samba appendix E: entropy of delta over the sequence, delta'_{i,c} = delta_{i,c} / sum_i delta_{i,c}; mean over
// channels, nats. Needs an SSM.
double hy_map_delta_entropy(const hy_map_values *v);

// ---------------------------------------------------------------------------------------------------- self-test
// The maps put back to work: what they give from the layer's own inputs, against what the layer computed.
typedef struct {
    double attn, attn_scale;  // max |softmax v - attn_out| and max |attn_out|; -1 when absent
    double ssm, ssm_scale;    // max |y - (alpha x + D x)| before the gate, y by the recurrence in double; max |y|
    double model,
        model_scale;  // the same against the model's own (float32) output, times silu(gate) where that is the scan's
} hy_map_check;
hy_status hy_map_selftest(const hy_map_values *v, hy_map_check *out);
#endif
