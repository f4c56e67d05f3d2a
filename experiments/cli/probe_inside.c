// probe_inside.c - see probe_inside.h.
#include "experiments/cli/probe_inside.h"

#include "experiments/cli/probe_contribution.h"
#include "experiments/cli/probe_gradient.h"
#include "experiments/cli/probe_kv.h"
#include "experiments/cli/probe_reach.h"
#include "experiments/cli/probe_retrieval.h"

const hy_probe_measure hy_probe_inside[HY_INSIDE] = {
    [HY_INSIDE_KV] = {"kv_similarity", "Similarity of keys and values of", {0}, hy_probe_kv_table, hy_probe_draw_kv},
    [HY_INSIDE_REACH] = {"reach", "How far heads look back in", {0}, hy_probe_reach_table, hy_probe_draw_reach},
    [HY_INSIDE_RETRIEVAL] = {"retrieval", "Retrieval heads of", {0}, hy_probe_retrieval_table, hy_probe_draw_retrieval},
    [HY_INSIDE_GRADIENT] = {"gradient_erf",
                            "Receptive field by gradients of",
                            {"each", "from"},
                            hy_probe_gradient_table,
                            hy_probe_draw_gradient},
    [HY_INSIDE_CONTRIBUTIONS] = {"contributions",
                                 "What positions add to each other in",
                                 {0},
                                 hy_probe_contribution_table,
                                 hy_probe_draw_contribution},
};
