// bench_linear.c - matrix products and row-wise kernels, each after a parity check in this process and each beside the
// limit it is measured against, interleaved: the rate of a 1024^3 product, a read of memory, a copy of memory.
//   usage: bench_linear [threads] [few]     prints one table (few: products with few rows alone); medians of REPEATS
//   runs
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ceilings.h"

#define REPEATS 11
#define BIG ((size_t)64 << 20)  // floats: 256 MB, far more than any cache
#define PIECE (BIG / 8)         // floats read in one measurement of the limit: 32 MB, a different piece each time
#define PARITY 1e-5             // float32 sums of up to 8192 terms against the plain kernel

typedef struct {
    hy_backend be, ref;
    float *big;  // BIG values
    size_t at;   // rotates through big, so that weights come from memory
} bench;

static void die(const char *what) {
    fprintf(stderr, "bench_linear: %s: %s\n", what, hy_error_text());
    abort();
}
static float *values(size_t n, uint64_t seed) {
    float *p = hy_alloc(n * sizeof *p);
    if (!p) die("memory");
    uint64_t r = hy_mix64(seed, 3);  // a cheap generator: the arrays are large
    for (size_t i = 0; i < n; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        p[i] = (float)(int32_t)(r >> 32) * 0x1p-32f;
    }
    return p;
}

// ---------------------------------------------------------------------------------------------------- limits
typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
static volatile float sink;
static double read_memory(bench *b) {
    static size_t piece;
    const float *from = b->big + piece++ % 8 * PIECE;
    double t = hy_now();
    float total = 0;
#pragma omp parallel for num_threads(b->be.threads) reduction(+ : total) schedule(static)
    for (int c = 0; c < 64; c++) {
        const v16 *p = (const v16 *)(from + (size_t)c * (PIECE / 64));
        v16 s[4] = {0};
        for (size_t i = 0; i + 4 <= PIECE / 64 / 16; i += 4)
            for (int k = 0; k < 4; k++) {
                __builtin_prefetch((const char *)&p[i + (size_t)k] + 8192);
                s[k] += p[i + (size_t)k];
            }
        v16 u = s[0] + s[1] + s[2] + s[3];
        total += u[0];
    }
    sink = total;
    return PIECE * 4e-9 / (hy_now() - t);  // GB/s
}
static double copy_memory(bench *b) {
    double t = hy_now();
#pragma omp parallel for num_threads(b->be.threads) schedule(static)
    for (int c = 0; c < 32; c++)
        memcpy(b->big + BIG / 2 + (size_t)c * (BIG / 64), b->big + (size_t)c * (BIG / 64), BIG / 64 * sizeof(float));
    return BIG * 4e-9 / (hy_now() - t);  // read and written bytes
}

// ---------------------------------------------------------------------------------------------------- a kernel
typedef struct {
    hy_launch l;
    void *ws;
    hy_plan_req req;
} planned;
static planned plan(const hy_backend *be, hy_kernel_id id, const void *args) {
    planned p = {.req = {.dtype = HY_F32, .isa = be->isa, .threads = be->threads, .training = true}};
    if (be->plan[id](args, &p.req, &p.l)) die("plan");
    p.ws = hy_alloc(p.l.workspace);
    if (!p.ws) die("memory");
    return p;
}
static double run(planned *p, const void *args) {
    double t = hy_now();
    if (p->l.run(args, p->ws, &p->req)) die(p->l.path);
    return hy_now() - t;
}
static void same(const char *what, const float *got, const float *want, size_t n) {
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) d += pow((double)got[i] - want[i], 2), s += pow(want[i], 2);
    if (!(sqrt(d) <= PARITY * sqrt(s))) {
        fprintf(stderr, "bench_linear: %s: relative error %.3g is above %g\n", what, sqrt(d / s), PARITY);
        abort();
    }
}
// rate and limit: REPEATS pairs taken in turn.
static void line(const char *name, const char *shape, double *rate, double *limit, const char *unit, const char *of,
                 const char *path) {
    double share[REPEATS];
    for (int i = 0; i < REPEATS; i++) share[i] = 100 * rate[i] / limit[i];
    double ms = hy_median(share, REPEATS), mr = hy_median(rate, REPEATS);
    hy_sort(rate, REPEATS);
    hy_sort(limit, REPEATS);
    double best = rate[REPEATS - 1], top = limit[REPEATS - 1];
    printf("%-10s %-20s %8.1f %-8s %5.0f %% of %-6s best %8.1f %5.0f %%  %s\n", name, shape, mr, unit, ms, of, best,
           100 * best / top, path);
    fflush(stdout);
}

// ---------------------------------------------------------------------------------------------------- products
typedef struct {
    hy_linear_args f;
    hy_linear_bwd_args b;
    float *x, *w, *y, *dx, *dw;
} layer;
static layer make_layer(int M, int N, int K) {
    layer l = {.x = values((size_t)M * K, 1),
               .w = values((size_t)N * K, 2),
               .y = values((size_t)M * N, 3),
               .dx = values((size_t)M * K, 4),
               .dw = values((size_t)N * K, 5)};
    l.f = (hy_linear_args){.M = M, .N = N, .K = K, .x = l.x, .w = l.w, .y = l.y, .ldx = K, .ldy = N};
    l.b = (hy_linear_bwd_args){.f = l.f, .dy = l.y, .dx = l.dx, .dw = l.dw, .lddy = N, .lddx = K};
    return l;
}
static void drop_layer(layer *l) { free(l->x), free(l->w), free(l->y), free(l->dx), free(l->dw); }

static uint16_t *halves(const float *v, size_t n) {
    uint16_t *h = hy_alloc(n * sizeof *h);
    if (!h) die("memory");
    for (size_t i = 0; i < n; i++) h[i] = hy_bf16_from_f32(v[i]);
    return h;
}

// Against the plain kernels, on the first rows (the plain ones are slow). bf16: the weights.
static void check_layer(bench *b, int M, int N, int K, bool backward, bool bf16) {
    int m = M < 24 ? M : 24;
    layer a = make_layer(m, N, K), r = make_layer(m, N, K);
    uint16_t *h = bf16 ? halves(a.w, (size_t)N * K) : NULL;
    if (bf16) a.f.w = r.f.w = h, a.f.w_dtype = r.f.w_dtype = HY_BF16;
    planned pa = plan(&b->be, HY_K_linear, &a.f), pr = plan(&b->ref, HY_K_linear, &r.f);
    if (backward) {
        planned qa = plan(&b->be, HY_K_linear_bwd, &a.b), qr = plan(&b->ref, HY_K_linear_bwd, &r.b);
        run(&qa, &a.b), run(&qr, &r.b);
        same("dx", a.dx, r.dx, (size_t)m * K);
        same("dw", a.dw, r.dw, (size_t)N * K);
        free(qa.ws), free(qr.ws);
    }
    run(&pa, &a.f), run(&pr, &r.f);
    same("y", a.y, r.y, (size_t)m * N);
    free(pa.ws), free(pr.ws), free(h);
    drop_layer(&a), drop_layer(&r);
}

static double unit_rate(planned *p, layer *l) { return 2e-9 * 1024 * 1024 * 1024 / run(p, &l->f); }

static void products(bench *b) {
    static const int shapes[][3] = {{4096, 768, 256},  {4096, 256, 256}, {4096, 1408, 256}, {4096, 256, 704},
                                    {4096, 1024, 256}, {4096, 256, 64},  {4096, 512, 16},   {4096, 48, 512},
                                    {4096, 512, 2},    {512, 2048, 768}, {64, 256, 256}};
    layer u = make_layer(1024, 1024, 1024);
    planned pu = plan(&b->be, HY_K_linear, &u.f);
    unit_rate(&pu, &u);
    double first[REPEATS], again[REPEATS];
    for (int i = 0; i < REPEATS; i++) first[i] = unit_rate(&pu, &u);
    memcpy(again, first, sizeof again);
    line("sgemm", "1024 x 1024 x 1024", first, again, "GFLOP/s", "itself", pu.l.path);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
        check_layer(b, M, N, K, true, false);
        layer l = make_layer(M, N, K);
        planned pf = plan(&b->be, HY_K_linear, &l.f), pb = plan(&b->be, HY_K_linear_bwd, &l.b);
        run(&pf, &l.f), run(&pb, &l.b);
        double fwd[REPEATS], bwd[REPEATS], uf[REPEATS], ub[REPEATS], flop = 2e-9 * M * N * K;
        for (int i = 0; i < REPEATS; i++) {
            uf[i] = ub[i] = unit_rate(&pu, &u);
            fwd[i] = flop / run(&pf, &l.f);
            bwd[i] = 2 * flop / run(&pb, &l.b);
        }
        char name[40];
        snprintf(name, sizeof name, "%d x %d x %d", M, N, K);
        line("forward", name, fwd, uf, "GFLOP/s", "sgemm", pf.l.path);
        line("backward", name, bwd, ub, "GFLOP/s", "sgemm", pb.l.path);
        free(pf.ws), free(pb.ws);
        drop_layer(&l);
    }
    free(pu.ws);
    drop_layer(&u);
}

// Decoding: the weights of each call are another part of a large array, as in a model larger than the cache. Rates
// count the bytes of the weights.
static void few_rows_of(bench *b, const uint16_t *big, int M, int N, int K) {
    const size_t size = big ? 2 : 4;
    const int calls = (int)(64e6 / ((double)N * K * size)) + 1;
    check_layer(b, M, N, K, false, big != NULL);
    float *x = values((size_t)M * K, 1), *y = values((size_t)M * N, 2);
    hy_linear_args a = {
        .M = M, .N = N, .K = K, .x = x, .w = b->big, .w_dtype = big ? HY_BF16 : HY_F32, .y = y, .ldx = K, .ldy = N};
    planned p = plan(&b->be, HY_K_linear, &a);
    double rate[REPEATS], limit[REPEATS];
    for (int i = 0; i < REPEATS; i++) {
        double t = 0;
        limit[i] = read_memory(b);
        for (int c = 0; c < calls; c++) {
            if (b->at + (size_t)N * K > BIG) b->at = 0;
            a.w = big ? (const void *)(big + b->at) : b->big + b->at;
            b->at += (size_t)N * K;
            t += run(&p, &a);
        }
        rate[i] = 1e-9 * (double)size * N * K * calls / t;
    }
    char name[40];
    snprintf(name, sizeof name, "%d x %d x %d%s", M, N, K, big ? " bf16" : "");
    line("few rows", name, rate, limit, "GB/s", "read", p.l.path);
    free(p.ws), free(x), free(y);
}

static void few_rows(bench *b) {
    static const int shapes[][2] = {{768, 768}, {2048, 768}, {768, 2048}, {8192, 768}, {32000, 768}, {8960, 1600}};
    uint16_t *big = halves(b->big, BIG);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int M = 1; M <= 8; M = M == 1 ? 4 : M * 2) {
            few_rows_of(b, NULL, M, shapes[s][0], shapes[s][1]);
            few_rows_of(b, big, M, shapes[s][0], shapes[s][1]);
        }
    free(big);
}

// ---------------------------------------------------------------------------------------------------- row-wise kernels
// bytes: what a call must read and write. a and r hold the same arguments over buffers of their own.
static void rowwise(bench *b, const char *name, hy_kernel_id id, const void *a, const void *r, const float *got,
                    const float *want, size_t n, double bytes) {
    planned p = plan(&b->be, id, a), q = plan(&b->ref, id, r);
    run(&p, a), run(&q, r);
    same(name, got, want, n);
    double rate[REPEATS], limit[REPEATS];
    for (int i = 0; i < REPEATS; i++) {
        limit[i] = copy_memory(b);
        rate[i] = bytes * 1e-9 / run(&p, a);
    }
    char shape[40];
    snprintf(shape, sizeof shape, "%.0f MB", bytes * 1e-6);
    line(name, shape, rate, limit, "GB/s", "copy", p.l.path);
    free(p.ws), free(q.ws);
}

static void row_kernels(bench *b) {
    int rows = 8192, C = 768, F = 1024;
    size_t n = (size_t)rows * C, m = (size_t)rows * F;
    float *x = values(2 * m, 1), *w = values((size_t)C, 2), *y = values(2 * m, 3), *z = values(2 * m, 3),
          *d = values(m, 4);
    hy_norm_args na = {.rows = rows, .groups = 1, .C = C, .eps = 1e-6, .x = x, .w = w, .y = y, .ldx = C, .ldy = C},
                 nr = na;
    nr.y = z;
    rowwise(b, "norm", HY_K_norm, &na, &nr, y, z, n, 8.0 * (double)n);
    float *dw = values((size_t)C, 5), *dr = values((size_t)C, 5);
    hy_norm_bwd_args ba = {.f = na, .dy = d, .dx = y, .dw = dw, .lddy = C, .lddx = C}, br = ba;
    br.dx = z, br.dw = dr;
    rowwise(b, "norm_bwd", HY_K_norm_bwd, &ba, &br, y, z, n, 12.0 * (double)n);
    hy_act_args aa = {.rows = rows, .F = F, .kind = HY_ACT_SILU_GLU, .x = x, .y = y, .ldx = 2 * F, .ldy = F}, ar = aa;
    ar.y = z;
    rowwise(b, "act", HY_K_act, &aa, &ar, y, z, m, 12.0 * (double)m);
    hy_act_bwd_args ca = {.f = aa, .dy = d, .dx = y, .lddy = F, .lddx = 2 * F}, cr = ca;
    cr.dx = z;
    rowwise(b, "act_bwd", HY_K_act_bwd, &ca, &cr, y, z, 2 * m, 20.0 * (double)m);
    float *p = values(m, 6), *q = values(m, 6), *v = values(m, 7), *vr = values(m, 7);
    for (size_t i = 0; i < m; i++) vr[i] = v[i] = fabsf(v[i]);
    uint8_t *decay = hy_alloc(m / HY_DECAY_BLOCK);
    const double ctl[HY_CTL_N] = {[HY_CTL_LR] = 1e-3, [HY_CTL_C1] = 0.65, [HY_CTL_C2] = 0.4, [HY_CTL_GRAD_SCALE] = 1};
    hy_adamw_args oa = {.n = m,
                        .p = p,
                        .m = y,
                        .v = v,
                        .g = d,
                        .decay = decay,
                        .beta1 = 0.9,
                        .beta2 = 0.95,
                        .eps = 1e-8,
                        .wd = 0.1,
                        .ctl = ctl},
                  or_ = oa;
    memcpy(z, y, m * sizeof *z);
    or_.p = q, or_.m = z, or_.v = vr;
    rowwise(b, "adamw", HY_K_adamw, &oa, &or_, p, q, m, 28.0 * (double)m);
    free(x), free(w), free(y), free(z), free(d), free(dw), free(dr), free(p), free(q), free(v), free(vr), free(decay);
}

int main(int argc, char **argv) {
    bench b = {.at = 0};
    if (hy_backend_cpu(NULL, argc > 1 ? atoi(argv[1]) : 0, &b.be) || hy_backend_cpu("ref", b.be.threads, &b.ref))
        die("backend");
    b.big = values(BIG, 9);
    double rd[REPEATS], cp[REPEATS], rd2[REPEATS], cp2[REPEATS];
    for (int i = 0; i < REPEATS; i++) rd2[i] = rd[i] = read_memory(&b), cp2[i] = cp[i] = copy_memory(&b);
    printf("%s; medians of %d, shares of a limit measured in turn\n", b.be.device, REPEATS);
    line("read", "32 of 256 MB", rd, rd2, "GB/s", "itself", "");
    line("copy", "256 MB", cp, cp2, "GB/s", "itself", "");
    const bool all = argc < 3 || strcmp(argv[2], "few");
    if (all) products(&b);
    few_rows(&b);
    if (all) row_kernels(&b);
    free(b.big);
    return 0;
}
