// bench_scan.c - speed of the selective scan and the causal convolution, forward and backward, against their floors:
// the exps alone (the same polynomial), the bytes alone (a measured copy), and a plain scalar loop with expf.
// Everything runs interleaved in this process, after a parity check against the double-precision reference.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/table.h"
#include "kernels/ceilings.h"

#define PARITY_LIMIT 5e-6  // relative to the norm, float against double over 64 tokens
#define MAX_REPS 101
#define SCALAR_REPS 3  // of the scalar loop, which takes as long as everything else together

typedef struct {
    hy_backend cpu, ref;
    int reps;
    hy_table_format format;
} options;
typedef struct {
    int B, T, D, N;
} shape;

// ---------------------------------------------------------------------------------------------------- operands
enum { X, DT, A_LOG, BM, CM, SKIP, GATE, DY, Y, DX, DDT, DA, DB, DC, DSKIP, DGATE, FIELDS };
typedef struct {
    shape s;
    hy_dtype dtype;
    void *p[FIELDS], *saved, *ws;
    hy_launch fwd, train, bwd;
    hy_scan_args a;
    hy_scan_bwd_args g;
    hy_plan_req req;
} scan;

static size_t field_size(const shape *s, int f) {
    const size_t rows = (size_t)s->B * s->T;
    switch (f) {
        case A_LOG:
        case DA: return (size_t)s->D * s->N;
        case BM:
        case CM:
        case DB:
        case DC: return rows * s->N;
        case SKIP:
        case DSKIP: return s->D;
        default: return rows * s->D;
    }
}
static double field_value(int f, size_t i, int N, hy_rng *rng) {
    switch (f) {
        case DT: return -4 + hy_rng_normal(rng);
        case A_LOG: return log(1.0 + (double)(i % (size_t)N));
        case SKIP: return 1;
        default: return hy_rng_normal(rng);
    }
}
static hy_status scan_open(scan *out, shape s, hy_dtype dtype, const hy_backend *cpu) {
    scan k = {.s = s, .dtype = dtype, .req = {.dtype = dtype, .isa = cpu->isa, .threads = cpu->threads}};
    const size_t es = hy_dtype_size(dtype);
    for (int f = 0; f < FIELDS; f++) {
        const size_t n = field_size(&s, f);
        hy_rng rng = hy_rng_make(1, (uint64_t)f);
        if (!(k.p[f] = hy_alloc(n * es))) return HY_ENOMEM;
        for (size_t i = 0; f <= DY && i < n; i++) {
            const float v = (float)field_value(f, i, s.N, &rng);
            if (dtype == HY_F64)
                ((double *)k.p[f])[i] = v;
            else
                ((float *)k.p[f])[i] = v;
        }
    }
    void *const *p = k.p;
    k.a = (hy_scan_args){.B = s.B,
                         .T = s.T,
                         .D = s.D,
                         .N = s.N,
                         .x = p[X],
                         .dt = p[DT],
                         .A_log = p[A_LOG],
                         .Bm = p[BM],
                         .Cm = p[CM],
                         .skip = p[SKIP],
                         .gate = p[GATE],
                         .y = p[Y],
                         .ldx = s.D,
                         .lddt = s.D,
                         .ldB = s.N,
                         .ldC = s.N,
                         .ldgate = s.D,
                         .ldy = s.D};
    k.g = (hy_scan_bwd_args){.dy = p[DY],
                             .dx = p[DX],
                             .ddt = p[DDT],
                             .dA_log = p[DA],
                             .dBm = p[DB],
                             .dCm = p[DC],
                             .dskip = p[DSKIP],
                             .dgate = p[DGATE],
                             .lddy = s.D,
                             .lddx = s.D,
                             .ldddt = s.D,
                             .lddB = s.N,
                             .lddC = s.N,
                             .lddgate = s.D};
    HY_TRY(cpu->plan[HY_K_scan](&k.a, &k.req, &k.fwd));
    k.req.training = true;
    HY_TRY(cpu->plan[HY_K_scan](&k.a, &k.req, &k.train));
    k.g.f = k.a;
    HY_TRY(cpu->plan[HY_K_scan_bwd](&k.g, &k.req, &k.bwd));
    k.saved = hy_alloc(k.train.saved);
    k.ws = hy_alloc(k.fwd.workspace > k.bwd.workspace ? k.fwd.workspace : k.bwd.workspace);
    *out = k;
    return k.saved && k.ws ? HY_OK : HY_ENOMEM;
}
static void scan_free(scan *k) {
    for (int f = 0; f < FIELDS; f++) free(k->p[f]);
    free(k->saved);
    free(k->ws);
}
static hy_status scan_forward(scan *k, bool training) {
    k->a.saved = training ? k->saved : NULL;
    const hy_launch *l = training ? &k->train : &k->fwd;
    return l->run(&k->a, k->ws, &k->req);
}
static hy_status scan_backward(scan *k) {
    k->g.f = k->a;
    return k->bwd.run(&k->g, k->ws, &k->req);
}

// ---------------------------------------------------------------------------------------------------- parity
static double distance(const float *a, const double *b, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(diff / norm);
}
static hy_status parity(shape s, const options *o, double *worst) {
    s.B = 1, s.T = s.T < 64 ? s.T : 64;
    scan fast, ref;
    HY_TRY(scan_open(&fast, s, HY_F32, &o->cpu));
    HY_TRY(scan_open(&ref, s, HY_F64, &o->ref));
    HY_TRY(scan_forward(&fast, true));
    HY_TRY(scan_backward(&fast));
    HY_TRY(scan_forward(&ref, true));
    HY_TRY(scan_backward(&ref));
    *worst = 0;
    for (int f = Y; f < FIELDS; f++) {
        const double e = distance(fast.p[f], ref.p[f], field_size(&s, f));
        if (!(e <= *worst)) *worst = e;  // a NaN stays
    }
    scan_free(&fast), scan_free(&ref);
    if (*worst <= PARITY_LIMIT) return HY_OK;
    return hy_error(HY_EFAIL, "scan %dx%dx%dx%d: off by %.2g from the double reference, allowed %.2g: not timed", s.B,
                    s.T, s.D, s.N, *worst, PARITY_LIMIT);
}

// -------------------------------------------------------------------------------------------- what it is compared with
// The obvious loop, one expf a state, sequences in parallel.
static hy_status scalar_scan(scan *k) {
    const shape s = k->s;
    const float *x = k->p[X], *dt = k->p[DT], *A_log = k->p[A_LOG], *B = k->p[BM], *C = k->p[CM], *skip = k->p[SKIP],
                *gate = k->p[GATE];
    float *A = hy_alloc((size_t)s.D * s.N * 4), *state = hy_alloc((size_t)s.B * s.D * s.N * 4), *y = k->p[Y];
    if (!A || !state) return HY_ENOMEM;
    for (size_t i = 0; i < (size_t)s.D * s.N; i++) A[i] = -expf(A_log[i]);
#pragma omp parallel for num_threads(k->req.threads)
    for (int b = 0; b < s.B; b++)
        for (int t = 0; t < s.T; t++) {
            const size_t row = (size_t)b * s.T + t;
            for (int d = 0; d < s.D; d++) {
                const size_t i = row * s.D + d;
                const float delta = log1pf(expf(dt[i])), u = delta * x[i];
                float *h = state + ((size_t)b * s.D + d) * s.N, sum = skip[d] * x[i];
                for (int n = 0; n < s.N; n++) {
                    h[n] = expf(delta * A[(size_t)d * s.N + n]) * h[n] + u * B[row * s.N + n];
                    sum += C[row * s.N + n] * h[n];
                }
                y[i] = sum * gate[i] / (1 + expf(-gate[i]));
            }
        }
    free(A), free(state);
    return HY_OK;
}
static hy_status exps(double n, const options *o) {
    const double sum = hy_cpu_exp2_floor(o->cpu.isa, o->cpu.threads, (size_t)n);
    return sum > 0 ? HY_OK : hy_error(HY_EFAIL, "the exp2 loop gave %g", sum);
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

static void row(hy_table *t, const char *what, const shape *s, const double *ms, int reps, double exp_count,
                const double *exp_ms, double bytes, const double *copy_ms, double copy_bytes, const double *scalar) {
    hy_table_row(t);
    hy_table_text(t, "%s", what);
    hy_table_text(t, "%dx%dx%dx%d", s->B, s->T, s->D, s->N);
    hy_table_num(t, 1e3 * hy_median(ms, reps), 2);
    if (exp_count > 0) {
        hy_table_num(t, exp_count / hy_median(ms, reps) / 1e9, 2);
        hy_table_num(t, ratio(ms, exp_ms, reps), 2);
    } else
        hy_table_empty(t), hy_table_empty(t);
    hy_table_num(t, bytes / hy_median(ms, reps) / 1e9, 1);
    hy_table_num(t, ratio(ms, copy_ms, reps) * copy_bytes / bytes, 2);
    if (scalar) hy_table_num(t, ratio(scalar, ms, SCALAR_REPS), 1);
}

static hy_status bench_scan(hy_table *t, shape s, const options *o) {
    double worst;
    HY_TRY(parity(s, o, &worst));
    const double states = (double)s.B * s.T * s.D * s.N, channels = (double)s.B * s.T * s.D;
    // forward: one exp a state, and softplus and silu; backward recomputes those and the states once
    const double count = states + 2 * channels, rows = (double)s.B * s.T;
    const double fwd_bytes = 4 * (4 * channels + 2 * rows * s.N), bwd_bytes = 4 * (7 * channels + 4 * rows * s.N);
    double fwd[MAX_REPS], train[MAX_REPS], bwd[MAX_REPS], floor_s[MAX_REPS], copy_s[MAX_REPS], scalar[MAX_REPS];
    scan k;
    HY_TRY(scan_open(&k, s, HY_F32, &o->cpu));
    for (int i = -1; i < o->reps; i++) {  // -1 warms up
        const int j = i < 0 ? 0 : i;
        TIMED(fwd[j], scan_forward(&k, false));
        TIMED(floor_s[j], exps(count, o));
        TIMED(train[j], scan_forward(&k, true));
        TIMED(bwd[j], scan_backward(&k));
        TIMED(copy_s[j], copy(k.p[DX], k.p[X], (size_t)channels, o->cpu.threads));
        if (i < SCALAR_REPS) TIMED(scalar[j], scalar_scan(&k));
    }
    const double copied = 8 * channels;
    row(t, "scan", &s, fwd, o->reps, count, floor_s, fwd_bytes, copy_s, copied, scalar);
    row(t, "scan, training", &s, train, o->reps, count, floor_s, fwd_bytes + (double)k.train.saved, copy_s, copied,
        scalar);
    row(t, "scan backward", &s, bwd, o->reps, count, floor_s, bwd_bytes + (double)k.train.saved, copy_s, copied, NULL);
    hy_table_note(t,
                  "scan %dx%dx%dx%d: largest relative error of outputs and gradients %.1e (64 tokens, against double)",
                  s.B, s.T, s.D, s.N, worst);
    scan_free(&k);
    return HY_OK;
}

typedef struct {
    float *x, *y, *dy, *dx, *w, *dw, *bias, *dbias;
    void *ws;
    hy_launch fwd, bwd;
    hy_conv_args a;
    hy_conv_bwd_args g;
} conv;
static float *normal(size_t n, uint64_t stream) {
    float *p = hy_alloc(n * sizeof(float));
    hy_rng rng = hy_rng_make(1, stream);
    for (size_t i = 0; p && i < n; i++) p[i] = (float)hy_rng_normal(&rng);
    return p;
}
static hy_status conv_open(conv *k, shape s, const hy_plan_req *req, const hy_backend *cpu) {
    const size_t n = (size_t)s.B * s.T * s.D, D = s.D, K = s.N;
    *k = (conv){.x = normal(n, 1),
                .y = normal(n, 2),
                .dy = normal(n, 3),
                .dx = normal(n, 4),
                .w = normal(D * K, 5),
                .dw = normal(D * K, 6),
                .bias = normal(D, 7),
                .dbias = normal(D, 8)};
    if (!k->x || !k->y || !k->dy || !k->dx || !k->w || !k->dw || !k->bias || !k->dbias) return HY_ENOMEM;
    k->a = (hy_conv_args){.B = s.B,
                          .T = s.T,
                          .D = s.D,
                          .K = s.N,
                          .silu = true,
                          .x = k->x,
                          .w = k->w,
                          .bias = k->bias,
                          .y = k->y,
                          .ldx = s.D,
                          .ldy = s.D};
    k->g = (hy_conv_bwd_args){
        .f = k->a, .dy = k->dy, .dx = k->dx, .dw = k->dw, .dbias = k->dbias, .lddy = s.D, .lddx = s.D};
    HY_TRY(cpu->plan[HY_K_conv](&k->a, req, &k->fwd));
    HY_TRY(cpu->plan[HY_K_conv_bwd](&k->g, req, &k->bwd));
    k->ws = hy_alloc(k->fwd.workspace > k->bwd.workspace ? k->fwd.workspace : k->bwd.workspace);
    return k->ws ? HY_OK : HY_ENOMEM;
}
static void conv_free(conv *k) {
    free(k->x), free(k->y), free(k->dy), free(k->dx), free(k->w), free(k->dw), free(k->bias), free(k->dbias),
        free(k->ws);
}

static hy_status bench_conv(hy_table *t, shape s, const options *o) {
    const hy_plan_req req = {.dtype = HY_F32, .isa = o->cpu.isa, .threads = o->cpu.threads};
    const hy_plan_req ref = {.dtype = HY_F32, .isa = HY_ISA_REF, .threads = 1};
    const size_t n = (size_t)s.B * s.T * s.D;
    double fs[MAX_REPS], bs[MAX_REPS], cs[MAX_REPS], diff = 0, norm = 0;
    conv k, r;
    // parity first, of the outputs of one short sequence
    HY_TRY(conv_open(&k, (shape){1, 64, s.D, s.N}, &req, &o->cpu));
    HY_TRY(conv_open(&r, (shape){1, 64, s.D, s.N}, &ref, &o->ref));
    HY_TRY(k.fwd.run(&k.a, k.ws, &req));
    HY_TRY(r.fwd.run(&r.a, r.ws, &ref));
    HY_TRY(k.bwd.run(&k.g, k.ws, &req));
    HY_TRY(r.bwd.run(&r.g, r.ws, &ref));
    for (size_t i = 0; i < 64 * (size_t)s.D; i++) {
        diff += pow(k.y[i] - r.y[i], 2) + pow(k.dx[i] - r.dx[i], 2);
        norm += pow(r.y[i], 2) + pow(r.dx[i], 2);
    }
    conv_free(&k), conv_free(&r);
    if (!(sqrt(diff / norm) <= PARITY_LIMIT))
        return hy_error(HY_EFAIL, "conv: off by %.2g from the reference: not timed", sqrt(diff / norm));
    HY_TRY(conv_open(&k, s, &req, &o->cpu));
    for (int i = -1; i < o->reps; i++) {
        const int j = i < 0 ? 0 : i;
        TIMED(fs[j], k.fwd.run(&k.a, k.ws, &req));
        TIMED(cs[j], copy(k.dx, k.x, n, o->cpu.threads));
        TIMED(bs[j], k.bwd.run(&k.g, k.ws, &req));
    }
    row(t, "conv, silu", &s, fs, o->reps, 0, NULL, 8.0 * (double)n, cs, 8.0 * (double)n, NULL);
    row(t, "conv backward", &s, bs, o->reps, 0, NULL, 12.0 * (double)n, cs, 8.0 * (double)n, NULL);
    conv_free(&k);
    return HY_OK;
}

static const char help[] =
    "usage: bench_scan [--threads N] [--isa auto|base|avx2|avx512] [--reps N] [--format " HY_TABLE_FORMATS "]\n"
    "Times the selective scan and the causal convolution against their floors; see the notes under the table.\n"
    "  --threads N   0: all cores this process may use (default)\n"
    "  --isa NAME    instruction set (default auto: the best of this machine)\n"
    "  --reps N      interleaved repetitions, 9 to 101 (default 9)\n"
    "example: bench_scan --threads 1 --isa avx2 --format csv\n";

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
    static const shape scans[] = {{8, 1024, 1024, 16}, {8, 512, 512, 16}},
                       convs[] = {{8, 1024, 1024, 4}, {8, 512, 512, 3}};
    char title[96];
    snprintf(title, sizeof title, "Scan and convolution, float32, %s, %d thread%s, median of %d",
             hy_isa_name(o->cpu.isa), o->cpu.threads, o->cpu.threads == 1 ? "" : "s", o->reps);
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "op", NULL, NULL, HY_LEFT);
    hy_table_column(t, "shape", NULL, "B T D N|K", HY_LEFT);
    hy_table_column(t, "time", NULL, "ms", HY_RIGHT);
    hy_table_column(t, "exp_rate", "exp", "G/s", HY_RIGHT);
    hy_table_column(t, "over_exp_floor", "over exp floor", "times", HY_RIGHT);
    hy_table_column(t, "bandwidth", NULL, "GB/s", HY_RIGHT);
    hy_table_column(t, "over_copy", "over copy", "times", HY_RIGHT);
    hy_table_column(t, "faster_than_expf", "faster than expf", "times", HY_RIGHT);
    hy_status st = HY_OK;
    for (int i = 0; i < 2 && st == HY_OK; i++) st = bench_scan(t, scans[i], o);
    for (int i = 0; i < 2 && st == HY_OK; i++) st = bench_conv(t, convs[i], o);
    hy_table_note(
        t,
        "over exp floor: time over that of the same number of exp2 alone (one per state, two per channel and token)");
    hy_table_note(t, "over copy: time over that of copying as many bytes (read and written) with the same threads");
    hy_table_note(t, "faster than expf: a scalar loop with expf and the same threads, over this kernel");
    if (st == HY_OK) st = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return st;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--help")) return fputs(help, stdout) < 0;
    options o = {0};
    hy_status s = parse(argc, argv, &o);
    if (s == HY_OK) s = bench(&o);
    if (s != HY_OK) fprintf(stderr, "bench_scan: %s\n", hy_error_text());
    return hy_status_exit(s);
}
