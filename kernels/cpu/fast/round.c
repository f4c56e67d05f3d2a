// round.c - rows of float32 to bfloat16, to nearest, ties to even; NaN stays NaN: hy_bf16_from_f32 as a loop that
// compilers make vectors of.
#include "kernels/cpu/bf16.h"

#include <string.h>

void HY_FAST(hy_fast_row_round)(uint16_t *dst, const float *src, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, src + i, sizeof u);
        const uint32_t nan = u >> 16 | 0x40, near = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
        dst[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : near);
    }
}
