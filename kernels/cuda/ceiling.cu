// ceiling.cu - for benchmarks: the clock of the device, and what it can do at most, measured: copying, products by the
// library, exponentials. No op of a model is here.
#include <cmath>
#include <cstdlib>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/device.cuh"

// ---------------------------------------------------------------------------------------------------- the clock
hy_status hy_cuda_time(hy_status (*work)(void *), void *user, double *seconds) {
    cudaEvent_t from = NULL, to = NULL;
    float ms = 0;
    hy_status s = hy_cuda_check(cudaEventCreate(&from), "making an event");
    if (!s) s = hy_cuda_check(cudaEventCreate(&to), "making an event");
    if (!s) s = hy_cuda_check(cudaEventRecord(from, hy_cuda()->stream), "recording an event");
    if (!s) s = work(user);
    if (!s) s = hy_cuda_check(cudaEventRecord(to, hy_cuda()->stream), "recording an event");
    if (!s) s = hy_cuda_check(cudaEventSynchronize(to), "waiting for timed work");
    if (!s) s = hy_cuda_check(cudaEventElapsedTime(&ms, from, to), "reading the clock");
    if (from) cudaEventDestroy(from);
    if (to) cudaEventDestroy(to);
    *seconds = ms * 1e-3;
    return s;
}

// ---------------------------------------------------------------------------------------------------- ceilings
enum { CHAINS = 8, ROUNDS = 512, THREADS = 256 };

// Eight chains of exponentials a thread, each fed by the one before it: x = 2^-x stays between 0.5 and 1.
static __global__ void __launch_bounds__(THREADS) exp2_kernel(float *out) {
    float x[CHAINS];
#pragma unroll
    for (int c = 0; c < CHAINS; c++) x[c] = 0.5f + (float)((threadIdx.x + (unsigned)c) % 16) / 32.0f;
    for (int i = 0; i < ROUNDS; i++)
#pragma unroll
        for (int c = 0; c < CHAINS; c++) x[c] = hy_exp2(-x[c]);
    float s = 0;
#pragma unroll
    for (int c = 0; c < CHAINS; c++) s += x[c];
    out[(size_t)blockIdx.x * THREADS + threadIdx.x] = s;
}

typedef struct {
    char *a, *b, *c;
    size_t bytes;
    int n;
    hy_dtype in;
    hy_math math;
} trial;

static hy_status copy(void *user) {
    const trial *t = (const trial *)user;
    return hy_cuda_check(cudaMemcpyAsync(t->b, t->a, t->bytes, cudaMemcpyDeviceToDevice, hy_cuda()->stream),
                         "copying %zu bytes", t->bytes);
}
static hy_status product(void *user) {
    const trial *t = (const trial *)user;
    hy_blas_args p = {};
    p.M = p.N = p.K = p.lda = p.ldb = p.ldc = t->n;
    p.trans_b = true;
    p.in = p.out = t->in;
    p.a = t->a, p.b = t->b, p.c = t->c;
    return hy_blas_run("a product for its speed", &p, t->math);
}
static int exp2_blocks(void) { return 8 * hy_cuda()->sms; }
static hy_status exponentials(void *user) {
    const trial *t = (const trial *)user;
    HY_LAUNCH(exp2_kernel, exp2_blocks(), THREADS, 0, (float *)t->c);
    return HY_OK;
}

static hy_status median_time(hy_status (*work)(void *), trial *t, int reps, double *seconds) {
    double *s = (double *)hy_xcalloc((size_t)reps, sizeof *s), warm;
    hy_status st = hy_cuda_time(work, t, &warm);
    for (int i = 0; !st && i < reps; i++) st = hy_cuda_time(work, t, &s[i]);
    if (!st) *seconds = hy_median(s, reps);
    free(s);
    return st;
}

// Random bits that are numbers of about 1: products of zeros run faster than those of data.
static hy_status fill(char *p, size_t n, hy_dtype type) {
    const size_t piece = 1 << 16;
    const size_t size = hy_dtype_size(type);
    char *host = (char *)hy_xcalloc(piece, size);
    hy_rng r = hy_rng_make(1, 2);
    for (size_t i = 0; i < piece; i++) {
        const float x = (float)hy_rng_normal(&r);
        if (type == HY_BF16)
            ((uint16_t *)host)[i] = hy_bf16_from_f32(x);
        else
            ((float *)host)[i] = x;
    }
    hy_status s = HY_OK;
    for (size_t i = 0; !s && i < n; i += piece)
        s = hy_cuda_check(cudaMemcpyAsync(p + i * size, host, (n - i < piece ? n - i : piece) * size,
                                          cudaMemcpyHostToDevice, hy_cuda()->stream),
                          "filling memory");
    if (!s) s = hy_cuda_check(cudaStreamSynchronize(hy_cuda()->stream), "filling memory");
    free(host);
    return s;
}

static hy_status measure(trial *t, int reps, hy_cuda_ceilings *out) {
    double s = 0;
    const double n = t->n;
    HY_TRY(median_time(copy, t, reps, &s));
    out->copy = 2.0 * (double)t->bytes / s;
    const struct {
        hy_dtype in;
        hy_math math;
        double *flops;
    } all[] = {
        {HY_BF16, HY_MATH_F32, &out->bf16}, {HY_F32, HY_MATH_TF32, &out->tf32}, {HY_F32, HY_MATH_F32, &out->f32}};
    for (int i = 0; i < 3; i++) {
        t->in = all[i].in, t->math = all[i].math;
        HY_TRY(fill(t->a, (size_t)t->n * t->n, t->in));
        HY_TRY(fill(t->b, (size_t)t->n * t->n, t->in));
        HY_TRY(median_time(product, t, reps, &s));
        *all[i].flops = 2 * n * n * n / s;
    }
    HY_TRY(median_time(exponentials, t, reps, &s));
    out->exp2 = (double)exp2_blocks() * THREADS * ROUNDS * CHAINS / s;
    return HY_OK;
}

hy_status hy_cuda_measure_ceilings(size_t copy_bytes, int n, int reps, hy_cuda_ceilings *out) {
    const size_t matrix = (size_t)n * n * 4, results = (size_t)exp2_blocks() * THREADS * 4;
    const size_t each = hy_align(copy_bytes > matrix ? copy_bytes : matrix);
    trial t = {};
    t.bytes = copy_bytes;
    t.n = n;
    hy_status s = hy_cuda_check(cudaMalloc((void **)&t.a, 2 * each + (matrix > results ? matrix : results)),
                                "memory to measure the device with");
    if (!s) {
        t.b = t.a + each;
        t.c = t.b + each;
        s = fill(t.a, copy_bytes / 4, HY_F32);
    }
    if (!s) s = measure(&t, reps, out);
    if (t.a) cudaFree(t.a);
    return s;
}
