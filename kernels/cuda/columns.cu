// columns.cu - adds up partial sums of parameters' gradients, column by column in a fixed order. No op of its own.
#include "kernels/cuda/rows.cuh"

enum { COLUMNS = 32, STRIPS = 16 };

// A block takes 32 columns: thread (x, y) adds up the rows y, y + 16, ..., then the strips are added from the first on.
static __global__ void add_columns(const float *part, int parts, float *a, size_t na, float *b, size_t nb) {
    HY_SHARED(float, strip);  // [STRIPS, COLUMNS]
    const size_t width = na + nb, c = (size_t)blockIdx.x * COLUMNS + threadIdx.x;
    float s = 0;
    if (c < width)
        for (int r = (int)threadIdx.y; r < parts; r += STRIPS) s += part[(size_t)r * width + c];
    strip[threadIdx.y * COLUMNS + threadIdx.x] = s;
    __syncthreads();
    float *const to = c < na ? a : b;
    if (threadIdx.y || c >= width || !to) return;
    for (int y = 1; y < STRIPS; y++) s += strip[y * COLUMNS + threadIdx.x];
    to[c < na ? c : c - na] += s;
}

hy_status hy_cuda_add_columns(const float *part, int parts, float *a, size_t na, float *b, size_t nb) {
    const dim3 grid((unsigned)((na + nb + COLUMNS - 1) / COLUMNS)), block(COLUMNS, STRIPS);
    HY_LAUNCH(add_columns, grid, block, STRIPS * COLUMNS * sizeof(float), part, parts, a, na, b, nb);
    return HY_OK;
}
