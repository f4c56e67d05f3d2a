// rope.h - what the plans of the rotary embedding (rope.c) and its float32 kernels (rope.c) agree on.
#ifndef HY_CPU_ROPE_H
#define HY_CPU_ROPE_H
#include "kernels/cpu/cpu.h"
#include "kernels/rope_rule.h"

enum {
    HY_ROPE_COARSE = 32,     // a position is COARSE * i + j
    HY_ROPE_SERIAL = 16384,  // values below which threads cost more than they bring
};
// Multiples of COARSE that T positions from anywhere touch, at most.
static inline size_t hy_rope_coarse_rows(int T) { return (size_t)T / HY_ROPE_COARSE + 2; }
static inline size_t hy_rope_workspace(const hy_rope_args *a) {
    size_t parts = 1 + HY_ROPE_COARSE + (size_t)a->B * hy_rope_coarse_rows(a->T);
    return (size_t)hy_rope_turned(a) * (parts * sizeof(double) + (size_t)a->B * a->T * sizeof(float));
}
hy_status hy_cpu_rope_check_data(const hy_rope_args *a);  // positions
HY_FAST_DECLARE(hy_fast_rope)
HY_FAST_DECLARE(hy_fast_rope_bwd)
#endif
