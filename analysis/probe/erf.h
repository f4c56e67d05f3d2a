// erf.h - effective receptive field: how far back the last token of a sequence looks, from attention maps (attnmap.h).
//
// Hymba, appendix B, eq. 5: with N layers, H heads, S the last token, M^h(S,s) the normalised attention to token s,
//     ERF = sum_n sum_h sum_s 2 M^h(S,s) (S - s) (N - n + 1) / (H N (N + 1))
// a weighted mean over layers of the mean over heads of the expected distance; earlier layers weigh more (the weights
// 2 (N-n+1) / (N (N+1)) add to 1). All mass on the previous token gives 1; uniform causal attention gives (S-1)/2.
// What the paper leaves open is an option here and is recorded with the result.
#ifndef HY_ERF_H
#define HY_ERF_H
#include "analysis/probe/attnmap.h"

typedef enum {
    HY_ERF_SSM_GROUP = 0,  // the SSM of a layer is one head: one map, made of its channels as hy_ssm_reduce says
    HY_ERF_SSM_CHANNELS,   // every channel is a head with its own row-normalised map
} hy_erf_ssm;
typedef enum {
    HY_ERF_HALVES = 0,  // a hybrid layer: mean of (mean over attention heads) and (mean over SSM heads)
    HY_ERF_POOLED,      // mean over all heads of both kinds, H of eq. 5 counts both
    HY_ERF_ATTENTION,   // attention heads only
    HY_ERF_SSM_ONLY,    // SSM heads only
} hy_erf_heads;
typedef enum {
    HY_ERF_META_INCLUDED = 0,  // meta tokens are positions like others
    HY_ERF_META_RENORM,        // their mass is dropped and the rest of the row divided by what is left
} hy_erf_meta;
typedef enum {
    HY_ERF_SKIP = 0,  // layers without such heads do not take part: N counts the others
    HY_ERF_ZERO,      // they take part with distance 0
} hy_erf_missing;
typedef struct {
    hy_erf_ssm ssm;
    hy_erf_heads heads;
    hy_erf_meta meta;
    hy_erf_missing missing;
    int uniform;           // layers weigh 1/N each instead of 2 (N-n+1) / (N (N+1))
    hy_ssm_reduce reduce;  // of HY_ERF_SSM_GROUP
    int gate;
} hy_erf_options;
#define HY_ERF_SSM_CHOICES "group|channels"
#define HY_ERF_HEADS_CHOICES "halves|pooled|attention|ssm"
#define HY_ERF_META_CHOICES "included|renormalised"
#define HY_ERF_MISSING_CHOICES "skip|zero"
void hy_erf_options_text(const hy_erf_options *o, hy_buf *out);

// Expected distances (in tokens) of one layer's last row on one sequence; means over prompts are means of these.
typedef struct {
    int layer, S;
    int heads, channels;  // 0: the layer has none
    double attention;     // mean over heads of sum_s M(S,s) (S - s)
    double ssm_group;     // of the one map of all channels
    double ssm_channels;  // mean over channels: the Mamba mean distance (DeciMamba, arXiv 2406.14528, eq. 8); / S: its
                          // relative form
} hy_erf_layer;
hy_status hy_erf_measure(const hy_map_values *v, const hy_erf_options *o, hy_erf_layer *out);
// The distance of one layer under the options; false: the layer has no such heads.
bool hy_erf_layer_distance(const hy_erf_layer *l, const hy_erf_options *o, double *distance);
// Eq. 5 over n layers in model order. NAN when no layer has such heads.
double hy_erf_combine(const hy_erf_layer *layers, int n, const hy_erf_options *o);
#endif
