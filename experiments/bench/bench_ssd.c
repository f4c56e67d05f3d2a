// bench_ssd.c - speed of SSD (Mamba-2), forward, backward and one token, against its floors: the operations of its
// chunk products at the rate of sgemm, the bytes at the rate of a copy; and against the Mamba-1 scan over as many
// channels. Everything runs interleaved in this process, after a parity check against the double-precision reference.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/table.h"
#include "kernels/ceilings.h"

#define PARITY_LIMIT 1e-5  // relative to the norm, float against double over 130 tokens
#define MAX_REPS 101
enum { CHUNK = 64, SCAN_STATES = 16, GEMM_M = 1024, GEMM_N = 1024, GEMM_K = 384 };  // CHUNK: kernels/cpu/ssd.h

typedef struct {
    hy_backend cpu, ref;
    int reps;
    hy_table_format format;
} options;
typedef struct {
    int B, T, H, P, G, N;
} shape;

// ---------------------------------------------------------------------------------------------------- operands
enum { X, DT, BIAS, A_LOG, BM, CM, SKIP, DY, Y, DX, DDT, DBIAS, DA, DB, DC, DSKIP, STATE, FIELDS };
typedef struct {
    shape s;
    void *p[FIELDS], *saved, *ws;
    hy_launch fwd, train, bwd;
    hy_ssd_args a;
    hy_ssd_bwd_args g;
    hy_plan_req req;
} ssd;

static size_t field_size(const shape *s, int f) {
    const size_t rows = (size_t)s->B * s->T;
    switch (f) {
        case DT:
        case DDT: return rows * s->H;
        case BIAS:
        case A_LOG:
        case SKIP:
        case DBIAS:
        case DA:
        case DSKIP: return s->H;
        case BM:
        case CM:
        case DB:
        case DC: return rows * s->G * s->N;
        case STATE: return (size_t)s->B * s->H * s->N * s->P;
        default: return rows * s->H * s->P;
    }
}
static double field_value(int f, hy_rng *rng) {
    switch (f) {
        case BIAS: return -4 + hy_rng_normal(rng);
        case A_LOG: return log(1 + 15 * hy_rng_uniform(rng));
        case SKIP: return 1;
        default: return hy_rng_normal(rng);
    }
}
// state: with one, and without a backward.
static hy_status ssd_open(ssd *k, shape s, hy_dtype dtype, const hy_backend *cpu, bool state) {
    *k = (ssd){.s = s, .req = {.dtype = dtype, .isa = cpu->isa, .threads = cpu->threads}};
    const size_t es = hy_dtype_size(dtype);
    for (int f = 0; f < FIELDS; f++) {
        const size_t n = f == STATE && !state ? 1 : field_size(&s, f);
        hy_rng rng = hy_rng_make(1, (uint64_t)f);
        if (!(k->p[f] = hy_alloc(n * es))) return HY_ENOMEM;
        for (size_t i = 0; f <= DY && i < n; i++) {
            const float v = (float)field_value(f, &rng);
            if (dtype == HY_F64)
                ((double *)k->p[f])[i] = v;
            else
                ((float *)k->p[f])[i] = v;
        }
    }
    void *const *p = k->p;
    const int D = s.H * s.P, GN = s.G * s.N;
    k->a = (hy_ssd_args){.B = s.B,
                         .T = s.T,
                         .H = s.H,
                         .P = s.P,
                         .G = s.G,
                         .N = s.N,
                         .x = p[X],
                         .dt = p[DT],
                         .dt_bias = p[BIAS],
                         .A_log = p[A_LOG],
                         .Bm = p[BM],
                         .Cm = p[CM],
                         .skip = p[SKIP],
                         .y = p[Y],
                         .ldx = D,
                         .lddt = s.H,
                         .ldB = GN,
                         .ldC = GN,
                         .ldy = D,
                         .state = state ? p[STATE] : NULL};
    HY_TRY(cpu->plan[HY_K_ssd](&k->a, &k->req, &k->fwd));
    size_t ws = k->fwd.workspace;
    if (!state) {
        k->req.training = true;
        HY_TRY(cpu->plan[HY_K_ssd](&k->a, &k->req, &k->train));
        k->g = (hy_ssd_bwd_args){.f = k->a,
                                 .dy = p[DY],
                                 .dx = p[DX],
                                 .ddt = p[DDT],
                                 .ddt_bias = p[DBIAS],
                                 .dA_log = p[DA],
                                 .dBm = p[DB],
                                 .dCm = p[DC],
                                 .dskip = p[DSKIP],
                                 .lddy = D,
                                 .lddx = D,
                                 .ldddt = s.H,
                                 .lddB = GN,
                                 .lddC = GN};
        HY_TRY(cpu->plan[HY_K_ssd_bwd](&k->g, &k->req, &k->bwd));
        if (k->train.workspace > ws) ws = k->train.workspace;
        if (k->bwd.workspace > ws) ws = k->bwd.workspace;
    }
    k->saved = hy_alloc(k->train.saved + 1);
    k->ws = hy_alloc(ws + 1);
    return k->saved && k->ws ? HY_OK : HY_ENOMEM;
}
static void ssd_free(ssd *k) {
    for (int f = 0; f < FIELDS; f++) free(k->p[f]);
    free(k->saved);
    free(k->ws);
}
static hy_status ssd_forward(ssd *k) { return k->fwd.run(&k->a, k->ws, &k->req); }
static hy_status ssd_train(ssd *k) {
    k->a.saved = k->g.f.saved = k->train.saved ? k->saved : NULL;
    return k->train.run(&k->a, k->ws, &k->req);
}
static hy_status ssd_backward(ssd *k) { return k->bwd.run(&k->g, k->ws, &k->req); }

static hy_status parity(shape s, const options *o, double *worst) {
    s.B = 1, s.T = s.T < 130 ? s.T : 130, s.H = 2 * s.G;
    ssd fast, ref;
    HY_TRY(ssd_open(&fast, s, HY_F32, &o->cpu, false));
    HY_TRY(ssd_open(&ref, s, HY_F64, &o->ref, false));
    HY_TRY(ssd_train(&fast));
    HY_TRY(ssd_backward(&fast));
    HY_TRY(ssd_train(&ref));
    HY_TRY(ssd_backward(&ref));
    *worst = 0;
    for (int f = Y; f < STATE; f++) {
        double diff = 0, norm = 0;
        for (size_t i = 0; i < field_size(&s, f); i++) {
            const double x = ((float *)fast.p[f])[i], y = ((double *)ref.p[f])[i];
            diff += (x - y) * (x - y);
            norm += y * y;
        }
        const double e = sqrt(diff / norm);
        if (!(e <= *worst)) *worst = e;  // a NaN stays
    }
    ssd_free(&fast), ssd_free(&ref);
    if (*worst <= PARITY_LIMIT) return HY_OK;
    return hy_error(HY_EFAIL, "ssd: off by %.2g from the double reference, allowed %.2g: not timed", *worst,
                    PARITY_LIMIT);
}

// -------------------------------------------------------------------------------------------- what it is compared with
typedef struct {  // one product of linear, which is the library's sgemm
    float *x, *w, *y;
    void *ws;
    hy_launch run;
    hy_linear_args a;
    hy_plan_req req;
} gemm;
typedef struct {  // a Mamba-1 scan without gate over D channels of SCAN_STATES states
    float *p[12];
    void *saved, *ws;
    hy_launch fwd, train, bwd;
    hy_scan_args a;
    hy_scan_bwd_args g;
    hy_plan_req req;
} scan;

static float *normal(size_t n, uint64_t stream, double shift) {
    float *p = hy_alloc(n * sizeof(float));
    hy_rng rng = hy_rng_make(2, stream);
    for (size_t i = 0; p && i < n; i++) p[i] = (float)(hy_rng_normal(&rng) + shift);
    return p;
}
static hy_status gemm_open(gemm *k, const hy_backend *cpu) {
    *k = (gemm){.x = normal(GEMM_M * GEMM_K, 1, 0),
                .w = normal(GEMM_N * GEMM_K, 2, 0),
                .y = normal(GEMM_M * GEMM_N, 3, 0),
                .req = {.dtype = HY_F32, .isa = cpu->isa, .threads = cpu->threads}};
    if (!k->x || !k->w || !k->y) return HY_ENOMEM;
    k->a = (hy_linear_args){
        .M = GEMM_M, .N = GEMM_N, .K = GEMM_K, .x = k->x, .w = k->w, .y = k->y, .ldx = GEMM_K, .ldy = GEMM_N};
    HY_TRY(cpu->plan[HY_K_linear](&k->a, &k->req, &k->run));
    k->ws = hy_alloc(k->run.workspace + 1);
    return k->ws ? HY_OK : HY_ENOMEM;
}
static void gemm_free(gemm *k) { free(k->x), free(k->w), free(k->y), free(k->ws); }

static hy_status scan_open(scan *k, int B, int T, int D, const hy_backend *cpu) {
    const size_t rows = (size_t)B * T, N = SCAN_STATES,
                 n[12] = {rows * D, rows * D, D * N,    rows * N, rows * N, D,
                          rows * D, rows * D, rows * D, D * N,    rows * N, rows * N};
    *k = (scan){.req = {.dtype = HY_F32, .isa = cpu->isa, .threads = cpu->threads, .training = true}};
    for (int i = 0; i < 12; i++)
        if (!(k->p[i] = normal(n[i], (uint64_t)i, i == 1 ? -4 : 0))) return HY_ENOMEM;
    float *const *p = k->p;
    k->a = (hy_scan_args){.B = B,
                          .T = T,
                          .D = D,
                          .N = SCAN_STATES,
                          .x = p[0],
                          .dt = p[1],
                          .A_log = p[2],
                          .Bm = p[3],
                          .Cm = p[4],
                          .skip = p[5],
                          .y = p[6],
                          .ldx = D,
                          .lddt = D,
                          .ldB = SCAN_STATES,
                          .ldC = SCAN_STATES,
                          .ldy = D};
    k->g = (hy_scan_bwd_args){.f = k->a,
                              .dy = p[0],
                              .dx = p[7],
                              .ddt = p[8],
                              .dA_log = p[9],
                              .dBm = p[10],
                              .dCm = p[11],
                              .lddy = D,
                              .lddx = D,
                              .ldddt = D,
                              .lddB = SCAN_STATES,
                              .lddC = SCAN_STATES};
    HY_TRY(cpu->plan[HY_K_scan](&k->a, &k->req, &k->train));
    HY_TRY(cpu->plan[HY_K_scan_bwd](&k->g, &k->req, &k->bwd));
    k->saved = hy_alloc(k->train.saved);
    k->ws = hy_alloc((k->train.workspace > k->bwd.workspace ? k->train.workspace : k->bwd.workspace) + 1);
    k->a.saved = k->g.f.saved = k->saved;
    return k->saved && k->ws ? HY_OK : HY_ENOMEM;
}
static void scan_free(scan *k) {
    for (int i = 0; i < 12; i++) free(k->p[i]);
    free(k->saved), free(k->ws);
}
static hy_status copy(float *to, const float *from, size_t n, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        const size_t lo = n * t / threads, hi = n * (t + 1) / threads;
        memcpy(to + lo, from + lo, (hi - lo) * sizeof(float));
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- figures
// Median of the ratios a[i] / b[i]: the machine's speed drifts, pairs measured side by side do not.
static double ratio(const double *a, const double *b, int n) {
    double r[MAX_REPS];
    for (int i = 0; i < n; i++) r[i] = a[i] / b[i];
    return hy_median(r, n);
}
#define TIMED(seconds, work)            \
    do {                                \
        const double start_ = hy_now(); \
        HY_TRY(work);                   \
        (seconds) = hy_now() - start_;  \
    } while (0)

// flops: of the chunk products; other: seconds of the Mamba-1 scan, or NULL.
static void row(hy_table *t, const char *what, const shape *s, const double *sec, int reps, double flops,
                const double *gemm_s, double bytes, const double *copy_s, double copied, const double *other) {
    hy_table_row(t);
    hy_table_text(t, "%s", what);
    hy_table_text(t, "%dx%dx%dx%dx%dx%d", s->B, s->T, s->H, s->P, s->G, s->N);
    hy_table_num(t, 1e3 * hy_median(sec, reps), 3);
    if (flops > 0) {
        hy_table_num(t, flops / hy_median(sec, reps) / 1e9, 1);
        hy_table_num(t, ratio(sec, gemm_s, reps) * 2.0 * GEMM_M * GEMM_N * GEMM_K / flops, 2);
    } else
        hy_table_empty(t), hy_table_empty(t);
    hy_table_num(t, bytes / hy_median(sec, reps) / 1e9, 1);
    hy_table_num(t, ratio(sec, copy_s, reps) * copied / bytes, 2);
    if (other) hy_table_num(t, ratio(sec, other, reps), 2);
}

static hy_status bench_tokens(hy_table *t, shape s, const options *o, gemm *m) {
    double worst, fwd[MAX_REPS], train[MAX_REPS], bwd[MAX_REPS], gemm_s[MAX_REPS], copy_s[MAX_REPS], scan_f[MAX_REPS],
        scan_b[MAX_REPS];
    HY_TRY(parity(s, o, &worst));
    const double rows = (double)s.B * s.T, heads = rows * s.H, channels = heads * s.P, NP = (double)s.N * s.P;
    // of a token and head: states 4 N P (with those of backward 10 N P); of [chunk, chunk] products half is wanted
    const double fwd_flops = heads * (4 * NP + (double)CHUNK * s.P) + rows * s.G * (double)CHUNK * s.N;
    const double bwd_flops = heads * (10 * NP + 2.0 * CHUNK * s.P) + rows * s.G * 3.0 * CHUNK * s.N;
    const double fwd_bytes = 4 * (2 * channels + heads + 2 * rows * s.G * s.N),
                 bwd_bytes = 4 * (3 * channels + 2 * heads + 4 * rows * s.G * s.N);
    ssd k;
    scan one;
    HY_TRY(ssd_open(&k, s, HY_F32, &o->cpu, false));
    HY_TRY(scan_open(&one, s.B, s.T, s.H * s.P, &o->cpu));
    for (int i = -1; i < o->reps; i++) {  // -1 warms up
        const int j = i < 0 ? 0 : i;
        TIMED(fwd[j], ssd_forward(&k));
        TIMED(gemm_s[j], m->run.run(&m->a, m->ws, &m->req));
        TIMED(train[j], ssd_train(&k));
        TIMED(scan_f[j], one.train.run(&one.a, one.ws, &one.req));
        TIMED(bwd[j], ssd_backward(&k));
        TIMED(scan_b[j], one.bwd.run(&one.g, one.ws, &one.req));
        TIMED(copy_s[j], copy(k.p[DX], k.p[X], (size_t)channels, o->cpu.threads));
    }
    row(t, "ssd", &s, fwd, o->reps, fwd_flops, gemm_s, fwd_bytes, copy_s, 8 * channels, scan_f);
    row(t, "ssd, training", &s, train, o->reps, fwd_flops, gemm_s, fwd_bytes, copy_s, 8 * channels, scan_f);
    row(t, "ssd backward", &s, bwd, o->reps, bwd_flops, gemm_s, bwd_bytes, copy_s, 8 * channels, scan_b);
    hy_table_note(t,
                  "%dx%dx%dx%dx%dx%d: largest relative error of outputs and gradients %.1e (130 tokens, against "
                  "double); kept for backward %.1f MB, "
                  "workspace %.1f MB",
                  s.B, s.T, s.H, s.P, s.G, s.N, worst, (double)k.train.saved / 1e6, (double)k.bwd.workspace / 1e6);
    ssd_free(&k), scan_free(&one);
    return HY_OK;
}

static hy_status bench_decode(hy_table *t, shape s, const options *o) {
    double sec[MAX_REPS], copy_s[MAX_REPS];
    ssd k;
    const size_t states = field_size(&s, STATE);
    HY_TRY(ssd_open(&k, s, HY_F32, &o->cpu, true));
    float *to = hy_alloc(states * sizeof *to);
    if (!to) return HY_ENOMEM;
    for (int i = -1; i < o->reps; i++) {
        const int j = i < 0 ? 0 : i;
        TIMED(sec[j], ssd_forward(&k));
        TIMED(copy_s[j], copy(to, k.p[STATE], states, o->cpu.threads));
    }
    row(t, "ssd, one token", &s, sec, o->reps, 0, NULL, 8.0 * (double)states, copy_s, 8.0 * (double)states, NULL);
    free(to);
    ssd_free(&k);
    return HY_OK;
}

static const char help[] =
    "usage: bench_ssd [--threads N] [--isa auto|base|avx2|avx512] [--reps N] [--format " HY_TABLE_FORMATS "]\n"
    "Times SSD (Mamba-2) against its floors and the Mamba-1 scan; see the notes under the table.\n"
    "  --threads N   0: all cores this process may use (default)\n"
    "  --isa NAME    instruction set (default auto: the best of this machine)\n"
    "  --reps N      interleaved repetitions, 9 to 101 (default 9)\n"
    "example: bench_ssd --threads 1 --isa avx2 --format csv\n";

static hy_status parse(int argc, char **argv, options *o) {
    const char *isa = NULL;
    long threads = 0, reps = 9;
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (!v) return hy_error(HY_EINPUT, "\"%s\" needs a value\n%s", name, help);
        if (!strcmp(name, "--isa"))
            isa = v;
        else if (!strcmp(name, "--format"))
            HY_TRY(hy_table_format_parse(v, &o->format));
        else if (!strcmp(name, "--threads"))
            threads = strtol(v, &end, 10);
        else if (!strcmp(name, "--reps"))
            reps = strtol(v, &end, 10);
        else
            return hy_error(HY_EINPUT, "unknown option \"%s\"\n%s", name, help);
        if (end && (*end || end == v)) return hy_error(HY_EINPUT, "%s needs a whole number, got \"%s\"", name, v);
    }
    if (threads < 0 || threads > 1024) return hy_error(HY_EINPUT, "--threads must be 0 to 1024");
    if (reps < 9 || reps > MAX_REPS) return hy_error(HY_EINPUT, "--reps must be 9 to %d", MAX_REPS);
    HY_TRY(hy_backend_cpu("ref", 1, &o->ref));
    HY_TRY(hy_backend_cpu(isa, (int)threads, &o->cpu));
    if (o->cpu.isa == HY_ISA_REF)
        return hy_error(HY_EINPUT, "the reference has no floor to be compared with: choose base, avx2 or avx512");
    o->reps = (int)reps;
    return HY_OK;
}

static hy_status bench(const options *o) {
    // as wide as Mamba2-130M; with the states of Mamba-1; many states
    static const shape tokens[] = {{2, 1024, 24, 64, 1, 128}, {4, 1024, 16, 64, 1, 16}, {1, 1024, 16, 64, 2, 256}},
                       decode[] = {{1, 1, 24, 64, 1, 128}, {16, 1, 24, 64, 1, 128}};
    char title[96];
    snprintf(title, sizeof title, "SSD, float32, %s, %d thread%s, median of %d", hy_isa_name(o->cpu.isa),
             o->cpu.threads, o->cpu.threads == 1 ? "" : "s", o->reps);
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "op", NULL, NULL, HY_LEFT);
    hy_table_column(t, "shape", NULL, "B T H P G N", HY_LEFT);
    hy_table_column(t, "time", NULL, "ms", HY_RIGHT);
    hy_table_column(t, "rate", "products", "GFLOP/s", HY_RIGHT);
    hy_table_column(t, "over_sgemm", "over sgemm", "times", HY_RIGHT);
    hy_table_column(t, "bandwidth", NULL, "GB/s", HY_RIGHT);
    hy_table_column(t, "over_copy", "over copy", "times", HY_RIGHT);
    hy_table_column(t, "over_scan", "over scan", "times", HY_RIGHT);
    gemm m;
    hy_status st = gemm_open(&m, &o->cpu);
    for (int i = 0; i < 3 && st == HY_OK; i++) st = bench_tokens(t, tokens[i], o, &m);
    for (int i = 0; i < 2 && st == HY_OK; i++) st = bench_decode(t, decode[i], o);
    gemm_free(&m);
    hy_table_note(t, "over sgemm: time over that of as many operations of a %d x %d x %d product of the library",
                  GEMM_M, GEMM_N, GEMM_K);
    hy_table_note(
        t, "over copy: time over that of copying as many bytes (operands read and written; one token: the state)");
    hy_table_note(t,
                  "over scan: time over that of a Mamba-1 scan over as many channels with %d states each (training "
                  "forward, backward)",
                  SCAN_STATES);
    if (st == HY_OK) st = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return st;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--help")) return fputs(help, stdout) < 0;
    options o = {0};
    hy_status s = parse(argc, argv, &o);
    if (s == HY_OK) s = bench(&o);
    if (s != HY_OK) fprintf(stderr, "bench_ssd: %s\n", hy_error_text());
    return hy_status_exit(s);
}
