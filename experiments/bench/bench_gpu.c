// bench_gpu.c - speed of the CUDA kernels and of whole models on them, against ceilings of the same GPU measured in the
// same run, and beside PyTorch where it is named. Every kernel is compared with the CPU's plain one first, at a small
// size; no parity, no timing. Times are the device's, medians over many launches that rotate among buffers larger than
// its cache.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/cli/args.h"
#include "experiments/bench/gpu_bench.h"

typedef struct {
    const char *precision, *only, *torch;
    int reps;
    bool tiny, kernels, models;
    hy_table_format format;
} options;

static hy_status read_precision(const char *text, hy_gpu_bench *b) {
    if (!strcmp(text, "bf16"))
        b->dtype = HY_BF16;
    else if (!strcmp(text, "tf32"))
        b->math = HY_MATH_TF32;
    else if (strcmp(text, "f32"))
        return hy_error(HY_EINPUT, "--precision %s: it must be bf16, tf32 or f32", text);
    return HY_OK;
}

static void print_ceilings(const hy_gpu_bench *b) {
    const hy_cuda_ceilings *c = &b->top;
    printf("%s\nceilings measured: copy %.0f GB/s (read + written); products %.0f TFLOP/s in bf16, %.0f in TF32, %.1f "
           "in float32; %.2f T exponentials/s\n\n",
           b->gpu.device, c->copy / 1e9, c->bf16 / 1e12, c->tf32 / 1e12, c->f32 / 1e12, c->exp2 / 1e12);
}

static hy_status bench(const options *o) {
    hy_gpu_bench b = {
        .dtype = HY_F32, .reps = o->reps, .only = o->only, .tiny = o->tiny, .torch = o->torch, .format = o->format};
    HY_TRY(read_precision(o->precision, &b));
    HY_TRY(hy_backend_cuda(0, b.math, &b.gpu));
    HY_TRY(hy_backend_cpu("ref", 1, &b.ref));
    HY_TRY(hy_cuda_measure_ceilings((size_t)1 << (o->tiny ? 16 : 31), o->tiny ? 64 : 8192, o->tiny ? 1 : 20, &b.top));
    if (o->format == HY_TABLE_TEXT) print_ceilings(&b);
    if (o->kernels || !o->models) HY_TRY(hy_gpu_bench_kernels(&b, stdout));
    if (o->models || !o->kernels) HY_TRY(hy_gpu_bench_models(&b, stdout));
    return HY_OK;
}

int main(int argc, char **argv) {
    options o = {.precision = "bf16", .reps = 50};
    const hy_arg args[] = {
        {"--precision", "NAME", HY_ARG_TEXT, &o.precision, 0, "bf16, tf32 or f32 (bf16)"},
        {"--only", "TEXT", HY_ARG_TEXT, &o.only, 0, "only the kernels or models whose name has this in it"},
        {"--kernels", NULL, HY_ARG_FLAG, &o.kernels, 0, "kernels, not models"},
        {"--models", NULL, HY_ARG_FLAG, &o.models, 0, "models, not kernels"},
        {"--reps", "N", HY_ARG_INT, &o.reps, 1, "timed repetitions (50)"},
        {"--torch", "PYTHON", HY_ARG_TEXT, &o.torch, 0,
         "a Python with PyTorch: the same beside, from bench_gpu_torch.py"},
        {"--tiny", NULL, HY_ARG_FLAG, &o.tiny, 0, "sizes that say nothing about speed, to try the program"},
        {"--format", "NAME", HY_ARG_FORMAT, &o.format, 0, "table, csv or json (table)"},
        {NULL, NULL, HY_ARG_FLAG, NULL, 0, NULL},
    };
    const hy_args a = {.usage = "bench_gpu [options]",
                       .args = args,
                       .max_rest = 0,
                       .text = "Times every CUDA kernel and whole models against measured ceilings of this GPU.\n\n"
                               "  bench_gpu --only attention --torch /tmp/torchenv/bin/python\n"
                               "  bench_gpu --models --precision bf16 --format csv"};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    free(rest.v);
    if (s || help) return hy_command_end("bench_gpu", s);
    char line[512];
    if (!hy_cuda_describe(line, sizeof line)) {
        printf("SKIP bench_gpu: %s\n", line);
        return getenv("REQUIRE_GPU") ? 1 : 0;
    }
    return hy_command_end("bench_gpu", bench(&o));
}
