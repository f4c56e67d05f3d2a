// rope.h - what the plans of the rotary embedding (rope.c) and its float32 kernels (fast_rope.c) agree on.
#ifndef HY_CPU_ROPE_H
#define HY_CPU_ROPE_H
#include <math.h>

#include "kernels/cpu/cpu.h"

enum {
    HY_ROPE_COARSE = 32,     // a position is COARSE * i + j
    HY_ROPE_SERIAL = 16384,  // values below which threads cost more than they bring
};
// Multiples of COARSE that T positions from anywhere touch, at most.
static inline size_t hy_rope_coarse_rows(int T) { return (size_t)T / HY_ROPE_COARSE + 2; }
static inline size_t hy_rope_workspace(const hy_rope_args *a) {
    size_t parts = 1 + HY_ROPE_COARSE + (size_t)a->B * hy_rope_coarse_rows(a->T);
    return (size_t)a->d * (parts * sizeof(double) + (size_t)a->B * a->T * sizeof(float));
}
// Radians a position of pair i (kernels.h).
static inline double hy_rope_frequency(const hy_rope_args *a, int i) {
    const hy_rope_scale *s = &a->scale;
    const double f = pow(a->base, -2.0 * i / a->d), turns = s->length * f / 6.283185307179586477;
    if (s->factor == 0 || (s->length > 0 && turns > s->high)) return f;
    if (s->length == 0 || turns < s->low) return f / s->factor;
    const double smooth = (turns - s->low) / (s->high - s->low);
    return (1 - smooth) * f / s->factor + smooth * f;
}
hy_status hy_cpu_rope_check_data(const hy_rope_args *a);  // positions
HY_FAST_DECLARE(hy_fast_rope)
HY_FAST_DECLARE(hy_fast_rope_bwd)
#endif
