// gemm.c - see gemm.h. This file and gemm_half.c alone know oneDNN.
//
// Why tiles of our own: the library splits a product by the number of threads, and with it the order of its sums.
// Measured on 2 threads of an AVX-512 machine, our loop over single-threaded calls reaches the rate of the library's
// own threads (92 to 101 % over the shapes of a d_model 256 model) and serves 1, 2 and 8 threads with the same bits.
// The library is built on OpenMP, of which every thread that calls it here asks for one thread.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_half.h"

#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

#include "core/base/parallel.h"

#define TILE_M 256  // packing a transposed B costs as much as about 15 rows of work: keep tiles tall
#define TILE_N 512
#define TILE_MIN 64
#define TILES_WANTED 16  // enough to balance 8 threads
#define TILE_WORK 4.0e6  // floating-point operations below which a tile is not worth a split
#define K_BLOCK 384    // the library adds up to 384 terms in order; longer sums it cuts by a rule that looks at M and N
#define PARTS_MAX 8    // fixed partial sums of a small result
#define PART_ROWS 512  // shortest reduction of a part

typedef struct {
    int tm, tn, gm, gn;  // tile size, tiles
    int parts, part;     // partial sums and the length of each
} grid;

void hy_gemm_library(char out[64]) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(out, 64, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

static int ceil_div(int a, int b) { return a / b + (a % b != 0); }

// Tiles along M. A last tile of fewer than HY_GEMM_ROWS rows would take another path inside the library and change the
// bits of its rows, so it is joined to the one before.
static int tiles_m(int M, int tm) {
    int n = ceil_div(M, tm);
    return n > 1 && M - (n - 1) * tm < HY_GEMM_ROWS ? n - 1 : n;
}

static grid choose(const hy_gemm_args *g) {
    grid t = {.tm = TILE_M, .tn = TILE_N, .parts = 1, .part = g->K};
    int depth = g->trans_a ? 2 * PART_ROWS : g->K;  // parts, and so the workspace, then never grow when K shrinks
    for (;;) {
        t.gm = tiles_m(g->M, t.tm);
        t.gn = ceil_div(g->N, t.tn);
        int m = g->M < t.tm ? g->M : t.tm, n = g->N < t.tn ? g->N : t.tn;
        if ((double)t.gm * t.gn >= TILES_WANTED || 2.0 * m * n * depth < 2 * TILE_WORK) break;
        if (n > TILE_M / 2)
            t.tn = t.tn / 2;
        else if (m > TILE_MIN)
            t.tm = t.tm / 2;
        else
            break;
    }
    int tiles = t.gm * t.gn;
    if (tiles < PARTS_MAX && g->trans_a && g->K >= 2 * PART_ROWS) {
        int parts = ceil_div(PARTS_MAX, tiles), most = g->K / PART_ROWS;
        t.part = ceil_div(g->K, parts < most ? parts : most);
        t.parts = ceil_div(g->K, t.part);
    }
    return t;
}

// Rows of a forward product must not depend on M, so its sums are cut here; gradients need no such care.
static int k_step(const hy_gemm_args *g, int k) { return g->trans_b ? ceil_div(k, ceil_div(k, K_BLOCK)) : k; }

// The largest block of B that a thread widens at a time: TILE_N rows of k_step values in whole cache lines.
static int widened_ld(const hy_gemm_args *g) { return ceil_div(k_step(g, g->K), 16) * 16; }
static size_t widened_floats(const hy_gemm_args *g) {
    return (size_t)(g->N < TILE_N ? g->N : TILE_N) * (size_t)widened_ld(g);
}

// The largest tile that is taken (tiles_m joins short ones). A bound that does not grow when M shrinks: the workspace
// is taken once, for the largest shape.
static size_t taken_floats(const hy_gemm_args *g) {
    const int m = TILE_M + HY_GEMM_ROWS;
    return (size_t)(g->M < m ? g->M : m) * (size_t)(g->N < TILE_N ? g->N : TILE_N);
}

size_t hy_gemm_workspace(const hy_gemm_args *g, int threads) {
    if (g->take) return (size_t)threads * taken_floats(g) * sizeof(float);
    if (g->widen) return (size_t)threads * widened_floats(g) * sizeof(float);
    grid t = choose(g);
    return t.parts > 1 ? (size_t)t.parts * g->M * g->N * sizeof(float) : 0;
}

// One tile of one part: rows m0.., columns n0.., terms k0 .. k0+K-1 of the reduction.
typedef struct {
    int m0, n0, k0, m, n, k;
    float *c;
    int ldc;
    bool add;
} tile;

// scratch: of taken_floats(g).
static int tile_half(const hy_gemm_args *g, const tile *t, float *scratch) {
    const hy_half_shape s = {.m = t->m,
                             .n = t->n,
                             .k = t->k,
                             .lda = g->lda,
                             .ldb = g->ldb,
                             .ldc = g->take ? t->n : t->ldc,
                             .trans_a = g->trans_a,
                             .trans_b = g->trans_b,
                             .add = t->add};
    const uint16_t *a = g->a, *b = g->b;
    a += g->trans_a ? (size_t)t->k0 * g->lda + t->m0 : (size_t)t->m0 * g->lda + t->k0;
    b += g->trans_b ? (size_t)t->n0 * g->ldb + t->k0 : (size_t)t->k0 * g->ldb + t->n0;
    const int bad = hy_half_product(&s, a, b, g->take ? scratch : t->c);
    if (!bad && g->take) g->take(g->ctx, t->m0, t->n0, t->m, t->n, scratch);
    return bad;
}

// wide: scratch of widened_floats(g), used if B is bfloat16. A tile of M rows reads each value of it M times, so
// widening costs 1 / M of the product's loads.
static int tile_run(const hy_gemm_args *g, const tile *t, float *wide) {
    const int step = k_step(g, t->k), ldb = g->widen ? widened_ld(g) : g->ldb;
    for (int k = 0; k < t->k; k += step) {
        int n = t->k - k < step ? t->k - k : step, at = t->k0 + k;
        const float *a = (const float *)g->a + (g->trans_a ? (size_t)at * g->lda + t->m0 : (size_t)t->m0 * g->lda + at);
        const size_t at_b = g->trans_b ? (size_t)t->n0 * g->ldb + at : (size_t)at * g->ldb + t->n0;
        if (g->widen) g->widen((const uint16_t *)g->b + at_b, g->ldb, wide, ldb, t->n, n);
        const float *b = g->widen ? wide : (const float *)g->b + at_b;
        float beta = t->add || k > 0 ? 1.0f : 0.0f;
        const dnnl_status_t s = dnnl_sgemm(g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N', t->m, t->n, n, 1.0f, a,
                                           g->lda, b, ldb, beta, t->c, t->ldc);
        if (s != dnnl_success) return s == dnnl_out_of_memory ? HY_GEMM_NO_MEMORY : HY_GEMM_REFUSED;
    }
    if (g->done) g->done(g->ctx, t->m0, t->n0, t->m, t->n);
    return 0;
}

typedef struct {
    const hy_gemm_args *g;
    grid t;
    float *workspace;
    _Atomic int *bad;  // HY_GEMM_REFUSED, HY_GEMM_NO_MEMORY
} product;

static tile tile_of(const product *x, int i) {
    const hy_gemm_args *g = x->g;
    const grid *t = &x->t;
    const int p = i % t->parts, j = i / t->parts, r = j / t->gn, c = j % t->gn;
    tile u = {.m0 = r * t->tm, .n0 = c * t->tn, .k0 = p * t->part, .add = g->add, .ldc = g->ldc};
    u.m = r == t->gm - 1 ? g->M - u.m0 : t->tm;
    u.n = c == t->gn - 1 ? g->N - u.n0 : t->tn;
    u.k = p == t->parts - 1 ? g->K - u.k0 : t->part;
    if (t->parts > 1) {
        u.add = false;
        u.ldc = g->N;
        u.c = x->workspace + ((size_t)p * g->M + u.m0) * g->N + u.n0;
    } else {
        u.c = g->take ? NULL : g->c + (size_t)u.m0 * g->ldc + u.n0;
    }
    return u;
}

static void run_tiles(const void *ctx, long from, long to, int thread) {
    const product *x = ctx;
    const int threads = omp_get_max_threads();  // the setting belongs to the calling thread, and to its program
    if (threads > 1) omp_set_num_threads(1);
    const size_t own = x->g->widen ? widened_floats(x->g) : x->g->take ? taken_floats(x->g) : 0;
    float *scratch = own ? x->workspace + (size_t)thread * own : NULL;
    for (int i = (int)from; i < (int)to; i++) {
        const tile u = tile_of(x, i);
        const int bad = x->g->half ? tile_half(x->g, &u, scratch) : tile_run(x->g, &u, scratch);
        if (bad) atomic_fetch_or(x->bad, bad);
    }
    if (threads > 1) omp_set_num_threads(threads);
}

static void add_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const product *x = ctx;
    const hy_gemm_args *g = x->g;
    for (int m = (int)from; m < (int)to; m++) {
        float *c = g->c + (size_t)m * g->ldc;
        if (!g->add) memset(c, 0, (size_t)g->N * sizeof *c);
        for (int p = 0; p < x->t.parts; p++) {
            const float *src = x->workspace + ((size_t)p * g->M + m) * g->N;
            for (int n = 0; n < g->N; n++) c[n] += src[n];
        }
    }
}

bool hy_gemm_has_half(hy_isa isa) {
    __builtin_cpu_init();
    return isa >= HY_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
}

const char *hy_gemm_path(hy_isa isa, hy_dtype w_dtype) {
    static const char *const names[][2] = {{"ref", "ref (bf16 weights)"},
                                           {"base+onednn", "base+onednn (bf16 weights)"},
                                           {"avx2+onednn", "avx2+onednn (bf16 weights)"},
                                           {"avx512+onednn", "avx512+onednn (bf16 weights)"}};
    return names[isa][w_dtype == HY_BF16];
}

// Routines of the library use the stack pointer as an ordinary register for a while. A signal handler that ran then
// would write its frame over other memory (seen as a damaged heap after ctrl-C), so signals wait until the tiles are
// done, here and in the workers of the pool.
hy_status hy_gemm_run(const hy_gemm_args *g, float *workspace, int threads) {
    HY_ASSERT(!g->widen || (g->trans_b && !g->trans_a));
    HY_ASSERT(!g->take || (g->half && !g->trans_a && !g->add && !g->done));
    _Atomic int bad = 0;
    sigset_t signals;
    const product x = {g, choose(g), workspace, &bad};
    hy_put_off_signals(&signals);
    hy_parallel(threads, (long)x.t.gm * x.t.gn * x.t.parts, 1, run_tiles, &x);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
    if (bad == HY_GEMM_NO_MEMORY)
        return hy_error(HY_ENOMEM, "out of memory in oneDNN: a matrix product of %d x %d x %d", g->M, g->N, g->K);
    if (bad) return hy_error(HY_EFAIL, "oneDNN refused a matrix product of %d x %d x %d", g->M, g->N, g->K);
    if (x.t.parts > 1) hy_parallel(threads, g->M, 0, add_rows, &x);
    return HY_OK;
}
