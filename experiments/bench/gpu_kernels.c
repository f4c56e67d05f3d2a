// gpu_kernels.c - times the kernels of gpu_cases.c, each after it has agreed with the CPU's plain kernel at a small
// size.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/bench/gpu_bench.h"
#include "experiments/bench/gpu_cases.h"

// Largest relative error (2-norm) of a result against float64 on the same inputs, by precision: roundings of float32;
// of factors to 10 bits; of values to 8 bits.
static double parity_limit(const hy_gpu_bench *b) {
    return b->dtype == HY_BF16 ? 3e-2 : b->math == HY_MATH_TF32 ? 5e-3 : 2e-5;
}

// ---------------------------------------------------------------------------------------------------- operands
typedef struct {
    const hy_backend *be;
    hy_dtype dtype, matrix;
    void *p[HY_GPU_OPERANDS], *saved, *ws;
    _Alignas(16) char forward[HY_GPU_ARGS], timed[HY_GPU_ARGS];
    hy_launch before, run;  // of forward (where another kernel is timed), of what is timed
    hy_plan_req req;
} instance;

static hy_dtype type_of(const instance *x, hy_gpu_class c) {
    switch (c) {
        case HY_GC_ACT: return x->dtype;
        case HY_GC_PAR:
        case HY_GC_F32: return x->dtype == HY_F64 ? HY_F64 : HY_F32;
        case HY_GC_MAT: return x->matrix;
        case HY_GC_F64:
        case HY_GC_CTL: return HY_F64;
        default: return HY_I32;
    }
}
static size_t bytes_of(const instance *x, const hy_gpu_operand *o) {
    return o->what == HY_GC_BYTE ? o->n : o->n * hy_dtype_size(type_of(x, o->what));
}

static void put(void *p, hy_dtype t, size_t i, double v) {
    if (t == HY_F64)
        ((double *)p)[i] = v;
    else if (t == HY_BF16)
        ((uint16_t *)p)[i] = hy_bf16_from_f32((float)v);
    else if (t == HY_I32)
        ((int32_t *)p)[i] = (int32_t)v;
    else
        ((float *)p)[i] = (float)v;
}
static double get(const void *p, hy_dtype t, size_t i) {
    return t == HY_F64    ? ((const double *)p)[i]
           : t == HY_BF16 ? hy_f32_from_bf16(((const uint16_t *)p)[i])
                          : ((const float *)p)[i];
}

#define PIECE ((size_t)1 << 16)  // values made; a longer operand repeats them
// Values depend on the operand alone, and are bfloat16 numbers where the GPU holds bfloat16, so that both sides hold
// the same ones.
static hy_status fill(const instance *x, const hy_gpu_operand *o, int index, bool low, void *dst) {
    if (o->what == HY_GC_BYTE) return HY_OK;
    if (o->what == HY_GC_CTL) {
        const double ctl[HY_CTL_N] = {
            [HY_CTL_LR] = 1e-3, [HY_CTL_C1] = 0.1, [HY_CTL_C2] = 0.05, [HY_CTL_STEP] = 1, [HY_CTL_GRAD_SCALE] = 1};
        return x->be->from_host(dst, ctl, sizeof ctl);
    }
    const hy_dtype t = type_of(x, o->what);
    const size_t m = o->n < PIECE ? o->n : PIECE;
    void *host = hy_xcalloc(m, 8);
    hy_rng r = hy_rng_make(7, (uint64_t)index);
    for (size_t i = 0; i < m; i++) {
        double v = o->what == HY_GC_INT   ? (double)hy_rng_below(&r, (uint64_t)o->limit)
                   : o->what == HY_GC_POS ? o->limit
                                          : o->shift;
        if (o->what != HY_GC_INT && o->what != HY_GC_POS && !o->fixed)
            v += hy_rng_normal(&r) * (o->scale != 0 ? o->scale : 1);
        if (low && (o->what == HY_GC_ACT || o->what == HY_GC_MAT))
            v = hy_f32_from_bf16(hy_bf16_from_f32((float)v));
        else if (o->what == HY_GC_ACT || o->what == HY_GC_MAT || o->what == HY_GC_PAR || o->what == HY_GC_F32)
            v = (float)v;
        put(host, t, i, v);
    }
    hy_status s = HY_OK;
    for (size_t i = 0; !s && i < o->n; i += m)
        s = x->be->from_host((char *)dst + i * hy_dtype_size(t), host,
                             (o->n - i < m ? o->n - i : m) * hy_dtype_size(t));
    free(host);
    return s;
}

static void close_instance(instance *x, int n) {
    for (int i = 0; i < n; i++)
        if (x->p[i]) x->be->free(x->p[i]);
    if (x->saved) x->be->free(x->saved);
    if (x->ws) x->be->free(x->ws);
}

static hy_status open_instance(const hy_gpu_case *k, const hy_backend *be, hy_dtype dtype, bool low, instance *x) {
    *x = (instance){
        .be = be, .dtype = dtype, .matrix = dtype, .req = hy_backend_request(be, dtype, k->timed != k->forward)};
    for (int i = 0; i < k->n; i++) {
        if (!(x->p[i] = be->alloc(bytes_of(x, &k->op[i])))) return HY_ENOMEM;
        HY_TRY(fill(x, &k->op[i], i, low, x->p[i]));
    }
    const bool two = k->timed != k->forward;
    k->bind(k, x->p, two ? HY_PRESENT : NULL, x->matrix, x->forward, x->timed);
    HY_TRY(be->plan[k->forward](x->forward, &x->req, &x->before));
    x->run = x->before;
    if (two) HY_TRY(be->plan[k->timed](x->timed, &x->req, &x->run));
    const size_t ws = x->before.workspace > x->run.workspace ? x->before.workspace : x->run.workspace;
    if (x->before.saved && !(x->saved = be->alloc(x->before.saved))) return HY_ENOMEM;
    if (ws && !(x->ws = be->alloc(ws))) return HY_ENOMEM;
    k->bind(k, x->p, two ? x->saved : NULL, x->matrix, x->forward, x->timed);
    return two ? x->before.run(x->forward, x->ws, &x->req) : HY_OK;
}
static hy_status run_instance(const hy_gpu_case *k, instance *x) {
    return x->run.run(k->timed == k->forward ? x->forward : x->timed, x->ws, &x->req);
}

// ---------------------------------------------------------------------------------------------------- parity
static hy_status compare(const hy_gpu_case *k, int i, const instance *got, const instance *want, double *worst) {
    const hy_gpu_operand *o = &k->op[i];
    const hy_dtype tg = type_of(got, o->what), tw = type_of(want, o->what);
    void *g = hy_xcalloc(o->n, 8), *w = hy_xcalloc(o->n, 8);
    hy_status s = got->be->to_host(g, got->p[i], bytes_of(got, o));
    if (!s) s = want->be->to_host(w, want->p[i], bytes_of(want, o));
    double d = 0, n = 0;
    for (size_t j = 0; !s && j < o->n; j++) {
        const double a = get(g, tg, j), b = get(w, tw, j);
        d += (a - b) * (a - b), n += b * b;
    }
    const double e = d == 0 ? 0 : sqrt(d / n);
    if (!(e <= *worst)) *worst = e;  // a NaN stays
    free(g);
    free(w);
    return s;
}

static hy_status parity(const hy_gpu_bench *b, const hy_gpu_case *k, double *worst) {
    instance got, want;
    *worst = 0;
    hy_status s = open_instance(k, &b->gpu, b->dtype, b->dtype == HY_BF16, &got);
    if (!s)
        s = open_instance(k, &b->ref, HY_F64, b->dtype == HY_BF16, &want);
    else
        want = (instance){.be = &b->ref};
    if (!s) s = run_instance(k, &got);
    if (!s) s = run_instance(k, &want);
    for (int i = 0; !s && i < k->n; i++)
        if (k->op[i].result) s = compare(k, i, &got, &want, worst);
    close_instance(&got, k->n);
    close_instance(&want, k->n);
    if (!s && !(*worst <= parity_limit(b)))
        s = hy_error(HY_EFAIL, "%s %s: relative error %.3g against float64 on the CPU, above %.3g: no timing", k->name,
                     k->shape, *worst, parity_limit(b));
    return s;
}

// ---------------------------------------------------------------------------------------------------- timing
enum { ROTATE = 8, CACHE = 64 << 20 };  // sets of operands at most; bytes larger than the caches of today's GPUs
typedef struct {
    const hy_gpu_bench *b;
    const hy_gpu_case *k;
    instance *x;
    int n, launches;
    void *recording;
} timing;

static hy_status launch_all(void *user) {
    timing *t = user;
    for (int i = 0; i < t->launches; i++) HY_TRY(run_instance(t->k, &t->x[i % t->n]));
    return HY_OK;
}
static hy_status replay(void *user) {
    timing *t = user;
    return t->recording ? t->b->gpu.replay(t->recording) : launch_all(t);
}

static double bytes_touched(const hy_gpu_case *k, const instance *x) {
    double n = 0;
    for (int i = 0; i < k->n; i++)
        n += (double)bytes_of(x, &k->op[i]) * ((k->op[i].touched & 1) + (k->op[i].touched >> 1 & 1));
    return n;
}

// Short kernels are launched several times for one reading, as one recording: the host is slower than they are.
static hy_status time_case(const hy_gpu_bench *b, timing *t, double *seconds) {
    double first;
    t->launches = t->n;
    HY_TRY(launch_all(t));  // warm
    HY_TRY(hy_cuda_time(launch_all, t, &first));
    const double each = first / t->n;
    while (t->launches < 256 && t->launches * each < 2e-4) t->launches *= 2;
    if (b->gpu.record_begin) {
        HY_TRY(b->gpu.record_begin());
        hy_status s = launch_all(t), end = b->gpu.record_end(&t->recording);
        if (s || end) return s ? s : end;
    }
    HY_TRY(hy_cuda_time(replay, t, &first));
    for (int i = 0; i < b->reps; i++) {
        HY_TRY(hy_cuda_time(replay, t, &seconds[i]));
        seconds[i] /= t->launches;
    }
    hy_sort(seconds, b->reps);
    return HY_OK;
}

static hy_status measure(const hy_gpu_bench *b, const hy_gpu_case *k, double *seconds, double *bytes,
                         const char **path) {
    timing t = {.b = b, .k = k, .x = hy_xcalloc(ROTATE, sizeof *t.x)};
    hy_status s = open_instance(k, &b->gpu, b->dtype, b->dtype == HY_BF16, &t.x[t.n++]);
    *bytes = bytes_touched(k, &t.x[0]);
    while (!s && t.n < ROTATE && t.n * *bytes < 2.0 * CACHE)
        s = open_instance(k, &b->gpu, b->dtype, b->dtype == HY_BF16, &t.x[t.n++]);
    if (!s) s = time_case(b, &t, seconds);
    *path = t.x[0].run.path;
    if (t.recording) b->gpu.discard_recording(t.recording);
    for (int i = 0; i < t.n; i++) close_instance(&t.x[i], k->n);
    free(t.x);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the table
static hy_table *new_table(const hy_gpu_bench *b) {
    hy_table *t = hy_table_new("kernels");
    hy_table_column(t, "kernel", NULL, NULL, HY_LEFT);
    hy_table_column(t, "shape", NULL, NULL, HY_LEFT);
    hy_table_column(t, "path", NULL, NULL, HY_LEFT);
    hy_table_column(t, "error", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "median", NULL, "us", HY_RIGHT);
    hy_table_column(t, "min", NULL, "us", HY_RIGHT);
    hy_table_column(t, "max", NULL, "us", HY_RIGHT);
    hy_table_column(t, "bytes", NULL, "MB", HY_RIGHT);
    hy_table_column(t, "operations", NULL, "GFLOP", HY_RIGHT);
    hy_table_column(t, "exps", NULL, "G", HY_RIGHT);
    hy_table_column(t, "floor", NULL, "us", HY_RIGHT);
    hy_table_column(t, "bound", "bound by", NULL, HY_LEFT);
    hy_table_column(t, "share", "of the floor", "%", HY_RIGHT);
    if (b->torch) hy_table_column(t, "torch", "PyTorch", "us", HY_RIGHT);
    if (b->torch) hy_table_column(t, "ratio", "times as fast", NULL, HY_RIGHT);
    return t;
}

static hy_status add_case(const hy_gpu_bench *b, const hy_torch_times *torch, int i, hy_table *t, double *seconds) {
    hy_gpu_case k, small;
    double error, bytes;
    const char *path;
    hy_gpu_case_make(i, true, &small);
    HY_TRY(parity(b, &small, &error));
    hy_gpu_case_make(i, b->tiny, &k);
    HY_TRY(measure(b, &k, seconds, &bytes, &path));
    const double median = hy_median(seconds, b->reps),
                 floors[] = {bytes / b->top.copy, k.flops / hy_gpu_bench_products(b), k.exps / b->top.exp2};
    static const char *const bounds[] = {"bytes", "products", "exps"};
    int worst = 0;
    for (int f = 1; f < 3; f++)
        if (floors[f] > floors[worst]) worst = f;
    hy_table_row(t);
    hy_table_text(t, "%s", k.name);
    hy_table_text(t, "%s", k.shape);
    hy_table_text(t, "%s", path);
    hy_table_num(t, error, -2);
    hy_table_num(t, median * 1e6, 2);
    hy_table_num(t, seconds[0] * 1e6, 2);
    hy_table_num(t, seconds[b->reps - 1] * 1e6, 2);
    hy_table_num(t, bytes * 1e-6, 2);
    hy_table_num(t, k.flops * 1e-9, 2);
    hy_table_num(t, k.exps * 1e-9, 3);
    hy_table_num(t, floors[worst] * 1e6, 2);
    hy_table_text(t, "%s", bounds[worst]);
    hy_table_num(t, 100 * floors[worst] / median, 1);
    if (!b->torch) return HY_OK;
    char name[96];
    snprintf(name, sizeof name, "%s %s", k.name, k.shape);
    const double other = hy_torch_time(torch, name);
    hy_table_num(t, other * 1e6, 2);
    hy_table_num(t, other / median, 2);
    return HY_OK;
}

hy_status hy_gpu_bench_kernels(const hy_gpu_bench *b, FILE *out) {
    hy_table *t = new_table(b);
    hy_torch_times torch = {0};
    double *seconds = hy_xcalloc((size_t)b->reps, sizeof *seconds);
    hy_status s = b->torch ? hy_torch_times_run(b, "kernels", &torch) : HY_OK;
    hy_gpu_case k;
    int failed = 0;
    for (int i = 0; !s && hy_gpu_case_make(i, true, &k); i++) {
        char name[96];
        snprintf(name, sizeof name, "%s %s", k.name, k.shape);
        if (b->only && !strstr(name, b->only)) continue;
        if (b->format == HY_TABLE_TEXT) fprintf(stderr, "\r%-40s", k.name);
        const hy_status one = add_case(b, &torch, i, t, seconds);
        if (!one) continue;
        fprintf(stderr, "\n%s\n", hy_error_text());  // the others are worth their times all the same
        failed++;
        if (b->gpu.wait()) s = one;  // unless the device is lost
    }
    if (b->format == HY_TABLE_TEXT) fprintf(stderr, "\r%40s\r", "");
    hy_table_note(t, "error: largest relative error (2-norm) of any result against float64 on the CPU, at a small "
                     "size; shape: sequences x tokens");
    hy_table_note(t,
                  "floor: the largest of bytes / copy, operations / product rate, exponentials / their rate; medians "
                  "of %d readings",
                  b->reps);
    if (!s || failed) {
        const hy_status printed = hy_table_print(t, b->format, out);
        if (!s) s = printed;
    }
    hy_table_free(t);
    hy_torch_times_free(&torch);
    free(seconds);
    if (failed) return hy_error(HY_EFAIL, "%d kernels have no times, for the reasons above", failed);
    return s;
}
