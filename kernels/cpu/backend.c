// backend.c - the CPU backend: which instructions and how many threads, memory, and the table of plans.
// It contains no kernel.
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

hy_isa hy_isa_best(void) {
    // __builtin_cpu_supports looks at CPUID and at XGETBV, so it is false where the system does not save the registers.
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return v4 ? HY_ISA_AVX512 : v3 ? HY_ISA_AVX2 : HY_ISA_BASE;
}

const char *hy_isa_name(hy_isa isa) {
    static const char *const names[] = {"ref", "base", "avx2", "avx512"};
    return names[isa];
}

const char *hy_cpu_path(hy_isa isa, hy_dtype w_dtype) {
    static const char *const names[] = {"ref (bf16 weights)", "base (bf16 weights)", "avx2 (bf16 weights)", "avx512 (bf16 weights)"};
    return w_dtype == HY_BF16 ? names[isa] : hy_isa_name(isa);
}

hy_status hy_cpu_check_weight(const char *op, hy_dtype w_dtype, bool backward, const hy_plan_req *req) {
    if (w_dtype == HY_BF16 && backward)
        return hy_error(HY_EINPUT, "%s: weights in bfloat16 are for inference; gradients need them in float32", op);
    if (w_dtype != HY_F32 && w_dtype != HY_BF16 && w_dtype != req->dtype)
        return hy_error(HY_EINPUT, "%s on the CPU: the weights must be bfloat16 or have the type of the other operands", op);
    return HY_OK;
}

static hy_status isa_by_name(const char *name, hy_isa *out) {
    hy_isa best = hy_isa_best();
    *out = best;
    if (!name || !strcmp(name, "auto")) return HY_OK;
    for (int i = HY_ISA_REF; i <= HY_ISA_AVX512; i++) {
        if (strcmp(name, hy_isa_name((hy_isa)i))) continue;
        if (i > (int)best)
            return hy_error(HY_EINPUT, "the instruction set \"%s\" is not available here; the best of this machine is \"%s\"",
                            name, hy_isa_name(best));
        *out = (hy_isa)i;
        return HY_OK;
    }
    return hy_error(HY_EINPUT, "unknown instruction set \"%s\"; choose auto, ref, base, avx2 or avx512", name);
}

static int cpus_allowed(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

static void cpu_model(char *dst, size_t n) {
    snprintf(dst, n, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = 0;
        if (*colon) snprintf(dst, n, "%s", colon);
        break;
    }
    fclose(f);
}

static hy_status cpu_zero(void *p, size_t bytes) {
    if (bytes) memset(p, 0, bytes);
    return HY_OK;
}
static hy_status cpu_wait(void) { return HY_OK; }
static hy_status cpu_copy(void *dst, const void *src, size_t bytes) {
    if (bytes) memmove(dst, src, bytes);
    return HY_OK;
}

hy_status hy_cpu_choose_ref(const char *op, const hy_plan_req *req, hy_launch *out,
                            hy_status (*f32)(const void *, void *, const hy_plan_req *),
                            hy_status (*f64)(const void *, void *, const hy_plan_req *)) {
    if (req->dtype != HY_F32 && req->dtype != HY_F64)
        return hy_error(HY_EINPUT, "%s on the CPU computes in float32 or float64: bf16 computing needs --device cuda", op);
    out->path = "ref";
    out->run = req->dtype == HY_F32 ? f32 : f64;
    return HY_OK;
}

#define MAX_THREADS 4096  // more is a slip of the keyboard
hy_status hy_backend_cpu(const char *isa, int threads, hy_backend *out) {
    hy_isa level;
    HY_TRY(isa_by_name(isa, &level));
    if (threads < 0 || threads > MAX_THREADS)
        return hy_error(HY_EINPUT, "the number of threads is %d; it must be 0 (all cores) to %d", threads, MAX_THREADS);
    if (threads == 0) threads = cpus_allowed();
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    *out = (hy_backend){
        .name = "cpu", .alloc = hy_alloc, .free = free, .zero = cpu_zero, .to_host = cpu_copy, .from_host = cpu_copy, .wait = cpu_wait,
        .full_precision_only = true, .few_rows = HY_GEMM_ROWS, .isa = level, .threads = threads,
#define X(name) .plan[HY_K_##name] = hy_cpu_plan_##name,
        HY_KERNELS(X)
#undef X
    };
    char model[80];
    cpu_model(model, sizeof model);
    snprintf(out->device, sizeof out->device, "%s, %d thread%s", model, threads, threads == 1 ? "" : "s");
    return HY_OK;
}
