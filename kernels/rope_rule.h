// rope_rule.h - which values of a head turn, and how fast: the only statement of the frequencies of the rotary
// embedding.
#ifndef HY_ROPE_RULE_H
#define HY_ROPE_RULE_H
#include <math.h>

#include "kernels/kernels.h"

static inline int hy_rope_turned(const hy_rope_args *a) { return a->turned ? a->turned : a->d; }
// Radians a position of pair i (kernels.h).
static inline double hy_rope_frequency(const hy_rope_args *a, int i) {
    const hy_rope_scale *s = &a->scale;
    const double f = pow(a->base, -2.0 * i / hy_rope_turned(a)), turns = s->length * f / 6.283185307179586477;
    if (s->factor == 0 || (s->length > 0 && turns > s->high)) return f;
    if (s->length == 0 || turns < s->low) return f / s->factor;
    const double smooth = (turns - s->low) / (s->high - s->low);
    return (1 - smooth) * f / s->factor + smooth * f;
}
#endif
