// units.h - the parts of a model that can be taken out of it, by name, and the edits of a forward pass (exec.h) that do
// it. A unit is taken out where its result leaves it:
//     layerN.attention, layerN.ssm   what all heads of that kind give, before fusion norm and out projection: in a
//                                    fused layer the same as beta = 0 (Hymba, appendix C)
//     layerN.headH                   what one attention head gives
//     layerN.groupG                  what an equal share of the channels of a Mamba-1 mixer gives, or one SSM head of
//                                    Mamba-2; after the gate
//     layerN.mlp, layerN             what the MLP, or all blocks of the layer, add to the residual stream
//     layerN.conv                    the convolution; without it each position keeps its own: silu(input)
//     metaN                          what meta token N brings into the residual stream: its embedding becomes 0. Its
//                                    position stays: what is attended to there is what the layers make of 0
// Keys and values that other layers share stay what they are.
#ifndef HY_UNITS_H
#define HY_UNITS_H
#include "core/exec/exec.h"

typedef enum {
    HY_UNIT_ATTENTION = 0,
    HY_UNIT_SSM,
    HY_UNIT_HEAD,
    HY_UNIT_GROUP,
    HY_UNIT_LAYER,
    HY_UNIT_MLP,
    HY_UNIT_CONV,
    HY_UNIT_META,
    HY_UNIT_KINDS
} hy_unit_kind;

enum { HY_UNIT_PARTS = 3 };  // blocks of a layer
typedef struct {
    char name[32];
    hy_unit_kind kind;
    int layer, index;  // -1: none; index: of the head, group or meta token
    // What takes it out: these edits leave what a model without the unit would have there.
    int n;
    hy_edit part[HY_UNIT_PARTS];
} hy_unit;
// Whether a unit adds to the residual stream: then what it gives is the value less what its edit leaves of it.
static inline bool hy_unit_residual(const hy_unit *u) { return u->kind == HY_UNIT_LAYER || u->kind == HY_UNIT_MLP; }

typedef struct {
    int n;
    hy_unit *v;
} hy_units;

// Every unit of the kinds (bit k: kind k) of a program, meta tokens first, by layer, then kind, then index. groups: of
// the channels of a Mamba-1 mixer. HY_EINPUT: they do not divide its channels.
hy_status hy_units_of(const hy_program *p, unsigned kinds, int groups, hy_units *out);
void hy_units_free(hy_units *u);
// Marks those whose name one of the patterns fits (shell wildcards, separated by commas or spaces: "layer*.ssm,
// layer3"), [u->n]. HY_EINPUT: a pattern fits none.
hy_status hy_units_match(const hy_units *u, const char *patterns, bool *chosen);
#endif
