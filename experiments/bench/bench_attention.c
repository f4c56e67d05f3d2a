// bench_attention.c - how fast attention is: GFLOP/s forward and backward as share of this machine's sgemm rate,
// decoding as share of its memory read rate. Each case is first checked against sums in double at sampled places; then
// all cases and both yardsticks run in turn, again and again, and medians over the rounds are printed.
#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/base.h"
#include "core/format/table.h"
#include "kernels/ceilings.h"

#define TOL_PARITY 1e-5  // of single values against sums in double, relative to the largest of the row

typedef struct {
    const char *name;
    int B, T, heads, kv_heads, d_qk, d_v, window, meta, depth;  // depth: cached positions before the T tokens
    bool backward;
} shape;
static const shape SHAPES[] = {
    {"forward B8 T512 H4 d64 causal", 8, 512, 4, 4, 64, 64, 0, 0, 0, false},
    {"forward B8 T512 H4 d64 window 128 meta 16", 8, 512, 4, 4, 64, 64, 128, 16, 0, false},
    {"forward B1 T4096 H8 d64 window 256", 1, 4096, 8, 8, 64, 64, 256, 0, 0, false},
    {"forward B1 T4096 H8 d64 causal", 1, 4096, 8, 8, 64, 64, 0, 0, 0, false},
    {"forward B4 T1024 H10/2 d64/128 window 256 meta 128", 4, 1024, 10, 2, 64, 128, 256, 128, 0, false},
    {"backward B8 T512 H4 d64 causal", 8, 512, 4, 4, 64, 64, 0, 0, 0, true},
    {"backward B8 T512 H4 d64 window 128 meta 16", 8, 512, 4, 4, 64, 64, 128, 16, 0, true},
    {"decode B8 depth 4096 H8 d64", 8, 1, 8, 8, 64, 64, 0, 0, 4096, false},
    {"decode B8 depth 4096 H25/5 d64/128", 8, 1, 25, 5, 64, 128, 0, 128, 4096, false},
    {"decode B1 depth 4096 H8 d64 window 256 meta 128", 1, 1, 8, 8, 64, 64, 256, 128, 4096, false},
};
enum { CASES = sizeof SHAPES / sizeof *SHAPES };

typedef struct {
    const shape *s;
    hy_attention_bwd_args g;  // g.f: the forward arguments
    hy_launch forward, run;
    void *workspace;
    int32_t *pos, *len;
    double gflop, bytes;
} job;
typedef struct {
    double *seconds[CASES], *share[CASES];
    double *sgemm, *read;  // GFLOP/s, GB/s of each round
} samples;

static bool use_cpu_time;  // --clock cpu: processor time of one thread, for a machine that is busy with other work
static double now(void) {
    struct timespec t;
    if (!use_cpu_time) return hy_now();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static bool chosen(int i, const char *only) { return !only || strstr(SHAPES[i].name, only); }

static float *numbers(size_t n, uint64_t stream) {
    float *p = hy_alloc(n * sizeof *p);
    hy_rng rng = hy_rng_make(7, stream);
    for (size_t i = 0; p && i < n; i++) p[i] = (float)(2 * hy_rng_uniform(&rng) - 1);
    return p;
}
static bool sees(const shape *s, int q, int k) { return hy_attn_visible(q, k, s->window, s->meta); }

static hy_status job_make(const shape *s, const hy_backend *cpu, job *j) {
    *j = (job){.s = s};
    size_t rows = (size_t)s->B * s->T, nq = rows * s->heads * s->d_qk, nk = rows * s->kv_heads * s->d_qk,
           nv = rows * s->kv_heads * s->d_v, no = rows * s->heads * s->d_v;
    int cap = hy_attn_cap(s->depth, s->window, s->meta);
    hy_attention_args *a = &j->g.f;
    j->pos = hy_xcalloc((size_t)s->B, sizeof *j->pos), j->len = hy_xcalloc((size_t)s->B, sizeof *j->len);
    for (int b = 0; b < s->B; b++) j->pos[b] = s->depth, j->len[b] = s->T;
    *a = (hy_attention_args){s->B,
                             s->T,
                             s->heads,
                             s->kv_heads,
                             s->d_qk,
                             s->d_v,
                             s->window,
                             s->meta,
                             1 / sqrt(s->d_qk),
                             .pos = j->pos,
                             .len = j->len,
                             .ldq = s->heads * s->d_qk,
                             .ldk = s->kv_heads * s->d_qk,
                             .ldv = s->kv_heads * s->d_v,
                             .ldo = s->heads * s->d_v};
    a->q = numbers(nq, 1), a->k = numbers(nk, 2), a->v = numbers(nv, 3), a->o = numbers(no, 4),
    a->saved = numbers(rows * s->heads, 5);
    if (s->depth)
        a->cache = (hy_kv_view){numbers((size_t)s->B * s->kv_heads * cap * s->d_qk, 6),
                                numbers((size_t)s->B * s->kv_heads * cap * s->d_v, 7), cap};
    j->g.dout = numbers(no, 8), j->g.dq = numbers(nq, 9), j->g.dk = numbers(nk, 10), j->g.dv = numbers(nv, 11);
    j->g.lddo = a->ldo, j->g.lddq = a->ldq, j->g.lddk = a->ldk, j->g.lddv = a->ldv;
    double pairs = 0;
    for (int t = 0; t < s->T; t++)
        for (int k = 0; k <= s->depth + t; k++) pairs += sees(s, s->depth + t, k);
    pairs *= (double)s->B;
    j->gflop = pairs * s->heads * 2 * (s->backward ? 3.0 * s->d_qk + 2.0 * s->d_v : s->d_qk + s->d_v) * 1e-9;
    j->bytes = pairs * s->kv_heads * (s->d_qk + s->d_v) * sizeof(float);
    hy_plan_req req = {HY_F32, cpu->isa, cpu->threads, true};
    HY_TRY(cpu->plan[HY_K_attention](a, &req, &j->forward));
    j->run = j->forward;
    if (s->backward) HY_TRY(cpu->plan[HY_K_attention_bwd](&j->g, &req, &j->run));
    size_t need = j->forward.workspace > j->run.workspace ? j->forward.workspace : j->run.workspace;
    j->workspace = hy_alloc(need + 64);
    return j->workspace && a->q && a->k && a->v && a->o && j->g.dout && j->g.dq && j->g.dk && j->g.dv ? HY_OK
                                                                                                      : HY_ENOMEM;
}
static hy_status job_run(const job *j, const hy_backend *cpu, const hy_launch *l) {
    hy_plan_req req = {HY_F32, cpu->isa, cpu->threads, true};
    return l->run(l == &j->run && j->s->backward ? (const void *)&j->g : (const void *)&j->g.f, j->workspace, &req);
}

// ---- parity at sampled places, in double
static const float *key(const job *j, int b, int h, int p, bool value) {
    const hy_attention_args *a = &j->g.f;
    int d = value ? a->d_v : a->d_qk, ld = value ? a->ldv : a->ldk;
    if (p >= j->pos[b]) return (const float *)(value ? a->v : a->k) + ((size_t)b * a->T + p - j->pos[b]) * ld + h * d;
    return (const float *)(value ? a->cache.v : a->cache.k) +
           (((size_t)b * a->kv_heads + h) * a->cache.cap + hy_attn_slot(p, a->meta, a->cache.cap)) * d;
}
static double dot(const float *x, const float *y, int n) {
    double s = 0;
    for (int i = 0; i < n; i++) s += (double)x[i] * y[i];
    return s;
}
static const float *row(const void *base, int ld, const job *j, int b, int t) {
    return (const float *)base + ((size_t)b * j->s->T + t) * ld;
}
static double worst(const double *want, const float *got, int n) {
    double top = 1e-30, d = 0;
    for (int i = 0; i < n; i++)
        top = fmax(top, fabs(want[i])), d = fmax(d, !isfinite(got[i]) ? INFINITY : fabs(want[i] - got[i]));
    return d / top;
}
static double check_forward(const job *j, int b, int t, int h, double *acc) {
    const hy_attention_args *a = &j->g.f;
    int kvh = h / (a->heads / a->kv_heads), q = j->pos[b] + t;
    const float *qr = row(a->q, a->ldq, j, b, t) + h * a->d_qk;
    double sum = 0;  // scores are small: no maximum needed
    for (int c = 0; c < a->d_v; c++) acc[c] = 0;
    for (int p = 0; p <= q; p++) {
        if (!sees(j->s, q, p)) continue;
        double w = exp(a->scale * dot(qr, key(j, b, kvh, p, false), a->d_qk));
        sum += w;
        for (int c = 0; c < a->d_v; c++) acc[c] += w * key(j, b, kvh, p, true)[c];
    }
    for (int c = 0; c < a->d_v; c++) acc[c] /= sum;
    double lse = log(sum), got = row(a->saved, a->heads, j, b, t)[h];
    return fmax(worst(acc, row(a->o, a->ldo, j, b, t) + h * a->d_v, a->d_v), fabs(lse - got) / fmax(1, fabs(lse)));
}
static double score_gradient(const job *j, int b, int t, int h, int p, double *weight) {
    const hy_attention_args *a = &j->g.f;
    int kvh = h / (a->heads / a->kv_heads);
    const float *go = row(j->g.dout, a->ldo, j, b, t) + h * a->d_v;
    *weight = exp(a->scale * dot(row(a->q, a->ldq, j, b, t) + h * a->d_qk, key(j, b, kvh, p, false), a->d_qk) -
                  row(a->saved, a->heads, j, b, t)[h]);
    return *weight *
           (dot(go, key(j, b, kvh, p, true), a->d_v) - dot(go, row(a->o, a->ldo, j, b, t) + h * a->d_v, a->d_v));
}
static double check_backward(const job *j, int b, int t, int h, double *acc) {
    const hy_attention_args *a = &j->g.f;
    int group = a->heads / a->kv_heads, kvh = h / group;
    double *dq = acc, *dk = dq + a->d_qk, *dv = dk + a->d_qk, w;
    for (int c = 0; c < 2 * a->d_qk + a->d_v; c++) acc[c] = 0;
    for (int p = 0; p <= t; p++) {
        if (!sees(j->s, t, p)) continue;
        double ds = a->scale * score_gradient(j, b, t, h, p, &w);
        for (int c = 0; c < a->d_qk; c++) dq[c] += ds * key(j, b, kvh, p, false)[c];
    }
    for (int q = t; q < a->T; q++)
        for (int u = kvh * group; sees(j->s, q, t) && u < (kvh + 1) * group; u++) {
            double ds = a->scale * score_gradient(j, b, q, u, t, &w);
            for (int c = 0; c < a->d_qk; c++) dk[c] += ds * row(a->q, a->ldq, j, b, q)[u * a->d_qk + c];
            for (int c = 0; c < a->d_v; c++) dv[c] += w * row(j->g.dout, a->ldo, j, b, q)[u * a->d_v + c];
        }
    return fmax(worst(dq, row(j->g.dq, a->ldq, j, b, t) + h * a->d_qk, a->d_qk),
                fmax(worst(dk, row(j->g.dk, a->ldk, j, b, t) + kvh * a->d_qk, a->d_qk),
                     worst(dv, row(j->g.dv, a->ldv, j, b, t) + kvh * a->d_v, a->d_v)));
}
static hy_status check(const job *j, const hy_backend *cpu) {
    HY_TRY(job_run(j, cpu, &j->forward));
    if (j->s->backward) HY_TRY(job_run(j, cpu, &j->run));
    double *acc = hy_xcalloc((size_t)(2 * j->s->d_qk + j->s->d_v), sizeof *acc), bad = 0;
    hy_rng rng = hy_rng_make(3, 3);
    for (int i = 0; i < 24; i++) {
        int b = (int)hy_rng_below(&rng, (uint64_t)j->s->B), t = (int)hy_rng_below(&rng, (uint64_t)j->s->T),
            h = (int)hy_rng_below(&rng, (uint64_t)j->s->heads);
        double e = check_forward(j, b, t, h, acc);
        if (j->s->backward) e = fmax(e, check_backward(j, b, t, h, acc));
        if (!(e <= bad)) bad = e;
    }
    free(acc);
    return bad <= TOL_PARITY ? HY_OK : hy_error(HY_EFAIL, "%s: results are off by %g", j->s->name, bad);
}

// ---- yardsticks
typedef struct {
    hy_linear_args a;
    hy_launch l;
    void *workspace;
    uint64_t *memory;
    size_t words;
} yardstick;
static hy_status yardstick_make(const hy_backend *cpu, yardstick *y) {
    enum { N = 1024 };
    *y = (yardstick){.a = {.M = N,
                           .N = N,
                           .K = N,
                           .x = numbers(N * N, 20),
                           .w = numbers(N * N, 21),
                           .y = numbers(N * N, 22),
                           .ldx = N,
                           .ldy = N}};
    y->words = (size_t)32 << 20;  // 256 MiB: far beyond the caches
    y->memory = hy_alloc(y->words * sizeof *y->memory);
    hy_plan_req req = {HY_F32, cpu->isa, cpu->threads, false};
    HY_TRY(cpu->plan[HY_K_linear](&y->a, &req, &y->l));
    y->workspace = hy_alloc(y->l.workspace + 64);
    if (!y->memory || !y->workspace || !y->a.x || !y->a.w || !y->a.y) return HY_ENOMEM;
    for (size_t i = 0; i < y->words; i++) y->memory[i] = i;
    return HY_OK;
}
static hy_status sgemm_rate(const yardstick *y, const hy_backend *cpu, double *gflops) {
    hy_plan_req req = {HY_F32, cpu->isa, cpu->threads, false};
    double t = now();
    HY_TRY(y->l.run(&y->a, y->workspace, &req));
    *gflops = 2.0 * y->a.M * y->a.N * y->a.K / (now() - t) * 1e-9;
    return HY_OK;
}
static double read_rate(const yardstick *y, int threads) {
    uint64_t sum = 0;
    double t = now();
#pragma omp parallel for schedule(static) num_threads(threads) reduction(^ : sum)
    for (size_t i = 0; i < y->words; i += 8) {
        const uint64_t *p = y->memory + i;
        sum ^= (p[0] ^ p[1] ^ p[2] ^ p[3]) ^ (p[4] ^ p[5] ^ p[6] ^ p[7]);
    }
    t = now() - t;
    return sum == 1 ? 0 : (double)y->words * sizeof *y->memory / t * 1e-9;  // using the sum keeps the loop
}

// ---- rounds and table
static hy_status measure(const job *jobs, const hy_backend *cpu, const yardstick *y, int rounds, const char *only,
                         samples *s) {
    for (int r = 0; r < rounds; r++) {
        s->read[r] = read_rate(y, cpu->threads);
        for (int i = 0; i < CASES; i++) {
            double before, after, t;
            if (!chosen(i, only)) continue;
            HY_TRY(sgemm_rate(y, cpu, &before));
            t = now();
            HY_TRY(job_run(&jobs[i], cpu, &jobs[i].run));
            s->seconds[i][r] = now() - t;
            HY_TRY(sgemm_rate(y, cpu, &after));
            s->share[i][r] = jobs[i].s->depth ? jobs[i].bytes / s->seconds[i][r] * 1e-9 / s->read[r]
                                              : jobs[i].gflop / s->seconds[i][r] / ((before + after) / 2);
            s->sgemm[r] = (before + after) / 2;
        }
    }
    return HY_OK;
}
static hy_status print(const job *jobs, const hy_backend *cpu, samples *s, int rounds, const char *only,
                       hy_table_format format) {
    hy_table *t = hy_table_new("attention");
    hy_table_column(t, "case", "case", NULL, HY_LEFT);
    hy_table_column(t, "ms", "median", "ms", HY_RIGHT);
    hy_table_column(t, "ms_min", "least", "ms", HY_RIGHT);
    hy_table_column(t, "gflops", "rate", "GFLOP/s", HY_RIGHT);
    hy_table_column(t, "gbs", "keys and values", "GB/s", HY_RIGHT);
    hy_table_column(t, "share", "share of yardstick", "%", HY_RIGHT);
    hy_table_column(t, "path", "path", NULL, HY_LEFT);
    for (int i = 0; i < CASES; i++) {
        if (!chosen(i, only)) continue;
        hy_sort(s->seconds[i], rounds);
        double ms = hy_median(s->seconds[i], rounds) * 1e3, share = hy_median(s->share[i], rounds) * 100;
        hy_table_row(t);
        hy_table_text(t, "%s", SHAPES[i].name);
        hy_table_num(t, ms, 3);
        hy_table_num(t, s->seconds[i][0] * 1e3, 3);
        hy_table_num(t, jobs[i].gflop / ms * 1e3, 1);
        if (SHAPES[i].depth)
            hy_table_num(t, jobs[i].bytes / ms * 1e-6, 1);
        else
            hy_table_empty(t);
        hy_table_num(t, share, 0);
        hy_table_text(t, "%s", jobs[i].run.path);
    }
    hy_table_note(t,
                  "%s; medians of %d rounds. Yardsticks: sgemm 1024^3 %.1f GFLOP/s (forward, backward), memory read "
                  "%.1f GB/s (decode).",
                  cpu->device, rounds, hy_median(s->sgemm, rounds), hy_median(s->read, rounds));
    hy_table_note(t,
                  "FLOPs are those of visible pairs: 2 (d_qk + d_v) a pair and head forward, five products backward.");
    hy_status status = hy_table_print(t, format, stdout);
    hy_table_free(t);
    return status;
}

static hy_status bench(const hy_backend *cpu, int rounds, const char *only, hy_table_format format) {
    static job jobs[CASES];
    yardstick y;
    samples s = {.sgemm = hy_xcalloc((size_t)rounds, sizeof(double)),
                 .read = hy_xcalloc((size_t)rounds, sizeof(double))};
    int n = 0;
    for (int i = 0; i < CASES; i++) n += chosen(i, only);
    if (!n) return hy_error(HY_EINPUT, "no case has \"%s\" in its name", only);
    HY_TRY(yardstick_make(cpu, &y));
    for (int i = 0; i < CASES; i++) {
        s.seconds[i] = hy_xcalloc((size_t)rounds, sizeof(double)),
        s.share[i] = hy_xcalloc((size_t)rounds, sizeof(double));
        if (!chosen(i, only)) continue;
        HY_TRY(job_make(&SHAPES[i], cpu, &jobs[i]));
        HY_TRY(check(&jobs[i], cpu));
    }
    HY_TRY(measure(jobs, cpu, &y, rounds, only, &s));
    return print(jobs, cpu, &s, rounds, only, format);
}

static hy_status count(const char *text, int *out) {
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 0 || n > 1000000) return hy_error(HY_EINPUT, "\"%s\" is not a whole number", text);
    *out = (int)n;
    return HY_OK;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"threads", 1, 0, 't'}, {"isa", 1, 0, 'i'},  {"rounds", 1, 0, 'r'}, {"format", 1, 0, 'f'},
        {"clock", 1, 0, 'c'},   {"only", 1, 0, 'o'}, {"help", 0, 0, 'h'},   {0}};
    const char *isa = NULL, *only = NULL;
    int threads = 0, rounds = 9, c;
    hy_table_format format = HY_TABLE_TEXT;
    hy_status status = HY_OK;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 't')
            status = count(optarg, &threads);
        else if (c == 'i')
            isa = optarg;
        else if (c == 'r')
            status = count(optarg, &rounds);
        else if (c == 'o')
            only = optarg;
        else if (c == 'c') {
            use_cpu_time = !strcmp(optarg, "cpu");
            if (!use_cpu_time && strcmp(optarg, "wall"))
                status = hy_error(HY_EINPUT, "--clock is wall or cpu, not \"%s\"", optarg);
        } else if (c == 'f')
            status = hy_table_format_parse(optarg, &format);
        else {
            printf(
                "usage: bench_attention [--threads N] [--isa auto|base|avx2|avx512] [--rounds N] [--format "
                "table|csv|json] [--clock wall|cpu] [--only PART_OF_NAME]\n"
                "--clock cpu counts the processor time of one thread (it implies --threads 1), for a busy machine\n");
            return c == 'h' ? 0 : 2;
        }
        if (status != HY_OK) break;
    }
    hy_backend cpu;
    if (use_cpu_time) threads = 1;
    if (status == HY_OK && rounds < 1) status = hy_error(HY_EINPUT, "--rounds must be at least 1");
    if (status == HY_OK) status = hy_backend_cpu(isa, threads, &cpu);
    if (status == HY_OK) status = bench(&cpu, rounds, only, format);
    if (status != HY_OK) fprintf(stderr, "bench_attention: %s\n", hy_error_text());
    return hy_status_exit(status);
}
