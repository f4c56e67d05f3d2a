// rows.cuh - how the kernels that are bound by memory walk over rows: pieces of 16 bytes, rows that a block keeps in
// registers while it takes their sums, and sums over rows. Nothing here knows an op.
#ifndef HY_ROWS_CUH
#define HY_ROWS_CUH
#include "kernels/cuda/device.cuh"

// ---------------------------------------------------------------------------------------------------- pieces
// N neighbouring elements. N = 1 is for anything; the others move 16 bytes (or 8, where that is all there is) at a time
// and are for what hy_wide() holds for, at offsets that are multiples of N.
template <class T, int N> struct hy_piece {
    alignas(N == 1 ? sizeof(T) : N * sizeof(T) == 8 ? 8 : 16) T v[N];
    __device__ __forceinline__ void load(const T *p) {
        if constexpr (N == 1)
            v[0] = *p;
        else if constexpr (N * sizeof(T) == 8)
            *(uint2 *)v = *(const uint2 *)p;
        else
#pragma unroll
            for (int i = 0; i < N; i += 16 / (int)sizeof(T)) *(uint4 *)(v + i) = *(const uint4 *)(p + i);
    }
    __device__ __forceinline__ void store(T *p) const {
        if constexpr (N == 1)
            *p = v[0];
        else if constexpr (N * sizeof(T) == 8)
            *(uint2 *)p = *(const uint2 *)v;
        else
#pragma unroll
            for (int i = 0; i < N; i += 16 / (int)sizeof(T)) *(uint4 *)(p + i) = *(const uint4 *)(v + i);
    }
    __device__ __forceinline__ float operator[](int i) const { return hy_to_float(v[i]); }
    __device__ __forceinline__ void set(int i, float x) { v[i] = hy_from_float<T>(x); }
};
// Stores a piece of a gradient, added to what was there where asked.
template <class T, int N>
static __device__ __forceinline__ void hy_put_grad(T *p, const float (&g)[N], const hy_piece<T, N> &was, bool add) {
    hy_piece<T, N> d;
#pragma unroll
    for (int i = 0; i < N; i++) d.set(i, add ? was[i] + g[i] : g[i]);
    d.store(p);
}

// ----------------------------------------------------------------------------------------------- elementwise over rows
// Blocks for rows of `units` pieces each: threadIdx.x goes over pieces, threadIdx.y over rows, and each thread takes
// `each` rows, blockDim.y apart, whose loads it starts together.
struct hy_tiles {
    dim3 grid, block;
};
static inline hy_tiles hy_tile_rows(int rows, int units, int each) {
    const int parts = hy_ceil_div(units, 256), x = hy_ceil_div(units, parts), y = 256 / x;
    hy_tiles t;
    t.block = dim3((unsigned)x, (unsigned)y);
    t.grid = dim3((unsigned)hy_ceil_div(rows, (long)y * each), (unsigned)(parts < 65535 ? parts : 65535));
    return t;
}
// For each piece u of this thread; its rows are hy_tile_row(k), k < each, as far as they are below the number of rows.
#define HY_EACH_UNIT(u, units) \
    for (int u = (int)(blockIdx.y * blockDim.x + threadIdx.x); u < (units); u += (int)(gridDim.y * blockDim.x))
static __device__ __forceinline__ long hy_tile_row(int k, int each) {
    return ((long)blockIdx.x * each + k) * blockDim.y + threadIdx.y;
}

// ---------------------------------------------------------------------------------------------------- rows with sums
// A block of whole warps (1-dimensional, at most HY_ROW_THREADS) owns a row at a time; thread i has the pieces i, i +
// blockDim.x, ... of it. With V > 0 it keeps up to V of them in registers; V = 0 reads them again in each pass, for
// rows of any length.
#define HY_ROW_THREADS 512
#define HY_ROW_HELD 2  // the V of the kernels that hold their rows
template <class T, int N, int V> struct hy_row {
    hy_piece<T, N> held[V ? V : 1];
    const T *p;
    __device__ __forceinline__ void load(const T *from, int pieces) {
        p = from;
#pragma unroll
        for (int k = 0; k < V; k++) {
            const int i = (int)(threadIdx.x + k * blockDim.x);
            if (i < pieces) held[k].load(from + (size_t)i * N);
        }
    }
    __device__ __forceinline__ hy_piece<T, N> at(int k, int i) const {
        if constexpr (V > 0) return held[k];
        hy_piece<T, N> q;
        q.load(p + (size_t)i * N);
        return q;
    }
};
// Runs over the pieces i of a row that belong to this thread, k-th first. In a template with the parameter V.
#define HY_EACH_PIECE(k, i, pieces)                                                   \
    _Pragma("unroll") for (int k = 0, i = (int)threadIdx.x; V ? k < V : i < (pieces); \
                           k++, i += (int)blockDim.x) if (i < (pieces))

// Threads of a block for rows of so many pieces, and whether they can be held. Few rows: one piece a thread, for the
// shortest wait.
static inline int hy_row_threads(long rows, int pieces) {
    const int each = rows < 1024 ? 1 : 2, n = hy_ceil_div(hy_ceil_div(pieces, each), 32) * 32;
    return n < HY_ROW_THREADS ? n : HY_ROW_THREADS;
}
static inline bool hy_row_fits(int pieces) { return pieces <= HY_ROW_HELD * HY_ROW_THREADS; }
// Blocks that go over the rows in turn: enough to fill the device.
static inline int hy_row_blocks(long rows, int threads) {
    const long fill = (long)hy_cuda()->sms * (2048 / threads < 32 ? 2048 / threads : 32);
    return (int)(rows < fill ? rows : fill);
}
// The same where each block leaves a row of partial sums in the workspace: fewer, so that those stay few beside the
// rows.
static inline int hy_sum_blocks(long rows, int threads) {
    const long some = (rows + 7) / 8, fill = (long)hy_cuda()->sms * (1024 / threads < 16 ? 1024 / threads : 16);
    return (int)(some < fill ? some : fill);
}

// Sums over the threads of a block, several at once with one barrier; all get the result, in the order of a fixed tree.
// The two halves of the scratch memory take turns: who still reads one is waited for by the next call's barrier.
#define HY_TEAM_SUMS 4
#define HY_TEAM_BYTES (2 * HY_TEAM_SUMS * (HY_ROW_THREADS / 32) * sizeof(float))
struct hy_team {
    float *scratch;  // HY_TEAM_BYTES of shared memory
    int turn;
    template <int M> __device__ __forceinline__ void sum(float (&x)[M]) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
#pragma unroll
        for (int j = 0; j < M; j++) x[j] = hy_warp_sum(x[j]);
        if (warps == 1) return;
        float *const at = scratch + turn * HY_TEAM_SUMS * (HY_ROW_THREADS / 32);
        turn ^= 1;
        if (lane == 0)
#pragma unroll
            for (int j = 0; j < M; j++) at[warp * M + j] = x[j];
        __syncthreads();
#pragma unroll
        for (int j = 0; j < M; j++) x[j] = hy_warp_sum(lane < warps ? at[lane * M + j] : 0.0f);
    }
};

// Column sums of a parameter's gradient in registers (V > 0) or in the block's row of partial sums (V = 0).
template <int N, int V> struct hy_columns {
    float held[V ? V : 1][N];
    float *p;  // this block's partial sums
    __device__ __forceinline__ void open(float *part, int pieces) {
        p = part;
        HY_EACH_PIECE(k, i, pieces)
#pragma unroll
        for (int j = 0; j < N; j++) {
            if constexpr (V > 0)
                held[k][j] = 0;
            else
                p[(size_t)i * N + j] = 0;
        }
    }
    __device__ __forceinline__ void add(int k, int i, int j, float x) {
        if constexpr (V > 0)
            held[k][j] += x;
        else
            p[(size_t)i * N + j] += x;
    }
    __device__ __forceinline__ void close(int pieces) {
        if constexpr (V > 0) HY_EACH_PIECE(k, i, pieces)
#pragma unroll
        for (int j = 0; j < N; j++) p[(size_t)i * N + j] = held[k][j];
    }
};

// a[c] += the sum over r < parts of part[r][c], c < na, and b likewise with the nb columns behind those; part has rows
// of na + nb. A NULL target is left out. The order of adding depends on `parts` alone.
hy_status hy_cuda_add_columns(const float *part, int parts, float *a, size_t na, float *b, size_t nb);
#endif
