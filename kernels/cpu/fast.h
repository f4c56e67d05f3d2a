// fast.h - the three builds of the row-wise float32 kernels (norm.c, act.c, scale.c, fuse.c, gated_norm.c, embed.c,
// adamw.c), for their plans.
#ifndef HY_FAST_H
#define HY_FAST_H
#include "kernels/cpu/cpu.h"

HY_FAST_DECLARE(hy_fast_norm)
HY_FAST_DECLARE(hy_fast_norm_bwd)
HY_FAST_DECLARE(hy_fast_act)
HY_FAST_DECLARE(hy_fast_act_bwd)
HY_FAST_DECLARE(hy_fast_scale)
HY_FAST_DECLARE(hy_fast_scale_bwd)
HY_FAST_DECLARE(hy_fast_gated_norm)
HY_FAST_DECLARE(hy_fast_gated_norm_bwd)
HY_FAST_DECLARE(hy_fast_fuse)
HY_FAST_DECLARE(hy_fast_fuse_bwd)
HY_FAST_DECLARE(hy_fast_embed)
HY_FAST_DECLARE(hy_fast_embed_bwd)
HY_FAST_DECLARE(hy_fast_gather)
HY_FAST_DECLARE(hy_fast_position)
HY_FAST_DECLARE(hy_fast_position_bwd)
HY_FAST_DECLARE(hy_fast_dropout)
HY_FAST_DECLARE(hy_fast_dropout_bwd)
HY_FAST_DECLARE(hy_fast_adamw)
HY_FAST_DECLARE(hy_fast_sumsq)
#endif
