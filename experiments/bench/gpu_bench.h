// gpu_bench.h - what the parts of bench_gpu share.
#ifndef HY_GPU_BENCH_H
#define HY_GPU_BENCH_H
#include "core/format/table.h"
#include "kernels/ceilings.h"

typedef struct {
    hy_backend gpu, ref;  // the GPU; the CPU's plain kernels
    hy_cuda_ceilings top;
    hy_dtype dtype;  // of activations
    hy_math math;
    int reps;
    const char *only, *torch;
    bool tiny;
    hy_table_format format;
} hy_gpu_bench;
// Tables on `out`.
hy_status hy_gpu_bench_kernels(const hy_gpu_bench *b, FILE *out);
hy_status hy_gpu_bench_models(const hy_gpu_bench *b, FILE *out);

static inline double hy_gpu_bench_products(
    const hy_gpu_bench *b) {  // the ceiling of products at this precision, per second
    return b->dtype == HY_BF16 ? b->top.bf16 : b->math == HY_MATH_TF32 ? b->top.tf32 : b->top.f32;
}

// PyTorch's times beside: name -> seconds, from one run of bench_gpu_torch.py.
typedef struct {
    int n;
    char **name;
    double *seconds;
} hy_torch_times;
hy_status hy_torch_times_run(const hy_gpu_bench *b, const char *what,
                             hy_torch_times *out);                // what: "kernels" or "models"
double hy_torch_time(const hy_torch_times *t, const char *name);  // NAN: not there
void hy_torch_times_free(hy_torch_times *t);
#endif
