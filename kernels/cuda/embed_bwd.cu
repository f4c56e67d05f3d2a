// embed_bwd.cu - the gradient of embed: dtable[id] += the rows of dy with that id, without atomics and in a fixed
// order. Rows are sorted by id (a stable radix sort of their numbers, 8 bits a pass), then cut into chunks of
// neighbours. A block adds up the runs of equal ids of its chunk; a run that began in an earlier chunk goes to a row of
// the workspace, and those are added in the order of the chunks by a second kernel. So a token that fills half the
// batch costs no more than any other. Cost: dy is read once, each touched row of the table read and written once, at
// most one row of C for each chunk written and read besides; the sort moves some 20 bytes a row and pass (one pass up
// to 256 ids, two up to 65536, three beyond).
#include "kernels/cuda/rows.cuh"

enum {
    TILE = 256,  // rows that a block sorts; one for each digit, too
    DIGITS = 256,
    EACH = 4,  // rows whose loads are under way together
};

// ---------------------------------------------------------------------------------------------------- sorting
// `order` [n] are row numbers in the order so far; NULL: 0, 1, ... The key of a row is its id, counted from the lowest
// (-m).
static __device__ __forceinline__ unsigned digit_of(const int32_t *ids, int row, int m, int shift) {
    return ((unsigned)(ids[row] + m) >> shift) % DIGITS;
}
// counts [DIGITS, tiles]: how often the tile has the digit.
static __global__ void count_digits(int n, const int32_t *ids, const int *order, int m, int shift, int *counts) {
    HY_SHARED(unsigned, digit);  // [TILE]
    const int i = (int)(blockIdx.x * TILE + threadIdx.x);
    digit[threadIdx.x] = i < n ? digit_of(ids, order ? order[i] : i, m, shift) : (unsigned)DIGITS;
    __syncthreads();
    int c = 0;
    for (int k = 0; k < TILE; k++) c += digit[k] == threadIdx.x;
    counts[(size_t)threadIdx.x * gridDim.x + blockIdx.x] = c;
}
// Sum over the threads before this one; *total over all. scratch: 2 * TILE ints.
static __device__ __forceinline__ int sum_before(int x, int *scratch, int *total) {
    int *from = scratch, *to = scratch + TILE;
    from[threadIdx.x] = x;
    __syncthreads();
    for (int d = 1; d < TILE; d *= 2) {
        to[threadIdx.x] = from[threadIdx.x] + ((int)threadIdx.x >= d ? from[threadIdx.x - d] : 0);
        __syncthreads();
        int *const other = from;
        from = to, to = other;
    }
    *total = from[TILE - 1];
    const int before = from[threadIdx.x] - x;
    __syncthreads();
    return before;
}
// A block for each digit: its counts become sums over the tiles before; totals [DIGITS].
static __global__ void scan_tiles(int tiles, int *counts, int *totals) {
    HY_SHARED(int, scratch);
    int *const row = counts + (size_t)blockIdx.x * tiles;
    int carry = 0;
    for (int t = 0; t < tiles; t += TILE) {
        const int i = t + (int)threadIdx.x;
        int total;
        const int before = sum_before(i < tiles ? row[i] : 0, scratch, &total);
        if (i < tiles) row[i] = carry + before;
        carry += total;
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = carry;
}
// Rows of lower digits, of the same digit in earlier tiles, and earlier in this tile come first.
static __global__ void scatter(int n, const int32_t *ids, const int *order, int m, int shift, const int *counts,
                               const int *totals, int *out) {
    HY_SHARED(int,
              scratch);  // [2 * TILE], then the first place of each digit [DIGITS], then the digits of the tile [TILE]
    int *const first = scratch + 2 * TILE;
    unsigned *const digit = (unsigned *)(first + DIGITS);
    const int i = (int)(blockIdx.x * TILE + threadIdx.x), row = i < n ? (order ? order[i] : i) : 0;
    const unsigned mine = i < n ? digit_of(ids, row, m, shift) : (unsigned)DIGITS;
    int total;
    first[threadIdx.x] = sum_before(totals[threadIdx.x], scratch, &total);
    digit[threadIdx.x] = mine;
    __syncthreads();
    if (i >= n) return;
    int at = first[mine] + counts[(size_t)mine * gridDim.x + blockIdx.x];
    for (int k = 0; k < (int)threadIdx.x; k++) at += digit[k] == mine;
    out[at] = row;
}

// ---------------------------------------------------------------------------------------------------- adding up
struct target {
    float *table, *meta;  // either may be NULL
    int C;
};
static __device__ __forceinline__ float *row_of(const target &to, int id) {
    float *const base = id >= 0 ? to.table : to.meta;
    return base ? base + (size_t)(id >= 0 ? id : -(id + 1)) * to.C : NULL;
}
template <int N> static __device__ __forceinline__ void put(float *p, const float (&x)[N], bool add) {
    hy_piece<float, N> was = {};
    if (add) was.load(p);
    hy_put_grad(p, x, was, add);
}

// Blocks (chunk, column block): threads go over pieces of the columns, each over the `each` sorted rows of the chunk.
// head [chunks, C]: the sum of the chunk's first run where that began in an earlier chunk.
template <class T, int N>
static __global__ void add_runs(int n, int each, const int32_t *ids, const int *order, const T *dy, int lddy, target to,
                                float *head) {
    const int first = (int)blockIdx.x * each, last = first + each < n ? first + each : n;
    HY_EACH_UNIT(u, to.C / N) {
        const size_t c = (size_t)u * N;
        float sum[N] = {};
        int id = ids[order[first]];
        bool inside = first > 0 && ids[order[first - 1]] == id;  // the run began earlier
        for (int i = first; i < last; i += EACH) {
            hy_piece<T, N> d[EACH];
            int of[EACH];
#pragma unroll
            for (int k = 0; k < EACH; k++)
                if (i + k < last) {
                    const int row = order[i + k];
                    of[k] = ids[row];
                    d[k].load(dy + (size_t)row * lddy + c);
                }
#pragma unroll
            for (int k = 0; k < EACH; k++) {
                if (i + k >= last) continue;
                if (of[k] != id) {
                    float *const p = inside ? head + (size_t)blockIdx.x * to.C : row_of(to, id);
                    if (p) put(p + c, sum, !inside);
                    id = of[k], inside = false;
#pragma unroll
                    for (int j = 0; j < N; j++) sum[j] = 0;
                }
#pragma unroll
                for (int j = 0; j < N; j++) sum[j] += d[k][j];
            }
        }
        float *const p = inside ? head + (size_t)blockIdx.x * to.C : row_of(to, id);
        if (p) put(p + c, sum, !inside);
    }
}
// Where a run of one id goes on from chunk to chunk, the block of the first chunk after its beginning adds up the
// heads.
template <int N>
static __global__ void add_heads(int n, int each, const int32_t *ids, const int *order, target to, const float *head) {
    const int chunk = (int)blockIdx.x + 1, first = chunk * each, id = ids[order[first]];
    float *const p = row_of(to, id);
    if (!p || ids[order[first - 1]] != id) return;                // nothing goes on into this chunk
    if (chunk > 1 && ids[order[first - each - 1]] == id) return;  // it went on into the one before
    HY_EACH_UNIT(u, to.C / N) {
        const size_t c = (size_t)u * N;
        float sum[N] = {};
        for (int k = chunk; (long)k * each < n && ids[order[k * each]] == id; k++) {
            hy_piece<float, N> h;
            h.load(head + (size_t)k * to.C + c);
#pragma unroll
            for (int j = 0; j < N; j++) sum[j] += h[j];
        }
        put(p + c, sum, true);
    }
}

// ---------------------------------------------------------------------------------------------------- plans
static int chunk_of(int n) { return n >= 16384 ? 64 : 16; }

// The workspace: two orders, counts, totals, heads; each begins on 64 bytes.
struct layout {
    int tiles, chunks;
    size_t other, counts, totals, head, bytes;
};
static layout layout_of(const hy_embed_args *a) {
    layout l;
    const size_t n = hy_align((size_t)a->rows * sizeof(int));
    l.tiles = hy_ceil_div(a->rows, TILE), l.chunks = hy_ceil_div(a->rows, chunk_of(a->rows));
    l.other = n;
    l.counts = l.other + n;
    l.totals = l.counts + hy_align((size_t)DIGITS * l.tiles * sizeof(int));
    l.head = l.totals + hy_align(DIGITS * sizeof(int));
    l.bytes = l.head + (size_t)l.chunks * a->C * sizeof(float);
    return l;
}

// *order: the rows' numbers by id, in the workspace.
static hy_status sort_rows(const hy_embed_args *a, const layout *l, char *ws, const int **order) {
    int *const buffers[2] = {(int *)ws, (int *)(ws + l->other)}, *const counts = (int *)(ws + l->counts),
               *const totals = (int *)(ws + l->totals);
    const int *from = NULL;
    const unsigned tiles = (unsigned)l->tiles;
    for (int shift = 0, pass = 0; pass == 0 || ((long)a->V + a->m - 1) >> shift; shift += 8, pass++) {
        int *const to = buffers[pass % 2];
        HY_LAUNCH(count_digits, tiles, TILE, TILE * sizeof(int), a->rows, a->ids, from, a->m, shift, counts);
        HY_LAUNCH(scan_tiles, DIGITS, TILE, 2 * TILE * sizeof(int), l->tiles, counts, totals);
        HY_LAUNCH(scatter, tiles, TILE, (3 * TILE + DIGITS) * sizeof(int), a->rows, a->ids, from, a->m, shift, counts,
                  totals, to);
        from = to;
    }
    *order = from;
    return HY_OK;
}
template <class T, int N>
static hy_status add_up(const hy_embed_bwd_args *b, const layout *l, const int *order, float *head) {
    const hy_embed_args *a = &b->f;
    const int each = chunk_of(a->rows);
    const hy_tiles t = hy_tile_rows(1, a->C / N, 1);  // of the columns
    const target to = {(float *)b->dtable, (float *)b->dmeta, a->C};
    HY_LAUNCH((add_runs<T, N>), dim3((unsigned)l->chunks, t.grid.y), t.block.x, 0, a->rows, each, a->ids, order,
              (const T *)b->dy, b->lddy, to, head);
    if (l->chunks > 1)
        HY_LAUNCH((add_heads<N>), dim3((unsigned)l->chunks - 1, t.grid.y), t.block.x, 0, a->rows, each, a->ids, order,
                  to, head);
    return HY_OK;
}
template <class T> static hy_status run(const void *args, void *ws, const hy_plan_req *req) {
    const hy_embed_bwd_args *b = (const hy_embed_bwd_args *)args;
    const hy_embed_args *a = &b->f;
    constexpr int n = hy_vec<T>::n;
    const layout l = layout_of(a);
    const int *order;
    (void)req;
    if (a->rows == 0 || (!b->dtable && !b->dmeta)) return HY_OK;
    HY_TRY(sort_rows(a, &l, (char *)ws, &order));
    float *const head = (float *)((char *)ws + l.head);
    const bool wide =
        a->C % n == 0 && hy_wide<T>(b->dy, b->lddy) && hy_wide<float>(b->dtable, 0) && hy_wide<float>(b->dmeta, 0);
    return wide ? add_up<T, n>(b, &l, order, head) : add_up<T, 1>(b, &l, order, head);
}

hy_status hy_cuda_plan_embed_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_embed_bwd_args *b = (const hy_embed_bwd_args *)args;
    const hy_embed_args *a = &b->f;
    HY_NEED_TYPE("embed_bwd", req);
    HY_NEED("embed_bwd",
            a->rows >= 0 && a->C >= 1 && a->V >= 1 && a->m >= 0 && a->V <= INT32_MAX - a->m && b->lddy >= a->C);
    if (req->dtype == HY_F32 && a->w_dtype == HY_BF16)
        return hy_error(HY_EINPUT, "embed_bwd: weights in bfloat16 beside float32 activations are for inference");
    *out = hy_launch{};
    out->path = hy_cuda_path(req);
    out->run = HY_BY_TYPE(req, run);
    if (a->rows) out->workspace = layout_of(a).bytes;
    return HY_OK;
}
